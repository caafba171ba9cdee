"""Rows and page of layers beside each other, on embeddings with planted emotion."""

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
    planted_utterances,
)

from jaxemo.report.contents import content_of
from jaxemo.report.sections.layer_comparisons import layer_comparison_section
from jaxemo.results.contents import Results
from jaxemo.studies.layer_comparisons import compared_layers, similarity_rows, variance_rows

UTTERANCES = planted_utterances()
EXPERIMENT = planted_experiment(UTTERANCES)
SPEAKERS = 1  # a layer with who speaks in it


@pytest.fixture(scope="module")
def embedded():
    pooled = planted_layers(UTTERANCES, strength=3.0)
    who = np.random.default_rng(1).normal(size=(6, pooled.shape[2]))
    pooled[:, SPEAKERS] += 3 * who[column(UTTERANCES, "speaker")]
    pooled[:, SPEAKERS, 0] += 9 * column(UTTERANCES, "domain")
    return embedded_as(pooled)


@pytest.fixture(scope="module")
def similarities(embedded):
    layers = compared_layers(EXPERIMENT, embedded)
    turned = embedded.embedding.pooled[..., ::-1] * 2
    other = embedded_as(np.ascontiguousarray(turned))
    other = other._replace(source=other.source._replace(name="turned"))
    beside = compared_layers(EXPERIMENT, other)
    return similarity_rows(beside, [layers], measures=("cka", "rsa"))


@pytest.fixture(scope="module")
def parts(embedded):
    return variance_rows(EXPERIMENT, embedded)


def of(rows, **wanted):
    return [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]


def only(rows, **wanted):
    [found] = of(rows, **wanted)
    return found


@pytest.mark.parametrize("measure", ["CKA", "RSA"])
def test_a_turned_encoder_has_the_same_layers(similarities, measure):
    same = {"other_encoder": "planted", "measure": measure, "domain": "music"}
    for layer in range(NUM_LAYERS):
        assert only(similarities, **same, layer=layer, other_layer=layer).mean == pytest.approx(1)


def test_every_pair_of_layers_has_a_row_once(similarities):
    within = of(similarities, measure="CKA", domain="speech", other_encoder="turned")
    pairs = [(row.layer, row.other_layer) for row in within]
    assert len(set(pairs)) == len(pairs) == NUM_LAYERS * (NUM_LAYERS - 1) // 2
    across = of(similarities, measure="CKA", domain="speech", other_encoder="planted")
    assert len(across) == NUM_LAYERS**2


def test_layers_that_share_nothing_are_told_from_1_and_not_from_0(similarities):
    row = only(
        similarities,
        measure="CKA",
        domain="speech",
        other_encoder="turned",
        layer=NOISE,
        other_layer=EMOTION,
    )
    assert row.low < 0 < row.high < 0.5
    assert (row.speakers, row.n) == (6, 144)


def test_parts_of_variance_are_where_they_were_planted(parts):
    emotion = only(parts, domain="speech", layer=EMOTION, factor="emotion")
    speaker = only(parts, domain="both", layer=SPEAKERS, factor="speaker")
    domain = only(parts, domain="both", layer=SPEAKERS, factor="domain")
    assert min(emotion.low, speaker.low, domain.low) > 0
    noise = [row.mean for row in of(parts, layer=NOISE)]
    assert max(map(abs, noise)) < 0.1
    assert emotion.degrees_of_freedom == 2


def test_the_model_has_every_factor_of_the_corpus_and_the_interactions(parts):
    assert {row.factor for row in of(parts, domain="both")} == {
        *("domain", "emotion", "speaker", "statement", "intensity"),
        *("domain:emotion", "domain:speaker", "emotion:speaker"),
    }


def test_large_corpora_are_compared_on_whole_speakers(monkeypatch, embedded):
    monkeypatch.setattr("jaxemo.studies.layer_comparisons.MOST_CLIPS", 4 * 48 + 10)
    layers = compared_layers(EXPERIMENT, embedded)
    assert {len(rows) for rows in layers.rows.values()} == {4 * 24}
    assert {len(set(speaker)) for speaker in layers.speaker.values()} == {4}


def test_speakers_of_more_clips_than_are_compared_leave_no_rows(monkeypatch, embedded):
    monkeypatch.setattr("jaxemo.studies.layer_comparisons.MOST_CLIPS", 40)
    layers = compared_layers(EXPERIMENT, embedded)
    assert similarity_rows(layers, [], measures=("cka", "rsa")) == []
    assert variance_rows(EXPERIMENT, embedded) == []


def test_a_corpus_of_one_domain_has_no_rows_of_both(embedded):
    rows = EXPERIMENT.rows_of("speech")
    speech = planted_experiment(planted_utterances(domains=("speech",)))
    alone = embedded_as(embedded.embedding.pooled[rows])
    layers = compared_layers(speech, alone)
    found = similarity_rows(layers, [], measures=("cka", "rsa"))
    assert {row.domain for row in [*found, *variance_rows(speech, alone)]} == {"speech"}


def test_the_page_has_both_matrices_and_all_tables(similarities, parts):
    content = content_of(Results(layer_similarity=tuple(similarities), variance_parts=tuple(parts)))
    section = layer_comparison_section(content)
    assert [figure.identifier for figure in section.figures] == [
        "variance-parts",
        "layer-alignment",
    ]
    assert [len(figure.panels) for figure in section.figures] == [3, 4]
    assert [table.name for table in section.tables] == ["rsa_of_domains"]
    names = {panel.heading for figure in section.figures for panel in figure.panels}
    assert "turned (untrained) and planted (untrained), music" in names
    assert all(panel.spec["layer"] for figure in section.figures for panel in figure.panels)
