"""A workdir is one command's at a time."""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from jaxemo.cli.provenance import new_run_id
from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.studies.resuming import UNFINISHED
from jaxemo.training.processes import is_first

_LOCK = ".jaxemo-lock"


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds a workdir, which is made if need be; what killed commands left half written goes.

    The lock is the operating system's: it ends with the process, however that ends. Of several
    processes of a command the first holds it.

    Raises:
      ValueError: Another command holds it; the message says which.
    """
    make_folder(workdir)
    if not is_first():
        yield
        return
    path = workdir / _LOCK
    with _opened(path) as file:
        file.truncate(0)
        file.write(_holder())
        file.flush()
        for leftover in workdir.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # While it is held: nobody can have taken it.


@contextlib.contextmanager
def continued_run(workdir: Path, context: dict[str, Any]) -> Iterator[str]:
    """The id of a command's run: that of the one before, where it was killed and this is the same again.

    What it saved midway is removed once the block ends well. Of several processes of a command the first
    keeps the id; the others write nothing that carries it.

    Args:
      context: From `provenance.environment`.
    """
    if not is_first():
        yield new_run_id()
        return
    folder = workdir / UNFINISHED
    path = folder / "command.json"
    command = {"words": context["command"].split()[:2], "config": context["config"]}
    run_id = _id_of(path, command)
    if run_id is None:
        run_id = new_run_id()
        make_folder(folder)
        write_whole(path, json.dumps({"run_id": run_id, "command": command}) + "\n")
    yield run_id
    shutil.rmtree(folder, ignore_errors=True)


def _id_of(path: Path, command: dict[str, Any]) -> str | None:
    """The id that is kept in a file with the same command; None where there is none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["run_id"] if kept["command"] == command else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    while True:
        with writing(path):
            path.touch()
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(_refusal(path)) from error
            # Who held it before may have removed it meanwhile; then another may hold the new one.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


def _holder() -> str:
    return json.dumps(
        {
            "command": shlex.join(["jaxemo", *sys.argv[1:]]),
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
    )


def _refusal(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = "`{command}` (process {process} on {host}, since {since})".format(**holder)
    except (OSError, ValueError, KeyError):
        who = "another command"
    return f"{path.parent} is in use by {who}. Wait for it to end, or take another --workdir."
