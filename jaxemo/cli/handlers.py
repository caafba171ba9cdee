"""What each computing command does: settings in, library calls, files out.

Each function is the handler of one row of the table in `main.py`, and its keywords are that row's
flags. Results are printed here and in `housekeeping.py` only.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxemo.cli.progress import console
from jaxemo.cli.provenance import environment, user_cache_dir
from jaxemo.cli.session import cache_dir_of, earlier_results, held, open_cache, session
from jaxemo.cli.workdir import continued_run
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.report import summary_table, write_report
from jaxemo.report.folder_table import folder_table, worst_files
from jaxemo.results.file import write_csv, write_results
from jaxemo.results.merging import SECTIONS_OF, Earlier
from jaxemo.results.schema import FigureRow
from jaxemo.studies import embed as embedding
from jaxemo.studies import evaluation
from jaxemo.studies import export as exporting
from jaxemo.studies import pretrain as pretraining
from jaxemo.studies.config import Settings, read_corpus, read_settings
from jaxemo.studies.corpus_settings import read_corpora
from jaxemo.studies.folders import FolderQuestion, compare_folders
from jaxemo.studies.published_models import load_any_model
from jaxemo.studies.saved_models import load_model
from jaxemo.studies.sources import in_words
from jaxemo.studies.study import (
    LAYERS,
    SIMILARITY,
    STUDIES,
    TRANSFER,
    run_studies,
)
from jaxemo.training.logs import CurveLog
from jaxemo.training.processes import is_first
from jaxemo.training.sharding import make_mesh

logger = logging.getLogger("jaxemo")

_WORST_FILES = 5


def study(*, config: ConfigDict, workdir: Path, replace: bool) -> None:
    """All three studies."""
    _run_studies(config, STUDIES, workdir, replace=replace)


def probe(*, config: ConfigDict, workdir: Path, replace: bool) -> None:
    """Study 1 alone."""
    _run_studies(config, (LAYERS,), workdir, replace=replace)


def transfer(*, config: ConfigDict, workdir: Path, replace: bool) -> None:
    """Study 2 alone."""
    _run_studies(config, (TRANSFER,), workdir, replace=replace)


def fad(*, config: ConfigDict | None, workdir: Path | None, replace: bool, **question: Any) -> None:
    """Study 3 alone; or, without a config, a comparison of the folders that `question` names."""
    if config is not None:
        assert workdir is not None  # A config gives it a default.
        _run_studies(config, (SIMILARITY,), workdir, replace=replace)
    else:
        with held(workdir):
            _compare_folders(FolderQuestion(**question), workdir, replace=replace)


def _run_studies(
    config: ConfigDict, studies: Sequence[str], workdir: Path, *, replace: bool
) -> None:
    with session(config, workdir) as (settings, cache_dir):
        context = environment(config)
        partial = workdir / "results.partial.json"
        sections = [section for name in studies for section in SECTIONS_OF[name]]
        earlier = Earlier(
            workdir / "results.json",
            studies=studies,
            sections=sections,
            config=context["config"],
            replace=replace,
        )

        def finish(results: dict[str, Any]) -> dict[str, Any]:
            return earlier.joined({**results, "provenance": {**context, **results["provenance"]}})

        def save_partial(results: dict[str, Any]) -> None:
            if is_first():
                write_results(finish(results), partial)

        with (
            continued_run(workdir, context) as run_id,
            CurveLog(workdir / "logs", run_id=run_id) as log,
        ):
            context["runs"] = dict.fromkeys(studies, run_id)
            results = finish(
                run_studies(
                    settings,
                    studies,
                    workdir=workdir,
                    cache_dir=cache_dir,
                    progress=console(),
                    log_epoch=log.epoch,
                    save_partial=save_partial,
                )
            )
            if is_first():
                earlier.make_way()
                write_results(results, workdir / "results.json")
        if not is_first():
            return
        partial.unlink(missing_ok=True)
        report = write_report(results, workdir / "report.html")
        print(summary_table(results))
        print(f"\n{report}")


def _compare_folders(question: FolderQuestion, workdir: Path | None, *, replace: bool) -> None:
    earlier = earlier_results(workdir, ("folders", "sets"), replace=replace)
    cache_dir = open_cache(user_cache_dir())
    results, file_scores = compare_folders(question, cache_dir=cache_dir, progress=console())
    print(folder_table(results))
    print("\nfiles of the candidate least like the reference (1 = a frame of the reference):")
    for path, score in worst_files(file_scores, count=_WORST_FILES):
        print(f"{score:9.3g}  {path}")
    print_left_out(results)
    if shared := results["sets"].files_in_both:
        print(
            f"{shared} files of the candidate are in the reference too: FAD-files is withheld, since "
            "draws from sets that share files are not independent"
        )
    if workdir is not None and earlier is not None and is_first():
        provenance = environment(None) | results["provenance"]
        earlier.make_way()
        write_results({**results, "provenance": provenance}, workdir / "results.json")
        write_csv(file_scores, workdir / "file_scores.csv")
        print(f"{workdir / 'results.json'}\n{workdir / 'file_scores.csv'}")


def evaluate(
    *,
    checkpoint: str,
    encoder: str | None,
    config: ConfigDict | None,
    workdir: Path | None,
    replace: bool,
) -> None:
    """Scores a checkpoint on a corpus: the config's, else the one that it was trained on."""
    settings = None if config is None else read_settings(config)
    with held(workdir):
        sections = ("figures", "predictions", "predicted_values", "seen_clips_not_scored")
        earlier = earlier_results(workdir, sections, replace=replace)
        results = _evaluate(checkpoint, encoder, settings)
        if workdir is not None and earlier is not None:
            context = environment(config) | {
                "checkpoint": checkpoint,
                "notes": results.pop("notes"),
            }
            earlier.make_way()
            write_results({**results, "provenance": context}, workdir / "results.json")
            print(workdir / "results.json")


