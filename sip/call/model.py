"""The data of a call: its state, what happens to it, and what it wants done.

The state is plain data that goes into Valkey as JSON, so that another worker can take the call
over. Events and actions never are stored. Times are epoch seconds, durations seconds.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from comms.bus import acd
from comms.bus.records import CallRecord, Cause, Ended
from comms.bus.sip import CallView
from comms.directory import Directory, Trunk
from sip.call.dialplan import Route
from sip.core.flow import Flow
from sip.media.engine import Remote, Side

Phase = Literal["originating", "routing", "ringing", "queued", "talking", "announcing", "ended"]
LegState = Literal["inviting", "ringing", "answered", "ended"]


class Leg(msgspec.Struct, omit_defaults=True):
    """One device's part in a call."""

    id: str
    role: Literal["caller", "callee"]
    started: float
    state: LegState = "inviting"
    person: str | None = None
    device: str | None = None
    number: str | None = None
    #: accept media only from the host that the SDP names
    strict: bool = True
    answered: float | None = None
    ended: float | None = None
    #: SIP status that ended the leg before it was answered
    status: int | None = None
    #: newest session description from the phone
    sdp: str | None = None
    #: encodings the phone was last told to use, as (payload type, encoding name)
    told: tuple[tuple[int, str], ...] = ()
    #: version of the newest description we sent (RFC 3264 section 8)
    version: int = 1
    #: media session generation that the phone was last told of
    generation: int = 0
    #: the phone put us on hold (it wants no audio)
    on_hold: bool = False
    #: a re-INVITE of ours is under way
    offering: bool = False
    #: the offer of the queue for which the leg rings
    offer: str | None = None


class Media(msgspec.Struct, omit_defaults=True):
    """The call's session in a media engine."""

    session: str
    #: counts the engines the session moved to; the phones must be told of each move
    generation: int = 0
    engine: str | None = None
    local_a: tuple[str, int] | None = None
    local_b: tuple[str, int] | None = None
    #: what plays to side a: prompt names still to come; the last may loop
    playlist: tuple[str, ...] = ()
    packets_a: int = 0
    packets_b: int = 0


class Offer(msgspec.Struct, omit_defaults=True):
    """An offer of the queue that this call is ringing an agent for."""

    offer: str
    agent: str
    #: set once the agent's device answered and the queue was asked to assign
    accepted: str | None = None


class Call(msgspec.Struct, omit_defaults=True):
    """The whole state of one call."""

    id: str
    direction: Literal["internal", "inbound", "outbound"]
    started: float
    media: Media
    phase: Phase = "routing"
    legs: dict[str, Leg] = {}
    #: leg of the caller, and of whom the caller talks to
    a: str = ""
    b: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    from_person: str | None = None
    to_person: str | None = None
    #: name shown to whoever is called
    from_name: str = ""
    language: str = "de"
    emergency: bool = False
    answered: float | None = None
    ended_by: Ended | None = None
    cause: Cause | None = None
    #: SIP status to give the caller once the announcement was heard
    final: int | None = None
    #: leg whose early media the caller hears
    early: str | None = None
    #: trunks that are still to be tried, and the number for them
    trunks_left: tuple[str, ...] = ()
    trunk_number: str | None = None
    #: the number that a click to dial wants once its own phone has answered
    dial: str | None = None
    queue: str | None = None
    #: work id in the queue; a new one after the caller chose another queue in the menu
    work: str | None = None
    queued_at: float | None = None
    agent: str | None = None
    offers: dict[str, Offer] = {}
    offered_at: float | None = None
    connected_at: float | None = None
    best_position: int | None = None
    moved: int = 0
    timers: dict[str, float] = {}


class Target(msgspec.Struct, frozen=True):
    """A device or trunk that can be invited."""

    flow: Flow
    uri: str
    person: str | None = None
    device: str | None = None
    number: str | None = None
    route: tuple[str, ...] = ()
    strict: bool = True
    trunk: Trunk | None = None


class Context(Protocol):
    """What a call may ask of its surroundings; answers come from memory, at once."""

    @property
    def directory(self) -> Directory:
        """People, devices and numbers."""

    @property
    def worker(self) -> str:
        """Name of the SIP worker, under which the queue role addresses its offers."""

    @property
    def ring_seconds(self) -> float:
        """How long phones ring before a plain call is given up."""

    def devices(self, person: str) -> list[Target]:
        """The registered devices of a person."""

    def trunk(self, name: str, number: str) -> Target | None:
        """Where a trunk is to be invited for `number`, None while it cannot be used."""

    def duration(self, prompt: str, language: str) -> float:
        """How long a prompt is."""

    def token(self) -> str:
        """A new unguessable id."""


# --- events -----------------------------------------------------------------------------------


class Invited(msgspec.Struct, frozen=True):
    """The caller's INVITE came in."""

    leg: str
    sdp: str | None
    route: Route


class Originated(msgspec.Struct, frozen=True):
    """A person's own phones are to ring, then `number` is called for them."""

    person: str
    number: str


class MediaReady(msgspec.Struct, frozen=True):
    """The engine opened the session."""

    engine: str
    local_a: tuple[str, int]
    local_b: tuple[str, int]


class MediaFailed(msgspec.Struct, frozen=True):
    """No engine could open the session."""

    code: str


class EngineLost(msgspec.Struct, frozen=True):
    """The engine that held the session is gone."""


class LegRinging(msgspec.Struct, frozen=True):
    """A callee's device gave a provisional answer above 100."""

    leg: str
    status: int
    sdp: str | None = None


