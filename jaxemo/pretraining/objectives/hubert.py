"""HuBERT: the cluster of each masked frame, told by cosine similarity with learnt code vectors.

Reference: Hsu et al. 2021, arXiv 2106.07447, sections III-A to III-C.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxemo.pretraining.objectives.objective import (
    Clips,
    Draw,
    Encoded,
    Loss,
    Objective,
    Params,
    code_use,
    cross_entropy,
    dense,
    dense_init,
    masked_sum,
)
from jaxemo.pretraining.sources import Codes, Source, fit_clusters
from jaxemo.pretraining.targets import KMeansSettings

# The similarity of two vectors of length 0 is 0.
_SHORTEST = 1e-8


class HubertSettings(NamedTuple):
    """HuBERT's loss.

    Attributes:
      clusters: How targets are found.
      code_width: Of the projected frames and the code vectors.
      temperature: Of the softmax over cosines.
      unmasked_weight: Of the loss on frames that the encoder sees; 0 in the published recipe.
    """

    clusters: KMeansSettings = KMeansSettings()
    code_width: int = 256
    temperature: float = 0.1
    unmasked_weight: float = 0.0


def hubert(source: Source, *, width: int, settings: HubertSettings) -> Objective:
    """The objective over clusters of a source.

    total = sum over masked frames of -log p(code) + unmasked_weight * the same over the others, by
    p(k) = softmax_k(cos(W h, e_k) / temperature).

    Args:
      width: D of the encoder.
    """

    def fit(key: Key[Array, ""], sample: Clips) -> Codes:
        return fit_clusters(key, sample, source, settings.clusters)

    def targets(clips: Clips, state: Codes, teacher: Any = None) -> Int[Array, "B T"]:
        return state.quantiser.codes(source.vectors(state.source_params, clips))

    def loss(params: Params, encoded: Encoded, codes: Int[Array, "B T"], draw: Draw) -> Loss:
        logits = code_logits(params, encoded.hidden_states[-1], settings.temperature)
        return code_loss(logits, codes, encoded, unmasked_weight=settings.unmasked_weight)

    def init(key: Key[Array, ""]) -> Params:
        return init_code_head(
            key, width, settings.code_width, num_codes=settings.clusters.num_clusters
        )

    return Objective("hubert", fit, targets, init, loss)


def init_code_head(key: Key[Array, ""], width: int, code_width: int, *, num_codes: int) -> Params:
    """The projection of frames, and code vectors uniform in [0, 1) as published."""
    project_key, code_key = jax.random.split(key)
    return {
        "projection": dense_init(project_key, width, code_width),
        "codes": jax.random.uniform(code_key, (num_codes, code_width)),
    }


def code_logits(
    params: Params, hidden: Float[Array, "B T D"], temperature: float
) -> Float[Array, "B T K"]:
    """cos(W h, e_k) / temperature."""
    projected = unit_length(dense(params["projection"], hidden))
    return projected @ unit_length(params["codes"]).T / temperature


def unit_length(vectors: Float[Array, "... D"]) -> Float[Array, "... D"]:
    """x / max(|x|, 1e-8); its slope is finite everywhere."""
    squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, _SHORTEST**2))


def code_loss(
    logits: Float[Array, "B T K"],
    codes: Int[Array, "B T"],
    encoded: Encoded,
    *,
    unmasked_weight: float,
) -> Loss:
    """Cross entropy over masked frames, and with a weight over the others of the clips."""
    mask, frame_mask = encoded.mask, encoded.frame_mask
    each = cross_entropy(logits, codes)
    masked = masked_sum(each, mask)
    unmasked = masked_sum(each, frame_mask & ~mask)
    return Loss(
        total=masked + unmasked_weight * unmasked,
        count=mask.sum().astype(jnp.float32),
        parts={"masked": masked, "unmasked": unmasked},
        code_use=code_use(logits[:, :, None], codes[:, :, None], mask),
    )
