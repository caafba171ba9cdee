"""Snapshots of runs that are being trained: what the same command goes on from after it was killed.

    FOLDER/<identity>/<number>/    a checkpoint of everything that a step changes; the last two are kept

A snapshot is of a stack of runs at the end of some step. It is written in the background from a copy on
the host, so that training goes on meanwhile, and found again by the stack's identity: a hash of all that
decides its result. Of several processes the first writes it, and all go on from the one that it finds.
"""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool

from jaxemo.data.stopping import TERMINATED, Stopped, StopRequest
from jaxemo.training.checkpoint import newest_undamaged, record_in, save_checkpoint, state_in
from jaxemo.training.processes import Votes, is_first, on_host, word_of_first

_KEPT = 2


class Snapshot(NamedTuple):
    """A stack of runs at the end of a step.

    Attributes:
      state: Arrays, as `SnapshotFolder.save` was given them.
      record: JSON values.
    """

    state: Any
    record: dict[str, Any]


class SnapshotFolder:
    """The snapshots of one stack of runs."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        """`seconds` is the time between two snapshots; 0 for one after every call of the device."""
        self.folder = folder
        self._seconds = seconds
        self._last = time.monotonic()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[Path] | None = None

    def newest(
        self, *, like: Callable[[dict[str, Any]], Any], shardings: Callable[[Any], Any]
    ) -> Snapshot | None:
        """The newest snapshot that is whole; None where there is none.

        Args:
          like: Record -> a tree of the shapes that were saved with it.
          shardings: Such a tree -> where its arrays go.

        Raises:
          ValueError: It is whole and holds another tree; or the first process has one, and this one
            sees none.
        """
        whole = newest_undamaged(self.folder) if is_first() else None
        number = word_of_first(-1 if whole is None else int(whole.name))
        if number < 0:
            return None
        found = self.folder / str(number)
        if not found.is_dir():
            raise ValueError(
                f"{found}, from which the first process goes on, is not here; expected a --workdir on "
                "storage that all processes share."
            )
        record = record_in(found)
        shapes = like(record)
        return Snapshot(state_in(found, like=shapes, shardings=shardings(shapes)), record)

    def newest_path(self) -> Path | None:
        """Where the newest snapshot is that is whole; None where there is none."""
        self.wait()
        return newest_undamaged(self.folder)

    @property
    def is_due(self) -> bool:
        """Whether the last snapshot is old enough for a new one."""
        return time.monotonic() - self._last >= self._seconds

    def save(self, snapshot: Snapshot) -> None:
        """Copies the arrays and writes them in the background; all processes come here together.

        Raises:
          WriteError: The snapshot before this one could not be written.
        """
        self.wait()
        state = on_host(snapshot.state)
        if is_first():
            self._writing = self._writer.submit(
                save_checkpoint, self.folder, state=state, record=snapshot.record, keep=_KEPT
            )
        self._last = time.monotonic()

    def wait(self) -> None:
        """Until the last snapshot is on the disk; raises WriteError if it could not be written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def remove(self) -> None:
        """Once what the runs gave is kept elsewhere."""
        self.wait()
        if is_first():
            shutil.rmtree(self.folder, ignore_errors=True)


class Saver:
    """Saves what is trained where that was asked for, and ends training once a signal came.

    Attributes:
      stopping: Whether training is to end. Of several processes all see it at the same step, whichever
        of them the signal was for.
    """

    def __init__(self, snapshots: SnapshotFolder | None, stop: StopRequest, mesh: Mesh) -> None:
        self._snapshots = snapshots
        self._stop = stop
        self._votes = Votes(mesh, num_flags=2)
        self.stopping = False

    def is_due(self) -> bool:
        """Whether to save now; asked once after every call of the device, by all processes."""
        if self._snapshots is None:
            return False
        return self._take(self._votes.cast(self._stop.came, self._snapshots.is_due))

    def save(self, snapshot: Snapshot) -> None:
        """Once a snapshot is due."""
        assert self._snapshots is not None
        self._snapshots.save(snapshot)

    def finish(self, last: Callable[[], Snapshot]) -> None:
        """Once training has ended: what took long enough to be saved is not trained again."""
        if self._snapshots is not None:
            if self._take(self._votes.settle(self._stop.came, self._snapshots.is_due)):
                self.save(last())
            self._snapshots.wait()

    def _take(self, flags: Bool[np.ndarray, " 2"]) -> bool:
        stopping, due = flags.tolist()
        if stopping and not self._stop.came:
            self._stop.take(Stopped("terminated with another of its processes", TERMINATED))
        self.stopping = self.stopping or stopping
        return stopping or due
