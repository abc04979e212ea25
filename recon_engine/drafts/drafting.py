"""The decisions of a draft, of two files that are being opened.

Decisions are made on rows at the same places of both files, which match if the systems
export in one order. The comparison of all rows then checks them. If these rows do not
match, rows that have the same values of a column are taken from all rows. If there are
none, or the key repeats in other rows, all values of both files are searched.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from recon_engine.api import compare_inputs
from recon_engine.compare.whole_rows import compare_whole_rows
from recon_engine.config import NO_KEY, Limits, Options
from recon_engine.drafts.column_choice import (
    OF_KEY,
    ColumnChoice,
    ColumnDecisions,
    RowsToSearch,
)
from recon_engine.drafts.columns import TableColumns
from recon_engine.drafts.decision import Draft
from recon_engine.drafts.key_choice import SAME_ORDER, count_key, is_key_of_most
from recon_engine.drafts.layout_pairs import adopt_names
from recon_engine.drafts.reading import refuse_layout
from recon_engine.drafts.reading_choice import (
    describe_readings,
    find_trailer_counts,
    read_options,
    with_reading,
    with_trailer_counts,
)
from recon_engine.drafts.spelling import (
    add_spelling,
    check_code_tables,
    keep_explaining,
    most_rows_differ,
    propose_by_sample,
    rules_by_column,
)
from recon_engine.drafts.spread_rows import read_spread_rows
from recon_engine.drafts.value_borders import split_columns
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_count, format_share
from recon_engine.inputs.frames import Frame
from recon_engine.model import SIDES
from recon_engine.rules.assembly import ALL_COLUMNS


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from recon_engine.drafts.columns import Frames, Sides
    from recon_engine.drafts.inputs import Input
    from recon_engine.drafts.opened_files import OpenedFiles
    from recon_engine.drafts.reading import Reading
    from recon_engine.result import Reconciliation
    from recon_engine.runtime.memory import Budget
    from recon_engine.runtime.progress import Progress


WHY_PADDING: Final = "the padding of a fixed width is no part of a value"
# Of the matched rows: a column in which so many differ agrees in almost none.
NEVER: Final = 0.95


class Drafting:
    """The decisions so far; the arguments are those of `draft_settings`.

    `opened`: both inputs, whose opening has begun.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        opened: OpenedFiles,
        progress: Progress,
        *,
        sample: int | None,
        key: int,
        counts_keys: bool,
        renames: Mapping[str, str],
        budget: Budget | None,
        limits: Limits,
    ) -> None:
        self.inputs = inputs
        self.opened = opened
        self.progress = progress
        self.sample = sample
        self.key = key
        self.counts_keys = counts_keys
        self.budget = budget
        self.limits = limits
        self.columns = ColumnChoice(progress, key, budget, limits, renames)
        self.most_rows_differ = False

    @property
    def sources(self) -> tuple[str, str]:
        """The plain files."""
        old, new = (str(each.path) for each in self.inputs)
        return old, new

    def draft_from(self, readings: Sequence[Reading]) -> Draft:
        """The draft of files that are read so; raises the error of the first bad row.

        Both are being opened so. Rows at the same places of both files come first.
        """
        near = self.read_near(readings)
        if near is not None:
            split = split_columns(readings, near.sides)
            if split != [*readings]:
                return self.draft_anew(split)
        for source, side, each in zip(self.inputs, SIDES, readings, strict=True):
            refuse_layout(each, source.uri, side)
        found = None if near is None else self.choose_near(readings, near)
        named = self.name_by_values(readings, found)
        if named != [*readings]:
            return self.draft_anew(named)
        drafted = near and (
            self.draft_by_rows(readings, near, found)
            or self.draft_by_name(readings, near)
        )
        if drafted is None:
            alike = self.read_alike(readings)
            found = None if alike is None else self.columns.choose(alike)
            drafted = alike and self.draft_by_rows(readings, alike, found)
        return drafted or self.draft_from_all(readings)

    def draft_anew(self, readings: Sequence[Reading]) -> Draft:
        """The draft of files that turned out to be read otherwise."""
        self.opened.begin_as(self.inputs, readings)
        return self.draft_from(readings)

    def choose_near(
        self, readings: Sequence[Reading], near: RowsToSearch
    ) -> ColumnDecisions | None:
        """What rows at the same places show; None if they are of two orders.

        Columns of a fixed width get their names by values, whatever the order is.
        """
        fixed = any(each.layout is not None for each in readings)
        if not (near.whole or fixed) and self.columns.have_other_rows(near):
            return None
        return self.columns.choose(near)

    def draft_by_rows(
        self,
        readings: Sequence[Reading],
        rows: RowsToSearch,
        found: ColumnDecisions | None,
    ) -> Draft | None:
        """The draft by some rows; None if these do not have the keys of most rows.

        `found`: what these rows show of the columns.
        """
        if found is None:
            return None
        # A person chooses from keys that were counted on all rows.
        asks = self.counts_keys and (self.key > 0 or len(found.close) > 1)
        if not rows.whole and (asks or not _is_of_one_order(found)):
            return None
        options, result = self.decide_rules(found, read_options(readings))
        repeats = result.old.duplicate_keys or result.new.duplicate_keys
        # A key that is unique in some rows may repeat in others: then all values are
        # searched.
        if repeats and not rows.whole:
            return None
        return self.finish(readings, found, options, result)

    def draft_by_name(
        self, readings: Sequence[Reading], near: RowsToSearch
    ) -> Draft | None:
        """The draft by the one column that may be the key; None if it is none."""
        alone = self.columns.choose_named(near)
        if alone is None:
            return None
        options = with_reading(alone.options, read_options(readings))
        result = self.compare(options)
        if not is_key_of_most(result):
            return None
        return self.finish(
            readings, alone, *add_spelling(options, result, self.compare)
        )

    def read_alike(self, readings: Sequence[Reading]) -> RowsToSearch | None:
        """Rows of both files with the same values of a column, from all rows.

        None if no column has them, or all rows are searched.
        """
        if self.sample is None:
            return None
        reading, sides = read_options(readings), self.read_all()
        rows = RowsToSearch(self.sources, sides, reading, self.sample, whole=False)
        found = self.columns.sample_alike(rows)
        return found and _hold_rows(found, readings, whole=False)

    def draft_from_all(self, readings: Sequence[Reading]) -> Draft:
        """The draft by all values of both files; ConfigError if none is in both."""
        reading, sides = read_options(readings), self.read_all()
        rows = RowsToSearch(self.sources, sides, reading, self.sample, whole=False)
        found = self.columns.choose(rows)
        if found is None:
            raise ConfigError(
                "no key was found: no set of columns that was tried is unique on both"
                " sides and has a value that is in both files",
                why="; ".join(
                    f"{each.about}: {each.choice}"
                    for each in describe_readings(self.inputs, readings)
                ),
                help="a key needs a column whose values are in both files; are these"
                " two files of one dataset?",
            )
        named = self.name_by_values(readings, found)
        if named != [*readings]:
            return self.draft_anew(named)
        options, result = self.decide_rules(found, reading)
        return self.finish(readings, found, options, result)

    def name_by_values(
        self, readings: Sequence[Reading], found: ColumnDecisions | None
    ) -> list[Reading]:
        """The readings with names for columns of a fixed width, by their values."""
        if found is None:
            return [*readings]
        agreeing = {
            each.about: each.evidence
            for each in self.columns.decisions
            if each.setting == "map"
        }
        return adopt_names(readings, found.options.renames, agreeing)

    def read_near(self, readings: Sequence[Reading]) -> RowsToSearch | None:
        """Rows at the same places of both files; None if some are not regular."""
        if self.sample is None:
            return None
        paths = [each.path for each in self.inputs]
        read = read_spread_rows(paths, readings, self.sample)
        if read is None:
            return None
        return _hold_rows(read[0], readings, whole=read[1])

    def read_all(self) -> Sides:
        """Read both files to their ends; raises the error of the first bad row."""
        old, new = (
            TableColumns(table, header.columns)
            for table, header in zip(
                self.opened.read(), self.opened.both(), strict=True
            )
        )
        return old, new

    def decide_rules(
        self, found: ColumnDecisions, reading: Options
    ) -> tuple[Options, Reconciliation]:
        """Rules of spelling where they explain nearly all cells; the result then.

        The rows of the sample propose them, all rows check them.
        """
        paired = found.sample.pair_rows()
        likely = propose_by_sample(
            found.options, found.sample, paired, self.compare_frames
        )
        self.most_rows_differ = most_rows_differ(likely, paired)
        options = with_reading(likely, reading)
        result = self.compare(options)
        kept = keep_explaining(options, result)
        # Compared once more, so that all counts of the draft are those of its settings.
        if kept != options:
            options, result = kept, self.compare(kept)
        return add_spelling(options, result, self.compare)

    def finish(
        self,
        readings: Sequence[Reading],
        found: ColumnDecisions,
        options: Options,
        result: Reconciliation,
    ) -> Draft:
        """The draft, with evidence that was counted on all rows."""
        at = found.key_at
        key, counted = self.columns.decisions[at], count_key(found.key, result)
        reason = f"{counted.reason} {key.evidence}".strip()
        self.columns.decisions[at] = replace(key, evidence=reason)
        self.check_given(options)
        matched = format_share(result.counts.matched, result.old.rows, "row")
        self.columns.decisions[:] = [
            replace(each, evidence=f"{OF_KEY}; {matched} of OLD match by the key")
            if each.evidence == OF_KEY
            else each
            for each in self.columns.decisions
        ]
        by_name = {each.name: each for each in result.by_column}
        for name, choice in rules_by_column(options).items():
            if name == ALL_COLUMNS:
                self.columns.decide(name, choice, WHY_PADDING, setting="rules")
            # A key column is not compared, so it has no count of cells.
            elif name in options.keys:
                equal = format_count(
                    result.counts.tolerated_keys, "key", "are equal by a rule only"
                )
                self.columns.decide(name, choice, equal, setting="rules")
            else:
                column = by_name[name]
                # Cells of equal texts need no rule: its share is of the others.
                total = column.tolerated + column.mismatched
                share = format_share(column.tolerated, total, "differing cell")
                evidence = f"explains {share}, on all rows"
                self.columns.decide(name, choice, evidence, "compare as text", "rules")
        never = tuple(
            column
            for column in result.differing
            if column.mismatched >= NEVER * column.compared
        )
        hints = check_code_tables(options, result, self.compare)
        proposed = {hint.column: hint.code_file for hint in hints if hint.flag}
        for column in never:
            share = format_share(
                column.mismatched, column.compared, "matched row", "differ"
            )
            if column.name in proposed:
                file = proposed[column.name]
                share += "; " + (
                    f"a code table is proposed in {file}: check it"
                    if file
                    else "a rule is proposed: check it"
                )
            self.columns.decide(column.name, "not decided", share, "ignore it")
        counts = result.old.rows, result.new.rows
        trailer_counts = [
            ()
            if isinstance(header, Frame)
            else find_trailer_counts(header.trailers, rows)
            for header, rows in zip(self.opened.both(), counts, strict=True)
        ]
        return Draft(
            with_trailer_counts(options, trailer_counts),
            (
                *describe_readings(self.inputs, readings, counts, trailer_counts),
                *self.columns.decisions,
            ),
            result,
            hints,
            never,
            found.close,
        )

    def check_given(self, options: Options) -> None:
        """Refuse a given pair of columns that the files do not have."""
        for name, theirs in self.columns.given.items():
            if options.renames.get(name) != theirs:
                raise ConfigError(
                    f"--map {name}={theirs}: the files do not have both columns",
                    help="OLD=NEW is a column of OLD and a column of NEW; the decisions"
                    " OLD header and NEW header of recon init name them",
                )

    def compare_frames(self, frames: Frames, options: Options) -> Reconciliation:
        # Of a sample only hints are used, no rows.
        alone = replace(options, detail_limit=1)
        return compare_inputs(*frames, alone, budget=self.budget)

    def compare(self, options: Options) -> Reconciliation:
        sides = self.opened.both()
        # Digests of rows decide little if most rows differ in their bytes
        # (docs/design.md).
        tables = self.opened.read_natively() if self.most_rows_differ else None
        if tables is not None:
            today = datetime.now(UTC).date()
            found = compare_whole_rows(
                *sides, options, tables, today, self.progress, budget=self.budget
            )
            if found is not None:
                return found
        # It would take a core from the comparison, which reads both anew.
        self.opened.stop_reading()
        return compare_inputs(
            *sides,
            options,
            self.progress,
            budget=self.budget,
            limits=self.limits,
            sha256=False,
        )


def _hold_rows(
    frames: Sequence[pl.DataFrame], readings: Sequence[Reading], *, whole: bool
) -> RowsToSearch:
    """Rows of both files with columns `c0`…, under the names of the files."""
    named = []
    for frame, each in zip(frames, readings, strict=True):
        # A clone shares the cells, and has names of its own.
        one = frame.clone()
        one.columns = list(each.columns)
        named.append(one)
    old, new = (
        TableColumns(Frame(side, frame), each.columns)
        for side, frame, each in zip(SIDES, named, readings, strict=True)
    )
    # Of the reading, only the rules for padding apply to rows in memory.
    every = Options(keys=NO_KEY, rules=read_options(readings).rules)
    return RowsToSearch((named[0], named[1]), (old, new), every, None, whole)


def _is_of_one_order(found: ColumnDecisions) -> bool:
    """Whether rows at the same places of both files have the same keys."""
    return found.key.is_key and found.key.overlap >= SAME_ORDER
