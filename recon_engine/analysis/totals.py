"""Control totals: exact sums of the columns that hold amounts. Pure.

A column holds amounts if every differing cell, including those of missing and extra
rows, and every cell of the samples is a number or blank, and some is a number. A blank
is absent, not 0. A number is read by the rules of its column. Identifiers are not
amounts: codes with leading zeros (`007`), and columns of whole numbers of one width on
one side, of eight digits or more, such as identifiers and dates. No amount is longer
than `MAX_NUMBER_BYTES`. Key columns have no totals.

Equal cells do not change a sum, so they are not added. Sums are 128-bit integers where
they fit, otherwise Decimals in a context that refuses to round. All sums are additive,
so groups are merged in any order.
"""

from __future__ import annotations

import functools
import itertools
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
from recon_engine.analysis.finding import Finding, drop_masked
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.inputs.native.texts import open_table
from recon_engine.model import EXACT, SIDES, Total
from recon_engine.record_table import Field
from recon_engine.rules.base import NORMAL_PREFIX, is_read_form
from recon_engine.rules.chains import (
    NO_CHAIN,
    has_notation,
    read_amounts,
    write_amounts,
)
from recon_engine.rules.numbers import INTEGER_DIGITS, Number, as_scaled_integers


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.inputs.native.binding import SummedColumn
    from recon_engine.rules.base import Rule


# Without leading zeros: `007` is a code. A comma has to separate groups of three
# digits.
WHOLE_PATTERN: Final = "(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)"
AMOUNT_PATTERN: Final = rf"^(?:[+-]?(?:{WHOLE_PATTERN}(?:\.[0-9]*)?|\.[0-9]+))?$"
# The first rows rule out most columns that hold no amounts.
FIRST_ROWS: Final = 256
# So few texts are added faster as Decimals than by a query.
FEW_TEXTS: Final = 1_000
# Short columns are read together up to so many cells, of 16 bytes and their text each.
BATCH_CELLS: Final = 1 << 17
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


def sum_read(rules: Sequence[Rule], texts: pl.Series, forms: pl.Series) -> ColumnSum:
    """The sum of texts of a side, as its rules read them.

    `forms`: the normal forms of the texts.
    """
    if has_notation(rules):
        read = is_read_form(forms)
        numbers = forms if read.all() else forms.zip_with(read, texts)
        with open_table(numbers.to_frame()) as table:
            if table is not None:
                [summed] = table.sum_columns().values()
                if summed.exact or not summed.amounts:
                    return _read_sum(numbers, summed)
        texts = write_amounts(rules, texts, forms)
    [found] = sum_rows(texts.to_frame()).values()
    return found


def sum_rows(rows: pl.DataFrame) -> dict[str, ColumnSum]:
    """The sum of each column."""
    with open_table(rows) as table:
        if table is not None:
            summed = table.sum_columns()
            return {name: _read_sum(rows[name], each) for name, each in summed.items()}
    return {
        name: _sum_column(rows[name], form) for name, form in detect_forms(rows).items()
    }


def read_summed(summed: SummedColumn) -> ColumnSum | None:
    """The sum of a column as the kernel has computed it; None if it could not."""
    form = _read_form(summed)
    if form.widths is None:
        return ColumnSum(Decimal(0), form)
    if not summed.exact:
        return None
    return ColumnSum(summed.value, form)


def _read_sum(texts: pl.Series, summed: SummedColumn) -> ColumnSum:
    """The sum of a column as the kernel has computed it, or else of its texts."""
    found = read_summed(summed)
    return _sum_column(texts, _read_form(summed)) if found is None else found


def _read_form(summed: SummedColumn) -> AmountForm:
    """How a column is written, by what the kernel has seen."""
    shortest, longest = summed.shortest or None, summed.longest or None
    return make_form(bool(summed.amounts), shortest, longest, bool(summed.point))


def detect_forms(
    cells: pl.DataFrame, columns: Iterable[str] | None = None
) -> dict[str, AmountForm]:
    """How the cells of each column are written; of all columns by default."""
    [forms] = detect_all_forms([(cells, cells.columns if columns is None else columns)])
    return forms


