"""Learning rates that fall from layer to layer, and layers that are released one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxemo.peft import make_method
from jaxemo.peft.method import LayerRates, flatten
from jaxemo.training.optim import by_layer, make_optimiser

RECIPE = {"weight_decay": 0.0, "clip_norm": 1e6}
NUM_LAYERS = 3


def trainable():
    kernel = {"kernel": jnp.ones((2, 2))}
    layers = {str(index): {"attention": {"q_proj": kernel}} for index in range(NUM_LAYERS)}
    encoder = {"layers": layers, "pos_conv_embed": {"conv": kernel}}
    return {"adaptation": {"encoder": encoder}, "head": {"classifier": kernel}}


def moves(optimiser, *, steps):
    """How far each leaf moved in each step, at a rate of 1 under the gradient 1; the head last."""
    tree = trainable()
    state = optimiser.init(tree)
    rows = []
    for _ in range(steps):
        gradient = jax.tree.map(jnp.ones_like, tree)
        updates, state = optimiser.update(gradient, state, tree)
        flat = flatten(updates)
        order = sorted(flat, key=lambda path: (path.startswith("head"), "layers" in path, path))
        rows.append([float(-flat[path][0, 0]) for path in order])
        tree = optax.apply_updates(tree, updates)
    return np.array(rows)


def test_rates_fall_by_the_same_factor_from_layer_to_layer():
    optimiser = make_optimiser(**RECIPE, layer_rates=LayerRates(decay=0.5))
    # What belongs to no layer, then layers from the lowest on, then the head.
    expected = [[1 / 8, 1 / 4, 1 / 2, 1, 1]]
    np.testing.assert_allclose(moves(optimiser, steps=1), expected, rtol=1e-5)


def test_layers_are_released_from_the_uppermost_down_after_the_head_alone():
    optimiser = make_optimiser(**RECIPE, layer_rates=LayerRates(unfreeze_steps=2))
    moved = moves(optimiser, steps=9) > 0
    released = moved.argmax(axis=0).tolist()
    assert released == [8, 6, 4, 2, 0]
    assert all(moved[step:, leaf].all() for leaf, step in enumerate(released))


def test_a_layer_that_waits_is_bit_unchanged_though_weights_decay():
    recipe = RECIPE | {"weight_decay": 0.1}
    optimiser = make_optimiser(**recipe, layer_rates=LayerRates(unfreeze_steps=3))
    assert (moves(optimiser, steps=3)[:, :4] == 0).all()


def test_the_gradient_of_a_waiting_layer_does_not_count_in_the_clipped_norm():
    clipped = by_layer(optax.clip_by_global_norm(1.0), LayerRates(unfreeze_steps=1))
    # The head's kernel of four ones has norm 2.
    np.testing.assert_allclose(moves(clipped, steps=1)[0], [0, 0, 0, 0, -0.5], rtol=1e-6)


def test_without_rates_by_layer_the_optimiser_is_the_plain_one():
    plain, falling = (make_optimiser(**RECIPE, layer_rates=r) for r in (None, LayerRates()))
    np.testing.assert_array_equal(moves(plain, steps=3), moves(falling, steps=3))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"layer_decay": 0.9}, LayerRates(0.9, 0)),
        ({"unfreeze_steps": 5}, LayerRates(1.0, 5)),
    ],
)
def test_full_fine_tuning_hands_its_rates_on(options, expected):
    assert make_method("full", **options).layer_rates == expected
