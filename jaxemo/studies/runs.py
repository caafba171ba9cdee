"""One (encoder, method) on one corpus: its cached inputs, its compiled steps, its training runs.

Both the transfer study and `jaxemo train` go through here, so that a model is trained in one way only.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from jaxemo.data.batches import num_batches
from jaxemo.models.heads import LayerStatistics, Pooling, layer_statistics
from jaxemo.peft import Method
from jaxemo.peft.method import Params
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.methods import ChosenMethod, choose_method
from jaxemo.studies.networks import base_of, make_network
from jaxemo.studies.recognition import make_objective
from jaxemo.studies.resuming import Unfinished, run_identity, trained_before
from jaxemo.studies.second_stage import Start, started
from jaxemo.studies.sources import Embedded, Source
from jaxemo.studies.training_inputs import pooled_layers, training_inputs
from jaxemo.studies.training_settings import TrainingSettings as RecipeSettings
from jaxemo.training.features import Examples
from jaxemo.training.finite import NonFiniteStep
from jaxemo.training.loop import fit_runs
from jaxemo.training.memory import runs_that_fit
from jaxemo.training.model import Network
from jaxemo.training.optim import Rates
from jaxemo.training.predict import TrainedModel
from jaxemo.training.processes import word_of_first
from jaxemo.training.program import TrainingProgram, TrainingSettings, make_program
from jaxemo.training.progress import EpochRecord, EpochTiming
from jaxemo.training.stack import FitResult, RunInputs
from jaxemo.training.trace import StepTrace


class Bench(NamedTuple):
    """Everything that the runs of one (encoder, method) share.

    Attributes:
      identity: What of it decides a run's result, as JSON has it.
      first_method: Whose adaptation is merged into each run's base before; None where nothing is.
      base: The encoder's parameters as training reads them; empty where the whole encoder is frozen.
      pooled: What the head's pooling makes of each clip and layer; layer statistics come from it.
      runs_at_once: Runs in memory at a time.
      trace: Of the first training steps, where the config asks for one.
    """

    source: Source
    identity: dict[str, Any]
    method: Method
    method_options: dict[str, Any]
    program: TrainingProgram
    base: Params
    examples: Examples
    pooled: Float[np.ndarray, "n L D"]
    runs_at_once: int
    trace: StepTrace
    first_method: ChosenMethod | None = None


class Place(NamedTuple):
    """Where a run stands in the protocol.

    Attributes:
      regime: As result rows call it.
      domains: Whose train speakers' clips it is trained on.
      dev_domain: Whose dev speakers' clips choose the epoch.
      share: Of the training speakers of `dev_domain`, in (0, 1]; a smaller share is part of a larger one.
      rates: Learning rates; those of the recipe when None.
    """

    seed: int
    fold: int
    regime: str
    domains: tuple[str, ...]
    dev_domain: str
    share: float = 1.0
    rates: Rates | None = None


OnPlaceEpoch = Callable[[Place, EpochRecord, EpochTiming | None], None]


class Run(NamedTuple):
    """One training run: its place in the protocol, and what came out.

    Attributes:
      identity: Hash of all that decided the result.
      updates: Optimiser steps that it was trained for.
      inherited: What was merged into the base for this run alone; () for nothing.
    """

    place: Place
    identity: str
    updates: int
    statistics: LayerStatistics
    fit: FitResult
    inherited: Any = ()

    @property
    def model(self) -> TrainedModel:
        return TrainedModel(self.fit.trainable, self.statistics, self.inherited)


def make_bench(
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    *,
    method_name: str,
    mesh: Mesh,
    workdir: Path,
    merged_method: str = "",
) -> Bench:
    """Prepares the method named in the config with its options and recipe.

    Args:
      merged_method: Whose adaptation is merged into each run's base before; "" where nothing is.
      workdir: Where a trace of steps goes, if the config asks for one.
    """
    method, options, recipe = choose_method(config, method_name)
    first = choose_method(config, merged_method) if merged_method else None
    objective = make_objective(
        experiment.task,
        focal_gamma=config.training.focal_gamma,
        label_smoothing=config.training.label_smoothing,
    )
    settings = training_settings(config.training, recipe)
    pooling = Pooling(config.training.pooling)
    network = make_network(
        embedded.source,
        method,
        head_width=config.training.head_width,
        head_dropout=config.training.head_dropout,
        head_form=config.training.head,
        num_outputs=objective.num_outputs,
        compute_dtype=settings.compute_dtype,
        pooling=pooling,
        remat=settings.remat,
        first_method=None if first is None else first.method,
    )
    program = make_program(network, objective, settings, mesh=mesh)
    base = base_of(embedded.source, method)
    inputs = training_inputs(experiment, embedded, config, network)
    examples = Examples(inputs, experiment.labels, experiment.duration_s)
    pooled = pooled_layers(embedded.embedding, pooling)
    runs_at_once = config.training.runs_at_once or word_of_first(
        runs_that_fit(program, base, examples, layer_statistics(pooled))
    )
    return Bench(
        source=embedded.source,
        identity=_identity(embedded.source, network, program, config, options) | _merged(first),
        method=method,
        method_options=options,
        program=program,
        base=base,
        examples=examples,
        pooled=pooled,
        runs_at_once=runs_at_once,
        trace=StepTrace(workdir / "profile", num_steps=config.debug.profile_steps),
        first_method=first,
    )


def _merged(first: ChosenMethod | None) -> dict[str, Any]:
    """What a merge adds to a bench's identity."""
    return {} if first is None else {"merged": [first.method.name, first.options]}


