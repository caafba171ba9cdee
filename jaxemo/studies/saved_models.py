"""Models on disk: a checkpoint and the record from which a new process rebuilds, scores and predicts.

A checkpoint is scored only on speakers that it was neither trained nor selected on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from jaxemo import __version__
from jaxemo.analysis.calibration import tempered
from jaxemo.embedding.hand_made import embed_hand_made
from jaxemo.embedding.passes import row_mesh
from jaxemo.embedding.stream import Clips, Wanted, embed_clips
from jaxemo.embedding.stream import Settings as EmbeddingSettings
from jaxemo.models.heads import Pooling
from jaxemo.peft import Method, count_parameters, make_method
from jaxemo.peft.method import Params
from jaxemo.results.checks import plain
from jaxemo.studies.calibration import fit_temperatures, held_out_figures
from jaxemo.studies.config import Settings, read_audio
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.held_out import HeldOutPredictions, held_out_predictions
from jaxemo.studies.networks import base_of, make_network
from jaxemo.studies.recognition import Task, make_objective
from jaxemo.studies.record import RECORD_FORMAT, read_model_record
from jaxemo.studies.resuming import restore_model
from jaxemo.studies.runs import Bench, Place, Run
from jaxemo.studies.sources import Source, describe_source, load_source
from jaxemo.studies.training_inputs import pooled_layers
from jaxemo.training.checkpoint import save_checkpoint
from jaxemo.training.features import DenseFeatures, Features
from jaxemo.training.predict import Predictor, TrainedModel
from jaxemo.training.processes import is_first


class SavedModel(NamedTuple):
    """A restored model, ready to score.

    Attributes:
      base: The frozen parameters that the method reads; empty where the whole encoder is frozen.
      trained: What its run added to the base.
      task: What it recognises.
    """

    source: Source
    method: Method
    predictor: Predictor
    base: Params
    trained: TrainedModel
    task: Task
    record: dict[str, Any]


class SavedRun(NamedTuple):
    """A run whose model is kept: its record, and what it predicts for held-out speakers, by domain."""

    record: dict[str, Any]
    predictions: dict[str, HeldOutPredictions]


def save_runs(
    experiment: Experiment,
    bench: Bench,
    runs: Sequence[Run],
    *,
    folder_of: Callable[[Place], Path],
    config_of: Callable[[Place], Settings],
) -> list[SavedRun]:
    """Keeps the models of runs, calibrated on dev speakers and scored on held-out ones."""
    predictions = held_out_predictions(experiment, bench, runs)
    temperatures = fit_temperatures(experiment, bench, runs)
    saved = []
    for run, by_domain, temperature in zip(runs, predictions, temperatures, strict=True):
        figures = held_out_figures(experiment, by_domain, temperature)
        record = _make_record(experiment, bench, run, config_of(run.place))
        record |= {"temperature": temperature, "figures": [plain(row) for row in figures]}
        _write(folder_of(run.place), bench, run, record)
        saved.append(SavedRun(record, by_domain))
    return saved


def _write(directory: Path, bench: Bench, run: Run, record: dict[str, Any]) -> None:
    """A run's checkpoint, by the first process."""
    state = {"trainable": run.fit.trainable, "statistics": run.statistics._asdict()}
    if bench.first_method is not None:
        state["inherited"] = run.inherited
    if is_first():
        save_checkpoint(directory, state=state, record=record)


def _make_record(
    experiment: Experiment, bench: Bench, run: Run, config: Settings
) -> dict[str, Any]:
    place, program = run.place, bench.program
    rates = place.rates or program.settings.rates
    parts = experiment.split(place.seed, place.fold)
    seen = np.concatenate([parts.train, parts.dev])
    return {
        "format": RECORD_FORMAT,
        "jaxemo": __version__,
        "identity": run.identity,
        "encoder": describe_source(bench.source),
        "method": {"name": bench.method.name, "options": bench.method_options},
        "first_method": _first_method(bench),
        "objective": program.objective.name,
        "head": {
            "form": program.network.head_form.value,
            "width": program.network.head_width,
            "dropout": program.network.head_dropout,
            "pooling": program.network.pooling.value,
            "num_layers": run.statistics.mean.shape[0],
            "num_features": run.statistics.mean.shape[1],
        },
        "outputs": list(experiment.task.outputs),
        "audio": config.audio.to_dict(),
        "augmentation": config.augmentation.to_dict(),
        "corpus": config.corpus.to_dict()
        | {"hash": experiment.corpus_hash(), "corpora": list(config.corpora)},
        "training": program.settings._asdict()
        | rates._asdict()
        | {
            "focal_gamma": config.training.focal_gamma,
            "label_smoothing": config.training.label_smoothing,
            "regime": place.regime,
            "domains": list(place.domains),
            "seed": place.seed,
            "fold": place.fold,
        },
        "seen_speakers": sorted({experiment.utterances[row].speaker for row in seen}),
        "seen_digests": sorted({experiment.digests[row] for row in seen}),
        "trainable_parameters": count_parameters(run.fit.trainable),
        "best_epoch": run.fit.best_epoch,
        "history": [epoch._asdict() for epoch in run.fit.history],
    }