def detect_all_forms(
    tables: Iterable[tuple[pl.DataFrame, Iterable[str]]],
) -> list[dict[str, AmountForm]]:
    """How the cells of these columns of some tables are written.

    Without the kernel it takes two queries.
    """
    asked = [(cells, [*names]) for cells, names in tables]
    read = [_read_forms(cells, names) for cells, names in asked]
    if None not in read:
        return [forms for forms in read if forms is not None]
    long = [
        (cells.head(FIRST_ROWS), names) for cells, names in asked if _is_long(cells)
    ]
    first = iter(_detect_forms_at_once(long))
    able = [
        [name for name, form in next(first).items() if form.amounts]
        if _is_long(cells)
        else names
        for cells, names in asked
    ]
    found = _detect_forms_at_once(
        [(cells, some) for (cells, _), some in zip(asked, able, strict=True)]
    )
    return [
        dict.fromkeys(names, NOT_AMOUNTS) | forms
        for (_, names), forms in zip(asked, found, strict=True)
    ]


def sum_few(cells: Iterable[tuple[str, int]], form: AmountForm) -> ColumnSum:
    """The sum of few texts of one form, each weighted by its number of rows."""
    if form.widths is None:
        return ColumnSum(Decimal(0), form)
    stripped = ((text.strip(), rows) for text, rows in cells)
    return ColumnSum(_sum_of_decimals(each for each in stripped if each[0]), form)


def form_facts(text: pl.Expr, height: int | None = None) -> list[pl.Expr]:
    """What `make_form` takes: of stripped columns of a height, or of all cells."""
    size = pl.when(text.str.len_bytes() > 0).then(text.str.len_bytes())
    amount = text.str.contains(AMOUNT_PATTERN)
    point = text.str.contains(".", literal=True)
    cells: list[Any] = [amount, size, point]
    if height is not None:
        cells = [each.reshape((-1, height)).arr for each in cells]
    amount, size, point = cells
    facts = amount.all(), size.min(), size.max(), point.any()
    return [
        fact.alias(f"{text.meta.output_name()}_{at}") for at, fact in enumerate(facts)
    ]


def make_form(
    amounts: bool,  # noqa: FBT001 - the facts of `form_facts`, in order
    shortest: int | None,
    longest: int | None,
    point: bool,  # noqa: FBT001
) -> AmountForm:
    """The form of some cells.

    `amounts`: whether all are amounts or blank; `shortest`, `longest`: of those that
    are not blank, in bytes; `point`: whether one has a point.
    """
    if not amounts or (longest or 0) > MAX_NUMBER_BYTES:
        return NOT_AMOUNTS
    if shortest is None or longest is None:
        return BLANK_FORM
    return AmountForm(widths=(shortest, longest), whole=not point)


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
    differing: SumPair,
) -> Iterator[Total]:
    """The totals of a column over all differences, if it holds amounts.

    `sums`, for which `have_amounts` holds: of its changed cells in OLD and NEW, and
    of its cells in missing and extra rows; `samples`: the forms of sampled rows of both
    files; `differing`: the sums of the changed cells that no rule makes equal.
    """
    old, new, missing, extra = sums
    sides = old.form + missing.form + samples[0], new.form + extra.form + samples[1]
    if all(side.amounts and not side.are_names for side in sides):
        both = (differing[0].value, differing[1].value)
        yield Total(column, *(each.value for each in sums), differing=both)


def _read_forms(
    cells: pl.DataFrame, names: Sequence[str]
) -> dict[str, AmountForm] | None:
    """How these columns are written, by the kernel; None without it."""
    some = cells
    if 0 < len(names) < cells.width:
        some = pl.DataFrame(_columns_of(cells, names))
    with open_table(some) as table:
        if table is None:
            return None
        summed = table.sum_columns()
        return {name: _read_form(summed[name]) for name in names}


def _is_long(cells: pl.DataFrame) -> bool:
    return cells.height > FIRST_ROWS


def _detect_forms_at_once(
    tables: Sequence[tuple[pl.DataFrame, Sequence[str]]],
) -> list[dict[str, AmountForm]]:
    """How the cells of these columns are written, by one query for all tables."""
    queries = [
        _form_query(texts, cells.height)
        for cells, names in tables
        if names and not cells.is_empty()
        for texts in _in_batches(_columns_of(cells, names))
    ]
    found = pl.collect_all(queries, engine="in-memory") if queries else ()
    facts = itertools.chain.from_iterable(frame.iter_rows() for frame in found)
    return [
        dict.fromkeys(names, BLANK_FORM)
        if cells.is_empty()
        else {name: make_form(*next(facts)) for name in names}
        for cells, names in tables
    ]


