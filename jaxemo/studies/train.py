"""Single models: what `jaxemo train` and `jaxemo sweep` do, through the same bench as the transfer study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxemo.data.progress import Progress
from jaxemo.models.heads import layer_statistics
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment, check_training_parts, prepare_experiment
from jaxemo.studies.methods import (
    check_options,
    check_pooling,
    choose_method,
    methods_of,
    needs_spread,
)
from jaxemo.studies.resuming import Unfinished
from jaxemo.studies.runs import Bench, Place, make_bench, train_runs, training_settings
from jaxemo.studies.saved_models import save_runs
from jaxemo.studies.sources import Needs, embed_sources, load_source
from jaxemo.studies.watching import LogEpoch, watch_epochs
from jaxemo.training.explain import Explanation, explain_step
from jaxemo.training.sharding import make_mesh


def keys_of_runs(method: str) -> tuple[str, ...]:
    """Keys of the config that do not change the compiled program: models that differ in them go together."""
    return (
        "train.seed",
        "train.fold",
        "training.head_rate",
        f"methods.{method}.adaptation_rate",
    )


def train_models(
    models: Mapping[Path, Settings],
    *,
    unfinished: Unfinished,
    cache_dir: Path,
    progress: Progress,
    log_epoch: LogEpoch,
) -> list[dict[str, Any]]:
    """Trains `config.train` of each settings, as one program; returns records with held-out figures.

    Args:
      models: Where each model goes, and its settings, which differ in their `keys_of_runs` alone.
      unfinished: Where runs are saved meanwhile.
      log_epoch: Told of every epoch, under the name of the model's folder.

    Raises:
      ValueError: For a corpus, an encoder or options that cannot be used, before any training.
    """
    experiment, bench = prepare(
        list(models.values()),
        workdir=next(iter(models)).parent,
        cache_dir=cache_dir,
        progress=progress,
    )
    places = {place_of(settings): folder for folder, settings in models.items()}
    runs = train_runs(
        experiment,
        bench,
        list(places),
        folder_of=places.__getitem__,
        unfinished=unfinished,
        on_epoch=watch_epochs(
            bench,
            progress=progress,
            total=len(places) * bench.program.settings.epochs,
            name_of=lambda place: f"{bench.method.name}/{places[place].parent.name}",
            log_epoch=log_epoch,
        ),
    )
    saved = save_runs(
        experiment,
        bench,
        runs,
        folder_of=places.__getitem__,
        config_of=lambda place: models[places[place]],
    )
    unfinished.forget()
    return [run.record for run in saved]


def explain_model(
    config: Settings, *, workdir: Path, cache_dir: Path, progress: Progress
) -> Explanation:
    """What a step of `config.train` will be; clips are embedded for it, as for training.

    Raises:
      ValueError: As `train_models`.
    """
    _, bench = prepare([config], workdir=workdir, cache_dir=cache_dir, progress=progress)
    return explain_step(bench.program, bench.base, bench.examples, layer_statistics(bench.pooled))


def place_of(config: Settings) -> Place:
    """Where the model of `config.train` stands."""
    train = config.train
    recipe = training_settings(config.training, choose_method(config, train.method).recipe)
    domains = tuple(train.domains)
    return Place(
        train.seed,
        train.fold,
        "single",
        domains,
        dev_domain=domains[0],
        rates=recipe.rates,
    )


def prepare(
    models: Sequence[Settings], *, workdir: Path, cache_dir: Path, progress: Progress
) -> tuple[Experiment, Bench]:
    """The corpus and the program of models that are trained together.

    Raises:
      ValueError: As `train_models`.
    """
    config = models[0]
    settings = config.train
    mesh = make_mesh(**config.mesh)
    source = load_source(settings.encoder)
    check_options([source], config, [settings.method])
    check_pooling([source], config, [settings.method])
    experiment = prepare_experiment(
        config,
        sample_rates_hz=(source.sample_rate_hz,),
        num_seeds=1 + max(model.train.seed for model in models),
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_fold(max(model.train.fold for model in models), num_folds=len(experiment.folds[0]))
    check_training_parts(experiment)
    methods = methods_of(config, [settings.method])
    needs = Needs(methods=methods, spread=needs_spread(config))
    [embedded] = embed_sources(experiment, config, sources=[source], needs=needs)
    return experiment, make_bench(
        experiment,
        embedded,
        config,
        method_name=settings.method,
        mesh=mesh,
        workdir=workdir,
    )


def _check_fold(fold: int, *, num_folds: int) -> None:
    """RAVDESS may have fewer groups of speakers than `config.folds.num_folds` asks for."""
    if fold >= num_folds:
        raise ValueError(
            f"config.train.fold is {fold}; this corpus has folds 0 to {num_folds - 1}."
        )
