"""Study 2, transfer: does music help speech emotion recognition, and speech help music's?

Two-stage fine-tuning (stage 1 on the source domain, stage 2 on the target) against training on the
target alone, and where asked on both at once, for every adaptation method and both directions. Stage 1
of one direction is the target-only run of the other, so each is trained once.
"""

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxemo.analysis.scores import paired_interval, unweighted_accuracy
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.models.heads import layer_mixture
from jaxemo.peft import count_parameters, make_method
from jaxemo.results.schema import ConfusionRow, LayerWeightRow, TransferRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import confusion_rows, fold_interval, metric_values
from jaxemo.studies.resuming import Unfinished, unfinished_runs
from jaxemo.studies.runs import (
    Bench,
    Place,
    Run,
    held_out_confusions,
    make_bench,
    rows_in,
    train_runs,
)
from jaxemo.studies.saved_models import save_run
from jaxemo.studies.sources import Embedded, Source
from jaxemo.training.progress import EpochRecord

logger = logging.getLogger("jaxemo")

TARGET_ONLY, TWO_STAGE, JOINT = "target_only", "two_stage", "joint"
REGIMES = (TARGET_ONLY, TWO_STAGE, JOINT)

LogEpoch = Callable[[str, EpochRecord], None]


class TransferResults(NamedTuple):
    """Rows of `results["transfer"]`, `["confusions"]` and `["layer_weights"]`."""

    rows: list[TransferRow]
    confusions: list[ConfusionRow]
    layer_weights: list[LayerWeightRow]


class _Kept(NamedTuple):
    """Where the models of runs are kept, and runs that are under way."""

    folder_of: Callable[[Place], Path]
    unfinished: Unfinished


class _Outcome(NamedTuple):
    """One run seen from its target domain."""

    fold: int
    seed: int
    matrix: np.ndarray
    mixture: np.ndarray


def study_transfer(
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    *,
    mesh: jax.sharding.Mesh,
    workdir: Path,
    log_epoch: LogEpoch,
) -> TransferResults:
    """Every method of the config that this source allows, over all folds and seeds."""
    results = TransferResults([], [], [])
    unfinished = unfinished_runs(workdir, config)
    for method_name in methods_for(embedded.source, config.transfer.methods):
        bench = make_bench(experiment, embedded, config, method_name=method_name, mesh=mesh)
        outcomes: dict[tuple[str, str], list[_Outcome]] = defaultdict(list)
        parameters = 0
        watch = _watch(experiment, bench, config, log_epoch)
        kept = _Kept(
            lambda place, bench=bench: workdir / "models" / _folder(bench, place), unfinished
        )
        for places in _groups(_places(experiment, config), bench.runs_at_once):
            runs = _train_regimes(experiment, bench, places, config.transfer.regimes, kept, watch)
            confusions = held_out_confusions(experiment, bench, runs)
            for run, confusion in zip(runs, confusions, strict=True):
                target = run.place.dev_domain
                outcomes[target, run.place.regime].append(_outcome(run, confusion[target]))
                save_run(
                    kept.folder_of(run.place),
                    experiment=experiment,
                    bench=bench,
                    run=run,
                    confusions=confusion,
                    config=config,
                )
                parameters = count_parameters(run.fit.trainable)
            unfinished.forget()
        new = _collect(experiment, bench, outcomes, parameters)
        results.rows.extend(new.rows)
        results.confusions.extend(new.confusions)
        results.layer_weights.extend(new.layer_weights)
    return results


def check_methods(sources: Sequence[Source], names: tuple[str, ...]) -> None:
    """Says which methods are left out where a folder of embeddings stands for its encoder.

    Raises:
      ValueError: No source allows any of the methods.
    """
    if not any(methods_for(source, names) for source in sources):
        raise ValueError(
            f"config.transfer.methods is {names!r}, and none of config.encoders has an encoder to "
            "adapt; name one, or take 'weighted_sum'."
        )
    for source in sources:
        left_out = sorted(set(names) - set(methods_for(source, names)))
        if source.folder is not None and left_out:
            logger.warning(
                "%s: no %s, since %s holds embeddings and no encoder",
                source.name,
                " and no ".join(left_out),
                source.source,
            )


