"""Emotion bias against the long way round, and what its tests say of corpora made to order."""

import numpy as np
import pytest

from jaxemo.analysis.design import Design
from jaxemo.analysis.emotion_bias import (
    draw_halvings,
    emotion_bias,
    emotions_differ,
)
from jaxemo.analysis.resampling import jackknife_interval

EMOTIONS, CLIPS, FRAMES = 5, 2, 4


def corpus(seed, *, speakers=12, width=3, planted=1.0):
    """Frames of a corpus whose emotions differ in level and scale and not in cross / null.

    A voice shared by both domains, a voice of each cell's own, clips and frames spread about a shift
    between the domains; `planted` multiplies the shift of emotion 0.
    """
    draw = np.random.default_rng(seed)
    axes = (np.arange(n) for n in (2, EMOTIONS, speakers, CLIPS))
    domain, emotion, speaker, _ = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    shift = np.zeros((2, EMOTIONS, width))
    shift[1, :, 0] = 1.5
    shift[1, 0, 0] *= planted
    x = shift[domain, emotion] + 0.5 * draw.normal(size=(speakers, width))[speaker]
    x += 0.5 * draw.normal(size=(2, EMOTIONS, speakers, width))[domain, emotion, speaker]
    x += 0.5 * draw.normal(size=x.shape)
    frames = x[:, None] + draw.normal(size=(len(x), FRAMES, width))
    scale = np.exp(draw.normal(size=(EMOTIONS, 1, 1)))[emotion]
    level = 5 * draw.normal(size=(EMOTIONS, 1, width))[emotion]
    design = Design(domain, emotion, speaker, EMOTIONS, speakers)
    return level + scale * frames, np.ones(frames.shape[:2], bool), design


def biased(seed, *, num_halvings=4, **options):
    rows, mask, design = corpus(seed, **options)
    halvings = draw_halvings(np.random.default_rng(seed), design, num_halvings=num_halvings)
    return emotion_bias(rows, mask, design, halvings)


def distance(x, y):
    """Frechet distance by the nuclear norm of the centred samples' product."""
    a, b = ((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1) for rows in (x, y))
    nuclear_norm = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return shift + (a**2).sum() + (b**2).sum() - 2 * nuclear_norm


def the_long_way_round(rows, mask, design, halvings, emotion, left_out=None):
    """The equation of the module, one set of rows at a time."""
    cross, null = [], []
    for halving in halvings:
        sets = {}
        for domain in range(2):
            for half in range(2):
                clips = halving.clips
                here = (design.domain[clips] == domain) & (design.emotion[clips] == emotion)
                here &= halving.half_of_speaker[design.speaker[clips]] == half
                here &= design.speaker[clips] != left_out
                sets[domain, half] = rows[clips[here]][mask[clips[here]]]
        pairs = [((0, 0), (1, 1)), ((0, 1), (1, 0)), ((0, 0), (0, 1)), ((1, 0), (1, 1))]
        four = [distance(sets[a], sets[b]) for a, b in pairs]
        cross.append(np.mean(four[:2]))
        null.append(np.mean(four[2:]))
    return np.log(np.mean(cross) / np.mean(null))


def test_bias_and_influence_are_those_of_the_long_way_round():
    rows, mask, design = corpus(0, speakers=5)
    mask[::3, -1] = False
    halvings = draw_halvings(np.random.default_rng(0), design, num_halvings=2)
    found = emotion_bias(rows, mask, design, halvings)
    for emotion in (0, 3):
        whole = the_long_way_round(rows, mask, design, halvings, emotion)
        without = np.array(
            [the_long_way_round(rows, mask, design, halvings, emotion, s) for s in range(5)]
        )
        np.testing.assert_allclose(found.estimate[emotion], whole, rtol=1e-6)
        np.testing.assert_allclose(
            found.influence[emotion], 4 * (without.mean() - without), atol=1e-5
        )


