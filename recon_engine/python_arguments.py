"""Options as arguments of `recon_engine.diff`.

Errors, warnings and hints name options as the command line has them. One function
rewrites a text for a caller in Python: `--map A=B` becomes `renames={"A": "B"}`.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from recon_engine.characters import readable
from recon_engine.command_line import read_words
from recon_engine.hint_settings import BY_FLAG, read_flags, write_python
from recon_engine.lazy import lazy_pattern
from recon_engine.options import Option, Shape


if TYPE_CHECKING:
    import re


# The second flag of a switch, `--no-header/--header`, with the option that it unsets.
UNSET: Final = {
    second: option
    for option in set(BY_FLAG.values())
    for first, slash, second in (flag.partition("/") for flag in option.flags)
    if slash
}
# A flag, and the word after it: quoted for a shell, or up to the punctuation of a
# sentence.
FLAG: Final = lazy_pattern(
    r"(?<![\w-])(?P<flag>--[a-z][a-z0-9-]*)"
    r"(?: (?P<value>\$?'(?:[^'\\]|\\.)*'(?:\"'\"'[^']*')*|[^\s'\"]\S*))?"
)
# Words of a sentence that follow the name of an option, and are no value of it.
WORDS: Final = frozenset(
    (
        *("also", "and", "are", "as", "belong", "both", "can", "cannot", "compares"),
        *("decides", "does", "drops", "exclude", "for", "from", "given", "has"),
        *("have", "if", "in", "is", "it"),
        *("lists", "maps", "matches", "may", "names", "need", "needs", "no", "nor"),
        *("of", "on", "once", "or", "pairs", "proposes", "reads", "removes", "takes"),
        *("than", "that", "the", "to", "twice", "was", "were", "where", "which"),
        *("with", "without", "would"),
    )
)


def write_flags(flags: str) -> str:
    """The flags of a hint as arguments of `diff`."""
    return write_python(read_flags(read_words(flags)))


def write_for_python(text: str) -> str:
    """A text that names flags, with the arguments of `diff` in their place.

    Flags of one option that follow each other are one argument. A flag that is no
    argument of `diff` stays as it is.
    """
    found, at = list[str](), 0
    words = list[str]()
    start = end = 0
    for match in FLAG.finditer(text):
        each = _read_flag(match)
        if each is None:
            continue
        joins = words[1:] and each[1:] and words[0] == each[0]
        if joins and text[end : match.start()] == " ":
            # `--key A --key B` are one list.
            words += each
        else:
            if words:
                found += [text[at:start], _write(words)]
                at = end
            words, start = each, match.start()
        end = _find_end(match) if each[1:] else match.end("flag")
    if words:
        found += [text[at:start], _write(words)]
        at = end
    return "".join((*found, text[at:]))


def _find_end(match: re.Match[str]) -> int:
    """The end of the value: before the punctuation of the sentence, if unquoted."""
    value = match["value"]
    if value.startswith(("'", "$'")):
        return match.end("value")
    while len(value) > 1 and (
        value[-1] in ".,:;`'"
        or (value[-1] == ")" and value.count(")") > value.count("("))
    ):
        value = value[:-1]
    return match.start("value") + len(value)


def _read_flag(match: re.Match[str]) -> list[str] | None:
    """The flag with its value, if the next word is one; None for no argument."""
    flag = match["flag"]
    option = BY_FLAG.get(flag) or UNSET.get(flag)
    if option is None or option.in_python is None:
        return None
    if match["value"] is None:
        return [flag]
    value = match.string[match.start("value") : _find_end(match)]
    if not _may_be_value(option, value):
        return [flag]
    if value.startswith(("'", "$'")):
        return [flag, *(read_words(value)[:1] or [""])]
    # Quotes inside belong to it, as in `--derive A=join(B,C,"-")`: a sentence is no
    # command line.
    return [flag, value]


def _may_be_value(option: Option, word: str) -> bool:
    value = word.strip("$'")
    if option.value_type is bool or value in WORDS:
        return False
    if option.value_type is int:
        return value == "N" or value.isdecimal()
    if issubclass(option.value_type, StrEnum):
        return value in set(option.value_type)
    if option.shape in {Shape.RENAMES, Shape.COLUMN_VALUE, Shape.COLUMN_VALUES}:
        return "=" in value.strip("=")
    return not value.startswith("--")


def _write(words: list[str]) -> str:
    """Words of a command line as arguments; a flag alone as the name of its option."""
    flag, *values = words
    if flag in UNSET:
        return f"{UNSET[flag].in_python}=False"
    option = BY_FLAG[flag]
    if option.value_type is bool:
        return f"{option.in_python}=True"
    if not values:
        return str(option.in_python)
    if option.value_type is int and not values[0].isdecimal():
        return f"{option.in_python}={values[0]}"
    try:
        return write_python(read_flags(words))
    except ValueError:
        # No list or pair, such as a name with one quote.
        value = readable(json.dumps(values[0], ensure_ascii=False))
        return f"{option.in_python}={value}"
