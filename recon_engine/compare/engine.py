"""The protocol of an engine: it compares two inputs and returns one result.

`local` and `spark.driver` have one engine each; `engines` chooses. A caller passes what
it does around the steps as `Hooks`, so it need not know the engine.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from recon_engine.records import dataclass
from recon_engine.runtime.progress import SILENT, Progress


if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import date

    from recon_engine.compare.lookup import Ask
    from recon_engine.config import Limits, Options
    from recon_engine.inputs.tables import Table, Unread
    from recon_engine.model import Artifact, SourceFile
    from recon_engine.result import Reconciliation
    from recon_engine.storage.base import Storage


class Inputs(Protocol):
    """OLD and NEW, not yet opened. The engine decides where their bytes are read."""

    @property
    def limits(self) -> Limits:
        """The size limits of fields and compressed files."""
        ...

    @property
    def hashes(self) -> bool:
        """Whether the SHA-256 of both files is wanted."""
        ...

    def open_both(self) -> tuple[Unread, Unread]:
        """Fetch both inputs to this machine, and read their headers."""
        ...

    def open_side(self, side: str) -> Unread:
        """Fetch one input, `old` or `new`, to this machine, and read its header."""
        ...

    def locate(self, side: str) -> tuple[Storage, SourceFile] | None:
        """The pinned file in a storage that every machine can read; else None."""
        ...


class Hooks:
    """What a caller does around the steps of an engine: by default nothing.

    `ask`: for the keys of open breaks, where breaks are tracked; `needs_tables`:
    whether `take_tables` has to be called, though the engine reads elsewhere.
    """

    ask: Ask | None = None
    needs_tables: bool = False

    def step(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """The block of a step: `fetch`, `read` or `compare`."""
        return nullcontext()

    def take_tables(self, old: Table, new: Table) -> None:
        """Receive both tables after they were read here, within the step `read`."""


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class Compared:
    """A result, and the files of the whole difference if an engine wrote them."""

    result: Reconciliation
    parts: Sequence[Artifact] | None = None


@dataclass(frozen=True, slots=True)
class RunOutput:
    """What a pipeline run needs besides a result.

    `out`: the URL for the whole difference of an engine that does not bring it here,
    which the run's manifest commits; None writes none. `break_limit`: a result with at
    most this number of differences holds all of them, whatever the detail limit is.
    """

    out: str | None
    break_limit: int


class Engine(Protocol):
    """One way to compare: the result is the same for each."""

    @property
    def brings_whole_difference(self) -> bool:
        """Whether the frames of the result hold every difference, not only a sample."""
        ...

    def compare(
        self,
        inputs: Inputs,
        options: Options,
        today: date,
        progress: Progress = SILENT,
        hooks: Hooks = NO_HOOKS,
    ) -> Compared:
        """Compare, and evaluate gates and suppressions for `today`.

        Raises KeyMissing, SchemaMismatch, ConfigError, DuplicateKeys, OutOfBudget, and
        the errors of reading.
        """
        ...
