"""Two files read and matched by the native kernel, where it applies.

It reads each file in one pass, checks what the gate checks, and pairs the rows of keys
that are not repeated by digests. What is left are rows that differ, rows without a
partner, and rows of repeated keys, which are paired by their text as ever. Whatever the
kernel does not accept, the reader in Python reads again and words.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from recon_engine.csvfile import CsvFile, Part, arrow, binary
from recon_engine.digest import SAMPLED
from recon_engine.errors import InternalError
from recon_engine.gate import dialect_of
from recon_engine.header import Header, counted_in
from recon_engine.model import SIDES, Rejects
from recon_engine.native import binding
from recon_engine.native.binding import Matched, Status
from recon_engine.steady import steady


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from recon_engine.digest import Names, Unread
    from recon_engine.progress import Progress

log = logging.getLogger(__name__)

BLOCK: Final = 1 << 18
HASHED_BLOCK: Final = 1 << 20
PART: Final = 1 << 22
# So few bytes are read before a second thread is under way.
ALONE: Final = 1 << 22
# About as many entries as are joined within the cache of a core.
PARTITION_ROWS: Final = 1 << 13
MOST_BITS: Final = 12
EVERY: Final = slice(None)
POLL_SECONDS: Final = 0.1
ENTRY: Final = np.dtype(
    [("key", "<u8"), ("rest", "<u4"), ("number", "<u4"), ("row", "<u8"), ("check", "<u8")]
)



class KernelRefusal(Exception):
    """The kernel did not take a file; `fault`: it takes its bytes to be malformed."""

    def __init__(self, *, fault: bool) -> None:
        super().__init__()
        self.fault = fault


class Columns:
    """Columns of text that the kernel has made; they own its memory."""

    def __init__(self, kernel: ctypes.CDLL, pointer: int | None) -> None:
        if not pointer:
            raise InternalError("the native kernel could not split rows it had read")
        self._kernel = kernel
        self._pointer = pointer

    def __del__(self) -> None:
        """Nothing points to it any more."""
        if pointer := getattr(self, "_pointer", None):
            self._kernel.columns_free(pointer)

    def series(self, at: int) -> pl.Series:
        """A column; nothing is copied."""
        text, ends = ctypes.c_void_p(), ctypes.c_void_p()
        get = self._kernel.columns_text
        count = get(self._pointer, at, ctypes.byref(text), ctypes.byref(ends))
        if not count:
            return pl.Series(dtype=pl.String)
        edges = pa.foreign_buffer(ends.value, 8 * (count + 1), self)
        size = int(np.frombuffer(edges, np.int64)[-1])
        data = pa.foreign_buffer(text.value, size, self) if size else pa.py_buffer(b"")
        return pl.Series(pa.LargeStringArray.from_buffers(count, edges, data))

    def cells(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]:
        """Of each cell its pair and its column; how many pairs have no equal keys."""
        pairs, ordinals, ends = (ctypes.c_void_p() for _ in range(3))
        both = ctypes.byref(pairs), ctypes.byref(ordinals)
        collisions = self._kernel.columns_cells(self._pointer, *both)
        text = ctypes.byref(ctypes.c_void_p()), ctypes.byref(ends)
        count = self._kernel.columns_text(self._pointer, 0, *text)
        first, second = (_copied(at.value, count) for at in (pairs, ordinals))
        return first, second, collisions


def _copied(address: int | None, count: int) -> NDArray[np.uint32]:
    if not count:
        return np.zeros(0, np.uint32)
    raw = ctypes.string_at(address, 4 * count)  # type: ignore[arg-type]
    return np.frombuffer(raw, np.uint32)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows of a file in memory, as they are written, each with a newline at its end."""

    kernel: ctypes.CDLL
    text: NDArray[np.uint8]
    offsets: NDArray[np.uint64]
    delimiter: str
    width: int

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.offsets) - 1

    @property
    def raw(self) -> binding.Rows:
        """As the kernel takes them, as long as these live."""
        return binding.Rows(
            self.text.ctypes.data,
            self.offsets.ctypes.data,
            ord(self.delimiter),
            self.width,
        )

    def frame(
        self, names: Sequence[str], wanted: Sequence[str], most: int | None = None
    ) -> pl.DataFrame:
        """Some of the columns, of the first rows or of all; a blank is ""."""
        at = {name: number for number, name in enumerate(names)}
        rows = self.rows if most is None else min(most, self.rows)
        numbers = binding.numbers([at[name] for name in wanted])
        raw = self.raw
        found = Columns(
            self.kernel,
            self.kernel.extract(ctypes.byref(raw), 0, rows, len(wanted), numbers),
        )
        return pl.DataFrame({name: found.series(n) for n, name in enumerate(wanted)})

    def cells(self, names: Sequence[str]) -> pl.LazyFrame:
        """All cells as strings under these names."""
        return self.frame(names, names).lazy()

    def picked(self, numbers: NDArray[np.int64]) -> Gathered:
        """Some of them."""
        if len(numbers) == self.rows:
            return self
        lines = binary(self.offsets.astype(np.int64), self.text)
        _, edges, text = lines.take(arrow(numbers)).buffers()
        offsets = np.frombuffer(edges, np.int64)[: len(numbers) + 1].astype(np.uint64)
        data = np.frombuffer(text, np.uint8) if text else self.text[:0]
        return Gathered(self.kernel, data, offsets, self.delimiter, self.width)


