"""Sources: small, picklable descriptions of an input that any process can read from.

A source is pinned: a local file by its size and modification time, an object by its
ETag and version. Reading other bytes raises InputChanged.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from recon_engine.errors import ConfigError
from recon_engine.inputs.decoding import is_read_in_place
from recon_engine.inputs.encodings import SAMPLE_BYTES
from recon_engine.inputs.header import (
    parse_header,
    read_header,
    warn_of_data_names,
)
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.storage.base import translate_disk_errors
from recon_engine.storage.local import LocalFolder
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.csv_reader import ReadAt
    from recon_engine.inputs.header import Header
    from recon_engine.model import SourceFile
    from recon_engine.storage.base import Storage
    from recon_engine.storage.s3.prefix import S3Prefix


class ByteSource(Protocol):
    """The bytes of an input, wherever they are. It is small and can be pickled."""

    def opened(self) -> AbstractContextManager[ReadAt]:
        """Open it for the block; yields `read(size, offset)` of the pinned bytes."""
        ...


@dataclass(frozen=True, slots=True)
class FileBytes:
    """`read(size, offset)` of an open file."""

    descriptor: int

    def __call__(self, size: int, offset: int) -> bytes:
        """The bytes at an offset, fewer at the end of the file."""
        return os.pread(self.descriptor, size, offset)


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file on this machine, or on a file system that all machines share."""

    path: Path
    uri: str
    state: tuple[int, ...]

    @classmethod
    def of(cls, header: Header) -> LocalSource:
        """The file of a header, pinned by size and time: inodes differ by machine."""
        return cls(header.path.absolute(), header.uri, header.state[-2:])

    @contextmanager
    def opened(self) -> Iterator[ReadAt]:
        """The file, for as long as the block lasts."""
        if not self.path.exists():
            raise ConfigError(
                "the file does not exist on a machine that runs a task",
                file=self.uri,
                help="use s3:// URLs, or a folder that all machines share; compressed "
                "files and files not in UTF-8 are decoded on the driver's machine",
            )
        with (
            translate_disk_errors(self.uri),
            open_unchanged(self.path, self.uri, self.state) as descriptor,
        ):
            yield FileBytes(descriptor)


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """An object of a storage that supports range reads."""

    place: str
    file: SourceFile

    @contextmanager
    def opened(self) -> Iterator[ReadAt]:
        """The object; each read is one range request, pinned to the ETag."""
        # Only S3 has ranges; a local folder is read as a file (`locate_in_place`).
        place = cast("S3Prefix", open_storage(self.place))
        yield partial(place.read_range, self.file)

    def header(self, side: str, options: Options, limits: Limits) -> Header:
        """The header of the object; nothing else of it is read."""
        with self.opened() as read:
            header = parse_header(
                _ByteStream(read, self.file.size),  # type: ignore[arg-type]
                path=Path(self.file.name),
                uri=self.file.uri,
                state=(),
                delimiter=options.delimiter_of(side),
                limits=limits,
                on_bad_row=options.on_bad_row,
                frame=options.side(side),
            )
        warn_of_data_names(header)
        return header


def locate_in_place(
    place: Storage, file: SourceFile, side: str, options: Options, limits: Limits
) -> tuple[Header, ByteSource] | None:
    """The header and source of a file; None if it must be decompressed or decoded."""
    if not is_read_in_place(file.name, side, options):
        return None
    # Nothing of an object is stored here: the driver and the tasks read ranges of it.
    if not isinstance(place, LocalFolder):
        pinned = ObjectSource(place.url, file)
        return pinned.header(side, options, limits), pinned
    header = read_header(
        place.path / file.name,
        uri=file.uri,
        delimiter=options.delimiter_of(side),
        limits=limits,
        on_bad_row=options.on_bad_row,
        frame=options.side(side),
    )
    return header, LocalSource.of(header)


def read_source_sample(found: tuple[Header, ByteSource], start: int = 0) -> bytes:
    """Up to `SAMPLE_BYTES` of an input, to detect its encoding."""
    with found[1].opened() as read:
        return read(SAMPLE_BYTES, start)


class _ByteStream(io.RawIOBase):
    """A source as a seekable binary stream."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read, self._size, self._at = read, size, 0

    def read(self, size: int = -1) -> bytes:
        data = self._read(self._size if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = base[whence] + offset
        return self._at
