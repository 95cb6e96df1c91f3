"""A-law and mu-law (ITU-T G.711), whole blocks at once.

Both laws map a byte to a sample by a table of 256 and a sample to a byte by a table of 65,536,
which is made once, when the first block is encoded.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

#: RTP payload types of RFC 3551 §6
PCMU = 0
PCMA = 8


def _alaw_decode_table() -> Samples:
    code = np.arange(256) ^ 0x55
    exponent = (code >> 4) & 7
    mantissa = code & 15
    linear = np.where(
        exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    )
    return np.where(code & 0x80, linear, -linear).astype(np.int16)


def _ulaw_decode_table() -> Samples:
    code = ~np.arange(256) & 0xFF
    exponent = (code >> 4) & 7
    mantissa = code & 15
    linear = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -linear, linear).astype(np.int16)


_DECODE = {PCMA: _alaw_decode_table(), PCMU: _ulaw_decode_table()}


@cache
def _encode_table(law: int) -> npt.NDArray[np.uint8]:
    """Return the nearest code of each sample, indexed by the sample as unsigned 16 bit."""
    values = _DECODE[law].astype(np.int32)
    order = np.argsort(values, kind="stable")
    levels = values[order]
    samples = np.arange(-32768, 32768, dtype=np.int32)
    borders = (levels[1:] + levels[:-1]) / 2
    nearest = order[np.searchsorted(borders, samples, side="right")].astype(np.uint8)
    return np.roll(nearest, 32768)


def encode(samples: Samples, law: int = PCMA) -> bytes:
    """Return the samples as bytes of payload type `law` (PCMA or PCMU).

    Raises:
        KeyError: the payload type is not of G.711.
    """
    return _encode_table(law)[samples.view(np.uint16)].tobytes()


def decode(payload: bytes, law: int = PCMA) -> Samples:
    """Return the samples of a payload of type `law` (PCMA or PCMU).

    Raises:
        KeyError: the payload type is not of G.711.
    """
    return _DECODE[law][np.frombuffer(payload, np.uint8)]
