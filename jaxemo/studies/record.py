"""The record of a checkpoint: what each key may hold, checked before any of it is used.

Checkpoints are downloaded; their record is read as carefully as a stranger's config.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from jaxemo import __version__
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.peft import make_method
from jaxemo.results.checks import rows_from
from jaxemo.studies.audio_settings import ComputeDtype
from jaxemo.studies.config import read_audio, read_corpus
from jaxemo.studies.corpus_settings import read_corpora
from jaxemo.studies.method_settings import METHODS, PARTS, MethodSettings
from jaxemo.studies.ranges import Between, Items, OneOf, Text, fault_of, read_block, shown
from jaxemo.studies.recognition import OBJECTIVES
from jaxemo.studies.training_settings import HEADS, POOLING
from jaxemo.training.checkpoint import read_record

RECORD_FORMAT = 7
_MOST_CLIPS = 100_000_000

_SIZE = Annotated[int, Between(1, 65_536)]
_NAME = Annotated[str, Text()]
KEYS: dict[str, Any] = {
    "jaxemo": _NAME,
    "identity": _NAME,
    "encoder.name": _NAME,
    "encoder.source": _NAME,
    "encoder.origin": _NAME,
    "encoder.revision": Annotated[str, Text(may_be_empty=True)],
    "encoder.fingerprint": _NAME,
    "encoder.sample_rate_hz": Annotated[int, Between(4_000, 768_000)],
    "method.name": Annotated[str, METHODS],
    "objective": Annotated[str, OneOf(OBJECTIVES)],
    "head.form": Annotated[str, HEADS],
    "head.width": _SIZE,
    "head.dropout": Annotated[float, Between(0, 1, below=True)],
    "head.pooling": Annotated[str, POOLING],
    "head.num_layers": _SIZE,
    "head.num_features": _SIZE,
    "temperature": Annotated[float, Between(0.01, 100)],
    # Names of the classes, ratings or tags.
    "outputs": Annotated[tuple[str, ...], Items(Text(), most=65_536)],
    "corpus.hash": _NAME,
    "training.batch_size": _SIZE,
    "training.compute_dtype": ComputeDtype,
    "training.regime": _NAME,
    "training.domains": Annotated[tuple[str, ...], Items(OneOf(DOMAINS))],
    "training.seed": Annotated[int, Between(0, 2**31 - 1)],
    "training.fold": Annotated[int, Between(0, 999)],
    "seen_speakers": Annotated[tuple[str, ...], Items(Text(), least=0, most=_MOST_CLIPS)],
    "seen_digests": Annotated[tuple[str, ...], Items(Text(), least=0, most=_MOST_CLIPS)],
    "best_epoch": Annotated[int, Between(0, 10_000_000)],
}


def read_model_record(directory: Path | str) -> dict[str, Any]:
    """The record of a checkpoint, every key of it there and in its range.

    Raises:
      ValueError: The checkpoint is absent or damaged, of another format, or its record holds values
        that cannot be used; all are listed.
    """
    record = _completed(read_record(directory))
    if record.get("format") != RECORD_FORMAT:
        raise ValueError(
            f"Checkpoint {str(directory)!r} has record format {shown(record.get('format'))}; this "
            f"jaxemo ({__version__}) reads formats 5 to {RECORD_FORMAT}. It was written by jaxemo "
            f"{shown(record.get('jaxemo'))}: train the model again, or use that version."
        )
    faults = [
        f"{key} {fault}"
        for key, declared in KEYS.items()
        if (fault := _fault(record, key, declared))
    ]
    faults += _faults_of_blocks(record)
    if faults:
        listed = "\n  ".join(faults)
        raise ValueError(f"The record of checkpoint {str(directory)!r} cannot be used:\n  {listed}")
    return record


def _completed(record: dict[str, Any]) -> dict[str, Any]:
    """A record of earlier versions as one of today.

    Format 5 knew emotion classes and, at first, one form of head alone; 6 did not always calibrate, and
    merged nothing into a model's base.
    """
    record = {"temperature": 1.0} | record
    if record.get("format") not in (5, 6):
        return record
    record = record | {"first_method": None}
    if record["format"] == 6:
        return record | {"format": RECORD_FORMAT}
    others = {key: value for key, value in record.items() if key != "emotions"}
    if "emotions" in record:
        others["outputs"] = record["emotions"]
    if isinstance(head := record.get("head"), Mapping):
        others["head"] = {"form": "standardised", "pooling": "mean", **head}
    return others | {"format": RECORD_FORMAT}


def _fault(record: Mapping[str, Any], key: str, declared: Any) -> str:
    value: Any = record
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return "is missing"
        value = value[name]
    return fault_of(value, declared)


def _faults_of_blocks(record: Mapping[str, Any]) -> list[str]:
    """What is wrong with the keys whose content is checked where it is declared."""
    faults = []
    for name, read in (
        ("audio", read_audio),
        ("corpus", read_corpus),
        ("corpus", read_corpora),
    ):
        block = record.get(name)
        if not isinstance(block, Mapping):
            faults += [f"{name} is {shown(block)}; expected a block of keys"]
            continue
        try:
            read(block)
        except ValueError as error:
            faults.append(str(error))
    faults += _faults_of_options(record.get("method"))
    faults += _faults_of_merge(record)
    try:
        rows_from("figures", record.get("figures", ()))
    except (ValueError, TypeError) as error:
        faults.append(f"figures: {error}")
    return faults


def _faults_of_options(method: Any) -> list[str]:
    """The method's own options, in the ranges of its block of the config."""
    if not isinstance(method, Mapping) or fault_of(method.get("name"), Annotated[str, METHODS]):
        return []  # Its name is a fault of its own.
    return _faults_of_method(method["name"], method.get("options"), name="method.options")


def _faults_of_merge(record: Mapping[str, Any]) -> list[str]:
    """What is merged into the base must be there, even as None, and something that can be merged."""
    if "first_method" not in record:
        return ["first_method is missing"]
    first = record["first_method"]
    if first is None:
        return []
    given = first.get("name") if isinstance(first, Mapping) else first
    if not isinstance(first, Mapping) or fault_of(given, Annotated[str, METHODS]):
        return [f"first_method is {shown(given)}; expected None, or a method with its options"]
    name = str(given)
    faults = _faults_of_method(name, first.get("options"), name="first_method.options")
    if not faults and make_method(name, **first["options"]).merge is None:
        faults.append(f"first_method is {shown(name)}, which cannot be merged")
    return faults


def _faults_of_method(method: str, options: Any, *, name: str) -> list[str]:
    if not isinstance(options, Mapping):
        return [f"{name} is {shown(options)}; expected a block of keys"]
    own, block = dict(options), MethodSettings()[method]
    parts = own.pop("options", {}) if method == "combined" else {}
    if not isinstance(parts, Mapping) or set(parts) - set(PARTS.names):
        return [f"{name}.options is {shown(parts)}; expected blocks called {PARTS.words()}"]
    faults: dict[str, str] = {}
    read_block(type(block), block.to_dict() | own, name=name, faults=faults)
    inner = [
        _faults_of_method(part, values, name=f"{name}.options.{part}")
        for part, values in parts.items()
    ]
    return [*faults.values(), *itertools.chain(*inner)]
