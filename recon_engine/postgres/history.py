"""Read earlier runs of a dataset, and the result of one, from the metrics tables."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import polars as pl
from psycopg.rows import dict_row

from recon_engine.command_line import quoted
from recon_engine.config import Options, SideOptions, parse_encodings
from recon_engine.errors import ConfigError
from recon_engine.findings import Findings
from recon_engine.formatting import format_count
from recon_engine.kinds import classify_cells, classify_read
from recon_engine.lazy import lazy_pattern
from recon_engine.model import (
    NO_SUPPRESSION,
    SIDES,
    Acceptance,
    Applied,
    BreakCounts,
    Cell,
    Counts,
    Coverage,
    Dialect,
    Drift,
    PastResult,
    PastRun,
    Side,
    Suppressed,
    Suppressible,
    SuppressionState,
)
from recon_engine.name_forms import fold_name
from recon_engine.postgres.breaks import format_breaks, read_breaks_of_run
from recon_engine.postgres.clean_state import describe_clean_state
from recon_engine.postgres.connection import translate_database_errors
from recon_engine.postgres.metrics_tables import (
    COLUMNS,
    GATES,
    RULES,
    SIGNATURES,
    SUPPRESSIONS,
)
from recon_engine.report import artifacts
from recon_engine.report.result_page import TREND_RUNS, OpenBreak, OpenBreaks, PageFacts
from recon_engine.result import EngineFacts, Frames, Reconciliation, SampleRow
from recon_engine.rules.assembly import ALL_COLUMNS, GivenRules, assemble_chain
from recon_engine.rules.spelling import parse_rule
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    import psycopg

    from recon_engine.model import RuleCount
    from recon_engine.name_forms import NameForm
    from recon_engine.record_table import Record, RecordTable, Row
    from recon_engine.rules.chains import Chain


RESULT_COLUMNS: Final = tuple(each.name for each in fields(PastResult))
PAIR_FACTS: Final = ("uri", "sha256")
BREAK_COUNT_COLUMNS: Final = tuple(each.name for each in fields(BreakCounts))
# `passed` is `Reconciliation.passes`, from the tables: `differ` means that no gate and
# no suppression failed. Without gates, active suppressions have to cover all that
# differs. `clean` is `describe_clean_state` for the breaks as the run left them.
# Results are in the order of their publication, by the clock of the database, which is
# the order in which breaks follow each other.
RUNS: Final = """
SELECT r.run_id, r.run_ts AS started, r.status, s.verdict, s.rows_old, s.rows_new,
    s.matched, s.missing, s.extra, s.mismatched_rows, s.mismatched_cells,
    extract(epoch FROM r.finished_ts - r.run_ts)::float8 AS seconds,
    s.verdict = 'agree' OR s.verdict = 'differ' AND (
        EXISTS (SELECT FROM metrics.gate_result g WHERE g.run_id = r.run_id)
        OR s.missing + s.extra + s.mismatched_cells + s.rejected_old + s.rejected_new
            + s.unpairable_old + s.unpairable_new
            + cardinality(s.only_in_old) + cardinality(s.only_in_new) = (
                SELECT coalesce(sum(found), 0) FROM metrics.suppression u
                WHERE u.run_id = r.run_id AND u.state = 'active'
            )
    ) AS passed,
    b.breaks_new AS new, b.breaks_recurring AS recurring, b.breaks_changed AS changed,
    b.breaks_resolved AS resolved, b.breaks_reopened AS reopened,
    b.breaks_unseen AS unseen, b.breaks_gone AS gone, b.breaks_open AS open,
    b.oldest_days,
    coalesce(b.breaks_accepted, CASE WHEN NOT u.any THEN 0 END) AS accepted,
    coalesce(b.breaks_accepted_appeared, CASE WHEN NOT u.any THEN 0 END)
        AS accepted_appeared,
    CASE WHEN b.breaks_accepted IS NULL AND NOT u.any THEN b.oldest_days
        ELSE b.oldest_unaccepted_days END AS oldest_unaccepted_days,
    coalesce(s.accepted_rows, CASE WHEN NOT u.any THEN 0 END) AS accepted_rows,
    u.missing AS accepted_missing, u.extra AS accepted_extra, r.old_uri,
    s.run_id IS NOT NULL AND (coalesce(
        (r.old_uri, r.new_uri, r.old_sha256, r.new_sha256)
            = (%(old_uri)s, %(new_uri)s, %(old_sha256)s, %(new_sha256)s),
        false
    ) OR EXISTS (
        SELECT FROM metrics.pipeline_run_log l
            JOIN metrics.recon_summary later USING (run_id)
        WHERE l.dataset = r.dataset
            AND (later.created_ts, l.run_id) > (s.created_ts, r.run_id)
            AND (l.old_uri, l.new_uri, l.old_sha256, l.new_sha256)
                = (r.old_uri, r.new_uri, r.old_sha256, r.new_sha256)
    )) AS replaced,
    CASE WHEN s.run_id IS NOT NULL THEN
        s.matched > 0
        AND s.rejected_old + s.rejected_new + s.unpairable_old + s.unpairable_new = 0
        AND cardinality(s.only_in_old) + cardinality(s.only_in_new) = 0
        AND NOT EXISTS (
            SELECT FROM metrics.gate_result g WHERE g.run_id = r.run_id AND NOT g.passed
        )
        AND NOT u.failed
        AND coalesce(b.tracking = 'tracked', false)
        AND b.breaks_open = coalesce(
            b.breaks_accepted, CASE WHEN NOT u.any OR b.breaks_open = 0 THEN 0 END
        )
    END AS clean, r.error_message AS message
