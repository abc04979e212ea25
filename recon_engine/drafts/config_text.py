"""A draft as the text of recon.toml: settings with their evidence as comments.

What is proposed and not used is commented in the table that it belongs to, so that each
line is valid without its comment sign, alone and together with the others.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from recon_engine.analysis.code_hints import without_codes
from recon_engine.command_line import option_words
from recon_engine.formatting import format_rate
from recon_engine.hint_settings import (
    KEYS,
    list_toml,
    merge_value,
    read_flags,
    read_settings,
    write_name,
)
from recon_engine.model import SIDES
from recon_engine.pipeline.inbox import NEW_MARK
from recon_engine.records import dataclass
from recon_engine.settings_text import write_suppressions
from recon_engine.toml_text import (
    PROPOSAL,
    PROPOSED,
    write_comment,
    write_header,
    write_setting,
    write_value,
)
from recon_engine.where_syntax import write_exclusion


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Options
    from recon_engine.drafts.decision import Choices, Decision

    Place = tuple[str, ...]


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
EVERY_DAY: Final = (
    "# and these, of which each decides what a difference or a missing file means:",
    '#     feed = "full"  # each delivery has all rows: one in neither is gone',
    '#     gates = ["missing<=0", "extra<=0", "mismatched_rows<=0", "matched>=1"]',
    "#     fail_on_no_files = true  # without a delivery the exit code is not 0",
)
# Above a setting that is not, or not so, in the draft.
CHANGED: Final = "# set after the draft"


@dataclass(frozen=True, slots=True)
class _Proposal:
    """A setting that a person has to decide: it can hide an error in all rows.

    `value`: as recon.toml has it. `texts`: why it is proposed, with counts.
    """

    place: Place
    name: str
    value: Any
    texts: tuple[str, ...]

    @property
    def is_list(self) -> bool:
        """Whether its items are added to those that the setting has."""
        return isinstance(self.value, list | tuple) and self.name != KEYS


def write_config(
    choices: Choices,
    table: Place,
    names: tuple[str, str] = ("", ""),
    options: Options | None = None,
) -> str:
    """The text of a configuration file, or of a table in it, such as of a dataset.

    Args:
        choices: What was drafted.
        table: The table; () is the whole file.
        names: OLD and NEW, as they were given.
        options: What a caller made of the drafted options; None is as drafted.
    """
    options = options or choices.options
    return "\n".join(_lines(choices, table, names, options)).strip() + "\n"


def _lines(
    choices: Choices, table: Place, names: tuple[str, str], options: Options
) -> Iterator[str]:
    drafted = {each[:2]: each[2] for each in _list_settings(choices.options, table)}
    proposals = [*_list_proposals(choices, table)]
    yield from _write_head(options, table, names, proposals)
    # The table itself comes first: its settings end at the next header.
    active: dict[Place, dict[str, Any]] = {table: {}}
    for place, name, value in _list_settings(options, table):
        active.setdefault(place, {})[name] = value
    for each in proposals:
        active.setdefault(each.place, {})
    for place, settings in active.items():
        if place != table:
            yield from ("", write_header(place))
        own: dict[str, list[_Proposal]] = {}
        for each in proposals:
            if each.place == place:
                own.setdefault(each.name, []).append(each)
        for name, value in settings.items():
            if drafted.get((place, name)) == value:
                yield from map(write_comment, _evidence(choices, place, name))
            else:
                yield CHANGED
            yield from _write_with(name, value, own.pop(name, []))
        for name, some in own.items():
            yield from _write_proposed(name, some)
    yield from write_suppressions(options.suppressions, table)


def _list_settings(options: Options, table: Place) -> Iterator[tuple[Place, str, Any]]:
    return list_toml(read_flags(option_words(options)), table)


def _write_head(
    options: Options, table: Place, names: tuple[str, str], proposals: list[_Proposal]
) -> Iterator[str]:
    """The first lines: how the settings were checked, and what is no setting."""
    if table:
        yield write_header(table)
    checked = "# Drafted by recon init, and checked on all rows of both files"
    # Values of renamed columns may differ: how many agree is measured on a sample.
    mapped = options.renames
    yield f"{checked}, except the pairs of [map]:" if mapped else f"{checked}."
    if mapped:
        yield "# they were checked on a sample of the rows."
    if proposals:
        yield PROPOSED
    if "dataset" in table:
        yield from LOCATIONS
        yield from _patterns(names)
        yield from EVERY_DAY


def _write_with(name: str, value: Any, proposals: list[_Proposal]) -> Iterator[str]:
    """An active setting; what is proposed besides is commented in its list."""
    proposals = [each for each in proposals if not _is_followed(each, value)]
    items = [each for each in proposals if _is_chain(each) or each.is_list]
    for each in proposals:
        if each not in items:
            yield from _write_instead(each)
    if not items:
        yield write_setting(name, value)
        return
    # `name = [`, and an item on each line: a comment ends only with its line.
    yield f"{write_setting(name, []).removesuffix(']')}"
    known = _as_list(value)
    yield from (f"    {write_value(each)}," for each in known)
    for proposal in items:
        yield from (f"    {write_comment(text)}" for text in proposal.texts)
        for each in _as_list(proposal.value):
            if each not in known:
                known.append(each)
                yield f"    {PROPOSAL}{write_value(each)},"
    yield "]"


def _write_proposed(name: str, proposals: list[_Proposal]) -> Iterator[str]:
    """Proposals of one setting that is not active, as one commented setting."""
    first, *others = proposals
    value = first.value
    texts = [*first.texts]
    instead = []
    for each in others:
        if _is_chain(each) or each.is_list:
            value = merge_value(_as_list(value), _as_list(each.value), name)
            texts += each.texts
        else:
            instead.append(each)
    yield from map(write_comment, texts)
    for line in write_setting(name, value).splitlines():
        yield f"{PROPOSAL}{line}"
    for each in instead:
        yield from _write_instead(each)


def _write_instead(proposal: _Proposal) -> Iterator[str]:
    """A proposal in the place of another value: text only, for a name is set once."""
    yield from map(write_comment, proposal.texts)
    # On one line, as the comment sign is at its beginning only.
    setting = write_setting(proposal.name, proposal.value).replace("\n", " ")
    yield write_comment(f"in the place of another value: {setting}")


def _is_followed(proposal: _Proposal, value: Any) -> bool:
    """Whether a setting has what is proposed already."""
    if _is_chain(proposal) or proposal.is_list:
        return {*_as_list(proposal.value)} <= {*_as_list(value)}
    return bool(proposal.value == value)


def _is_chain(proposal: _Proposal) -> bool:
    """Whether it is a rule, which is added to those of its column."""
    return proposal.place[-1:] == ("rules",)


def _as_list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else [*value]


def _patterns(names: tuple[str, str]) -> Iterator[str]:
    """Which files of a folder are OLD and NEW, if their names do not say so.

    Numbers, such as a date, are others in the next delivery.
    """
    old, new = (name.rpartition("/")[2] for name in names)
    # True is more than False: the mark is in the name of NEW alone, as `recon run`
    # expects it.
    if (NEW_MARK in new.upper()) > (NEW_MARK in old.upper()):
        return
    patterns = [re.sub(r"[0-9]+", "*", name) for name in (old, new)]
    # A pattern that also fits the other file does not tell the two apart.
    both = fnmatchcase(old, patterns[1]) or fnmatchcase(new, patterns[0])
    if both or not all(patterns):
        return
    yield f"# and these its two files, unless NEW has {NEW_MARK} in its name:"
    for setting, pattern in zip(PATTERNS, patterns, strict=True):
        yield f"#     {write_setting(setting, pattern)}"


def _evidence(choices: Choices, place: tuple[str, ...], name: str) -> Iterator[str]:
    """Why a setting is there: of a column, or of the files."""
    if name == "on_schema_drift":
        yield "without this setting, a column that one file has only is an error"
    for each in choices.decisions:
        of_column = place[-1:] == (each.setting,) and write_name(each.about) == name
        if each.setting and of_column:
            yield each.evidence
        elif each.setting == name and _is_of_side(each, place):
            about = "" if each.setting == "keys" else f"{each.about}: {each.choice}, "
            yield about + each.evidence


def _is_of_side(decision: Decision, place: tuple[str, ...]) -> bool:
    """Whether a decision about one file is about that of a table `[old]` or `[new]`."""
    own = [side for side in SIDES if place[-1:] == (side,)]
    return not own or decision.about.startswith(own[0].upper())


def _list_proposals(choices: Choices, table: Place) -> Iterator[_Proposal]:
    """What a person has to decide: it can hide an error that is in all rows."""
    coded = {hint.column for hint in choices.hints if hint.code_file}
    for column in choices.never:
        # A column with another code is compared by its table rather than ignored.
        if column.name not in coded:
            why = (
                f"{column.name} differs in {column.mismatched:,} of"
                f" {column.compared:,} matched rows: is it another code?"
            )
            yield _Proposal(table, "ignore", [write_name(column.name)], (why,))
    for each in choices.segments:
        if each.of in FILTERS:
            why = (
                f"{each.rows:,} {each.of} rows, {format_rate(each.share, places=0)} of"
                f" them, have one value of {each.column}"
                f" ({format_rate(each.base, places=1)} of all rows)"
            )
            condition = write_exclusion(each.column, each.value)
            settings = {FILTERS[each.of]: condition}
            for place, name, value in list_toml(settings, table):
                yield _Proposal(place, name, value, (why,))
    for hint in choices.hints:
        texts: tuple[str, ...] = (hint.text,)
        settings = read_settings(without_codes(hint))
        for place, name, value in list_toml(settings, table):
            yield _Proposal(place, name, value, texts)
            # Rules of both sides are in two tables: the counts are above the first.
            texts = (f"{hint.column}: as above, the other part",)
