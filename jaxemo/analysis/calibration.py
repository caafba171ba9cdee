"""Whether probabilities mean what they say, and the one number that mends them; numpy and scipy alone.

A temperature keeps every answer and moves only how sure it is, so no score of the answers changes.

Reference: Guo et al. 2017, "On Calibration of Modern Neural Networks" (ICML), sections 2 and 4.2.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

# A model that is right or wrong on all of its dev clips has no best temperature; these bound it.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
NUM_BINS = 15


def tempered(
    probabilities: Float[np.ndarray, "n C"], temperature: float
) -> Float64[np.ndarray, "n C"]:
    """softmax(log p / T): the probabilities of logits that are divided by T."""
    floor = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities.astype(np.float64), floor)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def fit_temperature(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]
) -> float:
    """The temperature of the least mean -log p_T[label], between 0.05 and 20.

    Args:
      probabilities: Of clips that the parameters were not trained on.
      labels: Their classes.

    Raises:
      ValueError: There is no clip.
    """
    from scipy.optimize import minimize_scalar

    _check_not_empty(labels)

    def loss(log_temperature: float) -> float:
        shares = tempered(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(shares[np.arange(len(labels)), labels]).mean())

    bounds = (np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE))
    found: Any = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def expected_calibration_error(
    probabilities: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]
) -> float:
    """ECE = sum_b n_b / n |accuracy_b - confidence_b| over 15 bins of equal width, in [0, 1].

    A clip's confidence is the probability of its answer; bin b holds (b / 15, (b + 1) / 15].

    Raises:
      ValueError: There is no clip.
    """
    _check_not_empty(labels)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _check_not_empty(labels: Int[np.ndarray, " n"]) -> None:
    if not labels.size:
        raise ValueError("There are no clips to calibrate on; expected at least one.")
