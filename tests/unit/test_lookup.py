"""Keys of open breaks among the rows of a run: what is counted, by every engine."""

from __future__ import annotations

import csv
import itertools
import operator
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import oracle
from support.spark_cluster import InProcess
from support.strategies import FEWER
from support.suppressed_pairs import DAY

from recon_engine.compare import lookup
from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.lookup import Lookup, OpenKey
from recon_engine.config import Options, SideOptions
from recon_engine.inputs.header import read_header
from recon_engine.inputs.native.binding import load_library
from recon_engine.model import SIDES
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.progress import SILENT
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import reconcile_on_cluster as reconcile_on_spark
from recon_engine.spark.settings import SparkSettings


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from recon_engine.result import LookedUp

LIMIT = 1_000
RULES = {"K": ("lstrip0",)}
# A key of OLD is then one that NEW writes otherwise, and that OLD may have too.
OF_OLD = {"K": ("map(1=a,A=,rest=same)",)}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["1", "01", "a", "3", ""]), *[st.sampled_from("xyz")] * 2
    ),
    max_size=8,
)
ASKED = [*itertools.product(["1", "001", "a", "03", "4", ""], SIDES)]


def ask(keys: Sequence[str]) -> Lookup:
    assert keys == ("K",)
    return Lookup([OpenKey((key,), side) for key, side in ASKED], LIMIT)


def found_by(
    paths: Sequence[Path], options: Options, buckets: int | None, *, spark: bool
) -> LookedUp:
    old, new = map(read_header, paths)
    if not spark:
        with (
            start_no_threads_if_small(0),
            read_tables(old, new, options, buckets=buckets) as reading,
        ):
            return compare_tables(reading, DAY, ask=ask).looked_up
    result, _ = reconcile_on_spark(
        (old, new),
        (LocalSource.of(old), LocalSource.of(new)),
        options,
        DAY,
        SILENT,
        settings=SparkSettings(span=40, bucket=20, sha256=False, whole=LIMIT),
        cluster=InProcess(),
        ask=ask,
    )
    return result.looked_up


def fold(
    tables: Sequence[list[dict[str, str]]], side: str, form: Callable[[str, str], str]
) -> list[list[dict[str, str]]]:
    """The rows that are paired: one of each key of a side, none of those that vary.

    A folded row has the least text of its key.
    """
    by_key: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in tables[SIDES.index(side)]:
        by_key[form(side, row["K"])].append(row)
    bad = {
        key
        for key, rows in by_key.items()
        if len({(row["A"], row["B"]) for row in rows}) > 1
    }
    whole = [
        {**rows[0], "K": min(row["K"] for row in rows)}
        for key, rows in by_key.items()
        if key not in bad
    ]
    return [
        whole if each == side else [r for r in rows if form(each, r["K"]) not in bad]
        for each, rows in zip(SIDES, tables, strict=True)
    ]


