"""What `jaxemo train` and `jaxemo sweep` do."""

import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxemo.cli.config_flags import changed_config, full_key
from jaxemo.cli.handlers import print_figures
from jaxemo.cli.progress import console
from jaxemo.cli.provenance import environment
from jaxemo.cli.session import earlier_results, session
from jaxemo.cli.workdir import continued_run
from jaxemo.report import summary_table, write_report
from jaxemo.results.checks import rows_from
from jaxemo.results.file import read_results, write_results
from jaxemo.studies.config import read_settings
from jaxemo.studies.overfit import in_words, overfit_clips
from jaxemo.studies.resuming import unfinished_runs
from jaxemo.studies.sweep import Point, check_names, grid_points, run_points, share_of
from jaxemo.studies.train import explain_model, train_models
from jaxemo.training.explain import Explanation
from jaxemo.training.logs import CurveLog
from jaxemo.training.processes import is_first


def train(*, config: ConfigDict, workdir: Path, replace: bool, explain: bool) -> None:
    """Trains one model and keeps it; or says what a step of it will be, or whether it can be fitted."""
    with session(config, workdir) as (settings, cache_dir):
        if explain or settings.debug.overfit:
            on = {"workdir": workdir, "cache_dir": cache_dir, "progress": console()}
            if explain:
                _print_explanation(explain_model(settings, **on))
            else:
                print(in_words(overfit_clips(settings, **on)))
            return
        context = environment(config)
        earlier = earlier_results(
            workdir, ("figures", "history"), config=context["config"], replace=replace
        )
        with (
            continued_run(workdir, context) as run_id,
            CurveLog(workdir / "logs", run_id=run_id) as log,
        ):
            [record] = train_models(
                {workdir / "checkpoint": settings},
                unfinished=unfinished_runs(workdir, settings),
                cache_dir=cache_dir,
                progress=console(),
                log_epoch=log.epoch,
            )
        provenance = context | {
            "corpus_hash": record["corpus"]["hash"],
            "encoders": [record["encoder"]],
            "runs": {"train": run_id},
        }
        results = {
            "figures": record["figures"],
            "history": record["history"],
            "provenance": provenance,
        }
        results = earlier.joined(results)
        if not is_first():
            return
        earlier.make_way()
        write_results(results, workdir / "results.json")
        print_figures(rows_from("figures", record["figures"]))
        print(workdir / "checkpoint")


def _print_explanation(explanation: Explanation) -> None:
    """Parameters, memory and messages of a step, one a line."""
    rows = [("parameter", "shape", "dtype", "split over", "bytes per device", "rule")]
    for place in explanation.placements:
        shape = "x".join(map(str, place.shape)) or "-"
        spec = ",".join("-" if axis is None else str(axis) for axis in place.spec) or "-"
        rows.append((place.path, shape, place.dtype, spec, str(place.bytes_per_device), place.rule))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    total = sum(place.bytes_per_device for place in explanation.placements)
    print(f"\n{len(explanation.placements)} parameters, {total} bytes on each device")
    print("\nmemory of a step on each device, in bytes:")
    for name, num_bytes in explanation.memory._asdict().items():
        print(f"  {name:<12} {num_bytes}")
    print("\nmessages of a step between devices, in bytes of results on each device:")
    for one in explanation.collectives:
        print(f"  {one.kind:<18} {one.count:>5} with {one.num_bytes}, the largest {one.largest}")
    if not explanation.collectives:
        print("  none")


def sweep(
    *, config: ConfigDict, grid: dict[str, tuple[str, ...]], shard: tuple[int, int], workdir: Path
) -> None:
    """Trains one model at each point of a grid."""
    if (overfit := read_settings(config).debug.overfit) != 0:
        raise ValueError(
            f"config.debug.overfit is {overfit}; expected 0, since a sweep keeps its models. "
            "It is for `jaxemo train`."
        )
    keys = {full_key(config, name): values for name, values in grid.items()}
    points = [
        Point(values, read_settings(changed_config(config, values))) for values in grid_points(keys)
    ]
    check_names(points)
    of_shard = workdir / "shards" / f"{shard[0]}-of-{shard[1]}"
    with session(config, of_shard) as (settings, cache_dir):
        context = environment(config)
        with (
            continued_run(of_shard, context) as run_id,
            CurveLog(of_shard / "logs", run_id=run_id) as log,
        ):
            for point, record, row in run_points(
                share_of(points, shard),
                workdir=workdir,
                unfinished=unfinished_runs(of_shard, settings),
                cache_dir=cache_dir,
                progress=console(),
                log_epoch=log.epoch,
            ):
                provenance = context | {
                    "config": json.loads(changed_config(config, point.values).to_json()),
                    "corpus_hash": record["corpus"]["hash"],
                    "encoders": [record["encoder"]],
                    "runs": {"train": run_id},
                }
                results = {
                    "figures": record["figures"],
                    "history": record["history"],
                    "sweep": [row],
                    "provenance": provenance,
                }
                if is_first():
                    write_results(results, workdir / "points" / point.folder / "results.json")
        if is_first():
            _join_points(points, workdir, context)


def _join_points(points: list[Point], workdir: Path, context: dict[str, Any]) -> None:
    """One table of the points that are there, those of other shards too."""
    paths = [workdir / "points" / point.folder / "results.json" for point in points]
    found = [read_results(path) for path in paths if path.is_file()]
    encoders = {one.name: one for results in found for one in results.provenance.encoders}
    joined = {
        "sweep": [row for results in found for row in results.sweep],
        "provenance": context | {"encoders": list(encoders.values())},
    }
    write_results(joined, workdir / "results.json")
    report = write_report(joined, workdir / "report.html")
    print(summary_table(joined))
    missing = len(points) - len(found)
    print(f"\n{len(found)} points" + (f", {missing} of other shards to come" if missing else ""))
    print(report)