def test_scale_and_level_of_an_emotion_do_not_change_its_bias():
    rows, mask, design = corpus(1)
    halvings = draw_halvings(np.random.default_rng(0), design, num_halvings=2)
    changed = rows.copy()
    changed[design.emotion == 2] = 100 * changed[design.emotion == 2] - 30
    np.testing.assert_allclose(
        emotion_bias(changed, mask, design, halvings).estimate,
        emotion_bias(rows, mask, design, halvings).estimate,
        rtol=1e-6,
    )


def test_halvings_are_disjoint_even_and_equal_in_clips():
    _, _, design = corpus(0, speakers=9)
    keep = (design.emotion != 1) | (np.arange(len(design.emotion)) % CLIPS == 0)
    thinned = Design(*(field[keep] for field in design[:3]), EMOTIONS, 9)
    for halving in draw_halvings(np.random.default_rng(0), thinned, num_halvings=6):
        assert abs(2 * halving.half_of_speaker.sum() - 9) <= 1
        clips = halving.clips
        half = halving.half_of_speaker[thinned.speaker[clips]]
        cells = np.stack([thinned.domain[clips], thinned.emotion[clips], half])
        sets, counts = np.unique(cells, axis=1, return_counts=True)
        assert sets.shape[1] == 4 * EMOTIONS
        assert len(set(counts)) == 1


def test_neighbours_stay_together_so_that_alternating_sexes_are_balanced():
    _, _, design = corpus(0, speakers=8)
    for halving in draw_halvings(np.random.default_rng(0), design, num_halvings=6):
        assert (halving.half_of_speaker[::2] == halving.half_of_speaker[1::2]).all()


# Sixty corpora of 12 speakers; 4 halvings of them take a second or two.
SEEDS = range(60)


def test_equal_emotions_are_told_apart_no_more_often_than_chance_allows():
    p_values = []
    for seed in SEEDS:
        found = biased(seed)
        test = emotions_differ(
            np.random.default_rng(seed), found.estimate, found.influence, num_permutations=199
        )
        p_values.append(test.p_value)
    p_values = np.array(p_values)
    # The jackknife errs on the side of caution: 1 to 3 % were rejected of 100 corpora.
    assert (p_values <= 0.05).mean() <= 0.10
    assert 0.35 < np.median(p_values) < 0.8


def test_a_planted_emotion_is_found_and_ranks_last():
    found = [biased(seed, planted=2.5) for seed in SEEDS[:12]]
    p_values = [
        emotions_differ(
            np.random.default_rng(0), one.estimate, one.influence, num_permutations=199
        ).p_value
        for one in found
    ]
    assert np.median(p_values) < 0.05
    assert all(one.estimate.argmax() == 0 for one in found)


def test_intervals_cover_the_value_of_many_speakers():
    truth = np.mean([biased(100 + seed, speakers=12).estimate for seed in range(40)])
    covered = []
    for seed in SEEDS[:30]:
        found = biased(seed)
        for estimate, influence in zip(found.estimate, found.influence, strict=True):
            interval = jackknife_interval(estimate, influence)
            covered.append(interval.low <= truth <= interval.high)
    assert 0.88 <= np.mean(covered) <= 1.0


def test_one_encoder_against_itself_does_not_differ_and_against_a_planted_one_does():
    plain, planted = biased(0), biased(0, planted=3.0)
    random = np.random.default_rng(0)
    zero = plain.estimate - plain.estimate, plain.influence - plain.influence
    assert emotions_differ(random, *zero, num_permutations=99).p_value == 1.0
    gap = plain.estimate - planted.estimate, plain.influence - planted.influence
    assert emotions_differ(random, *gap, num_permutations=199).p_value <= 0.05


def test_an_emotion_that_a_half_lacks_is_undefined_and_leaves_the_others_alone():
    rows, mask, design = corpus(2)
    keep = (design.emotion != 4) | (design.domain == 0)
    thinned = Design(*(field[keep] for field in design[:3]), EMOTIONS, 12)
    halvings = draw_halvings(np.random.default_rng(0), thinned, num_halvings=2)
    found = emotion_bias(rows[keep], mask[keep], thinned, halvings)
    assert np.isnan(found.estimate[4])
    assert np.isnan(found.influence[4]).all()
    assert np.isfinite(found.estimate[:4]).all()
    assert np.isfinite(found.influence[:4]).all()
