"""The storage protocol, and the helpers that its implementations share."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol

from recon_engine.errors import (
    NO_PATH,
    PATH_HELP,
    ArchiveConflict,
    ConfigError,
    InputChanged,
    InternalError,
    error_from_errno,
)
from recon_engine.model import SourceFile


_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


Advance = Callable[[int], None]


class Storage(Protocol):
    """A place for files. Every read, copy and delete is pinned to what was listed."""

    @property
    def url(self) -> str:
        """The place itself, ending in "/"."""
        ...

    def files(self) -> Iterator[SourceFile]:
        """The data files directly in the place, by name; folders are not entered.

        Folder markers and names that begin with "." or "_" are not data.
        """
        ...

    def identify(self, file: SourceFile) -> SourceFile:
        """The file with what pins its bytes: etag, size and, if there is one, version.

        Raises InputChanged when it is gone, or is not what an etag it has says.
        """
        ...

    def fetch(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Copy exactly the identified bytes to a local path; InputChanged otherwise."""
        ...

    def borrow(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Make the file readable at a local path, without a copy if possible.

        It may be the file itself. The reader must check that it does not change while
        it is read, and that it has the identified digest.
        """
        ...

    def put(self, source: Path, name: str) -> str:
        """Store a file under a relative name, replacing an old one; return its URL."""
        ...

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes unless the name is taken; return whether they were stored."""
        ...

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Store a verified copy of another storage's file under a relative name.

        If the same bytes are already stored there, nothing is done, even if the origin
        no longer exists. Raises ArchiveConflict for other bytes there or at the origin.
        """
        ...

    def remove(self, file: SourceFile) -> bool:
        """Delete the identified file. False when it was already gone.

        Raises ArchiveConflict, and deletes nothing, when other bytes are there now.
        """
        ...


# The same of a file that is written: its folder is missing, it is a folder, its name is
# not valid, or it is a device that is not there.
NOT_WRITABLE = NO_PATH | {errno.ENOENT, errno.EISDIR, errno.EINVAL, errno.ENXIO}
DEVICES = Path("/dev")
PROCESSES = Path("/proc")
SHA256_PREFIX = "sha256:"
PARTS_PREFIX = "parts:"


def check_name(name: str) -> str:
    """The name, if it is relative and stays inside its storage; else ConfigError."""
    # Names come from listings and from rows of the run log, and become parts of paths
    # and keys: none of them may lead out of the storage.
    if "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise ConfigError(
            f"{name!r} is not a name for a file",
            help='names are relative and have no empty, "." or ".." part',
        )
    return name


def is_data(name: str) -> bool:
    """Whether a name in a listing is a data file; other names are logged."""
    if name.startswith((".", "_")) or name.endswith("/"):
        _LOG.info("ignored %r: not a data file", name)
        return False
    return True


def require_etag(file: SourceFile) -> str:
    """The etag that every read, copy and delete of the file has to meet."""
    if file.etag is None:
        raise InternalError(f"{file.name} is used before it was identified")
    return file.etag


def may_have_digest(file: SourceFile, sha256: str) -> bool:
    """Whether bytes of this digest can be those that were identified."""
    etag = require_etag(file)
    # An ETag of S3 is no SHA-256 and proves nothing here: S3 checked it for every
    # range.
    return not etag.startswith(SHA256_PREFIX) or etag == f"{SHA256_PREFIX}{sha256}"


def hash_parts(digests: Iterable[str]) -> str:
    """The SHA-256 of a table in parts: that of the digests of its parts."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def join_parts(url: str, name: str, parts: Sequence[SourceFile]) -> SourceFile:
    """Identified parts as one file; its etag changes with each of them.

    Args:
        url: The place of the parts, ending in "/".
        name: What the set is called, such as a pattern.
        parts: In the order in which they are read.
    """
    etags = [require_etag(part) for part in parts]
    if all(etag.startswith(SHA256_PREFIX) for etag in etags):
        digest = hash_parts(etag.removeprefix(SHA256_PREFIX) for etag in etags)
        etag = f"{SHA256_PREFIX}{digest}"
    else:
        etag = f"{PARTS_PREFIX}{hash_parts(etags)}"
    size = sum(part.size for part in parts)
    return SourceFile(f"{url}{name}", name, size, etag, parts=tuple(parts))


def input_changed(file: SourceFile) -> InputChanged:
    """The error for a file that is gone or holds other bytes."""
    return InputChanged(
        "the file is gone or was replaced since it was listed",
        file=file.name,
        help="run again once the producer has finished",
    )


def archive_conflict(file: SourceFile, place: str) -> ArchiveConflict:
    """The error for a file that can be neither archived nor removed."""
    return ArchiveConflict(
        f"{place} does not hold the bytes that were reconciled",
        file=file.name,
        help="nothing was overwritten or deleted; find out which version is right",
    )


def sha256_of(path: Path) -> str:
    """The digest of a local file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def raise_conflict_if_changed(file: SourceFile, origin: Storage) -> Iterator[None]:
    """Raise ArchiveConflict instead of InputChanged: the origin is being archived."""
    try:
        yield
    except InputChanged:
        raise archive_conflict(file, origin.url) from None


@contextmanager
def translate_disk_errors(name: str) -> Iterator[None]:
    """Raise an error of recon_engine.errors for an OSError, without its text."""
    try:
        yield
    except OSError as error:
        raise error_from_errno(error.errno, name) from None


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Raise an error of recon_engine.errors for a file of a user that is not written.

    A path that no file can have is a ConfigError.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise error_from_errno(error.errno, str(path)) from None
        raise ConfigError(
            "the file cannot be written",
            file=str(path),
            why=error.strerror,
            help=PATH_HELP,
        ) from None


@contextmanager
def replace_at_end(path: Path) -> Iterator[Path]:
    """Yield where to write a file of a user; one that is there stays if that fails.

    A link stays one, and a file keeps its mode. What is no file, such as a pipe or
    /dev/stdout, is yielded itself, and so is a file whose folder takes no other.
    Raises OSError.
    """
    with ExitStack() as stack:
        part = _open_part(path, stack)
        yield part or path
        if part is not None:
            target = path.resolve()
            if target.exists():
                shutil.copymode(target, part)
            part.replace(target)


def _open_part(path: Path, stack: ExitStack) -> Path | None:
    """A new file beside the target of a path; None if none can replace it."""
    try:
        known = path.stat()
    except FileNotFoundError:
        known = None
    if _is_of_stream(path) or (known and not _is_replaceable(path, known)):
        return None
    part = stack.enter_context(hidden_part(path.resolve()))
    try:
        part.touch()
    except PermissionError:
        return None
    return part


def _is_of_stream(path: Path) -> bool:
    """Whether it is open in this process, such as /dev/stdout, or leads to that."""
    while True:
        folder = path.parent.resolve()
        if folder == DEVICES or folder.is_relative_to(PROCESSES):
            return True
        if not path.is_symlink():
            return False
        path = folder / path.readlink()


def _is_replaceable(path: Path, known: os.stat_result) -> bool:
    """Whether another file can take the place of one: not of links, nor of a mount."""
    return (
        stat.S_ISREG(known.st_mode)
        and known.st_nlink == 1
        and os.access(path, os.W_OK)
        and not path.resolve().is_mount()
    )


@contextmanager
def write_atomically(to: Path) -> Iterator[Path]:
    """Yield a hidden path; rename it to `to` at the end, or remove it on an error."""
    with hidden_part(to) as part:
        yield part
        part.replace(to)


@contextmanager
def hidden_part(beside: Path) -> Iterator[Path]:
    """Yield a hidden path in the same folder; a file left there is removed at the end.

    The same folder is the same file system: a rename or link from it is atomic.
    """
    # Random: two writers never share a part. Hidden: `is_data` skips the part that a
    # killed run left in inbound.
    part = beside.with_name(f".{token_hex(8)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
