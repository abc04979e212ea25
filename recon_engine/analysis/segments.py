"""Segments: the values that differences concentrate in, against all rows. Pure.

What is usual is told by a sample: all rows of some keys, chosen by their digest, so by
content and not by place; of small files, all rows. Only what is in both files is looked
at: keys and compared columns, in OLD for mismatched and missing rows, in NEW for extra.

A value is a segment of the mismatched, missing or extra rows if at least `LEAST_ROWS`
and a tenth of them have it, at least twice as often as usual, and if that is no chance:
the score interval of its share (Wilson 1927) lies above that of its share in the
sample, each at five standard errors. That intervals do not even overlap is a stricter
test than one of the difference (Schenker and Gentleman 2001), and of a million values
that are usual fewer than one reaches five.
"""

from __future__ import annotations

import math
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal

from recon_engine.model import Segment


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

    Of = Literal["mismatched", "missing", "extra"]


# Of more values than these hardly one can be a tenth of the rows, and counting costs.
MAX_VALUES: Final = 256
FIRST_ROWS: Final = 4 * MAX_VALUES
SEGMENTS_SHOWN: Final = 5
MIN_ROWS: Final = 20
MIN_SHARE: Final = 0.1
MIN_LIFT: Final = 2
STANDARD_ERRORS: Final = 5.0

ValueCounts = dict[str, Counter[str] | None]


def count_values(rows: pl.DataFrame, at: pl.Series | None = None) -> ValueCounts:
    """How often each value of each column is there; None of a column of too many.

    `at`: of these rows alone, by their numbers.
    """
    return {column.name: _count_column_values(column, at) for column in rows}


def merge_value_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """The counts of several groups of rows."""
    result: ValueCounts = {}
    for part in parts:
        for name, values in part.items():
            before = result.get(name, Counter())
            if before is None or values is None:
                result[name] = None
            else:
                result[name] = _unless_too_many(before + values)
    return result


def find_segments(
    of: Of, values: ValueCounts, sample: pl.DataFrame, names: Mapping[str, str]
) -> list[Segment]:
    """The segments of rows whose `values` were counted, the largest excess first.

    `sample`: of all rows of the file; `names`: of its columns for people. A value that
    the sample has not is taken to be in one row of it.
    """
    found = [
        Segment(of, names[column], value, rows, rows / every, usual / sample.height)
        for column, counts in values.items()
        if counts and sample.height
        for value, rows, every, usual in _find_unusual_values(counts, sample[column])
    ]
    return sorted(found, key=attrgetter("rank"))[:SEGMENTS_SHOWN]


def _find_unusual_values(
    counts: Counter[str], sample: pl.Series
) -> Iterator[tuple[str, int, int, int]]:
    every = counts.total()
    often = {
        value: rows
        for value, rows in counts.items()
        if rows >= max(MIN_ROWS, MIN_SHARE * every)
    }
    if not often:
        return
    usual = dict(sample.value_counts(name="\0rows").iter_rows())
    for value, rows in often.items():
        there = usual.get(value, 1)
        if (
            rows / every >= MIN_LIFT * there / len(sample)
            and wilson_interval(rows, every)[0] > wilson_interval(there, len(sample))[1]
        ):
            yield value, rows, every, there


def wilson_interval(hits: int, of: int) -> tuple[float, float]:
    """Between what shares the true one is, at `ERRORS` standard errors."""
    squared, share = STANDARD_ERRORS**2, hits / of
    middle = (share + squared / (2 * of)) / (1 + squared / of)
    reach = math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    reach *= STANDARD_ERRORS / (1 + squared / of)
    return middle - reach, middle + reach


def _count_column_values(
    column: pl.Series, at: pl.Series | None
) -> Counter[str] | None:
    first = (
        column.head(FIRST_ROWS) if at is None else column.gather(at.head(FIRST_ROWS))
    )
    if first.n_unique() > MAX_VALUES:
        return None
    every = column if at is None else column.gather(at)
    values = every.value_counts(name="\0rows")
    return _unless_too_many(Counter(dict(values.iter_rows())))


def _unless_too_many(counts: Counter[str]) -> Counter[str] | None:
    return counts if len(counts) <= MAX_VALUES else None