def methods_for(source: Source, names: tuple[str, ...]) -> list[str]:
    """The methods that this source allows: those that train inside an encoder need one."""
    if source.encoder is not None:
        return list(names)
    return [name for name in names if make_method(name).frozen_layers is None]


def needs_stem(names: tuple[str, ...]) -> bool:
    """Whether any of the methods trains inside the encoder, and so reads cached stem features."""
    return any(make_method(name).frozen_layers is not None for name in names)


def source_of(target: str) -> str:
    """The other domain."""
    return DOMAINS[1 - DOMAINS.index(target)]


def _places(experiment: Experiment, config: Settings) -> list[tuple[int, int]]:
    """(seed, fold) pairs whose parts all have clips of both domains.

    Raises:
      ValueError: When there is none.
    """
    num_folds = min(config.transfer.num_folds, len(experiment.folds[0]))
    places = [
        (seed, fold)
        for seed, fold in np.ndindex(config.transfer.num_seeds, num_folds)
        if all(
            len(rows_in(experiment, part, (domain,)))
            for part in experiment.split(seed, fold)
            for domain in DOMAINS
        )
    ]
    if not places:
        raise ValueError(
            f"None of the {num_folds} folds has speech and music to train, develop and test on; "
            "raise config.transfer.num_folds or add speakers."
        )
    return places


