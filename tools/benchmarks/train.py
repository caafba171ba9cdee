"""One optimiser step of LoRA on wav2vec2-base against transformers and peft in PyTorch, on the same sizes."""

import argparse
import dataclasses
import importlib.util
import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from benchmarks.encoder import encoder_flops, random_encoder, stem_flops
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

RANK, TARGETS, NUM_CLASSES, HEAD_WIDTH = 8, ("q", "v"), 8, 256


def add_train_command(commands: Any) -> None:
    parser = commands.add_parser("train", help="a training step of LoRA against PyTorch's")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--clips", type=int, help="in the batch; 8 on CPU, 64 on a GPU")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument("--dropout", type=float, default=0.1, help="everywhere in the encoder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="of the encoder's products, on both sides; float32 on CPU, bfloat16 on a GPU",
    )
    parser.add_argument("--size", choices=("small", "base"), default="base", help="of the encoder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole step and its parts; float32 parameters and a frozen stem on both sides.

    `ratio` counts the stem on both sides, `ratio_cached` on PyTorch's alone: jaxemo computes it once per
    clip and keeps it.
    """
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    import jax

    on_cpu = jax.default_backend() == "cpu"
    arguments.clips = arguments.clips or (8 if on_cpu else 64)
    arguments.dtype = arguments.dtype or ("float32" if on_cpu else "bfloat16")
    encoder, config, waveform = noisy_problem(arguments)
    sides = our_sides(encoder, config, waveform, dtype=arguments.dtype)
    if importlib.util.find_spec("torch") and importlib.util.find_spec("peft"):
        sides["torch"] = in_own_process(torch_step, arguments)
    runs = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in runs.items()}
    flops = step_flops(config, *waveform.shape)
    rate = matmul_rate(arguments.dtype, size=2048 if on_cpu else 8192)
    torch_seconds = medians.get("torch")
    return {
        "benchmark": "train",
        "median_s": medians,
        "ratio": torch_seconds and torch_seconds / (medians["stem"] + medians["step"]),
        "ratio_cached": torch_seconds and torch_seconds / medians["step"],
        "core_s": {name: median_core_seconds(values) for name, values in runs.items()},
        "all_s": {name: [run.seconds for run in values] for name, values in runs.items()},
        "tflop": {name: value / 1e12 for name, value in flops.items()},
        "tflop_per_s": {name: flops[name] / 1e12 / medians[name] for name in flops},
        "share_of_matmul_rate": {name: flops[name] / medians[name] / rate for name in flops},
        "matmul_tflop_per_s": rate / 1e12,
        "peak_gigabytes": peak_gigabytes(),
        "size": arguments.size,
        "clips": arguments.clips,
        "seconds": arguments.seconds,
        "dropout": arguments.dropout,
        "dtype": arguments.dtype,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions(
            "jax", "jaxlib", "flax", "numpy", "optax", "torch", "transformers", "peft"
        ),
    }


def noisy_problem(arguments: argparse.Namespace) -> tuple[Any, Any, Any]:
    """A random encoder, its config with dropout everywhere, and a batch of noise."""
    import jax.numpy as jnp
    import numpy as np

    encoder = random_encoder(arguments.size, jnp.float32)
    config = dataclasses.replace(
        encoder.config,
        hidden_dropout=arguments.dropout,
        attention_dropout=arguments.dropout,
        activation_dropout=arguments.dropout,
    )
    shape = arguments.clips, round(arguments.seconds * encoder.sample_rate_hz)
    return encoder, config, np.random.default_rng(0).standard_normal(shape, np.float32)


class Trained(NamedTuple):
    """One batch of labelled clips, and what a step of training on it is made of."""

    network: Any
    objective: Any
    features: Any  # of the stem
    labels: Any
    statistics: Any  # of the layers of one run
    trainable: Any  # of one run, before the first step
    step: Callable[[], Any]


def our_sides(
    encoder: Any, config: Any, waveform: Any, *, dtype: str
) -> dict[str, Callable[[], Any]]:
    """The stem; from its features on: the forward pass, with its backward pass, a step of training."""
    import jax

    from jaxemo.peft import make_method

    stem = stem_of(encoder, waveform)
    method = make_method("lora", rank=RANK, targets=TARGETS)
    trained = trained_by(method, encoder, config, jax.block_until_ready(stem()), dtype=dtype)

    def loss(trainable: Any, base: Any, key: Any) -> Any:
        outputs = trained.network.outputs(
            trainable, base, trained.features, statistics=trained.statistics, dropout_key=key
        )
        return trained.objective.terms(outputs, trained.labels).mean()

    forward, gradient = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
    key, start = jax.random.key(1), (trained.trainable, encoder.params)
    return {
        "stem": lambda: jax.block_until_ready(stem()),
        "forward": lambda: jax.block_until_ready(forward(*start, None)),
        "forward_dropout": lambda: jax.block_until_ready(forward(*start, key)),
        "gradient": lambda: jax.block_until_ready(gradient(*start, None)),
        "gradient_dropout": lambda: jax.block_until_ready(gradient(*start, key)),
        "step": trained.step,
    }


def stem_of(encoder: Any, waveform: Any) -> Callable[[], Any]:
    """The stem of a batch of clips that are all as long."""
    import jax
    import numpy as np

    num_clips, num_samples = waveform.shape
    stem = jax.jit(lambda *clip: encoder.module.apply(*clip, method="stem"))
    return partial(stem, {"params": encoder.params}, waveform, np.full(num_clips, num_samples))


def trained_by(
    method: Any, encoder: Any, config: Any, features: Any, *, dtype: str = "float32"
) -> Trained:
    """One run's step by a method, with the head, from the stem's features; `dtype` of the products."""
    import jax
    import jax.numpy as jnp

    from jaxemo.models.encoder import AudioEncoder
    from jaxemo.models.heads import LayerStatistics
    from jaxemo.studies.recognition import EMOTION_CLASSES, Task, make_objective
    from jaxemo.training.model import Network
    from jaxemo.training.program import TrainingSettings, make_program
    from jaxemo.training.sharding import make_mesh
    from jaxemo.training.step import Batch, Shared

    num_clips = len(jax.tree.leaves(features)[0])
    module = AudioEncoder(config, dtype=jnp.dtype(dtype))
    network = Network(module, method, HEAD_WIDTH, 0.0, NUM_CLASSES)
    objective = make_objective(Task(EMOTION_CLASSES, tuple(map(str, range(NUM_CLASSES)))))
    settings = TrainingSettings(batch_size=num_clips)
    program = make_program(network, objective, settings, mesh=make_mesh(jax.devices()[:1]))
    layers = config.num_hidden_layers + 1, config.hidden_size
    one = LayerStatistics(jnp.zeros(layers), jnp.ones(layers))
    statistics = jax.tree.map(lambda leaf: leaf[None], one)
    labels = jnp.arange(num_clips) % NUM_CLASSES
    batch = jax.tree.map(
        lambda leaf: jnp.asarray(leaf)[None, None, None],
        Batch(features, labels, jnp.ones(num_clips)),
    )
    shared = Shared(encoder.params, None)
    keys, steps = jax.random.key(0)[None], jnp.array([10**6])
    rates = jax.tree.map(lambda rate: jnp.array([rate]), settings.rates)
    state = program.init_runs(keys, statistics, encoder.params, steps, rates, None)
    trainable = jax.tree.map(lambda leaf: leaf[0], state.trainable)

    def step() -> Any:
        nonlocal state
        state, metrics = program.train_steps(state, statistics, shared, batch, None, jnp.array(1))
        return jax.block_until_ready(metrics.loss)

    return Trained(network, objective, features, labels, one, trainable, step)


def torch_step(arguments: argparse.Namespace) -> Callable[[], Any]:
    """A step of transformers' classifier under peft's LoRA and AdamW, on the encoder's weights.

    Attention is PyTorch's fused one, bfloat16 is its autocast; on a GPU the model is compiled.
    """
    import tempfile
    from pathlib import Path

    import peft  # pyright: ignore[reportMissingImports]  # From the extra `reference`.
    import torch  # pyright: ignore[reportMissingImports]
    import transformers

    from jaxemo.models.pretrained import save_pretrained

    encoder, config, waveform = noisy_problem(arguments)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        save_pretrained(encoder, Path(directory))
        model = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(
            directory,
            attn_implementation="sdpa",
            num_labels=NUM_CLASSES,
            classifier_proj_size=HEAD_WIDTH,
            use_weighted_layer_sum=True,
            hidden_dropout=config.hidden_dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            feat_proj_dropout=0.0,
            layerdrop=0.0,
            apply_spec_augment=False,
        )
    model.freeze_feature_encoder()
    adapter = peft.LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=[f"{name}_proj" for name in TARGETS],
        modules_to_save=["projector", "classifier"],
    )
    on_gpu = torch.cuda.is_available()
    place = torch.device("cuda" if on_gpu else "cpu")
    model = peft.get_peft_model(model, adapter).train().to(place)
    inputs = torch.from_numpy(waveform).to(place)
    labels = (torch.arange(len(waveform)) % NUM_CLASSES).to(place)
    forward = torch.compile(model) if on_gpu else model
    narrow = torch.autocast(place.type, torch.bfloat16, enabled=arguments.dtype == "bfloat16")
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step() -> float:
        with narrow:
            loss = forward(input_values=inputs, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def step_flops(config: Any, num_clips: int, num_samples: int) -> dict[str, float]:
    """Matrix products of a batch: forward from the stem on, and with the backward pass.

    Frozen weights have no gradient: the backward pass has one product for each of the forward pass's,
    and one more in attention, whose both factors are activations. LoRA's own products are left out
    (rank 8 beside a width of 768).
    """
    layers = encoder_flops(config, num_samples) - stem_flops(config, num_samples)
    attention = config.num_hidden_layers * 4 * config.num_frames(num_samples) ** 2
    attention *= config.hidden_size
    return {
        "forward": num_clips * layers,
        "gradient": num_clips * (2 * layers + attention),
        "step": num_clips * (2 * layers + attention),
    }
