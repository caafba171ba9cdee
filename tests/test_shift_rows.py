"""Rows of emotion shift against the library's own figures, on made-up embeddings."""

import numpy as np
import pytest
from test_emotion_shift import EMOTIONS, corpus, design_of

from jaxemo import emotion_shift
from jaxemo.analysis.design import Design
from jaxemo.analysis.emotion_whitening import whiten
from jaxemo.studies.config import Settings
from jaxemo.studies.similarity.shift import can_shift, encoder_shift, shift_rows
from jaxemo.studies.study_settings import SimilaritySettings

NAMES = tuple(f"emotion-{number}" for number in range(EMOTIONS))
CONFIG = Settings(similarity=SimilaritySettings(permutations=99))


def found_in(clips, *, encoder="one", keep=slice(None), width=64):
    clips = {name: values[keep] for name, values in clips.items()}
    design = design_of(clips)
    identity = {"encoder": encoder, "origin": "untrained", "control": "none"}
    layers = np.stack([clips["embeddings"], 2.0 * clips["embeddings"] + 1.0], axis=1)
    return encoder_shift(identity, NAMES, design, layers, num_dimensions=width)


@pytest.fixture(scope="module")
def clips():
    return corpus(0, extra=2.0)


def test_rows_are_what_the_library_gives(clips):
    whole = emotion_shift(**clips)
    rows = shift_rows(found_in(clips), [], CONFIG)
    for measure in ("shift", "shape"):
        ends = [whole.shift, whole.low, whole.high]
        if measure == "shape":
            ends = [whole.shape, whole.shape_low, whole.shape_high]
        for layer in (0, 1, None):
            of = [row for row in rows.shifts if (row.layer, row.measure) == (layer, measure)]
            assert [row.emotion for row in of] == list(NAMES)
            for name, expected in zip(("mean", "low", "high"), ends, strict=True):
                figures = [getattr(row, name) for row in of]
                np.testing.assert_allclose(figures, expected, rtol=1e-6, atol=1e-9)
    assert {row.speakers for row in rows.shifts} == set(whole.speakers)
    assert all(row.paired for row in rows.shifts)
    assert {row.d for row in rows.shifts} == {clips["embeddings"].shape[1], None}


def test_contrasts_are_differences_corrected_within_their_layer(clips):
    rows = shift_rows(found_in(clips), [], CONFIG)
    means = {
        row.emotion: row.mean for row in rows.shifts if (row.layer, row.measure) == (0, "shift")
    }
    of = [row for row in rows.contrasts if (row.layer, row.measure) == (0, "shift")]
    assert len(of) == EMOTIONS * (EMOTIONS - 1) // 2
    for row in of:
        assert row.mean == pytest.approx(means[row.emotion] - means[row.other_emotion])
    smallest = min(of, key=lambda row: row.p_value)
    assert smallest.p_holm == pytest.approx(min(1.0, len(of) * smallest.p_value))


def test_a_planted_shift_is_found_and_an_encoder_does_not_differ_from_itself(clips):
    one, two = found_in(clips), found_in(clips, encoder="two")
    tests = shift_rows(two, [one], CONFIG).tests
    assert tests[0].p_value <= 0.05
    assert (tests[-1].test, tests[-1].encoder, tests[-1].other_encoder) == (
        *("encoders_differ", "one"),
        "two",
    )
    assert (tests[-1].tau, tests[-1].p_value) == (1.0, 1.0)


def test_an_emotion_that_music_lacks_is_unknown_and_the_others_are_compared(clips):
    keep = (clips["domain"] == 0) | (clips["emotion"] != 1)
    rows = shift_rows(found_in(clips, keep=keep), [], CONFIG)
    assert {row.emotion for row in rows.shifts if row.mean is None} == {NAMES[1]}
    assert {row.emotions for row in rows.tests} == {EMOTIONS - 1}
    assert all(NAMES[1] not in (row.emotion, row.other_emotion) for row in rows.contrasts)


def test_speakers_of_one_domain_alone_are_not_paired(clips):
    keep = (clips["speaker"] % 2) == clips["domain"]
    rows = shift_rows(found_in(clips, keep=keep), [], CONFIG).shifts
    assert not any(row.paired for row in rows)


def test_directions_that_clips_do_not_span_are_left_out():
    wide = corpus(0, speakers=3, clips=1, d=80)
    found = found_in(wide, width=64)
    assert {space.d for space in found.spaces} == {len(wide["emotion"]) - 1}


def test_too_few_speakers_or_clips_are_known_before_anything_is_computed():
    clips = corpus(0, speakers=4, clips=2)
    few = design_of({name: values[clips["speaker"] < 2] for name, values in clips.items()})
    assert can_shift(design_of(clips))
    assert not can_shift(few)
    alone = np.arange(8)
    single = Design(alone // 4, alone % 4, alone, 4, 8)
    assert not can_shift(single)
    with pytest.raises(ValueError, match="leave no spread"):
        whiten(np.random.default_rng(0).normal(size=(8, 3)), single)
