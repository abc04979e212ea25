"""Sums of amounts that can be added in any order, and how the amounts are written."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from recon_engine.model import EXACT
from recon_engine.records import dataclass


# A date such as 20240131 has eight digits; shorter whole numbers of one width may be
# amounts.
IDENTIFIER_WIDTH: Final = 8


@dataclass(frozen=True, slots=True)
class AmountForm:
    """How some cells are written.

    `amounts`: whether each is an amount or blank; `widths`: the fewest and the most
    bytes of the numbers, None without numbers; `whole`: whether none has a fraction.
    """

    amounts: bool = True
    widths: tuple[int, int] | None = None
    whole: bool = True

    def __add__(self, other: AmountForm) -> AmountForm:
        if not (self.amounts and other.amounts):
            return NOT_AMOUNTS
        if self.is_blank or other.is_blank:
            return other if self.is_blank else self
        widths = [each for each in (self.widths, other.widths) if each]
        return AmountForm(
            widths=(min(w for w, _ in widths), max(w for _, w in widths))
            if widths
            else None,
            whole=self.whole and other.whole,
        )

    @property
    def is_blank(self) -> bool:
        """Whether all cells are blank."""
        return self.amounts and self.widths is None and self.whole

    @property
    def are_names(self) -> bool:
        """Whether the numbers look like identifiers or dates."""
        if not self.whole or self.widths is None:
            return False
        least, most = self.widths
        return least == most >= IDENTIFIER_WIDTH


@dataclass(frozen=True, slots=True)
class ColumnSum:
    """The sum of some cells of a column.

    Meaningless if `form` is not one of amounts.
    """

    value: Decimal
    form: AmountForm

    def __add__(self, other: ColumnSum) -> ColumnSum:
        return ColumnSum(EXACT.add(self.value, other.value), self.form + other.form)


NOT_AMOUNTS: Final = AmountForm(amounts=False)
BLANK_FORM: Final = AmountForm()
ZERO_SUM: Final = ColumnSum(Decimal(0), BLANK_FORM)
SumPair = tuple[ColumnSum, ColumnSum]
ZERO_SUM_PAIR: Final[SumPair] = (ZERO_SUM, ZERO_SUM)
