"""Where settings come from: a flag, else the environment, else the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from recon_engine.config_file import Configuration


class Source(Protocol):
    """Where the value of an option was found; typer has names for it."""

    @property
    def name(self) -> str: ...


class Context(Protocol):
    """What is known of a command line besides the values; typer has one.

    `obj`: the settings of the configuration file; None without a file.
    """

    obj: Configuration | None

    def get_parameter_source(self, name: str, /) -> Source | None: ...


def settings_from_file(ctx: Context) -> Mapping[str, Any]:
    """What the configuration file sets, by the names it has for it."""
    return ctx.obj.settings if ctx.obj else {}


def chosen_dataset(ctx: Context) -> str | None:
    """The dataset that the settings of the file are of; None without one."""
    return ctx.obj.dataset if ctx.obj else None


def describe_file(ctx: Context) -> dict[str, str]:
    """The configuration file, and the dataset that was chosen; {} without a file."""
    found: Configuration | None = ctx.obj
    if found is None:
        return {}
    # A file without datasets fits any: the name that was chosen is then not in it.
    named = {"dataset": found.dataset} if found.dataset in found.datasets else {}
    return {"file": str(found.path), **named}


def map_files(ctx: Context) -> tuple[str, ...]:
    """The files of column maps that the configuration file names."""
    return ctx.obj.map_files if ctx.obj else ()


def check_dataset(ctx: Context) -> None:
    """Refuse a --dataset that only chooses settings where there are none."""
    source = ctx.get_parameter_source("dataset")
    if ctx.obj is None and source is not None and source.name == "COMMANDLINE":
        raise ConfigError(
            "--dataset selects settings, but there is no configuration file here",
            help="name the file with --config FILE, or omit --dataset",
        )


def missing_dataset(ctx: Context) -> ConfigError:
    """The error of a command that needs a dataset, and none is named."""
    known = other_datasets(ctx)
    return ConfigError(
        "no dataset is named",
        file=str(ctx.obj.path) if ctx.obj and known else None,
        help="add --dataset NAME" + (", one of: " + ", ".join(known) if known else ""),
    )


def other_datasets(ctx: Context) -> tuple[str, ...]:
    """The datasets of the file, if it has several and none is chosen."""
    found: Configuration | None = ctx.obj
    return () if found is None or found.dataset else found.datasets


def load_file(path: Path | None, dataset: str | None) -> Configuration | None:
    """The settings of a configuration file; None without a file."""
    if path is None:
        return None
    # Lazy: with pydantic and its models, the import takes twice as long as that of
    # Polars.
    from recon_engine.config_file import load_configuration

    return load_configuration(path, dataset)
