"""Emotion shift against its equation, and on corpora whose shift is known."""

import time

import numpy as np
import pytest

from jaxemo import emotion_shift
from jaxemo.analysis.design import Design, cell_of_clips
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import contrasts_within, whiten

EMOTIONS = 6
SHIFT = 1.6


def corpus(seed, *, speakers=24, d=8, clips=2, shift=SHIFT, extra=0.0, spread=1.0, voice=0.5):
    """Clips that vary by 1 within a cell, and by `voice` between speakers and between their cells.

    Music lies `shift` from speech along one direction; emotion 0 along another, `extra`, as well.
    """
    draw = np.random.default_rng(seed)
    axes = (np.arange(n) for n in (2, EMOTIONS, speakers, clips))
    domain, emotion, speaker, _ = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    x = draw.normal(size=(len(domain), d)) * np.broadcast_to(spread, EMOTIONS)[emotion][:, None]
    x += voice * draw.normal(size=(speakers, d))[speaker]
    x += voice * draw.normal(size=(2, speakers, d))[domain, speaker]
    x += voice * draw.normal(size=(2, EMOTIONS, speakers, d))[domain, emotion, speaker]
    x[:, 0] += shift * domain
    x[:, 1] += extra * domain * (emotion == 0)
    return {"embeddings": x, "domain": domain, "emotion": emotion, "speaker": speaker}


def kept(clips, keep):
    return {name: values[keep] for name, values in clips.items()}


def design_of(clips):
    labels = (clips[name] for name in ("domain", "emotion", "speaker"))
    return Design(*labels, EMOTIONS, int(clips["speaker"].max()) + 1)


def shifts(seeds, **options):
    return [emotion_shift(**corpus(seed, **options)) for seed in seeds]


def mean_shift(found):
    return np.mean([one.shift for one in found])


def test_the_shift_is_the_mean_product_of_different_speakers_differences():
    clips = corpus(0, speakers=4)
    design = design_of(clips)
    whitened = whiten(clips["embeddings"], design).clips
    differences = np.array(
        [
            whitened[(design.domain == 1) & (design.emotion == 2) & (design.speaker == s)].mean(0)
            - whitened[(design.domain == 0) & (design.emotion == 2) & (design.speaker == s)].mean(0)
            for s in range(4)
        ]
    )
    pairs = [differences[s] @ differences[t] for s in range(4) for t in range(4) if s != t]
    assert emotion_shift(**clips).shift[2] == pytest.approx(np.mean(pairs), rel=1e-9)


@pytest.mark.parametrize("paired", [True, False])
def test_influences_are_those_of_leaving_each_speaker_out(paired):
    clips = corpus(1, speakers=8)
    if not paired:
        clips = kept(clips, clips["speaker"] % 2 == clips["domain"])
    design = design_of(clips)
    whitened = whiten(clips["embeddings"], design)
    found = shift_effects(whitened, design)
    without = []
    for speaker in range(8):
        keep = design.speaker != speaker
        fewer = Design(*(labels[keep] for labels in design[:3]), EMOTIONS, 8)
        clips_kept = whitened._replace(clips=whitened.clips[keep])
        without.append(shift_effects(clips_kept, fewer).estimate)
    without = np.array(without).T
    for side in [slice(None)] if paired else [slice(0, None, 2), slice(1, None, 2)]:
        left = without[:, side]
        expected = (left.shape[1] - 1) * (left.mean(axis=1, keepdims=True) - left)
        np.testing.assert_allclose(found.influence[:, side], expected, atol=1e-9)


@pytest.mark.parametrize("d", [8, 48])
def test_few_and_many_speakers_have_one_shift(d):
    few = mean_shift(shifts(range(40), speakers=8, d=d, voice=0.2))
    many = mean_shift(shifts(range(12), speakers=48, d=d, voice=0.2))
    assert few == pytest.approx(SHIFT**2, rel=0.08)
    assert many == pytest.approx(SHIFT**2, rel=0.05)


