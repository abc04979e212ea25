"""Rows that are derived, filtered and folded before they are paired."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import oracle, pairing_oracle
from support.flags import diff
from support.pairing_oracle import SidePlan
from support.prepared_pairs import (
    compare_by,
    draw_frames,
    expression,
    has_unreadable,
    is_emptied,
    said,
    write_table,
)
from support.program import recon

import recon_engine as rx
from recon_engine.command_line import rebuild_command
from recon_engine.compare.explain import explain_key
from recon_engine.compare.key_search import propose_keys
from recon_engine.compare.lookup import Lookup, OpenKey
from recon_engine.config import NO_KEY, OnBadRow, Options, SideOptions
from recon_engine.derive_syntax import Derivation, parse_derivation
from recon_engine.errors import ConfigError, KeyMissing
from recon_engine.inputs.native.binding import load_library
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from recon_engine.result import Reconciliation


# Most have two parts, or are numbers: other rows are neither paired nor folded.
PARTS = st.sampled_from(
    [*["1-1", "1-1", "1-2", "01-1", "2-1"] * 3, *("x", "", "1-1-1", "-", "2-")]
)
AMOUNTS = st.sampled_from(
    [
        *["1", "2.50", "-3.5", "0.000001"] * 4,
        *("1,000.00", "", "x", "9" * 25, "2,5", "$250"),
    ]
)
TEXTS = st.sampled_from(["a", "a", "a", "A", "b", ""])
KEYS = st.sampled_from(["1", "1", "01", "2", ""])
CLAIMS, LINES = st.sampled_from(["1", "01", "2", ""]), st.sampled_from(["1", "2", ""])
Rules = dict[str, tuple[str, ...]]
Rows = list[tuple[str, ...]]
# For both sides, for OLD, for NEW.
RULES: list[tuple[Rules, Rules, Rules]] = [
    ({}, {}, {}),
    ({"amount": ("decimal",)}, {}, {}),
    ({"amount": ("trim", "decimal(abs=0.5)"), "text": ("casefold",)}, {}, {}),
    ({"c": ("lstrip0",), "text": ("casefold",)}, {}, {}),
    ({}, {"amount": ("decimal(comma)",), "c": ("lstrip0",)}, {}),
    ({"amount": ("decimal(abs=0.5)",)}, {"amount": ("scale(2)",)}, {}),
    ({"text": ("casefold",)}, {"c": ("map(01=1,2=2)",)}, {"text": ("map(a=a,b=A)",)}),
    ({}, {}, {"c": ("map(1=01,rest=same)",), "amount": ("decimal(money=$)",)}),
]
# Of a row of OLD in NEW.
CHANGES = st.sampled_from(["none", "none", "claim", "amount", "text", "drop"])
SOUGHT = ("1", "01", "2", "04", "4", "9", "")


def ask_for_keys(keys: Sequence[str]) -> Lookup:
    """Open breaks of some keys, as a run asks for them."""
    texts = itertools.product(SOUGHT, repeat=len(keys))
    return Lookup(
        [OpenKey(key, side) for key, side in itertools.product(texts, SIDES)], 1_000
    )


def check_sought_rows(
    d: Reconciliation, wanted: pairing_oracle.Prepared, chains: pairing_oracle.Chains
) -> None:
    """The rows of the keys of `ask_for_keys` are those that were compared."""
    assert d.looked_up.rows
    for at, asked in enumerate(ask_for_keys(d.keys).keys):
        key, side = asked.values, asked.side
        named = [(chains[name], text) for name, text in zip(d.keys, key, strict=True)]
        if all(oracle.is_listed(chain, side, text) for chain, text in named):
            form = tuple(oracle.form(chain, side, text) for chain, text in named)
            counts = tuple(count[form] for count in wanted.compared)
            assert d.looked_up.rows[at] == counts, (key, side)


FRAMES = draw_frames(["claim", "amount", "text"])
NEW_FRAMES = draw_frames(["c", "l", "amount", "text"])
tests = st.lists(
    st.sampled_from(
        [
            ("text", "=", ("a",)),
            ("text", "!=", ("",)),
            ("l", "in", ("1", "2")),
            ("amount", ">", ("0",)),
            ("c", "<", ("2",)),
        ]
    ),
    max_size=1,
).map(tuple)


@st.composite
def split_sides(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Rows of OLD, and those of NEW, some of which are the same with a split key."""
    old: Rows = draw(st.lists(st.tuples(PARTS, AMOUNTS, TEXTS), max_size=7))
    new: Rows = []
    for each in draw(st.permutations(old)):
        parts = each[0].split("-")
        if len(parts) == 2 and (change := draw(CHANGES)) != "drop":
            (claim, line), (amount, text) = parts, each[1:]
            claim = claim.lstrip("0") if change == "claim" else claim
            amount = draw(AMOUNTS) if change == "amount" else amount
            text = draw(TEXTS) if change == "text" else text
            new.append((claim, line, amount, text))
    others = st.tuples(CLAIMS, LINES, AMOUNTS, TEXTS)
    return old, new + draw(st.lists(others, max_size=7 - len(new)))


