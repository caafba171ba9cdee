"""Against Hugging Face's PyTorch (and, in transformers 4, Flax) models on random weights, both ways.

The sizes differ from those in `goldens/` wherever the families allow it. Needs the `reference`
extra: `python -m pytest tests/test_reference.py -m reference`. The Flax cases need transformers 4.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.checkpoints import torch_pickle
from jaxemo.models.checkpoints.hub_layout import WeightsFormat
from jaxemo.models.pretrained import load_encoder, save_pretrained

REFERENCE = "needs the `reference` extra: PyTorch beside transformers"
torch = pytest.importorskip("torch", reason=REFERENCE)
transformers = pytest.importorskip("transformers", reason=REFERENCE)

pytestmark = [
    pytest.mark.reference,
    # What the reference's own code is warned of is no finding about this package.
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
]

# Relative to the largest activation of the same hidden state; both sides are float32 and sum in
# different orders.
TOLERANCE = 2e-5

SIZES = {
    "hidden_size": 60,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 100,
    "conv_dim": (12, 20, 28, 12),
    "conv_kernel": (8, 5, 3, 2),
    "conv_stride": (4, 4, 2, 2),
    "num_feat_extract_layers": 4,
    "num_conv_pos_embedding_groups": 6,
    "vocab_size": 11,
}
# An odd and an even kernel of the positional convolution.
GROUP = {"feat_extract_norm": "group", "conv_bias": False, "num_conv_pos_embeddings": 31}
LAYER = {"feat_extract_norm": "layer", "conv_bias": True, "num_conv_pos_embeddings": 16}
STABLE = {"do_stable_layer_norm": True, "layer_norm_eps": 1e-4}
BUCKETS = {"num_buckets": 40, "max_bucket_distance": 90}

# Name -> family of the reference's classes, settings of its configuration.
CASES = {
    "wav2vec2_base": ("Wav2Vec2", GROUP),
    "wav2vec2_large": ("Wav2Vec2", LAYER | STABLE),
    "wav2vec2_large_common_epsilon": ("Wav2Vec2", LAYER | STABLE | {"layer_norm_eps": 1e-5}),
    "wav2vec2_layer_norm_stem_post_norm": ("Wav2Vec2", LAYER),
    "wav2vec2_other_activations": (
        "Wav2Vec2",
        LAYER | {"hidden_act": "gelu_new", "feat_extract_activation": "silu"},
    ),
    "hubert_base": ("Hubert", GROUP),
    "hubert_large": ("Hubert", LAYER | STABLE),
    "hubert_without_projection_norm": ("Hubert", GROUP | {"feat_proj_layer_norm": False}),
    "mert_95m": ("Hubert", GROUP | {"conv_bias": True}),
    "mert_330m": ("Hubert", GROUP | STABLE),
    "wavlm_base": ("WavLM", GROUP | BUCKETS),
    "wavlm_large": ("WavLM", LAYER | STABLE | BUCKETS),
    "data2vec": (
        "Data2VecAudio",
        {"conv_bias": True, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7},
    ),
}
# transformers' Flax model ran these flags alone, and put layer_norm_eps, which is PyTorch's 1e-5 in
# every published checkpoint, into the stem's norms too.
FLAX_CASE = "wav2vec2_large_common_epsilon"

NUM_SAMPLES = (6400, 4111, 170)


def reference_model(case, head="Model", seed=0):
    """A model of the reference with weights so random that each one matters."""
    family, settings = CASES[case]
    config = getattr(transformers, f"{family}Config")(**SIZES | settings)
    torch.manual_seed(seed)
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or parameter.shape[0] == parameter.shape[1] == 1:
                parameter += 0.2 * torch.randn_like(parameter)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) * (1.5 / fan_in) ** 0.5)
    return model


def save_reference(model, case, directory, **options):
    model.save_pretrained(directory, **options)
    if case.startswith("mert"):
        config = json.loads((directory / "config.json").read_text())
        changes = {"model_type": "mert_model", "sample_rate": 24000}
        (directory / "config.json").write_text(json.dumps(config | changes))
    return directory


def load_reference(case, directory):
    family = CASES[case][0]
    model = getattr(transformers, f"{family}Model")
    # MERT's own class is remote code; its published weights are HuBERT's.
    config = getattr(transformers, f"{family}Config").from_pretrained(directory)
    loaded, info = model.from_pretrained(directory, config=config, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return loaded.eval()


def make_clips(seed=0):
    generator = np.random.default_rng(seed)
    waveform = generator.standard_normal((len(NUM_SAMPLES), max(NUM_SAMPLES))).astype(np.float32)
    return waveform, np.array(NUM_SAMPLES)


def reference_states(model, clip):
    """[L + 1, T, D] of one clip alone; the last after the final norm, where transformers 5 differs."""
    with torch.no_grad():
        output = model(torch.from_numpy(clip)[None], output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    return np.stack([state[0].numpy() for state in states])


def assert_reproduces(encoder, model):
    """Every clip of a padded batch against the reference's output for that clip alone."""
    waveform, num_samples = make_clips()
    output = encoder(waveform, num_samples)
    for row, count in enumerate(num_samples):
        actual = output.hidden_states[:, row][:, output.frame_mask[row]]
        assert_states_close(actual, reference_states(model, waveform[row, :count]))


