"""The temperature of each trained model, fitted on its dev clips, and what it does on others."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxemo.analysis.calibration import expected_calibration_error, fit_temperature, tempered
from jaxemo.results.schema import FigureRow
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.held_out import HeldOutPredictions
from jaxemo.studies.recognition import EMOTION_CLASSES, Task, figures_of
from jaxemo.studies.runs import Bench, Run, rows_in


def fit_temperatures(experiment: Experiment, bench: Bench, runs: Sequence[Run]) -> list[float]:
    """Of each run, over the clips of the dev speakers that chose its epoch; 1 where there are no classes."""
    if experiment.task.objective != EMOTION_CLASSES:
        return [1.0] * len(runs)
    rows = [_dev_rows(experiment, run) for run in runs]
    predictions = bench.program.predictor.predict_runs(
        [run.model for run in runs],
        bench.base,
        bench.examples.inputs,
        rows,
        models_at_once=bench.runs_at_once,
    )
    return [
        fit_temperature(probabilities, experiment.labels[own])
        for probabilities, own in zip(predictions, rows, strict=True)
    ]


def scored_figures(
    task: Task,
    targets: Shaped[np.ndarray, "n ..."],
    raw: Float[np.ndarray, "n O"],
    *,
    temperature: float,
    domain: str,
) -> list[FigureRow]:
    """The task's figures on some clips of one domain; of classes also the calibration error.

    Args:
      raw: Predictions before the temperature, which changes no figure but the last.
    """
    figures = list(figures_of(task, targets, raw, domain=domain))
    if task.objective == EMOTION_CLASSES:
        figures += _calibration_figures(targets, raw, temperature=temperature, domain=domain)
    return figures


def held_out_figures(
    experiment: Experiment, predictions: Mapping[str, HeldOutPredictions], temperature: float
) -> list[FigureRow]:
    """A run's figures on its held-out speakers, domain by domain."""
    figures: list[FigureRow] = []
    for domain, (rows, raw) in predictions.items():
        targets = experiment.labels[rows]
        figures += scored_figures(
            experiment.task, targets, raw, temperature=temperature, domain=domain
        )
    return figures


def _calibration_figures(
    labels: Int[np.ndarray, " n"],
    raw: Float[np.ndarray, "n C"],
    *,
    temperature: float,
    domain: str,
) -> list[FigureRow]:
    """The calibration error before and after the temperature."""
    return [
        FigureRow(
            domain=domain,
            emotion="all",
            metric=metric,
            mean=expected_calibration_error(probabilities, labels),
            n=len(labels),
        )
        for metric, probabilities in (
            ("ECE_uncalibrated", raw),
            ("ECE", tempered(raw, temperature)),
        )
    ]


def _dev_rows(experiment: Experiment, run: Run) -> Int[np.ndarray, " m"]:
    parts = experiment.split(run.place.seed, run.place.fold)
    return rows_in(experiment, parts.dev, (run.place.dev_domain,))
