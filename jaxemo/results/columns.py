"""Columns that several rows of results.json share, each with its meaning, unit and range."""

from typing import Annotated, NamedTuple

from jaxemo.data.corpora.corpus import DOMAINS


class Column(NamedTuple):
    """What a column says beyond its type.

    Attributes:
      meaning: A sentence.
      unit: Of a number; empty for counts, names and pure numbers.
      low: Smallest value; None where there is none.
      high: Largest value; None where there is none.
      values: The values that occur, where they are few.
    """

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()


Encoder = Annotated[str, Column("Name of the encoder; each has one in a file.")]
Origin = Annotated[
    str,
    Column(
        "Where the weights come from: a hub, a folder, chance, or no weights at all.",
        values=("published", "local", "untrained", "hand-made"),
    ),
]
Domain = Annotated[str, Column("Domain of the clips that are scored or counted.", values=DOMAINS)]
Layer = Annotated[int, Column("Layer; 0 is the input of the first layer.", low=0)]
Emotion = Annotated[str, Column("Emotion by name.")]
EmotionOrAll = Annotated[str, Column("Emotion of a recall; `all` for every other metric.")]
ScoreMetric = Annotated[
    str,
    Column(
        "UA: mean recall over emotions. WA: share of right answers. recall: of one emotion.",
        values=("UA", "WA", "macro_F1", "recall"),
    ),
]
FigureMetric = Annotated[
    str,
    Column(
        "Of classes, as in `layers`; of ratings: concordance (CCC) and Pearson's correlation, R2; of tags: "
        "areas under the ROC and the precision-recall curve. ECE: expected calibration error of the "
        "probabilities of classes; ECE_uncalibrated: before the temperature.",
        values=(
            *("UA", "WA", "macro_F1", "recall", "CCC", "PCC", "R2", "ROC_AUC", "PR_AUC"),
            *("ECE", "ECE_uncalibrated"),
        ),
    ),
]
Share = Annotated[float, Column("The score.", unit="share", low=0, high=1)]
Low = Annotated[float, Column("Lower end of the 95 % interval of `mean`, in its unit.")]
High = Annotated[float, Column("Upper end of the 95 % interval of `mean`, in its unit.")]
Scored = Annotated[int, Column("Clips that were scored, over all folds.", low=0)]
Folds = Annotated[int, Column("Folds with different test speakers behind the figure.", low=1)]
Seeds = Annotated[int, Column("Runs per fold, averaged within it.", low=1)]
Chance = Annotated[
    float, Column("One over the emotions that were scored.", unit="share", low=0, high=1)
]
Method = Annotated[
    str,
    Column(
        "What is trained.",
        values=(
            "weighted_sum",
            "bitfit",
            "ia3",
            "prefix_tuning",
            "lora",
            "dora",
            "pfeiffer_adapter",
            "parallel_adapter",
            "adapter",
            "combined",
            "top_layers",
            "full",
        ),
    ),
]
Direction = Annotated[
    str, Column("Source and target domain.", values=("music->speech", "speech->music"))
]
REGIMES = ("target_only", "target_only_longer", "source_only", "joint", "placebo", "two_stage")
Regime = Annotated[
    str,
    Column(
        "Trained on the target alone; so, for as many updates as two stages have; on the source alone; on "
        "both at once; on shuffled labels of the source first; on the source first.",
        values=REGIMES,
    ),
]
TargetShare = Annotated[
    float,
    Column("Of the target's training speakers; source_only has none.", "share", low=0, high=1),
]
Speakers = Annotated[int, Column("Speakers behind the figure.", low=0)]
Unit = Annotated[
    str,
    Column(
        "What the interval is over. speaker: one value per held-out speaker, seeds averaged.",
        values=("speaker",),
    ),
]
SeedSpread = Annotated[
    float,
    Column(
        "Standard deviation over seeds of the mean over speakers, in the unit of `mean`.", low=0
    ),
]
Reason = Annotated[str, Column("Why there is no interval; empty where there is one.")]
PValue = Annotated[
    float, Column("Share of exchanges at least as extreme, uncorrected.", low=0, high=1)
]
PairedPValue = Annotated[
    float, Column("That other speakers show no difference; t over speakers.", low=0, high=1)
]
HolmPValue = Annotated[
    float, Column("Corrected by Holm over the rows that a table shows together.", low=0, high=1)
]
Part = Annotated[str, Column("Part of the fold.", values=("train", "dev", "test"))]
Path = Annotated[str, Column("The file, as the corpus names it.")]
FoldNumber = Annotated[int, Column("The fold.", low=0)]
