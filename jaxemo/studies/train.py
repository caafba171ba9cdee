"""One model, one fold: what `jaxemo train` does, through the same bench as the transfer study."""

from pathlib import Path
from typing import Any

from jaxemo.data.progress import Progress
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import check_training_parts, prepare_experiment
from jaxemo.studies.methods import check_options
from jaxemo.studies.runs import Place, held_out_confusions, make_bench, train_runs
from jaxemo.studies.saved_models import save_run
from jaxemo.studies.sources import Needs, embed_sources, load_source
from jaxemo.studies.transfer import LogEpoch, needs_stem
from jaxemo.training.sharding import make_mesh


def train_model(
    config: Settings, *, workdir: Path, cache_dir: Path, progress: Progress, log_epoch: LogEpoch
) -> dict[str, Any]:
    """Trains `config.train` and writes WORKDIR/checkpoint; returns its record with held-out figures.

    Raises:
      ValueError: For a corpus, an encoder or options that cannot be used, before any training.
    """
    settings = config.train
    mesh = make_mesh(**config.mesh)
    source = load_source(settings.encoder)
    check_options([source], config, [settings.method])
    experiment = prepare_experiment(
        config,
        sample_rates_hz=(source.sample_rate_hz,),
        num_seeds=1,
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_fold(settings.fold, num_folds=len(experiment.folds[0]))
    check_training_parts(experiment)
    needs = Needs(stem=needs_stem((settings.method,)))
    [embedded] = embed_sources(experiment, config, sources=[source], needs=needs)
    bench = make_bench(
        experiment,
        embedded,
        config,
        method_name=settings.method,
        mesh=mesh,
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


def _check_fold(fold: int, *, num_folds: int) -> None:
    """RAVDESS may have fewer groups of speakers than `config.folds.num_folds` asks for."""
    if fold >= num_folds:
        raise ValueError(
            f"config.train.fold is {fold}; this corpus has folds 0 to {num_folds - 1}."
        )
