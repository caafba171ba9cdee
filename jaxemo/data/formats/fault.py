"""What is wrong with a file's bytes, and the streams that are in them."""

from typing import NamedTuple


class Fault(Exception):
    """A reason without its path, which whoever knows the path adds."""


class Stream(NamedTuple):
    """One stream of sound, in bytes that libsndfile reads to the end.

    Attributes:
      content: A file of its own.
      promised: Samples per channel that it says it has; 0 where it says nothing, None where
        libsndfile's own figure is to be trusted.
    """

    content: bytes
    promised: int | None = None


def check_whole(available: int, promised: int, unit: str) -> None:
    """Raises Fault where less is there than was promised."""
    if available < promised:
        raise Fault(f"truncated: {available} of the {promised} {unit} that the header promises")
