"""A trained model as a folder that other programs load: the encoder or its adapter, and the head.

config.json, preprocessor_config.json, model.safetensors   hub: the model, adaptation merged
adapter_config.json, adapter_model.safetensors             peft: the adaptation alone
head.safetensors                                           a head that those have no place for
README.md                                                  the model card

A head trained as `hub_weighted` or `hub_last` goes into the model itself, as transformers' class for
sequence classification reads it; peft loads modules alone, and so no layer weights.
"""

import dataclasses
import enum
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.models.checkpoints.heads import Answers, PublishedHead, head_tensors
from jaxemo.models.checkpoints.hub_layout import Origin
from jaxemo.models.heads import HeadForm
from jaxemo.models.pretrained import Encoder, save_pretrained
from jaxemo.peft import make_method
from jaxemo.peft.hub_format import Adaptation, HubAdapter, to_hub
from jaxemo.peft.method import Params
from jaxemo.studies.model_card import OUTPUTS, Exported, model_card
from jaxemo.studies.peft_folder import CONFIG, WEIGHTS
from jaxemo.studies.saved_models import SavedModel, first_method_in
from jaxemo.training.model import merged_base

logger = logging.getLogger("jaxemo")

HEAD, CARD = "head.safetensors", "README.md"
_OF_WAVLM_ADAPTERS = (
    "WavLM's attention in transformers reads the weights of its projections past an adapter: merge it "
    "(`merge_and_unload`) before the model is used."
)
_OF_WEIGHTED_STABLE_MODELS = (
    "transformers 5 mixes the last layer of this kind of encoder from before its final norm, 4 from after "
    "it, as this model was trained: load it with transformers 4, or train with "
    "--config.training.head=hub_last, which is the same in both."
)


class ExportFormat(enum.StrEnum):
    """HUB: the model in hub layout, its adaptation merged. PEFT: the adaptation alone, for peft."""

    HUB = "hub"
    PEFT = "peft"


class _Fit(NamedTuple):
    """The head as the format takes it; or None, and why."""

    head: PublishedHead | None
    reason: str = ""


def export_model(
    model: SavedModel, directory: Path, *, form: ExportFormat = ExportFormat.HUB
) -> list[Path]:
    """Writes the model with its adaptation merged, or the adaptation alone; a model card.

    A head that the format has no place for goes into a file of its own, which the log and the card say.

    Args:
      directory: Made if absent; files of the same names in it are replaced.

    Returns:
      Every file of the folder but hidden ones (a command's lock), sorted.

    Raises:
      ValueError: The method cannot be merged or is none of peft's, or the model has no encoder; before
        anything is written.
    """
    fit = _fitting_head(model, form)
    if form is ExportFormat.PEFT:
        adapter = _hub_adapter(model, fit.head)
        make_folder(directory)
        write_whole(directory / WEIGHTS, _safetensors(adapter.tensors, {"format": "pt"}))
        write_whole(directory / CONFIG, json.dumps(adapter.config, indent=2) + "\n")
    else:
        encoder = merged_encoder(model)
        with writing(directory):
            save_pretrained(encoder, directory, head=fit.head)
    if fit.head is None:
        logger.warning("the head is in %s, for jaxemo alone: %s", HEAD, fit.reason)
        write_whole(directory / HEAD, _head_bytes(model))
    else:
        (directory / HEAD).unlink(missing_ok=True)
    if caveat := _caveat(model, fit.head, form):
        logger.warning("%s", caveat)
    exported = Exported(
        merged=form is ExportFormat.HUB,
        classifier=_encoder_of(model).config.family.classifier if fit.head else "",
        why_no_head=fit.reason,
        caveat=caveat,
    )
    write_whole(directory / CARD, model_card(model.record, exported).encode())
    return sorted(path for path in directory.iterdir() if path.is_file() and path.name[0] != ".")


