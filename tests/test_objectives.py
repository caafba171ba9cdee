"""Losses against their formulas, and a batch's loss that no cut into pieces or devices changes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.models.heads import layer_statistics
from jaxemo.peft import make_method
from jaxemo.training import objectives
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Network
from jaxemo.training.predict import TrainedModel
from jaxemo.training.program import TrainingSettings, make_program
from jaxemo.training.sharding import make_mesh
from jaxemo.training.stack import RunInputs

NUM_CLIPS = 22
SPLITTING_TOLERANCE = 2e-5


def random_logits(rows=7, columns=4, *, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32) * 3


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_focus_and_smoothing_is_its_formula(gamma, smoothing):
    logits, labels = random_logits(), jnp.arange(7) % 4
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    q = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    expected = -(q * (1 - p) ** gamma * np.log(p)).sum(axis=1)
    found = objectives.cross_entropy(
        jnp.asarray(logits), labels, focal_gamma=gamma, label_smoothing=smoothing
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_binary_cross_entropy_is_its_formula(gamma):
    logits = random_logits()
    tags = (np.random.default_rng(1).random(logits.shape) < 0.4).astype(np.float32)
    p = 1 / (1 + np.exp(-logits))
    true = np.where(tags > 0, p, 1 - p)
    expected = -((1 - true) ** gamma * np.log(true)).mean(axis=1)
    found = objectives.binary_cross_entropy(
        jnp.asarray(logits), jnp.asarray(tags), focal_gamma=gamma
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_losses_of_certain_answers_have_finite_slopes(gamma):
    logits = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
    labels, tags = jnp.array([0, 0]), jnp.array([[1.0, 0.0], [1.0, 0.0]])
    loss = lambda x: objectives.cross_entropy(x, labels, focal_gamma=gamma).sum()  # noqa: E731
    binary = lambda x: objectives.binary_cross_entropy(x, tags, focal_gamma=gamma).sum()  # noqa: E731
    for one in (loss, binary):
        assert np.isfinite(jax.grad(one)(logits)).all()


def concordance(p, t, weight):
    """Lin's formula over rows repeated by whole weights."""
    p, t = (np.repeat(values, weight, axis=0) for values in (p, t))
    covariance = ((p - p.mean(0)) * (t - t.mean(0))).mean(0)
    return 2 * covariance / (p.var(0) + t.var(0) + (p.mean(0) - t.mean(0)) ** 2)


@given(st.integers(0, 2**32 - 1))
def test_concordance_loss_is_lins_formula_over_weighted_rows(seed):
    draw = np.random.default_rng(seed)
    p, t = draw.uniform(-1, 1, size=(2, 12, 3)).astype(np.float32)
    weight = np.r_[1, 2, draw.integers(0, 3, 10)]
    terms = np.asarray(objectives.concordance_terms(jnp.asarray(p), jnp.asarray(t)), np.float64)
    means = jnp.asarray(np.tensordot(weight / weight.sum(), terms, axes=1), jnp.float32)
    expected = 1 - concordance(p.astype(np.float64), t.astype(np.float64), weight).mean()
    assert float(objectives.concordance_loss(means)) == pytest.approx(expected, abs=1e-5)


def test_concordance_of_equal_constants_has_no_value_that_is_not_a_number():
    """A last batch of one clip, for example."""
    terms = objectives.concordance_terms(jnp.full((1, 2), 0.5), jnp.full((1, 2), 0.5))
    loss, slope = jax.value_and_grad(objectives.concordance_loss)(terms[0])
    assert float(loss) == 1.0
    assert np.isfinite(slope).all()


# In training --------------------------------------------------------------------------------


def pooled_layers():
    return np.random.default_rng(0).normal(size=(NUM_CLIPS, 3, 16)).astype(np.float32)


def true_ratings():
    return np.tanh(pooled_layers()[:, 1, :2])


def fit_ratings(*, micro_batches=1, axes=None, epochs=2) -> Any:
    network = Network(None, make_method("weighted_sum"), 8, 0.3 if epochs == 2 else 0.0, 2)
    score = lambda t, p: float(concordance(p, t, np.ones(len(t), int)).mean())  # noqa: E731
    settings = TrainingSettings(
        epochs=epochs, batch_size=8, micro_batches=micro_batches, head_rate=2e-2
    )
    mesh = make_mesh(jax.devices()[:1]) if axes is None else make_mesh(**axes)
    program = make_program(network, objectives.ratings(2, score=score), settings, mesh=mesh)
    run = RunInputs(
        key=jax.random.key(0),
        seed=0,
        train_rows=np.arange(19),  # The last batch is not full.
        dev_rows=np.arange(19, NUM_CLIPS) if epochs == 2 else np.arange(19),
        statistics=layer_statistics(pooled_layers()),
    )
    examples = Examples(DenseFeatures(pooled_layers()), true_ratings())
    return program, run, fit_runs(program, {}, examples, [run])[0], examples


def test_concordance_is_of_the_whole_batch_on_every_mesh():
    *_, alone, _ = fit_ratings()
    *_, spread, _ = fit_ratings(axes={"data": 4, "run": 2})
    np.testing.assert_allclose(spread.history, alone.history, atol=SPLITTING_TOLERANCE)


def test_concordance_is_of_the_whole_batch_in_micro_batches():
    """Without dropout, whose draws are each micro-batch's own."""
    fits = [fit_ratings(micro_batches=pieces, epochs=3)[2] for pieces in (1, 2, 8)]
    for fit in fits[1:]:
        np.testing.assert_allclose(fit.history, fits[0].history, atol=SPLITTING_TOLERANCE)
        compare = functools.partial(np.testing.assert_allclose, atol=1e-4)
        jax.tree.map(compare, fit.trainable, fits[0].trainable)


def test_ratings_are_learnt_to_a_concordance_near_one():
    program, run, fit, examples = fit_ratings(epochs=100)
    model = TrainedModel(fit.trainable, run.statistics)
    rows = np.arange(19)
    found = program.predictor.predict(model, {}, examples.inputs, rows)
    assert concordance(found, true_ratings()[rows], np.ones(19, int)).min() > 0.9


def test_tags_are_learnt_each_for_itself():
    network = Network(None, make_method("weighted_sum"), 16, 0.0, 3)
    objective = objectives.tags(3, score=lambda t, p: -float(np.abs(t - p).mean()))
    settings = TrainingSettings(epochs=150, batch_size=8, head_rate=2e-2)
    program = make_program(network, objective, settings, mesh=make_mesh(jax.devices()[:1]))
    tags = (pooled_layers()[:, 1, :3] > 0).astype(np.float32)
    assert {tuple(row) for row in tags} > {(1.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    rows = np.arange(NUM_CLIPS)
    run = RunInputs(jax.random.key(0), 0, rows, rows, layer_statistics(pooled_layers()))
    examples = Examples(DenseFeatures(pooled_layers()), tags)
    [fit] = fit_runs(program, {}, examples, [run])
    model = TrainedModel(fit.trainable, run.statistics)
    found = program.predictor.predict(model, {}, examples.inputs, rows)
    np.testing.assert_array_equal(found > 0.5, tags > 0.5)
