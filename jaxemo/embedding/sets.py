"""What distances between two sets of audio need of a set: statistics, a sample of frames, scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Float32, Float64, Int

from jaxemo.distances.outliers import Reference, clip_scores
from jaxemo.distances.statistics import (
    FrechetStatistics,
    PackedStatistics,
    empty_statistics,
    merge_cells,
    unpack,
)
from jaxemo.embedding.collectors import Cells, CellStatistics
from jaxemo.embedding.hosts import gathered
from jaxemo.embedding.passes import (
    Collector,
    Encoded,
    Track,
    Waveforms,
    plain_network,
    row_mesh,
    run_passes,
    untracked,
)
from jaxemo.embedding.plan import Pass, plan_passes
from jaxemo.embedding.stream import Settings, window_plan
from jaxemo.models.pretrained import Encoder

# Fewer rows per batch would make the QR of their statistics dearer, whose factor comes along each time.
SETTINGS = Settings(batch_size=10)


class ClipSet(NamedTuple):
    """What one encoder says of a set of n clips.

    Attributes:
      statistics: Frechet statistics of all frames, one cell per layer.
      frames: Some of the frames, every one with the same chance.
      clip_of_frame: The clip that each of them is of.
      scores: How unusual each clip is, in the layers of the reference; None without one.
    """

    statistics: FrechetStatistics
    frames: Float32[np.ndarray, "L K D"]
    clip_of_frame: Int[np.ndarray, " K"]
    scores: Float64[np.ndarray, "n L"] | None


def embed_clip_set(
    encoder: Encoder,
    waveforms: Waveforms,
    *,
    num_samples: Int[np.ndarray, " n"],
    max_frames: int,
    longest_samples: int | None = None,
    reference: Reference | None = None,
    settings: Settings = SETTINGS,
    mesh: Mesh | None = None,
    track: Track = untracked,
) -> ClipSet:
    """Runs the encoder once over every clip; several hosts share the passes, and all have the result.

    Args:
      waveforms: Clip number -> mono waveform at the encoder's rate, as long as `num_samples` says.
      num_samples: Length of each clip.
      max_frames: K; all frames are kept where there are fewer. Drawn with a fixed seed.
      longest_samples: Where clips are cut to one length, that length; None for whole clips.
      reference: What to score clips by; of fewer layers than the encoder's, they are its last.
      settings: How clips go through the encoder.
      mesh: Of one axis; rows of a batch lie on all its devices. This process's devices where None.
      track: Wraps the loop over batches, for progress.
    """
    num_clips = len(num_samples)
    mesh = row_mesh() if mesh is None else mesh
    rate = encoder.sample_rate_hz
    plan = window_plan(
        encoder.config, settings, sample_rate_hz=rate, longest_samples=longest_samples
    )
    passes = plan_passes(encoder.config, num_samples, plan)
    statistics = CellStatistics(
        [f"{clip}" for clip in range(num_clips)],
        Cells(np.zeros(num_clips, int), 1),
        mesh=mesh,
        store=None,
    )
    layers = encoder.config.num_hidden_layers + 1, encoder.config.hidden_size
    frames = RandomFrames(passes, num_clips, layers=layers, max_frames=max_frames)
    scores = None if reference is None else ClipScores(num_clips, reference)
    collectors: list[Collector] = [statistics, frames, *([] if scores is None else [scores])]
    own = passes[jax.process_index() :: jax.process_count()]
    run_passes(
        plain_network(encoder),
        own,
        waveforms,
        collectors,
        mesh=mesh,
        batch_size=settings.batch_size,
        track=track,
    )
    whole = empty_statistics(layers[1], cells=layers[:1])
    if own:
        whole = unpack(PackedStatistics(*(leaf[:, 0] for leaf in statistics.result())))
    sums = [frames.sample, *([] if scores is None else (scores.totals, scores.num_frames))]
    whole, (sample, *scored) = _of_all_hosts(whole, sums)
    # Means over each clip's frames, in all its windows.
    means = scored[0] / scored[1][:, None] if scored else None
    return ClipSet(whole, sample, frames.clip_of_frame, means)


def _of_all_hosts(
    statistics: FrechetStatistics, sums: list[np.ndarray]
) -> tuple[FrechetStatistics, list[np.ndarray]]:
    if jax.process_count() == 1:
        return statistics, sums
    parts, sums = gathered((statistics, sums))
    return jax.tree.map(np.asarray, merge_cells(parts)), [leaf.sum(axis=0) for leaf in sums]


class _AllClips:
    """A collector that keeps nothing between runs, and so has to see every clip."""

    def __init__(self, num_clips: int) -> None:
        self._num_clips = num_clips

    def missing(self) -> Bool[np.ndarray, " n"]:
        return np.ones(self._num_clips, bool)

    def commit(self) -> None:
        """Nothing is kept."""


class RandomFrames(_AllClips):
    """A sample of all frames of a set, without replacement, in the order of the passes.

    Attributes:
      sample: (L, K, D) layer by layer; frames of passes that were not run stay 0.
      clip_of_frame: (K,) the clip of each of them, known before any pass is run.
    """

    def __init__(
        self, passes: list[Pass], num_clips: int, *, layers: tuple[int, int], max_frames: int
    ) -> None:
        """Args:
        passes: All that there are, on whatever host: the sample is drawn before any is run.
        num_clips: n.
        layers: L and D.
        max_frames: K.
        """
        super().__init__(num_clips)
        drawn = _drawn_frames(passes, max_frames)
        ends = np.cumsum([len(rows) for rows, _ in drawn]).tolist()
        self._places = dict(zip(passes, zip(drawn, ends, strict=True), strict=True))
        # One number for all passes, so that taking them out compiles once for each width.
        self._most = max(len(rows) for rows, _ in drawn)
        self.sample = np.zeros((layers[0], ends[-1], layers[1]), np.float32)
        self.clip_of_frame = np.concatenate(
            [
                np.array([row.clip for row in step.rows], np.int64)[rows]
                for step, (rows, _) in zip(passes, drawn, strict=True)
            ]
        )

    def reduce(self, encoded: Encoded) -> Float[Array, "L K D"]:
        index = np.zeros((2, self._most), np.int32)
        places, _ = self._places[encoded.step]
        index[:, : len(places[0])] = places
        return _frames_at(encoded.hidden_states, jnp.asarray(index))

    def add(self, step: Pass, reduced: Float[np.ndarray, "L K D"]) -> None:
        (rows, _), end = self._places[step]
        self.sample[:, end - len(rows) : end] = reduced[:, : len(rows)]


@jax.jit
def _frames_at(
    hidden_states: Float[Array, "L B T D"], index: Int[Array, "2 K"]
) -> Float[Array, "L K D"]:
    return hidden_states[:, index[0], index[1]]


class ClipScores(_AllClips):
    """How unusual each clip is beside a reference; see `outliers.clip_scores`.

    Attributes:
      totals: (n, L) sums over each clip's frames, in all its windows.
      num_frames: (n,).
    """

    def __init__(self, num_clips: int, reference: Reference) -> None:
        super().__init__(num_clips)
        self._reference = reference
        self.num_frames = np.zeros(num_clips)
        self.totals = np.zeros((num_clips, len(reference.mean)))

    def reduce(self, encoded: Encoded) -> Float64[Array, "B L"]:
        scored = encoded.hidden_states[-len(self._reference.mean) :]
        return clip_scores(self._reference, scored, jnp.asarray(encoded.given))

    def add(self, step: Pass, reduced: Float64[np.ndarray, "B L"]) -> None:
        for place, row in enumerate(step.rows):
            self.totals[row.clip] += reduced[place] * row.window.num_frames
            self.num_frames[row.clip] += row.window.num_frames


def _drawn_frames(
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
    pass_number, place, skipped, num_frames = rows.T
    first = np.cumsum(num_frames) - num_frames
    total = int(num_frames.sum())
    chosen = np.sort(np.random.default_rng(0).choice(total, min(max_frames, total), replace=False))
    row = np.searchsorted(first, chosen, side="right") - 1
    frame = chosen - first[row] + skipped[row]
    return [
        (place[row][pass_number[row] == number], frame[pass_number[row] == number])
        for number in range(len(passes))
    ]
