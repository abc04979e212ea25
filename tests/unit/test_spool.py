"""Compressed and transcoded inputs: the same text, or a refusal that says where."""

from __future__ import annotations

import codecs
import functools
import hashlib
import itertools
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flags import diff
from support.packed import PACK, gzip_of, zstd_of

from recon_engine.config import LIMITS, Encoding, Limits, parse_encodings
from recon_engine.errors import (
    ConfigError,
    EmptyFile,
    EncodingError,
    InputChanged,
    InputError,
    MalformedInput,
)
from recon_engine.inputs import decoding
from recon_engine.inputs.decoding import DecodedFrom, decode_to_utf8
from recon_engine.inputs.native import binding


if TYPE_CHECKING:
    from pathlib import Path


TEXT = b"id,v\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(9_000))
NOTE = b"\x5e\x2a\x4d\x18\x04\0\0\0note"


@pytest.fixture(params=PACK)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def text_of(
    folder: Path,
    data: bytes,
    name: str,
    encoding: Encoding = Encoding.UTF_8,
    limits: Limits = LIMITS,
) -> tuple[bytes, DecodedFrom]:
    (folder / name).write_bytes(data)
    to = folder / "text"
    to.unlink(missing_ok=True)
    origin = decode_to_utf8(
        folder / name, uri=name, encoding=encoding, limits=limits, to=to
    )
    return to.read_bytes(), origin


def refused(
    folder: Path,
    data: bytes,
    name: str,
    encoding: Encoding = Encoding.UTF_8,
    limits: Limits = LIMITS,
) -> InputError:
    with pytest.raises(InputError) as caught:
        text_of(folder, data, name, encoding, limits)
    assert caught.value.file == name
    return caught.value


def test_a_compressed_file_is_its_text_and_its_facts_are_of_what_was_delivered(
    tmp_path: Path, suffix: str
) -> None:
    packed = PACK[suffix](TEXT)
    text, origin = text_of(tmp_path, packed, f"F{suffix}".upper())
    assert text == TEXT
    assert origin.bytes == len(packed)
    assert origin.sha256 == hashlib.sha256(packed).hexdigest()


@given(texts=st.lists(st.binary(max_size=200), max_size=5), read=st.integers(1, 40))
def test_members_follow_each_other_wherever_reads_end(
    tmp_path: Path, suffix: str, texts: list[bytes], read: int
) -> None:
    data = b"".join(map(PACK[suffix], texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "READ_BYTES", read)
        patch.setattr(decoding, "CHUNK_BYTES", 7)
        found, _ = text_of(tmp_path, data, f"f{suffix}")
    assert found == b"".join(texts)


@functools.cache
def packed_text(suffix: str) -> bytes:
    """TEXT in this format; that takes as long as the test of it."""
    return PACK[suffix](TEXT)


@given(cut=st.integers(1, 400))
def test_a_stream_that_is_cut_off_is_refused_at_its_end(
    tmp_path: Path, suffix: str, cut: int
) -> None:
    data = packed_text(suffix)[:-cut]
    error = refused(tmp_path, data, f"f{suffix}")
    assert type(error) is MalformedInput
    assert "truncated" in error.message
    assert error.byte_offset == len(data)


@given(at=st.integers(20, 40_000), flip=st.integers(1, 255))
def test_a_corrupt_stream_is_refused_or_unpacks_to_the_same(
    tmp_path: Path, suffix: str, at: int, flip: int
) -> None:
    data = bytearray(packed_text(suffix))
    data[at % len(data)] ^= flip
    found: object
    try:
        found, _ = text_of(tmp_path, bytes(data), f"f{suffix}")
    except MalformedInput as error:
        found = error.byte_offset
    assert found == TEXT or found in range(len(data) + 1)


@pytest.mark.parametrize("garbage", [b"x", b"\0" * 600, TEXT], ids=len)
def test_bytes_behind_a_stream_are_refused_where_they_begin(
    tmp_path: Path, suffix: str, garbage: bytes
) -> None:
    packed = PACK[suffix](TEXT)
    error = refused(tmp_path, packed + garbage, f"f{suffix}")
    assert "extra bytes follow" in error.message
    assert error.byte_offset == len(packed)


def test_notes_between_zstd_frames_are_no_text(tmp_path: Path) -> None:
    data = NOTE + zstd_of(b"id\n") + NOTE + zstd_of(b"1\n") + NOTE
    assert text_of(tmp_path, data, "f.csv.zst")[0] == b"id\n1\n"


SINGLE_SEGMENT = b"\x28\xb5\x2f\xfd\xa0" + (300 << 20).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("data", "mebibytes"),
    [(zstd_of(TEXT, window_log=28), 256), (SINGLE_SEGMENT, 300)],
    ids=["window", "single_segment"],
)
def test_a_zstd_stream_that_looks_far_back_is_refused_as_such(
    tmp_path: Path, data: bytes, mebibytes: int
) -> None:
    error = refused(tmp_path, zstd_of(b"id\n") + data, "f.csv.zst")
    assert f"a window of {mebibytes} MiB" in error.message
    assert error.byte_offset == len(zstd_of(b"id\n"))


