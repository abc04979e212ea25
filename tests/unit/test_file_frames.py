"""What is around a table: each option, every reader, and an independent reference."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.draws import ByteDraws, QuickDraws
from support.flags import diff
from support.frame_reference import Frame, read_framed
from support.framed import (
    READ_SIZES,
    Checker,
    Depth,
    by_kernel,
    by_numpy,
    effective_options,
    in_splits,
    make_case,
    rows_alone,
)
from support.program import recon

from recon_engine.compare.explain import explain_key
from recon_engine.config import (
    FixedColumn,
    OnBadRow,
    Options,
    SideOptions,
    read_layout,
    split_delimiters,
    write_delimiters,
)
from recon_engine.errors import (
    ConfigError,
    EmptyFile,
    InternalError,
    MalformedInput,
    ReconError,
)
from recon_engine.inputs import header, trailer_sums
from recon_engine.inputs.native import binding
from recon_engine.result_document import write_markdown


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import recon_engine as rx


PLAIN = "ID,A\n1,x\n2,y\n"
KERNEL = pytest.mark.skipif(binding.load_library() is None, reason="no kernel")

BLOCKS = st.sampled_from([1, 7, 1 << 18])


@given(seed=st.integers(0, 1 << 40), block=BLOCKS)
@example(seed=0, block=1)
def test_a_framed_file_is_read_as_the_reference_reads_it(
    tmp_path: Path, seed: int, block: int
) -> None:
    data, frame = make_case(random.Random(seed))
    expected = read_framed(data, frame)
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, least in READ_SIZES:
            patch.setattr(module, name, max(block, least))
        assert by_numpy(path, frame) == expected, (data, frame)
        if binding.load_library() is not None:
            assert by_kernel(path, frame) == expected, (data, frame)
    splits = in_splits(1 + block % 11)
    assert splits(path, frame) == rows_alone(expected), (data, frame)


@given(
    inputs=st.lists(st.binary(max_size=160), min_size=1, max_size=3),
    depth=st.builds(Depth, python=st.booleans(), size=st.sampled_from([0, 1, 9])),
    block=BLOCKS,
)
def test_any_bytes_decide_files_that_all_readers_read_alike(
    tmp_path_factory: pytest.TempPathFactory,
    inputs: list[bytes],
    depth: Depth,
    block: int,
) -> None:
    kernel = binding.load_library() is not None
    checker = Checker(tmp_path_factory.mktemp("f"), kernel=kernel)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, least in READ_SIZES:
            patch.setattr(module, name, max(block, least))
        for at, given in enumerate(inputs):
            data, frame = make_case(ByteDraws(given))
            each = dataclasses.replace(depth, parsers=not at)
            accepted = checker.check(data, frame, each)
            assert accepted == (read_framed(data, frame) is not None)
        checker.finish()


@pytest.mark.slow
def test_the_files_that_are_drawn_depend_on_each_of_their_options() -> None:
    draw = QuickDraws(1)
    cases = [make_case(draw) for _ in range(1_000)]
    counts = Counter(name for case in cases for name in effective_options(*case))
    # A count and a sum matter only if they are wrong.
    assert counts.pop("trailer_count") > 5
    assert counts.pop("trailer_sum") > 5
    assert set(counts) == {each.name for each in dataclasses.fields(Frame)} - {
        "trailer_count",
        "trailer_sum",
    }
    assert min(counts.values()) > 15
    accepted = sum(read_framed(*case) is not None for case in cases)
    assert 0.4 < accepted / len(cases) < 0.7


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("cut", range(-1, 4))
def test_a_comment_prefix_is_found_where_the_first_bytes_end(
    tmp_path: Path, cut: int
) -> None:
    title = "x" * (header.FIRST_BYTES - 1 - cut) + "\n"
    old = f"{title}--a\n--b\nID,A\n1,x\n2,y\n"
    framing = {"old_skip_lines": 1, "old_comment_prefix": "--"}
    assert compare(tmp_path, old, **framing).agrees


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("letter", ["é", "€", "🙂", "\ufeff"])
@pytest.mark.parametrize("cut", range(4))
def test_a_character_is_read_where_the_first_bytes_end(
    tmp_path: Path, cut: int, letter: str
) -> None:
    title = "x" * (header.FIRST_BYTES - 1 - cut) + "\n"
    old = f"{title}{letter}D,A\n1,x\n2,y\n"
    options = {"renames": {f"{letter}D": "ID"}, "keys": f"{letter}D"}
    assert compare(tmp_path, old, old_skip_lines=1, **options).agrees


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.fixture(params=["native", "numpy"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both readers of the local engine."""
    if request.param == "numpy":
        monkeypatch.setattr(binding, "load_library", lambda: None)
    elif binding.load_library() is None:
        pytest.skip("no kernel")
    return str(request.param)


