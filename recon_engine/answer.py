"""What was found, on its way back under the names of the user: the result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import sample
from recon_engine.causes import Evidence
from recon_engine.config import OnDuplicateKeys
from recon_engine.errors import DuplicateKeys
from recon_engine.masks import masked
from recon_engine.memory import peak_rss_bytes
from recon_engine.model import Column, Counts, Side, Signature
from recon_engine.reconciliation import Engine, Frames, Reconciliation, SampleRow
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.causes import Told
    from recon_engine.compare import Difference
    from recon_engine.config import Options
    from recon_engine.digest import Table
    from recon_engine.partial import Partial, Repeats
    from recon_engine.question import Question


OLD, NEW = 0, 1
REJECTS: Final = {
    "file": pl.String,
    "line": pl.Int64,
    "byte_offset": pl.Int64,
    "reason": pl.String,
}


def answer(
    question: Question,
    tables: Sequence[Table],
    found: Partial,
    told: Mapping[str, Told],
    *,
    samples: Sequence[pl.DataFrame],
    blanks: Sequence[int],
    strategy: str,
    kernel: str | None = None,
) -> Reconciliation:
    """The result, whose laws are checked as it is made; masked, if that was asked.

    `found`: in all buckets; `told`: of each column that differs; `samples`: of all rows
    of OLD and of NEW; `blanks`: in how many rows of each the key has a blank;
    `strategy`: by which digests were taken; `kernel`: which has read the files.
    """
    facts = [
        _facts(table, again, blank)
        for table, again, blank in zip(tables, found.repeats, blanks, strict=True)
    ]
    engine = Engine(
        strategy=strategy,
        version=__version__,
        seconds=round(time.monotonic() - question.started, 3),
        peak_rss_bytes=peak_rss_bytes(),
        kernel=kernel,
    )
    whole = _Answer(question, tables, found, told, samples)
    return masked(whole.assembled(facts, engine), question.masks)


def refuse_repeats(
    tables: Sequence[Table], repeats: Sequence[Repeats], options: Options
) -> None:
    """Raise DuplicateKeys for keys that repeat, where the policy is `fail`."""
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, again in zip(("OLD", "NEW"), tables, repeats, strict=True):
        if again.keys:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{again.keys:,} keys stand on {again.rows:,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _facts(table: Table, repeats: Repeats, blank_keys: int) -> Side:
    return Side(
        uri=table.uri,
        rows=table.rows + table.rejects.count,
        sha256=table.sha256,
        bytes=table.bytes,
        rejected=table.rejects.count,
        duplicate_key_rows=repeats.rows,
        duplicate_keys=repeats.keys,
        blank_keys=blank_keys,
        dialect=table.dialect,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """The kernel's findings on their way back under the names of the user."""

    question: Question
    tables: Sequence[Table]
    whole: Partial
    told: Mapping[str, Told]
    samples: Sequence[pl.DataFrame]

    @property
    def found(self) -> Difference:
        """What there is to show."""
        return self.whole.shown

    @property
    def layout(self) -> Alignment:
        """Which columns belong together."""
        return self.question.layout

    def assembled(self, facts: Sequence[Side], engine: Engine) -> Reconciliation:
        """The result, whose laws are checked as it is made."""
        question, whole, found = self.question, self.whole, self.found
        limit = question.options.detail_limit
        matched = whole.identical + whole.matched
        columns = self.columns(matched)
        causes = self.evidence(columns).causes()
        return Reconciliation(
            keys=self.layout.keys,
            old=facts[0],
            new=facts[1],
            counts=Counts(
                matched=matched,
                missing=whole.missing.rows,
                extra=whole.extra.rows,
                identical=matched - whole.mismatched,
                mismatched_rows=whole.mismatched,
                mismatched_cells=int(whole.kinds["len"].sum()),
                tolerated_cells=int(found.tolerated.sum()),
            ),
            by_column=columns,
            signatures=self.signatures(),
            drift=self.layout.drift,
            sample=self.sample(limit),
            engine=engine,
            frames=Frames(
                mismatches=question.cells(found),
                missing=question.rows(OLD, found.missing),
                extra=question.rows(NEW, found.extra),
                duplicates_old=question.keyed(whole.repeats[0].worst),
                duplicates_new=question.keyed(whole.repeats[1].worst),
                rejects=self.rejects(),
            ),
            detail_limit=limit,
            coverage=whole.coverage,
            patterns=causes.patterns,
            totals=causes.totals,
            segments=causes.segments,
            hints=causes.hints,
        )

    def rejects(self) -> pl.DataFrame:
        """The listed rows of both sides that were set aside, by place."""
        return pl.DataFrame(
            [
                (table.uri, row.line, row.byte_offset, row.reason)
                for table in self.tables
                for row in table.rejects.sample
            ],
            schema=REJECTS,
            orient="row",
        )

    def columns(self, matched: int) -> tuple[Column, ...]:
        """Each compared column in the order of OLD."""
        kinds: dict[str, dict[str, int]] = {}
        names, counted = self.question.columns, self.whole.kinds.sort("column", "kind")
        for column, kind, count in counted.iter_rows():
            kinds.setdefault(names[column], {})[kind] = count
        tolerated = dict(zip(names, self.found.tolerated.tolist(), strict=True))
        result = []
        for name in self.layout.columns:
            mine, near = kinds.get(name, {}), tolerated[name]
            wrong = sum(mine.values())
            equal = matched - wrong - near
            result.append(Column(name, matched, equal, near, wrong, mine))
        return tuple(result)

    def evidence(self, columns: Sequence[Column]) -> Evidence:
        """What may be told of causes; of columns that make the key unique, the best.

        That is the one that differs least, for it is to be a part of the key.
        """
        question, whole = self.question, self.whole
        able = {
            name
            for ours, name in zip(
                question.names[OLD].columns, question.columns, strict=True
            )
            if all(ours in each.telling for each in whole.repeats)
        }
        best = min(
            (column for column in columns if column.name in able),
            key=lambda column: column.mismatched,
            default=None,
        )
        return Evidence(
            question=question,
            told=self.told,
            tolerated=self.found.sums,
            values=self.found.values,
            lone=(whole.missing, whole.extra),
            samples=self.samples,
            repeated=sum(each.keys for each in whole.repeats),
            telling=best.name if best else None,
        )

    def signatures(self) -> tuple[Signature, ...]:
        """Sets of columns that differ together, the most frequent first."""
        names, sets = self.question.columns, self.whole.signatures.iter_rows()
        ordered = sorted(sets, key=lambda row: (-row[1], row[0]))
        return tuple(
            Signature(tuple(names[at] for at in columns), rows)
            for columns, rows in ordered
        )

    def sample(self, limit: int) -> tuple[SampleRow, ...]:
        """The rows to show, each with its differing cells."""
        found = self.found
        pairs = sample.choose(found.cells, sample.stable_hash(found.keys), limit)
        chosen = found.cells.filter(pl.col("pair").is_in(pairs.implode()))
        cells = sample.cells_by_pair(chosen, self.question.columns)
        keys = found.keys[pairs].rows()
        return tuple(
            SampleRow(dict(zip(self.layout.keys, key, strict=True)), cells[pair])
            for pair, key in zip(pairs, keys, strict=True)
        )
