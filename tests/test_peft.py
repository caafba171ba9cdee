"""One contract for all adaptation methods, over kinds of encoders and conditions of training."""

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_encoders import CONFIGS, FAST_COMPILATION, moved, tiny_encoder

from jaxemo.models.encoder import Remat
from jaxemo.peft import METHODS, make_method
from jaxemo.peft.method import Method, flatten

# Merged and adapted forward passes differ by rounding alone.
MERGE_TOLERANCE = 1e-5
# bfloat16 has 8 bits: a share of the largest activation, through two layers.
BFLOAT16_TOLERANCE = 0.05
TRAINED = [name for name in METHODS if name != "weighted_sum"]
# What merging may change, as a pattern over paths of the base; None where the algebra forbids it.
MERGED = {
    "full": r"(feature_projection|encoder)/.*",
    "top_layers": r"encoder/layers/1/.*",
    "bitfit": r"(feature_projection|encoder)/.*/bias",
    "weighted_sum": "nothing",
    "lora": r"encoder/layers/\d/attention/(q_proj|v_proj)/kernel",
    "dora": r"encoder/layers/\d/attention/(q_proj|v_proj)/kernel",
    "ia3": r"encoder/layers/\d/(attention/[kv]_proj/(kernel|bias)|feed_forward/output_dense/kernel)",
    "adapter": None,
    "pfeiffer_adapter": None,
    "parallel_adapter": None,
    "prefix_tuning": None,
    "combined": None,
}
OPTIONS = {"top_layers": {"layers": 1}}


class Case(NamedTuple):
    """A method on an encoder: its trees, and its compiled forward and backward passes."""

    method: Method
    base: Any
    start: Any
    moved: Any
    run: Any
    forward: Any


@functools.cache
def plain(kind, **options):
    return jax.jit(tiny_encoder(kind, **options).forward, compiler_options=FAST_COMPILATION)


@functools.cache
def case_of(name, kind="post_norm", **options):
    encoder = tiny_encoder(kind, **options)
    method = make_method(name, **OPTIONS.get(name, {}))

    def total(trainable, base):
        hidden = method.apply(encoder.forward, base, trainable)
        weights = jnp.sin(jnp.arange(hidden.size)).reshape(hidden.shape)
        return jnp.sum(hidden * weights), hidden

    run = jax.jit(jax.grad(total, has_aux=True), compiler_options=FAST_COMPILATION)
    start = method.init(jax.random.key(0), encoder.base)
    forward = plain(kind, **options)
    return Case(method, encoder.base, start, moved(start), run, forward)


CHOSEN_KINDS = {"wavlm": ("prefix_tuning",), "whisper": ("ia3",)}
# All methods on one kind, and those that meet what a kind has of its own; the rest when asked.
CASES = [
    pytest.param(
        name,
        kind,
        marks=[]
        if kind == "post_norm" or name in CHOSEN_KINDS.get(kind, ())
        else [pytest.mark.slow],
    )
    for kind in CONFIGS
    for name in METHODS
]
over_kinds = pytest.mark.parametrize(("name", "kind"), CASES)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_the_identity_at_birth(name):
    """Bit for bit, operation by operation."""
    encoder, case = tiny_encoder("post_norm"), case_of(name)
    born = case.method.apply(encoder.forward, case.base, case.start)
    np.testing.assert_array_equal(born, eager_states())


@functools.cache
def eager_states():
    encoder = tiny_encoder("post_norm")
    return encoder.forward(encoder.base)


@over_kinds
def test_compiled_methods_are_the_identity_at_birth(name, kind):
    case = case_of(name, kind)
    _, hidden = case.run(case.start, case.base)
    np.testing.assert_allclose(hidden, case.forward(case.base), atol=1e-6)


def dead(gradients):
    """Paths of leaves whose gradient is zero everywhere, in all of the trees."""
    flat = [flatten(gradient) for gradient in gradients]
    # A shift of all keys leaves the softmax alone, so the key bias has no gradient.
    return [
        path
        for path in flat[0]
        if "k_proj/bias" not in path and not any(np.abs(tree[path]).max() > 0 for tree in flat)
    ]


@over_kinds
def test_every_trainable_leaf_moves_the_output(name, kind):
    case = case_of(name, kind)
    gradient, _ = case.run(case.moved, case.base)
    assert dead([gradient]) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_gradient_reaches_every_leaf_within_two_steps_from_birth(name):
    """What starts at zero hides what it is multiplied with for one step, no longer."""
    case = case_of(name)
    first, _ = case.run(case.start, case.base)
    stepped = jax.tree.map(lambda leaf, slope: leaf - 0.1 * jnp.sign(slope), case.start, first)
    second, _ = case.run(stepped, case.base)
    assert dead([first, second]) == []


