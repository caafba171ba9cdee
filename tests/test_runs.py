"""Many runs as one program: each run's result is its own, whatever runs beside it, and on every mesh."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.data.augmentation import Purpose
from jaxemo.data.batches import shuffled_batches
from jaxemo.models.heads import layer_statistics
from jaxemo.peft import METHODS, make_method
from jaxemo.training.features import DenseFeatures, Examples, Features
from jaxemo.training.grids import make_grid
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Network
from jaxemo.training.objectives import Objective, emotion_classes
from jaxemo.training.optim import Rates
from jaxemo.training.predict import TrainedModel
from jaxemo.training.program import TrainingSettings, make_program
from jaxemo.training.sharding import make_mesh
from jaxemo.training.stack import RunInputs

# Batched and single products round differently, and Adam carries that on.
RUNS_TOLERANCE = 1e-5
MESH_TOLERANCE = 1e-4
NUM_CLIPS, NUM_CLASSES = 20, 3
SETTINGS = TrainingSettings(
    epochs=3, batch_size=4, micro_batches=2, head_rate=1e-2, adaptation_rate=1e-3
)
LABELS = np.arange(NUM_CLIPS) % NUM_CLASSES


class Problem(NamedTuple):
    """One method on twenty clips."""

    network: Network
    base: Any
    inputs: Any


def pooled_layers():
    return np.random.default_rng(0).normal(size=(NUM_CLIPS, 3, 16)).astype(np.float32)


def make_problem(name, small_encoder, stems, *, num_outputs=NUM_CLASSES):
    module, params = small_encoder
    method = make_method(name)
    network = Network(module, method, 8, 0.3, num_outputs)
    if method.frozen_layers is None:
        return Problem(network, {}, pooled_layers())
    return Problem(network, params, stems)


def classes():
    def score(labels, probabilities):
        return float(np.log(probabilities[np.arange(len(labels)), labels]).mean())

    return emotion_classes(NUM_CLASSES, score=score)


def program_of(problem, *, mesh=None, settings=SETTINGS):
    mesh = make_mesh(jax.devices()[:1]) if mesh is None else mesh
    return make_program(problem.network, classes(), settings, mesh=mesh)


def three_runs(initial=None):
    """Runs of different rows, lengths, seeds and statistics; the last one goes on from a tree."""
    train = [np.arange(12), np.arange(3, 18), np.arange(5)]
    dev = [np.arange(12, 20), np.r_[0:3, 18:20], np.arange(9, 16)]
    pooled = pooled_layers()
    return [
        RunInputs(
            key=jax.random.key(number),
            seed=(0, 5, 1)[number],
            train_rows=train[number],
            dev_rows=dev[number],
            statistics=layer_statistics(pooled[train[number]]),
            initial=initial if number == 2 else None,
        )
        for number in range(3)
    ]


def assert_equal_fits(found, expected, *, tolerance=RUNS_TOLERANCE):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.history, other.history, atol=tolerance, rtol=tolerance)
        assert one.best_epoch == other.best_epoch
        leaves = jax.tree_util.tree_leaves_with_path(other.trainable)
        for (path, leaf), twin in zip(leaves, jax.tree.leaves(one.trainable), strict=True):
            # A shift of all keys leaves the softmax alone: this gradient is rounding, which Adam scales.
            if "k_proj/bias" not in jax.tree_util.keystr(path, simple=True, separator="/"):
                np.testing.assert_allclose(twin, leaf, atol=tolerance, err_msg=str(path))


# Compiling takes most of a minute for each of these methods and meshes.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("weighted_sum", "lora") else [pytest.mark.slow])
        for name in METHODS
    ],
)
def test_runs_in_one_program_equal_each_run_alone(name, small_encoder, stems):
    problem = make_problem(name, small_encoder, stems)
    program = program_of(problem)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    [first] = fit_runs(program, problem.base, examples, three_runs()[:1])
    runs = three_runs(initial=first.trainable)
    alone = [fit_runs(program, problem.base, examples, [run])[0] for run in runs]
    assert_equal_fits(fit_runs(program, problem.base, examples, runs), alone)


@pytest.mark.slow
def test_runs_two_at_a_time_come_back_in_their_order(small_encoder, stems):
    problem = make_problem("weighted_sum", small_encoder, stems)
    program = program_of(problem)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    whole = fit_runs(program, problem.base, examples, three_runs())
    told = []
    pairs = fit_runs(
        program,
        problem.base,
        examples,
        three_runs(),
        runs_at_once=2,
        on_epoch=lambda run, record, timing: told.append((run, record.epoch)),
    )
    assert_equal_fits(pairs, whole)
    assert sorted(told) == [(run, epoch) for run in range(3) for epoch in range(3)]


def test_no_more_runs_than_the_cache_holds_are_one_program(monkeypatch, small_encoder, stems):
    problem = make_problem("weighted_sum", small_encoder, stems)
    program = program_of(problem)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    whole = fit_runs(program, problem.base, examples, three_runs())
    monkeypatch.setattr("jaxemo.training.loop.runs_in_cache", lambda *problem: 2)
    stacks = []
    cut = fit_runs(program, problem.base, examples, three_runs(), snapshots=stacks.append)
    assert sorted(len(stack) for stack in stacks) == [1, 2]
    assert_equal_fits(cut, whole)


@pytest.mark.parametrize("name", ["weighted_sum", pytest.param("lora", marks=pytest.mark.slow)])
def test_runs_of_different_rates_equal_programs_of_each_rate(name, small_encoder, stems):
    problem = make_problem(name, small_encoder, stems)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    rates = [Rates(3e-2, 1e-3), Rates(1e-3, 1e-2), SETTINGS.rates]
    one = three_runs()[0]
    together = fit_runs(
        program_of(problem),
        problem.base,
        examples,
        [one._replace(rates=own) for own in rates[:2]] + [one],
    )
    alone = [
        fit_runs(
            program_of(problem, settings=SETTINGS._replace(**own._asdict())),
            problem.base,
            examples,
            [one],
        )[0]
        for own in rates
    ]
    assert_equal_fits(together, alone)


def test_one_run_gives_these_figures(small_encoder, stems):
    """Recorded from the loop that knew one run only (revision faa71de), on the same parameters."""
    problem = make_problem("lora", small_encoder, stems)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    [result] = fit_runs(program_of(problem), problem.base, examples, three_runs()[:1])
    np.testing.assert_allclose(result.history, RECORDED, atol=1e-5)


# Epoch, training loss, gradient norm, dev score.
RECORDED = (
    (0, 1.2698378562927246, 1.3795751333236694, -1.1927967071533203),
    (1, 1.1162633895874023, 1.4341802597045898, -1.1731362342834473),
    (2, 1.0796304941177368, 1.0738309621810913, -1.1724454164505005),
)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("weighted_sum", {"run": 2, "data": 4}),
        pytest.param("lora", {"run": 8, "data": 1}, marks=pytest.mark.slow),
        pytest.param("lora", {"data": 8}, marks=pytest.mark.slow),
        pytest.param("lora", {"data": 2, "fsdp": 2, "tensor": 2}, marks=pytest.mark.slow),
        pytest.param("lora", {"run": 2, "data": 2, "tensor": 2}, marks=pytest.mark.slow),
    ],
)
def test_runs_do_not_depend_on_the_mesh_though_nothing_divides(name, axes, small_encoder, stems):
    """Three runs over 8 devices, micro-batches of two clips over 4 or 8: all are filled up."""
    problem = make_problem(name, small_encoder, stems)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    alone = fit_runs(program_of(problem), problem.base, examples, three_runs())
    program = program_of(problem, mesh=make_mesh(**axes))
    spread = fit_runs(program, problem.base, examples, three_runs())
    assert_equal_fits(spread, alone, tolerance=MESH_TOLERANCE)


@pytest.mark.slow
def test_inputs_taken_on_the_host_give_what_the_table_gives(small_encoder, stems):
    problem = make_problem("lora", small_encoder, stems)
    program = program_of(problem)
    by_table, by_host = (
        fit_runs(
            program,
            problem.base,
            Examples(DenseFeatures(problem.inputs, table_bytes=size), LABELS),
            three_runs(),
        )
        for size in (2**20, 0)
    )
    assert_equal_fits(by_host, by_table)


class RaggedStems:
    """Clips of their own lengths, cropped at random in training, padded to the batch's longest."""

    def __init__(self, stems):
        self.stems = stems
        self.training_lengths = stems.frame_mask.sum(axis=1)
        self.widths = set()

    def take(self, rows, *, draw, beside=None):
        width = int(self.stems.frame_mask[rows.ravel()].sum(axis=1).max())
        features = self.stems.features[rows][..., :width, :]
        mask = self.stems.frame_mask[rows][..., :width]
        self.widths.add(width)
        if draw is not None:
            starts = [stream.numbers(Purpose.CROP).integers(2) for stream in draw.streams(rows)]
            # From the clip's own end: how wide the batch is depends on the runs beside it.
            ends = mask.sum(axis=-1, keepdims=True) - np.reshape(starts, (*rows.shape, 1))
            mask = mask & (np.arange(width) < ends)
        return type(self.stems)(features, mask)


