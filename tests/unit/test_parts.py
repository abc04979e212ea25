"""Parts of one table: a folder or a pattern; each part is checked by itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.program import recon

import recon_engine as rx
from recon_engine.errors import ConfigError, MalformedInput, ReconError, SchemaMismatch
from recon_engine.inputs.native import binding


if TYPE_CHECKING:
    from pathlib import Path

WHOLE = 'ID,A\n1,x\n2,"y\nz"\n3,w\n'


def parts(folder: Path, *texts: str, name: str = "in") -> Path:
    place = folder / name
    place.mkdir()
    for at, text in enumerate(texts):
        (place / f"part-{at}.csv").write_bytes(text.encode())
    return place


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.csv"
    path.write_text(WHOLE)
    return path


@pytest.fixture(params=["native", "numpy"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(binding, "load_library", lambda: None)
    return str(request.param)


def test_a_folder_is_one_table_in_the_order_of_names(
    tmp_path: Path, whole: Path, reader: str
) -> None:
    place = parts(
        tmp_path,
        "ID,A\n1,x",
        'ID,A\r\n2,"y\nz"\r\n\n\n',
        "ID,A\n",
        "ID,A\n3,w\n",
        "ID,A\n",
    )
    (place / "_SUCCESS").write_text("")
    (place / ".hidden").write_text("x")
    for given_as in (place, f"{place}/part-*.csv", f"{place}/part-?.csv"):
        found = rx.diff(given_as, whole, keys="ID")
        assert found.agrees, reader
        assert found.old.rows == 3
        assert found.reading() == ("old file: 5 parts joined to one table",)
        assert found.old.bytes == sum(
            each.stat().st_size for each in place.glob("part*")
        )
    assert found.old.sha256 != rx.diff(whole, place, keys="ID", sha256=True).old.sha256


def test_each_part_has_the_frame_that_the_options_say(
    tmp_path: Path, whole: Path, reader: str
) -> None:
    place = parts(
        tmp_path,
        "t\nID||A||\n1||x||\nT||1\n",
        't\nID||A||\n2||"y\nz"||\n3||w||\nT||2\n',
    )
    options: dict[str, Any] = {
        "old_skip_lines": 1,
        "old_trailer": "T",
        "old_trailer_count": "2",
        "old_trailing_delimiter": True,
        "delimiter": "||:,",
    }
    found = rx.diff(place, whole, keys="ID", **options)
    assert found.agrees, reader
    assert found.old.dialect is not None
    assert found.old.dialect.delimiter == "||"
    assert found.old.dialect.frame["trailer"] == 2
    (place / "part-1.csv").write_text("t\nID||A||\n2||y||\nT||2\n")
    with pytest.raises(
        MalformedInput, match="says 2 records, the file has 1"
    ) as caught:
        rx.diff(place, whole, keys="ID", **options)
    assert str(caught.value.file).endswith("part-1.csv")
    assert caught.value.line == 4


def test_parts_without_a_header_are_joined_as_well(tmp_path: Path, whole: Path) -> None:
    place = parts(tmp_path, "1,x\n", '2,"y\nz"\n3,w')
    names: dict[str, Any] = {"old_no_header": True, "old_names": ("ID", "A")}
    assert rx.diff(place, whole, keys="ID", **names).agrees
    fixed = parts(tmp_path, "1x\n2y\n", "3z\n", name="fixed")
    csv = tmp_path / "f.csv"
    csv.write_text("ID,A\n1,x\n2,y\n3,z\n")
    assert rx.diff(fixed, csv, keys="ID", old_fixed="ID:1-1,A:2-2").agrees


@pytest.mark.parametrize(
    ("texts", "kind", "message", "place"),
    [
        (("ID,A\n1,x\n", "ID,B\n2,y\n"), SchemaMismatch, "other columns", 1),
        (("ID,A\n1,x\n", "ID,A\n1,x\n"), MalformedInput, "same bytes as", 1),
        (("ID,A\n1,x\n", "ID,A\n2\n"), MalformedInput, "a row of 1 field", 1),
        (('ID,A\n1,"x\n', 'ID,A\n2,y"\n'), MalformedInput, "never ends", 0),
        (("ID,A\n1,x\n", ""), ReconError, "the file is empty", 1),
    ],
)
def test_a_part_is_refused_by_its_own_name(
    tmp_path: Path,
    whole: Path,
    texts: tuple[str, ...],
    kind: Any,
    message: str,
    place: int,
) -> None:
    folder = parts(tmp_path, *texts)
    with pytest.raises(kind, match=message) as caught:
        rx.diff(folder, whole, keys="ID")
    assert str(caught.value.file).endswith(f"part-{place}.csv")
    assert caught.value.counted_in is None


@pytest.mark.parametrize("delimiter", [";", "|~|", ","])
@pytest.mark.parametrize("first", ["parquet", "csv"])
def test_parts_of_formats_with_other_delimiters_are_refused(
    tmp_path: Path, delimiter: str, first: str
) -> None:
    """Joined, `10042;4,00` would have two fields at its comma: another key."""
    place, (one, two) = parts(tmp_path), ("0", "1") if first == "csv" else ("1", "0")
    rows = [["ID", "PAID"], ["10042", "4.00"], ["10043", "5.10"]]
    text = "".join(f"{delimiter.join(row)}\n" for row in rows)
    if delimiter != ",":
        text = text.replace(".", ",")
    (place / f"{one}.csv").write_text(text)
    columns = {"ID": ["1"], "PAID": ["6,5"]}
    pl.DataFrame(columns).write_parquet(place / f"{two}.parquet")
    other = tmp_path / "other.csv"
    other.write_text('ID,PAID\n1,"6,5"\n10042,4.00\n10043,5.10\n')
    asked: dict[str, Any] = {"delimiter": f"{delimiter}:,", "on_bad_row": "quarantine"}
    if delimiter == ",":
        assert rx.diff(place, other, keys="ID", **asked).agrees
        return
    with pytest.raises(ConfigError, match="several formats: parquet and text") as error:
        rx.diff(place, other, keys="ID", **asked)
    assert error.value.file == str(max(place.iterdir()))


def test_a_quarantined_row_is_listed_with_its_part(tmp_path: Path, whole: Path) -> None:
    folder = parts(tmp_path, "ID,A\n1,x\n", 'ID,A\n2,"y\nz"\n9\n3,w\n')
    found = rx.diff(folder, whole, keys="ID", on_bad_row="quarantine")
    assert (found.old.rows, found.old.rejected) == (4, 1)
    [row] = found.rejects().rows(named=True)
    assert (row["line"], row["byte_offset"]) == (4, 13)
    assert row["reason"].endswith("part-1.csv: a row of 1 field under a header of 2")


def test_a_quarantined_row_of_a_translated_part_is_placed_as_delivered(
    tmp_path: Path, reader: str
) -> None:
    texts = (
        "ID||A\n1||x\n2||y\n3||z||z\n4||w||w\n",
        "ID||A\n5||x\n",
        "ID||A\n6||x\n\n7\n8||v\n",
    )
    folder = parts(tmp_path, *texts)
    new = tmp_path / "new.csv"
    new.write_text(texts[1])
    found = rx.diff(folder, new, keys="ID", on_bad_row="quarantine", delimiter="||")
    places = [
        (row["reason"].partition(".csv: ")[0][-1], row["line"], row["byte_offset"])
        for row in found.rejects().rows(named=True)
    ]
    assert places == [("0", 4, 16), ("0", 5, 24), ("2", 3, 11), ("2", 4, 12)], reader


def test_an_empty_set_is_refused(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given_as in (tmp_path / "empty", tmp_path / "*.txt"):
        with pytest.raises(ConfigError, match=r"has no file|no file has such a name"):
            rx.diff(given_as, whole, keys="ID")


def test_a_name_with_brackets_is_a_file(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "claims[1].csv"
    path.write_text(WHOLE)
    assert rx.diff(path, whole, keys="ID").agrees


def test_keys_and_explain_read_parts(tmp_path: Path, whole: Path) -> None:
    parts(tmp_path, "ID,A\n1,x\n", "ID,A\n2,y\n")
    for command in (("keys",), ("explain",)):
        values = ["2", "-k", "ID"] if command == ("explain",) else []
        ended = recon(*command, "in", whole.name, *values, cwd=tmp_path)
        assert "Traceback" not in ended.stderr
        assert ended.returncode in {0, 1}, ended.stderr


CELLS = st.text('ab,"\n \u00e4', max_size=3)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=8, unique=True),
    cuts=st.lists(st.integers(0, 8), max_size=3),
    ends=st.booleans(),
)
def test_a_table_is_the_same_however_it_is_cut(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    cuts: list[int],
    ends: bool,  # noqa: FBT001
) -> None:
    def write(path: Path, chosen: list[tuple[str, str]]) -> None:
        lines = ["ID,A,B"]
        for row in chosen:
            cells = (cell.replace('"', '""') for cell in row)
            lines.append(f"{rows.index(row)}," + ",".join(f'"{c}"' for c in cells))
        path.write_bytes(("\n".join(lines) + "\n" * ends).encode())

    place = tmp_path / f"p{hash((tuple(rows), tuple(cuts), ends))}"
    if place.exists():
        return
    place.mkdir()
    write(tmp_path / "w.csv", rows)
    edges = [0, *sorted(cuts), len(rows)]
    for at, (start, stop) in enumerate(itertools.pairwise(edges)):
        write(place / f"{at:03}.csv", rows[start:stop])
    found = rx.diff(place, tmp_path / "w.csv", keys="ID")
    assert found.agrees
    assert found.old.rows == len(rows)
