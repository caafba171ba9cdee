"""What a training step of one program will be on its mesh, told from shapes: nothing is trained.

Where every parameter lies and by which rule, what the compiled step needs of each device's memory, and
what its devices send each other.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxemo.data.augmentation import Draw
from jaxemo.models.heads import LayerStatistics
from jaxemo.peft.method import Params
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.optim import Rates
from jaxemo.training.program import TrainingProgram
from jaxemo.training.sharding import (
    batch_ways,
    grid_shardings,
    pad_to_multiple,
    path_name,
    replicated,
    rule_of,
    stacked_shardings,
    tree_shardings,
)
from jaxemo.training.step import Batch, Shared

# In the text of a compiled program, of one device: shapes are those of its own parts.
_COLLECTIVE = re.compile(
    r"= (?P<shapes>.*?) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_ARRAY = re.compile(r"(?P<dtype>[a-z]+[0-9]+\w*|pred)\[(?P<dims>[0-9,]*)\]")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"(?:body|to_apply|calls|true_computation|false_computation)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Placement(NamedTuple):
    """Where a parameter lies.

    Attributes:
      path: Its name, below `base` or `trainable`.
      shape: Of the whole; what is trained has the runs first.
      rule: The pattern of the rule that decides.
      spec: The mesh axis that each of its axes is split over; None where it is not.
      bytes_per_device: Of the part that a device holds.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    spec: tuple[Any, ...]
    bytes_per_device: int


class Memory(NamedTuple):
    """Bytes of one device, as the compiler counts them.

    Attributes:
      arguments: Parameters, optimiser state, batch and table.
      temporaries: What the step needs beside its arguments and results, at its peak.
      results: Of which `aliased` reuse the arguments' place.
    """

    arguments: int
    temporaries: int
    results: int
    aliased: int


class Collective(NamedTuple):
    """Messages of one kind between the devices of a mesh in one step.

    Attributes:
      kind: As XLA calls it, such as all-reduce.
      count: How many.
      num_bytes: Size of their results on one device, all together.
      largest: Of one of them.
    """

    kind: str
    count: int
    num_bytes: int
    largest: int


class Explanation(NamedTuple):
    """A training step before it is done."""

    placements: tuple[Placement, ...]
    memory: Memory
    collectives: tuple[Collective, ...]


def explain_step(
    program: TrainingProgram,
    base: Params,
    examples: Examples,
    statistics: LayerStatistics,
    *,
    num_runs: int = 1,
) -> Explanation:
    """Compiles one step of so many runs, of clips as long as the longest, without doing it.

    Args:
      base: Its shapes count.
      statistics: Of any run; its shapes count.

    Raises:
      ValueError: A parameter that no rule covers, or that the mesh does not divide.
    """
    mesh = program.mesh
    num_runs = pad_to_multiple(num_runs, mesh.shape["run"])
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), num_runs))
    stacked = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((num_runs, *leaf.shape), leaf.dtype), statistics
    )
    num_steps = jax.ShapeDtypeStruct((num_runs,), np.dtype(np.int32))
    rates = jax.eval_shape(lambda: Rates(*jnp.zeros((2, num_runs))))
    states = jax.eval_shape(program.init_runs, keys, stacked, base, num_steps, rates, None)
    states, stacked = (
        _on(tree, stacked_shardings(tree, mesh, num_runs=num_runs)) for tree in (states, stacked)
    )
    shared, batch = _inputs(program, base, examples, num_runs=num_runs)
    step = program.train_steps.lower(states, stacked, shared, batch, None, np.int32(1)).compile()
    sizes = step.memory_analysis()
    return Explanation(
        (*_placements(shared.base, "base"), *_placements(states.trainable, "trainable")),
        Memory(
            sizes.argument_size_in_bytes,
            sizes.temp_size_in_bytes,
            sizes.output_size_in_bytes,
            sizes.alias_size_in_bytes,
        ),
        collectives_in(step.as_text()),
    )


