"""What a notebook sees: names, texts, frames, typed columns, and errors with words."""

from __future__ import annotations

import datetime as dt
import html
import inspect
import io
import itertools
import pickle
import re
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from rich.console import Console
from support.strategies import Pair, pairs

import recon_engine as rx
from recon_engine.errors import ConfigError, KeyMissing
from recon_engine.inputs.frames import import_frame
from recon_engine.options import SIDED, Option
from recon_engine.report import result_page


EXAMPLE = Path(__file__).parents[2] / "docs" / "example"

OLD = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "4"],
        "LINE": ["1", "1", "1", "1"],
        "PAID": ["10.00", "20.00", "30.00", "40"],
        "DRG": ["033", "044", "055", "<b>"],
    }
)
NEW = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "5"],
        "LINE": ["1", "1", "1", "1"],
        "PAID": ["10", "20.00", "31.00", "40"],
        "DRG": ["33", "044", "<i>", "<b>"],
    }
)
KEYS = ["ID", "LINE"]
NEW_YEAR = dt.datetime(2025, 1, 1)  # noqa: DTZ001 - a column without a time zone


@pytest.fixture(scope="module")
def result() -> rx.Reconciliation:
    return rx.diff(OLD, NEW, keys=KEYS)


def test_the_package_lists_its_public_names_only() -> None:
    assert dir(rx) == sorted(rx.__all__)


def test_a_traceback_of_an_error_has_its_cause_and_remedy() -> None:
    """A notebook shows nothing else of an exception."""
    with pytest.raises(rx.ReconError) as caught:
        rx.diff(OLD, NEW)
    shown = "".join(traceback.format_exception_only(caught.value)).splitlines()
    assert shown == [
        "recon_engine.errors.ConfigError: no key column is named",
        f"  why: {caught.value.why}",
        "  help: add keys=['ID']",
    ]
    # So has what `print` shows of it.
    assert str(caught.value).splitlines() == [caught.value.message, *shown[1:]]


def test_a_result_prints_as_the_terminal_table(result: rx.Reconciliation) -> None:
    lines = str(result).splitlines()
    assert lines[0] == "✗ DIFFER  2 of 3 matched rows differ, 1 missing, 1 extra"
    assert re.fullmatch(
        r"PAID +2 +66.67  1 number, 1 number format  10.00 → 10", lines[5]
    )
    assert any(line.startswith("help: ") for line in lines)
    assert lines[-1].startswith(
        "in Python: diff(old, new, **(settings | d.suggested())) applies"
    )
    assert "\x1b" not in str(result)
    assert repr(result) == (
        "<Reconciliation DIFFER: 2 of 3 matched rows differ, 1 missing, 1 extra>"
    )


def test_a_notebook_shows_hints_and_examples(result: rx.Reconciliation) -> None:
    page = result._repr_html_()
    assert "in Python: diff(old, new, **(settings | d.suggested()))" in page
    assert "<code>10.00</code> → <code>10</code>" in page
    assert "rules={&#34;PAID&#34;: &#34;decimal&#34;}</code> removes 1" in page
    assert "Not explained by any hint: " in page
    assert "<i>" not in page
    assert "&lt;i&gt;" in rx.diff(OLD, NEW.filter(ID="3"), keys=KEYS)._repr_html_()
    masked = rx.diff(OLD, NEW, keys=KEYS, masks={"*": "redact"})._repr_html_()
    assert "10.00" not in masked


def test_mismatches_have_the_key_columns_by_name(result: rx.Reconciliation) -> None:
    found = result.mismatches()
    assert found.columns == ["ID", "LINE", "column", "old", "new", "kind"]
    assert found.rows() == [
        ("1", "1", "DRG", "033", "33", "leading_zeros"),
        ("1", "1", "PAID", "10.00", "10", "number_format"),
        ("3", "1", "DRG", "055", "<i>", "text"),
        ("3", "1", "PAID", "30.00", "31.00", "number"),
    ]


def test_rows_are_wide(result: rx.Reconciliation) -> None:
    assert result.rows().to_dicts() == [
        {"ID": "1", "LINE": "1", "PAID_old": "10.00", "PAID_new": "10",
         "DRG_old": "033", "DRG_new": "33"},
        {"ID": "3", "LINE": "1", "PAID_old": "30.00", "PAID_new": "31.00",
         "DRG_old": "055", "DRG_new": "<i>"},
    ]  # fmt: skip
    assert rx.diff(OLD, OLD, keys=KEYS).rows().shape == (0, 2)


