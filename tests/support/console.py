"""Steps that tests of the console share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

AXE = Path(__file__).parents[2] / "switchboard_ui" / "node_modules" / "axe-core" / "axe.min.js"
#: WCAG 2.1 level AA, which BITV 2.0 asks for
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def log_in(page: Page, user: str = "anna.schmidt", password: str = "demo-201") -> None:
    """Log in and wait until the queues are there. The page is in German."""
    page.get_by_label("Benutzername").fill(user)
    page.get_by_label("Passwort", exact=True).fill(password)
    page.get_by_role("button", name="Anmelden", exact=True).click()
    expect(page.get_by_role("grid")).to_be_visible()


def panel(page: Page, heading: str) -> Locator:
    """Return the part of the page with this heading."""
    return page.get_by_role("region", name=heading)


def findings(page: Page) -> list[str]:
    """Return what axe finds on the page, one line a finding."""
    # A colour on its way has the wrong contrast.
    page.evaluate("() => Promise.allSettled(document.getAnimations().map(a => a.finished))")
    if not page.evaluate("'axe' in window"):
        # Evaluated, not added as an element: the page's policy forbids inline scripts.
        page.evaluate(AXE.read_text("utf-8"))
    result: dict[str, Any] = page.evaluate(
        "rules => axe.run(document, { runOnly: { type: 'tag', values: rules } })", _RULES
    )
    return [
        f"{found['id']}: {node['target']} {node['failureSummary']}"
        for found in result["violations"]
        for node in found["nodes"]
    ]
