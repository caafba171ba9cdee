"""What trained runs say of the clips of held-out speakers; of classes, kept apart by speaker.

Speakers are what a fold holds out, and so the unit of every interval: a confusion matrix each.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemo.analysis.scores import confusion_matrix
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.runs import Bench, Run, rows_in


class HeldOutPredictions(NamedTuple):
    """What one run says of the held-out clips of one domain: their row numbers, and the predictions."""

    rows: Int[np.ndarray, " m"]
    predictions: Float[np.ndarray, "m O"]


class HeldOut(NamedTuple):
    """How one run answered the held-out clips of one domain.

    Attributes:
      speakers: Who was held out, sorted.
      matrices: The confusion matrix of each.
    """

    speakers: tuple[str, ...]
    matrices: Int[np.ndarray, "S C C"]

    @property
    def confusion(self) -> Int[np.ndarray, "C C"]:
        """Of all speakers."""
        return self.matrices.sum(axis=0)


def answers_in(
    experiment: Experiment, predictions: Mapping[str, HeldOutPredictions]
) -> dict[str, HeldOut]:
    """The classes that one run's predictions mean, by domain."""
    return {
        domain: _by_speaker(experiment, rows, values.argmax(axis=1))
        for domain, (rows, values) in predictions.items()
    }


def held_out_predictions(
    experiment: Experiment, bench: Bench, runs: Sequence[Run]
) -> list[dict[str, HeldOutPredictions]]:
    """Each run's predictions for the clips of its held-out speakers, for each domain that has any."""
    cells = [
        (number, domain, rows)
        for number, run in enumerate(runs)
        for domain in DOMAINS
        if len(rows := _held_out_rows(experiment, run, domain))
    ]
    predictions = bench.program.predictor.predict_runs(
        [runs[number].model for number, _, _ in cells],
        bench.base,
        bench.examples.inputs,
        [rows for _, _, rows in cells],
        models_at_once=bench.runs_at_once,
    )
    found: list[dict[str, HeldOutPredictions]] = [{} for _ in runs]
    for (number, domain, rows), values in zip(cells, predictions, strict=True):
        found[number][domain] = HeldOutPredictions(rows, values)
    return found


def _held_out_rows(experiment: Experiment, run: Run, domain: str) -> Int[np.ndarray, " m"]:
    parts = experiment.split(run.place.seed, run.place.fold)
    return rows_in(experiment, parts.test, (domain,))


def _by_speaker(
    experiment: Experiment, rows: Int[np.ndarray, " m"], predicted: Int[np.ndarray, " m"]
) -> HeldOut:
    names = np.array([experiment.utterances[row].speaker for row in rows])
    speakers = sorted(set(names))
    matrices = [
        confusion_matrix(
            experiment.labels[rows][names == speaker],
            predicted[names == speaker],
            num_classes=len(experiment.emotions),
        )
        for speaker in speakers
    ]
    return HeldOut(tuple(str(speaker) for speaker in speakers), np.stack(matrices))
