"""The two state machines of the queue as tables: the agent's activity and the work's state.

Everything that decides which state follows which stands in this file, and nowhere else. A test
proves the tables complete: every state has an answer to every input. The diagrams in
`docs/reference/acd.md` come from `mermaid`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from comms.bus.acd import AgentActivity, ChosenState

AgentState = Literal["offline", "available", "break", "engaged", "offered", "talking", "wrap-up"]
AgentInput = Literal[
    "go-offline",
    "go-available",
    "go-break",
    "go-engaged",
    "offer",
    "offer-over",
    "assign",
    "conversation-over",
    "wrap-up-over",
]
Presence = Literal["offline", "available", "break", "engaged"]
WorkStage = Literal["waiting", "offered", "assigned", "closed"]
WorkInput = Literal["offer", "offers-over", "accept", "overflow", "leave", "end"]

#: What the rest of the system sees of an agent's state.
SHOWN: Mapping[AgentState, AgentActivity] = {
    "offline": "offline",
    "available": "available",
    "break": "break",
    "engaged": "busy",
    "offered": "offered",
    "talking": "busy",
    "wrap-up": "wrap-up",
}

#: The four states a person chooses or a phone causes; they follow each other freely.
_PRESENCE: Mapping[AgentInput, AgentState | None] = {
    "go-offline": "offline",
    "go-available": "available",
    "go-break": "break",
    "go-engaged": "engaged",
    "offer": None,
    "offer-over": None,
    "assign": None,
    "conversation-over": None,
    "wrap-up-over": None,
}

#: state -> input -> next state. None: the engine never gives this input in this state.
AGENT: Mapping[AgentState, Mapping[AgentInput, AgentState | None]] = {
    "offline": _PRESENCE,
    "break": _PRESENCE,
    "engaged": _PRESENCE,
    # Only here an offer can be made.
    "available": {**_PRESENCE, "offer": "offered"},
    # Whoever can no longer take the offer first loses it (offer-over) and then leaves.
    "offered": {
        "go-offline": None,
        "go-available": "offered",
        "go-break": None,
        "go-engaged": None,
        "offer": None,
        "offer-over": "available",
        "assign": "talking",
        "conversation-over": None,
        "wrap-up-over": None,
    },
    # A lost phone or a chosen break does not end the conversation.
    "talking": {
        "go-offline": "talking",
        "go-available": "talking",
        "go-break": "talking",
        "go-engaged": "talking",
        "offer": None,
        "offer-over": None,
        "assign": None,
        "conversation-over": "wrap-up",
        "wrap-up-over": None,
    },
    # Nothing but its end ends the wrap-up; then the engine applies the presence.
    "wrap-up": {
        "go-offline": "wrap-up",
        "go-available": "wrap-up",
        "go-break": "wrap-up",
        "go-engaged": "wrap-up",
        "offer": None,
        "offer-over": None,
        "assign": None,
        "conversation-over": None,
        "wrap-up-over": "available",
    },
}

#: state -> input -> next state. None: the engine never gives this input in this state.
WORK: Mapping[WorkStage, Mapping[WorkInput, WorkStage | None]] = {
    "waiting": {
        "offer": "offered",
        "offers-over": None,
        "accept": None,
        "overflow": "waiting",
        "leave": "closed",
        "end": "closed",
    },
    # A further offer joins only under ring-all. Overflow waits until nothing rings.
    "offered": {
        "offer": "offered",
        "offers-over": "waiting",
        "accept": "assigned",
        "overflow": None,
        "leave": "closed",
        "end": "closed",
    },
    # "leave" crosses "accept" when the caller hangs up at that moment.
    "assigned": {
        "offer": None,
        "offers-over": None,
        "accept": None,
        "overflow": None,
        "leave": "closed",
        "end": "closed",
    },
    "closed": {
        "offer": None,
        "offers-over": None,
        "accept": None,
        "overflow": None,
        "leave": None,
        "end": None,
    },
}


def presence(chosen: ChosenState, reachable: bool, engaged: int) -> Presence:
    """Return where an agent is while the queue asks nothing of them.

    Who has no registered device counts as offline, whatever they chose, so that nobody is ever
    shown as available whose phone cannot ring.
    """
    if chosen == "break":
        return "break"
    if chosen == "offline" or not reachable:
        return "offline"
    return "engaged" if engaged > 0 else "available"


def mermaid(table: Mapping[str, Mapping[str, str | None]], start: str) -> str:
    """Return a Mermaid state diagram of a table, without transitions that change nothing."""
    lines = ["stateDiagram-v2", f"    [*] --> {_node(start)}"]
    for state, row in table.items():
        targets: dict[str, list[str]] = {}
        for name, target in row.items():
            if target is not None and target != state:
                targets.setdefault(target, []).append(name)
        lines += [
            f"    {_node(state)} --> {_node(target)}: {', '.join(names)}"
            for target, names in targets.items()
        ]
        if not any(target is not None for target in row.values()):
            lines.append(f"    {_node(state)} --> [*]")
    return "\n".join(lines)


def _node(state: str) -> str:
    return state.replace("-", "_")
