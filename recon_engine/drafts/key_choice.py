"""Which key of those that `compare.key_search` finds is the key, and its columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.analysis.measures import is_measure
from recon_engine.name_forms import fold_name


if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from recon_engine.compare.key_search import Proposal
    from recon_engine.config import Options
    from recon_engine.drafts.columns import CommonValues, Place, TableColumns
    from recon_engine.result import Reconciliation


# Of the rows that match: two keys closer than this are for a person to choose from.
CLOSE: Final = 0.05
# Rows at the same places of both files: with fewer matches their order is another.
SAME_ORDER: Final = 0.5


def is_key_of_most(result: Reconciliation) -> bool:
    """Whether the key of a comparison repeats nowhere and matches most rows."""
    sides = result.old, result.new
    most = max(side.rows for side in sides)
    repeats = any(side.duplicate_keys for side in sides)
    return not repeats and result.counts.matched >= SAME_ORDER * most


def may_identify(values: pl.Series) -> bool:
    """Whether a column identifies rows: no value repeats, is blank, or is a measure."""
    unique = values.n_unique() == len(values)
    return unique and not (values == "").any() and not is_measure(values)


def count_key(key: Proposal, result: Reconciliation) -> Proposal:
    """A key with its counts on all rows; as it is if it repeats."""
    if not key.is_key or result.old.duplicate_keys or result.new.duplicate_keys:
        return key
    matched = result.counts.matched
    most = max(result.old.rows, result.new.rows, 1)
    return replace(key, matched=matched, overlap=matched / most)


def matches_as_many(split: Proposal, other: Proposal) -> bool:
    """Whether a derived key is as good: its columns are compared only by it."""
    return split.is_key and (not other.is_key or split.overlap >= other.overlap)


def keep_best(shared: Sequence[CommonValues]) -> list[CommonValues]:
    """The best pairs, each column once."""
    # `shared` has the best pairs first (`columns.find_common_values`).
    kept: list[CommonValues] = []
    for each in shared:
        if all(each.old != k.old and each.new != k.new for k in kept):
            kept.append(each)
    return kept


def find_places(
    key: Sequence[str],
    options: Options,
    old: TableColumns,
    new: TableColumns,
    candidates: Sequence[CommonValues],
) -> list[Place]:
    """The places of key columns in both files."""
    by_value = {each.old: each.new for each in candidates}
    by_name = {
        fold_name(name, options.match_names): n for n, name in enumerate(new.names)
    }
    places = []
    for name in key:
        ours = old.names.index(name)
        theirs = by_value.get(ours)
        places.append(
            (ours, by_name[fold_name(name, options.match_names)])
            if theirs is None
            else (ours, theirs)
        )
    return places


def find_close(found: Sequence[Proposal]) -> list[Proposal]:
    """The keys that match almost as many rows as the best, and do not contain it."""
    best = found[0]
    return [best] + [
        each
        for each in found[1:]
        if each.is_key == best.is_key
        and each.overlap >= best.overlap - CLOSE
        and not set(best.columns) <= set(each.columns)
    ]
