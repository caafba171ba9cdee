"""Frechet statistics of rows that lie on several devices: each keeps its own, merged once at the end.

    statistics = empty_on_mesh(768, mesh=mesh, cells=(13,))
    for rows, row_mask in batches:
        statistics = update_on_mesh(statistics, rows, row_mask, mesh=mesh)
    whole = merge_cells(statistics)

No row and no factor leaves its device before `merge_cells`, which gathers one (D, D) factor a device
and cell. The result is one device's to rounding.
"""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from jaxemo.distances.frechet import FrechetStatistics, empty_statistics, update

AnyArray = Array | np.ndarray


def empty_on_mesh(
    num_dimensions: int, *, mesh: Mesh, axis: str = "data", cells: tuple[int, ...] = ()
) -> FrechetStatistics:
    """Empty statistics with a leading axis of one part for each device along `axis`.

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

    Args:
      statistics: Of `empty_on_mesh` or this function.
      rows: Embeddings of any float type, spread or to be spread over `axis` along N.
      row_mask: True where a row counts; pad with masked rows to a multiple of the devices.

    Raises:
      ValueError: If the devices along `axis` do not divide N, or the statistics are of another mesh.
    """
    num_devices, num_rows = mesh.shape[axis], rows.shape[-2]
    if num_rows % num_devices or statistics.num_rows.shape[0] != num_devices:
        raise ValueError(
            f"There are {num_rows} rows and statistics of {statistics.num_rows.shape[0]} parts for "
            f"{num_devices} devices; expected one part a device, and a multiple of them in rows. "
            "Pad with masked rows."
        )
    cells = (None,) * (rows.ndim - 2)
    sharded = jax.shard_map(
        _update_part,
        mesh=mesh,
        in_specs=(PartitionSpec(axis), PartitionSpec(*cells, axis), PartitionSpec(*cells, axis)),
        out_specs=PartitionSpec(axis),
    )
    with jax.enable_x64(True):
        return jax.jit(sharded)(statistics, rows, row_mask)


def _update_part(statistics, rows, row_mask):
    part = update(jax.tree.map(lambda leaf: leaf[0], statistics), rows, row_mask)
    return jax.tree.map(lambda leaf: leaf[None], part)
