"""Constants: one and the same change of most differing cells of a column. Pure.

Cells that differ only in how a value is written are not examined, nor are blanks: but
to fill a blank with the text that others get is the same change. The others are read in
three ways, each by itself:

- Numbers, as the rules of the column or else `decimal` reads them: their difference,
  and their factor if one is a multiple of the other. A number with more than 18 digits
  before or after the point is not read.
- Days, times of day, and both: the span between them.
- Texts of which one begins or ends with the other: the rest.

A change is reported if at least `MIN_CELLS` cells and half of those that are read in
its way have it, and if several pairs of values have it: that of a single pair is a
pattern. Of several changes of a column, that of most cells is reported.

Whether `02/03/2024` is in February or in March is not guessed: such days are read if
one order reads all days of the column, and the other does not.

All distinct changes are counted, whatever their order.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.analysis import patterns
from recon_engine.analysis.finding import Finding, drop_masked
from recon_engine.formatting import format_count
from recon_engine.kinds import REWRITING_KINDS, Kind
from recon_engine.lazy import lazy_pattern
from recon_engine.model import EXACT, SIDES, ChangeForm, Constant
from recon_engine.record_table import Field
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from recon_engine.analysis.evidence import Evidence

    # Of `patterns.CHANGE_COLUMNS`: old, new, kind, rows.
    Change = tuple[str, str, str, int]
    # By either order of day and month: month first, day first.
    Seconds = tuple[int | None, int | None]


# Fewer cells may have a change in common by chance.
MIN_CELLS: Final = 5
MIN_PAIRS: Final = 2
# As many are counted one by one sooner than the queries are built.
FEW_CHANGES: Final = 1 << 12
# Of a number: the most digits before and after the point. All are scaled alike.
PLACES: Final = 18
POWERS: Final = tuple(10**at for at in range(PLACES + 1))
# So many digits, scaled by so many places, fit 64 bits.
FEW_PLACES: Final = 6
FEW_DIGITS: Final = 10**12
NUMBERS: Final = frozenset({Kind.NUMBER, Kind.SIGN_FLIP, Kind.SCALE})
# To read a member of an enumeration takes longer than to compare it.
TRUNCATED, DATE = str(Kind.TRUNCATED), str(Kind.DATE)
# The only other kind of two numbers has other texts as well.
NUMBER: Final = lazy_pattern(
    r"[+-]?(?=[^0-9]*[0-9])(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?"
)
# A day, if there is one, the hour, minute and second, their fraction and offset.
CLOCK: Final = lazy_pattern(
    r"(?:(\S{8,11}?)[ T])?([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])"
    r"((?:\.[0-9]{1,9})?(?: ?(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?))?))?"
)
DAY_DIGITS: Final = 8
# As the kinds have it: eight digits of other years are no day.
CENTURIES: Final = ("1", "2")
FIRST_YEAR: Final = 1_000
MONTHS: Final = (
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
)
NO_TIME: Final = (None, None)
DAY: Final = 86_400
UNITS: Final = ((DAY, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
# What a hint says already: another place of the point, another time zone.
SAID_BY_RULES: Final[Mapping[ChangeForm, str]] = {
    ChangeForm.MULTIPLY: "scale(",
    ChangeForm.DIVIDE: "scale(",
    ChangeForm.SHIFT: "timestamp(",
}


def find_constant(column: str, changes: Iterable[Change]) -> Constant | None:
    """The change that most cells of a column have in common.

    `changes`: old, new, kind and rows of each distinct one, with the texts as the rules
    of the column read them.
    """
    counts = _Counts()
    filled = dict[tuple[str, str], int]()
    for old, new, kind, rows in changes:
        counts.add(old, new, kind, rows)
        if not (old and new):
            filled[old, new] = filled.get((old, new), 0) + rows
    found = counts.choose(column)
    return found and _add_blanks(found, lambda old, new: filled.get((old, new), 0))


def find_constant_of_many(column: str, changes: pl.DataFrame) -> Constant | None:
    """The same of changes in the columns of `patterns.group_changes`."""
    if changes.height <= FEW_CHANGES:
        return find_constant(column, changes.iter_rows())
    counts = _Counts()
    counts.add_many(changes)
    found = counts.choose(column)

    def count_cells(old: str, new: str) -> int:
        same = (changes["old"] == old) & (changes["new"] == new)
        return int(changes["rows"].filter(same).sum())

    return found and _add_blanks(found, count_cells)


def _add_blanks(found: Constant, count_cells: Callable[[str, str], int]) -> Constant:
    """A text that others get or lose, with the cells of which it is the whole value."""
    if found.change in {ChangeForm.APPEND, ChangeForm.PREPEND}:
        cells = count_cells("", found.by)
    elif found.change in {ChangeForm.CUT_END, ChangeForm.CUT_START}:
        cells = count_cells(found.by, "")
    else:
        return found
    return replace(found, rows=found.rows + cells)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A change of some cells, and the most decimal places of its numbers."""

    cells: int
    by: int | str
    places: int

    @property
    def rank(self) -> tuple[int, int, str]:
        """A sort key: most cells first, ties by content."""
        text = str(self.by)
        return -self.cells, len(text), text


