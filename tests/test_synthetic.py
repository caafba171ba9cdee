"""The embedded corpus: reproducible bytes, every cell filled, cues that move as the table says."""

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from jaxemo.data.acoustics import SUMMARY_FEATURES, acoustic_features
from jaxemo.data.corpora.corpus import DOMAINS, SHARED_EMOTIONS
from jaxemo.data.corpora.manifest import read_manifest
from jaxemo.data.synthetic import corpus as synthetic
from jaxemo.data.synthetic.corpus import SyntheticClip, render_clip, write_synthetic_corpus
from jaxemo.data.synthetic.expression import CUES, EMOTION_CUES

SMALL = {"num_speakers": 2, "clips_per_cell": 1}


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def small_manifest(tmp_path_factory) -> Path:
    return write_synthetic_corpus(tmp_path_factory.mktemp("corpora") / "small", seed=0, **SMALL)


class Measurement(NamedTuple):
    seconds: float
    summary: np.ndarray


@pytest.fixture(scope="module")
def measured() -> dict[SyntheticClip, Measurement]:
    """One clip by each of twelve persons in every emotion and domain, heard by the baseline."""
    waveforms = {
        clip: render_clip(clip, seed=7)
        for clip in synthetic.synthetic_clips(num_speakers=12, clips_per_cell=1)
    }
    return {
        clip: Measurement(
            waveform.size / 24000, acoustic_features(waveform, sample_rate_hz=24000).summary
        )
        for clip, waveform in waveforms.items()
    }


def by_speaker(measured, domain: str, emotion: str, feature: str) -> np.ndarray:
    column = SUMMARY_FEATURES.index(feature)
    return np.array(
        [
            measurement.summary[column]
            for clip, measurement in measured.items()
            if (clip.domain, clip.emotion) == (domain, emotion)
        ]
    )


