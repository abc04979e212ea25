"""Columns that seem to have another name in NEW, told by what they hold.

The rows at the beginning of both files are matched by key, and each column that is in
OLD only is compared with each that is in NEW only: whether they say the same, up to
white space, case and how numbers and dates are written. It costs the same for any size.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.scanner import (
    index_records,
    is_utf8_without_nul,
    whole_records_size,
)
from recon_engine.rules import NO_RULES, Casefold, Day, Number, Trim, normal_form


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recon_engine.inputs.header import Header
    from recon_engine.rules import Rule, Rules

    ReadAt = Callable[[int, int], bytes]
    Reads = tuple[ReadAt, ReadAt]
    Agreements = Mapping[tuple[str, str], tuple[int, int]]


HEAD_BYTES: Final = 1 << 22
MAX_MATCHED_ROWS: Final = 2_000
MIN_AGREEMENT: Final = 0.8
# Read as dates, codes such as 00051231 would be other values than 51231.
BEFORE_1000: Final = r"^0[0-9]{3}(?:[0-9]{4}$|[-/])|[./]0[0-9]{3}$"


class _EvidentDay(Day):
    """A day of the year 1000 or later: an earlier one is rather a code."""

    __slots__ = ()

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The day, and the text itself where it is no such day."""
        day = Day.normal(self, text)
        return pl.when(text.str.contains(BEFORE_1000)).then(text).otherwise(day)


NORMALIZING_RULES: Final = (
    Trim(),
    _EvidentDay(("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d.%m.%Y")),
    Number(),
    Casefold(),
)


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
    """Pairs of columns that agree: in how many rows, of how many that were looked at.

    `keys`: their names in OLD and in NEW; `rules`: theirs, by their names in OLD, which
    say which keys are the same; `reads`: `pread` of both files, if they are
    elsewhere. Rows in which both are blank do not count,
    and a pair in which all rows say one thing tells nothing. The likeliest come first,
    each column once.
    """
    read_old, read_new = reads or (None, None)
    heads = _read_first_rows(old, read_old), _read_first_rows(new, read_new)
    if heads[0] is None or heads[1] is None:
        return {}
    by_key = [rules.get(name, ()) for name, _ in keys]
    left, right = _match_by_key(
        _normalize_columns(
            heads[0], old.columns, [name for name, _ in keys], by_key, only_old
        ),
        _normalize_columns(
            heads[1], new.columns, [name for _, name in keys], by_key, only_new
        ),
    )
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


def _read_first_rows(table: Header | Frame, read: ReadAt | None) -> pl.DataFrame | None:
    """The first rows of a table as cells, if they are regular."""
    names = [f"c{at}" for at in range(len(table.columns))]
    if isinstance(table, Frame):
        head = table.data.head(HEAD_BYTES >> 7)
        head.columns = names
        return head
    data = read(HEAD_BYTES, len(table.raw)) if read else _read_first_bytes(table)
    if len(data) < HEAD_BYTES:
        data = data.rstrip(b"\r\n") + b"\n"
    data = data[: whole_records_size(data)]
    if not is_utf8_without_nul(data):
        return None
    found = index_records(data, ord(table.delimiter), len(names), table.limits)
    if found is None:
        return None
    return (
        Block.of(data, table.delimiter, found).cells(names).collect(engine="in-memory")
    )


def _read_first_bytes(header: Header) -> bytes:
    with open_unchanged(header.path, header.uri, header.state) as descriptor:
        return os.pread(descriptor, HEAD_BYTES, len(header.raw))


def _normalize_columns(
    head: pl.DataFrame,
    columns: Sequence[str],
    keys: Sequence[str],
    rules: Sequence[Sequence[Rule]],
    others: Sequence[str],
) -> pl.DataFrame:
    """Key columns as their rules read them; others in one form for what says the same.

    Rows of keys that repeat are left out.
    """
    at = {name: f"c{place}" for place, name in enumerate(columns)}
    by = [f"k{place}" for place in range(len(keys))]
    return (
        head.lazy()
        .select(
            *(
                normal_form(chain, pl.col(at[name])).alias(ours)
                for name, chain, ours in zip(keys, rules, by, strict=True)
            ),
            *(
                normal_form(NORMALIZING_RULES, pl.col(at[name])).alias(f"v{place}")
                for place, name in enumerate(others)
            ),
        )
        .unique(by, keep="none")
        .collect(engine="in-memory")
    )


def _match_by_key(
    old: pl.DataFrame, new: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the same keys, side by side; the same for any order of rows."""
    by = [name for name in old.columns if name.startswith("k")]
    rows = (
        old.select(by)
        .with_row_index("\0old")
        .join(new.select(by).with_row_index("\0new"), on=by)
        .sort(by)
        .head(MAX_MATCHED_ROWS)
    )
    return old[rows["\0old"]], new[rows["\0new"]]


def _count_agreeing_rows(old: pl.Series, new: pl.Series) -> tuple[int, int]:
    """In how many rows two columns agree, of those in which one says something."""
    said = (old != "") | (new != "")
    alike = old.filter(said & (old == new))
    return (alike.len() if alike.n_unique() > 1 else 0), int(said.sum())
