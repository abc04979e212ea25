"""The native kernel in tasks: it reads splits, and matches the digests of a bucket.

Reading validates, digests and samples the rows. A split that the kernel refuses is read
by `split_reader`, which reports the error, or sets rows aside. `KernelDigests` then
takes the same digests of what is left.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.compare.digests import make_empty_sample
from recon_engine.compare.early_scan import columns_by_bytes
from recon_engine.errors import ConfigError
from recon_engine.inputs.csv_reader import ReaderCounts
from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.native.binding import (
    Memory,
    ReadPlan,
    Side,
    Status,
    load_library,
)
from recon_engine.inputs.scanned import ENTRY, GatheredRows, MatchedDigests
from recon_engine.inputs.scanning import load_kernel, plan_sides
from recon_engine.inputs.trailers import summed_columns
from recon_engine.model import Rejects
from recon_engine.spark.byte_sources import FileBytes
from recon_engine.spark.settings import MOST_BITS
from recon_engine.spark.split_reader import SplitResult
from recon_engine.spark.splits import Split


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.header import Header
    from recon_engine.rules.chains import Tallies

    Plans = tuple[ReadPlan, ReadPlan]

# Read at once: for an object, this is one request.
WINDOW_BYTES: Final = 1 << 22
# Given to the kernel at once, as in `scanning`.
BLOCK_BYTES: Final = 1 << 18
# Of `digests`: key, row, check.
DIGEST_WORDS: Final = 3
# About as many digests are matched within the cache of a core.
MATCHED_ROWS: Final = 1 << 13
ENTRY_TYPE: Final = np.dtype([*ENTRY])


@dataclass(frozen=True, slots=True)
class DigestedSplit:
    """A split whose digests are in the kernel, and a sample of its rows.

    `origin`: where the offsets of rows count from; `blanks`: the rows whose key has a
    blank.
    """

    side: Side
    origin: int
    result: SplitResult
    sample: pl.DataFrame
    blanks: int

    def digests_by_bucket(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """The digests of each bucket that has some, with the offsets of rows."""
        kernel, pointer, bits = self.side.kernel, self.side.pointer, self.side.bits
        for bucket in range(1 << bits):
            count = kernel.side_placed(pointer, bucket, 0, None)
            if count:
                rows = np.empty(count, ENTRY_TYPE)
                kernel.side_placed(pointer, bucket, self.origin, rows.ctypes.data)
                yield bucket, rows


def plan_for_kernel(
    headers: tuple[Header, Header], plan: ComparisonPlan
) -> Plans | None:
    """How all tasks read both files with the kernel; None if it does not apply.

    The secret of the digests is in it: it is new in each job, and stays within it.
    """
    kernel, columns = load_kernel(headers), columns_by_bytes(headers, plan.layout)
    # The kernel knows no places of rows.
    if any(plan.layout.prepared) or any(map(summed_columns, headers)):
        return None
    if kernel is None or columns is None:
        return None
    old, new = plan_sides(kernel, headers, columns)
    return old, new


@contextmanager
def digest_natively(
    plan: ReadPlan,
    header: Header,
    span: Split,
    read: ReadAt,
    names: ColumnIds,
    origin: int,
) -> Iterator[DigestedSplit | None]:
    """Read a split for the block; None if `split_reader` has to read it.

    It reads blank lines: whether these are allowed depends on the splits behind.
    `plan`: its `bits` choose the buckets of digests; `origin`: where the offsets of
    rows in them count from.
    """
    side = Side(_require_kernel(), replace(plan, offset=span.start))
    try:
        if isinstance(read, FileBytes):
            sampled = _scan_split(side, span, read)
        else:
            sampled = _feed_split(side, span, read)
        facts = side.facts
        if sampled is None or facts.blanks:
            yield None
            return
        text = b"".join(sampled)
        drawn = Block(text, len(sampled), header.delimiter, trailing=header.trailing)
        counts = ReaderCounts(
            rows=facts.rows,
            lf=facts.rows - facts.unended - facts.crlf,
            crlf=facts.crlf,
            embedded=facts.embedded,
            quotes=bool(facts.quotes),
            end_of_copy=bool(facts.end_of_copy),
        )
        yield DigestedSplit(
            side,
            origin,
            SplitResult(
                counts=counts,
                begun=bool(facts.rows),
                blanks=(),
                blank_lines=0,
                rejects=Rejects(),
                fault=None,
            ),
            _read_sample(drawn, names),
            facts.blank_keys,
        )
    finally:
        side.free()


@contextmanager
def match_natively(
    sides: Sequence[Sequence[NDArray[np.void]]], bits: int
) -> Iterator[MatchedDigests]:
    """The digests of all rows of a bucket, matched for the block.

    `sides`: of OLD and NEW, from any number of splits. `bits`: as many high bits of
    their keys are equal. The rows of a side are numbered in this order.
    """
    kernel = _require_kernel()
    rows = max(sum(map(len, arrays)) for arrays in sides)
    parts = min(MOST_BITS, (rows // MATCHED_ROWS).bit_length())
    plan = ReadPlan(1, (), bytes(kernel.random_size()), bits=parts)
    with ExitStack() as stack:
        pointers = []
        for arrays in sides:
            side = Side(kernel, plan)
            stack.callback(side.free)
            pointers.append(side.pointer)
            for digests in arrays:
                address = digests.ctypes.data
                if not kernel.side_put(side.pointer, address, len(digests), bits):
                    raise MemoryError
        found = kernel.join(*pointers, 0, 1 << parts)
        if not found:
            raise MemoryError
        stack.callback(kernel.found_free, found)
        yield MatchedDigests(kernel, found)


def gather_natively(
    texts: Sequence[bytes], sizes: NDArray[np.integer], header: Header
) -> GatheredRows:
    """Rows of a file as written, each with a newline, in memory of the kernel."""
    kernel = _require_kernel()
    text = Memory(kernel, sum(map(len, texts)))
    start = 0
    for each in texts:
        text.view[start : start + len(each)] = each
        start += len(each)
    offsets = np.zeros(len(sizes) + 1, np.uint64)
    np.cumsum(sizes, out=offsets[1:], dtype=np.uint64)
    return GatheredRows(
        kernel,
        len(sizes),
        text,
        Memory.copy(kernel, offsets.data),
        header.delimiter,
        header.width,
    )


@dataclass(slots=True)
class KernelDigests:
    """The digests of the kernel of blocks that `split_reader` has validated."""

    plan: ReadPlan
    names: ColumnIds
    drawn: list[pl.DataFrame] = field(default_factory=list)

    def digest(self, rows: Rows) -> pl.DataFrame:
        """`row`, `check`, `key`, and `blank` in as many rows as have a blank key."""
        assert isinstance(rows, Block)  # noqa: S101 - so `split_reader` calls it
        side = Side(_require_kernel(), replace(self.plan, offset=0, marks=()))
        try:
            data, window = rows.data, Split(0, len(rows.data), 0)
            sampled = _feed_split(
                side, window, lambda size, offset: data[offset : offset + size]
            )
            assert sampled is not None  # noqa: S101 - the reference accepts it
            words, blanks = _take_digests(side), side.facts.blank_keys
        finally:
            side.free()
        text = b"".join(sampled)
        few = Block(text, len(sampled), rows.delimiter, trailing=rows.trailing)
        self.drawn.append(_read_sample(few, self.names))
        digests = {
            name: np.ascontiguousarray(words[:, at])
            for at, name in enumerate(("key", "row", "check"))
        }
        return pl.DataFrame(digests | {"blank": np.arange(len(words)) < blanks})

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of the sampled rows."""
        return pl.concat([make_empty_sample(self.names), *self.drawn])

    def tallies(self) -> Tallies:
        """Nothing: the kernel reads no key that has rules."""
        return {}


