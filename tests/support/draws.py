"""Random draws: by bytes that a fuzzer mutates, and without one, fast."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar


if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

Item = TypeVar("Item")
BYTE: Final = 256


class QuickDraws(random.Random):
    """Draws of small numbers in half of the time that those of `random` take."""

    def choice(self, seq: SupportsLenAndGetItem[Item]) -> Item:
        """An item of a sequence."""
        return seq[int(self.random() * len(seq))]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """A number of a range."""
        numbers = range(start) if stop is None else range(start, stop, step)
        return numbers[int(self.random() * len(numbers))]


class ByteDraws(random.Random):
    """Draws that bytes decide, one after the other, as a fuzzer mutates them.

    After the last byte every draw is the first choice.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = iter(data)

    def _number(self, below: int) -> int:
        number = next(self._data, 0)
        if below > BYTE:
            number = number * BYTE + next(self._data, 0)
        return number % below

    def random(self) -> float:
        """A number from 0 to below 1."""
        return self._number(BYTE) / BYTE

    def choice(self, seq: SupportsLenAndGetItem[Item]) -> Item:
        """An item of a sequence."""
        return seq[self._number(len(seq))]

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        """A number of a range."""
        numbers = range(start) if stop is None else range(start, stop, step)
        return numbers[self._number(len(numbers))]
