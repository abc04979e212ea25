"""Say of files that were refused that the settings of the other side fit them.

Only what was tried is said: a header was read with these settings, and it has the key.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon_engine.command_line import option_words, quoted, rebuild_command
from recon_engine.config import write_delimiters
from recon_engine.derive_syntax import parse_derivation
from recon_engine.errors import ReconError
from recon_engine.inputs.tables import open_side
from recon_engine.model import SIDES
from recon_engine.name_forms import fold_name
from recon_engine.runtime.progress import SILENT


if TYPE_CHECKING:
    from recon_engine.config import Limits, Options


def find_other_side(old: str, new: str, asked: Options, limits: Limits) -> str | None:
    """What to do about files that the settings of the other side fit, or None.

    Also None if both sides have the same settings, and for what is no file.
    """
    paths = (old, new)
    if _are_read_alike(asked) or not all(Path(each).is_file() for each in paths):
        return None
    sides = list(zip(paths, SIDES, strict=True))
    own = [_find_columns(path, side, asked, limits) for path, side in sides]
    # Each side fits its file, so the error has another cause.
    if all(own):
        return None
    swapped = zip(paths, reversed(SIDES), strict=True)
    others = [_find_columns(path, side, asked, limits) for path, side in swapped]
    if all(others):
        return (
            f"the settings of NEW fit {old}, and those of OLD fit {new}: are the two"
            f" files swapped? {_swap_files(old, new)}"
        )
    for side, is_own, is_other in zip(SIDES, own, reversed(others), strict=True):
        if is_own and is_other:
            known = is_own | is_other
            command = _compare_one_side(old, new, asked, side, known, limits)
            return (
                f"the settings of {side.upper()} fit both files: are both of"
                f" {side.upper()}? {command}"
            )
    return None


def _are_read_alike(asked: Options) -> bool:
    old, new = SIDES
    return (
        asked.delimiter_of(old) == asked.delimiter_of(new)
        and asked.encoding_of(old) == asked.encoding_of(new)
        and asked.side(old) == asked.side(new)
        and not asked.renames
    )


def _find_columns(path: str, side: str, asked: Options, limits: Limits) -> set[str]:
    """The folded columns of a file that the settings of a side fit; else none.

    They fit if it has the columns of the key, and those that are renamed.
    """
    makes = {
        name: made.sources
        for made in map(parse_derivation, asked.side(side).derive)
        for name in made.names
    }
    names = asked.renames if side == "new" else {}
    needed = [
        source
        for column in (*asked.keys, *asked.renames)
        for name in [names.get(column, column)]
        for source in makes.get(name, (name,))
    ]
    with suppress(ReconError), ExitStack() as stack:
        table = open_side(path, side, asked, limits, stack, SILENT, hashes=False)
        forms = asked.match_names
        known = {fold_name(name, forms) for name in table.columns}
        if known.issuperset(fold_name(name, forms) for name in needed):
            return known
    return set()


def _swap_files(old: str, new: str) -> str:
    """The command line of this process with the two files in the other order."""
    words = sys.argv[1:]
    first, second = map(words.index, (old, new))
    words[first], words[second] = new, old
    return " ".join(map(quoted, ("recon", *words)))


def _compare_one_side(
    old: str, new: str, asked: Options, side: str, known: set[str], limits: Limits
) -> str:
    """The command that compares two files of one side, without the settings of a file.

    Gates and suppressions are of the two sides, and so are columns that are ignored in
    the other one: no file may have them. `known`: the folded columns of the files.
    """
    # Key and rules have the names of OLD, and both files those of NEW.
    if side == "new" and asked.renames:
        return "give them settings of their own: --config FILE"
    delimiter, encoding = asked.delimiter_of(side), asked.encoding_of(side)
    alone = replace(
        asked,
        delimiter=write_delimiters(delimiter, delimiter),
        encodings=(encoding, encoding),
        old=asked.side(side),
        new=asked.side(side),
        renames={},
        ignore=tuple(
            name for name in asked.ignore if fold_name(name, asked.match_names) in known
        ),
        gates=(),
        suppressions=(),
    )
    command = rebuild_command(alone, old, new, limits=[*option_words(limits)])
    # An empty file: otherwise the command would find recon.toml again, with the
    # settings of both sides.
    return f"{command} --config {os.devnull}"
