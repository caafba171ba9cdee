"""Pre-training: what masks, targets and a whole step cost for each second of audio."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from benchmarks.timing import (
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    peak_gigabytes,
    time_in_turns,
    use_threads,
    versions,
)


def add_pretrain_command(commands: Any) -> None:
    parser = commands.add_parser("pretrain", help="masks, targets and steps of pre-training")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--clips", type=int, default=16, help="per step")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each crop")
    parser.add_argument("--repeats", type=int, default=5)
    parser.set_defaults(run=run_pretrain)


def run_pretrain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every part on the same random crops, in turns."""
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax

    timed = time_in_turns(parts(arguments), repeats=arguments.repeats)
    seconds = arguments.clips * arguments.seconds
    medians = {name: median_seconds(runs) for name, runs in timed.items()}
    return {
        "benchmark": "pretrain",
        "median_s": medians,
        "audio_seconds_per_second": {name: seconds / value for name, value in medians.items()},
        "core_s": {name: median_core_seconds(runs) for name, runs in timed.items()},
        "peak_gigabytes": peak_gigabytes(),
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "optax"),
    }


def parts(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What is timed, compiled on its first call."""
    import jax
    import jax.numpy as jnp

    from jaxemo.models.config import EncoderConfig
    from jaxemo.pretraining.masking import MaskSettings, span_mask

    config = EncoderConfig()
    num_samples = round(arguments.seconds * config.sample_rate_hz)
    frame_mask = jnp.ones((arguments.clips, config.num_frames(num_samples)), bool)
    mask = jax.jit(lambda key: span_mask(key, frame_mask, MaskSettings()))
    return {"mask": lambda: mask(jax.random.key(0)).block_until_ready()}
