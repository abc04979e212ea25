"""Classify how a cell differs: the first kind that fits, as Polars expressions.

REWRITING_KINDS has the kinds that are the same value written another way; this does not
depend on their order.

Expressions are built once: for a small file that takes longer than their evaluation.
"""

from __future__ import annotations

import functools
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.characters import INVISIBLE
from recon_engine.damage import is_damaged
from recon_engine.model import SIDES
from recon_engine.rules.base import APART_PREFIX, NORMAL_PREFIX, is_read_form
from recon_engine.rules.chains import (
    code_table,
    read_forms,
    show_forms,
)
from recon_engine.rules.numbers import Number
from recon_engine.rules.texts import CODE_PATTERN


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recon_engine.rules.base import Rule
    from recon_engine.rules.chains import Chain


class Kind(StrEnum):
    """The kinds, in the order of trial.

    The first two are of columns with a code table.
    """

    UNLISTED = "unlisted"
    CODE = "code"
    VALUE_TO_BLANK = "value_to_blank"
    BLANK_TO_VALUE = "blank_to_value"
    WHITESPACE = "whitespace"
    LINE_BREAK = "line_break"
    INVISIBLE = "invisible"
    CASE = "case"
    UNICODE_FORM = "unicode_form"
    LEADING_ZEROS = "leading_zeros"
    NUMBER_FORMAT = "number_format"
    DATE_FORMAT = "date_format"
    ENCODING_DAMAGE = "encoding_damage"
    SIGN_FLIP = "sign_flip"
    SCALE = "scale"
    TRUNCATED = "truncated"
    NUMBER = "number"
    DATE = "date"
    PUNCTUATION = "punctuation"
    TEXT = "text"


KINDS: Final = tuple(Kind)
REWRITING_KINDS: Final = frozenset(
    {
        Kind.WHITESPACE,
        Kind.LINE_BREAK,
        Kind.INVISIBLE,
        Kind.CASE,
        Kind.UNICODE_FORM,
        Kind.LEADING_ZEROS,
        Kind.NUMBER_FORMAT,
        Kind.DATE_FORMAT,
    }
)
KIND_TYPE: Final = pl.Enum([kind.value for kind in KINDS])

# From `20240131` to `2024-01-31 00:00:00`.
DATE_BYTES: Final = (8, 19)
# Years from 1000 to 2999 only: other groups of digits are more likely codes.
DATE_FORMATS: Final = (
    (r"^[12][0-9]{7}$", "%Y%m%d"),
    (r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}(?:[T ]00:00:00)?$", "%Y-%m-%d"),
    (r"^[12][0-9]{3}/[0-9]{2}/[0-9]{2}$", "%Y/%m/%d"),
    (r"^[0-9]{2}/[0-9]{2}/[12][0-9]{3}$", "%m/%d/%Y"),
    (r"^[0-9]{2}/[0-9]{2}/[12][0-9]{3}$", "%d/%m/%Y"),
    (r"^[0-9]{2}\.[0-9]{2}\.[12][0-9]{3}$", "%d.%m.%Y"),
    (r"^[0-9]{2}-[A-Za-z]{3}-[12][0-9]{3}$", "%d-%b-%Y"),
)
# Two formats share a pattern. A dict has it once.
DATE_PATTERN: Final = "|".join(dict(DATE_FORMATS))
# Anything but visible ASCII: the hidden differences consist of such characters.
ODD: Final = r"[^!-~]"
# A text of ASCII alone has no letter that an encoding could damage.
FOREIGN: Final = r"[^\x00-\x7f]"
# Punctuation and symbols; and everything but letters, digits and their marks.
MARK: Final = r"[\p{P}\p{S}]"
NO_LETTER: Final = r"[^\p{L}\p{N}\p{M}]"
# A number with a suffix that changes its value: `5%` cut to `5` is not a truncation.
MEANT_BY_ITS_END: Final = r"^[+-]?[0-9][0-9.,]*(?:\s*%|[eE][+-]?[0-9]+|-)$"


def classify_cells(cells: pl.DataFrame) -> pl.DataFrame:
    """`cells`, whose strings `old` and `new` differ, with the `kind` of each.

    Distinct changes are classified once, because most changes of a system repeat often.
    """
    if cells.is_empty():
        return cells.with_columns(pl.lit(None, KIND_TYPE).alias("kind"))
    changes = _classify_changes(cells)
    return (
        cells.lazy()
        .join(changes, on=["old", "new"], how="left", maintain_order="left")
        .collect(engine="in-memory")
    )


