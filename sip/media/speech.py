"""Speaks texts: `python -m sip.media.speech`, a process of its own around eSpeak NG.

eSpeak NG stands under GPL-3, therefore it is never loaded into another process of this program.
Each line on standard input is a job `{"voice": ..., "text": ..., "file": ...}`; the speech is
written to `file` as raw 16-bit samples of this machine's byte order, mono, and a line
`{"rate": ...}` or `{"error": ...}` answers. Where the library of `espeakng-loader` cannot be
loaded, the program `espeak-ng` of the operating system speaks.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

#: words a minute; slower than conversation, for callers who listen to a menu
RATE = 145
_NICENESS = 10

# speak_lib.h
_OUTPUT_SYNCHRONOUS = 2
_POSITION_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH_RANGE = 4
_PITCH_RANGE = 40

Speaker = Callable[[str, str], tuple[bytes, int]]


class SpeechError(Exception):
    """No voice could be found, or it refused a text."""


class _Library:
    """The library that `espeakng-loader` brings along."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            SpeechError: it cannot be loaded.
        """
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = os.fsencode(espeakng_loader.get_data_path())
        except (ImportError, OSError) as error:
            raise SpeechError(f"the library cannot be loaded: {error}") from error
        self._rate: int = self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, data, 0)
        if self._rate <= 0:
            raise SpeechError("the library found no data of its own")
        self._samples = io.BytesIO()
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
        )
        self._callback = kind(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_SetParameter(_PARAMETER_RATE, RATE, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH_RANGE, _PITCH_RANGE, 0)

    def speak(self, voice: str, text: str) -> tuple[bytes, int]:
        """Return the speech as raw samples, and their rate.

        Raises:
            SpeechError: the voice is unknown or speaking failed.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechError(f"there is no voice {voice}")
        self._samples = io.BytesIO()
        raw = text.encode() + b"\0"
        failed = self._library.espeak_Synth(
            raw, len(raw), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if failed or self._library.espeak_Synchronize() != 0:
            raise SpeechError("the text was not spoken")
        return self._samples.getvalue(), self._rate

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
        if samples and count > 0:
            self._samples.write(ctypes.string_at(samples, count * 2))
        return 0


class _Program:
    """The program of the operating system."""

    def __init__(self) -> None:
        """Find it.

        Raises:
            SpeechError: it is not installed.
        """
        found = shutil.which("espeak-ng")
        if found is None:
            raise SpeechError("the program espeak-ng is not installed")
        self._program = found

    def speak(self, voice: str, text: str) -> tuple[bytes, int]:
        """Return the speech as raw samples, and their rate.

        Raises:
            SpeechError: the program failed.
        """
        done = subprocess.run(
            [self._program, "-v", voice, "-s", str(RATE), "--stdin", "--stdout"],
            input=text.encode(),
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise SpeechError(done.stderr.decode(errors="replace").strip() or "espeak-ng failed")
        # A WAV on a pipe has no true length in its header: everything behind it is sound.
        with wave.open(io.BytesIO(done.stdout)) as reader:
            return done.stdout[44:], reader.getframerate()


def find_speaker() -> Speaker:
    """Return what speaks here.

    Raises:
        SpeechError: nothing does; the text says what was tried.
    """
    reasons = []
    for kind in (_Library, _Program):
        try:
            return kind().speak
        except SpeechError as error:
            reasons.append(str(error))
    raise SpeechError("; ".join(reasons))


def main() -> None:
    """Speak each job of standard input."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    try:
        speak = find_speaker()
    except SpeechError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        raise SystemExit(1) from None
    for line in sys.stdin:
        job = json.loads(line)
        answer: dict[str, object]
        try:
            samples, rate = speak(job["voice"], job["text"])
            Path(job["file"]).write_bytes(samples)
            answer = {"rate": rate}
        except (SpeechError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
