"""What becomes of a spoilt input, and how an exception is judged."""

import enum
import re
import traceback
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

_LONGEST_MESSAGE = 4000


class Outcome(enum.StrEnum):
    """See tools/fuzz.py."""

    CLEAN = "clean"
    ACCEPTED = "accepted"
    WRONG = "wrong"
    TRACEBACK = "traceback"
    HANG = "hang"
    MEMORY = "memory"


FAULTS = (Outcome.WRONG, Outcome.TRACEBACK, Outcome.HANG, Outcome.MEMORY)


class Verdict(NamedTuple):
    """An outcome and why."""

    outcome: Outcome
    detail: str = ""


class Finding(NamedTuple):
    """One input's verdict, and what it takes to make the input again."""

    kind: str
    number: int
    verdict: Verdict
    spoilt: str

    @property
    def cause(self) -> tuple[str, str]:
        """Equal for findings that one mend would end: the outcome, and words without numbers."""
        words = re.sub(r"/\S+/", "", self.verdict.detail)
        words = re.sub(r"0x[0-9a-f]+|[-\d.]*\d[\w.+-]*", "#", words)
        return self.verdict.outcome, words[:100]


class Subject(Protocol):
    """One kind of input: how to spoil it, and what the library makes of it."""

    def spoil(self, rng: np.random.Generator, place: Path) -> str:
        """Writes a spoilt input into the empty folder `place`; says what was done to it."""
        ...

    def judge(self, place: Path) -> Verdict:
        """Runs the library's entry on the input; its exceptions go through."""
        ...


def verdict_of(error: BaseException, names: str) -> Verdict:
    """Whether an exception is a clean refusal.

    Args:
      error: What the library's entry raised.
      names: Pattern of what a clear message names: the file or the key.
    """
    text = str(error)
    shown = f"{type(error).__name__}: {' '.join(text.split())[:300]}{_place_of(error)}"
    if not isinstance(error, ValueError | OSError):
        return Verdict(Outcome.TRACEBACK, shown)
    if not re.search(names, text):
        return Verdict(Outcome.TRACEBACK, f"names neither file nor key: {shown}")
    if len(text) > _LONGEST_MESSAGE:
        return Verdict(Outcome.TRACEBACK, f"a message of {len(text)} characters: {shown}")
    return Verdict(Outcome.CLEAN, shown)


def _place_of(error: BaseException) -> str:
    """The last line of the package that the exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/jaxemo/" in frame.filename]
    return f" (in {Path(ours[-1].filename).name}, {ours[-1].name})" if ours else ""
