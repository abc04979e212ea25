"""The native kernel: equal to the reference, with every set of instructions."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
import pytest
from fuzz_native import read_every, search
from hypothesis import given
from hypothesis import strategies as st
from support.kernel import (
    Kernel,
    Question,
    Seen,
    check,
    compiled,
    digests,
    expected_join,
    found_by_key,
    joined,
    opened,
    reference,
    scanned,
    stable,
    variants,
)
from support.kernel_batch import Batch

from recon_engine.compare.pairing import drop_identical, has_repeats
from recon_engine.compare.sampling import stable_hash
from recon_engine.config import Limits
from recon_engine.inputs.native import binding, build
from recon_engine.inputs.native.binding import Matched, Memory, RawRows, Status
from recon_engine.inputs.scanned import GatheredRows
from recon_engine.model import SIDES


if TYPE_CHECKING:
    from collections.abc import Sequence


pytestmark = pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
NAMES: Final = ("any", "AVX2", "AVX-512", "scalar")
ROOT: Final = Path(__file__).parents[2]
FAST: Final = os.environ.get("HYPOTHESIS_PROFILE") == "fast"
SECRET: Final = random.Random(7).randbytes(11_680)
# So much is read behind rows.
WORD_BYTES: Final = 64


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    folder = tmp_path_factory.mktemp("kernels")
    return {kernel.name: kernel for kernel in variants(folder)}


@pytest.fixture(params=NAMES)
def kernel(kernels: dict[str, Kernel], request: pytest.FixtureRequest) -> Kernel:
    if request.param not in kernels:
        pytest.skip("neither the processor nor a compiler can do it")
    return kernels[request.param]


def test_the_library_is_made_from_this_source_for_this_version() -> None:
    library = binding.open_library(binding.LIBRARY)
    assert library.source().decode() == build.source_hash()
    assert library.version().decode() == build.package_version()
    assert library.random_size() == len(SECRET)


@pytest.mark.slow
def test_random_inputs_are_read_as_the_reference_reads_them(
    kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    every = list(kernels.values())
    batch = Batch.build(tmp_path, every)
    tried, passed, _ = search(batch, every, random.Random(1), 400, 60, tmp_path)
    assert tried >= 50
    assert 0 < passed < tried


@pytest.mark.slow
def test_all_short_texts_are_read_as_a_state_machine_reads_them(
    kernels: dict[str, Kernel], tmp_path: Path
) -> None:
    batch = Batch.build(tmp_path, list(kernels.values()))
    if batch is None:
        pytest.skip("no C compiler")
    compared = read_every(batch, SECRET, 4, 1)
    assert compared.accepted > 1_000
    # Each length of text is accepted in some way, and refused in others.
    assert compared.accepted < compared.texts / 2


ENDINGS: Final = [
    b"\n", b"\r\n", b",b\n", b',"b"\n', b',"b""c"\n', b',"b\nc"\r\n', b',""\n', b'"\n',
    b',"b" \n', b"\r", b'"', b',"b', b',"\r\n"\n', b',b"\n', b',""""\n', b'""\n', b"",
    b",\xc3\xa9\n", b",\xc3\n", b",\xf0\x9f\x99\x82", b",\0\n", b",b\n\n", b",b\n\nc,d",
    b',"b,c"\n', b',"b;c";d\n', b",b\r\n\r\n", b"\n\\.\n", b'\\.,"\n\\.\n"\r\n',
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_at_the_border_of_a_word_is_read_as_elsewhere(
    kernel: Kernel, ending: bytes
) -> None:
    seen = Seen()
    for length, width in product((0, *range(57, 66), *range(123, 129)), (1, 2)):
        for filler in (b"x" * length, b'"' + b"x" * length + b'"', b"x\n" * length):
            delimiter = ord(";" if b";" in ending and width == 1 else ",")
            asked = Question(width=width, keys=(width - 1,), delimiter=delimiter)
            check(kernel, filler + ending, asked, SECRET, seen)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_at_the_border_of_a_block_is_read_as_elsewhere(
    kernel: Kernel, ending: bytes
) -> None:
    data = b'a,"b""c"\n1,2\r\n' + ending
    wanted = reference(data, Question())
    for block in range(1, len(data) + 2):
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            side = opened(kernel, Question(), SECRET)
            status = side.scan(stream.fileno(), block)
            assert (status is Status.OK) == (wanted is not None)
            assert wanted is None or side.facts.rows == len(wanted[0])
            side.free()


