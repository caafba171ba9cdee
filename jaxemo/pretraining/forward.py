"""The encoder as pre-training runs it: masked for what is trained, whole for teachers and targets."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxemo.models import layers
from jaxemo.models.encoder import AudioEncoder
from jaxemo.models.families import FrontEnd
from jaxemo.pretraining.masking import MaskSettings, span_mask
from jaxemo.pretraining.objectives.objective import Clips, Encoded, Forward, Params
from jaxemo.training.dropout_bits import hashed_key

# (encoder parameters, clips, mask key, dropout key or None for none) -> what came of it.
MaskedForward = Callable[[Params, Clips, Key[Array, ""], Key[Array, ""] | None], Encoded]


def make_masked_forward(module: AudioEncoder, settings: MaskSettings) -> MaskedForward:
    """A pass in which spans of frames show the learnt mask embedding after the feature projection.

    Raises:
      ValueError: The encoder has no mask embedding (Whisper).
    """
    if module.config.family.front_end is not FrontEnd.WAVEFORM:
        raise ValueError(
            f"an encoder of family {module.config.model_type!r} has no mask embedding and cannot be "
            "pre-trained by masking; take one of wav2vec2, hubert, mert_model, wavlm, data2vec-audio"
        )
    stem_of, contextualise = (
        nn.apply(method, module) for method in (AudioEncoder.stem, AudioEncoder.contextualise)
    )

    def forward(
        params: Params,
        clips: Clips,
        mask_key: Key[Array, ""],
        dropout_key: Key[Array, ""] | None,
    ) -> Encoded:
        stem = stem_of({"params": params}, *clips)
        frame_mask = jnp.asarray(stem.frame_mask)
        mask = span_mask(mask_key, frame_mask, settings)
        hidden_states = contextualise(
            {"params": params},
            *stem,
            masked_frames=mask,
            deterministic=dropout_key is None,
            rngs=None if dropout_key is None else {"dropout": hashed_key(dropout_key)},
        )
        features = _normalised(module, params, jnp.asarray(stem.features), frame_mask)
        return Encoded(features, hidden_states, mask, frame_mask)

    return forward


def make_forward(module: AudioEncoder) -> Forward:
    """A pass over whole clips without dropout."""

    def forward(params: Params, clips: Clips) -> Float[Array, "M B T D"]:
        output: Any = module.apply({"params": params}, *clips)
        return output.hidden_states

    return forward


def _normalised(
    module: AudioEncoder,
    params: Params,
    features: Float[Array, "B T C"],
    frame_mask: Bool[Array, "B T"],
) -> Float[Array, "B T C"]:
    """The stem's output as the feature projection's layer norm gives it; computed once by XLA."""
    features = jnp.where(frame_mask[:, :, None], features, 0)
    config = module.config
    if not config.feat_proj_layer_norm:
        return features
    norm = layers.layer_norm(config.layer_norm_eps, module.dtype)
    normalised: Any = norm.apply({"params": params["feature_projection"]["layer_norm"]}, features)
    return normalised
