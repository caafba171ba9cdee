"""Rows of study 2: scores and gains, training runs, learnt layer weights (see `schema`)."""

from dataclasses import dataclass
from typing import Annotated

from jaxemo.results.columns import (
    DOMAINS,
    REGIMES,
    Chance,
    Column,
    Direction,
    EmotionOrAll,
    Encoder,
    FoldNumber,
    Folds,
    High,
    Layer,
    Low,
    Method,
    Origin,
    Reason,
    Regime,
    Scored,
    Seeds,
    SeedSpread,
    Speakers,
    TargetShare,
    Unit,
)


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """Study 2: one score on the target domain, or the gain of one regime over another."""

    encoder: Encoder
    origin: Origin
    method: Method
    direction: Direction
    regime: Regime
    share: TargetShare
    baseline: (
        Annotated[str, Column("The regime that a gain is over, at the same share.", values=REGIMES)]
        | None
    )
    domain: Annotated[str, Column("The target domain.", values=DOMAINS)]
    metric: Annotated[
        str,
        Column(
            "As in `layers`; UA_gain and recall_gain: minus that of `baseline`, paired by speaker.",
            values=("UA", "WA", "macro_F1", "recall", "UA_gain", "recall_gain"),
        ),
    ]
    emotion: EmotionOrAll
    mean: Annotated[float, Column("The score or gain.", unit="share", low=-1, high=1)] | None
    low: Low | None
    high: High | None
    unit: Unit
    speakers: Speakers
    p_value: (
        Annotated[float, Column("Of a gain, two-sided Student's t, uncorrected.", low=0, high=1)]
        | None
    )
    seed_spread: SeedSpread | None
    reason: Reason
    n: Scored
    folds: Folds
    seeds: Seeds
    chance: Chance | None
    trainable_parameters: Annotated[int, Column("Numbers that the method trains.", low=0)]


@dataclass(frozen=True, kw_only=True)
class TransferRunRow:
    """Study 2: one training run."""

    encoder: Encoder
    origin: Origin
    method: Method
    domain: Annotated[str, Column("Domain whose dev speakers chose the epoch.", values=DOMAINS)]
    regime: Annotated[
        str,
        Column(
            "As in `transfer`; shuffled_source: the first stage of the placebo.",
            values=(*REGIMES, "shuffled_source"),
        ),
    ]
    share: TargetShare
    seed: Annotated[int, Column("The run's seed.", low=0)]
    fold: FoldNumber
    updates: Annotated[int, Column("Optimiser steps that it was trained for.", low=1)]
    epochs: Annotated[int, Column("Epochs that it was trained for.", low=1)]
    chosen_epoch: Annotated[int, Column("The epoch that dev chose, from 1.", low=1)]
    dev_score: Annotated[float, Column("UA on dev at that epoch.", "share", low=0, high=1)]


@dataclass(frozen=True, kw_only=True)
class LayerWeightRow:
    """Study 2: how much one layer counts in the learnt weighted sum of layers."""

    encoder: Encoder
    origin: Origin
    method: Method
    direction: Direction
    regime: Regime
    domain: Annotated[str, Column("The target domain.", values=DOMAINS)]
    layer: Layer
    mean: (
        Annotated[float, Column("Weight; the layers sum to 1.", unit="share", low=0, high=1)] | None
    )
    low: Low | None
    high: High | None
