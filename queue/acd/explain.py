"""Why was this work offered to these people? The decisions in plain words.

Reads the events as they were published; nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from comms.bus.acd import (
    AgentChanged,
    Candidate,
    Decision,
    Event,
    OfferEnded,
    QueueChanged,
    Strategy,
    WorkAssigned,
    WorkClosed,
    WorkOverflowed,
    WorkRejected,
)

Language = Literal["de", "en"]

_STRATEGIES: dict[Language, dict[Strategy, str]] = {
    "de": {
        "ring-all": "alle zugleich",
        "longest-idle": "wer am längsten frei ist",
        "fewest-calls": "wer heute die wenigsten Gespräche hatte",
        "least-talk-time": "wer heute am kürzesten gesprochen hat",
        "round-robin": "reihum",
        "linear": "nach fester Reihenfolge",
        "random": "nach gewichtetem Los",
        "sequential": "der Liste nach, eine Person nach der anderen",
    },
    "en": {
        "ring-all": "everybody at once",
        "longest-idle": "who has been free longest",
        "fewest-calls": "who had the fewest calls today",
        "least-talk-time": "who talked least today",
        "round-robin": "in turn",
        "linear": "in fixed order",
        "random": "by weighted lot",
        "sequential": "down the list, one person after the other",
    },
}

_REJECTED: dict[Language, dict[str, str]] = {
    "de": {
        "later-in-order": "kam in der Reihenfolge später",
        "asked-before": "war für diese Anfrage schon gefragt worden",
        "offered": "hatte gerade ein anderes Angebot",
        "busy": "war im Gespräch",
        "engaged": "telefonierte außerhalb der Warteschlangen",
        "wrap-up": "war in der Nachbearbeitung",
        "break": "war in der Pause",
        "offline": "war abgemeldet",
        "unreachable": "hatte kein erreichbares Gerät",
        "resting": "hatte eben ein Angebot verstreichen lassen",
        "skills": "hat die nötigen Kenntnisse nicht",
    },
    "en": {
        "later-in-order": "came later in the order",
        "asked-before": "had been asked for this already",
        "offered": "had another offer just then",
        "busy": "was in a conversation",
        "engaged": "was on a call outside of the queues",
        "wrap-up": "was in wrap-up",
        "break": "was on a break",
        "offline": "was logged off",
        "unreachable": "had no device that could be reached",
        "resting": "had just let an offer pass",
        "skills": "lacks the skills",
    },
}

_ENDED: dict[Language, dict[str, str]] = {
    "de": {
        "declined": "{agent} hat abgelehnt.",
        "no-answer": "{agent} hat nicht abgenommen.",
        "busy": "Das Gerät von {agent} war besetzt.",
        "unreachable": "{agent} war nicht mehr erreichbar.",
        "failed": "Bei {agent} konnte nicht geklingelt werden.",
        "abandoned": "Bei {agent} klingelte es, als aufgelegt wurde.",
        "answered-elsewhere": "Bei {agent} hörte es auf zu klingeln: Jemand anderes war schneller.",
    },
    "en": {
        "declined": "{agent} declined.",
        "no-answer": "{agent} did not answer.",
        "busy": "{agent}'s device was busy.",
        "unreachable": "{agent} could no longer be reached.",
        "failed": "{agent}'s device could not be rung.",
        "abandoned": "{agent}'s device was ringing when the caller hung up.",
        "answered-elsewhere": "{agent}'s device stopped ringing: somebody else was quicker.",
    },
}

_CLOSED: dict[Language, dict[str, str]] = {
    "de": {
        "answered": "Beendet nach {talked} s Gespräch mit {agent}; gewartet wurden {waited} s.",
        "abandoned": "Nach {waited} s Warten wurde aufgelegt.",
        "transferred": "Nach {waited} s Warten wurde weitergeleitet.",
        "menu": "Nach {waited} s Warten wurde im Menü etwas anderes gewählt.",
        "failed": "Nach {waited} s Warten ging die Verbindung verloren.",
        "rejected": "Nach {waited} s Warten gab es die Warteschlange nicht mehr.",
    },
    "en": {
        "answered": "Ended after {talked} s of conversation with {agent}; waited {waited} s.",
        "abandoned": "The caller hung up after {waited} s of waiting.",
        "transferred": "Sent elsewhere after {waited} s of waiting.",
        "menu": "Another choice was made in the menu after {waited} s of waiting.",
        "failed": "The connection was lost after {waited} s of waiting.",
        "rejected": "The queue was removed after {waited} s of waiting.",
    },
}

_WORDS: dict[Language, dict[str, str]] = {
    "de": {
        "chosen": "{queue}: gefragt wurde {agents} ({strategy}).",
        "others": "Nicht gefragt: {names} ({why}).",
        "more": "{count} weitere Personen der Warteschlange sind nicht aufgeführt.",
        "withdrawn": "Das Angebot an {agent} wurde zurückgezogen.",
        "assigned": "{agent} hat angenommen.",
        "overflow": "Weitergegeben von {source} an {target}; der Platz in der Zeit blieb erhalten.",
        "closed": "{queue}: nicht angenommen, die Warteschlange war geschlossen.",
        "full": "{queue}: nicht angenommen, die Warteschlange war voll.",
        "unknown-queue": "{queue}: Diese Warteschlange gibt es nicht.",
        "and": " und ",
    },
    "en": {
        "chosen": "{queue}: {agents} asked ({strategy}).",
        "others": "Not asked: {names} ({why}).",
        "more": "{count} more people of the queue are not listed.",
        "withdrawn": "The offer to {agent} was withdrawn.",
        "assigned": "{agent} accepted.",
        "overflow": "Moved from {source} to {target}; it kept its place in time.",
        "closed": "{queue}: not let in, the queue was closed.",
        "full": "{queue}: not let in, the queue was full.",
        "unknown-queue": "{queue}: there is no such queue.",
        "and": " and ",
    },
}


def explain(events: Iterable[Event], work: str, language: Language) -> list[str]:
    """Return what happened to a piece of work and why, one sentence or two a line.

    Args:
        events: the stream of events, oldest first; names and titles are taken from it too.
        work: whose story is told.
        language: "de" or "en".
    """
    story = _Story(work, language)
    for event in events:
        story.take(event)
    return story.lines


class _Story:
    def __init__(self, work: str, language: Language) -> None:
        self.lines: list[str] = []
        self._work = work
        self._language: Language = language
        self._words = _WORDS[language]
        self._names: dict[str, str] = {}
        self._titles: dict[str, str] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, AgentChanged):
            self._names[event.view.agent] = event.view.name
        elif isinstance(event, QueueChanged):
            self._titles[event.view.queue] = event.view.title.get(self._language, "")
        elif getattr(event, "work", None) != self._work:
            return
        elif isinstance(event, Decision):
            self._decision(event)
        elif isinstance(event, OfferEnded):
            self._offer_ended(event)
        elif isinstance(event, WorkAssigned):
            self._say("assigned", agent=self._name(event.agent))
        elif isinstance(event, WorkOverflowed):
            source, target = self._title(event.from_queue), self._title(event.to_queue)
            self._say("overflow", source=source, target=target)
        elif isinstance(event, WorkRejected):
            self._say(event.reason, queue=self._title(event.queue))
        elif isinstance(event, WorkClosed):
            text = _CLOSED[self._language][event.outcome]
            agent = self._name(event.agent or "")
            waited, talked = round(event.waited), round(event.talked)
            self.lines.append(text.format(waited=waited, talked=talked, agent=agent))

    def _decision(self, decision: Decision) -> None:
        self._say(
            "chosen",
            queue=self._title(decision.queue),
            agents=self._words["and"].join(map(self._name, decision.chosen)),
            strategy=_STRATEGIES[self._language][decision.strategy],
        )
        reasons: dict[str, list[Candidate]] = {}
        for candidate in decision.candidates:
            if candidate.rejected is not None:
                reasons.setdefault(candidate.rejected, []).append(candidate)
        for reason, candidates in reasons.items():
            names = ", ".join(self._name(c.agent) for c in candidates)
            why = _REJECTED[self._language].get(reason, reason)
            self._say("others", names=names, why=why)
        if decision.others:
            self._say("more", count=decision.others)

    def _offer_ended(self, event: OfferEnded) -> None:
        if event.outcome == "accepted":
            return
        agent = self._name(event.agent)
        text = _ENDED[self._language].get(event.reason or "")
        self.lines.append((text or self._words["withdrawn"]).format(agent=agent))

    def _say(self, key: str, **values: object) -> None:
        self.lines.append(self._words[key].format(**values))

    def _name(self, agent: str) -> str:
        return self._names.get(agent) or agent

    def _title(self, queue: str) -> str:
        return self._titles.get(queue) or queue
