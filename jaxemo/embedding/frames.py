"""Frames of clips as what reads them wants them: a few per clip for resampling, all for training.

All frames of a corpus at all layers are tens of gigabytes; K frames per clip keep what resampling
needs (whole clips and speakers can be drawn or left out), since neighbouring frames say nearly the
same. Figures that need no resampling use every frame (`collectors.CellStatistics`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int

from jaxemo.data.augmentation import Draw, Purpose
from jaxemo.data.buckets import MAX_BUCKETS, assign_buckets, choose_buckets
from jaxemo.models.encoder import StemOutput


def sampled_positions(num_frames: int, *, per_clip: int) -> Int[np.ndarray, " K"]:
    """Frames floor((k + 1/2) T / K) of the T frames of a clip, k = 0 .. K - 1, evenly spaced.

    A clip of fewer than K frames gives each of them once.

    Args:
      num_frames: T.
      per_clip: K.
    """
    if num_frames <= per_clip:
        return np.arange(num_frames)
    return ((2 * np.arange(per_clip) + 1) * num_frames) // (2 * per_clip)


class FrameSample:
    """At most K frames of each of n clips, read one layer at a time."""

    def __init__(self, rows: Sequence[Float32[np.ndarray, "_ L D"]], *, per_clip: int) -> None:
        """Args:
        rows: Frames of each clip, in order.
        per_clip: K.
        """
        self._rows = rows
        counts = np.array([len(row) for row in rows])
        self.mask: Bool[np.ndarray, "n K"] = np.arange(per_clip) < counts[:, None]

    @property
    def num_layers(self) -> int:
        """L."""
        return self._rows[0].shape[1]

    def layer(self, index: int) -> Float32[np.ndarray, "n K D"]:
        """The frames of one layer; zeros where a clip has fewer."""
        values = np.zeros((*self.mask.shape, self._rows[0].shape[2]), np.float32)
        for clip, row in enumerate(self._rows):
            values[clip, : len(row)] = row[:, index]
        return values


class StemFrames:
    """Stem features of clips of any length, as training reads them: padded to a few widths.

    Attributes:
      crop_frames: Length of the stretch that training draws from a clip; None for whole clips.
      training_lengths: Frames that training reads of each clip.
    """

    def __init__(
        self, rows: Sequence[Float32[np.ndarray, "_ C"]], *, crop_frames: int | None = None
    ) -> None:
        self._rows = rows
        self.crop_frames = crop_frames
        self._lengths = np.array([len(row) for row in rows])
        self._widths = choose_buckets(self._lengths, max_buckets=MAX_BUCKETS)
        longest = self._widths[-1] if crop_frames is None else crop_frames
        self.training_lengths = np.minimum(self._lengths, longest)

    def __len__(self) -> int:
        return len(self._rows)

    def take(
        self,
        rows: Int[np.ndarray, "..."],
        *,
        draw: Draw | None,
        beside: Int[np.ndarray, "..."] | None = None,
    ) -> StemOutput:
        """Features and frame mask of some clips, with the shape of `rows` in front.

        Args:
          rows: Clip numbers.
          draw: Decides the stretches that training looks at; None gives whole clips.
          beside: Clips whose longest decides the width; those of `rows` where None.
        """
        flat = np.asarray(rows).ravel()
        first, lengths = self._stretches(flat, draw)
        all_lengths = lengths if beside is None else self._kept(np.asarray(beside).ravel(), draw)
        width = self._width(int(all_lengths.max()))
        features = np.zeros((flat.size, width, self._rows[0].shape[1]), np.float32)
        for place, clip in enumerate(flat):
            start, length = first[place], lengths[place]
            features[place, :length] = self._rows[clip][start : start + length]
        mask = np.arange(width) < lengths[:, None]
        shape = np.shape(rows)
        return StemOutput(
            features.reshape(*shape, *features.shape[1:]), mask.reshape(*shape, width)
        )

    @property
    def padded_frames(self) -> int:
        """How many frames all clips have, padded to the longest."""
        return len(self) * int(self._lengths.max())

    def _stretches(
        self, clips: Int[np.ndarray, " m"], draw: Draw | None
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """First frame and length of what is looked at of each clip.

        Drawn clip by clip, so that a stretch does not depend on what else is asked for.
        """
        kept = self._kept(clips, draw)
        if draw is None or self.crop_frames is None:
            return np.zeros_like(kept), kept
        first = [
            stream.numbers(Purpose.CROP).integers(spare + 1)
            for stream, spare in zip(draw.streams(clips), self._lengths[clips] - kept, strict=True)
        ]
        return np.array(first, np.int64), kept

    def _kept(self, clips: Int[np.ndarray, " m"], draw: Draw | None) -> Int[np.ndarray, " m"]:
        """Frames that are looked at of each clip."""
        lengths = self._lengths[clips]
        if draw is None or self.crop_frames is None:
            return lengths
        return self.training_lengths[clips]

    def _width(self, longest: int) -> int:
        if self.crop_frames is not None and longest <= self.crop_frames:
            return min(self.crop_frames, int(self._widths[-1]))
        return int(self._widths[assign_buckets(np.array([longest]), self._widths)[0]])


def rows_of(rows: Mapping[str, np.ndarray], digests: Sequence[str]) -> list[np.ndarray]:
    """The rows of the clips with these digests, in order."""
    return [rows[digest] for digest in digests]
