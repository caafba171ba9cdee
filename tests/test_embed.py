"""`jaxemo embed`: every row against the encoder called alone, files opened as users open them, kills."""

import dataclasses
import functools
import json
import signal
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import main
from jaxemo.data.audio import read_waveform, standardise
from jaxemo.data.buckets import MAX_BUCKETS
from jaxemo.data.progress import Progress
from jaxemo.embedding import files as embedding_files
from jaxemo.models.pretrained import load_encoder
from jaxemo.models.windows import encode_windows
from jaxemo.studies import embed as embed_module
from jaxemo.studies.config import Settings, default_config, read_settings

pytestmark = pytest.mark.xdist_group("embed")

RATE_HZ = 16_000
# A clip beside others in a batch differs from the clip alone by rounding.
BATCH_TOLERANCE = 1e-5
SECONDS = (0.7, 0.31, 0.025, 1.9, 0.5, 0.66, 3.3, 0.9, 0.42, 0.55, 1.0)
NUM_PASSES = 9
FOLDER = "untrained-speech-encoder"
NAMES = {"pooled.npy", "frames.npy", "clips.parquet", "about.json"}


@pytest.fixture(scope="module", autouse=True)
def encoder():
    """Loaded once, so that its programs compile once for all runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed_module, "load_encoder", functools.cache(load_encoder))
        yield embed_module.load_encoder("untrained/speech", dtype="float32")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Clips from one frame to several windows, of one domain, by two speakers."""
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    lines = ["path,domain,emotion,speaker"]
    for index, seconds in enumerate(SECONDS):
        waveform = 0.1 * generator.normal(size=round(seconds * RATE_HZ))
        soundfile.write(folder / f"{index}.wav", waveform, RATE_HZ)
        lines.append(f"{index}.wav,speech,{('happy', 'sad')[index % 2]},{index % 3 % 2}")
    path = folder / "corpus.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def config(manifest):
    config = default_config()
    config.encoders = ("acoustic", "untrained/speech")
    config.corpus.name = "manifest"
    config.corpus.manifest = str(manifest)
    config.corpus.emotions = ("happy", "sad")
    config.embed.frames = "frames"
    config.embed.window_seconds = 1.0
    config.embed.overlap_seconds = 0.2
    config.embed.batch_size = 2
    return config


def changed(config, **values):
    copy = ml_collections.ConfigDict(config.to_dict())
    copy.embed.update(values)
    return copy


def silent(items, description, total):
    return items


def run(config, workdir, cache_dir, *, track=silent):
    progress = Progress(track, lambda description: lambda *_: None)
    settings = config if isinstance(config, Settings) else read_settings(config)
    return embed_module.embed(
        settings, workdir=workdir, cache_dir=cache_dir, progress=progress, provenance={"by": "test"}
    )


@pytest.fixture(scope="module")
def finished(config, cache_dir, tmp_path_factory):
    """(the folder of one uninterrupted run, its outcome)."""
    workdir = tmp_path_factory.mktemp("finished")
    [outcome] = run(config, workdir, cache_dir)
    return workdir / FOLDER, outcome


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "about.json"}


def encoded_alone(encoder, waveform):
    """One clip in a batch of one; short ones padded to the window, so that one program serves all."""
    if waveform.size > 16_000:
        pieces = encode_windows(encoder, waveform, window_samples=16_000, overlap_samples=3_200)
        return np.concatenate([piece.hidden_states for piece in pieces], axis=1)
    padded = np.pad(waveform, (0, 16_000 - waveform.size))[None]
    output = encoder(padded, np.array([waveform.size]))
    return np.asarray(output.hidden_states[:, 0, np.asarray(output.frame_mask[0])])


# What is in the files -------------------------------------------------------------------------


def test_every_row_is_what_the_encoder_says_of_the_clip_alone(finished, encoder):
    import pandas

    folder, _ = finished
    pooled = np.load(folder / "pooled.npy", mmap_mode="r")
    frames = np.load(folder / "frames.npy", mmap_mode="r")
    clips = pandas.read_parquet(folder / "clips.parquet")
    assert len(clips) == len(pooled) == len(SECONDS)
    for index, row in clips.iterrows():
        waveform = standardise(read_waveform(row.path, sample_rate_hz=RATE_HZ))
        alone = encoded_alone(encoder, waveform)
        kept = frames[row.first_frame : row.first_frame + row.num_frames]
        np.testing.assert_allclose(kept, alone.transpose(1, 0, 2), atol=BATCH_TOLERANCE)
        np.testing.assert_allclose(pooled[index], alone.mean(axis=1), atol=BATCH_TOLERANCE)
        assert row.seconds == waveform.size / RATE_HZ
    assert clips.num_frames.sum() == len(frames)