FROM metrics.pipeline_run_log r
    LEFT JOIN metrics.recon_summary s USING (run_id)
    LEFT JOIN metrics.break_summary b USING (run_id)
    CROSS JOIN LATERAL (
        SELECT count(*) > 0 AS any,
            coalesce(sum(found) FILTER (WHERE what = 'missing' AND state = 'active'), 0)
                ::bigint AS missing,
            coalesce(sum(found) FILTER (WHERE what = 'extra' AND state = 'active'), 0)
                ::bigint AS extra,
            count(*) FILTER (WHERE state IN ('expired', 'exceeded')) > 0 AS failed
        FROM metrics.suppression WHERE run_id = r.run_id
    ) u
WHERE r.dataset = %(dataset)s AND r.status <> 'STARTED'
    AND (s.run_id IS NOT NULL OR NOT %(results)s)
    AND coalesce(s.created_ts, r.run_ts) < coalesce((
        SELECT created_ts FROM metrics.recon_summary WHERE run_id = %(before)s
    ), 'infinity')
ORDER BY coalesce(s.created_ts, r.run_ts) DESC, r.run_id DESC LIMIT %(limit)s
"""
RESULT: Final = """
SELECT s.*, r.run_ts, r.config, r.engine_version, r.old_uri, r.new_uri,
    r.old_size, r.new_size, r.old_sha256, r.new_sha256
