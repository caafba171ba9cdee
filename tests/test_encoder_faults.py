"""What users meet in encoder folders: wrappers, heads of other tasks, pointers, adapters, damage."""

import json
import logging
import shutil
import struct
from pathlib import Path

import msgpack
import numpy as np
import pytest
import safetensors.numpy

from jaxemo.models.checkpoints import hub_layout
from jaxemo.models.families import Normalisation
from jaxemo.models.pretrained import load_encoder

GOLDENS = Path(__file__).parent / "goldens"
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A copy of one encoder's folder, to be spoilt."""
    directory = tmp_path / "hubert"
    shutil.copytree(GOLDENS / "hubert_base", directory)
    return directory


def rename(directory, function):
    tensors = safetensors.numpy.load_file(directory / WEIGHTS)
    replace(directory, {function(name): tensor for name, tensor in tensors.items()})


def replace(directory, tensors):
    (directory / WEIGHTS).write_bytes(safetensors.numpy.save(tensors))


def add(directory, **tensors):
    replace(directory, safetensors.numpy.load_file(directory / WEIGHTS) | tensors)


# What loads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "base_model.model.", "module._orig_mod.hubert.", "hubert."],
)
def test_what_was_wrapped_around_a_model_is_taken_off(folder, prefix):
    rename(folder, lambda name: prefix + name)
    assert load_encoder(folder).fingerprint == load_encoder(GOLDENS / "hubert_base").fingerprint


def test_heads_of_other_tasks_are_no_part_of_the_encoder_and_named_once(folder, caplog):
    heads = {f"{task}.dense.weight": np.zeros((2, 2)) for task in ("age", "gender", "emotion")}
    add(folder, **heads)
    with caplog.at_level(logging.INFO, logger="jaxemo"):
        logging.getLogger("jaxemo").addHandler(caplog.handler)
        encoder = load_encoder(folder)
        logging.getLogger("jaxemo").removeHandler(caplog.handler)
    assert encoder.fingerprint == load_encoder(GOLDENS / "hubert_base").fingerprint
    told = {record.getMessage() for record in caplog.records}
    [message] = [text for text in told if "no part of the encoder" in text]
    assert all(name in message for name in heads)


def test_a_key_of_the_encoder_that_it_does_not_have_is_no_head(folder):
    add(folder, **{"encoder.layers.0.extra.weight": np.zeros(2)})
    with pytest.raises(ValueError, match=r"unexpected encoder\.layers\.0\.extra"):
        load_encoder(folder)


def test_of_many_wrong_keys_a_few_are_shown_and_all_counted(folder):
    rename(folder, lambda name: name.replace("layers.", "blocks."))
    with pytest.raises(ValueError, match=r"\((\d+) keys\).*; and \d+ more$") as caught:
        load_encoder(folder)
    assert str(caught.value).count(";") < 12


# Where preprocessing stands ------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [True, False])
def test_the_nested_feature_extractor_comes_first(folder, normalise):
    extractor = {"do_normalize": normalise, "sampling_rate": 24000}
    nested = {"feature_extractor": extractor, "processor_class": "Wav2Vec2Processor"}
    (folder / "processor_config.json").write_text(json.dumps(nested))
    encoder = load_encoder(folder)
    expected = Normalisation.ZERO_MEAN_UNIT_VARIANCE if normalise else Normalisation.NONE
    assert (encoder.normalisation, encoder.sample_rate_hz) == (expected, 24000)


def test_a_processor_without_an_extractor_says_nothing(folder):
    (folder / "processor_config.json").write_text('{"processor_class": "Wav2Vec2Processor"}')
    assert load_encoder(folder).sample_rate_hz == 16000


def test_both_files_are_fetched_from_the_hub(monkeypatch, tmp_path):
    fetched = []

    def fetch(repository, name, revision):
        fetched.append(name)
        return tmp_path / name if name in ("config.json", WEIGHTS) else None

    monkeypatch.setattr(hub_layout, "_fetch", fetch)
    hub_layout.download("someone/encoder")
    assert {"processor_config.json", "preprocessor_config.json"} <= set(fetched)


