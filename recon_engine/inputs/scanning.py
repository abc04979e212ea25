"""Two files on their way through the native kernel: read, validated and matched.

Neither Polars nor NumPy is imported here, so both files are read while those are
imported. `scanned` gives access to what was read.
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import os
import secrets
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recon_engine.inputs.header import Header, annotate_counted_in
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import ReadPlan, Status
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.trailers import check_trailer, summed_columns
from recon_engine.model import SIDES
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recon_engine.runtime.progress import Progress

# 256 KiB: with the masks of a block, what is read stays in the cache of a core.
BLOCK: Final = 1 << 18
# A block that is hashed is a turn of a loop in Python: larger ones wait for the
# interpreter lock less often.
HASHED_BLOCK: Final = 1 << 20
# Fewer bytes are read sooner than a thread starts.
INLINE_BYTES: Final = 1 << 22
# About as many entries are joined within the cache of a core.
PARTITION_ROWS: Final = 1 << 13
MOST_BITS: Final = 12
POLL_SECONDS: Final = 0.1
# The baseline of segments and totals: more rows cost memory and gain little precision.
SAMPLED_ROWS: Final = 8_192


@dataclass(frozen=True, slots=True)
class Folding:
    """How the rows of a key become one on a side.

    `folds`: whether they do; on one side at least. `sums`: the numbers of the columns
    that are added up on either side, in one order on both; `added`: which of them are
    on this side; `counted`: whether the numbers of rows of a key are compared.
    """

    folds: bool
    sums: Sequence[int]
    added: Sequence[bool]
    counted: bool


@dataclass(frozen=True, slots=True)
class SideColumns:
    """What the kernel does with the columns of a file.

    `compared`: for each column the name that is the same on both sides, None if it is
    not compared, or added up; `keys`: the numbers of the key columns, in the order of
    the key: with none, a file is only validated; `sample_every`: the rows of one in so
    many keys are sampled; `folding`: how rows are folded, on both sides or on none.
    """

    compared: Sequence[str | None]
    keys: Sequence[int]
    sample_every: int
    folding: Folding | None = None


def sampling_rate(expected_rows: int) -> int:
    """One in so many keys is sampled for about `SAMPLED_ROWS` rows."""
    return max(1, expected_rows // SAMPLED_ROWS)


class KernelRefusal(Exception):
    """The kernel did not accept a file; `fault`: because its bytes are malformed."""

    def __init__(self, *, fault: bool) -> None:
        super().__init__()
        self.fault = fault


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class ScannedSide:
    """A file in the kernel, which knows the places of its rows until it is freed."""

    header: Header
    side: binding.Side
    has_keys: bool
    sha256: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the kernel still knows the rows."""
        return self.side.pointer is not None


