"""Progress of long steps, reported to a terminal, a log, or nobody."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Progress(Protocol):
    """Steps begin, advance by amounts of a unit, and end."""

    def bind(self, **facts: str) -> None:
        """Attach facts, such as the run id, to all later steps."""
        ...

    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Enter a block of work; call the yielded function with each amount done."""
        ...


class SilentProgress:
    """A Progress that reports nothing."""

    def bind(self, **facts: str) -> None: ...

    @contextmanager
    def step(
        self,
        name: str,  # noqa: ARG002
        *,
        total: int | None = None,  # noqa: ARG002
        unit: str = "rows",  # noqa: ARG002
    ) -> Iterator[Callable[[int], None]]:
        yield ignore_advance


def ignore_advance(_amount: int) -> None:
    """An `advance` that reports nothing."""


SILENT = SilentProgress()