def compare(folder: Path, old: str | bytes, **options: Any) -> rx.Reconciliation:
    """Compare a file with the plain table."""
    pair = write(folder, "o.csv", old), write(folder, "n.csv", PLAIN)
    return diff(*pair, **{"keys": "ID", **options})


def refuse(folder: Path, old: str | bytes, **options: Any) -> ReconError:
    with pytest.raises(ReconError) as caught:
        compare(folder, old, **options)
    return caught.value


FITS: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "lines before": (
        'Title\n\nwith "a quote\nID,A\n1,x\n2,y\n',
        {"old_skip_lines": 3},
        "3 lines are skipped before the header",
    ),
    "comments": (
        "# a\r\n#\nID,A\n1,x\n2,y\n",
        {"old_comment_prefix": "#"},
        "2 comment lines are skipped",
    ),
    "no header, named": (
        "1,x\n2,y\n",
        {"old_no_header": True, "old_names": ("ID", "A")},
        "no header, 2 columns are named",
    ),
    "trailing": (
        "ID,A,\n1,x,\n2,y,\n",
        {"old_trailing_delimiter": True},
        "each record ends with a delimiter",
    ),
    "trailing, but for the header": (
        "ID,A\r\n1,x,\r\n2,y,\r\n",
        {"old_trailing_delimiter": True},
        "each record ends with a delimiter",
    ),
    "trailing quoted blank": (
        'ID,A,\n1,x,""\n2,y,\n',
        {"old_trailing_delimiter": True},
        "each record ends with a delimiter",
    ),
    "trailer": (
        "ID,A\n1,x\n2,y\nTRL,2",
        {"old_trailer": "TRL", "old_trailer_count": "2"},
        "1 trailer record is no row",
    ),
    "two trailers of another form, blank lines": (
        "ID,A\n1,x\n2,y\nSUM|3\nEND|2|3\n\n",
        {
            "old_trailer": ("SUM", "END"),
            "old_trailer_delimiter": "|",
            "old_trailer_count": "END:2",
            "old_trailer_sum": ("SUM:2=ID", "END:3=ID"),
        },
        "2 trailer records are no row",
    ),
    "quotes are ordinary": (
        'ID;"A\n1;x\n2;y\n',
        {"old_quote": "none", "delimiter": ";:,", "renames": {'"A': "A"}},
        "quotes are ordinary characters",
    ),
    "a fixed width": (
        " 1x\n 2y\nT|2\n",
        {
            "old_fixed": "ID:2-2,A:3-3",
            "old_trailer": "T",
            "old_trailer_delimiter": "|",
            "old_trailer_count": "2",
        },
        "1 trailer record is no row, fixed width, 2 columns",
    ),
    "a trailer that is longer than a line": (
        "1x\n2y\nTRAILER 2\n",
        {"old_fixed": "ID:1-1,A:2-2", "old_trailer": "TRAILER"},
        "1 trailer record is no row, fixed width, 2 columns",
    ),
    "text as Excel writes it": (
        'ID,A\n="1",x\n="2","y"\n',
        {"old_excel_text": True},
        "2 fields of the form of Excel are read",
    ),
    "end mark": (
        b"ID,A\n1,x\n2,y\n\x1a",
        {"old_eof_mark": True},
        "1 end mark is no data",
    ),
    "end mark behind a trailer": (
        b"ID,A\r\n1,x\r\n2,y\r\nTRL,2\r\n\x1a",
        {"old_eof_mark": True, "old_trailer": "TRL"},
        "1 trailer record is no row, 1 end mark is no data",
    ),
}


@pytest.mark.parametrize("case", FITS)
def test_a_file_with_its_option_agrees_and_says_what_was_applied(
    tmp_path: Path, reader: str, case: str
) -> None:
    text, options, applied = FITS[case]
    found = compare(tmp_path, text, **options, sha256=True)
    assert found.agrees
    assert (found.old.rows, found.counts.matched) == (2, 2)
    assert found.reading() == (f"old file: {applied}", *found.renaming())
    assert found.engine.kernel == reader
    size = len(text.encode() if isinstance(text, str) else text)
    assert found.old.bytes == size
    document = json.loads(found.to_json())
    assert document["old"]["dialect"]["frame"]
    assert "frame" not in document["new"]["dialect"]
    assert applied in write_markdown(found)
    assert applied in found.to_html()


@pytest.mark.slow
@pytest.mark.parametrize("case", FITS)
def test_hash_and_options_are_those_of_the_delivered_file(
    tmp_path: Path, reader: str, case: str
) -> None:
    text, options, _ = FITS[case]
    data = text.encode() if isinstance(text, str) else text
    found = compare(tmp_path, data, **options, sha256=True)
    assert found.old.sha256 == hashlib.sha256(data).hexdigest(), reader
    packed = write(tmp_path, "o.csv.gz", gzip.compress(data))
    again = diff(packed, tmp_path / "n.csv", keys="ID", **options)
    assert again.agrees


