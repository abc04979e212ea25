"""Where settings come from: a flag, else the environment, else the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from recon_engine.errors import ConfigError


if TYPE_CHECKING:
    from collections.abc import Mapping


OWN_FILE: Final = Path("recon.toml")
SHARED_FILE: Final = Path("pyproject.toml")
TABLE_HEADER: Final = b"[tool.recon"


def apply_config_file(
    ctx: typer.Context, param: typer.CallbackParam, value: Any
) -> Any:
    """Let the file decide what neither flag nor environment does.

    For --config and --dataset, which are eager: it acts on the second of them.
    """
    given = ctx.params | {str(param.name): value}
    # The order of the two is that of the command line, so either may be the second.
    if {"config", "dataset"} <= given.keys() and not ctx.resilient_parsing:
        ctx.obj = _load_settings(
            given["config"] or _find_config_file(), given["dataset"]
        )
        ctx.default_map = {
            name: setting
            for name, setting in (ctx.obj or {}).items()
            # Lists and tables are read by `signatures.Settings`, which merges them with
            # flags.
            if isinstance(setting, str | int)
        }
    return value


def settings_from_file(ctx: typer.Context) -> Mapping[str, Any]:
    """What the configuration file sets, by the names it has for it."""
    return ctx.obj or {}


def check_dataset(ctx: typer.Context) -> None:
    """Refuse a --dataset that only chooses settings where there are none."""
    source = ctx.get_parameter_source("dataset")
    if ctx.obj is None and source is not None and source.name == "COMMANDLINE":
        raise ConfigError(
            "--dataset selects settings, but there is no configuration file here",
            help="name the file with --config FILE, or omit --dataset",
        )


def _load_settings(path: Path | None, dataset: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    from recon_engine.config_file import load_settings

    return load_settings(path, dataset)


def _find_config_file() -> Path | None:
    """The configuration file of this folder; nothing is loaded to look for it."""
    if OWN_FILE.is_file():
        return OWN_FILE
    if SHARED_FILE.is_file() and TABLE_HEADER in SHARED_FILE.read_bytes():
        return SHARED_FILE
    return None
