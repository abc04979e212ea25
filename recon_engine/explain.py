"""One key explained: its rows on both sides, where they stand, and how they differ."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.alignment import align
from recon_engine.border import only_ours
from recon_engine.compare import diff, judged, paired
from recon_engine.csvfile import CsvFile
from recon_engine.errors import ConfigError
from recon_engine.masks import keyed
from recon_engine.names import named
from recon_engine.parallel import in_order
from recon_engine.progress import SILENT, Progress
from recon_engine.rfc4180 import LIMITS, Limits
from recon_engine.rules import normal_form
from recon_engine.steady import steady
from recon_engine.tables import gated, headed


if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recon_engine.alignment import Alignment
    from recon_engine.config import Options
    from recon_engine.csvfile import Part
    from recon_engine.digest import Table
    from recon_engine.masks import Masks
    from recon_engine.names import Names


QUOTE: Final = ord('"')
LF: Final = ord("\n")
BLOCK: Final = 1 << 22
# Longer differences are marked as a whole: characters are compared with each other.
LONGEST: Final = 1_000
LINE: Final = "line"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of one side; `line` of its first byte, where the side is a file."""

    line: int | None
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of a pair. `state`: equal, tolerated, or the kind of the difference.

    `rules` are those of the column; the spans mark the characters that differ.
    """

    column: str
    old: str
    new: str
    state: str
    rules: tuple[str, ...]
    old_spans: tuple[Span, ...] = ()
    new_spans: tuple[Span, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether it is a mismatch."""
        return self.state not in {"equal", "tolerated"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows that belong together, with every compared cell."""

    old_line: int | None
    new_line: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All rows of a key: pairs, and what has no partner."""

    key: dict[str, str]
    pairs: tuple[Pair, ...]
    missing: tuple[Row, ...]
    extra: tuple[Row, ...]

    @property
    def agrees(self) -> bool:
        """Whether the key is on both sides, and nothing about it differs."""
        cells = (cell for pair in self.pairs for cell in pair.cells)
        return not (self.missing or self.extra or any(c.differs for c in cells))


@only_ours
def explained(
    old: object,
    new: object,
    options: Options,
    values: Sequence[str],
    progress: Progress = SILENT,
    *,
    limits: Limits = LIMITS,
) -> Explanation:
    """What is known of the key with these `values`, in the order of the key columns.

    One value of several columns may be a JSON array, as results show keys. Rows are
    paired as `diff` pairs them, and masked as it masks them. Raises ConfigError if
    neither side has the key.
    """
    key = _key(values, options.keys)
    with headed(old, new, options, limits, progress) as sides:
        layout = align(
            sides[0].columns,
            sides[1].columns,
            options,
            uris=(sides[0].uri, sides[1].uri),
        )
        tables = gated(*sides, progress)
        names = (
            named(tables[0].columns, layout, {}),
            named(tables[1].columns, layout, layout.new_names),
        )
        with progress.step("explain"):
            both = [
                _rows_of(table, each, key)
                for table, each in zip(tables, names, strict=True)
            ]
    if all(rows.is_empty() for rows in both):
        raise ConfigError(
            f"no row of either file has this {', '.join(layout.keys)}",
            help="the value as it stands in the file; several by one argument each",
        )
    masks = keyed(layout.masks)
    return _Explained(layout, options, names, masks).of(key, *both)


def _key(values: Sequence[str], keys: Sequence[str]) -> list[str]:
    if len(values) == 1 < len(keys):
        try:
            values = [str(each) for each in json.loads(values[0])]
        except (ValueError, TypeError):
            values = ()
    if len(values) != len(keys):
        raise ConfigError(
            f"the key has {len(keys):,} columns: {', '.join(keys)}",
            help="one value for each, in this order, or all as one JSON array",
        )
    return list(values)


def _rows_of(table: Table, names: Names, key: Sequence[str]) -> pl.DataFrame:
    """The rows of a key, each with its line."""
    wanted = pl.DataFrame(dict(zip(names.keys, key, strict=True)))
    forms = [
        normal_form(names.rules.get(name, ()), pl.col(name)).alias(name)
        for name in names.keys
    ]
    normal = wanted.select(forms).row(0)

    def found(part: Part) -> pl.DataFrame:
        cells = table.read(part).cells(names.all).collect(engine="in-memory")
        of_key = cells.select(forms).select(
            pl.all_horizontal(
                pl.col(name) == pl.lit(value)
                for name, value in zip(names.keys, normal, strict=True)
            ).alias("found")
        )["found"]
        rows = cells.filter(of_key)
        numbers = of_key.arg_true().to_numpy()
        lines = _lines(table, part, numbers) if rows.height else ()
        return rows.with_columns(pl.Series(LINE, lines, pl.Int64))

    schema = dict.fromkeys(names.all, pl.String) | {LINE: pl.Int64}
    return pl.concat([pl.DataFrame(schema=schema), *in_order(found, table.parts)])


def _lines(
    table: Table, part: Part, numbers: NDArray[np.integer]
) -> Sequence[int | None]:
    """The line of each row of a part, counted in the file as its text is."""
    if not isinstance(table, CsvFile):
        return [None] * len(numbers)
    data = np.frombuffer(table.read(part).data, np.uint8)
    # Quotes are even in number before a newline that ends a record.
    outside = np.cumsum(data == QUOTE, dtype=np.int64) % 2 == 0
    ends = np.flatnonzero((data == LF) & outside) + 1
    starts = np.append(0, ends)[numbers]
    if part.gaps is not None:
        starts = _in_file(starts, np.asarray(part.gaps, np.int64))
    before = _newlines(table, 0, part.offset)
    return [1 + before + _newlines(table, part.offset, int(at)) for at in starts]


def _in_file(starts: NDArray[np.int64], gaps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets among what is left of a part, as offsets in the part itself."""
    for first, last in gaps:
        starts = np.where(starts >= first, starts + (last - first), starts)
    return starts


def _newlines(file: CsvFile, offset: int, size: int) -> int:
    """How many there are in `size` bytes of a file."""
    count = 0
    with steady(file.path, file.uri, file.state) as descriptor:
        while size > 0:
            data = os.pread(descriptor, min(size, BLOCK), offset)
            count += data.count(b"\n")
            offset, size = offset + len(data), size - len(data)
    return count


@dataclass(frozen=True, slots=True)
class _Explained:
    """The rows of a key, back under the names of the user."""

    layout: Alignment
    options: Options
    names: tuple[Names, Names]
    masks: Masks

    def of(
        self, key: Sequence[str], old: pl.DataFrame, new: pl.DataFrame
    ) -> Explanation:
        """Pairs, and rows that have no partner, in file order."""
        ours = self.names[0]
        pairs = paired(old, new, keys=ours.keys, columns=ours.columns, rules=ours.rules)
        both = pairs.drop_nulls().sort("old")
        alone = pairs.filter(pl.col("new").is_null())["old"].sort()
        others = pairs.filter(pl.col("old").is_null())["new"].sort()
        return Explanation(
            key=self.masks.row(dict(zip(self.layout.keys, key, strict=True))),
            pairs=tuple(self.pair(old[o], new[n]) for o, n in both.iter_rows()),
            missing=tuple(self.row(0, old[at]) for at in alone),
            extra=tuple(self.row(1, new[at]) for at in others),
        )

    def pair(self, old: pl.DataFrame, new: pl.DataFrame) -> Pair:
        """Two rows, judged by the kernel itself."""
        ours = self.names[0]
        found = judged(
            diff(old, new, keys=ours.keys, columns=ours.columns, rules=ours.rules)
        )
        kinds = dict(found.cells.select("column", "kind").iter_rows())
        names = sorted(self.layout.columns)
        cells = {
            name: self.cell(name, old[v].item(), new[v].item(), kinds.get(at))
            for at, (name, v) in enumerate(zip(names, ours.columns, strict=True))
        }
        return Pair(
            old[LINE].item(),
            new[LINE].item(),
            tuple(cells[name] for name in self.layout.columns),
        )

    def cell(self, name: str, old: str, new: str, kind: str | None) -> Cell:
        """A cell of both rows, and what makes them equal or not."""
        rules = self.options.rules
        own = (*rules.get("*", ()), *rules.get(name, ()))
        same = "equal" if old == new else "tolerated"
        shown = self.masks.value(name, old), self.masks.value(name, new)
        return Cell(name, *shown, kind or same, own, *spans(*shown))

    def row(self, side: int, row: pl.DataFrame) -> Row:
        """A row that has no partner."""
        names = sorted(self.layout.columns)
        ours = self.names[side].columns
        values = dict(zip(names, row.select(ours).row(0), strict=True))
        ordered = {name: values[name] for name in self.layout.columns}
        return Row(row[LINE].item(), self.masks.row(ordered))


def spans(old: str, new: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The characters of each text that the other does not have, as half-open spans."""
    start = _shared(old, new)
    end = _shared(old[start:][::-1], new[start:][::-1])
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(left), len(right)) > LONGEST:
        blocks = [(0, len(left), 0, len(right))]
    else:
        matcher = SequenceMatcher(None, left, right, autojunk=False)
        blocks = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        tuple((start + a, start + b) for a, b, _, _ in blocks if a < b),
        tuple((start + c, start + d) for _, _, c, d in blocks if c < d),
    )


def _shared(left: str, right: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(left, right, strict=False))
    apart = (at for at, (a, b) in pairs if a != b)
    return next(apart, min(len(left), len(right)))
