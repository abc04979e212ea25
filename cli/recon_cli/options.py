"""The options that commands share, each with its environment variable."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recon_cli.sources import configure
from recon_engine import config, model


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


Old = Annotated[str, typer.Argument(metavar="OLD", help="A CSV file, or s3:// URL.")]
New = Annotated[str, typer.Argument(metavar="NEW", help="The one to compare.")]
KeyValues = Annotated[
    list[str],
    typer.Argument(
        metavar="VALUE...",
        help="The value of each key column, in order; or all as one JSON array.",
    ),
]
MostColumns = Annotated[
    int,
    typer.Option(
        "--max-columns", metavar="N", min=1, max=4, help="Columns in a key, at most."
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        "--keys",
        "-k",
        metavar="COL[,COL]",
        help="Key column; repeat it, or separate several by commas. Required."
        "  [env var: RECON_KEYS]",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="COL",
        help="Leave a column out. Repeatable.  [env var: RECON_IGNORE]",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="A column of OLD that has another name in NEW. Repeatable."
        "  [env var: RECON_MAP]",
    ),
]
Rule = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="COL=RULE",
        help="What else is equal in a column, or in * for all: trim, casefold, "
        "nulls(NA,NULL), decimal(abs=0.01), date(%Y%m%d|%Y-%m-%d), zeropad(9), lstrip0."
        " Repeatable.  [env var: RECON_RULE, by ;]",
    ),
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="COL=MASK",
        help="What is shown of a column, or of * for all others: hmac (a token, under"
        " RECON_MASK_KEY or RECON_MASK_KEY_FILE), redact, last4. Repeatable."
        "  [env var: RECON_MASK, by ;]",
    ),
]
OnDuplicateKeys = Annotated[
    config.OnDuplicateKeys,
    typer.Option(
        "--on-duplicate-keys",
        envvar="RECON_ON_DUPLICATE_KEYS",
        help="Pair repeated keys as multisets, or refuse them.",
    ),
]
OnSchemaDrift = Annotated[
    config.OnSchemaDrift,
    typer.Option(
        "--on-schema-drift",
        envvar="RECON_ON_SCHEMA_DRIFT",
        help="Refuse columns on one side only, or compare the common ones.",
    ),
]
OnBadRow = Annotated[
    config.OnBadRow,
    typer.Option(
        "--on-bad-row",
        envvar="RECON_ON_BAD_ROW",
        help="Refuse a file for a malformed row, or set the row aside and list it.",
    ),
]
Delimiter = Annotated[
    str,
    typer.Option(
        "--delimiter",
        metavar="CHAR[:CHAR]",
        envvar="RECON_DELIMITER",
        help="What delimits fields in both files, or OLD:NEW, such as ';:,'.",
    ),
]
Encoding = Annotated[
    str,
    typer.Option(
        "--encoding",
        metavar="NAME[:NAME]",
        envvar="RECON_ENCODING",
        help="What both files are written in, or OLD:NEW, such as cp1252:utf-8.",
    ),
]
DetailLimit = Annotated[
    int,
    typer.Option(
        "--detail-limit",
        metavar="N",
        min=0,
        envvar="RECON_DETAIL_LIMIT",
        help="Differing rows in the sample.",
    ),
]
Stage = Annotated[
    bool | None,
    typer.Option(
        "--stage/--no-stage",
        envvar="RECON_STAGE",
        help="Load both files into stage.  [default: yes, but with Spark no]",
    ),
]
StageLoader = Annotated[
    config.StageLoader,
    typer.Option(
        "--stage-loader",
        envvar="RECON_STAGE_LOADER",
        help="Load stage by ADBC, or pass the gated bytes to COPY: the same rows.",
    ),
]
BreakLimit = Annotated[
    int,
    typer.Option(
        "--break-limit",
        metavar="N",
        min=0,
        envvar="RECON_BREAK_LIMIT",
        help="Of more differences than N only totals are recorded, and no break is"
        " tracked; 0 tracks none.",
    ),
]
BreakState = Annotated[
    list[model.BreakState] | None,
    typer.Option(
        "--state", help="Only breaks of a state. Repeatable.  [default: open]"
    ),
]
BreakCount = Annotated[
    int,
    typer.Option("--limit", metavar="N", min=1, help="Breaks to print, oldest first."),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        metavar="SIZE",
        envvar="RECON_MEMORY_BUDGET",
        help="Memory to stay within, such as 2GiB.  [default: 60% of what there is]",
    ),
]
Engine = Annotated[
    config.EngineName,
    typer.Option(
        "--engine",
        envvar="RECON_ENGINE",
        help="Where rows are compared: on this machine, or on a Spark cluster.",
    ),
]
MaxFieldBytes = Annotated[
    int,
    typer.Option(
        "--max-field-bytes",
        metavar="N",
        min=1,
        envvar="RECON_MAX_FIELD_BYTES",
        help="A longer field is taken for a lost quote, and refused.",
    ),
]
MaxFieldLines = Annotated[
    int,
    typer.Option(
        "--max-field-lines",
        metavar="N",
        min=1,
        envvar="RECON_MAX_FIELD_LINES",
        help="So is a field that spans more lines.",
    ),
]
MaxRatio = Annotated[
    int,
    typer.Option(
        "--max-ratio",
        metavar="N",
        min=1,
        envvar="RECON_MAX_RATIO",
        help="A file that unpacks to more times its size is taken for a bomb.",
    ),
]
Gate = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="EXPR",
        help="What the result has to keep to, such as 'mismatch_rate(PAID)<=0.1%'; "
        "gates decide the exit code. Repeatable.  [env var: RECON_GATE, by ;]",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="RECON_CONFIG",
        is_eager=True,
        callback=configure,
        help="Where settings come from.  [default: recon.toml, or [tool.recon] of "
        "pyproject.toml, of this folder]",
    ),
]
OutputFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        envvar="RECON_FORMAT",
        help="How the result is printed on stdout.",
    ),
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Also write the result: .html, .json, .md; all cells that differ: .csv, "
        ".parquet; gates for a CI system: .xml (JUnit). Repeatable.",
    ),
]
Rejects = Annotated[
    Path | None,
    typer.Option(
        "--rejects",
        metavar="FILE",
        envvar="RECON_REJECTS",
        help="Write the rows that were set aside: file, line, byte offset, reason.",
    ),
]
Sha256 = Annotated[
    bool,
    typer.Option(
        "--sha256",
        envvar="RECON_SHA256",
        help="Take the SHA-256 of both files, as is done wherever a result is kept.",
    ),
]
ExitZero = Annotated[
    bool,
    typer.Option(
        "--exit-zero",
        envvar="RECON_EXIT_ZERO",
        help="Exit 0 also when the files differ.",
    ),
]
FailOnDiff = Annotated[
    bool,
    typer.Option(
        "--fail-on-diff",
        envvar="RECON_FAIL_ON_DIFF",
        help="Exit 1 when the files differ, but for what is suppressed.",
    ),
]
FailOnNoFiles = Annotated[
    bool,
    typer.Option(
        "--fail-on-no-files",
        envvar="RECON_FAIL_ON_NO_FILES",
        help="Exit 3 when inbound holds no data file.",
    ),
]
Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute",
        envvar="RECON_RECOMPUTE",
        help="Reconcile a pair that has a result again, as its next revision.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        envvar="RECON_DRY_RUN",
        help="Reconcile and print; write and move nothing.",
    ),
]
Inbound = Annotated[
    str,
    typer.Option(
        "--inbound-s3",
        metavar="URL",
        envvar="RECON_INBOUND_S3",
        help="Where the two files arrive: s3://bucket/prefix/ or a folder.",
    ),
]
Processed = Annotated[
    str,
    typer.Option(
        "--processed-s3",
        metavar="URL",
        envvar="RECON_PROCESSED_S3",
        help="Where the inputs go when their result is recorded.",
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out-s3",
        metavar="URL",
        envvar="RECON_OUT_S3",
        help="Where the artifacts go.",
    ),
]
Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        metavar="NAME",
        envvar="RECON_DATASET",
        is_eager=True,
        callback=configure,
        help="Names the stage tables and the folders of the run.",
    ),
]
DatasetOfConfig = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        envvar="RECON_DATASET",
        is_eager=True,
        callback=configure,
        help="Take the settings of [dataset.NAME] of the configuration file.",
    ),
]

MaybeInbound = Annotated[
    str | None,
    typer.Option(
        "--inbound-s3",
        metavar="URL",
        envvar="RECON_INBOUND_S3",
        help="The place to check: is it listed, read, and may inputs be removed?",
    ),
]
MaybeProcessed = Annotated[
    str | None,
    typer.Option(
        "--processed-s3",
        metavar="URL",
        envvar="RECON_PROCESSED_S3",
        help="The place to check: is it listed, read and written?",
    ),
]
MaybeOut = Annotated[
    str | None,
    typer.Option(
        "--out-s3",
        metavar="URL",
        envvar="RECON_OUT_S3",
        help="The place to check: is it listed, read and written?",
    ),
]
MaybeDataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="Of this dataset; else of all."),
]
OlderThan = Annotated[
    str,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="How old a run has to be: such as 90d or 12w.",
    ),
]
PurgeArtifacts = Annotated[
    bool,
    typer.Option("--artifacts", help="Also the files that the runs wrote to out."),
]
Delete = Annotated[
    bool,
    typer.Option("--delete", help="Do it; without, it is only told what would go."),
]
