"""Folders in hub layout: config.json, preprocessor_config.json and a weights file.

Reads safetensors (one file or sharded), Flax msgpack and `pytorch_model.bin`, in that order of
preference, from a local folder or the Hugging Face hub; writes safetensors or Flax msgpack. No code
from a checkpoint ever runs. A damaged file is one `ValueError` that names it.
"""

import enum
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from jaxemo.models.checkpoints import names as checkpoint_names
from jaxemo.models.checkpoints import torch_pickle
from jaxemo.models.checkpoints.heads import PublishedHead, head_keys, head_tensors, read_head
from jaxemo.models.config import EncoderConfig
from jaxemo.models.families import Normalisation

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
# Since transformers 5 the same lies in here, under `feature_extractor`.
PROCESSOR = "processor_config.json"
_ADAPTER = "adapter_config.json"
_MIN_RATE_HZ, _MAX_RATE_HZ = 4_000, 768_000
_LFS_POINTER = b"version https://git-lfs"

# Best first: the safest format, then the one that needs no transposing, then pickles.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "flax_model.msgpack",
    "flax_model.msgpack.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


_SAFETENSORS_DTYPES = frozenset(
    ("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "BF16", "F32", "F64")
)


class WeightsFormat(enum.StrEnum):
    """The weights file that is written; both kinds may lie in one folder."""

    SAFETENSORS = "model.safetensors"
    FLAX = "flax_model.msgpack"


class Origin(enum.StrEnum):
    """Where an encoder's weights come from."""

    PUBLISHED = "published"
    LOCAL = "local"
    UNTRAINED = "untrained"


class Preprocessing(NamedTuple):
    """What `preprocessor_config.json` says."""

    sample_rate_hz: int
    normalisation: Normalisation


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
      ValueError: if the file is absent, is not JSON, or holds no object.
    """
    if not path.is_file():
        raise ValueError(
            f"no {path.name} in {path.parent}; an encoder folder has the hub's layout"
            f"{_hint_of_adapter(path.parent)}"
        )
    _check_is_no_pointer(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected an object")
    return content


def read_preprocessing(directory: Path, config: EncoderConfig) -> Preprocessing:
    """Rate and normalisation from `processor_config.json` or `preprocessor_config.json`.

    As transformers 5 does: a `feature_extractor` in the first comes before the second. An absent file
    or key means what Hugging Face's feature extractor of the family defaults to, at the rate in
    config.json (MERT) or 16 kHz.

    Raises:
      ValueError: A value is of the wrong type or out of its range.
    """
    path, content = _extractor_settings(directory)
    rate = content.get("sampling_rate", config.sample_rate_hz)
    if type(rate) is not int or not _MIN_RATE_HZ <= rate <= _MAX_RATE_HZ:
        raise ValueError(
            f"{path} has sampling_rate {rate!r:.200}, expected {_MIN_RATE_HZ} to {_MAX_RATE_HZ} samples "
            "per second"
        )
    default = config.family.normalisation is not Normalisation.NONE
    normalise = content.get("do_normalize", default)
    if not isinstance(normalise, bool):
        raise ValueError(f"{path} has do_normalize {normalise!r:.200}, expected true or false")
    kinds = Normalisation.NONE, Normalisation.ZERO_MEAN_UNIT_VARIANCE
    return Preprocessing(rate, kinds[normalise])


def _extractor_settings(directory: Path) -> tuple[Path, dict[str, Any]]:
    """The feature extractor's settings, and the file that they are from."""
    nested = directory / PROCESSOR
    if nested.is_file():
        content = read_json(nested).get("feature_extractor")
        if isinstance(content, dict):
            return nested, content
    path = directory / PREPROCESSOR
    return path, read_json(path) if path.is_file() else {}


def read_params(
    directory: Path, config: EncoderConfig, template: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameter tree from the folder's weights file.

    Raises:
      ValueError: if there is no weights file, it is damaged, or its keys do not fit `template`.
    """
    flax = config.family.has_flax_layout
    path = _weights_file(directory, [n for n in WEIGHTS if flax or ".msgpack" not in n])
    # Models that were fine-tuned without masking have no mask embedding, whatever their config says.
    optional = frozenset({"masked_spec_embed"})
    try:
        to_params = _reader(path.name)[1]
        return to_params(_tensors(path), template, optional=optional)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_published_head(directory: Path, config: EncoderConfig) -> PublishedHead:
    """The head in the folder's weights file.

    Raises:
      ValueError: There is none of a known kind, or it does not fit; see `heads.read_head`.
    """
    hub = read_json(directory / CONFIG)
    path = _weights_file(directory, [name for name in WEIGHTS if ".msgpack" not in name])
    try:
        return read_head(_tensors(path), hub, config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _weights_file(directory: Path, readable: Sequence[str]) -> Path:
    """The first of the names that is there."""
    name = next((name for name in readable if (directory / name).is_file()), None)
    if name is None:
        raise ValueError(f"no weights in {directory}; expected one of {', '.join(readable)}")
    return directory / name


def _tensors(path: Path) -> dict[str, Any]:
    read = _reader(path.name)[0]
    tensors = {}
    for part in _parts(path):
        _check_is_no_pointer(part)
        tensors |= read(part)
    return tensors


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, which the safetensors library checks as it opens it."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="np") as file:
            names = list(file.keys())
            kinds = {name: file.get_slice(name).get_dtype() for name in names}
            if foreign := sorted(set(kinds.values()) - _SAFETENSORS_DTYPES):
                raise ValueError(
                    f"{path.name} holds tensors of {', '.join(foreign)}, which numpy has no type for; "
                    "save the model in float32, float16 or bfloat16"
                )
            return {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"{path.name} is no usable safetensors file: {error}") from error


def read_msgpack(path: Path) -> dict[str, Any]:
    """The arrays of a Flax msgpack file, by their path in its tree (`encoder/layers/0/...`)."""
    from flax import serialization

    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except Exception as error:
        # Bytes out of place make msgpack, numpy and Flax raise errors of any type.
        raise ValueError(
            f"{path.name} is no usable Flax msgpack file: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path.name} holds {type(tree).__name__}, expected a parameter tree")
    arrays = {"/".join(map(str, keys)): a for keys, a in traverse_util.flatten_dict(tree).items()}
    if others := [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"{path.name} holds what is no array in {', '.join(others[:8])}")
    return arrays


def download(repository: str, *, revision: str | None = None) -> Path:
    """The local snapshot of a hub repository's configuration and preferred weights.

    Only the files needed are fetched, with a progress bar, all of them from the commit that the
    first one came from; the folder is named by it. `HF_HUB_OFFLINE=1` uses what the cache holds.

    Raises:
      ValueError: if the hub (or, offline, the cache) has no such repository, revision, or weights.
    """
    config = _fetch(repository, CONFIG, revision)
    if config is None:
        raise ValueError(f"{repository} has no {CONFIG}, or is neither reachable nor in the cache")
    revision = config.parent.name
    for name in (PROCESSOR, PREPROCESSOR):
        _fetch(repository, name, revision)
    for name in WEIGHTS:
        path = _fetch(repository, name, revision)
        if path is not None:
            if name.endswith(".index.json"):
                for part in _parts(path, must_exist=False):
                    _fetch(repository, part.name, revision)
            return config.parent
    raise ValueError(f"{repository} has no weights among {', '.join(WEIGHTS)}")


def write(
    directory: Path,
    *,
    config: EncoderConfig,
    params: Mapping[str, Any],
    name: str,
    origin: Origin,
    preprocessing: Preprocessing,
    weights: WeightsFormat = WeightsFormat.SAFETENSORS,
    head: PublishedHead | None = None,
) -> None:
    """Writes an encoder in hub layout, as Hugging Face transformers reads it.

    Args:
      head: Written with it, as the family's class for classification has it; for safetensors.
    """
    hub = config.to_hub() | {"_name_or_path": name, "jaxemo_origin": origin.value}
    if head is None:
        weights_bytes = _WRITERS[weights](params, config)
    else:
        weights_bytes = _classifier_bytes(params, config, head)
        hub |= {"architectures": [config.family.classifier], **head_keys(head)}
    directory.mkdir(parents=True, exist_ok=True)
    extractor = {
        "do_normalize": preprocessing.normalisation is not Normalisation.NONE,
        "sampling_rate": preprocessing.sample_rate_hz,
        "feature_size": config.num_mel_bins or 1,
        **config.family.feature_extractor,
    }
    for file_name, content in ((CONFIG, hub), (PREPROCESSOR, extractor)):
        (directory / file_name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (directory / weights).write_bytes(weights_bytes)


def _safetensors_bytes(params: Mapping[str, Any], config: EncoderConfig) -> bytes:
    """The parameters under PyTorch's names; as bytes, because only their owner can read `save_file`'s files."""
    import safetensors.numpy

    tensors = checkpoint_names.torch_from_params(params, model_type=config.model_type)
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})


def _classifier_bytes(
    params: Mapping[str, Any], config: EncoderConfig, head: PublishedHead
) -> bytes:
    """Encoder and head under the names of the family's class for classification."""
    import safetensors.numpy

    encoder = checkpoint_names.torch_from_params(params, model_type=config.model_type)
    tensors = {f"{config.family.prefix}{name}": array for name, array in encoder.items()}
    tensors |= head_tensors(head.params, head.form)
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})


