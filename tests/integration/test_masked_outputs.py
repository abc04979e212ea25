"""Every value is a canary, and every output is read: behind masks none is heard.

The same outputs without masks are the test of the test: there they are heard.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Final

import polars as pl
from recon_cli.app import app
from support.canaries import CELL, PASSWORD, places_of, unheard
from support.cloudformation import GIVEN, Stack
from typer.testing import CliRunner

import recon_engine as rx


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.sites import FolderSite


ROWS: Final = 200
AMOUNT: Final = 90817263
# What all changed amounts are raised by, and how that is written.
RAISE: Final = 7919
RAISED: Final = f"{RAISE}.000"
HEADER: Final = ["ID", "STATE", "PAID", "NOTE", "LEFT_OUT"]
MASKS: Final = (
    "--mask=ID=hmac",
    "--mask=STATE=last4",
    "--mask=PAID=redact",
    "--mask=NOTE=hmac",
    "--mask=LEFT_OUT=redact",
    "--mask=ONLY_OLD=redact",
    "--mask=ONLY_NEW=last4",
)
JUDGED: Final = ("--gate=sum_delta(PAID)<=1", "--gate=mismatches(NOTE)<=0")
# A value that a filter names.
FILTERED: Final = "one-that-is-left-out"
OPTIONS: Final = (
    "--ignore=LEFT_OUT",
    "--on-schema-drift=compare",
    f"--where=NOTE != '{FILTERED}'",
)
SUFFIXES: Final = ("json", "csv", "parquet", "html", "md", "xml")
# What says nothing of values, with or without masks.
SILENT: Final = frozenset({
    "run history", "history page",
    "manifest.json", "summary.csv", "mismatch_by_column.csv", "hints.csv",
})  # fmt: skip
LOUD: Final = frozenset({
    "break", "constant_change", "control_total", "gate_result",
    "mismatch_detail_sample", "mismatch_pattern", "segment",
})  # fmt: skip


def rows(side: str) -> Iterator[list[str]]:
    """A row has its segment, an amount, a note; a key repeats, some are on one side."""
    for at in range(ROWS):
        key = f"{CELL}-k{at}"
        changed = side == "new" and at % 5 == 0
        amount = f"{AMOUNT + RAISE * changed}.{at:03}"
        note = f"{CELL}-{side}-{at}" if changed else f"{CELL}-note"
        # Keys that differ in case are a hint; others are on one side only.
        if at % 50 == 3:
            key = key.lower() if side == "new" else key
        if at % 50 == 4:
            key = f"{key}-{side}"
        yield [key, f"{CELL}-s{at % 5}", amount, note, f"{CELL}-x"]
    yield [f"{CELL}-k1", f"{CELL}-s1", f"{AMOUNT}.5", f"{CELL}-{side}", f"{CELL}-x"]


def written(side: str) -> bytes:
    only = [f"ONLY_{side.upper()}"]
    lines = [HEADER + only, *([*row, f"{CELL}-{side}"] for row in rows(side))]
    return "\n".join(map(",".join, lines)).encode() + b"\n"


def said(environment: Mapping[str, str], *arguments: str) -> str:
    """What a command prints; to stderr too."""
    ended = CliRunner().invoke(app, arguments, env=environment)
    assert ended.exit_code in {0, 1}, ended.output
    return ended.output


def outputs(site: FolderSite, folder: Path, *masks: str) -> dict[str, str]:
    """All that a run on two days, and every command after it, prints and writes."""
    environment = os.environ | {
        "COLUMNS": "200",
        "RECON_DATABASE_URL": site.database,
        "RECON_MASK_KEY": PASSWORD * 3,
    }
    targets = [folder / f"result.{suffix}" for suffix in SUFFIXES]
    run = (*places_of(site), *OPTIONS, *JUDGED, *masks)
    found = {}
    for day, form in (("1", "table"), ("2", "json")):
        old, new = written("old"), written("new")
        site.deliver(old, new.replace(b"-new-5,", f"-day{day},".encode()), day)
        files = (f"-o{target}" for target in targets)
        found[f"run {form}"] = said(environment, *run, f"--format={form}", *files)
    found |= {f"-o {path.suffix[1:]}": text_of(path.read_bytes()) for path in targets}
    for name, data in site.names(site.out).items():
        found[name.rpartition("/")[2]] = text_of(data)
    for table in site.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname='metrics'"
    ):
        name = f"metrics.{table['tablename']}"
        found[name] = str(site.rows(f"SELECT * FROM {name}"))
    pair = []
    for side in ("old", "new"):
        pair.append(str(folder / f"{side}.csv"))
        (folder / f"{side}.csv").write_bytes(written(side))
    asked = (*pair, "--key=ID", *OPTIONS, *masks)
    page = str(folder / "page.html")
    commands = {
        "breaks": ("breaks", "--dataset=claims"),
        "breaks as JSON": ("breaks", "--dataset=claims", "--format=json"),
        "run history": ("history", "--dataset=claims"),
        "markdown": ("diff", *asked, *JUDGED, "--format=markdown"),
        "explain": ("explain", *asked[:2], f"{CELL}-k5", *asked[2:]),
        "explain as JSON": (
            "explain", *asked[:2], f"{CELL}-k5", *asked[2:], "--format=json",
        ),
    }  # fmt: skip
    found |= {name: said(environment, *each) for name, each in commands.items()}
    for name, more in (("stored page", ()), ("history page", ("--history=9",))):
        said(environment, "report", "--dataset=claims", *more, "-o", page)
        found[name] = (folder / "page.html").read_text()
    return found


def text_of(data: bytes) -> str:
    if data.startswith(b"PAR1"):
        return str(pl.read_parquet(io.BytesIO(data)).rows())
    return data.decode()


def sums() -> set[str]:
    """The control totals of amounts, as they are written and as they are shown."""
    frames = [
        pl.DataFrame(list(rows(side)), schema=HEADER, orient="row")
        for side in ("old", "new")
    ]
    [total] = rx.diff(*frames, keys="ID").totals
    values = [value for value in (*total.parts().values(), total.delta) if value]
    return {form for value in values for form in (f"{value:f}", f"{value:,f}")}


def test_masked_values_are_in_no_output(site: FolderSite, tmp_path: Path) -> None:
    shown = outputs(site, tmp_path, *MASKS)
    for marker in (CELL, str(AMOUNT), f"{AMOUNT:,}", PASSWORD, RAISED, *sums()):
        unheard(*shown.values(), marker=marker)
    # The recorded configuration has each setting as it is written.
    del shown["metrics.pipeline_run_log"]
    unheard(*shown.values(), marker=FILTERED)
    assert "--where NOTE != …: " in shown["run table"]
    assert "hmac:" in shown["run table"]
    assert "…Y-s0" in shown["segments.csv"]
    assert "PAID has no sum: it is masked" in shown["-o xml"]
    assert CELL in str(site.rows("SELECT * FROM stage.claims_old"))


def test_without_masks_they_are_in_all_that_holds_values(
    site: FolderSite, tmp_path: Path
) -> None:
    shown = outputs(site, tmp_path)
    markers = (CELL, RAISED, *sums())
    loud = {
        name
        for name, text in shown.items()
        for marker in markers
        if marker.lower() in text.lower()
    }
    tables = {name for name in shown if name.startswith("metrics.")}
    assert shown.keys() - loud - tables == SILENT
    assert {name.removeprefix("metrics.") for name in loud & tables} == LOUD


def test_the_command_of_the_task_prints_no_value(site: FolderSite) -> None:
    """What the container prints is kept as a log; the table has keys and cells."""
    [container] = Stack(GIVEN).properties("Task")["ContainerDefinitions"]
    environment = os.environ | {"RECON_DATABASE_URL": site.database}
    printed = {}
    for day, command in (("1", ["run"]), ("2", container["Command"])):
        site.deliver(
            written("old"), written("new") + f"k{day}{'x,' * 5}\n".encode(), day
        )
        name, *options = command
        given = (name, *options, *places_of(site)[1:], *OPTIONS, *JUDGED)
        printed[day] = said(environment, *given)
        assert "mismatches(NOTE)" in printed[day]
    assert CELL in printed["1"]
    unheard(printed["2"])
