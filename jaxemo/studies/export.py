"""A trained model as a folder that other programs load: the encoder or its adapter, and the head.

config.json, preprocessor_config.json, model.safetensors   hub: the encoder, adaptation merged
adapter_config.json, adapter_model.safetensors             peft: the adaptation alone
head.safetensors                                           the emotion head and its statistics
README.md                                                  the model card
"""

import dataclasses
import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.models.checkpoints.hub_layout import Origin
from jaxemo.models.pretrained import Encoder, save_pretrained
from jaxemo.peft import make_method
from jaxemo.peft.hub_format import Adaptation, HubAdapter, to_hub
from jaxemo.peft.method import Params
from jaxemo.studies.peft_folder import CONFIG, WEIGHTS
from jaxemo.studies.recognition import EMOTION_CLASSES, RATINGS, TAGS
from jaxemo.studies.saved_models import SavedModel

HEAD, CARD = "head.safetensors", "README.md"
# What a head's outputs are, by the checkpoint's objective.
_OUTPUTS = {EMOTION_CLASSES: "emotions", RATINGS: "ratings", TAGS: "tags"}


class ExportFormat(enum.StrEnum):
    """HUB: the encoder in hub layout, its adaptation merged. PEFT: the adaptation alone, for peft."""

    HUB = "hub"
    PEFT = "peft"


def export_model(
    model: SavedModel, directory: Path, *, form: ExportFormat = ExportFormat.HUB
) -> list[Path]:
    """Writes the encoder with its adaptation merged, or the adaptation alone; the head; a model card.

    Args:
      directory: Made if absent; files of the same names in it are replaced.

    Returns:
      Every file of the folder, sorted.

    Raises:
      ValueError: The method cannot be merged or is none of peft's, or the model has no encoder; before
        anything is written.
    """
    if form is ExportFormat.PEFT:
        adapter = _hub_adapter(model)
        make_folder(directory)
        write_whole(directory / WEIGHTS, _safetensors(adapter.tensors, {"format": "pt"}))
        write_whole(directory / CONFIG, json.dumps(adapter.config, indent=2) + "\n")
    else:
        encoder = merged_encoder(model)
        with writing(directory):
            save_pretrained(encoder, directory)
    write_whole(directory / HEAD, _head_bytes(model))
    write_whole(directory / CARD, model_card(model.record, form=form).encode())
    return sorted(path for path in directory.iterdir() if path.is_file())


def _hub_adapter(model: SavedModel) -> HubAdapter:
    encoder, method = _encoder_of(model), model.record["method"]
    adaptation = Adaptation(
        method["name"], method["options"], model.trained.trainable["adaptation"]
    )
    return to_hub(
        adaptation,
        encoder.params,
        model_type=encoder.config.model_type,
        base_name=model.source.source,
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
    params: Params = method.merge(encoder.params, model.trained.trainable["adaptation"])
    name = f"{encoder.name}-{method.name}-{'-'.join(record['training']['domains'])}"
    return dataclasses.replace(encoder, name=name, origin=Origin.LOCAL, params=params, revision="")


# What the card says of the adaptation, and how the folder is used.
_IN_THE_CARD = {
    ExportFormat.HUB: (
        "merged into the weights",
        '`jaxemo.load_encoder("FOLDER")` or transformers load the encoder.',
    ),
    ExportFormat.PEFT: (
        "as an adapter of its own",
        '`PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), "FOLDER")` or '
        "`--config.encoders=FOLDER` load the adapted encoder.",
    ),
}


def model_card(record: dict[str, Any], *, form: ExportFormat = ExportFormat.HUB) -> str:
    """The model card in Markdown: what it is, what it was trained on, and how well it does."""
    encoder, training, (kept, use) = record["encoder"], record["training"], _IN_THE_CARD[form]
    revision = f", revision {encoder['revision']}" if encoder.get("revision") else ""
    options = ", ".join(f"{key} {value}" for key, value in record["method"]["options"].items())
    lines = [
        f"# {encoder['name']}, {record['method']['name']}, trained on "
        f"{' and '.join(training['domains'])}",
        "",
        f"- encoder: {encoder['source']} ({encoder['origin']}{revision}), fingerprint "
        f"`{encoder['fingerprint']}`",
        f"- method: {record['method']['name']}{f' ({options})' if options else ''}, {kept}",
        f"- {_OUTPUTS[record['objective']]}: {', '.join(record['outputs'])}",
        f"- corpus: {record['corpus'].get('name', 'unknown')}, content `{record['corpus']['hash']}`",
        f"- training domains: {', '.join(training['domains'])}; regime {training['regime']}, fold "
        f"{training['fold']}, seed {training['seed']}; speakers seen: {len(record['seen_speakers'])}",
        f"- audio: {encoder['sample_rate_hz']} Hz mono, edges {record['audio']['trim_silence_db']} dB "
        f"below the loudest 20 ms removed, middle {record['audio']['crop_seconds']} s",
        f"- written by jaxemo {record['jaxemo']}",
        "",
        "## Figures on held-out speakers",
        "",
        *_figure_table(record["figures"]),
        "",
        "## Use",
        "",
        f"{use} `head.safetensors` holds the emotion head",
        "(layer weights, projection, classifier) and the mean and deviation of each layer that it "
        "standardises by.",
        "",
        "## Licence",
        "",
        "The weights derive from the encoder above and from the corpus that it was trained on: the "
        "licences of both hold",
        "for them (RAVDESS, for example, is CC BY-NC-SA 4.0). This card grants nothing beyond those.",
    ]
    return "\n".join(lines) + "\n"


def _figure_table(figures: list[dict[str, Any]]) -> list[str]:
    rows = [row for row in figures if row["emotion"] == "all" and row["mean"] is not None]
    return [
        "| domain | metric | value | clips |",
        "| --- | --- | --- | --- |",
        *(f"| {r['domain']} | {r['metric']} | {r['mean']:.4f} | {r['n']} |" for r in rows),
    ]


def _head_bytes(model: SavedModel) -> bytes:
    """The head's tree and statistics, keys joined by '/'; as bytes, so that others may read the file."""
    head = traverse_util.flatten_dict(model.trained.trainable["head"], sep="/")
    statistics = {
        f"statistics/{key}": value for key, value in model.trained.statistics._asdict().items()
    }
    return _safetensors(
        head | statistics, {_OUTPUTS[model.task.objective]: ",".join(model.task.outputs)}
    )


def _safetensors(tensors: Mapping[str, Any], metadata: dict[str, str]) -> bytes:
    import safetensors.numpy

    arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    return safetensors.numpy.save(arrays, metadata=metadata)
