"""LoRA: its trees, and its equation in plain float64 numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny_encoders import moved, tiny_encoder

from jaxemo.peft import make_method
from jaxemo.peft.method import flatten

# float32 against float64, values of order 1.
TOLERANCE = 1e-6
X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 6)), jnp.float32)


class Projection(nn.Module):
    """One dense layer, where the methods look for it."""

    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(4, name="q_proj")(inputs)


BASE = Projection().init(jax.random.key(1), X)["params"]
BASE["q_proj"]["bias"] = jnp.arange(4.0)


def forward(params):
    return Projection().apply({"params": params}, X)


def adapted(name, **options):
    """(output of the adapted layer, its trainable leaves in float64)."""
    method = make_method(name, targets="q_proj", **options)
    trainable = moved(method.init(jax.random.key(0), BASE), size=0.5)
    leaves = {path: np.asarray(leaf, float) for path, leaf in trainable["q_proj"].items()}
    return method.apply(forward, BASE, trainable), leaves


@pytest.mark.parametrize(
    ("options", "scale"), [({}, 16.0 / 3), ({"scaling": "sqrt_rank"}, 16.0 / np.sqrt(3))]
)
def test_lora_computes_its_equation(options, scale):
    output, leaves = adapted("lora", rank=3, alpha=16.0, **options)
    kernel, bias = (np.asarray(BASE["q_proj"][name], float) for name in ("kernel", "bias"))
    inputs = np.asarray(X, float)
    expected = inputs @ kernel + bias + scale * inputs @ leaves["a"] @ leaves["b"]
    np.testing.assert_allclose(output, expected, atol=1e-5)


def shapes_of(name, **options):
    trainable = make_method(name, **options).init(jax.random.key(0), tiny_encoder("wavlm").base)
    return {path: leaf.shape for path, leaf in flatten(trainable).items()}


def test_lora_trains_this_tree():
    layer = "encoder/layers/{}/attention/{}/{}"
    expected = {}
    for index in range(2):
        for kernel in ("q_proj", "v_proj"):
            expected[layer.format(index, kernel, "a")] = (8, 4)
            expected[layer.format(index, kernel, "b")] = (4, 8)
    assert shapes_of("lora", rank=4) == expected


def test_ranks_by_layer_leave_layers_out_and_reach_the_feed_forward_kernels():
    found = shapes_of("lora", targets=("k", "o", "ff_in", "ff_out"), layer_ranks=[0, 5])
    expected = {}
    for kernel, inputs, outputs in (
        ("attention/k_proj", 8, 8),
        ("attention/out_proj", 8, 8),
        ("feed_forward/intermediate_dense", 8, 12),
        ("feed_forward/output_dense", 12, 8),
    ):
        expected[f"encoder/layers/1/{kernel}/a"] = (inputs, 5)
        expected[f"encoder/layers/1/{kernel}/b"] = (5, outputs)
    assert found == expected


def test_a_layers_own_rank_divides_its_own_alpha():
    base = tiny_encoder("post_norm").base
    options = {"alpha": 12.0, "layer_ranks": (2, 6), "targets": ("v",)}
    method = make_method("lora", **options)
    trainable = moved(method.init(jax.random.key(0), base))
    before, after = flatten(base), flatten(method.merge(base, trainable))
    for index, scale in enumerate((6.0, 2.0)):
        path = f"encoder/layers/{index}/attention/v_proj"
        factors = flatten(trainable)
        update = scale * np.asarray(factors[f"{path}/a"] @ factors[f"{path}/b"])
        np.testing.assert_allclose(
            after[f"{path}/kernel"] - before[f"{path}/kernel"], update, atol=TOLERANCE
        )


def test_dropout_acts_on_the_updates_input_alone_and_only_with_a_key():
    method = make_method("lora", targets="q_proj", rank=6, alpha=6.0, dropout=0.5)
    trainable = {"q_proj": {"a": jnp.eye(6), "b": jnp.ones((6, 4))}}
    update = method.apply(forward, BASE, trainable) - forward(BASE)
    np.testing.assert_allclose(update, np.tile(X.sum(1)[:, None], 4), atol=1e-5)
    key = jax.random.key(3)
    update = method.apply(forward, BASE, trainable, dropout_key=key) - forward(BASE)
    # Each row must be what some of its six inputs, doubled, add up to.
    subsets = np.array([[number >> bit & 1 for bit in range(6)] for number in range(64)])
    distance = np.abs(2 * X @ subsets.T - update[:, :1]).min(axis=1)
    np.testing.assert_allclose(distance, 0, atol=1e-5)
    np.testing.assert_allclose(update, np.tile(update[:, :1], 4), atol=1e-5)


def test_every_layer_and_key_drops_other_inputs():
    base = tiny_encoder("post_norm")
    method = make_method("lora", dropout=0.5)
    trainable = moved(method.init(jax.random.key(0), base.base))
    run = jax.jit(lambda key: method.apply(base.forward, base.base, trainable, dropout_key=key))
    first, again, other = (run(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
