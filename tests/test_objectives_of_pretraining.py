"""Losses of pre-training against plain numpy on fixed inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.pretraining.frames import Grid
from jaxemo.pretraining.objectives.best_rq import best_rq
from jaxemo.pretraining.objectives.data2vec import Data2vecSettings, data2vec, teacher_targets
from jaxemo.pretraining.objectives.hubert import HubertSettings, hubert
from jaxemo.pretraining.objectives.mert import MertSettings, MertTargets, mert
from jaxemo.pretraining.objectives.objective import Clips, Draw, Encoded, Teacher, dense
from jaxemo.pretraining.objectives.wav2vec2 import (
    Wav2vec2Settings,
    contrast_logits,
    contrast_loss,
    draw_negatives,
    quantise,
    wav2vec2,
)
from jaxemo.pretraining.sources import layer_source, spectral_source
from jaxemo.pretraining.targets import KMeansSettings, RandomProjectionSettings

GRID = Grid(320, 400, 16_000)
WIDTH, FRAMES, NUM_SAMPLES = 6, 24, 400 + 23 * 320


def key(seed):
    """Of a generator that compiles in a tenth of the usual one's time."""
    return jax.random.key(seed, impl="unsafe_rbg")


DRAW = Draw(key(5), jnp.asarray(3))
HUBERT = HubertSettings(
    KMeansSettings(num_clusters=7, num_seeding=64, batch_size=32, num_rounds=2),
    code_width=4,
    unmasked_weight=0.25,
)
WAV2VEC2 = Wav2vec2Settings(num_codes=5, code_width=4, compared_width=3, num_negatives=8)


@pytest.fixture(scope="module")
def encoded():
    """Hidden states of two clips, the second with four frames of padding."""
    random = np.random.default_rng(0)
    frame_mask = np.arange(FRAMES) < np.array([[FRAMES], [FRAMES - 4]])
    mask = (random.random((2, FRAMES)) < 0.5) & frame_mask
    features = random.standard_normal((2, FRAMES, WIDTH))
    hidden = random.standard_normal((3, 2, FRAMES, WIDTH))
    arrays = (np.float32(features), np.float32(hidden), mask, frame_mask)
    return Encoded(*map(jnp.asarray, arrays))


@pytest.fixture(scope="module")
def clips():
    waveform = np.random.default_rng(1).standard_normal((2, NUM_SAMPLES)).astype(np.float32)
    return Clips(jnp.asarray(waveform), jnp.array([NUM_SAMPLES, NUM_SAMPLES - 4 * 320]))


@pytest.fixture(scope="module")
def codes():
    return jnp.asarray(np.random.default_rng(2).integers(0, 7, (2, FRAMES)))


def run(function, *arguments):
    """As one program: op by op dozens of small ones would be compiled."""
    return jax.jit(function)(*arguments)


def params_of(objective):
    """Random numbers in the shapes of an objective's parameters."""
    random = np.random.default_rng(7)
    shapes = jax.eval_shape(objective.init, key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape), "float32"), shapes)


def double(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def plain_cross_entropy(logits, codes):
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, np.asarray(codes)[..., None], axis=-1)[..., 0]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def plain_hubert(params, encoded, codes):
    """(sum over masked frames, sum over the others) of HuBERT's cross entropy."""
    head, last = double(params), double(encoded.hidden_states)[-1]
    projected = last @ head["projection"]["kernel"] + head["projection"]["bias"]
    each = plain_cross_entropy(unit(projected) @ unit(head["codes"]).T / 0.1, codes)
    masked, seen = parts_of(encoded)
    return each[masked].sum(), each[seen].sum()


def parts_of(encoded):
    """Where frames are masked, and where the encoder sees them."""
    mask, valid = np.asarray(encoded.mask), np.asarray(encoded.frame_mask)
    return mask, valid & ~mask


def test_huberts_loss_is_the_published_cross_entropy(encoded, codes):
    objective = hubert(spectral_source("mfcc", GRID), width=WIDTH, settings=HUBERT)
    params = params_of(objective)
    masked, unmasked = plain_hubert(params, encoded, codes)
    loss = run(objective.loss, params, encoded, codes, DRAW)
    np.testing.assert_allclose(loss.total, masked + 0.25 * unmasked, rtol=1e-5)


def test_code_use_counts_masked_frames(encoded, codes):
    objective = hubert(spectral_source("mfcc", GRID), width=WIDTH, settings=HUBERT)
    loss = run(objective.loss, params_of(objective), encoded, codes, DRAW)
    expected = np.bincount(np.asarray(codes)[np.asarray(encoded.mask)], minlength=7)
    np.testing.assert_array_equal(loss.code_use.target[0], expected)


