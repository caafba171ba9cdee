"""Scores and intervals against their definitions, hand-made cases and scikit-learn."""

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.analysis import scores

# Three classes; class 2 never predicted; 4 + 4 + 2 rows.
CONFUSION = np.array([[3, 1, 0], [2, 2, 0], [1, 1, 0]])
NUM_CLASSES = 4
pairs = st.lists(
    st.tuples(st.integers(0, NUM_CLASSES - 1), st.integers(0, NUM_CLASSES - 1)),
    min_size=1,
    max_size=30,
)


@pytest.fixture
def as_installed():
    """Shape checks off, as for users, so that the library's own errors are what is seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_confusion_has_the_truth_in_rows():
    confusion = scores.confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), num_classes=3)
    np.testing.assert_array_equal(confusion, [[1, 1, 0], [0, 0, 0], [0, 1, 0]])


def test_scores_of_a_worked_example():
    np.testing.assert_allclose(scores.recalls(CONFUSION), [0.75, 0.5, 0.0])
    assert scores.unweighted_accuracy(CONFUSION) == pytest.approx(1.25 / 3)
    assert scores.weighted_accuracy(CONFUSION) == pytest.approx(0.5)
    assert scores.macro_f1(CONFUSION) == pytest.approx((6 / 10 + 4 / 8 + 0) / 3)


def test_absent_class_has_no_recall_and_does_not_move_the_mean():
    confusion = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert np.isnan(scores.recalls(confusion)[2])
    assert scores.unweighted_accuracy(confusion) == pytest.approx(0.75)
    assert scores.macro_f1(confusion) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_class_that_is_only_predicted_counts_as_zero_in_f1_and_not_in_ua():
    confusion = np.array([[2, 2], [0, 0]])
    assert scores.unweighted_accuracy(confusion) == pytest.approx(0.5)
    assert scores.macro_f1(confusion) == pytest.approx((4 / 6 + 0) / 2)


@given(pairs)
def test_scores_follow_their_definitions(labels_and_predictions):
    labels, predictions = np.array(labels_and_predictions).T
    confusion = scores.confusion_matrix(labels, predictions, num_classes=NUM_CLASSES)
    right = labels == predictions
    assert confusion.sum() == len(labels)
    assert scores.weighted_accuracy(confusion) == pytest.approx(right.mean())
    per_class = [right[labels == c].mean() for c in np.unique(labels)]
    assert scores.unweighted_accuracy(confusion) == pytest.approx(np.mean(per_class))


@pytest.mark.reference
@given(pairs)
def test_scores_agree_with_scikit_learn(labels_and_predictions):
    from sklearn import metrics

    labels, predictions = np.array(labels_and_predictions).T
    confusion = scores.confusion_matrix(labels, predictions, num_classes=NUM_CLASSES)
    f1 = metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    recall = metrics.recall_score(labels, predictions, average="macro", labels=np.unique(labels))
    assert scores.macro_f1(confusion) == pytest.approx(f1)
    assert scores.unweighted_accuracy(confusion) == pytest.approx(recall)


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1], [0], "2 labels and 1"),
        ([0, 3], [0, 1], r"labels hold classes \[3\]"),
        ([0], [-1], r"\[-1\]"),
    ],
)
def test_bad_classes_are_refused(as_installed, labels, predictions, message):
    with pytest.raises(ValueError, match=message):
        scores.confusion_matrix(np.array(labels), np.array(predictions), num_classes=3)


@pytest.mark.parametrize(
    "score", [scores.unweighted_accuracy, scores.weighted_accuracy, scores.macro_f1]
)
def test_an_empty_matrix_has_no_score(score):
    with pytest.raises(ValueError, match="no row was scored"):
        score(np.zeros((3, 3), np.int64))


def test_interval_of_a_worked_example():
    """n = 5, std = sqrt(2.5); tabulated t of 4 degrees of freedom: 2.776 (95 %), 4.604 (99 %)."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    standard_error = np.sqrt(2.5 / 5)
    at_95, at_99 = scores.student_interval(values), scores.student_interval(values, level=0.99)
    assert at_95 == pytest.approx(
        (3.0, 3 - 2.7764 * standard_error, 3 + 2.7764 * standard_error, 5), rel=1e-4
    )
    assert at_99.high - 3 == pytest.approx(4.6041 * standard_error, rel=1e-4)


def test_one_unit_has_a_mean_and_no_invented_limits():
    assert scores.student_interval([0.4]) == scores.Interval(0.4, None, None, 1)


def test_limits_stay_within_the_scale():
    interval = scores.student_interval([0.9, 1.0, 0.95, 0.5], bounds=(0.0, 1.0))
    assert interval.high == 1.0
    assert 0.0 < interval.low < interval.mean


def test_intervals_cover_the_true_mean_as_often_as_they_say():
    random = np.random.default_rng(0)
    intervals = [scores.student_interval(random.normal(size=6), level=0.9) for _ in range(2000)]
    covered = np.mean([interval.low <= 0.0 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.9, abs=0.025)


@given(st.lists(st.integers(-10, 10), min_size=2, max_size=8), st.integers(-5, 5))
def test_pairs_with_one_difference_have_that_mean_and_no_interval(values, difference):
    values = np.array(values)
    interval = scores.paired_interval(values + difference, values)
    assert interval == (difference, None, None, len(values))


def test_unusable_values_are_refused(as_installed):
    with pytest.raises(ValueError, match="at least one value"):
        scores.student_interval([])
    with pytest.raises(ValueError, match="all finite"):
        scores.student_interval([0.5, float("nan")])
    with pytest.raises(ValueError, match="level is 95"):
        scores.student_interval([0.5, 0.6], level=95)
    with pytest.raises(ValueError, match="2 and 1 values"):
        scores.paired_interval([0.5, 0.6], [0.5])
