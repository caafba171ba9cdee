"""How far runs are that are trained side by side, and how that is saved and found again."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float

from jaxemo.data.stopping import TERMINATED, Stopped, StopRequest
from jaxemo.training.processes import Votes
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
    """

    seconds: float
    data_wait: float


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


class Saver:
    """Saves a stack's progress where that was asked for, and ends training once a signal came.

    Attributes:
      stopping: Whether training is to end. Of several processes all see it at the same step, whichever
        of them the signal was for.
    """

    def __init__(self, snapshots: SnapshotFolder | None, stop: StopRequest, mesh: Mesh) -> None:
        self._snapshots = snapshots
        self._stop = stop
        self._votes = Votes(mesh, num_flags=2)
        self.stopping = False

    def is_due(self) -> bool:
        """Whether to save now; asked once after every call of the device, by all processes."""
        if self._snapshots is None:
            return False
        return self._take(self._votes.cast(self._stop.came, self._snapshots.is_due))

    def save(self, progress: Progress) -> None:
        assert self._snapshots is not None
        record = {
            "epoch": progress.epoch,
            "step": progress.step,
            "history": progress.history,
            "num_metrics": sum(len(part.loss) for part in progress.metrics),
        }
        self._snapshots.save(Snapshot(_as_state(progress), record))

    def finish(self, progress: Progress) -> None:
        """Once training has ended: what took long enough to be saved is not trained again."""
        if self._snapshots is not None:
            if self._take(self._votes.settle(self._stop.came, self._snapshots.is_due)):
                self.save(progress)
            self._snapshots.wait()

    def _take(self, flags: Bool[np.ndarray, " 2"]) -> bool:
        stopping, due = flags.tolist()
        if stopping and not self._stop.came:
            self._stop.take(Stopped("terminated with another of its processes", TERMINATED))
        self.stopping = self.stopping or stopping
        return stopping or due


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