@pytest.mark.parametrize("behind", [b"", b"TRL,1,2\n", b'"', b"\0", b"\n" * 99])
def test_what_is_behind_the_end_of_the_table_is_not_read(
    kernel: Kernel, behind: bytes
) -> None:
    data = b'a,"b""c"\n1,2\r\n3,"4\n5"\n'
    with tempfile.TemporaryFile() as stream:
        stream.write(data + behind)
        stream.flush()
        for block, end in product((1, 7, 64), range(len(data) + 1)):
            wanted = reference(data[:end], Question())
            side = opened(kernel, Question(), SECRET)
            status = side.scan(stream.fileno(), block, end=end)
            assert (status is Status.OK) == (wanted is not None)
            assert wanted is None or side.facts.rows == len(wanted[0])
            side.free()


@given(rows=st.lists(st.tuples(*[st.text('a;,"', max_size=3)] * 2), max_size=5))
def test_a_delimiter_of_both_sides_stays_in_digests(
    kernel: Kernel, rows: list[tuple[str, str]]
) -> None:
    """Digests are equal if and only if rows are, however these are quoted."""

    def spelled(field: str, *, quote: bool) -> str:
        inside = quote or not {*field}.isdisjoint(';"') or not field
        return '"' + field.replace('"', '""') + '"' if inside else field

    for mark in ";,":
        asked = Question(delimiter=ord(";"), separator=ord(mark))
        seen = Seen()
        for quote in (False, True):
            lines = [";".join(spelled(f, quote=quote) for f in row) for row in rows]
            data = "".join(f"{line}\n" for line in lines).encode()
            assert check(kernel, data, asked, SECRET, seen)


@pytest.mark.parametrize("longest", [1, 2, 3, 70])
def test_a_field_may_be_as_long_as_the_limit(kernel: Kernel, longest: int) -> None:
    for size in range(longest + 4):
        for field in (b"x" * size, b'"' + b"x" * (size - 2) + b'"'):
            for data in (b"a," + field + b"\n", field + b",a\r\n", b"a," + field):
                asked = Question(limits=Limits(field_bytes=longest))
                check(kernel, data, asked, SECRET, Seen())


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_field_may_have_as_many_lines_as_the_limit(kernel: Kernel, most: int) -> None:
    for counts in product(range(5), repeat=3):
        data = b"".join(b'"a%sb",\n' % (b"\n" * count) for count in counts)
        asked = Question(limits=Limits(field_lines=most))
        check(kernel, data, asked, SECRET, Seen())


def test_a_file_without_a_newline_is_refused_before_it_fills_memory(
    kernel: Kernel,
) -> None:
    with tempfile.TemporaryFile() as stream:
        for text in (b"x", b'"x'):
            stream.truncate(0)
            os.pwrite(stream.fileno(), text, 0)
            stream.truncate(1 << 32)  # a hole of zeros behind the first bytes
            os.pwrite(stream.fileno(), b"y" * (8 << 20), len(text))
            side = opened(kernel, Question(), SECRET)
            done = ctypes.c_uint64()
            assert side.scan(stream.fileno(), 1 << 18, None, done) is Status.REFUSED
            side.free()


SIZES: Final = [
    0, 1, 7, 8, 9, 15, 16, 17, 1000, 1022, 1023, 1024, 1025, 2048, 5000, 65_534,
    65_536, 65_537, 70_000, 131_072, 5_000_000,
]  # fmt: skip


@cache
def long_records() -> tuple[bytes, bytes, list[int]]:
    """The same rows plain and quoted, and some places of letters in the plain text."""
    chance = random.Random(3)
    rows = [(str(n), "".join(chance.choices("abc", k=n))) for n in SIZES]
    plain = "".join(f"{a},{b}\n" for a, b in rows).encode()
    quoted = "".join(f'"{a}","{b}"\r\n' for a, b in rows).encode()
    places = [at for at, byte in enumerate(plain) if byte in b"abc"]
    return plain, quoted, chance.sample(places, 10)


