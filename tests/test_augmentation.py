"""Changes of training clips: what each does to a clip, and that it depends on seed, epoch and row alone."""

import numpy as np
import pytest

from jaxemo.data.augmentation import (
    Draw,
    SpanMasks,
    Stream,
    WaveformChanges,
    at_speed,
    changed_waveform,
    channel_mask,
    frame_mask,
    with_noise,
)

RATE_HZ = 16_000
SINE = np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)


FIRST = Stream(seed=0, epoch=0, row=0)


def changed(changes, stream=FIRST, waveform=SINE):
    return changed_waveform(waveform, changes, stream, shortest_samples=400)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0337, 2.0])
def test_speed_divides_the_length_and_multiplies_the_pitch_by_the_factor(factor):
    played = at_speed(SINE, factor)
    assert played.size == round(SINE.size / factor)
    spectrum = np.abs(np.fft.rfft(played * np.hanning(played.size)))
    assert abs(spectrum.argmax() * RATE_HZ / played.size - 440 * factor) < 2


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5, 40.0])
def test_noise_has_the_ratio_that_is_asked_for(snr_db):
    noisy = with_noise(SINE, snr_db=snr_db, random=np.random.default_rng(0))
    measured = 10 * np.log10(SINE.var() / (noisy - SINE).var())
    assert abs(measured - snr_db) < 1e-2


def test_gain_is_drawn_from_its_range_in_decibels():
    gains = [
        20
        * np.log10(np.abs(changed(WaveformChanges(gain_db=(-6.0, 3.0)), Stream(0, 0, row))).max())
        for row in range(200)
    ]
    assert -6.001 < min(gains) < -5.5 and 2.5 < max(gains) < 3.001


def test_no_change_leaves_a_clip_as_it_is():
    np.testing.assert_array_equal(changed(WaveformChanges()), SINE)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_seed_epoch_and_row_each_change_what_is_drawn(part):
    changes = WaveformChanges(speed=(0.9, 1.1), noise_snr_db=(5.0, 20.0), gain_db=(-6.0, 6.0))
    stream = Stream(3, 1, 7)
    other = Stream(*(value + (place == part) for place, value in enumerate(stream)))
    np.testing.assert_array_equal(changed(changes, stream), changed(changes, Stream(3, 1, 7)))
    assert not np.array_equal(changed(changes, stream)[:9000], changed(changes, other)[:9000])


def test_a_change_does_not_move_the_numbers_of_another():
    gain = WaveformChanges(gain_db=(-6.0, 6.0))
    silent_noise = gain._replace(noise_snr_db=(300.0, 300.0))
    np.testing.assert_allclose(changed(gain), changed(silent_noise), atol=1e-12)


def test_speed_leaves_a_clip_long_enough_for_the_encoder():
    short = SINE[:500]
    assert changed(WaveformChanges(speed=(2.0, 2.0)), waveform=short).size == 400
    assert changed(WaveformChanges(speed=(2.0, 2.0)), waveform=short[:300]).size == 300


def test_the_longest_that_clips_can_become_holds_every_draw():
    changes = WaveformChanges(speed=(0.83, 1.1))
    longest = changes.longest(np.array([SINE.size]))[0]
    sizes = [changed(changes, Stream(0, 0, row)).size for row in range(100)]
    assert 0.97 * longest < max(sizes) <= longest


def test_frame_masks_are_spans_and_hide_the_share_that_was_asked_for():
    masks = SpanMasks(frame_share=0.2, span_frames=10)
    drawn = np.stack([frame_mask(1000, masks, Stream(0, 0, row)) for row in range(300)])
    # 20 starts among 991 places: a frame is free with probability near (1 - 10 / 991)^20.
    assert abs(drawn.mean() - (1 - (1 - 10 / 991) ** 20)) < 0.005
    edges = np.diff(np.pad(drawn, ((0, 0), (1, 1))).astype(int), axis=1)
    for row in edges:
        assert (np.flatnonzero(row == -1) - np.flatnonzero(row == 1)).min() >= 10


def test_the_number_of_spans_is_the_expected_one_on_average():
    masks = SpanMasks(channel_share=0.1, span_channels=4)
    starts = [channel_mask(60, masks, Stream(0, 0, row)).sum() / 4 for row in range(2000)]
    # 1.5 spans, of which two touch now and then.
    assert 1.4 < np.mean(starts) < 1.51


@pytest.mark.parametrize("num_frames", [0, 1, 9, 10])
def test_clips_that_hold_no_span_are_not_masked_beyond_their_end(num_frames):
    mask = frame_mask(num_frames, SpanMasks(frame_share=0.9, span_frames=10), FIRST)
    assert mask.shape == (num_frames,)
    assert mask.all() if num_frames == 10 and mask.any() else not mask.any()


def test_without_a_share_nothing_is_masked():
    assert not channel_mask(60, SpanMasks(frame_share=0.9), FIRST).any()


def test_rows_of_a_call_draw_what_each_draws_alone():
    rows = np.arange(12).reshape(2, 3, 1, 2)
    draw = Draw(np.broadcast_to(np.array([0, 5, 9])[None, :, None, None], rows.shape), epoch=4)
    assert draw.streams(rows)[9] == Stream(5, 4, 9)
    assert draw.at((1, 1)).streams(rows[1, 1])[1] == Stream(5, 4, 9)
