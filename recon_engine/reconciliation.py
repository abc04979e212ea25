"""The result of a reconciliation, and the laws that every one obeys."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from recon_engine.errors import InternalError
from recon_engine.kinds import KINDS, REWRITTEN
from recon_engine.model import HintKind
from recon_engine.suppressions import left


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recon_engine.model import (
        Cell,
        Column,
        Counts,
        Coverage,
        Drift,
        GateResult,
        Hint,
        Left,
        Pattern,
        Patterns,
        Segment,
        Side,
        Signature,
        Suppressed,
        Total,
    )


Verdict = Literal["agree", "differ", "gates_failed"]

SHOWN: Final = 8
MARKUP: Final = re.compile(r"[\\`*<\[&~]")
_SIDE_FACTS = ("duplicate_keys", "duplicate_key_rows", "blank_keys")


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One differing row: its key, and old and new of its differing columns only."""

    key: dict[str, str]
    cells: dict[str, Cell]

    @property
    def payload(self) -> dict[str, str]:
        """The differing columns as `old~new`."""
        return {name: cell.text for name, cell in self.cells.items()}

    @property
    def key_text(self) -> str:
        """The key for people."""
        return key_text(tuple(self.key.values()))


def _flat(column: Column) -> dict[str, object]:
    """The fields as they are: `asdict` copies what is in them, thousands of times."""
    return {each.name: getattr(column, each.name) for each in fields(column)}


