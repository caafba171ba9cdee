"""Loading and saving encoders: every format, every complaint, and the call's checks."""

import json
import shutil
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import serialization, traverse_util
from test_torch_pickle import write_checkpoint

from jaxemo.models.checkpoints import hub_layout
from jaxemo.models.checkpoints import names as checkpoint_names
from jaxemo.models.pretrained import Encoder, fingerprint, load_encoder, save_pretrained

GOLDENS = Path(__file__).parent / "goldens"
KINDS = sorted(path.name for path in GOLDENS.iterdir() if path.is_dir())
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A copy of one encoder's folder, to be spoilt."""
    directory = tmp_path / "hubert"
    shutil.copytree(GOLDENS / "hubert_base", directory)
    return directory


def tensors_of(directory):
    return safetensors.numpy.load_file(directory / WEIGHTS)


def replace_weights(directory, tensors):
    (directory / WEIGHTS).write_bytes(safetensors.numpy.save(tensors))


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_same(first: Encoder, second: Encoder):
    assert first.fingerprint == second.fingerprint
    assert first.config == second.config
    assert first.sample_rate_hz == second.sample_rate_hz
    assert first.normalisation == second.normalisation


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whisper"])
@pytest.mark.parametrize("weights", hub_layout.WeightsFormat)
def test_saved_encoder_loads_back_equal(kind, weights, tmp_path):
    encoder = load_encoder(GOLDENS / kind)
    save_pretrained(encoder, tmp_path / kind, weights=weights)
    assert_same(load_encoder(tmp_path / kind), encoder)
    written = {path.name for path in (tmp_path / kind).iterdir()}
    assert written == {"config.json", "preprocessor_config.json", weights.value}


def test_table_is_its_own_inverse_on_a_checkpoint():
    tensors = tensors_of(GOLDENS / "wavlm_base_plus")
    encoder = load_encoder(GOLDENS / "wavlm_base_plus")
    written = checkpoint_names.torch_from_params(
        encoder.params, model_type=encoder.config.model_type
    )
    assert written.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(written[name], tensor)


def test_sharded_safetensors_load_like_one_file(folder):
    whole = load_encoder(folder)
    tensors = tensors_of(folder)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, chosen in parts.items():
        (folder / file).write_bytes(safetensors.numpy.save({n: tensors[n] for n in chosen}))
    index = {"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert_same(load_encoder(folder), whole)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin"]
)
def test_index_may_name_files_of_its_own_folder_only(folder, name):
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ValueError, match=r"expected plain \.safetensors files"):
        load_encoder(folder)


@pytest.mark.parametrize("prefix", [False, True])
def test_flax_msgpack_loads_like_safetensors(folder, prefix):
    whole = load_encoder(folder)
    tree = jax.tree.map(np.asarray, whole.params)
    if prefix:
        head = {"kernel": np.ones((48, 7), np.float32), "bias": np.ones(7, np.float32)}
        tree = {"hubert": tree, "lm_head": head}
    (folder / WEIGHTS).unlink()
    (folder / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(tree))
    assert_same(load_encoder(folder), whole)


def test_sharded_flax_msgpack_loads_like_safetensors(folder):
    whole = load_encoder(folder)
    (folder / WEIGHTS).unlink()
    arrays = traverse_util.flatten_dict(jax.tree.map(np.asarray, whole.params), sep="/")
    files = [f"flax_model-0000{part}-of-00002.msgpack" for part in (1, 2)]
    placed = {path: files[index % 2] for index, path in enumerate(sorted(arrays))}
    for file in files:
        part = {path: array for path, array in arrays.items() if placed[path] == file}
        tree = traverse_util.unflatten_dict(part, sep="/")
        (folder / file).write_bytes(serialization.msgpack_serialize(tree))
    (folder / "flax_model.msgpack.index.json").write_text(json.dumps({"weight_map": placed}))
    assert_same(load_encoder(folder), whole)
    (folder / files[1]).unlink()
    with pytest.raises(ValueError, match=rf"files that are not there: {files[1]}"):
        load_encoder(folder)


def test_pytorch_bin_loads_like_safetensors_without_torch(folder):
    whole = load_encoder(folder)
    write_checkpoint(folder / "pytorch_model.bin", tensors_of(folder))
    (folder / WEIGHTS).unlink()
    assert_same(load_encoder(folder), whole)


def test_formats_are_preferred_in_their_order(folder):
    whole = load_encoder(folder)
    (folder / "flax_model.msgpack").write_bytes(b"never read")
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    assert_same(load_encoder(folder), whole)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"flax_model\.msgpack"):
        load_encoder(folder)


