"""One contract for all adaptation methods, then what is particular to each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.peft import METHODS, make_method
from jaxemo.peft.method import flatten

# Merged and adapted forward passes differ by rounding alone.
MERGE_TOLERANCE = 1e-5


@pytest.fixture
def forward(small_encoder, stem_batch):
    module, _ = small_encoder

    def run(params):
        hidden_states = module.apply({"params": params}, *stem_batch, method="contextualise")
        # Invalid frames mean nothing, and may amplify rounding.
        return hidden_states * stem_batch.frame_mask[None, :, :, None]

    return run


def moved(trainable):
    """The trainable tree away from its initial value."""
    keys = iter(jax.random.split(jax.random.key(7), len(jax.tree.leaves(trainable)) + 1))
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), trainable
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_the_identity_at_birth(name, small_encoder, forward):
    _, base = small_encoder
    method = make_method(name)
    trainable = method.init(jax.random.key(0), base)
    np.testing.assert_array_equal(method.apply(forward, base, trainable), forward(base))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "weighted_sum"])
def test_every_trainable_leaf_moves_the_output(name, small_encoder, forward):
    _, base = small_encoder
    method = make_method(name)
    start = moved(method.init(jax.random.key(0), base))

    def total(trainable):
        hidden = method.apply(forward, base, trainable)
        weights = jnp.sin(jnp.arange(hidden.size)).reshape(hidden.shape)
        return jnp.sum(hidden * weights)

    gradient = flatten(jax.grad(total)(start))
    # A shift of all keys leaves the softmax alone, so the key bias has no gradient.
    dead = [p for p, g in gradient.items() if "k_proj/bias" not in p and not np.abs(g).max() > 0]
    assert dead == []


@pytest.mark.parametrize("name", METHODS)
def test_merging_folds_the_adaptation_into_the_base(name, small_encoder, forward):
    _, base = small_encoder
    method = make_method(name)
    trainable = moved(method.init(jax.random.key(0), base))
    if method.merge is None:
        assert name == "adapter"
        return
    adapted = method.apply(forward, base, trainable)
    np.testing.assert_allclose(
        forward(method.merge(base, trainable)), adapted, atol=MERGE_TOLERANCE
    )


@pytest.mark.parametrize("name", METHODS)
def test_methods_work_under_jit_and_give_the_same(name, small_encoder, forward):
    _, base = small_encoder
    method = make_method(name)
    trainable = moved(method.init(jax.random.key(0), base))
    jitted = jax.jit(lambda b, t: method.apply(forward, b, t))(base, trainable)
    np.testing.assert_allclose(jitted, method.apply(forward, base, trainable), atol=1e-5)


def test_lora_trains_this_tree(small_encoder):
    _, base = small_encoder
    trainable = make_method("lora", rank=3).init(jax.random.key(0), base)
    one_layer = {"attention": {n: {"a": (16, 3), "b": (3, 16)} for n in ("q_proj", "v_proj")}}
    expected = {"encoder": {"layers": {"0": one_layer, "1": one_layer}}}
    assert jax.tree.map(jnp.shape, trainable) == expected


def test_adapters_train_this_tree(small_encoder):
    _, base = small_encoder
    trainable = make_method("adapter", bottleneck=5).init(jax.random.key(0), base)
    block = {
        "down": {"kernel": (16, 5), "bias": (5,)},
        "up": {"kernel": (5, 16), "bias": (16,)},
    }
    one_layer = {"attention": block, "feed_forward": block}
    expected = {"encoder": {"layers": {"0": one_layer, "1": one_layer}}}
    assert jax.tree.map(jnp.shape, trainable) == expected


def test_full_fine_tuning_leaves_the_stem_out(small_encoder):
    _, base = small_encoder
    paths = flatten(make_method("full").init(jax.random.key(0), base))
    left_out = sorted(set(flatten(base)) - set(paths))
    assert all(p.startswith("feature_extractor/") or p == "masked_spec_embed" for p in left_out)
    assert "masked_spec_embed" in left_out and len(left_out) > 7


@pytest.mark.parametrize("name", [name for name in METHODS if name != "weighted_sum"])
def test_methods_that_train_the_encoder_freeze_its_stem_alone(name):
    assert make_method(name).frozen_layers == 0


def test_a_frozen_encoder_is_wholly_frozen(small_encoder):
    _, base = small_encoder
    method = make_method("weighted_sum")
    assert method.frozen_layers is None
    assert method.init(jax.random.key(0), base) == {}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lora", {"targets": "decoder/.*"}, "matches no dense kernel"),
        ("adapter", {"targets": "decoder/.*"}, "matches no block"),
    ],
)
def test_a_target_that_matches_nothing_is_refused(name, options, words, small_encoder):
    _, base = small_encoder
    with pytest.raises(ValueError, match=words):
        make_method(name, **options).init(jax.random.key(0), base)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("prefix_tuning", {}, "Unknown method 'prefix_tuning'"),
        ("lora", {"rnak": 4}, "rnak"),
        ("lora", {"rank": 0}, "at least 1"),
        ("adapter", {"bottleneck": 0}, "at least 1"),
        ("full", {"frozen_layers": 3}, "frozen_layers"),
    ],
)
def test_unknown_methods_and_options_are_refused_by_name(name, options, words):
    with pytest.raises(ValueError, match=words):
        make_method(name, **options)
