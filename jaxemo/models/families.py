"""The families of encoders, one row each: what a family's configuration and files have of their own.

To add a family, add a row to `FAMILIES`, and a table to `checkpoints.tables` where its parameters
are not called as wav2vec 2.0's are. Configuration, checkpoint names and hub folders read the row.
"""

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxemo.models.checkpoints import tables


class FrontEnd(enum.Enum):
    """What the stem reads, and so what follows it.

    WAVEFORM: one channel of samples; the stem's channels are projected to the model width, and a
    learnt embedding can mask frames. LOG_MEL: log-mel frames; the stem ends in the model width.
    """

    WAVEFORM = "waveform"
    LOG_MEL = "log_mel"


class Positions(enum.Enum):
    """How frames learn where they are; see `positional`."""

    CONVOLUTION = "convolution"
    STACKED_CONVOLUTIONS = "stacked_convolutions"
    TABLE = "table"


class StemNorm(enum.StrEnum):
    """The stem's norm: over time after its first layer, over channels after every layer, or none."""

    GROUP = "group"
    LAYER = "layer"
    NONE = "none"


class Normalisation(enum.StrEnum):
    """What is done to a clip's own samples before the encoder sees them."""

    NONE = "none"
    ZERO_MEAN_UNIT_VARIANCE = "zero_mean_unit_variance"


class Family(NamedTuple):
    """One family of encoders.

    Attributes:
      model_type: Its name in `config.json`.
      architecture: The class of Hugging Face transformers that `config.json` names.
      classifier: Its class for classification of whole clips; empty where there is none of the kind
        that `checkpoints.heads` writes.
      keys: The key in `config.json` of each field of `EncoderConfig` that the family has one for.
      defaults: Fields that the family fixes without a key, or defaults to differently from
        `EncoderConfig`.
      repeated_keys: Further keys that are written, with the field whose value they repeat.
      front_end: What the stem reads.
      positions: The form of the position embedding.
      names: Names of its parameters in a PyTorch checkpoint.
      prefix: Of those names, in a model with a head; empty where there is none.
      ignored: Patterns of names of heads and pre-training parts around the encoder; nothing of the
        encoder itself may be listed.
      normalisation: What an absent `preprocessor_config.json` means.
      feature_extractor: What is written to `preprocessor_config.json` besides rate, normalisation
        and number of input channels.
      has_flax_layout: Whether Hugging Face's Flax models have the family.
    """

    model_type: str
    architecture: str
    classifier: str
    keys: Mapping[str, str]
    defaults: Mapping[str, Any]
    repeated_keys: Mapping[str, str]
    front_end: FrontEnd
    positions: Positions
    names: tables.Names
    prefix: str
    ignored: tuple[str, ...]
    normalisation: Normalisation
    feature_extractor: Mapping[str, Any]
    has_flax_layout: bool


_SAME_KEYS = (
    "model_type",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "feat_extract_norm",
    "feat_extract_activation",
    "do_stable_layer_norm",
    "hidden_act",
    "layer_norm_eps",
    "hidden_dropout",
    "attention_dropout",
    "activation_dropout",
    "feat_proj_dropout",
    "layerdrop",
    "initializer_range",
    "mask_time_prob",
    "mask_feature_prob",
)
_WAV2VEC2_KEYS = {
    **{name: name for name in _SAME_KEYS},
    "pos_conv_taps": "num_conv_pos_embeddings",
    "pos_conv_groups": "num_conv_pos_embedding_groups",
}
_HUBERT_KEYS = {**_WAV2VEC2_KEYS, "feat_proj_layer_norm": "feat_proj_layer_norm"}
# data2vec has one stem and one order of norms, and says so by no key.
_DATA2VEC_KEYS = {
    **{
        name: key
        for name, key in _WAV2VEC2_KEYS.items()
        if name not in ("feat_extract_norm", "do_stable_layer_norm")
    },
    "pos_conv_taps": "conv_pos_kernel_size",
    "pos_conv_depth": "num_conv_pos_embeddings",
}
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

