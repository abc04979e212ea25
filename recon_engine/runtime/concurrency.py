"""Work on many items at once, results in order, memory bounded."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


CORES: Final = os.cpu_count() or 1
WORKERS: Final = min(4, max(2, CORES // 2))
# More threads than cores cost a tenth of the time: each waits for what others hold.
NESTED_WORKERS: Final = min(4, max(1, CORES // 2) - 1)

_thread = threading.local()


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """`map`, a few items ahead on `WORKERS` threads; one more result waits at most.

    Work that is itself a part of such work, as when two files are read side by side,
    has `WITHIN` threads beside its own, which may be none.
    """
    workers = getattr(_thread, "workers", WORKERS)
    if not workers:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers, "part", use_shared_pool_share) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def use_shared_pool_share() -> None:
    """Have the work of this thread done on it and `WITHIN` more."""
    _thread.workers = NESTED_WORKERS


def run_inline() -> None:
    """Have the work of this thread done on it alone: others have the other cores."""
    _thread.workers = 0
