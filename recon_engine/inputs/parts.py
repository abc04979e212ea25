"""The parts of one table: a folder or a prefix, or the files that a pattern matches.

Each part is read and checked by itself, so that its errors have its own name, line and
byte. Their rows are then joined to one CSV file on local disk.
"""

from __future__ import annotations

import dataclasses
import glob
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from recon_engine.errors import ConfigError, MalformedInput, SchemaMismatch
from recon_engine.formatting import format_count
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.decoding import DecodedFrom, PartPlace
from recon_engine.inputs.header import Header, read_header
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.trailer_sums import check_sums
from recon_engine.storage.base import hash_parts
from recon_engine.suggestions import escape_bytes


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.csvfile import CsvFile

COPY_BYTES: Final = 1 << 20
# Names that tools give to files beside the parts, such as `_SUCCESS`.
BESIDE: Final = (".", "_")


def open_parts(
    uri: str,
    parts: Sequence[tuple[Path, str]],
    *,
    side: str,
    options: Options,
    limits: Limits,
    folder: Path,
    advance: Callable[[int], None],
) -> Header:
    """Read and join the parts of a table; the header of the joined file.

    Args:
        uri: The folder or the pattern, for errors.
        parts: The path of each part and its name for errors, in their order.
        side: "old" or "new".
        options: As for one file; each part has a header and a trailer as they say.
        limits: Size limits of each part.
        folder: Where the joined file is written.
        advance: Called with the number of bytes of each part.

    Raises:
        ConfigError: Two parts are of formats with different delimiters.
        SchemaMismatch: A part has other columns than the first.
        MalformedInput: Two parts have the same bytes and rows; or as for one file.
    """
    target = folder / f"{side}.parts.csv"
    places, digests, size = list[PartPlace](), list[str](), 0
    names: dict[str, str] = {}
    first: Header | None = None
    counts: dict[str, int] = {"parts": len(parts)}
    with target.open("xb") as stream:
        line = 1
        for number, (path, name) in enumerate(parts):
            own = folder / f"{side}.{number}"
            own.mkdir()
            header = open_input(
                path, uri=name, side=side, options=options, limits=limits, folder=own
            )
            file = read_rows(header)
            check_sums([header], [file], options)
            digests.append(_check_part(first, header, file, names))
            if first is None:
                first = header
                head = b"" if _has_no_header(header) else header.raw[header.start :]
                stream.write(head and _ended(head))
                # A header without a newline is written with one.
                line += head.count(b"\n") or int(bool(head))
            is_translated = header.origin and header.origin.translation
            found = file.rejects.sample if is_translated else ()
            places.append(
                PartPlace(
                    name,
                    stream.tell(),
                    line,
                    len(header.raw),
                    header.lines,
                    {each.line: each.byte_offset for each in found},
                )
            )
            line += _copy_rows(header, file, stream)
            size += file.bytes
            for option, count in header.found_frame.items():
                counts[option] = counts.get(option, 0) + count
            advance(file.bytes)
            # At once, so that the disk holds one decoded part at a time.
            _remove(own)
    assert first is not None  # noqa: S101 - there is a part
    origin = DecodedFrom(
        size,
        hash_parts(digests),
        first.compression,
        first.encoding,
        parts=tuple(places),
    )
    joined = read_header(
        target,
        uri=uri,
        delimiter=first.delimiter,
        limits=limits,
        origin=origin,
        on_bad_row=options.on_bad_row,
        # What surrounds the table of a part was read with the part. The joined file has
        # none of it.
        frame=first.frame.without_surroundings(),
    )
    return dataclasses.replace(joined, written=first.written, found_frame=counts)


