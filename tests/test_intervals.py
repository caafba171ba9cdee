"""Intervals over speakers: their equation, what they refuse, and what they cover."""

import numpy as np
import pytest
from scipy import stats

from jaxemo.analysis.intervals import (
    DIFFERENCE_INFLATION,
    FEWEST_SPEAKERS,
    SCORE_INFLATION,
    holm,
    paired_speaker_interval,
    speaker_interval,
)

VALUES = np.array([0.61, 0.72, 0.55, 0.8, 0.66])


def test_the_interval_is_students_with_its_error_inflated():
    found = speaker_interval(VALUES)
    error = SCORE_INFLATION * stats.sem(VALUES)
    low, high = stats.t.interval(0.95, 4, loc=VALUES.mean(), scale=error)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p_value == pytest.approx(2 * stats.t.sf(VALUES.mean() / error, 4))
    assert found.reason == ""


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_speakers_have_a_mean_and_the_reason_for_reason(count):
    found = speaker_interval(VALUES[:count])
    assert found.mean == pytest.approx(VALUES[:count].mean())
    assert found.low is None
    assert found.reason == f"{count} speakers; an interval needs {FEWEST_SPEAKERS}"


def test_equal_speakers_have_reason_and_no_p():
    found = speaker_interval([0.7] * 6)
    assert (found.low, found.high, found.p_value) == (None, None, None)
    assert found.reason == "no spread between 6 speakers"


def test_limits_stay_on_the_scale():
    assert speaker_interval([0.9, 1.0, 0.95, 0.5], bounds=(0.0, 1.0)).high == 1.0


def test_pairs_cancel_what_speakers_share():
    gain = np.array([0.01, 0.02, 0.03, 0.01, 0.02])
    found = paired_speaker_interval(VALUES + gain, VALUES)
    expected = speaker_interval(gain, inflation=DIFFERENCE_INFLATION)
    np.testing.assert_allclose(found[:3], expected[:3])


def test_speakers_of_unequal_skill_and_shared_training_are_covered():
    draw = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        folds = np.repeat(0.04 * draw.normal(size=6), 4)
        values = 0.7 + folds + 0.1 * draw.normal(size=24)
        found = speaker_interval(values)
        covered.append(found.low <= 0.7 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


def test_what_is_no_value_per_speaker_is_refused():
    with pytest.raises(ValueError, match="one finite value per speaker"):
        speaker_interval([])
    with pytest.raises(ValueError, match="one finite value per speaker"):
        speaker_interval([0.5, float("nan")])
    with pytest.raises(ValueError, match=r"level is 1\.5"):
        speaker_interval(VALUES, level=1.5)
    with pytest.raises(ValueError, match="same speakers in the same order"):
        paired_speaker_interval(VALUES, VALUES[:2])


def test_holm_multiplies_the_smallest_most():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