def test_a_key_whose_name_is_taken_keeps_its_values() -> None:
    old = pl.DataFrame({"column": ["a"], "A_old": ["b"], "A": ["1"]})
    found = rx.diff(old, old.with_columns(A=pl.lit("2")), keys=["column", "A_old"])
    assert found.mismatches().to_dicts() == [
        {"key.column": "a", "A_old": "b", "column": "A", "old": "1", "new": "2",
         "kind": "number"}
    ]  # fmt: skip
    assert found.rows().to_dicts() == [
        {"column": "a", "key.A_old": "b", "A_old": "1", "A_new": "2"}
    ]


@given(pair=pairs())
def test_rows_are_the_paired_rows_of_mismatches(pair: Pair) -> None:
    """Cells of a repeated key stay with their own pair of rows."""
    old, new = (
        pl.DataFrame(side, dict.fromkeys(pair.names, pl.String), orient="row")
        for side in (pair.old, pair.new)
    )
    d = rx.diff(old, new, keys=pair.keys)
    wide, long = d.rows(), d.mismatches()
    assert wide.height == d.counts.mismatched_rows
    width = len(d.keys)
    cells = [
        (*row[:width], name.removesuffix("_old"), row[at], row[at + 1])
        for row in wide.iter_rows()
        for at, name in enumerate(wide.columns)
        if at >= width and (at - width) % 2 == 0 and row[at] is not None
    ]
    assert sorted(cells) == sorted(row[:-1] for row in long.iter_rows())
    olds = [dict(zip(pair.names, row, strict=True)) for row in pair.old]
    for row in wide.rows():
        values = dict(zip(wide.columns[width:], row[width:], strict=True))
        changed = {
            name.removesuffix("_old"): value
            for name, value in values.items()
            if name.endswith("_old") and value is not None
        }
        assert any(
            all(each[name] == value for name, value in changed.items()) for each in olds
        )


