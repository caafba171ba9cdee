"""A grid of settings: one model per point, those of one shape as one program.

    DIR/points/<settings>/checkpoint/     the model
    DIR/points/<settings>/results.json    its figures

Points that differ in seed and fold alone share a program; every point can be taken up again where it was
killed, and a point that is there is not trained again.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.data.progress import Progress
from jaxemo.results.checks import rows_from
from jaxemo.results.schema import SweepRow
from jaxemo.studies.config import Settings
from jaxemo.studies.resuming import Unfinished
from jaxemo.studies.train import Replicate, train_models
from jaxemo.studies.transfer import LogEpoch

# Keys that do not change the compiled program.
_REPLICATED = ("train.seed", "train.fold")


class Point(NamedTuple):
    """One point of the grid.

    Attributes:
      values: Full config keys with their values, in the order of the grid.
      settings: The config with these.
    """

    values: Mapping[str, str]
    settings: Settings

    @property
    def folder(self) -> str:
        """Its values as the name of a folder."""
        parts = (f"{key.rpartition('.')[2]}-{value}" for key, value in self.values.items())
        return re.sub(r"[^A-Za-z0-9._+-]+", "-", "+".join(parts)) or "single"

    @property
    def shape(self) -> tuple[tuple[str, str], ...]:
        """What it shares with the points that are trained beside it."""
        return tuple(item for item in self.values.items() if item[0] not in _REPLICATED)

    @property
    def name(self) -> str:
        """Its shape for people: `lora.rank=8`."""
        short = ((key.removeprefix("methods."), value) for key, value in self.shape)
        return ", ".join(f"{key}={value}" for key, value in short) or "as the config says"

    @property
    def replicate(self) -> Replicate:
        """Its seed and fold."""
        return Replicate(self.settings.train.seed, self.settings.train.fold)


def grid_points(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """All combinations of the values; points that can be trained together are neighbours."""
    keys = sorted(grid, key=lambda key: key in _REPLICATED)
    combinations = itertools.product(*(grid[key] for key in keys))
    return [dict(zip(keys, values, strict=True)) for values in combinations]


def share_of(points: Sequence[Any], shard: tuple[int, int]) -> Sequence[Any]:
    """The points of one of n processes: number 1 to n, as many as any other or one more."""
    number, count = shard
    ends = [len(points) * place // count for place in (number - 1, number)]
    return points[ends[0] : ends[1]]


def check_names(points: Sequence[Point]) -> None:
    """Raises ValueError where two points would go to one folder."""
    seen: dict[str, Point] = {}
    for point in points:
        other = seen.setdefault(point.folder, point)
        if other is not point:
            raise ValueError(
                f"--grid gives {dict(other.values)} and {dict(point.values)}, which have one name "
                f"({point.folder}); give each value once."
            )


def run_points(
    points: Sequence[Point],
    *,
    workdir: Path,
    unfinished: Unfinished,
    cache_dir: Path,
    progress: Progress,
    log_epoch: LogEpoch,
) -> Iterator[tuple[Point, dict[str, Any], SweepRow]]:
    """Trains the points, those of one shape together; gives each with its record and its row."""
    for _, group in itertools.groupby(points, key=lambda point: point.shape):
        alike = list(group)
        records = train_models(
            alike[0].settings,
            {point.replicate: workdir / "points" / point.folder / "checkpoint" for point in alike},
            unfinished=unfinished,
            cache_dir=cache_dir,
            progress=progress,
            log_epoch=log_epoch,
        )
        for point, record in zip(alike, records, strict=True):
            yield point, record, _row(point, record)


def _row(point: Point, record: dict[str, Any]) -> SweepRow:
    domain = record["training"]["domains"][0]
    figures = rows_from("figures", record["figures"])
    [scored] = [row for row in figures if (row.domain, row.metric) == (domain, "UA")]
    return SweepRow(
        encoder=record["encoder"]["name"],
        origin=record["encoder"]["origin"],
        method=record["method"]["name"],
        domain=domain,
        point=point.name,
        seed=point.replicate.seed,
        fold=point.replicate.fold,
        dev_score=max(epoch["dev_score"] for epoch in record["history"]),
        mean=scored.mean,
        n=scored.n,
        trainable_parameters=record["trainable_parameters"],
    )