@pytest.mark.parametrize(
    ("buckets", "spark"), [(1, False), (3, False), (None, True)], ids=str
)
@FEWER
@given(
    sides=st.tuples(ROWS, ROWS),
    of_old=st.sampled_from([{}, OF_OLD]),
    folds=st.sampled_from(["", "", "old", "new"]),
)
def test_rows_are_counted_by_normal_form_on_both_sides(
    tmp_path: Path,
    sides: tuple[list[tuple[str, str, str]], ...],
    of_old: dict[str, tuple[str, ...]],
    folds: str,
    buckets: int | None,
    spark: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    names = ("K", "A", "B")
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    for path, rows in zip(paths, sides, strict=True):
        lines = [",".join(row) for row in rows]
        path.write_text("\n".join([",".join(names), *lines, ""]))
    tables = [[dict(zip(names, row, strict=True)) for row in rows] for rows in sides]
    chain = oracle.arrange(RULES["K"], of_old.get("K", ()), ())

    def form(side: str, text: str) -> str:
        return oracle.form(chain, side, text)

    if folds:
        tables = fold(tables, folds, form)
    old, new = tables
    answer = oracle.reconcile(old, new, ["K"], ["A", "B"], RULES, of_old)
    counts = [
        Counter(form(side, row["K"]) for row in rows)
        for side, rows in zip(SIDES, tables, strict=True)
    ]
    options = Options(
        keys=("K",),
        rules=RULES,
        old=SideOptions(rules=of_old, fold=folds == "old"),
        new=SideOptions(fold=folds == "new"),
    )
    found = found_by(paths, options, buckets, spark=spark)
    forms = [form(side, key) for key, side in ASKED]
    assert found.rows == {
        at: tuple(side[each] for side in counts) for at, each in enumerate(forms)
    }
    differing = {(form("old", key), name) for (key,), name, *_ in answer.cells}
    assert found.differing == {
        (at, name)
        for at, each in enumerate(forms)
        for name in "AB"
        if (each, name) in differing
    }
    written = {("old", row[0]) for row in answer.missing}
    written |= {("new", row[0]) for row in answer.extra}
    written |= {("old", key) for (key,), *_ in answer.cells}
    assert found.repeated == {
        (side, (key,)): both
        for side, key in written
        if max(both := tuple(count[form(side, key)] for count in counts)) > 1
    }


@pytest.mark.parametrize("masks", [{}, {"K": "hmac"}])
def test_a_key_that_both_sides_write_is_found_as_that_of_its_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: dict[str, str]
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", "k" * 32)
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    paths[0].write_text("K,A,B\n1,x,x\n1,x,x\n3,x,x\n")
    paths[1].write_text("K,A,B\n1,x,x\n3,x,y\n")
    options = Options(keys=("K",), masks=masks, old=SideOptions(rules=OF_OLD))
    old, new = map(read_header, paths)
    with read_tables(old, new, options) as reading:
        first = compare_tables(reading, DAY, ask=lambda _: Lookup([], LIMIT))
    looked_up, [shown] = first.looked_up, first.extra()["K"].to_list()
    assert looked_up.repeated == {("old", (shown,)): (2, 0)}
    keys = [
        OpenKey((shown,), side, looked_up.locators.get((side, (shown,))))
        for side in SIDES
    ]
    asked = Lookup(keys, LIMIT)
    with read_tables(old, new, options) as reading:
        found = compare_tables(reading, DAY, ask=lambda _: asked).looked_up
    assert found.rows == {0: (2, 0), 1: (0, 1)}
    if masks:
        assert [found.same_keys[side, (shown,)].open for side in SIDES] == [(0,), (1,)]
        # Under one pad, the two would reveal the digests of the key, which is masked.
        one, other = (each.locator or b"" for each in keys)
        assert bytes(map(operator.xor, one[16:], other[16:])) != bytes(8)


def test_a_locator_of_new_that_an_earlier_version_wrote_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", "k" * 32)
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    paths[0].write_text("K,A,B\n3,x,x\n")
    paths[1].write_text("K,A,B\n1,x,x\n3,x,x\n")
    options = Options(keys=("K",), masks={"K": "hmac"}, old=SideOptions(rules=OF_OLD))
    old, new = map(read_header, paths)
    with monkeypatch.context() as earlier, read_tables(old, new, options) as reading:
        earlier.setattr(lookup, "PURPOSE_OF_NEW", lookup.PURPOSE)
        first = compare_tables(reading, DAY, ask=lambda _: Lookup([], LIMIT))
    [((side, key), locator)] = first.looked_up.locators.items()
    asked = Lookup([OpenKey(key, side, locator), OpenKey(key, "old", b"-" * 24)], LIMIT)
    with read_tables(old, new, options) as reading:
        found = compare_tables(reading, DAY, ask=lambda _: asked).looked_up
    assert (side, found.rows) == ("new", {0: (0, 1)})


def test_over_the_limit_nothing_is_kept_for_breaks(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("K,A\n1,x\n1,x\n")
    new.write_text("K,A\n1,y\n1,y\n")
    headers = read_header(old), read_header(new)

    def few(_: Sequence[str]) -> Lookup:
        return Lookup([OpenKey(("1",), "old")], 1)

    with read_tables(*headers, Options(keys=("K",))) as reading:
        found = compare_tables(reading, DAY, ask=few).looked_up
    assert (found.rows, found.repeated, found.differing) == ({}, {}, frozenset())


TEXTS = st.sampled_from(["1", "01", "a,b", 'x"', "é\n", "", ";"])
KEYED = st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from("xy")), max_size=9)


def looked_up(
    paths: Sequence[Path], options: Options, asked: Lookup, *, native: bool
) -> LookedUp:
    old, new = (
        read_header(path, delimiter=delimiter)
        for path, delimiter in zip(paths, ",;", strict=True)
    )
    with (
        start_no_threads_if_small(0),
        read_tables(old, new, options, buckets=None if native else 1) as reading,
    ):
        assert reading.kernel == ("native" if native else "numpy")
        return compare_tables(reading, DAY, ask=lambda _: asked).looked_up


@pytest.mark.skipif(load_library() is None, reason="there is no native kernel")
@FEWER
@given(sides=st.tuples(KEYED, KEYED), keys=st.sampled_from([("K",), ("L", "K")]))
@pytest.mark.parametrize("mask", [None, "hmac"])
def test_the_kernel_finds_the_keys_of_open_breaks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sides: tuple[list[tuple[str, str, str]], ...],
    keys: tuple[str, ...],
    mask: str | None,
) -> None:
    monkeypatch.setenv("RECON_MASK_KEY", "k" * 32)
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    for path, rows, delimiter in zip(paths, sides, ",;", strict=True):
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
            writer.writerows([("K", "L", "V"), *rows])
    masks = {} if mask is None else dict.fromkeys(keys, mask)
    options = Options(keys=keys, masks=masks, delimiter=",:;")
    if mask is None:
        written = itertools.product(["1", "a,b", "é\n", "2", ""], repeat=len(keys))
        keys_sought = [OpenKey(key, "old") for key in written]
    else:
        nothing = Lookup([], LIMIT)
        first = looked_up(paths, options, nothing, native=False)
        assert looked_up(paths, options, nothing, native=True) == first
        keys_sought = [
            OpenKey(key, side, locator)
            for (side, key), locator in first.locators.items()
        ]
    asked = Lookup(keys_sought, LIMIT)
    found = looked_up(paths, options, asked, native=True)
    assert found == looked_up(paths, options, asked, native=False)
    assert mask is None or len(found.rows) == len(keys_sought)
