"""Whatever happens to a call, in whatever order: it ends once, and nobody is left behind."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.calls import Driver, sdp

from comms.bus import acd
from sip.call import model

STARTS = st.sampled_from(
    [
        "201",
        "202",
        "999",
        "199",
        "0030123456",
        "112",
        "150",
        "+492214710150",
        "dial:202",
        "dial:150",
    ]
)
SDPS = st.sampled_from(
    [None, sdp(5000), sdp(5000, "8 101"), sdp(5000, "0"), sdp(5000, direction="sendonly"), "v=0"]
)
STATUSES = st.sampled_from([408, 480, 486, 488, 500, 503, 603])
STEPS = st.lists(
    st.tuples(st.integers(0, 21), st.integers(0, 5), SDPS, STATUSES), min_size=1, max_size=25
)


def step(drive: Driver, kind: int, pick: int, body: str | None, status: int) -> None:
    """One thing that may happen, to one of the legs."""
    call = drive.machine.call
    legs = list(call.legs) or ["none"]
    leg = legs[pick % len(legs)]
    agent, offer = ("anna.schmidt", "mehmet.yilmaz")[pick % 2], f"o{pick}"
    match kind:
        case 0:
            drive.tell(model.LegRinging(leg, 180))
        case 1:
            drive.tell(model.LegRinging(leg, 183, body))
        case 2 | 3:
            if leg != "a":
                drive.tell(model.LegAnswered(leg, body))
        case 4:
            drive.tell(model.LegFailed(leg, status))
        case 5:
            drive.tell(model.LegConfirmed(leg, body))
        case 6:
            a = call.legs.get("a")
            if a is not None and a.answered is None:
                drive.tell(model.LegCancelled("a"))
        case 7:
            entry = call.legs.get(leg)
            if entry is not None and entry.answered is not None:
                drive.tell(model.LegEnded(leg, lost=pick > 3))
        case 8:
            drive.tell(model.LegReinvited(leg, body))
        case 9:
            drive.tell(model.LegOfferAnswered(leg, body))
        case 10:
            drive.tell(model.LegOfferFailed(leg, status))
        case 11 | 12:
            if call.work is not None:
                drive.offer(agent, offer)
        case 13:
            if call.work is not None and offer in call.offers and call.offers[offer].accepted:
                drive.assign(call.offers[offer].agent, offer)
        case 14:
            if call.work is not None:
                ended = acd.OfferEnded(offer, call.work, agent, "sip-1", "timed-out")
                drive.tell(model.QueueSaid(ended))
        case 15:
            drive.tell(model.Dtmf("a", "0123"[pick % 4]))
        case 16:
            drive.tell(model.EngineLost())
        case 17:
            if drive.machine.call.media.engine is None:
                drive.media("media-2", 30000)
        case 18:
            drive.wait(7.0)
        case 19:
            drive.tell(model.Position(pick))
        case 20:
            drive.tell(model.TakenOver())
        case 21:
            if call.work is not None and call.b is None:
                rejected = acd.WorkRejected(call.work, "buergertelefon", "sip-1", "closed")
                drive.tell(model.QueueSaid(rejected))


@settings(max_examples=400, deadline=None)
@given(STARTS, st.booleans(), STEPS)
def test_a_call_ends_exactly_once_and_leaves_nothing_behind(
    start: str, late_offer: bool, steps: list[tuple[int, int, str | None, int]]
) -> None:
    drive = Driver()
    if start.startswith("dial:"):
        drive.originate(start.removeprefix("dial:"))
    else:
        drive.call(start, outside=start.startswith("+"), offer=None if late_offer else "")
    for kind, pick, body, status in steps:
        step(drive, kind, pick, body, status)
    drive.tell(model.HangUpRequested())

    record = drive.record
    assert record.cause is not None
    assert drive.machine.call.phase == "ended"
    assert drive.machine.next_timer() is None
    ended = {leg.id for leg in drive.machine.call.legs.values() if leg.state == "ended"}
    assert ended == set(drive.machine.call.legs)
    finish = next(i for i, do in enumerate(drive.done) if isinstance(do, model.Finish))
    assert finish == len(drive.done) - 1, "nothing is done after the end"
    # work that went into a queue has left it or was ended there
    for arrived in drive.told(acd.WorkArrived):
        over = [c.work for c in drive.told(acd.WorkLeft) + drive.told(acd.WorkEnded)]
        rejected = drive.machine.call.work is None
        assert arrived.work in over or rejected
    assert len({leg.leg for leg in record.legs}) == len(record.legs)
