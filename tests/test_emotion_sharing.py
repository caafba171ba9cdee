"""Shared emotion against its equation, and on corpora whose domains share emotions or do not."""

import numpy as np
import pytest
from test_emotion_shift import EMOTIONS, corpus, design_of, kept

from jaxemo.analysis.emotion_effects import effect_interval
from jaxemo.analysis.emotion_sharing import (
    advantage_test,
    cross_emotion_effects,
    diagonal_advantage,
)
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import whiten

EVERYWHERE = np.full(EMOTIONS, 1 / EMOTIONS)


def emotional(seed, *, shared, own=0.0, **options):
    """Emotions have a pattern that both domains share, and one that music alone has."""
    clips = corpus(seed, **options)
    draw = np.random.default_rng(1000 + seed)
    patterns = draw.normal(size=(2, EMOTIONS, clips["embeddings"].shape[1]))
    both, music = (pattern[clips["emotion"]] for pattern in patterns)
    clips["embeddings"] += shared * both + own * clips["domain"][:, None] * music
    return clips


def read(clips):
    design = design_of(clips)
    return whiten(clips["embeddings"], design), design


def p_value(clips, permutations=199):
    found = diagonal_advantage(*read(clips))
    return advantage_test(np.random.default_rng(0), found, num_permutations=permutations)[1]


@pytest.mark.parametrize("paired", [True, False])
def test_the_advantage_is_what_the_rest_of_the_matrix_has_over_its_diagonal(paired):
    clips = emotional(0, shared=0.5, speakers=8)
    if not paired:
        clips = kept(clips, clips["speaker"] % 2 == clips["domain"])
    whitened, design = read(clips)
    matrix = np.stack([row.estimate for row in cross_emotion_effects(whitened, design)])
    rest = matrix[~np.eye(EMOTIONS, dtype=bool)].mean()
    found = diagonal_advantage(whitened, design)
    expected = rest - np.diag(matrix).mean()
    assert found.effects.estimate.mean() == pytest.approx(expected, rel=1e-9)
    observed, _ = advantage_test(np.random.default_rng(0), found, num_permutations=9)
    assert observed == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(np.diag(matrix), shift_effects(whitened, design).estimate)


def test_a_distance_of_two_emotions_is_the_mean_product_of_different_speakers():
    clips = corpus(3, speakers=4)
    whitened, design = read(clips)

    def mean(domain, emotion, speaker):
        cell = (design.domain == domain) & (design.emotion == emotion)
        return whitened.clips[cell & (design.speaker == speaker)].mean(axis=0)

    d = np.stack([mean(1, 4, s) - mean(0, 2, s) for s in range(4)])
    pairs = [d[s] @ d[t] for s in range(4) for t in range(4) if s != t]
    found = cross_emotion_effects(whitened, design)[2].estimate[4]
    assert found == pytest.approx(np.mean(pairs), rel=1e-9)


def test_a_shared_pattern_is_found_and_its_size_is_unbiased():
    seeds = range(8)
    assert np.mean([p_value(emotional(seed, shared=0.4)) <= 0.05 for seed in seeds]) == 1.0
    sizes = []
    for seed in range(24):
        clips = emotional(seed, shared=0.6, voice=0.2, speakers=8)
        pattern = np.random.default_rng(1000 + seed).normal(size=(2, EMOTIONS, 8))[0]
        truth = 2 / (EMOTIONS - 1) * 0.36 * ((pattern - pattern.mean(axis=0)) ** 2).sum()
        sizes.append(diagonal_advantage(*read(clips)).effects.estimate.mean() / truth)
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.1)


def test_domains_without_a_shared_pattern_are_seldom_called_sharing():
    found = [p_value(emotional(seed, shared=0.0), permutations=99) for seed in range(60)]
    assert np.mean(np.array(found) <= 0.05) <= 0.12


def test_the_interval_covers_nothing_where_nothing_is_shared():
    held = []
    for seed in range(60):
        found = diagonal_advantage(*read(emotional(seed, shared=0.0)))
        interval = effect_interval(found.effects, EVERYWHERE)
        held.append(interval.low <= 0 <= interval.high)
    assert np.mean(held) >= 0.88


def test_emotions_of_one_domain_are_unknown_and_the_others_are_compared_without_them():
    clips = emotional(1, shared=0.5, speakers=8)
    fewer = kept(clips, (clips["domain"] == 0) | (clips["emotion"] != 1))
    found = diagonal_advantage(*read(fewer)).effects
    assert np.flatnonzero(np.isnan(found.estimate)).tolist() == [1]
    # Speakers who lack an emotion of both domains do not count.
    lacking = kept(clips, (clips["speaker"] > 1) | (clips["emotion"] != 2))
    assert (diagonal_advantage(*read(lacking)).effects.sample < 0).sum() == 2


def test_speakers_of_one_emotion_each_have_no_advantage():
    clips = corpus(0, speakers=12)
    alone = kept(clips, clips["speaker"] % EMOTIONS == clips["emotion"])
    assert diagonal_advantage(*read(alone)) is None
