"""The values that cross module borders: frozen, and free of behaviour."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Inexact
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from recon_engine.status import RunStatus


SIDES: Final = ("old", "new")
# No number of rows or bytes that a user sets is larger: sums of some fit 64 bits.
MOST_COUNT: Final = 10**15

# Arithmetic of amounts: the default context rounds to 28 digits, and in silence.
EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact])

Newline = Literal["LF", "CRLF", "mixed", "none"]
Compression = Literal["gzip", "zstd"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of an inbound place, as listed; `etag` and `version` pin its bytes.

    `is_link`: whether the name is that of a symbolic link.
    """

    uri: str
    name: str
    size: int
    etag: str | None = None
    version: str | None = None
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that was written for a run, below its folder; `rows` of a table."""

    name: str
    uri: str
    sha256: str
    bytes: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class FilePair:
    """The two files of one reconciliation."""

    old: SourceFile
    new: SourceFile


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was set aside, and why; `line` and `byte_offset` of its first byte."""

    line: int
    byte_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rejects:
    """How many rows of a file were set aside, and the first of them."""

    count: int = 0
    sample: tuple[Reject, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written; none of it changes what its cells say.

    `bom`: whether its text begins with a byte order mark.
    """

    delimiter: str
    newline: Newline
    bom: bool
    quotes: bool
    embedded_newlines: int
    trailing_blank_lines: int
    encoding: str = "utf-8"
    compression: Compression | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """Facts of one input. `rejected` rows are in `rows`; `bytes` as it was delivered.

    A frame has no `sha256` and no `dialect`.
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


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows and cells. `matched = identical + mismatched_rows`.

    `tolerated_keys`: matched rows whose keys are equal only thanks to a rule.
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
    """Of the values that are not blank, how many a rule read, and how many not."""

    read: int
    unread: int

    @property
    def values(self) -> int:
        """How many there are."""
        return self.read + self.unread


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule did in one column.

    Counted are, for a key column (`of` keys), the values of all rows that were not set
    aside; else (`of` cells) those cells of matched rows whose bytes differ. `every`:
    whether the rule was given for `*`. `made_equal`: the pairs of values that are equal
    from this rule of the column on, and not before.
    """

    column: str
    rule: str
    of: Literal["keys", "cells"]
    every: bool
    old: Reads
    new: Reads
    made_equal: int

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
        return (
            f"{self.name}: read {old} in old, {new} in new;"
            f" made {self.made_equal:,} {what} equal"
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """A set of columns that differ together, and in how many rows exactly they do."""

    columns: tuple[str, ...]
    rows: int


class Cell(NamedTuple):
    """A differing cell. `old` is None where `new` is `old~new`, not to be told apart.

    `kind` is MASKED where it was not kept and cannot be seen through a mask.
    """

    old: str | None
    new: str
    kind: str

    @property
    def text(self) -> str:
        """`old~new`."""
        return self.new if self.old is None else f"{self.old}~{self.new}"


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
    """The changes of one column: how many distinct ones, and the commonest of them."""

    column: str
    distinct: int
    top: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of a column of amounts, as `totals` says which are.

    `old`, `new`: over its changed cells, which are those that differ in matched pairs,
    tolerated or not; the others are the same on both sides. `missing`, `extra`: over
    these rows. Exact.
    """

    column: str
    old: Decimal
    new: Decimal
    missing: Decimal
    extra: Decimal

    @property
    def delta(self) -> Decimal:
        """By how much NEW is more than OLD over all matched pairs."""
        return EXACT.subtract(self.new, self.old)

    @property
    def is_whole(self) -> bool:
        """Whether no amount has a fraction: such columns may be counts or codes."""
        return all(each.as_tuple().exponent == 0 for each in self.parts().values())

    def parts(self) -> dict[str, Decimal]:
        """The four sums by their names."""
        return {
            "old": self.old,
            "new": self.new,
            "missing": self.missing,
            "extra": self.extra,
        }

    def sums(self) -> dict[str, Decimal]:
        """These, and the delta."""
        return self.parts() | {"delta": self.delta}


@dataclass(frozen=True, slots=True)
class Segment:
    """A value of a column that differences concentrate in.

    `of`: whether `rows` of the mismatched, the missing or the extra ones have it.
    `share`: of these; `base`: of all rows of the file, by a sample. `lift` is the first
    over the second.
    """

    of: Literal["mismatched", "missing", "extra"]
    column: str
    value: str
    rows: int
    share: float
    base: float

    @property
    def lift(self) -> float:
        """How many times as frequent it is there as everywhere."""
        return self.share / self.base

    @property
    def rank(self) -> tuple[float, str, str]:
        """The more rows than usual, the earlier; of equal ones by content."""
        return self.rows * (self.base / self.share - 1), self.column, self.value


class HintKind(StrEnum):
    """What a hint would do: relax a column or a key, rename, or take another key.

    `split` says what is there, and has no flag.
    """

    RULE = "rule"
    KEY_RULE = "key_rule"
    DROP_KEY = "drop_key"
    RENAME = "rename"
    UNIQUE_KEY = "unique_key"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Hint:
    """What would explain `count` of `total` differences, and the `flag` to paste.

    Never applied by itself. `text` says it in a sentence that holds no cell's value.
    """

    kind: HintKind
    column: str
    flag: str
    count: int
    total: int
    text: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """A gate as it was written, its measured value, and whether that is within it.

    `value`: a count, a rate from 0 to 1, or an exact sum as text. `text` says it in a
    sentence, with the limit.
    """

    gate: str
    passed: bool
    value: int | float | str
    text: str = ""


class Suppressible(StrEnum):
    """What can be known and accepted: rows on one side only, or cells of a column."""

    MISSING = "missing"
    EXTRA = "extra"
    COLUMN = "column"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Differences that are known, and accepted by `owner` up to a day and a number.

    `column`, and `kind` if it is only one kind, where `what` is a column. `until` is
    the last day; `max` of rows, or of cells of a column.
    """

    what: Suppressible
    reason: str
    owner: str
    until: date
    column: str | None = None
    kind: str | None = None
    max: int | None = None

    @property
    def name(self) -> str:
        """What it suppresses: `missing`, `PAID`, `PAID number_format`."""
        parts = (self.column, self.kind) if self.column else (self.what.value,)
        return " ".join(part for part in parts if part)


class SuppressionState(StrEnum):
    """Only an `active` one covers anything; `expired` and `exceeded` are failures."""

    ACTIVE = "active"
    UNUSED = "unused"
    EXPIRED = "expired"
    EXCEEDED = "exceeded"


@dataclass(frozen=True, slots=True)
class Suppressed:
    """What a suppression fits: `count` rows, or cells of a column."""

    suppression: Suppression
    count: int
    state: SuppressionState

    @property
    def failed(self) -> bool:
        """Whether it is no longer what was accepted."""
        return self.state in {SuppressionState.EXPIRED, SuppressionState.EXCEEDED}

    @property
    def text(self) -> str:
        """What became of it, in a sentence."""
        it = self.suppression
        end = {
            SuppressionState.ACTIVE: f"known until {it.until}: {it.reason}",
            SuppressionState.UNUSED: "nothing is left to suppress",
            SuppressionState.EXPIRED: f"expired after {it.until}",
            SuppressionState.EXCEEDED: f"{it.max or 0:,} were accepted",
        }[self.state]
        return f"suppression of {it.name}: {self.count:,} found, {end} ({it.owner})"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Each gate and each suppression of a result, evaluated on the day of the run.

    Both have the order of the options, and are empty only if none was configured.
    """

    gates: tuple[GateResult, ...]
    suppressed: tuple[Suppressed, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many mismatched rows have cells that just these suppressions fit.

    By their place among the options; NO_SUPPRESSION where none fits a cell.
    """

    by: tuple[int, ...]
    rows: int


NO_SUPPRESSION: Final = -1


@dataclass(frozen=True, slots=True)
class Left:
    """The differences that no suppression covers; these are what gates count."""

    missing: int
    extra: int
    mismatched_rows: int
    mismatches: Mapping[str, int]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.missing or self.extra or self.mismatched_rows)


@dataclass(frozen=True, slots=True)
class Drift:
    """Columns on one side only; `renamed` pairs are suggestions, never applied."""

    only_in_old: tuple[str, ...] = ()
    only_in_new: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether the two headers differ."""
        return bool(self.only_in_old or self.only_in_new)


class BreakState(StrEnum):
    """How a difference stands to those of the runs before."""

    NEW = "new"
    RECURRING = "recurring"
    CHANGED = "changed"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    UNSEEN = "unseen"
    GONE = "gone"


class Tracking(StrEnum):
    """Whether a run changed the breaks; not where it saw too many, or an older pair."""

    TRACKED = "tracked"
    OVER_LIMIT = "over_limit"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class BreakCounts:
    """How many breaks a run found in each state; `open`: those seen and the `unseen`.

    `oldest_days`: the age of the oldest of these, from the day it was first seen.
    `unseen` and `gone` are None for runs of versions that did not count them apart.
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


@dataclass(frozen=True, slots=True)
class Breaks:
    """What became of the breaks in a run; `counts` only if they were tracked.

    `differences`: cells that differ, missing and extra rows. `as_of`: the day that ages
    count to, if they were tracked.
    """

    tracking: Tracking
    differences: int
    counts: BreakCounts | None = None
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """How one attempt ended, as its row of the run log has it."""

    run_id: UUID
    dataset: str
    status: RunStatus
    exit_code: int
    started: datetime
    finished: datetime
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PastResult:
    """What an earlier run of a dataset found, as `metrics.recon_summary` has it.

    `passed`: it agrees, or keeps to its gates, or all that differs is suppressed.
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

    @property
    def rate(self) -> float:
        """The share of matched rows that differ."""
        return self.mismatched_rows / self.matched if self.matched else 0.0


@dataclass(frozen=True, slots=True)
class PastRun:
    """An attempt at a dataset that has ended or has a result; `seconds` if it ended.

    `breaks`: how many it found in each state, if it tracked them.
    """

    run_id: UUID
    started: datetime
    status: str
    seconds: float | None
    result: PastResult | None
    breaks: BreakCounts | None = None


@dataclass(frozen=True, slots=True)
class Splits:
    """How many keys have so many rows for one: `sizes`; and what adds up in them.

    `sums`: by the ordinal of a column, in how many keys it adds up; `told`: in how many
    of these the paired values differ, so that it is no sum of zeros.
    """

    sizes: Counter[int] = field(default_factory=Counter)
    sums: Counter[int] = field(default_factory=Counter)
    told: Counter[int] = field(default_factory=Counter)

    @property
    def keys(self) -> int:
        """How many keys these are."""
        return self.sizes.total()
