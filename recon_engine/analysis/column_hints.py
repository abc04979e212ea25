"""Hints about a column: rules that make its differing cells equal, and damaged text.

A tolerance could hide real changes, so one is proposed for roundings only: one side is
the other rounded or cut to fewer places, and at most 5% (`MAX_OTHERS_ONE_IN`) of the
cells within the tolerance are anything else. At least three roundings are required.
"""

from __future__ import annotations

import functools
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.clock_times import INSTANT, find_zone_rules
from recon_engine.analysis.code_hints import find_code_table, may_be_codes
from recon_engine.analysis.notations import (
    COMMA,
    CURRENCY,
    DAY_ORDERS,
    IN_PARENTHESES,
    NOTATIONS,
    NULLS,
    find_notation,
    write_decimal,
)
from recon_engine.analysis.proposed_rules import (
    MAX_OTHERS_ONE_IN,
    MAX_RULES,
    MIN_SETTLED_ONE_IN,
    NO_GIVEN,
    WRAPPED,
    RuleTexts,
    apply_to_both,
    describe_rule,
    find_date_rules,
    find_strip_rules,
    has_own_typed_rule,
    is_typed,
)
from recon_engine.damage import Damage, find_damage
from recon_engine.formatting import conjugate, format_percent, format_share
from recon_engine.inputs.native.forms import apply_natively
from recon_engine.kinds import Kind
from recon_engine.model import EXACT, SIDES, Hint, HintKind
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.base import NORMAL_PREFIX
from recon_engine.rules.chains import equal_under_rules, normal_form
from recon_engine.rules.code_tables import FALSE, TRUE
from recon_engine.rules.numbers import (
    DIGIT_PATTERN,
    MAX_IMPLIED,
    NUMBER_PATTERN,
    Number,
    NumberPairs,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from recon_engine.rules.base import Rule
    from recon_engine.rules.chains import Chain


# One or two cells may look rounded by chance.
MIN_ROUNDINGS: Final = 3
# As many are read one by one sooner than a query leaves some of them out.
FEW_CHANGES: Final = 1 << 13
DAMAGE_DESCRIPTIONS: Final = {
    Damage.MISREAD: "is UTF-8 that was read as another encoding, and encoded again",
    Damage.LOST: "has ? or U+FFFD in the place of letters, which are lost",
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
# Also with days and months of one digit, which are of no kind of date.
SLASHED_DAY: Final = r"^[0-9]{1,2}/[0-9]{1,2}/[12][0-9]{3}$"
# Another place of the point, or another order of day and month, explains most of a
# column, or it is by chance.
MIN_SHIFTED_SHARE: Final = Decimal("0.8")


def for_column(
    column: str, changes: pl.DataFrame, existing: GivenRules = NO_GIVEN
) -> list[Hint]:
    """The rules that would explain a column's `changes`, each after those before it.

    `changes`: as `patterns.group_changes` returns them. `existing`: the rules that the
    column already has, to which a pasted rule is added. Rules that rewrite a value are
    tried before tolerances.
    """
    total, given, left = int(changes["rows"].sum()), existing, changes
    # The rules of the first step are asked about again, to be counted.
    settled_by = functools.cache(partial(_changes_settled_by, changes))
    steps: list[RuleTexts] = []
    while len(steps) < MAX_RULES and _may_be_worth_a_hint(left, total):
        chain = assemble_chain(column, given)
        # Of a column that has a tolerance, nothing is known to be a rewriting.
        if chain.has_tolerance:
            break
        before = partial(_with_steps, existing, steps)
        settles = partial(_changes_settled_by, left) if steps else settled_by
        best = _find_best_rules(
            left, before, settles, _propose_rewriting_rules(left, given, chain), total
        ) or _find_best_rules(
            left, before, settles, _propose_tolerance(left, existing, chain), total
        )
        if best is None:
            break
        rules, settled = best
        steps.append(rules)
        given, left = _with_steps(existing, steps), left.filter(~settled)

    def count_settled(steps: Sequence[RuleTexts]) -> int:
        return _count_cells(changes, settled_by(_with_steps(existing, steps)))

    needed = _fewest(count_settled, _without_superseded(steps))
    rules_found = [
        _rule_hint(column, rules, count, total)
        for rules, count in _counted(count_settled, needed)
    ]
    chain = assemble_chain(column, given)
    if not any(rule.family for side in SIDES for rule in chain.of(side)):
        table = find_code_table(column, left, given, total)
        rules_found += [table] if table else []
    return [*rules_found, *_damage_hints(column, changes, total)]


def _may_be_worth_a_hint(left: pl.DataFrame, total: int) -> bool:
    """Whether rules that explain all these changes would explain enough for a hint."""
    cells = int(left["rows"].sum())
    return cells > 0 and cells * MIN_SETTLED_ONE_IN >= total


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


def _without_superseded(steps: Sequence[RuleTexts]) -> list[RuleTexts]:
    """The steps with the typed rules of the last that has some: a column has one."""
    typed = [at for at, step in enumerate(steps) if any(map(is_typed, step))]
    kept = (
        tuple(rule for rule in step if not is_typed(rule) or at == typed[-1])
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
    count_settled: Callable[[Sequence[RuleTexts]], int], steps: Sequence[RuleTexts]
) -> list[RuleTexts]:
    """The steps without those that later ones make redundant."""
    needed = [*steps]
    for step in steps[:-1]:
        others = [each for each in needed if each is not step]
        if count_settled(others) >= count_settled(needed):
            needed = others
    return needed


def _counted(
    count_settled: Callable[[Sequence[RuleTexts]], int], steps: Sequence[RuleTexts]
) -> Iterator[tuple[RuleTexts, int]]:
    """Each step, and the number of cells that it explains after those before it.

    One that explains none without the next, such as `trim` before a tolerance, is a
    part of that.
    """
    before = 0
    rules: RuleTexts = ()
    for at, step in enumerate(steps, 1):
        reached = count_settled(steps[:at])
        rules = (*rules, *step)
        if reached > before:
            yield rules, reached - before
            before, rules = reached, ()


def find_promising_columns(changes: pl.DataFrame) -> set[int]:
    """The columns for whose changes `for_column` may have a hint, by one query.

    `changes`: of columns without rules, with the `column` of each. This is a necessary
    condition: for any other column `for_column` finds nothing.
    """
    found = (
        changes.lazy()
        .select("column", *SIDES, "rows", rewritten=_may_be_rewritten_expr())
        .filter(pl.col("rewritten") | _differ_in_places_expr())
        .collect(engine="in-memory")
    )
    of_columns = zip(
        found["column"].to_list(), found["rewritten"].to_list(), strict=True
    )
    promising = may_be_codes(changes) | {
        at for at, rewritten in of_columns if rewritten
    }
    roundings = Counter[int]()
    if promising and found.height > FEW_CHANGES:
        found = found.filter(~pl.col("column").is_in([*promising]))
    for column, old, new, rows, _ in found.iter_rows():
        if column not in promising and _may_be_rounding(old, new):
            roundings[column] += rows
            if roundings[column] >= MIN_ROUNDINGS:
                promising.add(column)
    return promising


@functools.cache
def _may_be_rewritten_expr() -> pl.Expr:
    """Whether the kind or the texts of a change are such as some rule rewrites."""
    kinds = {kind for _, every in BY_KIND for kind in every}
    kinds |= {Kind.DATE_FORMAT, Kind.DATE, Kind.SCALE, Kind.PUNCTUATION}
    kinds.add(Kind.ENCODING_DAMAGE)
    rewritten = pl.col("kind").is_in([kind.value for kind in kinds])
    times = rf"{INSTANT}|{SLASHED_DAY}"
    rewritten |= pl.all_horizontal(pl.col(*SIDES).str.contains(times))
    rewritten |= _are_words((*TRUE, *FALSE))
    shown = "|".join((WRAPPED, COMMA, CURRENCY, IN_PARENTHESES, *NOTATIONS.values()))
    return rewritten | pl.any_horizontal(
        pl.col(*SIDES).is_in(NULLS)
        | pl.col(*SIDES).str.strip_chars().str.contains(shown)
    )


@functools.cache
def _differ_in_places_expr() -> pl.Expr:
    """Whether both texts are numbers, of which one has more decimal places."""
    fewer, more = (_written_places_expr(side) for side in SIDES)
    return _both_are_numbers_expr() & (fewer != more)


def _are_words(known: Sequence[str]) -> pl.Expr:
    """Whether both sides have one of these words, in upper or lower case."""
    words = pl.col(*SIDES).str.strip_chars().str.to_lowercase()
    return pl.all_horizontal(words.is_in([*known]))


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
            f"{format_share(alike, rows, 'row')}"
            if rows
            else f"{old} of OLD and {new} of NEW have almost one name",
        )
        for old, new in renamed
        for alike, rows in [agreements.get((old, new), (0, 0))]
    ]


