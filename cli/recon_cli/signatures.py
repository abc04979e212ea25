"""The table of options as typer takes it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from recon_cli import config_lookup, parameters
from recon_cli.plain_values import convert_directly
from recon_cli.settings import Settings, call_command
from recon_cli.usage import make_command_error
from recon_engine.config_place import find_config_file
from recon_engine.lazy import lazy_pattern
from recon_engine.model import MOST_COUNT, SIDES
from recon_engine.options import OPTIONS, Group, Option, Shape, options_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from typer._click import Command, Context, HelpFormatter, Parameter
    from typer.core import TyperOption


# The two options that decide which settings of the configuration file count.
LOOKED_UP_FIRST: Final = ("config", "dataset")
# They show recorded runs: of the file they take only the name of the dataset.
OF_PAST_RUNS: Final = ("breaks", "history", "report")
SETTINGS: Final = "settings"
SAVE_HINTS: Final = "--save-hints"
ALL_HINTS: Final = "all"
HINT_NUMBERS: Final = lazy_pattern(r"\d+(,\d+)*")
EXAMPLES: Final = "\n\nExamples:\n"
SHORT_HELP: Final = "-h"
FULL_HELP: Final = "--help"
# More options than these do not fit on a screen.
FEW_OPTIONS: Final = 20


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
        ctx.meta[SHORT_HELP] = (
            SHORT_HELP in args and FULL_HELP not in args and self.has_short_help
        )
        return super().parse_args(ctx, args)

    @property
    def has_short_help(self) -> bool:
        """Whether `-h` shows less than `--help`."""
        shown = (p for p in self.params if not getattr(p, "hidden", False))
        return sum(1 for _ in shown) > FEW_OPTIONS

    @property
    def common_options(self) -> list[Parameter]:
        """The options that the short help shows: the common ones, and its own."""
        return [
            param
            for param in self.params
            if param.param_type_name == "option"
            and (param.name not in OPTIONS or OPTIONS[str(param.name)].common)
        ]

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, which convert plain values without pydantic."""
        return convert_directly(super().get_params(ctx))

    def get_help_option(self, ctx: Context) -> TyperOption | None:
        """Return the option for help, which says so if its short name shows less."""
        option = super().get_help_option(ctx)
        if option is not None and self.has_short_help:
            option.help = f"Show all options; {SHORT_HELP} shows the most used ones."
        return option

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write a section for the arguments, and one for each group.

        The short help has one group, and the examples before it.
        """
        if ctx.meta.get(SHORT_HELP):
            super().format_epilog(ctx, formatter)
            self._write_common_options(ctx, formatter)
            return
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

    def _write_common_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what is given most often, each with its first sentence."""
        records = [
            (record[0], _first_sentence(getattr(param, "help", None) or ""))
            for param in self.common_options
            if (record := param.get_help_record(ctx)) is not None
        ]
        with formatter.section("Most used options"):
            formatter.write_dl(records)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the examples; at the end of the short help, how to see all options."""
        if not ctx.meta.get(SHORT_HELP):
            super().format_epilog(ctx, formatter)
            return
        formatter.write_paragraph()
        formatter.write_text(f"All options: {ctx.command_path} {FULL_HELP}")


def _first_sentence(text: str) -> str:
    """What a help says first, without its examples."""
    return text.partition("  [")[0].partition(". ")[0].removesuffix(".")


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


def _apply_config_file(
    ctx: typer.Context, param: typer.CallbackParam, value: Any
) -> Any:
    """Let the file decide what neither flag nor environment does.

    For --config and --dataset, which are eager: it acts on the second of them. The only
    dataset of the file need not be named.
    """
    given = ctx.params | {str(param.name): value}
    # The order of the two is that of the command line, so either may be the second.
    if not {"config", "dataset"} <= given.keys() or ctx.resilient_parsing:
        return value
    dataset = given["dataset"]
    if ctx.info_name in OF_PAST_RUNS and dataset is not None:
        return value
    found = ctx.obj = config_lookup.load_file(
        given["config"] or find_config_file(), dataset
    )
    if found is None:
        return value
    if ctx.info_name not in OF_PAST_RUNS:
        ctx.default_map = {
            name: setting
            for name, setting in found.settings.items()
            # Lists and tables are read by `settings.Settings`, which merges them with
            # flags.
            if isinstance(setting, str | int)
        }
    if param.name == "dataset":
        return found.dataset
    ctx.params["dataset"] = found.dataset
    return value


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The function as typer has to see it: a parameter for each option."""
    # Annotations name what commands import for the type checker only.
    known = {**command.__globals__, **vars(parameters), "Settings": Settings}
    signature = inspect.signature(command, eval_str=True, globals=known)
    own = [p for p in signature.parameters.values() if p.name != SETTINGS]
    if len(own) == len(signature.parameters):
        return command
    name = command.__name__
    options = [option for option in options_of(name) if option.flags]

    @functools.wraps(command)
    def called(*, ctx: typer.Context, **given: Any) -> None:
        taken = {option.name: given.pop(option.name) for option in options}
        call_command(command, ctx, taken, given)

    every = [
        inspect.Parameter(
            "ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context
        ),
        *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own),
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
        callback=_apply_config_file if first else None,
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
