"""The embedding stream on clips of many lengths, against Hugging Face's model clip by clip."""

import argparse
import importlib.util
import os
from collections.abc import Callable
from typing import Any

from benchmarks.encoder import encoder_flops, random_encoder, torch_model
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


def add_embedding_command(commands: Any) -> None:
    parser = commands.add_parser(
        "embedding", help="means of all layers of whole clips, against PyTorch clip by clip"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--clips", type=int, help="64 on CPU, 1024 on a GPU")
    parser.add_argument("--batch", type=int, default=16, help="clips per forward pass of ours")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", action="store_const", const="large", default="base", dest="size")
    parser.set_defaults(run=run_embedding)


def run_embedding(arguments: argparse.Namespace) -> dict[str, Any]:
    """Clips of 2.9 to 5.3 s, as RAVDESS has them, from memory to means over frames."""
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax
    import jax.numpy as jnp
    import numpy as np

    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.float32 if on_cpu else jnp.bfloat16
    encoder = random_encoder(arguments.size, dtype)
    random = np.random.default_rng(0)
    count = arguments.clips or (64 if on_cpu else 1024)
    lengths = np.round(random.uniform(2.9, 5.3, count) * encoder.sample_rate_hz).astype(int)
    waveforms = [random.standard_normal(length, np.float32) for length in lengths]
    timings: list[Any] = []

    def run_ours():
        embedding = stream_clips(encoder, waveforms, batch_size=arguments.batch)
        timings.append(embedding.timing)
        return embedding.pooled

    sides: dict[str, Callable[[], Any]] = {"jaxemo": run_ours}
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        model = torch_model(encoder, threads=arguments.threads)
        sides["torch"] = lambda: [
            [state.mean(1).float().cpu().numpy() for state in model(waveform[None])]
            for waveform in waveforms
        ]
    runs = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in runs.items()}
    audio_seconds = float(lengths.sum()) / encoder.sample_rate_hz
    flops = sum(encoder_flops(encoder.config, int(length)) for length in lengths)
    say(f"the device waited {timings[-1].device_wait:.1%} of the last run")
    return {
        "benchmark": "embedding",
        "median_s": medians,
        "ratio": medians["torch"] / medians["jaxemo"] if "torch" in medians else None,
        "core_s": {name: median_core_seconds(values) for name, values in runs.items()},
        "audio_s_per_s": audio_seconds / medians["jaxemo"],
        "device_wait": float(np.median([timing.device_wait for timing in timings[1:]])),
        "tflop_per_s": flops / 1e12 / medians["jaxemo"],
        "peak_gigabytes": peak_gigabytes(),
        "size": arguments.size,
        "clips": count,
        "audio_s": audio_seconds,
        "batch": arguments.batch,
        "dtype": jnp.dtype(dtype).name,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "torch", "transformers"),
    }


def stream_clips(encoder: Any, waveforms: list[Any], *, batch_size: int) -> Any:
    """Means of all layers of every clip, with nothing kept in a store."""
    import numpy as np

    from jaxemo.data.audio import Excerpt, Extent
    from jaxemo.embedding.passes import row_mesh
    from jaxemo.embedding.stream import Clips, Settings, Wanted, embed_clips

    clips = Clips(
        digests=tuple(str(number) for number in range(len(waveforms))),
        waveforms=lambda number: waveforms[number],
        num_samples=np.array([waveform.size for waveform in waveforms]),
        sample_rate_hz=encoder.sample_rate_hz,
        excerpt=Excerpt(Extent.WHOLE),
    )
    settings = Settings(batch_size=batch_size)
    return embed_clips(encoder, clips, Wanted(), settings, cache_dir=None, mesh=row_mesh())
