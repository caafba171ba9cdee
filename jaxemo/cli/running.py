"""Runs a handler; whatever it ends with becomes an exit code and one line on stderr."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from jaxemo.cli.command import ArgumentFault, Command, parse
from jaxemo.cli.companions import ended_together
from jaxemo.cli.launch import Launch, join, launch_of
from jaxemo.data.stopping import Stopped, signals_raised

# Handlers that ask jax for its devices.
_WITH_DEVICES = (
    *("jaxemo.cli.handlers:", "jaxemo.cli.predicting:", "jaxemo.cli.training:"),
    *("jaxemo.cli.preparing:", "jaxemo.cli.housekeeping:info"),
)
# Commands that several processes may run together.
_TOGETHER = ("study", "probe", "transfer", "fad", "train", "sweep", "embed")
INPUT_REFUSED, FAULT = 2, 1


_KEPT = (
    "what was finished stays in the workdir and in the cache; the same command goes on from there"
)


def run(name: str, command: Command, tokens: list[str]) -> int:
    """Reads the arguments of a command and calls its handler.

    JAXEMO_TRACEBACK=1 lets every exception through.

    Returns:
      The exit code.
    """
    _configure_logging()
    try:
        with signals_raised(lambda stop: _end(name, f"{stop.word}; {_KEPT}", stop.code)):
            _ensure_home()
            values = parse(command, tokens)
            module, _, function = command.handler.partition(":")
            called = getattr(importlib.import_module(module), function)
            if not command.handler.startswith(_WITH_DEVICES):
                called(**values)
            elif (launch := launch_of(os.environ)) is None:
                _check_devices()
                called(**values)
            else:
                _call_together(name, launch, lambda: called(**values))
        return 0
    except Stopped as stop:
        return _end(name, f"{stop.word}; {_KEPT}", stop.code)
    except ArgumentFault as fault:
        return _end(name, str(fault), INPUT_REFUSED)
    except (ValueError, OSError) as error:
        if os.environ.get("JAXEMO_TRACEBACK"):
            raise
        return _end(
            name, f"{error}\n(JAXEMO_TRACEBACK=1 shows where this was found)", INPUT_REFUSED
        )
    except Exception as error:
        if os.environ.get("JAXEMO_TRACEBACK"):
            raise
        return _end(name, _fault_line(error), FAULT)


def _call_together(name: str, launch: Launch, call: Callable[[], None]) -> None:
    """Calls a handler as one of several processes, of which the first alone prints."""
    if name not in _TOGETHER:
        raise ValueError(
            f"{launch.by} says that several processes run this command; `jaxemo {name}` is for one. "
            f"Start it once; {', '.join(_TOGETHER)} run in several."
        )
    join(launch)
    _check_devices()
    import jax
    from jax.experimental import multihost_utils

    from jaxemo.training.processes import is_first

    def end(lost: int) -> None:
        told = f"process {lost} of {jax.process_count()} is gone; {_KEPT}, started again in all"
        # At once: jax waits for what never comes, and would abort with a stack trace.
        os._exit(_end(name, told, FAULT))

    with open(os.devnull, "w") as nowhere, ended_together(launch, end):
        stdout = contextlib.nullcontext() if is_first() else contextlib.redirect_stdout(nowhere)
        with stdout:
            call()
        # Whoever ends early is not missed before the first has written everything.
        multihost_utils.sync_global_devices("ended")


def _ensure_home() -> None:
    """A folder of the user's own where there is none: libraries look for it as they are imported."""
    if os.path.expanduser("~") != "~":
        return
    home = Path(tempfile.gettempdir()) / f"jaxemo-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():  # Somebody else was there first.
        home = Path(tempfile.mkdtemp(prefix="jaxemo-"))
    os.environ["HOME"] = str(home)
    logging.getLogger("jaxemo").warning(
        "there is no home folder: caches go to %s; $HOME or $JAXEMO_CACHE take them elsewhere", home
    )


def _check_devices() -> None:
    """Raises ValueError where jax has no device of the platform that the environment asks for."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"jax finds no device (JAX_PLATFORMS is {asked!r}): {str(error) or 'no such platform here'}. "
            "Unset it, set JAX_PLATFORMS=cpu, or install the plugin of the platform."
        ) from error


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


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("jaxemo")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # orbax tells of every read-only restore through absl.
    logging.getLogger("absl").setLevel(logging.ERROR)
