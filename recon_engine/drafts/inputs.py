"""Make plain local files of two inputs, so that each is fetched and unpacked once."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.config import Encoding
from recon_engine.errors import ConfigError, ReconError
from recon_engine.inputs.columnar import write_as_csv
from recon_engine.inputs.decoding import COLUMNAR, compression_of, decode_to_utf8
from recon_engine.records import dataclass
from recon_engine.storage.base import translate_disk_errors
from recon_engine.storage.urls import fetch_file, local_path


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from recon_engine.config import Limits
    from recon_engine.runtime.progress import Progress


@dataclass(frozen=True, slots=True)
class Input:
    """An input as it was named (`uri`), and a plain local file with its text (`path`).

    `compression`: what was unpacked; None if the file itself is plain.
    """

    uri: str
    path: Path
    compression: str | None

    @property
    def is_table(self) -> bool:
        """Whether the file has a schema, so that nothing is decided about its text."""
        return self.compression in COLUMNAR


def open_plain(
    uri: str, side: str, limits: Limits, stack: ExitStack, progress: Progress
) -> Input:
    """An input as a plain local file; temporary files are registered with `stack`.

    Raises ConfigError if there is no such file, and the errors of decompression.
    """
    kind = compression_of(uri)
    path = Path() if uri.startswith("s3:") else local_path(uri)
    # A plain local file is read in place, not copied.
    if kind is None and path.is_file():
        return Input(uri, path, None)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recon-")))
    if uri.startswith("s3:"):
        with progress.step(f"fetch {side}", unit="bytes") as advance:
            path = fetch_file(uri, folder / "fetched", advance)
    if not path.is_file():
        raise ConfigError(
            "it is a folder" if path.is_dir() else "there is no such file",
            file=uri,
            help="give the path or the s3:// URL of one file"
            + ("; of parts, one of them" if path.is_dir() else ""),
        )
    if kind is None:
        return Input(uri, path, None)
    target, size = folder / f"{side}.csv", path.stat().st_size
    with (
        translate_disk_errors(uri),
        progress.step(f"unpack {side}", total=size, unit="bytes") as advance,
    ):
        if kind in COLUMNAR:
            write_as_csv(path, kind, uri=uri, to=target, advance=advance)
        else:
            # The bytes as they are: which encoding they have is decided later.
            decode_to_utf8(
                path,
                uri=uri,
                encoding=Encoding.UTF_8,
                limits=limits,
                to=target,
                advance=advance,
                # `recon init` has no such option.
                flag=f"recon diff --{side}-member",
                hashes=False,
            )
    return Input(uri, target, kind)


@contextmanager
def name_inputs(inputs: Sequence[Input]) -> Iterator[None]:
    """Name in an error the input as it was given, not the file made of it."""
    try:
        yield
    except ReconError as error:
        for each in inputs:
            # Chained: the file of the error was made of an input with another name.
            if error.file == str(each.path) != each.uri:
                error.file = each.uri
                if each.compression and error.byte_offset is not None:
                    error.counted_in = (
                        "the table as CSV" if each.is_table else "the decompressed text"
                    )
        raise
