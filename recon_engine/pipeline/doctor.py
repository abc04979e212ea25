"""Check everything a run depends on, one thing at a time, and suggest fixes.

The checks are read-only.
"""

from __future__ import annotations

import shutil
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.compare.masks import make_masks
from recon_engine.config import NO_KEY, Mask, Options
from recon_engine.errors import ConfigError, ReconError
from recon_engine.formatting import format_count
from recon_engine.postgres import migrations
from recon_engine.postgres.connection import open_connection, translate_database_errors
from recon_engine.postgres.conninfo import authorities_of
from recon_engine.postgres.embedded.server import unseen_clusters
from recon_engine.runtime.memory import BASE_BYTES, default_budget
from recon_engine.storage.base import translate_disk_errors
from recon_engine.storage.local import LocalFolder
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import psycopg

    from recon_engine.config import Address
    from recon_engine.storage.s3.prefix import S3Prefix


GIB: Final = 1 << 30
SPARE_BYTES: Final = 1 << 30
COPIES_ON_DISK: Final = 2  # an input, and its decompressed or decoded copy
# S3 rejects requests whose time is off by 15 minutes: warn early, fail with a margin.
MAX_CLOCK_DRIFT: Final = timedelta(minutes=1)
FATAL_CLOCK_DRIFT: Final = timedelta(minutes=10)

STORES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)
RDS_HOSTS: Final = (".rds.amazonaws.com", ".rds.amazonaws.com.cn")
NEEDED: Final = {
    True: "certificates of RDS are trusted",
    False: "the database needs a certificate signed by one of these",
}
RDS_BUNDLE: Final = (
    "fetch the global bundle of RDS (docs/deploy.md) as deploy/rds-ca.pem and build "
    "the image again, or set PGSSLROOTCERT=FILE"
)

SESSION: Final = """
SELECT current_setting('server_version'), current_user,
    COALESCE((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), ''),
    now()
"""
NOT_GRANTED: Final = """
SELECT format('%s on metrics.%s', wanted, c.relname)
FROM pg_class c
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) w (wanted)
WHERE c.relnamespace = 'metrics'::regnamespace AND c.relkind = 'r'
  AND c.relname <> 'schema_migration'
  AND (wanted <> 'UPDATE' OR c.relname IN ('pipeline_run_log', 'break', 'file_claim'))
  AND (wanted <> 'DELETE' OR c.relname = 'break')
  AND NOT has_table_privilege(c.oid, wanted)
UNION ALL
SELECT 'TEMPORARY on the database'
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT 'CREATE on schema stage' WHERE NOT has_schema_privilege('stage', 'CREATE')
UNION ALL
SELECT format('ownership of stage.%s', tablename) FROM pg_tables
WHERE schemaname = 'stage' AND NOT pg_has_role(tableowner, 'USAGE')
"""


class CheckState(StrEnum):
    """`fail`: a run cannot succeed; `warn`: it can, with a risk that is named."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check, and the remedy if there is a problem."""

    check: str
    state: CheckState
    found: str
    remedy: str | None = None


def examine_setup(
    urls: Mapping[str, str | None],
    address: Address | None,
    masks: Mapping[str, str] | None = None,
    home: Path | None = None,
    *,
    alarms: bool = True,
) -> Iterator[CheckResult]:
    """Check each location, the database, this machine, and the mask key.

    `urls`: URLs by name: inbound, processed, out; None if one is not set. `address`:
    None if the database is an embedded server that does not exist yet. `home`: the
    folder of the embedded server, None for another database. `alarms`: whether a
    difference can change the exit code of a run.
    """
    for name, url in urls.items():
        if url:
            yield from _report_errors(name, _check_location(name, url))
        else:
            # A warning: a run can be given the location as an option.
            remedy = f"name {name}_s3 in recon.toml, or --{name}-s3"
            yield CheckResult(name, CheckState.WARN, "not set: a run needs it", remedy)
    if address is None:
        yield from _report_errors("database", _check_future_server())
    else:
        yield from _report_errors("authorities", _check_authorities(address))
        yield from _report_errors("database", _check_database(address))
    if home is not None:
        yield from _report_errors("history", _check_history(home))
    yield from _report_errors("disk", _check_disk(urls.get("inbound")))
    yield _check_memory()
    if any(urls.values()) and not alarms:
        yield CheckResult(
            "gates",
            CheckState.WARN,
            "none: differences do not change the exit code of recon run",
            "set gates such as mismatched_rows<=0 (docs/gates.md), or --fail-on-diff",
        )
    if masks:
        yield from _report_errors("masks", _check_mask_key(masks))


def _report_errors(
    check: str, findings: Iterable[CheckResult]
) -> Iterator[CheckResult]:
    """Turn an error into a failed check; later checks of the same thing are skipped."""
    try:
        yield from findings
    except ReconError as error:
        found = f"{error.message} ({error.why})" if error.why else error.message
        yield CheckResult(check, CheckState.FAIL, found, error.help)


