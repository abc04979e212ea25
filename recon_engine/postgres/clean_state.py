"""Say whether a run is clean: gates pass, and each open break is accepted.

A line is about what was measured, not about whether a migration is done: that is a
person's decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.formatting import format_count, format_share, write_ignore
from recon_engine.model import Tracking
from recon_engine.postgres.breaks import (
    ACCEPTED,
    JUDGED,
    LAST_TRACKED,
    UNCHANGED,
    book_of,
    describe_other_keys,
)
from recon_engine.postgres.connection import translate_database_errors


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from uuid import UUID

    import psycopg

# With more, the line would be mostly their names.
DRIFTED_NAMED: Final = 4

MEASURED: Final = """
SELECT s.dataset, s.keys, s.matched,
    s.rejected_old + s.rejected_new + s.unpairable_old + s.unpairable_new,
    s.only_in_old || s.only_in_new,
    count(g.run_id), count(g.run_id) FILTER (WHERE NOT g.passed)
FROM metrics.recon_summary s LEFT JOIN metrics.gate_result g USING (run_id)
WHERE s.run_id = %s GROUP BY s.run_id
"""
FAILED: Final = """
SELECT count(*) FROM metrics.suppression
WHERE run_id = %s AND state IN ('expired', 'exceeded')
"""
# The suppressions of the last run that was tracked decide, as in `recon breaks`.
BOOK: Final = f"""
SELECT b.tracking, b.book, {LAST_TRACKED}
FROM metrics.break_summary b WHERE b.run_id = %s
"""  # noqa: S608 - a constant above
OPEN: Final = f"""{JUDGED}
SELECT count(*) FILTER (WHERE {ACCEPTED}),
    count(*) FILTER (WHERE NOT {ACCEPTED} AND column_name IS NULL AND kind = 'missing'),
    count(*) FILTER (WHERE NOT {ACCEPTED} AND column_name IS NULL AND kind = 'extra'),
    count(*) FILTER (WHERE NOT {ACCEPTED} AND column_name IS NOT NULL)
FROM metrics.break WHERE book = %(book)s AND open
"""  # noqa: S608 - constants above
# The first end of a suppression that accepts open breaks, seen by the last run or not.
# Of those without keys and values, the first that fits decides. Of those with some, any
# that fits by column and kind counts.
UNTIL: Final = f"""{JUDGED}, accepted AS (
    SELECT DISTINCT column_name, kind, break_id IN (SELECT break_id FROM narrow) AS one
    FROM metrics.break WHERE book = %(book)s AND open AND {ACCEPTED}
)
SELECT min(until_date) FROM (
    SELECT DISTINCT ON (a.column_name, a.kind, a.one, CASE WHEN a.one THEN ordinal END)
        u.until_date
    FROM accepted a JOIN metrics.suppression u ON u.narrow = a.one AND CASE
        WHEN a.column_name IS NULL THEN u.what = a.kind
        ELSE u.column_name = a.column_name
            AND a.kind = ANY (coalesce(string_to_array(u.kind, ','), ARRAY[a.kind]))
    END
    WHERE u.run_id = %(run)s
        AND (u.state = 'active' OR u.state = 'unused' AND u.run_date <= u.until_date)
    ORDER BY a.column_name, a.kind, a.one, CASE WHEN a.one THEN ordinal END, ordinal
) AS first_of_each
"""  # noqa: S608 - constants above


def describe_clean_state(connection: psycopg.Connection, run_id: UUID) -> str:
    """`clean: …` or `not clean: …` in one line; empty if the run has no result.

    The run is the last one of its dataset with a result: the table of breaks has the
    present state. Open breaks under other keys are named, and do not decide.
    """
    with translate_database_errors():
        measured = connection.execute(MEASURED, [run_id]).fetchone()
        [(failed,)] = connection.execute(FAILED, [run_id])
        book = connection.execute(BOOK, [run_id]).fetchone()
        accepted, *open_breaks = 0, 0, 0, 0
        until = None
        if book is not None:
            values = {"book": book[1], "run": book[2]}
            [(accepted, *open_breaks)] = connection.execute(OPEN, values)
            if accepted:
                [(until,)] = connection.execute(UNTIL, values)
        if measured is None:
            return ""
        dataset, keys, matched, uncompared, drifted, gates, failing = measured
        own = book_of(dataset, keys)
        others = list(describe_other_keys(connection, dataset, own))
    tracking = None if book is None else Tracking(book[0])
    problems = [
        *_describe_breaks(tracking, *open_breaks),
        *(
            text
            for count, text in (
                (failing, format_share(failing, gates, "gate", "fail")),
                (
                    failed,
                    format_count(failed, "suppression", "are expired or exceeded"),
                ),
                (uncompared, format_count(uncompared, "row", "were not compared")),
                (len(drifted), _describe_drifted(drifted)),
                (not matched, "no row is matched"),
            )
            if count
        ),
    ]
    passing = {0: "no gate is set", 1: "the gate passes"}.get(gates, "all gates pass")
    facts = problems or [f"no open break that is not accepted, {passing}"]
    if accepted:
        are = format_count(accepted, "break", "are")
        facts.append(f"{are} accepted, the first until {until}")
    facts += others
    return f"{'not clean' if problems else 'clean'}: {' · '.join(facts)}"


def _describe_drifted(columns: Sequence[str]) -> str:
    """That columns are on one side only, and the setting that leaves them out."""
    are = format_count(len(columns), "column", "are on one side only")
    if len(columns) > DRIFTED_NAMED:
        return f"{are}; ignore leaves them out"
    return f"{are}; to leave out: {write_ignore(columns)}"


def _describe_breaks(
    tracking: Tracking | None, missing: int, extra: int, cells: int
) -> Iterator[str]:
    """What is said of open breaks that are not accepted, if there are any."""
    if tracking is None:
        yield "breaks are not tracked"
    elif tracking in UNCHANGED:
        yield f"breaks are not updated: {UNCHANGED[tracking]}"
    if count := missing + extra + cells:
        parts = ((missing, "missing"), (extra, "extra"))
        named = [f"{rows:,} {what}" for rows, what in parts if rows]
        named += [format_count(cells, "cell")] if cells else []
        are = f"{format_count(count, 'open break', 'are')} not accepted"
        yield f"{are} ({', '.join(named)})"
