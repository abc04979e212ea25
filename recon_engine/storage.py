"""Where files come from and go to: one protocol, and local folders.

A storage is one flat place (a folder, or a bucket and a prefix ending in "/"), so
inbound, processed and out are three storages. `s3.py` holds the other implementation.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import unquote_to_bytes

from recon_engine.errors import (
    ArchiveConflict,
    ConfigError,
    InputChanged,
    InternalError,
    did_you_mean,
    of_system,
)
from recon_engine.model import SourceFile
from recon_engine.progress import ignore


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader, BufferedWriter

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
        """Have them at a local path only to be read: it may be the file itself.

        Who reads it sees to it that it stays as it is, and has the identified digest.
        """
        ...

    def put(self, source: Path, name: str) -> str:
        """Store a file under a relative name; answer its URL. Same name: replaced."""
        ...

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes unless the name is taken; answer whether they were stored."""
        ...

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Take a verified copy of another storage's file, under a relative name.

        Same bytes there already: nothing to do, also when the origin is gone by now.
        Other bytes there, or other bytes at the origin: ArchiveConflict.
        """
        ...

    def remove(self, file: SourceFile) -> bool:
        """Delete the identified file. False when it was already gone.

        Raises ArchiveConflict, and deletes nothing, when other bytes are there now.
        """
        ...


_BLOCK = 4 << 20
_UNWRITTEN = 32 << 20
_SHA256 = "sha256:"
_HOW_TO_NAME = "give a folder, file:///a/folder or s3://bucket/prefix"
_SCHEMES = ("s3", "file")
_URL = re.compile("(s3|file)(?=:)|[A-Za-z][A-Za-z0-9+.-]*(?=:/)")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
_LOG = logging.getLogger(__name__)


def open_storage(url: str) -> Storage:
    """The place a URL or a path names."""
    if _scheme(url) == "s3":
        # By name, because `s3` stands above this module and a local run never loads it.
        return cast("Storage", import_module("recon_engine.s3").open_prefix(*_s3(url)))
    return LocalFolder(local_path(url))


def fetch_one(url: str, into: Path, advance: Advance = ignore) -> Path:
    """Copy the one file or object a URL names into a local folder."""
    place, name = _split(url)
    try:
        file = place.identify(SourceFile(uri=url, name=name, size=0))
    except InputChanged:
        raise ConfigError(
            f"there is no such file in {place.url}",
            file=name,
            help="look at the spelling; the case of letters counts",
        ) from None
    with disk_errors(name):
        into.mkdir(parents=True, exist_ok=True)
    place.fetch(file, into / name, advance)
    return into / name


def _split(url: str) -> tuple[Storage, str]:
    if _scheme(url) == "s3":
        place, _, name = url.rpartition("/")
        return open_storage(f"{place}/"), checked(name)
    path = local_path(url)
    return LocalFolder(path.parent), checked(path.name)


def _scheme(url: str) -> str | None:
    """What stands before the colon, unless this is a path with a colon in it."""
    found = _URL.match(url)
    if found is None or found[0] in _SCHEMES:
        return found and found[0]
    # Only the scheme is shown: what follows may hold a password or a signature.
    raise ConfigError(
        f"there is no storage of the kind {found[0]}."
        f"{did_you_mean(found[0], _SCHEMES)}",
        help=_HOW_TO_NAME,
    )


def _s3(url: str) -> tuple[str, str]:
    """Bucket and prefix, as they are: a key may hold every sign a URL reserves."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ConfigError("the s3 URL does not name a bucket", help=_HOW_TO_NAME)
    return bucket, prefix


def local_path(url: str) -> Path:
    """The path that a path or a file URL names; ConfigError for other kinds."""
    path = url if _scheme(url) is None else _file(url)
    if not path or "\0" in path:
        raise ConfigError("the path does not name a folder", help=_HOW_TO_NAME)
    return Path(path)


def _file(url: str) -> str:
    host, slash, path = url.removeprefix("file://").partition("/")
    here = url.startswith("file://") and slash and host in ("", "localhost")
    if not here or "?" in path or "#" in path:
        raise ConfigError(
            "the file URL does not name a folder of this machine",
            help=f'{_HOW_TO_NAME}; in a URL write "?" as %3F and "#" as %23',
        )
    return f"/{os.fsdecode(unquote_to_bytes(path))}"