def assert_states_close(actual, expected):
    assert actual.shape == expected.shape
    scale = np.maximum(1.0, np.abs(expected).max(axis=(1, 2), keepdims=True))
    worst = np.max(np.abs(np.asarray(actual) - expected) / scale)
    print(f"largest difference {worst:.1e}")  # Shown with pytest's -rP.
    assert worst < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_hidden_states_of_a_padded_batch_equal_the_reference_on_each_clip(case, tmp_path):
    model = reference_model(case)
    encoder = load_encoder(save_reference(model, case, tmp_path))
    assert encoder.sample_rate_hz == (24000 if case.startswith("mert") else 16000)
    assert_reproduces(encoder, model)


@pytest.mark.parametrize("case", CASES)
def test_what_we_save_the_reference_loads_and_reproduces(case, tmp_path):
    model = reference_model(case, seed=1)
    encoder = load_encoder(save_reference(model, case, tmp_path / "theirs"))
    save_pretrained(encoder, tmp_path / "ours")
    loaded = load_reference(case, tmp_path / "ours")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert_reproduces(encoder, loaded)


@pytest.mark.parametrize(
    ("case", "head"),
    [
        ("wav2vec2_base", "ForPreTraining"),
        ("wav2vec2_large", "ForCTC"),
        ("wav2vec2_base", "ForXVector"),
        ("hubert_base", "ForSequenceClassification"),
        ("hubert_large", "ForCTC"),
        ("wavlm_base", "ForXVector"),
        ("wavlm_large", "ForAudioFrameClassification"),
        ("data2vec", "ForCTC"),
    ],
)
def test_encoders_inside_models_with_heads_load(case, head, tmp_path):
    model = reference_model(case, head)
    encoder = load_encoder(save_reference(model, case, tmp_path))
    assert_reproduces(encoder, model.base_model)


def test_shards_written_by_the_reference_load(tmp_path):
    model = reference_model("wavlm_large")
    whole = load_encoder(save_reference(model, "wavlm_large", tmp_path / "whole"))
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert load_encoder(tmp_path / "shards").fingerprint == whole.fingerprint


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64", "bool"])
def test_files_of_torch_save_are_read_bit_equal(container, dtype, tmp_path):
    base = torch.arange(-12, 12).reshape(4, 6).to(getattr(torch, dtype))
    content = {
        "whole": base,
        "turned": base.T,
        "part": base[1:3, 2:],
        "scalar": base[0, 0],
        "empty": base[:0],
    }
    if dtype.startswith("float"):
        content["parameter"] = torch.nn.Parameter(base)
    path = tmp_path / "pytorch_model.bin"
    torch.save(content, path, _use_new_zipfile_serialization=container == "zip")
    loaded = torch_pickle.read(path)
    assert loaded.keys() == content.keys()
    for name, tensor in content.items():
        assert loaded[name].dtype.name == dtype
        wide = torch.float64 if dtype.startswith(("float", "bfloat")) else tensor.dtype
        np.testing.assert_array_equal(
            loaded[name].astype(str(wide).removeprefix("torch.")), tensor.detach().to(wide).numpy()
        )


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("case", ["wav2vec2_large", "mert_95m"])
def test_pytorch_bin_of_a_model_loads_like_its_safetensors(case, container, tmp_path):
    model = reference_model(case)
    whole = load_encoder(save_reference(model, case, tmp_path))
    (tmp_path / "model.safetensors").unlink()
    zipped = container == "zip"
    torch.save(
        model.state_dict(),
        tmp_path / "pytorch_model.bin",
        _use_new_zipfile_serialization=zipped,
    )
    assert load_encoder(tmp_path).fingerprint == whole.fingerprint


