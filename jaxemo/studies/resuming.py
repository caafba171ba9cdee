"""What a killed command need not do again: runs whose models are there, and runs that were saved midway.

A run is known by the hash of all that decides its result, so that nothing is taken over from another
config, corpus or encoder. Runs that were trained together are taken over together, since they would round
differently beside others.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxemo.models.heads import LayerStatistics
from jaxemo.peft.method import Params
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.record import read_model_record
from jaxemo.training.checkpoint import restore_state
from jaxemo.training.model import Network
from jaxemo.training.predict import TrainedModel
from jaxemo.training.processes import on_host, word_of_first
from jaxemo.training.program import TrainingProgram
from jaxemo.training.progress import EpochRecord
from jaxemo.training.sharding import tree_shardings
from jaxemo.training.snapshots import SnapshotFolder
from jaxemo.training.stack import FitResult, RunInputs

logger = logging.getLogger("jaxemo")

# Raise it when the same inputs train to other numbers than before.
TRAINING_VERSION = 4


def run_identity(experiment: Experiment, shared: dict[str, Any], inputs: RunInputs) -> str:
    """The hash of all that decides a run's result.

    Args:
      shared: What it has in common with the other runs of its method, as JSON has it.
      inputs: Its own part.
    """

    def clips(rows: np.ndarray) -> list[tuple[str, Any]]:
        return [(experiment.digests[row], experiment.labels[row].tolist()) for row in rows]

    own = {
        "version": TRAINING_VERSION,
        "seed": inputs.seed,
        "key": np.asarray(jax.random.key_data(inputs.key)).tolist(),
        "train": clips(inputs.train_rows),
        "dev": clips(inputs.dev_rows),
        "updates": inputs.num_updates,
        "rates": inputs.rates,
        "arrays": _digest_of((inputs.statistics, inputs.initial, inputs.inherited)),
    }
    return hashlib.sha256(json.dumps([shared, own], sort_keys=True).encode()).hexdigest()


def _digest_of(tree: Any) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def trained_before(
    folders: Sequence[Path], identities: Sequence[str], *, program: TrainingProgram, base: Any
) -> list[FitResult] | None:
    """The results of runs whose models are in their folders; None unless all of them are."""
    records = [_record_of(folder, run) for folder, run in zip(folders, identities, strict=True)]
    if not word_of_first(None not in records):
        return None
    if None in records:
        raise ValueError(
            "The first process finds the models of runs that were trained before, and this one does "
            "not; expected a --workdir on storage that all processes share."
        )
    logger.info("%d runs were trained before and are taken from their models", len(folders))
    return [
        _result(folder, record, program, base)
        for folder, record in zip(folders, records, strict=True)
        if record is not None
    ]


def _record_of(folder: Path, identity: str) -> dict[str, Any] | None:
    """The record of a model that is this run's; None where there is none or it cannot be used."""
    if not folder.is_dir():
        return None
    try:
        record = read_model_record(folder)
    except ValueError as error:
        logger.warning("%s; its run is trained again", error)
        return None
    return record if record["identity"] == identity else None


def _result(folder: Path, record: dict[str, Any], program: TrainingProgram, base: Any) -> FitResult:
    model = restore_model(folder, record, program.network, base, mesh=program.mesh)
    history = tuple(EpochRecord(**epoch) for epoch in record["history"])
    return FitResult(on_host(model.trainable), record["best_epoch"], history)


def restore_model(
    folder: Path | str, record: dict[str, Any], network: Network, base: Params, *, mesh: Mesh
) -> TrainedModel:
    """What a run added to the base, from its checkpoint.

    Args:
      record: The checkpoint's.

    Raises:
      ValueError: The checkpoint is absent or damaged, or holds another tree.
    """
    shape = (record["head"]["num_layers"], record["head"]["num_features"])
    statistics = LayerStatistics(*(np.zeros(shape, np.float32) for _ in LayerStatistics._fields))
    trainable = jax.eval_shape(network.init, jax.random.key(0), base, statistics)
    like = {"trainable": trainable, "statistics": statistics._asdict()}
    if network.first_method is not None:
        like["inherited"] = network.inherited_shapes(base)
    state = restore_state(folder, like=like, shardings=tree_shardings(like, mesh))
    statistics = LayerStatistics(**state["statistics"])
    return TrainedModel(state["trainable"], statistics, state.get("inherited", ()))


UNFINISHED = "unfinished"


class Unfinished:
    """Where runs are saved while they are trained: a folder of the workdir."""

    def __init__(self, folder: Path, *, seconds: float) -> None:
        """`seconds` is the time between two snapshots."""
        self._folder = folder
        self._seconds = seconds
        self._open: list[SnapshotFolder] = []

    def snapshots(self, identities: Sequence[str]) -> SnapshotFolder:
        """Those of runs that are trained together."""
        name = hashlib.sha256("\n".join(identities).encode()).hexdigest()[:24]
        self._open.append(SnapshotFolder(self._folder / name, seconds=self._seconds))
        return self._open[-1]

    def forget(self) -> None:
        """Once the models of what was trained are on the disk."""
        for snapshots in self._open:
            snapshots.remove()
        self._open = []


def unfinished_runs(workdir: Path, config: Settings) -> Unfinished:
    """Those of the command that holds the workdir."""
    return Unfinished(workdir / UNFINISHED, seconds=float(config.training.save_seconds))
