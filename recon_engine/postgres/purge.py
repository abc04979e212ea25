"""Retention: delete the cell values of old runs, and keep their counts and verdicts.

Values are in four places: the samples, patterns, constant changes and segments of a
run, the breaks of a dataset, its stage tables, and the artifacts. Everything else is
counts, sums and the run log, which are kept as history. An open break is never old,
seen or unseen.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError, InputChanged
from recon_engine.findings import FINDINGS
from recon_engine.model import SourceFile
from recon_engine.postgres.connection import (
    open_connection,
    quote_identifier,
    translate_database_errors,
)
from recon_engine.postgres.publish import ONE_AT_A_TIME, name_publish_lock
from recon_engine.postgres.stage import LOADED_BY
from recon_engine.report.artifacts import MANIFEST
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    import psycopg

    from recon_engine.config import Address
    from recon_engine.storage.base import Storage


AGE_PATTERN: Final = re.compile(r"([1-9][0-9]{0,4})([dw])")
UNIT_DAYS: Final = {"d": 1, "w": 7}

# A run in progress, or one whose archive is not finished, is never old.
OLD_RUNS: Final = """
SELECT r.run_id, r.dataset FROM metrics.pipeline_run_log r
WHERE r.status NOT IN ('STARTED', 'RECONCILED') AND r.run_ts < now() - %(age)s
  AND (%(dataset)s::text IS NULL OR r.dataset = %(dataset)s)
ORDER BY r.run_ts
"""
VALUE_TABLES: Final = (
    "mismatch_detail_sample",
    *(each.table for each in FINDINGS if each.holds_values),
)
SAMPLES: Final = f"""
SELECT run_id, count(*) FROM (
    {" UNION ALL ".join(f"SELECT run_id FROM metrics.{name}" for name in VALUE_TABLES)}
) v WHERE run_id = ANY(%s) GROUP BY run_id
"""  # noqa: S608 - names above
# As old as the run that ended it: if its pair is compared again, a break may be open.
ENDED: Final = "metrics.break WHERE NOT open AND as_of_run = ANY(%s)"
DELETE: Final = "DELETE FROM metrics.{} WHERE run_id = ANY(%s)"
DELETE_BREAKS: Final = f"DELETE FROM {ENDED}"  # noqa: S608
BREAKS: Final = f"SELECT dataset, count(*) FROM {ENDED} GROUP BY dataset"  # noqa: S608
# Stage tables are as old as the run that their comment names: later runs may not load
# any. Those of earlier versions have no comment, and are of the latest result.
STAGE: Final = f"""
SELECT t.relname::text, r.dataset
FROM (
    SELECT DISTINCT ON (dataset) dataset, run_id FROM metrics.pipeline_run_log
    WHERE status IN ('RECONCILED', 'SUCCEEDED') ORDER BY dataset, run_ts DESC
) r
JOIN pg_catalog.pg_class t ON t.relnamespace = 'stage'::regnamespace
    AND t.relkind = 'r' AND t.relname IN (r.dataset || '_old', r.dataset || '_new')
