"""What each clip of a corpus is: its domain, emotion and speaker, as numbers, and the cells they make."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

NUM_DOMAINS = 2


class Design(NamedTuple):
    """What each clip is: its domain (0 speech, 1 music), emotion and speaker, as numbers."""

    domain: Int[np.ndarray, " n"]
    emotion: Int[np.ndarray, " n"]
    speaker: Int[np.ndarray, " n"]
    num_emotions: int
    num_speakers: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Domains, emotions and speakers."""
        return NUM_DOMAINS, self.num_emotions, self.num_speakers

    def among(self, clips: Int[np.ndarray, " m"]) -> "Design":
        """The design of some of the clips, with the same numbers."""
        return self._replace(
            domain=self.domain[clips], emotion=self.emotion[clips], speaker=self.speaker[clips]
        )


def cell_of_clips(design: Design) -> Int[np.ndarray, " n"]:
    """The number of each clip's cell, (domain, emotion, speaker) in C order."""
    return np.ravel_multi_index((design.domain, design.emotion, design.speaker), design.shape)


def present_cells(design: Design) -> Bool[np.ndarray, "2 E S"]:
    """Whether a speaker has clips of an emotion in a domain."""
    counts = np.bincount(cell_of_clips(design), minlength=int(np.prod(design.shape)))
    return counts.reshape(design.shape) > 0