def _groups(places: list[tuple[int, int]], runs_at_once: int) -> list[list[tuple[int, int]]]:
    """Places that are trained together, so that no more trees wait for their second stage than must."""
    size = max(runs_at_once // len(DOMAINS), 1) if runs_at_once else len(places)
    return [places[start : start + size] for start in range(0, len(places), size)]


def _train_regimes(
    experiment: Experiment,
    bench: Bench,
    places: list[tuple[int, int]],
    regimes: tuple[str, ...],
    kept: _Kept,
    on_epoch: Callable[[Place, EpochRecord], None],
) -> list[Run]:
    """All runs of some (seed, fold) pairs: first target-only, then what follows from those, and joint."""
    alone = [_place(pair, target, TARGET_ONLY) for pair in places for target in DOMAINS]
    common = {**kept._asdict(), "on_epoch": on_epoch}
    runs = train_runs(experiment, bench, alone, **common)
    by_place = {run.place: run for run in runs}
    later = [
        _place(pair, target, regime)
        for regime in (TWO_STAGE, JOINT)
        if regime in regimes
        for pair in places
        for target in DOMAINS
    ]
    if not later:
        return runs
    before = [_first_stage(place) for place in later]
    first_stages = [None if place is None else by_place[place] for place in before]
    return runs + train_runs(experiment, bench, later, first_stages=first_stages, **common)


def _place(pair: tuple[int, int], target: str, regime: str) -> Place:
    seed, fold = pair
    domains = DOMAINS if regime == JOINT else (target,)
    return Place(seed, fold, regime, domains, dev_domain=target)


def _first_stage(place: Place) -> Place | None:
    """What a two-stage run goes on from: the run on its source domain alone."""
    if place.regime != TWO_STAGE:
        return None
    return _place((place.seed, place.fold), source_of(place.dev_domain), TARGET_ONLY)


def _watch(
    experiment: Experiment, bench: Bench, config: Settings, log_epoch: LogEpoch
) -> Callable[[Place, EpochRecord], None]:
    """Logs every epoch of every run, and shows how many of the method's are done."""
    num_runs = len(_places(experiment, config)) * len(DOMAINS)
    num_runs *= len({TARGET_ONLY, *config.transfer.regimes})
    total = num_runs * bench.program.settings.epochs
    report = experiment.progress.count(f"{bench.source.name}: {bench.method.name}, epochs")
    done = itertools.count(1)

    def on_epoch(place: Place, record: EpochRecord) -> None:
        log_epoch(_run_name(bench, place), record)
        report(next(done), total)

    return on_epoch


def _run_name(bench: Bench, place: Place) -> str:
    return (
        f"{bench.source.name}/{bench.method.name}/{place.dev_domain}/{place.regime}/"
        f"fold{place.fold}/seed{place.seed}"
    )


def _outcome(run: Run, matrix: np.ndarray) -> _Outcome:
    mixture = np.asarray(layer_mixture(run.fit.trainable["head"]))
    return _Outcome(run.place.fold, run.place.seed, matrix, mixture)


def _folder(bench: Bench, place: Place) -> Path:
    slug = "".join(c if c.isalnum() else "-" for c in bench.source.name).strip("-")
    regime = f"{place.dev_domain}-{place.regime}"
    return Path(slug) / bench.method.name / regime / f"fold{place.fold}-seed{place.seed}"


def _collect(
    experiment: Experiment, bench: Bench, outcomes: dict, parameters: int
) -> TransferResults:
    results = TransferResults([], [], [])
    for (target, regime), group in outcomes.items():
        identity = {
            "encoder": bench.source.name,
            "origin": bench.source.origin,
            "method": bench.method.name,
            "direction": f"{source_of(target)}->{target}",
            "regime": regime,
            "domain": target,
        }
        matrix = np.sum([o.matrix for o in group], axis=0)
        context = {
            "n": int(sum({o.fold: o.matrix.sum() for o in group}.values())),
            "folds": len({o.fold for o in group}),
            "seeds": len({o.seed for o in group}),
            "chance": 1 / int(np.count_nonzero(matrix.sum(axis=1))),
            "trainable_parameters": parameters,
        }
        rows = _score_rows(group, experiment)
        if regime != TARGET_ONLY:
            rows.append(_gain_row(group, outcomes[target, TARGET_ONLY]))
        results.rows.extend(TransferRow(**identity, **row, **context) for row in rows)
        place = {"study": "transfer", **identity, "layer": None}
        results.confusions.extend(confusion_rows(matrix, experiment.emotions, place))
        results.layer_weights.extend(
            LayerWeightRow(**identity, **row) for row in _mixture_rows(group)
        )
    return results


def _score_rows(group: list[_Outcome], experiment: Experiment) -> list[dict[str, Any]]:
    folds = np.array([outcome.fold for outcome in group])
    matrices = [outcome.matrix for outcome in group]
    return [
        {"metric": metric, "emotion": emotion, **fold_interval(values, folds)}
        for metric, emotion, values in metric_values(matrices, experiment.emotions)
        if np.isfinite(values).any()  # The target domain may lack an emotion: no recall, no row.
    ]


def _gain_row(group: list[_Outcome], baseline: list[_Outcome]) -> dict[str, Any]:
    """UA minus target-only UA, paired by fold (each the mean of its seeds)."""
    gained, without = (_accuracy_by_fold(outcomes) for outcomes in (group, baseline))
    interval = paired_interval(gained, without)
    figures = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {"metric": "UA_gain", "emotion": "all", **figures}


def _accuracy_by_fold(outcomes: list[_Outcome]) -> list[float]:
    by_fold = defaultdict(list)
    for outcome in outcomes:
        by_fold[outcome.fold].append(unweighted_accuracy(outcome.matrix))
    return [float(np.mean(by_fold[fold])) for fold in sorted(by_fold)]


def _mixture_rows(group: list[_Outcome]) -> list[dict[str, Any]]:
    folds = np.array([outcome.fold for outcome in group])
    mixtures = np.stack([outcome.mixture for outcome in group])
    return [
        {"layer": layer, **fold_interval(mixtures[:, layer], folds)}
        for layer in range(mixtures.shape[1])
    ]
