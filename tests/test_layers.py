"""The encoder's pieces against direct formulas in numpy."""

import math
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxemo.models import layers, positional
from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import StemNorm

GOLDENS = Path(__file__).parent / "goldens"

# Sums of some hundred products of order 1 in float32, through a Fourier transform or not.
CONVOLUTION_TOLERANCE = 1e-5


def direct_convolution(inputs, kernel):
    """y[t, o] = sum_k,i kernel[o, i, k] x[t + k - K // 2, i], in float64."""
    batch, frames, width = inputs.shape
    _, group_width, taps = kernel.shape
    padded = np.zeros((batch, frames + taps, width))
    padded[:, taps // 2 : taps // 2 + frames] = inputs
    result = np.zeros(inputs.shape)
    for output in range(width):
        first = output // group_width * group_width
        for tap in range(taps):
            group = padded[:, tap : tap + frames, first : first + group_width]
            result[:, :, output] += group @ kernel[output, :, tap].astype(np.float64)
    return result


@pytest.mark.parametrize("form", [positional._fourier_convolution, positional._direct_convolution])
@pytest.mark.parametrize(
    "frames, taps", [(1, 128), (2, 128), (63, 128), (150, 128), (7, 19), (40, 5)]
)
def test_both_forms_of_the_grouped_convolution_equal_the_sum(form, frames, taps):
    rng = np.random.default_rng(frames)
    inputs = rng.standard_normal((2, frames, 12)).astype(np.float32)
    kernel = (rng.standard_normal((12, 3, taps)) / math.sqrt(3 * taps)).astype(np.float32)
    result = form(jnp.asarray(inputs), jnp.asarray(kernel))
    expected = direct_convolution(inputs, kernel)
    np.testing.assert_allclose(result, expected, atol=CONVOLUTION_TOLERANCE, rtol=0)


def test_gradients_of_both_forms_of_the_grouped_convolution_agree():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.standard_normal((2, 30, 8)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((8, 2, 16)) / 6, jnp.float32)

    def gradients(form):
        return jax.grad(lambda x, w: jnp.sum(jnp.sin(form(x, w))), argnums=(0, 1))(inputs, kernel)

    for fourier, direct in zip(
        gradients(positional._fourier_convolution),
        gradients(positional._direct_convolution),
        strict=True,
    ):
        np.testing.assert_allclose(fourier, direct, atol=2e-5, rtol=0)


def test_masked_group_norm_is_the_plain_norm_of_the_clip_alone():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2, 50, 6)).astype(np.float32) * 3 + 1
    mask = np.arange(50) < np.array([[50], [20]])
    norm = layers.MaskedGroupNorm()
    params = norm.init(jax.random.key(0), jnp.asarray(inputs), jnp.asarray(mask))
    result = norm.apply(params, jnp.asarray(inputs), jnp.asarray(mask))
    for row, length in enumerate((50, 20)):
        clip = inputs[row, :length].astype(np.float64)
        expected = (clip - clip.mean(0)) / np.sqrt(clip.var(0) + 1e-5)
        np.testing.assert_allclose(result[row, :length], expected, atol=1e-5, rtol=0)


def test_gelu_is_the_exact_one():
    x = np.linspace(-5, 5, 101, dtype=np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    result = layers.ACTIVATION_FUNCTIONS["gelu"](jnp.asarray(x))
    np.testing.assert_allclose(result, exact, atol=1e-6, rtol=0)


def test_weight_norm_gives_each_tap_the_norm_of_its_gain():
    config = EncoderConfig(hidden_size=8, num_attention_heads=2, pos_conv_groups=4, pos_conv_taps=6)
    module = positional.WeightNormConv(config)
    impulse = jnp.zeros((1, 13, 8)).at[0, 6, 0].set(1.0)
    params = module.init(jax.random.key(0), impulse)["params"]
    gain = jnp.arange(1.0, 7.0).reshape(1, 1, 6)
    response = module.apply({"params": params | {"weight_g": gain}}, impulse)
    direction = params["weight_v"] / jnp.linalg.norm(params["weight_v"], axis=(0, 1))
    # The impulse at frame 6 meets tap k in frame 6 + 3 - k.
    for tap in range(6):
        expected = (direction * gain)[:2, 0, tap]
        np.testing.assert_allclose(response[0, 9 - tap, :2], expected, atol=1e-6, rtol=0)


def test_relative_position_buckets_equal_the_reference_exactly():
    reference = load_file(GOLDENS / "wavlm_buckets.safetensors")
    bucket = layers.relative_position_bucket(
        jnp.asarray(reference["relative_position"])[None].astype(jnp.int32),
        num_buckets=320,
        max_distance=800,
    )
    np.testing.assert_array_equal(bucket[0], reference["bucket"])


def test_stem_norm_follows_the_configuration():
    def norms(kind):
        layer = layers.ConvLayer(EncoderConfig(feat_extract_norm=kind), 1)
        inputs = jnp.zeros((1, 30, 512))
        return "layer_norm" in layer.init(jax.random.key(0), inputs, jnp.array([14]))["params"]

    assert norms(StemNorm.LAYER)
    assert not norms(StemNorm.GROUP)


def test_attention_with_vanishing_dropout_equals_attention_without():
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.standard_normal((2, 9, 8)), jnp.float32)
    mask = jnp.arange(9) < jnp.array([[9], [4]])
    config = EncoderConfig(
        hidden_size=8, num_attention_heads=2, pos_conv_groups=2, attention_dropout=1e-9
    )
    module = layers.Attention(config, 0)
    params = module.init(jax.random.key(0), hidden, mask)
    plain = module.apply(params, hidden, mask)
    dropped = module.apply(
        params, hidden, mask, deterministic=False, rngs={"dropout": jax.random.key(1)}
    )
    np.testing.assert_allclose(plain, dropped, atol=1e-6, rtol=0)


def test_attention_never_reads_an_invalid_frame():
    rng = np.random.default_rng(0)
    hidden = jnp.asarray(rng.standard_normal((1, 9, 8)), jnp.float32)
    mask = jnp.arange(9)[None] < 4
    config = EncoderConfig(
        model_type="wavlm",
        hidden_size=8,
        num_attention_heads=2,
        pos_conv_groups=2,
        num_buckets=8,
        max_bucket_distance=16,
    )
    module = layers.Attention(config, 0)
    bias = jnp.asarray(rng.standard_normal((1, 2, 9, 9)), jnp.float32)
    params = module.init(jax.random.key(0), hidden, mask, bias)
    changed = hidden.at[:, 4:].add(100.0)
    same = [module.apply(params, x, mask, bias)[:, :4] for x in (hidden, changed)]
    np.testing.assert_array_equal(same[0], same[1])


def test_dense_layers_are_flax_dense_so_that_adaptation_can_intercept_them():
    assert isinstance(layers.dense(EncoderConfig(), 4, jnp.float32), nn.Dense)
