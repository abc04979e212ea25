"""Relations of DuckDB as tables."""

from __future__ import annotations

import duckdb

import recon_engine as rx
from recon_engine.compare.key_search import propose_keys


def test_two_relations_of_one_duckdb_connection_are_read_one_after_the_other() -> None:
    connection = duckdb.connect()
    old = connection.sql("SELECT i AS id, i AS v FROM range(300000) t(i)")
    new = connection.sql("SELECT i AS id, i % 299999 AS v FROM range(300000) t(i)")
    found = rx.diff(old, new, keys="id")
    assert (found.counts.matched, found.counts.mismatched_rows) == (300_000, 1)
    [proposal, *_] = propose_keys(
        connection.sql("SELECT i AS id FROM range(9) t(i)"),
        connection.sql("SELECT i AS id FROM range(9) t(i)"),
    )
    assert proposal.columns == ("id",)
