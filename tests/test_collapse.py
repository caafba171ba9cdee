"""Figures of collapse against their definitions, and when they stop a run."""

import numpy as np
import pytest

from jaxemo.pretraining.collapse import Collapse, Health, HiddenUse, check_health, health
from jaxemo.pretraining.objectives.objective import CodeUse, no_codes

SOUND = Health(
    target_codes=50.0, predicted_codes=20.0, target_entropy=4.0, entropy=2.0, hidden_spread=0.5
)


def hidden(rows):
    rows = np.asarray(rows, np.float64)
    return HiddenUse(rows.sum(axis=0), (rows**2).sum(axis=0), np.float64(len(rows)))


def codes(target, predicted):
    return CodeUse(np.array([target]), np.array([predicted]), np.float64(12.0))


def test_codes_in_use_are_the_exponential_of_the_entropy():
    figures = health(codes([3.0, 3, 3, 0], [9.0, 0, 0, 0]), hidden(np.eye(2)), 9.0)
    assert (figures.target_codes, figures.predicted_codes) == pytest.approx((3.0, 1.0))


def test_the_entropy_of_target_frequencies_is_in_nats():
    figures = health(codes([3.0, 3, 3, 0], [9.0, 0, 0, 0]), hidden(np.eye(2)), 9.0)
    assert figures.target_entropy == pytest.approx(np.log(3))


def test_the_spread_is_the_root_of_the_share_that_varies():
    rows = np.random.default_rng(0).standard_normal((100, 5)) + 2
    expected = np.sqrt(rows.var(axis=0).mean() / (rows**2).mean())
    assert health(no_codes(), hidden(rows), 9.0).hidden_spread == pytest.approx(expected)


def test_equal_rows_have_no_spread():
    assert health(no_codes(), hidden(np.ones((10, 5))), 9.0).hidden_spread == 0.0


def test_an_objective_without_codes_reports_none():
    assert health(no_codes(), hidden(np.eye(2)), 9.0).target_codes == 0.0


@pytest.mark.parametrize(
    ("change", "step", "words"),
    [
        ({"target_codes": 1.2}, 10, "targets use 1.20 codes"),
        ({"predicted_codes": 1.1}, 200, "lower config.pretrain.learning_rate"),
        ({"hidden_spread": 0.01}, 200, "hidden states differ between frames by 1.00 %"),
    ],
)
def test_a_collapsed_run_stops_with_advice(change, step, words):
    with pytest.raises(Collapse, match=rf"collapsed by step {step}: .*{words}"):
        check_health(SOUND._replace(**change), step=step, settled_step=100)


@pytest.mark.parametrize("change", [{}, {"predicted_codes": 1.1}, {"hidden_spread": 0.01}])
def test_a_run_that_has_just_begun_goes_on(change):
    assert check_health(SOUND._replace(**change), step=10, settled_step=100) is None
