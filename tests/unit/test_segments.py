"""Segments: what differences concentrate in, and what is only chance."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest

from recon_engine.analysis import segments
from recon_engine.analysis.segments import (
    MAX_VALUES,
    SEGMENTS_SHOWN,
    STANDARD_ERRORS,
    merge_value_counts,
    wilson_interval,
)
from recon_engine.model import Segment


if TYPE_CHECKING:
    from recon_engine.analysis.evidence import ValueCounts


def found(
    counts: dict[str, int], usual: dict[str, int], of: int = 8_000
) -> list[Segment]:
    """The segments of missing rows, by a sample in which values are `usual`."""
    often = [value for value, rows in usual.items() for _ in range(rows)]
    sample = pl.DataFrame({"v": often + ["other"] * (of - len(often))})
    values: ValueCounts = {"v": Counter(counts)}
    return segments.find_segments("missing", values, sample, {"v": "STATE"})


def values(*segments: Segment) -> list[str]:
    return [segment.value for segment in segments]


def test_a_segment_says_its_share_of_the_rows_and_that_of_all() -> None:
    [segment] = found({"TX": 600, "other": 400}, {"TX": 800})
    assert segment == Segment("missing", "STATE", "TX", 600, 0.6, 0.1)
    assert segment.lift == pytest.approx(6)


def test_what_is_twice_as_frequent_is_a_segment() -> None:
    for rows, shown in ((20_000, ["TX"]), (19_999, [])):
        assert (
            values(*found({"TX": rows, "other": 100_000 - rows}, {"TX": 800})) == shown
        )


def test_what_is_less_than_a_tenth_of_the_rows_is_none() -> None:
    for rows, shown in ((1_000, ["TX"]), (999, [])):
        counts = {"TX": rows, "other": 10_000 - rows}
        assert values(*found(counts, {"TX": 80})) == shown


def test_few_rows_are_none() -> None:
    for rows, shown in ((20, ["TX"]), (19, [])):
        assert values(*found({"TX": rows}, {"TX": 8})) == shown


def test_what_may_be_chance_is_none() -> None:
    """Twenty of thirty is much more than a third, and not beyond five errors."""
    assert found({"TX": 20, "other": 10}, {"TX": 2_600}) == []
    [segment] = found({"TX": 200, "other": 100}, {"TX": 2_600})
    assert segment.lift == pytest.approx(0.6667 / 0.325, rel=1e-3)


def test_what_the_sample_does_not_have_is_taken_to_be_in_one_row_of_it() -> None:
    [segment] = found({"new": 50, "other": 50}, {})
    assert segment.base == 1 / 8_000


def test_the_largest_excess_comes_first_and_few_are_shown() -> None:
    counts = {f"S{at}": 100 + at for at in range(8)}
    shown = values(*found(counts, dict.fromkeys(counts, 8)))
    assert shown == ["S7", "S6", "S5", "S4", "S3"]
    assert len(shown) == SEGMENTS_SHOWN


def test_a_column_of_too_many_values_anywhere_is_not_looked_at() -> None:
    few: ValueCounts = {"v": Counter({"TX": 5})}
    many: ValueCounts = {"v": Counter(map(str, range(MAX_VALUES)))}
    assert merge_value_counts([few, few]) == {"v": Counter({"TX": 10})}
    assert (
        merge_value_counts([{"v": None}, few])
        == merge_value_counts([few, {"v": None}])
        == {"v": None}
    )
    assert merge_value_counts([few, many]) == {"v": None}


@pytest.mark.parametrize("hits", [0, 1, 30, 99, 100])
def test_the_interval_is_that_of_wilson(hits: int) -> None:
    """Its ends are where the share that was seen lies just `ERRORS` errors away."""
    for end in wilson_interval(hits, 100):
        errors = abs(hits / 100 - end)
        assert errors == pytest.approx(
            STANDARD_ERRORS * math.sqrt(max(end * (1 - end), 0) / 100), abs=1e-9
        )
