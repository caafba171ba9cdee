"""The field's standard hand-made features by openSMILE: eGeMAPSv02 and ComParE 2016.

openSMILE is audEERING's, under a licence of its own: research, teaching and personal use are free, products
need another. So it is the optional extra `opensmile`, and nothing here is imported without it.
"""

import enum
import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxemo.data.acoustics import AcousticFeatures, check_usable

# openSMILE's pitch frame; of anything shorter it makes no features.
SHORTEST_CLIP_MS = 60


class FeatureSet(enum.Enum):
    """The feature set by its name in openSMILE."""

    EGEMAPS = "eGeMAPSv02"
    COMPARE = "ComParE_2016"


def opensmile_features(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int, feature_set: FeatureSet
) -> AcousticFeatures:
    """Low-level descriptors by frame (10 ms) and functionals of the clip.

    eGeMAPSv02 has 25 descriptors and 88 functionals, ComParE 2016 has 65 and 6373, in openSMILE's own
    order. A clip of less than 60 ms is padded with zeros to it.

    Args:
      waveform: Mono samples in [-1, 1], at the level of the recording.
      sample_rate_hz: At least 8000.

    Raises:
      ValueError: The rate is under 8 kHz, the clip is empty, or a sample is not finite.

    Reference: Eyben et al. 2016, IEEE Trans. Affective Computing 7(2):190-202 (eGeMAPS); Schuller et al.
    2016, Interspeech (ComParE); Eyben et al. 2010, ACM Multimedia (openSMILE).
    """
    check_usable(waveform, sample_rate_hz)
    shortest = math.ceil(SHORTEST_CLIP_MS * sample_rate_hz / 1000)
    padded = np.pad(waveform, (0, max(0, shortest - waveform.size)))
    frames, summary = (
        _extractor(feature_set, level)(padded, sample_rate_hz)[0]
        for level in ("LowLevelDescriptors", "Functionals")
    )
    return AcousticFeatures(frames.T.astype(np.float32), summary[:, 0].astype(np.float32))


@functools.cache
def _extractor(feature_set: FeatureSet, level: str) -> Any:
    import opensmile  # pyright: ignore[reportMissingImports]

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set.value],
        feature_level=opensmile.FeatureLevel[level],
    )
