"""Checkpoints: the trainable tree and its frozen statistics (orbax), and a record of everything else.

The record is JSON that suffices to rebuild the model in a new process: encoder source and fingerprint,
method, labels, audio settings. The base's own weights are never stored, only their fingerprint. Every
file is checked against its SHA-256 before anything is read, since a single flipped bit in a weight
changes predictions and nothing else.
"""

import json
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from jaxemo.data.checksums import SUMS_NAME, damaged_files, write_checksums
from jaxemo.data.files import make_folder, writing

logger = logging.getLogger("jaxemo")

_UNFINISHED = ".unfinished-"
_DEEPEST = 20
_RECORD = "record/metadata"  # Where orbax puts a JSON item.


def save_checkpoint(
    directory: Path | str, *, state: Any, record: dict[str, Any], keep: int = 1
) -> Path:
    """Writes `state` (a tree of arrays) and `record` (JSON values) into a new or existing directory.

    By this process alone, whatever others there are. The old content is replaced only once the new one
    is complete; the newest `keep` stay.

    Raises:
      ValueError: The state holds NaN or infinity.
    """
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    make_folder(directory)
    _check_finite(state, f"The model for {str(directory)!r}")
    old = sorted(_steps(directory))
    leftovers = list(directory.glob(f"{_UNFINISHED}*"))
    unfinished = directory / f"{_UNFINISHED}{uuid.uuid4().hex}"
    num_bytes = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state))
    with (
        writing(directory, num_bytes=num_bytes),
        _checkpointer() as checkpointer,
    ):
        checkpointer.save(
            unfinished,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.tree.map(np.asarray, state)),
                record=ocp.args.JsonSave(record),
            ),
        )
    write_checksums(unfinished)
    os.replace(unfinished, directory / str(max(old, default=-1) + 1))
    outdated = old[: max(len(old) + 1 - keep, 0)]
    for folder in (*(directory / str(step) for step in outdated), *leftovers):
        shutil.rmtree(folder)
    return directory


def newest_undamaged(directory: Path) -> Path | None:
    """The folder of the newest content that is as it was written; damaged ones are named in the log."""
    steps = _steps(directory) if directory.is_dir() else []
    for step in sorted(steps, reverse=True):
        folder = directory / str(step)
        faults = damaged_files(folder)
        if not faults:
            return folder
        logger.warning("%s is damaged and will not be used: %s", folder, "; ".join(faults))
    return None


def read_record(directory: Path | str) -> dict[str, Any]:
    """The JSON record of a checkpoint.

    Raises:
      ValueError: The directory is missing, holds no complete checkpoint, or a damaged one.
    """
    return record_in(_checked(directory))


def record_in(folder: Path) -> dict[str, Any]:
    """The record in a folder that has been checked; errors as `read_record`."""
    path = folder / _RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; the checkpoint has no record.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no record of a checkpoint: {error}") from error
    if not isinstance(record, dict) or _depth(record) > _DEEPEST:
        raise ValueError(
            f"{path} is no record of a checkpoint: expected an object of keys, at most {_DEEPEST} deep."
        )
    return record


def _depth(value: Any) -> int:
    """How deep objects and arrays lie in each other, told without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inside = [part.values() if isinstance(part, dict) else part for part in level]
        level = [one for part in inside for one in part if isinstance(one, dict | list)]
    return depth


def restore_state(directory: Path | str, *, like: Any, shardings: Any) -> Any:
    """The stored tree, placed by `shardings` whatever the mesh that wrote it.

    Args:
      like: A tree of arrays or `jax.ShapeDtypeStruct` of the structure that was saved.
      shardings: A tree of shardings of the same structure.

    Raises:
      ValueError: The directory holds no checkpoint, a damaged one, one of another structure, or
        one with NaN or infinity.
    """
    return state_in(_checked(directory), like=like, shardings=shardings)


def state_in(folder: Path, *, like: Any, shardings: Any) -> Any:
    """The tree in a folder that has been checked; arguments and errors as `restore_state`."""
    import orbax.checkpoint as ocp

    target = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        like,
        shardings,
    )
    try:
        with _checkpointer() as checkpointer:
            restored = checkpointer.restore(
                folder, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))
            )
    except Exception as error:
        # Files are whole by now, so the tree is another one; orbax says so in errors of any type.
        raise ValueError(
            f"{folder} does not hold the tree that its record describes: {error}"
        ) from error
    _check_finite(restored["state"], f"Checkpoint {str(folder)!r}")
    return restored["state"]


def _checkpointer() -> Any:
    """One that waits for no other process: each reads what its own devices hold, and one writes."""
    import orbax.checkpoint as ocp

    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process-{own}"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _checked(directory: Path | str) -> Path:
    """The folder of the newest checkpoint, all of its files as they were written."""
    directory = Path(directory).resolve()
    if not directory.is_dir():
        raise ValueError(f"Checkpoint {str(directory)!r}: no such directory.")
    steps = _steps(directory)
    if not steps:
        raise ValueError(
            f"{str(directory)!r} holds no checkpoint; expected a directory that `jaxemo train` or "
            "`jaxemo transfer` wrote (it contains a numbered folder with 'state' and 'record')."
        )
    folder = directory / str(max(steps))
    if not (folder / SUMS_NAME).is_file():
        raise ValueError(
            f"{folder} has no {SUMS_NAME}: it is incomplete, or an earlier jaxemo wrote it. Copy it "
            "again, or train the model again."
        )
    if faults := damaged_files(folder):
        raise ValueError(
            f"The checkpoint is damaged: {'; '.join(faults)}. Copy it again, or train the model again."
        )
    return folder


def _steps(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir() if path.name.isdecimal()]


def _check_finite(tree: Any, what: str) -> None:
    bad = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
        if not bool(jnp.isfinite(leaf).all())
    ]
    if bad:
        raise ValueError(f"{what} holds NaN or infinity in {', '.join(bad)}.")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")