def _first_method(bench: Bench) -> dict[str, Any] | None:
    """The method whose adaptation is merged into the base before the model's own; None where none is."""
    first = bench.first_method
    return None if first is None else {"name": first.method.name, "options": first.options}


def load_model(directory: Path | str, *, mesh: Mesh, encoder: str | None = None) -> SavedModel:
    """Rebuilds a model from its checkpoint's own record.

    Args:
      encoder: Where the base encoder is now, if it is no longer where the record says.

    Raises:
      ValueError: When there is no checkpoint, or the encoder found is not the one trained on.
    """
    record = read_model_record(directory)
    source = _same_encoder(directory, record, encoder)
    method = make_method(record["method"]["name"], **record["method"]["options"])
    task = task_in(record)
    objective = make_objective(task)
    network = make_network(
        source,
        method,
        head_width=record["head"]["width"],
        head_dropout=record["head"]["dropout"],
        head_form=record["head"]["form"],
        num_outputs=objective.num_outputs,
        compute_dtype=record["training"]["compute_dtype"],
        pooling=Pooling(record["head"]["pooling"]),
        first_method=first_method_in(record),
    )
    batch_size = record["training"]["batch_size"]
    predictor = Predictor(network, objective, mesh=mesh, batch_size=batch_size)
    base = base_of(source, method)
    trained = restore_model(directory, record, network, base, mesh=mesh)
    return SavedModel(source, method, predictor, base, trained, task, record)


def first_method_in(record: dict[str, Any]) -> Method | None:
    """The method whose adaptation is merged into a checkpoint's base, by its record; None where none is."""
    first = record["first_method"]
    return None if first is None else make_method(first["name"], **first["options"])


def task_in(record: dict[str, Any]) -> Task:
    """What a checkpoint recognises, by its record."""
    return Task(record["objective"], tuple(record["outputs"]))


def _same_encoder(directory: Path | str, record: dict, encoder: str | None) -> Source:
    expected = record["encoder"]
    try:
        source = load_source(encoder or expected["source"])
    except ValueError as error:
        if encoder:
            raise
        raise ValueError(
            f"Checkpoint {str(directory)!r} was trained on {expected['source']!r}, which cannot be "
            f"loaded: {error}. If it has moved, pass --encoder=FOLDER or --encoder=HUB_ID."
        ) from error
    if source.fingerprint != expected["fingerprint"]:
        raise ValueError(
            f"Checkpoint {str(directory)!r} was trained on an encoder with fingerprint "
            f"{expected['fingerprint'][:16]}...; {source.source!r} has {source.fingerprint[:16]}.... "
            "Pass --encoder with the folder or hub id of the original weights."
        )
    return source


def predictions_of(model: SavedModel, clips: Clips) -> Float[np.ndarray, "n O"]:
    """Calibrated probabilities of classes, probabilities of tags, or ratings, of clips at the model's rate."""
    return calibrated(model, raw_predictions_of(model, clips))


def calibrated(model: SavedModel, raw: Float[np.ndarray, "n O"]) -> Float[np.ndarray, "n O"]:
    """The predictions with the model's temperature, which only classes have."""
    temperature = model.record["temperature"]
    return raw if temperature == 1.0 else tempered(raw, temperature)


def raw_predictions_of(model: SavedModel, clips: Clips) -> Float[np.ndarray, "n O"]:
    """What the model's objective makes of its outputs, such as the softmax of its logits."""
    features = _frozen_outputs(model, clips)
    rows = np.arange(len(clips.digests))
    return model.predictor.predict(model.trained, model.base, features, rows)


def _frozen_outputs(model: SavedModel, clips: Clips) -> Features:
    """What the model's network reads of each clip: the output of its method's frozen layers."""
    if model.source.hand_made is not None:
        found = embed_hand_made(model.source.hand_made, clips, Wanted(), cache_dir=None)
        return DenseFeatures(found.pooled)
    if model.source.encoder is None:
        raise ValueError(
            f"{model.source.source!r} holds embeddings and no encoder for other clips; pass "
            "--encoder=FOLDER or --encoder=HUB_ID of the weights that made them."
        )
    audio = read_audio(model.record["audio"])
    stem = model.method.frozen_layers is not None
    pooling = Pooling(model.record["head"]["pooling"])
    embedding = embed_clips(
        model.source.encoder,
        clips,
        Wanted(stem=stem, spread=not stem and pooling is Pooling.MEAN_STD),
        EmbeddingSettings(audio.batch_size, audio.window_seconds, audio.overlap_seconds),
        cache_dir=None,
        mesh=row_mesh(),
    )
    if embedding.stem is None:
        return DenseFeatures(pooled_layers(embedding, pooling))
    return embedding.stem
