"""Frechet distance between sets of embeddings, from streamed sufficient statistics.

A cell (one layer, emotion and domain) is kept as row count, mean and a triangular factor R of its
scatter matrix. R is never squared into a covariance: tr sqrt(Ca Cb) is the nuclear norm of Ra Rb^T,
which keeps full precision where eigh or sqrtm of the product of covariances lose half their digits.
All arithmetic is float64, whatever `jax_enable_x64` says; results are float64 arrays, so take them
through `float` or `np.asarray` before further jax arithmetic. Small-sample bias, nulls and
intervals are left to the studies.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float64, Int32

from jaxemo.distances.checks import (
    check_moments,
    check_rows,
    check_statistics,
    is_concrete,
)

AnyArray = Array | np.ndarray

# Enough to fill an accelerator; at 768 dimensions a block takes 225 MB.
PAIRS_AT_ONCE = 16


class FrechetStatistics(NamedTuple):
    """Sufficient statistics of one cell, or of a grid of cells along leading axes.

    factor^T factor = sum_i (x_i - mean)(x_i - mean)^T
    covariance = factor^T factor / (num_rows - 1)
    The factor is upper triangular and unique up to the sign of its rows: compare covariances.
    """

    num_rows: Int32[Array, "*cells"]
    mean: Float64[Array, "*cells D"]
    factor: Float64[Array, "*cells D D"]


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


def _in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function` and runs it in float64, leaving the caller's jax_enable_x64 alone."""
    compiled = jax.jit(function)

    @functools.wraps(function)
    def call(*arguments):
        # The context must open outside jit: float64 numpy arguments are cut to float32 at the
        # boundary otherwise.
        with jax.enable_x64(True):
            return compiled(*arguments)

    return call


def empty_statistics(num_dimensions: int, *, cells: tuple[int, ...] = ()) -> FrechetStatistics:
    """Statistics of no rows: the neutral element of `merge` and the start of `update`.

    Args:
      num_dimensions: Width D of the embeddings.
      cells: Leading axes, such as (num_layers, num_emotions).
    """
    with jax.enable_x64(True):
        return FrechetStatistics(
            num_rows=jnp.zeros(cells, jnp.int32),
            mean=jnp.zeros((*cells, num_dimensions), jnp.float64),
            factor=jnp.zeros((*cells, num_dimensions, num_dimensions), jnp.float64),
        )


def update(
    statistics: FrechetStatistics,
    rows: Float[AnyArray, "*cells N D"],
    row_mask: Bool[AnyArray, "*cells N"],
) -> FrechetStatistics:
    """Adds a batch of rows to every cell; the result does not depend on how rows were batched.

    Costs a QR of D + N + 2 rows a cell, so batches of N >= D rows waste least. Memory is that of
    the batch. A non-finite valid row makes its cell non-finite, which the distance functions then
    refuse by name.

    Args:
      statistics: What has been seen so far, with the same leading axes as `rows`.
      rows: Embeddings of any float type.
      row_mask: True where a row counts; masked rows may hold anything, NaN included.
    """
    return _update(statistics, rows, row_mask)


def merge(a: FrechetStatistics, b: FrechetStatistics) -> FrechetStatistics:
    """Statistics of the union of two disjoint sets of rows, cell by cell.

    mean = (n_a mean_a + n_b mean_b) / n
    R^T R = R_a^T R_a + R_b^T R_b + n_a (mean_a - mean)(..)^T + n_b (mean_b - mean)(..)^T
    R is the triangle of the QR of these factors and mean shifts stacked as rows.

    Reference: Chan, Golub, LeVeque 1983, The American Statistician 37(3):242-247.
    """
    return _merge(a, b)


def merge_cells(statistics: FrechetStatistics) -> FrechetStatistics:
    """Merges the cells along the first axis into one: the parts of devices, speakers or domains."""
    return _merge_cells(statistics)


def covariance(statistics: FrechetStatistics) -> Float64[Array, "*cells D D"]:
    """Sample covariance, factor^T factor / (num_rows - 1); NaN in cells of fewer than two rows."""
    return _covariance(statistics)


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


def frechet_distance_from_statistics(
    a: FrechetStatistics, b: FrechetStatistics
) -> Float64[Array, ""]:
    """`frechet_distance` of the rows behind two single cells.

    Raises:
      ValueError: If the widths differ, a cell has fewer than two rows, or is not finite.
    """
    check_statistics(a, b)
    for name, statistics in (("first", a), ("second", b)):
        if is_concrete(statistics.num_rows) and int(statistics.num_rows) < 2:
            raise ValueError(
                f"The {name} cell has {int(statistics.num_rows)} rows; a covariance needs 2 or "
                "more. Leave the cell out, or use distance_grid, which marks it."
            )
    return distance_grid(a, b).distance


