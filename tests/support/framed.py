"""Files with frames, made by random draws, and what each reader makes of them."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from support.frame_reference import Frame, Table, read_framed
from support.reading import cells, plain_cells

from recon_engine.config import (
    NO_KEY,
    Limits,
    NameStyle,
    Options,
    Quote,
    SideOptions,
)
from recon_engine.errors import ReconError
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.scanned import open_scanned
from recon_engine.inputs.scanning import KernelRefusal, start_validation
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.progress import SILENT
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.split_reader import join_results, merge_results, read_split
from recon_engine.spark.splits import cut_splits, take_census


if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import SupportsLenAndGetItem

    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.header import Header

    Reader = Callable[["Path", Frame], Table | None]

Item = TypeVar("Item")
Result = TypeVar("Result")
BYTE: Final = 256
CELLS: Final = (
    "", "1", "20", "a", "TRL", "EOF", "TRL2", "é", '"q"', "a,b", "x\ny", "#", "c2",
    "ID", "ID.2", "\x1a", " ", "x;y", "=1", "\r\n", "|", "~", "\x1f", "b", '="1"',
)  # fmt: skip
NAMES: Final = ("ID", "A", "", "A", "c2", "A.2", "TRL", "é", " ", "x y")
LONG: Final = ("||", "|~|", "::", "¦", "ab", "\t|")
LINES: Final = (b"title", b"", b'"', b"# a,b", b"#", b"a,b,c", b"\xff", b"TRL,1")


def side_options(frame: Frame) -> SideOptions:
    """The same frame as the product has it."""
    return SideOptions(
        skip_lines=frame.skip_lines,
        comment_prefix=frame.comment_prefix,
        no_header=frame.no_header,
        names=frame.names,
        repeat_names=NameStyle(frame.repeat_names),
        blank_names=NameStyle(frame.blank_names),
        trailing_delimiter=frame.trailing_delimiter,
        trailers=frame.trailer,
        trailer_counts=(f"{frame.trailer[0]}:{frame.trailer_count}",)
        if frame.trailer_count
        else (),
        trailer_delimiter=frame.trailer_delimiter,
        eof_mark=frame.eof_mark,
        quote=Quote(frame.quote),
        excel_text=frame.excel_text,
        fixed=",".join(f"{name}:{a}-{b}" for name, a, b in frame.fixed),
    )


class ByteDraws(random.Random):
    """Draws that bytes decide, one after the other, as a fuzzer mutates them.

    After the last byte every draw is the first choice.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = iter(data)

    def _number(self, below: int) -> int:
        number = next(self._data, 0)
        if below > BYTE:
            number = number * BYTE + next(self._data, 0)
        return number % below

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self._number(BYTE) / BYTE

    def choice(self, seq: SupportsLenAndGetItem[Item]) -> Item:
        """An item of a sequence."""
        return seq[self._number(len(seq))]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """A number of a range."""
        numbers = range(start) if stop is None else range(start, stop, step)
        return numbers[self._number(len(numbers))]


