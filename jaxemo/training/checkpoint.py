"""Checkpoints: the trainable tree and its frozen statistics (orbax), and a record of everything else.

The record is JSON that suffices to rebuild the model in a new process: encoder source and fingerprint,
method, labels, audio settings. The base's own weights are never stored, only their fingerprint.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

_STEP = 0  # A checkpoint directory holds one model; stepwise resume state gets its own manager.


def save_checkpoint(directory: Path | str, *, state: Any, record: dict[str, Any]) -> Path:
    """Writes `state` (a tree of arrays) and `record` (JSON values) into a new or existing directory.

    The old content is replaced only once the new one is complete.
    """
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    with ocp.CheckpointManager(directory, options=options) as manager:
        step = _STEP if manager.latest_step() is None else manager.latest_step() + 1
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.tree.map(np.asarray, state)),
                record=ocp.args.JsonSave(record),
            ),
        )
    return directory


def read_record(directory: Path | str) -> dict[str, Any]:
    """The JSON record of a checkpoint.

    Raises:
      ValueError: When the directory is missing or holds no complete checkpoint.
    """
    import orbax.checkpoint as ocp

    with _open(directory) as manager:
        restored = manager.restore(
            manager.latest_step(), args=ocp.args.Composite(record=ocp.args.JsonRestore())
        )
        return restored["record"]


def restore_state(directory: Path | str, *, like: Any, shardings: Any) -> Any:
    """The stored tree, placed by `shardings` whatever the mesh that wrote it.

    Args:
      like: A tree of arrays or `jax.ShapeDtypeStruct` of the structure that was saved.
      shardings: A tree of shardings of the same structure.

    Raises:
      ValueError: When the directory holds no checkpoint, or one of another structure.
    """
    import orbax.checkpoint as ocp

    target = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        like,
        shardings,
    )
    with _open(directory) as manager:
        restored = manager.restore(
            manager.latest_step(), args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
        )
        return restored["state"]


def _open(directory: Path | str):
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    if not directory.is_dir():
        raise ValueError(f"Checkpoint {str(directory)!r}: no such directory.")
    manager = ocp.CheckpointManager(directory, options=ocp.CheckpointManagerOptions(read_only=True))
    if manager.latest_step() is None:
        manager.close()
        raise ValueError(
            f"{str(directory)!r} holds no checkpoint; expected a directory that `jaxemo train` or "
            "`jaxemo transfer` wrote (it contains a numbered folder with 'state' and 'record')."
        )
    return manager
