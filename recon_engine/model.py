"""The values that cross module borders: frozen, and free of behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal


if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from recon_engine.status import RunStatus


SIDES: Final = ("old", "new")

Newline = Literal["LF", "CRLF", "mixed", "none"]
Compression = Literal["gzip", "zstd"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of an inbound place, as listed; `etag` and `version` pin its bytes."""

    uri: str
    name: str
    size: int
    etag: str | None = None
    version: str | None = None


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
    """Rows and cells. `matched = identical + mismatched_rows`."""

    matched: int
    missing: int
    extra: int
    identical: int
    mismatched_rows: int
    mismatched_cells: int
    tolerated_cells: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """One compared column. `compared = equal_exact + tolerated + mismatched`."""

    name: str
    compared: int
    equal_exact: int
    tolerated: int
    mismatched: int
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Signature:
    """A set of columns that differ together, and in how many rows exactly they do."""

    columns: tuple[str, ...]
    rows: int


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
    """The sums of a column that is a number in every row that differs.

    `old`, `new`: over the matched pairs that differ, for in the others they are the
    same. `missing`, `extra`: over these rows. Exact.
    """

    column: str
    old: Decimal
    new: Decimal
    missing: Decimal
    extra: Decimal

    @property
    def delta(self) -> Decimal:
        """By how much NEW is more than OLD over all matched pairs."""
        return self.new - self.old


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


class HintKind(StrEnum):
    """What a hint would do: relax a column or a key, rename, or take another key."""

    RULE = "rule"
    KEY_RULE = "key_rule"
    DROP_KEY = "drop_key"
    RENAME = "rename"
    UNIQUE_KEY = "unique_key"


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
    """A gate as it was written, its measured value, and whether that is within it."""

    gate: str
    passed: bool
    value: int | float | str


@dataclass(frozen=True, slots=True)
class Drift:
    """Columns on one side only; `renamed` pairs are suggestions, never applied."""

    only_in_old: tuple[str, ...] = ()
    only_in_new: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether the two headers differ."""
        return bool(self.only_in_old or self.only_in_new)


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
    """What an earlier run of a dataset found, as `metrics.recon_summary` has it."""

    verdict: str
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
    """An attempt at a dataset that has ended or has a result; `seconds` if it ended."""

    run_id: UUID
    started: datetime
    status: str
    seconds: float | None
    result: PastResult | None
