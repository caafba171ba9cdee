"""One sharded training step and one sharded prediction step.

`jax.jit` over a mesh with explicit shardings and a donated state; gradients of sums are accumulated over
micro-batches and divided once by the total example weight, so that splitting a batch changes nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxemo.training.model import Batch, Classifier, Frozen
from jaxemo.training.objectives import cross_entropy
from jaxemo.training.sharding import batch_sharding, replicated, tree_shardings


class TrainState(NamedTuple):
    """All that a step changes.

    Attributes:
      step: Steps done.
      num_steps: Length of the run; with `step` it gives the schedule's progress.
      trainable: {adaptation, head}.
      optimiser: optax state of the trainable tree alone.
      key: Root of the dropout stream; the step number is folded in, so a restart continues it.
    """

    step: Int[Array, ""]
    num_steps: Int[Array, ""]
    trainable: dict[str, Any]
    optimiser: Any
    key: PRNGKeyArray


class StepMetrics(NamedTuple):
    """Figures of one step."""

    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def init_state(
    key: PRNGKeyArray,
    trainable: dict[str, Any],
    *,
    optimiser: optax.GradientTransformation,
    num_steps: int,
) -> TrainState:
    """A state at step 0."""
    return TrainState(
        jnp.zeros((), jnp.int32),
        jnp.asarray(num_steps, jnp.int32),
        trainable,
        optimiser.init(trainable),
        key,
    )


def make_train_step(
    classifier: Classifier,
    optimiser: optax.GradientTransformation,
    *,
    schedule: Callable[[Float[Array, ""]], Float[Array, ""]],
    mesh: Mesh,
    micro_batches: int = 1,
) -> Callable[[TrainState, Frozen, Batch], tuple[TrainState, StepMetrics]]:
    """The jitted step (state, frozen, batch) -> (state, metrics); the old state's buffers are reused.

    loss = sum_i w_i cross_entropy_i / sum_i w_i over the global batch.

    Args:
      schedule: Progress in [0, 1] -> factor on the learning rates.
      micro_batches: Pieces a batch is cut into for gradient accumulation; must divide the batch.
    """

    def weighted_loss(trainable, frozen, batch, key):
        logits = classifier.logits(trainable, frozen, batch.inputs, dropout_key=key)
        return jnp.sum(batch.weight * cross_entropy(logits, batch.labels))

    def accumulated_gradient(state, frozen, batch):
        pieces = jax.tree.map(lambda leaf: leaf.reshape(micro_batches, -1, *leaf.shape[1:]), batch)
        step_key = jax.random.fold_in(state.key, state.step)

        def add_piece(total, indexed_piece):
            index, piece = indexed_piece
            key = jax.random.fold_in(step_key, index)
            new = jax.value_and_grad(weighted_loss)(state.trainable, frozen, piece, key)
            return jax.tree.map(jnp.add, total, new), None

        zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, state.trainable))
        (loss, gradient), _ = jax.lax.scan(add_piece, zero, (jnp.arange(micro_batches), pieces))
        total_weight = jnp.maximum(batch.weight.sum(), 1e-8)
        return jax.tree.map(lambda leaf: leaf / total_weight, (loss, gradient))

    def train_step(state: TrainState, frozen: Frozen, batch: Batch):
        loss, gradient = accumulated_gradient(state, frozen, batch)
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.trainable)
        # The middle of the step: neither the first nor the last one is spent at a rate of zero.
        factor = schedule((state.step + 0.5) / state.num_steps)
        trainable = optax.apply_updates(
            state.trainable, jax.tree.map(lambda update: factor * update, updates)
        )
        metrics = StepMetrics(loss, optax.tree.norm(gradient))
        advanced = TrainState(
            state.step + 1, state.num_steps, trainable, optimiser_state, state.key
        )
        return advanced, metrics

    return _jit_over_mesh(train_step, mesh, donate=True)


def make_predict_step(
    classifier: Classifier, *, mesh: Mesh
) -> Callable[[dict[str, Any], Frozen, Any], Float[Array, "B C"]]:
    """The jitted (trainable, frozen, inputs) -> class probabilities."""

    def predict(trainable: dict[str, Any], frozen: Frozen, inputs: Any) -> Float[Array, "B C"]:
        return jax.nn.softmax(classifier.logits(trainable, frozen, inputs))

    return _jit_over_mesh(predict, mesh, donate=False)


def _jit_over_mesh(function: Callable, mesh: Mesh, *, donate: bool) -> Callable:
    """jit with the shardings of `tree_shardings` for (state, frozen), and the batch over the mesh."""
    compiled: dict[Any, Callable] = {}

    def call(state, frozen, batch):
        structure = jax.tree.structure((state, frozen, batch))
        if structure not in compiled:
            state_shardings = tree_shardings(state, mesh)
            compiled[structure] = jax.jit(
                function,
                in_shardings=(
                    state_shardings,
                    tree_shardings(frozen, mesh),
                    batch_sharding(mesh),
                ),
                out_shardings=(state_shardings, replicated(mesh)) if donate else replicated(mesh),
                donate_argnums=0 if donate else (),
            )
        return compiled[structure](state, frozen, batch)

    return call
