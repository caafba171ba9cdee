"""The command `jaxemo prepare`: decodes and checks a corpus, and writes the page of it."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxemo.cli.handlers import print_left_out
from jaxemo.cli.progress import console
from jaxemo.cli.provenance import environment
from jaxemo.cli.session import earlier_results, session
from jaxemo.data.corpus_overview import corpus_overview
from jaxemo.report.corpus_page import write_corpus_page
from jaxemo.results.file import write_results
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment, prepare_experiment
from jaxemo.studies.study import corpus_provenance, describe_corpus

_RATE_HZ = 16_000


def prepare(*, config: ConfigDict, workdir: Path, replace: bool, samples: int) -> None:
    """Decodes and checks the corpus."""
    with session(config, workdir) as (settings, cache_dir):
        context = environment(config)
        earlier = earlier_results(workdir, (), config=context["config"], replace=replace)
        experiment = prepare_experiment(
            settings,
            sample_rates_hz=(_RATE_HZ,),
            num_seeds=1,
            cache_dir=cache_dir,
            progress=console(),
        )
        provenance = context | corpus_provenance(experiment)
        results = {**describe_corpus(experiment), "provenance": provenance}
        overview = corpus_overview(
            experiment.corpus.name,
            experiment.stores[_RATE_HZ],
            published=_names(settings),
            num_heard=samples,
            progress=console(),
        )
        page = write_corpus_page(results, overview, workdir / "corpus.html")
        results = earlier.joined(results)
        earlier.make_way()
        write_results(results, workdir / "results.json")
        _print(results, experiment)
        print(f"{workdir / 'results.json'}\n{page}")


def _names(settings: Settings) -> list[str]:
    return [place.partition("=")[0] for place in settings.corpora] or [settings.corpus.name]


def _print(results: dict[str, Any], experiment: Experiment) -> None:
    for row in results["corpus"]:
        print(
            f"{row.domain:<7} {row.emotion:<10} {row.clips:>5} clips "
            f"{row.speakers:>4} speakers {row.seconds:>8.1f} s"
        )
    print_left_out(results)
    print(
        f"{len(experiment.folds[0])} folds ({experiment.protocol}), no speaker and no file on two sides; "
        f"{len(experiment.left_out)} files left out"
    )
