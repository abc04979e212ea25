"""What is done to the rows of a side before they are paired: derive, filter, fold.

A preparation is a plan, without rows: both engines apply it wherever rows are parsed.
It adds derived columns to the cells of rows (`with_derived`), and gives each row its
place (`find_places`). Without options it is empty, and nothing is evaluated.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.rules.base import APART_PREFIX, NORMAL_PREFIX, Apart
from recon_engine.rules.chains import normal_form
from recon_engine.rules.dates import Day
from recon_engine.rules.instants import Instant, as_nanoseconds
from recon_engine.rules.numbers import Number
from recon_engine.runtime.lazy_module import LazyModule
from recon_engine.where_syntax import ORDERED


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import polars as pl

    from recon_engine.derive_syntax import Derivation
    from recon_engine.rules.base import Rule
    from recon_engine.where_syntax import Condition
else:
    # The kernel begins to read files before Polars is here.
    np, pl = LazyModule("numpy"), LazyModule("polars")


class Place(IntEnum):
    """The place of a row before it is paired.

    `FAILING`: it fails `--where`, so it is left out unless it has a partner that does
    not. `LEFT_OUT`: it fails the filter of its side, by a column that could be made.
    `UNPAIRABLE`: a derived column or a comparison could not be made, or a code of the
    key is not listed.
    """

    KEPT = 0
    FAILING = 1
    LEFT_OUT = 2
    UNPAIRABLE = 3


# Digests of rows carry the place in their lowest bits.
PLACE_BITS: Final = 3
# Marks the columns that this package adds to rows: no user's column has NUL.
PLACE: Final = "\0place"
# Families of typed rules.
NUMBER: Final = "number"
CODE: Final = "code"
REASON: Final = "\0reason"
LIKE_NUMBER: Final = lazy_pattern(r"[+-]?\d[\d.,]*")


@dataclass(frozen=True, slots=True)
class RowTest:
    """A condition on a column, with its values in the normal form of the rules.

    `rules`: those of the column on this side. `flag`: the option, for errors.
    """

    column: str
    operator: str
    forms: tuple[str, ...]
    rules: tuple[Rule, ...]
    flag: str
    label: str

    def is_readable(self) -> pl.Expr:
        """Whether the comparison can read the value."""
        typed, form = typed_rule(self.rules), self._form()
        if typed is None:
            return pl.lit(True)
        known = ~form.str.starts_with(APART_PREFIX)
        if typed.family == CODE:
            return known
        read = form.str.starts_with(NORMAL_PREFIX) & known
        # A blank is no number and no day, but it can be equal to a blank.
        return read if self.operator in ORDERED else read | (form == "")

    def holds(self) -> pl.Expr:
        """Whether the value fulfils the condition, if it can be read."""
        form, first = self._form(), self.forms[0]
        if self.operator not in ORDERED:
            same = form.is_in(list(self.forms))
            return ~same if self.operator == "!=" else same
        less = _is_less(form, first, typed_rule(self.rules))
        match self.operator:
            case "<":
                return less
            case "<=":
                return less | (form == first)
            case ">":
                return ~less & (form != first)
            case _:
                return ~less

    @property
    def orders_text(self) -> bool:
        """Whether values are ordered by their characters against a number: 9 > 10."""
        return (
            self.operator in ORDERED
            and typed_rule(self.rules) is None
            and bool(LIKE_NUMBER.fullmatch(self.forms[0]))
        )

    @property
    def reason(self) -> str:
        """Why a row that cannot be tested is unpairable."""
        return f"{self.flag} cannot read {self.label}"

    def _form(self) -> pl.Expr:
        return normal_form(self.rules, pl.col(self.column))


@dataclass(frozen=True, slots=True)
class ListedCode:
    """A key column whose code table has to list each code: another equals nothing.

    `rules`: those of the column on this side.
    """

    column: str
    rules: tuple[Rule, ...]
    label: str

    def has_failed(self) -> pl.Expr:
        """Whether the table does not list the code."""
        form = normal_form(self.rules, pl.col(self.column))
        return form.str.starts_with(APART_PREFIX)

    @property
    def reason(self) -> str:
        """Why a row is unpairable if the table does not list its code."""
        return f"the code table of {self.label} does not list the code"


@dataclass(frozen=True, slots=True)
class DerivedColumns:
    """The columns that one derivation adds; names are those of the side's rows."""

    derivation: Derivation
    label: str

    @property
    def names(self) -> tuple[str, ...]:
        """The new columns."""
        return self.derivation.names

    def values(self) -> list[pl.Expr]:
        """The values of the new columns; blank if the derivation fails."""
        it, sources = self.derivation, [pl.col(n) for n in self.derivation.sources]
        match it.function:
            case "split":
                parts = sources[0].str.split_exact(it.separator, len(it.names) - 1)
                made = [parts.struct.field(f"field_{n}") for n in range(len(it.names))]
            case "join":
                made = [pl.concat_str(sources, separator=it.separator)]
            case "slice":
                size = None if it.last is None else it.last - it.first + 1
                made = [sources[0].str.slice(it.first - 1, size)]
            case _:
                made = [pl.lit(ONE_ROW)]
        failed = self.has_failed()
        return [
            pl.when(failed).then(pl.lit("")).otherwise(each).alias(name)
            for name, each in zip(it.names, made, strict=True)
        ]

    def has_failed(self) -> pl.Expr:
        """Whether the source has another number of parts, or too few characters."""
        it = self.derivation
        match it.function:
            case "split":
                marks = pl.col(it.sources[0]).str.count_matches(
                    it.separator, literal=True
                )
                return marks != len(it.names) - 1
            case "slice":
                size = pl.col(it.sources[0]).str.len_chars()
                return size < (it.first if it.last is None else it.last)
            case _:
                return pl.lit(False)

    @property
    def reason(self) -> str:
        """Why a row is unpairable if the derivation fails."""
        return f"{self.label} does not fit"

    def renamed(self, names: Mapping[str, str]) -> DerivedColumns:
        """The same under other names of columns."""
        it = self.derivation
        return replace(
            self,
            derivation=replace(
                it,
                names=tuple(names[name] for name in it.names),
                sources=tuple(names[name] for name in it.sources),
            ),
        )


