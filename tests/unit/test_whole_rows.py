"""Rows that are compared without digests of them have the result of all others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared_pairs import answer, expected, rules_of_sides, written
from support.strategies import Pair, drop_repeats, pairs, plain_pairs
from support.suppressed_pairs import DAY

from recon_engine.compare import groups, whole_rows
from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.pairing import find_differing_pairs, pair_unrepeated_keys
from recon_engine.compare.whole_rows import compare_whole_rows
from recon_engine.config import Options, SideOptions
from recon_engine.inputs import scanned
from recon_engine.inputs.header import read_header
from recon_engine.inputs.native import binding
from recon_engine.inputs.scanning import start_validation
from recon_engine.inputs.tables import open_tables
from recon_engine.rules.assembly import chain_of
from recon_engine.rules.chains import normal_form
from recon_engine.runtime.memory import BASE_BYTES, Budget
from recon_engine.runtime.progress import SILENT


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine import Reconciliation


pytestmark = pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)


def compare_both_ways(
    paths: Sequence[Path], options: Options, budget: Budget | None = None
) -> tuple[Reconciliation | None, Reconciliation]:
    """The result without digests of rows, if there is one, and that with them."""
    old, new = (
        read_header(path, delimiter=options.delimiter_of(side))
        for path, side in zip(paths, ("old", "new"), strict=True)
    )
    scanning = start_validation((old, new))
    with open_tables(old, new, options, SILENT, scanning) as tables:
        found = compare_whole_rows(old, new, options, tables, DAY, budget=budget)
    with read_tables(old, new, options) as reading:
        return found, compare_tables(reading, DAY)


def write_out(result: Reconciliation) -> dict[str, Any]:
    """All that a result says, but for how it was computed."""
    document: dict[str, Any] = json.loads(result.to_json())
    del document["engine"]
    for side in ("old", "new"):
        # The kernel computes no SHA-256 of files that it only validates.
        document[side].pop("sha256")
    frames = (result.missing(), result.extra(), result.mismatches())
    return document | {"frames": [frame.write_ndjson() for frame in frames]}


UNREPEATED = pairs().map(drop_repeats)


@given(pair=st.one_of(UNREPEATED, UNREPEATED, pairs(), plain_pairs()), data=st.data())
def test_rows_that_are_not_digested_give_the_answer_of_the_oracle(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    both, old, new = data.draw(rules_of_sides(pair))
    options = Options(
        keys=tuple(pair.keys),
        rules=both,
        old=SideOptions(rules=old),
        new=SideOptions(rules=new),
    )
    found, usual = compare_both_ways(written(tmp_path, pair, data), options)
    if found is None:
        chains = [each for rules in (both, old, new) for each in rules.values()]
        assert any(rule.startswith("map(") for chain in chains for rule in chain)
        return
    assert answer(found, pair.columns) == expected(pair, both, old, new)
    assert write_out(found) == write_out(usual)


def write_two_systems(folder: Path, rows: int) -> tuple[Path, Path]:
    """Rows that differ in the spelling of key, amount and day; some are changed."""
    paths = folder / "old.csv", folder / "new.csv"
    keys = [at * 13 for at in range(rows)]
    old = [
        f"{key:09};{key % 900},{key % 100:02};{key % 28 + 1:02}.03.2024;t{key % 7}"
        for key in keys
        if key % 17
    ]
    new = [
        f"{key};{key % 900}.{(key + (key % 11 == 0)) % 100:02};"
        f"2024-03-{key % 28 + 1:02};t{key % 7}"
        for key in keys
        if key % 19
    ]
    for path, lines in zip(paths, (old, new), strict=True):
        path.write_text("\n".join(["ID;AMT;DAY;T", *lines]) + "\n")
    return paths


SPELLED = Options(
    keys=("ID",),
    delimiter=";",
    rules={"ID": ("lstrip0",), "DAY": ("date(%d.%m.%Y|%Y-%m-%d)",)},
    old=SideOptions(rules={"AMT": ("decimal(comma)",)}),
)


def test_what_rules_read_is_counted_of_all_rows_without_digests(tmp_path: Path) -> None:
    found, usual = compare_both_ways(write_two_systems(tmp_path, 3_000), SPELLED)
    assert found is not None
    assert write_out(found) == write_out(usual)
    assert found.counts.missing > 0
    assert found.counts.extra > 0
    amounts = [rule for rule in found.rules if rule.column == "AMT"]
    read = [sum(each) for rule in amounts for each in (rule.old, rule.new)]
    assert sorted(filter(None, read)) == sorted((found.old.rows, found.new.rows))


def test_rows_in_any_order_and_in_groups_are_paired_without_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanned, "RANGE_ROWS", 97)
    monkeypatch.setattr(whole_rows, "RANGE_ROWS", 97)
    monkeypatch.setattr(groups, "GROUP_CELLS", 500)
    old, new = write_two_systems(tmp_path, 1_000)
    header, *lines = new.read_text().splitlines()
    new.write_text("\n".join([header, *reversed(lines)]) + "\n")
    found, usual = compare_both_ways((old, new), SPELLED)
    assert found is not None
    assert write_out(found) == write_out(usual)


def test_rows_that_exceed_the_memory_or_are_filtered_are_digested(
    tmp_path: Path,
) -> None:
    paths = write_two_systems(tmp_path, 3_000)
    found, _ = compare_both_ways(paths, SPELLED, Budget(BASE_BYTES + 20_000))
    assert found is None
    # Both files are held, so a quarter of the memory has to be enough for them.
    size = sum(path.stat().st_size for path in paths)
    less = Budget(BASE_BYTES + 4 * (size - 1))
    assert less.buckets(6_000) == 1
    found, _ = compare_both_ways(paths, SPELLED, less)
    assert found is None
    some = Options(keys=("ID",), delimiter=";", where="T=t1")
    found, _ = compare_both_ways(paths, some)
    assert found is None


def test_pairs_with_differing_cells_are_named_once() -> None:
    cells = pl.DataFrame({"pair": [4, 1, 1, 4, 0]}, schema={"pair": pl.UInt32})
    assert find_differing_pairs(cells, 6).tolist() == [0, 1, 4]
    assert find_differing_pairs(cells.clear(), 0).tolist() == []


WRITTEN_KEYS = st.lists(
    st.sampled_from(["1", "01", "2", "002", "", "0", "x", "3", "y"]), max_size=5
)


@given(old=WRITTEN_KEYS, new=WRITTEN_KEYS, bits=st.sampled_from([0, 1, 2, 64]))
def test_keys_are_paired_by_digests_as_by_texts(
    old: list[str], new: list[str], bits: int
) -> None:
    """Digests of few bits are equal for other keys, too."""
    rules = {"k": chain_of("lstrip0")}
    left, right = (
        pl.DataFrame({"k": keys}, schema={"k": pl.String}) for keys in (old, new)
    )
    ours, theirs = (
        rows.select(normal_form(rules["k"].of(side), pl.col("k"))).to_series()
        for rows, side in ((left, "old"), (right, "new"))
    )
    digests = [
        pl.Series([number % (1 << bits) for number in forms.hash(7)], dtype=pl.UInt64)
        for forms in (ours, theirs)
    ]
    found = pair_unrepeated_keys(left, right, digests, keys=["k"], rules=rules)
    if any(forms.n_unique() < len(forms) for forms in (ours, theirs)):
        assert found is None
        return
    assert found is not None
    expected: list[tuple[int | None, int | None]] = [
        (at, [*theirs].index(key) if key in [*theirs] else None)
        for at, key in enumerate(ours)
    ]
    assert found.drop_nulls("old").rows() == expected
    expected += [(None, at) for at, key in enumerate(theirs) if key not in [*ours]]
    assert {*found.rows()} == {*expected}
