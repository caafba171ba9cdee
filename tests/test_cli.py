"""The command as a user has it: help, complaints, and a model restored in another process."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import COMMANDS, main
from jaxemo.data.corpora.corpus import SHARED_EMOTIONS

pytestmark = pytest.mark.xdist_group("cli")

CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"


# Without running anything ---------------------------------------------------------------------


@pytest.mark.parametrize("verb", COMMANDS)
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
        ("--config.corpus.name=iemocap", "'ravdess', 'manifest', 'synthetic' or 'embeddings'"),
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


# Restore --------------------------------------------------------------------------------------


def evaluated(checkpoint, workdir, *more):
    assert main(["evaluate", f"--checkpoint={checkpoint}", f"--workdir={workdir}", *more]) == 0
    return json.loads((workdir / "results.json").read_text())


def scores(figures):
    return [row for row in figures if not row["metric"].startswith("ECE")]


def calibration(figures):
    """Of probabilities, which other batches may round otherwise."""
    return {
        (row["domain"], row["metric"]): row["mean"]
        for row in figures
        if row["metric"].startswith("ECE")
    }


def test_evaluate_gives_exactly_the_figures_of_training_time(trained, cache, tmp_path):
    at_training = json.loads((trained / "results.json").read_text())["figures"]
    found = evaluated(trained / "checkpoint", tmp_path, CONFIG, cache)
    assert scores(found["figures"]) == scores(at_training)
    assert calibration(found["figures"]) == pytest.approx(calibration(at_training), abs=1e-4)
    assert {row["domain"] for row in at_training} == {"speech", "music"}
    assert found["seen_clips_not_scored"] == 144 - 48


def test_evaluate_without_a_config_scores_the_corpus_of_training(
    trained, cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("JAXEMO_CACHE", cache.partition("=")[2])
    found = evaluated(trained / "checkpoint", tmp_path)
    at_training = json.loads((trained / "results.json").read_text())["figures"]
    assert scores(found["figures"]) == scores(at_training)


@pytest.mark.slow
def test_a_model_trained_in_bfloat16_is_scored_as_it_was_trained(trained, cache, tmp_path):
    flags = ("--config.training.compute_dtype=bfloat16", "--config.training.remat=layers")
    assert main(["train", CONFIG, cache, f"--workdir={tmp_path / 'narrow'}", *flags]) == 0
    narrow = json.loads((tmp_path / "narrow" / "results.json").read_text())
    found = evaluated(tmp_path / "narrow" / "checkpoint", tmp_path / "scored", CONFIG, cache)
    assert found["figures"] == narrow["figures"]
    losses = [training_losses(folder) for folder in (trained, tmp_path / "narrow")]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2) and losses[0] != losses[1]


def training_losses(workdir):
    lines = (workdir / "logs" / "curves.jsonl").read_text().splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


def test_a_transfer_checkpoint_restores_in_a_new_process(study, cache, tmp_path):
    [checkpoint] = (study / "models").glob("untrained*/lora/speech-two_stage/fold1-seed0")
    command = [sys.executable, "-m", "jaxemo.cli.main", "evaluate", f"--checkpoint={checkpoint}"]
    subprocess.run([*command, CONFIG, cache, f"--workdir={tmp_path}"], check=True)
    found = json.loads((tmp_path / "results.json").read_text())["figures"]
    from jaxemo.training.checkpoint import read_record

    record = read_record(checkpoint)
    assert scores(found) == scores(record["figures"])
    assert calibration(found) == pytest.approx(calibration(record["figures"]), abs=1e-4)
    assert record["temperature"] != 1.0


def test_predict_prints_one_json_line_per_file_that_agrees_with_evaluate(
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


def test_training_fits_a_temperature_that_predictions_have(trained):
    from jaxemo.training.checkpoint import read_record

    assert 0.05 <= read_record(trained / "checkpoint")["temperature"] <= 20
    figures = json.loads((trained / "results.json").read_text())["figures"]
    assert set(calibration(figures)) == {
        (domain, metric) for domain in ("speech", "music") for metric in ("ECE", "ECE_uncalibrated")
    }


def some_files(checkpoint, cache, tmp_path, count):
    return [row["path"] for row in evaluated(checkpoint, tmp_path, CONFIG, cache)["predictions"]][
        :count
    ]


def test_predict_goes_on_after_unusable_files_and_names_them_at_the_end(
    trained, cache, tmp_path, capsys
):
    [usable] = some_files(trained / "checkpoint", cache, tmp_path / "w", 1)
    (tmp_path / "a.wav").write_bytes(b"")
    files = [str(tmp_path / "a.wav"), str(tmp_path / "absent.wav"), usable]
    capsys.readouterr()
    assert main(["predict", f"--checkpoint={trained / 'checkpoint'}", *files]) == 2
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["path"] for line in lines] == files
    assert [line.get("fault", "").partition(":")[0] for line in lines] == ["empty", "missing", ""]
    assert "2 of 3 files cannot be used" in said.err
    assert all(name in said.err for name in files[:2])


def test_predict_takes_folders_and_gives_windows_and_a_table(trained, tmp_path, capsys):
    draw = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name, seconds in (("long", 2.5), ("short", 0.7)):
        sound = 0.1 * draw.standard_normal(int(seconds * 16_000))
        soundfile.write(tmp_path / "in" / f"{name}.wav", sound, 16_000)
    command = ["predict", f"--checkpoint={trained / 'checkpoint'}", "--window_seconds=1"]
    assert main([*command, "--format=csv", str(tmp_path / "in")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(Path(r["path"]).stem, r["part"], r["start_s"], r["end_s"]) for r in rows] == [
        ("long", "whole", "0.0", "2.5"),
        ("long", "window", "0.0", "1.0"),
        ("long", "window", "1.0", "2.0"),
        ("long", "window", "1.5", "2.5"),
        ("short", "whole", "0.0", "0.7"),
        ("short", "window", "0.0", "0.7"),
    ]
    emotions = [name for name in rows[0] if name in SHARED_EMOTIONS]
    for row in rows:
        shares = {name: float(row[name]) for name in emotions}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["emotion"] == max(shares, key=shares.__getitem__)


def test_windows_are_answered_as_files_of_their_own_would_be(trained, tmp_path, capsys):
    sound = 0.1 * np.random.default_rng(0).standard_normal(20_000)
    soundfile.write(tmp_path / "whole.wav", sound, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "part.wav", sound[8_000:16_000], 16_000, subtype="FLOAT")
    files = [str(tmp_path / name) for name in ("whole.wav", "part.wav")]
    command = ["predict", f"--checkpoint={trained / 'checkpoint'}", "--window_seconds=0.5"]
    assert main([*command, *files]) == 0
    whole, part = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert whole["windows"][1]["probabilities"] == pytest.approx(
        part["windows"][0]["probabilities"], abs=1e-4
    )


def test_windows_shorter_than_a_frame_are_refused(trained, capsys):
    command = ["predict", f"--checkpoint={trained / 'checkpoint'}", "--window_seconds=0.001"]
    assert main([*command, "a.wav"]) == 2
    assert "window_seconds is 0.001; expected 0.025" in capsys.readouterr().err


def test_another_encoder_than_the_one_trained_on_is_refused(trained, capsys):
    arguments = [f"--checkpoint={trained / 'checkpoint'}", "--encoder=untrained/music"]
    assert main(["evaluate", *arguments]) == 2
    assert "fingerprint" in capsys.readouterr().err


def test_a_corpus_of_other_labels_is_refused(trained, cache, capsys):
    override = "--config.corpus.emotions=('happy','sad')"
    arguments = [f"--checkpoint={trained / 'checkpoint'}", CONFIG, cache, override]
    assert main(["evaluate", *arguments]) == 2
    assert "happy, sad" in capsys.readouterr().err
