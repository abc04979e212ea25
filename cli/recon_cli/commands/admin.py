"""Commands for operators: migrate, roles, doctor, purge, statuses, schema."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from recon_cli import database, session
from recon_engine.errors import ConfigError
from recon_engine.options import Group
from recon_engine.status import STATUSES, RunStatus


if TYPE_CHECKING:
    from recon_cli.settings import Settings


MinimumAge = Annotated[
    str,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Minimum age of a run, such as 90d or 12w.",
        rich_help_panel=Group.STORAGE,
    ),
]
# Not the option of the table: no variable may narrow what is deleted.
PurgedDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Purge only this dataset.",
        show_default="all datasets",
        rich_help_panel=Group.STORAGE,
    ),
]
PurgeArtifacts = Annotated[
    bool,
    typer.Option(
        "--artifacts",
        help="Also delete the artifact files of the runs.",
        rich_help_panel=Group.STORAGE,
    ),
]
Delete = Annotated[
    bool,
    typer.Option(
        "--delete",
        help="Delete. Without this flag, print what would be deleted.",
        rich_help_panel=Group.RUN,
    ),
]
SchemaName = Annotated[
    str,
    typer.Argument(
        metavar="SCHEMA",
        help="Name of the schema: config, error, explanation, manifest, result or run.",
    ),
]


def migrate() -> None:
    """Create or update the tables of the database.

    Commands do this by themselves for an embedded database.

    Examples:
      recon migrate
      RECON_DATABASE_URL=postgresql://owner@host/recon recon migrate
    """
    with session.report_errors():
        from recon_engine.postgres import migrations

        # Not applied by opening it: then their names would not be known here.
        with database.open_database(up_to_date=False) as conninfo:
            applied = migrations.apply_migrations(conninfo)
        for name in applied or ("nothing to do: the tables are up to date",):
            session.echo(name)


def roles() -> None:
    """Print the SQL that creates the database roles.

    An administrator runs it once.

    Examples:
      recon roles
      recon roles | psql "$ADMIN_URL"
    """
    with session.report_errors():
        from recon_engine.postgres.migrations import read_access_sql

        session.echo(read_access_sql("roles").decode().rstrip())


def doctor(settings: Settings) -> None:
    """Check everything a run needs (read-only) and suggest fixes.

    Examples:
      recon doctor
      recon doctor --dataset claims --format json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.pipeline.doctor import CheckState, examine_setup

        names = ("inbound", "processed", "out")
        locations = {name: settings[f"{name}_s3"] for name in names}
        settings.check_dataset()
        masks = settings["masks"]
        # To open an embedded database would create it, and this command only reads.
        place = database.choose_home(settings["config"])
        known = not database.is_yet_to_be_made(place)
        with database.open_database(place) if known else nullcontext() as address:
            home = database.embedded_home(place)
            findings = list(
                examine_setup(
                    locations,
                    address,
                    masks,
                    home,
                    alarms=bool(settings["gates"] or settings["fail_on_diff"]),
                )
            )
        columns = ("check", "state", "found", "remedy")
        table = [(f.check, f.state, f.found, f.remedy or "") for f in findings]
        render.show_rows(columns, table, form)
        failed = [each.check for each in findings if each.state is CheckState.FAIL]
        session.end_command(
            STATUSES[RunStatus.PERMISSION_DENIED].exit_code * bool(failed),
            "checks failed: " + ", ".join(failed),
        )


def purge(
    older_than: MinimumAge,
    settings: Settings,
    dataset: PurgedDataset = None,
    artifacts: PurgeArtifacts = False,
    delete: Delete = False,
) -> None:
    """Delete the values of old runs; keep counts and the log.

    The values are in tables of metrics, in stage, and in artifact files.

    Examples:
      recon purge --older-than 90d
      recon purge --older-than 12w --dataset claims --artifacts --delete
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render
        from recon_engine.postgres import purge as retention

        age = retention.parse_age(older_than)
        with database.past_runs(settings["config"]) as address:
            found = retention.find_old_values(
                address, age, dataset, artifacts=artifacts
            )
            if delete:
                retention.delete_old_values(address, found)
        names = ("what", "dataset", "deleted" if delete else "would_delete")
        render.show_rows(names, retention.count_old_values(found), form)


def statuses(settings: Settings) -> None:
    """List how a run can end: status, exit code, meaning.

    Examples:
      recon statuses
      recon statuses --format json
    """
    form = settings["format"]
    with session.report_errors(form):
        from recon_cli import render

        names = ("status", "exit", "retry", "meaning")
        table = [
            (str(status), row.exit_code, "yes" if row.retryable else "no", row.meaning)
            for status, row in STATUSES.items()
        ]
        render.show_rows(names, table, form)


def schema(name: SchemaName = "result") -> None:
    """Print the JSON Schema of a result or another document.

    Examples:
      recon schema
      recon schema config
    """
    with session.report_errors():
        from recon_engine.postgres.migrations import schema_folder

        folder = schema_folder()
        known = sorted(f.name.split(".")[0] for f in folder.iterdir() if f.is_file())
        if name not in known:
            from recon_engine.suggestions import did_you_mean

            raise ConfigError(
                f"there is no schema {name}{did_you_mean(name, known)}",
                help="one of: " + ", ".join(known),
            )
        session.echo((folder / f"{name}.schema.json").read_text().rstrip())
