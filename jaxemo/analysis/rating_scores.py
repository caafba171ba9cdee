"""Scores of predicted ratings, such as valence and arousal: CCC, PCC, R2.

Each is a function of the moments of truth and prediction, and moments of parts of the rows merge into
those of all: batches, folds and hosts may each make their own.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real


class RatingMoments(NamedTuple):
    """Weighted moments of K ratings, in float64.

    Attributes:
      weight: Sum of the rows' weights.
      mean: Of truth and prediction.
      scatter: Weighted sums about the means of truth^2, prediction^2, truth times prediction.
    """

    weight: float
    mean: Float64[np.ndarray, "2 K"]
    scatter: Float64[np.ndarray, "3 K"]


def rating_moments(
    truth: Real[np.ndarray, "N K"],
    prediction: Real[np.ndarray, "N K"],
    *,
    weight: Real[np.ndarray, " N"] | None = None,
) -> RatingMoments:
    """The moments of some rows.

    Args:
      weight: Of each row, 0 or more; None for 1 each. Rows of weight 0 do not count, whatever they hold.

    Raises:
      ValueError: A rating or prediction that counts is not finite.
    """
    weight = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    counts = weight > 0
    both = np.stack([truth[counts], prediction[counts]]).astype(np.float64)
    if not np.isfinite(both).all():
        bad = np.flatnonzero(counts)[~np.isfinite(both).all(axis=(0, 2))].tolist()
        raise ValueError(f"ratings or predictions of rows {bad[:10]} are not finite.")
    weight = weight[counts]
    total = weight.sum()
    mean = np.tensordot(both, weight, axes=(1, 0)) / (total or 1.0)
    t, p = both - mean[:, None]
    products = np.stack([t * t, p * p, t * p])
    return RatingMoments(float(total), mean, np.tensordot(products, weight, axes=(1, 0)))


def merge_moments(a: RatingMoments, b: RatingMoments) -> RatingMoments:
    """The moments of the rows of both.

    Reference: Chan, Golub & LeVeque 1983, The American Statistician 37(3):242-247, equation 1.5.
    """
    weight = a.weight + b.weight
    share = b.weight / (weight or 1.0)
    t, p = b.mean - a.mean
    between = a.weight * share * np.stack([t * t, p * p, t * p])
    mean = a.mean + share * (b.mean - a.mean)
    return RatingMoments(weight, mean, a.scatter + b.scatter + between)


def concordance_correlation(moments: RatingMoments) -> Float64[np.ndarray, " K"]:
    """CCC = 2 cov(t, p) / (var t + var p + (mean t - mean p)^2); NaN for equal constants.

    Reference: Lin 1989, Biometrics 45(1):255-268, with moments over N.
    """
    tt, pp, tp = moments.scatter
    bias = moments.weight * (moments.mean[0] - moments.mean[1]) ** 2
    return _ratio(2 * tp, tt + pp + bias)


def pearson_correlation(moments: RatingMoments) -> Float64[np.ndarray, " K"]:
    """PCC = cov(t, p) / (std t std p); NaN where either is constant."""
    tt, pp, tp = moments.scatter
    return _ratio(tp, np.sqrt(tt) * np.sqrt(pp))


def explained_variance(moments: RatingMoments) -> Float64[np.ndarray, " K"]:
    """R2 = 1 - sum (t - p)^2 / sum (t - mean t)^2, below 0 without bound; NaN for a constant truth."""
    tt, pp, tp = moments.scatter
    residual = tt + pp - 2 * tp + moments.weight * (moments.mean[0] - moments.mean[1]) ** 2
    return 1 - _ratio(residual, tt)


RATING_SCORES: dict[str, Callable[[RatingMoments], Float64[np.ndarray, " K"]]] = {
    "CCC": concordance_correlation,
    "PCC": pearson_correlation,
    "R2": explained_variance,
}


def _ratio(
    numerator: Float64[np.ndarray, " K"], denominator: Float64[np.ndarray, " K"]
) -> Float64[np.ndarray, " K"]:
    return np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )
