"""Decode an input to UTF-8 text: decompress and transcode in one pass.

Plain UTF-8 is read where it is. Everything else is written to local disk in one pass
and bounded memory, and the delivered bytes are hashed on the way. Nothing is guessed or
replaced: a truncated or corrupt stream, trailing bytes and a byte that is invalid in
the encoding are errors.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import hashlib
import lzma
import os
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from recon_engine.characters import escaped
from recon_engine.config import ONE_CHARACTER, Encoding, Quote
from recon_engine.errors import EncodingError, MalformedInput, ReconError, Trial
from recon_engine.inputs.encodings import tried_wide
from recon_engine.inputs.file_kinds import identify_kind, refuse_kind
from recon_engine.inputs.native.binding import transcode_file
from recon_engine.inputs.pinned_file import open_unchanged, state_of
from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import LazyModule
from recon_engine.runtime.progress import ignore_advance
from recon_engine.suggestions import did_you_mean, join_names


if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from recon_engine.config import Limits, Options
    from recon_engine.inputs.translation import Translation
    from recon_engine.model import Compression

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
else:
    zipfile = LazyModule("zipfile")
    zstd = LazyModule(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )


# zlib and Python's own zstd report where a stream ends or breaks. pyarrow's stream and
# zstandard's reader do not, and the latter accepts a truncated stream.
READ_BYTES: Final = 1 << 16
CHUNK_BYTES: Final = 1 << 20
# A text of up to 16 MiB is harmless at any compression ratio.
HARMLESS_BYTES: Final = 16 << 20
MAGIC_BYTES: Final = 4
NAMES: Final = (
    "rename it to match its content: .csv, .csv.gz, .csv.zst, .csv.bz2, .csv.xz or .zip"
)
# The longest header of a zstd frame, and the largest window: the default limit of the
# zstd command line (`--long` raises it).
HEAD_BYTES: Final = 18
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
MAX_WINDOW_BYTES: Final = 128 << 20

UTF_32: Final = "utf-32"
# UTF-32 before UTF-16: its little-endian mark begins with that of UTF-16.
BOMS: Final = (
    (b"\xef\xbb\xbf", Encoding.UTF_8),
    (b"\xff\xfe\0\0", UTF_32),
    (b"\0\0\xfe\xff", UTF_32),
    (b"\xff\xfe", Encoding.UTF_16_LE),
    (b"\xfe\xff", Encoding.UTF_16_BE),
)


@dataclass(frozen=True, slots=True)
class PartPlace:
    """Where the rows of a part begin: in the joined text, and in the part itself.

    `offset`, `line`: in the joined text; `header_bytes`, `header_lines`: what is before
    the rows in the part. `rejects`: of a part that was translated, the offsets of its
    quarantined rows as delivered, by their lines; those of the others are computed.
    """

    uri: str
    offset: int
    line: int
    header_bytes: int
    header_lines: int
    rejects: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class DecodedFrom:
    """The delivered file that a UTF-8 text was made from.

    `bytes` and `sha256` are those of the delivered file; it may not be hashed (None).
    `translation`: the text that CSV was translated from, if it had another syntax;
    `unwrapped`: how many of its fields had the form of Excel. `nulls`: those of a
    Parquet or Arrow file, which are read as blanks; None for text. `parts`: those that
    were joined, if there are any.
    """

    bytes: int
    sha256: str | None
    compression: Compression | None
    encoding: Encoding
    translation: Translation | None = None
    unwrapped: int = 0
    nulls: int | None = None
    parts: tuple[PartPlace, ...] = ()

    @property
    def counted_in(self) -> str | None:
        """The text that line numbers and byte offsets refer to, for error messages.

        None if it is the file as delivered.
        """
        if self.parts:
            return "the joined parts"
        if not self.compression and self.encoding is Encoding.UTF_8:
            return None
        if self.compression in COLUMNAR:
            return "the table as CSV"
        unpacked = "decompressed " if self.compression else ""
        transcoded = " in UTF-8" if self.encoding is not Encoding.UTF_8 else ""
        return f"the {unpacked}text{transcoded}"


def decode_to_utf8(
    path: Path,
    *,
    uri: str,
    encoding: Encoding,
    limits: Limits,
    to: Path,
    advance: Callable[[int], None] = ignore_advance,
    member: str = "",
    flag: str = "--member",
    hashes: bool = True,
) -> DecodedFrom:
    """Write the UTF-8 text of an input to the new file `to`.

    Args:
        path: The delivered file.
        uri: Its name for errors; a suffix such as `.gz` selects the compression.
        encoding: The encoding of the (decompressed) text.
        limits: `limits.ratio` bounds the size of the decompressed text.
        to: The file to create; it must not exist.
        advance: Called with the number of bytes of each read.
        member: The member of a zip archive, if it has several.
        flag: The option that names it, for errors.
        hashes: Whether the delivered bytes are hashed.

    Raises:
        MalformedInput: The stream is corrupt, truncated or too dense.
        EncodingError: A byte is invalid; its place is that in the decompressed text.
        InputChanged: The file was modified while it was read.
    """
    compression = compression_of(uri)
    with path.open("rb") as stream:
        state = state_of(stream.fileno())
    with (
        open_unchanged(path, uri, state) as descriptor,
        open(descriptor, "rb", closefd=False) as stream,
        to.open("xb") as target,
    ):
        source = _DeliveredBytes(stream, uri, advance, hashes=hashes)
        counted = "the decompressed file" if compression else None
        transcoder = _Transcoder(uri, encoding, counted)
        if not compression and transcoder.write_natively(descriptor, target, advance):
            source.hash_all()
            return DecodedFrom(source.size, source.digest, None, encoding)
        data = source.read_blocks()
        if compression == "zip":
            for _ in data:  # hashed as a whole: its directory is at its end
                pass
            data = _ZipReader(source, limits, member, flag).read_text()
        elif compression:
            data = _Unpacker(source, _FORMATS[compression], limits).read_text()
        if encoding is not Encoding.UTF_8:
            data = transcoder.transcode(data)
        for text in data:
            target.write(text)
    return DecodedFrom(source.read, source.digest, compression, encoding)


def is_plain_utf8(uri: str, encoding: Encoding) -> bool:
    """Whether an input can be read in place: uncompressed UTF-8."""
    return compression_of(uri) is None and encoding is Encoding.UTF_8


def is_read_in_place(uri: str, side: str, options: Options) -> bool:
    """Whether an input is read where it is: plain UTF-8 in the syntax of CSV."""
    plain = is_plain_utf8(uri, options.encoding_of(side))
    return plain and not has_other_syntax(side, options)


def has_other_syntax(side: str, options: Options) -> bool:
    """Whether the text of an input is translated to CSV before it is read."""
    own, delimiter = options.side(side), options.delimiter_of(side)
    return bool(
        own.fixed
        or own.excel_text
        or own.quote is Quote.NONE
        or not ONE_CHARACTER.fullmatch(delimiter)
    )


def compression_of(name: str) -> Compression | None:
    """The compression that a file name's suffix selects; None for other names."""
    lower = name.lower()
    return next((kind for end, kind in _SUFFIXES.items() if lower.endswith(end)), None)


