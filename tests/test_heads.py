import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.heads import (
    HeadForm,
    LayerStatistics,
    Pooling,
    apply_attentive_head,
    apply_head,
    init_head,
    layer_mixture,
    layer_statistics,
    pool_attentively,
    pool_frames,
    pool_spread,
)


def make_head():
    return init_head(jax.random.key(0), num_layers=3, width=4, hidden=5, num_outputs=6)


def test_the_mean_over_frames_leaves_out_invalid_ones_even_if_nan():
    hidden = jnp.arange(24.0).reshape(1, 2, 3, 4)
    mask = jnp.array([[True, True, False], [True, False, False]])
    poisoned = jnp.where(mask[None, :, :, None], hidden, jnp.nan)
    pooled = pool_frames(poisoned, mask)
    np.testing.assert_allclose(pooled[0, 0], hidden[0, 0, :2].mean(axis=0))
    np.testing.assert_allclose(pooled[1, 0], hidden[0, 1, 0])


def test_the_mean_of_many_frames_in_bfloat16_divides_by_their_exact_number():
    mask = jnp.arange(1499) < 1499
    pooled = pool_frames(jnp.ones((1, 1, 1499, 2), jnp.bfloat16), mask[None])
    np.testing.assert_array_equal(pooled, 1.0)


def test_pooling_before_mixing_equals_mixing_before_pooling():
    hidden = jax.random.normal(jax.random.key(1), (3, 2, 7, 4))
    mask = jnp.arange(7) < jnp.array([[7], [4]])
    mixture = layer_mixture({"layer_weights": jnp.array([0.3, -1.0, 2.0])}, num_layers=3)
    mixed_first = jnp.einsum("lbtd,l->btd", hidden, mixture)
    mixed_last = jnp.einsum("bld,l->bd", pool_frames(hidden, mask), mixture)
    for clip, frames in enumerate((7, 4)):
        np.testing.assert_allclose(
            mixed_first[clip, :frames].mean(axis=0), mixed_last[clip], atol=1e-6
        )


def test_statistics_put_training_clips_at_zero_mean_and_unit_variance():
    pooled = np.random.default_rng(0).normal(3, 7, (50, 2, 4)).astype(np.float32)
    statistics = layer_statistics(pooled)
    standardised = (pooled - statistics.mean) / statistics.std
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-5)


def test_a_constant_feature_stays_finite():
    statistics = layer_statistics(np.ones((5, 1, 2), np.float32))
    assert np.isfinite((np.ones((1, 2)) - statistics.mean) / statistics.std).all()


def test_the_mixture_starts_equal_and_sums_to_one():
    mixture = layer_mixture(make_head(), num_layers=3)
    np.testing.assert_allclose(mixture, np.full(3, 1 / 3), rtol=1e-6)


def test_the_whole_head_is_this_tree():
    shapes = jax.tree.map(jnp.shape, make_head())
    assert shapes == {
        "layer_weights": (3,),
        "projection": {"kernel": (4, 5), "bias": (5,)},
        "classifier": {"kernel": (5, 6), "bias": (6,)},
    }


@pytest.mark.parametrize(
    ("form", "between"),
    [
        (HeadForm.STANDARDISED, lambda x: np.maximum(x, 0)),
        (HeadForm.HUB_WEIGHTED, lambda x: x),
        (HeadForm.HUB_LAST, lambda x: x),
        (HeadForm.HUB_TANH, np.tanh),
    ],
)
def test_each_form_is_its_equation(form, between):
    pooled = np.random.default_rng(0).normal(1, 2, (6, 3, 4)).astype(np.float32)
    head = init_head(jax.random.key(0), num_layers=3, width=4, hidden=5, num_outputs=6, form=form)
    assert ("layer_weights" in head) == form.mixes_layers
    if form.mixes_layers:
        head["layer_weights"] = jnp.array([0.3, -1.0, 2.0])
        shares = np.exp([0.3, -1.0, 2.0]) / np.exp([0.3, -1.0, 2.0]).sum()
    else:
        shares = np.array([0.0, 0.0, 1.0])
    layers = pooled
    if form is HeadForm.STANDARDISED:
        layers = (pooled - pooled.mean(axis=0)) / pooled.std(axis=0)
    mixed = np.einsum("bld,l->bd", layers, shares)
    projected = between(mixed @ head["projection"]["kernel"] + head["projection"]["bias"])
    expected = projected @ head["classifier"]["kernel"] + head["classifier"]["bias"]
    statistics = layer_statistics(pooled, form)
    found = apply_head(head, jnp.asarray(pooled), statistics=statistics, form=form)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_dropout_acts_exactly_when_a_key_is_given():
    head, pooled = make_head(), jax.random.normal(jax.random.key(2), (4, 3, 4))
    statistics = LayerStatistics(jnp.zeros((3, 4)), jnp.ones((3, 4)))

    def logits(**options):
        return apply_head(head, pooled, statistics=statistics, dropout_rate=0.5, **options)

    np.testing.assert_array_equal(logits(), logits())
    assert not np.allclose(logits(), logits(dropout_key=jax.random.key(0)))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_logits_do_not_depend_on_a_layers_scale(scale):
    pooled = jax.random.normal(jax.random.key(3), (9, 3, 4)) * jnp.array([1, scale, 1])[:, None]
    statistics = layer_statistics(np.asarray(pooled))
    reference = pooled / jnp.array([1, scale, 1])[:, None]
    expected = apply_head(
        make_head(), reference, statistics=layer_statistics(np.asarray(reference))
    )
    found = apply_head(make_head(), pooled, statistics=statistics)
    np.testing.assert_allclose(found, expected, atol=1e-4)


