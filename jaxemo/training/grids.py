"""Batches of many runs side by side: arrays [S, R, M, B] of row numbers (step, run, micro-batch, clip).

Runs differ in how many rows they have, and so in steps per epoch. A shorter run is inactive in the last
steps; a batch, or the number of runs, that does not divide over the mesh is filled up with examples of
weight 0 and runs that are never active. Each run's own order is that of `data/batches.py`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from jaxemo.data.batches import RowBatch, ordered_batches
from jaxemo.training.sharding import batch_ways, pad_to_multiple


class RowGrid(NamedTuple):
    """Row numbers of all steps and runs.

    Attributes:
      rows: Row numbers.
      valid: False where a row only fills the grid up.
      active: Whether the run has a batch in that step.
    """

    rows: Int[np.ndarray, "S R M B"]
    valid: Bool[np.ndarray, "S R M B"]
    active: Bool[np.ndarray, "S R"]


def make_grid(
    batches_of_runs: Sequence[Iterable[RowBatch]], mesh: Mesh, *, micro_batches: int = 1
) -> RowGrid:
    """Lays the runs' batches side by side; every run needs at least one batch.

    Args:
      batches_of_runs: Batches of one size, a multiple of `micro_batches`.
    """
    stacked = [_stack_batches(batches) for batches in batches_of_runs]
    num_runs = pad_to_multiple(len(stacked), mesh.shape["run"])
    num_steps = max(len(run.rows) for run in stacked)
    grid = RowGrid(
        np.stack([_fill_steps(run.rows, num_steps) for run in stacked], axis=1),
        np.stack([_fill_steps(run.valid, num_steps) for run in stacked], axis=1),
        np.stack([np.arange(num_steps) < len(run.rows) for run in stacked], axis=1),
    )
    grid = RowGrid(*(_fill_runs(leaf, num_runs) for leaf in grid))
    grid.active[:, len(stacked) :] = False
    rows, valid = (
        _cut_pieces(leaf, micro_batches, batch_ways(mesh)) for leaf in (grid.rows, grid.valid)
    )
    valid[..., grid.valid.shape[-1] // micro_batches :] = False
    return RowGrid(rows, valid & grid.active[:, :, None, None], grid.active)


def make_row_grid(
    rows_of_runs: Sequence[Int[np.ndarray, " _"]], mesh: Mesh, *, batch_size: int
) -> RowGrid:
    """Each run's rows in their own order, for prediction."""
    batches = [ordered_batches(rows, batch_size=batch_size) for rows in rows_of_runs]
    return make_grid(batches, mesh)


def _stack_batches(batches: Iterable[RowBatch]) -> RowBatch:
    batches = list(batches)
    return RowBatch(*(np.stack(leaves) for leaves in zip(*batches, strict=True)))


def _fill_steps(leaf: np.ndarray, num_steps: int) -> np.ndarray:
    """Repeats the last batch: what stands in an inactive step is never used."""
    return leaf[np.minimum(np.arange(num_steps), len(leaf) - 1)]


def _fill_runs(leaf: np.ndarray, num_runs: int) -> np.ndarray:
    return leaf[:, np.minimum(np.arange(num_runs), leaf.shape[1] - 1)]


def _cut_pieces(leaf: np.ndarray, micro_batches: int, ways: int) -> np.ndarray:
    """[S, R, M x B] -> [S, R, M, B'], each piece filled up to a multiple of `ways` by its first row."""
    pieces = leaf.reshape(*leaf.shape[:2], micro_batches, -1)
    size = pieces.shape[-1]
    positions = np.arange(pad_to_multiple(size, ways))
    return pieces[..., np.where(positions < size, positions, 0)]
