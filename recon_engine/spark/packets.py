"""Packets, which tasks exchange, and the protocol of a cluster that moves them."""

from __future__ import annotations

import itertools
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from recon_engine.errors import OutOfBudget


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    Packets = Iterator["Packet"]
    Work = Callable[[int, Packets], Packets]

Answer = TypeVar("Answer")
COUNT: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Packet:
    """Pickled content for the task of a place; with `found`, for the driver.

    Arrays in it are not copied: they lie behind what is pickled.
    """

    place: int
    found: bool
    data: bytes | memoryview

    @classmethod
    def for_task(cls, place: int, content: object) -> Packet:
        """A packet for the task of a place."""
        return cls(place, found=False, data=_write_content(content))

    @classmethod
    def for_driver(cls, place: int, content: object) -> Packet:
        """A packet for the driver, from the task of a place."""
        return cls(place, found=True, data=_write_content(content))

    def open(self) -> Any:
        """The content. Unpickling is safe: only tasks of the same run make packets."""
        data = memoryview(self.data)
        (count,) = COUNT.unpack_from(data)
        head = COUNT.size * (1 + count)
        sizes = (size for (size,) in COUNT.iter_unpack(data[COUNT.size : head]))
        ends = itertools.accumulate(sizes, initial=head)
        text, *buffers = (data[a:b] for a, b in itertools.pairwise(ends))
        return pickle.loads(text, buffers=buffers)  # noqa: S301


def _write_content(content: object) -> bytes:
    """The number of pieces, their sizes, and the pieces: a pickle and its arrays."""
    arrays: list[pickle.PickleBuffer] = []
    text = pickle.dumps(content, pickle.HIGHEST_PROTOCOL, buffer_callback=arrays.append)
    pieces = [memoryview(text), *(array.raw() for array in arrays)]
    sizes = [COUNT.pack(each.nbytes) for each in pieces]
    return b"".join([COUNT.pack(len(pieces)), *sizes, *pieces])


class Cluster(Protocol):
    """Runs tasks, and brings packets from one to another."""

    def begin(self, count: int, work: Work) -> Any:
        """Run the tasks 0 to `count` - 1, which receive no packets."""
        ...

    def then(
        self, packets: Any, places: int, work: Work, tasks: int | None = None
    ) -> Any:
        """Run `work` for each place with packets; `found` packets pass through.

        Places are numbers below `places`. There is a task for each of them, or `tasks`
        of which each handles several, one by one.
        """
        ...

    def gather(self, packets: Any, tasks: int, work: Work) -> Any:
        """Run `work` on all packets, whatever their place, in a few tasks."""
        ...

    def collect(self, packets: Any) -> list[Packet]:
        """Run the job, and return all packets to the driver."""
        ...

    def run_concurrently(
        self, ask: Callable[[], Answer]
    ) -> AbstractContextManager[Future[Answer]]:
        """Run `ask` at the same time as the block, which waits for it at its end.

        If the block fails, the tasks of `ask` are cancelled.
        """
        ...


def limit_packets(
    packets: Packets, max_bytes: int, what: str, *, why: str, remedy: str
) -> Packets:
    """Pass packets on; OutOfBudget if they have more than `max_bytes` in total."""
    # Counted while they arrive: the task fails before it holds more than it may.
    size = 0
    for packet in packets:
        size += len(packet.data)
        if size > max_bytes:
            raise OutOfBudget(
                f"{what} more than {max_bytes:,} bytes", why=why, help=remedy
            )
        yield packet