@pytest.mark.parametrize("rate", [0, 1, 3999, 768_001, 10**9, 16000.0, "16000", None])
@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_a_rate_out_of_all_reason_is_named_by_file_and_value(folder, name, rate):
    extractor = {"sampling_rate": rate}
    content = extractor if name.startswith("pre") else {"feature_extractor": extractor}
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{name} has sampling_rate {rate!r}, expected 4000 to"):
        load_encoder(folder)


@pytest.mark.parametrize("name", ["sampling_rate", "do_normalize"])
def test_a_value_of_pages_is_shown_by_its_beginning(folder, name):
    (folder / "preprocessor_config.json").write_text(json.dumps({name: "x" * 5000}))
    with pytest.raises(ValueError, match=f"{name} 'xxx") as caught:
        load_encoder(folder)
    assert len(str(caught.value)) < 500


# What does not load --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_git_lfs_pointer_says_what_to_run(folder, name):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 377607901\n"
    (folder / name).write_text(pointer)
    with pytest.raises(ValueError, match=rf"{name} is a git-lfs pointer.*git lfs pull"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("base", "called"), [("facebook/wav2vec2-base", "facebook/wav2vec2-base"), (None, "a base")]
)
def test_an_adapter_says_what_it_is_for(tmp_path, base, called):
    content = {"base_model_name_or_path": base, "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"PEFT adapter for .?{called}.*give the base"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named_and_counted(folder, value):
    tensors = safetensors.numpy.load_file(folder / WEIGHTS)
    bad = tensors["encoder.layer_norm.bias"].copy()
    bad[:3] = value
    add(folder, **{"encoder.layer_norm.bias": bad})
    with pytest.raises(ValueError, match=r"non-finite encoder\.layer_norm\.bias: 3 values"):
        load_encoder(folder)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "X"])
def test_types_that_numpy_lacks_are_named(folder, dtype):
    header = {"encoder.layer_norm.bias": {"dtype": dtype, "shape": [8], "data_offsets": [0, 8]}}
    if dtype == "F4":
        header["encoder.layer_norm.bias"]["data_offsets"] = [0, 4]
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(8 if dtype != "F4" else 4)
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{WEIGHTS} (holds tensors of|is no usable)"):
        load_encoder(folder)


HOSTILE_HEADERS = [
    b"[]",
    b"{",
    b'{"a": 1}',
    b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
    b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 99999]}}',
    b'{"a": {"dtype": "F32", "shape": [99999999999999999999], "data_offsets": [0, 4]}}',
    b'{"a":' * 2000,
]


@pytest.mark.parametrize("header", HOSTILE_HEADERS, ids=range(len(HOSTILE_HEADERS)))
def test_a_hostile_safetensors_header_is_one_value_error(folder, header):
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match=WEIGHTS):
        load_encoder(folder)


HOSTILE_MSGPACK = [
    b"",
    b"\xc1",
    msgpack.packb([1, 2]),
    msgpack.packb({"a": {"__msgpack_chunked_array__": True}}),
    msgpack.packb({"a": {"__msgpack_chunked_array__": True, "shape": {"0": 2}, "chunks": {}}}),
    msgpack.packb({"a": msgpack.ExtType(1, b"")}),
    msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((2,), "object", b"12345678")))}),
    msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((-5,), "float32", b"1234")))}),
    msgpack.packb({1: {2: 3}}),
    b"\x81\xa1a" * 3000,
]


@pytest.mark.parametrize("content", HOSTILE_MSGPACK, ids=range(len(HOSTILE_MSGPACK)))
def test_a_hostile_msgpack_file_is_one_value_error(folder, content):
    (folder / WEIGHTS).unlink()
    (folder / "flax_model.msgpack").write_bytes(content)
    with pytest.raises(ValueError, match=r"flax_model\.msgpack"):
        load_encoder(folder)
