"""Detect renamed columns whose sides have other words for the same: yes and no, codes.

Of columns of few values many rows agree by chance. So what counts is the agreement
beyond chance (Cohen's kappa), and a column for which two others fit has no partner.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.rules.chains import normal_form
from recon_engine.rules.code_tables import FALSE, TRUE, Boolean
from recon_engine.rules.texts import Casefold, Trim, Unwrap


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Words = Mapping[str, str]


# Fewer rows agree by chance.
MIN_ROWS: Final = 50
# Of the rows in which one is not blank, beyond chance: of a table of codes nearly all,
# for it has as many parameters as codes.
MIN_TRUTH: Final = 0.8
MIN_CODED: Final = 0.95
# A code of fewer rows is no evidence. More codes are names or numbers.
MIN_OF_CODE: Final = 3
MOST_CODES: Final = 20
TRUTH_RULES: Final = (Unwrap(), Trim(), Casefold(), Boolean())
WORDS: Final = frozenset({*TRUE, *FALSE})


def find_coded_columns(
    rows: tuple[pl.DataFrame, pl.DataFrame],
    only: tuple[Sequence[str], Sequence[str]],
) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Pairs of columns that agree as truth values, or by a table of codes.

    Args:
        rows: Matched rows of OLD and NEW, row by row, whose columns are `v0`…
        only: The names of these columns.

    Returns:
        For each pair the rows that agree, those in which one is not blank, and the
        number of codes of its table, 0 for truth values. No column is in two pairs.
    """
    few = [
        {
            at: texts
            for at in range(len(names))
            for texts in [side[f"v{at}"].str.strip_chars()]
            if _has_few(texts)
        }
        for side, names in zip(rows, only, strict=True)
    ]
    fitting: dict[tuple[int, int], tuple[int, int, int]] = {}
    for at, old in few[0].items():
        for to, new in few[1].items():
            found = _match_truth(old, new) or _match_codes(old, new)
            if found is not None:
                fitting[at, to] = found
    uses = Counter(at for at, _ in fitting), Counter(to for _, to in fitting)
    return {
        (only[0][at], only[1][to]): found
        for (at, to), found in fitting.items()
        if uses[0][at] == uses[1][to] == 1
    }


def _has_few(texts: pl.Series) -> bool:
    return 1 < texts.n_unique() <= MOST_CODES + 1


def _match_truth(old: pl.Series, new: pl.Series) -> tuple[int, int, int] | None:
    """The rows that agree as truth values; None if too few do."""
    if not all(map(_is_truth, (old, new))):
        return None
    left, right = (
        each.alias("v").to_frame().select(normal_form(TRUTH_RULES, pl.col("v")))["v"]
        for each in (old, new)
    )
    pairs = _count_pairs(left, right)
    same = {word: word for word, _ in pairs}
    return _agree_beyond_chance(pairs, same, MIN_TRUTH, 0)


def _is_truth(texts: pl.Series) -> bool:
    """Whether all values are words for yes and no, and both occur."""
    words = set(texts.str.to_lowercase().unique()) - {""}
    return words <= WORDS and bool(words & {*TRUE}) and bool(words & {*FALSE})


def _match_codes(old: pl.Series, new: pl.Series) -> tuple[int, int, int] | None:
    """The rows that agree by a table in which each code has one; None if too few do."""
    pairs = _count_pairs(old, new)
    table: dict[str, str] = {}
    for (left, right), count in sorted(pairs.items(), key=lambda e: (-e[1], e)):
        free = left not in table and right not in table.values()
        if free and left and right and count >= MIN_OF_CODE:
            table[left] = right
    # One code agrees with every column that is constant.
    if len(table) < 2:  # noqa: PLR2004
        return None
    return _agree_beyond_chance(pairs, table, MIN_CODED, len(table))


def _count_pairs(old: pl.Series, new: pl.Series) -> dict[tuple[str, str], int]:
    """How many rows have each pair of values, but for two blanks."""
    counted = pl.DataFrame({"old": old, "new": new}).group_by("old", "new").len()
    rows = counted.iter_rows()
    return {(left, right): count for left, right, count in rows if left or right}


def _agree_beyond_chance(
    pairs: Mapping[tuple[str, str], int], table: Words, least: float, codes: int
) -> tuple[int, int, int] | None:
    rows = sum(pairs.values())
    if rows < MIN_ROWS:
        return None
    ours, theirs = Counter[str](), Counter[str]()
    for (left, right), count in pairs.items():
        ours[left] += count
        theirs[right] += count
    alike = sum(pairs.get(each, 0) for each in table.items())
    chance = sum(ours[a] * theirs[b] for a, b in table.items()) / rows
    # Of a column with one value nearly everywhere, chance explains nearly all.
    if rows - chance < MIN_OF_CODE or alike - chance < least * (rows - chance):
        return None
    return alike, rows, codes
