"""Recognize how a column writes its numbers and days, by its texts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.kinds import DATE_FORMATS


if TYPE_CHECKING:
    from collections.abc import Mapping


NULLS: Final = ("NULL", "null", "Null", "NA", "N/A", "NaN", "nan", "None", r"\N")
# The last two are days that an export writes with the time of midnight.
FORMATS: Final = (
    *DATE_FORMATS,
    (r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2} 00:00:00$", "%Y-%m-%d 00:00:00"),
    (r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T00:00:00$", "%Y-%m-%dT00:00:00"),
)
# The bytes of a text that some of these formats describes.
DAY_BYTES: Final = (8, 10, 11, 19)
# Orders of day and month that only the other side shows to be right.
DAY_ORDERS: Final = ("%m/%d/%Y", "%d/%m/%Y")
# How numbers show the notation of their source, behind a blank or not.
COMMA: Final = r"^[^.]*[0-9],[0-9]{1,2}(?:[^0-9.,]|$)|[0-9]\.[0-9]{3},[0-9]"
CURRENCY: Final = (
    r"^[-+(]?\s?(\$|€|£|¥|USD|EUR|GBP|CHF|JPY)\s?[-+]?[0-9]"
    r"|[0-9]\s?(€|USD|EUR|GBP|CHF|JPY)\)?$"
)
IN_PARENTHESES: Final = r"^\([^)]*[0-9]\)$"
NOTATIONS: Final = {
    "exp": r"^[+-]?[0-9][0-9.,]*[eE][+-]?[0-9]+$",
    "trailing": r"[0-9]-$",
    "percent": r"[0-9]\s?%$",
}
# A day behind the month, and one before it: either shows the order of the column.
MONTH_FIRST: Final = r"^[0-9]{2}/(?:1[3-9]|2[0-9]|3[01])/"
DAY_FIRST: Final = r"^(?:1[3-9]|2[0-9]|3[01])/[0-9]{2}/"


def find_notation(texts: pl.Series) -> dict[str, str]:
    """The words of a `decimal` rule that some text needs, with their values."""
    found = texts.alias("text").to_frame().select(_notation_exprs()).row(0, named=True)
    signs = found["signs"]
    words = {word: "" for word in ("comma", *NOTATIONS) if found[word]}
    # Of several signs none is named: another sign is another currency.
    if len(signs) == 1:
        words["money"] = f"={signs[0]}"
    elif found["parentheses"] and not signs:
        words["money"] = "=$"
    return words


@functools.cache
def _notation_exprs() -> list[pl.Expr]:
    """What `find_notation` asks of texts: of few, this takes longer to write."""
    text = pl.col("text").str.strip_chars()
    sign = pl.coalesce(text.str.extract(CURRENCY, at) for at in (1, 2))
    patterns = {"comma": COMMA, "parentheses": IN_PARENTHESES, **NOTATIONS}
    return [
        sign.drop_nulls().unique().implode().alias("signs"),
        *(text.str.contains(form).any().alias(word) for word, form in patterns.items()),
    ]


def write_decimal(words: Mapping[str, str]) -> str:
    """The `decimal` rule of a notation."""
    inner = ",".join(f"{word}{value}" for word, value in words.items())
    return f"decimal({inner})" if inner else "decimal"


def find_formats(texts: pl.Series) -> list[str]:
    """The date formats in which some text may be written."""
    text = pl.col("text")
    fits = (
        texts.alias("text")
        .to_frame()
        .lazy()
        .select(text.str.strip_chars())
        # Nine regular expressions take longer than the lengths of the texts, and most
        # keys are no days.
        .filter(text.str.len_bytes().is_in(DAY_BYTES))
        .select(_format_exprs())
        .collect(engine="in-memory")
    )
    return [form for form, some in fits.row(0, named=True).items() if some]


@functools.cache
def _format_exprs() -> list[pl.Expr]:
    """Whether some text may be written in each of the date formats."""
    return [
        pl.col("text").str.contains(pattern).any().alias(form)
        for pattern, form in FORMATS
    ]


def has_day_first(texts: pl.Series) -> bool:
    """Whether days with slashes are written with the day before the month."""
    return bool(
        texts.str.contains(DAY_FIRST).any()
        and not texts.str.contains(MONTH_FIRST).any()
    )
