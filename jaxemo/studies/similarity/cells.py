"""What is compared in study 3: which clips stand on either side of each distance, and what a row holds."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemo.analysis.design import Design
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.schema import Distance
from jaxemo.studies.experiment import HALVES, Experiment, clip_halves

CROSS_DOMAIN = "cross_domain"
NULLS = tuple(f"null_{domain}" for domain in DOMAINS)


class Side(NamedTuple):
    """The clips on one side of a distance, as rows of the corpus."""

    clips: Int[np.ndarray, " C"]
    num_speakers: int


class Pair(NamedTuple):
    """Two sides of one emotion."""

    a: Side
    b: Side


class Cells(NamedTuple):
    """The clips by what they are.

    Attributes:
      design: Domain, emotion and speaker of each clip.
      half_of_clip: The fixed halves of the same-domain nulls.
      emotions: Names in order.
    """

    design: Design
    half_of_clip: Int[np.ndarray, " n"]
    emotions: tuple[str, ...]

    def pairs(self, comparison: str) -> list[Pair]:
        """The two sides for each emotion: two domains, or two halves of each speaker's clips in one."""
        if comparison == CROSS_DOMAIN:
            whole = self.sides
            return [Pair(a, b) for a, b in zip(*whole, strict=True)]
        domain = NULLS.index(comparison)
        return [
            Pair(*(self._side(domain, emotion, self.half_of_clip == h) for h in range(HALVES)))
            for emotion in range(len(self.emotions))
        ]

    @property
    def sides(self) -> list[list[Side]]:
        """(domain, emotion) -> all its clips."""
        everyone = np.ones(len(self.design.domain), bool)
        emotions = range(len(self.emotions))
        return [
            [self._side(domain, emotion, everyone) for emotion in emotions]
            for domain in range(len(DOMAINS))
        ]

    def _side(self, domain: int, emotion: int, among: np.ndarray) -> Side:
        of_kind = (self.design.domain == domain) & (self.design.emotion == emotion)
        clips = np.flatnonzero(of_kind & among)
        return Side(clips, len(np.unique(self.design.speaker[clips])))


def make_cells(experiment: Experiment) -> Cells:
    """The cells of a corpus; speakers are numbered in sorted order."""
    utterances = experiment.utterances
    names = sorted({utterance.speaker for utterance in utterances})
    speakers = {speaker: number for number, speaker in enumerate(names)}
    design = Design(
        domain=np.array([DOMAINS.index(u.domain) for u in utterances], np.int64),
        emotion=experiment.labels,
        speaker=np.array([speakers[u.speaker] for u in utterances], np.int64),
        num_emotions=len(experiment.emotions),
        num_speakers=len(speakers),
    )
    return Cells(design, clip_halves(utterances), experiment.emotions)


def result_row(
    comparison: str,
    emotion: str,
    pair: Pair,
    *,
    metric: str,
    level: str,
    layer: int,
    d: int,
    num_rows: tuple[int, int],
    mean: float | None,
    **known: Any,
) -> Distance:
    """One row of `results["similarity"]`, but for the encoder that it is of.

    Args:
      level: What is one row of the two sets: a `frame` or a `clip`.
      d: Dimensions that the figure was computed in.
      num_rows: Of the two sets that the figure was computed on.
      mean: The figure; None (as NaN) where a side has too few rows.
      known: Further columns; those that are not given are None.
    """
    return Distance(
        layer=layer,
        comparison=comparison,
        emotion=emotion,
        metric=metric,
        level=level,
        mean=finite(mean),
        **known,
        n_a=num_rows[0],
        n_b=num_rows[1],
        clips_a=len(pair.a.clips),
        clips_b=len(pair.b.clips),
        speakers_a=pair.a.num_speakers,
        speakers_b=pair.b.num_speakers,
        d=d,
        small_sample=min(num_rows) < 2 * d,
    )


def finite(value: float | np.floating | None) -> float | None:
    """The value as JSON has it: None where it is not known."""
    return None if value is None or not np.isfinite(value) else float(value)
