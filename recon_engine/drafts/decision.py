"""What was decided, why, and what else was possible."""

from __future__ import annotations

from recon_engine.records import dataclass


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
