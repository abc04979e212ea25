"""What a reconciliation and a run are asked to do: frozen, checked once."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping

    from recon_engine.memory import Budget


DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")


class OnDuplicateKeys(StrEnum):
    """`pair`: reconcile repeated keys as multisets; `fail`: refuse them."""

    PAIR = "pair"
    FAIL = "fail"


class OnSchemaDrift(StrEnum):
    """`refuse` differing columns, or `compare` the common ones and report the rest."""

    REFUSE = "refuse"
    COMPARE = "compare"


class StageLoader(StrEnum):
    """`adbc`: parsed cells in binary; `copy`: the gated bytes as they are."""

    ADBC = "adbc"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How two tables are compared; part of a run's identity.

    `renames` maps a column's name in OLD to its name in NEW; results use OLD's.
    `rules` are spelled as in `rules.parse`, by column; `*` is every compared column.
    """

    keys: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_duplicate_keys: OnDuplicateKeys = OnDuplicateKeys.PAIR
    on_schema_drift: OnSchemaDrift = OnSchemaDrift.REFUSE
    delimiter: str = ","
    detail_limit: int = 5000

    def __post_init__(self) -> None:
        """Refuse what no pair of files could satisfy."""
        if not self.keys:
            raise ConfigError("no key column is named", help="add --key COLUMN")
        for name in self.keys:
            if self.keys.count(name) > 1:
                raise ConfigError(
                    f"key column {name} is named twice", help="name it once"
                )
            if name in self.ignore:
                raise ConfigError(
                    f"key column {name} is ignored too",
                    help=f"drop --ignore {name}, or name another key",
                )
        if self.detail_limit < 0:
            raise ConfigError(
                f"--detail-limit {self.detail_limit} is negative", help="0 or more rows"
            )
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0':
            raise ConfigError(
                "the delimiter is not one character",
                help="such as ',', ';', '|' or a tab; never a quote or newline",
            )
        if not self.delimiter.isascii():
            raise ConfigError("the delimiter is not an ASCII character")

    @property
    def digest(self) -> str:
        """A sha256 that is equal for equal options."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run of the pipeline; the three places are URLs or local folders.

    `recompute`: a pair that has a result is reconciled again, as its next revision.
    `database` is a libpq connection string. It may hold a password, so it has no
    part in `repr`, in the run log or in the run's identity.
    """

    dataset: str
    inbound: str
    processed: str
    out: str
    options: Options
    database: str = field(repr=False)
    fail_on_no_files: bool = False
    recompute: bool = False
    budget: Budget | None = None
    stage_loader: StageLoader = StageLoader.ADBC

    def __post_init__(self) -> None:
        """Refuse a dataset name that cannot name tables and folders."""
        if not DATASET.fullmatch(self.dataset):
            raise ConfigError(
                f"dataset name {self.dataset!r} cannot name a table and a folder",
                help="a letter, then up to 47 letters, digits, '_' or '-'",
            )

    @property
    def public(self) -> dict[str, object]:
        """The configuration as the run log keeps it: without secrets."""
        return {
            "dataset": self.dataset,
            "inbound": self.inbound,
            "processed": self.processed,
            "out": self.out,
            "options": asdict(self.options),
        }
