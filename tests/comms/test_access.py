"""Who may see or do what, decided without any server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from comms.people.access import (
    Viewer,
    access_administration,
    access_agent_state,
    access_history,
    access_house,
    access_queue,
    access_queue_history,
    sees_agent,
    sees_queue,
    sees_waiting,
)
from comms.problems import NotFound, NotPermitted

NOBODY = Viewer("me", "Me", None, "de", frozenset())
CITIZEN = replace(NOBODY, roles=frozenset({"citizen"}))
STAFF = replace(NOBODY, roles=frozenset({"staff"}))
AGENT = replace(NOBODY, roles=frozenset({"agent"}), member_of=frozenset({"a"}))
SUPERVISOR = replace(NOBODY, roles=frozenset({"supervisor"}), supervises=frozenset({"a"}))
ADMINISTRATOR = replace(NOBODY, roles=frozenset({"administrator"}))
BOTH = replace(
    NOBODY,
    roles=frozenset({"agent", "supervisor"}),
    member_of=frozenset({"a"}),
    supervises=frozenset({"b"}),
)
#: a membership or supervision without the role gives nothing
WITHOUT_ROLE = replace(STAFF, member_of=frozenset({"a"}), supervises=frozenset({"a"}))
EVERYBODY = {
    "nobody": NOBODY,
    "citizen": CITIZEN,
    "staff": STAFF,
    "agent": AGENT,
    "supervisor": SUPERVISOR,
    "administrator": ADMINISTRATOR,
    "both": BOTH,
    "without-role": WITHOUT_ROLE,
}


def those(decide: object) -> set[str]:
    """Return for whom a decision is yes: it returns true, or returns without raising."""
    allowed = set()
    for name, viewer in EVERYBODY.items():
        try:
            result = decide(viewer)  # type: ignore[operator]
        except (NotPermitted, NotFound):
            continue
        if result is None or result:
            allowed.add(name)
    return allowed


@pytest.mark.parametrize(
    ("decide", "allowed"),
    [
        (
            access_house,
            {"staff", "agent", "supervisor", "administrator", "both", "without-role"},
        ),
        (access_administration, {"administrator"}),
        (lambda v: sees_queue(v, "a"), {"agent", "supervisor", "administrator", "both"}),
        (lambda v: sees_waiting(v, "a"), {"agent", "supervisor", "administrator", "both"}),
        (lambda v: sees_waiting(v, "b"), {"administrator", "both"}),
        (lambda v: sees_waiting(v, "c"), {"administrator"}),
        (
            lambda v: sees_agent(v, "x", ["a", "c"]),
            {"agent", "supervisor", "administrator", "both"},
        ),
        (lambda v: sees_agent(v, "x", ["c"]), {"administrator"}),
        (lambda v: sees_agent(v, "me", ["c"]), {"agent", "administrator", "both"}),
        (lambda v: access_agent_state(v, "x", ["a"]), {"supervisor", "administrator"}),
        (lambda v: access_agent_state(v, "x", ["b"]), {"administrator", "both"}),
        (lambda v: access_agent_state(v, "me", ["a"]), {"agent", "both"}),
        (lambda v: access_queue_history(v, "a"), {"supervisor", "administrator"}),
        (lambda v: access_queue_history(v, "b"), {"administrator", "both"}),
        (
            lambda v: access_history(v).all,
            {"administrator"},
        ),
        (lambda v: access_queue(v, "a", True), {"agent", "supervisor", "administrator", "both"}),
        (lambda v: access_queue(v, "a", False), set()),
    ],
)
def test_who_may(decide: object, allowed: set[str]) -> None:
    assert those(decide) == allowed


def test_a_colleague_is_known_but_not_steered() -> None:
    with pytest.raises(NotPermitted):
        access_agent_state(AGENT, "x", ["a"])


def test_agents_of_other_queues_do_not_exist_for_an_agent() -> None:
    with pytest.raises(NotFound):
        access_agent_state(AGENT, "x", ["c"])
    with pytest.raises(NotFound):
        access_agent_state(ADMINISTRATOR, "x", None)


def test_an_agent_without_queue_has_no_state() -> None:
    with pytest.raises(NotPermitted, match="not an agent"):
        access_agent_state(AGENT, "me", None)


def test_the_history_of_a_supervisor_holds_own_calls_and_the_queues() -> None:
    scope = access_history(BOTH)
    assert (scope.all, scope.person, scope.queues) == (False, "me", frozenset({"b"}))
