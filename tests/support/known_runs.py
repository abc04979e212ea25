"""Runs that the tests of a module share, as they change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import psycopg
from support.sites import FolderSite


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recon_engine.pipeline.runner import Outcome


class KnownRuns(NamedTuple):
    """Where they were, and how each ended."""

    site: FolderSite
    ended: list[Outcome]


def run_once(
    template: str, folder: Path, runs: Callable[[FolderSite], list[Outcome]]
) -> KnownRuns:
    """Do the runs in a database that can only be read from then on."""
    name = f"known_{uuid4().hex[:8]}"
    (folder / "inbound").mkdir()
    with psycopg.connect(template, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template STRATEGY FILE_COPY".encode()
        )
        site = FolderSite(str(folder), f"{template} dbname={name}")
        known = KnownRuns(site, runs(site))
        connection.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode()
        )
    return known
