"""Rows that are in no pair and neither missing nor extra: counted, some listed."""

from __future__ import annotations

from collections import Counter
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.preparation import REASON
from recon_engine.model import RowCounts
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class SetAside:
    """The rows of both sides that are set aside; the first of a pair is that of OLD.

    `unpairable`: whole rows with their `REASON`; None without any. `reasons`: how many
    unpairable rows have which, of all rows and not only of those that are listed.
    `failing`: not set aside, but the keys of rows that are in a pair although they fail
    `--where`; None without any.
    """

    counts: tuple[RowCounts, RowCounts] = (RowCounts(), RowCounts())
    unpairable: tuple[pl.DataFrame | None, pl.DataFrame | None] = field(
        default=(None, None)
    )
    reasons: tuple[Counter[str], Counter[str]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    failing: tuple[pl.DataFrame | None, pl.DataFrame | None] = field(
        default=(None, None)
    )

    def with_rows(
        self, select: Callable[[int, pl.DataFrame], pl.DataFrame]
    ) -> SetAside:
        """The same counts with some of the rows that are listed."""
        old, new = (
            None if rows is None else select(side, rows)
            for side, rows in enumerate(self.unpairable)
        )
        return replace(self, unpairable=(old, new))


NOTHING_ASIDE: Final = SetAside()


def merge_set_aside(parts: Sequence[SetAside]) -> SetAside:
    """What is set aside of disjoint sets of rows as one."""
    # Without options that set rows aside, all parts are this one object.
    if all(part is NOTHING_ASIDE for part in parts):
        return NOTHING_ASIDE
    old, new = (
        sum((part.counts[side] for part in parts), RowCounts()) for side in (0, 1)
    )
    ours, theirs = (_concat(part.unpairable[side] for part in parts) for side in (0, 1))
    reasons = [
        sum((part.reasons[side] for part in parts), Counter[str]()) for side in (0, 1)
    ]
    of_old, of_new = (_concat(part.failing[side] for part in parts) for side in (0, 1))
    return SetAside(
        (old, new), (ours, theirs), (reasons[0], reasons[1]), (of_old, of_new)
    )


def list_unpairable(rows: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame | None:
    """Whole rows with the reason of each; None if there are none."""
    return None if rows.is_empty() else rows.with_columns(reasons.alias(REASON))


def count_reasons(unpairable: pl.DataFrame | None) -> Counter[str]:
    """How many rows of `list_unpairable` have which reason."""
    if unpairable is None:
        return Counter()
    return Counter(dict(unpairable[REASON].value_counts().iter_rows()))


def _concat(parts: Iterable[pl.DataFrame | None]) -> pl.DataFrame | None:
    found = [part for part in parts if part is not None]
    return pl.concat(found) if found else None
