"""What an encoder is made of, read from a hub `config.json`.

`EncoderConfig.from_hub` fills absent keys with Hugging Face's defaults and refuses, in one error
that names every reason, whatever this package does not compute. `EncoderConfig.to_hub` writes the
same facts back. Which key a family has for a field, and what it fixes without one, is its row in
`families`. The frame formula lives here because it follows from the configuration alone.
"""

import dataclasses
import math
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Array, Int

from jaxemo.models.families import FAMILIES, Family, FrontEnd, Positions, StemNorm

# One length or many; lengths come back in the kind that they were given in.
Count = TypeVar("Count", int, np.integer, Int[Array, "..."], Int[np.ndarray, "..."])

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and flags of one encoder, under the names of the hub's `config.json` where it has one.

    `pos_conv_depth` is the number of stacked positional convolutions, `max_positions` that of the
    frames in a table of positions, `num_mel_bins` the width of the log-mel frames that the stem
    reads; each is 0 in families without. `num_buckets` is 0 where attention has no relative position
    bias. Dropout rates act only when the module is called with `deterministic=False`.
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
        if not isinstance(model_type, str) or model_type not in FAMILIES:
            raise ValueError(
                f"config.json has model_type {reprlib.repr(model_type)}; jaxemo computes "
                f"{', '.join(FAMILIES)}"
            )
        family = FAMILIES[model_type]
        problems = [
            f"{key} = {reprlib.repr(hub[key])} ({meaning}) is not supported"
            for key, meaning in _REFUSED.items()
            if hub.get(key) not in (None, False)
        ]
        values: dict[str, Any] = {"model_type": model_type}
        for field in dataclasses.fields(cls):
            key = family.keys.get(field.name)
            if field.name == "model_type" or key is None or hub.get(key) is None:
                continue
            try:
                values[field.name] = _parse(field.name, field.default, hub[key])
            except ValueError as error:
                problems.append(f"{key} = {reprlib.repr(hub[key])}: {error}")
        if problems:
            raise ValueError(
                f"config.json of model_type {model_type!r:.200}: {'; '.join(problems)}"
            )
        values = {**family.defaults, **values}
        if family.front_end is FrontEnd.LOG_MEL:
            values["conv_dim"] = (values["hidden_size"],) * len(values["conv_kernel"])
        return cls(**values)

    def to_hub(self) -> dict[str, Any]:
        """A `config.json` that `from_hub` reads back equal and Hugging Face transformers accepts."""
        keys, repeated = self.family.keys, self.family.repeated_keys
        hub: dict[str, Any] = {"architectures": [self.family.architecture]}
        for field in dataclasses.fields(self):
            if field.name in keys:
                value = getattr(self, field.name)
                hub[keys[field.name]] = list(value) if isinstance(value, tuple) else value
        if "conv_dim" in keys:
            hub["num_feat_extract_layers"] = len(self.conv_dim)
        return hub | {key: getattr(self, name) for key, name in repeated.items()}

    @property
    def family(self) -> Family:
        """What the family has of its own."""
        return FAMILIES[self.model_type]

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next: the product of the strides."""
        return self._input_hop * math.prod(self.conv_stride)

    @property
    def shortest_clip_samples(self) -> int:
        """Samples of the shortest clip with a frame.

        The receptive field 1 + sum_i (kernel_i - 1) prod_{j<i} stride_j where the stem reads the
        waveform, one hop of the log-mel frames where it reads those.
        """
        if self.family.front_end is FrontEnd.LOG_MEL:
            return MEL_HOP_SAMPLES
        return _receptive_field(self)

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
        # The same kind as `num_samples`, which the type checker does not follow through the arithmetic.
        return cast(Count, count * (count > 0))

    @property
    def _input_hop(self) -> int:
        """Samples from one step of the stem's input to the next."""
        return MEL_HOP_SAMPLES if self.family.front_end is FrontEnd.LOG_MEL else 1


# Far above any encoder: a hostile file must not make us build a network for hours, or numbers that
# no array's shape holds.
_LARGEST_SIZE = 10**12
_LARGEST_NUMBER = 1e6
_MOST_CONVOLUTIONS = 100
# One second at the highest rate; the published stems see 25 ms.
_WIDEST_STEM_SAMPLES = 768_000
# Least and most of each size.
_RANGES = {
    "hidden_size": (1, _LARGEST_SIZE),
    "num_hidden_layers": (1, 1000),
    "num_attention_heads": (1, _LARGEST_SIZE),
    "intermediate_size": (1, _LARGEST_SIZE),
    "num_mel_bins": (0, 1000),
    "pos_conv_taps": (1, 1_000_000),
    "pos_conv_groups": (1, _LARGEST_SIZE),
    "pos_conv_depth": (0, 100),
    "max_positions": (0, 1_000_000),
    "num_buckets": (0, 1_000_000),
    "max_bucket_distance": (0, 1_000_000),
    "sample_rate_hz": (4_000, 768_000),
}
_SHARES = (
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
    "layerdrop",
)


