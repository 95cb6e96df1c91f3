"""The queue's decision engine: pure, deterministic, without clock, network or chance."""

from .configuration import check
from .core import Engine
from .errors import EngineError, ImpossibleTransition, InvalidConfiguration, InvalidSnapshot

__all__ = [
    "Engine",
    "EngineError",
    "ImpossibleTransition",
    "InvalidConfiguration",
    "InvalidSnapshot",
    "check",
]
