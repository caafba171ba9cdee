"""Frechet statistics: what a set of embeddings is kept as, batch by batch, on one device or several.

A cell (one layer, emotion and domain) is kept as row count, mean and a triangular factor R of its
scatter matrix, which is never squared into a covariance (see `frechet`). Cells are updated with
batches of rows and merged: with each other, or over the devices of a mesh, where each device keeps
a part of its own:

    statistics = empty_on_mesh(768, mesh=mesh, cells=(13,))
    for rows, row_mask in batches:
        statistics = update_on_mesh(statistics, rows, row_mask, mesh=mesh)
    whole = merge_cells(statistics)

All arithmetic is float64, whatever `jax_enable_x64` says.
"""

import functools
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Float64, Int32

from jaxemo.distances.arrays import AnyArray, array_module, in_float64, on_host, over_cores


class FrechetStatistics(NamedTuple):
    """Sufficient statistics of one cell, or of a grid of cells along leading axes.

    factor^T factor = sum_i (x_i - mean)(x_i - mean)^T
    covariance = factor^T factor / (num_rows - 1)
    The factor is upper triangular and unique up to the sign of its rows: compare covariances.
    """

    num_rows: Int32[AnyArray, "*cells"]
    mean: Float64[AnyArray, "*cells D"]
    factor: Float64[AnyArray, "*cells D D"]


class PackedStatistics(NamedTuple):
    """Frechet statistics on the host, the upper triangles of their factors row by row: half the size."""

    num_rows: Int32[np.ndarray, "*cells"]
    mean: Float64[np.ndarray, "*cells D"]
    triangle: Float64[np.ndarray, "*cells T"]


def pack(statistics: FrechetStatistics) -> PackedStatistics:
    """What `unpack` reads; the factor's zeros below the diagonal go."""
    factor = np.asarray(statistics.factor)
    return PackedStatistics(
        np.asarray(statistics.num_rows),
        np.asarray(statistics.mean),
        factor[(..., *np.triu_indices(factor.shape[-1]))],
    )


def unpack(packed: PackedStatistics) -> FrechetStatistics:
    """The statistics that were packed, on the host."""
    width = packed.mean.shape[-1]
    factor = np.zeros((*packed.triangle.shape[:-1], width, width))
    factor[(..., *np.triu_indices(width))] = packed.triangle
    return FrechetStatistics(packed.num_rows, packed.mean, factor)


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

    Costs a QR of D + N + 2 rows per cell, so batches of N >= D rows waste least. Memory is that of
    the batch. A non-finite valid row makes its cell non-finite, which the distance functions then
    refuse by name. On a CPU each core takes one cell at a time; elsewhere and under jit it is one
    program.

    Args:
      statistics: What has been seen so far, with the same leading axes as `rows`.
      rows: Embeddings of any float type.
      row_mask: True where a row counts; masked rows may hold anything, NaN included.
    """
    if on_host(statistics.factor, rows, row_mask):
        updated = _over_cells(_with_rows_on_host, statistics, rows, row_mask)
        with jax.enable_x64(True):
            return jax.tree.map(jnp.asarray, updated)
    return _update(statistics, rows, row_mask)


def merge(a: FrechetStatistics, b: FrechetStatistics) -> FrechetStatistics:
    """Statistics of the union of two disjoint sets of rows, cell by cell.

    mean = (n_a mean_a + n_b mean_b) / n
    R^T R = R_a^T R_a + R_b^T R_b + n_a (mean_a - mean)(..)^T + n_b (mean_b - mean)(..)^T
    R is the triangle of the QR of these factors and mean shifts stacked as rows.

    On a CPU each core takes one cell at a time; elsewhere and under jit it is one program.

    Reference: Chan, Golub, LeVeque 1983, The American Statistician 37(3):242-247.
    """
    if on_host(a.factor, b.factor):
        return _over_cells(_union, a, b)
    return _union_on_device(a, b)


def merge_cells(statistics: FrechetStatistics) -> FrechetStatistics:
    """Merges the cells along the first axis into one: the parts of devices, speakers or domains."""
    return _merge_cells(statistics)


def covariance(statistics: FrechetStatistics) -> Float64[Array, "*cells D D"]:
    """Sample covariance, factor^T factor / (num_rows - 1); NaN in cells of fewer than two rows."""
    return _covariance(statistics)


def empty_on_mesh(
    num_dimensions: int, *, mesh: Mesh, axis: str = "data", cells: tuple[int, ...] = ()
) -> FrechetStatistics:
    """`empty_statistics` with a leading axis: one part for each device along `axis` of the mesh.

    Args:
      num_dimensions: Width D of the embeddings.
      mesh: Where the rows will lie.
      axis: The mesh's axis over which rows are spread.
      cells: Leading axes behind that of the devices.
    """
    empty = empty_statistics(num_dimensions, cells=(mesh.shape[axis], *cells))
    with jax.enable_x64(True):
        return jax.device_put(empty, NamedSharding(mesh, PartitionSpec(axis)))


def update_on_mesh(
    statistics: FrechetStatistics,
    rows: Float[AnyArray, "*cells N D"],
    row_mask: Bool[AnyArray, "*cells N"],
    *,
    mesh: Mesh,
    axis: str = "data",
) -> FrechetStatistics:
    """`update` on every device with that device's share of the rows.

    No row and no factor leaves its device before `merge_cells`, which gathers one (D, D) factor per
    device and cell. The result equals that of one device up to rounding.

    Args:
      statistics: From `empty_on_mesh` or this function.
      rows: Embeddings of any float type, spread or to be spread over `axis` along N.
      row_mask: True where a row counts; pad with masked rows to a multiple of the devices.

    Raises:
      ValueError: If the devices along `axis` do not divide N, or the statistics are of another mesh.
    """
    num_devices, num_rows = mesh.shape[axis], rows.shape[-2]
    if num_rows % num_devices or statistics.num_rows.shape[0] != num_devices:
        raise ValueError(
            f"There are {num_rows} rows and statistics of {statistics.num_rows.shape[0]} parts for "
            f"{num_devices} devices; expected one part per device, and a multiple of their number in "
            "rows. Pad with masked rows."
        )
    with jax.enable_x64(True):
        return _sharded_update(mesh, axis, rows.ndim - 2)(statistics, rows, row_mask)


def _over_cells(
    function: Callable[..., FrechetStatistics], statistics: FrechetStatistics, *others: Any
) -> FrechetStatistics:
    """`function` of each cell, of numpy's arrays; where all have the same leading axes."""
    cells = statistics.num_rows.shape
    num_cells = math.prod(cells)

    def parts(tree: Any) -> list[Any]:
        flat = jax.tree.map(
            lambda leaf: np.asarray(leaf).reshape((num_cells, *leaf.shape[len(cells) :])), tree
        )
        return [jax.tree.map(itemgetter(cell), flat) for cell in range(num_cells)]

    found = over_cores(function, *map(parts, (statistics, *others)))
    return FrechetStatistics(
        *(np.reshape(leaves, (*cells, *leaves[0].shape)) for leaves in zip(*found, strict=True))
    )


