"""How the database is reached: TLS that proves a name, passwords that change, roles."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4
from zlib import crc32

import boto3
import botocore.auth
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from support.sites import FolderSite
from support.tls_postgres import (
    APP,
    ELSEWHERE,
    OWNER,
    READER,
    certificate,
    pgbouncer,
    tls_postgres,
)

from recon_engine.aws import database_login
from recon_engine.aws.client import ENDPOINT_VARIABLE
from recon_engine.aws.database_login import DatabaseSecret, IamToken
from recon_engine.errors import ConfigError, PermissionDenied, ReconError
from recon_engine.pipeline.doctor import CheckState, _check_authorities, examine_setup
from recon_engine.postgres import conninfo, migrations, purge
from recon_engine.postgres.connection import (
    open_bulk_connection,
    open_connection,
    quote_identifier,
)
from recon_engine.postgres.conninfo import TLS_UNVERIFIED, TLS_VARIABLE, conninfo_of
from recon_engine.status import RunStatus


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.tls_postgres import TlsPostgres


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsPostgres]:
    with tls_postgres() as server:
        yield server


@pytest.fixture
def secret(
    tls: TlsPostgres, moto: str, monkeypatch: pytest.MonkeyPatch
) -> DatabaseSecret:
    """What RDS keeps of recon_app, and the environment of a task."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto)
    monkeypatch.setenv("PGSSLROOTCERT", str(tls.authority))
    return DatabaseSecret(kept(moto, said_of(tls)))


def said_of(tls: TlsPostgres, **facts: str) -> str:
    signs_in = tls.as_role(APP)
    return json.dumps(
        {
            "engine": "postgres",
            "host": signs_in["host"],
            "port": int(signs_in["port"]),
            "username": APP,
            "password": signs_in["password"],
            "dbname": "recon",
            **facts,
        }
    )


def kept(endpoint: str, text: str) -> str:
    with closing(boto3.client("secretsmanager", endpoint_url=endpoint)) as client:
        arn: str = client.create_secret(Name=uuid4().hex, SecretString=text)["ARN"]
    return arn


def by_psycopg(conninfo: str) -> str:
    with open_connection(conninfo) as connection:
        row = connection.execute("SELECT current_user").fetchone()
    return str(row and row[0])


def by_adbc(conninfo: str) -> str:
    with (
        open_bulk_connection(conninfo) as connection,
        closing(connection.cursor()) as cursor,
    ):
        cursor.execute("SELECT current_user::text")
        return str(cursor.fetchone()[0])


# --- TLS


@pytest.fixture
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text("")
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca.pem"))


@pytest.mark.usefixtures("authorities")
@pytest.mark.parametrize(
    "conninfo",
    [
        "host=db.example",
        "postgresql://app@db.example:5432/recon",
        "postgresql://db.example/recon?connect_timeout=5&tcp_user_timeout=9000",
        "host=10.0.0.7 sslmode=verify-full",
        "host=localhost,db.example",
        "host=localhost hostaddr=10.0.0.7",
        "service=production",
        f"host={ELSEWHERE}",
    ],
)
def test_elsewhere_the_server_has_to_prove_its_name(conninfo: str) -> None:
    found = conninfo_to_dict(conninfo_of(conninfo))
    assert found["sslmode"] == "verify-full"
    assert found.items() >= conninfo_to_dict(conninfo).items()


@pytest.mark.parametrize(
    "conninfo",
    [
        "",
        "host=/run/postgresql",
        "host=localhost",
        "postgresql://app@127.0.0.1/recon",
        "host=::1",
        "host=db.example hostaddr=127.0.0.1",
    ],
)
def test_on_this_machine_nothing_is_asked(conninfo: str) -> None:
    assert conninfo_of(conninfo) == conninfo


@pytest.mark.usefixtures("authorities")
@pytest.mark.parametrize(
    ("conninfo", "environment"),
    [
        ("host=db.example sslmode=require", {}),
        ("postgresql://db.example/recon?sslmode=disable", {}),
        ("host=db.example", {"PGSSLMODE": "prefer"}),
        ("sslmode=verify-ca", {"PGHOST": "db.example"}),
        ("sslmode=allow", {"PGHOSTADDR": "10.0.0.7", "PGHOST": "localhost"}),
    ],
)
def test_a_weaker_mode_is_refused_unless_that_is_waived_in_words(
    conninfo: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="does not verify"):
        conninfo_of(conninfo)
    monkeypatch.setenv(TLS_VARIABLE, "yes")
    with pytest.raises(ConfigError, match=TLS_UNVERIFIED):
        conninfo_of(conninfo)
    monkeypatch.setenv(TLS_VARIABLE, TLS_UNVERIFIED)
    assert conninfo_of(conninfo) == conninfo


