"""peft's files: names and shapes as peft has them, merged kernels in plain numpy, what is refused.

tests/test_peft_reference.py holds the same against peft itself.
"""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxemo.models.checkpoints.hub_layout import Normalisation, Origin
from jaxemo.models.pretrained import Encoder, save_pretrained
from jaxemo.peft import make_method
from jaxemo.peft.hub_format import Adaptation, HubAdapter, from_hub, to_hub
from jaxemo.peft.method import flatten
from jaxemo.studies.sources import load_source

CASES = {
    "lora": {"rank": 2, "alpha": 4.0},
    "lora, by layer": {"rank": 2, "alpha": 4.0, "layer_ranks": (3, 1), "scaling": "sqrt_rank"},
    "dora": {"rank": 2, "alpha": 4.0, "targets": ("q", "ff_in")},
    "ia3": {},
}
TOLERANCE = 1e-6
MODULE = "encoder.layers.0.attention.q_proj"


def adaptation_of(case, base):
    """Away from the identity that methods are born as."""
    name, options = case.partition(",")[0], CASES[case]
    tree = make_method(name, **options).init(jax.random.key(0), base)
    moved = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), tree
    )
    return Adaptation(name, options, moved)


def hub_of(case, base):
    return to_hub(adaptation_of(case, base), base, model_type="wav2vec2", base_name="models/base")


@pytest.fixture(scope="module")
def base(small_encoder):
    return small_encoder[1]


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_read_again(case, base):
    expected = adaptation_of(case, base)
    found = from_hub(hub_of(case, base), base, model_type="wav2vec2")
    assert found.method == expected.method
    leaves = flatten(expected.trainable)
    assert flatten(found.trainable).keys() == leaves.keys()
    for path, leaf in flatten(found.trainable).items():
        np.testing.assert_array_equal(leaf, leaves[path])


def test_names_and_shapes_are_pefts(base):
    tensors = hub_of("dora", base).tensors
    of_one = {name: values.shape for name, values in tensors.items() if f".{MODULE}." in name}
    assert of_one == {
        f"base_model.model.{MODULE}.lora_A.weight": (2, 16),
        f"base_model.model.{MODULE}.lora_B.weight": (16, 2),
        f"base_model.model.{MODULE}.lora_magnitude_vector": (16,),
    }
    scales = {name: values.shape for name, values in hub_of("ia3", base).tensors.items()}
    layer = "base_model.model.encoder.layers.1"
    assert scales[f"{layer}.attention.k_proj.ia3_l"] == (16, 1)
    assert scales[f"{layer}.feed_forward.output_dense.ia3_l"] == (1, 32)


def test_the_configuration_says_what_peft_needs(base):
    config = hub_of("lora, by layer", base).config
    said = {
        name: config[name] for name in ("peft_type", "r", "lora_alpha", "use_rslora", "use_dora")
    }
    assert said == {
        "peft_type": "LORA",
        "r": 3,
        "lora_alpha": 4.0,
        "use_rslora": True,
        "use_dora": False,
    }
    assert set(config["rank_pattern"].values()) == {1}
    assert MODULE in config["target_modules"]


def merged_by_hand(hub, weight, module):
    """W' of one dense layer (out, in), by the formulas of peft's documentation."""
    own = {
        name.removeprefix(f"base_model.model.{module}."): values
        for name, values in hub.tensors.items()
        if f".{module}." in name
    }
    if "ia3_l" in own:
        return weight * own["ia3_l"]
    b, a = own["lora_B.weight"], own["lora_A.weight"]
    rank = np.sqrt(len(a)) if hub.config["use_rslora"] else len(a)
    moved = weight + hub.config["lora_alpha"] / rank * b @ a
    if "lora_magnitude_vector" not in own:
        return moved
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return own["lora_magnitude_vector"][:, None] * moved / length


