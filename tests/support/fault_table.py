"""What can go wrong in a run, made to happen: the table of `docs/faults.md`."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from support.packed import gzip_of
from support.postgres_faults import (
    PUBLISH_BEGIN,
    PUBLISH_COMMIT,
    RAW_COPY,
    STAGE_COPY,
    PostgresProxy,
)
from support.s3_faults import (
    ALWAYS,
    Fault,
    Faults,
    end_body,
    first,
    foreign_page,
    lose_reply,
    refuse,
    reset,
    reset_body,
    stall,
    stall_body,
)

from recon_engine.config import StageLoader
from recon_engine.postgres import run_log
from recon_engine.postgres.run_log import LOCK
from recon_engine.status import STATUSES, RunStatus
from recon_engine.storage.s3 import download
from recon_engine.storage.s3.client import TIMEOUT_VARIABLE


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.sites import BucketSite

    Injection = Callable[["Place"], None]

BUCKET = "faults"
OLD, NEW = "claims_1.csv", "claims_1_NEWSYSTEM.csv"
SECRET = "SECRET"
SENT = {
    OLD: b"ID,NOTE\n1,SECRET-a\n2,SECRET-b\n3,SECRET-c\n",
    NEW: b"ID,NOTE\n1,SECRET-a\n2,SECRET-x\n4,SECRET-d\n",
}
REPLACEMENT = b"ID,NOTE\n1,SECRET-a\n2,SECRET-b\n5,SECRET-e\n"
SLOW_DOWN = refuse(503, "SlowDown")
DENIED = refuse(403, "AccessDenied")
EXPIRED = refuse(400, "ExpiredToken")


@dataclass
class Place:
    """Where a scenario happens, what breaks there, and what was delivered."""

    site: BucketSite
    s3: Faults
    postgres: PostgresProxy
    direct: str
    undo: ExitStack
    delivered: dict[tuple[str, bytes], bool] = field(default_factory=dict)
    options: dict[str, StageLoader] = field(default_factory=dict)
    full: Path | None = None

    def deliver(self, name: str, data: bytes) -> None:
        """A producer writes a file; what was there before is its own loss."""
        lost = name, self.inbound().get(name)
        for known in self.delivered:
            self.delivered[known] &= known != lost
        self.site.put(name, data)
        self.delivered[name, data] = True

    def replace(self, name: str = OLD) -> Callable[[], None]:
        return lambda: self.deliver(name, REPLACEMENT)

    def take_away(self, name: str) -> Callable[[], None]:
        """Somebody else deletes a file."""

        def action() -> None:
            key = f"{self.site.root}/inbound/{name}"
            self.site.client.delete_object(Bucket=BUCKET, Key=key)
            self.delivered[name, SENT[name]] = False

        return action

    def inbound(self) -> dict[str, bytes]:
        return self.site.names(self.site.inbound)

    def end_backend(self, like: str) -> Callable[[], None]:
        """An administrator ends a server process."""

        def action() -> None:
            with psycopg.connect(self.direct, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE %s"
                    " AND pid <> pg_backend_pid()",
                    [like],
                )

        return action

    def end_log_backend(self) -> Callable[[], None]:
        """An administrator ends the server process that holds the lock of a run."""

        def action() -> None:
            with psycopg.connect(self.direct, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state = 'idle' AND pid IN"
                    " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
                )

        return action

    def kill_backend(self, like: str) -> Callable[[], None]:
        """No word, no cleaning up: what a kernel without memory does."""

        def action() -> None:
            with psycopg.connect(self.direct) as connection:
                statement = (
                    "SELECT pid FROM pg_stat_activity WHERE query LIKE %s"
                    " AND datname = current_database() AND pid <> pg_backend_pid()"
                )
                [(pid,), *_] = connection.execute(statement, [like]).fetchall()
            os.kill(pid, signal.SIGKILL)

        return action


@dataclass(frozen=True)
class Scenario:
    """A fault, how the run ends that meets it, and what the next one does."""

    fault: str
    inject: Injection
    status: str
    then: str

    @property
    def exit_code(self) -> int:
        return STATUSES[RunStatus(self.status)].exit_code

    @property
    def is_logged(self) -> bool:
        """Whether there was a log to write to, and no result in its place."""
        return self.then != FINISHED and self.status not in (DONE, DB_IS_GONE)

    @property
    def next_status(self) -> str:
        return self.then.split("`")[1]


def s3(*faults: Fault) -> Injection:
    """Faults of S3 that need to know nothing of the place."""

    def inject(place: Place) -> None:
        place.s3.plan(*(replace(fault) for fault in faults))

    return inject


def replaced(operation: str, key: str = "", skip: int = 0) -> Injection:
    """A producer who writes OLD anew just before S3 hears of a request."""

    def inject(place: Place) -> None:
        effect = first(place.replace())
        place.s3.plan(Fault(operation, effect, key=key, skip=skip))

    return inject


def small_ranges(inject: Injection) -> Injection:
    def both(place: Place) -> None:
        place.undo.enter_context(patch.object(download, "RANGE_BYTES", 8))
        place.undo.enter_context(patch.object(download, "WORKERS", 1))
        inject(place)

    return both


def stalling(fault: Fault) -> Injection:
    """A second without a byte is long enough here, and only here."""

    def inject(place: Place) -> None:
        place.undo.enter_context(patch.dict(os.environ, {TIMEOUT_VARIABLE: "1"}))
        s3(fault)(place)

    return inject


def taken_away(operation: str) -> Injection:
    def inject(place: Place) -> None:
        place.s3.plan(Fault(operation, first(place.take_away(OLD)), key=OLD))

    return inject


# --- faults of Postgres


def refused(place: Place) -> None:
    place.postgres.refuse()


def locked(place: Place) -> None:
    """Another worker of the same dataset and inbound place."""
    other = place.undo.enter_context(psycopg.connect(place.direct))
    other.execute(LOCK, [f"recon:claims:{place.site.inbound}/"])


def read_in_stage(place: Place) -> None:
    """Somebody looks at a stage table and forgets to end the transaction."""
    with psycopg.connect(place.direct) as connection:
        connection.execute("CREATE TABLE stage.claims_old (id text)")
        connection.execute("ALTER TABLE stage.claims_old OWNER TO recon_app")
    reader = place.undo.enter_context(psycopg.connect(place.direct))
    reader.execute("SELECT * FROM stage.claims_old")


def killed_in_copy(place: Place) -> None:
    place.postgres.act(STAGE_COPY, place.end_backend("COPY%"))


def killed_in_raw_copy(place: Place) -> None:
    place.options["stage_loader"] = StageLoader.COPY
    place.postgres.act(RAW_COPY, place.end_backend("COPY%"))


def crashed_in_copy(place: Place) -> None:
    """The kernel kills one process: Postgres ends all others, and recovers."""
    place.postgres.act(STAGE_COPY, place.kill_backend("COPY%"))


def cut_in_copy(place: Place) -> None:
    place.postgres.cut_before(STAGE_COPY)


def cut_before_commit(place: Place) -> None:
    place.postgres.cut_before(PUBLISH_COMMIT)


def cut_after_commit(place: Place) -> None:
    place.postgres.cut_after(PUBLISH_COMMIT)


def gone_at_commit(place: Place) -> None:
    place.postgres.cut_after(PUBLISH_COMMIT, place.postgres.refuse)


def journal_killed_early(place: Place) -> None:
    effect = first(place.end_log_backend())
    place.s3.plan(Fault("GetObject", effect))


def journal_killed(place: Place) -> None:
    place.postgres.act(PUBLISH_COMMIT, place.end_log_backend())


def overtaken(place: Place) -> None:
    """Another worker that no lock holds back has the result first; nobody can copy it.

    Nobody takes the others for dead, so only the unique index decides.
    """
    no_lock, nobody = (
        "SELECT %s::text IS NOT NULL",
        "SELECT 1 WHERE %s::text = %s::text",
    )
    place.undo.enter_context(patch.object(run_log, "LOCK", no_lock))
    place.undo.enter_context(patch.object(run_log, "ABANDON", nobody))
    place.s3.plan(Fault("CopyObject", SLOW_DOWN, times=ALWAYS))

    def overtake() -> None:
        ended.append(place.site.run().record.status)

    ended: list[str] = []
    place.postgres.act(PUBLISH_BEGIN, overtake)
    place.undo.callback(lambda: _expect(ended, [S3_IS_GONE]))


def _expect(ended: list[str], expected: list[str]) -> None:
    assert ended == expected


# --- full disks


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A disk of its own; making one is up to root."""
    folder = Path(tempfile.mkdtemp(prefix="recon-disk-"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    made = subprocess.run(mount, check=False, capture_output=True)
    try:
        if made.returncode:
            pytest.skip("a disk that can be full is a mount, and this is not allowed")
        yield folder
    finally:
        if not made.returncode:
            umount = ["umount", str(folder)]
            subprocess.run(umount, check=True)
        folder.rmdir()


def grow(folder: Path) -> None:
    remount = ["mount", "-o", "remount,size=200m", str(folder)]
    subprocess.run(remount, check=True)


def large() -> bytes:
    row = b",".join([b"SECRET-" + b"x" * 93] * 10)
    names = b"ID," + b",".join(b"C%d" % at for at in range(10))
    rows = [b"%d,%s" % (at, row) for at in range(6_000)]
    return b"\n".join([names, *rows])


def stage_disk_full(place: Place) -> None:
    place.deliver(OLD, large())
    place.deliver(NEW, large())
    folder = place.undo.enter_context(small_disk("3m"))
    server = Path(str(conninfo_to_dict(place.direct)["host"])).stat()
    os.chown(folder, server.st_uid, server.st_gid)
    name = f"small_{uuid4().hex[:8]}"
    database = conninfo_to_dict(place.direct)["dbname"]
    with psycopg.connect(place.direct, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        connection.execute(f"GRANT CREATE ON TABLESPACE {name} TO recon_app")
        connection.execute(f"ALTER DATABASE {database} SET default_tablespace = {name}")
    place.undo.callback(drop_tablespace, place, name)
    place.full = folder


def drop_tablespace(place: Place, name: str) -> None:
    with psycopg.connect(place.direct, autocommit=True) as connection:
        connection.execute("DROP SCHEMA stage CASCADE")
        connection.execute(f"DROP TABLESPACE {name}")


def spool_disk_full(place: Place) -> None:
    place.deliver(OLD, large())
    place.deliver(NEW, large())
    fill_disk(place)


def unpacking_fills_disk(place: Place) -> None:
    for name in (OLD, NEW):
        place.take_away(name)()
        place.deliver(f"{name}.gz", gzip_of(large()))
    fill_disk(place)


def fill_disk(place: Place) -> None:
    folder = place.undo.enter_context(small_disk("3m"))
    place.undo.enter_context(patch.object(tempfile, "tempdir", str(folder)))
    place.full = folder


DONE = "SUCCEEDED"
AGAIN = "`SUCCEEDED`"
ANEW = "`SUCCEEDED`, with the new input"
FINISHED = "`NO_FILES`, after it has finished the archive"
NOTHING_LEFT = "`NO_FILES`"
WAITS = "`INVALID_FILE_COUNT`: one file waits for its partner"
S3_IS_GONE, DB_IS_GONE = "STORAGE_UNAVAILABLE", "DATABASE_UNAVAILABLE"
# Then a run may stay `STARTED`, until the next one takes it for dead.
LOG_IS_GONE = (DB_IS_GONE, "COMMIT_UNKNOWN")

SCENARIOS = [
    Scenario(
        "S3 asks to slow down, twice",
        s3(Fault("ListObjectsV2", SLOW_DOWN, times=2)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "S3 asks to slow down, without end",
        s3(Fault("ListObjectsV2", SLOW_DOWN, times=ALWAYS)),
        S3_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "503 without end while artifacts are written",
        s3(Fault("PutObject", SLOW_DOWN, times=ALWAYS)),
        S3_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "503 without end while inputs are archived",
        s3(Fault("CopyObject", SLOW_DOWN, times=ALWAYS)),
        S3_IS_GONE,
        FINISHED,
    ),
    Scenario(
        "reset before an answer, twice",
        s3(Fault("GetObject", reset, times=2)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "reset in the middle of a body, three times",
        s3(Fault("GetObject", reset_body, times=3)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "reset in the middle of every body",
        s3(Fault("GetObject", reset_body, times=ALWAYS)),
        S3_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "bodies cut short, three times",
        s3(Fault("GetObject", end_body, times=3)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "no answer for longer than `RECON_S3_TIMEOUT`, once",
        stalling(Fault("HeadObject", stall)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "a body that stalls, once",
        stalling(Fault("GetObject", stall_body)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "no answer at all",
        stalling(Fault("HeadObject", stall, times=ALWAYS)),
        S3_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "reset while artifacts are sent, twice",
        s3(Fault("PutObject", reset, times=2)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "a listing cut short, once",
        s3(Fault("ListObjectsV2", end_body)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "an answer that is not from S3, without end",
        s3(Fault("ListObjectsV2", foreign_page, times=ALWAYS)),
        S3_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "access denied to list",
        s3(Fault("ListObjectsV2", DENIED)),
        "PERMISSION_DENIED",
        AGAIN,
    ),
    Scenario(
        "access denied to read",
        s3(Fault("GetObject", DENIED)),
        "PERMISSION_DENIED",
        AGAIN,
    ),
    Scenario(
        "access denied to write artifacts",
        s3(Fault("PutObject", DENIED)),
        "PERMISSION_DENIED",
        AGAIN,
    ),
    Scenario(
        "access denied to write the manifest",
        s3(Fault("PutObject", DENIED, key="manifest.json")),
        "PERMISSION_DENIED",
        AGAIN,
    ),
    Scenario(
        "access denied to copy",
        s3(Fault("CopyObject", DENIED)),
        "PERMISSION_DENIED",
        FINISHED,
    ),
    Scenario(
        "access denied to delete the second input",
        s3(Fault("DeleteObject", DENIED, key=NEW)),
        "PERMISSION_DENIED",
        FINISHED,
    ),
    Scenario(
        "the token expires before the inputs are read",
        s3(Fault("GetObject", EXPIRED)),
        "PERMISSION_DENIED",
        AGAIN,
    ),
    Scenario(
        "the token expires before the inputs are deleted",
        s3(Fault("DeleteObject", EXPIRED)),
        "PERMISSION_DENIED",
        FINISHED,
    ),
    Scenario(
        "the reply to the manifest is lost",
        s3(Fault("PutObject", lose_reply, key="manifest.json")),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "the replies to the copies are lost",
        s3(Fault("CopyObject", lose_reply, times=2)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "the replies to the deletes are lost",
        s3(Fault("DeleteObject", lose_reply, times=2)),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario(
        "an input replaced between list and head",
        replaced("HeadObject", OLD),
        "INPUT_CHANGED",
        ANEW,
    ),
    Scenario(
        "an input replaced between head and read",
        replaced("GetObject", OLD),
        "INPUT_CHANGED",
        ANEW,
    ),
    Scenario(
        "an input replaced between two ranges of a read",
        small_ranges(replaced("GetObject", OLD, skip=3)),
        "INPUT_CHANGED",
        ANEW,
    ),
    Scenario(
        "an input replaced between read and copy",
        replaced("CopyObject", OLD),
        "ARCHIVE_CONFLICT",
        ANEW,
    ),
    Scenario(
        "an input replaced between copy and delete",
        replaced("DeleteObject", OLD),
        "ARCHIVE_CONFLICT",
        WAITS,
    ),
    Scenario(
        "an input gone between list and head",
        taken_away("HeadObject"),
        "INPUT_CHANGED",
        WAITS,
    ),
    Scenario(
        "an input gone between head and read",
        taken_away("GetObject"),
        "INPUT_CHANGED",
        WAITS,
    ),
    Scenario(
        "an input gone between copy and delete",
        taken_away("DeleteObject"),
        DONE,
        NOTHING_LEFT,
    ),
    Scenario("Postgres refuses connections", refused, DB_IS_GONE, AGAIN),
    Scenario("another worker holds the lock", locked, "BUSY", AGAIN),
    Scenario(
        "a server process killed in the middle of COPY",
        killed_in_copy,
        DB_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "the same with `--stage-loader copy`", killed_in_raw_copy, DB_IS_GONE, AGAIN
    ),
    Scenario(
        "a server process killed by the kernel, and Postgres recovers",
        crashed_in_copy,
        DB_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "the connection cut in the middle of COPY", cut_in_copy, DB_IS_GONE, AGAIN
    ),
    Scenario("a reader keeps a stage table locked", read_in_stage, DB_IS_GONE, AGAIN),
    Scenario(
        "the connection of lock and log killed while an input is read",
        journal_killed_early,
        DB_IS_GONE,
        AGAIN,
    ),
    Scenario(
        "the connection of lock and log killed",
        journal_killed,
        DB_IS_GONE,
        FINISHED,
    ),
    Scenario(
        "another worker has the result first, and S3 cannot copy its inputs",
        overtaken,
        S3_IS_GONE,
        FINISHED,
    ),
    Scenario("the connection cut before COMMIT", cut_before_commit, DB_IS_GONE, AGAIN),
    Scenario("the connection cut after COMMIT", cut_after_commit, DONE, NOTHING_LEFT),
    Scenario(
        "the connection cut after COMMIT, and Postgres refuses others",
        gone_at_commit,
        "COMMIT_UNKNOWN",
        FINISHED,
    ),
    Scenario("the disk of Postgres full", stage_disk_full, "DISK_FULL", AGAIN),
    Scenario("the local disk full (`$TMPDIR`)", spool_disk_full, "DISK_FULL", AGAIN),
    Scenario(
        "the local disk full as inputs are unpacked",
        unpacking_fills_disk,
        "DISK_FULL",
        AGAIN,
    ),
]