def test_numpy_pandas_and_datasets_open_them_in_one_line_each(finished, tmp_path):
    import datasets
    import pandas

    folder, _ = finished
    pooled = np.load(folder / "pooled.npy", mmap_mode="r")
    assert isinstance(pooled, np.memmap) and pooled.shape == (len(SECONDS), 4, 48)
    table = pandas.read_parquet(folder / "clips.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "clips.parquet"), cache_dir=str(tmp_path)
    )["train"]
    assert list(table.columns) == rows.column_names
    assert {"path", "domain", "emotion", "speaker", "seconds", "num_frames"} < set(table.columns)
    for layer in range(4):
        np.testing.assert_array_equal(np.stack(table[f"layer_{layer}"]), pooled[:, layer])
        np.testing.assert_array_equal(np.array(rows[f"layer_{layer}"][:]), pooled[:, layer])


def test_about_json_says_by_what_and_how_it_was_made(finished, encoder):
    folder, _ = finished
    about = json.loads((folder / "about.json").read_text())
    assert about["encoder"]["name"] == encoder.name
    assert about["identity"]["encoder_fingerprint"] == encoder.fingerprint
    assert len(about["identity"]["corpus_hash"]) == 64
    assert about["identity"]["window_seconds"] == 1.0
    assert about["shapes"]["pooled"] == [len(SECONDS), 4, 48]
    assert about["provenance"] == {"by": "test"}
    assert {path.name for path in folder.iterdir()} == NAMES


def test_the_outcome_counts_what_was_done(finished):
    _, outcome = finished
    assert outcome.num_clips == len(SECONDS)
    assert outcome.timing.audio_seconds == pytest.approx(sum(SECONDS), abs=1e-3)
    assert 1 <= outcome.num_shapes <= MAX_BUCKETS and 0 < outcome.padding < 0.5


def test_pooled_alone_is_the_same_and_stores_no_frames(finished, config, cache_dir, tmp_path):
    folder, _ = finished
    run(changed(config, frames="pooled"), tmp_path, cache_dir)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == NAMES - {"frames.npy"}
    found = contents(tmp_path / FOLDER)
    assert all(found[name] == contents(folder)[name] for name in found)


def test_half_the_space_costs_half_precisions_rounding(finished, config, cache_dir, tmp_path):
    import pandas

    folder, _ = finished
    run(changed(config, dtype="float16"), tmp_path, cache_dir)
    for name in ("pooled.npy", "frames.npy"):
        half = np.load(tmp_path / FOLDER / name, mmap_mode="r")
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, np.load(folder / name), rtol=1e-3, atol=1e-4)
    layers = pandas.read_parquet(tmp_path / FOLDER / "clips.parquet").layer_3
    assert np.stack(layers).dtype == np.float32


def test_bfloat16_compute_stays_near_float32(finished, config, cache_dir, tmp_path):
    folder, _ = finished
    run(changed(config, compute_dtype="bfloat16", batch_size=16), tmp_path, cache_dir)
    half = np.load(tmp_path / FOLDER / "pooled.npy").astype(np.float64).reshape(-1, 48)
    full = np.load(folder / "pooled.npy").astype(np.float64).reshape(-1, 48)
    assert not np.array_equal(half, full)
    cosine = (half * full).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(full, axis=1)
    assert cosine.min() > 0.99


# Kills ----------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for any end of the process."""


@pytest.mark.parametrize("kill_at", [0, 1, 3, 6, 8])
def test_a_run_stopped_anywhere_goes_on_and_ends_bit_for_bit_the_same(
    kill_at, finished, config, cache_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed_module, "SECONDS_BETWEEN_COMMITS", 0.0)

    def stop(items, description, total):
        for index, item in enumerate(items):
            if index == kill_at:
                raise Killed
            yield item

    with pytest.raises(Killed):
        run(config, tmp_path, cache_dir, track=stop)
    assert not (tmp_path / FOLDER).exists()
    seen = []

    def watch(items, description, total):
        seen.extend(items)
        return seen

    run(config, tmp_path, cache_dir, track=watch)
    whole, _ = finished
    assert contents(tmp_path / FOLDER) == contents(whole)
    # One pass is always in flight; the last four are of long clips that are open across passes.
    finished_passes = min(max(kill_at - 1, 0), 5)
    assert len(seen) == NUM_PASSES - finished_passes


def test_rows_that_were_not_committed_are_not_trusted(
    finished, config, cache_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed_module, "SECONDS_BETWEEN_COMMITS", 0.0)

    def stop(items, description, total):
        for index, item in enumerate(items):
            if index == 3:
                raise Killed
            yield item

    with pytest.raises(Killed):
        run(config, tmp_path, cache_dir, track=stop)
    partial = embedding_files.partial(tmp_path / FOLDER)
    progress = json.loads((partial / "progress.json").read_text())
    (partial / "progress.json").write_text(json.dumps({"steps": progress["steps"] - 1}))
    pooled = np.load(partial / "pooled.npy", mmap_mode="r+")
    shortest_first = np.argsort(SECONDS)
    # One clip fills the first batch, two each of the next; the last committed pass is void now.
    last = shortest_first[2 * progress["steps"] - 3 : 2 * progress["steps"] - 1]
    import pandas

    rows = list(pandas.read_parquet(finished[0] / "clips.parquet").path)
    for clip in last:
        row = next(i for i, path in enumerate(rows) if path.endswith(f"/{clip}.wav"))
        assert pooled[row].any()
        pooled[row] = np.nan
    pooled.flush()
    run(config, tmp_path, cache_dir)
    assert contents(tmp_path / FOLDER) == contents(finished[0])


