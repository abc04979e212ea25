"""Hints about keys: rules, names, parts and columns by which more rows match."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.key_affixes import find_affix
from recon_engine.analysis.proposed_rules import (
    MAX_OTHERS_ONE_IN,
    MAX_RULES,
    MIN_SETTLED_ONE_IN,
    NO_GIVEN,
    PUNCTUATION,
    WRAPPED,
    apply_to_both,
    describe_rule,
    find_date_rules,
    find_strip_rules,
    has_own_typed_rule,
    is_typed,
)
from recon_engine.formatting import (
    conjugate,
    format_count,
    format_percent,
    format_share,
)
from recon_engine.lazy import lazy_pattern
from recon_engine.model import OLD, SIDES, Hint, HintKind
from recon_engine.rules.assembly import ALL_COLUMNS, GivenRules, assemble_chain
from recon_engine.rules.chains import normal_form
from recon_engine.rules.spelling import parse_rule
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.model import Splits


# A factor: `HALF * part >= whole` means at least half, in integers.
HALF: Final = 2
# A number whose last digits an exponent has replaced.
IN_EXPONENT: Final = r"^[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]{1,3}$"
EXPONENT_PATTERN: Final = lazy_pattern(IN_EXPONENT)
# NUL, because no column of a file can have such a name.
ROW_COUNT: Final = "\0rows"
# A query for each candidate takes longer than to count so few rows in Python.
FEW_ROWS: Final = 512
Sides = tuple[pl.DataFrame, pl.DataFrame]
GivenByColumn = dict[str, GivenRules]


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
    chosen: list[tuple[str, str]] = []
    while len(found) < MAX_RULES:
        # Greedy: each candidate is measured together with the rules that were chosen
        # before.
        candidates = [
            (columns, rule, _add_rule(chains, columns, rule))
            for columns, rule in _candidate_key_rules((old, new))
            if not (
                is_typed(("both", rule))
                and any(has_own_typed_rule(chains[name]) for name in columns)
            )
            and ALL_COLUMNS not in map(names.get, columns)
        ]
        counted = _count_pairs((old, new), [longer for *_, longer in candidates])
        tried = zip(counted, candidates, strict=True)
        reached, (columns, rule, longer) = max(
            tried, key=lambda each: each[0], default=(0, ((), "", chains))
        )
        gained = reached - pairs
        if gained <= 0 or gained * MIN_SETTLED_ONE_IN < old.height:
            break
        pairs, chains = reached, longer
        chosen += [(column, rule) for column in columns]
        people = [names[column] for column in columns]
        found.append(_key_hint(people, rule, gained, old.height))
    return [*found, *_drop_key_hints((old, new), names, chains, chosen, pairs, sample)]


def for_damaged_keys(sides: Sides, names: Mapping[str, str]) -> list[Hint]:
    """Key columns of which a side has numbers with exponents, and the other has not.

    The digits are lost: no rule brings them back, so none is proposed. `2E14` may be an
    intact code, unless such texts are fewer than the keys of the other side.
    """
    found = []
    for column, name in names.items():
        # All values of a side have to be such: its first one is cheaper to read.
        if not any(EXPONENT_PATTERN.match(rows[column][0]) for rows in sides):
            continue
        written = [rows[column].str.contains(IN_EXPONENT) for rows in sides]
        distinct = [rows[column].n_unique() for rows in sides]
        for at, side in enumerate(("OLD", "NEW")):
            rows, values = len(sides[at]), distinct[at]
            if (
                written[at].all()
                and not written[1 - at].any()
                and (
                    sides[at][column].str.contains("+", literal=True).all()
                    or values < min(rows, distinct[1 - at])
                )
            ):
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
    keys: Sequence[str],
    column: str | None,
    repeated: tuple[int, int],
    kept: int,
    matched: int,
) -> list[Hint]:
    """The column that would make the repeated keys of both sides unique.

    `repeated`: how many each side has. `kept`: how many of the `matched` rows have the
    same value in it on both sides, so still match with it.
    """
    if column is None or not any(repeated) or not kept or HALF * kept < matched:
        return []
    of_old, of_new = repeated
    if of_old and of_new:
        found = f"{format_count(of_old, 'key of OLD')} and {of_new:,} of NEW repeat"
    else:
        side = "OLD" if of_old else "NEW"
        found = format_count(of_old + of_new, f"key of {side}", "repeat")
    return [
        Hint(
            kind=HintKind.UNIQUE_KEY,
            column=column,
            flag=command_line.key_flags([*keys, column]),
            count=of_old + of_new,
            total=of_old + of_new,
            text=f"{found}; with {column} in the key "
            f"none repeats, and {format_share(kept, matched, 'matched row')} still "
            f"{conjugate(kept, 'match')}",
        )
    ]


def _key_hint(columns: Sequence[str], rule: str, pairs: int, missing: int) -> Hint:
    key = join_names(columns)
    side_rules = apply_to_both(rule)
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
        f"{describe_rule(rule)} were ignored",
    )


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
    both = pl.concat([old, new]).alias("text").to_frame()
    applies = both.select(_build_rule_tests()).row(0, named=True)
    rules = [rule for rule, some in applies.items() if some and rule != "strip"]
    if applies["strip"]:
        strips = find_strip_rules(old, new)
        rules += [rule for rule in strips if _keeps_keys_apart(rule, (old, new))]
    return rules + find_date_rules(old, new)


@functools.cache
def _build_rule_tests() -> list[pl.Expr]:
    """Whether some text may be changed by a rule, for each rule."""
    text = pl.col("text")
    tests = {
        "trim": text != text.str.strip_chars(),
        "casefold": text != text.str.to_uppercase(),
        "lstrip0": text.str.starts_with("0"),
        "decimal": text.str.contains(r"[.,+-]"),
        "unwrap": text.str.contains(WRAPPED),
        "blanks": text.str.contains(r"[^!-~]"),
        "nfc": text.str.contains(r"[^\x00-\x7f]"),
        "strip": text.str.contains(PUNCTUATION),
    }
    return [each.any().alias(rule) for rule, each in tests.items()]


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


def _count_pairs(sides: Sides, tried: Sequence[GivenByColumn]) -> list[int]:
    """The number of rows that have a partner, under each of these rules."""
    if not tried or max(side.height for side in sides) > FEW_ROWS:
        return [_count_by_query(sides, chains) for chains in tried]
    # A column has the same rules in most of the candidates: its forms are taken once.
    columns: list[tuple[str, GivenRules]] = []
    for each in itertools.chain.from_iterable(chains.items() for chains in tried):
        if each not in columns:
            columns.append(each)
    assembled = [(name, assemble_chain(name, given)) for name, given in columns]
    old, new = (
        rows.select(
            normal_form(chain.of(side), pl.col(name)).alias(f"{at}")
            for at, (name, chain) in enumerate(assembled)
        ).get_columns()
        for rows, side in zip(sides, SIDES, strict=True)
    )
    texts = [[column.to_list() for column in forms] for forms in (old, new)]
    found = []
    for chains in tried:
        places = [columns.index(each) for each in chains.items()]
        left, right = (
            Counter(zip(*(forms[at] for at in places), strict=True)) for forms in texts
        )
        # Rows of equal keys pair one to one, so the smaller number of rows counts.
        found.append((left & right).total())
    return found


def _count_by_query(sides: Sides, chains: GivenByColumn) -> int:
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
    each = pl.min_horizontal(ROW_COUNT, f"{ROW_COUNT}_right")
    return int(both.select(each.sum()).collect(engine="in-memory").item())


def _drop_key_hints(
    sides: Sides,
    names: Mapping[str, str],
    chains: GivenByColumn,
    chosen: Sequence[tuple[str, str]],
    pairs: int,
    sample: pl.DataFrame,
) -> Iterator[Hint]:
    """Keys without one column, if the others are nearly unique and pair most rows.

    `chains`: the rules of the key, of which `chosen` are those of hints, by column.
    """
    missing, extra = (side.height for side in sides)
    several = list(names) if len(names) > 1 else []
    rests = [
        {name: chain for name, chain in chains.items() if name != dropped}
        for dropped in several
    ]
    counted = _count_pairs(sides, rests)
    for dropped, rest, reached in zip(several, rests, counted, strict=True):
        most = HALF * (reached - pairs) >= min(missing, extra)
        # Of the sample as well: a few unmatched rows may be unique by chance.
        if most and all(_is_nearly_unique(rows, rest) for rows in (*sides, sample)):
            # The rules of other hints are counted, so they are a part of this one.
            rules = [each for each in chosen if each[0] != dropped]
            flags = [
                command_line.key_flags(names[name] for name in rest),
                *(
                    command_line.rule_flags(names[name], apply_to_both(rule))
                    for name, rule in rules
                ),
            ]
            words = " and ".join(dict.fromkeys(describe_rule(r) for _, r in rules))
            under = f" if {words} were ignored" if rules else ""
            yield Hint(
                kind=HintKind.DROP_KEY,
                column=names[dropped],
                flag=" ".join(flags),
                count=reached,
                total=missing,
                text=f"{format_count(missing, 'row', 'are missing')}; "
                f"{format_percent(reached, missing)} would match an extra row "
                f"with another {names[dropped]}{under}",
            )


def _is_nearly_unique(side: pl.DataFrame, columns: Iterable[str]) -> bool:
    """Whether at most 5% of the rows repeat in these columns."""
    return (
        MAX_OTHERS_ONE_IN * side.select(list(columns)).n_unique()
        >= (MAX_OTHERS_ONE_IN - 1) * side.height
    )


def find_key_hints(evidence: Evidence) -> Iterable[Hint]:
    """Hints by which unmatched rows find a partner; none if a side has none."""
    old, new = (side.keys for side in evidence.unmatched)
    if old is None or new is None or old.is_empty() or new.is_empty():
        return ()
    sample = evidence.samples[OLD]
    # What is lost is not explained by another key.
    if damaged := for_damaged_keys((old, new), evidence.key_names):
        return damaged
    found = for_keys((old, new), evidence.key_names, evidence.given, sample)
    return found or find_affix(evidence, (old, new))
