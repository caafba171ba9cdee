"""CKA, RSA and parts of variance against definitions, invariances and planted designs."""

import itertools

import numpy as np
import pytest

from jaxemo.analysis.layer_similarity import cka, emotion_distances, linear_kernel, rsa
from jaxemo.analysis.variance_parts import variance_model, variance_parts

SPEAKER = np.repeat(np.arange(6), 8)
DRAW = np.random.default_rng(0)


def draw_rows(n=48, d=10, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def similarity(a, b, speaker=SPEAKER):
    return cka(linear_kernel(a, speaker), linear_kernel(b, speaker))


def plain_hsic(a, b):
    """The definition: the mean over quadruples of different clips (Song et al. 2012, section 2)."""
    k, m = a @ a.T, b @ b.T
    values = [
        k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])
        for i, j, q, r in itertools.permutations(range(len(a)), 4)
    ]
    return np.mean(values)


def test_cka_is_the_ratio_of_means_over_quadruples_of_different_clips():
    a, b = draw_rows(8, 3), draw_rows(8, 5, seed=1) + 0.5
    b[:, :3] += a
    expected = plain_hsic(a, b) / np.sqrt(plain_hsic(a, a) * plain_hsic(b, b))
    assert similarity(a, b, np.arange(8)).estimate == pytest.approx(expected, rel=1e-9)


def test_cka_without_a_speaker_is_that_of_the_other_clips():
    a, b = draw_rows(), draw_rows(seed=1)
    b += a
    shuffled = np.random.default_rng(2).permutation(SPEAKER)
    found = similarity(a, b, shuffled)
    for speaker in range(6):
        rest = shuffled != speaker
        alone = similarity(a[rest], b[rest], shuffled[rest])
        assert found.without[speaker] == pytest.approx(alone.estimate, rel=1e-9)


def test_cka_does_not_see_rotation_scale_and_shift():
    a, b = draw_rows(), draw_rows(seed=1)
    b[:, 0] += 3 * a[:, 0]
    rotation = np.linalg.qr(DRAW.normal(size=(10, 10)))[0]
    moved = 1e-3 * a @ rotation + 7.0
    assert similarity(a, moved).estimate == pytest.approx(1.0)
    assert similarity(moved, b).estimate == pytest.approx(similarity(a, b).estimate, rel=1e-6)


def test_independent_layers_are_0_on_average_though_dimensions_outnumber_clips():
    values = [
        similarity(draw_rows(d=200, seed=2 * k), draw_rows(d=200, seed=2 * k + 1)).estimate
        for k in range(40)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(40)
    assert np.std(values) < 0.1


def test_a_layer_that_does_not_vary_has_no_cka():
    assert similarity(np.ones((48, 3)), draw_rows()) is None


def test_three_clips_are_refused():
    with pytest.raises(ValueError, match="3 clips"):
        linear_kernel(draw_rows(3), np.arange(3))


EMOTION = np.tile(np.arange(4), 12)


def planted(seed, centres, noise=1.0):
    draw = np.random.default_rng(seed)
    return centres[EMOTION] + noise * draw.normal(size=(48, centres.shape[1]))


def test_distances_of_emotions_are_unbiased():
    centres = np.zeros((4, 20))
    centres[1, 0] = 3.0
    found = [emotion_distances(planted(k, centres), EMOTION, SPEAKER).pairs for k in range(150)]
    expected = [9.0, 0.0, 0.0, 9.0, 9.0, 0.0]
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=0.6)


def test_rsa_is_1_for_a_rotated_layer_and_drops_a_speaker_at_a_time():
    rows = planted(0, DRAW.normal(size=(4, 10)))
    rotation = np.linalg.qr(DRAW.normal(size=(10, 10)))[0]
    one, other = (emotion_distances(x, EMOTION, SPEAKER) for x in (rows, 5 * rows @ rotation))
    assert rsa(one, other).estimate == pytest.approx(1.0)
    rest = SPEAKER != 2
    names = np.unique(SPEAKER[rest], return_inverse=True)[1]
    alone = emotion_distances(rows[rest], EMOTION[rest], names)
    np.testing.assert_allclose(one.without[2], alone.pairs)


FACTORS = {"emotion": EMOTION, "speaker": SPEAKER}
TERMS = (("emotion",), ("speaker",), ("emotion", "speaker"))


def least_squares_error(rows, *levels):
    design = np.concatenate([np.eye(level.max() + 1)[level] for level in levels], axis=1)
    return ((rows - design @ np.linalg.lstsq(design, rows, rcond=None)[0]) ** 2).sum()


@pytest.mark.parametrize("kept", [slice(None), slice(3, 41)], ids=["balanced", "unbalanced"])
def test_parts_are_type_two_sums_of_squares(kept):
    rows, emotion, speaker = draw_rows()[kept], EMOTION[kept], SPEAKER[kept]
    both = emotion * 6 + speaker
    both = np.unique(both, return_inverse=True)[1]
    full = least_squares_error(rows, both)
    mains = least_squares_error(rows, emotion, speaker)
    squares = [
        least_squares_error(rows, speaker) - mains,
        least_squares_error(rows, emotion) - mains,
        mains - full,
    ]
    degrees = [
        3,
        speaker.max() - speaker.min(),
        both.max() + 1 - 4 - (speaker.max() - speaker.min()),
    ]
    total = ((rows - rows.mean(axis=0)) ** 2).sum()
    mean_square = full / (len(rows) - both.max() - 1)
    expected = (np.array(squares) - np.array(degrees) * mean_square) / (total + mean_square)
    model = variance_model({"emotion": emotion, "speaker": speaker}, TERMS)
    assert model.degrees_of_freedom == tuple(degrees)
    np.testing.assert_allclose(variance_parts(rows, model), expected, atol=1e-9)


def test_parts_are_the_planted_shares_and_0_for_what_is_not_there():
    model = variance_model(FACTORS, TERMS)
    found = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        centres = np.array([[1.0], [-1.0], [1.0], [-1.0]]) * np.ones(5)
        rows = centres[EMOTION] + draw.normal(size=(48, 5))
        found.append(variance_parts(rows, model))
    np.testing.assert_allclose(np.mean(found, axis=0), [0.5, 0.0, 0.0], atol=0.03)


def test_rotation_and_scale_leave_the_parts_alone():
    rows, model = draw_rows(), variance_model(FACTORS, TERMS)
    rotation = np.linalg.qr(DRAW.normal(size=(10, 10)))[0]
    np.testing.assert_allclose(
        variance_parts(9 * rows @ rotation + 4, model), variance_parts(rows, model), atol=1e-9
    )


def test_a_factor_that_another_explains_is_left_out():
    sex = SPEAKER % 2
    model = variance_model({**FACTORS, "sex": sex}, (("emotion",), ("speaker",), ("sex",)))
    assert model.terms == (("emotion",), ("speaker",))


def test_a_model_with_as_many_columns_as_clips_is_none():
    assert variance_model({"clip": np.arange(48)}, (("clip",),)) is None
