"""The controls on embeddings that hold what they ask for, or do not."""

import dataclasses

import numpy as np
import pytest
from planted_corpus import (
    EMOTION,
    NOISE,
    NUM_LAYERS,
    column,
    embedded_as,
    planted_experiment,
    planted_layers,
    planted_settings,
    planted_utterances,
)

from jaxemo.results.layer_rows import CONTROLS
from jaxemo.studies.control_tasks import cross_domain_tasks, tasks_of
from jaxemo.studies.controls import control_notes, control_rows, length_rows
from jaxemo.studies.layers import study_layers

# One in each group of speakers.
MEN = ("planted/00", "planted/01", "planted/03")
UTTERANCES = tuple(
    dataclasses.replace(row, sex="male" if row.speaker in MEN else "female")
    for row in planted_utterances()
)
SENTENCE, DOMAIN = 1, 2  # layers that hold these beside noise


@pytest.fixture(scope="module")
def rows():
    """All controls; the domains lie 6 deviations apart where the emotion is, along an emotion's axis."""
    pooled = planted_layers(UTTERANCES, strength=3.0)
    pooled[:, SENTENCE, 0] += 6 * column(UTTERANCES, "statement")
    pooled[:, DOMAIN, 0] += 6 * column(UTTERANCES, "domain")
    pooled[:, EMOTION, 0] += 6.0 * column(UTTERANCES, "domain")
    experiment, settings = planted_experiment(UTTERANCES), planted_settings()
    embedded = embedded_as(pooled)
    plain = study_layers(experiment, embedded, settings).probed
    draw = np.random.default_rng(1)
    cues = draw.normal(size=(len(UTTERANCES), 4)).astype(np.float32)
    found = control_rows(experiment, embedded, settings, plain=plain, cues=cues)
    return found + length_rows(experiment, settings, plain)


def only(rows, **wanted):
    [found] = [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]
    return found


@pytest.mark.slow
def test_every_control_has_a_row_at_every_layer(rows):
    for control in CONTROLS:
        layers = {row.layer for row in rows if row.control == control}
        assert layers == ({0} if control == "duration" else set(range(NUM_LAYERS))), control


@pytest.mark.slow
def test_an_attribute_is_found_where_it_was_planted_and_nowhere_else(rows):
    for control, layer, domain in (
        ("statement", SENTENCE, "speech"),
        ("statement", SENTENCE, "music"),
        ("domain", DOMAIN, "both"),
    ):
        there = only(rows, control=control, layer=layer, domain=domain, metric="UA")
        elsewhere = only(rows, control=control, layer=NOISE, domain=domain, metric="UA")
        assert there.mean > 0.95 and there.chance == 0.5
        assert elsewhere.low < 0.5 and elsewhere.mean < 0.75


@pytest.mark.slow
def test_a_probe_of_the_other_domain_needs_each_domain_centred_where_it_is_shifted(rows):
    for domain in ("speech", "music"):
        place = {"layer": EMOTION, "domain": domain}
        raw = only(rows, control="zero_shot", metric="UA_difference", **place)
        centred = only(rows, control="zero_shot_standardised", metric="UA", **place)
        assert raw.mean < -0.2 and raw.p_value < 0.01
        assert centred.mean > 0.8


@pytest.mark.slow
def test_emotion_is_as_good_in_new_sentences_and_not_learnt_by_heart(rows):
    place = {"layer": EMOTION, "domain": "speech"}
    held_out = only(rows, control="statement_held_out", metric="UA_difference", **place)
    assert abs(held_out.mean) < 0.1
    selectivity = only(rows, control="control_labels", metric="selectivity", **place)
    assert selectivity.mean > 0.2 and selectivity.p_value < 0.01
    assert {r.value for r in rows if r.control == "intensity_matched"} == {"normal", "strong"}


@pytest.mark.slow
def test_cues_that_carry_all_of_the_emotion_leave_none_and_others_take_none(rows):
    place = {"control": "cues_removed", "layer": EMOTION, "domain": "speech"}
    unrelated = only(rows, metric="UA_difference", **place)
    assert abs(unrelated.mean) < 0.1
    experiment = planted_experiment(UTTERANCES)
    settings = planted_settings(controls=("cues_removed",))
    embedded = embedded_as(planted_layers(UTTERANCES, strength=3.0))
    cues = np.eye(3, dtype=np.float32)[column(UTTERANCES, "emotion")][:, :2]
    cues += 0.01 * np.random.default_rng(0).normal(size=cues.shape).astype(np.float32)
    plain = study_layers(experiment, embedded, settings).probed
    found = control_rows(experiment, embedded, settings, plain=plain, cues=cues)
    assert only(found, metric="UA_difference", **place).mean < -0.4
    assert only(found, metric="UA", **place).mean < 0.5


@pytest.mark.slow
def test_length_alone_says_nothing_of_clips_that_are_equally_long(rows):
    row = only(rows, control="duration", domain="speech")
    assert row.mean == pytest.approx(row.chance)


def test_no_task_trains_on_what_it_is_scored_on():
    experiment = planted_experiment(UTTERANCES)
    tasks = [*tasks_of(experiment, CONTROLS), *cross_domain_tasks(experiment, CONTROLS, "music")]
    assert {task.control for task in tasks} == set(CONTROLS)
    for task in tasks:
        speakers = np.array(task.speakers)
        statements = np.array([UTTERANCES[row].statement for row in task.rows])
        for run in task.runs:
            assert not (run.train & run.dev).any() and not (run.train | run.dev)[run.test].any()
            if task.control != "speaker":
                assert not set(speakers[run.train | run.dev]) & set(speakers[run.test])
            if task.control == "statement_held_out":
                assert not set(statements[run.train | run.dev]) & set(statements[run.test])


def test_classes_that_mean_nothing_are_alike_for_all_speakers_and_takes():
    [task, _] = tasks_of(planted_experiment(UTTERANCES), ("control_labels",))
    given = {}
    for row, label in zip(task.rows, task.labels, strict=True):
        clip = UTTERANCES[row]
        given.setdefault((clip.emotion, clip.intensity, clip.statement), set()).add(int(label))
    assert all(len(labels) == 1 for labels in given.values())
    assert np.bincount([labels.pop() for labels in given.values()]).tolist() == [4, 4, 4]


def test_controls_that_a_corpus_has_no_labels_for_are_named():
    bare = tuple(
        dataclasses.replace(row, statement="", intensity="", sex="")
        for row in UTTERANCES
        if row.domain == "speech"
    )
    [note] = control_notes(planted_experiment(bare), CONTROLS)
    for control in ("zero_shot", "sex", "statement_held_out", "domain", "control_labels"):
        assert control in note
    assert "speaker" not in note.partition(".")[0]
    [note] = control_notes(planted_experiment(UTTERANCES), CONTROLS)
    assert note.startswith("Controls left out: cues_removed. ")
