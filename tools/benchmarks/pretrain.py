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
    from jaxemo.pretraining.frames import SPECTRA, Grid
    from jaxemo.pretraining.masking import MaskSettings, span_mask
    from jaxemo.pretraining.targets import (
        KMeansSettings,
        RandomProjectionSettings,
        fit_kmeans,
        fit_random_projection,
    )

    config = EncoderConfig()
    num_samples = round(arguments.seconds * config.sample_rate_hz)
    waveform = jax.random.normal(jax.random.key(0), (arguments.clips, num_samples))
    lengths = jnp.full(arguments.clips, num_samples)
    frame_mask = jnp.ones((arguments.clips, config.num_frames(num_samples)), bool)
    spectrum = SPECTRA["log_mel"](Grid.of(config))
    sample = spectrum(waveform, lengths).reshape(frame_mask.size, -1)
    weight = jnp.ones(frame_mask.size)
    kmeans = fit_kmeans(jax.random.key(1), sample, weight, KMeansSettings())
    projection = fit_random_projection(
        jax.random.key(1), sample, weight, RandomProjectionSettings()
    )
    compiled = {
        "mask": jax.jit(lambda _: span_mask(jax.random.key(0), frame_mask, MaskSettings())),
        **{
            name: jax.jit(lambda clips, make=make: make(Grid.of(config))(clips, lengths))
            for name, make in SPECTRA.items()
        },
        "kmeans_codes": jax.jit(lambda clips: kmeans.codes(spectrum(clips, lengths))),
        "random_projection_codes": jax.jit(
            lambda clips: projection.codes(spectrum(clips, lengths))
        ),
    }
    return {
        name: lambda function=function: function(waveform).block_until_ready()
        for name, function in compiled.items()
    }
