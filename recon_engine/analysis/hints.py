"""Hints: measured explanations of differences, each with the flag to paste. Pure.

Nothing is guessed: a rule is applied to the very cells or keys that differ, by the
functions that a run would use, and a hint says how many of them it explains. It is
given from 1% on (`MIN_SETTLED_ONE_IN`), and never applied automatically.

A tolerance could hide real changes, so one is proposed for roundings only: one side is
the other rounded or cut to fewer places, and at most 5% (`MAX_OTHERS_ONE_IN`) of the
cells within the tolerance are anything else. At least three roundings are required.
"""

from __future__ import annotations

import itertools
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.clock_times import INSTANT, find_zone_rules
from recon_engine.analysis.evidence import OLD
from recon_engine.analysis.finding import Finding, show_unchanged
from recon_engine.analysis.notations import (
    COMMA,
    CURRENCY,
    DAY_ORDERS,
    IN_PARENTHESES,
    NOTATIONS,
    NULLS,
    find_formats,
    find_notation,
    write_decimal,
)
from recon_engine.damage import Damage, find_damage
from recon_engine.formatting import (
    conjugate,
    format_count,
    format_percent,
    format_share,
)
from recon_engine.kinds import Kind
from recon_engine.lazy import lazy_pattern
from recon_engine.model import EXACT, Hint, HintKind
from recon_engine.record_table import Field
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.base import NORMAL_PREFIX
from recon_engine.rules.chains import equal_under_rules, normal_form
from recon_engine.rules.numbers import DIGIT_PATTERN, NUMBER_PATTERN, Number
from recon_engine.rules.spelling import parse_rule
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.model import Splits
    from recon_engine.rules.base import Rule
    from recon_engine.rules.chains import Chain


# Thresholds of what users see. A hint explains at least 1 in 100 differences: fewer are
# not worth a flag. At most 1 in 20 of the cells that a tolerance settles is no
# rounding, and at most 1 in 20 of the rows repeats a shorter key.
MIN_SETTLED_ONE_IN: Final = 100
MAX_OTHERS_ONE_IN: Final = 20
# One or two cells may look rounded by chance.
MIN_ROUNDINGS: Final = 3
# Each further rule multiplies the chains to try and explains less.
MAX_RULES: Final = 3
# A factor: `HALF * part >= whole` means at least half, in integers.
HALF: Final = 2
SIDES: Final = ("old", "new")
RULE_DESCRIPTIONS: Final = {
    "trim": "white space",
    "casefold": "case",
    "lstrip0": "leading zeros",
    "decimal": "number format",
    "date": "date format",
    "nulls": "null markers",
    "blanks": "blanks and invisible characters",
    "newlines": "line breaks",
    "nfc": "Unicode form",
    "unwrap": "the wrapping of a spreadsheet",
    "strip": "punctuation",
    "scale": "implied decimals",
    "timestamp": "time zone",
}
DAMAGE_DESCRIPTIONS: Final = {
    Damage.MISREAD: "is UTF-8 that was read as another encoding, and encoded again",
    Damage.LOST: "has ? or U+FFFD in the place of letters, which are lost",
}
NOTATION_DESCRIPTIONS: Final = {
    "comma": "decimal comma",
    "money": "currency",
    "exp": "exponents",
    "trailing": "trailing signs",
    "percent": "percent",
}
BY_KIND: Final = (
    ("trim", {Kind.WHITESPACE}),
    ("casefold", {Kind.CASE}),
    ("lstrip0", {Kind.LEADING_ZEROS}),
    ("decimal", {Kind.LEADING_ZEROS, Kind.NUMBER_FORMAT}),
    ("blanks", {Kind.WHITESPACE, Kind.INVISIBLE}),
    ("newlines", {Kind.LINE_BREAK}),
    ("nfc", {Kind.UNICODE_FORM}),
)
# As a spreadsheet wraps text, or marks it with an apostrophe.
WRAPPED: Final = r"""^(?:="[^"]*"|'.*)$"""
# What a code may have between its letters and digits.
PUNCTUATION: Final = r"[ !#$%&()*+,./:;@_~-]"
# A number whose last digits an exponent has replaced.
IN_EXPONENT: Final = r"^[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}$"
EXPONENT_PATTERN: Final = lazy_pattern(IN_EXPONENT)
# Another place of the point, or another order of day and month, explains most of a
# column, or it is by chance.
MIN_SHIFTED_SHARE: Final = Decimal("0.8")
# NUL, because no column of a file can have such a name.
ROW_COUNT: Final = "\0rows"
# The side that a rule reads, or "both", and the rule.
SideRule = tuple[str, str]
RuleTexts = tuple[SideRule, ...]
Sides = tuple[pl.DataFrame, pl.DataFrame]
GivenByColumn = dict[str, GivenRules]
NO_GIVEN: Final = GivenRules()


