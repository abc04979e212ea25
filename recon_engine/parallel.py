"""Work on many items at once, results in order, memory bounded."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


# Two files are read at once, each by a thread that hashes what it reads: a few workers
# for each keep up with that.
WORKERS: Final = min(4, max(2, (os.cpu_count() or 1) // 2))


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """`map`, a few items ahead on threads; at most `WORKERS` + 1 results wait."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="part") as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