def labelled_features(measured, domain: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised features, emotion index and speaker of the clips of a domain."""
    clips = [clip for clip in measured if clip.domain == domain]
    features = np.stack([measured[clip].summary for clip in clips]).astype(np.float64)
    spread = np.maximum(features.std(axis=0), 1e-6)
    emotions = np.array([SHARED_EMOTIONS.index(clip.emotion) for clip in clips])
    return (
        (features - features.mean(axis=0)) / spread,
        emotions,
        np.array([c.speaker for c in clips]),
    )


def ridge_recalls(train, train_emotions, test, test_emotions) -> np.ndarray:
    """Recall of each emotion by a ridge regression on one-hot labels."""
    targets = np.eye(6)[train_emotions] - 1 / 6
    weights = np.linalg.solve(train.T @ train + 100.0 * np.eye(train.shape[1]), train.T @ targets)
    guesses = (test @ weights).argmax(axis=1)
    return np.array([(guesses[test_emotions == emotion] == emotion).mean() for emotion in range(6)])


# Reproducible files --------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(small_manifest, tmp_path):
    again = write_synthetic_corpus(tmp_path / "again", seed=0, **SMALL)
    assert files_of(again.parent) == files_of(small_manifest.parent)


def test_another_seed_changes_every_clip(small_manifest, tmp_path):
    other = write_synthetic_corpus(tmp_path / "other", seed=1, **SMALL)
    before, after = files_of(small_manifest.parent), files_of(other.parent)
    waves = [name for name in before if name.endswith(".wav")]
    assert waves
    assert all(before[name] != after[name] for name in waves)


def test_a_clip_is_the_same_in_a_larger_corpus(small_manifest, tmp_path):
    larger = write_synthetic_corpus(tmp_path / "larger", seed=0, num_speakers=3, clips_per_cell=2)
    before, after = files_of(small_manifest.parent), files_of(larger.parent)
    waves = [name for name in before if name.endswith(".wav")]
    assert waves
    assert all(before[name] == after[name] for name in waves)


def test_no_two_clips_are_alike(small_manifest):
    waves = [data for name, data in files_of(small_manifest.parent).items() if name.endswith("wav")]
    assert len(waves) == len(set(waves)) == 2 * 6 * 2


def test_a_finished_corpus_is_left_as_it_is(tmp_path):
    manifest = write_synthetic_corpus(tmp_path / "corpus", seed=0, **SMALL)
    times = {path: path.stat().st_mtime_ns for path in manifest.parent.rglob("*")}
    assert write_synthetic_corpus(tmp_path / "corpus", seed=0, **SMALL) == manifest
    assert {path: path.stat().st_mtime_ns for path in manifest.parent.rglob("*")} == times


def test_a_damaged_or_other_corpus_is_made_again(small_manifest, tmp_path):
    folder = tmp_path / "corpus"
    write_synthetic_corpus(folder, seed=3, num_speakers=1, clips_per_cell=1)
    write_synthetic_corpus(folder, seed=0, **SMALL)
    assert files_of(folder) == files_of(small_manifest.parent)
    (folder / "speech/01/sad_00.wav").unlink()
    write_synthetic_corpus(folder, seed=0, **SMALL)
    assert files_of(folder) == files_of(small_manifest.parent)


@pytest.mark.parametrize("name", ["speech/01/sad_00.wav", "manifest.csv", "synthetic.json"])
def test_a_flipped_bit_is_found_and_the_corpus_made_again(small_manifest, tmp_path, name):
    folder = tmp_path / "corpus"
    write_synthetic_corpus(folder, seed=0, **SMALL)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    write_synthetic_corpus(folder, seed=0, **SMALL)
    assert files_of(folder) == files_of(small_manifest.parent)


def test_a_corpus_of_another_generator_version_is_made_again(tmp_path, small_manifest):
    folder = tmp_path / "corpus"
    write_synthetic_corpus(folder, seed=0, **SMALL)
    record_path = folder / "synthetic.json"
    record = json.loads(record_path.read_text())
    record_path.write_text(json.dumps({**record, "generator_version": 0}))
    (folder / "speech/01/sad_00.wav").write_bytes(b"of an older generator")
    write_synthetic_corpus(folder, seed=0, **SMALL)
    assert files_of(folder) == files_of(small_manifest.parent)


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(clip, **how):
        if clip.domain == "music":
            raise KeyboardInterrupt
        return render_clip(clip, **how)

    monkeypatch.setattr(synthetic, "render_clip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_corpus(tmp_path / "corpus", seed=0, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no synthetic corpus"):
        write_synthetic_corpus(tmp_path, seed=0, **SMALL)
    assert files_of(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"num_speakers": 0}, {"clips_per_cell": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected seed >= 0"):
        write_synthetic_corpus(tmp_path / "corpus", **{"seed": 0, **SMALL, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_changed_generator_needs_a_new_version():
    """Levels in dB of three clips; update them together with `GENERATOR_VERSION`."""
    levels = [
        20 * np.log10(np.sqrt(np.mean(render_clip(clip, seed=0).astype(np.float64) ** 2)))
        for clip in (
            SyntheticClip("speech", "angry", 1, 0),
            SyntheticClip("music", "calm", 2, 1),
            SyntheticClip("music", "happy", 5, 2),
        )
    ]
    assert synthetic.GENERATOR_VERSION == 1
    np.testing.assert_allclose(levels, [-22.7047, -28.6838, -25.8657], atol=1e-3)


# What the files hold -------------------------------------------------------------------------


def test_the_manifest_is_read_as_a_corpus_with_every_cell(small_manifest):
    corpus = read_manifest(small_manifest)
    cells = {(row.domain, row.emotion, row.speaker) for row in corpus.utterances}
    speakers = ("synthetic/01", "synthetic/02")
    assert cells == {(d, e, s) for d in DOMAINS for e in SHARED_EMOTIONS for s in speakers}
    assert len(corpus.utterances) == len(cells)
    assert corpus.emotions == SHARED_EMOTIONS
    assert all(Path(row.path).is_file() for row in corpus.utterances)


def test_takes_of_one_cell_have_labels_of_their_own():
    clips = synthetic.synthetic_clips(num_speakers=1, clips_per_cell=8)
    labels = [(c.domain, c.emotion, c.intensity, c.statement, c.repetition) for c in clips]
    assert len(labels) == len(set(labels))
    assert all(
        intensity == "normal" for _, emotion, intensity, *_ in labels if emotion == "neutral"
    )


def test_manifest_paths_are_relative_so_that_the_folder_can_move(small_manifest):
    with small_manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == synthetic.MANIFEST_COLUMNS
    assert all((small_manifest.parent / row["path"]).is_file() for row in rows)
    assert not any(Path(row["path"]).is_absolute() for row in rows)


def test_clips_are_mono_24_khz_of_the_stated_length_and_never_clip(small_manifest):
    for row in read_manifest(small_manifest).utterances:
        waveform, rate = soundfile.read(row.path)
        assert rate == 24000
        assert waveform.ndim == 1
        assert 1.2 <= waveform.size / rate <= 2.2
        assert 0.005 < np.abs(waveform).max() <= 0.975


@pytest.mark.parametrize("label", ["domain", "emotion"])
def test_clip_length_tells_no_label(measured, label):
    seconds = defaultdict(list)
    for clip, measurement in measured.items():
        seconds[getattr(clip, label)].append(measurement.seconds)
    means = [np.mean(values) for values in seconds.values()]
    # Standard error of a mean of 24 lengths, uniform over 0.8 s: 0.05 s.
    assert max(means) - min(means) < 0.2


# What the emotions do ------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_emotion_and_a_column_for_every_cue():
    assert tuple(EMOTION_CUES) == SHARED_EMOTIONS
    assert all(len(row) == len(CUES) for row in EMOTION_CUES.values())
    assert all(abs(value) <= 1 for row in EMOTION_CUES.values() for value in row)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize(
    ("cue", "feature", "high", "low"),
    [
        ("pitch_level", "pitch_semitones_p50", "angry", "sad"),
        ("pitch_level", "pitch_semitones_p50", "happy", "sad"),
        ("pitch_level", "pitch_semitones_p50", "fearful", "sad"),
        ("pitch_range", "pitch_semitones_std", "angry", "calm"),
        ("pitch_range", "pitch_semitones_std", "happy", "calm"),
        ("pitch_contour", "pitch_semitones_slope", "angry", "sad"),
        ("loudness", "loudness_db_mean", "angry", "sad"),
        ("loudness", "loudness_db_mean", "happy", "sad"),
        ("loudness", "loudness_db_mean", "angry", "fearful"),
        ("rate", "onset_rate_hz", "angry", "sad"),
        ("rate", "onset_rate_hz", "happy", "calm"),
        ("rate", "onset_rate_hz", "fearful", "sad"),
        ("attack", "attack_db", "angry", "sad"),
        ("attack", "attack_db", "happy", "sad"),
        ("brightness", "high_frequency_db_mean", "angry", "sad"),
        ("brightness", "high_frequency_db_mean", "angry", "fearful"),
        ("roughness", "pitch_jitter_semitones", "angry", "happy"),
        ("roughness", "pitch_jitter_semitones", "sad", "happy"),
    ],
)
def test_measured_cues_move_as_the_table_says(measured, domain, cue, feature, high, low):
    column = CUES.index(cue)
    assert EMOTION_CUES[high][column] > EMOTION_CUES[low][column]
    # Pairs of the same person: habits and base pitch drop out.
    difference = by_speaker(measured, domain, high, feature) - by_speaker(
        measured, domain, low, feature
    )
    assert np.median(difference) > 0
    assert (difference > 0).mean() >= 0.6


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_single_cue_parts_two_emotions_without_overlap(measured, domain):
    for feature in ("pitch_semitones_p50", "loudness_db_mean", "onset_rate_hz"):
        angry = by_speaker(measured, domain, "angry", feature)
        assert angry.min() < by_speaker(measured, domain, "neutral", feature).max()


@pytest.mark.parametrize("domain", DOMAINS)
def test_held_out_persons_are_told_above_chance_and_well_under_certainty(measured, domain):
    features, emotions, speakers = labelled_features(measured, domain)
    recalls = []
    for fold in range(6):
        held_out = speakers % 6 == fold
        recalls.append(
            ridge_recalls(
                features[~held_out], emotions[~held_out], features[held_out], emotions[held_out]
            )
        )
    assert 0.33 < np.mean(recalls) < 0.85


@pytest.mark.parametrize(("source", "target"), [DOMAINS, DOMAINS[::-1]])
def test_what_is_learnt_in_one_domain_carries_over_to_the_other(measured, source, target):
    train, train_emotions, _ = labelled_features(measured, source)
    test, test_emotions, _ = labelled_features(measured, target)
    assert ridge_recalls(train, train_emotions, test, test_emotions).mean() > 0.28
