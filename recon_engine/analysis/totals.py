"""Control totals: exact sums of the columns that hold amounts. Pure.

A column holds amounts if every differing cell, including those of missing and extra
rows, and every cell of the samples is a number or blank, and some is a number. A blank
is absent, not 0. Identifiers are not amounts: codes with leading zeros (`007`), and
columns of whole numbers of one width on one side, of eight digits or more, such as
identifiers and dates. No amount is longer than `MAX_NUMBER_BYTES`. Key columns have no
totals.

Equal cells do not change a sum, so they are not added. Sums are 128-bit integers where
they fit, otherwise Decimals in a context that refuses to round. All sums are additive,
so groups are merged in any order.
"""

from __future__ import annotations

import functools
import operator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.analysis.amounts import (
    BLANK_FORM,
    NOT_AMOUNTS,
    ZERO_SUM,
    ZERO_SUM_PAIR,
    AmountForm,
    ColumnSum,
    SumPair,
)
from recon_engine.analysis.finding import Finding
from recon_engine.model import EXACT, Total
from recon_engine.record_table import Field
from recon_engine.rules import INTEGER_DIGITS, NORMAL_PREFIX, Number, as_scaled_integers


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.analysis.finding import ValueMasks


WHOLE_PATTERN: Final = "(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)"
AMOUNT_PATTERN: Final = rf"^(?:[+-]?(?:{WHOLE_PATTERN}(?:\.[0-9]*)?|\.[0-9]+))?$"
# The first rows rule out most columns that hold no amounts.
FIRST_ROWS: Final = 256
# So few texts are added faster as Decimals than by a query.
FEW_TEXTS: Final = 1_000
# Bounds the cost of exact Decimals; no amount of money comes near.
MAX_NUMBER_BYTES: Final = 1_000


def sum_changes(changes: pl.DataFrame) -> SumPair:
    """The sums of both sides over the changes of a column."""
    written = detect_forms(changes.select("old", "new"))
    old, new = (
        _sum_texts(changes[side], changes["rows"], form)
        for side, form in written.items()
    )
    return old, new


def sum_pairs(old: pl.Series, new: pl.Series) -> SumPair:
    """The sums of both sides over pairs of cells."""
    pairs = pl.DataFrame({"old": old, "new": new})
    return sum_changes(pairs.with_columns(rows=pl.lit(1)))


def sum_rows(rows: pl.DataFrame) -> dict[str, ColumnSum]:
    """The sum of each column."""
    found = {}
    for name, form in detect_forms(rows).items():
        cells = rows[name] if form.widths else rows[name].clear()
        counted = cells.alias("text").value_counts(name="rows")
        found[name] = _sum_texts(counted["text"], counted["rows"], form)
    return found


def detect_forms(cells: pl.DataFrame) -> dict[str, AmountForm]:
    """How the cells of each column are written."""
    able = cells.select(pl.all().str.strip_chars())
    # Two passes: the first rows rule out most columns.
    for rows in (FIRST_ROWS, able.height):
        amounts = _evaluate_per_column(
            able.head(rows), pl.all().str.contains(AMOUNT_PATTERN).all()
        )
        able = able.select(name for name, yes in amounts.items() if yes)
    sizes = able.select(pl.all().str.len_bytes())
    given = sizes.select(pl.when(pl.all() > 0).then(pl.all()))
    least, most = (
        _evaluate_per_column(given, pl.all().min()),
        _evaluate_per_column(given, pl.all().max()),
    )
    point = _evaluate_per_column(able, pl.all().str.contains(".", literal=True).any())
    known = {
        name: _make_form(least[name], most[name], whole=not point[name])
        for name in able.columns
    }
    return {name: known.get(name, NOT_AMOUNTS) for name in cells.columns}


def add_sum_pairs(sums: SumPair, others: SumPair) -> SumPair:
    """The sums of two groups of pairs as one."""
    (old, new), (o, n) = sums, others
    return old + o, new + n


def merge_sum_pairs(parts: Iterable[Mapping[str, SumPair]]) -> dict[str, SumPair]:
    """The sums of several groups of pairs as one, by column."""
    result: dict[str, SumPair] = {}
    for part in parts:
        for column, sums in part.items():
            result[column] = add_sum_pairs(result.get(column, ZERO_SUM_PAIR), sums)
    return result


def merge_column_sums(parts: Iterable[Mapping[str, ColumnSum]]) -> dict[str, ColumnSum]:
    """The sums of several groups of rows as one, by column."""
    result: dict[str, ColumnSum] = {}
    for part in parts:
        for column, each in part.items():
            result[column] = result.get(column, ZERO_SUM) + each
    return result


def have_amounts(sums: Iterable[ColumnSum]) -> bool:
    """Whether all these cells are amounts or blank, and some are amounts."""
    form = functools.reduce(operator.add, (each.form for each in sums))
    return form.amounts and form.widths is not None