def for_column(
    column: str, changes: pl.DataFrame, existing: GivenRules = NO_GIVEN
) -> list[Hint]:
    """The rules that would explain a column's `changes`, each after those before it.

    `changes`: as `patterns.group_changes` returns them. `existing`: the rules that the
    column already has, to which a pasted rule is added. Rules that rewrite a value are
    tried before tolerances.
    """
    total, given, left = int(changes["rows"].sum()), existing, changes
    steps: list[RuleTexts] = []
    while len(steps) < MAX_RULES and not left.is_empty():
        chain = assemble_chain(column, given)
        # Of a column that has a tolerance, nothing is known to be a rewriting.
        if chain.has_tolerance:
            break
        before = partial(_with_steps, existing, steps)
        best = _find_best_rules(
            left, before, _propose_rewriting_rules(left, given, chain), total
        ) or _find_best_rules(
            left, before, _propose_tolerance(left, existing, chain), total
        )
        if best is None:
            break
        rules, settled = best
        steps.append(rules)
        given, left = _with_steps(existing, steps), left.filter(~settled)
    needed = _fewest(changes, existing, _without_superseded(steps))
    rules_found = [
        _rule_hint(column, rules, count, total)
        for rules, count in _counted(changes, existing, needed)
    ]
    return [*rules_found, *_damage_hints(column, changes, total)]


def _damage_hints(column: str, changes: pl.DataFrame, total: int) -> Iterator[Hint]:
    """What happened to letters of a column: it is named, and no rule repairs it."""
    damaged = changes.filter(pl.col("kind") == Kind.ENCODING_DAMAGE)
    counts = Counter[tuple[str, Damage]]()
    for old, new, rows in damaged.select(*SIDES, "rows").iter_rows():
        if found := find_damage(old, new):
            counts[found] += rows
    for (side, damage), rows in sorted(counts.items()):
        if rows * MIN_SETTLED_ONE_IN >= total:
            yield Hint(
                kind=HintKind.DAMAGE,
                column=column,
                flag="",
                count=rows,
                total=total,
                text=f"{column}: {total:,} {conjugate(total, 'differ')}; in {rows:,} of"
                f" them {side.upper()} {DAMAGE_DESCRIPTIONS[damage]}",
            )


def _is_typed(rule: SideRule) -> bool:
    return bool(parse_rule(rule[1]).family)


def _of_both(*rules: str) -> RuleTexts:
    return tuple(("both", rule) for rule in rules)


def _has_own_typed_rule(given: GivenRules) -> bool:
    """Whether another typed rule of both sides would be refused, or read one side."""
    own = [rule for every, rule in given.both if not every]
    own += [rule for _, rule in (*given.old, *given.new)]
    return any(_is_typed(("both", rule)) for rule in own)


def _without_superseded(steps: Sequence[RuleTexts]) -> list[RuleTexts]:
    """The steps with the typed rules of the last that has some: a column has one."""
    typed = [at for at, step in enumerate(steps) if any(map(_is_typed, step))]
    kept = (
        tuple(rule for rule in step if not _is_typed(rule) or at == typed[-1])
        for at, step in enumerate(steps)
    )
    return [step for step in kept if step]


def _with_steps(
    given: GivenRules, steps: Sequence[RuleTexts], more: RuleTexts = ()
) -> GivenRules:
    """The rules of a column with those of some steps."""
    for step in _without_superseded([*steps, more]):
        for side, rule in step:
            given = given.with_rules([rule], side)
    return given


def _fewest(
    changes: pl.DataFrame, given: GivenRules, steps: Sequence[RuleTexts]
) -> list[RuleTexts]:
    """The steps without those that later ones make redundant."""
    needed = [*steps]
    for step in steps[:-1]:
        others = [each for each in needed if each is not step]
        if _reached(changes, given, others) >= _reached(changes, given, needed):
            needed = others
    return needed


