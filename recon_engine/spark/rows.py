"""Rows as tasks exchange them: arrays of digests and offsets, or their bytes.

An offset is that of a row in its split. Below `MAX_SPAN` it has 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.compare.buckets import DIGEST_COLUMNS, RECORD_FIELDS
from recon_engine.inputs.rfc4180 import parse_records
from recon_engine.inputs.scanner import index_records
from recon_engine.spark.byte_sources import FileBytes
from recon_engine.spark.packets import Packet


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.csvfile import Block
    from recon_engine.inputs.csvfile import RowGroup as Run
    from recon_engine.inputs.header import Header
    from recon_engine.spark.packets import Packets
    from recon_engine.spark.splits import Split

    Places = NDArray[np.integer]

# Read at once of an object, and of a file: less stays in the cache of a core.
WINDOW_BYTES: Final = 1 << 22
FILE_WINDOW_BYTES: Final = 1 << 18
# Of a file, it is cheaper to read so much between two rows than to read twice.
NEAR_BYTES: Final = 1 << 15
# Read behind the start of the last row, besides the size of two rows.
TAIL_BYTES: Final = 1 << 8
# Rows are sent once they have so many bytes: it bounds the memory of a task.
BATCH_BYTES: Final = 1 << 23
# Bits of `why` a row was requested: it is not identical, its key may repeat, or its key
# may be that of an open break.
LEFT: Final = 1
SUSPECT: Final = 2
SOUGHT: Final = 4
# The kernel's type has a `check` of 32 bits (`scanned.ENTRY`); `number` is the offset.
ROW_TYPE: Final = np.dtype([*RECORD_FIELDS])
WANTED_TYPE: Final = np.dtype([("offset", "<u4"), ("key", "<u8"), ("why", "u1")])
TAKEN_TYPE: Final = np.dtype([("size", "<u4"), ("key", "<u8"), ("why", "u1")])


@dataclass(frozen=True, slots=True)
class DigestedRows:
    """Digests of rows of a side, and where these are in the span of a number."""

    side: int
    span: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class WantedRows:
    """Rows of a bucket that are to be read again, and why."""

    bucket: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class TakenRows:
    """Rows of a side, as they are written, each with a newline.

    `rows`: their sizes in the text, and why they were wanted.
    """

    side: int
    text: bytes
    rows: NDArray[np.void]


def record_ends(block: Block, header: Header) -> NDArray[np.integer]:
    """The offset after each record of a validated block."""
    if block.ends is not None:
        return block.ends
    data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
    delimiter, width = ord(header.delimiter), header.width
    found = index_records(data, delimiter, width, header.limits)
    if found is not None:
        ends = found.ends
    else:
        every = parse_records(data, delimiter, header.limits)
        ends = np.array([record.end for record in every], np.int64)
    ends[-1] = len(block.data)
    return ends


def place_rows(
    frame: pl.DataFrame, part: Run, origin: int, kind: np.dtype[np.void]
) -> NDArray[np.void]:
    """Rows of a part of a span that begins at an offset, as arrays of that type."""
    rows = np.empty(frame.height, kind)
    for name in DIGEST_COLUMNS:
        rows[name] = frame[name].to_numpy()
    # Rows of a part are adjacent in memory, but quarantined rows lie between them in
    # the file: each gap moves all later rows.
    sizes = frame["size"].to_numpy()
    starts = np.cumsum(sizes, dtype=np.int64) - sizes
    if part.gaps is not None:
        first, last = part.gaps.astype(np.int64).T
        gone = np.cumsum(last - first)
        # Where each gap was closed, among the bytes that are left.
        seams = first - np.append(0, gone[:-1])
        at = np.searchsorted(seams, starts, side="right")
        starts += np.append(0, gone)[at]
    rows["number"] = part.offset + starts - origin
    return rows


def split_by_place(
    rows: NDArray[np.void], place: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The rows of each place that has some."""
    order, runs = _runs_by_place(place)
    moved = pick_rows(rows, order)
    for at, run in runs:
        yield at, moved[run]


