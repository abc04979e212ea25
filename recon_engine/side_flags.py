"""The flag of an option of one file, as the user gave it: what errors name."""

from __future__ import annotations

from typing import Final

from recon_engine.records import dataclass


@dataclass(frozen=True, slots=True)
class SideFlags:
    """How the options of one file were given.

    `side`: "old" or "new"; "" if it is not known. `shared`: the options that were given
    for both files and not for this one, by their flags without dashes, such as
    `skip-lines`.
    """

    side: str = ""
    shared: frozenset[str] = frozenset()

    def spell(self, option: str) -> str:
        """The flag of an option: `--old-trailer`, or `--trailer` if that was given.

        `option`: the flag without dashes. One that was not given is spelled for this
        file only, as an error about one file proposes it.
        """
        if not self.side or option in self.shared:
            return f"--{option}"
        return f"--{self.side}-{option}"


UNKNOWN_SIDE: Final = SideFlags()
