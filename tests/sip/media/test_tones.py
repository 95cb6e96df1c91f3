"""Tones are recognised through noise of coding, and nothing else passes for one."""

import numpy as np
import pytest

from sip.media.tones import rms, tone, tone_seconds, tone_share


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("hz", [400.0, 700.0, 1040.0, 1333.0])
def test_pure_tone_keeps_its_share(hz: float, rate: int) -> None:
    samples = tone(hz, 0.2, rate)
    assert tone_share(samples, hz, rate) > 0.98
    assert tone_share(samples, hz + 300, rate) < 0.05
    assert tone_seconds(samples, hz, rate) == pytest.approx(0.2, abs=0.04)


def test_level_is_what_was_asked_for() -> None:
    # -12 dBFS peak is 8231, a sine's root mean square is the peak divided by the root of 2
    assert rms(tone(1000, 1.0)) == pytest.approx(8231 / 2**0.5, rel=0.01)


def test_silence_noise_and_nothing_are_no_tone() -> None:
    noise = np.random.default_rng(7).normal(0, 4000, 8000).astype(np.int16)
    for samples in (noise, np.zeros(8000, np.int16), np.zeros(0, np.int16)):
        assert tone_seconds(samples, 700, 8000) == 0.0


def test_tone_beside_another_is_shared() -> None:
    both = tone(700, 0.2) + tone(1100, 0.2)
    assert tone_share(both, 700, 8000) == pytest.approx(0.5, abs=0.05)


def test_frequency_beyond_half_the_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="4000"):
        tone(4000, 1.0, 8000)
