"""Study 2, transfer: does music help speech emotion recognition, and speech help music's?

Two-stage fine-tuning (stage 1 on the source domain, stage 2 on the target) against its controls, for every
adaptation method and both directions; `regimes.py` has the protocol. Stage 1 of one direction is the
target-only run of the other, so each is trained once.
"""

import functools
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.models.heads import layer_mixture
from jaxemo.peft import count_parameters, make_method
from jaxemo.results.schema import ConfusionRow
from jaxemo.results.transfer_rows import LayerWeightRow, TransferRow, TransferRunRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.held_out import HeldOut, answers_in
from jaxemo.studies.layers import confusion_rows, fold_interval
from jaxemo.studies.regimes import (
    LONGER,
    PLACEBO,
    REGIMES,
    SHUFFLED_SOURCE,
    SOURCE_ONLY,
    TARGET_ONLY,
    TWO_STAGE,
    Pair,
    Stages,
    num_epochs,
    source_of,
    train_regimes,
    waves,
)
from jaxemo.studies.resuming import unfinished_runs
from jaxemo.studies.runs import Bench, OnPlaceEpoch, Place, Run, make_bench, rows_in
from jaxemo.studies.saved_models import save_runs
from jaxemo.studies.second_stage import merged_method_of, second_method_of
from jaxemo.studies.sources import Embedded, Source
from jaxemo.studies.study_settings import TransferSettings
from jaxemo.studies.tallies import Tallies, chance_of
from jaxemo.studies.transfer_scores import gain_figures, pool_by_speaker, score_figures
from jaxemo.studies.watching import LogEpoch, watch_epochs

logger = logging.getLogger("jaxemo")


class TransferResults(NamedTuple):
    """Rows of `results["transfer"]`, `["confusions"]`, `["layer_weights"]` and `["transfer_runs"]`."""

    rows: list[TransferRow]
    confusions: list[ConfusionRow]
    layer_weights: list[LayerWeightRow]
    runs: list[TransferRunRow]


class _Seen(NamedTuple):
    """How a run is seen: the domain that it is scored on, its regime there, and the share of that domain."""

    target: str
    regime: str
    share: float


class _Outcome(NamedTuple):
    """What one run gives."""

    fold: int
    seed: int
    answers: HeldOut
    mixture: np.ndarray
    parameters: int


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
    results = TransferResults([], [], [], [])
    unfinished = unfinished_runs(workdir, config)
    pairs = transfer_pairs(experiment, config)
    for method_name in methods_for(embedded.source, config.transfer):
        stages = _make_stages(
            experiment, embedded, config, method_name=method_name, mesh=mesh, workdir=workdir
        )
        outcomes: dict[_Seen, list[_Outcome]] = defaultdict(list)

        def folder_of(place: Place, bench: Bench = stages.first) -> Path:
            return workdir / "models" / _folder(bench, place)

        common = {
            "folder_of": folder_of,
            "unfinished": unfinished,
            "on_epoch": _watch(experiment, stages, config, log_epoch),
        }
        for group in _groups(pairs, min(bench.runs_at_once for bench in stages)):
            runs = train_regimes(experiment, stages, group, config, common=common)
            for bench, own in stages.parted(runs):
                saved = save_runs(
                    experiment, bench, own, folder_of=folder_of, config_of=lambda place: config
                )
                for run, kept in zip(own, saved, strict=True):
                    answer = answers_in(experiment, kept.predictions)
                    for seen in _views(run.place, config):
                        outcomes[seen].append(_outcome(run, answer[seen.target]))
            results.runs.extend(_run_row(stages.first, run) for run in runs)
            unfinished.forget()
        _collect(experiment, stages.first, outcomes, results)
    return results


def _make_stages(
    experiment: Experiment, embedded: Embedded, config: Settings, *, method_name: str, **places: Any
) -> Stages:
    """The benches of a method; `places` are keywords of `make_bench`."""
    made = functools.partial(make_bench, experiment, embedded, config, **places)
    first = made(method_name=method_name)
    second, merged = second_method_of(config, method_name), merged_method_of(config, method_name)
    has_second = {TWO_STAGE, PLACEBO} & set(config.transfer.regimes)
    if not has_second or (second == method_name and not merged):
        return Stages(first, first)
    stages = Stages(first, made(method_name=second, merged_method=merged))
    if merged:
        logger.info(
            "%s: in second stages each run has a base of its own, and %d are trained at once",
            embedded.source.name,
            stages.second.runs_at_once,
        )
    return stages


