"""The blocks in which a text of another syntax is translated: where they may be cut."""

from __future__ import annotations

import contextlib
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon_engine.config import Limits, Options, Quote, SideOptions
from recon_engine.errors import InputChanged, MalformedInput
from recon_engine.inputs import translation
from recon_engine.inputs.opening import open_input


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recon_engine.inputs.header import Header

SYNTAXES: list[tuple[str, dict[str, Any]]] = [
    ("||", {}),
    ("|~|", {}),
    ("||", {"quote": Quote.NONE}),
    (",", {"quote": Quote.NONE}),
    (",", {"excel_text": True}),
]
LONGEST = 24


def opened(folder: Path, data: bytes, **given: Any) -> Header:
    """The header of a text as OLD, translated in `folder`."""
    (path := folder / "old.csv").write_bytes(data)
    delimiter, progress = given.pop("delimiter", ","), given.pop("progress", None)
    options = Options(keys=("A",), delimiter=f"{delimiter}:,", old=SideOptions(**given))
    return open_input(
        path,
        uri="old.csv",
        side="old",
        options=options,
        limits=Limits(field_bytes=LONGEST),
        folder=folder,
        **({"progress": progress} if progress else {}),
    )


@st.composite
def records(draw: st.DrawFn, *, quotes: bool, excel: bool) -> list[list[str]]:
    """Records of fields that are within the limits."""
    plain = st.text("ab ;é" if quotes else 'ab ;é"', max_size=6)
    # As delivered: in quotes, with whatever is special outside of them.
    text = st.text('a|~,\n"', max_size=8)
    quoted = text.map(lambda each: '"{}"'.format(each.replace('"', '""')))
    kinds = [plain, quoted] if quotes else [plain]
    kinds += [quoted.map("={}".format)] if excel else []
    return draw(st.lists(st.lists(st.one_of(kinds), min_size=1, max_size=9)))


@given(st.data(), st.sampled_from(SYNTAXES))
def test_a_record_that_is_longer_than_its_block_is_translated_alike(
    data: st.DataObject, syntax: tuple[str, dict[str, Any]]
) -> None:
    """It is cut behind a field: the text and its places are those of one block."""
    delimiter, asked = syntax
    kinds = {"quotes": "quote" not in asked, "excel": "excel_text" in asked}
    rows = [["A"], *data.draw(records(**kinds))]
    text = "".join(f"{delimiter.join(row)}\n" for row in rows).encode()
    found = []
    for size in (1, 1 << 22):
        with pytest.MonkeyPatch.context() as patch, made_folder() as folder:
            patch.setattr(translation, "BLOCK_BYTES", size)
            header = opened(folder, text, delimiter=delimiter, **asked)
            assert header.origin is not None
            translated = header.path.read_bytes()
            places = range(len(translated) + 1)
            made = header.origin.translation
            assert made is not None
            found.append((translated, made.map_offsets(places), header.found_frame))
    assert found[0] == found[1]


@contextlib.contextmanager
def made_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


class Cutting:
    """A progress that cuts the file when its first block is translated."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def bind(self, **facts: str) -> None: ...

    @contextlib.contextmanager
    def step(self, *_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
        yield self.advance

    def advance(self, _amount: int) -> None:
        with self.path.open("r+b") as stream:
            stream.truncate(self.size)


@pytest.mark.parametrize(
    ("delimiter", "asked"),
    [*SYNTAXES, (",", {"fixed": "A:1-1,B:2-7"})],
)
@pytest.mark.parametrize("cut", [3, 100, 101])
def test_a_file_that_is_cut_while_it_is_translated_has_changed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    delimiter: str,
    asked: dict[str, Any],
    cut: int,
) -> None:
    """Its last line has no end, and nothing follows it."""
    monkeypatch.setattr(translation, "BLOCK_BYTES", 64)
    progress = Cutting(tmp_path / "old.csv", cut)
    rows = f"A{delimiter}B\n" + f"1{delimiter}2\n" * 200
    data = "1      \n" * 200 if "fixed" in asked else rows
    # Without an end to the reads, the test would not end.
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("endless reads"))
    signal.alarm(60)
    try:
        with pytest.raises(InputChanged):
            opened(
                tmp_path, data.encode(), delimiter=delimiter, progress=progress, **asked
            )
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_line_that_is_too_long_for_a_fixed_width_is_refused_without_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of a character, which is no fault of the encoding."""
    monkeypatch.setattr(translation, "BLOCK_BYTES", 64)
    monkeypatch.setattr(translation, "LONG_LINE", 32)
    data = ("a" + "é" * 60).encode()
    with pytest.raises(MalformedInput, match="a line of more than 32 bytes") as caught:
        opened(tmp_path, data * 4, fixed="A:1-1,B:2-7")
    assert (caught.value.line, caught.value.byte_offset) == (1, 0)
