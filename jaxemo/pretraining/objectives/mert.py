"""MERT: codes as an acoustic teacher, the constant-Q spectrum as a musical one.

Reference: Li et al. 2023, arXiv 2306.00107, section 3.2 and its 95M k-means variant. Unlike there the
spectrum is on a log scale and scaled by the statistics of a sample, so that loud low notes do not
outweigh everything else.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxemo.pretraining.objectives.hubert import (
    HubertSettings,
    code_logits,
    code_loss,
    init_code_head,
)
from jaxemo.pretraining.objectives.objective import (
    Clips,
    Draw,
    Encoded,
    Loss,
    Objective,
    Params,
    dense,
    dense_init,
    masked_sum,
)
from jaxemo.pretraining.sources import Codes, Source, fit_clusters, fit_source_scaling
from jaxemo.pretraining.targets import Scaling


class MertSettings(NamedTuple):
    """MERT's loss: HuBERT's, and the weight of the regression beside it."""

    codes: HubertSettings = HubertSettings()
    regression_weight: float = 1.0


class MertState(NamedTuple):
    """What both targets were fitted to."""

    codes: Codes
    scaling: Scaling


class MertTargets(NamedTuple):
    """One code and one scaled spectrum per frame."""

    codes: Int[Array, "B T"]
    spectrum: Float[Array, "B T F"]


def mert(source: Source, regressed: Source, *, width: int, settings: MertSettings) -> Objective:
    """The objective over clusters of one spectrum and the values of another.

    total = HuBERT's total + regression_weight * sum over masked frames of mean_f (W h + b - s)_f^2,
    and here too with unmasked_weight over the frames that the encoder sees.

    Args:
      source: Of the codes, such as log-mel with chroma.
      regressed: Such as constant-Q; a spectrum.
      width: D of the encoder.
    """

    def fit(key: Key[Array, ""], sample: Clips) -> MertState:
        codes = fit_clusters(key, sample, source, settings.codes.clusters)
        return MertState(codes, fit_source_scaling(sample, regressed))

    def targets(clips: Clips, state: MertState, teacher: Any = None) -> MertTargets:
        vectors = source.vectors(state.codes.source_params, clips)
        spectrum = state.scaling(regressed.vectors(regressed.params, clips))
        return MertTargets(state.codes.quantiser.codes(vectors), spectrum)

    def init(key: Key[Array, ""]) -> Params:
        head_key, regression_key = jax.random.split(key)
        head = init_code_head(
            head_key,
            width,
            settings.codes.code_width,
            num_codes=settings.codes.clusters.num_clusters,
        )
        shortest = jnp.zeros((1, regressed.grid.receptive_field)), jnp.ones(1, jnp.int32)
        spectrum = jax.eval_shape(regressed.vectors, regressed.params, Clips(*shortest))
        return {**head, "regression": dense_init(regression_key, width, spectrum.shape[2])}

    def loss(params: Params, encoded: Encoded, targets: MertTargets, draw: Draw) -> Loss:
        hidden = encoded.hidden_states[-1]
        logits = code_logits(params, hidden, settings.codes.temperature)
        codes = code_loss(
            logits, targets.codes, encoded, unmasked_weight=settings.codes.unmasked_weight
        )
        errors = jnp.square(dense(params["regression"], hidden) - targets.spectrum).mean(axis=2)
        seen = masked_sum(errors, encoded.frame_mask & ~encoded.mask)
        regression = masked_sum(errors, encoded.mask) + settings.codes.unmasked_weight * seen
        return codes._replace(
            total=codes.total + settings.regression_weight * regression,
            parts={**codes.parts, "regression": regression},
        )

    return Objective("mert", fit, targets, init, loss)
