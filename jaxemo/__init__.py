"""jaxemo: what emotional speech and emotional music share, measured through self-supervised encoders.

`load_encoder`, `frechet_distance`, `kernel_distance` and `emotion_shift` are of use on their own; the
command `jaxemo` runs the studies and `jaxemo.figures` draws what they found. Names are imported on first
use, so that `import jaxemo` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxemo import figures
    from jaxemo.analysis.emotion_shift import emotion_shift
    from jaxemo.distances.frechet import frechet_distance
    from jaxemo.distances.kernel import kernel_distance
    from jaxemo.models.encoder import EncoderOutput
    from jaxemo.models.pretrained import load_encoder

__version__ = "0.1.0"

_HOMES = {
    "EncoderOutput": "jaxemo.models.encoder",
    "emotion_shift": "jaxemo.analysis.emotion_shift",
    "frechet_distance": "jaxemo.distances.frechet",
    "kernel_distance": "jaxemo.distances.kernel",
    "load_encoder": "jaxemo.models.pretrained",
}

__all__ = [
    "EncoderOutput",
    "__version__",
    "emotion_shift",
    "figures",
    "frechet_distance",
    "kernel_distance",
    "load_encoder",
]


def __getattr__(name: str):
    if name == "figures":
        return importlib.import_module("jaxemo.figures")
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxemo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