class _Form:
    """The constants of one form: the cells, the pairs of values, the most places."""

    def __init__(self) -> None:
        self._found: dict[Any, list[int]] = {}

    def count(self, by: int | str, rows: int, places: int = 0, pairs: int = 1) -> None:
        """Count pairs of values of so many cells."""
        counted = self._found.get(by)
        if counted is None:
            self._found[by] = [rows, pairs, places]
            return
        counted[0] += rows
        counted[1] += pairs
        if counted[2] < places:  # noqa: PLR1730 - faster than `max`
            counted[2] = places

    def count_many(
        self,
        cells: pl.LazyFrame,
        by: pl.Expr,
        least: int,
        places: pl.Expr | None = None,
        scale: int = 1,
    ) -> None:
        """Count the constants of cells, of which twice the number is `least` or more.

        `scale`: what a number is multiplied by.
        """
        counted = (
            cells.group_by(by=by)
            .agg(
                cells=pl.col("rows").sum(),
                places=pl.lit(0) if places is None else places.max(),
                pairs=pl.len(),
            )
            .filter(2 * pl.col("cells") >= least)
            .collect(engine="in-memory")
        )
        for one, *facts in counted.iter_rows():
            self.count(one * scale, *facts)

    def most_frequent(self, cells: int) -> _Counted | None:
        """What half of so many cells have, and several pairs of values."""
        able = [
            _Counted(rows, by, places)
            for by, (rows, pairs, places) in self._found.items()
            if 2 * rows >= cells and rows >= MIN_CELLS and pairs >= MIN_PAIRS
        ]
        return min(able, key=lambda each: each.rank, default=None)


