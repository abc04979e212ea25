"""Sum the columns of a file whose trailer says their sum."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.header import Header, annotate_counted_in
from recon_engine.inputs.trailers import (
    add_exactly,
    check_trailer,
    summed_columns,
    trailer_error,
)
from recon_engine.model import EXACT
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.base import APART_PREFIX, NORMAL_PREFIX
from recon_engine.rules.chains import read_forms
from recon_engine.rules.numbers import Number
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import Rows
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.rules.base import Rule

    Sums = Mapping[str, Decimal] | None


def check_sums(
    unread: Sequence[Unread], tables: Sequence[Table], options: Options
) -> None:
    """Compare the sums that trailers say with those of the rows, file by file.

    Raises MalformedInput for another sum, and for a summand that cannot be read.
    """
    for header, table in zip(unread, tables, strict=True):
        if not isinstance(header, Header) or not isinstance(table, CsvFile):
            continue
        if summed_columns(header):
            with annotate_counted_in(header.origin):
                check_amounts(header, *_count_and_sum(header, table, options), options)


def check_amounts(
    header: Header, records: int, sums: Mapping[str, Decimal], options: Options
) -> None:
    """Compare what the trailers say with a file; a sum is read as its column is.

    Raises what `check_trailer` raises.
    """

    def read_amount(column: str, text: str) -> Decimal | None:
        (amount,) = _read_amounts(_rules_of(column, header, options), pl.Series([text]))
        return amount

    check_trailer(header, records, sums, read_amount)


def _count_and_sum(
    header: Header, file: CsvFile, options: Options
) -> tuple[int, Mapping[str, Decimal]]:
    totals = dict.fromkeys(summed_columns(header), Decimal(0))
    parts = map_ordered(
        lambda part: sum_rows(file.read(part), header, options), file.parts
    )
    for sums in parts:
        add_sums(header, totals, sums)
    return file.rows + file.rejects.count, totals


def add_sums(header: Header, totals: dict[str, Decimal], sums: Sums) -> None:
    """Add the sums of more rows; None is of rows with an unreadable summand."""
    if sums is None:
        trailer = header.trailers[0]
        raise trailer_error(
            header,
            trailer.offset,
            "a column that the trailer sums has a value that is no number",
            why="blanks and text have no place in a sum",
            help="name a column of numbers, or a rule that reads them as such",
        )
    add_exactly(totals, sums)


def sum_rows(rows: Rows, header: Header, options: Options) -> Sums:
    """The sum of each column that a trailer sums; None if a summand is no number."""
    names = summed_columns(header)
    ids = [f"c{at}" for at in range(len(header.columns))]
    wanted = [ids[header.columns.index(name)] for name in names]
    texts = rows.cells(ids).select(wanted).collect(engine="in-memory")
    sums = {}
    for name, column in zip(names, texts, strict=True):
        # One addition for each distinct value, of which amounts have few.
        counted = column.value_counts(name="rows")
        amounts = _read_amounts(_rules_of(name, header, options), counted[column.name])
        total = Decimal(0)
        for amount, count in zip(amounts, counted["rows"], strict=True):
            if amount is None:
                return None
            total = EXACT.add(total, EXACT.multiply(amount, Decimal(count)))
        sums[name] = total
    return sums


def _read_amounts(rules: Sequence[Rule], texts: pl.Series) -> Iterator[Decimal | None]:
    """The number that each text is; None if it is none."""
    for form in read_forms(rules, texts):
        is_number = form.startswith(NORMAL_PREFIX) and not form.startswith(APART_PREFIX)
        yield Decimal(form.removeprefix(NORMAL_PREFIX)) if is_number else None


def _rules_of(name: str, header: Header, options: Options) -> tuple[Rule, ...]:
    """The rules of a column by its name in the file, with a number as the last one."""
    back = {theirs: ours for ours, theirs in options.renames.items()}
    spelled = {name, back.get(name, name)} if header.side == "new" else {name}
    by_side = {"both": options.rules, header.side: options.side(header.side).rules}
    given = GivenRules()
    for side, by_column in by_side.items():
        for column in ("*", *spelled):
            given = given.with_rules(by_column.get(column, ()), side)
    rules = assemble_chain(name, given).of(header.side)
    if rules and rules[-1].family == "number":
        return rules
    return (*rules, Number())
