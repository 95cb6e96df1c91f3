"""What the engine can refuse."""

from __future__ import annotations


class EngineError(Exception):
    """Root of the engine's errors; `id` is stable."""

    id = "acd-engine"


class InvalidConfiguration(EngineError):
    """A configuration that cannot be carried out; nothing of it was taken over."""

    id = "acd-invalid-configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class InvalidSnapshot(EngineError):
    """Bytes that are no snapshot of this version of the engine."""

    id = "acd-invalid-snapshot"


class ImpossibleTransition(EngineError):
    """An input that the state table excludes: a defect of the engine itself."""

    id = "acd-impossible-transition"