def _check_location(name: str, url: str) -> Iterator[CheckResult]:
    place = open_storage(url)
    if isinstance(place, LocalFolder):
        yield from _check_folder(name, place)
    else:
        # No isinstance check: importing S3Prefix would load boto3 for local runs too.
        yield from _check_prefix(name, place)  # type: ignore[arg-type]


def _check_folder(name: str, folder: LocalFolder) -> Iterator[CheckResult]:
    # A run creates processed and out with all folders above them, but never inbound:
    # there, a missing folder is an error.
    if name == "inbound":
        list(folder.files())
    above = (folder.path, *folder.path.parents)
    with translate_disk_errors(folder.path.name):
        home = next(each for each in above if each.exists())
        if not home.is_dir():
            remedy = "remove it, or name another location"
            yield CheckResult(name, CheckState.FAIL, f"{home} is no folder", remedy)
            return
        if home == folder.path:
            # Not `files`, which logs each folder of an earlier run as no data file.
            list(home.iterdir())
    try:
        with tempfile.TemporaryFile(dir=home):
            found = (
                "can be read and written"
                if home == folder.path
                else "does not exist yet: the first run creates it"
            )
            yield CheckResult(name, CheckState.OK, f"{folder.path} {found}")
    except OSError:
        remedy = f"let this account write to {home}"
        yield CheckResult(
            name, CheckState.FAIL, f"{folder.path} is not writable", remedy
        )


def _check_prefix(name: str, place: S3Prefix) -> Iterator[CheckResult]:
    from recon_engine.storage.s3 import permissions

    wanted = {
        "list": (permissions.may_list, "s3:ListBucket on the bucket, for this prefix"),
        "read": (permissions.may_read, "s3:GetObject, and kms:Decrypt for its key"),
    }
    if name == "inbound":
        wanted["remove"] = (
            permissions.may_remove,
            "s3:DeleteObject (and s3:GetObject)",
        )
    else:
        wanted["write"] = (
            permissions.may_write,
            "s3:PutObject, and kms:GenerateDataKey",
        )
    for right, (allowed, policy) in wanted.items():
        check = f"{name}: {right}"
        if allowed(place):
            yield CheckResult(check, CheckState.OK, place.url)
        else:
            remedy = f"allow the role {policy}; check the bucket policy too"
            yield CheckResult(
                check, CheckState.FAIL, f"S3 denies it in {place.url}", remedy
            )
    if name == "inbound":
        yield _check_versioning(permissions.versioning_status(place))
        yield _check_clock("clock and S3", permissions.clock_difference(place))


def _check_versioning(status: str | None) -> CheckResult:
    if status == "Enabled":
        return CheckResult(
            "versions", CheckState.OK, "the bucket of inbound keeps versions"
        )
    found = (
        "the versioning of the bucket may not be read"
        if status is None
        else "the bucket does not keep versions"
    )
    remedy = "turn versioning on: it can undo an accidental delete"
    return CheckResult("versions", CheckState.WARN, found, remedy)


def _check_clock(check: str, ahead: timedelta | None) -> CheckResult:
    if ahead is None or abs(ahead) < MAX_CLOCK_DRIFT:
        return CheckResult(check, CheckState.OK, "agree")
    state = CheckState.FAIL if abs(ahead) > FATAL_CLOCK_DRIFT else CheckState.WARN
    found = f"differ by {abs(ahead).total_seconds():.0f} s"
    remedy = "synchronize the clock with a time service (NTP)"
    return CheckResult(check, state, found, remedy)


def _check_authorities(address: Address) -> Iterator[CheckResult]:
    """Whether the trusted authorities can verify the certificate of the database."""
    with translate_database_errors():
        verified_by = authorities_of(address() if callable(address) else address)
    if verified_by is None:
        found = "not needed: the database is local, or verification is turned off"
        yield CheckResult("authorities", CheckState.OK, found)
        return
    host, file = verified_by
    if file == "system":
        known, which = [], "the CA certificates that OpenSSL has for the system"
    else:
        known = _names_of_authorities(file)
        of = "the system's store" if _is_system_store(file) else "a CA bundle"
        certificates = format_count(len(known), "CA certificate")
        which = f"{certificates} of {of} ({Path(file).resolve()})"
    of_rds = any("Amazon RDS" in name for name in known)
    found = f"{which}, {'with' if of_rds else 'without'} those of RDS"
    if of_rds or not _is_rds(host):
        yield CheckResult("authorities", CheckState.OK, f"{found}; {NEEDED[of_rds]}")
    else:
        found = f"{found}, which sign the certificate of {host}"
        yield CheckResult("authorities", CheckState.FAIL, found, RDS_BUNDLE)


def _names_of_authorities(file: str) -> list[str]:
    try:
        known = ssl.create_default_context(cafile=file).get_ca_certs()
    except (OSError, ssl.SSLError):
        raise ConfigError(
            "the CA bundle contains no PEM certificate",
            file=file,
            help="set PGSSLROOTCERT to a file of certificates in PEM format",
        ) from None
    return [str(each.get("subject")) for each in known]