_HEADS = (
    r"lm_head\..+",  # speech recognition
    r"(classifier|projector|tdnn|objective)\..+|layer_weights",  # classification, speaker models
    r"feature_extractor\.(weight|bias)",  # the x-vector head's dense layer, not the stem
)
_QUANTIZER = r"(quantizer|project_q|project_hid)\..+"  # pre-training of wav2vec 2.0
_CLUSTERS = r"(final_proj\..+|label_embs_concat)"  # pre-training of HuBERT and MERT

_WAV2VEC2 = Family(
    model_type="wav2vec2",
    architecture="Wav2Vec2Model",
    classifier="Wav2Vec2ForSequenceClassification",
    keys=_WAV2VEC2_KEYS,
    defaults={},
    repeated_keys={},
    front_end=FrontEnd.WAVEFORM,
    positions=Positions.CONVOLUTION,
    names=tables.WAV2VEC2,
    prefix="wav2vec2.",
    ignored=(*_HEADS, _QUANTIZER),
    normalisation=Normalisation.ZERO_MEAN_UNIT_VARIANCE,
    feature_extractor={
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "padding_side": "right",
        "padding_value": 0,
        "return_attention_mask": True,
    },
    has_flax_layout=True,
)
_HUBERT = _WAV2VEC2._replace(
    model_type="hubert",
    architecture="HubertModel",
    classifier="HubertForSequenceClassification",
    keys=_HUBERT_KEYS,
    prefix="hubert.",
    ignored=(*_HEADS, _CLUSTERS),
)
_MERT = _HUBERT._replace(
    model_type="mert_model",
    architecture="MERTModel",
    classifier="",
    keys={**_HUBERT_KEYS, "sample_rate_hz": "sample_rate"},
    defaults={"sample_rate_hz": 24000},
    prefix="",
)
_WAVLM = _WAV2VEC2._replace(
    model_type="wavlm",
    architecture="WavLMModel",
    classifier="WavLMForSequenceClassification",
    keys={
        **_WAV2VEC2_KEYS,
        "num_buckets": "num_buckets",
        "max_bucket_distance": "max_bucket_distance",
    },
    defaults={"num_buckets": 320, "max_bucket_distance": 800},
    prefix="wavlm.",
)
_DATA2VEC = _WAV2VEC2._replace(
    model_type="data2vec-audio",
    architecture="Data2VecAudioModel",
    classifier="Data2VecAudioForSequenceClassification",
    keys=_DATA2VEC_KEYS,
    defaults={
        "feat_extract_norm": StemNorm.LAYER,
        "pos_conv_taps": 19,
        "pos_conv_depth": 5,
    },
    positions=Positions.STACKED_CONVOLUTIONS,
    prefix="data2vec_audio.",
    ignored=_HEADS,
)
_WHISPER = Family(
    model_type="whisper",
    architecture="WhisperModel",
    classifier="",
    keys=_WHISPER_KEYS,
    defaults={
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
    # transformers has no Whisper without a decoder; one of the encoder's sizes can be built.
    repeated_keys={
        "decoder_layers": "num_hidden_layers",
        "decoder_attention_heads": "num_attention_heads",
        "decoder_ffn_dim": "intermediate_size",
    },
    front_end=FrontEnd.LOG_MEL,
    positions=Positions.TABLE,
    names=tables.WHISPER,
    prefix="model.",
    ignored=(r"(decoder\..+|proj_out\.weight)",),
    normalisation=Normalisation.NONE,
    feature_extractor={"feature_extractor_type": "WhisperFeatureExtractor"},
    has_flax_layout=False,
)

FAMILIES: Mapping[str, Family] = {
    family.model_type: family for family in (_WAV2VEC2, _HUBERT, _MERT, _WAVLM, _DATA2VEC, _WHISPER)
}
