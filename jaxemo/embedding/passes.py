"""Which clips go through an encoder together: few shapes, little padding, no clip cut short.

Every clip becomes one or more windows; every pass is one batch of windows of one width. The order is
fixed by the clips' lengths, so that a run which was stopped finds its place again.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxemo.data.audio import standardise
from jaxemo.data.buckets import MAX_BUCKETS, assign_buckets, choose_buckets
from jaxemo.embedding.corpus_pass import Waveforms
from jaxemo.models.pretrained import Encoder, Normalisation
from jaxemo.models.windows import (
    Clip,
    FrameGrid,
    Window,
    clip_moments,
    cut_windows,
    plan_windows,
)

# Windows of long clips fill batches across clips; every so many batches no clip is left open.
_BATCHES_A_GROUP = 4


class Row(NamedTuple):
    """One row of a forward pass: a window of a clip, or a whole clip as its only window."""

    clip: int
    window: Window


class Pass(NamedTuple):
    """One forward pass.

    Attributes:
      width: Samples that every row is padded to.
      rows: At most a batch.
      closes_clips: No clip of it goes on in the next pass.
      in_windows: Its clips are longer than a window.
    """

    width: int
    rows: tuple[Row, ...]
    closes_clips: bool = True
    in_windows: bool = False


class Encoded(NamedTuple):
    """What a pass gives; `given` is True on the frames that its windows give, each clip's once in all."""

    step: Pass
    hidden_states: Float[Array, "M B T D"]
    given: Bool[np.ndarray, "B T"]


def plan_passes(
    config: FrameGrid,
    num_samples: Int[np.ndarray, " n"],
    *,
    window_samples: int,
    overlap_samples: int,
    batch_size: int,
) -> list[Pass]:
    """The forward passes over a corpus, in at most `MAX_BUCKETS` shapes.

    Short clips are taken in order of length, so that only one batch, that of the shortest, needs
    filling up; each batch gets the smallest bucket that holds its longest clip.

    Args:
      config: The encoder's.
      num_samples: Length of each clip.
      window_samples: Clips that are longer go through in windows of this length.
      overlap_samples: Least overlap of those windows.
      batch_size: Rows of every pass.

    Raises:
      ValueError: As `plan_windows`.
    """
    windows = [
        plan_windows(
            config, int(length), window_samples=window_samples, overlap_samples=overlap_samples
        )
        for length in num_samples
    ]
    order = np.argsort(num_samples, kind="stable").tolist()
    short = [Row(clip, windows[clip][0]) for clip in order if len(windows[clip]) == 1]
    long = [clip for clip in order if len(windows[clip]) > 1]
    passes = []
    if short:
        remainder = len(short) % batch_size
        batches = [short[:remainder]] if remainder else []
        batches += _chunks(short[remainder:], batch_size)
        longest = np.array([batch[-1].window.num_samples for batch in batches])
        buckets = choose_buckets(
            longest, max_buckets=MAX_BUCKETS - bool(long), step=config.hop_samples
        )
        widths = np.minimum(buckets, window_samples)[assign_buckets(longest, buckets)]
        passes = [
            Pass(int(width), tuple(batch)) for width, batch in zip(widths, batches, strict=True)
        ]
    for group in _groups(long, windows, least=_BATCHES_A_GROUP * batch_size):
        batches = _chunks(group, batch_size)
        passes += [
            Pass(window_samples, tuple(rows), closes_clips=rows is batches[-1], in_windows=True)
            for rows in batches
        ]
    return passes


def encode_passes(
    encoder: Encoder, passes: Iterable[Pass], waveforms: Waveforms, *, batch_size: int
) -> Iterator[Encoded]:
    """The hidden states of each pass, still on the device.

    Args:
      waveforms: Clip number -> the whole mono waveform at the encoder's rate; normalised here, over all
        its samples, as the encoder asks.
      batch_size: As in `plan_passes`.
    """

    @functools.lru_cache(maxsize=1)  # The windows of a clip follow each other.
    def open_clip(number: int, *, in_windows: bool) -> Clip:
        waveform = waveforms(number)
        if encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
            waveform = standardise(waveform)
        return Clip(waveform, clip_moments(encoder, waveform) if in_windows else None)

    for step in passes:
        sources = [
            (open_clip(row.clip, in_windows=step.in_windows), row.window) for row in step.rows
        ]
        batch = cut_windows(sources, width=step.width, batch_size=batch_size)
        hidden_states = encoder(*batch).hidden_states
        given = np.zeros(hidden_states.shape[1:3], bool)
        for place, row in enumerate(step.rows):
            given[place, row.window.given] = True
        yield Encoded(step, hidden_states, given)


def _groups(clips: list[int], windows: list[list[Window]], *, least: int) -> Iterator[list[Row]]:
    """All windows of consecutive clips, so many clips together that there are `least` windows."""
    rows: list[Row] = []
    for clip in clips:
        rows += [Row(clip, window) for window in windows[clip]]
        if len(rows) >= least:
            yield rows
            rows = []
    if rows:
        yield rows


def _chunks(items: list, size: int) -> list[list]:
    return [items[first : first + size] for first in range(0, len(items), size)]
