"""Whisper's input: log-mel frames of a waveform, 100 per second.

The frames of a clip are those of the clip within 30 s of silence, which is what Whisper was trained
on, but only as many are made as the clip has, and two more for the convolutions to look into.

Reference: Radford et al. 2022, arXiv 2212.04356, section 2.2; Slaney 1998, Auditory Toolbox.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from jaxemo.models.config import MEL_HOP_SAMPLES

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400

# Powers below the first are cut off; log powers further below the clip's loudest than the second
# (80 dB) are raised to there.
_FLOOR = 1e-10
_RANGE = 8.0


def log_mel_frames(
    waveform: Float[Array, "B N"], *, num_mel_bins: int, longest_samples: int
) -> Float32[Array, "B M F"]:
    """(max(log10 mel power, clip's maximum - 8) + 4) / 4, float32 on every backend.

    Args:
      waveform: 16 kHz, silent (zero) beyond each clip's end.
      num_mel_bins: F.
      longest_samples: Length to which Whisper pads its clips; at least N.

    Returns:
      At least two frames more than N // 160, but no more than `longest_samples` has.
    """
    total = min(waveform.shape[1] + WINDOW_SAMPLES, longest_samples)
    half = WINDOW_SAMPLES // 2
    silence = jnp.pad(waveform.astype(jnp.float32), ((0, 0), (0, total - waveform.shape[1])))
    padded = jnp.pad(silence, ((0, 0), (half, half)), mode="reflect")
    # A short-time Fourier transform as one strided convolution: a matrix product on every backend.
    spectrum = jax.lax.conv_general_dilated(
        padded[:, :, None],
        jnp.asarray(_fourier_kernel()),
        window_strides=(MEL_HOP_SAMPLES,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=jax.lax.Precision.HIGHEST,
    )[:, : total // MEL_HOP_SAMPLES]
    real, imaginary = jnp.split(spectrum, 2, axis=-1)
    power = jnp.square(real) + jnp.square(imaginary)
    filters = jnp.asarray(mel_filters(num_mel_bins))
    mel = jnp.matmul(power, filters, precision=jax.lax.Precision.HIGHEST)
    log_mel = jnp.log10(jnp.maximum(mel, _FLOOR))
    loudest = jnp.max(log_mel, axis=(1, 2), keepdims=True)
    return (jnp.maximum(log_mel, loudest - _RANGE) + 4.0) / 4.0


@functools.cache
def mel_filters(num_mel_bins: int) -> Float32[np.ndarray, "K F"]:
    """Slaney's triangular filters over the 201 bins from 0 to 8 kHz, each of unit area.

    The scale is linear, 200 / 3 Hz per mel, up to 1 kHz, and then 27 mels per factor of 6.4.
    """
    nyquist = SAMPLE_RATE_HZ / 2
    bins = np.linspace(0.0, nyquist, WINDOW_SAMPLES // 2 + 1)[:, None]
    top = 15.0 + 27.0 * np.log(nyquist / 1000.0) / np.log(6.4)
    mels = np.linspace(0.0, top, num_mel_bins + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * 6.4 ** ((mels - 15.0) / 27.0))
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0.0) * 2.0 / (high - low)).astype(np.float32)


@functools.cache
def _fourier_kernel() -> Float32[np.ndarray, "W 1 _"]:
    """Cosines, then sines, of each bin under a periodic Hann window."""
    step = np.arange(WINDOW_SAMPLES)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * step / WINDOW_SAMPLES)
    bins = np.arange(WINDOW_SAMPLES // 2 + 1)
    angle = 2.0 * np.pi / WINDOW_SAMPLES * (step[:, None] * bins % WINDOW_SAMPLES)
    waves = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    return (window[:, None] * waves).astype(np.float32)[:, None, :]