def make_case(draw: random.Random) -> tuple[bytes, Frame]:
    """A file that often fits its frame, and often just does not."""
    syntax = draw.choice(("csv", "csv", "csv", "long", "none", "excel", "fixed"))
    delimiter = draw.choice(LONG if syntax == "long" else ",;|")
    if syntax == "none" and draw.random() < 0.3:
        delimiter = draw.choice(LONG)
    fixed = syntax == "fixed"
    trailing = draw.random() < 0.3 and not fixed
    end = draw.choice(("\n", "\r\n"))
    no_header = draw.random() < 0.3 and not fixed
    width = draw.choice((1, 2, 2, 3))
    layout = tuple((f"n{at}", 1 + 4 * at, 4 + 4 * at - at % 2) for at in range(width))
    lines = [draw.choice(LINES) for _ in range(draw.choice((0, 0, 1, 2, 3)))]
    comment = "" if no_header or fixed else draw.choice(("", "", "#", "--"))
    comments = [
        comment.encode() + draw.choice((b"x", b"", b" a,b", b"a;b;c"))
        for _ in range(draw.choice((0, 1, 2)) if comment else 0)
    ]

    def row(texts: list[str]) -> str:
        if fixed:
            return fit(draw, texts, layout)
        fields = (write(draw, each, delimiter, syntax) for each in texts)
        return delimiter.join(fields) + delimiter * (trailing and draw.random() < 0.97)

    rows = [
        row([draw.choice(CELLS) for _ in range(width if draw.random() < 0.97 else 3)])
        for _ in range(draw.choice((0, 1, 2, 3, 5)))
    ]
    names = [draw.choice(NAMES) for _ in range(width)]
    if draw.random() < 0.7:
        names = ["ID", "A", "B"][:width]
    head = [] if no_header or fixed else [row(names)]
    trailer = draw.choice(((), (), ("TRL",), ("TRL",), ("EOF", "TRL")))
    mark = draw.choice(("", "", ";", "|")) if trailer else ""
    count = 2 if trailer and draw.random() < 0.5 and (mark or not fixed) else 0
    tail = [
        (mark or delimiter).join([prefix, str(len(rows) + (draw.random() < 0.1)), "x"])
        for prefix in trailer
        if draw.random() < 0.95
    ]
    # Of bytes, because a preamble may be in any encoding.
    body = end.join([*head, *rows, *tail]).encode()
    before = b"".join(line + b"\n" for line in (*lines, *comments))
    data = before + body + draw.choice((b"", b"\n", b"\r\n", b"\n\n"))
    eof = draw.random() < 0.3
    if eof or draw.random() < 0.05:
        data += b"\x1a"
    if draw.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    if draw.random() < 0.25:
        data = spoil(draw, data)
    given = tuple(f"n{at}" for at in range(width))
    as_is = no_header or fixed
    return data, Frame(
        delimiter="," if fixed else delimiter,
        skip_lines=len(lines) + (draw.random() < 0.03),
        comment_prefix=comment,
        no_header=no_header,
        names=given if no_header and draw.random() < 0.5 else (),
        repeat_names="refuse" if as_is else draw.choice(("refuse", "number")),
        blank_names="refuse" if as_is else draw.choice(("refuse", "number")),
        trailing_delimiter=trailing,
        trailer=trailer,
        trailer_count=count,
        trailer_delimiter=mark,
        eof_mark=eof,
        quote="none" if syntax == "none" else "double",
        excel_text=syntax == "excel",
        fixed=layout if fixed else (),
    )


def write(draw: random.Random, text: str, delimiter: str, syntax: str) -> str:
    """A text as a field, sometimes in quotes that it does not need."""
    if syntax == "none":
        return text.replace("\n", " ").replace("\r", "").replace(delimiter, "-")
    excel = "=" * (syntax == "excel" and draw.random() < 0.3)
    needed = any(each in text for each in ('"', delimiter, "\r", "\n"))
    if excel or needed or draw.random() < 0.15:
        return excel + '"' + text.replace('"', '""') + '"'
    return text


def fit(
    draw: random.Random, texts: list[str], layout: tuple[tuple[str, int, int], ...]
) -> str:
    """Texts at their places, sometimes in a line of another length."""
    line = ""
    for text, (_, first, last) in zip(texts, layout, strict=False):
        plain = text.replace("\n", "").replace("\r", "")
        line = line.ljust(first - 1) + plain[: last - first + 1].ljust(last - first + 1)
    return line + "x" * (draw.random() < 0.02)


def spoil(draw: random.Random, data: bytes) -> bytes:
    """The same bytes with one of them changed, added or removed."""
    at = draw.randrange(len(data) + 1)
    new = draw.choice((b"", b'"', b"\n", b",", b"\r", b"\0", b"\xff", b"TRL,1\n", b"x"))
    return data[:at] + new + data[at + draw.choice((0, 1)) :]


