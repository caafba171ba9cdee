"""data2vec: what a slow copy of the encoder makes of the whole clip, told from the masked one.

Targets, loss and the copy's pace are data2vec 2.0's. Left out are its savings: here masked frames go
through the encoder as an embedding, one mask per clip, and a dense layer stands for the decoder; and
targets are the layers' outputs, not what their feed-forward halves add.

Reference: Baevski et al. 2022, arXiv 2212.07525; Baevski et al. 2022, arXiv 2202.03555.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxemo.pretraining.objectives.objective import (
    Clips,
    Draw,
    Encoded,
    Loss,
    Objective,
    Params,
    Teacher,
    dense,
    dense_init,
    masked_sum,
    no_codes,
)

_VARIANCE_FLOOR = 1e-5


class Data2vecSettings(NamedTuple):
    """data2vec's teacher.

    Attributes:
      top_layers: Layers, counted from the last, that make the target.
      decay: How the teacher follows; published for 400,000 steps, shorter runs need a faster one.
    """

    top_layers: int = 8
    decay: Teacher = Teacher(start=0.999, end=0.99999, rising_steps=75_000)


def data2vec(*, width: int, settings: Data2vecSettings) -> Objective:
    """The objective.

    total = sum over masked frames of |W h + b - y|^2 / sqrt(D), with y of `teacher_targets`.

    Args:
      width: D of the encoder.
    """

    def fit(key: Key[Array, ""], sample: Clips) -> tuple[()]:
        return ()

    def targets(
        clips: Clips, state: tuple[()], teacher: Float[Array, "M B T D"] | None
    ) -> Float[Array, "K B T D"]:
        assert teacher is not None  # The program runs it, since `teacher` of the objective is set.
        return teacher[-settings.top_layers :]

    def init(key: Key[Array, ""]) -> Params:
        return {"projection": dense_init(key, width, width)}

    def loss(params: Params, encoded: Encoded, layers: Float[Array, "K B T D"], draw: Draw) -> Loss:
        target = teacher_targets(layers, encoded.frame_mask)
        predicted = dense(params["projection"], encoded.hidden_states[-1])
        each = jnp.sum(jnp.square(predicted - target), axis=2) / jnp.sqrt(width)
        masked = masked_sum(each, encoded.mask)
        return Loss(
            total=masked,
            count=encoded.mask.sum().astype(jnp.float32),
            parts={"masked": masked, "target_square": _mean_square(target, encoded.mask)},
            code_use=no_codes(),
        )

    return Objective("data2vec", fit, targets, init, loss, teacher=settings.decay)


def teacher_targets(
    layers: Float[Array, "K B T D"], frame_mask: Bool[Array, "B T"]
) -> Float[Array, "B T D"]:
    """Mean over layers of (x - mean_t x) / sqrt(var_t x + 1e-5), over the frames of each clip."""
    valid = frame_mask[:, :, None]
    count = jnp.maximum(frame_mask.sum(axis=1), 1)[:, None, None]
    layers = jnp.where(valid, layers, 0).astype(jnp.float32)
    centred = layers - jnp.sum(layers, axis=2, keepdims=True) / count
    variance = jnp.sum(jnp.square(centred), axis=2, keepdims=True, where=valid) / count
    normalised = centred * jax.lax.rsqrt(variance + _VARIANCE_FLOOR)
    return jnp.where(valid, normalised.mean(axis=0), 0)


def _mean_square(target: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Any:
    """What telling nothing but the mean would cost, in the loss's own unit."""
    return masked_sum(jnp.sum(jnp.square(target), axis=2), mask) / jnp.sqrt(target.shape[2])
