"""Frechet distances of many overlapping sets of rows: speakers left out, clips drawn down.

The sums of rows and of their outer products over disjoint units of rows (one speaker's part of a cell,
say) add up, so a union of units costs a sum, and thousands of distances are one compiled program. That
pays in few dimensions only: `principal_rows` cuts a layer down to its leading directions. Squaring rows
loses digits that `distances.frechet` keeps; they are nothing beside the spread of resamples. Arithmetic
is float64.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Float, Float64, Int

from jaxemo.analysis.scores import Interval, student_interval

# Added to a covariance's diagonal as a share of the mean square row, so that Cholesky takes rank-deficient
# ones: well above rounding, and a millionth in the distance.
_JITTER = 1e-12
# Pairs per batch: enough to keep an accelerator busy, few enough to stay in a CPU's cache.
_PAIRS_PER_BATCH = 32
_ROUNDED_TO = 64


class PrincipalRows(NamedTuple):
    """Rows in the leading principal directions of them all, and their share of the variance."""

    rows: Float64[np.ndarray, "N k"]
    variance_kept: float


class RowSums(NamedTuple):
    """Row count, sum of rows and sum of their outer products of one set or many."""

    num_rows: Float64[np.ndarray, "*sets"]
    total: Float64[np.ndarray, "*sets k"]
    outer: Float64[np.ndarray, "*sets k k"]


class Jackknife(NamedTuple):
    """A distance of two sets, and how far each of the S speakers in them moves it.

    influence = (S - 1) (mean over speakers of leave-one-out - leave-one-out)
    """

    distance: float
    influence: Float64[np.ndarray, " S"]

    @property
    def standard_error(self) -> float:
        """std(influence) / sqrt S, std over S - 1."""
        return float(self.influence.std(ddof=1) / np.sqrt(len(self.influence)))


def principal_rows(rows: Float[np.ndarray, "N D"], *, num_dimensions: int) -> PrincipalRows:
    """Centred rows along their leading `num_dimensions` principal directions, the leading ones last.

    A Frechet distance there is at most the one in all directions, and equal to it where D is no more.

    Args:
      num_dimensions: k.
    """
    with jax.enable_x64(True):
        projected, variance_kept = _projected(rows, num_dimensions)
        return PrincipalRows(np.asarray(projected), float(variance_kept))


def sums_by_unit(
    rows: Float64[np.ndarray, "N k"], unit_of_row: Int[np.ndarray, " N"], *, num_units: int
) -> RowSums:
    """Sums over each unit of rows; a unit without rows has zeros, unit -1 is left out."""
    width = rows.shape[1]
    sums = _empty_sums((num_units,), width)
    order = np.argsort(unit_of_row, kind="stable")
    ends = np.searchsorted(unit_of_row[order], np.arange(num_units + 1))
    for unit in range(num_units):
        _fill(sums, unit, rows[order[ends[unit] : ends[unit + 1]]])
    return sums


def _empty_sums(sets: tuple[int, ...], num_dimensions: int) -> RowSums:
    """Sums of no rows, to be filled."""
    square = (num_dimensions, num_dimensions)
    return RowSums(*(np.zeros((*sets, *shape)) for shape in ((), square[:1], square)))


def pair_distances(
    sums: RowSums, first: Int[np.ndarray, " P"], second: Int[np.ndarray, " P"]
) -> Float64[np.ndarray, " P"]:
    """Frechet distances of P pairs of sets, given as positions along the one axis of `sums`.

    C = (outer - n mean mean^T) / (n - 1) = L L^T,   tr sqrt(C_a C_b) = nuclear norm of L_a^T L_b

    The distance of a pair with a set of fewer than two rows is NaN.
    """
    num_pairs = len(first)
    # Sizes rounded up, so that few programs are compiled for many numbers of pairs.
    sums = RowSums(*(_filled_up(leaf) for leaf in sums))
    first, second = _filled_up(first), _filled_up(second)
    with jax.enable_x64(True):
        return np.asarray(_pair_distances(sums, first, second))[:num_pairs]


def jackknife_distance(a: RowSums, b: RowSums) -> Jackknife:
    """Distance of two sets, with each speaker left out of both once.

    A bootstrap over speakers takes some twice and lacks others, which changes the small-sample bias
    from resample to resample: on made-up sets of 24 speakers in 48 dimensions its standard error was 1.3
    where new speakers gave 0.56, and the jackknife's 0.56.

    Args:
      a: Sums over each speaker's rows in the first set, zeros for those who have none.
      b: The same speakers' in the second.

    Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.
    """
    members = np.flatnonzero((a.num_rows > 0) | (b.num_rows > 0))
    table = RowSums(
        *(
            np.concatenate([whole_and_lacking(side, members) for side in sides])
            for sides in zip(a, b, strict=True)
        )
    )
    place = np.arange(1 + len(members))
    distances = pair_distances(table, place, len(place) + place)
    return Jackknife(float(distances[0]), influence_of(distances[1:]))


def influence_of(left_out: Float[np.ndarray, "*any S"]) -> Float64[np.ndarray, "*any S"]:
    """The influences of S speakers, from the S values that lack one of them each (see `Jackknife`)."""
    return (left_out.shape[-1] - 1) * (left_out.mean(axis=-1, keepdims=True) - left_out)


def jackknife_interval(
    estimate: float | np.floating, influence: Float64[np.ndarray, " S"], *, level: float = 0.95
) -> Interval:
    """estimate -+ t_{S - 1} std(influence) / sqrt S: where other speakers may have put it.

    Small-sample bias is left in, as in the estimate.
    """
    return student_interval(float(estimate) + influence - influence.mean(), level=level)


def draw_clips(
    random: np.random.Generator, speaker_of_clip: Int[np.ndarray, " C"], *, num_clips: int
) -> Int[np.ndarray, " M"]:
    """Positions of `num_clips` clips, without replacement, as evenly over the speakers as can be."""
    order = random.permutation(len(speaker_of_clip))
    order = order[np.argsort(speaker_of_clip[order], kind="stable")]
    speakers = speaker_of_clip[order]
    turn = np.arange(len(order)) - np.searchsorted(speakers, speakers)
    shuffled = random.permutation(len(order))
    return order[shuffled[np.argsort(turn[shuffled], kind="stable")][:num_clips]]


class ClipRows(NamedTuple):
    """A set of clips with K rows each, masked where a clip has fewer, and who speaks in each."""

    rows: Float64[np.ndarray, "C K k"]
    mask: Bool[np.ndarray, "C K"]
    speaker: Int[np.ndarray, " C"]


def equal_clips_distance(
    random: np.random.Generator, a: ClipRows, b: ClipRows, *, num_clips: int, num_draws: int
) -> float:
    """Mean Frechet distance over draws of both sets down to `num_clips` clips each."""
    return float(_drawn_distances(random, a, b, sizes=np.repeat(num_clips, num_draws)).mean())


def _drawn_distances(
    random: np.random.Generator, a: ClipRows, b: ClipRows, *, sizes: Int[np.ndarray, " P"]
) -> Float64[np.ndarray, " P"]:
    table = _empty_sums((2 * len(sizes),), a.rows.shape[-1])
    for place, size in enumerate(sizes):
        for row, clips in ((place, a), (place + len(sizes), b)):
            drawn = draw_clips(random, clips.speaker, num_clips=int(size))
            _fill(table, row, clips.rows[drawn][clips.mask[drawn]])
    place = np.arange(len(sizes))
    return pair_distances(table, place, place + len(sizes))


def whole_and_lacking(leaf: np.ndarray, members: Int[np.ndarray, " M"]) -> np.ndarray:
    """The sum over all units, and behind it that over all but each of the members."""
    whole = leaf.sum(axis=0, keepdims=True)
    return np.concatenate([whole, whole - leaf[members]])


def _filled_up(array: np.ndarray) -> np.ndarray:
    filler = -len(array) % _ROUNDED_TO
    return np.concatenate([array, np.zeros((filler, *array.shape[1:]), array.dtype)])


def _fill(sums: RowSums, place: int, rows: Float64[np.ndarray, "N k"]) -> None:
    sums.num_rows[place] = len(rows)
    sums.total[place] = rows.sum(axis=0)
    sums.outer[place] = rows.T @ rows


@partial(jax.jit, static_argnums=1)
def _projected(rows, num_dimensions):
    rows = rows.astype(jnp.float64)
    centred = rows - jnp.mean(rows, axis=0)
    values, vectors = jnp.linalg.eigh(centred.T @ centred)
    values = jnp.maximum(values, 0.0)
    leading = slice(-num_dimensions, None)
    variance_kept = jnp.sum(values[leading]) / jnp.sum(values)
    return centred @ vectors[:, leading], variance_kept


@jax.jit
def _pair_distances(sums, first, second):
    enough = sums.num_rows > 1.0
    num_rows = jnp.where(enough, sums.num_rows, 2.0)[:, None]
    mean = sums.total / num_rows
    scatter = sums.outer - num_rows[..., None] * mean[:, :, None] * mean[:, None, :]
    covariance = scatter / (num_rows[..., None] - 1.0)
    mean_square = jnp.trace(sums.outer, axis1=1, axis2=2)[:, None, None] / num_rows[..., None]
    jitter = (_JITTER * mean_square + jnp.finfo(jnp.float64).tiny) * jnp.eye(mean.shape[1])
    factor = jnp.linalg.cholesky(covariance + jitter)
    trace = jnp.trace(covariance, axis1=1, axis2=2)

    def distance_of_pair(pair):
        i, j = pair
        nuclear_norm = jnp.sum(jnp.linalg.svd(factor[i].T @ factor[j], compute_uv=False))
        shift = jnp.sum((mean[i] - mean[j]) ** 2)
        return jnp.maximum(shift + trace[i] + trace[j] - 2.0 * nuclear_norm, 0.0)

    distances = lax.map(distance_of_pair, (first, second), batch_size=_PAIRS_PER_BATCH)
    return jnp.where(enough[first] & enough[second], distances, jnp.nan)
