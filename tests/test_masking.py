"""Span masks: how much is masked, where, and what cannot change it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.pretraining.masking import MaskSettings, span_mask

WAV2VEC2 = MaskSettings(start_probability=0.065, span_frames=10)
MASK = jax.jit(span_mask, static_argnums=2)


SHORT = (1, 2, 3, 9, 19, 40, 90, 0)


def frames(*lengths, width=None):
    return jnp.arange(width or max(lengths)) < jnp.array(lengths)[:, None]


def run_lengths(row):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.fixture(scope="module")
def long_clips():
    """Masks of 32 clips of 750 frames (15 s) under wav2vec 2.0's settings."""
    return np.asarray(MASK(jax.random.key(0), frames(*[750] * 32), WAV2VEC2))


def test_the_masked_share_is_the_published_49_percent(long_clips):
    assert long_clips.mean() == pytest.approx(0.49, abs=0.015)


def test_the_mean_run_has_the_published_14_point_7_frames(long_clips):
    assert np.concatenate([run_lengths(row) for row in long_clips]).mean() == pytest.approx(
        14.7, abs=0.5
    )


def test_no_run_is_shorter_than_a_span(long_clips):
    assert min(run_lengths(row).min() for row in long_clips) == WAV2VEC2.span_frames


def test_clips_differ_in_their_masks(long_clips):
    assert len({row.tobytes() for row in long_clips}) == len(long_clips)


@pytest.fixture(scope="module")
def short_clips():
    """Masks of clips of 1 to 90 frames and of none, under eight keys."""
    few = WAV2VEC2._replace(start_probability=0.01)
    return np.stack([MASK(jax.random.key(n), frames(*SHORT), few) for n in range(8)])


def test_every_clip_has_a_masked_frame(short_clips):
    assert short_clips[:, :7].any(axis=2).all()


def test_clips_of_two_frames_or_more_keep_one_to_see(short_clips):
    assert not (short_clips | ~np.asarray(frames(*SHORT)))[:, 1:7].all(axis=2).any()


def test_padding_is_never_masked(short_clips):
    assert not (short_clips & ~np.asarray(frames(*SHORT))).any()


def test_more_padding_changes_no_mask():
    narrow = MASK(jax.random.key(3), frames(*SHORT), WAV2VEC2)
    wide = MASK(jax.random.key(3), frames(*SHORT, width=128), WAV2VEC2)
    np.testing.assert_array_equal(narrow, wide[:, :90])


def test_another_key_gives_another_mask():
    one, other = (MASK(jax.random.key(seed), frames(*SHORT), WAV2VEC2) for seed in (1, 2))
    assert (one != other).any()


def test_starts_are_uniform_over_the_clip():
    single = MaskSettings(start_probability=1e-6, span_frames=1)
    counts = MASK(jax.random.key(0), frames(*[20] * 4000), single).sum(axis=0)
    # 200 in each; six standard deviations.
    assert abs(np.asarray(counts) - 200).max() < 6 * np.sqrt(200)
