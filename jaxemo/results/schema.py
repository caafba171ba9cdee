"""What results.json holds: one frozen dataclass per kind of row.

The file, its checks, its JSON Schema, its documentation and the report's data frames are made from
these classes and from `contents.Results`, all of them together. A row is flat; None stands for what
is not known (one fold gives no interval).
"""

from dataclasses import dataclass
from typing import Annotated

from jaxemo.results.columns import (
    Chance,
    Column,
    Direction,
    Domain,
    Emotion,
    EmotionOrAll,
    Encoder,
    FigureMetric,
    FoldNumber,
    Folds,
    High,
    Layer,
    Low,
    Method,
    Origin,
    Part,
    Path,
    PValue,
    Reason,
    Regime,
    Scored,
    ScoreMetric,
    Seeds,
    Share,
    Speakers,
)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """Study 1: one score of the probes on one layer of one encoder in one domain."""

    encoder: Encoder
    origin: Origin
    domain: Domain
    layer: Layer
    metric: ScoreMetric
    emotion: EmotionOrAll
    mean: Share | None
    low: Low | None
    high: High | None
    n: Scored
    folds: Folds
    seeds: Seeds
    speakers: Speakers
    reason: Reason
    seed_spread: (
        Annotated[float, Column("Standard deviation over seeds of the score.", "share", low=0)]
        | None
    )
    num_layers: Annotated[int, Column("Layers of the encoder, its input counted.", low=1)]
    chance: Chance | None
    converged: Annotated[
        float,
        Column("Probes behind the row that converged.", unit="share", low=0, high=1),
    ]


@dataclass(frozen=True, kw_only=True)
class ConfusionRow:
    """Studies 1 and 2: how many clips of one emotion got one answer, summed over folds and seeds."""

    study: Annotated[str, Column("The study.", values=("layers", "transfer"))]
    encoder: Encoder
    origin: Origin
    domain: Domain
    layer: Layer | None
    method: Method | None
    direction: Direction | None
    regime: Regime | None
    emotion: Annotated[str, Column("True emotion.")]
    predicted: Annotated[str, Column("The answer.")]
    count: Annotated[int, Column("Clips, each once per seed.", low=0)]


@dataclass(frozen=True, kw_only=True)
class OfEncoder:
    """The columns that say which encoder a row is of."""

    encoder: Encoder
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Distance:
    """One distance between two sets of frames or clips, `a` and `b`, at one layer."""

    layer: Layer
    comparison: Annotated[
        str,
        Column(
            "What is compared: `cross_domain`: speech (a) with music (b); nulls: two halves of "
            "each speaker's clips of one domain.",
            values=("cross_domain", "null_speech", "null_music"),
        ),
    ]
    emotion: Emotion
    metric: Annotated[
        str,
        Column(
            "FAD of all frames, of as many clips for every emotion, extrapolated to infinitely many "
            "speakers, of one vector per clip; KAD: kernel distance.",
            values=("FAD", "FAD_equal_n", "FAD_infinite_speakers", "FAD_clip", "KAD"),
        ),
    ]
    level: Annotated[str, Column("What one row of a set is.", values=("frame", "clip"))]
    mean: Annotated[float, Column("The distance, in squared units of the layer.")] | None
    low: Low | None = None
    high: High | None = None
    standard_error: Annotated[float, Column("Over speakers, by jackknife.", low=0)] | None = None
    p_value: PValue | None = None
    fit_error: (
        Annotated[float, Column("Part of it that dealing speakers into parts made.", low=0)] | None
    ) = None
    variance_kept: (
        Annotated[
            float,
            Column("Variance of the layer in the d dimensions.", "share", low=0, high=1),
        ]
        | None
    ) = None
    rank_a: Annotated[int, Column("Rank of the covariance of a.", low=0)] | None = None
    rank_b: Annotated[int, Column("Rank of the covariance of b.", low=0)] | None = None
    n_a: Annotated[int, Column("Rows of a.", low=0)]
    n_b: Annotated[int, Column("Rows of b.", low=0)]
    clips_a: Annotated[int, Column("Clips of a.", low=0)]
    clips_b: Annotated[int, Column("Clips of b.", low=0)]
    speakers_a: Annotated[int, Column("Speakers of a.", low=0)]
    speakers_b: Annotated[int, Column("Speakers of b.", low=0)]
    d: Annotated[int, Column("Dimensions that the distance was computed in.", low=1)]
    small_sample: Annotated[
        bool, Column("A side has fewer than 2 d rows, where FAD is biased upwards.")
    ]


@dataclass(frozen=True, kw_only=True)
class SimilarityRow(Distance, OfEncoder):
    """Study 3: one distance between two sets of frames or clips, `a` and `b`, at one layer."""


