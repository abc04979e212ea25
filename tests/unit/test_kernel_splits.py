"""The tasks of a cluster cut, digest, match and read rows as one machine does."""

from __future__ import annotations

import itertools
import re
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compared_pairs import written
from support.spark_cluster import InProcess
from support.strategies import FEWER, Pair, pairs
from support.suppressed_pairs import DAY

import recon_engine as rx
from recon_engine.compare.plan import make_plan
from recon_engine.config import OnBadRow, Options
from recon_engine.errors import ConfigError, MalformedInput
from recon_engine.inputs.header import read_header
from recon_engine.inputs.native import binding
from recon_engine.inputs.native.binding import Matched
from recon_engine.spark import driver, rows, split_tasks, splits, worker_daemon
from recon_engine.spark.byte_sources import FileBytes, LocalSource
from recon_engine.spark.driver import compare_on_cluster
from recon_engine.spark.kernel_splits import (
    digest_natively,
    match_natively,
    plan_for_kernel,
)
from recon_engine.spark.packets import Packet
from recon_engine.spark.session import (
    JAVA_OPTIONS,
    _read_packets,
    _run_on_all_packets,
    settings_of_processes,
)
from recon_engine.spark.settings import SparkSettings
from recon_engine.spark.split_tasks import blocks_of
from recon_engine.spark.splits import Split, cut_at_newlines
from recon_engine.spark.worker_daemon import prefer_installed_pyspark


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from recon_engine.inputs.header import Header
    from recon_engine.result import Reconciliation
    from recon_engine.spark.packets import Packets

needs_kernel = pytest.mark.skipif(
    binding.load_library() is None,
    reason="the kernel is not built, or RECON_NATIVE is 0",
)
LISTS = (
    (Matched.PAIRED_OLD, Matched.MISSING, Matched.REPEATED_OLD),
    (Matched.PAIRED_NEW, Matched.EXTRA, Matched.REPEATED_NEW),
)


def compare(
    paths: tuple[Path, Path], options: Options, span: int, bucket: int = 4000
) -> Reconciliation:
    """Two files by the tasks of a cluster, in this process."""
    old, new = (read_header(path, on_bad_row=options.on_bad_row) for path in paths)
    return compare_on_cluster(
        (old, new),
        (LocalSource.of(old), LocalSource.of(new)),
        options,
        DAY,
        cluster=InProcess(),
        settings=SparkSettings(span, bucket),
    )