def check_methods(sources: Sequence[Source], settings: TransferSettings) -> None:
    """Says which methods are left out where a folder of embeddings stands for its encoder.

    Raises:
      ValueError: No source allows any of the methods.
    """
    if not any(methods_for(source, settings) for source in sources):
        second = f", with second method {settings.second_method!r}" * bool(settings.second_method)
        raise ValueError(
            f"config.transfer.methods is {settings.methods!r}{second}, and none of config.encoders has "
            "an encoder to adapt; name one, or take 'weighted_sum'."
        )
    for source in sources:
        left_out = sorted(set(settings.methods) - set(methods_for(source, settings)))
        if source.folder is not None and left_out:
            logger.warning(
                "%s: no %s, since %s holds embeddings and no encoder",
                source.name,
                " and no ".join(left_out),
                source.source,
            )


def methods_for(source: Source, settings: TransferSettings) -> list[str]:
    """The methods that this source allows: those that train inside an encoder in either stage need one."""
    if source.encoder is not None:
        return list(settings.methods)
    return [
        name
        for name in settings.methods
        if all(
            make_method(stage).frozen_layers is None
            for stage in (name, settings.second_method or name)
        )
    ]


def transfer_pairs(experiment: Experiment, config: Settings) -> list[Pair]:
    """(seed, fold) pairs whose parts all have clips of both domains.

    Raises:
      ValueError: When there is none.
    """
    num_folds = min(config.transfer.num_folds, len(experiment.folds[0]))
    pairs = [
        (seed, fold)
        for seed, fold in np.ndindex(config.transfer.num_seeds, num_folds)
        if all(
            len(rows_in(experiment, part, (domain,)))
            for part in experiment.split(seed, fold)
            for domain in DOMAINS
        )
    ]
    if not pairs:
        raise ValueError(
            f"None of the {num_folds} folds has speech and music to train, develop and test on; "
            "raise config.transfer.num_folds or add speakers."
        )
    return pairs


