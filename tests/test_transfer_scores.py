"""Scores whose unit is the speaker, against plain numbers."""

import numpy as np
import pytest

from jaxemo.analysis.intervals import paired_speaker_interval, speaker_interval
from jaxemo.analysis.power import detectable_mean
from jaxemo.studies.held_out import HeldOut
from jaxemo.studies.transfer_scores import gain_figures, pool_by_speaker, score_figures

EMOTIONS = ("calm", "happy", "sad")


def answers(*speakers: tuple[str, list[list[int]]]) -> HeldOut:
    return HeldOut(tuple(name for name, _ in speakers), np.array([m for _, m in speakers]))


def one_seed(right: dict[str, tuple[int, int]]) -> list[HeldOut]:
    """One fold per speaker, who has four calm and four happy clips, so many of them right."""
    return [
        answers((name, [[calm, 4 - calm, 0], [4 - happy, happy, 0], [0, 0, 0]]))
        for name, (calm, happy) in right.items()
    ]


FIRST = {"a": (4, 2), "b": (3, 3), "c": (1, 4), "d": (4, 4), "e": (2, 1)}
SECOND = {"a": (2, 2), "b": (3, 1), "c": (1, 4), "d": (4, 3), "e": (0, 1)}


def ua(right):
    return np.array([(calm / 4 + happy / 4) / 2 for calm, happy in right.values()])


def figure(rows, metric, emotion="all"):
    [found] = [row for row in rows if (row["metric"], row["emotion"]) == (metric, emotion)]
    return found


def test_a_score_of_balanced_speakers_is_their_mean_each_the_mean_of_seeds():
    rows = score_figures(pool_by_speaker({0: one_seed(FIRST), 1: one_seed(SECOND)}), EMOTIONS)
    found = figure(rows, "UA")
    expected = speaker_interval((ua(FIRST) + ua(SECOND)) / 2, bounds=(0.0, 1.0))
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(expected[:3])
    assert found["speakers"] == 5
    means = [ua(FIRST).mean(), ua(SECOND).mean()]
    assert found["seed_spread"] == pytest.approx(np.std(means, ddof=1))


def test_an_emotion_that_no_speaker_has_gets_no_row():
    rows = score_figures(pool_by_speaker({0: one_seed(FIRST)}), EMOTIONS)
    assert [row["emotion"] for row in rows if row["metric"] == "recall"] == ["calm", "happy"]


def test_a_speaker_without_an_emotion_counts_for_the_others():
    lacking = answers(("f", [[3, 1, 0], [0, 0, 0], [0, 0, 0]]))
    rows = score_figures(pool_by_speaker({0: [*one_seed(FIRST), lacking]}), EMOTIONS)
    assert figure(rows, "recall", "happy")["speakers"] == 5
    assert figure(rows, "UA")["mean"] == pytest.approx((17 / 24 + 14 / 20) / 2)


def test_one_seed_has_no_spread_over_seeds():
    rows = score_figures(pool_by_speaker({0: one_seed(FIRST)}), EMOTIONS)
    assert figure(rows, "UA")["seed_spread"] is None


def test_a_speaker_in_two_folds_of_one_seed_counts_once():
    twice = pool_by_speaker({0: [*one_seed(FIRST), *one_seed(SECOND)]})
    assert twice.speakers == ("a", "b", "c", "d", "e")
    assert figure(score_figures(twice, EMOTIONS), "UA")["mean"] == pytest.approx(
        (ua(FIRST) + ua(SECOND)).mean() / 2
    )


def test_clips_are_counted_once_whatever_the_seeds():
    assert pool_by_speaker({0: one_seed(FIRST), 1: one_seed(SECOND)}).num_clips == 40


def test_macro_f1_is_of_all_clips_with_an_interval_over_speakers():
    found = figure(score_figures(pool_by_speaker({0: one_seed(FIRST)}), EMOTIONS), "macro_F1")
    right_calm, right_happy, wrong_calm, wrong_happy = 14, 14, 6, 6
    calm = 2 * right_calm / (20 + right_calm + wrong_happy)
    happy = 2 * right_happy / (20 + right_happy + wrong_calm)
    assert found["mean"] == pytest.approx((calm + happy) / 2)
    assert found["low"] < found["mean"] < found["high"] and found["reason"] == ""


def test_gains_are_paired_by_speaker_with_their_p():
    ours, theirs = (pool_by_speaker({0: one_seed(right)}) for right in (FIRST, SECOND))
    rows = gain_figures(ours, theirs, EMOTIONS)
    found = figure(rows, "UA_gain")
    expected = paired_speaker_interval(ua(FIRST), ua(SECOND))
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(expected[:3])
    assert found["p_value"] == pytest.approx(expected.p_value)
    calm = [(FIRST[name][0] - SECOND[name][0]) / 4 for name in FIRST]
    assert figure(rows, "recall_gain", "calm")["mean"] == pytest.approx(np.mean(calm))


def test_speakers_of_one_side_alone_take_no_part_in_a_gain():
    theirs = pool_by_speaker({0: one_seed({name: SECOND[name] for name in "abcd"})})
    found = figure(gain_figures(pool_by_speaker({0: one_seed(FIRST)}), theirs, EMOTIONS), "UA_gain")
    assert found["speakers"] == 4
    assert found["mean"] == pytest.approx((ua(FIRST) - ua(SECOND))[:4].mean())


def test_equal_gains_have_a_reason_and_reason():
    pooled = pool_by_speaker({0: one_seed(FIRST)})
    found = figure(gain_figures(pooled, pooled, EMOTIONS), "UA_gain")
    assert (found["low"], found["high"], found["p_value"]) == (None, None, None)
    assert found["reason"] == "no spread between 5 speakers"


def test_an_effect_of_the_detectable_size_is_found_in_four_of_five_studies():
    draw = np.random.default_rng(0)
    gains = 0.1 * draw.normal(size=(4000, 24))
    error = gains.std(axis=1, ddof=1) / np.sqrt(24)
    quantile = 2.0687  # Student's t at .975 with 23 degrees of freedom.
    size = detectable_mean(
        low=-quantile * 0.1 / np.sqrt(24), high=quantile * 0.1 / np.sqrt(24), n=24
    )
    found = np.abs(gains.mean(axis=1) + size) > quantile * error
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


@pytest.mark.parametrize("options", [{"n": 1}, {"power": 1.0}, {"high": 0.0}])
def test_power_of_what_has_no_width_is_refused(options):
    with pytest.raises(ValueError, match="expected low < high"):
        detectable_mean(**({"low": 0.0, "high": 0.1, "n": 8} | options))
