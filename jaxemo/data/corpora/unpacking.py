"""Audio that lies inside other files: Parquet, folders of `datasets`, and WebDataset's tar shards.

Each is unpacked once into a folder of the cache, named by the source's place, size and time. Files get
names of our own, so that nothing that an archive says can lead out of that folder.
"""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from jaxemo.data.corpora.audio_files import AUDIO_EXTENSIONS
from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.data.temporary import temporary_beside

# (where the row stands, its cells, cells beyond the header)
RawRow = tuple[str, dict[str, str], str]

_ROWS = "rows.json"
_SAVED_BY_DATASETS = ("dataset_dict.json", "state.json")
_PARTS = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
_BATCH_ROWS = 64
_MAX_LABEL_BYTES = 1_000_000


def is_dataset_folder(path: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote the folder."""
    return any((path / name).is_file() for name in _SAVED_BY_DATASETS)


def shards_of(path: Path) -> list[Path]:
    """The tar file, or those in the folder, sorted."""
    if path.is_dir():
        return sorted(path.glob("*.tar"))
    return [path] if path.suffix.lower() == ".tar" and path.is_file() else []


def parquet_rows(path: Path, unpack_dir: Path | None) -> list[RawRow]:
    """Rows of a Parquet file; a column `audio` of bytes is unpacked, a few rows in memory at a time.

    Raises:
      ValueError: It is no Parquet file.
    """
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        done = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for record in batch.to_pylist():
                    done += 1
                    yield f"row {done}", record
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path} is damaged after row {done}: {error}") from error

    with file:
        if "audio" not in file.schema_arrow.names:
            return [(where, cells_of(record), "") for where, record in records()]
        return _unpacked([path], unpack_dir, lambda folder: _write_audio(folder, records()))


def dataset_rows(path: Path, unpack_dir: Path | None) -> list[RawRow]:
    """Rows of a folder that `datasets` saved; splits become parts.

    Raises:
      ModuleNotFoundError: `datasets` is not installed.
      ValueError: It has no column `audio`.
    """
    datasets = _datasets(str(path))

    def write(folder: Path) -> list[RawRow]:
        return _write_audio(folder, _records(str(path), datasets.load_from_disk(str(path))))

    return _unpacked([path], unpack_dir, write)


def hub_rows(name: str, unpack_dir: Path | None) -> list[RawRow]:
    """Rows of a dataset that `datasets` knows by name, read as a stream; splits become parts.

    Args:
      name: OWNER/NAME, perhaps with @REVISION. It is read once: what its owner changes later is seen when
        the unpacked audio is gone.

    Raises:
      ModuleNotFoundError: `datasets` is not installed.
      ValueError: It cannot be had, or has no column `audio`.
    """
    datasets = _datasets(name)
    source, _, revision = name.partition("@")
    if not source.strip("/"):
        raise ValueError(f"dataset {name!r} has no name; expected hub:OWNER/NAME.")

    def write(folder: Path) -> list[RawRow]:
        try:
            loaded = datasets.load_dataset(source, revision=revision or None, streaming=True)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise ValueError(f"the dataset {name} cannot be loaded: {error}") from error
        return _write_audio(folder, _records(name, loaded))

    return _unpacked([], unpack_dir, write, name=name)


def _datasets(place: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{place} is read by the package `datasets`, which is not installed; pip install datasets."
        ) from error
    return datasets


def _records(place: str, loaded: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, cells with the audio's bytes) of every split, whether it is a stream or on disk."""
    import datasets

    splits = {str(k): v for k, v in loaded.items()} if isinstance(loaded, dict) else {"": loaded}
    for name, split in splits.items():
        columns = split.column_names or ()
        if "audio" not in columns:
            raise ValueError(
                f"{place} has no column audio; found {', '.join(columns) or 'none'}. Rename it."
            )
        encoded = split.cast_column("audio", datasets.Audio(decode=False))
        names = {
            column: feature.names
            for column, feature in (encoded.features or {}).items()
            if isinstance(feature, datasets.ClassLabel)
        }
        part = {"partition": _PARTS[name]} if name in _PARTS else {}
        for number, record in enumerate(map(dict, encoded), start=1):
            words = {column: _word(known, record[column]) for column, known in names.items()}
            yield f"{name} row {number}".strip(), {**part, **record, **words}


def _word(names: Sequence[str], label: int | None) -> str | None:
    """A class's name; nothing for a clip without one, which `datasets` writes as -1."""
    return None if label is None or label < 0 else names[label]


def shard_rows(shards: Sequence[Path], unpack_dir: Path | None) -> list[RawRow]:
    """Rows of WebDataset shards: an audio file and a JSON object of its labels under each key.

    Raises:
      ValueError: A shard is damaged, a member leads out of it, or a key lacks audio or labels.
    """

    def write(folder: Path) -> list[RawRow]:
        return [row for shard in shards for row in _write_audio(folder, _samples(shard))]

    return _unpacked(shards, unpack_dir, write)


# Tar ------------------------------------------------------------------------------------------


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, labels with the audio's bytes) of a shard, in which the members of a key are neighbours."""
    try:
        with tarfile.open(shard, "r:") as archive:
            key, record, seen = "", {}, set()
            for member in archive:
                if not member.isfile():
                    continue
                path = _safe_name(member.name, shard)
                stem, _, ending = path.name.partition(".")
                if (new := str(path.with_name(stem))) != key:
                    yield from _sample(shard, key, record)
                    key, record = new, {}
                    if key in seen:
                        raise ValueError(f"{shard} has key {key!r} at two places.")
                    seen.add(key)
                found = _member(archive, member, f".{ending.lower()}", shard)
                if "audio" in found and "audio" in record:
                    raise ValueError(f"{shard}: key {key!r} has more than one audio file.")
                record |= found
            yield from _sample(shard, key, record)
    except tarfile.TarError as error:
        raise ValueError(f"{shard} is no tar file that can be read: {error}") from error


def _safe_name(name: str, shard: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{shard} has a member {name!r}, which leads out of it; it is not read.")
    return path


def _member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, shard: Path
) -> dict[str, Any]:
    if ending == ".json" and member.size > _MAX_LABEL_BYTES:
        raise ValueError(f"{shard}: {member.name} has {member.size} bytes; expected a few labels.")
    if ending != ".json" and ending not in AUDIO_EXTENSIONS:
        return {}
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if ending != ".json":
        return {"audio": {"bytes": content, "path": member.name}}
    try:
        labels = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{shard}: {member.name} is no JSON: {error}") from error
    return {k: v for k, v in labels.items() if k != "audio"} if isinstance(labels, dict) else {}


def _sample(shard: Path, key: str, record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not record:
        return
    missing = [] if "audio" in record else ["no audio file"]
    missing += [] if len(record) > ("audio" in record) else ["no JSON object of labels"]
    if missing:
        raise ValueError(f"{shard}: key {key!r} has {' and '.join(missing)}.")
    yield f"{shard.name} {key}", record


# Writing --------------------------------------------------------------------------------------


def _write_audio(folder: Path, records: Iterator[tuple[str, dict[str, Any]]]) -> list[RawRow]:
    """Writes the column `audio` of each record to a file, and puts its path in the place."""
    rows = []
    taken = sum(1 for _ in folder.iterdir())
    for number, (where, record) in enumerate(records, start=taken):
        content, name = _content_of(record.pop("audio"), where)
        cells = cells_of(record)
        if content is None:
            cells["path"] = name
        else:
            ending = PurePosixPath(name).suffix.lower()
            ending = ending if ending in AUDIO_EXTENSIONS else ".wav"
            file = f"{number:08d}{ending}"
            with writing(folder / file, num_bytes=len(content)):
                (folder / file).write_bytes(content)
            cells["path"] = file
        rows.append((where, cells, ""))
    return rows


def _content_of(audio: Any, where: str) -> tuple[bytes | None, str]:
    """The bytes of a sound, if it has some, and the name of its file, if it has one."""
    match audio:
        case None:
            return None, ""
        case bytes():
            return audio, ""
        case str():
            return None, audio
        case {"bytes": content, "path": name}:
            return content, name or ""
    raise ValueError(
        f"{where}: column audio holds {type(audio).__name__}; expected bytes, a path, or both as "
        "`datasets` has them."
    )


def _unpacked(
    sources: Sequence[Path],
    unpack_dir: Path | None,
    write: Callable[[Path], list[RawRow]],
    *,
    name: str = "",
) -> list[RawRow]:
    """The rows, from the folder in the cache; `write` fills it where it is not there yet.

    Args:
      sources: The files, by whose sizes and times the folder is known.
      name: What has no files.
    """
    if unpack_dir is None:
        raise ValueError(
            f"{name or sources[0]} holds audio, which has to be unpacked; give a folder for it."
        )
    folder = unpack_dir / f"unpacked-{_digest(name, sources)}"
    if not (folder / _ROWS).is_file():
        begun = temporary_beside(folder)
        make_folder(begun)
        write_whole(begun / _ROWS, json.dumps(write(begun)))
        if folder.exists():  # Another process was faster.
            shutil.rmtree(begun)
        else:
            os.replace(begun, folder)
    rows = json.loads((folder / _ROWS).read_text(encoding="utf-8"))
    return [(where, _placed(cells, folder), beyond) for where, cells, beyond in rows]


def _placed(cells: dict[str, str], folder: Path) -> dict[str, str]:
    """With the path of the unpacked file; a path that the source gave stays as it is."""
    file = folder / cells["path"]
    return cells | {"path": str(file)} if file.is_file() else cells


def _digest(name: str, sources: Sequence[Path]) -> str:
    facts = [name] if name else []
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        stats = [(str(file), file.stat()) for file in files]
        facts += [f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in stats]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def cells_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Values as the cells of a CSV file: nothing for null, lists with bars between."""
    return {str(column).strip().lower(): _cell(value) for column, value in record.items()}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "|".join(_cell(item) for item in value)
    return str(value).strip()