@dataclass(frozen=True, slots=True)
class Engine:
    """How the result came about; no part of what it says.

    `kernel`: "native" or "numpy", which has read the files; None of what is no file.
    """

    strategy: str
    version: str
    seconds: float
    peak_rss_bytes: int
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """The differences in full, as frames of strings in an order of their content.

    The cells are put in order when they are asked for, since that may take a while.
    """

    mismatches: pl.LazyFrame
    missing: pl.DataFrame
    extra: pl.DataFrame
    duplicates_old: pl.DataFrame
    duplicates_new: pl.DataFrame
    rejects: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """OLD and NEW reconciled: counts, columns, and every difference.

    The laws, checked when it is made: `rows = matched + missing (+ rejected)` in OLD
    and `matched + extra (+ rejected)` in NEW; `matched = identical + mismatched_rows`;
    per column `matched = equal_exact + tolerated + mismatched`; signatures sum up to
    the mismatched rows.
    """

    keys: tuple[str, ...]
    old: Side
    new: Side
    counts: Counts
    by_column: tuple[Column, ...]
    signatures: tuple[Signature, ...]
    drift: Drift
    sample: tuple[SampleRow, ...]
    engine: Engine
    frames: Frames = field(repr=False)
    detail_limit: int = 5000
    patterns: tuple[Patterns, ...] = ()
    totals: tuple[Total, ...] = ()
    segments: tuple[Segment, ...] = ()
    hints: tuple[Hint, ...] = ()
    gates: tuple[GateResult, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    coverage: tuple[Coverage, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse to exist when a law does not hold."""
        for law, holds in self.laws().items():
            if not holds:
                raise InternalError(
                    f"a law of the reconciliation does not hold: {law}",
                    why="this is a bug in recon-engine; no result was recorded",
                    help="please report it with the numbers of rows and columns",
                )

    def laws(self) -> dict[str, bool]:
        """Each law in words, and whether it holds."""
        n, old, new = self.counts, self.old, self.new
        return {
            "old = matched + missing + rejected": old.rows
            == n.matched + n.missing + old.rejected,
            "new = matched + extra + rejected": new.rows
            == n.matched + n.extra + new.rejected,
            "matched = identical + mismatched rows": n.matched
            == n.identical + n.mismatched_rows,
            "matched = equal + tolerated + mismatched, in each column": all(
                n.matched == c.compared == c.equal_exact + c.tolerated + c.mismatched
                for c in self.by_column
            ),
            "mismatched = the sum of its kinds, in each column": all(
                c.mismatched == sum(c.kinds.values()) for c in self.by_column
            ),
            "mismatched cells = the sum over columns": n.mismatched_cells
            == sum(c.mismatched for c in self.by_column),
            "mismatched rows = the sum over signatures": n.mismatched_rows
            == sum(s.rows for s in self.signatures),
            "mismatched rows = the sum over suppressed and other ones": not (
                self.coverage
            )
            or n.mismatched_rows == sum(each.rows for each in self.coverage),
        }

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, extra or changed, and no column stands alone.

        Rows that were set aside were not compared, so with one nothing agrees.
        """
        n = self.counts
        differ = n.missing or n.extra or n.mismatched_rows or self.drift
        return not (differ or self.old.rejected or self.new.rejected)

    @property
    def verdict(self) -> Verdict:
        """`agree` or `differ`; `gates_failed` if a gate or a suppression did."""
        if self.failures:
            return "gates_failed"
        return "agree" if self.agrees else "differ"

    @property
    def left(self) -> Left:
        """The differences that no active suppression covers."""
        return left(self.counts, self.by_column, self.suppressed, self.coverage)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong with each gate and each suppression that failed."""
        gates = (gate.text for gate in self.gates if not gate.passed)
        return *gates, *(each.text for each in self.suppressed if each.failed)

    @property
    def passes(self) -> bool:
        """What an exit code of 0 says.

        With gates, that all of them pass; without, that nothing differs but what is
        suppressed. Never if a suppression has expired or is exceeded.
        """
        return not self.failures and (bool(self.gates) or not self.unsettled)

    @property
    def unsettled(self) -> bool:
        """Whether anything differs that is not suppressed."""
        rejected = self.old.rejected or self.new.rejected
        return bool(self.left or self.drift or rejected)

    @property
    def columns(self) -> pl.DataFrame:
        """One row a compared column: its counts, and one count for each kind."""
        rows = [
            {
                "name": c.name,
                "compared": c.compared,
                "equal_exact": c.equal_exact,
                "tolerated": c.tolerated,
                "mismatched": c.mismatched,
                **{kind.value: c.kinds.get(kind, 0) for kind in KINDS},
            }
            for c in self.by_column
        ]
        names = ("compared", "equal_exact", "tolerated", "mismatched", *KINDS)
        schema = {"name": pl.String} | dict.fromkeys(map(str, names), pl.Int64)
        return pl.DataFrame(rows, schema=schema)

    def summary(self) -> dict[str, object]:
        """Everything that is one value a run, named as in `metrics.recon_summary`."""
        n = self.counts
        sides = {
            f"{fact}_{name}": getattr(side, fact)
            for fact in (*_SIDE_FACTS, "rejected")
            for name, side in (("old", self.old), ("new", self.new))
        }
        return {
            "verdict": self.verdict,
            "keys": list(self.keys),
            "rows_old": self.old.rows,
            "rows_new": self.new.rows,
            **asdict(n),
            **sides,
            "columns_compared": len(self.by_column),
            "only_in_old": list(self.drift.only_in_old),
            "only_in_new": list(self.drift.only_in_new),
            "dialect_old": self.old.dialect and asdict(self.old.dialect),
            "dialect_new": self.new.dialect and asdict(self.new.dialect),
        }

    @property
    def differing(self) -> list[Column]:
        """The columns that differ, the worst first."""
        found = (each for each in self.by_column if each.mismatched)
        return sorted(found, key=lambda each: (-each.mismatched, each.name))

    def mismatches(self) -> pl.DataFrame:
        """Each mismatched cell: `key` (a struct), `column`, `old`, `new`, `kind`."""
        return self.frames.mismatches.collect()

    def missing(self) -> pl.DataFrame:
        """The rows in OLD only, whole, in the columns of OLD.

        In the order of their file; with masks, in that of what is shown. So for extra.
        """
        return self.frames.missing

    def extra(self) -> pl.DataFrame:
        """The rows in NEW only, whole; mapped columns have their names in OLD."""
        return self.frames.extra

    def duplicates(self, side: Literal["old", "new"]) -> pl.DataFrame:
        """The keys that repeat on a side: `key` (a struct) and `rows`, worst first."""
        return {"old": self.frames.duplicates_old, "new": self.frames.duplicates_new}[
            side
        ]

    def rejects(self) -> pl.DataFrame:
        """Rows that were set aside: `file`, `line`, `byte_offset`, `reason`.

        Not more than 10,000 of a file; `old.rejected` and `new.rejected` count all.
        """
        return self.frames.rejects

    def to_dict(self) -> dict[str, object]:
        """The result as plain values, in the schema `recon-result/1`."""
        return {
            "schema": "recon-result/1",
            "verdict": self.verdict,
            "keys": list(self.keys),
            "old": asdict(self.old),
            "new": asdict(self.new),
            "counts": asdict(self.counts),
            "columns": [_flat(c) | {"kinds": dict(c.kinds)} for c in self.by_column],
            "signatures": [
                {"columns": list(s.columns), "rows": s.rows} for s in self.signatures
            ],
            "schema_drift": {
                "only_in_old": list(self.drift.only_in_old),
                "only_in_new": list(self.drift.only_in_new),
                "renamed": [list(pair) for pair in self.drift.renamed],
            },
            "sample": [{"key": r.key, "payload": r.payload} for r in self.sample],
            "missing_sample": self._keys_of(self.frames.missing),
            "extra_sample": self._keys_of(self.frames.extra),
            "rejects": self.frames.rejects.head(self.detail_limit).to_dicts(),
            "patterns": [asdict(each) for each in self.patterns],
            "totals": [
                {"column": each.column}
                | {name: f"{value:f}" for name, value in each.sums().items()}
                for each in self.totals
            ],
            "segments": [asdict(each) | {"lift": each.lift} for each in self.segments],
            "hints": [asdict(each) for each in self.hints],
            "gates": [asdict(each) for each in self.gates],
            "suppressed": [_plain(each) for each in self.suppressed],
            "engine": asdict(self.engine),
        }

    def to_json(self) -> str:
        """`to_dict` as one JSON document."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_markdown(self) -> str:
        """The verdict, row accounting, differing columns and hints: no cell's value."""
        lines = [f"**{_said(self.headline())}**", "", self.accounting(), ""]
        if self.counts.mismatched_cells:
            lines += [self.rewriting(), ""]
        if self.gates:
            lines += ["| gate | | |", "|---|---|---|"]
            lines += [
                _row(
                    _code(gate.gate),
                    "pass" if gate.passed else "**fail**",
                    _said(gate.text),
                )
                for gate in self.gates
            ]
            lines.append("")
        if self.differing:
            lines += ["| column | cells that differ | kinds |", "|---|---:|---|"]
            lines += [
                _row(_code(c.name), f"{c.mismatched:,}", kinds_text(c))
                for c in self.differing
            ]
        if self.hints:
            lines += [
                "",
                *(f"- {advice(hint, _said, _code)}" for hint in self.hints[:SHOWN]),
            ]
        if self.remainder():
            lines += ["", f"Left by all hints: {self.remainder()}"]
        return "\n".join(lines).rstrip() + "\n"

    def examples(self) -> dict[str, tuple[str, str]]:
        """The commonest change of each differing column, of its commonest kind."""
        kinds = {each.name: each.kinds for each in self.by_column}
        return {
            each.column: _commonest(each.top, kinds[each.column])
            for each in self.patterns
        }

    def headline(self) -> str:
        """The verdict in one sentence: of failures, the first."""
        if self.failures:
            first, *others = self.failures
            return f"FAIL: {first}" + (f"; and {len(others):,} more" if others else "")
        if self.agrees:
            return f"AGREE: {self.counts.matched:,} rows are the same on both sides"
        if not self.passes:
            return f"DIFFER: {self.differences()}"
        return f"PASS: {self.differences()}; {self._why_it_passes()}"

    def _why_it_passes(self) -> str:
        if not self.gates:
            return "all of it suppressed"
        if len(self.gates) == 1:
            return f"the gate {self.gates[0].gate} passes"
        return f"all {len(self.gates):,} gates pass"

    def differences(self) -> str:
        """What differs, suppressed or not: `3 of 5 matched rows differ, 2 missing`."""
        n = self.counts
        facts = (
            (n.mismatched_rows, f"of {n.matched:,} matched rows differ"),
            (n.missing, "missing"),
            (n.extra, "extra"),
            (
                len(self.drift.only_in_old) + len(self.drift.only_in_new),
                "columns drift",
            ),
            (self.old.rejected + self.new.rejected, "rejected"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in facts if count)

    def accounting(self) -> str:
        """Where every row of both sides is: `old 9 = 8 matched + 1 missing · new …`."""
        n, tolerated = self.counts, self.counts.tolerated_cells
        return (
            f"old {self.old.rows:,} = {n.matched:,} matched + {n.missing:,} missing"
            f"{_rejected(self.old)}"
            f" · new {self.new.rows:,} = {n.matched:,} matched + {n.extra:,} extra"
            f"{_rejected(self.new)}"
            + (f" · {tolerated:,} cells are equal by a rule" if tolerated else "")
        )

    @property
    def rewritten_cells(self) -> int:
        """How many of the differing cells are the same value written another way."""
        kinds = (item for column in self.by_column for item in column.kinds.items())
        return sum(count for kind, count in kinds if kind in REWRITTEN)

    def rewriting(self) -> str:
        """How many of the differing cells say the same: there have to be some."""
        total, same = self.counts.mismatched_cells, self.rewritten_cells
        share, other = percent(same, total) if same else "None", total - same
        carry = "cell carries" if other == 1 else "cells carry"
        return (
            f"{share} of the {total:,} differing cells are the same value written"
            f" another way; {other:,} {carry} another value"
        )

    def remainder(self) -> str:
        """What no hint settles: `2 of 641 differing cells · 0 of 40 missing rows`.

        Empty without hints that settle some. Cells of rows that only a hint pairs are
        not known yet.
        """
        settled = {
            kind: [h.count for h in self.hints if h.kind is kind] for kind in HintKind
        }
        cells = sum(settled[HintKind.RULE])
        # Rules of the key add up; each key that could be dropped is another way.
        pairs = max(sum(settled[HintKind.KEY_RULE]), *settled[HintKind.DROP_KEY], 0)
        n = self.counts
        facts = (
            (cells, n.mismatched_cells, "differing cells"),
            (pairs, n.missing, "missing rows"),
            (pairs, n.extra, "extra rows"),
        )
        return " · ".join(
            f"{whole - part:,} of {whole:,} {what}"
            for part, whole, what in facts
            if part
        )

    def to_html(self, path: str | Path | None = None) -> str:
        """The result as one self-contained HTML page; written to `path`, if given.

        It holds values of cells, as the sample does.
        """
        from recon_engine import report

        text = report.page(self, report.Facts(timed=True))
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def assert_agrees(self) -> None:
        """Raise AssertionError, with counts and column names only, if they differ."""
        if not self.agrees:
            raise AssertionError(self.to_markdown())

    def assert_passes(self) -> None:
        """The same, if it does not pass its gates."""
        if not self.passes:
            raise AssertionError(self.to_markdown())

    def _repr_html_(self) -> str:
        from recon_engine import report

        return report.fragment(self)

    def _keys_of(self, rows: pl.DataFrame) -> list[dict[str, str]]:
        columns = [rows.get_column(name) for name in self.keys]
        return pl.DataFrame(columns).head(self.detail_limit).to_dicts()


def key_text(values: Sequence[str]) -> str:
    """A key for people: the value of one column, a JSON array of several."""
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _commonest(changes: Sequence[Pattern], kinds: Mapping[str, int]) -> tuple[str, str]:
    kind = max(kinds, key=lambda each: kinds[each], default=None)
    shown = next((each for each in changes if each.kind == kind), changes[0])
    return shown.old, shown.new


def kinds_text(column: Column) -> str:
    """The kinds of a column's differences by share: `case 70%, text 30%`."""
    shares = sorted(column.kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(
        f"{kind.replace('_', ' ')} {percent(count, column.mismatched)}"
        for kind, count in shares
    )


def advice(
    hint: Hint, said: Callable[[str], str] = str, code: Callable[[str], str] = str
) -> str:
    """A hint as one line: what is, the flag, and what that does; in some markup."""
    does = {
        HintKind.RULE: f"removes {hint.count:,}",
        HintKind.KEY_RULE: f"pairs {hint.count:,}",
        HintKind.DROP_KEY: f"as the key pairs {hint.count:,}",
        HintKind.RENAME: "compares them",
        HintKind.UNIQUE_KEY: "is that key",
    }
    return f"{said(hint.text)}; {code(hint.flag)} {does[hint.kind]}"


def percent(part: int, whole: int) -> str:
    """A share for people: `70%`, or `<1%`."""
    share = 100 * part / whole
    return "<1%" if share < 1 else f"{int(share)}%"


def _plain(each: Suppressed) -> dict[str, object]:
    suppression = asdict(each.suppression)
    return suppression | {
        "until": each.suppression.until.isoformat(),
        "count": each.count,
        "state": each.state,
        "text": each.text,
    }


def _rejected(side: Side) -> str:
    return f" + {side.rejected:,} rejected" if side.rejected else ""


def _code(text: str) -> str:
    """A code span of Markdown that shows a text, whatever it holds."""
    shown = printable(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{shown}{space}{fence}"


def _said(text: str) -> str:
    """A text in Markdown that is only text."""
    return MARKUP.sub(r"\\\g<0>", printable(text))


def printable(text: str) -> str:
    """Text that is shown and not obeyed: no control characters."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