def _counted(
    changes: pl.DataFrame, given: GivenRules, steps: Sequence[RuleTexts]
) -> Iterator[tuple[RuleTexts, int]]:
    """Each step, and the number of cells that it explains after those before it."""
    before = 0
    for at, step in enumerate(steps, 1):
        reached = _reached(changes, given, steps[:at])
        yield step, reached - before
        before = reached


def _reached(
    changes: pl.DataFrame, given: GivenRules, steps: Sequence[RuleTexts]
) -> int:
    """The number of cells that some steps explain together."""
    settled = _changes_settled_by(changes, _with_steps(given, steps))
    return _count_cells(changes, settled)


def find_promising_columns(changes: pl.DataFrame) -> set[int]:
    """The columns for whose changes `for_column` may have a hint, by one query.

    `changes`: of columns without rules, with the `column` of each. This is a necessary
    condition: for any other column `for_column` finds nothing.
    """
    kinds = {kind for _, every in BY_KIND for kind in every}
    kinds |= {Kind.DATE_FORMAT, Kind.DATE, Kind.SCALE, Kind.PUNCTUATION}
    kinds.add(Kind.ENCODING_DAMAGE)
    rewritten = pl.col("kind").is_in([kind.value for kind in kinds])
    rewritten |= pl.all_horizontal(pl.col(*SIDES).str.contains(INSTANT))
    shown = "|".join((WRAPPED, COMMA, CURRENCY, IN_PARENTHESES, *NOTATIONS.values()))
    marked = pl.any_horizontal(
        pl.col(*SIDES).is_in(NULLS)
        | pl.col(*SIDES).str.strip_chars().str.contains(shown)
    )
    fewer, more = (_written_places_expr(side) for side in SIDES)
    found = (
        changes.lazy()
        .select("column", *SIDES, "rows", rewritten=rewritten | marked)
        .filter(pl.col("rewritten") | (_both_are_numbers_expr() & (fewer != more)))
        .collect(engine="in-memory")
    )
    promising, roundings = set[int](), Counter[int]()
    for column, old, new, rows, is_rewritten in found.iter_rows():
        if is_rewritten:
            promising.add(column)
        elif column not in promising and _may_be_rounding(old, new):
            roundings[column] += rows
            if roundings[column] >= MIN_ROUNDINGS:
                promising.add(column)
    return promising


def _both_are_numbers_expr() -> pl.Expr:
    return pl.all_horizontal(pl.col(*SIDES).str.contains(NUMBER_PATTERN)) & (
        pl.all_horizontal(pl.col(*SIDES).str.contains(DIGIT_PATTERN))
    )


def _written_places_expr(side: str) -> pl.Expr:
    """The decimal places of a number, without zeros at the end."""
    places = pl.col(side).str.extract(r"\.([0-9]*)$").fill_null("")
    return places.str.strip_chars_end("0").str.len_bytes()


def _may_be_rounding(old: str, new: str) -> bool:
    """Whether two numbers differ by at most one unit of the last place of the shorter.

    No tolerance is larger for which `_propose_tolerance` counts them as a rounding.
    """
    numbers = [Decimal(text.replace(",", "")) for text in (old, new)]
    kept = min(len(text.partition(".")[2].rstrip("0")) for text in (old, new))
    return EXACT.subtract(*numbers).copy_abs() <= Decimal(1).scaleb(-kept)


def for_keys(
    sides: Sides,
    names: Mapping[str, str],
    given: Mapping[str, GivenRules],
    sample: pl.DataFrame,
) -> list[Hint]:
    """What would pair missing with extra rows: rules for the key, or a key column less.

    `sides`: the missing and the extra rows; `names`: the user's names of their key
    columns; `given`: the rules of these; `sample`: a sample of all rows of OLD.
    """
    old, new = (side[list(names)] for side in sides)
    chains = {name: given.get(name, NO_GIVEN) for name in names}
    pairs, found = 0, list[Hint]()
    while len(found) < MAX_RULES:
        # Greedy: each candidate is measured together with the rules that were chosen
        # before.
        tried = [
            (_count_pairs((old, new), longer), columns, rule, longer)
            for columns, rule in _candidate_key_rules((old, new))
            if not (
                _is_typed(("both", rule))
                and any(_has_own_typed_rule(chains[name]) for name in columns)
            )
            for longer in [_add_rule(chains, columns, rule)]
        ]
        reached, columns, rule, longer = max(
            tried, key=lambda each: each[0], default=(0, (), "", chains)
        )
        gained = reached - pairs
        if gained <= 0 or gained * MIN_SETTLED_ONE_IN < old.height:
            break
        pairs, chains = reached, longer
        people = [names[column] for column in columns]
        found.append(_key_hint(people, rule, gained, old.height))
    return [*found, *_drop_key_hints((old, new), names, chains, pairs, sample)]


