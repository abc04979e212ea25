"""Sum the columns of a file whose trailer says their sum."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.header import Header, annotate_counted_in
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.inputs.native.texts import open_table
from recon_engine.inputs.scanned import GatheredRows, find_source
from recon_engine.inputs.trailers import (
    add_exactly,
    check_trailer,
    summed_columns,
    trailer_error,
)
from recon_engine.model import EXACT
from recon_engine.name_forms import find_by_form, spell_as
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.base import NORMAL_PREFIX, is_read_form
from recon_engine.rules.chains import read_forms
from recon_engine.rules.numbers import Number
from recon_engine.runtime.concurrency import map_ordered


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
                sums = _sum_file(header, table, options)
                check_amounts(header, table.rows, table.rejects.count, sums, options)


def check_amounts(
    header: Header,
    rows: int,
    rejected: int,
    sums: Mapping[str, Decimal],
    options: Options,
) -> None:
    """Compare what the trailers say with a file; a sum is read as its column is.

    Raises what `check_trailer` raises.
    """

    def read_amount(column: str, text: str) -> Decimal | None:
        rules = _rules_of(column, header, options)
        forms = read_forms(rules, pl.Series([text]), apply_natively)
        return _add_up(forms) if is_read_form(forms)[0] else None

    check_trailer(header, rows, rejected, sums, read_amount)


def _sum_file(header: Header, file: CsvFile, options: Options) -> Mapping[str, Decimal]:
    names = summed_columns(header)
    totals = dict.fromkeys(names, Decimal(0))
    source = find_source(file)
    if source is not None and all(_is_plain(name, header, options) for name in names):
        read = zip(names, source.read_totals(), strict=True)
        known = {name: total for name, total in read if total is not None}
        # Otherwise a value has too many digits for the kernel, or is no number: the
        # rules decide.
        if len(known) == len(names):
            return known
    if source is None:
        parts = map_ordered(
            lambda part: sum_rows(file.read(part), header, options), file.parts
        )
    else:
        parts = map_ordered(
            lambda part: sum_rows(source.take_range(part[1]), header, options),
            source.ranges(),
        )
    for sums in parts:
        add_sums(header, totals, sums)
    return totals


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
    if isinstance(rows, GatheredRows):
        texts, apply = rows.frame(ids, wanted), apply_natively
    else:
        texts = rows.cells(ids).select(wanted).collect(engine="in-memory")
        apply = None
    sums = {}
    for name, column in zip(names, texts, strict=True):
        forms = read_forms(_rules_of(name, header, options), column, apply)
        if not is_read_form(forms).all():
            return None
        sums[name] = _add_up(forms)
    return sums


def _add_up(forms: pl.Series) -> Decimal:
    """The sum of normal forms of numbers."""
    with open_table(forms.to_frame()) as table:
        if table is not None:
            [summed] = table.sum_columns().values()
            if summed.exact:
                return summed.value
    total = Decimal(0)
    # One addition for each distinct value, of which amounts have few.
    for form, count in forms.value_counts().iter_rows():
        number = Decimal(form.removeprefix(NORMAL_PREFIX))
        total = EXACT.add(total, EXACT.multiply(number, Decimal(count)))
    return total


def _is_plain(name: str, header: Header, options: Options) -> bool:
    """Whether the values of a column are read as the kernel adds them."""
    rules = _rules_of(name, header, options)
    return len(rules) == 1 and type(rules[0]) is Number


def _rules_of(name: str, header: Header, options: Options) -> tuple[Rule, ...]:
    """The rules of a column by its name in the file, with a number as the last one."""
    by_side = {"both": options.rules, header.side: options.side(header.side).rules}
    given = GivenRules()
    for side, by_column in by_side.items():
        # False sorts before True: the rules of `*` are applied first.
        for spelled in sorted(by_column, key=lambda each: each != "*"):
            every = spelled == "*"
            if every or _find_column(spelled, header, options) == name:
                own = tuple((every, rule) for rule in by_column[spelled])
                given = given.with_spelled(own, side)
    rules = assemble_chain(name, given).of(header.side)
    if rules and rules[-1].family == "number":
        return rules
    return (*rules, Number())


def _find_column(spelled: str, header: Header, options: Options) -> str | None:
    """The name in a file of a column, given any of its names, as `NamePairs.find`."""
    names, forms, is_old = header.columns, options.match_names, header.side == "old"
    here, there = {name: name for name in names}, dict[str, str]()
    for pair in options.renames.items():
        own, other = pair if is_old else reversed(pair)
        there[other] = spell_as(own, names, forms)
    # By the names in OLD, then by those in NEW.
    known = (here, there) if is_old else (there, here)
    for each in known:
        if spelled in each:
            return each[spelled]
    for each in known:
        if (found := find_by_form(spelled, each, forms)) is not None:
            return each[found]
    return None
