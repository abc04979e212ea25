"""Leave out what recon.toml says of columns that the command line excludes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recon_engine.model import SIDES
from recon_engine.name_forms import fold_name
from recon_engine.where_syntax import parse_where


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from recon_engine.config import Options

    Rules = Mapping[str, tuple[str, ...]]

EVERY = "*"


def leave_out_excluded(options: Options, filed: Mapping[str, Any]) -> Options:
    """The options without the rules and suppressions of columns that are left out.

    `filed`: the settings of the file. What the command line says of a column stays, so
    that a contradiction in it is refused. The comparison checks that the columns exist.
    """
    excludes = _exclusion(options)
    dropped = {
        each.column
        for each in options.suppressions
        if each.column is not None and excludes(each.column)
    }
    kept: dict[str, Rules] = {}
    for name, rules in (
        ("rules", options.rules),
        *((f"{side}_rules", options.side(side).rules) for side in SIDES),
    ):
        of_file = filed.get(name) or {}
        out = {
            column
            for column, chain in rules.items()
            # A chain that is not as in the file is, in part, of the command line.
            if excludes(column) and chain == tuple(of_file.get(column, ()))
        }
        kept[name] = {column: rules[column] for column in rules if column not in out}
        dropped |= out
    if not dropped:
        return options
    old, new = (
        replace(options.side(side), rules=kept[f"{side}_rules"]) for side in SIDES
    )
    suppressions = tuple(
        each for each in options.suppressions if each.column not in dropped
    )
    return replace(
        options,
        rules=kept["rules"],
        suppressions=suppressions,
        old=old,
        new=new,
        set_aside=frozenset(dropped),
    )


def _exclusion(options: Options) -> Callable[[str], bool]:
    """Whether a column is neither compared, nor a key, nor of a filter or a sum."""
    # Columns of NEW may be named as there. Rules and suppressions have the names of
    # OLD.
    back = {new: old for old, new in options.renames.items()}

    def find(name: str) -> str:
        return fold_name(back.get(name, name), options.match_names)

    wheres = (options.where, *(options.side(side).where for side in SIDES))
    used = {
        *options.keys,
        *options.compare_only,
        *(each.column for text in wheres for each in parse_where(text)),
        *(name for side in SIDES for name in options.side(side).sum),
    }
    needed, ignored = set(map(find, used)), set(map(find, options.ignore))

    def excludes(column: str) -> bool:
        name = find(column)
        # The rules of `*` are of the columns that are left, too.
        if column == EVERY or (name in needed and name not in ignored):
            return False
        return name in ignored or bool(options.compare_only)

    return excludes
