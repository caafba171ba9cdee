"""What `jaxemo predict` does: answers for files without labels, as JSON lines or a table."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from jaxemo.cli.progress import console
from jaxemo.cli.provenance import user_cache_dir
from jaxemo.cli.session import open_cache
from jaxemo.studies.prediction import Answer, FileAnswer, predict_files
from jaxemo.studies.published_models import load_any_model
from jaxemo.studies.recognition import EMOTION_CLASSES, Task
from jaxemo.training.sharding import make_mesh

_DECIMALS = 6


def predict(
    *,
    checkpoint: str,
    encoder: str | None,
    format: str,
    window_seconds: float | None,
    files: tuple[str, ...],
) -> None:
    """Prints an answer per file as soon as it is there.

    Raises:
      ValueError: At the end, if there were files that cannot be used.
    """
    cache_dir = open_cache(user_cache_dir())
    model = load_any_model(checkpoint, mesh=make_mesh(), encoder=encoder)
    answers = predict_files(
        model, files, window_seconds=window_seconds, cache_dir=cache_dir, progress=console()
    )
    write = _write_lines if format == "jsonl" else _write_table
    faults: list[str] = []
    num_files = 0
    for answer in write(answers, model.task):
        num_files += 1
        sys.stdout.flush()
        if answer.fault:
            faults.append(f"  {answer.path}: {answer.fault}")
    if faults:
        listed = "\n".join(faults)
        raise ValueError(f"{len(faults)} of {num_files} files cannot be used:\n{listed}")


def _write_lines(answers: Iterable[FileAnswer], task: Task) -> Iterator[FileAnswer]:
    """Prints a JSON object per file, and passes the answer on."""
    for answer in answers:
        print(json.dumps(_record(answer, task), ensure_ascii=False))
        yield answer


def _write_table(answers: Iterable[FileAnswer], task: Task) -> Iterator[FileAnswer]:
    """Prints rows of CSV for each file, the whole and then its windows, and passes the answer on."""
    answered = ("emotion",) if task.objective == EMOTION_CLASSES else ()
    columns = ("path", "part", "start_s", "end_s", *answered, *task.outputs, "fault")
    table = csv.DictWriter(sys.stdout, columns)
    table.writeheader()
    for answer in answers:
        if answer.whole is None:
            table.writerow({"path": answer.path, "fault": answer.fault})
        else:
            parts = [("whole", answer.whole), *(("window", one) for one in answer.windows)]
            for part, one in parts:
                said = _said(one, task)
                values = said.pop("ratings", None) or said.pop("probabilities")
                times = {"start_s": round(one.start_s, 3), "end_s": round(one.end_s, 3)}
                table.writerow({"path": answer.path, "part": part, **times, **said, **values})
        yield answer


def _record(answer: FileAnswer, task: Task) -> dict[str, Any]:
    """A file as one JSON object."""
    if answer.whole is None:
        return {"path": answer.path, "fault": answer.fault}
    record = {
        "path": answer.path,
        **_said(answer.whole, task),
        "duration_s": round(answer.whole.end_s, 3),
        "analysed_s": round(answer.whole.analysed_s, 3),
    }
    if answer.windows:
        record["windows"] = [
            {"start_s": round(one.start_s, 3), "end_s": round(one.end_s, 3), **_said(one, task)}
            for one in answer.windows
        ]
    return record


def _said(answer: Answer, task: Task) -> dict[str, Any]:
    values = [round(float(value), _DECIMALS) for value in answer.predictions]
    named = dict(zip(task.outputs, values, strict=True))
    match task.objective:
        case "ratings":
            return {"ratings": named}
        case "tags":
            return {"probabilities": named}
        case _:
            emotion = task.outputs[int(np.argmax(answer.predictions))]
            return {"emotion": emotion, "probabilities": named}