@pytest.fixture(scope="module")
def base_folder(small_encoder, tmp_path_factory):
    module, params = small_encoder
    encoder = Encoder(
        name="small",
        origin=Origin.LOCAL,
        module=module,
        params=params,
        sample_rate_hz=16_000,
        normalisation=Normalisation.NONE,
    )
    folder = tmp_path_factory.mktemp("base")
    save_pretrained(encoder, folder)
    return folder


def written(folder, hub):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(hub.config))
    safetensors.numpy.save_file(hub.tensors, folder / "adapter_model.safetensors")
    return str(folder)


@pytest.mark.parametrize("case", CASES)
def test_a_folder_of_peft_is_an_encoder_with_its_adapter_merged(case, base, base_folder, tmp_path):
    hub = hub_of(case, base)
    hub.config["base_model_name_or_path"] = str(base_folder)
    source = load_source(written(tmp_path / "emotional", hub))
    assert (source.name, source.origin) == ("emotional", "local")
    module = "encoder.layers.1.attention.k_proj" if case == "ia3" else MODULE
    path = f"{module.replace('.', '/')}/kernel"
    expected = merged_by_hand(hub, np.asarray(flatten(base)[path]).T, module)
    found = np.asarray(flatten(source.encoder.params)[path]).T
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert np.abs(found - np.asarray(flatten(base)[path]).T).max() > 1000 * TOLERANCE


def test_names_of_the_model_around_the_encoder_do_not_matter(base):
    hub = hub_of("lora", base)
    wrapped = {
        name.replace("base_model.model.", "base_model.model.wav2vec2."): values
        for name, values in hub.tensors.items()
    }
    wrapped["base_model.model.classifier.weight"] = np.zeros((2, 4), np.float32)
    found = from_hub(HubAdapter(hub.config, wrapped), base, model_type="wav2vec2")
    assert len(flatten(found.trainable)) == len(hub.tensors)


def test_every_fault_of_an_adapter_is_named(base):
    hub = hub_of("dora", base)
    tensors = dict(hub.tensors)
    name = f"base_model.model.{MODULE}.lora_A.weight"
    tensors[name] = tensors[name][:, :5]
    tensors["base_model.model.text.q_proj.lora_A.weight"] = np.zeros((2, 16), np.float32)
    del tensors["base_model.model.encoder.layers.1.attention.q_proj.lora_magnitude_vector"]
    config = hub.config | {"bias": "all"}
    with pytest.raises(ValueError) as caught:
        from_hub(HubAdapter(config, tensors), base, model_type="wav2vec2")
    for words in (
        "bias is 'all'; expected 'none'",
        r"shape (2, 5); expected (r, 16)",
        "text.q_proj.lora_A.weight is of no dense layer",
        "encoder/layers/1/attention/q_proj has a, b; expected a, b, magnitude",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", None])
def test_other_kinds_of_adapters_are_refused(kind, base):
    with pytest.raises(ValueError, match=r"expected 'LORA' .* or 'IA3'"):
        from_hub(HubAdapter({"peft_type": kind}, {}), base, model_type="wav2vec2")


def test_a_method_that_peft_lacks_is_refused(base):
    with pytest.raises(ValueError, match="'bitfit' has no counterpart in peft's files"):
        to_hub(Adaptation("bitfit", {}, {}), base, model_type="wav2vec2", base_name="base")


@pytest.mark.parametrize("lacking", ["base_model_name_or_path", "adapter_model.safetensors"])
def test_a_folder_without_base_or_weights_is_refused(lacking, base, base_folder, tmp_path):
    hub = hub_of("lora", base)
    hub.config["base_model_name_or_path"] = str(base_folder)
    hub.config.pop(lacking, None)
    folder = written(tmp_path / "emotional", hub)
    if lacking.endswith("safetensors"):
        (tmp_path / "emotional" / lacking).unlink()
    with pytest.raises(ValueError, match=lacking):
        load_source(folder)
