"""A workdir is held by one command, and its results are joined or refused, never dropped."""

import os
import signal
import subprocess
import sys

import pytest
from fabricated_results import fabricated_results

from jaxemo.cli.main import main
from jaxemo.cli.workdir import locked
from jaxemo.results.file import read_results, write_results
from jaxemo.results.merging import SECTIONS_OF, Earlier

HOLD = """
import sys, time
from pathlib import Path
from jaxemo.cli.workdir import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


# The lock ------------------------------------------------------------------------------------


def test_a_second_command_is_told_who_holds_the_workdir(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told = f"{tmp_path} is in use by .*process {holder.pid} on"
        with pytest.raises(ValueError, match=told), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path):  # Its death has freed it.
        assert [path.name for path in tmp_path.iterdir()] == [".jaxemo-lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_command_does_nothing_in_a_workdir_that_is_held(tmp_path, capsys):
    with locked(tmp_path):
        assert main(["prepare", "--config=demo", f"--workdir={tmp_path}"]) == 2
        assert f"process {os.getpid()}" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == [".jaxemo-lock"]


def test_what_a_killed_command_left_half_written_goes(tmp_path):
    (tmp_path / "results.json.0a1b.tmp").write_text("{")
    (tmp_path / "results.json").write_text("{}")
    with locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


# Results of several commands -----------------------------------------------------------------

CONFIG = {
    "seed": 0,
    "layers": {"num_seeds": 1},
    "similarity": {"crop_seconds": 3.0},
    "corpus": {"name": "ravdess", "audio_dir": "a"},
    "cache_gigabytes": 200,
}


@pytest.fixture
def finished(tmp_path):
    """A workdir with a whole study."""
    results = fabricated_results()
    results["provenance"] = {**results["provenance"], "config": CONFIG, "corpus_hash": "0" * 64}
    results["provenance"]["versions"] = {"jaxemo": "0.1.0"}
    write_results(results, tmp_path / "results.json")
    return tmp_path


def earlier_of(workdir, *, config=CONFIG, study="layers", replace=False):
    return Earlier(
        workdir / "results.json",
        studies=(study,),
        sections=sorted(SECTIONS_OF[study]),
        config=config,
        replace=replace,
    )


def fresh(**provenance):
    whole = fabricated_results()
    return {
        "layers": whole["layers"][:1],
        "confusions": [],
        "provenance": {
            "config": CONFIG,
            "corpus_hash": "0" * 64,
            "encoders": whole["provenance"]["encoders"],
            "runs": {"layers": "new"},
            **provenance,
        },
    }


def test_a_study_made_anew_leaves_the_others_as_they_are(finished):
    before = read_results(finished / "results.json")
    joined = earlier_of(finished).joined(fresh())
    write_results(joined, finished / "results.json")
    after = read_results(finished / "results.json")
    assert len(after.layers) == 1
    assert after.transfer == before.transfer
    assert after.similarity == before.similarity
    assert [row for row in after.confusions if row.study == "layers"] == []
    assert [row for row in after.confusions] == [
        row for row in before.confusions if row.study == "transfer"
    ]
    assert after.provenance.runs == {"layers": "new"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "config.seed was 0 and is 1"),
        ({"similarity": {"crop_seconds": 2.0}}, "config.similarity.crop_seconds was 3.0"),
        ({"corpus": {"name": "manifest", "audio_dir": "a"}}, "config.corpus.name"),
        ({"layers": {"num_seeds": 5}}, "config.layers.num_seeds was 1 and is 5"),
    ],
)
def test_another_config_is_refused_by_key_and_both_values(finished, change, named):
    with pytest.raises(ValueError, match=named) as caught:
        earlier_of(finished, config=CONFIG | change)
    assert "--replace" in str(caught.value)
    assert "--workdir" in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"fold": 5}},  # There is no section of `jaxemo train` yet.
        {"cache_gigabytes": 1},
        {"corpus": {"name": "ravdess", "audio_dir": "elsewhere"}},
    ],
)
def test_what_decides_nothing_that_is_there_may_differ(finished, change):
    earlier_of(finished, config=CONFIG | change).joined(fresh())


def test_another_corpus_is_refused(finished):
    with pytest.raises(ValueError, match="other clips or labels"):
        earlier_of(finished).joined(fresh(corpus_hash="1" * 64))


def test_other_weights_under_one_name_are_refused(finished):
    encoders = [dict(encoder) for encoder in fresh()["provenance"]["encoders"]]
    encoders[0]["fingerprint"] = "other"
    with pytest.raises(ValueError, match=f"encoder {encoders[0]['name']} has other weights"):
        earlier_of(finished).joined(fresh(encoders=encoders))


def test_a_file_that_is_no_results_json_is_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"schema_version": 0}')
    with pytest.raises(ValueError, match="--replace"):
        earlier_of(tmp_path)


def test_replacing_keeps_the_old_file_beside(finished):
    old = (finished / "results.json").read_bytes()
    earlier = earlier_of(finished, config=CONFIG | {"seed": 1}, replace=True)
    assert earlier.joined(fresh()).keys() == fresh().keys()
    earlier.make_way()
    assert (finished / "results.json.old").read_bytes() == old


@pytest.mark.parametrize("command", ["prepare", "train", "probe", "study"])
def test_no_command_overwrites_the_results_of_another_config(finished, command, capsys):
    before = (finished / "results.json").read_bytes()
    assert main([command, "--config=demo", f"--workdir={finished}"]) == 2
    assert "--replace" in capsys.readouterr().err
    assert (finished / "results.json").read_bytes() == before