def _identity(
    source: Source,
    network: Network,
    program: TrainingProgram,
    config: Settings,
    method_options: dict[str, Any],
) -> dict[str, Any]:
    recipe = program.settings._asdict()
    return {
        "encoder": source.fingerprint,
        "method": network.method.name,
        "options": method_options,
        "head": [
            network.head_form.value,
            network.pooling.value,
            network.head_width,
            network.head_dropout,
            network.num_outputs,
        ],
        "objective": [
            program.objective.name,
            config.training.focal_gamma,
            config.training.label_smoothing,
        ],
        "training": {key: recipe[key] for key in recipe if key not in Rates._fields},
        "audio": config.audio.to_dict(),
        "augmentation": config.augmentation.to_dict(),
    }


def training_settings(settings: RecipeSettings, recipe: dict[str, Any]) -> TrainingSettings:
    """The recipe of a config's `training` block, with what the method's own block says instead."""
    names = set(TrainingSettings._fields) & set(settings.keys())
    return TrainingSettings(**{name: settings[name] for name in names} | recipe)


def train_runs(
    experiment: Experiment,
    bench: Bench,
    places: Sequence[Place],
    *,
    folder_of: Callable[[Place], Path],
    unfinished: Unfinished,
    starts: Sequence[Start | None] | None = None,
    updates: Sequence[int] | None = None,
    on_epoch: OnPlaceEpoch = lambda place, record, timing: None,
) -> list[Run]:
    """Trains one model per place, all of them in one program, unless that was done before.

    Each is trained on the train speakers of its `domains`, its epoch chosen on the dev speakers of its
    `dev_domain`. The layer statistics come from the train speakers' clips of both domains, whatever is
    trained on: regimes then differ in their labelled data alone. Labels and held-out speakers play no
    part in them.

    Args:
      folder_of: Where the model of each place is kept once it is trained.
      unfinished: Where runs are saved meanwhile.
      starts: What each run begins with, or None for a fresh start; absent: all fresh.
      updates: Optimiser steps of each run; absent: those of the recipe's epochs.
      on_epoch: Told of every epoch of every run, whether trained now or (without a timing) before.

    Raises:
      ValueError: A loss or gradient, or a run's dev score in every epoch, is not finite.
      Stopped: A signal came; what was trained is in `unfinished`.
    """
    starts = [None] * len(places) if starts is None else starts
    if updates is None:
        updates = [recipe_updates(experiment, bench, place) for place in places]
    inputs = [
        _run_inputs(experiment, bench, place, steps)
        for place, steps in zip(places, updates, strict=True)
    ]
    inputs = [
        one if start is None else started(bench.program.network, bench.base, one, start)
        for one, start in zip(inputs, starts, strict=True)
    ]
    identities = [run_identity(experiment, bench.identity, one) for one in inputs]
    folders = [folder_of(place) for place in places]
    fits = trained_before(folders, identities, program=bench.program, base=bench.base)
    if fits is None:
        fits = _train(experiment, bench, inputs, places, identities, unfinished, on_epoch)
    else:
        for place, fit in zip(places, fits, strict=True):
            for record in fit.history:
                on_epoch(place, record, None)
    return [
        Run(place, identity, one.num_updates, one.statistics, fit, one.inherited)
        for place, identity, one, fit in zip(places, identities, inputs, fits, strict=True)
    ]


