"""`jaxemo pretrain`: what it refuses before it computes, and (slow) a whole run that is killed and stopped."""

import json
import os
import signal

import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import main
from jaxemo.models.pretrained import load_encoder
from jaxemo.pretraining import run as running

RATE_HZ = 16_000


@pytest.fixture
def audio(tmp_path):
    """A folder of four files."""
    folder = tmp_path / "audio"
    folder.mkdir()
    for seed in range(4):
        write_noise(folder / f"{seed}.wav", seed)
    return folder


def write_noise(path, seed):
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(RATE_HZ), RATE_HZ)


def manifest(tmp_path, paths):
    """The flags of a corpus of these files, which the same config would evaluate on."""
    lines = [f"{path},speech,happy,{number}" for number, path in enumerate(paths)]
    file = tmp_path / "corpus.csv"
    file.write_text("\n".join(["path,domain,emotion,speaker", *lines]) + "\n")
    return [
        "--config.corpus.name=manifest",
        f"--config.corpus.manifest={file}",
        "--config.corpus.emotions=happy",
    ]


def arguments(tmp_path, folders, *more):
    return [
        "pretrain",
        "--config=demo",
        f"--config.pretrain.folders={folders}",
        "--config.pretrain.initial=untrained/speech",
        f"--config.cache_dir={tmp_path / 'cache'}",
        f"--workdir={tmp_path / 'work'}",
        *more,
    ]


def refusal(capsys, words):
    assert main(words) == 2
    return capsys.readouterr().err


def test_files_that_the_corpus_evaluates_on_are_refused_whatever_their_name(
    tmp_path, audio, capsys
):
    other = tmp_path / "renamed.wav"
    other.write_bytes((audio / "2.wav").read_bytes())
    said = refusal(capsys, arguments(tmp_path, audio, *manifest(tmp_path, [other])))
    assert (
        "1 files of config.pretrain.folders are, by content, files of the corpus that this " in said
    )
    assert str(audio / "2.wav") in said


def test_a_weight_for_one_of_two_folders_is_refused(tmp_path, audio, capsys):
    said = refusal(capsys, arguments(tmp_path, f"{audio}*2,{tmp_path}"))
    assert "expected a weight for every folder (DIR*WEIGHT) or for none" in said


def test_a_batch_that_does_not_divide_is_refused(tmp_path, audio, capsys):
    more = "--config.pretrain.batch_size=24", "--config.pretrain.micro_batches=5"
    said = refusal(capsys, arguments(tmp_path, audio, *more))
    assert "expected a multiple of 5 x 8 devices" in said


def test_layer_features_without_their_encoder_are_refused(tmp_path, audio, capsys):
    said = refusal(capsys, arguments(tmp_path, audio, "--config.pretrain.features=layer"))
    assert "config.pretrain.features_encoder is empty" in said


def test_an_adaptation_of_random_weights_is_refused(tmp_path, audio, capsys):
    more = "--config.pretrain.method=lora", "--config.pretrain.initial="
    said = refusal(capsys, arguments(tmp_path, audio, *more))
    assert "an adaptation needs an encoder that has learnt something" in said


@pytest.mark.slow
def test_a_killed_and_stopped_command_goes_on_to_the_same_bits_and_its_folder_is_an_encoder(
    tmp_path, audio, monkeypatch, capsys
):
    evaluated = tmp_path / "evaluated.wav"
    write_noise(evaluated, 9)
    more = [
        *manifest(tmp_path, [evaluated]),
        "--config.pretrain.steps=4",
        "--config.training.save_seconds=0",
        "--config.pretrain.batch_size=8",
        "--config.pretrain.crop_seconds=0.5",
        "--config.pretrain.num_codes=8",
    ]
    words = arguments(tmp_path, audio, *more)
    whole = [word.replace("/work", "/whole") if "--workdir" in word else word for word in words]
    assert main(whole) == 0
    at_step(monkeypatch, 1, kill)
    with pytest.raises(SystemExit):
        main(words)
    at_step(monkeypatch, 2, terminate)
    capsys.readouterr()
    assert main(words) == 143
    assert capsys.readouterr().err.splitlines()[-1].startswith("jaxemo pretrain: terminated")
    monkeypatch.undo()
    assert main(words) == 0
    names = ("model.safetensors", "curve.jsonl", "config.json", "preprocessor_config.json")
    different = [
        name
        for name in names[:2]
        if (tmp_path / "work" / name).read_bytes() != (tmp_path / "whole" / name).read_bytes()
    ]
    assert different == []
    about = json.loads((tmp_path / "work" / "pretraining.json").read_text())
    assert set(about["files"]) == {str(path) for path in audio.iterdir()}
    assert load_encoder(tmp_path / "work").config.model_type == "wav2vec2"


def at_step(monkeypatch, step, act):
    """Does something as the process asks for the crops of a step."""
    monkeypatch.undo()
    plain = running.training_batch

    def draw(*arguments, **position):
        if position["step"] == step:
            act()
        return plain(*arguments, **position)

    monkeypatch.setattr(running, "training_batch", draw)


def kill():
    raise SystemExit("killed")


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.slow
def test_a_probe_tells_what_development_speakers_show(tmp_path, audio):
    more = [
        "--config.pretrain.steps=2",
        "--config.pretrain.probe_every=1",
        "--config.pretrain.batch_size=8",
        "--config.pretrain.crop_seconds=0.5",
        "--config.pretrain.num_codes=8",
    ]
    assert main(arguments(tmp_path, audio, *more)) == 0
    lines = (tmp_path / "work" / "curve.jsonl").read_text().splitlines()
    probes = [row for row in map(json.loads, lines) if row["part"] == "probe"]
    assert [row["step"] for row in probes] == [1, 2]
    layers = load_encoder(tmp_path / "work").config.num_hidden_layers + 1
    for row in probes:
        assert set(row["dev_ua"]) == {"speech", "music"}
        assert all(len(of) == layers and max(of) > 1 / 6 for of in row["dev_ua"].values())
