"""How long work is shown: what a caller hands down, and the library reports through."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Progress(NamedTuple):
    """How work in hand is shown.

    Attributes:
      track: (items, description, total) -> the same items.
      count: (description) -> a function told (done, total).
    """

    track: Callable[[Iterable, str, int], Iterable]
    count: Callable[[str], Callable[[int, int], None]]
