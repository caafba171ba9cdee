"""How many runs fit into memory at once, from the shapes of one."""

import os
from typing import Any

import jax
import numpy as np

from jaxemo.data.augmentation import Draw
from jaxemo.models.heads import LayerStatistics
from jaxemo.peft.method import Params
from jaxemo.training.features import Examples
from jaxemo.training.program import TrainingProgram

# The trainable tree, its best epoch, its gradient and Adam's two moments.
_TREES_PER_RUN = 5
# The rest is for the base, the inputs and what the compiler needs between the two passes.
_SHARE_OF_MEMORY = 0.5
# A CPU shares its memory with everything else, and gains little from more runs at a time.
_CPU_BYTES = 4 * 2**30
# Of a CPU's cache, what runs that train a head alone may fill. Their steps hold little arithmetic: with
# trees that stay in the cache from step to step they take two thirds of the time.
_CPU_CACHE_BYTES = 16 * 2**20


def runs_that_fit(
    program: TrainingProgram,
    base: Params,
    examples: Examples,
    statistics: LayerStatistics,
    *,
    memory_bytes: int | None = None,
) -> int:
    """Runs of a program that half of the devices' memory holds (2 GiB on a CPU); 1 at least.

    A run needs five trees of the trainable parameters' size, and what the forward pass of one
    micro-batch keeps for the backward pass, of which the frozen base is shared, unless something is
    merged into it that each run has of its own.

    Args:
      statistics: Of any run; its shapes count.
      memory_bytes: Of all devices; None to ask them.
    """
    network = program.network
    trainable = jax.eval_shape(network.init, jax.random.key(0), base, statistics)
    inherited = network.inherited_shapes(base)
    num_trees = _TREES_PER_RUN + (1 if program.settings.ema_decay else 0)
    trees = num_trees * _num_bytes(trainable) + _num_bytes(inherited)
    kept = _kept_bytes(program, base, examples, statistics, (trainable, inherited))
    if network.first_method is None:
        kept = max(kept - _num_bytes(base), 0)
    memory = _memory_of(program.mesh.devices.flat) if memory_bytes is None else memory_bytes
    return max(int(_SHARE_OF_MEMORY * memory / max(trees + kept, 1)), 1)


def runs_in_cache(
    program: TrainingProgram,
    base: Params,
    statistics: LayerStatistics,
    *,
    cache_bytes: int = _CPU_CACHE_BYTES,
) -> int | None:
    """Runs of a program that are fastest together on a CPU: those whose trees its cache holds.

    None, for as many as there are, on an accelerator and where a step runs through the encoder: its
    products take the time there. Never fewer than the mesh's run axis takes.

    Args:
      statistics: Of any run; its shapes count.
    """
    network, mesh = program.network, program.mesh
    if network.method.frozen_layers is not None or mesh.devices.flat[0].platform != "cpu":
        return None
    trainable = jax.eval_shape(network.init, jax.random.key(0), base, statistics)
    return max(cache_bytes // (_TREES_PER_RUN * _num_bytes(trainable)), mesh.shape["run"])


def _kept_bytes(
    program: TrainingProgram,
    base: Params,
    examples: Examples,
    statistics: LayerStatistics,
    own: Any,
) -> int:
    """Size of what the forward pass of one micro-batch keeps for the backward pass.

    Args:
      own: What the run trains, and what is merged into the base for it.
    """
    settings = program.settings
    rows = np.arange(settings.batch_size // settings.micro_batches) % len(examples.targets)
    inputs = examples.inputs.take(rows, draw=Draw(np.zeros_like(rows), 0))
    targets = examples.targets[rows]

    def backward(own: Any, inputs: Any, targets: jax.Array, key: jax.Array) -> Any:
        trainable, inherited = own
        own_base = program.network.own_base(base, inherited)

        def terms(trainable: Any) -> jax.Array:
            outputs = program.network.outputs(
                trainable, own_base, inputs, statistics=statistics, dropout_key=key
            )
            return program.objective.terms(outputs, targets)

        return jax.vjp(terms, trainable)[1]

    shapes = jax.eval_shape(backward, own, inputs, targets, jax.random.key(0))
    return _num_bytes(shapes)


def _num_bytes(tree: Any) -> int:
    return sum(leaf.size * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def _memory_of(devices: Any) -> int:
    """Memory of all devices, from this process's; those of a CPU are given a part of the host's."""
    devices = list(devices)
    own = [device for device in devices if device.process_index == jax.process_index()]
    limits = [(device.memory_stats() or {}).get("bytes_limit", 0) for device in own]
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (sum(limits) or min(host, _CPU_BYTES)) * len(devices) // len(own)