def _rule_hint(column: str, rules: RuleTexts, count: int, total: int) -> Hint:
    words = [describe_rule(rule) for _, rule in rules]
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


def _find_best_rules(
    changes: pl.DataFrame,
    added_to_others: Callable[[RuleTexts], GivenRules],
    settled_by: Callable[[GivenRules], pl.Series],
    candidates: Iterable[RuleTexts],
    total: int,
) -> tuple[RuleTexts, pl.Series] | None:
    """The rules that explain most, and which changes they explain.

    Ties go to the first.
    """
    best, most, cells = None, 0, int(changes["rows"].sum())
    for rules in candidates:
        settled = settled_by(added_to_others(rules))
        count = _count_cells(changes, settled)
        if count > most and count * MIN_SETTLED_ONE_IN >= total:
            best, most = (rules, settled), count
        if most == cells:
            break
    return best


def _changes_settled_by(changes: pl.DataFrame, given: GivenRules) -> pl.Series:
    chain = assemble_chain("", given)
    return equal_under_rules(chain, changes["old"], changes["new"], apply_natively)


def _propose_rewriting_rules(
    changes: pl.DataFrame, given: GivenRules, chain: Chain
) -> Iterator[RuleTexts]:
    """Rules that may make the changes equal: alone, or after `trim`."""
    kinds = set(changes["kind"].unique())
    single = [apply_to_both(rule) for rule, settles in BY_KIND if kinds & settles]
    if Kind.DATE_FORMAT in kinds:
        dated = changes.filter(pl.col("kind") == Kind.DATE_FORMAT)
        single += map(apply_to_both, find_date_rules(dated["old"], dated["new"]))
    single += map(apply_to_both, _null_rules(changes, chain))
    wrapped = pl.any_horizontal(pl.col(*SIDES).str.contains(WRAPPED).any())
    if changes.select(wrapped).item():
        single.append(apply_to_both("unwrap"))
    notations = _notation_rules(changes)
    single += notations
    if Kind.PUNCTUATION in kinds and not notations:
        marked = changes.filter(pl.col("kind") == Kind.PUNCTUATION)
        single += map(apply_to_both, find_strip_rules(marked["old"], marked["new"]))
    single += _implied_point_rules(changes)
    single += _day_order_rules(changes)
    # One word of two is no evidence that a column is of yes and no.
    both = pl.all_horizontal(_are_words(each).any() for each in (TRUE, FALSE))
    if changes.select(both).item():
        single.append(apply_to_both("boolean"))
    single += filter(partial(_explains_most, changes), find_zone_rules(changes))
    if has_own_typed_rule(given):
        single = [rules for rules in single if not any(map(is_typed, rules))]
    yield from single
    # A rule reads a whole text: `decimal` does not read a number beside a space.
    if _have_outer_whitespace(changes):
        trim = apply_to_both("trim")
        yield from ((*trim, *rules) for rules in single if rules != trim)


