"""Draft how two files are compared, from the files alone.

In this order: how each file is read; names and values that columns share; the key with
its rules; renamed columns by rows of equal keys; rules by the hints of a comparison of
all rows. Each later decision relies on those before it.

Decisions are made on rows at the same places of both files, which match if the systems
export in one order. The comparison of all rows then checks them. If these rows do not
match, or the key repeats in other rows, all values of both files are searched.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.api import compare_inputs
from recon_engine.compare.keys import Proposal, propose_keys
from recon_engine.config import (
    LIMITS,
    NO_KEY,
    Limits,
    OnSchemaDrift,
    Options,
)
from recon_engine.drafts.columns import (
    TableColumns,
    find_common_values,
    find_renames,
    sample_matching_rows,
)
from recon_engine.drafts.decision import Decision
from recon_engine.drafts.inputs import name_inputs, open_plain
from recon_engine.drafts.key_choice import (
    SAME_ORDER,
    count_key,
    find_close,
    find_places,
    is_key_of_most,
    keep_best,
    matches_as_many,
    may_identify,
)
from recon_engine.drafts.name_pairs import find_name_forms, name_cells, pair_by_name
from recon_engine.drafts.reading_choice import (
    correct_reading,
    describe_readings,
    name_columns,
    read_first_rows,
    read_options,
    with_reading,
    without_reading,
)
from recon_engine.drafts.spelling import (
    add_spelling,
    check_code_tables,
    keep_explaining,
    propose_spelling,
    rules_by_column,
)
from recon_engine.drafts.split_keys import find_split_key, list_parts
from recon_engine.drafts.spread_rows import read_spread_rows
from recon_engine.errors import ConfigError, EncodingError, MalformedInput
from recon_engine.formatting import format_share
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.scanning import start_validation
from recon_engine.inputs.tables import open_headers, open_tables
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.columns import CommonValues, Frames, Place, Sides
    from recon_engine.drafts.inputs import Input
    from recon_engine.drafts.reading import Reading
    from recon_engine.drafts.split_keys import SplitKey
    from recon_engine.model import Column, Hint
    from recon_engine.name_forms import NameForm
    from recon_engine.result import Reconciliation
    from recon_engine.runtime.memory import Budget


SAMPLE: Final = 20_000
MOST_TRIALS: Final = 4
NEVER: Final = 0.95
# More rows than these are not held in memory to look for a key in parts.
MOST_BYTES: Final = 1 << 28
# A key of three columns is looked for if there is none of fewer.
FEW_COLUMNS, MOST_COLUMNS = 2, 3


@dataclass(frozen=True, slots=True)
class Draft:
    """The settings of two files, with what led to them.

    `result`: of comparing all rows with them. `hints`: what else would explain
    differences, to be decided by a person. `never`: columns that agree in almost no
    row. `close_keys`: keys that match almost as many rows as the best, which is first.
    """

    options: Options
    decisions: tuple[Decision, ...]
    result: Reconciliation
    hints: tuple[Hint, ...]
    never: tuple[Column, ...]
    close_keys: tuple[Proposal, ...]


@within_error_boundary
def draft_settings(
    old: str,
    new: str,
    progress: Progress = SILENT,
    *,
    sample: int | None = SAMPLE,
    key: int = 0,
    counts_keys: bool = False,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
) -> Draft:
    """Decide how two files are compared, and compare them so.

    Args:
        old: The path or the s3:// URL of OLD.
        new: The path or the s3:// URL of NEW.
        progress: Reports the steps.
        sample: The number of rows and values that are searched for candidates; None
            is all. What is decided is checked on all rows in any case.
        key: Which of the `Draft.close_keys` is the key, from 0.
        counts_keys: Whether all of them are counted on all rows, for a person.
        budget: Memory.
        limits: Size limits of inputs.

    Raises the error of the decision that failed, which says what it would need.
    """
    return _Drafting(
        (old, new), progress, sample, key, counts_keys, budget, limits
    ).draft()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of both files from which decisions are made.

    `sources`: what is searched for a key, read by `options`; `sides`: their columns.
    `sample`: the number of rows of equal keys that is aimed at; None is all. `whole`:
    whether these are all rows of the files.
    """

    sources: tuple[object, object]
    sides: Sides
    options: Options
    sample: int | None
    whole: bool


