"""Scores of ranked answers, such as tags: areas under the ROC and the precision-recall curve.

Both are exact functions of how much weight of present and absent rows each score has, and those of
parts of the rows merge into those of all: batches, folds and hosts may each make their own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real


class Ranking(NamedTuple):
    """The different scores of one tag, ascending, with the weight of the rows that have each.

    Attributes:
      present: Of rows that have the tag.
      absent: Of rows that have not.
    """

    scores: Float64[np.ndarray, " S"]
    present: Float64[np.ndarray, " S"]
    absent: Float64[np.ndarray, " S"]


def rank_scores(
    truth: Real[np.ndarray, " N"],
    scores: Real[np.ndarray, " N"],
    *,
    weight: Real[np.ndarray, " N"] | None = None,
) -> Ranking:
    """The ranking of some rows.

    Args:
      truth: 1 for rows that have the tag, 0 for the others.
      scores: The higher, the likelier.
      weight: Of each row, 0 or more; None for 1 each. Rows of weight 0 do not count, whatever they hold.

    Raises:
      ValueError: A score that counts is not finite.
    """
    weight = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    counts = weight > 0
    truth, scores, weight = truth[counts] > 0, np.asarray(scores[counts], float), weight[counts]
    if not np.isfinite(scores).all():
        bad = np.flatnonzero(counts)[~np.isfinite(scores)].tolist()
        raise ValueError(f"scores of rows {bad[:10]} are not finite.")
    return _gathered(scores, np.where(truth, weight, 0.0), np.where(truth, 0.0, weight))


def merge_rankings(a: Ranking, b: Ranking) -> Ranking:
    """The ranking of the rows of both."""
    return _gathered(*(np.concatenate(leaves) for leaves in zip(a, b, strict=True)))


def roc_auc(ranking: Ranking) -> float:
    """The chance that a present row scores above an absent one, ties counting half; NaN without both.

    Reference: Hanley & McNeil 1982, Radiology 143(1):29-36.
    """
    below = np.cumsum(ranking.absent) - ranking.absent
    won = np.sum(ranking.present * (below + ranking.absent / 2))
    pairs = ranking.present.sum() * ranking.absent.sum()
    return float(won / pairs) if pairs > 0 else float("nan")


def pr_auc(ranking: Ranking) -> float:
    """Average precision, sum_s (recall_s - recall_{s+1}) precision_s; NaN without a present row.

    The precision at a score counts all rows of that score and above. MediaEval and MARBLE call it PR-AUC.

    Reference: Su, Yuan & Zhu 2015, ICTIR, 349-352.
    """
    present = np.cumsum(ranking.present[::-1])
    taken = present + np.cumsum(ranking.absent[::-1])
    if not len(present) or present[-1] == 0:
        return float("nan")
    return float(np.sum(ranking.present[::-1] * present / taken) / present[-1])


RANKING_SCORES: dict[str, Callable[[Ranking], float]] = {"ROC_AUC": roc_auc, "PR_AUC": pr_auc}


def _gathered(
    scores: Float64[np.ndarray, " N"],
    present: Float64[np.ndarray, " N"],
    absent: Float64[np.ndarray, " N"],
) -> Ranking:
    different, place = np.unique(scores, return_inverse=True)
    size = len(different)
    return Ranking(
        different,
        np.bincount(place, present, minlength=size),
        np.bincount(place, absent, minlength=size),
    )
