"""What a long step tells whoever watches: a terminal, a log, or nobody."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Progress(Protocol):
    """Steps begin, advance by some amount of a unit, and end."""

    def bind(self, **facts: str) -> None:
        """Facts that belong to all that follows: the run and its dataset."""
        ...

    def step(
        self, name: str, *, total: int | None = None, unit: str = "rows"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A block of work; call its value with each amount done."""
        ...


class SilentProgress:
    """Nobody watches."""

    def bind(self, **facts: str) -> None:
        """Nobody asked."""

    @contextmanager
    def step(
        self,
        name: str,  # noqa: ARG002
        *,
        total: int | None = None,  # noqa: ARG002
        unit: str = "rows",  # noqa: ARG002
    ) -> Iterator[Callable[[int], None]]:
        """Do the work, say nothing."""
        yield ignore_advance


def ignore_advance(_amount: int) -> None:
    """Advance nothing."""


SILENT = SilentProgress()