def test_authorities_that_are_not_there_are_said_before_libpq_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conninfo, "ROOT_CERTIFICATES", tmp_path / "none")
    with pytest.raises(ConfigError, match="the CA bundle to verify"):
        conninfo_of("host=db.example")
    with pytest.raises(ConfigError, match="the CA bundle to verify"):
        conninfo_of(f"host=db.example sslrootcert={tmp_path / 'gone'}")
    assert conninfo_of("host=db.example sslrootcert=system")


@pytest.mark.parametrize("driver", [by_psycopg, by_adbc])
def test_both_drivers_verify_the_name_of_the_server(
    tls: TlsPostgres, tmp_path: Path, driver: Callable[[str], str]
) -> None:
    assert driver(make_conninfo(**tls.as_role(APP))) == APP
    certificate(tmp_path, "other", "unused")
    for wrong in (
        {"sslrootcert": str(tmp_path / "other.pem")},
        {"host": "db.example", "hostaddr": "127.0.0.1", "sslmode": "verify-full"},
    ):
        with pytest.raises(ConfigError, match="certificate") as caught:
            driver(make_conninfo(**{**tls.as_role(APP), **wrong}))
        assert APP not in str(vars(caught.value))


@pytest.mark.parametrize("driver", [by_psycopg, by_adbc])
def test_a_wrong_password_is_denied_and_not_reported(
    tls: TlsPostgres, driver: Callable[[str], str]
) -> None:
    with pytest.raises(PermissionDenied) as caught:
        driver(make_conninfo(**tls.as_role(APP, password="hunter2")))
    assert "hunter2" not in str(vars(caught.value))


SERVICES = """
# comments, and a section that is not asked for
[other]
host=db.example

[here]
host=localhost
hostaddr=127.0.0.1
[there]
 host=localhost
hostaddr=10.0.0.7
hostaddr=127.0.0.1
[named]
host=db.example
[weak]
host=db.example
sslmode=require
[bare]
dbname=recon
[directory]
ldap://ldap.example/dc=example?description?one?(cn=recon)
"""


@pytest.fixture
def service_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "services"
    path.write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


HERE: dict[str, tuple[str, dict[str, str]]] = {
    "an address in the environment": (
        "host=db.example", {"PGHOSTADDR": "127.0.0.1"}),
    "a service": ("service=here", {}),
    "a service in the environment": ("", {"PGSERVICE": "here"}),
    "a service goes before variables": (
        "service=here", {"PGHOSTADDR": "10.0.0.7", "PGHOST": "db.example"}),
    "the address goes before its service": (
        "service=there hostaddr=127.0.0.1", {}),
    "a service that names no host": ("service=bare", {}),
    "an empty address is none": ("host=/run hostaddr=''", {"PGHOSTADDR": "10.0.0.7"}),
    "no host at all": ("host=''", {"PGHOST": "db.example"}),
    "several, all of them here": (
        "host=db.example,localhost hostaddr=127.0.0.1,", {}),
}  # fmt: skip
ELSEWHERE_BY: dict[str, tuple[str, dict[str, str]]] = {
    "an address in the environment": ("host=localhost", {"PGHOSTADDR": "10.0.0.7"}),
    "an address beside a socket": ("host=/run", {"PGHOSTADDR": "10.0.0.7"}),
    "a service with an address": ("service=there", {}),
    "a service with an address, and a host here": ("host=localhost service=there", {}),
    "a service in the environment": ("host=localhost", {"PGSERVICE": "there"}),
    "a service with a host": ("service=named", {"PGHOST": "localhost"}),
    "a service that is not defined": ("host=localhost service=nowhere", {}),
    "a service that asks a directory": ("host=localhost service=directory", {}),
    "a service without a host, and a variable": (
        "service=bare", {"PGHOST": "db.example"}),
    "one of several": ("host=localhost,db.example hostaddr=127.0.0.1,10.0.0.7", {}),
    "one of several without an address": (
        "host=localhost,db.example hostaddr=127.0.0.1,", {}),
}  # fmt: skip


