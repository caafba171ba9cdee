"""What is planted in the synthetic corpus, and whether the emotion shift finds it and nothing else."""

import functools

import numpy as np
import pytest

from jaxemo import emotion_shift
from jaxemo.data.acoustics import SUMMARY_FEATURES, acoustic_features
from jaxemo.data.corpora.corpus import DOMAINS, SHARED_EMOTIONS
from jaxemo.data.synthetic.corpus import (
    Planted,
    SyntheticClip,
    render_clip,
    synthetic_clips,
    write_synthetic_corpus,
)
from jaxemo.studies.config import CorpusSettings
from jaxemo.studies.corpora import open_corpus
from jaxemo.studies.corpus_settings import SyntheticSettings

PITCH = SUMMARY_FEATURES.index("pitch_semitones_p50")
EMOTIONS = ("neutral", "sad", "angry")
SAD = SHARED_EMOTIONS.index("sad")
SEMITONES = 4.0
# Cues that the generator sets directly; a summary of all has dimensions for as many clips.
USED = [PITCH, *map(SUMMARY_FEATURES.index, ("loudness_db_mean", "onset_rate_hz"))]


def shifted(emotion, semitones=SEMITONES):
    return tuple(semitones * (place == emotion) for place in range(len(SHARED_EMOTIONS)))


def summary(clip, **planted):
    waveform = render_clip(clip, seed=0, planted=Planted(music="spoken", **planted))
    return acoustic_features(waveform, sample_rate_hz=24_000).summary


@functools.cache
def found_in(**planted):
    """The shift of cues, music spoken as speech is: 12 speakers, 3 clips per cell."""
    clips = synthetic_clips(num_speakers=12, clips_per_cell=3)
    clips = [clip for clip in clips if clip.emotion in EMOTIONS]
    labels = {"domain": [DOMAINS.index(clip.domain) for clip in clips]}
    labels |= {name: [getattr(clip, name) for clip in clips] for name in ("emotion", "speaker")}
    return emotion_shift(np.stack([summary(clip, **planted) for clip in clips])[:, USED], **labels)


def test_music_of_one_emotion_is_higher_by_the_planted_semitones_and_nothing_else_is():
    planted = {"domain_shifts": shifted(SAD)}
    clips = [SyntheticClip("music", "sad", speaker, 0) for speaker in (1, 2, 3)]
    rises = [(summary(clip, **planted) - summary(clip))[PITCH] for clip in clips]
    assert np.median(rises) == pytest.approx(SEMITONES, abs=0.5)
    for domain, emotion in (("music", "calm"), ("speech", "sad")):
        clip = SyntheticClip(domain, emotion, 1, 0)
        of_planted = render_clip(clip, seed=0, planted=Planted(**planted))
        np.testing.assert_array_equal(of_planted, render_clip(clip, seed=0))


def test_what_is_planted_makes_a_corpus_of_its_own(tmp_path):
    small = {"seed": 0, "num_speakers": 1, "clips_per_cell": 1}
    manifest = write_synthetic_corpus(tmp_path / "corpus", **small)
    plain = {path: path.read_bytes() for path in manifest.parent.rglob("*.wav")}
    planted = Planted(emotion_spreads=(2.0,) * 6)
    write_synthetic_corpus(tmp_path / "corpus", **small, planted=planted)
    assert all(path.read_bytes() != before for path, before in plain.items())
    stamp = manifest.stat().st_mtime_ns
    write_synthetic_corpus(tmp_path / "corpus", **small, planted=planted)
    assert manifest.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_the_config_plants_in_a_folder_of_its_own(tmp_path):
    for spread in (1.0, 0.0):
        synthetic = SyntheticSettings(speaker_spread=spread)
        open_corpus(CorpusSettings(clips_per_cell=1, synthetic=synthetic), tmp_path)
    assert len(list(tmp_path.glob("synthetic-0-1*"))) == 2


@pytest.mark.slow
def test_domains_that_are_made_alike_are_found_alike():
    found = found_in()
    assert (found.low < 0).all() and (np.abs(found.shift) < 0.5).all()
    assert found.p_value > 0.05


@pytest.mark.slow
def test_a_planted_domain_shift_is_found_where_it_was_planted_and_as_large():
    found = found_in(domain_shifts=shifted(SAD))
    place = found.emotions.index("sad")
    assert found.p_value < 0.01 and found.shift.argmax() == place and found.low[place] > 0
    others = np.delete(np.arange(len(found.emotions)), place)
    assert (found.low[others] < 0).all()
    # Pitch varies from clip to clip by 0.45 of 2.5 semitones, intensity and measurement aside.
    truth = (SEMITONES / (0.45 * 2.5)) ** 2
    assert truth / 4 < found.shift[place] < truth


@pytest.mark.slow
def test_emotions_that_merely_vary_differently_are_not_found_shifted():
    found = found_in(emotion_spreads=(0.5, 1.0, 1.0, 1.0, 1.5, 1.0))
    assert found.p_value > 0.05 and (found.low < 0.1).all()


@pytest.mark.slow
def test_habits_of_speakers_in_music_alone_widen_intervals_and_shift_nothing():
    plain = found_in()
    found = found_in(speaker_domain_spread=0.5)
    assert np.median(found.high - found.low) > 1.5 * np.median(plain.high - plain.low)
    assert (found.low < 0.1).all() and found.p_value > 0.05