@dataclass(slots=True)
class Scanned:
    """A file as the kernel has read it; it knows where each row is until it is freed."""

    header: Header
    side: binding.Side
    sha256: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether rows can still be taken."""
        return self.side.pointer is not None

    def take(self, numbers: NDArray[np.integer]) -> Gathered:
        """Rows by their numbers, in this order; InputChanged where the file has."""
        kernel, pointer = self.side.kernel, self.side.pointer
        rows = np.ascontiguousarray(numbers, np.uint32)
        offsets = np.zeros(len(rows) + 1, np.uint64)
        where = rows.ctypes.data, len(rows), offsets.ctypes.data
        if not kernel.gathered_offsets(pointer, *where):
            raise InternalError("a row was asked for that there is not")
        text = np.empty(int(offsets[-1]), np.uint8)
        with steady(self.header.path, self.header.uri, self.header.state) as descriptor:
            status = kernel.gather(pointer, descriptor, *where, text.ctypes.data)
            if status:
                raise InternalError(f"rows could not be read again: {Status(status).name}")
        width = len(self.header.columns)
        return Gathered(kernel, text, offsets, self.header.delimiter, width)

    def sampled(self) -> NDArray[np.uint32]:
        """The rows of one in so many keys."""
        pointer = self.side.kernel.side_sample(self.side.pointer)
        return _copied(pointer, self.side.facts.sampled).copy()

    def file(self) -> CsvFile:
        """The file as one that passed the gate."""
        header, facts, origin = self.header, self.side.facts, self.header.origin
        return CsvFile(
            path=header.path,
            uri=header.uri,
            columns=header.columns,
            rows=facts.rows,
            parts=tuple(self._parts(facts)),
            bytes=origin.bytes if origin else facts.end,
            sha256=origin.sha256 if origin else self.sha256,
            dialect=dialect_of(
                header,
                self._newlines(facts),
                quotes=b'"' in header.raw or bool(facts.quotes),
                embedded=facts.embedded,
                blank_lines=facts.blanks,
            ),
            end_of_copy=bool(facts.end_of_copy),
            state=header.state,
            rejects=Rejects(),
            scanned=self,
        )

    def _newlines(self, facts: binding.Facts) -> Counter[str]:
        counts = Counter[str]()
        raw = self.header.raw
        if raw.endswith(b"\n"):
            counts["CRLF" if raw.endswith(b"\r\n") else "LF"] += 1
        counts["CRLF"] += facts.crlf
        counts["LF"] += facts.rows - facts.unended + facts.blanks - facts.crlf
        return counts

    def _parts(self, facts: binding.Facts) -> Iterator[Part]:
        kernel, pointer = self.side.kernel, self.side.pointer
        room = 2 + facts.end // PART
        first = np.zeros(room, np.uint32)
        count = kernel.side_runs(pointer, PART, first.ctypes.data, room)
        edges = [*first[:count].tolist(), facts.rows]
        for row, after in zip(edges, edges[1:], strict=False):
            start = kernel.side_start(pointer, row)
            # Blank lines at the end of a file belong to no row.
            size = kernel.side_start(pointer, after) - start
            yield Part(start, size, row, after - row)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the kernel has drawn of one in so many keys, in the place of a strategy.

    `name`: of the strategy that would have been exact.
    """

    name: str
    scanned: Scanned
    names: Names

    def sample(self) -> pl.DataFrame:
        """Keys and compared cells of these rows."""
        rows = self.scanned.take(self.scanned.sampled())
        return rows.frame(self.names.all, self.names.compared)


