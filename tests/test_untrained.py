"""The untrained encoders: the same everywhere, called by their name, and alive."""

import jax
import numpy as np
import pytest

from jaxemo.models.families import StemNorm
from jaxemo.models.pretrained import UNTRAINED_NAMES, load_encoder, save_pretrained
from jaxemo.models.untrained import write_untrained_encoder

FINGERPRINTS = {
    "untrained/speech": "6b0d891fcadee23da5e383777c75aae249ceb2a1f051d7a34c6f76d203de1135",
    "untrained/music": "cf5a36b815348ce4a6c87e9510fe96519a1d929564a1876e4b88c36619018cd5",
    "untrained/small": "02984ad4e89ce535f8443dd61adf72e81a971ffec82beb3579e7636058e5d5b5",
}


@pytest.mark.parametrize("name", UNTRAINED_NAMES)
def test_weights_are_the_same_on_every_machine(name):
    assert load_encoder(name).fingerprint == FINGERPRINTS[name]


def test_seed_changes_the_weights_and_nothing_else(tmp_path):
    write_untrained_encoder("speech", tmp_path, seed=1)
    encoder, default = load_encoder(tmp_path), load_encoder("untrained/speech")
    assert encoder.fingerprint != default.fingerprint
    assert encoder.config == default.config


def test_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match="whale"):
        write_untrained_encoder("whale", tmp_path)


def test_they_have_the_flags_of_their_models():
    speech, music = map(load_encoder, UNTRAINED_NAMES[:2])
    assert (speech.config.model_type, speech.sample_rate_hz) == ("wav2vec2", 16000)
    assert (music.config.model_type, music.sample_rate_hz) == ("mert_model", 24000)
    for encoder in (speech, music):
        assert encoder.config.feat_extract_norm is StemNorm.GROUP
        assert not encoder.config.do_stable_layer_norm
        assert not encoder.config.conv_bias
        assert sum(leaf.size for leaf in jax.tree.leaves(encoder.params)) < 500_000


def test_they_are_called_untrained_wherever_they_go(tmp_path):
    encoder = load_encoder("untrained/music")
    save_pretrained(encoder, tmp_path / "published-looking")
    for loaded in (encoder, load_encoder(tmp_path / "published-looking")):
        assert loaded.name == "untrained music encoder"
        assert loaded.origin == "untrained"


@pytest.mark.parametrize("name", UNTRAINED_NAMES)
def test_signal_neither_dies_nor_drowns_on_its_way_up(name):
    """Frames of one clip must differ in every layer, or nothing could be read from them."""
    encoder = load_encoder(name)
    rng = np.random.default_rng(0)
    time = np.arange(24000) / encoder.sample_rate_hz
    tones = np.sin(2 * np.pi * (200 + 150 * time) * time) * (1 + np.sin(2 * np.pi * 3 * time))
    waveform = np.stack([tones, rng.standard_normal(24000)]).astype(np.float32)
    waveform /= waveform.std(axis=1, keepdims=True)
    states = np.asarray(encoder(waveform, np.array([24000, 24000])).hidden_states)
    over_time = states.var(axis=2).mean(axis=(1, 2))
    np.testing.assert_array_less(0.1, over_time)
    np.testing.assert_array_less(states.var(axis=(1, 2, 3)), 2.0)
