"""What a healthy platform does not do: leave events out, repeat them, vanish, refuse."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect
from support.console import log_in, panel
from support.fake_platform import FakePlatform, Musterstadt, work

from comms.live.schemas import WorkClosed

pytestmark = pytest.mark.e2e

OpenPage = Callable[..., Page]


def waiting(page: Page) -> Locator:
    return panel(page, "Wartende").locator("tbody tr")


def test_a_gap_brings_a_fresh_snapshot(fake: FakePlatform, open_page: OpenPage) -> None:
    page = open_page(fake.url)
    log_in(page)
    expect(waiting(page)).to_have_count(4)
    # The page misses that w2 to w4 left, and the one after it is told.
    queue = fake.city.queues[0]
    fake.city.queues[0] = queue.model_copy(update={"waiting": queue.waiting[:1]})
    left = WorkClosed(id="w4", queue="buergertelefon", outcome="abandoned")
    fake.event("work_closed", left, skip=2)
    expect(waiting(page)).to_have_count(1)
    assert (fake.resyncs, fake.snapshots) == (1, 2)


def test_an_event_that_comes_twice_counts_once(fake: FakePlatform, open_page: OpenPage) -> None:
    page = open_page(fake.url)
    log_in(page)
    fake.event("work", work("w6", "buergertelefon", 1, number="+49221600001"))
    expect(waiting(page)).to_have_count(5)
    left = WorkClosed(id="w6", queue="buergertelefon", outcome="abandoned")
    fake.event("work_closed", left, repeat=True)
    # A later event shows that the repeated one was read and ignored.
    fake.event("work", work("w7", "buergertelefon", 0, number="+49221600002"))
    expect(waiting(page)).to_have_count(6)
    assert fake.resyncs == 0


def test_a_lost_connection_keeps_the_last_known_state(
    fake: FakePlatform, open_page: OpenPage
) -> None:
    page = open_page(fake.url)
    log_in(page)
    expect(waiting(page)).to_have_count(4)
    fake.stop()
    banner = page.get_by_text(re.compile("Verbindung unterbrochen. Sie sehen den letzten"))
    expect(banner).to_be_visible()
    expect(banner).to_contain_text(re.compile(r"Stand von \d\d:\d\d Uhr"))
    expect(waiting(page)).to_have_count(4)

    fake.city.queues[0] = fake.city.queues[0].model_copy(update={"waiting": ()})
    again = fake.restarted()
    try:
        expect(panel(page, "Wartende")).to_contain_text("Niemand wartet", timeout=15_000)
        expect(banner).to_have_count(0)
    finally:
        again.stop()


def test_a_short_loss_is_not_worth_a_word(fake: FakePlatform, open_page: OpenPage) -> None:
    page = open_page(fake.url)
    log_in(page)
    page.evaluate(
        """() => {
            window.banners = 0;
            new MutationObserver(() => {
                window.banners += document.querySelectorAll('.ui-banner').length;
            }).observe(document.body, { childList: true, subtree: true });
        }"""
    )
    # The network goes and comes back at once; Socket.IO connects again after half a second.
    fake.city.queues[0] = fake.city.queues[0].model_copy(update={"waiting": ()})
    page.context.set_offline(True)
    page.context.set_offline(False)
    expect(panel(page, "Wartende")).to_contain_text("Niemand wartet")
    assert page.evaluate("window.banners") == 0


def test_a_platform_that_never_answered_is_told_calmly(
    fake: FakePlatform, open_page: OpenPage
) -> None:
    fake.refuse_live = "too-many-connections"
    page = open_page(fake.url)
    page.get_by_label("Benutzername").fill("anna.schmidt")
    page.get_by_label("Passwort", exact=True).fill("x")
    page.get_by_role("button", name="Anmelden", exact=True).click()
    expect(page.get_by_text("Die Live-Daten sind nicht erreichbar.")).to_be_visible()
    fake.refuse_live = None
    expect(page.get_by_role("grid")).to_be_visible()
    expect(page.get_by_text("Die Live-Daten sind nicht erreichbar.")).to_have_count(0)


def test_a_history_that_fails_can_be_asked_again(fake: FakePlatform, open_page: OpenPage) -> None:
    fake.refuse["/calls"] = (503, "unavailable")
    page = open_page(fake.url)
    log_in(page)
    page.get_by_role("link", name="Anrufverlauf").click()
    failure = page.get_by_role("main").get_by_role("alert")
    expect(failure).to_contain_text("Dieser Dienst ist gerade nicht verfügbar.")
    fake.refuse.clear()
    page.get_by_role("button", name="Erneut versuchen").click()
    expect(page.locator("table.history tbody tr:not(.day)")).to_have_count(50)


def test_a_refused_state_is_told_where_it_was_asked(
    fake: FakePlatform, open_page: OpenPage
) -> None:
    fake.refuse["/agents/me/state"] = (403, "not-permitted")
    page = open_page(fake.url)
    log_in(page)
    page.get_by_role("button", name="Pause").click()
    expect(panel(page, "Mein Status").get_by_role("alert")).to_have_text(
        "Dazu fehlt Ihnen die Berechtigung."
    )
    expect(page.get_by_role("button", name="Verfügbar")).to_have_attribute("aria-pressed", "true")


def test_a_token_that_expired_leads_to_the_log_in(fake: FakePlatform, open_page: OpenPage) -> None:
    page = open_page(fake.url)
    log_in(page)
    fake.refuse["/calls"] = (401, "not-authenticated")
    page.get_by_role("link", name="Anrufverlauf").click()
    expect(page.get_by_text("Ihre Sitzung ist abgelaufen.")).to_be_visible()


def test_dialling_again_after_no_answer_uses_the_same_key(
    fake: FakePlatform, open_page: OpenPage
) -> None:
    page = open_page(fake.url)
    log_in(page)
    keys: list[str] = []

    def lose(route: object) -> None:
        keys.append(route.request.headers["idempotency-key"])  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/api/v1/calls", lose)
    page.get_by_label("Nummer anrufen").fill("202")
    page.get_by_role("button", name="Anrufen", exact=True).click()
    expect(page.get_by_text("Der Server ist nicht erreichbar.")).to_be_visible()
    page.unroute("**/api/v1/calls")
    page.get_by_role("button", name="Anrufen", exact=True).click()
    expect(page.get_by_text(re.compile("Ihr Telefon klingelt"))).to_be_visible()
    asked = [key for method, path, _, key in fake.requests if (method, path) == ("POST", "/calls")]
    assert asked == keys


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440, 3840])
def test_nothing_is_cut_off_at_any_width(
    fake: FakePlatform, open_page: OpenPage, width: int
) -> None:
    page = open_page(fake.url, viewport={"width": width, "height": 900})
    log_in(page)
    for address in ("#/queues", "#/history"):
        page.goto(fake.url + address)
        expect(page.locator("table").first).to_be_visible()
        beyond = page.evaluate(
            """() => [...document.querySelectorAll('.shell *')]
                .filter(e => !e.closest('.ui-visually-hidden, svg, [aria-hidden=true]'))
                .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
                .filter(e => {
                    // Headings that only those who listen get are clipped on purpose.
                    const head = e.closest('thead');
                    return !head || getComputedStyle(head).position !== 'absolute';
                })
                .map(e => e.className || e.tagName)"""
        )
        assert beyond == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_platform_for_supervisors(built_console: object, open_page: OpenPage) -> None:
    fake = FakePlatform(Musterstadt(supervisor=True))
    fake.start()
    try:
        page = open_page(fake.url)
        log_in(page)
        rows = page.get_by_role("grid").get_by_role("row")
        expect(rows).to_have_count(5)
        # Closed queues stand last.
        expect(rows.nth(4)).to_contain_text("Geschlossen")
        expect(panel(page, "Mein Status")).to_contain_text("keiner Warteschlange zugeordnet")
    finally:
        fake.stop()
