"""Breaks: the differences of a dataset, followed from one run to the next.

A break is a key and a column in which it differs, or a row that is missing or extra.
The breaks of a dataset and its key columns are a book of their own. Each pair of files
is one look into it, and the state of a break is what the looks, in the order in which
they were published, make of it:

    not there  -- seen -->  new
    open       -- seen -->  recurring, or changed if its values are others
    open       -- not seen, though its column was compared -->  resolved
    resolved   -- seen -->  reopened

The same pair once more, recomputed or with other options, is the same look: it takes
the place of the earlier one if that was the last, and changes no break if it was not,
for later files have told more since. A break holds what the outputs show, so it is
masked as they are.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import pyarrow as pa

from recon_engine.errors import ConfigError, did_you_mean
from recon_engine.model import BreakCounts, Breaks, BreakState, Tracking
from recon_engine.postgres import connect
from recon_engine.reconciliation import key_text


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    import polars as pl
    import psycopg

    from recon_engine.config import Address
    from recon_engine.reconciliation import Reconciliation


HASH_BYTES: Final = 16
VALUE_CHARACTERS: Final = 256
UNCHANGED: Final = {
    Tracking.OVER_LIMIT: "its differences are over --break-limit",
    Tracking.SUPERSEDED: "a later pair has been tracked since",
}
OPEN: Final = tuple(state for state in BreakState if state is not BreakState.RESOLVED)

SEEN: Final = pa.schema(
    {
        "break_id": pa.binary(HASH_BYTES),
        "key_text": pa.large_string(),
        "column_name": pa.large_string(),
        "kind": pa.large_string(),
        "occurrences": pa.int64(),
        "old_value": pa.large_string(),
        "new_value": pa.large_string(),
        "content": pa.binary(HASH_BYTES),
    }
)
STAGE: Final = """
CREATE TEMPORARY TABLE break_seen (
    break_id uuid, key_text text, column_name text, kind text, occurrences bigint,
    old_value text, new_value text, content uuid
) ON COMMIT DROP
"""

# The last look into the book, whether it was at this pair, and the pair's first day.
LAST_LOOK: Final = """
WITH look AS (
    SELECT * FROM metrics.break_summary
    WHERE book = ($1::text)::uuid AND tracking = 'tracked'
)
SELECT run_id::text, pair = ($2::text)::uuid,
    (SELECT min(run_date)::text FROM look WHERE pair = ($2::text)::uuid)
FROM look ORDER BY ordinal DESC LIMIT 1
"""
FORGET: Final = """
DELETE FROM metrics.break
WHERE book = ($1::text)::uuid AND as_of_run = ($2::text)::uuid AND before IS NULL
"""
RESTORE: Final = """
UPDATE metrics.break AS b SET before = NULL,
    (kind, occurrences, old_value, new_value, content, state, as_of, as_of_run,
     last_seen, last_seen_run, runs_seen) = (
        SELECT kind, occurrences, old_value, new_value, content, state, as_of,
            as_of_run, last_seen, last_seen_run, runs_seen
        FROM jsonb_populate_record(NULL::metrics.break, b.before)
    )
WHERE book = ($1::text)::uuid AND as_of_run = ($2::text)::uuid
"""
KEEP: Final = """
before = jsonb_build_object(
    'kind', b.kind, 'occurrences', b.occurrences, 'old_value', b.old_value,
    'new_value', b.new_value, 'content', b.content, 'state', b.state, 'as_of', b.as_of,
    'as_of_run', b.as_of_run, 'last_seen', b.last_seen,
    'last_seen_run', b.last_seen_run, 'runs_seen', b.runs_seen
)
"""
CARRY_ON: Final = f"""
WITH carried AS (
    INSERT INTO metrics.break AS b (
        book, break_id, dataset, key_text, column_name, kind, occurrences, old_value,
        new_value, content, state, as_of, as_of_run, first_seen, first_seen_run,
        last_seen, last_seen_run, runs_seen
    )
    SELECT ($1::text)::uuid, break_id, $2::text, key_text, column_name, kind,
        occurrences, old_value, new_value, content, 'new', day, run, day, run, day, run,
        1
    FROM pg_temp.break_seen,
        (SELECT ($3::text)::uuid AS run, ($4::text)::date AS day) AS look
    ON CONFLICT (book, break_id) DO UPDATE SET {KEEP},
        kind = excluded.kind,
        occurrences = excluded.occurrences,
        old_value = excluded.old_value,
        new_value = excluded.new_value,
        content = excluded.content,
        state = CASE
            WHEN b.state = 'resolved' THEN 'reopened'
            WHEN b.content <> excluded.content THEN 'changed'
            ELSE 'recurring'
        END,
        as_of = excluded.as_of,
        as_of_run = excluded.as_of_run,
        last_seen = excluded.last_seen,
        last_seen_run = excluded.last_seen_run,
        runs_seen = b.runs_seen + 1
    RETURNING state
)
SELECT state, count(*) FROM carried GROUP BY state
"""  # noqa: S608 - a constant above
RESOLVE: Final = f"""
WITH resolved AS (
    UPDATE metrics.break AS b SET {KEEP},
        state = 'resolved', as_of = ($3::text)::date, as_of_run = ($2::text)::uuid
    WHERE book = ($1::text)::uuid
        AND state <> 'resolved'
        AND as_of_run <> ($2::text)::uuid
        AND (column_name IS NULL OR column_name IN (
            SELECT c.column_name FROM metrics.mismatch_by_column AS c
            WHERE c.run_id = ($2::text)::uuid
        ))
    RETURNING state
)
SELECT state, count(*) FROM resolved GROUP BY state
"""  # noqa: S608 - a constant above
STILL_OPEN: Final = """
SELECT count(*), ($2::text)::date - min(first_seen) FROM metrics.break
WHERE book = ($1::text)::uuid AND state <> 'resolved'
"""

LATEST: Final = """
SELECT book, tracking, run_date FROM metrics.break_summary
WHERE dataset = %s ORDER BY ordinal DESC LIMIT 1
"""
DATASETS: Final = "SELECT DISTINCT dataset FROM metrics.break_summary"
LISTED: Final = """
SELECT key_text AS key, column_name AS "column", kind, state,
    CASE WHEN state = 'resolved' THEN as_of ELSE (now() AT TIME ZONE 'UTC')::date END
        - first_seen AS age_days,
    first_seen, last_seen, runs_seen, old_value AS old, new_value AS new
