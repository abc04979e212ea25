"""Which columns of OLD and NEW belong together, by name alone."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from recon_engine import flags
from recon_engine.config import Mask, OnSchemaDrift, Options
from recon_engine.errors import (
    ConfigError,
    KeyMissing,
    SchemaMismatch,
    did_you_mean,
    listed,
    looks_like_header,
)
from recon_engine.gates import check_column
from recon_engine.gates import parse as parse_gate
from recon_engine.model import Drift
from recon_engine.rules import parse, tolerates


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from recon_engine.rules import Rule, Rules

    Agreements = Mapping[tuple[str, str], tuple[int, int]]
    Names = Sequence[str]
    Measure = Callable[[Sequence[tuple[str, str]], Names, Names], Agreements]

EVERY: Final = "*"


DELIMITERS: Final = ",;\t|"


@dataclass(frozen=True, slots=True)
class Alignment:
    """`keys` and `columns` (compared), by their names in OLD and in OLD's order.

    `new_names` renames columns of NEW to these. `rules` are those of keys and compared
    columns that have some; `masks`, of any column. `agreements`: of columns on one side
    only that seem to be the same, in how many rows they agree, and of how many.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    new_names: Mapping[str, str]
    drift: Drift
    rules: Rules
    masks: Mapping[str, Mask]
    agreements: Agreements = field(default_factory=dict)


def unmeasured(
    _keys: Sequence[tuple[str, str]], _old: Sequence[str], _new: Sequence[str]
) -> Agreements:
    """Look at names only."""
    return {}


def align(
    old: Sequence[str],
    new: Sequence[str],
    options: Options,
    *,
    uris: tuple[str, str],
    measure: Measure = unmeasured,
) -> Alignment:
    """Settle keys and compared columns.

    `measure` is asked which columns on one side only agree, given the names of the key
    in OLD and in NEW. Raises ConfigError for a name in no file, KeyMissing, and
    SchemaMismatch for a column on one side only (unless `on_schema_drift` is
    `compare`).
    """
    renames = options.renames
    hint = _delimiter_hint(old, new, options)
    _check_renames(old, new, renames, hint)
    back = {theirs: ours for ours, theirs in renames.items()}
    renamed = tuple(back.get(name, name) for name in new)
    in_old, in_new = set(old), set(renamed)
    keys = tuple(_in_old(name, in_old, back) for name in options.keys)
    ignored = {_in_old(name, in_old, back) for name in options.ignore}
    _check_keys(keys, old, renamed, uris, hint)
    _check_ignored(ignored, {*old, *renamed})
    only_old = tuple(n for n in old if n not in in_new and n not in ignored)
    only_new = tuple(n for n in renamed if n not in in_old and n not in ignored)
    agree: Agreements = {}
    if only_old and only_new:
        both = [(name, renames.get(name, name)) for name in keys]
        agree = measure(both, only_old, only_new)
    drift = Drift(only_old, only_new, _likely(only_old, only_new, agree))
    if drift and options.on_schema_drift is OnSchemaDrift.REFUSE:
        raise _refusal(drift, uris, quotable=_quotable(old, new))
    common = in_new - ignored - set(keys)
    columns = tuple(name for name in old if name in common)
    rules = _rules(options, keys, columns, back)
    masks = _masks(options, {*old, *renamed}, back)
    _check_judges(options, columns)
    return Alignment(keys, columns, back, drift, rules, masks, agree)


def _in_old(name: str, old: Collection[str], back: Mapping[str, str]) -> str:
    """The name of a column in OLD, given that or the one it is mapped to in NEW."""
    return name if name in old else back.get(name, name)


def _check_renames(
    old: Collection[str],
    new: Collection[str],
    renames: Mapping[str, str],
    hint: str | None,
) -> None:
    for ours, theirs in renames.items():
        for name, side, known in ((ours, "OLD", old), (theirs, "NEW", new)):
            if name not in known:
                raise ConfigError(
                    f"--map {ours}={theirs}: {side} has no column {name}."
                    + did_you_mean(name, known),
                    help=hint or "--map OLD_NAME=NEW_NAME",
                )
        if ours in new and ours not in renames.values():
            raise ConfigError(
                f"--map {ours}={theirs}: NEW has a column {ours} as well",
                help=f"map that one too, or ignore it under another name than {ours}",
            )
    if len(set(renames.values())) < len(renames):
        raise ConfigError(
            "--map gives one column of NEW to two of OLD", help="map each column once"
        )


def _check_keys(
    keys: Sequence[str],
    old: Sequence[str],
    new: Sequence[str],
    uris: tuple[str, str],
    hint: str | None,
) -> None:
    # A name that was given and is there is what tells a header from a record.
    quotable = _quotable(old, new) and any(name in old and name in new for name in keys)
    for name in keys:
        if keys.count(name) > 1:
            raise ConfigError(f"key column {name} is named twice", help="name it once")
        for side, columns, uri in zip(("OLD", "NEW"), (old, new), uris, strict=True):
            if name not in columns:
                raise KeyMissing(
                    f"key column {name} is not in {side}."
                    + did_you_mean(name, columns),
                    file=uri,
                    line=1,
                    why="rows are matched by the key, so both files must have it",
                    help=hint or _known(columns, quotable=quotable),
                )


