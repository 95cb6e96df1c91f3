"""G.711 agrees with the standard's values and with another implementation (PyAV's)."""

import av
import numpy as np
import pytest

from sip.media.g711 import PCMA, PCMU, decode, encode
from sip.media.tones import tone, tone_share


@pytest.mark.parametrize(("law", "codec"), [(PCMA, "pcm_alaw"), (PCMU, "pcm_mulaw")])
def test_decoding_agrees_with_another_implementation(law: int, codec: str) -> None:
    every = bytes(range(256))
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = 8000
    decoder.layout = "mono"
    theirs = decoder.decode(av.Packet(every))[0].to_ndarray().reshape(-1)
    assert np.array_equal(decode(every, law), theirs)


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_each_code_survives_the_round_trip(law: int) -> None:
    every = bytes(range(256))
    samples = decode(every, law)
    # mu-law has two codes for zero
    assert np.array_equal(decode(encode(samples, law), law), samples)


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_error_of_each_sample_is_within_half_a_step(law: int) -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    error = np.abs(decode(encode(samples, law), law).astype(int) - samples.astype(int))
    steps = np.maximum(16, np.abs(samples.astype(int)) / 16)
    assert (error <= steps).all()


def test_known_values() -> None:
    # silence is 0xD5 in A-law and 0xFF in mu-law
    assert encode(np.array([8], np.int16), PCMA) == b"\xd5"
    assert encode(np.array([0], np.int16), PCMU) == b"\xff"
    assert decode(b"\xd5\x55", PCMA).tolist() == [8, -8]


@pytest.mark.parametrize("law", [PCMA, PCMU])
def test_tone_stays_a_tone(law: int) -> None:
    assert tone_share(decode(encode(tone(700, 0.2), law), law), 700, 8000) > 0.98


def test_other_payload_type_is_refused() -> None:
    with pytest.raises(KeyError):
        encode(tone(700, 0.1), 9)