# Deviations and attention -------------------------------------------------------------------


def frames_with_padding():
    """(valid frames of two clips, both padded to 9 frames with NaN, the mask)"""
    draw = np.random.default_rng(0)
    clips = [draw.normal(2, 3, (frames, 4)).astype(np.float32) for frames in (7, 4)]
    padded = np.full((2, 9, 4), np.nan, np.float32)
    for place, clip in enumerate(clips):
        padded[place, : len(clip)] = clip
    return clips, jnp.asarray(padded), jnp.arange(9) < jnp.array([[7], [4]])


def test_deviations_are_over_valid_frames_alone():
    clips, padded, mask = frames_with_padding()
    found = pool_spread(padded[None], mask)[:, 0]
    np.testing.assert_allclose(found, [clip.std(axis=0) for clip in clips], rtol=1e-5)


def random_attention():
    draw = np.random.default_rng(1)
    return jax.tree.map(
        lambda shape: jnp.asarray(draw.normal(size=shape), jnp.float32),
        {"projection": {"kernel": (4, 5), "bias": (5,)}, "score": (5,)},
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def test_attentive_statistics_are_okabes_equations():
    clips, padded, mask = frames_with_padding()
    attention = random_attention()
    kernel, bias = (np.asarray(attention["projection"][name]) for name in ("kernel", "bias"))
    found = pool_attentively(attention, padded, mask)
    for clip, pooled in zip(clips, found, strict=True):
        scores = np.tanh(clip @ kernel + bias) @ np.asarray(attention["score"])
        weight = np.exp(scores) / np.exp(scores).sum()
        mean = weight @ clip
        deviation = np.sqrt(weight @ clip**2 - mean**2)
        np.testing.assert_allclose(pooled, np.r_[mean, deviation], rtol=1e-4)


def test_an_untrained_attention_gives_plain_means_and_deviations():
    clips, padded, mask = frames_with_padding()
    head = init_head(
        jax.random.key(0),
        num_layers=1,
        width=4,
        hidden=5,
        num_outputs=6,
        pooling=Pooling.ATTENTIVE,
    )
    assert jax.tree.map(jnp.shape, head) == {
        "attention": {"projection": {"kernel": (4, 64), "bias": (64,)}, "score": (64,)},
        "layer_weights": (1,),
        "projection": {"kernel": (8, 5), "bias": (5,)},
        "classifier": {"kernel": (5, 6), "bias": (6,)},
    }
    found = pool_attentively(head["attention"], padded, mask)
    expected = [np.r_[clip.mean(axis=0), clip.std(axis=0)] for clip in clips]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_one_frame_has_a_finite_slope():
    frames, mask = jnp.ones((1, 1, 3, 4)), jnp.array([[True, False, False]])
    for slope in (
        jax.grad(lambda x: pool_spread(x, mask).sum())(frames),
        jax.grad(lambda x: pool_attentively(random_attention(), x[0], mask).sum())(frames),
    ):
        assert np.isfinite(slope).all()


def test_attention_pools_the_standardised_mixture_of_layers():
    hidden = jax.random.normal(jax.random.key(1), (3, 2, 7, 4))
    mask = jnp.arange(7) < jnp.array([[7], [4]])
    head = init_head(
        jax.random.key(0),
        num_layers=3,
        width=4,
        hidden=5,
        num_outputs=6,
        pooling=Pooling.ATTENTIVE,
    ) | {"layer_weights": jnp.array([0.3, -1.0, 2.0]), "attention": random_attention()}
    draw = np.random.default_rng(2)
    statistics = LayerStatistics(draw.normal(size=(3, 4)), draw.uniform(1, 2, (3, 4)))
    standardised = (hidden - statistics.mean[:, None, None]) / statistics.std[:, None, None]
    mixed = jnp.einsum("lbtd,l->btd", standardised, layer_mixture(head, num_layers=3))
    pooled = pool_attentively(head["attention"], mixed, mask)
    hidden_units = jax.nn.relu(pooled @ head["projection"]["kernel"])
    expected = hidden_units @ head["classifier"]["kernel"]
    found = apply_attentive_head(head, hidden, mask, statistics=statistics)
    np.testing.assert_allclose(found, expected, atol=1e-5)
