"""Several processes run one command together: they share the clips, and train one model."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import main
from jaxemo.embedding.folder import EmbeddingFolder
from jaxemo.embedding.hosts import own_clips

LENGTHS = np.array([5, 1, 1, 1, 9, 2, 2, 3])
CELLS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize("cells", [None, CELLS])
@pytest.mark.parametrize("num_hosts", [1, 2, 3, 20])
def test_every_clip_has_one_host(cells, num_hosts):
    shares = [
        own_clips(LENGTHS, cells, host=host, num_hosts=num_hosts) for host in range(num_hosts)
    ]
    np.testing.assert_array_equal(np.sum(shares, axis=0), 1)


def test_a_cell_stays_on_one_host():
    share = own_clips(LENGTHS, CELLS, host=0, num_hosts=2)
    np.testing.assert_array_equal(share[::2], share[1::2])


def test_hosts_get_alike_amounts_of_audio():
    shares = [own_clips(LENGTHS, None, host=host, num_hosts=3) for host in range(3)]
    loads = [int(LENGTHS[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= LENGTHS.max() - 1


PROGRAM = """
import json, sys
import jax
host, port, cache, out, tests = int(sys.argv[1]), *sys.argv[2:]
if port:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=host)
sys.path.insert(0, tests)
import numpy as np
from test_store import CELLS, corpus_of, embed
from pathlib import Path
from jaxemo.distances.statistics import unpack
from jaxemo.models.pretrained import load_encoder
generator = np.random.default_rng(0)
waveforms = [generator.normal(size=n).astype(np.float32) for n in (3000, 4000, 5000, 1200, 800, 4000)]
corpus, read = corpus_of(waveforms)
found = embed(load_encoder("untrained/speech"), corpus, Path(cache))
statistics = unpack(found.statistics)
np.savez(out, pooled=found.pooled, mean=statistics.mean, factor=statistics.factor)
print(json.dumps(sorted(set(read))))
"""


def program(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_two_processes_give_what_one_gives_and_read_each_clip_once(tmp_path):
    port = free_port()
    running = [
        program(host, port, tmp_path / "shared", tmp_path / f"{host}.npz") for host in range(2)
    ]
    running.append(program(0, "", tmp_path / "alone", tmp_path / "alone.npz"))
    printed = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    first, second = (set(json.loads(text.splitlines()[-1])) for text in printed[:2])
    assert first | second == set(range(6))
    assert not first & second
    alone = np.load(tmp_path / "alone.npz")
    for host in range(2):
        together = np.load(tmp_path / f"{host}.npz")
        np.testing.assert_allclose(together["pooled"], alone["pooled"], atol=1e-5)
        np.testing.assert_allclose(together["mean"], alone["mean"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            squared(together["factor"]), squared(alone["factor"]), rtol=1e-6, atol=1e-6
        )


def squared(factor):
    return factor.swapaxes(-1, -2) @ factor


# Commands in two processes ---------------------------------------------------------------------

DEVICES = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
SMALL_BATCHES = (
    "--config.training.batch_size=8",
    "--config.training.epochs=3",
    "--config.training.save_seconds=0",
)
OVER_BOTH = ("--config.mesh.fsdp=2", "--config.mesh.tensor=2")


def start(words, *, port=None, process=0):
    """`jaxemo WORDS` as one of two processes with four devices each, or as one with eight."""
    environment = os.environ | DEVICES
    if port is None:
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    else:
        environment |= {
            "JAXEMO_COORDINATOR": f"localhost:{port}",
            "JAXEMO_NUM_PROCESSES": "2",
            "JAXEMO_PROCESS_ID": str(process),
        }
    return subprocess.Popen(
        [sys.executable, "-m", "jaxemo.cli.main", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(words):
    port = free_port()
    return [start(words, port=port, process=process) for process in range(2)]


def ended(processes):
    """Exit codes, stdouts and stderrs."""
    said = [process.communicate(timeout=600) for process in processes]
    codes = [process.returncode for process in processes]
    return codes, [out for out, _ in said], [err for _, err in said]


def words_of(command, workdir, cache, tiny_config, *more):
    return (command, tiny_config, f"--config.cache_dir={cache}", f"--workdir={workdir}", *more)


def weights(workdir):
    """What a checkpoint holds, by path."""
    import jax
    import orbax.checkpoint as ocp

    [folder] = (workdir / "checkpoint").iterdir()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        state = checkpointer.restore(
            folder, args=ocp.args.Composite(state=ocp.args.StandardRestore())
        )["state"]
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def snapshots_in(workdir):
    return [path for path in workdir.glob("unfinished/*/[0-9]*") if path.name.isdecimal()]


def wait_until(holds, processes, *, seconds=400.0):
    begun = time.monotonic()
    while not holds():
        assert all(process.poll() is None for process in processes), ended(processes)
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_config):
    """(cache, workdir of a model that two processes trained)."""
    cache, workdir = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("two")
    words = words_of("train", workdir, cache, tiny_config, *SMALL_BATCHES, *OVER_BOTH)
    codes, outs, errs = ended(start_two(words))
    assert codes == [0, 0], errs
    assert str(workdir / "checkpoint") in outs[0]
    assert "UA" not in outs[1] and "checkpoint" not in outs[1]  # Gloo's lines are there.
    return cache, workdir


@pytest.mark.slow
def test_two_processes_train_what_one_trains(undisturbed, tmp_path, tiny_config):
    cache, workdir = undisturbed
    codes, _, errs = ended([start(words_of("train", tmp_path, cache, tiny_config, *SMALL_BATCHES))])
    assert codes == [0], errs
    alone, together = weights(tmp_path), weights(workdir)
    assert alone.keys() == together.keys()
    for path, leaf in alone.items():
        np.testing.assert_allclose(together[path], leaf, atol=1e-5, err_msg=path)
    lines = (workdir / "logs" / "curves.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


@pytest.mark.slow
def test_what_both_processes_are_refused_they_say_for_themselves(tmp_path, tiny_config):
    missing = tmp_path / "nowhere.csv"
    names = ("--config.corpus.name=manifest", f"--config.corpus.manifest={missing}")
    words = words_of("train", tmp_path / "run", tmp_path / "cache", tiny_config, *names)
    codes, _, errs = ended(start_two(words))
    assert codes == [2, 2], errs
    assert all(str(missing) in err for err in errs)
    assert not any("is gone" in err for err in errs)


@pytest.mark.slow
def test_after_one_process_was_killed_both_go_on_to_the_same_bits(
    undisturbed, tmp_path, tiny_config
):
    cache, workdir = undisturbed
    words = words_of("train", tmp_path, cache, tiny_config, *SMALL_BATCHES, *OVER_BOTH)
    running = start_two(words)
    wait_until(lambda: len(snapshots_in(tmp_path)) == 2, running)
    running[1].kill()
    codes, _, errs = ended(running)
    assert codes == [1, -signal.SIGKILL], errs
    assert "process 1 of 2 is gone" in errs[0].splitlines()[-1]
    assert snapshots_in(tmp_path), "it was killed too late for this test to say anything"
    codes, _, errs = ended(start_two(words))
    assert codes == [0, 0], errs
    for path, leaf in weights(workdir).items():
        np.testing.assert_array_equal(weights(tmp_path)[path], leaf, err_msg=path)


@pytest.mark.slow
def test_sigterm_for_one_process_saves_and_ends_both(undisturbed, tmp_path, tiny_config):
    cache, workdir = undisturbed
    words = words_of("train", tmp_path, cache, tiny_config, *SMALL_BATCHES, *OVER_BOTH)
    running = start_two(words)
    wait_until(lambda: snapshots_in(tmp_path), running)
    running[1].terminate()
    codes, _, errs = ended(running)
    assert codes == [143, 143], errs
    assert "terminated with another of its processes" in errs[0]
    assert snapshots_in(tmp_path)
    codes, _, errs = ended(start_two(words))
    assert codes == [0, 0], errs
    for path, leaf in weights(workdir).items():
        np.testing.assert_array_equal(weights(tmp_path)[path], leaf, err_msg=path)


def numbers_in(rows):
    return [value for row in rows for value in row.values() if isinstance(value, float)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "section"), [("probe", "layers"), ("fad", "similarity"), ("transfer", "transfer")]
)
def test_a_study_in_two_processes_gives_one_processs_figures(
    command, section, tmp_path, tiny_config
):
    more = ("--config.transfer.methods=('weighted_sum',)",)
    running = [
        *start_two(words_of(command, tmp_path / "two", tmp_path / "2", tiny_config, *more)),
        start(words_of(command, tmp_path / "one", tmp_path / "1", tiny_config, *more)),
    ]
    codes, _, errs = ended(running)
    assert codes == [0, 0, 0], errs
    together, alone = (
        json.loads((tmp_path / name / "results.json").read_text())[section]
        for name in ("two", "one")
    )
    assert [row | dict.fromkeys(row) for row in together] == [
        row | dict.fromkeys(row) for row in alone
    ]
    np.testing.assert_allclose(numbers_in(together), numbers_in(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("num_clips", [20, 3], ids=["three passes", "one pass"])
def test_two_processes_share_two_folders_without_labels(num_clips, tmp_path):
    random = np.random.default_rng(0)
    for name in ("reference", "candidate"):
        (tmp_path / name).mkdir()
        for clip in range(num_clips):
            noise = 0.1 * random.normal(size=12_000 + 400 * clip)
            soundfile.write(tmp_path / name / f"{clip:02}.wav", noise, 16_000)
    question = [f"--{name}={tmp_path / name}" for name in ("reference", "candidate")]
    words = ["fad", *question, "--encoder=untrained/speech"]
    running = [
        *start_two([*words, f"--workdir={tmp_path / 'two'}"]),
        start([*words, f"--workdir={tmp_path / 'one'}"]),
    ]
    codes, _, errs = ended(running)
    assert codes == [0, 0, 0], errs
    together, alone = (
        json.loads((tmp_path / name / "results.json").read_text())["folders"]
        for name in ("two", "one")
    )
    assert numbers_in(alone)
    # Batches of other rows and devices: float32 rounding, the largest in an extrapolation near 0.
    np.testing.assert_allclose(numbers_in(together), numbers_in(alone), rtol=1e-4, atol=1e-6)
    scores = [scores_by_file(tmp_path / name / "file_scores.csv") for name in ("two", "one")]
    assert len(scores[1]) > num_clips
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def scores_by_file(path):
    with path.open(newline="") as file:
        return {(row["path"], row["layer"]): float(row["score"]) for row in csv.DictReader(file)}


@pytest.mark.slow
def test_two_processes_share_the_encoders_of_embed(tmp_path, tiny_config):
    both = ("--config.encoders=('untrained/speech','untrained/music')",)
    running = [
        *start_two(words_of("embed", tmp_path / "two", tmp_path / "2", tiny_config, *both)),
        start(words_of("embed", tmp_path / "one", tmp_path / "1", tiny_config, *both)),
    ]
    codes, _, errs = ended(running)
    assert codes == [0, 0, 0], errs
    folders = sorted(path.parent.name for path in (tmp_path / "one").glob("*/about.json"))
    assert len(folders) == 2
    for folder in folders:
        together, alone = (EmbeddingFolder(tmp_path / name / folder) for name in ("two", "one"))
        assert together.digests == alone.digests
        for row in range(len(alone.digests)):
            np.testing.assert_allclose(together.pooled(row), alone.pooled(row), atol=1e-5)


def test_a_command_for_one_process_is_refused_in_several(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAXEMO_COORDINATOR", "localhost:8476")
    monkeypatch.setenv("JAXEMO_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAXEMO_PROCESS_ID", "0")
    assert main(["predict", f"--checkpoint={tmp_path}", "a.wav"]) == 2
    assert "`jaxemo predict` is for one" in capsys.readouterr().err
