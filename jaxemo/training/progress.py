"""How far runs are that are trained side by side, and how that is saved and found again."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from jaxemo.training.sharding import replicated, stacked_shardings
from jaxemo.training.snapshots import Snapshot, SnapshotFolder
from jaxemo.training.step import RunState, StepMetrics


class EpochRecord(NamedTuple):
    """Figures of one epoch of one run."""

    epoch: int
    train_loss: float
    gradient_norm: float
    dev_score: float


class EpochTiming(NamedTuple):
    """How an epoch went for the runs that were trained side by side; no two times alike.

    Attributes:
      seconds: From its first step to its last in this process, without development clips.
      data_wait: Share of them in which the devices waited for data.
      audio_seconds_per_second: Trained on by all the runs; 0 where the examples' lengths are not known.
    """

    seconds: float
    data_wait: float
    audio_seconds_per_second: float


# (number of the run, its figures, how it went) after every epoch; no timing for one of before a snapshot.
OnEpoch = Callable[[int, EpochRecord, EpochTiming | None], None]


class Progress(NamedTuple):
    """How far a stack is: all that the next step needs.

    Attributes:
      epoch: That of the next step.
      step: The next step within its epoch.
      best: Trainable trees of each run's best epoch.
      best_score: Of those.
      history: Each run's finished epochs.
      metrics: Of the epoch's steps so far, one [S, R] per call.
    """

    epoch: int
    step: int
    states: RunState
    best: Any
    best_score: Float[np.ndarray, " R"]
    history: tuple[tuple[EpochRecord, ...], ...]
    metrics: tuple[StepMetrics, ...]


def joined(metrics: Sequence[StepMetrics]) -> StepMetrics:
    """Of all steps so far, on the host."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *jax.device_get(metrics))


def snapshot_of(progress: Progress) -> Snapshot:
    """All of a stack's progress, so that training goes on from it to the same bits."""
    record = {
        "epoch": progress.epoch,
        "step": progress.step,
        "history": progress.history,
        "num_metrics": sum(len(part.loss) for part in progress.metrics),
    }
    return Snapshot(_as_state(progress), record)


def _as_state(progress: Progress) -> dict[str, Any]:
    """The arrays of a snapshot."""
    metrics = joined(progress.metrics)._asdict() if progress.metrics else {}
    states = progress.states._replace(key=jax.random.key_data(progress.states.key))
    return {
        "states": states._asdict(),
        "best": progress.best,
        "metrics": metrics,
    }


def resumed(snapshots: SnapshotFolder, fresh: Progress, mesh: Mesh) -> Progress:
    """The progress of the newest snapshot; `fresh` where there is none."""

    num_runs = len(fresh.best_score)

    def like(record: dict[str, Any]) -> Any:
        shape = (record["num_metrics"], num_runs)
        part = StepMetrics(*(jnp.zeros(shape) for _ in StepMetrics._fields))
        return _as_state(fresh._replace(metrics=(part,) if shape[0] else ()))

    def shardings(state: dict[str, Any]) -> Any:
        of_runs = {name: state[name] for name in ("states", "best")}
        return stacked_shardings(of_runs, mesh, num_runs=num_runs) | {
            "metrics": jax.tree.map(lambda _: replicated(mesh), state["metrics"])
        }

    found = snapshots.newest(like=like, shardings=shardings)
    if found is None:
        return fresh
    state, record = found
    states = RunState(**state["states"])
    states = states._replace(key=jax.random.wrap_key_data(states.key))
    history = tuple(
        tuple(EpochRecord(*epoch) for epoch in records) for records in record["history"]
    )
    metrics = StepMetrics(**state["metrics"]) if state["metrics"] else None
    return Progress(
        epoch=record["epoch"],
        step=record["step"],
        states=states,
        best=state["best"],
        best_score=_best_scores(history, num_runs),
        history=history,
        metrics=() if metrics is None else (metrics,),
    )


def _best_scores(
    history: Sequence[Sequence[EpochRecord]], num_runs: int
) -> Float[np.ndarray, " R"]:
    best = np.full(num_runs, -np.inf)
    for run, records in enumerate(history):
        best[run] = np.fmax.reduce([record.dev_score for record in records], initial=-np.inf)
    return best