class _ZipReader:
    """Decompress one member of a zip archive."""

    def __init__(
        self, source: _DeliveredBytes, limits: Limits, member: str, flag: str
    ) -> None:
        self.source = source
        self.limits = limits
        self.member = member
        self.flag = flag

    def read_text(self) -> Iterator[bytes]:
        """Yield the text in pieces; raise MalformedInput for what cannot be read."""
        refusal: MalformedInput | None = None
        try:
            with zipfile.ZipFile(self.source.stream) as archive:
                yield from self.read_member(archive, self.choose(archive))
        except MalformedInput:
            raise
        except (
            # The first four are those of the formats. `zipfile` checks no length or
            # offset of a directory before it uses it.
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            struct.error,
            IndexError,
            ValueError,
            OverflowError,
            OSError,
        ) as error:
            # bz2 raises an OSError without a number, and a damaged directory may name a
            # place before the file. Any other one is of the system.
            known = {None, errno.EINVAL}
            if isinstance(error, OSError) and error.errno not in known:
                raise
            refusal = self.error(
                "the zip archive is corrupt or truncated",
                why="its directory or its member cannot be read",
            )
        except (RuntimeError, NotImplementedError):
            refusal = self.error(
                "the member of the zip archive cannot be read",
                why="it is encrypted, or compressed by a method that is not read:"
                " deflate, bzip2 and LZMA are",
                help="pack the file again without a password, with deflate",
            )
        if refusal is not None:
            raise refusal

    def choose(self, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
        """The member that is read."""
        found = [
            each
            for each in archive.infolist()
            if not each.is_dir() and not each.filename.startswith("__MACOSX/")
        ]
        names = [each.filename for each in found]
        if self.member:
            named = [each for each in found if each.filename == self.member]
            if len(named) == 1:
                return named[0]
            raise self.error(
                f"the zip archive has no member {self.member}"
                + did_you_mean(self.member, names)
                if not named
                else f"the zip archive has {len(named)} members {self.member}",
                why=f"{self.flag} names it",
                help="name one of: " + join_names(map(escaped, names)),
            )
        if len(found) == 1:
            return found[0]
        raise self.error(
            f"the zip archive has {len(found):,} members",
            why="one file is one table",
            help=f"name one with {self.flag}: {join_names(map(escaped, names))}"
            if found
            else "deliver an archive with one file",
        )

    def read_member(
        self, archive: zipfile.ZipFile, member: zipfile.ZipInfo
    ) -> Iterator[bytes]:
        most = max(HARMLESS_BYTES, self.limits.ratio * self.source.size)
        total = 0
        with archive.open(member) as stream:
            while data := stream.read(CHUNK_BYTES):
                total += len(data)
                if total > most:
                    raise self.error(
                        f"it expands to more than {self.limits.ratio:,} times its size",
                        why="a compression ratio this high looks like a decompression"
                        " bomb",
                        help="raise --max-ratio if the file is valid",
                    )
                yield data

    def error(
        self,
        message: str,
        *,
        why: str,
        help: str = "deliver the complete file again",  # noqa: A002 - as in ReconError
    ) -> MalformedInput:
        return MalformedInput(message, file=self.source.uri, why=why, help=help)


class _DeliveredBytes:
    """A stream that counts the bytes it returns (`read`), and hashes them if asked.

    `size`: all of its bytes.
    """

    def __init__(
        self,
        stream: BinaryIO,
        uri: str,
        advance: Callable[[int], None],
        *,
        hashes: bool,
    ) -> None:
        self.stream = stream
        self.uri = uri
        self.advance = advance
        self.size = os.fstat(stream.fileno()).st_size
        self.read = 0
        self._sha256 = hashlib.sha256() if hashes else None

    @property
    def digest(self) -> str | None:
        """The SHA-256 of what was returned, in hexadecimal."""
        return None if self._sha256 is None else self._sha256.hexdigest()

    def hash_all(self) -> None:
        """Hash the bytes, none of which was returned, without returning them."""
        while self._sha256 is not None and (data := self.stream.read(CHUNK_BYTES)):
            self._sha256.update(data)

    def read_next(self) -> bytes:
        data = self.stream.read(READ_BYTES)
        self.read += len(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        self.advance(len(data))
        return data

    def read_blocks(self) -> Iterator[bytes]:
        while data := self.read_next():
            yield data


class _Unpacker:
    """Decompress a stream of one or more members."""

    def __init__(
        self, source: _DeliveredBytes, form: _CompressedFormat, limits: Limits
    ) -> None:
        self.source = source
        self.form = form
        self.limits = limits
        self.most = max(HARMLESS_BYTES, limits.ratio * source.size)

    def read_text(self) -> Iterator[bytes]:
        """Yield the text in pieces; raise MalformedInput beyond the size limit."""
        total = 0
        for text in self.read_members():
            total += len(text)
            if total > self.most:
                self.refuse(
                    f"it expands to more than {self.limits.ratio:,} times its size",
                    why="a compression ratio this high looks like a decompression bomb",
                    help="raise --max-ratio if the file is valid",
                )
            yield text

    def read_members(self) -> Iterator[bytes]:
        data = self.source.read_next()
        while data:
            # A member may begin with the last bytes of a read, and its header decides
            # whether it is accepted.
            while len(data) < HEAD_BYTES and (more := self.source.read_next()):
                data += more
            self.check_magic(data)
            self.check_window(data)
            member = self.form.new()
            while not member.eof:
                data = data or self.source.read_next()
                if not data:
                    self.refuse(
                        f"the {self.form.name} stream is truncated",
                        offset=self.source.read,
                        why="it ends before its end-of-stream marker",
                    )
                yield from self.unpack_piece(member, data)
                data = b""
            # What follows is the next member, or bytes that `check_magic` refuses.
            data = member.unused_data or self.source.read_next()

    def unpack_piece(self, member: Any, data: bytes) -> Iterator[bytes]:
        """Decompress one more piece of a member."""
        try:
            yield from self.form.unpack(member, data)
        except self.form.errors():
            corrupt = True
        else:
            corrupt = False
        # Outside of the handler, as in `_Transcoder.decode_to_utf8`.
        if corrupt:
            self.refuse(
                f"the {self.form.name} stream is corrupt",
                offset=self.source.read - len(data),
                why=f"decompression fails within the next {len(data):,} bytes",
            )

    def check_magic(self, data: bytes) -> None:
        if data.startswith(self.form.magics):
            return
        at = self.source.read - len(data)
        # The first member was read to its end: this is no file of another format.
        if at:
            self.refuse(
                f"extra bytes follow the end of the {self.form.name} stream",
                offset=at,
                why="they may be rows, and would be lost",
                help="compress the file again",
            )
        kind = identify_kind(data)
        self.refuse(
            f"the file is {kind.what}, not a {self.form.name} stream"
            if kind
            else f"the file is not a {self.form.name} stream",
            offset=0,
            why="its file extension says that it is one",
            help=kind.help if kind else NAMES,
        )

    def check_window(self, data: bytes) -> None:
        if (
            data.startswith(ZSTD_MAGIC)
            and (window := _zstd_window_bytes(data)) > MAX_WINDOW_BYTES
        ):
            self.refuse(
                f"the zstd stream needs a window of {window >> 20:,} MiB",
                offset=self.source.read - len(data),
                why=f"the limit is {MAX_WINDOW_BYTES >> 20} MiB",
                help="compress the file again without --long, or decompress it first",
            )

    def refuse(
        self,
        message: str,
        *,
        offset: int | None = None,
        why: str,
        help: str = "deliver the complete file again",  # noqa: A002 - as in ReconError
    ) -> NoReturn:
        raise MalformedInput(
            message, file=self.source.uri, byte_offset=offset, why=why, help=help
        )


@dataclass(frozen=True, slots=True)
class _CompressedFormat:
    """A compressed stream format and the library that reads it.

    `unpack` yields the decompressed bytes in pieces of at most `CHUNK_BYTES`, because a
    few bytes may expand to gigabytes. `new` and `errors` are functions: a library is
    imported for a stream of its format only.
    """

    name: Compression
    magics: tuple[bytes, ...]
    new: Callable[[], Any]
    unpack: Callable[[Any, bytes], Iterator[bytes]]
    errors: Callable[[], tuple[type[Exception], ...]]


def _unpack_gzip(member: Any, data: bytes) -> Iterator[bytes]:
    while True:
        text = member.decompress(data, CHUNK_BYTES)
        yield text
        data = member.unconsumed_tail
        # A full chunk may have more behind it inside zlib, even if its input is used
        # up.
        if member.eof or (not data and len(text) < CHUNK_BYTES):
            return


def _unpack_by_need(member: Any, data: bytes) -> Iterator[bytes]:
    while True:
        yield member.decompress(data, CHUNK_BYTES)
        data = b""
        if member.eof or member.needs_input:
            return


def _zstd_window_bytes(head: bytes) -> int:
    """The window size that a zstd frame header declares (RFC 8878, section 3.1.1.1)."""
    head = head.ljust(HEAD_BYTES, b"\0")
    descriptor = head[MAGIC_BYTES]
    if not descriptor & 0x20:
        exponent, eighths = divmod(head[MAGIC_BYTES + 1], 8)
        return (8 + eighths) << (7 + exponent)
    # A frame of one segment is its own window.
    start = MAGIC_BYTES + 1 + (0, 1, 2, 4)[descriptor & 3]
    width = 1 << (descriptor >> 6)
    return int.from_bytes(head[start : start + width], "little")


_SUFFIXES: Final[Mapping[str, Compression]] = {
    ".gz": "gzip",
    ".zst": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".zip": "zip",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
COLUMNAR: Final = ("parquet", "arrow")
_FORMATS: Final[Mapping[Compression, _CompressedFormat]] = {
    "gzip": _CompressedFormat(
        "gzip",
        (b"\x1f\x8b",),
        lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS),
        _unpack_gzip,
        lambda: (zlib.error,),
    ),
    "zstd": _CompressedFormat(
        "zstd",
        # Frames, and the sixteen kinds of skippable frames, in which tools keep notes.
        (
            ZSTD_MAGIC,
            *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)),
        ),
        lambda: zstd.ZstdDecompressor(),  # noqa: PLW0108 - imported when called
        _unpack_by_need,
        lambda: (zstd.ZstdError,),
    ),
    "bzip2": _CompressedFormat(
        "bzip2",
        (b"BZh",),
        bz2.BZ2Decompressor,
        _unpack_by_need,
        lambda: (OSError, ValueError),
    ),
    "xz": _CompressedFormat(
        "xz",
        (b"\xfd7zXZ\0",),
        # As much as a window of zstd may take, and the tables beside it.
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * MAX_WINDOW_BYTES),
        _unpack_by_need,
        lambda: (lzma.LZMAError,),
    ),
}


