"""The table between checkpoint names and the parameter tree, read in both directions.

A row is (name in a PyTorch checkpoint, path in our tree, layout). `{i}` stands for an index and
`{p}` for a word. Where two rows share a path, the first gives the name that is written. Every
checkpoint key is used, or is on `IGNORED`, or is an error; the errors of a whole checkpoint are
raised together.
"""

import enum
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

# Numbers of any width; bfloat16 arrives as ml_dtypes' extension type, which numpy does not call a
# float.
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Layout(enum.Enum):
    """How a tensor is turned on its way between PyTorch and Flax; each is its own inverse."""

    SAME = None
    DENSE = (1, 0)
    CONV = (2, 1, 0)


_NORM = (("weight", "scale"), ("bias", "bias"))


def _norms(torch_name: str, path: str) -> list[tuple[str, str, Layout]]:
    return [(f"{torch_name}.{t}", f"{path}/{ours}", Layout.SAME) for t, ours in _NORM]


def _weights(torch_name: str, path: str, layout: Layout) -> list[tuple[str, str, Layout]]:
    return [
        (f"{torch_name}.weight", f"{path}/kernel", layout),
        (f"{torch_name}.bias", f"{path}/bias", Layout.SAME),
    ]


_STEM = "feature_extractor.conv_layers.{i}", "feature_extractor/conv_layers/{i}"
_LAYER = "encoder.layers.{i}", "encoder/layers/{i}"
_POSITION = "encoder.pos_conv_embed.conv", "encoder/pos_conv_embed/conv"

TABLE: tuple[tuple[str, str, Layout], ...] = (
    *_weights(f"{_STEM[0]}.conv", f"{_STEM[1]}/conv", Layout.CONV),
    *_norms(f"{_STEM[0]}.layer_norm", f"{_STEM[1]}/layer_norm"),
    *_norms("feature_projection.layer_norm", "feature_projection/layer_norm"),
    *_weights("feature_projection.projection", "feature_projection/projection", Layout.DENSE),
    ("masked_spec_embed", "masked_spec_embed", Layout.SAME),
    (f"{_POSITION[0]}.weight_g", f"{_POSITION[1]}/weight_g", Layout.SAME),
    (f"{_POSITION[0]}.weight_v", f"{_POSITION[1]}/weight_v", Layout.SAME),
    (f"{_POSITION[0]}.bias", f"{_POSITION[1]}/bias", Layout.SAME),
    # PyTorch 2's spelling of the same weight normalisation.
    (f"{_POSITION[0]}.parametrizations.weight.original0", f"{_POSITION[1]}/weight_g", Layout.SAME),
    (f"{_POSITION[0]}.parametrizations.weight.original1", f"{_POSITION[1]}/weight_v", Layout.SAME),
    *_weights(
        "encoder.pos_conv_embed.layers.{i}.conv",
        "encoder/pos_conv_embed/layers/{i}/conv",
        Layout.CONV,
    ),
    *_norms("encoder.layer_norm", "encoder/layer_norm"),
    *_weights(
        f"{_LAYER[0]}.attention.{{p}}_proj", f"{_LAYER[1]}/attention/{{p}}_proj", Layout.DENSE
    ),
    *_weights(
        f"{_LAYER[0]}.attention.gru_rel_pos_linear",
        f"{_LAYER[1]}/attention/gru_rel_pos_linear",
        Layout.DENSE,
    ),
    (
        f"{_LAYER[0]}.attention.gru_rel_pos_const",
        f"{_LAYER[1]}/attention/gru_rel_pos_const",
        Layout.SAME,
    ),
    (
        f"{_LAYER[0]}.attention.rel_attn_embed.weight",
        f"{_LAYER[1]}/attention/rel_attn_embed/embedding",
        Layout.SAME,
    ),
    *_norms(f"{_LAYER[0]}.layer_norm", f"{_LAYER[1]}/layer_norm"),
    *_weights(
        f"{_LAYER[0]}.feed_forward.{{p}}_dense",
        f"{_LAYER[1]}/feed_forward/{{p}}_dense",
        Layout.DENSE,
    ),
    *_norms(f"{_LAYER[0]}.final_layer_norm", f"{_LAYER[1]}/final_layer_norm"),
)