def checked(name: str) -> str:
    """A relative name that stays below its place."""
    if "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise ConfigError(
            f"{name!r} is not a name for a file",
            help='names are relative and have no empty, "." or ".." part',
        )
    return name


def is_data(name: str) -> bool:
    """Whether a name in a listing is an input; what is not is logged, by name only."""
    if name.startswith((".", "_")) or name.endswith("/"):
        _LOG.info("ignored %r: not a data file", name)
        return False
    return True


def pinned(file: SourceFile) -> str:
    """The etag that every read, copy and delete of the file has to meet."""
    if file.etag is None:
        raise InternalError(f"{file.name} is used before it was identified")
    return file.etag


def may_be(file: SourceFile, sha256: str) -> bool:
    """Whether bytes of this digest can be those that were identified."""
    etag = pinned(file)
    return not etag.startswith(_SHA256) or etag == f"{_SHA256}{sha256}"


def changed(file: SourceFile) -> InputChanged:
    """The error for a file that is gone or holds other bytes."""
    return InputChanged(
        "the file is gone or was replaced since it was listed",
        file=file.name,
        help="run again once the producer has finished",
    )


def conflict(file: SourceFile, place: str) -> ArchiveConflict:
    """The error for a file that can be neither archived nor removed."""
    return ArchiveConflict(
        f"{place} does not hold the bytes that were reconciled",
        file=file.name,
        help="nothing was overwritten or deleted; see which of the two is meant",
    )


