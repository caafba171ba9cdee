"""What a page of study 3 claims of simulated corpora: nothing where there is nothing, and what is planted."""

import numpy as np
import pytest
from test_emotion_shift import EMOTIONS, corpus, design_of

from jaxemo.report.contents import content_of
from jaxemo.report.sections.distance_sentences import sentences
from jaxemo.results.contents import Results
from jaxemo.studies.config import Settings
from jaxemo.studies.similarity.shift import SECTIONS, encoder_shift, shift_rows
from jaxemo.studies.study_settings import SimilaritySettings

NAMES = ("neutral", "calm", "happy", "sad", "angry", "fearful")
CONFIG = Settings(similarity=SimilaritySettings(permutations=199))


def page_of(*corpora):
    """The sentences of a page, one encoder per set of embeddings of one corpus."""
    sections, earlier = {name: () for name in SECTIONS}, []
    for number, clips in enumerate(corpora):
        identity = {"encoder": f"encoder-{number}", "origin": "published", "control": "none"}
        layers = clips["embeddings"][:, None]
        found = encoder_shift(identity, NAMES, design_of(clips), layers, num_dimensions=64)
        for name, rows in zip(SECTIONS, shift_rows(found, earlier, CONFIG), strict=True):
            sections[name] += tuple(rows)
        earlier.append(found)
    return [one.says for one in sentences(content_of(Results(**sections)))]


def claims(says):
    return [one for one in says if not one.startswith(("no difference", "no sign", "0 of"))]


@pytest.mark.slow
def test_corpora_without_effects_are_claimed_to_have_one_in_a_twentieth_of_pages():
    """All emotions are shifted alike and share no pattern; two encoders see the same corpus."""
    pages = [
        claims(page_of(corpus(seed, clips=2), corpus(1000 + seed, clips=2))) for seed in range(200)
    ]
    # Two deviations of 200 draws of 0.05 above it.
    assert sum(map(bool, pages)) <= 16


def test_a_planted_shift_is_named_and_nothing_else_is():
    clips = corpus(0, extra=3.0, clips=4, voice=0.2)
    said = page_of(clips)
    assert len(said) == 3 and len(claims(said)) == 1
    assert "neutral most" in claims(said)[0]
    assert f"told from {EMOTIONS - 1} of {EMOTIONS - 1} others" in claims(said)[0]


@pytest.mark.slow
def test_planted_shifts_of_one_emotion_are_named_in_most_corpora():
    named = 0
    for seed in range(40):
        found = claims(page_of(corpus(seed, extra=2.0, clips=4, voice=0.2)))
        named += any("neutral most" in one for one in found)
    assert named >= 34


def test_an_emotion_that_both_domains_share_is_claimed_to_be_shared():
    clips = corpus(1, clips=4, voice=0.2)
    pattern = np.random.default_rng(0).normal(size=(EMOTIONS, clips["embeddings"].shape[1]))
    clips["embeddings"] += pattern[clips["emotion"]]
    [said] = claims(page_of(clips))
    assert said.startswith("music of an emotion lies nearer to speech of it")