# The number of rows of a key, before rows are folded.
ONE_ROW: Final = "1"


@dataclass(frozen=True, slots=True)
class Preparation:
    """How the rows of a side are prepared, in this order: derive, filter, fold.

    `codes`: the key columns whose codes have to be listed. `own`: the filter of this
    side; `both`: that of both sides. `fold`: whether the rows of a key become one;
    `sums`: the columns that are added up then. `either_folds`: whether those of a side
    do. `places`: whether a row of either side can have another place than `KEPT`.
    """

    derived: tuple[DerivedColumns, ...] = ()
    codes: tuple[ListedCode, ...] = ()
    own: tuple[RowTest, ...] = ()
    both: tuple[RowTest, ...] = ()
    fold: bool = False
    either_folds: bool = False
    sums: tuple[str, ...] = ()
    places: bool = False

    def __bool__(self) -> bool:
        return bool(self.places or self.either_folds)

    @property
    def new_names(self) -> tuple[str, ...]:
        """The derived columns, in order."""
        return tuple(name for each in self.derived for name in each.names)

    @property
    def judged(self) -> list[str]:
        """The columns that decide on the place of a row."""
        sources = [name for each in self.derived for name in each.derivation.sources]
        codes = [each.column for each in self.codes]
        tested = [test.column for test in (*self.own, *self.both)]
        return list(dict.fromkeys((*sources, *codes, *tested)))

    @property
    def _checked(self) -> tuple[DerivedColumns | ListedCode, ...]:
        """What makes a row unpairable, whatever the filters say."""
        return *self.derived, *self.codes

    def renamed(self, names: Mapping[str, str]) -> Preparation:
        """The same under other names of columns."""
        return replace(
            self,
            derived=tuple(each.renamed(names) for each in self.derived),
            codes=tuple(replace(c, column=names[c.column]) for c in self.codes),
            own=tuple(replace(t, column=names[t.column]) for t in self.own),
            both=tuple(replace(t, column=names[t.column]) for t in self.both),
            sums=tuple(names[name] for name in self.sums),
        )

    def with_derived(self, cells: pl.LazyFrame) -> pl.LazyFrame:
        """The cells with the derived columns."""
        for each in self.derived:
            cells = cells.with_columns(each.values())
        return cells

    def find_places(self, cells: pl.DataFrame) -> pl.Series:
        """The `Place` (u8) of each row; `cells` have the columns of `judged`."""
        if not (self.own or self.both or self.derived or self.codes):
            return pl.repeat(Place.KEPT, cells.height, dtype=pl.UInt8, eager=True)
        # As docs/pairing.md says: a false condition leaves a row out even if another
        # one cannot be evaluated.
        place = (
            pl.when(
                _any(_fails(test) & ~self._is_unmade(test.column) for test in self.own)
            )
            .then(Place.LEFT_OUT)
            .when(_any(each.has_failed() for each in self._checked))
            .then(Place.UNPAIRABLE)
            .when(_any(~test.is_readable() for test in self.own))
            .then(Place.UNPAIRABLE)
            .when(_any(_fails(test) for test in self.both))
            .then(Place.FAILING)
            .when(_any(~test.is_readable() for test in self.both))
            .then(Place.UNPAIRABLE)
            .otherwise(Place.KEPT)
        )
        found = cells.lazy().select(place.cast(pl.UInt8).alias(PLACE))
        places = found.collect(engine="in-memory").to_series()
        if len(places) != cells.height:
            # Without a column in any expression, Polars returns one value for all.
            return places.new_from_index(0, cells.height)
        return places

    def _is_unmade(self, column: str) -> pl.Expr:
        """Whether the column is derived and could not be made.

        What is in its place is blank, or joined with a blank: no test can judge it.
        """
        needed, failed = {column}, []
        for each in reversed(self.derived):
            if needed.intersection(each.names):
                needed.update(each.derivation.sources)
                failed.append(each.has_failed())
        return _any(failed)

    def find_reasons(self, rows: pl.DataFrame) -> pl.Series:
        """Why each of these rows is unpairable."""
        checks = [(each.has_failed(), each.reason) for each in self._checked]
        checks += [
            (~test.is_readable(), test.reason) for test in (*self.own, *self.both)
        ]
        reason: Any = pl.lit("")
        for failed, text in reversed(checks):
            reason = pl.when(failed).then(pl.lit(text)).otherwise(reason)
        # The column gives the reason its height: of literals alone Polars makes one
        # row.
        columns = [pl.col(self.judged[0]).alias(PLACE), reason.alias(REASON)]
        return rows.select(columns)[REASON]