class LegAnswered(msgspec.Struct, frozen=True):
    """A callee's device answered."""

    leg: str
    sdp: str | None


class LegFailed(msgspec.Struct, frozen=True):
    """A callee's device refused, or could not be reached."""

    leg: str
    status: int


class LegConfirmed(msgspec.Struct, frozen=True):
    """The ACK to our 200 came, with the answer if the offer was ours."""

    leg: str
    sdp: str | None = None


class LegCancelled(msgspec.Struct, frozen=True):
    """The caller cancelled before an answer."""

    leg: str


class LegEnded(msgspec.Struct, frozen=True):
    """An answered leg is over: the phone hung up, or fell silent (session timer)."""

    leg: str
    lost: bool = False


class LegReinvited(msgspec.Struct, frozen=True):
    """The phone offers a change of the session; None asks us for an offer."""

    leg: str
    sdp: str | None


class LegOfferAnswered(msgspec.Struct, frozen=True):
    """The phone answered our re-INVITE."""

    leg: str
    sdp: str | None


class LegOfferFailed(msgspec.Struct, frozen=True):
    """The phone refused our re-INVITE; the session goes on as it was."""

    leg: str
    status: int


class QueueSaid(msgspec.Struct, frozen=True):
    """The queue role published something about this call's work."""

    event: (
        acd.OfferMade
        | acd.OfferEnded
        | acd.WorkAssigned
        | acd.WorkRejected
        | acd.WorkOverflowed
        | acd.WorkClosed
    )


class Position(msgspec.Struct, frozen=True):
    """The caller's place in the queue, 1 is next."""

    position: int


class Dtmf(msgspec.Struct, frozen=True):
    """A key was pressed on side `side`."""

    side: Side
    digit: str


class MediaSilent(msgspec.Struct, frozen=True):
    """The engine heard nothing from either side for its time-out and drops the session."""


class HangUpRequested(msgspec.Struct, frozen=True):
    """Somebody with the right to do so ended the call from elsewhere."""


class TimerDue(msgspec.Struct, frozen=True):
    """A timer of the call is due."""

    name: str


class TakenOver(msgspec.Struct, frozen=True):
    """Another worker went on with the stored call."""


Event = (
    Invited
    | Originated
    | MediaReady
    | MediaFailed
    | EngineLost
    | LegRinging
    | LegAnswered
    | LegFailed
    | LegConfirmed
    | LegCancelled
    | LegEnded
    | LegReinvited
    | LegOfferAnswered
    | LegOfferFailed
    | QueueSaid
    | Position
    | Dtmf
    | MediaSilent
    | HangUpRequested
    | TimerDue
    | TakenOver
)


# --- actions ----------------------------------------------------------------------------------


class Provisional(msgspec.Struct, frozen=True):
    """Tell the caller how it goes."""

    leg: str
    status: int
    sdp: str | None = None


class Accept(msgspec.Struct, frozen=True):
    """Answer the caller."""

    leg: str
    sdp: str


class Reject(msgspec.Struct, frozen=True):
    """Refuse the caller."""

    leg: str
    status: int
    reason: str | None = None
    retry_after: int | None = None


class Invite(msgspec.Struct, frozen=True):
    """Ring a device or call out through a trunk."""

    leg: str
    target: Target
    sdp: str
    from_number: str | None
    from_name: str
    emergency: bool = False


class Cancel(msgspec.Struct, frozen=True):
    """Stop ringing."""

    leg: str
    answered_elsewhere: bool = False


class Bye(msgspec.Struct, frozen=True):
    """End an answered leg."""

    leg: str
    cause: Cause


class Reinvite(msgspec.Struct, frozen=True):
    """Offer the phone a change of the session."""

    leg: str
    sdp: str


class AcceptOffer(msgspec.Struct, frozen=True):
    """Answer the phone's re-INVITE."""

    leg: str
    sdp: str


class RejectOffer(msgspec.Struct, frozen=True):
    """Refuse the phone's re-INVITE; the session goes on."""

    leg: str
    status: int


class OpenMedia(msgspec.Struct, frozen=True):
    """Open the session in an engine; MediaReady or MediaFailed follows."""

    a: Remote
    b: Remote | None = None


class SetRemote(msgspec.Struct, frozen=True):
    """Change where a side's phone is; None sends nothing to it."""

    side: Side
    remote: Remote | None


class Play(msgspec.Struct, frozen=True):
    """Play a prompt to a side; None loops."""

    side: Side
    prompt: str
    language: str
    times: int | None = 1


class StopPlaying(msgspec.Struct, frozen=True):
    """Let the side hear the other side again."""

    side: Side


class Tell(msgspec.Struct, frozen=True):
    """Say something to the queue role."""

    command: acd.Command


class AskPosition(msgspec.Struct, frozen=True):
    """Ask for the caller's place; Position follows where it is known."""

    queue: str
    work: str


class Publish(msgspec.Struct, frozen=True):
    """Tell live views."""

    view: CallView


class Save(msgspec.Struct, frozen=True):
    """Store the call before anything that follows from this event is sent."""


class Finish(msgspec.Struct, frozen=True):
    """The call is over: close its media, write its record (with the media's counts), forget it."""

    record: CallRecord


Action = (
    Provisional
    | Accept
    | Reject
    | Invite
    | Cancel
    | Bye
    | Reinvite
    | AcceptOffer
    | RejectOffer
    | OpenMedia
    | SetRemote
    | Play
    | StopPlaying
    | Tell
    | AskPosition
    | Publish
    | Save
    | Finish
)
