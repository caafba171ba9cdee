"""The training loop: epochs of sharded steps for many runs at once, selection on the dev part.

All runs of one (network, objective, recipe) are one program over a shared frozen base; one run is the
case R = 1. A run's result does not depend on the others: its batches follow from its seed, its dropout
from its key.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, PRNGKeyArray

from jaxemo.data.batches import num_batches, shuffled_batches
from jaxemo.models.heads import LayerStatistics
from jaxemo.peft.method import Params
from jaxemo.training.features import Examples, Feed, make_feed
from jaxemo.training.grids import RowGrid, make_grid
from jaxemo.training.model import Network
from jaxemo.training.objectives import Objective
from jaxemo.training.optim import make_optimiser, warmup_cosine
from jaxemo.training.predict import (
    Predictor,
    TrainedModel,
    place,
    place_stacked,
    stack_trees,
)
from jaxemo.training.sharding import grid_shardings
from jaxemo.training.step import (
    Batch,
    RunState,
    Shared,
    StepMetrics,
    Steps,
    make_init_runs,
    make_keep_better,
    make_train_steps,
)

# Steps of one call where inputs are looked up on the device: calling costs as much as a small step.
_STEPS_PER_CALL = 32


class TrainingSettings(NamedTuple):
    """The recipe; every default is our choice.

    Attributes:
      epochs: Passes over the training rows.
      batch_size: Clips per step and run, over all devices.
      micro_batches: Gradient-accumulation pieces that a batch is cut into.
      head_rate: Peak learning rate of the head.
      adaptation_rate: Peak learning rate of the encoder's trainable part.
      weight_decay: AdamW's decoupled decay.
      clip_norm: Largest global gradient norm.
      warmup: Share of the steps over which the rates rise.
    """

    epochs: int = 20
    batch_size: int = 32
    micro_batches: int = 1
    head_rate: float = 1e-3
    adaptation_rate: float = 1e-4
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    warmup: float = 0.1


class RunInputs(NamedTuple):
    """What belongs to one run.

    Attributes:
      key: Initialisation and dropout.
      seed: Order of the batches.
      train_rows: Rows trained on; example weights come from their targets.
      dev_rows: Rows that choose the epoch.
      statistics: Of the training clips' layers.
      initial: Trainable tree to go on from (stage 2); a fresh one when None.
    """

    key: PRNGKeyArray
    seed: int
    train_rows: Int[np.ndarray, " a"]
    dev_rows: Int[np.ndarray, " b"]
    statistics: LayerStatistics
    initial: dict[str, Any] | None = None


class EpochRecord(NamedTuple):
    """Figures of one epoch of one run."""

    epoch: int
    train_loss: float
    gradient_norm: float
    dev_score: float


class FitResult(NamedTuple):
    """The trainable tree of the best dev epoch, on the host, and the run's history."""

    trainable: dict[str, Any]
    best_epoch: int
    history: tuple[EpochRecord, ...]


class TrainingProgram(NamedTuple):
    """The compiled parts of one (network, objective, recipe) on a mesh; they serve any number of runs."""

    network: Network
    objective: Objective
    settings: TrainingSettings
    mesh: Mesh
    init_runs: Callable[..., RunState]
    train_steps: Steps
    keep_better: Callable[..., Any]
    predictor: Predictor


def make_program(
    network: Network, objective: Objective, settings: TrainingSettings, *, mesh: Mesh
) -> TrainingProgram:
    """Prepares the compiled parts.

    Raises:
      ValueError: When `micro_batches` does not divide `batch_size`.
    """
    if settings.batch_size % settings.micro_batches:
        raise ValueError(
            f"micro_batches={settings.micro_batches} does not divide batch_size={settings.batch_size}; "
            "take a divisor, so that every piece has as many clips."
        )
    optimiser = make_optimiser(
        head_rate=settings.head_rate,
        adaptation_rate=settings.adaptation_rate,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        layer_rates=network.method.layer_rates,
    )
    schedule = warmup_cosine(warmup=settings.warmup)
    return TrainingProgram(
        network,
        objective,
        settings,
        mesh,
        make_init_runs(network, optimiser, mesh=mesh),
        make_train_steps(network, objective, optimiser, schedule=schedule, mesh=mesh),
        make_keep_better(mesh),
        Predictor(network, objective, mesh=mesh, batch_size=settings.batch_size),
    )


