"""Sung and re-intoned voices: the spectral envelopes of speech over a source of another pitch.

A channel vocoder: the envelope of each frame (its cepstrum without the harmonics) shapes a periodic
source that follows a melody or an intonation, mixed with noise where the voice has no pitch.
"""

from typing import NamedTuple

import numpy as np
import soxr
from jaxtyping import Float

from jaxemo.data.synthetic.sound import (
    CONTROL_HOP,
    FREQUENCIES_HZ,
    SAMPLE_RATE_HZ,
    control_times,
    periodic_source,
    shape_spectrum,
)

# Quefrencies of pitches above 480 Hz belong to the envelope; those from there to 70 Hz tell pitch.
_ENVELOPE_QUEFRENCIES = 50
_PITCH_QUEFRENCIES = slice(55, 340)
_WINDOW, _FFT_SIZE = 512, 1024
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "pentatonic": (0, 2, 4, 7, 9),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
}


class Voice(NamedTuple):
    """What a voice does, without its pitch.

    Attributes:
      gain: Envelope of each control frame.
      voiced: From 0 for noise to 1 for a clear pitch.
    """

    gain: Float[np.ndarray, "T K"]
    voiced: Float[np.ndarray, " T"]


def analyse(wave: Float[np.ndarray, " N"], sample_rate_hz: int) -> Voice:
    """Envelope and voicing of speech, on the control frames of `data.synthetic.sound`."""
    wave = soxr.resample(wave, sample_rate_hz, SAMPLE_RATE_HZ)
    count = control_times(wave.size).size
    padded = np.pad(wave, (_WINDOW, _WINDOW + CONTROL_HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::CONTROL_HOP][:count]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), _FFT_SIZE))
    cepstrum = np.fft.irfft(np.log(spectrum + 1e-4 * spectrum.max()), _FFT_SIZE)
    peak = cepstrum[:, _PITCH_QUEFRENCIES].max(axis=1)
    voiced = np.clip((peak - 0.02) / 0.03, 0.0, 1.0)
    voiced = np.convolve(voiced, np.ones(5) / 5, mode="same")
    cepstrum[:, _ENVELOPE_QUEFRENCIES : _FFT_SIZE - _ENVELOPE_QUEFRENCIES + 1] = 0.0
    return Voice(np.exp(np.fft.rfft(cepstrum).real), voiced)


def stretched(voice: Voice, factor: float) -> Voice:
    """Voiced frames so many times as long; consonants keep their length."""
    place = np.cumsum(1.0 + (factor - 1.0) * voice.voiced)
    index = np.searchsorted(place, np.arange(int(place[-1])))
    return Voice(voice.gain[index], voice.voiced[index])


def resynthesise(
    rng: np.random.Generator,
    voice: Voice,
    semitones: Float[np.ndarray, " T"],
    *,
    base_pitch_hz: float,
    formant_scale: float,
    irregularity: float,
) -> Float[np.ndarray, " N"]:
    """The voice at another pitch, at `SAMPLE_RATE_HZ`.

    Args:
      semitones: Above the base pitch, one for each control frame.
      formant_scale: How much higher all resonances lie.
      irregularity: See `periodic_source`.
    """
    size = (voice.voiced.size - _WINDOW // CONTROL_HOP - 1) * CONTROL_HOP
    times, knots = np.arange(size) / SAMPLE_RATE_HZ, control_times(size)
    count = knots.size
    pitch_hz = base_pitch_hz * 2.0 ** (np.interp(times, knots, semitones[:count]) / 12)
    tone = periodic_source(rng, np.clip(pitch_hz, 50.0, 1400.0), irregularity=irregularity)
    voiced = np.interp(times, knots, voice.voiced[:count])
    source = voiced * tone + (1.0 - voiced) * rng.normal(0.0, 0.5, size)
    scaled = np.clip(FREQUENCIES_HZ / formant_scale, 0, FREQUENCIES_HZ[-1])
    index = np.searchsorted(FREQUENCIES_HZ, scaled).clip(0, FREQUENCIES_HZ.size - 1)
    # The source falls by 50 dB up to half the rate; the envelope already has the voice's own fall.
    lift = np.exp(np.minimum(5.76 * FREQUENCIES_HZ / FREQUENCIES_HZ[-1], 4.0))
    return shape_spectrum(source, voice.gain[:count, index] * lift)


def draw_melody(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, " T"]:
    """Notes of a scale with glides and vibrato, in semitones above the tonic."""
    scale = SCALES[str(rng.choice(list(SCALES)))]
    length_s = np.exp(rng.uniform(np.log(0.18), np.log(1.0)))
    glide_s, depth, rate_hz = rng.uniform(0.01, 0.15), rng.uniform(0, 0.8), rng.uniform(4.5, 7)
    step_s = CONTROL_HOP / SAMPLE_RATE_HZ
    degree, track = int(rng.integers(0, 6)), []
    while sum(map(len, track)) < num_frames:
        octave, place = divmod(degree, len(scale))
        frames = max(int(length_s * rng.choice([0.5, 1, 1, 1.5, 2]) / step_s), 4)
        track.append(np.full(frames, 12.0 * octave + scale[place]))
        degree = int(np.clip(degree + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4]), -4, 11))
    line = np.concatenate(track)[:num_frames]
    width = max(int(glide_s / step_s), 1)
    line = np.convolve(np.pad(line, width, mode="edge"), np.ones(width) / width, mode="same")[
        width : width + num_frames
    ]
    since = np.arange(num_frames) * step_s
    return line + depth * np.sin(2 * np.pi * rate_hz * since) + _wander(rng, num_frames, 0.15)


def draw_intonation(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, " T"]:
    """Accents a few times a second over a line that falls or rises, in semitones."""
    step_s = CONTROL_HOP / SAMPLE_RATE_HZ
    seconds = num_frames * step_s
    accents = max(int(seconds * rng.uniform(2, 6)), 3)
    spread = np.exp(rng.uniform(np.log(0.5), np.log(7.0)))
    knots = rng.normal(0.0, spread, accents)
    track = np.interp(np.linspace(0, accents - 1, num_frames), np.arange(accents), knots)
    line = np.linspace(0.5, -0.5, num_frames) * rng.uniform(-6, 8)
    return track + line + _wander(rng, num_frames, 0.5 * rng.random())


def _wander(rng: np.random.Generator, num_frames: int, size: float) -> Float[np.ndarray, " T"]:
    """A tremor with new values 20 times a second."""
    every = max(round(0.05 * SAMPLE_RATE_HZ / CONTROL_HOP), 1)
    knots = rng.normal(0.0, size, num_frames // every + 2)
    return np.interp(np.arange(num_frames) / every, np.arange(knots.size), knots)