@example(
    # A key that is equal by a rule, and derived on one side.
    sides=([("01-1", "1", "a")], [("1", "1", "1", "a")]),
    rules=RULES[3],
    key=["c", "l"],
    both=(),
    own=((), ()),
    folds=(False, False),
    around=((FRAMES[0], 0), (NEW_FRAMES[0], 0)),
    how="kernel",
)
@given(
    sides=split_sides(),
    rules=st.sampled_from(RULES),
    key=st.sampled_from([["c"], ["c", "l"]]),
    both=tests,
    own=st.tuples(tests, tests),
    folds=st.tuples(st.booleans(), st.booleans()),
    around=st.tuples(
        st.tuples(st.sampled_from(FRAMES), st.integers(0, 2)),
        st.tuples(st.sampled_from(NEW_FRAMES), st.integers(0, 2)),
    ),
    how=st.sampled_from(["kernel", "kernel", "memory", "disk", "pieces", "spark"]),
)
def test_every_combination_of_options_gives_what_the_oracle_says(
    tmp_path: Path,
    sides: tuple[Rows, Rows],
    rules: tuple[Rules, Rules, Rules],
    key: list[str],
    both: tuple[pairing_oracle.Test, ...],
    own: tuple[tuple[pairing_oracle.Test, ...], ...],
    folds: tuple[bool, bool],
    around: tuple[tuple[SideOptions, int], ...],
    how: str,
) -> None:
    """Frames, derived keys, filters, folding, repeated keys, rules, rejected rows."""
    old, new = sides
    columns = [name for name in ("l", "amount", "text") if name not in key]
    # The kernel leaves a file with bad rows to the reader in Python.
    bad = (0, 0) if how == "kernel" else (around[0][1], around[1][1])
    # The first record of a file without a header says how many columns there are.
    frames = [
        frame if rows else replace(frame, no_header=False, names=())
        for rows, (frame, _) in zip((old, new), around, strict=True)
    ]
    options = Options(
        keys=tuple(key),
        rules=rules[0],
        where=expression(both),
        on_bad_row=OnBadRow.QUARANTINE,
        old=replace(
            frames[0],
            rules=rules[1],
            where=expression(own[0]),
            derive=('c,l=split(claim,"-")',),
            fold=folds[0],
            sum=("amount",) if folds[0] else (),
        ),
        new=replace(
            frames[1],
            rules=rules[2],
            where=expression(own[1]),
            fold=folds[1],
            sum=("amount",) if folds[1] else (),
        ),
    )
    paths = (
        write_table(
            tmp_path / "o.csv", ["claim", "amount", "text"], old, bad[0], frames[0]
        ),
        write_table(
            tmp_path / "n.csv", ["c", "l", "amount", "text"], new, bad[1], frames[1]
        ),
    )
    of_both, *of_sides = rules
    # What is added up has to be read as a number.
    if any(folds) and not any("amount" in each for each in rules):
        of_both = of_both | {"amount": ("decimal",)}
    counted = ("row_count",) if all(folds) else ()
    plans = tuple(
        SidePlan(
            derive=(("split", "c", "l", "claim", "-"),) if at == 0 else (),
            own=own[at],
            both=both,
            fold=folds[at],
            sums=("amount", *counted),
        )
        for at in (0, 1)
    )
    chains = pairing_oracle.chains_of(of_both | {"row_count": ("decimal",)}, *of_sides)
    if has_unreadable(plans, chains):
        with pytest.raises(ConfigError, match="cannot read"):
            compare_by(how, paths, options)
        return
    ours, theirs = (
        [dict(zip(names, row, strict=True)) | {"row_count": "1"} for row in rows]
        for names, rows in (
            (["claim", "amount", "text"], old),
            (["c", "l", "amount", "text"], new),
        )
    )
    columns += counted
    wanted = pairing_oracle.compare(
        ours, theirs, key, columns, chains, (plans[0], plans[1])
    )
    if is_emptied(wanted.old) or is_emptied(wanted.new):
        with pytest.raises(ConfigError, match="leaves no row"):
            compare_by(how, paths, options)
        return
    d = compare_by(how, paths, options, ask_for_keys)
    assert said(d, columns) == wanted
    unpairable = wanted.old.unpairable + wanted.new.unpairable
    # A key with an unpairable row may be one that cannot be folded.
    if how != "spark" and not (any(folds) and unpairable):
        check_sought_rows(d, wanted, chains)
    if how == "kernel" and load_library() and not any(folds):
        assert d.engine.kernel == "native"
    assert (d.old.rejected, d.new.rejected) == bad
    uncompared = (*bad, wanted.old.unpairable, wanted.new.unpairable)
    if any(uncompared):
        assert not d.agrees
    listed = [row["side"] for row in d.unpairable().to_dicts()]
    assert listed.count("old") == wanted.old.unpairable
    assert listed.count("new") == wanted.new.unpairable


