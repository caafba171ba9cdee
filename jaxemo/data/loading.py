"""What is loaded while what came before is computed."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")

_THREADS = 2
_AHEAD = 2


def loaded_ahead(
    items: Iterable[Item], load: Callable[[Item], Loaded]
) -> Generator[Loaded, None, None]:
    """`load` of each item, in order; the next two are on their way in threads.

    An error of `load` is raised where its item's turn comes. Once the iterator is closed nothing more
    is begun.
    """
    pool = ThreadPoolExecutor(_THREADS)
    pending: deque[Future[Loaded]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(load, item))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
