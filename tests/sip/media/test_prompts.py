"""Texts become payload files, once, and an operator's recording takes their place."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from sip.media import g711, music, prompt_texts, speech
from sip.media.audio_files import AudioError, normalise, payloads, read_recording, resample, trim
from sip.media.prompts import PromptError, PromptStore
from sip.media.tones import Samples, rms, tone, tone_share


def decode_g722(data: bytes) -> Samples:
    decoder = av.CodecContext.create("g722", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = 16000
    decoder.layout = "mono"
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)


def write_wav(path: Path, samples: Samples, rate: int, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.repeat(samples, channels).tobytes())


@pytest.fixture
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three texts in place of the catalogue, and short music."""
    texts = {
        "greeting": {"de": "Guten Tag aus {city}.", "en": "Hello from {city}."},
        "only-german": {"de": "Nur auf Deutsch."},
    }
    monkeypatch.setattr("sip.media.prompts.TEXTS", texts)
    monkeypatch.setattr("sip.media.music.compose", lambda: tone(440, 0.4, 16000))


def test_every_prompt_has_both_languages_and_a_name_to_refer_to_it() -> None:
    for name, texts in prompt_texts.TEXTS.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert set(texts) == set(prompt_texts.LANGUAGES)
        assert all(text.format(city="X").strip().endswith(".") for text in texts.values())
    for position in range(1, prompt_texts.LAST_SPOKEN_POSITION + 1):
        assert f"position-{position}" in prompt_texts.TEXTS


