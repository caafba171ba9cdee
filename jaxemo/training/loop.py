"""The training loop: many runs of one program over a shared frozen base; one run is the case R = 1."""

from collections.abc import Callable, Sequence

from jaxemo.peft.method import Params
from jaxemo.training.features import Examples, make_feed
from jaxemo.training.finite import NonFiniteStep
from jaxemo.training.memory import runs_in_cache
from jaxemo.training.predict import place
from jaxemo.training.program import TrainingProgram
from jaxemo.training.progress import OnEpoch
from jaxemo.training.snapshots import SnapshotFolder
from jaxemo.training.stack import FitResult, RunInputs, RunStack
from jaxemo.training.step import Shared
from jaxemo.training.trace import StepTrace


def fit_runs(
    program: TrainingProgram,
    base: Params,
    examples: Examples,
    runs: Sequence[RunInputs],
    *,
    runs_at_once: int = 0,
    on_epoch: OnEpoch = lambda run, record, timing: None,
    snapshots: Callable[[Sequence[int]], SnapshotFolder | None] = lambda runs: None,
    trace: StepTrace | None = None,
) -> list[FitResult]:
    """Trains every run for the recipe's epochs; each keeps its best epoch by dev score.

    Of epochs that score alike the last is kept: on few dev clips scores come again, and the first would
    favour runs that had hardly begun.

    Args:
      base: The encoder's frozen parameters, shared by all runs.
      runs_at_once: Runs in memory at a time at most; 0 for all. Runs of like length go together, and on
        a CPU no more than its cache holds (`memory.runs_in_cache`).
      on_epoch: Told the run's number, its figures and how it went after every epoch.
      snapshots: Numbers of runs that are trained together -> where to save them, and to look for what
        was saved; None for nowhere.
      trace: Told of every call of the device.

    Returns:
      One result per run, in the order of `runs`.

    Raises:
      ValueError: For a run without training or dev rows.
      FloatingPointError: When a loss or gradient is not finite, or a run's dev score was NaN in every
        epoch.
      Stopped: A signal came; with `snapshots`, once the step at hand has been saved.
    """
    _check_rows(runs)
    feed = make_feed(examples.inputs, program.mesh)
    shared = Shared(place(base, program.mesh), feed.table)
    longest_first = sorted(range(len(runs)), key=lambda run: -len(runs[run].train_rows))
    size = _stack_size(program, base, runs, runs_at_once)
    results: dict[int, FitResult] = {}
    for start in range(0, len(runs), size):
        chosen = longest_first[start : start + size]
        stack = RunStack(
            program, shared, feed, examples, [runs[run] for run in chosen], trace=trace
        )
        try:
            fits = stack.fit(
                lambda position, record, timing, chosen=chosen: on_epoch(
                    chosen[position], record, timing
                ),
                snapshots(chosen),
            )
        except NonFiniteStep as error:
            error.run = chosen[error.run]
            raise
        results |= zip(chosen, fits, strict=True)
    return [results[run] for run in range(len(runs))]


def _stack_size(
    program: TrainingProgram, base: Params, runs: Sequence[RunInputs], runs_at_once: int
) -> int:
    """Runs that are trained as one program; 1 at least."""
    size = min(runs_at_once or len(runs), len(runs))
    in_cache = runs_in_cache(program, base, runs[0].statistics) if runs else None
    return max(size if in_cache is None else min(size, in_cache), 1)


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
