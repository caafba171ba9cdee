"""Decoding, fault detection, standardising and cropping, on crafted files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxemo.data.audio import (
    MIN_DURATION_S,
    RECEPTIVE_FIELD,
    SILENCE_PEAK,
    Excerpt,
    Extent,
    UnusableAudio,
    centre_crop,
    read_waveform,
    standardise,
    trim_silence,
)

RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)
# 16-bit steps plus the ripple of soxr HQ's pass band on a tone far below its edge.
RESAMPLING_TOLERANCE = 2e-3

waveforms = arrays(np.float32, st.integers(1, 300), elements=st.floats(-1, 1, width=32))


def tone(seconds: float, rate_hz: int, *, frequency_hz: float = 440.0, peak: float = 0.5):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate_hz: int = 16000, **options) -> Path:
    soundfile.write(path, samples, rate_hz, **options)
    return path


def reason_for(path: Path, rate_hz: int = 16000) -> str:
    with pytest.raises(UnusableAudio) as caught:
        read_waveform(path, sample_rate_hz=rate_hz)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("source_hz", RATES_HZ)
@pytest.mark.parametrize("target_hz", (16000, 24000))
def test_any_rate_becomes_the_same_tone_at_the_asked_rate(tmp_path, source_hz, target_hz):
    path = write(tmp_path / "tone.wav", tone(0.5, source_hz), source_hz)
    waveform = read_waveform(path, sample_rate_hz=target_hz)
    expected = tone(0.5, target_hz)
    assert waveform.dtype == np.float32
    assert waveform.shape == expected.shape
    # The filter rings where the file begins and ends abruptly.
    inner = slice(target_hz // 20, -target_hz // 20)
    np.testing.assert_allclose(waveform[inner], expected[inner], atol=RESAMPLING_TOLERANCE)


def test_frequencies_above_the_new_nyquist_are_removed_and_not_folded_back(tmp_path):
    low, high = tone(0.5, 48000), tone(0.5, 48000, frequency_hz=11000)
    waveform = read_waveform(write(tmp_path / "a.wav", low + high, 48000), sample_rate_hz=16000)
    np.testing.assert_allclose(
        waveform[800:-800], tone(0.5, 16000)[800:-800], atol=RESAMPLING_TOLERANCE
    )


# Half a 16-bit step, rounded up, for the lossless codecs; the lossy ones at their default quality.
@pytest.mark.parametrize(
    "extension, tolerance",
    (("wav", 2**-15), ("WAV", 2**-15), ("flac", 2**-15), ("ogg", 0.02), ("mp3", 0.04)),
)
def test_every_container_decodes_to_the_same_clip(tmp_path, extension, tolerance):
    path = write(tmp_path / f"tone.{extension}", tone(1.0, 24000), 24000)
    waveform = read_waveform(path, sample_rate_hz=24000)
    assert waveform.shape == (24000,)
    inner = slice(2400, -2400)
    np.testing.assert_allclose(waveform[inner], tone(1.0, 24000)[inner], atol=tolerance)


@pytest.mark.parametrize("subtype", ("PCM_16", "PCM_24", "FLOAT", "DOUBLE"))
def test_a_wav_at_the_asked_rate_is_returned_sample_for_sample(tmp_path, subtype):
    samples = tone(0.1, 16000)
    path = write(tmp_path / "a.wav", samples, subtype=subtype)
    np.testing.assert_allclose(read_waveform(path, sample_rate_hz=16000), samples, atol=2**-15)


def test_two_equal_channels_give_exactly_the_one_channel_clip(tmp_path):
    one = tone(0.2, 22050)
    mono = write(tmp_path / "mono.flac", one, 22050)
    stereo = write(tmp_path / "stereo.flac", np.stack([one, one], axis=1), 22050)
    np.testing.assert_array_equal(
        read_waveform(stereo, sample_rate_hz=16000), read_waveform(mono, sample_rate_hz=16000)
    )


def test_channels_are_averaged(tmp_path):
    channels = np.stack([tone(0.1, 16000), 0.5 * tone(0.1, 16000), 0 * tone(0.1, 16000)], axis=1)
    path = write(tmp_path / "three.wav", channels, subtype="FLOAT")
    np.testing.assert_allclose(
        read_waveform(path, sample_rate_hz=16000), channels.mean(axis=1), atol=1e-7
    )


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert reason_for(tmp_path / "absent.wav").startswith("missing")
    assert reason_for(tmp_path).startswith("unreadable")


def test_files_without_samples_are_empty(tmp_path):
    (tmp_path / "zero.wav").write_bytes(b"")
    assert reason_for(tmp_path / "zero.wav").startswith("empty: 0 bytes")
    assert reason_for(write(tmp_path / "header.wav", np.zeros(0))).startswith("empty")


@pytest.mark.parametrize("name", ("a.wav", "a.flac", "a.mp3", "a.ogg", "a.raw"))
def test_bytes_that_are_no_audio_are_corrupt(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is a web page that says 404" * 100)
    assert reason_for(tmp_path / name).startswith("corrupt")


@pytest.mark.parametrize("extension", ("wav", "flac", "ogg", "mp3"))
def test_half_a_file_is_not_taken_for_a_shorter_clip(tmp_path, extension):
    path = write(tmp_path / f"a.{extension}", tone(2.0, 16000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason_for(path).startswith(("truncated", "corrupt"))


# 0.2 s of 16 kHz in 16 bits is 6400 bytes behind a header of 44, so 6436 is the right entry.
@pytest.mark.parametrize("riff_size", (6436, 6444, 0, 0x7FFFFFFF, 0xFFFFFFFF))
def test_a_wav_whose_writer_did_not_know_its_size_is_whole(tmp_path, riff_size):
    path = write(tmp_path / "a.wav", tone(0.2, 16000))
    content = bytearray(path.read_bytes())
    assert int.from_bytes(content[4:8], "little") == 6436
    content[4:8] = riff_size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_waveform(path, sample_rate_hz=16000).size == 3200


def test_a_header_that_claims_hours_does_not_ask_for_their_memory(tmp_path):
    path = write(tmp_path / "a.flac", tone(0.5, 16000))
    content = bytearray(path.read_bytes())
    # These 36 bits are STREAMINFO's total number of samples: 2^36 - 1 would be 256 GiB of float32.
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert reason_for(path).startswith(("truncated", "corrupt"))


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
def test_non_finite_samples_are_counted(tmp_path, bad):
    samples = tone(0.1, 16000)
    samples[[3, 40]] = bad
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert reason_for(path) == "non-finite: 2 of 1600 samples are NaN or infinite"


@pytest.mark.parametrize("target_hz", (16000, 24000))
def test_the_shortest_usable_clip_is_one_frame_of_25_ms(tmp_path, target_hz):
    needed = round(MIN_DURATION_S * target_hz)
    assert needed >= RECEPTIVE_FIELD
    shortest = write(tmp_path / "shortest.wav", tone(0.025, target_hz), target_hz)
    assert read_waveform(shortest, sample_rate_hz=target_hz).size == needed
    shorter = write(tmp_path / "shorter.wav", tone(0.025, target_hz)[1:], target_hz)
    assert reason_for(shorter, target_hz).startswith(f"too short: {needed - 1} samples")


@pytest.mark.parametrize("num_samples", (1, 2, 7))
def test_a_few_samples_at_a_high_rate_are_too_short(tmp_path, num_samples):
    path = write(tmp_path / "a.wav", np.full(num_samples, 0.5), 48000)
    assert reason_for(path).startswith("too short")


@pytest.mark.parametrize("offset", (0.0, 0.25))
def test_silence_is_silent_whatever_its_offset(tmp_path, offset):
    path = write(tmp_path / "a.wav", np.full(4000, offset), subtype="FLOAT")
    assert reason_for(path).startswith("silent")


def test_the_silence_threshold_parts_dither_from_the_quietest_real_clip(tmp_path):
    dither = write(tmp_path / "dither.wav", tone(0.5, 16000, peak=2 / 32768), subtype="FLOAT")
    assert reason_for(dither).startswith("silent")
    quiet = write(tmp_path / "quiet.wav", tone(0.5, 16000, peak=172 / 32768))
    assert read_waveform(quiet, sample_rate_hz=16000).max() > 10 * SILENCE_PEAK


def test_channels_that_cancel_are_silent(tmp_path):
    one = tone(0.2, 16000)
    path = write(tmp_path / "a.wav", np.stack([one, -one], axis=1))
    assert reason_for(path).startswith("silent")


def test_a_rate_that_is_not_positive_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a rate"):
        read_waveform(write(tmp_path / "a.wav", tone(0.1, 16000)), sample_rate_hz=0)


def test_unusable_audio_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UnusableAudio("a.wav", "silent: all zero")))
    assert (error.path, error.reason) == ("a.wav", "silent: all zero")


@given(waveforms)
def test_standardise_follows_its_equation(waveform):
    exact = waveform.astype(np.float64)
    expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-7)
    result = standardise(waveform)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5, rtol=1e-5)


def test_standardise_gives_zero_mean_and_unit_variance_at_any_loudness():
    for peak in (0.01, 1.0, 1000.0):
        result = standardise(tone(1.0, 16000, peak=peak) + np.float32(0.3 * peak))
        assert abs(result.mean()) < 1e-5
        # The floor of 1e-7 takes 0.1 % off the variance of the quietest of the three.
        assert result.var() == pytest.approx(1.0, abs=3e-3)


@given(waveforms, st.integers(1, 400))
def test_centre_crop_takes_the_middle_and_leaves_short_clips_whole(waveform, num_samples):
    cropped = centre_crop(waveform, num_samples=num_samples)
    assert cropped.size == min(waveform.size, num_samples)
    before = max(waveform.size - num_samples, 0) // 2
    after = waveform.size - before - cropped.size
    assert 0 <= after - before <= 1
    np.testing.assert_array_equal(cropped, waveform[before : before + cropped.size])


def _clip_between_quiet(*, rate=16_000, edge_s=0.5, floor=1e-4):
    """Half a second of near silence, a second of noise with a quiet middle, and silence again."""
    draw = np.random.default_rng(0)
    edge = floor * draw.normal(size=round(edge_s * rate))
    loud = draw.normal(size=rate)
    loud[rate // 3 : rate // 2] *= floor
    return np.concatenate([edge, loud, edge]).astype(np.float32)


def test_trimming_cuts_quiet_edges_and_keeps_the_quiet_between_loud_parts():
    clip = _clip_between_quiet()
    kept = trim_silence(clip, threshold_db=40.0, sample_rate_hz=16_000)
    assert 16_000 <= len(kept) <= 16_000 + 2 * 320
    assert np.array_equal(kept, clip[8000 : 8000 + len(kept)])


@pytest.mark.parametrize("level", [1e-3, 100.0])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_trimming_depends_on_neither_level_nor_offset(level, offset):
    clip = _clip_between_quiet()
    kept = trim_silence(clip, threshold_db=40.0, sample_rate_hz=16_000)
    changed = (level * (clip + offset)).astype(np.float32)
    assert len(trim_silence(changed, threshold_db=40.0, sample_rate_hz=16_000)) == len(kept)


@pytest.mark.parametrize("place", [0, 3000, 15_999])
@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_trimming_leaves_at_least_what_an_encoder_takes(place, rate):
    click = np.zeros(16_000, np.float32)
    click[place] = 1
    kept = trim_silence(click, threshold_db=40.0, sample_rate_hz=rate)
    assert len(kept) >= max(400, 0.025 * rate) and kept.max() == 1


def test_no_threshold_cuts_nothing_and_a_negative_one_is_refused():
    clip = _clip_between_quiet()
    assert trim_silence(clip, threshold_db=0.0, sample_rate_hz=16_000) is clip
    with pytest.raises(ValueError, match="-3"):
        trim_silence(clip, threshold_db=-3.0, sample_rate_hz=16_000)


def test_an_excerpt_is_the_middle_of_the_trimmed_clip():
    clip = _clip_between_quiet()
    middle = Excerpt(Extent.MIDDLE, crop_seconds=0.5, trim_silence_db=40.0)
    trimmed = trim_silence(clip, threshold_db=40.0, sample_rate_hz=16_000)
    expected = centre_crop(trimmed, num_samples=8000)
    assert np.array_equal(middle.cut(clip, sample_rate_hz=16_000), expected)


@pytest.mark.parametrize("extent", (Extent.WHOLE, Extent.RANDOM))
def test_a_whole_excerpt_is_the_trimmed_clip_whatever_the_crop(extent):
    clip = _clip_between_quiet()
    trimmed = trim_silence(clip, threshold_db=40.0, sample_rate_hz=16_000)
    whole = Excerpt(extent, crop_seconds=0.5, trim_silence_db=40.0)
    assert np.array_equal(whole.cut(clip, sample_rate_hz=16_000), trimmed)
    assert whole.longest_samples(16_000) is None


def test_the_identity_of_an_excerpt_is_what_decides_its_samples():
    middle, longer = (Excerpt(Extent.MIDDLE, seconds, 40.0).identity() for seconds in (2.0, 3.0))
    assert middle != longer
    whole, drawn = (
        Excerpt(extent, seconds, 40.0).identity()
        for extent, seconds in ((Extent.WHOLE, 2.0), (Extent.RANDOM, 3.0))
    )
    assert whole == drawn
