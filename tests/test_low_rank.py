"""LoRA, DoRA and (IA)^3: their trees, and their equations in plain float64 numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny_encoders import FAST_COMPILATION, moved, tiny_encoder

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


def norms(kernel):
    return np.linalg.norm(kernel, axis=0)


def test_dora_computes_its_equation():
    output, leaves = adapted("dora", rank=3, alpha=6.0)
    kernel, bias = (np.asarray(BASE["q_proj"][name], float) for name in ("kernel", "bias"))
    turned = kernel + 2.0 * leaves["a"] @ leaves["b"]
    expected = np.asarray(X, float) @ (leaves["magnitude"] * turned / norms(turned)) + bias
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_doras_magnitudes_are_born_as_the_norms_of_the_kernels_columns():
    born = make_method("dora", targets="q_proj").init(jax.random.key(0), BASE)["q_proj"]
    expected = norms(np.asarray(BASE["q_proj"]["kernel"], float))
    np.testing.assert_allclose(born["magnitude"], expected, rtol=1e-6)


def test_doras_norm_is_a_constant_to_the_gradient():
    """d loss / d B of sum(c y), with m / norm held fixed."""
    method = make_method("dora", targets="q_proj", rank=3, alpha=6.0)
    trainable = moved(method.init(jax.random.key(0), BASE), size=0.5)
    cotangent = np.arange(20.0).reshape(5, 4) / 10
    gradient = jax.grad(lambda tree: jnp.sum(cotangent * method.apply(forward, BASE, tree)))(
        trainable
    )["q_proj"]
    leaves = {path: np.asarray(leaf, float) for path, leaf in trainable["q_proj"].items()}
    kernel, inputs = np.asarray(BASE["q_proj"]["kernel"], float), np.asarray(X, float)
    turned = kernel + 2.0 * leaves["a"] @ leaves["b"]
    gain = leaves["magnitude"] / norms(turned)
    expected = 2.0 * (inputs @ leaves["a"]).T @ (gain * cotangent)
    np.testing.assert_allclose(gradient["b"], expected, atol=1e-4)
    slope = (cotangent * (inputs @ turned)).sum(axis=0) / norms(turned)
    np.testing.assert_allclose(gradient["magnitude"], slope, atol=1e-4)


def test_a_column_of_zeros_stays_finite_under_dora():
    kernel = BASE["q_proj"]["kernel"].at[:, 1].set(0)
    base = {"q_proj": BASE["q_proj"] | {"kernel": kernel}}
    method = make_method("dora", targets="q_proj")
    trainable = method.init(jax.random.key(0), base)
    gradient = jax.grad(lambda tree: jnp.sum(method.apply(forward, base, tree)))(trainable)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_doras_dropout_turns_the_kernel_of_dropped_inputs():
    """With x W + b from whole inputs; a gain of one leaves only LoRA's own dropped update."""
    method = make_method("dora", targets="q_proj", rank=3, dropout=0.5)
    trainable = method.init(jax.random.key(0), BASE)
    trainable["q_proj"]["magnitude"] *= 2  # B is zero: y - (x W + b) = dropout(x) W.
    key = jax.random.key(5)
    change = method.apply(forward, BASE, trainable, dropout_key=key) - forward(BASE)
    kernel = np.asarray(BASE["q_proj"]["kernel"], float)
    subsets = np.array([[number >> bit & 1 for bit in range(6)] for number in range(64)])
    options = 2 * (np.asarray(X)[:, None] * subsets) @ kernel
    distance = np.abs(options - change[:, None]).max(axis=2).min(axis=1)
    np.testing.assert_allclose(distance, 0, atol=1e-5)


class Blocks(nn.Module):
    """A projection of attention and a dense layer of a feed-forward block."""

    def setup(self):
        self.attention, self.feed_forward = nn.Dense(4), nn.Dense(3)

    def __call__(self, inputs):
        return self.attention(inputs), self.feed_forward(inputs)


def test_ia3_scales_outputs_of_attention_and_inputs_of_feed_forward_layers():
    module = Blocks()
    base = module.init(jax.random.key(0), X)["params"]
    base["attention"]["bias"] = jnp.arange(4.0)
    base["feed_forward"]["bias"] = jnp.arange(3.0)
    method = make_method("ia3", targets="attention|feed_forward/?.*")
    trainable = moved(method.init(jax.random.key(0), base))
    scale = {name: np.asarray(tree["scale"], float) for name, tree in trainable.items()}
    assert (scale["attention"].shape, scale["feed_forward"].shape) == ((4,), (6,))
    found = method.apply(lambda params: module.apply({"params": params}, X), base, trainable)
    kernel, bias = (
        {k: np.asarray(v[n], float) for k, v in base.items()} for n in ("kernel", "bias")
    )
    inputs = np.asarray(X, float)
    outputs = (inputs @ kernel["attention"] + bias["attention"]) * scale["attention"]
    scaled = (inputs * scale["feed_forward"]) @ kernel["feed_forward"] + bias["feed_forward"]
    np.testing.assert_allclose(found[0], outputs, atol=1e-5)
    np.testing.assert_allclose(found[1], scaled, atol=1e-5)


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


def test_dora_trains_a_magnitude_for_each_output_beside_loras_factors():
    assert shapes_of("dora", rank=4, targets=("ff_in",)) == {
        f"encoder/layers/{index}/feed_forward/intermediate_dense/{leaf}": shape
        for index in range(2)
        for leaf, shape in (("a", (8, 4)), ("b", (4, 12)), ("magnitude", (12,)))
    }


def test_ia3_trains_this_tree():
    assert shapes_of("ia3") == {
        f"encoder/layers/{index}/{path}/scale": (width,)
        for index in range(2)
        for path, width in (
            ("attention/k_proj", 8),
            ("attention/v_proj", 8),
            ("feed_forward/output_dense", 12),
        )
    }


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
    run = jax.jit(
        lambda key: method.apply(base.forward, base.base, trainable, dropout_key=key),
        compiler_options=FAST_COMPILATION,
    )
    first, again, other = (run(jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
