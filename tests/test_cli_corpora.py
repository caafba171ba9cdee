"""Corpora with leaks, unusable files, or domains and emotions that are not there, by the command."""

import json
import shutil
from pathlib import Path

import pytest

from jaxemo.cli.main import main

pytestmark = pytest.mark.xdist_group("cli")

CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"


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


@pytest.mark.slow
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
    rows = [r for r in found["similarity"] if r["metric"] != "FAD_infinite_speakers"]
    undefined = [r for r in rows if r["mean"] is None]
    assert {(r["comparison"], r["emotion"]) for r in undefined} == {
        ("cross_domain", "angry"),
        ("null_music", "angry"),
    }
    unknown = {r["emotion"] for r in found["emotion_shifts"] if r["mean"] is None}
    assert unknown == {"angry"} and found["emotion_shift_tests"][0]["emotions"] == 5


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
