"""Training curves on disk: one JSONL file and TensorBoard event files, side by side."""

import json
from pathlib import Path

from jaxemo.data.files import make_folder, writing
from jaxemo.training.loop import EpochRecord


class CurveLog:
    """Appends one record per epoch and training run; a context manager, so that files are closed."""

    def __init__(self, directory: Path, *, run_id: str):
        """`run_id` is of the command: several write into one file, and each has a TensorBoard run."""
        from tensorboardX import SummaryWriter

        self._run_id = run_id
        make_folder(directory)
        self._path = directory / "curves.jsonl"
        self._lines = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(directory / "tensorboard" / run_id))

    def __enter__(self) -> "CurveLog":
        return self

    def __exit__(self, *exception) -> None:
        self._lines.close()
        self._events.close()

    def epoch(self, run: str, record: EpochRecord) -> None:
        """Writes the epoch's figures under the run's name."""
        figures = record._asdict()
        with writing(self._path):
            self._lines.write(json.dumps({"run_id": self._run_id, "run": run, **figures}) + "\n")
            self._lines.flush()
        for name in ("train_loss", "gradient_norm", "dev_score"):
            self._events.add_scalar(f"{name}/{run}", figures[name], record.epoch)
