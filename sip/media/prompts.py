"""The spoken prompts and the music: made once at set-up, played by the engines.

    <folder>/<language>/<name>.<payload type>    what an engine plays
    <folder>/custom/<language>/<name>.wav        an operator's recording in place of a spoken text
    <folder>/made.json                           from what each prompt was made

`any` stands in place of a language for what has no words. A recording may have any rate and
number of channels; its name may also be a new one, for a queue's own greeting.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from sip.media.engine import MediaError
from sip.media.prompt_texts import LANGUAGES, TEXTS

if TYPE_CHECKING:
    from sip.media.tones import Samples

MUSIC = "moh"
WORDLESS = "any"
#: raised when the way from text to payload changes, so that everything is made anew
VERSION = 1
#: bytes a second of every payload type that prompts are kept in
_BYTES_PER_SECOND = 8000.0
_PAYLOAD_TYPES = (0, 8, 9)
_VOICES = {"de": "de", "en": "en"}
_CUSTOM = "custom"
_MADE = "made.json"

Progress = Callable[[int, int], None]

_log = structlog.get_logger(__name__)


class PromptError(MediaError):
    """A prompt that does not exist, or could not be made. `code` is a stable id."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What a prompt is made from: a recording, a text, or else the music."""

    language: str
    name: str
    text: str = ""
    recording: Path | None = None

    @property
    def id(self) -> str:
        return f"{self.language}/{self.name}"

    def key(self) -> str:
        """Return the hash that changes when the prompt has to be made anew."""
        content = self.recording.read_bytes() if self.recording is not None else b""
        words = f"{VERSION}\0{self.id}\0{_VOICES.get(self.language, '')}\0{self.text}\0"
        return hashlib.sha256(words.encode() + content).hexdigest()


class PromptStore:
    """The prompts of one folder. Reading needs neither a voice nor a codec."""

    def __init__(self, folder: Path, *, city: str = "Musterstadt") -> None:
        """Prompts name the city `city`."""
        self._folder = folder.absolute()
        self._city = city
        self._paths: dict[tuple[str, str], str] = {}
        #: recordings that the last `ensure` could not use, each with its reason
        self.problems: tuple[str, ...] = ()

    # what calls ask

    def path(self, name: str, language: str) -> str:
        """Return where a prompt is, without the payload type's suffix.

        A prompt that is not there in `language` is given in another language.

        Raises:
            PromptError: "unknown-prompt" if there is none of that name.
        """
        known = self._paths.get((name, language))
        if known is None:
            known = self._find(name, language)
            self._paths[name, language] = known
        return known

    def duration(self, name: str, language: str) -> float:
        """Return how many seconds a prompt lasts.

        Raises:
            PromptError: "unknown-prompt" if there is none of that name.
        """
        # Not remembered: a recording may have been replaced while calls go on.
        return os.stat(f"{self.path(name, language)}.8").st_size / _BYTES_PER_SECOND

    def missing(self) -> list[str]:
        """Return the prompts of the catalogue that are not there, as `language/name`."""
        wanted = [f"{language}/{name}" for name, texts in TEXTS.items() for language in texts]
        return [id_ for id_ in [*wanted, f"{WORDLESS}/{MUSIC}"] if not self._is_there(id_)]

    def _find(self, name: str, language: str) -> str:
        if "/" not in name and not name.startswith("."):
            for choice in (language, WORDLESS, *LANGUAGES):
                if self._is_there(f"{choice}/{name}"):
                    return str(self._folder / choice / name)
        raise PromptError("unknown-prompt", f"there is no prompt {name!r} in {self._folder}")

    def _is_there(self, id_: str) -> bool:
        return all((self._folder / f"{id_}.{payload}").exists() for payload in _PAYLOAD_TYPES)

    # set-up

    def ensure(self, progress: Progress | None = None) -> None:
        """Make the prompts that are missing or out of date; `progress` gets (done, total).

        A recording that cannot be used is noted in `problems` and logged; the spoken text stays
        in use then.

        Raises:
            PromptError: "no-voice" if nothing here speaks, "no-folder" if nothing can be written.
        """
        tell = progress or (lambda done, total: None)
        problems: list[str] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".making-") as scratch:
                _Making(self._folder, Path(scratch), self._sources(), tell, problems).run()
        except OSError as error:
            raise PromptError("no-folder", f"prompts cannot be kept: {error}") from error
        self.problems = tuple(problems)
        for problem in problems:
            _log.warning("prompt-unusable", problem=problem)
        self._paths.clear()

    def _sources(self) -> dict[str, list[_Source]]:
        """Return what each prompt can be made from, the preferred source first."""
        sources: dict[str, list[_Source]] = {}
        for file in sorted(self._folder.glob(f"{_CUSTOM}/*/*.wav")):
            if file.parent.name in (*LANGUAGES, WORDLESS):
                source = _Source(file.parent.name, file.stem, recording=file)
                sources.setdefault(source.id, []).append(source)
        for name, texts in TEXTS.items():
            for language, text in texts.items():
                source = _Source(language, name, text.format(city=self._city))
                sources.setdefault(source.id, []).append(source)
        music = _Source(WORDLESS, MUSIC)
        sources.setdefault(music.id, []).append(music)
        return sources