def _is_system_store(file: str) -> bool:
    store = ssl.get_default_verify_paths().cafile
    stores = (*STORES, *([Path(store)] if store else ()))
    return Path(file).resolve() in {each.resolve() for each in stores}


def _is_rds(host: str) -> bool:
    """Whether a host is an RDS instance. RDS proxies have public certificates."""
    return host.rstrip(".").endswith(RDS_HOSTS) and ".proxy-" not in host


def _check_database(address: Address) -> Iterator[CheckResult]:
    with open_connection(address) as connection, translate_database_errors():
        row = connection.execute(SESSION).fetchone()
        version, user, tls, now = row or ("", "", "", datetime.now(UTC))
        found = f"PostgreSQL {version} as {user}, {tls or 'without TLS'}"
        yield CheckResult("database", CheckState.OK, found)
        yield _check_clock("clock and database", now - datetime.now(UTC))
        yield from _check_pooler(connection, address)
        missing = migrations.pending_migrations(address)
        if missing:
            found = format_count(len(missing), "migration", "are pending")
            yield CheckResult("tables", CheckState.FAIL, found, "run recon migrate")
            return
        yield CheckResult("tables", CheckState.OK, "up to date")
        yield _check_grants([what for (what,) in connection.execute(NOT_GRANTED)])


def _check_future_server() -> Iterator[CheckResult]:
    from recon_engine.postgres.embedded.programs import Programs

    programs = Programs.find()
    found = f"none yet: the first run creates an embedded PostgreSQL {programs.major}"
    yield CheckResult("database", CheckState.OK, found)


def _check_history(home: Path) -> Iterator[CheckResult]:
    """Whether the server can read everything that was recorded in a home."""
    if unseen := unseen_clusters(home):
        yield CheckResult("history", CheckState.WARN, *unseen)
    else:
        found = f"{home} has no database of another major version of Postgres"
        yield CheckResult("history", CheckState.OK, found)


def _check_grants(missing: list[str]) -> CheckResult:
    if not missing:
        return CheckResult("grants", CheckState.OK, "all grants that a run needs")
    remedy = (
        "run recon migrate as recon_owner; if that is not enough, have an administrator"
        " run the SQL of recon roles, and ALTER TABLE … OWNER TO recon_app for stage"
    )
    return CheckResult("grants", CheckState.FAIL, "no " + ", ".join(missing), remedy)


def _check_pooler(
    connection: psycopg.Connection, address: Address
) -> Iterator[CheckResult]:
    """Whether a pooler keeps one server process per client, as session locks require.

    A second connection holds a transaction open. A transaction pooler then moves this
    connection to another server process, whose pid shows it.
    """
    [(mine,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
    # At connecting, a server sends its own pid. A pooler sends another number.
    if mine == connection.info.backend_pid:
        return
    with open_connection(address, autocommit=False) as other:
        other.execute("SELECT 1")
        [(then,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
    if then == mine:
        yield CheckResult("pooler", CheckState.OK, "keeps sessions")
    else:
        remedy = "set pool_mode = session for this database, or connect without pooler"
        yield CheckResult(
            "pooler", CheckState.FAIL, "shares sessions by transaction", remedy
        )


def _check_disk(inbound: str | None) -> Iterator[CheckResult]:
    work = Path(tempfile.gettempdir())
    sizes: list[int] = []
    # Its own check has said that inbound cannot be read.
    with suppress(ReconError):
        sizes = [f.size for f in open_storage(inbound).files()] if inbound else []
    needed = COPIES_ON_DISK * sum(sizes) + SPARE_BYTES
    free = shutil.disk_usage(work).free
    found = f"{free / GIB:.1f} GiB free in {work}, {needed / GIB:.1f} GiB needed"
    if free >= needed:
        yield CheckResult("disk", CheckState.OK, found)
    else:
        remedy = "give the task more ephemeral storage, or set TMPDIR to a larger disk"
        yield CheckResult("disk", CheckState.FAIL, found, remedy)


def _check_mask_key(masks: Mapping[str, str]) -> Iterator[CheckResult]:
    checked = Options(keys=NO_KEY, masks=masks).masks
    make_masks({name: Mask(mask) for name, mask in checked.items()})
    found = f"for {', '.join(checked)}; the key is set if one is needed"
    yield CheckResult("masks", CheckState.OK, found)


def _check_memory() -> CheckResult:
    budget = default_budget().total
    found = f"{budget / GIB:.1f} GiB for the engine, 60% of the available memory"
    if budget > BASE_BYTES:
        return CheckResult("memory", CheckState.OK, found)
    remedy = f"give the task {BASE_BYTES / 0.6 / GIB:.1f} GiB or more"
    return CheckResult("memory", CheckState.FAIL, found, remedy)
