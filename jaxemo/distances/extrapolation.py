"""What a Frechet distance from few rows is worth: its bias, its interval, and the rank beneath it.

The distance of two samples of one distribution is not 0 but falls as 1 / n, so it is extrapolated
to infinite n, compared at equal n, and given an interval over speakers. Rows of one speaker are not
independent: nothing here counts rows as if they were. Results are numpy and plain numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float64, Int, PRNGKeyArray

from jaxemo.distances.frechet import (
    FrechetStatistics,
    distance_grid,
    empty_statistics,
    frechet_distance_from_statistics,
    merge_cells,
    update,
)

AnyArray = Array | np.ndarray

# Singular values below this share of the largest are the rounding of float32 rows.
RANK_TOLERANCE = 1e-6


class Extrapolation(NamedTuple):
    """A straight line through distances over 1 / n, and the points that it was drawn through.

    Attributes:
      distance: The line at 1 / n = 0; below 0 where the fit's error outweighs the distance.
      slope: Bias times n: the distance at n rows is about distance + slope / n.
      standard_error: Of `distance`, from the scatter about the line. It is of the fit alone: that
        another corpus would give other rows is not in it; see `bootstrap_interval`.
      r_squared: Share of the points' variance that the line explains.
      sizes: Rows of either set at each point.
      distances: The distance measured at each point.
    """

    distance: float
    slope: float
    standard_error: float
    r_squared: float
    sizes: Int[np.ndarray, " K"]
    distances: Float64[np.ndarray, " K"]


class BootstrapInterval(NamedTuple):
    """A distance with confidence limits over speakers.

    `bias` is the mean over resamples less the distance: how much of it few speakers may have added.
    """

    distance: float
    low: float
    high: float
    bias: float
    num_speakers: int
    num_resamples: int


def frechet_distance_infinity(
    key: PRNGKeyArray,
    x: Float[AnyArray, "N D"],
    y: Float[AnyArray, "M D"],
    *,
    num_sizes: int = 16,
    smallest_share: float = 0.25,
) -> Extrapolation:
    """Frechet distance extrapolated to infinitely many rows (FAD-infinity).

    distance(n) = distance + slope / n,   least squares over `num_sizes` values of n

    Both sets are drawn down to the same n, without replacement, so that the bias of either is in
    the slope. Values of n lie evenly in 1 / n from the smaller set's size down to a share of it.
    The line holds where n is well above the number of dimensions: below 2 d the bias bends, and the
    result is too high. fadtk differs: it draws one set only, with replacement, and keeps the other's
    bias.

    Args:
      key: Draws the rows of each point.
      x: Embeddings of any float type.
      y: Embeddings of the same width.
      num_sizes: Points K of the line, at least 3.
      smallest_share: Smallest n as a share of the largest, in (0, 1).

    Raises:
      ValueError: If there are too few rows for `num_sizes` different sizes of two rows or more, a
        value is not finite, the widths differ, or an option is out of its range.

    References:
      Chong & Forsyth 2020, CVPR, arXiv 1911.07023 (extrapolation over 1 / n).
      Gui et al. 2024, ICASSP, arXiv 2311.01616 (the same for audio).
    """
    largest = min(x.shape[0], y.shape[0])
    sizes = _sizes(largest, num_sizes=num_sizes, smallest_share=smallest_share)
    keys = jax.random.split(key, (len(sizes), 2))
    distances = np.array(
        [
            float(
                frechet_distance_from_statistics(
                    _drawn_statistics(keys[k, 0], x, int(size)),
                    _drawn_statistics(keys[k, 1], y, int(size)),
                )
            )
            for k, size in enumerate(sizes)
        ]
    )
    return line_over_inverse(sizes, distances)


def subsample_mask(
    key: PRNGKeyArray, row_mask: Bool[AnyArray, " N"], *, num_rows: int
) -> Bool[Array, " N"]:
    """A mask of exactly `num_rows` of the valid rows, drawn without replacement.

    For cells of equal n: draw each down to the smallest cell's count and pass the mask to `update`.

    Raises:
      ValueError: If fewer rows are valid, or `num_rows` is negative.
    """
    num_valid = int(np.asarray(row_mask).sum())
    if not 0 <= num_rows <= num_valid:
        raise ValueError(f"num_rows is {num_rows}; expected 0 to {num_valid}, the valid rows.")
    return _subsample_mask(key, row_mask, num_rows)


def bootstrap_interval(
    key: PRNGKeyArray,
    a: FrechetStatistics,
    b: FrechetStatistics,
    *,
    level: float = 0.95,
    num_resamples: int = 200,
) -> BootstrapInterval:
    """Frechet distance of two sets with a bootstrap interval over whole speakers.

    interval = [2 distance - upper quantile, 2 distance - lower quantile] of resampled distances,
    limits below 0 cut to 0

    The basic interval, since a resample repeats speakers and so carries the small-sample bias twice:
    reflecting takes it off again, where percentiles would add it. A speaker drawn m times has their
    rows counted m times in both sets; speakers in both sets, in `a` only and in `b` only are drawn
    among their own kind. Each resample costs two eigh and one SVD of (D, D).

    Args:
      key: Draws the resamples.
      a: One cell a speaker along the first axis; cells of speakers without rows are empty.
      b: The same speakers in the same order.
      level: Confidence, in (0, 1).
      num_resamples: Resamples; 200 place a 95 % limit on the fifth from the end.

    Raises:
      ValueError: If the cells do not line up, a set has fewer than two speakers, a cell is not
        finite, or an option is out of its range.

    Reference: Davison & Hinkley 1997, Bootstrap Methods and their Application, sections 2.4, 3.8.
    """
    in_a, in_b = _check_speakers(a, b)
    if not 0.0 < level < 1.0 or num_resamples < 2:
        raise ValueError(
            f"level is {level} and num_resamples {num_resamples}; expected a level between 0 and 1, "
            "and at least 2 resamples."
        )
    observed = float(frechet_distance_from_statistics(merge_cells(a), merge_cells(b)))
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    scatters = [_in_float64(_scatters, statistics) for statistics in (a, b)]
    resampled = np.empty(num_resamples)
    for i in range(num_resamples):
        counts = _resample(random, in_a, in_b)
        pair = (
            _in_float64(_repeated, statistics, scatter, counts)
            for statistics, scatter in zip((a, b), scatters, strict=True)
        )
        resampled[i] = float(distance_grid(*pair).distance)
    lower, upper = np.quantile(resampled, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return BootstrapInterval(
        distance=observed,
        low=max(2.0 * observed - float(upper), 0.0),
        high=max(2.0 * observed - float(lower), 0.0),
        bias=float(resampled.mean()) - observed,
        num_speakers=int((in_a | in_b).sum()),
        num_resamples=num_resamples,
    )


def numerical_rank(
    statistics: FrechetStatistics, *, relative_tolerance: float = RANK_TOLERANCE
) -> Int[np.ndarray, "*cells"]:
    """Rank of each cell's covariance: singular values of its factor above a share of the largest.

    At most min(n - 1, d). A cell of rank below d says nothing of the directions it does not span.
    """
    with jax.enable_x64(True):
        return np.asarray(_rank(statistics.factor, relative_tolerance))


def inverse_sizes(
    largest: int, *, num_sizes: int, smallest_share: float = 0.25
) -> Int[np.ndarray, " K"]:
    """Set sizes of 2 or more that lie evenly in 1 / n, from `largest` to a share of it."""
    inverse = np.linspace(1.0, 1.0 / smallest_share, num_sizes)
    sizes = np.unique(np.round(largest / inverse).astype(np.int64))[::-1]
    return sizes[sizes > 1]


def _sizes(largest: int, *, num_sizes: int, smallest_share: float) -> Int[np.ndarray, " K"]:
    if num_sizes < 3 or not 0.0 < smallest_share < 1.0:
        raise ValueError(
            f"num_sizes is {num_sizes} and smallest_share {smallest_share}; "
            "expected at least 3, and a share between 0 and 1."
        )
    sizes = inverse_sizes(largest, num_sizes=num_sizes, smallest_share=smallest_share)
    if len(sizes) < num_sizes:
        raise ValueError(
            f"The smaller set has {largest} rows: too few for {num_sizes} different sizes of at "
            f"least 2 rows down to {smallest_share} of it. Ask for fewer sizes, or leave the "
            "distance unextrapolated."
        )
    return sizes


def _drawn_statistics(
    key: PRNGKeyArray, rows: Float[AnyArray, "N D"], num_rows: int
) -> FrechetStatistics:
    # Masked to full length, not cut: one compiled program serves every size.
    mask = subsample_mask(key, np.ones(rows.shape[0], bool), num_rows=num_rows)
    return update(empty_statistics(rows.shape[1]), rows, mask)


@jax.jit
def _subsample_mask(key, row_mask, num_rows):
    order = jnp.argsort(jnp.where(row_mask, jax.random.uniform(key, row_mask.shape), 2.0))
    return jnp.zeros(row_mask.shape, bool).at[order].set(jnp.arange(order.size) < num_rows)


def line_over_inverse(
    sizes: Int[np.ndarray, " K"], distances: Float64[np.ndarray, " K"]
) -> Extrapolation:
    """The least-squares line of distances over 1 / size, at least three points."""
    inverse = 1.0 / sizes
    spread = inverse - inverse.mean()
    slope = spread @ distances / (spread @ spread)
    intercept = distances.mean() - slope * inverse.mean()
    residual = distances - intercept - slope * inverse
    total = np.sum((distances - distances.mean()) ** 2)
    variance = residual @ residual / (len(sizes) - 2)
    standard_error = np.sqrt(variance * (1 / len(sizes) + inverse.mean() ** 2 / (spread @ spread)))
    return Extrapolation(
        distance=float(intercept),
        slope=float(slope),
        standard_error=float(standard_error),
        r_squared=float(1.0 - residual @ residual / total) if total > 0.0 else 1.0,
        sizes=sizes,
        distances=distances,
    )


def _in_float64(function, *arguments):
    with jax.enable_x64(True):
        return function(*arguments)


@jax.jit
def _scatters(statistics):
    return jnp.swapaxes(statistics.factor, -1, -2) @ statistics.factor


@jax.jit
def _repeated(statistics, scatters, counts):
    """One cell of all rows behind the cells, cell s counted counts[s] times.

    R^T R = sum_s counts_s (R_s^T R_s + n_s (mean_s - mean)(..)^T) = V diag(l) V^T,
    R = diag(sqrt l) V^T

    A QR of the stacked factors, as in `merge_cells`, is exact but took 30 times as long (12 speakers,
    768 dimensions); the digits that squaring loses are nothing beside the spread of resamples.
    """
    counts = counts.astype(jnp.float64)
    weight = counts * statistics.num_rows.astype(jnp.float64)
    mean = weight @ statistics.mean / jnp.sum(weight)
    shift = jnp.sqrt(weight)[:, None] * (statistics.mean - mean)
    scatter = jnp.tensordot(counts, scatters, 1) + shift.T @ shift
    eigenvalues, eigenvectors = jnp.linalg.eigh(scatter)
    factor = jnp.sqrt(jnp.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T
    return FrechetStatistics(jnp.sum(weight).astype(jnp.int32), mean, factor)


@jax.jit
def _rank(factor, relative_tolerance):
    def rank_of_cell(cell):
        # sigma_min >= 1 / |R^-1| and sigma_max <= |R| (Frobenius norms) prove most cells of full rank
        # without singular values, which take 20 times as long at 768 dimensions.
        inverse = jax.scipy.linalg.solve_triangular(cell, jnp.eye(cell.shape[0]))
        bound = 1.0 / (jnp.linalg.norm(cell) * jnp.linalg.norm(inverse))
        proven = (bound > relative_tolerance) & jnp.all(cell == jnp.triu(cell))
        return lax.cond(proven, lambda cell: jnp.int32(cell.shape[0]), count_above, cell)

    def count_above(cell):
        values = jnp.linalg.svd(cell, compute_uv=False)
        above = (values > relative_tolerance * values[0]) & (values > 0.0)
        return jnp.sum(above, dtype=jnp.int32)

    cells = factor.reshape(-1, *factor.shape[-2:])
    # One after another, as in `distance_grid`: a batched SVD would hold every cell's workspace.
    return lax.map(rank_of_cell, cells).reshape(factor.shape[:-2])


def _resample(
    random: np.random.Generator, in_a: Bool[np.ndarray, " S"], in_b: Bool[np.ndarray, " S"]
) -> Int[np.ndarray, " S"]:
    """How often each speaker is drawn, among those who have rows in the same sets as they."""
    counts = np.zeros(in_a.size, np.int64)
    for stratum in (in_a & in_b, in_a & ~in_b, in_b & ~in_a):
        members = np.flatnonzero(stratum)
        if members.size:
            drawn = random.choice(members, size=members.size)
            counts += np.bincount(drawn, minlength=counts.size)
    return counts


def _check_speakers(
    a: FrechetStatistics, b: FrechetStatistics
) -> tuple[Bool[np.ndarray, " S"], Bool[np.ndarray, " S"]]:
    if a.num_rows.ndim != 1 or a.mean.shape != b.mean.shape:
        raise ValueError(
            f"The statistics have means of shapes {a.mean.shape} and {b.mean.shape}; expected "
            "(speakers, d), the same speakers in both. Give absent speakers an empty cell."
        )
    in_a, in_b = np.asarray(a.num_rows) > 0, np.asarray(b.num_rows) > 0
    if in_a.sum() < 2 or in_b.sum() < 2:
        raise ValueError(
            f"The sets have {in_a.sum()} and {in_b.sum()} speakers with rows; "
            "an interval over speakers needs at least 2 in each."
        )
    return in_a, in_b