def _inputs(
    program: TrainingProgram, base: Params, examples: Examples, *, num_runs: int
) -> tuple[Shared, Batch]:
    """What a step reads and does not change, as shapes on the mesh."""
    mesh, settings = program.mesh, program.settings
    clips = pad_to_multiple(settings.batch_size // settings.micro_batches, batch_ways(mesh))
    leading = (1, num_runs, settings.micro_batches, clips)
    features, every = examples.inputs, np.arange(len(examples.targets))
    table = features.table() if isinstance(features, DenseFeatures) else None
    if table is None:
        one = features.take(every[:1], draw=Draw(every[:1], 0), beside=every)
        inputs = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*leading, *leaf.shape[1:]), leaf.dtype), one
        )
    else:
        inputs = jax.ShapeDtypeStruct(leading, np.dtype(np.int32))
    targets = jax.eval_shape(lambda: jnp.asarray(examples.targets[:1]))
    weight = jax.ShapeDtypeStruct(leading, np.dtype(np.float32))
    targets = jax.ShapeDtypeStruct((*leading, *targets.shape[1:]), targets.dtype)
    batch = (inputs, targets, weight)
    everywhere = jax.tree.map(lambda _: replicated(mesh), table)
    return (
        Shared(_on(base, tree_shardings(base, mesh)), _on(table, everywhere)),
        Batch(*_on(batch, grid_shardings(batch, mesh))),
    )


def _on(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings,
    )


def _placements(tree: Any, root: str) -> Iterator[Placement]:
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path, sharding = path_name(key_path), leaf.sharding
        assert isinstance(sharding, NamedSharding)
        part = math.prod(sharding.shard_shape(leaf.shape))
        yield Placement(
            f"{root}/{path}",
            leaf.shape,
            leaf.dtype.name,
            rule_of(path)[0],
            _padded(sharding.spec, len(leaf.shape)),
            part * leaf.dtype.itemsize,
        )


def _padded(spec: PartitionSpec, rank: int) -> tuple[Any, ...]:
    return (*spec, *[None] * (rank - len(spec)))


def collectives_in(text: str) -> tuple[Collective, ...]:
    """The messages of a compiled program, those in a loop as often as it goes round.

    Args:
      text: As `jax.stages.Compiled.as_text` gives it. A loop whose rounds the compiler does not know
        counts once.
    """
    lines: dict[str, list[str]] = {}
    name = entry = ""
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            name = match["name"]
            lines[name] = []
            entry = name if match["entry"] else entry
        elif name:
            lines[name].append(line)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for kind, num_bytes, times in _messages(lines, entry, 1):
        counts[kind] += times
        sizes[kind] += times * num_bytes
        largest[kind] = max(largest[kind], num_bytes)
    return tuple(
        Collective(kind, counts[kind], sizes[kind], largest[kind]) for kind in sorted(counts)
    )


def _messages(
    lines: dict[str, list[str]], computation: str, times: int
) -> Iterator[tuple[str, int, int]]:
    """(kind, bytes, how often) of every message that a computation leads to."""
    for line in lines.get(computation, ()):
        if match := _COLLECTIVE.search(line):
            yield match["kind"], _num_bytes(match["shapes"], match["kind"], line), times
            continue  # What it calls adds two numbers.
        trips = _TRIPS.search(line)
        for called in _CALLED.findall(line):
            yield from _messages(lines, called, times * (int(trips[1]) if trips else 1))


def _num_bytes(shapes: str, kind: str, line: str) -> int:
    sizes = [
        math.prod(int(size) for size in match["dims"].split(",") if size)
        * _itemsize(match["dtype"])
        for match in _ARRAY.finditer(shapes)
    ]
    # One that is started gives its operands before its results.
    if f"{kind}-start(" in line and kind != "all-reduce":
        return sum(sizes[len(sizes) // 2 :])
    return sum(sizes)


def _itemsize(dtype: str) -> int:
    """Bytes of an element, such as 4 of f32, 2 of bf16, 1 of pred and f8e4m3fn."""
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return 1 if bits is None else max(int(bits[1]) // 8, 1)