def test_a_zstd_stream_that_looks_back_as_far_as_may_be_is_read(tmp_path: Path) -> None:
    assert text_of(tmp_path, zstd_of(TEXT, window_log=27), "f.csv.zst")[0] == TEXT


@pytest.mark.parametrize("data", [TEXT, b"i", b"\x1f", b"PK\x03\x04"], ids=len)
def test_a_file_is_what_its_name_says(tmp_path: Path, suffix: str, data: bytes) -> None:
    error = refused(tmp_path, data, f"f{suffix}")
    packed_by = {
        ".csv.gz": "gzip",
        ".csv.zst": "zstd",
        ".csv.bz2": "bzip2",
        ".csv.xz": "xz",
    }[suffix]
    assert error.message.endswith(f"not a {packed_by} stream")
    assert error.byte_offset == 0


@pytest.mark.parametrize("suffix", PACK)
def test_a_stream_is_not_read_under_another_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(PACK[suffix](TEXT))
    with pytest.raises(MalformedInput) as caught:
        diff(path, path, keys="id")
    assert f"rename it to {suffix}" in str(caught.value.help)


@pytest.mark.parametrize("data", [b"", gzip_of(b"")], ids=["file", "stream"])
def test_an_empty_compressed_file_is_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f.csv.gz"
    path.write_bytes(data)
    with pytest.raises(EmptyFile):
        diff(path, path, keys="id")


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, suffix: str
) -> None:
    text = b"id\n" + b"0" * (64 << 20)
    data = PACK[suffix](text)
    error = refused(tmp_path, data, f"f{suffix}")
    assert "200 times its size" in error.message
    assert "--max-ratio" in str(error.help)
    most = max(decoding.HARMLESS_BYTES, 200 * len(data))
    assert (tmp_path / "text").stat().st_size <= most
    assert text_of(tmp_path, data, f"f{suffix}", limits=Limits(ratio=10**6))[0] == text


def test_a_small_file_is_no_bomb_however_dense(tmp_path: Path, suffix: str) -> None:
    text = b"id\n" + b"0" * (8 << 20)
    data = PACK[suffix](text)
    assert len(text) > 200 * len(data)
    assert text_of(tmp_path, data, f"f{suffix}")[0] == text


@pytest.mark.slow
def test_a_few_bytes_that_hold_much_are_unpacked_in_pieces(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "f").write_bytes(PACK[suffix](b"0" * (64 << 20)))
    form = decoding._FORMATS[str(decoding.compression_of(suffix))]  # type: ignore[index]
    member = form.new()
    pieces = form.unpack(member, (tmp_path / "f").read_bytes())
    assert max(map(len, pieces)) <= decoding.CHUNK_BYTES
    assert member.eof