def test_a_killed_process_leaves_a_folder_that_the_next_one_completes(
    finished, manifest, cache_dir, tmp_path
):
    config_file = tmp_path / "config.py"
    config_file.write_text(
        "from jaxemo.studies.config import default_config\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.encoders = ('untrained/speech',)\n"
        f"    config.cache_dir = {str(cache_dir)!r}\n"
        "    config.corpus.name = 'manifest'\n"
        f"    config.corpus.manifest = {str(manifest)!r}\n"
        "    config.corpus.emotions = ('happy', 'sad')\n"
        "    config.embed.update(frames='frames', window_seconds=1.0, overlap_seconds=0.2)\n"
        "    config.embed.batch_size = 2\n"
        "    return config\n"
    )
    arguments = ["embed", f"--config={config_file}", f"--workdir={tmp_path / 'w'}"]
    kill = (
        "import os, signal, jaxemo.studies.embed as e\n"
        "e.SECONDS_BETWEEN_COMMITS = 0.0\n"
        "reduce, calls = e.FolderFiles.reduce, []\n"
        "def dying(*inputs):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return reduce(*inputs)\n"
        "e.FolderFiles.reduce = dying\n"
        "from jaxemo.cli.main import main\n"
        f"main({arguments!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", kill], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "w" / FOLDER).exists()
    assert main(arguments) == 0
    assert contents(tmp_path / "w" / FOLDER) == contents(finished[0])


def test_a_finished_folder_is_not_computed_again(finished, config, cache_dir):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    def fail(items, description, total):
        raise AssertionError("computed again")

    [outcome] = run(config, folder.parent, cache_dir, track=fail)
    assert outcome.timing.audio_seconds == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


# Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dtype": "float16"}, "dtype is 'float32' there and 'float16' now"),
        ({"window_seconds": 2.0}, "window_seconds is 1.0 there and 2.0 now"),
        ({"frames": "pooled"}, "frames is 'frames' there and 'pooled' now"),
    ],
)
def test_a_folder_of_other_settings_is_refused_by_name(values, words, finished, config, cache_dir):
    folder, _ = finished
    before = contents(folder)
    with pytest.raises(ValueError, match=words):
        run(changed(config, **values), folder.parent, cache_dir)
    assert contents(folder) == before


def test_a_folder_of_another_corpus_is_refused_by_name(finished, config, cache_dir):
    other = changed(config)
    other.corpus.emotions = ("happy",)
    with pytest.raises(ValueError, match="corpus_hash"):
        run(other, finished[0].parent, cache_dir)


def test_a_folder_of_other_weights_is_refused_by_name(
    finished, config, cache_dir, tmp_path, monkeypatch
):
    from jaxemo.models.untrained import write_untrained_encoder

    write_untrained_encoder("speech", tmp_path / "other", seed=1)
    other = changed(config)
    other.encoders = (str(tmp_path / "other"),)
    with pytest.raises(ValueError, match="encoder_fingerprint"):
        run(other, finished[0].parent, cache_dir)


def test_a_folder_of_something_else_is_refused(config, cache_dir, tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(ValueError, match="holds no embeddings"):
        run(config, tmp_path, cache_dir)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["thesis.txt"]


def test_every_impossible_setting_is_listed_at_once(config, cache_dir, tmp_path):
    wrong = changed(config, frames="all", dtype="int8", overlap_seconds=1.0, batch_size=0)
    with pytest.raises(ValueError) as fault:
        run(wrong, tmp_path, cache_dir)
    for key in ("frames", "dtype", "overlap_seconds", "batch_size"):
        assert key in str(fault.value)


def test_the_acoustic_baseline_alone_is_no_encoder(config, cache_dir, tmp_path):
    alone = changed(config)
    alone.encoders = ("acoustic",)
    with pytest.raises(ValueError, match="names no encoder"):
        run(alone, tmp_path, cache_dir)


def test_two_encoders_of_one_name_do_not_share_a_folder(config, cache_dir, tmp_path):
    twice = dataclasses.replace(read_settings(config), encoders=("untrained/speech",) * 2)
    with pytest.raises(ValueError, match=FOLDER):
        run(twice, tmp_path, cache_dir)


def test_a_clip_shorter_than_a_frame_is_named_before_any_compute(
    config, cache_dir, tmp_path, monkeypatch
):
    encoder = load_encoder("untrained/speech")
    wide = dataclasses.replace(encoder.config, conv_kernel=(410, 3, 3, 3, 3, 2, 2))
    module = dataclasses.replace(encoder, module=encoder.module.clone(config=wide))
    monkeypatch.setattr(embed_module, "load_encoder", lambda *_, **__: module)
    with pytest.raises(ValueError, match=r"2\.wav: 400 samples"):
        run(config, tmp_path, cache_dir)