def _notation_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for numbers in the notation of a source, of one side or of both."""
    old, new = (find_notation(changes[side]) for side in SIDES)
    if not (old or new):
        return []
    # Only a decimal comma changes what a number without a sign means.
    if ("comma" in old) == ("comma" in new):
        return [apply_to_both(write_decimal({**old, **new}))]
    return [
        tuple(
            (side, write_decimal(words))
            for side, words in zip(SIDES, (old, new), strict=True)
            if words
        )
    ]


def _implied_point_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for whole numbers with implied decimals, if they explain most changes."""
    # `scale` takes no more places.
    point = rf"^[+-]?[0-9]+\.([0-9]{{1,{MAX_IMPLIED}}})$"
    facts = changes.select(
        *(pl.col(side).str.contains(r"^[0-9]+$").any() for side in SIDES),
        *(
            pl.col(side)
            .str.extract(point)
            .str.len_bytes()
            .drop_nulls()
            .unique()
            .sort()
            .implode()
            .alias(f"{side}_places")
            for side in SIDES
        ),
    ).row(0, named=True)
    return [
        rules
        for side, other in (SIDES, SIDES[::-1])
        for sizes in [facts[f"{other}_places"]]
        if facts[side] and len(sizes) <= MAX_RULES
        for size in sizes
        for rules in [((side, f"scale({size})"),)]
        if _explains_most(changes, rules)
    ]


def _day_order_rules(changes: pl.DataFrame) -> list[RuleTexts]:
    """Rules for days whose order of day and month differs between the sides."""
    if not all(changes[side].str.contains(SLASHED_DAY).any() for side in SIDES):
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


def _have_outer_whitespace(changes: pl.DataFrame) -> bool:
    """Whether some text begins or ends with white space."""
    texts = pl.col(*SIDES)
    outer = pl.any_horizontal((texts != texts.str.strip_chars()).any())
    return bool(changes.select(outer).item())


def _null_rules(changes: pl.DataFrame, chain: Chain) -> list[str]:
    """A `nulls` rule for the markers that differ from a blank or another marker.

    It spells them as the rules before it leave them.
    """
    marked = pl.any_horizontal(pl.col(*SIDES).is_in(NULLS).any())
    if not changes.select(marked).item():
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
    if has_own_typed_rule(existing) or not typed <= {"number"}:
        return []
    if not any(changes[side].str.contains(".", literal=True).any() for side in SIDES):
        return []
    read = _normalize_changes(changes, chain)
    same = read["old"] == read["new"]
    pairs = NumberPairs(read["old"], read["new"])
    best, most = list[RuleTexts](), MIN_ROUNDINGS - 1
    for kept in _candidate_decimal_places(changes, read):
        shorter = (read["fewer"] <= kept) & (read["more"] > kept)
        # Half a unit of the last place for rounding, a whole unit for digits cut off.
        for least in (Decimal(5).scaleb(-kept - 1), Decimal(1).scaleb(-kept)):
            near = same | pairs.are_within(least)
            rounded, settled = (
                _count_cells(read, near & shorter),
                _count_cells(read, near),
            )
            if rounded > most and (settled - rounded) * MAX_OTHERS_ONE_IN <= settled:
                best, most = [apply_to_both(f"decimal(abs={least:f})")], rounded
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