class _Counts:
    """What is counted of the changes of a column."""

    def __init__(self) -> None:
        self._cells = self._texts = self._numbers = self._times = 0
        self._appended, self._prepended = _Form(), _Form()
        self._cut_ends, self._cut_starts = _Form(), _Form()
        self._added, self._multiplied, self._divided = _Form(), _Form(), _Form()
        # By the order of day and month: month first, day first.
        self._spans = _Form(), _Form()
        # Of the times, those that are read, not just numbers of eight digits; by order.
        self._read, self._read_in = 0, [0, 0]
        # The days of a column repeat.
        self._moment_of = functools.cache(_read_moment)

    def add(self, old: str, new: str, kind: str, rows: int) -> None:
        """Count a distinct change of so many cells."""
        self._cells += rows
        if old and new and kind not in REWRITING_KINDS:
            self._add_texts(old, new, rows)
            self._add_values(old, new, kind, rows)

    def add_many(self, changes: pl.DataFrame) -> None:
        """Count distinct changes: most of them by queries, the others one by one."""
        kind, texts = pl.col("kind"), pl.col(*SIDES)
        # 64 bits: a sum of 32 bits stays one.
        changes = changes.with_columns(pl.col("rows").cast(pl.Int64))
        self._cells += int(changes["rows"].sum())
        cells = changes.filter(
            pl.all_horizontal(texts != ""), ~kind.is_in(sorted(REWRITING_KINDS))
        )
        self._add_many_texts(cells)
        are_numbers = kind.is_in(sorted(NUMBERS))
        timed = pl.all_horizontal(texts.str.contains(":", literal=True))
        others = cells.filter(~are_numbers, timed | kind.is_in([TRUNCATED, DATE]))
        numbers = _read_numbers(cells.filter(are_numbers))
        single = numbers.filter("single").select(patterns.CHANGE_COLUMNS)
        for change in pl.concat([others, single]).iter_rows():
            self._add_values(*change)
        left = sum(int(each["rows"].sum()) for each in (others, single))
        self._add_many_numbers(numbers.filter(~pl.col("single")), left)

    def _add_many_texts(self, cells: pl.DataFrame) -> None:
        old, new, rows = (pl.col(name) for name in (*SIDES, "rows"))
        forms = (
            (self._appended, new.str.starts_with(old), new.str.strip_prefix(old)),
            (self._prepended, new.str.ends_with(old), new.str.strip_suffix(old)),
            (self._cut_ends, old.str.starts_with(new), old.str.strip_prefix(new)),
            (self._cut_starts, old.str.ends_with(new), old.str.strip_suffix(new)),
        )
        total, *hits = cells.select(
            rows.sum().alias("total"),
            *(
                rows.filter(each[1]).sum().alias(str(at))
                for at, each in enumerate(forms)
            ),
        ).row(0)
        self._texts += total
        for (form, fits, by), hit in zip(forms, hits, strict=True):
            # In fewer cells than half of them there is no constant.
            if 2 * hit >= total:
                form.count_many(cells.lazy().filter(fits, old != new), by, total)

    def _add_many_numbers(self, numbers: pl.DataFrame, left: int) -> None:
        """`left`: the cells that were counted one by one."""
        total = int(numbers["rows"].sum())
        self._numbers += total
        old, new, places = pl.col("old_scaled"), pl.col("new_scaled"), pl.col("places")
        some = numbers.lazy().filter(old != new)
        scale, least = POWERS[PLACES - FEW_PLACES], total - 2 * left
        self._added.count_many(some, new - old, least, places, scale)
        some = some.filter(old != 0, new != 0)
        multiples = some.filter(new % old == 0)
        self._multiplied.count_many(multiples, new // old, least)
        parts = some.filter(new % old != 0, old % new == 0)
        self._divided.count_many(parts, old // new, least)

    def _add_texts(self, old: str, new: str, rows: int) -> None:
        self._texts += rows
        if len(new) > len(old):
            if new.startswith(old):
                self._appended.count(new[len(old) :], rows)
            if new.endswith(old):
                self._prepended.count(new[: -len(old)], rows)
        elif len(new) < len(old):
            if old.startswith(new):
                self._cut_ends.count(old[len(new) :], rows)
            if old.endswith(new):
                self._cut_starts.count(old[: -len(new)], rows)

    def _add_values(self, old: str, new: str, kind: str, rows: int) -> None:
        is_number = kind in NUMBERS
        # The kind of a value that a rule does not read is that of both texts, of which
        # one is a form here: `2` and `1` are `2` and `true` under `boolean`.
        if (is_number or kind == TRUNCATED) and _is_number(old) and _is_number(new):
            self._add_numbers(old, new, rows)
            long = is_number and len(old) >= DAY_DIGITS <= len(new)
            if long and _may_be_days(old, new):
                self._add_times(old, new, rows, is_number=True)
        elif kind == DATE or (":" in old and ":" in new):
            self._add_times(old, new, rows, is_day=kind == DATE)

    def _add_numbers(self, old: str, new: str, rows: int) -> None:
        o, o_places = _read_number(old)
        n, n_places = _read_number(new)
        if o is None or n is None:
            return
        self._numbers += rows
        if o_places < n_places:
            o *= POWERS[n_places - o_places]
        elif n_places < o_places:
            n *= POWERS[o_places - n_places]
            n_places = o_places
        if o == n:
            return
        self._added.count((n - o) * POWERS[PLACES - n_places], rows, n_places)
        if o and n:
            if n % o == 0:
                self._multiplied.count(n // o, rows)
            elif o % n == 0:
                self._divided.count(o // n, rows)

    def _add_times(
        self,
        old: str,
        new: str,
        rows: int,
        *,
        is_day: bool = False,
        is_number: bool = False,
    ) -> None:
        o_has_day, o_rest, o_seconds = self._moment_of(old)
        n_has_day, n_rest, n_seconds = self._moment_of(new)
        is_read = is_day
        for order in (0, 1) if o_has_day == n_has_day else ():
            o, n = o_seconds[order], n_seconds[order]
            if o is not None and n is not None:
                is_read = True
                self._read_in[order] += rows
                if o != n and o_rest == n_rest:
                    self._spans[order].count(n - o, rows)
        if is_read:
            self._read += rows
        if is_read or is_number:
            self._times += rows

    def choose(self, column: str) -> Constant | None:
        """The change of most cells; of equally many, that of the first form."""
        forms = {
            ChangeForm.ADD: self._added.most_frequent(self._numbers),
            ChangeForm.MULTIPLY: self._multiplied.most_frequent(self._numbers),
            ChangeForm.DIVIDE: self._divided.most_frequent(self._numbers),
            ChangeForm.APPEND: self._appended.most_frequent(self._texts),
            ChangeForm.PREPEND: self._prepended.most_frequent(self._texts),
            ChangeForm.CUT_END: self._cut_ends.most_frequent(self._texts),
            ChangeForm.CUT_START: self._cut_starts.most_frequent(self._texts),
        }
        # An order that does not read all days is not theirs; two that do may agree.
        spans = {
            each.most_frequent(self._times)
            for each, read in zip(self._spans, self._read_in, strict=True)
            if read == self._read
        }
        if len(spans) == 1:
            forms[ChangeForm.SHIFT] = spans.pop()
        able = [(form, each) for form in ChangeForm if (each := forms.get(form))]
        if not able:
            return None
        form, counted = max(able, key=lambda each: each[1].cells)
        by = _write_constant(form, counted)
        return Constant(column, form, by, counted.cells, self._cells)


def _write_constant(form: ChangeForm, counted: _Counted) -> str:
    """A number with as many places as its numbers have, a span in words, a text."""
    if form is ChangeForm.ADD:
        number = EXACT.scaleb(Decimal(counted.by), -PLACES)
        return f"{EXACT.quantize(number, Decimal(1).scaleb(-counted.places)):f}"
    if form is not ChangeForm.SHIFT:
        return str(counted.by)
    seconds = int(counted.by)
    unit, name = next(each for each in UNITS if seconds % each[0] == 0)
    return "-" * (seconds < 0) + format_count(abs(seconds) // unit, name)


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text.strip()) is not None


def _read_numbers(numbers: pl.DataFrame) -> pl.DataFrame:
    """Changes of two numbers, with both scaled by `FEW_PLACES`, and the most `places`.

    `single`: whether 64 bits may not hold them, or both may be days.
    """
    read = numbers.lazy()
    for side in SIDES:
        bare, places = pl.col(f"{side}_bare"), pl.col(f"{side}_places")
        point, size = bare.str.find(".", literal=True), bare.str.len_bytes()
        digits = bare.str.replace(".", "", literal=True).cast(pl.Int64, strict=False)
        power = pl.lit(pl.Series(POWERS)).gather((FEW_PLACES - places).clip(0))
        read = (
            read.with_columns(
                pl.col(side)
                .str.strip_chars()
                .str.replace_all(",", "", literal=True)
                .alias(f"{side}_bare")
            )
            .with_columns(
                (size - point - 1)
                .fill_null(0)
                .cast(pl.Int64)
                .alias(places.meta.output_name())
            )
            .with_columns(
                digits.alias(f"{side}_digits"), (digits * power).alias(f"{side}_scaled")
            )
        )
    digits = pl.col("old_digits", "new_digits")
    most = pl.max_horizontal("old_places", "new_places")
    are_few = pl.all_horizontal(
        digits.is_between(-FEW_DIGITS, FEW_DIGITS).fill_null(False)
    )
    may_be_days = pl.all_horizontal(digits.is_between(10**7, 3 * 10**7)) & (most == 0)
    return read.select(
        *patterns.CHANGE_COLUMNS,
        "old_scaled",
        "new_scaled",
        places=most,
        single=~are_few | (most > FEW_PLACES) | may_be_days,
    ).collect(engine="in-memory")


def _read_number(text: str) -> tuple[int | None, int]:
    """The digits of a number, and its places; None if it has too many of either."""
    whole, _, part = text.partition(".")
    # Most numbers have neither blanks nor commas.
    if not part.isdigit() or "," in whole:
        whole, _, part = text.strip().replace(",", "").partition(".")
    places = len(part)
    if places > PLACES or (
        len(whole) > PLACES and len(whole.strip().lstrip("+-")) > PLACES
    ):
        return None, 0
    return int(whole + part), places


def _may_be_days(*texts: str) -> bool:
    """Whether numbers have the form of `20240131`."""
    return all(
        len(bare) == DAY_DIGITS and bare.isdigit() and bare.startswith(CENTURIES)
        for bare in map(str.strip, texts)
    )


def _read_moment(text: str) -> tuple[bool, str, Seconds]:
    """A time: whether it has a day, its fraction and offset as written, its seconds.

    They are those since a fixed day, or since midnight: by either order of day and
    month, and None if it is no time.
    """
    bare = text.strip()
    if ":" not in bare:
        return True, "", _read_days(bare)
    found = CLOCK.fullmatch(bare)
    if found is None:
        return False, "", NO_TIME
    day, hour, minute, second, rest = found.groups(default="")
    seconds = int(hour) * 3_600 + int(minute) * 60 + int(second or 0)
    if not day:
        return False, rest, (seconds, seconds)
    month_first, day_first = (
        None if start is None else start + seconds for start in _read_days(day)
    )
    return True, rest, (month_first, day_first)


def _read_days(text: str) -> Seconds:
    """The seconds of the begin of a day, by either order of day and month."""
    year_first = text[4:5] in {"-", "/"} and text[7:8] == text[4]
    if len(text) == DAY_DIGITS:
        return (_start_of(text[:4], text[4:6], text[6:]),) * 2
    if year_first:
        return (_start_of(text[:4], text[5:7], text[8:]),) * 2
    first, second, year = text[:2], text[3:-5], text[-4:]
    marks = text[2:3] + text[-5:-4]
    if marks == "//":
        return _start_of(year, first, second), _start_of(year, second, first)
    if marks == "..":
        return (_start_of(year, second, first),) * 2
    if marks == "--" and (month := second.lower()) in MONTHS:
        return (_start_of(year, f"{MONTHS.index(month) + 1:02}", first),) * 2
    return NO_TIME


def _start_of(year: str, month: str, day: str) -> int | None:
    """The seconds from the first day of the calendar to one in digits."""
    digits = year + month + day
    if len(digits) != DAY_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return DAY * found.toordinal() if found.year >= FIRST_YEAR else None


def _find_constants(evidence: Evidence) -> Iterator[Constant]:
    """The constants that no rule of a hint says, in the order of OLD."""
    for each in evidence.differing:
        if each.constant is None:
            continue
        rule = SAID_BY_RULES.get(each.constant.change)
        if rule is None or not any(rule in hint.flag for hint in each.hints):
            yield each.constant


def _load_constant(*, change: str, **values: Any) -> Constant:
    return Constant(change=ChangeForm(change), **values)


CONSTANTS: Final = Finding(
    name="constants",
    table="constant_change",
    fields=(
        Field("column", "column_name"),
        Field("change"),
        Field("by", "changed_by"),
        Field("rows"),
        Field("total"),
        Field("formula", stored=False),
    ),
    load=_load_constant,
    find=_find_constants,
    mask=drop_masked,
    holds_values=True,
)
