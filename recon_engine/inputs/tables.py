"""Open two inputs as tables: validated, not yet digested or compared.

What needs Polars is imported by the functions that use it: files are opened before it.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.config import LIMITS, Limits, Options
from recon_engine.errors import ConfigError
from recon_engine.inputs.decoding import is_read_in_place
from recon_engine.inputs.encodings import name_both_encodings, open_both
from recon_engine.inputs.header import Header, read_sample
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.scanning import KernelRefusal
from recon_engine.model import SIDES
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.storage.base import translate_disk_errors
from recon_engine.storage.urls import local_path
from recon_engine.suggestions import escape_bytes


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.frames import Frame
    from recon_engine.inputs.scanning import Scanning
    from recon_engine.model import SourceFile
    from recon_engine.storage.base import Storage

    Unread = Header | Frame
    Table = CsvFile | Frame


STANDARD_INPUT: Final = "-"
PIPE_BYTES: Final = 1 << 20


@contextmanager
def open_headers(
    old: object,
    new: object,
    options: Options,
    limits: Limits = LIMITS,
    progress: Progress = SILENT,
) -> Iterator[tuple[Unread, Unread]]:
    """Yield both inputs with their headers read; temporary files live as long."""
    with ExitStack() as stack:
        left, right = both_unread(old, new, options, limits, stack, progress)
        yield without_hashes(left), without_hashes(right)


def without_hashes(side: Unread) -> Unread:
    """The same, of which no SHA-256 is computed."""
    return replace(side, hashes=False) if isinstance(side, Header) else side


@contextmanager
def open_tables(
    old: Unread,
    new: Unread,
    options: Options,
    progress: Progress,
    scanning: Scanning | None,
) -> Iterator[tuple[Table, Table]]:
    """Yield both inputs, read completely; raises the errors of `read_rows`.

    `scanning`: the pass of both files through the native kernel, if it applies; it is
    closed here. `csv_reader` reads files that the kernel does not accept.
    """
    from recon_engine.inputs.trailer_sums import check_sums

    with ExitStack() as stack:
        files = None
        if scanning is not None:
            from recon_engine.inputs.scanned import open_scanned

            with suppress(KernelRefusal):
                files = stack.enter_context(open_scanned(scanning, progress))
        tables = (
            read_both_tables(old, new, options, progress)
            if files is None
            else (files[0].file(), files[1].file())
        )
        check_sums((old, new), tables, options)
        yield tables


def read_both_tables(
    old: Unread, new: Unread, options: Options, progress: Progress = SILENT
) -> tuple[Table, Table]:
    """Read both inputs completely; raises the errors of `read_rows`."""
    sides = (old, new)
    with name_both_encodings(
        options, sides, lambda side, start: read_sample(sides[side], start)
    ):
        left, right = map_ordered(
            lambda side: _read_table(*side, progress), zip(SIDES, sides, strict=True)
        )
    return left, right


def _read_table(name: str, side: Unread, progress: Progress) -> Table:
    if not isinstance(side, Header):
        return side
    # Lazy: if the kernel reads both files, this reader is not needed.
    from recon_engine.inputs.csv_reader import read_rows

    with progress.step(f"read {name}", total=side.bytes, unit="bytes") as advance:
        return read_rows(side, advance=advance)


def _no_file(path: Path, uri: str) -> ConfigError:
    """The error for a path that cannot be read as a table, by what is at the path."""
    if path.exists():
        text, remedy = "it is a device", "write it to a file first, and give its path"
    else:
        text, remedy = "there is no such file", "give the path of a CSV file"
    return ConfigError(text, file=uri, help=remedy)


def are_parts(uri: str) -> bool:
    """Whether an input is a folder, or a pattern that is no name of a file."""
    path = local_path(uri)
    # `Path` raises for a name that is too long: it is reported where it is opened.
    is_there = os.path.exists(path)  # noqa: PTH110
    is_folder = os.path.isdir(path)  # noqa: PTH112
    return is_folder or (glob.has_magic(str(path)) and not is_there)


def is_piped(uri: str) -> bool:
    """Whether an input is standard input or a pipe, which can be read only once."""
    try:
        return uri == STANDARD_INPUT or Path(uri).is_fifo()
    except OSError:
        # What is wrong is reported where it is opened.
        return False


def _spool(uri: str, to: Path, advance: Callable[[int], None]) -> Path:
    """Write what comes from standard input or a pipe to a file."""
    with ExitStack() as stack:
        stream: BinaryIO = (
            sys.stdin.buffer
            if uri == STANDARD_INPUT
            else stack.enter_context(Path(uri).open("rb"))
        )
        target = stack.enter_context(to.open("xb"))
        while data := stream.read(PIPE_BYTES):
            target.write(data)
            advance(len(data))
    return to


def both_unread(
    old: object,
    new: object,
    options: Options,
    limits: Limits,
    stack: ExitStack,
    progress: Progress,
    *,
    hashes: bool = True,
) -> tuple[Unread, Unread]:
    """Open both inputs and read their headers.

    Files are opened concurrently. Frames are imported one after the other, because two
    relations of one DuckDB connection share one result set.

    Args:
        old: A path, an s3:// URL, or a frame.
        new: The same.
        options: Encodings, delimiters and the policy for malformed rows.
        limits: Size limits of the inputs.
        stack: Removes the temporary files when it closes.
        progress: Reports download and decompression.
        hashes: Whether a file that is decoded is hashed.

    Raises ConfigError for an input that is neither, and the errors of `read_header`.
    """
    if str(old) == str(new) == STANDARD_INPUT:
        raise ConfigError(
            "both files are standard input", help="give one of them as a path"
        )
    files = all(isinstance(source, str | Path) for source in (old, new))
    return open_both(
        lambda side: open_side(*side, options, limits, stack, progress, hashes=hashes),
        zip((old, new), SIDES, strict=True),
        options,
        read_sample,
        each=map_ordered if files else map,
    )


def open_side(
    source: object,
    name: str,
    options: Options,
    limits: Limits,
    stack: ExitStack,
    progress: Progress,
    *,
    hashes: bool = True,
) -> Unread:
    """Open one input and read its header; temporary files are registered with `stack`.

    Args:
        source: A path, an s3:// URL, a frame, or a file that is open already.
        name: "old" or "new".
        options: Encodings, delimiters and the policy for malformed rows.
        limits: Size limits of the input.
        stack: Removes the temporary files when it closes.
        progress: Reports download and decompression.
        hashes: Whether a file that is decoded is hashed.
    """
    if isinstance(source, Header):
        return source
    if not isinstance(source, str | Path):
        from recon_engine.inputs.frames import import_frame

        return import_frame(source, name)
    uri, folder = str(source), Path()
    remote, piped = uri.startswith("s3:"), is_piped(uri)
    # Only what is copied needs a folder: a plain local file is read in place.
    if remote or piped or not is_read_in_place(uri, name, options):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recon-")))
    if remote:
        from recon_engine.storage.urls import fetch_file, list_objects

        if listed := list_objects(uri):
            return fetch_parts(uri, *listed, name, options, limits, folder, progress)
        with progress.step(f"fetch {name}", unit="bytes") as advance:
            path = fetch_file(uri, folder / "fetched", advance)
    elif are_parts(uri):
        from recon_engine.inputs.parts import list_parts, open_parts

        # `folder` exists only if the name of the parts, or an option, requires a copy.
        # Parts are joined to one in any case.
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recon-")))
        with (
            translate_disk_errors(uri),
            progress.step(f"join {name}", unit="bytes") as advance,
        ):
            path = local_path(uri)
            return open_parts(
                escape_bytes(str(path)),
                list_parts(path),
                side=name,
                options=options,
                limits=limits,
                folder=own,
                advance=advance,
            )
    elif piped:
        with translate_disk_errors(uri), progress.step(f"read {name}") as advance:
            path = _spool(uri, folder / "piped", advance)
    else:
        path = local_path(uri)
        # For people: the path was made of the name as it is.
        uri = escape_bytes(uri)
    with translate_disk_errors(uri):
        if not path.is_file():
            raise _no_file(path, uri)
        return open_input(
            path,
            uri=uri,
            side=name,
            options=options,
            limits=limits,
            folder=folder,
            progress=progress,
            hashes=hashes,
        )


def fetch_parts(
    uri: str,
    place: Storage,
    files: Sequence[SourceFile],
    side: str,
    options: Options,
    limits: Limits,
    folder: Path,
    progress: Progress,
) -> Header:
    """Fetch the parts of a table from a storage, and join them in `folder`.

    Args:
        uri: What the table is called in errors.
        place: Where the parts are.
        files: The parts in their order, with the etags that pin them.
        side: "old" or "new".
        options: As for one file.
        limits: Size limits of each part.
        folder: A folder for the copies, which are removed here, and for the table.
        progress: Reports both steps.

    Raises ConfigError if there is no part, and what `open_parts` raises.
    """
    from recon_engine.inputs.parts import no_parts, open_parts
    from recon_engine.storage.urls import fetch_objects

    if not files:
        raise no_parts(uri, is_folder=uri.endswith("/"))
    copies, size = folder / f"{side}.fetched", sum(file.size for file in files)
    with progress.step(f"fetch {side}", total=size, unit="bytes") as advance:
        paths = fetch_objects(place, files, copies, advance)
    names = (file.uri for file in files)
    with progress.step(f"join {side}", unit="bytes") as advance:
        header = open_parts(
            uri,
            list(zip(paths, names, strict=True)),
            side=side,
            options=options,
            limits=limits,
            folder=folder,
            advance=advance,
        )
    shutil.rmtree(copies)
    return header
