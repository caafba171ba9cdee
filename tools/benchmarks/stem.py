"""The stem's forms against each other: convolution or patches and matmul, masked group norm or plain.

Each of the seven convolutions runs alone on the input that it has
in the encoder; the forms are equal to rounding, which is checked. The models use the faster form.
"""

import argparse
from typing import Any

from benchmarks.encoder import random_encoder
from benchmarks.timing import (
    do_without_jaxtyping,
    median_seconds,
    say,
    time_in_turns,
    use_threads,
    versions,
)


def add_stem_command(commands: Any) -> None:
    parser = commands.add_parser("stem", help="equivalent forms of the convolutional stem")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, help="in the batch; 8 on CPU, 128 on a GPU")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--repeats", type=int, default=7)
    parser.set_defaults(run=run_stem)


def run_stem(arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of each form of each convolution, and of the group norm after the first."""
    use_threads(arguments.threads)
    do_without_jaxtyping()
    import jax
    import jax.numpy as jnp

    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.float32 if on_cpu else jnp.bfloat16
    encoder = random_encoder("base", dtype)
    config = encoder.config
    clips = arguments.clips or (8 if on_cpu else 128)
    steps = round(arguments.seconds * encoder.sample_rate_hz)
    layers, channels = [], 1
    for index, (kernel, stride) in enumerate(
        zip(config.conv_kernel, config.conv_stride, strict=True)
    ):
        inputs = jax.random.normal(jax.random.key(index), (clips, steps, channels), dtype)
        weights = encoder.params["feature_extractor"]["conv_layers"][str(index)]["conv"]["kernel"]
        layers.append(time_convolution(inputs, weights.astype(dtype), stride, arguments.repeats))
        say(f"convolution {index} (kernel {kernel}, stride {stride}): {layers[-1]}")
        steps, channels = (steps - kernel) // stride + 1, config.conv_dim[index]
    norm = time_group_norm(dtype, (clips, *first_output(config, arguments)), arguments.repeats)
    return {
        "benchmark": "stem",
        "convolutions_ms": layers,
        "group_norm_ms": norm,
        "total_ms": {form: sum(layer[form] for layer in layers) for form in layers[0]},
        "clips": clips,
        "seconds": arguments.seconds,
        "dtype": jnp.dtype(dtype).name,
        "device": jax.devices()[0].device_kind,
        "versions": versions("jax", "jaxlib", "flax", "numpy"),
    }


def first_output(config: Any, arguments: argparse.Namespace) -> tuple[int, int]:
    samples = round(arguments.seconds * config.sample_rate_hz)
    return config.num_frames_after(samples, num_layers=1), config.conv_dim[0]


def time_convolution(inputs: Any, kernel: Any, stride: int, repeats: int) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    steps = (inputs.shape[1] - kernel.shape[0]) // stride + 1
    reach = stride * (steps - 1) + 1

    @jax.jit
    def convolution(inputs):
        return jax.lax.conv_general_dilated(
            inputs, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )

    @jax.jit
    def patches(inputs):
        taps = [inputs[:, tap : tap + reach : stride] for tap in range(kernel.shape[0])]
        return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])

    expected, ours = (np.asarray(form(inputs[:1]), np.float32) for form in (convolution, patches))
    np.testing.assert_allclose(expected, ours, atol=0.05 * np.abs(expected).max())
    return milliseconds({"convolution": convolution, "patches": patches}, inputs, repeats)


def time_group_norm(dtype: Any, shape: tuple[int, ...], repeats: int) -> dict[str, float]:
    import flax.linen as nn
    import jax
    import jax.numpy as jnp

    from jaxemo.models.layers import MaskedGroupNorm

    hidden = jax.random.normal(jax.random.key(0), shape, dtype)
    mask = jnp.ones(shape[:2], bool)
    masked = MaskedGroupNorm(dtype)
    plain = nn.GroupNorm(num_groups=None, group_size=1, use_fast_variance=False, dtype=dtype)
    params = plain.init(jax.random.key(0), hidden)
    sides = {
        "masked": jax.jit(lambda hidden: masked.apply(params, hidden, mask)),
        "plain": jax.jit(lambda hidden: plain.apply(params, hidden)),
    }
    return milliseconds(sides, hidden, repeats)


def milliseconds(sides: dict[str, Any], inputs: Any, repeats: int) -> dict[str, float]:
    runs = time_in_turns(
        {name: lambda side=side: side(inputs).block_until_ready() for name, side in sides.items()},
        repeats=repeats,
    )
    return {name: round(1e3 * median_seconds(values), 2) for name, values in runs.items()}