@pytest.mark.parametrize(
    ("arguments", "message", "help_text"),
    [
        ({"on": "ID"}, "diff has no argument on. Did you mean keys?", "write keys=…"),
        (
            {"config": "recon.toml"},
            "diff has no argument config",
            (
                "recon_engine.load_config(path) returns the arguments of a"
                " configuration file: diff(old, new, **load_config(path))"
            ),
        ),
        ({"key": "ID"}, "diff has no argument key. Did you mean keys?", "write keys=…"),
        (
            {"keys": "ID", "map": {}},
            "diff has no argument map. Did you mean renames?",
            "write renames=…",
        ),
        (
            {"keys": "ID", "delimeter": ";"},
            "diff has no argument delimeter. Did you mean delimiter?",
            "help(recon_engine.diff) lists them",
        ),
        ({}, "no key column is named", "add keys=['ID']"),
    ],
)
def test_a_wrong_argument_is_an_error_with_the_right_word(
    arguments: dict[str, Any], message: str, help_text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        rx.diff(OLD, NEW, **arguments)
    assert (caught.value.message, caught.value.help) == (message, help_text)


def test_an_index_of_pandas_is_no_key() -> None:
    frame = pd.DataFrame({"V": ["1"]}, index=pd.Index(["SECRET"], name="ID"))
    with pytest.raises(ConfigError) as caught:
        rx.diff(frame, frame, keys=frame.index)
    assert caught.value.message == "keys is a Index, not the names of columns"
    assert "SECRET" not in f"{caught.value.message} {caught.value.help}"
    old = OLD.with_columns(index="ID")
    for name in ("ID", "index"):
        with pytest.raises(ConfigError) as caught:
            rx.diff(old, frame, keys=name)
        if name == "ID":
            assert (
                caught.value.message == "ID is the index of the new frame, not a column"
            )
        else:
            assert caught.value.message.startswith("index is the index of the new")
        assert caught.value.help == "pass new.reset_index()"
    assert rx.diff(frame.reset_index(), frame.reset_index(), keys="ID").agrees


TYPED = {
    "boolean": ([True, False], ["true", "false"]),
    "integer": ([1, -2], ["1", "-2"]),
    "float": ([1.0, 0.1], ["1.0", "0.1"]),
    "decimal": ([Decimal("1.10"), Decimal("2.00")], ["1.10", "2.00"]),
    "date": ([dt.date(2025, 1, 1)] * 2, ["2025-01-01"] * 2),
    "datetime": (
        [NEW_YEAR, NEW_YEAR + dt.timedelta(seconds=3723, microseconds=4500)],
        ["2025-01-01 00:00:00", "2025-01-01 01:02:03.004500"],
    ),
    "datetime with a time zone": (
        [dt.datetime(2025, 1, 1, tzinfo=dt.UTC)] * 2,
        ["2025-01-01 00:00:00+00:00"] * 2,
    ),
    "time": ([dt.time(1, 2, 3), dt.time(1, 2, 3, 4)], ["01:02:03", "01:02:03.000004"]),
    "duration": ([dt.timedelta(hours=25)] * 2, ["P1DT1H"] * 2),
    "null": ([None, None], ["", ""]),
}


@pytest.mark.parametrize("kind", TYPED)
def test_typed_columns_become_text_as_documented(kind: str) -> None:
    values, texts = TYPED[kind]
    for frame in (pl.DataFrame({"v": values}), pa.table({"v": values})):
        assert import_frame(frame, "x").data["v"].to_list() == texts
    nanoseconds = pl.DataFrame({"v": values})
    if nanoseconds["v"].dtype == pl.Datetime:
        nanoseconds = nanoseconds.with_columns(pl.col("v").dt.cast_time_unit("ns"))
        assert import_frame(nanoseconds, "x").data["v"].to_list() == texts


def test_the_table_of_the_docs_has_these_texts() -> None:
    page = Path(__file__).parents[2] / "docs" / "python.md"
    rows = re.findall(r"^\| ([a-z ]+) \| (.*) \|$", page.read_text(), re.MULTILINE)
    shown = {kind: re.findall("`([^`]+)`", text) for kind, text in rows}
    for kind, (_, texts) in TYPED.items():
        assert [*dict.fromkeys(filter(None, texts))][: len(shown[kind])] == shown[kind]


def test_typed_columns_beside_text_get_hints() -> None:
    old = pl.DataFrame({"ID": [1, 2], "B": [True, False], "T": [NEW_YEAR] * 2})
    new = pl.DataFrame(
        {"ID": ["1", "2"], "B": ["True", "False"], "T": ["2025-01-01"] * 2}
    )
    d = rx.diff(old, new, keys="ID")
    assert {h.column: (h.flag, h.count) for h in d.hints} == {
        "B": ("--rule B=casefold", 2),
        "T": ("--rule 'T=date(%Y-%m-%d 00:00:00|%Y-%m-%d)'", 2),
    }


SOURCES = ("polars", "lazy", "pandas", "pyarrow", "duckdb", "path")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [*itertools.product(SOURCES, SOURCES)])
def test_tables_of_all_kinds_are_compared_in_any_mix(
    first: str, second: str, tmp_path: Any
) -> None:
    connection = duckdb.connect()

    def source(kind: str, frame: pl.DataFrame, name: str) -> object:
        path = tmp_path / f"{name}.csv"
        frame.write_csv(path)
        return {
            "polars": frame,
            "lazy": frame.lazy(),
            "pandas": pd.DataFrame(frame.to_dicts()),
            "pyarrow": frame.to_arrow(),
            "duckdb": connection.sql(
                f"SELECT * FROM read_csv('{path}', all_varchar => true)"
            ),
            "path": path,
        }[kind]

    d = rx.diff(source(first, OLD, "old"), source(second, NEW, "new"), keys=KEYS)
    n = d.counts
    assert (n.matched, n.missing, n.extra, n.mismatched_cells) == (3, 1, 1, 4)
    assert d.mismatches().to_pandas().shape == (4, 6)


# Two exports that write numbers, codes and names otherwise.
GERMAN = pl.DataFrame(
    {
        "NR": [f"{n:04}" for n in range(1, 91)],
        "BETRAG": [f"{n}.000,50" for n in range(1, 91)],
        "STATUS": ["A", "P", "D"] * 30,
    }
)
ENGLISH = pl.DataFrame(
    {
        "id": [str(n) for n in range(1, 91)],
        "paid": [f"{n}000.50" for n in range(1, 91)],
        "status": ["ACTIVE", "PENDING", "DENIED"] * 30,
    }
)
RENAMES = {"NR": "id", "BETRAG": "paid", "STATUS": "status"}


