"""What an engine is: it compares two inputs and answers one result, wherever it runs.

`local_engine` and `spark.driver` each hold one; `engines` chooses. A caller states what
it does around the steps in `Hooks`, so that no caller knows which engine it has.
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
    """OLD and NEW as they were named. The engine decides where their bytes are read."""

    @property
    def limits(self) -> Limits:
        """What a field and a compressed file may hold."""
        ...

    def open_both(self) -> tuple[Unread, Unread]:
        """Both on this machine, with their headers read."""
        ...

    def open_side(self, side: str) -> Unread:
        """One of them on this machine, `old` or `new`, with its header read."""
        ...

    def locate(self, side: str) -> tuple[Storage, SourceFile] | None:
        """The pinned file in a storage that any machine can read; None if in none."""
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
        """Take both as they were read on this machine, within the step `read`."""


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
    which the run's manifest commits; None writes none. `break_limit`: up to so many
    differences are brought here all the same.
    """

    out: str | None
    break_limit: int


class Engine(Protocol):
    """One way to compare: the result is the same for each."""

    @property
    def brings_whole_difference(self) -> bool:
        """Whether the frames of the result hold each difference, or only a sample."""
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