def fit_runs(
    program: TrainingProgram,
    base: Params,
    examples: Examples,
    runs: Sequence[RunInputs],
    *,
    runs_at_once: int = 0,
    on_epoch: Callable[[int, EpochRecord], None] = lambda run, record: None,
) -> list[FitResult]:
    """Trains every run for the recipe's epochs; each keeps its first epoch of the best dev score.

    Args:
      base: The encoder's frozen parameters, shared by all runs.
      runs_at_once: Runs in memory at a time; 0 for all. Runs of like length go together.
      on_epoch: Told the run's number and its figures after every epoch.

    Returns:
      One result per run, in the order of `runs`.

    Raises:
      ValueError: For a run without training or dev rows.
      FloatingPointError: When a run's dev score was NaN in every epoch.
    """
    _check_rows(runs)
    feed = make_feed(examples.inputs, program.mesh)
    shared = Shared(place(base, program.mesh), feed.table)
    longest_first = sorted(range(len(runs)), key=lambda run: -len(runs[run].train_rows))
    size = min(runs_at_once or len(runs), len(runs))
    results: dict[int, FitResult] = {}
    for start in range(0, len(runs), max(size, 1)):
        chosen = longest_first[start : start + size]
        stack = _RunStack(program, shared, feed, examples, [runs[run] for run in chosen])
        fits = stack.fit(lambda position, record, chosen=chosen: on_epoch(chosen[position], record))
        results |= zip(chosen, fits, strict=True)
    return [results[run] for run in range(len(runs))]


class _RunStack:
    """Runs that are trained together, padded to the mesh's run axis."""

    def __init__(
        self,
        program: TrainingProgram,
        shared: Shared,
        feed: Feed,
        examples: Examples,
        runs: Sequence[RunInputs],
    ):
        self._program, self._shared, self._feed, self._runs = program, shared, feed, runs
        self._targets = _narrow(examples.targets)
        self._weights = [_row_weights(program.objective, self._targets, run) for run in runs]
        statistics = stack_trees([run.statistics for run in runs], program.mesh)
        self._statistics = place_stacked(statistics, program.mesh)

    def fit(self, on_epoch: Callable[[int, EpochRecord], None]) -> list[FitResult]:
        states = self._init_states()
        best = jax.tree.map(jnp.copy, states.trainable)
        history: list[list[EpochRecord]] = [[] for _ in self._runs]
        best_score = np.full(len(states.num_steps), -np.inf)
        for epoch in range(self._program.settings.epochs):
            states, records = self._train_epoch(states, epoch)
            for run, record in enumerate(records):
                on_epoch(run, record)
                history[run].append(record)
            score = np.full(len(best_score), -np.inf)
            score[: len(records)] = [record.dev_score for record in records]
            best = self._program.keep_better(best, states.trainable, score > best_score)
            best_score = np.fmax(best_score, score)
        return _results(jax.device_get(best), history)

    def _init_states(self) -> RunState:
        runs, mesh = self._runs, self._program.mesh
        settings = self._program.settings
        lengths = [num_batches(len(run.train_rows), batch_size=settings.batch_size) for run in runs]
        keys, num_steps = stack_trees(
            [
                (run.key, np.int32(steps * settings.epochs))
                for run, steps in zip(runs, lengths, strict=True)
            ],
            mesh,
        )
        initial = None
        if any(run.initial is not None for run in runs):
            initial = place_stacked(stack_trees(_initial_trees(runs), mesh), mesh)
        return self._program.init_runs(
            *place_stacked((keys, self._statistics), mesh), self._shared.base, num_steps, initial
        )

    def _train_epoch(self, states: RunState, epoch: int) -> tuple[RunState, list[EpochRecord]]:
        grid = self._epoch_grid(epoch)
        num_steps = len(grid.rows)
        capacity = 1 if self._feed.table is None else _STEPS_PER_CALL
        metrics = []
        for start in range(0, num_steps, capacity):
            steps = np.minimum(np.arange(start, start + capacity), num_steps - 1)
            batches, active = self._batches(grid, steps, draw=(epoch, start))
            states, figures = self._program.train_steps(
                states,
                self._statistics,
                self._shared,
                batches,
                active,
                np.int32(min(capacity, num_steps - start)),
            )
            metrics.append(figures)
        scores = self._dev_scores(states.trainable)
        metrics = jax.tree.map(lambda *parts: np.concatenate(parts), *jax.device_get(metrics))
        return states, [
            _summarise(epoch, metrics, grid.active, run=run, dev_score=score)
            for run, score in enumerate(scores)
        ]

    def _epoch_grid(self, epoch: int) -> RowGrid:
        settings = self._program.settings
        batches = [
            shuffled_batches(
                run.train_rows, batch_size=settings.batch_size, seed=run.seed, epoch=epoch
            )
            for run in self._runs
        ]
        return make_grid(batches, self._program.mesh, micro_batches=settings.micro_batches)

    def _batches(
        self, grid: RowGrid, steps: Int[np.ndarray, " S"], *, draw: tuple[int, ...]
    ) -> tuple[Batch, Any]:
        """The chosen steps' examples on the mesh, and which runs are active (None: all of them)."""
        rows = grid.rows[steps]
        run = np.minimum(np.arange(rows.shape[1]), len(self._runs) - 1)[None, :, None, None]
        weight = np.where(grid.valid[steps], np.stack(self._weights)[run, rows], 0)
        active = None if grid.active.all() else grid.active[steps]
        read = (self._feed.inputs(rows, draw=draw), self._targets[rows], weight, active)
        *parts, active = jax.device_put(read, grid_shardings(read, self._program.mesh))
        return Batch(*parts), active

    def _dev_scores(self, trainable: dict[str, Any]) -> list[float]:
        predictions = self._program.predictor.predict_stacked(
            TrainedModel(trainable, self._statistics),
            self._shared,
            self._feed,
            [run.dev_rows for run in self._runs],
        )
        score = self._program.objective.score
        return [
            float(score(self._targets[run.dev_rows], part))
            for run, part in zip(self._runs, predictions, strict=True)
        ]