@pytest.mark.slow
def test_long_records_have_one_digest_however_they_are_written(
    kernel: Kernel,
) -> None:
    plain, quoted, places = long_records()
    asked = Question(limits=Limits(1 << 23))
    found = []
    for data in (plain, quoted):
        for block in (64, 1 << 18):
            side, descriptor = scanned(kernel, data, asked, SECRET, block)
            os.close(descriptor)
            found.append(digests(side))
            side.free()
    assert all(each == found[0] for each in found)
    for at in places:
        other = plain[:at] + b"X" + plain[at + 1 :]
        side, descriptor = scanned(kernel, other, asked, SECRET, 1 << 18)
        os.close(descriptor)
        unlike = [a != b for a, b in zip(digests(side), found[0], strict=True)]
        assert sum(unlike) == 1
        side.free()


def test_both_digests_of_a_row_tell_rows_apart(kernel: Kernel) -> None:
    data = b"".join(b"%d,%d\n" % (number, number % 7) for number in range(2_000))
    side, descriptor = scanned(kernel, data, Question(), SECRET, 1 << 18)
    os.close(descriptor)
    words = [set(each) for each in zip(*digests(side), strict=True)]
    side.free()
    # Of 2,000 numbers of 32 bits, two are equal in one of 2,000 cases.
    assert [len(each) for each in words] == [2_000] * 3


EDGES: Final = (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xE1, 0xFF)


@pytest.mark.slow
def test_utf_8_is_what_python_takes_for_it(kernels: dict[str, Kernel]) -> None:
    """Each first byte with each second one, and the edges of what may follow.

    It is decided without vectors, so by one and the same code everywhere.
    """
    kernel = kernels["any"]
    tails: list[Sequence[int]] = [(), *((a,) for a in range(1, 256))]
    longer = [*product(EDGES, repeat=2)]
    longest = [*longer, *product(EDGES, repeat=3)]
    every = [(lead, tail) for lead in range(0x80, 0x100) for tail in tails]
    every += [(lead, tail) for lead in range(0xE0, 0xF0) for tail in longer]
    every += [(lead, tail) for lead in range(0xF0, 0x100) for tail in longest]
    slack = kernel.library.slack()
    side, wrong = opened(kernel, Question(width=1), SECRET), list[bytes]()
    for lead, tail in every:
        raw = bytes((lead, *tail))
        if any(byte in raw for byte in b'\n\r,"'):
            continue
        buffer = ctypes.create_string_buffer(raw + b"\n", len(raw) + 1 + slack)
        taken = side.feed(ctypes.addressof(buffer), len(raw) + 1, last=False)
        if (taken >= 0) != _is_utf8(raw):
            wrong.append(raw)
        if taken < 0:
            side.free()
            side = opened(kernel, Question(width=1), SECRET)
    side.free()
    assert not wrong


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_the_hash_of_samples_is_the_one_of_the_other_path() -> None:
    chance = random.Random(5)
    rows = [
        ("".join(chance.choices("abé日", k=chance.randrange(20))), str(at))
        for at in range(500)
    ]
    wanted = [stable([cell.encode() for cell in row]) for row in rows]
    frame = pl.DataFrame(rows, schema=["a", "b"], orient="row")
    assert stable_hash(frame).to_list() == wanted


def small_table(chance: random.Random, rows: int, keys: int) -> bytes:
    cells = [(chance.randrange(keys), chance.randrange(3)) for _ in range(rows)]
    forms = chance.choices(["{},{}\n", '"{}","{}"\r\n'], [4, 1], k=rows)
    text = "".join(form.format(*row) for form, row in zip(forms, cells, strict=True))
    return (text.rstrip("\r\n") if chance.random() < 0.3 else text).encode()


@pytest.mark.slow
@pytest.mark.parametrize("weak", [False, True], ids=("strong keys", "keys collide"))
def test_a_join_is_what_dicts_make_of_it(kernel: Kernel, weak: bool) -> None:  # noqa: FBT001
    chance = random.Random(11)
    half = len(SECRET) // 2
    secret = SECRET[:half] + bytes(half) if weak else SECRET
    for _ in range(150):
        size = chance.randrange(60)
        asked = Question(bits=chance.choice((0, 3)))
        texts = [small_table(chance, size, chance.choice((5, 40, 400))) for _ in "ab"]
        rows = [reference(text, asked) for text in texts]
        sides = [scanned(kernel, text, asked, secret) for text in texts]
        both = [
            # Where all digests of keys are equal, so are all keys.
            [((b"",) if weak else row[:1], row) for row in found[0]]
            for found in rows
            if found is not None
        ]
        identical, lists = joined(sides[0][0], sides[1][0], asked.bits)
        expected, wanted = expected_join(*both)
        pairs = (Matched.PAIRED_OLD, Matched.PAIRED_NEW)
        assert identical == expected
        got = sorted(zip(*(lists[each] for each in pairs), strict=True))
        assert got == sorted(zip(*(wanted[each] for each in pairs), strict=True))
        for each in set(Matched) - set(pairs):
            assert sorted(lists[each]) == wanted[each]
        for side, descriptor in sides:
            os.close(descriptor)
            side.free()


