"""The protocol of study 2: which runs there are, what each is trained on, for how long, and from where.

Two-stage training sees more updates than training on the target alone, and starts where those ended:
neither is transfer. So it stands beside training on the target for as many updates, and beside a placebo
whose first stage learns labels that were shuffled within speakers. All runs of a seed and fold begin from
one initialisation; where a second stage begins afresh, from that too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.runs import Bench, Place, Run, recipe_updates, train_rows, train_runs
from jaxemo.studies.second_stage import Start, start_after
from jaxemo.studies.study_settings import TransferSettings

TARGET_ONLY, LONGER, SOURCE_ONLY = "target_only", "target_only_longer", "source_only"
JOINT, PLACEBO, TWO_STAGE = "joint", "placebo", "two_stage"
REGIMES = (TARGET_ONLY, LONGER, SOURCE_ONLY, JOINT, PLACEBO, TWO_STAGE)
# The placebo's first stage; its scores say nothing.
SHUFFLED_SOURCE = "shuffled_source"

Pair = tuple[int, int]
_IN_ORDER = (TARGET_ONLY, LONGER, JOINT, PLACEBO, TWO_STAGE)


class Stages(NamedTuple):
    """Where the runs of a method are trained.

    Attributes:
      first: All but second stages.
      second: Those, where they go on by another method or on merged bases; else the same.
    """

    first: Bench
    second: Bench

    def of(self, place: Place) -> Bench:
        """The bench of one run."""
        return self.second if place.regime in (TWO_STAGE, PLACEBO) else self.first

    def parted(self, runs: Sequence[Run]) -> list[tuple[Bench, list[Run]]]:
        """Runs by their bench, in their order."""
        if self.first is self.second:
            return [(self.first, list(runs))]
        parts = [(bench, [r for r in runs if self.of(r.place) is bench]) for bench in self]
        return [(bench, own) for bench, own in parts if own]


def source_of(target: str) -> str:
    """The other domain."""
    return DOMAINS[1 - DOMAINS.index(target)]


def waves(pairs: Sequence[Pair], settings: TransferSettings) -> list[list[Place]]:
    """The runs of some (seed, fold) pairs; those of one list are trained together, lists in their order.

    Training on all of either domain alone comes first: it is the first stage of the other direction.
    """
    made = [_places(pairs, TARGET_ONLY, share=1.0)]
    if PLACEBO in settings.regimes:
        by_seed = (
            [pair for pair in pairs if pair[0] == seed] for seed in sorted({s for s, _ in pairs})
        )
        made += [_places(alike, SHUFFLED_SOURCE, share=1.0) for alike in by_seed]
    wanted = {TARGET_ONLY, *settings.regimes}
    made += [
        _places(pairs, regime, share=share)
        for share in sorted(settings.shares, reverse=True)
        for regime in _IN_ORDER
        if regime in wanted and (regime, share) != (TARGET_ONLY, 1.0)
    ]
    return made


def train_regimes(
    experiment: Experiment,
    stages: Stages,
    pairs: Sequence[Pair],
    config: Settings,
    *,
    common: dict[str, Any],
) -> list[Run]:
    """All runs of some (seed, fold) pairs.

    Args:
      common: Keywords of `train_runs` that are the same for all.
    """
    by_place: dict[Place, Run] = {}
    for places in waves(pairs, config.transfer):
        on = (experiment, stages.of(places[0]))
        if places[0].regime == SHUFFLED_SOURCE:
            on = _with_shuffled_labels(*on, seed=places[0].seed)
        runs = train_runs(
            *on,
            places,
            starts=[_start(place, by_place, config.transfer.inherits) for place in places],
            updates=[num_updates(experiment, stages, place) for place in places],
            **common,
        )
        by_place |= {run.place: run for run in runs}
    return list(by_place.values())


def num_updates(experiment: Experiment, stages: Stages, place: Place) -> int:
    """Optimiser steps of a run: those of both stages where it stands beside two-stage training, or is joint."""
    parts = [place]
    if place.regime in (LONGER, JOINT):
        target = place._replace(regime=TWO_STAGE, domains=(place.dev_domain,))
        parts = [_source_stage(place, TARGET_ONLY), target]
    return sum(recipe_updates(experiment, stages.of(part), part) for part in parts)


def num_epochs(experiment: Experiment, stages: Stages, place: Place) -> int:
    """Epochs of a run, the last of which may be cut short."""
    bench = stages.of(place)
    per_epoch = recipe_updates(experiment, bench, place) // bench.program.settings.epochs
    return math.ceil(num_updates(experiment, stages, place) / per_epoch)


def check_shares(experiment: Experiment, pairs: Sequence[Pair], settings: TransferSettings) -> None:
    """Every share of the target's training speakers must hold every emotion of the target.

    Raises:
      ValueError: Naming the shares, domains, folds and emotions that do not go together.
    """
    lacking = sorted(set(_lacking(experiment, pairs, settings.shares)))
    if lacking:
        raise ValueError(
            "config.transfer.shares leaves too few speakers: "
            + "; ".join(lacking)
            + ". Take larger shares, or leave the emotion out (config.corpus.emotions)."
        )


def _lacking(
    experiment: Experiment, pairs: Sequence[Pair], shares: Sequence[float]
) -> Iterator[str]:
    for share in shares:
        for place in _places(pairs, TARGET_ONLY, share=share):
            all_rows = train_rows(experiment, place._replace(share=1.0))
            there = set(experiment.labels[train_rows(experiment, place)])
            for label in sorted(set(experiment.labels[all_rows]) - there):
                emotion = experiment.emotions[label]
                yield f"a share of {share:g} has no {emotion!r} ({place.dev_domain}, fold {place.fold})"


def _places(pairs: Sequence[Pair], regime: str, *, share: float) -> list[Place]:
    return [_place(pair, target, regime, share) for pair in pairs for target in DOMAINS]


def _place(pair: Pair, target: str, regime: str, share: float) -> Place:
    seed, fold = pair
    domains = DOMAINS if regime == JOINT else (target,)
    return Place(seed, fold, regime, domains, dev_domain=target, share=share)


def _first_stage(place: Place) -> Place | None:
    """What a run goes on from: all of its source domain, with true labels or shuffled ones."""
    regimes = {TWO_STAGE: TARGET_ONLY, PLACEBO: SHUFFLED_SOURCE}
    if place.regime not in regimes:
        return None
    return _source_stage(place, regimes[place.regime])


def _start(place: Place, by_place: Mapping[Place, Run], inherits: Sequence[str]) -> Start | None:
    before = _first_stage(place)
    return None if before is None else start_after(by_place[before].fit.trainable, inherits)


def _source_stage(place: Place, regime: str) -> Place:
    return _place((place.seed, place.fold), source_of(place.dev_domain), regime, 1.0)


def _with_shuffled_labels(
    experiment: Experiment, bench: Bench, *, seed: int
) -> tuple[Experiment, Bench]:
    """Both with every speaker's labels of a domain dealt out anew among his or her clips of it."""
    labels = experiment.labels.copy()
    cells: dict[tuple[str, str], list[int]] = {}
    for row, utterance in enumerate(experiment.utterances):
        cells.setdefault((utterance.domain, utterance.speaker), []).append(row)
    draw = np.random.default_rng(seed)
    for rows in cells.values():
        labels[rows] = draw.permutation(labels[rows])
    examples = bench.examples._replace(targets=labels)
    return experiment._replace(labels=labels), bench._replace(examples=examples)
