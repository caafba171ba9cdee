"""Training curves on disk: one JSONL file and TensorBoard event files, side by side."""

import json
from pathlib import Path

from jaxemo.data.files import make_folder, writing
from jaxemo.training.processes import is_first
from jaxemo.training.progress import EpochRecord, EpochTiming


class CurveLog:
    """Appends one record per epoch and training run; a context manager, so that files are closed.

    A command that goes on where it was killed goes on in its log: an epoch is written once, and of
    several processes by the first.
    """

    def __init__(self, directory: Path, *, run_id: str):
        """`run_id` is of the command: several write into one file, and each has a TensorBoard run."""
        from tensorboardX import SummaryWriter

        self._writes = is_first()
        if not self._writes:
            return
        self._run_id = run_id
        make_folder(directory)
        self._path = directory / "curves.jsonl"
        self._written = _epochs_of(run_id, self._path)
        self._lines = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(directory / "tensorboard" / run_id))

    def __enter__(self) -> "CurveLog":
        return self

    def __exit__(self, *exception) -> None:
        if self._writes:
            self._lines.close()
            self._events.close()

    def epoch(self, run: str, record: EpochRecord, timing: EpochTiming | None) -> None:
        """Writes the epoch's figures under the run's name, unless they are there.

        Args:
          timing: Of the epoch, with its other runs; None where it was trained by another command.
        """
        if not self._writes or (run, record.epoch) in self._written:
            return
        figures = record._asdict() | ({} if timing is None else timing._asdict())
        with writing(self._path):
            self._lines.write(json.dumps({"run_id": self._run_id, "run": run, **figures}) + "\n")
            self._lines.flush()
        del figures["epoch"]
        for name, value in figures.items():
            self._events.add_scalar(f"{name}/{run}", value, record.epoch)


def _epochs_of(run_id: str, path: Path) -> set[tuple[str, int]]:
    """(run, epoch) of what a command wrote before it was killed; half a line at the end is cut off."""
    if not path.is_file():
        return set()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with writing(path), path.open("r+b") as file:
            file.truncate(len(whole))
    mark = json.dumps({"run_id": run_id})[:-1].encode()
    lines = [json.loads(line) for line in whole.splitlines() if line.startswith(mark)]
    return {(line["run"], line["epoch"]) for line in lines}
