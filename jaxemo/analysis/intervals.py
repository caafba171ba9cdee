"""Intervals whose unit is the speaker: what scores of held-out speakers say of other speakers.

Predictions of all folds are pooled by speaker, one value each, seeds averaged within a speaker. Speakers
of one corpus share their training parts, so that Student's interval over them is a little too narrow:
its standard error is inflated by a constant that simulation gave. An interval of no width is never made.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Real

# UA of 24 speakers in six folds asks for 1.14 to 1.24, and gains, whose sides share their training
# speakers, for 0.98 to 1.10 (`tools/measure_coverage.py`: two encoders, speech and song).
SCORE_INFLATION = 1.2
DIFFERENCE_INFLATION = 1.1
FEWEST_SPEAKERS = 4
# Spread, as a share of the largest value, that is rounding alone.
_ROUNDING = 1e-12


class SpeakerInterval(NamedTuple):
    """A mean over speakers with its limits.

    Attributes:
      low: None where there is no interval.
      high: None where there is no interval.
      n: Speakers.
      p_value: That the mean of other speakers is 0; None where there is no interval.
      reason: Why there is no interval; empty where there is one.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p_value: float | None
    reason: str


def speaker_interval(
    values: Real[np.ndarray, " S"] | list[float] | tuple[float, ...],
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    inflation: float = SCORE_INFLATION,
) -> SpeakerInterval:
    """Student's t interval over speakers' own values, its standard error inflated.

    mean +- t_{(1 + level) / 2, S - 1} * inflation * std / sqrt S,   std over S - 1
    p_value = 2 P(T_{S - 1} > |mean| sqrt S / (inflation * std))

    Args:
      values: One per speaker, such as the recall averaged over the emotions that he or she has.
      level: Confidence, in (0, 1).
      bounds: The scale's ends, such as (0, 1) for a rate; limits beyond them are cut to them.
      inflation: On the standard error.

    Raises:
      ValueError: If there is no value, one is not finite, or the level is outside (0, 1).

    Reference: Student 1908, Biometrika 6(1):1-25.
    """
    from scipy import special

    values = np.asarray(values, np.float64)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; expected a confidence between 0 and 1, such as 0.95.")
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"Expected one finite value per speaker; got {values.tolist()}.")
    mean, n = float(values.mean()), values.size
    if n < FEWEST_SPEAKERS:
        reason = f"{n} speakers; an interval needs {FEWEST_SPEAKERS}"
        return SpeakerInterval(mean, None, None, n, None, reason)
    error = inflation * float(values.std(ddof=1)) / np.sqrt(n)
    low, high = bounds if bounds is not None else (-np.inf, np.inf)
    half_width = float(special.stdtrit(n - 1, (1.0 + level) / 2.0)) * error
    low, high = max(mean - half_width, low), min(mean + half_width, high)
    if error <= _ROUNDING * np.abs(values).max() or low >= high:
        return SpeakerInterval(mean, None, None, n, None, f"no spread between {n} speakers")
    p_value = float(2 * special.stdtr(n - 1, -abs(mean) / error))
    return SpeakerInterval(mean, float(low), float(high), n, p_value, "")


def paired_speaker_interval(
    a: Real[np.ndarray, " S"] | list[float] | tuple[float, ...],
    b: Real[np.ndarray, " T"] | list[float] | tuple[float, ...],
    *,
    level: float = 0.95,
) -> SpeakerInterval:
    """The interval of a - b, of the same speakers in the same order, with the inflation of differences.

    Raises:
      ValueError: If the two differ in length, or as in `speaker_interval`.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"{a.size} and {b.size} values; pairs need the same speakers in the same order."
        )
    return speaker_interval(a - b, level=level, inflation=DIFFERENCE_INFLATION)


def jackknife_values(
    together: float | Float64[np.ndarray, " K"], without: Float64[np.ndarray, "S ..."]
) -> Float64[np.ndarray, "S ..."]:
    """What each speaker says of a figure of all of them together; their mean is that figure.

    value_s = together + (S - 1) (mean over t of without_t - without_s)

    Args:
      together: The figure, or K of them.
      without: The same with each speaker left out.

    Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.
    """
    return together + (len(without) - 1) * (without.mean(axis=0) - without)


def estimate_interval(
    estimate: float,
    values: Real[np.ndarray, " S"],
    *,
    bounds: tuple[float, float],
    undefined: str,
) -> SpeakerInterval:
    """The interval of a figure of all speakers together, from what each of them says of it.

    Args:
      estimate: The figure.
      values: The jackknife's value of each speaker, whose mean is the figure.
      bounds: As of `speaker_interval`.
      undefined: The reason where a value is not finite.
    """
    if not np.isfinite(values).all() or not np.isfinite(estimate):
        return SpeakerInterval(estimate, None, None, len(values), None, undefined)
    return speaker_interval(values, bounds=bounds)._replace(mean=estimate)


def holm(p_values: list[float]) -> list[float]:
    """The p-values of one family, corrected so that any false alarm in it is as rare as the level.

    The k-th smallest of m is multiplied by m - k + 1, and none falls below one before it.

    Reference: Holm 1979, Scandinavian Journal of Statistics 6(2):65-70.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
