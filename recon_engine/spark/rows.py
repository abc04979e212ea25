"""Rows on their way: where they are in the files, and what is known of them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.buckets import DIGESTS
from recon_engine.rfc4180 import records
from recon_engine.spark.packets import Packet
from recon_engine.structure import structure


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.csvfile import Block
    from recon_engine.csvfile import Part as Run
    from recon_engine.gate import ReadAt
    from recon_engine.header import Header
    from recon_engine.spark.packets import Packets

WINDOW: Final = 1 << 22
LEFT: Final = 1
SUSPECT: Final = 2
ROW: Final = np.dtype(
    [*((name, "<u8") for name in DIGESTS), ("offset", "<u8"), ("size", "<u4")]
)
WANTED: Final = np.dtype(
    [("offset", "<u8"), ("size", "<u4"), ("key", "<u8"), ("why", "u1")]
)


@dataclass(frozen=True, slots=True)
class Digested:
    """Digests of rows of a side, and where these are, by the number of their span."""

    side: int
    span: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows of a bucket that are to be read again, and why."""

    bucket: int
    rows: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of a side, as they are written, each with a newline."""

    side: int
    text: bytes
    rows: NDArray[np.void]


def ends_of(block: Block, header: Header) -> NDArray[np.integer]:
    """The offset behind each record of a block that passed the gate."""
    if block.ends is not None:
        return block.ends
    data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
    delimiter, width = ord(header.delimiter), len(header.columns)
    found = structure(data, delimiter, width, header.limits)
    if found is not None:
        ends = found.ends
    else:
        every = records(data, delimiter, header.limits)
        ends = np.array([record.end for record in every], np.int64)
    ends[-1] = len(block.data)
    return ends


def placed(frame: pl.DataFrame, part: Run) -> NDArray[np.void]:
    """Rows of a part, by their places in the file."""
    rows = np.empty(frame.height, ROW)
    for name in (*DIGESTS, "size"):
        rows[name] = frame[name].to_numpy()
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


def split(
    rows: NDArray[np.void], place: NDArray[np.integer]
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """The rows of each place that has some."""
    for at, which in by_place(place):
        yield at, rows[which]


def table(side: Sequence[Digested]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All digests of a side, and the number of the span of each."""
    rows = np.concatenate([np.empty(0, ROW), *(each.rows for each in side)])
    span = np.repeat([each.span for each in side], [len(each.rows) for each in side])
    return rows, span.astype(np.int64)


def frame(rows: NDArray[np.void]) -> pl.DataFrame:
    """Digests as the kernel takes them, with the number of each row."""
    digests = {name: np.ascontiguousarray(rows[name]) for name in DIGESTS}
    found = pl.DataFrame(digests, schema=dict.fromkeys(DIGESTS, pl.UInt64))
    return found.with_columns(number=pl.int_range(pl.len(), dtype=pl.UInt32))


def windows(rows: NDArray[np.void]) -> Iterator[tuple[int, int]]:
    """Runs of rows that are read at once."""
    ends = rows["offset"] + rows["size"]
    start = 0
    while start < len(rows):
        within = np.searchsorted(ends, int(rows["offset"][start]) + WINDOW, "right")
        stop = max(start + 1, int(within))
        yield start, stop
        start = stop


def taken(
    side: int, read: ReadAt, rows: NDArray[np.void], bucket: NDArray[np.integer]
) -> Packets:
    """A window of rows, by bucket."""
    first = int(rows["offset"][0])
    data = memoryview(read(int(rows["offset"][-1] + rows["size"][-1]) - first, first))
    starts = rows["offset"].astype(np.int64) - first
    for at, which in by_place(bucket):
        mine = rows[which].copy()
        texts = [
            bytes(data[start : start + size])
            for start, size in zip(
                starts[which].tolist(), mine["size"].tolist(), strict=True
            )
        ]
        if not texts[-1].endswith(b"\n"):
            texts[-1] += b"\n"
            mine["size"][-1] += 1
        yield Packet.of(at, Taken(side, b"".join(texts), mine))


def by_place(
    place: NDArray[np.integer],
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Which numbers are for each place that has some."""
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    for at, part in zip(places, np.split(order, starts[1:]), strict=False):
        yield int(at), part
