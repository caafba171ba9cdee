"""Study 3 with something held still: which clips take part, and which cues are taken off them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from jaxemo.analysis.controls import matched_clips
from jaxemo.analysis.design import Design
from jaxemo.analysis.emotion_whitening import num_contrasts
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.similarity.shift import can_shift
from jaxemo.studies.sources import clip_cues, compared_excerpt

SEXES = ("female", "male")
# Fewer clips beside others of their cell would be fitted by chance.
_CONTRASTS_PER_CUE = 10


class Control(NamedTuple):
    """One way to hold something still.

    Attributes:
      name: Value of the column `control`.
      clips: Those that take part.
      design: Of those.
      cues: Of those, to be taken off; None for none.
    """

    name: str
    clips: Int[np.ndarray, " m"]
    design: Design
    cues: Float64[np.ndarray, "m c"] | None


def controls(experiment: Experiment, design: Design, config: Settings) -> Iterator[Control]:
    """Those that the corpus allows: statements in both domains, and audio with several clips per cell.

    Matched pairs of female and of male speakers apart stand in units of their own speakers' clips.
    """
    rows = experiment.utterances
    if all(row.statement for row in rows):
        statement, intensity = (
            np.unique([getattr(row, name) for row in rows], return_inverse=True)[1]
            for name in ("statement", "intensity")
        )
        clips = matched_clips(design, statement, intensity)
        sex = np.array([row.sex for row in rows])[clips]
        of_all = np.ones(len(clips), bool)
        for name, kept in (("matched", of_all), *((f"matched_{s}", sex == s) for s in SEXES)):
            among = design.among(clips[kept])
            if can_shift(among):
                yield Control(name, clips[kept], among, None)
    cues = clip_cues(experiment, compared_excerpt(config.similarity))
    if cues is not None and num_contrasts(design) >= _CONTRASTS_PER_CUE * cues.shape[1]:
        everything = np.arange(len(rows))
        yield Control("cues_removed", everything, design, cues.astype(np.float64))
