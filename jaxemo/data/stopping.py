"""Ctrl-C and SIGTERM: an exception where the program is or, in training, at the end of a step.

The first signal unwinds the program, so that files are closed and what was trained is saved; a second
one ends the process at once.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Stopped(BaseException):
    """A signal came.

    Attributes:
      word: What it did to the command.
      code: The exit code that shells expect of it.
      awaited: Whether it waited for the end of a step, in which all processes of a command end.
    """

    def __init__(self, word: str, code: int) -> None:
        super().__init__(word)
        self.word, self.code = word, code
        self.awaited = False


INTERRUPTED, TERMINATED = 130, 143  # The exit codes that shells expect.
SIGNALS = {
    signal.SIGINT: ("interrupted", INTERRUPTED),
    signal.SIGTERM: ("terminated", TERMINATED),
}


class StopRequest:
    """A signal that waits until the work at hand has been saved."""

    def __init__(self) -> None:
        self._stop: Stopped | None = None

    @property
    def came(self) -> bool:
        """Whether the program is to stop as soon as it can."""
        return self._stop is not None

    def take(self, stop: Stopped) -> None:
        """Keeps the signal until `obey`."""
        stop.awaited = True
        self._stop = stop

    def obey(self) -> None:
        """Raises Stopped if a signal came."""
        if self._stop is not None:
            raise self._stop


# Requests of the work that is under way, the innermost last.
_waiting: list[StopRequest] = []


@contextlib.contextmanager
def signals_postponed() -> Iterator[StopRequest]:
    """Within, a first signal does nothing but tell the request; Stopped is raised on the way out."""
    request = StopRequest()
    _waiting.append(request)
    try:
        yield request
    finally:
        _waiting.remove(request)
    request.obey()


@contextlib.contextmanager
def signals_raised(last_words: Callable[[Stopped], object]) -> Iterator[None]:
    """The first signal raises `Stopped` within; the next ends the process at once, after `last_words`.

    Only the main thread may say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_first = True

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_first
        stopped = Stopped(*SIGNALS[signal.Signals(number)])
        if not is_first:
            last_words(stopped)
            os._exit(stopped.code)
        is_first = False
        if not _waiting:
            raise stopped
        _waiting[-1].take(stopped)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except BaseException:
        # What is said about the end is said once, whatever else comes.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise
    finally:
        if is_first:
            for number, handler in before.items():
                signal.signal(number, handler)