class _Transcoder:
    """Transcode bytes to UTF-8; `offset` and `line` are those of the next byte."""

    def __init__(self, uri: str, encoding: Encoding, counted_in: str | None) -> None:
        self.uri = uri
        self.encoding = encoding
        self.counted_in = counted_in
        self.name = str(encoding)
        self.offset = 0
        self.line = 1

    def transcode(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the text as UTF-8, in pieces; a byte order mark is kept."""
        # A byte order mark has up to four bytes, and a read may return fewer.
        first = b""
        for data in blocks:
            first += data
            if len(first) >= MAGIC_BYTES:
                break
        self.refuse_binary(first)
        self.name = self.choose_codec(first)
        decoder = codecs.getincrementaldecoder(self.name)()
        yield self.decode_to_utf8(decoder, first)
        for data in blocks:
            yield self.decode_to_utf8(decoder, data)
        yield self.decode_to_utf8(decoder, b"", final=True)

    def write_natively(
        self, source: int, target: BinaryIO, advance: Callable[[int], None]
    ) -> bool:
        """Write a file as UTF-8 by the native kernel, in few calls.

        False writes nothing: if a character may have several bytes, there is no kernel,
        or a byte is no character, which `transcode` reports.
        """
        if not self.encoding.has_one_byte:
            return False
        first = os.pread(source, READ_BYTES, 0)
        self.refuse_binary(first)
        self.choose_codec(first)
        if transcode_file(source, target.fileno(), self.name, advance):
            return True
        target.seek(0)
        target.truncate()
        return False

    def choose_codec(self, first: bytes) -> str:
        """The codec to decode with.

        Raise EncodingError if a byte order mark contradicts it.
        """
        found = next((kind for mark, kind in BOMS if first.startswith(mark)), None)
        if found is None and self.encoding is Encoding.UTF_16:
            self.reject_byte_order_mark(
                "the file has no byte order mark",
                "use --encoding utf-16-le (written by Windows) or utf-16-be",
            )
        if found is not None and not found.startswith(self.encoding):
            self.reject_byte_order_mark(
                f"the file begins with the byte order mark of {found}",
                "save it as UTF-8" if found == UTF_32 else f"--encoding {found}",
                None if found == UTF_32 else tried_wide(first, Encoding(found)),
            )
        return found or self.encoding

    def refuse_binary(self, first: bytes) -> None:
        """Raise MalformedInput for binary formats: some encodings accept every byte."""
        kind = identify_kind(first)
        if kind is not None and not kind.is_text:
            error = refuse_kind(kind, self.uri)
            error.counted_in = self.counted_in
            raise error

    def reject_byte_order_mark(
        self, message: str, remedy: str, trial: Trial | None = None
    ) -> NoReturn:
        refused = EncodingError(
            message,
            file=self.uri,
            line=1,
            byte_offset=0,
            counted_in=self.counted_in,
            why=f"--encoding is {self.encoding}",
            help=remedy,
        )
        refused.trial = trial
        raise refused

    def decode_to_utf8(
        self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool = False
    ) -> bytes:
        # The decoder may hold the first bytes of a character of the last block.
        start = self.offset - len(decoder.getstate()[0])
        refusal: ReconError | None = None
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            refusal = self.encoding_error(error, start)
        # Outside of the handler: UnicodeDecodeError holds the bytes, and must not be
        # the context of the error that is raised.
        if refusal:
            raise refusal
        self.offset += len(data)
        self.line += text.count("\n")
        return text.encode()

    def encoding_error(self, error: UnicodeDecodeError, start: int) -> ReconError:
        """The error for an invalid byte: its place, never its value."""
        before = error.object[: error.start].decode(self.name)
        return EncodingError(
            f"a byte that is not {self.encoding}",
            file=self.uri,
            line=self.line + before.count("\n"),
            byte_offset=start + error.start,
            counted_in=self.counted_in,
            why="the file contains bytes that are invalid in the given encoding",
            help="pass the encoding of the file with --encoding, or save it as UTF-8",
        )
