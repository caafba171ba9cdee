import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.heads import (
    HeadForm,
    LayerStatistics,
    apply_head,
    init_head,
    layer_mixture,
    layer_statistics,
    pool_frames,
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
