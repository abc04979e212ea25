"""Identify files that are not CSV by their first bytes, and suggest a remedy.

A file is identified only after its bytes were refused or lack the key. The first bytes
therefore decide what an error says, never whether a file is read.
"""

from __future__ import annotations

import re
from typing import Final

from recon_engine.errors import MalformedInput
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass


AS_A_FRAME: Final = (
    "export it as CSV, or compare it in Python: recon_engine.diff takes what {} returns"
)
AS_CSV: Final = "save it as CSV in UTF-8"
REPACKED: Final = "unpack it with {}, or compress it as .csv.gz or .csv.zst"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A file format: its name in errors, and the remedy.

    `is_text`: whether files of this format are text, in any encoding.
    """

    what: str
    help: str
    is_text: bool = False


# The first match decides. Marks of plain letters also need a byte that no text has.
_KINDS: Final[tuple[tuple[bytes, FileKind], ...]] = (
    (
        # `PARE` begins a file whose footer is encrypted.
        rb"PAR[1E][\x00-\x08\x0e-\x1f]",
        FileKind("a Parquet file", "rename it to .parquet"),
    ),
    (
        rb"ARROW1\0",
        FileKind("an Arrow IPC file", "rename it to .arrow"),
    ),
    (
        # A mark, then the length of the schema as a little-endian number: below 16 MiB.
        rb"\xff{4}...\0",
        FileKind("an Arrow IPC stream", "rename it to .arrow"),
    ),
    (
        rb"ORC(?=.*\0)",
        FileKind("an ORC file", AS_A_FRAME.format("pyarrow.orc.read_table")),
    ),
    (
        rb"Obj\x01",
        FileKind("an Avro file", AS_A_FRAME.format("polars.read_avro")),
    ),
    (rb"\x1f\x8b", FileKind("a gzip stream", "rename it to .csv.gz, or decompress it")),
    (
        rb"\x28\xb5\x2f\xfd",
        FileKind("a zstd stream", "rename it to .csv.zst, or decompress it"),
    ),
    (
        # The level, then the mark of a block, or that of the end if the stream is
        # empty.
        rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
        FileKind("a bzip2 stream", "rename it to .csv.bz2, or decompress it"),
    ),
    (
        rb"\xfd7zXZ\0",
        FileKind("an xz stream", "rename it to .csv.xz, or decompress it"),
    ),
    (rb"\x04\x22\x4d\x18", FileKind("an LZ4 stream", REPACKED.format("unlz4"))),
    (rb"\x1f\x9d", FileKind("a compress stream (.Z)", REPACKED.format("uncompress"))),
    (rb"7z\xbc\xaf\x27\x1c", FileKind("a 7z archive", REPACKED.format("7z x"))),
    (rb"Rar!\x1a\x07", FileKind("a RAR archive", REPACKED.format("unrar"))),
    (
        rb".{257}ustar",
        FileKind("a tar archive", "unpack it with tar; one CSV file is one input"),
    ),
    (
        # Before the zip archive: a workbook is one.
        rb"PK\x03\x04(?=.*(\[Content_Types\]\.xml|xl/))",
        FileKind("an Excel workbook (.xlsx)", f"{AS_CSV}: Excel calls it CSV UTF-8"),
    ),
    (
        rb"PK\x03\x04(?=.*mimetypeapplication/vnd\.oasis)",
        FileKind("an OpenDocument file", AS_CSV),
    ),
    (
        rb"PK(\x03\x04|\x05\x06)",
        FileKind("a zip archive", "rename it to .zip, or unpack it"),
    ),
    (
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        FileKind("an Excel workbook (.xls)", f"{AS_CSV}: Excel calls it CSV UTF-8"),
    ),
    (rb"SQLite format 3\0", FileKind("an SQLite database", "export its table as CSV")),
    (
        rb"\0{12}\xc2\xea\x81\x60",
        FileKind("a SAS data set (.sas7bdat)", "export it as CSV, with PROC EXPORT"),
    ),
    (
        rb"HEADER RECORD\*{7}LIB",
        FileKind(
            "a SAS transport file (.xpt)", "export it as CSV, with PROC EXPORT", True
        ),
    ),
    (rb"%PDF-", FileKind("a PDF document", "ask for the table itself, as CSV")),
    (
        rb"\s*<(\?xml|!DOCTYPE|html|HTML)",
        FileKind("XML or HTML", "write its records as CSV, one record a line", True),
    ),
    (
        # The byte behind ISA separates elements, of which the first has two characters.
        rb"ISA[^\w\s].{2}[^\w\s]",
        FileKind("an X12 interchange", "write its segments as CSV", True),
    ),
    (rb"MSH\|\^", FileKind("an HL7 message", "write its segments as CSV", True)),
    (
        # Before JSON: a line of it begins likewise.
        rb"\s*\{[^\n]*\}\s*\n\s*\{",
        FileKind("JSON lines", AS_A_FRAME.format("polars.read_ndjson"), True),
    ),
    (
        rb"\s*[\[{]\s*(?=[\[{\"}\]]|\Z)",
        FileKind("JSON", AS_A_FRAME.format("polars.read_json"), True),
    ),
)
_MARKS: Final = tuple((lazy_pattern(mark, re.DOTALL), kind) for mark, kind in _KINDS)


def refuse_kind(kind: FileKind, uri: str) -> MalformedInput:
    """The error for a file of another format than CSV."""
    return MalformedInput(
        f"the file is {kind.what}, not CSV",
        file=uri,
        line=1,
        byte_offset=0,
        why="its first bytes identify this format",
        help=kind.help,
    )


def identify_kind(head: bytes) -> FileKind | None:
    """The format whose signature `head` begins with; None for text and unknown formats.

    262 bytes suffice: the signature of a tar archive ends there, others are shorter or
    search the head they are given.
    """
    return next((kind for mark, kind in _MARKS if mark.match(head)), None)
