"""A trace of training steps by jax's profiler."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from jaxemo.data.files import make_folder

logger = logging.getLogger("jaxemo")


class StepTrace:
    """Traces the first steps that it is told of, but for the first call of the device, which compiles.

    One serves any number of stacks of runs.
    """

    def __init__(self, folder: Path, *, num_steps: int) -> None:
        """At least `num_steps` steps are traced; a call of the device is never cut. 0: none."""
        self._folder, self._wanted = folder, num_steps
        self._traced: int | None = None
        self._ended = num_steps == 0

    def called(self, figures: Any, num_steps: int) -> None:
        """After a call of the device was dispatched; `figures` are what it gives."""
        if self._ended:
            return
        if self._traced is None:
            make_folder(self._folder)
            jax.block_until_ready(figures)
            jax.profiler.start_trace(str(self._folder))
            self._traced = 0
            return
        self._traced += num_steps
        if self._traced >= self._wanted:
            jax.block_until_ready(figures)
            self._end()

    @contextlib.contextmanager
    def until_trained(self) -> Iterator[None]:
        """While a stack of runs is trained; a trace that began ends with it."""
        try:
            yield
        finally:
            if self._traced is not None and not self._ended:
                self._end()

    def _end(self) -> None:
        jax.profiler.stop_trace()
        self._ended = True
        logger.info(
            "trace of %d training steps: %s (tensorboard --logdir, with its plugin profile)",
            self._traced,
            self._folder,
        )
