"""Track breaks: the differences of a dataset, from run to run.

A break is a key with a column that differs, or a row that is missing or extra. Breaks
are kept per dataset and key columns, in a *book*. Each pair of files is one observation
of the book. Observations, in the order of publication, change the state of a break:

    no break yet    -- seen -->  new
    open            -- seen -->  recurring, or changed if its values differ from before
    open            -- compared, and equal -->  resolved
    open            -- on neither side of a full feed -->  gone
    open            -- none of these -->  unseen, which is open
    resolved, gone  -- seen -->  reopened

A cell is compared if its key matched and its column was compared. A row is compared if
its key matched. `compare.lookup` finds out what a run saw of the keys of open breaks.

The id of a break is a hash of its key, as it was written when the break began. Where
rules let the key be written in several ways, a difference carries on the open break of
the same key, whatever way it is written in.

A second run on the same pair, recomputed or with other options, is the same
observation. It replaces the earlier one if that was the last. Otherwise it changes no
break, because later files are better evidence. Values in breaks are masked like all
outputs.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import pyarrow as pa

from recon_engine.command_line import quote_name, quoted
from recon_engine.compare.lookup import OpenKey
from recon_engine.config import Feed
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_count, format_key, format_share
from recon_engine.kinds import KINDS
from recon_engine.model import (
    BreakCounts,
    Breaks,
    BreakState,
    Sha256,
    SuppressionState,
    Tracking,
)
from recon_engine.postgres.break_keys import (
    Key,
    find_key_texts,
    read_key,
    write_key_texts,
)
from recon_engine.postgres.connection import open_connection, translate_database_errors
from recon_engine.result import SameKey
from recon_engine.suggestions import did_you_mean
from recon_engine.suppressions import fits_kind


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl
    import psycopg

    from recon_engine.config import Address
    from recon_engine.model import FilePair, Suppressed
    from recon_engine.result import LookedUp, Reconciliation, WrittenKey


# A differing cell: its key, column, kind and both values.
Cell = tuple[Key, str, str, str, str]

# A hash is stored as uuid: 128 bits, compared and indexed as one value.
# At a billion breaks, two hashes are equal by chance in one case of 10**20.
HASH_BYTES: Final = 16
# Values are shown to people; `content` detects changes in the part that is cut off.
VALUE_CHARACTERS: Final = 256
# Why a run left the breaks as they were.
UNCHANGED: Final = {
    Tracking.OVER_LIMIT: "its differences are over --break-limit",
    Tracking.SUPERSEDED: "a later pair has been tracked since",
}
# Which breaks became what in a run, as far as the table of breaks has it.
STATES_OF_RUN: Final = {
    BreakState.NEW: "first_seen_run = %(of_run)s",
    BreakState.RESOLVED: "state = 'resolved' AND as_of_run = %(of_run)s",
    BreakState.GONE: "state = 'gone' AND as_of_run = %(of_run)s",
}
ENDED: Final = "('resolved', 'gone')"
NONE_GONE: Final = "; none is gone, because rows were not compared"

SEEN_SCHEMA: Final = pa.schema(
    {
        "break_id": pa.binary(HASH_BYTES),
        "key_text": pa.large_string(),
        "column_name": pa.large_string(),
        "kind": pa.large_string(),
        "occurrences": pa.int64(),
        "old_value": pa.large_string(),
        "new_value": pa.large_string(),
        "content": pa.binary(HASH_BYTES),
        "key_rows_old": pa.int64(),
        "key_rows_new": pa.int64(),
        "locator": pa.binary(),
        "uncertain": pa.bool_(),
        "old_sha256": pa.large_string(),
        "new_sha256": pa.large_string(),
    }
)
FOUND: Final = pa.schema(
    {
        "break_id": pa.binary(HASH_BYTES),
        "key_rows_old": pa.int64(),
        "key_rows_new": pa.int64(),
        "differs": pa.bool_(),
    }
)
CREATE_SEEN: Final = (
    """
CREATE TEMPORARY TABLE break_seen (
    break_id uuid, key_text text, column_name text, kind text, occurrences bigint,
    old_value text, new_value text, content uuid, key_rows_old bigint,
    key_rows_new bigint, locator bytea, uncertain boolean, old_sha256 text,
    new_sha256 text
) ON COMMIT DROP
""",
    """
CREATE TEMPORARY TABLE break_found (
    break_id uuid, key_rows_old bigint, key_rows_new bigint, differs boolean
) ON COMMIT DROP
""",
)

# The run and the pair of the book's last observation, if it was of a pair with these
# URIs: the run that starts now may replace it. `track_breaks` decides by the pair, of
# which the hashes of the files are a part.
LAST_RUN: Final = """
SELECT b.run_id, b.pair FROM metrics.break_summary b
    JOIN metrics.pipeline_run_log r USING (run_id)
WHERE b.ordinal = (
    SELECT max(ordinal) FROM metrics.break_summary
    WHERE book = %(book)s AND tracking = 'tracked'
) AND r.old_uri = %(old)s AND r.new_uri = %(new)s
"""
# The last value: whether the break is not open if the observation of `last` is undone.
FACTS: Final = f"""
SELECT break_id, key_text, column_name, kind, locator,
    as_of_run IS NOT DISTINCT FROM %(last)s AND NOT coalesce(
        (before->>'open')::boolean, before->>'state' NOT IN {ENDED}, false
    )
FROM metrics.break
"""  # noqa: S608 - a constant above
STANDING: Final = f"{FACTS} WHERE book = %(book)s AND open"
TOUCHED: Final = f"{FACTS} WHERE book = %(book)s AND as_of_run = %(last)s AND NOT open"

# All statements below run in the transaction that publishes a run. It holds the
# advisory lock of the dataset (publish.ONE_AT_A_TIME): no other run changes this book.

# One row: the last observation of the book, whether it is of this pair, the first day
# of this pair in the dataset, tracked or not, whether the last observation is of a pair
# that came after it, and the observation with whose rules those of this run are
# compared: that of another pair, if there is one.
# ADBC binds these values as text, so each is cast from text.
LAST_OBSERVATION: Final = """
WITH observation AS (
    SELECT * FROM metrics.break_summary
    WHERE book = ($1::text)::uuid AND tracking = 'tracked'
), pairs AS (
    SELECT DISTINCT ON (pair) pair, ordinal, coalesce(as_of, run_date)::text AS day
    FROM metrics.break_summary WHERE dataset = $3::text ORDER BY pair, ordinal
)
SELECT last.run_id::text, last.pair = this.pair, own.day, own.ordinal < pairs.ordinal,
    (SELECT run_id::text FROM observation o
     ORDER BY o.pair = this.pair, o.ordinal DESC LIMIT 1)
