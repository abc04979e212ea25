"""What was decided, why, and what else was possible; all of it is a draft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recon_engine.records import dataclass


if TYPE_CHECKING:
    from recon_engine.compare.key_search import Proposal
    from recon_engine.config import Options
    from recon_engine.model import Column, Hint, Segment
    from recon_engine.result import Reconciliation


# A column may have a row for its name and one for its rule.
LABELS: Final = {"map": "name ", "rules": "rule "}
COLUMNS: Final = ("decision", "choice", "evidence", "alternatives")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: what it is about, the choice, its evidence, and alternatives.

    `setting`: its name in recon.toml, if it is one.
    """

    about: str
    choice: str
    evidence: str
    alternatives: str = ""
    setting: str = ""

    @property
    def row(self) -> tuple[str, str, str, str]:
        """The decision in the columns of `COLUMNS`."""
        label = LABELS.get(self.setting, "") + self.about
        return label, self.choice, self.evidence, self.alternatives


@dataclass(frozen=True, slots=True)
class Choices:
    """What recon.toml is written from: no row of a file; see `Draft`.

    `segments`: the values in which missing or extra rows concentrate.
    """

    options: Options
    decisions: tuple[Decision, ...]
    hints: tuple[Hint, ...]
    never: tuple[Column, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """The settings of two files, with what led to them.

    `result`: of comparing all rows with them. `hints`: what else would explain
    differences, to be decided by a person. `never`: columns that agree in almost no
    row. `close_keys`: keys that match almost as many rows as the best, which is first.
    """

    options: Options
    decisions: tuple[Decision, ...]
    result: Reconciliation
    hints: tuple[Hint, ...]
    never: tuple[Column, ...]
    close_keys: tuple[Proposal, ...]

    @property
    def choices(self) -> Choices:
        """The draft without the result, which has all differing cells."""
        return Choices(
            self.options, self.decisions, self.hints, self.never, self.result.segments
        )