def _with_rows_on_host(statistics, rows, row_mask):
    """Of one cell, whose masked rows take no time."""
    rows = rows[row_mask].astype(np.float64)
    mean = rows.sum(axis=0) / max(len(rows), 1)
    rows -= mean
    return _union(statistics, FrechetStatistics(np.asarray(len(rows), np.int32), mean, rows))


@in_float64
def _update(statistics, rows, row_mask):
    rows = jnp.where(row_mask[..., None], rows.astype(jnp.float64), 0.0)
    num_rows = jnp.sum(row_mask, axis=-1, dtype=jnp.int32)
    mean = jnp.sum(rows, axis=-2) / jnp.maximum(num_rows, 1).astype(jnp.float64)[..., None]
    centred = jnp.where(row_mask[..., None], rows - mean[..., None, :], 0.0)
    return _union(statistics, FrechetStatistics(num_rows, mean, centred))


def _union(a, b):
    """Of two parts; each one's factor may be all its centred rows."""
    xp = array_module(a.factor)
    return _combined(
        num_rows=xp.stack([a.num_rows, b.num_rows], axis=-1),
        mean=xp.stack([a.mean, b.mean], axis=-2),
        centred=[a.factor, b.factor],
    )


_union_on_device = in_float64(_union)


@in_float64
def _merge_cells(statistics):
    factor = jnp.moveaxis(statistics.factor, 0, -3)
    return _combined(
        num_rows=jnp.moveaxis(statistics.num_rows, 0, -1),
        mean=jnp.moveaxis(statistics.mean, 0, -2),
        centred=[factor.reshape(*factor.shape[:-3], -1, factor.shape[-1])],
    )


def _combined(
    *,
    num_rows: Int32[AnyArray, "*cells K"],
    mean: Float64[AnyArray, "*cells K D"],
    centred: Sequence[Float64[AnyArray, "*cells _ D"]],
) -> FrechetStatistics:
    """Joins K parts; `centred` are their rows or factors, each about the mean of its own part."""
    xp = array_module(mean)
    total = xp.asarray(xp.sum(num_rows, axis=-1, dtype=xp.int32))
    # Counts are cast first: int32 / int32 is float32 even under enable_x64.
    weight = num_rows.astype(xp.float64)[..., None]
    joint_mean = xp.sum(weight * mean, axis=-2) / xp.maximum(xp.sum(weight, axis=-2), 1.0)
    shift = xp.sqrt(weight) * (mean - joint_mean[..., None, :])
    triangle = _triangle_on_host if xp is np else _triangle
    return FrechetStatistics(total, joint_mean, triangle([*centred, shift]))


def _triangle(parts):
    """R of the QR of matrices one above the other."""
    return jnp.linalg.qr(jnp.concatenate(parts, axis=-2), mode="r")


def _triangle_on_host(parts):
    """`_triangle` of one cell: numpy's QR copies a matrix twice that does not lie as LAPACK wants it."""
    # Here, because scipy takes a second to import.
    from scipy import linalg

    shape = sum(len(part) for part in parts), parts[0].shape[1]
    stacked = np.concatenate(parts, out=np.empty(shape, order="F"))
    *_, triangle = linalg.qr(stacked, mode="raw", overwrite_a=True, check_finite=False)
    return triangle


@in_float64
def _covariance(statistics):
    scatter = jnp.swapaxes(statistics.factor, -1, -2) @ statistics.factor
    degrees = statistics.num_rows.astype(jnp.float64) - 1.0
    return scatter / jnp.where(degrees > 0, degrees, jnp.nan)[..., None, None]


@functools.cache
def _sharded_update(mesh: Mesh, axis: str, num_cell_axes: int):
    # Kept, since jit knows a function by its identity: a new one for each batch would compile anew.
    rows = PartitionSpec(*(None,) * num_cell_axes, axis)
    sharded = jax.shard_map(
        _update_part,
        mesh=mesh,
        in_specs=(PartitionSpec(axis), rows, rows),
        out_specs=PartitionSpec(axis),
    )
    return jax.jit(sharded)


def _update_part(statistics, rows, row_mask):
    part = update(jax.tree.map(lambda leaf: leaf[0], statistics), rows, row_mask)
    return jax.tree.map(lambda leaf: leaf[None], part)
