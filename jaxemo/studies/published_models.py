"""Published emotion models in the place of a checkpoint: their own head, their labels by our names.

What such a model was trained on is not known here, so that no clip of a corpus counts as seen.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxemo.data.corpora.corpus import Corpus
from jaxemo.data.corpora.emotion_names import emotion_of
from jaxemo.models.checkpoints.heads import Answers, PublishedHead
from jaxemo.models.checkpoints.hub_layout import CONFIG
from jaxemo.models.classifier import load_classifier
from jaxemo.models.heads import Pooling, no_standardisation
from jaxemo.peft import make_method
from jaxemo.studies.audio_settings import AudioSettings
from jaxemo.studies.networks import make_network
from jaxemo.studies.recognition import EMOTION_CLASSES, Task, make_objective
from jaxemo.studies.saved_models import SavedModel, load_model
from jaxemo.studies.sources import describe_source, encoder_source
from jaxemo.training.objectives import Objective
from jaxemo.training.predict import Predictor, TrainedModel

logger = logging.getLogger("jaxemo")

_BATCH_SIZE = 32


def load_any_model(source: str, *, mesh: Mesh, encoder: str | None = None) -> SavedModel:
    """A checkpoint of ours, or a published model by its hub id or folder.

    Args:
      source: A folder that `jaxemo train` wrote, a folder in hub layout or a hub id.
      encoder: As `load_model` takes it, for a checkpoint of ours.

    Raises:
      ValueError: There is neither at that place, or it cannot be used.
    """
    if not names_published_model(source):
        return load_model(source, mesh=mesh, encoder=encoder)
    if encoder is not None:
        raise ValueError(
            f"{source} is a published model, which has its encoder in itself; --encoder={encoder} is "
            "for checkpoints that jaxemo wrote."
        )
    return load_published_model(source, mesh=mesh)


def is_published(model: SavedModel) -> bool:
    """Whether others trained it."""
    return "labels" in model.record


def names_published_model(source: str) -> bool:
    """Whether a folder is in hub layout, or what is no folder reads like a hub id."""
    folder = Path(source).expanduser()
    if folder.exists():
        return (folder / CONFIG).is_file()
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?", source) is not None


def load_published_model(source: str, *, mesh: Mesh) -> SavedModel:
    """A published classification or regression model, ready to score and predict.

    Its classes are the emotions that its labels mean; labels that mean one emotion are added up, and
    those that mean none keep their names, which the log says.

    Raises:
      ValueError: As `load_classifier`.
    """
    encoder, head = load_classifier(source)
    loaded = encoder_source(encoder, source)
    names = names_of_labels(head)
    record = {
        "encoder": describe_source(loaded),
        "head": {"form": head.form.value, "pooling": Pooling.MEAN.value},
        "labels": names,
        "audio": AudioSettings().to_dict(),
        "seen_speakers": [],
        "seen_digests": [],
        "temperature": 1.0,
    }
    listed = ", ".join(f"{label} -> {name}" for label, name in names.items())
    logger.info("%s: labels %s", source, listed)
    trained = TrainedModel(
        {"adaptation": {}, "head": jax.tree.map(jnp.asarray, head.params)},
        no_standardisation(encoder.config.num_hidden_layers + 1, encoder.config.hidden_size),
    )
    task = Task(str(head.answers), tuple(dict.fromkeys(names.values())))
    method = make_method("weighted_sum")
    network = make_network(
        loaded,
        method,
        head_width=head.params["projection"]["bias"].size,
        head_dropout=0.0,
        num_outputs=len(head.labels),
        compute_dtype="float32",
        head_form=head.form,
    )
    objective = _answering(make_objective(Task(task.objective, head.labels)), names, task)
    predictor = Predictor(network, objective, mesh=mesh, batch_size=_BATCH_SIZE)
    return SavedModel(loaded, method, predictor, {}, trained, task, record)


def names_of_labels(head: PublishedHead) -> dict[str, str]:
    """Each published label and the emotion that it means here; ratings and tags keep their names."""
    if head.answers is not Answers.CLASSES:
        return {label: label for label in head.labels}
    return {label: emotion_of(label) or label for label in head.labels}


def asked_for(model: SavedModel, corpus: Corpus) -> tuple[SavedModel, list[str]]:
    """A published model that answers with the corpus's emotions alone, and what a reader must know of it.

    Raises:
      ValueError: It does not know all of them, or does not answer with emotions.
    """
    source, known, labels = model.source.source, model.task.outputs, model.record["labels"]
    if model.task.objective != EMOTION_CLASSES:
        raise ValueError(
            f"{source} answers with {', '.join(known)}, on a scale or by rules of its authors, and not "
            "with one of several emotions; `jaxemo predict` gives its answers."
        )
    if unknown := [emotion for emotion in corpus.emotions if emotion not in known]:
        raise ValueError(
            f"{source} knows the emotions {', '.join(known)}; the corpus config asks for "
            f"{', '.join(unknown)} too. Set --config.corpus.emotions to those that both have."
        )
    listed = ", ".join(f"{label} as {name}" for label, name in labels.items())
    notes = [
        f"{source} is a published model, its labels read so: {listed}. Which clips it was trained on is "
        "not known here; clips of its training would flatter it."
    ]
    if others := [emotion for emotion in known if emotion not in corpus.emotions]:
        notes.append(
            f"It could not answer with {', '.join(others)}, which the corpus config does not ask for: "
            "the likeliest of the others counts."
        )
    task = Task(EMOTION_CLASSES, tuple(corpus.emotions))
    before = model.predictor
    objective = _answering(make_objective(Task(EMOTION_CLASSES, tuple(labels))), labels, task)
    predictor = Predictor(before.network, objective, mesh=before.mesh, batch_size=before.batch_size)
    return model._replace(task=task, predictor=predictor), notes


def _answering(objective: Objective, names: Mapping[str, str], task: Task) -> Objective:
    """The objective with the probabilities of the task's classes, given that one of them holds."""
    if task.objective != EMOTION_CLASSES:
        return objective
    meaning = np.array([[name == output for output in task.outputs] for name in names.values()])

    def probabilities(logits: Float[Array, "B K"]) -> Float[Array, "B C"]:
        # In logarithms, since all classes that are asked for may be improbable beside the others.
        of_classes = jnp.where(meaning[None], logits[:, :, None], -jnp.inf)
        return jax.nn.softmax(jax.nn.logsumexp(of_classes, axis=1))

    return objective._replace(predict=probabilities)
