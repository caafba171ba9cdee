"""Seconds of one optimiser step by each method, for docs/methods.md."""

import argparse
import os
from typing import Any

from benchmarks.timing import (
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    peak_gigabytes,
    say,
    time_in_turns,
    use_threads,
    versions,
)
from benchmarks.train import noisy_problem, stem_of, trained_by


def add_methods_command(commands: Any) -> None:
    parser = commands.add_parser("methods", help="a training step by each method")
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--clips", type=int, default=2, help="in the batch")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--dropout", type=float, default=0.1, help="everywhere in the encoder")
    parser.add_argument("--size", choices=("small", "base", "large"), default="base")
    parser.add_argument("--repeats", type=int, default=5)
    parser.set_defaults(run=run_methods)


def run_methods(arguments: argparse.Namespace) -> dict[str, Any]:
    """From the stem's features on, with the options that a config has by default; one method at a time."""
    use_threads(arguments.threads)
    do_without_jaxtyping()
    import jax

    from jaxemo.peft import METHODS
    from jaxemo.studies.config import Settings
    from jaxemo.studies.methods import choose_method

    encoder, config, waveform = noisy_problem(arguments)
    stem = stem_of(encoder, waveform)
    features = jax.block_until_ready(stem())
    runs = time_in_turns({"stem": lambda: jax.block_until_ready(stem())}, repeats=arguments.repeats)
    for name in METHODS:
        say(name)
        method = choose_method(Settings(), name).method
        step = trained_by(method, encoder, config, features).step
        runs[name] = time_in_turns({"step": step}, repeats=arguments.repeats)["step"]
        del step
    return {
        "benchmark": "methods",
        "median_s": {name: median_seconds(values) for name, values in runs.items()},
        "core_s": {name: median_core_seconds(values) for name, values in runs.items()},
        "peak_gigabytes": peak_gigabytes(),
        "size": arguments.size,
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "dropout": arguments.dropout,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "optax"),
    }
