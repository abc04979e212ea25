"""Suppressions as Python callers write them: read, refused, drafted, and saved."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

import recon_engine as rx
from recon_engine.errors import ConfigError, InternalError


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


DAY = dt.date(2100, 3, 31)
SIGNED = {"reason": "known", "owner": "ana", "until": DAY}
OLD = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "4", "5"],
        "PAID": ["10", "20", "30", "40", "50"],
        "NOTE": ["a", "b", "c", "d", ""],
    }
)
NEW = pl.DataFrame(
    {
        "ID": ["1", "2", "3", "4", "6"],
        "PAID": ["11", "20.0", "30", "40", "60"],
        "NOTE": ["a", "x", "y", "d", ""],
    }
)


def compare(suppressions: Any, **settings: Any) -> rx.Reconciliation:
    return rx.diff(OLD, NEW, keys="ID", suppressions=suppressions, **settings)


def of_notes(**facts: Any) -> rx.Suppression:
    return rx.Suppression(**{"what": "column", "column": "NOTE", **SIGNED, **facts})


@pytest.mark.parametrize(
    ("suppressions", "count"),
    [
        (of_notes(), 2),
        ([of_notes()], 2),
        (iter([of_notes()]), 2),
        ({"what": "column", "column": "NOTE", **SIGNED}, 2),
        ([{"what": "column", "column": "NOTE", **SIGNED}], 2),
        (of_notes(what=rx.Suppressible.COLUMN), 2),
        (of_notes(until="2100-03-31"), 2),
        (of_notes(until=dt.datetime(2100, 3, 31, 12)), 2),  # noqa: DTZ001 - as given
        (of_notes(until=pd.Timestamp("2100-03-31", tz="UTC")), 2),
        (of_notes(kind=["text"]), 2),
        (of_notes(kind="text"), 2),
        (of_notes(max=pl.Series([2]).to_numpy()[0]), 2),
        (of_notes(keys="2"), 1),
        (of_notes(keys=["2", "3"]), 2),
        (of_notes(keys=[2, 3]), 2),
        (of_notes(keys=pl.Series(["2", "3"])), 2),
        (of_notes(keys=pl.Series([2, 3])), 2),
        (of_notes(keys=pd.Series([2, 3])), 2),
        (of_notes(keys=pl.Series([2, 3]).to_numpy()), 2),
        (of_notes(keys=[("2",), (3,)]), 2),
        (rx.Suppression(what="missing", **SIGNED), 1),  # type: ignore[arg-type]
    ],
)
def test_what_has_one_meaning_is_read(suppressions: Any, count: int) -> None:
    [found] = compare(suppressions).suppressed
    assert (found.count, found.state) == (count, "active")
    assert found.suppression.until == DAY


def test_no_suppressions_are_none_or_an_empty_list() -> None:
    assert compare(None).suppressed == compare([]).suppressed == ()


@pytest.mark.parametrize(
    ("suppressions", "message", "remedy"),
    [
        ("NOTE", "suppressions is a str", "d.draft_suppressions("),
        (7, "suppressions is a int", "d.draft_suppressions("),
        (["NOTE"], "a suppression is a str", "write suppressions=[Suppression("),
        ([None], "a suppression is a NoneType", "write suppressions=[Suppression("),
        (
            {"what": "column", "column": "NOTE"},
            "no reason and no owner and no until",
            "",
        ),
        (
            {**SIGNED, "what": "column", "colum": "NOTE"},
            "Did you mean column?",
            "fields",
        ),
        (of_notes(what="columns"), "what of a suppression is none of", 'what="column"'),
        (of_notes(what=None), "what of a suppression is none of", 'what="column"'),
        (of_notes(kind="texts"), "texts is no kind of difference", "one of: "),
        (of_notes(kind="texts"), "Did you mean text?", "one of: "),
        (of_notes(kind=["text", "dates"]), "Did you mean date?", "one of: "),
        (of_notes(kind=3), "kind of a suppression is a int", "write kind="),
        (
            of_notes(until="31.03.2100"),
            "until of a suppression is no day",
            "2027-03-31",
        ),
        (of_notes(until=pd.NaT), "until of a suppression is", "2027-03-31"),
        (of_notes(until=None), "until of a suppression is a NoneType", "2027-03-31"),
        (of_notes(until=90), "until of a suppression is a int", "2027-03-31"),
        (of_notes(max="17"), "max of a suppression is a str", "write max=17"),
        (of_notes(max=1.5), "max of a suppression is a float", "write max=17"),
        (of_notes(max=True), "max of a suppression is a bool", "write max=17"),
        (of_notes(reason=None), "reason of a suppression is a NoneType", "reason="),
        (of_notes(owner=["a"]), "owner of a suppression is a list", "owner="),
        (of_notes(column=["NOTE"]), "column of a suppression is a list", "column="),
        (of_notes(old=3), "old of a suppression is a int", "old="),
        (of_notes(keys=2), "keys of a suppression is a int", "to_list()"),
        (of_notes(keys=[2.0]), "a key of a suppression is a float", "to_list()"),
        (of_notes(keys=[None]), "a key of a suppression is a NoneType", "to_list()"),
        (of_notes(keys=[True]), "a key of a suppression is a bool", "to_list()"),
        (of_notes(keys=OLD), "keys of a suppression is a DataFrame", "to_list()"),
        (of_notes(keys=OLD.to_pandas()), "is a DataFrame", "to_list()"),
        (of_notes(column="NOTES"), "Did you mean NOTE?", ""),
    ],
)
def test_another_form_is_refused_with_the_right_one(
    suppressions: Any, message: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compare(suppressions)
    assert not isinstance(caught.value, InternalError)
    assert message in caught.value.message
    assert remedy in (caught.value.help or "")


def test_what_differs_is_accepted_without_counting_it() -> None:
    d = compare(())
    drafted = d.draft_suppressions(
        ["PAID", "NOTE", "missing"], reason="known", owner="ana", until="2100-03-31"
    )
    assert drafted == [
        of_notes(
            what=rx.Suppressible.COLUMN,
            column="PAID",
            kind=("number_format", "number"),
            max=2,
        ),
        of_notes(what=rx.Suppressible.COLUMN, kind="text", max=2),
        of_notes(what=rx.Suppressible.MISSING, column=None, max=1),
    ]
    accepted = compare(drafted)
    assert not accepted.passes
    # The column PAID of this row is open on neither side: nothing is left to accept.
    assert accepted.draft_suppressions("PAID", reason="r", owner="o") == []
    days = {dt.date.today()}  # noqa: DTZ011 - users are in one place
    [extra] = accepted.draft_suppressions("extra", reason="r", owner="o")
    days.add(dt.date.today())  # noqa: DTZ011
    assert extra.until - dt.timedelta(90) in days
    assert compare([*drafted, extra]).passes
    with pytest.raises(ConfigError, match=r"Did you mean NOTE\?"):
        d.draft_suppressions("NOTES", reason="r", owner="o")


def test_a_draft_needs_a_signature_to_accept_anything() -> None:
    drafted = compare(()).draft_suppressions("NOTE", reason=" ", owner="ana")
    with pytest.raises(ConfigError, match="no reason or no owner"):
        compare(drafted)


def test_cells_say_which_of_them_are_accepted() -> None:
    assert "accepted" not in compare(()).mismatches().columns
    cells = compare([of_notes(keys=["2"])]).mismatches()
    assert cells.columns == ["ID", "column", "old", "new", "kind", "accepted"]
    assert cells.select("ID", "column", "accepted").rows() == [
        ("1", "PAID", ""),
        ("2", "NOTE", "yes"),
        ("2", "PAID", ""),
        ("3", "NOTE", ""),
    ]


def test_a_key_called_accepted_keeps_its_values() -> None:
    old, new = (each.rename({"ID": "accepted"}) for each in (OLD, NEW))
    d = rx.diff(old, new, keys="accepted", suppressions=[of_notes()])
    cells = d.mismatches()
    assert cells.columns[0] == "key.accepted"
    assert cells["accepted"].to_list() == ["", "yes", "", "yes"]


def test_a_notebook_names_columns_of_one_side_causes_and_what_is_accepted() -> None:
    plus = OLD.with_columns(PAID=pl.Series(["11", "21", "31", "41", "51"]))
    old = OLD.with_columns(UNITS=pl.lit("1"), NOTE=pl.lit("<i>"))
    d = rx.diff(
        old, plus, keys="ID", on_schema_drift="compare", suppressions=[of_notes()]
    )
    page = d._repr_html_()
    assert "<p>not compared, only in OLD: UNITS</p>" in page
    assert "<p>change: PAID: 5 of 5 cells: new = old + 1</p>" in page
    assert "NOTE: 5 cells found, until 2100-03-31: known (ana)</p>" in page
    assert "<i>" not in page


def make_large(frame: pl.DataFrame) -> pl.DataFrame:
    more = [(str(n), str(n), f"n{n % 9}") for n in range(10, 200)]
    return frame.vstack(pl.DataFrame(more, frame.schema, orient="row"))


@pytest.mark.parametrize("name", ["recon.toml", "pyproject.toml"])
def test_what_is_accepted_is_saved_and_kept(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    pair = make_large(OLD), make_large(NEW)
    found = rx.draft(*pair)
    d = rx.diff(*pair, **found)
    drafted = d.draft_suppressions(["NOTE", "missing"], reason="a\u200bb", owner="ana")
    narrow = of_notes(column="PAID", keys=[2], old="20", max=1)
    signed = found | {"suppressions": [*drafted, narrow]}
    signed.save(file)
    text = file.read_text()
    head = "[[tool.recon.suppress]]" if name == "pyproject.toml" else "[[suppress]]"
    assert text.count(head) == 3
    assert "\u200b" not in text
    loaded = rx.load_config(file)
    again = rx.diff(*pair, **loaded)
    assert again.suppressed == rx.diff(*pair, **signed).suppressed
    assert [each.count for each in again.suppressed] == [2, 1, 1]
    # The same again changes nothing; without them, the file is kept.
    signed.save(file)
    for force in (False, True):
        with pytest.raises(ConfigError) as caught:
            found.save(file, force=force)
        assert file.read_text() == text
    assert "has suppressions, and these arguments have none" in caught.value.message
    assert "load_config(path)" in (caught.value.help or "")
    kept = found | {"suppressions": loaded["suppressions"], "ignore": "PAID"}
    kept.save(file, force=True)
    assert rx.load_config(file)["suppressions"] == loaded["suppressions"]
    (found | {"suppressions": []}).save(file, force=True)
    assert "suppress]]" not in file.read_text()


ARGUMENTS: list[tuple[str, Callable[[rx.Reconciliation], Any]]] = [
    ("suppress", lambda d: d.suppress),
    ("accept", lambda d: d.accept),
]


@pytest.mark.parametrize(("name", "ask"), ARGUMENTS)
def test_another_name_for_it_says_the_right_one(
    name: str, ask: Callable[[rx.Reconciliation], Any]
) -> None:
    with pytest.raises(AttributeError, match=f"no attribute {name}. Use draft_supp"):
        ask(compare(()))


def test_a_column_of_one_side_names_what_leaves_it_out() -> None:
    old = pl.DataFrame({"ID": ["1"], "UNITS": ["2"], "PAID": ["3"]})
    new = pl.DataFrame({"ID": ["1"], "PAID": ["4"]})
    found = rx.diff(old, new, keys="ID", on_schema_drift="compare")
    with pytest.raises(ConfigError, match="UNITS: the column is on one side") as error:
        found.draft_suppressions("UNITS", reason="r", owner="o")
    assert error.value.help == 'leave it out: ignore = ["UNITS"]'
