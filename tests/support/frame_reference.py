"""What is in a file with a frame around its table, written for clarity.

It shares no code with the product: a state machine over characters, and slices of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final


BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Frame:
    """The options of one file, by their names on the command line.

    `trailer_count`: the field of the first trailer; `trailer_sum`: the field of the
    last trailer, and the column.
    """

    delimiter: str = ","
    skip_lines: int = 0
    comment_prefix: str = ""
    no_header: bool = False
    names: tuple[str, ...] = ()
    repeat_names: str = "refuse"
    blank_names: str = "refuse"
    trailing_delimiter: bool = False
    trailer: tuple[str, ...] = ()
    trailer_count: int = 0
    trailer_sum: tuple[int, str] | None = None
    trailer_delimiter: str = ""
    eof_mark: bool = False
    quote: str = "double"
    excel_text: bool = False
    fixed: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class Table:
    """The names of the columns and the cells of the rows."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class RefusedError(Exception):
    """The file is not what the options say."""


def read_framed(data: bytes, frame: Frame) -> Table | None:
    """The table of a file; None if it is refused."""
    try:
        return _read(data, frame)
    except (RefusedError, UnicodeDecodeError):
        return None


def _read(data: bytes, frame: Frame) -> Table:  # noqa: C901, PLR0912 - in one place
    # Text in 16 bits a character, which no option about a frame reads.
    if b"\0" in data[:2] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RefusedError
    if frame.eof_mark and data.endswith(b"\x1a"):
        data = data[:-1]
    data, trailers = _cut_trailers(data, frame)
    data = data.removeprefix(BOM)
    for _ in range(frame.skip_lines):
        if not data:
            raise RefusedError
        _, _, data = data.partition(b"\n")
    comments = []
    while frame.comment_prefix and data.startswith(frame.comment_prefix.encode()):
        line, _, data = data.partition(b"\n")
        comments.append(line)
    if not data:
        if not ((frame.names or frame.fixed) and trailers):
            raise RefusedError
        records = []
    else:
        # A blank line is no header, also where blank names are numbered.
        if not (frame.no_header or frame.fixed) and data.startswith((b"\n", b"\r\n")):
            raise RefusedError
        records = _split_table(data.decode(), frame)
    names, rows = _name_columns(records, frame)
    for line in comments:
        if line.count(frame.delimiter.encode()) + 1 == len(names):
            raise RefusedError
    width = len(names) + frame.trailing_delimiter
    kept = rows[: len(rows) - _count_blank_end(data.decode())] if width > 1 else rows
    for row in kept:
        if row[0] in frame.trailer or len(row) != width:
            raise RefusedError
        if frame.trailing_delimiter and row[-1] != "":
            raise RefusedError
    if frame.trailer_count:
        # A number without groups: `+2` and `2.0` are 2.
        text = _trailer_field(trailers[0], frame.trailer_count)
        if "," in text or read_amount(text) != len(kept):
            raise RefusedError
    if frame.trailer_sum:
        field, column = frame.trailer_sum
        if column not in names:
            raise RefusedError
        at = names.index(column)
        total = sum((read_amount(row[at]) for row in kept), Fraction(0))
        if read_amount(_trailer_field(trailers[-1], field)) != total:
            raise RefusedError
    return Table(names, tuple(tuple(row[: len(names)]) for row in kept))


def _trailer_field(fields: list[str], number: int) -> str:
    """A field of a trailer, counted from 1."""
    if len(fields) < number:
        raise RefusedError
    return fields[number - 1].strip()


def read_amount(text: str) -> Fraction:
    """A number such as `-1,234.50`; refused if it is none."""
    negative = text.startswith("-")
    whole, _, after = text[text.startswith(("-", "+")) :].partition(".")
    first, *groups = whole.split(",")
    digits = first + "".join(groups) + after
    if not digits or not set(digits) <= set("0123456789"):
        raise RefusedError
    if groups and (
        len(first) not in {1, 2, 3} or {len(each) for each in groups} != {3}
    ):
        raise RefusedError
    size = Fraction(int(digits), 10 ** len(after))
    return -size if negative else size


def _cut_trailers(data: bytes, frame: Frame) -> tuple[bytes, list[list[str]]]:
    """What is before the trailers, and the fields of each."""
    if not frame.trailer:
        return data, []
    while data.endswith(b"\n"):
        data = data[:-1].removesuffix(b"\r")
    lines = data.split(b"\n")
    own = lines[len(lines) - len(frame.trailer) :]
    if len(lines) < len(frame.trailer):
        raise RefusedError
    found = []
    for prefix, line in zip(frame.trailer, own, strict=True):
        text = line.decode()
        if line is not own[-1]:
            text = text.removesuffix("\r")
        mark = frame.trailer_delimiter or frame.delimiter
        plain = frame.fixed or frame.quote == "none" or len(mark.encode()) > 1
        if plain and ("\0" in text or "\r" in text):
            raise RefusedError
        if frame.fixed:
            if not text.startswith(prefix):
                raise RefusedError
            found.append([prefix, *text.split(mark)[1:]])
            continue
        records = [text.split(mark)] if plain else _split_records(text, mark)
        if len(records) != 1 or records[0][0] != prefix:
            raise RefusedError
        found.append(records[0])
    before = lines[: len(lines) - len(frame.trailer)]
    return b"".join(line + b"\n" for line in before), found


