"""One pass over a corpus against the long way round, clip by clip."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.data.audio import centre_crop, standardise
from jaxemo.distances.statistics import covariance
from jaxemo.embedding.corpus_pass import embed_acoustics, embed_corpus, stem_features
from jaxemo.embedding.frame_sample import empty_sample, sample_frames
from jaxemo.models.pretrained import load_encoder

RATE_HZ = 16_000
CROP_SECONDS = 0.25
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


@pytest.fixture(scope="module")
def embedding(encoder, clips, tmp_path_factory):
    return embed_corpus(
        encoder,
        clips.__getitem__,
        cell_of_clip=CELLS,
        num_cells=4,
        crop_seconds=CROP_SECONDS,
        batch_size=3,
        stem_path=tmp_path_factory.mktemp("stem") / "stem.npy",
        frames_per_clip=4,
    )


def test_pooled_layers_are_each_clips_own_means(embedding, alone):
    for row, (_, hidden_states) in enumerate(alone):
        np.testing.assert_allclose(
            embedding.pooled[row], hidden_states.mean(axis=1), atol=BATCH_TOLERANCE
        )


def test_cell_statistics_are_those_of_all_its_frames(embedding, alone):
    for cell in (0, 1, 3):
        frames = np.concatenate([alone[row][1] for row in np.flatnonzero(cell == CELLS)], axis=1)
        for layer, rows in enumerate(np.asarray(frames, np.float64)):
            statistics = type(embedding.statistics)(
                *(np.asarray(leaf)[layer, cell] for leaf in embedding.statistics)
            )
            assert statistics.num_rows == len(rows)
            np.testing.assert_allclose(statistics.mean, rows.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(
                np.asarray(covariance(statistics)), np.cov(rows.T), atol=1e-4
            )


def test_a_cell_without_clips_is_empty_and_not_made_up(embedding):
    assert (np.asarray(embedding.statistics.num_rows)[:, 2] == 0).all()


def test_stem_features_are_kept_at_each_clips_row(embedding, alone, encoder, clips):
    again = stem_features(
        encoder,
        clips.__getitem__,
        num_clips=len(clips),
        crop_seconds=CROP_SECONDS,
        batch_size=4,
    )
    for stem in (embedding.stem, again):
        for row, (features, _) in enumerate(alone):
            valid = np.asarray(stem.frame_mask[row])
            assert valid.sum() == len(features)
            np.testing.assert_allclose(stem.features[row][valid], features, atol=BATCH_TOLERANCE)


def test_stem_features_lie_on_disk(embedding):
    assert isinstance(embedding.stem.features, np.memmap)


def test_the_baseline_stands_in_an_encoders_place(clips):
    found = embed_acoustics(
        clips.__getitem__,
        sample_rate_hz=RATE_HZ,
        cell_of_clip=CELLS,
        num_cells=4,
        crop_seconds=CROP_SECONDS,
    )
    assert found.pooled.shape[:2] == (7, 1) and np.isfinite(found.pooled).all()
    num_rows = np.asarray(found.statistics.num_rows)
    assert num_rows.shape == (1, 4) and num_rows[0, 2] == 0 and found.stem is None
    # Frame features are standardised over the corpus: the cells' means average out to zero.
    mean = np.einsum("kd,k->d", np.asarray(found.statistics.mean)[0], num_rows[0] / num_rows.sum())
    np.testing.assert_allclose(mean, 0, atol=1e-4)


def test_the_frame_sample_is_evenly_spaced_over_valid_frames_and_repeats_none():
    hidden_states = jnp.arange(10.0)[None, None, :, None] + jnp.zeros((2, 3, 10, 1))
    frame_mask = jnp.arange(10) < jnp.array([10, 8, 3])[:, None]
    sample = sample_frames(hidden_states, frame_mask, num_frames=4)
    assert sample.mask.tolist() == [[True] * 4, [True] * 4, [True, True, True, False]]
    assert sample.values[1, 0, :, 0].tolist() == [1, 3, 6, 8]
    assert sample.values[1, 1, :, 0].tolist() == [1, 3, 5, 7]
    assert sample.values[1, 2, :3, 0].tolist() == [0, 1, 2]


def test_sampled_frames_are_those_of_each_clip_alone(embedding, alone):
    for row, (_, hidden_states) in enumerate(alone):
        mask = embedding.frames.mask[row]
        assert mask.sum() == min(4, hidden_states.shape[1])
        wanted = sample_frames(
            hidden_states[:, None], jnp.ones((1, hidden_states.shape[1]), bool), num_frames=4
        )
        np.testing.assert_allclose(
            embedding.frames.values[:, row][:, mask],
            np.asarray(wanted.values)[:, 0][:, mask],
            atol=BATCH_TOLERANCE,
        )


def test_a_large_sample_lies_on_disk_and_a_small_one_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "sample" / "frames.npy"
    assert not isinstance(empty_sample((2, 3, 4, 5), path=path).values, np.memmap)
    monkeypatch.setattr("jaxemo.embedding.frame_sample._MAX_BYTES_IN_MEMORY", 100)
    assert isinstance(empty_sample((2, 3, 4, 5), path=path).values, np.memmap)
    assert path.exists()


def test_quiet_edges_are_cut_before_the_crop_in_encoder_and_baseline_alike(encoder, clips):
    quiet = np.full(4000, 1e-6, np.float32)
    padded = [np.concatenate([quiet, clip, quiet]) for clip in clips]
    options = {"cell_of_clip": np.zeros(len(clips), np.int64), "num_cells": 1}
    options |= {"crop_seconds": CROP_SECONDS}
    # Blocks of 20 ms do not begin where the noise does, so up to one block more may stay.
    trimmed = {"trim_silence_db": 20.0, **options}
    for run in (
        lambda waveforms, kw: embed_corpus(encoder, waveforms, batch_size=3, **kw),
        lambda waveforms, kw: embed_acoustics(waveforms, sample_rate_hz=RATE_HZ, **kw),
    ):
        plain = run(clips[5:6].__getitem__, options | {"cell_of_clip": np.zeros(1, np.int64)})
        cut = run(padded.__getitem__, trimmed)
        whole = run(padded.__getitem__, options)
        gap = np.abs(cut.pooled[5] - plain.pooled[0]).max()
        assert gap < 0.05 * np.abs(whole.pooled[0] - plain.pooled[0]).max()