_WHISPER_BLOCK = "encoder.blocks.{i}"


def _openai_attention(theirs: str, ours: str) -> list[tuple[str, str, Layout]]:
    return _weights(
        f"{_WHISPER_BLOCK}.attn.{theirs}", f"{_LAYER[1]}/attention/{ours}", Layout.DENSE
    )


# Whisper's encoder: Hugging Face's names, then OpenAI's where they differ.
WHISPER_TABLE: tuple[tuple[str, str, Layout], ...] = (
    *_weights("encoder.conv1", "feature_extractor/conv_layers/0/conv", Layout.CONV),
    *_weights("encoder.conv2", "feature_extractor/conv_layers/1/conv", Layout.CONV),
    ("encoder.embed_positions.weight", "encoder/embed_positions/embedding", Layout.SAME),
    *_weights(
        f"{_LAYER[0]}.self_attn.{{p}}_proj", f"{_LAYER[1]}/attention/{{p}}_proj", Layout.DENSE
    ),
    *_norms(f"{_LAYER[0]}.self_attn_layer_norm", f"{_LAYER[1]}/layer_norm"),
    *_weights(f"{_LAYER[0]}.fc1", f"{_LAYER[1]}/feed_forward/intermediate_dense", Layout.DENSE),
    *_weights(f"{_LAYER[0]}.fc2", f"{_LAYER[1]}/feed_forward/output_dense", Layout.DENSE),
    *_norms(f"{_LAYER[0]}.final_layer_norm", f"{_LAYER[1]}/final_layer_norm"),
    *_norms("encoder.layer_norm", "encoder/layer_norm"),
    ("encoder.positional_embedding", "encoder/embed_positions/embedding", Layout.SAME),
    *_openai_attention("query", "q_proj"),
    *_openai_attention("key", "k_proj"),
    *_openai_attention("value", "v_proj"),
    *_openai_attention("out", "out_proj"),
    *_norms(f"{_WHISPER_BLOCK}.attn_ln", f"{_LAYER[1]}/layer_norm"),
    *_weights(
        f"{_WHISPER_BLOCK}.mlp.0", f"{_LAYER[1]}/feed_forward/intermediate_dense", Layout.DENSE
    ),
    *_weights(f"{_WHISPER_BLOCK}.mlp.2", f"{_LAYER[1]}/feed_forward/output_dense", Layout.DENSE),
    *_norms(f"{_WHISPER_BLOCK}.mlp_ln", f"{_LAYER[1]}/final_layer_norm"),
    *_norms("encoder.ln_post", "encoder/layer_norm"),
)

# The base model inside a model with a head.
PREFIXES = ("wav2vec2.", "hubert.", "wavlm.", "data2vec_audio.", "model.")

# Heads and pre-training parts around the encoder; nothing of the encoder itself may be listed here.
IGNORED: tuple[str, ...] = (
    r"(quantizer|project_q|project_hid)\..+",  # wav2vec 2.0 pre-training
    r"(final_proj\..+|label_embs_concat)",  # HuBERT and MERT pre-training
    r"lm_head\..+",  # speech recognition
    r"(classifier|projector|tdnn|objective)\..+|layer_weights",  # classification, speaker models
    r"feature_extractor\.(weight|bias)",  # the x-vector head's dense layer, not the stem
    r"(decoder\..+|proj_out\.weight)",  # Whisper's other half
)


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for mark, expression in (("i", r"(?P<i>0|[1-9]\d*)"), ("p", r"(?P<p>[a-z]+)")):
        escaped = escaped.replace(re.escape(f"{{{mark}}}"), expression)
    return re.compile(escaped)


_FROM_TORCH = tuple(
    (_pattern(name), path, layout) for name, path, layout in (*TABLE, *WHISPER_TABLE)
)
_TO_TORCH = tuple((_pattern(path), name, layout) for name, path, layout in TABLE)
_TO_WHISPER = tuple((_pattern(path), name, layout) for name, path, layout in WHISPER_TABLE)


