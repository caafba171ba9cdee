"""Profiles of emotions: what they leave out, and when there are none."""

import numpy as np
import pytest
from test_emotion_shift import EMOTIONS, corpus, design_of

from jaxemo.analysis.emotion_effects import exchange_test
from jaxemo.analysis.emotion_profiles import difference_of_profiles, kendall_tau
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import whiten

STEPS = np.linspace(1.0, 2.4, EMOTIONS)


def effects(seed, lengths, *, noise=0.5):
    clips = corpus(seed, shift=0.0, voice=noise)
    clips["embeddings"][:, 0] += lengths[clips["emotion"]] * clips["domain"]
    design = design_of(clips)
    return shift_effects(whiten(clips["embeddings"], design), design)


def p_value(difference):
    return exchange_test(np.random.default_rng(0), difference, num_permutations=199)[1]


def test_the_scale_of_an_encoder_drops_out():
    one = effects(0, STEPS)
    scaled = one._replace(
        estimate=3 * one.estimate, influence=3 * one.influence, interaction=3 * one.interaction
    )
    difference = difference_of_profiles(one, scaled)
    np.testing.assert_allclose(difference.estimate, 0.0, atol=1e-12)
    np.testing.assert_allclose(difference.influence, 0.0, atol=1e-12)


def test_a_speaker_moves_the_difference_as_he_or_she_moves_both_ratios():
    pair, step = (effects(1, STEPS), effects(2, STEPS[::-1])), 1e-6
    before = difference_of_profiles(*pair)
    moved = [one._replace(estimate=one.estimate + step * one.influence[:, 3]) for one in pair]
    change = (difference_of_profiles(*moved).estimate - before.estimate) / step
    np.testing.assert_allclose(change, before.influence[:, 3], atol=1e-4)


def test_one_profile_is_told_from_its_reverse_and_seldom_from_itself():
    alike = [
        p_value(difference_of_profiles(effects(s, STEPS), effects(100 + s, 0.8 * STEPS)))
        for s in range(30)
    ]
    reverse = [
        p_value(difference_of_profiles(effects(s, STEPS), effects(100 + s, STEPS[::-1])))
        for s in range(10)
    ]
    assert np.mean(np.array(alike) <= 0.05) <= 0.17
    assert np.mean(np.array(reverse) <= 0.05) >= 0.8


def test_no_shift_has_no_profile():
    nothing = [effects(seed, 0 * STEPS) for seed in range(10)]
    found = [difference_of_profiles(one, effects(0, STEPS)) for one in nothing]
    assert sum(one is None for one in found) >= 8


@pytest.mark.parametrize(
    ("other", "tau"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([1, 2, 4, 3], 2 / 3)]
)
def test_kendall_tau_counts_pairs_in_order(other, tau):
    assert kendall_tau(np.arange(4.0), np.array(other, float)) == pytest.approx(tau)
