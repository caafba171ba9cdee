"""What is known without an encoder: features made by hand, the most frequent emotion, who speaks alone."""

import dataclasses

import numpy as np
import pytest
from planted_corpus import planted_experiment, planted_settings, planted_utterances

from jaxemo.data.log_mel import NUM_MELS, log_mel_features
from jaxemo.embedding import hand_made
from jaxemo.report.contents import content_of
from jaxemo.report.sections.layers import baseline_table, strongest_baselines
from jaxemo.results.contents import Results
from jaxemo.studies.baselines import (
    MAJORITY,
    SPEAKER_ONLY,
    baseline_rows,
    speaker_features,
)
from jaxemo.studies.sources import load_source

UTTERANCES = planted_utterances()
RATE = 16_000


def only(rows, **wanted):
    [found] = [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]
    return found


@pytest.fixture(scope="module")
def cues():
    return np.random.default_rng(0).normal(size=(len(UTTERANCES), 3)).astype(np.float32)


@pytest.fixture(scope="module")
def rows(cues):
    return baseline_rows(planted_experiment(UTTERANCES), planted_settings(), cues=cues)


@pytest.mark.parametrize("encoder", [MAJORITY, SPEAKER_ONLY])
def test_where_all_speakers_have_all_emotions_alike_baselines_are_chance_exactly(rows, encoder):
    row = only(rows, encoder=encoder, domain="speech", metric="UA")
    assert row.mean == pytest.approx(row.chance) == pytest.approx(1 / 3)
    assert (row.n, row.folds, row.seeds, row.origin) == (144, 3, 2, "hand-made")


def test_the_majority_scores_its_share_and_one_recall():
    """Half of the happy clips are gone, and a third of the angry ones."""
    kept = [
        row
        for row in UTTERANCES
        if (row.emotion, row.repetition) != ("happy", "2")
        and (row.emotion, row.statement, row.repetition) != ("angry", "kids", "2")
    ]
    found = baseline_rows(planted_experiment(kept), planted_settings(), cues=None)
    music = {"encoder": MAJORITY, "domain": "music"}
    assert only(found, **music, metric="WA").mean == pytest.approx(8 / (4 + 8 + 6))
    assert only(found, **music, metric="recall", emotion="sad").mean == 1.0
    assert only(found, **music, metric="recall", emotion="happy").mean == 0.0


def test_speakers_of_one_emotion_give_it_away():
    """Each speaker is left with one emotion, which the mean cues of his or her clips tell."""
    own = {f"planted/{k:02d}": ("happy", "sad", "angry")[k % 3] for k in range(12)}
    kept = [row for row in planted_utterances(speakers=12) if own[row.speaker] == row.emotion]
    cues = np.eye(3, dtype=np.float32)[
        [("happy", "sad", "angry").index(row.emotion) for row in kept]
    ]
    cues += np.random.default_rng(0).normal(size=cues.shape).astype(np.float32)
    found = baseline_rows(planted_experiment(kept), planted_settings(), cues=cues)
    assert only(found, encoder=SPEAKER_ONLY, domain="speech", metric="UA").mean > 0.8


def test_a_speaker_is_one_vector_of_sex_and_mean_cues(cues):
    sexes = {f"planted/{k:02d}": ("female", "male")[k % 2] for k in range(6)}
    clips = [dataclasses.replace(row, sex=sexes[row.speaker]) for row in UTTERANCES]
    known = speaker_features(planted_experiment(clips), cues)
    mine = [
        place
        for place, row in enumerate(clips)
        if (row.speaker, row.domain) == ("planted/01", "music")
    ]
    expected = np.concatenate([[0.0, 1.0], cues[mine].mean(axis=0)])
    np.testing.assert_allclose(known[mine], np.tile(expected, (len(mine), 1)), rtol=1e-5)


def test_without_sex_and_audio_nothing_is_known_of_a_speaker():
    found = baseline_rows(planted_experiment(UTTERANCES), planted_settings(), cues=None)
    assert {row.encoder for row in found} == {MAJORITY}


def test_the_line_across_the_chart_is_the_strongest_baseline_of_each_domain(rows):
    weak, strong = (
        [
            dataclasses.replace(row, encoder=name, mean=mean)
            for row in rows
            if row.encoder == MAJORITY
        ]
        for name, mean in (("weak", 0.2), ("strong", 0.4))
    )
    content = content_of(Results(layers=(*strong, *weak)))
    chosen = strongest_baselines(content.rows("layers", metric="UA"))
    assert [(row["encoder"], row["domain"]) for row in chosen] == [
        ("strong", "speech"),
        ("strong", "music"),
    ]
    assert [line[0] for line in baseline_table(content).rows] == ["strong", "weak"]


def test_log_mel_is_the_mean_and_deviation_of_its_frames():
    waveform = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    features = log_mel_features(waveform, sample_rate_hz=RATE)
    assert features.frames.shape == (1 + (RATE - 400) // 160, NUM_MELS)
    assert features.summary.shape == (2 * NUM_MELS,)
    moments = [features.frames.mean(axis=0), features.frames.std(axis=0)]
    np.testing.assert_allclose(features.summary, np.concatenate(moments), rtol=1e-4)


def test_ten_times_the_amplitude_is_twenty_decibels_in_every_band():
    waveform = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    quiet, loud = (
        log_mel_features(gain * waveform, sample_rate_hz=RATE).summary for gain in (1, 10)
    )
    np.testing.assert_allclose(loud[:NUM_MELS] - quiet[:NUM_MELS], 20, atol=1e-2)
    np.testing.assert_allclose(loud[NUM_MELS:], quiet[NUM_MELS:], atol=1e-2)


@pytest.mark.parametrize("size", [1, 100, 399])
def test_a_clip_shorter_than_a_frame_has_one(size):
    features = log_mel_features(np.full(size, 0.1, np.float32), sample_rate_hz=RATE)
    assert features.frames.shape == (1, NUM_MELS) and np.isfinite(features.summary).all()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(hand_made.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"eGeMAPSv02.*pip install 'jaxemo\[opensmile\]'"):
        load_source("egemaps")


def test_two_feature_sets_of_one_module_do_not_share_a_store():
    sets = [hand_made.HAND_MADE[name] for name in ("egemaps", "compare")]
    # openSMILE need not be there: any installed package has a version.
    assert len({one._replace(package="librosa").fingerprint for one in sets}) == 2


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "width", "frame_width"), [("egemaps", 88, 25), ("compare", 6373, 65)]
)
@pytest.mark.parametrize("size", [1, 800, 12_000])
def test_opensmiles_features_are_finite_for_every_length(name, width, frame_width, size):
    waveform = np.random.default_rng(0).normal(0, 0.1, size).astype(np.float32)
    features = load_source(name).hand_made.extract(waveform, sample_rate_hz=RATE)
    assert features.summary.shape == (width,) and features.frames.shape[1] == frame_width
    assert np.isfinite(features.summary).all() and np.isfinite(features.frames).all()


@pytest.mark.reference
def test_egemaps_pitch_of_a_tone_is_its_own():
    """Its pitch is in semitones above 27.5 Hz: 220 Hz lies three octaves above."""
    import opensmile

    time = np.arange(2 * RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in range(1, 8)) * 0.1
    features = load_source("egemaps").hand_made.extract(
        buzz.astype(np.float32), sample_rate_hz=RATE
    )
    names = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    ).feature_names
    pitch = dict(zip(names, features.summary.tolist(), strict=True))
    assert pitch["F0semitoneFrom27.5Hz_sma3nz_amean"] == pytest.approx(36, abs=0.1)
