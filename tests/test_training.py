"""The step, the loop and checkpoints: on one device and on eight fake ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from jaxemo.models.heads import layer_statistics
from jaxemo.peft import METHODS, make_method
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Network
from jaxemo.training.objectives import balanced_weights, cross_entropy, emotion_classes
from jaxemo.training.optim import Rates, make_optimiser, warmup_cosine
from jaxemo.training.predict import TrainedModel, place, place_stacked, stack_trees
from jaxemo.training.program import TrainingSettings, make_program
from jaxemo.training.sharding import make_mesh, stacked_shardings, tree_shardings
from jaxemo.training.stack import RunInputs
from jaxemo.training.step import Batch, Shared, make_init_runs, make_train_steps

# Sums are split over devices and micro-batches in another order: rounding alone.
RESHARDING_TOLERANCE = 2e-6
NUM_CLASSES = 3


class Problem(NamedTuple):
    """A method on eight random clips."""

    network: Network
    base: Any
    statistics: Any
    inputs: Any
    labels: np.ndarray


def one_device():
    return make_mesh(jax.devices()[:1])


def accuracy(labels, probabilities):
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def true_probability(labels, probabilities):
    return float(probabilities[np.arange(len(labels)), labels].mean())


def make_problem(small_encoder, stem_batch, name, *, head_dropout=0.0):
    module, params = small_encoder
    method = make_method(name)
    pooled = np.random.default_rng(0).normal(size=(8, 3, 16)).astype(np.float32)
    whole = method.frozen_layers is None
    return Problem(
        Network(module, method, 8, head_dropout, NUM_CLASSES),
        {} if whole else params,
        layer_statistics(pooled),
        pooled if whole else jax.tree.map(np.asarray, stem_batch),
        np.arange(8, dtype=np.int32) % NUM_CLASSES,
    )


def one_step(problem, **options):
    """(trainable tree, metrics) after one step of one run on all eight clips."""
    states, metrics = state_after_one_step(problem, **options)
    return jax.tree.map(lambda leaf: leaf[0], states.trainable), metrics


def gradients_of(problem, *, mesh):
    """The clipped gradient of that step, as Adam's first moment keeps it: a tenth of it, part by part."""
    states, _ = state_after_one_step(problem, mesh=mesh)
    moments = optax.tree.get_all_with_path(states.optimiser, "mu")
    return [np.asarray(leaf) for _, tree in moments for leaf in jax.tree.leaves(tree)]


def state_after_one_step(problem, *, mesh, micro_batches=1, weight=None, labels=None):
    """(state of one run on the host, metrics)."""
    optimiser = make_optimiser(weight_decay=0.01, clip_norm=1.0)
    rates = Rates(np.full(1, 1e-2, np.float32), np.full(1, 1e-2, np.float32))
    keys, statistics = place_stacked(
        stack_trees([(jax.random.key(0), problem.statistics)], mesh), mesh
    )
    base = place(problem.base, mesh)
    init = make_init_runs(problem.network, optimiser, mesh=mesh)
    states = init(keys, statistics, base, np.ones(1, np.int32), rates, None)
    pieces = lambda leaf: np.reshape(leaf, (1, 1, micro_batches, -1, *leaf.shape[1:]))  # noqa: E731
    batch = Batch(
        problem.inputs,
        problem.labels if labels is None else labels,
        np.ones(8, np.float32) if weight is None else weight,
    )
    step = make_train_steps(
        problem.network,
        emotion_classes(NUM_CLASSES, score=accuracy),
        optimiser,
        schedule=lambda progress: jnp.ones(()),
        mesh=mesh,
    )
    shared = Shared(base, None)
    states, metrics = step(
        states, statistics, shared, jax.tree.map(pieces, batch), None, np.int32(1)
    )
    return jax.device_get((states._replace(key=None), metrics))


def assert_close(found, expected, tolerance=RESHARDING_TOLERANCE):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "lora"])
def test_no_gradient_depends_on_the_mesh(name, small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, name)
    alone = gradients_of(problem, mesh=one_device())
    largest = max(np.abs(leaf).max() for leaf in alone)
    meshes = [{"data": 8}, {"data": 1, "fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}]
    for axes in meshes:
        sharded = gradients_of(problem, mesh=make_mesh(**axes))
        for found, expected in zip(sharded, alone, strict=True):
            # What sums to nothing is rounding alone, of the size of its terms.
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * largest)


@pytest.mark.slow
@pytest.mark.parametrize(
    "axes", [{"data": 8}, {"data": 2, "fsdp": 2, "tensor": 2}, {"data": 2, "fsdp": 4}]
)
def test_the_loss_and_gradient_do_not_depend_on_the_mesh(axes, small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "full")
    _, alone = one_step(problem, mesh=one_device())
    _, sharded = one_step(problem, mesh=make_mesh(**axes))
    np.testing.assert_allclose(sharded.loss, alone.loss, rtol=1e-5)
    np.testing.assert_allclose(sharded.gradient_norm, alone.gradient_norm, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "full"])
