"""Run a plain `recon diff` without typer.

The import of typer takes a fifth as long as that of Polars, and a comparison of small
files little longer than both. Plain is a command line of two inputs and of options with
valid values, where no environment variable and no configuration file sets an option.
Every other one is left to typer, which has the help and the error messages. A plain one
means the same to both, which the tests compare.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from recon_cli import session
from recon_cli.commands.compare import diff
from recon_cli.plain_values import NotPlain, convert_plain
from recon_cli.settings import call_command
from recon_engine.config_place import find_config_file
from recon_engine.model import MOST_COUNT
from recon_engine.options import Option, Shape, options_of
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.config_file import Configuration

    # What a flag sets; None for a flag that is followed by its value.
    Switch = bool | None


# They name a configuration file, or may have no value.
LEFT_TO_TYPER: Final = frozenset({"config", "dataset", "save_hints"})


@dataclass(frozen=True, slots=True)
class PlainCommand:
    """A parsed command line: its inputs, and the value of each option.

    `given`: the names of the options that have a flag in it.
    """

    inputs: tuple[str, str]
    options: dict[str, Any]
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Source:
    name: str


class _PlainContext:
    """What `Settings` asks of typer, for a command line without a file."""

    def __init__(self, given: frozenset[str]) -> None:
        self.obj: Configuration | None = None
        self._given = given

    def get_parameter_source(self, name: str, /) -> _Source:
        return _Source("COMMANDLINE" if name in self._given else "DEFAULT")


def parse_plain(words: Sequence[str]) -> PlainCommand | None:
    """Parse a plain command line, to the values of typer; None for any other."""
    if not words or words[0] != diff.__name__ or find_config_file() is not None:
        return None
    options = [option for option in options_of(diff.__name__) if option.flags]
    if any(option.env in os.environ for option in options if option.env):
        return None
    try:
        inputs, texts = _split(words[1:], dict(_flags(options)))
        [old, new] = inputs
        values = {
            option.name: _value(option, texts.get(option.name)) for option in options
        }
    # ValueError: there are more or fewer inputs than two.
    except (NotPlain, ValueError):
        return None
    return PlainCommand((old, new), values, frozenset(texts))


def run_plain(command: PlainCommand) -> None:
    """Run a command, which ends by `CommandEnded`."""
    session.start_logging(debug=False)
    old, new = command.inputs
    context = _PlainContext(command.given)
    call_command(diff, context, command.options, {"old": old, "new": new})


def _flags(options: Sequence[Option]) -> Iterator[tuple[str, tuple[Option, Switch]]]:
    """Each flag with its option, and what it sets."""
    for option in options:
        for flag in option.flags:
            on, _, off = flag.partition("/")
            yield on, (option, True if option.value_type is bool else None)
            if off:
                yield off, (option, False)


def _split(
    words: Sequence[str], flags: dict[str, tuple[Option, Switch]]
) -> tuple[list[str], dict[str, list[Any]]]:
    """The inputs, and what is written for each option. Raises NotPlain."""
    inputs, texts = list[str](), dict[str, list[Any]]()
    following = iter(words)
    for word in following:
        if not word.startswith("-"):
            inputs.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in flags or (equals and not name.startswith("--")):
            raise NotPlain
        option, switch = flags[name]
        if option.name in LEFT_TO_TYPER or (equals and switch is not None):
            raise NotPlain
        if switch is None and not equals:
            # A value that is missing, or begins as a flag does, is for typer to judge.
            value = next(following, "-")
            if value.startswith("-"):
                raise NotPlain
        texts.setdefault(option.name, []).append(value if switch is None else switch)
    return inputs, texts


def _value(option: Option, texts: list[Any] | None) -> Any:
    """The value of an option as typer has it. Raises NotPlain."""
    if texts is None:
        return option.default
    if option.shape is not Shape.VALUE:
        return [_convert(option, text) for text in texts]
    # The last one counts.
    return texts[-1] if option.value_type is bool else _convert(option, texts[-1])


def _convert(option: Option, text: str) -> Any:
    counted = option.value_type is int
    least, most = (option.least, MOST_COUNT) if counted else (None, None)
    return convert_plain(text, option.value_type, least, most)
