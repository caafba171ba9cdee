"""A few evenly spaced frames of every clip: what resampling over speakers and clips is done on.

All frames of a corpus at all layers are tens of gigabytes; K frames a clip keep what resampling
needs (whole clips and speakers can be drawn or left out), since neighbouring frames say nearly the
same. Figures that need no resampling use every frame (see `embeddings.py`).
"""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32

# Above this the sample is kept on disk: 13 layers of 768 dimensions reach it at 1300 clips.
_MAX_BYTES_IN_MEMORY = 400_000_000


class FrameSample(NamedTuple):
    """K frames of each of n clips at each layer; `mask` is False where a clip has fewer frames.

    Layers come first, so that one layer is one contiguous piece of the file.
    """

    values: Float32[np.ndarray, "L n K D"]
    mask: Bool[np.ndarray, "n K"]


class SampledFrames(NamedTuple):
    """The sample of one batch of clips, on device."""

    values: Float[Array, "L B K D"]
    mask: Bool[Array, "B K"]


def sample_frames(
    hidden_states: Float[Array, "L B T D"], frame_mask: Bool[Array, "B T"], *, num_frames: int
) -> SampledFrames:
    """Frames floor((k + 1/2) T_b / K) of the T_b valid frames of each clip, k = 0 .. K - 1.

    A clip of fewer than K frames gives each of them once and masks the rest. Valid frames come
    first in a clip, as the encoder has them.

    Args:
      num_frames: K.
    """
    valid = jnp.sum(frame_mask, axis=1, dtype=jnp.int32)[:, None]  # B 1
    place = jnp.arange(num_frames)
    spread = ((2 * place + 1) * valid) // (2 * num_frames)
    index = jnp.where(valid >= num_frames, spread, jnp.minimum(place, jnp.maximum(valid - 1, 0)))
    values = jnp.take_along_axis(hidden_states, index[None, :, :, None], axis=2)
    return SampledFrames(values, place < jnp.minimum(valid, num_frames))


def empty_sample(shape: tuple[int, int, int, int], *, path: Path | None) -> FrameSample:
    """A sample to be filled, (L, n, K, D): a memory-mapped `.npy` at `path` if it is large.

    Args:
      path: None to keep it in memory whatever its size.
    """
    mask = np.zeros(shape[1:3], bool)
    if path is None or 4 * np.prod(shape, dtype=np.int64) <= _MAX_BYTES_IN_MEMORY:
        return FrameSample(np.zeros(shape, np.float32), mask)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    return FrameSample(values, mask)
