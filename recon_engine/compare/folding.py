"""Fold rows: those of a key become one, and amounts are added up exactly. Pure.

Only rows of one place are folded together. A group that cannot be folded makes its key
unpairable on both sides: a summand is blank or not read, or another compared column is
not constant under its rules.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.preparation import (
    PLACE,
    REASON,
    Place,
    are_plain_numbers,
    typed_rule,
)
from recon_engine.model import EXACT
from recon_engine.records import dataclass
from recon_engine.rules.base import NORMAL_PREFIX
from recon_engine.rules.chains import normal_column, normal_form
from recon_engine.rules.numbers import (
    INTEGER_DIGITS,
    Amount,
    Number,
    as_scaled_integers,
    max_decimal_places,
    max_integer_digits,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from recon_engine.compare.digests import ColumnIds


# The number of rows that a row represents.
WEIGHT: Final = "\0weight"
KEY: Final = "\0key"
NUMBER: Final = "\0number"
PLACES: Final = "\0places"
FIRST: Final = "\0first"
# A row that fails `--where` may become the partner of a kept one, so it is folded as
# well. One that the filter of its side leaves out is not.
FOLDABLE: Final = (Place.KEPT, Place.FAILING)


def with_key_forms(rows: pl.DataFrame, names: ColumnIds) -> pl.DataFrame:
    """Rows with the normal forms of their keys, in columns that `key_forms` names."""
    return rows.with_columns(
        normal_column(key, names.rules).alias(form)
        for key, form in zip(names.keys, key_forms(names), strict=True)
    )


def key_forms(names: ColumnIds) -> list[str]:
    """The columns with the normal forms of keys."""
    return [f"{KEY}{key}" for key in names.keys]


def find_unfoldable(rows: pl.DataFrame, names: ColumnIds) -> pl.DataFrame:
    """The keys with a group that cannot be folded: their forms, and the `REASON`.

    `rows`: foldable rows with key forms and `PLACE`.
    """
    by, texts = key_forms(names), list[str]()
    # The number of the first check that a row fails; null if it fails none.
    failed = pl.lit(None, pl.UInt32)
    # Backwards: each `when` encloses the one before it, so the first column that fails
    # decides.
    for at, name in reversed([*enumerate(names.columns)]):
        shown = names.user_names[name]
        if _is_sum(name, names):
            fails = ~_is_number(_number_form(name, names))
            texts.insert(0, f"--fold cannot add up {shown}")
        else:
            form = normal_column(name, names.rules)
            fails = form != form.gather(pl.col(FIRST))
            texts.insert(0, f"--fold: {shown} is not constant in the key")
        failed = pl.when(fails).then(pl.lit(at, pl.UInt32)).otherwise(failed)
    return (
        _with_first(rows, by)
        .select(*by, PLACE, failed.alias(REASON))
        .filter(pl.col(REASON).is_not_null())
        .group_by(*by, PLACE)
        .agg(pl.col(REASON).min())
        .with_columns(pl.lit(pl.Series(texts)).gather(pl.col(REASON)).alias(REASON))
        .group_by(by)
        # One reason for a key, the same for every order of rows.
        .agg(pl.col(REASON).min())
        .collect(engine="in-memory")
    )


def _with_first(rows: pl.DataFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Add the number of the first row of the group of each row.

    Rows are compared with it: to count the values of each group takes some hundred
    times as long.
    """
    first = pl.col(FIRST).first().over(*by, PLACE)
    return rows.lazy().with_row_index(FIRST).with_columns(first)


def fold_rows(rows: pl.DataFrame, names: ColumnIds) -> pl.DataFrame:
    """One row for each key and place, with its `WEIGHT`.

    `rows`: rows of groups that can be folded, with key forms and `PLACE`. A column that
    is not compared is blank, or null if it is no text, where it is not constant.
    """
    if rows.is_empty():
        return rows.with_columns(pl.lit(1, pl.Int64).alias(WEIGHT))
    by = key_forms(names)
    sums = [
        _Sum.of(rows, name, names) for name in names.columns if _is_sum(name, names)
    ]
    summed = {each.name for each in sums}
    compared = {*names.keys, *names.columns}
    kept = [name for name in rows.columns if name not in {*summed, *by, PLACE}]
    numbers = [each.numbers.alias(f"{NUMBER}{each.name}") for each in sums]
    places = [each.places.alias(f"{PLACES}{each.name}") for each in sums]
    # Without rules, all cells of a compared column are equal.
    equal = [name for name in kept if name in compared and name not in names.rules]
    others = [name for name in kept if name not in compared]
    unlike = [
        pl.col(name).ne_missing(pl.col(name).gather(pl.col(FIRST))).alias(f"\0{name}")
        for name in others
    ]
    grouped = (
        _with_first(rows.with_columns(*numbers, *places), by)
        .with_columns(unlike)
        .group_by(*by, PLACE)
    )
    folded = grouped.agg(
        pl.len().cast(pl.Int64).alias(WEIGHT),
        pl.col(equal).first(),
        *(
            # Of texts that rules make equal the least, whatever the order of rows.
            pl.col(name).min()
            for name in kept
            if name in compared and name in names.rules
        ),
        *(_constant(name, rows.schema[name]) for name in others),
        *(each.total() for each in sums),
        *(pl.col(f"{PLACES}{each.name}").max() for each in sums),
    ).collect(engine="in-memory")
    texts = [_in_notation(each.write(folded), each.name, names) for each in sums]
    return folded.with_columns(texts).select(*rows.columns, WEIGHT)