def _check_rows(runs: Sequence[RunInputs]) -> None:
    empty = [
        f"run {number} has no {part} rows"
        for number, run in enumerate(runs)
        for part, rows in (("training", run.train_rows), ("dev", run.dev_rows))
        if len(rows) == 0
    ]
    if empty:
        raise ValueError(
            "Cannot train: " + "; ".join(empty) + ". Take other folds or more speakers."
        )


def _narrow(targets: np.ndarray) -> np.ndarray:
    """As JAX holds them: no 64-bit numbers."""
    narrow = {np.dtype(np.int64): np.int32, np.dtype(np.float64): np.float32}
    return targets.astype(narrow.get(targets.dtype, targets.dtype))


def _row_weights(
    objective: Objective, targets: np.ndarray, run: RunInputs
) -> Float[np.ndarray, " n"]:
    weights = np.zeros(len(targets), np.float32)
    weights[run.train_rows] = objective.example_weights(targets[run.train_rows])
    return weights


def _initial_trees(runs: Sequence[RunInputs]) -> list[tuple[np.bool_, dict[str, Any]]]:
    """(whether the run has a tree to go on from, that tree or zeros of its shape)."""
    like = next(run.initial for run in runs if run.initial is not None)
    zeros = jax.tree.map(np.zeros_like, like)
    return [
        (np.bool_(run.initial is not None), zeros if run.initial is None else run.initial)
        for run in runs
    ]


def _summarise(
    epoch: int, metrics: StepMetrics, active: np.ndarray, *, run: int, dev_score: float
) -> EpochRecord:
    steps = np.flatnonzero(active[:, run])
    return EpochRecord(
        epoch,
        float(np.mean(metrics.loss[steps, run])),
        float(np.mean(metrics.gradient_norm[steps, run])),
        dev_score,
    )


def _results(best: Any, history: list[list[EpochRecord]]) -> list[FitResult]:
    results = []
    for run, records in enumerate(history):
        scores = [record.dev_score for record in records]
        if np.isnan(scores).all():
            raise FloatingPointError(
                f"The dev score of run {run} was NaN in all {len(scores)} epochs; lower the learning "
                "rates or look for clips that give NaN."
            )
        # The arrays of one run alone, so that a kept result does not keep its neighbours.
        trainable = jax.tree.map(lambda leaf, run=run: np.array(leaf[run]), best)
        results.append(FitResult(trainable, int(np.nanargmax(scores)), tuple(records)))
    return results