def test_the_shift_is_in_units_of_the_clips_own_spread_along_any_direction():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    clips = corpus(2)
    plain = emotion_shift(**clips)
    clips["embeddings"] = (clips["embeddings"] * np.geomspace(0.1, 10, 8)) @ turn + 7.0
    np.testing.assert_allclose(emotion_shift(**clips).shift, plain.shift, rtol=1e-3)


def test_unequal_spread_moves_no_emotion():
    spread = np.linspace(0.7, 1.3, EMOTIONS)
    found = shifts(range(60), spread=spread, voice=0.2)
    truth = SHIFT**2 / np.mean(spread**2)
    means = np.mean([one.shift for one in found], axis=0)
    np.testing.assert_allclose(means, truth, rtol=0.1)
    assert np.mean([one.p_value <= 0.05 for one in found]) <= 0.10


def test_equal_emotions_are_told_apart_in_a_twentieth_of_corpora():
    p_values = np.array([one.p_value for one in shifts(range(100))])
    assert 0.01 <= (p_values <= 0.05).mean() <= 0.10
    assert 0.4 < np.median(p_values) < 0.6


def test_emotions_shifted_as_far_in_other_directions_are_alike():
    p_values = []
    for seed in range(60):
        clips = corpus(seed, shift=0.0)
        rows, emotion = clips["embeddings"], clips["emotion"]
        rows[np.arange(len(rows)), emotion] += SHIFT * clips["domain"]
        p_values.append(emotion_shift(**clips).p_value)
    # Exchanging whole vectors finds differences in more than half of these.
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15


def test_a_planted_shift_is_found():
    found = shifts(range(12), extra=2.5, clips=4)
    assert np.mean([one.p_value <= 0.05 for one in found]) >= 0.8
    assert all(one.shift.argmax() == 0 for one in found)


@pytest.mark.parametrize("speakers", [8, 24])
def test_intervals_cover_the_shift(speakers):
    found = shifts(range(40), speakers=speakers)
    covered = [(one.low <= SHIFT**2) & (one.high >= SHIFT**2) for one in found]
    assert 0.90 <= np.mean(covered) <= 0.995


def test_speakers_of_one_domain_each_are_told_apart_from_themselves_by_others():
    found = []
    for seed in range(30):
        clips = corpus(seed, speakers=32)
        found.append(emotion_shift(**kept(clips, clips["speaker"] % 2 == clips["domain"])))
    assert not any(one.paired for one in found)
    assert mean_shift(found) == pytest.approx(SHIFT**2, rel=0.1)
    covered = [(one.low <= SHIFT**2) & (one.high >= SHIFT**2) for one in found]
    assert np.mean(covered) >= 0.90


def test_one_clip_per_cell_is_measured_against_what_speaker_and_emotion_leave():
    found = shifts(range(30), clips=1, voice=0.5)
    # Cells differ by a variance of a quarter beyond that of clips.
    assert mean_shift(found) == pytest.approx(SHIFT**2 / 1.25, rel=0.15)


def test_more_dimensions_than_clips_keep_the_scale():
    found = shifts(range(40), speakers=6, d=200, shift=4.0, voice=0.0)
    assert mean_shift(found) == pytest.approx(16.0, rel=0.15)


def test_new_clips_have_unit_variance_where_the_whitening_had_few():
    clips = corpus(3, speakers=3, d=20, clips=3)
    more = corpus(4, speakers=60, d=20, clips=3)
    mixing = np.random.default_rng(0).normal(size=(20, 20))
    both = np.concatenate([clips["embeddings"], more["embeddings"]]) @ mixing
    design = design_of(clips)
    first = whiten(both[: len(design.domain)], design).clips
    rows = both[: len(design.domain)]
    linear = np.linalg.lstsq(rows - rows.mean(0), first, rcond=None)[0]
    fresh, _ = contrasts_within(both[len(rows) :] @ linear, cell_of_clips(design_of(more)))
    assert (fresh**2).mean() == pytest.approx(1.0, rel=0.15)


