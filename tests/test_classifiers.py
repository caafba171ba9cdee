"""Published classification models: their logits, their labels by our names, and what is refused.

The golden logits are those of Hugging Face's PyTorch models; tools/make_classifier_goldens.py makes them.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
import soundfile

from jaxemo.cli.main import main
from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.corpora.emotion_names import EMOTION_OF_LABEL
from jaxemo.embedding.stream import Clips
from jaxemo.models.checkpoints.heads import Answers, head_tensors
from jaxemo.models.classifier import load_classifier
from jaxemo.models.heads import HeadForm, apply_head, no_standardisation, pool_frames
from jaxemo.studies.published_models import load_any_model, names_of_labels, names_published_model
from jaxemo.studies.saved_models import predictions_of
from jaxemo.training.sharding import make_mesh

GOLDENS = Path(__file__).parent / "goldens"
CLASSIFIERS = Path(__file__).parent / "classifier_goldens"
FORMS = {
    "wav2vec2_weighted": HeadForm.HUB_WEIGHTED,
    "hubert_last": HeadForm.HUB_LAST,
    "wavlm_weighted": HeadForm.HUB_WEIGHTED,
    "wav2vec2_ratings": HeadForm.HUB_TANH,
}
# Logits are of the order of 1; float32 sums in another order, over two layers.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def inputs():
    return safetensors.numpy.load_file(GOLDENS / "input_16000.safetensors")


def clips_of(inputs):
    rows = zip(inputs["waveform"], inputs["num_samples"], strict=True)
    waveforms = [waveform[:length] for waveform, length in rows]
    digests = tuple(str(row) for row in range(len(waveforms)))
    return Clips(
        digests, waveforms.__getitem__, inputs["num_samples"], 16_000, Excerpt(Extent.WHOLE)
    )


@pytest.mark.parametrize("name", FORMS)
def test_logits_are_those_of_the_published_class(name, inputs):
    folder = CLASSIFIERS / name
    encoder, head = load_classifier(str(folder))
    assert head.form is FORMS[name]
    output = encoder(inputs["waveform"], inputs["num_samples"])
    pooled = pool_frames(output.hidden_states, output.frame_mask)
    plain = no_standardisation(*pooled.shape[1:])
    logits = apply_head(head.params, pooled, statistics=plain, form=head.form)
    expected = safetensors.numpy.load_file(folder / "golden.safetensors")["logits"]
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE)
    assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE


def test_probabilities_are_of_the_emotions_that_the_labels_mean(inputs):
    folder = CLASSIFIERS / "wav2vec2_weighted"
    model = load_any_model(str(folder), mesh=make_mesh(jax.devices()[:1]))
    assert model.task.outputs == ("neutral", "happy", "angry", "sad")
    logits = safetensors.numpy.load_file(folder / "golden.safetensors")["logits"]
    found = predictions_of(model, clips_of(inputs))
    np.testing.assert_allclose(found, jax.nn.softmax(logits), atol=TOLERANCE)


def with_labels(folder, destination, *labels, **more):
    shutil.copytree(folder, destination)
    config = json.loads((folder / "config.json").read_text())
    names = {str(index): label for index, label in enumerate(labels)}
    (destination / "config.json").write_text(json.dumps(config | {"id2label": names} | more))
    return destination


def test_labels_of_one_emotion_are_added_up_and_unknown_ones_keep_their_name(inputs, tmp_path):
    source = CLASSIFIERS / "wav2vec2_weighted"
    folder = with_labels(source, tmp_path / "m", "Joy", "happiness", "Grumpy", "SADNESS")
    model = load_any_model(str(folder), mesh=make_mesh(jax.devices()[:1]))
    assert model.record["labels"] == {
        "Joy": "happy",
        "happiness": "happy",
        "Grumpy": "Grumpy",
        "SADNESS": "sad",
    }
    shares = jax.nn.softmax(safetensors.numpy.load_file(source / "golden.safetensors")["logits"])
    found = predictions_of(model, clips_of(inputs))
    expected = np.stack([shares[:, 0] + shares[:, 1], shares[:, 2], shares[:, 3]], axis=1)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_a_model_of_ratings_gives_them(inputs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXEMO_CACHE", str(tmp_path / "cache"))
    folder = CLASSIFIERS / "wav2vec2_ratings"
    assert names_of_labels(load_classifier(str(folder)).head)["valence"] == "valence"
    clip = inputs["waveform"][0] / 8  # The model takes samples as they are.
    soundfile.write(tmp_path / "a.wav", clip, 16_000, subtype="FLOAT")
    assert main(["predict", f"--checkpoint={folder}", str(tmp_path / "a.wav")]) == 0
    [line] = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    encoder, head = load_classifier(str(folder))
    output = encoder(clip[None], np.array([clip.size]))
    last = np.asarray(output.hidden_states[-1, 0].mean(axis=0))
    projection, classifier = head.params["projection"], head.params["classifier"]
    hidden = np.tanh(last @ projection["kernel"] + projection["bias"])
    expected = hidden @ classifier["kernel"] + classifier["bias"]
    assert list(line["ratings"]) == ["arousal", "dominance", "valence"]
    np.testing.assert_allclose(list(line["ratings"].values()), expected, atol=TOLERANCE)
    assert head.answers is Answers.RATINGS


def test_a_published_model_is_scored_on_the_emotions_that_both_have(tmp_path, cache, tiny_config):
    model = f"--checkpoint={CLASSIFIERS / 'wav2vec2_weighted'}"
    both = "--config.corpus.emotions=happy,sad,angry"
    assert main(["evaluate", model, tiny_config, cache, both, f"--workdir={tmp_path}"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["predicted"] for row in results["predictions"]} <= {"happy", "sad", "angry"}
    assert {row["domain"] for row in results["figures"]} == {"speech", "music"}
    notes = " ".join(results["provenance"]["notes"])
    assert "hap as happy" in notes
    assert "could not answer with neutral" in notes


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "names no corpus; expected --config"),
        (["--config.corpus.emotions=happy,calm"], "asks for calm too"),
    ],
)
def test_a_corpus_that_a_published_model_cannot_answer_is_refused(
    flags, words, tiny_config, cache, capsys
):
    model = f"--checkpoint={CLASSIFIERS / 'wav2vec2_weighted'}"
    config = [tiny_config, cache] if flags else []
    assert main(["evaluate", model, *config, *flags]) == 2
    assert words in capsys.readouterr().err


def spoilt(source, destination, change):
    shutil.copytree(source, destination)
    tensors = change(safetensors.numpy.load_file(source / "model.safetensors"))
    safetensors.numpy.save_file(tensors, destination / "model.safetensors", {"format": "pt"})
    return destination


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: {n: v for n, v in t.items() if n != "classifier.bias"},
            "missing classifier/bias",
        ),
        (
            lambda t: t | {"projector.weight": np.zeros((12, 5), np.float32)},
            r"mis-shaped projector",
        ),
        (
            lambda t: t | {"layer_weights": np.full(3, np.nan, np.float32)},
            "non-finite layer_weights",
        ),
        (
            lambda t: {n: v for n, v in t.items() if not n.startswith(("proj", "classifier"))},
            "no head for classification",
        ),
    ],
)
def test_a_head_that_does_not_fit_is_refused_by_name(change, words, tmp_path):
    folder = spoilt(CLASSIFIERS / "wav2vec2_weighted", tmp_path / "m", change)
    with pytest.raises(ValueError, match=words):
        load_classifier(str(folder))


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        (("a", "a", "b", "c"), {}, "expected different names"),
        (("a", "b"), {}, "mis-shaped classifier"),
        (("a", "b", "c", "d"), {"problem_type": "ranking"}, "problem_type"),
        (("a", "b", "c", 4), {}, "expected different names"),
    ],
)
def test_outputs_without_a_clear_meaning_are_refused(labels, more, words, tmp_path):
    source = CLASSIFIERS / "wav2vec2_weighted"
    with pytest.raises(ValueError, match=words):
        load_classifier(str(with_labels(source, tmp_path / "m", *labels, **more)))


@pytest.mark.parametrize("name", FORMS)
def test_a_head_is_written_under_the_names_that_it_was_read_from(name):
    folder = CLASSIFIERS / name
    head = load_classifier(str(folder)).head
    published = safetensors.numpy.load_file(folder / "model.safetensors")
    written = head_tensors(head.params, head.form)
    assert set(written) == {
        n for n in published if not n.startswith(("wav2vec2.", "hubert.", "wavlm."))
    }
    for key, values in written.items():
        np.testing.assert_array_equal(values, published[key])


def test_the_page_has_the_table_of_labels():
    page = (Path(__file__).parents[1] / "docs" / "exchange.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    pairs = {name: row[0] for row in rows if len(row) == 2 for name in row[1].split(", ")}
    assert pairs.items() >= EMOTION_OF_LABEL.items()
    assert set(pairs) - set(EMOTION_OF_LABEL) == {"labels", "---"}


def test_what_counts_as_a_published_model(tmp_path):
    assert names_published_model("superb/wav2vec2-base-superb-er")
    assert names_published_model("superb/wav2vec2-base-superb-er@main")
    assert not names_published_model("runs/lora/checkpoint")
    assert not names_published_model("../checkpoint")
    assert not names_published_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert names_published_model(str(tmp_path))
