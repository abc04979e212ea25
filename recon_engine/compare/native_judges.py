"""Cells that the native kernel compares by the rules of their columns.

The kernel reads numbers and days as `inputs.native.forms` says. It judges the cells of
two rows while it splits them, so that only those that differ become text. What it
counts is what `pairing.judge_cells` counts of such cells.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, TypeVar

from recon_engine.analysis.totals import read_summed
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.forms import describe_reading
from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules.chains import MADE_EQUAL, READ, has_notation, no_tally


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from recon_engine.analysis.amounts import SumPair
    from recon_engine.inputs.native.binding import Judging, Reading
    from recon_engine.rules.chains import Chain, Rules, Tally

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class JudgedColumn:
    """What the kernel found in a column: as `pairing.JudgedCells`, of those it saw.

    `tolerated`: the number of cells that are equal, but not by their bytes.
    """

    tolerated: int
    tally: Tally
    sums: SumPair


class NativeJudges:
    """The columns whose cells the kernel judges, of those that it compares.

    `columns`: all that it compares, in their order; `keys`: how many of them are of the
    key, which is compared by bytes.
    """

    def __init__(self, columns: Sequence[str], rules: Rules, keys: int = 0) -> None:
        readings = {
            name: found
            for name in columns[keys:]
            if name in rules and (found := _describe_readings(rules[name]))
        }
        self.chains = {name: rules[name] for name in readings}
        self._array: ctypes.Array[Judging] | None = None
        if readings:
            every = (_make_judging(rules, name, readings) for name in columns)
            self._array = (binding.Judging * len(columns))(*every)
        self._columns = columns
        # The array holds their addresses only.
        self._readings = readings

    def judge(
        self, find: Callable[[ctypes.Array[Judging] | None], Found]
    ) -> tuple[Found, Mapping[str, JudgedColumn]]:
        """The cells that `find` finds, and the columns that the kernel has judged.

        `find`: compares rows with what the kernel takes and fills; None judges nothing.
        So it is called once more if a sum has more digits than the kernel adds up.
        """
        found, judged = find(self._array), self._results()
        return (find(None), {}) if judged is None else (found, judged)

    def _results(self) -> Mapping[str, JudgedColumn] | None:
        """What was found, by column, where cells were seen; None without a sum."""
        found = {}
        for name, each in zip(self._columns, self._array or (), strict=False):
            if name not in self.chains or not each.seen:
                continue
            old, new = map(read_summed, each.sums)
            if old is None or new is None:
                return None
            tally = _make_tally(self.chains[name], each)
            found[name] = JudgedColumn(each.equal, tally, (old, new))
        return found


def _describe_readings(chain: Chain) -> tuple[Reading, Reading] | None:
    """How the kernel reads both sides of a column; None if it cannot judge its cells.

    That takes one typed rule a side, and equal forms for equal cells.
    """
    sides = [chain.of(side) for side in SIDES]
    if chain.has_tolerance or any(len(rules) != 1 for rules in sides):
        return None
    # A text rule of one side would leave the other side without a typed one.
    old, new = (describe_reading(rule) for [rule] in sides)
    return None if old is None or new is None else (old, new)


def _make_judging(
    rules: Rules, name: str, readings: Mapping[str, tuple[Reading, Reading]]
) -> Judging:
    judging = binding.Judging()
    if name in readings:
        old, new = readings[name]
        judging.old, judging.new = ctypes.pointer(old), ctypes.pointer(new)
        judging.forms_old, judging.forms_new = (
            has_notation(rules[name].of(side)) for side in SIDES
        )
    return judging


def _make_tally(chain: Chain, judging: Judging) -> Tally:
    """The tally of a chain of typed rules, as `chains.equal_with_forms` makes it."""
    tally, counts = no_tally(chain.steps), list(judging.counts)
    for row, step in zip(tally, chain.steps, strict=True):
        for side in SIDES:
            if step.of(side) is not None:
                row[READ[side]] = counts[READ[side]]
    # `equal_with_forms` credits the first typed rule, unless it is implied: then the
    # last.
    place = len(tally) - 1 if chain.steps[0].implied else 0
    tally[place, MADE_EQUAL] = judging.equal
    return tally
