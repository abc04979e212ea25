"""The structure by bit masks: equal to a reading of one byte after the other."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.reading import scalar_newlines, scalar_structure, scalar_whole
from support.strategies import CELLS, edited, spelled, tables

from recon_engine.config import Limits
from recon_engine.inputs import scanner as masks
from recon_engine.inputs.csvfile import Block
from recon_engine.inputs.scanner import (
    STRIDE_BYTES,
    WORD,
    count_newlines,
    find_newlines,
    index_records,
    whole_records_size,
)


COMMA: Final = ord(",")
FREE: Final = Limits()
BYTES = st.text(st.sampled_from('ab",;\n\r'), max_size=200).map(str.encode)
FIELDS = st.sampled_from(
    ["", "a", '""', '"a"', '"\n"', '"""",', '","', "a\r", '"\r\n"']
)
RECORDS = st.lists(
    st.tuples(FIELDS, FIELDS, st.integers(0, WORD + 2)).map(
        lambda cells: f"{cells[0]},{cells[1]}{'x' * cells[2]}\n"
    ),
    max_size=12,
).map(lambda lines: "".join(lines).encode())


@pytest.fixture(
    params=[(WORD, 0), (3 * WORD, WORD)], ids=("stride 64, all", "stride 192, each")
)
def stride(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Short stretches; set bits are found all at once, or one by one."""
    stride, many = request.param
    monkeypatch.setattr(masks, "STRIDE_BYTES", stride)
    monkeypatch.setattr(masks, "DENSE_BITS_PER_WORD", many)
    return int(stride)


@lru_cache(1 << 14)  # the readings do not depend on the stride
def read_one_by_one(data: bytes, width: int) -> tuple[object, ...]:
    return (
        scalar_structure(data, COMMA, width),
        scalar_whole(data),
        scalar_newlines(data),
    )


def assert_equal_to_the_scalar_reading(data: bytes, width: int) -> None:
    found = index_records(data, COMMA, width, FREE)
    shown = found and (found.ends.tolist(), found.crlf, found.embedded)
    counted = [(each.count, each.first) for each in count_newlines(data)]
    read = shown, whole_records_size(data), counted
    assert read == read_one_by_one(data, width)
    assert find_newlines(data).tolist() == [at for at, b in enumerate(data) if b == 10]


@given(data=st.one_of(BYTES, RECORDS), width=st.integers(1, 4))
@example(data=b"", width=1)
@example(data=b'"', width=1)
@example(data=b"\r", width=1)
def test_any_bytes_are_read_as_one_by_one(stride: int, data: bytes, width: int) -> None:
    assert_equal_to_the_scalar_reading(data, width)
    assert stride


@given(data=tables().flatmap(edited))
def test_valid_files_with_a_few_bytes_edited_are_read_as_one_by_one(
    stride: int, data: bytes
) -> None:
    first = data.partition(b"\n")[0]
    assert_equal_to_the_scalar_reading(data, 1 + first.count(b","))
    assert stride


LINES = st.integers(2, 9).flatmap(
    lambda width: st.lists(
        st.tuples(*[CELLS.filter(lambda cell: "\n" not in cell)] * width), min_size=1
    )
)


@given(rows=LINES, data=st.data(), newline=st.sampled_from(["\n", "\r\n"]))
def test_the_first_cells_of_lines_are_found_without_a_parser(
    rows: list[tuple[str, ...]], data: st.DataObject, newline: str
) -> None:
    width = len(rows[0])
    text = "".join(
        ",".join(spelled(cell, quote=data.draw(st.booleans())) for cell in row)
        + newline
        for row in rows
    ).encode()
    found = index_records(text, COMMA, width, FREE)
    assert found is not None
    block = Block.of(text, ",", found)
    count = data.draw(st.integers(1, width - 1))
    cells = [column.to_list() for column in block.parse_first_cells(count)]
    assert cells == [list(column) for column in zip(*rows, strict=True)][:count]


ENDINGS: Final = [
    b"\n", b"\r\n", b",b\n", b',"b"\n', b',"b""c"\n', b',"b\nc"\r\n', b',""\n', b'"\n',
    b',"b" \n', b"\r", b'"', b',"b', b',"\r\n"\n', b',b"\n', b',""""\n', b'""\n',
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_stands_at_the_border_of_a_word_is_read_as_elsewhere(
    stride: int, ending: bytes
) -> None:
    near = {border + at for border in (0, WORD, 2 * WORD) for at in range(-6, 7)}
    near |= {stride + at for at in range(-6, 7)}
    for length in sorted(at for at in near if at >= 0):
        for filler in (b"x" * length, b'"' + b"x" * length + b'"', b"x\n" * length):
            for width in (1, 2):
                assert_equal_to_the_scalar_reading(filler + ending, width)


@pytest.mark.slow
@pytest.mark.parametrize("away", range(-3, 4))
def test_what_stands_at_the_border_of_a_stride_is_read_as_elsewhere(away: int) -> None:
    filler = b'"' + b"x" * (STRIDE_BYTES - 4 + away) + b'"'
    for ending in (b',"b""c"\r\n', b',"b\nc"\n', b',b"\n'):
        assert_equal_to_the_scalar_reading(filler + ending, 2)


@pytest.mark.parametrize("longest", [1, 2, 3, 70])
def test_a_field_over_the_limit_of_bytes_is_never_vouched_for(longest: int) -> None:
    limits = Limits(field_bytes=longest)
    for size in range(longest + 3):
        for field in (b"x" * size, b'"' + b"x" * (size - 2) + b'"'):
            for data in (b"a," + field + b"\n", field + b",a\n", field + b",a\r\n"):
                found = index_records(data, COMMA, 2, limits)
                assert found is None or len(field) <= longest
                assert found is not None or len(field) >= longest - 1 or longest < 3


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_a_field_over_the_limit_of_lines_is_never_vouched_for(
    counts: list[int],
) -> None:
    data = b"".join(b'"a%sb",\n' % (b"\n" * count) for count in counts)
    found = index_records(data, COMMA, 2, Limits(field_lines=3))
    assert (found is None) == (max(counts) >= 3)


def test_the_ends_of_a_long_run_are_exact() -> None:
    rows = [b'"%d","a\nb"\r\n' % at for at in range(60_000)]
    found = index_records(b"".join(rows), COMMA, 2, FREE)
    assert found is not None
    assert (found.ends == np.cumsum([len(row) for row in rows])).all()
    assert (found.crlf, found.embedded) == (60_000, 60_000)
