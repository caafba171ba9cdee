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

from jaxemo.training.checkpoint import newest_undamaged, record_in, save_checkpoint, state_in
from jaxemo.training.processes import is_first, on_host, word_of_first

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
