"""Cut a file into spans of whole records, in parallel and exactly.

Whether a newline ends a record depends on every quote before it. So tasks count each
block for both cases: an even and an odd number of quotes before it. A walk over the few
counts then determines which case holds for each block.

The native kernel needs no count: spans are cut behind the first newline of each block.
The first span begins where a record does. If the kernel takes a span as whole records,
the next one does, too. So the cuts are right if it takes all spans, whatever quotes are
in them. Otherwise the file is counted.

Guarantee: up to the first malformed record, spans begin where records begin. An error
found in a span is the error that reading the whole file would find there. After the
first error nothing is guaranteed, and nothing is needed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from recon_engine.inputs.scanner import count_newlines


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from recon_engine.inputs.csv_reader import ReadAt


# The census counts this much at a time: a block of any size takes constant memory.
READ_BYTES: Final = 1 << 22
# So far the end of a line is searched, this much at a time.
LINE_BYTES: Final = 1 << 24
SEARCH_BYTES: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Census:
    """What a block of a file has, for an even and for an odd number of quotes before.

    `newlines`: how many are outside of quotes; `border`: the offset behind the first of
    these, if there is one; `lines`: the newlines of either kind up to there.
    """

    quotes: int
    newlines: tuple[int, int]
    border: tuple[int | None, int | None]
    lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Split:
    """The bytes from `start` to `end`, in which the first line has a number.

    0 is the number of a line that was not counted.
    """

    start: int
    end: int
    line: int

    def read(self, read: ReadAt) -> ReadAt:
        """`read`, limited to the bytes before the end of the split."""
        return lambda size, offset: read(max(0, min(size, self.end - offset)), offset)


def cut_at_newlines(block: Split, read: ReadAt, start: int, end: int) -> Split | None:
    """The lines that begin in a block of the bytes from `start` to `end`.

    None if a line is longer than `LINE_BYTES`: its end is not searched further.
    """
    first, last = block.start, block.end
    if first > start:
        first = _find_line(read, first, end)
    if last < end:
        last = _find_line(read, last, end)
    return None if first < 0 or last < 0 else Split(first, last, 0)


def _find_line(read: ReadAt, offset: int, end: int) -> int:
    """Where the first line at an offset or behind it begins; -1 if it is far."""
    offset -= 1
    stop = min(end, offset + LINE_BYTES)
    while offset < stop:
        data = read(min(SEARCH_BYTES, stop - offset), offset)
        if not data:
            break  # The file is shorter than it was; whoever reads on says so.
        found = data.find(b"\n")
        if found >= 0:
            return offset + found + 1
        offset += len(data)
    return end if stop == end else -1


def take_census(read: ReadAt, start: int, end: int) -> Census:
    """Count the quotes and newlines from `start` to `end`, once."""
    quotes = 0
    newlines, border, lines = [0, 0], list[int | None]([None, None]), [0, 0]
    for offset in range(start, end, READ_BYTES):
        data = read(min(READ_BYTES, end - offset), offset)
        found = count_newlines(data)
        for case in (0, 1):
            # After an odd number of quotes, what seems inside is outside.
            seen = found[case ^ (quotes & 1)]
            if border[case] is None and seen.first is not None:
                border[case] = offset + seen.first + 1
                lines[case] = sum(newlines) + data.count(b"\n", 0, seen.first + 1)
        for case in (0, 1):
            newlines[case] += found[case ^ (quotes & 1)].count
        if b'"' in data:
            quotes += data.count(b'"')
    return Census(
        quotes,
        (newlines[0], newlines[1]),
        (border[0], border[1]),
        (lines[0], lines[1]),
    )


def cut_splits(
    censuses: Iterable[Census], start: int, end: int, line: int
) -> Iterator[Split]:
    """The spans from `start`, a record's first byte on a known line, to `end`.

    `censuses`: of the blocks from `start` to `end`, in their order.
    """
    if start == end:
        return
    # A block inside one long record has no border, so its span is part of the one
    # before.
    places = [(start, line), *_find_borders(censuses, line), (end, 0)]
    for (first, at), (last, _) in itertools.pairwise(places):
        if first < last:
            yield Split(first, last, at)


def count_embedded_newlines(censuses: Iterable[Census]) -> int:
    """How many newlines are inside of quotes."""
    odd = count = 0
    for each in censuses:
        count += each.newlines[1 ^ odd]
        odd ^= each.quotes & 1
    return count


def _find_borders(censuses: Iterable[Census], line: int) -> Iterator[tuple[int, int]]:
    """Where the first record that begins in each block does, but for the first block.

    Its number of lines is that of all newlines before it.
    """
    odd = 0
    for at, each in enumerate(censuses):
        border = each.border[odd]
        if at and border is not None:
            yield border, line + each.lines[odd]
        line += sum(each.newlines)
        odd ^= each.quotes & 1
