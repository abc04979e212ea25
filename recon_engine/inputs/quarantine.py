"""Rows that were set aside: all are counted, some listed, and none is in a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from recon_engine.model import Reject, Rejects


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recon_engine.inputs.scanner import RaggedRecords

    Integers = NDArray[np.integer]


MAX_LISTED: Final = 10_000


class Quarantine:
    """What a gate sets aside, in file order; places are those in the file."""

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[Reject] = []
        self._spans: list[NDArray[np.int64]] = []

    @property
    def rejects(self) -> Rejects:
        """All that was set aside."""
        return Rejects(self.count, tuple(self._listed))

    def add(
        self, start: int, end: int, rejects: Iterable[Reject], count: int = 1
    ) -> None:
        """Set the bytes of `count` rows aside, which follow each other."""
        self._add(np.array([[start, end]]), rejects, count)

    def add_ragged_records(
        self, ragged: RaggedRecords, offset: int, rejects: Iterable[Reject]
    ) -> None:
        """Set records of bytes that begin at `offset` aside."""
        self._add(offset + byte_ranges(ragged), rejects, len(ragged.numbers))

    def _add(
        self, found: NDArray[np.int64], rejects: Iterable[Reject], count: int
    ) -> None:
        self.count += count
        self._spans.append(found)
        room = MAX_LISTED - len(self._listed)
        self._listed += [
            reject for reject, _ in zip(rejects, range(room), strict=False)
        ]

    def gaps(self, start: int) -> Integers | None:
        """What was set aside from `start` on, by offsets from there; a run is one."""
        if not self._spans:
            return None
        every = np.concatenate(self._spans) - start
        # Blank lines may have begun in the part before.
        first, last = every[every[:, 1] > 0].clip(0).T
        if not len(first):
            return None
        apart = first[1:] != last[:-1]
        edges = first[np.append(True, apart)], last[np.append(apart, True)]
        return np.column_stack(edges).astype(np.min_scalar_type(last[-1]))

    def start_row_group(self) -> None:
        """Another part begins."""
        self._spans.clear()


def byte_ranges(ragged: RaggedRecords) -> NDArray[np.int64]:
    """Where each record begins and ends."""
    return np.column_stack((ragged.starts, ragged.ends))


def remove_gaps(data: bytes, gaps: Integers) -> bytes:
    """What is left of `data` between gaps: pairs of offsets, ascending."""
    view = memoryview(data)
    edges = [0, *gaps.ravel().tolist(), len(data)]
    pieces = zip(edges[::2], edges[1::2], strict=True)
    return b"".join([view[start:stop] for start, stop in pieces])
