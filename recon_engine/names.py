"""The names of columns within the engine, and how many rows a sample is of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.alignment import Alignment
    from recon_engine.rules import Rules

# About so many rows, all of some keys; of a file that is not larger, all.
SAMPLED: Final = 8_192


@dataclass(frozen=True, slots=True)
class Names:
    """Names that are ours: `k0`… for the key, `v0`… for what is compared, `x0`… not.

    Polars takes some names for patterns (`*`, `^a$`), so no name of a user ever goes
    into an expression. The numbers follow the sorted names, not the order in a file,
    and have seven digits: no header has room for more names.
    `rules` are those of the columns that have some.
    """

    all: tuple[str, ...]
    rules: Rules = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The key columns, in the order of the key."""
        return sorted(name for name in self.all if name.startswith("k"))

    @property
    def columns(self) -> list[str]:
        """The compared columns, in the order of their real names."""
        return sorted(name for name in self.all if name.startswith("v"))

    @property
    def compared(self) -> list[str]:
        """The key columns, and the compared ones."""
        return [*self.keys, *self.columns]


def named(
    columns: Sequence[str], layout: Alignment, renames: Mapping[str, str]
) -> Names:
    """Name the columns of a side; `renames` gives OLD's names for its own."""
    ours = [renames.get(name, name) for name in columns]
    names = {name: f"k{at:07}" for at, name in enumerate(layout.keys)}
    names |= {name: f"v{at:07}" for at, name in enumerate(sorted(layout.columns))}
    others = sorted(set(ours) - names.keys())
    names |= {name: f"x{at:07}" for at, name in enumerate(others)}
    return Names(
        tuple(names[name] for name in ours),
        {names[name]: rules for name, rules in layout.rules.items()},
    )