@dataclass(frozen=True, slots=True)
class _Sum:
    """The numbers of a column that is added up, and the digits after their points.

    `numbers`: integers that are scaled by 10**`shift`; texts if these are too large.
    """

    name: str
    numbers: pl.Series
    places: pl.Series
    shift: int

    @classmethod
    def of(cls, rows: pl.DataFrame, name: str, names: ColumnIds) -> _Sum:
        """The summands of some rows."""
        forms = rows.select(_number_form(name, names)).to_series().alias("number")
        shift = max_decimal_places(forms)
        # The sum of n numbers has at most as many more digits as n has.
        digits = max_integer_digits(forms) + shift + len(str(len(forms)))
        # The normal form has no zeros at its end, and a sum is shown with the places of
        # the file.
        written = rows[name] if _is_plain(name, names) else forms
        places = (
            written.alias("text")
            .to_frame()
            .select(
                pl.col("text").str.extract(r"\.([0-9]*)").str.len_chars().fill_null(0)
            )
        )
        if digits > INTEGER_DIGITS:
            return cls(name, forms, places.to_series(), shift)
        integers = forms.to_frame().select(as_scaled_integers(pl.col("number"), shift))
        return cls(name, integers.to_series(), places.to_series(), shift)

    def total(self) -> pl.Expr:
        """The sum of a group; the texts of its numbers if these are too large."""
        column = pl.col(f"{NUMBER}{self.name}")
        return column if self.numbers.dtype == pl.String else column.sum()

    def write(self, folded: pl.DataFrame) -> pl.Series:
        """The sums as text, with as many decimal places as the longest summand."""
        totals, places = (folded[f"{prefix}{self.name}"] for prefix in (NUMBER, PLACES))
        if self.numbers.dtype == pl.String:
            texts = [
                f"{EXACT.quantize(sum_exactly(each), Decimal(1).scaleb(-most)):f}"
                for each, most in zip(totals, places, strict=True)
            ]
            return pl.Series(texts, dtype=pl.String)
        # One digit at least is before the point.
        digits = pl.col("total").abs().cast(pl.String).str.zfill(self.shift + 1)
        whole = pl.col("digits").str.len_chars() - self.shift
        # A number may be written with more places than its exact value has.
        part = pl.col("digits").str.slice(whole).str.pad_end(pl.col("places"), "0")
        fraction = part.str.slice(0, pl.col("places"))
        point = pl.when(pl.col("places") > 0).then(pl.lit(".")).otherwise(pl.lit(""))
        sign = pl.when(pl.col("total") < 0).then(pl.lit("-")).otherwise(pl.lit(""))
        return (
            pl.DataFrame({"total": totals, "places": places})
            .with_columns(digits=digits)
            .select(
                pl.concat_str(
                    sign, pl.col("digits").str.slice(0, whole), point, fraction
                )
            )
            .to_series()
        )


def sum_exactly(numbers: Iterable[str]) -> Decimal:
    """The exact sum of normal numbers of any length."""
    total = Decimal(0)
    for number in numbers:
        total = EXACT.add(total, Decimal(number))
    return total


def _constant(name: str, dtype: pl.DataType) -> pl.Expr:
    """The value of a column that is constant in a group; otherwise blank, or null."""
    blank = pl.lit("") if dtype == pl.String else pl.lit(None, dtype)
    is_unlike = pl.col(f"\0{name}").any()
    return pl.when(is_unlike).then(blank).otherwise(pl.col(name).first()).alias(name)


def _is_sum(name: str, names: ColumnIds) -> bool:
    return name in names.prepared.sums


def _number_form(name: str, names: ColumnIds) -> pl.Expr:
    """The number of a cell without its mark, as `as_scaled_integers` reads it."""
    form = normal_form(names.rules.get(name, (Number(),)), pl.col(name))
    return form.str.strip_prefix(NORMAL_PREFIX)


def _is_number(form: pl.Expr) -> pl.Expr:
    return form.str.contains(r"^[+-]0[0-9]*\.[0-9]*$")


def _in_notation(plain: pl.Series, name: str, names: ColumnIds) -> pl.Series:
    """Sums as the rule of their column reads them."""
    typed = typed_rule(names.rules.get(name, ()))
    if not isinstance(typed, Amount):
        return plain.alias(name)
    text = plain.alias("text").to_frame()
    return text.select(typed.write(pl.col("text")).alias(name)).to_series()


def _is_plain(name: str, names: ColumnIds) -> bool:
    """Whether numbers of a column are read as they are written."""
    return are_plain_numbers(names.rules.get(name, ()))
