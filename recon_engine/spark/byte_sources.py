"""Where the bytes of an input are, so that any process can read some of them.

A source is pinned: to the size and the time of change of a local file, to the ETag and
the version of an object. Who reads other bytes than those raises InputChanged.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recon_engine.errors import ConfigError
from recon_engine.inputs.decoding import is_plain_utf8
from recon_engine.inputs.encodings import SAMPLE_BYTES
from recon_engine.inputs.header import parse_header, read_header
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


class ByteSource(Protocol):
    """Some bytes, wherever they are; it is small, and can be pickled."""

    def opened(self) -> AbstractContextManager[ReadAt]:
        """`read(size, offset)` of exactly these bytes."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file of this machine, or of a file system that all machines share."""

    path: Path
    uri: str
    state: tuple[int, ...]

    @classmethod
    def of(cls, header: Header) -> LocalSource:
        """The file behind a header, by what is alike on all machines."""
        return cls(header.path.absolute(), header.uri, header.state[-2:])

    @contextmanager
    def opened(self) -> Iterator[ReadAt]:
        """The file, for as long as the block lasts."""
        if not self.path.exists():
            raise ConfigError(
                "the file is not on the machine of a task",
                file=self.uri,
                help="give s3:// addresses, or a folder that all machines share; what "
                "is compressed or not in UTF-8 is unpacked where the driver is",
            )
        with (
            translate_disk_errors(self.uri),
            open_unchanged(self.path, self.uri, self.state) as descriptor,
        ):
            yield partial(os.pread, descriptor)


@dataclass(frozen=True, slots=True)
class ObjectSource:
    """An object of a storage that can answer a stretch of it."""

    place: str
    file: SourceFile

    @contextmanager
    def opened(self) -> Iterator[ReadAt]:
        """The object; each stretch is a request of its own, and pinned."""
        place: Any = open_storage(self.place)
        yield partial(place.stretch, self.file)

    def header(self, side: str, options: Options, limits: Limits) -> Header:
        """The header of the object, of which nothing else is read."""
        with self.opened() as read:
            return parse_header(
                _ByteStream(read, self.file.size),  # type: ignore[arg-type]
                path=Path(self.file.name),
                uri=self.file.uri,
                state=(),
                delimiter=options.delimiter_of(side),
                limits=limits,
                on_bad_row=options.on_bad_row,
            )


def locate_in_place(
    place: Storage, file: SourceFile, side: str, options: Options, limits: Limits
) -> tuple[Header, ByteSource] | None:
    """A file of a place, to be read where it is; None of one that is to be unpacked."""
    if not is_plain_utf8(file.name, options.encoding_of(side)):
        return None
    if not isinstance(place, LocalFolder):
        pinned = ObjectSource(place.url, file)
        return pinned.header(side, options, limits), pinned
    header = read_header(
        place.path / file.name,
        uri=file.uri,
        delimiter=options.delimiter_of(side),
        limits=limits,
        on_bad_row=options.on_bad_row,
    )
    return header, LocalSource.of(header)


def head_of_source(found: tuple[Header, ByteSource]) -> bytes:
    """The first bytes of the text of an input, wherever it is."""
    with found[1].opened() as read:
        return read(SAMPLE_BYTES, 0)


class _ByteStream(io.RawIOBase):
    """A source as a stream that is read from its beginning."""

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