@pytest.mark.parametrize("keys", [(0,), (1, 0)], ids=str)
def test_rows_are_found_by_their_keys(kernel: Kernel, keys: tuple[int, ...]) -> None:
    chance = random.Random(19)
    words = ("1", "01", '"a,b"', '"x""y"', "", "é", '"l\nl"')
    for _ in range(60):
        rows = chance.choices(words, k=2 * chance.randrange(60))
        lines = zip(rows[::2], rows[1::2], strict=True)
        data = "".join(f"{a},{b}\n" for a, b in lines).encode()
        asked = Question(keys=keys, bits=chance.choice((0, 3)))
        known = reference(data, asked)
        assert known is not None
        side, descriptor = scanned(kernel, data, asked, SECRET)
        wanted = [tuple(row[at] for at in keys) for row in known[0][: len(rows) // 4]]
        wanted.append((b"absent",) * len(keys))
        assert found_by_key(side, wanted) == [
            number
            for number, row in enumerate(known[0])
            if tuple(row[at] for at in keys) in wanted
        ]
        os.close(descriptor)
        side.free()


def test_without_a_key_a_file_is_only_validated(kernel: Kernel) -> None:
    for data, status in ((b'1,"a"\n2,b\n\n', Status.OK), (b"1\n", Status.REFUSED)):
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            side = opened(kernel, Question(keys=()), SECRET)
            assert side.scan(stream.fileno(), 64) is status
            if status is Status.OK:
                facts = side.facts
                assert (facts.rows, facts.end, facts.blanks) == (2, len(data), 1)
                assert facts.sampled == 0
                assert side.find([b"1"])[1] == 0
            side.free()


def gathered(
    side: binding.Side, descriptor: int, rows: Sequence[int]
) -> tuple[Status, bytes, np.ndarray]:
    numbers = np.array(rows, np.uint32)
    offsets = np.zeros(len(rows) + 1, np.uint64)
    pointer = side.pointer, numbers.ctypes.data, len(rows), offsets.ctypes.data
    assert side.kernel.gathered_offsets(*pointer)
    out = ctypes.create_string_buffer(int(offsets[-1]))
    status = side.kernel.gather(
        side.pointer,
        descriptor,
        numbers.ctypes.data,
        len(rows),
        offsets.ctypes.data,
        out,
    )
    return Status(status), out.raw, offsets


def test_rows_are_gathered_and_split_into_their_fields(kernel: Kernel) -> None:
    chance = random.Random(13)
    for _ in range(60):
        texts = [
            "".join(chance.choice(["a", '""', ",", "\n", "é"]) for _ in range(5))
            for _ in range(2 * chance.randrange(1, 40))
        ]
        lines = [f'"{a}","{b}"' for a, b in zip(texts[::2], texts[1::2], strict=True)]
        data = chance.choice(("\n", "\r\n")).join(
            lines
        ).encode() + b"\n" * chance.randrange(2)
        found = reference(data, Question())
        if found is None:
            continue
        side, descriptor = scanned(kernel, data, Question(), SECRET, 64)
        numbers = chance.choices(range(len(found[0])), k=9)
        status, text, offsets = gathered(side, descriptor, numbers)
        assert status is Status.OK
        taken = reference(text, Question())
        assert taken is not None
        assert taken[0] == [found[0][at] for at in numbers]
        buffer = ctypes.create_string_buffer(text, len(text) + WORD_BYTES)
        rows = RawRows(
            text=ctypes.addressof(buffer),
            offsets=offsets.ctypes.data,
            delimiter=ord(","),
            width=2,
        )
        columns = kernel.library.extract(rows, 0, 9, 2, binding.make_numbers([1, 0]))
        assert columns
        for at, field in ((0, 1), (1, 0)):
            assert column(kernel.library, columns, at) == [
                found[0][number][field] for number in numbers
            ]
        kernel.library.columns_free(columns)
        os.close(descriptor)
        side.free()


def column(library: ctypes.CDLL, columns: int, at: int) -> list[bytes]:
    text, ends = ctypes.c_void_p(), ctypes.c_void_p()
    count = library.columns_text(columns, at, ctypes.byref(text), ctypes.byref(ends))
    edges = (ctypes.c_int64 * (count + 1)).from_address(ends.value or 0)
    raw = ctypes.string_at(text, edges[count]) if count else b""
    return [raw[edges[i] : edges[i + 1]] for i in range(count)]


CHANGES: Final = [
    (3, b"xx"), (3, b'"x'), (2, b"\n2"), (4, b","), (0, b"\0"), (0, b"\xff"), (0, b'"'),
]  # fmt: skip


@pytest.mark.parametrize(("at", "change"), CHANGES)
def test_a_file_that_changed_since_it_was_scanned_is_seen(
    kernel: Kernel, at: int, change: bytes
) -> None:
    side, descriptor = scanned(kernel, b"1,a\n2,b\n3,c\n", Question(), SECRET)
    with Path(f"/proc/self/fd/{descriptor}").open("r+b") as stream:
        os.pwrite(stream.fileno(), change, at)
    status, _, _ = gathered(side, descriptor, [0, 1])
    assert status is Status.CHANGED
    os.ftruncate(descriptor, 5)
    assert gathered(side, descriptor, [2])[0] is Status.CHANGED
    os.close(descriptor)
    side.free()


SPARSE: Final = b"".join(b'%d,"v ""%d"""\n' % (at, at) for at in range(200))


def test_rows_far_apart_are_gathered_one_by_one(kernel: Kernel) -> None:
    data = SPARSE + b"200,last"
    side, descriptor = scanned(kernel, data, Question(), SECRET)
    lines = (data + b"\n").splitlines(keepends=True)
    for numbers in ([3, 150], [200, 7, 90], [0, 199], [60]):
        status, text, _ = gathered(side, descriptor, numbers)
        assert status is Status.OK
        assert text == b"".join(lines[at] for at in numbers)
    os.close(descriptor)
    side.free()


@pytest.mark.parametrize("change", [b"\n", b"a", b",", b"\0", b"\xff", b"\r"])
def test_a_row_far_from_others_that_changed_is_seen(
    kernel: Kernel, change: bytes
) -> None:
    side, descriptor = scanned(kernel, SPARSE, Question(), SECRET)
    place = SPARSE.index(b'\n150,"v')
    with Path(f"/proc/self/fd/{descriptor}").open("r+b") as stream:
        os.pwrite(stream.fileno(), change, place + 5)
    assert gathered(side, descriptor, [3, 150])[0] is Status.CHANGED
    assert gathered(side, descriptor, [3, 149])[0] is Status.OK
    os.close(descriptor)
    side.free()


def test_fields_are_not_read_over_the_end_of_a_record(kernel: Kernel) -> None:
    long = b"a" * 70 + b"\r"
    for text in (
        *(b"", b"a", b"a,", b'a,"b', b"a,b", b"a,b,c\n", b'a,"b"c\n', b"a\n", b"\r\n"),
        *(b"a,\rb\n", long + b",b\n", b"a," + long + b"b\r\n", b"a,b\nc\n"),
        *(b"a" * 64 + b"\n", b"a,b" + b"," * 64 + b"\n"),
    ):
        offsets = np.array([0, len(text)], np.uint64)
        buffer = ctypes.create_string_buffer(text, len(text) + WORD_BYTES)
        rows = RawRows(ctypes.addressof(buffer), offsets.ctypes.data, ord(","), 2)
        # Of the first field only what is before a delimiter is read.
        first = kernel.library.extract(rows, 0, 1, 1, binding.make_numbers([0]))
        assert not first or b"," in text
        kernel.library.columns_free(first)
        at = binding.make_numbers([0, 1])
        assert not kernel.library.extract(rows, 0, 1, 2, at)
        assert not kernel.library.compare(rows, rows, 0, 1, 2, 1, at, at, None)


@given(st.data())
def test_each_mark_becomes_one_byte_unless_it_overlaps_itself(
    data: st.DataObject,
) -> None:
    mark = data.draw(st.text("|ab", min_size=2, max_size=8)).encode()
    pieces = [mark, mark[1:], mark[:-1], b"|", b"a", b"x" * 17, b"\n", b"x" * 61]
    text = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=40)))
    inner = [at for at in range(1, len(mark)) if mark.startswith(mark[at:])]
    at, overlaps = text.find(mark), False
    while at >= 0:
        again = any(text.startswith(mark, at + each) for each in inner)
        overlaps |= again and not text.startswith(mark, at + len(mark))
        at = text.find(mark, at + len(mark))
    replaced = binding.replace_marks(text, mark, b"\x1f")
    if overlaps:
        assert replaced is None
    else:
        assert replaced is not None
        assert bytes(replaced) == text.replace(mark, b"\x1f")


