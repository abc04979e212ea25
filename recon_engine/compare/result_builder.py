"""What was found, on its way back under the names of the user: the result."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from recon_engine.analysis.evidence import Evidence
from recon_engine.analysis.measures import is_measure
from recon_engine.analysis.swapped_columns import find_swapped
from recon_engine.analysis.totals import TOTALS
from recon_engine.compare import sampling
from recon_engine.compare.applied import describe_applied, describe_text_filters
from recon_engine.compare.lookup import looked_up
from recon_engine.compare.masks import ShownValues, mask_rows, mask_values
from recon_engine.compare.narrow_suppressions import list_spellings
from recon_engine.compare.preparation import REASON
from recon_engine.config import OnDuplicateKeys
from recon_engine.errors import ConfigError, DuplicateKeys
from recon_engine.findings import find_all
from recon_engine.formatting import format_count
from recon_engine.kinds import KINDS, Kind
from recon_engine.model import (
    NEW,
    OLD,
    SIDES,
    CodeCounts,
    Column,
    Counts,
    Reads,
    RowCounts,
    RuleCount,
    Side,
    Signature,
)
from recon_engine.records import dataclass
from recon_engine.result import EngineFacts, Frames, Reconciliation, SampleRow
from recon_engine.rules.chains import (
    MADE_EQUAL,
    NO_CHAIN,
    READ,
    added,
    aside_tally,
    code_tally,
    no_tally,
    wrong_tally,
)
from recon_engine.rules.sources import describe_source
from recon_engine.runtime.lazy_module import np
from recon_engine.runtime.memory import peak_rss_bytes
from recon_engine.verdict import Measurements, evaluate_gates
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from recon_engine.analysis.evidence import ColumnFindings
    from recon_engine.compare.alignment import Alignment
    from recon_engine.compare.lookup import Sought
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.partial_result import PartialResult, Repeats
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.config import Options
    from recon_engine.inputs.tables import Table
    from recon_engine.model import Acceptance
    from recon_engine.rules.chains import Step, Tallies


REJECTS: Final = {
    "file": pl.String,
    "line": pl.Int64,
    "byte_offset": pl.Int64,
    "reason": pl.String,
}


UNPAIRABLE: Final = dict.fromkeys(("side", "reason", "row"), pl.String)


@dataclass(frozen=True, slots=True)
class ReadBy:
    """How both sides were read.

    `strategy`: by which digests were taken; `kernel`: "native" or "numpy", None if
    there was no file. `counts_cells`: whether what rules read of columns that are read
    apart was counted of pairs, and not of all rows of the files.
    """

    strategy: str
    kernel: str | None
    counts_cells: bool = False


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of a comparison that were chosen by their content.

    `shown`: the differing rows to show, of `sample_differing_rows`. `of_sides`: the
    keys and the compared cells of a sample of all rows of each side.
    """

    shown: tuple[SampleRow, ...]
    of_sides: Sequence[pl.DataFrame]


def build_result(
    plan: ComparisonPlan,
    tables: Sequence[Table],
    partial_result: PartialResult,
    column_findings: Mapping[str, ColumnFindings],
    *,
    today: date,
    samples: Samples,
    blanks: Sequence[int],
    tallies: Sequence[Tallies],
    read_by: ReadBy,
    sought: Sought | None,
) -> Reconciliation:
    """The result: masked, with gates and suppressions evaluated and invariants checked.

    Pairs are (OLD, NEW).

    Args:
        plan: The alignment of the columns, and the options.
        tables: The tables that were read.
        partial_result: The findings of all buckets.
        column_findings: The findings of each differing column, by its name.
        today: A suppression whose last day is before it has expired.
        samples: The rows to show, and a sample of all rows.
        blanks: The number of rows with a blank in the key.
        tallies: What the rules of the key columns read.
        read_by: The strategy of the digests, and what read the files.
        sought: The keys of open breaks; None if no breaks are tracked.

    Raises InternalError if an invariant does not hold.
    """
    facts = [
        _describe_side(table, again, blank, aside)
        for table, again, blank, aside in zip(
            tables,
            partial_result.repeats,
            blanks,
            partial_result.shown.aside.counts,
            strict=True,
        )
    ]
    _refuse_empty_filter(facts)
    engine = EngineFacts(
        strategy=read_by.strategy,
        version=__version__,
        seconds=round(time.monotonic() - plan.started, 3),
        peak_rss_bytes=peak_rss_bytes(),
        kernel=read_by.kernel,
    )
    whole = _ResultBuilder(
        plan,
        tables,
        partial_result,
        column_findings,
        samples,
        tallies,
        sought,
        read_by.counts_cells,
    )
    return whole.assemble_result(facts, engine, today)


