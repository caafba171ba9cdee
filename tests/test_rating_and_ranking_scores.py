"""Mergeable scores against scikit-learn and numpy's formulas, with ties, weights of 0 and absent tags."""

import functools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.analysis import ranking_scores, rating_scores, scores

TOLERANCE = 1e-6
seeds = st.integers(0, 2**32 - 1)


def in_parts(draw, num_rows):
    """Rows dealt out to three parts, of which one may be empty."""
    part = draw.integers(0, 3, num_rows)
    return [np.flatnonzero(part == number) for number in range(3)]


def drawn_ratings(seed):
    """(truth, prediction, weight) with weights of 0, some of whose rows hold NaN; a large offset."""
    draw = np.random.default_rng(seed)
    num_rows = int(draw.integers(4, 40))
    truth, prediction = draw.normal(size=(2, num_rows, 3)) + draw.choice([0, 1e3])
    weight = draw.integers(0, 4, num_rows).astype(float)
    weight[:3] = 1, 2, 0
    prediction[2] = np.nan
    return draw, truth, prediction, weight


@given(seeds)
def test_rating_scores_are_those_of_scikit_learn_and_numpy(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw, truth, prediction, weight = drawn_ratings(seed)
    parts = [
        rating_scores.rating_moments(truth[rows], prediction[rows], weight=weight[rows])
        for rows in in_parts(draw, len(truth))
    ]
    merged = functools.reduce(rating_scores.merge_moments, parts)
    kept = weight > 0
    t, p, w = truth[kept], prediction[kept], weight[kept]
    expected = metrics.r2_score(t, p, sample_weight=w, multioutput="raw_values")
    np.testing.assert_allclose(
        rating_scores.explained_variance(merged), expected, rtol=TOLERANCE, atol=TOLERANCE
    )
    repeated_t, repeated_p = (np.repeat(side, w.astype(int), axis=0) for side in (t, p))
    pearson = [np.corrcoef(repeated_t[:, k], repeated_p[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(rating_scores.pearson_correlation(merged), pearson, atol=TOLERANCE)
    covariance = ((repeated_t - repeated_t.mean(0)) * (repeated_p - repeated_p.mean(0))).mean(0)
    spread = repeated_t.var(0) + repeated_p.var(0)
    lin = 2 * covariance / (spread + (repeated_t.mean(0) - repeated_p.mean(0)) ** 2)
    np.testing.assert_allclose(rating_scores.concordance_correlation(merged), lin, atol=TOLERANCE)


def test_constant_ratings_have_the_scores_that_are_defined():
    constant, varied = np.full((4, 1), 0.25), np.array([[0.0], [0.5], [0.0], [0.5]])
    never = rating_scores.rating_moments(constant, constant)
    assert all(np.isnan(score(never)).all() for score in rating_scores.RATING_SCORES.values())
    guessed = rating_scores.rating_moments(varied, constant)
    assert rating_scores.concordance_correlation(guessed) == 0
    assert rating_scores.explained_variance(guessed) == 0
    assert np.isnan(rating_scores.pearson_correlation(guessed))


def test_ratings_that_are_not_finite_are_refused_by_their_row():
    with pytest.raises(ValueError, match=r"rows \[1\]"):
        rating_scores.rating_moments(np.zeros((3, 1)), np.array([[0.0], [np.inf], [0.0]]))


def drawn_tags(seed):
    """(truth, scores, weight): few different scores, so many ties; weights of 0."""
    draw = np.random.default_rng(seed)
    num_rows = int(draw.integers(4, 40))
    truth = draw.integers(0, 2, num_rows)
    truth[:2] = 0, 1
    weight = draw.integers(0, 3, num_rows).astype(float)
    weight[:2] = 1
    return draw, truth, draw.integers(0, 8, num_rows) / 7, weight


@given(seeds)
def test_areas_under_curves_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw, truth, given_scores, weight = drawn_tags(seed)
    parts = [
        ranking_scores.rank_scores(truth[rows], given_scores[rows], weight=weight[rows])
        for rows in in_parts(draw, len(truth))
    ]
    merged = functools.reduce(ranking_scores.merge_rankings, parts)
    expected = metrics.roc_auc_score(truth, given_scores, sample_weight=weight)
    assert ranking_scores.roc_auc(merged) == pytest.approx(expected, abs=TOLERANCE)
    expected = metrics.average_precision_score(truth, given_scores, sample_weight=weight)
    assert ranking_scores.pr_auc(merged) == pytest.approx(expected, abs=TOLERANCE)


def test_a_tag_that_nobody_has_has_no_areas():
    nobody = ranking_scores.rank_scores(np.zeros(3, int), np.array([0.1, 0.2, 0.2]))
    assert np.isnan(ranking_scores.roc_auc(nobody))
    assert np.isnan(ranking_scores.pr_auc(nobody))
    everybody = ranking_scores.rank_scores(np.ones(3, int), np.array([0.1, 0.2, 0.2]))
    assert np.isnan(ranking_scores.roc_auc(everybody))
    assert ranking_scores.pr_auc(everybody) == 1.0


@given(seeds)
def test_class_scores_are_those_of_scikit_learn_from_matrices_of_parts(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    labels, predictions = draw.integers(0, draw.integers(2, 6), size=(2, 30))
    merged = np.sum(
        [
            scores.confusion_matrix(labels[rows], predictions[rows], num_classes=6)
            for rows in in_parts(draw, 30)
        ],
        axis=0,
    )
    with warnings.catch_warnings():
        # A class that is only predicted, of which scikit-learn says that it has no recall.
        warnings.simplefilter("ignore", UserWarning)
        expected = metrics.balanced_accuracy_score(labels, predictions)
    assert scores.unweighted_accuracy(merged) == pytest.approx(expected, abs=TOLERANCE)
    expected = metrics.accuracy_score(labels, predictions)
    assert scores.weighted_accuracy(merged) == pytest.approx(expected, abs=TOLERANCE)
    expected = metrics.f1_score(labels, predictions, average="macro")
    assert scores.macro_f1(merged) == pytest.approx(expected, abs=TOLERANCE)
