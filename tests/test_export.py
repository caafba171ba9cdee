"""Exported models: merged hidden states, the head, the model card, and what is refused."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxemo.cli.main import main
from jaxemo.models.checkpoints.hub_layout import Normalisation, Origin
from jaxemo.models.classifier import load_classifier
from jaxemo.models.heads import (
    HeadForm,
    LayerStatistics,
    apply_head,
    init_head,
    no_standardisation,
    pool_frames,
)
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.peft import make_method
from jaxemo.studies.export import ExportFormat, export_model, merged_encoder
from jaxemo.studies.recognition import EMOTION_CLASSES, Task
from jaxemo.studies.saved_models import SavedModel
from jaxemo.studies.sources import encoder_source
from jaxemo.training.predict import TrainedModel

pytestmark = pytest.mark.xdist_group("cli")

# Two float32 products in another order, over two layers.
TOLERANCE = 1e-5
EMOTIONS = ("happy", "sad")


@pytest.fixture(scope="module")
def encoder(small_encoder):
    module, params = small_encoder
    return Encoder(
        name="small",
        origin=Origin.UNTRAINED,
        module=module,
        params=params,
        sample_rate_hz=16_000,
        normalisation=Normalisation.NONE,
    )


def record(method, form=HeadForm.STANDARDISED, **options):
    return {
        "jaxemo": "0.1.0",
        "encoder": {
            "name": "small",
            "source": "models/small",
            "origin": "untrained",
            "revision": "",
            "fingerprint": "f" * 64,
            "sample_rate_hz": 16_000,
        },
        "method": {"name": method, "options": options},
        "first_method": None,
        "head": {"form": form.value, "width": 4, "pooling": "mean"},
        "objective": EMOTION_CLASSES,
        "temperature": 1.5,
        "outputs": list(EMOTIONS),
        "audio": {
            "excerpt": "middle",
            "crop_seconds": 3.0,
            "trim_silence_db": 40.0,
            "batch_size": 16,
        },
        "corpus": {"name": "ravdess", "hash": "c" * 64},
        "training": {"domains": ["speech", "music"], "regime": "joint", "fold": 1, "seed": 0},
        "seen_speakers": ["a", "b"],
        "figures": [
            {"domain": "speech", "emotion": "all", "metric": "UA", "mean": 0.75, "n": 12},
            {"domain": "speech", "emotion": "sad", "metric": "recall", "mean": 0.5, "n": 12},
            {"domain": "music", "emotion": "all", "metric": "UA", "mean": None, "n": 0},
        ],
    }


def model_of(encoder, name, form=HeadForm.STANDARDISED, **options):
    """A saved model whose adaptation is away from the identity that methods are born as."""
    adaptation = make_method(name, **options).init(jax.random.key(0), encoder.params)
    adaptation = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), adaptation
    )
    width = encoder.config.hidden_size
    head = init_head(
        jax.random.key(2), num_layers=3, width=width, hidden=4, num_outputs=2, form=form
    )
    statistics = LayerStatistics(np.zeros((3, width), np.float32), np.ones((3, width), np.float32))
    return SavedModel(
        source=encoder_source(encoder, "models/small"),
        method=make_method(name, **options),
        predictor=None,
        base=encoder.params,
        trained=TrainedModel({"adaptation": adaptation, "head": head}, statistics),
        task=Task(EMOTION_CLASSES, EMOTIONS),
        record=record(name, form, **options),
    )


@pytest.fixture(scope="module")
def clips():
    waveform = jax.random.normal(jax.random.key(3), (2, 3000))
    return waveform, jnp.array([3000, 2000])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("full", {}, marks=pytest.mark.slow),
        ("weighted_sum", {}),
        ("lora", {"rank": 2, "alpha": 4.0}),
    ],
)
def test_the_exported_encoder_gives_the_adapted_hidden_states(
    name, options, encoder, clips, tmp_path
):
    model = model_of(encoder, name, **options)

    def forward(params):
        return encoder.module.apply({"params": params}, *clips)

    adapted = make_method(name, **options).apply(
        forward, encoder.params, model.trained.trainable["adaptation"]
    )
    export_model(model, tmp_path)
    exported = load_encoder(tmp_path)(*clips)
    for frames, expected in zip(exported.hidden_states, adapted.hidden_states, strict=True):
        np.testing.assert_allclose(frames, expected, atol=TOLERANCE)
    moved = np.abs(adapted.hidden_states - encoder(*clips).hidden_states).max()
    assert (moved > 100 * TOLERANCE) == (name != "weighted_sum")


@pytest.mark.parametrize("form", [HeadForm.HUB_LAST, HeadForm.HUB_WEIGHTED])
def test_an_exported_classifier_gives_the_logits_that_were_trained(form, encoder, clips, tmp_path):
    model = model_of(encoder, "lora", form, rank=2, alpha=4.0)
    head = model.trained.trainable["head"]
    if form.mixes_layers:
        head["layer_weights"] = jnp.array([0.3, -1.0, 2.0])
    plain = no_standardisation(3, encoder.config.hidden_size)

    def logits(encoder, head):
        output = encoder(*clips)
        pooled = pool_frames(output.hidden_states, output.frame_mask)
        return apply_head(head, pooled, statistics=plain, form=form)

    written = export_model(model, tmp_path)
    assert "head.safetensors" not in {path.name for path in written}
    exported = load_classifier(str(tmp_path))
    assert exported.head.labels == EMOTIONS
    assert exported.head.form is form
    expected = logits(merged_encoder(model), head)
    np.testing.assert_allclose(
        logits(*exported[:1], exported.head.params), expected, atol=TOLERANCE
    )
    assert "AutoModelForAudioClassification" in (tmp_path / "README.md").read_text()


def test_a_head_of_the_last_layer_goes_into_the_peft_folder(encoder, tmp_path):
    model = model_of(encoder, "lora", HeadForm.HUB_LAST, rank=2, alpha=4.0)
    written = export_model(model, tmp_path, form=ExportFormat.PEFT)
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert [path.name for path in written] == names
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["classifier", "projector"]
    tensors = safetensors.numpy.load_file(tmp_path / "adapter_model.safetensors")
    np.testing.assert_array_equal(
        tensors["base_model.model.classifier.weight"],
        model.trained.trainable["head"]["classifier"]["kernel"].T,
    )
    assert "base_model.model.wav2vec2.encoder.layers.0.attention.q_proj.lora_A.weight" in tensors


@pytest.mark.parametrize(
    ("head", "form", "words"),
    [
        (HeadForm.STANDARDISED, ExportFormat.HUB, "standardises each layer"),
        (HeadForm.HUB_WEIGHTED, ExportFormat.PEFT, "layer weights are in none"),
    ],
)
def test_a_head_that_has_no_place_is_kept_beside_and_said(
    head, form, words, encoder, tmp_path, caplog
):
    export_model(model_of(encoder, "lora", head, rank=2), tmp_path, form=form)
    assert (tmp_path / "head.safetensors").is_file()
    assert words in caplog.text
    assert words in (tmp_path / "README.md").read_text()


def test_a_peft_folder_holds_the_adapter_the_head_and_its_base(encoder, tmp_path):
    model = model_of(encoder, "lora", rank=2, alpha=4.0)
    written = export_model(model, tmp_path, form=ExportFormat.PEFT)
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "head.safetensors"]
    assert [path.name for path in written] == names
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/small"
    tensors = safetensors.numpy.load_file(tmp_path / "adapter_model.safetensors")
    first = model.trained.trainable["adaptation"]["encoder"]["layers"]["0"]["attention"]["q_proj"]
    np.testing.assert_array_equal(
        tensors["base_model.model.encoder.layers.0.attention.q_proj.lora_A.weight"], first["a"].T
    )
    assert "as an adapter of its own" in (tmp_path / "README.md").read_text()


def test_a_method_that_peft_lacks_writes_nothing(encoder, tmp_path):
    with pytest.raises(ValueError, match="'adapter' has no counterpart"):
        export_model(
            model_of(encoder, "adapter", bottleneck=2), tmp_path / "w", form=ExportFormat.PEFT
        )
    assert not (tmp_path / "w").exists()


def test_an_exported_encoder_no_longer_counts_as_untrained(encoder):
    merged = merged_encoder(model_of(encoder, "lora", rank=2))
    assert merged.origin is Origin.LOCAL
    assert merged.name == "small-lora-speech-music"


def test_the_head_is_kept_with_its_statistics_and_emotions(encoder, tmp_path):
    model = model_of(encoder, "lora", rank=2)
    export_model(model, tmp_path)
    arrays = safetensors.numpy.load_file(tmp_path / "head.safetensors")
    assert {name: array.shape for name, array in arrays.items()} == {
        "layer_weights": (3,),
        "projection/kernel": (16, 4),
        "projection/bias": (4,),
        "classifier/kernel": (4, 2),
        "classifier/bias": (2,),
        "statistics/mean": (3, 16),
        "statistics/std": (3, 16),
    }
    np.testing.assert_array_equal(
        arrays["classifier/kernel"], model.trained.trainable["head"]["classifier"]["kernel"]
    )
    with safetensors.safe_open(tmp_path / "head.safetensors", framework="np") as file:
        assert file.metadata() == {"emotions": "happy,sad"}


def test_the_model_card_says_what_it_is_and_how_well_it_does(encoder, tmp_path):
    export_model(model_of(encoder, "lora", rank=2, alpha=4.0), tmp_path)
    card = (tmp_path / "README.md").read_text()
    for words in (
        "# small, lora, trained on speech and music",
        "lora (rank 2, alpha 4.0)",
        "emotions: happy, sad",
        "logits divided by 1.5",
        "fold 1, seed 0",
        "| speech | UA | 0.7500 | 12 |",
        "licences of both hold",
        "CC BY-NC-SA 4.0",
    ):
        assert words in card
    assert "| music |" not in card


def test_a_method_that_cannot_be_merged_is_refused_before_anything_is_written(encoder, tmp_path):
    with pytest.raises(
        ValueError, match=r"'adapter' cannot be merged.*Train with 'lora' or 'full'"
    ):
        export_model(model_of(encoder, "adapter", bottleneck=2), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_the_acoustic_baseline_has_no_weights_to_export(encoder, tmp_path):
    model = model_of(encoder, "weighted_sum")
    baseline = model.source._replace(encoder=None, name="acoustic baseline")
    with pytest.raises(ValueError, match="'acoustic baseline' is no encoder"):
        export_model(model._replace(source=baseline), tmp_path)


def test_a_trained_checkpoint_is_exported_by_the_command(trained, tmp_path, capsys):
    checkpoint = trained / "checkpoint"
    assert main(["export", f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'w'}"]) == 0
    said = capsys.readouterr().out
    written = {path.name for path in (tmp_path / "w").iterdir()}
    assert written == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "head.safetensors",
        "README.md",
    }
    assert {Path(line).name for line in said.splitlines()} == written
    assert json.loads((tmp_path / "w" / "config.json").read_text())["jaxemo_origin"] == "local"
    base, exported = load_encoder("untrained/speech"), load_encoder(tmp_path / "w")
    assert dataclasses.asdict(exported.config) == dataclasses.asdict(base.config)
    assert exported.fingerprint != base.fingerprint
