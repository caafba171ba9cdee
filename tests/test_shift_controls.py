"""What is held still in study 3, on corpora where it is all that there is."""

from dataclasses import replace

import numpy as np
from planted_corpus import planted_experiment, planted_settings, planted_utterances
from test_emotion_shift import EMOTIONS, corpus, design_of, kept

from jaxemo.analysis.controls import matched_clips, without_cues
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import whiten
from jaxemo.studies.similarity.cells import make_cells
from jaxemo.studies.similarity.controls import controls


def labelled(speakers=4, takes=2):
    """Speech and music of two statements at two intensities, `takes` of each; emotion 0 has one intensity."""
    clips = corpus(0, speakers=speakers, clips=4 * takes)
    place = np.arange(len(clips["domain"])) % (4 * takes)
    clips |= {"statement": place % 2, "intensity": place // 2 % 2}
    return kept(clips, (clips["emotion"] != 0) | (clips["intensity"] == 0))


def test_pairs_are_of_one_speaker_emotion_statement_and_intensity():
    clips = labelled()
    draw = np.random.default_rng(0)
    clips = kept(clips, draw.random(len(clips["domain"])) < 0.7)
    found = matched_clips(design_of(clips), clips["statement"], clips["intensity"])
    of = kept(clips, found)
    # Emotion 0 has no clip of intensity 1: no emotion is compared there.
    assert set(of["intensity"]) == {0} and len(found) > 50
    names = ("domain", "emotion", "speaker", "statement")
    labels = np.stack([clips[name] for name in names], axis=1)
    speech, music = (sorted(map(tuple, labels[found][of["domain"] == d, 1:])) for d in (0, 1))
    assert speech == music
    # No further pair is left over.
    rest = np.setdiff1d(np.flatnonzero(clips["intensity"] == 0), found)
    speech, music = ({tuple(row[1:]) for row in labels[rest] if row[0] == d} for d in (0, 1))
    assert not speech & music


def test_a_shift_of_a_cue_alone_is_gone_once_the_cue_is_taken_off():
    before, after, other = [], [], []
    for seed in range(8):
        clips = corpus(seed, shift=0.0, extra=1.5, clips=4, voice=0.2)
        design = design_of(clips)
        draw = np.random.default_rng(seed)
        # Loudness: higher in music of emotion 2, and a part of two dimensions of the embedding.
        louder = 3.0 * ((design.emotion == 2) & (design.domain == 1))
        cue = draw.normal(size=len(louder)) + louder
        rows = clips["embeddings"] + cue[:, None] * np.eye(8)[4] - 0.5 * cue[:, None] * np.eye(8)[5]
        left = without_cues(rows, np.stack([cue, draw.normal(size=len(cue))], axis=1), design)
        found = [shift_effects(whiten(x, design), design).estimate for x in (rows, left)]
        before.append(found[0][2])
        after.append(found[1][2])
        other.append(found[1][0])
    assert np.mean(before) > 2.0
    assert abs(np.mean(after)) < 0.25
    # The shift of emotion 0, which the cue knows nothing of, stays: 1.5^2 of noise 1.
    assert 1.7 < np.mean(other) < 2.8


def test_a_cue_that_goes_with_emotion_alone_takes_nothing_off():
    clips = corpus(3, clips=4)
    design = design_of(clips)
    cue = (design.emotion / EMOTIONS + design.domain)[:, None].astype(float)
    rows = clips["embeddings"]
    left = without_cues(rows, cue, design)
    np.testing.assert_allclose(left, rows, atol=1e-9)


def controls_of(utterances):
    experiment = planted_experiment(utterances, num_seeds=1)
    return list(controls(experiment, make_cells(experiment).design, planted_settings()))


def test_matched_pairs_are_of_all_speakers_and_of_either_sex_apart():
    utterances = tuple(
        replace(row, sex=("male", "female")[int(row.speaker[-2:]) % 2])
        for row in planted_utterances(speakers=8)
    )
    found = {
        one.name: {utterances[clip].sex for clip in one.clips} for one in controls_of(utterances)
    }
    assert found == {
        "matched": {"female", "male"},
        "matched_female": {"female"},
        "matched_male": {"male"},
    }
    few = tuple(row for row in utterances if row.speaker[-2:] in ("00", "01", "02", "03", "05"))
    assert [one.name for one in controls_of(few)] == ["matched", "matched_female"]
