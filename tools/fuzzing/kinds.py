"""The kinds of inputs, and what reading one of each may take."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fuzzing import audio, checkpoint, config, weights
from fuzzing.outcomes import Subject


class Kind(NamedTuple):
    """One kind of input.

    Attributes:
      name: Seeds its inputs, too.
      make: From a folder for valid inputs to what spoils and judges them.
      names: Pattern of what a clear refusal names.
      seconds: Time limit for one input.
      megabytes: Memory limit for one input, in 10^6 bytes on top of what the process has.
    """

    name: str
    make: Callable[[Path], Subject]
    names: str
    seconds: float
    megabytes: float

    def limits(self) -> dict[str, float]:
        """For the report."""
        return {"seconds": self.seconds, "megabytes": self.megabytes}


_ALL = (
    Kind("audio", audio.Audio, audio.NAMES, seconds=10, megabytes=400),
    Kind("weights", weights.Weights, weights.NAMES, seconds=20, megabytes=400),
    Kind("config", config.Config, config.NAMES, seconds=5, megabytes=200),
    Kind("checkpoint", checkpoint.Checkpoint, checkpoint.NAMES, seconds=60, megabytes=1000),
)
KINDS = {kind.name: kind for kind in _ALL}