FROM (SELECT ($2::text)::uuid AS pair) this
    LEFT JOIN pairs own USING (pair)
    LEFT JOIN (SELECT * FROM observation ORDER BY ordinal DESC LIMIT 1) last ON true
    LEFT JOIN pairs ON pairs.pair = last.pair
"""
# Undo the last observation, in two steps: delete the breaks that it created, and
# restore the earlier state of those that it changed. `before` holds one step
# of undo, so only the last observation can be replaced.
FORGET: Final = """
DELETE FROM metrics.break
WHERE book = ($1::text)::uuid AND as_of_run = ($2::text)::uuid AND before IS NULL
"""
# A `before` written by an earlier version has no `open`: it follows from the state.
RESTORE: Final = f"""
UPDATE metrics.break AS b SET before = NULL,
    (kind, occurrences, old_value, new_value, content, key_rows_old, key_rows_new,
     locator, uncertain, old_sha256, new_sha256, state, open, as_of, as_of_run,
     last_seen, last_seen_run, runs_seen) = (
        SELECT kind, occurrences, old_value, new_value, content, key_rows_old,
            key_rows_new, locator, coalesce(uncertain, false), old_sha256, new_sha256,
            state, coalesce(open, state NOT IN {ENDED}), as_of, as_of_run, last_seen,
            last_seen_run, runs_seen
        FROM jsonb_populate_record(NULL::metrics.break, b.before)
    )
WHERE book = ($1::text)::uuid AND as_of_run = ($2::text)::uuid
"""  # noqa: S608 - a constant above
# Saves the state of a row for RESTORE, in the UPDATE that changes it.
KEEP: Final = """
before = jsonb_build_object(
    'kind', b.kind, 'occurrences', b.occurrences, 'old_value', b.old_value,
    'new_value', b.new_value, 'content', b.content, 'key_rows_old', b.key_rows_old,
    'key_rows_new', b.key_rows_new, 'locator', b.locator,
    'uncertain', b.uncertain, 'old_sha256', b.old_sha256,
    'new_sha256', b.new_sha256, 'state', b.state,
    'open', b.open, 'as_of', b.as_of, 'as_of_run', b.as_of_run,
    'last_seen', b.last_seen, 'last_seen_run', b.last_seen_run,
    'runs_seen', b.runs_seen
)
"""
# Insert or update every break that this run saw.
CARRY_ON: Final = f"""
WITH carried AS (
    INSERT INTO metrics.break AS b (
        book, break_id, dataset, key_text, column_name, kind, occurrences, old_value,
        new_value, content, key_rows_old, key_rows_new, locator, uncertain, old_sha256,
        new_sha256, state, open, as_of, as_of_run, first_seen, first_seen_run,
        last_seen, last_seen_run, runs_seen
    )
    SELECT ($1::text)::uuid, break_id, $2::text, key_text, column_name, kind,
        occurrences, old_value, new_value, content, key_rows_old, key_rows_new, locator,
        uncertain, old_sha256, new_sha256, 'new', true, day, run, day, run, day, run, 1
    FROM pg_temp.break_seen,
        (SELECT ($3::text)::uuid AS run, ($4::text)::date AS day) AS observation
    ON CONFLICT (book, break_id) DO UPDATE SET {KEEP},
        kind = excluded.kind,
        occurrences = excluded.occurrences,
        old_value = excluded.old_value,
        new_value = excluded.new_value,
        content = excluded.content,
        key_rows_old = excluded.key_rows_old,
        key_rows_new = excluded.key_rows_new,
        locator = excluded.locator,
        uncertain = excluded.uncertain,
        old_sha256 = excluded.old_sha256,
        new_sha256 = excluded.new_sha256,
        state = CASE
            WHEN NOT b.open THEN 'reopened'
            WHEN b.content <> excluded.content THEN 'changed'
            ELSE 'recurring'
        END,
        open = true,
        as_of = excluded.as_of,
        as_of_run = excluded.as_of_run,
        last_seen = excluded.last_seen,
        last_seen_run = excluded.last_seen_run,
        runs_seen = b.runs_seen + 1
    RETURNING state
)
SELECT state, count(*) FROM carried GROUP BY state
"""  # noqa: S608 - a constant above

# Settle every open break that this run did not see. CARRY_ON runs first: `as_of_run`
# marks the breaks it updated. Rows of a repeated key are interchangeable, so a break of
# one is resolved only if all of its pairs are present again and no row was quarantined.
# Breaks of earlier versions have no row counts: `occurrences` is then the lower bound.
SETTLE: Final = f"""
WITH settled AS (
    SELECT b.break_id, CASE
        WHEN least(f.key_rows_old, f.key_rows_new) > 0 AND NOT f.differs
            AND (b.column_name IS NULL OR b.column_name IN (
                SELECT c.column_name FROM metrics.mismatch_by_column AS c
                WHERE c.run_id = ($2::text)::uuid
            ))
            AND (
                greatest(
                    f.key_rows_old, f.key_rows_new, b.key_rows_old, b.key_rows_new,
                    b.occurrences
                ) = 1
                OR NOT observation.rejected
                AND least(f.key_rows_old, f.key_rows_new) >= coalesce(
                    least(b.key_rows_old, b.key_rows_new),
                    CASE WHEN b.column_name IS NULL THEN 0 ELSE b.occurrences END
                )
            ) THEN 'resolved'
        WHEN observation.complete
            AND greatest(f.key_rows_old, f.key_rows_new) = 0 THEN 'gone'
        ELSE 'unseen'
    END AS state
    FROM metrics.break AS b
        CROSS JOIN (
            SELECT ($4::text)::boolean AS rejected, ($5::text)::boolean AS complete
        ) AS observation
        LEFT JOIN pg_temp.break_found AS f USING (break_id)
    WHERE b.book = ($1::text)::uuid AND b.open AND b.as_of_run <> ($2::text)::uuid
), ended AS (
    UPDATE metrics.break AS b SET {KEEP},
        state = settled.state,
        open = settled.state NOT IN {ENDED},
        as_of = ($3::text)::date,
        as_of_run = ($2::text)::uuid
    FROM settled
    WHERE b.book = ($1::text)::uuid AND b.break_id = settled.break_id
        AND b.state <> settled.state
    RETURNING b.state
)
SELECT state, count(*) FROM ended WHERE state IN {ENDED} GROUP BY state
"""  # noqa: S608 - constants above
# Grouped first: whether a break is accepted depends on its column and kind only, unless
# a narrow suppression is the first to fit it.
STILL_OPEN: Final = """
WITH counted AS (
    SELECT b.column_name, b.kind, n.accepted AS narrow, count(*) AS breaks,
        count(*) FILTER (WHERE b.state = 'unseen') AS unseen,
        count(*) FILTER (WHERE b.state IN ('new', 'reopened')) AS appeared,
        min(b.first_seen) AS first_seen
    FROM metrics.break AS b LEFT JOIN
        metrics.judge_narrow(($1::text)::uuid, ($3::text)::uuid) AS n USING (break_id)
    WHERE b.book = ($1::text)::uuid AND b.open
    GROUP BY b.column_name, b.kind, n.accepted
), judged AS (
    SELECT *, greatest(($2::text)::date - first_seen, 0) AS days,
        coalesce(
            narrow, metrics.accepts_break(($3::text)::uuid, column_name, kind)
        ) AS accepted
    FROM counted
)
SELECT coalesce(sum(breaks), 0)::bigint, coalesce(sum(unseen), 0)::bigint, max(days),
    coalesce(sum(breaks) FILTER (WHERE accepted), 0)::bigint,
    coalesce(sum(appeared) FILTER (WHERE accepted), 0)::bigint,
    max(days) FILTER (WHERE NOT accepted)
