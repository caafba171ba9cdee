"""Pre-training as one compiled step: masked pass, loss, AdamW, teacher, over a mesh.

Everything that a step changes or reads is one tree (`State`), so that saving and restoring it is one
call. Nothing random is kept in it: masks, dropout and noise follow from the seed and the step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from jaxemo.models.encoder import AudioEncoder
from jaxemo.peft.method import Method
from jaxemo.pretraining.collapse import HiddenUse, hidden_use
from jaxemo.pretraining.forward import make_forward, make_masked_forward
from jaxemo.pretraining.masking import MaskSettings
from jaxemo.pretraining.objectives.objective import (
    Clips,
    Draw,
    Loss,
    Objective,
    Params,
)
from jaxemo.training.sharding import batch_ways, tree_shardings


class Recipe(NamedTuple):
    """How the parameters move.

    Attributes:
      num_steps: Length of the run; the learning rate ends there at 0.
      learning_rate: At its peak.
      warmup: Share of the steps in which it rises from 0.
      weight_decay: Of kernels, per unit of learning rate.
      clip_norm: Largest global norm of a gradient.
      mask: How much is masked.
      dropout: Whether the encoder's dropout rates act.
      seed: Of masks, dropout and noise.
    """

    num_steps: int
    learning_rate: float = 5e-4
    warmup: float = 0.08
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    mask: MaskSettings = MaskSettings()
    dropout: bool = False
    seed: int = 0


class State(NamedTuple):
    """All that a run is, between two steps.

    Attributes:
      step: Steps done.
      base: Frozen parameters under an adaptation; empty where the encoder itself is trained.
      trained: {encoder, head}; under an adaptation `encoder` holds its parameters.
      teacher: The objective's slow copy of the encoder; empty without one.
      targets: What the objective's targets were fitted to; never changes.
      optimiser: Of `trained`.
    """

    step: Int[Array, ""]
    base: Params
    trained: dict[str, Params]
    teacher: Params
    targets: Any
    optimiser: Any


class Figures(NamedTuple):
    """Sums of one step or of one evaluation, but for the gradient's norm.

    Attributes:
      loss: See `Loss`.
      hidden: Of the last hidden state.
      gradient_norm: Before clipping; 0 in an evaluation.
    """

    loss: Loss
    hidden: HiddenUse
    gradient_norm: Float[Array, ""]


class Program(NamedTuple):
    """The compiled functions of one run.

    Attributes:
      init: (encoder parameters, targets) -> the state at step 0, placed on the mesh.
      step: (state, clips with leading axes [micro-batch, clip]) -> (state, figures); uses up the state.
      evaluate: (state, clips) -> figures, under one fixed mask and without dropout.
      encoder: state -> the encoder's parameters, an adaptation merged.
      shardings: Of a state, given as arrays or shapes.
      ways: Devices over which clips lie.
    """

    init: Callable[[Params, Any], State]
    step: Callable[[State, Clips], tuple[State, Figures]]
    evaluate: Callable[[State, Clips], Figures]
    encoder: Callable[[State], Params]
    shardings: Callable[[Any], Any]
    ways: int


def make_program(
    module: AudioEncoder,
    objective: Objective,
    recipe: Recipe,
    *,
    mesh: Mesh,
    adaptation: Method | None = None,
) -> Program:
    """Compiles on first use; clips lie over the mesh's data and fsdp axes.

    loss = sum over micro-batches of totals / sum of counts. A part that is no plain sum over frames
    (wav2vec 2.0's diversity) is taken micro-batch by micro-batch.

    Args:
      adaptation: What is trained instead of the encoder, such as LoRA; it must merge.

    Raises:
      ValueError: The encoder cannot be pre-trained by masking, or the adaptation cannot be merged.
    """
    optimiser = make_optimiser(recipe)
    merged = _make_merged(adaptation)
    totals = _make_totals(module, objective, recipe, merged)

    def shardings(tree: Any) -> Any:
        return tree_shardings(tree, mesh)

    def train_step(state: State, clips: Clips) -> tuple[State, Figures]:
        figures, gradient = _gradient(totals, state, clips, recipe.seed)
        updates, moved = optimiser.update(gradient, state.optimiser, state.trained)
        trained: Any = optax.apply_updates(state.trained, updates)
        teacher = _followed(objective, state, merged(state.base, trained["encoder"]))
        state = State(state.step + 1, state.base, trained, teacher, state.targets, moved)
        state = jax.lax.with_sharding_constraint(state, shardings(state))
        return state, figures._replace(gradient_norm=optax.tree.norm(gradient))

    def evaluate(state: State, clips: Clips) -> Figures:
        key = jax.random.fold_in(jax.random.key(recipe.seed), 2)
        _, figures = totals(state.trained, state, clips, (key, None))
        return figures

    placed = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
    flat = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    return Program(
        init=jax.jit(_make_init(objective, recipe, optimiser, adaptation, shardings)),
        step=_on(placed, jax.jit(train_step, donate_argnums=0)),
        evaluate=_on(flat, jax.jit(evaluate)),
        encoder=lambda state: merged(state.base, state.trained["encoder"]),
        shardings=shardings,
        ways=batch_ways(mesh),
    )


def make_optimiser(recipe: Recipe) -> optax.GradientTransformation:
    """Clipping, then AdamW (0.9, 0.98, 1e-6) on a warm-up and half a cosine down to 0.

    The betas are those of wav2vec 2.0, HuBERT and data2vec. Kernels alone are decayed.
    """
    rising = round(recipe.warmup * recipe.num_steps)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, rising, max(recipe.num_steps, rising + 1)
    )
    adamw = optax.adamw(
        # The middle of the step: neither the first nor the last one is spent at a rate of zero.
        lambda count: schedule(count + 0.5),
        b1=0.9,
        b2=0.98,
        eps=1e-6,
        weight_decay=recipe.weight_decay,
        mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim >= 2, tree),
    )
    return optax.chain(optax.clip_by_global_norm(recipe.clip_norm), adamw)


# (trained, state, clips, (key, dropout key or None)) -> (total, figures).
_Totals = Callable[..., tuple[Float[Array, ""], Figures]]


def _make_init(
    objective: Objective,
    recipe: Recipe,
    optimiser: optax.GradientTransformation,
    adaptation: Method | None,
    shardings: Callable[[Any], Any],
) -> Callable[[Params, Any], State]:
    def init(encoder: Params, targets: Any) -> State:
        key = jax.random.key(recipe.seed)
        # Copies of their own: a step uses its state's buffers up, one by one.
        base, own = {}, jax.tree.map(jnp.copy, encoder)
        if adaptation is not None:
            base, own = own, adaptation.init(jax.random.fold_in(key, 4), encoder)
        trained = {"encoder": own, "head": objective.init(jax.random.fold_in(key, 1))}
        teacher = {} if objective.teacher is None else jax.tree.map(jnp.copy, encoder)
        step = jnp.zeros((), jnp.int32)
        state = State(step, base, trained, teacher, targets, optimiser.init(trained))
        return jax.lax.with_sharding_constraint(state, shardings(state))

    return init


def _make_merged(adaptation: Method | None) -> Callable[[Params, Params], Params]:
    """(base, trained) -> the encoder's parameters."""
    if adaptation is None:
        return lambda _, trained: trained
    if adaptation.merge is None:
        raise ValueError(
            f"method {adaptation.name!r} cannot be merged into an encoder; take 'lora' or none"
        )
    return adaptation.merge


def _make_totals(
    module: AudioEncoder,
    objective: Objective,
    recipe: Recipe,
    merged: Callable[[Params, Params], Params],
) -> _Totals:
    masked_forward = make_masked_forward(module, recipe.mask)
    forward = make_forward(module)

    def totals(trained, state: State, clips: Clips, keys):
        mask_key, draw_key = jax.random.split(keys[0])
        seen_by_teacher = None
        if objective.teacher is not None:
            seen_by_teacher = forward(state.teacher, clips)
        targets = objective.targets(clips, state.targets, seen_by_teacher)
        targets = jax.lax.stop_gradient(targets)
        encoder = merged(state.base, trained["encoder"])
        encoded = masked_forward(encoder, clips, mask_key, keys[1])
        loss = objective.loss(trained["head"], encoded, targets, Draw(draw_key, state.step))
        hidden = hidden_use(encoded.hidden_states[-1], encoded.frame_mask)
        return loss.total, jax.lax.stop_gradient(Figures(loss, hidden, jnp.zeros(())))

    def with_dropout(trained, state: State, clips: Clips, keys):
        key, dropout_key = keys
        return totals(trained, state, clips, (key, dropout_key if recipe.dropout else None))

    return with_dropout


def _gradient(totals: _Totals, state: State, clips: Clips, seed: int) -> tuple[Figures, Params]:
    """Figures of all micro-batches, and the gradient of their loss."""
    step_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 3), state.step)
    differentiate = jax.value_and_grad(totals, has_aux=True)

    def one(index: Int[Array, ""], piece: Clips) -> tuple[Figures, Params]:
        keys = jax.random.split(jax.random.fold_in(step_key, index))
        (_, figures), gradient = differentiate(state.trained, state, piece, (keys[0], keys[1]))
        return figures, gradient

    def add(summed, indexed):
        return jax.tree.map(jnp.add, summed, one(*indexed)), None

    first = one(jnp.zeros((), jnp.int32), jax.tree.map(lambda leaf: leaf[0], clips))
    rest = jax.tree.map(lambda leaf: leaf[1:], clips)
    indices = jnp.arange(1, clips.num_samples.shape[0])
    figures, gradient = first
    if indices.size:
        (figures, gradient), _ = jax.lax.scan(add, first, (indices, rest))
    count = jnp.maximum(figures.loss.count, 1.0)
    return figures, jax.tree.map(lambda leaf: leaf / count, gradient)


def _followed(objective: Objective, state: State, encoder: Params) -> Params:
    if objective.teacher is None:
        return state.teacher
    decay = objective.teacher.decay(state.step)
    return jax.tree.map(lambda slow, new: decay * slow + (1 - decay) * new, state.teacher, encoder)


def _on(sharding: NamedSharding, compiled: Callable) -> Callable:
    """The function with its clips placed over the mesh first."""
    return lambda state, clips: compiled(state, jax.device_put(clips, sharding))
