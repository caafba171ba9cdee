"""One pass over a corpus: everything that the studies need of an encoder.

For every clip the mean of each layer (probing, weighted sum) and, where asked, the stem features
(fine-tuning) and a few frames of each layer (resampling); for every cell, such as (domain, emotion),
the Frechet statistics of each layer's frames, all of them, of which none is kept.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from jaxemo.data.acoustics import FRAME_FEATURES, acoustic_features
from jaxemo.data.audio import crop_samples, excerpt, pad_batch, standardise
from jaxemo.data.batches import RowBatch, ordered_batches
from jaxemo.distances.statistics import FrechetStatistics, empty_statistics, update
from jaxemo.embedding.frame_sample import FrameSample, SampledFrames, empty_sample, sample_frames
from jaxemo.models.encoder import StemOutput
from jaxemo.models.heads import pool_frames
from jaxemo.models.pretrained import Encoder, Normalisation

Waveforms = Callable[[int], Float32[np.ndarray, " N"]]
Track = Callable[[Iterable, str, int], Iterable]


class Embedding(NamedTuple):
    """What one encoder says of a corpus of n clips.

    Attributes:
      pooled: Mean over the valid frames of each clip and layer.
      statistics: Frechet statistics with leading axes (layer, cell).
      stem: Stem features and frame mask of each clip, on disk or in memory; None when not asked for.
      frames: A few frames of each clip, on disk or in memory; None when not asked for.
    """

    pooled: Float32[np.ndarray, "n L D"]
    statistics: FrechetStatistics
    stem: StemOutput | None
    frames: FrameSample | None


class ClipBatch(NamedTuple):
    """Cropped, normalised waveforms of a batch of rows."""

    rows: RowBatch
    waveform: Float32[np.ndarray, "B N"]
    num_samples: Int[np.ndarray, " B"]


def untracked(items: Iterable, description: str, total: int) -> Iterable:
    """The `Track` that reports nothing."""
    del description, total
    return items


def load_batch(
    waveforms: Waveforms,
    batch: RowBatch,
    *,
    encoder: Encoder,
    crop_seconds: float,
    trim_silence_db: float = 0.0,
) -> ClipBatch:
    """Excerpts of the batch's clips, normalised as the encoder asks, padded to the crop's length."""
    rate = encoder.sample_rate_hz
    settings = {"crop_seconds": crop_seconds, "trim_silence_db": trim_silence_db}
    clips = [excerpt(waveforms(int(row)), sample_rate_hz=rate, **settings) for row in batch.rows]
    if encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
        clips = [standardise(clip) for clip in clips]
    padded = pad_batch(clips, num_samples=crop_samples(crop_seconds, rate))
    return ClipBatch(batch, padded.waveform, padded.num_samples)


def stem_features(
    encoder: Encoder,
    waveforms: Waveforms,
    *,
    num_clips: int,
    crop_seconds: float,
    batch_size: int,
    trim_silence_db: float = 0.0,
) -> StemOutput:
    """The stem's output for `num_clips` clips, in memory: the input of `Prefix.STEM` methods."""
    stem = _jitted_stem(encoder)
    audio = {"crop_seconds": crop_seconds, "trim_silence_db": trim_silence_db}
    parts = []
    for batch in ordered_batches(np.arange(num_clips), batch_size=batch_size):
        clips = load_batch(waveforms, batch, encoder=encoder, **audio)
        output = stem(encoder.params, clips.waveform, clips.num_samples)
        parts.append(StemOutput(*(np.asarray(leaf)[batch.valid] for leaf in output)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def embed_corpus(
    encoder: Encoder,
    waveforms: Waveforms,
    *,
    cell_of_clip: Int[np.ndarray, " n"],
    num_cells: int,
    crop_seconds: float,
    batch_size: int,
    trim_silence_db: float = 0.0,
    stem_path: Path | None = None,
    frames_per_clip: int = 0,
    frames_path: Path | None = None,
    track: Track = untracked,
) -> Embedding:
    """Runs the encoder once over every clip.

    Args:
      waveforms: Row -> mono waveform at the encoder's rate.
      cell_of_clip: Statistics cell of each clip; batches never mix cells.
      num_cells: K.
      crop_seconds: Longer clips are cut to their middle, shorter ones keep their length.
      batch_size: Clips a forward pass.
      trim_silence_db: Edges this far below the clip's loudest part are cut before that; 0: none.
      stem_path: Where to keep the stem features as a memory-mapped `.npy`; None to not keep them.
      frames_per_clip: Frames of each clip and layer to keep; 0 for none.
      frames_path: Where they go if they are many; None to hold them in memory.
      track: Wraps the loop over batches, for progress.
    """
    forward = _jitted_forward(encoder, frames_per_clip)
    audio = {"crop_seconds": crop_seconds, "trim_silence_db": trim_silence_db}
    batches = _batches_by_cell(cell_of_clip, num_cells, batch_size)
    sink = _Sink(len(cell_of_clip), stem_path, frames_path)
    cells: list[FrechetStatistics | None] = [None] * num_cells
    for cell, batch in track(batches, f"embedding with {encoder.name}", len(batches)):
        clips = load_batch(waveforms, batch, encoder=encoder, **audio)
        passed = forward(encoder.params, clips.waveform, clips.num_samples)
        frame_mask = passed.stem.frame_mask & batch.valid[:, None]
        cells[cell] = update_layers(cells[cell], passed.hidden_states, frame_mask)
        sink.write(batch, passed)
    return Embedding(sink.pooled, _stack_cells(cells), sink.stem(), sink.frames)


def embed_acoustics(
    waveforms: Waveforms,
    *,
    sample_rate_hz: int,
    cell_of_clip: Int[np.ndarray, " n"],
    num_cells: int,
    crop_seconds: float,
    trim_silence_db: float = 0.0,
    frames_per_clip: int = 0,
    track: Track = untracked,
) -> Embedding:
    """The hand-made baseline in an encoder's place: one "layer" of librosa features.

    Clip summaries stand where pooled layers stand. Frame features have units as different as dB and Hz,
    so they are standardised over the whole corpus before they enter the Frechet statistics and the
    sample. Options are those of `embed_corpus`.
    """
    summaries, frames = [], []
    rows = range(len(cell_of_clip))
    for row in track(rows, "acoustic baseline", len(rows)):
        clip = excerpt(
            waveforms(row),
            crop_seconds=crop_seconds,
            trim_silence_db=trim_silence_db,
            sample_rate_hz=sample_rate_hz,
        )
        features = acoustic_features(clip, sample_rate_hz=sample_rate_hz)
        summaries.append(features.summary)
        frames.append(features.frames)
    everything = np.concatenate(frames)
    mean, std = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-6)
    frames = [((clip - mean) / std).astype(np.float32) for clip in frames]
    cells = [
        _frame_statistics([frames[row] for row in np.flatnonzero(cell_of_clip == cell)])
        for cell in range(num_cells)
    ]
    sample = _sample_clips(frames, frames_per_clip) if frames_per_clip else None
    return Embedding(np.stack(summaries)[:, None, :], _stack_cells(cells), None, sample)


def _sample_clips(clips: Sequence[Float32[np.ndarray, "_ D"]], frames_per_clip: int) -> FrameSample:
    longest, width = max(len(clip) for clip in clips), clips[0].shape[1]
    sample = empty_sample((1, len(clips), frames_per_clip, width), path=None)
    for batch in ordered_batches(np.arange(len(clips)), batch_size=min(len(clips), 256)):
        padded = np.zeros((1, len(batch.rows), longest, width), np.float32)
        mask = np.zeros((len(batch.rows), longest), bool)
        for place, row in enumerate(batch.rows):
            padded[0, place, : len(clips[row])] = clips[row]
            mask[place, : len(clips[row])] = True
        kept = sample_frames(jnp.asarray(padded), jnp.asarray(mask), num_frames=frames_per_clip)
        rows = batch.rows[batch.valid]
        sample.values[:, rows] = np.asarray(kept.values)[:, batch.valid]
        sample.mask[rows] = np.asarray(kept.mask)[batch.valid]
    return sample


class _Pass(NamedTuple):
    """What one forward pass gives of a batch."""

    stem: StemOutput
    pooled: Float32[Array, "B L D"]
    hidden_states: Float[Array, "L B T D"]
    frames: SampledFrames | None


class _Sink:
    """Collects per-clip outputs at their own row; sizes are known from the first batch on."""

    def __init__(self, num_clips: int, stem_path: Path | None, frames_path: Path | None):
        self._num_clips = num_clips
        self._stem_path = stem_path
        self._frames_path = frames_path
        self._features: np.ndarray | None = None
        self.frames: FrameSample | None = None

    def write(self, batch: RowBatch, passed: _Pass) -> None:
        rows, valid = batch.rows[batch.valid], batch.valid
        if self._features is None:
            self._allocate(passed)
        self.pooled[rows] = np.asarray(passed.pooled)[valid]
        if self._stem_path is not None:
            self._features[rows] = np.asarray(passed.stem.features)[valid]
            self._mask[rows] = np.asarray(passed.stem.frame_mask)[valid]
        if self.frames is not None:
            self.frames.values[:, rows] = np.asarray(passed.frames.values)[:, valid]
            self.frames.mask[rows] = np.asarray(passed.frames.mask)[valid]

    def stem(self) -> StemOutput | None:
        return None if self._stem_path is None else StemOutput(self._features, self._mask)

    def _allocate(self, passed: _Pass) -> None:
        self.pooled = np.empty((self._num_clips, *passed.pooled.shape[1:]), np.float32)
        if passed.frames is not None:
            num_layers, _, *rest = passed.frames.values.shape
            shape = (num_layers, self._num_clips, *rest)
            self.frames = empty_sample(shape, path=self._frames_path)
        shape = (self._num_clips, *passed.stem.features.shape[1:])
        self._mask = np.zeros(shape[:2], bool)
        if self._stem_path is None:
            self._features = np.empty(0)
        else:
            self._stem_path.parent.mkdir(parents=True, exist_ok=True)
            self._features = np.lib.format.open_memmap(
                self._stem_path, mode="w+", dtype=np.float32, shape=shape
            )


def _jitted_stem(encoder: Encoder) -> Callable:
    @jax.jit
    def stem(params: Any, waveform: Array, num_samples: Array) -> StemOutput:
        return encoder.module.apply({"params": params}, waveform, num_samples, method="stem")

    return stem


def _jitted_forward(encoder: Encoder, frames_per_clip: int) -> Callable:
    @jax.jit
    def forward(params: Any, waveform: Array, num_samples: Array) -> _Pass:
        variables = {"params": params}
        stem = encoder.module.apply(variables, waveform, num_samples, method="stem")
        hidden_states = encoder.module.apply(
            variables, stem.features, stem.frame_mask, method="contextualise"
        )
        pooled = pool_frames(hidden_states, stem.frame_mask).astype(jnp.float32)
        kept = None
        if frames_per_clip:
            kept = sample_frames(hidden_states, stem.frame_mask, num_frames=frames_per_clip)
        return _Pass(stem, pooled, hidden_states, kept)

    return forward


def _batches_by_cell(
    cell_of_clip: Int[np.ndarray, " n"], num_cells: int, batch_size: int
) -> list[tuple[int, RowBatch]]:
    return [
        (cell, batch)
        for cell in range(num_cells)
        for batch in ordered_batches(np.flatnonzero(cell_of_clip == cell), batch_size=batch_size)
    ]


def update_layers(
    statistics: FrechetStatistics | None,
    hidden_states: Float[Array, "L B T D"],
    frame_mask: Bool[Array, "B T"],
) -> FrechetStatistics:
    """Statistics of each layer with the batch's valid frames in them; None for none so far."""
    num_layers, *_, width = hidden_states.shape
    if statistics is None:
        statistics = empty_statistics(width, cells=(num_layers,))
    rows = hidden_states.reshape(num_layers, -1, width)
    row_mask = jnp.broadcast_to(frame_mask.reshape(-1), rows.shape[:2])
    return update(statistics, rows, row_mask)


def _frame_statistics(clips: Sequence[Float[np.ndarray, "_ D"]]) -> FrechetStatistics:
    statistics = empty_statistics(len(FRAME_FEATURES), cells=(1,))
    if not clips:
        return statistics
    rows = np.concatenate(clips)[None]
    return update(statistics, rows, np.ones(rows.shape[:2], bool))


def _stack_cells(cells: list[FrechetStatistics | None]) -> FrechetStatistics:
    """Leading axes (layer, cell); a cell without clips stays empty (its n is 0).

    Empties `cells` as it goes: at 13 layers of 768 dimensions all of them are 1.5 GB, once.
    """
    example = next(cell for cell in cells if cell is not None)
    num_layers = example.num_rows.shape[0]
    # numpy: jax would cut the float64 statistics down to float32 outside their own context.
    stacked = jax.tree.map(
        lambda leaf: np.zeros((num_layers, len(cells), *leaf.shape[1:]), leaf.dtype), example
    )
    for index, cell in enumerate(cells):
        cells[index] = None
        if cell is not None:
            for target, leaf in zip(stacked, cell, strict=True):
                target[:, index] = leaf
    return stacked
