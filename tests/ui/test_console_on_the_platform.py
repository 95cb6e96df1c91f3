"""The console on the real web and queue roles; the test plays telephony."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from support.city_web import CityWeb, until
from support.console import log_in, panel

from comms.bus import acd, sip
from comms.bus.records import CallRecord, LegRecord

pytestmark = pytest.mark.e2e

OpenPage = Callable[..., Page]


def arrived(work: str, number: str | None = "+4922155500001") -> acd.WorkArrived:
    """A call that waits in the Bürgertelefon."""
    return acd.WorkArrived(work, "buergertelefon", owner="sip-1", number=number)


def on_duty(city: CityWeb, agent: str) -> None:
    """Register a phone and become available."""
    city.say(acd.SetReachable(agent, True), acd.SetAgentState(agent, "available"))


def test_log_in_tells_what_is_wrong_and_keeps_the_session(
    city: CityWeb, open_page: OpenPage
) -> None:
    page = open_page(city.url)
    user, password = page.get_by_label("Benutzername"), page.get_by_label("Passwort", exact=True)
    expect(user).to_be_focused()
    expect(user).to_have_attribute("autocomplete", "username")
    expect(password).to_have_attribute("autocomplete", "current-password")

    user.fill("anna.schmidt")
    password.fill("wrong")
    page.get_by_role("button", name="Passwort anzeigen").click()
    expect(password).to_have_attribute("type", "text")
    page.get_by_role("button", name="Passwort verbergen").click()
    expect(password).to_have_attribute("type", "password")

    password.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Benutzername oder Passwort ist falsch.")
    expect(password).to_be_focused()

    page.keyboard.type("demo-201")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Warteschlangen")).to_be_visible()
    page.reload()
    expect(page.get_by_role("grid")).to_be_visible()

    page.get_by_role("button", name="Konto von Anna Schmidt").click()
    page.get_by_role("menuitem", name="Abmelden").click()
    expect(page.get_by_label("Benutzername")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Benutzername")).to_be_visible()


def test_a_call_waits_rings_is_answered_and_wrapped_up(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url)
    log_in(page)
    expect(page.get_by_role("row", name=re.compile("Bürgertelefon"))).to_be_visible()
    # Of other queues one sees the figures, not who waits.
    expect(page.get_by_role("row", name=re.compile("Kfz-Zulassung"))).to_contain_text(
        "nicht angezeigt"
    )
    waiting = panel(page, "Wartende")
    expect(waiting).to_contain_text("Niemand wartet")

    city.say(arrived("w1"), arrived("w2", None))
    rows = waiting.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("+49 221 555 000 01")
    expect(rows.nth(0)).to_contain_text("wartet")
    expect(rows.nth(1)).to_contain_text("Nummer verborgen")
    announced = page.get_by_text(re.compile(r"neuer? Anrufe? warte(t|n): Bürgertelefon"))
    expect(announced).to_be_attached()
    expect(page).to_have_title(re.compile(r"^\(2\) Warteschlangen"))

    on_duty(city, "anna.schmidt")
    expect(rows.nth(0)).to_contain_text("klingelt bei Anna Schmidt")
    expect(panel(page, "Mein Status")).to_contain_text("Es klingelt")

    city.say(acd.OfferAccepted(city.offer("w1").offer))
    expect(rows).to_have_count(1)
    expect(rows.nth(0)).to_contain_text("Nummer verborgen")
    expect(panel(page, "Mein Status")).to_contain_text("Im Gespräch")
    row = panel(page, "Mitarbeitende").get_by_role("row", name=re.compile("Anna Schmidt"))
    expect(row).to_contain_text("Im Gespräch")

    city.say(acd.WorkLeft("w2"), acd.WorkEnded("w1"))
    expect(panel(page, "Mein Status")).to_contain_text(re.compile(r"Nachbearbeitung\s*noch 0:\d\d"))
    expect(waiting).to_contain_text("Niemand wartet")
    page.get_by_role("button", name="Nachbearbeitung beenden").click()
    expect(panel(page, "Mein Status").locator(".own-state-name")).to_have_text("Verfügbar")
    expect(page.get_by_role("row", name=re.compile("Bürgertelefon"))).to_contain_text("1 von 1")


def test_own_state_with_the_reason_of_a_break(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url)
    log_in(page)
    state = panel(page, "Mein Status")
    page.get_by_role("button", name="Verfügbar").click()
    expect(state.locator(".own-state-name")).to_have_text("Nicht erreichbar")
    expect(state).to_contain_text("Ihr Telefon ist nicht angemeldet")
    city.say(acd.SetReachable("anna.schmidt", True))
    expect(state.locator(".own-state-name")).to_have_text("Verfügbar")
    expect(state).not_to_contain_text("Ihr Telefon ist nicht angemeldet")

    pause = page.get_by_role("button", name="Pause", exact=True)
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name=re.compile("Grund der Pause")).click()
    page.get_by_role("option", name="Mittagspause").click()
    agents = panel(page, "Mitarbeitende")
    expect(agents).to_contain_text("Pause · Mittagspause")
    expect(state.locator(".own-state-time")).to_contain_text(re.compile(r"0:0\d"))

    # The state is the platform's: another page of the same person shows it too.
    other = open_page(city.url)
    log_in(other)
    expect(panel(other, "Mein Status").locator(".own-state-name")).to_have_text("Pause")


def test_a_supervisor_sees_all_queues_and_sets_states(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url)
    log_in(page, "sabine.koch", "demo-221")
    for title in ("Bürgertelefon", "Telefonzentrale", "Kfz-Zulassung", "Ausländerbehörde"):
        expect(page.get_by_role("row", name=re.compile(title))).to_be_visible()
    page.get_by_role("row", name=re.compile("Kfz-Zulassung")).click()
    expect(page).to_have_url(re.compile("#/queues/kfz$"))
    on_duty(city, "tom.brandt")
    row = panel(page, "Mitarbeitende").get_by_role("row", name=re.compile("Tom Brandt"))
    expect(row).to_contain_text("Verfügbar")
    page.get_by_role("button", name="Status von Tom Brandt setzen").click()
    page.get_by_role("menuitem", name="In Pause setzen").click()
    expect(row).to_contain_text("Pause")


def test_an_agent_may_not_set_others(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url)
    log_in(page)
    expect(panel(page, "Mitarbeitende")).to_contain_text("Mehmet Yilmaz")
    expect(page.get_by_role("button", name="Status von Mehmet Yilmaz setzen")).to_have_count(0)


def test_dialling_rings_the_own_phone_and_shows_the_call(
    city: CityWeb, open_page: OpenPage
) -> None:
    page = open_page(city.url)
    log_in(page)
    number = page.get_by_label("Nummer anrufen")
    number.fill("abc")
    number.press("Enter")
    expect(page.get_by_text("Das ist keine Telefonnummer.")).to_be_visible()
    assert city.dialled() == []

    number.fill("0221 / 4710-202")
    page.get_by_role("button", name="Anrufen", exact=True).click()
    expect(page.get_by_text(re.compile("Ihr Telefon klingelt"))).to_be_visible()
    (originate,) = until(lambda: city.dialled() or None, "the order to dial")
    assert (originate.person, originate.to) == ("anna.schmidt", "02214710202")

    view = sip.CallView(
        call=originate.call,
        direction="outbound",
        state="talking",
        since=time.time() - 61,
        from_number="201",
        to_number="+492214710202",
        from_person="anna.schmidt",
    )
    city.call(view)
    call = panel(page, "Aktueller Anruf")
    expect(call).to_contain_text("+49 221 471 0202")
    expect(call).to_contain_text(re.compile(r"1:0\d"))
    expect(page.get_by_text(re.compile("Ihr Telefon klingelt"))).to_have_count(0)
    city.call(sip.CallView(view.call, "outbound", "ended", time.time(), from_person="anna.schmidt"))
    expect(call).to_contain_text("Kein Anruf")


def past_call(index: int, *, answered: bool = True) -> CallRecord:
    """A call that reached Anna through a queue, or gave up."""
    started = time.time() - 600 - 60 * index
    leg = LegRecord(
        f"l{index}", "caller", None, None, f"+49221555{index:05}", started, None, started + 40
    )
    return CallRecord(
        call=f"c{index}",
        direction="inbound",
        from_number=f"+49221555{index:05}",
        to_number="150",
        from_person=None,
        to_person="anna.schmidt",
        started=started,
        answered=started + 9 if answered else None,
        ended=started + 40,
        ended_by="caller",
        cause="completed" if answered else "abandoned",
        legs=(leg,),
        queue="buergertelefon",
        agent="anna.schmidt" if answered else None,
        waiting=9.0,
        talking=31.0 if answered else None,
    )


def test_the_history_pages_filters_and_calls_back(city: CityWeb, open_page: OpenPage) -> None:
    city.record(*(past_call(index, answered=index % 4 != 3) for index in range(60)))
    page = open_page(city.url)
    log_in(page)
    page.get_by_role("link", name="Anrufverlauf").click()
    calls = page.locator("table.history tbody tr:not(.day)")

    def written() -> bool | None:
        page.get_by_role("button", name="Aktualisieren").click()
        expect(page.get_by_role("status", name="Wird geladen")).to_have_count(0)
        return True if calls.count() == 50 else None

    until(written, "the records")
    expect(calls.first).to_contain_text("+49 221 555 000 00")
    expect(calls.first).to_contain_text("0:31")
    page.get_by_role("button", name="Ältere Anrufe laden").click()
    expect(calls).to_have_count(60)
    expect(page.get_by_text("Das sind alle Anrufe.")).to_be_visible()

    page.get_by_role("button", name=re.compile("Ergebnis")).click()
    page.get_by_role("option", name="Aufgelegt im Warten").click()
    expect(calls).to_have_count(15)
    page.get_by_role("button", name=re.compile("Richtung")).click()
    page.get_by_role("option", name="Intern").click()
    expect(page.get_by_text("Keine Anrufe mit diesen Filtern")).to_be_visible()
    page.get_by_role("button", name="Filter zurücksetzen").click()
    expect(calls).to_have_count(50)

    page.get_by_role("button", name="+49 221 555 000 02 zurückrufen").click()
    (originate,) = until(lambda: city.dialled() or None, "the order to dial")
    assert originate.to == "+4922155500002"


def test_the_session_ends_where_it_is_ended(city: CityWeb, open_page: OpenPage) -> None:
    page = open_page(city.url)
    log_in(page)
    token = page.evaluate("JSON.parse(localStorage.getItem('comms.console.session')).token")
    ended = page.evaluate(
        "token => fetch('/api/v1/logout', "
        "{ method: 'POST', headers: { Authorization: `Bearer ${token}` } }).then(r => r.status)",
        token,
    )
    assert ended == 204
    expect(page.get_by_text("Ihre Sitzung ist abgelaufen.")).to_be_visible()
    expect(page.get_by_label("Benutzername")).to_be_visible()
