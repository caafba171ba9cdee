"""How many runs are trained at once where the config leaves it to the machine."""

import jax
import numpy as np
import pytest

from jaxemo.models.heads import layer_statistics
from jaxemo.peft import make_method
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.memory import runs_in_cache, runs_that_fit
from jaxemo.training.model import Network
from jaxemo.training.objectives import emotion_classes
from jaxemo.training.program import TrainingSettings, make_program
from jaxemo.training.sharding import make_mesh

MEGABYTE = 10**6


def make_small_program(module, method, *, num_devices=1, **recipe):
    return make_program(
        Network(module, method, 8, 0.1, 3),
        emotion_classes(3, score=lambda labels, probabilities: 0.0),
        TrainingSettings(**recipe),
        mesh=make_mesh(jax.devices()[:num_devices], run=num_devices),
    )


def fitting(small_encoder, stem_batch, name, *, memory_bytes=64 * MEGABYTE, **recipe):
    module, params = small_encoder
    method = make_method(name)
    pooled = np.zeros((8, 3, 16), np.float32)
    whole = method.frozen_layers is None
    inputs = pooled if whole else jax.tree.map(np.asarray, stem_batch)
    program = make_small_program(module, method, **recipe)
    return runs_that_fit(
        program,
        {} if whole else params,
        Examples(DenseFeatures(inputs), np.zeros(8, np.int32)),
        layer_statistics(pooled),
        memory_bytes=memory_bytes,
    )


@pytest.mark.parametrize("name", ["weighted_sum", "lora", "adapter", "full"])
def test_twice_the_memory_holds_twice_the_runs(name, small_encoder, stem_batch):
    once = fitting(small_encoder, stem_batch, name)
    twice = fitting(small_encoder, stem_batch, name, memory_bytes=128 * MEGABYTE)
    assert once > 1
    assert twice in (2 * once, 2 * once + 1)


def test_one_run_is_tried_however_little_memory_there_is(small_encoder, stem_batch):
    assert fitting(small_encoder, stem_batch, "full", memory_bytes=1) == 1


def test_smaller_pieces_of_a_batch_leave_room_for_more_runs(small_encoder, stem_batch):
    whole = fitting(small_encoder, stem_batch, "lora")
    pieces = fitting(small_encoder, stem_batch, "lora", micro_batches=4)
    assert pieces > 2 * whole


def test_the_frozen_base_is_counted_for_no_run(small_encoder, stem_batch):
    """Full fine-tuning carries five copies of what LoRA leaves alone."""
    params = sum(leaf.size for leaf in jax.tree.leaves(small_encoder[1]))
    assert params > 1000
    lora = fitting(small_encoder, stem_batch, "lora")
    assert lora > fitting(small_encoder, stem_batch, "full")


def test_the_machine_says_how_much_memory_it_has(small_encoder, stem_batch):
    assert fitting(small_encoder, stem_batch, "weighted_sum", memory_bytes=None) >= 1


def test_heads_alone_are_trained_as_many_together_as_the_cpus_cache_holds(small_encoder):
    module, _ = small_encoder
    program = make_small_program(module, make_method("weighted_sum"))
    statistics = layer_statistics(np.zeros((8, 3, 16), np.float32))
    # Layer weights, projection and classifier in float32; the tree, its gradient, two moments, the best.
    run_bytes = 5 * 4 * (3 + 16 * 8 + 8 + 8 * 3 + 3)
    assert runs_in_cache(program, {}, statistics, cache_bytes=6 * run_bytes) == 6
    assert runs_in_cache(program, {}, statistics, cache_bytes=6 * run_bytes - 1) == 5
    assert runs_in_cache(program, {}, statistics, cache_bytes=0) == 1


def test_the_meshs_run_axis_is_filled_whatever_the_cache(small_encoder):
    module, _ = small_encoder
    program = make_small_program(module, make_method("weighted_sum"), num_devices=4)
    statistics = layer_statistics(np.zeros((8, 3, 16), np.float32))
    assert runs_in_cache(program, {}, statistics, cache_bytes=0) == 4


def test_the_cache_sets_no_bound_where_steps_run_through_the_encoder(small_encoder):
    module, params = small_encoder
    statistics = layer_statistics(np.zeros((8, 3, 16), np.float32))
    for name in ("lora", "top_layers", "full"):
        program = make_small_program(module, make_method(name))
        assert runs_in_cache(program, params, statistics) is None