EACH = settings(max_examples=settings().max_examples // 3)
# What a user writes, and the same as the oracle has it.
ALIKE: list[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = [
    ((), ()),
    (("p=slice(a,1,2)",), (("slice", "p", "a", "1", "2"),)),
    (("p=slice(k,2)",), (("slice", "p", "k", "2", ""),)),
    (('p,q=split(a,"-")',), (("split", "p", "q", "a", "-"),)),
    (('p=join(k,a,"-")',), (("join", "p", "k", "a", "-"),)),
    (
        ('p,q=split(a,"-")', "r=slice(p,1,1)"),
        (("split", "p", "q", "a", "-"), ("slice", "r", "p", "1", "1")),
    ),
]
ALIKE_RULES: list[Rules] = [
    {},
    {},
    {"a": ("trim",), "b": ("decimal",)},
    {"p": ("casefold",), "b": ("decimal(abs=0.5)",)},
    {"k": ("lstrip0",)},
]
OTHERWISE = (("p=slice(a,2)",), (("slice", "p", "a", "2", ""),))


alike_tests = st.lists(
    st.sampled_from(
        [
            ("p", "!=", ("",)),
            ("p", "=", ("a", "1")),
            ("b", ">", ("0",)),
            ("b", "in", ("1", "2")),
            ("k", "<", ("2",)),
            ("a", "!=", ("a-1",)),
        ]
    ).map(lambda test: (test[0], test[1], test[2][:1] if test[1] != "in" else test[2])),
    min_size=1,
    max_size=2,
).map(tuple)


@st.composite
def alike_sides(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Rows of OLD and NEW, most of which are identical, in another order."""
    keys = st.sampled_from(["1", "2", "3", "5", "6", "7", "04", "4", ""])
    texts = st.sampled_from(["a-1", "A-1", "é-2", "b", "", "a-b-c"])
    numbers = st.sampled_from(["1", "1", "2", "2.0", "-1", "", "x"])
    row = st.tuples(keys, texts, numbers)
    old: Rows = draw(st.lists(row, min_size=draw(st.sampled_from([0, 4])), max_size=8))
    new: Rows = []
    for each in old:
        _, text, number = draw(row)
        match draw(st.sampled_from(["same", "same", "text", "number", "gone"])):
            # One cell differs, so that the row still has a partner.
            case "text":
                new.append((each[0], text, each[2]))
            case "number":
                new.append((*each[:2], number))
            case "same":
                new.append(each)
    new += draw(st.lists(row, max_size=1))
    return old, draw(st.permutations(new))


@pytest.mark.parametrize(
    "focus", ["nothing", "ignored", "filtered", "unlike", "folded"]
)
@EACH
@example(
    # Rows of one key that are folded into an identical row, and fail the filter.
    rows=(
        [("1", "a-1", "-1"), ("1", "a-1", "-1"), ("2", "a-1", "1")],
        [("1", "a-1", "-1"), ("2", "a-1", "1")],
    ),
    derived=ALIKE[0],
    rules={},
    both=(("b", ">", ("0",)),),
    how="kernel",
)
@example(
    # A pair of which one row fails the filter, and rows that differ in the source.
    rows=(
        [("1", "a-1", "-1"), ("2", "a-1", "1"), ("3", "a-1", "1")],
        [("1", "a-1", "1"), ("2", "b-1", "1"), ("3", "a-1", "1")],
    ),
    derived=ALIKE[1],
    rules={},
    both=(("b", ">", ("0",)),),
    how="kernel",
)
@given(
    rows=alike_sides(),
    derived=st.sampled_from(ALIKE),
    rules=st.sampled_from(ALIKE_RULES),
    both=alike_tests,
    how=st.sampled_from(["kernel", "kernel", "kernel", "memory", "spark"]),
)
def test_rows_that_are_prepared_alike_are_those_of_the_oracle(
    tmp_path: Path,
    rows: tuple[Rows, Rows],
    derived: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]],
    rules: Rules,
    both: tuple[pairing_oracle.Test, ...],
    how: str,
    focus: str,
) -> None:
    """The kernel matches them by their bytes, and a place is found for each.

    `focus`: what may decide more than the bytes of rows. An ignored source of a derived
    column, a filter, another derivation of the same column on NEW, filtered rows that
    are folded.
    """
    written, steps = derived
    new_names = [name for name in ("p", "q", "r") if any(name in s for s in steps)]
    unlike = focus == "unlike" and new_names == ["p"]
    of_new = OTHERWISE if unlike else derived
    folds = focus == "folded"
    ignored = ("a",) if focus == "ignored" else ()
    columns = [name for name in ("a", "b", *new_names) if name not in ignored]
    # A rule is for a compared column, and a test for one that there is.
    rules = {name: each for name, each in rules.items() if name in ("k", *columns)}
    tested = {"k", "a", "b", *new_names} if focus in {"filtered", "folded"} else ()
    both = tuple(test for test in both if test[0] in tested)
    options = Options(
        keys=("k",),
        rules=rules,
        where=expression(both),
        ignore=ignored,
        old=SideOptions(derive=written, fold=folds),
        new=SideOptions(derive=of_new[0]),
    )
    plans = (
        SidePlan(derive=steps, both=both, fold=folds),
        SidePlan(derive=of_new[1], both=both),
    )
    paths = (
        write_table(tmp_path / "o.csv", ["k", "a", "b"], rows[0]),
        write_table(tmp_path / "n.csv", ["k", "a", "b"], rows[1]),
    )
    chains = pairing_oracle.chains_of(rules)
    if has_unreadable(plans, chains):
        with pytest.raises(ConfigError, match="cannot read"):
            compare_by(how, paths, options)
        return
    old, new = ([dict(zip("kab", row, strict=True)) for row in each] for each in rows)
    wanted = pairing_oracle.compare(old, new, ["k"], columns, chains, plans)
    if is_emptied(wanted.old) or is_emptied(wanted.new):
        with pytest.raises(ConfigError, match="leaves no row"):
            compare_by(how, paths, options)
        return
    d = compare_by(how, paths, options, ask_for_keys)
    assert said(d, columns) == wanted
    unpairable = wanted.old.unpairable + wanted.new.unpairable
    if how != "spark" and not (folds and unpairable):
        check_sought_rows(d, wanted, chains)
    if how == "kernel" and load_library():
        assert d.engine.kernel == "native" or folds
        other = compare_by("memory", paths, options, ask_for_keys)
        assert d.looked_up == other.looked_up
        for ours, theirs in ((d.old, other.old), (d.new, other.new)):
            assert ours.blank_keys == theirs.blank_keys
    listed = [row["side"] for row in d.unpairable().to_dicts()]
    assert listed.count("old") == wanted.old.unpairable
    assert listed.count("new") == wanted.new.unpairable


# Spellings of numbers, and texts that are none.
SPELLINGS: list[list[str]] = [
    ["1", "1", "01", "+1", "1.", "1.0"],
    ["0.00", "0.00", "-0.00", "+.00", "0.0", "0"],
    ["0.5", "0.5", ".5", "+.5", "0.50"],
    ["-2", "-2", "-02", "-2.0"],
    ["1000", "1,000", "001,000", "1000."],
    ["9" * 16, "9" * 16, "0" + "9" * 16, "9" * 16 + ".0"],
    ["9" * 17, "9" * 17, "0" + "9" * 17],
    ["", "x", "--1", "+-1", "-", ".", "1,0", "0001,000"],
]


@st.composite
def foldable(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """Rows of OLD and NEW that often are identical once they are folded."""

    def spelled(wanted: list[str]) -> str:
        return draw(st.sampled_from(wanted))

    sides: list[Rows] = [[], []]
    keys = st.lists(st.tuples(KEYS, KEYS), unique=True, max_size=3)
    often = st.sampled_from([True, True, True, False])
    for key in draw(keys):
        numbers = draw(st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=3))
        amounts = [[spelled(each) for each in numbers]]
        match draw(st.sampled_from(["same", "respelled", "summed", "summed", "fewer"])):
            case "same":
                amounts.append(amounts[0][::-1])
            case "respelled":
                amounts.append([spelled(each) for each in numbers])
            case "summed":
                total = sum((read(each[0]) for each in numbers), Decimal(0))
                amounts.append([f"{total:.{draw(st.integers(0, 2))}f}"])
            case _:
                amounts.append(amounts[0][1:])
        other, text = draw(st.sampled_from(SPELLINGS)), draw(TEXTS)
        first = spelled(other)
        if draw(st.booleans()):
            amounts.reverse()
        for rows, its in zip(sides, amounts, strict=True):
            for amount in its:
                constant = first if draw(often) else spelled(other)
                same = text if draw(often) else draw(TEXTS)
                rows.append((*key, amount, constant, same))
    return sides[0], sides[1]


def read(text: str) -> Decimal:
    """A number without commas; 0 for another text."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


# Those that the kernel takes for plain numbers.
PLAIN_RULES: list[Rules] = [
    {},
    {"amount": ("decimal",), "other": ("decimal",)},
    {"amount": ("decimal(abs=0.5)",), "text": ("casefold",)},
]
SUMS = st.sampled_from([("amount",), ("amount", "other"), ("other",), ()])


@given(
    rows=foldable(),
    rules=st.sampled_from(PLAIN_RULES),
    key=st.sampled_from([["c"], ["c", "l"]]),
    folds=st.sampled_from([(True, True), (True, False), (False, True)]),
    sums=st.tuples(SUMS, SUMS),
    ignored=st.lists(st.sampled_from(["other", "row_count"]), unique=True),
    how=st.sampled_from(["kernel", "kernel", "kernel", "memory"]),
)
def test_rows_that_the_kernel_folds_are_those_of_the_oracle(
    tmp_path: Path,
    rows: tuple[Rows, Rows],
    rules: Rules,
    key: list[str],
    folds: tuple[bool, bool],
    sums: tuple[tuple[str, ...], tuple[str, ...]],
    ignored: list[str],
    how: str,
) -> None:
    """Numbers in any spelling, on one side added up and on the other not."""
    names = ["c", "l", "amount", "other", "text"]
    ignored = ignored if all(folds) else [name for name in ignored if name == "other"]
    rules = {name: each for name, each in rules.items() if name not in ignored}
    added = [
        tuple(name for name in each if name not in ignored) if fold else ()
        for each, fold in zip(sums, folds, strict=True)
    ]
    options = Options(
        keys=tuple(key),
        rules=rules,
        ignore=tuple(ignored),
        old=SideOptions(fold=folds[0], sum=added[0]),
        new=SideOptions(fold=folds[1], sum=added[1]),
    )
    order = [names.index(name) for name in ("text", "other", "l", "amount", "c")]
    paths = (
        write_table(tmp_path / "o.csv", names, rows[0]),
        write_table(
            tmp_path / "n.csv",
            [names[at] for at in order],
            [[row[at] for at in order] for row in rows[1]],
        ),
    )
    counted = ("row_count",) if all(folds) else ()
    columns = [
        name for name in (*names, *counted) if name not in key and name not in ignored
    ]
    added_up = dict.fromkeys({*added[0], *added[1]} - rules.keys(), ("decimal",))
    ours, theirs = (
        [dict(zip(names, row, strict=True)) | {"row_count": "1"} for row in side]
        for side in rows
    )
    wanted = pairing_oracle.compare(
        ours,
        theirs,
        key,
        columns,
        pairing_oracle.chains_of({**rules, **added_up, "row_count": ("decimal",)}),
        (
            SidePlan(fold=folds[0], sums=(*added[0], *counted)),
            SidePlan(fold=folds[1], sums=(*added[1], *counted)),
        ),
    )
    d = compare_by(how, paths, options)
    assert said(d, columns) == wanted
    if load_library():
        assert d.engine.kernel == ("native" if how == "kernel" else "numpy")


# The amounts of a key on one side. Two numbers of 57 bits differ by 2**56.
GROUPS: list[list[str]] = [
    *(["1"], ["01"], ["+1"], ["1."], ["1.0"], ["1", "1"], ["2"], ["2.0"], ["1.0", "1"]),
    *(["0.00"], ["-0.00"], ["0.50", "-0.5"], [".5"], ["0.5"], ["+.5"], ["-.5"]),
    *(["1,000"], ["1000"], ["001,000"], ["0001,000"], ["500", "5,00"], ["500", "500"]),
    *(["9" * 16], ["9" * 17], ["9" * 25], ["1", str(2**56)], [str(2**56 + 1)]),
    *(["0." + "0" * 300 + "1"], ["1", "0." + "0" * 40 + "1"], ["-2", "3"], ["", "1"]),
    *(["1", "1.5"], ["2.5"], ["25"]),
    *(["x"], ["+-1"], ["--1"], ["-"], ["."], [""], ["1", "x"], ["1", "1", "-1"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "sums", "ignored"),
    [
        ((1, 1), (1, 1), ()),
        ((1, 1), (1, 1), ("row_count",)),
        ((1, 1), (1, 0), ("row_count",)),
        ((1, 1), (0, 1), ()),
        ((1, 1), (0, 0), ("row_count", "amount")),
        ((1, 0), (1, 0), ()),
        ((0, 1), (0, 1), ()),
        ((0, 1), (0, 0), ()),
    ],
)
def test_each_two_groups_of_amounts_are_folded_as_the_oracle_says(
    tmp_path: Path,
    folds: tuple[int, int],
    sums: tuple[int, int],
    ignored: tuple[str, ...],
) -> None:
    counted = ("row_count",) if all(folds) else ()
    ignored = tuple(name for name in ignored if name in {"amount", *counted})
    both = list(itertools.product(GROUPS, repeat=2))
    rows = [
        [(str(at), amount) for at, of in enumerate(both) for amount in of[side]]
        for side in (0, 1)
    ]
    added = [
        ("amount",) if fold and its and "amount" not in ignored else ()
        for fold, its in zip(folds, sums, strict=True)
    ]
    paths = [tmp_path / "o.csv", tmp_path / "n.csv"]
    for path, side in zip(paths, rows, strict=True):
        write_table(path, ["c", "amount"], side)
    options = Options(
        keys=("c",),
        ignore=ignored,
        old=SideOptions(fold=bool(folds[0]), sum=added[0]),
        new=SideOptions(fold=bool(folds[1]), sum=added[1]),
    )
    d, other = (
        compare_by(how, (paths[0], paths[1]), options) for how in ("kernel", "memory")
    )
    columns = [name for name in ("amount", *counted) if name not in ignored]
    its = {"amount": ("decimal",)} if any(added) else {}
    ours, theirs = (
        [{"c": key, "amount": amount, "row_count": "1"} for key, amount in side]
        for side in rows
    )
    plans = (
        SidePlan(fold=bool(fold), sums=(*names, *counted))
        for fold, names in zip(folds, added, strict=True)
    )
    chains = pairing_oracle.chains_of(its | {"row_count": ("decimal",)})
    old, new = plans
    wanted = pairing_oracle.compare(ours, theirs, ["c"], columns, chains, (old, new))
    assert said(d, columns) == wanted
    # Of what is equal, the oracle does not count what is so by a rule only.
    assert d.counts == other.counts
    if load_library():
        assert (d.engine.kernel, other.engine.kernel) == ("native", "numpy")


OLD = pl.DataFrame({"CLAIM": ["C1-1", "C1-2", "C2-1"], "PAID": ["1", "2", "3"]})
NEW = pl.DataFrame(
    {"CLM": ["C1", "C1", "C2"], "LINE": ["1", "2", "1"], "PAID": ["1", "2", "3"]}
)
SPLIT = 'CLM,LINE=split(CLAIM,"-")'


def test_a_key_in_parts_is_derived_on_one_side() -> None:
    d = diff(OLD, NEW, keys=["CLM", "LINE"], old_derive=SPLIT)
    assert d.agrees
    assert d.drift == rx.model.Drift()
    assert [each.line for each in d.applied] == [
        f"--old-derive {SPLIT}: derived in 3 rows of OLD"
    ]
    d = diff(OLD, NEW, keys="CLAIM", new_derive='CLAIM=join(CLM,LINE,"-")')
    assert d.agrees
    old = NEW.with_columns(STATE=pl.Series(["NY", "NY", "CA"]))
    new = NEW.with_columns(ZIP=pl.Series(["NY1", "NY22", "CX3"]))
    d = diff(old, new, keys=["CLM", "LINE"], new_derive="STATE=slice(ZIP,1,2)")
    assert d.differing[0].name == "STATE"
    assert d.counts.mismatched_cells == 1


@pytest.mark.parametrize(
    ("derive", "lost"),
    [
        ('A,B=split(CLAIM,"-")', 0),
        ('A,B=split(CLAIM,"1")', 1),
        ('A,B,C=split(CLAIM,"-")', 3),
        ("A=slice(CLAIM,4)", 0),
        ("A=slice(CLAIM,5)", 3),
        ("A=slice(CLAIM,2,5)", 3),
        ('A=join(CLAIM,PAID,"")', 0),
    ],
)
def test_rows_that_do_not_fit_are_unpairable(derive: str, lost: int) -> None:
    ignored = [derive.partition("=")[0].split(",")]
    d = diff(OLD, OLD, keys="CLAIM", old_derive=derive, ignore=ignored[0])
    assert (d.old.unpairable, d.counts.matched, d.counts.extra) == (
        lost,
        3 - lost,
        lost,
    )
    assert d.agrees == (not lost)
    if lost:
        assert f"{lost} extra may be among {lost} unpairable of old" in d.warnings()


@pytest.mark.parametrize("how", ["kernel", "memory", "disk", "spark"])
@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("p = 'x'", "unpairable"),
        # A column that is made of one that could not be made.
        ("j != '/2'", "unpairable"),
        ("p != ''", "unpairable"),
        ("p = 'x' and k != '2'", "left_out"),
    ],
)
def test_a_filter_does_not_judge_a_column_that_could_not_be_made(
    tmp_path: Path, where: str, place: str, how: str
) -> None:
    paths = (
        write_table(tmp_path / "o.csv", ["k", "a"], [("1", "x-y"), ("2", "bad")]),
        write_table(tmp_path / "n.csv", ["k", "a"], [("1", "x-y")]),
    )
    steps = ('p,q=split(a,"-")', 'j=join(p,k,"/")')
    options = Options(
        keys=("k",), compare_only=("a",), old=SideOptions(derive=steps, where=where)
    )
    d = compare_by(how, paths, options)
    assert (d.counts.matched, d.counts.missing, getattr(d.old, place)) == (1, 0, 1)
    assert d.agrees == (place == "left_out")


def test_a_derived_column_is_masked_as_its_source() -> None:
    new = NEW.with_columns(CLM=pl.lit("C9"))
    d = diff(
        OLD, new, keys=["CLM", "LINE"], old_derive=SPLIT,
        masks={"CLAIM": "redact", "PAID": "last4"},
    )  # fmt: skip
    shown = d.missing()
    assert set(shown["CLM"]) | set(shown["LINE"]) == {"(redacted)"}
    assert "C1" not in d.to_json()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"old_derive": 'A,B=split(NONE,"-")'}, "OLD has no column NONE"),
        ({"old_derive": 'PAID,B=split(CLAIM,"-")'}, "OLD has a column PAID already"),
        ({"new_derive": "A=slice(CLAIM,1)"}, "NEW has no column CLAIM"),
        ({"new_fold": True, "new_sum": "NONE"}, "--new-sum NONE"),
        ({"new_fold": True, "new_sum": "CLM"}, "--new-sum CLM"),
        ({"new_sum": "PAID"}, "--new-sum needs --new-fold"),
        (
            {"new_fold": True, "new_sum": "PAID", "rules": {"PAID": "date(%Y%m%d)"}},
            "reads no numbers",
        ),
    ],
)
def test_a_preparation_that_does_not_fit_is_a_usage_error(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        diff(OLD, NEW, keys="CLM", **{"old_derive": SPLIT} | options)


@pytest.mark.parametrize(
    "text",
    [
        "", "A", "A=", "A=B", "A=split(B)", 'A=split(B,"-")', 'A,B=split(C,"")',
        'A,B=split(C,D,"-")', "A,B=split(C,-)", 'A=join(B,"-")', 'A,B=join(C,D,"-")',
        "A=slice(B)", "A=slice(B,0)", "A=slice(B,3,2)", "A=slice(B,1,2,3)",
        "A=slice(B,x)", "A,B=slice(C,1)", 'A,A=split(B,"-")', 'A,B=split(C,"-"',
        'A,B=cut(C,"-")', 'A,B=split(C,"-")x', "A=slice(B,1_0)", "A=slice(B,٣)",
    ],
)  # fmt: skip
def test_a_malformed_derivation_is_a_usage_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--derive"):
        parse_derivation(text)


@pytest.mark.parametrize("text", ["A=split(B)", "A=join(B)", "A,B=slice(C,1)"])
def test_the_error_of_a_derivation_has_its_form(text: str) -> None:
    with pytest.raises(ConfigError, match="is written as") as caught:
        parse_derivation(text)
    form = caught.value.message.partition("is written as ")[2]
    # What it shows is what is read.
    shown = form.replace("FIRST", "1").replace("LAST", "2")
    assert parse_derivation(shown).function in text


def test_a_derivation_is_read_as_it_is_written() -> None:
    assert parse_derivation(' "A,1" , B = split( "C=2" , "-""" ) ') == Derivation(
        ("A,1", "B"), "split", ("C=2",), '-"'
    )
    assert parse_derivation("A=slice(B,2,3)") == Derivation(
        ("A",), "slice", ("B",), first=2, last=3
    )


def test_amounts_of_one_key_are_added_up_exactly() -> None:
    old = pl.DataFrame({"K": ["1", "2"], "PAID": ["0.30", "1E"]})
    new = pl.DataFrame({"K": ["1"] * 3 + ["2"], "PAID": ["0.1", "0.2", "0", "1E"]})
    d = diff(old.head(1), new.head(3), keys="K", new_fold=True, new_sum="PAID")
    assert d.headline() == "AGREE on 1 of 3 rows (2 folded away)"
    assert [each.line for each in d.applied] == [
        "--new-fold --new-sum PAID: folded 3 rows of NEW into 1"
    ]
    d = diff(old, new, keys="K", new_fold=True, new_sum="PAID")
    assert (d.old.unpairable, d.new.unpairable) == (1, 1)
    assert d.unpairable()["reason"].to_list() == ["--fold cannot add up PAID"] * 2
    big = pl.DataFrame({"K": ["1", "1"], "PAID": ["9" * 50 + ".5", "0.50"]})
    one = pl.DataFrame({"K": ["1"], "PAID": ["1" + "0" * 50]})
    assert diff(one, big, keys="K", new_fold=True, new_sum="PAID").agrees


def test_folding_both_sides_counts_the_rows_of_a_key() -> None:
    old = pl.DataFrame({"K": ["1", "1"], "PAID": ["1", "2"]})
    new = pl.DataFrame({"K": ["1"], "PAID": ["3"]})
    d = diff(old, new, keys="K", fold=True, sum="PAID")
    assert [column.name for column in d.differing] == ["row_count"]
    assert d.sample[0].payload == {"row_count": "2~1"}
    assert diff(old, new, keys="K", fold=True, sum="PAID", ignore="row_count").agrees
    both = [each.with_columns(row_count=pl.lit("x")) for each in (old, new)]
    d = diff(*both, keys="K", fold=True, sum="PAID", compare_only="PAID")
    assert [column.name for column in d.differing] == ["row_count_2"]


def test_a_folded_key_is_explained(tmp_path: Path) -> None:
    old = write_table(tmp_path / "o.csv", ["K", "PAID"], [("1", "3")], 0)
    new = write_table(tmp_path / "n.csv", ["K", "PAID"], [("1", "1"), ("1", "1")], 0)
    side = SideOptions(fold=True, sum=("PAID",))
    found = explain_key(old, new, Options(keys=("K",), new=side), ["1"])
    [pair] = found.pairs
    assert (pair.old_line, pair.new_line) == (2, None)
    assert [(cell.old, cell.new) for cell in pair.cells] == [("3", "2")]


def test_keys_are_proposed_of_derived_columns(tmp_path: Path) -> None:
    OLD.write_csv(tmp_path / "o.csv")
    NEW.write_csv(tmp_path / "n.csv")
    options = Options(keys=NO_KEY, ignore=("PAID",), old=SideOptions(derive=(SPLIT,)))
    for old, new in ((OLD, NEW), (tmp_path / "o.csv", tmp_path / "n.csv")):
        [first, *_] = propose_keys(old, new, options)
        assert (first.columns, first.matched) == (("CLM", "LINE"), 3)


def test_the_command_line_and_the_file_prepare_alike(tmp_path: Path) -> None:
    OLD.write_csv(tmp_path / "old.csv")
    NEW.write_csv(tmp_path / "new.csv")
    flags = ("-k", "CLM", "--old-derive", SPLIT, "--fold", "--sum", "PAID",
             "--ignore", "LINE")  # fmt: skip
    given = recon("diff", "old.csv", "new.csv", *flags, "-f", "json", cwd=tmp_path)
    (tmp_path / "recon.toml").write_text(
        'keys = "CLM"\nfold = true\nsum = "PAID"\nignore = "LINE"\n'
        f"[old]\nderive = '{SPLIT}'\n"
    )
    filed = recon("diff", "old.csv", "new.csv", "-f", "json", cwd=tmp_path)
    results = [json.loads(each.stdout) for each in (given, filed)]
    assert results[0] | {"engine": 0} == results[1] | {"engine": 0}
    assert results[0]["old"]["folded_away"] == 1
    side = SideOptions(fold=True, sum=("PAID",))
    old = replace(side, derive=(SPLIT,))
    options = Options(keys=("CLM",), ignore=("LINE",), old=old, new=side)
    assert rebuild_command(options, "o", "n") == (
        f"recon diff o n --key CLM --ignore LINE --old-derive '{SPLIT}' --fold"
        " --sum PAID"
    )
    wrong = recon("diff", "old.csv", "new.csv", "--old-derive", "A=B", cwd=tmp_path)
    assert (wrong.returncode, "USAGE_ERROR" in wrong.stderr) == (2, True)


def test_a_key_that_no_side_derives_is_missing() -> None:
    with pytest.raises(KeyMissing, match="CLM is not in OLD"):
        diff(OLD, NEW, keys="CLM")


@pytest.mark.slow
def test_spark_gives_the_same_json(tmp_path: Path) -> None:
    """Filters, derived columns, folding, and rows of each place."""
    old = [(f"C{at % 9}-{at % 4}", str(at), "abc"[at % 3]) for at in range(40)]
    new = [(f"C{at % 8}", str(at % 4), f"{at}.50", "abc"[at % 3]) for at in range(60)]
    paths = (
        write_table(
            tmp_path / "o.csv", ["claim", "amount", "text"], [*old, ("x",) * 3]
        ),
        write_table(tmp_path / "n.csv", ["c", "l", "amount", "text"], new),
    )
    options = Options(
        keys=("c", "l"),
        where="text in ('a', 'b', 'x')",
        ignore=("text",),
        masks={"claim": "redact"},
        old=SideOptions(derive=('c,l=split(claim,"-")',)),
        new=SideOptions(fold=True, sum=("amount",), where="c != 'C3'"),
    )
    local, spark = (compare_by(how, paths, options) for how in ("disk", "spark"))
    documents = [each.to_dict() for each in (local, spark)]
    for document in documents:
        del document["engine"]
        # The tasks of this test compute no hash of a file.
        for side in ("old", "new"):
            del document[side]["sha256"]  # type: ignore[attr-defined]
    assert json.dumps(documents[0]) == json.dumps(documents[1])
    assert local.old.left_out
    assert local.new.left_out
    assert local.new.folded_away
    assert local.old.partner_left_out
    assert local.old.unpairable == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("amounts", "total", "rules", "written"),
    [
        (["1.234,50", "-0,5"], "1234", {"new_rules": "decimal(comma)"}, "1234,0"),
        (["000150", "-050", "7"], "1.07", {"new_rules": "scale(2)"}, "107"),
        (["-150", "-1"], "-1.51", {"new_rules": "scale(2)"}, "-151"),
        (["$1,000.25", "($0.25)"], "1000", {"rules": "decimal(money=$)"}, "1000.00"),
        (["12.5%", "7.5 %"], "0.2", {"rules": "decimal(percent)"}, "0.200"),
        (["1.5E+3", "2e-1"], "1500.2", {"new_rules": "decimal(exp)"}, "1500.2"),
        (["5-", "2.50"], "-2.5", {"new_rules": "decimal(trailing)"}, "-2.5"),
        (["9" * 40 + ",5", "0,5"], "1" + "0" * 40, {"new_rules": "decimal(comma)"}, ""),
    ],
)
def test_sums_are_in_the_notation_of_their_column(
    amounts: list[str], total: str, rules: dict[str, str], written: str
) -> None:
    new = pl.DataFrame({"ID": ["1"] * len(amounts), "PAID": amounts})
    options: dict[str, Any] = {"keys": "ID", "new_fold": True, "new_sum": "PAID"}
    options |= {name: {"PAID": rule} for name, rule in rules.items()}
    d = diff(pl.DataFrame({"ID": ["1"], "PAID": [total]}), new, **options)
    assert d.agrees
    assert d.new.folded_away == len(amounts) - 1
    other = diff(pl.DataFrame({"ID": ["1"], "PAID": [total + "1"]}), new, **options)
    [cell] = other.mismatches().to_dicts()
    assert not written or cell["new"] == written
