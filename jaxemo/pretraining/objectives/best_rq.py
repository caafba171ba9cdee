"""BEST-RQ: the codes of a quantiser that is drawn at random and never trained.

Reference: Chiu et al. 2022, arXiv 2202.01855; several codebooks: Zhang et al. 2023, arXiv 2303.01037.
Masked frames show the encoder's learnt embedding, where the paper puts noise into the spectrum.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int, Key

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
from jaxemo.pretraining.sources import Codes, Source, fit_projections
from jaxemo.pretraining.targets import RandomProjectionSettings


def best_rq(source: Source, *, width: int, settings: RandomProjectionSettings) -> Objective:
    """The objective over random-projection codes of a source.

    total = sum over masked frames of the mean over codebooks q of -log softmax(W_q h + b_q)[code_q].

    Args:
      width: D of the encoder.
    """
    num_codebooks, num_codes, _ = settings

    def fit(key: Key[Array, ""], sample: Clips) -> Codes:
        return fit_projections(key, sample, source, settings)

    def targets(clips: Clips, state: Codes, teacher: Any = None) -> Int[Array, "B T Q"]:
        return state.quantiser.codes(source.vectors(state.source_params, clips))

    def init(key: Key[Array, ""]) -> Params:
        return {"softmax": dense_init(key, width, num_codebooks * num_codes)}

    def loss(params: Params, encoded: Encoded, codes: Int[Array, "B T Q"], draw: Draw) -> Loss:
        hidden = encoded.hidden_states[-1]
        logits = dense(params["softmax"], hidden).reshape(
            *hidden.shape[:2], num_codebooks, num_codes
        )
        masked = masked_sum(cross_entropy(logits, codes).mean(axis=-1), encoded.mask)
        return Loss(
            total=masked,
            count=encoded.mask.sum().astype(jnp.float32),
            parts={"masked": masked},
            code_use=code_use(logits, codes, encoded.mask),
        )

    return Objective("best_rq", fit, targets, init, loss)
