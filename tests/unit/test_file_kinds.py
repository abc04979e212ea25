"""Files of other formats: named by their first bytes, with the next step."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
import pyarrow.orc as pyarrow_orc
import pytest
from hypothesis import given
from support.csv_files import open_csv
from support.strategies import tables

from recon_engine import diff
from recon_engine.errors import InputError, MalformedInput
from recon_engine.inputs.file_kinds import identify_kind


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CSV: Final = b"ID,A\n1,x\n2,y\n"
FRAME: Final = pl.DataFrame({"ID": ["1", "2"], "A": ["x", "y"]})


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    target = io.BytesIO()
    write(target)
    return target.getvalue()


def zipped(*names: str, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name in names:
            text = b"application/vnd.oasis.opendocument.spreadsheet"
            archive.writestr(name, text if name == "mimetype" else CSV)
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("claims.csv")
        entry.size = len(CSV)
        archive.addfile(entry, io.BytesIO(CSV))
    return target.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE claims (ID)")
        return connection.serialize()


def orc(target: io.BytesIO) -> None:
    pyarrow_orc.write_table(pa.table({"ID": ["1"], "A": ["x"]}), target)


# Each by its own writer; what has none here, by the mark of its specification.
FOREIGN: Final = {
    "a Parquet file": written(FRAME.write_parquet),
    "an Arrow IPC file": written(FRAME.write_ipc),
    "an Arrow IPC stream": written(FRAME.write_ipc_stream),
    "an Avro file": written(FRAME.write_avro),
    "an ORC file": written(orc),
    "a gzip stream": gzip.compress(CSV),
    "a bzip2 stream": bz2.compress(CSV),
    "an xz stream": lzma.compress(CSV),
    "a zip archive": zipped("claims.csv"),
    "an Excel workbook (.xlsx)": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "an OpenDocument file": zipped("mimetype", compression=zipfile.ZIP_STORED),
    "an Excel workbook (.xls)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
    "an SQLite database": database(),
    "a tar archive": tarred(),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24),
    "a RAR archive": b"Rar!\x1a\x07\x01\x00" + bytes(24),
    "an LZ4 stream": b"\x04\x22\x4d\x18\x64\x40\xa7" + bytes(24),
    "a compress stream (.Z)": b"\x1f\x9d\x90I\x88" + bytes(24),
    "a SAS data set (.sas7bdat)": bytes(12) + b"\xc2\xea\x81\x60" + bytes(240),
    "a SAS transport file (.xpt)": b"HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!"
    b"000000000000000000000000000000  ",
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "XML or HTML": b'<?xml version="1.0"?>\n<claims/>\n',
    "an HL7 message": b"MSH|^~\\&|LAB|H|RECON|H|202603011200||ORU^R01|1|P|2.5\n",
    "an X12 interchange": b"ISA*00*          *00*          *ZZ*A*ZZ*B*~\n",
    "JSON lines": FRAME.write_ndjson().encode(),
    "JSON": FRAME.write_json().encode(),
}
INDENTED: Final = {
    "an array": b'[\n  {\n    "ID": "1"\n  }\n]\n',
    "an object": b'{\n  "rows": [1, 2]\n}\n',
    "behind a byte order mark": b'\xef\xbb\xbf[{"ID": 1}]',
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_format_is_named_with_the_next_step(
    what: str, tmp_path: Path
) -> None:
    path, right = tmp_path / "old.csv", tmp_path / "new.csv"
    path.write_bytes(FOREIGN[what])
    right.write_bytes(CSV)
    with pytest.raises(MalformedInput) as caught:
        diff(path, right, keys="ID")
    error = caught.value
    assert error.message == f"the file is {what}, not CSV"
    assert (error.file, error.line, error.byte_offset) == (str(path), 1, 0)
    assert error.help


@pytest.mark.parametrize("data", INDENTED.values(), ids=INDENTED.keys())
def test_json_is_named_however_it_is_laid_out(data: bytes, tmp_path: Path) -> None:
    path, right = tmp_path / "old.csv", tmp_path / "new.csv"
    path.write_bytes(data)
    right.write_bytes(CSV)
    with pytest.raises(MalformedInput, match="the file is JSON, not CSV"):
        diff(path, right, keys="ID")


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "utf-16"])
def test_an_encoding_that_decodes_every_byte_does_not_hide_a_format(
    encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.csv"
    for what in ("a Parquet file", "an Excel workbook (.xls)", "a gzip stream"):
        path.write_bytes(FOREIGN[what])
        with pytest.raises(MalformedInput, match=rf"the file is {what[:7]}"):
            diff(path, path, keys="ID", encoding=encoding)


def test_a_packed_file_is_named_by_what_it_holds_and_by_what_it_is(
    tmp_path: Path,
) -> None:
    inside, beside = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    inside.write_bytes(gzip.compress(FOREIGN["a Parquet file"]))
    beside.write_bytes(FOREIGN["a bzip2 stream"])
    with pytest.raises(MalformedInput, match="a Parquet file, not CSV"):
        diff(inside, inside, keys="ID")
    with pytest.raises(
        MalformedInput, match="a bzip2 stream, not a gzip stream"
    ) as caught:
        diff(beside, beside, keys="ID")
    assert "rename it to .csv.bz2" in str(caught.value.help)


@pytest.mark.parametrize(
    "header", ["PAR1,A", "PARENT,A", "ORCHID,A", "BZh9,A", "PK,A", "[,{", "Obj,A"]
)
def test_a_mark_of_letters_refuses_no_file_that_is_csv(
    header: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2\n")
    assert open_csv(path).rows == 1


@given(tables())
def test_what_is_csv_is_of_no_other_format(data: bytes) -> None:
    assert identify_kind(data.removeprefix(b"\xef\xbb\xbf")) is None


def test_the_formats_that_polars_or_arrow_read_can_be_compared_as_frames(
    tmp_path: Path,
) -> None:
    # What the help says: recon_engine.diff takes what these return.
    path = tmp_path / "data"
    readers = {
        "a Parquet file": pl.read_parquet,
        "an Arrow IPC file": pl.read_ipc,
        "an Arrow IPC stream": pl.read_ipc_stream,
        "an Avro file": pl.read_avro,
        "an ORC file": pyarrow_orc.read_table,
        "JSON lines": pl.read_ndjson,
        "JSON": pl.read_json,
    }
    for what, read in readers.items():
        path.write_bytes(FOREIGN[what])
        frame = read(str(path))
        assert diff(frame, frame, keys="ID").agrees


def test_a_fault_of_csv_keeps_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"ID,A\n1,a\0b\n")
    with pytest.raises(InputError, match="a NUL byte"):
        diff(path, path, keys="ID")
