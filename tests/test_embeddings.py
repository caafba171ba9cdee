"""One pass over a corpus against the long way round, clip by clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.data.audio import Excerpt, Extent, centre_crop, standardise
from jaxemo.data.augmentation import Draw
from jaxemo.distances.statistics import FrechetStatistics, covariance, unpack
from jaxemo.embedding.collectors import Cells
from jaxemo.embedding.frames import FrameSample, sampled_positions
from jaxemo.embedding.hand_made import HAND_MADE, embed_hand_made
from jaxemo.embedding.passes import row_mesh
from jaxemo.embedding.stream import Clips, Settings, Wanted, embed_clips
from jaxemo.models.pretrained import load_encoder
from jaxemo.models.windows import encode_windows

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("embeddings")

RATE_HZ = 16_000
CROP_SECONDS = 0.25
MIDDLE = Excerpt(Extent.MIDDLE, CROP_SECONDS)
CELLS = np.array([1, 0, 1, 1, 0, 3, 1])
# A clip beside others in a batch differs from the clip alone by rounding.
BATCH_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("untrained/speech")


@pytest.fixture(scope="module")
def clips():
    generator = np.random.default_rng(0)
    lengths = [3000, 4000, 5000, 4001, 1200, 8000, 2500]
    return [generator.normal(size=n).astype(np.float32) for n in lengths]


@pytest.fixture(scope="module")
def alone(encoder, clips):
    """(stem features, hidden states) of each clip by itself, valid frames only."""
    outputs = []
    for clip in clips:
        waveform = standardise(centre_crop(clip, num_samples=4000))[None]
        num_samples = jnp.array([waveform.shape[1]])
        stem = encoder.module.apply(
            {"params": encoder.params}, jnp.asarray(waveform), num_samples, method="stem"
        )
        outputs.append((stem.features[0], encoder(waveform, num_samples).hidden_states[:, 0]))
    return outputs


def corpus_of(clips, excerpt=MIDDLE):
    digests = tuple(f"{index:064x}" for index in range(len(clips)))
    lengths = np.array([clip.size for clip in clips])
    return Clips(digests, clips.__getitem__, lengths, RATE_HZ, excerpt)


EVERYTHING = Wanted(stem=True, layers=(1,), cells=Cells(CELLS, 4), frames_per_clip=4)


def embed(
    encoder, corpus, wanted=EVERYTHING, *, devices=1, cache_dir=None, batch_size=3, **options
):
    settings = Settings(batch_size, **options)
    return embed_clips(
        encoder,
        corpus,
        wanted,
        settings,
        cache_dir=cache_dir,
        mesh=row_mesh(jax.devices()[:devices]),
    )


@pytest.fixture(scope="module")
def embedding(encoder, clips):
    return embed(encoder, corpus_of(clips))


def test_pooled_layers_are_each_clips_own_means(embedding, alone):
    for row, (_, hidden_states) in enumerate(alone):
        np.testing.assert_allclose(
            embedding.pooled[row], hidden_states.mean(axis=1), atol=BATCH_TOLERANCE
        )


def test_spreads_are_each_clips_own_deviations_over_all_its_windows(encoder, clips):
    whole = corpus_of(clips, Excerpt(Extent.WHOLE))
    found = embed(encoder, whole, Wanted(spread=True), window_seconds=0.3, overlap_seconds=0.1)
    for row, clip in enumerate(clips):
        pieces = encode_windows(
            encoder, standardise(clip), window_samples=4800, overlap_samples=1600
        )
        hidden_states = np.concatenate([piece.hidden_states for piece in pieces], axis=1)
        np.testing.assert_allclose(
            found.spread[row], hidden_states.std(axis=1), atol=BATCH_TOLERANCE
        )


def test_cell_statistics_are_those_of_all_its_frames(embedding, alone):
    for cell in (0, 1, 3):
        frames = np.concatenate([alone[row][1] for row in np.flatnonzero(cell == CELLS)], axis=1)
        for layer, rows in enumerate(np.asarray(frames, np.float64)):
            statistics = FrechetStatistics(
                *(leaf[layer, cell] for leaf in unpack(embedding.statistics))
            )
            assert statistics.num_rows == len(rows)
            np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(
                np.asarray(covariance(statistics)), np.cov(rows.T), atol=1e-4
            )


def test_a_cell_without_clips_is_empty_and_not_made_up(embedding):
    assert (np.asarray(embedding.statistics.num_rows)[:, 2] == 0).all()


def test_frames_of_a_hidden_state_are_each_clips_own(embedding, alone):
    hidden = embedding.layers[1].take(np.arange(len(alone)), draw=None)
    for row, (_, hidden_states) in enumerate(alone):
        frames = hidden.features[row][hidden.frame_mask[row]]
        np.testing.assert_allclose(frames, hidden_states[1], atol=BATCH_TOLERANCE)


def test_stem_features_are_each_clips_own(embedding, alone):
    stem = embedding.stem.take(np.arange(len(alone)), draw=None)
    for row, (features, _) in enumerate(alone):
        valid = np.asarray(stem.frame_mask[row])
        assert valid.sum() == len(features)
        np.testing.assert_allclose(stem.features[row][valid], features, atol=BATCH_TOLERANCE)


def test_the_baseline_stands_in_an_encoders_place(clips):
    found = embed_hand_made(HAND_MADE["acoustic"], corpus_of(clips), EVERYTHING, cache_dir=None)
    assert found.pooled.shape[:2] == (7, 1)
    assert np.isfinite(found.pooled).all()
    num_rows = np.asarray(found.statistics.num_rows)
    assert num_rows.shape == (1, 4)
    assert num_rows[0, 2] == 0
    assert found.stem is None
    # Frame features are standardised over the corpus: the cells' means average out to zero.
    mean = np.einsum("kd,k->d", np.asarray(found.statistics.mean)[0], num_rows[0] / num_rows.sum())
    np.testing.assert_allclose(mean, 0, atol=1e-4)


def test_the_frame_sample_is_evenly_spaced_over_valid_frames_and_repeats_none():
    assert sampled_positions(10, per_clip=4).tolist() == [1, 3, 6, 8]
    assert sampled_positions(8, per_clip=4).tolist() == [1, 3, 5, 7]
    assert sampled_positions(3, per_clip=4).tolist() == [0, 1, 2]
    rows = [np.arange(2.0 * n, dtype=np.float32).reshape(n, 2, 1) for n in (4, 3)]
    sample = FrameSample(rows, per_clip=4)
    assert sample.mask.tolist() == [[True] * 4, [True, True, True, False]]
    assert sample.layer(1)[..., 0].tolist() == [[1, 3, 5, 7], [1, 3, 5, 0]]


def test_sampled_frames_are_those_of_each_clip_alone(embedding, alone):
    for layer in range(embedding.frames.num_layers):
        values = embedding.frames.layer(layer)
        for row, (_, hidden_states) in enumerate(alone):
            mask = embedding.frames.mask[row]
            assert mask.sum() == min(4, hidden_states.shape[1])
            wanted = sampled_positions(hidden_states.shape[1], per_clip=4)
            np.testing.assert_allclose(
                values[row][mask], hidden_states[layer][wanted], atol=BATCH_TOLERANCE
            )


def test_quiet_edges_are_cut_before_the_crop_in_encoder_and_baseline_alike(encoder, clips):
    quiet = np.full(4000, 1e-6, np.float32)
    padded = corpus_of([np.concatenate([quiet, clip, quiet]) for clip in clips])
    # Blocks of 20 ms do not begin where the noise does, so up to one block more may stay.
    trimmed = padded._replace(excerpt=MIDDLE._replace(trim_silence_db=20.0))
    for run in (
        lambda corpus: embed(encoder, corpus, Wanted()),
        lambda corpus: embed_hand_made(HAND_MADE["acoustic"], corpus, Wanted(), cache_dir=None),
    ):
        plain = run(corpus_of(clips[5:6]))
        cut = run(trimmed)
        whole = run(padded)
        gap = np.abs(cut.pooled[5] - plain.pooled[0]).max()
        assert gap < 0.05 * np.abs(whole.pooled[0] - plain.pooled[0]).max()


# Whole clips, windows, devices ------------------------------------------------------------------


def test_whole_clips_in_buckets_and_windows_are_what_each_gives_alone(encoder, clips):
    whole = corpus_of(clips, Excerpt(Extent.WHOLE))
    found = embed(encoder, whole, Wanted(stem=True), window_seconds=0.3, overlap_seconds=0.1)
    for row, clip in enumerate(clips):
        pieces = encode_windows(
            encoder, standardise(clip), window_samples=4800, overlap_samples=1600
        )
        hidden_states = np.concatenate([piece.hidden_states for piece in pieces], axis=1)
        np.testing.assert_allclose(
            found.pooled[row], hidden_states.mean(axis=1), atol=BATCH_TOLERANCE
        )
        stem = found.stem.take(np.array([row]), draw=None)
        assert stem.frame_mask.sum() == hidden_states.shape[1]


def test_eight_devices_give_what_one_gives(encoder, clips, embedding):
    # Batches of three are filled up to eight rows, one per device. One device in batches of one then
    # rounds as they do, so what is left is the statistics' own arithmetic.
    spread = embed(encoder, corpus_of(clips), devices=8)
    single = embed(encoder, corpus_of(clips), batch_size=1)
    np.testing.assert_allclose(spread.pooled, embedding.pooled, atol=1e-5)
    np.testing.assert_allclose(spread.pooled, single.pooled, atol=1e-5)
    np.testing.assert_array_equal(spread.statistics.num_rows, single.statistics.num_rows)
    filled = single.statistics.num_rows > 1
    for figure in (lambda statistics: statistics.mean, covariance):
        pairs = (np.asarray(figure(unpack(e.statistics)))[filled] for e in (single, spread))
        for one, several in zip(*pairs, strict=True):
            assert np.linalg.norm(several - one) < 1e-6 * np.linalg.norm(one)


def test_training_draws_another_stretch_of_a_clip_each_time_and_evaluation_none(encoder, clips):
    drawn = corpus_of(clips, Excerpt(Extent.RANDOM, crop_seconds=0.1))
    stem = embed(encoder, drawn, Wanted(stem=True)).stem
    rows = np.array([[5, 2], [0, 4]])
    first, second = (stem.take(rows, draw=Draw(np.zeros_like(rows), epoch)) for epoch in (0, 1))
    again = stem.take(rows, draw=Draw(np.zeros_like(rows), 0))
    whole = stem.take(rows, draw=None)
    assert first.frame_mask.shape == (2, 2, 4)
    assert whole.frame_mask.sum(axis=-1).max() > 4
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features, second.features)
    stretch = first.features[0, 0][first.frame_mask[0, 0]]
    frames = whole.features[0, 0][whole.frame_mask[0, 0]]
    assert any(
        np.array_equal(stretch, frames[start : start + len(stretch)])
        for start in range(len(frames))
    )
