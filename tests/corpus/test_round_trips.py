"""Tables written by many hands, through the whole engine and back."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as pyarrow_csv
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import CELLS, NAMES

import recon_engine


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recon_engine.result import Reconciliation

    Table = tuple[list[str], list[tuple[str, ...]]]
    Writer = Callable[[Table], bytes]

KEY: Final = "nr"


@st.composite
def keyed(draw: st.DrawFn) -> Table:
    """Some columns of any cells, and one that numbers the rows."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    row = st.tuples(*[CELLS] * len(names))
    rows = draw(st.lists(row, min_size=1, max_size=10))
    return [KEY, *names], [(str(at), *cells) for at, cells in enumerate(rows)]


def by_csv(**style: object) -> Writer:
    def write(table: Table) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, **style)  # type: ignore[arg-type]
        writer.writerows([table[0], *table[1]])
        return text.getvalue().encode()

    return write


# With LF alone, Python does not quote a carriage return in a cell.
LF: Final = by_csv(quoting=csv.QUOTE_ALL, lineterminator="\n")


def frame(table: Table) -> pl.DataFrame:
    return pl.DataFrame(
        table[1], schema=dict.fromkeys(table[0], pl.String), orient="row"
    )


def by_polars(table: Table) -> bytes:
    return frame(table).write_csv(quote_style="always").encode()


def by_pyarrow(table: Table) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow_csv.write_csv(frame(table).to_arrow(), sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def with_mark(table: Table) -> bytes:
    return b"\xef\xbb\xbf" + by_csv()(table)


def in_another_order(table: Table) -> bytes:
    names, rows = table
    turned = [row[::-1] for row in rows[::-1]]
    return LF((names[::-1], turned))


def without_the_last_newline(table: Table) -> bytes:
    return by_csv()(table).removesuffix(b"\r\n")


WRITERS: Final[dict[str, Writer]] = {
    "csv": by_csv(),
    "csv, every field quoted": by_csv(quoting=csv.QUOTE_ALL),
    "csv, LF, every field quoted": LF,
    "polars": by_polars,
    "pyarrow": by_pyarrow,
    "a byte order mark": with_mark,
    "another order": in_another_order,
    "no last newline": without_the_last_newline,
}


WRITING: Final = st.sampled_from(sorted(WRITERS)).map(WRITERS.__getitem__)


def compared(folder: Path, old: bytes, new: bytes) -> Reconciliation:
    left, right = folder / "old.csv", folder / "new.csv"
    left.write_bytes(old)
    right.write_bytes(new)
    return recon_engine.diff(left, right, keys=KEY)


@given(table=keyed(), writer=WRITING)
def test_a_file_agrees_with_itself_and_with_itself_written_by_others(
    tmp_path: Path, writer: Writer, table: Table
) -> None:
    for other in (writer, by_csv()):
        found = compared(tmp_path, writer(table), other(table))
        assert found.agrees
        assert found.counts.matched == len(table[1])


@given(table=keyed(), writer=WRITING, data=st.data())
def test_one_changed_cell_is_found_as_exactly_that(
    tmp_path: Path, writer: Writer, table: Table, data: st.DataObject
) -> None:
    names, rows = table
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(1, len(names) - 1))
    before = rows[row][column]
    after = data.draw(CELLS.filter(lambda cell: cell != before))
    changed = (*rows[row][:column], after, *rows[row][column + 1 :])
    other = names, [*rows[:row], changed, *rows[row + 1 :]]
    found = compared(tmp_path, by_csv()(table), writer(other))
    assert (found.counts.missing, found.counts.extra) == (0, 0)
    [cell] = found.mismatches().drop("kind").rows()
    assert cell == (str(row), names[column], before, after)
