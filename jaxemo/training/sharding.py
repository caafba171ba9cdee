"""Where every array lives: a mesh with axes data, fsdp and tensor, and sharding rules as data.

A rule is (regular expression over the parameter path, PartitionSpec); the first match wins. One device
is the trivial mesh, so that a laptop and a pod run the same program.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp", "tensor")
Rule = tuple[str, PartitionSpec]

# Dense kernels: the inner width of a block over `tensor` (column-, then row-parallel, one all-reduce a
# block), the other side over `fsdp`. Everything small is replicated.
PARAMETER_RULES: tuple[Rule, ...] = (
    (r".*/(q_proj|k_proj|v_proj|intermediate_dense)/kernel$", PartitionSpec("fsdp", "tensor")),
    (r".*/(out_proj|output_dense)/kernel$", PartitionSpec("tensor", "fsdp")),
    (r".*", PartitionSpec()),
)


def make_mesh(
    devices: Sequence[jax.Device] | None = None, *, data: int = -1, fsdp: int = 1, tensor: int = 1
) -> Mesh:
    """A mesh over all (or the given) devices; `data=-1` takes what the other axes leave.

    Raises:
      ValueError: When the axes' product is not the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    if data == -1:
        data = len(devices) // (fsdp * tensor)
    if data * fsdp * tensor != len(devices):
        raise ValueError(
            f"Mesh data={data} x fsdp={fsdp} x tensor={tensor} needs {data * fsdp * tensor} devices; "
            f"there are {len(devices)}."
        )
    # Auto axes: under Explicit ones (jax's default since 0.7) contracting a sharded axis raises.
    return jax.make_mesh(
        (data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading (batch) axis over data and fsdp together."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(mesh: Mesh, batch_size: int) -> None:
    """Raises ValueError when the batch does not divide over the mesh."""
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % ways:
        raise ValueError(
            f"A batch of {batch_size} does not divide over data x fsdp = {ways} devices; "
            f"take a multiple of {ways}."
        )


def tree_shardings(tree: Any, mesh: Mesh, *, rules: Sequence[Rule] = PARAMETER_RULES) -> Any:
    """A tree of NamedSharding, one a leaf, by the first rule whose pattern matches the leaf's path.

    Optimiser states work too: their paths end in the parameter's own path.

    Raises:
      ValueError: When no rule matches, or an axis does not divide the dimension it shards.
    """

    def sharding(key_path: tuple, leaf: Any) -> NamedSharding:
        path = jax.tree_util.keystr(key_path, simple=True, separator="/")
        for pattern, spec in rules:
            if re.match(pattern, path):
                _check_divides(path, leaf.shape, spec, mesh)
                return NamedSharding(mesh, spec)
        raise ValueError(f"No sharding rule matches parameter {path!r}.")

    return jax.tree_util.tree_map_with_path(sharding, tree)


def _check_divides(path: str, shape: tuple[int, ...], spec: PartitionSpec, mesh: Mesh) -> None:
    for size, axis in zip(shape, spec, strict=False):
        if axis is not None and size % mesh.shape[axis]:
            raise ValueError(
                f"Parameter {path!r} of shape {shape} does not divide over {mesh.shape[axis]} devices "
                f"of mesh axis {axis!r}; choose a divisor of {size}."
            )
