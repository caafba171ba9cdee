"""Where the vectors come from that codes are made of: a spectrum, or a layer of an encoder.

HuBERT's first iteration clusters MFCC, the later ones a middle layer of the encoder before.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Key

from jaxemo.pretraining.frames import SPECTRA, Grid
from jaxemo.pretraining.objectives.objective import Clips, Forward, Params, valid_rows
from jaxemo.pretraining.targets import (
    KMeans,
    KMeansSettings,
    RandomProjection,
    RandomProjectionSettings,
    Scaling,
    fit_kmeans,
    fit_random_projection,
    fit_scaling,
)


class Source(NamedTuple):
    """Vectors on the encoder's frames.

    Attributes:
      params: What they are computed by; empty for spectra.
      vectors: (params, clips) -> one vector per frame.
      grid: Where the frames lie.
    """

    params: Params
    vectors: Callable[[Params, Clips], Float[Array, "B T F"]]
    grid: Grid


class Codes(NamedTuple):
    """A fitted quantiser and what its vectors are computed by."""

    quantiser: KMeans | RandomProjection
    source_params: Params


def spectral_source(kind: str, grid: Grid) -> Source:
    """A spectrum by its name in `frames.SPECTRA`."""
    spectrum = SPECTRA[kind](grid)
    return Source({}, lambda _, clips: spectrum(*clips), grid)


def layer_source(forward: Forward, params: Params, layer: int, *, grid: Grid) -> Source:
    """Hidden states of a layer, counted as `EncoderOutput` counts them, of an encoder that stays.

    Args:
      forward: Of an encoder with the same frames as the one that is trained.
    """
    return Source(params, lambda params, clips: forward(params, clips)[layer], grid)


def fit_clusters(
    key: Key[Array, ""], sample: Clips, source: Source, settings: KMeansSettings
) -> Codes:
    """k-means over all frames of a sample."""
    vectors, weight = _sample_rows(sample, source)
    kmeans = jax.jit(fit_kmeans, static_argnums=3)(key, vectors, weight, settings)
    return Codes(kmeans, source.params)


def fit_projections(
    key: Key[Array, ""], sample: Clips, source: Source, settings: RandomProjectionSettings
) -> Codes:
    """A random-projection quantiser, scaled by the frames of a sample."""
    vectors, weight = _sample_rows(sample, source)
    quantiser = jax.jit(fit_random_projection, static_argnums=3)(key, vectors, weight, settings)
    return Codes(quantiser, source.params)


def fit_source_scaling(sample: Clips, source: Source) -> Scaling:
    """Mean and deviation of each column over the frames of a sample."""
    return fit_scaling(*_sample_rows(sample, source))


def _sample_rows(sample: Clips, source: Source) -> tuple[Float[Array, "n F"], Float[Array, " n"]]:
    vectors = jax.jit(source.vectors)(source.params, sample)
    reach = sample.num_samples - source.grid.receptive_field
    num_frames = (reach // source.grid.hop_samples + 1) * (reach >= 0)
    return valid_rows(vectors, num_frames)
