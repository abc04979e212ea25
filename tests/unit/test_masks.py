"""Masks change what is shown, everywhere alike, and nothing that is counted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import flags
from support.strategies import FEWER, Pair, csv_bytes, pairs

from recon_engine.analysis.patterns import PATTERNS
from recon_engine.analysis.segments import SEGMENTS
from recon_engine.analysis.totals import TOTALS
from recon_engine.compare.masks import (
    KEY_FILE_VARIABLE,
    KEY_VARIABLE,
    REDACTED,
    Masks,
    ShownValues,
    make_masks,
    mask_values,
)
from recon_engine.config import Mask, Options
from recon_engine.errors import ConfigError
from recon_engine.findings import Findings
from recon_engine.model import Cell, Pattern, Patterns, Segment, Total


if TYPE_CHECKING:
    from pathlib import Path

    from recon_engine import Reconciliation


SECRET = "correct horse battery staple"
OTHER = "another secret of some length"
OLD = pl.DataFrame(
    {
        "MEMBER": ["111223333", "222334444", "333445555", "444556666"],
        "SPOUSE": ["222334444", "", "x", "111223333"],
        "PAID": ["10.00", "20.00", "30.00", "40.00"],
        "PHONE": ["555-0100", "555-010203", "", "555-010299"],
    }
)
NEW = pl.DataFrame(
    {
        "MEMBER": ["111223333", "222334444", "333445555", "999990000"],
        "SPOUSE": ["222334445", "", "y", "111223333"],
        "PAID": ["10", "20.00", "", "40.00"],
        "PHONE": ["555-0101", "555-010204", "", "555-010299"],
    }
)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)


def diff(**masks: str) -> Reconciliation:
    return flags.diff(OLD, NEW, keys="MEMBER", masks=masks)


def shown(result: Reconciliation) -> str:
    """All that a result says in any form."""
    frames = result.frames
    tables = [
        getattr(frames, name).lazy().collect().rows()
        for name in frames.__dataclass_fields__
    ]
    return "\n".join(
        [result.to_json(), result.to_markdown(), repr(result), str(tables)]
    )


def cell(result: Reconciliation, column: str, at: int = 0) -> tuple[str, str]:
    found = result.mismatches().filter(pl.col("column") == column)
    return found["old"][at], found["new"][at]


def test_equal_values_have_equal_tokens_in_every_column() -> None:
    d = diff(MEMBER="hmac", SPOUSE="hmac")
    token = Masks({"MEMBER": Mask.HMAC}, SECRET.encode()).value("MEMBER", "222334444")
    assert token.startswith("hmac:")
    assert len(token) == 25
    assert cell(d, "SPOUSE")[0] == token or cell(d, "SPOUSE", 1)[0] == token
    [missing] = d.missing()["MEMBER"]
    [spouse] = d.missing()["SPOUSE"]
    assert missing.startswith("hmac:")
    assert spouse == Masks({"": Mask.HMAC}, SECRET.encode()).value("", "111223333")


def test_another_key_makes_other_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    one = diff(MEMBER="hmac").missing()["MEMBER"].item()
    monkeypatch.setenv(KEY_VARIABLE, OTHER)
    assert diff(MEMBER="hmac").missing()["MEMBER"].item() != one


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \t"])
def test_a_secret_makes_the_same_tokens_in_a_file_and_in_the_variable(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = diff(MEMBER="hmac").to_dict()["missing_sample"]
    monkeypatch.setenv(KEY_VARIABLE, SECRET + end)
    assert diff(MEMBER="hmac").to_dict()["missing_sample"] == one
    (tmp_path / "key").write_bytes((SECRET + end).encode())
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv(KEY_FILE_VARIABLE, str(tmp_path / "key"))
    assert diff(MEMBER="hmac").to_dict()["missing_sample"] == one


def test_redacted_is_redacted_and_blank_stays_blank() -> None:
    d = diff(PAID="redact")
    assert [cell(d, "PAID", at) for at in range(2)] == [
        (REDACTED, REDACTED),
        (REDACTED, ""),
    ]
    assert d.by_column[1].kinds == {"number_format": 1, "value_to_blank": 1}


def test_last4_keeps_the_end_of_a_long_value_only() -> None:
    d = diff(PHONE="last4")
    assert cell(d, "PHONE") == (REDACTED, REDACTED)
    assert cell(d, "PHONE", 1) == ("…0203", "…0204")
    assert d.missing()["PHONE"].item() == "…0299"


def test_a_mask_of_its_own_comes_before_that_of_all() -> None:
    d = diff(**{"*": "redact", "PHONE": "last4"})
    assert cell(d, "PHONE", 1) == ("…0203", "…0204")
    assert d.missing()["MEMBER"].item() == REDACTED
    for row in (*OLD.rows(), *NEW.rows()):
        assert not [v for v in row if len(v) > 4 and v in shown(d)]


def test_a_column_is_named_as_in_old_or_as_it_is_mapped() -> None:
    new = NEW.rename({"PAID": "AMOUNT"})
    for name in ("PAID", "AMOUNT"):
        d = flags.diff(
            OLD, new, keys="MEMBER", renames={"PAID": "AMOUNT"}, masks={name: "redact"}
        )
        assert "30.00" not in shown(d)
        assert d.extra()["PAID"].item() == REDACTED


def test_columns_that_are_not_compared_are_masked_too() -> None:
    d = flags.diff(
        OLD,
        NEW.rename({"PHONE": "TELEPHONE"}),
        keys="MEMBER",
        ignore="SPOUSE",
        on_schema_drift="compare",
        masks={"SPOUSE": "redact", "PHONE": "redact", "TELEPHONE": "redact"},
    )
    assert d.missing()["SPOUSE"].item() == d.missing()["PHONE"].item() == REDACTED
    assert d.extra()["TELEPHONE"].item() == REDACTED


@pytest.mark.parametrize(
    ("masks", "shown"),
    [
        ({"MEMBR": "hmac"}, "--mask MEMBR: no file has that column. Did you mean MEMB"),
        ({"PAID": "hash"}, "--mask PAID=hash: unknown mask"),
        ({"PAID": "redcat"}, "unknown mask. Did you mean redact?"),
    ],
)
def test_what_cannot_be_masked_is_refused(masks: dict[str, str], shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        diff(**masks)
    assert shown in caught.value.message


def test_a_column_masked_under_both_its_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="masked already"):
        flags.diff(
            OLD,
            NEW.rename({"PAID": "AMOUNT"}),
            keys="MEMBER",
            renames={"PAID": "AMOUNT"},
            masks={"PAID": "redact", "AMOUNT": "last4"},
        )


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "no mask key"),
        ({KEY_VARIABLE: "hunter2"}, "shorter than 16 bytes"),
        ({KEY_VARIABLE: "hunter2" + 16 * "\n"}, "shorter than 16 bytes"),
        ({KEY_VARIABLE: SECRET, KEY_FILE_VARIABLE: "key"}, "both set"),
        ({KEY_FILE_VARIABLE: "no-such-file"}, "cannot be read"),
        ({KEY_FILE_VARIABLE: "empty"}, "no mask key"),
    ],
)
def test_without_a_good_key_nothing_is_compared(
    environment: dict[str, str],
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=shown) as caught:
        diff(PAID="hmac")
    assert "hunter2" not in f"{vars(caught.value)}"
    diff(PAID="redact")  # asks for no key


def test_the_key_is_part_of_no_identity_and_of_no_repr(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = Options(keys=("ID",), masks={"ID": "hmac"})
    one, masks = options.digest, make_masks({"ID": Mask.HMAC})
    assert SECRET not in repr(masks) + repr(options)
    monkeypatch.setenv(KEY_VARIABLE, OTHER)
    assert options.digest == one
    assert options.digest != Options(keys=("ID",)).digest


def test_patterns_totals_and_segments_are_masked() -> None:
    example = {"MEMBER": "111223333"}
    plain = diff()
    full = ShownValues(
        sample=plain.sample,
        frames=plain.frames,
        findings=Findings(
            {
                "patterns": (
                    Patterns(
                        "PAID",
                        3,
                        (
                            Pattern("10.00", "10", "number_format", 2, example),
                            Pattern("30.00", "", "value_to_blank", 1, example),
                        ),
                    ),
                ),
                "totals": tuple(
                    Total(name, *(Decimal(at) for at in range(4)))
                    for name in ("PAID", "X")
                ),
                "segments": (Segment("missing", "PHONE", "555-010299", 1, 1.0, 0.5),),
            }
        ),
    )
    masks = {"MEMBER": Mask.HMAC, "PAID": Mask.REDACT, "PHONE": Mask.LAST4}
    d = mask_values(full, make_masks(masks)).findings
    [found] = d[PATTERNS]
    assert found.distinct == 3
    assert [(p.old, p.new, p.rows) for p in found.top] == [
        (REDACTED, REDACTED, 2),
        (REDACTED, "", 1),
    ]
    assert found.top[0].example["MEMBER"].startswith("hmac:")
    assert [total.column for total in d[TOTALS]] == ["X"]
    assert d[SEGMENTS][0].value == "…0299"


@FEWER
@given(pairs(), st.sampled_from(Mask), st.data())
def test_a_mask_changes_no_count_no_kind_and_no_choice(
    tmp_path: Path, pair: Pair, mask: Mask, data: st.DataObject
) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes(data.draw(csv_bytes(pair.names, pair.old))[0])
    new.write_bytes(data.draw(csv_bytes(pair.names, pair.new))[0])
    names = [n for n in pair.names if n != "*" and data.draw(st.booleans())]
    limit = data.draw(st.integers(0, 4))
    plain = flags.diff(old, new, keys=pair.keys, detail_limit=limit)
    by_column = dict.fromkeys(names, mask)
    options = {name: str(mask) for name in names}
    d = flags.diff(old, new, keys=pair.keys, detail_limit=limit, masks=options)
    assert (d.counts, d.by_column, d.signatures) == (
        plain.counts,
        plain.by_column,
        plain.signatures,
    )
    masks = make_masks(by_column)
    for name in ("mismatches", "missing", "extra", "duplicates_old", "duplicates_new"):
        ours, theirs = (
            getattr(each.frames, name).lazy().collect() for each in (d, plain)
        )
        assert ours.schema == theirs.schema
        assert sorted(map(str, ours.rows())) == sorted(
            str(tuple(_shown(masks, row, theirs.columns))) for row in theirs.rows()
        )
    assert sorted(map(str, d.sample)) == sorted(
        str(
            replace(
                row,
                key=masks.row(row.key),
                cells={
                    column: Cell(
                        masks.value(column, cell.old or ""),
                        masks.value(column, cell.new),
                        cell.kind,
                    )
                    for column, cell in row.cells.items()
                },
            )
        )
        for row in plain.sample
    )


def _shown(masks: Masks, row: tuple[object, ...], columns: list[str]) -> list[object]:
    """A row of a frame, each of its values masked by hand."""
    values = dict(zip(columns, row, strict=True))
    if isinstance(values.get("key"), dict):
        cell = str(values.get("column"))
        return [
            masks.row(value)
            if isinstance(value, dict)
            else masks.value(cell, str(value))
            if name in {"old", "new"}
            else value
            for name, value in values.items()
        ]
    return [masks.value(name, str(value)) for name, value in values.items()]


def test_the_order_of_rows_tells_nothing_of_masked_values() -> None:
    values = [f"{number:09}" for number in range(40)]
    old = pl.DataFrame({"ID": values, "V": ["x"] * 40})
    new = old.head(20).with_columns(V=pl.lit("y"))
    d = flags.diff(old, new, keys="ID", masks={"ID": "hmac"})
    for tokens in (
        d.missing()["ID"].to_list(),
        d.mismatches()["ID"].to_list(),
        [row.key["ID"] for row in d.sample],
    ):
        assert tokens == sorted(tokens)
        assert len(set(tokens)) == 20


def test_the_order_of_segments_tells_nothing_of_masked_values() -> None:
    """Four values that are alike in all but their text."""
    values = ["a", "b", "c", "d"]
    rows = [(f"{at}", values[at % 4] if at < 400 else f"v{at}") for at in range(4_000)]
    old = pl.DataFrame(rows, schema=["ID", "STATE"], orient="row")
    d = flags.diff(old, old.tail(3_600), keys="ID", masks={"STATE": "hmac"})
    plain = flags.diff(old, old.tail(3_600), keys="ID")
    assert [segment.value for segment in plain.segments] == values
    tokens = [segment.value for segment in d.segments]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 4


def test_the_order_of_changes_and_of_repeats_tells_nothing_of_masked_values() -> None:
    """All are alike in number, so that nothing but their text can have a say."""
    keys = [f"{at // 2:09}" for at in range(16)]
    old = pl.DataFrame({"ID": keys, "V": [f"{at // 2}" for at in range(16)]})
    new = old.with_columns(V=pl.col("V") + "x")
    d = flags.diff(old, new, keys="ID", masks={"*": "hmac"})
    [found] = d.patterns
    for tokens in (
        [pattern.old for pattern in found.top],
        d.duplicates("old")["ID"].to_list(),
    ):
        assert tokens == sorted(tokens)
        assert len(set(tokens)) == 8
