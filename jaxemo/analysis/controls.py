"""What else tells clips of two emotions or domains apart, held still: sentence, intensity, acoustic cues."""

from collections import Counter

import numpy as np
from jaxtyping import Float64, Int

from jaxemo.analysis.design import Design, cell_of_clips
from jaxemo.analysis.emotion_whitening import contrasts_within

# Singular values of the cues, as a share of the largest, below which one is a sum of others.
_RANK_TOLERANCE = 1e-6
# Deviation within cells, as a share of that of all clips, that is rounding alone.
_ROUNDING = 1e-6


def matched_clips(
    design: Design, statement: Int[np.ndarray, " n"], intensity: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """Clips in pairs of one speaker, emotion, statement and intensity, one of speech and one of music.

    Of the intensities that every emotion of both domains has in both, so that emotions are compared at
    the same ones. Where a domain has more takes than the other, the first are kept.
    """
    kept = np.isin(intensity, _common_intensities(design, intensity))
    labels = np.stack([design.emotion, design.speaker, statement, intensity], axis=1)
    labels = [tuple(row) for row in labels.tolist()]
    domain = design.domain.tolist()
    counts = Counter((d, label) for d, label, k in zip(domain, labels, kept, strict=True) if k)
    taken: Counter[tuple[int, tuple[int, ...]]] = Counter()
    found = []
    for clip, (side, label) in enumerate(zip(domain, labels, strict=True)):
        if kept[clip] and taken[side, label] < counts[1 - side, label]:
            taken[side, label] += 1
            found.append(clip)
    return np.array(found, np.int64)


def without_cues(
    rows: Float64[np.ndarray, "n d"], cues: Float64[np.ndarray, "n c"], design: Design
) -> Float64[np.ndarray, "n d"]:
    """What is left of clips once the part that goes with their cues is taken off.

    left = rows - (cues - mean) B,   B = argmin |contrasts(rows) - contrasts(cues) B|^2

    B is fitted on clips beside others of one speaker, emotion and domain (analysis of covariance), so
    that neither domain nor emotion can enter it by way of the cues; it is then held to be the same
    between cells, whose cues differ by more. Of m contrasts c cues fit as much as chance lets them:
    spreads within cells come out too small by about c / (2 m).
    """
    cell = cell_of_clips(design)
    cues = (cues - cues.mean(axis=0)) / np.maximum(cues.std(axis=0), 1e-12)
    of_rows, _ = contrasts_within(rows, cell)
    of_cues, _ = contrasts_within(cues, cell)
    # What varies between cells alone has no slope within them.
    of_cues = np.where(of_cues.std(axis=0) > _ROUNDING, of_cues, 0.0)
    slopes, *_ = np.linalg.lstsq(of_cues, of_rows, rcond=_RANK_TOLERANCE)
    return rows - cues @ slopes


def _common_intensities(design: Design, intensity: Int[np.ndarray, " n"]) -> list[int]:
    has = np.zeros((*design.shape[:2], int(intensity.max(initial=0)) + 1), bool)
    has[design.domain, design.emotion, intensity] = True
    shared = has.any(axis=2).all(axis=0)
    return np.flatnonzero(has[:, shared].all(axis=(0, 1))).tolist()
