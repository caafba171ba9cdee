"""Training steps of many runs at once, as one compiled program over a shared frozen base.

A step of one run is a pure function; `jax.vmap` lays it over a leading run axis of everything that
belongs to a run, while the base and the table of inputs are shared. Example weights are shares of the
whole batch's, and sums over examples are accumulated over micro-batches, so that splitting a batch changes
nothing.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from jaxemo.models.heads import LayerStatistics
from jaxemo.models.kernel_products import kernels_gathered_at_use
from jaxemo.peft.method import Params
from jaxemo.training.features import look_up
from jaxemo.training.model import Network
from jaxemo.training.objectives import Objective
from jaxemo.training.optim import Rates
from jaxemo.training.sharding import (
    compiler_options,
    gathers_kernels,
    replicated,
    stacked_shardings,
)


class RunState(NamedTuple):
    """All that a step changes, for one run; stacked, every leaf has the runs first.

    Attributes:
      step: Steps done.
      num_steps: Length of the run; with `step` it gives the schedule's progress.
      rates: Peak learning rates of the run.
      trainable: {adaptation, head}.
      average: Exponential moving average of the trainable tree; () where none is kept.
      optimiser: optax state of the trainable tree alone.
      key: Root of the dropout stream; the step number is folded in, so a restart continues it.
      inherited: What is merged into the base for this run alone (`Network.own_base`); () for nothing.
    """

    step: Int[Array, "..."]
    num_steps: Int[Array, "..."]
    rates: Rates
    trainable: dict[str, Any]
    average: Any
    optimiser: Any
    key: Key[Array, "..."]
    inherited: Any = ()

    @property
    def evaluated(self) -> dict[str, Any]:
        """The tree that is scored and kept: the average where there is one."""
        return self.average or self.trainable


class Batch(NamedTuple):
    """Examples of one step in M micro-batches; examples that only fill it up have weight 0.

    Attributes:
      inputs: Row numbers [M, B] of the table or, without one, arrays that lead with these axes.
      targets: As the objective reads them.
      weight: Of each example in the loss.
    """

    inputs: Any
    targets: Shaped[Array, "..."]
    weight: Float[Array, "..."]


class StepMetrics(NamedTuple):
    """Figures of one step."""

    loss: Float[Array, "..."]
    gradient_norm: Float[Array, "..."]


class Shared(NamedTuple):
    """What all runs read and none writes.

    Attributes:
      base: The encoder's frozen parameters; empty where the whole encoder is frozen.
      table: Inputs of all clips; None where each call brings its own.
    """

    base: Params
    table: Any


Steps = Callable[..., tuple[RunState, StepMetrics]]


def init_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key of a run's initialisation, from the run's own."""
    return jax.random.split(key)[0]


def _dropout_key(key: Key[Array, ""]) -> Key[Array, ""]:
    return jax.random.split(key)[1]


def make_init_runs(
    network: Network,
    optimiser: optax.GradientTransformation,
    *,
    mesh: Mesh,
    ema_decay: float = 0.0,
) -> Callable[..., RunState]:
    """The jitted (keys, statistics, base, num_steps, rates, initial, inherited) -> stacked state at step 0.

    `initial` is None or (given, trees): where `given` is True a run starts from its tree.
    """

    def one_run(key, statistics, base, num_steps, rates, initial, inherited) -> RunState:
        own_base = network.own_base(base, inherited)
        trainable = network.init(init_key(key), own_base, statistics)
        if initial is not None:
            trainable = _select(initial[0], initial[1], trainable)
        return RunState(
            step=jnp.zeros((), jnp.int32),
            num_steps=num_steps,
            rates=rates,
            trainable=trainable,
            average=jax.tree.map(jnp.copy, trainable) if ema_decay else (),
            optimiser=optimiser.init(trainable),
            key=_dropout_key(key),
            inherited=inherited,
        )

    def all_runs(keys, statistics, base, num_steps, rates, initial, inherited=()) -> RunState:
        stacked = jax.vmap(one_run, in_axes=(0, 0, None, 0, 0, 0, 0))
        states = stacked(keys, statistics, base, num_steps, rates, initial, inherited)
        return _constrain(states, mesh)

    return jax.jit(all_runs)


def make_train_steps(
    network: Network,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    *,
    schedule: Callable[[Float[Array, ""]], Float[Array, ""]],
    mesh: Mesh,
    ema_decay: float = 0.0,
) -> Steps:
    """The jitted (states, statistics, shared, batches, active, num_steps) -> (states, metrics).

    The loss is the objective's, over a run's whole batch. `batches` has leading axes [S, R] (step,
    run) and the first `num_steps` of the S are done. A run whose `active` [S, R] is False keeps its
    whole state bit for bit; None means that all are active. The old states' buffers are reused.

    Args:
      schedule: Progress in [0, 1] -> factor on the learning rates.
      ema_decay: Of the moving average of what is trained; 0 for none.
    """
    one_run = _make_one_run(network, objective, optimiser, schedule, ema_decay, mesh)
    every_run = jax.vmap(one_run, in_axes=(0, 0, None, 0, 0))

    def steps(
        states: RunState,
        statistics: LayerStatistics,
        shared: Shared,
        batches: Batch,
        active: Bool[Array, "S R"] | None,
        num_steps: Int[Array, ""],
    ) -> tuple[RunState, StepMetrics]:
        def one_step(index, carry):
            states, metrics = carry
            batch, is_active = jax.tree.map(lambda leaf: leaf[index], (batches, active))
            states, figures = every_run(states, statistics, shared, batch, is_active)
            metrics = jax.tree.map(lambda all_, one: all_.at[index].set(one), metrics, figures)
            # Whole everywhere: every process reads the figures of all runs.
            metrics = jax.lax.with_sharding_constraint(metrics, replicated(mesh))
            return _constrain(states, mesh), metrics

        capacity, num_runs = batches.weight.shape[:2]
        start = (states, StepMetrics(*(jnp.zeros((capacity, num_runs)) for _ in range(2))))
        if capacity == 1:
            return one_step(0, start)
        return jax.lax.fori_loop(0, num_steps, one_step, start)

    return jax.jit(steps, donate_argnums=0, compiler_options=compiler_options(mesh))


