"""A folder that `jaxemo embed` wrote, in the place of its encoder: embed here, study there."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxemo.data.audio import Excerpt
from jaxemo.data.corpora.corpus import Utterance
from jaxemo.distances.statistics import PackedStatistics, empty_statistics, pack, update
from jaxemo.embedding.collectors import Cells
from jaxemo.embedding.files import ABOUT, CLIPS, FRAMES, POOLED
from jaxemo.embedding.frames import FrameSample, sampled_positions
from jaxemo.embedding.stream import Embedding, Wanted

# Clips whose frames enter the statistics together.
_CLIPS_PER_UPDATE = 16
_LISTED = 5


def is_embedding_folder(source: str) -> bool:
    """Whether a source of a config is a finished folder of embeddings."""
    return (Path(source).expanduser() / ABOUT).is_file()


class EmbeddingFolder:
    """Embeddings on disk and the clips that they are of.

    Attributes:
      path: The folder.
      encoder: Name of the encoder.
      origin: Where its weights came from.
      fingerprint: Of its weights.
      sample_rate_hz: Of the audio that it was given.
      hop_samples: Samples from one frame to the next.
      utterances: The clips and their labels; paths are those of the machine that embedded them.
      digests: Content digest of each clip's file.
      duration_s: Length of each clip.
    """

    def __init__(self, path: Path) -> None:
        """Raises:
        ValueError: The folder is not what `jaxemo embed` writes.
        """
        import pyarrow.parquet

        self.path = path
        try:
            about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
            encoder = about["encoder"]
            self.encoder: str = encoder["name"]
            self.origin: str = encoder["origin"]
            self.sample_rate_hz = int(encoder["sample_rate_hz"])
            self.hop_samples = int(encoder["hop_samples"])
            self.fingerprint: str = about["identity"]["encoder_fingerprint"]
            known = {field.name for field in fields(Utterance)}
            names = [n for n in pyarrow.parquet.read_schema(path / CLIPS).names if n in known]
            columns = pyarrow.parquet.read_table(
                path / CLIPS, columns=[*names, "digest", "seconds", "num_frames", "first_frame"]
            ).to_pydict()
            self.utterances = _utterances({name: columns[name] for name in names})
            self._pooled = np.load(path / POOLED, mmap_mode="r")
            has_frames = (path / FRAMES).is_file()
            self._frames = np.load(path / FRAMES, mmap_mode="r") if has_frames else None
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(
                f"'{path}' is no folder of embeddings that can be read ({error}); expected one that "
                "`jaxemo embed` finished."
            ) from error
        self.digests: tuple[str, ...] = tuple(columns["digest"])
        self.duration_s = np.array(columns["seconds"], np.float64)
        self._num_frames = np.array(columns["num_frames"], np.int64)
        self._first_frame = np.array(columns["first_frame"], np.int64)

    def pooled(self, row: int) -> Float[np.ndarray, "L D"]:
        """Mean over a clip's frames."""
        return np.asarray(self._pooled[row], np.float32)

    def frames(self, row: int, excerpt: Excerpt) -> Float[np.ndarray, "T L D"]:
        """A clip's frames, or the middle ones: context reached beyond them when they were made.

        Raises:
          ValueError: The folder holds no frames.
        """
        if self._frames is None:
            raise ValueError(
                f"'{self.path}' holds pooled layers alone; distances need every frame. Embed again "
                "with --config.embed.frames=frames."
            )
        first, length = int(self._first_frame[row]), int(self._num_frames[row])
        longest = excerpt.longest_samples(self.sample_rate_hz)
        if longest is not None:
            kept = min(length, max(longest // self.hop_samples, 1))
            first, length = first + (length - kept) // 2, kept
        return np.asarray(self._frames[first : first + length], np.float32)


def _utterances(columns: dict[str, list[Any]]) -> tuple[Utterance, ...]:
    """Of labels by column; those that no clip has may be missing."""
    if "tags" in columns:
        columns = columns | {"tags": [tuple(tags) for tags in columns["tags"]]}
    return tuple(
        Utterance(**dict(zip(columns, labels, strict=True)))
        for labels in zip(*columns.values(), strict=True)
    )


def embed_from_folder(
    folder: EmbeddingFolder, digests: Sequence[str], excerpt: Excerpt, wanted: Wanted
) -> Embedding:
    """What `embed_clips` gives, from a folder; it has no stem.

    Pooled layers are of whole clips whatever the excerpt; frames are cut to its middle.

    Raises:
      ValueError: Clips of the corpus are not in the folder, or frames are wanted that it lacks.
    """
    row_of = {digest: row for row, digest in enumerate(folder.digests)}
    if absent := [digest for digest in digests if digest not in row_of]:
        listed = ", ".join(digest[:16] for digest in absent[:_LISTED])
        raise ValueError(
            f"'{folder.path}' lacks {len(absent)} of the corpus's {len(digests)} clips (content "
            f"{listed}{', ...' if len(absent) > _LISTED else ''}). Embed the corpus again."
        )
    rows = [row_of[digest] for digest in digests]
    statistics, sample = None, None
    if wanted.cells is not None:
        statistics = _statistics(folder, rows, excerpt, wanted.cells)
    if wanted.frames_per_clip:
        sample = _sample(folder, rows, excerpt, per_clip=wanted.frames_per_clip)
    return Embedding(
        pooled=np.stack([folder.pooled(row) for row in rows]),
        stem=None,
        statistics=statistics,
        frames=sample,
        timing=None,
    )


def _statistics(
    folder: EmbeddingFolder, rows: Sequence[int], excerpt: Excerpt, cells: Cells
) -> PackedStatistics:
    """Leading axes (layer, cell)."""
    num_layers, width = folder.pooled(rows[0]).shape
    parts = []
    for cell in range(cells.num_cells):
        statistics = empty_statistics(width, cells=(num_layers,))
        clips = np.flatnonzero(cells.cell_of_clip == cell).tolist()
        for first in range(0, len(clips), _CLIPS_PER_UPDATE):
            chosen = clips[first : first + _CLIPS_PER_UPDATE]
            frames = [folder.frames(rows[clip], excerpt) for clip in chosen]
            values = np.concatenate(frames).transpose(1, 0, 2)
            statistics = update(statistics, values, np.ones(values.shape[:2], bool))
        parts.append(pack(statistics))
    return PackedStatistics(*(np.stack(leaf, axis=1) for leaf in zip(*parts, strict=True)))


def _sample(
    folder: EmbeddingFolder, rows: Sequence[int], excerpt: Excerpt, *, per_clip: int
) -> FrameSample:
    sampled = []
    for row in rows:
        frames = folder.frames(row, excerpt)
        sampled.append(frames[sampled_positions(len(frames), per_clip=per_clip)])
    return FrameSample(sampled, per_clip=per_clip)
