"""Quarantined rows.

All are counted, up to 10,000 are listed, none is in a row group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.model import Reject, Rejects
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from recon_engine.inputs.scanner import RaggedRecords

    Integers = NDArray[np.integer]


# The report lists this many rows; more add memory but no insight. All are counted.
MAX_LISTED: Final = 10_000


class Quarantine:
    """The rows that a reader quarantines, in file order.

    Places are those in the file.
    """

    def __init__(self) -> None:
        self.count = 0
        self._listed: list[Reject] = []
        self._spans: list[NDArray[np.int64]] = []

    @property
    def rejects(self) -> Rejects:
        """The count and the list of quarantined rows."""
        return Rejects(self.count, tuple(self._listed))

    def add(
        self, start: int, end: int, rejects: Iterable[Reject], count: int = 1
    ) -> None:
        """Quarantine `count` consecutive rows: the bytes from `start` to `end`."""
        self._add(np.array([[start, end]]), rejects, count)

    def add_ragged_records(
        self, ragged: RaggedRecords, offset: int, rejects: Iterable[Reject]
    ) -> None:
        """Quarantine ragged records of a block that begins at `offset`."""
        self._add(offset + byte_ranges(ragged), rejects, len(ragged.numbers))

    def _add(
        self, ranges: NDArray[np.int64], rejects: Iterable[Reject], count: int
    ) -> None:
        self.count += count
        self._spans.append(ranges)
        room = MAX_LISTED - len(self._listed)
        self._listed += [
            reject for reject, _ in zip(rejects, range(room), strict=False)
        ]

    def gaps(self, start: int) -> Integers | None:
        """The quarantined byte ranges of this row group, relative to `start`.

        Shape (n, 2), ascending, adjacent ranges merged; None if there are none.
        """
        if not self._spans:
            return None
        every = np.concatenate(self._spans) - start
        # Blank lines may begin in the previous row group.
        first, last = every[every[:, 1] > 0].clip(0).T
        if not len(first):
            return None
        apart = first[1:] != last[:-1]
        edges = first[np.append(True, apart)], last[np.append(apart, True)]
        return np.column_stack(edges).astype(np.min_scalar_type(last[-1]))

    def start_row_group(self) -> None:
        """Forget the byte ranges of the previous row group."""
        self._spans.clear()


def byte_ranges(ragged: RaggedRecords) -> NDArray[np.int64]:
    """The first and the end offset of each record; shape (n, 2)."""
    return np.column_stack((ragged.starts, ragged.ends))


def remove_gaps(data: bytes, gaps: Integers) -> bytes:
    """`data` without the `gaps`, which are ascending pairs of offsets."""
    view = memoryview(data)
    edges = [0, *gaps.ravel().tolist(), len(data)]
    pieces = zip(edges[::2], edges[1::2], strict=True)
    return b"".join([view[start:stop] for start, stop in pieces])
