"""The process that reads spoilt inputs, one after the other, until one of them ends it."""

import os
import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from fuzzing.kinds import Kind
from fuzzing.outcomes import Outcome, Subject, Verdict, verdict_of

READY = "ready"


def serve(connection: Connection, kind: Kind, folder: Path, seed: int) -> None:
    """Answers each number with (spoilt, verdict), until None comes."""
    folder.mkdir(parents=True, exist_ok=True)
    _quieten(folder / f"{kind.name}.log")
    subject = kind.make(folder)
    connection.send(READY)
    while (number := connection.recv()) is not None:
        rng = np.random.default_rng([seed, number, *kind.name.encode()])
        place = folder / f"input-{kind.name}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        connection.send(subject.spoil(rng, place))
        connection.send(_judged(subject, kind, place))


def _judged(subject: Subject, kind: Kind, place: Path) -> Verdict:
    before = memory_megabytes("VmRSS")
    _forget_peak()
    try:
        verdict = subject.judge(place)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        verdict = verdict_of(error, kind.names)
    grown = memory_megabytes("VmHWM") - before
    if grown > kind.megabytes and verdict.outcome in (Outcome.CLEAN, Outcome.ACCEPTED):
        return Verdict(Outcome.MEMORY, f"a peak of {grown:.0f} MB, then {verdict.detail}")
    return verdict


def memory_megabytes(field: str, process: int | str = "self") -> float:
    """A field of /proc/PID/status in 10^6 bytes: VmRSS is now, VmHWM the peak."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return 0.0
    lines = [line.split() for line in text.splitlines() if line.startswith(f"{field}:")]
    return int(lines[0][1]) * 1024 / 1e6 if lines else 0.0  # A process that ended has none.


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _quieten(path: Path) -> None:
    """Decoders and XLA write to the file descriptors themselves."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
