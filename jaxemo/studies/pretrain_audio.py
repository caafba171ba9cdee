"""The audio of `jaxemo pretrain`: folders of files, parted by content, none of them evaluated on."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.data.clip_store import ClipStore
from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.corpora.folder import read_folder
from jaxemo.data.progress import Progress
from jaxemo.embedding.folder import EmbeddingFolder
from jaxemo.models.families import Normalisation
from jaxemo.models.pretrained import Encoder
from jaxemo.pretraining.crops import crop_settings, files_with_sound, held_out
from jaxemo.pretraining.run import Data
from jaxemo.studies.config import Settings
from jaxemo.studies.corpora import open_corpora
from jaxemo.studies.experiment import usable_stores


class Audio(NamedTuple):
    """What is trained on.

    Attributes:
      data: The crops.
      digests: Content of every file, held-out ones included, by its path.
      held_out: Contents that take no part in training.
      hours: Of all files.
      left_out: Files that cannot be used, with reasons.
    """

    data: Data
    digests: dict[str, str]
    held_out: frozenset[str]
    hours: float
    left_out: tuple[Any, ...]


def open_audio(config: Settings, encoder: Encoder, *, cache_dir: Path, progress: Progress) -> Audio:
    """The folders' files, parted into training and held-out ones by content.

    Raises:
      ValueError: For folders that cannot be used, or files that the corpus evaluates on.
    """
    settings = config.pretrain
    folders = [_weighted_folder(text) for text in settings.folders]
    if len({weight is None for _, weight in folders}) > 1:
        raise ValueError(
            f"config.pretrain.folders is {', '.join(settings.folders)}; expected a weight for every "
            "folder (DIR*WEIGHT) or for none"
        )
    found = [read_folder(folder) for folder, _ in folders]
    utterances = [row for folder in found for row in folder.utterances]
    rate = encoder.sample_rate_hz
    store = usable_stores(
        utterances, [rate], unusable=config.corpus.unusable, cache_dir=cache_dir, progress=progress
    )[rate]
    digests = dict(zip((row.path for row in store.utterances), store.digests, strict=True))
    _check_not_evaluated(config, digests, cache_dir)
    apart = held_out(store.digests, share=settings.held_out, seed=config.seed)
    crops = crop_settings(
        seconds=settings.crop_seconds,
        sample_rate_hz=rate,
        normalise=encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE,
    )
    if crops.num_samples < encoder.config.shortest_clip_samples:
        raise ValueError(
            f"config.pretrain.crop_seconds is {settings.crop_seconds}; expected at least one frame of "
            f"the encoder, {encoder.config.shortest_clip_samples} samples at {rate} Hz"
        )
    parts: dict[bool, list] = {False: [], True: []}
    for (_, weight), folder in zip(folders, found, strict=True):
        for part, indices in _parted(store, folder.utterances, apart).items():
            if indices:
                files = files_with_sound(
                    store, indices, weight=weight, block_samples=crops.block_samples
                )
                parts[part].append(files)
    left_out = (*(item for folder in found for item in folder.left_out), *store.left_out)
    data = Data(parts[False], parts[True], crops)
    return Audio(data, digests, apart, float(store.duration_s.sum()) / 3600, left_out)


def _weighted_folder(text: str) -> tuple[str, float | None]:
    """`DIR` or `DIR*WEIGHT`."""
    match = re.fullmatch(r"(.+)\*(\d+(?:\.\d+)?)", text)
    if match is None:
        return text, None
    if not 0 < (weight := float(match[2])) < 1e6:
        raise ValueError(
            f"config.pretrain.folders has {text!r}; expected a weight of more than 0, below a million"
        )
    return match[1], weight


def _parted(
    store: ClipStore, utterances: Sequence[Utterance], apart: frozenset[str]
) -> dict[bool, list[int]]:
    """Positions in the store of one folder's files: those to train on, and (True) the held-out ones."""
    paths = {row.path for row in utterances}
    parted: dict[bool, list[int]] = {False: [], True: []}
    for index, (row, digest) in enumerate(zip(store.utterances, store.digests, strict=True)):
        if row.path in paths:
            parted[digest in apart].append(index)
    return parted


def _check_not_evaluated(config: Settings, digests: dict[str, str], cache_dir: Path) -> None:
    """Raises ValueError where a file is one of those that the config's corpus evaluates on."""
    evaluated = _evaluated_digests(config, cache_dir)
    if shared := sorted(path for path, digest in digests.items() if digest in evaluated):
        more = f" and {len(shared) - 8} more" if len(shared) > 8 else ""
        raise ValueError(
            f"{len(shared)} files of config.pretrain.folders are, by content, files of the corpus that "
            f"this config evaluates on ({config.corpus.name}): {', '.join(shared[:8])}{more}. An encoder "
            "that was trained on them would be judged by what it has seen: leave them out, or change "
            "config.corpus."
        )


def _evaluated_digests(config: Settings, cache_dir: Path) -> set[str]:
    if config.corpus.name == "embeddings":
        return set(EmbeddingFolder(Path(config.corpus.manifest).expanduser()).digests)
    digests = set()
    for row in open_corpora(config, cache_dir).utterances:
        if (path := Path(row.path)).is_file():
            with path.open("rb") as file:
                digests.add(hashlib.file_digest(file, "sha256").hexdigest())
    return digests