FROM judged
"""
# Whether two runs have different rules, for both sides or for one. With code tables in
# files, their contents if both runs recorded them, else their names. NULL if there is
# no such run.
COMPARE_RULES: Final = """(
    SELECT coalesce(
        earlier.config->'rules' <> later.config->'rules',
        jsonb_build_array(
            earlier.config #> '{{options,rules}}',
            earlier.config #> '{{options,old,rules}}',
            earlier.config #> '{{options,new,rules}}'
        ) <> jsonb_build_array(
            later.config #> '{{options,rules}}',
            later.config #> '{{options,old,rules}}',
            later.config #> '{{options,new,rules}}'
        )
    )
    FROM metrics.pipeline_run_log earlier, metrics.pipeline_run_log later
    WHERE earlier.run_id = {} AND later.run_id = {}
)"""
RULES_CHANGED: Final = "SELECT " + COMPARE_RULES.format(
    "($1::text)::uuid", "($2::text)::uuid"
)

# The day of the last observation of a book: the state of its breaks is as of that day.
AS_OF: Final = """(
    SELECT coalesce(t.as_of, t.run_date) FROM metrics.break_summary t
    WHERE t.book = b.book AND t.tracking = 'tracked' ORDER BY t.ordinal DESC LIMIT 1
)"""
# The run of that observation: its suppressions decide which open breaks are accepted.
LAST_TRACKED: Final = """(
    SELECT t.run_id FROM metrics.break_summary t
    WHERE t.book = b.book AND t.tracking = 'tracked' ORDER BY t.ordinal DESC LIMIT 1
)"""
# Of a run, of a book, or else of the last run that tracked breaks.
LATEST: Final = f"""
SELECT b.book, coalesce({AS_OF}, b.run_date), b.run_id, {LAST_TRACKED}
FROM metrics.break_summary b
WHERE b.dataset = %(dataset)s AND b.book = coalesce(%(book)s, b.book)
ORDER BY b.run_id IS NOT DISTINCT FROM %(run)s DESC, b.ordinal DESC LIMIT 1
"""  # noqa: S608 - a constant above
# What the last result of the dataset made of which breaks; NULLs if it tracked none.
LAST_RESULT: Final = """
SELECT b.tracking, b.book
FROM metrics.recon_summary s LEFT JOIN metrics.break_summary b USING (run_id)
WHERE s.dataset = %s ORDER BY s.created_ts DESC, s.run_id DESC LIMIT 1
"""
# The other books of a dataset, with the last observation and the keys of each.
OTHER_BOOKS: Final = """
SELECT DISTINCT ON (b.book) b.book, b.run_id, s.keys
FROM metrics.break_summary b JOIN metrics.recon_summary s USING (run_id)
WHERE b.dataset = %s AND b.book <> %s AND b.tracking = 'tracked'
ORDER BY b.book, b.ordinal DESC
"""
# The key of the breaks of a run, its options, and whether a column of the key is
# masked: its values then find no row.
KEY_OF_RUN: Final = """
SELECT s.keys, r.config->'options',
    coalesce(r.config->'options'->'masks' ?| (s.keys || ARRAY['*']), false),
    s.only_in_old || s.only_in_new
FROM metrics.recon_summary s JOIN metrics.pipeline_run_log r USING (run_id)
WHERE s.run_id = %s
"""
# Where the two files of the run that saw a break last are. Parts are several files, and
# inputs that are not archived yet are still in inbound.
ARCHIVED: Final = """
SELECT format('%%s%%s/%%s/', r.config->>'processed', r.dataset, r.run_id),
    r.old_uri, r.new_uri
FROM metrics.break b JOIN metrics.pipeline_run_log r ON r.run_id = b.last_seen_run
WHERE b.book = %(book)s AND b.key_text = %(key)s AND b.kind = %(kind)s
    AND b.column_name IS NOT DISTINCT FROM %(column)s AND r.status = 'SUCCEEDED'
    AND NOT EXISTS (SELECT FROM metrics.run_part p WHERE p.run_id = r.run_id)
