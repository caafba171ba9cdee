"""The state of a pre-training run on disk, and what the run says of itself on the way.

WORKDIR/state/ holds snapshots as `training.snapshots` has them; WORKDIR/curve.jsonl one record a line.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxemo.data.files import write_whole
from jaxemo.models.pretrained import Encoder
from jaxemo.pretraining.objectives.objective import Clips, Objective
from jaxemo.pretraining.program import Program, State
from jaxemo.pretraining.run import (
    Data,
    Progress,
    Record,
    progress_in,
    sample_clips,
    tree_of,
    tree_shapes,
)
from jaxemo.training.snapshots import Snapshot, SnapshotFolder

logger = logging.getLogger("jaxemo")

# Crops to which targets are fitted: 3 minutes of the default length for each 64.
_SAMPLE_CROPS = 256


class Fresh(NamedTuple):
    """What a run begins from."""

    program: Program
    objective: Objective
    encoder: Encoder
    data: Data
    seed: int

    def targets(self, sample: Clips) -> Any:
        key = jax.random.fold_in(jax.random.key(self.seed), 0)
        return self.objective.fit_targets(key, sample)

    def sample(self) -> Clips:
        return sample_clips(self.data, seed=self.seed, count=_SAMPLE_CROPS)

    def state_shapes(self) -> State:
        targets = jax.eval_shape(self.targets, self.sample())
        return jax.eval_shape(self.program.init, self.encoder.params, targets)

    def state(self) -> State:
        logger.info("fitting targets to %d crops", _SAMPLE_CROPS)
        return self.program.init(self.encoder.params, self.targets(self.sample()))


def snapshot_of(
    progress: Progress, records: list[dict[str, Any]], about: dict[str, Any]
) -> Snapshot:
    """What the same command goes on from."""
    # A copy: the snapshot is written while the run goes on.
    record = {"about": about, "records": list(records), "num_since": len(progress.since)}
    return Snapshot(tree_of(progress), record)


def resumed(
    snapshots: SnapshotFolder, fresh: Fresh, about: dict[str, Any]
) -> tuple[Progress, list[dict[str, Any]]]:
    """The newest snapshot of this run with its records, or step 0 with none."""
    shapes = fresh.state_shapes()

    def like(record: dict[str, Any]) -> Any:
        _check_same_run(record["about"], about, snapshots.folder)
        num_since = int(record["num_since"])
        return tree_shapes(fresh.program, shapes, fresh.data, num_since=num_since)

    found = snapshots.newest(like=like, shardings=fresh.program.shardings)
    if found is None:
        return Progress(fresh.state()), []
    progress = progress_in(found.state, fresh.program, fresh.data)
    steps = int(progress.state.step), about["num_steps"]
    logger.info("%s goes on at step %d of %d", snapshots.folder, *steps)
    return progress, found.record["records"]


def _check_same_run(stored: dict[str, Any], about: dict[str, Any], directory: Path) -> None:
    flat = [{**{k: d[k] for k in d if k != "pretrain"}, **d["pretrain"]} for d in (stored, about)]
    other = [key for key in flat[1] if flat[0].get(key) != flat[1][key]]
    if other:
        raise ValueError(
            f"{directory} holds the state of another run; it differs in {', '.join(other)}. Take "
            "another --workdir, or --replace to begin anew."
        )


def make_writers(
    workdir: Path, records: list[dict[str, Any]], *, num_steps: int
) -> tuple[Callable[[Record], None], Callable[[dict[str, Any]], None]]:
    """What the run is given to log with, and what notes other records; `records` grows."""

    def note(row: dict[str, Any]) -> None:
        records.append(row)
        write_whole(workdir / "curve.jsonl", "".join(json.dumps(row) + "\n" for row in records))

    def log(record: Record) -> None:
        note({**record._asdict(), "health": record.health._asdict()})
        logger.info(
            "step %d of %d, %s: loss %.4f, codes predicted %.1f of %.1f, spread %.3f",
            record.step,
            num_steps,
            record.part.replace("_", " "),
            record.loss,
            record.health.predicted_codes,
            record.health.target_codes,
            record.health.hidden_spread,
        )

    return log, note
