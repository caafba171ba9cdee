"""Clips of any length through an encoder in bounded memory, by overlapping windows.

Windows start at multiples of the encoder's hop, so that their frames are the clip's own frames;
each gives its middle ones, and the pieces join without a gap. The stem is exact: a group norm takes
its statistics over the whole clip, made in a pass of its own over the first convolution. What is
approximate is attention, which sees one window. `tools/measure_windows.py` measures what that costs;
the README states it.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32

from jaxemo.models.families import StemNorm
from jaxemo.models.layers import ChannelMoments, masked_moments
from jaxemo.models.pretrained import Encoder

# Steps of the first convolution that are looked at together: 40 s at 16 kHz, 270 MB of 512 channels.
_STEPS_PER_PIECE = 1 << 17


@runtime_checkable
class FrameGrid(Protocol):
    """What windows need to know of an encoder's configuration."""

    @property
    def hop_samples(self) -> int: ...

    @property
    def shortest_clip_samples(self) -> int: ...

    @property
    def longest_clip_samples(self) -> int | None: ...

    def num_frames(self, num_samples: int) -> int: ...


class Window(NamedTuple):
    """A stretch of a clip, and the frames that it gives.

    Attributes:
      start_sample: Its first sample in the clip, a multiple of the hop.
      num_samples: Its length.
      skipped_frames: Frames at its beginning that the window before gives.
      first_frame: The clip's frame that its first given frame is.
      num_frames: How many it gives.
    """

    start_sample: int
    num_samples: int
    skipped_frames: int
    first_frame: int
    num_frames: int

    @property
    def given(self) -> slice:
        """The frames that it gives, among its own."""
        return slice(self.skipped_frames, self.skipped_frames + self.num_frames)


class Clip(NamedTuple):
    """A whole clip, and its `clip_moments` if it goes through in several windows."""

    waveform: Float32[np.ndarray, " N"]
    moments: ChannelMoments | None


class WindowBatch(NamedTuple):
    """Arguments of an encoder: windows cut out and padded to one width; rows left over repeat the first."""

    waveform: Float32[np.ndarray, "B N"]
    num_samples: Int32[np.ndarray, " B"]
    moments: ChannelMoments | None


class Piece(NamedTuple):
    """Consecutive frames of a clip, from `first_frame` on."""

    first_frame: int
    hidden_states: Float[np.ndarray, "M T D"]


