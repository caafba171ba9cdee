"""Spectra on the encoder's frames: against plain numpy, and where a sound shows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.config import EncoderConfig
from jaxemo.pretraining.frames import SPECTRA, Grid, mel_filters

RATE_HZ, NUM_SAMPLES = 16_000, 8000
GRID = Grid.of(EncoderConfig())
TWO = np.array([NUM_SAMPLES, 5000])


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal((2, NUM_SAMPLES)).astype(np.float32)


@pytest.fixture(scope="module")
def spectra(noise):
    """A function from a kind of spectrum, and a waveform, to its values; each compiled once."""
    compiled = {name: jax.jit(make(GRID)) for name, make in SPECTRA.items()}
    return lambda name, waveform=noise: np.asarray(compiled[name](jnp.asarray(waveform), TWO))


def plain_log_mel(waveform):
    """Frame by frame, by numpy's Fourier transform."""
    taper = np.hanning(401)[:-1]
    taper /= np.sqrt((taper**2).sum())
    starts = range(0, NUM_SAMPLES - 399, 320)
    frames = np.stack([waveform[start : start + 400] * taper for start in starts])
    power = np.abs(np.fft.rfft(frames.astype(np.float64))) ** 2
    return np.log(power @ mel_filters(400, RATE_HZ) + 1e-6)


def test_a_spectrum_has_the_encoders_number_of_frames(spectra):
    expected = EncoderConfig().num_frames(NUM_SAMPLES)
    assert {spectra(name).shape[1] for name in SPECTRA} == {expected}


def test_log_mel_is_that_of_each_frames_own_samples(spectra, noise):
    np.testing.assert_allclose(spectra("log_mel")[0, :, :40], plain_log_mel(noise[0]), atol=2e-4)


def test_slopes_of_a_straight_line_are_its_own(spectra):
    bands = spectra("log_mel")[0, :, :40].astype(np.float64)
    slopes = spectra("log_mel")[0, :, 40:]
    expected = (bands[3:] - bands[1:-2])[:-1] + 2 * (bands[4:] - bands[:-4])
    np.testing.assert_allclose(slopes[2:-2], expected / 10, atol=1e-4)


def test_mfcc_are_scipys_cosine_transform(spectra, noise):
    from scipy.fft import dct

    expected = dct(plain_log_mel(noise[0]), norm="ortho")[:, :13]
    np.testing.assert_allclose(spectra("mfcc")[0, :, :13], expected, atol=1e-3)


@pytest.mark.parametrize("name", SPECTRA)
def test_what_lies_in_the_padding_changes_nothing(spectra, noise, name):
    spoilt = noise.copy()
    spoilt[1, 5000:] = np.nan
    np.testing.assert_array_equal(spectra(name), spectra(name, spoilt))


def test_a_tone_shows_at_its_pitch(spectra):
    time = np.arange(NUM_SAMPLES) / RATE_HZ
    tone = np.sin(2 * np.pi * 440.0 * time).astype(np.float32)
    middle = spectra("constant_q", np.stack([tone, tone]))[0, 12]
    assert middle.argmax() == 45  # A4 lies 45 semitones above C1.


def test_a_click_shows_in_the_frame_that_it_lies_in(spectra):
    click = np.zeros((2, NUM_SAMPLES), np.float32)
    frame = 11
    click[:, frame * 320 + 200] = 50.0  # The middle of the frame's 400 samples.
    assert spectra("log_mel", click)[0, :, :40].mean(axis=1).argmax() == frame


def test_chroma_of_octaves_is_one_pitch_class(spectra):
    time = np.arange(NUM_SAMPLES) / RATE_HZ
    tones = sum(np.sin(2 * np.pi * 220.0 * 2**octave * time) for octave in range(3))
    chroma = spectra("log_mel_and_chroma", np.stack([tones, tones]).astype(np.float32))[0, 12, 80:]
    assert chroma.argmax() == 9
