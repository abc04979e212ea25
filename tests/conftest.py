"""Servers for the whole session, a fresh database for each test, no real cloud."""

from __future__ import annotations

import functools
import os
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.loaders
import botocore.session
import psycopg
import pytest
import support.worker_start
import typer.main
import typer.testing
from hypothesis import HealthCheck, Phase, settings
from support.clusters import copied_clusters
from support.s3_servers import DUMMY_ENVIRONMENT, moto_s3, seaweed_s3
from support.shared_memory import keep_temporary_files_in_memory
from support.sites import BucketSite, FolderSite
from support.work_division import FilesAndPortions, place_of

from recon_engine.postgres import migrations
from recon_engine.postgres.embedded import server


if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.sites import Site


TESTS = Path(__file__).parent

keep_temporary_files_in_memory()
os.environ.update(DUMMY_ENVIRONMENT)
for name in [name for name in os.environ if name.startswith(("RECON_", "PG"))]:
    if name not in {"RECON_PG_BIN", "RECON_NATIVE"}:
        del os.environ[name]

# typer builds all commands for every call, which takes as long as a small comparison.
build_once = functools.cache(typer.main.get_command)
typer.main.get_command = build_once
typer.testing._get_command = build_once  # type: ignore[attr-defined]
# boto3 parses the model of S3 for every session, which takes 0.1 s.
botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)

# `make test-fast` is for each step of work: a few examples of each property.
for name, examples in (("fast", 3), ("short", 100), ("long", 5000)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
        ],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests: long files first, those that any worker can take last."""
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Imports and the collection of tests have ended."""
    support.worker_start.search_garbage_of_tests_only()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesAndPortions:
    """Divide the tests among workers."""
    return FilesAndPortions(config, log)


def pytest_sessionfinish() -> None:
    """The folders of tests are gone by now, and so go the databases of theirs."""
    server.reclaim_leftovers()


@pytest.fixture(scope="session", autouse=True)
def clusters() -> Iterator[None]:
    """Clusters of this session are copies of its first one."""
    with copied_clusters():
        yield


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    """A Postgres server whose database `template` has roles and tables, and no rows."""
    with server.run_embedded_server(durable=False) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE DATABASE template")
        with psycopg.connect(f"{conninfo} dbname=template") as connection:
            connection.execute(migrations.read_access_sql("roles"))
        migrations.apply_migrations(f"{conninfo} dbname=template user=recon_owner")
        yield conninfo


@pytest.fixture
def database(template: str) -> str:
    """A separate database, with its tables."""
    with psycopg.connect(template, autocommit=True) as connection:
        # That of the test before. One name for all: the driver of bulk loads reads the
        # types of each address anew, which takes as long as a comparison.
        connection.execute("DROP DATABASE IF EXISTS test WITH (FORCE)")
        # Files are copied in a third of the time that writing them to the WAL takes.
        connection.execute("CREATE DATABASE test TEMPLATE template STRATEGY FILE_COPY")
    return f"{template} dbname=test"


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of an S3 server on a real socket."""
    with moto_s3() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def seaweed() -> Iterator[str]:
    """The endpoint of an S3 server that enforces every condition."""
    with seaweed_s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; the endpoint is where boto3 looks by itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    name = f"recon-{uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=moto)
    client.create_bucket(Bucket=name)
    client.close()
    return name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that names SITES in each of them."""
    sites = getattr(metafunc.module, "SITES", None)
    if sites and "site" in metafunc.fixturenames:
        metafunc.parametrize("site", sites, indirect=True)


@pytest.fixture
def folders(tmp_path: Path, database: str) -> FolderSite:
    """Three folders and a database."""
    (tmp_path / "inbound").mkdir()
    return FolderSite(str(tmp_path), database)


@pytest.fixture
def site(request: pytest.FixtureRequest, database: str) -> Iterator[Site]:
    """The folders, or prefixes of a bucket if that is what the parameter says."""
    if getattr(request, "param", "folders") == "folders":
        yield request.getfixturevalue("folders")
    else:
        made = BucketSite(
            request.getfixturevalue("bucket"), request.getfixturevalue("moto"), database
        )
        yield made
        made.client.close()


@pytest.fixture
def today() -> date:
    """The day in UTC, of which a minute is left at least: a test may name it."""
    now = datetime.now(UTC)
    left = 86_400 - now.timestamp() % 86_400
    if left < 60:
        time.sleep(left)
    return datetime.now(UTC).date()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """A test that leaves a thread of ours behind has not ended."""
    yield
    left = [t.name for t in threading.enumerate() if t.name.startswith("stage")]
    assert not left
