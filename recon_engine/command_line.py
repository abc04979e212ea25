"""Options of the command line as text to paste.

Names and words quoted for the shell.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from recon_engine.characters import escapes, is_seen
from recon_engine.config import AS_DEFAULT, Options
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES
from recon_engine.options import Option, Shape, options_of


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.config import Limits


# What a name of --map is quoted for: @ begins the name of a file.
MAP_CHARS: Final = ",=@"
# `shlex.quote` writes a single quote as `'"'"'`, so a word can have all forms.
WORD_PARTS: Final = lazy_pattern(
    r"(?P<space>\s+)|\$'(?P<escaped>(?:[^'\\]|\\.)*)'|'(?P<single>[^']*)'"
    r'|"(?P<double>[^"]*)"|(?P<bare>[^\s\'"$]+|\$)'
)
# As `characters.escapes` writes them.
ESCAPES: Final = lazy_pattern(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
# Possessive (`*+`): a long name without a closing quote costs no backtracking.
QUOTED: Final = lazy_pattern(r'"((?:[^"]|"")*+)"')


def rule_flags(column: str, rules: Sequence[tuple[str, str]]) -> str:
    """`--rule PAID=trim --old-rule 'PAID=decimal(comma)'`, of sides and rules."""
    # Help imports this module, and no rules.
    from recon_engine.rules.assembly import RULE_FLAGS

    name = quote_name(column, "=")
    return " ".join(
        f"{RULE_FLAGS[side]} {quoted(f'{name}={rule}')}" for side, rule in rules
    )


def key_flags(columns: Iterable[str]) -> str:
    """`--key CLM_ID --key SEGMENT`."""
    return " ".join(f"--key {quoted(quote_name(name, ','))}" for name in columns)


def map_flag(old: str, new: str) -> str:
    """`--map PAID=AMOUNT`."""
    pair = (quote_name(name, MAP_CHARS) for name in (old, new))
    return "--map " + quoted("=".join(pair))


def map_flags(renames: Mapping[str, str]) -> str:
    """`--map PAID=ALLOWED,ALLOWED=PAID`."""
    pairs = (
        "=".join(quote_name(n, MAP_CHARS) for n in pair) for pair in renames.items()
    )
    return "--map " + quoted(",".join(pairs))


def quoted(word: str) -> str:
    r"""A word quoted for a shell.

    With escapes if it has invisible characters: `$'A\u00a0B'`.
    """
    if all(map(is_seen, word)):
        return shlex.quote(word)
    # The quoting of bash and zsh that knows escapes.
    return "$'" + "".join(escapes(word)).replace("'", r"\'") + "'"


def read_words(text: str) -> list[str]:
    """The words of a command line, as `quoted` writes them."""
    words = [""]
    for found in WORD_PARTS.finditer(text):
        if found["space"]:
            words.append("")
        elif found["escaped"] is not None:
            words[-1] += ESCAPES.sub(_unescape, found["escaped"])
        else:
            words[-1] += next(
                part
                for part in (found["single"], found["double"], found["bare"])
                if part is not None
            )
    return [word for word in words if word]


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] in "uU":
        return chr(int(code[1:], 16))
    return {"t": "\t", "n": "\n", "r": "\r"}.get(code, code)


def quote_name(name: str, delimiters: str) -> str:
    """A name as `split_names` reads it: quoted only if needed."""
    if any(each in name for each in f'{delimiters}"') or name != name.strip():
        return '"' + name.replace('"', '""') + '"'
    return name


def split_list(text: str, delimiter: str) -> list[str]:
    """The items of a list as they are written; a quoted delimiter does not split."""
    item = rf'(?:"(?:[^"]|"")*+"|[^{re.escape(delimiter)}])*+'
    return re.findall(rf"(?:\A|{re.escape(delimiter)})({item})", text, re.DOTALL)


def split_names(text: str, delimiter: str) -> list[str]:
    """The names of a list, each read by `read_name`."""
    return [read_name(item) for item in split_list(text, delimiter)]


def read_name(text: str) -> str:
    """A name without surrounding blanks; a name in double quotes is exact.

    Raises ValueError if the closing quote is missing or followed by text.
    """
    name = text.strip()
    if not name.startswith('"'):
        return name
    found = QUOTED.fullmatch(name)
    if found is None:
        raise ValueError("a quoted name is not closed, or text follows it")
    return found[1].replace('""', '"')


def rebuild_command(
    options: Options,
    old: str,
    new: str,
    instead: Sequence[str] = (),
    limits: Sequence[str] = (),
) -> str:
    """`recon diff OLD NEW` with every option that differs from its default.

    `instead`: words that have the same effect as the options. `limits`: those that set
    limits of the inputs.
    """
    words = ("recon", "diff", old, new, *(instead or option_words(options)), *limits)
    return " ".join(map(quoted, words))


def explain_command(
    old: str, new: str, key: Sequence[str], options: Iterable[str]
) -> str:
    """`recon explain OLD NEW` with the values of a key, and options.

    A value that begins with a hyphen comes after `--`, so that it is no option.
    """
    dashed = any(value.startswith("-") for value in key)
    words = [*options, "--", *key] if dashed else [*key, *options]
    return " ".join(map(quoted, ("recon", "explain", old, new, *words)))


def option_words(options: Options | Limits, command: str = "diff") -> Iterator[str]:
    """Flags and values of what differs from its default, in the order of the table.

    `command`: the one that takes them.
    """
    for option in options_of(command):
        # Rules and filters of both sides are fields of `Options`; all other sided
        # options are fields of the sides only.
        if option.sets is type(options) and option.flags:
            yield from _words(option, getattr(options, option.field))
        if option.sided and isinstance(options, Options):
            old, new = (getattr(options.side(side), option.field) for side in SIDES)
            # Equal rules of OLD and of NEW are not those of both sides: each keeps its
            # flag.
            if old == new and not option.adds:
                yield from _words(option, old)
            else:
                for side, value in zip(SIDES, (old, new), strict=True):
                    yield from _words(option, value, option.of_side(side).flag)


def _words(option: Option, value: Any, flag: str | None = None) -> Iterator[str]:
    """The flag, that of the option by default, before the text of each value."""
    if option.sided and value == getattr(AS_DEFAULT, option.field):
        return
    if option.value_type is bool:
        yield flag or option.flag
        return
    for text in _value_texts(option, value):
        yield from (flag or option.flag, text)


def _value_texts(option: Option, value: Any) -> Iterator[str]:
    """The values of an option, each as the command line has it."""
    match option.shape:
        case Shape.VALUE:
            text = option.write(value)
            if value is not None and text not in {"", str(option.default)}:
                yield text
        case Shape.VALUES:
            yield from value
        case Shape.NAMES:
            yield from (quote_name(name, ",") for name in value)
        case _:
            delimiters = MAP_CHARS if option.shape is Shape.RENAMES else "="
            for column, text in _column_pairs(option, value):
                yield f"{quote_name(column, delimiters)}={text}"


def _column_pairs(
    option: Option, value: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for column, each in value.items():
        match option.shape:
            case Shape.RENAMES:
                yield column, quote_name(each, MAP_CHARS)
            case Shape.COLUMN_VALUES:
                yield from ((column, text) for text in each)
            case _:
                yield column, each
