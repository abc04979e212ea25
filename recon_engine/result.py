"""The result of a reconciliation, and the invariants of every result."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, field
from functools import cached_property
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Protocol,
    overload,
)

import polars as pl

from recon_engine.analysis.constants import CONSTANTS, MIN_CELLS
from recon_engine.analysis.hints import HINTS
from recon_engine.analysis.patterns import PATTERNS
from recon_engine.analysis.segments import SEGMENTS
from recon_engine.analysis.totals import TOTALS
from recon_engine.characters import escaped
from recon_engine.errors import ConfigError, InternalError
from recon_engine.findings import Findings
from recon_engine.formatting import (
    ACCEPTED_WORDS,
    NO_PAIR,
    NOTHING,
    _accepted,
    conjugate,
    describe_accepted_rows,
    describe_aside,
    describe_frame,
    describe_ignored,
    format_count,
    format_key,
    format_number_or_percent,
    format_others,
    format_share,
    list_sums,
    mark_accepted,
    most_frequent_change,
    unread,
    unused_frame_options,
)
from recon_engine.gate_syntax import parse_gate
from recon_engine.hint_settings import (
    KEYS,
    as_arguments,
    merge_settings,
    merge_value,
    read_settings,
)
from recon_engine.kinds import KINDS, REWRITING_KINDS
from recon_engine.model import ROWS_ASIDE, SIDES, Cell, HintKind, Sha256, Suppressible
from recon_engine.records import dataclass
from recon_engine.result_frames import flatten_key, spread_cells
from recon_engine.suggestions import did_you_mean
from recon_engine.suppression_arguments import draft_suppression
from recon_engine.suppressions import (
    count_left_by_kind,
    count_unsuppressed,
    judge_differences,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from typing import Self

    from recon_engine.model import (
        Acceptance,
        Applied,
        Column,
        Constant,
        Counts,
        Coverage,
        Drift,
        GateResult,
        Hint,
        Left,
        Patterns,
        RuleCount,
        Segment,
        Side,
        Signature,
        Suppressed,
        Suppression,
        Total,
    )
    from recon_engine.suppressions import Acceptances


Verdict = Literal["agree", "differ", "gates_failed"]

# How a Python caller applies the hints of the lines before it.
IN_PYTHON: Final = (
    "in Python: diff(old, new, **(settings | d.suggested())) applies the rules and"
    " names of these lines; settings are the arguments of this comparison"
)
# What other libraries call the methods of a result, and what people try.
OTHER_NAMES: Final = {
    **dict.fromkeys(
        ("save", "write", "to_file", "to_report"), 'to_html("report.html")'
    ),
    **dict.fromkeys(
        ("to_excel", "to_xlsx", "write_excel"),
        "recon diff -o report.xlsx in the shell, or a table, which is a Polars frame:"
        " mismatches()",
    ),
    **dict.fromkeys(
        ("to_csv", "write_csv", "to_parquet", "write_parquet"),
        "mismatches().write_csv(path) and write_parquet(path): each table is a Polars"
        " frame",
    ),
    **dict.fromkeys(
        ("to_pandas", "to_frame", "to_df", "to_polars", "df", "shape", "head"),
        "mismatches().to_pandas(); rows(), missing() and extra() are Polars frames too",
    ),
    **dict.fromkeys(("diffs", "differences_frame", "cells", "changes"), "mismatches()"),
    **dict.fromkeys(("report", "show", "display"), 'to_html("report.html"), or print'),
    **dict.fromkeys(("rules_suggested", "suggest", "suggestions"), "suggested()"),
    **dict.fromkeys(
        ("suppress", "accept", "suppressions"),
        'draft_suppressions("COLUMN", reason=…, owner=…), for suppressions of diff;'
        " suppressed has those of this result",
    ),
    **dict.fromkeys(("added", "new_rows"), "extra()"),
    **dict.fromkeys(("removed", "deleted", "old_rows"), "missing()"),
    **dict.fromkeys(
        ("only_in_new", "extra_columns", "new_columns"),
        "drift.only_in_new, the names of columns; rows are extra()",
    ),
    **dict.fromkeys(
        ("only_in_old", "missing_columns", "old_columns"),
        "drift.only_in_old, the names of columns; rows are missing()",
    ),
    **dict.fromkeys(
        ("renames", "renamed", "mapping", "map", "name_map"),
        "new_names, the names in NEW of the columns that are named otherwise in OLD",
    ),
    **dict.fromkeys(
        ("explain", "context", "whole_rows", "full_rows"),
        'rows(context="all"), which has the texts of all columns; recon explain in the'
        " shell marks what differs",
    ),
    **dict.fromkeys(
        ("to_toml", "save_config", "settings", "config"),
        "draft(old, new).save(), or in the shell recon diff --save-hints, for a"
        " configuration file",
    ),
    **dict.fromkeys(("equal", "equals", "matches", "is_equal"), "agrees"),
}
# The hints of `suggested`: those that do not propose another key.
SUGGESTED: Final = frozenset({HintKind.RULE, HintKind.KEY_RULE, HintKind.RENAME})
PUBLIC: Final = (
    *("agrees", "passes", "verdict", "counts", "keys", "old", "new", "drift"),
    "new_names",
    *("headline", "accounting", "summary", "warnings", "gates", "suppressed"),
    *("columns", "mismatches", "rows", "missing", "extra", "duplicates", "rejects"),
    *("unpairable", "examples", "sample", "patterns", "totals", "segments", "hints"),
    *(
        "constants",
        "draft_suppressions",
        "suggested",
        "suggested_rules",
        "remainder",
        "rules",
        "assert_agrees",
    ),
    *("assert_passes", "to_html", "to_markdown", "to_json", "to_dict", "engine"),
)
NO_SUM: Final = "no sum: no column differs that holds amounts and is not masked"
# Characters of a value beside the name of its column.
SHORT_VALUE: Final = 30
# The first failure is a sentence; more names than these hide it.
FAILURES_NAMED: Final = 4
# More pairs of names than these are counted.
RENAMES_NAMED: Final = 10
# Columns without a hint and a change in common.
COLUMNS_NAMED: Final = 10
_SIDE_FACTS = ("duplicate_keys", "duplicate_key_rows", "blank_keys")


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One differing row.

    Its key, and the old and new values of its differing columns.
    """

    key: dict[str, str]
    cells: dict[str, Cell]

    @property
    def payload(self) -> dict[str, str]:
        """The differing columns as `old~new`."""
        return {name: cell.text for name, cell in self.cells.items()}

    @property
    def key_text(self) -> str:
        """The key for people."""
        return format_key(tuple(self.key.values()))


