"""Runs that are trained side by side: their state, their epochs, their best trees.

A run's result does not depend on the others: its batches follow from its seed, its dropout from its key.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from jaxemo.data.augmentation import Draw
from jaxemo.data.batches import num_batches, shuffled_batches
from jaxemo.data.loading import loaded_ahead
from jaxemo.data.stopping import StopRequest, signals_postponed
from jaxemo.embedding.clock import DeviceClock
from jaxemo.models.heads import LayerStatistics
from jaxemo.training.features import Examples, Feed
from jaxemo.training.finite import check_finite, snapshot_named
from jaxemo.training.grids import RowGrid, make_grid
from jaxemo.training.objectives import Objective
from jaxemo.training.optim import Rates
from jaxemo.training.predict import TrainedModel, place_stacked, stack_trees
from jaxemo.training.processes import on_host
from jaxemo.training.program import TrainingProgram
from jaxemo.training.progress import (
    EpochRecord,
    EpochTiming,
    OnEpoch,
    Progress,
    joined,
    resumed,
    snapshot_of,
)
from jaxemo.training.sharding import grid_shardings, placed
from jaxemo.training.snapshots import Saver, SnapshotFolder
from jaxemo.training.step import Batch, RunState, Shared, StepMetrics
from jaxemo.training.trace import StepTrace

# Steps of one call where inputs are looked up on the device: calling costs as much as a small step.
_STEPS_PER_CALL = 32
# Calls that the devices have not done yet; a signal waits for them all before it is obeyed.
_CALLS_AHEAD = 2


class RunInputs(NamedTuple):
    """What belongs to one run.

    Attributes:
      key: Initialisation and dropout.
      seed: Order of the batches.
      train_rows: Rows trained on; example weights come from their targets.
      dev_rows: Rows that choose the epoch.
      statistics: Of the training clips' layers.
      initial: Trainable tree to go on from (stage 2); a fresh one when None.
      num_updates: Optimiser steps, whatever the recipe's epochs: the last epoch is cut short. 0: those of
        the recipe's epochs.
      rates: Peak learning rates; the recipe's when None.
      inherited: What is merged into the base for this run alone (`Network.own_base`); () for nothing.
    """

    key: PRNGKeyArray
    seed: int
    train_rows: Int[np.ndarray, " a"]
    dev_rows: Int[np.ndarray, " b"]
    statistics: LayerStatistics
    initial: dict[str, Any] | None = None
    num_updates: int = 0
    rates: Rates | None = None
    inherited: Any = ()


class FitResult(NamedTuple):
    """The trainable tree of the best dev epoch, on the host, and the run's history."""

    trainable: dict[str, Any]
    best_epoch: int
    history: tuple[EpochRecord, ...]


class _Call(NamedTuple):
    """What one call of the devices reads.

    Attributes:
      start: Its first step within the epoch.
      active: Which runs have a batch; None for all.
      asked: When it was asked for, by the clock of `time.monotonic`.
      ready: When it was there.
    """

    start: int
    batches: Batch
    active: Any
    asked: float
    ready: float