class _Making:
    """One run over what is out of date."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        sources: dict[str, list[_Source]],
        progress: Progress,
        problems: list[str],
    ) -> None:
        self._folder = folder
        self._scratch = scratch
        self._sources = sources
        self._progress = progress
        self._problems = problems
        self._lock = threading.Lock()
        self._made = _read_made(folder / _MADE)
        self._done = 0
        self._total = 0

    def run(self) -> None:
        """Make what is missing, several at a time."""
        todo = [choices for choices in self._sources.values() if not self._is_fresh(choices[0])]
        self._total = len(todo)
        self._progress(0, self._total)
        if not todo:
            return
        workers = min(len(todo), os.cpu_count() or 1)
        with ThreadPoolExecutor(workers) as pool:
            try:
                list(pool.map(self._share, [todo[number::workers] for number in range(workers)]))
            finally:
                temporary = self._scratch / _MADE
                temporary.write_text(json.dumps(self._made, indent=1, sort_keys=True))
                temporary.replace(self._folder / _MADE)

    def _is_fresh(self, source: _Source) -> bool:
        files = [self._folder / f"{source.id}.{payload}" for payload in _PAYLOAD_TYPES]
        return self._made.get(source.id) == source.key() and all(file.exists() for file in files)

    def _share(self, todo: list[list[_Source]]) -> None:
        with _Voice(self._scratch) as voice:
            for choices in todo:
                self._make(choices, voice)
                with self._lock:
                    self._done += 1
                    self._progress(self._done, self._total)

    def _make(self, choices: list[_Source], voice: _Voice) -> None:
        from sip.media.audio_files import AudioError

        for source in choices:
            if self._is_fresh(source):
                return
            try:
                self._write(source, *self._sound(source, voice))
            except AudioError as error:
                with self._lock:
                    self._problems.append(str(error))
                continue
            with self._lock:
                self._made[source.id] = source.key()
            return

    def _sound(self, source: _Source, voice: _Voice) -> tuple[Samples, bool]:
        """Return what a prompt sounds like, and whether it is played in a loop."""
        from sip.media import audio_files, music

        if source.recording is not None:
            looped = source.name == MUSIC
            level = audio_files.MUSIC_DBFS if looped else audio_files.SPEECH_DBFS
            sound = audio_files.read_recording(source.recording)
            return audio_files.normalise(sound, level), looped
        if source.text:
            spoken = audio_files.trim(voice.speak(_VOICES[source.language], source.text))
            return audio_files.normalise(spoken), False
        return audio_files.normalise(music.compose(), audio_files.MUSIC_DBFS), True

    def _write(self, source: _Source, sound: Samples, looped: bool) -> None:
        from sip.media import audio_files

        folder = self._folder / source.language
        folder.mkdir(exist_ok=True)
        for payload, data in audio_files.payloads(sound, looped=looped).items():
            temporary = self._scratch / f"{source.language}-{source.name}.{payload}"
            temporary.write_bytes(data)
            temporary.replace(folder / f"{source.name}.{payload}")


class _Voice:
    """A speaking process, started when the first text comes."""

    def __init__(self, scratch: Path) -> None:
        self._file = scratch / f"speech-{threading.get_ident()}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> _Voice:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()

    def speak(self, voice: str, text: str) -> Samples:
        """Return a text as speech.

        Raises:
            PromptError: "no-voice".
        """
        import numpy as np

        from sip.media import audio_files

        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sip.media.speech"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"voice": voice, "text": text, "file": str(self._file)}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the speaking process ended"}
        if "error" in answer:
            raise PromptError("no-voice", str(answer["error"]))
        samples = np.fromfile(self._file, np.int16)
        return audio_files.resample(samples, int(answer["rate"]), audio_files.RATE)


def _read_made(file: Path) -> dict[str, str]:
    """Return the keys of what was made; nothing if the file is missing or damaged."""
    try:
        made = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}
