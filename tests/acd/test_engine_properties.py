"""What holds whatever happens, in whatever order: the engine under random commands.

Hypothesis prints the shortest sequence of commands that breaks a rule.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.queues import Desk, only

from acd.engine import Engine
from comms.bus.acd import (
    AgentConfig,
    Configure,
    Hours,
    Membership,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    OfferRefused,
    Overflow,
    OwnerRestarted,
    QueueConfig,
    Relax,
    SetAgentState,
    SetEngaged,
    SetReachable,
    Strategy,
    Tick,
    WorkArrived,
    WorkAssigned,
    WorkClosed,
    WorkEnded,
    WorkLeft,
    WorkOverflowed,
    WorkRejected,
    WrapUpEnded,
)

QUEUES = ("a", "b", "c")
AGENTS = ("p", "q", "r", "s", "t")
OWNERS = ("sip-1", "sip-2")
REFUSALS = ("declined", "no-answer", "busy", "unreachable", "failed")

strategies = st.sampled_from(Strategy.__args__)


@st.composite
def queue_configs(draw: Any, name: str) -> QueueConfig:
    others = [q for q in QUEUES if q != name]
    overflow = st.builds(
        Overflow,
        st.sampled_from(others),
        st.sampled_from([0.0, 7.0, 30.0]),
        st.sampled_from([None, 0, 2]),
    )
    week = st.sampled_from([(((0, 1440),),) * 7, (((600, 602), (605, 1000)),) * 7])
    return QueueConfig(
        name,
        strategy=draw(strategies),
        offer_timeout=draw(st.sampled_from([1.0, 5.0, 15.0])),
        wrap_up=draw(st.sampled_from([0.0, 5.0])),
        priority=draw(st.integers(-1, 1)),
        skills=draw(st.sampled_from([{}, {"x": 1}])),
        max_waiting=draw(st.sampled_from([None, None, 0, 4])),
        missed_offers_limit=draw(st.sampled_from([0, 1, 3])),
        refusal_pause=draw(st.sampled_from([0.0, 2.0])),
        hours=draw(st.none() | st.builds(Hours, weekly=week)),
        overflow=tuple(draw(st.lists(overflow, max_size=2))),
        relax=draw(st.sampled_from([(), (Relax("x", 10),)])),
    )


@st.composite
def configurations(draw: Any) -> Configure:
    names = draw(st.lists(st.sampled_from(QUEUES), unique=True, min_size=1))
    # Overflow may only go to queues that are configured.
    queues = []
    for name in names:
        queue = draw(queue_configs(name))
        kept = tuple(o for o in queue.overflow if o.to in names)
        fields = {f: getattr(queue, f) for f in queue.__struct_fields__}
        queues.append(QueueConfig(**(fields | {"overflow": kept})))
    agents = []
    for name in draw(st.lists(st.sampled_from(AGENTS), unique=True)):
        joined = draw(st.lists(st.sampled_from(QUEUES), unique=True, max_size=3))
        members = tuple(
            Membership(q, draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3)))
            for q in joined
        )
        skills = draw(st.sampled_from([{}, {"x": 1}, {"x": 2}]))
        agents.append(AgentConfig(name, queues=members, skills=skills))
    return Configure(tuple(queues), tuple(agents))


class Switchboard(RuleBasedStateMachine):
    """Everything that may be said to the engine, and what must hold after each word."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.twin = Engine()
        self.works = 0
        self.let_in: set[str] = set()
        self.gone: set[str] = set()
        self.offers: list[str] = []
        self.open_offers: dict[str, OfferMade] = {}
        #: (queue, work, work) -> whether the first was before the second
        self.places: dict[str, tuple[str, int]] = {}
        self.moved_in: set[str] = set()

    def tell(self, command: Any) -> None:
        desk = self.desk
        before = dict(self.places)
        events = desk.tell(command)
        # The same journal gives the same events, also to an engine that was restored.
        assert self.twin.apply(command, desk.now) == events
        self.check_offers(events)
        for closed in only(events, WorkClosed):
            assert closed.work in self.let_in
            assert closed.work not in self.gone, "closed twice"
            self.gone.add(closed.work)
            assert closed.waited >= 0
            assert closed.talked >= 0
        self.check_places(command, before, events)

    def check_offers(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, OfferMade):
                assert event.offer not in self.open_offers
                assert all(o.agent != event.agent for o in self.open_offers.values())
                if self.desk.engine._state.configs[event.queue].strategy != "ring-all":
                    assert all(o.work != event.work for o in self.open_offers.values())
                self.open_offers[event.offer] = event
                self.offers.append(event.offer)
            elif isinstance(event, OfferEnded):
                made = self.open_offers.pop(event.offer, None)
                if made is None:
                    assert event.outcome == "withdrawn", "an offer ended twice"
                else:
                    assert (event.work, event.agent, event.owner) == (
                        made.work,
                        made.agent,
                        made.owner,
                    )
        for assigned in only(events, WorkAssigned):
            assert all(o.work != assigned.work for o in self.open_offers.values())

    def check_places(self, command: Any, before: Any, events: list[Any]) -> None:
        """No work ever gets behind other work of its priority that it was ahead of."""
        state = self.desk.engine._state
        queued = [w for w in state.works.values() if w.state != "assigned"]
        self.places = {w.id: (w.queue, self.desk.engine.position(w.id)) for w in queued}
        if isinstance(command, Configure) or only(events, WorkOverflowed):
            return
        # Work that comes back after a transfer has its old place, before what came later.
        returned = isinstance(command, WorkArrived) and command.work in self.gone
        if returned:
            return
        newcomer = command.work if isinstance(command, WorkArrived) else None
        for work, (queue, position) in self.places.items():
            if work in before and before[work][0] == queue and work != newcomer:
                more_urgent = int(
                    newcomer in self.places
                    and self.places[newcomer][0] == queue
                    and state.works[newcomer].priority > state.works[work].priority
                )
                assert position <= before[work][1] + more_urgent

    # --- what may happen ------------------------------------------------------------------

    @initialize(config=configurations())
    def begin(self, config: Configure) -> None:
        self.tell(config)
        for agent in AGENTS:
            self.tell(SetReachable(agent, True))
            self.tell(SetAgentState(agent, "available"))

    @rule(config=configurations())
    def configure(self, config: Configure) -> None:
        self.tell(config)

    @rule(
        queue=st.sampled_from((*QUEUES, "nowhere")),
        owner=st.sampled_from(OWNERS),
        priority=st.integers(-1, 1),
        skills=st.sampled_from([{}, {}, {"x": 1}, {"x": 2}]),
        preferred=st.none() | st.sampled_from(AGENTS),
    )
    def arrive(self, queue: str, owner: str, priority: int, skills: Any, preferred: Any) -> None:
        self.works += 1
        name = f"w{self.works}"
        self.let_in.add(name)
        command = WorkArrived(name, queue, "voice", owner, priority, skills, None, preferred)
        self.tell(command)
        if name not in self.desk.engine._state.works:
            assert [e.work for e in self.desk.events if isinstance(e, WorkRejected)][-1] == name
            self.let_in.discard(name)

    @rule(data=st.data(), queue=st.sampled_from(QUEUES))
    @precondition(lambda self: self.works)
    def arrive_again(self, data: Any, queue: str) -> None:
        name = f"w{data.draw(st.integers(1, self.works))}"
        known = name in self.desk.engine._state.works
        self.tell(WorkArrived(name, queue, owner="sip-1"))
        if not known and name in self.desk.engine._state.works:
            self.let_in.add(name)
            self.gone.discard(name)

    @rule(data=st.data(), reason=st.sampled_from(["abandoned", "transferred", "menu", "failed"]))
    @precondition(lambda self: self.works)
    def leave(self, data: Any, reason: Any) -> None:
        self.tell(WorkLeft(f"w{data.draw(st.integers(1, self.works))}", reason))

    @rule(data=st.data())
    @precondition(lambda self: self.works)
    def end(self, data: Any) -> None:
        self.tell(WorkEnded(f"w{data.draw(st.integers(1, self.works))}"))

    @rule(data=st.data(), late=st.booleans())
    @precondition(lambda self: self.offers)
    def accept(self, data: Any, late: bool) -> None:
        self.tell(OfferAccepted(self.some_offer(data, late)))

    @rule(data=st.data(), late=st.booleans(), reason=st.sampled_from(REFUSALS))
    @precondition(lambda self: self.offers)
    def refuse(self, data: Any, late: bool, reason: Any) -> None:
        self.tell(OfferRefused(self.some_offer(data, late), reason))

    def some_offer(self, data: Any, late: bool) -> str:
        offers = self.offers if late or not self.open_offers else list(self.open_offers)
        return data.draw(st.sampled_from(offers))

    @rule(
        agent=st.sampled_from((*AGENTS, "nobody")),
        state=st.sampled_from(["available", "available", "break", "offline"]),
    )
    def choose(self, agent: str, state: Any) -> None:
        self.tell(SetAgentState(agent, state))

    @rule(agent=st.sampled_from(AGENTS), reachable=st.booleans())
    def register(self, agent: str, reachable: bool) -> None:
        self.tell(SetReachable(agent, reachable))

    @rule(agent=st.sampled_from(AGENTS), calls=st.integers(0, 2))
    def engage(self, agent: str, calls: int) -> None:
        self.tell(SetEngaged(agent, calls))

    @rule(agent=st.sampled_from(AGENTS))
    def end_wrap_up(self, agent: str) -> None:
        self.tell(WrapUpEnded(agent))

    @rule(data=st.data(), owner=st.sampled_from(OWNERS))
    def restart(self, data: Any, owner: str) -> None:
        state = self.desk.engine._state
        held = [w.id for w in state.works.values() if data.draw(st.booleans())]
        rings = [o for o in state.offers if data.draw(st.booleans())]
        self.tell(OwnerRestarted(owner, tuple(held), tuple(rings)))

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 20.0, 90.0]))
    def wait(self, seconds: float) -> None:
        end = self.desk.now + seconds
        while (due := self.desk.engine.next_timer()) is not None and due <= end:
            self.desk.now = max(due, self.desk.now)
            self.tell(Tick())
        self.desk.now = end

    @rule(seconds=st.sampled_from([0.1, 10.0, 100.0]))
    def nobody_leads_for_a_while(self, seconds: float) -> None:
        self.desk.now += seconds

    @rule()
    def another_leader(self) -> None:
        self.twin = Engine.restore(self.twin.snapshot())

    # --- what must hold -------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.desk.engine._state.works) == self.let_in - self.gone

    @invariant()
    def at_most_one_call_an_agent(self) -> None:
        state = self.desk.engine._state
        held = Counter(w.agent for w in state.works.values() if w.agent is not None)
        held.update(o.agent for o in state.offers.values())
        assert all(count == 1 for count in held.values())
        for agent in state.agents.values():
            assert (agent.state == "talking") == (agent.work is not None)
            assert (agent.state == "offered") == (agent.offer is not None)
            assert (agent.state == "wrap-up") == (agent.wrapping is not None)
            if agent.work is not None:
                assert state.works[agent.work].agent == agent.id
            if agent.offer is not None:
                assert state.offers[agent.offer].agent == agent.id

    @invariant()
    def work_and_offers_agree(self) -> None:
        state = self.desk.engine._state
        assert set(state.offers) == set(self.open_offers)
        for work in state.works.values():
            assert bool(work.offers) == (work.state == "offered")
            assert (work.agent is not None) == (work.state == "assigned")
            assert all(state.offers[o].work == work.id for o in work.offers)

    @invariant()
    def nobody_is_stuck(self) -> None:
        """Each state that the engine itself must end has a timer that ends it."""
        state, engine = self.desk.engine._state, self.desk.engine
        due = engine.next_timer()
        ends = [o.due for o in state.offers.values()]
        ends += [a.wrap_until for a in state.agents.values() if a.state == "wrap-up"]
        ends += [a.rest_until for a in state.agents.values() if a.rest_until > state.now]
        if ends:
            assert due is not None
            assert due <= min(ends)

    @invariant()
    def nobody_waits_while_somebody_able_is_free(self) -> None:
        engine = self.desk.engine
        for queue in engine._index.queues.values():
            for lane in queue.lanes.values():
                assert not (lane.waiting and lane.free)
        for agent in engine._state.agents.values():
            able = agent.state == "available" and agent.rest_until <= engine._state.now
            assert engine._index.is_free(agent.id) == able

    @invariant()
    def unreachable_is_never_shown_as_available(self) -> None:
        for view in self.desk.view.agents.values():
            assert view.activity not in ("available", "offered") or (
                view.reachable and view.chosen == "available" and not view.engaged
            )

    @invariant()
    def live_views_show_what_a_fresh_snapshot_shows(self) -> None:
        assert self.desk.view.shows(self.desk.engine)

    @invariant()
    def indexes_are_as_if_built_anew(self) -> None:
        engine = self.desk.engine
        fresh = Engine.restore(engine.snapshot())
        assert fresh.next_timer() == engine.next_timer()
        for name, queue in engine._index.queues.items():
            again = fresh._index.queues[name]
            assert queue.order == again.order
            assert queue.order == sorted(queue.order)
            for needs, lane in queue.lanes.items():
                if lane.waiting or lane.ringing:
                    assert lane.waiting == again.lanes[needs].waiting
                    assert lane.ringing == again.lanes[needs].ringing
                    assert lane.free == again.lanes[needs].free
                assert lane.free == sorted(lane.free)


Switchboard.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSwitchboard = Switchboard.TestCase
