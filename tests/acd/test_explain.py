"""The story of a piece of work in plain words."""

from __future__ import annotations

from typing import get_type_hints

import pytest
from support.queues import Desk, agent, desk

from acd import explain as module
from acd.explain import explain
from acd.publication import score
from comms.bus.acd import (
    OfferRefused,
    Overflow,
    QueueConfig,
    SetAgentState,
    Strategy,
    WorkClosed,
    WorkEnded,
    WorkLeft,
)


@pytest.fixture
def told() -> Desk:
    d = desk(
        agent("anna", "zentrale"),
        agent("mehmet", "zentrale"),
        agent("tom", "zentrale"),
        queues=(
            QueueConfig(
                "zentrale",
                {"de": "Telefonzentrale", "en": "Switchboard"},
                overflow=(Overflow("abend", after=600),),
            ),
            QueueConfig("abend"),
        ),
    )
    d.on_duty("anna", "mehmet")
    return d


def test_in_german(told):
    told.arrive("w0")
    told.arrive("w1")
    told.tell(OfferRefused(told.ringing["mehmet"].offer, "declined"))
    told.tell(WorkLeft("w0"))
    told.accept("anna")
    told.pass_time(60)
    told.tell(WorkEnded("w1"))
    assert explain(told.events, "w1", "de") == [
        "Telefonzentrale: gefragt wurde Mehmet (wer am längsten frei ist).",
        "Nicht gefragt: Anna (hatte gerade ein anderes Angebot).",
        "Nicht gefragt: Tom (war abgemeldet).",
        "Mehmet hat abgelehnt.",
        "Telefonzentrale: gefragt wurde Anna (wer am längsten frei ist).",
        "Nicht gefragt: Mehmet (hatte eben ein Angebot verstreichen lassen).",
        "Nicht gefragt: Tom (war abgemeldet).",
        "Anna hat angenommen.",
        "Beendet nach 60 s Gespräch mit Anna; gewartet wurden 0 s.",
    ]


def test_in_english(told):
    told.tell(SetAgentState("mehmet", "break"))
    told.arrive("w1")
    told.pass_time(15)
    told.tell(WorkLeft("w1"))
    assert explain(told.events, "w1", "en") == [
        "Switchboard: Anna asked (who has been free longest).",
        "Not asked: Mehmet (was on a break).",
        "Not asked: Tom (was logged off).",
        "Anna did not answer.",
        "The caller hung up after 15 s of waiting.",
    ]


def test_moved_and_turned_away(told):
    told.tell(SetAgentState("anna", "break"))
    told.tell(SetAgentState("mehmet", "break"))
    told.arrive("w1")
    told.pass_time(600)
    assert explain(told.events, "w1", "en") == [
        "Moved from Switchboard to abend; it kept its place in time."
    ]
    told.arrive("w2", "nirgends")
    assert explain(told.events, "w2", "de") == ["nirgends: Diese Warteschlange gibt es nicht."]


def test_nothing_known(told):
    assert explain(told.events, "w9", "de") == []


def test_both_languages_have_words_for_everything():
    tables = ("_STRATEGIES", "_REJECTED", "_ENDED", "_CLOSED", "_WORDS")
    for table in (getattr(module, name) for name in tables):
        assert set(table["de"]) == set(table["en"])
    assert set(module._STRATEGIES["de"]) == set(Strategy.__args__)
    outcomes = set(get_type_hints(WorkClosed)["outcome"].__args__)
    assert set(module._CLOSED["de"]) == outcomes


def test_scores_order_as_ranks_do():
    d = desk(agent("anna", "zentrale"))
    for n, priority in enumerate([0, -1000, 1000, 5, 5, 0]):
        d.arrive(f"w{n}", priority=priority)
    views = list(d.view.works.values())
    assert sorted(views, key=score) == sorted(views, key=lambda v: v.rank)
    assert all(float(score(v)) == score(v) for v in views)
