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

from recon_engine.analysis.measures import is_measure
from recon_engine.api import compare_inputs
from recon_engine.compare.keys import Proposal, propose_keys
from recon_engine.config import (
    DEFAULT_DELIMITER,
    LIMITS,
    NO_KEY,
    UTF_8,
    Limits,
    OnSchemaDrift,
    Options,
    Quote,
    SideOptions,
)
from recon_engine.drafts.columns import (
    TableColumns,
    find_common_values,
    find_renames,
    sample_matching_rows,
)
from recon_engine.drafts.decision import Decision
from recon_engine.drafts.inputs import name_inputs, open_plain
from recon_engine.drafts.reading import (
    Reading,
    find_encoding_at,
    find_reading,
    read_last_field,
    read_table,
    show_delimiter,
)
from recon_engine.drafts.spelling import (
    add_spelling,
    keep_explaining,
    propose_spelling,
    rules_by_column,
)
from recon_engine.drafts.split_keys import find_split_key, list_parts
from recon_engine.drafts.spread_rows import read_spread_rows
from recon_engine.errors import ConfigError, EncodingError, MalformedInput, ReconError
from recon_engine.formatting import format_count, format_share
from recon_engine.inputs.frames import Frame
from recon_engine.inputs.scanning import start_validation
from recon_engine.inputs.tables import open_headers, open_tables
from recon_engine.model import SIDES
from recon_engine.name_forms import NameForm, fold_name
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from recon_engine.drafts.columns import CommonValues, Place
    from recon_engine.drafts.inputs import Input
    from recon_engine.drafts.split_keys import SplitKey
    from recon_engine.model import Column, Hint
    from recon_engine.result import Reconciliation
    from recon_engine.runtime.memory import Budget

    Sides = tuple[TableColumns, TableColumns]
    Frames = tuple[pl.DataFrame, pl.DataFrame]


