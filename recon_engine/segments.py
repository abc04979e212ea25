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
MOST_VALUES: Final = 256
FIRST: Final = 4 * MOST_VALUES
SHOWN: Final = 5
LEAST_ROWS: Final = 20
LEAST_SHARE: Final = 0.1
LEAST_LIFT: Final = 2
ERRORS: Final = 5.0

Values = dict[str, Counter[str] | None]
NO_VALUES: Final = Counter[str]()


def counted(rows: pl.DataFrame, at: pl.Series | None = None) -> Values:
    """How often each value of each column is there; None of a column of too many.

    `at`: of these rows alone, by their numbers.
    """
    few = rows.height if at is None else at.len()
    if few <= FIRST:
        rows = rows if at is None else rows[at]
        return {column.name: _few(Counter(column.to_list())) for column in rows}
    return {column.name: _counted(column, at) for column in rows}


def added(parts: Iterable[Values]) -> Values:
    """The counts of several groups of rows."""
    result: Values = {}
    for part in parts:
        for name, values in part.items():
            before = result.get(name, Counter())
            if before is None or values is None:
                result[name] = None
            else:
                result[name] = _few(before + values)
    return result


def segments(
    of: Of, values: Values, sample: pl.DataFrame, names: Mapping[str, str]
) -> list[Segment]:
    """The segments of rows whose `values` were counted, the largest excess first.

    `sample`: of all rows of the file; `names`: of its columns for people. A value that
    the sample has not is taken to be in one row of it.
    """
    found = [
        Segment(of, names[column], value, rows, rows / every, usual / sample.height)
        for column, counts in values.items()
        if counts and sample.height
        for value, rows, every, usual in _unusual(counts, sample[column])
    ]
    return sorted(found, key=attrgetter("rank"))[:SHOWN]


def _unusual(
    counts: Counter[str], sample: pl.Series
) -> Iterator[tuple[str, int, int, int]]:
    every = counts.total()
    often = {
        value: rows
        for value, rows in counts.items()
        if rows >= max(LEAST_ROWS, LEAST_SHARE * every)
    }
    if not often:
        return
    usual = dict(sample.value_counts(name="\0rows").iter_rows())
    for value, rows in often.items():
        there = usual.get(value, 1)
        if (
            rows / every >= LEAST_LIFT * there / len(sample)
            and interval(rows, every)[0] > interval(there, len(sample))[1]
        ):
            yield value, rows, every, there


def interval(hits: int, of: int) -> tuple[float, float]:
    """Between what shares the true one is, at `ERRORS` standard errors."""
    squared, share = ERRORS**2, hits / of
    middle = (share + squared / (2 * of)) / (1 + squared / of)
    reach = math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    reach *= ERRORS / (1 + squared / of)
    return middle - reach, middle + reach


def may_be_few(first: pl.Series) -> bool:
    """Whether a column may be counted, by its first values."""
    return first.n_unique() <= MOST_VALUES


def _counted(column: pl.Series, at: pl.Series | None) -> Counter[str] | None:
    first = column.head(FIRST) if at is None else column.gather(at.head(FIRST))
    if not may_be_few(first):
        return None
    every = column if at is None else column.gather(at)
    values = every.value_counts(name="\0rows")
    return _few(Counter(dict(values.iter_rows())))


def _few(counts: Counter[str]) -> Counter[str] | None:
    return counts if len(counts) <= MOST_VALUES else None