@pytest.mark.usefixtures("few_texts")
class TestStore:
    def test_makes_what_is_missing_and_nothing_twice(self, tmp_path: Path) -> None:
        store = PromptStore(tmp_path)
        assert store.missing() == ["de/greeting", "en/greeting", "de/only-german", "any/moh"]
        seen: list[tuple[int, int]] = []
        store.ensure(lambda done, total: seen.append((done, total)))
        assert seen == [(done, 4) for done in range(5)]
        assert store.missing() == []
        before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}
        seen.clear()
        store.ensure(lambda done, total: seen.append((done, total)))
        assert seen == [(0, 0)]
        assert before == {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/*")}

        german, english = store.path("greeting", "de"), store.path("greeting", "en")
        assert german.endswith("/de/greeting")
        for path in (german, english):
            sizes = {payload: Path(f"{path}.{payload}").stat().st_size for payload in (0, 8, 9)}
            assert len(set(sizes.values())) == 1
            assert sizes[8] % 160 == 0
            assert store.duration("greeting", path.split("/")[-2]) == sizes[8] / 8000 > 0.5
            narrow = g711.decode(Path(f"{path}.8").read_bytes(), g711.PCMA)
            assert 500 < rms(narrow) < 3000
            wide = decode_g722(Path(f"{path}.9").read_bytes())
            assert len(wide) == 2 * len(narrow)
            assert rms(wide) == pytest.approx(rms(narrow), rel=0.3)

        # another city's name is another text
        PromptStore(tmp_path, city="Hinterzarten").ensure(
            lambda done, total: seen.append((done, total))
        )
        assert seen[-1] == (2, 2)

    def test_a_missing_language_is_given_in_the_other(self, tmp_path: Path) -> None:
        store = PromptStore(tmp_path)
        store.ensure()
        assert store.path("only-german", "en") == store.path("only-german", "de")
        assert store.path("moh", "de") == store.path("moh", "en") == str(tmp_path / "any" / "moh")
        for wrong in ("gruß", "../de/greeting", ""):
            with pytest.raises(PromptError, match="unknown-prompt"):
                store.path(wrong, "de")
        with pytest.raises(PromptError, match="unknown-prompt"):
            store.duration("gruß", "de")

    @pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (8000, 1), (22050, 1)])
    def test_an_operators_recording_replaces_a_text_until_it_is_taken_away(
        self, tmp_path: Path, rate: int, channels: int
    ) -> None:
        store = PromptStore(tmp_path)
        store.ensure()
        spoken = Path(store.path("greeting", "de") + ".8").read_bytes()
        recording = tmp_path / "custom" / "de" / "greeting.wav"
        write_wav(recording, tone(700, 1.0, rate, -3), rate, channels)
        write_wav(tmp_path / "custom" / "en" / "library.wav", tone(500, 0.5, 8000), 8000)
        store.ensure()
        played = g711.decode(Path(store.path("greeting", "de") + ".8").read_bytes(), g711.PCMA)
        assert tone_share(played, 700, 8000) > 0.9
        assert store.duration("greeting", "de") == pytest.approx(1.0, abs=0.03)
        assert store.path("library", "de").endswith("/en/library")
        recording.unlink()
        store.ensure()
        assert Path(store.path("greeting", "de") + ".8").read_bytes() == spoken

    def test_an_unreadable_recording_is_named_and_the_text_stays(self, tmp_path: Path) -> None:
        store = PromptStore(tmp_path)
        store.ensure()
        spoken = Path(store.path("greeting", "de") + ".8").read_bytes()
        folder = tmp_path / "custom" / "de"
        folder.mkdir(parents=True)
        (folder / "greeting.wav").write_bytes(b"no sound at all")
        write_wav(folder / "only-german.wav", np.zeros(0, np.int16), 8000)
        store.ensure()
        assert len(store.problems) == 2
        assert any("greeting.wav" in problem for problem in store.problems)
        assert Path(store.path("greeting", "de") + ".8").read_bytes() == spoken

    def test_a_damaged_note_of_what_was_made_is_made_anew(self, tmp_path: Path) -> None:
        store = PromptStore(tmp_path)
        store.ensure()
        (tmp_path / "made.json").write_text("{")
        (tmp_path / "de" / "greeting.9").unlink()
        store.ensure()
        assert store.missing() == []
        assert [file for file in tmp_path.iterdir() if file.name.startswith(".making")] == []

    def test_a_folder_that_cannot_be_written_is_a_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(PromptError, match="no-folder"):
            PromptStore(tmp_path / "file" / "prompts").ensure()

    def test_without_any_voice_the_error_says_what_was_tried(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "espeakng_loader.py").write_text("raise ImportError('none here')")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(PromptError, match=r"no-voice.*none here.*not installed"):
            PromptStore(tmp_path / "prompts").ensure()


def test_a_store_is_read_without_loading_codecs() -> None:
    code = "import sys, sip.media.prompts; print({'av', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_operating_systems_voice_can_take_the_librarys_place() -> None:
    samples, rate = speech._Program().speak("de", "Guten Tag.")
    assert 0.4 < len(samples) / 2 / rate < 3
    with pytest.raises(speech.SpeechError):
        speech._Program().speak("klingon-9", "Guten Tag.")


def test_speech_is_trimmed_and_brought_to_one_loudness() -> None:
    sound = np.concatenate([np.zeros(8000, np.int16), tone(500, 1.0, 16000, -40)])
    trimmed = trim(np.concatenate([sound, np.zeros(16000, np.int16)]))
    assert len(trimmed) / 16000 == pytest.approx(1.3, abs=0.05)
    loud = normalise(trimmed)
    level = 20 * np.log10(rms(loud[4800:16000]) / 32768)
    assert level == pytest.approx(-26, abs=0.3)
    assert len(normalise(np.zeros(1600, np.int16))) == 1600


def test_resampling_keeps_a_tone() -> None:
    moved = resample(tone(1000, 1.0, 22050), 22050, 16000)
    assert len(moved) == pytest.approx(16000, abs=40)
    assert tone_share(moved[:15000], 1000, 16000) > 0.99


def test_music_loops_without_a_seam_in_every_codec() -> None:
    piece = music.compose()
    assert len(piece) == 40 * 16000
    assert np.array_equal(piece, music.compose())
    for payload, data in payloads(piece, looped=True).items():
        assert len(data) == 40 * 8000
        twice = data + data
        heard = decode_g722(twice) if payload == 9 else g711.decode(twice, payload)
        steps = np.abs(np.diff(heard.astype(np.int32)))
        seam = len(heard) // 2
        assert steps[seam - 200 : seam + 200].max() <= steps[2000:-2000].max()


def test_a_recording_longer_than_ten_minutes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sip.media.audio_files._LONGEST_SECONDS", 1)
    write_wav(tmp_path / "long.wav", tone(500, 2.0), 8000)
    with pytest.raises(AudioError, match="longer than"):
        read_recording(tmp_path / "long.wav")
