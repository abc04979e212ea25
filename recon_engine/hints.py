"""Hints: what would explain differences, measured, with the flag to paste. Pure.

Nothing here is guessed: a rule is tried on the very cells or keys that differ, by the
functions that would apply it, and a hint says how many of them it settles. It is given
where that is one in a hundred at least, and never applied.

A tolerance could swallow real changes, so one is proposed for roundings only: where one
side is the other rounded or cut to fewer places, and at most one in twenty of the cells
that the tolerance would settle is anything else. Three are the least.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import flags
from recon_engine.errors import listed
from recon_engine.kinds import DATES, Kind
from recon_engine.model import Hint, HintKind
from recon_engine.reconciliation import percent
from recon_engine.rules import (
    NORMAL,
    Number,
    Rule,
    equal,
    normal_form,
    parse,
    tolerates,
)


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.rules import Rules


SETTLES: Final = 100
OTHERS: Final = 20
LEAST_ROUNDINGS: Final = 3
MOST_RULES: Final = 3
HALF: Final = 2
SIDES: Final = ("old", "new")
NULLS: Final = ("NULL", "null", "Null", "NA", "N/A", "NaN", "nan", "None", r"\N")
FORMATS: Final = (
    *DATES,
    (r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2} 00:00:00$", "%Y-%m-%d 00:00:00"),
    (r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T00:00:00$", "%Y-%m-%dT00:00:00"),
)
WORDS: Final = {
    "trim": "white space",
    "casefold": "case",
    "lstrip0": "leading zeros",
    "decimal": "number format",
    "date": "date format",
    "nulls": "words for a blank",
}
BY_KIND: Final = (
    ("trim", {Kind.WHITESPACE}),
    ("casefold", {Kind.CASE}),
    ("lstrip0", {Kind.LEADING_ZEROS}),
    ("decimal", {Kind.LEADING_ZEROS, Kind.NUMBER_FORMAT}),
)
ROWS: Final = "\0rows"
Spelled = tuple[str, ...]
Sides = tuple[pl.DataFrame, pl.DataFrame]
Chains = dict[str, tuple[Rule, ...]]


def may_settle() -> pl.Expr:
    """Of `changes` of a column without rules: whether `for_column` may find anything.

    Without one such change it finds nothing, and need not be asked.
    """
    worded = {each.value for _, settles in BY_KIND for each in settles}
    kinds = pl.col("kind").is_in([*sorted(worded), Kind.DATE_FORMAT.value])
    words = pl.any_horizontal(pl.col(*SIDES).is_in(NULLS))
    digits = [
        pl.col(side).str.strip_chars().str.extract(r"\.([0-9]*)$").fill_null("")
        for side in SIDES
    ]
    old, new = (each.str.len_bytes() for each in digits)
    short_old, short_new = (
        each.str.strip_chars_end("0").str.len_bytes() for each in digits
    )
    return kinds | words | (old != new) | (short_old != short_new)


def for_column(
    column: str, changes: pl.DataFrame, given: Sequence[Rule] = ()
) -> list[Hint]:
    """The rules that would settle the `changes` of a column, each after the one before.

    `changes`: as `patterns` has them; `given`: the rules that the column has already,
    to which a pasted one is added. Rules that change no value come first.
    """
    total, chain, left = int(changes["rows"].sum()), tuple(given), changes
    found: list[Hint] = []
    while len(found) < MOST_RULES and not left.is_empty() and not tolerates(chain):
        best = _best(left, chain, _rewritings(left, chain), total) or _best(
            left, chain, _roundings(left, chain), total
        )
        if best is None:
            break
        rules, settled = best
        count = _count(left, settled)
        found.append(_rule_hint(column, rules, count, total))
        chain, left = (*chain, *map(parse, rules)), left.filter(~settled)
    return found


def for_keys(
    sides: Sides, names: Mapping[str, str], rules: Rules, sample: pl.DataFrame
) -> list[Hint]:
    """What would pair up missing and extra rows: rules of the key, or a key less.

    `sides`: the missing and the extra rows; `names`: what their key columns are called
    by people; `sample`: of all rows of OLD.
    """
    old, new = (side.select(list(names)) for side in sides)
    chains = {name: tuple(rules.get(name, ())) for name in names}
    pairs, found = 0, list[Hint]()
    while len(found) < MOST_RULES:
        tried = [
            (_pairs((old, new), longer), columns, rule, longer)
            for columns, rule in _key_rules((old, new))
            for longer in [_with(chains, columns, rule)]
        ]
        reached, columns, rule, longer = max(
            tried, key=lambda each: each[0], default=(0, (), "", chains)
        )
        gained = reached - pairs
        if gained <= 0 or gained * SETTLES < old.height:
            break
        pairs, chains = reached, longer
        people = [names[column] for column in columns]
        found.append(_key_hint(people, rule, gained, old.height))
    return [*found, *_without_one((old, new), names, chains, pairs, sample)]


def for_renames(
    renamed: Iterable[tuple[str, str]],
    agreements: Mapping[tuple[str, str], tuple[int, int]],
) -> list[Hint]:
    """Columns of either side that say the same, as far as that was measured."""
    return [
        Hint(
            kind=HintKind.RENAME,
            column=old,
            flag=flags.rename(old, new),
            count=alike,
            total=rows,
            text=f"{old} of OLD and {new} of NEW agree in {alike:,} of {rows:,} rows",
        )
        for old, new in renamed
        for alike, rows in [agreements.get((old, new), (0, 0))]
    ]


def for_repeats(keys: Sequence[str], column: str | None, repeated: int) -> list[Hint]:
    """The column that would make the repeated keys of both sides unique."""
    if column is None or not repeated:
        return []
    return [
        Hint(
            kind=HintKind.UNIQUE_KEY,
            column=column,
            flag=flags.keys([*keys, column]),
            count=repeated,
            total=repeated,
            text=f"{repeated:,} keys repeat; with {column} none does on either side",
        )
    ]


def _rule_hint(column: str, rules: Spelled, count: int, total: int) -> Hint:
    what = " and ".join(_words(rule) for rule in rules)
    return Hint(
        kind=HintKind.RULE,
        column=column,
        flag=flags.rule(column, rules),
        count=count,
        total=total,
        text=f"{column}: {total:,} differ, {percent(count, total)} {what}",
    )


def _key_hint(columns: Sequence[str], rule: str, pairs: int, missing: int) -> Hint:
    key = listed(columns)
    return Hint(
        kind=HintKind.KEY_RULE,
        column=columns[0],
        flag=" ".join(flags.rule(column, [rule]) for column in columns),
        count=pairs,
        total=missing,
        text=f"{key}: {missing:,} rows are missing, {percent(pairs, missing)} of them "
        f"extra but for {_words(rule)}",
    )


def _words(rule: str) -> str:
    """What a rule settles, in words."""
    name, _, inner = rule.partition("(")
    return "rounding" if name == "decimal" and inner else WORDS[name]


def _best(
    changes: pl.DataFrame,
    chain: Sequence[Rule],
    candidates: Iterable[Spelled],
    total: int,
) -> tuple[Spelled, pl.Series] | None:
    """The rules that settle most, and which of the changes; the first of equals."""
    best, most = None, 0
    for rules in candidates:
        settled = _settled(changes, [*chain, *map(parse, rules)])
        count = _count(changes, settled)
        if count > most and count * SETTLES >= total:
            best, most = (rules, settled), count
    return best


def _settled(changes: pl.DataFrame, rules: Sequence[Rule]) -> pl.Series:
    return equal(rules, changes["old"], changes["new"])


def _rewritings(changes: pl.DataFrame, chain: Sequence[Rule]) -> Iterator[Spelled]:
    """Rules that may call the changes the same value: alone, or after white space."""
    kinds = set(changes["kind"].unique())
    single = [rule for rule, settles in BY_KIND if kinds & settles]
    if Kind.DATE_FORMAT in kinds:
        dated = changes.filter(pl.col("kind") == Kind.DATE_FORMAT)
        single += _date_rules(dated["old"], dated["new"])
    single += _null_rules(changes, chain)
    yield from ((rule,) for rule in single)
    if any(_has_ends(changes[side]) for side in ("old", "new")):
        yield from (("trim", rule) for rule in single if rule != "trim")


def _has_ends(texts: pl.Series) -> bool:
    """Whether some text begins or ends with white space."""
    return bool((texts != texts.str.strip_chars()).any())


def _date_rules(old: pl.Series, new: pl.Series) -> list[str]:
    """Rules that read one format of either side."""
    formats = [
        [form for pattern, form in FORMATS if texts.str.contains(pattern).any()]
        for texts in (old.str.strip_chars(), new.str.strip_chars())
    ]
    return [f"date({o}|{n})" for o, n in itertools.product(*formats) if o != n]


def _null_rules(changes: pl.DataFrame, chain: Sequence[Rule]) -> list[str]:
    """A rule for the words that stand where the other side has another, or a blank.

    It names them as the rules before it leave them.
    """
    if not any(changes[side].is_in(NULLS).any() for side in SIDES):
        return []
    blank = ["", *NULLS]
    both = changes.filter(pl.all_horizontal(pl.col("old", "new").is_in(blank)))
    words = pl.concat([both["old"], both["new"]]).alias("word").unique().to_frame()
    left = words.select(normal_form(chain, pl.col("word"))).to_series().unique().sort()
    spelled = ",".join(word for word in left if word)
    return [f"nulls({spelled})"] if spelled else []


def _roundings(changes: pl.DataFrame, chain: Sequence[Rule]) -> list[Spelled]:
    """The tolerance that settles most roundings, the least of equals, if there are."""
    if not any(changes[side].str.contains(".", literal=True).any() for side in SIDES):
        return []
    read = _read(changes, chain)
    same = read["old"] == read["new"]
    best, most = list[Spelled](), LEAST_ROUNDINGS - 1
    for kept in _kept(changes, read):
        shorter = (read["fewer"] <= kept) & (read["more"] > kept)
        for least in (Decimal(5).scaleb(-kept - 1), Decimal(1).scaleb(-kept)):
            near = same | Number(least).near(read["old"], read["new"])
            rounded, settled = _count(read, near & shorter), _count(read, near)
            if rounded > most and (settled - rounded) * OTHERS <= settled:
                best, most = [(f"decimal(abs={least:f})",)], rounded
    return best


def _read(changes: pl.DataFrame, chain: Sequence[Rule]) -> pl.DataFrame:
    """Changes in their normal forms: if of a number to `fewer` places or to `more`."""
    form = [*chain, Number()]
    # Days have normal forms as well, but no point.
    numbers = pl.all_horizontal(pl.col(*SIDES).str.starts_with(NORMAL))
    places = [_places(side).cast(pl.Int64) for side in SIDES]
    fewer, more = pl.min_horizontal(places), pl.max_horizontal(places)
    uneven = (
        numbers & (fewer < more) & pl.all_horizontal(at.is_not_null() for at in places)
    )
    return (
        changes.lazy()
        .with_columns(normal_form(form, pl.col(side)).alias(side) for side in SIDES)
        .with_columns(
            fewer=pl.when(uneven).then(fewer), more=pl.when(uneven).then(more)
        )
        .collect(engine="in-memory")
    )


def _kept(changes: pl.DataFrame, read: pl.DataFrame) -> list[int]:
    """To how many places numbers may have been rounded, the most first."""
    most = int(read["more"].max() or 0)  # type: ignore[arg-type]
    if not most:
        return []
    written = [_places(side) for side in SIDES]
    seen = changes.select(pl.concat_list(written).explode()).to_series()
    return sorted(
        (int(at) for at in seen.fill_null(0).unique() if at < most), reverse=True
    )


def _places(side: str) -> pl.Expr:
    """How much is behind the point of a text; null without one."""
    text = pl.col(side).str.strip_chars()
    return text.str.len_bytes() - text.str.find(".", literal=True) - 1


def _count(changes: pl.DataFrame, settled: pl.Series) -> int:
    """How many cells these changes are of."""
    return int(changes["rows"].filter(settled).sum())


def _key_rules(sides: Sides) -> Iterator[tuple[tuple[str, ...], str]]:
    """Rules that change some key on either side, for one column and for all such."""
    columns: dict[str, list[str]] = {}
    for name in sides[0].columns:
        for rule in _spellings(sides[0][name], sides[1][name]):
            columns.setdefault(rule, []).append(name)
    for rule, names in columns.items():
        yield from (((name,), rule) for name in names)
        if len(names) > 1:
            yield tuple(names), rule


def _spellings(old: pl.Series, new: pl.Series) -> list[str]:
    """The rules that could tell of two lists of keys that they are the same."""
    both = pl.concat([old, new])
    tells = {
        "trim": both != both.str.strip_chars(),
        "casefold": both != both.str.to_uppercase(),
        "lstrip0": both.str.starts_with("0"),
        "decimal": both.str.contains(r"[.,+-]"),
    }
    return [rule for rule, some in tells.items() if some.any()] + _date_rules(old, new)


def _with(chains: Chains, columns: Sequence[str], rule: str) -> Chains:
    return {
        name: (*chain, parse(rule)) if name in columns else chain
        for name, chain in chains.items()
    }


def _pairs(sides: Sides, chains: Chains) -> int:
    """How many rows of either side have a partner of their own under these rules."""
    left, right = (
        side.lazy()
        .select(
            normal_form(chain, pl.col(name)).alias(name)
            for name, chain in chains.items()
        )
        .group_by(pl.all())
        .agg(pl.len().alias(ROWS))
        for side in sides
    )
    both = left.join(right, on=list(chains))
    each = pl.min_horizontal(ROWS, f"{ROWS}_right")
    return int(both.select(each.sum()).collect(engine="in-memory").item())


def _without_one(
    sides: Sides,
    names: Mapping[str, str],
    chains: Chains,
    pairs: int,
    sample: pl.DataFrame,
) -> Iterator[Hint]:
    """A key less, where the others tell rows apart and pair most of what is left."""
    missing, extra = (side.height for side in sides)
    for dropped in names if len(names) > 1 else ():
        rest = {name: chain for name, chain in chains.items() if name != dropped}
        reached = _pairs(sides, rest)
        most = HALF * (reached - pairs) >= min(missing, extra)
        if most and all(_tells(rows, rest) for rows in (*sides, sample)):
            yield Hint(
                kind=HintKind.DROP_KEY,
                column=names[dropped],
                flag=flags.keys(names[name] for name in rest),
                count=reached,
                total=missing,
                text=f"{missing:,} rows are missing, {percent(reached, missing)} of "
                f"them extra under another {names[dropped]}",
            )


def _tells(side: pl.DataFrame, columns: Iterable[str]) -> bool:
    """Whether these columns are hardly ever the same in two rows."""
    return OTHERS * side.select(list(columns)).n_unique() >= (OTHERS - 1) * side.height
