"""Two folders of audio without labels, from files to distances, scores and saved moments."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxemo.cli.main import main
from jaxemo.data.audio import standardise
from jaxemo.data.clip_store import UnusableFiles
from jaxemo.data.corpora.folder import read_folder
from jaxemo.data.progress import Progress
from jaxemo.distances.statistics import covariance
from jaxemo.embedding.sets import embed_clip_set
from jaxemo.embedding.stream import Settings
from jaxemo.models.pretrained import load_encoder
from jaxemo.models.windows import encode_windows
from jaxemo.studies.folders import FolderQuestion, compare_folders

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("folders")

RATE_HZ = 16_000
ENCODER = "untrained/speech"
CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"
QUIET = Progress(lambda items, description, total: items, lambda description: lambda *_: None)
# A clip beside others in a batch differs from the clip alone by rounding.
BATCH_TOLERANCE = 1e-5


def tone(seed, *, pitch_hz=200.0, seconds=0.6):
    random = np.random.default_rng(seed)
    times = np.arange(round((seconds + 0.1 * random.random()) * RATE_HZ)) / RATE_HZ
    return 0.2 * np.sin(2 * np.pi * pitch_hz * times) + 0.05 * random.normal(size=times.size)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """reference: 6 tones. candidate: 5 more in a folder below, a far one, a broken one, a text."""
    root = tmp_path_factory.mktemp("folders")
    below = root / "candidate" / "below"
    below.mkdir(parents=True)
    (root / "reference").mkdir()
    for seed in range(6):
        soundfile.write(root / "reference" / f"{seed}.wav", tone(seed), RATE_HZ)
    for seed in range(10, 15):
        soundfile.write(below / f"{seed}.flac", tone(seed), RATE_HZ)
    odd = np.sign(tone(20, pitch_hz=3000.0))
    soundfile.write(root / "candidate" / "odd.WAV", 0.3 * odd, RATE_HZ)
    (root / "candidate" / "broken.wav").write_bytes(b"no wave file")
    (root / "candidate" / "notes.txt").write_text("no audio")
    return root


@pytest.fixture(scope="module")
def compare(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")

    def run(reference, candidate, **options):
        question = FolderQuestion(reference, candidate, ENCODER, **options)
        return compare_folders(question, cache_dir=cache, progress=QUIET)

    return run


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tmp_path_factory.mktemp("moments") / "reference.npz"


@pytest.fixture(scope="module")
def comparison(compare, folders, saved):
    return compare(folders / "reference", folders / "candidate", save_moments=saved)


def test_every_layer_has_its_distances_and_what_they_rest_on(comparison):
    rows, sets = comparison.results["folders"], comparison.results["sets"]
    assert [row.layer for row in rows] == [0, 1, 2, 3]
    for row in rows:
        assert row.FAD > 0 and row.KAD > 0
        assert row.FAD_infinite_files < row.FAD
        assert row.rank_reference <= row.d and row.frames_reference > 2 * row.d
    assert (sets.clips_reference, sets.clips_candidate) == (6, 6)


def test_unusable_files_are_left_out_by_name_and_reason(comparison):
    (left_out,) = comparison.results["left_out"]
    assert left_out.path.endswith("broken.wav") and left_out.reason.startswith("corrupt")


def test_a_planted_outlier_has_the_highest_score_in_every_layer(comparison):
    for layer in range(4):
        rows = [row for row in comparison.file_scores if row["layer"] == layer]
        ranked = sorted(rows, key=lambda row: row["score"])
        assert len(rows) == 6 and ranked[-1]["path"].endswith("odd.WAV")


def test_a_folder_is_at_no_distance_from_itself(compare, folders):
    found = compare(folders / "reference", folders / "reference")
    for row in found.results["folders"]:
        assert 0.0 <= row.FAD < 1e-8
        # Both samples are one: all that remains is each frame's kernel with itself.
        assert abs(row.KAD) < 2.0 / row.frames_reference
        # Draws from one set are not independent: the line would end below 0.
        assert row.FAD_infinite_files is None and row.FAD_infinite_files_error is None
    assert found.results["sets"].files_in_both == 6
    scores = [row["score"] for row in found.file_scores if row["layer"] == 2]
    assert np.mean(scores) == pytest.approx(1.0, abs=0.1)


def test_one_file_in_both_sets_withholds_the_extrapolation(compare, folders, tmp_path):
    shutil.copytree(folders / "candidate", tmp_path / "candidate")
    samples, rate = soundfile.read(next((folders / "reference").glob("*")), dtype="int16")
    soundfile.write(tmp_path / "candidate" / "copy.aiff", samples, rate)  # In another container.
    found = compare(folders / "reference", tmp_path / "candidate")
    assert found.results["sets"].files_in_both == 1
    assert {row.FAD_infinite_files for row in found.results["folders"]} == {None}
    assert None not in {row.FAD for row in found.results["folders"]}


def test_saved_moments_stand_in_for_their_folder(compare, comparison, folders, saved):
    found = compare(saved, folders / "candidate")
    expected = {row.layer: row.FAD for row in comparison.results["folders"]}
    assert [row.layer for row in found.results["folders"]] == [1, 2, 3]
    for row in found.results["folders"]:
        assert pytest.approx(expected[row.layer], rel=1e-5) == row.FAD
        assert row.KAD is None and row.frames_reference is None
    scores = {(row["path"], row["layer"]): row["score"] for row in comparison.file_scores}
    for row in found.file_scores:
        assert row["score"] == pytest.approx(scores[row["path"], row["layer"]], rel=1e-6)


def test_moments_of_another_model_are_refused_by_the_names_there(compare, folders, tmp_path):
    path = tmp_path / "other.npz"
    pairs = {f"{name}.mu": np.zeros(48) for name in ("w2v2-1", "w2v2-2", "w2v2")}
    np.savez(path, **pairs, **{name[:-2] + "cov": np.eye(48) for name in pairs})
    with pytest.raises(ValueError, match=r"has no 3 layers of .*'w2v2'.*--reference_model"):
        compare(path, folders / "candidate")
    found = compare(path, folders / "candidate", reference_model="w2v2")
    assert len(found.results["folders"]) == 3


def test_a_crop_bounds_every_clip(compare, comparison, folders):
    found = compare(folders / "reference", folders / "candidate", crop_seconds=0.2)
    frames = load_encoder(ENCODER).config.num_frames(round(0.2 * RATE_HZ))
    assert found.results["folders"][0].frames_reference == 6 * frames


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "There is no folder"),
        ({}, ValueError, "holds no .wav"),
        ({"a.wav": b"no wave"}, UnusableFiles, "1 of 1 audio files cannot be used"),
    ],
)
def test_folders_without_audio_are_refused(compare, folders, tmp_path, content, error, message):
    folder = tmp_path / "set"
    for name, data in (content or {}).items():
        folder.mkdir()
        (folder / name).write_bytes(data)
    if content == {}:
        folder.mkdir()
    with pytest.raises(error, match=message):
        compare(folders / "reference", folder)


def test_files_are_found_at_any_depth_in_order(folders):
    names = [row.path.rpartition("/")[2] for row in read_folder(folders / "candidate").utterances]
    assert names == ["10.flac", "11.flac", "12.flac", "13.flac", "14.flac", "broken.wav", "odd.WAV"]


def test_links_are_followed_and_what_is_not_read_is_listed(folders, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "inside").symlink_to(folders / "candidate", target_is_directory=True)
    (linked / "again").symlink_to(folders / "candidate", target_is_directory=True)
    (linked / "a.m4a").write_bytes(b"no matter")
    found = read_folder(linked)
    assert len(found.utterances) == 7
    assert [item.path.rpartition("/")[2] for item in found.left_out] == ["a.m4a"]


# The pass over whole clips ---------------------------------------------------------------------


@pytest.mark.slow
def test_clips_of_any_length_give_the_statistics_of_each_alone():
    encoder = load_encoder(ENCODER)
    random = np.random.default_rng(0)
    clips = [random.normal(size=n).astype(np.float32) for n in (9000, 700, 8999, 400, 4000)]
    found = embed_clip_set(
        encoder, clips.__getitem__, num_samples=np.array([c.size for c in clips]), max_frames=10_000
    )
    alone = [
        np.asarray(encoder(standardise(c)[None], np.array([c.size])).hidden_states)[:, 0]
        for c in clips
    ]
    frames = np.concatenate(alone, axis=1)
    np.testing.assert_array_equal(found.statistics.num_rows, frames.shape[1])
    np.testing.assert_allclose(found.statistics.mean, frames.mean(1), atol=BATCH_TOLERANCE)
    np.testing.assert_allclose(
        covariance(found.statistics), [np.cov(rows.T) for rows in frames], atol=1e-4
    )
    np.testing.assert_allclose(
        np.sort(found.frames, axis=1), np.sort(frames, axis=1), atol=BATCH_TOLERANCE
    )


def test_frames_of_long_clips_are_those_of_their_windows():
    encoder = load_encoder(ENCODER)
    clip = standardise(np.random.default_rng(0).normal(size=40_000).astype(np.float32))
    found = embed_clip_set(
        encoder,
        lambda _: clip,
        num_samples=np.array([clip.size]),
        max_frames=10_000,
        settings=Settings(batch_size=8, window_seconds=1.0, overlap_seconds=0.2),
    )
    pieces = encode_windows(encoder, clip, window_samples=16_000, overlap_samples=3200)
    frames = np.concatenate([piece.hidden_states for piece in pieces], axis=1)
    np.testing.assert_allclose(found.frames, frames, atol=BATCH_TOLERANCE)
    np.testing.assert_allclose(found.statistics.mean, frames.mean(axis=1), atol=BATCH_TOLERANCE)


def test_a_sample_of_frames_has_its_size_and_is_drawn_again_alike():
    encoder = load_encoder(ENCODER)
    clips = np.random.default_rng(0).normal(size=(3, 8000)).astype(np.float32)
    found = [
        embed_clip_set(encoder, clips.__getitem__, num_samples=np.full(3, 8000), max_frames=20)
        for _ in range(2)
    ]
    assert found[0].frames.shape == (4, 20, encoder.config.hidden_size)
    np.testing.assert_array_equal(found[0].frames, found[1].frames)


# The command ------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_writes_results_and_scores(
    folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("JAXEMO_CACHE", str(tmp_path / "cache"))
    arguments = [f"--{name}={folders / name}" for name in ("reference", "candidate")]
    workdir = tmp_path / "out"
    assert main(["fad", *arguments, f"--encoder={ENCODER}", f"--workdir={workdir}"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:3] == ["layer", "FAD", "FAD-files"]
    listed = said[said.index("least like") :]
    assert listed.index("odd.WAV") < listed.index(".flac")
    results = json.loads((workdir / "results.json").read_text())
    assert len(results["folders"]) == 4 and results["provenance"]["encoders"][0]["fingerprint"]
    with open(workdir / "file_scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 4 and set(rows[0]) == {"path", "layer", "score"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reference=a"], "needs --candidate and --encoder too"),
        (["--reference=a", "--candidate=b", "--encoder=c", CONFIG], "either --config"),
        ([], "needs --config=FILE.py"),
    ],
)
def test_incomplete_flags_are_one_clear_line(arguments, words, capsys):
    assert main(["fad", *arguments]) == 2
    assert words in capsys.readouterr().err