NO_PREPARATION: Final = Preparation()


def make_test(
    condition: Condition, column: str, rules: Sequence[Rule], flag: str
) -> RowTest:
    """The test of a condition on a column with these rules.

    Raises ConfigError if the rules of the column cannot read a value of the condition.
    """
    chain = tuple(rules)
    texts = pl.Series(condition.values, dtype=pl.String).alias("text").to_frame()
    forms = texts.select(normal_form(chain, pl.col("text"))).to_series()
    test = RowTest(
        column, condition.operator, tuple(forms), chain, flag, condition.column
    )
    named = replace(test, column="text")
    if not texts.select(pl.col("text"), read=named.is_readable())["read"].all():
        raise ConfigError(
            f"{flag} compares {condition.column} with a value that the rule of the"
            " column cannot read",
            help="write the value as the column has it, or change --rule",
        )
    return test


def place_of(check: pl.Series) -> pl.Series:
    """The places of rows, from the digests that carry them."""
    return pl.Series(check.to_numpy() & np.uint64(PLACE_BITS))


def clear_places(check: pl.Series) -> pl.Series:
    """Digests (u64) with the place `KEPT`, which is 0."""
    return pl.Series(check.name, check.to_numpy() & ~np.uint64(PLACE_BITS))


def with_places(check: pl.Series, places: pl.Series) -> pl.Series:
    """Digests (u64) with the places of their rows in the lowest bits."""
    # Equal rows of one place stay equal; 62 random bits are left of 64.
    bits = places.to_numpy().astype(np.uint64)
    return pl.Series(clear_places(check).to_numpy() | bits)


def _fails(test: RowTest) -> pl.Expr:
    return test.is_readable() & ~test.holds()


def _any(tests: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal([pl.lit(False), *tests])


def typed_rule(rules: Sequence[Rule]) -> Rule | None:
    """The typed rule of a side's chain, if it has one: the last rule."""
    if not rules or not rules[-1].family:
        return None
    last = rules[-1]
    return last.rule if isinstance(last, Apart) else last


def are_plain_numbers(rules: Sequence[Rule]) -> bool:
    """Whether the numbers of a column are read as they are written."""
    return len(rules) <= 1 and all(type(rule) is Number for rule in rules)


def _is_less(form: pl.Expr, than: str, typed: Rule | None) -> pl.Expr:
    """Whether a normal form is less: by code points, as number, as day, as instant."""
    bare, limit = form.str.strip_prefix(NORMAL_PREFIX), than.strip(NORMAL_PREFIX)
    if isinstance(typed, Day):
        return bare.cast(pl.Int32, strict=False) < int(limit)
    if isinstance(typed, Instant):
        known = pl.when(bare.str.contains("^-?[0-9]+T[0-9]+$")).then(bare)
        return as_nanoseconds(known) < as_nanoseconds(pl.lit(limit))
    if typed is None or typed.family != NUMBER:
        return form < than
    # A sign, then digits without redundant zeros, so that of two numbers with as many
    # digits before the point the text decides. Exact for any number of digits.
    below, size = bare.str.starts_with("-"), bare.str.find(".", literal=True)
    whole, magnitude = limit.index("."), bare.str.slice(1)
    nearer = (size < whole) | ((size == whole) & (magnitude < limit[1:]))
    further = (size > whole) | ((size == whole) & (magnitude > limit[1:]))
    if limit.startswith("-"):
        return below & further
    return below | nearer
