"""The rows of one key on both sides, their places, and how they differ."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from recon_engine.characters import may_be_in_a_file
from recon_engine.compare.digests import assign_ids
from recon_engine.compare.masks import make_masks
from recon_engine.compare.pairing import compare_rows, with_kinds
from recon_engine.compare.preparation import REASON
from recon_engine.compare.prepared_rows import arrange_rows
from recon_engine.errors import ConfigError
from recon_engine.inputs.csvfile import CsvFile
from recon_engine.inputs.pinned_file import open_unchanged
from recon_engine.inputs.tables import open_tables
from recon_engine.kinds import Kind
from recon_engine.model import SIDES
from recon_engine.rules.chains import (
    NO_CHAIN,
    normal_column,
    read_forms,
    rules_of_side,
    show_forms,
)
from recon_engine.rules.numbers import Number, read_number
from recon_engine.runtime.concurrency import map_ordered
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from recon_engine.compare.alignment import Alignment
    from recon_engine.compare.digests import ColumnIds
    from recon_engine.compare.masks import Masks
    from recon_engine.compare.prepared_rows import ArrangedRows
    from recon_engine.config import Options
    from recon_engine.inputs.csvfile import RowGroup
    from recon_engine.inputs.scanning import Scanning
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.rules.chains import Chain
    from recon_engine.runtime.progress import Progress


QUOTE: Final = ord('"')
LF: Final = ord("\n")
BLOCK_BYTES: Final = 1 << 22
# Longer differences are marked as a whole: SequenceMatcher takes quadratic time.
MAX_MATCHED_CHARS: Final = 1_000
LINE_COLUMN: Final = "line"
# Why a row is set aside although it could be compared.
LEFT_OUT: Final = ("left out", "partner left out")
NOT_COMPARED: Final = "not_compared"
# Of `context`: every column of both files.
ALL: Final = "all"

CharSpan = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """A row of one side; `line` of its first byte, None for a frame."""

    line: int | None
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class ExplainedCell:
    """A cell of a pair. `state`: equal, tolerated, or the kind of the difference.

    `not_compared`: shown as context only; None on a side that has no such column.
    `rules`: of the column; the spans mark the characters that differ.
    """

    column: str
    old: str | None
    new: str | None
    state: str
    rules: tuple[str, ...]
    old_spans: tuple[CharSpan, ...] = ()
    new_spans: tuple[CharSpan, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether its state is a kind of difference: neither equal nor tolerated."""
        return self.state not in {"equal", "tolerated", NOT_COMPARED}


@dataclass(frozen=True, slots=True)
class ExplainedPair:
    """Two paired rows with every compared cell.

    The cells of key columns that only a rule makes equal come first. `factors`: of
    columns of the kind `scale`, by what OLD is multiplied.
    """

    old_line: int | None
    new_line: int | None
    cells: tuple[ExplainedCell, ...]
    factors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowAside:
    """A row that is set aside: the side, `old` or `new`, and the reason."""

    side: str
    reason: str
    row: ExplainedRow


