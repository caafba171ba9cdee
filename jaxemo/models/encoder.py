"""The whole encoder: waveform -> convolutional stem -> transformer layers.

One module serves wav2vec 2.0, HuBERT, MERT, WavLM, data2vec-audio and Whisper's encoder;
`EncoderConfig` carries what differs. It is split where training and caching need it: `stem`
(convolutions, usually frozen) and `contextualise` (all the rest). Contract: a clip's output depends
neither on the other clips of its batch nor on its padding, whatever the padding holds.
"""

import contextlib
import enum
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from jaxemo.models import layers, positional
from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import FrontEnd
from jaxemo.models.log_mel import log_mel_frames


class StemOutput(NamedTuple):
    """The stem's last convolution, and which of its frames lie wholly within their clip.

    On the device as an encoder gives it, on the host where it was kept.
    """

    features: Float[Array | np.ndarray, "B T C"]
    frame_mask: Bool[Array | np.ndarray, "B T"]


class EncoderOutput(NamedTuple):
    """Hidden states and the frames that mean something.

    `hidden_states[0]` is the input of layer 0 and `hidden_states[i]` the output of layer i - 1;
    with stable layer norm the last one is taken after the encoder's final norm (transformers 4.x;
    5.23 gives it before). Values at invalid frames are finite and meaningless.
    """

    hidden_states: Float[Array, "M B T D"]
    frame_mask: Bool[Array, "B T"]


class Remat(enum.Enum):
    """What the backward pass recomputes instead of keeping."""

    NOTHING = "nothing"
    LAYERS = "layers"
    ALL_BUT_MATMULS = "all_but_matmuls"


class ConvLayers(nn.Module):
    """The stem's convolutions, named by their index."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        signal: Float[Array, "B S I"],
        num_samples: Int[Array, " B"],
        moments: layers.ChannelMoments | None = None,
    ) -> Float[Array, "B T C"]:
        hidden = signal
        for index in range(len(self.config.conv_dim)):
            num_valid = self.config.num_frames_after(num_samples, num_layers=index + 1)
            layer = layers.ConvLayer(self.config, index, self.dtype, name=str(index))
            hidden = layer(hidden, num_valid, moments)
        return hidden


class FeatureExtractor(nn.Module):
    """The convolutional stem, over the waveform or (Whisper) its log-mel frames."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        waveform: Float[Array, "B N"],
        num_samples: Int[Array, " B"],
        moments: layers.ChannelMoments | None = None,
    ) -> Float[Array, "B T C"]:
        config = self.config
        signal = waveform[:, :, None]
        if config.family.front_end is FrontEnd.LOG_MEL:
            signal = log_mel_frames(
                waveform,
                num_mel_bins=config.num_mel_bins,
                longest_samples=config.max_positions * config.hop_samples,
            )
        signal = signal.astype(self.dtype)
        conv_layers = ConvLayers(config, self.dtype, name="conv_layers")
        features = conv_layers(signal, num_samples, moments)
        return features[:, : config.num_frames(waveform.shape[1])]


