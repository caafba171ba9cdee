"""Whisper's encoder: parity with Hugging Face's PyTorch model, and OpenAI's own file format.

The references in `goldens/whisper` are made by tools/make_whisper_goldens.py. A clip padded with
silence to the full length is what Whisper was trained on; a clip alone is cut to its own frames.
"""

import json
import pickle
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from test_encoder import GOLDENS, GRADIENT_TOLERANCE, assert_close
from test_torch_pickle import Named, tensor, write_zip

from jaxemo.models.checkpoints import names as checkpoint_names
from jaxemo.models.checkpoints.hub_layout import WeightsFormat
from jaxemo.models.config import EncoderConfig
from jaxemo.models.log_mel import log_mel_frames, mel_filters
from jaxemo.models.pretrained import load_encoder, save_pretrained

FOLDER = GOLDENS / "whisper"
SECOND = 16_000
# The reference sums powers in float64; next to its floor, 80 dB below the loudest, float32 has 4
# digits of a power.
MEL_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(FOLDER)


@pytest.fixture(scope="module")
def golden():
    return load_file(FOLDER / "golden.safetensors")


@pytest.fixture(scope="module")
def clip():
    inputs = load_file(GOLDENS / "input_16000.safetensors")
    return inputs["waveform"][1, : inputs["num_samples"][1]]


def within_silence(clip, width):
    return np.pad(clip, (0, width - clip.size))[None]


def test_log_mel_frames_equal_the_reference(clip, golden):
    frames = log_mel_frames(
        jnp.asarray(within_silence(clip, SECOND)), num_mel_bins=20, longest_samples=SECOND
    )
    assert_close(frames[0], golden["log_mel"], MEL_TOLERANCE)


@pytest.mark.parametrize("num_mel_bins", [20, 80, 128])
def test_mel_filters_are_librosas(num_mel_bins):
    import librosa

    expected = librosa.filters.mel(sr=SECOND, n_fft=400, n_mels=num_mel_bins).T
    np.testing.assert_allclose(mel_filters(num_mel_bins), expected, atol=1e-8)


def test_a_clip_within_silence_equals_the_reference(encoder, clip, golden):
    output = encoder(within_silence(clip, SECOND), np.array([SECOND]))
    assert output.frame_mask.all()
    assert_close(output.hidden_states[:, 0], golden["padded.hidden_states"])


def test_a_clip_cut_to_its_frames_equals_the_reference_with_as_many_positions(
    encoder, clip, golden
):
    output = encoder(clip[None], np.array([clip.size]))
    assert_close(output.hidden_states[:, 0], golden["cut.hidden_states"])


