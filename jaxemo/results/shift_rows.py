"""Rows of study 3 that rest on speakers: shifts of emotions, contrasts between them, and tests."""

from dataclasses import dataclass
from typing import Annotated

from jaxemo.results.columns import (
    Column,
    Emotion,
    Encoder,
    High,
    Layer,
    Low,
    Origin,
    PValue,
    Speakers,
)

Measure = Annotated[
    str,
    Column(
        "shift: squared distance of the means of speech and music. shape: how differently clips "
        "spread about them. advantage: how much nearer music of an emotion lies to speech of it than "
        "of others.",
        values=("shift", "shape", "advantage"),
    ),
]
Control = Annotated[
    str,
    Column(
        "matched: pairs of speaker, statement and intensity, at intensities that all emotions have; of "
        "female and male speakers apart. cues_removed: pitch, loudness, rate and spectral balance regressed out.",
        values=("none", "matched", "matched_female", "matched_male", "cues_removed"),
    ),
]
Squared = "squared within-cell standard deviations"
LayerOrMean = Annotated[int, Column("Layer; None for the mean over layers.", low=0)]
FamilyP = Annotated[
    float, Column("After Holm's correction over the pairs of its layer.", low=0, high=1)
]


@dataclass(frozen=True, kw_only=True)
class EmotionShiftRow:
    """Study 3: how far music of one emotion lies from speech of it, unbiased at any number of speakers."""

    encoder: Encoder
    origin: Origin
    layer: LayerOrMean | None
    control: Control
    measure: Measure
    emotion: Annotated[str, Column("Emotion by name; `all` for the mean advantage.")]
    mean: Annotated[float, Column("The distance; by chance below 0.", unit=Squared)] | None
    low: Low | None
    high: High | None
    speakers: Speakers
    paired: Annotated[
        bool, Column("Speakers are compared with themselves; else they and the domain are one.")
    ]
    d: Annotated[int, Column("Leading principal directions; None for the mean.", low=1)] | None
    variance_kept: (
        Annotated[float, Column("Variance of the layer in them.", "share", low=0, high=1)] | None
    )


@dataclass(frozen=True, kw_only=True)
class EmotionContrastRow:
    """Study 3: the shift or shape of one emotion minus that of another."""

    encoder: Encoder
    origin: Origin
    layer: LayerOrMean | None
    control: Control
    measure: Measure
    emotion: Emotion
    other_emotion: Annotated[str, Column("The emotion that is taken off.")]
    mean: Annotated[float, Column("The difference.", unit=Squared)]
    low: Low | None
    high: High | None
    p_value: Annotated[float, Column("Student's, that there is none.", low=0, high=1)] | None
    p_holm: FamilyP | None
    speakers: Speakers


@dataclass(frozen=True, kw_only=True)
class EmotionShiftTestRow:
    """Study 3: a permutation test over exchanges of emotions within speakers."""

    test: Annotated[
        str,
        Column(
            "Do the emotions of one encoder differ; do two encoders' shifts, each over its mean; is "
            "music of an emotion nearer to speech of it than of others.",
            values=("emotions_differ", "encoders_differ", "diagonal_nearer"),
        ),
    ]
    encoder: Encoder
    origin: Origin
    other_encoder: Annotated[str, Column("The other encoder of `encoders_differ`.")] | None
    layer: LayerOrMean | None
    control: Control
    measure: Measure
    statistic: Annotated[float, Column("Spread over the emotions; the mean advantage.")] | None
    p_value: PValue | None
    tau: Annotated[float, Column("Kendall's tau of the two orders.", low=-1, high=1)] | None
    emotions: Annotated[int, Column("Emotions that are compared.", low=0)]
    speakers: Speakers
    permutations: Annotated[int, Column("Exchanges that were drawn.", low=1)]


@dataclass(frozen=True, kw_only=True)
class CrossEmotionRow:
    """Study 3: how far music of one emotion lies from speech of the same or another, as the shift."""

    encoder: Encoder
    origin: Origin
    layer: Layer
    emotion: Annotated[str, Column("Emotion of speech.")]
    other_emotion: Annotated[str, Column("Emotion of music.")]
    mean: Annotated[float, Column("The distance; by chance below 0.", unit=Squared)] | None
    low: Low | None
    high: High | None