def _groups(pairs: list[Pair], runs_at_once: int) -> list[list[Pair]]:
    """Pairs that are trained together, so that no more trees wait for their second stage than must."""
    size = max(runs_at_once // len(DOMAINS), 1) if runs_at_once else len(pairs)
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _watch(
    experiment: Experiment, stages: Stages, config: Settings, log_epoch: LogEpoch
) -> OnPlaceEpoch:
    """Of all the method's runs."""
    planned = waves(transfer_pairs(experiment, config), config.transfer)
    return watch_epochs(
        stages.first,
        progress=experiment.progress,
        total=sum(num_epochs(experiment, stages, place) for places in planned for place in places),
        name_of=lambda place: _run_name(stages.first, place),
        log_epoch=log_epoch,
    )


def _run_name(bench: Bench, place: Place) -> str:
    return (
        f"{bench.source.name}/{bench.method.name}/{place.dev_domain}/{_regime_name(place)}/"
        f"fold{place.fold}/seed{place.seed}"
    )


def _regime_name(place: Place) -> str:
    return place.regime if place.share == 1.0 else f"{place.regime}-{place.share:g}"


def _folder(bench: Bench, place: Place) -> Path:
    slug = "".join(c if c.isalnum() else "-" for c in bench.source.name).strip("-")
    regime = f"{place.dev_domain}-{_regime_name(place)}"
    return Path(slug) / bench.method.name / regime / f"fold{place.fold}-seed{place.seed}"


def _views(place: Place, config: Settings) -> Iterator[_Seen]:
    """What a run is scored for: its own regime, and as the source-only run of the other domain."""
    if place.regime != SHUFFLED_SOURCE and place.share in config.transfer.shares:
        yield _Seen(place.dev_domain, place.regime, place.share)
    whole = place.regime == TARGET_ONLY and place.share == 1.0
    if whole and SOURCE_ONLY in config.transfer.regimes:
        yield _Seen(source_of(place.dev_domain), SOURCE_ONLY, 0.0)


def _outcome(run: Run, answers: HeldOut) -> _Outcome:
    num_layers = run.statistics.mean.shape[0]
    mixture = np.asarray(layer_mixture(run.fit.trainable["head"], num_layers=num_layers))
    parameters = count_parameters(run.fit.trainable)
    return _Outcome(run.place.fold, run.place.seed, answers, mixture, parameters)


def _run_row(bench: Bench, run: Run) -> TransferRunRow:
    place, fit = run.place, run.fit
    return TransferRunRow(
        encoder=bench.source.name,
        origin=bench.source.origin,
        method=bench.method.name,
        domain=place.dev_domain,
        regime=place.regime,
        share=place.share,
        seed=place.seed,
        fold=place.fold,
        updates=run.updates,
        epochs=len(fit.history),
        chosen_epoch=fit.best_epoch + 1,
        dev_score=fit.history[fit.best_epoch].dev_score,
    )


def _collect(
    experiment: Experiment,
    bench: Bench,
    outcomes: dict[_Seen, list[_Outcome]],
    results: TransferResults,
) -> None:
    """Adds the rows of one method."""
    pooled = {seen: _pooled(group) for seen, group in outcomes.items()}
    for seen in sorted(outcomes, key=lambda seen: (REGIMES.index(seen.regime), -seen.share)):
        group, ours = outcomes[seen], pooled[seen]
        identity = {
            "encoder": bench.source.name,
            "origin": bench.source.origin,
            "method": bench.method.name,
            "direction": f"{source_of(seen.target)}->{seen.target}",
            "regime": seen.regime,
            "domain": seen.target,
        }
        context = {
            "share": seen.share,
            "unit": "speaker",
            "n": ours.num_clips,
            "folds": len({outcome.fold for outcome in group}),
            "seeds": len({outcome.seed for outcome in group}),
            "chance": chance_of(ours),
            "trainable_parameters": group[0].parameters,
        }
        rows = [{"baseline": None, **row} for row in score_figures(ours, experiment.emotions)]
        rows += [
            {"baseline": baseline.regime, **row}
            for baseline in _baselines(seen, pooled)
            for row in gain_figures(ours, pooled[baseline], experiment.emotions)
        ]
        results.rows.extend(TransferRow(**identity, **row, **context) for row in rows)
        if seen.share in (0.0, max(one.share for one in outcomes)):
            place = {"study": "transfer", **identity, "layer": None}
            together = ours.counts.sum(axis=(0, 1, 2)).astype(int)
            results.confusions.extend(confusion_rows(together, experiment.emotions, place))
            results.layer_weights.extend(
                LayerWeightRow(**identity, **row) for row in _mixture_rows(group)
            )


def _baselines(seen: _Seen, pooled: dict[_Seen, Tallies]) -> list[_Seen]:
    """What a regime is compared with: target-only training, and for joint and two-stage the controls."""
    over = {SOURCE_ONLY: (TARGET_ONLY,), LONGER: (TARGET_ONLY,), PLACEBO: (TARGET_ONLY,)}
    names = (
        () if seen.regime == TARGET_ONLY else over.get(seen.regime, (TARGET_ONLY, LONGER, PLACEBO))
    )
    share = max(one.share for one in pooled) if seen.regime == SOURCE_ONLY else seen.share
    baselines = [_Seen(seen.target, name, share) for name in names]
    return [baseline for baseline in baselines if baseline in pooled]


def _pooled(group: list[_Outcome]) -> Tallies:
    answers: dict[int, list[HeldOut]] = defaultdict(list)
    for outcome in group:
        answers[outcome.seed].append(outcome.answers)
    return pool_by_speaker(answers)


def _mixture_rows(group: list[_Outcome]) -> list[dict[str, Any]]:
    folds = np.array([outcome.fold for outcome in group])
    mixtures = np.stack([outcome.mixture for outcome in group])
    return [
        {"layer": layer, **fold_interval(mixtures[:, layer], folds)}
        for layer in range(mixtures.shape[1])
    ]
