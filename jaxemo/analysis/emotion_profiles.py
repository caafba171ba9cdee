"""Profiles of emotions: effects over their mean, so that encoders of other scales can be compared."""

import numpy as np
from jaxtyping import Float

from jaxemo.analysis.emotion_effects import Effects, effect_interval


def difference_of_profiles(one: Effects, other: Effects) -> Effects | None:
    """profile(e) = effect(e) / mean over emotions of the effect, of one encoder minus that of another.

    Influences are those of the ratio to first order; emotions that either lacks are NaN. None where
    the mean effect of either encoder is not above 0 by its interval, or they rest on other speakers:
    a profile over a mean that may be nothing is none.
    """
    defined = np.isfinite(one.estimate) & np.isfinite(other.estimate)
    if not np.array_equal(one.sample, other.sample) or defined.sum() < 2:
        return None
    first, second = _profile(one, defined), _profile(other, defined)
    if first is None or second is None:
        return None
    return Effects(
        estimate=first.estimate - second.estimate,
        influence=first.influence - second.influence,
        interaction=first.interaction - second.interaction,
        sample=one.sample,
    )


def kendall_tau(a: Float[np.ndarray, " E"], b: Float[np.ndarray, " E"]) -> float:
    """(pairs ordered alike - pairs ordered differently) / pairs, of values without ties.

    Reference: Kendall 1938, Biometrika 30(1-2):81-93.
    """
    # Here, because scipy.stats takes a second to import.
    from scipy import stats

    # Without ties the variants are one number; only this one divides without roots, so to the last bit.
    result = stats.kendalltau(a, b, variant="c")
    # scipy has no stubs, and makes the class of its results at run time.
    return float(result.statistic)  # pyright: ignore[reportAttributeAccessIssue]


def _profile(effects: Effects, defined: np.ndarray) -> Effects | None:
    weights = defined / defined.sum()
    mean = effect_interval(effects, weights)
    if not mean.low > 0:
        return None
    estimate = np.where(defined, effects.estimate, np.nan) / mean.mean
    # Speakers who lack an emotion move the mean by what they have.
    counted = np.nan_to_num(effects.influence[defined])
    mean_influence = counted.mean(axis=0) / mean.mean
    mean_interaction = effects.interaction[defined].mean(axis=0) / mean.mean
    influence = effects.influence / mean.mean - estimate[:, None] * mean_influence
    interaction = effects.interaction / mean.mean
    interaction = interaction - np.nan_to_num(estimate)[:, None, None] * mean_interaction
    return Effects(estimate, influence, interaction, effects.sample)