@pytest.mark.parametrize("case", FITS)
def test_without_its_option_a_file_is_not_equal(tmp_path: Path, case: str) -> None:
    text, _, _ = FITS[case]
    with contextlib.suppress(ReconError):
        assert not compare(tmp_path, text).agrees


REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str, tuple[int | None, int]]] = {
    "fewer lines": ("a\nb", {"old_skip_lines": 3}, "the file has 2 lines", (3, 3)),
    "comment as wide as the header": (
        "#ID,A\nID,A\n1,x\n",
        {"old_comment_prefix": "#"},
        "a comment line has as many fields as the header",
        (1, 0),
    ),
    "the second comment of three, with a mark and carriage returns": (
        "\ufeff#é\r\n#ID,A\r\n#\r\nID,A\r\n1,x\r\n",
        {"old_comment_prefix": "#"},
        "a comment line has as many fields as the header",
        (2, 8),
    ),
    "another number of names": (
        "1,x\n2,y\n",
        {"old_no_header": True, "old_names": ("ID", "A", "B")},
        "the first record has 2 fields",
        (1, 0),
    ),
    "a last field that is not empty": (
        "ID,A,\n1,x,\n2,y,z\n",
        {"old_trailing_delimiter": True},
        "a record that does not end with a delimiter",
        (3, 11),
    ),
    "no last field": (
        "ID,A,\n1,x,\n2,y\n",
        {"old_trailing_delimiter": True},
        "a row of 2 fields under a header of 3 with the delimiter at its end",
        (3, 11),
    ),
    "no trailer": (
        "ID,A\n1,x\n2,y\n",
        {"old_trailer": "TRL"},
        "the file does not end with a record TRL: it may be cut",
        (3, 9),
    ),
    "a trailer inside": (
        "ID,A\n1,x\nTRL,1\n2,y\nTRL,1\n",
        {"old_trailer": "TRL"},
        "an unexpected trailer: the first field of a record is TRL",
        (3, 9),
    ),
    "a quoted trailer inside": (
        'ID,A\n1,x\n"TRL",1\n2,y\nTRL,1\n',
        {"old_trailer": "TRL"},
        "an unexpected trailer: the first field of a record is TRL",
        (3, 9),
    ),
    "a wrong count": (
        "ID,A\n1,x\n2,y\nTRL,3\n",
        {"old_trailer": "TRL", "old_trailer_count": "2"},
        "the trailer says 3 records, the file has 2",
        (4, 13),
    ),
    "a wrong sum": (
        "ID,A\n1,x\n2,y\nTRL,4\n",
        {"old_trailer": "TRL", "old_trailer_sum": "2=ID"},
        "field 2 of the trailer is not the sum of ID",
        (4, 13),
    ),
    "a summand that is no number": (
        "ID,A\n1,x\n2,y\nTRL,4\n",
        {"old_trailer": "TRL", "old_trailer_sum": "2=A"},
        "a column that the trailer sums has a value that is no number",
        (4, 13),
    ),
    "a count that is no number": (
        "ID,A\n1,x\n2,y\nTRL,twelve\n",
        {"old_trailer": "TRL", "old_trailer_count": "2"},
        "field 2 of the trailer is not a number",
        (4, 13),
    ),
    "no such field": (
        "ID,A\n1,x\n2,y\nTRL,2\n",
        {"old_trailer": "TRL", "old_trailer_count": "9"},
        "the trailer has 2 fields",
        (4, 13),
    ),
    "overlapping delimiters": (
        "ID||A\n1||x\n2|||y\n",
        {"delimiter": "||:,"},
        "overlapping delimiters",
        (3, 12),
    ),
    "a line of another length": (
        "1x\n2yz\n",
        {"old_fixed": "ID:1-1,A:2-2"},
        "a line of 3 characters",
        (2, 3),
    ),
    "a fixed trailer inside": (
        "1x\nT1\n2y\nT2\n",
        {"old_fixed": "ID:1-1,A:2-2", "old_trailer": "T"},
        "an unexpected trailer: a line begins with T",
        (2, 3),
    ),
    "a long trailer inside": (
        "1x\nTRAILER 1\n2y\nTRAILER 2\n",
        {"old_fixed": "ID:1-1,A:2-2", "old_trailer": "TRAILER"},
        "an unexpected trailer: a line begins with TRAILER",
        (2, 3),
    ),
    "a long trailer missing": (
        "1x\n2y\n",
        {"old_fixed": "ID:1-1,A:2-2", "old_trailer": "TRAILER"},
        "the file does not end with a record TRAILER: it may be cut",
        (2, 3),
    ),
    "a count of more digits than a number of Python may have": (
        f"ID,A\n1,x\nT,{'9' * 5_000}\n",
        {"old_trailer": "T", "old_trailer_count": "2"},
        "the trailer says a number of 5,000 digits, the file has 1",
        (3, 9),
    ),
    "text after the form of Excel": (
        'ID,A\n="1"0,x\n2,y\n',
        {"old_excel_text": True},
        "a quote inside an unquoted field",
        (2, 6),
    ),
    "a row of three behind an offset that moves": (
        'ID|~|A\n1|~|"x"\n2|~|y|~|z\n',
        {"delimiter": "|~|:,"},
        "a row of 3 fields under a header of 2",
        (3, 15),
    ),
    "a name that is taken": (
        "ID,,c2\n1,x,z\n",
        {"old_blank_names": "number", "on_schema_drift": "compare"},
        "column 2 cannot be named by its number: another column has that name",
        (1, 0),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_at_its_place(
    tmp_path: Path, reader: str, case: str
) -> None:
    text, options, message, place = REFUSED[case]
    error = refuse(tmp_path, text, **options)
    assert (error.message, error.line, error.byte_offset) == (message, *place), reader
    assert error.help
    assert error.why
    # Neither a sum nor a value is in it.
    assert "twelve" not in f"{error}{error.why}{error.help}"


def test_a_trailer_counts_rejected_records(tmp_path: Path, reader: str) -> None:
    text = "ID,A\n1,x\n2,y\n3\nTRL,3\n"
    options = {"old_trailer": "TRL", "on_bad_row": "quarantine"}
    found = compare(tmp_path, text, **options, old_trailer_count="2")
    assert (found.old.rows, found.old.rejected) == (3, 1), reader
    bad = text.replace("L,3", "L,2")
    error = refuse(tmp_path, bad, **options, old_trailer_count="2")
    assert error.message == "the trailer says 2 records, the file has 3"


def test_a_field_behind_a_trailing_delimiter_can_be_quarantined(tmp_path: Path) -> None:
    text = "ID,A,\n1,x,\n3,z,lost\n2,y,\n"
    options = {"old_trailing_delimiter": True, "on_bad_row": "quarantine"}
    found = compare(tmp_path, text, **options)
    assert (found.old.rejected, found.counts.matched) == (1, 2)
    assert "does not end with a delimiter" in found.rejects()["reason"][0]


def test_sums_are_read_by_the_rule_of_their_column_and_exactly(tmp_path: Path) -> None:
    old = "ID;PAID\n1;0.1\n2;1,000.20\n3;-5\nT;995.3\n"
    pair = write(tmp_path, "o.csv", old), write(tmp_path, "n.csv", old)
    options: dict[str, Any] = {
        "keys": "ID",
        "delimiter": ";",
        "trailer": "T",
        "trailer_sum": "2=PAID",
    }
    assert diff(*pair, **options).agrees
    pair[1].write_text(old.replace("995.3", "995.30001"))
    with pytest.raises(MalformedInput, match="is not the sum of PAID"):
        diff(*pair, **options)
    with pytest.raises(ConfigError, match="has no column PIAD"):
        diff(*pair, **{**options, "trailer_sum": "2=PIAD"})


# The rows and the trailer of both files, the options, and whether the sum is right.
SUMMED: list[tuple[str, dict[str, Any], bool]] = [
    # The rule of the column goes before that of `*`.
    ("1;1050|T;1050.0", {"rules": {"*": "scale(2)", "PAID": "decimal"}}, True),
    ("1;1050|T;10.50", {"rules": {"*": "scale(2)", "PAID": "decimal"}}, False),
    ("1;1.234,50|T;1.234,50",
     {"rules": {"*": "decimal", "PAID": "decimal(comma)"}}, True),
    ("1;1050|T;10.50", {"rules": {"*": "scale(2)"}}, True),
    ("1;1050|T;1050.0", {"rules": {"*": "scale(2)"}}, False),
    ("1;1050|T;10.50",
     {"rules": {"PAID": "decimal"}, "old_rules": {"*": "decimal"},
      "new_rules": {"*": "scale(2)"}}, False),
    # Names are equal in the forms of --match-names.
    ("1;1.234,50|T;1.234,50",
     {"rules": {" paid": "decimal(comma)"}, "match_names": "trim,casefold"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "options", "is_right"), SUMMED)
def test_a_trailer_sums_a_column_by_the_rules_that_compare_it(
    tmp_path: Path, rows: str, options: dict[str, Any], is_right: object
) -> None:
    text = "ID;PAID\n" + rows.replace("|", "\n") + "\n"
    pair = write(tmp_path, "o.csv", text), write(tmp_path, "n.csv", text)
    options = {"keys": "ID", "delimiter": ";", "trailer": "T", **options}
    options["trailer_sum"] = "2=PAID"
    if is_right:
        assert diff(*pair, **options).counts.matched == 1
    else:
        with pytest.raises(MalformedInput, match="is not the sum of PAID"):
            diff(*pair, **options)


@pytest.mark.parametrize("match_names", ["exact", "casefold"])
def test_a_trailer_sums_renamed_columns_by_the_rules_of_their_pairs(
    tmp_path: Path, match_names: str
) -> None:
    """Both names are in both files, and mean each other."""
    texts = ["ID,A,B\n1,1050,7\nT,10.50,7.0\n", "ID,B,A\n1,1050,7\nT,10.50,7.0\n"]
    options: dict[str, Any] = {
        "keys": "ID",
        "renames": {"A": "B", "B": "A"},
        "match_names": match_names,
        "rules": {"A": "scale(2)"},
        "trailer": "T",
        "old_trailer_sum": ("2=A", "3=B"),
        "new_trailer_sum": ("2=B", "3=A"),
    }
    pair = write(tmp_path, "o.csv", texts[0]), write(tmp_path, "n.csv", texts[1])
    assert diff(*pair, **options).agrees
    for path, text in zip(pair, texts, strict=True):
        for right, wrong in (("10.50", "1050.0"), ("7.0", "0.07")):
            path.write_text(text.replace(right, wrong))
            with pytest.raises(MalformedInput, match="is not the sum"):
                diff(*pair, **options)
        path.write_text(text)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("", "was added or was changed"),
        ("2,20,x\n", "1 quarantined row is not in the sum"),
        ("2,20,x\n3\n", "2 quarantined rows are not in the sum"),
    ],
)
def test_a_wrong_sum_says_that_quarantined_rows_are_not_in_it(
    tmp_path: Path, more: str, why: str
) -> None:
    text = f"ID,A\n1,10\n{more}TRL,{1 + more.count(chr(10))},30\n"
    with pytest.raises(MalformedInput, match="field 3 of the trailer") as caught:
        compare(
            tmp_path,
            text,
            on_bad_row="quarantine",
            old_trailer="TRL",
            old_trailer_count="2",
            old_trailer_sum="3=A",
        )
    assert why in (caught.value.why or "")
    assert ("--old-trailer-sum" in (caught.value.help or "")) == bool(more)


@KERNEL
def test_plain_sums_are_taken_while_the_file_is_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the rows were read again")

    text = 'ID,A,PAID\n1,x,"1,000.5"\n2,"y,z",-.25\nT,2,1000.25\n'
    pair = write(tmp_path, "o.csv", text), write(tmp_path, "n.csv", text)
    monkeypatch.setattr(trailer_sums, "sum_rows", fail)
    options: dict[str, Any] = {"keys": "ID", "trailer": "T", "trailer_sum": "3=PAID"}
    assert diff(*pair, **options).agrees
    with pytest.raises(InternalError):
        diff(*pair, **options, rules={"PAID": "decimal(comma)"})


def test_names_are_numbered_and_pair_by_these_names(tmp_path: Path) -> None:
    old = write(tmp_path, "o.csv", "ID,DX,DX,,DX\n1,a,b,c,d\n")
    new = write(tmp_path, "n.csv", "ID,DX,DX.2,c4,DX.3\n1,a,b,c,e\n")
    found = diff(
        old, new, keys="ID", old_repeat_names="number", old_blank_names="number"
    )
    assert [column.name for column in found.differing] == ["DX.3"]
    assert found.reading() == (
        "old file: 1 blank name is numbered, 2 repeated names are numbered",
    )
    refused = refuse(tmp_path, "ID,DX,DX\n1,a,b\n")
    assert "--old-repeat-names number" in str(refused.help)
    assert "--old-blank-names number" in str(refuse(tmp_path, "ID,,B\n1,a,b\n").help)


def test_an_option_that_applies_to_nothing_is_reported(tmp_path: Path) -> None:
    found = compare(tmp_path, PLAIN, old_comment_prefix="#", eof_mark=True)
    assert found.agrees
    assert found.warnings() == (
        "--old-comment-prefix has no effect: there is nothing that it applies to",
        "--old-eof-mark has no effect: there is nothing that it applies to",
        "--new-eof-mark has no effect: there is nothing that it applies to",
    )


def test_a_delivery_without_rows_is_known_by_its_trailer(tmp_path: Path) -> None:
    options: dict[str, Any] = {"no_header": True, "names": ("ID", "A"), "trailer": "T"}
    empty = write(tmp_path, "o.csv", "T,0\n"), write(tmp_path, "n.csv", "T,0\n")
    found = diff(*empty, keys="ID", **options, trailer_count="2")
    assert (found.old.rows, found.agrees) == (0, True)
    with pytest.raises(EmptyFile):
        diff(*empty, keys="c1", no_header=True, trailer="T")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("A",)}, "--names needs --no-header"),
        ({"no_header": True, "names": ("A", "A")}, "--names names A twice"),
        ({"no_header": True, "names": ("A", " ")}, "--names has a blank name"),
        ({"no_header": True, "comment_prefix": "#"}, "exclude each other"),
        ({"no_header": True, "repeat_names": "number"}, "about the names of a header"),
        ({"trailer_count": "2"}, "--trailer-count needs --trailer"),
        ({"trailer_sum": "2=A"}, "--trailer-sum needs --trailer"),
        ({"trailer_delimiter": ";"}, "--trailer-delimiter needs --trailer"),
        ({"trailer": ""}, "--trailer is blank"),
        ({"trailer": 'a"'}, "has a quote"),
        ({"trailer": ("a", "a")}, "--trailer a is given twice"),
        ({"trailer": "a", "trailer_count": "1"}, "field 1 cannot hold a number"),
        ({"trailer": "a", "trailer_count": "9" * 5_000}, "9 cannot hold a number"),
        ({"trailer": "a", "trailer_count": "b:2"}, "names no field of a trailer"),
        ({"trailer": ("a", "b"), "trailer_count": "2"}, "names no field of a trailer"),
        ({"trailer": "a", "trailer_sum": "2"}, "is not FIELD=COLUMN"),
        ({"trailer": "a", "trailer_delimiter": "::"}, "is not one ASCII character"),
        ({"skip_lines": -1}, "--skip-lines is too small"),
        ({"quote": "none", "excel_text": True}, "exclude each other"),
        ({"fixed": "A:1-4", "no_header": True}, "exclude each other"),
        ({"fixed": "A:1-4", "trailing_delimiter": True}, "exclude each other"),
        ({"fixed": "A:1-4,B:4-5"}, "overlap others"),
        ({"fixed": "A:1-4,A:5-6"}, "--fixed names A twice"),
        ({"fixed": "A:1"}, "--fixed is malformed from character 1 on"),
        ({"fixed": "@no.csv"}, "the layout cannot be read"),
        ({"fixed": "A:1-4", "trailer": "T", "trailer_count": "2"}, "delimiter"),
        ({"delimiter": "123456789"}, "is not one to eight characters"),
        ({"delimiter": '|"'}, "is not one to eight characters"),
        ({"delimiter": "a\\x0ab"}, "is not one to eight characters"),
        ({"repeat_names": "numbers"}, "numbers is none of refuse, number"),
    ],
)
def test_wrong_use_is_refused_before_a_file_is_opened(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        diff("no file", "no file", keys="A", **options)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("delimiter", [",", "||"])
@pytest.mark.parametrize("cell", ['"x\r"', 'x\r"', 'x"\ry', "x\ry"])
def test_a_carriage_return_is_no_part_of_a_value_if_quotes_are_ordinary(
    tmp_path: Path, delimiter: str, cell: str
) -> None:
    row = f"1,{cell}\n".replace(",", delimiter)
    text = f"ID,A\n0,a\n{row}2,b\n".replace(",", delimiter)
    path = write(tmp_path, "o.csv", text)
    with pytest.raises(MalformedInput, match="carriage return") as caught:
        diff(path, path, keys="ID", quote="none", delimiter=delimiter)
    assert caught.value.line == 3
    assert caught.value.byte_offset == text.index("\r")


def test_lines_and_offsets_count_in_the_file_as_delivered(
    tmp_path: Path, reader: str
) -> None:
    text = "title\n# note\nID,A,\n1,x,\n2,z,\nT,2\n\x1a"
    options = Options(
        keys=("ID",),
        old=SideOptions(
            skip_lines=1,
            comment_prefix="#",
            trailing_delimiter=True,
            trailers=("T",),
            eof_mark=True,
        ),
    )
    pair = write(tmp_path, "o.csv", text), write(tmp_path, "n.csv", PLAIN)
    explained = explain_key(*pair, options, ["2"])
    assert [(each.old_line, each.new_line) for each in explained.pairs] == [(5, 3)]
    assert reader
    bad = text.replace("2,z,", '2,z",')
    error = refuse(
        tmp_path,
        bad,
        old_skip_lines=1,
        old_comment_prefix="#",
        old_trailing_delimiter=True,
        old_trailer="T",
        old_eof_mark=True,
    )
    assert (error.line, error.byte_offset) == (5, bad.index('"'))


def test_proposals_and_keys_know_the_frame(tmp_path: Path) -> None:
    """`recon keys` reads the same rows, and a proposal is tried below the frame."""
    text = "title\nID,A,\n1,x,\n2,y,\nT,2\n"
    write(tmp_path, "o.csv", text)
    write(tmp_path, "n.csv", PLAIN)
    flags = ("--old-skip-lines=1", "--old-trailing-delimiter", "--old-trailer=T")
    ended = recon("keys", "o.csv", "n.csv", *flags, "-f", "json", cwd=tmp_path)
    assert json.loads(ended.stdout)[0]["columns"] == ["ID"], ended.stdout
    ended = recon("explain", "o.csv", "n.csv", "2", "-k", "ID", *flags, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    write(tmp_path, "o.csv", text.replace(",", ";"))
    error = refuse(
        tmp_path,
        text.replace(",", ";"),
        old_skip_lines=1,
        old_trailing_delimiter=True,
        old_trailer="T",
        old_trailer_delimiter=";",
    )
    assert "add --delimiter ';:,'" in str(error.help)
    error = refuse(tmp_path, "a\nb\nID,A\n1,x\n2,y\n", old_skip_lines=1)
    assert "use --old-skip-lines 2" in str(error.help)


def test_a_masked_or_quarantined_value_is_in_no_error(tmp_path: Path) -> None:
    secret = "4711-SECRET"
    text = f"ID,A\n1,{secret}\n{secret},y\nT,{secret}\n"
    for options in (
        {"old_trailer": "T", "old_trailer_count": "2"},
        {"old_trailer": "T", "old_trailer_sum": "2=ID"},
        {"old_trailer": "X"},
        {"old_no_header": True, "old_names": ("ID",)},
        {"old_trailing_delimiter": True},
    ):
        error = refuse(tmp_path, text, **options)
        assert secret not in f"{error}{error.why}{error.help}{vars(error)}"


def test_the_first_row_of_a_file_without_a_header_is_in_no_error_about_its_columns(
    tmp_path: Path,
) -> None:
    trailer: dict[str, Any] = {"old_trailer": "TRL", "old_trailer_sum": "3=PAID"}
    text = "10042,Smith,4.00\n10043,Jones,5.00\nTRL,2,9.00\n"
    error = refuse(tmp_path, text, **trailer)
    assert error.message == "--old-trailer-sum: the file has no column PAID"
    assert error.help == "there are 3 columns; does each file start with a header?"
    error = refuse(tmp_path, f"ID,NAME,AMOUNT\n{text}", **trailer)
    assert error.help == "the columns are ID, NAME, AMOUNT"


def both_trailing(folder: Path) -> list[rx.Reconciliation]:
    old = write(folder, "o.csv", "ID,A,\n1,x,\n2,y,\n")
    new = write(folder, "n.csv", 'ID,A,\n2,y,\n1,"x",\n3,z,\n')
    return [diff(old, new, keys="ID", trailing_delimiter=True)]


def test_both_sides_may_end_with_a_delimiter(tmp_path: Path, reader: str) -> None:
    [found] = both_trailing(tmp_path)
    assert (found.counts.matched, found.counts.extra) == (2, 1), reader
    assert found.counts.mismatched_cells == 0


OPENERS: list[Any] = [by_numpy, pytest.param(by_kernel, marks=KERNEL)]


LONG = "x" * 700_000 + "\n\nID,A\n" + "1,x\n" * 3 + "T,3," + "y" * 600_000
OF_LONG = Frame(skip_lines=2, trailer=("T",), trailer_count=2)


@functools.cache
def read_long() -> Any:
    """What the reference finds in LONG; that takes seconds."""
    return read_framed(LONG.encode(), OF_LONG)


@pytest.mark.slow
@pytest.mark.parametrize("read", OPENERS)
def test_a_long_trailer_and_a_long_preamble_are_found(
    tmp_path: Path, read: Callable[..., Any]
) -> None:
    found = read(write(tmp_path, "f.csv", LONG), OF_LONG)
    assert found == read_long()
    assert len(found.rows) == 3


LAYOUT = "name,from,to\nID,1,1\nA,2,4\n"


@pytest.mark.parametrize("text", [LAYOUT, LAYOUT.partition("\n")[2]])
def test_a_layout_may_be_a_file_and_its_text_is_what_counts(
    tmp_path: Path, text: str
) -> None:
    layout = write(tmp_path, "layout.csv", text)
    old = write(tmp_path, "o.txt", "1ä\u00a0z\n2xyz\n")
    new = write(tmp_path, "n.csv", "ID,A\n1,ä\u00a0z\n2,xyz\n")
    found = diff(old, new, keys="ID", old_fixed=f"@{layout}")
    assert found.agrees
    assert SideOptions(fixed=read_layout(f"@{layout}")).columns == (
        FixedColumn("ID", 0, 1),
        FixedColumn("A", 1, 4),
    )
    write(tmp_path, "layout.csv", "ID,1\n")
    with pytest.raises(ConfigError, match="is not name,from,to"):
        diff(old, new, keys="ID", old_fixed=f"@{layout}")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        (",", (",", ",")),
        (":", (":", ":")),
        (";:,", (";", ",")),
        ("::,", (":", ",")),
        ("||", ("||", "||")),
        ("||:,", ("||", ",")),
        ("|~|:\\t", ("|~|", "\t")),
        ("\\x1f", ("\x1f", "\x1f")),
        ("\\x3a\\x3a", ("::", "::")),
        ("¦", ("¦", "¦")),
    ],
)
def test_delimiters_are_one_to_eight_characters(
    text: str, pair: tuple[str, str]
) -> None:
    assert split_delimiters(text) == pair
    if text not in {":", "::,"}:
        assert split_delimiters(write_delimiters(*pair)) == pair


