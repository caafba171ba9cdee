"""Scores of pooled predictions, taken apart by speaker: what `analysis.intervals` makes intervals of.

Held-out predictions of all folds are one set, as if one model had made them. A score of that set is a
function of its confusion matrix; what each speaker contributes to it follows from leaving him or her
out. Where all speakers have the same clips, a speaker's value of UA, WA or recall is his or her own.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Int, Real

from jaxemo.analysis.intervals import jackknife_values

Score = Callable[[np.ndarray], float]


def confusions_by_speaker(
    labels: Int[np.ndarray, " N"],
    predictions: Int[np.ndarray, "L N"],
    speaker: Int[np.ndarray, " N"],
    *,
    num_speakers: int,
    num_classes: int,
) -> Float64[np.ndarray, "L S C C"]:
    """Counts of (true class, predicted class) of each speaker, for L sets of predictions.

    Args:
      labels: True class of each row, in [0, num_classes).
      speaker: Of each row, in [0, num_speakers).
    """
    sets = np.arange(len(predictions))[:, None]
    cells = ((sets * num_speakers + speaker) * num_classes + labels) * num_classes + predictions
    shape = (len(predictions), num_speakers, num_classes, num_classes)
    counts = np.bincount(cells.ravel(), minlength=int(np.prod(shape)))
    return counts.reshape(shape).astype(np.float64)


def speaker_values(
    score: Score, confusions: Real[np.ndarray, "S C C"]
) -> Float64[np.ndarray, " S"]:
    """What each speaker says of a score of all of them together (`intervals.jackknife_values`).

    Speakers who lack a class, as songs that stand for speakers do, have no UA of their own: the mean of
    theirs would be WA. The value is the jackknife's, so that the score stays the field's.

    Args:
      score: Of a confusion matrix, such as `scores.unweighted_accuracy`.
      confusions: One per speaker, each with at least one row.
    """
    together = confusions.sum(axis=0)
    if len(confusions) == 1:
        return np.array([score(together)], np.float64)
    without = np.array([score(together - own) for own in confusions], np.float64)
    return jackknife_values(score(together), without)
