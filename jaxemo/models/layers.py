"""The pieces of a wav2vec 2.0-style encoder as flax.linen modules.

Module and parameter names follow Hugging Face's Flax wav2vec 2.0, so that its checkpoints load as
they are. Masks are True on valid frames. Nothing here lets an invalid frame reach a valid one:
statistics over time, the positional convolution and attention all take the mask. Norms and softmax
run in float32 whatever the compute dtype.

Reference: Baevski et al. 2020, arXiv 2006.11477; WavLM: Chen et al. 2022, arXiv 2110.13900.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from jaxemo.models.attention_products import (
    dot_product_attention,
    dropped_weights,
    plain_attention,
)
from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import StemNorm
from jaxemo.models.kernel_products import kernel_product

# PyTorch's default; in the stem the published models never set another, whatever layer_norm_eps
# says.
STEM_NORM_EPS = 1e-5


def gelu(inputs: Float[Array, "..."]) -> Float[Array, "..."]:
    """x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, PyTorch's form, in float32.

    `jax.nn.gelu` goes through erfc, which took 30 % longer on a CPU: 4 % of an encoder's time.
    """
    wide = inputs.astype(jnp.float32)
    return (0.5 * wide * (1.0 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(inputs.dtype)


ACTIVATION_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


class ChannelMoments(NamedTuple):
    """Mean and variance over time of each clip's first convolution."""

    mean: Float[Array, "B C"]
    variance: Float[Array, "B C"]


class MaskedGroupNorm(nn.Module):
    """Each channel normalised over the valid steps of its own clip.

    y = (x - mean_t x) / sqrt(var_t x + eps) * scale + bias, with mean and variance over `mask`
    alone. Over all steps, as published code does it, the padding changes every valid frame. Where
    the inputs are one window of a clip, `moments` are those of the whole clip.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T C"],
        mask: Bool[Array, "B T"],
        moments: ChannelMoments | None = None,
    ) -> Float[Array, "B T C"]:
        scale = self.param("scale", nn.initializers.ones, inputs.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, inputs.shape[-1:])
        wide = inputs.astype(jnp.float32)
        mean, variance = masked_moments(wide, mask) if moments is None else moments
        factor = jax.lax.rsqrt(variance + STEM_NORM_EPS) * scale
        return ((wide - mean[:, None]) * factor[:, None] + bias).astype(self.dtype)


def masked_moments(inputs: Float[Array, "B T C"], mask: Bool[Array, "B T"]) -> ChannelMoments:
    """Mean and variance of each channel over the steps in `mask`, in two passes."""
    valid = mask[:, :, None]
    count = jnp.maximum(mask.sum(axis=1), 1)[:, None]
    mean = jnp.sum(inputs, axis=1, where=valid) / count
    deviation = jnp.square(inputs - mean[:, None])
    return ChannelMoments(mean, jnp.sum(deviation, axis=1, where=valid) / count)


class ConvLayer(nn.Module):
    """One strided convolution of the stem, its norm where the stem has one here, its activation.

    `num_valid` counts the steps of each clip's output; `moments` are for `MaskedGroupNorm`.
    """

    config: EncoderConfig
    index: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B S I"],
        num_valid: Int[Array, " B"],
        moments: ChannelMoments | None = None,
    ) -> Float[Array, "B T C"]:
        config = self.config
        hidden = nn.Conv(
            config.conv_dim[self.index],
            kernel_size=(config.conv_kernel[self.index],),
            strides=(config.conv_stride[self.index],),
            padding=config.conv_padding,
            use_bias=config.conv_bias,
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            name="conv",
        )(inputs)
        if config.feat_extract_norm is StemNorm.LAYER:
            hidden = layer_norm(STEM_NORM_EPS, self.dtype, name="layer_norm")(hidden)
        elif config.feat_extract_norm is StemNorm.GROUP and self.index == 0:
            mask = jnp.arange(hidden.shape[1]) < num_valid[:, None]
            hidden = MaskedGroupNorm(self.dtype, name="layer_norm")(hidden, mask, moments)
        return ACTIVATION_FUNCTIONS[config.feat_extract_activation](hidden)


class FeatureProjection(nn.Module):
    """Layer norm over the stem's channels, then a dense map to the model width."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, features: Float[Array, "B T C"], *, deterministic: bool = True
    ) -> Float[Array, "B T D"]:
        config = self.config
        if config.feat_proj_layer_norm:
            features = layer_norm(config.layer_norm_eps, self.dtype, name="layer_norm")(features)
        hidden = dense(config, config.hidden_size, self.dtype, name="projection")(features)
        return nn.Dropout(config.feat_proj_dropout)(hidden, deterministic=deterministic)


