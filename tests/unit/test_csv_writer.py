"""Every CSV file that is written is accepted by the own reader, and says the same."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recon_cli import parsing
from recon_cli.app import app
from recon_cli.render import show_rows as print_rows
from support.csv_files import open_csv
from support.reading import cells
from support.strategies import CELLS, FEWER, spelled
from typer.testing import CliRunner

from recon_engine import command_line, diff
from recon_engine.characters import is_seen
from recon_engine.config_file import load_configuration
from recon_engine.errors import ConfigError
from recon_engine.options import OPTIONS, Format
from recon_engine.report import artifacts
from recon_engine.report.csv_writer import format_record, write_frame


if TYPE_CHECKING:
    from collections.abc import Sequence

# What writers quote in other ways than readers need it.
AWKWARD: Final = st.one_of(
    CELLS, st.sampled_from(["\r", "a\rb", "\ufeff", "\ufeffx", "\r\r", "\n", '\r"'])
)
NAMES: Final = ["id", "\ufeffid", "a\rb", 'q"n', "v,w", " v ", "é"]


def read_back(data: bytes) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        file = open_csv(path)
        return file.columns, cells(file)


@st.composite
def awkward_tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, ...]]]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    row = st.tuples(*[AWKWARD] * len(names))
    return names, draw(st.lists(row, max_size=5))


@given(awkward_tables())
def test_a_record_and_a_frame_are_read_back_as_they_were(
    table: tuple[list[str], list[tuple[str, ...]]],
) -> None:
    names, rows = table
    text = "".join(map(format_record, [names, *rows]))
    target = io.BytesIO()
    schema = dict.fromkeys(names, pl.String)
    write_frame(pl.DataFrame(rows, schema=schema, orient="row"), target)
    for data in (text.encode(), target.getvalue()):
        assert read_back(data) == (tuple(names), rows)


@FEWER
@given(st.lists(st.tuples(AWKWARD, AWKWARD, AWKWARD), min_size=1, max_size=6))
def test_every_artifact_is_accepted_by_the_own_reader(
    rows: list[tuple[str, str, str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side, at in (("old", 1), ("new", 2)):
            lines = [("\ufeffid", "v\rw"), *((row[0], row[at]) for row in rows)]
            # One row of each side is on no other.
            lines.append((f"only in {side}\r", f"\r{side}"))
            text = "\n".join(
                ",".join(spelled(cell, quote=True) for cell in line) for line in lines
            )
            (folder / f"{side}.csv").write_bytes(text.encode() + b"\nshort\n")
        result = diff(
            folder / "old.csv",
            folder / "new.csv",
            keys="\ufeffid",
            on_bad_row="quarantine",
        )
        out = folder / "out"
        out.mkdir()
        written = {each.name: each for each in artifacts.write_artifacts(result, out)}
        assert {"patterns.csv", "segments.csv", "rejects.csv"} <= written.keys()
        for each in written.values():
            if each.path.suffix == ".csv":
                assert open_csv(each.path).rows == each.rows, each.name
        sample = cells(open_csv(out / "mismatch_detail_sample.csv"))
        assert [row[0] for row in sample] == [row.key_text for row in result.sample]
        missing = cells(open_csv(out / "missing.csv"))
        assert missing == result.missing().rows()


@pytest.mark.parametrize("value", ["a\rb", "\r", 'q"\r', "a,b", "x"])
def test_what_commands_print_as_csv_is_accepted_too(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_rows(("name", "value"), [("a", value), ("b", None)], Format.TABLE)
    printed = capsys.readouterr().out
    assert read_back(printed.encode()) == (
        ("name", "value"),
        [("a", value), ("b", "")],
    )


def test_files_of_o_are_accepted_too(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes(b'"\xef\xbb\xbfid",v\n1,"a\rb"\n2\n')
    (tmp_path / "new.csv").write_bytes(b'"\xef\xbb\xbfid",v\n1,c\n')
    ended = CliRunner().invoke(
        app,
        [
            "diff",
            *(str(tmp_path / name) for name in ("old.csv", "new.csv")),
            *("--key", "\ufeffid", "--on-bad-row", "quarantine"),
            *("-o", str(tmp_path / "cells.csv")),
            *("--rejects", str(tmp_path / "rejects.csv")),
        ],
    )
    assert ended.exit_code == 1
    assert cells(open_csv(tmp_path / "cells.csv")) == [("1", "v", "a\rb", "c", "text")]
    assert open_csv(tmp_path / "rejects.csv").rows == 1


def test_plain_records_are_what_python_writes() -> None:
    rows: list[Sequence[object]] = [("a", 1, 0.5, None, True), ("",), ("x\ny", 'q"')]
    target = io.StringIO(newline="")
    csv.writer(target, lineterminator="\n").writerows(rows)
    assert "".join(map(format_record, rows)) == target.getvalue()


# Blanks around names in lists are no part of them, unless they are in quotes.
LISTS: Final = {
    "ID, A": ("ID", "A"),
    " ID ,A ": ("ID", "A"),
    "ID,,A,": ("ID", "A"),
    '" ID", A': (" ID", "A"),
    '"a,b" , "q""n"': ("a,b", 'q"n'),
    'q"n,x': ('q"n', "x"),
    "\tID\n": ("ID",),
}


@pytest.mark.parametrize("text", LISTS)
def test_blanks_around_names_are_trimmed_in_flags_and_in_the_environment(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parsing.parse_values(OPTIONS["keys"], [text]) == LISTS[text]
    monkeypatch.setenv("RECON_KEYS", text)
    assert parsing.parse_values(OPTIONS["keys"], None) == LISTS[text]


def test_blanks_around_names_are_trimmed_in_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = {"A": "B", " C": "D,E"}
    assert parsing.parse_values(OPTIONS["map"], [" A = B ", '" C" = "D,E"']) == wanted
    monkeypatch.setenv("RECON_MAP", ' A = B , " C"="D,E" ')
    assert parsing.parse_values(OPTIONS["map"], None) == wanted
    assert parsing.parse_values(OPTIONS["map"], ["A=B", '" C"=D']) == {
        "A": "B",
        " C": "D",
    }
    assert parsing.parse_values(OPTIONS["masks"], [" A = hmac "]) == {"A": "hmac"}
    assert parsing.parse_values(
        OPTIONS["rules"], [" A = trim ", '" B"=lstrip0'], {}
    ) == {
        "A": ("trim",),
        " B": ("lstrip0",),
    }


@given(st.lists(st.text(st.sampled_from('a ,="\r\n\t'), min_size=1), min_size=1))
def test_a_name_that_a_flag_has_written_is_read_as_it_is(names: list[str]) -> None:
    for delimiter in (",", "="):
        line = delimiter.join(
            command_line.quote_name(name, delimiter) for name in names
        )
        assert command_line.split_names(line, delimiter) == names


def test_no_python_decides_what_is_quoted() -> None:
    # csv.writer leaves it bare before 3.13.
    assert format_record(["a\rb"]) == '"a\rb"\n'


def test_blanks_around_names_are_trimmed_in_files(tmp_path: Path) -> None:
    path = tmp_path / "recon.toml"
    path.write_text(
        'keys = ["ID ", \'" A"\']\nignore = " X "\n[map]\n" B " = " C"\n'
        '[rules]\n" B " = "trim"\n[masks]\n"B " = "hmac"\n'
    )
    found = load_configuration(path).settings
    assert (found["keys"], found["ignore"]) == (("ID", " A"), ("X",))
    assert found["map"] == {"B": "C"}
    assert (found["rules"], found["masks"]) == ({"B": ("trim",)}, {"B": "hmac"})
    path.write_text('[rules]\n"B" = "trim"\n"B " = "lstrip0"\n')
    with pytest.raises(ConfigError, match="differ only in the spaces"):
        load_configuration(path)


@given(st.lists(st.sampled_from(["n", "n_2", "n_3"]), max_size=6), st.integers(0, 2))
def test_objects_have_a_value_for_each_column(names: list[str], rows: int) -> None:
    """Columns of one name are numbered, and a name that is the only one stays."""
    table = [tuple(range(at, at + len(names))) for at in range(rows)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        print_rows(names, table, Format.JSON)
    objects = json.loads(said.getvalue())
    assert [tuple(each.values()) for each in objects] == table
    for each in objects:
        for name, key in zip(names, each, strict=True):
            assert key == name if names.count(name) == 1 else key.startswith(name)


@given(st.lists(st.tuples(AWKWARD, AWKWARD), max_size=5))
def test_a_table_in_markdown_has_one_line_and_two_cells_for_each_row(
    rows: list[tuple[str, str]],
) -> None:
    rows = [*rows, ("\x1b[31mred\r", r"a\|b"), ("a|b", "c\nd")]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        print_rows(("x|y", "z\x1b"), rows, Format.MARKDOWN)
    lines = said.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(is_seen(c) for line in lines for c in line)
    for line in lines:
        # A backslash and what follows it is one character.
        bare = re.sub(r"\\.", "", line)
        assert bare.count("|") == 3
