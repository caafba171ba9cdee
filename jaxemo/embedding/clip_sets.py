"""One encoder pass over a set of whole clips of any length, with no labels: all that distances need.

Statistics of every frame are streamed; a sample of frames of fixed size is kept for what needs rows
(extrapolation, kernel distance). Clips longer than `WINDOW_SECONDS` go through in overlapping
windows (`models/windows.py`), so memory does not depend on clip length.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64, Int

from jaxemo.distances.outliers import Reference, clip_scores
from jaxemo.distances.statistics import FrechetStatistics
from jaxemo.embedding.corpus_pass import Track, Waveforms, untracked, update_layers
from jaxemo.embedding.passes import Pass, Row, encode_passes, plan_passes
from jaxemo.models.pretrained import Encoder

WINDOW_SECONDS = 30.0
OVERLAP_SECONDS = 4.0
# Fewer rows a batch would make the QR of their statistics dearer, whose factor comes along each time.
BATCH_SIZE = 8


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
    passes = plan_passes(
        encoder.config,
        num_samples,
        window_samples=round(WINDOW_SECONDS * encoder.sample_rate_hz),
        overlap_samples=round(OVERLAP_SECONDS * encoder.sample_rate_hz),
        batch_size=BATCH_SIZE,
    )
    rows = [row for step in passes for row in step.rows]
    kept = _kept_frames(passes, max_frames)
    statistics, frames, scores = None, [], []
    tracked = track(passes, f"embedding with {encoder.name}", len(passes))
    encoded = encode_passes(encoder, tracked, waveforms, batch_size=BATCH_SIZE)
    for (step, hidden_states, given), places in zip(encoded, kept, strict=True):
        statistics = update_layers(statistics, hidden_states, jnp.asarray(given))
        frames.append(np.asarray(hidden_states)[:, *places])
        if reference is not None:
            scored = hidden_states[-len(reference.mean) :]
            scores.append(clip_scores(reference, scored, given)[: len(step.rows)])
    return ClipSet(
        statistics=statistics,
        frames=np.concatenate(frames, axis=1),
        scores=None if reference is None else _joined(rows, np.concatenate(scores)),
    )


def _kept_frames(
    passes: list[Pass], max_frames: int
) -> list[tuple[Int[np.ndarray, " K"], Int[np.ndarray, " K"]]]:
    """(row, frame) in each pass of the frames that are kept."""
    rows = np.array(
        [
            (number, place, row.window.skipped_frames, row.window.num_frames)
            for number, step in enumerate(passes)
            for place, row in enumerate(step.rows)
        ]
    )
    of_pass, place, skipped, num_frames = rows.T
    first = np.cumsum(num_frames) - num_frames
    total = int(num_frames.sum())
    chosen = np.sort(np.random.default_rng(0).choice(total, min(max_frames, total), replace=False))
    row = np.searchsorted(first, chosen, side="right") - 1
    frame = chosen - first[row] + skipped[row]
    return [
        (place[row][of_pass[row] == number], frame[of_pass[row] == number])
        for number in range(len(passes))
    ]


def _joined(rows: list[Row], scores: Float64[np.ndarray, "R L"]) -> Float64[np.ndarray, "n L"]:
    """Scores of clips from those of their windows: means weighted by frames."""
    clips = np.array([row.clip for row in rows])
    num_frames = np.array([row.window.num_frames for row in rows])
    total = np.zeros((clips.max() + 1, scores.shape[1]))
    np.add.at(total, clips, scores * num_frames[:, None])
    return total / np.bincount(clips, weights=num_frames)[:, None]
