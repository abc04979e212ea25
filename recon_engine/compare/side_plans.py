"""Plan what is done to the rows of each side: derive, filter, fold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.compare.preparation import (
    NUMBER,
    DerivedColumns,
    ListedCode,
    Preparation,
    make_test,
    typed_rule,
)
from recon_engine.derive_syntax import Derivation, parse_derivation
from recon_engine.errors import ConfigError
from recon_engine.model import SIDES
from recon_engine.name_forms import spell_as
from recon_engine.rules.assembly import GivenRules
from recon_engine.rules.chains import NO_CHAIN, code_table
from recon_engine.rules.spelling import parse_rule
from recon_engine.suggestions import did_you_mean, shown
from recon_engine.where_syntax import parse_where


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from recon_engine.compare.column_names import NamePairs
    from recon_engine.compare.preparation import RowTest
    from recon_engine.config import Options
    from recon_engine.rules.chains import Rules
    from recon_engine.where_syntax import Condition


# The column of the number of rows of a key, where both sides are folded.
ROW_COUNT: Final = "row_count"
PLAIN_NUMBER: Final = "decimal"


def derive_columns(
    old: Sequence[str], new: Sequence[str], options: Options
) -> tuple[list[DerivedColumns], list[DerivedColumns]]:
    """The columns that are derived on each side, under the names of its file.

    Raises ConfigError for a source that a file does not have, and for a new name that
    it has already.
    """
    sides = [
        list(_derive(columns, side, options))
        for columns, side in zip((old, new), SIDES, strict=True)
    ]
    if options.old.fold and options.new.fold:
        # Folding both sides hides a row that only one of them repeats.
        name, number = ROW_COUNT, 1
        while name in {*old, *new}:
            number += 1
            name = f"{ROW_COUNT}_{number}"
        for derived in sides:
            derived.append(DerivedColumns(Derivation((name,), "count", ()), name))
    return sides[0], sides[1]


def _derive(
    columns: Sequence[str], side: str, options: Options
) -> Iterator[DerivedColumns]:
    known = list(columns)
    flag, where = options.side(side).flags.spell("derive"), side.upper()
    for text in options.side(side).derive:
        found = parse_derivation(text)
        sources = tuple(
            spell_as(name, known, options.match_names) for name in found.sources
        )
        for name in sources:
            if name not in known:
                raise ConfigError(
                    f"{flag}: {where} has no column {shown(name)}"
                    + did_you_mean(name, known),
                    help="name a column of the header, or one that is derived before",
                )
        for name in found.names:
            if name in known:
                raise ConfigError(
                    f"{flag}: {where} has a column {shown(name)} already",
                    help="give the new column another name",
                )
        known += found.names
        label = f"{flag} {','.join(found.names)}={found.function}(…)"
        yield DerivedColumns(replace(found, sources=sources), label)


def sources_of_one_side(
    derived: Sequence[Sequence[DerivedColumns]], names: NamePairs
) -> set[str]:
    """The columns that others are derived from and that only their side has.

    The derived columns replace them, so they are no difference of the headers.
    """
    back = names.back
    both = set(names.old) & set(names.renamed)
    old, new = (
        {name for each in side for name in each.derivation.sources} for side in derived
    )
    return (old | {back.get(name, name) for name in new}) - both


def tested_columns(options: Options, names: NamePairs) -> set[str]:
    """The columns that filters test, by their names in results.

    Raises ConfigError for one that its side does not have.
    """
    return {name for _, _, name in _conditions(options, names)}


def _conditions(
    options: Options, names: NamePairs
) -> Iterator[tuple[str, Condition, str]]:
    """The conditions of all filters: the option, the condition, its column."""
    both = set(names.old) & set(names.renamed)
    for flag, text, known in (
        ("--where", options.where, both),
        ("--old-where", options.old.where, set(names.old)),
        ("--new-where", options.new.where, set(names.renamed)),
    ):
        for condition in parse_where(text):
            name = names.find(condition.column)
            if name not in known:
                where = "both files have" if flag == "--where" else "the file has"
                raise ConfigError(
                    f"{flag}: no column that {where} is called {condition.column}"
                    + did_you_mean(condition.column, known),
                    help="name a column of the header, or one that is derived",
                )
            yield flag, condition, name


def sum_columns(
    options: Options, names: NamePairs, columns: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that folding adds up on each side, by their names in results.

    Raises ConfigError for one that is not compared.
    """
    found = []
    for side in SIDES:
        given = options.side(side)
        sums = tuple(map(names.find, given.sum)) if given.fold else ()
        for name in sums:
            if name not in columns:
                flag = options.side(side).flags.spell("sum")
                raise ConfigError(
                    f"{flag} {name}: no compared column has that name"
                    + did_you_mean(name, columns),
                    help="name a column that is neither a key nor ignored",
                )
        found.append(sums)
    return found[0], found[1]


