"""One (encoder, method) on one corpus: its cached frozen prefix, its compiled steps, its training runs.

Both the transfer study and `jaxemo train` go through here, so that a model is trained in one way only.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from jaxemo.analysis.scores import confusion_matrix, unweighted_accuracy
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.embedding.stream import Embedding
from jaxemo.models.heads import LayerStatistics, layer_statistics
from jaxemo.peft import Method, Prefix, make_method
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.sources import Embedded, Source
from jaxemo.training.loop import EpochRecord, Examples, FitResult, Trainer, TrainingSettings
from jaxemo.training.model import Classifier, Frozen


class Bench(NamedTuple):
    """Everything that the runs of one (encoder, method) share."""

    source: Source
    method: Method
    method_options: dict[str, Any]
    trainer: Trainer
    examples: Examples
    pooled: np.ndarray


class Run(NamedTuple):
    """One training run: its place in the protocol, and what came out."""

    seed: int
    fold: int
    regime: str
    domains: tuple[str, ...]
    statistics: LayerStatistics
    fit: FitResult


def make_classifier(
    source: Source, method: Method, *, head_width: int, head_dropout: float, num_classes: int
) -> Classifier:
    """The pure functions of this source under this method.

    Raises:
      ValueError: When the method trains inside an encoder and the source has none.
    """
    if source.encoder is None and method.prefix is not Prefix.LAYERS:
        raise ValueError(
            f"Method {method.name!r} adapts an encoder; {source.name!r} has none. "
            "Use 'weighted_sum' with it."
        )
    module = None if source.encoder is None else source.encoder.module
    return Classifier(module, method, head_width, head_dropout, num_classes)


def make_bench(
    experiment: Experiment,
    embedded: Embedded,
    config: Any,
    *,
    method_name: str,
    mesh: Mesh,
) -> Bench:
    """Prepares the method named in the config with its options and recipe."""
    options = dict(config.methods.get(method_name, {}))
    recipe = {name: options.pop(name) for name in TrainingSettings._fields if name in options}
    method = make_method(method_name, **options)
    classifier = make_classifier(
        embedded.source,
        method,
        head_width=config.training.head_width,
        head_dropout=config.training.head_dropout,
        num_classes=len(experiment.emotions),
    )
    trainer = Trainer(classifier, training_settings(config.training, recipe), mesh=mesh)
    examples = Examples(prefix_of(embedded.embedding, method.prefix), experiment.labels)
    return Bench(embedded.source, method, options, trainer, examples, embedded.embedding.pooled)


def prefix_of(embedding: Embedding, prefix: Prefix) -> Any:
    """The cached arrays that a method's training reads."""
    if prefix is Prefix.LAYERS:
        return embedding.pooled
    return embedding.stem.take(np.arange(len(embedding.pooled)), draw=None)


def training_settings(settings: Any, recipe: dict[str, Any]) -> TrainingSettings:
    """The recipe of a config's `training` block, with what the method's own block says instead."""
    names = set(TrainingSettings._fields) & set(settings.keys())
    return TrainingSettings(**{name: settings[name] for name in names} | recipe)


def frozen_of(bench: Bench, statistics: LayerStatistics) -> Frozen:
    """The frozen part of a run; the base is left out where the whole encoder is the prefix."""
    needs_base = bench.method.prefix is Prefix.STEM
    return Frozen(bench.source.encoder.params if needs_base else {}, statistics)


def train_run(
    experiment: Experiment,
    bench: Bench,
    *,
    seed: int,
    fold: int,
    regime: str,
    domains: tuple[str, ...],
    dev_domain: str,
    first_stage: Run | None = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
) -> Run:
    """Trains on the train speakers of `domains`, choosing the epoch on the dev speakers of `dev_domain`.

    The layer statistics come from the train speakers' clips of both domains, whatever is trained on:
    regimes then differ in their labelled data alone. Labels and held-out speakers play no part in them.
    """
    parts = experiment.split(seed, fold)
    statistics = layer_statistics(bench.pooled[parts.train])
    fit = bench.trainer.fit(
        jax.random.fold_in(jax.random.key(seed), fold),
        frozen_of(bench, statistics),
        bench.examples,
        train_rows=rows_in(experiment, parts.train, domains),
        dev_rows=rows_in(experiment, parts.dev, (dev_domain,)),
        score=dev_unweighted_accuracy,
        seed=seed,
        initial=None if first_stage is None else first_stage.fit.trainable,
        on_epoch=on_epoch,
    )
    return Run(seed, fold, regime, domains, statistics, fit)


def rows_in(
    experiment: Experiment, rows: Int[np.ndarray, " n"], domains: tuple[str, ...]
) -> Int[np.ndarray, " m"]:
    """Those of the rows that belong to one of the domains."""
    keep = [experiment.utterances[row].domain in domains for row in rows]
    return rows[np.array(keep, bool)]


def held_out_rows(experiment: Experiment, run: Run, domain: str) -> Int[np.ndarray, " m"]:
    """Rows of the run's held-out speakers in one domain."""
    return rows_in(experiment, experiment.split(run.seed, run.fold).test, (domain,))


def held_out_confusions(
    experiment: Experiment, bench: Bench, run: Run
) -> dict[str, Int[np.ndarray, "C C"]]:
    """Confusion matrix of the held-out clips, for each domain that has any."""
    confusions = {}
    for domain in DOMAINS:
        rows = held_out_rows(experiment, run, domain)
        if len(rows) == 0:
            continue
        probabilities = bench.trainer.predict(
            run.fit.trainable, frozen_of(bench, run.statistics), bench.examples, rows=rows
        )
        confusions[domain] = confusion_matrix(
            experiment.labels[rows],
            probabilities.argmax(axis=1),
            num_classes=len(experiment.emotions),
        )
    return confusions


def dev_unweighted_accuracy(
    labels: Int[np.ndarray, " n"], probabilities: Float[np.ndarray, "n C"]
) -> float:
    """The figure that chooses the epoch."""
    num_classes = probabilities.shape[1]
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), num_classes=num_classes)
    return unweighted_accuracy(matrix)
