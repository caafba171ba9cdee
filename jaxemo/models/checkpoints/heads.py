"""Heads of classification models in hub layout, both ways: tensors by published name, and our tree.

Two kinds are known. `projector` and `classifier`, with `layer_weights` where the configuration says
`use_weighted_layer_sum`: the classes `...ForSequenceClassification` of Hugging Face transformers. And
`classifier.dense`, tanh, `classifier.out_proj`: a class that its authors publish beside their models.
"""

import enum
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from jaxemo.models.checkpoints.names import bare_name, checked_tree, flatten
from jaxemo.models.checkpoints.tables import Layout, Names, weights
from jaxemo.models.config import EncoderConfig
from jaxemo.models.heads import HeadForm

_PROJECTOR: Names = (
    *weights("projector", "projection", Layout.DENSE),
    *weights("classifier", "classifier", Layout.DENSE),
)
_TABLES: Mapping[HeadForm, Names] = {
    HeadForm.HUB_LAST: _PROJECTOR,
    HeadForm.HUB_WEIGHTED: (*_PROJECTOR, ("layer_weights", "layer_weights", Layout.SAME)),
    HeadForm.HUB_TANH: (
        *weights("classifier.dense", "projection", Layout.DENSE),
        *weights("classifier.out_proj", "classifier", Layout.DENSE),
    ),
}
DIMENSIONS = ("valence", "arousal", "dominance")


class Answers(enum.StrEnum):
    """What the outputs are: logits of classes of which one holds, values, or logits of tags that may all hold."""

    CLASSES = "emotion_classes"
    RATINGS = "ratings"
    TAGS = "tags"


# As `problem_type` of config.json.
_PROBLEMS = {
    Answers.CLASSES: "single_label_classification",
    Answers.RATINGS: "regression",
    Answers.TAGS: "multi_label_classification",
}


class PublishedHead(NamedTuple):
    """A head as it is published.

    Attributes:
      params: As `apply_head` reads them.
      labels: The published name of each output.
    """

    form: HeadForm
    params: dict[str, Any]
    labels: tuple[str, ...]
    answers: Answers


def read_head(
    tensors: Mapping[str, np.ndarray], hub: Mapping[str, Any], config: EncoderConfig
) -> PublishedHead:
    """The head among the tensors of a PyTorch checkpoint.

    Args:
      hub: The parsed `config.json`.
      config: What it says of the encoder.

    Raises:
      ValueError: There is no head of a known kind, `hub` does not say what its outputs are, or tensors
        do not fit; every such tensor is named.
    """
    bare = {bare_name(name): tensor for name, tensor in tensors.items()}
    form = _form(bare, hub)
    labels = _labels(hub)
    by_path: dict[str, tuple[str, np.ndarray]] = {}
    for name, path, layout in _TABLES[form]:
        if name in bare:
            tensor = bare[name]
            turned = tensor.T if layout is Layout.DENSE and np.ndim(tensor) == 2 else tensor
            by_path[path] = (name, turned)
    params = checked_tree(
        by_path, _template(by_path, form, config, len(labels)), optional=frozenset(), problems=[]
    )
    return PublishedHead(form, params, labels, _answers(hub, labels))


def head_tensors(params: Mapping[str, Any], form: HeadForm) -> dict[str, np.ndarray]:
    """The tensors of a head by published name; the inverse of `read_head`."""
    names = {path: (name, layout) for name, path, layout in _TABLES[form]}
    tensors = {}
    for path, leaf in flatten(params).items():
        name, layout = names[path]
        values = np.asarray(leaf, np.float32)
        tensors[name] = np.ascontiguousarray(values.T if layout is Layout.DENSE else values)
    return tensors


def head_keys(head: PublishedHead) -> dict[str, Any]:
    """What `config.json` says of a head that `head_tensors` writes."""
    names = dict(enumerate(head.labels))
    return {
        "id2label": {str(index): label for index, label in names.items()},
        "label2id": {label: index for index, label in names.items()},
        "problem_type": _PROBLEMS[head.answers],
        "classifier_proj_size": len(head.params["projection"]["bias"]),
        "use_weighted_layer_sum": head.form is HeadForm.HUB_WEIGHTED,
    }


def _form(bare: Mapping[str, Any], hub: Mapping[str, Any]) -> HeadForm:
    if "classifier.dense.weight" in bare:
        if (pooling := hub.get("pooling_mode", "mean")) != "mean":
            raise ValueError(f"config.json has pooling_mode {pooling!r:.200}; expected 'mean'")
        return HeadForm.HUB_TANH
    if "projector.weight" in bare:
        weighted = hub.get("use_weighted_layer_sum", False)
        return HeadForm.HUB_WEIGHTED if weighted is True else HeadForm.HUB_LAST
    raise ValueError(
        "the checkpoint has no head for classification: expected projector.weight and "
        "classifier.weight, or classifier.dense.weight and classifier.out_proj.weight. As an encoder "
        "it can be named in config.encoders."
    )


def _labels(hub: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of the outputs."""
    names = hub.get("id2label")
    if not isinstance(names, Mapping) or set(names) != {str(i) for i in range(len(names))}:
        raise ValueError(
            f"config.json has id2label {names!r:.200}; expected a name for each output, by its number "
            "from 0"
        )
    labels = tuple(names[str(index)] for index in range(len(names)))
    if len(set(labels)) < len(labels) or not all(isinstance(n, str) and n for n in labels):
        raise ValueError(f"config.json has id2label {names!r:.200}; expected different names")
    return labels


def _answers(hub: Mapping[str, Any], labels: tuple[str, ...]) -> Answers:
    problem = hub.get("problem_type")
    if problem is None:
        are_ratings = {name.lower() for name in labels} <= set(DIMENSIONS)
        return Answers.RATINGS if are_ratings else Answers.CLASSES
    for answers, name in _PROBLEMS.items():
        if problem == name:
            return answers
    raise ValueError(
        f"config.json has problem_type {problem!r:.200}; expected {', '.join(_PROBLEMS.values())}"
    )


def _template(
    by_path: Mapping[str, tuple[str, np.ndarray]],
    form: HeadForm,
    config: EncoderConfig,
    num_outputs: int,
) -> dict[str, Any]:
    """The head's tree as shapes; the width of its projection is its own."""
    bias = by_path.get("projection/bias", ("", np.zeros(1)))[1]
    hidden = np.shape(bias)[0] if np.ndim(bias) == 1 else 1
    shapes: dict[str, tuple[int, ...]] = {
        "projection/kernel": (config.hidden_size, hidden),
        "projection/bias": (hidden,),
        "classifier/kernel": (hidden, num_outputs),
        "classifier/bias": (num_outputs,),
    }
    if form is HeadForm.HUB_WEIGHTED:
        shapes["layer_weights"] = (config.num_hidden_layers + 1,)
    structs = {path: jax.ShapeDtypeStruct(s, np.float32) for path, s in shapes.items()}
    return traverse_util.unflatten_dict(structs, sep="/")
