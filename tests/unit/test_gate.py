"""The gate: equal to the reference on every input, and each refusal has a position."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.csv_files import open_csv
from support.reading import Accepted, Refused, cells, read_by_reference
from support.strategies import csv_bytes, edited, pairs, tables

from recon_engine.config import Limits, OnBadRow
from recon_engine.errors import (
    EmptyFile,
    EncodingError,
    InputChanged,
    InputError,
    MalformedInput,
)
from recon_engine.formatting import format_count
from recon_engine.inputs import csv_reader
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.header import read_header
from recon_engine.inputs.quarantine import MAX_LISTED
from recon_engine.inputs.rfc4180 import Fault, parse_records
from recon_engine.model import Reject


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recon_engine.inputs.csvfile import CsvFile


SMALL = Limits(field_bytes=1 << 20, field_lines=4)


@pytest.fixture(params=[1, 3, 16, 1 << 18], ids=lambda n: f"blocks of {n}")
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size = int(request.param)
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", size)
    monkeypatch.setattr(csv_reader, "STRETCH_BYTES", min(size, 64))
    return size


DIALECT = st.text(st.sampled_from('ab",\n\r\0é'), max_size=40).map(str.encode)
LINES = st.lists(
    st.sampled_from(
        [b"a,b", b'"a",b', b'a,"b\nc"', b'a,"b""c"', b"", b"a", b"a,b,c", b'a"b,c',
         b'"a"b,c', b'"a,b', b"a,\xff", b"a,\0", b'"\xe9",b', b"a,b\r", b"\r", b",",
         b'"",""', b'""",""",x', "é,ü".encode(), b'a,"\n\n\n\n\n\n"']
    ),
    max_size=12,
).map(b"\n".join)  # fmt: skip


@pytest.mark.usefixtures("block")
@given(body=st.one_of(DIALECT, LINES, st.binary(max_size=30)), end=st.booleans())
@example(body=b'"a\n', end=False)
@example(body=b"a,b\r\n\r\n\r\n", end=False)
@example(body=b"1,2\n\r\r\n\n", end=False)
def test_the_gate_passes_exactly_what_the_reference_accepts(
    tmp_path: Path,
    body: bytes,
    end: bool,  # noqa: FBT001
) -> None:
    data = b"x,y\n" + body + b"\n" * end
    assert judged(tmp_path, data) == read_by_reference(data, ord(","), SMALL)


@pytest.mark.usefixtures("block")
@given(body=st.one_of(DIALECT, LINES, st.binary(max_size=30)), end=st.booleans())
@example(body=b"a,b\n\n\n1\n\n2,3\n\n", end=False)
@example(body=b"\n1,2\r\n\r\n\xff\n", end=True)
@example(body=b"\0\r", end=False)
@example(body=b"1,2\n\r\r\n\n", end=False)
@example(body=b"\n\r\n\n1\n\n\n", end=True)
@example(body=b"1,2\n1,2\n1,2\n\n\n\n\n\n\n3,4\n\xff\n", end=False)
def test_quarantine_sets_aside_exactly_the_rows_whose_end_is_certain(
    tmp_path: Path,
    body: bytes,
    end: bool,  # noqa: FBT001
) -> None:
    data = b"x,y\n" + body + b"\n" * end
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    try:
        file = open_csv(path, limits=SMALL, on_bad_row=OnBadRow.QUARANTINE)
        at = [(each.line, each.byte_offset) for each in file.rejects.sample]
        found: object = cells(file), at, file.dialect.trailing_blank_lines
        assert file.rejects.count == len(at)
        assert file.rows == len(cells(file))
    except InputError as error:
        found = error.message
    assert found == set_aside(data)


def set_aside(data: bytes) -> object:
    """Cells, places set aside, and blank lines at the end; or the fault."""
    rows: list[tuple[str, ...]] = []
    places: list[tuple[int, int]] = []
    blanks: list[tuple[int, int]] = []
    line, at = 1, 0
    while at < len(data):
        text = data[at : data.find(b"\n", at) + 1 or len(data)]
        try:
            record = next(
                parse_records(data[at:], ord(","), SMALL, line=line, offset=at)
            )
        except Fault as fault:
            known = fault.reason in {"a NUL byte", "a byte that is not UTF-8"}
            bare = b'"' in text or b"\r" in text.replace(b"\r\n", b"\n")
            if bare or not known:
                return fault.reason
            fields, size, lines = None, len(text), text.count(b"\n")
        else:
            fields, size, lines = record.fields, record.end - at, record.lines
            if record.blank:
                blanks.append((line, at))
                line, at = line + lines, at + size
                continue
        places, blanks = places + blanks, []
        if fields is not None and len(fields) == 2:
            rows.append(tuple(field.decode() for field in fields))
        elif size > len(text):
            found = format_count(len(fields or ()), "field")
            return f"a row of {found} under a header of 2"
        else:
            places.append((line, at))
        line, at = line + lines, at + size
    return rows[1:], places, len(blanks)


def test_what_is_set_aside_is_counted_all_and_listed_in_part(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"x,y\n" + b"1,2\n3\n\n4,5,6\n" * 20_000)
    file = open_csv(path, on_bad_row=OnBadRow.QUARANTINE)
    assert (file.rows, file.rejects.count) == (20_000, 60_000)
    assert len(file.rejects.sample) == MAX_LISTED
    assert file.rejects.sample[:3] == (
        Reject(3, 8, "a row of 1 field under a header of 2"),
        Reject(4, 10, "a blank line inside the file"),
        Reject(5, 11, "a row of 3 fields under a header of 2"),
    )
    assert cells(file) == [("1", "2")] * 20_000


@pytest.mark.parametrize("bad", [b'1,"a\nb",c\n', b'"a\nb"\n', b'1,a"b\n', b'1,"a\n'])
def test_a_row_whose_end_is_in_doubt_refuses_the_file(
    tmp_path: Path, bad: bytes
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"x,y\n1\n" + bad + b"2,b\n")
    with pytest.raises(MalformedInput) as caught:
        open_csv(path, on_bad_row=OnBadRow.QUARANTINE)
    assert caught.value.line == 3


@pytest.mark.usefixtures("block")
@given(data=tables().flatmap(edited))
def test_valid_files_with_a_few_bytes_edited_are_judged_as_by_the_reference(
    tmp_path: Path, data: bytes
) -> None:
    assume(not foreign(data))
    assert judged(tmp_path, data) == read_by_reference(data, ord(","), SMALL)


def foreign(data: bytes) -> bool:
    """Whether what comes first is taken for another kind of file."""
    return not re.match(rb"(\xef\xbb\xbf)?([ -~\r\n][ -~\r\n]|[ -~\r\n]?$)", data)


def judged(folder: Path, data: bytes) -> Accepted | Refused:
    """What the gate makes of a file, its cells as the engine reads them."""
    path = folder / "f.csv"
    path.write_bytes(data)
    try:
        file = open_csv(path, limits=SMALL)
    except InputError as error:
        return Refused(type(error), error.line, error.byte_offset, error.column)
    return Accepted(file.columns, tuple(cells(file)))


@pytest.mark.usefixtures("block")
@given(pair=pairs(), data=st.data())
def test_what_passes_is_parsed_as_it_was_written(
    tmp_path: Path, pair: object, data: st.DataObject
) -> None:
    names, rows = pair.names, pair.old  # type: ignore[attr-defined]
    raw, order = data.draw(csv_bytes(names, rows))
    path = tmp_path / "f.csv"
    path.write_bytes(raw)
    file = open_csv(path)
    assert file.columns == tuple(order)
    assert file.rows == len(rows)
    assert cells(file) == [
        tuple(row[names.index(name)] for name in order) for row in rows
    ]


def opened(folder: Path, data: bytes) -> CsvFile:
    path = folder / "claims.csv"
    path.write_bytes(data)
    return open_csv(path)


REFUSED = {
    "zero bytes": (b"", EmptyFile, 1, 0, None),
    "only a BOM": (b"\xef\xbb\xbf", EmptyFile, 1, 3, None),
    "UTF-16": ("id,v\n1,2\n".encode("utf-16"), EncodingError, 1, 0, None),
    "UTF-32": ("id,v\n1,2\n".encode("utf-32-be"), MalformedInput, 1, 0, None),
    "latin-1": (b"id,v\n1,caf\xe9\n", EncodingError, 2, 10, "v"),
    "latin-1 header": (b"id,caf\xe9\n", EncodingError, 1, 6, None),
    "NUL": (b"id,v\n1,a\0b\n", MalformedInput, 2, 8, "v"),
    "quoted NUL": (b'id,v\n1,"a\0b"\n', MalformedInput, 2, 9, "v"),
    "CR alone": (b"id,v\n1,a\rb,c\n", MalformedInput, 2, 8, "v"),
    "CR line ends": (b"id,v\r1,a\r", MalformedInput, 1, 4, None),
    "short row": (b"id,v\n1,a\n2\n", MalformedInput, 3, 9, "v"),
    "long row": (b"id,v\n1,a\n2,b,c\n", MalformedInput, 3, 9, None),
    "blank line": (b"id,v\n1,a\n\n2,b\n", MalformedInput, 3, 9, None),
    "blank CRLF line": (b"id,v\r\n1,a\r\n\r\n2,b\r\n", MalformedInput, 3, 11, None),
    "quote in a field": (b'id,v\n1,a"b\n', MalformedInput, 2, 8, "v"),
    "text after a quote": (b'id,v\n1,"a"b\n', MalformedInput, 2, 10, "v"),
    "open quote": (b'id,v\n1,"a\n2,b\n', MalformedInput, 2, 7, "v"),
    "open quote in header": (b'id,"v\n1,2\n', MalformedInput, 1, 3, None),
    "huge field": (b"id,v\n1," + b"x" * 1_048_577, MalformedInput, 2, 7, "v"),
    "tall field": (b'id,v\n1,"' + b"\n" * 100 + b'"\n', MalformedInput, 2, 7, "v"),
    "repeated name": (b"id,v,id\n", MalformedInput, 1, 0, None),
    "blank name": (b"id,\n", MalformedInput, 1, 0, None),
    "gzip": (b"\x1f\x8b\x08\0\0", MalformedInput, 1, 0, None),
    "zstd": (b"\x28\xb5\x2f\xfd\0", MalformedInput, 1, 0, None),
    "zip": (b"PK\x03\x04\0", MalformedInput, 1, 0, None),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_file_is_refused_at_its_first_bad_byte(
    tmp_path: Path, case: tuple[bytes, type[InputError], int, int, str]
) -> None:
    data, error, line, offset, column = case
    with pytest.raises(error) as caught:
        opened(tmp_path, data)
    found = caught.value
    assert type(found) is error
    assert (found.line, found.byte_offset, found.column) == (line, offset, column)
    assert found.file is not None
    assert found.file.endswith("claims.csv")


def test_the_dialect_is_kept_as_facts(tmp_path: Path) -> None:
    file = opened(tmp_path, b'\xef\xbb\xbfid,v\r\n1,"a\r\nb"\r\n2,\n\n\n')
    d = file.dialect
    assert (file.rows, file.bytes) == (2, 24)
    assert (d.bom, d.quotes, d.newline) == (True, True, "mixed")
    assert (d.embedded_newlines, d.trailing_blank_lines) == (1, 2)


def test_a_blank_line_is_a_value_in_a_file_of_one_column(tmp_path: Path) -> None:
    file = opened(tmp_path, b"id\na\n\nb\n\n")
    assert file.rows == 4
    assert cells(file) == [("a",), ("",), ("b",), ("",)]


@pytest.mark.slow
def test_a_wide_long_line_within_the_limits_passes(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(40)]
    row = ",".join("x" * 50_000 for _ in names)
    file = opened(tmp_path, "\n".join([",".join(names), row, row]).encode())
    assert (file.rows, len(file.columns)) == (2, 40)


def test_a_row_of_many_short_fields_is_no_long_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 850)
    row = b",".join([b"xxxxxxxx"] * 100)
    names = b",".join(b"c%d" % at for at in range(100))
    path = tmp_path / "wide.csv"
    path.write_bytes(names + b"\n" + row + b"\n" + row)
    assert open_csv(path, limits=Limits(field_bytes=8)).rows == 2


@pytest.mark.usefixtures("block")
def test_a_field_over_the_limit_is_refused_as_that_whatever_follows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"x,y\n1," + b"z" * 30 + b'\xff\0"')
    limits = Limits(field_bytes=20)
    with pytest.raises(MalformedInput, match="more than 20 bytes") as caught:
        open_csv(path, limits=limits)
    assert (caught.value.line, caught.value.byte_offset) == (2, 6)
    assert read_by_reference(path.read_bytes(), ord(","), limits) == Refused(
        MalformedInput, 2, 6, "y"
    )


def test_other_delimiters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"id|v\n1|a,b\n")
    assert cells(open_csv(path, delimiter="|")) == [("1", "a,b")]


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"9,z\n")


def cut(path: Path) -> None:
    os.truncate(path, 5 + 4 * 100 + 2)


def cut_between_rows(path: Path) -> None:
    os.truncate(path, 5 + 4 * 100)


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


def removed(path: Path) -> None:
    path.unlink()


CHANGES = [longer, cut, cut_between_rows, replaced, removed]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_behind_its_header_is_refused_as_changed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "claims.csv"
    path.write_bytes(b"id,v\n" + b"1,a\n" * 1_000)
    header = read_header(path)
    change(path)
    with pytest.raises(InputChanged) as caught:
        read_rows(header)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("change", [longer, cut, cut_between_rows])
def test_a_file_that_changes_while_it_is_read_is_refused_as_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(csv_reader, "BLOCK_BYTES", 64)
    path = tmp_path / "claims.csv"
    path.write_bytes(b"id,v\n" + b"1,a\n" * 1_000)
    heard: list[int] = []

    def advance(size: int) -> None:
        if not heard:
            change(path)
        heard.append(size)

    with pytest.raises(InputChanged):
        open_csv(path, advance=advance)
    assert len(heard) > 1


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_before_it_is_read_again_is_refused_as_changed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    file = opened(tmp_path, b"id,v\n" + b"1,a\n" * 1_000)
    change(file.path)
    with pytest.raises(InputChanged):
        file.take(np.arange(file.rows))
