"""jaxemo: what emotional speech and emotional music share, measured through self-supervised encoders.

`load_encoder`, `frechet_distance`, `kernel_distance`, `emotion_shift` and the scores of ratings and tags are
of use on their own; the command `jaxemo` runs the studies and `jaxemo.figures` draws what they found. Names
are imported on first use, so that `import jaxemo` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxemo import figures
    from jaxemo.analysis.emotion_shift import emotion_shift
    from jaxemo.analysis.ranking_scores import merge_rankings, pr_auc, rank_scores, roc_auc
    from jaxemo.analysis.rating_scores import (
        concordance_correlation,
        explained_variance,
        merge_moments,
        pearson_correlation,
        rating_moments,
    )
    from jaxemo.distances.frechet import frechet_distance
    from jaxemo.distances.kernel import kernel_distance
    from jaxemo.models.encoder import EncoderOutput
    from jaxemo.models.pretrained import load_encoder

__version__ = "0.1.0"

_HOMES = {
    "EncoderOutput": "jaxemo.models.encoder",
    "concordance_correlation": "jaxemo.analysis.rating_scores",
    "emotion_shift": "jaxemo.analysis.emotion_shift",
    "explained_variance": "jaxemo.analysis.rating_scores",
    "frechet_distance": "jaxemo.distances.frechet",
    "kernel_distance": "jaxemo.distances.kernel",
    "load_encoder": "jaxemo.models.pretrained",
    "merge_moments": "jaxemo.analysis.rating_scores",
    "merge_rankings": "jaxemo.analysis.ranking_scores",
    "pearson_correlation": "jaxemo.analysis.rating_scores",
    "pr_auc": "jaxemo.analysis.ranking_scores",
    "rank_scores": "jaxemo.analysis.ranking_scores",
    "rating_moments": "jaxemo.analysis.rating_scores",
    "roc_auc": "jaxemo.analysis.ranking_scores",
}

__all__ = [
    "EncoderOutput",
    "__version__",
    "concordance_correlation",
    "emotion_shift",
    "explained_variance",
    "figures",
    "frechet_distance",
    "kernel_distance",
    "load_encoder",
    "merge_moments",
    "merge_rankings",
    "pearson_correlation",
    "pr_auc",
    "rank_scores",
    "rating_moments",
    "roc_auc",
]


def __getattr__(name: str):
    if name == "figures":
        return importlib.import_module("jaxemo.figures")
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxemo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
