"""Local folders as storages.

A storage is one flat folder, so inbound, processed and out are three storages. The etag
of a local file is the SHA-256 of its content: modification times prove nothing.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.errors import ArchiveConflict, ConfigError
from recon_engine.model import SourceFile
from recon_engine.records import dataclass
from recon_engine.runtime.progress import ignore_advance
from recon_engine.storage.base import (
    SHA256_PREFIX,
    Advance,
    Storage,
    archive_conflict,
    check_name,
    hidden_part,
    input_changed,
    is_data,
    raise_conflict_if_changed,
    require_etag,
    sha256_of,
    translate_disk_errors,
    write_atomically,
)


if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader, BufferedWriter


# Flushed where the position is a multiple of `_FLUSH_BYTES`: blocks have to divide it.
_BLOCK_BYTES = 4 << 20
_FLUSH_BYTES = 32 << 20
# `link` on a file system without links: exFAT and FAT, some of FUSE and of networks.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine. The etag of a file is the SHA-256 of its content."""

    path: Path

    def __post_init__(self) -> None:
        """Resolve links, so that one folder has one URL."""
        # The class is frozen; its own constructor is the one place that may do this.
        object.__setattr__(self, "path", Path(os.path.realpath(self.path)))

    @property
    def url(self) -> str:
        """The place itself, ending in "/"."""
        return self.path.as_uri().rstrip("/") + "/"

    def files(self) -> Iterator[SourceFile]:
        """The data files directly in the folder, by name."""
        with translate_disk_errors(self.path.name):
            # A list, not a generator: an error of the folder has to occur inside this
            # block.
            listed = [
                file for entry in self._entries() if (file := _listed_file(entry))
            ]
        yield from listed

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(
                f"the folder {self.path} does not exist",
                help="create it, or correct the path",
            ) from None

    def identify(self, file: SourceFile) -> SourceFile:
        """The file with its size and the digest of its content."""
        with translate_disk_errors(file.name), self._open(file) as stream:
            etag = _compute_etag(stream)
            # The size of the hashed bytes: that of the listing may be older.
            size = stream.tell()
        if file.etag not in (None, etag):
            raise input_changed(file)
        return replace(file, size=size, etag=etag)

    def fetch(
        self, file: SourceFile, to: Path, advance: Advance, *, through: bool = False
    ) -> None:
        """Copy the identified bytes and verify their hash on the way.

        `through`: write to disk at once and drop the page cache. For copies that are
        not read soon.
        """
        etag = require_etag(file)
        with translate_disk_errors(file.name), write_atomically(to) as part:
            with self._open(file) as source, part.open("xb") as target:
                copied = _copy_stream(source, target, advance, through=through)
            # Before the rename at the end of the block: `to` never has other bytes.
            if copied != etag:
                raise input_changed(file)

    def borrow(self, file: SourceFile, to: Path, advance: Advance) -> None:
        """Hard-link the file to `to`; copy it where links are not possible."""
        # A link is no copy, so its bytes are not hashed here. The reader hashes what it
        # reads, and the run compares that with the identified digest.
        try:
            to.hardlink_to(os.path.realpath(self._at(file.name)))
        except OSError:
            self.fetch(file, to, advance)
            return
        # Notices most replacements now, and not only after the whole file was read.
        if to.stat().st_size != file.size:
            to.unlink()
            raise input_changed(file)
        advance(file.size)

    def put(self, source: Path, name: str) -> str:
        """Store a file durably (fsync); readers see the old file or the new one."""
        with translate_disk_errors(name):
            target = self._target(name)
            with write_atomically(target) as part:
                with source.open("rb") as stream, part.open("xb") as out:
                    _copy_stream(stream, out, ignore_advance)
                _sync_to_disk(part)
            self._sync_folders(target)
        return target.as_uri()

    def put_once(self, data: bytes, name: str) -> bool:
        """Store bytes durably unless the name is taken."""
        with translate_disk_errors(name):
            target = self._target(name)
            with hidden_part(target) as part:
                part.write_bytes(data)
                return self._claim(part, target)

    def archive(self, file: SourceFile, origin: Storage, name: str) -> str:
        """Store a verified copy; if one is already there, the origin is not needed."""
        # The place is named that there cannot be, not the file on its way there.
        with translate_disk_errors(str(self.path / name)):
            target = self._target(name)
        with translate_disk_errors(file.name):
            # A copy of a run that died later is not made again.
            if not _has_identified_bytes(target, file):
                try:
                    self._take(file, origin, target)
                except ArchiveConflict:
                    # Another worker may have archived and removed it meanwhile.
                    if not _has_identified_bytes(target, file):
                        raise
        return target.as_uri()

    def _take(self, file: SourceFile, origin: Storage, target: Path) -> None:
        with hidden_part(target) as part:
            with raise_conflict_if_changed(file, origin):
                if isinstance(origin, LocalFolder):
                    origin.fetch(file, part, ignore_advance, through=True)
                else:
                    origin.fetch(file, part, ignore_advance)
            if self._claim(part, target):
                return
            # The name was taken after `archive` looked: by the same bytes from another
            # worker, or by other bytes, which are never overwritten.
            if not target.is_file() or sha256_of(part) != sha256_of(target):
                raise archive_conflict(file, self.url)

    def remove(self, file: SourceFile) -> bool:
        """Delete the file if it still has the identified bytes.

        File systems have no conditional delete: a replacement between the last check
        and the delete is not noticed.
        """
        etag = require_etag(file)
        with translate_disk_errors(file.name):
            path = self._at(file.name)
            try:
                if not _is_still(path, etag):
                    raise archive_conflict(file, self.url)
                path.unlink()
            except FileNotFoundError:
                return False
            # The run is recorded as SUCCEEDED next: a crash must not bring the input
            # back.
            _sync_to_disk(path.parent)
        return True

    @contextmanager
    def _open(self, file: SourceFile) -> Iterator[BufferedReader]:
        try:
            stream = self._at(file.name).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise input_changed(file) from None
        with stream:
            yield stream

    def _at(self, name: str) -> Path:
        path = self.path / check_name(name)
        # The folder of the file, because a folder inside the storage may be a link.
        if not Path(os.path.realpath(path.parent)).is_relative_to(self.path):
            raise ConfigError(f"{name!r} leads outside of {self.path}")
        return path

    def _target(self, name: str) -> Path:
        path = self._at(name)
        _make_folder(path.parent)
        return path

    def _claim(self, part: Path, target: Path) -> bool:
        """Give a finished file its name, atomically; False if the name is taken."""
        # The bytes are on disk before the name is: after a crash, a file with this name
        # is whole. Unlike a rename, a link fails if the name is taken.
        _sync_to_disk(part)
        try:
            target.hardlink_to(part)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not _rename_to_free_name(part, target):
                return False
        self._sync_folders(target)
        return True

    def _sync_folders(self, target: Path) -> None:
        # From the file upward: an entry lasts only once its folder is on disk, and that
        # folder may be new as well.
        for folder in target.parents:
            _sync_to_disk(folder)
            if folder == self.path:
                return


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that last: `_sync_folders` sees none above."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    _sync_to_disk(folder.parent)


