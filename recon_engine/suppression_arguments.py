"""Suppressions as a caller in Python writes them: forms, and what is left to accept.

What has one meaning is read: the mapping of a table `[[suppress]]`, a day as a text.
Errors say the right form, and quote no key and no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime, timedelta
from operator import index
from typing import TYPE_CHECKING, Any, Final

from recon_engine.errors import ConfigError
from recon_engine.formatting import write_ignore
from recon_engine.model import Suppressible, Suppression
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Collection

    from recon_engine.model import Column


# How long a draft accepts: long enough to correct a system, and it ends.
DAYS: Final = 90
FORM: Final = (
    'write suppressions=[Suppression(what="column", column="PAID", reason="why",'
    ' owner="who", until=date(2027, 3, 31))]; d.draft_suppressions("PAID", …) of a'
    " result makes them"
)
DAY_FORM: Final = 'write until=date(2027, 3, 31) or until="2027-03-31"'
KEYS_FORM: Final = (
    'write keys=["196661"], or keys=[("196661", "1")] for a key of several columns;'
    " to_list() of a column of a frame is such a list"
)
FIELDS: Final = {each.name: each.default for each in fields(Suppression)}


def read_suppressions(given: Any) -> tuple[Suppression, ...]:
    """The suppressions of an argument: one or several, each also as a mapping.

    Raises ConfigError for a field that is unknown, missing, or of another form.
    """
    if given is None:
        return ()
    if isinstance(given, Suppression | Mapping):
        return (_read_suppression(given),)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"suppressions is a {type(given).__name__}", help=FORM)
    return tuple(map(_read_suppression, given))


def _read_suppression(given: Any) -> Suppression:
    if isinstance(given, Mapping):
        facts = dict(given)
        for name in facts:
            if name not in FIELDS:
                raise ConfigError(
                    f"a suppression has no field {name}"
                    + did_you_mean(str(name), FIELDS),
                    help=f"its fields are {', '.join(FIELDS)}",
                )
        lacks = [n for n, at in FIELDS.items() if at is MISSING and n not in facts]
        if lacks:
            raise ConfigError(
                f"a suppression has no {' and no '.join(lacks)}", help=FORM
            )
    elif isinstance(given, Suppression):
        facts = {name: getattr(given, name) for name in FIELDS}
    else:
        raise ConfigError(f"a suppression is a {type(given).__name__}", help=FORM)
    for name in ("reason", "owner"):
        _check_text(name, facts[name])
    for name in ("column", "old", "new"):
        if facts.get(name) is not None:
            _check_text(name, facts[name])
    return Suppression(
        **facts
        | {
            "what": _read_what(facts["what"]),
            "until": read_day(facts["until"]),
            "kind": _read_kinds(facts.get("kind")),
            "max": _read_count(facts.get("max")),
            "keys": _read_keys(facts.get("keys")),
        }
    )


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ConfigError(
            f"{name} of a suppression is a {type(value).__name__}",
            help=f'write {name}="text"',
        )


def _read_what(value: Any) -> Suppressible:
    if not (isinstance(value, str) and value in set(Suppressible)):
        raise ConfigError(
            "what of a suppression is none of " + ", ".join(Suppressible),
            help='write what="column" and column="NAME" for cells of a column',
        )
    return Suppressible(value)


def read_day(value: Any) -> date:
    """The last day of a suppression: a day, that of a moment, or an ISO text."""
    try:
        # Before `date`, of which it is a subclass: its time of day must not stay.
        if isinstance(value, datetime):
            # By its parts: the moment that pandas has for none is no day.
            return date(value.year, value.month, value.day)
        if isinstance(value, str):
            return date.fromisoformat(value.strip())
    except (TypeError, ValueError):
        raise ConfigError("until of a suppression is no day", help=DAY_FORM) from None
    if isinstance(value, date):
        return value
    raise ConfigError(
        f"until of a suppression is a {type(value).__name__}", help=DAY_FORM
    )


def _read_kinds(value: Any) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    # Lazy: it imports Polars, and files are read while that lasts.
    from recon_engine.kinds import Kind

    kinds = (value,) if isinstance(value, str) else value
    if not isinstance(kinds, Iterable):
        raise ConfigError(
            f"kind of a suppression is a {type(value).__name__}",
            help='write kind="date" or kind=["text", "blank_to_value"]',
        )
    kinds = tuple(kinds)
    for each in kinds:
        if each not in set(Kind):
            raise ConfigError(
                f"{each} is no kind of difference" + did_you_mean(str(each), Kind),
                help="one of: " + ", ".join(Kind),
            )
    return kinds[0] if isinstance(value, str) else kinds


def _read_count(value: Any) -> int | None:
    if value is None:
        return None
    # `index` reads integers of other libraries, such as NumPy, and refuses floats; but
    # it reads True as 1.
    if not isinstance(value, bool):
        try:
            return index(value)
        except TypeError:
            pass
    raise ConfigError(
        f"max of a suppression is a {type(value).__name__}",
        help="write max=17, a whole number of cells or rows",
    )


def _read_keys(value: Any) -> tuple[tuple[str, ...] | str, ...] | None:
    """Keys as texts; whole numbers are the texts of their digits."""
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    # A frame is iterated by its columns or their names.
    if not isinstance(value, Iterable) or hasattr(value, "columns"):
        raise ConfigError(
            f"keys of a suppression is a {type(value).__name__}", help=KEYS_FORM
        )
    return tuple(
        tuple(map(_read_key_value, key))
        if isinstance(key, tuple | list)
        else _read_key_value(key)
        for key in value
    )


def _read_key_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, bool):
        try:
            return str(index(value))
        except TypeError:
            pass
    raise ConfigError(
        f"a key of a suppression is a {type(value).__name__}",
        why="keys are texts as outputs show them",
        help=KEYS_FORM,
    )


def draft_suppression(
    name: str,
    columns: Iterable[Column],
    left: Mapping[tuple[str | None, str], int],
    *,
    one_sided: Collection[str],
    reason: str,
    owner: str,
    until: date | str | None,
) -> Suppression | None:
    """What accepts the differences of a column, or rows, that none accepts yet.

    Args:
        name: A column, or `missing` or `extra` for rows.
        columns: Those that are compared.
        left: The differences that no active suppression covers, by column and kind.
        one_sided: The columns that one side alone has.
        reason: Why they are accepted.
        owner: Who accepts them.
        until: The last day; None is in 90 days.

    None if nothing is left. Raises ConfigError for another name.
    """
    if name in one_sided:
        raise ConfigError(
            f"{name}: the column is on one side only, and not compared",
            help=f"leave it out: {write_ignore([name])}",
        )
    compared = [column.name for column in columns]
    if name not in {*compared, Suppressible.MISSING, Suppressible.EXTRA}:
        raise ConfigError(
            f"{name}: no such column is compared" + did_you_mean(name, compared)
        )
    of_column = name in compared
    found = {
        kind: count
        for (column, kind), count in left.items()
        if count and (column == name if of_column else (column, kind) == (None, name))
    }
    if not found:
        return None
    kinds = tuple(map(str, found))
    day = date.today() + timedelta(DAYS)  # noqa: DTZ011 - a person's day
    return Suppression(
        what=Suppressible.COLUMN if of_column else Suppressible(name),
        column=name if of_column else None,
        kind=(kinds if kinds[1:] else kinds[0]) if of_column else None,
        max=sum(found.values()),
        reason=reason,
        owner=owner,
        until=day if until is None else read_day(until),
    )