def distance_grid(a: FrechetStatistics, b: FrechetStatistics) -> DistanceGrid:
    """Distances between cells paired by broadcasting leading axes, as one compiled program.

    (layers, emotions) against (layers, emotions) pairs like with like; see `distance_matrix` for
    all pairs. Pairs run in blocks of `PAIRS_AT_ONCE`, so memory beyond the statistics is that of a
    block. On a CPU set OPENBLAS_NUM_THREADS=1 before numpy is imported, as the command does: BLAS
    threads beneath XLA's fight for the cores and made the grid up to 10 times slower on a busy machine.

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
    distances = _pair_distances(a, b, cell_a, cell_b)
    return _in_grid(distances, *(jnp.broadcast_to(s.num_rows, cells) for s in (a, b)))


def distance_matrix(a: FrechetStatistics, b: FrechetStatistics) -> DistanceGrid:
    """Distances of every cell of `a` (rows) to every one of `b` (columns), each with one axis."""
    rows = FrechetStatistics(*(leaf[:, None] for leaf in a))
    columns = FrechetStatistics(*(leaf[None, :] for leaf in b))
    return distance_grid(rows, columns)


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


@_in_float64
def _update(statistics, rows, row_mask):
    rows = jnp.where(row_mask[..., None], rows.astype(jnp.float64), 0.0)
    num_rows = jnp.sum(row_mask, axis=-1, dtype=jnp.int32)
    mean = jnp.sum(rows, axis=-2) / jnp.maximum(num_rows, 1).astype(jnp.float64)[..., None]
    centred = jnp.where(row_mask[..., None], rows - mean[..., None, :], 0.0)
    return _combined(
        num_rows=jnp.stack([statistics.num_rows, num_rows], axis=-1),
        mean=jnp.stack([statistics.mean, mean], axis=-2),
        centred=jnp.concatenate([statistics.factor, centred], axis=-2),
    )


@_in_float64
def _merge(a, b):
    return _combined(
        num_rows=jnp.stack([a.num_rows, b.num_rows], axis=-1),
        mean=jnp.stack([a.mean, b.mean], axis=-2),
        centred=jnp.concatenate([a.factor, b.factor], axis=-2),
    )


@_in_float64
def _merge_cells(statistics):
    factor = jnp.moveaxis(statistics.factor, 0, -3)
    return _combined(
        num_rows=jnp.moveaxis(statistics.num_rows, 0, -1),
        mean=jnp.moveaxis(statistics.mean, 0, -2),
        centred=factor.reshape(*factor.shape[:-3], -1, factor.shape[-1]),
    )


def _combined(
    *,
    num_rows: Int32[Array, "*cells K"],
    mean: Float64[Array, "*cells K D"],
    centred: Float64[Array, "*cells M D"],
) -> FrechetStatistics:
    """Joins K parts; `centred` stacks rows or factors, each about the mean of its own part."""
    total = jnp.sum(num_rows, axis=-1, dtype=jnp.int32)
    # Counts are cast first: int32 / int32 is float32 even under enable_x64.
    weight = num_rows.astype(jnp.float64)[..., None]
    joint_mean = jnp.sum(weight * mean, axis=-2) / jnp.maximum(jnp.sum(weight, axis=-2), 1.0)
    shift = jnp.sqrt(weight) * (mean - joint_mean[..., None, :])
    factor = jnp.linalg.qr(jnp.concatenate([centred, shift], axis=-2), mode="r")
    return FrechetStatistics(total, joint_mean, factor)


@_in_float64
def _covariance(statistics):
    scatter = jnp.swapaxes(statistics.factor, -1, -2) @ statistics.factor
    degrees = statistics.num_rows.astype(jnp.float64) - 1.0
    return scatter / jnp.where(degrees > 0, degrees, jnp.nan)[..., None, None]


def _gaussian_distance(
    mean_a: Float64[Array, " D"],
    factor_a: Float64[Array, "N D"],
    mean_b: Float64[Array, " D"],
    factor_b: Float64[Array, "M D"],
) -> Float64[Array, ""]:
    """The equation of `frechet_distance`, with covariance = factor^T factor."""
    nuclear_norm = jnp.sum(jnp.linalg.svd(factor_a @ factor_b.T, compute_uv=False))
    traces = jnp.sum(factor_a**2) + jnp.sum(factor_b**2)
    return jnp.maximum(jnp.sum((mean_a - mean_b) ** 2) + traces - 2.0 * nuclear_norm, 0.0)


@_in_float64
def _distance_of_rows(x, y):
    return _gaussian_distance(*_mean_and_factor(x), *_mean_and_factor(y))


def _mean_and_factor(rows):
    rows = rows.astype(jnp.float64)
    mean = jnp.mean(rows, axis=0)
    factor = (rows - mean) / np.sqrt(rows.shape[0] - 1)
    if factor.shape[0] > factor.shape[1]:
        factor = jnp.linalg.qr(factor, mode="r")
    return mean, factor


@_in_float64
def _in_grid(distances, num_rows_a, num_rows_b):
    defined = (num_rows_a > 1) & (num_rows_b > 1)
    distance = jnp.where(defined, distances.reshape(defined.shape), jnp.nan)
    return DistanceGrid(distance, num_rows_a, num_rows_b, defined)


@_in_float64
def _pair_distances(a, b, cell_a, cell_b):
    """Distances of pairs of cells, by their positions among all cells of `a` and of `b`."""
    a, b = (_flat_cells(s) for s in (a, b))

    def distance_of_pair(pair):
        i, j = pair
        return _gaussian_distance(a.mean[i], _scaled_factor(a, i), b.mean[j], _scaled_factor(b, j))

    return lax.map(distance_of_pair, (cell_a, cell_b), batch_size=PAIRS_AT_ONCE)


def _flat_cells(statistics):
    num_dimensions = statistics.mean.shape[-1]
    return FrechetStatistics(
        statistics.num_rows.reshape(-1),
        statistics.mean.reshape(-1, num_dimensions),
        statistics.factor.reshape(-1, num_dimensions, num_dimensions),
    )


def _scaled_factor(statistics, cell):
    degrees = jnp.maximum(statistics.num_rows[cell].astype(jnp.float64) - 1.0, 1.0)
    return statistics.factor[cell] / jnp.sqrt(degrees)


@_in_float64
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
