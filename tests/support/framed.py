"""Files with frames, made by random draws, and what each reader makes of them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import tempfile
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from support.frame_reference import Frame, Table, read_framed
from support.reading import cells, quick_cells

from recon_engine.config import (
    LIMITS,
    NO_KEY,
    NameStyle,
    Options,
    Quote,
    SideOptions,
)
from recon_engine.errors import ReconError
from recon_engine.inputs import csv_reader, header, scanning, trailers, translation
from recon_engine.inputs.csv_reader import read_rows
from recon_engine.inputs.opening import open_input
from recon_engine.inputs.scanned import open_scanned
from recon_engine.inputs.scanning import KernelRefusal, start_validation
from recon_engine.inputs.trailer_sums import check_sums
from recon_engine.runtime.concurrency import start_no_threads_if_small
from recon_engine.runtime.progress import SILENT
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.split_reader import (
    check_split_sums,
    join_results,
    merge_results,
    read_split,
)
from recon_engine.spark.splits import cut_splits, take_census


if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.inputs.header import Header

    Reader = Callable[["Path", Frame], Table | None]
    ReadTable = Callable[[CsvFile], Table]

Result = TypeVar("Result")
CELLS: Final = (
    "", "1", "20", "a", "TRL", "EOF", "TRL2", "é", '"q"', "a,b", "x\ny", "#", "c2",
    "ID", "ID.2", "\x1a", " ", "x;y", "=1", "\r\n", "|", "~", "\x1f", "b", '="1"',
)  # fmt: skip
QUOTED: Final = ('"', '"q"', 'a"b', '"a', "a", "1", '=""', "")
NAMES: Final = ("ID", "A", "", "A", "c2", "A.2", "TRL", "é", " ", "x y")
# Of a column that a trailer sums.
AMOUNTS: Final = (
    "1", "20", "-3.50", "+7", ".5", "0", "-0", "1,000", "9.", "007", "-1,234.25",
    "12345678901234567890.125",
)  # fmt: skip
NO_AMOUNTS: Final = (
    "", " ", "1 ", "a", "1,00", "1e3", ".", "+", "--1", "1.5.0", ",1",
    "\N{ARABIC-INDIC DIGIT ONE}",
)  # fmt: skip
# Numbers of four characters, and of three if the last one is cut off.
FIXED_AMOUNTS: Final = ("0001", "-3.5", "+007", ".500", "1234", "9.00", "0000")
# Instead of the blank field behind a delimiter at the end.
UNLIKE: Final = ('""', "b", " ", '"b"')
HEADER: Final = ["ID", "A", "B"]
REPEATED: Final = ("A", "", "A", "ID", "A")
LONG: Final = ("||", "|~|", "::", "¦", "ab", "\t|")
LINES: Final = (b"title", b"", b'"', b"# a,b", b"#", b"a,b,c", b"\xff", b"TRL,1")
# What the sum of a column depends on, besides its file.
NO_RULES: Final = Options(keys=NO_KEY)


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
        trailer_sums=("{}:{}={}".format(frame.trailer[-1], *frame.trailer_sum),)
        if frame.trailer_sum
        else (),
        trailer_delimiter=frame.trailer_delimiter,
        eof_mark=frame.eof_mark,
        quote=Quote(frame.quote),
        excel_text=frame.excel_text,
        fixed=",".join(f"{name}:{a}-{b}" for name, a, b in frame.fixed),
    )


# What says how many bytes are read at once, and the fewest that are possible: the first
# bytes of a file show its encoding.
READ_SIZES: Final = (
    (csv_reader, "BLOCK_BYTES", 1),
    (translation, "BLOCK_BYTES", 1),
    (scanning, "BLOCK", 1),
    (scanning, "HASHED_BLOCK", 1),
    (trailers, "TAIL_BYTES", 1),
    (header, "FIRST_BYTES", 4),
)


def read_in_blocks(size: int) -> None:
    """Have all of the product read so many bytes at once, from now on."""
    for module, name, least in READ_SIZES:
        setattr(module, name, max(size, least))


@dataclass(frozen=True)
class Layout:
    """What files of one producer have in common.

    `lines`: the lines to skip. `summed`: the column whose sum the last trailer has.
    """

    syntax: str
    delimiter: str
    trailing: bool
    no_header: bool
    named: bool
    width: int
    lines: int
    comment: str
    trailer: tuple[str, ...]
    mark: str
    count: bool
    summed: str
    eof: bool
    repeat_names: str
    blank_names: str

    @functools.cached_property
    def columns(self) -> tuple[tuple[str, int, int], ...]:
        """The columns of a fixed width: names, first and last character."""
        wide = range(self.width)
        return tuple((f"n{at}", 1 + 4 * at, 4 + 4 * at - at % 2) for at in wide)

    def frame(self, skipped: int) -> Frame:
        """The options for a file; `skipped`: the lines to skip in it."""
        fixed = self.syntax == "fixed"
        given = tuple(name for name, _, _ in self.columns)
        return Frame(
            delimiter="," if fixed else self.delimiter,
            skip_lines=skipped,
            comment_prefix=self.comment,
            no_header=self.no_header,
            names=given if self.named else (),
            repeat_names=self.repeat_names,
            blank_names=self.blank_names,
            trailing_delimiter=self.trailing,
            trailer=self.trailer,
            trailer_count=2 if self.count else 0,
            trailer_sum=(3, self.summed) if self.summed else None,
            trailer_delimiter=self.mark,
            eof_mark=self.eof,
            quote="none" if self.syntax == "none" else "double",
            excel_text=self.syntax == "excel",
            fixed=self.columns if fixed else (),
        )


# Options that exclude each other need many files: no file has two of the last three.
SYNTAXES: Final = (
    *("csv", "long", "none", "none", "none", "none"),
    *("excel", "excel", "excel", "excel", "fixed", "fixed", "fixed", "fixed"),
)
# Few options in a file show each alone; many show what they do to each other.
OFTEN: Final = (0.2, 0.6, 0.9, 0.9)


def make_layout(draw: random.Random) -> Layout:
    """The options of some files, few or most of those that go together."""
    often = draw.choice(OFTEN)
    syntax = draw.choice(SYNTAXES)
    fixed = syntax == "fixed"
    long = syntax == "long" or (syntax in {"none", "excel"} and draw.random() < 0.4)
    no_header = draw.random() < 0.5 and not fixed
    as_is = no_header or fixed
    # The last one is longer than a line of one column of a fixed width.
    trailer: tuple[str, ...] = draw.choice(
        (("TRL",), ("TRL",), ("EOF", "TRL"), ("TRAILER",))
    )
    trailer = trailer if draw.random() < often else ()
    mark = draw.choice(";|") if trailer and draw.random() < often else ""
    has_fields = bool(trailer and (mark or not fixed))
    named = no_header and draw.random() < often
    width = draw.choice((1, 2, 2, 3))
    if named or fixed:
        names = [f"n{at}" for at in range(width)]
    else:
        names = [f"c{at + 1}" for at in range(width)] if no_header else HEADER[:width]
    return Layout(
        syntax=syntax,
        delimiter=draw.choice(LONG if long else ",;|"),
        trailing=draw.random() < 0.8 * often and not fixed,
        no_header=no_header,
        named=named,
        width=width,
        lines=draw.choice((1, 1, 2, 3)) if draw.random() < often else 0,
        comment=""
        if as_is or draw.random() > often
        else draw.choice(("#", "#", "--", "é")),
        trailer=trailer,
        mark=mark,
        count=has_fields and draw.random() < often,
        summed=draw.choice(names) if has_fields and draw.random() < often else "",
        eof=draw.random() < often,
        repeat_names="refuse" if as_is or draw.random() > often else "number",
        blank_names="refuse" if as_is or draw.random() > often else "number",
    )


def make_file(draw: random.Random, layout: Layout) -> tuple[bytes, Frame]:
    """A file that often fits its frame, and often just does not."""
    syntax, delimiter = layout.syntax, layout.delimiter
    fixed, trailing = syntax == "fixed", layout.trailing
    end = draw.choice(("\n", "\r\n"))
    lines = [draw.choice(LINES) for _ in range(layout.lines)]
    comments = [
        layout.comment.encode() + draw.choice((b"x", b"", b" a,b", b"a;b;c"))
        for _ in range(draw.choice((0, 1, 1, 2)) if layout.comment else 0)
    ]

    def row(texts: list[str]) -> str:
        if fixed:
            return fit(draw, texts, layout.columns)
        fields = [write(draw, each, delimiter, syntax) for each in texts]
        if not trailing:
            return delimiter.join(fields)
        last = "" if draw.random() < 0.98 else draw.choice((*UNLIKE, None))
        return delimiter.join(fields if last is None else [*fields, last])

    texts = draw_texts(draw, layout)
    rows = [row(each) for each in texts]
    names = draw_names(draw, layout)
    head = [] if layout.no_header or fixed else [row(names)]
    total = add_up(draw, texts, names, layout)
    tail = [
        (layout.mark or delimiter).join(
            [prefix, str(len(rows) + (draw.random() < 0.1)), total]
        )
        for prefix in layout.trailer
        if draw.random() < 0.97
    ]
    # Of bytes, because a preamble may be in any encoding.
    body = end.join([*head, *rows, *tail]).encode()
    before = b"".join([line + b"\n" for line in (*lines, *comments)])
    data = before + body + draw.choice((b"", b"\n", b"\r\n", b"\n\n"))
    if draw.random() < (0.8 if layout.eof else 0.02):
        data += b"\x1a"
    if draw.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    if draw.random() < 0.25:
        data = spoil(draw, data)
    return data, layout.frame(len(lines) + (draw.random() < 0.02))


def draw_names(draw: random.Random, layout: Layout) -> list[str]:
    """The names of the columns, which may be blank or repeat in a header."""
    if layout.named or layout.syntax == "fixed":
        return [name for name, _, _ in layout.columns]
    if layout.no_header:
        return [f"c{at + 1}" for at in range(layout.width)]
    numbers = "number" in {layout.repeat_names, layout.blank_names}
    if draw.random() > (0.85 if numbers else 0.2):
        return HEADER[: layout.width]
    few = draw.choice((NAMES, REPEATED))
    names = [draw.choice(few) for _ in range(layout.width)]
    if layout.summed and draw.random() < 0.9:
        names[draw.randrange(layout.width)] = layout.summed
    return names


def draw_texts(draw: random.Random, layout: Layout) -> list[list[str]]:
    """The cells of the rows, most of which have as many as there are columns."""
    if layout.summed:
        amounts = FIXED_AMOUNTS if layout.syntax == "fixed" else AMOUNTS
        cells = amounts if draw.random() < 0.9 else (*amounts, *NO_AMOUNTS)
    else:
        cells = QUOTED if layout.syntax == "none" and draw.random() < 0.5 else CELLS
    return [
        [draw.choice(cells) for _ in range(layout.width if draw.random() < 0.98 else 3)]
        for _ in range(draw.choice((0, 1, 2, 3, 5)))
    ]


def add_up(
    draw: random.Random, texts: list[list[str]], names: Sequence[str], layout: Layout
) -> str:
    """The field of a trailer that has the sum of a column, which is often right."""
    if layout.summed not in names:
        return "x"
    at, total = names.index(layout.summed), Decimal(draw.random() < 0.1)
    size = layout.columns[at][2] - layout.columns[at][1] + 1
    for row in texts:
        text = "".join(row[at : at + 1]).replace(",", "")
        with contextlib.suppress(InvalidOperation):
            total += Decimal(text[:size] if layout.syntax == "fixed" else text)
    written = draw.choice((f"{total}", f"{total}", f" {total}", f"{total:+}"))
    grouped = (layout.mark or layout.delimiter) != "," and draw.random() < 0.2
    return f"{total:,}" if grouped else written


def make_case(draw: random.Random) -> tuple[bytes, Frame]:
    """A file of a layout of its own."""
    return make_file(draw, make_layout(draw))


def effective_options(data: bytes, frame: Frame) -> list[str]:
    """The options without which the reference reads something else in a file."""
    expected, found = read_framed(data, frame), []
    for field in dataclasses.fields(Frame):
        if getattr(frame, field.name) == field.default:
            continue
        without: dict[str, Any] = {field.name: field.default}
        if field.name == "trailer":
            without |= {"trailer_count": 0, "trailer_sum": None}
        if read_framed(data, dataclasses.replace(frame, **without)) != expected:
            found.append(field.name)
    return found


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
        return _outcome(lambda: _read(_header(path, frame, Path(folder)), _table))


def by_kernel(path: Path, frame: Frame) -> Table | None:
    """What the native kernel makes of it."""

    def scan(header: Header) -> Table:
        return _scan_two(header, header, _table, _table)[0]

    with tempfile.TemporaryDirectory() as folder:
        return _outcome(lambda: scan(_header(path, frame, Path(folder))))


def in_splits(size: int) -> Reader:
    """A reader as a cluster has it, with splits of this size."""

    def read(path: Path, frame: Frame) -> Table | None:
        with tempfile.TemporaryDirectory() as folder:
            return _outcome(
                lambda: _join(_header(path, frame, Path(folder)), frame, size)
            )

    return read


def rows_alone(table: Table | None) -> Table | None:
    """The same without rows: a cluster joins no rows on the driver."""
    return None if table is None else dataclasses.replace(table, rows=())


@dataclass(frozen=True)
class Depth:
    """What reads a file besides the native kernel, which reads every one.

    `python`: the reader in Python. `size`: the size of the splits of a cluster; 0 reads
    none. `parsers`: whether the cells are those of Polars, Arrow and the grammar too,
    which takes longer than everything else.
    """

    python: bool = True
    size: int = 0
    parsers: bool = False


class Checker:
    """Checks all readers on files, each of which is opened once.

    The kernel reads two files at once, as the product does: an accepted file waits for
    the next one. Call `finish` at the end.
    """

    def __init__(self, folder: Path, *, kernel: bool) -> None:
        """`folder`: an empty folder; `kernel`: whether the native kernel is there."""
        self.kernel = kernel
        self.waiting: tuple[Header, Table, bytes, Frame, bool] | None = None
        self.paths = [folder / each / "f.csv" for each in ("1", "2")]
        for path in self.paths:
            path.parent.mkdir()

    def check(self, data: bytes, frame: Frame, depth: Depth) -> bool:
        """Whether a file is accepted.

        Raises AssertionError where a reader disagrees with the reference about it, or
        about the file before it.
        """
        # Threads cost ten times what a file of this size does.
        with start_no_threads_if_small(len(data)):
            return self.check_alone(data, frame, depth)

    def check_alone(self, data: bytes, frame: Frame, depth: Depth) -> bool:
        """The same on this thread."""
        expected = read_framed(data, frame)
        path = self.paths[self.waiting is not None]
        write_over(str(path), data)
        header = _outcome(lambda: _header(path, frame, path.parent))
        if header is None:
            assert expected is None, (data, frame)
            return False
        table = _table if depth.parsers else _quick_table
        if depth.python or not self.kernel:
            found = _outcome(lambda: _read(header, table))
            assert found == expected, (data, frame)
        if depth.size:
            joined = _outcome(lambda: _join(header, frame, depth.size))
            assert joined == rows_alone(expected), (data, frame)
        if self.kernel and expected is None:
            refused = _outcome(lambda: _scan_two(header, header, table, table))
            assert refused is None, (data, frame)
        elif self.kernel and expected is not None:
            self.scan(header, expected, data, frame, depth)
        return expected is not None

    def scan(
        self, header: Header, expected: Table, data: bytes, frame: Frame, depth: Depth
    ) -> None:
        """Have the kernel read a file with the one before it, or let it wait."""
        if self.waiting is None:
            self.waiting = header, expected, data, frame, depth.parsers
            return
        first, other, *case, parsers = self.waiting
        self.waiting = None
        tables = [_table if each else _quick_table for each in (parsers, depth.parsers)]
        found = _outcome(lambda: _scan_two(first, header, *tables))
        assert found == (other, expected), (case, data, frame)

    def finish(self) -> None:
        """Have the kernel read a file that still waits."""
        if self.waiting is not None:
            header, expected, data, frame, parsers = self.waiting
            self.scan(header, expected, data, frame, Depth(parsers=parsers))


def write_over(path: str, data: bytes) -> None:
    """Write a file; remove what the readers wrote beside the one before it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path.removesuffix("f.csv") + "old.csv.utf8")  # noqa: PTH108 - faster
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        assert os.write(descriptor, data) == len(data)
    finally:
        os.close(descriptor)


