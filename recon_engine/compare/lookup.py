"""Look up the keys of open breaks among the rows of a run.

A break is resolved only if its key was compared, so a run counts the rows of each open
key on both sides. Keys are compared by two digests of their normal forms, 128 bits as
for rows; the rules of its side give an open key its form. Keys of a file are never
collected: the digests of all rows select a few rows, and only these are parsed.

A break whose key is masked by `hmac` keeps a locator: the digests of its key, encrypted
under the mask's key. The holder of that key can look the break up, and learns no more
than from a token. Keys with other masks cannot be looked up.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.compare.digests import KEY_SEED, key_digest
from recon_engine.compare.masks import reads_as_masked
from recon_engine.config import Mask
from recon_engine.formatting import format_key
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.result import LookedUp, SameKey, WrittenKey
from recon_engine.rules.chains import rules_of_side


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.pairing import Difference
    from recon_engine.compare.plan import ComparisonPlan


# With `KEY_SEED`, 128 bits for a key. Both are constants, because locators outlive a
# run.
CHECK_SEED: Final = 0xC2B2AE3D27D4EB4F
DIGESTS: Final = ("key", "check")
DIGESTED: Final = {
    "at": pl.UInt32,
    "side": pl.String,
    **dict.fromkeys(DIGESTS, pl.UInt64),
}
COUNTED: Final = {"at": pl.UInt32, "rows": pl.Int64}
# Two digests and a version. The pad of `_Seal` has 32 bytes, so it covers them.
LOCATOR: Final = struct.Struct(">QQQ")
# Separates pads from tokens under one key: no value of a file contains NUL. NEW has a
# pad of its own where its rules differ: the same key then has other digests, and two
# texts under one pad would reveal each other.
PURPOSE: Final = b"locator\0"
PURPOSE_OF_NEW: Final = b"locator of new\0"


@dataclass(frozen=True, slots=True)
class OpenKey:
    """A key as its break shows it; its locator if `hmac` masks it, else None.

    `side`: the one that writes the key: "new" for an extra row, "old" for all else.
    """

    values: tuple[str, ...]
    side: str
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

    `digests`: `at` (their index in the lookup), the `side` that writes them, and
    `DIGESTS`, by the rules of that side. `texts`: the keys that no mask hides, if they
    have no rules; `masked`: the digests of the others by which rows are selected.
    `as_shown`: the `at` of the keys whose columns are masked as they are in this run.
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

    `rows`: for OLD and NEW, the number of `rows` with the key `at`, as they are paired:
    after they are folded; `differing`: the `column` (its ordinal) in which a pair of
    the key differs; `repeated`: each key, as its `side` writes it, that differs or is
    on one side only and has several rows on a side, with its rows in `old` and `new`.
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
    names, seal = plan.names[0], _Seal.of(plan)
    plain: list[tuple[int, OpenKey]] = []
    opened: list[tuple[int, str, int, int]] = []
    for at, key in enumerate(lookup.keys):
        # A masked value cannot be hashed again: only a locator finds such a key.
        if not any(map(reads_as_masked, key.values)):
            plain.append((at, key))
        elif found := seal.read_locator(key):
            opened.append((at, key.side, *found))
    masked = pl.DataFrame(opened, schema=DIGESTED, orient="row")
    parts = [masked]
    for side in SIDES:
        of_side = [(at, key.values) for at, key in plain if key.side == side]
        written = pl.DataFrame(
            [values for _, values in of_side],
            schema=dict.fromkeys(names.keys, pl.String),
            orient="row",
        )
        numbers = pl.Series("at", [at for at, _ in of_side], dtype=pl.UInt32)
        digests = _digests(written, names, side)
        parts.append(digests.select(numbers, pl.lit(side).alias("side"), *DIGESTS))
    return Sought(
        pl.concat(parts).sort("at"),
        lookup.limit,
        [key.values for _, key in plain],
        masked["key"].unique(),
        frozenset(at for at, key in enumerate(lookup.keys) if _is_as_shown(key, plan)),
    )


def sightings(
    sought: Sought | None,
    keys: Sequence[Iterable[pl.DataFrame]],
    repeats: Sequence[pl.DataFrame],
    found: Difference,
    sides: Sequence[ColumnIds],
) -> Sightings:
    """Count the rows of sought keys in some buckets, for break tracking.

    `keys`: for each side, the keys of the rows that `Sought.keys` selects and that are
    kept; `repeats`: for each side, all keys that repeat, as a struct `key`, and their
    `rows`; `sides`: the columns of each side.
    """
    if sought is None:
        return NONE
    names = sides[0]
    old, new = (
        _counted(sought, rows, names, side)
        for rows, side in zip(keys, SIDES, strict=True)
    )
    if names.prepared.either_folds:
        old, new = _count_folded(sought, (old, new), found, sides)
    failing = (
        _counted(sought, [] if rows is None else [rows], names, side)
        for rows, side in zip(found.aside.failing, SIDES, strict=True)
    )
    old, new = map(_add_counts, (old, new), failing)
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
    shown: dict[WrittenKey, tuple[int, int]] = {}
    if not seen.repeated.is_empty():
        keys = _shown(seen.repeated.select(names.keys), plan)
        facts = seen.repeated.select("side", "old", "new").iter_rows()
        for key, (side, *counts) in zip(keys, facts, strict=True):
            shown[side, key] = counts[0], counts[1]
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
) -> dict[WrittenKey, SameKey]:
    """What `LookedUp.same_keys` holds."""
    names = plan.names[0]
    # Other masks show one text for many values. Without rules, a key has one spelling.
    if names.chains.keys().isdisjoint(names.keys) or not _masks_tell_apart(plan):
        return {}
    open_at: dict[tuple[str, int, int], list[int]] = {}
    for at, side, one, other in sought.digests.iter_rows():
        if at in sought.as_shown:
            open_at.setdefault((side, one, other), []).append(at)
    same: dict[WrittenKey, SameKey] = {}
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
    return _add_counts(pl.DataFrame(schema=COUNTED), *parts)


def _add_counts(*parts: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(parts).group_by("at").agg(pl.col("rows").sum())


def _count_folded(
    sought: Sought,
    counts: Sequence[pl.DataFrame],
    found: Difference,
    sides: Sequence[ColumnIds],
) -> Iterator[pl.DataFrame]:
    """The counts after rows are folded: one row of each key of a side that folds.

    Of a key with unpairable rows there is none: it may be one that cannot be folded.
    """
    lost = pl.concat(
        [
            pl.Series(dtype=pl.UInt32),
            *(
                _digests(rows, sides[0], side).join(sought.digests, on=DIGESTS)["at"]
                for rows, side in zip(found.aside.unpairable, SIDES, strict=True)
                if rows is not None
            ),
        ]
    )
    for counted, names in zip(counts, sides, strict=True):
        rows = pl.lit(1, pl.Int64) if names.prepared.fold else pl.col("rows")
        yield counted.filter(~pl.col("at").is_in(lost.implode())).with_columns(
            rows=rows
        )


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
    texts = dict.fromkeys(["side", *names.keys], pl.String)
    schema = texts | {"old": pl.Int64, "new": pl.Int64}
    if all(side.is_empty() for side in repeats):
        return pl.DataFrame(schema=schema)
    unmatched = found.missing.select(names.keys), found.extra.select(names.keys)
    counted = _keys_with_digests(found, names)
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
    """The keys that differ, as their `side` writes them, each with its digests."""
    return pl.concat(
        keys.hstack(_digests(keys, names, side)).with_columns(side=pl.lit(side))
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


def _locators(found: Difference, plan: ComparisonPlan) -> dict[WrittenKey, bytes]:
    """The locators of keys that only `hmac` masks."""
    # Other masks show one text for many values, so their pads would not be unique.
    is_masked = any(name in plan.masks.by_column for name in plan.layout.keys)
    if not is_masked or not _masks_tell_apart(plan):
        return {}
    names, seal = plan.names[0], _Seal.of(plan)
    keys = _keys_with_digests(found, names)
    shown = _shown(keys.select(names.keys), plan)
    facts = keys.select("side", *DIGESTS).iter_rows()
    return {
        (side, key): seal.write_locator(OpenKey(key, side), one, other)
        for key, (side, one, other) in zip(shown, facts, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Seal:
    """What locators are encrypted with.

    `version`: a number that changes if the digests of equal keys may change.
    """

    secret: bytes
    version: int
    purposes: Mapping[str, bytes]

    @classmethod
    def of(cls, plan: ComparisonPlan) -> _Seal:
        names = plan.names[0]
        old, new = (
            [list(rules[name]) if name in rules else () for name in names.keys]
            for rules in (rules_of_side(names.chains, side) for side in SIDES)
        )
        # The number of equal rules stays that of earlier versions, which took OLD's.
        rules = repr(old if old == new else (old, new))
        # By Polars' hash, which also takes the digests: if a later version of Polars
        # hashes otherwise, this number changes as well.
        version = int(pl.Series([rules]).hash(CHECK_SEED)[0])
        purposes = PURPOSE, PURPOSE if old == new else PURPOSE_OF_NEW
        by_side = dict(zip(SIDES, purposes, strict=True))
        return cls(plan.masks.key, version, by_side)

    def write_locator(self, key: OpenKey, *digests: int) -> bytes:
        """The locator of a key that has these digests."""
        text = LOCATOR.pack(*digests, self.version)
        return self._apply_pad(text, key, self.purposes[key.side])

    def read_locator(self, key: OpenKey) -> tuple[int, int] | None:
        """The digests in a locator.

        None for another mask key, other rules, or no locator.
        """
        text = key.locator
        if text is None or len(text) != LOCATOR.size or not self.secret:
            return None
        # Earlier versions sealed those of both sides with the pad of OLD.
        for purpose in dict.fromkeys((self.purposes[key.side], PURPOSE)):
            opened = self._apply_pad(text, key, purpose)
            one, other, version = LOCATOR.unpack(opened)
            if version == self.version:
                return one, other
        return None

    def _apply_pad(self, text: bytes, key: OpenKey, purpose: bytes) -> bytes:
        """XOR a text with the pad of a displayed key; its own inverse."""
        shown = purpose + format_key(key.values).encode()
        pad = hmac.digest(self.secret, shown, "sha256")
        return bytes(one ^ other for one, other in zip(text, pad, strict=False))
