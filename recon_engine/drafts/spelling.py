"""Find rules that only read the same value in another spelling, by hints."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.compare.alignment import given_rules
from recon_engine.compare.column_names import pair_names
from recon_engine.hint_settings import read_settings
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.model import SIDES, HintKind
from recon_engine.rules.assembly import (
    ALL_COLUMNS,
    GivenRules,
    assemble_chain,
    chain_of,
)
from recon_engine.rules.chains import equal_under_rules


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from recon_engine.config import Options
    from recon_engine.drafts.columns import Frames
    from recon_engine.drafts.sampled_rows import PairedRows, SampledRows
    from recon_engine.model import Hint
    from recon_engine.result import Reconciliation
    from recon_engine.rules.chains import Chain

    Compare = Callable[[Options], Reconciliation]
    CompareFrames = Callable[[Frames, Options], Reconciliation]
    # By setting (`rules`, `old_rules`, `new_rules`), for a column.
    RulesOfColumn = Mapping[str, tuple[str, ...]]


# Rules that read the same value in another spelling; the others can hide an error that
# is in all rows.
SPELLING: Final = frozenset(
    {
        *("trim", "casefold", "lstrip0", "zeropad", "nulls", "decimal", "date"),
        *("blanks", "nfc", "newlines", "unwrap", "boolean"),
    }
)
# Tolerances; and signs, currencies and percents, which can be wrong in all rows.
NO_SPELLING: Final = ("abs=", "rel=", "within=", "money", "percent", "trailing")
# Of the cells of a column that differ: a rule that explains fewer stays a comment.
MIN_EXPLAINED: Final = 0.95
MOST_ROUNDS: Final = 3
# Rows that differ under the rules of few rows: a notation of more is among those few.
MOST_LEFT: Final = 2_000
MOST_WORDS: Final = 16
BOTH: Final = "rules"
BY_SETTING: Final = (BOTH, *(f"{side}_rules" for side in SIDES))


def is_spelling(rule: str) -> bool:
    """Whether a rule only reads the same value in another spelling."""
    name, _, inner = rule.partition("(")
    return name in SPELLING and not any(word in inner for word in NO_SPELLING)


def propose_by_sample(
    options: Options, sample: SampledRows, paired: PairedRows, compare: CompareFrames
) -> Options:
    """Options with the rules of spelling that the rows of a sample propose.

    Few rows propose them first: of a column in which every row differs these show as
    much. Then all rows are read by them. If some columns still differ in few rows,
    rules are proposed for these columns once more, for these rows beside the first: a
    notation may be rare. `paired`: the rows of the sample that are pairs. `compare`
    compares two frames.
    """
    few = sample.take_few()
    if few is None:
        return propose_spelling(options, compare(sample.whole, options))
    proposed = compare(few, options)
    found = _find_rules(options, proposed)
    likely = _with_rules(options, found)
    keys, (old, new) = paired
    names = pair_names(old.columns, new.columns, options)
    spared: dict[str, float] = {}
    differing = [keys.clear()]
    for name in (each.name for each in proposed.by_column):
        ours, theirs = old[name], new[names.renames.get(name, name)]
        equal = equal_under_rules(_assemble(likely, name), ours, theirs, apply_natively)
        left = equal.len() - int(equal.sum())
        if 0 < left <= MOST_LEFT:
            # As few cells as rules leave of all rows are no reason to have none,
            # although they are a larger share of the rows that are compared below.
            most = (1 - MIN_EXPLAINED) * int((ours != theirs).sum())
            spared[name] = min(left, most) if name in found else 0
            differing.append(keys.filter(~equal))
    if not spared:
        return likely
    more = sample.take_few_and(pl.concat(differing).unique())
    again = compare(more, _compare_only(options, spared))
    return _with_rules(options, found | _find_rules(options, again, spared))


def most_rows_differ(options: Options, paired: PairedRows) -> bool:
    """Whether most rows differ in the bytes of a column that both sides read alike.

    Such rows are compared by their cells, whatever the rules of the column are. Of
    derived columns, which the sample does not have, nothing is known.
    """
    if any(options.side(side).derive for side in SIDES):
        return False
    keys, (old, new) = paired
    names = pair_names(old.columns, new.columns, options)
    differ = pl.repeat(False, keys.len(), eager=True)
    for name in names.old:
        theirs = names.renames.get(name, name)
        if name in options.keys or theirs not in new.columns:
            continue
        if _assemble(options, name).is_reflexive:
            differ |= old[name] != new[theirs]
    return 2 * int(differ.sum()) > differ.len()


def propose_spelling(options: Options, result: Reconciliation) -> Options:
    """Options with the rules of spelling that the hints of a sample propose."""
    return _with_rules(options, _find_rules(options, result))


def add_spelling(
    options: Options, result: Reconciliation, compare: Compare
) -> tuple[Options, Reconciliation]:
    """Options with rules of spelling where they explain nearly all that differs.

    Args:
        options: Without such rules, or with some.
        result: Of comparing with `options`.
        compare: Compares the same rows with other options.

    Returns:
        The options with the rules, and their result.
    """
    for _ in range(MOST_ROUNDS):
        added = _find_spelling(result, _most_unexplained(result))
        if not added:
            break
        tried = _with_rules(options, added)
        after = compare(tried)
        before = {each.name: each.mismatched for each in result.by_column}
        left = {each.name: each.mismatched for each in after.by_column}
        explaining = {
            name: rules
            for name, rules in added.items()
            if left[name] <= (1 - MIN_EXPLAINED) * before[name]
        }
        kept = _drop_ambiguous_days(options, result, explaining, left)
        if not kept:
            break
        options = _with_rules(options, kept)
        result = after if kept == added else compare(options)
    return options, result


def keep_explaining(options: Options, result: Reconciliation) -> Options:
    """The options without rules that explain too few of the cells that differ."""
    weak = {
        each.name
        for each in result.by_column
        if each.tolerated < MIN_EXPLAINED * (each.tolerated + each.mismatched)
    }

    def others(rules: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {name: chain for name, chain in rules.items() if name not in weak}

    return replace(
        options,
        rules=others(options.rules),
        old=replace(options.old, rules=others(options.old.rules)),
        new=replace(options.new, rules=others(options.new.rules)),
    )


def check_code_tables(
    options: Options, result: Reconciliation, compare: Compare
) -> tuple[Hint, ...]:
    """The hints of a result; of code tables those that do what they say on all rows.

    Another table would make equal cells different: its codes are not always translated.
    Only where no cell is equal, there is nothing to check.
    """
    by_name = {each.name: each for each in result.by_column}
    tables = {
        hint.column: hint
        for hint in result.hints
        if hint.code_file
        and by_name[hint.column].mismatched < by_name[hint.column].compared
    }
    if not tables:
        return result.hints
    tried = _with_rules(
        options,
        {
            name: {setting: tuple(rules[name]) for setting, rules in settings.items()}
            for name, hint in tables.items()
            for settings in [read_settings(hint)]
        },
    )
    repeats = result.old.duplicate_keys or result.new.duplicate_keys
    # Rows of one key are paired by all their columns.
    some = tried if repeats else _compare_only(tried, tables)
    after = {each.name: each.mismatched for each in compare(some).by_column}
    return tuple(
        hint
        for hint in result.hints
        if hint.column not in tables
        or not hint.code_file
        or after[hint.column] == by_name[hint.column].mismatched - hint.count
    )


def _compare_only(options: Options, columns: Collection[str]) -> Options:
    """Options that compare no other columns."""
    kept = {*columns, *options.keys, ALL_COLUMNS}

    def some(rules: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {name: chain for name, chain in rules.items() if name in kept}

    old, new = (
        replace(options.side(side), rules=some(options.side(side).rules))
        for side in SIDES
    )
    return replace(
        options,
        compare_only=tuple(columns),
        rules=some(options.rules),
        old=old,
        new=new,
    )


def rules_by_column(options: Options) -> dict[str, str]:
    """The rules of each column, in words."""
    found: dict[str, list[str]] = {}
    for rules, where in (
        (options.rules, ""),
        (options.old.rules, " in OLD"),
        (options.new.rules, " in NEW"),
    ):
        for name, chain in rules.items():
            found.setdefault(name, []).append(", ".join(chain) + where)
    return {name: ", ".join(texts) for name, texts in found.items()}


def _find_rules(
    options: Options,
    result: Reconciliation,
    spared: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, RulesOfColumn]:
    """The rules of spelling that the hints of a sample propose, by column.

    `spared`: by column, so many cells that differ may be left in any case.
    """
    most = {
        name: max(share, spared.get(name, 0))
        for name, share in _most_unexplained(result).items()
    }
    likely = _find_booleans(result, most) | _find_spelling(result, most)
    return _drop_ambiguous_days(options, result, likely, most)


def _most_unexplained(result: Reconciliation) -> dict[str, float]:
    """How many differing cells of each column its rules may leave."""
    explained = 1 - MIN_EXPLAINED
    return {each.name: explained * each.mismatched for each in result.by_column}


def _find_spelling(
    result: Reconciliation, most: Mapping[str, float]
) -> dict[str, RulesOfColumn]:
    """Rules of spelling by column, where they leave few cells that differ.

    `most`: how many.
    """
    found: dict[str, dict[str, list[str]]] = {}
    explained: dict[str, int] = {}
    for hint in result.hints:
        rules = _read_rules(hint) if hint.kind is HintKind.RULE else {}
        if not rules:
            continue
        for setting, chain in rules.items():
            found.setdefault(hint.column, {}).setdefault(setting, []).extend(chain)
        explained[hint.column] = explained.get(hint.column, 0) + hint.count
    mismatched = {each.name: each.mismatched for each in result.by_column}
    return {
        name: {setting: tuple(chain) for setting, chain in rules.items()}
        for name, rules in found.items()
        if mismatched[name] - explained[name] <= most[name]
    }


def _find_booleans(
    result: Reconciliation, most: Mapping[str, float]
) -> dict[str, RulesOfColumn]:
    """The columns whose sides say yes and no in other words, by the rule `boolean`.

    It leaves at most so many cells that differ.
    """
    # Two words on each side make two pairs, or four with errors.
    likely = [
        each.column
        for each in result.patterns
        if each.distinct <= MOST_WORDS and each.column != ALL_COLUMNS
    ]
    if not likely:
        return {}
    cells = result.frames.cells.filter(pl.col("column").is_in(likely))
    counted = cells.group_by("column", "old", "new").len().collect()
    found: dict[str, RulesOfColumn] = {}
    for name in likely:
        pairs = counted.filter(pl.col("column") == name)
        equal = equal_under_rules(chain_of("boolean"), pairs["old"], pairs["new"])
        count = int(pairs.filter(equal)["len"].sum())
        if count and int(pairs["len"].sum()) - count <= most[name]:
            found[name] = {BOTH: ("boolean",)}
    return found


def _read_rules(hint: Hint) -> dict[str, list[str]]:
    """The rules of a hint by setting; none if one of them can hide an error."""
    settings: dict[str, Any] = read_settings(hint)
    if not settings.keys() <= set(BY_SETTING):
        return {}
    rules = {setting: value[hint.column] for setting, value in settings.items()}
    for setting, chain in rules.items():
        # Numbers show how a side writes them; days and months could be swapped in all
        # rows of a side.
        spelled = all(map(is_spelling, chain))
        if not spelled or (setting != BOTH and any("date" in rule for rule in chain)):
            return {}
    return rules


def _with_rules(options: Options, added: Mapping[str, RulesOfColumn]) -> Options:
    """Options in which rules of columns come after those that they have."""
    every = {BOTH: dict(options.rules)} | {
        f"{side}_rules": dict(options.side(side).rules) for side in SIDES
    }
    for name, rules in added.items():
        for setting, chain in rules.items():
            every[setting][name] = (*every[setting].get(name, ()), *chain)
    old, new = (
        replace(options.side(side), rules=every[f"{side}_rules"]) for side in SIDES
    )
    return replace(options, rules=every[BOTH], old=old, new=new)


def _drop_ambiguous_days(
    options: Options,
    result: Reconciliation,
    added: Mapping[str, RulesOfColumn],
    left: Mapping[str, float],
) -> dict[str, RulesOfColumn]:
    """The rules without those whose days and months could be swapped.

    Args:
        options: Without these rules.
        result: Of comparing with `options`.
        added: Rules by column.
        left: By column how many cells differ with its rules. If as few differ with
            days and months swapped, the order is not known.
    """
    kept = dict(added)
    for name, rules in added.items():
        swapped = {
            setting: tuple(map(_swap_day_and_month, chain))
            for setting, chain in rules.items()
        }
        if swapped == rules:
            continue
        # Rules of days read both sides, so a cell that is equal without them stays so.
        cells = result.mismatches().filter(pl.col("column") == name)
        chain = _assemble(_with_rules(options, {name: swapped}), name)
        equal = equal_under_rules(chain, cells["old"], cells["new"], apply_natively)
        if cells.height - int(equal.sum()) <= left[name]:
            del kept[name]
    return kept


def _assemble(options: Options, column: str) -> Chain:
    """The chain of a column, with the rules of all columns."""
    given = GivenRules()
    for side, rules in given_rules(options).items():
        for every, name in ((True, ALL_COLUMNS), (False, column)):
            spelled = tuple((every, rule) for rule in rules.get(name, ()))
            given = given.with_spelled(spelled, side)
    return assemble_chain(column, given)


def _swap_day_and_month(rule: str) -> str:
    """A `date` rule with the day in the place of the month, where both are numbers."""
    if not rule.startswith("date("):
        return rule
    formats = rule.removeprefix("date(").removesuffix(")").split("|")
    swapped: Sequence[str] = [
        text.translate(str.maketrans("md", "dm"))
        if text.find("%Y") > text.find("%m") or text.find("%Y") > text.find("%d")
        else text
        for text in formats
    ]
    return f"date({'|'.join(swapped)})"
