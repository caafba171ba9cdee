"""Test-wide switches: several fake CPU devices, shape checks on, warnings are errors (see pyproject)."""

import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests leave nothing in the user's cache and find nothing there.
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
# As the command does; several test processes on few cores suffer most from BLAS threads that spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

from jaxtyping import install_import_hook

install_import_hook("jaxemo", "beartype.beartype")


@pytest.fixture(scope="session")
def small_encoder():
    """(module, params) of a wav2vec2-base kind so small that every test can run it."""
    import jax
    import jax.numpy as jnp

    from jaxemo.models.config import EncoderConfig
    from jaxemo.models.encoder import AudioEncoder

    config = EncoderConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        pos_conv_taps=8,
        pos_conv_groups=2,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
    )
    module = AudioEncoder(config)
    variables = module.init(jax.random.key(0), jnp.zeros((1, 800)), jnp.array([800]))
    return module, variables["params"]


@pytest.fixture(scope="session")
def stem_batch(small_encoder):
    """Stem features of eight random clips of different lengths."""
    import jax
    import jax.numpy as jnp

    module, params = small_encoder
    waveform = jax.random.normal(jax.random.key(1), (8, 4000))
    num_samples = jnp.array([4000, 4000, 3000, 2500, 4000, 1000, 800, 400])
    return module.apply({"params": params}, waveform, num_samples, method="stem")