def for_damaged_keys(sides: Sides, names: Mapping[str, str]) -> list[Hint]:
    """Key columns of which a side has numbers with exponents, and the other has not.

    The digits are lost: no rule brings them back, so none is proposed.
    """
    found = []
    for column, name in names.items():
        # All values of a side have to be such: its first one is cheaper to read.
        if not any(EXPONENT_PATTERN.match(rows[column][0]) for rows in sides):
            continue
        written = [rows[column].str.contains(IN_EXPONENT) for rows in sides]
        for at, side in enumerate(("OLD", "NEW")):
            if written[at].all() and not written[1 - at].any():
                rows, values = len(sides[at]), sides[at][column].n_unique()
                found.append(
                    Hint(
                        kind=HintKind.DAMAGE,
                        column=name,
                        flag="",
                        count=rows,
                        total=rows,
                        text=f"{side}'s {name} is written with exponents:"
                        f" {format_count(rows, 'unmatched row')}"
                        f" {conjugate(rows, 'have')} {format_count(values, 'value')}."
                        " Its digits are lost; export it again as text",
                    )
                )
    return found


def for_renames(
    renamed: Iterable[tuple[str, str]],
    agreements: Mapping[tuple[str, str], tuple[int, int]],
) -> list[Hint]:
    """Pairs of columns on one side only that agree, as measured."""
    return [
        Hint(
            kind=HintKind.RENAME,
            column=old,
            flag=command_line.map_flag(old, new),
            count=alike,
            total=rows,
            text=f"{old} of OLD and {new} of NEW agree in "
            f"{format_share(alike, rows, 'row')}",
        )
        for old, new in renamed
        for alike, rows in [agreements.get((old, new), (0, 0))]
    ]


def for_splits(columns: Sequence[str], old: Splits, new: Splits) -> list[Hint]:
    """Keys for which one row of a side corresponds to several of the other, with sums.

    `columns`: their names by ordinal; `old`, `new`: the side that has several rows.
    """
    found = []
    for splits, several, one in ((new, "NEW", "OLD"), (old, "OLD", "NEW")):
        # The most frequent columns first: sums of only zeros show nothing.
        adding = [
            (columns[at], count)
            for at, count in sorted(
                splits.sums.items(), key=lambda item: (-item[1], item[0])
            )
            if HALF * splits.meaningful_sums[at] >= splits.keys
        ][:MAX_RULES]
        if adding:
            found.append(_split_hint(splits, several, one, adding))
    return found


def _split_hint(
    splits: Splits, several: str, one: str, adding: Sequence[tuple[str, int]]
) -> Hint:
    least, most = min(splits.sizes), max(splits.sizes)
    rows = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    (column, count), *others = adding
    sums = [f"{column} adds up in {count:,} of them"]
    sums += [f"{name} in {more:,}" for name, more in others]
    return Hint(
        kind=HintKind.SPLIT,
        column=column,
        flag="",
        count=count,
        total=splits.keys,
        text=f"1 row of {one} corresponds to {rows} of {several} in "
        f"{format_count(splits.keys, 'key')}; {', '.join(sums)}",
    )


def for_duplicate_keys(
    keys: Sequence[str], column: str | None, repeated: int, kept: int, matched: int
) -> list[Hint]:
    """The column that would make the repeated keys of both sides unique.

    `kept`: how many of the `matched` rows have the same value in it on both sides, so
    still match with it.
    """
    if column is None or not repeated or not kept or HALF * kept < matched:
        return []
    return [
        Hint(
            kind=HintKind.UNIQUE_KEY,
            column=column,
            flag=command_line.key_flags([*keys, column]),
            count=repeated,
            total=repeated,
            text=f"{format_count(repeated, 'key', 'repeat')}; with {column} in the key "
            f"none repeats, and {format_share(kept, matched, 'matched row')} still "
            f"{conjugate(kept, 'match')}",
        )
    ]