class LayerStack(nn.Module):
    """The transformer layers, named by their index; gives each one's input and the last's output.

    It begins with `first_layer`. The lowest `frozen_layers` are always deterministic.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = Remat.NOTHING

    def setup(self):
        make = _rematerialised(layers.EncoderLayer, self.remat)
        self.layers = [
            make(self.config, index, self.dtype, name=str(index))
            for index in range(self.config.num_hidden_layers)
        ]

    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        frame_mask: Bool[Array, "B T"],
        *,
        first_layer: int = 0,
        frozen_layers: int = 0,
        deterministic: bool = True,
    ) -> list[Float[Array, "B T D"]]:
        config = self.config
        position_bias = None
        if config.num_buckets:
            position_bias = self.layers[0].attention.position_bias(hidden.shape[1])
        hidden_states = [hidden]
        for index in range(first_layer, config.num_hidden_layers):
            is_still = deterministic or index < frozen_layers
            output = self.layers[index](hidden, frame_mask, position_bias, is_still)
            if not is_still and config.layerdrop > 0.0:
                kept = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - config.layerdrop)
                output = jnp.where(kept, output, hidden)
            hidden = output
            hidden_states.append(hidden)
        return hidden_states


class Transformer(nn.Module):
    """Position embedding, the layers, and the norm before (base) or after them (stable).

    From a `first_layer` above 0 it goes on with what goes into that layer.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = Remat.NOTHING

    @nn.compact
    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        frame_mask: Bool[Array, "B T"],
        *,
        first_layer: int = 0,
        frozen_layers: int = 0,
        deterministic: bool = True,
    ) -> list[Float[Array, "B T D"]]:
        config = self.config
        norm = layers.layer_norm(config.layer_norm_eps, self.dtype, name="layer_norm")
        if first_layer == 0:
            position = positional.position_embedding(config, self.dtype)
            hidden = hidden + position(hidden, frame_mask)
            if not config.do_stable_layer_norm:
                hidden = norm(hidden)
            is_still = deterministic or frozen_layers > 0
            hidden = nn.Dropout(config.hidden_dropout)(hidden, deterministic=is_still)
        stack = LayerStack(config, self.dtype, self.remat, name="layers")
        hidden_states = stack(
            hidden,
            frame_mask,
            first_layer=first_layer,
            frozen_layers=frozen_layers,
            deterministic=deterministic,
        )
        if config.do_stable_layer_norm:
            hidden_states[-1] = norm(hidden_states[-1])
        return hidden_states