def with_number_rules(
    given: Mapping[str, GivenRules], sums: Collection[str]
) -> Mapping[str, GivenRules]:
    """The rules, with `decimal` for summands that have no typed rule."""
    found = dict(given)
    for name in sums:
        rules = found.get(name, GivenRules())
        every = (*rules.both, *rules.old, *rules.new)
        if not any(parse_rule(text).family for _, text in every):
            found[name] = rules.with_rules([PLAIN_NUMBER])
    return found


def check_sums(options: Options, rules: Rules, sums: Sequence[Sequence[str]]) -> None:
    """Raise ConfigError for a column that is added up and has no numbers."""
    for side, names in zip(SIDES, sums, strict=True):
        for name in names:
            typed = typed_rule(rules[name].of(side))
            if typed is None or typed.family != NUMBER:
                flag = options.side(side).flags.spell("sum")
                raise ConfigError(
                    f"{flag} {name}: a rule of {side.upper()} reads no numbers",
                    why="only numbers are added up",
                    help=f"use the rule decimal, or omit the column from {flag}",
                )


def prepare_sides(
    options: Options,
    names: NamePairs,
    keys: Sequence[str],
    rules: Rules,
    derived: Sequence[Sequence[DerivedColumns]],
    sums: Sequence[tuple[str, ...]],
) -> tuple[Preparation, Preparation]:
    """What is done to the rows of each side, under the names of results."""
    tests: dict[str, list[RowTest]] = {}
    for flag, condition, name in _conditions(options, names):
        chain = rules.get(name, NO_CHAIN)
        # The side is in the name of the option: `--old-where`.
        for side in SIDES if flag == "--where" else (flag[2:5],):
            test = make_test(condition, name, chain.of(side), flag)
            tests.setdefault(f"{side} {flag}", []).append(test)
    codes = {
        side: tuple(
            ListedCode(name, chain, name)
            for name in keys
            for chain in [rules.get(name, NO_CHAIN).of(side)]
            if (table := code_table(chain)) and not table.rest_same
        )
        for side in SIDES
    }
    # `count` has no source that could be unfit.
    can_fail = [
        each.derivation.function != "count" for side in derived for each in side
    ]
    of_result = (
        {name: name for name in names.old},
        dict(zip(names.new, names.renamed, strict=True)),
    )
    folds = options.old.fold or options.new.fold
    # `derive_columns` appends the number of rows last.
    counted = [name for each in derived[0] for name in each.names][-1:]
    counts = tuple(counted) if options.old.fold and options.new.fold else ()
    old, new = (
        Preparation(
            derived=tuple(each.renamed(of_result[at]) for each in derived[at]),
            codes=codes[side],
            own=tuple(tests.get(f"{side} --{side}-where", ())),
            both=tuple(tests.get(f"{side} --where", ())),
            fold=options.side(side).fold,
            either_folds=folds,
            sums=(*sums[at], *counts),
            places=bool(tests) or any(can_fail) or any(codes.values()),
        )
        for at, side in enumerate(SIDES)
    )
    return old, new
