"""Configurations: Hugging Face's defaults, the round trip, refusals by name, and the frame formula."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import StemNorm

GOLDENS = Path(__file__).parent / "goldens"
KINDS = sorted(path.name for path in GOLDENS.iterdir() if path.is_dir())


def test_absent_keys_mean_what_hugging_face_means():
    config = EncoderConfig.from_hub({"model_type": "hubert"})
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (
        768,
        12,
        3072,
    )
    assert config.feat_extract_norm is StemNorm.GROUP
    assert config.feat_proj_layer_norm
    assert not config.conv_bias
    assert not config.do_stable_layer_norm
    assert config.layerdrop == 0.1
    assert config.attention_dropout == 0.1
    assert (config.shortest_clip_samples, config.hop_samples, config.sample_rate_hz) == (
        400,
        320,
        16000,
    )
    assert EncoderConfig.from_hub({"model_type": "mert_model"}).sample_rate_hz == 24000
    assert EncoderConfig.from_hub({"model_type": "wavlm"}).num_buckets == 320
    data2vec = EncoderConfig.from_hub({"model_type": "data2vec-audio"})
    assert data2vec.feat_extract_norm is StemNorm.LAYER
    assert (data2vec.pos_conv_taps, data2vec.pos_conv_depth) == (19, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_survives_the_round_trip_through_hub_keys(kind):
    hub = json.loads((GOLDENS / kind / "config.json").read_text())
    config = EncoderConfig.from_hub(hub)
    written = config.to_hub()
    assert EncoderConfig.from_hub(json.loads(json.dumps(written))) == config
    shared = (set(hub) & set(written)) - {"architectures"}
    assert {key: written[key] for key in shared} == {key: hub[key] for key in shared}


@pytest.mark.parametrize(
    "change, name",
    [
        ({"model_type": "wav2vec2-conformer"}, "wav2vec2-conformer"),
        ({"model_type": None}, "None"),
        ({"feature_extractor_cqt": True}, "feature_extractor_cqt"),
        ({"deepnorm": True}, "deepnorm"),
        ({"add_adapter": True}, "add_adapter"),
        ({"adapter_attn_dim": 16}, "adapter_attn_dim"),
        ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm"),
        ({"hidden_act": "mish"}, "hidden_act"),
        ({"feat_extract_norm": "batch"}, "feat_extract_norm"),
        ({"hidden_size": "768"}, "hidden_size"),
        ({"hidden_size": 770}, "num_attention_heads"),
        ({"conv_dim": [512, 512]}, "conv_dim"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 0]}, "conv_stride"),
        ({"layerdrop": 1.5}, "layerdrop"),
    ],
)
def test_unsupported_requests_are_refused_by_name(change, name):
    with pytest.raises(ValueError, match=name):
        EncoderConfig.from_hub({"model_type": "hubert"} | change)


def test_every_refusal_is_in_one_error():
    hub = {"model_type": "mert_model", "deepnorm": True, "hidden_size": "x", "add_adapter": True}
    with pytest.raises(ValueError, match=r"(?=.*deepnorm)(?=.*hidden_size)(?=.*add_adapter)"):
        EncoderConfig.from_hub(hub)


stems = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=7)


@settings(max_examples=60)
@given(stems, st.integers(1, 3000))
def test_frame_formula_equals_convolution_output_length(stem, num_samples):
    kernels, strides = zip(*stem, strict=True)
    config = dataclasses.replace(
        EncoderConfig(), conv_dim=(1,) * len(stem), conv_kernel=kernels, conv_stride=strides
    )
    shape = jax.ShapeDtypeStruct((1, num_samples, 1), jnp.float32)
    for kernel, stride in stem:
        weight = jax.ShapeDtypeStruct((kernel, 1, 1), jnp.float32)
        shape = jax.eval_shape(
            lambda x, w, stride=stride: jax.lax.conv_general_dilated(
                x, w, (stride,), "VALID", dimension_numbers=("NHC", "HIO", "NHC")
            ),
            shape,
            weight,
        )
    assert config.num_frames(num_samples) == shape.shape[1]
    assert (num_samples >= config.shortest_clip_samples) == (shape.shape[1] > 0)
    lengths = np.array([num_samples, 0])
    assert config.num_frames(lengths).tolist() == [shape.shape[1], 0]


def test_one_more_hop_is_one_more_frame():
    config = EncoderConfig()
    assert config.num_frames(400) == 1
    assert config.num_frames(719) == 1
    assert config.num_frames(720) == 2
    assert config.num_frames(399) == 0


BEYOND_REASON = [
    {"hidden_size": 10**30},
    {"intermediate_size": 10**13},
    {"num_conv_pos_embeddings": 10**9},
    {"num_conv_pos_embeddings": -128},
    {"conv_kernel": [10**9, 3, 3, 3, 3, 2, 2]},
    {"conv_stride": [2**62] * 7},
    {"conv_dim": [10**18] * 7},
    {"layer_norm_eps": float("nan")},
    {"layer_norm_eps": float("inf")},
    {"initializer_range": 10**400},
    {"mask_time_prob": float("nan")},
]


@pytest.mark.parametrize("change", BEYOND_REASON, ids=range(len(BEYOND_REASON)))
def test_sizes_and_numbers_beyond_reason_are_refused_by_key(change):
    [key] = change
    with pytest.raises(ValueError, match=rf"{key}.*(expected|reach further|an entry above)"):
        EncoderConfig.from_hub({"model_type": "hubert"} | change)


@pytest.mark.parametrize("rate", [1, 3999, 768_001, 10**9])
def test_a_rate_beyond_reason_is_refused_under_the_hubs_key(rate):
    with pytest.raises(ValueError, match=f"sample_rate = {rate}, expected at (least|most)"):
        EncoderConfig.from_hub({"model_type": "mert_model", "sample_rate": rate})


def test_a_bound_of_whispers_is_named_by_whispers_key():
    with pytest.raises(ValueError, match="max_source_positions = 0"):
        EncoderConfig.from_hub({"model_type": "whisper", "max_source_positions": 0})


def test_a_refused_value_is_not_printed_at_full_length():
    with pytest.raises(ValueError, match="conv_dim") as caught:
        EncoderConfig.from_hub({"model_type": "hubert", "conv_dim": ["x" * 10_000] * 50})
    assert len(str(caught.value)) < 500