@dataclass(frozen=True, slots=True)
class Scan:
    """Both files, matched. `lists`: the entries of rows that are not identical."""

    sides: tuple[Scanned, Scanned]
    identical: int
    lists: dict[Matched, NDArray[np.void]]

    def take(self, which: Matched, at: slice = EVERY) -> Gathered:
        """The rows of a list, or a part of it, in its order."""
        side = self.sides[which % 2]
        return side.take(self.lists[which][at]["number"])

    @property
    def blank_keys(self) -> list[int]:
        """In how many rows of each side a part of the key is blank."""
        return [scanned.side.facts.blank_keys for scanned in self.sides]

    @property
    def has_lines(self) -> bool:
        """Whether each record of both is one line."""
        return not any(scanned.side.facts.embedded for scanned in self.sides)

    @property
    def pairs(self) -> int:
        """How many pairs differ."""
        return len(self.lists[Matched.PAIRED_OLD])

    def digests(self, which: Matched, at: slice = EVERY) -> pl.DataFrame:
        """The digests of a list, or a part of it, as `buckets` has them."""
        found = self.lists[which][at]
        names = ("row", "check", "key", "number")
        return pl.DataFrame({name: np.ascontiguousarray(found[name]) for name in names})


def applies(unread: Sequence[Unread], names: Sequence[Names]) -> bool:
    """Whether the kernel can answer for these two: files, and no rules for the key."""
    return (
        all(isinstance(side, Header) for side in unread)
        and all(side.limits.field_lines > 0 for side in unread)  # type: ignore[union-attr]
        and not any(set(each.keys) & set(each.rules) for each in names)
        and binding.library() is not None
    )