def _rename_to_free_name(part: Path, target: Path) -> bool:
    """Rename a finished file, where links are not supported; False if it is taken.

    A rename is as atomic as a link, but replaces what has the name. So writers lock the
    folder while they look and rename. A lock ends with its process: it leaves nothing.
    """
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            # NFS locks only what is open for writing, which no folder can be. Then only
            # writers of one name at the same moment are not noticed.
            facts = {"folder": target.parent.as_uri(), "reason": error.strerror}
            _LOG.warning("folder_not_locked", extra=facts)
        if os.path.lexists(target):
            return False
        part.rename(target)
    finally:
        os.close(folder)
    return True


def _listed_file(entry: os.DirEntry[str]) -> SourceFile | None:
    # A link is listed as a link: `inbox` rejects it with an error that names it.
    link = entry.is_symlink()
    name = entry.name if link or entry.is_file() else f"{entry.name}/"
    try:
        size = entry.stat(follow_symlinks=False).st_size if is_data(name) else None
    except FileNotFoundError:
        return None
    if size is None:
        return None
    return SourceFile(Path(entry.path).as_uri(), name, size, is_link=link)


def _compute_etag(stream: BufferedReader) -> str:
    return f"{SHA256_PREFIX}{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _copy_stream(
    source: BufferedReader,
    target: BufferedWriter,
    advance: Advance,
    *,
    through: bool = False,
) -> str:
    """Copy a stream; return the etag of the copied bytes.

    `through`: flush every 32 MiB and drop the pages. The copy then evicts no file that
    is being read from the page cache, and the final sync is short.
    """
    digest = hashlib.sha256()
    while block := source.read(_BLOCK_BYTES):
        target.write(block)
        digest.update(block)
        advance(len(block))
        if through and target.tell() % _FLUSH_BYTES == 0:
            target.flush()
            _write_out(target.fileno())
            # The kernel drops only pages that are on disk, so the sync comes first.
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return f"{SHA256_PREFIX}{digest.hexdigest()}"


def _sync_to_disk(path: Path) -> None:
    """Sync a file to disk, or a folder, whose entries are durable only then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _write_out(descriptor)
    finally:
        os.close(descriptor)


def _write_out(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder, and report EINVAL.
        if error.errno != errno.EINVAL:
            raise


def _has_identified_bytes(target: Path, file: SourceFile) -> bool:
    """Whether the etag proves that a path has the identified bytes."""
    if not target.is_file() or target.stat().st_size != file.size:
        return False
    etag = require_etag(file).strip('"')
    with target.open("rb") as stream:
        # An ETag of S3 is an MD5, unless the object has parts or is encrypted by KMS.
        if re.fullmatch("[0-9a-f]{32}", etag):
            return hashlib.file_digest(stream, _new_md5).hexdigest() == etag
        return _compute_etag(stream) == etag


def _new_md5() -> hashlib._Hash:
    # MD5 only recognizes an ETag. Without the flag, OpenSSL in FIPS mode refuses it.
    return hashlib.md5(usedforsecurity=False)


def _is_still(path: Path, etag: str) -> bool:
    """Whether a path has these bytes and was not replaced while they were hashed."""
    with path.open("rb") as stream:
        before = _file_state(os.fstat(stream.fileno()))
        # The state by path, after the hash: a file that replaced this one has another
        # inode.
        return _compute_etag(stream) == etag and _file_state(path.stat()) == before


def _file_state(stat_result: os.stat_result) -> tuple[int, ...]:
    return (
        stat_result.st_dev,
        stat_result.st_ino,
        stat_result.st_size,
        stat_result.st_mtime_ns,
    )
