"""A folder of Hugging Face's peft as an encoder: the base that it names with its adapter merged."""

import dataclasses
from pathlib import Path

from jaxemo.models.checkpoints.hub_layout import Origin, read_json, read_safetensors
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.peft import make_method
from jaxemo.peft.hub_format import HubAdapter, from_hub

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_peft_folder(source: str) -> bool:
    """Whether peft wrote the folder, and a base has to be loaded for it."""
    return (Path(source).expanduser() / CONFIG).is_file()


def load_adapted_encoder(source: str) -> Encoder:
    """The base that the folder names, its adapter merged.

    Raises:
      ValueError: There is no base or no adapter, or they do not fit; all faults are listed.
    """
    folder = Path(source).expanduser()
    config = read_json(folder / CONFIG)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ValueError(
            f"{folder / CONFIG} names no base_model_name_or_path; write the encoder's hub id or folder "
            "there."
        )
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has {CONFIG} and no {WEIGHTS}; save the adapter with a current peft "
            "(`save_pretrained`)."
        )
    encoder = load_encoder(base)
    adapter = HubAdapter(config, read_safetensors(folder / WEIGHTS))
    try:
        found = from_hub(adapter, encoder.params, model_type=encoder.config.model_type)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    merge = make_method(found.method, **found.options).merge
    assert merge is not None  # Those of `FORMAT_METHODS` can be merged.
    params = merge(encoder.params, found.trainable)
    return dataclasses.replace(
        encoder, name=folder.resolve().name, origin=Origin.LOCAL, params=params, revision=""
    )
