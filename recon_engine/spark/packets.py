"""What goes from task to task, and who brings it there."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from recon_engine.errors import OutOfBudget


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    Packets = Iterator["Packet"]
    Work = Callable[[int, Packets], Packets]

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Packet:
    """Bytes for a place; `found` ones are on their way to the driver."""

    place: int
    found: bool
    data: bytes

    @classmethod
    def of(cls, place: int, content: object) -> Packet:
        """Something for the task at a place."""
        return cls(place, found=False, data=pickle.dumps(content))

    @classmethod
    def answer(cls, place: int, content: object) -> Packet:
        """Something for the driver, found at a place."""
        return cls(place, found=True, data=pickle.dumps(content))

    def open(self) -> Any:
        """What is in it. Only tasks of the same run make packets."""
        return pickle.loads(self.data)  # noqa: S301


class Cluster(Protocol):
    """Who runs tasks, and brings packets from one to another."""

    def begin(self, count: int, work: Work) -> Any:
        """Run the tasks 0 to `count` - 1, to which no packets come."""
        ...

    def then(self, packets: Any, tasks: int, work: Work) -> Any:
        """Do the work for each place that packets are for; found ones pass by.

        One place after the other, where there are more of them than tasks.
        """
        ...

    def gather(self, packets: Any, tasks: int, work: Work) -> Any:
        """Bring all packets, the found ones, to a few tasks, and do the work there."""
        ...

    def collect(self, packets: Any) -> list[Packet]:
        """All packets."""
        ...

    def beside(
        self, ask: Callable[[], Answer]
    ) -> AbstractContextManager[Future[Answer]]:
        """Ask something beside what a block asks, which waits for it unless it fails.

        Tasks that only the former needs are then called off.
        """
        ...


def limit_packets(
    packets: Packets, most: int, what: str, *, why: str, mend: str
) -> Packets:
    """Packets, as long as they are not more than so many bytes; else OutOfBudget."""
    size = 0
    for packet in packets:
        size += len(packet.data)
        if size > most:
            raise OutOfBudget(f"{what} more than {most:,} bytes", why=why, help=mend)
        yield packet
