"""Losses and gradients that are NaN or infinite end training, with all that tells where they came from."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxemo.training.grids import RowGrid
from jaxemo.training.progress import Progress, joined
from jaxemo.training.snapshots import SnapshotFolder


class NonFiniteStep(FloatingPointError):
    """A loss or gradient that is NaN or infinite.

    Attributes:
      run: Number of the run among those of the stack.
      rows: The examples of its batch.
      snapshot: The newest one, from before; None where there is none.
    """

    def __init__(self, run: int, place: tuple[int, int], rows: Int[np.ndarray, " B"]) -> None:
        epoch, step = place
        super().__init__(f"the loss or its gradient is not finite at epoch {epoch}, step {step}")
        self.run, self.rows = run, rows
        self.snapshot: Path | None = None


@contextlib.contextmanager
def snapshot_named(snapshots: SnapshotFolder | None) -> Iterator[None]:
    """Notes in a `NonFiniteStep` what was saved before it."""
    try:
        yield
    except NonFiniteStep as error:
        if snapshots is not None:
            error.snapshot = snapshots.newest_path()
        raise


def check_finite(progress: Progress, grid: RowGrid, num_runs: int) -> None:
    """Raises NonFiniteStep for the first such step of the epoch so far."""
    metrics = joined(progress.metrics)
    finite = np.isfinite(metrics.loss) & np.isfinite(metrics.gradient_norm)
    bad = np.argwhere(
        ~finite[: len(grid.active), :num_runs] & grid.active[: len(finite), :num_runs]
    )
    if len(bad):
        step, run = bad[0]
        rows = grid.rows[step, run][grid.valid[step, run]]
        raise NonFiniteStep(int(run), (progress.epoch, int(step)), rows)
