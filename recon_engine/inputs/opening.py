"""Open a delivered file: decode, convert or translate it, then read its header."""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from typing import TYPE_CHECKING

from recon_engine.config import Encoding, Quote
from recon_engine.errors import ConfigError
from recon_engine.inputs.decoding import (
    COLUMNAR,
    DecodedFrom,
    compression_of,
    decode_to_utf8,
    has_other_syntax,
    is_plain_utf8,
)
from recon_engine.inputs.header import (
    HeaderReader,
    annotate_counted_in,
    read_at,
    read_header,
)
from recon_engine.inputs.pinned_file import open_unchanged, state_of
from recon_engine.inputs.trailers import find_end
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.header import Header
    from recon_engine.model import Compression


def open_input(
    path: Path,
    *,
    uri: str,
    side: str,
    options: Options,
    limits: Limits,
    folder: Path,
    progress: Progress = SILENT,
    hashes: bool = True,
) -> Header:
    """Read the header of a delivered file, decoding it into `folder` if needed.

    Args:
        path: The delivered file.
        uri: Its name for errors.
        side: "old" or "new".
        options: Encodings, delimiters and the policy for malformed rows.
        limits: Size limits of the input.
        folder: Where a decoded copy is written.
        progress: Reports decompression.
        hashes: Whether a file that is decoded is hashed.

    Raises what `decode_to_utf8` and `read_header` raise.
    """
    encoding, origin = options.encoding_of(side), None
    kind = compression_of(uri)
    if kind in COLUMNAR:
        return _open_columnar(path, kind, uri, side, options, limits, folder, progress)
    if not is_plain_utf8(uri, encoding):
        source, path = path, folder / f"{side}.utf8"
        size = source.stat().st_size
        with progress.step(f"unpack {side}", total=size, unit="bytes") as advance:
            origin = decode_to_utf8(
                source,
                uri=uri,
                encoding=encoding,
                limits=limits,
                to=path,
                advance=advance,
                member=options.side(side).member,
                flag=options.side(side).flags.spell("member"),
                hashes=hashes,
            )
    delimiter = options.delimiter_of(side)
    if has_other_syntax(side, options):
        source, path = path, folder / f"{side}.csv.utf8"
        size = source.stat().st_size
        with progress.step(f"translate {side}", total=size, unit="bytes") as advance:
            origin, delimiter = _translate(
                source,
                path,
                uri=uri,
                side=side,
                options=options,
                limits=limits,
                origin=origin,
                advance=advance,
            )
    return read_header(
        path,
        uri=uri,
        delimiter=delimiter,
        limits=limits,
        origin=origin,
        on_bad_row=options.on_bad_row,
        frame=options.side(side),
    )


def _open_columnar(
    path: Path,
    kind: Compression,
    uri: str,
    side: str,
    options: Options,
    limits: Limits,
    folder: Path,
    progress: Progress,
) -> Header:
    """The header of a Parquet or Arrow IPC file, which is written as CSV first."""
    from recon_engine.inputs.columnar import write_as_csv
    from recon_engine.inputs.translation import hash_beside

    if options.side(side).is_about_text:
        raise ConfigError(
            f"options about the text of a file do not apply to a {kind} file",
            file=uri,
            help="name them for the other file only, such as"
            f" --{'new' if side == 'old' else 'old'}-skip-lines",
        )
    # The text that is written has commas, whatever `--delimiter` says.
    target, size = folder / f"{side}.columns.csv", path.stat().st_size
    with path.open("rb") as stream:
        state = state_of(stream.fileno())
    with (
        # Nothing is read by this descriptor: the writer and the hash open the file
        # themselves, and its state is compared after both.
        open_unchanged(path, uri, state),
        progress.step(f"convert {side}", total=size, unit="bytes") as advance,
    ):
        nulls, sha256 = hash_beside(
            path, lambda: write_as_csv(path, kind, uri=uri, to=target, advance=advance)
        )
    return read_header(
        target,
        uri=uri,
        limits=limits,
        origin=DecodedFrom(size, sha256, kind, Encoding.UTF_8, nulls=nulls),
        on_bad_row=options.on_bad_row,
        frame=options.side(side),
    )


def _translate(
    source: Path,
    target: Path,
    *,
    uri: str,
    side: str,
    options: Options,
    limits: Limits,
    origin: DecodedFrom | None,
    advance: Callable[[int], None],
) -> tuple[DecodedFrom, str]:
    """Write the table of a text as CSV; what it is made from, and its delimiter."""
    from recon_engine.inputs.translation import Syntax, Translation, hash_beside

    frame, delimiter = options.side(side), options.delimiter_of(side)
    with annotate_counted_in(origin), source.open("rb") as stream:
        state, size = state_of(stream.fileno()), stream.seek(0, os.SEEK_END)
        found = find_end(
            partial(read_at, stream),
            size,
            frame,
            delimiter=delimiter,
            limits=limits,
            uri=uri,
        )
        stream.seek(0)
        # Any delimiter will do: only what is before the table is read.
        reader = HeaderReader(uri, ord(","), limits, frame, found.end)
        reader.open_table(stream)
        syntax = Syntax(
            delimiter=delimiter.encode(),
            quotes=frame.quote is Quote.DOUBLE,
            excel=frame.excel_text,
            columns=frame.columns,
            marks=tuple(prefix.encode() for prefix in frame.trailers),
            field_bytes=limits.field_bytes,
            flags=frame.flags,
        )
        translation = Translation(source, uri, state, syntax, reader.start, found)

        def write() -> int:
            return translation.write(target, advance)

        # A decoded file was hashed as it was delivered, while it was decoded.
        if origin is None:
            unwrapped, sha256 = hash_beside(source, write)
            origin = DecodedFrom(size, sha256, None, Encoding.UTF_8)
        else:
            unwrapped = write()
    made = dataclasses.replace(origin, translation=translation, unwrapped=unwrapped)
    return made, syntax.written