@pytest.mark.parametrize("spelling", ["weight_norm", "parametrizations"])
def test_both_spellings_of_the_weight_norm_load(folder, spelling):
    whole = load_encoder(folder)
    tensors = tensors_of(folder)
    if spelling == "parametrizations":
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            conv = "encoder.pos_conv_embed.conv"
            tensors[f"{conv}.parametrizations.weight.{new}"] = tensors.pop(f"{conv}.{old}")
        replace_weights(folder, tensors)
    assert_same(load_encoder(folder), whole)


def test_heads_and_pretraining_parts_are_ignored_and_only_they(folder):
    whole = load_encoder(folder)
    tensors = {f"hubert.{name}": tensor for name, tensor in tensors_of(folder).items()}
    extra = np.ones((2, 2), np.float32)
    for name in ("lm_head.weight", "classifier.dense.weight", "projector.bias", "layer_weights"):
        tensors[name] = extra
    for name in ("quantizer.codevectors", "project_q.weight", "tdnn.0.kernel.weight"):
        tensors[name] = extra
    tensors |= {"feature_extractor.weight": extra, "label_embs_concat": extra}
    replace_weights(folder, tensors)
    assert_same(load_encoder(folder), whole)
    replace_weights(folder, tensors | {"hubert.encoder.surprise": extra})
    with pytest.raises(ValueError, match=r"unexpected hubert\.encoder\.surprise"):
        load_encoder(folder)


def test_every_key_that_does_not_fit_is_listed_in_one_error(folder):
    tensors = tensors_of(folder)
    del tensors["encoder.layer_norm.bias"]
    tensors["encoder.layers.0.layer_norm.weight"] = np.ones(7, np.float32)
    tensors["encoder.layers.0.attention.q_proj.bias"] = np.ones(48, np.int64)
    tensors["encoder.layers.9.layer_norm.weight"] = np.ones(48, np.float32)
    tensors["encoder.pos_conv_embed.conv.parametrizations.weight.original0"] = tensors[
        "encoder.pos_conv_embed.conv.weight_g"
    ]
    replace_weights(folder, tensors)
    expected = (
        r"5 keys",
        r"missing encoder/layer_norm/bias",
        r"mis-shaped encoder\.layers\.0\.layer_norm\.weight: \(7,\), expected \(48,\)",
        r"mis-typed encoder\.layers\.0\.attention\.q_proj\.bias: int64",
        r"unexpected encoder\.layers\.9\.layer_norm\.weight",
        r"both .*weight_g.* and .*original0|both .*original0.* and .*weight_g",
    )
    with pytest.raises(ValueError, match="".join(f"(?=.*(?:{part}))" for part in expected)):
        load_encoder(folder)


@pytest.mark.parametrize("mask_time_prob", [0.0, 0.05])
def test_mask_embedding_may_be_absent(folder, mask_time_prob):
    # wav2vec2-base-960h has none, though its config masks.
    tensors = tensors_of(folder)
    del tensors["masked_spec_embed"]
    replace_weights(folder, tensors)
    change_json(folder / "config.json", mask_time_prob=mask_time_prob)
    assert not load_encoder(folder).params["masked_spec_embed"].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_narrow_and_wide_checkpoints_become_float32(folder, dtype):
    tensors = {
        name: np.asarray(jnp.asarray(t)).astype(jnp.dtype(dtype))
        for name, t in tensors_of(folder).items()
    }
    replace_weights(folder, tensors)
    kernel = load_encoder(folder).params["feature_projection"]["projection"]["kernel"]
    assert kernel.dtype == jnp.float32
    expected = tensors["feature_projection.projection.weight"].astype(np.float32).T
    np.testing.assert_array_equal(kernel, expected)


def header(content, length=None):
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


SPOILT = {
    "empty": b"",
    "oversized header": struct.pack("<Q", 1 << 60) + b"{}",
    "header beyond the file": header({}, length=5000),
    "no json": struct.pack("<Q", 4) + b"[[[[",
    "overlapping": header(
        {
            "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        }
    )
    + bytes(12),
    "unknown dtype": header({"a": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]}})
    + bytes(4),
    "shape beyond its bytes": header(
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}
    )
    + bytes(4),
}


@pytest.mark.parametrize("damage", SPOILT)
def test_damaged_safetensors_are_one_error_naming_the_file(folder, damage):
    (folder / WEIGHTS).write_bytes(SPOILT[damage])
    with pytest.raises(
        ValueError, match=r"hubert/model\.safetensors: model\.safetensors is no usable"
    ):
        load_encoder(folder)