def _check_ignored(ignored: Collection[str], known: Collection[str]) -> None:
    for name in sorted(ignored):
        if name not in known:
            raise ConfigError(
                f"--ignore {name}: no file has that column."
                + did_you_mean(name, known),
                help=_known(sorted(known), quotable=looks_like_header(known)),
            )


def _rules(
    options: Options,
    keys: Sequence[str],
    columns: Sequence[str],
    back: Mapping[str, str],
) -> dict[str, list[Rule]]:
    """The rules of each column: those of `*`, which no key has, and then its own."""
    found: dict[str, list[Rule]] = {}
    for spelled in sorted(options.rules, key=lambda name: name != EVERY):
        name = _in_old(spelled, (*keys, *columns), back)
        if name not in {*keys, *columns, EVERY}:
            raise ConfigError(
                f"--rule {spelled}: no compared column has that name."
                + did_you_mean(spelled, (*keys, *columns)),
                help="--rule COLUMN=RULE",
            )
        own = [parse(rule) for rule in options.rules[spelled]]
        for each in columns if name == EVERY else (name,):
            found.setdefault(each, []).extend(own)
    for name in keys:
        if tolerates(found.get(name, ())):
            raise ConfigError(
                f"--rule {name}: a key is the same or another, not near",
                help="a rule without a tolerance, or another key",
            )
    return found


def _check_judges(options: Options, columns: Sequence[str]) -> None:
    """Refuse a gate or a suppression of a column that is not compared."""
    for text in options.gates:
        check_column(parse_gate(text), columns)
    for each in options.suppressions:
        if each.column is not None and each.column not in columns:
            raise ConfigError(
                f"suppression of {each.name}: no compared column is called "
                f"{each.column}.{did_you_mean(each.column, columns)}",
                help="name a column of both files, as in OLD; no key, and none ignored",
            )


def _masks(
    options: Options, columns: Collection[str], back: Mapping[str, str]
) -> dict[str, Mask]:
    """The mask of each column that has one: its own, or else that of `*`."""
    own: dict[str, Mask] = {}
    for spelled, mask in options.masks.items():
        name = _in_old(spelled, columns, back)
        if name not in {*columns, EVERY}:
            raise ConfigError(
                f"--mask {spelled}: no file has that column."
                + did_you_mean(spelled, columns),
                help=_known(sorted(columns), quotable=looks_like_header(columns)),
            )
        if name in own:
            raise ConfigError(
                f"--mask {spelled}: the column is masked already", help="mask it once"
            )
        own[name] = Mask(mask)
    every = own.pop(EVERY, None)
    return own if every is None else dict.fromkeys(columns, every) | own


def _likely(
    old: Sequence[str], new: Sequence[str], agree: Agreements
) -> tuple[tuple[str, str], ...]:
    """Pairs of columns that agree, and of the others those whose names do."""
    ours, theirs = {o for o, _ in agree}, {n for _, n in agree}
    named = _renamed(
        [name for name in old if name not in ours],
        [name for name in new if name not in theirs],
    )
    return (*agree, *named)


def _renamed(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in case and punctuation only."""
    bare = {_bare(name): name for name in new}
    return [(name, bare[_bare(name)]) for name in old if _bare(name) in bare]


def _bare(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _refusal(drift: Drift, uris: tuple[str, str], *, quotable: bool) -> SchemaMismatch:
    sides = [
        f"only in {side}: {listed(names)}"
        if quotable
        else f"{len(names):,} columns are only in {side}"
        for side, names in (("OLD", drift.only_in_old), ("NEW", drift.only_in_new))
        if names
    ]
    maps = [flags.rename(old, new) for old, new in drift.renamed if quotable]
    return SchemaMismatch(
        "the two files do not have the same columns; " + "; ".join(sides),
        file=" and ".join(uris),
        line=1,
        why="a column that is on one side only cannot be reconciled",
        help=(f"if it was renamed: {' '.join(maps)}; " if maps else "")
        + "--map OLD=NEW, --ignore COLUMN, or --on-schema-drift compare"
        + ("" if quotable else "; does each file begin with a header?"),
    )


def _delimiter_hint(
    old: Sequence[str], new: Sequence[str], options: Options
) -> str | None:
    """The option to add where a header of one name seems to hold several."""
    given = options.delimiter_of("old"), options.delimiter_of("new")
    ours, theirs = map(_likely_delimiter, (old, new), given)
    if (ours, theirs) == given:
        return None
    text = ours if ours == theirs else f"{ours}:{theirs}"
    option = shlex.quote(text.replace("\t", "\\t"))
    return f"a header seems to be delimited otherwise: add --delimiter {option}"


def _likely_delimiter(columns: Sequence[str], given: str) -> str:
    if len(columns) != 1:
        return given
    [name] = columns
    likely = max(DELIMITERS, key=name.count)
    return likely if likely in name else given


def _quotable(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether names may be told: a file without a header has values in their place."""
    both = bool(set(old) & set(new))
    return both and looks_like_header(old) and looks_like_header(new)


def _known(columns: Sequence[str], *, quotable: bool) -> str:
    if quotable:
        return "the columns are " + listed(columns)
    return f"there are {len(columns):,} columns; does each file begin with a header?"