def by_numpy(path: Path, frame: Frame) -> Table | None:
    """What the reader in Python makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        return _outcome(lambda: _table(read_rows(_header(path, frame, folder))))


def by_kernel(path: Path, frame: Frame) -> Table | None:
    """What the native kernel makes of it; if it refuses a file, the other reader."""
    with tempfile.TemporaryDirectory() as folder:
        return _outcome(lambda: _scan(_header(path, frame, folder), _table))


def in_splits(size: int) -> Reader:
    """A reader as a cluster has it, with splits of this size."""

    def read(path: Path, frame: Frame) -> Table | None:
        with tempfile.TemporaryDirectory() as folder:
            return _outcome(lambda: _join(_header(path, frame, folder), frame, size))

    return read


def rows_alone(table: Table | None) -> Table | None:
    """The same without rows: a cluster joins no rows on the driver."""
    return None if table is None else dataclasses.replace(table, rows=())


def check_readers(
    data: bytes,
    frame: Frame,
    folder: Path,
    *,
    kernel: bool,
    size: int,
    parsers: bool = False,
) -> bool:
    """Check all readers on one file, opened once; return whether it is accepted.

    Args:
        data: The file.
        frame: The options for it.
        folder: An empty folder, which is empty again afterwards.
        kernel: Whether the native kernel is there.
        size: The size of the splits; 0 reads none.
        parsers: Whether the cells are those of Polars and Arrow too, which takes longer
            than everything else.

    Raises AssertionError where one disagrees with the reference.
    """
    expected = read_framed(data, frame)
    path = folder / "f.csv"
    path.write_bytes(data)
    table = _table if parsers else _plain_table
    try:
        # Threads cost ten times what a file of this size does.
        with start_no_threads_if_small(len(data)):
            header = _outcome(lambda: _header(path, frame, str(folder)))
            if header is None:
                assert expected is None, (data, frame)
                return False
            assert _outcome(lambda: table(read_rows(header))) == expected, (data, frame)
            if kernel:
                found = _outcome(lambda: _scan(header, table))
                assert found == expected, (data, frame)
            if size:
                joined = _outcome(lambda: _join(header, frame, size))
                assert joined == rows_alone(expected), (data, frame)
    finally:
        for left in folder.iterdir():
            left.unlink()
    return expected is not None


def _header(path: Path, frame: Frame, folder: str) -> Header:
    # A single character is itself; beside others, a colon would separate OLD and NEW.
    long = len(frame.delimiter) > 1
    delimiter = frame.delimiter.replace(":", "\\x3a") if long else frame.delimiter
    options = Options(keys=NO_KEY, delimiter=delimiter, old=side_options(frame))
    return open_input(
        path,
        uri=str(path),
        side="old",
        options=options,
        limits=Limits(),
        folder=Path(folder),
    )


def _scan(header: Header, table: Callable[[CsvFile], Table]) -> Table:
    try:
        scanning = start_validation([header, header])
        assert scanning is not None
        with open_scanned(scanning, SILENT) as (first, _):
            return table(first.file())
    except KernelRefusal:
        return table(read_rows(header))


def _join(header: Header, frame: Frame, size: int) -> Table:
    start, end = len(header.raw), header.end
    with LocalSource.of(header).opened() as read:
        counted = [
            take_census(read, at, min(at + size, end)) for at in range(start, end, size)
        ]
        options = Options(keys=NO_KEY, old=side_options(frame))
        found = {
            at: read_split(header, span, read, lambda _: None, lambda *_: None, options)
            for at, span in enumerate(cut_splits(counted, start, end, 1 + header.lines))
        }
    whole = merge_results([found])
    file = join_results(header, (whole[at] for at in sorted(whole)), None, options)
    return Table(file.columns, ())


def _outcome(read: Callable[[], Result]) -> Result | None:
    """What a reader returns; None if it refuses the file."""
    try:
        return read()
    except ReconError:
        return None


def _table(file: CsvFile) -> Table:
    return Table(file.columns, tuple(cells(file)))


def _plain_table(file: CsvFile) -> Table:
    return Table(file.columns, tuple(plain_cells(file)))
