"""Draft how two files are compared, from the files alone.

In this order: how each file is read; names and values that columns share; the key with
its rules; renamed columns by rows of equal keys; rules by the hints of a comparison of
all rows. Each later decision relies on those before it.
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
    CommonValues,
    TableColumns,
    find_common_values,
    find_renames,
)
from recon_engine.drafts.decision import Decision
from recon_engine.drafts.reading import (
    Reading,
    find_encoding_at,
    find_reading,
    show_delimiter,
)
from recon_engine.errors import ConfigError, EncodingError, MalformedInput, ReconError
from recon_engine.formatting import format_count, format_share
from recon_engine.hint_settings import read_settings
from recon_engine.inputs.scanning import start_validation
from recon_engine.inputs.tables import open_headers, open_tables
from recon_engine.model import SIDES, HintKind
from recon_engine.name_forms import NameForm, fold_name
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.storage.urls import local_path
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.drafts.columns import Place
    from recon_engine.model import Column, Hint
    from recon_engine.result import Reconciliation
    from recon_engine.runtime.memory import Budget

    Sides = tuple[TableColumns, TableColumns]


SAMPLE: Final = 20_000
# Rules that read the same value in another spelling; the others can hide an error that
# is in all rows.
SPELLING: Final = frozenset(
    {
        *("trim", "casefold", "lstrip0", "zeropad", "nulls", "decimal", "date"),
        *("blanks", "nfc", "newlines", "unwrap", "boolean"),
    }
)
TOLERANCES: Final = ("abs=", "rel=", "within=")
# Of the cells of a column that differ: a rule that explains fewer stays a comment.
MIN_EXPLAINED: Final = 0.95
# Of the rows that match: two keys closer than this are for a person to choose from.
CLOSE: Final = 0.05
MOST_ROUNDS: Final = 3
MOST_TRIALS: Final = 4
FORMS: Final = ((), (NameForm.TRIM,), (NameForm.CASEFOLD,), tuple(NameForm))
NEVER: Final = 0.95


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
    budget: Budget | None = None,
    limits: Limits = LIMITS,
) -> Draft:
    """Decide how two files are compared, and compare them so.

    Args:
        old: The path of OLD.
        new: The path of NEW.
        progress: Reports the steps.
        sample: The number of rows and values that are searched for candidates; None
            is all. What is decided is checked on all rows in any case.
        key: Which of the `Draft.close_keys` is the key, from 0.
        budget: Memory.
        limits: Size limits of inputs.

    Raises the error of the decision that failed, which says what it would need.
    """
    drafting = _Drafting((old, new), progress, sample, key, budget, limits)
    return drafting.draft()


class _Drafting:
    """The decisions so far."""

    def __init__(
        self,
        sources: tuple[str, str],
        progress: Progress,
        sample: int | None,
        key: int,
        budget: Budget | None,
        limits: Limits,
    ) -> None:
        self.sources = sources
        self.progress = progress
        self.sample = sample
        self.key = key
        self.close: list[Proposal] = []
        self.budget = budget
        self.limits = limits
        self.decisions: list[Decision] = []

    def draft(self) -> Draft:
        """Make all decisions, in their order."""
        with ExitStack() as stack:
            options, both = self.decide_reading(stack)
            options = self.decide_columns(options, both)
        options, result = self.decide_rules(options)
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
        return Draft(
            options,
            tuple(self.decisions),
            result,
            result.hints,
            never,
            tuple(self.close),
        )

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

    def decide_reading(self, stack: ExitStack) -> tuple[Options, Sides]:
        """How both files are read, and their rows, which `stack` keeps open."""
        readings = []
        for side, source in zip(SIDES, self.sources, strict=True):
            path = local_path(source)
            if not path.is_file():
                raise ConfigError(
                    "there is no such file",
                    file=source,
                    help="give the path of a local CSV file",
                )
            readings.append(find_reading(path, source, side))
        readings = _name_columns(readings)
        for _ in range(MOST_TRIALS):
            options = _read_options(readings)
            try:
                both = self.read_all(options, stack)
            except (EncodingError, MalformedInput) as error:
                readings = self.correct_reading(readings, error)
            else:
                self.note_readings(readings, [side.table.rows for side in both])
                return options, both
        raise ConfigError(
            "no reading of the files was found",
            why="each correction of a reading met another fault",
            help="name encoding and delimiter in recon.toml, and use recon diff",
        )

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
            path = local_path(self.sources[at])
            encoding = find_encoding_at(path, error.byte_offset or 0)
            if encoding not in {None, readings[at].encoding}:
                fixed[at] = replace(
                    readings[at],
                    encoding=encoding or readings[at].encoding,
                    evidence=f"not UTF-8 at byte {error.byte_offset:,}",
                )
                return fixed
        if at is not None and (mark := _trailer_of(self.sources[at], readings[at])):
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

    def note_readings(self, readings: Sequence[Reading], rows: Sequence[int]) -> None:
        """The decisions about the files."""
        for side, reading, count in zip(SIDES, readings, rows, strict=True):
            name, frame = side.upper(), reading.frame
            columns = format_count(len(reading.columns), "column")
            self.decide(
                f"{name} delimiter",
                show_delimiter(reading.delimiter),
                f"{columns} in all {format_count(count, 'row')}",
                ", ".join(reading.others),
                "delimiter",
            )
            self.decide(
                f"{name} encoding",
                reading.encoding,
                reading.evidence,
                setting="encoding",
            )
            where = f"line {frame.skip_lines + 1}"
            self.decide(
                f"{name} header",
                where if reading.has_header else "none",
                f"names: {join_names(reading.columns, 3)}"
                if reading.has_header
                else "the first record has the form of a row",
            )
            for trailer in frame.trailers:
                self.decide(f"{name} trailer", trailer, "the last record is no row")
            if frame.trailing_delimiter:
                self.decide(f"{name} line end", "a delimiter", "every line ends so")

    def decide_columns(
        self, options: Options, sides: tuple[TableColumns, TableColumns]
    ) -> Options:
        """The forms of names, the key with its rules, and renamed columns."""
        old, new = sides
        forms = _find_name_forms(old.names, new.names)
        options = replace(options, match_names=forms)
        common, alone = _pair_by_name(old.names, new.names, forms)
        if forms:
            self.decide(
                "names",
                ",".join(forms),
                f"{len(common):,} of {len(old.names):,} columns then have one name",
                setting="match_names",
            )
        pairs: dict[Place, bool] = dict.fromkeys(common, True)
        pairs |= {(ours, theirs): False for ours in alone[0] for theirs in alone[1]}
        key, chains, candidates = self.decide_key(options, old, new, pairs)
        places = _places_of(key, options, old, new, candidates)
        renames = {
            old.names[ours]: new.names[theirs]
            for ours, theirs in places
            if (ours, theirs) not in pairs or not pairs[ours, theirs]
        }
        for name, theirs in renames.items():
            same = "of the key: both columns have the same values"
            self.decide(name, f"{theirs} of NEW", same, setting="map")
        unpaired = (
            [at for at in alone[0] if at not in {ours for ours, _ in places}],
            [at for at in alone[1] if at not in {theirs for _, theirs in places}],
        )
        found = (
            find_renames(old, new, places, chains, unpaired, self.sample)
            if all(unpaired)
            else {}
        )
        for (ours, theirs), (alike, rows) in found.items():
            renames[ours] = theirs
            share = format_share(alike, rows, "sampled row", "agree")
            self.decide(ours, f"{theirs} of NEW", share, setting="map")
        drift = self.note_drift(old, new, unpaired, renames)
        rules = {name: chain for name, chain in zip(key, chains, strict=True) if chain}
        return replace(
            options, keys=key, renames=renames, rules=rules, on_schema_drift=drift
        )

    def decide_key(
        self,
        options: Options,
        old: TableColumns,
        new: TableColumns,
        pairs: Mapping[Place, bool],
    ) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[CommonValues]]:
        """The key columns by their names in OLD, and the rules of each.

        Also the pairs of columns of any name that hold the same values.
        """
        candidates = _keep_best(find_common_values(old, new, pairs, self.sample))
        renames = {
            old.names[each.old]: new.names[each.new]
            for each in candidates
            if not pairs[each.old, each.new]
        }
        rules = {old.names[c.old]: c.rules for c in candidates if c.rules}
        found: list[Proposal] = []
        if renames or any(pairs.values()):
            found = propose_keys(
                *self.sources,
                replace(options, renames=renames, rules=rules),
                self.progress,
                budget=self.budget,
                limits=self.limits,
            )
        if not found:
            raise ConfigError(
                "no key was found: no column has a value that is in both files",
                why="; ".join(f"{d.about}: {d.choice}" for d in self.decisions),
                help="a key needs a column whose values are in both files; are these"
                " two files of one dataset?",
            )
        self.close = _find_close(found)
        best = self.close[self.key]
        chains = [rules.get(name, ()) for name in best.columns]
        spelled = [
            f"{name} under {', '.join(chain)}"
            for name, chain in zip(best.columns, chains, strict=True)
            if chain
        ]
        evidence = best.reason + (f" ({'; '.join(spelled)})" if spelled else "")
        others = (
            f"{' with '.join(each.columns)} {each.overlap:.1%}"
            for each in found
            if each is not best
        )
        self.decide(
            "key", ", ".join(best.columns), evidence, ", ".join([*others][:3]), "keys"
        )
        return best.columns, chains, candidates

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

    def decide_rules(self, options: Options) -> tuple[Options, Reconciliation]:
        """Rules of spelling where they explain nearly all cells; the result then."""
        result = self.compare(options)
        for _ in range(MOST_ROUNDS):
            added = _find_spelling(result)
            if not added:
                break
            rules = dict(options.rules)
            for name, chain in added.items():
                rules[name] = (*rules.get(name, ()), *chain)
            tried = replace(options, rules=rules)
            after = self.compare(tried)
            left = {each.name: each.mismatched for each in after.by_column}
            before = {each.name: each.mismatched for each in result.by_column}
            kept = {
                name: chain
                for name, chain in added.items()
                if left[name] <= (1 - MIN_EXPLAINED) * before[name]
                and not self.has_other_order(tried, name, chain, left[name])
            }
            for name, chain in kept.items():
                share = format_share(
                    before[name] - left[name], before[name], "differing cell"
                )
                self.decide(
                    name,
                    ", ".join(chain),
                    f"explains {share}, on all rows",
                    "compare as text",
                    "rules",
                )
            if not kept:
                break
            rules = dict(options.rules)
            for name, chain in kept.items():
                rules[name] = (*rules.get(name, ()), *chain)
            options = replace(options, rules=rules)
            result = after if kept == added else self.compare(options)
        return options, result

    def has_other_order(
        self, options: Options, name: str, chain: Sequence[str], left: int
    ) -> bool:
        """Whether days and months could be swapped: as few cells differ then."""
        swapped = tuple(map(_swap_day_and_month, chain))
        if swapped == tuple(chain):
            return False
        rules = dict(options.rules)
        rules[name] = (*rules[name][: -len(chain)], *swapped)
        other = self.compare(replace(options, rules=rules))
        return any(c.name == name and c.mismatched <= left for c in other.by_column)

    def compare(self, options: Options) -> Reconciliation:
        return compare_inputs(
            *self.sources,
            options,
            self.progress,
            budget=self.budget,
            limits=self.limits,
            sha256=False,
        )


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


def _trailer_of(source: str, reading: Reading) -> str | None:
    """The first field of the last line, if it is a word: that of a trailer."""
    with local_path(source).open("rb") as file:
        file.seek(max(local_path(source).stat().st_size - (1 << 16), 0))
        lines = file.read().rstrip(b"\r\n\x1a").splitlines()
    last = lines[-1].decode(reading.encoding, "replace") if lines else ""
    fields = last.split(reading.delimiter)
    return fields[0] if fields[0].isalpha() and len(fields[0]) > 1 else None


def _find_name_forms(old: Sequence[str], new: Sequence[str]) -> tuple[NameForm, ...]:
    """The weakest form of names under which most columns have a partner."""

    def common(forms: tuple[NameForm, ...]) -> int:
        folded = [[fold_name(name, forms) for name in side] for side in (old, new)]
        if any(len(set(side)) < len(side) for side in folded):
            return 0
        return len(set(folded[0]) & set(folded[1]))

    return max(FORMS, key=lambda forms: (common(forms), -len(forms)))


def _pair_by_name(
    old: Sequence[str], new: Sequence[str], forms: tuple[NameForm, ...]
) -> tuple[list[Place], tuple[list[int], list[int]]]:
    """The places of columns of equal names, and of those without a partner."""
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
    return common, (alone_old, alone_new)


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


def _find_spelling(result: Reconciliation) -> dict[str, tuple[str, ...]]:
    """Rules of spelling by column, where they explain nearly all that differs."""
    found: dict[str, list[str]] = {}
    explained: dict[str, int] = {}
    for hint in result.hints:
        if hint.kind is not HintKind.RULE:
            continue
        settings = read_settings(hint)
        rules = settings.pop("rules", {}).get(hint.column, ())
        # A rule of one side says how a system writes, which is not seen here.
        if rules and not settings and all(map(is_spelling, rules)):
            found.setdefault(hint.column, []).extend(rules)
            explained[hint.column] = explained.get(hint.column, 0) + hint.count
    mismatched = {each.name: each.mismatched for each in result.by_column}
    return {
        name: tuple(rules)
        for name, rules in found.items()
        if explained[name] >= MIN_EXPLAINED * mismatched[name]
    }


def is_spelling(rule: str) -> bool:
    """Whether a rule only reads the same value in another spelling."""
    name, _, inner = rule.partition("(")
    return name in SPELLING and not any(word in inner for word in TOLERANCES)


def _swap_day_and_month(rule: str) -> str:
    """A `date` rule with the day in the place of the month, where both are numbers."""
    if not rule.startswith("date("):
        return rule
    formats = rule.removeprefix("date(").removesuffix(")").split("|")
    swapped = [
        text.translate(str.maketrans("md", "dm"))
        if text.find("%Y") > text.find("%m") or text.find("%Y") > text.find("%d")
        else text
        for text in formats
    ]
    return f"date({'|'.join(swapped)})"