class Totals(tuple["Total", ...]):  # noqa: SLOT001 - a tuple cannot have slots
    """Control totals: a tuple that prints what each sum is over, a line for each."""

    def __new__(cls, totals: Iterable[Total], columns: Mapping[str, Column]) -> Self:
        """Take the totals, and the columns of the result by their names."""
        made = super().__new__(cls, totals)
        made._columns = columns
        return made

    def __repr__(self) -> str:
        """The sums as the command line prints them."""
        return "\n".join(map(self._describe, self)) or NO_SUM

    def __getnewargs__(self) -> tuple[tuple[Total, ...], Mapping[str, Column]]:
        # copy and pickle call `__new__` with these.
        return tuple(self), self._columns

    def _describe(self, total: Total) -> str:
        sums = list_sums(total, self._columns.get(total.column))
        return f"{escaped(total.column)}: " + (" · ".join(sums) or "every sum is 0")

    _columns: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """How the result was computed; not a part of what it says.

    `kernel`: what has read the files, "native" or "numpy"; None if there was no file.
    """

    strategy: str
    version: str
    seconds: float
    peak_rss_bytes: int
    kernel: str | None = None


@dataclass(frozen=True)
class Frames:
    """All differences as frames of strings, ordered by content.

    `cells`: the query for `mismatches`, with the number of its `pair` of rows. It runs
    on first use, because its sort takes longer than some comparisons. No slots:
    `cached_property` needs a dict.
    """

    cells: pl.LazyFrame
    missing: pl.DataFrame
    extra: pl.DataFrame
    duplicates_old: pl.DataFrame
    duplicates_new: pl.DataFrame
    rejects: pl.DataFrame
    unpairable: pl.DataFrame = field(default_factory=pl.DataFrame)

    @cached_property
    def numbered(self) -> pl.DataFrame:
        """`mismatches` with `pair`, which is equal for the cells of two paired rows."""
        sorted_cells = self.cells.collect()
        # Otherwise the unsorted cells would be held for as long as the sorted ones.
        vars(self)["cells"] = sorted_cells.lazy()
        return sorted_cells

    @property
    def mismatches(self) -> pl.DataFrame:
        """Each cell that differs, sorted by key and column at the first access."""
        return self.numbered.drop("pair")


