"""A pre-training run on a small encoder: masked pass, steps, resume, faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from jaxemo.data.stopping import StopRequest
from jaxemo.models.encoder import AudioEncoder
from jaxemo.peft import make_method
from jaxemo.pretraining.cost import forward_flops
from jaxemo.pretraining.crops import CropSettings, Files
from jaxemo.pretraining.frames import Grid
from jaxemo.pretraining.masking import MaskSettings
from jaxemo.pretraining.objectives.best_rq import best_rq
from jaxemo.pretraining.objectives.data2vec import Data2vecSettings, data2vec
from jaxemo.pretraining.objectives.hubert import HubertSettings, hubert
from jaxemo.pretraining.objectives.mert import MertSettings, mert
from jaxemo.pretraining.objectives.objective import Teacher
from jaxemo.pretraining.objectives.wav2vec2 import Wav2vec2Settings, wav2vec2
from jaxemo.pretraining.program import Recipe, make_program
from jaxemo.pretraining.run import (
    Data,
    NonFiniteLoss,
    Pace,
    Progress,
    pretrain,
    progress_in,
    sample_clips,
    training_batch,
    tree_of,
    tree_shapes,
)
from jaxemo.pretraining.sources import spectral_source
from jaxemo.pretraining.targets import KMeansSettings, RandomProjectionSettings
from jaxemo.training.checkpoint import restore_state, save_checkpoint
from jaxemo.training.sharding import make_mesh
from jaxemo.training.snapshots import Saver, SnapshotFolder

CLUSTERS = KMeansSettings(num_clusters=8, num_seeding=64, batch_size=64, num_rounds=2)
RECIPE = Recipe(num_steps=4, learning_rate=3e-3, mask=MaskSettings(0.1, 4))
# Noise has nothing that could be foretold, so that predictions may stay alike to the end of a run: the watch for
# collapse, which test_collapse.py is about, begins after it.
PACE = Pace(batch_size=4, log_every=2, evaluate_every=4, settled_share=2.0)
GRID = Grid(320, 400, 16_000)


def objective_of(name):
    log_mel, constant_q = (spectral_source(kind, GRID) for kind in ("log_mel", "constant_q"))
    codes = HubertSettings(CLUSTERS, code_width=8)
    return {
        "hubert": lambda: hubert(log_mel, width=16, settings=codes),
        "best_rq": lambda: best_rq(log_mel, width=16, settings=RandomProjectionSettings(2, 8, 4)),
        "mert": lambda: mert(log_mel, constant_q, width=16, settings=MertSettings(codes)),
        "data2vec": lambda: data2vec(width=16, settings=Data2vecSettings(2, Teacher(0.9, 0.99, 4))),
        "wav2vec2": lambda: wav2vec2(
            width=16, stem_width=8, settings=Wav2vec2Settings(num_codes=8, code_width=8)
        ),
    }[name]()


def noise(seed, *, gain=1.0):
    return Files(
        paths=(f"{seed}.wav",),
        waveform=lambda _: (
            gain * np.random.default_rng(seed).standard_normal(8000).astype(np.float32)
        ),
        blocks=np.array([[0, start] for start in range(0, 8000, 1600)]),
        weight=1.0,
    )


@pytest.fixture(scope="module")
def data():
    crops = CropSettings(num_samples=4000, block_samples=1600, normalise=True)
    return Data([noise(1), noise(2)], [noise(3)], crops)


def started(small_encoder, data, name, *, recipe=RECIPE, mesh=None):
    """(program, state of step 0)."""
    module, params = small_encoder
    objective = objective_of(name)
    mesh = mesh or make_mesh(jax.devices()[:1])
    program = make_program(module, objective, recipe, mesh=mesh)
    targets = objective.fit_targets(jax.random.key(0), sample_clips(data, seed=0, count=8))
    return program, program.init(params, targets)


def finished(program, progress, data, *, pace=PACE, recipe=RECIPE, save=lambda _: None, saver=None):
    """(progress at the end, records)."""
    records = []
    if not isinstance(progress, Progress):
        progress = Progress(progress)
    saver = saver or Saver(None, StopRequest(), make_mesh(jax.devices()[:1]))
    progress = pretrain(
        program,
        recipe,
        data,
        pace=pace,
        progress=progress,
        log=records.append,
        save=save,
        saver=saver,
    )
    return progress, records


@pytest.fixture(scope="module")
def run(small_encoder, data, tmp_path_factory):
    """(program, the last state, records, the progress saved after step 3) of BEST-RQ."""
    program, state = started(small_encoder, data, "best_rq")
    folder = tmp_path_factory.mktemp("state")

    def save(progress):
        if progress.state.step == 3:
            save_checkpoint(folder, state=tree_of(progress), record={})

    snapshots = SnapshotFolder(folder, seconds=0.0)
    saver = Saver(snapshots, StopRequest(), make_mesh(jax.devices()[:1]))
    last, records = finished(program, state, data, save=save, saver=saver)
    shapes = jax.eval_shape(lambda: last.state)
    like = tree_shapes(program, shapes, data, num_since=1)
    saved = restore_state(folder, like=like, shardings=program.shardings(like))
    return program, last.state, records, progress_in(saved, program, data)


@pytest.mark.slow
def test_a_run_that_goes_on_between_two_records_ends_in_the_same_bits_and_records(run, data):
    program, expected, expected_records, saved = run
    found, records = finished(program, jax.tree.map(jnp.copy, saved), data)
    differing = jax.tree.map(lambda a, b: bool((a != b).any()), found.state, expected)
    assert not any(jax.tree.leaves(differing))
    assert records == expected_records[1:]


@pytest.mark.slow
def test_records_say_what_was_done_and_when(run):
    assert [(row.part, row.step) for row in run[2]] == [
        ("training", 2),
        ("training", 4),
        ("held_out", 4),
    ]


@pytest.mark.slow
def test_the_first_loss_is_near_that_of_guessing(run):
    assert run[2][0].loss == pytest.approx(np.log(8), rel=0.5)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_with_its_step_and_files(run, data):
    program, _, _, saved = run
    # Such samples never leave the reader; a step may still overflow on loud ones.
    crops = data.crops._replace(normalise=False)
    wild = data._replace(training=[noise(1, gain=np.inf)], crops=crops)
    with pytest.raises(NonFiniteLoss, match=r"loss of step 3 is nan.*1\.wav"):
        finished(program, jax.tree.map(jnp.copy, saved), wild)


def test_masked_frames_show_nothing_of_what_they_hold(small_encoder, stem_batch):
    module, params = small_encoder
    contextualise = jax.jit(nn.apply(AudioEncoder.contextualise, module))
    mask = np.zeros(stem_batch.frame_mask.shape, bool)
    mask[:, 3:6] = True
    spoilt = jnp.where(mask[:, :, None], 7.0, stem_batch.features)
    found, expected = (
        contextualise({"params": params}, features, stem_batch.frame_mask, masked_frames=mask)
        for features in (spoilt, stem_batch.features)
    )
    np.testing.assert_array_equal(found, expected)


def test_the_cost_of_a_pass_is_what_xla_counts(small_encoder):
    module, params = small_encoder
    waveform, lengths = jnp.zeros((1, 16_000)), jnp.array([16_000])
    lowered = jax.jit(module.apply).lower({"params": params}, waveform, lengths)
    counted = lowered.cost_analysis()["flops"]
    # XLA counts norms and activations too, which are dear beside so narrow a network.
    assert forward_flops(module.config, 16_000) == pytest.approx(counted, rel=0.35)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hubert", "best_rq", "mert", "data2vec", "wav2vec2"])
def test_every_objective_moves_every_parameter_and_lowers_its_loss(small_encoder, data, name):
    recipe = RECIPE._replace(num_steps=60)
    program, state = started(small_encoder, data, name, recipe=recipe)
    before = jax.device_get(state.trained)
    pace = PACE._replace(log_every=10, evaluate_every=60)
    last, records = finished(program, state, data, pace=pace, recipe=recipe)
    after = jax.device_get(last.state.trained)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    # No layer's key bias changes a softmax over keys; rounding alone moves it.
    still = [
        jax.tree_util.keystr(path)
        for path, one in jax.tree_util.tree_flatten_with_path(moved)[0]
        if not one and "k_proj" not in jax.tree_util.keystr(path)
    ]
    assert still == []
    training = [row.loss for row in records if row.part == "training"]
    assert training[-1] < training[0]


@pytest.mark.slow
def test_a_teacher_follows_the_encoder(small_encoder, data):
    program, state = started(small_encoder, data, "data2vec")
    before = jax.device_get(state.teacher)
    batch = training_batch(data, PACE, seed=0, step=0)
    state, _ = program.step(state, batch.clips)
    expected = jax.tree.map(
        lambda slow, new: 0.9 * slow + 0.1 * new, before, jax.device_get(state.trained["encoder"])
    )
    close = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), state.teacher, expected)
    assert all(jax.tree.leaves(close))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["micro_batches", "devices"])
def test_neither_micro_batches_nor_devices_change_a_step(small_encoder, data, change):
    # Micro-batches draw masks of their own, so that steps are alike on average; the same frames are masked
    # over devices.
    num_steps, tolerance = (8, 0.2) if change == "micro_batches" else (1, 1e-4)
    figures = {}
    for name in ("plain", change):
        mesh = make_mesh(jax.devices()[: 4 if name == "devices" else 1])
        pace = PACE._replace(micro_batches=2 if name == "micro_batches" else 1)
        program, state = started(small_encoder, data, "best_rq", mesh=mesh)
        of_steps = []
        for step in range(num_steps):
            clips = training_batch(data, pace, seed=0, step=step).clips
            state, found = program.step(state, clips)
            of_steps.append((float(found.loss.count), float(found.gradient_norm)))
        figures[name] = np.mean(of_steps, axis=0)
    np.testing.assert_allclose(figures["plain"], figures[change], rtol=tolerance)


@pytest.mark.slow
def test_under_lora_the_encoder_is_its_base_and_the_merged_update(small_encoder, data):
    module, params = small_encoder
    objective, adaptation = objective_of("best_rq"), make_method("lora", rank=2)
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(module, objective, RECIPE, mesh=mesh, adaptation=adaptation)
    targets = objective.fit_targets(jax.random.key(0), sample_clips(data, seed=0, count=8))
    last, _ = finished(program, program.init(params, targets), data)
    trained, before = (
        traverse_util.flatten_dict(jax.device_get(tree), sep="/")
        for tree in (program.encoder(last.state), params)
    )
    moved = {path for path in before if (before[path] != trained[path]).any()}
    assert {path.split("/")[-2] for path in moved} == {"q_proj", "v_proj"}
    assert all(path.endswith("kernel") for path in moved)


def test_an_adaptation_that_cannot_be_merged_is_refused(small_encoder):
    mesh = make_mesh(jax.devices()[:1])
    with pytest.raises(ValueError, match="'adapter' cannot be merged into an encoder"):
        make_program(
            small_encoder[0],
            objective_of("best_rq"),
            RECIPE,
            mesh=mesh,
            adaptation=make_method("adapter"),
        )