def classify_read(chain: Chain, old: pl.Series, new: pl.Series) -> pl.Series:
    """The kinds of cells of a column with rules.

    By the values as the typed rules read them if they read both, else by the texts that
    these rules got: the form of a day is not to be compared with a text.
    """
    rules = [_split_rules(chain.of(side)) for side in SIDES]
    given = [
        read_forms(of_texts, texts)
        for (of_texts, _), texts in zip(rules, (old, new), strict=True)
    ]
    forms = [
        read_forms(typed, texts) for (_, typed), texts in zip(rules, given, strict=True)
    ]
    read = is_read_form(forms[0]) & is_read_form(forms[1])
    cells = pl.DataFrame(
        {
            side: show_forms(chain.of(side), form).zip_with(read, texts)
            for side, form, texts in zip(SIDES, forms, given, strict=True)
        }
    )
    kinds = classify_cells(cells)["kind"]
    judged = pl.DataFrame({"kind": kinds, "read": read}).with_columns(
        cells,
        **{
            f"table_{side}": _judge_codes(chain, side, texts, form)
            for side, texts, form in zip(SIDES, given, forms, strict=True)
        },
    )
    unlisted = pl.any_horizontal(
        (pl.col(f"table_{side}") == Kind.UNLISTED.value).fill_null(False)
        for side in SIDES
    )
    listed = pl.any_horizontal(pl.col(f"table_{side}").is_not_null() for side in SIDES)
    are_days = any(rule.family == "day" for rule in chain.of("old"))
    return judged.select(
        pl.when(unlisted)
        .then(_kind_literal(Kind.UNLISTED))
        .when(listed)
        .then(_kind_literal(Kind.CODE))
        # Two days have one form for each day, so they are no other writing of one.
        .when(pl.col("read") & pl.lit(are_days))
        .then(_kind_literal(Kind.DATE))
        .when(pl.col("old") == pl.col("new"))
        .then(_kind_literal(Kind.TEXT))
        .otherwise("kind")
        .alias("kind")
    ).to_series()


def _split_rules(rules: Sequence[Rule]) -> tuple[list[Rule], list[Rule]]:
    """The text rules of a side, and its typed rule, if it has one."""
    return [r for r in rules if not r.family], [r for r in rules if r.family]


def _judge_codes(
    chain: Chain, side: str, texts: pl.Series, forms: pl.Series
) -> pl.Series:
    """For a side with a code table: which codes are unlisted, which are listed.

    `texts`: what the table was given; `forms`: what it made of them.
    """
    table = code_table(chain.of(side))
    if table is None:
        return pl.repeat(None, len(texts), dtype=pl.String, eager=True)
    codes = pl.DataFrame({"text": texts, "form": forms})
    return codes.select(
        pl.when(pl.col("form").str.starts_with(APART_PREFIX))
        .then(pl.lit(Kind.UNLISTED.value))
        .when(table.lists(pl.col("text")))
        .then(pl.lit(Kind.CODE.value))
    ).to_series()


def _classify_changes(cells: pl.DataFrame) -> pl.LazyFrame:
    """Classify the distinct changes of cells: `old`, `new` and `kind`.

    Numbers and dates are parsed only where others fail.
    """
    plain = (
        cells.lazy()
        .select("old", "new")
        .unique()
        .with_columns(_rewriting_kind_expr().alias("kind"))
        .collect(engine="in-memory")
    )
    kinds = plain["kind"]
    if kinds.null_count() == 0:
        return plain.lazy()
    undecided = (
        plain.lazy()
        .with_row_index("__cell")
        .filter(pl.col("kind").is_null())
        .select("__cell", old=_stripped("old"), new=_stripped("new"))
        .with_columns(__odd=_either_contains(ODD), __long=_may_be_dates())
        .collect(engine="in-memory")
    )
    # `__cell` is the row number: only undecided rows go through the slower tests. Those
    # that no text can pass are left out: for few cells a query costs most.
    if undecided["__odd"].any():
        hidden = _hidden(undecided.lazy().filter("__odd"))
        kinds = kinds.scatter(hidden["__cell"], hidden["kind"])
        decided = hidden.filter(pl.col("kind").is_not_null())["__cell"]
        undecided = undecided.filter(~pl.col("__cell").is_in(decided.implode()))
    if not undecided.is_empty():
        read = _read(undecided)
        kinds = kinds.scatter(read["__cell"], read["kind"])
    return plain.lazy().with_columns(kinds)