def _rule_hint(column: str, rules: RuleTexts, count: int, total: int) -> Hint:
    words = [_describe_rule(rule) for _, rule in rules]
    what = " and ".join(dict.fromkeys(word for word in words if word))
    return Hint(
        kind=HintKind.RULE,
        column=column,
        flag=command_line.rule_flags(column, rules),
        count=count,
        total=total,
        text=f"{column}: {total:,} {conjugate(total, 'differ')}, "
        f"{format_percent(count, total)} {what}",
    )


def _key_hint(columns: Sequence[str], rule: str, pairs: int, missing: int) -> Hint:
    key = join_names(columns)
    side_rules = _of_both(rule)
    return Hint(
        kind=HintKind.KEY_RULE,
        column=columns[0],
        flag=" ".join(
            command_line.rule_flags(column, side_rules) for column in columns
        ),
        count=pairs,
        total=missing,
        text=f"{key}: {format_count(missing, 'row', 'are missing')}; "
        f"{format_percent(pairs, missing)} would match an extra row if "
        f"{_describe_rule(rule)} were ignored",
    )


def _describe_rule(rule: str) -> str:
    """What a rule ignores, in words."""
    name, _, inner = rule.partition("(")
    if name != "decimal" or not inner:
        return RULE_DESCRIPTIONS[name]
    words = [text for word, text in NOTATION_DESCRIPTIONS.items() if word in inner]
    return " and ".join(words) or "rounding"


def _find_best_rules(
    changes: pl.DataFrame,
    added_to_others: Callable[[RuleTexts], GivenRules],
    candidates: Iterable[RuleTexts],
    total: int,
) -> tuple[RuleTexts, pl.Series] | None:
    """The rules that explain most, and which changes they explain.

    Ties go to the first.
    """
    best, most = None, 0
    for rules in candidates:
        settled = _changes_settled_by(changes, added_to_others(rules))
        count = _count_cells(changes, settled)
        if count > most and count * MIN_SETTLED_ONE_IN >= total:
            best, most = (rules, settled), count
    return best


def _changes_settled_by(changes: pl.DataFrame, given: GivenRules) -> pl.Series:
    chain = assemble_chain("", given)
    return equal_under_rules(chain, changes["old"], changes["new"])


def _propose_rewriting_rules(
    changes: pl.DataFrame, given: GivenRules, chain: Chain
) -> Iterator[RuleTexts]:
    """Rules that may make the changes equal: alone, or after `trim`."""
    kinds = set(changes["kind"].unique())
    single = [_of_both(rule) for rule, settles in BY_KIND if kinds & settles]
    if Kind.DATE_FORMAT in kinds:
        dated = changes.filter(pl.col("kind") == Kind.DATE_FORMAT)
        single += map(_of_both, _date_rules(dated["old"], dated["new"]))
    single += map(_of_both, _null_rules(changes, chain))
    if any(changes[side].str.contains(WRAPPED).any() for side in SIDES):
        single.append(_of_both("unwrap"))
    notations = _notation_rules(changes)
    single += notations
    if Kind.PUNCTUATION in kinds and not notations:
        marked = changes.filter(pl.col("kind") == Kind.PUNCTUATION)
        single += map(_of_both, _strip_rules(marked["old"], marked["new"]))
    single += _implied_point_rules(changes)
    single += _day_order_rules(changes)
    single += filter(partial(_explains_most, changes), find_zone_rules(changes))
    if _has_own_typed_rule(given):
        single = [rules for rules in single if not any(map(_is_typed, rules))]
    yield from single
    # A rule reads a whole text: `decimal` does not read a number beside a space.
    if any(_has_outer_whitespace(changes[side]) for side in ("old", "new")):
        trim = _of_both("trim")
        yield from ((*trim, *rules) for rules in single if rules != trim)