SAMPLE: Final = 20_000
# Of the rows that match: two keys closer than this are for a person to choose from.
CLOSE: Final = 0.05
# Rows at the same places of both files: with fewer matches their order is another.
SAME_ORDER: Final = 0.5
MOST_TRIALS: Final = 4
FORMS: Final = ((), (NameForm.TRIM,), (NameForm.CASEFOLD,), tuple(NameForm))
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
                readings = _name_columns([*map(_find_reading, self.inputs, SIDES)])
                for _ in range(MOST_TRIALS):
                    try:
                        return self.draft_from(readings)
                    except (EncodingError, MalformedInput) as error:
                        readings = self.correct_reading(readings, error)
        raise ConfigError(
            "no reading of the files was found",
            why="each correction of a reading met another fault",
            help="name encoding and delimiter in recon.toml, and use recon diff",
        )

    def draft_from(self, readings: Sequence[Reading]) -> Draft:
        """The draft of files that are read so; raises the error of the first bad row.

        Rows at the same places of both files come first.
        """
        reading = _read_options(readings)
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
            options = _with_reading(named.options, reading)
            result = self.compare(options)
            if _is_key_of_most(result):
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
                    for each in self.describe_readings(readings)
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

    def correct_reading(
        self, readings: Sequence[Reading], error: ReconError
    ) -> list[Reading]:
        """The readings without the fault of some row; raises its error otherwise."""
        at = self.sources.index(error.file) if error.file in self.sources else None
        fixed = list(readings)
        if at is not None and isinstance(error, EncodingError):
            path = self.inputs[at].path
            encoding = find_encoding_at(path, error.byte_offset or 0)
            if encoding not in {None, readings[at].encoding}:
                fixed[at] = replace(
                    readings[at],
                    encoding=encoding or readings[at].encoding,
                    evidence=f"not UTF-8 at byte {error.byte_offset:,}",
                )
                return fixed
        mark = None
        if at is not None:
            it = readings[at]
            mark = read_last_field(self.inputs[at].path, it.delimiter, it.encoding)
        if at is not None and mark is not None:
            fixed[at] = replace(
                readings[at], frame=replace(readings[at].frame, trailers=(mark,))
            )
            if fixed[at] != readings[at]:
                return fixed
        reading = readings[at or 0]
        error.why = (
            f"{SIDES[at or 0].upper()} was read with delimiter"
            f" {show_delimiter(reading.delimiter)} as {reading.encoding}"
            + (f"; {error.why}" if error.why else "")
        )
        raise error

    def describe_readings(
        self, readings: Sequence[Reading], rows: tuple[int, int] | None = None
    ) -> list[Decision]:
        """The decisions about the files; `rows`: their numbers of rows, if known."""
        found = []
        for at, (side, reading) in enumerate(zip(SIDES, readings, strict=True)):
            name, frame, kind = side.upper(), reading.frame, self.inputs[at].compression
            columns = format_count(len(reading.columns), "column")
            if rows is not None:
                columns += f" in all {format_count(rows[at], 'row')}"
            if self.inputs[at].is_table:
                found.append(Decision(f"{name} format", str(kind), columns))
                continue
            found += [
                Decision(
                    f"{name} delimiter",
                    show_delimiter(reading.delimiter),
                    columns,
                    ", ".join(reading.others),
                    "delimiter",
                ),
                Decision(
                    f"{name} encoding",
                    reading.encoding,
                    reading.evidence,
                    setting="encoding",
                ),
                Decision(
                    f"{name} header",
                    f"line {frame.skip_lines + 1}" if reading.has_header else "none",
                    f"names: {join_names(reading.columns, 3)}"
                    if reading.has_header
                    else "the first record has the form of a row",
                ),
            ]
            if frame.excel_text or frame.quote is Quote.NONE:
                choice = '="…" is text' if frame.excel_text else "are characters"
                evidence = "the first rows are regular only so"
                found.append(Decision(f"{name} quotes", choice, evidence))
            for trailer in frame.trailers:
                about = f"{name} trailer"
                found.append(Decision(about, trailer, "the last record is no row"))
            if frame.trailing_delimiter:
                about = f"{name} line end"
                found.append(Decision(about, "a delimiter", "every line ends so"))
        return found

    def decide_columns(self, rows: _Rows) -> _Columns | None:
        """The forms of names, the key with its rules, and renamed columns.

        None if no column has a value of the other file.
        """
        self.decisions.clear()
        sides = rows.sides
        forms = _find_name_forms(sides[0].names, sides[1].names)
        options = replace(rows.options, match_names=forms)
        pairs, alone = _pair_by_name(sides, forms)
        if forms:
            self.note_names(forms, sides, sum(pairs.values()))
        candidates = _keep_best(find_common_values(*sides, pairs, rows.sample))
        found = self.propose(rows, options, sides, candidates, pairs)
        split = _find_split(sides, candidates)
        if split is not None:
            parted, derived = _derive(options, sides, split)
            parts = list_parts(split, len(sides[split.side].names))
            both, apart = _pair_by_name(derived, forms)
            others = [
                derived[0].names[ours]
                for (ours, theirs), same in both.items()
                if same and (ours, theirs) not in {(p.old, p.new) for p in parts}
            ]
            proposed = self.propose(
                rows, replace(parted, ignore=tuple(others)), derived, parts, both
            )
            if proposed and (not found or _matches_as_many(proposed[0], found[0])):
                found, candidates = proposed, parts
                options, sides, pairs, alone = parted, derived, both, apart
            else:
                split = None
        if not found:
            return None
        close = _find_close(found)
        best = close[min(self.key, len(close) - 1)]
        if split is not None:
            self.note_split(split, sides)
        key_at = len(self.decisions)
        chains = self.decide_key(best, found, sides, candidates)
        places = _places_of(best.columns, options, *sides, candidates)
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
            _without_reading(options),
            keys=best.columns,
            renames=renames,
            rules=rules,
            on_schema_drift=drift,
        )
        frames = _name_cells(cells, sides)
        return _Columns(options, frames, tuple(close), best, key_at)

    def decide_named_key(self, near: _Rows) -> _Columns | None:
        """The one column that is unique on both sides, if all columns have one name.

        Files of another order need no search then: a comparison shows whether it is a
        key.
        """
        sides = near.sides
        forms = _find_name_forms(sides[0].names, sides[1].names)
        pairs, alone = _pair_by_name(sides, forms)
        old, new = (side.head() for side in sides)
        found = [
            sides[0].names[ours]
            for ours, theirs in pairs
            if _may_identify(old[f"c{ours}"]) and _may_identify(new[f"c{theirs}"])
        ]
        if any(alone) or len(found) != 1:
            return None
        self.decisions.clear()
        if forms:
            self.note_names(forms, sides, len(pairs))
        key = Proposal((found[0],), 0, 0, 0, 0.0, 0, 0)
        self.decide("key", found[0], "", setting="keys")
        options = replace(near.options, match_names=forms, keys=key.columns)
        frames = _name_cells((old, new), sides)
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
        options = _with_reading(likely, reading)
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
        key, counted = self.decisions[at], _count_key(found.key, result)
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
            (*self.describe_readings(readings, counts), *self.decisions),
            result,
            result.hints,
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


def _find_reading(source: Input, side: str) -> Reading:
    if source.is_table:
        return read_table(source.path)
    return find_reading(source.path, source.uri, side)


def _is_of_one_order(found: _Columns) -> bool:
    """Whether rows at the same places of both files have the same keys."""
    return found.key.is_key and found.key.overlap >= SAME_ORDER


def _is_key_of_most(result: Reconciliation) -> bool:
    """Whether the key of a comparison repeats nowhere and matches most rows."""
    sides = result.old, result.new
    most = max(side.rows for side in sides)
    repeats = any(side.duplicate_keys for side in sides)
    return not repeats and result.counts.matched >= SAME_ORDER * most


def _may_identify(values: pl.Series) -> bool:
    """Whether a column identifies rows: no value repeats, is blank, or is a measure."""
    unique = values.n_unique() == len(values)
    return unique and not (values == "").any() and not is_measure(values)


