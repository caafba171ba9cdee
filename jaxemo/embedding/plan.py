"""Which clips go through an encoder together: few shapes, little padding, no clip cut short.

Every clip becomes one or more windows; every pass is one batch of windows of one width, all of one
group of clips. The order is fixed by the clips' lengths, so that a run which was stopped finds its
place again.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemo.data.buckets import MAX_BUCKETS, assign_buckets, choose_buckets
from jaxemo.models.windows import FrameGrid, Window, plan_windows

# Windows of long clips fill batches across clips; every so many batches no clip is left open.
_BATCHES_PER_GROUP = 4


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
      group: The group that all its clips belong to.
      clip_frames: Frames of the clip that each row is of, in all its windows.
    """

    width: int
    rows: tuple[Row, ...]
    clip_frames: tuple[int, ...]
    closes_clips: bool = True
    in_windows: bool = False
    group: int = 0


class WindowPlan(NamedTuple):
    """How clips are cut and batched.

    Attributes:
      window_samples: Clips that are longer go through in windows of this length.
      overlap_samples: Least overlap of those windows.
      batch_size: Rows of every pass.
      max_widths: Different widths at most, each of which is compiled.
    """

    window_samples: int
    overlap_samples: int
    batch_size: int
    max_widths: int = MAX_BUCKETS


def plan_passes(
    config: FrameGrid,
    num_samples: Int[np.ndarray, " n"],
    plan: WindowPlan,
    *,
    clips: Int[np.ndarray, " m"] | None = None,
    group_of_clip: Int[np.ndarray, " n"] | None = None,
) -> list[Pass]:
    """The forward passes over a corpus, group by group, in at most `max_widths` shapes.

    Short clips are taken in order of length, so that only one batch per group, that of its shortest,
    needs filling up; each batch gets the smallest bucket that holds its longest clip.

    Args:
      config: The encoder's.
      num_samples: Length of each clip.
      plan: How clips are cut and batched.
      clips: Those that are wanted; all where None.
      group_of_clip: Clips of different groups share no pass; one group where None.

    Raises:
      ValueError: As `plan_windows`.
    """
    chosen = np.arange(len(num_samples)) if clips is None else clips
    groups = np.zeros(len(num_samples), int) if group_of_clip is None else group_of_clip
    windows = {
        int(clip): plan_windows(
            config,
            int(num_samples[clip]),
            window_samples=plan.window_samples,
            overlap_samples=plan.overlap_samples,
        )
        for clip in chosen
    }
    order = [int(clip) for clip in chosen[np.argsort(num_samples[chosen], kind="stable")]]
    short, long = [], []
    for group in np.unique(groups[chosen]).tolist():
        members = [clip for clip in order if groups[clip] == group]
        rows = [Row(clip, windows[clip][0]) for clip in members if len(windows[clip]) == 1]
        short += [(group, batch) for batch in _batches(rows, plan.batch_size)]
        several = [clip for clip in members if len(windows[clip]) > 1]
        long += _window_passes(several, windows, plan, group=group)
    passes = [
        *_short_passes(short, windows, plan, hop_samples=config.hop_samples, spare=bool(long)),
        *long,
    ]
    return sorted(passes, key=lambda step: step.group)


def _short_passes(
    batches: list[tuple[int, list[Row]]],
    windows: dict[int, list[Window]],
    plan: WindowPlan,
    *,
    hop_samples: int,
    spare: bool,
) -> list[Pass]:
    """Passes of clips that are one window each; with `spare`, one width is left to other passes."""
    if not batches:
        return []
    longest = np.array([batch[-1].window.num_samples for _, batch in batches])
    buckets = choose_buckets(longest, max_buckets=max(plan.max_widths - spare, 1), step=hop_samples)
    widths = np.minimum(buckets, plan.window_samples)[assign_buckets(longest, buckets)]
    return [
        Pass(int(width), tuple(batch), _clip_frames(batch, windows), group=group)
        for width, (group, batch) in zip(widths, batches, strict=True)
    ]


def _window_passes(
    clips: list[int], windows: dict[int, list[Window]], plan: WindowPlan, *, group: int
) -> list[Pass]:
    """Passes of clips that take several windows."""
    passes = []
    for rows in _joined_clips(clips, windows, least=_BATCHES_PER_GROUP * plan.batch_size):
        batches = _chunks(rows, plan.batch_size)
        passes += [
            Pass(
                plan.window_samples,
                tuple(batch),
                _clip_frames(batch, windows),
                closes_clips=batch is batches[-1],
                in_windows=True,
                group=group,
            )
            for batch in batches
        ]
    return passes


def _clip_frames(batch: list[Row], windows: dict[int, list[Window]]) -> tuple[int, ...]:
    last = [windows[row.clip][-1] for row in batch]
    return tuple(window.first_frame + window.num_frames for window in last)


def _joined_clips(
    clips: list[int], windows: dict[int, list[Window]], *, least: int
) -> Iterator[list[Row]]:
    """All windows of consecutive clips, so many clips together that there are `least` windows."""
    rows: list[Row] = []
    for clip in clips:
        rows += [Row(clip, window) for window in windows[clip]]
        if len(rows) >= least:
            yield rows
            rows = []
    if rows:
        yield rows


def _batches(rows: list[Row], size: int) -> list[list[Row]]:
    """Full batches, after one of what is left over."""
    remainder = len(rows) % size
    first = [rows[:remainder]] if remainder else []
    return [*first, *_chunks(rows[remainder:], size)]


def _chunks(items: list, size: int) -> list[list]:
    return [items[first : first + size] for first in range(0, len(items), size)]