def test_no_methods_loss_and_gradient_depend_on_the_mesh(name, small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, name)
    _, alone = one_step(problem, mesh=one_device())
    _, sharded = one_step(problem, mesh=make_mesh(data=2, fsdp=2, tensor=2))
    np.testing.assert_allclose(sharded.loss, alone.loss, rtol=1e-5)
    np.testing.assert_allclose(sharded.gradient_norm, alone.gradient_norm, rtol=1e-4)


def test_accumulating_micro_batches_changes_nothing(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "lora")
    # Unequal weights, so that a mean of means would differ.
    weight = np.linspace(0, 3, 8).astype(np.float32)
    whole, whole_metrics = one_step(problem, mesh=one_device(), weight=weight)
    pieces, piece_metrics = one_step(problem, mesh=one_device(), weight=weight, micro_batches=4)
    np.testing.assert_allclose(piece_metrics.loss, whole_metrics.loss, rtol=1e-5)
    np.testing.assert_allclose(piece_metrics.gradient_norm, whole_metrics.gradient_norm, rtol=1e-4)
    # Adam's first step is the sign of the gradient: leaves at rounding level may flip.
    assert_close(pieces["head"]["layer_weights"], whole["head"]["layer_weights"], 1e-5)


def test_rows_of_weight_zero_do_not_count_even_if_wrong(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "weighted_sum")
    weight = np.array([1, 1, 1, 1, 0, 0, 0, 0], np.float32)
    other = np.where(weight == 0, (problem.labels + 1) % NUM_CLASSES, problem.labels)
    found, _ = one_step(problem, mesh=one_device(), weight=weight, labels=other)
    expected, _ = one_step(problem, mesh=one_device(), weight=weight)
    assert_close(found, expected, 0)


def make_trainer(problem, settings, *, score):
    objective = emotion_classes(NUM_CLASSES, score=score)
    return make_program(problem.network, objective, settings, mesh=one_device())


def fit_one(problem, program, *, train_rows, dev_rows, initial=None):
    run = RunInputs(jax.random.key(0), 0, train_rows, dev_rows, problem.statistics, initial)
    examples = Examples(DenseFeatures(problem.inputs), problem.labels.astype(np.int64))
    [result] = fit_runs(program, problem.base, examples, [run])
    return result


