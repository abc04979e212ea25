"""A wrong command line as an error of this program, with the command that was meant."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.options import OPTIONS


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


# What typer says of options that are spelled similarly.
POSSIBLE: Final = lazy_pattern(
    r"(?P<what>.*?)\.? \((?:Possible options|Did you mean).*"
)
# How pydantic describes a value, and how this program does.
WORDS: Final = {
    "Input should be": "it has to be",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "Unable to parse input string as an integer, exceeded maximum size": "it has too"
    " many digits",
}
FILE_NAME: Final = lazy_pattern(
    r"s3://.*|.*\.(csv|tsv|txt|psv|dat|xlsx|parquet)(\.\w+)?"
)


def make_usage_error(error: Any) -> ConfigError:
    """The error for one of typer: what is wrong, and where the help is.

    `error`: has `format_message`, and the context `ctx` of its command or None.
    """
    if value := _describe_value(error):
        return ConfigError(value, help=_help_with(error))
    text = error.format_message().strip()
    similar = getattr(error, "possibilities", None)
    if similar and (found := POSSIBLE.fullmatch(text)):
        text = f"{found['what']}. Did you mean {' or '.join(sorted(similar))}?"
    else:
        text = text.removesuffix(".")
    return ConfigError(text[:1].lower() + text[1:], help=_help_with(error))


def _describe_value(error: Any) -> str:
    """What is wrong with a value, by the flag or the variable that it is from."""
    param = getattr(error, "param", None)
    if param is None or not error.message:
        return ""
    source = error.ctx.get_parameter_source(param.name)
    if source is not None and source.name == "ENVIRONMENT":
        name = param.envvar
    elif param.param_type_name == "argument":
        name = param.human_readable_name
    else:
        name = max(param.opts, key=len)
    # The sentences of pydantic; a number that is none has its reason after a comma.
    what = error.message.removeprefix("Value error, ").partition(", unable to")[0]
    for theirs, ours in WORDS.items():
        what = what.replace(theirs, ours)
    what = what.strip()
    return f"{name}: {what.removesuffix('.')}"


# What people call an option that has another name.
OTHER_NAMES: Final = {("init", "--out"): "--config", ("init", "--output"): "--config"}


def _help_with(error: Any) -> str:
    option = getattr(error, "option_name", "")
    before_command = error.ctx is None or error.ctx.parent is None
    if before_command and any(option in each.flags for each in OPTIONS.values()):
        return f"write it after the command, such as: recon diff OLD NEW {option}"
    command = error.ctx.command_path if error.ctx else "recon"
    text = f"{re.sub(' [{].*', '', command)} --help lists what it takes"
    name = error.ctx.info_name if error.ctx else ""
    if meant := OTHER_NAMES.get((name, option)):
        return f"the option is {meant}; {text}"
    missing = getattr(error, "param", None)
    if missing is None or not missing.required:
        return text
    needed = (str(each.name) for each in error.ctx.command.params if each.required)
    settings = [name for name in needed if name in OPTIONS and OPTIONS[name].in_file]
    if not settings:
        return text
    places = any(name.endswith("_s3") for name in settings)
    each = ", each an S3 prefix or a local folder" if places else ""
    return f"{text}; recon.toml can set {', '.join(settings)}{each}"


def make_command_error(words: Sequence[str], commands: Iterable[str]) -> ConfigError:
    """The error for a first word that is no command.

    Two files are proposed as arguments of `diff`.
    """
    from recon_engine.command_line import quoted
    from recon_engine.suggestions import did_you_mean

    name = words[0]
    if all(map(_may_be_file, words[:2])):
        command = " ".join(map(quoted, ("recon", "diff", *words)))
        return ConfigError(
            f"{name} is a file, not a command", help=f"did you mean: {command}"
        )
    return ConfigError(
        f"there is no command {name}{did_you_mean(name, commands)}",
        help="recon --help lists the commands",
    )


def _may_be_file(word: str) -> bool:
    """Whether a word is the name of a file that exists, or looks like one of data."""
    # `Path.is_file` raises for a name that is too long.
    is_file = os.path.isfile(word)  # noqa: PTH113
    return bool(FILE_NAME.fullmatch(word.casefold())) or is_file
