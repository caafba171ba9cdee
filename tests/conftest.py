"""Test-wide switches: several fake CPU devices, shape checks on, warnings are errors (see pyproject)."""

import functools
import json
import logging
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests leave nothing in the user's cache and find nothing there; processes of one session share what
# they compile, which is most of their time.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _PROGRAMS = tempfile.TemporaryDirectory(prefix="jaxemo-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# As the command does; several test processes on few cores suffer most from BLAS threads that spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

from jaxtyping import install_import_hook

install_import_hook("jaxemo", "beartype.beartype")
# A deadline in milliseconds fails on a busy machine and says nothing about the code.
hypothesis.settings.register_profile("jaxemo", deadline=None)
hypothesis.settings.load_profile("jaxemo")


@pytest.fixture(autouse=True)
def _fresh_logger():
    """A command sets the logger up for its process, a test before or a fixture; tests begin without."""
    logger = logging.getLogger("jaxemo")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


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
    init = jax.jit(module.init)  # Op by op it would compile 300 small programs.
    return module, init(jax.random.key(0), jnp.zeros((1, 800)), jnp.array([800]))["params"]


@pytest.fixture(scope="session")
def stem_batch(small_encoder):
    """Stem features of eight random clips of different lengths."""
    import jax
    import jax.numpy as jnp

    module, params = small_encoder
    waveform = jax.random.normal(jax.random.key(1), (8, 4000))
    num_samples = jnp.array([4000, 4000, 3000, 2500, 4000, 1000, 800, 400])
    stem = jax.jit(functools.partial(module.apply, method="stem"))
    return stem({"params": params}, waveform, num_samples)


@pytest.fixture(scope="session")
def stems(small_encoder):
    """Stem features of twenty random clips, as the store has them."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    module, params = small_encoder
    waveform = jax.random.normal(jax.random.key(1), (20, 3000))
    num_samples = jnp.full(20, 3000).at[::3].set(2400)
    stem = jax.jit(functools.partial(module.apply, method="stem"))
    return jax.tree.map(np.asarray, stem({"params": params}, waveform, num_samples))


# One run of each long command, shared by the test_cli*.py files, which form one group.


@pytest.fixture(scope="session")
def tiny_config():
    """The flag that names the whole instrument on as little as it can run on."""
    return f"--config={Path(__file__).parent / 'tiny_config.py'}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The flag that names the cache folder of these runs."""
    return f"--config.cache_dir={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="session")
def study(tmp_path_factory, tiny_config, cache):
    """The workdir of one run of `jaxemo study`."""
    from jaxemo.cli.main import main

    workdir = tmp_path_factory.mktemp("study")
    assert main(["study", tiny_config, cache, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="session")
def results(study):
    return json.loads((study / "results.json").read_text())


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_config, cache):
    """The workdir of one run of `jaxemo train`."""
    from jaxemo.cli.main import main

    workdir = tmp_path_factory.mktemp("train")
    assert main(["train", tiny_config, cache, f"--workdir={workdir}"]) == 0
    return workdir