# The side that writes a key, as its rules may differ, and the key as outputs show it.
WrittenKey = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class SameKey:
    """A key of a difference that rules let be written in several ways.

    `first`: the first of the ways in which differences of this result write it; `open`:
    the indices of the same key in the lookup.
    """

    first: tuple[str, ...]
    open: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What break tracking needs to know about keys; empty if no breaks are tracked.

    `rows`: the number of rows of OLD and NEW, by the index of an open key in the
    lookup. `differing`: these indices with the columns that differ. By the key of a
    difference: `repeated`: its rows on both sides, if one has several; `locators`: what
    finds the key again although it is masked; `same_keys`, which is empty without rules
    of key columns.
    """

    rows: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    differing: frozenset[tuple[int, str]] = frozenset()
    repeated: Mapping[WrittenKey, tuple[int, int]] = field(default_factory=dict)
    locators: Mapping[WrittenKey, bytes] = field(default_factory=dict)
    same_keys: Mapping[WrittenKey, SameKey] = field(default_factory=dict)


class RereadInputs(Protocol):
    """The inputs of a result, which can be read again."""

    def read_rows(self, result: Reconciliation, context: Sequence[str]) -> pl.DataFrame:
        """The rows that differ, with the texts of other columns."""
        ...


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """OLD and NEW reconciled: counts, columns, and every difference.

    - The verdict: `agrees`, `counts`, `headline()`, `print(d)`.
    - Tables, which are Polars frames of text: `columns`, `mismatches()`, `rows()`,
      `missing()`, `extra()`, `duplicates("old")`, `rejects()`.
    - Sums of amounts that differ: `totals`. What cells have in common: `constants`.
    - What explains differences: `hints`, and `suggested()`, which are arguments of
      `diff`.
    - What accepts differences for a time: `draft_suppressions("COLUMN", …)`.
    - Reports: `to_html("report.html")`, `to_markdown()`, `to_json()`, `to_dict()`.
    - Tests: `assert_agrees()`, `assert_passes()`.

    Invariants, checked on construction: `rows = matched + missing + rejected + left_out
    + partner_left_out + folded_away + unpairable` in OLD, and the same with extra rows
    in NEW; `matched = identical + mismatched_rows`;
    for each column `matched = equal_exact + tolerated + mismatched`, and `tolerated` is
    what its rules made equal; signatures sum up to the mismatched rows.

    `name_pairs`: the names in OLD and NEW that `--match-names` pairs. `applied`: what
    options changed before rows were compared. Both are sorted. `given`: the settings of
    the comparison that hints add to, by the names of options; empty if `diff` was not
    called from Python. `new_names`: the names in NEW of columns that have another one
    in OLD; `ignored`: the columns that the option `ignore` names; `text_filters`: a
    sentence for each filter that orders numbers as texts; `examined`: the columns of
    which hints and constants were looked for, and are not hidden by a mask. They are
    empty for a result that was read from the tables. `inputs`: reads the inputs again;
    None if that is impossible.
    """

    keys: tuple[str, ...]
    old: Side
    new: Side
    counts: Counts
    by_column: tuple[Column, ...]
    signatures: tuple[Signature, ...]
    drift: Drift
    sample: tuple[SampleRow, ...]
    engine: EngineFacts
    frames: Frames = field(repr=False)
    # Without a default: a result whose gates were forgotten would pass.
    acceptance: Acceptance
    detail_limit: int = 5000
    findings: Findings = field(default_factory=Findings)
    coverage: tuple[Coverage, ...] = field(default=(), repr=False)
    looked_up: LookedUp = field(default_factory=LookedUp, repr=False)
    rules: tuple[RuleCount, ...] = ()
    name_pairs: tuple[tuple[str, str], ...] = ()
    applied: tuple[Applied, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    new_names: Mapping[str, str] = field(
        default_factory=dict, repr=False, compare=False
    )
    ignored: tuple[str, ...] = field(default=(), repr=False, compare=False)
    text_filters: tuple[str, ...] = field(default=(), repr=False, compare=False)
    examined: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    inputs: RereadInputs | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise InternalError if an invariant is violated."""
        for invariant, holds in self.invariants().items():
            if not holds:
                raise InternalError(
                    f"a result invariant does not hold: {invariant}",
                    why="this is a bug in recon-engine; no result was recorded",
                    help="please report it with the numbers of rows and columns",
                )

    def invariants(self) -> dict[str, bool]:
        """Each invariant in words, and whether it holds."""
        n, old, new = self.counts, self.old, self.new
        return {
            "old = matched + missing + rejected + set aside": old.rows
            == n.matched + n.missing + old.rejected + old.aside.total,
            "new = matched + extra + rejected + set aside": new.rows
            == n.matched + n.extra + new.rejected + new.aside.total,
            "matched = identical + mismatched rows": n.matched
            == n.identical + n.mismatched_rows,
            "matched = equal + tolerated + mismatched, in each column": all(
                n.matched == c.compared == c.equal_exact + c.tolerated + c.mismatched
                for c in self.by_column
            ),
            "tolerated = the sum over its rules, in each column": not self.rules
            or {c.name: c.tolerated for c in self.by_column if c.tolerated}
            == self._made_equal(),
            "mismatched = the sum of its kinds, in each column": all(
                c.mismatched == sum(c.kinds.values()) for c in self.by_column
            ),
            "mismatched cells = the sum over columns": n.mismatched_cells
            == sum(c.mismatched for c in self.by_column),
            "mismatched rows = the sum over signatures": n.mismatched_rows
            == sum(s.rows for s in self.signatures),
            # Without suppressions there is no coverage (`suppressions.count_coverage`).
            "mismatched rows = the sum over suppressed and other ones": not (
                self.coverage
            )
            or n.mismatched_rows == sum(each.rows for each in self.coverage),
        }

    def _made_equal(self) -> dict[str, int]:
        """The number of cells that rules made equal, by column.

        Only columns with some.
        """
        made = Counter[str]()
        for each in self.rules:
            if each.of != "keys":
                made[each.column] += each.made_equal
        return {name: cells for name, cells in made.items() if cells}

    @property
    def patterns(self) -> tuple[Patterns, ...]:
        """The most frequent changes of each column that differs."""
        return self.findings[PATTERNS]

    @property
    def constants(self) -> tuple[Constant, ...]:
        """The change that most cells of a column have in common, in the order of OLD.

        Of columns that have one: `print(d.constants[0].formula)`.
        """
        return self.findings[CONSTANTS]

    @property
    def constants_to_show(self) -> tuple[Constant, ...]:
        """The constants, those of columns that are accepted as a whole last."""
        accepted = self.accepted_columns
        return tuple(sorted(self.constants, key=lambda each: each.column in accepted))

    @property
    def accepted_columns(self) -> frozenset[str]:
        """The columns of which active suppressions cover each differing cell."""
        # Without suppressions nothing is accepted: every column counts as open below.
        left = self.left.mismatches if self.suppressed else {}
        return frozenset(
            each.name
            for each in self.by_column
            if each.mismatched and not left.get(each.name, 1)
        )

    def unexplained_columns(self) -> str:
        """The columns without a hint and a change in common, most cells first.

        Such as `MEMBER_ID (16 cells), NAME (11)`. Left out are columns that are
        accepted as a whole, those with too few cells to decide, and those of which one
        pair of values has half of the cells.
        """
        explained = {each.column for each in self.hints}
        explained |= {each.column for each in self.constants}
        # A hint names one of two columns that are swapped.
        explained |= {
            *merge_settings(self.hints).get("map", ()),
            *self.accepted_columns,
        }
        most = {each.column: max(c.rows for c in each.top) for each in self.patterns}
        found = [
            each
            for each in self.differing
            if each.name in self.examined - explained
            and each.mismatched >= MIN_CELLS
            and 2 * most.get(each.name, 0) < each.mismatched
        ]
        names = [
            f"{each.name} ({each.mismatched:,}{'' if at else ' cells'})"
            for at, each in enumerate(found[:COLUMNS_NAMED])
        ]
        more = len(found) - COLUMNS_NAMED
        return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")

    @property
    def totals(self) -> Totals:
        """The control totals of the columns of amounts, in the order of OLD.

        Each is over the cells of its column that differ or are equal by a rule, and
        over missing and extra rows; not over the whole column. `print` says so.
        """
        columns = {each.name: each for each in self.by_column}
        return Totals(self.findings[TOTALS], columns)

    @property
    def totals_to_show(self) -> tuple[Total, ...]:
        """The totals of which reports show a sum that is not zero.

        Columns of whole numbers may hold codes: they are shown if no column has
        fractions, or if a gate is about their sum.
        """
        found: tuple[Total, ...] = self.findings[TOTALS]
        summed = self.summed
        nonzero = [
            each
            for each in found
            if each.missing
            or each.extra
            or (each.column in summed and (each.old or each.new))
        ]
        if all(each.is_whole for each in nonzero):
            return tuple(nonzero)
        gates = [parse_gate(each.gate) for each in self.gates]
        asked = {gate.column for gate in gates if gate.metric == "sum_delta"}
        return tuple(
            each for each in nonzero if not each.is_whole or each.column in asked
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The values in which differences concentrate."""
        return self.findings[SEGMENTS]

    @property
    def hints(self) -> tuple[Hint, ...]:
        """What would explain differences, each with the flag to paste."""
        return self.findings[HINTS]

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """Each gate with its measured value, in the order of the options."""
        return self.acceptance.gates

    @property
    def suppressed(self) -> tuple[Suppressed, ...]:
        """Each suppression with what it fits, in the order of the options."""
        return self.acceptance.suppressed

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, extra, changed, quarantined or in one file only.

        Rows that are quarantined or unpairable were not compared, so a result with one
        does not agree. Nor does one without a pair, unless both sides are empty.
        """
        n = self.counts
        differ = n.missing or n.extra or n.mismatched_rows or self.drift
        return not (differ or self.uncompared or self.compares_nothing)

    @property
    def compares_nothing(self) -> bool:
        """Whether no row is matched, missing or extra, because all were set aside."""
        n = self.counts
        return not (n.matched or n.missing or n.extra) and bool(self.old.aside.total)

    @property
    def uncompared(self) -> int:
        """The rows of both sides that could not be compared: rejected or unpairable."""
        return sum(side.rejected + side.unpairable for side in (self.old, self.new))

    @property
    def verdict(self) -> Verdict:
        """`agree` or `differ`; `gates_failed` if a gate or a suppression did."""
        if self.failures:
            return "gates_failed"
        return "agree" if self.agrees else "differ"

    @property
    def left(self) -> Left:
        """The differences that no active suppression covers."""
        return count_unsuppressed(
            self.counts, self.by_column, self.suppressed, self.coverage
        )

    @property
    def accepted_rows(self) -> int:
        """The matched rows that differ only in cells of active suppressions."""
        return self.counts.mismatched_rows - self.left.mismatched_rows

    @property
    def accepted_cells(self) -> int:
        """The differing cells that active suppressions accept."""
        if not self.suppressed:
            return 0
        return self.counts.mismatched_cells - sum(self.left.mismatches.values())

    @property
    def acceptances(self) -> Acceptances:
        """Which single differences active suppressions accept."""
        return judge_differences(
            self.counts,
            self.by_column,
            self.suppressed,
            exact_keys=not any(each.of == "keys" for each in self.rules),
        )

    def split_sample(self) -> tuple[list[SampleRow], list[SampleRow]]:
        """The sampled rows with a cell that may be open, and those all accepted."""
        if not self.accepted_cells:
            return [*self.sample], []
        accepts = self.acceptances.accepts_cell
        parts: tuple[list[SampleRow], list[SampleRow]] = [], []
        for row in self.sample:
            key = row.key_text
            # False and True are the indices of the two lists. `all` takes an unknown
            # cell, None, for one that is open.
            parts[all(accepts(n, key, cell) for n, cell in row.cells.items())].append(
                row
            )
        return parts

    def mark_cells(self) -> pl.Series:
        """For each row of `mismatches`, whether it is accepted: yes, unknown or blank.

        It is unknown in part if suppressions name keys, and rules make keys equal.
        """
        accept, cells = self.acceptances, self.frames.mismatches
        # Few combinations, however many cells: each is judged once in Python.
        kinds = cells.select("column", "kind").unique()
        words = [
            ACCEPTED_WORDS[accept.accepts_all(*each)] for each in kinds.iter_rows()
        ]
        marks = cells.select("column", "kind").join(
            kinds.with_columns(accepted=pl.Series(words, dtype=pl.String)),
            on=["column", "kind"],
            how="left",
            maintain_order="left",
        )["accepted"]
        # Of these, each cell is asked for: a suppression names keys or values.
        some = (marks == ACCEPTED_WORDS[None]).arg_true()
        if some.is_empty():
            return marks
        found = [
            ACCEPTED_WORDS[
                accept.accepts_cell(column, format_key([*key.values()]), Cell(*values))
            ]
            for key, column, *values in cells[some]
            .select("key", "column", "old", "new", "kind")
            .iter_rows()
        ]
        return marks.scatter(some, found)

    def mark_rows(self, what: Suppressible, rows: pl.DataFrame) -> list[str]:
        """The same for some rows of `missing()`, or of `extra()`."""
        accept = self.acceptances
        known = accept.accepts_all(None, what)
        if known is not None or not rows.width:
            return [ACCEPTED_WORDS[known]] * rows.height
        keys = zip(*(rows.get_column(name) for name in self.keys), strict=True)
        return [ACCEPTED_WORDS[accept.accepts_row(what, format_key(k))] for k in keys]

    def describe_open(self) -> str:
        """How many differing cells are open; empty if none is accepted."""
        accepted, cells = self.accepted_cells, self.counts.mismatched_cells
        if not accepted:
            return ""
        cells_open = format_share(cells - accepted, cells, "differing cell", "are open")
        return f"{cells_open}, {accepted:,} {conjugate(accepted, 'are accepted')}"

    def describe_suppressed(self, suppressed: Suppressed) -> str:
        """What became of a suppression, with the short values of cells it names.

        The result has only digests of these values. One is known if a sampled cell has
        it: it is shown there as well.
        """
        it = suppressed.suppression
        cells = [row.cells.get(it.column or "") for row in self.sample]
        values = {
            side: text
            for side in SIDES
            if (digest := getattr(it, side)) is not None
            for text in {getattr(cell, side) for cell in cells if cell} - {None}
            if len(text) <= SHORT_VALUE and Sha256.of(text) == digest
        }
        return suppressed.describe(values)

    @property
    def left_by_kind(self) -> dict[tuple[str | None, str], int]:
        """The differences that no active suppression covers, by column and kind."""
        return count_left_by_kind(self.counts, self.by_column, self.suppressed)

    @property
    def hints_to_show(self) -> tuple[Hint, ...]:
        """The hints that explain a difference which no active suppression covers.

        A hint counts all cells of its column, so that of a column is shown if one of
        them is left.
        """
        if not self.suppressed:
            return self.hints
        n, left = self.counts, self.left
        rows_are_accepted = bool(n.missing + n.extra) and not left.missing + left.extra
        of_keys = {HintKind.KEY_RULE, HintKind.DROP_KEY}
        return tuple(
            hint
            for hint in self.hints
            if not (
                (hint.kind is HintKind.RULE and not left.mismatches.get(hint.column, 1))
                or (hint.kind in of_keys and rows_are_accepted)
            )
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """The text of each gate and suppression that failed."""
        gates = (gate.text for gate in self.gates if not gate.passed)
        return *gates, *(each.describe() for each in self.suppressed if each.failed)

    @property
    def passes(self) -> bool:
        """Whether the exit code is 0.

        With gates: all pass. Without: nothing differs but what is suppressed. False if
        a suppression expired or is exceeded.
        """
        return not self.failures and (bool(self.gates) or not self.unsettled)

    @property
    def unsettled(self) -> bool:
        """Whether anything differs that is not suppressed, or no row was compared."""
        return bool(self.left or self.drift or self.uncompared or self.compares_nothing)

    @property
    def columns_to_ignore(self) -> tuple[str, ...]:
        """The columns of one side only, if nothing else prevents a pass.

        None if both sides have some: they may be the same ones by other names.
        """
        sides = self.drift.only_in_old, self.drift.only_in_new
        others = self.failures or self.gates or self.left or self.uncompared
        others = others or self.compares_nothing
        return () if others or all(sides) else sides[0] + sides[1]

    @property
    def columns(self) -> pl.DataFrame:
        """One row for each compared column, in the order of OLD.

        First `name`, `mismatched` cells and `mismatch_rate`, their share of all cells
        of the column, then its other counts, and one count for each kind. `name` and
        `mismatched` are there again as `column` and `cells`, as printed tables and
        `mismatches()` call them.
        """
        rows = [
            {
                "name": c.name,
                "mismatched": c.mismatched,
                "mismatch_rate": c.mismatched / c.compared if c.compared else 0.0,
                "compared": c.compared,
                "equal_exact": c.equal_exact,
                "tolerated": c.tolerated,
                **{kind.value: c.kinds.get(kind, 0) for kind in KINDS},
                "column": c.name,
                "cells": c.mismatched,
            }
            for c in self.by_column
        ]
        names = ("compared", "equal_exact", "tolerated", *KINDS)
        schema = {
            "name": pl.String,
            "mismatched": pl.Int64,
            "mismatch_rate": pl.Float64,
            **dict.fromkeys(map(str, names), pl.Int64),
            "column": pl.String,
            "cells": pl.Int64,
        }
        # With a schema, so that a result without a compared column has the same
        # columns.
        return pl.DataFrame(rows, schema=schema)

    def summary(self) -> dict[str, object]:
        """Every single-valued fact of the run, named as in `metrics.recon_summary`."""
        n = self.counts
        sides = {
            f"{fact}_{name}": getattr(side, fact)
            for fact in (*_SIDE_FACTS, "rejected", *ROWS_ASIDE)
            for name, side in (("old", self.old), ("new", self.new))
        }
        return {
            "verdict": self.verdict,
            "keys": list(self.keys),
            "rows_old": self.old.rows,
            "rows_new": self.new.rows,
            **asdict(n),
            "accepted_rows": self.accepted_rows,
            **sides,
            "columns_compared": len(self.by_column),
            "only_in_old": list(self.drift.only_in_old),
            "only_in_new": list(self.drift.only_in_new),
            "dialect_old": self.old.dialect_facts(),
            "dialect_new": self.new.dialect_facts(),
            "name_pairs": dict(self.name_pairs),
            "applied": {each.option: asdict(each) for each in self.applied},
        }

    @property
    def changed(self) -> frozenset[str]:
        """The columns with a cell whose text differs, tolerated or not."""
        return frozenset(
            each.name for each in self.by_column if each.equal_exact < each.compared
        )

    @property
    def summed(self) -> frozenset[str]:
        """The columns whose sums over changed cells are shown.

        Those that differ, and those whose rules, such as a tolerance, leave a delta.
        """
        differing = {each.name for each in self.by_column if each.mismatched}
        totals: tuple[Total, ...] = self.findings[TOTALS]
        moved = {each.column for each in totals if each.delta}
        return self.changed & (differing | moved)

    @property
    def differing(self) -> list[Column]:
        """The columns that differ, most differences first."""
        found = (each for each in self.by_column if each.mismatched)
        return sorted(found, key=lambda each: (-each.mismatched, each.name))

    def mismatches(self) -> pl.DataFrame:
        """Each mismatched cell: the key columns, then `column`, `old`, `new`, `kind`.

        If there are suppressions, `accepted` follows: `yes`, blank, or `unknown`, as
        in cells.csv. Ordered by the text of the key, then by column. All but `kind` are
        text. A key column with one of these names is `key.NAME`.
        """
        cells = self.frames.mismatches
        if self.suppressed:
            cells = cells.with_columns(self.mark_cells())
        return flatten_key(cells, self.keys)

    def rows(self, context: str | Sequence[str] = ()) -> pl.DataFrame:
        """Each mismatched row: the key columns, then `NAME_old`, `NAME_new`.

        It has two columns for each column that differs in some row, in the order of
        OLD; both are null in a row in which that column is equal. All are text, and
        rows are ordered by it, the key first. A key column whose name is taken is
        `key.NAME`.

        Args:
            context: Columns that are shown besides those that differ; "all" is every
                column. With any, the inputs are read again, and columns that are equal
                in a row have their texts. A column that only one side has is one
                column. The last column, `differs`, names those that differ in the
                row: `PAID, NOTE`. Texts that are equal by a rule are in none.

        With `context`, raises InputChanged if the inputs are not what they were, and
        ConfigError for an unknown column and for a result that was not made by `diff`.
        """
        if context:
            if self.inputs is None:
                raise ConfigError(
                    "the inputs of this result cannot be read again",
                    why="it was not made by diff in this process, or an input was a"
                    " pipe",
                    help="rows() without context has the cells that differ",
                )
            names = (context,) if isinstance(context, str) else context
            return self.inputs.read_rows(self, names)
        return spread_cells(
            self.frames.numbered,
            self.keys,
            [each.name for each in self.by_column if each.mismatched],
        )

    def missing(self) -> pl.DataFrame:
        """The rows in OLD only, with all columns of OLD.

        All are text, ordered by the text of the key (`10` is before `9`); with masks,
        by the displayed values.
        """
        return self.frames.missing

    def extra(self) -> pl.DataFrame:
        """The rows in NEW only, with all columns, ordered as `missing` is.

        Mapped columns have their names in OLD.
        """
        return self.frames.extra

    def duplicates(self, side: Literal["old", "new"]) -> pl.DataFrame:
        """The keys that repeat on a side.

        The key columns and `rows`, most rows first.
        """
        frames = {"old": self.frames.duplicates_old, "new": self.frames.duplicates_new}
        return flatten_key(frames[side], self.keys)

    def unpairable(self) -> pl.DataFrame:
        """Rows that could not be paired: `side`, `reason`, and `row`, which is JSON."""
        return self.frames.unpairable

    def rejects(self) -> pl.DataFrame:
        """Quarantined rows: `file`, `line`, `byte_offset`, `reason`.

        At most 10,000 for each file; `old.rejected` and `new.rejected` count all.
        """
        return self.frames.rejects

    def to_dict(self) -> dict[str, object]:
        """The result as plain values, in the schema `recon-result/1`."""
        from recon_engine.result_document import write_document

        return write_document(self)

    def to_json(self) -> str:
        """`to_dict` as one JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_markdown(self) -> str:
        """Verdict, row accounting, differing columns and hints: no cell's value.

        Options are named as arguments of `diff`; those of `recon diff -f markdown` are
        flags.
        """
        from recon_engine.result_document import write_markdown

        return write_markdown(self, in_python=True)

    def examples(self) -> dict[str, tuple[str, str]]:
        """The most frequent change of each differing column."""
        kinds = {each.name: each.kinds for each in self.by_column}
        return {
            each.column: most_frequent_change(each.top, kinds[each.column])
            for each in self.patterns
        }

    def headline(self) -> str:
        """The verdict in one sentence.

        Of gates that fail, the first and the names. If only suppressions fail, what
        differs and their names.
        """
        failed = [gate.text for gate in self.gates if not gate.passed]
        if failed:
            others = self._name_failures(1)
            more = f"; and {len(self.failures) - 1:,} more: {others}" if others else ""
            return f"FAIL: {failed[0]}{more}"
        aside = describe_aside(self.old, self.new)
        if self.agrees and aside:
            rows = max(self.old.rows, self.new.rows)
            return (
                f"AGREE on {format_share(self.counts.matched, rows, 'row')} ({aside})"
            )
        if self.agrees:
            return f"AGREE: {self.agreement()}"
        found = self.differences() + (f" ({aside})" if aside else "")
        if self.failures:
            return f"FAIL: {found}; {self._name_failures(0)}"
        if not self.passes:
            return f"DIFFER: {found}"
        return f"PASS: {found}; {self._explain_pass()}"

    def _name_failures(self, first: int) -> str:
        """The names of the failures from one on: `extra<=0, …`."""
        gates = (gate.gate for gate in self.gates if not gate.passed)
        suppressions = (
            f"{each.state} suppression of {each.suppression.describe({})}"
            for each in self.suppressed
            if each.failed
        )
        names = [*gates, *suppressions][first:]
        shown = ", ".join(names[:FAILURES_NAMED])
        return shown + (", …" if len(names) > FAILURES_NAMED else "")

    def agreement(self) -> str:
        """What agrees: `3 rows are the same on both sides`."""
        n = self.counts.matched
        return format_count(n, "row", "are the same on both sides") if n else NOTHING

    def _explain_pass(self) -> str:
        if not self.gates:
            return "all differences are accepted"
        if len(self.gates) == 1:
            return f"the gate {self.gates[0].gate} passes"
        return f"all {len(self.gates):,} gates pass"

    def differences(self) -> str:
        """What differs: `3 of 5 matched rows differ, 2 missing`.

        What suppressions accept is counted apart: `(4 more only by an accepted
        difference)`.
        """
        n, left = self.counts, self.left
        drifted = len(self.drift.only_in_old) + len(self.drift.only_in_new)
        rejected = self.old.rejected + self.new.rejected
        unpairable = self.old.unpairable + self.new.unpairable
        facts = (
            (n.mismatched_rows, self._differing_rows()),
            (
                n.missing,
                f"{n.missing:,} missing{mark_accepted(n.missing, left.missing)}",
            ),
            (n.extra, f"{n.extra:,} extra{mark_accepted(n.extra, left.extra)}"),
            (drifted, f"{format_count(drifted, 'column')} on one side only"),
            (rejected, f"{rejected:,} rejected"),
            (unpairable, f"{unpairable:,} unpairable"),
        )
        return ", ".join(text for count, text in facts if count) or NO_PAIR

    def _differing_rows(self) -> str:
        """How many matched rows differ, and how many only by an accepted difference."""
        n, differ = self.counts, self.left.mismatched_rows
        if not differ:
            rows = format_share(self.accepted_rows, n.matched, "matched row", "differ")
            return f"{rows} only by an accepted difference"
        rows = format_share(differ, n.matched, "matched row", "differ")
        if not self.accepted_rows:
            return rows
        return f"{rows} ({describe_accepted_rows(self.accepted_rows)})"

    def accounting(self) -> str:
        """The accounting of all rows: `old 9 = 8 matched + 1 missing · new …`.

        Accepted missing and extra rows are named, because gates exclude them.
        """
        n, left = self.counts, self.left
        tolerated = (
            (n.tolerated_keys, "key"),
            (n.tolerated_cells, "cell"),
        )
        return (
            f"old {self.old.rows:,} = {n.matched:,} matched + {n.missing:,} missing"
            f"{_accepted(n.missing - left.missing)}{format_others(self.old)}"
            f" · new {self.new.rows:,} = {n.matched:,} matched + {n.extra:,} extra"
            f"{_accepted(n.extra - left.extra)}{format_others(self.new)}"
            + "".join(
                f" · {format_count(count, what, 'are equal by a rule')}"
                for count, what in tolerated
                if count
            )
        )

    def reading(self) -> tuple[str, ...]:
        """What was applied to read and to pair the files, a sentence for each option.

        Such as `old file: 3 lines were skipped …`, or which columns are ignored.
        """
        sides = (("old", self.old), ("new", self.new))
        frame = (text for each in sides for text in describe_frame(*each))
        applied = (each.line for each in self.applied)
        ignored = describe_ignored(self.ignored)
        return (*frame, *ignored, *applied, *self.renaming(), *self.text_filters)

    @property
    def mapped_names(self) -> dict[str, str]:
        """The names in NEW of the columns that `renames` or `--map` pairs, by OLD."""
        formed = dict(self.name_pairs)
        pairs = self.new_names.items()
        return {own: new for own, new in pairs if formed.get(own) != new}

    def renaming(self) -> tuple[str, ...]:
        """The columns with another name in NEW, in a line; empty without any."""
        pairs = [f"{own} is {new} in NEW" for own, new in self.mapped_names.items()]
        more = len(pairs) - RENAMES_NAMED
        shown = [
            *pairs[:RENAMES_NAMED],
            *([f"… and {more:,} more"] if more > 0 else []),
        ]
        return (f"renamed: {' · '.join(shown)}",) if pairs else ()

    def warnings(self) -> tuple[str, ...]:
        """What the verdict does not say.

        Nothing was compared, an option applied to nothing, a rule read no value, or a
        row without a partner may be among those that were not compared.
        """
        ineffective = (*unused_frame_options(self), *unread(self.rules))
        more = (*self._uncertain(), *ineffective)
        if self.counts.matched:
            return more
        # Without a pair, only two sides without rows agree.
        return NOTHING if self.agrees else NO_PAIR, *more

    def _uncertain(self) -> Iterator[str]:
        """What may be among the rows of the other side that were not compared."""
        for rows, what, name, side in (
            (self.counts.missing, "missing", "new", self.new),
            (self.counts.extra, "extra", "old", self.old),
        ):
            others = (
                (side.rejected, "rejected"),
                (side.unpairable, "unpairable"),
            )
            among = " and ".join(f"{n:,} {word}" for n, word in others if n)
            if rows and among:
                yield f"{rows:,} {what} may be among {among} of {name}"

    @property
    def rules_to_show(self) -> tuple[RuleCount, ...]:
        """The rules that met a value or were given for their column by name."""
        return tuple(each for each in self.rules if each.met or not each.every)

    @property
    def rewritten_cells(self) -> int:
        """The number of differing cells that are the same value written another way."""
        kinds = (item for column in self.by_column for item in column.kinds.items())
        return sum(count for kind, count in kinds if kind in REWRITING_KINDS)

    def rewriting(self) -> str:
        """How many differing cells are the same value.

        Requires at least one differing cell.
        """
        total, same = self.counts.mismatched_cells, self.rewritten_cells
        share = format_number_or_percent(same, total)
        rewritten = (
            f"{share} of the {format_count(total, 'differing cell', 'are')} the same"
            " value written another way"
        )
        if self.unexplained():
            return f"{self.unexplained()} not explained by a hint; {rewritten}"
        others = format_count(total - same, "cell", "carry another value")
        return f"{rewritten}; {others}"

    def unexplained(self) -> str:
        """The differing cells that no rule of a hint explains: `2 of 9 cells are`.

        Empty if no rule explains any.
        """
        cells = sum(
            each.count for each in self.hints_to_show if each.kind is HintKind.RULE
        )
        total = self._explainable
        return format_share(total - cells, total, "differing cell", "are") * bool(cells)

    @property
    def _explainable(self) -> int:
        """The differing cells of columns that suppressions do not accept as a whole."""
        left = self.left.mismatches
        return sum(each.mismatched for each in self.by_column if left[each.name])

    def suggested(self) -> dict[str, Any]:
        """What the hints propose, as arguments of `diff`, without its other arguments.

        Rules, names and derived keys, each with those that the comparison already has:
        `diff(old, new, **(settings | d.suggested()))` if that was made with
        `**settings`. Other keys
        (of which a hint says `as the key`) are not among them: each is another way.
        With them, the differences that the hints count are gone: read the hints first.
        """
        # Of the hints that set `keys` only the first: the next would replace it.
        proposed: list[Hint] = []
        has_key = False
        for hint in self.hints_to_show:
            keyed = KEYS in read_settings(hint)
            if hint.kind in SUGGESTED and not (keyed and has_key):
                proposed.append(hint)
                has_key |= keyed
        hinted = merge_settings(proposed)
        if not hinted:
            return {}
        # An argument replaces another of its name, so each is whole.
        before = {name: rules for name, rules in self._given_rules().items() if rules}
        before |= {name: self.given[name] for name in ("map",) if name in self.given}
        for name, value in hinted.items():
            known = before.get(name, self.given.get(name))
            before[name] = merge_value(known, value, name)
        return as_arguments(before)

    def draft_suppressions(
        self,
        names: str | Sequence[str],
        *,
        reason: str,
        owner: str,
        until: date | str | None = None,
    ) -> list[Suppression]:
        """What accepts the differences that are left, for `suppressions` of `diff`.

        Behind a suppression that is exceeded or expired, a draft for the same
        differences has no effect: it takes the place of that one.

        Args:
            names: Columns, or "missing" and "extra" for rows. Each gets one
                suppression, of the kinds and the number of differences that it has
                now; none if no difference is left.
            reason: Why they are accepted.
            owner: Who accepts them.
            until: The last day, also as the text 2027-03-31; None is in 90 days.

        Raises ConfigError for a column that is not compared.
        """
        drafted = (
            draft_suppression(
                name,
                self.by_column,
                self.left_by_kind,
                one_sided={*self.drift.only_in_old, *self.drift.only_in_new},
                reason=reason,
                owner=owner,
                until=until,
            )
            for name in ((names,) if isinstance(names, str) else names)
        )
        return [each for each in drafted if each is not None]

    def suggested_rules(self) -> dict[str, Any]:
        """The rules of the comparison and those of its hints, for `rules=`.

        By column; `*` is every column. A list is for both sides; a column with rules
        of one side has a mapping of `both`, `old` and `new`. `suggested()` has names
        besides. With them, the differences that the hints count are gone: read the
        hints first.
        """
        hinted = merge_settings(self.hints_to_show)
        # `_given_rules` has the rules of both, of OLD and of NEW in this order.
        of_side = {
            side: merge_value(rules, hinted.get(name, {}), name) or {}
            for (name, rules), side in zip(
                self._given_rules().items(), ("both", "old", "new"), strict=True
            )
        }
        both, *sides = of_side.values()
        found: dict[str, Any] = dict(both)
        for name in dict.fromkeys(name for side in sides for name in side):
            found[name] = {
                side: rules[name] for side, rules in of_side.items() if name in rules
            }
        return found

    def _given_rules(self) -> dict[str, dict[str, list[str]]]:
        """The rules of the comparison: of both sides, of OLD and of NEW, by column."""
        found: dict[str, dict[str, list[str]]] = {
            name: {} for name in ("rules", "old_rules", "new_rules")
        }
        for each in self.rules:
            # It follows again from the rule of the other side.
            if each.implied:
                continue
            name = "rules" if each.side == "both" else f"{each.side}_rules"
            column = "*" if each.every else each.column
            chain = found[name].setdefault(column, [])
            if each.rule not in chain:
                chain.append(each.rule)
        return found

    def remainder(self) -> str:
        """What no hint explains: `2 of 641 differing cells · 0 of 40 missing rows`.

        Empty if no hint explains a difference. Cells of rows that only a hint would
        pair are not known. Columns that suppressions accept are not counted. Rows are
        not if suppressions accept some: a hint does not know which ones it pairs.
        """
        shown = self.hints_to_show
        settled = {
            kind: [h.count for h in shown if h.kind is kind] for kind in HintKind
        }
        cells = sum(settled[HintKind.RULE])
        # Rules of the key add up; each key that could be dropped is another way.
        pairs = max(sum(settled[HintKind.KEY_RULE]), *settled[HintKind.DROP_KEY], 0)
        n, left = self.counts, self.left
        if (n.missing, n.extra) != (left.missing, left.extra):
            pairs = 0
        facts = (
            (cells, self._explainable, "differing cell"),
            (min(pairs, n.missing), n.missing, "missing row"),
            (min(pairs, n.extra), n.extra, "extra row"),
        )
        return " · ".join(
            format_share(whole - part, whole, what)
            for part, whole, what in facts
            if part
        )

    @overload
    def to_html(self, path: None = None, *, title: str | None = None) -> str: ...

    @overload
    def to_html(self, path: str | Path, *, title: str | None = None) -> None: ...

    def to_html(
        self, path: str | Path | None = None, *, title: str | None = None
    ) -> str | None:
        """Write the result as one self-contained HTML page, or return its text.

        Args:
            path: The file; None returns the text.
            title: The heading; None is the names of both files.

        The page holds values of cells, as the sample does.
        """
        from recon_engine.report import result_page

        facts = result_page.PageFacts(title=title, timed=True, in_python=True)
        text = result_page.render_result(self, facts)
        if path is None:
            return text
        from recon_engine.storage.base import replace_at_end

        # If the disk is full, the page that is there stays.
        with replace_at_end(Path(path)) as part:
            part.write_text(text, encoding="utf-8")
        return None

    def assert_agrees(self) -> None:
        """Raise AssertionError if the sides differ: counts and column names only.

        Also if gates or suppressions accept it: `assert_passes` then does not raise.
        """
        if not self.agrees:
            accepted = (
                "the sides differ, which gates or suppressions accept:"
                " assert_passes() does not raise\n\n"
            )
            raise AssertionError(accepted * self.passes + self.to_markdown())

    def assert_passes(self) -> None:
        """Raise AssertionError if the result does not pass: counts and names only."""
        if not self.passes:
            raise AssertionError(self.to_markdown())

    def __repr__(self) -> str:
        """The verdict in one line: counts only."""
        return f"<{type(self).__name__} {self.headline()}>"

    def __str__(self) -> str:
        """The result as the command line prints it, as wide as the terminal.

        If it has rules to propose, a last line says how `diff` takes them.
        """
        from shutil import get_terminal_size

        from recon_engine.terminal import render_text

        # Without a terminal, as in a notebook, a line has 100 cells.
        text = render_text(self, get_terminal_size((100, 24)).columns)
        return "\n".join([text, *self._say_in_python()])

    def _say_in_python(self) -> list[str]:
        """How a caller applies the hints, if they propose arguments."""
        return [IN_PYTHON] if self.suggested() else []

    def __dir__(self) -> list[str]:
        """The names that callers use; others are for the command line and reports."""
        return [*PUBLIC, *(n for n in object.__dir__(self) if n.startswith("__"))]

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError with the name of what was meant.

        Called for names that a result does not have.
        """
        if hasattr(type(self), name):
            # A property has failed: its own error says where.
            return object.__getattribute__(self, name)
        right = OTHER_NAMES.get(name)
        meant = f". Use {right}." if right else did_you_mean(name, PUBLIC)
        raise AttributeError(
            f"a result has no attribute {name}{meant or '. dir(d) lists all.'}",
            # Python would propose a name by itself, such as one that is not public.
            name=None,
            obj=None,
        )

    def _repr_html_(self) -> str:
        from recon_engine.report import result_page

        return result_page.render_fragment(self, self._say_in_python())