class Attention(nn.Module):
    """Multi-head self-attention over the valid frames.

    out = softmax(q k^T / sqrt(head width) + bias, over valid keys) v, projected. The bias is
    WavLM's: a learnt one for each distance, gated by the layer's input; the other families have
    none.
    """

    config: EncoderConfig
    index: int
    dtype: DTypeLike = jnp.float32

    def setup(self):
        config = self.config
        make = functools.partial(dense, config, config.hidden_size, self.dtype)
        self.q_proj, self.v_proj, self.out_proj = make(), make(), make()
        self.k_proj = make(use_bias=config.key_bias)
        if config.num_buckets:
            heads = config.num_attention_heads
            self.gru_rel_pos_linear = dense(config, 8, self.dtype)
            self.gru_rel_pos_const = self.param(
                "gru_rel_pos_const", nn.initializers.ones, (1, heads, 1, 1)
            )
            if self.index == 0:
                self.rel_attn_embed = nn.Embed(config.num_buckets, heads)

    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        frame_mask: Bool[Array, "B T"],
        position_bias: Float[Array, "1 H T T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        heads = functools.partial(_split_heads, num_heads=self.config.num_attention_heads)
        query, key, value = (
            heads(project(hidden)) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = None if position_bias is None else self._gate(heads(hidden)) * position_bias
        mask = frame_mask[:, None, None, :]
        mixed = self.mix(query, key, value, bias=bias, mask=mask, deterministic=deterministic)
        return self.out_proj(mixed.reshape(hidden.shape))

    def mix(
        self,
        query: Float[Array, "B T H K"],
        key: Float[Array, "B S H K"],
        value: Float[Array, "B S H K"],
        *,
        bias: Float[Array, "B H T S"] | None,
        mask: Bool[Array, "B 1 1 S"],
        deterministic: bool,
    ) -> Float[Array, "B T H K"]:
        """Attention proper, apart from the projections so that a method may add keys and values."""
        if deterministic or self.config.attention_dropout == 0.0:
            return dot_product_attention(query, key, value, bias=bias, mask=mask)
        drop = functools.partial(
            dropped_weights, self.make_rng("dropout"), self.config.attention_dropout
        )
        return plain_attention(query, key, value, bias, mask, drop=drop)

    def position_bias(self, num_frames: int) -> Float[Array, "1 H T T"]:
        """Each head's learnt bias by the distance from query to key; layer 0 has it for all."""
        distance = jnp.arange(num_frames)[None, :] - jnp.arange(num_frames)[:, None]
        bucket = relative_position_bucket(
            distance,
            num_buckets=self.config.num_buckets,
            max_distance=self.config.max_bucket_distance,
        )
        return self.rel_attn_embed(bucket).transpose(2, 0, 1)[None]

    def _gate(self, heads: Float[Array, "B T H K"]) -> Float[Array, "B H T 1"]:
        """gate = a (b const - 1) + 2; a, b = sigmoid of sums of four projections of the input."""
        projected = self.gru_rel_pos_linear(heads).astype(jnp.float32)
        sums = projected.reshape(*projected.shape[:-1], 2, 4).sum(axis=-1)  # B T H 2
        gates = jax.nn.sigmoid(sums).transpose(3, 0, 2, 1)[..., None]  # 2 B H T 1
        return gates[0] * (gates[1] * self.gru_rel_pos_const - 1.0) + 2.0


class FeedForward(nn.Module):
    """Two dense layers with an activation and dropout between and after."""

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "B T D"], *, deterministic: bool = True
    ) -> Float[Array, "B T D"]:
        config = self.config
        wide = dense(config, config.intermediate_size, self.dtype, name="intermediate_dense")(
            hidden
        )
        wide = ACTIVATION_FUNCTIONS[config.hidden_act](wide)
        wide = nn.Dropout(config.activation_dropout)(wide, deterministic=deterministic)
        narrow = dense(config, config.hidden_size, self.dtype, name="output_dense")(wide)
        return nn.Dropout(config.hidden_dropout)(narrow, deterministic=deterministic)