def plan_windows(
    config: FrameGrid, num_samples: int, *, window_samples: int, overlap_samples: int
) -> list[Window]:
    """The windows of one clip; together they give each of its frames exactly once.

    Starts are 0, s, 2 s, ... with s = (window - overlap) rounded down to the hop; the last window is
    moved back to end with the clip, full but for less than a hop. Where two windows share frames,
    either gives the half that is further from its own edge.

    Args:
      config: The encoder's.
      num_samples: Length of the clip.
      window_samples: Longest window; a clip that is no longer is one window.
      overlap_samples: Least overlap of neighbours; what lies less than half of it from a cut lacks
        context on one side.

    Raises:
      ValueError: The clip or the window is shorter than one frame, the window longer than the
        encoder's positions reach, or the overlap too large to move on or too small to leave no gap.
    """
    _check_sizes(config, window_samples, overlap_samples)
    if num_samples < config.shortest_clip_samples:
        raise ValueError(
            f"num_samples is {num_samples}; the encoder needs at least "
            f"{config.shortest_clip_samples} (one frame). Drop the clip or pad it."
        )
    hop = config.hop_samples
    stride = _stride_samples(config, window_samples, overlap_samples)
    beyond = max(num_samples - window_samples, 0)
    last = -(-beyond // hop) * hop
    starts = [*range(0, last, stride), last]
    lengths = [min(window_samples, num_samples - start) for start in starts]
    firsts = [start // hop for start in starts]
    ends = [
        first + int(config.num_frames(length))
        for first, length in zip(firsts, lengths, strict=True)
    ]
    inner_cuts = [(first + end) // 2 for first, end in zip(firsts[1:], ends[:-1], strict=True)]
    cuts = [0, *inner_cuts, int(config.num_frames(num_samples))]
    return [
        Window(start, length, cut - first, cut, next_cut - cut)
        for start, length, first, cut, next_cut in zip(
            starts, lengths, firsts, cuts[:-1], cuts[1:], strict=True
        )
    ]


def cut_windows(
    sources: Sequence[tuple[Clip, Window]], *, width: int, batch_size: int
) -> WindowBatch:
    """At most `batch_size` windows, each with the clip that it is cut from, as one padded batch."""
    sources = [*sources, *[sources[0]] * (batch_size - len(sources))]
    waveform = np.zeros((batch_size, width), np.float32)
    for row, (clip, window) in enumerate(sources):
        stop = window.start_sample + window.num_samples
        waveform[row, : window.num_samples] = clip.waveform[window.start_sample : stop]
    num_samples = np.array([window.num_samples for _, window in sources], np.int32)
    if sources[0][0].moments is None:
        return WindowBatch(waveform, num_samples, None)
    moments = jax.tree.map(lambda *rows: jnp.concatenate(rows), *[c.moments for c, _ in sources])
    return WindowBatch(waveform, num_samples, moments)


def clip_moments(encoder: Encoder, waveform: Float32[np.ndarray, " N"]) -> ChannelMoments | None:
    """Group-norm statistics of a clip of any length in bounded memory; None for a stem without them.

    mean = sum_p n_p mean_p / n,   variance = sum_p n_p (variance_p + (mean_p - mean)^2) / n
    over pieces p of n_p steps.
    """
    config = encoder.config
    if config.feat_extract_norm is not StemNorm.GROUP:
        return None
    convolution = encoder.params["feature_extractor"]["conv_layers"]["0"]["conv"]
    stride, num_steps = (
        config.conv_stride[0],
        int(config.num_frames_after(waveform.size, num_layers=1)),
    )
    width = (_STEPS_PER_PIECE - 1) * stride + config.conv_kernel[0]
    counts, pieces = [], []
    for first in range(0, num_steps, _STEPS_PER_PIECE):
        piece = waveform[first * stride : first * stride + width]
        counts.append(min(_STEPS_PER_PIECE, num_steps - first))
        padded = np.pad(piece, (0, width - piece.size))
        moments = _piece_moments(convolution, padded, counts[-1], stride=stride)
        pieces.append([np.asarray(leaf, np.float64) for leaf in moments])
    weights = np.array(counts)[:, None] / num_steps
    means, variances = (np.concatenate(leaves) for leaves in zip(*pieces, strict=True))
    mean = np.sum(weights * means, axis=0, keepdims=True)
    variance = np.sum(weights * (variances + (means - mean) ** 2), axis=0, keepdims=True)
    return ChannelMoments(jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32))


@functools.partial(jax.jit, static_argnames="stride")
def _piece_moments(
    convolution: dict[str, Any],
    piece: Float[Array, " N"],
    num_steps: int | Int[Array, ""],
    *,
    stride: int,
) -> ChannelMoments:
    outputs = jax.lax.conv_general_dilated(
        piece[None, :, None],
        convolution["kernel"],
        (stride,),
        "VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    outputs = outputs + convolution.get("bias", 0.0)
    return masked_moments(outputs, jnp.arange(outputs.shape[1])[None] < num_steps)


def encode_windows(
    encoder: Encoder,
    waveform: Float32[np.ndarray, " N"],
    *,
    window_samples: int,
    overlap_samples: int,
    batch_size: int = 1,
) -> Iterator[Piece]:
    """The hidden states of one clip of any length, piece by piece in order and without a gap.

    A clip that fits in one window gives exactly what `encoder` gives. A longer one goes through in
    batches of one shape, so that it compiles once and memory does not grow with its length.

    Args:
      encoder: Any encoder.
      waveform: A whole clip, normalised over all its samples as the encoder asks.
      window_samples: Longest window.
      overlap_samples: Least overlap of neighbours; see `plan_windows`.
      batch_size: Windows in one forward pass.

    Raises:
      ValueError: As `plan_windows`, or for a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
    windows = plan_windows(
        encoder.config,
        waveform.size,
        window_samples=window_samples,
        overlap_samples=overlap_samples,
    )
    if len(windows) == 1:
        window_samples, batch_size = waveform.size, 1
    return _encode(encoder, waveform, windows, (batch_size, window_samples))


def _encode(
    encoder: Encoder,
    waveform: Float32[np.ndarray, " N"],
    windows: list[Window],
    shape: tuple[int, int],
) -> Iterator[Piece]:
    batch_size, width = shape
    clip = Clip(waveform, clip_moments(encoder, waveform) if len(windows) > 1 else None)
    for start in range(0, len(windows), batch_size):
        chosen = windows[start : start + batch_size]
        batch = cut_windows(
            [(clip, window) for window in chosen], width=width, batch_size=batch_size
        )
        hidden_states = np.asarray(encoder(*batch).hidden_states)
        for row, window in enumerate(chosen):
            yield Piece(window.first_frame, hidden_states[:, row, window.given])


def _stride_samples(config: FrameGrid, window_samples: int, overlap_samples: int) -> int:
    """Samples from one window's start to the next one's."""
    return (window_samples - overlap_samples) // config.hop_samples * config.hop_samples


def _check_sizes(config: FrameGrid, window_samples: int, overlap_samples: int) -> None:
    if window_samples < config.shortest_clip_samples:
        raise ValueError(
            f"window_samples is {window_samples}; the encoder needs at least "
            f"{config.shortest_clip_samples} (one frame)."
        )
    longest = config.longest_clip_samples
    if longest is not None and window_samples > longest:
        raise ValueError(
            f"window_samples is {window_samples}; this encoder has positions for at most {longest}."
        )
    stride = _stride_samples(config, window_samples, overlap_samples)
    if overlap_samples < 0 or stride < config.hop_samples:
        raise ValueError(
            f"overlap_samples is {overlap_samples}; expected 0 to "
            f"{window_samples - config.hop_samples}, so that windows of {window_samples} samples "
            f"move on by at least one frame ({config.hop_samples} samples)."
        )
    frames = int(config.num_frames(window_samples))
    if stride > frames * config.hop_samples:
        raise ValueError(
            f"overlap_samples is {overlap_samples}; windows of {window_samples} samples have "
            f"{frames} frames and need an overlap of at least "
            f"{window_samples - frames * config.hop_samples} to leave no gap."
        )