class Scanning:
    """The pass of both files through the kernel, which begins at once.

    With `joins` the rows of both are matched, too, and folded before that as the
    columns say.

    `wait` returns at its end; `close` frees everything, and ends a pass under way.
    """

    def __init__(
        self,
        kernel: ctypes.CDLL,
        headers: Sequence[Header],
        columns: Sequence[SideColumns],
        *,
        joins: bool,
    ) -> None:
        self.kernel = kernel
        self.joins = joins
        self.folding = columns[0].folding
        self.matched: list[int] = []
        self._cancel = ctypes.c_uint32(0)
        self._done = [ctypes.c_uint64(0) for _ in headers]
        self._statuses: list[Status] = []
        self._error: BaseException | None = None
        rows = max(header.expected_rows for header in headers)
        # Only a join needs partitions. Without them digests are in file order.
        self._bits = min(MOST_BITS, (rows // PARTITION_ROWS).bit_length() * joins)
        self._stack = ExitStack()
        self.sides: list[ScannedSide] = []
        plans = plan_sides(kernel, headers, columns, self._bits)
        for header, plan in zip(headers, plans, strict=True):
            try:
                side = binding.Side(kernel, plan)
            except MemoryError:
                raise KernelRefusal(fault=False) from None
            self._stack.callback(side.free)
            self.sides.append(ScannedSide(header, side, bool(plan.keys)))
        self._inline = sum(header.bytes for header in headers) < INLINE_BYTES
        self._thread: threading.Thread | None = None
        if self._inline:
            self._run()
        else:
            self._thread = threading.Thread(target=self._run, name="scan")
            self._thread.start()

    def wait(self, progress: Progress) -> None:
        """Report progress until both files are read and matched.

        Raises KernelRefusal, InputChanged, and the errors of the system.
        """
        with ExitStack() as steps:
            advances = [
                steps.enter_context(
                    progress.step(f"read {name}", total=side.header.bytes, unit="bytes")
                )
                for name, side in zip(SIDES, self.sides, strict=True)
            ]
            reported = [0 for _ in advances]
            busy = True
            while busy:
                busy = self._is_running()
                for at, advance in enumerate(advances):
                    now = self._done[at].value
                    advance(now - reported[at])
                    reported[at] = now
        if self._error is not None:
            raise self._error
        if any(self._statuses):
            raise KernelRefusal(fault=Status.REFUSED in self._statuses)
        for side in self.sides:
            with annotate_counted_in(side.header.origin):
                check_trailer(side.header, side.side.facts.rows)

    def _is_running(self) -> bool:
        """Whether the pass is still under way, after `POLL_SECONDS` at most."""
        if self._thread is None:
            return False
        self._thread.join(POLL_SECONDS)
        return self._thread.is_alive()

    def close(self) -> None:
        """End a pass under way, and free everything."""
        # The thread ends before anything is freed: the kernel writes to it until then.
        self._cancel.value = 1
        if self._thread is not None:
            self._thread.join()
        self.free_matched()
        self._stack.close()

    def free_matched(self) -> None:
        """Free the lists of the join."""
        for found in self.matched:
            self.kernel.found_free(found)
        self.matched.clear()

    def _run(self) -> None:
        """Read both at once, then match half of the partitions on each thread."""
        run = _run_in_turn if self._inline else _run_at_once
        try:
            self._statuses = run(partial(self._read, at) for at in (0, 1))
            if self.joins and not any(self._statuses):
                run(partial(self._match, at) for at in (0, 1))
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self._error = error

    def _match(self, half: int) -> None:
        parts = 1 << self._bits
        edges = (0, parts // 2, parts)
        old, new = (scanned.side.pointer for scanned in self.sides)
        which = (old, new, edges[half], edges[half + 1])
        if self.folding is None:
            found = self.kernel.join(*which)
        else:
            found = self.kernel.join_folded(*which, self.folding.counted)
        if not found:
            raise KernelRefusal(fault=False)
        self.matched.append(found)

    def _read(self, at: int) -> Status:
        scanned, done = self.sides[at], self._done[at]
        header = scanned.header
        with (
            annotate_counted_in(header.origin),
            open_unchanged(header.path, header.uri, header.state) as descriptor,
        ):
            if header.hashes and header.origin is None:
                status = self._read_and_hash(scanned, descriptor, done)
            else:
                status = scanned.side.scan(
                    descriptor, BLOCK, self._cancel, done, header.end
                )
        if status is not Status.OK:
            self._cancel.value = 1  # the other side is of no use
        return status

    def _read_and_hash(
        self, scanned: ScannedSide, descriptor: int, done: ctypes.c_uint64
    ) -> Status:
        """Read up to the end of the table, with a SHA-256 of the whole file."""
        side, header = scanned.side, scanned.header
        raw, end = header.raw, header.end
        digest = hashlib.sha256(raw)
        slack, have, at = self.kernel.slack(), 0, len(raw)
        # One byte more than there are: a full buffer would be doubled.
        room = min(HASHED_BLOCK, max(0, end - at) + 1)
        buffer = bytearray(room + slack)
        while not self._cancel.value:
            # Anew in each turn: the buffer is replaced where a record exceeds it.
            address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            stop = min(room, have + max(0, end - at))
            with memoryview(buffer) as whole, whole[have:stop] as view:
                got = os.preadv(descriptor, [view], at)
                digest.update(view[:got])
            at, have = at + got, have + got
            taken = side.feed(address, have, last=not got)
            if taken < 0:
                return Status(side.facts.status)
            done.value = at
            if not got:
                digest.update(os.pread(descriptor, header.after, end))
                scanned.sha256 = digest.hexdigest()
                return Status.OK
            ctypes.memmove(address, address + taken, have - taken)
            have -= taken
            if have == room:
                room *= 2
                buffer = buffer[:have] + bytearray(room - have + slack)
        return Status.CANCELLED


def start_scan(
    headers: Sequence[Header], columns: Sequence[SideColumns], *, joins: bool = True
) -> Scanning | None:
    """Begin to read both files; None if there is no kernel for them.

    `joins`: whether the rows of both are matched, too. Raises KernelRefusal if the
    kernel cannot hold such columns.
    """
    kernel = load_kernel(headers)
    if kernel is None:
        return None
    return Scanning(kernel, headers, columns, joins=joins)


def load_kernel(headers: Sequence[Header]) -> ctypes.CDLL | None:
    """The kernel, if it can read files with these headers."""
    if any(header.limits.field_lines < 1 for header in headers):
        return None
    return binding.load_library()


def start_validation(sides: Sequence[object]) -> Scanning | None:
    """Begin to validate both sides; None if one is no file, or there is no kernel."""
    headers = [side for side in sides if isinstance(side, Header)]
    if len(headers) < len(sides):
        return None
    columns = [SideColumns([None] * len(each.columns), (), 0) for each in headers]
    try:
        return start_scan(headers, columns, joins=False)
    except KernelRefusal:
        return None


def _run_at_once(work: Iterator[Callable[[], Any]]) -> list[Any]:
    """Do one piece of work on another thread, one on this; the results in order."""
    first, second = work
    results: list[Any] = [None, None]
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results[1] = second()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    beside = threading.Thread(target=run, name="scan-2")
    beside.start()
    try:
        results[0] = first()
    finally:
        beside.join()
    for error in errors:
        raise error
    return results


def _run_in_turn(work: Iterator[Callable[[], Any]]) -> list[Any]:
    return [piece() for piece in work]


def plan_sides(
    kernel: ctypes.CDLL,
    headers: Sequence[Header],
    columns: Sequence[SideColumns],
    bits: int = 0,
) -> Iterator[ReadPlan]:
    """How to read both, so that digests are of the same columns in the same order."""
    # Without keys nothing is digested.
    digests, size = any(side.keys for side in columns), kernel.random_size()
    random = secrets.token_bytes(size) if digests else bytes(size)
    # A side with no other columns is digested as it is; the other follows its order.
    whole = [None not in side.compared for side in columns]
    first = columns[0] if whole[0] or not whole[1] else columns[1]
    order = [name for name in first.compared if name is not None]
    # A file is not written with another delimiter if both have the same.
    delimiters = {ord(header.delimiter) for header in headers}
    separator = binding.SEPARATOR if len(delimiters) > 1 else delimiters.pop()
    for header, side in zip(headers, columns, strict=True):
        place = {name: number for number, name in enumerate(side.compared)}
        folding = side.folding
        yield ReadPlan(
            width=len(header.columns),
            trailing=header.trailing,
            marks=header.marks,
            keys=side.keys,
            random=random,
            delimiter=ord(header.delimiter),
            separator=separator,
            order=() if order == list(side.compared) else [place[n] for n in order],
            offset=len(header.raw),
            field_bytes=header.limits.field_bytes,
            field_lines=min(header.limits.field_lines, (1 << 32) - 1),
            bits=bits,
            sample_every=side.sample_every,
            sums=folding.sums if folding else (),
            added=folding.added if folding else (),
            folds=folding is not None and folding.folds,
            totals=[header.columns.index(name) for name in summed_columns(header)],
        )
