"""Spans that are read apart come to what the whole file is, fault for fault."""

from __future__ import annotations

import dataclasses
import functools
import json
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared_pairs import answer, expected, rules_for, written
from support.corpus_files import FILES, expected_of, name_of
from support.csv_files import open_csv
from support.databases import migrated
from support.results import with_findings
from support.spark_cluster import InProcess
from support.strategies import FEWER, Pair, edited, pairs, tables
from support.suppression_oracle import SECRET, Known, accepted, dense_pairs, list_found

import recon_engine as rx
from recon_engine.api import _NamedInputs, read_options
from recon_engine.compare import partial_result
from recon_engine.compare.engine import Hooks
from recon_engine.compare.reread import Inputs
from recon_engine.config import (
    LIMITS,
    NO_KEY,
    OnBadRow,
    OnSchemaDrift,
    Options,
)
from recon_engine.errors import (
    ConfigError,
    EncodingError,
    InputChanged,
    MalformedInput,
    OutOfBudget,
    ReconError,
)
from recon_engine.inputs import csv_reader, quarantine
from recon_engine.inputs.header import read_header
from recon_engine.inputs.opening import open_input
from recon_engine.model import (
    SIDES,
    UNMATCHED_ROWS,
    HintKind,
    Suppressible,
    Suppression,
)
from recon_engine.report.page_data import build_page_data
from recon_engine.runtime.progress import SILENT
from recon_engine.spark import column_changes, split_reader
from recon_engine.spark import splits as spans_module
from recon_engine.spark.byte_sources import LocalSource
from recon_engine.spark.driver import SparkEngine, compare_on_cluster
from recon_engine.spark.settings import SparkSettings
from recon_engine.spark.split_reader import join_results, merge_results, read_split
from recon_engine.spark.splits import cut_splits, take_census


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from support.compared_pairs import Rules

    from recon_engine.inputs.csvfile import CsvFile
    from recon_engine.result import Reconciliation


DAY = date(2026, 11, 23)
SOME = range(2000)


def outcome(read: Callable[[], CsvFile]) -> dict[str, Any]:
    """All that is known of a file, but for its parts and its hash."""
    try:
        found = dataclasses.asdict(read())
    except ReconError as error:
        return {"error": type(error), **vars(error)}
    return {name: found[name] for name in found.keys() - {"parts", "sha256", "path"}}


def in_spans(path: Path, size: int, delimiter: str, on_bad_row: OnBadRow) -> CsvFile:
    """Read a file as a cluster does: blocks are counted, then spans are gated."""
    header = read_header(path, delimiter=delimiter, on_bad_row=on_bad_row)
    start, end = len(header.raw), header.bytes
    with LocalSource.of(header).opened() as read:
        counted = [
            take_census(read, at, min(at + size, end)) for at in range(start, end, size)
        ]
        found = cut_splits(counted, start, end, 1 + header.lines)
        split_results = [
            read_split(
                header,
                span,
                read,
                lambda _: None,
                lambda *_: None,
                Options(keys=NO_KEY),
            )
            for span in found
        ]
    numbered = list(enumerate(split_results))
    few = merge_results([merge_results([dict(numbered[part::2])]) for part in (0, 1)])
    return join_results(header, (few[at] for at, _ in numbered), None)


def read_whole(path: Path, delimiter: str, policy: OnBadRow) -> dict[str, Any]:
    return outcome(lambda: open_csv(path, delimiter=delimiter, on_bad_row=policy))


def read_apart(
    path: Path, size: int, delimiter: str, policy: OnBadRow
) -> dict[str, Any]:
    return outcome(lambda: in_spans(path, size, delimiter, policy))


