"""Span masks: which frames the encoder does not see and has to say something about.

Starts are drawn without replacement among the frames of each clip, spans of one length follow them and
may overlap. Padding is never masked, and the number of padded frames changes no clip's mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key


class MaskSettings(NamedTuple):
    """How much is masked.

    Attributes:
      start_probability: Share of a clip's frames that begin a span, in (0, 1]. With 0.065 and spans of
        10 frames 49 % of a long clip is masked, in runs of 14.7 frames (wav2vec 2.0); HuBERT takes 0.08.
      span_frames: Length of a span.
    """

    start_probability: float = 0.08
    span_frames: int = 10


def span_mask(
    key: Key[Array, ""], frame_mask: Bool[Array, "B T"], settings: MaskSettings
) -> Bool[Array, "B T"]:
    """True where the encoder sees the mask embedding; at least one frame of every clip that has one.

    num_starts = floor(start_probability * num_frames + u), u uniform in [0, 1), at least 1 and at most
    the number of places; starts uniform without replacement over the frames 0 .. num_frames - span.
    In clips shorter than two spans the span is half of the clip, so that something is left to see.

    Args:
      key: Decides everything; row b depends on the key, b and its own number of frames.
      frame_mask: True on the frames of each clip; they come first.

    Reference: Baevski et al. 2020, arXiv 2006.11477, section 3.1 and appendix A.
    """
    num_frames = frame_mask.sum(axis=1)
    rows = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(frame_mask.shape[0]))
    make = jax.vmap(_row_mask, in_axes=(0, 0, None, None))
    return make(rows, num_frames, settings, frame_mask.shape[1])


def _row_mask(
    key: Key[Array, ""], num_frames: Int[Array, ""], settings: MaskSettings, width: int
) -> Bool[Array, " T"]:
    span = jnp.clip(num_frames // 2, 1, settings.span_frames)
    places = jnp.maximum(num_frames - span + 1, 1)
    count_key, order_key = jax.random.split(key)
    expected = settings.start_probability * num_frames + jax.random.uniform(count_key)
    count = jnp.clip(jnp.floor(expected).astype(jnp.int32), 1, places)
    frame = jnp.arange(width)
    # Number i depends on the key and on i alone, not on how many are drawn.
    draw = jnp.where(frame < places, jax.random.uniform(order_key, (width,)), jnp.inf)
    is_start = (draw <= jnp.sort(draw)[count - 1]) & (frame < places)
    started = jnp.cumsum(is_start)
    # Starts among the last `span` frames, this one included.
    before = jnp.where(frame >= span, started[jnp.maximum(frame - span, 0)], 0)
    return (started > before) & (frame < num_frames)
