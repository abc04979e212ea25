"""What narrow suppressions fit: rows with their keys, cells with their values.

Keys and values of a suppression are texts as outputs show them. The text of a key
column is compared in the normal form that its rules give it, as rows are paired; that
of a masked column is a token, which is compared as it is. Values are compared as they
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.masks import PREFIX, reads_as_masked
from recon_engine.config import Mask
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_key
from recon_engine.model import NEW, OLD, SIDES, Sha256, Suppressible
from recon_engine.records import dataclass
from recon_engine.rules.chains import normal_column
from recon_engine.suppressions import count_coverage, count_narrow_rows


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.compare.lookup import Sought
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan
    from recon_engine.model import Coverage, Suppression
    from recon_engine.suppressions import NarrowCounts

    Numbered = Sequence[tuple[int, Suppression]]


NARROW: Final = "narrow"
OF_KIND: Final = "of_kind"


@dataclass(frozen=True, slots=True)
class Fits:
    """What suppressions fit among the differences of some buckets."""

    coverage: tuple[Coverage, ...]
    narrow: NarrowCounts


def count_fits(difference: Difference, plan: ComparisonPlan) -> Fits:
    """Count what suppressions fit; without any, nothing is counted."""
    suppressions = plan.options.suppressions
    coverage, narrow = count_coverage(
        difference.cells, plan.columns, suppressions, _fit_cells(difference, plan)
    )
    for side, (what, rows) in enumerate(
        (
            (Suppressible.MISSING, difference.missing),
            (Suppressible.EXTRA, difference.extra),
        )
    ):
        keyed = [each for each in _list_keyed(plan) if each[1].what is what]
        if keyed and not rows.is_empty():
            shown = plan.masks.rows(
                rows.select(plan.names[side].keys), plan.layout.keys
            )
            keys = _read_keys(shown, side, plan)
            # The first suppression that fits a row accepts it.
            first = _join_keyed(keys, keyed, side, plan).group_by("row").min()
            narrow += count_narrow_rows(what, first[NARROW], suppressions)
    return Fits(coverage, narrow)


def list_spellings(
    found: Difference, sought: Sought, plan: ComparisonPlan
) -> dict[int, tuple[Sha256, ...]]:
    """How break tracking spells the keys of suppressions, if by a rule otherwise.

    Digests of keys as outputs show them, by the index of the suppression. `found`: the
    differences in full; `sought`: the keys of open breaks.
    """
    every = _list_keyed(plan)
    masked = plan.masks.by_column
    # Otherwise a key has one spelling. A token of `hmac` is not read by rules.
    ruled = any(
        name in plan.layout.rules and name not in masked for name in plan.layout.keys
    )
    if not every or not ruled:
        return {}
    names = plan.names[OLD].keys
    pairs = found.keys[found.cells["pair"].unique()]
    written = (
        pl.concat([pairs, found.missing.select(names)]),
        found.extra.select(names),
    )
    open_keys = pl.DataFrame(
        sought.texts, schema=dict.fromkeys(names, pl.String), orient="row"
    )
    spelled: dict[int, set[Sha256]] = {}
    for side, rows in enumerate(written):
        keyed = [each for each in every if _is_of_side(each[1], side)]
        if keyed:
            shown = pl.concat(
                [plan.masks.rows(rows, plan.layout.keys), open_keys]
            ).unique()
            keys = _read_keys(shown, side, plan)
            texts = [Sha256.of(format_key(key)) for key in shown.iter_rows()]
            for row, at in _join_keyed(keys, keyed, side, plan).iter_rows():
                spelled.setdefault(at, set()).add(texts[row])
    return {
        at: tuple(sorted(spelled[at].difference(each.without_values().keys or ())))
        for at, each in every
        if at in spelled
    }


def check_texts(
    suppressions: Iterable[Suppression],
    keys: Sequence[str],
    masks: Mapping[str, Mask],
) -> None:
    """Raise ConfigError for keys or values that outputs do not tell apart or show."""
    for each in suppressions:
        for name, texts in _list_texts(each, keys):
            mask = masks.get(name)
            if mask in {Mask.REDACT, Mask.LAST4}:
                raise ConfigError(
                    f"the suppression of {each.name} names values of {name}, which "
                    f"{mask} masks",
                    why="outputs show one text in the place of many values",
                    help=f"mask {name} by hmac and name its tokens, or accept all "
                    "differences of a column and kind",
                )
            if mask is Mask.HMAC and not all(map(_is_token, texts)):
                raise ConfigError(
                    f"the suppression of {each.name} names a value of {name} that is "
                    "no token",
                    why=f"{name} is masked by hmac, so that outputs show tokens only",
                    help=f"name what recon breaks lists, such as {PREFIX}0123456789…",
                )


def _is_token(text: str) -> bool:
    """Whether `hmac` shows such a text; a blank stays blank."""
    return not text or (text.startswith(PREFIX) and reads_as_masked(text))


def _list_texts(
    suppression: Suppression, keys: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    """The columns of which a suppression names values, each with these."""
    if suppression.keys is not None:
        yield from zip(keys, zip(*suppression.key_values, strict=True), strict=True)
    values = [text for text in (suppression.old, suppression.new) if text is not None]
    if suppression.column is not None and values:
        yield suppression.column, values


def _list_keyed(plan: ComparisonPlan) -> Numbered:
    """The suppressions of keys, each with its index."""
    every = enumerate(plan.options.suppressions)
    return [(at, each) for at, each in every if each.keys is not None]


def _is_of_side(suppression: Suppression, side: int) -> bool:
    """Whether its keys are written as on a side: those of extra rows as in NEW."""
    return (suppression.what is Suppressible.EXTRA) == (side == NEW)


def _fit_cells(difference: Difference, plan: ComparisonPlan) -> pl.DataFrame | None:
    """The first narrow suppression of each cell that one fits, for `count_coverage`."""
    ordinals = {name: at for at, name in enumerate(plan.columns)}
    every = [
        (at, each)
        for at, each in enumerate(plan.options.suppressions)
        if each.is_narrow and each.column in ordinals
    ]
    if not every or difference.cells.is_empty():
        return None
    cells = difference.cells
    facts = pl.DataFrame(
        [
            (at, ordinals[each.column or ""], kind, each.old, each.new)
            for at, each in every
            for kind in each.kinds or (None,)
        ],
        schema={
            NARROW: pl.Int32,
            "column": cells.schema["column"],
            OF_KIND: pl.String,
            **dict.fromkeys(SIDES, pl.String),
        },
        orient="row",
    )
    cells = cells.filter(pl.col("column").is_in(facts["column"].unique().implode()))
    cells = _show_values(cells, facts, plan)
    keyed = [each for each in every if each[1].keys is not None]
    if keyed:
        pairs = cells["pair"].unique()
        shown = plan.masks.rows(difference.keys[pairs], plan.layout.keys)
        # The key of a pair is shown as OLD writes it.
        keys = _read_keys(shown, OLD, plan).with_columns(pair=pairs)
        cells = cells.join(keys, on="pair")
        listed = _list_keys(keyed, OLD, plan)
    # What a suppression names decides by which columns its cells are found.
    shapes: dict[tuple[str, ...], list[int]] = {}
    for at, each in every:
        named = (side for side in SIDES if getattr(each, side) is not None)
        by_key = plan.names[OLD].keys if each.keys is not None else ()
        shapes.setdefault(("column", *by_key, *named), []).append(at)
    kind = pl.col(OF_KIND)
    parts = []
    for on, some in shapes.items():
        wanted = facts.filter(pl.col(NARROW).is_in(some))
        # A suppression of keys becomes one row for each of its keys.
        if {*on} - {*facts.columns}:
            wanted = wanted.join(listed, on=NARROW)
        fitted = cells.lazy().join(wanted.lazy().select(*on, NARROW, OF_KIND), on=on)
        # Null: a suppression without kinds fits all of them.
        same_kind = kind.is_null() | (kind == pl.col("kind").cast(pl.String))
        parts.append(fitted.filter(same_kind).select("pair", "column", NARROW))
    first = pl.concat(parts).group_by("pair", "column").agg(pl.col(NARROW).min())
    return first.collect(engine="in-memory")


def _show_values(
    cells: pl.DataFrame, facts: pl.DataFrame, plan: ComparisonPlan
) -> pl.DataFrame:
    """The cells with tokens in the masked columns of which suppressions name values."""
    named = facts.filter(pl.any_horizontal(pl.col(SIDES).is_not_null()))
    for ordinal in named["column"].unique():
        name = plan.columns[ordinal]
        if name in plan.masks.by_column:
            mine = (cells["column"] == ordinal).arg_true()
            cells = cells.with_columns(
                cells[side].scatter(
                    mine, plan.masks.values(name, cells[side].gather(mine))
                )
                for side in SIDES
            )
    return cells


def _join_keyed(
    keys: pl.DataFrame, keyed: Numbered, side: int, plan: ComparisonPlan
) -> pl.DataFrame:
    """The suppressions of the keys of rows: the number of the `row`, and `NARROW`."""
    return (
        keys.with_row_index("row")
        .join(_list_keys(keyed, side, plan), on=plan.names[side].keys)
        .select("row", NARROW)
    )


def _list_keys(keyed: Numbered, side: int, plan: ComparisonPlan) -> pl.DataFrame:
    """The keys of suppressions, as `_read_keys` has them, each with `NARROW`."""
    names = plan.names[side].keys
    listed = pl.DataFrame(
        [(at, *key) for at, each in keyed for key in each.key_values],
        schema={NARROW: pl.Int32, **dict.fromkeys(names, pl.String)},
        orient="row",
    )
    keys = _read_keys(listed.select(names), side, plan)
    return keys.with_columns(listed[NARROW])


def _read_keys(shown: pl.DataFrame, side: int, plan: ComparisonPlan) -> pl.DataFrame:
    """Keys as they are compared: tokens of masked columns, normal forms of others.

    `shown`: the keys as outputs show them.
    """
    rules = plan.names[side].rules
    read = [
        ours
        for name, ours in zip(plan.layout.keys, shown.columns, strict=True)
        if ours in rules and name not in plan.masks.by_column
    ]
    if not read:
        return shown
    return shown.with_columns(normal_column(ours, rules) for ours in read)