@pytest.mark.usefixtures("service_file")
@pytest.mark.parametrize("case", HERE)
def test_a_connection_that_goes_to_this_machine_needs_no_proof(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conninfo, environment = HERE[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert conninfo_of(conninfo) == conninfo


@pytest.mark.usefixtures("service_file", "authorities")
@pytest.mark.parametrize("case", ELSEWHERE_BY)
def test_a_connection_that_goes_elsewhere_has_to_prove_its_name(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conninfo, environment = ELSEWHERE_BY[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert conninfo_to_dict(conninfo_of(conninfo))["sslmode"] == "verify-full"
    with pytest.raises(ConfigError, match="does not verify"):
        conninfo_of(f"{conninfo} sslmode=prefer")


@pytest.mark.usefixtures("service_file", "authorities")
def test_the_mode_of_a_service_is_held_to_the_rule_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with pytest.raises(ConfigError, match="sslmode=require does not verify"):
        conninfo_of("service=weak")


def test_services_of_the_system_are_read_where_the_user_has_none(
    service_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nowhere/services")
    service_file.rename(service_file.with_name("pg_service.conf"))
    monkeypatch.setenv("PGSYSCONFDIR", str(service_file.parent))
    assert conninfo_of("service=here") == "service=here"


@pytest.mark.parametrize("driver", [by_psycopg, by_adbc])
def test_a_service_leads_to_where_it_is_taken_to_lead(
    tls: TlsPostgres, service_file: Path, driver: Callable[[str], str]
) -> None:
    """What libpq does with the file is what is read from it."""
    facts = tls.as_role(APP)
    lines = [f"{name}={value}" for name, value in facts.items() if name != "host"]
    service_file.write_text("[tls]\n" + "\n".join(lines) + "\nhost=localhost\n")
    assert driver("service=tls") == APP


@pytest.mark.usefixtures("authorities")
@pytest.mark.parametrize(
    "conninfo", ["hostaddr=10.0.0.7", "host=a.example, hostaddr=10.0.0.7,10.0.0.8"]
)
def test_an_address_without_a_name_to_verify_says_so(conninfo: str) -> None:
    with pytest.raises(ConfigError, match="no host name"):
        conninfo_of(conninfo)


@pytest.mark.parametrize("driver", [by_psycopg, by_adbc, migrations.apply_migrations])
def test_a_missing_right_to_connect_is_named(
    tls: TlsPostgres, driver: Callable[[str], object]
) -> None:
    tls.administer(
        b"REVOKE CONNECT ON DATABASE recon FROM PUBLIC;"
        b"REVOKE CONNECT ON DATABASE recon FROM recon_app"
    )
    try:
        with pytest.raises(PermissionDenied, match="CONNECT") as caught:
            driver(make_conninfo(**tls.as_role(APP)))
        assert "recon roles" in str(caught.value.help)
        tls.administer(migrations.read_access_sql("roles"))
        by_psycopg(make_conninfo(**tls.as_role(APP)))
        by_psycopg(make_conninfo(**tls.as_role(READER)))
        by_psycopg(make_conninfo(**tls.as_role(OWNER)))
    finally:
        tls.administer(b"GRANT CONNECT ON DATABASE recon TO PUBLIC")


# --- passwords of AWS


def test_a_password_that_is_rotated_is_read_anew(
    tls: TlsPostgres, secret: DatabaseSecret, moto: str
) -> None:
    assert "p@ss" not in repr(secret)
    with open_connection(secret) as before:
        tls.administer(f"ALTER ROLE {APP} PASSWORD 'rotated'")
        try:
            with pytest.raises(PermissionDenied), open_connection(secret):
                pass
            with closing(boto3.client("secretsmanager", endpoint_url=moto)) as client:
                client.put_secret_value(
                    SecretId=secret.arn, SecretString=said_of(tls, password="rotated")
                )
            with open_connection(secret) as after:
                assert after.execute("SELECT current_user").fetchone() == (APP,)
        finally:
            password = tls.as_role(APP)["password"].replace("'", "''")
            tls.administer(f"ALTER ROLE {APP} PASSWORD '{password}'")
        assert before.execute("SELECT 1").fetchone() == (1,)


def test_the_environment_says_better_where_the_instance_is(
    tls: TlsPostgres, secret: DatabaseSecret, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    minimal = {key: json.loads(said_of(tls))[key] for key in ("username", "password")}
    monkeypatch.setenv("PGHOST", ELSEWHERE)
    monkeypatch.setenv("PGPORT", str(tls.port))
    monkeypatch.setenv("PGDATABASE", "recon")
    with open_connection(DatabaseSecret(kept(moto, json.dumps(minimal)))) as connection:
        assert connection.info.dbname == "recon"
    monkeypatch.setenv("PGDATABASE", "postgres")
    with open_connection(secret) as connection:
        assert connection.info.dbname == "postgres"


@pytest.mark.parametrize("text", ["", "plain", "[]", '{"username": "a"}'])
def test_a_secret_that_names_no_user_is_not_quoted(
    secret: DatabaseSecret, moto: str, text: str
) -> None:
    arn = kept(moto, text or " ")
    with pytest.raises(ConfigError, match="does not name a usable database secret"):
        DatabaseSecret(arn)()
    with pytest.raises(ConfigError, match="does not exist"):
        DatabaseSecret(f"{secret.arn}gone")()
    with pytest.raises(ConfigError, match="does not name a usable database secret"):
        DatabaseSecret("no-arn")()


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("http://127.0.0.1:9", ReconError),
        ("https://elsewhere.example", ConfigError),
        ("localhost:9", ConfigError),
    ],
)
def test_secrets_are_asked_of_aws_alone(
    endpoint: str, kind: type[ReconError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    monkeypatch.setattr(database_login, "CLIENT_CONFIG", None)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(kind):
        DatabaseSecret("arn:aws:secretsmanager:us-east-1:123456789012:secret:a")()


def test_a_token_is_signed_anew_for_each_connection(
    tls: TlsPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs_in = tls.as_role(READER)
    for name, fact in (("PGHOST", "host"), ("PGPORT", "port"), ("PGUSER", "user")):
        monkeypatch.setenv(name, signs_in[fact])
    monkeypatch.setenv("PGDATABASE", "recon")
    monkeypatch.setenv("PGSSLROOTCERT", str(tls.authority))

    def token_at(minute: int) -> str:
        now = datetime(2026, 11, 25, 6, minute, tzinfo=UTC)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now)
        return str(conninfo_to_dict(IamToken("eu-west-1")())["password"])

    first, second = token_at(1), token_at(2)
    assert first != second
    asked = urlsplit(f"https://{second}")
    query = parse_qs(asked.query)
    assert asked.netloc == f"{ELSEWHERE}:{tls.port}"
    assert (query["Action"], query["DBUser"]) == (["connect"], [READER])
    assert query["X-Amz-Expires"] == ["900"]
    assert "/eu-west-1/rds-db/" in query["X-Amz-Credential"][0]

    tls.administer(f"ALTER ROLE {READER} PASSWORD '{second}'")
    with open_connection(IamToken("eu-west-1")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (READER,)
    tls.administer(f"ALTER ROLE {READER} PASSWORD 'read'")


def test_a_token_needs_an_instance_and_a_user() -> None:
    with pytest.raises(ConfigError, match="host and the user"):
        IamToken("eu-west-1")()


@pytest.mark.parametrize(
    ("region", "variables", "kind", "said"),
    [
        ("eu west", {}, ConfigError, "RECON_DATABASE_IAM"),
        ("eu-west-1", {"AWS_PROFILE": "none"}, ConfigError, "AWS_PROFILE"),
        ("eu-west-1", {"AWS_ACCESS_KEY_ID": ""}, PermissionDenied, "rds-db:connect"),
    ],
)
def test_a_token_that_cannot_be_signed_has_its_own_remedy(
    region: str,
    variables: dict[str, str],
    kind: type[ReconError],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"PGHOST": "db.example", "PGUSER": READER}
    given |= {"AWS_EC2_METADATA_DISABLED": "true"}
    for name, value in {**given, **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind) as caught:
        IamToken(region)()
    assert said in str(caught.value.help)
    assert "secret" not in str(caught.value.help).lower()


def test_an_endpoint_that_is_not_of_aws_is_used_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from recon_engine.storage.s3.client import shared_s3_client

    url = "https://s3.elsewhere.example"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    with pytest.raises(ConfigError, match=r"elsewhere\.example, which is not AWS"):
        shared_s3_client()
    monkeypatch.setenv(ENDPOINT_VARIABLE, url)
    assert shared_s3_client().meta.endpoint_url == url
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert shared_s3_client().meta.endpoint_url == "https://s3.amazonaws.com"


# --- roles


@pytest.fixture
def ran(tls: TlsPostgres, secret: DatabaseSecret, tmp_path: Path) -> FolderSite:
    """Two runs by recon_app: the second replaces what the first has staged."""
    (tmp_path / "inbound").mkdir()
    reader = make_conninfo(**tls.as_role(READER))
    site = FolderSite(str(tmp_path), reader)
    for day in ("20261122", "20261123"):
        site.deliver(day=day)
        ended = site.run(database=secret, dataset=dataset(tmp_path))
        assert ended.record.status is RunStatus.SUCCEEDED, ended.error
    return site


def dataset(folder: Path) -> str:
    return f"claims_{crc32(bytes(folder)):x}"


def test_the_pipeline_runs_as_recon_app_and_recon_read_sees_all_of_it(
    ran: FolderSite, tls: TlsPostgres, tmp_path: Path
) -> None:
    ours = dataset(tmp_path)
    log = ran.rows(
        f"SELECT status FROM metrics.pipeline_run_log WHERE dataset = '{ours}'"
    )
    assert [row["status"] for row in log] == ["SUCCEEDED", "SUCCEEDED"]
    assert len(ran.rows(f"SELECT * FROM stage.{quote_identifier(f'{ours}_old')}")) == 4
    metrics = ran.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'metrics'")
    for row in metrics:
        ran.rows(f"SELECT * FROM metrics.{row['tablename']} LIMIT 1")
    with psycopg.connect(make_conninfo(**tls.as_role(APP))) as connection:
        assert connection.info.user == APP


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (APP, "DELETE FROM metrics.mismatch_detail_sample"),
        (APP, "DELETE FROM metrics.pipeline_run_log"),
        (APP, "UPDATE metrics.recon_summary SET missing = 0"),
        (APP, "TRUNCATE metrics.recon_summary"),
        (APP, "DROP TABLE metrics.recon_summary"),
        (APP, "CREATE TABLE metrics.more (a int)"),
        (APP, "CREATE SCHEMA more"),
        (APP, "INSERT INTO metrics.schema_migration VALUES ('9999_x.sql', '')"),
        (READER, "INSERT INTO metrics.schema_migration VALUES ('9999_x.sql', '')"),
        (READER, "UPDATE metrics.pipeline_run_log SET status = 'STARTED'"),
        (READER, "CREATE TABLE stage.more (a int)"),
    ],
)
def test_no_role_may_do_more_than_it_needs(
    tls: TlsPostgres, role: str, statement: str
) -> None:
    with (
        psycopg.connect(make_conninfo(**tls.as_role(role))) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_owner_purges_what_the_pipeline_staged(
    ran: FolderSite, tls: TlsPostgres, tmp_path: Path
) -> None:
    ours = dataset(tmp_path)
    found = purge.find_old_values(
        make_conninfo(**tls.as_role(OWNER)),
        purge.parse_age("1d") * 0,
        ours,
        artifacts=False,
    )
    assert purge.count_old_values(found) == [
        ("rows with values", ours, 8),
        ("stage tables", ours, 2),
    ]
    with pytest.raises(PermissionDenied):
        purge.delete_old_values(make_conninfo(**tls.as_role(APP)), found)
    assert ran.rows(f"SELECT * FROM stage.{quote_identifier(f'{ours}_old')}")
    purge.delete_old_values(make_conninfo(**tls.as_role(OWNER)), found)
    left = f"SELECT * FROM pg_tables WHERE tablename LIKE '{ours}%'"
    assert ran.rows(left) == []


def test_to_migrate_again_changes_nothing_for_any_role(tls: TlsPostgres) -> None:
    tls.administer(migrations.read_access_sql("roles"))
    for role in (OWNER, APP, READER):
        assert migrations.apply_migrations(make_conninfo(**tls.as_role(role))) == ()


SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")
RDS = "db.c0ffee.us-east-1.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "state"),
    [
        (RDS, CheckState.FAIL),
        ("all.cluster-c0ffee.us-east-1.rds.amazonaws.com", CheckState.FAIL),
        ("db.proxy-c0ffee.us-east-1.rds.amazonaws.com", CheckState.OK),
        ("db.example", CheckState.OK),
    ],
)
@pytest.mark.skipif(not SYSTEM.is_file(), reason="needs a store of the system")
def test_the_doctor_says_that_rds_is_signed_by_no_authority_of_the_system(
    host: str, state: CheckState, tmp_path: Path
) -> None:
    link = tmp_path / "ca.pem"
    link.symlink_to(SYSTEM)
    [found] = _check_authorities(f"host={host} sslrootcert={link}")
    assert found.state is state
    assert "of the system's store" in found.found
    if state is CheckState.FAIL:
        assert host in found.found
        assert "deploy/rds-ca.pem" in str(found.remedy)


def test_the_doctor_counts_the_authorities_of_a_bundle(tmp_path: Path) -> None:
    certificate(tmp_path, "Amazon RDS us-east-1 Root CA", "server")
    [bundle] = tmp_path.glob("Amazon*.pem")
    address = make_conninfo(host=RDS, sslrootcert=str(bundle))
    [found] = _check_authorities(lambda: address)
    assert found.state is CheckState.OK
    assert found.found.startswith(
        f"1 CA certificate of a CA bundle ({bundle}), with those of RDS"
    )


def test_the_doctor_asks_for_no_authority_on_this_machine() -> None:
    [found] = _check_authorities("host=/tmp")
    assert found.state is CheckState.OK
    assert "the database is local" in found.found


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    findings = examine_setup({}, f"host={RDS} sslrootcert={tmp_path / 'ca.pem'}")
    found = next(findings)
    assert (found.check, found.state) == ("authorities", CheckState.FAIL)
    assert "PGSSLROOTCERT" in str(found.remedy)


def test_the_doctor_knows_what_a_role_may_do(tls: TlsPostgres) -> None:
    def grants(role: str) -> Any:
        found = examine_setup({}, make_conninfo(**tls.as_role(role)))
        by_check = {finding.check: finding for finding in found}
        assert by_check["database"].found.endswith(f"as {role}, TLSv1.3")
        return by_check["grants"]

    assert grants(APP).state is CheckState.OK
    assert grants(READER).state is CheckState.FAIL
    assert "CREATE on schema stage" in grants(READER).found
    assert "recon migrate" in str(grants(READER).remedy)


@pytest.mark.parametrize(
    ("right", "of"),
    [
        ("INSERT ON metrics.hint", APP),
        ("SELECT ON metrics.recon_summary", APP),
        ("UPDATE ON metrics.pipeline_run_log", APP),
        ("UPDATE ON metrics.break", APP),
        ("DELETE ON metrics.break", APP),
        ("TEMPORARY ON DATABASE recon", f"PUBLIC, {APP}"),
    ],
)
def test_the_doctor_misses_every_right_that_a_run_needs(
    tls: TlsPostgres, right: str, of: str
) -> None:
    tls.administer(f"REVOKE {right} FROM {of}")
    try:
        found = examine_setup({}, make_conninfo(**tls.as_role(APP)))
        [grants] = [finding for finding in found if finding.check == "grants"]
    finally:
        tls.administer(f"GRANT {right} TO {of}")
    assert grants.state is CheckState.FAIL
    assert grants.found.startswith(f"no {right.partition(' ')[0]} on ")
    assert "recon migrate" in str(grants.remedy)


# --- poolers


needs_pgbouncer = pytest.mark.skipif(
    not (shutil.which("pgbouncer") or os.path.exists("/usr/sbin/pgbouncer")),  # noqa: PTH110
    reason="needs PgBouncer, which is no wheel",
)


@needs_pgbouncer
def test_a_pooler_that_keeps_sessions_serves(tls: TlsPostgres, tmp_path: Path) -> None:
    (tmp_path / "inbound").mkdir()
    with pgbouncer(tls, "session") as pooled:
        site = FolderSite(str(tmp_path), pooled)
        for day in ("20261122", "20261123"):
            site.deliver(day=day)
            ended = site.run(dataset=dataset(tmp_path))
            assert ended.record.status is RunStatus.SUCCEEDED, ended.error
        [pooler] = [f for f in examine_setup({}, pooled) if f.check == "pooler"]
    assert pooler.state is CheckState.OK


@needs_pgbouncer
def test_the_doctor_finds_a_pooler_that_shares_sessions(tls: TlsPostgres) -> None:
    with pgbouncer(tls, "transaction") as pooled:
        [pooler] = [f for f in examine_setup({}, pooled) if f.check == "pooler"]
    assert pooler.state is CheckState.FAIL
    assert "pool_mode = session" in str(pooler.remedy)


def test_the_environment_of_these_tests_names_no_database() -> None:
    assert not {name for name in os.environ if name.startswith("PG")}
