"""Look up the keys of open breaks among the rows of a run.

A break is resolved only if its key was compared, so a run counts the rows of each open
key on both sides. Keys are compared by two digests of their normal forms, 128 bits as
for rows. Keys of a file are never collected: the digests of all rows select a few rows,
and only these are parsed.

A break whose key is masked by `hmac` keeps a locator: the digests of its key, encrypted
under the mask's key. The holder of that key can look the break up, and learns no more
than from a token. Keys with other masks cannot be looked up.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from recon_engine.compare.digests import KEY_SEED, key_digest
from recon_engine.compare.masks import reads_as_masked
from recon_engine.config import Mask
from recon_engine.formatting import format_key
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.result import LookedUp, SameKey
from recon_engine.rules.chains import rules_of_side


if TYPE_CHECKING:
    from collections.abc import Iterable

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.masks import Masks
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan


# With `KEY_SEED`, 128 bits for a key. Both are constants, because locators outlive a
# run.
CHECK_SEED: Final = 0xC2B2AE3D27D4EB4F
DIGESTS: Final = ("key", "check")
COUNTED: Final = {"at": pl.UInt32, "rows": pl.Int64}
# Two digests and a version. The pad of `_sealed` has 32 bytes, so it covers them.
LOCATOR: Final = struct.Struct(">QQQ")
# Separates pads from tokens under one key: no value of a file contains NUL.
PURPOSE: Final = b"locator\0"


class OpenKey(NamedTuple):
    """A key as its break shows it; its locator if `hmac` masks it, else None."""

    values: tuple[str, ...]
    locator: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """The open keys to look up.

    With more differences than `limit` no break is tracked.
    """

    keys: Sequence[OpenKey] = ()
    limit: int = 0


# Returns the lookup for the key columns.
Ask = Callable[[Sequence[str]], Lookup]


@dataclass(frozen=True, slots=True)
class Sought:
    """The keys that can be looked up.

    `digests`: `at` (their index in the lookup), `DIGESTS`, and `sides`: those by whose
    rules the key has them; both for a locator, whose side is unknown. `texts`: the keys
    that no mask hides, if they have no rules; `masked`: the digests of the others by
    which rows are selected. `as_shown`: the `at` of the keys whose columns are masked
    as they are in this run.
    """

    digests: pl.DataFrame
    limit: int
    texts: Sequence[tuple[str, ...]] = ()
    masked: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.UInt64))
    as_shown: frozenset[int] = frozenset()

    @property
    def keys(self) -> pl.Series:
        """The distinct key digests (u64) by which rows are selected."""
        return self.digests["key"].unique()


@dataclass(frozen=True, slots=True)
class Sightings:
    """The sought keys and the differing keys of some buckets.

    `rows`: for OLD and NEW, the number of `rows` with the key `at`; `differing`: the
    `column` (its ordinal) in which a pair of the key differs; `repeated`: each key, as
    written, that differs or is on one side only and has several rows on a side, with
    its rows in `old` and `new`.
    """

    rows: tuple[pl.DataFrame, pl.DataFrame]
    differing: pl.DataFrame
    repeated: pl.DataFrame


NONE: Final = Sightings(
    (pl.DataFrame(schema=COUNTED), pl.DataFrame(schema=COUNTED)),
    pl.DataFrame(schema={"at": pl.UInt32, "column": pl.UInt32}),
    pl.DataFrame(),
)


def sought(ask: Ask | None, plan: ComparisonPlan) -> Sought | None:
    """The keys of a lookup that can be found; None if no break is tracked."""
    if ask is None:
        return None
    lookup = ask(plan.layout.keys)
    names, version = plan.names[0], _version(plan)
    plain: list[tuple[int, tuple[str, ...]]] = []
    places: list[int] = []
    opened: list[tuple[int, int]] = []
    for at, key in enumerate(lookup.keys):
        # A masked value cannot be hashed again: only a locator finds such a key.
        if not any(map(reads_as_masked, key.values)):
            plain.append((at, key.values))
        elif found := _open(key, plan.masks, version):
            places.append(at)
            opened.append(found)
    schema = dict.fromkeys(DIGESTS, pl.UInt64)
    written = pl.DataFrame(
        [values for _, values in plain],
        schema=dict.fromkeys(names.keys, pl.String),
        orient="row",
    )
    masked = pl.DataFrame(opened, schema=schema, orient="row")
    numbers = pl.Series("at", [at for at, _ in plain], dtype=pl.UInt32)
    opened_at = pl.Series("at", places, dtype=pl.UInt32)
    # A key is written as in OLD, or as in NEW if it was an extra row.
    digests = pl.concat(
        keys.with_columns(at, pl.lit(side).alias("sides"))
        for side in SIDES
        for keys, at in (
            (_digests(written, names, side), numbers),
            (masked, opened_at),
        )
    )
    return Sought(
        digests.group_by("at", *DIGESTS, maintain_order=True).agg("sides"),
        lookup.limit,
        [values for _, values in plain],
        masked["key"].unique(),
        frozenset(at for at, key in enumerate(lookup.keys) if _is_as_shown(key, plan)),
    )


def sightings(
    sought: Sought | None,
    keys: Sequence[Iterable[pl.DataFrame]],
    repeats: Sequence[pl.DataFrame],
    found: Difference,
    names: ColumnIds,
) -> Sightings:
    """Count the rows of sought keys in some buckets, for break tracking.

    `keys`: for each side, the keys of all rows that `Sought.keys` selects; `repeats`:
    for each side, all keys that repeat, as a struct `key`, and their `rows`.
    """
    if sought is None:
        return NONE
    old, new = (
        _counted(sought, rows, names, side)
        for rows, side in zip(keys, SIDES, strict=True)
    )
    unmatched = found.missing.height + found.extra.height
    # These alone exceed the limit, so no break will be tracked.
    if found.cells.height + unmatched > sought.limit:
        return replace(NONE, rows=(old, new))
    return Sightings(
        (old, new), _differing(sought, found, names), _repeated(repeats, found, names)
    )


def together(parts: Sequence[Sightings]) -> Sightings:
    """The sightings of disjoint sets of buckets as one."""
    return Sightings(
        (
            pl.concat([part.rows[0] for part in parts]),
            pl.concat([part.rows[1] for part in parts]),
        ),
        pl.concat([part.differing for part in parts]),
        pl.concat([part.repeated for part in parts], how="diagonal"),
    )


def looked_up(
    sought: Sought | None,
    seen: Sightings,
    found: Difference,
    plan: ComparisonPlan,
    differences: int,
) -> LookedUp:
    """What break tracking needs to know about the displayed keys of a result."""
    if sought is None or differences > sought.limit:
        return LookedUp()
    old, new = (dict(side.iter_rows()) for side in seen.rows)
    columns = plan.columns
    names = plan.names[0]
    shown: dict[tuple[str, ...], tuple[int, int]] = {}
    if not seen.repeated.is_empty():
        keys = _shown(seen.repeated.select(names.keys), plan)
        counts = seen.repeated.select("old", "new").iter_rows()
        shown = dict(zip(keys, counts, strict=True))
    return LookedUp(
        rows={
            at: (old.get(at, 0), new.get(at, 0))
            for at in sought.digests["at"].to_list()
        },
        differing=frozenset(
            (at, columns[ordinal]) for at, ordinal in seen.differing.iter_rows()
        ),
        repeated=shown,
        locators=_locators(found, plan),
        same_keys=_find_same_keys(sought, found, plan),
    )


def _is_as_shown(key: OpenKey, plan: ComparisonPlan) -> bool:
    """Whether an open key has a masked text in each column that is masked, only."""
    masks = plan.masks.by_column
    return all(
        not text or reads_as_masked(text) == (name in masks)
        for name, text in zip(plan.layout.keys, key.values, strict=True)
    )


def _find_same_keys(
    sought: Sought, found: Difference, plan: ComparisonPlan
) -> dict[tuple[str, tuple[str, ...]], SameKey]:
    """What `LookedUp.same_keys` holds."""
    names = plan.names[0]
    # Other masks show one text for many values. Without rules, a key has one spelling.
    if names.chains.keys().isdisjoint(names.keys) or not _masks_tell_apart(plan):
        return {}
    open_at: dict[tuple[str, int, int], list[int]] = {}
    for at, *digests, sides in sought.digests.iter_rows():
        for side in sides if at in sought.as_shown else ():
            open_at.setdefault((side, *digests), []).append(at)
    same: dict[tuple[str, tuple[str, ...]], SameKey] = {}
    first: dict[tuple[str, int, int], tuple[str, ...]] = {}
    for side, keys in _written_keys(found, names):
        digested = _digests(keys, names, side).iter_rows()
        for (one, other), key in sorted(zip(digested, _shown(keys, plan), strict=True)):
            of_side = side, one, other
            known = first.setdefault(of_side, key)
            same[side, key] = SameKey(known, tuple(open_at.get(of_side, ())))
    return same


def _masks_tell_apart(plan: ComparisonPlan) -> bool:
    """Whether no mask of a key column shows one text for several values."""
    by_column = plan.masks.by_column
    return {by_column.get(name, Mask.HMAC) for name in plan.layout.keys} == {Mask.HMAC}


def _digests(keys: pl.DataFrame, names: ColumnIds, side: str) -> pl.DataFrame:
    seeds = zip(DIGESTS, (KEY_SEED, CHECK_SEED), strict=True)
    return pl.DataFrame(
        {name: key_digest(keys, names, seed, side) for name, seed in seeds},
        schema=dict.fromkeys(DIGESTS, pl.UInt64),
    )


def _counted(
    sought: Sought, keys: Iterable[pl.DataFrame], names: ColumnIds, side: str
) -> pl.DataFrame:
    parts = [
        _digests(part, names, side)
        .join(sought.digests, on=DIGESTS)
        .group_by("at")
        .agg(rows=pl.len().cast(pl.Int64))
        for part in keys
    ]
    every = pl.concat([pl.DataFrame(schema=COUNTED), *parts])
    return every.group_by("at").agg(pl.col("rows").sum())


def _differing(sought: Sought, found: Difference, names: ColumnIds) -> pl.DataFrame:
    if sought.digests.is_empty():
        return NONE.differing
    pairs = found.cells["pair"].unique()
    keys = _digests(found.keys[pairs], names, "old").with_columns(pair=pairs)
    return (
        keys.join(sought.digests, on=DIGESTS)
        .join(found.cells.select("pair", "column"), on="pair")
        .select("at", "column")
        .unique()
    )


def _repeated(
    repeats: Sequence[pl.DataFrame], found: Difference, names: ColumnIds
) -> pl.DataFrame:
    """The keys that differ and have several rows on a side, with the rows of both.

    Matched rows are equal in number on both sides, so old - new = missing - extra: the
    rows of one side give those of the other.
    """
    schema = dict.fromkeys(names.keys, pl.String) | {"old": pl.Int64, "new": pl.Int64}
    if all(side.is_empty() for side in repeats):
        return pl.DataFrame(schema=schema)
    unmatched = found.missing.select(names.keys), found.extra.select(names.keys)
    counted = _keys_with_digests(found, names).unique(names.keys)
    sides = zip(("missing", "extra"), unmatched, SIDES, strict=True)
    for name, rows, side in sides:
        sizes = _digests(rows, names, side).group_by(DIGESTS).agg(pl.len().alias(name))
        counted = counted.join(sizes, on=DIGESTS, how="left")
    for side, again in zip(SIDES, repeats, strict=True):
        every = again["key"].struct.unnest()
        sizes = _digests(every, names, side).with_columns(
            again["rows"].alias(f"rows_{side}")
        )
        counted = counted.join(sizes, on=DIGESTS, how="left")
    old, new, missing, extra = (
        pl.col(name).cast(pl.Int64)
        for name in ("rows_old", "rows_new", "missing", "extra")
    )
    more = missing.fill_null(0) - extra.fill_null(0)
    return (
        counted.with_columns(
            old=pl.coalesce(old, new + more), new=pl.coalesce(new, old - more)
        )
        .filter(pl.col("old").is_not_null())
        .select(*schema)
    )


def _keys_with_digests(found: Difference, names: ColumnIds) -> pl.DataFrame:
    """The keys that differ, as they are written, each with its digests."""
    return pl.concat(
        keys.hstack(_digests(keys, names, side))
        for side, keys in _written_keys(found, names)
    ).unique()


def _written_keys(
    found: Difference, names: ColumnIds
) -> tuple[tuple[str, pl.DataFrame], ...]:
    """The keys that differ: those that OLD writes, and those of extra rows."""
    pairs = found.keys[found.cells["pair"].unique()]
    return (
        ("old", pl.concat([pairs, found.missing.select(names.keys)])),
        ("new", found.extra.select(names.keys)),
    )


def _shown(keys: pl.DataFrame, plan: ComparisonPlan) -> list[tuple[str, ...]]:
    """The displayed values of keys, in the order of the key columns."""
    columns = [
        plan.masks.values(name, keys[ours])
        for name, ours in zip(plan.layout.keys, keys.columns, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _locators(found: Difference, plan: ComparisonPlan) -> dict[tuple[str, ...], bytes]:
    """The locators of keys that only `hmac` masks."""
    # Other masks show one text for many values, so their pads would not be unique.
    is_masked = any(name in plan.masks.by_column for name in plan.layout.keys)
    if not is_masked or not _masks_tell_apart(plan):
        return {}
    names, version = plan.names[0], _version(plan)
    keys = _keys_with_digests(found, names)
    shown = _shown(keys.select(names.keys), plan)
    return {
        key: _sealed(LOCATOR.pack(*digests, version), key, plan.masks)
        for key, digests in zip(shown, keys.select(DIGESTS).iter_rows(), strict=True)
    }


def _open(key: OpenKey, masks: Masks, version: int) -> tuple[int, int] | None:
    """The digests in a locator.

    None for another mask key, other rules, or no locator.
    """
    if key.locator is None or len(key.locator) != LOCATOR.size or not masks.key:
        return None
    *digests, sealed = LOCATOR.unpack(_sealed(key.locator, key.values, masks))
    return (digests[0], digests[1]) if sealed == version else None


def _sealed(text: bytes, key: Sequence[str], masks: Masks) -> bytes:
    """XOR the text with a pad that is unique to each displayed key; its own inverse."""
    pad = hmac.digest(masks.key, PURPOSE + format_key(key).encode(), "sha256")
    return bytes(one ^ other for one, other in zip(text, pad, strict=False))


def _version(plan: ComparisonPlan) -> int:
    """A number that changes if the digests of equal keys may change."""
    names = plan.names[0]
    old, new = (
        [list(rules[name]) if name in rules else () for name in names.keys]
        for rules in (rules_of_side(names.chains, side) for side in SIDES)
    )
    # The locator of an extra row has digests by NEW's rules. The number of equal rules
    # stays that of earlier versions, which took OLD's only.
    rules = repr(old if old == new else (old, new))
    # By Polars' hash, which also takes the digests: if a later version of Polars hashes
    # otherwise, this number changes as well.
    return int(pl.Series([rules]).hash(CHECK_SEED)[0])
