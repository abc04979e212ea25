"""Rows as tasks exchange them: arrays of digests, offsets and sizes, or their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.compare.buckets import DIGEST_COLUMNS
from recon_engine.inputs.csvfile import as_arrow_array, as_binary_array
from recon_engine.inputs.rfc4180 import parse_records
from recon_engine.inputs.scanner import index_records
from recon_engine.spark.packets import Packet


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.csvfile import Block
    from recon_engine.inputs.csvfile import RowGroup as Run
    from recon_engine.inputs.header import Header
    from recon_engine.spark.packets import Packets

# Requested rows that lie within one window are read at once, with the gaps between.
WINDOW_BYTES: Final = 1 << 22
# Rows are read and sent in batches of this size: it bounds the memory of a task.
BATCH_BYTES: Final = 1 << 23
# Bits of `why` a row was requested: it is not identical, its key may repeat, or its key
# may be that of an open break.
LEFT: Final = 1
SUSPECT: Final = 2
SOUGHT: Final = 4
ROW_TYPE: Final = np.dtype(
    [*((name, "<u8") for name in DIGEST_COLUMNS), ("offset", "<u8"), ("size", "<u4")]
)
WANTED_TYPE: Final = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("key", "<u8"), ("why", "u1")]
)


@dataclass(frozen=True, slots=True)
class DigestedRows:
    """Digests of rows of a side, and where these are, by the number of their span."""

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
    """Rows of a side, as they are written, each with a newline."""

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


def place_rows(frame: pl.DataFrame, part: Run) -> NDArray[np.void]:
    """Rows of a part, by their places in the file."""
    rows = np.empty(frame.height, ROW_TYPE)
    for name in (*DIGEST_COLUMNS, "size"):
        rows[name] = frame[name].to_numpy()
    # Rows of a part are adjacent in memory, but quarantined rows lie between them in
    # the file: each gap moves all later rows.
    starts = np.cumsum(rows["size"], dtype=np.int64) - rows["size"]
    if part.gaps is not None:
        first, last = part.gaps.astype(np.int64).T
        gone = np.cumsum(last - first)
        # Where each gap was closed, among the bytes that are left.
        seams = first - np.append(0, gone[:-1])
        at = np.searchsorted(seams, starts, side="right")
        starts += np.append(0, gone)[at]
    rows["offset"] = part.offset + starts
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


def join_digests(
    side: Sequence[DigestedRows],
) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All digests of a side, and the number of the span of each."""
    rows = concat_rows((each.rows for each in side), ROW_TYPE)
    span = np.repeat([each.span for each in side], [len(each.rows) for each in side])
    return rows, span.astype(np.int64)


def digests_as_frame(rows: NDArray[np.void]) -> pl.DataFrame:
    """Digests as the kernel takes them, with the number of each row."""
    digests = {name: np.ascontiguousarray(rows[name]) for name in DIGEST_COLUMNS}
    found = pl.DataFrame(digests, schema=dict.fromkeys(DIGEST_COLUMNS, pl.UInt64))
    return found.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


def batch_runs(rows: NDArray[np.void]) -> Iterator[tuple[int, int]]:
    """Runs of rows that are sent at once."""
    ends = np.cumsum(rows["size"], dtype=np.int64)
    return _bounded_runs(ends - rows["size"], ends, BATCH_BYTES)


def send_rows(
    side: int, read: ReadAt, rows: NDArray[np.void], bucket: NDArray[np.integer]
) -> Packets:
    """Some rows in the order of their file, by bucket."""
    starts, sizes = rows["offset"], rows["size"].astype(np.int64)
    windows = _bounded_runs(starts, starts + rows["size"], WINDOW_BYTES)
    text = b"".join([_read_text(read, rows[start:stop]) for start, stop in windows])
    if not text.endswith(b"\n"):
        text += b"\n"
        # The last record of a file may have no newline: rows are sent with one.
        sizes[-1] += 1
    lines = as_binary_array(np.append(0, np.cumsum(sizes)), text)
    for at, which in numbers_by_place(bucket):
        mine = pick_rows(rows, which)
        mine["size"] = sizes[which]
        yield Packet.for_task(at, TakenRows(side, _concat_texts(lines, which), mine))


def _read_text(read: ReadAt, rows: NDArray[np.void]) -> bytes:
    """What is written in rows that are read at once, and nothing in between."""
    first = int(rows["offset"][0])
    starts = rows["offset"].astype(np.int64) - first
    # Edges alternate between the beginning and the end of a row: every second piece is
    # a row, the others are gaps.
    edges = np.stack([starts, starts + rows["size"]], axis=1).ravel()
    data = read(int(edges[-1]), first)
    return _concat_texts(as_binary_array(edges, data), np.arange(0, len(edges), 2))


def _concat_texts(texts: pa.Array, which: NDArray[np.int64]) -> bytes:
    """Some of them, one behind the other."""
    _, _, data = texts.take(as_arrow_array(which)).buffers()
    return bytes(data)


def _bounded_runs(
    starts: NDArray[np.integer], ends: NDArray[np.integer], max_bytes: int
) -> Iterator[tuple[int, int]]:
    """Runs of what is in order, none longer than that unless it is one thing."""
    start = 0
    while start < len(starts):
        within = np.searchsorted(ends, int(starts[start]) + max_bytes, "right")
        stop = max(start + 1, int(within))
        yield start, stop
        start = stop


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