class EncoderLayer(nn.Module):
    """One transformer layer; norms after the residual sums (base) or before (stable, large)."""

    config: EncoderConfig
    index: int
    dtype: DTypeLike = jnp.float32

    def setup(self):
        config = self.config
        self.attention = Attention(config, self.index, self.dtype)
        self.layer_norm = layer_norm(config.layer_norm_eps, self.dtype)
        self.feed_forward = FeedForward(config, self.dtype)
        self.final_layer_norm = layer_norm(config.layer_norm_eps, self.dtype)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def __call__(
        self,
        hidden: Float[Array, "B T D"],
        frame_mask: Bool[Array, "B T"],
        position_bias: Float[Array, "1 H T T"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        stable = self.config.do_stable_layer_norm
        attended = self.attention(
            self.layer_norm(hidden) if stable else hidden,
            frame_mask,
            position_bias,
            deterministic=deterministic,
        )
        hidden = hidden + self.dropout(attended, deterministic=deterministic)
        if stable:
            return hidden + self.feed_forward(
                self.final_layer_norm(hidden), deterministic=deterministic
            )
        hidden = self.layer_norm(hidden)
        hidden = hidden + self.feed_forward(hidden, deterministic=deterministic)
        return self.final_layer_norm(hidden)


def dense(
    config: EncoderConfig,
    features: int,
    dtype: DTypeLike,
    *,
    name: str | None = None,
    use_bias: bool = True,
) -> nn.Dense:
    """A dense layer with float32 parameters and the family's initialisation."""
    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=nn.initializers.normal(config.initializer_range),
        dtype=dtype,
        dot_general=kernel_product,
        name=name,
    )


def layer_norm(epsilon: float, dtype: DTypeLike, name: str | None = None) -> nn.LayerNorm:
    """Layer norm over channels, its variance in two passes, as E[x^2] - E[x]^2 cancels."""
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, dtype=dtype, name=name)


def relative_position_bucket(
    distance: Int[Array, "T S"], *, num_buckets: int, max_distance: int
) -> Int[Array, "T S"]:
    """T5's buckets: one per distance at first, then logarithmic up to `max_distance`, signs apart.

    The table over all distances is made in float64 on the host, so that no backend's logarithm
    moves an edge.
    """
    per_sign = num_buckets // 2
    reach = max(distance.shape)
    steps = np.arange(reach)
    exact = per_sign // 2
    far = np.log(np.maximum(steps, 1) / exact) / math.log(max_distance / exact) * (per_sign - exact)
    table = np.where(steps < exact, steps, np.minimum(exact + far.astype(np.int64), per_sign - 1))
    table = jnp.asarray(table, jnp.int32)
    return table[jnp.abs(distance)] + jnp.where(distance > 0, per_sign, 0)


def _split_heads(hidden: Float[Array, "B T D"], *, num_heads: int) -> Float[Array, "B T H K"]:
    return hidden.reshape(*hidden.shape[:2], num_heads, -1)