def compare_german(**more: Any) -> rx.Reconciliation:
    settings: dict[str, Any] = {"keys": "NR", "renames": RENAMES} | more
    return rx.diff(GERMAN, ENGLISH, **settings)


def test_what_is_suggested_is_the_arguments_of_all_hints() -> None:
    """Rules of one side too, each with those that the comparison already has."""
    first = compare_german()
    keyed = compare_german(**first.suggested())
    found = keyed.suggested()
    assert found["rules"] == {"NR": ["lstrip0"]}
    assert found["old_rules"] == {
        "BETRAG": ["decimal(comma)"],
        "STATUS": ["map(A=ACTIVE,D=DENIED,P=PENDING)"],
    }
    assert found["renames"] == RENAMES
    last = rx.diff(GERMAN, ENGLISH, keys="NR", **found)
    assert last.agrees, str(last)
    assert last.suggested() == {}
    # Beside settings of a file, of which some have the same names.
    rules = {"NR": ("lstrip0",)}
    settings: dict[str, Any] = {"keys": "NR", "rules": rules, "renames": RENAMES}
    beside = rx.diff(GERMAN, ENGLISH, **settings)
    assert rx.diff(GERMAN, ENGLISH, **(settings | beside.suggested())).agrees


def test_suggested_rules_have_those_of_one_side() -> None:
    d = compare_german(rules={"NR": "lstrip0"})
    rules = d.suggested_rules()
    assert rules["BETRAG"] == {"old": ["decimal(comma)"]}
    assert compare_german(rules=rules).agrees
    # A rule that is given in both ways is one rule.
    again = compare_german(rules=rules, old_rules={"BETRAG": "decimal(comma)"})
    assert again.agrees
    assert again.suggested_rules() == rules


def test_every_printed_hint_is_applied_as_it_says() -> None:
    """Each argument is Python, and `d.suggested()` has all of them."""
    d = compare_german(rules={"NR": "lstrip0"})
    printed = str(d)
    shown = re.findall(r"(old_rules=\{.*?\}) removes ([0-9]+)", printed)
    assert len(shown) == 2
    for argument, count in shown:
        arguments = eval(f"dict({argument})")  # noqa: S307 - of this test's own data
        after = compare_german(rules={"NR": "lstrip0"}, **arguments)
        removed = d.counts.mismatched_cells - after.counts.mismatched_cells
        assert removed == int(count)
    assert "--" not in printed


