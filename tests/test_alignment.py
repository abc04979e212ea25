"""Which columns belong together, and what is said where they do not."""

from __future__ import annotations

from typing import Any

import pytest

from recon_engine.alignment import Alignment, align
from recon_engine.config import OnSchemaDrift, Options
from recon_engine.errors import ConfigError, KeyMissing, SchemaMismatch
from recon_engine.model import Drift
from recon_engine.names import named


def aligned(old: str, new: str, **options: Any) -> Alignment:
    options = {"keys": ("ID",), **options}
    return align(old.split(), new.split(), Options(**options), uris=("o.csv", "n.csv"))


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
    names = named(["ID", *columns], layout, {})
    assert names.compared == list(names.all)


def test_an_ignored_column_is_neither_compared_nor_drift() -> None:
    found = aligned("ID A LOADED", "ID A BATCH", ignore=("LOADED", "BATCH"))
    assert (found.columns, found.drift) == (("A",), Drift())


def test_a_missing_key_column_is_refused_with_its_nearest_name() -> None:
    with pytest.raises(
        KeyMissing, match=r"CLM_IDD is not in OLD. Did you mean CLM_ID\?"
    ):
        aligned("CLM_ID A", "CLM_ID A", keys=("CLM_IDD",))


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
        ({"renames": {"PAID": "A"}}, "NEW has a column PAID as well"),
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
        {"keys": ("A",), "delimiter": "€"},
    ],
)
def test_options_that_no_files_could_satisfy_are_refused(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ConfigError):
        Options(**options)


@pytest.mark.parametrize(
    ("old", "new", "option"),
    [
        ("ID;A", "ID;A", "--delimiter ';'"),
        ("ID|A,B|C", "ID|A,B|C", "--delimiter '|'"),
        ("ID;A", "NEW_ID", "--delimiter ';:,'"),
        ("ID A", "ID|A", "--delimiter ',:|'"),
    ],
)
def test_a_header_of_one_name_that_holds_several_brings_the_option_to_add(
    old: str, new: str, option: str
) -> None:
    with pytest.raises(KeyMissing) as caught:
        aligned(old, new)
    assert str(caught.value.help).endswith(f"add {option}")


def test_a_tab_is_hinted_at_as_a_shell_takes_it() -> None:
    with pytest.raises(KeyMissing) as caught:
        align(["ID\tA"], ["ID\tA"], Options(keys=("ID",)), uris=("o", "n"))
    assert str(caught.value.help).endswith(r"add --delimiter '\t'")
    with pytest.raises(ConfigError) as caught_:
        aligned("ID;A", "ID;A", renames={"A": "B"})
    assert str(caught_.value.help).endswith("add --delimiter ';'")
