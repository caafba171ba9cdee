"""Simulated embeddings of a corpus, from variance components that were measured on RAVDESS.

`components.json` is what `tools/measure_components.py` wrote: per encoder the variance of speakers, of
speakers in one domain and of cells in each of 16 directions, in units of the spread of clips within a
cell, and the emotions' means.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxemo.analysis.design import Design

EMOTIONS, DIMENSIONS, CLIPS_PER_CELL, SPEAKERS = 6, 16, 4, 24
SHIFT, EXTRA = 1.6, 1.25
UNEQUAL = np.linspace(0.7, 1.3, EMOTIONS)
_FILE = Path(__file__).with_name("components.json")


class Components(NamedTuple):
    """Variances by direction, where clips within a cell have variance 1, and means of emotions.

    Attributes:
      voice: Of a speaker, in both domains (d,).
      voice_in_domain: Of a speaker, in one domain beyond that (d,).
      cell: Of one emotion of a speaker in one domain beyond those (d,).
      emotions: Means of emotions about that of their domain (2, E, d).
    """

    voice: np.ndarray
    voice_in_domain: np.ndarray
    cell: np.ndarray
    emotions: np.ndarray


def read_components() -> dict[str, Components]:
    """Those of each encoder that was measured."""
    measured = json.loads(_FILE.read_text(encoding="utf-8"))["encoders"]
    return {
        name: Components(**{key: np.array(values) for key, values in of.items()})
        for name, of in measured.items()
    }


class Planted(NamedTuple):
    """What the domains and emotions differ by.

    Attributes:
      shifts: Of music, by emotion (E, d).
      pattern: Of emotions, in both domains (E, d).
      spread: Of clips, cells and speakers by emotion, times the usual.
      music_spread: The same of emotion 0 in music.
    """

    shifts: np.ndarray
    pattern: np.ndarray | float = 0.0
    spread: np.ndarray | float = 1.0
    music_spread: float = 1.0


def drawn_corpus(
    seed: int, components: Components, planted: Planted, *, speakers: int = SPEAKERS
) -> tuple[np.ndarray, Design]:
    """Clips of all cells."""
    draw = np.random.default_rng(seed)
    axes = (np.arange(n) for n in (2, EMOTIONS, speakers, CLIPS_PER_CELL))
    domain, emotion, speaker, _ = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    scale = np.broadcast_to(planted.spread, EMOTIONS)[emotion]
    scale = np.where((domain == 1) & (emotion == 0), scale * planted.music_spread, scale)
    rows = scale[:, None] * draw.normal(size=(len(domain), DIMENSIONS))
    voice, in_domain, cell = (np.sqrt(variance) for variance in components[:3])
    rows += voice * draw.normal(size=(speakers, DIMENSIONS))[speaker]
    rows += in_domain * draw.normal(size=(2, speakers, DIMENSIONS))[domain, speaker]
    rows += cell * draw.normal(size=(2, EMOTIONS, speakers, DIMENSIONS))[domain, emotion, speaker]
    rows += domain[:, None] * planted.shifts[emotion]
    rows += np.broadcast_to(planted.pattern, (EMOTIONS, DIMENSIONS))[emotion]
    return rows, Design(domain, emotion, speaker, EMOTIONS, speakers)


def no_shifts() -> np.ndarray:
    """Music lies where speech does."""
    return np.zeros((EMOTIONS, DIMENSIONS))


def equal_shifts() -> np.ndarray:
    """One shift for all emotions, along the first dimension."""
    shifts = no_shifts()
    shifts[:, 0] = SHIFT
    return shifts


def planted_shifts() -> np.ndarray:
    """Emotion 0 is shifted further, along another dimension."""
    shifts = equal_shifts()
    shifts[0, -1] = EXTRA
    return shifts


def turned_shifts() -> np.ndarray:
    """As long a shift for all emotions, each along a dimension of its own."""
    return SHIFT * np.eye(EMOTIONS, DIMENSIONS)
