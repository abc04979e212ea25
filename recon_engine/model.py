"""The values that cross module borders: frozen.

What follows from the fields of a value alone is a property of it. Grouped by subject:
inputs, result, causes, acceptance, runs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, field, fields, replace
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Inexact
from enum import StrEnum
from json import dumps
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from recon_engine.status import RunStatus


SIDES: Final = ("old", "new")
# The rows without a partner, of each side, that a page shows whatever the detail limit.
UNMATCHED_ROWS: Final = 200
# The differing cells that a page holds, however wide the rows and long the cells, so
# that a browser can open it.
PAGE_CELLS: Final = 200_000
# The places of both in every pair.
OLD, NEW = 0, 1
# No number of rows or bytes that a user sets is larger: sums of some fit 64 bits.
MOST_COUNT: Final = 10**15

# Arithmetic of amounts: the default context rounds to 28 digits, and in silence.
EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])

Newline = Literal["LF", "CRLF", "mixed", "none"]
Compression = Literal["gzip", "zstd", "bzip2", "xz", "zip", "parquet", "arrow"]


# --------------------------------------------------------------------------------------
# Inputs: files, their dialect, and rows that cannot be compared.


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of an inbound location, as listed; `etag` and `version` pin its bytes.

    `etag` and `version` are None for local files. `is_link`: whether it is a symbolic
    link. `parts`: the files that make up one table, by name; a set of them has a name
    with `*` and an etag that pins all of them.
    """

    uri: str
    name: str
    size: int
    etag: str | None = None
    version: str | None = None
    is_link: bool = False
    parts: tuple[SourceFile, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The parts, or the file itself."""
        return self.parts or (self,)

    @property
    def pin(self) -> tuple[str, str | None, int]:
        """What identifies its bytes; equal for the same bytes of the same place."""
        # The version if there is one: two with equal bytes may have equal ETags.
        return self.uri, self.version or self.etag, self.size


@dataclass(frozen=True, slots=True)
class FilePair:
    """The two files of one reconciliation; each can be a set of parts.

    `done`: the files that say that the delivery is complete. They are archived with it.
    """

    old: SourceFile
    new: SourceFile
    done: tuple[SourceFile, ...] = ()

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """All files with data, those of OLD first."""
        return (*self.old.files, *self.new.files)


@dataclass(frozen=True, slots=True)
class Reject:
    """A quarantined row and the reason.

    `line` (from 1) and `byte_offset` (from 0) of its start.
    """

    line: int
    byte_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejects:
    """The number of quarantined rows of a file, and the first of them."""

    count: int = 0
    sample: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written; it does not change the values of cells.

    `embedded_newlines` are those inside fields. `bom`: whether its text begins with a
    byte order mark. `frame`: how often each option about what is around the table was
    applied; empty without such options.
    """

    delimiter: str
    newline: Newline
    bom: bool
    quotes: bool
    embedded_newlines: int
    trailing_blank_lines: int
    encoding: str = "utf-8"
    compression: Compression | None = None
    frame: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """The rows of a side that are in no pair and neither missing, extra nor rejected.

    `left_out`: by a filter. `partner_left_out`: the filter of the other side leaves
    their partner out. `folded_away`: all but one row of each key that is folded.
    `unpairable`: a derived column, a comparison of a filter or a sum could not be made.
    """

    left_out: int = 0
    partner_left_out: int = 0
    folded_away: int = 0
    unpairable: int = 0

    def __add__(self, other: RowCounts) -> RowCounts:
        """The counts of disjoint sets of rows as one."""
        return RowCounts(
            self.left_out + other.left_out,
            self.partner_left_out + other.partner_left_out,
            self.folded_away + other.folded_away,
            self.unpairable + other.unpairable,
        )

    @property
    def total(self) -> int:
        """All of these rows."""
        return (
            self.left_out + self.partner_left_out + self.folded_away + self.unpairable
        )


# Most results have no such rows.
ROWS_ASIDE: Final = tuple(each.name for each in fields(RowCounts))


@dataclass(frozen=True, slots=True)
class Side:
    """Facts about one input. `rows` include the `rejected` ones.

    `bytes` are as delivered. `left_out`, `partner_left_out`, `folded_away` and
    `unpairable` are those of `RowCounts`: all others are in a pair or have no partner.

    A frame has neither `sha256` nor `dialect` (None).
    """

    uri: str
    rows: int
    sha256: str | None
    bytes: int
    rejected: int = 0
    duplicate_key_rows: int = 0
    duplicate_keys: int = 0
    blank_keys: int = 0
    dialect: Dialect | None = None
    left_out: int = 0
    partner_left_out: int = 0
    folded_away: int = 0
    unpairable: int = 0

    @property
    def aside(self) -> RowCounts:
        """The rows that are neither rejected, nor in a pair, nor without a partner."""
        return RowCounts(
            self.left_out, self.partner_left_out, self.folded_away, self.unpairable
        )

    @property
    def rows_of_rates(self) -> int:
        """The rows that rates are of: not set aside. Rejected rows are among them."""
        return self.rows - self.aside.total

    def dialect_facts(self) -> dict[str, object] | None:
        """The dialect as plain values; `frame` only if an option is about it."""
        if self.dialect is None:
            return None
        facts = asdict(self.dialect) | {"encoding": str(self.dialect.encoding)}
        if not self.dialect.frame:
            del facts["frame"]
        return facts


# --------------------------------------------------------------------------------------
# Result: counts, columns and cells.


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows and cells. `matched = identical + mismatched_rows`.

    `tolerated_keys`: matched rows whose keys are equal only by a rule.
    """

    matched: int
    missing: int
    extra: int
    identical: int
    mismatched_rows: int
    mismatched_cells: int
    tolerated_cells: int = 0
    tolerated_keys: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """One compared column. `compared = equal_exact + tolerated + mismatched`."""

    name: str
    compared: int
    equal_exact: int
    tolerated: int
    mismatched: int
    kinds: Mapping[str, int] = field(default_factory=dict)


class Reads(NamedTuple):
    """How many non-blank values a rule read, and how many it did not."""

    read: int
    unread: int

    @property
    def values(self) -> int:
        """All non-blank values, whether the rule read them or not."""
        return self.read + self.unread


class CodeCounts(NamedTuple):
    """What a code table said of the values of a side in matched rows.

    `right`, `wrong`: of listed codes, those whose translation is the value of the other
    side, and the others. `unlisted`: values that the table does not list; of a key,
    those of the rows that are unpairable for it. `unused`: entries of the table that
    occur in no row of the side, matched or not.
    """

    right: int
    wrong: int
    unlisted: int
    unused: int


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule did in one column.

    For a key column (`of` keys) the values of all rows are counted that are not
    quarantined; so it is (`of` values) for a column whose sides are read differently;
    otherwise (`of` cells) the cells of matched rows whose bytes differ. `every`:
    whether the rule was given for `*`. `made_equal`: the pairs of values that become
    equal with this rule of the chain, and not before. `side`: which side it reads;
    `implied`: it was not given, but follows from the rule of the other side. `codes`:
    of a code table; if it has two sides, of OLD. `source`: the SHA-256 of the file of a
    code table, or the version of the time-zone data that the rule uses.
    """

    column: str
    rule: str
    of: Literal["keys", "cells", "values"]
    every: bool
    old: Reads
    new: Reads
    made_equal: int
    side: str = "both"
    implied: bool = False
    codes: CodeCounts | None = None
    source: str | None = None

    @property
    def met(self) -> bool:
        """Whether there was a value to read."""
        return bool(self.old.values or self.new.values)

    @property
    def name(self) -> str:
        """`PAID=decimal`."""
        return f"{self.column}={self.rule}"

    @property
    def text(self) -> str:
        """What it did, in a sentence."""
        if not self.met:
            return f"{self.name}: no value to read"
        what = "keys" if self.of == "keys" else "differing cells"
        old, new = (
            f"{side.read:,} of {side.values:,}" for side in (self.old, self.new)
        )
        read = {
            "both": f"read {old} in old, {new} in new",
            "old": f"read {old} in old",
            "new": f"read {new} in new",
        }[self.side]
        return (
            f"{self.name}: {read}; {what} made equal: {self.made_equal:,}"
            + self._describe_codes()
            + (f" ({self.origin})" if self.origin else "")
        )

    @property
    def origin(self) -> str:
        """Where a rule comes from that was not given; empty for one that was."""
        return "implied by the rule of the other side" if self.implied else ""

    @property
    def shortfall(self) -> str:
        """What the rule could not read, or its table does not list; "" for nothing."""
        if not self.met or (self.implied and not (self.old.unread + self.new.unread)):
            return ""
        facts = [
            f"{side.unread:,} of {side.values:,} values of {name} are not read"
            for name, side in (("OLD", self.old), ("NEW", self.new))
            if side.unread and self.codes is None
        ]
        if self.codes is not None:
            right, wrong, unlisted, _ = self.codes
            every = right + wrong + unlisted
            facts += [
                f"{count:,} of {every:,} codes {what}"
                for count, what in (
                    (unlisted, "are not listed"),
                    (wrong, "have another code in NEW"),
                )
                if count
            ]
        return f"{self.name}: {'; '.join(facts)}" if facts else ""

    def _describe_codes(self) -> str:
        if self.codes is None:
            return ""
        right, wrong, unlisted, unused = self.codes
        return (
            f"; codes: {right:,} right, {wrong:,} wrong, {unlisted:,} unlisted,"
            f" {unused:,} never used"
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What an option did to the columns or rows of both sides.

    `option`: as on the command line, with masks without values of filters. `old`,
    `new`: the number of columns or rows that it changed. `text`: what it did, in a
    sentence.
    """

    option: str
    old: int
    new: int
    text: str

    @property
    def line(self) -> str:
        """The option and what it did, or that it did nothing."""
        return f"{self.option}: {self.text if self.old or self.new else 'no effect'}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A set of columns, and the number of rows in which exactly these differ."""

    columns: tuple[str, ...]
    rows: int


class Cell(NamedTuple):
    """A differing cell.

    `old` is None if only the joined text `old~new` is stored, in `new`.

    `kind` is MASKED if it was not stored and a mask hides it.
    """

    old: str | None
    new: str
    kind: str

    @property
    def text(self) -> str:
        """`old~new`."""
        return self.new if self.old is None else f"{self.old}~{self.new}"


@dataclass(frozen=True, slots=True)
class Drift:
    """Columns on one side only; `renamed` pairs are proposals, never applied.

    Columns that `renames` pairs are on both sides: `new_names` of a result has them.
    """

    only_in_old: tuple[str, ...] = ()
    only_in_new: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only_in_old or self.only_in_new)


# --------------------------------------------------------------------------------------
# Causes: findings about why rows differ.


@dataclass(frozen=True, slots=True)
class Pattern:
    """A change that `rows` cells of a column share; `example`: the key of one."""

    old: str
    new: str
    kind: str
    rows: int
    example: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Patterns:
    """The changes of one column: the number of distinct ones, and the most frequent."""

    column: str
    distinct: int
    top: tuple[Pattern, ...]


class ChangeForm(StrEnum):
    """How NEW follows from OLD by one number, span of time or text.

    With `cut_end` and `cut_start`, OLD is NEW with a text after or before it. Of forms
    that fit equally many cells of a column the first is meant.
    """

    SHIFT = "shift"
    ADD = "add"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    APPEND = "append"
    PREPEND = "prepend"
    CUT_END = "cut_end"
    CUT_START = "cut_start"


@dataclass(frozen=True, slots=True)
class Constant:
    """One and the same change of `rows` of the `total` differing cells of a column.

    `by`: the number, the span (`9 days`) or the text. Numbers and spans that are
    subtracted begin with `-`.
    """

    column: str
    change: ChangeForm
    by: str
    rows: int
    total: int

    @property
    def formula(self) -> str:
        """The change as an equation: `new = old + 1.00`."""
        return self.write_formula(self.by)

    @property
    def is_text(self) -> bool:
        """Whether `by` is a part of values."""
        return self.change not in _FORMULAS

    def write_formula(self, by: str) -> str:
        """The equation with another spelling of `by`."""
        if self.change in _FORMULAS:
            sign = "-" if by.startswith("-") else "+"
            return _FORMULAS[self.change].format(sign=sign, by=by, size=by.lstrip("-"))
        whole, part = (
            ("new", "old")
            if self.change in {ChangeForm.APPEND, ChangeForm.PREPEND}
            else ("old", "new")
        )
        if self.change in {ChangeForm.APPEND, ChangeForm.CUT_END}:
            return f'{whole} = {part} + "{by}"'
        return f'{whole} = "{by}" + {part}'


# A negative number or span is written as a subtraction of its size. A factor keeps its
# sign: it is `by`.
_FORMULAS: Final = {
    ChangeForm.SHIFT: "new = old {sign} {size}",
    ChangeForm.ADD: "new = old {sign} {size}",
    ChangeForm.MULTIPLY: "new = old \u00d7 {by}",
    ChangeForm.DIVIDE: "new = old \u00f7 {by}",
}


@dataclass(frozen=True, slots=True)
class Total:
    """The exact sums of a column of amounts.

    `old`, `new`: over its changed cells in matched pairs, tolerated or not; all other
    cells are equal on both sides. `missing`, `extra`: over these rows. `differing`:
    those of `old` and `new` that are over cells no rule makes equal; None for a total
    that was read from the tables.
    """

    column: str
    old: Decimal
    new: Decimal
    missing: Decimal
    extra: Decimal
    differing: tuple[Decimal, Decimal] | None = field(
        default=None, repr=False, compare=False, kw_only=True
    )

    @property
    def delta(self) -> Decimal:
        """NEW minus OLD over all matched pairs."""
        return EXACT.subtract(self.new, self.old)

    @property
    def is_whole(self) -> bool:
        """Whether no amount has a fraction: such a column may hold counts or codes."""
        # A sum has as many places as the amounts: 1.50 and 2.50 make 4.00, which is not
        # whole here.
        return all(each.as_tuple().exponent == 0 for each in self.parts().values())

    def parts(self) -> dict[str, Decimal]:
        """The four sums by name."""
        return {
            "old": self.old,
            "new": self.new,
            "missing": self.missing,
            "extra": self.extra,
        }


@dataclass(frozen=True, slots=True)
class Segment:
    """A value of a column in which differences concentrate.

    `of`: the kind of rows that are counted; `rows` of them have the value. `share`: of
    these rows, from 0 to 1; `base`: of all rows of the file, by a sample.
    """

    of: Literal["mismatched", "missing", "extra"]
    column: str
    value: str
    rows: int
    share: float
    base: float

    @property
    def lift(self) -> float:
        """`share` over `base`: how many times as frequent the value is as usual."""
        return self.share / self.base

    @property
    def rank(self) -> tuple[float, str, str]:
        """A sort key: most rows above the expected number first, ties by content."""
        # Negated, so that an ascending sort has the largest excess first.
        return self.rows * (self.base / self.share - 1), self.column, self.value


class HintKind(StrEnum):
    """What a hint proposes: a rule for a column or the key, a rename, or another key.

    `split` and `damage` only describe, and have no flag.
    """

    RULE = "rule"
    KEY_RULE = "key_rule"
    DROP_KEY = "drop_key"
    RENAME = "rename"
    UNIQUE_KEY = "unique_key"
    SPLIT = "split"
    DAMAGE = "damage"


@dataclass(frozen=True, slots=True)
class Hint:
    """What would explain `count` of `total` differences, and the `flag` to paste.

    Never applied automatically. `text` is a sentence without any cell's value. The
    `flag` of a code table has its codes; `code_file`: the name of a file for them, ""
    for all other hints.
    """

    kind: HintKind
    column: str
    flag: str
    count: int
    total: int
    text: str
    code_file: str = ""


@dataclass(frozen=True, slots=True)
class Splits:
    """Keys for which one row of a side corresponds to several rows of the other.

    `sizes`: keys by the number of these rows. `sums`: by column ordinal, the keys in
    which the amounts add up; `meaningful_sums`: those of them in which the paired
    values differ, so that it is not a sum of zeros.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    sums: Counter[int] = field(default_factory=Counter)
    meaningful_sums: Counter[int] = field(default_factory=Counter)

    @property
    def keys(self) -> int:
        """The number of keys."""
        return self.sizes.total()


# --------------------------------------------------------------------------------------
# Acceptance: gates and suppressions.


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate as written, its measured value, and whether it passed.

    `value`: a count, a rate from 0 to 1, or an exact sum as text. `text` is a sentence
    with value and limit.
    """

    gate: str
    passed: bool
    value: int | float | str
    text: str = ""


class Suppressible(StrEnum):
    """What can be suppressed: rows on one side only, or cells of a column."""

    MISSING = "missing"
    EXTRA = "extra"
    COLUMN = "column"


class Sha256(str):
    """`sha256:` and the digest of a text, in the place of the text."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> Sha256:
        """The digest of a text; a digest stays as it is."""
        # `public` of a suppression without values applies `without_values` once more.
        if isinstance(text, cls):
            return text
        from hashlib import sha256

        return cls(f"sha256:{sha256(text.encode()).hexdigest()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Known differences, accepted by `owner` up to a day and a number.

    `column` is set if `what` is a column; `kind` restricts it to one kind, or to those
    of a tuple. `until` is the last day; `max` is a number of rows, or of cells of a
    column. `keys` restricts it to rows with one of these keys: the values of the key
    columns, or the text of one column. `old`, `new`: to cells of a column with exactly
    these texts. Keys and values are texts as outputs show them.
    """

    what: Suppressible
    reason: str
    owner: str
    until: date
    column: str | None = None
    kind: str | tuple[str, ...] | None = None
    max: int | None = None
    keys: Sequence[tuple[str, ...] | str] | None = None
    old: str | None = None
    new: str | None = None

    @property
    def name(self) -> str:
        """What it suppresses: `missing`, `PAID number_format (2 keys)`; no value."""
        return self._describe(", ".join(self.kinds or ()), {})

    def describe(self, values: Mapping[str, str]) -> str:
        """The same for people: the kinds in words, and the values that are known.

        `values`: by side, such as `new`. Such as `NOTE blank to value (new: "later")`.
        """
        return self._describe(", ".join(self.kinds or ()).replace("_", " "), values)

    def _describe(self, kinds: str, values: Mapping[str, str]) -> str:
        parts = (self.column, kinds) if self.column else (self.what.value,)
        count = len(self.keys or ())
        limits = (
            f"{count:,} key{'' if count == 1 else 's'}" * (self.keys is not None),
            *(
                f'{side}: "{values[side]}"' if side in values else f"one {side} value"
                for side in SIDES
                if getattr(self, side) is not None
            ),
        )
        limited = ", ".join(filter(None, limits))
        return " ".join(filter(None, (*parts, f"({limited})" * bool(limited))))

    @property
    def kinds(self) -> tuple[str, ...] | None:
        """The kinds of difference that it fits; None for every kind."""
        return (self.kind,) if isinstance(self.kind, str) else self.kind

    @property
    def is_narrow(self) -> bool:
        """Whether it fits only some of the rows, or of the cells of a kind."""
        return (self.keys, self.old, self.new) != (None, None, None)

    @property
    def key_values(self) -> list[tuple[str, ...]]:
        """The keys, each as the values of the key columns."""
        return [
            (key,) if isinstance(key, str) else tuple(key) for key in self.keys or ()
        ]

    def without_values(self) -> Suppression:
        """The same with digests in the place of keys and values."""
        if not self.is_narrow:
            return self
        keys = self.keys and sorted(
            # As a break has its key: `formatting.format_key`.
            Sha256.of(key[0] if len(key) == 1 else dumps(key, ensure_ascii=False))
            for key in self.key_values
        )
        old, new = (
            None if text is None else Sha256.of(text) for text in (self.old, self.new)
        )
        return replace(self, keys=keys and tuple(keys), old=old, new=new)

    @property
    def public(self) -> dict[str, object]:
        """Its fields as JSON values, as the run log has them: without key or value."""
        values = asdict(self.without_values())
        for name in ("keys", "kind"):
            if isinstance(values[name], tuple):
                values[name] = list(values[name])
        # Left out, so that the digests of runs from before an option was added stay.
        absent = {name for name in ("keys", "old", "new") if values[name] is None}
        shown = {name: each for name, each in values.items() if name not in absent}
        return shown | {"until": self.until.isoformat()}


class SuppressionState(StrEnum):
    """Only an `active` suppression covers anything.

    `expired` and `exceeded` are failures.
    """

    ACTIVE = "active"
    UNUSED = "unused"
    EXPIRED = "expired"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What a suppression is the first to fit: `count` rows, or cells of a column.

    `suppression`: without keys and values. Of a narrow one `kinds` has the count by
    kind of difference; a row is of the kind `missing` or `extra`. `spelled`: digests of
    its keys as breaks spell them, if a rule makes equal what is spelled otherwise.
    """

    suppression: Suppression
    count: int
    state: SuppressionState
    kinds: Mapping[str, int] = field(default_factory=dict)
    spelled: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the differences exceed what was accepted."""
        return self.state in {SuppressionState.EXPIRED, SuppressionState.EXCEEDED}

    @property
    def text(self) -> str:
        """What became of it, in a sentence that begins with its state."""
        return self._describe(self.suppression.name)

    def describe(self, values: Mapping[str, str] = MappingProxyType({})) -> str:
        """The same for people: the kind in words, and the values that are known."""
        return self._describe(self.suppression.describe(values))

    def _describe(self, name: str) -> str:
        it = self.suppression
        unit = "cell" if it.what is Suppressible.COLUMN else "row"
        found = f"{self.count:,} {unit}{'' if self.count == 1 else 's'} found"
        begin, end = {
            SuppressionState.ACTIVE: (
                "accepted",
                f"{found}, until {it.until}: {it.reason}",
            ),
            SuppressionState.UNUSED: ("unused suppression", "nothing found"),
            SuppressionState.EXPIRED: (
                "expired suppression",
                f"{found}, accepted until {it.until} only",
            ),
            SuppressionState.EXCEEDED: (
                "exceeded suppression",
                f"{found}, accepted up to {it.max or 0:,} only",
            ),
        }[self.state]
        return f"{begin}: {name}: {end} ({it.owner})"


NO_SUPPRESSION: Final = -1


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Each gate and each suppression of a result, evaluated on the day of the run.

    Both have the order of the options, and are empty only if none was configured.
    """

    gates: tuple[GateResult, ...]
    suppressed: tuple[Suppressed, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The number of mismatched rows whose cells exactly these suppressions fit.

    `by`: their indices among the options; NO_SUPPRESSION for cells that none fits.
    """

    by: tuple[int, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Left:
    """The differences that no suppression covers, which the gates count."""

    missing: int
    extra: int
    mismatched_rows: int
    mismatches: Mapping[str, int]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.mismatched_rows)


# --------------------------------------------------------------------------------------
# Runs: artifacts, breaks and history.


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run wrote.

    `name` is relative to its folder, `rows` is None if no table.
    """

    name: str
    uri: str
    sha256: str
    bytes: int
    rows: int | None


class BreakState(StrEnum):
    """How a difference relates to those of earlier runs."""

    NEW = "new"
    RECURRING = "recurring"
    CHANGED = "changed"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    UNSEEN = "unseen"
    GONE = "gone"


class Tracking(StrEnum):
    """Whether a run updated the breaks.

    Not with too many differences or an older pair.
    """

    TRACKED = "tracked"
    OVER_LIMIT = "over_limit"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class BreakCounts:
    """The number of breaks of a run by state; `open`: those seen and the `unseen`.

    `oldest_days`: the age of the oldest open break since it was first seen; None
    without one. `accepted`: the open breaks that suppressions accept;
    `accepted_appeared`: those of them that are new or reopened;
    `oldest_unaccepted_days`: the age of the oldest other one. These and `unseen` and
    `gone` are None for runs of versions that did not count them.
    """

    new: int
    recurring: int
    changed: int
    resolved: int
    reopened: int
    unseen: int | None
    gone: int | None
    open: int
    oldest_days: int | None
    accepted: int | None = None
    accepted_appeared: int | None = None
    oldest_unaccepted_days: int | None = None

    @property
    def appeared(self) -> int:
        """The breaks that are new or reopened."""
        return self.new + self.reopened

    @property
    def unaccepted(self) -> int | None:
        """Open breaks that no suppression accepts; None if they were not counted."""
        return None if self.accepted is None else self.open - self.accepted

    @property
    def unaccepted_appeared(self) -> int | None:
        """The new and reopened breaks that no suppression accepts, if counted."""
        if self.accepted_appeared is None:
            return None
        return self.appeared - self.accepted_appeared


@dataclass(frozen=True, slots=True)
class Breaks:
    """What became of the breaks in a run; `counts` is None if they were not tracked.

    `differences`: differing cells, missing and extra rows. `as_of`: the day that ages
    refer to; None if they were not tracked. `rules_changed`: whether the rules are
    others than in the last observation, which resolves and opens breaks. `lacks_rows`:
    whether rows of a full feed were not compared, so that no break became gone.
    """

    tracking: Tracking
    differences: int
    counts: BreakCounts | None = None
    as_of: date | None = None
    rules_changed: bool = False
    lacks_rows: bool = False


@dataclass(frozen=True, slots=True)
class RecoveredRun:
    """A run of a dead worker with a result, which a later run has finished.

    `failed`: whether its result has exit code 1, by a gate, a suppression or
    `fail_on_diff`. `warning`: the status of what was wrong with its archive, if that
    is recorded.
    """

    run_id: UUID
    verdict: str
    failed: bool
    warning: str | None = None

    def describe(self) -> str:
        """One clause for the message of the run that has finished it."""
        facts = (self.verdict, self.warning, "exit code 1" if self.failed else None)
        return f"finished run {self.run_id} ({', '.join(filter(None, facts))})"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """How one attempt ended, as in its row of the run log.

    `recovered`: the runs that it finished first, which `message` names. `failed`:
    whether exit code 1 is of its own result, not only of one of theirs.
    """

    run_id: UUID
    dataset: str
    status: RunStatus
    exit_code: int
    started: datetime
    finished: datetime
    message: str | None = None
    recovered: tuple[RecoveredRun, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class PastResult:
    """The result of an earlier run of a dataset, as in `metrics.recon_summary`.

    `passed`: it agrees, or passes its gates, or every difference is suppressed.
    `accepted_rows`: the matched rows that differ only in cells which suppressions
    accept; None if a run of an earlier version did not count them. `accepted_missing`
    and `accepted_extra`: the accepted rows of one side only.
    """

    verdict: str
    passed: bool
    rows_old: int
    rows_new: int
    matched: int
    missing: int
    extra: int
    mismatched_rows: int
    mismatched_cells: int
    accepted_rows: int | None = None
    accepted_missing: int = 0
    accepted_extra: int = 0

    @property
    def unaccepted_rows(self) -> int | None:
        """The matched rows that differ in a cell which no suppression accepts."""
        if self.accepted_rows is None:
            return None
        return self.mismatched_rows - self.accepted_rows

    @property
    def unaccepted_rate(self) -> float | None:
        """Their share of the matched rows, from 0 to 1; None if they are unknown."""
        if self.unaccepted_rows is None:
            return None
        return self.unaccepted_rows / self.matched if self.matched else 0.0

    @property
    def unaccepted_unmatched(self) -> int:
        """The missing and extra rows that no suppression accepts."""
        accepted = self.accepted_missing + self.accepted_extra
        return self.missing + self.extra - accepted


@dataclass(frozen=True, slots=True)
class PastRun:
    """An attempt that has ended or has a result; `seconds` is None if it has not ended.

    `breaks`: its breaks by state; None if it tracked none. `old_uri`: the file of OLD;
    None if it had no pair. `replaced`: whether a later run has a result of the same
    files with the same contents. `clean`: whether its gates passed and each open break
    was accepted; None if that was not measured. `message`: why it has no result.
    """

    run_id: UUID
    started: datetime
    status: str
    seconds: float | None
    result: PastResult | None
    breaks: BreakCounts | None = None
    old_uri: str | None = None
    replaced: bool = False
    clean: bool | None = None
    message: str | None = None

    @property
    def file(self) -> str:
        """The name of the file of OLD; empty if the run had no pair."""
        return PurePosixPath(self.old_uri).name if self.old_uri else ""