def sample_differing_rows(
    found: Difference, plan: ComparisonPlan
) -> tuple[SampleRow, ...]:
    """The rows to show, each with its differing cells; not masked."""
    pairs = sampling.choose_rows(
        found.cells, sampling.stable_hash(found.keys), plan.options.detail_limit
    )
    cells = sampling.cells_by_pair(found.cells, pairs, plan.columns)
    keys, names = found.keys[pairs].rows(), plan.layout.keys
    return tuple(
        [
            SampleRow(dict(zip(names, key, strict=True)), cells[pair])
            for pair, key in zip(pairs.to_list(), keys, strict=True)
        ]
    )


def reject_duplicate_keys(
    tables: Sequence[Table], repeats: Sequence[Repeats], options: Options
) -> None:
    """Raise DuplicateKeys for keys that repeat, where the policy is `fail`."""
    if options.on_duplicate_keys is OnDuplicateKeys.PAIR:
        return
    for name, table, again in zip(("OLD", "NEW"), tables, repeats, strict=True):
        if again.keys:
            raise DuplicateKeys(
                f"the key {', '.join(options.keys)} is not unique in {name}: "
                f"{format_count(again.keys, 'key', 'repeat')}, on {again.rows:,} rows",
                file=table.uri,
                why="--on-duplicate-keys is fail",
                help="add a column to the key, or --on-duplicate-keys pair",
            )


def _refuse_empty_filter(facts: Sequence[Side]) -> None:
    """Raise ConfigError if a filter leaves no row of a side that has some."""
    for name, side in zip(("OLD", "NEW"), facts, strict=True):
        if side.left_out and side.left_out == side.rows - side.rejected:
            raise ConfigError(
                f"the filter leaves no row of {name}",
                file=side.uri,
                why=f"{format_count(side.left_out, 'row', 'do')} not fulfil --where or"
                f" --{name.lower()}-where",
                help="check how the file writes the values of the filter",
            )


def _describe_side(
    table: Table, repeats: Repeats, blank_keys: int, aside: RowCounts
) -> Side:
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
        left_out=aside.left_out,
        partner_left_out=aside.partner_left_out,
        folded_away=aside.folded_away,
        unpairable=aside.unpairable,
    )


def _kind_order(counted: tuple[int, Kind, int]) -> tuple[int, int]:
    column, kind, _ = counted
    return column, KINDS.index(kind)


