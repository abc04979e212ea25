"""Call the native kernel by ctypes, which releases the interpreter lock.

`load_library` returns None with `RECON_NATIVE=0`, and, after one warning, if the
library is missing, cannot be loaded, or is of another version.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import os
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_engine.model import EXACT
from recon_engine.records import dataclass
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

LIBRARY: Final = Path(__file__).with_name("_kernel.so")
# Between fields in digests, where the sides have no delimiter in common.
SEPARATOR: Final = ord(",")
# A call takes less than a tenth of a second: a request to stop waits for its end.
PIECE_BYTES: Final = 1 << 25
# More than a file has.
MOST_BYTES: Final = (1 << 64) - 1
# Rows are numbered in 32 bits, from 1 on.
MOST_ROWS: Final = (1 << 32) - 2


class Status(IntEnum):
    """How a call ended. `csv_reader` reads a refused file, and reports the error."""

    OK = 0
    REFUSED = 1
    UNSUPPORTED = 2
    IO = 3
    MEMORY = 4
    CANCELLED = 5
    CHANGED = 6


class Matched(IntEnum):
    """The lists of a join; those of pairs have the same order on both sides."""

    PAIRED_OLD = 0
    PAIRED_NEW = 1
    MISSING = 2
    EXTRA = 3
    REPEATED_OLD = 4
    REPEATED_NEW = 5


class SideSettings(ctypes.Structure):
    """The argument of `side_new`; columns are numbered as in the file."""

    _fields_ = (
        ("delimiter", c_uint32),
        ("separator", c_uint32),
        ("width", c_uint32),
        ("key_count", c_uint32),
        ("order_count", c_uint32),
        ("field_lines", c_uint32),
        ("bits", c_uint32),
        ("isa", c_int32),
        ("field_bytes", c_uint64),
        ("offset", c_uint64),
        ("sample_every", c_uint64),
        ("keys", POINTER(c_uint32)),
        ("order", POINTER(c_uint32)),
        ("random", c_void_p),
        ("trailing", c_uint32),
        ("mark_count", c_uint32),
        ("mark_sizes", POINTER(c_uint32)),
        ("marks", c_char_p),
        ("sum_count", c_uint32),
        ("folds", c_uint32),
        ("sums", POINTER(c_uint32)),
        ("added", c_char_p),
        ("totals", POINTER(c_uint32)),
        ("total_count", c_uint64),
    )


class Facts(ctypes.Structure):
    """What was counted in a side.

    `end`: the offset after the last record; `crlf`: the newlines after rows and blank
    lines that are CRLF; `embedded`: the newlines in fields; `blanks`: the blank lines
    at the end of the file; `unended`: whether the last row has no newline.
    """

    _fields_ = tuple(
        (name, c_uint64)
        for name in (
            "rows",
            "end",
            "status",
            "blanks",
            "crlf",
            "embedded",
            "quotes",
            "end_of_copy",
            "blank_keys",
            "sampled",
            "unended",
        )
    )


class RawRows(ctypes.Structure):
    """Gathered rows, as `extract` and `compare` take them."""

    _fields_ = (
        ("text", c_void_p),
        ("offsets", c_void_p),
        ("delimiter", c_uint32),
        ("width", c_uint32),
    )


class ArrowSchema(ctypes.Structure):
    """The type of an array, by Arrow's C data interface."""

    _fields_ = (
        ("format", c_char_p),
        ("name", c_char_p),
        ("metadata", c_char_p),
        ("flags", c_int64),
        ("n_children", c_int64),
        ("children", c_void_p),
        ("dictionary", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )


class ArrowArray(ctypes.Structure):
    """An array by Arrow's C data interface; not released while `release` is set."""

    _fields_ = (
        ("length", c_int64),
        ("null_count", c_int64),
        ("offset", c_int64),
        ("n_buffers", c_int64),
        ("n_children", c_int64),
        ("buffers", c_void_p),
        ("children", c_void_p),
        ("dictionary", c_void_p),
        ("release", c_void_p),
        ("private_data", c_void_p),
    )


class DigestArrays(ctypes.Structure):
    """The addresses of the digests of a side: 64 bits each, of `rows` rows."""

    _fields_ = (
        ("row", c_void_p),
        ("check", c_void_p),
        ("key", c_void_p),
        ("rows", c_uint64),
    )


class SummedColumn(ctypes.Structure):
    """How the texts of a column are written, and their sum.

    `shortest`, `longest`: in bytes without white space, of those that are not blank; 0
    if all are. `amounts`: whether all others are amounts; `point`: whether one has a
    point. The sum has `places` decimal places, if it is `exact`.
    """

    _fields_ = (
        ("shortest", c_uint64),
        ("longest", c_uint64),
        ("low", c_uint64),
        ("high", c_int64),
        ("places", c_uint32),
        ("amounts", c_uint8),
        ("point", c_uint8),
        ("exact", c_uint8),
        ("unused", c_uint8),
    )

    @property
    def value(self) -> Decimal:
        """The sum, if it is `exact`."""
        # In two's complement: the high half has the sign, the low half is added as it
        # is.
        digits = int(self.high) << 64 | int(self.low)
        return EXACT.scaleb(Decimal(digits), -self.places)


class Reading(ctypes.Structure):
    """How `table_forms` reads texts; without `formats` they are numbers."""

    _fields_ = (
        ("point", c_uint32),
        ("group", c_uint32),
        ("trailing", c_uint32),
        ("places", c_uint32),
        ("formats", c_char_p),
        ("apart", c_char_p),
        ("apart_size", c_uint64),
    )


class Judging(ctypes.Structure):
    """How the cells of a column are read and compared, and what was counted of them.

    `old`, `new`: how the texts of a side are read; None leaves the cells as they are.
    `forms_old`, `forms_new`: whether numbers are added up as they were read. Of the
    cells that were `seen`: how many were read, and how many were neither read nor
    blank; of those that are `equal`, but not by their bytes, the number and the sums.
    """

    _fields_ = (
        ("old", POINTER(Reading)),
        ("new", POINTER(Reading)),
        ("forms_old", c_uint32),
        ("forms_new", c_uint32),
        ("seen", c_uint64),
        ("counts", c_uint64 * 4),
        ("equal", c_uint64),
        ("sums", SummedColumn * 2),
    )


SIGNATURES: Final[dict[str, tuple[Any, ...]]] = {
    "version": (c_char_p,),
    "source": (c_char_p,),
    "best_isa": (c_int,),
    "random_size": (c_uint64,),
    "slack": (c_uint32,),
    "memory_new": (c_void_p, c_uint64),
    "memory_free": (None, c_void_p),
    "side_new": (c_void_p, POINTER(SideSettings)),
    "side_free": (None, c_void_p),
    "side_forget": (None, c_void_p),
    "side_facts": (None, c_void_p, POINTER(Facts)),
    "side_sample": (c_void_p, c_void_p),
    "side_totals": (None, c_void_p, POINTER(SummedColumn)),
    "side_ends": (None, c_void_p, c_void_p),
    "side_start": (c_uint64, c_void_p, c_uint64),
    "side_runs": (c_uint64, c_void_p, c_uint64, c_void_p, c_uint64),
    "feed": (c_int64, c_void_p, c_void_p, c_uint64, c_int),
    "scan": (c_int, c_void_p, c_int, c_uint64, c_uint64, c_void_p, c_void_p),
    "join": (c_void_p, c_void_p, c_void_p, c_uint32, c_uint32),
    "join_folded": (c_void_p, c_void_p, c_void_p, c_uint32, c_uint32, c_int),
    "found_folded": (c_uint64, c_void_p, c_int),
    "found_list": (c_uint64, c_void_p, c_int, POINTER(c_void_p)),
    "found_free": (None, c_void_p),
    "found_append": (c_int, c_void_p, c_void_p),
    "found_sort": (c_int, c_void_p),
    "found_numbers": (c_int, c_void_p, c_int, c_uint64, c_uint64, c_void_p),
    "found_forget": (None, c_void_p, c_int),
    "side_find": (c_int64, c_void_p, c_char_p, c_void_p, c_uint64),
    "side_sought": (c_void_p, c_void_p),
    "replace_marks": (
        c_int64,
        c_char_p,
        c_uint64,
        c_char_p,
        c_uint64,
        ctypes.c_uint8,
        c_void_p,
    ),
    "transcode": (c_int64, c_int, c_uint64, c_uint64, POINTER(c_uint32), c_int),
    "gathered_offsets": (c_int, c_void_p, c_void_p, c_uint64, c_void_p),
    "gather": (c_int, c_void_p, c_int, c_void_p, c_uint64, c_void_p, c_void_p),
    "pick": (None, POINTER(RawRows), c_void_p, c_uint64, c_void_p),
    "extract": (
        c_void_p,
        POINTER(RawRows),
        c_uint64,
        c_uint64,
        c_uint32,
        POINTER(c_uint32),
    ),
    "compare": (
        c_void_p,
        POINTER(RawRows),
        POINTER(RawRows),
        c_uint64,
        c_uint64,
        c_uint32,
        c_uint32,
        POINTER(c_uint32),
        POINTER(c_uint32),
        POINTER(Judging),
    ),
    "compare_pairs": (
        c_void_p,
        POINTER(RawRows),
        POINTER(RawRows),
        c_uint64,
        c_uint64,
        c_uint32,
        POINTER(c_uint32),
        POINTER(c_uint32),
        c_void_p,
        c_void_p,
        c_char_p,
        POINTER(Judging),
    ),
    "columns_text": (
        c_uint64,
        c_void_p,
        c_uint32,
        POINTER(c_void_p),
        POINTER(c_void_p),
    ),
    "columns_export": (c_int, c_void_p, POINTER(c_char_p), c_void_p, c_void_p),
    "array_free": (None, c_void_p),
    "schema_free": (None, c_void_p),
    "columns_collisions": (c_uint64, c_void_p),
    "columns_free": (None, c_void_p),
    "count_values": (
        c_void_p,
        POINTER(RawRows),
        c_void_p,
        c_uint64,
        c_uint32,
        POINTER(c_uint32),
        c_uint64,
        c_void_p,
    ),
    "table_new": (c_void_p, c_void_p),
    "table_free": (None, c_void_p),
    "table_hashes": (c_int, c_void_p, c_void_p, c_void_p),
    "table_counts": (c_void_p, c_void_p, c_uint64, c_void_p),
    "table_sums": (None, c_void_p, POINTER(SummedColumn)),
    "table_forms": (
        c_int,
        c_void_p,
        POINTER(Reading),
        c_void_p,
        c_void_p,
        POINTER(c_uint64),
    ),
    "digest_forms": (
        c_int,
        POINTER(RawRows),
        c_uint64,
        c_uint32,
        POINTER(c_uint32),
        POINTER(POINTER(Reading)),
        c_char_p,
        c_void_p,
        POINTER(c_uint64),
    ),
    "digests": (None, c_void_p, c_void_p),
    "side_placed": (c_uint64, c_void_p, c_uint32, c_uint64, c_void_p),
    "side_put": (c_int, c_void_p, c_void_p, c_uint64, c_uint32),
    "has_repeats": (c_int, c_void_p, c_uint64),
    "drop_identical": (c_int64, POINTER(DigestArrays), c_void_p, c_void_p),
}


@functools.cache
def load_library() -> ctypes.CDLL | None:
    """The library of this package; None if it is switched off or cannot be used."""
    if os.environ.get("RECON_NATIVE") == "0":
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
        # Before all others are declared: another version may have other functions.
        _declare(library, "version")
        if (version := library.version().decode()) != __version__:
            log.warning("native_kernel_of_another_version", extra={"version": version})
            return None
        _declare(library, *SIGNATURES)
    except (OSError, AttributeError) as error:
        log.warning("native_kernel_missing", extra={"reason": type(error).__name__})
        return None
    return library


def open_library(path: Path) -> ctypes.CDLL:
    """A library of any version with its functions declared.

    Raises OSError if it cannot be loaded, AttributeError if it lacks a function.
    """
    library = ctypes.CDLL(str(path))
    _declare(library, *SIGNATURES)
    return library


def _declare(library: ctypes.CDLL, *names: str) -> None:
    for name in names:
        result, *arguments = SIGNATURES[name]
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


class Memory:
    """Bytes of a size, freed with this object. Raises MemoryError."""

    def __init__(self, kernel: ctypes.CDLL, size: int) -> None:
        self._kernel = kernel
        self.size = size
        self.address: int = kernel.memory_new(size)
        if not self.address:
            raise MemoryError

    def __del__(self) -> None:
        """Free the bytes."""
        self._kernel.memory_free(self.address)

    @classmethod
    def copy(cls, kernel: ctypes.CDLL, data: bytes | memoryview) -> Memory:
        """The same bytes."""
        memory = cls(kernel, memoryview(data).nbytes)
        memory.view[:] = memoryview(data).cast("B")
        return memory

    @property
    def view(self) -> memoryview:
        """The bytes, in an object that keeps this one."""
        array = (ctypes.c_char * self.size).from_address(self.address)
        array.memory = self  # type: ignore[attr-defined]
        return memoryview(array).cast("B")


def replace_marks(text: bytes, mark: bytes, by: bytes) -> memoryview | None:
    """A text with one byte in the place of each mark, found from left to right.

    `mark`: at least 2 bytes. None if one overlaps itself, so that it is unclear where a
    field ends, or if there is no kernel.
    """
    kernel = load_library()
    if kernel is None:
        return None
    memory = Memory(kernel, len(text))
    size = kernel.replace_marks(text, len(text), mark, len(mark), by[0], memory.address)
    return None if size < 0 else memory.view[:size]


def transcode_file(
    source: int, target: int, codec: str, advance: Callable[[int], None]
) -> bool:
    """Append the text of a file to another file as UTF-8.

    Args:
        source: The descriptor of the file.
        target: That of the other file.
        codec: One in which each character is a byte, and those of ASCII are the same.
        advance: Called with the number of bytes of each piece that was read.

    Returns:
        False, after some of the text, if a byte is no character, the system refuses, or
        there is no kernel.
    """
    kernel, table, at = load_library(), _find_high_characters(codec), 0
    size = PIECE_BYTES if kernel is not None else -1
    # A shorter piece is the last one; a negative number is a refusal.
    while kernel is not None and size == PIECE_BYTES:
        size = kernel.transcode(source, at, PIECE_BYTES, table, target)
        at += size
        advance(max(size, 0))
    return size >= 0


def _find_high_characters(codec: str) -> ctypes.Array[c_uint32]:
    """For each byte from 128 on its UTF-8, with the number of its bytes above it."""
    # A byte that is no character becomes 0, at which the kernel stops.
    texts = [bytes([at]).decode(codec, "ignore").encode() for at in range(128, 256)]
    return make_numbers(
        [len(text) << 24 | int.from_bytes(text, "little") for text in texts]
    )


def make_numbers(values: Sequence[int]) -> ctypes.Array[c_uint32]:
    """An array of 32-bit numbers that the kernel reads."""
    return (c_uint32 * max(1, len(values)))(*values)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How the kernel reads a file.

    `keys`, `order`: numbers of columns. Without keys a file is only validated: nothing
    is digested or sampled. If `order` is not empty, the digest of a row is that of
    these columns, in this order. `separator`: what is between fields in digests, the
    same for both sides, as which another `delimiter` is digested. `random`:
    `random_size` bytes, the same for both sides; `bits`: digests have 2**bits
    partitions, as many on both sides. `sample_every`: the rows of one in so many keys
    are listed; 0 lists none. `isa`: the instruction set, as `best_isa` numbers them;
    -1 is the best. `trailing`: whether a record has one more, empty field. `marks`: a
    file in which the first field of a record is one of them is refused. `sums`: columns
    of numbers, as many as the other side has; no digest has them, so `order` is needed;
    `added`: which of them are added up where the rows of a key become one; `folds`:
    whether they do on this side. `totals`: columns that are added up over all rows.
    """

    width: int
    keys: Sequence[int]
    random: bytes
    delimiter: int = SEPARATOR
    separator: int = SEPARATOR
    order: Sequence[int] = ()
    offset: int = 0
    field_bytes: int = 1 << 20
    field_lines: int = 100
    bits: int = 0
    sample_every: int = 0
    isa: int = -1
    trailing: bool = False
    marks: Sequence[bytes] = ()
    sums: Sequence[int] = ()
    added: Sequence[bool] = ()
    folds: bool = False
    totals: Sequence[int] = ()


class Side:
    """One file in the kernel, until it is freed.

    Raises MemoryError, also for a column that the file does not have.
    """

    def __init__(self, kernel: ctypes.CDLL, plan: ReadPlan) -> None:
        self.kernel = kernel
        self.separator = plan.separator
        self.bits = plan.bits
        # `side_new` copies all that is passed, so these objects live until it returns.
        text = ctypes.create_string_buffer(plan.random, len(plan.random))
        settings = SideSettings(
            delimiter=plan.delimiter,
            separator=plan.separator,
            width=plan.width,
            key_count=len(plan.keys),
            order_count=len(plan.order),
            field_lines=plan.field_lines,
            bits=plan.bits,
            isa=plan.isa,
            field_bytes=plan.field_bytes,
            offset=plan.offset,
            sample_every=plan.sample_every,
            keys=make_numbers(plan.keys),
            order=make_numbers(plan.order),
            random=ctypes.addressof(text),
            trailing=plan.trailing,
            mark_count=len(plan.marks),
            mark_sizes=make_numbers([len(mark) for mark in plan.marks]),
            marks=b"".join(plan.marks),
            sum_count=len(plan.sums),
            folds=plan.folds,
            sums=make_numbers(plan.sums),
            added=bytes(plan.added),
            totals=make_numbers(plan.totals),
            total_count=len(plan.totals),
        )
        self._totals = len(plan.totals)
        self.pointer = kernel.side_new(byref(settings))
        if not self.pointer:
            raise MemoryError

    @property
    def facts(self) -> Facts:
        """What was counted in the records that were taken."""
        facts = Facts()
        self.kernel.side_facts(self.pointer, byref(facts))
        return facts

    def read_totals(self) -> list[Decimal | None]:
        """The sum of each column of `totals` in the records that were taken.

        None if it is unknown: a value is not a number as plain `decimal` reads it, or
        has too many digits.
        """
        sums = (SummedColumn * max(1, self._totals))()
        self.kernel.side_totals(self.pointer, sums)
        return [each.value if each.exact else None for each in sums[: self._totals]]

    def scan(
        self,
        descriptor: int,
        block: int,
        cancel: c_uint32 | None = None,
        done: c_uint64 | None = None,
        end: int = MOST_BYTES,
    ) -> Status:
        """Read a file from `offset` to `end`, or to its own end, in one call.

        Another thread ends it by setting `cancel`; `done` is the offset it has reached.
        """
        words = (byref(word) if word is not None else None for word in (cancel, done))
        return Status(self.kernel.scan(self.pointer, descriptor, end, block, *words))

    def feed(self, address: int, size: int, *, last: bool) -> int:
        """Take a block, after which `slack` more bytes may be written to.

        Returns the number of its bytes that are whole records; -1 if `facts.status`
        says that it cannot be taken.
        """
        return int(self.kernel.feed(self.pointer, address, size, int(last)))

    def find(self, keys: Sequence[bytes]) -> tuple[int | None, int]:
        """The rows whose key has the digest of one of these: their address and number.

        A key is the text of its field, or, of several fields, each with 0xFE after it;
        `separator` is 0xFF in it. The rows are unordered; valid until the next call.
        """
        offsets = (c_uint64 * (len(keys) + 1))(0, *itertools.accumulate(map(len, keys)))
        text = b"".join(keys) + bytes(self.kernel.slack())
        rows = self.kernel.side_find(self.pointer, text, offsets, len(keys))
        if rows < 0:
            raise MemoryError
        return self.kernel.side_sought(self.pointer), rows

    def forget(self) -> None:
        """Free the digests; the places of rows are kept."""
        self.kernel.side_forget(self.pointer)

    def free(self) -> None:
        """Free all memory of the side."""
        pointer, self.pointer = self.pointer, None
        self.kernel.side_free(pointer)
