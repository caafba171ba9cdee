"""What is particular to each method above the stem: trees, placements, combinations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_encoders import compiled, moved, tiny_encoder

from jaxemo.peft import make_method
from jaxemo.peft.method import flatten, intercepted

FEED_FORWARD = "encoder/layers/0/feed_forward"


def shapes_of(name, kind="post_norm", **options):
    trainable = make_method(name, **options).init(jax.random.key(0), tiny_encoder(kind).base)
    return {path: leaf.shape for path, leaf in flatten(trainable).items()}


def block_shapes(*blocks):
    return {
        f"encoder/layers/{index}/{block}/{leaf}": shape
        for index in range(2)
        for block in blocks
        for leaf, shape in (
            ("down/kernel", (8, 5)),
            ("down/bias", (5,)),
            ("up/kernel", (5, 8)),
            ("up/bias", (8,)),
        )
    }


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("adapter", ("attention", "feed_forward")),
        ("pfeiffer_adapter", ("feed_forward",)),
        ("parallel_adapter", ("feed_forward",)),
    ],
)
def test_adapters_train_this_tree(name, blocks):
    assert shapes_of(name, bottleneck=5) == block_shapes(*blocks)


def block_call(name, **options):
    """(input, own output, adapted output, adapter's leaves) of the first feed-forward block."""
    encoder, method = tiny_encoder("post_norm"), make_method(name, **options)
    trainable = moved(method.init(jax.random.key(0), encoder.base))
    seen = []

    def watch(call):
        seen.append((call.arguments[0], call.output()))
        return seen[-1][1]

    def run():
        with intercepted([FEED_FORWARD], watch):
            method.apply(encoder.forward, encoder.base, trainable)
        return seen.pop()

    inputs, adapted = compiled(run)
    block = encoder.base["encoder"]["layers"]["0"]["feed_forward"]
    wide = dense(inputs, block["intermediate_dense"])
    own = dense(jax.nn.gelu(wide, approximate=False), block["output_dense"])
    leaves = trainable["encoder"]["layers"]["0"]["feed_forward"]
    return inputs, own, adapted, leaves


def dense(x, leaves):
    kernel, bias = (np.asarray(leaves[name], float) for name in ("kernel", "bias"))
    return np.asarray(x, float) @ kernel + bias


def bottleneck(x, leaves):
    return dense(np.maximum(dense(x, leaves["down"]), 0), leaves["up"])


@pytest.mark.parametrize("name", ["adapter", "pfeiffer_adapter"])
def test_sequential_adapters_read_the_blocks_output(name):
    _, own, adapted, leaves = block_call(name)
    np.testing.assert_allclose(adapted, own + bottleneck(own, leaves), atol=1e-5)


def test_parallel_adapters_read_the_blocks_input_and_are_scaled():
    inputs, own, adapted, leaves = block_call("parallel_adapter", scale=2.5)
    np.testing.assert_allclose(adapted, own + 2.5 * bottleneck(inputs, leaves), atol=1e-5)


def test_full_fine_tuning_leaves_the_stem_out():
    left_out = sorted(set(flatten(tiny_encoder("post_norm").base)) - set(shapes_of("full")))
    assert all(p.startswith("feature_extractor/") or p == "masked_spec_embed" for p in left_out)
    assert "masked_spec_embed" in left_out and len(left_out) > 7


def test_whispers_fixed_positions_are_not_trained():
    left_out = set(flatten(tiny_encoder("whisper").base)) - set(shapes_of("full", "whisper"))
    assert "encoder/embed_positions/embedding" in left_out


@pytest.mark.parametrize("kind", ["post_norm", "wavlm"])
def test_top_layers_are_the_whole_of_the_uppermost_ones(kind):
    base = flatten(tiny_encoder(kind).base)
    expected = {path: leaf.shape for path, leaf in base.items() if "encoder/layers/1/" in path}
    assert shapes_of("top_layers", kind, layers=1) == expected
    assert len(expected) > 14


def test_bitfit_trains_every_bias_above_the_stem_but_those_of_keys():
    layer = {
        "attention/q_proj/bias": (8,),
        "attention/v_proj/bias": (8,),
        "attention/out_proj/bias": (8,),
        "layer_norm/bias": (8,),
        "feed_forward/intermediate_dense/bias": (12,),
        "feed_forward/output_dense/bias": (8,),
        "final_layer_norm/bias": (8,),
    }
    expected = {
        "feature_projection/layer_norm/bias": (6,),
        "feature_projection/projection/bias": (8,),
        "encoder/pos_conv_embed/conv/bias": (8,),
        "encoder/layer_norm/bias": (8,),
    }
    for index in range(2):
        expected |= {f"encoder/layers/{index}/{path}": shape for path, shape in layer.items()}
    assert shapes_of("bitfit") == expected


def test_the_parts_of_a_combination_have_trees_of_their_own():
    options = {"lora": {"rank": 2}, "ia3": {"targets": ("k",)}}
    found = shapes_of("combined", parts=("ia3", "lora"), options=options)
    parts = {name: shapes_of(name, **values) for name, values in options.items()}
    assert found == {
        f"{name}/{path}": shape for name, part in parts.items() for path, shape in part.items()
    }


def combination(*parts):
    encoder, method = tiny_encoder("post_norm"), make_method("combined", parts=parts)
    return encoder, method, moved(method.init(jax.random.key(0), encoder.base))


@pytest.mark.parametrize(
    "parts", [("ia3", "lora", "bitfit"), ("dora", "ia3")], ids=["lora", "dora"]
)
def test_combinations_of_parts_that_merge_merge_in_any_order_of_naming(parts):
    encoder, method, trainable = combination(*parts)
    turned = make_method("combined", parts=parts[::-1])

    def run():
        merged = encoder.forward(method.merge(encoder.base, trainable))
        every = (one.apply(encoder.forward, encoder.base, trainable) for one in (method, turned))
        return merged, *every

    merged, adapted, again = compiled(run)
    np.testing.assert_allclose(merged, adapted, atol=1e-5)
    np.testing.assert_allclose(again, adapted, atol=1e-6)


def test_a_combination_with_an_adapter_is_not_merged():
    assert combination("lora", "adapter")[1].merge is None


def test_each_part_of_a_combination_acts_as_it_does_alone():
    encoder, method, trainable = combination("lora", "parallel_adapter")
    born = method.init(jax.random.key(0), encoder.base)

    def run(name):
        alone = make_method(name).apply(encoder.forward, encoder.base, trainable[name])
        among = method.apply(encoder.forward, encoder.base, born | {name: trainable[name]})
        return alone, among, encoder.forward(encoder.base)

    for name in ("lora", "parallel_adapter"):
        alone, among, base = compiled(functools.partial(run, name))
        np.testing.assert_allclose(among, alone, atol=1e-6)
        assert np.abs(alone - base).max() > 1e-3


def test_dropout_reaches_the_parts_of_a_combination():
    encoder = tiny_encoder("post_norm")
    method = make_method("combined", options={"lora": {"dropout": 0.5}})
    trainable = moved(method.init(jax.random.key(0), encoder.base))

    def run():
        keys = (None, jax.random.key(0))
        return [
            method.apply(encoder.forward, encoder.base, trainable, dropout_key=key) for key in keys
        ]

    whole, thinned = compiled(run)
    assert np.abs(whole - thinned).max() > 1e-3
    assert jnp.isfinite(thinned).all()