def test_gradients_equal_the_reference(encoder, clip, golden):
    def loss(params):
        states, _ = encoder.module.apply(
            {"params": params}, jnp.asarray(clip[None]), jnp.array([clip.size])
        )
        return jnp.sum(golden["grad.R"] * states[-1, 0])

    gradients = checkpoint_names.torch_from_params(
        jax.jit(jax.grad(loss))(encoder.params), model_type="whisper"
    )
    references = {name: golden[f"grad.sample.{name}"] for name in gradients if "pos" not in name}
    for name, reference in references.items():
        flat = gradients[name].reshape(-1)
        limit = GRADIENT_TOLERANCE * max(1.0, np.abs(reference).max())
        assert_close(flat[:: -(-flat.size // 64)], reference, limit)
    assert len(references) == len(gradients) - 1


@pytest.mark.parametrize("num_samples", [160, 161, 320, 399, 15_601, 15_900, SECOND])
def test_a_clip_gives_the_same_frames_in_every_width(encoder, num_samples):
    """Up to the last samples, where the reference reflects the end of its 30 s."""
    clip = np.random.default_rng(num_samples).standard_normal(num_samples).astype(np.float32)
    alone = encoder(clip[None], np.array([num_samples])).hidden_states
    wide = np.full((2, SECOND), np.nan, np.float32)
    wide[0, :num_samples] = clip
    wide[1] = 100.0
    output = encoder(wide, np.array([num_samples, SECOND]))
    num_frames = (num_samples // 160 + 1) // 2
    assert output.frame_mask.sum(axis=1).tolist() == [num_frames, 50]
    assert alone.shape[2] == num_frames
    assert_close(output.hidden_states[:, 0, :num_frames], alone[:, 0], 1e-5)


def test_a_clip_longer_than_the_positions_is_refused(encoder):
    with pytest.raises(ValueError, match=r"16001 samples wide.*positions for 16000"):
        encoder(np.zeros((1, SECOND + 1), np.float32), np.array([SECOND + 1]))


def test_a_clip_without_a_frame_is_refused(encoder):
    with pytest.raises(ValueError, match=r"between 160 .*clip 0 has 159"):
        encoder(np.zeros((1, 200), np.float32), np.array([159]))


def test_saving_and_loading_changes_nothing(encoder, tmp_path):
    save_pretrained(encoder, tmp_path)
    again = load_encoder(tmp_path)
    assert (again.fingerprint, again.config) == (encoder.fingerprint, encoder.config)
    assert (again.normalisation, again.sample_rate_hz) == ("none", SECOND)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert names == {n for n in load_file(FOLDER / "model.safetensors") if n.startswith("encoder.")}


def test_the_flax_layout_is_refused_before_anything_is_written(encoder, tmp_path):
    with pytest.raises(ValueError, match="Flax layout of whisper"):
        save_pretrained(encoder, tmp_path / "new", weights=WeightsFormat.FLAX)
    assert not (tmp_path / "new").exists()


def test_weights_inside_the_model_with_a_head_load(encoder, tmp_path):
    from safetensors.numpy import save_file

    tensors = load_file(FOLDER / "model.safetensors")
    outer = {f"model.{name}": tensor for name, tensor in tensors.items()}
    outer["proj_out.weight"] = np.zeros((11, 16), np.float32)
    save_file(outer, tmp_path / "model.safetensors")
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copyfile(FOLDER / name, tmp_path / name)
    assert load_encoder(tmp_path).fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale_embedding": True}, "scale_embedding"),
        ({"num_mel_bins": 0}, "num_mel_bins"),
        ({"encoder_attention_heads": 5}, "num_attention_heads"),
    ],
)
def test_configurations_that_make_no_network_are_refused_by_key(changes, words):
    hub = json.loads((FOLDER / "config.json").read_text())
    with pytest.raises(ValueError, match=words):
        EncoderConfig.from_hub(hub | changes)


DIMS = {
    "n_mels": 20,
    "n_audio_ctx": 50,
    "n_audio_state": 16,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_ctx": 4,
}


def openai_tensors(generator):
    """The state dict of an encoder of one layer under OpenAI's names, and a bit of decoder."""
    width = DIMS["n_audio_state"]
    block = "encoder.blocks.0"
    shapes = {
        "encoder.conv1.weight": (width, DIMS["n_mels"], 3),
        "encoder.conv1.bias": (width,),
        "encoder.conv2.weight": (width, width, 3),
        "encoder.conv2.bias": (width,),
        "encoder.positional_embedding": (DIMS["n_audio_ctx"], width),
        f"{block}.mlp.0.weight": (4 * width, width),
        f"{block}.mlp.0.bias": (4 * width,),
        f"{block}.mlp.2.weight": (width, 4 * width),
        f"{block}.mlp.2.bias": (width,),
        "decoder.token_embedding.weight": (5, width),
    }
    for name in ("query", "key", "value", "out"):
        shapes[f"{block}.attn.{name}.weight"] = (width, width)
        if name != "key":
            shapes[f"{block}.attn.{name}.bias"] = (width,)
    for norm in (f"{block}.attn_ln", f"{block}.mlp_ln", "encoder.ln_post"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return {n: generator.standard_normal(s).astype(np.float16) for n, s in shapes.items()}


def write_openai_file(path, tensors, dims):
    """As torch.save writes {"dims": ..., "model_state_dict": ...} in half precision."""
    storages = {str(key): array for key, array in enumerate(tensors.values())}
    state = {
        name: tensor(array, key)
        for name, (key, array) in zip(tensors, storages.items(), strict=True)
    }
    write_zip(path, {"dims": dims, "model_state_dict": state}, storages)


@pytest.fixture
def openai_file(tmp_path):
    path = tmp_path / "mini.en.pt"
    write_openai_file(path, openai_tensors(np.random.default_rng(0)), DIMS)
    return path


def test_openais_file_gives_the_encoder_it_holds(openai_file, tmp_path):
    """The same numbers under Hugging Face's names give the same output."""
    encoder = load_encoder(openai_file)
    assert (encoder.name, encoder.sample_rate_hz) == ("mini.en", SECOND)
    tensors = openai_tensors(np.random.default_rng(0))
    kernel = encoder.params["encoder"]["layers"]["0"]["feed_forward"]["output_dense"]["kernel"]
    np.testing.assert_array_equal(kernel, tensors["encoder.blocks.0.mlp.2.weight"].T)
    save_pretrained(encoder, tmp_path / "hub")
    assert load_encoder(tmp_path / "hub").fingerprint == encoder.fingerprint


def test_openais_file_without_a_size_or_a_tensor_is_refused_by_name(tmp_path):
    tensors = openai_tensors(np.random.default_rng(0))
    path = tmp_path / "mini.pt"
    write_openai_file(path, tensors, DIMS | {"n_mels": "eighty"})
    with pytest.raises(ValueError, match=r"mini\.pt.*n_mels"):
        load_encoder(path)
    del tensors["encoder.blocks.0.attn.out.bias"]
    write_openai_file(path, tensors, DIMS)
    with pytest.raises(ValueError, match=r"missing encoder/layers/0/attention/out_proj/bias"):
        load_encoder(path)


def test_openais_file_that_names_code_is_refused(tmp_path):
    path = tmp_path / "evil.pt"
    write_zip(path, {"dims": DIMS, "model_state_dict": Named("os", "system", "true")}, {})
    with pytest.raises(ValueError, match=r"evil\.pt.*os\.system"):
        load_encoder(path)


def test_a_file_that_is_no_whisper_is_refused(tmp_path):
    path = tmp_path / "other.pt"
    write_zip(path, {"state_dict": {}}, {})
    with pytest.raises(ValueError, match=r"dims.*model_state_dict"):
        load_encoder(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"other\.pt"):
        load_encoder(path)
