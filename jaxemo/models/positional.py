"""Position embeddings, in three forms; `families` says which family has which.

wav2vec 2.0, HuBERT, MERT and WavLM: one wide grouped convolution over time with weight norm.
data2vec-audio: several narrow ones in a row. Whisper: a table. Invalid frames are blanked before
every convolution, so that padding counts as silence outside the clip, which is what a clip alone
has around it.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import Positions
from jaxemo.models.layers import ACTIVATION_FUNCTIONS, STEM_NORM_EPS


def position_embedding(config: EncoderConfig, dtype: DTypeLike) -> nn.Module:
    """The family's form, under the family's name."""
    match config.family.positions:
        case Positions.TABLE:
            return PositionTable(config, dtype, name="embed_positions")
        case Positions.STACKED_CONVOLUTIONS:
            return StackedPositionalConv(config, dtype, name="pos_conv_embed")
        case Positions.CONVOLUTION:
            return PositionalConv(config, dtype, name="pos_conv_embed")


class WeightNormConv(nn.Module):
    """Grouped convolution over time whose kernel is normalised per tap.

    kernel[o, i, k] = weight_g[k] * weight_v[o, i, k] / |weight_v[:, :, k]|, in PyTorch's layout.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        config = self.config
        width = config.hidden_size
        shape = (width, width // config.pos_conv_groups, config.pos_conv_taps)
        direction = self.param(
            "weight_v", nn.initializers.he_normal(in_axis=(1, 2), out_axis=0), shape
        )
        norm = jnp.sqrt(jnp.sum(jnp.square(direction), axis=(0, 1), keepdims=True))
        gain = self.param("weight_g", lambda _: norm)
        bias = self.param("bias", nn.initializers.zeros, (width,))
        kernel = (direction / norm * gain).astype(self.dtype)
        return grouped_convolution(inputs.astype(self.dtype), kernel) + bias.astype(self.dtype)


class PositionalConv(nn.Module):
    """wav2vec 2.0's relative position embedding: one wide grouped convolution and an activation."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        hidden = jnp.where(frame_mask[:, :, None], hidden, 0)
        hidden = WeightNormConv(self.config, self.dtype, name="conv")(hidden)
        return ACTIVATION_FUNCTIONS[self.config.feat_extract_activation](hidden)


class PositionTable(nn.Module):
    """Whisper's: one vector per frame, the same in every clip.

    Only the first T of the table are used, where Whisper itself fills a clip up to all 1500 with
    silence.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
    ) -> Float[Array, "1 T D"]:
        shape = (self.config.max_positions, self.config.hidden_size)
        table = self.param("embedding", sinusoids, shape)
        return table[None, : hidden.shape[1]].astype(self.dtype)


def sinusoids(key: Array, shape: tuple[int, int]) -> Float[Array, "P D"]:
    """Sines, then cosines, of wavelengths from 2 pi to 2 pi 10^4 frames; no randomness in them."""
    del key
    length, width = shape
    frequency = jnp.exp(-math.log(10_000.0) / max(width // 2 - 1, 1) * jnp.arange(width // 2))
    angle = jnp.arange(length)[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)


class StackedConvLayer(nn.Module):
    """One of data2vec's: convolution, layer norm without parameters, activation."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        config = self.config
        # Published code blanks padding before the first layer only; the bias then leaks back from
        # the second on.
        hidden = jnp.where(frame_mask[:, :, None], hidden, 0)
        hidden = GroupedConv(config, self.dtype, name="conv")(hidden)
        norm = nn.LayerNorm(
            epsilon=STEM_NORM_EPS,
            use_bias=False,
            use_scale=False,
            use_fast_variance=False,
            dtype=self.dtype,
        )
        return ACTIVATION_FUNCTIONS[config.feat_extract_activation](norm(hidden))


class GroupedConv(nn.Module):
    """Plain grouped convolution over time, kernel in Flax's (taps, in / groups, out) layout."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, inputs: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        config = self.config
        width = config.hidden_size
        shape = (config.pos_conv_taps, width // config.pos_conv_groups, width)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (width,)).astype(self.dtype)
        return grouped_convolution(inputs.astype(self.dtype), kernel.transpose(2, 1, 0)) + bias


class StackedPositionalConv(nn.Module):
    """data2vec-audio's position embedding: `pos_conv_depth` narrow grouped convolutions in a row."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        return StackedConvLayers(self.config, self.dtype, name="layers")(hidden, frame_mask)


class StackedConvLayers(nn.Module):
    """The convolutions of `StackedPositionalConv`, named by their index."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        for index in range(self.config.pos_conv_depth):
            hidden = StackedConvLayer(self.config, self.dtype, name=str(index))(hidden, frame_mask)
        return hidden


def grouped_convolution(
    inputs: Float[Array, "B T D"], kernel: Float[Array, "D I K"]
) -> Float[Array, "B T D"]:
    """y[t] = sum_k kernel[k] x[t + k - K // 2] within each channel group, zeros outside the clip.

    On CPU it goes through the Fourier transform: for 128 taps and 16 groups, forward and backward
    together, that took 6 ms against 183 ms for XLA's grouped convolution at width 64 (32 clips of
    150 frames) and 124 ms against several seconds at width 768 (8 clips of 200 frames), on two
    cores. Elsewhere the convolution is XLA's.
    """
    return jax.lax.platform_dependent(
        inputs, kernel, cpu=_fourier_convolution, default=_direct_convolution
    )


def _direct_convolution(
    inputs: Float[Array, "B T D"], kernel: Float[Array, "D I K"]
) -> Float[Array, "B T D"]:
    taps = kernel.shape[2]
    # With an even kernel the padding on both sides would give one frame too many; the last is not
    # computed.
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=(1,),
        padding=[(taps // 2, (taps - 1) // 2)],
        dimension_numbers=("NHC", "OIH", "NHC"),
        feature_group_count=inputs.shape[-1] // kernel.shape[1],
    )


def _fourier_convolution(
    inputs: Float[Array, "B T D"], kernel: Float[Array, "D I K"]
) -> Float[Array, "B T D"]:
    batch, frames, width = inputs.shape
    _, group_width, taps = kernel.shape
    groups = width // group_width
    # Zeros behind the clip serve both its ends, because the transform is circular.
    length = _smooth_length(max(frames + taps // 2, taps))
    signal = inputs.astype(jnp.float32).reshape(batch, frames, groups, group_width)
    signal = jnp.fft.rfft(signal.transpose(2, 3, 0, 1), length)  # G I B F
    weight = kernel.astype(jnp.float32).reshape(groups, group_width, group_width, taps)
    weight = jnp.conj(jnp.fft.rfft(weight, length))  # G O I F
    product = jnp.matmul(signal.transpose(3, 0, 2, 1), weight.transpose(3, 0, 2, 1))  # F G B O
    result = jnp.fft.irfft(product.transpose(1, 2, 3, 0), length)  # G B O N
    result = jnp.roll(result, taps // 2, axis=-1)[..., :frames]
    return result.transpose(1, 3, 0, 2).reshape(inputs.shape).astype(inputs.dtype)


def _smooth_length(minimum: int) -> int:
    """The smallest even number from `minimum` up with no prime factor above 5."""
    length = minimum + minimum % 2
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 2
