"""From any recording to the raw payload files that an engine plays.

Samples are 16 bit, mono, at 16 kHz unless it says otherwise.
"""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from sip.media import g711
from sip.media.tones import Samples

RATE = 16000
NARROW = 8000
#: RTP payload type of G.722 (RFC 3551 §4.5.2)
G722 = 9
#: payload types that prompts exist in; each has 8,000 bytes a second
PAYLOAD_TYPES = (g711.PCMU, g711.PCMA, G722)

#: level of active speech, the nominal one of ITU-T P.56 and P.830
SPEECH_DBFS = -26.0
#: music lies beneath speech, so that nobody holds the receiver away
MUSIC_DBFS = -31.0
_PEAK_DBFS = -3.0
#: blocks quieter than this beneath the loudest block are pauses
_GATE_DB = 30.0
_BLOCK = RATE // 50
_PAUSE_BEFORE = 0.1
_PAUSE_AFTER = 0.2
#: a recording longer than this is a mistake
_LONGEST_SECONDS = 600


class AudioError(Exception):
    """A recording that cannot be read; the text says why."""


def read_recording(path: Path) -> Samples:
    """Return a recording of any rate and any number of channels.

    Raises:
        AudioError: the file is no audio, empty or far too long.
    """
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    parts: list[Samples] = []
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} has no sound in it")
            for frame in chain(container.decode(container.streams.audio[0]), (None,)):
                for piece in resampler.resample(frame):
                    parts.append(piece.to_ndarray().reshape(-1).astype(np.int16))
                    count += piece.samples
                if count > _LONGEST_SECONDS * RATE:
                    raise AudioError(f"{path} is longer than {_LONGEST_SECONDS} seconds")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioError(f"{path} cannot be read as audio: {error}") from error
    if not count:
        raise AudioError(f"{path} has no sound in it")
    return np.concatenate(parts)


def resample(samples: Samples, rate: int, to_rate: int) -> Samples:
    """Return the samples at another rate."""
    if rate == to_rate:
        return samples
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_rate)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray().reshape(-1) for part in frames]).astype(np.int16)


def _levels(samples: Samples) -> npt.NDArray[np.float64]:
    """Return the mean square of each block of 20 ms."""
    whole = len(samples) // _BLOCK * _BLOCK
    blocks = samples[:whole].astype(np.float64).reshape(-1, _BLOCK)
    levels: npt.NDArray[np.float64] = np.mean(blocks**2, axis=1)
    return levels


def trim(samples: Samples) -> Samples:
    """Return the samples without the silence around them, but with a short pause at each end."""
    levels = _levels(samples)
    if not len(levels) or not levels.max():
        return samples
    loud = np.nonzero(levels > levels.max() * 10 ** (-_GATE_DB / 10) / 10)[0]
    sound = samples[loud[0] * _BLOCK : (loud[-1] + 1) * _BLOCK]
    pauses = [np.zeros(round(s * RATE), np.int16) for s in (_PAUSE_BEFORE, _PAUSE_AFTER)]
    return np.concatenate([pauses[0], sound, pauses[1]])


def normalise(samples: Samples, dbfs: float = SPEECH_DBFS) -> Samples:
    """Return the samples with what is not pause at `dbfs`, or less where peaks forbid it."""
    levels = _levels(samples)
    if not len(levels) or not levels.max():
        return samples
    active = levels[levels > levels.max() * 10 ** (-_GATE_DB / 10)]
    level = math.sqrt(float(np.mean(active)))
    gain = 32768.0 * 10 ** (dbfs / 20) / level
    peak = float(np.max(np.abs(samples.astype(np.int32))))
    gain = min(gain, 32768.0 * 10 ** (_PEAK_DBFS / 20) / peak)
    return np.rint(samples.astype(np.float64) * gain).astype(np.int16)


def payloads(samples: Samples, *, looped: bool = False) -> dict[int, bytes]:
    """Return the raw payload of each of PAYLOAD_TYPES.

    `looped` says that the end is followed by the beginning: what filters and the adaptive G.722
    coder remember of the end is then taken into account at the beginning.
    """
    whole = samples[: len(samples) // _BLOCK * _BLOCK]
    source = np.concatenate([whole, whole, whole]) if looped else whole
    narrow = resample(source, RATE, NARROW)
    size = len(whole) // 2
    start = size if looped else 0
    narrow = narrow[start : start + size]
    narrow = np.concatenate([narrow, np.zeros(size - len(narrow), np.int16)])
    wide = _g722(source)[start : start + size]
    return {
        g711.PCMU: g711.encode(narrow, g711.PCMU),
        g711.PCMA: g711.encode(narrow, g711.PCMA),
        G722: wide,
    }


def _g722(samples: Samples) -> bytes:
    encoder = av.CodecContext.create("g722", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = RATE
    encoder.layout = "mono"
    encoder.format = "s16"
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = RATE
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
