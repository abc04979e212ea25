"""Read rows that are spread over two files, at the same places of both.

Two systems mostly export in the same order: then these rows match, and the rest of the
files is not read. Whether they match is for the caller to measure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.drafts.reading import (
    HEAD_BYTES,
    choose_codec,
    find_line,
    find_rows,
)
from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.header import BOM
from recon_engine.inputs.scanner import index_records, is_utf8_without_nul


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from recon_engine.drafts.layout import Layout
    from recon_engine.drafts.reading import Reading
    from recon_engine.inputs.header import Header


BLOCKS: Final = 10
# The first block: rows that one file lacks move its later rows, so that short blocks at
# the same places have no row in common.
FIRST_SHARE: Final = 0.7
# A larger part of a file is read as a whole.
MOST_SHARE: Final = 0.5
# A character of UTF-16 has two or four bytes.
ALIGNMENT: Final = 4


def read_spread_rows(
    paths: Sequence[Path], readings: Sequence[Reading], rows: int
) -> tuple[list[pl.DataFrame], bool] | None:
    """Rows of both files with columns `c0`…, and whether these are all rows.

    Args:
        paths: Plain files.
        readings: How they are read.
        rows: The number of rows that is aimed at, of the larger file.

    Returns:
        None if the rows are not regular: the strict reader says where.
    """
    most = max(map(_estimate_rows, paths, readings))
    if not most:
        return None
    share = rows / most
    whole = share >= MOST_SHARE
    found = []
    for path, reading in zip(paths, readings, strict=True):
        with path.open("rb") as file:
            part = _Spread(file, path.stat().st_size, reading)
            read = part.read_all() if whole else part.read_blocks(share)
        if read is None:
            return None
        found.append(read)
    return found, whole


def _estimate_rows(path: Path, reading: Reading) -> int:
    size = path.stat().st_size
    return reading.rows * size // max(min(size, HEAD_BYTES), 1)


class _Spread:
    """The rows of an open file."""

    def __init__(self, file: BinaryIO, size: int, reading: Reading) -> None:
        self.file = file
        self.size = size
        self.reading = reading
        self.codec = choose_codec(file.read(2), reading.encoding)
        self.header = (
            None
            if reading.layout is not None
            else find_rows(self._decode(0, HEAD_BYTES), reading)
        )

    def read_all(self) -> pl.DataFrame | None:
        """All rows; None if some are not regular."""
        return self._parse(self._decode(0, self.size), first=True, last=True)

    def read_blocks(self, share: float) -> pl.DataFrame | None:
        """The rows of some blocks, without those that are not regular."""
        first = int(self.size * share * FIRST_SHARE)
        other = int(self.size * share * (1 - FIRST_SHARE) / (BLOCKS - 1))
        # Rows of two blocks would repeat, and no column were a key of them.
        begin, others = 0, BLOCKS - 1
        if first > (self.size - other) // others:
            begin, others = first, BLOCKS - 2
        found = []
        for at in range(BLOCKS):
            size = other if at else first
            place = at - (BLOCKS - 1 - others)
            start = begin + (self.size - begin - size) * place // others if at else 0
            start += -start % ALIGNMENT if begin else -(start % ALIGNMENT)
            # The header is before the first rows. A block follows the first at once if
            # `begin`: more bytes of it would repeat rows of that block.
            more = size if at or begin else max(size, HEAD_BYTES)
            rows = self._parse(
                self._decode(start, more), first=not at, last=at == BLOCKS - 1
            )
            if rows is not None:
                found.append(rows.head(rows.height * size // more))
        return pl.concat(found) if len(found) > BLOCKS // 2 else None

    def _decode(self, start: int, size: int) -> bytes:
        self.file.seek(start)
        data = self.file.read(size)
        # Part of a character is in a part of a line, which is left out.
        return data.decode(self.codec, "replace").encode().removeprefix(BOM)

    def _parse(self, text: bytes, *, first: bool, last: bool) -> pl.DataFrame | None:
        """The rows of whole lines; None if they are not regular."""
        if self.reading.layout is not None:
            begin = find_line(text, self.reading.frame.skip_lines)
        elif self.header is not None:
            begin = self.header[1]
        else:
            return None
        rows = text[begin if first else text.find(b"\n") + 1 :]
        if last:
            rows = self._without_trailers(rows.rstrip(b"\r\n\x1a") + b"\n")
        else:
            rows = rows[: rows.rfind(b"\n") + 1]
        if not is_utf8_without_nul(rows):
            return None
        if self.header is not None:
            return self._split(rows, self.header[0])
        return cut_rows(rows, self.reading.layout) if self.reading.layout else None

    def _split(self, rows: bytes, header: Header) -> pl.DataFrame | None:
        delimiter = self.reading.delimiter
        index = index_records(rows, ord(delimiter), header.width, header.limits)
        if index is None:
            return None
        names = [f"c{at}" for at in range(len(self.reading.columns))]
        block = Block.of(rows, delimiter, index, trailing=header.trailing)
        return block.cells(names).collect(engine="in-memory")

    def _without_trailers(self, rows: bytes) -> bytes:
        # A line of a fixed width has no fields.
        end = "" if self.reading.layout else self.reading.delimiter
        marks = [(mark + end).encode() for mark in self.reading.frame.trailers]
        lines = rows.splitlines(keepends=True)
        while lines and any(lines[-1].startswith(mark) for mark in marks):
            lines.pop()
        return b"".join(lines)


def cut_rows(rows: bytes, layout: Layout) -> pl.DataFrame | None:
    """Lines of one width as columns `c0`…; None if some have another."""
    lines = pl.Series(rows.decode().replace("\r\n", "\n").split("\n")[:-1])
    if (lines.str.len_chars() != layout.width).any():
        return None
    return pl.DataFrame(
        [
            lines.str.slice(each.start, each.stop - each.start).alias(f"c{at}")
            for at, each in enumerate(layout.columns)
        ]
    )
