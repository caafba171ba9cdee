"""What each command does: config values in, library calls, files out. The only place that prints results."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxemo.cli.arguments import Arguments
from jaxemo.cli.progress import console
from jaxemo.cli.provenance import environment, user_cache_dir
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.report import summary_table, write_report
from jaxemo.report.folder_table import folder_table, worst_files
from jaxemo.results.checks import rows_from
from jaxemo.results.file import write_csv, write_results
from jaxemo.results.schema import FigureRow
from jaxemo.studies.embed import embed
from jaxemo.studies.evaluation import evaluate, predict_files
from jaxemo.studies.experiment import prepare_experiment
from jaxemo.studies.folders import FolderQuestion, compare_folders
from jaxemo.studies.saved_models import load_model
from jaxemo.studies.sources import in_words
from jaxemo.studies.study import LAYERS, SIMILARITY, STUDIES, TRANSFER, describe_corpus, run_studies
from jaxemo.studies.train import train_model
from jaxemo.training.logs import CurveLog
from jaxemo.training.sharding import make_mesh

logger = logging.getLogger("jaxemo")

_WORST_FILES = 5


class BadInput(Exception):
    """Input that the library refused, in its words."""


def run(verb: str, arguments: Arguments) -> None:
    """Runs one command.

    Raises:
      BadInput: For input that the library refuses. With JAXEMO_TRACEBACK set the original error
        passes through instead.
    """
    _configure_logging()
    _keep_compiled_programs(_cache_dir(arguments) / "xla")
    try:
        _COMMANDS[verb](arguments)
    except (ValueError, OSError) as error:
        if os.environ.get("JAXEMO_TRACEBACK"):
            raise
        raise BadInput(f"{error}\n(JAXEMO_TRACEBACK=1 shows where this was found)") from error


def _studies(studies: Sequence[str]) -> Callable[[Arguments], None]:
    def command(arguments: Arguments) -> None:
        workdir = _make_workdir(arguments)
        context = environment(arguments.config)
        partial = workdir / "results.partial.json"

        def finish(results: dict[str, Any]) -> dict[str, Any]:
            return {**results, "provenance": {**context, **results["provenance"]}}

        with CurveLog(workdir / "logs") as log:
            results = finish(
                run_studies(
                    arguments.config,
                    studies,
                    workdir=workdir,
                    cache_dir=_cache_dir(arguments),
                    progress=console(),
                    log_epoch=log.epoch,
                    save_partial=lambda results: write_results(finish(results), partial),
                )
            )
        write_results(results, workdir / "results.json")
        partial.unlink(missing_ok=True)
        report = write_report(results, workdir / "report.html")
        print(summary_table(results))
        print(f"\n{report}")

    return command


def _fad(arguments: Arguments) -> None:
    if arguments.folders is None:
        _studies((SIMILARITY,))(arguments)
    else:
        _compare_folders(arguments)


def _compare_folders(arguments: Arguments) -> None:
    results, file_scores = compare_folders(
        FolderQuestion(**arguments.folders), cache_dir=_cache_dir(arguments), progress=console()
    )
    print(folder_table(results))
    print("\nfiles of the candidate least like the reference (1 = a frame of the reference):")
    for path, score in worst_files(file_scores, count=_WORST_FILES):
        print(f"{score:9.3g}  {path}")
    _print_left_out(results)
    if shared := results["sets"].files_in_both:
        print(f"{shared} files of the candidate are in the reference too")
    if arguments.workdir is not None:
        workdir = _make_workdir(arguments)
        provenance = environment(None) | results["provenance"]
        write_results({**results, "provenance": provenance}, workdir / "results.json")
        write_csv(file_scores, workdir / "file_scores.csv")
        print(f"{workdir / 'results.json'}\n{workdir / 'file_scores.csv'}")


def _prepare(arguments: Arguments) -> None:
    workdir = _make_workdir(arguments)
    experiment = prepare_experiment(
        arguments.config,
        sample_rates_hz=(16_000,),
        num_seeds=1,
        cache_dir=_cache_dir(arguments),
        progress=console(),
    )
    provenance = environment(arguments.config) | {"corpus_hash": experiment.corpus_hash()}
    results = {**describe_corpus(experiment), "provenance": provenance}
    write_results(results, workdir / "results.json")
    for row in results["corpus"]:
        print(
            f"{row.domain:<7} {row.emotion:<10} {row.clips:>5} clips "
            f"{row.speakers:>4} speakers {row.seconds:>8.1f} s"
        )
    _print_left_out(results)
    print(
        f"{len(experiment.folds[0])} folds, no speaker and no file on two sides; "
        f"{len(experiment.left_out)} files left out\n{workdir / 'results.json'}"
    )


def _train(arguments: Arguments) -> None:
    workdir = _make_workdir(arguments)
    with CurveLog(workdir / "logs") as log:
        record = train_model(
            arguments.config,
            workdir=workdir,
            cache_dir=_cache_dir(arguments),
            progress=console(),
            log_epoch=log.epoch,
        )
    provenance = environment(arguments.config) | {"corpus_hash": record["corpus"]["hash"]}
    provenance["encoders"] = [record["encoder"]]
    results = {"figures": record["figures"], "history": record["history"], "provenance": provenance}
    write_results(results, workdir / "results.json")
    _print_figures(rows_from("figures", record["figures"]))
    print(workdir / "checkpoint")


def _evaluate(arguments: Arguments) -> None:
    from ml_collections import ConfigDict

    model = load_model(arguments.checkpoint, mesh=make_mesh(), encoder=arguments.encoder)
    corpus = ConfigDict(model.record["corpus"])
    if arguments.config is not None:
        corpus = arguments.config.corpus
    results = evaluate(model, corpus, cache_dir=_cache_dir(arguments), progress=console())
    _print_figures(results["figures"])
    if results["seen_clips_not_scored"]:
        print(f"{results['seen_clips_not_scored']} clips of speakers seen in training not scored")
    _print_left_out(results)
    if arguments.workdir is not None:
        workdir = _make_workdir(arguments)
        context = environment(arguments.config) | {"checkpoint": str(arguments.checkpoint)}
        write_results({**results, "provenance": context}, workdir / "results.json")
        print(workdir / "results.json")


def _predict(arguments: Arguments) -> None:
    model = load_model(arguments.checkpoint, mesh=make_mesh(), encoder=arguments.encoder)
    for record in predict_files(model, arguments.files):
        print(json.dumps(record, ensure_ascii=False), flush=True)


def _embed(arguments: Arguments) -> None:
    outcomes = embed(
        arguments.config,
        workdir=_make_workdir(arguments),
        cache_dir=_cache_dir(arguments),
        progress=console(),
        provenance=environment(arguments.config),
    )
    for outcome in outcomes:
        timing = None if outcome.timing.num_clips == 0 else outcome.timing
        print(
            f"{outcome.encoder}: {in_words(timing, outcome.num_clips)}, {outcome.num_shapes} shapes, "
            f"{100 * outcome.padding:.1f} % padding"
        )
        for path in sorted(outcome.folder.iterdir()):
            print(f"  {path}  {path.stat().st_size / 1e6:.1f} MB")


_COMMANDS = {
    "study": _studies(STUDIES),
    "probe": _studies((LAYERS,)),
    "transfer": _studies((TRANSFER,)),
    "fad": _fad,
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "embed": _embed,
    "prepare": _prepare,
}


def _print_figures(figures: list[FigureRow]) -> None:
    for domain in DOMAINS:
        rows = {row.metric: row for row in figures if row.domain == domain}
        if rows:
            scores = "  ".join(
                f"{metric} {rows[metric].mean:.4f}" for metric in ("UA", "WA", "macro_F1")
            )
            print(f"{domain:<7} {scores}  n {rows['UA'].n}")


def _print_left_out(results: dict[str, Any]) -> None:
    for item in results["left_out"]:
        print(f"left out: {item.path}: {item.reason}")


def _make_workdir(arguments: Arguments) -> Path:
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    return arguments.workdir


def _cache_dir(arguments: Arguments) -> Path:
    configured = "" if arguments.config is None else arguments.config.cache_dir
    return Path(configured).expanduser() if configured else user_cache_dir()


def _keep_compiled_programs(directory: Path) -> None:
    """Lets later processes find what this one compiles, unless the environment says where or not to."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(directory))
    # jax keeps only what took a second or more; small encoders make dozens of shorter ones.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _configure_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # orbax tells of every read-only restore through absl.
    logging.getLogger("absl").setLevel(logging.ERROR)
