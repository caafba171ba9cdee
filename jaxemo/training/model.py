"""An encoder, an adaptation method and the head as one pure function of its parameters.

What is trained ({adaptation, head}) and what is not (base, layer statistics) are apart from birth.
Inputs are the output of the method's frozen layers: stem features, or pooled layers when the whole
encoder is frozen; or waveforms, where they are not the same in every epoch.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxemo.models.encoder import AudioEncoder, StemOutput
from jaxemo.models.heads import (
    HeadForm,
    LayerStatistics,
    Pooling,
    apply_attentive_head,
    apply_head,
    init_head,
    pool_frames,
    pool_spread,
)
from jaxemo.peft.method import Method, Params
from jaxemo.training.dropout_bits import hashed_key

PooledLayers = Float[Array, "B L D"]


class Waveforms(NamedTuple):
    """Normalised clips of a batch, padded to one width: the stem is a part of the step."""

    waveform: Float[Array | np.ndarray, "... N"]
    num_samples: Int[Array | np.ndarray, "..."]


class MaskedInputs(NamedTuple):
    """Inputs of which SpecAugment hides a part, after the stem and its projection.

    Attributes:
      signal: The inputs.
      frames: True where the mask embedding stands for the frame.
      channels: True where a channel is zero in all frames.
    """

    signal: StemOutput | Waveforms
    frames: Bool[Array | np.ndarray, "... T"]
    channels: Bool[Array | np.ndarray, "... D"]


EncoderInputs = StemOutput | Waveforms | MaskedInputs


class Network(NamedTuple):
    """The pure functions of one (encoder, method, head) triple.

    Attributes:
      module: The encoder's linen module; None for representations without a network.
      method: How the encoder is adapted.
      head_width: Width of the head's projection.
      head_dropout: Dropout rate in the head while training.
      num_outputs: O, values per clip that the objective reads.
      head_form: What the head computes.
      pooling: How frames become one vector.
    """

    module: AudioEncoder | None
    method: Method
    head_width: int
    head_dropout: float
    num_outputs: int
    head_form: HeadForm = HeadForm.STANDARDISED
    pooling: Pooling = Pooling.MEAN

    def init(self, key: PRNGKeyArray, base: Params, statistics: LayerStatistics) -> dict[str, Any]:
        """A fresh trainable tree {adaptation, head}."""
        adaptation_key, head_key = jax.random.split(key)
        num_layers, width = statistics.mean.shape
        head = init_head(
            head_key,
            num_layers=num_layers,
            width=width,
            hidden=self.head_width,
            num_outputs=self.num_outputs,
            form=self.head_form,
            pooling=self.pooling,
        )
        return {"adaptation": self.method.init(adaptation_key, base), "head": head}

    def outputs(
        self,
        trainable: dict[str, Any],
        base: Params,
        inputs: EncoderInputs | PooledLayers,
        *,
        statistics: LayerStatistics,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "B O"]:
        """The head's raw outputs; dropout is on exactly when a `dropout_key` is given."""
        encoder_key, head_key = (
            (None, None) if dropout_key is None else jax.random.split(dropout_key)
        )
        if encoder_key is not None:
            encoder_key = hashed_key(encoder_key)
        options = {
            "statistics": statistics,
            "dropout_rate": self.head_dropout,
            "dropout_key": head_key,
        }
        head = trainable["head"]
        if not isinstance(inputs, EncoderInputs):
            if self.pooling is Pooling.ATTENTIVE:
                raise ValueError(
                    f"Attention was given pooled layers, which have no frames: method "
                    f"{self.method.name!r} freezes the whole encoder; take one that trains inside it."
                )
            return apply_head(head, inputs, form=self.head_form, **options)
        hidden_states, frame_mask = self._hidden_states(
            trainable["adaptation"], base, inputs, encoder_key
        )
        if self.pooling is Pooling.ATTENTIVE:
            return apply_attentive_head(head, hidden_states, frame_mask, **options)
        pooled = pool_frames(hidden_states, frame_mask)
        if self.pooling is Pooling.MEAN_STD:
            spread = pool_spread(hidden_states, frame_mask)
            pooled = jnp.concatenate([pooled, spread], axis=-1)
        return apply_head(head, pooled, form=self.head_form, **options)

    def _hidden_states(
        self,
        adaptation: Params,
        base: Params,
        inputs: EncoderInputs,
        dropout_key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "L B T D"], Bool[Array, "B T"]]:
        """The adapted encoder's layers, and where their frames are valid."""
        if self.module is None:
            raise ValueError(
                f"Method {self.method.name!r} was given the output of a stem, and the network has "
                "no encoder that reads it; give pooled layers."
            )
        masks = {}
        if isinstance(inputs, MaskedInputs):
            masks = {"masked_frames": inputs.frames, "masked_channels": inputs.channels}
            inputs = inputs.signal
        stem = _stem(self.module, base, inputs) if isinstance(inputs, Waveforms) else inputs
        contextualise = nn.apply(AudioEncoder.contextualise, self.module)

        def forward(params: Params) -> Float[Array, "L B T D"]:
            return contextualise(
                {"params": params},
                stem.features,
                stem.frame_mask,
                **masks,
                deterministic=dropout_key is None,
                rngs=None if dropout_key is None else {"dropout": dropout_key},
            )

        method_key = None if dropout_key is None else jax.random.fold_in(dropout_key, 0)
        hidden_states = self.method.apply(forward, base, adaptation, dropout_key=method_key)
        return hidden_states, stem.frame_mask


def _stem(module: AudioEncoder, base: Params, clips: Waveforms) -> StemOutput:
    """In float32 whatever the compute dtype, as the store has it for prediction."""
    stem = nn.apply(AudioEncoder.stem, module.clone(dtype=jnp.float32))
    return stem({"params": base}, clips.waveform, clips.num_samples)