def test_rejects_and_places_of_a_translated_file_are_those_of_the_delivery(
    tmp_path: Path,
) -> None:
    text = 'title\nID||A\n1||"a\nb"\n2\n3||c\n4||="x"||y\n'
    found = compare(
        tmp_path,
        text,
        delimiter="||:,",
        old_skip_lines=1,
        on_bad_row="quarantine",
        old_excel_text=True,
    )
    rejects = found.rejects()
    assert rejects["line"].to_list() == [5, 7]
    assert rejects["byte_offset"].to_list() == [text.index("2\n"), text.index("4||")]
    options = Options(
        keys=("ID",),
        delimiter="||:,",
        on_bad_row=OnBadRow.QUARANTINE,
        old=SideOptions(skip_lines=1, excel_text=True),
    )
    pair = tmp_path / "o.csv", tmp_path / "n.csv"
    explained = explain_key(*pair, options, ["3"])
    assert [row.line for row in explained.missing] == [6]


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ('ID,A\n="1",x\n', "use --old-excel-text"),
        ("\nTitle\nID,A\n1,x\n", "if the header is below, use --old-skip-lines N"),
        ("0001x  10.00\n0002y  20.00\n", "use --old-fixed NAME:FROM-TO"),
        ("ID|~|A\n1|~|x\n", "add --delimiter '|~|:,'"),
        ("ID::A\n1::x\n", "add --delimiter '\\x3a\\x3a:,'"),
    ],
)
def test_a_refusal_names_the_option_that_reads_another_syntax(
    tmp_path: Path, text: str, flag: str
) -> None:
    assert flag in str(refuse(tmp_path, text).help)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "total", "rules"),
    [
        (
            "1;1.234,50\n2;-0,50\n",
            "1.234,00",
            {"old_rules": {"PAID": "decimal(comma)"}},
        ),
        ("1;1.234,50\n2;-0,50\n", "1234,0", {"old_rules": {"PAID": "decimal(comma)"}}),
        # A plain number that the rule does not read is one all the same.
        ("1;1.234,50\n2;-0,50\n", "1234.0", {"old_rules": {"PAID": "decimal(comma)"}}),
        (
            "1;$1,234.50\n2;($0.50)\n",
            "$1,234.00",
            {"rules": {"PAID": "decimal(money=$)"}},
        ),
        ("1;0000123450\n2;-050\n", "0000123400", {"old_rules": {"PAID": "scale(2)"}}),
        ("1;12.5%\n2;7 %\n", "19.5%", {"rules": {"PAID": "decimal(percent)"}}),
        ("1;5,00\n2;-5,00\n", "0,00", {"old_rules": {"PAID": "decimal(comma)"}}),
        ("1;1,000.5\n2;1\n", "1,001.50", {}),
    ],
)
@pytest.mark.parametrize("source", ["file", "parts"])
def test_the_sum_of_a_trailer_is_written_as_its_column_is(
    tmp_path: Path, rows: str, total: str, rules: dict[str, Any], source: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = write(folder, "o.csv", f"ID;PAID\n{rows}T;{total}\n")
    old = path if source == "file" else folder
    new = write(tmp_path, "n.csv", "ID;PAID\n1;0\n2;0\n")
    options: dict[str, Any] = {"keys": "ID", "delimiter": ";", **rules}
    options |= {"old_trailer": "T", "old_trailer_sum": "2=PAID"}
    assert diff(old, new, **options).counts.matched == 2
    path.write_text(path.read_text().replace(f"T;{total}", f"T;1{total}"))
    with pytest.raises(MalformedInput, match=r"the sum of PAID|not a number") as caught:
        diff(old, new, **options)
    assert total not in str(caught.value)