class AudioEncoder(nn.Module):
    """An audio encoder of the wav2vec 2.0 family, or Whisper's.

    Parameters are float32; `dtype` is the compute dtype. In float32 every product is a true float32
    product on every backend (accelerators otherwise round the factors to 10 bits or fewer, which
    moves the output by 2e-2). With `deterministic=False` dropout and layer drop act and need the
    "dropout" key.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = Remat.NOTHING

    def setup(self):
        config = self.config
        self.feature_extractor = FeatureExtractor(config, self.dtype)
        if config.family.front_end is FrontEnd.WAVEFORM:
            self.feature_projection = layers.FeatureProjection(config, self.dtype)
            self.masked_spec_embed = self.param(
                "masked_spec_embed", nn.initializers.uniform(1.0), (config.hidden_size,)
            )
        self.encoder = Transformer(config, self.dtype, self.remat)

    def __call__(
        self,
        waveform: Float[Array, "B N"],
        num_samples: Int[Array, " B"],
        moments: layers.ChannelMoments | None = None,
        *,
        deterministic: bool = True,
    ) -> EncoderOutput:
        """All hidden states of each clip.

        Args:
          waveform: Normalised samples at the encoder's rate; anything, NaN included, from
            `num_samples` on.
          num_samples: Length of each clip. A clip shorter than one frame has no valid frame.
          moments: Where the rows are windows of longer clips and the stem has a group norm: those of
            the whole clips (`windows.clip_moments`).
          deterministic: False lets dropout and layer drop act.
        """
        stem = self.stem(waveform, num_samples, moments)
        hidden_states = self.contextualise(*stem, deterministic=deterministic)
        return EncoderOutput(hidden_states, jnp.asarray(stem.frame_mask))

    def stem(
        self,
        waveform: Float[Array, "B N"],
        num_samples: Int[Array, " B"],
        moments: layers.ChannelMoments | None = None,
    ) -> StemOutput:
        """The convolutional features; see `__call__` for the arguments."""
        valid = jnp.arange(waveform.shape[1]) < num_samples[:, None]
        waveform = jnp.where(valid, waveform, 0)
        with _full_precision(self.dtype):
            features = self.feature_extractor(waveform, num_samples, moments)
        num_frames = self.config.num_frames(num_samples)
        return StemOutput(features, jnp.arange(features.shape[1]) < num_frames[:, None])

    def contextualise(
        self,
        features: Float[Array | np.ndarray, "B T C"],
        frame_mask: Bool[Array | np.ndarray, "B T"],
        *,
        masked_frames: Bool[Array, "B T"] | None = None,
        masked_channels: Bool[Array, "B D"] | None = None,
        frozen_layers: int = 0,
        deterministic: bool = True,
    ) -> Float[Array, "M B T D"]:
        """All hidden states from the stem's features.

        Args:
          features: As `stem` gives them.
          frame_mask: True on the frames of each clip; they come first.
          masked_frames: True where the learnt mask embedding replaces the projected features; zeros
            in Whisper, which has none.
          masked_channels: True where a channel is zero in all frames, masked ones included.
          frozen_layers: So many of the lowest layers, and all below them, have neither whatever
            `deterministic` is.
          deterministic: False lets dropout and layer drop act.
        """
        features, frame_mask = jnp.asarray(features), jnp.asarray(frame_mask)
        hidden = jnp.where(frame_mask[:, :, None], features, 0).astype(self.dtype)
        with _full_precision(self.dtype):
            if self.config.family.front_end is FrontEnd.WAVEFORM:
                is_still = deterministic or frozen_layers > 0
                hidden = self.feature_projection(hidden, deterministic=is_still)
            if masked_frames is not None:
                hidden = jnp.where(masked_frames[:, :, None], self._mask_embedding(), hidden)
            if masked_channels is not None:
                hidden = jnp.where(masked_channels[:, None, :], 0, hidden)
            hidden_states = self.encoder(
                hidden, frame_mask, frozen_layers=frozen_layers, deterministic=deterministic
            )
            return jnp.stack(hidden_states)

    def upper_layers(
        self,
        hidden: Float[Array | np.ndarray, "B T D"],
        frame_mask: Bool[Array | np.ndarray, "B T"],
        *,
        first_layer: int,
        deterministic: bool = True,
    ) -> Float[Array, "M B T D"]:
        """`contextualise` from a layer on: the outputs of that layer and of those above it.

        Args:
          hidden: Input of the layer `first_layer`, which is hidden state number `first_layer`.
          frame_mask: True on the frames of each clip; they come first.
          first_layer: 1 or more, since position embeddings go into layer 0.
          deterministic: False lets dropout and layer drop act.
        """
        hidden, frame_mask = jnp.asarray(hidden).astype(self.dtype), jnp.asarray(frame_mask)
        hidden = jnp.where(frame_mask[:, :, None], hidden, 0)
        with _full_precision(self.dtype):
            hidden_states = self.encoder(
                hidden, frame_mask, first_layer=first_layer, deterministic=deterministic
            )
            return jnp.stack(hidden_states[1:])

    def _mask_embedding(self) -> Float[Array, " D"] | Float[Array, ""]:
        if self.config.family.front_end is FrontEnd.WAVEFORM:
            return self.masked_spec_embed.astype(self.dtype)
        return jnp.zeros((), self.dtype)


def parameter_shapes(config: EncoderConfig) -> dict[str, Any]:
    """The parameter tree of `AudioEncoder(config)` as shapes and dtypes, without making it."""
    waveform = jnp.zeros((1, config.shortest_clip_samples))
    num_samples = jnp.array([waveform.shape[1]])
    return jax.eval_shape(AudioEncoder(config).init, jax.random.key(0), waveform, num_samples)[
        "params"
    ]


def _full_precision(dtype: DTypeLike) -> contextlib.AbstractContextManager[None]:
    """Inside it a product of float32 arrays is computed in float32; forward and its transposes alike."""
    if jnp.dtype(dtype) == jnp.float32:
        return jax.default_matmul_precision("highest")
    return contextlib.nullcontext()


def _rematerialised(layer: type[nn.Module], remat: Remat) -> type[nn.Module]:
    if remat is Remat.NOTHING:
        return layer
    policy = None
    if remat is Remat.ALL_BUT_MATMULS:
        policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    # Argument 4, counted from the module, is `deterministic`.
    return nn.remat(layer, policy=policy, static_argnums=(4,), prevent_cse=True)