@dataclass(frozen=True, slots=True)
class _Columns:
    """What was decided about columns.

    `options`: as for frames. `frames`: rows of equal keys, under the names of the
    files. `close`: the key and those close to it. `key_at`: its place among the
    decisions.
    """

    options: Options
    frames: Frames
    close: tuple[Proposal, ...]
    key: Proposal
    key_at: int


class _Drafting:
    """The decisions so far."""

    def __init__(
        self,
        uris: tuple[str, str],
        progress: Progress,
        sample: int | None,
        key: int,
        counts_keys: bool,  # noqa: FBT001
        budget: Budget | None,
        limits: Limits,
    ) -> None:
        self.uris = uris
        self.progress = progress
        self.sample = sample
        self.key = key
        self.counts_keys = counts_keys
        self.budget = budget
        self.limits = limits
        self.inputs: tuple[Input, ...] = ()
        self.decisions: list[Decision] = []

    @property
    def sources(self) -> tuple[str, str]:
        """The plain files."""
        old, new = (str(each.path) for each in self.inputs)
        return old, new

    def draft(self) -> Draft:
        """Make all decisions, in their order."""
        with ExitStack() as stack:
            self.inputs = tuple(
                open_plain(uri, side, self.limits, stack, self.progress)
                for side, uri in zip(SIDES, self.uris, strict=True)
            )
            with name_inputs(self.inputs):
                readings = name_columns([*map(read_first_rows, self.inputs, SIDES)])
                for _ in range(MOST_TRIALS):
                    try:
                        return self.draft_from(readings)
                    except (EncodingError, MalformedInput) as error:
                        readings = correct_reading(self.inputs, readings, error)
        raise ConfigError(
            "no reading of the files was found",
            why="each correction of a reading met another fault",
            help="name encoding and delimiter in recon.toml, and use recon diff",
        )

    def draft_from(self, readings: Sequence[Reading]) -> Draft:
        """The draft of files that are read so; raises the error of the first bad row.

        Rows at the same places of both files come first.
        """
        reading = read_options(readings)
        near = self.read_near(readings)
        found = None if near is None else self.decide_columns(near)
        if near is not None and found is not None:
            # A person chooses from keys that were counted on all rows.
            asks = self.counts_keys and (self.key > 0 or len(found.close) > 1)
            if near.whole or (_is_of_one_order(found) and not asks):
                options, result = self.decide_rules(found, reading)
                if near.whole or not (
                    result.old.duplicate_keys or result.new.duplicate_keys
                ):
                    return self.finish(readings, found, options, result)
        named = None if near is None else self.decide_named_key(near)
        if named is not None:
            options = with_reading(named.options, reading)
            result = self.compare(options)
            if is_key_of_most(result):
                drafted = add_spelling(options, result, self.compare)
                return self.finish(readings, named, *drafted)
        with ExitStack() as stack:
            sides = self.read_all(reading, stack)
            rows = _Rows(self.sources, sides, reading, self.sample, whole=False)
            found = self.decide_columns(rows)
        if found is None:
            raise ConfigError(
                "no key was found: no column has a value that is in both files",
                why="; ".join(
                    f"{each.about}: {each.choice}"
                    for each in describe_readings(self.inputs, readings)
                ),
                help="a key needs a column whose values are in both files; are these"
                " two files of one dataset?",
            )
        options, result = self.decide_rules(found, reading)
        return self.finish(readings, found, options, result)

    def read_near(self, readings: Sequence[Reading]) -> _Rows | None:
        """Rows at the same places of both files; None if some are not regular."""
        if self.sample is None:
            return None
        paths = [each.path for each in self.inputs]
        read = read_spread_rows(paths, readings, self.sample)
        if read is None:
            return None
        frames, whole = read
        named = []
        for frame, each in zip(frames, readings, strict=True):
            one = frame.clone()
            one.columns = list(each.columns)
            named.append(one)
        old, new = (
            TableColumns(Frame(side, frame), each.columns)
            for side, frame, each in zip(SIDES, named, readings, strict=True)
        )
        every = Options(keys=NO_KEY)
        return _Rows((named[0], named[1]), (old, new), every, None, whole)

    def decide(
        self,
        about: str,
        choice: str,
        evidence: str,
        alternatives: str = "",
        setting: str = "",
    ) -> None:
        decision = Decision(about, choice, evidence, alternatives, setting)
        self.decisions.append(decision)

    def read_all(self, options: Options, stack: ExitStack) -> Sides:
        """Read both files to their ends; raises the error of the first bad row."""
        with ExitStack() as own:
            sides = own.enter_context(
                open_headers(*self.sources, options, self.limits, self.progress)
            )
            scanning = start_validation(sides)
            old, new = own.enter_context(
                open_tables(*sides, options, self.progress, scanning)
            )
            stack.push(own.pop_all())
        return TableColumns(old, sides[0].columns), TableColumns(new, sides[1].columns)

    def decide_columns(self, rows: _Rows) -> _Columns | None:
        """The forms of names, the key with its rules, and renamed columns.

        None if no column has a value of the other file.
        """
        self.decisions.clear()
        sides = rows.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        options = replace(rows.options, match_names=forms)
        pairs, alone = pair_by_name(sides, forms)
        if forms:
            self.note_names(forms, sides, sum(pairs.values()))
        candidates = keep_best(find_common_values(*sides, pairs, rows.sample))
        found = self.propose(rows, options, sides, candidates, pairs)
        split = _find_split(sides, candidates)
        if split is not None:
            parted, derived = _derive(options, sides, split)
            parts = list_parts(split, len(sides[split.side].names))
            both, apart = pair_by_name(derived, forms)
            others = [
                derived[0].names[ours]
                for (ours, theirs), same in both.items()
                if same and (ours, theirs) not in {(p.old, p.new) for p in parts}
            ]
            proposed = self.propose(
                rows, replace(parted, ignore=tuple(others)), derived, parts, both
            )
            if proposed and (not found or matches_as_many(proposed[0], found[0])):
                found, candidates = proposed, parts
                options, sides, pairs, alone = parted, derived, both, apart
            else:
                split = None
        if not found:
            return None
        close = find_close(found)
        best = close[min(self.key, len(close) - 1)]
        if split is not None:
            self.note_split(split, sides)
        key_at = len(self.decisions)
        chains = self.decide_key(best, found, sides, candidates)
        places = find_places(best.columns, options, *sides, candidates)
        renames = {
            sides[0].names[ours]: sides[1].names[theirs]
            for ours, theirs in places
            if not pairs.get((ours, theirs), False)
        }
        for name, theirs in renames.items():
            same = "of the key: both columns have the same values"
            self.decide(name, f"{theirs} of NEW", same, setting="map")
        used = [{pair[side] for pair in places} for side in (0, 1)]
        if split is not None:
            used[split.side].add(split.source)
        unpaired = (
            [at for at in alone[0] if at not in used[0]],
            [at for at in alone[1] if at not in used[1]],
        )
        cells = sample_matching_rows(sides, places, chains, rows.sample)
        agreeing = (
            find_renames(sides, cells, places, chains, unpaired)
            if all(unpaired)
            else {}
        )
        for (ours, theirs), (alike, compared) in agreeing.items():
            renames[ours] = theirs
            share = format_share(alike, compared, "sampled row", "agree")
            self.decide(ours, f"{theirs} of NEW", share, setting="map")
        drift = self.note_drift(*sides, unpaired, renames)
        rules = {
            n: chain for n, chain in zip(best.columns, chains, strict=True) if chain
        }
        options = replace(
            without_reading(options),
            keys=best.columns,
            renames=renames,
            rules=rules,
            on_schema_drift=drift,
        )
        frames = name_cells(cells, sides)
        return _Columns(options, frames, tuple(close), best, key_at)

    def decide_named_key(self, near: _Rows) -> _Columns | None:
        """The one column that is unique on both sides, if all columns have one name.

        Files of another order need no search then: a comparison shows whether it is a
        key.
        """
        sides = near.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        pairs, alone = pair_by_name(sides, forms)
        old, new = (side.head() for side in sides)
        found = [
            sides[0].names[ours]
            for ours, theirs in pairs
            if may_identify(old[f"c{ours}"]) and may_identify(new[f"c{theirs}"])
        ]
        if any(alone) or len(found) != 1:
            return None
        self.decisions.clear()
        if forms:
            self.note_names(forms, sides, len(pairs))
        key = Proposal((found[0],), 0, 0, 0, 0.0, 0, 0)
        self.decide("key", found[0], "", setting="keys")
        options = replace(near.options, match_names=forms, keys=key.columns)
        frames = name_cells((old, new), sides)
        return _Columns(options, frames, (key,), key, len(self.decisions) - 1)

    def note_names(
        self, forms: tuple[NameForm, ...], sides: Sides, common: int
    ) -> None:
        """The decision that names are equal in a form."""
        names = f"{common:,} of {len(sides[0].names):,} columns then have one name"
        self.decide("names", ",".join(forms), names, setting="match_names")

    def propose(
        self,
        rows: _Rows,
        options: Options,
        sides: Sides,
        candidates: Sequence[CommonValues],
        pairs: Mapping[Place, bool],
    ) -> list[Proposal]:
        """Keys, best first; those that match more rows are better."""
        old, new = sides
        renames = {
            old.names[each.old]: new.names[each.new]
            for each in candidates
            if not pairs[each.old, each.new]
        }
        if not renames and not any(pairs.values()):
            return []
        rules = {old.names[c.old]: c.rules for c in candidates if c.rules}
        found: list[Proposal] = []
        for most in (FEW_COLUMNS, MOST_COLUMNS):
            found = propose_keys(
                *rows.sources,
                replace(options, renames=renames, rules=rules),
                self.progress,
                most_columns=most,
                # Files are read for each set of columns, rows in memory are not.
                exact=rows.sample is None,
                budget=self.budget,
                limits=self.limits,
            )
            if any(each.is_key for each in found):
                break
        return found

    def note_split(self, split: SplitKey, sides: Sides) -> None:
        """The decision that one side derives its key."""
        names = join_names(sides[1 - split.side].names[at] for at in split.columns)
        self.decide(
            f"{SIDES[split.side].upper()} key parts",
            split.text,
            f"{split.matched:,} sampled rows then have the {names} of"
            f" {SIDES[1 - split.side].upper()}",
            setting="derive",
        )

    def decide_key(
        self,
        best: Proposal,
        found: Sequence[Proposal],
        sides: Sides,
        candidates: Sequence[CommonValues],
    ) -> list[tuple[str, ...]]:
        """The rules of each key column."""
        rules = {sides[0].names[c.old]: c.rules for c in candidates if c.rules}
        chains = [rules.get(name, ()) for name in best.columns]
        spelled = [
            f"{name} under {', '.join(chain)}"
            for name, chain in zip(best.columns, chains, strict=True)
            if chain
        ]
        others = (
            f"{' with '.join(each.columns)} {each.overlap:.1%}"
            for each in found
            if each is not best
        )
        self.decide(
            "key",
            ", ".join(best.columns),
            f"({'; '.join(spelled)})" if spelled else "",
            ", ".join([*others][:3]),
            "keys",
        )
        return chains

    def note_drift(
        self,
        old: TableColumns,
        new: TableColumns,
        unpaired: tuple[Sequence[int], Sequence[int]],
        renames: Mapping[str, str],
    ) -> OnSchemaDrift:
        """Whether columns are left without a partner, which are then not compared."""
        only_old = [
            n for n in (old.names[at] for at in unpaired[0]) if n not in renames
        ]
        taken = set(renames.values())
        only_new = [n for n in (new.names[at] for at in unpaired[1]) if n not in taken]
        for side, names in (("OLD", only_old), ("NEW", only_new)):
            if names:
                self.decide(
                    f"only in {side}",
                    "not compared",
                    f"no column of the other file agrees: {join_names(names, 5)}",
                    "--map OLD=NEW",
                    "on_schema_drift",
                )
        return OnSchemaDrift.COMPARE if only_old or only_new else OnSchemaDrift.REFUSE

    def decide_rules(
        self, found: _Columns, reading: Options
    ) -> tuple[Options, Reconciliation]:
        """Rules of spelling where they explain nearly all cells; the result then.

        The rows of the sample propose them, all rows check them.
        """

        def compare_sample(options: Options) -> Reconciliation:
            return compare_inputs(*found.frames, options, budget=self.budget)

        sampled = compare_sample(found.options)
        likely = propose_spelling(found.options, sampled, compare_sample)
        options = with_reading(likely, reading)
        result = self.compare(options)
        kept = keep_explaining(options, result)
        if kept != options:
            options, result = kept, self.compare(kept)
        return add_spelling(options, result, self.compare)

    def finish(
        self,
        readings: Sequence[Reading],
        found: _Columns,
        options: Options,
        result: Reconciliation,
    ) -> Draft:
        """The draft, with evidence that was counted on all rows."""
        at = found.key_at
        key, counted = self.decisions[at], count_key(found.key, result)
        reason = f"{counted.reason} {key.evidence}".strip()
        self.decisions[at] = replace(key, evidence=reason)
        by_name = {each.name: each for each in result.by_column}
        for name, choice in rules_by_column(options).items():
            if name not in options.keys:
                column = by_name[name]
                total = column.tolerated + column.mismatched
                share = format_share(column.tolerated, total, "differing cell")
                evidence = f"explains {share}, on all rows"
                self.decide(name, choice, evidence, "compare as text", "rules")
        never = tuple(
            column
            for column in result.differing
            if column.mismatched >= NEVER * column.compared
        )
        for column in never:
            share = format_share(
                column.mismatched, column.compared, "matched row", "differ"
            )
            self.decide(column.name, "compared", share, "ignore it")
        counts = result.old.rows, result.new.rows
        return Draft(
            options,
            (*describe_readings(self.inputs, readings, counts), *self.decisions),
            result,
            check_code_tables(options, result, self.compare),
            never,
            found.close,
        )

    def compare(self, options: Options) -> Reconciliation:
        return compare_inputs(
            *self.sources,
            options,
            self.progress,
            budget=self.budget,
            limits=self.limits,
            sha256=False,
        )


def _is_of_one_order(found: _Columns) -> bool:
    """Whether rows at the same places of both files have the same keys."""
    return found.key.is_key and found.key.overlap >= SAME_ORDER


def _find_split(sides: Sides, candidates: Sequence[CommonValues]) -> SplitKey | None:
    """The key that one side has in one column and the other in several.

    Of large files, it is looked for only in rows at the same places of both.
    """
    size = sum(side.table.rows * side.table.row_bytes for side in sides)
    if size > MOST_BYTES:
        return None
    old, new = (side.read_rows() for side in sides)
    paired = {each.old for each in candidates}, {each.new for each in candidates}
    return find_split_key(sides, (old, new), paired)


def _derive(options: Options, sides: Sides, split: SplitKey) -> tuple[Options, Sides]:
    """Options and columns with the parts of a key."""
    at = split.side
    names = [sides[1 - at].names[place] for place in split.columns]
    derived = list(sides)
    derived[at] = sides[at].with_derived(names, split.text)
    own = replace(options.side(SIDES[at]), derive=(split.text,))
    changed = replace(options, old=own) if at == 0 else replace(options, new=own)
    return changed, (derived[0], derived[1])