def params_from_torch(
    tensors: Mapping[str, np.ndarray], template: Mapping[str, Any], *, optional: frozenset[str]
) -> dict[str, Any]:
    """A parameter tree from the tensors of a PyTorch checkpoint.

    Args:
      tensors: By checkpoint name, with or without the prefix of a model with a head.
      template: The tree of `ShapeDtypeStruct` that the configuration asks for.
      optional: Paths that may be missing and are then zero.

    Raises:
      ValueError: listing every missing, unexpected, doubled, mis-shaped and mis-typed key.
    """
    found: dict[str, tuple[str, np.ndarray]] = {}
    problems = []
    for name, tensor in tensors.items():
        match = _match(_without_prefix(name, PREFIXES), _FROM_TORCH)
        if match is None:
            if not _is_ignored(_without_prefix(name, PREFIXES)):
                problems.append(f"unexpected {name}")
            continue
        path, layout = match
        if path in found:
            problems.append(f"both {found[path][0]} and {name}")
        if layout.value is not None and np.ndim(tensor) == len(layout.value):
            tensor = np.transpose(tensor, layout.value)
        found[path] = (name, tensor)
    return _checked(found, template, optional=optional, problems=problems)


def params_from_flax(
    arrays: Mapping[str, np.ndarray], template: Mapping[str, Any], *, optional: frozenset[str]
) -> dict[str, Any]:
    """A parameter tree from the arrays of a Hugging Face Flax checkpoint, by their path in its tree.

    See `params_from_torch` for the rest.
    """
    wanted = traverse_util.flatten_dict(template, sep="/")
    found: dict[str, tuple[str, np.ndarray]] = {}
    problems = []
    for name, array in arrays.items():
        path = _without_prefix(name, tuple(prefix.replace(".", "/") for prefix in PREFIXES))
        if path in wanted:
            found[path] = (name, array)
        elif not _is_ignored(path.replace("/", ".")):
            problems.append(f"unexpected {name}")
    return _checked(found, template, optional=optional, problems=problems)


def torch_from_params(params: Mapping[str, Any], *, model_type: str) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint, by name; the inverse of `params_from_torch`."""
    table = _TO_WHISPER if model_type == "whisper" else _TO_TORCH
    tensors = {}
    for path, array in traverse_util.flatten_dict(params, sep="/").items():
        match = _match(path, table)
        if match is None:
            raise ValueError(f"no checkpoint name for parameter {path}")
        name, layout = match
        array = np.asarray(array)
        if layout.value is not None:
            array = np.transpose(array, layout.value)
        tensors[name] = np.ascontiguousarray(array)
    return tensors


def _checked(
    found: dict[str, tuple[str, np.ndarray]],
    template: Mapping[str, Any],
    *,
    optional: frozenset[str],
    problems: list[str],
) -> dict[str, Any]:
    """The tree in float32, if `found` has all of `template` in its shapes and nothing else."""
    wanted = traverse_util.flatten_dict(template, sep="/")
    problems += [
        f"missing {path}" for path in wanted if path not in found | dict.fromkeys(optional)
    ]
    params = {}
    for path, expected in wanted.items():
        if path not in found:
            continue
        name, tensor = found[path]
        if not hasattr(tensor, "shape") or tensor.shape != expected.shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            problems.append(f"mis-shaped {name}: {shape}, expected {expected.shape}")
        elif tensor.dtype.name not in _FLOATS:
            problems.append(f"mis-typed {name}: {tensor.dtype.name}, expected a float")
        else:
            params[path] = np.ascontiguousarray(tensor, np.float32)
    problems += [f"unexpected {name}" for path, (name, _) in found.items() if path not in wanted]
    if problems:
        raise ValueError(
            f"the checkpoint does not fit its configuration ({len(problems)} keys): "
            + "; ".join(sorted(problems))
        )
    for path in wanted.keys() - params.keys():
        params[path] = np.zeros(wanted[path].shape, np.float32)
    return traverse_util.unflatten_dict(params, sep="/")


def _match(
    name: str, table: tuple[tuple[re.Pattern, str, Layout], ...]
) -> tuple[str, Layout] | None:
    for pattern, template, layout in table:
        match = pattern.fullmatch(name)
        if match is not None:
            return template.format(**match.groupdict()), layout
    return None


def _without_prefix(name: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _is_ignored(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in IGNORED)