def test_a_result_is_one_text_in_a_notebook(
    result: rx.Reconciliation, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Rich asks for the shell of a kernel, and would display each line by itself."""
    plain = str(result)

    class ZMQInteractiveShell:
        pass

    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    assert Console(file=io.StringIO()).is_jupyter
    assert str(result) == plain
    assert capsys.readouterr().out == ""


def test_long_lines_of_a_result_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = str(compare_german(rules={"NR": "lstrip0"})).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("help: STATUS"))
    assert lines[at + 1] == "      one code of NEW;"
    assert lines[at + 2].startswith("      old_rules={")


def test_a_page_that_is_written_is_not_returned(
    result: rx.Reconciliation, tmp_path: Path
) -> None:
    """A notebook would show its source as the value of the cell."""
    path = tmp_path / "report.html"
    assert result.to_html(path, title="claims <1>") is None
    page = path.read_text(encoding="utf-8")
    assert "<h1>claims &lt;1&gt;</h1>" in page
    assert result.to_html(title="claims <1>") == page


def test_a_page_of_python_names_arguments() -> None:
    d = compare_german(rules={"NR": "lstrip0"}, match_names="casefold")
    page = html.unescape(d.to_html())
    assert 'old_rules={"BETRAG": "decimal(comma)"}' in page
    assert "--old-rule" not in page
    # That of the command line has flags.
    facts = result_page.PageFacts(timed=True)
    assert "--old-rule" in result_page.render_result(d, facts)


def test_a_result_lists_its_public_names(result: rx.Reconciliation) -> None:
    names = [name for name in dir(result) if not name.startswith("_")]
    assert len(names) <= 42
    assert all(hasattr(result, name) for name in names)
    assert {"mismatches", "missing", "suggested", "to_html", "columns"} <= {*names}
    assert {"constants", "draft_suppressions"} <= {*names}
    assert "frames" not in names
    summary = inspect.getdoc(rx.Reconciliation) or ""
    assert all(
        f"`{name}" in summary
        for name in ("agrees", "mismatches()", "missing()", "suggested()", "to_html(")
    )


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("save", 'Use to_html("report.html").'),
        ("to_excel", "recon diff -o report.xlsx"),
        ("to_pandas", "Use mismatches().to_pandas()"),
        ("explain", 'Use rows(context="all")'),
        ("only_in_old", "Use drift.only_in_old"),
        ("renames", "Use new_names"),
        ("to_toml", "Use draft(old, new).save()"),
        ("mismatch", "Did you mean mismatches?"),
        ("nothing_like_it", "dir(d) lists all."),
    ],
)
def test_an_attribute_that_is_not_there_names_the_right_one(
    result: rx.Reconciliation, name: str, advice: str
) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(result, name)
    assert advice in str(caught.value)
    copy = pickle.loads(pickle.dumps(result))  # noqa: S301 - made here
    assert repr(copy) == repr(result)


def test_columns_have_the_names_of_the_printed_table(
    result: rx.Reconciliation,
) -> None:
    assert result.columns["column"].equals(result.columns["name"])
    assert result.columns["cells"].equals(result.columns["mismatched"])
    assert result.columns.columns[:3] == ["name", "mismatched", "mismatch_rate"]
    rates = result.columns["mismatched"] / result.columns["compared"]
    assert result.columns["mismatch_rate"].equals(rates)
    assert 0 < rates.max() <= 1  # type: ignore[operator]
    nothing = pl.DataFrame(schema={"ID": pl.String, "A": pl.String})
    assert rx.diff(nothing, nothing, keys="ID").columns["mismatch_rate"].to_list() == [
        0
    ]


def test_a_document_has_plain_values_only(result: rx.Reconciliation) -> None:
    def types_of(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*map(types_of, [*value, *value.values()]))
        if isinstance(value, list | tuple):
            return set().union(*map(types_of, value))
        return {type(value)}

    paths = rx.diff(EXAMPLE / "old.csv", EXAMPLE / "new.csv", keys=["CLM_ID"])
    for each in (result, paths):
        assert types_of(each.to_dict()) <= {str, int, float, bool, type(None)}


def test_markdown_of_python_has_neither_flags_nor_codes() -> None:
    text = compare_german(rules={"NR": "lstrip0"}).to_markdown()
    assert "`**d.suggested()` removes 90" in text
    assert "map(" not in text
    assert "ACTIVE" not in text
    assert "--" not in text.replace("|---|---:|---|", "")


def test_a_pair_is_text_for_each_file(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes("ID;CITY\n1;Köln\n".encode("cp1252"))
    new.write_bytes("ID,CITY\n1,Köln\n".encode())
    for delimiter, encoding in (
        ((";", ","), ("cp1252", "utf-8")),
        (";:,", "cp1252:utf-8"),
    ):
        d = rx.diff(old, new, keys="ID", delimiter=delimiter, encoding=encoding)
        assert d.agrees
    old.write_text("ID\tCITY\n1\tUlm\n")
    new.write_text("ID:CITY\n1:Ulm\n")
    assert rx.diff(old, new, keys="ID", delimiter=["\t", ":"]).agrees


def test_each_form_of_a_result_names_the_renamed_columns() -> None:
    old = pl.DataFrame({"ID": ["1"], "Paid": ["2"], "A\n<b>": ["3"]})
    new = old.rename({"ID": "ID2", "Paid": "PAID", "A\n<b>": "B<i>"})
    named = {"ID": "ID2", "A\n<b>": "B<i>"}
    d = rx.diff(old, new, keys="ID", renames=named, match_names="casefold")
    assert d.mapped_names == named
    assert d.new_names == named | {"Paid": "PAID"}
    assert "new_names" in dir(d)
    assert d.to_dict()["renames"] == [[*pair] for pair in named.items()]
    line = r"renamed: ID is ID2 in NEW · A\n<b> is B<i> in NEW"
    assert f"  {line}\n" in str(d)
    shown = line.replace("<", "&lt;").replace(">", "&gt;")
    assert shown in d._repr_html_()
    assert shown in d.to_html()
    assert line.replace("<", r"\<").replace("\\n", "\\\\n") in d.to_markdown()

    names = [f"C{at}" for at in range(12)]
    wide = pl.DataFrame([pl.Series(name, ["1"]) for name in names])
    theirs = {name: f"{name}x" for name in names}
    d = rx.diff(wide, wide.rename(theirs), keys="C0", renames=theirs)
    [line] = d.renaming()
    assert line.endswith(" · C9 is C9x in NEW · … and 2 more")
    plain = rx.diff(wide, wide, keys="C0")
    assert plain.renaming() == ()
    assert "renames" not in plain.to_dict()


def test_a_page_says_of_which_side_a_hash_is(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("ID\n1\n")
    new.write_text("ID\n1\n", encoding="utf-16")
    arguments: dict[str, Any] = {"keys": "ID", "encoding": ("utf-8", "utf-16")}
    # Of a file that is decoded it is always known.
    for sha256, sides in ((False, ["NEW"]), (True, ["OLD", "NEW"])):
        d = rx.diff(old, new, sha256=sha256, **arguments)
        assert re.findall(r"<dt>sha256(.*?)</dt>", d.to_html()) == [
            f" of {side}" for side in sides
        ]


def test_settings_of_a_file_are_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "recon.toml"
    path.write_text('keys = "ID"\non_schema_drift = "compare"\n[old]\nquote = "none"\n')
    found = rx.load_config(path)
    # In the form of a draft, without what the file does not set.
    assert found == {"keys": ["ID"], "on_schema_drift": "compare", "old_quote": "none"}
    assert {type(value) for value in found.values()} == {list, str}


@pytest.mark.parametrize(
    ("arguments", "message", "help_text"),
    [
        (
            {"old_delimiter": ";"},
            "diff has no argument old_delimiter: delimiter is for both files",
            'write delimiter=";:," or delimiter=(";", ","), of OLD and of NEW',
        ),
        ({"delimiter": (";",)}, "delimiter has 1 items", "of OLD and of NEW"),
        ({"encoding": 1252}, "encoding is a int", 'write encoding="text"'),
        (
            {"skip_lines": (1, 0)},
            "skip_lines is a tuple",
            (
                "write skip_lines=a whole number; write old_skip_lines=… and"
                " new_skip_lines=… for one file each"
            ),
        ),
        ({"no_header": "yes"}, "no_header is a str", "write no_header=True"),
        ({"rules": ["trim"]}, "rules is a list", 'write rules={"COLUMN": "trim"}'),
        ({"old_rules": {"A": 1}}, "old_rules is a dict", '{"COLUMN": "trim"}'),
        ({"masks": {"A": None}}, "masks is a dict", '{"COLUMN": "redact"}'),
        ({"renames": ["A"]}, "renames is a list", '{"OLD": "NEW"}'),
        ({"detail_limit": "9"}, "detail_limit is a str", "a whole number"),
        (
            {"rules": {"PAID": {"A": "ACTIVE"}}},
            'rules: the mapping of PAID has other keys than "old", "new" and "both"',
            '{"PAID": "map(A=ACTIVE)"}',
        ),
        (
            {"ignore": "PAID,DRG"},
            'ignore="PAID,DRG": no file has that column.',
            "names of several columns are a list: ignore=['PAID', 'DRG']",
        ),
        (
            {"keys": "ID,LINE"},
            "key column ID,LINE is not in OLD.",
            "names of several columns are a list: keys=['ID', 'LINE']",
        ),
        (
            {"rules": {"PAID": "date(dd.mm.yyyy|iso)"}},
            "rule date(dd.mm.yyyy|iso) is malformed",
            "iso (%Y-%m-%d), us (%m/%d/%Y), eu (%d.%m.%Y or %d/%m/%Y)",
        ),
        (
            {"renames": {"amount": "PAID"}},
            'renames={"amount": "PAID"}: OLD has no column amount, and NEW has it',
            'the name in OLD comes first: renames={"PAID": "amount"}',
        ),
    ],
)
def test_a_wrong_value_is_an_error_with_the_right_form(
    arguments: dict[str, Any], message: str, help_text: str
) -> None:
    new = NEW.rename({"PAID": "amount"}) if "renames" in arguments else NEW
    wrong: dict[str, Any] = {"keys": KEYS} | arguments
    with pytest.raises((ConfigError, KeyMissing)) as caught:
        rx.diff(OLD, new, **wrong)
    assert message in caught.value.message
    assert help_text in (caught.value.help or "")


@pytest.mark.parametrize("option", SIDED, ids=lambda each: each.name)
def test_a_sided_argument_of_a_wrong_type_is_a_config_error(option: Option) -> None:
    for side in ("old_", "new_", "" if not option.adds else "old_"):
        for value in (object(), (1, 2), [None]):
            wrong: dict[str, Any] = {f"{side}{option.in_python}": value}
            with pytest.raises(ConfigError) as caught:
                rx.diff(OLD, NEW, keys=KEYS, **wrong)
            assert caught.value.message.startswith(f"{side}{option.in_python} is a ")


def test_the_traceback_of_an_error_is_short() -> None:
    """One frame of the library: a notebook shows the lines around each."""
    with pytest.raises(rx.ReconError) as caught:
        rx.diff(OLD, NEW, keys="MISSING")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert len([each for each in frames if "recon_engine" in each.filename]) == 1
    assert caught.value.__context__ is None
    with pytest.raises(rx.ReconError) as caught:
        rx.load_config("/nowhere/recon.toml")
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert len([each for each in frames if "recon_engine" in each.filename]) == 1


def test_an_error_names_arguments() -> None:
    new = NEW.rename({"PAID": "paid", "DRG": "drg"})
    with pytest.raises(rx.ReconError) as caught:
        rx.diff(OLD, new, keys=KEYS)
    shown = "".join(traceback.format_exception_only(caught.value))
    assert 'renames={"PAID": "paid", "DRG": "drg"}' in shown
    assert 'on_schema_drift="compare"' in shown
    assert "--" not in shown.replace("-->", "")


def test_the_help_of_diff_is_readable_and_lists_all_arguments() -> None:
    shown = str(inspect.signature(rx.diff))
    assert "on_duplicate_keys: 'str' = 'pair'" in shown
    assert "<" not in shown
    summary = inspect.getdoc(rx.diff) or ""
    for option in SIDED:
        name = f"old_{option.in_python}" if option.adds else str(option.in_python)
        assert re.search(rf"\b{name}\b", summary), name


def test_tables_are_ordered_as_documented() -> None:
    old = pl.DataFrame({"ID": ["9", "10", "2", "1"], "V": ["a"] * 4})
    new = pl.DataFrame({"ID": ["2", "1"], "V": ["b"] * 2})
    d = rx.diff(old, new, keys="ID")
    assert d.missing()["ID"].to_list() == ["10", "9"]
    assert d.rows()["ID"].to_list() == d.mismatches()["ID"].to_list() == ["1", "2"]
    assert rx.diff(new, old, keys="ID").extra()["ID"].to_list() == ["10", "9"]


def test_a_mixed_column_of_pandas_is_named_with_its_remedy() -> None:
    frame = pd.DataFrame({"ID": [1, 2], "^X": [1, "secret"], "Y": ["a", 2.5]})
    with pytest.raises(ConfigError) as caught:
        rx.diff(frame, frame, keys="ID")
    error = caught.value
    assert error.message == "column ^X has values of several types, and so have 1 more"
    assert "secret" not in str(error)
    remedy = (error.help or "").removeprefix("make it text: ").partition(";")[0]
    exec(remedy, {"frame": frame})  # noqa: S102 - as the reader does
    frame["Y"] = frame["Y"].astype("string")
    assert rx.diff(frame, frame, keys="ID").agrees


REPEATED = ["ID", "A", "A"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([["1", "secret", "x"]], columns=REPEATED),
        pa.table([pa.array(["secret"])] * 3, names=REPEATED),
    ],
    ids=["pandas", "pyarrow"],
)
def test_a_column_name_that_a_frame_repeats_is_named(frame: Any) -> None:
    with pytest.raises(ConfigError, match=r"column name A: columns 2, 3") as caught:
        rx.diff(frame, frame, keys="ID")
    assert "secret" not in str(caught.value)
