from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate
from support.program import recon

from recon_engine import diff
from recon_engine.compare.explain import explain_key
from recon_engine.compare.explained_rows import differing_spans
from recon_engine.config import OnBadRow, OnSchemaDrift, Options, SideOptions
from recon_engine.errors import ConfigError
from recon_engine.postgres.migrations import schema_folder
from recon_engine.terminal import _differing_places


if TYPE_CHECKING:
    from pathlib import Path

KEY = Options(keys=("ID",))


def files(folder: Path, old: str, new: str) -> tuple[str, str]:
    (folder / "old.csv").write_bytes(old.encode())
    (folder / "new.csv").write_bytes(new.encode())
    return str(folder / "old.csv"), str(folder / "new.csv")


def test_both_rows_stand_side_by_side_with_their_lines(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A,B\n1,x,y\n2,10.00,y\n", "B,ID,A\ny,2,10\n")
    found = explain_key(*pair, KEY, ["2"])
    [both] = found.pairs
    assert (both.old_line, both.new_line) == (3, 2)
    shown = [(cell.column, cell.old, cell.new, cell.state) for cell in both.cells]
    assert shown == [("A", "10.00", "10", "number_format"), ("B", "y", "y", "equal")]
    assert not found.agrees


def test_a_cell_that_a_rule_tolerates_names_it(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n1,10.00\n", "ID,A\n1, 10\n")
    rules = {"*": ("trim",), "A": ("decimal",)}
    found = explain_key(*pair, Options(keys=("ID",), rules=rules), ["1"])
    [cell] = found.pairs[0].cells
    assert (cell.state, cell.rules) == ("tolerated", ("trim", "decimal"))
    assert found.agrees


def test_a_rule_of_the_key_finds_it_however_it_is_spelled(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n007,x\n", "ID,A\n7,x\n")
    options = Options(keys=("ID",), rules={"ID": ("lstrip0",)})
    for spelled in ("7", "07", "007"):
        assert len(explain_key(*pair, options, [spelled]).pairs) == 1


def test_what_has_no_partner_is_reported_with_its_line(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n1,x\n2,y\n", "ID,A\n1,x\n3,z\n")
    [missing] = explain_key(*pair, KEY, ["2"]).missing
    [extra] = explain_key(*pair, KEY, ["3"]).extra
    assert (missing.line, missing.values) == (3, {"A": "y"})
    assert (extra.line, extra.values) == (3, {"A": "z"})


def test_repeated_keys_are_paired_as_by_diff(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n1,c\n1,a\n1,b\n", "ID,A\n1,b\n1,z\n")
    found = explain_key(*pair, KEY, ["1"])
    assert [(p.old_line, p.new_line) for p in found.pairs] == [(3, 3), (4, 2)]
    assert [row.line for row in found.missing] == [2]
    assert diff(*pair, keys="ID").counts.missing == 1


def test_masked_columns_are_masked_and_marked_as_they_are_shown(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n1,CANARY-1\n2,CANARY\n", "ID,A\n1,CANARY-2\n")
    masks = {"ID": "redact", "A": "last4"}
    options = Options(keys=("ID",), masks=masks)
    found = explain_key(*pair, options, ["1"])
    [cell] = found.pairs[0].cells
    assert (cell.old, cell.new, cell.state) == ("(redacted)", "(redacted)", "text")
    assert (found.key, cell.old_spans) == ({"ID": "(redacted)"}, ())
    assert "CANARY" not in str(explain_key(*pair, options, ["2"]))


def test_a_key_of_several_columns_is_a_list_or_a_json_array(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,N,A\n1,2,x\n", "ID,N,A\n1,2,x\n")
    options = Options(keys=("N", "ID"))
    for values in (["2", "1"], ['["2", "1"]']):
        assert explain_key(*pair, options, values).agrees
    for wrong in (["2"], ["2", "1", "0"], ["{}"], ["[2,"]):
        with pytest.raises(ConfigError, match="the key has 2 columns: N, ID"):
            explain_key(*pair, options, wrong)


def test_an_unknown_key_is_refused_without_its_value(tmp_path: Path) -> None:
    pair = files(tmp_path, "ID,A\n1,x\n", "ID,A\n1,x\n")
    with pytest.raises(ConfigError, match=r"no row .* has this key \(ID\)") as caught:
        explain_key(*pair, KEY, ["CANARY"])
    assert "CANARY" not in f"{caught.value}{caught.value.help}"


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("escape", ["\\ud800", "\\u0000"])
def test_no_row_has_a_key_that_no_file_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: str, escape: str
) -> None:
    monkeypatch.setenv("RECON_NATIVE", native)
    pair = files(tmp_path, "ID,N,A\n1,2,x\n", "ID,N,A\n1,2,x\n")
    with pytest.raises(ConfigError, match=r"no row .* has this key \(ID, N\)"):
        explain_key(*pair, Options(keys=("ID", "N")), [f'["{escape}", "2"]'])


def test_frames_have_no_lines() -> None:
    frame = pl.DataFrame({"ID": ["1"], "A": ["x"]})
    [pair] = explain_key(frame, frame, KEY, ["1"]).pairs
    assert (pair.old_line, pair.new_line) == (None, None)


ROWS = st.lists(
    st.sampled_from(["a", "a\nb", "\n\n", 'say ""x""', "BAD", "é"]), max_size=9
)


@given(
    rows=ROWS, newline=st.sampled_from(["\n", "\r\n"]), end=st.sampled_from(["", "\n"])
)
def test_the_line_is_where_the_row_begins(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], newline: str, end: str
) -> None:
    quoted = any("\n" in row or '"' in row for row in rows)
    text, line, wanted = f"ID,A{newline}", 2, None
    for row in [*rows, "LAST"]:
        if row == "BAD":
            if quoted:
                continue
            record = "only-one-field"
        elif row == "LAST":
            record, wanted = "key,last", line
        else:
            record = f'x,"{row}"'
        text += record + newline
        line += 1 + record.count("\n")
    text = text.removesuffix(newline) + end
    folder = tmp_path_factory.mktemp("lines")
    pair = files(folder, text, text)
    options = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    [found] = explain_key(*pair, options, ["key"]).pairs
    assert (found.old_line, found.new_line) == (wanted, wanted)


def test_the_line_is_right_in_later_parts_of_a_file(tmp_path: Path) -> None:
    head = "ID,A\n" + "".join(f"{at},{'x' * 900}\n" for at in range(20_000))
    pair = files(tmp_path, f"{head}key,y\n", f"{head}key,z\n")
    [found] = explain_key(*pair, KEY, ["key"]).pairs
    assert found.old_line == 20_002


@given(old=st.text("ab1", max_size=9), new=st.text("ab1", max_size=9))
def test_what_is_not_marked_is_the_same_on_both_sides(old: str, new: str) -> None:
    left, right = differing_spans(old, new)

    def unmarked(text: str, marked: tuple[tuple[int, int], ...]) -> str:
        inside = {at for start, end in marked for at in range(start, end)}
        return "".join(c for at, c in enumerate(text) if at not in inside)

    assert unmarked(old, left) == unmarked(new, right)
    assert (old == new) == (not left and not right)


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("number", "13546.73", "13547.730", ([(4, 5)], [(4, 5)])),
        ("number", "-5", "5", ([(0, 2)], [(0, 1)])),
        ("number", "1.234", "1234.5", ([(0, 5)], [(0, 6)])),
        ("number", "9", "10", ([(0, 1)], [(0, 1), (1, 2)])),
        ("number", "88.855,31", "88856.310", ([(0, 9)], [(0, 9)])),
        ("date", "2025-05-10", "2025-05-19", ([(9, 10)], [(9, 10)])),
        ("date", "2024-02-01", "02/10/2024", ([(0, 10)], [(0, 10)])),
    ],
)
def test_numbers_and_dates_are_marked_by_their_places(
    kind: str, old: str, new: str, expected: object
) -> None:
    assert _differing_places(old, new, kind) == expected


@st.composite
def numbers_alike(draw: st.DrawFn) -> tuple[str, str]:
    """Two numbers, of which the second often is the first with another digit."""
    numbers = st.decimals(-(10**9), 10**9, places=2)
    old, new = draw(numbers), draw(numbers)
    if draw(st.integers(0, 3)):
        new = old + Decimal(draw(st.integers(-9, 9))).scaleb(draw(st.integers(-2, 9)))
    # Without the sign of zero.
    return f"{old + 0:f}", f"{new + 0:f}"


@given(numbers_alike())
def test_digits_that_are_not_marked_are_equal(sides: tuple[str, str]) -> None:
    marks = _differing_places(*sides, "number")
    assert (Decimal(sides[0]) == Decimal(sides[1])) == (marks == ([], []))
    old, new = (
        {
            at - text.index("."): character
            for at, character in enumerate(text)
            if character.isdigit()
            and not any(start <= at < end for start, end in marked)
        }
        for text, marked in zip(sides, marks, strict=True)
    )
    assert all(old[place] == new[place] for place in old.keys() & new.keys())
    # A digit is marked alone, not with its equal neighbours, under the same sign.
    if len(sides[0]) == len(sides[1]) and (sides[0] < "0") == (sides[1] < "0"):
        differing = {at for at, (a, b) in enumerate(zip(*sides, strict=True)) if a != b}
        assert all(
            {at for start, end in marked for at in range(start, end)} == differing
            for marked in marks
        )


def test_long_texts_are_marked_without_being_compared_in_every_character() -> None:
    old, new = "=" + "ab" * 10_000 + "=", "=" + "ba" * 10_000 + "="
    assert differing_spans(old, new) == (((1, 20_001),), ((1, 20_001),))


def test_the_command_marks_characters_and_keeps_its_schema(tmp_path: Path) -> None:
    files(tmp_path, "ID,A,B\n1,10.00,x\n", "ID,A,B\n1,10,x\n")
    command = ("explain", "old.csv", "new.csv", "1", "-k", "ID")
    ended = recon(*command, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    lines = [line.rstrip() for line in ended.stdout.splitlines()]
    assert lines[0] == "ID=1: 1 matched"
    assert lines[2] == "column  OLD, line 2  NEW, line 2"
    assert lines[3] == "A       10.00        10           number format"
    assert lines[4] == "          ^^^"
    document = json.loads(recon(*command, "-f", "json", cwd=tmp_path).stdout)
    name = "explanation.schema.json"
    validate(document, json.loads((schema_folder() / name).read_text()))
    agree = ("explain", "old.csv", "old.csv", "1", "-k", "ID")
    assert recon(*agree, cwd=tmp_path).returncode == 0
    gone = recon("explain", "old.csv", "old.csv", "SECRET", "-k", "ID", cwd=tmp_path)
    assert (gone.returncode, "SECRET" in gone.stderr) == (2, False)


def test_blanks_at_the_ends_of_a_value_are_seen(tmp_path: Path) -> None:
    files(tmp_path, "ID,A\n1,\n2, x \n", "ID,A\n1, later\n")
    command = ("explain", "old.csv", "new.csv", "-k", "ID")
    lines = recon(*command, "1", cwd=tmp_path).stdout.splitlines()
    assert lines[3].split() == ["A", "(blank)", "·later", "blank", "to", "value"]
    # As many marks as characters.
    assert lines[4].split() == ["^" * 6]
    assert "·x·" in recon(*command, "2", cwd=tmp_path).stdout


def test_the_context_is_what_is_not_compared_with_masks() -> None:
    old = pl.DataFrame({"ID": ["1", "2"], "A": ["x", "y"], "SSN": ["123456789"] * 2})
    new = pl.DataFrame({"ID": ["1", "3"], "A": ["z", "y"], "EXTRA": ["e", "f"]})
    options = Options(
        keys=("ID",),
        masks={"SSN": "last4"},
        on_schema_drift=OnSchemaDrift.COMPARE,
    )
    plain = explain_key(old, new, options, ["1"])
    [pair] = explain_key(old, new, options, ["1"], context=["all"]).pairs
    cells = {cell.column: (cell.old, cell.new, cell.state) for cell in pair.cells}
    assert cells == {
        "A": ("x", "z", "text"),
        "SSN": ("…6789", None, "not_compared"),
        "EXTRA": (None, "e", "not_compared"),
    }
    assert [cell.column for cell in plain.pairs[0].cells] == ["A"]
    [row] = explain_key(old, new, options, ["2"], context=["SSN"]).missing
    assert row.values == {"A": "y", "SSN": "…6789"}
    [row] = explain_key(old, new, options, ["3"], context=["all"]).extra
    assert row.values == {"A": "y", "EXTRA": "f"}
    with pytest.raises(ConfigError, match="Did you mean SSN"):
        explain_key(old, new, options, ["1"], context=["SSNN"])


def test_the_context_has_columns_where_others_are_derived() -> None:
    old = pl.DataFrame({"ID": ["1"], "A": ["xy"], "SEEN": ["m"]})
    new = pl.DataFrame({"ID": ["1"], "A": ["xz"], "SEEN": ["n"]})
    side = SideOptions(derive=("PART=slice(A,1,1)",))
    options = Options(keys=("ID",), ignore=("SEEN",), old=side, new=side)
    [pair] = explain_key(old, new, options, ["1"], context=["all"]).pairs
    cells = {cell.column: (cell.old, cell.new, cell.state) for cell in pair.cells}
    assert cells == {
        "A": ("xy", "xz", "text"),
        "PART": ("x", "x", "equal"),
        "SEEN": ("m", "n", "not_compared"),
    }


def test_people_see_factors_both_names_and_carets_only_where_texts_differ(
    tmp_path: Path,
) -> None:
    old = "ID;BETRAG;TAG;ORT;NOTE\n01;36.349,34;05.01.2026;Ulm;\n02;0,50;;;\n"
    new = "ID,AMOUNT,TAG,ORT,NOTE\n1,363493.40,2026-01-05,Uln,\n3,0.5,,,\n"
    files(tmp_path, old, new)
    command = (
        *("explain", "old.csv", "new.csv", "--key", "ID", "--delimiter", ";:,"),
        *("--map", "BETRAG=AMOUNT", "--old-rule", "BETRAG=decimal(comma)"),
        *("--rule", "TAG=date(eu|iso)", "--rule", "ID=lstrip0"),
    )
    shown = recon(*command, "1", cwd=tmp_path, COLUMNS="200").stdout
    lines = [line.rstrip() for line in shown.splitlines()]
    assert lines[3:] == [
        "ID               01           1            tolerated by lstrip0",
        "BETRAG (AMOUNT)  36.349,34    363493.40    scale (\u00d7 10)",
        "TAG              05.01.2026   2026-01-05   tolerated by date(eu|iso)",
        "ORT              Ulm          Uln          text",
        "                   ^            ^",
        "NOTE             (blank)      (blank)",
    ]
    missing = recon(*command, "2", cwd=tmp_path, COLUMNS="200").stdout
    assert "BETRAG (AMOUNT)  0,50  " in missing
    assert "NOTE             (blank)" in missing
    document = json.loads(recon(*command, "1", "-f", "json", cwd=tmp_path).stdout)
    name = "explanation.schema.json"
    validate(document, json.loads((schema_folder() / name).read_text()))
    masked = recon(*command, "1", "--mask", "BETRAG=last4", cwd=tmp_path).stdout
    assert "scale\n" in re.sub(" +\n", "\n", masked)


@pytest.mark.parametrize(
    ("rule", "old", "new", "factor"),
    [
        ("", "12.5", "0.125", "0.01"),
        ("", "-1,200.5", "-120050", "100"),
        ("decimal(percent)", "12%", "12", "100"),
    ],
)
def test_a_factor_is_that_of_the_numbers_that_the_rules_read(
    rule: str, old: str, new: str, factor: str
) -> None:
    before, after = (pl.DataFrame({"ID": ["1"], "A": [text]}) for text in (old, new))
    options = Options(keys=("ID",), rules={"A": (rule,)} if rule else {})
    [pair] = explain_key(before, after, options, ["1"]).pairs
    assert [cell.state for cell in pair.cells] == ["scale"]
    assert pair.factors == {"A": factor}
