"""A grid of settings: one model per point, those of one shape as one program.

    DIR/points/<settings>/checkpoint/     the model
    DIR/points/<settings>/results.json    its figures

Points that differ in seed, fold and learning rates alone share a program; every point can be taken up again
where it was killed, and a point that is there is not trained again.
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
from jaxemo.studies.recognition import HEADLINES
from jaxemo.studies.resuming import Unfinished
from jaxemo.studies.train import keys_of_runs, train_models
from jaxemo.studies.watching import LogEpoch

# Over which a table takes the mean.
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
        of_runs = keys_of_runs(self.settings.train.method)
        return tuple(item for item in self.values.items() if item[0] not in of_runs)

    @property
    def name(self) -> str:
        """What it shares with its other seeds and folds, for people: `lora.rank=8`."""
        return (
            ", ".join(
                f"{key.removeprefix('methods.')}={value}"
                for key, value in self.values.items()
                if key not in _REPLICATED
            )
            or "as the config says"
        )


def grid_points(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """All combinations of the values; points that can be trained together are neighbours."""
    keys = sorted(grid, key=lambda key: (key in _REPLICATED, key.endswith("_rate")))
    combinations = itertools.product(*(grid[key] for key in keys))
    return [dict(zip(keys, values, strict=True)) for values in combinations]


def share_of(points: Sequence[Any], shard: tuple[int, int]) -> Sequence[Any]:
    """The points of one of n processes: number 1 to n, as many as any other or one more."""
    number, count = shard
    ends = [len(points) * place // count for place in (number - 1, number)]
    return points[ends[0] : ends[1]]


def check_names(points: Sequence[Point]) -> None:
    """Raises ValueError where two points would go to one folder, or are the same settings."""
    names: dict[str, Point] = {}
    settings: dict[Settings, Point] = {}
    for point in points:
        other = names.setdefault(point.folder, point)
        if other is not point:
            raise ValueError(
                f"--grid gives {dict(other.values)} and {dict(point.values)}, which have one name "
                f"({point.folder}); give each value once."
            )
        other = settings.setdefault(point.settings, point)
        if other is not point:
            raise ValueError(
                f"--grid gives {dict(other.values)} and {dict(point.values)}, which mean the same; "
                "give each value once."
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
            {workdir / "points" / point.folder / "checkpoint": point.settings for point in alike},
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
    headline = (domain, HEADLINES[record["objective"]], "all")
    [scored] = [row for row in figures if (row.domain, row.metric, row.emotion) == headline]
    return SweepRow(
        encoder=record["encoder"]["name"],
        origin=record["encoder"]["origin"],
        method=record["method"]["name"],
        domain=domain,
        point=point.name,
        seed=point.settings.train.seed,
        fold=point.settings.train.fold,
        dev_score=max(epoch["dev_score"] for epoch in record["history"]),
        mean=scored.mean,
        n=scored.n,
        trainable_parameters=record["trainable_parameters"],
    )
