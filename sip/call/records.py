"""From a call's state to its record, and from SIP statuses to causes."""

from __future__ import annotations

from collections.abc import Sequence

from comms.bus.acd import RefusalReason
from comms.bus.records import CallRecord, Cause, LegRecord
from sip.call.model import Call

_CAUSES: dict[int, Cause] = {
    403: "not-permitted",
    404: "unknown-number",
    408: "no-answer",
    410: "unknown-number",
    480: "unreachable",
    484: "unknown-number",
    486: "busy",
    487: "cancelled",
    503: "unreachable",
    600: "busy",
    603: "declined",
    604: "unknown-number",
    607: "declined",
}


def cause_of(status: int) -> Cause:
    """Return why a call failed, from the SIP status that said so."""
    return _CAUSES.get(status, "failed")


def refusal_of(status: int) -> RefusalReason:
    """Return how an agent's device refused, from its SIP status."""
    match cause_of(status):
        case "busy":
            return "busy"
        case "declined":
            return "declined"
        case "no-answer" | "cancelled":
            return "no-answer"
        case "unreachable":
            return "unreachable"
        case _:
            return "failed"


def best_status(statuses: Sequence[int | None]) -> int:
    """Return the answer to pass on when all branches failed (RFC 3261 section 16.7, step 6).

    A 6xx wins; else the lowest class, within 4xx one that says most about the called person.
    """
    known = [status for status in statuses if status is not None and status >= 300]
    if not known:
        return 480
    final = [status for status in known if status >= 600]
    if final:
        return final[0]
    lowest = min(status // 100 for status in known)
    group = [status for status in known if status // 100 == lowest]
    for preferred in (486, 480, 404):
        if preferred in group:
            return preferred
    return 480 if group[0] == 503 else group[0]


def record(call: Call, now: float) -> CallRecord:
    """Return the record of a call that has just ended."""
    legs = tuple(
        LegRecord(
            leg=leg.id,
            role=leg.role,
            person=leg.person,
            device=leg.device,
            number=leg.number,
            started=leg.started,
            answered=leg.answered,
            ended=leg.ended if leg.ended is not None else now,
            status=leg.status,
        )
        for leg in call.legs.values()
    )
    waiting = ringing = talking = None
    if call.queued_at is not None:
        until = call.connected_at if call.connected_at is not None else now
        waiting = max(0.0, until - call.queued_at)
        if call.offered_at is not None:
            ringing = max(0.0, until - call.offered_at)
    elif call.phase == "ended":
        until = call.connected_at if call.connected_at is not None else now
        ringing = max(0.0, until - call.started)
    if call.connected_at is not None:
        talking = max(0.0, now - call.connected_at)
    return CallRecord(
        call=call.id,
        direction=call.direction,
        from_number=call.from_number,
        to_number=call.to_number,
        from_person=call.from_person,
        to_person=call.agent or call.to_person,
        started=call.started,
        answered=call.connected_at,
        ended=now,
        ended_by=call.ended_by or "system",
        cause=call.cause or "failed",
        legs=legs,
        queue=call.queue,
        agent=call.agent,
        waiting=waiting,
        ringing=ringing,
        talking=talking,
    )
