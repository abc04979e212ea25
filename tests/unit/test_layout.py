"""The columns of lines of one width."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.config import Encoding, split_layout
from recon_engine.drafts.layout import Layout, find_layout, split_lines
from recon_engine.drafts.reading import TAIL_BYTES, read_last_line
from recon_engine.inputs.header import BOM


if TYPE_CHECKING:
    from pathlib import Path

LINE = st.text("aB1 .-\u00e9\u65e5", min_size=14, max_size=14)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout") / "lines.txt"


def layout_of(path: Path, lines: list[str], encoding: Encoding) -> Layout | None:
    text = "".join(f"{line}\n" for line in lines)
    path.write_bytes(text.encode(encoding))
    found = split_lines(text)
    return None if found is None else find_layout(path, encoding, found, "")


@given(
    lines=st.lists(LINE.filter(str.strip), min_size=3, max_size=40),
    encoding=st.sampled_from([Encoding.UTF_8, Encoding.UTF_16]),
)
def test_every_character_is_in_one_column(
    lines: list[str], encoding: Encoding, path: Path
) -> None:
    """So that no value of a later delivery is left unread."""
    found = layout_of(path, lines, encoding)
    assert found is not None
    columns = found.columns
    assert (columns[0].start, columns[-1].stop) == (0, 14)
    assert all(a.stop == b.start for a, b in itertools.pairwise(columns))
    assert split_layout(found.text) == columns
    assert found.rows in {len(lines), len(lines) - 1}


@pytest.mark.parametrize(
    ("lines", "ends"),
    [
        # The blanks belong to the text, and to the right-aligned number.
        (["AB    1234  9", "ABC   12    9", "A     1     9"], [6, 12, 13]),
        (["001     12.50", "002      9.00", "003    100.00"], [3, 13]),
        (["Ada     12.50", "Bo       9.00", "Cyan   100.00"], [7, 13]),
        # The padding of a text ends, that of a number begins.
        (["Smith   20240101", "Li      20240102", "Einstein20240103"], [8, 16]),
        (["TX      12.50", "NY99999999.50", "CA    3456.00"], [2, 13]),
        # A single blank with letters behind it in few rows is within a text.
        (["12 abc      7", "13 abc     17", "14 abc def 27"], [3, 11, 13]),
    ],
)
def test_borders_are_where_all_lines_are_blank_or_padding_ends(
    lines: list[str], ends: list[int], path: Path
) -> None:
    found = layout_of(path, lines, Encoding.UTF_8)
    assert found is not None
    assert [each.stop for each in found.columns] == ends


def test_a_byte_order_mark_is_no_character_of_the_first_line(path: Path) -> None:
    lines = ["Ada     12.50", "Bo       9.00", "Cyan   100.00"]
    plain = layout_of(path, lines, Encoding.UTF_8)
    path.write_bytes(BOM + path.read_bytes())
    found = split_lines("".join(f"{line}\n" for line in lines))
    assert plain is not None
    assert found is not None
    assert find_layout(path, Encoding.UTF_8, found, "") == plain


@pytest.mark.parametrize(
    ("mark", "codec"), [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")]
)
@pytest.mark.parametrize("lines", [2, TAIL_BYTES])
def test_the_last_line_is_read_in_the_byte_order_of_the_file(
    path: Path, mark: bytes, codec: str, lines: int
) -> None:
    """Also that of a file of which only the end is read, which has no mark."""
    path.write_bytes(mark + ("1\n" * lines + "TRL,2\n").encode(codec))
    assert read_last_line(path, Encoding.UTF_16) == "TRL,2"