def _fitting_head(model: SavedModel, form: ExportFormat) -> _Fit:
    config = _encoder_of(model).config
    head_form = HeadForm(model.record["head"]["form"])
    if head_form is HeadForm.STANDARDISED:
        return _Fit(
            None,
            "it standardises each layer and has a ReLU, which transformers' classes have not; train "
            "with --config.training.head=hub_last or hub_weighted to export it whole",
        )
    if not config.family.classifier:
        return _Fit(None, f"transformers has no such class for {config.model_type}")
    if form is ExportFormat.PEFT and head_form is HeadForm.HUB_WEIGHTED:
        return _Fit(
            None,
            "peft loads whole modules, and layer weights are in none; train with "
            "--config.training.head=hub_last, or export with --format=hub",
        )
    head = PublishedHead(
        head_form,
        model.trained.trainable["head"],
        model.task.outputs,
        Answers(model.task.objective),
    )
    return _Fit(head)


def _caveat(model: SavedModel, head: PublishedHead | None, form: ExportFormat) -> str:
    """Where transformers computes something else with the exported model; empty where it does not."""
    config = _encoder_of(model).config
    if form is ExportFormat.PEFT and config.model_type == "wavlm":
        return _OF_WAVLM_ADAPTERS
    is_weighted = head is not None and head.form is HeadForm.HUB_WEIGHTED
    return _OF_WEIGHTED_STABLE_MODELS if is_weighted and config.do_stable_layer_norm else ""


def _hub_adapter(model: SavedModel, head: PublishedHead | None) -> HubAdapter:
    if first := model.record["first_method"]:
        raise ValueError(
            f"The model's adapter stands on a base into which the {first['name']!r} of a first stage is "
            "merged, and no hub id names that base; export the whole with --format=hub."
        )
    encoder, method = _encoder_of(model), model.record["method"]
    adaptation = Adaptation(
        method["name"], method["options"], model.trained.trainable["adaptation"]
    )
    return to_hub(
        adaptation,
        encoder.params,
        model_type=encoder.config.model_type,
        base_name=model.source.source,
        head={} if head is None else head_tensors(head.params, head.form),
    )


def _encoder_of(model: SavedModel) -> Encoder:
    if model.source.encoder is None:
        raise ValueError(
            f"{model.source.name!r} is no encoder: there are no weights to export. Train with an "
            "encoder: --config.train.encoder=SOURCE."
        )
    return model.source.encoder


def merged_encoder(model: SavedModel) -> Encoder:
    """The encoder whose own forward pass gives what the adapted one gives.

    Raises:
      ValueError: The method cannot be merged, or the model has no encoder.
    """
    record, encoder = model.record, _encoder_of(model)
    method = make_method(record["method"]["name"], **record["method"]["options"])
    if method.merge is None:
        raise ValueError(
            f"Method {method.name!r} cannot be merged: what it adds is no part of the hub's "
            "layout. Train with 'lora' or 'full' to export, or keep the checkpoint and use "
            "`jaxemo predict`."
        )
    base = merged_base(first_method_in(record), encoder.params, model.trained.inherited)
    params: Params = method.merge(base, model.trained.trainable["adaptation"])
    name = f"{encoder.name}-{method.name}-{'-'.join(record['training']['domains'])}"
    return dataclasses.replace(encoder, name=name, origin=Origin.LOCAL, params=params, revision="")


def _head_bytes(model: SavedModel) -> bytes:
    """The head's tree and statistics, keys joined by '/'; as bytes, so that others may read the file."""
    head = traverse_util.flatten_dict(model.trained.trainable["head"], sep="/")
    statistics = {
        f"statistics/{key}": value for key, value in model.trained.statistics._asdict().items()
    }
    return _safetensors(
        head | statistics, {OUTPUTS[model.task.objective]: ",".join(model.task.outputs)}
    )


def _safetensors(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    import safetensors.numpy

    arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    return safetensors.numpy.save(arrays, metadata=metadata)