def test_a_compressed_file_that_is_written_to_meanwhile_is_no_input(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"f{suffix}"
    path.write_bytes(PACK[suffix](TEXT))

    def append(_: int) -> None:
        with path.open("ab") as stream:
            stream.write(b"\0")

    with pytest.raises((InputChanged, MalformedInput)):
        decode_to_utf8(
            path,
            uri=path.name,
            encoding=Encoding.UTF_8,
            limits=LIMITS,
            to=tmp_path / "text",
            advance=append,
        )


ONE_BYTE = [each for each in Encoding if not each.startswith("utf")]
MARKED = {
    Encoding.UTF_16_LE: codecs.BOM_UTF16_LE,
    Encoding.UTF_16_BE: codecs.BOM_UTF16_BE,
}


@pytest.mark.parametrize("encoding", ONE_BYTE)
def test_every_byte_of_an_encoding_is_its_character_or_refused(
    tmp_path: Path, encoding: Encoding
) -> None:
    for byte in map(bytes, zip(range(256), strict=True)):
        data = b"a\nb" + byte + b"\n"
        wanted = byte.decode(encoding, "ignore")
        if wanted:
            text, _ = text_of(tmp_path, data, "f.csv", encoding)
            assert text.decode() == f"a\nb{wanted}\n"
        else:
            error = refused(tmp_path, data, "f.csv", encoding)
            assert type(error) is EncodingError
            assert (error.line, error.byte_offset) == (2, 3)
            assert error.__context__ is None


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("encoding", ONE_BYTE)
def test_a_text_of_one_byte_a_character_is_the_same_with_and_without_the_kernel(
    tmp_path: Path, encoding: Encoding, *, native: bool
) -> None:
    every = bytes(range(256)).decode(encoding, "ignore")
    text = f"id,v\n{every}" + "1,é\n" * 40_000
    data = text.encode(encoding)
    with pytest.MonkeyPatch.context() as patch:
        if not native:
            patch.setattr(binding, "load_library", lambda: None)
        found, origin = text_of(tmp_path, data, "f.csv", encoding)
        error = refused(
            tmp_path, b"id,v\n" * 9_000 + b"\x81\n", "f.csv", Encoding.CP1252
        )
    assert found == text.encode()
    assert origin.bytes == len(data)
    assert origin.sha256 == hashlib.sha256(data).hexdigest()
    assert (error.line, error.byte_offset) == (9_001, 45_000)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("f.csv.gz", Encoding.UTF_8), ("f.csv", Encoding.CP1252), ("f", Encoding.UTF_16)],
)
def test_what_is_not_to_be_hashed_has_no_hash(
    tmp_path: Path, name: str, encoding: Encoding
) -> None:
    text = "id\né\n"
    data = text.encode(encoding)
    (tmp_path / name).write_bytes(gzip_of(data) if name.endswith("gz") else data)
    origin = decode_to_utf8(
        tmp_path / name,
        uri=name,
        encoding=encoding,
        limits=LIMITS,
        to=tmp_path / "text",
        hashes=False,
    )
    assert (tmp_path / "text").read_text("utf-8-sig") == text
    assert origin.sha256 is None


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    encoding=st.sampled_from([Encoding.UTF_16_LE, Encoding.UTF_16_BE]),
    read=st.integers(1, 9),
)
def test_utf_16_is_the_same_text_wherever_reads_end(
    tmp_path: Path, text: str, encoding: Encoding, read: int
) -> None:
    text = f"id,v{text}"
    data = text.encode(encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "READ_BYTES", read)
        assert text_of(tmp_path, data, "f.csv", encoding)[0] == text.encode()
        marked, _ = text_of(tmp_path, MARKED[encoding] + data, "f.csv", Encoding.UTF_16)
    assert marked == codecs.BOM_UTF8 + text.encode()


@given(
    before=st.text("aé\n", max_size=20),
    bad=st.sampled_from([b"\x00\xd8a\x00", b"\x00\xdc", b"\x00"]),
    read=st.integers(1, 9),
)
def test_what_is_no_utf_16_is_refused_at_its_byte(
    tmp_path: Path, before: str, bad: bytes, read: int
) -> None:
    data = f"id\n{before}".encode("utf-16-le")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "READ_BYTES", read)
        error = refused(tmp_path, data + bad, "f.csv", Encoding.UTF_16_LE)
    assert error.byte_offset == len(data)
    assert error.line == 2 + before.count("\n")


