"""How long devices had nothing to do."""

import threading
import time
from queue import SimpleQueue
from typing import Any

import jax


class DeviceClock:
    """Tells how long the devices waited, from when batches were begun and when they were done.

    wait = sum_i max(0, begun_i - max(done_{i-1}, asked_i)) / (done_last - begun_first)

    With `asked`, the time at which a batch's data were asked for, this is the wait for data alone, from
    the first batch's on; without it, for whatever else there was.

    A context manager: what it waits for is over at its end, however it ends. A thread that still waits
    for a device while Python closes down aborts the process ("exception not rethrown").
    """

    def __init__(self) -> None:
        self._batches: SimpleQueue = SimpleQueue()
        self._first: float | None = None
        self._done = 0.0
        self._waited = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "DeviceClock":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def watch(self, begun: float, arrays: Any, *, asked: float | None = None) -> None:
        """Notes when the arrays of a batch that was begun then are ready."""
        self._batches.put((begun, asked, arrays))

    def stop(self) -> float:
        """The share of waiting; 0 where there was no batch."""
        self._batches.put(None)
        self._thread.join()
        if self._first is None or self._done <= self._first:
            return 0.0
        return self._waited / (self._done - self._first)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            begun, asked, arrays = batch
            jax.block_until_ready(arrays)
            if self._first is None:
                self._first = self._done = begun if asked is None else asked
            idle_from = self._done if asked is None else max(self._done, asked)
            self._waited += max(0.0, begun - idle_from)
            self._done = time.monotonic()
