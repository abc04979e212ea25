"""Explain a header that lacks the requested columns.

Tries another delimiter, a delimiter of several characters, and lines before the header
on the first bytes of both files. A proposal requires the names in both headers and
regular rows below them.
"""

from __future__ import annotations

import io
import itertools
import os
from typing import TYPE_CHECKING, Final

from recon_engine.command_line import quoted
from recon_engine.config import write_delimiters
from recon_engine.errors import ReconError
from recon_engine.inputs.file_shape import DELIMITERS
from recon_engine.inputs.header import Header, parse_header
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanner import index_records, whole_records_size
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recon_engine.config import Options
    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.first_rows import Reads
    from recon_engine.inputs.frames import Frame

    Fits = Callable[[Sequence[str], Sequence[str]], bool]

# The first bytes that are tried, and the longest preamble that is searched for.
HEAD_BYTES: Final = 1 << 18
LINES: Final = 100
# Two to eight characters of which no name or number consists, such as `|~|`.
SEVERAL: Final = lazy_pattern(r"[^\w\s\"'.()-]{2,8}")


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first bytes from the header on, and the header as it was read."""

    header: Header
    data: bytes

    @property
    def is_whole(self) -> bool:
        """Whether these are all bytes of the table."""
        return len(self.data) == self.header.end - self.header.start

    def columns(self, delimiter: str, start: int = 0) -> tuple[tuple[str, ...], int]:
        """The names and the number of regular rows under this delimiter.

        No names if it fails.

        `start`: the offset at which the header begins.
        """
        data = self.data[start:]
        try:
            found = parse_header(
                io.BytesIO(data),
                path=self.header.path,
                uri=self.header.uri,
                state=self.header.state,
                delimiter=delimiter,
                limits=self.header.limits,
                frame=self.header.frame.without_surroundings(),
            )
        except ReconError:
            return (), 0
        rows = data[len(found.raw) :]
        # The whole file is here: its last row may lack a newline, and blank lines at
        # its end are no rows.
        if self.is_whole:
            rows = rows.rstrip(b"\r\n") + b"\n" if rows.strip() else b""
        rows = rows[: whole_records_size(rows)]
        if not rows:
            return found.columns, 0
        width = found.width
        # Another encoding than the given one is an error of its own, which comes next:
        # in those that extend ASCII, delimiters and newlines are the same bytes.
        regular = b"\0" not in rows and index_records(
            rows, ord(delimiter), width, found.limits
        )
        return (found.columns, regular.rows) if regular else ((), 0)

    def likely(self) -> list[str]:
        """The given delimiter, and if it splits nothing, the others that would."""
        given = self.header.delimiter
        if len(self.header.columns) > 1:
            return [given]
        [name] = self.header.columns
        # The most frequent first: the remedy names the first one that fits.
        others = (each for each in DELIMITERS if each in name)
        return [given, *sorted(others, key=name.count, reverse=True)]

    def lines(self) -> Iterator[tuple[int, int]]:
        """The number (from 2 on) and the offset of each of the first lines."""
        at = 0
        for number in range(2, LINES + 1):
            at = self.data.find(b"\n", at) + 1
            if not at:
                return
            yield number, at


def other_reading(
    old: Header | Frame,
    new: Header | Frame,
    options: Options,
    fits: Fits,
    reads: Reads | None = None,
) -> str | None:
    """Find a reading under which both headers fit, and word it as a remedy.

    Args:
        old: The header of OLD.
        new: The header of NEW.
        options: The delimiters that are given.
        fits: Whether two headers have the requested columns.
        reads: `pread` of both files, if they are not local.

    Returns:
        The remedy; None for frames, and if nothing fits.
    """
    if not isinstance(old, Header) or not isinstance(new, Header):
        return None
    # A text of another syntax was named as such.
    if any(each.origin and each.origin.translation for each in (old, new)):
        return None
    read_old, read_new = reads or (None, None)
    sides = _beginning(old, read_old), _beginning(new, read_new)
    return (
        _other_delimiter(sides, options, fits)
        or _lines_before(sides, fits)
        or _several_characters(sides, fits)
    )


def splits_more(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether both headers have several columns, whatever their names are.

    The test of `other_reading` for headers of which one is a single column.
    """
    return min(len(ours), len(theirs)) > 1


def _beginning(header: Header, read: ReadAt | None) -> _Beginning:
    size = min(HEAD_BYTES, header.end - header.start)
    if read is not None:
        return _Beginning(header, read(size, header.start))
    with open_unchanged(header.path, header.uri, header.state) as descriptor:
        return _Beginning(header, os.pread(descriptor, size, header.start))


def _other_delimiter(
    sides: tuple[_Beginning, _Beginning], options: Options, fits: Fits
) -> str | None:
    given = options.delimiter_of("old"), options.delimiter_of("new")
    for pair in itertools.product(*(side.likely() for side in sides)):
        if pair == given:
            continue
        read = [side.columns(each) for side, each in zip(sides, pair, strict=True)]
        (ours, old_rows), (theirs, new_rows) = read
        # Splitting `a|~|b` at | would leave a column named ~.
        named = all(any(map(str.isalnum, name)) for name in (*ours, *theirs))
        if ours and theirs and named and fits(ours, theirs):
            text = pair[0] if pair[0] == pair[1] else ":".join(pair)
            option = quoted(text.replace("\t", "\\t"))
            return (
                f"add --delimiter {option}: with it OLD has {len(ours):,} columns and "
                f"NEW {len(theirs):,}, and the first rows fit ({old_rows:,} and "
                f"{new_rows:,} were checked)"
            )
    return None


def _lines_before(sides: tuple[_Beginning, _Beginning], fits: Fits) -> str | None:
    """The line number of the header, if only the lines before it are in the way."""
    for at, side in enumerate(sides):
        other = sides[1 - at].header.columns
        for number, start in side.lines():
            names, rows = side.columns(side.header.delimiter, start)
            if names and fits(*((names, other) if at == 0 else (other, names))):
                header = side.header
                before = header.raw.count(b"\n", 0, header.start) + number - 1
                return (
                    f"the header is in line {before + 1:,} of {SIDES[at].upper()}: "
                    f"{rows:,} rows after it fit it; use "
                    f"--{SIDES[at]}-skip-lines {before}"
                )
    return None


def _several_characters(sides: tuple[_Beginning, _Beginning], fits: Fits) -> str | None:
    """The delimiter of several characters, if only one such mark splits the header."""
    for at, side in enumerate(sides):
        if len(side.header.columns) > 1:
            continue
        found = SEVERAL.findall(side.header.columns[0])
        names = [each.header.columns for each in sides]
        names[at] = tuple(names[at][0].split(found[0])) if found else ()
        if len(set(found)) == 1 and fits(*names):
            pair = [each.header.written for each in sides]
            pair[at] = found[0]
            text = write_delimiters(*pair)
            return (
                f"{SIDES[at].upper()} seems to be delimited by {found[0]}; add "
                f"--delimiter {quoted(text)}"
            )
    return None
