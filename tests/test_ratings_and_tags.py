"""Corpora of ratings and of tags through `train`, `evaluate`, `predict` and `sweep`, as a user has them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from jaxemo.analysis.rating_scores import concordance_correlation, rating_moments
from jaxemo.cli.main import main
from jaxemo.data.corpora.corpus import CalmPolicy
from jaxemo.data.corpora.manifest import read_manifest
from jaxemo.data.synthetic.corpus import write_synthetic_corpus
from jaxemo.studies.config import read_settings
from jaxemo.studies.corpora import open_corpus
from jaxemo.studies.recognition import targets_of, task_of
from jaxemo.studies.saved_models import read_model_record

pytestmark = pytest.mark.xdist_group("cli")

# Of an emotion in the synthetic corpus: its sound follows them.
VALENCE = {"happy": 0.8, "calm": 0.5, "neutral": 0.1, "sad": -0.6, "angry": -0.7, "fearful": -0.5}
AROUSAL = {"happy": 0.6, "calm": -0.7, "neutral": -0.2, "sad": -0.5, "angry": 0.9, "fearful": 0.5}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    """Songs of six people with valence, arousal and tags, and no emotion."""
    folder = tmp_path_factory.mktemp("rated")
    whole = write_synthetic_corpus(folder / "audio", seed=0, num_speakers=6, clips_per_cell=1)
    with whole.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] == "music"]
    draw = np.random.default_rng(0)
    path = folder / "songs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "domain", "speaker", "valence", "arousal", "tags"))
        for row in rows:
            name = row["emotion"]
            valence, arousal = (
                float(np.clip(mean[name] + draw.normal(0, 0.1), -1, 1))
                for mean in (VALENCE, AROUSAL)
            )
            tags = [tag for tag, there in (("fast", arousal > 0), ("dark", valence < 0)) if there]
            place = f"audio/{row['path']}"
            table.writerow(
                (place, "music", row["speaker"], valence, arousal, "|".join(tags or ["plain"]))
            )
    return path


@pytest.fixture(scope="module")
def flags(manifest, tmp_path_factory):
    """Those of all commands: the acoustic baseline, which needs no encoder."""
    return [
        "--config=demo",
        f"--config.cache_dir={tmp_path_factory.mktemp('cache')}",
        "--config.corpus.name=manifest",
        f"--config.corpus.manifest={manifest}",
        "--config.corpus.emotions=()",
        "--config.folds.num_folds=3",
        "--config.train.encoder=acoustic",
        "--config.train.method=weighted_sum",
        "--config.train.domains=music,",
        "--config.methods.weighted_sum.epochs=40",
    ]


@pytest.fixture(scope="module")
def rated(flags, tmp_path_factory) -> Path:
    """The workdir of `jaxemo train` on ratings."""
    workdir = tmp_path_factory.mktemp("rated-model")
    assert main(["train", *flags, "--config.corpus.classes=ratings", f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="module")
def tagged(flags, tmp_path_factory) -> Path:
    """The workdir of `jaxemo train` on tags."""
    workdir = tmp_path_factory.mktemp("tagged-model")
    assert main(["train", *flags, "--config.corpus.classes=tags", f"--workdir={workdir}"]) == 0
    return workdir


def figures_in(workdir):
    rows = json.loads((workdir / "results.json").read_text())["figures"]
    return {(row["metric"], row["emotion"]): row["mean"] for row in rows}


def learns_its_training_clips(record) -> bool:
    """A dozen clips of two people tell little of others, but they can be learnt by heart."""
    losses = [epoch["train_loss"] for epoch in record["history"]]
    return losses[-1] < losses[0] / 2


def test_a_model_of_ratings_is_trained_and_has_the_fields_figures(rated):
    figures = figures_in(rated)
    names = ("all", "valence", "arousal")
    assert set(figures) == {(metric, name) for metric in ("CCC", "PCC", "R2") for name in names}
    record = read_model_record(rated / "checkpoint")
    assert learns_its_training_clips(record)
    assert (record["objective"], record["outputs"]) == ("ratings", ["valence", "arousal"])


def test_evaluation_repeats_the_figures_and_gives_every_clips_ratings(rated, flags, tmp_path):
    where = [f"--checkpoint={rated / 'checkpoint'}", f"--workdir={tmp_path}"]
    assert main(["evaluate", *where]) == 0
    evaluated, trained = figures_in(tmp_path), figures_in(rated)
    assert evaluated == {name: pytest.approx(trained[name], abs=1e-5) for name in trained}
    rows = json.loads((tmp_path / "results.json").read_text())["predicted_values"]
    arousal = np.array([(r["truth"], r["predicted"]) for r in rows if r["output"] == "arousal"])
    moments = rating_moments(arousal[:, :1], arousal[:, 1:])
    assert concordance_correlation(moments)[0] == pytest.approx(evaluated["CCC", "arousal"])


def test_prediction_of_files_gives_numbers(rated, manifest, capsys):
    clip = next((manifest.parent / "audio").rglob("*.wav"))
    capsys.readouterr()
    assert main(["predict", f"--checkpoint={rated / 'checkpoint'}", str(clip)]) == 0
    ratings = json.loads(capsys.readouterr().out.splitlines()[-1])["ratings"]
    assert list(ratings) == ["valence", "arousal"]
    assert np.isfinite(list(ratings.values())).all()


def test_a_model_of_tags_is_trained_scored_and_answers_with_probabilities(
    tagged, manifest, tmp_path, capsys
):
    figures = figures_in(tagged)
    names = ("all", "dark", "fast", "plain")
    assert set(figures) == {(metric, name) for metric in ("ROC_AUC", "PR_AUC") for name in names}
    assert learns_its_training_clips(read_model_record(tagged / "checkpoint"))
    where = [f"--checkpoint={tagged / 'checkpoint'}", f"--workdir={tmp_path}"]
    assert main(["evaluate", *where]) == 0
    assert figures_in(tmp_path)["PR_AUC", "all"] == pytest.approx(
        figures["PR_AUC", "all"], abs=1e-5
    )
    clip = next((manifest.parent / "audio").rglob("*.wav"))
    capsys.readouterr()
    assert main(["predict", f"--checkpoint={tagged / 'checkpoint'}", str(clip)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["probabilities"]
    assert list(found) == ["dark", "fast", "plain"]
    assert all(0 <= value <= 1 for value in found.values())


def test_a_sweep_over_models_of_ratings_has_their_concordance(flags, rated, tmp_path):
    grid = ["--grid.train.fold=0,1", "--config.corpus.classes=ratings"]
    assert main(["sweep", *flags, *grid, f"--workdir={tmp_path}"]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["sweep"]
    assert len(rows) == 2
    [first] = [row["mean"] for row in rows if row["fold"] == 0]
    assert first == pytest.approx(figures_in(rated)["CCC", "all"], abs=1e-3)


def test_ratings_are_not_evaluated_on_classes(rated, flags, capsys):
    asked = [f"--checkpoint={rated / 'checkpoint'}", *flags, "--config.corpus.classes=tags"]
    assert main(["evaluate", *asked]) == 2
    assert "Set --config.corpus.classes=ratings" in capsys.readouterr().err


def test_studies_of_classes_refuse_ratings(flags, tmp_path, capsys):
    asked = [*flags, "--config.corpus.classes=ratings", f"--workdir={tmp_path}"]
    assert main(["fad", *asked]) == 2
    assert "similarity compare classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "metrics", "outputs"),
    [
        ("ratings", {"CCC", "PCC", "R2"}, {"all", "valence", "arousal"}),
        ("tags", {"ROC_AUC", "PR_AUC"}, {"all", "dark", "fast", "plain"}),
    ],
)
def test_ratings_and_tags_are_probed_with_the_fields_figures(
    classes, metrics, outputs, flags, tmp_path
):
    """The acoustic baseline hears arousal, which the synthetic corpus is made from."""
    asked = [*flags, "--config.encoders=acoustic,", "--config.layers.num_seeds=1"]
    asked.append("--config.layers.l2_strengths=0.01,0.1")
    assert (
        main(["probe", *asked, f"--config.corpus.classes={classes}", f"--workdir={tmp_path}"]) == 0
    )
    results = json.loads((tmp_path / "results.json").read_text())
    rows = [row for row in results["probes"] if row["layer"] is None]
    assert {(row["metric"], row["emotion"]) for row in rows} == {
        (metric, output) for metric in metrics for output in outputs
    }
    heard = {"ratings": ("CCC", "arousal"), "tags": ("ROC_AUC", "fast")}[classes]
    [row] = [row for row in rows if (row["metric"], row["emotion"]) == heard]
    assert row["probe"] == "linear" and row["mean"] > row["chance"] + 0.3
    assert row["low"] < row["mean"] < row["high"]
    assert (row["speakers"], row["n"], row["folds"], row["converged"]) == (6, 36, 3, 1.0)
    assert results["layers"] == results["controls"] == []
    assert any("Controls, baselines" in note for note in results["provenance"]["notes"])
    page = (tmp_path / "report.html").read_text()
    assert "How well does each layer predict the ratings or tags?" in page


# Labels ---------------------------------------------------------------------------------------


def opened(manifest, **values):
    from jaxemo.studies.config import default_config

    config = default_config()
    config.corpus.name, config.corpus.manifest = "manifest", str(manifest)
    config.corpus.emotions = ()
    for key, value in values.items():
        config.corpus[key] = value
    settings = read_settings(config).corpus
    return open_corpus(settings, manifest.parent), settings


def test_targets_are_the_manifests_numbers(manifest):
    corpus, settings = opened(manifest, classes="ratings", ratings=("arousal",))
    task = task_of(corpus, settings)
    by_path = {
        row.path: row.arousal
        for row in read_manifest(manifest, calm=CalmPolicy.KEEP_APART).utterances
    }
    expected = [[by_path[row.path]] for row in corpus.utterances]
    np.testing.assert_allclose(targets_of(task, corpus.utterances), expected, rtol=1e-6)


def test_a_rating_that_clips_lack_is_refused_with_a_file(manifest):
    corpus, settings = opened(manifest, classes="ratings", ratings=("valence", "dominance"))
    with pytest.raises(ValueError, match=r"36 of 36 clips have no dominance, such as .*wav"):
        targets_of(task_of(corpus, settings), corpus.utterances)


def test_a_tag_that_no_clip_has_is_refused_with_those_there_are(manifest):
    corpus, settings = opened(manifest, classes="tags", tags=("fast", "green"))
    with pytest.raises(ValueError, match=r"tag green .*has dark, fast, plain"):
        task_of(corpus, settings)
