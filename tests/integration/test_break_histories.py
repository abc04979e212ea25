"""Random histories of thirty days on a real Postgres, against plain dicts."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.break_oracle import TURNED, Day, Key, states

from recon_engine.compare.local_engine import compare_tables, read_tables
from recon_engine.compare.lookup import Lookup
from recon_engine.config import Feed, OnBadRow, Options, SideOptions
from recon_engine.inputs.header import read_header
from recon_engine.model import BreakState, FilePair, SourceFile
from recon_engine.postgres.breaks import Observation, OpenBreak, list_breaks, standing
from recon_engine.postgres.publish import Publication, publish_run
from recon_engine.postgres.run_log import make_uuid7
from recon_engine.runtime import failpoints
from recon_engine.runtime.failpoints import Failpoint, FailpointReached


if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from recon_engine.model import Breaks

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
FIRST = date(2026, 1, 1)
TURN = {"ID": (f"map({','.join(f'{old}={new}' for old, new in TURNED.items())})",)}
VALUES = st.sampled_from(["x", "x", "x", "y", "z"])
SIDE = st.lists(
    st.tuples(st.sampled_from("1234"), VALUES, VALUES), max_size=6
) | st.permutations([("1", "x", "x"), ("2", "x", "x"), ("3", "x", "y")])
DAYS = st.builds(
    Day,
    pair=st.integers(0, 60),
    columns=st.sampled_from([("A", "B"), ("A", "B"), ("A", "B"), ("A",), ("B",)]),
    old=SIDE.map(tuple),
    new=SIDE.map(tuple),
    rejects=st.sampled_from([(), (), (), (), ((0, 0),), ((1, 1),)]),
    full=st.booleans(),
    limit=st.sampled_from([100, 100, 100, 100, 100, 1]),
    late=st.sampled_from([0, 0, 0, 0, 1, 3]),
    fails=st.sampled_from([None] * 6 + ["publish-breaks", "publish-commit"]),
    ruled=st.sampled_from([True, True, True, False]),
    turned=st.booleans(),
    folds=st.sampled_from([(), (), (0,), (1,), (0, 1)]),
)


def file_of(folder: Path, name: str, day: Day, side: int) -> Path:
    """A side as a file, whose rejects have a field too many."""
    lines = [
        ",".join(row) + ",more" * ((side, at) in day.rejects)
        for at, row in enumerate(day.written(side))
    ]
    path = folder / name
    path.write_text("\n".join(["ID,A,B", *lines, ""]))
    return path


def published(conninfo: str, dataset: str, day: Day, at: int) -> Breaks | None:
    """Publish a day as a run does, at first in vain where it is to fail."""
    # Each history has files of its own, of which names repeat: a file belongs to one
    # dataset.
    uri = f"{dataset} {day.pair % 3}"
    old, new = (SourceFile(f"{uri} {n}", n, 0) for n in ("old", "new"))
    pair = FilePair(old, new)
    for fails in filter(None, (day.fails, "nowhere")):
        run_id = make_uuid7()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO metrics.pipeline_run_log"
                " (run_id, run_fp, dataset, status, old_uri, new_uri)"
                " VALUES (%s, %s, %s, 'STARTED', %s, %s)",
                [run_id, str(run_id), dataset, pair.old.uri, pair.new.uri],
            )
            look = looked(connection, dataset, run_id, day, at, pair)
        publication = Publication.of(look, (), day.limit)
        if fails == "nowhere":
            return publish_run(conninfo, publication, ())
        failpoints.armed = Failpoint(fails, "raise")
        try:
            with pytest.raises(FailpointReached):
                publish_run(conninfo, publication, ())
        finally:
            failpoints.armed = None
    raise AssertionError


def looked(
    connection: psycopg.Connection,
    dataset: str,
    run_id: UUID,
    day: Day,
    at: int,
    pair: FilePair,
) -> Observation:
    """What the engine makes of the files of a day."""
    stood: list[OpenBreak] = []

    def ask(keys: Sequence[str]) -> Lookup:
        stood.extend(standing(connection, dataset, keys, pair))
        return Lookup([each.key for each in stood], day.limit)

    ignore = [name for name in "AB" if name not in day.columns]
    if len(day.folds) > 1:  # rows that both sides fold are not counted here
        ignore.append("row_count")
    rules = TURN if day.ruled and day.turned else {}
    when = FIRST + timedelta(at - day.late)
    options = Options(
        keys=("ID",),
        ignore=tuple(ignore),
        on_bad_row=OnBadRow.QUARANTINE,
        rules={"ID": ("lstrip0",)} if day.ruled else {},
        old=SideOptions(rules=rules, fold=0 in day.folds),
        new=SideOptions(fold=1 in day.folds),
    )
    with TemporaryDirectory() as folder:
        old, new = (
            read_header(
                file_of(Path(folder), name, day, side), on_bad_row=options.on_bad_row
            )
            for side, name in enumerate(("old.csv", "new.csv"))
        )
        with read_tables(old, new, options) as reading:
            result = compare_tables(reading, when, ask=ask)
    result = replace(
        result,
        old=replace(result.old, uri=pair.old.uri, sha256=f"{day.pair:064x}"),
        new=replace(result.new, uri=pair.new.uri, sha256=f"{day.pair:064x}"),
    )
    feed = Feed.FULL if day.full else Feed.INCREMENTAL
    return Observation(result, dataset, run_id, when, feed, stood)


@settings(max_examples=100 if LONG else 5)
@given(st.lists(DAYS, min_size=1, max_size=30))
def test_breaks_are_what_the_history_of_looks_makes_of_them(
    database: str, days: list[Day]
) -> None:
    dataset = f"d{uuid4().hex}"
    dated = [(at - day.late, day) for at, day in enumerate(days)]
    for at, day in enumerate(days):
        found = published(database, dataset, day, at)
        expected, said, as_of, touched = states(dated[: at + 1])
        assert found is not None
        assert found.tracking == said
        assert breaks_of(database, dataset) == {
            key: (each.state, each.open, each.first, each.last, each.runs)
            for key, each in expected.items()
        }
        if found.counts is None:
            continue
        opened = [each.first for each in expected.values() if each.open]
        counts = {state: touched.count(state) for state in BreakState}
        assert {s: getattr(found.counts, s) for s in BreakState} == counts
        assert found.counts.open == len(opened)
        assert found.as_of == FIRST + timedelta(as_of)
        age = max(0, as_of - min(opened)) if opened else None
        assert found.counts.oldest_days == age
        listed = list_breaks(database, dataset)
        assert (listed.as_of, listed.total) == (found.as_of, len(opened))
        ages = [row[listed.names.index("age_days")] for row in listed.rows]
        assert ages == sorted((max(0, as_of - first) for first in opened), reverse=True)


def breaks_of(conninfo: str, dataset: str) -> dict[Key, tuple[Any, ...]]:
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT key_text, coalesce(column_name, kind), state, open,"
            " first_seen - date '2026-01-01', last_seen - date '2026-01-01', runs_seen"
            " FROM metrics.break WHERE dataset = %s",
            [dataset],
        ).fetchall()
    assert max(Counter(row[:2] for row in rows).values(), default=1) == 1
    return {(key, name): tuple(rest) for key, name, *rest in rows}
