"""A step of fine-tuning the uppermost layers: from what the frozen ones gave, and from the stem's output."""

import argparse
import os
from typing import Any

from benchmarks.encoder import random_encoder
from benchmarks.timing import (
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    time_in_turns,
    use_threads,
    versions,
)

NUM_CLASSES, HEAD_WIDTH = 8, 256


def add_frozen_command(commands: Any) -> None:
    parser = commands.add_parser("frozen", help="a step above frozen layers, kept and computed")
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--clips", type=int, default=8, help="in the batch")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--layers", type=int, default=2, help="that are trained")
    parser.add_argument("--size", choices=("small", "base"), default="base", help="of the encoder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.set_defaults(run=run_frozen)


def run_frozen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both steps in turns, float32; `ratio` is what keeping the frozen layers' output saves of a step."""
    use_threads(arguments.threads)
    do_without_jaxtyping()
    import jax

    sides = _sides(arguments)
    runs = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in runs.items()}
    return {
        "benchmark": "frozen",
        "median_s": medians,
        "ratio": medians["stem"] / medians["layers"],
        "core_s": {name: median_core_seconds(values) for name, values in runs.items()},
        "all_s": {name: [run.seconds for run in values] for name, values in runs.items()},
        "size": arguments.size,
        "layers": arguments.layers,
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "optax"),
    }


def _sides(arguments: argparse.Namespace) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxemo.models.heads import LayerStatistics, pool_frames
    from jaxemo.peft import make_method
    from jaxemo.studies.recognition import EMOTION_CLASSES, Task, make_objective
    from jaxemo.training.model import LowerLayers, Network
    from jaxemo.training.program import TrainingSettings, make_program
    from jaxemo.training.sharding import make_mesh
    from jaxemo.training.step import Batch, Shared

    encoder = random_encoder(arguments.size, jnp.float32)
    config, params = encoder.config, encoder.params
    shape = arguments.clips, round(arguments.seconds * encoder.sample_rate_hz)
    waveform = np.random.default_rng(0).standard_normal(shape, np.float32)
    frozen = config.num_hidden_layers - arguments.layers
    method = make_method("top_layers", layers=arguments.layers)
    settings = TrainingSettings(batch_size=arguments.clips)
    program = make_program(
        Network(encoder.module, method, HEAD_WIDTH, 0.0, NUM_CLASSES),
        make_objective(Task(EMOTION_CLASSES, tuple(map(str, range(NUM_CLASSES))))),
        settings,
        mesh=make_mesh(jax.devices()[:1]),
    )

    @jax.jit
    def kept(waveform: Any, num_samples: Any) -> Any:
        stem = encoder.module.apply({"params": params}, waveform, num_samples, method="stem")
        hidden = encoder.module.apply({"params": params}, *stem, method="contextualise")
        pooled = pool_frames(hidden[: frozen + 1], stem.frame_mask)
        return stem, LowerLayers(pooled, hidden[frozen], stem.frame_mask)

    inputs = dict(zip(("stem", "layers"), kept(waveform, np.full(shape[0], shape[1])), strict=True))
    layers = 1, config.num_hidden_layers + 1, config.hidden_size
    statistics = LayerStatistics(jnp.zeros(layers), jnp.ones(layers))
    rates = jax.tree.map(lambda rate: jnp.array([rate]), settings.rates)

    def make_step(inputs: Any) -> Any:
        labels = jnp.arange(shape[0]) % NUM_CLASSES
        batch = jax.tree.map(
            lambda leaf: leaf[None, None, None], Batch(inputs, labels, jnp.ones(shape[0]))
        )
        keys, steps = jax.random.key(0)[None], jnp.array([10**6])
        state = program.init_runs(keys, statistics, params, steps, rates, None)

        def step() -> Any:
            nonlocal state
            state, metrics = program.train_steps(
                state, statistics, Shared(params, None), batch, None, jnp.array(1)
            )
            return jax.block_until_ready(metrics.loss)

        return step

    return {name: make_step(one) for name, one in inputs.items()}