@given(
    text=st.text("aZ\n;\u00e9\u20ac\u2593", max_size=40),
    repeat=st.sampled_from([1, 1, 2, 5_000]),
    codec=st.sampled_from(["cp1252", "cp437", "mac-roman"]),
    piece=st.integers(1, 70_000),
)
def test_text_of_one_byte_a_character_becomes_utf_8(
    text: str, repeat: int, codec: str, piece: int
) -> None:
    written = text.encode(codec, "ignore") * repeat
    advanced: list[int] = []
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as target,
    ):
        # Many calls for a long text would take long.
        patch.setattr(binding, "PIECE_BYTES", max(piece, len(written) // 9))
        source.write(written)
        source.flush()
        files = source.fileno(), target.fileno()
        assert binding.transcode_file(*files, codec, advanced.append)
        target.seek(0)
        assert target.read() == written.decode(codec).encode()
    assert sum(advanced) == len(written)


@pytest.mark.parametrize("at", [0, 3, 7, 8, 65_535, 65_536, 70_000])
def test_a_byte_that_is_no_character_is_no_text(at: int) -> None:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(b"a" * at + b"\x81" + b"b" * 20)
        source.flush()
        files = source.fileno(), target.fileno()
        assert not binding.transcode_file(*files, "cp1252", lambda _: None)
        assert binding.transcode_file(*files, "latin-1", lambda _: None)


def test_text_that_cannot_be_written_is_not_reported_as_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"a" * 20)
    with path.open("rb") as source, path.open("rb") as target:
        files = source.fileno(), target.fileno()
        assert not binding.transcode_file(*files, "cp1252", lambda _: None)


@given(st.data())
def test_picked_rows_are_those_of_the_numbers(data: st.DataObject) -> None:
    library = binding.load_library()
    assert library is not None
    texts = data.draw(st.lists(st.text("ab,", max_size=30), min_size=1, max_size=20))
    lines = [f"{text}\n".encode() for text in texts]
    ends = np.array([0, *np.cumsum([*map(len, lines)])], np.uint64)
    rows = GatheredRows(
        library,
        len(lines),
        Memory.copy(library, b"".join(lines)),
        Memory.copy(library, ends.data),
        ",",
        1,
    )
    wanted = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=25))
    picked = rows.picked(np.array(wanted, np.int64))
    # All rows in another order are not told from those in order.
    if len(wanted) != len(lines):
        assert bytes(picked.text.view) == b"".join(lines[at] for at in wanted)
        edges = np.frombuffer(picked.offsets.view, np.uint64, picked.rows + 1)
        sizes = [len(lines[at]) for at in wanted]
        assert np.diff(edges).tolist() == sizes
    else:
        assert picked is rows


