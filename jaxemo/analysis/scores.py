"""Scores of class predictions and intervals over independent units; numpy alone.

Every score is a function of the confusion matrix, so folds are pooled by adding matrices. Intervals
are over units that are independent of each other (held-out speaker folds, not clips and not seeds
of one fold): the caller averages within a unit first. One unit has no interval, nor have units that
are all alike.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64, Real

# Spread, as a share of the largest value, that is rounding alone.
_ROUNDING = 1e-12


class Interval(NamedTuple):
    """A mean with its confidence limits, which are None where no spread was measured."""

    mean: float
    low: float | None
    high: float | None
    n: int


def confusion_matrix(
    labels: Int[np.ndarray, " N"], predictions: Int[np.ndarray, " M"], *, num_classes: int
) -> Int64[np.ndarray, "C C"]:
    """Counts of (true class, predicted class): rows are the truth, columns the prediction.

    Raises:
      ValueError: If the two differ in length or a class is outside [0, num_classes).
    """
    if labels.shape != predictions.shape:
        raise ValueError(
            f"{labels.size} labels and {predictions.size} predictions; expected one each."
        )
    for name, classes in (("labels", labels), ("predictions", predictions)):
        outside = sorted({int(c) for c in classes if not 0 <= c < num_classes})
        if outside:
            raise ValueError(f"{name} hold classes {outside}; expected 0 to {num_classes - 1}.")
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def recalls(confusion: Real[np.ndarray, "C C"]) -> Float64[np.ndarray, " C"]:
    """Share of each true class that was predicted right; NaN for a class absent from the truth."""
    totals = confusion.sum(axis=1)
    return np.divide(np.diag(confusion), totals, out=np.full(len(totals), np.nan), where=totals > 0)


def unweighted_accuracy(confusion: Real[np.ndarray, "C C"]) -> float:
    """UA: mean recall over the classes present in the truth; chance is 1 over their number.

    Raises:
      ValueError: If nothing was scored.

    Reference: Schuller, Steidl, Batliner 2009, "The INTERSPEECH 2009 Emotion Challenge".
    """
    _check_not_empty(confusion)
    return float(np.nanmean(recalls(confusion)))


def weighted_accuracy(confusion: Real[np.ndarray, "C C"]) -> float:
    """WA: share of all rows that were predicted right, so classes weigh as often as they occur.

    Raises:
      ValueError: If nothing was scored.
    """
    _check_not_empty(confusion)
    return float(np.trace(confusion) / confusion.sum())


def macro_f1(confusion: Real[np.ndarray, "C C"]) -> float:
    """Mean over classes of F1 = 2 right / (true + predicted).

    A class that is in neither truth nor prediction has no F1 and is left out; one that is only
    predicted, or never predicted, counts as 0. scikit-learn's f1_score(average="macro") gives the
    same over the labels it sees.

    Raises:
      ValueError: If nothing was scored.
    """
    _check_not_empty(confusion)
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2.0 * np.diag(confusion)[seen > 0] / seen[seen > 0]))


CLASS_SCORES: dict[str, Callable[[Real[np.ndarray, "C C"]], float]] = {
    "UA": unweighted_accuracy,
    "WA": weighted_accuracy,
    "macro_F1": macro_f1,
}


def student_interval(
    values: Real[np.ndarray, " N"] | list[float] | tuple[float, ...],
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Student's t interval for the mean of independent units.

    mean +- t_{(1 + level) / 2, n - 1} * std / sqrt(n),   std over n - 1

    One unit, and units that are all alike, have no interval: no spread was measured.

    Args:
      values: One value per unit, such as the UA of each held-out fold.
      level: Confidence, in (0, 1).
      bounds: The scale's ends, such as (0, 1) for a rate; limits beyond them are cut to them.

    Raises:
      ValueError: If there is no value, one is not finite, or the level is outside (0, 1).

    Reference: Student 1908, Biometrika 6(1):1-25.
    """
    values = np.asarray(values, np.float64)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; expected a confidence between 0 and 1, such as 0.95.")
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"Expected at least one value, all finite; got {values.tolist()}.")
    mean, n = float(values.mean()), values.size
    deviation = float(values.std(ddof=1)) if n > 1 else 0.0
    if deviation <= _ROUNDING * np.abs(values).max():
        return Interval(mean, None, None, n)
    half_width = _student_quantile((1.0 + level) / 2.0, n - 1) * deviation / np.sqrt(n)
    low, high = bounds if bounds is not None else (-np.inf, np.inf)
    return Interval(
        mean, float(max(mean - half_width, low)), float(min(mean + half_width, high)), n
    )


def paired_interval(
    a: Real[np.ndarray, " N"] | list[float] | tuple[float, ...],
    b: Real[np.ndarray, " M"] | list[float] | tuple[float, ...],
    *,
    level: float = 0.95,
) -> Interval:
    """Student's t interval for the mean of a - b, measured on the same units in the same order.

    Raises:
      ValueError: If the two differ in length, or as in `student_interval`.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"{a.size} and {b.size} values; pairs need the same units in the same order."
        )
    return student_interval(a - b, level=level)


def _student_quantile(probability: float, degrees_of_freedom: int) -> float:
    from scipy import special

    return float(special.stdtrit(degrees_of_freedom, probability))


def _check_not_empty(confusion: Real[np.ndarray, "C C"]) -> None:
    if confusion.sum() == 0:
        raise ValueError(
            "The confusion matrix is empty: no row was scored. Check the fold's test part."
        )
