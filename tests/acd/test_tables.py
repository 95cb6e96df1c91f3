"""The state tables are complete, nobody gets stuck in them, and the documents show them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from acd.engine import tables

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "acd.md"


@pytest.mark.parametrize(
    ("table", "states", "inputs"),
    [
        (tables.AGENT, tables.AgentState, tables.AgentInput),
        (tables.WORK, tables.WorkStage, tables.WorkInput),
    ],
)
def test_every_state_answers_every_input(table, states, inputs):
    assert set(table) == set(get_args(states))
    for state, row in table.items():
        assert set(row) == set(get_args(inputs)), state
        assert {target for target in row.values() if target} <= set(get_args(states))


@pytest.mark.parametrize(("table", "start"), [(tables.AGENT, "offline"), (tables.WORK, "waiting")])
def test_every_state_is_reached(table, start):
    reached, todo = {start}, [start]
    while todo:
        for target in table[todo.pop()].values():
            if target and target not in reached:
                reached.add(target)
                todo.append(target)
    assert reached == set(table)


def test_no_agent_is_stuck():
    """From every state a way leads back to being available (freeswitch#1973, #2540)."""
    for state in tables.AGENT:
        seen, todo = {state}, [state]
        while todo:
            for target in tables.AGENT[todo.pop()].values():
                if target and target not in seen:
                    seen.add(target)
                    todo.append(target)
        assert "available" in seen, state


def test_work_always_ends():
    for state, row in tables.WORK.items():
        assert state == "closed" or row["leave"] == row["end"] == "closed"
    assert not any(tables.WORK["closed"].values())


def test_offers_only_to_who_is_available():
    able = {s for s, row in tables.AGENT.items() if row["offer"] is not None}
    assert able == {"available"}


@pytest.mark.parametrize("chosen", ["available", "break", "offline"])
@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("engaged", [0, 1])
def test_presence(chosen, reachable, engaged):
    shown = tables.presence(chosen, reachable, engaged)
    assert (shown == "available") == (chosen == "available" and reachable and not engaged)
    assert (shown == "break") == (chosen == "break")


def test_reference_has_the_diagrams_of_these_tables():
    text = REFERENCE.read_text("utf-8")
    for table, start in ((tables.AGENT, "offline"), (tables.WORK, "waiting")):
        diagram = tables.mermaid(table, start)
        assert diagram in text, f"docs/reference/acd.md lacks this diagram:\n{diagram}"