@pytest.mark.parametrize(
    "name",
    [name if name == "lora" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)
def test_every_method_overfits_a_handful_of_clips(name, small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, name)
    settings = TrainingSettings(
        epochs=60, batch_size=8, head_rate=3e-2, adaptation_rate=3e-3, weight_decay=0.0
    )
    program = make_trainer(problem, settings, score=accuracy)
    rows = np.arange(5)  # The clips of 2500 samples and more: one frame can hardly be told apart.
    result = fit_one(problem, program, train_rows=rows, dev_rows=rows)
    assert result.history[-1].train_loss < 0.1 * result.history[0].train_loss
    assert max(record.dev_score for record in result.history) == 1.0


def fit_once(problem, program, **options):
    return fit_one(problem, program, train_rows=np.arange(6), dev_rows=np.arange(6, 8), **options)


def test_training_twice_gives_the_same_bits(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "lora", head_dropout=0.3)
    settings = TrainingSettings(epochs=3, batch_size=4)
    program = make_trainer(problem, settings, score=true_probability)
    first, second = (fit_once(problem, program) for _ in range(2))
    assert_close(first.trainable, second.trainable, 0)
    assert first.history == second.history


def test_stage_two_goes_on_from_stage_one_and_leaves_it_untouched(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "lora")
    settings = TrainingSettings(epochs=2, batch_size=8)
    program = make_trainer(problem, settings, score=true_probability)
    first = fit_once(problem, program)
    kept = jax.tree.map(np.copy, first.trainable)
    second = fit_once(problem, program, initial=first.trainable)
    assert_close(first.trainable, kept, 0)
    fresh = fit_once(problem, program)
    assert_close(fresh.trainable, kept, 0)
    assert second.history[0].train_loss != first.history[0].train_loss


@pytest.mark.slow
def test_the_frozen_base_is_bit_unchanged_by_training(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "full")
    before = jax.tree.map(np.array, problem.base)
    settings = TrainingSettings(epochs=2, batch_size=8)
    fit_once(problem, make_trainer(problem, settings, score=true_probability))
    assert_close(problem.base, before, 0)


def test_the_best_dev_epoch_is_kept_and_the_last_of_equals(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "weighted_sum")
    scores = iter([0.1, 0.9, 0.9, 0.2])
    settings = TrainingSettings(epochs=4, batch_size=8)
    program = make_trainer(problem, settings, score=lambda labels, p: next(scores))
    result = fit_once(problem, program)
    assert result.best_epoch == 2
    model = TrainedModel(result.trainable, problem.statistics)
    probabilities = program.predictor.predict(
        model, problem.base, DenseFeatures(problem.inputs), np.arange(8)
    )
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_class_weights_make_every_class_weigh_the_same():
    labels = np.array([0, 0, 0, 0, 1, 2, 2])
    weights = balanced_weights(labels, num_classes=4)
    totals = [weights[labels == label].sum() for label in range(3)]
    np.testing.assert_allclose(totals, np.full(3, 7 / 3), rtol=1e-6)


def test_cross_entropy_is_minus_the_log_probability():
    logits = jnp.array([[0.0, jnp.log(3.0)], [1000.0, 0.0]])
    found = cross_entropy(logits, jnp.array([1, 0]))
    np.testing.assert_allclose(found, [-np.log(0.75), 0], rtol=1e-6)


def test_the_schedule_warms_up_then_falls_to_zero():
    schedule = warmup_cosine(warmup=0.1)
    values = [float(schedule(jnp.array(p))) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    np.testing.assert_allclose(values, [0, 0.5, 1, 0.5, 0], atol=1e-6)


def test_rules_shard_kernels_and_replicate_the_rest():
    mesh = make_mesh(fsdp=2, tensor=2)
    leaf = jnp.zeros((8, 4))
    tree = {"layers": {"0": {"q_proj": {"kernel": leaf}, "out_proj": {"kernel": leaf}}}, "a": leaf}
    specs = jax.tree.map(lambda sharding: sharding.spec, tree_shardings(tree, mesh))
    layer = specs["layers"]["0"]
    assert layer["q_proj"]["kernel"] == PartitionSpec("fsdp", "tensor")
    assert layer["out_proj"]["kernel"] == PartitionSpec("tensor", "fsdp")
    assert specs["a"] == PartitionSpec()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_mesh(data=3), "needs 3 devices; there are 8"),
        (lambda: make_mesh(run=-1, data=-1), "only one axis"),
        (lambda: make_mesh(fsdp=0), "expected 1 or more"),
        (
            lambda: tree_shardings(
                {"x": {"q_proj": {"kernel": jnp.zeros((3, 4))}}}, make_mesh(fsdp=2)
            ),
            "does not divide over 2 devices of mesh axis 'fsdp'",
        ),
    ],
)
def test_impossible_meshes_are_refused_with_the_numbers(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_rule_for_another_rank_is_refused():
    """A stacked kernel placed as a single one would lay its runs over `fsdp`."""
    stacked = {"x": {"q_proj": {"kernel": jnp.zeros((4, 8, 8))}}}
    with pytest.raises(ValueError, match="is for 2 axes"):
        tree_shardings(stacked, make_mesh(fsdp=2))


def test_a_stacked_leaf_without_the_run_axis_is_refused():
    single = {"x": {"q_proj": {"kernel": jnp.zeros((8, 8))}}}
    with pytest.raises(ValueError, match="expected 4 runs on its first axis"):
        stacked_shardings(single, make_mesh(fsdp=2), num_runs=4)


def test_a_stacked_kernel_has_its_runs_before_the_rules_axes():
    mesh = make_mesh(run=2, fsdp=2, tensor=2)
    tree = {"x": {"q_proj": {"kernel": jnp.zeros((4, 8, 8)), "bias": jnp.zeros((4, 8))}}}
    specs = jax.tree.map(lambda sharding: sharding.spec, stacked_shardings(tree, mesh, num_runs=4))
    assert specs["x"]["q_proj"]["kernel"] == PartitionSpec("run", "fsdp", "tensor")
    assert specs["x"]["q_proj"]["bias"] == PartitionSpec("run")


def test_any_one_axis_takes_what_the_others_leave():
    assert dict(make_mesh(run=-1, data=2).shape) == {"run": 4, "data": 2, "fsdp": 1, "tensor": 1}


def test_micro_batches_that_do_not_divide_a_batch_are_refused(small_encoder, stem_batch):
    problem = make_problem(small_encoder, stem_batch, "lora")
    with pytest.raises(ValueError, match="micro_batches=3"):
        make_trainer(problem, TrainingSettings(batch_size=8, micro_batches=3), score=accuracy)