def make_keep_better(mesh: Mesh) -> Callable[[Any, Any, Bool[Array, " R"]], Any]:
    """The jitted (best, latest, better) -> each run's `latest` where `better`, else its `best`."""

    def keep(best: Any, latest: Any, better: Bool[Array, " R"]) -> Any:
        return _constrain(jax.vmap(_select)(better, latest, best), mesh)

    return jax.jit(keep, donate_argnums=0)


def _make_one_run(
    network: Network, objective: Objective, optimiser, schedule, ema_decay: float, mesh: Mesh
) -> Callable:
    """(state, statistics, shared, batch, active) -> (state, metrics) of a single run."""

    def weighted_terms(trainable, statistics, shared, piece, key):
        """sum_i w_i terms_i over a micro-batch."""
        inputs = look_up(shared.table, piece.inputs)
        with kernels_gathered_at_use() if gathers_kernels(mesh) else contextlib.nullcontext():
            outputs = network.outputs(
                trainable, shared.base, inputs, statistics=statistics, dropout_key=key
            )
        terms = objective.terms(outputs, piece.targets)
        return jnp.sum(jnp.expand_dims(piece.weight, range(1, terms.ndim)) * terms, axis=0)

    def mean_gradient(state: RunState, statistics, shared, batch: Batch):
        step_key = jax.random.fold_in(state.key, state.step)
        share = batch.weight / jnp.maximum(batch.weight.sum(), 1e-8)
        pieces = (jnp.arange(len(share)), batch._replace(weight=share))

        def terms_of(trainable, indexed_piece):
            index, piece = indexed_piece
            key = jax.random.fold_in(step_key, index)
            return weighted_terms(trainable, statistics, shared, piece, key)

        if objective.of_means is not None:
            return _batch_loss_gradient(terms_of, objective.of_means, state.trainable, pieces)
        zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.trainable))
        of_piece = jax.value_and_grad(terms_of)
        return _summed(lambda piece: of_piece(state.trainable, piece), pieces, zero)

    def train_step(state: RunState, statistics, shared: Shared, batch: Batch, active):
        shared = shared._replace(base=network.own_base(shared.base, state.inherited))
        loss, gradient = mean_gradient(state, statistics, shared, batch)
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.trainable)
        # The middle of the step: neither the first nor the last one is spent at a rate of zero.
        factor = schedule((state.step + 0.5) / state.num_steps)
        trainable = optax.apply_updates(state.trainable, state.rates.scale(updates, factor))
        advanced = state._replace(
            step=state.step + 1,
            trainable=trainable,
            average=moved_average(state.average, trainable, decay=ema_decay, step=state.step),
            optimiser=optimiser_state,
        )
        if active is not None:
            advanced = _select(active, advanced._replace(key=None), state._replace(key=None))
            advanced = advanced._replace(key=state.key)
        return advanced, StepMetrics(loss, optax.tree.norm(gradient))

    return train_step


def _batch_loss_gradient(terms_of, of_means, trainable, pieces):
    """(loss, gradient) of of_means(m), m = sum_i w_i terms_i over all pieces of a batch, sum_i w_i = 1.

    By the chain rule: the slope of `of_means` at m, then the gradient of slope . terms piece by piece.
    """
    slope_at = jax.value_and_grad(of_means)
    if len(pieces[0]) == 1:
        only = jax.tree.map(lambda leaf: leaf[0], pieces)
        means, pull_back = jax.vjp(lambda tree: terms_of(tree, only), trainable)
        loss, slope = slope_at(means)
        return loss, pull_back(slope)[0]
    shape = jax.eval_shape(terms_of, trainable, jax.tree.map(lambda leaf: leaf[0], pieces)).shape
    means = _summed(lambda piece: terms_of(trainable, piece), pieces, jnp.zeros(shape))
    loss, slope = slope_at(means)

    def along_slope(tree, piece):
        return jnp.sum(slope * terms_of(tree, piece))

    zero = jax.tree.map(jnp.zeros_like, trainable)
    return loss, _summed(lambda piece: jax.grad(along_slope)(trainable, piece), pieces, zero)


def _summed(of_piece: Callable[[Any], Any], pieces: Any, zero: Any) -> Any:
    """sum over pieces of of_piece(piece), one after the other."""

    def add(total, piece):
        return jax.tree.map(jnp.add, total, of_piece(piece)), None

    return jax.lax.scan(add, zero, pieces)[0]


def moved_average(average: Any, trainable: Any, *, decay: float, step: Int[Array, ""]) -> Any:
    """average + (1 - d) (trainable - average), d = min(decay, (1 + step) / (10 + step)).

    The smaller d of the first steps lets the average forget where training began, as in TensorFlow's
    ExponentialMovingAverage.

    Args:
      average: () where none is kept.
      step: Steps done before this one.
    """
    if average == ():
        return ()
    rate = 1 - jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + rate * (new - old), average, trainable)


def _select(condition: Bool[Array, ""], yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _constrain(stacked: Any, mesh: Mesh) -> Any:
    num_runs = jax.tree.leaves(stacked)[0].shape[0]
    shardings = stacked_shardings(stacked, mesh, num_runs=num_runs)
    return jax.lax.with_sharding_constraint(stacked, shardings)
