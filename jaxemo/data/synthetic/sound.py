"""Sound blocks that the synthetic voice and the synthetic instrument share.

A periodic source with controlled irregularity, a time-varying spectral shape, and the final
level. All are vectorised numpy at one sampling rate; the randomness comes from the caller's
generator.
"""

import numpy as np
from jaxtyping import Float

SAMPLE_RATE_HZ = 24000
CONTROL_HOP = 128
_WINDOW = 512
_FFT_SIZE = 1024
FREQUENCIES_HZ = np.fft.rfftfreq(_FFT_SIZE, 1 / SAMPLE_RATE_HZ)
# Partials fall off by e^-5.76 (50 dB) up to half the sampling rate, so that aliases stay below
# -50 dB.
_SOURCE_FALL = 5.76
_REFERENCE_LEVEL_DB = -27.0
_NOISE_FLOOR_DB = -62.0
_PEAK_LIMIT = 0.97


def control_times(num_samples: int) -> Float[np.ndarray, " T"]:
    """Centres in seconds of the T = num_samples // hop + window / hop + 1 control frames."""
    count = num_samples // CONTROL_HOP + _WINDOW // CONTROL_HOP + 1
    return (np.arange(count) * CONTROL_HOP - _WINDOW // 2) / SAMPLE_RATE_HZ


def periodic_source(
    rng: np.random.Generator, pitch_hz: Float[np.ndarray, " N"], *, irregularity: float
) -> Float[np.ndarray, " N"]:
    """A harmonic tone whose periods vary in length (jitter) and level (shimmer).

    x = sum over k >= 1 of a^k cos(k phase) = (a cos phase - a^2) / (1 - 2 a cos phase + a^2),
    with a chosen by sample so that the spectral envelope does not move with pitch.

    Args:
      rng: Gives each period its own deviation.
      pitch_hz: The intended pitch.
      irregularity: Standard deviation of the period length, as a fraction; shimmer is six times
        as large.
    """
    period = np.cumsum(pitch_hz / SAMPLE_RATE_HZ).astype(np.int64)
    deviation = rng.normal(0.0, irregularity, (2, period[-1] + 1))
    actual_hz = pitch_hz * (1.0 + deviation[0, period])
    phase = 2 * np.pi * np.cumsum(actual_hz / SAMPLE_RATE_HZ)
    a = np.exp(-_SOURCE_FALL * 2 * pitch_hz / SAMPLE_RATE_HZ)
    cosine = np.cos(phase)
    tone = (a * cosine - a * a) / (1.0 - 2.0 * a * cosine + a * a)
    return tone / tone.std() * np.maximum(1.0 + 6.0 * deviation[1, period], 0.1)


def shape_spectrum(
    source: Float[np.ndarray, " N"], gain: Float[np.ndarray, "#T K"]
) -> Float[np.ndarray, " N"]:
    """Filters with a magnitude response that moves in time.

    Windowed frames are transformed, multiplied by their gain, and overlap-added.

    Args:
      source: The sound to filter.
      gain: Linear gain at `FREQUENCIES_HZ` for each of `control_times`, or one row for the whole
        clip.
    """
    count = control_times(source.size).size
    padded = np.pad(source, (_WINDOW, _WINDOW + CONTROL_HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::CONTROL_HOP][:count]
    # Hann windows a quarter apart add up to 2. The frame sits mid-buffer: a zero-phase filter
    # rings both ways.
    window = 0.25 - 0.25 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    margin = (_FFT_SIZE - _WINDOW) // 2
    buffers = np.pad(frames * window, ((0, 0), (margin, margin)))
    shaped = np.fft.irfft(np.fft.rfft(buffers) * gain, _FFT_SIZE).reshape(count, -1, CONTROL_HOP)
    blocks = np.zeros((count + shaped.shape[1], CONTROL_HOP))
    for index in range(shaped.shape[1]):
        blocks[index : index + count] += shaped[:, index]
    start = _WINDOW + margin
    return blocks.ravel()[start : start + source.size]


def resonance_gain(
    centres_hz: Float[np.ndarray, "*T R"], bandwidths_hz: Float[np.ndarray, " R"]
) -> Float[np.ndarray, "*T K"]:
    """Product of second-order resonances of unit gain at 0 Hz.

    |H(f)| = prod over r of c^2 / sqrt((c^2 - f^2)^2 + (b f)^2), with centre c and bandwidth b.
    """
    square = FREQUENCIES_HZ**2
    gain = np.ones((*centres_hz.shape[:-1], square.size))
    for index, bandwidth in enumerate(bandwidths_hz):
        centre = centres_hz[..., index, None] ** 2
        gain *= centre / np.sqrt((centre - square) ** 2 + bandwidth**2 * square)
    return gain


def tilt_gain(db_per_octave: float) -> Float[np.ndarray, " K"]:
    """A straight line in dB over octaves around 1 kHz, flat below 200 Hz."""
    octaves = np.log2(np.maximum(FREQUENCIES_HZ, 200.0) / 1000.0)
    return 10.0 ** (db_per_octave * octaves / 20.0)


def at_level(
    rng: np.random.Generator, waveform: Float[np.ndarray, " N"], *, loudness_db: float
) -> Float[np.ndarray, " N"]:
    """Sets the root mean square to -27 dB + `loudness_db`, adds noise, keeps the peak under 1."""
    level = 10.0 ** ((_REFERENCE_LEVEL_DB + loudness_db) / 20.0)
    noise = rng.normal(0.0, 10.0 ** (_NOISE_FLOOR_DB / 20.0), waveform.size)
    loud = waveform * (level / np.sqrt(np.mean(waveform**2))) + noise
    return loud * min(1.0, _PEAK_LIMIT / np.abs(loud).max())