CROSS JOIN LATERAL (
    SELECT substring(
        obj_description(t.oid, 'pg_class') FROM '^{LOADED_BY}([0-9a-f-]{{36}})$'
    )::uuid AS run_id
) loaded
WHERE coalesce(loaded.run_id, r.run_id) = ANY(%s) ORDER BY t.relname
"""  # noqa: S608 - a constant
ARTIFACTS: Final = "SELECT run_id, uri FROM metrics.artifact WHERE run_id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class OldArtifact:
    """A file of an old run that still exists."""

    run_id: UUID
    place: Storage
    file: SourceFile


@dataclass(frozen=True, slots=True)
class OldValues:
    """What a purge deletes.

    `runs`: the dataset of each old run. `samples`: rows with values per run. `breaks`:
    ended breaks per dataset. `stage`: the dataset of each stage table.
    """

    runs: Mapping[UUID, str]
    samples: Mapping[UUID, int]
    breaks: Mapping[str, int]
    stage: Mapping[str, str]
    artifacts: Sequence[OldArtifact]


def parse_age(text: str) -> timedelta:
    """An age such as `90d` or `12w`; ConfigError for anything else."""
    found = AGE_PATTERN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"invalid age '{text}'", help="use days or weeks, such as 90d or 12w"
        )
    return timedelta(days=int(found[1]) * UNIT_DAYS[found[2]])


def find_old_values(
    address: Address, age: timedelta, dataset: str | None, *, artifacts: bool
) -> OldValues:
    """The values of runs older than `age`; changes nothing."""
    with (
        open_connection(address, control=False) as connection,
        translate_database_errors(),
    ):
        values = {"age": age, "dataset": dataset}
        runs = dict(connection.execute(OLD_RUNS, values).fetchall())
        known = [list(runs)]
        samples = dict(connection.execute(SAMPLES, known).fetchall())
        breaks = dict(connection.execute(BREAKS.encode(), known).fetchall())
        stage = dict(connection.execute(STAGE, known).fetchall())
        uris = connection.execute(ARTIFACTS, known).fetchall() if artifacts else []
    return OldValues(runs, samples, breaks, stage, list(_find_present_artifacts(uris)))


def delete_old_values(address: Address, old_values: OldValues) -> None:
    """Delete the artifacts, then samples and breaks, then stage tables.

    After an error, run it again: whatever remains is found again. Artifacts go first,
    because the tables are what finds them. Stage tables have a short transaction of
    their own, because no run of their datasets can publish in it.
    """
    for artifact in old_values.artifacts:
        artifact.place.remove(artifact.file)
    with (
        open_connection(address, control=False) as connection,
        translate_database_errors(),
    ):
        with connection.transaction():
            for name in VALUE_TABLES:
                runs = [list(old_values.samples)]
                connection.execute(DELETE.format(name).encode(), runs)
            if old_values.breaks:
                connection.execute(DELETE_BREAKS.encode(), [list(old_values.runs)])
        with connection.transaction():
            _drop_stage_tables(connection, old_values)


def _drop_stage_tables(connection: psycopg.Connection, old_values: OldValues) -> None:
    """Drop the stage tables that still are those of an old run, in a transaction.

    Since they were found, a run may have published tables of the same names.
    """
    for dataset in sorted({*old_values.stage.values()}):
        connection.execute(ONE_AT_A_TIME.format("%s"), [name_publish_lock(dataset)])
    still_old = connection.execute(STAGE, [list(old_values.runs)]).fetchall()
    # DROP blocks readers of a stage table until the commit.
    for table in old_values.stage.keys() & {name for name, _ in still_old}:
        connection.execute(f"DROP TABLE stage.{quote_identifier(table)}".encode())


def count_old_values(old_values: OldValues) -> list[tuple[str, str, int]]:
    """Rows of (kind of value, dataset, count), sorted, for a table."""
    counts: Counter[tuple[str, str]] = Counter()
    for run_id, rows in old_values.samples.items():
        counts["rows with values", old_values.runs[run_id]] += rows
    for dataset, rows in old_values.breaks.items():
        counts["breaks that have ended", dataset] += rows
    for dataset in old_values.stage.values():
        counts["stage tables", dataset] += 1
    for artifact in old_values.artifacts:
        counts["artifacts", old_values.runs[artifact.run_id]] += 1
    return [(*what, count) for what, count in sorted(counts.items())]


def _find_present_artifacts(uris: Iterable[tuple[UUID, str]]) -> Iterator[OldArtifact]:
    """The artifacts that still exist, in each folder the manifest first.

    Readers ignore a folder without a manifest, so they never see a partial one.
    """
    folders: dict[tuple[UUID, str], list[str]] = {}
    for run_id, uri in uris:
        folder, _, name = uri.rpartition("/")
        folders.setdefault((run_id, f"{folder}/"), [MANIFEST]).append(name)
    for (run_id, folder), names in folders.items():
        place = open_storage(folder)
        for name in names:
            # `identify` reports a file that is gone as changed: an earlier purge
            # deleted it.
            with suppress(InputChanged):
                file = place.identify(SourceFile(f"{folder}{name}", name, 0))
                yield OldArtifact(run_id, place, file)