def _train(
    experiment: Experiment,
    bench: Bench,
    inputs: Sequence[RunInputs],
    places: Sequence[Place],
    identities: Sequence[str],
    unfinished: Unfinished,
    on_epoch: OnPlaceEpoch,
) -> list[FitResult]:
    try:
        return fit_runs(
            bench.program,
            bench.base,
            bench.examples,
            inputs,
            runs_at_once=bench.runs_at_once,
            on_epoch=lambda run, record, timing: on_epoch(places[run], record, timing),
            snapshots=lambda runs: unfinished.snapshots([identities[run] for run in runs]),
            trace=bench.trace,
        )
    except NonFiniteStep as error:
        place = places[error.run]
        files = ", ".join(str(experiment.utterances[row].path) for row in error.rows)
        before = "was not saved" if error.snapshot is None else f"is in {error.snapshot}"
        raise ValueError(
            f"Training {bench.method.name!r} on {' and '.join(place.domains)} (fold {place.fold}, seed "
            f"{place.seed}): {error}. Lower the learning rates, or look at the files of its batch: "
            f"{files}. What was trained before it {before}."
        ) from error
    except FloatingPointError as error:
        raise ValueError(str(error)) from error


def _run_inputs(experiment: Experiment, bench: Bench, place: Place, updates: int) -> RunInputs:
    parts = experiment.split(place.seed, place.fold)
    return RunInputs(
        key=jax.random.fold_in(jax.random.key(place.seed), place.fold),
        seed=place.seed,
        train_rows=train_rows(experiment, place),
        dev_rows=rows_in(experiment, parts.dev, (place.dev_domain,)),
        statistics=layer_statistics(bench.pooled[parts.train], bench.program.network.head_form),
        num_updates=updates,
        rates=place.rates or bench.program.settings.rates,
    )


def recipe_updates(experiment: Experiment, bench: Bench, place: Place) -> int:
    """Optimiser steps of the recipe's epochs over a place's training rows."""
    rows, settings = train_rows(experiment, place), bench.program.settings
    return settings.epochs * num_batches(len(rows), batch_size=settings.batch_size)


def train_rows(experiment: Experiment, place: Place) -> Int[np.ndarray, " m"]:
    """Rows that a place is trained on: its domains' clips by training speakers, or by its share of them."""
    parts = experiment.split(place.seed, place.fold)
    rows = rows_in(experiment, parts.train, place.domains)
    if place.share == 1.0:
        return rows
    target = rows_in(experiment, parts.train, (place.dev_domain,))
    speakers = sorted({experiment.utterances[row].speaker for row in target})
    order = np.random.default_rng((place.seed, place.fold)).permutation(len(speakers))
    kept = {speakers[index] for index in order[: math.ceil(place.share * len(speakers))]}
    left_out = [row for row in target if experiment.utterances[row].speaker not in kept]
    return np.setdiff1d(rows, left_out)


def rows_in(
    experiment: Experiment, rows: Int[np.ndarray, " n"], domains: tuple[str, ...]
) -> Int[np.ndarray, " m"]:
    """Those of the rows that belong to one of the domains."""
    keep = [experiment.utterances[row].domain in domains for row in rows]
    return rows[np.array(keep, bool)]
