"""Pre-training: a whole step of wav2vec 2.0 against transformers', and what masks and targets cost."""

import argparse
import importlib.util
import os
from collections.abc import Callable
from typing import Any

from benchmarks.encoder import encoder_flops, random_encoder
from benchmarks.timing import (
    do_without_jaxtyping,
    in_own_process,
    matmul_rate,
    median_core_seconds,
    median_seconds,
    peak_gigabytes,
    time_in_turns,
    use_threads,
    versions,
)
from benchmarks.train import noisy_problem

# The masks of the published base model: spans of 10 frames, with chances that add up to 65 % of the frames.
MASKED_STARTS, SPAN = 0.065, 10


def add_pretrain_command(commands: Any) -> None:
    parser = commands.add_parser(
        "pretrain", help="a step of pre-training against PyTorch's; masks and targets"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--part", choices=("all", "step", "targets"), default="all")
    parser.add_argument("--size", choices=("small", "base"), default="base", help="of the step's")
    parser.add_argument("--clips", type=int, default=4, help="per step")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each crop")
    parser.add_argument("--dropout", type=float, default=0.1, help="everywhere in the encoder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.set_defaults(run=run_pretrain)


def run_pretrain(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every part on random crops, in turns; `ratio` is PyTorch's step over ours."""
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax
    import jax.numpy as jnp

    sides: dict[str, Callable[[], Any]] = {}
    if arguments.part != "targets":
        sides |= step_sides(arguments)
    if arguments.part != "step":
        sides |= targets_sides(arguments)
    timed = time_in_turns(sides, repeats=arguments.repeats)
    seconds = arguments.clips * arguments.seconds
    medians = {name: median_seconds(runs) for name, runs in timed.items()}
    return {
        "benchmark": "pretrain",
        "median_s": medians,
        "ratio": medians["torch"] / medians["step"] if "torch" in medians else None,
        "audio_seconds_per_second": {name: seconds / value for name, value in medians.items()},
        "core_s": {name: median_core_seconds(runs) for name, runs in timed.items()},
        "all_s": {name: [run.seconds for run in runs] for name, runs in timed.items()},
        "step_tflop_per_s": step_flops(arguments) / 1e12 / medians["step"]
        if "step" in medians
        else None,
        "matmul_tflop_per_s": matmul_rate(jnp.float32, size=2048) / 1e12,
        "peak_gigabytes": peak_gigabytes(),
        "size": arguments.size,
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "dropout": arguments.dropout,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "flax", "numpy", "optax", "torch", "transformers"),
    }


# --- The step ------------------------------------------------------------------------------------------


def step_sides(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """One update of all weights: stem, layers, quantiser and projections; float32, dropout on."""
    sides = {"step": our_step(arguments)}
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        sides["torch"] = in_own_process(torch_step, arguments)
    return sides


def our_step(arguments: argparse.Namespace) -> Callable[[], Any]:
    """Masks, negatives and Gumbel noise are drawn in every step."""
    import jax
    import jax.numpy as jnp

    from jaxemo.models.encoder import AudioEncoder
    from jaxemo.pretraining.masking import MaskSettings
    from jaxemo.pretraining.objectives.objective import Clips
    from jaxemo.pretraining.objectives.wav2vec2 import Wav2vec2Settings, wav2vec2
    from jaxemo.pretraining.program import Recipe, make_program
    from jaxemo.training.sharding import make_mesh

    encoder, config, waveform = noisy_problem(arguments)
    objective = wav2vec2(
        width=config.hidden_size, stem_width=config.conv_dim[-1], settings=Wav2vec2Settings()
    )
    recipe = Recipe(num_steps=10**6, mask=MaskSettings(MASKED_STARTS, SPAN), dropout=True)
    mesh = make_mesh(jax.devices()[:1])
    program = make_program(AudioEncoder(config), objective, recipe, mesh=mesh)
    state = program.init(encoder.params, ())
    num_clips, num_samples = waveform.shape
    clips = Clips(jnp.asarray(waveform)[None], jnp.full((1, num_clips), num_samples))

    def step() -> Any:
        nonlocal state
        state, figures = program.step(state, clips)
        return jax.block_until_ready(figures.loss.total)

    return step


def torch_step(arguments: argparse.Namespace) -> Callable[[], Any]:
    """transformers' `Wav2Vec2ForPreTraining` with AdamW and clipping, as its published script trains it.

    Its masks and negatives are drawn once, before the clock starts: its script does so in the loader.
    """
    import numpy as np
    import torch  # pyright: ignore[reportMissingImports]  # From the extra `reference`.
    import transformers
    from transformers.models.wav2vec2 import modeling_wav2vec2 as published

    encoder, config, waveform = noisy_problem(arguments)
    torch.set_num_threads(arguments.threads)
    hub = transformers.Wav2Vec2Config(
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        conv_dim=config.conv_dim,
        hidden_dropout=config.hidden_dropout,
        attention_dropout=config.attention_dropout,
        activation_dropout=config.activation_dropout,
        feat_proj_dropout=0.0,
        feat_quantizer_dropout=0.0,
        layerdrop=0.0,
    )
    hub._attn_implementation = "sdpa"
    model = transformers.Wav2Vec2ForPreTraining(hub).train()
    num_clips, num_samples = waveform.shape
    shape = num_clips, encoder.config.num_frames(num_samples)
    mask = published._compute_mask_indices(shape, mask_prob=MASKED_STARTS * SPAN, mask_length=SPAN)
    negatives = published._sample_negative_indices(shape, hub.num_negatives, mask)
    inputs = {
        "input_values": torch.from_numpy(waveform),
        "mask_time_indices": torch.from_numpy(np.asarray(mask)),
        "sampled_negative_indices": torch.from_numpy(np.asarray(negatives)),
    }
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01
    )

    def step() -> float:
        loss = model(**inputs).loss / mask.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return loss.item()

    return step


def step_flops(arguments: argparse.Namespace) -> float:
    """Matrix products of the encoder, forward and twice that backward; the head's are left out."""
    import jax.numpy as jnp

    encoder = random_encoder(arguments.size, jnp.float32)
    num_samples = round(arguments.seconds * encoder.sample_rate_hz)
    return 3 * arguments.clips * encoder_flops(encoder.config, num_samples)


# --- Masks and targets ---------------------------------------------------------------------------------


def targets_sides(arguments: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """Masks, spectra and codes of the base encoder's frames, compiled on their first call."""
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