def _evaluate(checkpoint: str, encoder: str | None, settings: Settings | None) -> dict[str, Any]:
    cache_dir = open_cache(cache_dir_of(settings))
    mesh = make_mesh() if settings is None else make_mesh(**settings.mesh)
    model = load_any_model(checkpoint, mesh=mesh, encoder=encoder)
    if settings is None:
        if "corpus" not in model.record:
            raise ValueError(
                f"{checkpoint} is a published model, which names no corpus; expected --config with the "
                "corpus to score it on."
            )
        record = model.record["corpus"]
        corpus, corpora = read_corpus(record), read_corpora(record)
    else:
        corpus, corpora = settings.corpus, settings.corpora
    results = evaluation.evaluate(
        model, corpus, cache_dir=cache_dir, progress=console(), corpora=corpora
    )
    print_figures(results["figures"])
    if results["seen_clips_not_scored"]:
        print(f"{results['seen_clips_not_scored']} clips of speakers seen in training not scored")
    print_left_out(results)
    for note in results["notes"]:
        print(note)
    return results


def export(*, checkpoint: Path, encoder: str | None, format: str, workdir: Path) -> None:
    """Writes a checkpoint's encoder in hub layout, its adaptation merged, or the adaptation for peft."""
    model = load_model(checkpoint, mesh=make_mesh(), encoder=encoder)
    with held(workdir):
        form = exporting.ExportFormat(format)
        for path in exporting.export_model(model, workdir, form=form):
            print(path)


def embed(*, config: ConfigDict, workdir: Path) -> None:
    """Writes layerwise embeddings of a corpus."""
    with session(config, workdir) as (settings, cache_dir):
        outcomes = embedding.embed(
            settings,
            workdir=workdir,
            cache_dir=cache_dir,
            progress=console(),
            provenance=environment(config),
        )
        for outcome in outcomes:
            timing = None if outcome.timing.num_clips == 0 else outcome.timing
            print(
                f"{outcome.encoder}: {in_words(timing, outcome.num_clips)}, "
                f"{outcome.num_shapes} shapes, {100 * outcome.padding:.1f} % padding"
            )
            for path in sorted(outcome.folder.iterdir()):
                print(f"  {path}  {path.stat().st_size / 1e6:.1f} MB")


def pretrain(*, config: ConfigDict, workdir: Path, replace: bool) -> None:
    """Trains an encoder on audio without labels."""
    with session(config, workdir) as (settings, cache_dir):
        paths = pretraining.pretrain_encoder(
            settings,
            workdir=workdir,
            cache_dir=cache_dir,
            progress=console(),
            provenance=environment(config),
            replace=replace,
        )
        for path in paths:
            print(path)


def print_figures(figures: list[FigureRow]) -> None:
    """The summary metrics of each domain, one line per domain; of ratings those of each too."""
    for domain in DOMAINS:
        rows = [row for row in figures if row.domain == domain]
        names = dict.fromkeys(row.emotion for row in rows if row.metric in ("CCC", "PCC", "R2"))
        for name in ("all", *(name for name in names if name != "all")):
            scores = "  ".join(
                f"{row.metric} {'-' if row.mean is None else f'{row.mean:.4f}'}"
                for row in rows
                if row.emotion == name
            )
            if scores:
                label = f"{domain:<7}" if name == "all" else f"  {name:<12}"
                print(f"{label} {scores}  n {rows[0].n}")


def print_left_out(results: dict[str, Any]) -> None:
    """The files that take no part, and why, one line each."""
    for item in results["left_out"]:
        print(f"left out: {item.path}: {item.reason}")