def _require_kernel() -> ctypes.CDLL:
    kernel = load_library()
    if kernel is None:
        raise ConfigError(
            "a machine that runs tasks has no native kernel, and the driver has one",
            help="install the same wheel on all machines, or set RECON_NATIVE=0 for"
            " the driver",
        )
    return kernel


def _feed_split(side: Side, span: Split, read: ReadAt) -> list[bytes] | None:
    """Give a split to the kernel; the text of the sampled rows, None if it refuses."""
    slack, room, have, begin = side.kernel.slack(), BLOCK_BYTES, 0, span.start
    buffer = bytearray(room + slack)
    sampled: list[bytes] = []
    for piece, is_last in _pieces(span, read):
        if have + len(piece) > room:
            room = have + len(piece)
            buffer = buffer[:have] + bytearray(room - have + slack)
        buffer[have : have + len(piece)] = piece
        have += len(piece)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        taken = side.feed(address, have, last=is_last)
        if taken < 0:
            return None
        sampled += _sampled_rows(side, len(sampled), memoryview(buffer), begin)
        ctypes.memmove(address, address + taken, have - taken)
        have, begin = have - taken, begin + taken
    # Less than all, if the file has become shorter: the reader says so.
    return sampled if begin == span.end else None


def _scan_split(side: Side, span: Split, read: FileBytes) -> list[bytes] | None:
    """The same for a file, which the kernel reads itself."""
    status = side.scan(read.descriptor, BLOCK_BYTES, end=span.end)
    kernel, pointer, facts = side.kernel, side.pointer, side.facts
    if status is not Status.OK or facts.end != span.end:
        return None
    address = kernel.side_sample(pointer)
    sampled = []
    for row in (ctypes.c_uint32 * facts.sampled).from_address(address or 0):
        start, end = (kernel.side_start(pointer, at) for at in (row, row + 1))
        text = read(end - start, start)
        sampled.append(text if text.endswith(b"\n") else text + b"\n")
    return sampled


def _pieces(span: Split, read: ReadAt) -> Iterator[tuple[memoryview, bool]]:
    """The bytes of a split, and which of them are the last."""
    for offset in range(span.start, span.end, WINDOW_BYTES):
        data = read(min(WINDOW_BYTES, span.end - offset), offset)
        for at in range(0, len(data), BLOCK_BYTES):
            piece = memoryview(data)[at : at + BLOCK_BYTES]
            yield piece, offset + at + len(piece) == span.end


def _sampled_rows(
    side: Side, known: int, block: memoryview, begin: int
) -> Iterator[bytes]:
    """The rows of a block, which begins at an offset, that were sampled."""
    kernel, pointer = side.kernel, side.pointer
    count = side.facts.sampled
    if count == known:
        return
    numbers = (ctypes.c_uint32 * count).from_address(kernel.side_sample(pointer))
    for row in numbers[known:]:
        start, end = (
            kernel.side_start(pointer, row),
            kernel.side_start(pointer, row + 1),
        )
        text = bytes(block[start - begin : end - begin])
        yield text if text.endswith(b"\n") else text + b"\n"


def _take_digests(side: Side) -> NDArray[np.uint64]:
    """The digests of all rows in file order: key, row, check."""
    words = np.empty((side.facts.rows, DIGEST_WORDS), np.uint64)
    side.kernel.digests(side.pointer, words.ctypes.data)
    return words


def _read_sample(drawn: Block, names: ColumnIds) -> pl.DataFrame:
    if not drawn.rows:
        return make_empty_sample(names)
    cells = names.read_cells(drawn).select(names.compared)
    return cells.collect(engine="in-memory")
