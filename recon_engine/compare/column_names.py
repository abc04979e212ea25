"""Pair the columns of OLD and NEW by name, and find columns by any of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.command_line import map_flag
from recon_engine.errors import ConfigError, SchemaMismatch, UnfitNames
from recon_engine.name_forms import (
    find_by_form,
    fold_name,
    spell_as,
    write_match_names,
)
from recon_engine.records import dataclass
from recon_engine.suggestions import did_you_mean, looks_like_header, shown


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from recon_engine.config import Options
    from recon_engine.name_forms import NameForm

    Fits = Callable[[Sequence[str], Sequence[str]], bool]


@dataclass(frozen=True, slots=True)
class NamePairs:
    """The columns of both sides, and which of them are one column of the result.

    `renames`: names in OLD with their other names in NEW. `by_form`: those of them that
    `--match-names` pairs. A column of both sides has its name in OLD.
    """

    old: tuple[str, ...]
    new: tuple[str, ...]
    renames: Mapping[str, str]
    forms: tuple[NameForm, ...] = ()
    by_form: tuple[tuple[str, str], ...] = ()

    @property
    def back(self) -> dict[str, str]:
        """Names in NEW with their other names in OLD."""
        return {theirs: ours for ours, theirs in self.renames.items()}

    @property
    def renamed(self) -> tuple[str, ...]:
        """The columns of NEW in order, by their names in results."""
        back = self.back
        return tuple(back.get(name, name) for name in self.new)

    def find(self, name: str) -> str:
        """The name in results of a column, given any of its names.

        A name that no column has is returned as it is.
        """
        back = self.back
        # The name in OLD comes first: with `--map A=B,B=A` both files have both names.
        if name in self.old:
            return name
        if name in back or name in self.new:
            return back.get(name, name)
        found = find_by_form(name, self.old, self.forms)
        if found is None:
            found = find_by_form(name, self.new, self.forms)
        return name if found is None else back.get(found, found)


def pair_names(
    old: Sequence[str],
    new: Sequence[str],
    options: Options,
    *,
    uris: tuple[str, str] = ("OLD", "NEW"),
    hint: Callable[[], str | None] = lambda: None,
    retry: Callable[[Fits], str | None] = lambda _fits: None,
) -> NamePairs:
    """Pair the columns of both sides: by `--map`, by equal names, by `--match-names`.

    Args:
        old: The column names of OLD.
        new: The column names of NEW.
        options: The renames, and the form in which names are equal.
        uris: The names of both files, for errors.
        hint: Returns how else the files could be read, for errors.
        retry: The same, given a test of two headers.

    Raises:
        ConfigError: A rename does not fit the columns.
        SchemaMismatch: Two columns of one side have the same form.
    """
    forms = options.match_names
    for names, side, uri in zip((old, new), ("OLD", "NEW"), uris, strict=True):
        _refuse_equal_forms(names, forms, side, uri)
    renames = {
        spell_as(ours, old, forms): spell_as(theirs, new, forms)
        for ours, theirs in options.renames.items()
    }
    # Two spellings of one column became one key of the dict.
    if len(renames) < len(options.renames):
        raise ConfigError(
            "--map maps one column of OLD twice", help="map each column once"
        )
    _check_renames(old, new, renames, hint, retry)
    # A form has one name here: `_refuse_equal_forms` has refused a side with two.
    theirs_by_form = {
        fold_name(name, forms): name
        for name in (new if forms else ())
        if name not in old and name not in renames.values()
    }
    by_form = tuple(
        (name, theirs_by_form[form])
        for name in (old if forms else ())
        if name not in new
        and name not in renames
        and (form := fold_name(name, forms)) in theirs_by_form
    )
    return NamePairs(
        tuple(old),
        tuple(new),
        {**renames, **dict(by_form)},
        forms,
        tuple(sorted(by_form)),
    )


def _refuse_equal_forms(
    names: Sequence[str], forms: Sequence[NameForm], side: str, uri: str
) -> None:
    """Raise SchemaMismatch if two columns of a side are equal in these forms."""
    first: dict[str, str] = {}
    for name in names if forms else ():
        twin = first.setdefault(fold_name(name, forms), name)
        if twin == name:
            continue
        # Without a header, a row would be quoted.
        quotable = looks_like_header(each.strip() for each in names)
        both = f": {shown(twin)} and {shown(name)}" if quotable else ""
        raise SchemaMismatch(
            f"--match-names {write_match_names(forms)}: two columns of {side} have "
            f"one name{both}",
            file=uri,
            line=1,
            why="it is not known which of them the other file means",
            help="rename one of them, or use --map OLD=NEW without --match-names",
        )


def _check_renames(
    old: Collection[str],
    new: Collection[str],
    renames: Mapping[str, str],
    hint: Callable[[], str | None],
    retry: Callable[[Fits], str | None],
) -> None:
    def are_swapped(ours: Collection[str], theirs: Collection[str]) -> bool:
        return renames.keys() <= {*theirs} and {*renames.values()} <= {*ours}

    lacking = next((each for each in renames.items() if each[0] not in old), None)
    # One pair alone may itself be swapped. Where the delimiters of the files differ,
    # they are exchanged as well.
    if lacking and len(renames) > 1 and (are_swapped(old, new) or retry(are_swapped)):
        raise UnfitNames(
            f"{map_flag(*lacking)}: OLD has no column {shown(lacking[0])}, and NEW has"
            " it: are the files swapped?",
            why=f"all {len(renames)} pairs of names fit the files in the other order",
            help="the old file comes first",
        )
    for ours, theirs in renames.items():
        flag = map_flag(ours, theirs)
        if ours not in old and ours in new and theirs in old:
            raise UnfitNames(
                f"{flag}: OLD has no column {shown(ours)}, and NEW has it",
                why="the two names are swapped",
                help=f"the name in OLD comes first: {map_flag(theirs, ours)}",
            )
        for name, side, known in ((ours, "OLD", old), (theirs, "NEW", new)):
            if name not in known:
                raise UnfitNames(
                    f"{flag}: {side} has no column {shown(name)}"
                    + did_you_mean(name, known),
                    help=hint() or "--map OLD_NAME=NEW_NAME",
                )
        if ours in new and ours not in renames.values():
            raise ConfigError(
                f"{flag}: NEW also has a column {ours}",
                help=f"map another column of OLD to {ours} of NEW",
            )
    if len(set(renames.values())) < len(renames):
        raise ConfigError(
            "--map maps two columns of OLD to one column of NEW",
            help="map each column once",
        )
