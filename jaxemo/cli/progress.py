"""Progress, as the commands show it: bars on a terminal, plain log lines otherwise."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator

from jaxemo.data.progress import Progress, Report

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


def _log_counts(description: str) -> Report:
    last = time.monotonic()
    done_at_last = 0

    def report(done: int, total: int, words: str = "", /) -> None:
        nonlocal last, done_at_last
        now = time.monotonic()
        if done == total or now - last > _SECONDS_BETWEEN_LINES:
            # At the pace since the line before: what was done by an earlier command took no time. The very
            # first item tells no pace, since what it took is mostly compiling.
            seconds_each = (now - last) / max(done - done_at_last, 1)
            left = "" if done in (1, total) else _in_words(seconds_each * (total - done))
            said = ", ".join(part for part in (f"{done} of {total}", words, left) if part)
            logger.info("%s: %s", description, said)
            last, done_at_last = now, done

    return report


def _in_words(seconds_left: float) -> str:
    if seconds_left < 120:
        return f"about {seconds_left:.0f} s left"
    if seconds_left < 7200:
        return f"about {seconds_left / 60:.0f} min left"
    return f"about {seconds_left / 3600:.1f} h left"
