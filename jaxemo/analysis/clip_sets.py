"""One encoder pass over a set of whole clips of any length, with no labels: all that distances need.

Statistics of every frame are streamed; a sample of frames of fixed size is kept for what needs rows
(extrapolation, kernel distance). Clips longer than `MAX_PIECE_SECONDS` go through in equal pieces,
so memory does not depend on clip length; frames beside a cut see nothing beyond it.
"""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int

from jaxemo.analysis.embeddings import Track, Waveforms, untracked
from jaxemo.analysis.frechet import FrechetStatistics, empty_statistics, update
from jaxemo.analysis.outliers import Reference, clip_scores
from jaxemo.data.audio import pad_batch, standardise
from jaxemo.models.pretrained import Encoder, Normalisation

MAX_PIECE_SECONDS = 30.0
# Audio of one forward pass, padding included: 8 clips of 4 s, or one piece of the greatest length.
BATCH_SECONDS = 32.0
_LENGTH_RATIO = 1.5


class ClipSet(NamedTuple):
    """What one encoder says of a set of n clips.

    Attributes:
      statistics: Frechet statistics of all frames, one cell a layer.
      frames: Some of the frames, every one with the same chance.
      scores: How unusual each clip is, in the layers of the reference; None without one.
    """

    statistics: FrechetStatistics
    frames: Float32[np.ndarray, "L K D"]
    scores: Float64[np.ndarray, "n L"] | None


class Piece(NamedTuple):
    """Samples `start` to `start + num_samples` of one clip."""

    clip: int
    start: int
    num_samples: int


class PieceBatch(NamedTuple):
    """Pieces that go through the encoder together, padded to `width` samples and `size` rows."""

    pieces: tuple[Piece, ...]
    size: int
    width: int


def embed_clip_set(
    encoder: Encoder,
    waveforms: Waveforms,
    *,
    num_samples: Int[np.ndarray, " n"],
    max_frames: int,
    reference: Reference | None = None,
    track: Track = untracked,
) -> ClipSet:
    """Runs the encoder once over every clip.

    Args:
      waveforms: Clip number -> mono waveform at the encoder's rate, as long as `num_samples` says.
      num_samples: Length of each clip.
      max_frames: K; all frames are kept where there are fewer. Drawn with a fixed seed.
      reference: What to score clips by; of fewer layers than the encoder's, they are its last.
      track: Wraps the loop over batches, for progress.
    """
    batches = list(plan_batches(num_samples, sample_rate_hz=encoder.sample_rate_hz))
    counts = [[encoder.config.num_frames(p.num_samples) for p in b.pieces] for b in batches]
    kept = _kept_frames(counts, max_frames)
    statistics, frames, scores = None, [], []
    steps = track(range(len(batches)), f"embedding with {encoder.name}", len(batches))
    for step in steps:
        batch = batches[step]
        hidden_states, frame_mask = encoder(*_load(waveforms, batch, encoder))
        frame_mask &= (np.arange(batch.size) < len(batch.pieces))[:, None]
        statistics = _update(statistics, hidden_states, frame_mask)
        frames.append(np.asarray(hidden_states)[:, *kept[step]])
        if reference is not None:
            scored = hidden_states[-len(reference.mean) :]
            scores.append(clip_scores(reference, scored, frame_mask)[: len(batch.pieces)])
    clips = [piece.clip for batch in batches for piece in batch.pieces]
    return ClipSet(
        statistics=statistics,
        frames=np.concatenate(frames, axis=1),
        scores=None
        if reference is None
        else _joined(clips, [*chain.from_iterable(counts)], scores),
    )


def plan_batches(
    num_samples: Int[np.ndarray, " n"], *, sample_rate_hz: int
) -> Iterator[PieceBatch]:
    """Cuts long clips into equal pieces and batches pieces of like length.

    Lengths fall into classes [1.5^i, 1.5^(i + 1)); a class is padded to its longest piece and
    compiles the encoder once.
    """
    longest = round(MAX_PIECE_SECONDS * sample_rate_hz)
    budget = BATCH_SECONDS * sample_rate_hz
    pieces = [piece for clip, n in enumerate(num_samples) for piece in _cut(clip, int(n), longest)]
    lengths = np.array([piece.num_samples for piece in pieces])
    classes = np.floor(np.log(lengths) / np.log(_LENGTH_RATIO))
    for number in np.unique(classes):
        width = int(lengths[classes == number].max())
        size = int(budget // width)
        chosen = [pieces[row] for row in np.flatnonzero(classes == number)]
        for start in range(0, len(chosen), size):
            yield PieceBatch(tuple(chosen[start : start + size]), size, width)


def _cut(clip: int, num_samples: int, longest: int) -> list[Piece]:
    edges = np.linspace(0, num_samples, -(-num_samples // longest) + 1).astype(int).tolist()
    return [Piece(clip, a, b - a) for a, b in pairwise(edges)]


def _kept_frames(
    counts: list[list[int]], max_frames: int
) -> list[tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]]:
    """(row, frame) in each batch of the frames that are kept."""
    num_frames = np.array([*chain.from_iterable(counts)])
    first_frame = np.cumsum(num_frames) - num_frames
    total = int(num_frames.sum())
    chosen = np.sort(np.random.default_rng(0).choice(total, min(max_frames, total), replace=False))
    piece = np.searchsorted(first_frame, chosen, side="right") - 1
    frame = chosen - first_frame[piece]
    kept, first_piece = [], 0
    for rows in map(len, counts):
        here = (first_piece <= piece) & (piece < first_piece + rows)
        kept.append((piece[here] - first_piece, frame[here]))
        first_piece += rows
    return kept


def _joined(
    clips: list[int], num_frames: list[int], scores: list[Float64[np.ndarray, "_ L"]]
) -> Float64[np.ndarray, "n L"]:
    """Scores of clips from those of their pieces: means weighted by frames."""
    total = np.zeros((max(clips) + 1, scores[0].shape[1]))
    np.add.at(total, clips, np.concatenate(scores) * np.array(num_frames)[:, None])
    return total / np.bincount(clips, weights=num_frames)[:, None]


def _load(
    waveforms: Waveforms, batch: PieceBatch, encoder: Encoder
) -> tuple[Float32[np.ndarray, "B N"], Int[np.ndarray, " B"]]:
    """The batch's pieces of clips that were normalised whole; filler rows repeat the first piece."""
    parts = []
    for piece in batch.pieces:
        clip = waveforms(piece.clip)
        if encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
            clip = standardise(clip)
        parts.append(clip[piece.start : piece.start + piece.num_samples])
    parts += parts[:1] * (batch.size - len(parts))
    return tuple(pad_batch(parts, num_samples=batch.width))


def _update(
    statistics: FrechetStatistics | None,
    hidden_states: Float[Array, "L B T D"],
    frame_mask: Bool[Array, "B T"],
) -> FrechetStatistics:
    num_layers, *_, width = hidden_states.shape
    if statistics is None:
        statistics = empty_statistics(width, cells=(num_layers,))
    rows = hidden_states.reshape(num_layers, -1, width)
    return update(statistics, rows, jnp.broadcast_to(frame_mask.reshape(-1), rows.shape[:2]))