def test_truncated_files_are_one_error_naming_the_file(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is no usable"):
        load_encoder(folder)
    tree = jax.tree.map(np.asarray, load_encoder(GOLDENS / "hubert_base").params)
    (folder / WEIGHTS).unlink()
    whole = serialization.msgpack_serialize(tree)
    (folder / "flax_model.msgpack").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"flax_model\.msgpack is no usable"):
        load_encoder(folder)


def test_folder_without_weights_or_configuration_says_what_it_lacks(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=r"no weights in .*model.safetensors.*pytorch_model.bin"):
        load_encoder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        load_encoder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config\.json"):
        load_encoder(folder)
    with pytest.raises(ValueError, match="no folder /no/such/place"):
        load_encoder("/no/such/place")


def test_configuration_of_absurd_sizes_is_refused_at_once(folder):
    change_json(folder / "config.json", num_hidden_layers=10**9)
    with pytest.raises(ValueError, match="num_hidden_layers = 1000000000, expected at most"):
        load_encoder(folder)
    many = {key: [2] * 5000 for key in ("conv_dim", "conv_kernel", "conv_stride")}
    change_json(folder / "config.json", num_hidden_layers=3, **many)
    with pytest.raises(ValueError, match="conv_dim has more than 100 entries"):
        load_encoder(folder)
    shutil.copyfile(GOLDENS / "hubert_base" / "config.json", folder / "config.json")
    change_json(folder / "config.json", hidden_size=48 * 10**9)
    with pytest.raises(ValueError, match="mis-shaped encoder"):
        load_encoder(folder)


def test_rate_and_normalisation_come_from_the_preprocessor(folder):
    encoder = load_encoder(folder)
    assert encoder.sample_rate_hz == 16000
    assert encoder.normalisation == "zero_mean_unit_variance"
    change_json(folder / "preprocessor_config.json", do_normalize=False, sampling_rate=8000)
    encoder = load_encoder(folder)
    assert encoder.sample_rate_hz == 8000
    assert encoder.normalisation == "none"
    other = load_encoder(folder, normalisation=hub_layout.Normalisation.ZERO_MEAN_UNIT_VARIANCE)
    assert other.normalisation == "zero_mean_unit_variance"
    (folder / "preprocessor_config.json").unlink()
    assert load_encoder(folder).normalisation == "zero_mean_unit_variance"
    assert load_encoder(folder).sample_rate_hz == 16000
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": "16k"}')
    with pytest.raises(ValueError, match="sampling_rate '16k'"):
        load_encoder(folder)


def hub_cache(root, kind):
    """A Hugging Face cache that holds one repository, as a download leaves it."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = root / "models--example--encoder"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    shutil.copytree(GOLDENS / kind, repository / "snapshots" / revision)
    return revision


def test_hub_id_is_read_from_the_cache_when_offline(tmp_path, monkeypatch):
    from huggingface_hub import constants

    revision = hub_cache(tmp_path, "mert_v1_95m")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    local = load_encoder(GOLDENS / "mert_v1_95m")
    for encoder in (
        load_encoder("example/encoder"),
        load_encoder("example/encoder", revision=revision),
        load_encoder(f"example/encoder@{revision}"),
    ):
        assert_same(encoder, local)
        assert (encoder.name, encoder.origin) == ("example/encoder", "published")
        assert encoder.revision == revision
    assert local.origin == "local"
    with pytest.raises(ValueError, match=r"example/other .*neither reachable nor in the cache"):
        load_encoder("example/other")
    with pytest.raises(ValueError, match="neither reachable nor in the cache"):
        load_encoder("example/encoder", revision="v2")
    with pytest.raises(ValueError, match="pin two revisions"):
        load_encoder(f"example/encoder@{revision}", revision="v2")


def test_lengths_out_of_range_are_named_before_anything_runs():
    encoder = load_encoder(GOLDENS / "hubert_base")
    waveform = np.zeros((3, 1000), np.float32)
    with pytest.raises(
        ValueError, match=r"between 400 .* and 1000 .*clip 0 has 399, clip 2 has 1001"
    ):
        encoder(waveform, np.array([399, 400, 1001]))


def test_fingerprint_changes_with_any_value_name_or_shape():
    tree = {"a": {"b": np.zeros((2, 3), np.float32)}, "c": np.ones(2, np.float32)}
    same = {"c": np.ones(2, np.float32), "a": {"b": np.zeros((2, 3), np.float32)}}
    assert fingerprint(tree) == fingerprint(same)
    others = (
        tree | {"c": np.array([1, np.nextafter(np.float32(1), np.float32(2))], np.float32)},
        {"a": tree["a"], "d": tree["c"]},
        tree | {"a": {"b": np.zeros((3, 2), np.float32)}},
        tree | {"c": np.ones(2, np.float64)},
    )
    assert len({fingerprint(t) for t in (tree, *others)}) == 5
