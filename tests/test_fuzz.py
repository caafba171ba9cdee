"""tools/fuzz.py: inputs come back by their number, verdicts are right, and a process that ends is replaced."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fuzzing import campaign, spoiling
from fuzzing.audio import Audio, promised_seconds
from fuzzing.campaign import Campaign, counts_of
from fuzzing.config import Config
from fuzzing.kinds import KINDS, Kind
from fuzzing.outcomes import Finding, Outcome, Verdict, verdict_of
from fuzzing.weights import Weights

from jaxemo.models.pretrained import load_encoder


def rng(number=0):
    return np.random.default_rng([0, number])


# Spoiling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", spoiling.BYTE_WAYS)
@pytest.mark.parametrize("size", [0, 1, 7, 40, 3000])
def test_every_way_takes_bytes_of_any_length_and_depends_on_the_seed_alone(way, size):
    content = rng().bytes(size)
    assert way(rng(1), content) == way(rng(1), content)


@pytest.mark.parametrize("way", spoiling.BYTE_WAYS)
def test_every_way_changes_most_contents(way):
    content = rng().bytes(3000)
    assert sum(way(rng(number), content) != content for number in range(10)) >= 8


def test_json_is_spoilt_in_one_place_and_stays_text():
    valid = json.dumps({"a": {"b": [1, 2.5, "x"]}, "c": None})
    texts = {spoiling.spoil_json(rng(number), valid)[0] for number in range(100)}
    assert len(texts) > 50
    assert any("NaN" in text for text in texts)
    assert any("[[[[" in text for text in texts)


def test_bad_values_are_not_changed_by_what_is_spoilt_in_them():
    before = repr(spoiling.JSON_VALUES)
    values = json.loads(json.dumps({"a": 1, "b": [1, 2]}))
    for number in range(300):
        spoiling.spoil_item(rng(number), values, "a")
        values = {"a": values.get("a", values.get("ax", 0)), "b": [1, 2]}
        if isinstance(values["a"], list) and values["a"]:
            spoiling.spoil_item(rng(number), values["a"], 0)
        values["a"] = spoiling.bad_value(rng(number))
    assert repr(spoiling.JSON_VALUES) == before


def test_a_folder_is_spoilt_in_one_of_its_files(tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text(name)
        assert spoiling.spoil_folder(rng(number), folder).startswith(("a ", "b "))


# Verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("spoilt.wav: truncated"), Outcome.CLEAN),
        (OSError("spoilt.wav: no space"), Outcome.CLEAN),
        (ValueError("truncated"), Outcome.TRACEBACK),
        (KeyError("spoilt.wav"), Outcome.TRACEBACK),
        (ValueError("spoilt.wav" + "x" * 5000), Outcome.TRACEBACK),
    ],
)
def test_a_refusal_is_clean_if_it_names_its_input(error, outcome):
    assert verdict_of(error, r"spoilt\.wav").outcome is outcome


def test_findings_of_one_cause_differ_in_numbers_and_paths_alone():
    first = Finding("audio", 1, Verdict(Outcome.WRONG, "/x/a.wav: 1.5 s of 3"), "")
    second = Finding("audio", 2, Verdict(Outcome.WRONG, "/y/a.wav: 0.25 s of 14"), "")
    third = Finding("audio", 2, Verdict(Outcome.WRONG, "/y/b.wav: 0.25 s of 14"), "")
    assert first.cause == second.cause
    assert first.cause != third.cause


@pytest.mark.parametrize("extension", ["wav", "flac", "caf", "au", "w64", "aiff"])
def test_promised_lengths_are_those_of_the_header(extension, tmp_path):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, np.zeros(24_000), 16_000, subtype="PCM_16")
    assert promised_seconds(path.read_bytes()) == 1.5


def test_audio_of_another_length_or_with_nan_is_wrong(tmp_path, monkeypatch):
    (tmp_path / "spoilt.mp3").write_bytes(b"x")
    waveforms = {
        "whole": np.zeros(24_000),
        "half": np.zeros(12_000),
        "nan": np.full(24_000, np.nan),
    }
    outcomes = {}
    for name, waveform in waveforms.items():
        monkeypatch.setattr("jaxemo.data.audio.read_waveform", lambda *_, w=waveform, **__: w)
        outcomes[name] = Audio(tmp_path).judge(tmp_path).outcome
    assert outcomes == {
        "whole": Outcome.ACCEPTED,
        "half": Outcome.WRONG,
        "nan": Outcome.WRONG,
    }


@pytest.mark.parametrize(("subject", "name"), [(Audio, "audio"), (Config, "config")])
def test_an_input_is_made_again_from_its_number(subject, name, tmp_path):
    made = []
    for place in (tmp_path / "1", tmp_path / "2"):
        place.mkdir()
        words = subject(tmp_path).spoil(rng(7), place)
        [path] = place.iterdir()
        made.append((words, path.name, path.read_bytes()))
    assert made[0] == made[1]


def test_the_unspoilt_encoder_is_one_in_every_format(tmp_path):
    Weights(tmp_path)
    fingerprints = {load_encoder(path).fingerprint for path in tmp_path.glob("encoder-*")}
    assert fingerprints == {load_encoder("untrained/speech").fingerprint}
    assert len(list(tmp_path.glob("encoder-*"))) == 3


def test_weights_are_spoilt_in_a_copy(tmp_path):
    subject = Weights(tmp_path)
    valid = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    for number in range(6):
        place = tmp_path / f"input{number}"
        place.mkdir()
        subject.spoil(rng(number), place)
        assert (place / "spoilt-encoder").is_dir()
    assert all(path.read_bytes() == content for path, content in valid.items())


# Campaigns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("config", range(20)), ("audio", range(25, 37)), ("weights", range(4))],
)
def test_a_few_inputs_of_each_kind_bring_nothing_but_clean_ends(name, numbers, tmp_path):
    findings = Campaign(KINDS[name], tmp_path, 0).run(numbers)
    counts = counts_of(findings)
    assert counts["clean"] + counts["accepted"] == len(numbers)
    assert counts["clean"] > 0


class Misbehaving:
    """By the number that its input holds: answers, dies, sleeps, fills memory, raises."""

    def __init__(self, folder: Path) -> None:
        self._count = folder / "count"
        if not self._count.exists():
            self._count.write_text("0")

    def spoil(self, rng, place: Path) -> str:
        number = int(self._count.read_text())
        self._count.write_text(str(number + 1))
        (place / "number").write_text(str(number))
        return f"input {number}"

    def judge(self, place: Path) -> Verdict:
        import os

        number = int((place / "number").read_text())
        if number == 1:
            os._exit(9)
        if number == 2:
            time.sleep(60)
        if number == 3:
            np.ones(40_000_000)
        if number == 4:
            raise KeyError("x")
        return Verdict(Outcome.ACCEPTED)


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory):
    kind = Kind("made up", Misbehaving, "spoilt", seconds=3, megabytes=50)
    return Campaign(kind, tmp_path_factory.mktemp("made-up"), 0).run(range(6))


def test_a_process_that_dies_hangs_or_grows_is_told_apart_and_replaced(misbehaving):
    assert [finding.verdict.outcome for finding in misbehaving] == [
        Outcome.ACCEPTED,
        Outcome.TRACEBACK,
        Outcome.HANG,
        Outcome.MEMORY,
        Outcome.TRACEBACK,
        Outcome.ACCEPTED,
    ]


def test_each_cause_is_told_with_its_first_input(misbehaving, capsys):
    campaign.print_causes(misbehaving, seed=0)
    said = capsys.readouterr().err
    assert said.count("--kind=made up --seed=0 --only=") == 4
    assert "died with code 9" in said
    assert "KeyError: 'x'" in said
