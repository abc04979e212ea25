"""How an analysis declares its finding, once: what every output derives from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol

from recon_engine.record_table import Record, RecordTable, as_plain, as_text
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from recon_engine.analysis.evidence import Evidence


class ValueMasks(Protocol):
    """What is shown in place of values; `compare.masks.Masks` implements it."""

    @property
    def by_column(self) -> Container[str]:
        """The masked columns."""
        ...

    def value(self, column: str, text: str) -> str:
        """What is shown for a value of a column."""
        ...

    def row(self, values: Mapping[str, str]) -> dict[str, str]:
        """What is shown for a key, by column."""
        ...


def drop_masked(records: tuple[Any, ...], masks: ValueMasks) -> tuple[Any, ...]:
    """Records of columns without a mask: the sum over a few rows reveals values."""
    return tuple(each for each in records if each.column not in masks.by_column)


def keep_whole(record: Record) -> Record:
    """The record itself: it is stored as it is shown."""
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(RecordTable[Record], Generic[Record]):
    """What an analysis says about the differences of a result.

    `name`: in the result, in JSON, and of the artifact `name.csv`. `find` computes the
    records. `mask` returns what is shown of them, in an order that reveals no value.
    `holds_values`: whether the rows hold values of cells, which `recon purge` deletes.
    `strip` returns what the table holds of a record, without values of cells.
    """

    name: str
    find: Callable[[Evidence], Iterable[Record]]
    mask: Callable[[tuple[Record, ...], ValueMasks], tuple[Record, ...]]
    holds_values: bool
    strip: Callable[[Record], Record] = keep_whole

    def rows_to_store(self, records: Iterable[Record]) -> Iterator[dict[str, Any]]:
        """The rows of the table, without the columns that name the run."""
        return RecordTable.rows_to_store(self, map(self.strip, records))

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of the artifact."""
        return tuple(each.name for each in self.fields)

    def csv_rows(self, records: Iterable[Record]) -> Iterator[tuple[object, ...]]:
        """The rows of the artifact."""
        for record in records:
            for row in self.flatten(record):
                yield tuple(as_text(row[name]) for name in self.header)

    def to_json(self, record: Record) -> dict[str, Any]:
        """A record as plain values: by default its fields."""
        [row] = self.flatten(record)
        return {name: as_plain(value) for name, value in row.items()}