FROM metrics.recon_summary s JOIN metrics.pipeline_run_log r USING (run_id)
WHERE s.run_id = %s
"""
SAMPLE: Final = """
SELECT key, payload FROM metrics.mismatch_detail_sample
WHERE run_id = %s ORDER BY ordinal
"""
FILES: Final = """
SELECT min(left(uri, -length(name))) AS folder, bool_or(name = %s) AS whole
FROM metrics.artifact WHERE run_id = %s HAVING count(*) > 0
"""

BY_PREFIX: Final = """
SELECT run_id, dataset FROM metrics.pipeline_run_log
WHERE starts_with(replace(run_id::text, '-', ''), %(digits)s)
ORDER BY dataset = %(dataset)s DESC NULLS LAST, run_ts DESC LIMIT %(limit)s
"""
DATASETS: Final = "SELECT DISTINCT dataset FROM metrics.pipeline_run_log ORDER BY 1"
LATEST: Final = "latest"
# Shorter, it is more likely a mistake: the first digits of an id are a time.
PREFIX_DIGITS: Final = 4
RUN_ID: Final = lazy_pattern(rf"[0-9a-f]{{{PREFIX_DIGITS},32}}")
# As many results are read at first for the clean ones in a row.
STREAK_RUNS: Final = 50
# Of the runs with the same first digits, as many are named.
MANY: Final = 4

# Instead of a kind.
MASKED: Final = "masked"
UNKNOWN: Final = "unknown"
# As many as fit a section of the page; `recon breaks` lists all.
OLDEST_SHOWN: Final = 20
TILDE: Final = "~"


def list_runs(
    connection: psycopg.Connection,
    dataset: str,
    limit: int,
    *,
    before: UUID | None = None,
    results: bool = False,
    replacing: Reconciliation | None = None,
) -> list[PastRun]:
    """Runs of a dataset that are not in progress, latest first, at most `limit`.

    `before`: only results that were published before that of this run, if it has one.
    `results`: only runs with a result.
    `replacing`: the result of a run that is not recorded yet: it takes the place of
    earlier ones of the same files.
    """
    values = {"dataset": dataset, "limit": limit, "before": before, "results": results}
    for side in SIDES:
        now = getattr(replacing, side, None)
        values |= {f"{side}_{fact}": getattr(now, fact, None) for fact in PAIR_FACTS}
    return [
        PastRun(
            row["run_id"],
            row["started"],
            row["status"],
            row["seconds"],
            PastResult(**{name: row[name] for name in RESULT_COLUMNS})
            if row["verdict"]
            else None,
            BreakCounts(**{name: row[name] for name in BREAK_COUNT_COLUMNS})
            if row["open"] is not None
            else None,
            row["old_uri"],
            row["replaced"],
            row["clean"],
            row["message"],
        )
        for row in _query_rows(connection, RUNS, values)
    ]


def describe_last_state(connection: psycopg.Connection, dataset: str) -> list[str]:
    """Whether the last run with a result is clean, and how many in a row are.

    Without a result there is no line.
    """
    for run in list_runs(connection, dataset, 1, results=True):
        state = describe_clean_state(connection, run.run_id)
        named = f"run of {run.started:%Y-%m-%d %H:%M}: {state}"
        return [named, _describe_streak(connection, dataset)]
    return []


def _describe_streak(connection: psycopg.Connection, dataset: str) -> str:
    """How many of the last results in a row are clean, as measured by their runs.

    A result that a later run of the same files replaced does not count, and a run
    without a result measured nothing. Without a clean last result, the last clean one.
    """
    limit = STREAK_RUNS
    while True:
        runs = list_runs(connection, dataset, limit, results=True)
        counted = [run for run in runs if not run.replaced]
        clean = [*takewhile(lambda run: run.clean, counted)]
        ended = len(clean) < len(counted) and any(run.clean for run in counted)
        if ended or len(runs) < limit:
            break
        limit *= 4
    line = f"clean in a row: {format_count(len(clean), 'run')}"
    if clean:
        return f"{line}, since {clean[-1].started:%Y-%m-%d}"
    for run in counted:
        if run.clean:
            return f"{line}; the last clean one is of {run.started:%Y-%m-%d}"
    known = [run for run in counted if run.clean is not None]
    if not known:
        return line
    results = format_count(len(known), "result")
    return f"{line}; never clean in {results} since {known[-1].started:%Y-%m-%d}"


def load_result(
    connection: psycopg.Connection, run_id: UUID
) -> tuple[Reconciliation, PageFacts]:
    """The result of a run as stored in the tables; ConfigError if it has none.

    Its frames are empty: missing and extra rows are only in the artifacts of the run.
    The sample is empty after `recon purge` has deleted the values.
    """
    found = _query_rows(connection, RESULT, [run_id])
    if not found:
        raise ConfigError(
            f"there is no result for run {run_id}",
            help="recon history --dataset NAME lists the runs",
        )
    [summary] = found

    def read(table: RecordTable[Record]) -> tuple[Record, ...]:
        return table.read(_query_rows(connection, table.query, [run_id]))

    columns = read(COLUMNS)
    names = [column.name for column in columns]
    options = _load_options(summary["config"]["options"])
    kept = summary["config"]["options"]
    masks = {*kept.get("masks", {})}
    # A mask may be given for a renamed column by its name in NEW. Results have that in
    # OLD.
    renames = kept.get("renames", {}) | summary["name_pairs"]
    masks |= {old for old, new in renames.items() if new in masks}
    counts = Counts(**{each.name: summary[each.name] for each in fields(Counts)})
    suppressed, rules = read(SUPPRESSIONS), read(RULES)
    result = Reconciliation(
        keys=tuple(summary["keys"]),
        old=_load_side(summary, "old"),
        new=_load_side(summary, "new"),
        counts=counts,
        by_column=columns,
        rules=rules,
        signatures=read(SIGNATURES),
        drift=Drift(tuple(summary["only_in_old"]), tuple(summary["only_in_new"])),
        sample=_load_sample(
            _query_rows(connection, SAMPLE, [run_id]),
            summary["keys"],
            names,
            rules,
            masks,
        ),
        engine=EngineFacts(
            summary["strategy"], summary["engine_version"], summary["seconds"], 0
        ),
        frames=make_empty_frames(summary["keys"]),
        findings=Findings.collect(read),
        acceptance=Acceptance(gates=read(GATES), suppressed=suppressed),
        coverage=_load_coverage(counts, suppressed, summary["accepted_rows"]),
        name_pairs=tuple(sorted(summary["name_pairs"].items())),
        new_names=_restore_new_names(
            renames,
            [*summary["keys"], *names],
            options.match_names if options else (),
        ),
        ignored=tuple(kept.get("ignore", ())),
        applied=tuple(
            Applied(**each) for _, each in sorted(summary["applied"].items())
        ),
    )
    facts = load_facts(
        connection, run_id, summary["dataset"], summary["run_ts"], options
    )
    if counts.mismatched_rows and not result.sample and kept.get("detail_limit"):
        # A purge keeps the names of the files that it deletes.
        facts = replace(facts, files=None, deleted=True)
    return result, facts


def is_unsettled(connection: psycopg.Connection, run_id: UUID) -> bool:
    """Whether the result of a run has a difference that no suppression accepts."""
    result, _ = load_result(connection, run_id)
    return result.unsettled


def load_facts(
    connection: psycopg.Connection,
    run_id: UUID,
    dataset: str,
    started: datetime,
    options: Options | None,
) -> PageFacts:
    """What the tables hold of a run besides its result, for its page."""
    # All artifacts of a run are in one folder: a URI without its name is that folder.
    known = artifacts.FILES
    files: dict[str, str] | None = None
    # One row, or none: HAVING drops the row of NULLs of a run without artifacts.
    for row in _query_rows(connection, FILES, [known["missing"], run_id]):
        names = known if row["whole"] else artifacts.PARTS
        files = {tab: row["folder"] + name for tab, name in names.items()}
    return PageFacts(
        dataset=dataset,
        run_id=run_id,
        started=started,
        options=options,
        past=list_runs(connection, dataset, TREND_RUNS, before=run_id, results=True),
        breaks=_load_breaks(connection, run_id, dataset),
        files=files,
    )


def find_run_id(
    connection: psycopg.Connection, run: str | None, dataset: str | None
) -> UUID:
    """The id of a run.

    `run`: an id, or its first `PREFIX_DIGITS` digits or more. None or "latest" is the
    latest run of the dataset that has a result; without a dataset, of the only one.
    Raises ConfigError if there is none, several begin with these digits, or it is a run
    of another dataset.
    """
    if run is not None and run.casefold() != LATEST:
        return _find_by_prefix(connection, run, dataset)
    dataset = choose_dataset(connection, dataset)
    latest = list_runs(connection, dataset, 1, results=True)
    if not latest:
        raise ConfigError(
            f"no run of {dataset} has a result", help="recon history lists its runs"
        )
    return latest[0].run_id


def _find_by_prefix(
    connection: psycopg.Connection, run: str, dataset: str | None
) -> UUID:
    digits = run.strip().casefold().replace("-", "")
    if not RUN_ID.fullmatch(digits):
        raise ConfigError(
            "this is not a run id",
            help=f"give {LATEST}, or the first {PREFIX_DIGITS} or more digits of an id;"
            " recon history lists the runs",
        )
    asked = {"digits": digits, "dataset": dataset, "limit": MANY}
    rows = _query_rows(connection, BY_PREFIX, asked)
    own = [row for row in rows if dataset in {None, row["dataset"]}]
    if rows and not own:
        other = rows[0]["dataset"]
        raise ConfigError(
            f"no run of {dataset} begins with {run}",
            why=f"{rows[0]['run_id']} is a run of {other}",
            help=f"add --dataset {quoted(other)}, or give a run of {dataset}: recon"
            " history lists them",
        )
    found = [row["run_id"] for row in own]
    match found:
        case [only]:
            return UUID(str(only))
        case []:
            raise ConfigError(
                f"no run begins with {run}", help="recon history lists the runs"
            )
    raise ConfigError(
        f"several runs begin with {run}",
        help="give more digits: " + ", ".join(map(str, found)),
    )


def choose_dataset(connection: psycopg.Connection, dataset: str | None) -> str:
    """The dataset; without one, the only one that has runs.

    Raises ConfigError if several have.
    """
    if dataset is not None:
        return dataset
    known = [row["dataset"] for row in _query_rows(connection, DATASETS, [])]
    if len(known) == 1:
        return str(known[0])
    if not known:
        raise ConfigError("there are no runs yet", help="recon run records them")
    raise ConfigError(
        "no dataset is named", help=f"add --dataset NAME, one of: {join_names(known)}"
    )


def make_empty_frames(keys: Sequence[str]) -> Frames:
    """Frames without rows: those of a stored result are in its artifacts."""
    key = pl.Struct(dict.fromkeys(keys, pl.String))
    texts = dict.fromkeys(("column", "old", "new", "kind"), pl.String)
    repeated = pl.DataFrame(schema={"key": key, "rows": pl.Int64})
    return Frames(
        cells=pl.LazyFrame(schema={"key": key} | texts | {"pair": pl.UInt32}),
        missing=pl.DataFrame(),
        extra=pl.DataFrame(),
        duplicates_old=repeated,
        duplicates_new=repeated,
        rejects=pl.DataFrame(),
    )


def _query_rows(
    connection: psycopg.Connection, statement: str, values: Row | Sequence[Any]
) -> list[Row]:
    with translate_database_errors(), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), values).fetchall()


def _load_side(summary: Row, name: str) -> Side:
    dialect = summary[f"dialect_{name}"]
    return Side(
        uri=summary[f"{name}_uri"],
        rows=summary[f"rows_{name}"],
        sha256=summary[f"{name}_sha256"],
        bytes=summary[f"{name}_size"] or 0,
        rejected=summary[f"rejected_{name}"],
        duplicate_key_rows=summary[f"duplicate_key_rows_{name}"],
        duplicate_keys=summary[f"duplicate_keys_{name}"],
        blank_keys=summary[f"blank_keys_{name}"],
        dialect=dialect and Dialect(**dialect),
        left_out=summary[f"left_out_{name}"],
        partner_left_out=summary[f"partner_left_out_{name}"],
        folded_away=summary[f"folded_away_{name}"],
        unpairable=summary[f"unpairable_{name}"],
    )


def _restore_new_names(
    renames: dict[str, str], columns: Sequence[str], forms: Sequence[NameForm]
) -> dict[str, str]:
    """The names in NEW of columns with another one in OLD, in the order of columns.

    A rename of the options may have another form of the name in OLD. Its name in NEW is
    as in the options: the tables do not hold the header of NEW.
    """
    by_form = {fold_name(own, forms): new for own, new in renames.items()}
    theirs = ((own, by_form.get(fold_name(own, forms), own)) for own in columns)
    return {own: new for own, new in theirs if own != new}


def _load_breaks(
    connection: psycopg.Connection, run_id: UUID, dataset: str
) -> OpenBreaks | None:
    with translate_database_errors():
        found = read_breaks_of_run(connection, run_id, OLDEST_SHOWN)
    if found is None:
        return None
    became, listed = found
    if listed is None:
        return OpenBreaks(format_breaks(became))
    # It may be the last run with its keys only.
    is_last = find_run_id(connection, LATEST, dataset) == run_id
    oldest = (dict(zip(listed.names, row, strict=True)) for row in listed.rows)
    return OpenBreaks(
        format_breaks(became),
        listed.total,
        tuple(
            OpenBreak(**{name: row[name] for name in OpenBreak._fields})
            for row in oldest
        ),
        listed.as_of,
        listed.left_out,
        describe_clean_state(connection, run_id) if is_last else "",
    )


def _load_coverage(
    counts: Counts, suppressed: Sequence[Suppressed], accepted: int | None
) -> tuple[Coverage, ...]:
    """The coverage of a stored result: the rows that are accepted, and the others.

    A run of an earlier version did not record `accepted`: its coverage is known only if
    all its differing cells are suppressed.
    """
    if accepted is not None:
        left = counts.mismatched_rows - accepted
        return Coverage((), accepted), Coverage((NO_SUPPRESSION,), left)
    known = sum(
        each.count
        for each in suppressed
        if each.state is SuppressionState.ACTIVE
        and each.suppression.what is Suppressible.COLUMN
    )
    if known != counts.mismatched_cells:
        return ()
    return (Coverage((), counts.mismatched_rows),)


def _load_sample(
    rows: Sequence[Row],
    keys: Sequence[str],
    names: Sequence[str],
    rules: Sequence[RuleCount],
    masks: Collection[str],
) -> tuple[SampleRow, ...]:
    """The sampled rows; the kinds of their cells are classified again."""
    payloads = [_in_order_of(row["payload"], names) for row in rows]
    texts: dict[str, list[str]] = {}
    for payload in payloads:
        for name, text in payload.items():
            texts.setdefault(name, []).append(text)
    cells = {
        name: _restore_cells(
            found,
            [each for each in rules if each.column == name],
            masked=bool({name, ALL_COLUMNS} & {*masks}),
        )
        for name, found in texts.items()
    }
    return tuple(
        SampleRow(
            _in_order_of(row["key"], keys),
            {name: next(cells[name]) for name in payload},
        )
        for row, payload in zip(rows, payloads, strict=True)
    )


def _restore_cells(
    texts: Sequence[str], rules: Sequence[RuleCount], *, masked: bool
) -> Iterator[Cell]:
    """The cells of a column, as far as their stored texts `old~new` determine them.

    If a value holds a tilde, the text cannot be split: the cell has only its text. Its
    kind is unknown, as it is of masked values, and if a code table cannot be read now.
    """
    sides = [(old, new) for old, _, new in (text.partition(TILDE) for text in texts)]
    cells = pl.DataFrame(
        sides, schema={"old": pl.String, "new": pl.String}, orient="row"
    )
    kinds: Sequence[str] = [MASKED if masked else UNKNOWN] * len(texts)
    if not masked:
        # A file of codes may have been moved since.
        with suppress(ConfigError):
            kinds = (
                classify_read(_assemble_chain(rules), cells["old"], cells["new"])
                if rules
                else classify_cells(cells)["kind"]
            ).to_list()
    for text, (old, new), kind in zip(texts, sides, kinds, strict=True):
        if TILDE in new:
            yield Cell(None, text, MASKED if masked else UNKNOWN)
        else:
            yield Cell(old, new, kind)


def _assemble_chain(rules: Sequence[RuleCount]) -> Chain:
    """The chain of a column, from what is stored of the rules that it has.

    Raises ConfigError for a code table that cannot be read.
    """
    given = GivenRules()
    for each in rules:
        if not each.implied:
            # A tolerance is given for both sides, also where one has its own notation.
            tolerant = getattr(parse_rule(each.rule), "has_tolerance", False)
            side = "both" if tolerant else each.side
            given = given.with_spelled(((each.every, each.rule),), side)
    return assemble_chain(rules[0].column, given)


def _in_order_of(values: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """The values in the order of `names`: jsonb does not keep the order of keys."""
    return {name: values[name] for name in names if name in values}


def _load_options(kept: Row) -> Options | None:
    """The options stored by this version or an earlier one.

    None if this version rejects them: the page then shows no command.
    """
    known = {
        each.name: kept[each.name] for each in fields(Options) if each.name in kept
    }
    # Tuples in Options, lists in the stored JSON.
    several = ("keys", "ignore", "compare_only", "match_names", "gates")
    lists = {name: tuple(known[name]) for name in several if name in known}
    rules = {name: tuple(each) for name, each in known.get("rules", {}).items()}
    encodings = parse_encodings(":".join(known.get("encodings", ("utf-8",))))
    set_to = {"rules": rules, "encodings": encodings, "suppressions": ()}
    try:
        sides = {side: SideOptions.of_public(known.get(side, {})) for side in SIDES}
        return Options(**known | lists | set_to | sides)
    except ConfigError:
        return None
