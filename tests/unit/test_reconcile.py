"""The engine against the oracle, in full, and the metamorphic relations."""

from __future__ import annotations

import dataclasses
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import oracle
from support.compared_pairs import (
    answer,
    expected,
    rows_of,
    rules_for,
    rules_of_sides,
    written,
)
from support.strategies import FEWER, Pair, csv_bytes, pairs, plain_pairs, spelled
from support.suppressed_pairs import DAY

import recon_engine as rx
from recon_engine.analysis import segments, totals
from recon_engine.compare import (
    buckets,
    digests,
    groups,
    local_engine,
    pairing,
    repeats,
    scanned_digests,
)
from recon_engine.compare.groups import parse_cells
from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.pairing import compare_rows, with_kinds
from recon_engine.compare.partial_result import (
    find_repeats,
    merge_partial_results,
    summarize_difference,
)
from recon_engine.compare.plan import make_plan
from recon_engine.compare.scanned_digests import CHECK, ROW, ScannedDigests
from recon_engine.config import Options, SideOptions
from recon_engine.errors import ConfigError, OutOfBudget
from recon_engine.inputs import csv_reader, frames, scanner, scanning
from recon_engine.inputs.frames import import_frame
from recon_engine.inputs.header import read_header
from recon_engine.rules import numbers
from recon_engine.rules.assembly import chain_of
from recon_engine.runtime import concurrency, memory
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.memory import BASE_BYTES, Budget


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from random import Random

    from recon_engine import Reconciliation
    from recon_engine.compare.buckets import Buckets