@dataclass(frozen=True, kw_only=True)
class CorpusRow:
    """The clips of one emotion in one domain of one corpus."""

    corpus: Annotated[str, Column("Name of the corpus.")]
    domain: Domain
    emotion: Emotion
    clips: Annotated[int, Column("Usable clips.", low=0)]
    speakers: Speakers
    seconds: Annotated[float, Column("Their length together.", unit="s", low=0)]


@dataclass(frozen=True, kw_only=True)
class FoldRow:
    """Who is in one part of one fold."""

    fold: FoldNumber
    part: Part
    speakers: Annotated[str, Column("Their names, with commas between.")]
    clips_speech: Annotated[int, Column("Speech clips.", low=0)]
    clips_music: Annotated[int, Column("Music clips.", low=0)]


@dataclass(frozen=True, kw_only=True)
class LeftOutRow:
    """A file that was found and not used."""

    path: Path
    reason: Annotated[str, Column("Why it was not used.")]


@dataclass(frozen=True, kw_only=True)
class EmptyCellRow:
    """An emotion without a clip in one part of a fold: its figures rest on fewer folds."""

    fold: FoldNumber
    part: Part
    domain: Domain
    emotion: Emotion


@dataclass(frozen=True, kw_only=True)
class FolderRow:
    """Distances between a reference and a candidate folder at one layer (`jaxemo fad --reference`)."""

    encoder: Encoder
    reference: Annotated[str, Column("The folder or moments file compared with.")]
    candidate: Annotated[str, Column("The folder that is judged.")]
    layer: Layer
    FAD: Annotated[float, Column("Frechet distance of all frames.", low=0)] | None
    FAD_infinite_files: (
        Annotated[float, Column("Extrapolated to infinitely many files, in fewer dimensions.")]
        | None
    )
    FAD_infinite_files_error: Annotated[float, Column("Standard error, over files.", low=0)] | None
    KAD: Annotated[float, Column("Unbiased kernel distance.")] | None
    frames_reference: Annotated[int, Column("None for a moments file.", low=0)] | None
    frames_candidate: Annotated[int, Column("Frames of the candidate.", low=0)]
    d: Annotated[int, Column("Width of the layer.", low=1)]
    rank_reference: Annotated[int, Column("Rank of its covariance.", low=0)] | None
    rank_candidate: Annotated[int, Column("Rank of its covariance.", low=0)]
    small_sample: Annotated[bool, Column("A side has fewer than 2 d frames.")]


@dataclass(frozen=True, kw_only=True)
class FigureRow:
    """One score of one model on held-out clips of one domain (`jaxemo train`, `evaluate`)."""

    domain: Domain
    emotion: Annotated[
        str,
        Column("Emotion of a recall, or rating or tag of a figure; `all`: of all, or their mean."),
    ]
    metric: FigureMetric
    mean: (
        Annotated[float, Column("The score; CCC and PCC from -1, R2 without a low end.", high=1)]
        | None
    )
    n: Annotated[int, Column("Clips that were scored.", low=0)]


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One model of a sweep (`jaxemo sweep`)."""

    encoder: Encoder
    origin: Origin
    method: Method
    domain: Domain
    point: Annotated[str, Column("The settings of its point of the grid, but seed and fold.")]
    seed: Annotated[int, Column("The run's seed.", low=0)]
    fold: FoldNumber
    dev_score: Annotated[float, Column("Best UA, CCC or PR_AUC of the development part.", high=1)]
    mean: Annotated[float, Column("That figure of the held-out part.", high=1)] | None
    n: Annotated[int, Column("Held-out clips.", low=0)]
    trainable_parameters: Annotated[int, Column("Numbers that the method trains.", low=0)]


@dataclass(frozen=True, kw_only=True)
class PredictionRow:
    """What a model answers for one clip (`jaxemo evaluate`)."""

    path: Path
    domain: Domain
    speaker: Annotated[str, Column("Corpus and name.")]
    emotion: Annotated[str, Column("True emotion.")]
    predicted: Annotated[str, Column("The answer.")]
    probability: Annotated[float, Column("Of the answer.", unit="share", low=0, high=1)]


@dataclass(frozen=True, kw_only=True)
class PredictedValueRow:
    """What a model of ratings or tags says of one clip (`jaxemo evaluate`); one row per output."""

    path: Path
    domain: Domain
    speaker: Annotated[str, Column("Corpus and name.")]
    output: Annotated[str, Column("The rating or tag.")]
    truth: Annotated[float, Column("The rating, from -1 to 1; 1 for a tag that is there, else 0.")]
    predicted: Annotated[float, Column("The rating as predicted; the probability of the tag.")]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch of training (`jaxemo train`)."""

    epoch: Annotated[int, Column("From 1.", low=0)]
    train_loss: Annotated[float, Column("Mean loss over its updates.", unit="nats")]
    gradient_norm: Annotated[float, Column("Mean over its updates.", low=0)]
    dev_score: Annotated[float, Column("UA, CCC or PR_AUC of the development part.", high=1)]
