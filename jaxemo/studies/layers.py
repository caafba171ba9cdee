"""Study 1, layers: how well each layer's pooled representation predicts emotion, in speech and in music."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemo.analysis.probing import ProbeResult, fit_probes
from jaxemo.analysis.scores import (
    confusion_matrix,
    macro_f1,
    recalls,
    student_interval,
    unweighted_accuracy,
    weighted_accuracy,
)
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.schema import ConfusionRow, LayerRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.sources import Embedded

SUMMARY_METRICS = {
    "UA": unweighted_accuracy,
    "WA": weighted_accuracy,
    "macro_F1": macro_f1,
}


class LayerResults(NamedTuple):
    """Rows of `results["layers"]` and `results["confusions"]`."""

    rows: list[LayerRow]
    confusions: list[ConfusionRow]


def study_layers(experiment: Experiment, embedded: Embedded, config: Settings) -> LayerResults:
    """Probes every layer in every domain of the corpus.

    Each (seed, fold) is one probe; a fold's figure is the mean over its seeds, and the interval is
    Student's over folds: seeds share their test speakers, so they are no independent evidence.
    """
    rows: list[LayerRow] = []
    confusions: list[ConfusionRow] = []
    for domain in DOMAINS:
        domain_rows = experiment.rows_of(domain)
        if len(domain_rows) == 0:
            continue
        runs = _runs(experiment, domain_rows, domain)
        emotions, labels = domain_classes(experiment, domain_rows)
        probes = fit_probes(
            embedded.embedding.pooled[domain_rows].transpose(1, 0, 2),
            labels,
            train_weight=np.stack([run.train for run in runs]).astype(np.float32),
            dev_weight=np.stack([run.dev for run in runs]).astype(np.float32),
            l2_strengths=tuple(config.layers.l2_strengths),
            num_classes=len(emotions),
        )
        confusion = _confusions(probes, runs, labels, len(emotions))
        identity = {
            "encoder": embedded.source.name,
            "origin": embedded.source.origin,
            "domain": domain,
        }
        converged = np.asarray(probes.converged).mean(axis=1)
        rows += _score_rows(confusion, runs, emotions, identity, converged)
        confusions += _best_confusion(confusion, probes, emotions, identity)
    return LayerResults(rows, confusions)


class _Run(NamedTuple):
    """One probe's parts, as masks over the domain's rows."""

    fold: int
    seed: int
    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


def _runs(experiment: Experiment, domain_rows: Int[np.ndarray, " m"], domain: str) -> list[_Run]:
    """Every (seed, fold) whose parts all have clips of the domain.

    RAVDESS's actor 18 only speaks: a group of speakers may have no clip of one domain.
    """
    runs = []
    for seed, fold in np.ndindex(len(experiment.folds), len(experiment.folds[0])):
        masks = [np.isin(domain_rows, part) for part in experiment.split(seed, fold)]
        if all(mask.any() for mask in masks):
            runs.append(_Run(fold, seed, *masks))
    if not runs:
        raise ValueError(
            f"No fold has {domain} clips to train, develop and test on; the {len(domain_rows)} {domain} "
            "clips come from too few groups of speakers."
        )
    return runs


def domain_classes(
    experiment: Experiment, domain_rows: Int[np.ndarray, " m"]
) -> tuple[tuple[str, ...], Int[np.ndarray, " m"]]:
    """The emotions that a domain has, and its rows' labels among them.

    RAVDESS has songs of six of its eight emotions; a probe of songs then has six classes.
    """
    present, labels = np.unique(experiment.labels[domain_rows], return_inverse=True)
    return tuple(experiment.emotions[index] for index in present), labels


def _confusions(
    probes: ProbeResult, runs: list[_Run], labels: Int[np.ndarray, " m"], num_classes: int
) -> Int[np.ndarray, "L F C C"]:
    """Test confusion matrix of every probe."""
    return np.stack(
        [
            [
                confusion_matrix(labels[run.test], layer[index][run.test], num_classes=num_classes)
                for index, run in enumerate(runs)
            ]
            for layer in np.asarray(probes.predictions)
        ]
    )


def _score_rows(
    confusion: Int[np.ndarray, "L F C C"],
    runs: list[_Run],
    emotions: tuple[str, ...],
    identity: dict[str, Any],
    converged: Float[np.ndarray, " L"],
) -> list[LayerRow]:
    """Every metric of every layer: the fold's mean over seeds, then the interval over folds."""
    folds = np.array([run.fold for run in runs])
    context = {
        "n": int(sum({run.fold: run.test.sum() for run in runs}.values())),
        "folds": len(set(folds)),
        "seeds": len({run.seed for run in runs}),
        "num_layers": len(confusion),
        "chance": 1 / len(emotions),
    }
    rows = []
    for layer, matrices in enumerate(confusion):
        place = {**identity, "layer": layer, "converged": float(converged[layer])}
        for metric, emotion, values in metric_values(matrices, emotions):
            interval = fold_interval(values, folds)
            figure = {"metric": metric, "emotion": emotion, **interval}
            rows.append(LayerRow(**place, **figure, **context))
    return rows


def metric_values(matrices, emotions: tuple[str, ...]):
    """(metric, emotion, one value a matrix) for each summary metric and each emotion's recall."""
    for metric, score in SUMMARY_METRICS.items():
        yield metric, "all", np.array([score(matrix) for matrix in matrices])
    per_emotion = np.array([recalls(matrix) for matrix in matrices])
    for index, emotion in enumerate(emotions):
        yield "recall", emotion, per_emotion[:, index]


def fold_interval(
    values: Float[np.ndarray, " F"],
    folds: Int[np.ndarray, " F"],
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> dict[str, Any]:
    """mean, low and high over folds, each fold being the mean of its seeds.

    A fold whose test part lacks the emotion has no recall (NaN) and does not count.
    """
    per_fold = [values[folds == fold].mean() for fold in np.unique(folds)]
    finite = [float(value) for value in per_fold if np.isfinite(value)]
    interval = student_interval(finite, bounds=bounds)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _best_confusion(confusion, probes, emotions, identity) -> list[ConfusionRow]:
    """Confusions summed over folds and seeds at the layer that the dev parts prefer."""
    layer = int(np.asarray(probes.dev_score).mean(axis=1).argmax())
    no_transfer = dict.fromkeys(("method", "direction", "regime"))
    place = {"study": "layers", **identity, "layer": layer, **no_transfer}
    return confusion_rows(confusion[layer].sum(axis=0), emotions, place)


def confusion_rows(
    matrix: Int[np.ndarray, "C C"], emotions: tuple[str, ...], place: dict[str, Any]
) -> list[ConfusionRow]:
    """One row per cell of a confusion matrix; `place` holds the columns that all of them share."""
    return [
        ConfusionRow(**place, emotion=true, predicted=predicted, count=int(matrix[i, j]))
        for i, true in enumerate(emotions)
        for j, predicted in enumerate(emotions)
    ]
