"""What a Frechet distance from few rows is worth: its bias, and the rank beneath it.

The distance of two samples of one distribution is not 0 but falls as 1 / n, so it is extrapolated
to infinite n. Intervals over speakers and draws of equal n are in `analysis.resampling`, since the
rows of one speaker are not independent. Results are numpy arrays and plain numbers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Float64, Int, PRNGKeyArray

from jaxemo.distances.arrays import AnyArray
from jaxemo.distances.frechet import frechet_distance_from_statistics
from jaxemo.distances.statistics import FrechetStatistics, empty_statistics, update

# Singular values below this share of the largest are the rounding of float32 rows.
RANK_TOLERANCE = 1e-6
# Frames of digital silence may be equal by nature.
_MAX_SHARED = 0.01


class Extrapolation(NamedTuple):
    """A straight line through distances over 1 / n, and the points that it was drawn through.

    Attributes:
      distance: The line at 1 / n = 0; below 0 where the fit's error outweighs the distance.
      slope: Bias times n: the distance at n rows is about distance + slope / n.
      standard_error: Of `distance`, from the scatter about the line. It is of the fit alone: that
        other speakers would give other rows is not in it; see `analysis.resampling.Jackknife`.
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
      ValueError: If there are too few rows for `num_sizes` different sizes of two rows or more, the
        sets have more than 1 % of the smaller one's rows in common, a value is not finite, the
        widths differ, or an option is out of its range.

    References:
      Chong & Forsyth 2020, CVPR, arXiv 1911.07023 (extrapolation over 1 / n).
      Gui et al. 2024, ICASSP, arXiv 2311.01616 (the same for audio).
    """
    largest = min(x.shape[0], y.shape[0])
    sizes = _sizes(largest, num_sizes=num_sizes, smallest_share=smallest_share)
    if (shared := num_shared_rows(x, y)) > _MAX_SHARED * largest:
        raise ValueError(
            f"{shared} rows are in both sets: draws from them are not independent, and the line over "
            "1 / n would end far below the distance, even below 0. Take the rows out of one set, or "
            "leave the distance unextrapolated."
        )
    keys = jax.random.split(key, (len(sizes), 2))
    distances = np.array(
        [_drawn_distance(keys[k], x, y, num_rows=int(size)) for k, size in enumerate(sizes)]
    )
    return line_over_inverse(sizes, distances)


def num_shared_rows(x: Float[AnyArray, "N D"], y: Float[AnyArray, "M D"]) -> int:
    """Different rows that are in both sets, bit for bit."""
    rows = ({row.tobytes() for row in np.asarray(side)} for side in (x, y))
    return len(set.intersection(*rows))


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


def _drawn_distance(keys, x, y, *, num_rows: int) -> float:
    a, b = (_drawn_statistics(key, rows, num_rows) for key, rows in zip(keys, (x, y), strict=True))
    return float(frechet_distance_from_statistics(a, b))


def _drawn_statistics(
    key: PRNGKeyArray, rows: Float[AnyArray, "N D"], num_rows: int
) -> FrechetStatistics:
    # Masked to full length, not cut: one compiled program serves every size.
    mask = _drawn_mask(jax.random.uniform(key, rows.shape[:1]), num_rows)
    return update(empty_statistics(rows.shape[1]), rows, mask)


@jax.jit
def _drawn_mask(order_of_row, num_rows):
    """True for the `num_rows` rows that come first in a random order: drawn without replacement."""
    order = jnp.argsort(order_of_row)
    return jnp.zeros(order.shape, bool).at[order].set(jnp.arange(order.size) < num_rows)


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
