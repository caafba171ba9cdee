"""What is recognised in a clip: one of several classes, ratings, or tags.

A `Task` says which, and by what names; targets, objective, score and figures all follow from it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxemo.analysis.ranking_scores import RANKING_SCORES, pr_auc, rank_scores
from jaxemo.analysis.rating_scores import (
    RATING_SCORES,
    concordance_correlation,
    rating_moments,
)
from jaxemo.analysis.scores import (
    CLASS_SCORES,
    confusion_matrix,
    recalls,
    unweighted_accuracy,
)
from jaxemo.data.corpora.corpus import Corpus, Utterance
from jaxemo.data.corpora.scan import Classes
from jaxemo.results.schema import FigureRow
from jaxemo.studies.corpus_settings import CorpusSettings
from jaxemo.training import objectives
from jaxemo.training.objectives import Objective

EMOTION_CLASSES, RATINGS, TAGS = "emotion_classes", "ratings", "tags"
OBJECTIVES = (EMOTION_CLASSES, RATINGS, TAGS)
# The figure that a model of each is known by.
HEADLINES = {EMOTION_CLASSES: "UA", RATINGS: "CCC", TAGS: "PR_AUC"}


class Task(NamedTuple):
    """One kind of label.

    Attributes:
      objective: Its name, one of `OBJECTIVES`.
      outputs: Names of the classes, ratings or tags, in the order of a model's outputs.
    """

    objective: str
    outputs: tuple[str, ...]


def task_of(corpus: Corpus, settings: CorpusSettings) -> Task:
    """What `settings.classes` asks of a corpus.

    Raises:
      ValueError: A tag that was asked for has no clip.
    """
    match Classes(settings.classes):
        case Classes.RATINGS:
            return Task(RATINGS, tuple(settings.ratings))
        case Classes.TAGS:
            present = {tag for row in corpus.utterances for tag in row.tags}
            if absent := sorted(set(settings.tags) - present):
                raise ValueError(
                    f"no clip of {corpus.name} has the tag {', '.join(absent)} (config.corpus.tags); it "
                    f"has {', '.join(sorted(present))}."
                )
            return Task(TAGS, tuple(settings.tags) or tuple(sorted(present)))
        case _:
            return Task(EMOTION_CLASSES, corpus.emotions)


def targets_of(task: Task, utterances: Sequence[Utterance]) -> Shaped[np.ndarray, "n ..."]:
    """Class numbers [n], ratings from -1 to 1 [n, K], or 1 for each tag that a clip has [n, G].

    Raises:
      ValueError: Clips lack a rating.
    """
    if task.objective == EMOTION_CLASSES:
        return np.array([task.outputs.index(row.emotion) for row in utterances], np.int64)
    if task.objective == TAGS:
        return np.array(
            [[tag in row.tags for tag in task.outputs] for row in utterances], np.float32
        )
    values = [[getattr(row, name) for name in task.outputs] for row in utterances]
    for name, column in zip(task.outputs, zip(*values, strict=True), strict=True):
        if missing := [row for row, value in zip(utterances, column, strict=True) if value is None]:
            raise ValueError(
                f"{len(missing)} of {len(utterances)} clips have no {name}, such as "
                f"{missing[0].path}; leave it out of config.corpus.ratings, or drop these clips."
            )
    return np.array(values, np.float32)


def make_objective(
    task: Task, *, focal_gamma: float = 0.0, label_smoothing: float = 0.0
) -> Objective:
    """The task as training has it, the epoch chosen by its headline figure on dev."""
    size = len(task.outputs)
    match task.objective:
        case "ratings":
            return objectives.ratings(size, score=_mean_concordance)
        case "tags":
            return objectives.tags(size, score=_mean_pr_auc, focal_gamma=focal_gamma)
        case _:
            return objectives.emotion_classes(
                size,
                score=_unweighted_accuracy,
                focal_gamma=focal_gamma,
                label_smoothing=label_smoothing,
            )


def figures_of(
    task: Task,
    targets: Shaped[np.ndarray, "n ..."],
    predictions: Float[np.ndarray, "n O"],
    *,
    domain: str,
) -> list[FigureRow]:
    """Scores of one set of clips.

    Classes: UA, WA, macro-F1 and recalls. Ratings: CCC, PCC and R2 of each and their means. Tags: areas
    under the ROC and the precision-recall curve of each, and their means over the tags that have one.
    """
    match task.objective:
        case "ratings":
            moments = rating_moments(targets, predictions)
            named = {metric: score(moments) for metric, score in RATING_SCORES.items()}
        case "tags":
            rankings = _rankings(targets, predictions)
            named = {
                metric: np.array([score(one) for one in rankings])
                for metric, score in RANKING_SCORES.items()
            }
        case _:
            chosen = predictions.argmax(axis=1)
            confusion = confusion_matrix(targets, chosen, num_classes=len(task.outputs))
            return confusion_figures(confusion, task.outputs, domain=domain)
    return [
        FigureRow(domain=domain, emotion=name, metric=metric, mean=_or_none(value), n=len(targets))
        for metric, values in named.items()
        for name, value in zip(
            ("all", *task.outputs), (_mean_of_known(values), *values), strict=True
        )
    ]


def confusion_figures(
    confusion: Int[np.ndarray, "C C"], emotions: tuple[str, ...], *, domain: str
) -> list[FigureRow]:
    """UA, WA, macro-F1 and recalls of one set of clips; a recall without clips is None."""
    scores = [(metric, "all", score(confusion)) for metric, score in CLASS_SCORES.items()]
    scores += [("recall", *one) for one in zip(emotions, recalls(confusion), strict=True)]
    n = int(confusion.sum())
    return [
        FigureRow(domain=domain, emotion=emotion, metric=metric, mean=_or_none(value), n=n)
        for metric, emotion, value in scores
    ]


def _unweighted_accuracy(
    labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]
) -> float:
    num_classes = probabilities.shape[1]
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), num_classes=num_classes)
    return unweighted_accuracy(matrix)


def _mean_concordance(
    truth: Float[np.ndarray, "n K"], predictions: Float[np.ndarray, "n K"]
) -> float:
    return _mean_of_known(concordance_correlation(rating_moments(truth, predictions)))


def _mean_pr_auc(truth: Float[np.ndarray, "n G"], predictions: Float[np.ndarray, "n G"]) -> float:
    return _mean_of_known(np.array([pr_auc(one) for one in _rankings(truth, predictions)]))


def _rankings(truth: Float[np.ndarray, "n G"], predictions: Float[np.ndarray, "n G"]) -> list:
    return [rank_scores(*column) for column in zip(truth.T, predictions.T, strict=True)]


def _mean_of_known(values: Float[np.ndarray, " K"]) -> float:
    known: Bool[np.ndarray, " K"] = np.isfinite(values)
    return float(values[known].mean()) if known.any() else float("nan")


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
