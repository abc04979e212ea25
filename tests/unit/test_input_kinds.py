"""What an input may be: packed, piped, Parquet, Arrow; made by the tools people use."""

from __future__ import annotations

import bz2
import errno
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fault_table import small_disk
from support.flags import diff
from support.program import recon

from recon_engine.config import LIMITS
from recon_engine.errors import ConfigError, DiskFull, InputError, MalformedInput
from recon_engine.inputs import columnar as columnar_files
from recon_engine.inputs import decoding
from recon_engine.runtime.progress import ignore_advance


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TEXT = 'ID,A\n1,x\n2,"y\nz"\n3,\n'


@pytest.fixture
def new(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(TEXT)
    return path


def zip_of(method: int = zipfile.ZIP_DEFLATED, /, **members: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return target.getvalue()


PACKED: dict[str, bytes] = {
    "o.csv.bz2": bz2.compress(TEXT.encode()),
    "o.csv.xz": lzma.compress(TEXT.encode()),
    "two streams.bz2": bz2.compress(TEXT[:9].encode())
    + bz2.compress(TEXT[9:].encode()),
    "two streams.xz": lzma.compress(TEXT[:9].encode())
    + lzma.compress(TEXT[9:].encode()),
    "O.CSV.ZIP": zip_of(claims__csv=TEXT),
    "o.zip": zip_of(claims__txt=TEXT),
    "bzip2.zip": zip_of(zipfile.ZIP_BZIP2, claims__csv=TEXT),
    "lzma.zip": zip_of(zipfile.ZIP_LZMA, claims__csv=TEXT),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_is_read_with_the_hash_of_the_delivery(
    tmp_path: Path, new: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(PACKED[name])
    found = diff(path, new, keys="ID")
    assert found.agrees
    assert found.old.bytes == len(PACKED[name])
    assert found.old.sha256 == hashlib.sha256(PACKED[name]).hexdigest()
    assert found.old.dialect is not None
    assert found.old.dialect.compression in {"bzip2", "xz", "zip"}


@pytest.mark.parametrize("tool", ["bzip2", "xz", "zip", "7z"])
def test_a_file_that_the_usual_tool_packs_is_read(
    tmp_path: Path, new: Path, tool: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    shutil.copy(new, tmp_path / "o.csv")
    command = {
        "zip": ["zip", "-q", "o.zip", "o.csv"],
        "7z": ["7z", "a", "o.zip", "o.csv"],
    }
    subprocess.run(
        command.get(tool, [tool, "o.csv"]),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    [path] = [
        each for each in tmp_path.iterdir() if each.suffix in {".bz2", ".xz", ".zip"}
    ]
    assert diff(path, new, keys="ID").agrees


@pytest.mark.parametrize("name", [n for n in PACKED if not n.startswith("two")])
@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "followed"])
def test_a_damaged_packed_file_is_refused(
    tmp_path: Path, new: Path, name: str, damage: str
) -> None:
    data = PACKED[name]
    middle = len(data) // 2
    path = tmp_path / name
    path.write_bytes(
        {
            "cut": data[:-9],
            "changed": data[:middle]
            + bytes([data[middle] ^ 0xFF])
            + data[middle + 1 :],
            "empty": b"PK",
            "followed": data + b"1,x\n",
        }[damage]
    )
    # A zip archive is found from its end: bytes behind it are a comment or damage.
    if damage == "followed" and name.lower().endswith(".zip"):
        return
    with pytest.raises(InputError) as caught:
        diff(path, new, keys="ID")
    assert caught.value.help
    assert "y\nz" not in str(vars(caught.value))


@given(
    name=st.sampled_from([*PACKED]),
    places=st.lists(st.integers(0, 1 << 16), min_size=1, max_size=3),
    cut=st.booleans(),
    data=st.data(),
)
def test_damage_is_refused_or_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    places: list[int],
    cut: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    """Every byte of a packed file may be any other: none of it is a bug of ours."""
    folder = tmp_path_factory.mktemp("damaged")
    damaged = bytearray(PACKED[name])
    for place in places:
        damaged[place % len(damaged)] = data.draw(st.integers(0, 255))
    # Between two streams, the file would be whole.
    if cut and not name.startswith("two streams"):
        del damaged[places[0] % len(damaged) :]
    (folder / name).write_bytes(damaged)
    (folder / "new.csv").write_text(TEXT)
    with suppress(InputError):
        assert diff(folder / name, folder / "new.csv", keys="ID").agrees


def test_a_disk_that_does_not_read_is_no_damaged_archive(tmp_path: Path) -> None:
    class BadDisk(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() < 9:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    path = tmp_path / "o.zip"
    path.write_bytes(PACKED["o.zip"])
    with BadDisk(path) as stream:
        source = decoding._DeliveredBytes(stream, "o.zip", ignore_advance, hashes=False)
        reader = decoding._ZipReader(source, LIMITS, "", "--member")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            [*reader.read_text()]


def test_a_member_of_a_zip_archive_is_named(tmp_path: Path, new: Path) -> None:
    path = tmp_path / "o.zip"
    path.write_bytes(zip_of(claims__csv=TEXT, readme__txt="x"))
    with pytest.raises(MalformedInput, match="has 2 members") as caught:
        diff(path, new, keys="ID")
    assert "--old-member: claims.csv, readme.txt" in str(caught.value.help)
    assert diff(path, new, keys="ID", old_member="claims.csv").agrees
    with pytest.raises(
        MalformedInput, match=r"no member claim.csv. Did you mean claims"
    ):
        diff(path, new, keys="ID", old_member="claim.csv")
    path.write_bytes(zip_of())
    with pytest.raises(MalformedInput, match="has 0 members"):
        diff(path, new, keys="ID")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bomb.csv.bz2", "bomb.csv.xz", "bomb.zip"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, new: Path, name: str) -> None:
    text = "ID,A\n" + "1,x\n" * 8_000_000
    packed = {
        # Streams may follow one another; one of 32 MB takes seconds to make.
        "bomb.csv.bz2": lambda: bz2.compress(b"1,x\n" * 100_000) * 80,
        "bomb.csv.xz": lambda: lzma.compress(text.encode(), preset=0),
        "bomb.zip": lambda: zip_of(a__csv=text),
    }[name]()
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(MalformedInput, match="expands to more than 5 times"):
        diff(tmp_path / name, new, keys="ID", max_ratio=5)


def test_a_pipe_is_read_to_disk_first(tmp_path: Path, new: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(TEXT))
    writer.start()
    found = diff(pipe, new, keys="ID", sha256=True)
    writer.join()
    assert found.agrees
    assert found.old.sha256 == found.new.sha256


def test_standard_input_is_one_of_the_files(tmp_path: Path, new: Path) -> None:
    command = [sys.executable, "-m", "recon_cli", "diff", "-", new.name, "-k", "ID"]
    ended = subprocess.run(
        [*command, "-f", "json"],
        input=TEXT,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (ended.returncode, json.loads(ended.stdout)["verdict"]) == (0, "agree")
    with pytest.raises(ConfigError, match="both files are standard input"):
        diff("-", "-", keys="ID")


QUERY = """
SELECT * FROM (VALUES
  ('1', 10.50::DECIMAL(9, 2), DATE '2026-03-01', TRUE, 'a"b'),
  ('2', NULL, NULL, FALSE, 'ä,
b'),
  ('3', -0.10, DATE '1999-12-31', NULL, '')
) t(ID, PAID, DAY, PAYABLE, NOTE)
"""
AS_CSV = (
    "ID,PAID,DAY,PAYABLE,NOTE\n"
    '1,10.50,2026-03-01,true,"a""b"\n'
    '2,,,false,"ä,\nb"\n'
    "3,-0.10,1999-12-31,,\n"
)


def columnar(folder: Path, kind: str) -> Path:
    """The table of QUERY by the tool that people write this format with."""
    path = folder / f"o.{'arrow' if kind == 'stream' else kind}"
    with duckdb.connect() as connection:
        if kind == "parquet":
            connection.execute(f"COPY ({QUERY}) TO '{path}' (FORMAT parquet)")
            return path
        table = connection.sql(QUERY).to_arrow_table()
    if kind == "feather":
        pl.DataFrame(table).write_ipc(path)
    else:
        make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with path.open("wb") as stream, make(stream, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream", "feather"])
def test_a_columnar_file_is_read_as_text(tmp_path: Path, kind: str) -> None:
    old, right = columnar(tmp_path, kind), tmp_path / "n.csv"
    right.write_text(AS_CSV)
    found = diff(old, right, keys="ID")
    assert found.agrees, found.mismatches()
    # As a frame in Python is.
    frame = pl.read_parquet(old) if kind == "parquet" else None
    if frame is not None:
        assert diff(frame, right, keys="ID").agrees
    assert found.reading() == ("old file: 3 nulls are read as blanks",)
    data = old.read_bytes()
    assert (found.old.bytes, found.old.rows) == (len(data), 3)
    assert found.old.sha256 == hashlib.sha256(data).hexdigest()
    ended = recon("keys", old.name, "n.csv", "-f", "json", cwd=tmp_path)
    assert {"columns": ["ID"]}.items() <= json.loads(ended.stdout)[0].items()
    assert (
        recon("explain", old.name, "n.csv", "2", "-k", "ID", cwd=tmp_path).returncode
        == 0
    )


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_columnar_file_that_cannot_be_read_is_refused(
    tmp_path: Path, new: Path, kind: str
) -> None:
    path = columnar(tmp_path, kind)
    data = path.read_bytes()
    for damaged in (data[:-5], data[:40], b"", b"PAR1 is this text"):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            diff(path, new, keys="ID")
        assert caught.value.file == str(path)
    nested = pl.DataFrame({"ID": ["1"], "A": [[1, 2]]})
    nested.write_parquet(path) if kind == "parquet" else nested.write_ipc(path)
    with pytest.raises(ConfigError, match="column A has type"):
        diff(path, new, keys="ID")
    pl.DataFrame({"ID": ["1"], "A": ["x"]}).write_parquet(tmp_path / "t.parquet")
    options: list[dict[str, Any]] = [{"old_skip_lines": 1}, {"old_quote": "none"}]
    for each in options:
        with pytest.raises(ConfigError, match="about the text of a file"):
            diff(tmp_path / "t.parquet", new, keys="ID", **each)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_columnar_file_with_two_columns_of_one_name_is_not_damaged(
    tmp_path: Path, new: Path, kind: str
) -> None:
    table = pa.table([pa.array(["1"])] * 4, names=["ID", "A", "B", "A"])
    path = tmp_path / f"o.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with path.open("wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(MalformedInput, match="repeats a name: columns 2, 4"):
        diff(path, new, keys="ID")


@pytest.mark.parametrize(
    "kind",
    [
        pa.decimal256(50, 2),
        pa.month_day_nano_interval(),
        pa.list_view(pa.int32()),
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.sparse_union([pa.field("x", pa.int64())]),
    ],
    ids=str,
)
def test_a_type_that_polars_lacks_is_named_with_its_column(
    tmp_path: Path, new: Path, kind: pa.DataType
) -> None:
    """For some types it panics, which is no bug of the file either."""
    fields = pa.schema([("ID", pa.string()), ("A", kind), ("B", pa.string())])
    path = tmp_path / "o.arrow"
    with path.open("wb") as stream, pa.ipc.new_file(stream, fields):
        pass
    with pytest.raises(ConfigError) as caught:
        diff(path, new, keys="ID")
    assert caught.value.message == f"column A has type {kind}, which is not text"


def test_a_frame_with_a_type_that_polars_lacks_is_no_bug(new: Path) -> None:
    amounts = pa.array([Decimal("1.50")], pa.decimal256(50, 2))
    frame = pa.table({"ID": ["1"], "A": amounts})
    with pytest.raises(ConfigError, match="the frame cannot be read as text"):
        diff(frame, new, keys="ID")


def test_a_columnar_file_of_many_batches_is_one_table(tmp_path: Path) -> None:
    old, right = tmp_path / "o.parquet", tmp_path / "n.csv"
    with duckdb.connect() as connection:
        query = "SELECT i AS ID, i % 7 AS A, repeat('x', i % 5) AS B"
        query += " FROM range(200000) t(i)"
        connection.execute(f"COPY ({query}) TO '{old}' (ROW_GROUP_SIZE 30000)")
        connection.execute(f"COPY ({query}) TO '{right}' (HEADER)")
    found = diff(old, right, keys="ID")
    assert (found.agrees, found.counts.matched) == (True, 200_000)


def test_one_batch_of_a_columnar_file_is_written_before_the_next_is_read() -> None:
    target, written = io.BytesIO(), list[int]()

    def read_batches() -> Iterator[pa.RecordBatch]:
        for at in range(3):
            written.append(target.tell())
            yield pa.record_batch({"ID": [str(at)]})

    schema = pa.schema([("ID", pa.string())])
    columnar_files._write(columnar_files._Columnar(schema, read_batches()), "x", target)
    assert target.getvalue() == b'"ID"\n"0"\n"1"\n"2"\n'
    assert written == [5, 9, 13]


def test_a_full_disk_is_not_taken_for_a_damaged_columnar_file(
    tmp_path: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "o.parquet"
    rows = pl.int_range(300_000, eager=True).alias("ID").to_frame()
    rows.with_columns(A=pl.lit("x" * 20)).write_parquet(old)
    with small_disk("2m") as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(DiskFull):
            diff(old, new, keys="ID")


@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_a_file_with_the_wrong_name_is_reported_the_right_one(
    tmp_path: Path, new: Path, name: str
) -> None:
    """Nothing is guessed from the content of a file."""
    made = columnar(tmp_path, "parquet")
    path = tmp_path / name
    if name == "o.csv":
        made.rename(path)
    else:
        path.write_text(TEXT)
    with pytest.raises(InputError) as caught:
        diff(path, new, keys="ID")
    assert caught.value.help