"""
SUPPRESSIONS_OF_RUN: Final = """
SELECT config #> '{options,suppressions}' FROM metrics.pipeline_run_log
WHERE run_id = %s
"""
DATASETS: Final = "SELECT DISTINCT dataset FROM metrics.break_summary"
# Few columns and kinds, however many breaks; and the breaks that a narrow suppression
# is the first to fit.
JUDGED: Final = """
WITH general AS MATERIALIZED (
    SELECT coalesce(column_name, '') AS column_name, kind FROM (
        SELECT DISTINCT column_name, kind FROM metrics.break
        WHERE book = %(book)s AND open
    ) AS found
    WHERE metrics.accepts_break(%(run)s, column_name, kind)
), narrow AS MATERIALIZED (
    SELECT * FROM metrics.judge_narrow(%(book)s, %(run)s)
)
"""
# A break that has ended is not accepted: there is nothing left to accept.
ACCEPTED: Final = """(open AND (
    break_id IN (SELECT break_id FROM narrow WHERE accepted)
    OR break_id NOT IN (SELECT break_id FROM narrow)
    AND (coalesce(column_name, ''), kind) IN (SELECT column_name, kind FROM general)
))"""
LISTED: Final = f"""{JUDGED}
SELECT key_text AS key, column_name AS "column", kind, state,
    greatest(CASE WHEN open THEN %(as_of)s::date ELSE as_of END - first_seen, 0)
        AS age_days,
    first_seen, last_seen, runs_seen, old_value AS old, new_value AS new, uncertain,
    {ACCEPTED} AS accepted, CASE WHEN NOT open THEN as_of END AS ended, occurrences
FROM metrics.break WHERE book = %(book)s AND {{which}}
ORDER BY first_seen, key_text, column_name NULLS FIRST, kind LIMIT %(limit)s
"""  # noqa: S608 - constants above
LEFT_OUT: Final = f"""{JUDGED}
SELECT count(*) FROM metrics.break
WHERE book = %(book)s AND {{which}} AND {ACCEPTED}
"""  # noqa: S608 - constants above
UNACCEPTED: Final = f"""{JUDGED}
SELECT count(*) FROM metrics.break
WHERE book = %(book)s AND open AND NOT {ACCEPTED}
"""  # noqa: S608 - constants above
COUNTED: Final = f"""{JUDGED}
SELECT grouping(state, kind, column_name), state, kind, column_name, count(*)
FROM metrics.break WHERE book = %(book)s AND {{which}}
GROUP BY GROUPING SETS ((), (state), (kind), (column_name))
ORDER BY 5 DESC, 2, 3, 4
"""  # noqa: S608 - constants above
# What Postgres gives for `grouping`: a bit for each column that is not in the set.
GROUPED_BY: Final = {7: "", 3: "state", 5: "kind", 6: "column"}
# The observation of the book before that of a run: of another pair, if there is one.
PREVIOUS: Final = """(
    SELECT t.run_id FROM metrics.break_summary t
    WHERE t.book = b.book AND t.tracking = 'tracked' AND t.ordinal < b.ordinal
    ORDER BY t.pair = b.pair, t.ordinal DESC LIMIT 1
)"""
# Whether rows of a full feed were not compared.
NOT_COMPARED: Final = """EXISTS (
    SELECT FROM metrics.recon_summary s JOIN metrics.pipeline_run_log r USING (run_id)
    WHERE s.run_id = b.run_id AND r.config->>'feed' = 'full' AND 0 < ANY(ARRAY[
        s.rejected_old, s.left_out_old, s.partner_left_out_old, s.unpairable_old,
        s.rejected_new, s.left_out_new, s.partner_left_out_new, s.unpairable_new
    ])
)"""
OF_RUN: Final = f"""
SELECT b.book, b.tracking, b.differences, coalesce(b.as_of, b.run_date),
    b.ordinal = (SELECT max(ordinal) FROM metrics.break_summary WHERE book = b.book),
    coalesce({AS_OF}, b.run_date), {LAST_TRACKED},
    {COMPARE_RULES.format(PREVIOUS, "b.run_id")},
    {NOT_COMPARED},
    b.breaks_new, b.breaks_recurring, b.breaks_changed, b.breaks_resolved,
    b.breaks_reopened, b.breaks_unseen, b.breaks_gone, b.breaks_open, b.oldest_days,
    b.breaks_accepted, b.breaks_accepted_appeared, b.oldest_unaccepted_days