FROM metrics.break WHERE book = %s AND state = ANY(%s)
ORDER BY first_seen, key_text, column_name NULLS FIRST, kind LIMIT %s
"""
COUNTED: Final = (
    "SELECT count(*) FROM metrics.break WHERE book = %s AND state = ANY(%s)"
)
OF_RUN: Final = """
SELECT b.book, b.tracking, b.differences,
    b.breaks_new, b.breaks_recurring, b.breaks_changed,
    b.breaks_resolved, b.breaks_reopened, b.breaks_open, b.oldest_days,
    b.ordinal = (SELECT max(ordinal) FROM metrics.break_summary WHERE book = b.book)
FROM metrics.break_summary b WHERE b.run_id = %s
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One run's look at the differences of a dataset."""

    result: Reconciliation
    dataset: str
    run_id: UUID
    day: date

    @property
    def book(self) -> UUID:
        """The same for the same dataset and key columns."""
        return UUID(bytes=_hash(self.dataset, *self.result.keys))

    @property
    def pair(self) -> UUID:
        """The same for the same two files."""
        sides = self.result.old, self.result.new
        facts = (fact for side in sides for fact in (side.uri, side.sha256 or ""))
        return UUID(bytes=_hash(*facts))

    @property
    def differences(self) -> int:
        """Cells that differ, missing and extra rows."""
        counts = self.result.counts
        return counts.mismatched_cells + counts.missing + counts.extra


def seen(look: Look, limit: int) -> pa.Table | None:
    """Every break of a look once; None for more than `limit` differences."""
    if look.differences > limit:
        return None
    columns = zip(*_seen(look.result), strict=True)
    arrays = [
        pa.array(values, field.type)
        for values, field in zip(columns, SEEN, strict=False)
    ]
    return pa.Table.from_arrays(arrays, schema=SEEN) if arrays else SEEN.empty_table()


def track(cursor: Any, look: Look, found: pa.Table | None) -> Breaks:
    """Carry the breaks of a book on, in the transaction of the cursor.

    The run's row of the log and its `mismatch_by_column` are there already, and
    nobody else publishes to the dataset meanwhile. What is too much to be `found` is
    only counted.
    """
    if found is None:
        return Breaks(Tracking.OVER_LIMIT, look.differences)
    book, run_id, day = str(look.book), str(look.run_id), look.day.isoformat()
    match _fetched(cursor, LAST_LOOK, book, str(look.pair)):
        case [(last, True, first)]:
            for statement in (FORGET, RESTORE):
                cursor.execute(statement, (book, last))
            seen_on = first
        case [(_, _, str())]:
            return Breaks(Tracking.SUPERSEDED, look.differences)
        case _:
            seen_on = day
    _ingest(cursor, found)
    states = dict(
        _fetched(cursor, CARRY_ON, book, look.dataset, run_id, seen_on)
        + _fetched(cursor, RESOLVE, book, run_id, seen_on)
    )
    [(still_open, oldest)] = _fetched(cursor, STILL_OPEN, book, day)
    counts = BreakCounts(
        **{state: states.get(state, 0) for state in BreakState},
        open=still_open,
        oldest_days=oldest,
    )
    return Breaks(Tracking.TRACKED, look.differences, counts)


def summary(look: Look, found: Breaks) -> dict[str, object]:
    """What became of the breaks, as a row of `metrics.break_summary`."""
    row: dict[str, object] = {
        "run_id": look.run_id.bytes,
        "dataset": look.dataset,
        "run_date": look.day,
        "book": look.book.bytes,
        "pair": look.pair.bytes,
        "tracking": found.tracking,
        "differences": found.differences,
    }
    if found.counts is not None:
        counts = asdict(found.counts)
        row["oldest_days"] = counts.pop("oldest_days")
        row |= {f"breaks_{state}": count for state, count in counts.items()}
    return row