def sha256_of(path: Path) -> str:
    """The digest of a local file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def archiving(file: SourceFile, origin: Storage) -> Iterator[None]:
    """A read for the archive: an origin that changed is a conflict, not an input."""
    try:
        yield
    except InputChanged:
        raise conflict(file, origin.url) from None


@contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """The border of the file system: its text may quote anything and stays behind."""
    try:
        yield
    except OSError as error:
        raise of_system(error.errno, name) from None


@contextmanager
def appearing(to: Path) -> Iterator[Path]:
    """A hidden name that becomes `to` when the block ends, and nothing if it fails."""
    with _scratch(to) as part:
        yield part
        part.replace(to)


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    part = beside.with_name(f".{token_hex(8)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine. The etag of a file is the SHA-256 of its content."""

    path: Path

    def __post_init__(self) -> None:
        """One folder has one name, whatever links lead to it."""
        object.__setattr__(self, "path", Path(os.path.realpath(self.path)))

    @property
    def url(self) -> str:
        """The place itself, ending in "/"."""
        return self.path.as_uri().rstrip("/") + "/"

    def files(self) -> Iterator[SourceFile]:
        """The data files directly in the folder, by name."""
        with disk_errors(self.path.name):
            listed = [file for entry in self._entries() if (file := _listed(entry))]
        yield from listed

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"there is no folder {self.path}",
                help="create it, or mend the place the files are read from",
            ) from None

    def identify(self, file: SourceFile) -> SourceFile:
        """The file with its size and the digest of its content."""
        with disk_errors(file.name), self._open(file) as stream:
            etag = _etag(stream)
            size = stream.tell()
        if file.etag not in (None, etag):
            raise changed(file)
        return replace(file, size=size, etag=etag)

    def fetch(
        self, file: SourceFile, to: Path, advance: Advance, *, through: bool = False
    ) -> None:
        """Copy the identified bytes, hashing them on the way.

        `through`: nobody reads them soon, so they go to the disk as they come.
        """
        etag = pinned(file)
        with disk_errors(file.name), appearing(to) as part:
            with self._open(file) as source, part.open("xb") as target:
                copied = _copy(source, target, advance, through=through)
            if copied != etag:
                raise changed(file)

    def borrow(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Give the file a second name; copy it where it can have none."""
        try:
            to.hardlink_to(os.path.realpath(self._at(file.name)))
        except OSError:
            self.fetch(file, to, advance)
            return
        if to.stat().st_size != file.size:
            to.unlink()
            raise changed(file)
        advance(file.size)

    def put(self, source: Path, name: str) -> str:
        """Store a file durably; readers see the old one or the new one, whole."""
        with disk_errors(name):
            target = self._target(name)
            with appearing(target) as part:
                with source.open("rb") as stream, part.open("xb") as out:
                    _copy(stream, out, ignore)
                _sync(part)
            self._sync_folders(target)
        return target.as_uri()

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes durably unless the name is taken."""
        with disk_errors(name):
            target = self._target(name)
            with _scratch(target) as part:
                part.write_bytes(data)
                return self._claim(part, target)

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Take a verified copy; a copy that is there already needs no origin."""
        with disk_errors(file.name):
            target = self._target(name)
            if not _holds(target, file):
                self._take(file, origin, target)
        return target.as_uri()

    def _take(self, file: SourceFile, origin: Storage, target: Path) -> None:
        with _scratch(target) as part:
            with archiving(file, origin):
                if isinstance(origin, LocalFolder):
                    origin.fetch(file, part, ignore, through=True)
                else:
                    origin.fetch(file, part, ignore)
            if self._claim(part, target):
                return
            if not target.is_file() or sha256_of(part) != sha256_of(target):
                raise conflict(file, self.url)

    def remove(self, file: SourceFile) -> bool:
        """Delete the file if it still has the identified bytes.

        A folder knows no conditional delete: a replacement within the instant between
        the last look and the delete is not seen.
        """
        etag = pinned(file)
        with disk_errors(file.name):
            path = self._at(file.name)
            try:
                if not _is_still(path, etag):
                    raise conflict(file, self.url)
                path.unlink()
            except FileNotFoundError:
                return False
            _sync(path.parent)
        return True

    @contextmanager
    def _open(self, file: SourceFile) -> Iterator[BufferedReader]:
        try:
            stream = self._at(file.name).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise changed(file) from None
        with stream:
            yield stream

    def _at(self, name: str) -> Path:
        path = self.path / checked(name)
        if not Path(os.path.realpath(path.parent)).is_relative_to(self.path):
            raise ConfigError(f"{name!r} leads out of {self.path}")
        return path

    def _target(self, name: str) -> Path:
        path = self._at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _claim(self, part: Path, target: Path) -> bool:
        """Give finished bytes their name, unless it is taken: link() is atomic."""
        _sync(part)
        try:
            target.hardlink_to(part)
        except FileExistsError:
            return False
        self._sync_folders(target)
        return True

    def _sync_folders(self, target: Path) -> None:
        for folder in target.parents:
            _sync(folder)
            if folder == self.path:
                return


def _listed(entry: os.DirEntry[str]) -> SourceFile | None:
    # A link is listed as itself, wherever it leads: who reads the listing refuses it.
    link = entry.is_symlink()
    name = entry.name if link or entry.is_file() else f"{entry.name}/"
    try:
        size = entry.stat(follow_symlinks=False).st_size if is_data(name) else None
    except FileNotFoundError:
        return None
    if size is None:
        return None
    return SourceFile(Path(entry.path).as_uri(), name, size, is_link=link)


def _etag(stream: BufferedReader) -> str:
    return f"{_SHA256}{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _copy(
    source: BufferedReader,
    target: BufferedWriter,
    advance: Advance,
    *,
    through: bool = False,
) -> str:
    """Copy all of a stream; answer the etag of what was copied.

    `through`: what nobody reads soon is written as it comes. It takes no memory from
    what is read, and the sync at its end is short.
    """
    digest = hashlib.sha256()
    while block := source.read(_BLOCK):
        target.write(block)
        digest.update(block)
        advance(len(block))
        if through and target.tell() % _UNWRITTEN == 0:
            target.flush()
            _write_out(target.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return f"{_SHA256}{digest.hexdigest()}"


def _sync(path: Path) -> None:
    """Bring a file or a folder's names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _write_out(descriptor)
    finally:
        os.close(descriptor)


def _write_out(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Network file systems that cannot sync a folder say EINVAL.
        if error.errno != errno.EINVAL:
            raise


def _holds(target: Path, file: SourceFile) -> bool:
    """Whether a path provably has the identified bytes, by the etag alone."""
    if not target.is_file() or target.stat().st_size != file.size:
        return False
    etag = pinned(file).strip('"')
    with target.open("rb") as stream:
        if re.fullmatch("[0-9a-f]{32}", etag):  # S3, neither in parts nor under KMS
            return hashlib.file_digest(stream, _md5).hexdigest() == etag
        return _etag(stream) == etag


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _is_still(path: Path, etag: str) -> bool:
    """Whether a path has these bytes, and had them all the while they were read."""
    with path.open("rb") as stream:
        before = _state(os.fstat(stream.fileno()))
        return _etag(stream) == etag and _state(path.stat()) == before


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