def test_codes_of_a_layer_are_clusters_of_its_states_on_frames_of_clips(clips):
    states = np.random.default_rng(4).standard_normal((3, 2, FRAMES, WIDTH)).astype(np.float32)
    states[:, 1, FRAMES - 4 :] = np.nan
    source = layer_source(lambda shift, _: jnp.asarray(states) + shift, jnp.zeros(()), 1, grid=GRID)
    objective = hubert(source, width=WIDTH, settings=HUBERT)
    state = objective.fit_targets(key(0), clips)
    centres, scaled = state.quantiser.centres, state.quantiser.scaling(jnp.asarray(states[1, 0]))
    expected = np.square(np.asarray(scaled)[:, None] - centres).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(objective.targets(clips, state, None)[0], expected)


def test_best_rqs_loss_is_the_mean_over_codebooks(encoded):
    settings = RandomProjectionSettings(num_codebooks=2, num_codes=7, width=4)
    objective = best_rq(spectral_source("log_mel", GRID), width=WIDTH, settings=settings)
    params = params_of(objective)
    codes = np.random.default_rng(3).integers(0, 7, (2, FRAMES, 2))
    head, last = double(params)["softmax"], double(encoded.hidden_states)[-1]
    logits = (last @ head["kernel"] + head["bias"]).reshape(2, FRAMES, 2, 7)
    each = plain_cross_entropy(logits, codes).mean(axis=-1)
    loss = run(objective.loss, params, encoded, jnp.asarray(codes), DRAW)
    np.testing.assert_allclose(loss.total, each[np.asarray(encoded.mask)].sum(), rtol=1e-5)


def test_merts_loss_is_huberts_and_a_regression(encoded, codes):
    sources = (spectral_source(kind, GRID) for kind in ("log_mel_and_chroma", "constant_q"))
    settings = MertSettings(HUBERT, regression_weight=2.0)
    objective = mert(*sources, width=WIDTH, settings=settings)
    params = params_of(objective)
    head = double(params)["regression"]
    spectrum = np.random.default_rng(4).standard_normal((2, FRAMES, head["bias"].size))
    errors = double(encoded.hidden_states)[-1] @ head["kernel"] + head["bias"] - spectrum
    squares = (errors**2).mean(axis=2)
    regression, seen = (squares[frames].sum() for frames in parts_of(encoded))
    masked, unmasked = plain_hubert(params, encoded, codes)
    targets = MertTargets(codes, jnp.asarray(spectrum, jnp.float32))
    loss = run(objective.loss, params, encoded, targets, DRAW)
    expected = masked + 0.25 * unmasked + 2 * (regression + 0.25 * seen)
    np.testing.assert_allclose(loss.total, expected, rtol=1e-5)


def plain_teacher(layers, lengths):
    """Instance norm of each layer over each clip's own frames, then the mean."""
    target = np.zeros(layers.shape[1:])
    for row, length in enumerate(lengths):
        own = layers[:, row, :length]
        centred = own - own.mean(axis=1, keepdims=True)
        target[row, :length] = (centred / np.sqrt(own.var(axis=1, keepdims=True) + 1e-5)).mean(0)
    return target


def test_data2vecs_targets_are_means_of_instance_normalised_layers(encoded):
    layers = encoded.hidden_states[-2:]
    spoilt = jnp.where(encoded.frame_mask[:, :, None], layers, jnp.nan)
    found = run(teacher_targets, spoilt, encoded.frame_mask)
    expected = plain_teacher(double(layers), (FRAMES, FRAMES - 4))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_data2vecs_loss_is_the_scaled_square(encoded):
    settings = Data2vecSettings(top_layers=2)
    objective = data2vec(width=WIDTH, settings=settings)
    params = params_of(objective)
    head, states = double(params)["projection"], double(encoded.hidden_states)
    target = plain_teacher(states[-2:], (FRAMES, FRAMES - 4))
    each = ((states[-1] @ head["kernel"] + head["bias"] - target) ** 2).sum(axis=2)
    layers = encoded.hidden_states[-2:]
    loss = run(objective.loss, params, encoded, layers, DRAW)
    expected = each[np.asarray(encoded.mask)].sum() / np.sqrt(WIDTH)
    np.testing.assert_allclose(loss.total, expected, rtol=1e-5)


@pytest.mark.parametrize(("step", "decay"), [(0, 0.9), (5, 0.95), (10, 1.0), (99, 1.0)])
def test_a_teachers_decay_rises_and_stays(step, decay):
    assert float(Teacher(0.9, 1.0, 10).decay(jnp.asarray(step))) == pytest.approx(decay)


