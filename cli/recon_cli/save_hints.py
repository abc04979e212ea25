"""Save hints to recon.toml: all as comments, or some of them as settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_cli.plain_values import is_whole_number
from recon_engine.analysis.code_hints import without_codes
from recon_engine.characters import readable
from recon_engine.command_line import option_words, read_name
from recon_engine.config_file import load_configuration
from recon_engine.config_place import OWN_FILE
from recon_engine.drafts.code_files import write_code_files
from recon_engine.drafts.config_file_text import (
    find_table,
    read_config_text,
    write_config_text,
)
from recon_engine.errors import ConfigError
from recon_engine.formatting import format_advice, format_count
from recon_engine.hint_settings import (
    list_toml,
    merge_settings,
    merge_value,
    read_flags,
    read_settings,
    write_toml,
)
from recon_engine.options import OPTIONS, Shape
from recon_engine.toml_text import ANY_HEADER, activate_proposal, set_value


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.config import Options
    from recon_engine.model import Hint
    from recon_engine.result import Reconciliation


ALL: Final = "all"
BEGIN: Final = "# --- hints of recon diff; none of these lines is active ---"
END: Final = "# --- end of the hints ---"
ABOUT: Final = (
    "# recon diff … --save-hints 1,3 adds the settings of 1 and 3.",
    "# By hand, a line goes into the table that is named above it.",
)
# The lines of a block: a hint, the table of its settings, and a setting.
SAVED: Final = re.compile(
    r"# \d+\. .*|#   in \[.*|#     .*|" + "|".join(map(re.escape, (BEGIN, *ABOUT, END)))
)


def parse_numbers(text: str) -> list[int] | None:
    """The numbers of hints; None for all, as comments."""
    if text == ALL:
        return None
    numbers = text.split(",")
    if not all(is_whole_number(each.strip()) for each in numbers):
        raise ConfigError(
            f"--save-hints {text}: not a list of numbers",
            help="such as --save-hints 1,3; without numbers, all are saved as comments",
        )
    return [int(each) for each in numbers]


def save_hints(
    result: Reconciliation,
    options: Options,
    numbers: Sequence[int] | None,
    source: Mapping[str, str],
    limit_words: Sequence[str] = (),
) -> str:
    """Write hints to the configuration file; return what was done, in a sentence.

    Args:
        result: The result with the hints.
        options: How the files were compared: a new file gets these settings too.
        numbers: The hints to add as settings, from 1; None adds all as comments.
        source: The configuration file and the dataset of it, if there is a file.
        limit_words: The options of limits of the inputs: a new file gets them too.

    Raises ConfigError for a hint that does not exist or has no setting, and for a file
    that cannot be edited.
    """
    if not result.hints and numbers is None:
        return "no hints to save"
    path = Path(source.get("file", OWN_FILE))
    # A setting names the file with the codes, and not the codes.
    hints = [without_codes(hint) for hint in result.hints]
    chosen = _choose(result.hints, numbers) if numbers is not None else result.hints
    table = find_table(path, source.get("dataset"))
    before = text = read_config_text(path) if source else ""
    try:
        if not source:
            words = (*option_words(options), *limit_words)
            for place, name, value in list_toml(read_flags(words)):
                text = set_value(text, place, name, value)
        if numbers is None:
            text = _with_comments(text, hints, table)
            count, how = len(hints), "as comments"
        else:
            text = _with_settings(text, _choose(hints, numbers), table)
            count = len(numbers)
            how = f"run again to use {'it' if count == 1 else 'them'}"
    except ValueError:
        shown = _choose(hints, numbers or ())
        raise ConfigError(
            "the file cannot be edited automatically",
            file=str(path),
            why="its settings are not written as one line each",
            help="add these lines:\n" + write_toml(merge_settings(shown), table),
        ) from None
    # Before the settings that name these files.
    written = write_code_files(chosen, path)
    write_config_text(path, text)
    try:
        # Later commands have to accept the file. Otherwise it is again what it was.
        load_configuration(path, source.get("dataset"))
    except ConfigError:
        if source:
            write_config_text(path, before)
        else:
            path.unlink()
        for file in written:
            file.unlink()
        raise
    files = "".join(f", {file}" for file in written)
    return f"saved {format_count(count, 'hint')} to {path}{files}; {how}"


def _choose(hints: Sequence[Hint], numbers: Sequence[int]) -> list[Hint]:
    chosen = []
    for number in numbers:
        if not 1 <= number <= len(hints):
            raise ConfigError(
                f"there is no hint {number}",
                why=f"the result has {format_count(len(hints), 'hint')}",
                help="recon diff … --save-hints, without a number, lists them",
            )
        hint = hints[number - 1]
        if not hint.flag:
            raise ConfigError(f"hint {number} has no setting", help=hint.text)
        chosen.append(hint)
    return chosen


def _with_comments(text: str, hints: Sequence[Hint], table: tuple[str, ...]) -> str:
    """The text with the hints at its end, in place of those saved before."""
    lines = [BEGIN, *ABOUT]
    for number, hint in enumerate(hints, 1):
        lines += [f"# {number}. {readable(format_advice(hint))}"]
        toml = write_toml(read_settings(hint), table)
        # A header that the file has already may not be repeated.
        lines += [
            f"#   in {line}:" if ANY_HEADER.match(line) else f"#     {line}"
            for line in toml.splitlines()
        ]
    kept = _without_comments(text)
    gap = "\n" if kept else ""
    return kept + gap + "\n".join([*lines, END]) + "\n"


def _without_comments(text: str) -> str:
    """The text without the hints of an earlier result.

    What else is in their block stays: a setting whose comment sign was removed, and
    all that is below it, if the line that ends the block is gone.
    """
    lines = text.split("\n")
    while BEGIN in lines:
        start = lines.index(BEGIN)
        end = _find_block_end(lines, start)
        kept = [line for line in lines[start:end] if not SAVED.fullmatch(line)]
        before = "\n".join(lines[:start]).rstrip()
        after = ("\n".join(part).strip("\n") for part in (kept, lines[end:]))
        texts = [each for each in (before, *after) if each.strip()]
        lines = [*"\n".join(texts).split("\n"), *[""] * bool(texts)]
    return "\n".join(lines)


def _find_block_end(lines: Sequence[str], start: int) -> int:
    """The line behind a block of hints, which ends at the next table without its end.

    A table that was added inside the block does not end it.
    """
    following = lines[start + 1 :]
    if BEGIN in following:
        following = following[: following.index(BEGIN)]
    if END in following:
        return start + 1 + following.index(END) + 1
    heads = (at for at, line in enumerate(following) if ANY_HEADER.match(line))
    return start + 1 + next(heads, len(following))


def _with_settings(text: str, hints: Sequence[Hint], table: tuple[str, ...]) -> str:
    """The text with the settings of some hints; rules are appended to those there.

    The comments go: their numbers are those of a result without these settings.
    """
    text = _without_comments(text)
    for name, value in merge_settings(hints).items():
        merged = merge_value(_find_known(text, name, table), value, name)
        changed = {k: merged[k] for k in value} if isinstance(value, dict) else merged
        for place, key, each in list_toml({name: changed}, table):
            text = activate_proposal(text, place, key, each)
    return text


def _find_known(text: str, name: str, table: tuple[str, ...]) -> Any:
    """What a file sets for an option, with the names of columns as they are read.

    What a dataset sets takes the place of what the top sets; a table by column adds to
    it.
    """
    top = table[:-2] if table[-2:-1] == ("dataset",) else table
    known: Any = None
    for place in dict.fromkeys((top, table)):
        own: Any = tomllib.loads(text)
        for part in (*place, *str(OPTIONS[name].in_file).split(".")):
            own = own.get(part) if isinstance(own, dict) else None
        if isinstance(own, dict):
            own = {read_name(column): each for column, each in own.items()}
            known = {**known, **own} if isinstance(known, dict) else own
        elif own is not None:
            names = isinstance(own, list) and OPTIONS[name].shape is Shape.NAMES
            known = [*map(read_name, own)] if names else own
    return known
