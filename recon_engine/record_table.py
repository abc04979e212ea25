"""One map between the fields of a record and the columns of its table.

Writing the rows of `metrics` tables, reading them back, JSON and CSV derive from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


Record = TypeVar("Record")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a record.

    `name`: in JSON and CSV, and the attribute of the record. `column`: its name in the
    table, if that is another one. `stored`: False for what the other fields determine.
    `get`: returns what is written, if that is not the attribute.
    """

    name: str
    column: str = ""
    stored: bool = True
    get: Callable[[Any], Any] | None = None

    @property
    def sql_name(self) -> str:
        """The column of the table."""
        return self.column or self.name

    def value_of(self, record: object) -> Any:
        return (self.get or attrgetter(self.name))(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable(Generic[Record]):
    """Records of one type, and the table of the schema `metrics` that holds them.

    `load` builds a record: its arguments are the stored values, by the names of the
    fields.
    """

    table: str
    fields: tuple[Field, ...]
    load: Callable[..., Record]

    @property
    def order(self) -> tuple[str, ...]:
        """The columns that keep the order of the records."""
        return ("ordinal",)

    @property
    def query(self) -> str:
        """Select the rows of a run, its columns under the names of the fields."""
        columns = ", ".join(
            f'{each.sql_name} AS "{each.name}"' for each in self.fields if each.stored
        )
        return (
            f"SELECT {columns} FROM metrics.{self.table}"  # noqa: S608 - names above
            f" WHERE run_id = %s ORDER BY {', '.join(self.order)}"
        )

    def flatten(self, record: Record) -> Iterator[Row]:
        """The values of a record, by the names of the fields: by default one row."""
        yield {each.name: each.value_of(record) for each in self.fields}

    def rows_to_store(self, records: Iterable[Record]) -> Iterator[Row]:
        """The rows of the table, without the columns that name the run."""
        stored = [each for each in self.fields if each.stored]
        for ordinal, record in enumerate(records):
            # The columns of `order` number the records, and the rows within a record if
            # there may be several.
            for place, row in enumerate(self.flatten(record)):
                # Not strict: a table with one row for each record has no second column
                # for `place`.
                yield dict(zip(self.order, (ordinal, place), strict=False)) | {
                    each.sql_name: _as_column(row[each.name]) for each in stored
                }

    def read(self, rows: Iterable[Row]) -> tuple[Record, ...]:
        """The records of the rows of a run, as `query` selects them."""
        return tuple(self.load(**row) for row in rows)


def as_plain(value: object) -> Any:
    """A value as JSON has it: no number of JSON holds an exact sum, so it is text."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def as_text(value: object) -> object:
    """A value as one field of a CSV file has it."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return as_plain(value)


def _as_column(value: object) -> Any:
    """A value as the database takes it: objects as JSON, lists as arrays."""
    if isinstance(value, tuple):
        return list(value)
    return as_text(value) if isinstance(value, Mapping) else as_plain(value)