def _msgpack_bytes(params: Mapping[str, Any], config: EncoderConfig) -> bytes:
    """The tree as it is: its names and layouts are those of Hugging Face's Flax models."""
    from flax import serialization

    if not config.family.has_flax_layout:
        raise ValueError(
            f"the Flax layout of {config.model_type} is neither read nor written; use safetensors"
        )
    arrays = traverse_util.flatten_dict(params)
    return serialization.msgpack_serialize(
        traverse_util.unflatten_dict({path: np.asarray(array) for path, array in arrays.items()})
    )


_WRITERS: dict[WeightsFormat, Callable[[Mapping[str, Any], EncoderConfig], bytes]] = {
    WeightsFormat.SAFETENSORS: _safetensors_bytes,
    WeightsFormat.FLAX: _msgpack_bytes,
}


def _reader(name: str) -> tuple[Callable[..., dict[str, Any]], Callable[..., dict[str, Any]]]:
    """What reads such a file into arrays by name, and what makes a parameter tree of them."""
    if ".msgpack" in name:
        return read_msgpack, checkpoint_names.params_from_flax
    read = read_safetensors if ".safetensors" in name else torch_pickle.read
    return read, checkpoint_names.params_from_torch


def _parts(path: Path, *, must_exist: bool = True) -> list[Path]:
    """The files of a possibly sharded checkpoint; an index may name files of its own folder only."""
    if not path.name.endswith(".index.json"):
        return [path]
    index = read_json(path).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise ValueError(f"{path.name} has no weight_map")
    suffix = path.name.removesuffix(".index.json").rpartition(".")[2]
    names = sorted({str(name) for name in index.values()})
    bad = [name for name in names if not re.fullmatch(rf"[\w.-]+\.{suffix}", name)]
    if bad:
        raise ValueError(f"{path.name} names {', '.join(bad)}; expected plain .{suffix} files")
    parts = [path.parent / name for name in names]
    missing = [part.name for part in parts if must_exist and not part.is_file()]
    if missing:
        raise ValueError(f"{path.name} names files that are not there: {', '.join(missing)}")
    return parts


def _check_is_no_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise ValueError(
                f"{path.name} is a git-lfs pointer and not the file itself; run `git lfs pull` in "
                f"{path.parent}"
            )


def _hint_of_adapter(directory: Path) -> str:
    """What to do with a folder that peft wrote."""
    if not (directory / _ADAPTER).is_file():
        return ""
    base = read_json(directory / _ADAPTER).get("base_model_name_or_path")
    called = repr(base) if isinstance(base, str) and base else "a base that it does not name"
    return (
        f". This is a PEFT adapter for {called}: give the base as the encoder, and train with "
        "--config.train.method=lora; or merge the adapter with peft (`merge_and_unload`), save the "
        "model with `save_pretrained` and give that folder"
    )


def _fetch(repository: str, name: str, revision: str | None) -> Path | None:
    """One file of a hub repository, None where it has none (or, offline, where the cache has none)."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except errors.EntryNotFoundError:
        return None
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise ValueError(
            f"no encoder {repository!r}: neither a local folder nor a hub repository"
            f"{'' if revision is None else f' with revision {revision!r}'} ({error})"
        ) from error