def numbers_by_place(
    place: NDArray[np.integer],
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Which numbers are for each place that has some."""
    order, runs = _runs_by_place(place)
    for at, run in runs:
        yield at, order[run]


def concat_rows(
    parts: Iterable[NDArray[np.void]], dtype: np.dtype[np.void]
) -> NDArray[np.void]:
    """All rows one behind the other; to be read only."""
    return np.frombuffer(b"".join([part.data for part in parts]), dtype)


def pick_rows(rows: NDArray[np.void], which: NDArray[np.integer]) -> NDArray[np.void]:
    """Some rows, whole: as they are, numpy would take them field by field."""
    found: NDArray[np.void] = rows.view(f"V{rows.itemsize}").take(which)
    return found.view(rows.dtype)


def digests_as_frame(rows: NDArray[np.void]) -> pl.DataFrame:
    """Digests, with the number of each row among them."""
    digests = {name: np.ascontiguousarray(rows[name]) for name in DIGEST_COLUMNS}
    found = pl.DataFrame(digests, schema=dict.fromkeys(DIGEST_COLUMNS, pl.UInt64))
    return found.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


@dataclass(frozen=True, slots=True)
class TableReader:
    """The records of a file, which ends where its table ends.

    `window`: so many bytes are read at once; `gap`: so many between two records are
    read rather than skipped; `row_bytes`: about the size of a record.
    """

    read: ReadAt
    end: int
    window: int
    gap: int
    row_bytes: int

    @classmethod
    def of(cls, header: Header, read: ReadAt) -> TableReader:
        """The table of a file."""
        size = int(header.row_bytes)
        if isinstance(read, FileBytes):
            return cls(read, header.end, FILE_WINDOW_BYTES, NEAR_BYTES, size)
        # A request for an object takes longer than its bytes.
        return cls(read, header.end, WINDOW_BYTES, WINDOW_BYTES, size)

    def read_records(self, starts: Sequence[int]) -> list[bytes]:
        """The records that begin at ascending offsets, in one window.

        Each ends with a newline, also the last one of a file that ends without.
        """
        first = starts[0]
        tail = TAIL_BYTES + 2 * self.row_bytes
        while True:
            last = min(starts[-1] + tail, self.end)
            data = self.read(last - first, first)
            if last == self.end and not data.endswith(b"\n"):
                data += b"\n"
            records = _cut_records(data, first, starts)
            if records is not None:
                return records
            # The file has become shorter, which whoever has opened it reports.
            assert last < self.end  # noqa: S101
            tail *= 4

    def find_windows(self, starts: Sequence[int]) -> Iterator[tuple[int, int]]:
        """The runs of records that are read at once."""
        first = 0
        for at in range(1, len(starts)):
            start = starts[at]
            if start - starts[at - 1] > self.gap or (
                start - starts[first] > self.window
            ):
                yield first, at
                first = at
        if starts:
            yield first, len(starts)


def _cut_records(data: bytes, first: int, starts: Sequence[int]) -> list[bytes] | None:
    """Valid records of the bytes from an offset on; None if the last has no end."""
    records = []
    quotes = b'"' in data
    for at in starts:
        start = at - first
        end = data.find(b"\n", start) + 1
        # A newline behind an odd number of quotes is a part of a field.
        while end and quotes and data.count(b'"', start, end) & 1:
            end = data.find(b"\n", end) + 1
        if not end:
            return None
        records.append(data[start:end])
    return records


def send_rows(
    side: int, table: TableReader, span: Split, wanted: NDArray[np.void], bucket: Places
) -> Packets:
    """Read rows of a span, which are in file order, and send them by bucket."""
    starts = (wanted["offset"] + np.uint64(span.start)).tolist()
    texts: list[bytes] = []
    size = sent = 0
    for first, last in table.find_windows(starts):
        records = table.read_records(starts[first:last])
        texts += records
        size += sum(map(len, records))
        if size > BATCH_BYTES or last == len(starts):
            part = slice(sent, last)
            yield from _send_texts(side, texts, wanted[part], bucket[part])
            size, sent = 0, last
            texts.clear()


def _send_texts(
    side: int, texts: Sequence[bytes], wanted: NDArray[np.void], bucket: Places
) -> Packets:
    for place, which in numbers_by_place(bucket):
        mine = [texts[at] for at in which.tolist()]
        taken = np.empty(len(mine), TAKEN_TYPE)
        taken["size"] = [*map(len, mine)]
        for name in ("key", "why"):
            taken[name] = wanted[name][which]
        yield Packet.for_task(place, TakenRows(side, b"".join(mine), taken))


def _runs_by_place(
    place: NDArray[np.integer],
) -> tuple[NDArray[np.int64], Iterator[tuple[int, slice]]]:
    """An order in which places are together, and which run in it each has."""
    # Numbers of 16 bits are sorted by radix, which is fastest by far.
    narrow = place.astype(np.min_scalar_type(int(place.max(initial=0))))
    order = np.argsort(narrow, kind="stable")
    counts = np.bincount(narrow)
    ends = np.cumsum(counts)
    runs = (
        (int(at), slice(ends[at] - counts[at], ends[at]))
        for at in np.flatnonzero(counts)
    )
    return order, runs
