"""The command as a user has it: help, complaints, and the whole main job on a tiny config."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemo.cli.main import VERBS, main

pytestmark = pytest.mark.xdist_group("cli")

CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return f"--config.cache_dir={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="session")
def study(tmp_path_factory, cache):
    """The workdir of one run of `jaxemo study`."""
    workdir = tmp_path_factory.mktemp("study")
    assert main(["study", CONFIG, cache, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture(scope="session")
def results(study):
    return json.loads((study / "results.json").read_text())


@pytest.fixture(scope="session")
def trained(tmp_path_factory, cache):
    """The workdir of one run of `jaxemo train`."""
    workdir = tmp_path_factory.mktemp("train")
    assert main(["train", CONFIG, cache, f"--workdir={workdir}"]) == 0
    return workdir


# Without running anything ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_reads_writes_and_needs(verb, capsys):
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("reads ", "writes ", "needs ", f"jaxemo {verb}"))


def test_help_imports_nothing_heavy():
    code = (
        "import sys, jaxemo.cli.main as c; c.main(['--help']); c.main(['study', '--help']);"
        "heavy = {'jax', 'numpy', 'flax', 'datasets', 'transformers', 'librosa'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sing"], "unknown command 'sing'; expected one of study"),
        (["study"], "needs --config"),
        (["study", "--config=absent.py"], "no config file 'absent.py'"),
        (["study", CONFIG, "--config.tranning.epochs=1"], "no key config.tranning.epochs"),
        (["study", CONFIG, "--config.audio.crop=1.0"], "no key config.audio.crop"),
        (["study", CONFIG, "--config.training.epochs=many"], "epochs"),
        (["study", CONFIG, "--config.training.epochs=1.5"], "epochs"),
        (["study", CONFIG, "--wrokdir=x"], "unknown flag --wrokdir; did you mean --workdir?"),
        (["study", CONFIG, "extra"], "takes no arguments beside flags"),
        (["predict", "a.wav"], "needs --checkpoint"),
        (["predict", "--checkpoint=x"], "needs at least one audio file"),
        (["evaluate"], "needs --checkpoint"),
    ],
)
def test_bad_arguments_are_one_clear_line_and_exit_code_2(arguments, words, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_a_config_file_that_fails_is_one_line(tmp_path, capsys):
    config = tmp_path / "broken.py"
    config.write_text("def get_config():\n    return 1 / 0\n")
    assert main(["study", f"--config={config}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.transfer.methods=('lora','lroa')", "config.transfer.methods has ['lroa']"),
        ("--config.audio.crop_seconds=0.0", "config.audio.crop_seconds is 0.0"),
        ("--config.corpus.calm=maybe", "maybe"),
        ("--config.corpus.name=iemocap", "expected 'ravdess', 'manifest' or 'synthetic'"),
        ("--config.encoders=('no/such/encoder/anywhere',)", "no/such/encoder/anywhere"),
        ("--config.train.fold=7", None),
    ],
)
def test_values_that_no_study_could_use_stop_before_any_compute(
    override, words, cache, tmp_path, capsys
):
    verb = "train" if words is None else "probe"
    assert main([verb, CONFIG, cache, override, f"--workdir={tmp_path}"]) == 2
    assert (words or "config.train.fold is 7") in capsys.readouterr().err
    assert not (tmp_path / "results.json").exists()


# One run of everything ------------------------------------------------------------------------


def test_a_study_writes_results_and_report(study, results, capsys):
    assert set(results) >= {"layers", "transfer", "similarity", "provenance", "corpus", "folds"}
    page = (study / "report.html").read_text()
    assert "<svg" in page and "untrained" in page
    assert not (study / "results.partial.json").exists()


def test_layer_rows_cover_every_layer_domain_metric_and_emotion(results):
    rows = results["layers"]
    places = {(r["encoder"], r["layer"], r["domain"], r["metric"], r["emotion"]) for r in rows}
    assert len(places) == len(rows) == (1 + 4) * 2 * (3 + 6)
    for row in rows:
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1
        assert (row["n"], row["folds"], row["seeds"]) == (72, 3, 2)


def test_transfer_rows_cover_methods_directions_and_regimes(results):
    rows = [row for row in results["transfer"] if row["metric"] == "UA"]
    found = {(r["encoder"], r["method"], r["direction"], r["regime"]) for r in rows}
    assert len(found) == len(rows) == (1 + 2) * 2 * 2
    assert {row["direction"] for row in rows} == {"music->speech", "speech->music"}


def test_gains_are_two_stage_minus_target_only(results):
    def ua(row, regime):
        keys = ("encoder", "method", "direction")
        [found] = [
            r["mean"]
            for r in results["transfer"]
            if r["metric"] == "UA" and r["regime"] == regime and all(r[k] == row[k] for k in keys)
        ]
        return found

    gains = [row for row in results["transfer"] if row["metric"] == "UA_gain"]
    assert len(gains) == 6
    for row in gains:
        assert row["mean"] == pytest.approx(ua(row, "two_stage") - ua(row, "target_only"))


def test_learnt_layer_weights_sum_to_one(results):
    totals = {}
    for row in results["layer_weights"]:
        key = tuple(row[k] for k in ("encoder", "method", "direction", "regime"))
        totals[key] = totals.get(key, 0) + row["mean"]
    assert len(totals) == 12
    np.testing.assert_allclose(list(totals.values()), 1, atol=1e-6)


def test_similarity_has_nulls_cross_emotion_cells_and_sizes(results):
    rows = results["similarity"]
    counts = {}
    for row in rows:
        kind = (row["metric"], row["comparison"])
        counts[kind] = counts.get(kind, 0) + 1
        assert row["d"] > 0 and row["n_a"] > 0 and row["clips_b"] > 0 and row["speakers_a"] > 0
        assert row["mean"] >= 0 or row["metric"] in ("FAD_infinity", "KAD")
        assert row["small_sample"] == (min(row["n_a"], row["n_b"]) < 2 * row["d"])
    per_layer = (1 + 4) * 6
    metrics = ("FAD", "FAD_clip", "FAD_equal_n", "FAD_infinity", "KAD")
    comparisons = ("cross_domain", "null_speech", "null_music")
    assert counts == {
        **{(metric, kind): per_layer for metric in metrics for kind in comparisons},
        ("FAD", "cross_emotion"): 2 * 36,
    }


def test_cross_domain_distances_carry_intervals_ranks_and_p_values(results):
    rows = [row for row in results["similarity"] if row["comparison"] == "cross_domain"]
    for row in rows:
        if row["metric"] in ("FAD", "KAD"):
            assert row["low"] <= row["mean"] <= row["high"] and row["standard_error"] > 0
        if row["metric"] == "FAD":
            assert 0 < row["rank_a"] <= row["d"] and 0.5 < row["variance_kept"] <= 1
        if row["metric"] == "KAD":
            assert 0 < row["p_value"] <= 1
        if row["metric"] == "FAD_equal_n":
            assert row["n_a"] == row["n_b"] == 12 * 8 and row["speakers_b"] == 12


def test_emotion_bias_is_given_for_every_layer_and_emotion_and_tested(results):
    rows, tests = results["emotion_bias"], results["emotion_bias_tests"]
    places = {(row["encoder"], row["layer"], row["emotion"]) for row in rows}
    assert len(places) == len(rows) == (1 + 1 + 4 + 1) * 6
    for row in rows:
        assert row["low"] < row["mean"] < row["high"] and row["speakers"] == 12
    ranks = sorted(row["rank"] for row in rows if row["layer"] is None)
    assert ranks == sorted(2 * [1, 2, 3, 4, 5, 6])
    kinds = [row["test"] for row in tests]
    assert (kinds.count("emotions_differ"), kinds.count("encoders_disagree")) == (7, 1)
    assert all(0 < row["p_value"] <= 1 for row in tests)
    assert -1 <= tests[-1]["tau"] <= 1


def test_no_sample_of_frames_is_left_behind(study):
    assert not list(study.glob("frames/*"))


def test_the_cross_emotion_diagonal_is_the_cross_domain_row_of_its_layer(results):
    cells = {
        (r["encoder"], r["layer"], r["emotion"]): r["mean"]
        for r in results["similarity"]
        if r["comparison"] == "cross_domain" and r["metric"] == "FAD"
    }
    diagonal = [
        r
        for r in results["similarity"]
        if r["comparison"] == "cross_emotion" and r["emotion"] == r["other_emotion"]
    ]
    assert len(diagonal) == 12
    for row in diagonal:
        expected = cells[row["encoder"], row["layer"], row["emotion"]]
        assert row["mean"] == pytest.approx(expected, rel=1e-9)


def test_provenance_holds_what_is_needed_to_run_it_again(results):
    provenance = results["provenance"]
    assert provenance["config"]["training"]["epochs"] == 2
    assert [encoder["origin"] for encoder in provenance["encoders"]] == ["hand-made", "untrained"]
    assert all(len(encoder["fingerprint"]) == 64 for encoder in provenance["encoders"])
    assert len(provenance["corpus_hash"]) == 64 and "jax" in provenance["versions"]


def test_curves_are_logged_for_every_run_and_epoch(study):
    lines = (study / "logs" / "curves.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 3 * 2 * 4 * 2  # methods of both sources, folds, runs, epochs
    assert list((study / "logs" / "tensorboard").iterdir())


# Restore --------------------------------------------------------------------------------------


def evaluated(checkpoint, workdir, *more):
    assert main(["evaluate", f"--checkpoint={checkpoint}", f"--workdir={workdir}", *more]) == 0
    return json.loads((workdir / "results.json").read_text())


def test_evaluate_gives_exactly_the_figures_of_training_time(trained, cache, tmp_path):
    at_training = json.loads((trained / "results.json").read_text())["figures"]
    found = evaluated(trained / "checkpoint", tmp_path, CONFIG, cache)
    assert found["figures"] == at_training
    assert {row["domain"] for row in at_training} == {"speech", "music"}
    assert found["seen_clips_not_scored"] == 144 - 48


def test_a_transfer_checkpoint_restores_in_a_new_process(study, cache, tmp_path):
    [checkpoint] = (study / "models").glob("untrained*/lora/speech-two_stage/fold1-seed0")
    command = [sys.executable, "-m", "jaxemo.cli.main", "evaluate", f"--checkpoint={checkpoint}"]
    subprocess.run([*command, CONFIG, cache, f"--workdir={tmp_path}"], check=True)
    found = json.loads((tmp_path / "results.json").read_text())["figures"]
    from jaxemo.training.checkpoint import read_record

    assert found == read_record(checkpoint)["figures"]


def test_predict_prints_one_json_line_a_file_that_agrees_with_evaluate(
    trained, cache, tmp_path, capsys
):
    predictions = evaluated(trained / "checkpoint", tmp_path, CONFIG, cache)["predictions"]
    paths = [row["path"] for row in predictions[:5]]
    capsys.readouterr()
    assert main(["predict", f"--checkpoint={trained / 'checkpoint'}", *paths]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == paths
    assert [line["emotion"] for line in lines] == [row["predicted"] for row in predictions[:5]]
    for line, row in zip(lines, predictions, strict=False):
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert max(line["probabilities"].values()) == pytest.approx(row["probability"], abs=1e-4)
        assert 1 < line["duration_s"] < 3


def test_predict_names_every_unusable_file_before_any_compute(trained, tmp_path, capsys):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"")
    files = [str(tmp_path / name) for name in ("a.wav", "b.wav", "absent.wav")]
    assert main(["predict", f"--checkpoint={trained / 'checkpoint'}", *files]) == 2
    said = capsys.readouterr()
    assert all(name in said.err for name in files) and said.out == ""


def test_another_encoder_than_the_one_trained_on_is_refused(trained, capsys):
    arguments = [f"--checkpoint={trained / 'checkpoint'}", "--encoder=untrained/music"]
    assert main(["evaluate", *arguments]) == 2
    assert "fingerprint" in capsys.readouterr().err


def test_a_corpus_of_other_labels_is_refused(trained, cache, capsys):
    override = "--config.corpus.emotions=('happy','sad')"
    arguments = [f"--checkpoint={trained / 'checkpoint'}", CONFIG, cache, override]
    assert main(["evaluate", *arguments]) == 2
    assert "happy, sad" in capsys.readouterr().err


# Leaks and left-out files ---------------------------------------------------------------------


def manifest_of_copies(results, folder):
    """A manifest over copies of the tiny corpus; its rows are (path, domain, emotion, speaker)."""
    from jaxemo.data.corpora.manifest import read_manifest

    cache_dir = Path(results["provenance"]["config"]["cache_dir"])
    [source] = cache_dir.glob("synthetic-*/manifest.csv")
    rows = []
    for index, utterance in enumerate(read_manifest(source).utterances):
        name = f"{index}.wav"
        shutil.copy(utterance.path, folder / name)
        speaker = utterance.speaker.split("/")[1]
        rows.append([name, utterance.domain, utterance.emotion, speaker])
    return rows


def write_manifest(rows, folder):
    lines = [",".join(row) for row in [["path", "domain", "emotion", "speaker"], *rows]]
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines) + "\n")
    return ["--config.corpus.name=manifest", f"--config.corpus.manifest={path}"]


def test_copied_audio_under_another_speaker_stops_before_training(results, cache, tmp_path, capsys):
    rows = manifest_of_copies(results, tmp_path)
    other = next(row for row in rows if row[3] != rows[0][3])
    shutil.copy(tmp_path / rows[0][0], tmp_path / other[0])
    arguments = [CONFIG, cache, *write_manifest(rows, tmp_path), f"--workdir={tmp_path / 'w'}"]
    override = "--config.folds.num_folds=12"
    assert main(["study", *arguments, override]) == 2
    said = capsys.readouterr().err
    assert rows[0][0] in said and other[0] in said and "not independent" in said
    assert not (tmp_path / "w" / "models").exists()


def test_unusable_files_are_left_out_counted_and_reported_or_stop(results, cache, tmp_path, capsys):
    rows = manifest_of_copies(results, tmp_path)
    (tmp_path / rows[0][0]).write_bytes(b"")
    (tmp_path / rows[1][0]).write_bytes(b"RIFF....WAVEfmt nonsense")
    arguments = [CONFIG, cache, *write_manifest(rows, tmp_path), f"--workdir={tmp_path / 'w'}"]
    assert main(["prepare", *arguments]) == 0
    found = json.loads((tmp_path / "w" / "results.json").read_text())
    assert len(found["left_out"]) == 2 and sum(r["clips"] for r in found["corpus"]) == 142
    assert rows[0][0] in capsys.readouterr().out
    assert main(["prepare", *arguments, "--config.corpus.unusable=stop"]) == 2
    said = capsys.readouterr().err
    assert rows[0][0] in said and rows[1][0] in said


def test_a_corpus_of_one_domain_is_probed_and_refused_for_transfer(
    results, cache, tmp_path, capsys
):
    rows = [row for row in manifest_of_copies(results, tmp_path) if row[1] == "speech"]
    arguments = [CONFIG, cache, *write_manifest(rows, tmp_path), f"--workdir={tmp_path / 'w'}"]
    only_acoustic = "--config.encoders=('acoustic',)"
    assert main(["probe", *arguments, only_acoustic]) == 0
    found = json.loads((tmp_path / "w" / "results.json").read_text())
    assert {row["domain"] for row in found["layers"]} == {"speech"}
    assert main(["transfer", *arguments, only_acoustic]) == 2
    assert "the corpus has no music" in capsys.readouterr().err


def test_a_domain_may_lack_an_emotion_that_the_other_has(results, cache, tmp_path):
    copies = manifest_of_copies(results, tmp_path)
    rows = [row for row in copies if (row[1], row[2]) != ("music", "angry")]
    arguments = [CONFIG, cache, *write_manifest(rows, tmp_path), f"--workdir={tmp_path / 'w'}"]
    assert main(["study", *arguments, "--config.encoders=('acoustic',)"]) == 0
    found = json.loads((tmp_path / "w" / "results.json").read_text())
    for study in ("layers", "transfer"):
        chance = {(row["domain"], round(row["chance"], 4)) for row in found[study]}
        assert chance == {("speech", 0.1667), ("music", 0.2)}
        assert ("music", "angry") not in {(r["domain"], r["emotion"]) for r in found[study]}
    rows = [r for r in found["similarity"] if r["metric"] != "FAD_infinity"]
    undefined = [r for r in rows if r["mean"] is None]
    assert {(r["comparison"], r["other_emotion"]) for r in undefined} == {
        ("cross_domain", "angry"),
        ("null_music", "angry"),
        ("cross_emotion", "angry"),
    }
    unknown = {r["emotion"] for r in found["emotion_bias"] if r["mean"] is None}
    assert unknown == {"angry"} and found["emotion_bias_tests"][0]["emotions"] == 5


def test_a_group_of_speakers_without_music_costs_its_fold_and_no_more(results, cache, tmp_path):
    copies = manifest_of_copies(results, tmp_path)
    speakers = sorted({row[3] for row in copies})[:4]
    rows = [r for r in copies if r[3] in speakers and (r[1], r[3]) != ("music", speakers[0])]
    arguments = [CONFIG, cache, *write_manifest(rows, tmp_path), f"--workdir={tmp_path / 'w'}"]
    options = ["--config.encoders=('acoustic',)", "--config.folds.num_folds=4"]
    assert main(["probe", *arguments, *options]) == 0
    found = json.loads((tmp_path / "w" / "results.json").read_text())["layers"]
    folds = {(row["domain"], row["folds"], row["n"]) for row in found}
    # Tested on each of the other three; two rotations, of which one may lose its dev part.
    assert folds == {("speech", 4, 24), ("music", 3, 18)}