def _name_columns(  # noqa: C901, PLR0912 - in one place
    records: list[list[str]], frame: Frame
) -> tuple[tuple[str, ...], list[list[str]]]:
    if frame.fixed:
        return tuple(name for name, _, _ in frame.fixed), records
    if not records:
        return frame.names, []
    first = records[0]
    if frame.trailing_delimiter:
        if len(first) > 1 and first[-1] == "":
            first = first[:-1]
        elif frame.no_header:
            raise RefusedError
    if frame.no_header:
        names = frame.names or tuple(f"c{at + 1}" for at in range(len(first)))
        if len(names) != len(first):
            raise RefusedError
        return names, records
    named = list(first)
    taken = {name for name in named if name.strip()}
    if frame.blank_names == "number":
        for at, name in enumerate(first):
            if name.strip() == "":
                named[at] = f"c{at + 1}"
                if named[at] in taken:
                    raise RefusedError
                taken.add(named[at])
    if frame.repeat_names == "number":
        plain = list(named)
        for at, name in enumerate(plain):
            before = plain[:at].count(name)
            if before:
                named[at] = f"{name}.{before + 1}"
                if named[at] in taken:
                    raise RefusedError
                taken.add(named[at])
    if len(set(named)) < len(named) or any(not name.strip() for name in named):
        raise RefusedError
    return tuple(named), records[1:]


def _count_blank_end(text: str) -> int:
    """The blank lines at the end, which are no rows where a row has several fields.

    A line of two quotes is a record of one field.
    """
    *lines, last = text.split("\n")
    if last:
        return 0
    count = 0
    while count < len(lines) and lines[len(lines) - 1 - count] in {"", "\r"}:
        count += 1
    return count


def _split_table(text: str, frame: Frame) -> list[list[str]]:
    """The records of a table in the syntax of its frame."""
    if not frame.fixed and frame.quote == "double":
        return _split_records(text, frame.delimiter, excel=frame.excel_text)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    # What is one byte too much at the end is a carriage return without a line feed.
    if text.endswith("\r") or any("\r" in line or "\0" in line for line in lines):
        raise RefusedError
    if not frame.fixed:
        return [_split_line(line, frame.delimiter) for line in lines]
    width = max(last for _, _, last in frame.fixed)
    records = []
    for line in lines:
        if line == "" and len(frame.fixed) > 1:
            records.append([""])
            continue
        if len(line) != width or any(line.startswith(each) for each in frame.trailer):
            raise RefusedError
        records.append([line[first - 1 : last] for _, first, last in frame.fixed])
    return records


def _split_line(line: str, delimiter: str) -> list[str]:
    """The fields of a line in which no character encloses others."""
    if len(delimiter.encode()) > 1 and "\x1f" in line:
        raise RefusedError
    fields, field, at = [], "", 0
    while at < len(line):
        if line.startswith(delimiter, at):
            _check_overlap(line, delimiter, at)
            fields.append(field)
            field, at = "", at + len(delimiter)
        else:
            # Python adds in place only to a name that stands alone: a long field is not
            # copied for each of its characters.
            field += line[at]
            at += 1
    return [*fields, field]


def _check_overlap(text: str, delimiter: str, at: int) -> None:
    """Refuse a delimiter in which another one begins that is none by itself."""
    after = at + len(delimiter)
    within = any(text.startswith(delimiter, each) for each in range(at + 1, after))
    if within and not text.startswith(delimiter, after):
        raise RefusedError


def _split_records(  # noqa: C901, PLR0912 - one state machine
    text: str, delimiter: str, *, excel: bool = False
) -> list[list[str]]:
    """The records of strict RFC 4180; a line of two quotes is `[""]` as well."""
    records: list[list[str]] = []
    fields: list[str] = []
    field, state, at = "", "start", 0
    # The product translates a longer delimiter to this character.
    reserved = "\x1f" * (len(delimiter.encode()) > 1)
    # A run of characters without a meaning is one step: some texts have a megabyte.
    plain = re.compile(rf"[^\0\r\n\"={re.escape(delimiter[0])}{reserved}]+")
    while at < len(text):
        if (run := plain.match(text, at)) and state != "closed":
            field += run[0]
            at, state = run.end(), state if state == "quoted" else "plain"
            continue
        char, following = text[at], text[at + 1 : at + 2]
        at += 1
        if char == "\0" or (char in reserved and state != "quoted"):
            raise RefusedError
        if state == "quoted":
            if char != '"':
                field += char
            elif following == '"':
                field += '"'
                at += 1
            else:
                state = "closed"
        elif text.startswith(delimiter, at - 1):
            _check_overlap(text, delimiter, at - 1)
            at += len(delimiter) - 1
            fields.append(field)
            field, state = "", "start"
        elif excel and char == "=" and following == '"' and state == "start":
            state, at = "quoted", at + 1
        elif char == "\n" or (char == "\r" and following == "\n"):
            at += char == "\r"
            records.append([*fields, field])
            fields, field, state = [], "", "start"
        elif char == '"' and state == "start":
            state = "quoted"
        elif char in '\r"' or state == "closed":
            raise RefusedError
        else:
            field += char
            state = "plain"
    if state == "quoted":
        raise RefusedError
    if fields or field or state != "start":
        records.append([*fields, field])
    return records