def test_names_and_numbers_give_one_result():
    clips = corpus(5)
    plain = emotion_shift(**clips)
    names = np.array(["angry", "calm", "fearful", "happy", "neutral", "sad"])
    clips["emotion"] = names[clips["emotion"]]
    clips["speaker"] = [f"actor {number:02d}" for number in clips["speaker"]]
    clips["embeddings"] = clips["embeddings"].astype(np.float32)
    named = emotion_shift(**clips)
    assert named.emotions == tuple(names.tolist())
    assert named.p_value == plain.p_value
    np.testing.assert_allclose(named.shift, plain.shift, rtol=1e-4)


def test_labels_in_object_arrays_are_those_of_plain_ones():
    clips = corpus(5, speakers=4)
    boxed = {name: clips[name].astype(object) for name in ("domain", "emotion", "speaker")}
    assert emotion_shift(**clips | boxed).p_value == emotion_shift(**clips).p_value


@pytest.mark.parametrize("unit", [2.0**-700, 2.0**700])
def test_the_unit_of_embeddings_does_not_matter(unit):
    clips = corpus(5, speakers=4)
    other = emotion_shift(**clips | {"embeddings": clips["embeddings"] * unit})
    np.testing.assert_array_equal(other.shift, emotion_shift(**clips).shift)


def test_what_a_speaker_lacks_leaves_the_other_speakers_and_emotions_alone():
    clips = corpus(6, speakers=6)
    music, speaker, emotion = clips["domain"] == 1, clips["speaker"], clips["emotion"]
    lacking = music & ((speaker == 5) | ((speaker > 1) & (emotion == 1)) | (emotion == 3))
    found = emotion_shift(**kept(clips, ~lacking))
    assert found.speakers.tolist() == [5, 2, 5, 0, 5, 5]
    assert np.isnan(found.shift).tolist() == [False, False, False, True, False, False]
    assert np.isnan(found.low).tolist() == [False, True, False, True, False, False]
    assert 0 < found.p_value <= 1


def test_speakers_who_do_not_differ_have_reason():
    clips = corpus(7, speakers=1, clips=4)
    repeated = {name: np.tile(values, (5, 1)[: values.ndim]) for name, values in clips.items()}
    repeated["speaker"] = np.repeat(np.arange(5), len(clips["speaker"]))
    found = emotion_shift(**repeated)
    assert np.isfinite(found.shift).all()
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()


def test_a_thousand_exchanges_take_well_under_a_second():
    clips = corpus(8, d=64)
    start = time.perf_counter()
    emotion_shift(**clips)
    assert time.perf_counter() - start < 1.0


def changed(**values):
    return {**corpus(0, speakers=4), **values}


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (changed(speaker=np.zeros(3)), "speaker of shape"),
        (changed(embeddings=np.zeros(96)), "shape .96,. and type float64"),
        (changed(embeddings=np.full((96, 2), np.nan)), "96 of 96 embeddings hold NaN"),
        (changed(embeddings=np.ones((96, 2))), "All embeddings are the same"),
        (changed(domain=np.full(96, 2)), r"domain holds \[2\]; expected 0"),
        (changed(domain=np.zeros(96, int)), "no clip of music"),
        (changed(emotion=np.zeros(96, int)), "expected at least two"),
        (changed(emotion=np.full(96, np.nan)), "emotion holds NaN"),
        (changed(speaker=[None, *range(95)]), "NoneType.* and numbers"),
        (changed(emotion=np.array(["sad", 1.0] * 48, object)), "names and numbers"),
        (changed(embeddings=np.zeros((96, 2), object)), "type object"),
        (changed(embeddings=np.zeros((95, 2))), "one label for each of the 95"),
        (changed(speaker=np.arange(96) % 2), "2 speakers in speech and 0 in music"),
        (changed(embeddings=changed()["domain"][:, None] * 1.0), "do not vary between clips"),
    ],
)
def test_what_cannot_be_measured_is_refused(clips, message):
    with pytest.raises(ValueError, match=message):
        emotion_shift(**clips)
