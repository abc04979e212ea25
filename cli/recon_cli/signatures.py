"""The table of options as typer takes it, and what a command is given for them."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from recon_cli import config_lookup, parsing, session
from recon_cli.plain_values import convert_directly
from recon_cli.usage import make_command_error
from recon_engine.command_line import quote_name
from recon_engine.config import NO_KEY, Limits, Options, SideFlags, SideOptions
from recon_engine.lazy import lazy_pattern
from recon_engine.model import MOST_COUNT, SIDES
from recon_engine.options import (
    OPTIONS,
    SIDED,
    Format,
    Group,
    Option,
    Shape,
    options_of,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typer._click import Command, Context, HelpFormatter, Parameter


log = logging.getLogger("recon")

# The two options that decide which settings of the configuration file count.
LOOKED_UP_FIRST: Final = ("config", "dataset")
SETTINGS: Final = "settings"
SAVE_HINTS: Final = "--save-hints"
ALL_HINTS: Final = "all"
HINT_NUMBERS: Final = lazy_pattern(r"\d+(,\d+)*")
# Where a value comes from, by precedence: the names that typer has for it.
SOURCES: Final = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
UNSET: Final = len(SOURCES)
EXAMPLES: Final = "\n\nExamples:\n"


class Settings:
    """What a command is given for its options: flags, then variables, then the file."""

    def __init__(
        self, ctx: typer.Context, command: str, given: Mapping[str, Any]
    ) -> None:
        self._ctx = ctx
        self._given = given
        self._command = command
        self._options = options_of(command)

    def __getitem__(self, name: str) -> Any:
        """The value of an option, as the field that it sets has it."""
        return self._value(OPTIONS[name])

    def has(self, name: str) -> bool:
        """Whether the command takes the option."""
        return self._command in OPTIONS[name].commands

    def fields_of(self, kind: type) -> dict[str, Any]:
        """The fields of a dataclass that the options of the command set."""
        return {
            option.field: self._value(option)
            for option in self._options
            if option.sets is kind
        }

    def side(self, side: str) -> SideOptions:
        """What is set for "old" or "new"."""
        chosen = [
            self._choose(option, option.of_side(side))
            for option in SIDED
            if self._command in option.commands
        ]
        found = {option.field: self._value(option) for option in chosen}
        given = {n: each for n, each in found.items() if each is not None}
        shared = frozenset(
            option.flag.removeprefix("--")
            for option in chosen
            if not option.side and self._rank(option) < UNSET
        )
        return SideOptions(**given, flags=SideFlags(side, shared))

    @property
    def options(self) -> Options:
        """How the files are compared."""
        self.check_dataset()
        return self._options_with()

    @property
    def options_without_key(self) -> Options:
        """How the files are read, for a command that takes no key."""
        self.check_dataset()
        return self._options_with(keys=NO_KEY)

    def _options_with(self, **fields: Any) -> Options:
        sides = {side: self.side(side) for side in SIDES}
        return Options(**self.fields_of(Options) | sides | fields)

    @property
    def limits(self) -> Limits:
        """How far an input may go before it is rejected."""
        return Limits(**self.fields_of(Limits))

    @property
    def required_dataset(self) -> str:
        """The dataset that is named, or the only one of the file; else ConfigError."""
        dataset: str | None = self["dataset"]
        if dataset is None:
            raise config_lookup.missing_dataset(self._ctx)
        return dataset

    @property
    def source(self) -> dict[str, str]:
        """The configuration file and the dataset of it that were used."""
        return config_lookup.describe_file(self._ctx)

    def announce_source(self) -> None:
        """Say which configuration file, dataset and key are used, if any."""
        source = dict(self.source)
        if not source:
            return
        if self.has("keys") and self["keys"]:
            source["key"] = ",".join(quote_name(each, ",") for each in self["keys"])
        if self._command == "run" and not sys.stderr.isatty():
            log.info("settings_read", extra=source)
        elif not self.has("format") or self["format"] is Format.TABLE:
            file = source.pop("file")
            facts = (f"{name} {value}" for name, value in source.items())
            session.announce("settings: " + ", ".join((file, *facts)))

    @property
    def other_datasets(self) -> tuple[str, ...]:
        """The datasets of the configuration file, if none of several is chosen."""
        return config_lookup.other_datasets(self._ctx)

    def check_dataset(self) -> None:
        """Refuse a --dataset that only selects settings where there is no file."""
        if self._command != "run":
            config_lookup.check_dataset(self._ctx)

    def _value(self, option: Option) -> Any:
        given = self._given.get(option.name)
        if option.shape is Shape.VALUE:
            return option.parse(given) if option.parse and given is not None else given
        filed = config_lookup.settings_from_file(self._ctx).get(option.name)
        return parsing.parse_values(option, given, filed)

    def _choose(self, both: Option, own: Option) -> Option:
        """The option of a side: its own if it comes from the same place or before."""
        if both.adds:
            return own
        rank, own_rank = (self._rank(option) for option in (both, own))
        return own if own_rank <= rank and own_rank < UNSET else both

    def _rank(self, option: Option) -> int:
        """Where a value comes from: flag, variable, file, nowhere."""
        source = self._ctx.get_parameter_source(option.name)
        if source is not None and source.name in SOURCES:
            return SOURCES.index(source.name)
        # Of several values typer knows the flags only.
        if (
            option.shape is not Shape.VALUE
            and option.env
            and os.environ.get(option.env)
        ):
            return SOURCES.index("ENVIRONMENT")
        filed = option.name in config_lookup.settings_from_file(self._ctx)
        return SOURCES.index("DEFAULT_MAP") if filed else UNSET


class CommandGroup(TyperGroup):
    """The group of all commands: it converts plain values without pydantic."""

    def resolve_command(
        self, ctx: Context, args: list[str]
    ) -> tuple[str | None, Command | None, list[str]]:
        """Return the command; raise ConfigError if there is none of this name."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise make_command_error(args, self.commands)
        return super().resolve_command(ctx, args)

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, which convert plain values without pydantic."""
        return convert_directly(super().get_params(ctx))


class GroupedCommand(TyperCommand):
    """A command whose help shows its options in groups; without rich, to be fast.

    Its parameters are made when they are first read: all commands have hundreds, and a
    start needs those of one.
    """

    def __init__(self, function: Callable[..., None], **facts: Any) -> None:
        self._function = function
        super().__init__(**facts)

    @functools.cached_property
    def _complete(self) -> Command:
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command()(_with_options(self._function))
        return typer.main.get_command(alone)

    @property
    def params(self) -> list[Parameter]:
        """The parameters of the function, and those of the table of options."""
        return self._complete.params

    @params.setter
    def params(self, _: object) -> None:
        """Ignore the parameters of the function that typer was given instead."""

    @property
    def callback(self) -> Callable[..., Any] | None:
        """What the parameters are passed to."""
        return self._complete.callback

    @callback.setter
    def callback(self, _: object) -> None:
        """Ignore the function that typer was given instead."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse the arguments; the value of --save-hints is optional."""
        following = (*args[1:], "")
        args = [
            f"{word}={ALL_HINTS}"
            if word == SAVE_HINTS and not HINT_NUMBERS.fullmatch(after)
            else word
            for word, after in zip(args, following, strict=False)
        ]
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, which convert plain values without pydantic."""
        return convert_directly(super().get_params(ctx))

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write a section for the arguments, and one for each group."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        # First, so that sections have the order of `Group`, not that of the parameters.
        sections |= {group: [] for group in Group}
        grouped = any(getattr(p, "rich_help_panel", None) for p in self.params)
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if param.param_type_name == "argument":
                title = "Arguments"
            else:
                panel = getattr(param, "rich_help_panel", None)
                title = panel or ("Other" if grouped else "Options")
            if record is not None:
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def add_command(app: typer.Typer, command: Callable[..., None]) -> None:
    """Add a function as a command, with its options of the table.

    Its parameter `settings`, if it has one, is what is given for them. The examples of
    its docstring are shown below the help, line by line.
    """
    help_text, _, examples = (inspect.getdoc(command) or "").partition(EXAMPLES)

    def without_parameters() -> None:
        """Take the place of the function, whose parameters `GroupedCommand` reads."""

    without_parameters.__name__ = command.__name__
    app.command(
        command.__name__,
        # typer calls it as the class that it is of.
        cls=cast("type[TyperCommand]", functools.partial(GroupedCommand, command)),
        help=help_text,
        epilog="\b\nExamples:\n" + examples if examples else None,
    )(without_parameters)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The function as typer has to see it: a parameter for each option."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [p for p in signature.parameters.values() if p.name != SETTINGS]
    if len(parameters) == len(signature.parameters):
        return command
    name = command.__name__
    options = [option for option in options_of(name) if option.flags]

    @functools.wraps(command)
    def called(*, ctx: typer.Context, **given: Any) -> None:
        taken = {option.name: given.pop(option.name) for option in options}
        session.set_view(taken)
        settings = Settings(ctx, name, taken)
        settings.announce_source()
        command(**given, settings=settings)

    every = [
        inspect.Parameter(
            "ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        ),
        *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters),
        *(
            _parameter(option, required=name in option.required_by)
            for option in options
        ),
    ]
    # typer reads both.
    called.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in every}
    return called


def _parameter(option: Option, *, required: bool) -> inspect.Parameter:
    """An option as a parameter that typer reads."""
    kind: Any = option.value_type
    default = option.default
    if option.shape is not Shape.VALUE:
        several: Any = list
        kind, default = several[kind], None
    if required:
        default = inspect.Parameter.empty
    elif default is None:
        kind = kind | None
    first = option.name in LOOKED_UP_FIRST
    annotated: Any = Annotated
    taken = typer.Option(
        *option.flags,
        metavar=option.metavar,
        # One variable with several values is read by `parsing`, not by typer.
        envvar=option.env if option.shape is Shape.VALUE else None,
        help=_help(option),
        rich_help_panel=option.group,
        min=option.least if option.value_type is int else None,
        max=MOST_COUNT if option.value_type is int else None,
        is_eager=first,
        callback=config_lookup.apply_config_file if first else None,
        show_default=option.without or True,
        # The option of both sides names them: the help would be three times as long.
        hidden=option.side is not None,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=annotated[kind, taken],
    )


def _help(option: Option) -> str:
    """The help of an option, its flags for one side, and a variable not of typer."""
    text = option.help
    if option.sided:
        flags = (option.of_side(side).flag for side in SIDES)
        text += f" For one file: {', '.join(flags)}."
    if option.shape is Shape.VALUE or option.env is None:
        return text
    separated = f", separated by {option.separator}" if option.separator else ""
    return f"{text}  [env var: {option.env}{separated}]"