class RunStack:
    """Runs that are trained together, padded to the mesh's run axis."""

    def __init__(
        self,
        program: TrainingProgram,
        shared: Shared,
        feed: Feed,
        examples: Examples,
        runs: Sequence[RunInputs],
        *,
        trace: StepTrace | None = None,
    ):
        self._program, self._shared, self._feed, self._runs = program, shared, feed, runs
        self._targets, self._duration_s = _narrow(examples.targets), examples.duration_s
        self._trace = trace
        settings = program.settings
        self._epoch_steps = [
            num_batches(len(run.train_rows), batch_size=settings.batch_size) for run in runs
        ]
        self._num_steps = [
            run.num_updates or steps * settings.epochs
            for run, steps in zip(runs, self._epoch_steps, strict=True)
        ]
        self._lengths = _lengths_that_vary(feed)
        self._weights = [_row_weights(program.objective, self._targets, run) for run in runs]
        statistics = stack_trees([run.statistics for run in runs], program.mesh)
        self._statistics = place_stacked(statistics, program.mesh)

    def fit(self, on_epoch: OnEpoch, snapshots: SnapshotFolder | None) -> list[FitResult]:
        """Trains to the end, from the newest snapshot on where there is one.

        `on_epoch` hears of the epochs before the snapshot too. A signal ends training after the step at
        hand, once a snapshot of it is on the disk.

        Raises:
          NonFiniteStep: A loss or gradient is NaN or infinite.
          Stopped: A signal came.
        """
        progress = self._start(snapshots)
        for epoch in range(progress.epoch):
            for run, records in enumerate(progress.history):
                if epoch < len(records):
                    on_epoch(run, records[epoch], None)
        postponed = (
            contextlib.nullcontext(StopRequest()) if snapshots is None else signals_postponed()
        )
        traced = contextlib.nullcontext() if self._trace is None else self._trace.until_trained()
        with traced, snapshot_named(snapshots), postponed as stop:
            saver = Saver(snapshots, stop, self._program.mesh)
            while any(self._steps_left(progress.epoch)) and not saver.stopping:
                progress, timing = self._train_epoch(progress, saver)
                if progress.step == 0:
                    for run, records in enumerate(progress.history):
                        if len(records) == progress.epoch:
                            on_epoch(run, records[-1], timing)
            saver.finish(lambda: snapshot_of(progress))
        return _results(on_host(progress.best), progress.history)

    def _start(self, snapshots: SnapshotFolder | None) -> Progress:
        states = self._init_states()
        num_runs = len(states.num_steps)
        fresh = Progress(
            epoch=0,
            step=0,
            states=states,
            best=jax.tree.map(jnp.copy, states.evaluated),
            best_score=np.full(num_runs, -np.inf),
            history=tuple(() for _ in self._runs),
            metrics=(),
        )
        return fresh if snapshots is None else resumed(snapshots, fresh, self._program.mesh)

    def _init_states(self) -> RunState:
        runs, mesh = self._runs, self._program.mesh
        rates = [run.rates or self._program.settings.rates for run in runs]
        keys, num_steps, rates = stack_trees(
            [
                (run.key, np.int32(steps), jax.tree.map(np.float32, own))
                for run, steps, own in zip(runs, self._num_steps, rates, strict=True)
            ],
            mesh,
        )
        initial = None
        if any(run.initial is not None for run in runs):
            initial = place_stacked(stack_trees(_initial_trees(runs), mesh), mesh)
        inherited = stack_trees([run.inherited for run in runs], mesh)
        return self._program.init_runs(
            *place_stacked((keys, self._statistics), mesh),
            self._shared.base,
            num_steps,
            rates,
            initial,
            place_stacked(inherited, mesh) if jax.tree.leaves(inherited) else (),
        )

    def _train_epoch(self, progress: Progress, saver: Saver) -> tuple[Progress, EpochTiming]:
        """To the end of the epoch, or to the step at which a signal came."""
        grid = self._epoch_grid(progress.epoch)
        started, first = time.monotonic(), progress.step
        with DeviceClock() as clock:
            progress = self._train_steps(progress, saver, grid, clock)
            data_wait = clock.stop()
        timing = self._timing(
            time.monotonic() - started, data_wait, grid, slice(first, progress.step)
        )
        if saver.stopping:
            return progress, timing
        check_finite(progress, grid, len(self._runs))
        return self._end_epoch(progress, grid), timing

    def _train_steps(
        self, progress: Progress, saver: Saver, grid: RowGrid, clock: DeviceClock
    ) -> Progress:
        num_steps = len(grid.rows)
        capacity = 1 if self._feed.table is None else _STEPS_PER_CALL
        for call in self._calls(grid, progress, capacity):
            states, figures = self._program.train_steps(
                progress.states,
                self._statistics,
                self._shared,
                call.batches,
                call.active,
                np.int32(min(capacity, num_steps - call.start)),
            )
            clock.watch(call.ready, figures, asked=call.asked)
            if self._trace is not None:
                self._trace.called(figures, min(capacity, num_steps - call.start))
            metrics = (*progress.metrics, figures)
            progress = progress._replace(step=call.start + capacity, states=states, metrics=metrics)
            jax.block_until_ready(metrics[-_CALLS_AHEAD:][0])
            if saver.is_due():
                check_finite(progress, grid, len(self._runs))
                saver.save(snapshot_of(progress))
            if saver.stopping:
                break
        return progress

    def _timing(self, seconds: float, data_wait: float, grid: RowGrid, steps: slice) -> EpochTiming:
        rows = grid.rows[steps][grid.valid[steps]]
        audio_s = 0.0 if self._duration_s is None else float(self._duration_s[rows].sum())
        return EpochTiming(seconds, data_wait, audio_s / max(seconds, 1e-9))

    def _calls(self, grid: RowGrid, progress: Progress, capacity: int) -> Iterator[_Call]:
        """What is left of an epoch, loaded while the call before is computed."""

        def load(start: int) -> tuple[int, Batch, Any]:
            steps = np.minimum(np.arange(start, start + capacity), len(grid.rows) - 1)
            return start, *self._batches(grid, steps, epoch=progress.epoch)

        starts = range(progress.step, len(grid.rows), capacity)
        with contextlib.closing(loaded_ahead(starts, load)) as loaded:
            asked = time.monotonic()
            for start, batches, active in loaded:
                yield _Call(start, batches, active, asked, ready=time.monotonic())
                asked = time.monotonic()

    def _end_epoch(self, progress: Progress, grid: RowGrid) -> Progress:
        scores = self._dev_scores(progress.states)
        metrics = joined(progress.metrics)
        records = [
            (_summarise(progress.epoch, metrics, grid.active, run=run, dev_score=score),)
            if grid.active[:, run].any()
            else ()  # It has ended.
            for run, score in enumerate(scores)
        ]
        score = np.full(len(progress.best_score), -np.inf)
        score[: len(scores)] = scores
        better = (score >= progress.best_score) & grid.active.any(axis=0)
        return Progress(
            epoch=progress.epoch + 1,
            step=0,
            states=progress.states,
            best=self._program.keep_better(progress.best, progress.states.evaluated, better),
            best_score=np.where(better, score, progress.best_score),
            history=tuple(
                (*earlier, *record)
                for earlier, record in zip(progress.history, records, strict=True)
            ),
            metrics=(),
        )

    def _epoch_grid(self, epoch: int) -> RowGrid:
        settings = self._program.settings
        steps_left = self._steps_left(epoch)
        batches = [
            itertools.islice(
                shuffled_batches(
                    run.train_rows,
                    batch_size=settings.batch_size,
                    seed=run.seed,
                    epoch=epoch,
                    lengths=None if self._lengths is None else self._lengths[run.train_rows],
                ),
                max(left, 1),
            )
            for run, left in zip(self._runs, steps_left, strict=True)
        ]
        grid = make_grid(batches, self._program.mesh, micro_batches=settings.micro_batches)
        grid.active[:, np.flatnonzero(np.array(steps_left) == 0)] = False
        return grid

    def _steps_left(self, epoch: int) -> list[int]:
        """Steps of each run from an epoch's start to the run's end."""
        return [
            max(steps - epoch * per_epoch, 0)
            for steps, per_epoch in zip(self._num_steps, self._epoch_steps, strict=True)
        ]

    def _batches(
        self, grid: RowGrid, steps: Int[np.ndarray, " S"], *, epoch: int
    ) -> tuple[Batch, Any]:
        """The chosen steps' examples on the mesh, and which runs are active (None: all of them)."""
        rows = grid.rows[steps]
        run = np.minimum(np.arange(rows.shape[1]), len(self._runs) - 1)[None, :, None, None]
        weight = np.where(grid.valid[steps], np.stack(self._weights)[run, rows], 0)
        active = None if grid.active.all() else grid.active[steps]
        mesh = self._program.mesh
        read = (self._targets[rows], weight, active)
        targets, weight, active = placed(read, grid_shardings(read, mesh))
        seeds = np.array([one.seed for one in self._runs])[np.broadcast_to(run, rows.shape)]
        inputs = self._feed.inputs(rows, mesh, draw=Draw(seeds, epoch))
        return Batch(inputs, targets, weight), active

    def _dev_scores(self, states: RunState) -> list[float]:
        predictions = self._program.predictor.predict_stacked(
            TrainedModel(states.evaluated, self._statistics, states.inherited),
            self._shared,
            self._feed,
            [run.dev_rows for run in self._runs],
        )
        score = self._program.objective.score
        return [
            float(score(self._targets[run.dev_rows], part))
            for run, part in zip(self._runs, predictions, strict=True)
        ]


def _lengths_that_vary(feed: Feed) -> Int[np.ndarray, " n"] | None:
    """Of what is read of each clip; None where no order of clips saves padding."""
    lengths = None if feed.table is not None else feed.features.training_lengths
    return None if lengths is None or np.ptp(lengths) == 0 else lengths


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


def _results(best: Any, history: Sequence[tuple[EpochRecord, ...]]) -> list[FitResult]:
    results = []
    for run, records in enumerate(history):
        scores = np.array([record.dev_score for record in records])
        if np.isnan(scores).all():
            raise FloatingPointError(
                f"The dev score of run {run} was NaN in all {len(scores)} epochs; lower the learning "
                "rates or look for clips that give NaN."
            )
        # The arrays of one run alone, so that a kept result does not keep its neighbours.
        trainable = jax.tree.map(lambda leaf, run=run: np.array(leaf[run]), best)
        best_epoch = int(np.flatnonzero(scores == np.nanmax(scores))[-1])
        results.append(FitResult(trainable, best_epoch, records))
    return results
