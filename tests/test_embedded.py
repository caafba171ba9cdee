"""The small pre-trained encoders that come with the package."""

import json

import jax
import numpy as np
import pytest

from jaxemo.models import embedded
from jaxemo.models.embedded import FOLDER, SMALL_NAMES
from jaxemo.models.pretrained import load_encoder

FINGERPRINTS = {
    "small/speech": "cdfd875f594c4c1d3d51058a987320073d8655e8ab4da3a4d9a7ef6137e1f1d4",
    "small/music": "0ea90cb110e247f0028d4a8a277333c87abb2bee9b5b71d0ff7dd4f81b11fd82",
    "small/both": "d4f202b0456037b6577b2a91b03f9c9c432e2955c51fedb06a9b3c4079fee9b0",
}


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_they_load_by_name_with_the_weights_that_were_measured(name):
    encoder = load_encoder(name)
    assert (encoder.name, encoder.origin, encoder.sample_rate_hz) == (name, "local", 16_000)
    assert encoder.fingerprint == FINGERPRINTS[name]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(encoder.params))


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_their_control_has_their_architecture(name):
    assert load_encoder(name).config == load_encoder("untrained/small").config


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_card_record_and_size(name):
    folder = FOLDER / name.removeprefix("small/")
    assert (folder / "model.safetensors").stat().st_size <= 2_000_000
    assert "## Licence" in (folder / "README.md").read_text()
    assert json.loads((folder / "pretraining.json").read_text())["num_steps"] > 0


def test_copyright_files_of_recordings_lie_beside_the_weights():
    found = {path.name.split("-")[3] for path in (FOLDER / "sources").glob("*.copyright")}
    assert found == {"en", "es", "fr", "it", "ru"}


def test_a_copy_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"small/both: .* has no model\.safetensors"):
        load_encoder("small/both")
