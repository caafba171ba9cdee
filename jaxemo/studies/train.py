"""Single models: what `jaxemo train` and `jaxemo sweep` do, through the same bench as the transfer study."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.data.progress import Progress
from jaxemo.models.heads import layer_statistics
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment, check_training_parts, prepare_experiment
from jaxemo.studies.held_out import held_out_answers
from jaxemo.studies.methods import check_options
from jaxemo.studies.resuming import Unfinished
from jaxemo.studies.runs import Bench, Place, make_bench, train_runs
from jaxemo.studies.saved_models import save_run
from jaxemo.studies.sources import Needs, embed_sources, load_source
from jaxemo.studies.transfer import LogEpoch, needs_stem
from jaxemo.training.explain import Explanation, explain_step
from jaxemo.training.sharding import make_mesh


class Replicate(NamedTuple):
    """What may differ between models that are trained together."""

    seed: int
    fold: int


def train_models(
    config: Settings,
    folders: Mapping[Replicate, Path],
    *,
    unfinished: Unfinished,
    cache_dir: Path,
    progress: Progress,
    log_epoch: LogEpoch,
) -> list[dict[str, Any]]:
    """Trains `config.train` for each seed and fold, as one program; returns records with held-out figures.

    Args:
      folders: Where each model goes.
      unfinished: Where runs are saved meanwhile.
      log_epoch: Told of every epoch, under the name of the model's folder.

    Raises:
      ValueError: For a corpus, an encoder or options that cannot be used, before any training.
    """
    experiment, bench = _prepare(config, folders, cache_dir, progress)
    domains = tuple(config.train.domains)
    places = {
        Place(replicate.seed, replicate.fold, "single", domains, dev_domain=domains[0]): folder
        for replicate, folder in folders.items()
    }
    runs = train_runs(
        experiment,
        bench,
        list(places),
        folder_of=places.__getitem__,
        unfinished=unfinished,
        on_epoch=lambda place, record: log_epoch(
            f"{config.train.method}/{places[place].parent.name}", record
        ),
    )
    answers = held_out_answers(experiment, bench, runs)
    records = [
        save_run(
            places[run.place],
            experiment=experiment,
            bench=bench,
            run=run,
            answers=answer,
            config=config,
        )
        for run, answer in zip(runs, answers, strict=True)
    ]
    unfinished.forget()
    return records


def explain_model(config: Settings, *, cache_dir: Path, progress: Progress) -> Explanation:
    """What a step of `config.train` will be; clips are embedded for it, as for training.

    Raises:
      ValueError: As `train_models`.
    """
    replicate = Replicate(config.train.seed, config.train.fold)
    _, bench = _prepare(config, [replicate], cache_dir, progress)
    return explain_step(bench.program, bench.base, bench.examples, layer_statistics(bench.pooled))


def _prepare(
    config: Settings, replicates: Collection[Replicate], cache_dir: Path, progress: Progress
) -> tuple[Experiment, Bench]:
    settings = config.train
    mesh = make_mesh(**config.mesh)
    source = load_source(settings.encoder)
    check_options([source], config, [settings.method])
    experiment = prepare_experiment(
        config,
        sample_rates_hz=(source.sample_rate_hz,),
        num_seeds=1 + max(replicate.seed for replicate in replicates),
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_fold(max(replicate.fold for replicate in replicates), num_folds=len(experiment.folds[0]))
    check_training_parts(experiment)
    needs = Needs(stem=needs_stem((settings.method,)))
    [embedded] = embed_sources(experiment, config, sources=[source], needs=needs)
    return experiment, make_bench(
        experiment, embedded, config, method_name=settings.method, mesh=mesh
    )


def _check_fold(fold: int, *, num_folds: int) -> None:
    """RAVDESS may have fewer groups of speakers than `config.folds.num_folds` asks for."""
    if fold >= num_folds:
        raise ValueError(
            f"config.train.fold is {fold}; this corpus has folds 0 to {num_folds - 1}."
        )
