"""Stage loading: both loaders leave the very same table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.csv_files import open_csv
from support.strategies import Pair, csv_bytes, pairs

from recon_engine.config import StageLoader
from recon_engine.errors import InternalError
from recon_engine.postgres import connection as postgres
from recon_engine.postgres import stage
from recon_engine.postgres.run_log import make_uuid7


if TYPE_CHECKING:
    from pathlib import Path


def staged(
    conninfo: str, path: Path, loader: StageLoader, delimiter: str = ","
) -> tuple[list[str], list[tuple[object, ...]]]:
    file = open_csv(path, delimiter=delimiter)
    table = stage.load_stage_table(
        conninfo, "d", "old", make_uuid7(), file, loader=loader
    )
    assert table.rows == file.rows
    with psycopg.connect(conninfo) as connection:
        name = postgres.quote_identifier(table.private)
        cursor = connection.execute(f"SELECT * FROM stage.{name} ORDER BY ctid")
        names = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall()
        connection.execute(f"DROP TABLE stage.{name}")
    return names, rows


AWKWARD = {
    "blanks": b'a,b\n,""\n"",\n',
    "a line that ends an older COPY": b"a\n1\n\\.\n2\n",
    "the same, quoted": b'a\n1\n"\\."\n2\n',
    "backslashes": b"a,b\n\\N,\\n\n\\\\,\\.\n",
    "newlines in cells": b'a,b\n"1\n2","\r\n"\n3,"\r"\n',
    "CRLF": b"a,b\r\n1,2\r\n3,\r\n",
    "mixed line ends": b"a,b\r\n1,2\n3,4\r\n",
    "one column, blank lines": b"a\n\n1\n\n",
    "no newline at the end": b"a,b\n1,2",
    "trailing blank lines": b"a,b\n1,2\n\n\n",
    "BOM": b"\xef\xbb\xbfa,b\n\xef\xbb\xbf1,2\n",
    "quotes": b'a,"b ""c"""\n"x""y",""""\n',
    "no rows": b"a,b\n",
}


@pytest.mark.parametrize("data", AWKWARD.values(), ids=AWKWARD.keys())
def test_both_loaders_leave_equal_tables(
    tmp_path: Path, database: str, data: bytes
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    by_adbc, by_copy = (staged(database, path, loader) for loader in StageLoader)
    assert by_adbc == by_copy


@pytest.mark.parametrize("delimiter", ["|", ";", "\t", "~", "'", "\\"])
def test_both_loaders_know_the_delimiter(
    tmp_path: Path, database: str, delimiter: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(delimiter.join("ab") + "\n" + delimiter.join(["1,2", "3"]) + "\n")
    for loader in StageLoader:
        assert staged(database, path, loader, delimiter)[1] == [("1,2", "3")]


@settings(max_examples=max(10, settings().max_examples // 10))
@given(pair=pairs(), data=st.data())
def test_whatever_is_valid_is_staged_as_it_was_written(
    tmp_path: Path, database: str, pair: Pair, data: st.DataObject
) -> None:
    raw, order = data.draw(csv_bytes(pair.names, pair.old))
    path = tmp_path / "f.csv"
    path.write_bytes(raw)
    at = [pair.names.index(name) for name in order]
    for loader in StageLoader:
        names, rows = staged(database, path, loader)
        assert names == order
        assert rows == [tuple(row[i] for i in at) for row in pair.old]


@pytest.mark.parametrize("loader", list(StageLoader))
def test_rows_that_postgres_did_not_take_are_missed(
    tmp_path: Path, database: str, loader: StageLoader
) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a\n1\n2\n")
    file = replace(open_csv(path), rows=3)
    with pytest.raises(InternalError, match="has 2 rows, and the file has 3"):
        stage.load_stage_table(database, "d", "old", make_uuid7(), file, loader=loader)
