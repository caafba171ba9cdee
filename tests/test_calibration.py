"""Temperature and expected calibration error against plain numbers and planted miscalibration."""

import numpy as np
import pytest

from jaxemo.analysis.calibration import (
    HIGHEST_TEMPERATURE,
    expected_calibration_error,
    fit_temperature,
    tempered,
)


def planted(num_clips, temperature, *, seed=0):
    """Labels drawn from softmax(logits), and the probabilities softmax(temperature logits)."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (num_clips, 4))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (draw.random((num_clips, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return tempered(true, 1 / temperature), labels


@pytest.mark.parametrize("planted_temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(planted_temperature):
    probabilities, labels = planted(20_000, planted_temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(planted_temperature, rel=0.05)


def test_the_error_is_large_before_and_small_after():
    probabilities, labels = planted(20_000, 3.0)
    before = expected_calibration_error(probabilities, labels)
    after = expected_calibration_error(tempered(probabilities, 3.0), labels)
    assert before > 0.15
    assert after < 0.02


def test_the_error_is_its_sum_over_bins():
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 1])
    # Bins of 1/15: 0.9 and 0.92 share (13/15, 14/15]; 0.6 lies in (8/15, 9/15], 0.7 in (10/15, 11/15].
    expected = (abs(1 - 0.9 - 0.92) + abs(1 - 0.6) + abs(1 - 0.7)) / 4
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_a_temperature_changes_no_answer_and_no_sum():
    probabilities, _ = planted(100, 1.0)
    changed = tempered(probabilities, 7.0)
    np.testing.assert_array_equal(changed.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    np.testing.assert_allclose(tempered(probabilities, 1.0), probabilities, rtol=1e-12)


def test_probabilities_that_underflowed_stay_finite():
    assert np.isfinite(tempered(np.array([[1.0, 0.0]], np.float32), 0.05)).all()


def test_a_model_that_is_always_wrong_is_bounded():
    probabilities = np.tile([0.99, 0.01], (8, 1))
    found = fit_temperature(probabilities, np.ones(8, int))
    assert found == pytest.approx(HIGHEST_TEMPERATURE, rel=0.01)


def test_no_clips_are_refused():
    with pytest.raises(ValueError, match="no clips to calibrate on"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
