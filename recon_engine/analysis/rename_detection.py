"""Detect renamed columns by their values.

The first rows of both files are matched by key, and each column in OLD only is compared
with each in NEW only, ignoring white space, case, null words and the format of numbers
and dates, as the values of each column show it. The cost does not depend on the size of
the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis.notations import (
    DAY_ORDERS,
    FORMATS,
    NULLS,
    find_notation,
    has_day_first,
    write_decimal,
)
from recon_engine.inputs.first_rows import read_first_cells
from recon_engine.model import SIDES
from recon_engine.rules.chains import NO_CHAIN, NO_RULES, normal_form
from recon_engine.rules.dates import Day
from recon_engine.rules.spelling import parse_rule
from recon_engine.rules.texts import Casefold, Nulls, Trim, Unwrap


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.inputs.first_rows import Reads
    from recon_engine.inputs.frames import Frame
    from recon_engine.inputs.header import Header
    from recon_engine.rules.base import Rule
    from recon_engine.rules.chains import Rules

    Agreements = Mapping[tuple[str, str], tuple[int, int]]


# Enough to compare all pairs of columns quickly.
MAX_MATCHED_ROWS: Final = 2_000
# Trades missed renames of columns that also changed against false proposals.
MIN_AGREEMENT: Final = 0.8
# As a date, the code 00051231 would differ from 51231.
BEFORE_1000: Final = r"^0[0-9]{3}(?:[0-9]{4}$|[-/])|[./]0[0-9]{3}$"


class _EvidentDay(Day):
    """A day of the year 1000 or later; an earlier one is more likely a code."""

    __slots__ = ()

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The day; the text itself if it is not such a day."""
        day = Day.normal(self, text)
        return pl.when(text.str.contains(BEFORE_1000)).then(text).otherwise(day)


OTHER_FORMATS: Final = tuple(f for _, f in FORMATS if f not in DAY_ORDERS)
TEXT_RULES: Final = (Unwrap(), Trim(), Nulls(NULLS))


def measure_agreements(
    old: Header | Frame,
    new: Header | Frame,
    keys: Sequence[tuple[str, str]],
    only_old: Sequence[str],
    only_new: Sequence[str],
    rules: Rules = NO_RULES,
    *,
    reads: Reads | None = None,
) -> Agreements:
    """Pairs of columns that agree, with the rows that agree and those compared.

    Args:
        old: OLD with its header read.
        new: NEW with its header read.
        keys: The names of each key column in OLD and in NEW.
        only_old: The columns in OLD only.
        only_new: The columns in NEW only.
        rules: The chains of key columns, by their names in OLD.
        reads: `pread` of both files, if they are not local.

    Rows in which both columns are blank do not count; a pair with one constant value
    does not agree. The best pairs come first, each column once.
    """
    read_old, read_new = reads or (None, None)
    heads = read_first_cells(old, read_old), read_first_cells(new, read_new)
    if heads[0] is None or heads[1] is None:
        return {}
    # Matched first: only the rows that are compared are read by rules.
    both = match_rows((heads[0], old.columns), (heads[1], new.columns), keys, rules)
    return compare_columns(
        (both[0], old.columns, only_old), (both[1], new.columns, only_new)
    )


def compare_columns(
    old: tuple[pl.DataFrame, Sequence[str], Sequence[str]],
    new: tuple[pl.DataFrame, Sequence[str], Sequence[str]],
) -> Agreements:
    """As `measure_agreements`, for rows that are matched already.

    `old`: rows of OLD with columns `c0`…, the names of these columns, and those of them
    that OLD only has; `new`: the same of NEW, row by row.
    """
    (rows_old, names_old, only_old), (rows_new, names_new, only_new) = old, new
    left = _normalize_columns(rows_old, names_old, only_old)
    right = _normalize_columns(rows_new, names_new, only_new)
    likely = sorted(
        (-alike / rows, -alike, at, to)
        for at in range(len(only_old))
        for to in range(len(only_new))
        for alike, rows in [_count_agreeing_rows(left[f"v{at}"], right[f"v{to}"])]
        if rows and alike >= MIN_AGREEMENT * rows
    )
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for share, alike, at, to in likely:
        pair = only_old[at], only_new[to]
        if all(pair[side] not in {each[side] for each in found} for side in (0, 1)):
            found[pair] = -alike, round(alike / share)
    return found


def match_rows(
    old: tuple[pl.DataFrame, Sequence[str]],
    new: tuple[pl.DataFrame, Sequence[str]],
    keys: Sequence[tuple[str, str]],
    rules: Rules,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of equal keys, of OLD and of NEW row by row.

    Args:
        old: Rows of OLD with columns `c0`…, and the names of these columns.
        new: The same of NEW.
        keys: The names of each key column in OLD and in NEW.
        rules: The rules of key columns, by their names in OLD.
    """
    of_old, of_new = (
        [rules.get(name, NO_CHAIN).of(side) for name, _ in keys] for side in SIDES
    )
    at_old, at_new = _match_by_key(
        _read_keys(*old, [name for name, _ in keys], of_old),
        _read_keys(*new, [name for _, name in keys], of_new),
    )
    return old[0][at_old], new[0][at_new]


def _read_keys(
    head: pl.DataFrame,
    columns: Sequence[str],
    keys: Sequence[str],
    rules: Sequence[Sequence[Rule]],
) -> pl.DataFrame:
    """Key columns as their rules read them, without keys that repeat.

    `row`: the place of each.
    """
    at = {name: f"c{place}" for place, name in enumerate(columns)}
    by = [f"k{place}" for place in range(len(keys))]
    return (
        head.lazy()
        .select(
            normal_form(chain, pl.col(at[name])).alias(ours)
            for name, chain, ours in zip(keys, rules, by, strict=True)
        )
        .with_row_index("row")
        .unique(by, keep="none")
        .collect(engine="in-memory")
    )


def _normalize_columns(
    rows: pl.DataFrame, columns: Sequence[str], names: Sequence[str]
) -> pl.DataFrame:
    """Some columns in one form for what says the same."""
    at = {name: f"c{place}" for place, name in enumerate(columns)}
    return rows.select(
        normal_form(_read_as(rows[at[name]]), pl.col(at[name])).alias(f"v{place}")
        for place, name in enumerate(names)
    )


def _read_as(texts: pl.Series) -> tuple[Rule, ...]:
    """The rules that read a column as it is written."""
    number = parse_rule(write_decimal(find_notation(texts)))
    order = "%d/%m/%Y" if has_day_first(texts) else "%m/%d/%Y"
    return *TEXT_RULES, _EvidentDay((*OTHER_FORMATS, order)), number, Casefold()


def _match_by_key(old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """The places of rows of equal keys, independent of the order of rows."""
    by = [name for name in old.columns if name.startswith("k")]
    rows = old.join(new, on=by, suffix="_new").sort(by).head(MAX_MATCHED_ROWS)
    return rows["row"], rows["row_new"]


def _count_agreeing_rows(old: pl.Series, new: pl.Series) -> tuple[int, int]:
    """The rows in which two columns agree, and those in which one is not blank."""
    said = (old != "") | (new != "")
    alike = old.filter(said & (old == new))
    # A constant agrees with every column of the same constant.
    return (alike.len() if alike.n_unique() > 1 else 0), int(said.sum())
