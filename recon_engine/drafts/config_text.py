"""A draft as the text of recon.toml: settings with their evidence as comments."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from recon_engine.analysis.code_hints import without_codes
from recon_engine.command_line import option_words
from recon_engine.hint_settings import list_toml, read_flags, read_settings, write_toml
from recon_engine.model import SIDES
from recon_engine.pipeline.inbox import NEW_MARK
from recon_engine.toml_text import write_header, write_setting
from recon_engine.where_syntax import write_condition


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.drafts.decision import Decision
    from recon_engine.drafts.draft import Draft


# Which filter leaves out rows that one side has only.
FILTERS: Final = {"missing": "old_where", "extra": "new_where"}

PATTERNS: Final = ("old_pattern", "new_pattern")
# What a dataset needs besides, to be compared every day.
LOCATIONS: Final = (
    "# recon run compares what is delivered, once these name folders or S3 prefixes:",
    '#     inbound_s3 = "inbound"',
    '#     processed_s3 = "processed"',
    '#     out_s3 = "out"',
)


def write_config(
    draft: Draft,
    table: tuple[str, ...],
    names: tuple[str, str] = ("", ""),
    folder: str = "",
) -> str:
    """The text of a configuration file, or of a table in it, such as of a dataset.

    `names`: OLD and NEW, as they were given. `folder`: where the files with code tables
    are; "" for the current one.
    """
    return "\n".join(_lines(draft, table, names, folder)).strip() + "\n"


def _lines(
    draft: Draft, table: tuple[str, ...], names: tuple[str, str], folder: str
) -> Iterator[str]:
    if table:
        yield write_header(table)
    checked = "Drafted by recon init, and checked on all rows of both files"
    # Values of renamed columns may differ: how many agree is measured on a sample.
    yield f"# {checked}, but for [map]." if draft.options.renames else f"# {checked}."
    if "dataset" in table:
        yield from LOCATIONS
        yield from _patterns(names)
    settings = read_flags(option_words(draft.options))
    last = table
    for place, name, value in list_toml(settings, table):
        if place != last:
            yield from ("", write_header(place))
            last = place
        yield from (f"# {text}" for text in _evidence(draft, place, name))
        yield write_setting(name, value)
    yield from _comments(draft, table, folder)


def _patterns(names: tuple[str, str]) -> Iterator[str]:
    """Which files of a folder are OLD and NEW, if their names do not say so.

    Numbers, such as a date, are others in the next delivery.
    """
    old, new = (name.rpartition("/")[2] for name in names)
    if (NEW_MARK in new.upper()) > (NEW_MARK in old.upper()):
        return
    patterns = [re.sub(r"[0-9]+", "*", name) for name in (old, new)]
    both = fnmatchcase(old, patterns[1]) or fnmatchcase(new, patterns[0])
    if both or not all(patterns):
        return
    yield f"# and these its two files, unless NEW has {NEW_MARK} in its name:"
    for setting, pattern in zip(PATTERNS, patterns, strict=True):
        yield f"#     {write_setting(setting, pattern)}"


def _evidence(draft: Draft, place: tuple[str, ...], name: str) -> Iterator[str]:
    """Why a setting is there: of a column, or of the files."""
    for each in draft.decisions:
        if each.setting and place[-1:] == (each.setting,) and each.about == name:
            yield each.evidence
        elif each.setting == name and _is_of_side(each, place):
            about = "" if each.setting == "keys" else f"{each.about}: {each.choice}, "
            yield about + each.evidence


def _is_of_side(decision: Decision, place: tuple[str, ...]) -> bool:
    """Whether a decision about one file is about that of a table `[old]` or `[new]`."""
    own = [side for side in SIDES if place[-1:] == (side,)]
    return not own or decision.about.startswith(own[0].upper())


def _comments(draft: Draft, table: tuple[str, ...], folder: str) -> Iterator[str]:
    """What a person has to decide: it can hide an error that is in all rows."""
    filters = [each for each in draft.result.segments if each.of in FILTERS]
    if not (draft.never or draft.hints or filters):
        return
    yield from ("", "# Not active, for each can hide a systematic error:")
    for column in draft.never:
        yield (
            f"# {column.name} differs in {column.mismatched:,} of"
            f" {column.compared:,} matched rows: is it another code?"
        )
        yield f"#     {write_setting('ignore', [column.name])}"
    for each in filters:
        setting = FILTERS[each.of]
        yield (
            f"# {each.rows:,} {each.of} rows, {each.share:.0%} of them, have one value"
            f" of {each.column} ({each.base:.1%} of all rows)"
        )
        condition = write_condition(each.column, "!=", each.value)
        for line in write_toml({setting: condition}, table).splitlines():
            yield f"#     {line}"
    for hint in draft.hints:
        yield f"# {hint.text}"
        settings = read_settings(without_codes(hint, folder))
        for line in write_toml(settings, table).splitlines():
            yield f"#     {line}"
