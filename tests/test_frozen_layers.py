"""Layers below all that is trained: the same every time, and so computed once for each clip."""

import dataclasses

import jax
import numpy as np
import pytest
from test_runs import LABELS, Problem, assert_equal_fits, program_of, three_runs
from tiny_encoders import CONFIGS, FAST_COMPILATION, tiny_encoder

from jaxemo.embedding.frames import StemFrames
from jaxemo.models.encoder import AudioEncoder
from jaxemo.models.heads import pool_frames
from jaxemo.peft import make_method
from jaxemo.peft.targets import lowest_layer
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.frozen_part import kept_for
from jaxemo.training.features import Examples, LowerLayerFeatures
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Network

# The same products in another program; XLA fuses them differently.
CONTINUED_TOLERANCE = 2e-6


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("wavlm", "pre_norm") else [pytest.mark.slow])
        for kind in CONFIGS
    ],
)
def test_going_on_from_a_layer_gives_what_the_whole_encoder_gives_dropout_included(kind):
    tiny = tiny_encoder(kind)
    config = dataclasses.replace(
        tiny.module.config, hidden_dropout=0.2, activation_dropout=0.2, layerdrop=0.3
    )
    module, variables = AudioEncoder(config), {"params": tiny.base}
    how = {"deterministic": False, "rngs": {"dropout": jax.random.key(5)}}

    def both(features, mask):
        whole = module.apply(
            variables, features, mask, frozen_layers=1, method="contextualise", **how
        )
        above = module.apply(variables, whole[1], mask, first_layer=1, method="upper_layers", **how)
        still = module.apply(variables, features, mask, method="contextualise")
        return whole, above, still

    compile_it = jax.jit(both, compiler_options=FAST_COMPILATION)
    whole, above, still = compile_it(tiny.features, tiny.frame_mask)
    valid = np.asarray(tiny.frame_mask)
    for one, other in ((above[0], whole[2]), (whole[0], still[0]), (whole[1], still[1])):
        np.testing.assert_allclose(one[valid], other[valid], atol=CONTINUED_TOLERANCE)
    assert above.shape[0] == 1
    assert not np.allclose(whole[2][valid], still[2][valid], atol=1e-2)


def test_padding_does_not_change_what_upper_layers_give():
    tiny = tiny_encoder("wavlm")

    def above(hidden):
        return tiny.module.apply(
            {"params": tiny.base}, hidden, tiny.frame_mask, first_layer=1, method="upper_layers"
        )

    hidden = np.random.default_rng(0).standard_normal((*tiny.frame_mask.shape, 8), np.float32)
    spoilt = np.where(tiny.frame_mask[:, :, None], hidden, np.nan)
    one, other = jax.jit(lambda *both: [above(h) for h in both])(hidden, spoilt)
    valid = np.asarray(tiny.frame_mask)
    np.testing.assert_array_equal(one[0][valid], other[0][valid])


def test_cached_layers_train_what_the_stem_trains(small_encoder, stems):
    module, params = small_encoder
    problem = Problem(
        Network(module, make_method("top_layers", layers=1), 8, 0.3, 3), params, stems
    )
    contextualise = jax.jit(
        lambda *stem: module.apply({"params": params}, *stem, method="contextualise")
    )
    hidden = contextualise(*stems)

    def as_stored(batch):
        masked = zip(batch, stems.frame_mask, strict=True)
        return StemFrames([np.asarray(frames)[mask] for frames, mask in masked])

    lower = LowerLayerFeatures(
        np.asarray(pool_frames(hidden[:2], stems.frame_mask)), as_stored(hidden[1])
    )
    program = program_of(problem)
    from_stem, from_layers = (
        fit_runs(program, problem.base, Examples(features, LABELS), three_runs()[:2])
        for features in (as_stored(stems.features), lower)
    )
    assert_equal_fits(from_layers, from_stem)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("top_layers", {"layers": 1}, 1),
        ("top_layers", {"layers": 2}, 0),
        ("lora", {}, 0),
        ("lora", {"layer_ranks": (0, 4)}, 1),
        ("bitfit", {}, 0),
        ("full", {}, 0),
        ("weighted_sum", {}, 0),
        (
            "combined",
            {
                "parts": ("lora", "ia3"),
                "options": {"lora": {"layer_ranks": (0, 4)}},
            },
            0,
        ),
    ],
)
def test_the_lowest_trained_layer_follows_from_what_is_trained(
    name, options, expected, small_encoder
):
    method = make_method(name, **options)
    shapes = jax.eval_shape(method.init, jax.random.key(0), small_encoder[1])
    assert lowest_layer(shapes) == expected


def test_parts_that_lie_in_upper_layers_alone_leave_the_lower_ones_frozen():
    trained = {
        "lora": {"encoder": {"layers": {"3": {"a": 0}}}},
        "x": {"encoder": {"layers": {"2": {"b": 0}}}},
    }
    assert lowest_layer(trained) == 2


@pytest.mark.parametrize(
    ("changes", "seconds", "reason"),
    [
        ({}, 5.0, ""),
        ({"training.keep_frozen": "stem"}, 5.0, "keep_frozen"),
        ({"audio.excerpt": "random"}, 5.0, "stretches"),
        ({"augmentation.frame_mask_share": 0.1}, 5.0, "augmentation"),
        ({"augmentation.speed": (0.9, 1.1)}, 5.0, "augmentation"),
        ({}, 31.0, "window_seconds"),
        ({"audio.excerpt": "middle"}, 31.0, ""),
    ],
)
def test_frozen_layers_are_kept_where_they_are_the_same_in_every_step(
    changes, seconds, reason, small_encoder
):
    config = default_config()
    config.update_from_flattened_dict(changes)
    method = make_method("top_layers", layers=1)
    found = kept_for(method, small_encoder[1], read_settings(config), longest_seconds=seconds)
    assert found.frozen_layers == 1
    assert found.layer == (0 if reason else 1)
    assert reason in found.reason and bool(found.reason) == bool(reason)