def shown(d: Reconciliation) -> dict[str, Any]:
    document = d.to_dict()
    document.pop("engine")
    return document


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An item for each time that files are counted."""
    found: list[int] = []
    count = split_tasks.count_splits

    def counted(*arguments: Any) -> Any:
        found.append(1)
        return count(*arguments)

    monkeypatch.setattr(driver, "count_splits", counted)
    return found


def write_pair(
    folder: Path, lines: Sequence[str], edit: Callable[[str], str] = str
) -> tuple[Path, Path]:
    """A pair in another order, in which some rows differ."""
    old, new = folder / "old.csv", folder / "new.csv"
    other = [line.replace(",7,", ",8,") for line in reversed(lines)]
    for path, content in ((old, lines), (new, other)):
        path.write_bytes(edit("".join(["id,v,w\n", *content])).encode())
    return old, new


PLAIN = [f"{at},{at % 13},{'x' * (at % 17)}\n" for at in range(400)]
WITH_LINES = [f'y{at},{at % 13},"a\nb"\n' for at in range(400)]


@needs_kernel
@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "edit", "counted"),
    [
        (PLAIN, str, 0),
        (PLAIN, lambda text: re.sub(r"(x+)$", r'"\1,"', text, flags=re.MULTILINE), 0),
        (PLAIN, lambda text: text.replace("\n", "\r\n"), 0),
        (PLAIN, lambda text: text + "\n\n", 0),
        (PLAIN, str.rstrip, 0),
        # The first is beyond the bytes that say what lines are probably like.
        ([*PLAIN * 60, *WITH_LINES, *PLAIN * 60], str, 1),
        (WITH_LINES, str, 1),
    ],
    ids=["plain", "quotes", "CRLF", "blank end", "no end", "late lines", "lines"],
)
def test_files_are_counted_only_where_a_line_may_be_no_record(
    tmp_path: Path,
    counts: list[int],
    lines: list[str],
    edit: Callable[[str], str],
    counted: int,
) -> None:
    paths = write_pair(tmp_path, lines, edit)
    size = paths[0].stat().st_size // 300
    there = compare(paths, Options(keys=("id",)), size, 100 * size)
    here = rx.diff(*paths, sha256=True, keys="id", today=DAY)
    assert shown(there) == shown(here)
    assert here.counts.mismatched_rows
    assert there.engine.kernel == "native"
    assert len(counts) == counted
    expected = "columns on spark" if counted else "line on spark"
    assert there.engine.strategy == expected


@needs_kernel
@pytest.mark.slow
@pytest.mark.parametrize("policy", OnBadRow)
@pytest.mark.parametrize("bad", ["1,2\n", 'a,b"c,\n', "\n", 'q,"r,\n', "b\0d,\r,\n"])
def test_an_error_is_that_of_the_local_engine_with_its_line(
    tmp_path: Path, counts: list[int], bad: str, policy: OnBadRow
) -> None:
    paths = write_pair(tmp_path, [*PLAIN[:300], bad, *PLAIN[300:]])
    options = Options(keys=("id",), on_bad_row=policy)
    runs: tuple[Callable[[], Reconciliation], ...] = (
        lambda: compare(paths, options, 250),
        lambda: rx.diff(*paths, sha256=True, keys="id", on_bad_row=policy, today=DAY),
    )
    outcomes = []
    for run in runs:
        try:
            outcomes.append(shown(run()))
        except MalformedInput as error:
            outcomes.append({"message": error.message, "line": error.line})
    assert outcomes[0] == outcomes[1]
    assert len(counts) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000])
@given(
    text=st.text("ab\n", max_size=60),
    step=st.integers(1, 5),
    start=st.integers(0, 9),
)
def test_each_line_is_in_the_block_in_which_it_begins(
    size: int, text: str, step: int, start: int
) -> None:
    data, end = b"h" * start + text.encode(), start + len(text)
    read = _read_of(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "SEARCH_BYTES", step)
        blocks = [Split(at, min(at + size, end), 0) for at in range(start, end, size)]
        cuts = [cut_at_newlines(block, read, start, end) for block in blocks]
    assert all(cut is not None for cut in cuts)
    lines = [start, *(at + 1 for at in range(start, end) if data[at : at + 1] == b"\n")]
    for block, cut in zip(blocks, cuts, strict=True):
        assert cut is not None
        begin = [at for at in lines if block.start <= at < block.end]
        assert cut.start == cut.end or begin
        assert not begin or cut.start == begin[0]
    joined = [each for each in cuts if each is not None and each.start < each.end]
    assert b"".join(data[each.start : each.end] for each in joined) == data[start:]


def test_the_end_of_a_long_line_is_not_searched_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splits, "LINE_BYTES", 50)
    read = _read_of(b"a" * 100 + b"\n")
    assert cut_at_newlines(Split(0, 20, 0), read, 0, 101) is None
    assert cut_at_newlines(Split(0, 90, 0), read, 0, 101) == Split(0, 101, 0)


def _read_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda size, offset: data[offset : offset + size]


KEYED = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=80)


@needs_kernel
@given(
    old=KEYED, new=KEYED, size=st.sampled_from([12, 60, 5000]), bits=st.integers(0, 5)
)
def test_digests_of_spans_are_matched_as_dictionaries_match_rows(
    tmp_path: Path,
    old: list[tuple[int, int]],
    new: list[tuple[int, int]],
    size: int,
    bits: int,
) -> None:
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    for path, content in zip(paths, (old, new), strict=True):
        path.write_text("k,v\n" + "".join(f"{k},{v}\n" for k, v in content))
    headers = read_header(paths[0]), read_header(paths[1])
    buckets: dict[int, tuple[list[Any], list[Any]]] = {}
    for side, span, digests in _digest(headers, size, bits):
        for bucket, entries in digests:
            found = buckets.setdefault(bucket, ([], []))
            found[side].append((span.start, entries))
    answers: list[list[list[tuple[int, int]]]] = [[[], [], []], [[], [], []]]
    identical = 0
    for sides in buckets.values():
        arrays = [[each for _, each in side] for side in sides]
        with match_natively(arrays, bits) as matched:
            identical += matched.identical
            for at, placed in enumerate(sides):
                offsets = [
                    start + int(number)
                    for start, each in placed
                    for number in each["number"]
                ]
                for which, answer in zip(LISTS[at], answers[at], strict=True):
                    answer.extend(
                        _row_at(paths[at], offsets[number])
                        for number in matched.numbers(which)
                    )
    counted = [Counter(key for key, _ in content) for content in (old, new)]
    repeated = {key for each in counted for key, n in each.items() if n > 1}
    for at, (mine, other) in enumerate(((old, new), (new, old))):
        theirs = {key: value for key, value in other if key not in repeated}
        once = [row for row in mine if row[0] not in repeated]
        assert sorted(answers[at][0]) == sorted(
            row for row in once if row[0] in theirs and theirs[row[0]] != row[1]
        )
        assert sorted(answers[at][1]) == sorted(r for r in once if r[0] not in theirs)
        assert sorted(answers[at][2]) == sorted(r for r in mine if r[0] in repeated)
    both = {*old} & {*new}
    assert identical == sum(key not in repeated for key, _ in both)


def _digest(
    headers: tuple[Header, Header], size: int, bits: int
) -> Iterator[tuple[int, Split, list[tuple[int, NDArray[np.void]]]]]:
    sources = [LocalSource.of(header) for header in headers]
    with sources[0].opened() as first, sources[1].opened() as second:
        reads = first, second
        plan = make_plan(*headers, Options(keys=("k",)), reads)
        kernel = plan_for_kernel(headers, plan)
        assert kernel is not None
        for side, block in blocks_of(headers, size):
            header, read = headers[side], reads[side]
            cut = cut_at_newlines(block, read, len(header.raw), header.end)
            assert cut is not None
            how = replace(kernel[side], bits=bits)
            names = plan.names[side]
            with digest_natively(how, header, cut, read, names, block.start) as found:
                assert found is not None
                yield side, block, list(found.digests_by_bucket())


def _row_at(path: Path, offset: int) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[offset - 1 : offset] == b"\n"
    key, value = data[offset:].split(b"\n", 1)[0].split(b",")
    return int(key), int(value)


RECORD = st.lists(
    st.sampled_from(["", "a", "bb", '"c\nd"', '"e""\n\n""f"', "g" * 40, '"h,i"']),
    min_size=2,
    max_size=2,
).map(",".join)


@given(
    records=st.lists(RECORD, min_size=1, max_size=30),
    chosen=st.sets(st.integers(0, 29), min_size=1),
    ends=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    sizes=st.tuples(*[st.sampled_from([1, 9, 60, 1 << 20])] * 3),
    start=st.integers(0, 3),
)
def test_wanted_rows_are_read_as_they_are_written(
    tmp_path: Path,
    records: list[str],
    chosen: set[int],
    ends: str,
    last: bool,  # noqa: FBT001
    sizes: tuple[int, int, int],
    start: int,
) -> None:
    texts = [(record + ends).encode() for record in records]
    if not last:
        texts[-1] = texts[-1].removesuffix(ends.encode())
    data = b"x" * start + b"".join(texts)
    begins = [start, *itertools.accumulate(map(len, texts), initial=start)][1:-1]
    numbers = sorted(at for at in chosen if at < len(records))
    if not numbers:
        return
    wanted = np.zeros(len(numbers), rows.WANTED_TYPE)
    wanted["offset"] = [begins[at] - start for at in numbers]
    wanted["key"] = numbers
    bucket = np.array(numbers) % 3
    path = tmp_path / "rows"
    path.write_bytes(data + b"a trailer")
    with path.open("rb") as file, pytest.MonkeyPatch.context() as patch:
        window, gap, batch = sizes
        patch.setattr(rows, "BATCH_BYTES", batch)
        patch.setattr(rows, "TAIL_BYTES", 1)
        table = rows.TableReader(FileBytes(file.fileno()), len(data), window, gap, 0)
        span = Split(start, len(data), 0)
        packets = list(rows.send_rows(1, table, span, wanted, bucket))
    found = {}
    for packet in packets:
        taken = packet.open()
        cuts = np.cumsum(taken.rows["size"], dtype=np.int64)
        assert (taken.side, cuts[-1]) == (1, len(taken.text))
        for key, end, size in zip(
            taken.rows["key"], cuts, taken.rows["size"], strict=True
        ):
            assert int(key) % 3 == packet.place
            found[int(key)] = taken.text[end - size : end]
    whole = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    assert found == {at: whole[at] for at in numbers}


@given(arrays=st.lists(st.binary(max_size=20), max_size=4), text=st.text(max_size=9))
def test_a_packet_has_what_was_put_in(arrays: list[bytes], text: str) -> None:
    content = text, [np.frombuffer(each, np.uint8) for each in arrays]
    packet = Packet.for_task(3, content)
    moved = Packet(3, found=False, data=memoryview(bytes(packet.data)))
    found, views = moved.open()
    assert found == text
    assert [bytes(view) for view in views] == arrays


@pytest.mark.parametrize("number", [0, 33, 234])
def test_what_a_task_gathers_is_at_its_own_place(number: int) -> None:
    """The next round deals packets by their place: one task would get all of them."""

    def work(at: int, packets: Packets) -> Packets:
        yield Packet.for_driver(at, len([*packets]))

    [written] = _run_on_all_packets(work, 1, number, iter(()))
    assert [each.place for each in _read_packets([written])] == [number]


def test_a_place_within_a_span_has_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", "4GiB")
    assert SparkSettings.from_environment().span == 1 << 32
    monkeypatch.setenv("RECON_SPARK_SPAN_BYTES", str((1 << 32) + 1))
    with pytest.raises(ConfigError, match="more than 4GiB"):
        SparkSettings.from_environment()


def test_an_empty_place_for_the_difference_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECON_SPARK_OUT", " ")
    with pytest.raises(ConfigError, match="RECON_SPARK_OUT is set to an empty value"):
        SparkSettings.from_environment()


@pytest.mark.parametrize(
    ("size", "bits"), [(0, 0), (100, 0), (101, 1), (200, 1), (401, 3), (1 << 40, 16)]
)
def test_buckets_are_as_large_as_requested_or_smaller(size: int, bits: int) -> None:
    assert SparkSettings(bucket=100).bucket_bits(size) == bits


@pytest.mark.parametrize("master", ["yarn", "spark://host:7077", "k8s://https://host"])
def test_java_of_another_cluster_keeps_its_options(master: str) -> None:
    assert settings_of_processes(master) == {}
    here = settings_of_processes("local-cluster[2,1,1024]")
    assert here == settings_of_processes("local[*]")
    assert here["spark.python.daemon.module"] == worker_daemon.__name__
    assert here["spark.executor.extraJavaOptions"] == JAVA_OPTIONS


def test_python_takes_its_pyspark_from_the_archive_only_if_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "site" / "pyspark"
    archive = home / "python" / "lib" / "pyspark.zip"
    archive.parent.mkdir(parents=True)
    other = str(tmp_path / "other")
    monkeypatch.setattr(sys, "path", [str(archive), other])
    monkeypatch.delenv("SPARK_HOME", raising=False)
    prefer_installed_pyspark()
    assert sys.path == [str(archive), other]
    # A Spark that is not a wheel: only the archive is surely of its version.
    monkeypatch.setenv("SPARK_HOME", str(home))
    prefer_installed_pyspark()
    assert sys.path == [str(archive), other]
    sys.path.append(str(home.parent))
    prefer_installed_pyspark()
    assert sys.path == [other, str(home.parent)]


@needs_kernel
@pytest.mark.slow
@FEWER
@given(pair=pairs(), data=st.data(), span=st.sampled_from([5, 30, 1 << 20]))
def test_any_pair_is_the_same_counted_or_not(
    tmp_path: Path, pair: Pair, data: st.DataObject, span: int
) -> None:
    paths = written(tmp_path, pair, data)
    options = Options(keys=tuple(pair.keys))
    there = shown(compare(paths, options, span, 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_may_be_miscut", lambda _: True)
        assert shown(compare(paths, options, span, 60)) == there
    here = rx.diff(*paths, sha256=True, keys=pair.keys, today=DAY)
    assert there == shown(here)
