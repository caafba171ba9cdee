"""Setting up a study on real RAVDESS, and the parts of it that need no audio."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.folds import RAVDESS_TEST_ACTORS
from jaxemo.data.progress import Progress
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.experiment import cell_of_clip, clip_halves, prepare_experiment

# Its fixtures are dear: one worker makes them.
pytestmark = pytest.mark.xdist_group("experiment")

ravdess = pytest.mark.skipif(
    "JAXEMO_RAVDESS" not in os.environ,
    reason="needs real RAVDESS: set JAXEMO_RAVDESS to a folder above its files",
)
SILENT = Progress(lambda items, description, total: items, lambda description: lambda *_: None)


def takes(actors, *, count):
    return tuple(
        Utterance(
            f"{actor}-{statement}-{take}.wav",
            *("ravdess", "speech", "sad", f"ravdess/{actor:02d}"),
            statement=str(statement),
            repetition=str(take),
        )
        for actor in actors
        for statement in range(2 if count > 1 else 1)
        for take in range(count // 2 or 1)
    )


def test_the_halves_of_a_null_are_of_the_same_people_and_of_the_same_sentences():
    utterances = takes(range(1, 5), count=4)
    halves = clip_halves(utterances[::-1])[::-1]
    for side in (0, 1):
        rows = [row for row, half in zip(utterances, halves, strict=True) if half == side]
        assert sorted((row.speaker, row.statement) for row in rows) == [
            (f"ravdess/{actor:02d}", statement) for actor in range(1, 5) for statement in "01"
        ]


def test_halves_of_single_clips_are_balanced_in_sex():
    utterances = takes(range(1, 25), count=1)
    halves = clip_halves(utterances)
    for side in (0, 1):
        actors = [
            int(row.speaker[-2:]) for row, h in zip(utterances, halves, strict=True) if h == side
        ]
        # RAVDESS gives odd numbers to men and even ones to women.
        assert len(actors) == 12 and sum(actor % 2 for actor in actors) == 6


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    config = default_config()
    config.corpus.name = "ravdess"
    config.corpus.audio_dir = os.environ["JAXEMO_RAVDESS"]
    return prepare_experiment(
        read_settings(config),
        sample_rates_hz=(16_000,),
        num_seeds=2,
        cache_dir=tmp_path_factory.mktemp("cache"),
        progress=SILENT,
    )


@ravdess
def test_real_ravdess_parts_its_actors_as_emobox_does(experiment):
    present = {row.speaker.split("/")[1] for row in experiment.utterances}
    for fold, actors in zip(experiment.folds[0], RAVDESS_TEST_ACTORS, strict=True):
        assert {name.split("/")[1] for name in fold.test} == set(actors) & present
    for seed in range(2):
        for fold in range(6):
            parts = experiment.split(seed, fold)
            assert sum(map(len, parts)) == len(experiment.utterances)


@ravdess
def test_real_ravdess_has_its_six_emotions_in_both_domains(experiment):
    for domain in ("speech", "music"):
        counts = np.bincount(experiment.labels[experiment.rows_of(domain)], minlength=6)
        # Neutral has no strong intensity, so half as many clips.
        assert (counts[1:] == counts[1]).all() and counts[0] * 2 == counts[1]


@ravdess
def test_cells_hold_one_domain_emotion_and_half_each(experiment):
    half = clip_halves(experiment.utterances)
    cells = cell_of_clip(experiment)
    for cell in np.unique(cells):
        clips = np.flatnonzero(cells == cell)
        rows = [experiment.utterances[clip] for clip in clips]
        assert len({(row.domain, row.emotion) for row in rows}) == len(set(half[clips])) == 1
        # Each actor has as many clips in the other half.
        assert np.bincount(half[(cells // 2) == cell // 2]).tolist() == [len(clips)] * 2


@ravdess
def test_the_corpus_hash_does_not_depend_on_where_the_files_lie(experiment, tmp_path):
    elsewhere = tmp_path / "linked"
    elsewhere.symlink_to(Path(os.environ["JAXEMO_RAVDESS"]).resolve())
    config = default_config()
    config.corpus.name = "ravdess"
    config.corpus.audio_dir = str(elsewhere)
    again = prepare_experiment(
        read_settings(config),
        sample_rates_hz=(16_000,),
        num_seeds=1,
        cache_dir=experiment.cache_dir,
        progress=SILENT,
    )
    assert again.corpus_hash() == experiment.corpus_hash()