FROM metrics.break_summary b WHERE b.run_id = %s
"""  # noqa: S608 - a constant above


class OpenBreak(NamedTuple):
    """A break that a run may end. `column` is None for a missing or extra row.

    `began_with`: a pair without whose last observation the break would not be open;
    `ended_with`: the pair whose last observation ended it.
    """

    break_id: UUID
    column: str | None
    kind: str
    key: OpenKey
    began_with: UUID | None = None
    ended_with: UUID | None = None

    def is_open_for(self, pair: UUID) -> bool:
        """Whether it is open for an observation of a pair.

        If the last observation was of this pair, it is undone first.
        """
        return self.began_with != pair and self.ended_with in (None, pair)

    @property
    def subject(self) -> str:
        """What differs: a column's cells, or the rows of a kind."""
        return make_subject(self.kind, self.column)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run saw of the differences of a dataset.

    `day`: the date of the run. `standing`: the breaks whose keys the run looked up, in
    the order of the lookup. `inputs`: the files, as the run identified them.
    """

    result: Reconciliation
    dataset: str
    run_id: UUID
    day: date
    feed: Feed = Feed.INCREMENTAL
    standing: Sequence[OpenBreak] = ()
    inputs: FilePair | None = None

    @property
    def book(self) -> UUID:
        """The id of the book: equal for the same dataset and key columns."""
        return book_of(self.dataset, self.result.keys)

    @property
    def pair(self) -> UUID:
        """The id of the pair: equal for the same URIs and contents.

        The content is known by its SHA-256, or by what pins a file that has none.
        """
        sides = self.result.old, self.result.new
        files = (self.inputs.old, self.inputs.new) if self.inputs else (None, None)
        facts = list[str]()
        for side, file in zip(sides, files, strict=True):
            pins = json.dumps([each.pin for each in file.files]) if file else ""
            facts += (side.uri, side.sha256 or pins)
        return UUID(bytes=_hash_texts(*facts))

    @property
    def differences(self) -> int:
        """The number of differing cells, missing rows and extra rows."""
        counts = self.result.counts
        return counts.mismatched_cells + counts.missing + counts.extra

    @property
    def rejected(self) -> bool:
        """Whether a row of either side was quarantined, left out or unpairable.

        The lookup finds no such row: its key may be that of an open break.
        """
        return any(
            side.rejected or side.aside.total > side.folded_away
            for side in (self.result.old, self.result.new)
        )

    @property
    def complete(self) -> bool:
        """Whether a key that is in neither file is gone: both files are full feeds.

        Not so with rows that were not compared, which may have any key, or with an
        empty file, which is more likely a failed delivery than a dataset without rows.
        """
        both = self.result.old.rows and self.result.new.rows
        return self.feed is Feed.FULL and bool(both) and not self.rejected


class Observed(NamedTuple):
    """An observation as Arrow tables: breaks it saw, and its findings on open ones."""

    seen: pa.Table
    found: pa.Table


def book_of(dataset: str, keys: Sequence[str]) -> UUID:
    """The id of the book of a dataset and its key columns."""
    return UUID(bytes=_hash_texts(dataset, *keys))


def standing(
    connection: psycopg.Connection, dataset: str, keys: Sequence[str], pair: FilePair
) -> list[OpenBreak]:
    """The breaks that a run on a pair may end: all that are open.

    If the last observation was of files with these URIs, the breaks that it ended are
    included: if it was of the same pair, the new result replaces that observation,
    which reopens them first.
    """
    book = book_of(dataset, keys)
    values = {"book": book, "old": pair.old.uri, "new": pair.new.uri}
    with translate_database_errors():
        found = connection.execute(LAST_RUN, values).fetchone()
        last_run, last_pair = found or (None, None)
        values = {"book": book, "last": last_run}
        rows = [(row, None) for row in connection.execute(STANDING, values)]
        if last_run is not None:
            touched = connection.execute(TOUCHED, values)
            rows += [(row, last_pair) for row in touched]
    return [
        OpenBreak(
            break_id,
            column,
            kind,
            OpenKey(read_key(text, keys), _side_of(kind), locator),
            last_pair if began else None,
            ended_with,
        )
        for (break_id, text, column, kind, locator, began), ended_with in rows
    ]


def observed(observation: Observation, limit: int) -> Observed | None:
    """An observation with one row per break; None if it has more than `limit`."""
    if observation.differences > limit:
        return None
    return Observed(
        _table(SEEN_SCHEMA, _break_rows(observation)),
        _table(FOUND, _found(observation)),
    )


def track_breaks(
    cursor: Any, observation: Observation, breaks_seen: Observed | None
) -> Breaks:
    """Update the breaks of a book, in the transaction of the cursor.

    The caller holds the dataset's publish lock, and has written the run's row of the
    run log and its `mismatch_by_column`, which SETTLE reads. If `breaks_seen` is None,
    the differences are over the limit: they are counted, and no break changes.
    """
    if breaks_seen is None:
        return Breaks(Tracking.OVER_LIMIT, observation.differences)
    book, run_id, day = (
        str(observation.book),
        str(observation.run_id),
        observation.day.isoformat(),
    )
    this = book, str(observation.pair), observation.dataset
    [(last, again, first, followed, previous)] = _fetch_all(
        cursor, LAST_OBSERVATION, *this
    )
    if again:
        # The same pair again: undo its first observation before it is made anew, or
        # each difference would count as seen twice.
        for statement in (FORGET, RESTORE):
            cursor.execute(statement, (book, last))
    elif followed:
        # Only the last observation can be undone.
        return Breaks(Tracking.SUPERSEDED, observation.differences)
    seen_on = first or day
    _ingest_breaks(cursor, breaks_seen)
    facts = str(observation.rejected), str(observation.complete)
    states = dict(
        _fetch_all(cursor, CARRY_ON, book, observation.dataset, run_id, seen_on)
        + _fetch_all(cursor, SETTLE, book, run_id, seen_on, *facts)
    )
    [(still_open, unseen, oldest, accepted, appeared, oldest_unaccepted)] = _fetch_all(
        cursor, STILL_OPEN, book, seen_on, run_id
    )
    states[BreakState.UNSEEN] = unseen
    counts = BreakCounts(
        **{state: states.get(state, 0) for state in BreakState},
        open=still_open,
        oldest_days=oldest,
        accepted=accepted,
        accepted_appeared=appeared,
        oldest_unaccepted_days=oldest_unaccepted,
    )
    changed = previous is not None and (
        _fetch_all(cursor, RULES_CHANGED, previous, run_id) == [(True,)]
    )
    as_of = date.fromisoformat(seen_on)
    lacks_rows = observation.feed is Feed.FULL and observation.rejected
    facts_of_run = observation.differences, counts, as_of, changed, lacks_rows
    return Breaks(Tracking.TRACKED, *facts_of_run)


def make_summary_row(observation: Observation, breaks: Breaks) -> dict[str, object]:
    """The row of `metrics.break_summary` for an observation."""
    row: dict[str, object] = {
        "run_id": observation.run_id.bytes,
        "dataset": observation.dataset,
        "run_date": observation.day,
        "book": observation.book.bytes,
        "pair": observation.pair.bytes,
        "tracking": breaks.tracking,
        "differences": breaks.differences,
        "as_of": breaks.as_of,
    }
    if breaks.counts is not None:
        counts = asdict(breaks.counts)
        for name in ("oldest_days", "oldest_unaccepted_days"):
            row[name] = counts.pop(name)
        row |= {f"breaks_{state}": count for state, count in counts.items()}
    return row


def format_breaks(breaks: Breaks) -> str:
    """The break counts of a run in one line."""
    counts = breaks.counts
    match breaks.tracking:
        case Tracking.OVER_LIMIT:
            over = format_count(
                breaks.differences, "difference", "are over --break-limit"
            )
            return f"not tracked: {over}"
        case Tracking.SUPERSEDED:
            return "not changed: a later pair has been tracked since"
    if counts is None or not any(asdict(counts).values()):
        return "none"
    days = counts.oldest_days
    age = f"; oldest {format_count(days, 'day')}" if days else ""
    since = f", as of {breaks.as_of}" if age and breaks.as_of else ""
    states = ((state, getattr(counts, state)) for state in BreakState)
    return (
        ", ".join(f"{state} {count:,}" for state, count in states if count is not None)
        + age
        + since
        + _describe_unaccepted(counts)
        + ("; the rules changed since the last run" if breaks.rules_changed else "")
        + (NONE_GONE if breaks.lacks_rows and counts.unseen else "")
    )


def _describe_unaccepted(counts: BreakCounts) -> str:
    """How many open breaks no suppression accepts; empty if none accepts any."""
    if not counts.accepted or counts.unaccepted is None:
        return ""
    part = format_share(counts.unaccepted, counts.open, "open break", "are")
    appeared = counts.unaccepted_appeared
    new = f", {appeared:,} of them new or reopened" if appeared else ""
    return f"; {part} not accepted{new}"


@dataclass(frozen=True, slots=True)
class BreakFilter:
    """Which breaks are listed; an empty field does not restrict them.

    `states`: without any, the open breaks. `kinds`: those of cells, `missing` and
    `extra`. `key`: the values of the key columns, or one JSON array, as results show
    keys, or another text of the same key under the rules of the last run.
    `not_columns`, `not_kinds`: what is left out. `accepted`: whether open breaks that a
    suppression accepts are listed too. `run`: only breaks that were new in this run,
    and those that it ended and no later run reopened. The table has other states of the
    last run only.
    """

    states: Sequence[BreakState] = ()
    columns: Sequence[str] = ()
    kinds: Sequence[str] = ()
    key: Sequence[str] = ()
    not_columns: Sequence[str] = ()
    not_kinds: Sequence[str] = ()
    accepted: bool = False
    run: UUID | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError for an unknown kind, or a state that no run is known of."""
        unknown = [state for state in self.states if state not in STATES_OF_RUN]
        if self.run is not None and unknown:
            raise ConfigError(
                f"--run with --state {unknown[0]}: it is not known which breaks were",
                why="the table of breaks has this state of the last run only",
                help=f"--state takes {', '.join(STATES_OF_RUN)} here",
            )
        known = [*KINDS, "missing", "extra"]
        for kind in (*self.kinds, *self.not_kinds):
            if kind not in known:
                raise ConfigError(
                    f"there is no kind of difference {kind}"
                    + did_you_mean(kind, known),
                    help="one of: " + ", ".join(known),
                )

    @property
    def condition(self) -> str:
        """The condition in SQL, with `values`, whatever is accepted."""
        # A missing or extra row has no column: NULL is no column that is left out.
        other = "(column_name IS NULL OR column_name <> ALL(%(not_columns)s))"
        of_run = (STATES_OF_RUN[state] for state in self.states or tuple(STATES_OF_RUN))
        state = "state = ANY(%(states)s)" if self.states else "open"
        conditions = (
            (state if self.run is None else f"({' OR '.join(of_run)})"),
            ("column_name = ANY(%(columns)s)" if self.columns else ""),
            ("kind = ANY(%(kinds)s)" if self.kinds else ""),
            ("key_text = ANY(%(keys)s)" if self.key else ""),
            (other if self.not_columns else ""),
            ("kind <> ALL(%(not_kinds)s)" if self.not_kinds else ""),
        )
        return " AND ".join(filter(None, conditions))

    @property
    def values(self) -> dict[str, object]:
        """The values of `condition`."""
        return {
            "of_run": self.run,
            "states": list(self.states),
            "columns": list(self.columns),
            "kinds": list(self.kinds),
            "keys": write_key_texts(self.key) if self.key else [],
            "not_columns": list(self.not_columns),
            "not_kinds": list(self.not_kinds),
        }