@functools.lru_cache(maxsize=64)
def _options(frame: Frame) -> Options:
    # A single character is itself; beside others, a colon would separate OLD and NEW.
    long = len(frame.delimiter) > 1
    delimiter = frame.delimiter.replace(":", "\\x3a") if long else frame.delimiter
    return Options(keys=NO_KEY, delimiter=delimiter, old=side_options(frame))


def _header(path: Path, frame: Frame, folder: Path) -> Header:
    return open_input(
        path,
        uri=str(path),
        side="old",
        options=_options(frame),
        limits=LIMITS,
        folder=folder,
    )


def _read(header: Header, table: ReadTable) -> Table:
    file = read_rows(header)
    check_sums([header], [file], NO_RULES)
    return table(file)


def _scan_two(
    old: Header, new: Header, old_table: ReadTable, new_table: ReadTable
) -> tuple[Table, Table]:
    scanning = start_validation([old, new])
    assert scanning is not None
    with open_scanned(scanning, SILENT) as (first, second):
        files = first.file(), second.file()
        check_sums((old, new), files, NO_RULES)
        return old_table(files[0]), new_table(files[1])


def _join(header: Header, frame: Frame, size: int) -> Table:
    start, end = len(header.raw), header.end
    with LocalSource.of(header).opened() as read:
        counted = [
            take_census(read, at, min(at + size, end)) for at in range(start, end, size)
        ]
        options = _options(frame)
        found = {
            at: read_split(header, span, read, lambda _: None, lambda *_: None, options)
            for at, span in enumerate(cut_splits(counted, start, end, 1 + header.lines))
        }
    whole = merge_results([found])
    split_results = [whole[at] for at in sorted(whole)]
    file = join_results(header, split_results, None)
    check_split_sums(header, split_results, file, options)
    return Table(file.columns, ())


def _outcome(read: Callable[[], Result]) -> Result | None:
    """What a reader returns; None if it refuses the file."""
    try:
        return read()
    except (ReconError, KernelRefusal):
        return None


def _table(file: CsvFile) -> Table:
    return Table(file.columns, tuple(cells(file)))


def _quick_table(file: CsvFile) -> Table:
    return Table(file.columns, tuple(quick_cells(file)))
