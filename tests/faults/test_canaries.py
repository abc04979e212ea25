"""Every cell holds a canary, every way to fail is gone, and nobody hears it sing.

Watched are stdout and stderr down to the descriptors, every log of ours at DEBUG, the
run log, the fields of errors, their causes, and the variables in their tracebacks. The
faults of S3, Postgres and disks are watched alike, in `test_faults.py`.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import polars as pl
import psycopg
import pytest
from recon_cli.app import app
from support.canaries import CELL, PASSWORD, everything, places_of, unheard
from support.program import recon, recon_program
from support.sites import FolderSite
from typer.testing import CliRunner

import recon_engine
from recon_engine.compare import result_builder
from recon_engine.config import OnBadRow, OnDuplicateKeys, Options, StageLoader
from recon_engine.errors import ReconError
from recon_engine.inputs.native import binding
from recon_engine.model import Counts
from recon_engine.pipeline.runner import dry_run, run_pipeline
from recon_engine.runtime.cancellation import CancellationToken
from recon_engine.runtime.memory import Budget
from recon_engine.status import status_of


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def table(rows: int = 4, side: str = "old") -> bytes:
    """Rows whose every cell is a canary, the keys too."""
    lines = [f"{CELL}-k{at},{CELL}-{side}{at},{CELL}-x" for at in range(rows)]
    return "\n".join(["ID,PAID,NOTE", *lines, ""]).encode()


OLD: Final = table()
NEW: Final = table(side="new")
OLD_FRAME, NEW_FRAME = (pl.read_csv(data, infer_schema=False) for data in (OLD, NEW))
ROW: Final = f"{CELL}-k9,{CELL}-a,{CELL}-b".encode()
MORE: Final = f"{CELL}-c".encode()
BAD: Final[dict[str, bytes]] = {
    "short": OLD + b",".join([ROW.split(b",")[0], MORE]) + b"\n",
    "long": OLD + ROW + b"," + MORE + b"\n",
    "blank line": OLD + b"\n" + ROW + b"\n",
    "quote inside": OLD + ROW + b'"' + MORE + b"\n",
    "text after a quote": OLD + ROW + b',"' + MORE + b'"' + MORE + b"\n",
    "quote that never ends": OLD + b'"' + ROW + b"\n" + ROW,
    "quote lost in 200 lines": OLD + b'"' + (ROW + b"\n") * 200,
    "field over 1 MiB": OLD + b'"' + ROW * 50_000,
    "NUL": OLD + ROW + b"\0" + MORE + b"\n",
    "carriage return": OLD + ROW + b"\r" + MORE + b"\n",
    "latin-1": OLD + ROW + b"\xe9" + MORE + b"\n",
    "cut character": OLD + ROW + b"\xc3",
    "UTF-16": OLD.decode().encode("utf-16"),
    "UTF-16, no mark": OLD.decode().encode("utf-16-le"),
    "gzip": gzip.compress(OLD),
    "no header": ROW + b"\n" + ROW + b"\n",
    "no header, a repeated value": b"%b,%b\n%b\n" % (MORE, MORE, ROW),
    "no header, a quote": ROW + b'"' + b"\n" + ROW + b"\n",
    "no header, then a short row": ROW + b"\n" + MORE + b"\n",
    "no header, latin-1": ROW + b"\xe9\n",
    "no header, one column": MORE + b"\n" + MORE + b"x\n",
    "no key": OLD.replace(b"ID,", b"NR,", 1),
    "empty": b"",
}


@pytest.fixture
def watched(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[..., None]:
    """Look through all that was said until now, and through what else is given."""
    for name in ("recon", "recon_engine", "recon_cli"):
        caplog.set_level(logging.DEBUG, logger=name)

    def look(*texts: str, marker: str = CELL) -> None:
        unheard(*capfd.readouterr(), caplog.text, *texts, marker=marker)
        unheard(str([vars(record) for record in caplog.records]), marker=marker)

    return look


def execute(site: FolderSite, statements: str) -> None:
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(statements.encode())


def log_of(site: FolderSite) -> str:
    return str(site.rows("SELECT * FROM metrics.pipeline_run_log"))


def command(*arguments: str, **environment: str) -> tuple[int, str]:
    """What a command ends with and prints, as text and as JSON."""
    said = []
    for form in ("table", "json"):
        ended = CliRunner().invoke(
            app, [*arguments, "--format", form], env={"COLUMNS": "200", **environment}
        )
        if ended.exception is not None:
            assert isinstance(ended.exception, SystemExit)
            unheard(*everything(ended.exception))
        said.append(ended.output)
    return ended.exit_code, "".join(said)


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_reported_without_a_value(
    site: FolderSite, tmp_path: Path, data: bytes, watched: Callable[..., None]
) -> None:
    for old, new in ((OLD, data), (data, data)):
        (tmp_path / "old.csv").write_bytes(old)
        (tmp_path / "new.csv").write_bytes(new)
        paths = [str(tmp_path / f"{side}.csv") for side in ("old", "new")]
        try:
            recon_engine.diff(*paths, keys="ID")
        except ReconError as error:
            watched(*everything(error))
        else:
            pytest.fail("it was to be refused")
        code, said = command("diff", *paths, "--key", "ID")
        assert code in {2, 3}
        watched(said)
        site.deliver(old, new)
        outcome = site.run()
        assert outcome.error is not None
        assert outcome.record.exit_code == code
        watched(*everything(outcome.error), repr(outcome.record), log_of(site))


PACKED: Final = gzip.compress(OLD)
DELIVERED: Final[dict[str, tuple[str, bytes, str]]] = {
    "cut": ("old.csv.gz", PACKED[:-9], "utf-8"),
    "corrupt": ("old.csv.gz", PACKED[:20] + PACKED[20:][::-1], "utf-8"),
    "followed by rows": ("old.csv.gz", PACKED + OLD, "utf-8"),
    "not packed": ("old.csv.gz", OLD, "utf-8"),
    "a bad row, packed": ("old.csv.gz", gzip.compress(OLD + MORE), "utf-8"),
    "not in cp1252": ("old.csv", OLD + ROW + b"\x81" + MORE, "cp1252"),
    "not in UTF-16": ("old.csv", OLD.decode().encode("utf-16") + b"\0\xd8", "utf-16"),
    "no mark of UTF-16": ("old.csv", OLD, "utf-16"),
}


@pytest.mark.parametrize("case", DELIVERED.values(), ids=DELIVERED.keys())
def test_a_bad_delivery_is_reported_without_a_value(
    tmp_path: Path, case: tuple[str, bytes, str], watched: Callable[..., None]
) -> None:
    name, data, encoding = case
    (tmp_path / name).write_bytes(data)
    (tmp_path / "new.csv").write_bytes(NEW)
    paths = [str(tmp_path / each) for each in (name, "new.csv")]
    given = f"{encoding}:utf-8"
    with pytest.raises(ReconError) as caught:
        recon_engine.diff(*paths, keys="ID", encoding=given)
    watched(*everything(caught.value))
    code, said = command("diff", *paths, "--key", "ID", "--encoding", given)
    assert code == 3
    watched(said)


def test_rows_set_aside_are_listed_without_a_value(
    site: FolderSite, watched: Callable[..., None]
) -> None:
    site.deliver(BAD["short"], BAD["long"])
    aside = Options(keys=("ID",), on_bad_row=OnBadRow.QUARANTINE)
    outcome = site.run(options=aside)
    assert outcome.result is not None
    assert outcome.result.rejects().height == 2
    written = site.names(site.out)
    [listed] = [data for name, data in written.items() if name.endswith("rejects.csv")]
    shown = str(outcome.result.rejects().rows()), listed.decode()
    watched(*shown, repr(outcome.record), log_of(site))


MASKED: Final = Options(
    keys=("ID",),
    ignore=("NOTE",),
    masks={"ID": "hmac", "PAID": "last4", "NOTE": "redact"},
)


def test_masked_values_are_in_no_output_and_no_table_of_metrics(
    site: FolderSite, monkeypatch: pytest.MonkeyPatch, watched: Callable[..., None]
) -> None:
    """Stage holds both files as they are, and only stage."""
    monkeypatch.setenv("RECON_MASK_KEY", PASSWORD * 3)
    for day, new in (("1", NEW), ("2", NEW.replace(b"-new", b"-newer"))):
        site.deliver(OLD + ROW + b"\n", new + ROW.replace(b"k9", b"k8") + b"\n", day)
        outcome = site.run(options=MASKED)
        assert outcome.error is None
        assert outcome.result is not None
        d = outcome.result
        counts = d.counts
        assert (counts.mismatched_rows, counts.missing, counts.extra) == (4, 1, 1)
        assert (len(d.sample), d.duplicates("old").height) == (4, 0)
        frames = [
            getattr(d.frames, name).lazy().collect().rows()
            for name in d.frames.__dataclass_fields__
        ]
        shown = [d.to_json(), d.to_markdown(), d._repr_html_(), repr(d), str(frames)]
        files = [data for name, data in site.names(site.out).items()]
        tables = site.rows(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'metrics'"
        )
        shown += [
            str(site.rows(f"SELECT * FROM metrics.{t['tablename']}")) for t in tables
        ]
        shown += [str(pl.read_parquet(f).rows()) for f in files if f[:4] == b"PAR1"]
        shown += [data.decode(errors="replace") for data in files]
        watched(*shown)
        unheard(*shown, repr(outcome), marker=PASSWORD)
    assert CELL in str(site.rows("SELECT * FROM stage.claims_old"))
    assert CELL in str(recon_engine.diff(OLD_FRAME, NEW_FRAME, keys="ID").sample)


def leaking(*given: Any, **_: Any) -> NoReturn:
    """What a library may do: quote, as an error of its own, all it was given."""
    raise ValueError(f"{CELL} {given!r}")


def polars_leaking(*_: Any, **__: Any) -> None:
    pl.Series([CELL]).cast(pl.Int8)


def undecodable(*_: Any, **__: Any) -> None:
    f"{CELL}\xe9".encode("latin-1").decode()


def chained(*_: Any, **__: Any) -> None:
    try:
        leaking()
    except ValueError as error:
        raise KeyError(CELL) from error


def full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(28, CELL, CELL)


def out_of_memory(*_: Any, **__: Any) -> NoReturn:
    raise MemoryError(CELL)


def endless(*_: Any, **__: Any) -> NoReturn:
    raise RecursionError(CELL)


def unlawful(*_: Any, **__: Any) -> Counts:
    return Counts(1, 2, 3, 4, 5, 6)


ERRORS = [leaking, polars_leaking, undecodable, chained, full, out_of_memory, endless]
# The native kernel does the work of these.
WITHOUT_KERNEL = [
    "recon_engine.compare.groups.compare_rows",
    "recon_engine.compare.local_engine.read_rows",
    "recon_engine.inputs.csv_reader.index_records",
    "recon_engine.compare.digests.hash_cells",
    "recon_engine.inputs.csvfile.Block.cells",
]
KERNEL = [
    "recon_engine.compare.local_engine.open_matched",
    "recon_engine.compare.pairs.take_columns",
    "recon_engine.inputs.scanned.ScannedFile.gather",
    "recon_engine.inputs.scanning.Scanning._read",
]
PLACES = [
    *WITHOUT_KERNEL,
    *(KERNEL if binding.load_library() else ()),
    "recon_engine.compare.plan.align_columns",
    "recon_engine.compare.local_engine.merge_differences",
    "recon_engine.compare.pairing.classify_cells",
    "recon_engine.kinds._compare_dates",
    "recon_engine.compare.sampling.choose_rows",
    "recon_engine.compare.result_builder.Counts",
]
STEPS = [
    *PLACES,
    "recon_engine.pipeline.runner.open_input",
    "recon_engine.postgres.run_log.new_run",
    "recon_engine.pipeline.inbox.select_pair",
    "recon_engine.report.artifacts._write_frame",
    "recon_engine.report.artifacts._write_table",
    "recon_engine.report.artifacts.build_manifest",
    "recon_engine.postgres.publish.build_metrics_rows",
    "recon_engine.postgres.breaks._break_rows",
    "recon_engine.postgres.breaks._hash_texts",
    "recon_engine.postgres.stage._BatchReader.read_as_arrow",
    "recon_engine.postgres.publish.publish_table",
    "recon_engine.storage.local.LocalFolder.identify",
    "recon_engine.storage.local.LocalFolder.fetch",
    "recon_engine.storage.local.LocalFolder.put",
    "recon_engine.storage.local.LocalFolder.archive",
    "recon_engine.storage.local.LocalFolder.remove",
]


def break_place(patch: pytest.MonkeyPatch, place: str, raised: object) -> None:
    patch.setattr(place, raised)
    if place in WITHOUT_KERNEL:
        patch.setattr(binding, "load_library", lambda: None)


@pytest.mark.parametrize("place", PLACES)
def test_what_a_library_says_in_a_diff_is_not_reported(
    tmp_path: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    watched: Callable[..., None],
) -> None:
    paths = [str(tmp_path / name) for name in ("old.csv", "new.csv")]
    for path, data in zip(paths, (OLD, NEW), strict=True):
        (tmp_path / path).write_bytes(data)
    for raised in ERRORS:
        with monkeypatch.context() as patch:
            break_place(patch, place, raised)
            with pytest.raises(ReconError) as caught:
                recon_engine.diff(*paths, keys="ID")
            watched(*everything(caught.value))
            code, said = command("diff", *paths, "--key", "ID")
            assert code in {4, 70}
            watched(said)


@pytest.mark.parametrize("place", STEPS)
def test_what_a_library_says_in_a_run_is_not_reported(
    site: FolderSite,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    watched: Callable[..., None],
) -> None:
    for raised in (leaking, undecodable, full):
        site.deliver(OLD, NEW)
        with monkeypatch.context() as patch:
            break_place(patch, place, raised)
            try:
                outcome = site.run(recompute=True)
            except ReconError as error:
                watched(*everything(error))
                continue
        assert outcome.error is not None
        assert outcome.record.exit_code in {4, 70}
        watched(*everything(outcome.error), repr(outcome.record))
    watched(log_of(site))


def ended_as(site: FolderSite, status: str, watched: Callable[..., None]) -> Any:
    """A run that ends so, and dry, without a canary in what it tells."""

    def look(work: Callable[..., Any], **changes: Any) -> None:
        config = replace(site.config(), **changes)
        try:
            error = work(config).error
        except ReconError as raised:
            error = raised
        assert error is not None
        assert status_of(error) == status
        watched(*everything(error))
        watched(log_of(site))

    return look


def test_every_other_refusal_is_reported_without_a_value(
    site: FolderSite, watched: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    unique = Options(keys=("NOTE",), on_duplicate_keys=OnDuplicateKeys.FAIL)
    for work in (run_pipeline, dry_run):
        site.deliver(OLD, NEW)
        ended_as(site, "DUPLICATE_KEYS", watched)(work, options=unique)
        ended_as(site, "OUT_OF_BUDGET", watched)(work, budget=Budget(1 << 20))
        with monkeypatch.context() as patch:
            patch.setattr(result_builder, "Counts", unlawful)
            ended_as(site, "INTERNAL_ERROR", watched)(work)
        stop: CancellationToken[Any] = CancellationToken()
        stop.request(signal.SIGTERM)
        ended_as(site, "INTERRUPTED", watched)(
            lambda config, work=work, stop=stop: work(config, stop=stop)
        )
        site.deliver(OLD, NEW.replace(b"NOTE", b"REMARK"))
        ended_as(site, "SCHEMA_MISMATCH", watched)(work)
        site.put("third.csv", OLD)
        ended_as(site, "INVALID_FILE_COUNT", watched)(work)
        os.unlink(f"{site.inbound}/third.csv")  # noqa: PTH108 - a path as text


@pytest.mark.parametrize("loader", StageLoader)
def test_what_postgres_refuses_is_reported_without_a_value(
    site: FolderSite, loader: StageLoader, watched: Callable[..., None]
) -> None:
    """A trigger on the sample quotes the row in its error, as an owner's may."""
    execute(
        site,
        "CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE NOTICE 'row %', NEW; RAISE EXCEPTION 'row %', NEW; END $$;"
        "CREATE TRIGGER quoting BEFORE INSERT ON metrics.mismatch_detail_sample"
        " FOR EACH ROW EXECUTE FUNCTION quote()",
    )
    site.deliver(OLD, NEW)
    ended_as(site, "DATABASE_UNAVAILABLE", watched)(run_pipeline, stage_loader=loader)


