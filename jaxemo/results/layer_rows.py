"""Rows of study 1 beside the scores themselves: the chosen layer and its rivals, and the controls."""

from dataclasses import dataclass
from typing import Annotated

from jaxemo.results.columns import (
    DOMAINS,
    Chance,
    Column,
    Domain,
    Encoder,
    Folds,
    High,
    HolmPValue,
    Layer,
    Low,
    Origin,
    PairedPValue,
    Reason,
    Scored,
    Seeds,
    Speakers,
)

CONTROLS = (
    "zero_shot",
    "zero_shot_standardised",
    "domain",
    "sex",
    "statement",
    "intensity",
    "speaker",
    "statement_held_out",
    "intensity_matched",
    "cues_removed",
    "control_labels",
    "duration",
)


@dataclass(frozen=True, kw_only=True)
class LayerChoiceRow:
    """Study 1: UA at the layer that dev speakers choose in each fold, and other layers against it."""

    encoder: Encoder
    origin: Origin
    domain: Domain
    layer: Annotated[int, Column("Layer; None for the chosen ones themselves.", low=0)] | None
    mean: Annotated[
        float,
        Column(
            "UA at the chosen layers; of a layer, its UA minus that, paired by speaker.",
            unit="share",
            low=-1,
            high=1,
        ),
    ]
    low: Low | None
    high: High | None
    p_value: PairedPValue | None
    p_corrected: HolmPValue | None
    speakers: Speakers
    reason: Reason
    chosen: Annotated[float, Column("Runs whose dev part chose the layer.", "share", 0, 1)] | None
    n: Scored
    folds: Folds
    seeds: Seeds
    chance: Chance | None


PROBES = ("linear", "weighted_sum", "mlp")


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """Study 1: one score of probes of another form, or of ratings or tags, in one domain."""

    encoder: Encoder
    origin: Origin
    domain: Domain
    probe: Annotated[
        str,
        Column(
            "linear: a linear map of one layer (of ratings and tags; of emotions it stands in `layers`). "
            "weighted_sum: of a learnt mixture of all layers. mlp: one hidden layer on one layer.",
            values=PROBES,
        ),
    ]
    layer: (
        Annotated[
            int,
            Column("Layer; None for the layer that dev chose in each run, or for all.", low=0),
        ]
        | None
    )
    metric: Annotated[
        str,
        Column(
            "As in `figures`; UA_difference: UA minus UA of the linear probe of the same layer, or of the "
            "layer that dev chose for it, paired by speaker.",
            values=(
                *("UA", "WA", "macro_F1", "UA_difference"),
                *("CCC", "PCC", "R2", "ROC_AUC", "PR_AUC"),
            ),
        ),
    ]
    emotion: Annotated[str, Column("Rating or tag; `all`: of all classes, or the outputs' mean.")]
    mean: (
        Annotated[float, Column("The score; R2 has no low end. None where undefined.", high=1)]
        | None
    )
    low: Low | None
    high: High | None
    p_value: PairedPValue | None
    n: Scored
    folds: Folds
    seeds: Seeds
    speakers: Speakers
    reason: Reason
    seed_spread: (
        Annotated[float, Column("Standard deviation over seeds of the score.", low=0)] | None
    )
    chance: Annotated[float, Column("Score of answers that know nothing.", low=0, high=1)] | None
    converged: Annotated[
        float,
        Column("Probes behind the row that converged.", unit="share", low=0, high=1),
    ]


@dataclass(frozen=True, kw_only=True)
class ControlRow:
    """Study 1: a control at one layer, on the folds of the first seed."""

    encoder: Encoder
    origin: Origin
    control: Annotated[
        str,
        Column(
            "zero_shot: the emotion, by the probe of the other domain; `_standardised`: each domain by "
            "its own unlabelled clips. domain, sex, statement, intensity, speaker: that label. "
            "statement_held_out: the emotion in sentences that were not trained on. intensity_matched: "
            "the emotion in clips of one intensity. cues_removed: the emotion, once pitch, loudness, "
            "spectral balance and rate are regressed out. control_labels: classes that mean nothing. "
            "duration: the emotion from the clip's length alone.",
            values=CONTROLS,
        ),
    ]
    value: Annotated[str, Column("The intensity of `intensity_matched`; else empty.")]
    domain: Annotated[str, Column("Of the scored clips.", values=(*DOMAINS, "both"))]
    layer: Layer
    metric: Annotated[
        str,
        Column(
            "UA; UA_difference: UA minus UA of the domain's own emotion probe on the same clips, paired "
            "by speaker; selectivity: that probe's UA minus UA of control_labels.",
            values=("UA", "UA_difference", "selectivity"),
        ),
    ]
    mean: Annotated[float, Column("The score or difference.", unit="share", low=-1, high=1)]
    low: Low | None
    high: High | None
    p_value: PairedPValue | None
    speakers: Speakers
    reason: Reason
    n: Annotated[int, Column("Clips that were scored.", low=0)]
    folds: Folds
    chance: Chance | None


@dataclass(frozen=True, kw_only=True)
class LayerSimilarityRow:
    """Study 1: how alike two layers are over the same clips, of one encoder or of two."""

    encoder: Encoder
    origin: Origin
    layer: Layer
    other_encoder: Encoder
    other_layer: Layer
    domain: Annotated[
        str,
        Column(
            "Of the clips; both: the layer's emotions in speech against its emotions in music.",
            values=(*DOMAINS, "both"),
        ),
    ]
    measure: Annotated[
        str,
        Column(
            "CKA: linear centred kernel alignment without bias. RSA: Spearman's correlation of the "
            "distances between emotions.",
            values=("CKA", "RSA"),
        ),
    ]
    mean: Annotated[float, Column("1: alike but for rotation and scale; 0: unrelated.")]
    low: Low | None
    high: High | None
    speakers: Speakers
    reason: Reason
    n: Annotated[int, Column("Clips that were compared.", low=0)]


@dataclass(frozen=True, kw_only=True)
class VariancePartRow:
    """Study 1: how much of a layer's variance goes with one factor or interaction."""

    encoder: Encoder
    origin: Origin
    domain: Annotated[str, Column("Of the clips.", values=(*DOMAINS, "both"))]
    layer: Layer
    factor: Annotated[str, Column("Name of the factor, or of two with `:` between them.")]
    mean: Annotated[float, Column("Omega squared over all dimensions, type II.", "share", high=1)]
    low: Low | None
    high: High | None
    speakers: Speakers
    reason: Reason
    degrees_of_freedom: Annotated[int, Column("Of the factor.", low=1)]
    n: Annotated[int, Column("Clips in the model.", low=0)]
