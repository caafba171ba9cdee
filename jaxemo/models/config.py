"""What an encoder is made of, read from a hub `config.json`.

`EncoderConfig.from_hub` fills absent keys with Hugging Face's defaults and refuses, in one error
that names every reason, whatever this package does not compute. `EncoderConfig.to_hub` writes the
same facts back. The frame formula lives here because it follows from the configuration alone.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Int

Count = int | np.integer | Int[Array | np.ndarray, "..."]

FAMILIES = ("wav2vec2", "hubert", "mert_model", "wavlm", "data2vec-audio")
ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")

# Keys whose true (or non-null) value asks for a computation that no released checkpoint of these
# families uses.
_REFUSED = {
    "feature_extractor_cqt": "the constant-Q branch of MERT",
    "deepnorm": "DeepNorm residual scaling",
    "add_adapter": "the convolutional adapter after the encoder",
    "adapter_attn_dim": "the per-language attention adapters of MMS",
    "conv_pos_batch_norm": "batch norm in the positional convolution",
}


class StemNorm(enum.StrEnum):
    """The stem's norm: over time after its first layer, or over channels after every layer."""

    GROUP = "group"
    LAYER = "layer"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and flags of one encoder, under the names of the hub's `config.json` where it has one.

    `pos_conv_depth` is 0 for the one weight-normalised positional convolution of wav2vec 2.0 and
    the number of stacked plain convolutions for data2vec. `num_buckets` is 0 where attention has no
    relative position bias. Dropout rates act only when the module is called with
    `deterministic=False`.
    """

    model_type: str = "wav2vec2"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: StemNorm = StemNorm.GROUP
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True
    pos_conv_taps: int = 128
    pos_conv_groups: int = 16
    pos_conv_depth: int = 0
    num_buckets: int = 0
    max_bucket_distance: int = 0
    do_stable_layer_norm: bool = False
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.1
    feat_proj_dropout: float = 0.0
    layerdrop: float = 0.1
    initializer_range: float = 0.02
    mask_time_prob: float = 0.05
    mask_feature_prob: float = 0.0
    sample_rate_hz: int = 16000

    def __post_init__(self):
        problems = _inconsistencies(self)
        if problems:
            raise ValueError(f"not a usable encoder configuration: {'; '.join(problems)}")

    @classmethod
    def from_hub(cls, hub: Mapping[str, Any]) -> "EncoderConfig":
        """The configuration in a parsed `config.json`.

        Raises:
          ValueError: naming every key that asks for something unsupported or has a value of the
            wrong kind.
        """
        model_type = hub.get("model_type")
        if model_type not in FAMILIES:
            raise ValueError(
                f"config.json has model_type {model_type!r}; jaxemo computes {', '.join(FAMILIES)}"
            )
        problems = [
            f"{key} = {hub[key]!r} ({meaning}) is not supported"
            for key, meaning in _REFUSED.items()
            if hub.get(key) not in (None, False)
        ]
        values: dict[str, Any] = {"model_type": model_type}
        for field in dataclasses.fields(cls):
            key = _hub_key(field.name, model_type)
            if field.name == "model_type" or key is None or hub.get(key) is None:
                continue
            try:
                values[field.name] = _parse(field.name, field.default, hub[key])
            except ValueError as error:
                problems.append(f"{key} = {hub[key]!r}: {error}")
        if problems:
            raise ValueError(f"config.json of model_type {model_type!r}: {'; '.join(problems)}")
        return cls(**{**_FAMILY_DEFAULTS.get(model_type, {}), **values})

    def to_hub(self) -> dict[str, Any]:
        """A `config.json` that `from_hub` reads back equal and Hugging Face transformers accepts."""
        hub: dict[str, Any] = {"architectures": [_ARCHITECTURES[self.model_type]]}
        for field in dataclasses.fields(self):
            key = _hub_key(field.name, self.model_type)
            if key is not None:
                value = getattr(self, field.name)
                hub[key] = list(value) if isinstance(value, tuple) else value
        hub["num_feat_extract_layers"] = len(self.conv_dim)
        return hub

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next: the product of the strides."""
        return int(np.prod(self.conv_stride))

    @property
    def receptive_field_samples(self) -> int:
        """Samples under one frame, the shortest clip: 1 + sum_i (kernel_i - 1) prod_{j<i} stride_j."""
        hops = np.cumprod((1, *self.conv_stride[:-1]))
        return 1 + int(np.sum((np.array(self.conv_kernel) - 1) * hops))

    def num_frames(self, num_samples: Count) -> Count:
        """Frames of a clip: n <- (n - kernel) // stride + 1 through the stem; 0 if too short."""
        return self.num_frames_after(num_samples, num_layers=len(self.conv_dim))

    def num_frames_after(self, num_samples: Count, *, num_layers: int) -> Count:
        """Frames after `num_layers` convolutions that lie wholly within the clip."""
        count = num_samples
        for kernel, stride in zip(
            self.conv_kernel[:num_layers], self.conv_stride[:num_layers], strict=True
        ):
            count = (count - kernel) // stride + 1
        return count * (count > 0)


