"""The gate's checks, one byte at a time: the fast code must equal them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from recon_engine.config import Limits
from recon_engine.errors import EmptyFile, EncodingError, MalformedInput
from recon_engine.inputs.file_kinds import identify_kind
from recon_engine.inputs.header import column_name
from recon_engine.inputs.rfc4180 import (
    CR,
    LF,
    QUOTE,
    EncodingFault,
    Fault,
    parse_records,
)


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.errors import InputError
    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.rfc4180 import Record

UNLIMITED: Final = Limits(1 << 30, 1 << 30)
BOM: Final = b"\xef\xbb\xbf"
START, PLAIN, QUOTED, CLOSED = range(4)


@dataclass(frozen=True)
class Accepted:
    """A file that passes: its names, and the cells of its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Refused:
    """The first thing that is wrong with a file, and where."""

    kind: type[InputError]
    line: int | None = None
    offset: int | None = None
    column: str | None = None


def read_by_reference(
    data: bytes, delimiter: int, limits: Limits
) -> Accepted | Refused:
    """What becomes of a file, by the reference and the shape of its records alone.

    What is refused is named by its format where its first bytes show one.
    """
    found = _by_grammar(data, delimiter, limits)
    if isinstance(found, Refused) and identify_kind(data.removeprefix(BOM)):
        return Refused(MalformedInput, 1, 0)
    return found


def _by_grammar(data: bytes, delimiter: int, limits: Limits) -> Accepted | Refused:
    start = len(BOM) if data.startswith(BOM) else 0
    if len(data) == start:
        return Refused(EmptyFile, 1, start)
    found = parse_records(data[start:], delimiter, limits, offset=start)
    columns: tuple[str, ...] = ()
    try:
        columns = tuple(name.decode() for name in next(found).fields)
        if len(set(columns)) < len(columns) or not all(map(str.strip, columns)):
            return Refused(MalformedInput, 1, start)
        return _shaped(found, columns)
    except Fault as fault:
        kind = EncodingError if isinstance(fault, EncodingFault) else MalformedInput
        column = column_name(columns, fault.field)
        return Refused(kind, fault.line, fault.offset, column)


def _shaped(found: Iterator[Record], columns: tuple[str, ...]) -> Accepted | Refused:
    rows, blank = [], None
    for record in found:
        if record.blank and len(columns) > 1:
            blank = blank or record
        elif blank is not None:
            return Refused(MalformedInput, blank.line, blank.offset)
        elif len(record.fields) != len(columns):
            column = column_name(columns, len(record.fields))
            return Refused(MalformedInput, record.line, record.offset, column)
        else:
            rows.append(tuple(field.decode() for field in record.fields))
    return Accepted(columns, tuple(rows))


def scalar_structure(
    data: bytes, delimiter: int, width: int
) -> tuple[list[int], int, int] | None:
    """`structure` but for its limits: ends of records, CRLFs, embedded newlines."""
    ends, crlf, embedded, fields, state = list[int](), 0, 0, 1, START
    for at, byte in enumerate(data):
        if state == QUOTED:
            state = CLOSED if byte == QUOTE else QUOTED
            embedded += byte == LF
        elif byte == QUOTE and state != PLAIN:
            state = QUOTED
        elif byte == delimiter:
            fields, state = fields + 1, START
        elif byte == LF and fields == width:
            ends.append(at + 1)
            fields, state = 1, START
        elif byte == CR and data[at + 1 : at + 2] == b"\n":
            crlf += 1
        elif byte in {QUOTE, LF, CR} or state == CLOSED:
            return None
        else:
            state = PLAIN
    return (ends, crlf, embedded) if ends and ends[-1] == len(data) else None


def scalar_newlines(data: bytes) -> list[tuple[int, int | None]]:
    """`count_newlines`: behind an even and behind an odd number of quotes."""
    found: list[list[int]] = [[], []]
    odd = 0
    for at, byte in enumerate(data):
        odd ^= byte == QUOTE
        if byte == LF:
            found[odd].append(at)
    return [(len(each), each[0] if each else None) for each in found]


def scalar_whole(data: bytes) -> int:
    """`whole`: behind the last newline that an even number of quotes precede."""
    end, odd = 0, False
    for at, byte in enumerate(data):
        odd ^= byte == QUOTE
        if byte == LF and not odd:
            end = at + 1
    return end


def cells(file: CsvFile) -> list[tuple[str, ...]]:
    """The rows of a file that passed, for which both parsers have to say the same."""
    names = [f"c{at}" for at in range(len(file.columns))]
    rows = file.take(np.arange(file.rows)).cells(names).collect().rows()
    schema = pa.schema([(name, pa.large_string()) for name in names])
    staged = [file.read(part).table(schema) for part in file.parts]
    table = pa.concat_tables([schema.empty_table(), *staged])
    assert table.schema == schema
    columns = [column.to_pylist() for column in table.columns]
    assert list(zip(*columns, strict=True)) == rows
    return rows


def quick_cells(file: CsvFile) -> list[tuple[str, ...]]:
    """The same rows by the parser of Python's own library, which starts at once.

    In a row of one column it takes a blank line for no field.
    """
    text = b"".join([bytes(file.read(part).data) for part in file.parts]).decode()
    lines = io.StringIO(text, newline="")
    records = list(csv.reader(lines, delimiter=file.delimiter, strict=True))
    assert len(records) == file.rows
    width = len(file.columns)
    if file.trailing:
        assert all(len(record) == width + 1 and not record[-1] for record in records)
        return [tuple(record[:width]) for record in records]
    return [tuple(record or ("",)) for record in records]
