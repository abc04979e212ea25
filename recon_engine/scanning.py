"""Two files under way in the native kernel: read, checked, digested and matched.

Nothing here waits for Polars or NumPy, so both files are read while these are imported.
`scanned` takes what was found.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recon_engine.alignment import align
from recon_engine.errors import ReconError
from recon_engine.header import Header, counted_in
from recon_engine.memory import default_budget
from recon_engine.model import SIDES
from recon_engine.names import SAMPLED, Names, named
from recon_engine.native import binding
from recon_engine.native.binding import Plan, Status
from recon_engine.steady import steady


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recon_engine.config import Options
    from recon_engine.memory import Budget
    from recon_engine.progress import Progress

BLOCK: Final = 1 << 18
HASHED_BLOCK: Final = 1 << 20
# Fewer bytes than these are read sooner than a thread is under way.
ALONE: Final = 1 << 22
# About as many entries as are joined within the cache of a core.
PARTITION_ROWS: Final = 1 << 13
MOST_BITS: Final = 12
POLL_SECONDS: Final = 0.1


class KernelRefusal(Exception):
    """The kernel did not take a file; `fault`: it takes its bytes to be malformed."""

    def __init__(self, *, fault: bool) -> None:
        super().__init__()
        self.fault = fault


@dataclass(slots=True)
class Scanned:
    """A file as the kernel reads it; where its rows are is known until it is freed."""

    header: Header
    side: binding.Side
    sha256: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether rows can still be taken."""
        return self.side.pointer is not None


