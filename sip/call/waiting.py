"""A call that waits in a queue: what its caller hears, and the offers to agents.

The queue role decides who is asked and when; this part rings the agents' devices, reports how
that went, and connects the caller once the queue has assigned the call.
"""

from __future__ import annotations

from comms.bus import acd
from comms.bus.records import Cause
from sip.call import records
from sip.call.base import CallBase
from sip.call.model import (
    AskPosition,
    Bye,
    Cancel,
    Dtmf,
    Leg,
    Offer,
    Play,
    Position,
    QueueSaid,
    Save,
    StopPlaying,
    Tell,
)

#: highest place that is spoken as a number
MAX_SPOKEN_POSITION = 20

_REJECTED: dict[str, tuple[str, Cause]] = {
    "closed": ("closed", "closed"),
    "full": ("queue-full", "queue-full"),
    "unknown-queue": ("fault", "failed"),
}


class Waiting(CallBase):
    """The part of the call machine that concerns queues."""

    # --- joining and hearing ---------------------------------------------------------------------

    def _join_queue(self, name: str) -> None:
        call = self.call
        queue = self._queue_of(name)
        if queue is None:
            self._give_up(404, "unknown-number")
            return
        if not self._answer_caller():
            return
        call.phase = "queued"
        call.queue = name
        call.queued_at = self._now
        call.language = queue.language
        self._arrive()
        prompts = [queue.greeting]
        if queue.menu_prompt and queue.menu:
            prompts.append(queue.menu_prompt)
        if queue.announce_position:
            prompts.append("position")
        call.media.playlist = (*prompts, "moh")
        self._play_next()
        self._publish("queued")
        self._do(Save())

    def _arrive(self) -> None:
        """Join the queue; said again it changes nothing. A moved call keeps its seniority."""
        call = self.call
        assert call.queue is not None
        former = call.work
        call.work = call.id if call.moved == 0 else f"{call.id}.{call.moved}"
        self._do(
            Tell(
                acd.WorkArrived(
                    work=call.work,
                    queue=call.queue,
                    owner=self._ctx.worker,
                    number=call.from_number,
                    continues=former if former != call.work else None,
                )
            )
        )

    def _play_next(self) -> None:
        """Play what is next to the caller; the music at the end of the list loops."""
        call = self.call
        if call.phase != "queued" or not call.media.playlist or call.media.engine is None:
            return
        prompt, *rest = call.media.playlist
        if prompt == "position":
            call.media.playlist = tuple(rest)
            assert call.queue is not None and call.work is not None
            self._do(AskPosition(call.queue, call.work))
            return
        self._do(StopPlaying("a"))
        if rest:
            call.media.playlist = tuple(rest)
            self._do(Play("a", prompt, call.language))
            call.timers["prompt"] = self._now + self._ctx.duration(prompt, call.language)
            return
        self._do(Play("a", prompt, call.language, None))
        queue = self._queue_of(call.queue or "")
        if queue is not None and queue.announce_position:
            call.timers["announce"] = self._now + queue.announce_every

    def _play_again(self) -> None:
        """Start the audio anew: another engine has the session, or its address became known."""
        call = self.call
        call.timers.pop("prompt", None)
        call.media.playlist = call.media.playlist or ("moh",)
        self._play_next()

    def _announce_position(self) -> None:
        self.call.media.playlist = ("position", "moh")
        self._play_next()

    def _position(self, event: Position) -> None:
        call = self.call
        if call.phase != "queued":
            return
        if event.position >= 1:
            # what was told once is never taken back (fusionpbx#6743)
            best = min(event.position, call.best_position or event.position)
            call.best_position = best
            name = f"position-{best}" if best <= MAX_SPOKEN_POSITION else "position-many"
            call.media.playlist = (name, *call.media.playlist)
        self._play_next()

    def _dtmf(self, event: Dtmf) -> None:
        call = self.call
        if call.phase != "queued" or event.side != "a" or call.offers:
            return
        queue = self._queue_of(call.queue or "")
        choice = next((k for k in queue.menu if k.key == event.digit), None) if queue else None
        if choice is None:
            return
        if choice.queue != call.queue and self._queue_of(choice.queue) is not None:
            assert call.work is not None
            self._do(Tell(acd.WorkLeft(call.work, "menu")))
            call.moved += 1
            call.queue = choice.queue
            call.best_position = None
            self._arrive()
            self._publish("queued")
        call.timers.pop("prompt", None)
        call.media.playlist = (choice.prompt, "position", "moh")
        self._play_next()
        self._do(Save())

    # --- what the queue role says ----------------------------------------------------------------

    def _queue_said(self, event: QueueSaid) -> None:
        said = event.event
        call = self.call
        if said.work != call.work:
            if isinstance(said, acd.OfferMade):
                self._do(Tell(acd.OfferRefused(said.offer, "failed")))
            return
        match said:
            case acd.OfferMade():
                self._offer_made(said)
            case acd.OfferEnded():
                if said.outcome != "accepted":
                    self._drop_offer(said.offer)
            case acd.WorkAssigned():
                self._assigned(said)
            case acd.WorkRejected():
                call.work = None
                prompt, cause = _REJECTED[said.reason]
                self._turn_away(prompt, cause)
            case acd.WorkOverflowed():
                call.queue = said.to_queue
                self._publish("queued")
                self._do(Save())
            case acd.WorkClosed():
                if said.outcome in ("failed", "rejected") and call.phase == "queued":
                    call.work = None
                    self._turn_away("fault", "failed")

    def _turn_away(self, prompt: str, cause: Cause) -> None:
        call = self.call
        for offer in list(call.offers):
            self._drop_offer(offer)
        for name in ("prompt", "announce"):
            call.timers.pop(name, None)
        call.cause = cause
        call.phase = "announcing"
        self._announce(prompt)
        self._do(Save())

    def _offer_made(self, said: acd.OfferMade) -> None:
        call = self.call
        if call.phase != "queued" or call.media.engine is None:
            self._do(Tell(acd.OfferRefused(said.offer, "failed")))
            return
        if said.offer in call.offers:
            return
        targets = self._ctx.devices(said.agent)
        if not targets:
            self._do(Tell(acd.OfferRefused(said.offer, "unreachable")))
            return
        call.offers[said.offer] = Offer(said.offer, said.agent)
        call.offered_at = self._now
        sdp = self._offer_to_callee()
        queue = self._queue_of(said.queue)
        title = queue.title if queue is not None else ""
        for target in targets:
            leg = self._invite(target, "callee", sdp, call.from_number, title)
            leg.offer = said.offer
        self._do(Save())

    def _agent_answered(self, leg: Leg) -> None:
        """An agent's device answered: the queue has the last word, so ask it to assign."""
        call = self.call
        offer = call.offers.get(leg.offer or "")
        if offer is None or offer.accepted is not None:
            self._do(Bye(leg.id, "cancelled"))
            self._leg_over(leg, None)
            return
        offer.accepted = leg.id
        self._end_offer_legs(offer.offer, keep=leg.id)
        self._do(Tell(acd.OfferAccepted(offer.offer)))
        self._do(Save())

    def _agent_failed(self, leg: Leg, status: int) -> None:
        call = self.call
        offer = call.offers.get(leg.offer or "")
        if offer is None:
            return
        mine = [other for other in call.legs.values() if other.offer == offer.offer]
        if any(other.state != "ended" for other in mine):
            return
        if offer.accepted is not None and leg.answered is not None:
            # answered and hung up before the assignment came back: it still is to come
            return
        del call.offers[offer.offer]
        status = records.best_status([other.status for other in mine])
        self._do(Tell(acd.OfferRefused(offer.offer, records.refusal_of(status))))
        self._do(Save())

    def _drop_offer(self, offer_id: str) -> None:
        if self.call.offers.pop(offer_id, None) is None:
            return
        self._end_offer_legs(offer_id, keep=None)
        self._do(Save())

    def _end_offer_legs(self, offer_id: str, keep: str | None) -> None:
        for leg in self.call.legs.values():
            if leg.offer != offer_id or leg.id == keep or leg.state == "ended":
                continue
            if leg.state == "answered":
                self._do(Bye(leg.id, "cancelled"))
            else:
                self._do(Cancel(leg.id, answered_elsewhere=keep is not None))
            self._leg_over(leg, None)

    def _assigned(self, said: acd.WorkAssigned) -> None:
        call = self.call
        offer = call.offers.get(said.offer)
        leg = call.legs.get(offer.accepted or "") if offer is not None else None
        if call.phase != "queued":
            return
        call.agent = said.agent
        if leg is None or leg.state != "answered":
            # the agent hung up in the instant between answering and being assigned
            call.b = leg.id if leg is not None else None
            call.connected_at = self._now
            self._end("callee", "completed")
            return
        for other in list(call.offers):
            if other != said.offer:
                self._drop_offer(other)
        self._connect(leg)
