"""The command that drafts recon.toml from two files."""

from __future__ import annotations

import sys
import threading
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recon_cli import session
from recon_cli.plain_values import is_whole_number
from recon_cli.worker import run_on_worker
from recon_cli.written_files import FilesInUse
from recon_engine.column_maps import parse_column_map
from recon_engine.config import check_dataset_name
from recon_engine.errors import ConfigError
from recon_engine.options import Group


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from recon_cli.settings import Settings
    from recon_engine.compare.key_search import Proposal
    from recon_engine.drafts.decision import Draft


OldFile = Annotated[
    str,
    typer.Argument(
        metavar="OLD",
        help="The old file: CSV, also compressed, Parquet or Arrow; a path, or the s3://"
        " URL of one object.",
    ),
]
NewFile = Annotated[
    str,
    typer.Argument(
        metavar="NEW",
        help="The new file: CSV, also compressed, Parquet or Arrow; a path, or the s3://"
        " URL of one object.",
    ),
]
DraftedDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Write the settings of this dataset, beside others in the file.",
        show_default="settings for every dataset",
        rich_help_panel=Group.RUN,
    ),
]
Renames = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="Column that is named OLD in the old file and NEW in the new file. Its"
        " partner is given, not searched for. A list such as A=B,C=D, or @FILE."
        " Repeatable.",
        rich_help_panel=Group.COMPARISON,
    ),
]
Sample = Annotated[
    str,
    typer.Option(
        "--sample",
        metavar="N|all",
        help="Number of rows that are searched for candidates. All settings but"
        " [map] are checked on all rows.",
        rich_help_panel=Group.INPUT,
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        help="Do not ask: of keys that match almost as many rows, take the first.",
        rich_help_panel=Group.RUN,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace a file that exists, or the settings of the dataset in it.",
        rich_help_panel=Group.OUTPUT,
    ),
]
ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration file to write.",
        rich_help_panel=Group.OUTPUT,
    ),
]


def init(
    old: OldFile,
    new: NewFile,
    settings: Settings,
    dataset: DraftedDataset = None,
    renames: Renames = None,
    sample: Sample = "20000",
    yes: Yes = False,
    force: Force = False,
    config: ConfigFile = Path("recon.toml"),
) -> None:
    """Draft recon.toml from two files, with evidence.

    It says how the files are read and how their rows are compared.

    Examples:
      recon init old.csv new.csv
      recon init old.csv new.csv --dataset claims --yes
      recon init old.csv new.csv --map CITY=town --sample all --force
    """
    with session.report_errors():
        from recon_engine.drafts.draft import draft_settings

        files = FilesInUse()
        files.add_inputs(old, new)
        files.claim("--config", config)
        rows = _parse_sample(sample)
        given = parse_column_map(renames or ())
        if dataset is not None:
            check_dataset_name(dataset)
        # Announced before the search: a person may not want to wait for a file that is
        # not written.
        if dataset is None and not force and _has_settings(config):
            session.announce(
                f"{config} exists: it is kept, and what would change is shown;"
                " --force replaces it"
            )
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        # `!recon init` in a notebook has a terminal, but nobody can answer.
        asks = not yes and terminal and not session.is_in_notebook()
        draft = partial(
            draft_settings,
            old,
            new,
            sample=rows,
            counts_keys=asks,
            renames=given,
            limits=settings.limits,
        )
        with session.show_progress(logged=False) as progress:
            found = run_on_worker(
                lambda stop: draft(
                    stop.checking_on_advance(progress), begun=_import_writer
                )
            )
        if asks and _is_open(found.close_keys):
            found = _redraft(draft, found)
        # Lazy: `_import_writer` has begun to import it.
        from recon_cli.config_draft import write_draft

        write_draft(
            found,
            config,
            dataset,
            force=force,
            names=(old, new),
            limit_words=settings.limit_words,
        )


def _has_settings(config: Path) -> bool:
    """Whether a draft would replace a whole file, and not a table of it."""
    return (
        config.name != "pyproject.toml"
        and config.is_file()
        and bool(config.stat().st_size)
    )


def _import_writer() -> None:
    """Import on another thread what shows and writes a draft, with pydantic."""
    name = "recon_cli.config_draft"
    # A daemon: a command that ends with an error does not wait for it.
    threading.Thread(target=import_module, args=(name,), daemon=True).start()


def _parse_sample(text: str) -> int | None:
    """The number of rows of a sample; None for `all`."""
    if text == "all":
        return None
    if not (is_whole_number(text) and int(text)):
        raise ConfigError(
            f"--sample {text}: not a number of rows", help="such as 20000, or all"
        )
    return int(text)


def _redraft(draft: Callable[..., Draft], found: Draft) -> Draft:
    """The draft with the key that a person chooses."""
    chosen = _ask(found.close_keys)
    if chosen == 0:
        return found
    with session.show_progress(logged=False) as progress:
        return run_on_worker(
            lambda stop: draft(stop.checking_on_advance(progress), key=chosen)
        )


def _is_open(keys: Sequence[Proposal]) -> bool:
    """Whether a person decides: the best key is not the only one of a single column."""
    return len(keys) > 1 and min(len(each.columns) for each in keys[1:]) <= len(
        keys[0].columns
    )


def _ask(keys: Sequence[Proposal]) -> int:
    """The number, from 0, of the listed key that a person chooses."""
    session.say("These keys match almost as many rows:")
    for number, each in enumerate(keys, 1):
        session.say(f"  {number}. {', '.join(each.columns)}: {each.reason}")
    while True:
        try:
            chosen: int = typer.prompt("Which one", default=1, type=int)
        except typer.Abort:
            raise ConfigError(
                "no key was chosen",
                help="answer with a number, or take the first by --yes",
            ) from None
        if 1 <= chosen <= len(keys):
            return chosen - 1
        session.say(f"There is no key {chosen}: answer with 1 to {len(keys)}.")
