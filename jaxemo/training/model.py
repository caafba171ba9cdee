"""An encoder, an adaptation method and the head as one pure function of its parameters.

What is trained ({adaptation, head}) and what is not (base, layer statistics) are apart from birth. A
second stage may stand on a base of its run's own: the shared one with the first stage's adaptation merged.
Inputs are the output of the method's frozen layers: stem features, or pooled layers when the whole
encoder is frozen; or waveforms, where they are not the same in every epoch. Layers below all that is
trained are the same in every step, dropout included: there is none.
"""

import enum
import functools
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
from jaxemo.peft.targets import lowest_layer
from jaxemo.training.dropout_bits import hashed_key

PooledLayers = Float[Array, "B L D"]


class Dropout(enum.Enum):
    """Where a network's dropout acts, the encoder's and the head's."""

    IN_TRAINING = "in training"
    NOWHERE = "nowhere"


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


class LowerLayers(NamedTuple):
    """What the lowest k layers give, which no training changes: all that those above need of a clip.

    Attributes:
      pooled: Mean over the frames of each of the hidden states 0 to k.
      frames: Hidden state k, the input of layer k.
      frame_mask: True on the frames of each clip.
    """

    pooled: Float[Array | np.ndarray, "... K D"]
    frames: Float[Array | np.ndarray, "... T D"]
    frame_mask: Bool[Array | np.ndarray, "... T"]


EncoderInputs = StemOutput | Waveforms | MaskedInputs | LowerLayers


def merged_base(method: Method | None, base: Params, inherited: Any) -> Params:
    """The base with what a first stage trained by the method merged into it; as it is without a method."""
    if method is None:
        return base
    assert method.merge is not None  # A config or record that asks for more is refused.
    return method.merge(base, jax.tree.map(jnp.asarray, inherited))


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
      dropout: Whether it acts in training, or nowhere.
      first_method: Of the stage before, where what it trained is merged into the base; None for no merge.
    """

    module: AudioEncoder | None
    method: Method
    head_width: int
    head_dropout: float
    num_outputs: int
    head_form: HeadForm = HeadForm.STANDARDISED
    pooling: Pooling = Pooling.MEAN
    dropout: Dropout = Dropout.IN_TRAINING
    first_method: Method | None = None

    def own_base(self, base: Params, inherited: Any) -> Params:
        """The base that a run's method adapts: the shared one with what the run inherits merged into it.

        Args:
          inherited: The adaptation that `first_method` trained; () where nothing is merged.
        """
        return merged_base(self.first_method, base, inherited)

    def inherited_shapes(self, base: Params) -> Any:
        """What `own_base` takes beside the base, as shapes."""
        if self.first_method is None:
            return ()
        return jax.eval_shape(self.first_method.init, jax.random.key(0), base)

    def init(self, key: PRNGKeyArray, base: Params, statistics: LayerStatistics) -> dict[str, Any]:
        """A fresh trainable tree {adaptation, head}, for the run's own base."""
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
        """The head's raw outputs; dropout acts where a `dropout_key` is given, unless it acts nowhere."""
        if self.dropout is Dropout.NOWHERE:
            dropout_key = None
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
        has_frames = isinstance(inputs, EncoderInputs) and not isinstance(inputs, LowerLayers)
        if self.pooling is Pooling.ATTENTIVE and not has_frames:
            raise ValueError(
                f"Attention was given pooled layers, which have no frames: method "
                f"{self.method.name!r} freezes them; take one that trains inside the whole encoder."
            )
        if not isinstance(inputs, EncoderInputs):
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
        if isinstance(inputs, LowerLayers):
            pooled = jnp.concatenate([inputs.pooled, pooled], axis=1)
        return apply_head(head, pooled, form=self.head_form, **options)

    def _hidden_states(
        self,
        adaptation: Params,
        base: Params,
        inputs: EncoderInputs,
        dropout_key: PRNGKeyArray | None,
    ) -> tuple[Float[Array, "L B T D"], Bool[Array, "B T"]]:
        """The adapted encoder's layers, those that are given left out, and where frames are valid."""
        if self.module is None:
            raise ValueError(
                f"Method {self.method.name!r} was given the output of a stem, and the network has "
                "no encoder that reads it; give pooled layers."
            )
        how = {
            "deterministic": dropout_key is None,
            "rngs": None if dropout_key is None else {"dropout": dropout_key},
        }
        method_key = None if dropout_key is None else jax.random.fold_in(dropout_key, 0)
        adapted = functools.partial(
            self.method.apply, base=base, trainable=adaptation, dropout_key=method_key
        )
        if isinstance(inputs, LowerLayers):
            upper_layers = nn.apply(AudioEncoder.upper_layers, self.module)
            _, *frames = inputs
            first_layer = inputs.pooled.shape[1] - 1
            above = adapted(
                lambda params: upper_layers(
                    {"params": params}, *frames, first_layer=first_layer, **how
                )
            )
            return above, jnp.asarray(inputs.frame_mask)
        masks = {}
        if isinstance(inputs, MaskedInputs):
            masks = {"masked_frames": inputs.frames, "masked_channels": inputs.channels}
            inputs = inputs.signal
        stem = _stem(self.module, base, inputs) if isinstance(inputs, Waveforms) else inputs
        contextualise = nn.apply(AudioEncoder.contextualise, self.module)
        frozen_layers = lowest_layer(adaptation)
        hidden_states = adapted(
            lambda params: contextualise(
                {"params": params}, *stem, **masks, frozen_layers=frozen_layers, **how
            )
        )
        return hidden_states, jnp.asarray(stem.frame_mask)


def _stem(module: AudioEncoder, base: Params, clips: Waveforms) -> StemOutput:
    """In float32 whatever the compute dtype, as the store has it for prediction."""
    stem = nn.apply(AudioEncoder.stem, module.clone(dtype=jnp.float32))
    return stem({"params": base}, clips.waveform, clips.num_samples)
