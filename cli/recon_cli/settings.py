"""What a command is given for its options: flags, then variables, then the file."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_cli import config_lookup, parsing, session
from recon_cli.narrowing import leave_out_excluded
from recon_cli.written_files import refuse_log_in_use
from recon_engine.command_line import option_words, quote_name
from recon_engine.config import NO_KEY, Limits, Options, SideFlags, SideOptions
from recon_engine.config_place import is_found_here
from recon_engine.model import SIDES
from recon_engine.options import (
    OPTIONS,
    SIDED,
    Format,
    Option,
    Shape,
    options_of,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recon_cli.config_lookup import Context


log = logging.getLogger("recon")

# Where a value comes from, by precedence: the names that typer has for it.
SOURCES: Final = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
UNSET: Final = len(SOURCES)
# What their options set decides the result.
OF_RESULT: Final = (Options, SideOptions)


class Settings:
    """What a command is given for its options: flags, then variables, then the file."""

    def __init__(self, ctx: Context, command: str, given: Mapping[str, Any]) -> None:
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
        typed = frozenset(
            option.flag.removeprefix(f"--{side}-")
            for option in chosen
            if option.side and self._rank(option) == SOURCES.index("COMMANDLINE")
        )
        return SideOptions(**given, flags=SideFlags(side, shared, typed))

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
        options = Options(**self.fields_of(Options) | sides | fields)
        # Only a flag or a variable sets aside what the file says of a column. A file
        # that contradicts itself is refused.
        if not any(
            self._rank(OPTIONS[name]) < SOURCES.index("DEFAULT_MAP")
            for name in ("ignore", "compare_only")
            if self.has(name)
        ):
            return options
        filed = config_lookup.settings_from_file(self._ctx)
        return leave_out_excluded(options, filed) if filed else options

    @property
    def limits(self) -> Limits:
        """How far an input may go before it is rejected."""
        return Limits(**self.fields_of(Limits))

    @property
    def limit_words(self) -> tuple[str, ...]:
        """The options of the limits that are not those of the file."""
        given = {
            option.field: self._value(option)
            for option in self._options
            if option.sets is Limits
            and self._rank(option) < SOURCES.index("DEFAULT_MAP")
        }
        return tuple(option_words(Limits(**given)))

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

    @property
    def file_words(self) -> tuple[str, ...]:
        """The options that name the configuration file, and the dataset of it."""
        source = self.source
        return tuple(
            word
            for flag, fact in (("--config", "file"), ("--dataset", "dataset"))
            if fact in source
            for word in (flag, source[fact])
        )

    @property
    def words_here(self) -> tuple[str, ...]:
        """The same without the file that a command in this folder finds by itself."""
        words = self.file_words
        file = self.config_file
        # The first two are --config and the file.
        return words[2:] if file and is_found_here(Path(file)) else words

    @property
    def config_file(self) -> str | None:
        """The configuration file that was used, if any."""
        return self.source.get("file")

    @property
    def files_read(self) -> list[str]:
        """The configuration file, the key of masks, and the files behind an `@`."""
        from recon_engine.rules.spelling import find_code_file

        known = self.config_file, os.environ.get("RECON_MASK_KEY_FILE")
        found = [each for each in known if each]
        found += config_lookup.map_files(self._ctx)
        for option in self._options:
            # Also `old_fixed` and `new_fixed`.
            if option.shape is Shape.RENAMES or option.name.endswith("fixed"):
                value = self._given.get(option.name) or ()
                texts = [value] if isinstance(value, str) else value
                named = (each.strip() for each in texts)
                found += [each[1:] for each in named if each.startswith("@")]
            if option.shape is Shape.COLUMN_VALUES:
                rules = (
                    rule for chain in self._value(option).values() for rule in chain
                )
                found += filter(None, map(find_code_file, rules))
        return found

    def suppressions_of(self, dataset: str) -> list[dict[str, object]] | None:
        """What the file accepts of a dataset; None if it is not known."""
        if config_lookup.chosen_dataset(self._ctx) != dataset:
            return None
        filed = config_lookup.settings_from_file(self._ctx)
        return [each.public for each in filed.get("suppressions", ())]

    @property
    def are_from_file(self) -> bool:
        """Whether nothing but the file decides the result."""
        return not any(
            self._rank(option) < SOURCES.index("DEFAULT_MAP")
            for option in self._options
            if option.sets in OF_RESULT
        )

    def name_setting(self, text: str) -> str:
        """A text with settings of the file in the place of flags that were not used.

        `--map A=B: NEW has no column B` becomes `[map] in recon.toml: A=B: …`.
        """
        file = self.config_file
        filed = config_lookup.settings_from_file(self._ctx)
        for option in self._options:
            for flag in option.flags if file and option.name in filed else ():
                place = _describe_place(option, str(file))
                pattern = rf"(^)?(?<![\w-]){re.escape(flag)}(?![\w-]):?( ?)"
                if not self._is_of_flag(option, text):
                    text = re.sub(
                        pattern,
                        lambda found, place=place: (  # type: ignore[misc]
                            f"{place}: " if found[1] is not None else place + found[2]
                        ),
                        text,
                    )
        return text

    def _is_of_flag(self, option: Option, text: str) -> bool:
        """Whether a text about an option is about what was given by its flag."""
        if self._rank(option) == SOURCES.index("DEFAULT_MAP"):
            return False
        given = self._given.get(option.name)
        texts = given if isinstance(given, list | tuple) else ()
        filed = config_lookup.settings_from_file(self._ctx)[option.name]
        # A table has columns of both: what is named is of the file, if no flag has it.
        named = (
            [name for name in filed if name in text] if isinstance(filed, dict) else []
        )
        return not named or any(name in each for name in named for each in texts)

    @property
    def flags_besides_file(self) -> list[str]:
        """The flags that change the result and are not in the file, if there is one.

        Without a file, one is made that has them.
        """
        return [
            option.flag
            for option in self._options
            if self.source
            and option.in_file is not None
            and option.sets in OF_RESULT
            and self._rank(option) == SOURCES.index("COMMANDLINE")
        ]

    def announce_source(self) -> None:
        """Say which configuration file, dataset and key are used, if any."""
        source = dict(self.source)
        if not source:
            return
        if self.has("keys") and self["keys"]:
            source["key"] = ",".join(quote_name(each, ",") for each in self["keys"])
        # Where no person watches, a run writes log lines only.
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
        # A run needs a dataset also without a file: it names tables and folders.
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


def _describe_place(option: Option, file: str) -> str:
    """Where the file has an option: `[map] in recon.toml`, `keys in recon.toml`."""
    *table, name = str(option.in_file).split(".")
    tables = (Shape.RENAMES, Shape.COLUMN_VALUE, Shape.COLUMN_VALUES)
    if option.shape in tables:
        return f"[{option.in_file}] in {file}"
    return (
        f"`{name}` of [{'.'.join(table)}] in {file}" if table else f"`{name}` in {file}"
    )


def call_command(
    command: Callable[..., None],
    ctx: Context,
    options: Mapping[str, Any],
    given: Mapping[str, Any],
) -> None:
    """Call a command with its settings.

    `options`: the values of the options of the table; `given`: those of other
    parameters.
    """
    settings = Settings(ctx, command.__name__, options)
    # Before the log file is opened, which makes it.
    refuse_log_in_use(settings, given)
    session.set_view(options)
    session.name_settings(settings.name_setting)
    settings.announce_source()
    command(**given, settings=settings)
