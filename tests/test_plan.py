"""Passes over clips and windows: every frame once, in few shapes."""

import numpy as np
import pytest

from jaxemo.data.buckets import MAX_BUCKETS
from jaxemo.embedding.plan import WindowPlan, plan_passes
from jaxemo.models.pretrained import load_encoder


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_passes_cover_every_frame_in_few_shapes_with_one_batch_to_fill(batch_size):
    config = load_encoder("untrained/speech").config
    num_samples = np.random.default_rng(1).integers(400, 40_000, 101)
    passes = plan_passes(
        config,
        num_samples,
        WindowPlan(window_samples=32_001, overlap_samples=6_400, batch_size=batch_size),
    )
    frames = np.zeros(len(num_samples), int)
    open_clips = set()
    for step in passes:
        assert 1 <= len(step.rows) <= batch_size
        for clip, window in step.rows:
            assert window.num_samples <= step.width <= 32_001
            assert window.first_frame == frames[clip]
            frames[clip] += window.num_frames
            finished = frames[clip] == config.num_frames(int(num_samples[clip]))
            (open_clips.discard if finished else open_clips.add)(clip)
        assert not (step.closes_clips and open_clips)
    assert (frames == config.num_frames(num_samples)).all() and passes[-1].closes_clips
    assert len({step.width for step in passes}) <= MAX_BUCKETS
    short = [step for step in passes if step.width < 32_001]
    assert sum(len(step.rows) < batch_size for step in short) <= 1