def test_logs_of_a_run_that_succeeds_hold_no_value(
    site: FolderSite, watched: Callable[..., None]
) -> None:
    site.deliver(OLD, NEW)
    assert site.run().error is None
    watched(log_of(site))


ADDRESSES = [
    f"postgresql://u:{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://u:{PASSWORD}@127.0.0.1:not-a-port/db",
    f"postgresql://u:{PASSWORD} and a blank@h:1:2/db",
    f"postgresql://u:{PASSWORD}@[::1/db",
    f"postgresql://u:{PASSWORD}%zz@127.0.0.1/db",
    f"postgresql://u@127.0.0.1/db?pass={PASSWORD}",
    f"host=127.0.0.1 port=1 password={PASSWORD}",
    f"host=127.0.0.1 password={PASSWORD} bogus",
    f"host=127.0.0.1 bogus={PASSWORD}",
    f"password='{PASSWORD}",
    f"mysql://u:{PASSWORD}@127.0.0.1/db",
    PASSWORD,
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_of_a_database_is_never_reported(
    tmp_path: Path, address: str, watched: Callable[..., None]
) -> None:
    site = FolderSite(str(tmp_path), address)
    site.deliver()
    with pytest.raises(ReconError) as caught:
        site.run(database=address)
    config = site.config(database=address)
    watched(*everything(caught.value), repr(config), marker=PASSWORD)
    for arguments in (["sql", "SELECT 1"], ["migrate"], places_of(site)):
        ended = CliRunner().invoke(app, arguments, env={"RECON_DATABASE_URL": address})
        assert ended.exit_code in {2, 3, 4}
        watched(ended.output, marker=PASSWORD)


def test_a_password_that_is_refused_is_never_reported(
    site: FolderSite, watched: Callable[..., None]
) -> None:
    site.deliver()
    execute(site, "CREATE ROLE limited LOGIN")
    limited = replace(site.config(), database=f"{site.database} password={PASSWORD}")
    asking = replace(limited, database=f"{limited.database} user=limited")
    with pytest.raises(ReconError) as caught:
        run_pipeline(asking)
    assert status_of(caught.value) == "PERMISSION_DENIED"
    watched(*everything(caught.value), marker=PASSWORD)
    assert run_pipeline(limited).error is None
    watched(log_of(site), marker=PASSWORD)


SIGNED = f"X-Amz-Signature={PASSWORD}"
AWS: Final[dict[str, dict[str, str]]] = {
    "nobody there": {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"},
    "a newline in the token": {"AWS_SESSION_TOKEN": f"{PASSWORD}\n{PASSWORD}"},
    "a newline in the key": {"AWS_ACCESS_KEY_ID": f"{PASSWORD}\nx"},
    "no text in the token": {"AWS_SESSION_TOKEN": f"{PASSWORD}é🙂"},
    "a password in the endpoint": {
        "AWS_ENDPOINT_URL_S3": f"http://u:{PASSWORD}@127.0.0.1:1"
    },
    "an endpoint that is none": {"AWS_ENDPOINT_URL_S3": f"nonsense {PASSWORD}"},
    "a password in an endpoint elsewhere": {
        "AWS_ENDPOINT_URL_S3": f"https://u:{PASSWORD}@minio.example"
    },
    "a query in an endpoint elsewhere": {
        "AWS_ENDPOINT_URL_S3": f"https://minio.example/?token={PASSWORD}"
    },
    "a profile that is none": {"AWS_PROFILE": PASSWORD},
}
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": f"AKIA{PASSWORD}",
    "AWS_SECRET_ACCESS_KEY": PASSWORD,
    "AWS_SESSION_TOKEN": PASSWORD,
    "AWS_MAX_ATTEMPTS": "1",
}


@pytest.mark.parametrize("environment", AWS.values(), ids=AWS.keys())
def test_credentials_of_aws_are_never_reported(
    tmp_path: Path,
    moto: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    watched: Callable[..., None],
) -> None:
    given = {"AWS_ENDPOINT_URL_S3": moto, **KEYS, **environment}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "new.csv").write_bytes(NEW)
    with pytest.raises(ReconError) as caught:
        recon_engine.diff("s3://nowhere/old.csv", tmp_path / "new.csv", keys="ID")
    watched(*everything(caught.value), marker=PASSWORD)
    arguments = ["diff", "s3://nowhere/old.csv", "new.csv", "--key", "ID"]
    # One is a process, whose descriptors nobody else writes to.
    start = recon_program if environment is AWS["nobody there"] else recon
    ended = start(*arguments, cwd=tmp_path, RECON_LOG_LEVEL="DEBUG", **given)
    assert ended.returncode in {2, 3, 4}
    watched(marker=PASSWORD)
    unheard(ended.stdout, ended.stderr, marker=PASSWORD)
    for line in ended.stderr.splitlines():
        assert not line.startswith("{") or json.loads(line)["event"]


