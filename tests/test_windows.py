"""Windows over long clips: the frames they give, and how near they come to the whole clip."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.models import windows
from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import AudioEncoder
from jaxemo.models.families import StemNorm
from jaxemo.models.pretrained import load_encoder
from jaxemo.models.windows import encode_windows, plan_windows

CONFIG = EncoderConfig()
# One row of a batch differs from the clip alone by rounding.
ROUNDING = 1e-5


class CentredGrid(NamedTuple):
    """A front end whose frames are centred: a frame for every hop begun, as a padded spectrogram has."""

    hop_samples: int = 320
    shortest_clip_samples: int = 400
    longest_clip_samples: int | None = None

    def num_frames(self, num_samples):
        return -(-num_samples // self.hop_samples)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("untrained/speech")


@pytest.fixture(scope="module")
def waveform():
    return np.random.default_rng(0).normal(size=5 * 16_000 + 77).astype(np.float32)


def joined(pieces):
    pieces = list(pieces)
    ends = np.cumsum([piece.hidden_states.shape[1] for piece in pieces])
    assert [piece.first_frame for piece in pieces] == [0, *ends[:-1]]
    return np.concatenate([piece.hidden_states for piece in pieces], axis=1)


@given(
    num_samples=st.integers(400, 60_000),
    window_samples=st.integers(1_200, 20_000),
    overlap_samples=st.integers(80, 800),
    config=st.sampled_from([CONFIG, CentredGrid()]),
)
def test_windows_give_every_frame_of_the_clip_once_and_in_order(
    num_samples, window_samples, overlap_samples, config
):
    windows = plan_windows(
        config, num_samples, window_samples=window_samples, overlap_samples=overlap_samples
    )
    next_frame = 0
    for window in windows:
        assert window.start_sample % config.hop_samples == 0
        assert window.first_frame == next_frame
        assert window.num_frames > 0
        own = window.start_sample // config.hop_samples
        assert window.first_frame - own == window.skipped_frames >= 0
        assert window.given.stop <= config.num_frames(window.num_samples)
        next_frame += window.num_frames
    assert next_frame == config.num_frames(num_samples)
    assert windows[-1].start_sample + windows[-1].num_samples == num_samples
    if num_samples >= window_samples:
        shortest = min(window.num_samples for window in windows)
        assert shortest > window_samples - config.hop_samples


def test_neighbours_drop_half_of_their_overlap_each():
    first, second, *_ = plan_windows(CONFIG, 160_000, window_samples=32_000, overlap_samples=6_400)
    # 20 frames apart at 320 samples; a window of 32000 samples has 99 frames.
    assert second.start_sample == 25_600
    assert first.num_frames == (80 + 99) // 2
    assert second.skipped_frames == first.num_frames - 80


def test_a_clip_of_one_window_gives_exactly_what_the_encoder_gives(encoder, waveform):
    clip = waveform[:16_000]
    expected = encoder(clip[None], np.array([clip.size])).hidden_states[:, 0]
    for window_samples in (16_000, 20_000):
        [piece] = encode_windows(
            encoder, clip, window_samples=window_samples, overlap_samples=3_200, batch_size=4
        )
        np.testing.assert_array_equal(piece.hidden_states, expected)


def test_each_piece_is_the_middle_of_its_window_alone(encoder, waveform):
    sizes = {"window_samples": 32_000, "overlap_samples": 6_400}
    planned = plan_windows(encoder.config, waveform.size, **sizes)
    pieces = list(encode_windows(encoder, waveform, batch_size=2, **sizes))
    moments = windows.clip_moments(encoder, waveform)
    assert len(pieces) == len(planned) == 3
    for piece, window in zip(pieces, planned, strict=True):
        stop = window.start_sample + window.num_samples
        alone = encoder(
            waveform[None, window.start_sample : stop], np.array([window.num_samples]), moments
        ).hidden_states[:, 0, window.given]
        np.testing.assert_allclose(piece.hidden_states, alone, atol=ROUNDING)


def test_a_long_clip_goes_through_one_compiled_shape(encoder, waveform):
    compiled = encoder._jitted._cache_size()
    for num_samples in (60_000, 70_001, waveform.size):
        frames = joined(
            encode_windows(
                encoder,
                waveform[:num_samples],
                window_samples=20_800,
                overlap_samples=3_200,
                batch_size=3,
            )
        )
        assert frames.shape == (4, encoder.config.num_frames(num_samples), 48)
    assert encoder._jitted._cache_size() == compiled + 1


@pytest.mark.slow
@pytest.mark.parametrize("norm", [StemNorm.GROUP, StemNorm.LAYER])
def test_convolutions_alone_are_exact_where_the_overlap_covers_their_reach(
    waveform, norm, monkeypatch
):
    """Hidden state 0: no attention yet, and the group norm's statistics are the whole clip's."""
    monkeypatch.setattr(windows, "_STEPS_PER_PIECE", 10_000)
    config = dataclasses.replace(load_encoder("untrained/speech").config, feat_extract_norm=norm)
    module = AudioEncoder(config)
    length = np.array([waveform.size])
    params = jax.jit(module.init)(jax.random.key(0), waveform[None], length)["params"]
    encoder = dataclasses.replace(load_encoder("untrained/speech"), module=module, params=params)
    whole = encoder(waveform[None], length).hidden_states[0, 0]
    # The positional convolution reaches 64 frames to either side.
    pieces = encode_windows(encoder, waveform, window_samples=64_000, overlap_samples=2 * 66 * 320)
    np.testing.assert_allclose(joined(pieces)[0], whole, atol=ROUNDING)


@pytest.mark.parametrize(
    ("num_samples", "window_samples", "overlap_samples", "words"),
    [
        (399, 16_000, 3_200, "num_samples is 399"),
        (16_000, 399, 0, "window_samples is 399"),
        (16_000, 16_000, -1, "overlap_samples is -1"),
        (16_000, 16_000, 15_900, "overlap_samples is 15900"),
        (16_000, 16_000, 0, "overlap of at least 320"),
    ],
)
def test_impossible_sizes_are_refused_by_name_before_any_compute(
    num_samples, window_samples, overlap_samples, words
):
    with pytest.raises(ValueError, match=words):
        plan_windows(
            CONFIG,
            num_samples,
            window_samples=window_samples,
            overlap_samples=overlap_samples,
        )


def test_a_batch_size_below_one_is_refused_when_called(encoder, waveform):
    with pytest.raises(ValueError, match="batch_size is 0"):
        encode_windows(
            encoder, waveform, window_samples=32_000, overlap_samples=6_400, batch_size=0
        )


def test_windows_longer_than_the_positions_reach_are_refused():
    grid = CentredGrid(longest_clip_samples=480_000)
    with pytest.raises(ValueError, match=r"window_samples is 480001.*at most 480000"):
        plan_windows(grid, 10**6, window_samples=480_001, overlap_samples=0)


def test_a_clip_beyond_whispers_positions_goes_through_in_windows():
    encoder = load_encoder(
        Path(__file__).parent / "goldens" / "whisper"
    )  # One second of positions.
    clip = np.random.default_rng(0).standard_normal(40_123).astype(np.float32)
    pieces = encode_windows(encoder, clip, window_samples=16_000, overlap_samples=3200)
    num_frames = sum(piece.hidden_states.shape[1] for piece in pieces)
    assert num_frames == encoder.config.num_frames(clip.size) == 125
