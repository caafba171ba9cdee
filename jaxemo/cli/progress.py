"""Progress, as the commands show it: bars on a terminal, plain log lines otherwise."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from jaxemo.data.progress import Progress

logger = logging.getLogger("jaxemo")

_SECONDS_BETWEEN_LINES = 15.0


def console() -> Progress:
    """Bars where stderr is a terminal, else a log line every few seconds and one at the end."""
    return Progress(_bar if sys.stderr.isatty() else _log_lines, _log_counts)


def _bar(items: Iterable, description: str, total: int) -> Iterator:
    from tqdm import tqdm

    yield from tqdm(items, desc=description, total=total, leave=False)


def _log_lines(items: Iterable, description: str, total: int) -> Iterator:
    started = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last > _SECONDS_BETWEEN_LINES:
            logger.info("%s: %d of %d", description, done, total)
            last = now
        yield item
    logger.info("%s: %d in %.1f s", description, total, time.monotonic() - started)


def _log_counts(description: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > _SECONDS_BETWEEN_LINES:
            logger.info("%s: %d of %d", description, done, total)
            last = now

    return report
