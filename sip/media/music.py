"""Music on hold that the project makes itself: a soft piece of 40 s that loops without a seam.

Broken chords of a mallet-like tone over a slow pad, in F major, all within the band that a
telephone carries. Every note's end wraps round to the piece's beginning, so that the loop has no
cut; the same numbers come out on every machine.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float64]

RATE = 16000
#: seconds a chord lasts; eight chords make the piece
_BAR = 5.0
_STEPS = 8

#: semitones above A4 (440 Hz) of each chord's notes, from low to high: F, Dm7, B flat, C, F/A,
#: Gm7, B flat, C7
_CHORDS: tuple[tuple[int, ...], ...] = (
    (-16, -12, -9, -4, 0),
    (-19, -12, -9, -7, -4),
    (-11, -7, -4, 1, 5),
    (-9, -5, -2, 3, 7),
    (-12, -9, -4, 0, 3),
    (-14, -11, -7, -4, 1),
    (-11, -7, -4, 1, 5),
    (-9, -5, -2, 1, 7),
)
#: which note of the chord each step plays; None rests
_FIGURE: tuple[int | None, ...] = (0, 2, 3, 4, 2, 3, 1, None)
_ANSWER: tuple[int | None, ...] = (1, 3, 4, 2, None, 3, 2, 1)


def _hertz(semitone: int) -> float:
    return float(440.0 * 2.0 ** (semitone / 12))


def _mallet(hertz: float) -> Sound:
    """A struck tone that fades within three seconds."""
    time = np.arange(round(3.0 * RATE)) / RATE
    tone = np.zeros_like(time)
    for partial, gain, decay in ((1.0, 1.0, 1.6), (2.0, 0.28, 2.6), (3.0, 0.10, 4.5)):
        tone += gain * np.exp(-decay * time) * np.sin(2 * np.pi * partial * hertz * time)
    attack = np.minimum(1.0, time / 0.012)
    release = np.minimum(1.0, (time[-1] - time) / 0.2)
    sound: Sound = tone * attack * release
    return sound


def _pad(hertz: float) -> Sound:
    """A tone that swells and fades over a bar and a half, slightly detuned against itself."""
    time = np.arange(round(1.5 * _BAR * RATE)) / RATE
    tone = np.sin(2 * np.pi * hertz * time) + np.sin(2 * np.pi * hertz * 1.003 * time + 1.0)
    tone += 0.3 * np.sin(2 * np.pi * 2 * hertz * 0.999 * time)
    sound: Sound = tone * np.hanning(len(time))
    return sound


def _add(piece: Sound, sound: Sound, at: float, gain: float) -> None:
    """Mix a sound in; what goes beyond the end continues at the beginning."""
    start = round(at * RATE) % len(piece)
    places = (start + np.arange(len(sound))) % len(piece)
    np.add.at(piece, places, gain * sound)


def compose() -> npt.NDArray[np.int16]:
    """Return the piece at 16 kHz."""
    piece = np.zeros(round(len(_CHORDS) * _BAR * RATE))
    for number, chord in enumerate(_CHORDS):
        begin = number * _BAR
        for note in chord[1:4]:
            _add(piece, _pad(_hertz(note)), begin - 0.25 * _BAR, 0.10)
        figure = _FIGURE if number % 2 == 0 else _ANSWER
        for step, index in enumerate(figure):
            if index is not None:
                accent = 0.34 if step == 0 else 0.22 + 0.04 * ((step * 5) % 3)
                _add(piece, _mallet(_hertz(chord[index])), begin + step * _BAR / _STEPS, accent)
    peak = float(np.max(np.abs(piece)))
    return np.rint(piece / peak * 32767 * 0.5).astype(np.int16)
