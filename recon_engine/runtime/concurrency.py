"""Map over many items concurrently: results in order, memory bounded."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


CORES: Final = os.cpu_count() or 1
# For one call of `map_ordered`. `memory.BASE_BYTES` has a term for each of them.
WORKERS: Final = min(4, max(2, CORES // 2))
# Two sides with this many threads each, plus their own, fill the cores. With more
# threads than cores a run takes about 10% longer, because they wait for each other.
NESTED_WORKERS: Final = min(4, max(1, CORES // 2) - 1)
# Of both inputs. Below, threads take longer to start than they save: without the kernel
# a comparison of two files of 150 bytes takes 45 ms without and 104 ms with them; from
# about this size on there is no difference.
SMALL_BYTES: Final = 1 << 15

_thread = threading.local()


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Like `map`, but a few items ahead on worker threads; results keep their order.

    At most one more result than there are workers waits. A call inside such work gets
    fewer threads: when OLD and NEW are read side by side on two workers, each of them
    scans its blocks on `NESTED_WORKERS` more, not on `WORKERS`; if that is 0, the
    call is a plain `map`. So it is of a single item, which needs no other thread.
    """
    workers = getattr(_thread, "workers", WORKERS)
    rest = iter(items)
    first = tuple(itertools.islice(rest, 2))
    single = len(first) <= 1
    items = itertools.chain(first, rest)
    # The items may be large: only those that wait are held.
    del first
    if single or not workers:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers, "part", use_shared_pool_share) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def run_beside(work: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Run `work` on another thread during the block, which keeps its own workers.

    Yields the function that waits for the result. For a block that takes longer than
    the work: it has all cores once the work has ended. If this thread starts no
    threads, the work runs when its result is asked for.
    """
    if not getattr(_thread, "workers", WORKERS):
        yield work
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "beside", use_shared_pool_share) as pool:
        yield pool.submit(work).result


def use_shared_pool_share() -> None:
    """Limit the nested work of this thread to `NESTED_WORKERS` more threads."""
    _thread.workers = NESTED_WORKERS


def run_inline() -> None:
    """Run the nested work of this thread on itself: other tasks use the other cores."""
    _thread.workers = 0


@contextmanager
def start_no_threads_if_small(size: int) -> Iterator[None]:
    """Run work of this thread on itself, if the inputs have less than SMALL_BYTES."""
    before = _thread.__dict__.copy()
    if size < SMALL_BYTES:
        run_inline()
    try:
        yield
    finally:
        _thread.__dict__.clear()
        _thread.__dict__.update(before)