@dataclass(frozen=True, slots=True)
class BreakPage:
    """Breaks as a table, oldest first; `total`: how many fit the filter.

    `totals`: this number by `state`, by `kind` and by `column`, largest first; the
    column of a missing or extra row is None. `as_of`: the day of the last observation;
    ages count up to it. `outdated`: why the last run did not update them; empty if it
    did. `others`: what is said of open breaks under other key columns. `keys`: the key
    columns; empty if a mask hides their values. `left_out`: the accepted breaks that
    fit the filter and are not listed. `inputs`: the URLs of the archived files that the
    first break was last seen in; empty if they are unknown. `suppressions`: those of
    the run log that decide what is accepted, each as `Suppression.public`; None if
    they are unknown. `key_columns`: as `keys`, also if they are masked. `occurrences`:
    how many cells or rows each break is. `drifted`: the columns that one side only had
    in the last run.
    """

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    total: int
    totals: Mapping[str, Mapping[str | None, int]]
    as_of: date
    outdated: str = ""
    others: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    left_out: int = 0
    inputs: tuple[str, ...] = ()
    suppressions: list[dict[str, object]] | None = None
    key_columns: tuple[str, ...] = ()
    occurrences: tuple[int, ...] = ()
    drifted: tuple[str, ...] = ()


def list_breaks(
    address: Address,
    dataset: str,
    wanted: BreakFilter | None = None,
    limit: int | None = None,
    key_columns: Sequence[str] = (),
) -> BreakPage:
    """The breaks of a dataset that fit a filter, or the open ones.

    The book is that of `key_columns`, or of the run of the filter, or else of the last
    run that tracked breaks. Raises ConfigError for a dataset or key columns whose
    breaks have never been tracked.
    """
    wanted = wanted or BreakFilter()
    asked = {
        "dataset": dataset,
        "book": book_of(dataset, key_columns) if key_columns else None,
        "run": wanted.run,
    }
    with open_connection(address) as connection, translate_database_errors():
        latest = connection.execute(LATEST, asked).fetchone()
        known = [name for (name,) in connection.execute(DATASETS)]
        if latest is not None:
            book, as_of, run_id, tracked_run = latest
            last = connection.execute(LAST_RESULT, [dataset]).fetchone()
            found = connection.execute(KEY_OF_RUN, [run_id]).fetchone()
            keys, options, masked, drifted = found or ((), {}, False, ())
            texts: list[str] = []
            if keys and not masked and wanted.key:
                texts = find_key_texts(connection, book, wanted.key, keys, options)
            page = _listing(
                connection,
                book,
                as_of,
                tracked_run,
                wanted,
                limit,
                texts,
            )
            set_to = connection.execute(SUPPRESSIONS_OF_RUN, [tracked_run]).fetchone()
            return replace(
                page,
                outdated=_say_why_outdated(book, *last or (None, None)),
                others=tuple(describe_other_keys(connection, dataset, book)),
                keys=() if masked else tuple(keys),
                key_columns=tuple(keys),
                drifted=tuple(drifted),
                inputs=_find_inputs(connection, book, page),
                suppressions=set_to[0] if set_to else None,
            )
    if key_columns and dataset in known:
        raise ConfigError(
            f"no run of {dataset} tracked breaks under these key columns",
            help="name them as the run had them, in its order",
        )
    raise ConfigError(
        f"no breaks are recorded for dataset {dataset}{did_you_mean(dataset, known)}",
        help="recon run records breaks, unless --break-limit is 0",
    )