@pytest.mark.slow
def test_ragged_features_train_the_same_alone_and_together(small_encoder, stems):
    problem = make_problem("adapter", small_encoder, stems)
    features = RaggedStems(stems)
    assert isinstance(features, Features)
    program, examples = program_of(problem), Examples(features, LABELS)
    alone = [fit_runs(program, problem.base, examples, [run])[0] for run in three_runs()]
    assert_equal_fits(fit_runs(program, problem.base, examples, three_runs()), alone)
    assert len(features.widths) > 1


def regression():
    """Two values per clip under squared error: an objective that the package does not have."""
    return Objective(
        name="two_values",
        num_outputs=2,
        terms=lambda outputs, targets: jnp.mean((jnp.tanh(outputs) - targets) ** 2, axis=-1),
        example_weights=lambda targets: np.ones(len(targets), np.float32),
        predict=jnp.tanh,
        score=lambda targets, predictions: -float(np.mean((targets - predictions) ** 2)),
    )


def test_another_kind_of_label_is_one_more_objective(small_encoder, stems):
    problem = make_problem("weighted_sum", small_encoder, stems, num_outputs=2)
    network = problem.network._replace(head_dropout=0.0)
    settings = SETTINGS._replace(epochs=200, head_rate=2e-2)
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(network, regression(), settings, mesh=mesh)
    targets = np.tanh(pooled_layers()[:, 1, :2]) / 2
    examples = Examples(DenseFeatures(problem.inputs), targets)
    run = three_runs()[0]._replace(dev_rows=np.arange(12))
    [result] = fit_runs(program, problem.base, examples, [run])
    model = TrainedModel(result.trainable, run.statistics)
    found = program.predictor.predict(model, {}, examples.inputs, np.arange(12))
    assert found.shape == (12, 2)
    assert np.mean((found - targets[:12]) ** 2) < 0.1 * np.var(targets[:12])


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_models_beside_them_nor_on_the_mesh(small_encoder, stems):
    problem = make_problem("adapter", small_encoder, stems)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    runs = three_runs()
    fits = fit_runs(program_of(problem), problem.base, examples, runs)
    models = [
        TrainedModel(fit.trainable, run.statistics) for fit, run in zip(fits, runs, strict=True)
    ]
    rows = [np.arange(20), np.array([7]), np.array([3, 3, 1])]
    alone = program_of(problem).predictor
    spread = program_of(problem, mesh=make_mesh(run=2, data=4)).predictor
    together = spread.predict_runs(models, problem.base, examples.inputs, rows, models_at_once=2)
    for model, chosen, found in zip(models, rows, together, strict=True):
        expected = alone.predict(model, problem.base, examples.inputs, chosen)
        np.testing.assert_allclose(found, expected, atol=RUNS_TOLERANCE)


