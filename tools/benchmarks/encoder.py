"""A forward pass of wav2vec2-base against Hugging Face's PyTorch model, on the same weights."""

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.timing import (
    do_without_jaxtyping,
    matmul_rate,
    median_core_seconds,
    median_seconds,
    say,
    time_in_turns,
    use_threads,
    versions,
)


def add_encoder_command(commands: Any) -> None:
    parser = commands.add_parser("encoder", help="forward pass of wav2vec2-base against PyTorch's")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--clips", type=int, help="in the batch; 8 on CPU, 128 on a GPU")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--large", action="store_const", const="large", default="base", dest="size")
    parser.set_defaults(run=run_encoder)


def run_encoder(arguments: argparse.Namespace) -> dict[str, Any]:
    """All hidden states of one batch; float32 on a CPU, bfloat16 on an accelerator."""
    use_threads(arguments.threads)
    # On a GPU both sides need room.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax
    import jax.numpy as jnp
    import numpy as np

    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.float32 if on_cpu else jnp.bfloat16
    encoder = random_encoder(arguments.size, dtype)
    clips = arguments.clips or (8 if on_cpu else 128)
    shape = clips, round(arguments.seconds * encoder.sample_rate_hz)
    waveform = np.random.default_rng(0).standard_normal(shape, np.float32)
    on_device = jax.device_put((waveform, np.full(clips, shape[1])))

    def run_ours():
        return jax.block_until_ready(encoder(*on_device).hidden_states)

    sides: dict[str, Callable[[], Any]] = {"jaxemo": run_ours}
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        sides["torch"] = torch_forward(encoder, waveform, threads=arguments.threads)
        say(f"largest difference {np.abs(sides['torch']() - np.asarray(run_ours()[-1])).max():.1e}")
    runs = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in runs.items()}
    flops = clips * encoder_flops(encoder.config, shape[1])
    rate = matmul_rate(dtype, size=2048 if on_cpu else 8192)
    return {
        "benchmark": "encoder",
        "median_s": medians,
        "ratio": medians["torch"] / medians["jaxemo"] if "torch" in medians else None,
        "core_s": {name: median_core_seconds(values) for name, values in runs.items()},
        "all_s": {name: [run.seconds for run in values] for name, values in runs.items()},
        "audio_s_per_s": clips * arguments.seconds / medians["jaxemo"],
        "tflop": flops / 1e12,
        "tflop_per_s": flops / 1e12 / medians["jaxemo"],
        "matmul_tflop_per_s": rate / 1e12,
        "share_of_matmul_rate": flops / medians["jaxemo"] / rate,
        "size": arguments.size,
        "clips": clips,
        "seconds": arguments.seconds,
        "dtype": jnp.dtype(dtype).name,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "torch", "transformers"),
    }


def random_encoder(size: str, dtype: Any) -> Any:
    """wav2vec2-base or -large (their published flags), or the small demonstration size, all random."""
    import jax
    import jax.numpy as jnp

    from jaxemo.models.checkpoints.hub_layout import Origin
    from jaxemo.models.config import EncoderConfig
    from jaxemo.models.encoder import AudioEncoder
    from jaxemo.models.families import Normalisation, StemNorm
    from jaxemo.models.pretrained import Encoder

    large = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "conv_bias": True,
        "feat_extract_norm": StemNorm.LAYER,
        "do_stable_layer_norm": True,
    }
    small = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "conv_dim": (32,) * 7,
    }
    config = EncoderConfig(**{"base": {}, "large": large, "small": small}[size])
    module = AudioEncoder(config, dtype=dtype)
    init = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 400)), jnp.array([400]))
    return Encoder(
        name=f"random wav2vec2-{size}",
        origin=Origin.UNTRAINED,
        module=module,
        params=init["params"],
        sample_rate_hz=config.sample_rate_hz,
        normalisation=Normalisation.NONE,
    )


def torch_forward(encoder: Any, waveform: Any, *, threads: int) -> Callable[[], Any]:
    """PyTorch's forward pass on the encoder's weights; it gives the last hidden state as numpy."""
    model = torch_model(encoder, threads=threads)
    return lambda: model(waveform)[-1].float().cpu().numpy()


def torch_model(encoder: Any, *, threads: int) -> Callable[[Any], Any]:
    """Hugging Face's model with the encoder's weights: waveforms [B, N] to all hidden states.

    Attention is PyTorch's fused one; on a GPU the model is bfloat16 and compiled.
    """
    import torch  # pyright: ignore[reportMissingImports]  # From the extra `reference`.
    import transformers

    from jaxemo.models.pretrained import save_pretrained

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as directory:
        save_pretrained(encoder, Path(directory))
        model = transformers.Wav2Vec2Model.from_pretrained(directory, attn_implementation="sdpa")
    model = model.eval()
    place = {}
    if torch.cuda.is_available():
        place = {"device": "cuda", "dtype": torch.bfloat16}
        model = torch.compile(model.to(**place))

    def run(waveform):
        with torch.inference_mode():
            inputs = torch.from_numpy(waveform).to(**place)
            return model(inputs, output_hidden_states=True).hidden_states

    return run


def encoder_flops(config: Any, num_samples: int) -> float:
    """Multiplications and additions of one clip's matrix products, two for each weight and frame.

    stem    2 sum_i T_i kernel_i C_{i-1} C_i
    input   2 T C D
    position  2 T taps D^2 / groups
    layers  L (2 T (4 D^2 + 2 D F) + 4 T^2 D)

    wav2vec2-base: 4.9 + 0.04 + 0.5 + 8.5 GFLOP for a second of audio.
    """
    steps, width = config.num_frames(num_samples), config.hidden_size
    depth = max(config.pos_conv_depth, 1)
    position = 2 * steps * config.pos_conv_taps * width**2 // config.pos_conv_groups * depth
    weights = 4 * width**2 + 2 * width * config.intermediate_size
    layers = config.num_hidden_layers * (2 * steps * weights + 4 * steps**2 * width)
    projection = 2 * steps * config.conv_dim[-1] * width
    return stem_flops(config, num_samples) + projection + position + layers


def stem_flops(config: Any, num_samples: int) -> float:
    """Those of `encoder_flops` that the convolutional stem does."""
    frames = [
        config.num_frames_after(num_samples, num_layers=index + 1)
        for index in range(len(config.conv_dim))
    ]
    channels = (1, *config.conv_dim)
    return sum(
        2 * steps * kernel * channels[index] * channels[index + 1]
        for index, (steps, kernel) in enumerate(zip(frames, config.conv_kernel, strict=True))
    )
