"""The training loop: epochs of sharded steps, selection on the dev part, nothing else.

It reads the frozen prefix as arrays with one row a clip. What counts as good (`score`) is passed in.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, PRNGKeyArray

from jaxemo.data.batches import RowBatch, num_batches, ordered_batches, shuffled_batches
from jaxemo.training.model import Batch, Classifier, Frozen
from jaxemo.training.objectives import balanced_weights
from jaxemo.training.optim import make_optimiser, warmup_cosine
from jaxemo.training.sharding import check_batch_size, tree_shardings
from jaxemo.training.step import init_state, make_predict_step, make_train_step

Score = Callable[[Int[np.ndarray, " n"], Float[np.ndarray, "n C"]], float]


class TrainingSettings(NamedTuple):
    """The recipe; every default is our choice.

    Attributes:
      epochs: Passes over the training rows.
      batch_size: Clips a step, over all devices.
      micro_batches: Gradient-accumulation pieces a batch is cut into.
      head_rate: Peak learning rate of the head.
      adaptation_rate: Peak learning rate of the encoder's trainable part.
      weight_decay: AdamW's decoupled decay.
      clip_norm: Largest global gradient norm.
      warmup: Share of the steps over which the rates rise.
    """

    epochs: int = 20
    batch_size: int = 32
    micro_batches: int = 1
    head_rate: float = 1e-3
    adaptation_rate: float = 1e-4
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    warmup: float = 0.1


class Examples(NamedTuple):
    """All clips of a corpus, one row each: the frozen prefix and the label.

    Attributes:
      inputs: A tree of arrays whose first axis is the clip.
      labels: Class of each clip.
    """

    inputs: Any
    labels: Int[np.ndarray, " n"]


class EpochRecord(NamedTuple):
    """Figures of one epoch."""

    epoch: int
    train_loss: float
    gradient_norm: float
    dev_score: float


class FitResult(NamedTuple):
    """The trainable tree of the best dev epoch, on the host, and the run's history."""

    trainable: dict[str, Any]
    best_epoch: int
    history: tuple[EpochRecord, ...]


class Trainer:
    """Compiled steps of one (classifier, recipe); one trainer serves many folds, stages and seeds."""

    def __init__(self, classifier: Classifier, settings: TrainingSettings, *, mesh: Mesh):
        check_batch_size(mesh, settings.batch_size // settings.micro_batches)
        if settings.batch_size % settings.micro_batches:
            raise ValueError(
                f"micro_batches={settings.micro_batches} does not divide batch_size={settings.batch_size}."
            )
        self.classifier = classifier
        self.settings = settings
        self.mesh = mesh
        self._optimiser = make_optimiser(
            head_rate=settings.head_rate,
            adaptation_rate=settings.adaptation_rate,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
        )
        self._train_step = make_train_step(
            classifier,
            self._optimiser,
            schedule=warmup_cosine(warmup=settings.warmup),
            mesh=mesh,
            micro_batches=settings.micro_batches,
        )
        self._predict_step = make_predict_step(classifier, mesh=mesh)

    def fit(
        self,
        key: PRNGKeyArray,
        frozen: Frozen,
        examples: Examples,
        *,
        train_rows: Int[np.ndarray, " a"],
        dev_rows: Int[np.ndarray, " b"],
        score: Score,
        seed: int,
        initial: dict[str, Any] | None = None,
        on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    ) -> FitResult:
        """Trains for the recipe's epochs and keeps the first epoch of the best dev score.

        Args:
          key: Initialisation and dropout.
          train_rows: Rows trained on; class weights come from their labels.
          dev_rows: Rows that choose the epoch.
          score: (labels, probabilities) -> figure of merit, larger is better.
          seed: Order of the batches.
          initial: Trainable tree to go on from (stage 2); a fresh one when absent.
          on_epoch: Told of every epoch.
        """
        init_key, dropout_key = jax.random.split(key)
        trainable = self.classifier.init(init_key, frozen) if initial is None else initial
        frozen = self.place(frozen)
        batch_size = self.settings.batch_size
        steps_per_epoch = num_batches(len(train_rows), batch_size=batch_size)
        state = init_state(
            dropout_key,
            # A copy: the step donates its state, and the caller still owns `initial`.
            jax.tree.map(lambda leaf: jax.numpy.array(leaf), trainable),
            optimiser=self._optimiser,
            num_steps=steps_per_epoch * self.settings.epochs,
        )
        state = self.place(state)
        weights = _row_weights(examples.labels, train_rows, self.classifier.num_classes)
        best = FitResult({}, -1, ())
        best_score = -np.inf
        for epoch in range(self.settings.epochs):
            metrics = []
            for batch in shuffled_batches(
                train_rows, batch_size=batch_size, seed=seed, epoch=epoch
            ):
                state, step_metrics = self._train_step(
                    state, frozen, _make_batch(examples, batch, weights)
                )
                metrics.append(step_metrics)
            dev = self.predict(state.trainable, frozen, examples, rows=dev_rows)
            record = _summarise(epoch, metrics, score(examples.labels[dev_rows], dev))
            on_epoch(record)
            best = best._replace(history=(*best.history, record))
            if record.dev_score > best_score:
                best_score = record.dev_score
                best = best._replace(trainable=jax.device_get(state.trainable), best_epoch=epoch)
        return best

    def predict(
        self,
        trainable: dict[str, Any],
        frozen: Frozen,
        examples: Examples,
        *,
        rows: Int[np.ndarray, " n"],
    ) -> Float[np.ndarray, "n C"]:
        """Class probabilities of the given rows, in their order."""
        trainable, frozen = self.place(trainable), self.place(frozen)
        parts = []
        for batch in ordered_batches(rows, batch_size=self.settings.batch_size):
            inputs = _take(examples.inputs, batch.rows)
            parts.append(self._predict_step(trainable, frozen, inputs)[: batch.valid.sum()])
        return np.concatenate(jax.device_get(parts))

    def place(self, tree: Any) -> Any:
        """The tree on the mesh, sharded by the parameter rules."""
        return jax.device_put(tree, tree_shardings(tree, self.mesh))


def _row_weights(labels, rows, num_classes: int) -> Float[np.ndarray, " n"]:
    weights = np.zeros(len(labels), np.float32)
    weights[rows] = balanced_weights(labels[rows], num_classes=num_classes)
    return weights


def _make_batch(examples: Examples, batch: RowBatch, weights) -> Batch:
    return Batch(
        inputs=_take(examples.inputs, batch.rows),
        labels=examples.labels[batch.rows].astype(np.int32),
        weight=np.where(batch.valid, weights[batch.rows], 0).astype(np.float32),
    )


def _take(inputs: Any, rows: Int[np.ndarray, " B"]) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf[rows]), inputs)


def _summarise(epoch: int, metrics: list, dev_score: float) -> EpochRecord:
    metrics = jax.device_get(metrics)
    return EpochRecord(
        epoch,
        float(np.mean([m.loss for m in metrics])),
        float(np.mean([m.gradient_norm for m in metrics])),
        float(dev_score),
    )
