"""Crops for pre-training: where they lie, what they follow from, which files are held out."""

import numpy as np
import pytest

from jaxemo.pretraining.crops import CropSettings, Files, draw_batch, held_out, loud_blocks

SETTINGS = CropSettings(num_samples=400, block_samples=100, normalise=False)


def corpus(lengths, *, weight=1.0, start=0):
    """Files whose samples are their own numbers, so that a crop tells where it is from."""
    files = [start + 10_000 * n + np.arange(length) for n, length in enumerate(lengths, start=1)]
    blocks = [(n, first) for n, file in enumerate(files) for first in range(0, len(file), 100)]
    return Files(
        paths=tuple(f"{start + n}.wav" for n in range(1, len(files) + 1)),
        waveform=lambda number: files[number].astype(np.float32),
        blocks=np.array(blocks),
        weight=weight,
    )


def drawn(corpora, step=0, batch_size=64):
    return draw_batch(corpora, SETTINGS, position=(0, step), batch_size=batch_size)


def test_a_crop_lies_within_one_file():
    clips = drawn([corpus([900, 2000, 450])]).clips
    assert (np.diff(clips.waveform, axis=1) == 1).all()


def test_a_file_shorter_than_a_crop_is_whole_and_padded():
    clips = drawn([corpus([150])], batch_size=2).clips
    expected = np.concatenate([10_000 + np.arange(150), np.zeros(250)])
    np.testing.assert_array_equal(clips.waveform, [expected] * 2)


def test_the_length_of_a_padded_crop_is_the_files():
    np.testing.assert_array_equal(drawn([corpus([150])], batch_size=2).clips.num_samples, 150)


def test_equal_positions_give_equal_crops():
    one, other = (drawn([corpus([900, 2000])], step=7).clips.waveform for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_other_steps_give_other_crops():
    one, other = (drawn([corpus([900, 2000])], step=step).clips.waveform for step in (7, 8))
    assert (one != other).any()


def test_the_paths_are_those_of_the_crops():
    batch = drawn([corpus([900, 2000])])
    numbers = [f"{int(first) // 10_000}.wav" for first in batch.clips.waveform[:, 0]]
    assert list(batch.paths) == numbers


def test_corpora_are_drawn_by_their_weights():
    corpora = [corpus([900], weight=3.0), corpus([9000], weight=1.0, start=500_000)]
    paths = drawn(corpora, batch_size=4000).paths
    # Six standard deviations.
    assert paths.count("1.wav") == pytest.approx(3000, abs=6 * np.sqrt(750))


def test_silence_holds_no_block():
    loud = np.sin(np.arange(1000))
    waveform = np.concatenate([np.zeros(1000), loud, 1e-4 * loud, loud[:50]]).astype(np.float32)
    np.testing.assert_array_equal(
        loud_blocks(waveform, block_samples=100), np.arange(1000, 2000, 100)
    )


def test_normalised_crops_have_unit_variance():
    batch = draw_batch(
        [corpus([900])], SETTINGS._replace(normalise=True), position=(0, 0), batch_size=4
    )
    np.testing.assert_allclose(batch.clips.waveform.std(axis=1), 1.0, atol=1e-5)


def test_held_out_contents_follow_from_contents_and_seed_alone():
    digests = [f"{number:064x}" for number in range(40)]
    assert held_out(digests, share=0.1, seed=3) == held_out(digests[::-1] * 2, share=0.1, seed=3)


def test_the_held_out_share_is_that_of_different_contents():
    assert len(held_out([f"{n:064x}" for n in range(40)], share=0.1, seed=3)) == 4


def test_one_content_cannot_be_parted():
    with pytest.raises(ValueError, match="1 different audio files cannot be parted"):
        held_out(["a", "a"], share=0.1, seed=0)