@pytest.fixture(scope="module")
def flax_model():
    """transformers' own Flax model, which left it in 5.0."""
    if not hasattr(transformers, "FlaxWav2Vec2Model"):
        pytest.skip("needs transformers 4: its Flax models left it in 5.0")
    return transformers.FlaxWav2Vec2Model


def flax_states(model, clip):
    output = model(clip[None], output_hidden_states=True)
    return np.stack([np.asarray(state[0]) for state in output.hidden_states])


def test_flax_checkpoints_travel_both_ways(flax_model, tmp_path):
    ours = load_encoder(save_reference(reference_model(FLAX_CASE), FLAX_CASE, tmp_path / "torch"))
    save_pretrained(ours, tmp_path / "ours", weights=WeightsFormat.FLAX)
    theirs = flax_model.from_pretrained(tmp_path / "ours")
    assert jax.tree.structure(theirs.params) == jax.tree.structure(ours.params)
    assert jax.tree.all(jax.tree.map(np.array_equal, theirs.params, ours.params))
    theirs.save_pretrained(tmp_path / "theirs")
    assert {path.suffix for path in (tmp_path / "theirs").iterdir()} == {".json", ".msgpack"}
    back = load_encoder(tmp_path / "theirs")
    assert back.fingerprint == ours.fingerprint
    clip = make_clips()[0][0]
    expected = flax_states(theirs, clip)
    assert_states_close(back(clip[None], jnp.array([clip.size])).hidden_states[:, 0], expected)


def test_shards_written_by_the_flax_reference_load(flax_model, tmp_path):
    ours = load_encoder(save_reference(reference_model(FLAX_CASE), FLAX_CASE, tmp_path / "torch"))
    save_pretrained(ours, tmp_path / "ours", weights=WeightsFormat.FLAX)
    theirs = flax_model.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert len(list((tmp_path / "shards").glob("*.msgpack"))) > 2
    assert load_encoder(tmp_path / "shards").fingerprint == ours.fingerprint


WHISPER_SIZES = {
    "d_model": 40,
    "encoder_layers": 3,
    "encoder_attention_heads": 5,
    "encoder_ffn_dim": 70,
    "num_mel_bins": 128,
    "max_source_positions": 100,
    "decoder_layers": 1,
    "decoder_attention_heads": 5,
    "decoder_ffn_dim": 70,
    "vocab_size": 11,
    "pad_token_id": 0,
}


def whisper_states(encoder, features):
    with torch.no_grad():
        output = encoder(features, output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    return np.stack([state[0].numpy() for state in states])


def test_whisper_within_silence_equals_the_reference_both_ways(tmp_path):
    """Ours of theirs, and theirs of what we save; on clips from the first frame to the full length."""
    torch.manual_seed(0)
    model = transformers.WhisperModel(transformers.WhisperConfig(**WHISPER_SIZES)).eval()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    extractor = transformers.WhisperFeatureExtractor(feature_size=128, chunk_length=2)
    model.save_pretrained(tmp_path / "theirs")
    extractor.save_pretrained(tmp_path / "theirs")
    encoder = load_encoder(tmp_path / "theirs")
    save_pretrained(encoder, tmp_path / "ours")
    again = transformers.WhisperModel.from_pretrained(tmp_path / "ours").eval()
    generator = np.random.default_rng(0)
    for count in (170, 4111, 31_990, 32_000):
        clip = generator.standard_normal(count).astype(np.float32)
        features = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features
        padded = np.pad(clip, (0, 32_000 - count))[None]
        actual = encoder(padded, np.array([32_000])).hidden_states[:, 0]
        assert_states_close(actual, whisper_states(model.encoder, features))
        assert_states_close(actual, whisper_states(again.encoder, features))