class Scanning:
    """Both files on their way through the kernel, from when it is made.

    `wait` for it, and `close` it once nothing of it is used any more.
    """

    def __init__(
        self, kernel: ctypes.CDLL, headers: Sequence[Header], names: Sequence[Names]
    ) -> None:
        self.kernel = kernel
        self.names = tuple(names)
        self.matched: list[int] = []
        self._cancel = ctypes.c_uint32(0)
        self._done = [ctypes.c_uint64(0) for _ in headers]
        self._statuses: list[Status] = []
        self._error: BaseException | None = None
        rows = max(header.expected_rows for header in headers)
        self._bits = min(MOST_BITS, (rows // PARTITION_ROWS).bit_length())
        self._stack = ExitStack()
        self.sides: list[Scanned] = []
        for scanned in _sides(kernel, headers, names, self._bits):
            self._stack.callback(scanned.side.free)
            self.sides.append(scanned)
        self._alone = sum(header.bytes for header in headers) < ALONE
        self._thread = threading.Thread(target=self._run, name="scan")
        if self._alone:
            self._run()
        else:
            self._thread.start()

    def wait(self, progress: Progress) -> None:
        """Have both files read and matched, and tell how far that is.

        Raises KernelRefusal, InputChanged, and what else the reading has raised.
        """
        with ExitStack() as steps:
            advances = [
                steps.enter_context(
                    progress.step(f"read {name}", total=each.header.bytes, unit="bytes")
                )
                for name, each in zip(SIDES, self.sides, strict=True)
            ]
            told = [0 for _ in advances]
            busy = True
            while busy:
                busy = self._thread.is_alive()
                if busy:
                    self._thread.join(POLL_SECONDS)
                for at, advance in enumerate(advances):
                    now = self._done[at].value
                    advance(now - told[at])
                    told[at] = now
        if self._error is not None:
            raise self._error
        if any(self._statuses):
            raise KernelRefusal(fault=Status.REFUSED in self._statuses)

    def close(self) -> None:
        """Give up what is under way, and let go of everything."""
        self._cancel.value = 1
        if self._thread.is_alive():
            self._thread.join()
        for found in self.matched:
            self.kernel.found_free(found)
        self.matched.clear()
        self._stack.close()

    def _run(self) -> None:
        """Read both at once, then match them, a half of the partitions each."""
        both = _in_turn if self._alone else _at_once
        try:
            self._statuses = both(partial(self._read, at) for at in (0, 1))
            if not any(self._statuses):
                both(partial(self._match, at) for at in (0, 1))
        except BaseException as error:  # noqa: BLE001 - raised by `wait`
            self._error = error

    def _match(self, half: int) -> None:
        parts = 1 << self._bits
        edges = (0, parts // 2, parts)
        old, new = (scanned.side.pointer for scanned in self.sides)
        found = self.kernel.join(old, new, edges[half], edges[half + 1])
        if not found:
            raise KernelRefusal(fault=False)
        self.matched.append(found)

    def _read(self, at: int) -> Status:
        scanned, done = self.sides[at], self._done[at]
        header = scanned.header
        with (
            counted_in(header.origin),
            steady(header.path, header.uri, header.state) as descriptor,
        ):
            if header.hashes and header.origin is None:
                status = self._read_and_hash(scanned, descriptor, done)
            else:
                status = scanned.side.scan(descriptor, BLOCK, self._cancel, done)
        if status is not Status.OK:
            self._cancel.value = 1  # what the other would find is of no use
        return status

    def _read_and_hash(
        self, scanned: Scanned, descriptor: int, done: ctypes.c_uint64
    ) -> Status:
        """Read with a SHA-256 of the very bytes that the kernel sees."""
        side, raw = scanned.side, scanned.header.raw
        digest = hashlib.sha256(raw)
        slack, room, have, at = self.kernel.slack(), HASHED_BLOCK, 0, len(raw)
        buffer = bytearray(room + slack)
        while not self._cancel.value:
            address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            with memoryview(buffer) as whole, whole[have:room] as view:
                got = os.preadv(descriptor, [view], at)
                digest.update(view[:got])
            at, have = at + got, have + got
            taken = side.feed(address, have, last=not got)
            if taken < 0:
                return Status(side.facts.status)
            done.value = at
            if not got:
                scanned.sha256 = digest.hexdigest()
                return Status.OK
            ctypes.memmove(address, address + taken, have - taken)
            have -= taken
            if have == room:
                room *= 2
                buffer = buffer[:have] + bytearray(room - have + slack)
        return Status.CANCELLED


def begin(
    unread: Sequence[object], options: Options, budget: Budget | None
) -> Scanning | None:
    """Start to read both, if the kernel applies and nothing is to be decided first.

    None leaves it to `reconcile.read`, which says what is wrong.
    """

    def unmeasured(*_: object) -> Any:
        raise _Undecided

    old, new = unread
    if not (isinstance(old, Header) and isinstance(new, Header)):
        return None
    try:
        layout = align(
            old.columns,
            new.columns,
            options,
            uris=(old.uri, new.uri),
            measure=unmeasured,
        )
        names = (
            named(old.columns, layout, {}),
            named(new.columns, layout, layout.new_names),
        )
        rows = old.expected_rows + new.expected_rows
        if (budget or default_budget()).buckets(rows) > 1:
            return None
        return opened((old, new), names)
    except (ReconError, KernelRefusal, _Undecided):
        return None


def opened(unread: Sequence[object], names: Sequence[Names]) -> Scanning | None:
    """Both on their way, if they are files and keys have no rules; or KernelRefusal."""
    headers = [each for each in unread if isinstance(each, Header)]
    if (
        len(headers) < len(unread)
        or any(header.limits.field_lines < 1 for header in headers)
        or any(set(each.keys) & set(each.rules) for each in names)
        or (kernel := binding.library()) is None
    ):
        return None
    return Scanning(kernel, headers, names)


class _Undecided(Exception):
    """Values have to be read before it is known which columns belong together."""


def _at_once(work: Iterator[Callable[[], Any]]) -> list[Any]:
    """Do one piece of work on a thread beside this one; the results in order."""
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


def _in_turn(work: Iterator[Callable[[], Any]]) -> list[Any]:
    return [each() for each in work]


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
    every = zip(headers, names, compared, plain, strict=True)
    for header, each, mine, whole in every:
        at = {name: number for number, name in enumerate(each.all)}
        order = () if whole and mine == base else [at[name] for name in base]
        plan = Plan(
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
        try:
            side = binding.Side(kernel, plan)
        except MemoryError:
            raise KernelRefusal(fault=False) from None
        yield Scanned(header, side)
