"""Where every array lives: a mesh with axes run, data, fsdp and tensor, and sharding rules as data.

A rule is (regular expression over the parameter path, PartitionSpec); the first match wins. Trees that
belong to many runs are stacked: every leaf has the runs first, and the rule's spec comes behind. One
device is the trivial mesh, so that a laptop and a pod run the same program.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("run", "data", "fsdp", "tensor")
Rule = tuple[str, PartitionSpec]

# Dense kernels: the inner width of a block over `tensor` (column-, then row-parallel, one all-reduce
# per block), the other side over `fsdp`. Everything small is replicated.
PARAMETER_RULES: tuple[Rule, ...] = (
    (r".*/(q_proj|k_proj|v_proj|intermediate_dense)/kernel$", PartitionSpec("fsdp", "tensor")),
    (r".*/(out_proj|output_dense)/kernel$", PartitionSpec("tensor", "fsdp")),
    (r".*", PartitionSpec()),
)
# A batch's clips lie over both of these.
_BATCH_AXES = ("data", "fsdp")


def make_mesh(
    devices: Sequence[jax.Device] | None = None,
    *,
    run: int = 1,
    data: int = -1,
    fsdp: int = 1,
    tensor: int = 1,
) -> Mesh:
    """A mesh over all (or the given) devices; one axis may be -1, which takes what the others leave.

    Raises:
      ValueError: When the axes' product is not the number of devices, or two axes are -1.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes: dict[str, int] = dict(zip(AXES, (run, data, fsdp, tensor), strict=True))
    _check_sizes(sizes)
    fixed = math.prod(size for size in sizes.values() if size != -1)
    sizes = {axis: max(len(devices) // fixed, 1) if n == -1 else n for axis, n in sizes.items()}
    if (needed := math.prod(sizes.values())) != len(devices):
        described = " x ".join(f"{axis}={size}" for axis, size in sizes.items())
        raise ValueError(
            f"Mesh {described} needs {needed} devices; there are {len(devices)}. Change config.mesh."
        )
    # Auto axes: under Explicit ones (jax's default since 0.7) contracting a sharded axis raises.
    return jax.make_mesh(
        tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
    )


def pad_to_multiple(size: int, divisor: int) -> int:
    """The smallest multiple of `divisor` that is `size` or more."""
    return -(-size // divisor) * divisor


def batch_ways(mesh: Mesh) -> int:
    """Over how many devices the clips of a batch are spread."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def gathers_kernels(mesh: Mesh) -> bool:
    """Whether kernels are split and put together for their product."""
    return mesh.shape["fsdp"] > 1


def compiler_options(mesh: Mesh) -> dict[str, str] | None:
    """Of a program that reads sharded parameters; None for the defaults.

    XLA orders a program on CPUs so that as much as possible runs at once, which puts the kernels of all
    layers together at its start.
    """
    if not gathers_kernels(mesh) or mesh.devices.flat[0].platform != "cpu":
        return None
    return {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def placed(tree: Any, shardings: Any) -> Any:
    """A tree on the devices of its shardings; each process gives its own devices their part.

    Args:
      tree: Arrays on this host, the same in every process; keys may be among them.
      shardings: A tree of shardings of the same structure.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)
    return jax.tree.map(_placed, tree, shardings)


def _placed(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_placed(jax.random.key_data(leaf), sharding))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)


def tree_shardings(tree: Any, mesh: Mesh, *, rules: Sequence[Rule] = PARAMETER_RULES) -> Any:
    """A tree of NamedSharding, one per leaf, by the first rule whose pattern matches the leaf's path.

    Raises:
      ValueError: When no rule matches, the rule's spec is not of the leaf's rank, or an axis does not
        divide the dimension that it shards.
    """

    def sharding(key_path: tuple, leaf: Any) -> NamedSharding:
        path = path_name(key_path)
        _, spec = rule_of(path, rules)
        _check_fits(path, leaf.shape, spec, mesh)
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(sharding, tree)


def stacked_shardings(
    tree: Any, mesh: Mesh, *, num_runs: int, rules: Sequence[Rule] = PARAMETER_RULES
) -> Any:
    """As `tree_shardings`, for a tree whose leaves have one entry per run on their first axis.

    Optimiser states work too: their paths end in the parameter's own path.

    Raises:
      ValueError: As `tree_shardings`, and for a leaf whose first axis is not the runs.
    """

    def sharding(key_path: tuple, leaf: Any) -> NamedSharding:
        path = path_name(key_path)
        if leaf.ndim == 0 or leaf.shape[0] != num_runs:
            raise ValueError(
                f"Stacked parameter {path!r} has shape {leaf.shape}; expected {num_runs} runs on its "
                "first axis. Stack it, or place it as an unstacked tree."
            )
        _, spec = rule_of(path, rules)
        _check_fits(path, leaf.shape[1:], spec, mesh)
        _check_divides(path, leaf.shape[0], "run", mesh)
        return NamedSharding(mesh, PartitionSpec("run", *spec))

    return jax.tree_util.tree_map_with_path(sharding, tree)


def grid_shardings(tree: Any, mesh: Mesh) -> Any:
    """Shardings of a call's examples: leaves [S, R, ..., B] have the run axis second.

    Leaves of rank 2 hold one value per step and run; in all others axis 3 is the batch.
    """

    def sharding(leaf: Any) -> NamedSharding:
        if leaf.ndim == 2:
            return NamedSharding(mesh, PartitionSpec(None, "run"))
        return rows_sharding(mesh)

    return jax.tree.map(sharding, tree)


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """Of row numbers [S, R, M, B], and of all that leads with these axes."""
    return NamedSharding(mesh, PartitionSpec(None, "run", None, _BATCH_AXES))


def path_name(key_path: tuple) -> str:
    """A leaf's place in its tree, as rules match it: `encoder/layers/0/attention/q_proj/kernel`."""
    return jax.tree_util.keystr(key_path, simple=True, separator="/")


def rule_of(path: str, rules: Sequence[Rule] = PARAMETER_RULES) -> Rule:
    """The first rule whose pattern matches a leaf's path.

    Raises:
      ValueError: There is none.
    """
    for rule in rules:
        if re.match(rule[0], path):
            return rule
    raise ValueError(f"No sharding rule matches parameter {path!r}.")


def _check_fits(path: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    """An empty spec replicates any shape; any other one names every axis of its leaf."""
    if len(spec) not in (0, len(shape)):
        raise ValueError(
            f"Parameter {path!r} has shape {shape}, but its rule {tuple(spec)} is for {len(spec)} axes. "
            "A tree of several runs is stacked, one of a single model is not."
        )
    for size, axis in zip(shape, spec, strict=False):  # An empty spec has no entries.
        if axis is not None:
            _check_divides(path, size, axis, mesh)


def _check_divides(path: str, size: int, axis: str, mesh: Mesh) -> None:
    if size % mesh.shape[axis]:
        raise ValueError(
            f"Parameter {path!r}: an axis of {size} does not divide over {mesh.shape[axis]} devices "
            f"of mesh axis {axis!r}; choose a divisor of {size}."
        )


def _check_sizes(sizes: Mapping[str, int]) -> None:
    wrong = {axis: size for axis, size in sizes.items() if size < 1 and size != -1}
    if wrong:
        raise ValueError(f"Mesh axes {wrong}: expected 1 or more, or -1 for what is left.")
    if list(sizes.values()).count(-1) > 1:
        raise ValueError(f"Mesh {sizes}: only one axis can take what is left (-1).")
