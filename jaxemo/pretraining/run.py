"""A pre-training run: from crops to a trained encoder, looked at, saved and gone on with.

The position in the data is the step, and what has not been logged yet is saved with the state, so that a
run that was killed or stopped at any step goes on to the same bits and the same records.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxemo.pretraining.collapse import Health, check_health, health
from jaxemo.pretraining.crops import Batch, CropSettings, Files, draw_batch
from jaxemo.pretraining.objectives.objective import Clips
from jaxemo.pretraining.program import Figures, Program, Recipe, State
from jaxemo.training.snapshots import Saver

# Streams of crops beside each other: for training, the targets' sample and the held-out look.
_TRAINING, _SAMPLE, _HELD_OUT = 0, 1, 2


class Pace(NamedTuple):
    """When things are done, in steps.

    Attributes:
      batch_size: Crops of a step.
      micro_batches: Pieces that a batch goes through in.
      log_every: Between two records.
      evaluate_every: Between two looks at held-out crops.
      probe_every: Between two probes; 0 for none.
      settled_share: Of the run, before which the same prediction everywhere is no collapse.
    """

    batch_size: int
    micro_batches: int = 1
    log_every: int = 50
    evaluate_every: int = 500
    probe_every: int = 0
    settled_share: float = 0.3


class Data(NamedTuple):
    """Crops to train on and crops to look at."""

    training: Sequence[Files]
    held_out: Sequence[Files]
    crops: CropSettings


class Record(NamedTuple):
    """Figures of some steps, or of held-out crops.

    Attributes:
      part: "training" or "held_out".
      step: Steps done.
      loss: Per masked frame.
      parts: The loss's named parts, per masked frame.
      health: See `collapse`.
      gradient_norm: Mean over the steps; 0 for held-out crops.
    """

    part: str
    step: int
    loss: float
    parts: dict[str, float]
    health: Health
    gradient_norm: float


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
      state: After the last step.
      since: Figures of the steps since the last record.
    """

    state: State
    since: tuple[Figures, ...] = ()


class NonFiniteLoss(ValueError):
    """A loss that is NaN or infinite: at which step, on which files."""


def sample_clips(data: Data, *, seed: int, count: int) -> Clips:
    """Training crops to which targets are fitted."""
    batch = draw_batch(data.training, data.crops, position=(seed, _SAMPLE, 0), batch_size=count)
    return Clips(*map(jnp.asarray, batch.clips))


def pretrain(
    program: Program,
    recipe: Recipe,
    data: Data,
    *,
    pace: Pace,
    progress: Progress,
    log: Callable[[Record], Any],
    save: Callable[[Progress], Any],
    saver: Saver,
    probe: Callable[[State, int], Any] = lambda state, done: None,
) -> Progress:
    """Takes a run to its end, or to the step at which a signal came.

    Args:
      progress: Of step 0, or as it was saved.
      log: Called with each record.
      save: Called with what is to be saved, where the saver says so.
      saver: Asked after each step.
      probe: Called with the state and its step, each `pace.probe_every` steps and at the end.

    Raises:
      NonFiniteLoss: Before a state that it could have spoilt is saved.
      Collapse: Likewise.
    """
    settled = math.ceil(pace.settled_share * recipe.num_steps)
    for step in range(int(progress.state.step), recipe.num_steps):
        batch = training_batch(data, pace, seed=recipe.seed, step=step)
        state, figures = program.step(progress.state, batch.clips)
        progress = Progress(state, (*progress.since, figures))
        done = step + 1
        is_last = done == recipe.num_steps
        if is_last or done % pace.log_every == 0:
            since = jax.device_get(progress.since)
            _check_finite(since, data, pace, seed=recipe.seed, done=done)
            record = record_of("training", done, since)
            log(record)
            check_health(record.health, step=done, settled_step=settled)
            progress = Progress(state)
        if is_last or done % pace.evaluate_every == 0:
            log(record_of("held_out", done, [_look(program, state, data, pace, recipe.seed)]))
        if pace.probe_every and (is_last or done % pace.probe_every == 0):
            probe(state, done)
        if saver.is_due():
            since = jax.device_get(progress.since)
            _check_finite(since, data, pace, seed=recipe.seed, done=done)
            save(progress)
        if saver.stopping:
            break
    return progress