@pytest.fixture(scope="module")
def quantised(encoded):
    """(parameters, quantised features, negatives) of wav2vec 2.0."""

    params = params_of(wav2vec2(width=WIDTH, stem_width=WIDTH, settings=WAV2VEC2))

    def make(encoded):
        found = quantise(key(1), params, encoded.features, jnp.asarray(1.5))
        return found, draw_negatives(key(2), encoded.mask, 8)

    return params, *run(make, encoded)


def test_code_vectors_are_those_of_the_chosen_codes(quantised):
    params, found, _ = quantised
    codebooks, chosen = np.asarray(params["codevectors"]), np.asarray(found.codes)
    expected = [codebooks[book][chosen[:, :, book]] for book in range(2)]
    np.testing.assert_allclose(found.vectors, np.concatenate(expected, axis=2), atol=1e-6)


def test_the_quantisers_gradient_is_that_of_the_softmax(quantised, encoded):
    params, direction = quantised[0], jnp.arange(4.0)

    noise_key = key(1)

    def straight(params):
        return (
            quantise(noise_key, params, encoded.features, jnp.asarray(1.5)).vectors @ direction
        ).sum()

    def soft(params):
        logits = dense(params["weight_proj"], encoded.features)
        logits = logits.reshape(2, FRAMES, 2, 5)
        share = jax.nn.softmax((logits + jax.random.gumbel(noise_key, logits.shape)) / 1.5)
        vectors = jnp.einsum("btgv,gvw->btgw", share, params["codevectors"])
        return (vectors.reshape(2, FRAMES, 4) @ direction).sum()

    found, expected = (run(jax.grad(f), params)["weight_proj"]["kernel"] for f in (straight, soft))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_negatives_are_other_masked_frames_of_the_clip(quantised, encoded):
    frames, mask = np.asarray(quantised[2].frames), np.asarray(encoded.mask)
    wrong = [
        (row, frame)
        for row, frame in zip(*np.nonzero(mask), strict=True)
        if not mask[row, frames[row, frame]].all() or (frames[row, frame] == frame).any()
    ]
    assert wrong == []


def test_negatives_are_uniform():
    mask = jnp.zeros((1, 9), bool).at[0, jnp.array([1, 4, 5, 8])].set(True)
    drawn = run(lambda drawn: draw_negatives(drawn, mask, 6000).frames, key(0))[0, 4]
    # 2,000 for each of the three others; six standard deviations.
    counts = np.bincount(np.asarray(drawn), minlength=9)[[1, 5, 8]]
    assert abs(counts - 2000).max() < 6 * np.sqrt(2000 * 2 / 3)


def plain_contrast(params, encoded, found, negatives):
    """Loop over masked frames; equal code vectors are no negatives."""
    head, last = double(params), double(encoded.hidden_states)[-1]
    predicted = unit(last @ head["project_hid"]["kernel"] + head["project_hid"]["bias"])
    compared = unit(double(found.vectors) @ head["project_q"]["kernel"] + head["project_q"]["bias"])
    total = 0.0
    for row, frame in zip(*np.nonzero(np.asarray(encoded.mask)), strict=True):
        own = np.asarray(found.codes)[row, frame]
        others = [
            other
            for other in np.asarray(negatives.frames)[row, frame]
            if (np.asarray(found.codes)[row, other] != own).any()
        ]
        cosine = compared[row, [frame, *others]] @ predicted[row, frame] / 0.1
        total += np.log(np.exp(cosine).sum()) - cosine[0]
    return total


def test_wav2vec2s_loss_is_contrast_and_diversity(quantised, encoded):
    params, found, negatives = quantised

    def both_parts(params, found, negatives):
        logits = contrast_logits(
            dense(params["project_hid"], encoded.hidden_states[-1]),
            dense(params["project_q"], found.vectors),
            found.codes,
            negatives=negatives,
            temperature=0.1,
        )
        return contrast_loss(logits, found, encoded.mask, diversity_weight=0.5)

    loss = run(both_parts, params, found, negatives)
    mask = np.asarray(encoded.mask)
    share = double(found.probabilities)[mask].mean(axis=0)
    perplexity = np.exp(-(share * np.log(share)).sum(axis=1)).sum()
    diversity = mask.sum() * (10 - perplexity) / 10
    contrast = plain_contrast(params, encoded, found, negatives)
    np.testing.assert_allclose(loss.total, contrast + 0.5 * diversity, rtol=1e-5)


def test_a_clip_with_one_masked_frame_adds_no_contrast(encoded):
    alone = encoded._replace(mask=jnp.zeros((2, FRAMES), bool).at[:, 2].set(True))
    objective = wav2vec2(width=WIDTH, stem_width=WIDTH, settings=WAV2VEC2)
    loss = run(objective.loss, params_of(objective), alone, (), DRAW)
    assert float(loss.parts["contrast"]) == pytest.approx(0.0, abs=1e-6)
