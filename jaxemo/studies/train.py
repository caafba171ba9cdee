"""One model, one fold: what `jaxemo train` does, through the same bench as the transfer study."""

from pathlib import Path
from typing import Any

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.data.progress import Progress
from jaxemo.studies.experiment import (
    embed_sources,
    load_source,
    prepare_experiment,
)
from jaxemo.studies.runs import Place, held_out_confusions, make_bench, train_runs
from jaxemo.studies.saved_models import save_run
from jaxemo.studies.study import check_config
from jaxemo.studies.transfer import LogEpoch, needs_stem
from jaxemo.training.sharding import make_mesh


def train_model(
    config: Any, *, workdir: Path, cache_dir: Path, progress: Progress, log_epoch: LogEpoch
) -> dict[str, Any]:
    """Trains `config.train` and writes WORKDIR/checkpoint; returns its record with held-out figures.

    Raises:
      ValueError: For a config or corpus that cannot be used, before any training.
    """
    check_config(config)
    settings = config.train
    source = load_source(settings.encoder)
    experiment = prepare_experiment(
        config,
        sample_rate_hz=source.sample_rate_hz,
        num_seeds=1,
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_place(settings, num_folds=len(experiment.folds[0]))
    stem_dir = workdir / "stem_features" if needs_stem((settings.method,)) else None
    [embedded] = embed_sources(experiment, config, sources=[source], stem_dir=stem_dir)
    bench = make_bench(
        experiment,
        embedded,
        config,
        method_name=settings.method,
        mesh=make_mesh(**config.mesh),
    )
    domains = tuple(settings.domains)
    place = Place(0, settings.fold, "single", domains, dev_domain=domains[0])
    [run] = train_runs(
        experiment,
        bench,
        [place],
        on_epoch=lambda _, record: log_epoch(settings.method, record),
    )
    [confusions] = held_out_confusions(experiment, bench, [run])
    return save_run(
        workdir / "checkpoint",
        experiment=experiment,
        bench=bench,
        run=run,
        confusions=confusions,
        config=config,
    )


def _check_place(settings: Any, *, num_folds: int) -> None:
    if not 0 <= settings.fold < num_folds:
        raise ValueError(
            f"config.train.fold is {settings.fold}; this corpus has folds 0 to {num_folds - 1}."
        )
    unknown = [domain for domain in settings.domains if domain not in DOMAINS]
    if unknown or not settings.domains:
        raise ValueError(
            f"config.train.domains is {tuple(settings.domains)}; expected one or both of {DOMAINS}."
        )