@dataclass(frozen=True, slots=True)
class _ResultBuilder:
    """Translates the findings back from column ids to the names of the user."""

    plan: ComparisonPlan
    tables: Sequence[Table]
    whole: PartialResult
    column_findings: Mapping[str, ColumnFindings]
    samples: Samples
    tallies: Sequence[Tallies]
    sought: Sought | None
    counts_cells: bool

    @property
    def found(self) -> Difference:
        """The differences in detail, up to the detail limit."""
        return self.whole.shown

    @property
    def layout(self) -> Alignment:
        """The pairs of columns, their rules, and the drift."""
        return self.plan.layout

    def assemble_result(
        self, facts: Sequence[Side], engine: EngineFacts, today: date
    ) -> Reconciliation:
        """The only place where a comparison becomes a result.

        Masks come before gates, because the text of a gate must not show a masked sum.
        """
        plan, whole, found = self.plan, self.whole, self.found
        limit = plan.options.detail_limit
        matched = whole.identical + whole.matched
        columns = self.columns(matched)
        counts = Counts(
            matched=matched,
            missing=whole.missing.rows,
            extra=whole.extra.rows,
            identical=matched - whole.mismatched,
            mismatched_rows=whole.mismatched,
            mismatched_cells=int(whole.kinds["len"].sum()),
            tolerated_cells=sum(found.tolerated),
            tolerated_keys=found.tolerated_keys,
        )
        evidence = self.evidence(columns, matched)
        evidence = replace(
            evidence,
            swapped=tuple(
                find_swapped(
                    [row.cells for row in self.samples.shown],
                    {column.name: column.mismatched for column in columns},
                    matched,
                    evidence.new_names,
                    plan.options.renames,
                )
            ),
        )
        shown = mask_values(
            ShownValues(
                sample=self.samples.shown,
                frames=self.frames(),
                findings=find_all(evidence),
            ),
            plan.masks,
        )
        measured = Measurements(
            old=facts[OLD],
            new=facts[NEW],
            counts=counts,
            by_column=columns,
            drift=self.layout.drift,
            totals=shown.findings[TOTALS],
            coverage=whole.coverage,
            narrow=whole.narrow,
        )
        return Reconciliation(
            keys=self.layout.keys,
            old=facts[OLD],
            new=facts[NEW],
            counts=counts,
            by_column=columns,
            rules=tuple(self.rules()),
            signatures=self.signatures(),
            drift=self.layout.drift,
            sample=shown.sample,
            engine=engine,
            frames=shown.frames,
            acceptance=self.judge(measured, today),
            detail_limit=limit,
            coverage=whole.coverage,
            findings=shown.findings,
            name_pairs=self.layout.by_form,
            new_names={ours: new for new, ours in self.layout.new_names.items()},
            ignored=self.layout.ignored,
            text_filters=describe_text_filters(self.layout),
            examined=frozenset(
                name
                for name, each in self.column_findings.items()
                if each.is_examined and name not in plan.masks.by_column
            ),
            applied=tuple(
                describe_applied(
                    self.layout, plan.options, facts, counts, found.aside.reasons
                )
            ),
            looked_up=looked_up(
                self.sought, whole.seen, found, plan, whole.differences
            ),
        )

    def judge(self, measured: Measurements, today: date) -> Acceptance:
        """The gates and suppressions, with the spellings that break tracking needs."""
        plan, sought = self.plan, self.sought
        judged = evaluate_gates(measured, plan.options, today)
        # With more differences no break is tracked (`Lookup`).
        if sought is None or self.whole.differences > sought.limit:
            return judged
        suppressed = list(judged.suppressed)
        for at, spelled in list_spellings(self.found, sought, plan).items():
            suppressed[at] = replace(suppressed[at], spelled=spelled)
        return replace(judged, suppressed=tuple(suppressed))

    def frames(self) -> Frames:
        """The differences in full, not yet masked."""
        plan, whole, found = self.plan, self.whole, self.found
        return Frames(
            cells=plan.cells(found),
            missing=plan.rows(OLD, found.missing),
            extra=plan.rows(NEW, found.extra),
            duplicates_old=plan.keyed(whole.repeats[OLD].worst),
            duplicates_new=plan.keyed(whole.repeats[NEW].worst),
            rejects=self.rejects(),
            unpairable=self.unpairable(),
        )

    def unpairable(self) -> pl.DataFrame:
        """The listed rows that could not be paired, masked, OLD first."""
        parts = [pl.DataFrame(schema=UNPAIRABLE)]
        for side, rows in enumerate(self.found.aside.unpairable):
            if rows is None:
                continue
            shown = mask_rows(
                self.plan.rows(side, rows.drop(REASON)).with_columns(rows[REASON]),
                self.plan.masks,
            )
            texts = [
                json.dumps(
                    {n: v for n, v in row.items() if n != REASON}, ensure_ascii=False
                )
                for row in shown.iter_rows(named=True)
            ]
            parts.append(
                pl.DataFrame(
                    {
                        "side": [SIDES[side]] * len(texts),
                        "reason": shown[REASON],
                        "row": texts,
                    },
                    schema=UNPAIRABLE,
                )
            )
        return pl.concat(parts)

    def rejects(self) -> pl.DataFrame:
        """The listed quarantined rows of both sides, in file order."""
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
        # In the order of `KINDS`: engines and buckets add them up in any order.
        kinds: dict[str, dict[str, int]] = {}
        names = self.plan.columns
        for column, kind, count in sorted(
            self.whole.kinds.iter_rows(), key=_kind_order
        ):
            kinds.setdefault(names[column], {})[kind] = count
        tolerated = dict(zip(names, self.found.tolerated, strict=True))
        result = []
        for name in self.layout.columns:
            mine, near = kinds.get(name, {}), tolerated[name]
            wrong = sum(mine.values())
            equal = matched - wrong - near
            result.append(Column(name, matched, equal, near, wrong, mine))
        return tuple(result)

    def rules(self) -> Iterator[RuleCount]:
        """What each rule did: of the key, then of each column in the order of OLD."""
        layout = self.layout
        user_names = self.plan.names[OLD].user_names
        ids = {name: internal for internal, name in user_names.items()}
        tallies = added([*self.tallies, self.cell_tallies])
        for column in (*layout.keys, *layout.columns):
            chain = layout.rules.get(column, NO_CHAIN)
            if not chain.steps:
                continue
            tally = tallies.get(ids[column], no_tally(chain.steps))
            # Columns that both sides read alike are read by rules only in cells whose
            # bytes differ, all others in every row (`Chain.is_reflexive`).
            of: Literal["keys", "cells", "values"] = "keys"
            if column not in layout.keys:
                of = "cells" if chain.is_reflexive else "values"
            for step, row in zip(chain.steps, tally.tolist(), strict=True):
                old, new = (Reads(*row[READ[side]]) for side in SIDES)
                yield RuleCount(
                    column=column,
                    rule=step.text,
                    of=of,
                    every=step.every,
                    old=old,
                    new=new,
                    made_equal=row[MADE_EQUAL],
                    side=step.side,
                    implied=step.implied,
                    codes=self.count_codes(ids[column], step, tallies),
                    source=describe_source(step),
                )

    @property
    def cell_tallies(self) -> Tallies:
        """What rules did in cells of pairs, without what is counted of all rows."""
        found, chains = dict(self.found.tallies), self.plan.names[OLD].chains
        for name, tally in found.items():
            if name in chains and not (self.counts_cells or chains[name].is_reflexive):
                # What was read in pairs is part of what was read in all rows, which
                # `tallies` has. The copy keeps the tallies of the difference.
                found[name] = tally.copy()
                found[name][:, :MADE_EQUAL] = 0
        return found

    def count_codes(
        self, internal: str, step: Step, tallies: Tallies
    ) -> CodeCounts | None:
        """What a code table said of the values of a side; None for another rule."""
        side = "new" if step.side == "new" else "old"
        name = code_tally(internal, side)
        if not step.is_typed or name not in tallies:
            return None
        # The rows of a side are matched, unmatched or set aside: those that were not
        # compared cell by cell are identical, so their codes are right.
        unmatched = self.whole.extra if side == "new" else self.whole.missing
        every, aside = tallies[name], tallies.get(aside_tally(internal, side), 0)
        matched = every - unmatched.codes.get(name, 0) - aside
        wrong = int(tallies.get(wrong_tally(internal, side), np.zeros(1)).sum())
        return CodeCounts(
            right=int(matched[:-1].sum()) - wrong,
            wrong=wrong,
            unlisted=int(matched[-1]),
            unused=int((every[:-1] == 0).sum()),
        )

    def evidence(self, columns: Sequence[Column], matched: int) -> Evidence:
        """What findings are derived from, with the best column that makes keys unique.

        That is the column that differs least, because it would be a part of the key. An
        amount or a date is chosen only if there is no other.
        """
        plan, whole, ids = self.plan, self.whole, self.plan.names[OLD]
        layout = plan.layout
        of_old, of_new = (each.keys for each in whole.repeats)
        of_sides = self.samples.of_sides
        able = {
            ids.user_names[internal]: any(
                is_measure(rows[internal]) for rows in of_sides
            )
            for internal in ids.columns
            if of_old + of_new
            and all(internal in each.telling for each in whole.repeats)
        }
        best = min(
            (column for column in columns if column.name in able),
            key=lambda column: (able[column.name], column.mismatched),
            default=None,
        )
        return Evidence(
            keys=layout.keys,
            columns=layout.columns,
            names=ids.user_names,
            key_names={internal: ids.user_names[internal] for internal in ids.keys},
            given={
                internal: layout.given[ids.user_names[internal]]
                for internal in ids.keys
                if ids.user_names[internal] in layout.given
            },
            chains=ids.chains,
            new_names={ours: theirs for theirs, ours in layout.new_names.items()},
            taken={*plan.files[OLD], *plan.files[NEW], *layout.new_names},
            derive=tuple(
                # A list on a command line grows by what is added, so a hint repeats
                # only what another place sets.
                () if "derive" in each.flags.typed else each.derive
                for each in map(plan.options.side, SIDES)
            ),
            renamed=layout.drift.renamed,
            agreements=layout.agreements,
            column_findings=self.column_findings,
            tolerated=self.found.sums,
            values=self.found.values,
            unmatched=(whole.missing, whole.extra),
            samples=self.samples.of_sides,
            repeated=(of_old, of_new),
            unique_column=best.name if best else None,
            unchanged=matched - best.mismatched if best else 0,
            matched=matched,
            splits=whole.splits,
        )

    def signatures(self) -> tuple[Signature, ...]:
        """Sets of columns that differ together, the most frequent first."""
        names, sets = self.plan.columns, self.whole.signatures.iter_rows()
        # Ties by content, because the order in which buckets were merged is arbitrary.
        ordered = sorted(sets, key=lambda row: (-row[1], row[0]))
        return tuple(
            Signature(tuple(names[at] for at in columns), rows)
            for columns, rows in ordered
        )