def test_a_scan_is_cancelled(kernel: Kernel) -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(b"1,a\n" * 1000)
        stream.flush()
        side = opened(kernel, Question(), SECRET)
        status = side.scan(stream.fileno(), 64, ctypes.c_uint32(1))
        assert status is Status.CANCELLED
        side.free()


def test_columns_that_a_file_has_not_are_refused() -> None:
    library = binding.load_library()
    assert library is not None
    for keys, order in (((2,), ()), ((0,), (2,))):
        plan = binding.ReadPlan(width=2, keys=keys, random=SECRET, order=order)
        with pytest.raises(MemoryError):
            binding.Side(library, plan)


# ------------------------------------------------------------ the loader


def loaded(env: dict[str, str], library: Path | None = None) -> str:
    """What a fresh process says of the library, and its warnings."""
    change = f"binding.LIBRARY = Path({str(library)!r})" if library else ""
    program = (
        "from pathlib import Path\nfrom recon_engine.inputs.native import binding\n"
        f"{change}\nprint(*[binding.load_library() is not None for _ in range(2)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | env,
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout + said.stderr


def test_it_is_switched_off_by_name_without_a_warning() -> None:
    assert loaded({"RECON_NATIVE": "0"}) == "False False\n"
    assert loaded({"RECON_NATIVE": ""}) == "True True\n"


def test_a_library_that_cannot_be_loaded_is_one_warning(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    for path in (tmp_path / "none.so", broken):
        assert loaded({}, path) == "False False\nnative_kernel_missing\n"


@pytest.mark.slow
def test_a_library_of_another_version_is_not_loaded(tmp_path: Path) -> None:
    path = compiled(tmp_path, "-DSCALAR", '-DVERSION="0"', '-DSOURCE=""')
    if path is None:
        pytest.skip("no compiler")
    expected = "False False\nnative_kernel_of_another_version\n"
    assert loaded({}, path) == expected


# ------------------------------------------------------------ sanitizers


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc has the sanitizers")
@pytest.mark.skipif(FAST, reason="make test does it: it compiles the kernel anew")
def test_the_sanitizers_see_nothing() -> None:
    """A short search; `make sanitize` is a longer one."""
    script = ROOT / "campaigns/fuzz_native.py"
    said = subprocess.run(
        [sys.executable, str(script), "--sanitize", "--inputs", "100", "--seed", "1"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr[-2000:]
    assert "no disagreement" in said.stdout


@given(st.data())
def test_identical_rows_are_dropped_as_without_the_kernel(data: st.DataObject) -> None:
    few = st.integers(0, 3)
    high = st.sampled_from([0, 1 << 52, 1 << 63])
    sides = []
    for _ in SIDES:
        size = data.draw(st.integers(0, 12))
        # Digests of few values, in several partitions.
        rows = [data.draw(few) + data.draw(high) for _ in range(size)]
        others = [data.draw(st.lists(few, min_size=size, max_size=size)) for _ in "ab"]
        columns = {"row": rows, "check": others[0], "key": others[1]}
        digests = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.UInt64))
        sides.append(digests.with_row_index("number"))
    repeats = [side["row"].is_duplicated().any() for side in sides]
    both = (sides[0], sides[1])
    found = drop_identical(*both, repeats=(repeats[0], repeats[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(binding, "load_library", lambda: None)
        wanted = drop_identical(*both, repeats=(True, True))
    assert found.identical == wanted.identical
    assert found.old.equals(wanted.old)
    assert found.new.equals(wanted.new)


def test_identical_rows_of_many_partitions_are_dropped() -> None:
    chance = random.Random(5)
    words = [[chance.getrandbits(64) for _ in range(20_000)] for _ in range(3)]
    old = pl.DataFrame(dict(zip(("row", "check", "key"), words, strict=True)))
    old = old.cast(pl.UInt64).with_row_index("number")
    new = old.sample(fraction=1, shuffle=True, seed=3)
    changed = {"check": [7, 9], "key": [11], "row": [13]}
    for name, numbers in changed.items():
        hit = pl.col("number").is_in(numbers)
        new = new.with_columns(pl.when(hit).then(0).otherwise(pl.col(name)).alias(name))
    new = new.cast(dict.fromkeys(changed, pl.UInt64))
    left = drop_identical(old, new, repeats=(False, False))
    assert left.identical == old.height - 4
    assert left.old["number"].to_list() == [7, 9, 11, 13]
    assert sorted(left.new["number"]) == [7, 9, 11, 13]


def test_a_number_that_occurs_twice_is_found_in_every_partition() -> None:
    chance = random.Random(8)
    words = [chance.getrandbits(64) for _ in range(20_000)]
    assert not has_repeats(pl.Series([0, *words], dtype=pl.UInt64))
    for twice in (0, 1, words[0], words[-1]):
        numbers = [*words, twice] if twice in words else [twice, *words, twice]
        assert has_repeats(pl.Series(numbers, dtype=pl.UInt64))
    assert not has_repeats(pl.Series([], dtype=pl.UInt64))
    assert not has_repeats(pl.Series([0], dtype=pl.UInt64))
