"""Frechet distance between sets of embeddings, given as rows, as statistics or as moments.

The factor R of `statistics` is never squared into a covariance: tr sqrt(Ca Cb) is the nuclear norm
of Ra Rb^T, which keeps full precision where eigh or sqrtm of the product of covariances lose half
their digits. All arithmetic is float64, whatever `jax_enable_x64` says; results are float64 arrays,
so take them through `float` or `np.asarray` before further jax arithmetic. Small-sample bias, nulls and
intervals are left to `analysis` and the studies.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float64, Int32

from jaxemo.distances.arrays import AnyArray, array_module, in_float64, on_host, over_cores
from jaxemo.distances.checks import check_moments, check_rows, check_statistics
from jaxemo.distances.statistics import FrechetStatistics

# Enough to fill an accelerator; at 768 dimensions a block takes 225 MB.
PAIRS_AT_ONCE = 16
# Side of the blocks in which triangles are multiplied: smaller ones make slow products, larger ones hold
# more zeros.
_TRIANGLE_BLOCK = 128


class DistanceGrid(NamedTuple):
    """Distances of a grid of cell pairs with the row counts they rest on.

    `defined` is False, and the distance NaN, where either cell has fewer than two rows. Where a
    count is below twice the number of dimensions the distance is mostly small-sample bias: show the
    counts beside it.
    """

    distance: Float64[Array, "*cells"]
    num_rows_a: Int32[Array, "*cells"]
    num_rows_b: Int32[Array, "*cells"]
    defined: Bool[Array, "*cells"]


def frechet_distance(x: Float[AnyArray, "N D"], y: Float[AnyArray, "M D"]) -> Float64[Array, ""]:
    """Squared Frechet (2-Wasserstein) distance between the Gaussians fitted to two sets of rows.

    distance = |mean_x - mean_y|^2 + tr C_x + tr C_y - 2 tr sqrt(C_x C_y)
    tr sqrt(C_x C_y) = nuclear norm of R_x R_y^T,   C = R^T R the covariance over n - 1

    R is the centred sample over sqrt(n - 1), reduced by QR where it has more rows than columns.
    Biased upwards: two samples of one distribution are apart by an amount that falls roughly as
    1 / n. Compiles once per pair of shapes.

    Args:
      x: Embeddings of any float type, at least two rows.
      y: Embeddings of the same width.

    Returns:
      The distance in squared embedding units, >= 0.

    Raises:
      ValueError: If the widths differ, a set has fewer than two rows, or a value is not finite
        (values are looked at only outside jit).

    References:
      Dowson & Landau 1982, Journal of Multivariate Analysis 12(3):450-455 (of two Gaussians).
      Kilgour et al. 2019, Interspeech, arXiv 1812.08466 (Frechet Audio Distance).
    """
    check_rows(x, y)
    return _distance_of_rows(x, y)


def distance_grid(a: FrechetStatistics, b: FrechetStatistics) -> DistanceGrid:
    """Distances between cells paired by broadcasting leading axes.

    (layers, emotions) against (layers, emotions) pairs like with like. One compiled program on an
    accelerator and under jit; pairs run in blocks of `PAIRS_AT_ONCE`, so memory beyond the statistics
    is that of a block. On a CPU each core takes one pair at a time, which is twice as fast; set
    OPENBLAS_NUM_THREADS=1 before numpy is imported, as the command does: BLAS threads beneath them
    fight for the cores and made the grid up to 10 times slower on a busy machine.

    Raises:
      ValueError: If the widths differ, the leading axes do not broadcast, or a cell is not finite.
    """
    check_statistics(a, b)
    cells = np.broadcast_shapes(a.num_rows.shape, b.num_rows.shape)
    # Index pairs instead of broadcast factors: 13 x 6 x 6 factors of 768 x 768 would take 2 GiB.
    cell_a, cell_b = (
        np.broadcast_to(np.arange(s.num_rows.size).reshape(s.num_rows.shape), cells).ravel()
        for s in (a, b)
    )
    pair_distances = _pair_distances_on_host if on_host(a.factor, b.factor) else _pair_distances
    distances = pair_distances(a, b, cell_a, cell_b)
    return _in_grid(distances, *(jnp.broadcast_to(s.num_rows, cells) for s in (a, b)))


def frechet_distance_from_moments(
    a: tuple[Float[AnyArray, " D"], Float[AnyArray, "D D"]],
    b: tuple[Float[AnyArray, " D"], Float[AnyArray, "D D"]],
) -> Float64[Array, ""]:
    """Frechet distance of two Gaussians given as (mean, covariance), as published without rows.

    covariance = V diag(l) V^T, so R = diag(sqrt l) V^T, then as in `frechet_distance`. Pass float64
    numpy arrays as they are: jnp.asarray would cut them to float32. Eigenvalues of either sign
    within rounding of zero count as zero.

    Raises:
      ValueError: If the widths differ, a value is not finite, or a covariance is not symmetric
        positive semi-definite.
    """
    for name, (mean, cov) in (("first", a), ("second", b)):
        check_moments(name, mean, cov)
    if a[0].shape != b[0].shape:
        raise ValueError(
            f"The means have {a[0].shape[0]} and {b[0].shape[0]} dimensions; they must agree."
        )
    return _distance_of_moments(*a, *b)


def _gaussian_distance(
    mean_a: Float64[AnyArray, " D"],
    factor_a: Float64[AnyArray, "N D"],
    mean_b: Float64[AnyArray, " D"],
    factor_b: Float64[AnyArray, "M D"],
    *,
    product: Callable[..., Any] = lambda a, b: a @ b.T,
) -> Float64[AnyArray, ""]:
    """The equation of `frechet_distance`, with covariance = factor^T factor; of numpy's or jax's arrays.

    `product` is factor_a factor_b^T.
    """
    xp = array_module(factor_a)
    nuclear_norm = xp.sum(xp.linalg.svdvals(product(factor_a, factor_b)))
    traces = xp.sum(factor_a**2) + xp.sum(factor_b**2)
    distance = xp.sum((mean_a - mean_b) ** 2) + traces - 2.0 * nuclear_norm
    return xp.asarray(xp.maximum(distance, 0.0))


@in_float64
def _distance_of_rows(x, y):
    return _gaussian_distance(*_mean_and_factor(x), *_mean_and_factor(y))


def _mean_and_factor(rows):
    rows = rows.astype(jnp.float64)
    mean = jnp.mean(rows, axis=0)
    factor = (rows - mean) / np.sqrt(rows.shape[0] - 1)
    if factor.shape[0] > factor.shape[1]:
        factor = jnp.linalg.qr(factor, mode="r")
    return mean, factor


@in_float64
def _in_grid(distances, num_rows_a, num_rows_b):
    defined = (num_rows_a > 1) & (num_rows_b > 1)
    distance = jnp.where(defined, distances.reshape(defined.shape), jnp.nan)
    return DistanceGrid(distance, num_rows_a, num_rows_b, defined)


@in_float64
def _pair_distances(a, b, cell_a, cell_b):
    """Distances of pairs of cells, by their positions among all cells of `a` and of `b`."""
    a, b = (_flat_cells(s) for s in (a, b))
    return lax.map(
        lambda pair: _pair_distance(a, b, *pair), (cell_a, cell_b), batch_size=PAIRS_AT_ONCE
    )


def _pair_distances_on_host(a, b, cell_a, cell_b):
    a, b = (_flat_cells(jax.tree.map(np.asarray, s)) for s in (a, b))
    distance = partial(_pair_distance, a, b, product=_product_of_triangles)
    return np.array(over_cores(distance, cell_a, cell_b))


def _pair_distance(a, b, i, j, **options):
    factors = _scaled_factor(a, i), _scaled_factor(b, j)
    return _gaussian_distance(a.mean[i], factors[0], b.mean[j], factors[1], **options)


def _product_of_triangles(
    a: Float64[np.ndarray, "D D"], b: Float64[np.ndarray, "D D"]
) -> Float64[np.ndarray, "D D"]:
    """a b^T of upper triangles: a third of the arithmetic, since what lies below a diagonal is left out."""
    product = np.empty_like(a)
    for start in range(0, len(a), _TRIANGLE_BLOCK):
        end = start + _TRIANGLE_BLOCK
        product[start:end, :end] = a[start:end, start:] @ b[:end, start:].T
        product[:start, start:end] = a[:start, start:] @ b[start:end, start:].T
    return product


def _flat_cells(statistics):
    num_dimensions = statistics.mean.shape[-1]
    return FrechetStatistics(
        statistics.num_rows.reshape(-1),
        statistics.mean.reshape(-1, num_dimensions),
        statistics.factor.reshape(-1, num_dimensions, num_dimensions),
    )


def _scaled_factor(statistics, cell):
    # A power: np.sqrt would make an array of numpy's, jnp.sqrt one of jax's.
    degrees = (statistics.num_rows[cell].astype(np.float64) - 1.0).clip(1.0)
    return statistics.factor[cell] / degrees**0.5


@in_float64
def _distance_of_moments(mean_a, covariance_a, mean_b, covariance_b):
    def factor(cov):
        eigenvalues, eigenvectors = jnp.linalg.eigh(cov.astype(jnp.float64))
        return jnp.sqrt(jnp.maximum(eigenvalues, 0.0))[:, None] * eigenvectors.T

    return _gaussian_distance(
        mean_a.astype(jnp.float64),
        factor(covariance_a),
        mean_b.astype(jnp.float64),
        factor(covariance_b),
    )
