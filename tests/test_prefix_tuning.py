"""Prefix tuning against its equations in plain float64 numbers, on queries, keys and biases of encoders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny_encoders import NUM_FRAMES, compiled, moved, tiny_encoder

from jaxemo.models.config import EncoderConfig
from jaxemo.models.layers import Attention
from jaxemo.peft import make_method
from jaxemo.peft.method import flatten, intercepted

LENGTH = 3


class First(nn.Module):
    """The attention of an encoder's first layer."""

    config: EncoderConfig

    def setup(self):
        self.attention = Attention(self.config, 0)

    def __call__(self, hidden, frame_mask):
        bias = None
        if self.config.num_buckets:
            bias = self.attention.position_bias(hidden.shape[1])
        return self.attention(hidden, frame_mask, bias)


def first_attention(kind, gate):
    """(arguments of attention in layer 0, its output under the method, the layer's leaves)."""
    encoder = tiny_encoder(kind)
    method = make_method("prefix_tuning", prefix_length=LENGTH, gate=gate)
    block = encoder.base["encoder"]["layers"]["0"]["attention"]
    shapes = {"prefix_key": (LENGTH, 8), "prefix_value": (LENGTH, 8), "prefix_gate": ()}
    leaves = moved({leaf: jnp.zeros(shape) for leaf, shape in shapes.items()}, size=0.5)
    hidden = jax.random.normal(jax.random.key(1), (*encoder.frame_mask.shape, 8))
    module, seen = First(encoder.module.config), []

    def watch(call):
        output = call.output()
        seen.append(([*call.arguments, call.keywords["bias"], call.keywords["mask"]], output))
        return output

    def run():
        with intercepted(["attention"], watch, method_name="mix"):
            method.apply(
                lambda params: module.apply({"params": params}, hidden, encoder.frame_mask),
                {"attention": block},
                {"attention": leaves},
            )
        return seen.pop()

    arguments, output = compiled(run)
    return arguments, output, leaves


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def by_head(heads):
    return np.asarray(heads, float).swapaxes(1, 2)


def logits_and_values(arguments, leaves):
    """Masked logits [B H T S] and values of the frames, logits and values of the prefix."""
    query, key, value = (by_head(heads) for heads in arguments[:3])
    bias = 0.0 if arguments[3] is None else np.asarray(arguments[3], float)
    width = query.shape[-1]
    own = query @ key.swapaxes(2, 3) / np.sqrt(width) + bias
    own = np.where(np.asarray(arguments[4]), own, -np.inf)
    prefix_key, prefix_value = (
        np.asarray(leaves[f"prefix_{name}"], float).reshape(LENGTH, -1, width).swapaxes(0, 1)
        for name in ("key", "value")
    )
    prefix = query @ prefix_key.swapaxes(1, 2) / np.sqrt(width)
    return own, value, prefix, np.broadcast_to(prefix_value, (len(query), *prefix_value.shape))


@pytest.mark.parametrize("kind", ["wavlm", "whisper"])
def test_the_plain_prefix_joins_the_softmax_without_a_position_or_a_mask(kind):
    arguments, output, leaves = first_attention(kind, "none")
    own, value, prefix, prefix_value = logits_and_values(arguments, leaves)
    weights = softmax(np.concatenate([prefix, own], axis=-1))
    expected = weights @ np.concatenate([prefix_value, value], axis=2)
    np.testing.assert_allclose(by_head(output), expected, atol=1e-5)
    assert (arguments[3] is not None) == (kind == "wavlm")
    assert not arguments[4].all()


def test_the_gated_prefix_is_added_through_tanh_of_its_gate():
    arguments, output, leaves = first_attention("wavlm", "zero")
    own, value, prefix, prefix_value = logits_and_values(arguments, leaves)
    gate = np.tanh(float(leaves["prefix_gate"]))
    expected = softmax(own) @ value + gate * softmax(prefix) @ prefix_value
    assert abs(gate) > 0.01
    np.testing.assert_allclose(by_head(output), expected, atol=1e-5)


def test_the_plain_prefix_is_the_one_exception_from_the_identity_at_birth():
    encoder = tiny_encoder("post_norm")
    method = make_method("prefix_tuning", gate="none")
    born = method.apply(encoder.forward, encoder.base, method.init(jax.random.key(0), encoder.base))
    assert np.abs(born - encoder.forward(encoder.base)).max() > 1e-2


@pytest.mark.parametrize("gate", ["zero", "none"])
def test_a_padded_clip_gives_what_it_gives_alone(gate):
    encoder = tiny_encoder("wavlm")
    method = make_method("prefix_tuning", gate=gate)
    trainable = moved(method.init(jax.random.key(0), encoder.base))
    length = NUM_FRAMES[1]
    alone = encoder._replace(
        features=encoder.features[1:, :length], frame_mask=encoder.frame_mask[1:, :length]
    )
    together, expected = compiled(
        lambda: [method.apply(one.forward, one.base, trainable) for one in (encoder, alone)]
    )
    np.testing.assert_allclose(together[:, 1:, :length], expected, atol=1e-5)


def test_prefix_tuning_trains_this_tree():
    trainable = make_method("prefix_tuning", prefix_length=5).init(
        jax.random.key(0), tiny_encoder("whisper").base
    )
    assert {path: leaf.shape for path, leaf in flatten(trainable).items()} == {
        f"encoder/layers/{index}/attention/prefix_{leaf}": shape
        for index in range(2)
        for leaf, shape in (("key", (5, 8)), ("value", (5, 8)), ("gate", ()))
    }
