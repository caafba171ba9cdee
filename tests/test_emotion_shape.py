"""Emotion shape against its equation, and on corpora whose covariances are known."""

import numpy as np
import pytest
from test_emotion_shift import EMOTIONS, corpus, design_of

from jaxemo import emotion_shift
from jaxemo.analysis.emotion_shape import shape_effects
from jaxemo.analysis.emotion_whitening import whiten


def spread_corpus(seed, *, wider, **options):
    """Music of emotion 0 spreads `wider` than its speech in every direction."""
    clips = corpus(seed, voice=0.0, clips=4, **options)
    there = (clips["domain"] == 1) & (clips["emotion"] == 0)
    clips["embeddings"][there] *= wider
    return clips


def test_the_shape_is_the_mean_product_of_different_speakers_covariance_differences():
    clips = spread_corpus(0, speakers=4, wider=1.5)
    design = design_of(clips)
    whitened = whiten(clips["embeddings"], design)
    cells = [(1 * EMOTIONS + 2) * 4 + np.arange(4), (0 * EMOTIONS + 2) * 4 + np.arange(4)]
    differences = []
    for music, speech in zip(*cells, strict=True):
        rows = [whitened.noise.rows[whitened.noise.cell == cell] for cell in (music, speech)]
        differences.append(rows[0].T @ rows[0] / 3 - rows[1].T @ rows[1] / 3)
    pairs = [
        np.trace(differences[s] @ differences[t]) for s in range(4) for t in range(4) if s != t
    ]
    found = shape_effects(whitened, design)
    assert found.estimate[2] == pytest.approx(np.mean(pairs) / 4, rel=1e-9)


@pytest.mark.parametrize("speakers", [8, 24])
def test_a_wider_emotion_has_a_shape_and_the_others_have_none(speakers):
    found = [
        emotion_shift(**spread_corpus(seed, wider=1.3, speakers=speakers, d=6))
        for seed in range(24)
    ]
    means = np.mean([one.shape for one in found], axis=0)
    pooled = 1 + (1.3**2 - 1) / (2 * EMOTIONS)
    assert means[0] == pytest.approx(((1.3**2 - 1) / pooled) ** 2 * 6 / 4, rel=0.25)
    assert abs(means[1:].mean()) < 0.08


def test_shape_and_shift_are_told_apart():
    wide = [emotion_shift(**spread_corpus(seed, wider=1.6, d=6)) for seed in range(12)]
    shifted = [
        emotion_shift(**corpus(seed, extra=2.5, voice=0.2, clips=4, d=6)) for seed in range(12)
    ]
    assert np.mean([one.shape_p_value <= 0.05 for one in wide]) >= 0.8
    assert np.mean([one.shape_p_value <= 0.05 for one in shifted]) <= 0.2
    assert np.mean([one.p_value <= 0.05 for one in shifted]) >= 0.8


def test_single_clips_have_no_shape():
    found = emotion_shift(**corpus(0, clips=1))
    assert np.isnan(found.shape).all()
    assert np.isnan(found.shape_p_value)
