"""Digests by bucket of the key: in memory if they fit, otherwise on local disk.

All rows of a key are in one bucket on both sides, so buckets are reconciled one by one
and their results are added.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import polars as pl

from recon_engine.errors import OutOfBudget
from recon_engine.model import SIDES
from recon_engine.runtime.lazy_module import np


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


DIGEST_COLUMNS: Final = ("row", "check", "key")
# Packed, without padding: 28 bytes a row on disk.
RECORD_FIELDS: Final = (*((name, "<u8") for name in DIGEST_COLUMNS), ("number", "<u4"))
RECORD_BYTES: Final = 28
# Row numbers are stored in 32 bits.
MAX_ROWS: Final = 1 << 32
# 28 MiB of records at a time.
READ_ROWS: Final = 1 << 20


class Buckets(Protocol):
    """The digests of one side (OLD or NEW), grouped by key into buckets.

    All rows of a key are in one bucket. Both sides have the same number of buckets.
    """

    @property
    def blanks(self) -> int:
        """The number of rows with a blank in the key."""
        ...

    def add(self, frame: pl.DataFrame) -> None:
        """Add the digests of the next rows, with their `blank` flags."""
        ...

    def bucket(self, index: int) -> pl.DataFrame:
        """The digests and row `number`s of a bucket, in file order; callable once."""
        ...


class MemoryBuckets:
    """A single bucket in arrays for `expected` rows that grow if needed."""

    def __init__(self, expected: int) -> None:
        self._columns = {name: np.empty(expected, np.uint64) for name in DIGEST_COLUMNS}
        self._rows = 0
        self.blanks = 0

    def add(self, frame: pl.DataFrame) -> None:
        start, self._rows = self._rows, _check_row_count(self._rows + frame.height)
        for name, column in self._columns.items():
            if len(column) < self._rows:
                # The estimate was too small. Doubling keeps the total cost of the
                # copies linear.
                grown = np.empty(2 * self._rows, np.uint64)
                grown[:start] = column[:start]
                self._columns[name] = grown
            self._columns[name][start : self._rows] = frame[name].to_numpy()
        self.blanks += int(frame["blank"].sum())

    def bucket(self, index: int) -> pl.DataFrame:  # noqa: ARG002 - there is only one
        """The digests of all rows; the arrays are released, so a second call fails."""
        columns = {
            name: self._columns.pop(name)[: self._rows] for name in DIGEST_COLUMNS
        }
        return pl.DataFrame(columns).with_columns(
            number=pl.int_range(pl.len(), dtype=pl.UInt32)
        )


class DiskBuckets:
    """Several buckets, each a file of fixed-size records."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self._paths = [folder / f"{name}-{at}" for at in range(count)]
        self._files = [path.open("wb") for path in self._paths]
        self._rows = 0
        self.blanks = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append each row to the file of its bucket."""
        records = np.empty(frame.height, [*RECORD_FIELDS])
        for name in DIGEST_COLUMNS:
            records[name] = frame[name].to_numpy()
        start, self._rows = self._rows, _check_row_count(self._rows + frame.height)
        records["number"] = np.arange(start, self._rows)
        place = self._place(records["key"])
        # Stable, because rows of a bucket stay in file order. Numbers of 16 bits are
        # sorted by radix, which is fast.
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(1, len(self._files)))
        for file, rows in zip(self._files, np.split(order, bounds), strict=True):
            file.write(records[rows].data)
        self.blanks += int(frame["blank"].sum())

    def bucket(self, index: int) -> pl.DataFrame:
        """The digests of a bucket, read from its file: 28 bytes for each row."""
        self._files[index].close()
        return _frame(np.fromfile(self._paths[index], [*RECORD_FIELDS]))

    def rows_in(self, at: int) -> int:
        """The number of rows of a bucket; ends its writing."""
        self._files[at].close()
        return self._paths[at].stat().st_size // RECORD_BYTES

    def piece(self, at: int, number: int, of: int) -> pl.DataFrame:
        """Piece `number` (from 0) of the `of` pieces of a bucket.

        All rows of a row digest are in one piece. Reads the whole file.
        """
        few = (rows[rows["row"] % of == number] for rows in self._records(at))
        records = np.concatenate([np.empty(0, [*RECORD_FIELDS]), *few])
        return _frame(records)

    def repeated(self, at: int, bits: int = 0) -> NDArray[np.uint32]:
        """The numbers of the rows of a bucket whose key seems to repeat, ascending.

        Only of rows whose check digest has none of these bits.
        """
        keys = np.empty(self.rows_in(at), np.uint64)
        start = 0
        for every in self._records(at):
            rows = every[every["check"] & bits == 0] if bits else every
            keys[start : start + len(rows)] = rows["key"]
            start += len(rows)
        keys = keys[:start]
        keys.sort()
        # Each repeated key, once less than it occurs, ascending.
        keys = keys[1:][keys[1:] == keys[:-1]]
        if not len(keys):
            return np.empty(0, np.uint32)
        found = []
        for every in self._records(at):
            rows = every[every["check"] & bits == 0] if bits else every
            place = np.searchsorted(keys, rows["key"]).clip(max=len(keys) - 1)
            found.append(rows["number"][keys[place] == rows["key"]])
        return np.concatenate(found)

    def _records(self, at: int) -> Iterator[NDArray[np.void]]:
        """The rows of a bucket in file order, some at a time."""
        for start in range(0, self.rows_in(at), READ_ROWS):
            offset = start * RECORD_BYTES
            yield np.fromfile(
                self._paths[at], [*RECORD_FIELDS], READ_ROWS, offset=offset
            )

    def close(self) -> None:
        """Close all files; those that were read are closed already."""
        for file in self._files:
            file.close()

    def _place(self, keys: NDArray[np.uint64]) -> NDArray[np.uint16]:
        # The high bits, because `_group_by_key` uses the low ones within a bucket.
        place = (keys >> np.uint64(32)) % np.uint64(len(self._files))
        return place.astype(np.uint16)


def _frame(records: NDArray[np.void]) -> pl.DataFrame:
    return pl.DataFrame(
        {name: np.ascontiguousarray(records[name]) for name, _ in RECORD_FIELDS}
    )


def _check_row_count(rows: int) -> int:
    """Return `rows`; raise OutOfBudget if they exceed 32-bit numbers."""
    if rows > MAX_ROWS:
        raise OutOfBudget(
            f"a side has more than {MAX_ROWS:,} rows",
            why="the local engine numbers rows in 32 bits",
            help="use --engine spark",
        )
    return rows


@contextmanager
def open_buckets(expected: Sequence[int], count: int) -> Iterator[list[Buckets]]:
    """Yield storage for the digests of both sides in `count` buckets; removed on exit.

    `expected`: the estimated rows of each side.
    """
    if count == 1:
        yield [MemoryBuckets(rows) for rows in expected]
        return
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        sides = [DiskBuckets(Path(folder), name, count) for name in SIDES]
        try:
            yield list(sides)
        finally:
            for side in sides:
                side.close()