@dataclass(frozen=True, slots=True)
class Explanation:
    """All rows of a key: pairs, rows without a partner, and rows that are set aside.

    `new_names`: the names in NEW of columns that have another one in OLD.
    """

    key: dict[str, str]
    pairs: tuple[ExplainedPair, ...]
    missing: tuple[ExplainedRow, ...]
    extra: tuple[ExplainedRow, ...]
    aside: tuple[RowAside, ...] = ()
    new_names: dict[str, str] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether the key is on both sides and nothing differs."""
        return not self.disagreement

    @property
    def disagreement(self) -> str:
        """Why the rows do not agree, in one line; empty if they do."""
        cells = (cell for pair in self.pairs for cell in pair.cells)
        if self.missing or self.extra or any(cell.differs for cell in cells):
            return "the rows of the key differ"
        every = dict.fromkeys(each.reason for each in self.aside)
        if not self.pairs:
            return f"no row of the key is compared: {', '.join(every)}"
        lost = ", ".join(each for each in every if each not in LEFT_OUT)
        return f"a row of the key is not compared: {lost}" if lost else ""


def explain_rows(
    sides: tuple[Unread, Unread],
    layout: Alignment,
    options: Options,
    key: Sequence[str],
    progress: Progress,
    *,
    context: Sequence[str],
    scanning: Scanning | None,
) -> Explanation:
    """Explain a key of two files whose columns are paired.

    Args:
        sides: Both files, with their headers read.
        layout: Their columns.
        options: How the files are read.
        key: A value for each column of the key.
        progress: Reports the steps.
        context: Columns that are shown besides the compared ones.
        scanning: The pass of both files through the native kernel, if it has begun.

    Raises ConfigError if neither side has the key, or no side a column of `context`.
    """
    names = (
        assign_ids(sides[0].columns, layout, "old"),
        assign_ids(sides[1].columns, layout, "new"),
    )
    extra = find_context(layout, names, (sides[0].columns, sides[1].columns), context)
    with (
        open_tables(*sides, options, progress, scanning) as tables,
        progress.step("explain"),
    ):
        both = [
            _find_rows(table, each, key)
            for table, each in zip(tables, names, strict=True)
            if all(map(may_be_in_a_file, key))
        ]
    if all(rows.is_empty() for rows in both):
        raise ConfigError(
            f"no row of either file has this key ({', '.join(layout.keys)})",
            help="give the value as in the file, one argument for each key column",
        )
    masks = make_masks(layout.masks)
    return _Explainer(layout, names, masks, extra).explain(key, *both)


def find_context(
    layout: Alignment,
    names: tuple[ColumnIds, ColumnIds],
    columns: tuple[Sequence[str], Sequence[str]],
    context: Sequence[str],
) -> dict[str, tuple[str | None, str | None]]:
    """The columns to show besides the compared ones, with their ids on both sides.

    `columns`: those of OLD and of NEW, without derived ones. By their names in OLD, in
    the order of OLD; those of NEW only come last.

    Raises ConfigError if no side has a column of `context`.
    """
    theirs = [layout.new_names.get(name, name) for name in columns[1]]
    old, new = (
        dict(zip((*of_side, *prepared.new_names), ids.all, strict=True))
        for of_side, prepared, ids in zip(
            (columns[0], theirs), layout.prepared, names, strict=True
        )
    )
    every = {name: (old.get(name), new.get(name)) for name in (*old, *new)}
    for name in context:
        if name != ALL and name not in every:
            raise ConfigError(
                f"context {name}: no file has that column"
                + did_you_mean(name, (*every, ALL)),
                help="name a column by its name in OLD, or all",
            )
    return {
        name: ids
        for name, ids in every.items()
        if name not in layout.columns
        # The key is shown above, and as a cell if the sides write it differently.
        and (name in context or (ALL in context and name not in layout.keys))
    }


def _find_rows(table: Table, names: ColumnIds, key: Sequence[str]) -> pl.DataFrame:
    """The rows of a key, each with its line."""
    if (
        isinstance(table, CsvFile)
        and table.source is not None
        and (numbers := table.source.find_keys([key])) is not None
    ):
        return _take_rows(table, names, key, np.sort(numbers))
    # The key may be written as in OLD or as in NEW.
    wanted = pl.DataFrame(dict(zip(names.keys, key, strict=True)))
    spelled = {
        wanted.select(normal_column(name, rules) for name in names.keys).row(0)
        for rules in (rules_of_side(names.chains, side) for side in SIDES)
    }
    forms = [normal_column(name, names.rules) for name in names.keys]

    def found(part: RowGroup) -> pl.DataFrame:
        cells = names.read_cells(table.read(part)).collect(engine="in-memory")
        of_key = cells.select(forms).select(
            pl.any_horizontal(
                pl.all_horizontal(
                    pl.col(name) == pl.lit(value)
                    for name, value in zip(names.keys, normal, strict=True)
                )
                for normal in spelled
            ).alias("found")
        )["found"]
        rows = cells.filter(of_key)
        numbers = of_key.arg_true().to_numpy()
        lines = _find_lines(table, part, numbers) if rows.height else ()
        return rows.with_columns(pl.Series(LINE_COLUMN, lines, pl.Int64))

    schema = dict.fromkeys(names.all, pl.String) | {LINE_COLUMN: pl.Int64}
    return pl.concat([pl.DataFrame(schema=schema), *map_ordered(found, table.parts)])


def _take_rows(
    file: CsvFile, names: ColumnIds, key: Sequence[str], numbers: NDArray[np.uint32]
) -> pl.DataFrame:
    """Of the rows of these numbers those of a key, each with its line."""
    assert file.source is not None  # noqa: S101 - the caller has found rows in it
    cells = names.read_cells(file.take(numbers.astype(np.int64))).collect()
    lines = [
        1 + _count_newlines(file, 0, file.source.start_of(int(row))) for row in numbers
    ]
    # The rows were found by the digest of the key, which another key may have.
    of_key = (
        pl.col(name) == pl.lit(value)
        for name, value in zip(names.keys, key, strict=True)
    )
    return cells.with_columns(pl.Series(LINE_COLUMN, lines, pl.Int64)).filter(*of_key)


def _find_lines(
    table: Table, part: RowGroup, numbers: NDArray[np.integer]
) -> Sequence[int | None]:
    """The line of each row of a row group, in the text of the file."""
    if not isinstance(table, CsvFile):
        return [None] * len(numbers)
    data = np.frombuffer(table.read(part).data, np.uint8)
    # An even number of quotes precedes a newline that ends a record.
    outside = np.cumsum(data == QUOTE, dtype=np.int64) % 2 == 0
    ends = np.flatnonzero((data == LF) & outside) + 1
    starts = np.append(0, ends)[numbers]
    if part.gaps is not None:
        starts = _offsets_in_file(starts, np.asarray(part.gaps, np.int64))
    before = _count_newlines(table, 0, part.offset)
    return [1 + before + _count_newlines(table, part.offset, int(at)) for at in starts]


def _offsets_in_file(
    starts: NDArray[np.int64], gaps: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Convert offsets without quarantined ranges to offsets with them."""
    # Ascending: an offset is compared with a gap when it has all gaps before it.
    for first, last in gaps:
        starts = np.where(starts >= first, starts + (last - first), starts)
    return starts


