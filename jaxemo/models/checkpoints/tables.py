"""Tables of parameter names: a PyTorch checkpoint's, and the path in our tree.

A row is (name in a PyTorch checkpoint, path in our tree, layout). `{i}` stands for an index and
`{p}` for a word. Where two rows share a path, the first gives the name that is written. `names`
reads the tables in both directions; which family has which is in `models.families`.
"""

import enum


class Layout(enum.Enum):
    """How a tensor is turned on its way between PyTorch and Flax; each is its own inverse."""

    SAME = None
    DENSE = (1, 0)
    CONV = (2, 1, 0)


Name = tuple[str, str, Layout]
Names = tuple[Name, ...]

_NORM = (("weight", "scale"), ("bias", "bias"))


def _norms(torch_name: str, path: str) -> list[Name]:
    return [(f"{torch_name}.{t}", f"{path}/{ours}", Layout.SAME) for t, ours in _NORM]


def weights(torch_name: str, path: str, layout: Layout) -> list[Name]:
    """Rows of a layer's weight and bias."""
    return [
        (f"{torch_name}.weight", f"{path}/kernel", layout),
        (f"{torch_name}.bias", f"{path}/bias", Layout.SAME),
    ]


_STEM = "feature_extractor.conv_layers.{i}", "feature_extractor/conv_layers/{i}"
_LAYER = "encoder.layers.{i}", "encoder/layers/{i}"
_POSITION = "encoder.pos_conv_embed.conv", "encoder/pos_conv_embed/conv"

WAV2VEC2: Names = (
    *weights(f"{_STEM[0]}.conv", f"{_STEM[1]}/conv", Layout.CONV),
    *_norms(f"{_STEM[0]}.layer_norm", f"{_STEM[1]}/layer_norm"),
    *_norms("feature_projection.layer_norm", "feature_projection/layer_norm"),
    *weights("feature_projection.projection", "feature_projection/projection", Layout.DENSE),
    ("masked_spec_embed", "masked_spec_embed", Layout.SAME),
    (f"{_POSITION[0]}.weight_g", f"{_POSITION[1]}/weight_g", Layout.SAME),
    (f"{_POSITION[0]}.weight_v", f"{_POSITION[1]}/weight_v", Layout.SAME),
    (f"{_POSITION[0]}.bias", f"{_POSITION[1]}/bias", Layout.SAME),
    # PyTorch 2's spelling of the same weight normalisation.
    (f"{_POSITION[0]}.parametrizations.weight.original0", f"{_POSITION[1]}/weight_g", Layout.SAME),
    (f"{_POSITION[0]}.parametrizations.weight.original1", f"{_POSITION[1]}/weight_v", Layout.SAME),
    *weights(
        "encoder.pos_conv_embed.layers.{i}.conv",
        "encoder/pos_conv_embed/layers/{i}/conv",
        Layout.CONV,
    ),
    *_norms("encoder.layer_norm", "encoder/layer_norm"),
    *weights(
        f"{_LAYER[0]}.attention.{{p}}_proj", f"{_LAYER[1]}/attention/{{p}}_proj", Layout.DENSE
    ),
    *weights(
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
    *weights(
        f"{_LAYER[0]}.feed_forward.{{p}}_dense",
        f"{_LAYER[1]}/feed_forward/{{p}}_dense",
        Layout.DENSE,
    ),
    *_norms(f"{_LAYER[0]}.final_layer_norm", f"{_LAYER[1]}/final_layer_norm"),
)

_WHISPER_BLOCK = "encoder.blocks.{i}"


def _openai_attention(theirs: str, ours: str) -> list[Name]:
    return weights(f"{_WHISPER_BLOCK}.attn.{theirs}", f"{_LAYER[1]}/attention/{ours}", Layout.DENSE)


# Whisper's encoder: Hugging Face's names, then OpenAI's where they differ.
WHISPER: Names = (
    *weights("encoder.conv1", "feature_extractor/conv_layers/0/conv", Layout.CONV),
    *weights("encoder.conv2", "feature_extractor/conv_layers/1/conv", Layout.CONV),
    ("encoder.embed_positions.weight", "encoder/embed_positions/embedding", Layout.SAME),
    *weights(
        f"{_LAYER[0]}.self_attn.{{p}}_proj", f"{_LAYER[1]}/attention/{{p}}_proj", Layout.DENSE
    ),
    *_norms(f"{_LAYER[0]}.self_attn_layer_norm", f"{_LAYER[1]}/layer_norm"),
    *weights(f"{_LAYER[0]}.fc1", f"{_LAYER[1]}/feed_forward/intermediate_dense", Layout.DENSE),
    *weights(f"{_LAYER[0]}.fc2", f"{_LAYER[1]}/feed_forward/output_dense", Layout.DENSE),
    *_norms(f"{_LAYER[0]}.final_layer_norm", f"{_LAYER[1]}/final_layer_norm"),
    *_norms("encoder.layer_norm", "encoder/layer_norm"),
    ("encoder.positional_embedding", "encoder/embed_positions/embedding", Layout.SAME),
    *_openai_attention("query", "q_proj"),
    *_openai_attention("key", "k_proj"),
    *_openai_attention("value", "v_proj"),
    *_openai_attention("out", "out_proj"),
    *_norms(f"{_WHISPER_BLOCK}.attn_ln", f"{_LAYER[1]}/layer_norm"),
    *weights(
        f"{_WHISPER_BLOCK}.mlp.0", f"{_LAYER[1]}/feed_forward/intermediate_dense", Layout.DENSE
    ),
    *weights(f"{_WHISPER_BLOCK}.mlp.2", f"{_LAYER[1]}/feed_forward/output_dense", Layout.DENSE),
    *_norms(f"{_WHISPER_BLOCK}.mlp_ln", f"{_LAYER[1]}/final_layer_norm"),
    *_norms("encoder.ln_post", "encoder/layer_norm"),
)