_ARCHITECTURES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "mert_model": "MERTModel",
    "wavlm": "WavLMModel",
    "data2vec-audio": "Data2VecAudioModel",
}


# What a family fixes without a key in config.json, or defaults to differently from wav2vec 2.0.
_FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "mert_model": {"sample_rate_hz": 24000},
    "wavlm": {"num_buckets": 320, "max_bucket_distance": 800},
    "data2vec-audio": {
        "feat_extract_norm": StemNorm.LAYER,
        "pos_conv_taps": 19,
        "pos_conv_depth": 5,
    },
}


def _hub_key(name: str, model_type: str) -> str | None:
    """The `config.json` key of a field, or None where that family has none."""
    stacked = model_type == "data2vec-audio"
    special = {
        "pos_conv_taps": "conv_pos_kernel_size" if stacked else "num_conv_pos_embeddings",
        "pos_conv_groups": "num_conv_pos_embedding_groups",
        "pos_conv_depth": "num_conv_pos_embeddings" if stacked else None,
        "num_buckets": "num_buckets" if model_type == "wavlm" else None,
        "max_bucket_distance": "max_bucket_distance" if model_type == "wavlm" else None,
        "feat_proj_layer_norm": name if model_type in ("hubert", "mert_model") else None,
        "feat_extract_norm": None if stacked else name,
        "do_stable_layer_norm": None if stacked else name,
        "sample_rate_hz": "sample_rate" if model_type == "mert_model" else None,
    }
    return special.get(name, name)


def _parse(name: str, default: Any, value: Any) -> Any:
    """A JSON value as the kind of the field's default."""
    if name == "feat_extract_norm":
        return StemNorm(value)
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
            raise ValueError("expected a list of whole numbers")
        return tuple(value)
    if isinstance(default, float) and type(value) in (int, float):
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"expected {type(default).__name__}")
    return value


def _inconsistencies(config: EncoderConfig) -> list[str]:
    """Every reason why the sizes and names cannot make one network."""
    sizes = {
        name: getattr(config, name)
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "pos_conv_taps",
            "pos_conv_groups",
            "sample_rate_hz",
        )
    }
    problems = [f"{name} = {size}, expected at least 1" for name, size in sizes.items() if size < 1]
    lists = (config.conv_dim, config.conv_kernel, config.conv_stride)
    if len({len(values) for values in lists}) != 1 or not config.conv_dim:
        lengths = ", ".join(str(len(values)) for values in lists)
        problems.append(f"conv_dim, conv_kernel and conv_stride have {lengths} entries")
    if any(value < 1 for values in lists for value in values):
        problems.append("conv_dim, conv_kernel and conv_stride must be at least 1 everywhere")
    for divisor in ("num_attention_heads", "pos_conv_groups"):
        if sizes[divisor] >= 1 and config.hidden_size % sizes[divisor]:
            problems.append(
                f"hidden_size {config.hidden_size} is no multiple of {divisor} {sizes[divisor]}"
            )
    for name in ("hidden_act", "feat_extract_activation"):
        if getattr(config, name) not in ACTIVATIONS:
            problems.append(f"{name} = {getattr(config, name)!r}, known: {', '.join(ACTIVATIONS)}")
    for name in (
        "hidden_dropout",
        "attention_dropout",
        "activation_dropout",
        "feat_proj_dropout",
        "layerdrop",
    ):
        if not 0.0 <= getattr(config, name) <= 1.0:
            problems.append(f"{name} = {getattr(config, name)}, expected 0 to 1")
    if config.num_buckets and not 4 <= config.num_buckets < 4 * config.max_bucket_distance:
        problems.append(
            f"num_buckets = {config.num_buckets} and max_bucket_distance = "
            f"{config.max_bucket_distance}: expected at least 4 and more than a quarter of that"
        )
    if config.layer_norm_eps <= 0:
        problems.append(f"layer_norm_eps = {config.layer_norm_eps}, expected more than 0")
    return problems
