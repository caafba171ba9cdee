"""Exported models in Hugging Face's transformers and peft: the same logits as here.

Needs the `reference` extra: `python -m pytest tests/test_classifier_reference.py -m reference`.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.classifier import load_classifier
from jaxemo.models.heads import HeadForm, apply_head, init_head, no_standardisation, pool_frames
from jaxemo.models.pretrained import load_encoder
from jaxemo.peft import make_method
from jaxemo.studies.export import ExportFormat, export_model, merged_encoder
from jaxemo.studies.recognition import EMOTION_CLASSES, Task
from jaxemo.studies.saved_models import SavedModel
from jaxemo.studies.sources import encoder_source
from jaxemo.training.predict import TrainedModel

REFERENCE = "needs the `reference` extra: PyTorch and peft beside transformers"
torch = pytest.importorskip("torch", reason=REFERENCE)
peft = pytest.importorskip("peft", reason=REFERENCE)
transformers = pytest.importorskip("transformers", reason=REFERENCE)

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
    pytest.mark.filterwarnings("ignore:::peft"),
]

TOLERANCE = 1e-4
EMOTIONS = ("neutral", "happy", "sad")
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "conv_dim": (8, 8),
    "conv_kernel": (8, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 8,
}
FAMILIES = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
LOW_RANK = {"rank": 2, "targets": ("q", "v", "ff_in")}


@pytest.fixture(params=FAMILIES)
def base(request, tmp_path):
    """The folder of an encoder that transformers wrote."""
    family = FAMILIES[request.param]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SIZES)
    model = getattr(transformers, f"{family}Model")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def base_type(folder):
    return json.loads((folder / "config.json").read_text())["model_type"]


def moved(tree, key, size):
    return jax.tree.map(
        lambda leaf: leaf + size * jax.random.normal(jax.random.key(key), leaf.shape), tree
    )


def trained_model(base, form, method="lora", **options):
    """A model as `load_model` gives it, with random adaptation and head."""
    encoder = load_encoder(base)
    made = make_method(method, **options)
    head = init_head(
        jax.random.key(2),
        num_layers=3,
        width=24,
        hidden=10,
        num_outputs=len(EMOTIONS),
        form=form,
    )
    adaptation = moved(made.init(jax.random.key(0), encoder.params), 1, 0.2)
    record = {
        "jaxemo": "0.1.0",
        "encoder": {
            "name": "base",
            "source": str(base),
            "origin": "local",
            "fingerprint": encoder.fingerprint,
            "sample_rate_hz": 16_000,
        },
        "method": {"name": method, "options": options},
        "head": {"form": form.value, "width": 10, "pooling": "mean"},
        "objective": EMOTION_CLASSES,
        "temperature": 1.5,
        "first_method": None,
        "outputs": list(EMOTIONS),
        "audio": {"excerpt": "whole", "crop_seconds": 3.0, "trim_silence_db": 0.0},
        "corpus": {"name": "ravdess", "hash": "c" * 64},
        "training": {"domains": ["speech"], "regime": "single", "fold": 0, "seed": 0},
        "seen_speakers": [],
        "figures": [],
    }
    return SavedModel(
        source=encoder_source(encoder, str(base)),
        method=made,
        predictor=None,
        base=encoder.params,
        trained=TrainedModel(
            {"adaptation": adaptation, "head": moved(head, 3, 0.3)}, no_standardisation(3, 24)
        ),
        task=Task(EMOTION_CLASSES, EMOTIONS),
        record=record,
    )


def our_logits(encoder, head, form, waveform):
    output = encoder(waveform, np.full(len(waveform), waveform.shape[1]))
    pooled = pool_frames(output.hidden_states, output.frame_mask)
    plain = no_standardisation(*pooled.shape[1:])
    return np.asarray(apply_head(head, pooled, statistics=plain, form=form))


def their_logits(model, waveform):
    with torch.no_grad():
        return model(torch.from_numpy(waveform)).logits.numpy()


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal((2, 1600)).astype(np.float32)


@pytest.mark.parametrize("form", [HeadForm.HUB_LAST, HeadForm.HUB_WEIGHTED])
def test_transformers_loads_the_exported_model(form, base, waveform, tmp_path):
    model = trained_model(base, form, **LOW_RANK)
    export_model(model, tmp_path / "exported")
    loaded, found = transformers.AutoModelForAudioClassification.from_pretrained(
        tmp_path / "exported", output_loading_info=True
    )
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert tuple(loaded.config.id2label.values()) == EMOTIONS
    theirs = their_logits(loaded.eval(), waveform)
    ours = our_logits(merged_encoder(model), model.trained.trainable["head"], form, waveform)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    again = load_classifier(str(tmp_path / "exported"))
    np.testing.assert_allclose(
        our_logits(again.encoder, again.head.params, form, waveform), theirs, atol=TOLERANCE
    )


@pytest.mark.parametrize(
    ("method", "options"), [("lora", LOW_RANK), ("dora", LOW_RANK), ("ia3", {})]
)
def test_peft_loads_adapter_and_head_onto_the_class_for_classification(
    method, options, base, waveform, tmp_path
):
    model = trained_model(base, HeadForm.HUB_LAST, method, **options)
    export_model(model, tmp_path / "exported", form=ExportFormat.PEFT)
    fresh = transformers.AutoModelForAudioClassification.from_pretrained(
        base, id2label=dict(enumerate(EMOTIONS)), classifier_proj_size=10
    ).eval()
    before = their_logits(fresh, waveform)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path / "exported").eval()
    if base_type(base) == "wavlm":  # Whose attention reads its weights past an adapter.
        loaded = loaded.merge_and_unload()
    theirs = their_logits(loaded, waveform)
    head = model.trained.trainable["head"]

    def run(params):
        output = model.source.encoder.module.apply(
            {"params": params}, jnp.asarray(waveform), jnp.array([1600, 1600])
        )
        return pool_frames(output.hidden_states, output.frame_mask)

    pooled = model.method.apply(run, model.base, model.trained.trainable["adaptation"])
    ours = apply_head(head, pooled, statistics=no_standardisation(3, 24), form=HeadForm.HUB_LAST)
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)
    assert np.abs(theirs - before).max() > 100 * TOLERANCE


def test_stable_models_differ_in_what_transformers_calls_their_last_layer(waveform, tmp_path):
    """Version 5 takes it before the final norm, 4 and this package after; see docs/methods.md."""
    config = transformers.Wav2Vec2Config(
        **SIZES,
        do_stable_layer_norm=True,
        use_weighted_layer_sum=True,
        classifier_proj_size=10,
        id2label=dict(enumerate(EMOTIONS)),
    )
    torch.manual_seed(0)
    model = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    encoder, head = load_classifier(str(tmp_path))
    ours = our_logits(encoder, head.params, head.form, waveform)
    outputs = model.wav2vec2(torch.from_numpy(waveform), output_hidden_states=True)
    states = torch.stack([*outputs.hidden_states[:-1], outputs.last_hidden_state], dim=1)
    shares = torch.softmax(model.layer_weights, dim=-1).view(-1, 1, 1)
    theirs = model.classifier(model.projector((states * shares).sum(dim=1)).mean(dim=1))
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=TOLERANCE)
