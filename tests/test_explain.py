"""What a step is said to be is what it is: parameters, memory and messages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_training import NUM_CLASSES, accuracy

from jaxemo.cli.main import main
from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import AudioEncoder
from jaxemo.models.heads import layer_statistics
from jaxemo.peft import make_method
from jaxemo.training.explain import Collective, collectives_in, explain_step
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.model import Network
from jaxemo.training.objectives import emotion_classes
from jaxemo.training.program import TrainingSettings, make_program
from jaxemo.training.sharding import make_mesh

# Wide beside its eight short clips, so that a kernel is larger than what a device computes with it.
WIDTH, INNER = 64, 256
NUM_LAYERS = 2
LAYER_BYTES = (4 * WIDTH**2 + 2 * WIDTH * INNER) * 4
KERNELS_BYTES = NUM_LAYERS * LAYER_BYTES


def encoder_of(num_layers):
    return AudioEncoder(
        EncoderConfig(
            hidden_size=WIDTH,
            num_hidden_layers=num_layers,
            num_attention_heads=8,
            intermediate_size=INNER,
            conv_dim=(8,) * 7,
            pos_conv_taps=8,
            pos_conv_groups=2,
        )
    )


@pytest.fixture(scope="module")
def wide():
    """(module, params, stem features of eight clips)."""
    module = encoder_of(NUM_LAYERS)
    lengths = jnp.full(8, 1500)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 800)), lengths[:1] * 0 + 800)
    stem = jax.jit(functools.partial(module.apply, method="stem"))
    waveform = jax.random.normal(jax.random.key(1), (8, 1500))
    return module, params["params"], jax.tree.map(np.asarray, stem(params, waveform, lengths))


def explain(wide, name, **axes):
    module, params, stem = wide
    program = make_program(
        Network(module, make_method(name), 8, 0.0, NUM_CLASSES),
        emotion_classes(NUM_CLASSES, score=accuracy),
        TrainingSettings(batch_size=8),
        mesh=make_mesh(**axes),
    )
    num_states = module.config.num_hidden_layers + 1
    statistics = layer_statistics(np.ones((8, num_states, WIDTH), np.float32))
    examples = Examples(DenseFeatures(stem, table_bytes=0), np.arange(8) % NUM_CLASSES)
    return explain_step(program, params, examples, statistics)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("axes", "split"),
    [({"data": 8}, 1), ({"data": 1, "fsdp": 8}, 8), ({"data": 1, "tensor": 8}, 8)],
)
def test_a_device_is_given_its_part_of_every_kernel_and_no_more(wide, axes, split):
    found = explain(wide, "lora", **axes)
    kernels = [
        place
        for place in found.placements
        if place.path.startswith("base/encoder/layers") and place.path.endswith("kernel")
    ]
    assert len(kernels) == 6 * NUM_LAYERS
    assert sum(place.bytes_per_device for place in kernels) == KERNELS_BYTES // split
    # The step's arguments as the compiler counts them: of those parameters all that it reads (the stem is
    # done), two moments of what is trained and, smaller than one kernel, the batch and its statistics.
    placed = sum(place.bytes_per_device for place in found.placements)
    trained = sum(p.bytes_per_device for p in found.placements if p.path.startswith("trainable"))
    assert found.memory.arguments <= placed + 2 * trained + 4 * WIDTH**2
    assert found.memory.arguments >= KERNELS_BYTES // split


@pytest.mark.slow
def test_no_kernel_is_put_together_where_the_tensor_axis_splits_it(wide):
    found = explain(wide, "lora", data=1, tensor=8)
    assert max(one.largest for one in found.collectives if one.kind == "all-gather") < WIDTH**2 * 4
    whole = explain(wide, "lora", data=8)
    assert found.memory.arguments < whole.memory.arguments - KERNELS_BYTES // 2


@pytest.mark.slow
def test_the_fsdp_axis_puts_one_kernel_together_at_a_time(wide):
    found = explain(wide, "lora", data=1, fsdp=8)
    gathered = {one.kind: one for one in found.collectives}["all-gather"]
    assert gathered.largest == WIDTH * INNER * 4
    assert gathered.num_bytes >= KERNELS_BYTES


@pytest.mark.slow
def test_no_whole_kernel_is_kept_from_the_forward_to_the_backward_pass(wide):
    """Of six layers a device holds less beside its own part than the kernels of one, put together."""
    stem = wide[2]
    deep = encoder_of(6)
    inputs = jnp.zeros((1, 800)), jnp.full(1, 800)
    params = jax.eval_shape(deep.init, jax.random.key(0), *inputs)["params"]
    split, whole = (
        explain((deep, params, stem), "lora", **axes).memory.temporaries
        for axes in ({"data": 1, "fsdp": 8}, {"data": 8})
    )
    assert split < whole + LAYER_BYTES


PROGRAM = """HloModule jit_steps

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(f32[] %x, f32[] %y)
}

%body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %all-gather.1 = f32[4,8]{1,0} all-gather(f32[1,8]{1,0} %part), channel_id=1, dimensions={0}
  ROOT %pair = (s32[], f32[4,8]) tuple(%i, %all-gather.1)
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %all-reduce.2 = (f32[3]{0}, bf16[2]{0}) all-reduce(%a, %b), channel_id=2, to_apply=%add
  %all-reduce-start = f32[5]{0} all-reduce-start(%c), channel_id=3, to_apply=%add
  %all-reduce-done = f32[5]{0} all-reduce-done(%all-reduce-start)
  %all-gather-start = (f32[1]{0}, f32[8]{0}) all-gather-start(%d), channel_id=4
  %all-gather-done = f32[8]{0} all-gather-done(%all-gather-start)
  %while = (s32[], f32[4,8]) while(%init), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_messages_in_a_loop_count_as_often_as_it_goes_round():
    assert collectives_in(PROGRAM) == (
        Collective("all-gather", 1 + 3, 8 * 4 + 3 * 128, 128),
        Collective("all-reduce", 2, 3 * 4 + 2 * 2 + 5 * 4, 20),
    )


def test_one_device_sends_nothing():
    text = jax.jit(lambda x: jnp.sum(x * 2)).lower(jnp.ones(4)).compile().as_text()
    assert collectives_in(text) == ()


@pytest.mark.slow
def test_train_explains_and_trains_nothing(tiny_config, cache, tmp_path, capsys):
    words = [tiny_config, cache, f"--workdir={tmp_path}", "--explain", "--config.mesh.fsdp=2"]
    assert main(["train", *words]) == 0
    printed = capsys.readouterr().out
    assert "base/encoder/layers/0/attention/q_proj/kernel" in printed
    assert "fsdp,tensor" in printed
    assert "memory of a step on each device" in printed
    assert not list(tmp_path.iterdir())