def _count_newlines(file: CsvFile, offset: int, size: int) -> int:
    """The number of newlines in `size` bytes of a file."""
    count = 0
    with open_unchanged(file.path, file.uri, file.state) as descriptor:
        while size > 0:
            data = os.pread(descriptor, min(size, BLOCK_BYTES), offset)
            count += data.count(b"\n")
            offset, size = offset + len(data), size - len(data)
    return count


@dataclass(frozen=True, slots=True)
class _Explainer:
    """The rows of a key, under the user's names."""

    layout: Alignment
    names: tuple[ColumnIds, ColumnIds]
    masks: Masks
    context: Mapping[str, tuple[str | None, str | None]]

    def explain(
        self, key: Sequence[str], old: pl.DataFrame, new: pl.DataFrame
    ) -> Explanation:
        """Pairs, and rows without a partner, in file order."""
        arranged = arrange_rows(old, new, self.names)
        old, new, pairs = arranged.old, arranged.new, arranged.paired.pairs
        both = pairs.drop_nulls().sort("old")
        alone = pairs.filter(pl.col("new").is_null())["old"].sort()
        others = pairs.filter(pl.col("old").is_null())["new"].sort()
        return Explanation(
            key=self.masks.row(dict(zip(self.layout.keys, key, strict=True))),
            pairs=tuple(self.explain_pair(old[o], new[n]) for o, n in both.iter_rows()),
            missing=tuple(self.explain_row(0, old[at]) for at in alone),
            extra=tuple(self.explain_row(1, new[at]) for at in others),
            aside=tuple(self.explain_aside(arranged)),
            new_names={ours: new for new, ours in self.layout.new_names.items()},
        )

    def explain_aside(self, arranged: ArrangedRows) -> Iterator[RowAside]:
        """The rows that are left out, then those that could not be paired."""
        paired = arranged.paired
        for side, rows in enumerate((arranged.old, arranged.new)):
            for reason, numbers in zip(
                LEFT_OUT, (paired.left_out, paired.partner_left_out), strict=True
            ):
                for at in np.sort(numbers[side]).tolist():
                    yield RowAside(
                        SIDES[side], reason, self.explain_row(side, rows[at])
                    )
            lost = arranged.unpairable[side]
            for at in range(0 if lost is None else lost.height):
                assert lost is not None  # noqa: S101 - it has rows
                row = self.explain_row(side, lost[at])
                yield RowAside(SIDES[side], lost[REASON][at], row)

    def explain_pair(self, old: pl.DataFrame, new: pl.DataFrame) -> ExplainedPair:
        """Two rows, compared by the same functions as in `diff`."""
        ours = self.names[0]
        found = with_kinds(
            compare_rows(
                old, new, keys=ours.keys, columns=ours.columns, rules=ours.chains
            ),
            ours.columns,
            ours.chains,
        )
        kinds = dict(found.cells.select("column", "kind").iter_rows())
        names = sorted(self.layout.columns)
        cells = {
            name: self.explain_cell(name, old[v].item(), new[v].item(), kinds.get(at))
            for at, (name, v) in enumerate(zip(names, ours.columns, strict=True))
        }
        keys = (
            self.explain_cell(name, old[k].item(), new[k].item(), None)
            for name, k in zip(self.layout.keys, ours.keys, strict=True)
            if old[k].item() != new[k].item()
        )
        return ExplainedPair(
            old[LINE_COLUMN].item(),
            new[LINE_COLUMN].item(),
            (
                *keys,
                *(cells[name] for name in self.layout.columns),
                *self.explain_context(old, new),
            ),
            {
                name: find_factor(
                    self.layout.rules.get(name, NO_CHAIN), old[v].item(), new[v].item()
                )
                for at, (name, v) in enumerate(zip(names, ours.columns, strict=True))
                # Not of a masked column: a factor says something of its values.
                if kinds.get(at) == Kind.SCALE and self.masks.value(name, "1") == "1"
            },
        )

    def explain_context(
        self, old: pl.DataFrame, new: pl.DataFrame
    ) -> Iterator[ExplainedCell]:
        """The cells of the columns that are shown besides the compared ones."""
        for name, ids in self.context.items():
            before, after = (
                None if of is None else self.masks.value(name, row[of].item())
                for of, row in zip(ids, (old, new), strict=True)
            )
            yield ExplainedCell(name, before, after, NOT_COMPARED, ())

    def explain_cell(
        self, name: str, old: str, new: str, kind: str | None
    ) -> ExplainedCell:
        """A cell of both rows, and why it is equal or not."""
        chain = self.layout.rules.get(name, NO_CHAIN)
        own = tuple(step.text for step in chain.steps)
        same = "equal" if old == new else "tolerated"
        shown = self.masks.value(name, old), self.masks.value(name, new)
        # Of the shown texts: spans of masked values would say where they differ.
        return ExplainedCell(name, *shown, kind or same, own, *differing_spans(*shown))

    def explain_row(self, side: int, row: pl.DataFrame) -> ExplainedRow:
        """A row without a partner."""
        names = sorted(self.layout.columns)
        ours = self.names[side].columns
        values = dict(zip(names, row.select(ours).row(0), strict=True))
        ordered = {name: values[name] for name in self.layout.columns} | {
            name: row[internal].item()
            for name, ids in self.context.items()
            if (internal := ids[side]) is not None
        }
        return ExplainedRow(row[LINE_COLUMN].item(), self.masks.row(ordered))