CONTRADICTIONS = {
    "no mark": (b"i\0d\0", Encoding.UTF_16, "utf-16-le"),
    "other ends": (codecs.BOM_UTF16_BE + b"\0i", Encoding.UTF_16_LE, "utf-16-be"),
    "UTF-8": (codecs.BOM_UTF8 + b"id", Encoding.CP1252, "--encoding utf-8"),
    "UTF-16": (codecs.BOM_UTF16_LE + b"i\0", Encoding.LATIN_1, "utf-16-le"),
    "UTF-32": (codecs.BOM_UTF32_LE + b"i\0\0\0", Encoding.UTF_16, "save it as UTF-8"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_byte_order_mark_is_not_contradicted(
    tmp_path: Path, case: tuple[bytes, Encoding, str]
) -> None:
    data, encoding, remedy = case
    error = refused(tmp_path, data, "f.csv", encoding)
    assert type(error) is EncodingError
    assert remedy in str(error.help)


def test_a_place_says_what_it_counts_in(tmp_path: Path) -> None:
    path = tmp_path / "f.csv.gz"
    path.write_bytes(gzip_of("id,v\n1,é\n2\n".encode("cp1252")))
    with pytest.raises(MalformedInput) as caught:
        diff(path, path, keys="id", encoding="cp1252")
    assert caught.value.where == (
        f"{path}, line 3, byte 10 of the decompressed text in UTF-8, column v"
    )
    path.write_bytes(gzip_of(b"id,v\n1,\x81\n"))
    with pytest.raises(EncodingError) as caught_:
        diff(path, path, keys="id", encoding="cp1252")
    assert caught_.value.where == f"{path}, line 2, byte 7 of the decompressed file"


WRITTEN = [
    (encoding, suffix)
    for encoding, suffix in itertools.product(Encoding, ("", ".gz", ".zst"))
]


@pytest.mark.parametrize(("encoding", "suffix"), WRITTEN)
def test_one_table_agrees_with_itself_however_it_is_written(
    tmp_path: Path, encoding: Encoding, suffix: str
) -> None:
    text = 'id,naïve\n1,"é\n2"\n2,ü\n'
    plain, other = tmp_path / "old.csv", tmp_path / f"new.csv{suffix}"
    plain.write_text(text)
    data = text.encode(encoding)
    other.write_bytes(PACK[f".csv{suffix}"](data) if suffix else data)
    result = diff(plain, other, keys="id", encoding=f"utf-8:{encoding}", sha256=True)
    assert result.agrees
    assert result.new.sha256 == hashlib.sha256(other.read_bytes()).hexdigest()
    assert result.new.bytes == other.stat().st_size
    assert result.new.dialect is not None
    assert result.new.dialect.encoding == encoding
    kinds = {"": None, ".gz": "gzip", ".zst": "zstd"}
    assert result.new.dialect.compression == kinds[suffix]


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        ("id,v\n1,é\n".encode("cp1252"), "--encoding cp1252"),
        ("id,v\n1,é\n".encode("utf-16"), "--encoding utf-16"),
        ("id,v\n1,é\n".encode("utf-16-le"), "--encoding utf-16-le"),
        ("id,v\n1,é\n".encode("utf-16-be"), "--encoding utf-16-be"),
    ],
)
def test_a_file_in_another_encoding_is_refused_with_the_option_to_add(
    tmp_path: Path, data: bytes, remedy: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.raises(EncodingError) as caught:
        diff(path, path, keys="id")
    assert remedy in str(caught.value.help)
    option = str(caught.value.help).split("--encoding ")[1].split(" ")[0]
    assert diff(path, path, keys="id", encoding=option).agrees


def test_encodings_go_by_many_names() -> None:
    assert parse_encodings("windows-1252") == (Encoding.CP1252, Encoding.CP1252)
    assert parse_encodings("ISO-8859-1:UTF8") == (Encoding.LATIN_1, Encoding.UTF_8)
    for bad in ("utf-7", "rot13", "", "\0", "utf-8:nope"):
        with pytest.raises(ConfigError):
            parse_encodings(bad)


def test_a_plain_file_is_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(TEXT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert diff(path, path, keys="id").agrees
