"""Many training runs as one program against the same runs one after another."""

import argparse
import os
from typing import Any

from benchmarks.encoder import random_encoder
from benchmarks.timing import (
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    peak_gigabytes,
    time_in_turns,
    use_threads,
    versions,
)


def add_runs_command(commands: Any) -> None:
    parser = commands.add_parser("runs", help="training runs as one program against one by one")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--method", choices=("weighted_sum", "lora"), default="weighted_sum")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="of the encoder")
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--clips", type=int, default=128, help="per run, of 2 s")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.set_defaults(run=run_runs)


def run_runs(arguments: argparse.Namespace) -> dict[str, Any]:
    """Equal rows, other seeds; both sides are compiled before the clock starts."""
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax

    from jaxemo.training.loop import fit_runs

    program, base, examples, runs = problem(arguments)
    sides = {
        "together": lambda: fit_runs(program, base, examples, runs),
        "one_by_one": lambda: fit_runs(program, base, examples, runs, runs_at_once=1),
    }
    timed = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in timed.items()}
    return {
        "benchmark": "runs",
        "median_s": medians,
        "ratio": medians["one_by_one"] / medians["together"],
        "core_s": {name: median_core_seconds(values) for name, values in timed.items()},
        "peak_gigabytes": peak_gigabytes(),
        "method": arguments.method,
        "size": arguments.size,
        "runs": arguments.runs,
        "clips": arguments.clips,
        "epochs": arguments.epochs,
        "batch": program.settings.batch_size,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "optax"),
    }


def problem(arguments: argparse.Namespace) -> tuple[Any, Any, Any, list[Any]]:
    """(program, base, examples, runs) of the asked method on random clips."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxemo.models.heads import layer_statistics
    from jaxemo.peft import make_method
    from jaxemo.studies.recognition import EMOTION_CLASSES, Task, make_objective
    from jaxemo.training.features import DenseFeatures, Examples
    from jaxemo.training.model import Network
    from jaxemo.training.program import TrainingSettings, make_program
    from jaxemo.training.sharding import make_mesh
    from jaxemo.training.stack import RunInputs

    encoder = random_encoder(arguments.size, jnp.float32)
    config = encoder.config
    random = np.random.default_rng(0)
    num_clips = arguments.clips + 16
    shape = num_clips, config.num_hidden_layers + 1, config.hidden_size
    pooled = random.standard_normal(shape, np.float32)
    inputs, base = pooled, {}
    if arguments.method != "weighted_sum":
        waveform = random.standard_normal((num_clips, 2 * config.sample_rate_hz), np.float32)
        lengths = np.full(num_clips, waveform.shape[1])
        stem = jax.jit(lambda *clip: encoder.module.apply(*clip, method="stem"))
        inputs = jax.device_get(stem({"params": encoder.params}, waveform, lengths))
        base = encoder.params
    settings = TrainingSettings(epochs=arguments.epochs, batch_size=16)
    network = Network(encoder.module, make_method(arguments.method), 256, 0.1, 8)
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(
        network, make_objective(Task(EMOTION_CLASSES, tuple("abcdefgh"))), settings, mesh=mesh
    )
    rows = np.arange(num_clips)
    runs = [
        RunInputs(
            key=jax.random.key(seed),
            seed=seed,
            train_rows=rows[16:],
            dev_rows=rows[:16],
            statistics=layer_statistics(pooled[16:]),
        )
        for seed in range(arguments.runs)
    ]
    return program, base, Examples(DenseFeatures(inputs), rows % 8), runs