@contextmanager
def scan(
    headers: Sequence[Header], names: Sequence[Names], progress: Progress
) -> Iterator[Scan]:
    """Read and match both; KernelRefusal where that is left to the other reader.

    Raises InputChanged. What it answers is of use as long as it lasts.
    """
    kernel = binding.library()
    assert kernel is not None  # noqa: S101 - the caller asked whether it applies
    with ExitStack() as stack:
        sides = []
        rows = max(header.expected_rows for header in headers)
        bits = min(MOST_BITS, (rows // PARTITION_ROWS).bit_length())
        for opened in _sides(kernel, headers, names, bits):
            stack.callback(opened.side.free)
            sides.append(opened)
        old, new = sides
        _read_both((old, new), progress)
        yield _matched(kernel, (old, new), bits)


def _sides(
    kernel: ctypes.CDLL,
    headers: Sequence[Header],
    names: Sequence[Names],
    bits: int,
) -> Iterator[Scanned]:
    """Two sides whose digests are of the same columns in the same order."""
    random = secrets.token_bytes(kernel.random_size())
    compared = [[n for n in each.all if not n.startswith("x")] for each in names]
    # The side that has no other columns needs none to be put in order.
    plain = [mine == list(each.all) for mine, each in zip(compared, names, strict=True)]
    base = compared[0] if plain[0] or not plain[1] else compared[1]
    for header, each, mine, whole in zip(headers, names, compared, plain, strict=True):
        at = {name: number for number, name in enumerate(each.all)}
        order = () if whole and mine == base else [at[name] for name in base]
        try:
            side = binding.Side(
                kernel,
                width=len(header.columns),
                keys=[at[name] for name in each.keys],
                random=random,
                delimiter=ord(header.delimiter),
                order=order,
                offset=len(header.raw),
                field_bytes=header.limits.field_bytes,
                field_lines=min(header.limits.field_lines, (1 << 32) - 1),
                bits=bits,
                sample_every=max(1, header.expected_rows // SAMPLED),
            )
        except MemoryError:
            raise KernelRefusal(fault=False) from None
        yield Scanned(header, side)


def _read_both(sides: tuple[Scanned, Scanned], progress: Progress) -> None:
    cancel = ctypes.c_uint32(0)
    with ExitStack() as stack:
        done = [ctypes.c_uint64(0) for _ in sides]
        steps = [
            stack.enter_context(
                progress.step(f"read {name}", total=side.header.bytes, unit="bytes")
            )
            for name, side in zip(SIDES, sides, strict=True)
        ]
        work = [partial(_read, *each, cancel) for each in zip(sides, done, strict=True)]
        if sum(side.header.bytes for side in sides) < ALONE:
            statuses = [each() for each in work]
        else:
            statuses = _watched(work, done, steps, cancel)
        if any(statuses):
            raise KernelRefusal(fault=Status.REFUSED in statuses)
        for at, step in zip(done, steps, strict=True):
            step(at.value)


def _watched(
    work: Sequence[Callable[[], Status]],
    done: Sequence[ctypes.c_uint64],
    steps: Sequence[Callable[[int], None]],
    cancel: ctypes.c_uint32,
) -> list[Status]:
    """Do all of it at once, each on a thread, and tell how far it is meanwhile."""
    with ThreadPoolExecutor(len(work), "scan") as pool:
        pending = {pool.submit(each) for each in work}
        futures = list(pending)
        told = [0 for _ in done]
        try:
            while pending:
                over, pending = wait(pending, POLL_SECONDS)
                if any(each.result() for each in over):
                    cancel.value = 1 # what the other would find is of no use
                for at, (step, each) in enumerate(zip(steps, done, strict=True)):
                    now = each.value
                    step(now - told[at])
                    told[at] = now
        except BaseException:
            # Nothing is freed before those who use it are back.
            cancel.value = 1
            raise
    for each, before in zip(done, told, strict=True):
        each.value -= before
    return [future.result() for future in futures]


def _read(scanned: Scanned, done: ctypes.c_uint64, cancel: ctypes.c_uint32) -> Status:
    header = scanned.header
    with (
        counted_in(header.origin),
        steady(header.path, header.uri, header.state) as descriptor,
    ):
        if header.origin is None:
            return _read_and_hash(scanned, descriptor, done, cancel)
        return scanned.side.scan(descriptor, BLOCK, cancel, done)


def _read_and_hash(
    scanned: Scanned, descriptor: int, done: ctypes.c_uint64, cancel: ctypes.c_uint32
) -> Status:
    """The same with a SHA-256 of the very bytes that were read."""
    side, raw = scanned.side, scanned.header.raw
    digest = hashlib.sha256(raw)
    slack, room, have, at = side.kernel.slack(), HASHED_BLOCK, 0, len(raw)
    buffer = np.empty(room + slack, np.uint8)
    while not cancel.value:
        view = memoryview(buffer)[have:room]
        got = os.preadv(descriptor, [view], at)
        digest.update(view[:got])
        at, have = at + got, have + got
        taken = side.feed(buffer.ctypes.data, have, last=not got)
        if taken < 0:
            return Status(side.facts.status)
        done.value = at
        if not got:
            scanned.sha256 = digest.hexdigest()
            return Status.OK
        have -= taken
        buffer[:have] = buffer[taken : taken + have].copy()
        if have == room:
            room *= 2
            buffer = np.concatenate([buffer[:have], np.empty(room - have + slack, np.uint8)])
    return Status.CANCELLED


def _matched(
    kernel: ctypes.CDLL, sides: tuple[Scanned, Scanned], bits: int
) -> Scan:
    """Join the partitions, a share of them on each thread, and let go of them."""
    old, new = (scanned.side for scanned in sides)
    parts = 1 << bits
    shares = 2 if parts > 1 else 1
    edges = [parts * at // shares for at in range(shares + 1)]

    def join(at: int) -> tuple[int, dict[Matched, Any]]:
        found = kernel.join(old.pointer, new.pointer, edges[at], edges[at + 1])
        if not found:
            raise KernelRefusal(fault=False)
        try:
            lists = {which: _entries(kernel, found, which) for which in Matched}
            return kernel.found_list(found, -1, None), lists
        finally:
            kernel.found_free(found)

    if shares == 1:
        every = [join(0)]
    else:
        with ThreadPoolExecutor(shares, "join") as pool:
            every = list(pool.map(join, range(shares)))
    old.forget()
    new.forget()
    lists = {which: np.concatenate([each[which] for _, each in every]) for which in Matched}
    order = np.argsort(lists[Matched.PAIRED_OLD]["number"])
    for which in (Matched.PAIRED_OLD, Matched.PAIRED_NEW):
        lists[which] = lists[which][order]
    return Scan(sides, sum(identical for identical, _ in every), lists)


def _entries(kernel: ctypes.CDLL, found: int, which: Matched) -> NDArray[np.void]:
    at = ctypes.c_void_p()
    count = kernel.found_list(found, which, ctypes.byref(at))
    raw = ctypes.string_at(at, ENTRY.itemsize * count) if count else b""
    return np.frombuffer(raw, ENTRY)