def _columns_of(cells: pl.DataFrame, names: Iterable[str]) -> list[pl.Series]:
    """Some columns; one by one by its name, each costs as much as a short query."""
    every = dict(zip(cells.columns, cells.get_columns(), strict=True))
    return [every[name] for name in names]


def _in_batches(columns: Sequence[pl.Series]) -> Iterator[pl.Series]:
    """The columns one after another, short ones in one series.

    An expression costs more than the cells of a short column, and copying a long column
    takes memory.
    """
    width = max(1, BATCH_CELLS // len(columns[0]))
    for start in range(0, len(columns), width):
        batch = columns[start : start + width]
        yield pl.concat(batch) if len(batch) > 1 else batch[0]


def _form_query(texts: pl.Series, height: int) -> pl.LazyFrame:
    """The facts of `make_form` about columns of this height, one after another."""
    text = pl.col("text")
    cells = texts.alias("text").to_frame().lazy().select(text.str.strip_chars())
    return cells.select(form_facts(text, None if len(texts) == height else height))


def _sum_column(texts: pl.Series, form: AmountForm) -> ColumnSum:
    """The sum of a column of this form."""
    if form.widths is None:
        return ColumnSum(Decimal(0), form)
    if len(texts) <= FEW_TEXTS:
        return sum_few(((text, 1) for text in texts.to_list()), form)
    counted = texts.alias("text").value_counts(name="rows")
    return _sum_texts(counted["text"], counted["rows"], form)


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
        return _sum_of_decimals(zip(texts, rows, strict=True))
    point = texts.str.find(".", literal=True)
    shift = int((texts.str.len_bytes() - point).max() or 1) - 1  # type: ignore[arg-type]
    # The scaled sum might have more digits than an Int128 holds.
    if longest + shift + len(str(rows.sum())) > INTEGER_DIGITS:
        return _sum_of_decimals(zip(texts, rows, strict=True))
    number = Number().normal(pl.col("text")).str.strip_prefix(NORMAL_PREFIX)
    scaled = as_scaled_integers(number, shift) * pl.col("rows").cast(pl.Int128)
    cells = pl.DataFrame({"text": texts, "rows": rows})
    return EXACT.scaleb(Decimal(cells.select(scaled.sum()).item()), -shift)


def _sum_of_decimals(cells: Iterable[tuple[str, int]]) -> Decimal:
    every = (
        EXACT.multiply(Decimal(text.replace(",", "")), Decimal(count))
        for text, count in cells
    )
    return functools.reduce(EXACT.add, every, Decimal(0))


def _find_totals(evidence: Evidence) -> Iterator[Total]:
    """The control totals, in the order of OLD."""
    ids = {name: internal for internal, name in evidence.names.items()}
    found = {name: _sums_of(evidence, name, ids[name]) for name in evidence.columns}
    able = [ids[name] for name, sums in found.items() if have_amounts(sums)]
    # How a column is written is examined once for both samples, and only if it can
    # have a total.
    samples = (
        rows.with_columns(
            read_amounts(chain.of(side), rows[each], apply_natively)
            for each in able
            for chain in [evidence.chains.get(each, NO_CHAIN)]
            if has_notation(chain.of(side))
        )
        for side, rows in zip(SIDES, evidence.samples, strict=True)
    )
    old, new = detect_all_forms((rows, able) for rows in samples)
    for name, sums in found.items():
        if ids[name] in old:
            samples_of = old[ids[name]], new[ids[name]]
            differing = _differing_sums(evidence, name)
            yield from build_total(name, sums, samples_of, differing)


def _differing_sums(evidence: Evidence, name: str) -> SumPair:
    """The sums of both sides over the cells of a column that no rule makes equal."""
    found = evidence.column_findings.get(name)
    return found.sums if found else ZERO_SUM_PAIR


def _sums_of(
    evidence: Evidence, name: str, internal: str
) -> tuple[ColumnSum, ColumnSum, ColumnSum, ColumnSum]:
    """The sums of a column.

    Its differing cells in OLD and NEW, its missing and extra rows.
    """
    tolerated = evidence.tolerated.get(internal, ZERO_SUM_PAIR)
    changed = add_sum_pairs(tolerated, _differing_sums(evidence, name))
    missing, extra = (side.sums[internal] for side in evidence.unmatched)
    return *changed, missing, extra


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
    mask=drop_masked,
    holds_values=False,
)
