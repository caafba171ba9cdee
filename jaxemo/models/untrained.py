"""Encoders with fixed random weights, for demonstrations, controls and tests without a download.

Two have the flags of wav2vec2-base (speech, 16 kHz) and MERT-v1-95M (music, 24 kHz) at a fraction
of the size; the third has the architecture of the small pre-trained encoders (`embedded`). They have
learnt nothing and are called untrained wherever they appear. The weights come from PCG64's uniform
doubles alone, so that they are the same on every platform.
"""

import enum
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from jaxemo.models.checkpoints import hub_layout
from jaxemo.models.checkpoints.names import flatten
from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import parameter_shapes


class UntrainedKind(enum.StrEnum):
    """Whose flags the untrained encoder has."""

    SPEECH = "speech"
    MUSIC = "music"
    SMALL = "small"


_TINY: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32,) * 7,
}
# As `tools/pretrain_small.sh` asks for them.
_SMALL: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "conv_dim": (32,) * 7,
}
_NO_DROPOUT: dict[str, Any] = {
    # Dropout on attention alone would take a third of a training step on a CPU.
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
}
_CONFIGS = {
    UntrainedKind.SPEECH: EncoderConfig(
        model_type="wav2vec2", sample_rate_hz=16000, **_TINY, **_NO_DROPOUT
    ),
    UntrainedKind.MUSIC: EncoderConfig(
        model_type="mert_model", sample_rate_hz=24000, **_TINY, **_NO_DROPOUT
    ),
    UntrainedKind.SMALL: EncoderConfig(
        model_type="hubert", sample_rate_hz=16000, **_SMALL, **_NO_DROPOUT
    ),
}


# Where the conv kernels' gain keeps the signal's scale through GELU, and the positional part at
# half its power.
_GELU_GAIN = 2.0
_POSITION_GAIN = 0.5


def write_untrained_encoder(kind: UntrainedKind | str, directory: Path, *, seed: int = 0) -> None:
    """Writes config.json, preprocessor_config.json and model.safetensors in hub layout.

    Args:
      kind: Whose flags.
      directory: Made if absent; these files in it are replaced.
      seed: Of PCG64; equal seeds give equal weights.

    Raises:
      ValueError: for an unknown kind.
    """
    kind = UntrainedKind(kind)
    config = _CONFIGS[kind]
    generator = np.random.Generator(np.random.PCG64([seed, list(UntrainedKind).index(kind)]))
    shapes = flatten(parameter_shapes(config))
    params = {path: _weight(path, shapes[path].shape, generator) for path in sorted(shapes)}
    hub_layout.write(
        directory,
        config=config,
        params=traverse_util.unflatten_dict(params, sep="/"),
        name=f"untrained {kind.value} encoder",
        origin=hub_layout.Origin.UNTRAINED,
        preprocessing=hub_layout.Preprocessing(
            config.sample_rate_hz, hub_layout.Normalisation.ZERO_MEAN_UNIT_VARIANCE
        ),
    )


def _weight(path: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Uniform with variance gain / fan-in for kernels, the identity for norms, zero for biases."""
    module, name = path.split("/")[-2:] if "/" in path else ("", path)
    if name == "scale":
        return np.ones(shape, np.float32)
    if name == "bias":
        return np.zeros(shape, np.float32)
    if name == "weight_g":
        return np.full(shape, _POSITION_GAIN, np.float32)
    uniform = np.sqrt(12.0) * (generator.random(shape) - 0.5)
    if name != "kernel":
        return uniform.astype(np.float32)
    inputs = tuple(range(len(shape) - 1))
    scale = np.sqrt((_GELU_GAIN if module == "conv" else 1.0) / np.prod(shape[:-1]))
    if module == "conv":
        # GELU's output has a positive mean; a kernel that sums to zero does not pass it on as a
        # constant.
        uniform = uniform - uniform.mean(axis=inputs, keepdims=True)
    return (scale * uniform).astype(np.float32)