def _count_key(key: Proposal, result: Reconciliation) -> Proposal:
    """A key with its counts on all rows; as it is if it repeats."""
    if not key.is_key or result.old.duplicate_keys or result.new.duplicate_keys:
        return key
    matched = result.counts.matched
    most = max(result.old.rows, result.new.rows, 1)
    return replace(key, matched=matched, overlap=matched / most)


def _matches_as_many(split: Proposal, other: Proposal) -> bool:
    """Whether a derived key is as good: its columns are compared only by it."""
    return split.is_key and (not other.is_key or split.overlap >= other.overlap)


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


def _without_reading(options: Options) -> Options:
    """Options for the same rows as frames."""
    old, new = (
        SideOptions(rules=side.rules, derive=side.derive)
        for side in (options.old, options.new)
    )
    return replace(
        options, delimiter=DEFAULT_DELIMITER, encodings=UTF_8, old=old, new=new
    )


def _with_reading(options: Options, reading: Options) -> Options:
    """Options of frames for the files that are read by `reading`."""
    old, new = (
        replace(read, rules=own.rules, derive=own.derive)
        for read, own in ((reading.old, options.old), (reading.new, options.new))
    )
    return replace(
        options,
        delimiter=reading.delimiter,
        encodings=reading.encodings,
        old=old,
        new=new,
    )


def _name_cells(cells: Frames, sides: Sides) -> Frames:
    """Rows under the names of their file, without derived columns."""
    named = []
    for rows, side in zip(cells, sides, strict=True):
        count = len(side.table.columns)
        own = rows.select(rows.columns[:count])
        own.columns = list(side.names[:count])
        named.append(own)
    return named[0], named[1]


def _name_columns(readings: Sequence[Reading]) -> list[Reading]:
    """The names of the other file for one without a header and as many columns."""
    old, new = readings
    if old.has_header == new.has_header or len(old.columns) != len(new.columns):
        return list(readings)
    names = old.columns if old.has_header else new.columns
    return [
        each
        if each.has_header
        else replace(each, columns=names, frame=replace(each.frame, names=names))
        for each in readings
    ]


def _read_options(readings: Sequence[Reading]) -> Options:
    old, new = readings
    delimiters = dict.fromkeys((old.delimiter, new.delimiter))
    return Options(
        keys=NO_KEY,
        delimiter=":".join(delimiters),
        encodings=(old.encoding, new.encoding),
        old=old.frame,
        new=new.frame,
    )


def _find_name_forms(old: Sequence[str], new: Sequence[str]) -> tuple[NameForm, ...]:
    """The weakest form of names under which most columns have a partner."""

    def common(forms: tuple[NameForm, ...]) -> int:
        folded = [[fold_name(name, forms) for name in side] for side in (old, new)]
        if any(len(set(side)) < len(side) for side in folded):
            return 0
        return len(set(folded[0]) & set(folded[1]))

    return max(FORMS, key=lambda forms: (common(forms), -len(forms)))


def _pair_by_name(
    sides: Sides, forms: tuple[NameForm, ...]
) -> tuple[dict[Place, bool], tuple[list[int], list[int]]]:
    """Pairs of columns that may belong together, and those that have no equal name.

    A pair is True if the names are equal, and of columns without a partner otherwise.
    """
    old, new = (side.names for side in sides)
    theirs = {fold_name(name, forms): at for at, name in enumerate(new)}
    common = [
        (at, theirs[folded])
        for at, name in enumerate(old)
        if (folded := fold_name(name, forms)) in theirs
    ]
    paired = [{pair[side] for pair in common} for side in (0, 1)]
    alone_old, alone_new = (
        [at for at in range(len(names)) if at not in taken]
        for names, taken in zip((old, new), paired, strict=True)
    )
    pairs = dict.fromkeys(common, True)
    pairs |= {(ours, theirs): False for ours in alone_old for theirs in alone_new}
    return pairs, (alone_old, alone_new)


def _keep_best(shared: Sequence[CommonValues]) -> list[CommonValues]:
    """The best pairs, each column once."""
    kept: list[CommonValues] = []
    for each in shared:
        if all(each.old != k.old and each.new != k.new for k in kept):
            kept.append(each)
    return kept


def _places_of(
    key: Sequence[str],
    options: Options,
    old: TableColumns,
    new: TableColumns,
    candidates: Sequence[CommonValues],
) -> list[Place]:
    """The places of key columns in both files."""
    by_value = {each.old: each.new for each in candidates}
    by_name = {
        fold_name(name, options.match_names): n for n, name in enumerate(new.names)
    }
    places = []
    for name in key:
        ours = old.names.index(name)
        theirs = by_value.get(ours)
        places.append(
            (ours, by_name[fold_name(name, options.match_names)])
            if theirs is None
            else (ours, theirs)
        )
    return places


def _find_close(found: Sequence[Proposal]) -> list[Proposal]:
    """The keys that match almost as many rows as the best, and do not contain it."""
    best = found[0]
    return [best] + [
        each
        for each in found[1:]
        if each.is_key == best.is_key
        and each.overlap >= best.overlap - CLOSE
        and not set(best.columns) <= set(each.columns)
    ]