def _say_why_outdated(book: UUID, tracking: str | None, last_book: UUID | None) -> str:
    """Why the last result left the breaks of a book as they were; empty if not so."""
    if tracking is None:
        return "it did not track breaks"
    if last_book != book:
        return "it has other key columns"
    return UNCHANGED.get(Tracking(tracking), "")


def describe_other_keys(
    connection: psycopg.Connection, dataset: str, book: UUID
) -> Iterator[str]:
    """What is said of breaks of other books that are open and not accepted."""
    for other, run_id, keys in connection.execute(OTHER_BOOKS, [dataset, book]):
        values = {"book": other, "run": run_id}
        [(count,)] = connection.execute(UNACCEPTED.encode(), values).fetchall()
        if count:
            listed = ",".join(quote_name(name, ",") for name in keys)
            are = format_count(count, "break")
            yield (
                f"{are} under other keys {'are' if count > 1 else 'is'} open:"
                f" recon breaks --keys {quoted(listed)}"
            )


def _find_inputs(
    connection: psycopg.Connection, book: UUID, page: BreakPage
) -> tuple[str, ...]:
    """The URLs of the archived files of the first break of a page, if known."""
    for row in page.rows[:1]:
        values = {"book": book, **dict(zip(page.names, row, strict=True))}
        for folder, *uris in connection.execute(ARCHIVED, values).fetchall():
            return tuple(folder + uri.rpartition("/")[2] for uri in uris)
    return ()


def read_breaks_of_run(
    connection: psycopg.Connection, run_id: UUID, limit: int
) -> tuple[Breaks, BreakPage | None] | None:
    """The break counts of a run, and its oldest open breaks if it is the last run.

    None if the run did not track breaks. At most `limit` breaks are listed.
    """
    found = connection.execute(OF_RUN, [run_id]).fetchone()
    if found is None:
        return None
    book, tracking, differences, as_of, last, standing_as_of, tracked_run, *facts = (
        found
    )
    rules_changed, lacks_rows, *counted = facts
    counts = None if counted[0] is None else BreakCounts(*counted)
    breaks = Breaks(
        Tracking(tracking),
        differences,
        counts,
        as_of if counts else None,
        bool(counts and rules_changed),
        bool(counts and lacks_rows),
    )
    # `metrics.break` has the state after the last observation, not that of earlier
    # runs.
    if not last:
        return breaks, None
    return breaks, _listing(
        connection, book, standing_as_of, tracked_run, BreakFilter(), limit
    )


def _listing(
    connection: psycopg.Connection,
    book: UUID,
    as_of: date,
    run_id: UUID | None,
    wanted: BreakFilter,
    limit: int | None,
    key_texts: Sequence[str] = (),
) -> BreakPage:
    """The breaks of a book that fit a filter; ages count to `as_of`.

    `run_id`: the run whose suppressions decide which of them are accepted. `key_texts`:
    other texts of the key of the filter.
    """
    values: dict[str, Any] = {"book": book, "as_of": as_of, "limit": limit}
    values |= {"run": run_id, **wanted.values}
    values["keys"] = [*values["keys"], *key_texts]
    # A condition is made of the texts above: values are bound, not formatted.
    which, left_out = wanted.condition, 0
    if not wanted.accepted:
        statement = LEFT_OUT.format(which=which).encode()
        [(left_out,)] = connection.execute(statement, values).fetchall()
        which += f" AND NOT {ACCEPTED}"
    totals: dict[str, dict[str | None, int]] = {}
    counted = connection.execute(COUNTED.format(which=which).encode(), values)
    for grouped, state, kind, column, count in counted:
        by = GROUPED_BY[grouped]
        value = {"state": state, "kind": kind, "column": column}.get(by)
        totals.setdefault(by, {})[value] = count
    [total] = totals.pop("").values()
    cursor = connection.execute(LISTED.format(which=which).encode(), values)
    *names, _ = (column.name for column in cursor.description or ())
    rows = cursor.fetchall()
    return BreakPage(
        tuple(names),
        [row[:-1] for row in rows],
        total,
        totals,
        as_of,
        left_out=left_out,
        occurrences=tuple(row[-1] for row in rows),
    )


def _ingest_breaks(cursor: Any, breaks_seen: Observed) -> None:
    for statement in CREATE_SEEN:
        cursor.execute(statement)
    for name, rows in zip(("break_seen", "break_found"), breaks_seen, strict=True):
        if rows.num_rows:
            cursor.adbc_ingest(name, rows, mode="append", temporary=True)


def _table(schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array(values, field.type)
        for values, field in zip(columns, schema, strict=False)
    ]
    return (
        pa.Table.from_arrays(arrays, schema=schema) if arrays else schema.empty_table()
    )


def _found(observation: Observation) -> Iterator[tuple[object, ...]]:
    """What an observation found of open breaks, in the columns of `FOUND`."""
    looked_up = observation.result.looked_up
    for at, each in enumerate(observation.standing):
        if at in looked_up.rows:
            old, new = looked_up.rows[at]
            if each.column is not None:
                differs = (at, each.column) in looked_up.differing
            else:
                differs = old > new if each.kind == "missing" else new > old
            yield each.break_id.bytes, old, new, differs


