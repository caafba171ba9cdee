"""Scores by speaker against scores of the speakers themselves and of all together."""

import numpy as np
import pytest

from jaxemo.analysis.scores import macro_f1, unweighted_accuracy, weighted_accuracy
from jaxemo.analysis.speaker_scores import confusions_by_speaker, speaker_values


def pooled(seed=0, *, speakers=5, classes=3, clips=8, balanced=True):
    """Labels, predictions and speakers; alike for all speakers, or drawn for each."""
    draw = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), classes * clips)
    labels = np.tile(np.repeat(np.arange(classes), clips), speakers)
    if not balanced:
        speaker, labels = draw.integers(0, speakers, 60), draw.integers(0, classes, 60)
    predictions = np.where(draw.random(labels.size) < 0.5, labels, draw.integers(0, classes))
    found = confusions_by_speaker(
        labels, predictions[None], speaker, num_speakers=speakers, num_classes=classes
    )
    return labels, predictions, speaker, found[0]


def test_each_speaker_has_the_confusions_of_his_or_her_rows():
    labels, predictions, speaker, found = pooled(balanced=False)
    for cell in np.ndindex(found.shape):
        rows = (speaker == cell[0]) & (labels == cell[1]) & (predictions == cell[2])
        assert found[cell] == rows.sum()


@pytest.mark.parametrize("score", [unweighted_accuracy, weighted_accuracy])
def test_with_equal_clips_the_value_is_the_speakers_own_score(score):
    *_, found = pooled()
    own = [score(one) for one in found]
    np.testing.assert_allclose(speaker_values(score, found), own, atol=1e-12)


@pytest.mark.parametrize("score", [unweighted_accuracy, weighted_accuracy, macro_f1])
def test_the_mean_of_the_values_is_the_score_of_all_rows(score):
    *_, found = pooled(balanced=False)
    assert speaker_values(score, found).mean() == pytest.approx(score(found.sum(axis=0)))


def test_speakers_of_one_emotion_each_do_not_turn_ua_into_wa():
    found = np.zeros((4, 2, 2))
    found[:3, 0, 0] = 1
    found[3, 1, 0] = 1
    assert speaker_values(unweighted_accuracy, found).mean() == pytest.approx(0.5)


def test_one_speaker_alone_has_the_score():
    *_, found = pooled(speakers=1)
    assert speaker_values(macro_f1, found).tolist() == [macro_f1(found[0])]