def tree_of(progress: Progress) -> dict[str, Any]:
    """All of a run's progress as a tree of arrays; figures are one row for each step."""
    rows = [np.asarray(ravel_pytree(figures)[0]) for figures in progress.since]
    return {"state": progress.state, **({"since": np.stack(rows)} if rows else {})}


def tree_shapes(program: Program, state: State, data: Data, *, num_since: int) -> dict[str, Any]:
    """The shapes of such a tree.

    Args:
      state: Shapes of the run's state.
      num_since: Steps since the last record.
    """
    if num_since == 0:
        return {"state": state}
    size = ravel_pytree(_no_figures(program, state, data))[0].size
    return {"state": state, "since": jax.ShapeDtypeStruct((num_since, size), jnp.float32)}


def progress_in(saved: dict[str, Any], program: Program, data: Data) -> Progress:
    """The progress that a tree was made of."""
    state, rows = saved["state"], saved.get("since", ())
    if not len(rows):
        return Progress(state)
    shapes = jax.eval_shape(lambda: state)
    unravel = ravel_pytree(_no_figures(program, shapes, data))[1]
    return Progress(state, tuple(unravel(jnp.asarray(row)) for row in np.asarray(rows)))


def _no_figures(program: Program, state: State, data: Data) -> Figures:
    """Zeros of the shapes that a step's figures have."""
    clip = jax.ShapeDtypeStruct((program.ways, data.crops.num_samples), jnp.float32)
    clips = Clips(clip, jax.ShapeDtypeStruct((program.ways,), jnp.int32))  # type: ignore[arg-type]
    shapes = jax.eval_shape(program.evaluate, state, clips)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def training_batch(data: Data, pace: Pace, *, seed: int, step: int) -> Batch:
    """The crops of a step, with leading axes [micro-batch, crop]."""
    batch = draw_batch(
        data.training, data.crops, position=(seed, _TRAINING, step), batch_size=pace.batch_size
    )
    pieces = jax.tree.map(
        lambda leaf: leaf.reshape(pace.micro_batches, -1, *leaf.shape[1:]), batch.clips
    )
    return Batch(pieces, batch.paths)


def record_of(part: str, step: int, figures: Sequence[Figures]) -> Record:
    """Sums of several steps, per masked frame."""
    summed = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *map(jax.device_get, figures))
    count = max(float(summed.loss.count), 1.0)
    return Record(
        part=part,
        step=step,
        loss=float(summed.loss.total) / count,
        parts={name: float(value) / count for name, value in summed.loss.parts.items()},
        health=health(summed.loss.code_use, summed.hidden, count),
        gradient_norm=float(summed.gradient_norm) / len(figures),
    )


def _look(program: Program, state: State, data: Data, pace: Pace, seed: int) -> Figures:
    """Held-out crops, the same at every look."""
    size = pace.batch_size // pace.micro_batches
    batch = draw_batch(data.held_out, data.crops, position=(seed, _HELD_OUT, 0), batch_size=size)
    return program.evaluate(state, batch.clips)


def _check_finite(
    since: Sequence[Figures], data: Data, pace: Pace, *, seed: int, done: int
) -> None:
    for step, figures in enumerate(since, start=done - len(since)):
        if np.isfinite(figures.loss.total) and np.isfinite(figures.gradient_norm):
            continue
        paths = training_batch(data, pace, seed=seed, step=step).paths
        raise NonFiniteLoss(
            f"the loss of step {step} is {float(figures.loss.total)}, its gradient's norm "
            f"{float(figures.gradient_norm)}; expected finite numbers. The step's crops are from "
            f"{', '.join(sorted(set(paths)))}. Lower config.pretrain.learning_rate, or look at these "
            "files; the last saved state is from before."
        )