def headline(found: Breaks) -> str:
    """What became of the breaks in one line."""
    counts = found.counts
    match found.tracking:
        case Tracking.OVER_LIMIT:
            return (
                f"not tracked: {found.differences:,} differences are over --break-limit"
            )
        case Tracking.SUPERSEDED:
            return "left as they are: a later pair has been tracked since"
    if counts is None or not any(asdict(counts).values()):
        return "none"
    days = counts.oldest_days
    age = f" (oldest {days:,} day{'' if days == 1 else 's'})" if days else ""
    return (
        f"new {counts.new:,}, recurring {counts.recurring:,}{age}, "
        f"changed {counts.changed:,}, resolved {counts.resolved:,}, "
        f"reopened {counts.reopened:,}"
    )


class Table(NamedTuple):
    """Breaks, oldest first."""

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Listing:
    """Breaks as a table, oldest first; `total`: how many there are in these states.

    `as_of`: the day of the last run. `tracking`: whether that run changed them.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    total: int
    as_of: date
    tracking: Tracking


def listing(
    address: Address,
    dataset: str,
    states: Sequence[BreakState] = OPEN,
    limit: int | None = None,
) -> Listing:
    """The breaks of a dataset, by the key columns of its last run.

    Raises ConfigError for a dataset whose breaks have never been tracked.
    """
    with connect(address) as connection:
        latest = connection.execute(LATEST, [dataset]).fetchone()
        known = [name for (name,) in connection.execute(DATASETS)]
        if latest is not None:
            book, tracking, as_of = latest
            total = connection.execute(COUNTED, [book, [*states]]).fetchone()
            return Listing(
                *_listed(connection, book, states, limit),
                total[0] if total else 0,
                as_of,
                Tracking(tracking),
            )
    raise ConfigError(
        f"no breaks of a dataset {dataset} are recorded.{did_you_mean(dataset, known)}",
        help="recon run records them, unless --break-limit is 0",
    )


def of_run(
    connection: psycopg.Connection, run_id: UUID, limit: int
) -> tuple[Breaks, Table] | None:
    """What became of the breaks in a run, and the oldest if it was the last to look.

    None if the run tracked none.
    """
    found = connection.execute(OF_RUN, [run_id]).fetchone()
    if found is None:
        return None
    book, tracking, differences, *counted, last = found
    counts = None if counted[0] is None else BreakCounts(*counted)
    breaks = Breaks(Tracking(tracking), differences, counts)
    oldest = _listed(connection, book, OPEN, limit) if last else Table((), [])
    return breaks, oldest


def _listed(
    connection: psycopg.Connection,
    book: str,
    states: Sequence[BreakState],
    limit: int | None,
) -> Table:
    cursor = connection.execute(LISTED, [book, [*states], limit])
    names = tuple(column.name for column in cursor.description or ())
    return Table(names, cursor.fetchall())


def _ingest(cursor: Any, found: pa.Table) -> None:
    cursor.execute(STAGE)
    if found.num_rows:
        cursor.adbc_ingest("break_seen", found, mode="append", temporary=True)


def _seen(result: Reconciliation) -> Iterator[tuple[object, ...]]:
    """The breaks of a result in the columns of `SEEN`."""
    yield from _cells(result.mismatches())
    for kind, rows in (("missing", result.missing()), ("extra", result.extra())):
        keys = zip(*(rows.get_column(name) for name in result.keys), strict=True)
        for key, count in Counter(keys).items():
            found = _hash(str(count))
            name = _hash(kind, *key)
            yield name, key_text(key), None, kind, count, None, None, found


def _cells(cells: pl.DataFrame) -> Iterator[tuple[object, ...]]:
    """Cells of one key and column are one break: they come one after the other."""
    keys = cells["key"].struct.unnest().rows()
    values = cells.select("column", "kind", "old", "new").iter_rows()
    located = ((key, *cell) for key, cell in zip(keys, values, strict=True))
    for (key, column), group in groupby(located, key=itemgetter(0, 1)):
        (_, _, kind, old, new), *others = group
        found = _hash(old, new, *(text for cell in others for text in cell[3:]))
        name = _hash("cell", column, *key)
        count, shown = 1 + len(others), (_cut(old), _cut(new))
        yield name, key_text(key), column, kind, count, *shown, found


def _cut(text: str) -> str:
    if len(text) <= VALUE_CHARACTERS:
        return text
    return text[: VALUE_CHARACTERS - 1] + "…"


def _hash(*texts: str) -> bytes:
    """128 bits that are the same for the same texts, in every process and version.

    No text of a file holds a NUL: the gate refuses it.
    """
    joined = "\0".join(texts).encode()
    return hashlib.blake2b(joined, digest_size=HASH_BYTES).digest()


def _fetched(cursor: Any, statement: str, *values: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
