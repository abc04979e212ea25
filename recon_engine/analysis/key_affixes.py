"""A hint about keys: one side has the same characters before or after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine import command_line
from recon_engine.formatting import format_count
from recon_engine.model import SIDES, Hint, HintKind
from recon_engine.records import dataclass
from recon_engine.rules.assembly import GivenRules, assemble_chain
from recon_engine.rules.chains import normal_form


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.analysis.evidence import Evidence

    Sides = tuple[pl.DataFrame, pl.DataFrame]


# Fewer rows may pair by chance; so may less than half of the side that has fewer.
LEAST_PAIRS: Final = 3
HALF: Final = 2
LONGEST: Final = 10
# Enough to choose a length, which is then measured on all unmatched keys.
FIRST_KEYS: Final = 200
NAMES: Final = {True: "first", False: "last"}
# What a name of `--derive` is quoted for.
DERIVE_CHARS: Final = ",()="


@dataclass(frozen=True, slots=True)
class _Affix:
    """So many characters at one end of a key column, the same in all rows of a side.

    `at`: the side, 0 for OLD. `begins`: whether it is the beginning.
    """

    column: str
    at: int
    begins: bool
    size: int

    def cut(self) -> pl.Expr:
        """The column without it."""
        text = pl.col(self.column).str
        return text.slice(self.size) if self.begins else text.head(-self.size)


def find_affix(evidence: Evidence, sides: Sides) -> list[Hint]:
    """The prefix or the suffix without which most unmatched keys pair, if there is one.

    `sides`: the key columns of the missing and of the extra rows. Keys are counted
    exactly. None is proposed if a key that pairs is not unique on both sides.
    """
    if not any(_may_share(rows, evidence.given) for rows in sides):
        return []
    forms = _read_keys(sides, evidence.given)
    best, most = None, 0
    for affix in _list_affixes(forms):
        count = _count_pairs(forms, affix)
        if count > most:
            best, most = affix, count
    enough = max(LEAST_PAIRS, -(-min(len(rows) for rows in sides) // HALF))
    if best is None or most < enough:
        return []
    return [_affix_hint(best, most, evidence, sides)]


def _may_share(rows: pl.DataFrame, given: Mapping[str, GivenRules]) -> bool:
    """Whether the first keys of a side share an affix, as all of them would have to.

    Most pairs have none, and this takes no query. Of a column with rules it is unknown.
    """
    for name in rows.columns:
        few: list[str] = rows[name].head(FIRST_KEYS).to_list()
        backwards = [text[::-1] for text in few]
        ends = (_shared_by(min(each), max(each)) for each in (few, backwards))
        # Digits alone are no affix.
        if any(end and not end.isdecimal() for end in ends):
            return True
        if given.get(name, GivenRules()) != GivenRules():
            return True
    return False


def _read_keys(sides: Sides, given: Mapping[str, GivenRules]) -> Sides:
    """The normal forms of keys."""
    chains = {
        name: assemble_chain(name, given.get(name, GivenRules()))
        for name in sides[0].columns
    }
    old, new = (
        rows.select(
            normal_form(chain.of(side), pl.col(name)).alias(name)
            for name, chain in chains.items()
        )
        for rows, side in zip(sides, SIDES, strict=True)
    )
    return old, new


def _list_affixes(forms: Sides) -> Iterator[_Affix]:
    """For each column, side and end the length by which most of the first keys pair."""
    for at, rows in enumerate(forms):
        few, others = rows.head(FIRST_KEYS), forms[1 - at]
        for column in rows.columns:
            least, most = _lengths(rows[column])
            fewest, longest = _lengths(others[column])
            # Only these leave a text as long as some of the other side.
            sizes = [
                size
                for size in range(1, min(least, 1 + LONGEST))
                if least - size <= longest and fewest <= most - size
            ]
            for begins in (True, False) if sizes else ():
                texts = rows[column] if begins else rows[column].str.reverse()
                shared = _shared_start(texts)
                tried = [
                    _Affix(column, at, begins, size)
                    for size in sizes
                    # One more digit makes another number.
                    if size <= len(shared) and not shared[:size].isdecimal()
                ]
                counted = [
                    (_cut(few, affix).join(others, on=rows.columns, how="semi"), affix)
                    for affix in tried
                ]
                found = [(len(pairs), affix) for pairs, affix in counted if len(pairs)]
                if found:
                    yield max(found, key=lambda each: each[0])[1]


def _lengths(texts: pl.Series) -> tuple[int, int]:
    """The characters of the shortest and of the longest text."""
    lengths = texts.str.len_chars()
    return int(lengths.min() or 0), int(lengths.max() or 0)  # type: ignore[arg-type]


def _shared_start(texts: pl.Series) -> str:
    """The characters with which all texts begin, as far as they are of interest."""
    return _shared_by(str(texts.min()), str(texts.max()))


def _shared_by(first: str, last: str) -> str:
    """The same of the first and the last text in order: all between share it too."""
    size = 0
    while size < min(len(first), len(last), LONGEST) and first[size] == last[size]:
        size += 1
    return first[:size]


def _cut(rows: pl.DataFrame, affix: _Affix) -> pl.DataFrame:
    return rows.with_columns(affix.cut())


def _count_pairs(forms: Sides, affix: _Affix) -> int:
    """The number of keys that pair without it; 0 if one of them is not unique."""
    cut, others = _cut(forms[affix.at], affix), forms[1 - affix.at]
    keys = cut.columns
    pairs = cut.join(others, on=keys)
    # Of a key that repeats, each row pairs with each.
    return len(pairs) if pairs.n_unique() == len(pairs) else 0


def _affix_hint(affix: _Affix, count: int, evidence: Evidence, sides: Sides) -> Hint:
    name = evidence.key_names[affix.column]
    missing = len(sides[0])
    side = SIDES[affix.at]
    return Hint(
        kind=HintKind.KEY_RULE,
        column=name,
        flag=_affix_flag(affix, evidence, sides[affix.at][affix.column]),
        count=count,
        total=missing,
        text=f"{name}: {format_count(missing, 'row', 'are missing')}; {count:,} would"
        f" match an extra row without the {NAMES[affix.begins]}"
        f" {format_count(affix.size, 'character')} of {side.upper()}, which are the"
        f" same in all of its {format_count(len(sides[affix.at]), 'unmatched row')}",
    )


def _affix_flag(affix: _Affix, evidence: Evidence, texts: pl.Series) -> str:
    """The flags that derive the key; "" where they would not do what the hint says.

    A derived column is made of the texts of all rows, also of those that match already.
    """
    old = evidence.key_names[affix.column]
    names = old, evidence.new_names.get(old, old)
    has_rules = evidence.given.get(affix.column, GivenRules()) != GivenRules()
    bounds = _slice_bounds(affix, texts)
    if evidence.matched or has_rules or bounds is None:
        return ""
    derived = _free_name(old, evidence)
    # The other side has the whole column under the same name.
    kept = [bounds if at == affix.at else "1" for at in range(len(SIDES))]
    flags = [
        f"--{side}-derive {command_line.quoted(text)}"
        for side, given, name, each in zip(
            SIDES, evidence.derive, names, kept, strict=True
        )
        for text in (*given, _slice(derived, name, each))
    ]
    keys = [derived if name == old else name for name in evidence.key_names.values()]
    ignored = command_line.quote_name(old, ",")
    return " ".join(
        [
            *flags,
            f"--ignore {command_line.quoted(ignored)}",
            command_line.key_flags(keys),
        ]
    )


def _slice(derived: str, source: str, bounds: str) -> str:
    names = (command_line.quote_name(each, DERIVE_CHARS) for each in (derived, source))
    return "{}=slice({},{})".format(*names, bounds)


def _slice_bounds(affix: _Affix, texts: pl.Series) -> str | None:
    """The characters that `slice` keeps; None for a suffix of keys of many lengths."""
    if affix.begins:
        return str(affix.size + 1)
    lengths: Sequence[int] = texts.str.len_chars().unique().to_list()
    return f"1,{lengths[0] - affix.size}" if len(lengths) == 1 else None


def _free_name(name: str, evidence: Evidence) -> str:
    """A name for the derived column that neither side has.

    Nor one that differs in case or blanks only, which `--match-names` would pair.
    """
    known = {each.strip().casefold() for each in evidence.taken}
    found, number = f"{name}_PART", 1
    while found.strip().casefold() in known:
        number += 1
        found = f"{name}_PART{number}"
    return found
