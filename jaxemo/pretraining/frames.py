"""Spectra on the encoder's own frames: log-mel, MFCC, constant-Q and chroma, as targets are made of.

Frame t of an encoder sees the samples [t H, t H + R), with H the product of the stem's strides and R
its receptive field. Every spectrum here is taken over a window about the middle of that stretch, so
that target t belongs to hidden state t. Samples beyond a clip's end count as silence.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from jaxemo.models.config import EncoderConfig

WINDOW_MS = 25.0
# Power below the first counts as nothing: crops have unit variance, and a window's power sums to it.
_POWER_FLOOR = 1e-6
_MIN_MEL_HZ, _MAX_MEL_HZ = 50.0, 8000.0
_NUM_MELS, _NUM_MFCC = 40, 13
# The constant-Q transform begins at C1 and has seven octaves, as MERT's does.
_LOWEST_PITCH_HZ = 32.70319566257483
_OCTAVES, _PER_OCTAVE = 7, 12
_DELTA_REACH = 2

Spectrum = Callable[[Float[Array, "B N"], Int[Array, " B"]], Float[Array, "B T F"]]


class Grid(NamedTuple):
    """Where an encoder's frames lie.

    Attributes:
      hop_samples: From one frame to the next.
      receptive_field: Samples that a frame sees; the first frame begins at sample 0.
      sample_rate_hz: Of the waveform.
    """

    hop_samples: int
    receptive_field: int
    sample_rate_hz: int

    @classmethod
    def of(cls, config: EncoderConfig) -> "Grid":
        """The grid of an encoder whose stem reads the waveform."""
        return cls(config.hop_samples, config.shortest_clip_samples, config.sample_rate_hz)

    def num_frames(self, num_samples: int) -> int:
        """Frames of a clip: (N - R) // H + 1, or none."""
        return max((num_samples - self.receptive_field) // self.hop_samples + 1, 0)


def log_mel(grid: Grid) -> Spectrum:
    """log(mel power + floor) in 40 bands, 50 Hz to 8 kHz or half the rate, and its slope in time.

    slope_t = sum_n n (x_{t+n} - x_{t-n}) / (2 sum_n n^2), n = 1, 2, frames beyond the clip's ends being
    its first and last.
    """
    return _with_slopes(functools.partial(_log_mel_bands, grid=grid), grid, orders=1)


def mfcc(grid: Grid) -> Spectrum:
    """13 orthonormal cosine coefficients of the log-mel bands, their slopes, and the slopes of those.

    HuBERT's first targets (its 39 columns, there at 100 frames per second).

    Reference: Hsu et al. 2021, arXiv 2106.07447, section IV-B.
    """
    basis = jnp.asarray(_cosines(_NUM_MFCC, _NUM_MELS))

    def coefficients(waveform: Float[Array, "B N"]) -> Float[Array, "B T F"]:
        return jnp.matmul(_log_mel_bands(waveform, grid=grid), basis, precision="highest")

    return _with_slopes(coefficients, grid, orders=2)


def constant_q(grid: Grid) -> Spectrum:
    """log(|X| + floor) at the pitches of a piano's seven octaves from C1, those below half the rate.

    X_k = sum_n w(n) x(n) exp(-2 pi i f_k n / rate), w a Hann window of Q rate / f_k samples that sums to
    1, Q = 1 / (2^(1/12) - 1). Low pitches have windows of half a second, which reach over neighbours.

    Reference: Brown 1991, JASA 89(1):425-434; as a target: Li et al. 2023, arXiv 2306.00107.
    """
    return lambda waveform, num_samples: jnp.log(
        _pitch_magnitudes(_silenced(waveform, num_samples), grid) + math.sqrt(_POWER_FLOOR)
    )


def chroma(grid: Grid) -> Spectrum:
    """Constant-Q magnitudes summed over octaves, as shares of their sum in each frame."""

    def shares(
        waveform: Float[Array, "B N"], num_samples: Int[Array, " B"]
    ) -> Float[Array, "B T F"]:
        magnitudes = _pitch_magnitudes(_silenced(waveform, num_samples), grid)
        octaves = jnp.pad(magnitudes, ((0, 0), (0, 0), (0, -magnitudes.shape[2] % _PER_OCTAVE)))
        classes = octaves.reshape(*octaves.shape[:2], -1, _PER_OCTAVE).sum(axis=2)
        return classes / (classes.sum(axis=2, keepdims=True) + math.sqrt(_POWER_FLOOR))

    return shares


def log_mel_and_chroma(grid: Grid) -> Spectrum:
    """Both side by side: MERT's 95M model takes its codes from these."""
    spectra = log_mel(grid), chroma(grid)
    return lambda waveform, num_samples: jnp.concatenate(
        [spectrum(waveform, num_samples) for spectrum in spectra], axis=2
    )


SPECTRA: dict[str, Callable[[Grid], Spectrum]] = {
    "log_mel": log_mel,
    "mfcc": mfcc,
    "log_mel_and_chroma": log_mel_and_chroma,
    "constant_q": constant_q,
}


# From a waveform to frames ---------------------------------------------------------------------


def _silenced(
    waveform: Float[Array, "B N"], num_samples: Int[Array, " B"]
) -> Float32[Array, "B N"]:
    """Zeros in place of whatever the padding holds."""
    valid = jnp.arange(waveform.shape[1]) < num_samples[:, None]
    return jnp.where(valid, waveform, 0).astype(jnp.float32)


def _windowed_products(
    waveform: Float32[Array, "B N"], kernel: Float32[np.ndarray, "W K"], grid: Grid
) -> Float32[Array, "B T K"]:
    """Products of each frame's window with every column, as one strided convolution."""
    num_samples, window = waveform.shape[1], kernel.shape[0]
    before = (window - grid.receptive_field) // 2
    spanned = (grid.num_frames(num_samples) - 1) * grid.hop_samples + window
    # Padding may be negative: where a window is narrower than what a frame sees.
    padded = jax.lax.pad(waveform, 0.0, ((0, 0, 0), (before, spanned - num_samples - before, 0)))
    return jax.lax.conv_general_dilated(
        padded[:, :, None],
        jnp.asarray(kernel)[:, None, :],
        window_strides=(grid.hop_samples,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=jax.lax.Precision.HIGHEST,
    )


def _log_mel_bands(waveform: Float[Array, "B N"], *, grid: Grid) -> Float[Array, "B T F"]:
    window = round(WINDOW_MS * grid.sample_rate_hz / 1000)
    products = _windowed_products(waveform, _fourier_kernel(window), grid)
    real, imaginary = jnp.split(products, 2, axis=2)
    filters = jnp.asarray(mel_filters(window, grid.sample_rate_hz))
    mel = jnp.matmul(jnp.square(real) + jnp.square(imaginary), filters, precision="highest")
    return jnp.log(mel + _POWER_FLOOR)


def _pitch_magnitudes(waveform: Float[Array, "B N"], grid: Grid) -> Float[Array, "B T F"]:
    products = _windowed_products(waveform, _pitch_kernel(grid.sample_rate_hz), grid)
    real, imaginary = jnp.split(products, 2, axis=2)
    # The square root's slope at 0 is infinite; no gradient goes through targets.
    return jnp.sqrt(jnp.square(real) + jnp.square(imaginary))


def _with_slopes(
    bands: Callable[[Float[Array, "B N"]], Float[Array, "B T F"]], grid: Grid, *, orders: int
) -> Spectrum:
    def spectrum(
        waveform: Float[Array, "B N"], num_samples: Int[Array, " B"]
    ) -> Float[Array, "B T F"]:
        reach = num_samples - grid.receptive_field
        last = jnp.maximum(reach, 0) // grid.hop_samples
        columns = [bands(_silenced(waveform, num_samples))]
        for _ in range(orders):
            columns.append(_slopes(columns[-1], last))
        return jnp.concatenate(columns, axis=2)

    return spectrum


def _slopes(values: Float[Array, "B T F"], last: Int[Array, " B"]) -> Float[Array, "B T F"]:
    """Least-squares slope over five frames; `last` is the index of each clip's last frame."""
    frame = jnp.arange(values.shape[1])

    def at(offset: int) -> Float[Array, "B T F"]:
        index = jnp.clip(frame + offset, 0, last[:, None])
        return jnp.take_along_axis(values, index[:, :, None], axis=1)

    steps = range(1, _DELTA_REACH + 1)
    total = sum((n * (at(n) - at(-n)) for n in steps), jnp.zeros_like(values))
    return total / (2 * sum(n * n for n in steps))


# Constants, made once on the host --------------------------------------------------------------


@functools.cache
def _fourier_kernel(window: int) -> Float32[np.ndarray, "W K"]:
    """Cosines, then sines, of each bin under a Hann window of unit energy."""
    step = np.arange(window)
    taper = 0.5 - 0.5 * np.cos(2.0 * np.pi * step / window)
    taper /= np.sqrt(np.sum(taper**2))
    angle = 2.0 * np.pi / window * (step[:, None] * np.arange(window // 2 + 1) % window)
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return (taper[:, None] * waves).astype(np.float32)


@functools.cache
def mel_filters(window: int, sample_rate_hz: int) -> Float32[np.ndarray, "K F"]:
    """Triangles of height 1 over the bins of a window, even on the scale 2595 log10(1 + f / 700)."""
    top = min(_MAX_MEL_HZ, sample_rate_hz / 2)
    low, high = (2595.0 * np.log10(1.0 + edge / 700.0) for edge in (_MIN_MEL_HZ, top))
    mels = np.linspace(low, high, _NUM_MELS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.arange(window // 2 + 1)[:, None] * sample_rate_hz / window
    below, centre, above = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - below) / (centre - below), (above - bins) / (above - centre)
    return np.maximum(np.minimum(rising, falling), 0.0).astype(np.float32)


@functools.cache
def _cosines(num_coefficients: int, num_bands: int) -> Float32[np.ndarray, "F C"]:
    """The orthonormal cosine transform (type 2) as a matrix."""
    band = np.arange(num_bands)[:, None] + 0.5
    basis = np.cos(np.pi / num_bands * band * np.arange(num_coefficients))
    basis *= np.sqrt(2.0 / num_bands)
    basis[:, 0] *= math.sqrt(0.5)
    return basis.astype(np.float32)


@functools.cache
def _pitch_kernel(sample_rate_hz: int) -> Float32[np.ndarray, "W K"]:
    """Cosines, then sines, of each pitch under its window, all about the middle of the longest."""
    pitches = _LOWEST_PITCH_HZ * 2.0 ** (np.arange(_OCTAVES * _PER_OCTAVE) / _PER_OCTAVE)
    # The widest part of a window's spectrum must lie below half the rate.
    pitches = pitches[pitches < 0.45 * sample_rate_hz]
    quality = 1.0 / (2.0 ** (1.0 / _PER_OCTAVE) - 1.0)
    widths = quality * sample_rate_hz / pitches
    width = int(np.ceil(widths[0]))
    step = np.arange(width)[:, None] - (width - 1) / 2
    inside = np.abs(step) < widths / 2
    taper = np.where(inside, 0.5 + 0.5 * np.cos(2.0 * np.pi * step / widths), 0.0)
    taper /= taper.sum(axis=0)
    angle = 2.0 * np.pi * pitches / sample_rate_hz * step
    waves = np.concatenate([taper * np.cos(angle), taper * np.sin(angle)], axis=1)
    return waves.astype(np.float32)
