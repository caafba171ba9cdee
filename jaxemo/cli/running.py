"""Runs a handler; whatever it ends with becomes an exit code and one line on stderr."""

import contextlib
import importlib
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from jaxemo.cli.command import ArgumentFault

INPUT_REFUSED, FAULT, INTERRUPTED, TERMINATED = 2, 1, 130, 143


class Terminated(BaseException):
    """SIGTERM came; raised where the program was, so that open files are closed on the way out."""


def run(name: str, handler: str, values: dict[str, Any]) -> int:
    """Calls a handler with its keywords.

    JAXEMO_TRACEBACK=1 lets every exception through.

    Args:
      name: The command's.
      handler: `module:function`.

    Returns:
      The exit code.
    """
    _configure_logging()
    try:
        with _termination_raised():
            module, _, function = handler.partition(":")
            getattr(importlib.import_module(module), function)(**values)
        return 0
    except ArgumentFault as fault:
        return _end(name, str(fault), INPUT_REFUSED)
    except (ValueError, OSError) as error:
        if os.environ.get("JAXEMO_TRACEBACK"):
            raise
        return _end(
            name, f"{error}\n(JAXEMO_TRACEBACK=1 shows where this was found)", INPUT_REFUSED
        )
    except KeyboardInterrupt:
        return _end(name, f"interrupted; {_KEPT}", INTERRUPTED)
    except Terminated:
        return _end(name, f"terminated; {_KEPT}", TERMINATED)
    except Exception as error:
        if os.environ.get("JAXEMO_TRACEBACK"):
            raise
        return _end(name, _fault_line(error), FAULT)


_KEPT = "what was finished stays in the cache folder and in the workdir"


def _end(name: str, message: str, code: int) -> int:
    print(f"jaxemo {name}: {message}", file=sys.stderr)
    return code


def _fault_line(error: Exception) -> str:
    """Keeps the traceback in a file of its own."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="jaxemo-traceback-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    words = " ".join(str(error).split())
    return (
        f"stopped by an error of its own, {type(error).__name__}: {words[:300]}. "
        f"Please report it with the file {file.name}"
    )


@contextlib.contextmanager
def _termination_raised() -> Iterator[None]:
    """SIGTERM raises `Terminated` within; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("jaxemo")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # orbax tells of every read-only restore through absl.
    logging.getLogger("absl").setLevel(logging.ERROR)
