"""One results.json as a whole: its sections of rows, where they come from, and the version of the schema."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from jaxemo.results.columns import Column, Encoder, Origin
from jaxemo.results.layer_rows import (
    ControlRow,
    LayerChoiceRow,
    LayerSimilarityRow,
    ProbeRow,
    VariancePartRow,
)
from jaxemo.results.schema import (
    ConfusionRow,
    CorpusRow,
    EmptyCellRow,
    EpochRow,
    FigureRow,
    FolderRow,
    FoldRow,
    LayerRow,
    LeftOutRow,
    PredictedValueRow,
    PredictionRow,
    SimilarityRow,
    SweepRow,
)
from jaxemo.results.shift_rows import (
    CrossEmotionRow,
    EmotionContrastRow,
    EmotionShiftRow,
    EmotionShiftTestRow,
)
from jaxemo.results.transfer_rows import LayerWeightRow, TransferRow, TransferRunRow

# Raised whenever a column or section comes, goes or changes its meaning.
SCHEMA_VERSION = 7


@dataclass(frozen=True, kw_only=True)
class FolderSets:
    """The two sides of `folders`."""

    clips_reference: Annotated[int, Column("None for a moments file.", low=0)] | None
    clips_candidate: Annotated[int, Column("Clips of the candidate.", low=0)]
    seconds: Annotated[dict[str, float], Column("Length of either side.", unit="s")]
    files_in_both: Annotated[int, Column("Candidate files whose sound the reference has.", low=0)]


@dataclass(frozen=True, kw_only=True)
class EncoderDescription:
    """One encoder of the run."""

    name: Encoder
    source: Annotated[str, Column("What `load_encoder` was given.")]
    origin: Origin
    revision: Annotated[str, Column("Commit on the hub; empty where there is none.")] = ""
    fingerprint: Annotated[str, Column("Digest of config and weights.")]
    sample_rate_hz: Annotated[int, Column("Rate of its input.", unit="Hz", low=1)]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How, when, on what and from what the figures were made."""

    command: Annotated[str, Column("The command line.")] | None = None
    started: Annotated[str, Column("Local time with its offset, ISO 8601.")] | None = None
    device: Annotated[str, Column("Number and kind of devices.")] | None = None
    config: Annotated[dict[str, Any], Column("The resolved config.")] | None = None
    versions: Annotated[dict[str, str], Column("Python, jaxemo, packages.")] = dataclasses.field(
        default_factory=dict
    )
    corpus_hash: Annotated[str, Column("Digest of labels and audio content.")] | None = None
    protocol: Annotated[str, Column("How train, dev and test were parted.")] | None = None
    checkpoint: Annotated[str, Column("The model that was scored.")] | None = None
    encoders: tuple[EncoderDescription, ...] = ()
    wall_seconds: Annotated[dict[str, float], Column("Time per study.", unit="s")] = (
        dataclasses.field(default_factory=dict)
    )
    notes: Annotated[tuple[str, ...], Column("What a reader must know first.")] = ()
    runs: Annotated[dict[str, str], Column("Id of the run that made each study, as in logs/.")] = (
        dataclasses.field(default_factory=dict)
    )


@dataclass(frozen=True, kw_only=True)
class Results:
    """The contents of one results.json; what a command does not make is empty."""

    schema_version: Annotated[int, Column("Version of this schema.")] = SCHEMA_VERSION
    layers: tuple[LayerRow, ...] = ()
    layer_choices: tuple[LayerChoiceRow, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    controls: tuple[ControlRow, ...] = ()
    layer_similarity: tuple[LayerSimilarityRow, ...] = ()
    variance_parts: tuple[VariancePartRow, ...] = ()
    confusions: tuple[ConfusionRow, ...] = ()
    transfer: tuple[TransferRow, ...] = ()
    transfer_runs: tuple[TransferRunRow, ...] = ()
    layer_weights: tuple[LayerWeightRow, ...] = ()
    similarity: tuple[SimilarityRow, ...] = ()
    emotion_shifts: tuple[EmotionShiftRow, ...] = ()
    cross_emotion: tuple[CrossEmotionRow, ...] = ()
    emotion_contrasts: tuple[EmotionContrastRow, ...] = ()
    emotion_shift_tests: tuple[EmotionShiftTestRow, ...] = ()
    corpus: tuple[CorpusRow, ...] = ()
    folds: tuple[FoldRow, ...] = ()
    left_out: tuple[LeftOutRow, ...] = ()
    empty_cells: tuple[EmptyCellRow, ...] = ()
    folders: tuple[FolderRow, ...] = ()
    sets: FolderSets | None = None
    figures: tuple[FigureRow, ...] = ()
    predictions: tuple[PredictionRow, ...] = ()
    predicted_values: tuple[PredictedValueRow, ...] = ()
    history: tuple[EpochRow, ...] = ()
    sweep: tuple[SweepRow, ...] = ()
    seen_clips_not_scored: (
        Annotated[int, Column("Clips of speakers that the model has seen.", low=0)] | None
    ) = None
    provenance: Provenance = Provenance()


def _row_type(annotation: Any) -> type | None:
    """The class of the rows of a section; None for what is no section."""
    first = next(iter(get_args(annotation)), None)
    if get_origin(annotation) is not tuple or not isinstance(first, type):
        return None
    return first if dataclasses.is_dataclass(first) else None


# Section -> the class of its rows, in the order of the file.
SECTIONS: dict[str, type] = {
    name: row_type
    for name, annotation in get_type_hints(Results).items()
    if (row_type := _row_type(annotation)) is not None
}