def test_a_run_without_dev_rows_is_refused_by_its_number(small_encoder, stems):
    problem = make_problem("weighted_sum", small_encoder, stems)
    runs = three_runs()
    runs[1] = runs[1]._replace(dev_rows=np.arange(0))
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    with pytest.raises(ValueError, match="run 1 has no dev rows"):
        fit_runs(program_of(problem), problem.base, examples, runs)


def test_a_score_that_is_never_a_number_is_an_error(small_encoder, stems):
    problem = make_problem("weighted_sum", small_encoder, stems)
    objective = emotion_classes(NUM_CLASSES, score=lambda labels, probabilities: float("nan"))
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(problem.network, objective, SETTINGS, mesh=mesh)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    with pytest.raises(FloatingPointError, match="run 0 was NaN in all 3 epochs"):
        fit_runs(program, problem.base, examples, three_runs())


def test_a_grid_holds_each_runs_own_order_and_fills_the_rest():
    mesh = make_mesh(run=2, data=4)
    rows = [np.arange(10), np.arange(10, 13), np.arange(5)]
    batches = [list(shuffled_batches(r, batch_size=4, seed=s, epoch=2)) for s, r in enumerate(rows)]
    grid = make_grid(batches, mesh, micro_batches=2)
    assert grid.rows.shape == (3, 4, 2, 4)
    assert grid.active.T.tolist() == [
        [True] * 3,
        [True, False, False],
        [True, True, False],
        [False] * 3,
    ]
    for run, run_batches in enumerate(batches):
        expected = np.concatenate([batch.rows[batch.valid] for batch in run_batches])
        np.testing.assert_array_equal(grid.rows[:, run][grid.valid[:, run]], expected)
    assert not grid.valid[:, 3].any()
