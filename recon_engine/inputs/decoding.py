"""An input as it was delivered becomes text in UTF-8: unpacked and transcoded at once.

What is plain UTF-8 already is read where it lies. All else goes to local disk in one
pass, in bounded memory, and what was delivered is hashed on the way. Nothing is guessed
and nothing replaced: a stream that is cut, corrupt or followed by other bytes is
refused, and so is a byte that its encoding does not have.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NoReturn

from recon_engine.config import Encoding
from recon_engine.errors import EncodingError, MalformedInput, ReconError, Trial
from recon_engine.inputs.encodings import tried_wide
from recon_engine.inputs.file_kinds import identify_kind, refuse_kind
from recon_engine.inputs.pinned_file import open_unchanged, state_of
from recon_engine.runtime.progress import ignore_advance


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from recon_engine.config import Limits
    from recon_engine.model import Compression


# Neither pyarrow's stream nor zstandard's reader tells where a stream ends or breaks,
# and the latter takes a cut one for whole. zlib and Python's own zstd do.
READ_BYTES: Final = 1 << 16
CHUNK_BYTES: Final = 1 << 20
# A file that unpacks to no more than this is no bomb, however dense it is.
HARMLESS_BYTES: Final = 16 << 20
MAGIC_BYTES: Final = 4
NAMES: Final = "name it as what it is: .csv, .csv.gz or .csv.zst"
# The longest head of a zstd frame, and how far back one may refer: what zstd itself
# unpacks without being told to take more memory.
HEAD_BYTES: Final = 18
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
MAX_WINDOW_BYTES: Final = 128 << 20

UTF_32: Final = "utf-32"
BOMS: Final = (
    (b"\xef\xbb\xbf", Encoding.UTF_8),
    (b"\xff\xfe\0\0", UTF_32),
    (b"\0\0\xfe\xff", UTF_32),
    (b"\xff\xfe", Encoding.UTF_16_LE),
    (b"\xfe\xff", Encoding.UTF_16_BE),
)


@dataclass(frozen=True, slots=True)
class DecodedFrom:
    """What a text in UTF-8 was made from: an input as it was delivered."""

    bytes: int
    sha256: str
    compression: Compression | None
    encoding: Encoding

    @property
    def counted_in(self) -> str:
        """What the lines and bytes of a place in the text count in."""
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
) -> DecodedFrom:
    """Make the text of an input, in `to`.

    `.gz` or `.zst` at the end of `uri` say how it is compressed. `advance` hears the
    bytes read. Raises MalformedInput and EncodingError with the place in the file as
    it was delivered (a byte that is not text in a compressed one: as it is
    decompressed), and InputChanged.
    """
    compression = compression_of(uri)
    with path.open("rb") as stream:
        state = state_of(stream.fileno())
    with (
        open_unchanged(path, uri, state) as descriptor,
        open(descriptor, "rb", closefd=False) as stream,
        to.open("xb") as target,
    ):
        source = _DeliveredBytes(stream, uri, advance)
        data = source.blocks()
        if compression:
            data = _Unpacker(source, _FORMATS[compression], limits).texts()
        if encoding is not Encoding.UTF_8:
            counted = "the decompressed file" if compression else None
            data = _Transcoder(uri, encoding, counted).texts(data)
        for text in data:
            target.write(text)
    digest = source.sha256.hexdigest()
    return DecodedFrom(source.read, digest, compression, encoding)


def is_plain_utf8(uri: str, encoding: Encoding) -> bool:
    """Whether an input is its own text in UTF-8."""
    return compression_of(uri) is None and encoding is Encoding.UTF_8


def compression_of(name: str) -> Compression | None:
    """What the name of a file says it is compressed by."""
    lower = name.lower()
    return next((kind for end, kind in _SUFFIXES.items() if lower.endswith(end)), None)


class _DeliveredBytes:
    """The bytes as they were delivered; `read` and `sha256` are of those read."""

    def __init__(
        self, stream: BinaryIO, uri: str, advance: Callable[[int], None]
    ) -> None:
        self.stream = stream
        self.uri = uri
        self.advance = advance
        self.size = os.fstat(stream.fileno()).st_size
        self.read = 0
        self.sha256 = hashlib.sha256()

    def next(self) -> bytes:
        data = self.stream.read(READ_BYTES)
        self.read += len(data)
        self.sha256.update(data)
        self.advance(len(data))
        return data

    def blocks(self) -> Iterator[bytes]:
        while data := self.next():
            yield data


class _Unpacker:
    """What a stream of one or more members unpacks to."""

    def __init__(
        self, source: _DeliveredBytes, form: _CompressedFormat, limits: Limits
    ) -> None:
        self.source = source
        self.form = form
        self.limits = limits
        self.most = max(HARMLESS_BYTES, limits.ratio * source.size)

    def texts(self) -> Iterator[bytes]:
        """The text in pieces; no more of it than the limits allow."""
        total = 0
        for text in self.members():
            total += len(text)
            if total > self.most:
                self.refuse(
                    f"it unpacks to more than {self.limits.ratio:,} times its size",
                    why="a stream so dense is rather a bomb than a table",
                    help="--max-ratio N, if it is meant to be so dense",
                )
            yield text

    def members(self) -> Iterator[bytes]:
        data = self.source.next()
        while data:
            while len(data) < HEAD_BYTES and (more := self.source.next()):
                data += more
            self.check_magic(data)
            self.check_window(data)
            member = self.form.new()
            while not member.eof:
                data = data or self.source.next()
                if not data:
                    self.refuse(
                        f"the {self.form.name} stream is cut off",
                        at=self.source.read,
                        why="it ends before its own end mark",
                    )
                yield from self.unpack_piece(member, data)
                data = b""
            data = member.unused_data or self.source.next()

    def unpack_piece(self, member: Any, data: bytes) -> Iterator[bytes]:
        """What one more piece of a member unpacks to."""
        try:
            yield from self.form.pour(member, data)
        except self.form.error:
            corrupt = True
        else:
            corrupt = False
        if corrupt:
            self.refuse(
                f"the {self.form.name} stream is corrupt",
                at=self.source.read - len(data),
                why=f"it fails its own checks within {len(data):,} bytes from here",
            )

    def check_magic(self, data: bytes) -> None:
        if data.startswith(self.form.magics):
            return
        at = self.source.read - len(data)
        if at:
            self.refuse(
                f"other bytes follow the end of the {self.form.name} stream",
                at=at,
                why="nobody can tell whether they are rows",
                help="pack the file again",
            )
        kind = identify_kind(data)
        self.refuse(
            f"the file is {kind.what}, not a {self.form.name} stream"
            if kind
            else f"the file is not a {self.form.name} stream",
            at=0,
            why="its name says that it is one",
            help=kind.help if kind else NAMES,
        )

    def check_window(self, data: bytes) -> None:
        if (
            data.startswith(ZSTD_MAGIC)
            and (window := _zstd_window_bytes(data)) > MAX_WINDOW_BYTES
        ):
            self.refuse(
                f"to unpack the zstd stream takes a window of {window >> 20:,} MiB",
                at=self.source.read - len(data),
                why=f"no more than {MAX_WINDOW_BYTES >> 20} MiB of memory"
                " are given to that",
                help="pack the file again without --long, or unpack it before",
            )

    def refuse(
        self,
        message: str,
        *,
        at: int | None = None,
        why: str,
        help: str = "deliver the file again, whole",  # noqa: A002 - as in ReconError
    ) -> NoReturn:
        raise MalformedInput(
            message, file=self.source.uri, byte_offset=at, why=why, help=help
        )


@dataclass(frozen=True, slots=True)
class _CompressedFormat:
    """A kind of compressed stream, and what its library says of it.

    `pour` gives what some bytes unpack to, a bounded piece at a time: a few bytes may
    hold gigabytes.
    """

    name: Compression
    magics: tuple[bytes, ...]
    new: Callable[[], Any]
    pour: Callable[[Any, bytes], Iterator[bytes]]
    error: type[Exception]


def _unpack_gzip(member: Any, data: bytes) -> Iterator[bytes]:
    while True:
        text = member.decompress(data, CHUNK_BYTES)
        yield text
        data = member.unconsumed_tail
        if member.eof or (not data and len(text) < CHUNK_BYTES):
            return


def _unpack_zstd(member: Any, data: bytes) -> Iterator[bytes]:
    while True:
        yield member.decompress(data, CHUNK_BYTES)
        data = b""
        if member.eof or member.needs_input:
            return


def _zstd_window_bytes(head: bytes) -> int:
    """How many bytes back a zstd frame may refer (RFC 8878, section 3.1.1.1)."""
    head = head.ljust(HEAD_BYTES, b"\0")
    descriptor = head[MAGIC_BYTES]
    if not descriptor & 0x20:
        exponent, eighths = divmod(head[MAGIC_BYTES + 1], 8)
        return (8 + eighths) << (7 + exponent)
    # A frame of one segment is its own window.
    start = MAGIC_BYTES + 1 + (0, 1, 2, 4)[descriptor & 3]
    width = 1 << (descriptor >> 6)
    return int.from_bytes(head[start : start + width], "little")


_SUFFIXES: Final[Mapping[str, Compression]] = {".gz": "gzip", ".zst": "zstd"}
_FORMATS: Final[Mapping[Compression, _CompressedFormat]] = {
    "gzip": _CompressedFormat(
        "gzip",
        (b"\x1f\x8b",),
        lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS),
        _unpack_gzip,
        zlib.error,
    ),
    "zstd": _CompressedFormat(
        "zstd",
        # Frames, and the sixteen kinds of skippable frames, in which tools keep notes.
        (
            ZSTD_MAGIC,
            *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)),
        ),
        zstd.ZstdDecompressor,
        _unpack_zstd,
        zstd.ZstdError,
    ),
}


class _Transcoder:
    """Bytes of an encoding as UTF-8; `offset` and `line` are of the next byte."""

    def __init__(self, uri: str, encoding: Encoding, counted_in: str | None) -> None:
        self.uri = uri
        self.encoding = encoding
        self.counted_in = counted_in
        self.name = str(encoding)
        self.offset = 0
        self.line = 1

    def texts(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The text in UTF-8, in pieces; a byte order mark stays one."""
        first = b""
        for data in blocks:
            first += data
            if len(first) >= MAGIC_BYTES:
                break
        self.refuse_binary(first)
        self.name = self.codec(first)
        decoder = codecs.getincrementaldecoder(self.name)()
        yield self.utf8(decoder, first)
        for data in blocks:
            yield self.utf8(decoder, data)
        yield self.utf8(decoder, b"", final=True)

    def codec(self, first: bytes) -> str:
        """The codec of the bytes; a byte order mark may settle it, never contradict."""
        found = next((kind for mark, kind in BOMS if first.startswith(mark)), None)
        if found is None and self.encoding is Encoding.UTF_16:
            self.reject_byte_order_mark(
                "the file has no byte order mark",
                "--encoding utf-16-le, as Windows writes it, or utf-16-be",
            )
        if found is not None and not found.startswith(self.encoding):
            self.reject_byte_order_mark(
                f"the file begins with the byte order mark of {found}",
                "save it as UTF-8" if found == UTF_32 else f"--encoding {found}",
                None if found == UTF_32 else tried_wide(first, Encoding(found)),
            )
        return found or self.encoding

    def refuse_binary(self, first: bytes) -> None:
        """Refuse what is no text at all, of which some encodings decode each byte."""
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
            why=f"--encoding says that it is {self.encoding}",
            help=remedy,
        )
        refused.trial = trial
        raise refused

    def utf8(
        self, decoder: codecs.IncrementalDecoder, data: bytes, *, final: bool = False
    ) -> bytes:
        start = self.offset - len(decoder.getstate()[0])
        refusal: ReconError | None = None
        try:
            text = decoder.decode(data, final)
        except UnicodeDecodeError as error:
            refusal = self.refusal(error, start)
        if refusal:
            raise refusal
        self.offset += len(data)
        self.line += text.count("\n")
        return text.encode()

    def refusal(self, error: UnicodeDecodeError, start: int) -> ReconError:
        """The place of a byte that is no text; never the byte."""
        before = error.object[: error.start].decode(self.name)
        return EncodingError(
            f"a byte that is not {self.encoding}",
            file=self.uri,
            line=self.line + before.count("\n"),
            byte_offset=start + error.start,
            counted_in=self.counted_in,
            why="the file is not all written in the encoding that was named",
            help="--encoding with the one it is written in, or save it as UTF-8",
        )
