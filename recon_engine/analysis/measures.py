"""Detect columns that measure rather than identify: amounts and dates. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.kinds import DATE_PATTERN
from recon_engine.rules.numbers import DIGIT_PATTERN, NUMBER_PATTERN


if TYPE_CHECKING:
    import polars as pl


FEW: Final = 100
# Eight digits that may be a day. Whether they are is decided by the calendar.
DAY_NUMBER: Final = r"^[12][0-9]{7}$"
# A point or a comma; not that of `100004.0`, as a float column writes an integer.
POINT_PATTERN: Final = r",|\.(?:[1-9]|0.|$)"


def is_measure(texts: pl.Series) -> bool:
    """Whether all non-blank texts are dates, or numbers of which some have a point.

    Two rows may share an amount or a date, so neither is proposed as a key. Integers
    that a float column holds (`100004.0`) are no measure, as those without a point.
    """
    # Most columns are neither, which their first values show.
    few = _strip_texts(texts.head(FEW))
    if not few.str.contains(f"{DATE_PATTERN}|{NUMBER_PATTERN}").all():
        return False
    said = _strip_texts(texts)
    if said.is_empty():
        return False
    if few.str.contains(DATE_PATTERN).all() and said.str.contains(DATE_PATTERN).all():
        numbers = said.filter(said.str.contains(DAY_NUMBER))
        days = numbers.str.to_date("%Y%m%d", strict=False)
        return days.null_count() == 0
    # A point is found soonest, and a column of numbers without one is no measure.
    return bool(
        said.str.contains(POINT_PATTERN).any()
        and said.str.contains(NUMBER_PATTERN).all()
        and said.str.contains(DIGIT_PATTERN).all()
    )


def _strip_texts(texts: pl.Series) -> pl.Series:
    """The texts without blanks at their ends, and without those that are blank."""
    said = texts.str.strip_chars()
    return said.filter(said != "")
