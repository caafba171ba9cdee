"""Encoders of every kind so small that each method can be compiled on each; parameters are random."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import AudioEncoder, Remat, parameter_shapes
from jaxemo.peft.method import flatten, unflatten

SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 12, "hidden_dropout": 0.0, "attention_dropout": 0.0}
SIZES |= {"activation_dropout": 0.0, "layerdrop": 0.0}
CONVOLUTIONS = {"conv_dim": (6,) * 7, "pos_conv_taps": 4, "pos_conv_groups": 2}
WHISPER = {
    "model_type": "whisper",
    "d_model": 8,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 12,
    "num_mel_bins": 4,
    "max_source_positions": 20,
}
BUCKETS = {"num_buckets": 8, "max_bucket_distance": 16}
CONFIGS = {
    "post_norm": lambda: EncoderConfig(**SIZES, **CONVOLUTIONS),
    "wavlm": lambda: EncoderConfig(model_type="wavlm", **BUCKETS, **SIZES, **CONVOLUTIONS),
    "whisper": lambda: EncoderConfig.from_hub(WHISPER),
    "pre_norm": lambda: EncoderConfig(do_stable_layer_norm=True, **SIZES, **CONVOLUTIONS),
    "data2vec": lambda: EncoderConfig(
        model_type="data2vec-audio", pos_conv_depth=2, **SIZES, **CONVOLUTIONS
    ),
}
NUM_FRAMES = (9, 5)
# Compiling is nearly all of the time of tests on these encoders; unoptimised it takes half.
FAST_COMPILATION = {"xla_backend_optimization_level": 0}


class TinyEncoder(NamedTuple):
    """A network above its stem, with stem features of two clips of different lengths."""

    module: AudioEncoder
    base: dict[str, Any]
    features: jax.Array
    frame_mask: jax.Array

    def forward(self, params):
        """Hidden states; invalid frames mean nothing, and may amplify rounding: they are zero."""
        hidden = self.module.apply(
            {"params": params}, self.features, self.frame_mask, method="contextualise"
        )
        return hidden * self.frame_mask[None, :, :, None]


@functools.cache
def tiny_encoder(kind, *, dtype=jnp.float32, remat=Remat.NOTHING):
    config = CONFIGS[kind]()
    generator = np.random.default_rng(0)

    def draw(path, shape):
        values = 0.3 * generator.standard_normal(shape.shape)
        centre = path.endswith(("scale", "weight_g", "gru_rel_pos_const"))
        return jnp.asarray(values + centre, jnp.float32)

    base = {path: draw(path, shape) for path, shape in flatten(parameter_shapes(config)).items()}
    width = (len(NUM_FRAMES), max(NUM_FRAMES), config.conv_dim[-1])
    features = jnp.asarray(generator.standard_normal(width), jnp.float32)
    mask = jnp.arange(max(NUM_FRAMES)) < jnp.array(NUM_FRAMES)[:, None]
    return TinyEncoder(AudioEncoder(config, dtype, remat), unflatten(base), features, mask)


def compiled(function):
    """What the function gives as one program; operation by operation it would take many small ones."""
    return jax.jit(function, compiler_options=FAST_COMPILATION)()


def moved(trainable, *, seed=7, size=0.1):
    """The trainable tree away from its initial value."""
    keys = iter(jax.random.split(jax.random.key(seed), len(jax.tree.leaves(trainable)) + 1))
    return jax.tree.map(
        lambda leaf: leaf + size * jax.random.normal(next(keys), leaf.shape), trainable
    )
