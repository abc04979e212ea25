"""Hints about code tables: each code of OLD has one code of NEW in a column's cells.

The table itself is made of values of cells. It is in the flag of the hint, which is
shown where values are. `without_codes` names a file in its place, for what must not
hold a value: the metrics tables, Markdown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine import command_line
from recon_engine.analysis.proposed_rules import MIN_SETTLED_ONE_IN
from recon_engine.formatting import conjugate, format_count
from recon_engine.hint_settings import read_settings
from recon_engine.kinds import Kind
from recon_engine.model import NEW, OLD, SIDES, Hint, HintKind
from recon_engine.rules.assembly import assemble_chain
from recon_engine.rules.chains import normal_form
from recon_engine.rules.spelling import parse_rule


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.analysis.evidence import Evidence
    from recon_engine.analysis.finding import ValueMasks
    from recon_engine.rules.assembly import GivenRules

    Codes = tuple[tuple[str, str], ...]


# Fewer cells have one code for each by chance; at most 1 in 20 of the cells, and of
# those of a code, is anything else.
MIN_CELLS: Final = 20
MIN_CELLS_OF_CODE: Final = 3
MAX_OTHERS_ONE_IN: Final = 20
# One code says no more than its pattern does. More are names or numbers, not codes.
MIN_CODES: Final = 2
MOST_CODES: Final = 20
# What the rule `map` has as its own characters is in no code that is proposed.
CODE: Final = r"^[^\s,=()@\"'\p{C}](?:[^,=()\"\p{C}]{0,38}[^\s,=()\"\p{C}])?$"
# Another number, or another day, is a change and no translation.
NO_CODES: Final = (
    *(Kind.NUMBER, Kind.NUMBER_FORMAT, Kind.SCALE, Kind.SIGN_FLIP),
    *(Kind.DATE, Kind.DATE_FORMAT, Kind.VALUE_TO_BLANK, Kind.BLANK_TO_VALUE),
)
OLD_RULES: Final = "old_rules"
REST_SAME: Final = ",rest=same"
OTHERS: Final = re.compile(r"[^A-Za-z0-9_-]+")
DIGITS: Final = 6


def may_be_codes(changes: pl.DataFrame) -> set[int]:
    """The columns whose changes may be those of a code table.

    `changes`: with the `column` of each. For any other column there is no table, unless
    a rule explains some of its changes.
    """
    if int(changes["rows"].sum()) < MIN_CELLS:
        return set()
    may_be_code = (
        (pl.col("rows") >= MIN_CELLS_OF_CODE)
        & ~pl.col("kind").is_in([kind.value for kind in NO_CODES])
        & pl.all_horizontal(pl.col(*SIDES).str.contains(CODE))
    )
    cells = pl.col("rows").cast(pl.Int64)
    likely = (
        changes.lazy()
        .group_by("column")
        .agg(
            cells=cells.sum(),
            coded=cells.filter(may_be_code).sum(),
            codes=pl.col("old").filter(may_be_code).n_unique(),
        )
        .with_columns(others=pl.col("cells") - pl.col("coded"))
        .filter(
            (pl.col("cells") >= MIN_CELLS)
            & (pl.col("codes") >= MIN_CODES)
            & (MAX_OTHERS_ONE_IN * pl.col("others") <= pl.col("cells"))
        )
        .collect(engine="in-memory")
    )
    return set(likely["column"].to_list())


def find_code_table(
    column: str, changes: pl.DataFrame, given: GivenRules, total: int
) -> Hint | None:
    """The table that explains nearly all changes of a column; None if there is none.

    Args:
        column: Its name.
        changes: Those that no other rule explains: `old`, `new`, `kind`, `rows`.
        given: The rules of the column, without a typed one.
        total: The number of its differing cells.
    """
    cells = int(changes["rows"].sum())
    if cells < MIN_CELLS or (MAX_OTHERS_ONE_IN * cells < total):
        return None
    codes, count = _count_codes(column, changes, given)
    others = MAX_OTHERS_ONE_IN * (cells - count)
    if not MIN_CODES <= len(codes) <= MOST_CODES or others > cells:
        return None
    if count * MIN_SETTLED_ONE_IN < total:
        return None
    table = ",".join(f"{code}={right}" for code, right in codes)
    return Hint(
        kind=HintKind.RULE,
        column=column,
        flag=command_line.rule_flags(column, (("old", f"map({table}{REST_SAME})"),)),
        count=count,
        total=total,
        text=f"{column}: {total:,} {conjugate(total, 'differ')}, {count:,} of them by"
        f" a code table: each of {format_count(len(codes), 'code')} of OLD has one"
        " code of NEW",
        code_file=name_code_file(column),
    )


def _count_codes(
    column: str, changes: pl.DataFrame, given: GivenRules
) -> tuple[Codes, int]:
    """The codes of OLD that have one of NEW, and how many cells they explain."""
    chain = assemble_chain(column, given)
    pairs = (
        changes.lazy()
        .with_columns(
            normal_form(
                [rule for rule in chain.of(side) if not rule.family], pl.col(side)
            ).alias(side)
            for side in SIDES
        )
        .with_columns(
            is_code=~pl.col("kind").is_in([kind.value for kind in NO_CODES])
            & pl.all_horizontal(pl.col(*SIDES).str.contains(CODE))
        )
        .group_by(*SIDES)
        .agg(pl.col("rows").sum(), pl.col("is_code").all())
        # Ties by text, so that a hint is the same for every order of rows.
        .sort("rows", *SIDES, descending=[True, False, False])
        .collect(engine="in-memory")
    )
    found: dict[str, tuple[str, int]] = {}
    of_code: dict[str, int] = defaultdict(int)
    for old, new, rows, is_code in pairs.iter_rows():
        of_code[old] += rows
        if old not in found and is_code and rows >= MIN_CELLS_OF_CODE:
            found[old] = (new, rows)
    kept = {
        old: new
        for old, (new, rows) in found.items()
        if MAX_OTHERS_ONE_IN * (of_code[old] - rows) <= of_code[old]
    }
    return tuple(sorted(kept.items())), sum(found[old][1] for old in kept)


def name_code_file(column: str) -> str:
    """The file for the code table of a column: `SEX.map.csv`."""
    name = OTHERS.sub("_", column)
    if name != column:
        import hashlib

        # Two columns may differ only in what was replaced.
        name += "-" + hashlib.sha256(column.encode()).hexdigest()[:DIGITS]
    return f"{name}.map.csv"


def read_codes(hint: Hint) -> Codes:
    """The table of a hint: each code of OLD with that of NEW; () without one."""
    if not hint.code_file:
        return ()
    settings: dict[str, Any] = read_settings(hint)
    *_, rule = settings[OLD_RULES][hint.column]
    table: Any = parse_rule(rule)
    return tuple((code, right) for code, [right] in table.entries)


def without_codes(hint: Hint) -> Hint:
    """The hint with the name of the file in the place of the table."""
    if not hint.code_file:
        return hint
    same = REST_SAME if hint.flag.rstrip("'").endswith(f"{REST_SAME})") else ""
    rule = f"map(@{hint.code_file}{same})"
    flag = command_line.rule_flags(hint.column, (("old", rule),))
    return replace(hint, flag=flag, code_file="")


def keep_translated(hints: list[Hint], evidence: Evidence) -> Iterator[Hint]:
    """The hints, without code tables that would make equal cells different.

    A code of a table that is also the same on both sides, in a row of the sample, was
    not translated: the cells that differ are errors, or there is no order in them.
    """
    tables = [hint for hint in hints if hint.code_file]
    if not tables:
        yield from hints
        return
    pairs = _pair_samples(evidence)
    internal = {name: at for at, name in evidence.names.items()}
    for hint in hints:
        if hint.code_file:
            old, new = (f"{side}{internal[hint.column]}" for side in SIDES)
            codes = [code.casefold() for code, _ in read_codes(hint)]
            same = pl.col(old).str.strip_chars().str.to_lowercase()
            other = pl.col(new).str.strip_chars().str.to_lowercase()
            if pairs.filter(same.is_in(codes) & (same == other)).height:
                continue
        yield _without_rest(hint, evidence, pairs)


def _without_rest(hint: Hint, evidence: Evidence, pairs: pl.DataFrame) -> Hint:
    """The hint of a code table that has all codes of the column as one without others.

    A code that is not listed, such as a new one tomorrow, then shows as `unlisted`.
    Where some cells are equal as they are, their codes have to stay equal. Whether
    there are such cells is known if every cell differs, or if `pairs` are all rows.
    """
    if not hint.code_file:
        return hint
    if hint.total < evidence.matched:
        internal = {name: at for at, name in evidence.names.items()}[hint.column]
        old, new = (pl.col(f"{side}{internal}").str.strip_chars() for side in SIDES)
        same = (old.str.to_lowercase() == new.str.to_lowercase()) & (old != "")
        if pairs.height < evidence.matched or pairs.filter(same).height:
            return hint
    return replace(hint, flag=hint.flag.replace(f"{REST_SAME})", ")"))


def _pair_samples(evidence: Evidence) -> pl.DataFrame:
    """The sampled rows of both sides whose keys are unique, as pairs of texts."""
    keys = list(evidence.key_names)
    old, new = (
        evidence.samples[side]
        .unique(keys, keep="none")
        .select(*keys, pl.exclude(keys).name.prefix(SIDES[side]))
        for side in (OLD, NEW)
    )
    return old.join(new, on=keys)


def mask_codes(hints: tuple[Hint, ...], masks: ValueMasks) -> tuple[Hint, ...]:
    """The hints without the code tables of masked columns."""
    return tuple(
        hint
        for hint in hints
        if not (hint.code_file and hint.column in masks.by_column)
    )
