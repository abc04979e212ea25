"""The native kernel beside a reading of one byte after the other."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from support.frame_reference import RefusedError, read_amount

from recon_engine.config import LIMITS, Limits
from recon_engine.inputs.native import binding, build
from recon_engine.inputs.native.binding import Facts, Matched, ReadPlan, Side, Status
from recon_engine.inputs.rfc4180 import Fault, parse_records


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal
    from pathlib import Path

COMMA: Final = ord(",")
WORD: Final = (1 << 64) - 1
# The digits of such a number are in 55 bits.
SHORT_NUMBER: Final = 16
END_OF_COPY: Final = re.compile(rb"^\\\.\r?$", re.MULTILINE)
Row = tuple[bytes, ...]


@dataclass(frozen=True)
class Kernel:
    """A library, and with which instructions it is to read."""

    library: ctypes.CDLL
    isa: int
    name: str


@dataclass(frozen=True)
class Question:
    """How a file is to be read; `borders`: where blocks end."""

    width: int = 2
    keys: tuple[int, ...] = (0,)
    order: tuple[int, ...] = ()
    delimiter: int = COMMA
    separator: int = COMMA
    limits: Limits = LIMITS
    borders: tuple[int, ...] = ()
    bits: int = 0
    every: int = 1


@dataclass(frozen=True)
class Read:
    """What was read: rows, or their digests; the ends of rows, and the other facts."""

    ends: list[int]
    facts: dict[str, int]
    sample: list[int]


def variants(folder: Path) -> Iterator[Kernel]:
    """Every way in which this machine can run the kernel."""
    library = binding.open_library(binding.LIBRARY)
    for isa in range(library.best_isa() + 1):
        yield Kernel(library, isa, ("any", "AVX2", "AVX-512")[isa])
    if (scalar := scalar_library(folder)) is not None:
        yield Kernel(scalar, 0, "scalar")


def scalar_library(folder: Path, *flags: str) -> ctypes.CDLL | None:
    """The kernel without vectors, if there is a compiler."""
    path = compiled(folder, "-DSCALAR", *flags)
    return binding.open_library(path) if path else None


def compiled(
    folder: Path, *flags: str, compiler: str = "", source: Path = build.SOURCE
) -> Path | None:
    """The kernel as another compiler or other flags make it; or another source."""
    zig = [sys.executable, "-m", "ziglang", "cc"] if find_spec("ziglang") else None
    found = compiler or shutil.which("cc") or shutil.which("gcc")
    command = [found] if found else zig
    if command is None:
        return None
    path = folder / f"{source.stem}-{abs(hash(flags))}.so"
    base = ["-std=gnu11", "-O1", "-shared", "-fPIC", str(source), "-o", str(path)]
    # zig would compile its sanitizer first, which takes four times as long as this.
    plain = ["-fno-sanitize=undefined"]
    subprocess.run([*command, *base, *plain, *flags], check=True, capture_output=True)
    return path


def reference(data: bytes, asked: Question) -> tuple[list[Row], Read] | None:
    """The rows and facts by the reference; None where it refuses."""
    rows, ends, blanks, crlf, embedded = list[Row](), list[int](), 0, 0, 0
    try:
        for record in parse_records(data, asked.delimiter, asked.limits):
            raw = data[record.offset : record.end]
            crlf += raw.endswith(b"\r\n")
            if record.blank and asked.width > 1:
                blanks += 1
                continue
            if blanks or len(record.fields) != asked.width:
                return None
            embedded += record.lines - raw.endswith(b"\n")
            rows.append(record.fields)
            ends.append(record.end)
    except Fault:
        return None
    facts = {
        "rows": len(rows),
        "end": len(data),
        "status": 0,
        "blanks": blanks,
        "crlf": crlf,
        "embedded": embedded,
        "quotes": int(b'"' in data),
        "end_of_copy": int(END_OF_COPY.search(data) is not None),
        "blank_keys": sum(any(not row[at] for at in asked.keys) for row in rows),
        "unended": int(bool(data) and not data.endswith(b"\n")),
    }
    sample = [
        at
        for at, row in enumerate(rows)
        if stable([row[key] for key in asked.keys]) % asked.every == 0
    ]
    return rows, Read(ends, facts | {"sampled": len(sample)}, sample)


def stable(cells: Sequence[bytes]) -> int:
    """`sample.stable_hash` of a row, spelled out."""
    state = 0
    for cell in cells:
        for at in range(0, len(cell), 8):
            word = int.from_bytes(cell[at : at + 8], "little")
            state = mixed(state * 0x100000001B3 + word + 0x9E3779B97F4A7C15)
        state = mixed(state * 0x100000001B3 + len(cell))
    return state


def mixed(value: int) -> int:
    value &= WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB & WORD
    return value ^ value >> 31


def opened(kernel: Kernel, asked: Question, random: bytes, offset: int = 0) -> Side:
    """A side to be read so."""
    plan = ReadPlan(
        width=asked.width,
        keys=asked.keys,
        random=random,
        delimiter=asked.delimiter,
        separator=asked.separator,
        order=asked.order,
        offset=offset,
        field_bytes=asked.limits.field_bytes,
        field_lines=asked.limits.field_lines,
        bits=asked.bits,
        sample_every=asked.every,
        isa=kernel.isa,
        totals=range(asked.width),
    )
    return Side(kernel.library, plan)


def fed(side: Side, data: bytes, borders: Sequence[int]) -> bool:
    """Feed a text in blocks that end at these places; whether all of it was taken.

    Each buffer is as small as it may be, so that a sanitizer sees its ends.
    """
    start, slack = 0, side.kernel.slack()
    for border in [*borders, len(data), None]:
        stop, last = (len(data) if border is None else border), border is None
        size = stop - start
        buffer = ctypes.create_string_buffer(data[start:stop], size + slack)
        taken = side.feed(ctypes.addressof(buffer), size, last=last)
        if taken < 0:
            assert side.facts.status == Status.REFUSED
            return False
        start += taken
    assert start == len(data)
    return True


def read_facts(side: Side) -> Read:
    """What a side says that was read."""
    found = side.facts
    ends = (ctypes.c_uint64 * (found.rows + 1))()
    side.kernel.side_ends(side.pointer, ends)
    sample: list[int] = []
    if found.sampled:
        pointer = side.kernel.side_sample(side.pointer)
        sample = list((ctypes.c_uint32 * found.sampled).from_address(pointer))
    names = [field[0] for field in Facts._fields_]
    facts = {name: getattr(found, name) for name in names}
    return Read(list(ends)[: found.rows], facts, sample)


def digests(side: Side) -> list[tuple[int, int, int]]:
    """For each row the digest of its key, and 64 and 32 bits of that of its cells."""
    rows = side.facts.rows
    words = (ctypes.c_uint64 * (3 * rows + 1))()
    side.kernel.digests(side.pointer, words)
    return [(words[at], words[at + 1], words[at + 2]) for at in range(0, 3 * rows, 3)]


class Seen:
    """That digests are equal if and only if texts are."""

    def __init__(self) -> None:
        self.found: dict[object, object] = {}

    def check(self, kind: str, digest: object, text: object) -> None:
        assert self.found.setdefault((kind, digest), text) == text
        assert self.found.setdefault((kind, "of", text), digest) == digest


def check(
    kernel: Kernel, data: bytes, asked: Question, random: bytes, seen: Seen
) -> bool:
    """Raise AssertionError where kernel and reference disagree; whether it passes."""
    return check_reading(kernel, data, asked, random, seen, reference(data, asked))


def check_reading(
    kernel: Kernel,
    data: bytes,
    asked: Question,
    random: bytes,
    seen: Seen,
    wanted: tuple[list[Row], Read] | None,
) -> bool:
    """The same, with what the reference wants."""
    side = opened(kernel, asked, random)
    try:
        assert fed(side, data, asked.borders) == (wanted is not None)
        if wanted is None:
            return False
        rows, facts = wanted
        assert read_facts(side) == facts
        check_digests(digests(side), rows, asked, seen)
        check_totals(side.read_totals(), rows)
        sought = [tuple(fields[at] for at in asked.keys) for fields in rows[::2]]
        assert found_by_key(side, sought) == [
            number
            for number, fields in enumerate(rows)
            if tuple(fields[at] for at in asked.keys) in sought
        ]
        return True
    finally:
        side.free()


def check_digests(
    found: list[tuple[int, int, int]], rows: list[Row], asked: Question, seen: Seen
) -> None:
    """Raise AssertionError unless digests are equal if and only if contents are."""
    for (key, row, rest), fields in zip(found, rows, strict=True):
        content = tuple(fields[at] for at in asked.order or range(asked.width))
        # Only digests with the same separator are compared.
        mark = asked.separator
        seen.check("row", (mark, row), (mark, content))
        # 32 bits of two texts are sometimes equal.
        seen.check("row and rest", (mark, row, rest), (mark, content))
        in_key = tuple(fields[at] for at in asked.keys)
        seen.check("key", (mark, key), (mark, in_key))


def check_totals(found: list[Decimal | None], rows: list[Row]) -> None:
    """Raise AssertionError unless each sum of a column is right, or has to be unknown.

    The kernel leaves long numbers to the rule, and groups behind leading zeros.
    """
    for at, total in enumerate(found):
        cells = [row[at].decode(errors="replace") for row in rows]
        try:
            wanted = sum(map(read_amount, cells), Fraction(0))
        except RefusedError:
            assert total is None
            continue
        left = [each for each in cells if "," in each or len(each) > SHORT_NUMBER]
        assert total == wanted or (total is None and left)


def found_by_key(side: Side, keys: Sequence[Row]) -> list[int]:
    """The numbers of the rows that have one of these keys."""
    mark = bytes([side.separator])
    masked = [[field.replace(mark, b"\xff") for field in key] for key in keys]
    packed = [
        key[0] if len(key) == 1 else b"".join(field + b"\xfe" for field in key)
        for key in masked
    ]
    pointer, count = side.find(packed)
    found = (ctypes.c_uint32 * count).from_address(pointer or 0) if count else ()
    return sorted(found)


# ------------------------------------------------------------ both sides


def scanned(
    kernel: Kernel, data: bytes, asked: Question, random: bytes, block: int = 64
) -> tuple[Side, int]:
    """A side read from a file, and the descriptor of that."""
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        descriptor = os.dup(stream.fileno())
    side = opened(kernel, asked, random)
    assert side.scan(descriptor, block) is Status.OK
    return side, descriptor


def joined(old: Side, new: Side, bits: int) -> tuple[int, dict[Matched, list[int]]]:
    """How many rows are identical, and the numbers in each list."""
    kernel, lists = old.kernel, {each: list[int]() for each in Matched}
    identical, half = 0, (1 << bits) // 2
    for part in ((0, half), (half, 1 << bits)):
        found = kernel.join(old.pointer, new.pointer, *part)
        assert found
        identical += kernel.found_list(found, -1, None)
        for which in Matched:
            at = ctypes.c_void_p()
            count = kernel.found_list(found, which, ctypes.byref(at))
            if count:
                words = (ctypes.c_uint32 * (6 * count)).from_address(at.value or 0)
                lists[which] += words[5::6]
        kernel.found_free(found)
    return identical, lists


def expected_join(
    old: Sequence[tuple[Row, Row]], new: Sequence[tuple[Row, Row]]
) -> tuple[int, dict[Matched, list[int]]]:
    """The same of keys and rows in plain dicts; the pairs in the order of NEW."""
    places: list[dict[Row, list[int]]] = [{}, {}]
    for side, rows in zip(places, (old, new), strict=True):
        for at, (key, _) in enumerate(rows):
            side.setdefault(key, []).append(at)
    repeated = {key for side in places for key, at in side.items() if len(at) > 1}
    lists = {each: list[int]() for each in Matched}
    identical = 0
    for at, (key, row) in enumerate(new):
        if key in repeated:
            lists[Matched.REPEATED_NEW].append(at)
        elif key not in places[0]:
            lists[Matched.EXTRA].append(at)
        elif old[places[0][key][0]][1] == row:
            identical += 1
        else:
            lists[Matched.PAIRED_OLD].append(places[0][key][0])
            lists[Matched.PAIRED_NEW].append(at)
    for at, (key, _) in enumerate(old):
        if key in repeated:
            lists[Matched.REPEATED_OLD].append(at)
        elif key not in places[1]:
            lists[Matched.MISSING].append(at)
    return identical, lists
