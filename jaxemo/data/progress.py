"""How long work is shown: what a caller hands down, and the library reports through."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable


@runtime_checkable
class Report(Protocol):
    """Told how much is done, and in words how it goes."""

    def __call__(self, done: int, total: int, words: str = "", /) -> None: ...


class Progress(NamedTuple):
    """How work in hand is shown.

    Attributes:
      track: (items, description, total) -> the same items.
      count: (description) -> a function told (done, total) and perhaps some words.
    """

    track: Callable[[Iterable, str, int], Iterable]
    count: Callable[[str], Report]
