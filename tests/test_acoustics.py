"""The hand-made baseline: names, shapes, physical units, and finite values for every input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemo.data.acoustics import (
    FRAME_FEATURES,
    PITCH_REFERENCE_HZ,
    SUMMARY_FEATURES,
    acoustic_features,
)

RATES = (8000, 16000, 22050, 24000, 48000)


def sine(frequency_hz: float, *, amplitude: float = 0.1, seconds: float = 1.0, rate: int = 16000):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def buzz(pitch_hz: float, *, seconds: float = 1.0, rate: int = 16000):
    """A voice-like tone: ten partials falling by 1/k."""
    return sum(
        sine(k * pitch_hz, amplitude=0.1 / k, seconds=seconds, rate=rate) for k in range(1, 11)
    )


def named(features) -> dict[str, float]:
    return dict(zip(SUMMARY_FEATURES, features.summary.tolist(), strict=True))


def test_names_are_unique_and_as_many_as_the_columns():
    features = acoustic_features(buzz(200.0), sample_rate_hz=16000)
    assert features.frames.shape[1] == len(FRAME_FEATURES) == len(set(FRAME_FEATURES))
    assert features.summary.shape[0] == len(SUMMARY_FEATURES) == len(set(SUMMARY_FEATURES))
    assert features.frames.dtype == features.summary.dtype == np.float32


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["silence", "constant", "noise", "faint noise", "tone", "click"])
@pytest.mark.parametrize("seconds", [0.001, 0.025, 0.03, 0.06, 0.3])
def test_every_feature_is_finite(rate, kind, seconds):
    count = max(1, round(seconds * rate))
    noise = np.random.default_rng(0).normal(0.0, 1.0, count).astype(np.float32)
    waveform = {
        "silence": np.zeros(count, np.float32),
        "constant": np.full(count, 0.5, np.float32),
        "noise": 0.3 * noise,
        "faint noise": 1e-7 * noise,
        "tone": sine(150.0, rate=rate, seconds=seconds),
        "click": np.eye(1, count, dtype=np.float32)[0],
    }[kind]
    features = acoustic_features(waveform, sample_rate_hz=rate)
    assert np.isfinite(features.frames).all()
    assert np.isfinite(features.summary).all()


@settings(max_examples=30)
@given(num_samples=st.integers(1, 8000), rate=st.sampled_from(RATES))
def test_frame_count_follows_the_documented_formula(num_samples, rate):
    frame, hop = 2 * round(0.0125 * rate), round(0.010 * rate)
    waveform = np.random.default_rng(1).normal(0.0, 0.1, num_samples).astype(np.float32)
    frames = acoustic_features(waveform, sample_rate_hz=rate).frames
    assert frames.shape[0] == 1 + (max(num_samples, frame) - frame) // hop


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("pitch_hz", [80.0, 123.4, 220.0, 440.0])
def test_pitch_is_measured_in_semitones_within_a_tenth(pitch_hz, rate):
    values = named(acoustic_features(buzz(pitch_hz, rate=rate), sample_rate_hz=rate))
    expected = 12 * np.log2(pitch_hz / PITCH_REFERENCE_HZ)
    assert values["pitch_semitones_p50"] == pytest.approx(expected, abs=0.1)
    assert values["voiced_fraction"] > 0.9


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).normal(0.0, 0.1, 16000).astype(np.float32)
    for waveform in (noise, np.zeros(16000, np.float32)):
        values = named(acoustic_features(waveform, sample_rate_hz=16000))
        assert values["voiced_fraction"] < 0.05


def test_a_rising_tone_has_the_slope_of_its_rise():
    time = np.arange(32000) / 16000
    pitch_hz = 150.0 * 2.0 ** (6.0 * (time / 2.0) / 12)
    tone = 0.1 * np.cos(2 * np.pi * np.cumsum(pitch_hz / 16000)).astype(np.float32)
    values = named(acoustic_features(tone, sample_rate_hz=16000))
    assert values["pitch_semitones_slope"] == pytest.approx(6.0, abs=0.3)
    assert values["pitch_semitones_mean"] == pytest.approx(3.0, abs=0.3)


def test_loudness_is_decibels_below_full_scale():
    values = named(acoustic_features(sine(200.0, amplitude=0.1), sample_rate_hz=16000))
    assert values["loudness_db_mean"] == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.05)


def test_gain_moves_loudness_and_the_first_cepstral_coefficient_alone():
    rng = np.random.default_rng(2)
    loud = (buzz(200.0) + rng.normal(0.0, 0.01, 16000)).astype(np.float32)
    before = named(acoustic_features(loud, sample_rate_hz=16000))
    after = named(acoustic_features(loud * np.float32(0.1), sample_rate_hz=16000))
    moved = {name for name in before if abs(before[name] - after[name]) > 1e-2}
    levels = {f"loudness_db_{statistic}" for statistic in ("mean", "p10", "p50", "p90")}
    assert moved == {*levels, "mfcc_00_mean"}
    assert before["loudness_db_mean"] - after["loudness_db_mean"] == pytest.approx(20.0, abs=0.01)


def test_silence_around_a_clip_hardly_moves_the_summary():
    clip = buzz(200.0)
    padded = np.pad(clip, 16000)
    before, after = (named(acoustic_features(x, sample_rate_hz=16000)) for x in (clip, padded))
    for name in ("pitch_semitones_p50", "loudness_db_p50", "centroid_octaves_p50"):
        assert after[name] == pytest.approx(before[name], abs=0.1)


def test_brightness_rises_with_high_frequency_energy():
    dull, bright = (
        named(acoustic_features(sine(300.0) + high * sine(4000.0), sample_rate_hz=16000))
        for high in (np.float32(0.05), np.float32(1.0))
    )
    for name in ("high_frequency_db_mean", "centroid_octaves_mean"):
        assert bright[name] > dull[name]
    # Two equal partials on either side of 1 kHz.
    assert bright["high_frequency_db_mean"] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("rate_hz", [2.0, 4.0, 6.0])
def test_onset_rate_counts_bursts_a_second(rate_hz):
    time = np.arange(48000) / 16000
    envelope = np.exp(-30.0 * (time % (1 / rate_hz)))
    bursts = (envelope * np.random.default_rng(3).normal(0.0, 0.2, 48000)).astype(np.float32)
    values = named(acoustic_features(bursts, sample_rate_hz=16000))
    assert values["onset_rate_hz"] == pytest.approx(rate_hz, rel=0.25)


def test_one_sound_at_two_sampling_rates_has_nearly_the_same_summary():
    at_16k, at_24k = (
        named(acoustic_features(buzz(180.0, rate=rate), sample_rate_hz=rate))
        for rate in (16000, 24000)
    )
    for name in ("pitch_semitones_mean", "loudness_db_mean", "centroid_octaves_mean"):
        assert at_24k[name] == pytest.approx(at_16k[name], abs=0.1)
    assert at_24k["high_frequency_db_mean"] == pytest.approx(
        at_16k["high_frequency_db_mean"], abs=0.5
    )


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros(100, np.float32), 4000, "at least 8000"),
        (np.zeros(0, np.float32), 16000, "is empty"),
        (np.array([0.0, np.nan], np.float32), 16000, "NaN"),
        (np.array([0.0, np.inf], np.float32), 16000, "infinite"),
    ],
)
def test_unusable_input_is_refused_with_the_reason(waveform, rate, message):
    with pytest.raises(ValueError, match=message):
        acoustic_features(waveform, sample_rate_hz=rate)