def list_parts(path: Path) -> list[tuple[Path, str]]:
    """The files of a folder or a pattern with their names, by name.

    Raises ConfigError if there are none.
    """
    # A pattern may be absolute, which `Path.glob` does not take.
    found = path.iterdir() if path.is_dir() else map(Path, glob.iglob(str(path)))  # noqa: PTH207
    parts = sorted((each for each in found if each.is_file()), key=str)
    parts = [each for each in parts if not each.name.startswith(BESIDE)]
    if not parts:
        raise no_parts(escape_bytes(str(path)), is_folder=path.is_dir())
    return [(each, escape_bytes(str(each))) for each in parts]


def would_be_part(path: Path, source: Path) -> bool:
    """Whether a file of this path, once written, is one of the parts of a source.

    `source`: a folder or a pattern, as for `list_parts`.
    """
    if path.name.startswith(BESIDE):
        return False
    if source.is_dir():
        folders = [source]
    elif fnmatchcase(path.name, source.name):
        folders = [Path(each) for each in glob.iglob(str(source.parent))]  # noqa: PTH207
    else:
        return False
    return any(path.absolute().parent.samefile(each) for each in folders)


def no_parts(uri: str, *, is_folder: bool) -> ConfigError:
    """The error for a folder, a prefix or a pattern without a file."""
    return ConfigError(
        "the folder has no file" if is_folder else "no file has such a name",
        file=uri,
        help="give a folder or a quoted pattern with the parts of one table",
    )


def _check_part(
    first: Header | None, header: Header, file: CsvFile, names: dict[str, str]
) -> str:
    """The digest of a part; refuse one that does not belong here, or is there twice.

    `names`: of the parts before it, by their digests. This one is added.
    """
    if first is not None and header.delimiter != first.delimiter:
        # A columnar part has commas, whatever the option says.
        kinds = {each.compression or "text" for each in (first, header)}
        raise ConfigError(
            f"the parts are of several formats: {' and '.join(sorted(kinds))}",
            file=header.uri,
            why=f"{first.uri} is another format, whose fields have another delimiter",
            help="give the parts of one format only, or export all as CSV with commas",
        )
    if first is not None and header.columns != first.columns:
        raise SchemaMismatch(
            "a part has other columns than the first part",
            file=header.uri,
            line=1,
            why=f"{first.uri} has {format_count(len(first.columns), 'column')}, and"
            f" this part {format_count(len(header.columns), 'column')}; all names have"
            " to be equal, in the same order",
            help="deliver parts of one table only",
        )
    assert file.sha256 is not None  # noqa: S101 - parts are hashed
    twin = names.get(file.sha256)
    if twin is not None and (file.rows or file.rejects.count):
        raise MalformedInput(
            f"a part has the same bytes as {twin}",
            file=header.uri,
            why="the same rows would be counted twice",
            help="deliver each part once",
        )
    names.setdefault(file.sha256, header.uri)
    return file.sha256


def _has_no_header(header: Header) -> bool:
    return header.frame.no_header or bool(header.frame.fixed)


def _ended(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\n"


def _copy_rows(header: Header, file: CsvFile, target: BinaryIO) -> int:
    """Append the rows of a part, each with a newline; returns the newlines written."""
    lines, last = 0, b"\n"
    with header.path.open("rb") as stream:
        stream.seek(len(header.raw))
        left = _end_of_rows(stream, header, file) - len(header.raw)
        stream.seek(len(header.raw))
        while left > 0 and (data := stream.read(min(left, COPY_BYTES))):
            target.write(data)
            lines, last, left = lines + data.count(b"\n"), data[-1:], left - len(data)
    if last != b"\n":
        target.write(b"\n")
        lines += 1
    return lines


def _end_of_rows(stream: BinaryIO, header: Header, file: CsvFile) -> int:
    """The offset behind the last row, before blank lines at the end."""
    end = header.end
    blank = file.dialect.trailing_blank_lines
    while blank and end > len(header.raw):
        stream.seek(end - 2)
        two = stream.read(2)
        end -= 1 + (two == b"\r\n")
        blank -= 1
    return max(end, len(header.raw))


def _remove(folder: Path) -> None:
    """Remove the decoded copy of a part."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