# The sizes of a file follow each other.
read_whole_once = functools.lru_cache(len(OnBadRow))(read_whole)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 5, 64])
@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_of_the_corpus_is_the_same_in_spans(path: Path, size: int) -> None:
    delimiter = expected_of(path).get("delimiter", ",")
    # In the few long files what matters is far from the start: 100 borders reach it.
    size = max(size, path.stat().st_size // 100)
    for policy in OnBadRow:
        whole = read_whole_once(path, delimiter, policy)
        assert read_apart(path, size, delimiter, policy) == whole


@given(data=st.data(), size=st.sampled_from([1, 2, 3, 7, 20]), step=st.integers(1, 9))
def test_any_bytes_are_the_same_in_spans(
    tmp_path: Path, data: st.DataObject, size: int, step: int
) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(data.draw(edited(data.draw(tables()))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans_module, "READ_BYTES", step)
        most = data.draw(st.sampled_from([1, 2, 10_000]))
        for module in (csv_reader, quarantine, split_reader):
            patch.setattr(module, "MAX_LISTED", most)
        policy = data.draw(st.sampled_from(OnBadRow))
        assert read_apart(path, size, ",", policy) == read_whole(path, ",", policy)


def reconciled(
    paths: tuple[Path, Path], options: Options, settings: SparkSettings
) -> Reconciliation:
    """Two files by the tasks of a cluster, in this process."""
    old, new = (read_header(path, on_bad_row=options.on_bad_row) for path in paths)
    sources = LocalSource.of(old), LocalSource.of(new)
    cluster = InProcess()
    return compare_on_cluster(
        (old, new), sources, options, DAY, cluster=cluster, settings=settings
    )


def shown(d: Reconciliation) -> str:
    """The document, but for how it came about."""
    document = d.to_dict()
    document.pop("engine")
    return json.dumps(document)


@contextmanager
def many_shares() -> Iterator[None]:
    """The changes of a column are counted by several tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_changes, "BUCKETS_A_SHARE", 1)
        yield


@FEWER
@given(
    pair=pairs(),
    data=st.data(),
    span=st.sampled_from([3, 40, 1 << 20]),
    bucket=st.sampled_from([9, 60, 1 << 20]),
    limit=st.sampled_from([0, 1, 3, 5000]),
    shares=st.sampled_from([nullcontext, many_shares]),
)
def test_tasks_answer_as_the_oracle_and_as_the_local_engine(
    tmp_path: Path,
    pair: Pair,
    data: st.DataObject,
    span: int,
    bucket: int,
    limit: int,
    shares: Callable[[], AbstractContextManager[None]],
) -> None:
    rules: Rules = data.draw(rules_for(pair))
    paths = written(tmp_path, pair, data)
    options = Options(keys=tuple(pair.keys), rules=rules, detail_limit=limit)
    with shares():
        there = reconciled(paths, options, SparkSettings(span, bucket))
    here = rx.diff(*paths, sha256=True, keys=pair.keys, rules=rules, detail_limit=limit)
    assert shown(there) == shown(here)
    if limit == 5000:
        assert answer(there, pair.columns) == expected(pair, rules)
    assert there.missing().height <= max(limit, UNMATCHED_ROWS)


def accept(column: str) -> Suppression:
    """A suppression of whatever differs in a column."""
    return Suppression(
        what=Suppressible.COLUMN, reason="known", owner="me", until=DAY, column=column
    )


@FEWER
@given(
    pair=st.one_of(pairs(), dense_pairs()),
    data=st.data(),
    bucket=st.sampled_from([9, 60]),
    limit=st.sampled_from([1, 3, 5000]),
)
def test_masks_gates_and_suppressions_are_what_they_are_locally(
    tmp_path: Path, pair: Pair, data: st.DataObject, bucket: int, limit: int
) -> None:
    paths = written(tmp_path, pair, data)
    names = [name for name in pair.names if name != "*"] or pair.names
    narrow = data.draw(st.booleans())
    kinds = ["hmac"] if narrow else ["redact", "last4"]
    masks = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(kinds)))
    columns = st.sampled_from(pair.columns) if pair.columns else st.nothing()
    general = [accept(name) for name in data.draw(st.lists(columns, unique=True))]
    if narrow and "*" not in masks:
        facts = Known(pair, masked=frozenset(masks))
        every = list_found(rx.diff(*paths, keys=pair.keys))
        general = [*data.draw(accepted(facts, every)), *general]
    asked: dict[str, Any] = {
        "keys": tuple(pair.keys),
        "masks": masks,
        "gates": ("mismatched_rows<=1", "missing<=0"),
        "suppressions": tuple(general),
        "detail_limit": limit,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECON_MASK_KEY", SECRET)
        there = reconciled(paths, Options(**asked), SparkSettings(40, bucket))
        here = rx.diff(*paths, sha256=True, **asked, today=DAY)
    assert shown(there) == shown(here)
    assert there.left == here.left
    assert there.coverage == here.coverage
    assert there.suppressed == here.suppressed


@pytest.mark.slow
@pytest.mark.parametrize("shares", [nullcontext, many_shares])
@pytest.mark.parametrize("limit", [3, 5000])
def test_the_causes_of_a_migration_are_those_that_are_reported_locally(
    tmp_path: Path, limit: int, shares: Callable[[], AbstractContextManager[None]]
) -> None:
    paths = migrated(tmp_path)
    drift = OnSchemaDrift.COMPARE
    options = Options(keys=("ID",), on_schema_drift=drift, detail_limit=limit)
    with shares():
        there = reconciled(paths, options, SparkSettings(500, 2000))
    here = rx.diff(
        *paths, sha256=True, keys="ID", on_schema_drift=drift, detail_limit=limit
    )
    assert shown(there) == shown(here)
    assert len(there.hints) > 4
    assert max(each.distinct for each in there.patterns) > 20
    assert there.totals


@pytest.mark.parametrize("shares", [nullcontext, many_shares])
def test_changes_that_cells_of_several_tasks_have_in_common_are_found(
    tmp_path: Path, shares: Callable[[], AbstractContextManager[None]]
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, more in zip(paths, (0, 1), strict=True):
        rows = "".join(
            f"{at},{at * 3 + more}.50,2026-0{1 + more}-{1 + at % 28:02},n{at}"
            f"{' later' * more * (at % 3 > 0)}\n"
            for at in range(90)
        )
        path.write_text("ID,PAID,DAY,NOTE\n" + rows)
    with shares():
        there = reconciled(paths, Options(keys=("ID",)), SparkSettings(300, 500))
    assert shown(there) == shown(rx.diff(*paths, sha256=True, keys="ID"))
    assert [each.formula for each in there.constants] == [
        "new = old + 1.00",
        "new = old + 31 days",
        'new = old + " later"',
    ]


def test_columns_that_would_tell_repeated_keys_apart_are_found(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in paths:
        rows = "".join(f"{at % 50},{at},{at % 2},{at // 50}\n" for at in range(200))
        path.write_text("id,line,half,part\n" + rows)
    options = Options(keys=("id",))
    there = reconciled(paths, options, SparkSettings(300, 500))
    here = rx.diff(*paths, sha256=True, keys="id")
    assert shown(there) == shown(here)
    assert [hint.column for hint in there.hints] == ["line"]


def test_values_that_differences_concentrate_in_are_found(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, value in zip(paths, "ab", strict=True):
        rows = [f"{at},bad,{value}" if at % 20 == 0 else f"{at},good,-" for at in SOME]
        path.write_text("\n".join(["id,state,v", *rows, ""]))
    there = reconciled(paths, Options(keys=("id",)), SparkSettings(1000, 4000))
    assert shown(there) == shown(rx.diff(*paths, sha256=True, keys="id"))
    assert ("state", "bad") in {(each.column, each.value) for each in there.segments}


@pytest.mark.slow
def test_the_driver_gets_no_more_rows_than_are_shown(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, value in zip(paths, "ab", strict=True):
        rows = "".join(f"{at},{value},{value}\n{at}{value},,\n" for at in range(3000))
        path.write_text("id,v,w\n" + rows)
    options = Options(keys=("id",), detail_limit=10)
    d = reconciled(paths, options, SparkSettings(4096, 4096))
    assert d.counts.mismatched_cells == 6000
    assert d.mismatches().height <= 2 * 2 * 10
    assert (d.counts.missing, d.missing().height) == (3000, UNMATCHED_ROWS)
    here = rx.diff(*paths, sha256=True, keys="id", detail_limit=10)
    assert shown(d) == shown(here)
    assert build_page_data(d)["missing"] == build_page_data(here)["missing"]


@pytest.mark.parametrize("masks", [{}, {"v": "redact"}])
def test_the_driver_gets_the_unpairable_rows_that_are_shown(
    tmp_path: Path, masks: dict[str, str]
) -> None:
    """They are no differences: these may be few, and all of them be there."""
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in paths:
        rows = "".join(f"{chr(122 - at % 26)}bad,{at}\n" for at in range(500))
        path.write_text("v,id\n" + rows)
    given: dict[str, Any] = {"keys": "id", "derive": 'x,y=split(v,"-")', "masks": masks}
    given["detail_limit"] = 2
    settings = SparkSettings(1000, 1000, whole=100)
    d = reconciled(paths, read_options(given), settings)
    here = rx.diff(*paths, sha256=True, **given)
    assert shown(d) == shown(here)
    assert (d.old.unpairable, here.unpairable().height) == (500, 1000)
    assert d.unpairable().height == 4
    of_old = [each.filter(pl.col("side") == "old").head(2) for each in
              (d.unpairable(), here.unpairable())]  # fmt: skip
    assert of_old[0].equals(of_old[1])


def test_rows_with_context_of_a_sample_are_read_again(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, value in zip(paths, "xy", strict=True):
        rows = "".join(f"1,{value}{at}\n" for at in range(6))
        path.write_text(f"id,v\n{rows}2,{value}\n3,z\n")
    options = Options(keys=("id",), detail_limit=3)
    d = reconciled(paths, options, SparkSettings(40, 40))
    pinned = replace(d, inputs=Inputs.pin(*paths, options, LIMITS))
    assert (d.mismatches().height, pinned.rows(context="all").height) == (3, 7)
    here = rx.diff(*paths, keys="id", detail_limit=3)
    assert pinned.rows(context="all").equals(here.rows(context="all"))
    # A cell that the sample has is another one: these are other inputs.
    other = replace(d.frames, cells=d.frames.cells.with_columns(old=pl.lit("w")))
    with pytest.raises(InputChanged):
        replace(pinned, frames=other).rows(context="all")


def test_a_refused_row_comes_before_a_sum_of_the_other_side(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    paths[0].write_text("id,v\n1,5\n2,6\nT,99\n")
    paths[1].write_text("id,v\n1,5\n2,6,7\n")
    given: dict[str, Any] = {"keys": "id", "old_trailer": "T", "old_trailer_sum": "2=v"}
    options = read_options(given)
    headers = tuple(
        open_input(
            path, uri=str(path), side=name, options=options, limits=LIMITS,
            folder=tmp_path,
        )
        for path, name in zip(paths, SIDES, strict=True)
    )  # fmt: skip
    sources = tuple(map(LocalSource.of, headers))
    with pytest.raises(MalformedInput) as there:
        compare_on_cluster(
            headers, sources, options, DAY,  # type: ignore[arg-type]
            cluster=InProcess(), settings=SparkSettings(40, 40),
        )  # fmt: skip
    with pytest.raises(MalformedInput) as here:
        rx.diff(*paths, **given)
    assert vars(there.value)["message"] == vars(here.value)["message"]
    assert there.value.line == here.value.line == 3


def test_an_encoding_is_proposed_where_tables_are_read_here_too(tmp_path: Path) -> None:
    """As for `--stage`."""
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in paths:
        path.write_bytes("id,v\n1,a\n2,caf\u00e9\n".encode("cp1252"))
    options = Options(keys=("id",))
    engine = SparkEngine(SparkSettings(), commits=False)

    class Both(Hooks):
        needs_tables = True

    with ExitStack() as stack:
        inputs = _NamedInputs(
            (str(paths[0]), str(paths[1])), options, LIMITS, stack, SILENT, hashes=True
        )
        with pytest.raises(EncodingError) as caught:
            engine.compare(inputs, options, DAY, SILENT, Both())
    assert "--encoding cp1252 (OLD: " in str(caught.value.help)


def whole(out: Path, kind: str) -> pl.DataFrame:
    """What the manifest tells to read, as one frame."""
    manifest = json.loads((out / "manifest.json").read_text())
    named = [part for part in manifest["parts"] if f"/{kind}/" in part["name"]]
    frames = [pl.read_parquet(out / part["name"]) for part in named]
    assert [frame.height for frame in frames] == [part["rows"] for part in named]
    return pl.concat(frames)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_the_whole_difference_is_written_in_parts_and_committed_once(
    tmp_path: Path, *, masked: bool
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, value in zip(paths, "ab", strict=True):
        rows = "".join(f"{at},{value}\n{at}{value},x\n" for at in range(500))
        path.write_text("id,v\n" + rows)
    out = tmp_path / "out"
    left = out / f"{0:032}" / "mismatches" / "part-999999.parquet"
    left.parent.mkdir(parents=True)
    left.write_text("of an attempt that died")
    masks = {"v": "redact"} if masked else {}
    options = Options(keys=("id",), masks=masks, detail_limit=3)
    settings = SparkSettings(1000, 1000, out=str(out))
    d = reconciled(paths, options, settings)
    here = rx.diff(*paths, sha256=True, keys="id", masks=masks)
    assert d.mismatches().height < 20
    for kind in ("mismatches", "missing", "extra"):
        frame: pl.DataFrame = getattr(here.frames, kind)
        assert len(list(out.glob(f"*/{kind}/part-0*"))) > 5
        by = frame.columns
        found = whole(out, kind).with_columns(pl.col(pl.String).cast(pl.String))
        plain = frame.with_columns(pl.col(pl.Enum).cast(pl.String))
        assert found.sort(by).equals(plain.sort(by))
    with pytest.raises(ConfigError, match="contains a difference"):
        reconciled(paths, options, settings)


def test_a_key_on_too_many_rows_is_named_before_memory_ends(tmp_path: Path) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path in paths:
        path.write_text("id,v\n" + "same,x\n" * 20_000)
    settings = SparkSettings(1 << 14, 1 << 14, most=200_000)
    with pytest.raises(OutOfBudget, match="a bucket of keys takes more than 200,000"):
        reconciled(paths, Options(keys=("id",)), settings)


@pytest.mark.slow
def test_a_column_of_too_many_changes_is_named_before_memory_ends(
    tmp_path: Path,
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, value in zip(paths, "ab", strict=True):
        rows = "".join(f"{at},{at}{value * 100}\n" for at in range(500))
        path.write_text("id,v\n" + rows)
    settings = SparkSettings(1 << 12, 1 << 12, most=40_000)
    with pytest.raises(OutOfBudget, match="the changes of a column take more than"):
        reconciled(paths, Options(keys=("id",)), settings)


@pytest.mark.slow
def test_of_too_many_only_hints_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, drift = migrated(tmp_path), OnSchemaDrift.COMPARE
    here = rx.diff(*paths, sha256=True, keys="ID", on_schema_drift=drift)
    monkeypatch.setattr(column_changes, "MAX_CHANGES", 20)
    monkeypatch.setattr(partial_result, "MAX_KEYS", 20)
    options = Options(keys=("ID",), on_schema_drift=drift)
    there = reconciled(paths, options, SparkSettings(500, 2000))
    assert shown(with_findings(there, hints=here.hints)) == shown(here)
    distinct = {each.column: each.distinct for each in here.patterns}
    rules = {each.column for each in there.hints if each.kind == HintKind.RULE}
    assert rules == {
        each.column
        for each in here.hints
        if each.kind == HintKind.RULE and distinct[each.column] <= 20
    }
    few = frozenset(name for name, changes in distinct.items() if changes <= 20)
    assert (here.examined, there.examined) == (frozenset(distinct), few)
    assert few < here.examined
    assert not any(each.kind == HintKind.KEY_RULE for each in there.hints)