def _hidden(undecided: pl.LazyFrame) -> pl.DataFrame:
    """The kinds of differences that are hard to see or come from a wrong encoding.

    `undecided`: changes with a text of other characters than visible ASCII. Texts that
    differ only in such a way are neither numbers nor dates, and do not differ in case.
    """
    found = (
        undecided.select("__cell", "old", "new", kind=_hidden_kind_expr())
        .filter(pl.col("kind").is_not_null() | _either_contains(FOREIGN))
        .collect(engine="in-memory")
    )
    if found["kind"].null_count() == 0:
        return found
    left = found.filter(pl.col("kind").is_null())
    damaged = [is_damaged(*pair) for pair in left.select("old", "new").iter_rows()]
    of_encoding = left.select(
        "__cell",
        kind=pl.when(pl.Series(damaged, dtype=pl.Boolean)).then(
            _kind_literal(Kind.ENCODING_DAMAGE)
        ),
    )
    settled = found.filter(pl.col("kind").is_not_null()).select("__cell", "kind")
    return pl.concat([settled, of_encoding])


@functools.cache
def _hidden_kind_expr() -> pl.Expr:
    """The kinds of differences that cannot be seen; null if none fits."""

    def same(form: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
        return form(pl.col("old")) == form(pl.col("new"))

    return (
        pl.when(same(_one_blank))
        .then(_kind_literal(Kind.WHITESPACE))
        .when(same(_one_line))
        .then(_kind_literal(Kind.LINE_BREAK))
        .when(same(_seen))
        .then(_kind_literal(Kind.INVISIBLE))
        .when(same(lambda text: _seen(text).str.normalize("NFC")))
        .then(_kind_literal(Kind.UNICODE_FORM))
    )


@functools.cache
def _either_contains(pattern: str) -> pl.Expr:
    return pl.any_horizontal(pl.col("old", "new").str.contains(pattern))


@functools.cache
def _stripped(side: str) -> pl.Expr:
    return pl.col(side).str.strip_chars()


def _one_blank(text: pl.Expr) -> pl.Expr:
    """A text with one space for each run of blanks, and none beside a line break."""
    spaced = text.str.replace_all(r"[^\S\r\n]+", " ")
    return spaced.str.replace_all(r" ?([\r\n]+) ?", "${1}")


def _one_line(text: pl.Expr) -> pl.Expr:
    """A text with one space for each run of blanks and line breaks."""
    return text.str.replace_all(r"\s+", " ")


def _seen(text: pl.Expr) -> pl.Expr:
    """A text on one line, without invisible characters."""
    return _one_line(text.str.replace_all(INVISIBLE, "")).str.strip_chars()


def _read(undecided: pl.DataFrame) -> pl.DataFrame:
    """The kinds of all other cells, by their values as numbers or dates."""
    cells = undecided.lazy().with_columns(same_date=pl.lit(None, pl.Boolean))
    if undecided["__long"].any():
        dates = _compare_dates(undecided.lazy().filter("__long"))
        cells = undecided.lazy().join(
            dates, on="__cell", how="left", maintain_order="left"
        )
    return (
        cells.with_columns(map(_number_of, ("old", "new")))
        .select("__cell", _value_kind_expr())
        .collect(engine="in-memory")
    )


@functools.cache
def _number_of(side: str) -> pl.Expr:
    return Number().normal(pl.col(side)).alias(f"{side}_number")


@functools.cache
def _rewriting_kind_expr() -> pl.Expr:
    """The kinds that need no parsing of values; null if none fits."""
    old, new = _stripped("old"), _stripped("new")
    # Both, because `ß` and `SS` are equal in upper case only, and the Kelvin sign and
    # `k` in lower case only.
    lower = old.str.to_lowercase() == new.str.to_lowercase()
    upper = old.str.to_uppercase() == new.str.to_uppercase()
    codes = old.str.contains(CODE_PATTERN) & new.str.contains(CODE_PATTERN)
    zeros = old.str.strip_chars_start("0") == new.str.strip_chars_start("0")
    return (
        pl.when(pl.col("new") == "")
        .then(_kind_literal(Kind.VALUE_TO_BLANK))
        .when(pl.col("old") == "")
        .then(_kind_literal(Kind.BLANK_TO_VALUE))
        .when(old == new)
        .then(_kind_literal(Kind.WHITESPACE))
        .when(lower | upper)
        .then(_kind_literal(Kind.CASE))
        .when(codes & zeros)
        .then(_kind_literal(Kind.LEADING_ZEROS))
    )


@functools.cache
def _value_kind_expr() -> pl.Expr:
    """The kinds by the normal forms of `Number` and by `_compare_dates`."""
    old, new = pl.col("old_number"), pl.col("new_number")
    numbers = old.str.starts_with(NORMAL_PREFIX) & new.str.starts_with(NORMAL_PREFIX)
    # A normal number is NUL, the sign, and then the digits.
    same_sign = old.str.slice(1, 1) == new.str.slice(1, 1)
    same_size = numbers & (old.str.slice(2) == new.str.slice(2))
    significant = _significant_digits(old) == _significant_digits(new)
    cut_short = pl.col("old").str.contains(MEANT_BY_ITS_END) & new.str.starts_with(
        NORMAL_PREFIX
    )
    shorter = (
        pl.col("old").str.starts_with(pl.col("new"))
        & (pl.col("new") != "")
        & ~cut_short
    )
    return (
        pl.when(numbers & (old == new))
        .then(_kind_literal(Kind.NUMBER_FORMAT))
        .when(pl.col("same_date"))
        .then(_kind_literal(Kind.DATE_FORMAT))
        .when(same_size)
        .then(_kind_literal(Kind.SIGN_FLIP))
        .when(numbers & same_sign & significant)
        .then(_kind_literal(Kind.SCALE))
        .when(shorter)
        .then(_kind_literal(Kind.TRUNCATED))
        .when(numbers)
        .then(_kind_literal(Kind.NUMBER))
        .when(pl.col("same_date").is_not_null())
        .then(_kind_literal(Kind.DATE))
        .when(_is_punctuation_expr(pl.col("old"), pl.col("new")))
        .then(_kind_literal(Kind.PUNCTUATION))
        .otherwise(_kind_literal(Kind.TEXT))
        .alias("kind")
    )


def _is_punctuation_expr(old: pl.Expr, new: pl.Expr) -> pl.Expr:
    """Whether texts have the same letters and digits, and some have punctuation."""
    bare = old.str.replace_all(NO_LETTER, ""), new.str.replace_all(NO_LETTER, "")
    marked = old.str.contains(MARK) | new.str.contains(MARK)
    return marked & (bare[0] == bare[1]) & (bare[0] != "")


def _significant_digits(number: pl.Expr) -> pl.Expr:
    """The digits of a normal number, without zeros at either end."""
    return number.str.slice(2).str.replace(".", "", literal=True).str.strip_chars("0")


@functools.cache
def _may_be_dates() -> pl.Expr:
    """Whether both texts have the length of a date."""
    return pl.all_horizontal(
        pl.col("old", "new").str.len_bytes().is_between(*DATE_BYTES)
    )


def _compare_dates(cells: pl.LazyFrame) -> pl.LazyFrame:
    """For cells that are dates on both sides, whether some reading is the same day."""
    looks = (pl.col(side).str.contains(DATE_PATTERN) for side in ("old", "new"))
    both = cells.filter(*looks).with_columns(
        _possible_dates("old").alias("old_dates"),
        _possible_dates("new").alias("new_dates"),
    )
    dated = both.filter(
        (pl.col("old_dates").list.len() > 0) & (pl.col("new_dates").list.len() > 0)
    )
    # `01/02/2024` may be two days. One reading that both sides share is enough.
    common = pl.col("old_dates").list.set_intersection("new_dates")
    return dated.select("__cell", same_date=common.list.len() > 0)


@functools.cache
def _possible_dates(side: str) -> pl.Expr:
    """Every day that a text may mean in one of the known formats."""
    value = pl.col(side)
    days = [
        pl.when(value.str.contains(pattern)).then(
            # Without the time of day: a day has 10 characters in `%Y-%m-%d`, and up to
            # 11 in the others (`%d-%b-%Y`).
            value.str.head(10 if form == "%Y-%m-%d" else 11).str.to_date(
                form, strict=False
            )
        )
        for pattern, form in DATE_FORMATS
    ]
    return pl.concat_list(days).list.drop_nulls()


@functools.cache
def _kind_literal(kind: Kind) -> pl.Expr:
    return pl.lit(kind.value, dtype=KIND_TYPE)
