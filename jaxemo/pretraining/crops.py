"""Crops for pre-training: each within one file, about sound, a function of the seed and the step.

A crop is found by the 100 ms of sound that it is to hold: those blocks are drawn uniformly within a
corpus, corpora by their weights. So silence is passed over, long files count by their sound, and a run
that goes on draws what it would have drawn.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from jaxemo.data.audio import standardise
from jaxemo.data.clip_store import ClipStore
from jaxemo.pretraining.objectives.objective import Clips

_BLOCK_MS = 100
# Blocks this far below the file's loudest are silence.
_QUIET_DB = 40.0


class Files(NamedTuple):
    """One corpus's share in pre-training.

    Attributes:
      paths: Of its files.
      waveform: File number -> its samples.
      blocks: (file number, first sample) of every block that holds sound.
      weight: Share of the crops, against those of other corpora.
    """

    paths: tuple[str, ...]
    waveform: Callable[[int], Float32[np.ndarray, " N"]]
    blocks: Int64[np.ndarray, "n 2"]
    weight: float


class Batch(NamedTuple):
    """Crops of one step and the files that they are from."""

    clips: Clips
    paths: tuple[str, ...]


class CropSettings(NamedTuple):
    """What a crop is.

    Attributes:
      num_samples: Its length; files that are shorter are taken whole and padded.
      block_samples: Length of the blocks by which it is found.
      normalise: Whether each crop gets mean 0 and variance 1, as the encoder's own preprocessing has it.
    """

    num_samples: int
    block_samples: int
    normalise: bool


def crop_settings(*, seconds: float, sample_rate_hz: int, normalise: bool) -> CropSettings:
    """Settings from a length in seconds."""
    block = round(_BLOCK_MS * sample_rate_hz / 1000)
    return CropSettings(round(seconds * sample_rate_hz), block, normalise)


def files_with_sound(
    store: ClipStore, indices: Sequence[int], *, weight: float | None, block_samples: int
) -> Files:
    """Some of a store's files; without a weight they count by how much sound they hold."""
    blocks = [
        (number, start)
        for number, index in enumerate(indices)
        for start in loud_blocks(store.waveform(index), block_samples=block_samples)
    ]
    return Files(
        paths=tuple(store.utterances[index].path for index in indices),
        waveform=lambda number: store.waveform(indices[number]),
        blocks=np.array(blocks, np.int64).reshape(-1, 2),
        weight=float(len(blocks)) if weight is None else weight,
    )


def loud_blocks(
    waveform: Float32[np.ndarray, " N"], *, block_samples: int
) -> Int64[np.ndarray, " n"]:
    """First samples of the blocks within 40 dB of the file's loudest; a rest at the end is left out.

    A file that is shorter than a block is one.
    """
    whole = waveform.size // block_samples
    if whole == 0:
        return np.zeros(1, np.int64)
    blocks = waveform[: whole * block_samples].reshape(whole, block_samples)
    power = np.array([block.var(dtype=np.float64) for block in blocks])
    return np.flatnonzero(power >= 10.0 ** (-_QUIET_DB / 10.0) * power.max()) * block_samples


def draw_batch(
    corpora: Sequence[Files], settings: CropSettings, *, position: Sequence[int], batch_size: int
) -> Batch:
    """The crops of one position; equal positions give equal crops.

    Args:
      position: Whole numbers from 0, such as (seed, step).
    """
    random = np.random.Generator(np.random.PCG64(list(position)))
    weights = np.array([corpus.weight for corpus in corpora])
    chosen = random.choice(len(corpora), batch_size, p=weights / weights.sum())
    waveform = np.zeros((batch_size, settings.num_samples), np.float32)
    lengths, paths = np.zeros(batch_size, np.int32), []
    for row, corpus in enumerate(corpora[number] for number in chosen):
        file, block = corpus.blocks[random.integers(len(corpus.blocks))]
        crop = _crop(corpus.waveform(int(file)), int(block), settings, random)
        waveform[row, : crop.size] = standardise(crop) if settings.normalise else crop
        lengths[row] = crop.size
        paths.append(corpus.paths[file])
    return Batch(Clips(waveform, lengths), tuple(paths))  # type: ignore[arg-type]


def held_out(digests: Sequence[str], *, share: float, seed: int) -> frozenset[str]:
    """Contents that take no part in training: the given share of the different ones, at least one.

    Which they are depends on the contents and the seed alone, not on names or order.

    Raises:
      ValueError: There are not two different contents to part.
    """
    different = sorted(set(digests), key=lambda digest: _hash(f"{seed} {digest}"))
    count = max(round(share * len(different)), 1)
    if len(different) <= count:
        raise ValueError(
            f"{len(different)} different audio files cannot be parted into training and held-out "
            "ones; add files"
        )
    return frozenset(different[:count])


def _crop(
    waveform: Float32[np.ndarray, " N"],
    block: int,
    settings: CropSettings,
    random: np.random.Generator,
) -> Float32[np.ndarray, " M"]:
    """A stretch that holds the block and lies within the file."""
    spare = max(settings.num_samples - settings.block_samples, 0)
    start = block - int(random.integers(spare + 1))
    start = min(max(start, 0), max(waveform.size - settings.num_samples, 0))
    return waveform[start : start + settings.num_samples]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
