"""The console for people who use a keyboard, a screen reader, another language or the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.city_web import CityWeb
from support.console import findings, log_in, panel

from comms.bus import acd

pytestmark = pytest.mark.e2e

OpenPage = Callable[..., Page]


def busy_hour(city: CityWeb) -> None:
    """Bring every state onto the page."""
    city.say(
        acd.SetReachable("anna.schmidt", True),
        acd.SetAgentState("anna.schmidt", "break", "lunch"),
        acd.SetReachable("mehmet.yilmaz", True),
        acd.SetAgentState("mehmet.yilmaz", "available"),
        acd.SetAgentState("julia.weber", "available"),
        *(
            acd.WorkArrived(f"w{n}", "buergertelefon", owner="sip-1", number=f"+4922155500{n}")
            for n in range(4)
        ),
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["de", "en"])
def test_axe_finds_nothing(
    city: CityWeb, open_page: OpenPage, tmp_path: Path, scheme: str, language: str
) -> None:
    busy_hour(city)
    page = open_page(city.url, color_scheme=scheme, reduced_motion="reduce")
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        page.screenshot(path=tmp_path / f"{name}-{language}-{scheme}.png")
        found[name] = findings(page)

    look("log-in")
    log_in(page, "sabine.koch", "demo-221")
    page.get_by_role("button", name="Deutsch" if language == "de" else "English").click()
    expect(page.locator("html")).to_have_attribute("lang", language)
    line = "Bürgertelefon" if language == "de" else "Citizens' line"
    page.get_by_role("rowheader", name=re.compile(line)).click()
    expect(page.locator("table.waiting tbody tr")).to_have_count(4)
    look("queues")
    page.get_by_role("button", name=re.compile("Mehmet Yilmaz")).click()
    expect(page.get_by_role("menu")).to_be_visible()
    look("menu")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    look("help")
    page.keyboard.press("Escape")
    page.goto(f"{city.url}#/history")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".ui-empty, table.history").first).to_be_visible()
    look("history")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{city.url}#/queues")
    look("queues-narrow")
    assert {name: lines for name, lines in found.items() if lines} == {}


def focused(page: Page) -> str:
    """Return the accessible name of what has the focus."""
    return str(
        page.evaluate(
            "() => { const e = document.activeElement;"
            " return e.getAttribute('aria-label') || e.labels?.[0]?.innerText"
            " || e.innerText.trim().split('\\n')[0]; }"
        )
    )


def tab_to(page: Page, name: str, *, limit: int = 40) -> None:
    """Press Tab until what is called so has the focus, which must be visible."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if focused(page) == name:
            outline = page.evaluate(
                "() => { const seen = e => e && getComputedStyle(e).outlineStyle !== 'none';"
                " const e = document.activeElement;"
                " return seen(e) || seen(e.parentElement); }"
            )
            assert outline, f"the focus is not visible on {name}"
            return
    raise AssertionError(f"Tab does not lead to {name}")


def test_a_working_day_by_keyboard_alone(city: CityWeb, open_page: OpenPage) -> None:
    busy_hour(city)
    page = open_page(city.url)
    expect(page.get_by_label("Benutzername")).to_be_focused()
    page.keyboard.type("anna.schmidt")
    tab_to(page, "Passwort")
    page.keyboard.type("demo-201")
    page.keyboard.press("Enter")
    expect(page.get_by_role("grid")).to_be_visible()
    state = panel(page, "Mein Status").locator(".own-state-name")
    expect(state).to_have_text("Pause")

    # The skip link is the first stop and leads past the header.
    tab_to(page, "Zum Inhalt springen")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()

    # Arrow keys choose a queue.
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile("#/queues/zentrale$"))
    page.keyboard.press("ArrowUp")
    expect(page).to_have_url(re.compile("#/queues/buergertelefon$"))

    # Single keys: state, number, views, help.
    page.keyboard.press("1")
    expect(state).to_have_text(re.compile("Verfügbar|Es klingelt"))
    page.keyboard.press("3")
    expect(state).to_have_text("Abgemeldet")
    page.keyboard.press("/")
    expect(page.get_by_label("Nummer anrufen")).to_be_focused()
    # In a field keys are text.
    page.keyboard.type("12/3")
    expect(page.get_by_label("Nummer anrufen")).to_have_value("12/3")
    expect(state).to_have_text("Abgemeldet")
    page.keyboard.press("Tab")
    page.keyboard.press("v")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anrufverlauf")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", level=1)).to_have_text("Warteschlangen")

    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Hilfe und Tastenkürzel")
    expect(dialog).to_be_visible()
    # They can be switched off (WCAG 2.1.4), and the focus stays inside.
    for _ in range(6):
        page.keyboard.press("Tab")
        assert dialog.evaluate("d => d.contains(document.activeElement)")
    dialog.get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("v")
    expect(page.get_by_role("heading", level=1)).to_have_text("Warteschlangen")

    # Log out.
    page.keyboard.press("Home")
    tab_to(page, "Konto von Anna Schmidt")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Abmelden")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Benutzername")).to_be_focused()


def test_language_and_appearance_are_kept(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url, color_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("lang", "de")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_role("button", name="Appearance: Same as system").click()
    page.get_by_role("menuitem", name="Dark").click()
    page.reload()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(root).to_have_attribute("data-theme", "dark")
    # The text is light now, though the system asks for light surfaces.
    colour = page.evaluate("getComputedStyle(document.body).color")
    assert min(int(part) for part in re.findall(r"\d+", colour)[:3]) > 200


def test_times_are_words_for_those_who_listen(city: CityWeb, open_page: OpenPage) -> None:
    busy_hour(city)
    page = open_page(city.url)
    log_in(page)
    row = panel(page, "Wartende").locator("tbody tr").first
    expect(row.locator(".ui-visually-hidden").first).to_have_text(re.compile(r"^\d+ Sekunden?$"))
    expect(row.locator("[aria-hidden=true]").last).to_have_text(re.compile(r"^0:\d\d$"))
