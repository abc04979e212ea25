"""Segments: values in which differences concentrate, compared with all rows. Pure.

The baseline is a sample: all rows of some keys, chosen by the digest of the key, so by
content and not by position; for small files it is all rows. Only keys and compared
columns are examined: in OLD for mismatched and missing rows, in NEW for extra rows.

A value is a segment if at least `MIN_ROWS` and a tenth of the mismatched, missing or
extra rows have it, at least twice as often as usual, and this is significant: the score
interval of its share (Wilson 1927) lies above that of its share in the sample, each at
five standard errors. Disjoint intervals are a stricter test than one of the difference
(Schenker and Gentleman 2001). At five standard errors, fewer than one of a million
usual values is reported.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import groupby, repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal

from recon_engine.analysis.finding import Finding
from recon_engine.inputs.native.texts import open_table
from recon_engine.model import NEW, OLD, Segment
from recon_engine.record_table import Field


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

    from recon_engine.analysis.evidence import Evidence, ValueCounts
    from recon_engine.analysis.finding import ValueMasks

    Of = Literal["mismatched", "missing", "extra"]


# Of a column with more values, hardly one has a tenth of the rows; counting them costs
# time and memory. The first rows rule most such columns out.
MAX_VALUES: Final = 256
FIRST_ROWS: Final = 4 * MAX_VALUES
SEGMENTS_SHOWN: Final = 5
# Below these a segment explains too little to be worth a line on the page. The lift
# keeps significant but small effects of large files out; see the module docstring for
# the standard errors.
MIN_ROWS: Final = 20
MIN_SHARE: Final = 0.1
MIN_LIFT: Final = 2
STANDARD_ERRORS: Final = 5.0

NO_VALUES: Final = Counter[str]()


def count_values(rows: pl.DataFrame, positions: pl.Series | None = None) -> ValueCounts:
    """The rows by value, for each column.

    None for a column with more than `MAX_VALUES`.

    `positions`: the row numbers to count; all rows by default.
    """
    few = rows.height if positions is None else len(positions)
    if positions is None or few <= FIRST_ROWS:
        chosen = rows if positions is None else rows[positions]
        with open_table(chosen) as table:
            if table is not None:
                return table.count_values(MAX_VALUES)
    if few <= FIRST_ROWS:
        # Python's own rows: a step of Polars for each column costs more than few cells.
        cells = zip(*chosen.iter_rows(), strict=True) if few else repeat(())
        return {
            name: _unless_too_many(Counter(texts))
            for name, texts in zip(chosen.columns, cells, strict=False)
        }
    first = rows.head(FIRST_ROWS) if positions is None else rows[positions[:FIRST_ROWS]]
    return {
        column.name: _count_column_values(column, positions)
        if start.n_unique() <= MAX_VALUES
        else None
        for column, start in zip(rows, first, strict=True)
    }


def merge_value_counts(parts: Iterable[ValueCounts]) -> ValueCounts:
    """The counts of several groups of rows as one."""
    result: ValueCounts = {}
    for part in parts:
        for name, values in part.items():
            before = result.get(name, NO_VALUES)
            if before is None or values is None:
                result[name] = None
            elif before and values:
                result[name] = _unless_too_many(before + values)
            else:
                result[name] = before or values
    return result


def find_segments(
    of: Of, values: ValueCounts, sample: pl.DataFrame, names: Mapping[str, str]
) -> list[Segment]:
    """The segments of rows whose `values` were counted, the largest excess first.

    `sample`: a sample of all rows of the file; `names`: the user's names of its
    columns. A value that is not in the sample counts as one row of it.
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
    least = max(MIN_ROWS, MIN_SHARE * every)
    if every < least:
        return
    often = {value: rows for value, rows in counts.items() if rows >= least}
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
    """The score interval of a share, at `STANDARD_ERRORS` standard errors."""
    # Wilson's interval, because the normal approximation fails for few rows and for
    # shares near 0.
    squared, share = STANDARD_ERRORS**2, hits / of
    middle = (share + squared / (2 * of)) / (1 + squared / of)
    reach = math.sqrt(share * (1 - share) / of + squared / (4 * of * of))
    reach *= STANDARD_ERRORS / (1 + squared / of)
    return middle - reach, middle + reach


def _count_column_values(
    column: pl.Series, positions: pl.Series | None
) -> Counter[str] | None:
    every = column if positions is None else column.gather(positions)
    values = every.value_counts(name="\0rows")
    return _unless_too_many(Counter(dict(values.iter_rows())))


def _unless_too_many(counts: Counter[str]) -> Counter[str] | None:
    return counts if len(counts) <= MAX_VALUES else None


def _find_in_all_groups(evidence: Evidence) -> Iterator[Segment]:
    """Values in which mismatched, missing or extra rows concentrate."""
    missing, extra = evidence.unmatched
    groups: tuple[tuple[Of, ValueCounts, int], ...] = (
        ("mismatched", evidence.values, OLD),
        ("missing", missing.values, OLD),
        ("extra", extra.values, NEW),
    )
    for of, values, side in groups:
        yield from find_segments(of, values, evidence.samples[side], evidence.names)


def _mask_segments(
    segments: tuple[Segment, ...], masks: ValueMasks
) -> tuple[Segment, ...]:
    """Masked segments, sorted within each group of rows."""
    return tuple(
        each
        for _, group in groupby(segments, key=attrgetter("of"))
        for each in sorted(
            (replace(s, value=masks.value(s.column, s.value)) for s in group),
            key=attrgetter("rank"),
        )
    )


SEGMENTS: Final = Finding(
    name="segments",
    table="segment",
    fields=(
        Field("of", "differs"),
        Field("column", "column_name"),
        Field("value"),
        Field("rows"),
        Field("share"),
        Field("base"),
        Field("lift", stored=False),  # the table generates it
    ),
    load=Segment,
    find=_find_in_all_groups,
    mask=_mask_segments,
    holds_values=True,
)