def build_total(
    column: str,
    sums: tuple[ColumnSum, ColumnSum, ColumnSum, ColumnSum],
    samples: tuple[AmountForm, AmountForm],
) -> Iterator[Total]:
    """The totals of a column over all differences, if it holds amounts.

    `sums`, for which `have_amounts` holds: of its differing cells in OLD and NEW, and
    of its cells in missing and extra rows; `samples`: the forms of sampled rows of both
    files.
    """
    old, new, missing, extra = sums
    sides = old.form + missing.form + samples[0], new.form + extra.form + samples[1]
    if all(side.amounts and not side.are_names for side in sides):
        yield Total(column, *(each.value for each in sums))


def _evaluate_per_column(cells: pl.DataFrame, query: pl.Expr) -> dict[str, Any]:
    """One value for each column, in one query: hardly more than one column costs."""
    return cells.select(query).row(0, named=True) if cells.width else {}


def _make_form(shortest: int | None, longest: int | None, *, whole: bool) -> AmountForm:
    if shortest is None or longest is None:
        return BLANK_FORM
    return (
        NOT_AMOUNTS
        if longest > MAX_NUMBER_BYTES
        else AmountForm(widths=(shortest, longest), whole=whole)
    )


def _sum_texts(texts: pl.Series, rows: pl.Series, form: AmountForm) -> ColumnSum:
    """The sum of texts of one form, each weighted by its number of `rows`."""
    if form.widths is None:
        return ColumnSum(Decimal(0), form)
    texts = texts.str.strip_chars()
    given = texts != ""
    if not given.all():
        texts, rows = texts.filter(given), rows.filter(given)
    return ColumnSum(_exact_sum(texts, rows, max(form.widths)), form)


def _exact_sum(texts: pl.Series, rows: pl.Series, longest: int) -> Decimal:
    """The sum with as many decimal places as are written."""
    if len(texts) <= FEW_TEXTS:
        return _sum_of_decimals(texts, rows)
    point = texts.str.find(".", literal=True)
    shift = int((texts.str.len_bytes() - point).max() or 1) - 1  # type: ignore[arg-type]
    if longest + shift + len(str(rows.sum())) > INTEGER_DIGITS:
        return _sum_of_decimals(texts, rows)
    number = Number().normal(pl.col("text")).str.strip_prefix(NORMAL_PREFIX)
    scaled = as_scaled_integers(number, shift) * pl.col("rows").cast(pl.Int128)
    cells = pl.DataFrame({"text": texts, "rows": rows})
    return EXACT.scaleb(Decimal(cells.select(scaled.sum()).item()), -shift)


def _sum_of_decimals(texts: pl.Series, rows: pl.Series) -> Decimal:
    every = (
        EXACT.multiply(Decimal(text.replace(",", "")), Decimal(count))
        for text, count in zip(texts, rows, strict=True)
    )
    return functools.reduce(EXACT.add, every, Decimal(0))


def _find_totals(evidence: Evidence) -> Iterator[Total]:
    """The control totals, in the order of OLD."""
    ids = {name: internal for internal, name in evidence.names.items()}
    found = {name: _sums_of(evidence, name, ids[name]) for name in evidence.columns}
    able = [ids[name] for name, sums in found.items() if have_amounts(sums)]
    # How a column is written is examined once for both samples, and only if it can
    # have a total.
    old, new = (detect_forms(rows.select(able)) for rows in evidence.samples)
    for name, sums in found.items():
        if ids[name] in old:
            yield from build_total(name, sums, (old[ids[name]], new[ids[name]]))


def _sums_of(
    evidence: Evidence, name: str, internal: str
) -> tuple[ColumnSum, ColumnSum, ColumnSum, ColumnSum]:
    """The sums of a column.

    Its differing cells in OLD and NEW, its missing and extra rows.
    """
    changed = evidence.tolerated.get(internal, ZERO_SUM_PAIR)
    if name in evidence.column_findings:
        changed = add_sum_pairs(changed, evidence.column_findings[name].sums)
    missing, extra = (side.sums[internal] for side in evidence.unmatched)
    return *changed, missing, extra


def _drop_masked(totals: tuple[Total, ...], masks: ValueMasks) -> tuple[Total, ...]:
    """Totals of columns without a mask: the sum over a few rows reveals values."""
    return tuple(each for each in totals if each.column not in masks.by_column)


TOTALS: Final = Finding(
    name="totals",
    table="control_total",
    fields=(
        Field("column", "column_name"),
        Field("old", "old_total"),
        Field("new", "new_total"),
        Field("missing", "missing_total"),
        Field("extra", "extra_total"),
        Field("delta", stored=False),  # the table generates it
    ),
    load=Total,
    find=_find_totals,
    mask=_drop_masked,
    holds_values=False,
)