def _notation_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for numbers in the notation of a source, of one side or of both."""
    old, new = (find_notation(changes[side]) for side in SIDES)
    if not (old or new):
        return []
    # Only a decimal comma changes what a number without a sign means.
    if ("comma" in old) == ("comma" in new):
        return [_of_both(write_decimal({**old, **new}))]
    return [
        tuple(
            (side, write_decimal(words))
            for side, words in zip(SIDES, (old, new), strict=True)
            if words
        )
    ]


def _implied_point_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for whole numbers with implied decimals, if they explain most changes."""
    found = []
    for side, other in (SIDES, SIDES[::-1]):
        whole = changes[side].str.contains(r"^[0-9]+$")
        places = changes[other].str.extract(r"^[+-]?[0-9]+\.([0-9]+)$")
        sizes = places.drop_nulls().str.len_bytes().unique()
        if not whole.any() or len(sizes) > MAX_RULES:
            continue
        for size in sizes.sort():
            rules: RuleTexts = ((side, f"scale({size})"),)
            if _explains_most(changes, rules):
                found.append(rules)
    return found


def _day_order_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for days whose order of day and month differs between the sides."""
    slashed = r"^[0-9]{1,2}/[0-9]{1,2}/[12][0-9]{3}$"
    if not all(changes[side].str.contains(slashed).any() for side in SIDES):
        return []
    orders: list[RuleTexts] = [
        tuple((side, f"date({form})") for side, form in zip(SIDES, order, strict=True))
        for order in (DAY_ORDERS, DAY_ORDERS[::-1])
    ]
    return [rules for rules in orders if _explains_most(changes, rules)]


def _explains_most(changes: pl.DataFrame, rules: RuleTexts) -> bool:
    """Whether rules that read the same text as another value explain most changes."""
    settled = _changes_settled_by(changes, _with_steps(NO_GIVEN, [rules]))
    count, total = _count_cells(changes, settled), int(changes["rows"].sum())
    return count >= MIN_ROUNDINGS and count >= MIN_SHIFTED_SHARE * total


def _has_outer_whitespace(texts: pl.Series) -> bool:
    """Whether some text begins or ends with white space."""
    return bool((texts != texts.str.strip_chars()).any())


def _date_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """Rules that read one format of each side."""
    formats = [find_formats(texts) for texts in (old, new)]
    return [f"date({o}|{n})" for o, n in itertools.product(*formats) if o != n]


def _null_rules(changes: pl.DataFrame, chain: Chain) -> list[str]:
    """A `nulls` rule for the markers that differ from a blank or another marker.

    It spells them as the rules before it leave them.
    """
    if not any(changes[side].is_in(NULLS).any() for side in SIDES):
        return []
    blank = ["", *NULLS]
    both = changes.filter(pl.all_horizontal(pl.col("old", "new").is_in(blank)))
    left = pl.concat(
        both.select(normal_form(_text_rules(chain, side), pl.col(side)).alias("word"))
        for side in SIDES
    )["word"]
    left = left.unique().sort()
    spelled = ",".join(word for word in left if word)
    return [f"nulls({spelled})"] if spelled else []


def _text_rules(chain: Chain, side: str) -> list[Rule]:
    """The rules before the typed one, after which a pasted text rule comes."""
    return [rule for rule in chain.of(side) if not rule.family]


def _propose_tolerance(
    changes: pl.DataFrame, existing: GivenRules, chain: Chain
) -> list[RuleTexts]:
    """The smallest tolerance that explains most roundings; [] without roundings."""
    typed = {rule.family for rule in chain.of("old") if rule.family}
    if _has_own_typed_rule(existing) or not typed <= {"number"}:
        return []
    if not any(changes[side].str.contains(".", literal=True).any() for side in SIDES):
        return []
    read = _normalize_changes(changes, chain)
    same = read["old"] == read["new"]
    best, most = list[RuleTexts](), MIN_ROUNDINGS - 1
    for kept in _candidate_decimal_places(changes, read):
        shorter = (read["fewer"] <= kept) & (read["more"] > kept)
        # Half a unit of the last place for rounding, a whole unit for digits cut off.
        for least in (Decimal(5).scaleb(-kept - 1), Decimal(1).scaleb(-kept)):
            near = same | Number(least).near(read["old"], read["new"])
            rounded, settled = (
                _count_cells(read, near & shorter),
                _count_cells(read, near),
            )
            if rounded > most and (settled - rounded) * MAX_OTHERS_ONE_IN <= settled:
                best, most = [_of_both(f"decimal(abs={least:f})")], rounded
    return best


def _normalize_changes(changes: pl.DataFrame, chain: Chain) -> pl.DataFrame:
    """Changes in normal form.

    Of roundings, the `fewer` and the `more` decimal places.
    """
    # Days have normal forms as well, but no point.
    numbers = pl.all_horizontal(pl.col(*SIDES).str.starts_with(NORMAL_PREFIX))
    places = [_decimal_places_expr(side).cast(pl.Int64) for side in SIDES]
    fewer, more = pl.min_horizontal(places), pl.max_horizontal(places)
    uneven = (
        numbers & (fewer < more) & pl.all_horizontal(at.is_not_null() for at in places)
    )
    return (
        changes.lazy()
        .with_columns(
            normal_form([*chain.of(side), Number()], pl.col(side)).alias(side)
            for side in SIDES
        )
        .with_columns(
            fewer=pl.when(uneven).then(fewer), more=pl.when(uneven).then(more)
        )
        .collect(engine="in-memory")
    )


def _candidate_decimal_places(changes: pl.DataFrame, read: pl.DataFrame) -> list[int]:
    """The decimal places to which numbers may have been rounded, most first."""
    most = int(read["more"].max() or 0)  # type: ignore[arg-type]
    if not most:
        return []
    written = [_decimal_places_expr(side) for side in SIDES]
    seen = changes.select(pl.concat_list(written).explode()).to_series()
    return sorted(
        (int(at) for at in seen.fill_null(0).unique() if at < most), reverse=True
    )


def _decimal_places_expr(side: str) -> pl.Expr:
    """How much is behind the point of a text; null without one."""
    text = pl.col(side).str.strip_chars()
    return text.str.len_bytes() - text.str.find(".", literal=True) - 1


def _count_cells(changes: pl.DataFrame, settled: pl.Series) -> int:
    """The number of cells with these changes."""
    return int(changes["rows"].filter(settled).sum())


def _candidate_key_rules(sides: Sides) -> Iterator[tuple[tuple[str, ...], str]]:
    """Rules that change some key, for each such column and for all of them together."""
    columns: dict[str, list[str]] = {}
    for name in sides[0].columns:
        for rule in _find_applicable_rules(sides[0][name], sides[1][name]):
            columns.setdefault(rule, []).append(name)
    for rule, names in columns.items():
        yield from (((name,), rule) for name in names)
        if len(names) > 1:
            yield tuple(names), rule


def _find_applicable_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """The rules that change a value in one of two lists of keys."""
    text = pl.col("text")
    tells = (
        pl.concat([old, new])
        .alias("text")
        .to_frame()
        .select(
            trim=(text != text.str.strip_chars()).any(),
            casefold=(text != text.str.to_uppercase()).any(),
            lstrip0=text.str.starts_with("0").any(),
            decimal=text.str.contains(r"[.,+-]").any(),
            unwrap=text.str.contains(WRAPPED).any(),
            blanks=text.str.contains(r"[^!-~]").any(),
            nfc=text.str.contains(r"[^\x00-\x7f]").any(),
            strip=text.str.contains(PUNCTUATION).any(),
        )
        .row(0, named=True)
    )
    rules = [rule for rule, some in tells.items() if some and rule != "strip"]
    if tells["strip"]:
        strips = _strip_rules(old, new)
        rules += [rule for rule in strips if _keeps_keys_apart(rule, (old, new))]
    return rules + _date_rules(old, new)


def _strip_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """A rule that drops the punctuation which only one side has."""
    marks = [
        set(texts.str.extract_all(PUNCTUATION).explode().drop_nulls().unique())
        for texts in (old, new)
    ]
    characters = "".join(sorted(marks[0] ^ marks[1]))
    return [f"strip({characters})"] if characters else []


def _keeps_keys_apart(rule: str, sides: Iterable[pl.Series]) -> bool:
    """Whether no two keys of a side become one."""
    strip = parse_rule(rule)
    for texts in sides:
        keys = texts.unique().alias("text").to_frame()
        forms = keys.select(strip.normal(pl.col("text"))).to_series()
        if forms.n_unique() < len(keys):
            return False
    return True


def _add_rule(
    chains: GivenByColumn, columns: Sequence[str], rule: str
) -> GivenByColumn:
    return {
        name: given.with_rules([rule]) if name in columns else given
        for name, given in chains.items()
    }


def _count_pairs(sides: Sides, chains: GivenByColumn) -> int:
    """The number of rows that have a partner under these rules."""
    assembled = {name: assemble_chain(name, given) for name, given in chains.items()}
    left, right = (
        rows.lazy()
        .select(
            normal_form(chain.of(side), pl.col(name)).alias(name)
            for name, chain in assembled.items()
        )
        .group_by(pl.all())
        .agg(pl.len().alias(ROW_COUNT))
        for rows, side in zip(sides, SIDES, strict=True)
    )
    both = left.join(right, on=list(chains))
    # Rows of equal keys pair one to one, so the smaller number of rows counts.
    each = pl.min_horizontal(ROW_COUNT, f"{ROW_COUNT}_right")
    return int(both.select(each.sum()).collect(engine="in-memory").item())


def _drop_key_hints(
    sides: Sides,
    names: Mapping[str, str],
    chains: GivenByColumn,
    pairs: int,
    sample: pl.DataFrame,
) -> Iterator[Hint]:
    """Keys without one column, if the others are nearly unique and pair most rows."""
    missing, extra = (side.height for side in sides)
    for dropped in names if len(names) > 1 else ():
        rest = {name: chain for name, chain in chains.items() if name != dropped}
        reached = _count_pairs(sides, rest)
        most = HALF * (reached - pairs) >= min(missing, extra)
        # Of the sample as well: a few unmatched rows may be unique by chance.
        if most and all(_is_nearly_unique(rows, rest) for rows in (*sides, sample)):
            yield Hint(
                kind=HintKind.DROP_KEY,
                column=names[dropped],
                flag=command_line.key_flags(names[name] for name in rest),
                count=reached,
                total=missing,
                text=f"{format_count(missing, 'row', 'are missing')}; "
                f"{format_percent(reached, missing)} would match an extra row "
                f"with another {names[dropped]}",
            )


def _is_nearly_unique(side: pl.DataFrame, columns: Iterable[str]) -> bool:
    """Whether at most 5% of the rows repeat in these columns."""
    return (
        MAX_OTHERS_ONE_IN * side.select(list(columns)).n_unique()
        >= (MAX_OTHERS_ONE_IN - 1) * side.height
    )


def _find_hints(evidence: Evidence) -> Iterator[Hint]:
    """Hints about renames, splits and keys, then the rules of columns, most first."""
    yield from for_renames(evidence.renamed, evidence.agreements)
    yield from evidence.swapped
    # Splits refer to the compared columns by their ordinals: the sorted names.
    splits = for_splits(sorted(evidence.columns), *evidence.splits)
    yield from splits
    # If most repeated keys are splits, the column that makes their rows unique is a
    # line number, which the other side does not have.
    if HALF * sum(each.total for each in splits) < evidence.repeated:
        yield from for_duplicate_keys(
            evidence.keys,
            evidence.unique_column,
            evidence.repeated,
            evidence.unchanged,
            evidence.matched,
        )
    yield from _find_key_hints(evidence)
    rules = [hint for each in evidence.differing for hint in each.hints]
    yield from sorted(rules, key=lambda hint: -hint.total)


def _find_key_hints(evidence: Evidence) -> Iterable[Hint]:
    old, new = (side.keys for side in evidence.unmatched)
    if old is None or new is None or old.is_empty() or new.is_empty():
        return ()
    sample = evidence.samples[OLD]
    # What is lost is not explained by another key.
    if damaged := for_damaged_keys((old, new), evidence.key_names):
        return damaged
    return for_keys((old, new), evidence.key_names, evidence.given, sample)


def _load_hint(*, kind: str, **values: Any) -> Hint:
    return Hint(HintKind(kind), **values)


HINTS: Final = Finding(
    name="hints",
    table="hint",
    fields=(
        Field("kind"),
        Field("column", "column_name"),
        Field("flag"),
        Field("count"),
        Field("total"),
        Field("text"),
    ),
    load=_load_hint,
    find=_find_hints,
    mask=show_unchanged,
    holds_values=False,
)
