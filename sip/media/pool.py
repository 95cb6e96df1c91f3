"""Several engine processes as one: which of them takes a session, and which has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sip.media.engine import Local, MediaError, Remote
from sip.media.rtpio import RtpIoEngine

#: Plain calls that one engine carries with its jitter still unheard; more than this many sessions
#: are refused, so that calls in progress keep their quality.
SESSIONS_PER_ENGINE = 800

LostCallback = Callable[[str, list[str]], None]
BackCallback = Callable[[str], None]


class EnginePool:
    """Places sessions on the engine that has the fewest."""

    def __init__(
        self,
        engines: Iterable[RtpIoEngine],
        *,
        on_lost: LostCallback | None = None,
        on_back: BackCallback | None = None,
        limit: int = SESSIONS_PER_ENGINE,
    ) -> None:
        """Take charge of the engines.

        `on_lost` gets an engine's name and the ids of the sessions that were on it; they are
        forgotten here before it is called, so that they can be placed anew at once.
        """
        self._engines = {engine.name: engine for engine in engines}
        self._on_lost = on_lost
        self._on_back = on_back
        self._limit = limit
        self._where: dict[str, RtpIoEngine] = {}
        self._load: dict[str, set[str]] = {name: set() for name in self._engines}
        for engine in self._engines.values():
            engine.on_lost = self._lost
            engine.on_back = self._back

    @property
    def engines(self) -> list[RtpIoEngine]:
        """All engines, alive or not."""
        return list(self._engines.values())

    @property
    def alive(self) -> int:
        """How many engines answer."""
        return sum(engine.alive for engine in self._engines.values())

    @property
    def free(self) -> int:
        """How many more sessions can be placed now."""
        return sum(
            max(0, self._limit - len(self._load[name]))
            for name, engine in self._engines.items()
            if engine.alive
        )

    def place(self, session: str) -> RtpIoEngine:
        """Return the engine for a session: where it is, or the least loaded one that is alive.

        Raises:
            MediaError: "no-engine" if none is alive, "no-room" if all are full.
        """
        engine = self._where.get(session)
        if engine is not None:
            return engine
        alive = [engine for engine in self._engines.values() if engine.alive]
        if not alive:
            raise MediaError("no-engine", "no media engine is running")
        engine = min(alive, key=lambda engine: len(self._load[engine.name]))
        if len(self._load[engine.name]) >= self._limit:
            raise MediaError("no-room", "all media engines are full")
        self._put(session, engine)
        return engine

    def adopt(
        self,
        session: str,
        engine_name: str,
        local_a: Local,
        local_b: Local,
        a: Remote | None,
        b: Remote | None,
    ) -> RtpIoEngine:
        """Take over a session that a former process placed; sides as it last told the engine.

        Raises:
            MediaError: "no-engine" if that engine is unknown or gone, and the session with it.
        """
        engine = self._engines.get(engine_name)
        if engine is None or not engine.alive:
            raise MediaError("no-engine", f"the engine {engine_name} is not running")
        engine.adopt(session, local_a, local_b, a, b)
        self._put(session, engine)
        return engine

    def where(self, session: str) -> RtpIoEngine | None:
        """Return the engine that has the session."""
        return self._where.get(session)

    def on(self, engine_name: str) -> frozenset[str]:
        """Return the ids of the sessions on an engine."""
        return frozenset(self._load.get(engine_name, ()))

    def forget(self, session: str) -> None:
        """The session was deleted."""
        engine = self._where.pop(session, None)
        if engine is not None:
            self._load[engine.name].discard(session)

    async def close(self) -> None:
        """End the connections; sessions go on."""
        for engine in self._engines.values():
            await engine.close()

    def _put(self, session: str, engine: RtpIoEngine) -> None:
        self.forget(session)
        self._where[session] = engine
        self._load[engine.name].add(session)

    def _lost(self, engine: RtpIoEngine) -> None:
        sessions = sorted(self._load[engine.name])
        for session in sessions:
            self.forget(session)
        if self._on_lost is not None:
            self._on_lost(engine.name, sessions)

    def _back(self, engine: RtpIoEngine) -> None:
        if self._on_back is not None:
            self._on_back(engine.name)
