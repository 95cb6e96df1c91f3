"""Test tones and how to recognise them: what the probe and the tests prove audio with.

A tone proves more than packet counters do: it went through the phone's encoder, the media engine
and the other phone's decoder. Levels and shares are plain numbers, so that a monitor can keep
them. Samples are 16 bit, mono.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

#: A frame quieter than this (root mean square of 16-bit samples, about -50 dBFS) is silence.
SILENCE_RMS = 100.0
#: Share of a block's energy that a pure tone keeps after G.711, a jitter buffer and resampling.
PURE_SHARE = 0.6


def tone(hz: float, seconds: float, rate: int = 8000, level_dbfs: float = -12.0) -> Samples:
    """Return a sine of `hz` as samples at `rate` per second.

    Raises:
        ValueError: `hz` is not between 0 and half the rate.
    """
    if not 0 < hz < rate / 2:
        raise ValueError(f"a tone of {hz} Hz cannot be sampled at {rate} Hz")
    peak = 32767.0 * 10 ** (level_dbfs / 20)
    steps = np.arange(round(seconds * rate), dtype=np.float64)
    return np.rint(peak * np.sin(2 * math.pi * hz / rate * steps)).astype(np.int16)


def rms(samples: Samples) -> float:
    """Return the root mean square of the samples, 0.0 for none."""
    if not len(samples):
        return 0.0
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def tone_share(samples: Samples, hz: float, rate: int) -> float:
    """Return which share (0 to 1) of the block's energy lies at `hz`, by Goertzel's algorithm.

    A pure tone gives nearly 1 as long as the block holds several periods; silence, speech and
    another tone give little. One frequency of a whole block is one inner product, which is what
    Goertzel's recursion computes.
    """
    count = len(samples)
    if count == 0:
        return 0.0
    block = samples.astype(np.float64)
    energy = float(np.dot(block, block))
    if energy < SILENCE_RMS**2 * count:
        return 0.0
    angle = 2 * math.pi * hz / rate * np.arange(count)
    real = float(np.dot(block, np.cos(angle)))
    imaginary = float(np.dot(block, np.sin(angle)))
    return min(1.0, 2 * (real * real + imaginary * imaginary) / (count * energy))


def tone_seconds(samples: Samples, hz: float, rate: int, block: float = 0.04) -> float:
    """Return for how many seconds in total the tone is heard, in blocks of `block` seconds."""
    size = max(1, round(block * rate))
    heard = sum(
        tone_share(samples[start : start + size], hz, rate) >= PURE_SHARE
        for start in range(0, len(samples) - size + 1, size)
    )
    return heard * size / rate