@dataclass(frozen=True, slots=True)
class BreakNames:
    """The id, the key text and the locator of each break of an observation.

    `same_keys` and `locators`: of `LookedUp`. `standing`: the open breaks of each
    column or kind of row, by their index in the lookup.
    """

    same_keys: Mapping[WrittenKey, SameKey]
    locators: Mapping[WrittenKey, bytes]
    standing: Mapping[tuple[str, int], OpenBreak]

    @classmethod
    def of(cls, observation: Observation) -> BreakNames:
        """Those of an observation, which carries on only what is open for it."""
        looked_up, pair = observation.result.looked_up, observation.pair
        open_breaks = {
            (each.subject, at): each
            for at, each in enumerate(
                observation.standing if looked_up.same_keys else ()
            )
            if each.is_open_for(pair)
        }
        return cls(looked_up.same_keys, looked_up.locators, open_breaks)

    def find_first(self, side: str, key: Key) -> Key:
        """The first way in which the differences of a side write a key."""
        same = self.same_keys.get((side, key))
        return key if same is None else same.first

    def name(
        self, subject: str, side: str, key: Key
    ) -> tuple[bytes, str, bytes | None]:
        """The names of the break of a key: those of the open break that it carries on.

        Several are open if they began while no rule made their keys equal. The one that
        is written as now is taken, or the first.
        """
        same = self.same_keys.get((side, key), SameKey(key, ()))
        found = (self.standing.get((subject, at)) for at in same.open)
        open_breaks = [each for each in found if each is not None]
        if open_breaks:
            each = min(
                open_breaks, key=lambda it: (it.key.values != key, it.key.values)
            )
            return each.break_id.bytes, format_key(each.key.values), each.key.locator
        locator = self.locators.get((side, key))
        return _hash_texts(subject, *key), format_key(key), locator


def make_subject(kind: str, column: str | None) -> str:
    """What a break is of, besides its key, as its id has it."""
    return kind if column is None else f"cell\0{column}"


def _side_of(kind: str) -> str:
    """The side that writes the key of a break."""
    return "new" if kind == "extra" else "old"


def _break_rows(observation: Observation) -> Iterator[tuple[object, ...]]:
    """One row per break of a result, in the columns of `SEEN_SCHEMA`."""
    result, names = observation.result, BreakNames.of(observation)
    yield from _cell_break_rows(
        result.frames.mismatches, names, result.looked_up, result.suppressed
    )
    for kind, side, rows, other in (
        ("missing", "old", result.missing(), result.new),
        ("extra", "new", result.extra(), result.old),
    ):
        uncertain = bool(other.rejected or other.unpairable)
        keys = zip(*(rows.get_column(name) for name in result.keys), strict=True)
        counts = Counter(names.find_first(side, key) for key in keys)
        for key, count in counts.items():
            found = _hash_texts(str(count))
            break_id, text, locator = names.name(kind, side, key)
            rows_of_sides = (count, 0) if kind == "missing" else (0, count)
            known = result.looked_up.repeated.get((side, key), rows_of_sides)
            shown = text, None, kind, count, None, None, found
            yield break_id, *shown, *known, locator, uncertain, None, None


def _cell_break_rows(
    cells: pl.DataFrame,
    names: BreakNames,
    looked_up: LookedUp,
    suppressed: Sequence[Suppressed],
) -> Iterator[tuple[object, ...]]:
    """One row per key and column.

    A break of several cells shows the first one, or the first that no suppression
    accepts: the break is accepted if all its cells are.
    """
    keyed = [
        (each, frozenset([*(each.suppression.keys or ()), *each.spelled]))
        for each in suppressed
    ]
    for key, column, group in _group_cells(cells, names):
        first, *others = group
        _, _, kind, old, new = first
        found = _hash_texts(old, new, *(text for cell in others for text in cell[3:]))
        count = len(group)
        if others and keyed:
            left = (cell for cell in group if not _accept_cell(keyed, *cell))
            _, _, kind, old, new = next(left, first)
        break_id, text, locator = names.name(make_subject(kind, column), "old", key)
        shown = _truncate_value(old), _truncate_value(new)
        known = looked_up.repeated.get(("old", key), (count, count))
        facts = *shown, found, *known, locator, False
        whole = _hash_long_value(old), _hash_long_value(new)
        yield break_id, text, column, kind, count, *facts, *whole


def _group_cells(
    cells: pl.DataFrame, names: BreakNames
) -> Iterator[tuple[Key, str, list[Cell]]]:
    """The cells of each key and column, which are consecutive.

    Those of a key that is written in several ways are not, and are put together as if
    it was written in the first one.
    """
    keys = cells["key"].struct.unnest().rows()
    values = cells.select("column", "kind", "old", "new").iter_rows()
    located = ((key, *cell) for key, cell in zip(keys, values, strict=True))
    apart: dict[tuple[Key, str], list[Cell]] = {}
    for (key, column), group in groupby(located, key=itemgetter(0, 1)):
        if ("old", key) in names.same_keys:
            of_key = apart.setdefault((names.find_first("old", key), column), [])
            of_key.extend(group)
        else:
            yield key, column, list(group)
    for (key, column), every in apart.items():
        if any(cell[0] != every[0][0] for cell in every):
            every.sort(key=itemgetter(3, 4))
        yield key, column, every


def _accept_cell(
    suppressed: Sequence[tuple[Suppressed, frozenset[object]]],
    key: Key,
    column: str,
    kind: str,
    old: str,
    new: str,
) -> bool:
    """Whether suppressions, each with its keys, accept a cell as outputs show it."""
    for each, keys in suppressed:
        it = each.suppression
        if (
            fits_kind(it, column, kind)
            and (it.old is None or it.old == Sha256.of(old))
            and (it.new is None or it.new == Sha256.of(new))
            and (it.keys is None or Sha256.of(format_key(key)) in keys)
        ):
            return each.state is SuppressionState.ACTIVE
    return False


def _hash_long_value(text: str) -> str | None:
    """The digest of a value that is cut; suppressions name whole values."""
    return Sha256.of(text) if len(text) > VALUE_CHARACTERS else None


def _truncate_value(text: str) -> str:
    if len(text) <= VALUE_CHARACTERS:
        return text
    return text[: VALUE_CHARACTERS - 1] + "…"


def _hash_texts(*texts: str) -> bytes:
    """A hash of 128 bits that is stable across processes and versions.

    NUL separates the texts: the CSV reader rejects files that contain it.
    """
    joined = "\0".join(texts).encode()
    return hashlib.blake2b(joined, digest_size=HASH_BYTES).digest()


def _fetch_all(cursor: Any, statement: str, *values: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
