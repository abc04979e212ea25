"""Time zones: the offset of any instant, from the data of the package `tzdata`.

The data of the package is used, not that of the machine, so that all machines of a
cluster read alike, and so that the result can name its version.
"""

from __future__ import annotations

import functools
import io
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import LazyModule
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    import zoneinfo
    from collections.abc import Iterator
    from importlib import resources

    import numpy as np
    from numpy.typing import NDArray
else:
    np, resources, zoneinfo = map(
        LazyModule, ("numpy", "importlib.resources", "zoneinfo")
    )

HEADER: Final = struct.Struct(">4s1s15x6I")
DAY: Final = 86_400
WEEK: Final = 7 * DAY
# The calendar, and so every rule of a zone, repeats after 400 years.
CYCLE: Final = 146_097 * DAY
LAST_SECOND: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) + 2 * DAY
# Before every instant that is read.
FIRST_SECOND: Final = int(datetime(999, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class ZonePeriods:
    """Periods of one offset: when each begins, in UTC seconds, and its offset."""

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def to_utc(
        self, local: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """UTC seconds of local ones, and whether a local time exists exactly once."""
        ends = np.append(self.starts[1:], np.iinfo(np.int64).max // 2)
        least, most = int(self.offsets.min()), int(self.offsets.max())
        # An instant of this local time lies between these periods.
        first = np.searchsorted(self.starts, local - most, "right") - 1
        last = np.searchsorted(self.starts, local - least, "right") - 1
        found = np.zeros(len(local), np.int64)
        count = np.zeros(len(local), np.int8)
        for step in range(int((last - first).max(initial=0)) + 1):
            at = np.minimum(first + step, last)
            utc = local - self.offsets[at]
            within = (
                (utc >= self.starts[at]) & (utc < ends[at]) & (first + step <= last)
            )
            found[within] = utc[within]
            count += within
        return found, count == 1


def zone_data_version() -> str:
    """The version of the time-zone data, such as `2025b`."""
    import tzdata  # type: ignore[import-untyped]

    return str(tzdata.IANA_VERSION)


@functools.cache
def zone_names() -> frozenset[str]:
    """Every name of a zone."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text().split())


def check_zone(name: str) -> None:
    """Raise ConfigError for a zone that does not exist."""
    if name not in zone_names():
        raise ConfigError(
            f"unknown time zone {name}{did_you_mean(name, zone_names())}",
            help="a name of the IANA list, such as zone=Europe/Berlin or zone=UTC",
        )


@functools.cache
def load_zone(name: str) -> ZonePeriods:
    """The periods of a zone, from the year 999 to the year 9999."""
    *folders, last = name.split("/")
    place = resources.files("tzdata").joinpath("zoneinfo", *folders, last)
    data = place.read_bytes()
    starts, offsets, rule = _parse_tzif(data)
    if "," in rule:
        # After the listed periods, the offset changes by a rule.
        zone = zoneinfo.ZoneInfo.from_file(io.BytesIO(data), name)
        more = list(_find_changes(zone, starts[-1], offsets[-1]))
        for cycle in range((LAST_SECOND - starts[-1]) // CYCLE + 1):
            starts += [at + cycle * CYCLE for at, _ in more]
            offsets += [offset for _, offset in more]
    times, changes = np.array(starts, np.int64), np.array(offsets, np.int64)
    # Some periods differ in the name of the time only.
    differs = np.append(True, changes[1:] != changes[:-1])
    return ZonePeriods(times[differs], changes[differs])


def _parse_tzif(data: bytes) -> tuple[list[int], list[int], str]:
    """The listed periods of a file in the format of RFC 8536, and the rule after them.

    The numbers of 64 bits are in its second part.
    """
    counts = HEADER.unpack_from(data)[2:]
    at = HEADER.size + _body_size(counts, 4)
    counts = HEADER.unpack_from(data, at)[2:]
    times, types = counts[3:5]
    at += HEADER.size
    starts = struct.unpack_from(f">{times}q", data, at)
    which = data[at + 8 * times : at + 9 * times]
    records = at + 9 * times
    every = [
        struct.unpack_from(">i", data, records + 6 * number)[0]
        for number in range(types)
    ]
    rule = data[at + _body_size(counts, 8) :].strip(b"\n").decode()
    return (
        [FIRST_SECOND, *starts],
        [every[0], *(every[number] for number in which)],
        rule,
    )


def _body_size(counts: tuple[int, ...], width: int) -> int:
    ut, std, leap, times, types, chars = counts
    return times * (width + 1) + types * 6 + chars + leap * (width + 4) + std + ut


def _find_changes(
    zone: zoneinfo.ZoneInfo, start: int, offset: int
) -> Iterator[tuple[int, int]]:
    """The changes of offset in one cycle of the calendar, by the rule of a zone.

    A rule changes the offset twice a year, many weeks apart, so no week has two.
    """

    def offset_at(second: int) -> int:
        found = datetime.fromtimestamp(second, zone).utcoffset()
        return 0 if found is None else int(found.total_seconds())

    for week in range(start, start + CYCLE, WEEK):
        low, high = week, min(week + WEEK, start + CYCLE)
        after = offset_at(high)
        if after == offset:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_at(middle) == offset else (low, middle)
        yield high, after
        offset = after