def _parse(name: str, default: Any, value: Any) -> Any:
    """A JSON value as the kind of the field's default."""
    if name == "feat_extract_norm":
        return StemNorm(value)
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
            raise ValueError("expected a list of whole numbers")
        return tuple(value)
    if isinstance(default, float) and type(value) in (int, float):
        # Neither NaN nor a whole number beyond what a float holds is in this range.
        if not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
            raise ValueError("expected a finite number")
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"expected {type(default).__name__}")
    return value


def _inconsistencies(config: EncoderConfig) -> list[str]:
    """Every reason why the sizes and names cannot make one network."""
    if config.model_type not in FAMILIES:
        return [f"model_type = {config.model_type!r:.200}, known: {', '.join(FAMILIES)}"]
    return [*_bad_sizes(config), *_bad_stem(config), *_bad_values(config)]


def _bad_sizes(config: EncoderConfig) -> Iterator[str]:
    for name, (least, most) in _RANGES.items():
        value, key = getattr(config, name), config.family.keys.get(name, name)
        if value < least:
            yield f"{key} = {value}, expected at least {least}"
        elif value > most:
            yield f"{key} = {reprlib.repr(value)}, expected at most {most}"
    for name in ("num_attention_heads", "pos_conv_groups"):
        divisor = getattr(config, name)
        if divisor >= 1 and config.hidden_size % divisor:
            yield f"hidden_size {config.hidden_size} is no multiple of {name} {divisor}"


def _bad_stem(config: EncoderConfig) -> Iterator[str]:
    family = config.family
    for name, needed in (
        ("num_mel_bins", family.front_end is FrontEnd.LOG_MEL),
        ("max_positions", family.positions is Positions.TABLE),
        ("pos_conv_depth", family.positions is Positions.STACKED_CONVOLUTIONS),
    ):
        value = getattr(config, name)
        if value < 1 if needed else value != 0:
            key = family.keys.get(name, name)
            yield f"{key} = {value}, expected {'at least 1' if needed else '0'} here"
    lists = (config.conv_dim, config.conv_kernel, config.conv_stride)
    if len({len(values) for values in lists}) != 1 or not config.conv_dim:
        lengths = ", ".join(str(len(values)) for values in lists)
        yield f"conv_dim, conv_kernel and conv_stride have {lengths} entries"
    if len(config.conv_dim) > _MOST_CONVOLUTIONS:
        yield f"conv_dim has more than {_MOST_CONVOLUTIONS} entries"
    if any(value < 1 for values in lists for value in values):
        yield "conv_dim, conv_kernel and conv_stride must be at least 1 everywhere"
    elif max(_receptive_field(config), math.prod(config.conv_stride)) > _WIDEST_STEM_SAMPLES:
        yield f"conv_kernel and conv_stride reach further than {_WIDEST_STEM_SAMPLES} samples"
    if any(value > _LARGEST_SIZE for value in config.conv_dim):
        yield f"conv_dim has an entry above {_LARGEST_SIZE}"


def _receptive_field(config: EncoderConfig) -> int:
    """1 + sum_i (kernel_i - 1) prod_{j<i} stride_j, in whole numbers of any length."""
    field, hop = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=False):
        field += (kernel - 1) * hop
        hop *= stride
    return field


def _bad_values(config: EncoderConfig) -> Iterator[str]:
    for name in ("hidden_act", "feat_extract_activation"):
        if getattr(config, name) not in ACTIVATIONS:
            yield f"{name} = {getattr(config, name)!r:.200}, known: {', '.join(ACTIVATIONS)}"
    for name in _SHARES:
        if not 0.0 <= getattr(config, name) <= 1.0:
            yield f"{name} = {getattr(config, name)}, expected 0 to 1"
    if config.num_buckets and not 4 <= config.num_buckets < 4 * config.max_bucket_distance:
        yield (
            f"num_buckets = {config.num_buckets} and max_bucket_distance = "
            f"{config.max_bucket_distance}: expected at least 4 and more than a quarter of that"
        )
    if config.layer_norm_eps <= 0:
        yield f"layer_norm_eps = {config.layer_norm_eps}, expected more than 0"