def find_factor(chain: Chain, old: str, new: str) -> str:
    """By what a number is multiplied: `10`, `0.01`; the texts have the kind `scale`."""
    shown = [
        show_forms(chain.of(side), read_forms(chain.of(side), pl.Series([text])))
        for side, text in zip(SIDES, (old, new), strict=True)
    ]
    plain = read_number(Number().normal(pl.lit(pl.concat(shown))))
    before, after = map(Decimal, pl.select(plain).to_series())
    return f"{after / before:f}"


def differing_spans(
    old: str, new: str
) -> tuple[tuple[CharSpan, ...], tuple[CharSpan, ...]]:
    """The characters of each text that the other lacks, as half-open spans."""
    start = _common_prefix_length(old, new)
    # Of what the prefix leaves: `aa` and `aaa` would have one `a` in both.
    end = _common_prefix_length(old[start:][::-1], new[start:][::-1])
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(left), len(right)) > MAX_MATCHED_CHARS:
        blocks = [(0, len(left), 0, len(right))]
    else:
        # By default, frequent characters are ignored in a text of 200 or more.
        matcher = SequenceMatcher(None, left, right, autojunk=False)
        blocks = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
    return (
        tuple((start + a, start + b) for a, b, _, _ in blocks if a < b),
        tuple((start + c, start + d) for _, _, c, d in blocks if c < d),
    )


def _common_prefix_length(left: str, right: str) -> int:
    """The number of leading characters that two texts share."""
    pairs = enumerate(zip(left, right, strict=False))
    apart = (at for at, (a, b) in pairs if a != b)
    return next(apart, min(len(left), len(right)))
