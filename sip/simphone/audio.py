"""What simulated people say: frames of 20 ms, encoded once and shared by all calls."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sip.media import g711
from sip.media.tones import Samples, tone

FRAME_SAMPLES = 160
RATE = 8000

Frames = tuple[bytes, ...]
#: what a phone sends while nobody speaks
SILENCE: Frames = (b"\xd5" * FRAME_SAMPLES,)
Sound = npt.NDArray[np.float64]


def frames(samples: Samples) -> Frames:
    """Cut samples at 8 kHz into PCMA payloads of 20 ms; the last one is filled with silence."""
    rest = -len(samples) % FRAME_SAMPLES
    payload = g711.encode(np.concatenate([samples, np.zeros(rest, np.int16)]))
    return tuple(
        payload[start : start + FRAME_SAMPLES] for start in range(0, len(payload), FRAME_SAMPLES)
    )


@lru_cache(maxsize=64)
def tone_frames(hz: float) -> Frames:
    """Return a second of a tone that loops without a click, for whole numbers of hertz."""
    return frames(tone(float(round(hz)), 1.0, RATE))


@lru_cache(maxsize=64)
def babble_frames(seed: int, pitch: float = 140.0, seconds: float = 6.0) -> Frames:
    """Return soft, speech-like babble: voiced syllables with melody, and pauses for breath.

    Nobody's voice and no words, yet a person who joins the call at once hears somebody talking.
    """
    chance = np.random.default_rng(seed)
    count = round(seconds * RATE)
    out = np.zeros(count, np.float64)
    at = 0
    while at < count:
        if chance.random() < 0.12:
            at += round(float(chance.uniform(0.25, 0.6)) * RATE)
            continue
        length = min(round(float(chance.uniform(0.12, 0.28)) * RATE), count - at)
        out[at : at + length] += _syllable(chance, length, pitch)
        at += length + round(float(chance.uniform(0.0, 0.05)) * RATE)
    peak = float(np.max(np.abs(out))) or 1.0
    return frames((out / peak * 32767 * 10 ** (-20 / 20)).astype(np.int16))


def _syllable(chance: np.random.Generator, length: int, pitch: float) -> Sound:
    time = np.arange(length) / RATE
    start = pitch * float(chance.uniform(0.85, 1.2))
    end = start * float(chance.uniform(0.85, 1.1))
    phase = 2 * np.pi * (start * time + (end - start) * time**2 / (2 * max(time[-1], 1e-6)))
    first, second = chance.uniform(300, 800), chance.uniform(900, 2200)
    sound = np.zeros(length)
    for harmonic in range(1, 22):
        hz = harmonic * start
        if hz > 3300:
            break
        # two resonances make a vowel; the slope of the voice does the rest
        gain = 1 / (1 + ((hz - first) / 120) ** 2) + 0.5 / (1 + ((hz - second) / 180) ** 2)
        sound += (gain + 0.02) * np.sin(harmonic * phase)
    envelope = np.hanning(length) ** 0.3
    syllable: Sound = sound * envelope
    return syllable


def prompt_frames(path: Path) -> Frames:
    """Return a stored prompt (raw A-law without header, as the media engine plays it).

    Raises:
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    return tuple(
        data[start : start + FRAME_SAMPLES].ljust(FRAME_SAMPLES, b"\xd5")
        for start in range(0, len(data), FRAME_SAMPLES)
    )