@given(pair=pairs(), data=st.data())
def test_files_reconcile_as_the_oracle_says(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    old, new = written(tmp_path, pair, data)
    d = rx.diff(old, new, keys=pair.keys)
    assert answer(d, pair.columns) == expected(pair)


BAD_LINES = [b"\n", b"\r\n", b"x\n", b'"q"\n', b"," * 9 + b"\n", b"a\0\n", b"\xff\r\n"]


@FEWER
@given(pair=pairs(), data=st.data(), block=st.sampled_from([7, 1 << 22]))
def test_bad_lines_that_are_set_aside_change_nothing_else(
    tmp_path: Path, pair: Pair, data: st.DataObject, block: int
) -> None:
    paths, bad = (tmp_path / "old.csv", tmp_path / "new.csv"), []
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        # Of one column, a blank line is a row, and so is a short one.
        lines = BAD_LINES if len(pair.names) > 1 else BAD_LINES[4:]
        drawn = [data.draw(st.lists(st.sampled_from(lines), max_size=3)) for _ in rows]
        with path.open("wb") as file:
            for row, before in zip([pair.names, *rows], [[], *drawn], strict=True):
                fields = (spelled(cell, quote=data.draw(st.booleans())) for cell in row)
                file.write(b"".join(before) + ",".join(fields).encode() + b"\n")
        bad.append(sum(map(len, drawn)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "BLOCK_BYTES", block)
        d = rx.diff(*paths, keys=pair.keys, on_bad_row="quarantine")
    assert answer(d, pair.columns) == expected(pair)
    assert [d.old.rejected, d.new.rejected] == bad
    assert d.rejects().height == sum(bad)
    assert not (d.agrees and any(bad))


@given(pair=pairs(), data=st.data())
def test_the_oracle_reads_what_was_written(pair: Pair, data: st.DataObject) -> None:
    raw, names = data.draw(csv_bytes(pair.names, pair.old))
    header, rows = oracle.read(raw)
    assert header == names
    assert [tuple(r[n] for n in pair.names) for r in rows] == pair.old


@given(
    pair=pairs(),
    data=st.data(),
    strategy=st.sampled_from([None, "columns"]),
    # The kernel reads files for which no number is forced.
    buckets=st.sampled_from([None, None, 1, 3, 8]),
    weak=st.sampled_from([None, "row", "check", "key", "row and key"]),
    tight=st.booleans(),
    threads=st.sampled_from([0, 2]),
)
def test_every_strategy_bucket_and_hash_gives_the_same_answer(
    tmp_path: Path,
    pair: Pair,
    data: st.DataObject,
    strategy: str | None,
    buckets: int | None,
    weak: str | None,
    tight: bool,  # noqa: FBT001 - drawn
    threads: int,
) -> None:
    """A weak hash is one that tells nothing apart."""
    rules = data.draw(rules_for(pair))
    old, new = (read_header(path) for path in written(tmp_path, pair, data))
    budget = Budget(BASE_BYTES + 20_000) if tight else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrency, "NESTED_WORKERS", threads)
        weaken_hashes(patch, weak)
        options = Options(keys=tuple(pair.keys), rules=rules)
        forced = {"strategy": strategy, "buckets": buckets, "budget": budget}
        with read_tables(old, new, options, **forced) as reading:  # type: ignore[arg-type]
            d = compare_tables(reading, DAY)
    assert answer(d, pair.columns) == expected(pair, rules)


@given(
    pair=st.one_of(pairs(), plain_pairs()),
    data=st.data(),
    way=st.sampled_from(["native", "native", "numpy", "buckets", "columns"]),
    weak=st.sampled_from([None, "row", "check", "key", "row and key"]),
)
def test_rules_of_one_side_give_the_answer_of_the_oracle(
    tmp_path: Path,
    pair: Pair,
    data: st.DataObject,
    way: str,
    weak: str | None,
) -> None:
    """Rows of equal bytes may be different: no fast path may call them identical."""
    both, old, new = data.draw(rules_of_sides(pair))
    paths = written_alike(tmp_path, pair, data)
    options = Options(
        keys=tuple(pair.keys),
        rules=both,
        old=SideOptions(rules=old),
        new=SideOptions(rules=new),
    )
    headers = read_header(paths[0]), read_header(paths[1])
    with pytest.MonkeyPatch.context() as patch:
        if way == "numpy":
            patch.setattr(local_engine, "scan_both", lambda *_, **__: None)
        hashed = weaken_hashes(patch, weak)
        forced: dict[str, Any] = {
            "buckets": {"buckets": 3},
            "columns": {"strategy": "columns"},
        }
        with (
            start_no_threads_if_small(0),
            read_tables(*headers, options, **forced.get(way, {})) as reading,
        ):
            d = compare_tables(reading, DAY)
    if weak and (pair.old or pair.new):
        assert hashed or reading.matched is not None
    assert answer(d, pair.columns) == expected(pair, both, old, new)


@FEWER
@given(pair=plain_pairs(), buckets=st.sampled_from([1, 3, 8]))
def test_keys_of_any_letters_are_found_in_lines_without_quotes(
    tmp_path: Path, pair: Pair, buckets: int
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, rows in zip(paths, (pair.old, pair.new), strict=True):
        lines = "".join(",".join(row) + "\n" for row in [pair.names, *rows])
        path.write_bytes(lines.encode())
    old, new = (read_header(path) for path in paths)
    with (
        start_no_threads_if_small(0),
        read_tables(old, new, Options(keys=("id",)), buckets=buckets) as reading,
    ):
        d = compare_tables(reading, DAY)
    assert d.engine.strategy == "line"
    assert answer(d, pair.columns) == expected(pair)


@pytest.mark.parametrize("count", [1, 2])
def test_more_rows_than_can_be_numbered_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    path = tmp_path / "f.csv"
    path.write_text("id,v\n1,a\n2,b\n3,c\n")
    header, options = read_header(path), Options(keys=("id",))
    for most, refused in ((3, nullcontext()), (2, pytest.raises(OutOfBudget))):
        monkeypatch.setattr(buckets, "MAX_ROWS", most)
        with refused, read_tables(header, header, options, buckets=count) as reading:
            assert compare_tables(reading, DAY).agrees


def test_counts_of_all_buckets_may_be_more_than_32_bits_hold() -> None:
    sides = [
        import_frame(pl.DataFrame({"id": ["1"], "v": [value], "w": [value]}), value)
        for value in "ab"
    ]
    plan = make_plan(sides[0], sides[1], Options(keys=("id",)))
    names = plan.names[0]
    rows = [parse_cells(side.read(side.parts[0]), names) for side in sides]
    found = with_kinds(
        compare_rows(rows[0], rows[1], keys=names.keys, columns=names.columns)
    )
    part = summarize_difference(
        found, 0, [find_repeats(each, names, ()) for each in rows], plan
    )
    kinds, signatures = many(part.kinds, "len"), many(part.signatures, "rows")
    part = dataclasses.replace(part, kinds=kinds, signatures=signatures)
    whole = merge_partial_results([part, part], plan)
    assert whole.differences == 12_000_000_000
    assert whole.signatures["rows"].to_list() == [6_000_000_000]


def many(counted: pl.DataFrame, name: str) -> pl.DataFrame:
    """The same with three billion of each."""
    count = pl.lit(3_000_000_000, dtype=counted.schema[name])
    return counted.with_columns(count.alias(name))


def in_pieces(count: int) -> Callable[[object, int], int]:
    """So many, whatever the budget."""
    return lambda *_: count


# Where work is cut, by sizes at which some rows are many.
CUTS: dict[tuple[object, str], list[Any]] = {
    (csv_reader, "BLOCK_BYTES"): [1, 25, 80, 1 << 22],
    (csv_reader, "STRETCH_BYTES"): [4, 1 << 18],
    (csv_reader, "SHORT_STRETCH_BYTES"): [4, 1 << 12],
    (scanner, "STRIDE_BYTES"): [64, 1 << 18],
    (groups, "GROUP_CELLS"): [1, 9, 1 << 21],
    (memory, "TEXT_FACTOR"): [1e9],
    (pairing, "FEW_PAIRS"): [1, 1 << 12],
    (Budget, "pieces"): [in_pieces(1), in_pieces(3)],
    (Budget, "hashed_columns"): [in_pieces(1), in_pieces(2)],
    (buckets, "READ_ROWS"): [1, 1 << 20],
    (repeats, "FEW"): [1, 1 << 12],
    (repeats, "MOST_FEW"): [1, 1 << 16],
    (segments, "FIRST_ROWS"): [3, 1 << 10],
    (totals, "FIRST_ROWS"): [1, 1 << 8],
    (totals, "FEW_TEXTS"): [0, 1_000],
    (totals, "INTEGER_DIGITS"): [5, 37],
    (numbers, "INTEGER_DIGITS"): [5, 37],
}
# With these few rows tell of causes; one run has them as well as the other.
FACTS: dict[tuple[object, str], Any] = {
    (segments, "MAX_VALUES"): 2,
    (segments, "MIN_ROWS"): 1,
    (segments, "STANDARD_ERRORS"): 0.1,
}


@FEWER
@given(
    pair=st.one_of(pairs(), plain_pairs()),
    data=st.data(),
    cuts=st.fixed_dictionaries({at: st.sampled_from(n) for at, n in CUTS.items()}),
    count=st.sampled_from([1, 3]),
    sampled=st.sampled_from([1, 8_192]),
)
def test_where_work_is_cut_changes_nothing(
    tmp_path: Path,
    pair: Pair,
    data: st.DataObject,
    cuts: dict[tuple[object, str], Any],
    count: int,
    sampled: int,
) -> None:
    rules = data.draw(rules_for(pair))
    paths, found = written_alike(tmp_path, pair, data), []
    for set_to, many in (
        ({}, 1),
        ({**cuts, (local_engine, "open_buckets"): opened_for_one}, count),
    ):
        with pytest.MonkeyPatch.context() as patch:
            facts = {**FACTS, (scanning, "SAMPLED_ROWS"): sampled, **set_to}
            for (owner, name), value in facts.items():
                patch.setattr(owner, name, value)
            old, new = (read_header(path) for path in paths)
            options = Options(keys=tuple(pair.keys), rules=rules)
            with read_tables(old, new, options, buckets=many) as reading:
                found.append(compare_tables(reading, DAY))
    whole, cut = found
    assert cut.to_dict() | {"engine": ""} == whole.to_dict() | {"engine": ""}
    assert rows(cut, pair) == dataclasses.replace(expected(pair, rules), totals={})


def rows(d: Reconciliation, pair: Pair) -> oracle.Answer:
    """The answer without control totals, for which few rows are not all."""
    return dataclasses.replace(answer(d, pair.columns), totals={})


def opened_for_one(
    _expected: Sequence[int], count: int
) -> AbstractContextManager[list[Buckets]]:
    """Room for one row of each side, which has to grow."""
    return buckets.open_buckets((1, 1), count)


def written_alike(folder: Path, pair: Pair, data: st.DataObject) -> tuple[Path, Path]:
    """Both sides in one order of columns, and quoted alike, so that lines tell."""
    as_named = range(len(pair.names))
    order = data.draw(st.one_of(st.just(as_named), st.permutations(as_named)))
    quote = data.draw(st.booleans())
    paths = folder / "old.csv", folder / "new.csv"
    for path, side in zip(paths, (pair.old, pair.new), strict=True):
        newline = data.draw(st.sampled_from(["\n", "\r\n"]))
        lines = [
            ",".join(spelled(row[at], quote=quote) for at in order)
            for row in [tuple(pair.names), *side]
        ]
        end = newline if not lines[-1] or data.draw(st.booleans()) else ""
        path.write_bytes((newline.join(lines) + end).encode())
    return paths


@FEWER
@given(pair=st.one_of(pairs(), plain_pairs()), count=st.sampled_from([1, 3]))
def test_frames_reconcile_as_the_oracle_says(pair: Pair, count: int) -> None:
    schema = dict.fromkeys(pair.names, pl.String)
    old, new = (
        import_frame(pl.DataFrame(side, schema=schema, orient="row"), "frame")
        for side in (pair.old, pair.new)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "PART_ROWS", 2)
        patch.setattr(groups, "GROUP_CELLS", 9)
        with read_tables(
            old, new, Options(keys=tuple(pair.keys)), buckets=count
        ) as reading:
            d = compare_tables(reading, DAY)
    assert answer(d, pair.columns) == expected(pair)


NUMBERS = st.sampled_from(["1", "1.0", "x"])
# The last letter of a key, and two cells.
ROWS = st.lists(
    st.tuples(st.sampled_from("aA"), NUMBERS, st.sampled_from(["1", "1.0"])), max_size=5
)


@pytest.mark.slow
@FEWER
@given(
    groups=st.lists(st.tuples(ROWS, ROWS), min_size=1, max_size=6),
    times=st.sampled_from([1, 40]),
    rules=st.sampled_from(
        [
            {},
            {"v": ("decimal",)},
            {"id": ("casefold",)},
            {"id": ("casefold",), "v": ("decimal",)},
        ]
    ),
    old_rules=st.sampled_from([{}, {"w": ("decimal",)}]),
    random=st.randoms(use_true_random=False),
)
def test_repeated_keys_by_the_hundred_are_paired_as_the_oracle_says(
    groups: list[tuple[list[tuple[str, ...]], ...]],
    times: int,
    rules: dict[str, tuple[str, ...]],
    old_rules: dict[str, tuple[str, ...]],
    random: Random,
) -> None:
    """The oracle pairs the rows of each key alone, the engine those of all at once.

    A key has up to five rows on either side. A column that is not compared takes rows
    of equal cells and keys apart, because rows are sorted by it before the key.
    """
    sides: tuple[list[tuple[str, ...]], ...] = ([], [])
    for side, rows in enumerate(sides):
        for at, both in enumerate(groups):
            for again in range(times):
                rows += [(f"{at}-{again}{end}", *cells) for end, *cells in both[side]]
        random.shuffle(rows)
    pair = Pair(["id", "v", "w"], 1, *sides)
    schema = dict.fromkeys(["a", *pair.names], pl.String)
    old, new = (
        import_frame(
            pl.DataFrame(
                [(str(at % 3), *row) for at, row in enumerate(rows)],
                schema=schema,
                orient="row",
            ),
            "frame",
        )
        for rows in sides
    )
    options = Options(
        keys=("id",), ignore=("a",), rules=rules, old=SideOptions(rules=old_rules)
    )
    with read_tables(old, new, options) as reading:
        d = compare_tables(reading, DAY)
    assert answer(d, pair.columns) == expected(pair, rules, old_rules)


def test_rows_of_one_spelling_are_numbered_wherever_a_column_sorts_them() -> None:
    rows = [("0", "k", "1"), ("1", "K", "1"), ("2", "k", "1")]
    old, new = (
        pl.DataFrame(side, schema=["a", "id", "v"], orient="row")
        for side in (rows, rows[:2])
    )
    rules = {"id": chain_of("casefold")}
    pairs = pairing.pair_rows(old, new, keys=["id"], columns=["v"], rules=rules)
    assert sorted(pairs.rows(), key=str) == [(0, 0), (1, 1), (2, None)]


REAL_HASH = digests.hash_cells
REAL_MIX = ScannedDigests._mix_forms
WEAK = {
    "row": digests.Seeds(0, 1, 2),
    "check": digests.Seeds(1, 0, 2),
    "key": digests.Seeds(1, 2, 0),
    "row and key": digests.Seeds(0, 1, 0),
}


def weaken_hashes(patch: pytest.MonkeyPatch, name: str | None) -> list[int]:
    """Take a weak hash wherever one is taken; gets an item for each time."""
    taken: list[int] = []
    if name is None:
        return taken

    def weaken(numbers: Any, seed: int) -> Any:
        """No hash at all where the seed is 0."""
        taken.extend([seed] if seed == 0 else [])
        return numbers * min(seed, 1)

    def hash_cells(cells: pl.DataFrame, seed: int) -> Any:
        return weaken(REAL_HASH(cells, seed), seed)

    def mix_forms(self: ScannedDigests, rows: Any, readings: Any, words: Any) -> Any:
        """The kernel has a secret instead of seeds: what it hashed ends here."""
        tallies = REAL_MIX(self, rows, readings, words)
        for at, seed in ((ROW, self.seeds.row), (CHECK, self.seeds.check)):
            words[:, at] = weaken(words[:, at], seed)
        return tallies

    patch.setattr(digests, "Seeds", lambda *_: WEAK[name])
    patch.setattr(digests, "hash_cells", hash_cells)
    patch.setattr(scanned_digests, "hash_cells", hash_cells)
    patch.setattr(ScannedDigests, "_mix_forms", mix_forms)
    return taken


def test_lines_are_used_where_they_tell(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ID,X\n1,2\n")
    (tmp_path / "b.csv").write_text("X,ID\n2,1\n")
    (tmp_path / "c.csv").write_text('ID,X\n1,"2\n"\n')
    (tmp_path / "d.csv").write_text("ID,X\n1,\x01\n")
    for name, strategy in (
        ("a", "line"),
        ("b", "columns"),
        ("c", "columns"),
        ("d", "line"),
    ):
        d = rx.diff(tmp_path / "a.csv", tmp_path / f"{name}.csv", keys="ID")
        assert d.engine.strategy == strategy


@FEWER
@given(pair=pairs(), data=st.data())
def test_swapping_the_sides_swaps_the_answer(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    old, new = written(tmp_path, pair, data)
    there, back = rx.diff(old, new, keys=pair.keys), rx.diff(new, old, keys=pair.keys)
    one, two = answer(there, pair.columns), answer(back, pair.columns)
    assert (one.missing, one.extra) == (two.extra, two.missing)
    assert one.signatures == two.signatures
    swapped = {(k, c, n, o): count for (k, c, o, n, _), count in one.cells.items()}
    assert swapped == {
        (k, c, o, n): count for (k, c, o, n, _), count in two.cells.items()
    }


@FEWER
@given(pair=pairs(), data=st.data())
def test_row_and_column_order_change_nothing(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    old, new = written(tmp_path, pair, data)
    before = rx.diff(old, new, keys=pair.keys)
    shuffled = Pair(
        pair.names,
        pair.width,
        data.draw(st.permutations(pair.old)),
        data.draw(st.permutations(pair.new)),
    )
    after = rx.diff(*written(tmp_path, shuffled, data), keys=pair.keys)
    assert answer(before, pair.columns) == answer(after, pair.columns)
    assert before.sample == after.sample


@FEWER
@given(pair=pairs(), data=st.data())
def test_an_identical_row_more_on_both_sides_is_one_more_identical_pair(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    row = ("only here", *("same" for _ in pair.names[1:]))
    grown = Pair(pair.names, pair.width, [*pair.old, row], [*pair.new, row])
    one = expected(pair)
    two = answer(rx.diff(*written(tmp_path, grown, data), keys=pair.keys), pair.columns)
    assert two.identical == one.identical + 1
    assert (two.missing, two.extra, two.cells) == (one.missing, one.extra, one.cells)


@FEWER
@given(pair=pairs(), data=st.data())
def test_the_reported_difference_turns_old_into_new(
    tmp_path: Path, pair: Pair, data: st.DataObject
) -> None:
    d = rx.diff(*written(tmp_path, pair, data), keys=pair.keys)
    values = by_key_and_column(pair.old, pair)
    values.subtract(
        by_key_and_column(rows_of(d.missing(), pair.names).elements(), pair)
    )
    values.update(by_key_and_column(rows_of(d.extra(), pair.names).elements(), pair))
    for cell in d.mismatches().to_dicts():
        key = tuple(cell.values())[: len(d.keys)]
        values[key, cell["column"], cell["old"]] -= 1
        values[key, cell["column"], cell["new"]] += 1
    assert min(values.values(), default=0) >= 0
    assert +values == by_key_and_column(pair.new, pair)


def by_key_and_column(
    rows: Iterable[oracle.Row], pair: Pair
) -> Counter[tuple[oracle.Row, str, str]]:
    """How often each value is in each column under each key."""
    return Counter(
        (row[: pair.width], name, value)
        for row in rows
        for name, value in zip(pair.names, row, strict=True)
    )


WITHOUT_NUL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6
)


@given(old=WITHOUT_NUL, new=WITHOUT_NUL)
def test_frames_reconcile_like_files(old: str, new: str) -> None:
    frames = [pl.DataFrame({"id": ["1"], "v": [value]}) for value in (old, new)]
    assert rx.diff(*frames, keys="id").agrees == (old == new)


@pytest.mark.parametrize("value", ["\0+01.", " \0", "a\0"])
def test_a_frame_has_no_more_nul_than_a_file(value: str) -> None:
    old, new = (pl.DataFrame({"^id$": ["1"], "*": [v]}) for v in (value, "1"))
    for pair in ((old, new), (new, old)):
        with pytest.raises(ConfigError, match=r"column \* holds a NUL"):
            rx.diff(*pair, keys="^id$", rules={"*": "decimal"})


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("name", ["^x$", "^.*$", "*", "^id$"])
def test_a_column_of_a_frame_may_have_the_name_of_a_pattern(
    name: str, rows: int
) -> None:
    text = [str(n) for n in range(rows)]
    old = pl.DataFrame(
        {"id": text, name: text}, schema=dict.fromkeys(("id", name), pl.String)
    )
    new = old.with_columns(pl.lit("z").alias(name)) if rows else old
    d = rx.diff(old, new, keys="id")
    assert [(c.name, c.mismatched) for c in d.by_column] == [(name, rows)]


DIFFERENT = [
    ("00123", "123"),
    ("1.0", "1"),
    ("9007199254740993", "9007199254740992"),
    ("12345678901234567890.10", "12345678901234567890.20"),
    ("x ", "x"),
    ("", "NULL"),
]


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_different_text_never_agrees(tmp_path: Path, old: str, new: str) -> None:
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    for path, value in zip(paths, (old, new), strict=True):
        path.write_text(f"id,v\n1,{value}\n")
    d = rx.diff(*paths, keys="id")
    assert d.verdict == "differ"
    assert d.counts.mismatched_cells == 1
    assert d.sample[0].payload == {"v": f"{old}~{new}"}


@pytest.mark.parametrize("first", ["x^2", "x\x01", "xڪ", "\ufeff", "x", "h"])
def test_what_a_row_begins_with_is_never_taken_for_a_format(
    tmp_path: Path, first: str
) -> None:
    paths = [tmp_path / "old.csv", tmp_path / "new.csv"]
    for path, value in zip(paths, "12", strict=True):
        path.write_text(f"id,v\n{first},{value}\n", encoding="utf-8")
    assert rx.diff(*paths, keys="id").mismatches()["id"].to_list() == [first]
    assert rx.diff(*paths, keys="v").missing().rows() == [(first, "1")]


SAME = {
    "blank and quoted blank": (b"id,v\na,\n", b'id,v\na,""\n'),
    "LF and CRLF": (b"id,v\na,1\nb,2\n", b"id,v\r\na,1\r\nb,2\r\n"),
    "BOM and none": (b"id,v\na,1\n", b"\xef\xbb\xbfid,v\na,1\n"),
    "columns in another order": (b"id,v,w\na,1,2\n", b"w,id,v\n2,a,1\n"),
    "repeated keys, rows permuted": (
        b"id,v\na,1\na,2\nb,1\na,2\n",
        b"id,v\nb,1\na,2\na,2\na,1\n",
    ),
    "no newline at the end": (b"id,v\na,1", b"id,v\na,1\n"),
    "trailing blank lines": (b"id,v\na,1\n\n\n", b"id,v\na,1\n"),
    "no rows": (b"id,v\n", b"v,id"),
}


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME.keys())
def test_equal_records_agree_however_written(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    (tmp_path / "old.csv").write_bytes(old)
    (tmp_path / "new.csv").write_bytes(new)
    assert rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="id").agrees


def test_three_rows_against_one_of_a_key_leave_two_missing(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("id,v\n" + "k,1\n" * 3)
    (tmp_path / "new.csv").write_text("id,v\nk,1\n")
    n = rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="id").counts
    assert (n.matched, n.missing, n.mismatched_rows) == (1, 2, 0)


@pytest.mark.slow
def test_duplicates_pair_by_content_in_every_run(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("k,v\na,1\na,2\nb,3\nc,4\nb,5\n")
    (tmp_path / "new.csv").write_text("k,v\na,1\nb,3\nc,4\n")
    for _ in range(100):
        d = rx.diff(tmp_path / "old.csv", tmp_path / "new.csv", keys="k")
        assert d.counts.identical == 3
        assert d.missing().rows() == [("a", "2"), ("b", "5")]
