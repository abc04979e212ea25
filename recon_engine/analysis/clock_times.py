"""Recognize columns of both sides that say the same instants in different zones. Pure.

Local times that are apart by a whole number of quarter hours, nearly always the same
one, are those of two zones. Two numbers that are one hour apart are those of a zone
with summer time.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.analysis.proposed_rules import apply_to_both
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    SideRules = tuple[tuple[str, str], ...]

WITH_OFFSET: Final = "%z"
# How exports write an instant: a regular expression, and its format.
_DAY: Final = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_TIME: Final = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_OFFSET: Final = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
FORMS: Final = tuple(
    (f"^{_DAY}{mark}{_TIME}{part}{zone}$", f"%Y-%m-%d{mark}%H:%M:%S{digits}{offset}")
    for mark in (" ", "T")
    for part, digits in (("", ""), (r"\.[0-9]{1,9}", ".%f"))
    for zone, offset in (("", ""), (_OFFSET, WITH_OFFSET))
)
INSTANT: Final = rf"^{_DAY}[ T]{_TIME}(?:\.[0-9]{{1,9}})?{_OFFSET}?$"
QUARTER: Final = 15
# Of the cells that differ, the share that has one of at most two offsets.
MIN_SHARE: Final = 0.8
# A summer and a winter offset: each has at least this share.
MIN_PART: Final = 0.05
# Zones without summer time, by minutes from UTC, where no zone of whole hours is.
_ODD_ZONES: Final[Mapping[int, str]] = MappingProxyType(
    {
        -570: "Pacific/Marquesas",
        270: "Asia/Kabul",
        330: "Asia/Kolkata",
        345: "Asia/Kathmandu",
        390: "Asia/Yangon",
        525: "Australia/Eucla",
        570: "Australia/Darwin",
    }
)
# By the minutes from UTC in winter and in summer.
_SUMMER_ZONES: Final[Mapping[tuple[int, int], str]] = MappingProxyType(
    {
        (-480, -420): "America/Los_Angeles",
        (-420, -360): "America/Denver",
        (-360, -300): "America/Chicago",
        (-300, -240): "America/New_York",
        (0, 60): "Europe/London",
        (60, 120): "Europe/Berlin",
        (120, 180): "Europe/Helsinki",
        (600, 660): "Australia/Sydney",
    }
)
# Zones of whole hours exist from 12 hours behind UTC to 14 before it.
_FIRST_HOUR, _LAST_HOUR = -12, 14


def find_zone_rules(changes: pl.DataFrame) -> Iterator[SideRules]:
    """Rules for both sides under which most of the changes may be the same instants.

    `changes`: as `patterns.group_changes` returns them. None of them is measured here.
    """
    # Every form has such a time: for few changes a query of all forms costs most.
    timed = pl.all_horizontal(pl.col(*SIDES).str.contains(_TIME).any())
    if not changes.select(timed).item():
        return
    forms = [_find_form(changes, side) for side in SIDES]
    old, new = forms
    if old is None or new is None:
        return
    offsets = _count_offsets(changes, old, new)
    total = int(changes["rows"].sum())
    main = {o: n for o, n in offsets.items() if n >= MIN_PART * total}
    if not main or len(main) > 2 or sum(main.values()) < MIN_SHARE * total:  # noqa: PLR2004 - winter, summer
        return
    # A side that says its offset, or else NEW, is taken for UTC.
    local, sign = ("new", 1) if WITH_OFFSET in old else ("old", -1)
    minutes = sorted(sign * offset for offset in main)
    zone = _name_zone(minutes)
    if zone is None:
        return
    zones = {side: zone if side == local else "UTC" for side in SIDES}
    rules = tuple(
        (side, _write_rule(form, zones[side]))
        for side, form in zip(SIDES, (old, new), strict=True)
    )
    (_, ours), (_, theirs) = rules
    yield apply_to_both(ours) if ours == theirs else rules


def _find_form(changes: pl.DataFrame, side: str) -> str | None:
    """The format of most texts of a side."""
    counts = changes.select(
        pl.col("rows").filter(pl.col(side).str.contains(pattern)).sum().alias(form)
        for pattern, form in FORMS
    ).row(0, named=True)
    form = max(counts, key=lambda each: counts[each])
    return form if counts[form] >= MIN_SHARE * int(changes["rows"].sum()) else None


def _count_offsets(changes: pl.DataFrame, old: str, new: str) -> dict[int, int]:
    """How many cells have which number of minutes from OLD to NEW; quarters only."""
    seconds = _epoch("new", new) - _epoch("old", old)
    counted = (
        changes.select("rows", seconds=seconds)
        .filter(pl.col("seconds") % (60 * QUARTER) == 0)
        .group_by(minutes=pl.col("seconds") // 60)
        .agg(pl.col("rows").sum())
    )
    return dict(counted.select("minutes", "rows").iter_rows())


def _epoch(side: str, form: str) -> pl.Expr:
    """Seconds of a text in a format, which is UTC if it has no offset; else null."""
    text = pl.col(side).str.replace(r"Z$", "+0000")
    text = text.str.replace(r"\.[0-9]+", "")
    read = text.str.to_datetime(form.replace(".%f", ""), strict=False, time_unit="us")
    return read.dt.epoch("s")


def _name_zone(minutes: list[int]) -> str | None:
    """A zone with these minutes from UTC: one, or those of winter and summer."""
    if len(minutes) > 1:
        return _SUMMER_ZONES.get((minutes[0], minutes[1]))
    hours, rest = divmod(minutes[0], 60)
    if rest:
        return _ODD_ZONES.get(minutes[0])
    if not hours:
        return "UTC"
    if not _FIRST_HOUR <= hours <= _LAST_HOUR:
        return None
    # The names of these zones have the sign of POSIX: west of Greenwich is plus.
    return f"Etc/GMT{-hours:+d}"


def _write_rule(form: str, zone: str) -> str:
    return (
        f"timestamp({form})"
        if WITH_OFFSET in form
        else f"timestamp({form},zone={zone})"
    )