@over_kinds
def test_merging_folds_the_adaptation_into_the_base(name, kind):
    case = case_of(name, kind)
    if case.method.merge is None:
        assert MERGED[name] is None
        return
    _, adapted = case.run(case.moved, case.base)
    merged = case.method.merge(case.base, case.moved)
    np.testing.assert_allclose(case.forward(merged), adapted, atol=MERGE_TOLERANCE)


@pytest.mark.parametrize("name", [name for name in METHODS if MERGED[name]])
def test_merging_leaves_every_other_parameter_bit_equal(name):
    case = case_of(name)
    base = flatten(case.base)
    merged = flatten(case.method.merge(case.base, case.moved))
    assert merged.keys() == base.keys()
    changed = [path for path in base if not np.array_equal(base[path], merged[path])]
    assert [path for path in changed if not re.fullmatch(MERGED[name], path)] == []
    assert bool(changed) == (name != "weighted_sum")


@pytest.mark.parametrize("name", METHODS)
def test_methods_work_under_jit_and_give_the_same(name):
    encoder, case = tiny_encoder("post_norm"), case_of(name)
    _, compiled = case.run(case.moved, case.base)
    eager = case.method.apply(encoder.forward, case.base, case.moved)
    np.testing.assert_allclose(compiled, eager, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("remat", [Remat.LAYERS, Remat.ALL_BUT_MATMULS])
@pytest.mark.parametrize("name", TRAINED)
def test_recomputing_layers_changes_nothing(name, remat):
    case, other = case_of(name), case_of(name, remat=remat)
    expected, found = (one.run(one.moved, one.base) for one in (case, other))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), found, expected
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_methods_compute_in_the_encoders_dtype(name):
    case, narrow = case_of(name), case_of(name, dtype=jnp.bfloat16)
    gradient, hidden = narrow.run(narrow.moved, narrow.base)
    _, expected = case.run(case.moved, case.base)
    assert hidden.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} <= {jnp.dtype("float32")}
    off = np.abs(hidden.astype(jnp.float32) - expected).max()
    assert off < BFLOAT16_TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("name", TRAINED)
def test_methods_that_train_the_encoder_freeze_its_stem_alone(name):
    assert make_method(name).frozen_layers == 0


@pytest.mark.parametrize("name", METHODS)
def test_no_method_trains_the_stem(name):
    assert [path for path in flatten(case_of(name).start) if "feature_extractor" in path] == []


def test_a_frozen_encoder_is_wholly_frozen():
    method = make_method("weighted_sum")
    assert method.frozen_layers is None
    assert method.init(jax.random.key(0), tiny_encoder("post_norm").base) == {}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("lora", {"targets": "decoder/.*"}, "matches no dense kernel"),
        ("adapter", {"targets": "decoder/.*"}, "matches no block"),
        ("lora", {"layer_ranks": (4, 4, 4)}, "3 layer_ranks; this encoder has 2 layers"),
        ("lora", {"layer_ranks": (0, 0)}, "layer_ranks of 0 only"),
        ("top_layers", {"layers": 3}, "to train 3 layers; this encoder has 2"),
    ],
)
def test_options_that_do_not_fit_the_encoder_are_refused_by_shapes_alone(name, options, words):
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(
            make_method(name, **options).init, jax.random.key(0), tiny_encoder("post_norm").base
        )


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("prompt_tuning", {}, "Unknown method 'prompt_tuning'"),
        ("lora", {"rnak": 4}, "rnak"),
        ("lora", {"rank": 0}, "at least 1"),
        ("lora", {"layer_ranks": (4, -1)}, "per layer 0 or more"),
        ("lora", {"scaling": "cube_rank"}, "expected rank or sqrt_rank"),
        ("lora", {"dropout": 1.0}, "less than 1"),
        ("lora", {"targets": ("q", "w")}, r"expected of q, k, v, o, ff_in, ff_out, not \['w'\]"),
        ("lora", {"targets": ()}, "expected of q, k"),
        ("lora", {"targets": "q_(proj"}, "is no pattern"),
        ("adapter", {"bottleneck": 0}, "at least 1"),
        ("top_layers", {"layers": 0}, "at least 1 layer"),
        ("prefix_tuning", {"gate": "ajar"}, "gate 'ajar'; expected 1 or more, and zero or none"),
        ("combined", {"parts": ("lora", "full")}, r"options of \['full'\]; expected two or more"),
        ("combined", {"parts": ("lora", "lora")}, "each once"),
        ("combined", {"parts": ("lora",)}, "two or more"),
        ("combined", {"parts": ("lora", "dora")}, "two updates of the same kernels"),
        ("combined", {"options": {"lora": {"rnak": 4}}}, "rnak"),
        ("full", {"layer_decay": 0.0}, "layer_decay 0.0"),
        ("full", {"unfreeze_steps": -1}, "unfreeze_steps -1"),
        ("full", {"frozen_layers": 3}, "frozen_layers"),
    ],
)
def test_unknown_methods_and_options_are_refused_by_name(name, options, words):
    with pytest.raises(ValueError, match=words):
        make_method(name, **options)
