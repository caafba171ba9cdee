"""Training on clips that change: the same alone and together, once more after a stop, and in few shapes."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from test_runs import LABELS, Problem, assert_equal_fits, program_of, three_runs

from jaxemo.data.augmentation import Draw, SpanMasks, WaveformChanges
from jaxemo.data.stopping import Stopped
from jaxemo.embedding.frames import StemFrames
from jaxemo.models.families import Normalisation
from jaxemo.peft import make_method
from jaxemo.training.augmented import AugmentedFeatures, ChangedWaveforms, ClipSource
from jaxemo.training.features import Examples, Features
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import MaskedInputs, Network, Waveforms
from jaxemo.training.snapshots import SnapshotFolder

NUM_CLIPS = len(LABELS)
CHANGES = WaveformChanges(speed=(0.9, 1.1), noise_snr_db=(10.0, 20.0), gain_db=(-6.0, 6.0))
MASKS = SpanMasks(frame_share=0.4, span_frames=2, channel_share=0.3, span_channels=4)
LENGTHS = np.random.default_rng(3).integers(800, 6000, NUM_CLIPS)
CLIPS = [
    np.random.default_rng((4, row)).standard_normal(n).astype(np.float32)
    for row, n in enumerate(LENGTHS)
]


def source(*, crop_samples=None, normalisation=Normalisation.ZERO_MEAN_UNIT_VARIANCE):
    return ClipSource(CLIPS.__getitem__, LENGTHS, crop_samples, normalisation)


def stems_of(small_encoder, clips):
    """Stem features of clips, as the store has them."""
    module, params = small_encoder
    stem = jax.jit(lambda *clip: module.apply({"params": params}, *clip, method="stem"))
    lengths = np.array([clip.size for clip in clips], np.int32)
    waveform = np.stack([np.pad(clip, (0, lengths.max() - clip.size)) for clip in clips])
    features, mask = stem(waveform, lengths)
    return StemFrames(
        [np.asarray(row)[:n] for row, n in zip(features, np.sum(mask, axis=1), strict=True)]
    )


@pytest.fixture(scope="module")
def stems(small_encoder):
    return stems_of(small_encoder, CLIPS)


def features_of(small_encoder, stems, *, changes=CHANGES, masks=MASKS, **how):
    config = small_encoder[0].config
    waveforms = changes and ChangedWaveforms(source(**how), changes, config)
    return AugmentedFeatures(stems, config, waveforms=waveforms, masks=masks)


def draw_of(rows, *, seed=0, epoch=0):
    return Draw(np.full(np.shape(rows), seed), epoch)


def test_it_is_what_training_reads(small_encoder, stems):
    assert isinstance(features_of(small_encoder, stems), Features)


def test_clips_for_prediction_are_never_changed(small_encoder, stems):
    rows = np.array([[3, 1], [0, 19]])
    found = features_of(small_encoder, stems).take(rows, draw=None)
    jax.tree.map(np.testing.assert_array_equal, found, stems.take(rows, draw=None))


def test_a_clip_is_changed_by_its_seed_epoch_and_row_alone(small_encoder, stems):
    features = features_of(small_encoder, stems)
    rows = np.array([[4, 7], [2, 7]])
    together = features.take(rows, draw=Draw(np.array([[0, 0], [5, 5]]), 1))
    alone = features.take(np.array([7]), draw=draw_of([7], seed=5, epoch=1))
    (length,) = alone.signal.num_samples
    assert together.signal.num_samples[1, 1] == length
    np.testing.assert_array_equal(
        together.signal.waveform[1, 1, :length], alone.signal.waveform[0, :length]
    )
    count = min(together.frames.shape[-1], alone.frames.shape[-1])
    np.testing.assert_array_equal(together.frames[1, 1, :count], alone.frames[0, :count])
    np.testing.assert_array_equal(together.channels[1, 1], alone.channels[0])
    assert together.signal.num_samples[0, 1] != length  # The run with the other seed.


def test_masks_lie_within_the_clip_and_leave_stem_features_alone(small_encoder, stems):
    rows = np.arange(NUM_CLIPS)
    features = features_of(small_encoder, stems, changes=None)
    found = features.take(rows, draw=draw_of(rows))
    assert isinstance(found, MaskedInputs)
    jax.tree.map(np.testing.assert_array_equal, found.signal, stems.take(rows, draw=None))
    assert found.frames.any()
    assert not (found.frames & ~found.signal.frame_mask).any()


def test_a_stretch_is_drawn_after_the_change_and_normalised_by_itself(small_encoder, stems):
    features = features_of(small_encoder, stems, masks=None, crop_samples=900)
    rows = np.arange(NUM_CLIPS)
    found = features.take(rows, draw=draw_of(rows))
    assert isinstance(found, Waveforms)
    assert found.num_samples.max() == 900
    long = found.waveform[LENGTHS > 1000, :900]
    np.testing.assert_allclose(long.std(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(long.mean(axis=1), 0, atol=1e-3)


def test_a_clip_that_slows_beyond_an_encoders_positions_is_refused(small_encoder):
    config = small_encoder[0].config

    class Short(type(config)):
        longest_clip_samples = 6000

    short = object.__new__(Short)
    short.__dict__.update(config.__dict__)
    with pytest.raises(ValueError, match="takes at most 6000"):
        ChangedWaveforms(source(), WaveformChanges(speed=(0.5, 1.0)), short)


def test_no_more_than_eight_shapes_come_of_ragged_clips_whatever_is_drawn(small_encoder, stems):
    features = features_of(small_encoder, stems)
    random = np.random.default_rng(0)
    widths = set()
    for epoch in range(100):
        rows = random.choice(NUM_CLIPS, 2)
        widths.add(features.take(rows, draw=draw_of(rows, epoch=epoch)).signal.waveform.shape)
    assert 4 < len(widths) <= 8


class Bench(NamedTuple):
    """One compiled program, on clips of one length so that it is compiled once for each number of runs."""

    program: Any
    base: Any
    features: AugmentedFeatures

    def fit(self, runs, *, features=None, **how):
        examples = Examples(self.features if features is None else features, LABELS)
        return fit_runs(self.program, self.base, examples, runs, **how)


@pytest.fixture(scope="module")
def bench(small_encoder):
    module, params = small_encoder
    clips = [np.resize(clip, 1600) for clip in CLIPS]
    network = Network(module, make_method("bitfit"), 8, 0.3, 3)
    lengths = np.full(NUM_CLIPS, 1600)
    plain = ClipSource(clips.__getitem__, lengths, None, Normalisation.ZERO_MEAN_UNIT_VARIANCE)
    features = AugmentedFeatures(
        stems_of(small_encoder, clips),
        module.config,
        waveforms=ChangedWaveforms(plain, CHANGES, module.config),
        masks=MASKS,
    )
    return Bench(program_of(Problem(network, params, None)), params, features)


@pytest.fixture(scope="module")
def together(bench):
    return bench.fit(three_runs()[:2])


def test_a_width_is_compiled_once(together, bench):
    assert bench.program.train_steps._cache_size() == 1
    assert bench.program.predictor._step._cache_size() == 1


def test_runs_on_changed_clips_train_the_same_alone_and_together(together, bench):
    alone = [bench.fit([run])[0] for run in three_runs()[:2]]
    assert_equal_fits(together, alone)


def test_what_changes_is_what_is_trained_on(together, bench):
    unchanged = AugmentedFeatures(
        bench.features._unchanged, bench.features._config, waveforms=None, masks=None
    )
    assert together[0].history != bench.fit(three_runs()[:2], features=unchanged)[0].history


def test_training_that_was_stopped_sees_the_same_clips_again(together, bench, tmp_path):
    def stop(run, record, timing):
        if (run, record.epoch) == (1, 1):
            raise Stopped("terminated", 143)

    def snapshots(runs):
        return SnapshotFolder(tmp_path / "s", seconds=0.0)

    with pytest.raises(Stopped):
        bench.fit(three_runs()[:2], snapshots=snapshots, on_epoch=stop)
    again = bench.fit(three_runs()[:2], snapshots=snapshots)
    for one, other in zip(again, together, strict=True):
        assert one.history == other.history
        jax.tree.map(np.testing.assert_array_equal, one.trainable, other.trainable)


class Slow:
    """Features that take 0.3 s for every step of training."""

    def __init__(self, features):
        self.features = features
        self.training_lengths = features.training_lengths

    def take(self, rows, *, draw, beside=None):
        if draw is not None:
            time.sleep(0.3)
        return self.features.take(rows, draw=draw, beside=beside)


def test_the_share_of_waiting_for_data_is_told_with_every_epoch(together, bench):
    told = []
    bench.fit(
        three_runs()[:2],
        features=Slow(bench.features),
        on_epoch=lambda run, record, timing: told.append(timing),
    )
    assert len(told) == 6
    # Four steps in two threads: two times 0.3 s, less what is computed meanwhile.
    assert all(timing.seconds > 0.6 for timing in told)
    assert all(0.3 / timing.seconds < timing.data_wait < 1 for timing in told)