@pytest.mark.parametrize(
    "url", [f"https://h/old.csv?{SIGNED}", f"s3a://u:{PASSWORD}@b/k", f"s3:/{PASSWORD}"]
)
def test_a_url_of_another_kind_is_reported_by_its_kind_alone(
    tmp_path: Path, url: str, watched: Callable[..., None]
) -> None:
    (tmp_path / "new.csv").write_bytes(NEW)
    with pytest.raises(ReconError) as caught:
        recon_engine.diff(url, tmp_path / "new.csv", keys="ID")
    # In the traceback is the caller's own argument, and nothing else of the URL.
    watched(str(vars(caught.value)), repr(caught.value), marker=PASSWORD)
    code, said = command("diff", url, str(tmp_path / "new.csv"), "--key", "ID")
    assert code == 2
    watched(said, marker=PASSWORD)


def test_what_is_watched_would_be_heard(
    tmp_path: Path, watched: Callable[..., None]
) -> None:
    """A test of the tests: each of these is a leak, and found."""
    for leak in (
        lambda: os.write(2, CELL.encode()),
        lambda: print(CELL),
        lambda: logging.getLogger("recon_engine.inputs.csv_reader").debug("%s", CELL),
        lambda: logging.getLogger("recon").info("x", extra={"cell": CELL}),
    ):
        leak()
        with pytest.raises(AssertionError):
            watched()
        logging.getLogger("recon").info("x")
    with pytest.raises(ValueError, match=CELL) as caught:
        leaking(tmp_path)
    with pytest.raises(AssertionError):
        unheard(*everything(caught.value))
