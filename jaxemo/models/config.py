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

FAMILIES = ("wav2vec2", "hubert", "mert_model", "wavlm", "data2vec-audio", "whisper")
ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")

# Keys whose true (or non-null) value asks for a computation that no released checkpoint of these
# families uses.
_REFUSED = {
    "feature_extractor_cqt": "the constant-Q branch of MERT",
    "deepnorm": "DeepNorm residual scaling",
    "add_adapter": "the convolutional adapter after the encoder",
    "adapter_attn_dim": "the per-language attention adapters of MMS",
    "conv_pos_batch_norm": "batch norm in the positional convolution",
    "scale_embedding": "scaled embeddings",
}

# Samples from one log-mel frame to the next; Whisper's stem reads these frames.
MEL_HOP_SAMPLES = 160


class StemNorm(enum.StrEnum):
    """The stem's norm: over time after its first layer, over channels after every layer, or none."""

    GROUP = "group"
    LAYER = "layer"
    NONE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and flags of one encoder, under the names of the hub's `config.json` where it has one.

    `pos_conv_depth` is 0 for the one weight-normalised positional convolution of wav2vec 2.0 and
    the number of stacked plain convolutions for data2vec. `num_buckets` is 0 where attention has no
    relative position bias. `num_mel_bins` is 0 where the stem reads the waveform and the width of
    the log-mel frames that Whisper's reads; `max_positions` is then the number of its learnt frame
    positions. Dropout rates act only when the module is called with `deterministic=False`.
    """

    model_type: str = "wav2vec2"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_padding: int = 0
    conv_bias: bool = False
    num_mel_bins: int = 0
    feat_extract_norm: StemNorm = StemNorm.GROUP
    feat_extract_activation: str = "gelu"
    feat_proj_layer_norm: bool = True
    pos_conv_taps: int = 128
    pos_conv_groups: int = 16
    pos_conv_depth: int = 0
    max_positions: int = 0
    key_bias: bool = True
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
        values = {**_FAMILY_DEFAULTS.get(model_type, {}), **values}
        if model_type == "whisper":
            values["conv_dim"] = (values["hidden_size"],) * len(values["conv_kernel"])
        return cls(**values)

    def to_hub(self) -> dict[str, Any]:
        """A `config.json` that `from_hub` reads back equal and Hugging Face transformers accepts."""
        hub: dict[str, Any] = {"architectures": [_ARCHITECTURES[self.model_type]]}
        for field in dataclasses.fields(self):
            key = _hub_key(field.name, self.model_type)
            if key is not None:
                value = getattr(self, field.name)
                hub[key] = list(value) if isinstance(value, tuple) else value
        if self.model_type == "whisper":
            # transformers has no Whisper without a decoder; one of the encoder's sizes can be built.
            hub["decoder_layers"] = self.num_hidden_layers
            hub["decoder_attention_heads"] = self.num_attention_heads
            hub["decoder_ffn_dim"] = self.intermediate_size
        else:
            hub["num_feat_extract_layers"] = len(self.conv_dim)
        return hub

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next: the product of the strides."""
        return self._input_hop * int(np.prod(self.conv_stride))

    @property
    def shortest_clip_samples(self) -> int:
        """Samples of the shortest clip with a frame.

        The receptive field 1 + sum_i (kernel_i - 1) prod_{j<i} stride_j where the stem reads the
        waveform, one hop of the log-mel frames where it reads those.
        """
        if self.num_mel_bins:
            return MEL_HOP_SAMPLES
        hops = np.cumprod((1, *self.conv_stride[:-1]))
        return 1 + int(np.sum((np.array(self.conv_kernel) - 1) * hops))

    @property
    def longest_clip_samples(self) -> int | None:
        """Samples of the longest clip that has positions (30 s for Whisper); None where any has."""
        return self.max_positions * self.hop_samples if self.max_positions else None

    def num_frames(self, num_samples: Count) -> Count:
        """Frames of a clip; 0 if too short. See `num_frames_after`."""
        return self.num_frames_after(num_samples, num_layers=len(self.conv_dim))

    def num_frames_after(self, num_samples: Count, *, num_layers: int) -> Count:
        """Frames after `num_layers` convolutions: n <- (n + 2 padding - kernel) // stride + 1."""
        count = num_samples // self._input_hop
        for kernel, stride in zip(
            self.conv_kernel[:num_layers], self.conv_stride[:num_layers], strict=True
        ):
            count = (count + 2 * self.conv_padding - kernel) // stride + 1
        return count * (count > 0)

    @property
    def _input_hop(self) -> int:
        """Samples from one step of the stem's input to the next."""
        return MEL_HOP_SAMPLES if self.num_mel_bins else 1


_ARCHITECTURES = {
    "wav2vec2": "Wav2Vec2Model",
    "hubert": "HubertModel",
    "mert_model": "MERTModel",
    "wavlm": "WavLMModel",
    "data2vec-audio": "Data2VecAudioModel",
    "whisper": "WhisperModel",
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
    "whisper": {
        "hidden_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "conv_kernel": (3, 3),
        "conv_stride": (1, 2),
        "conv_padding": 1,
        "conv_bias": True,
        "num_mel_bins": 80,
        "feat_extract_norm": StemNorm.NONE,
        "pos_conv_groups": 1,
        "max_positions": 1500,
        "key_bias": False,
        "do_stable_layer_norm": True,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "layerdrop": 0.0,
        "mask_time_prob": 0.0,
    },
}

# Whisper's own names of what it has a key for.
_WHISPER_KEYS = {
    "model_type": "model_type",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
    "hidden_act": "activation_function",
    "hidden_dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "layerdrop": "encoder_layerdrop",
    "initializer_range": "init_std",
    "num_mel_bins": "num_mel_bins",
    "max_positions": "max_source_positions",
}

# Far above any encoder: a hostile file must not make us build a network for hours.
_LARGEST = {
    "num_hidden_layers": 1000,
    "pos_conv_depth": 100,
    "num_mel_bins": 1000,
    "max_positions": 1_000_000,
}
_MOST_CONVOLUTIONS = 100

# What one family alone has, and no other can ask for.
_WHISPER_ONLY = ("num_mel_bins", "max_positions", "conv_padding", "key_bias")


def _hub_key(name: str, model_type: str) -> str | None:
    """The `config.json` key of a field, or None where that family has none."""
    if model_type == "whisper":
        return _WHISPER_KEYS.get(name)
    if name in _WHISPER_ONLY:
        return None
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
    problems += [
        f"{name} = {getattr(config, name)}, expected at most {most}"
        for name, most in _LARGEST.items()
        if getattr(config, name) > most
    ]
    if bool(config.num_mel_bins) != bool(config.max_positions):
        problems.append(
            f"num_mel_bins = {config.num_mel_bins} and max_positions = {config.max_positions}: "
            "a log-mel stem and a table of positions go together"
        )
    lists = (config.conv_dim, config.conv_kernel, config.conv_stride)
    if len({len(values) for values in lists}) != 1 or not config.conv_dim:
        lengths = ", ".join(str(len(values)) for values in lists)
        problems.append(f"conv_dim, conv_kernel and conv_stride have {lengths} entries")
    if len(config.conv_dim) > _MOST_CONVOLUTIONS:
        problems.append(f"conv_dim has more than {_MOST_CONVOLUTIONS} entries")
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
