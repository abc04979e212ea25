"""Which columns belong together, and what is said where they do not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from support.flags import diff

from recon_engine.compare.alignment import Alignment, align_columns
from recon_engine.compare.digests import assign_ids
from recon_engine.config import OnSchemaDrift, Options
from recon_engine.errors import ConfigError, KeyMissing, SchemaMismatch
from recon_engine.model import Drift


def aligned(old: str, new: str, **options: Any) -> Alignment:
    options = {"keys": ("ID",), **options}
    return align_columns(
        old.split(), new.split(), Options(**options), uris=("o.csv", "n.csv")
    )


def test_columns_are_compared_by_name_in_the_order_of_old() -> None:
    found = aligned("B ID A", "A B ID")
    assert (found.keys, found.columns) == (("ID",), ("B", "A"))
    assert found.drift == Drift()


def test_a_mapped_column_has_its_name_in_old_everywhere() -> None:
    found = aligned(
        "ID PAID", "NR AMOUNT", renames={"ID": "NR", "PAID": "AMOUNT"}, keys=("NR",)
    )
    assert (found.keys, found.columns) == (("ID",), ("PAID",))
    assert found.new_names == {"NR": "ID", "AMOUNT": "PAID"}


def test_columns_of_any_number_keep_their_order() -> None:
    columns = [f"C{at:06}" for at in range(100_002)]
    layout = Alignment(("ID",), tuple(columns), {}, Drift(), {}, {})
    names = assign_ids(["ID", *columns], layout, "old")
    assert names.compared == list(names.all)


def test_an_ignored_column_is_neither_compared_nor_drift() -> None:
    found = aligned("ID A LOADED", "ID A BATCH", ignore=("LOADED", "BATCH"))
    assert (found.columns, found.drift) == (("A",), Drift())


def test_a_missing_key_column_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(
        KeyMissing, match=r"CLM_IDD is not in OLD. Did you mean CLM_ID\?"
    ):
        aligned("CLM_ID A", "CLM_ID A", keys=("CLM_IDD",))


def test_a_key_that_differs_in_case_comes_with_the_whole_line_of_maps() -> None:
    with pytest.raises(KeyMissing) as caught:
        align_columns(
            ["CLM_ID", "PAID ", "X"],
            ["clm_id", "paid", "Y"],
            Options(keys=("CLM_ID",)),
            uris=("o", "n"),
        )
    assert caught.value.message == (
        'key column CLM_ID is not in NEW, which has "clm_id"'
    )
    assert str(caught.value.help).endswith(
        """--map CLM_ID=clm_id --map '"PAID "=paid'"""
    )


def test_a_key_in_a_third_spelling_comes_with_the_key_as_well() -> None:
    with pytest.raises(KeyMissing) as caught:
        aligned("CLM_ID A", "clm_id A", keys=("Clm_Id",))
    assert 'not in OLD, which has "CLM_ID"' in caught.value.message
    assert str(caught.value.help).endswith("--key CLM_ID --map CLM_ID=clm_id")
    with pytest.raises(KeyMissing) as caught:
        aligned("CLM_ID A", "CLM_ID A", keys=("clm_id",))
    assert str(caught.value.help).endswith("only: --key CLM_ID")


def test_names_that_fold_alike_are_named_where_no_name_is_on_both_sides() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        align_columns(
            ["ID", " Paid", "SVC"],
            ["ID ", "PAID", "Other"],
            Options(keys=("ID",), renames={"ID": "ID "}),
            uris=("o", "n"),
        )
    error = caught.value
    assert '" Paid" of OLD is "PAID" in NEW' in error.message
    assert """--map '" Paid"=PAID'""" in str(error.help)


def test_names_of_one_side_that_fold_alike_have_no_pair() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        aligned("ID PAID Paid", "ID paid")
    assert " of OLD is " not in caught.value.message
    assert "PAID=paid" not in str(caught.value.help)


@pytest.mark.parametrize("names", ["1001 M01", "SMITH 1001"])
def test_a_value_in_the_place_of_a_name_is_not_reported(names: str) -> None:
    with pytest.raises(KeyMissing) as caught:
        aligned(names, f"7 {names.split(maxsplit=1)[0].upper()}", keys=("NR",))
    said = f"{caught.value.message} {caught.value.help}"
    assert not any(name in said for name in names.split())


def test_one_column_is_counted_as_one() -> None:
    with pytest.raises(KeyMissing) as caught:
        aligned("A", "A", keys=("ID",))
    assert str(caught.value.help).startswith("there is 1 column;")
    with pytest.raises(SchemaMismatch, match="only in OLD: 1 column; only in NEW: 2"):
        aligned("ID 77", "ID 88 99")


@pytest.mark.parametrize(
    "derived",
    [
        {"keys": "ID", "old_derive": "Z=slice(ID,1)", "new_derive": "Y=slice(ID,1)"},
        {"keys": "ID", "old_derive": "Z=slice(ID,1)"},
        {"keys": "NO", "old_derive": "NO=slice(ID,1)"},
    ],
)
def test_a_rename_is_looked_for_among_the_columns_of_the_files(
    derived: dict[str, str],
) -> None:
    """A derived column has no cells before the comparison, nor has a derived key."""
    old = pl.DataFrame({"ID": ["1", "2"], "A": ["x", "y"]})
    new = pl.DataFrame({"ID": ["1", "2"], "NO": ["1", "2"], "B": ["x", "y"]})
    found = diff(old, new, on_schema_drift="compare", **derived)
    assert found.counts.matched == 2
    renamed = [("A", "B")] if derived["keys"] == "ID" else []
    assert [*found.drift.renamed] == renamed


def test_a_column_on_one_side_only_is_refused_with_a_likely_rename() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        aligned("ID PAID_AMT X", "ID PaidAmt Y")
    error = caught.value
    assert "only in OLD: PAID_AMT, X" in error.message
    assert "only in NEW: PaidAmt, Y" in error.message
    assert "--map PAID_AMT=PaidAmt" in str(error.help)


def test_drift_that_is_allowed_is_reported() -> None:
    found = aligned("ID A B", "ID A C", on_schema_drift=OnSchemaDrift.COMPARE)
    assert found.columns == ("A",)
    assert found.drift == Drift(("B",), ("C",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore": ("PIAD",)}, r"no file has that column. Did you mean PAID\?"),
        ({"renames": {"X": "PAID"}}, "OLD has no column X"),
        ({"renames": {"PAID": "X"}}, "NEW has no column X"),
        ({"renames": {"PAID": "A"}}, "NEW also has a column PAID"),
    ],
)
def test_a_name_in_no_file_is_a_wrong_command(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        aligned("ID PAID A", "ID PAID A", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"keys": ()},
        {"keys": ("A", "A")},
        {"keys": ("A",), "ignore": ("A",)},
        {"keys": ("A",), "detail_limit": -1},
        {"keys": ("A",), "delimiter": '"'},
        {"keys": ("A",), "delimiter": "::"},
        {"keys": ("A",), "delimiter": "€€€€€€€€€"},
    ],
)
def test_options_that_no_files_could_satisfy_are_refused(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError):
        Options(**options)
