"""What people see: on terminals of all widths, in a pipe, with and without colour."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from datetime import date
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import recon_cli.render
from recon_cli.late_bars import LateBars
from recon_cli.progress_bars import ProgressBars
from recon_cli.render import next_step
from rich.console import Console
from rich.text import Text
from support.screen import environment, on_terminal

import recon_engine as rx
from recon_engine import terminal
from recon_engine.model import Suppressible, Suppression
from recon_engine.pipeline.demo import KEYS, write_pair
from recon_engine.report import result_page
from recon_engine.terminal import print_breaks, print_result, print_table


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
# Bars hide it.
HIDDEN_CURSOR = "\x1b[?25l"
LONG = "a_very_long_name_of_a_column_that_some_warehouse_has_given_it_99"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("claims")
    write_pair(made / "old.csv", made / "new.csv", rows=20_000)
    old = "".join(f"{at},{at}.00,{at},{'v' * 90}\n" for at in range(12_345))
    new = old.replace(".00,", ",")
    (made / "long_old.csv").write_text(f"ID,{LONG},X,Y\n{old}")
    (made / "long_new.csv").write_text(f"ID,{LONG},X,Y\n{new}")
    return made


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in SEQUENCE.sub("", text).splitlines()]


CLAIMS = ("diff", "old.csv", "new.csv", "--key", ",".join(KEYS))
WIDE = ("diff", "long_old.csv", "long_new.csv", "--key", "ID")


@pytest.mark.parametrize("columns", [50, 60, 80, 100, 200])
@pytest.mark.parametrize("command", [CLAIMS, WIDE], ids=["claims", "long names"])
def test_a_table_fits_the_terminal_and_cuts_no_number(
    folder: Path, command: tuple[str, ...], columns: int
) -> None:
    lines = plain(on_terminal(*command, columns=columns, cwd=folder))
    start = next(at for at, line in enumerate(lines) if line.startswith("column"))
    table = lines[start : lines.index("", start)]
    assert max(map(len, table)) <= columns
    expected = "12,345" if command is WIDE else "1,175"
    assert re.search(rf" {expected} ", table[1])
    assert re.search(r" \d+\.\d\d ", table[1])


def test_at_200_columns_everything_is_on_one_line(folder: Path) -> None:
    lines = plain(on_terminal(*CLAIMS, columns=200, cwd=folder))
    assert lines[0].startswith("✗ DIFFER  2,004 of 19,901 matched rows differ, 99")
    assert lines[1] == (
        "  old 20,000 = 19,901 matched + 99 missing"
        " · new 19,967 = 19,901 matched + 66 extra"
    )
    row = next(line for line in lines if line.startswith("CLM_PMT_AMT"))
    assert row.split("  ")[-2:] == ["805 number format, 370 number", "14000.00 → 14000"]
    assert lines[-1].endswith("next: add -o report.html, or -o diff.xlsx for all keys")


@pytest.mark.parametrize(
    ("new", "limit", "most", "whole", "then"),
    [
        ("xy", 9, 9, True, " for all differences"),
        ("xy", 9, 9, False, " for all differences"),
        ("xy", 1, 9, True, ", or -o diff.xlsx for all keys"),
        ("xy", 9, 1, True, ", or -o diff.xlsx for all keys"),
        ("x", 9, 9, True, ", or -o diff.xlsx for all keys"),
        ("xy", 1, 9, False, ""),
        ("x", 9, 9, False, ""),
    ],
)
def test_the_next_step_promises_what_the_file_will_hold(
    monkeypatch: pytest.MonkeyPatch,
    new: str,
    limit: int,
    most: int,
    *,
    whole: bool,
    then: str,
) -> None:
    monkeypatch.setattr(recon_cli.render, "PAGE_CELLS", most)
    sides = [
        pl.DataFrame({"ID": list("12"[: len(each)]), "A": list(each)})
        for each in ("ab", new)
    ]
    result = rx.diff(*sides, keys="ID", detail_limit=limit)
    said = next_step(result, [], described=False, whole=whole)
    assert said == f"next: add -o report.html{then}"


def test_sums_and_segments_that_are_not_shown_are_counted() -> None:
    amounts = [f"P{at}" for at in range(7)]
    old = pl.DataFrame(
        [
            (f"{at}", *["1.50"] * 7, *["rare" if at < 40 else f"v{at % 9}"] * 3)
            for at in range(400)
        ],
        schema=["ID", *amounts, "A", "B", "C"],
        orient="row",
    )
    lines = str(rx.diff(old, old.tail(360), keys="ID")).splitlines()
    for head, shown, more in (("sum: ", 5, 2), ("segment: ", 2, 1)):
        [last] = [at for at, line in enumerate(lines) if line.startswith(head)][-1:]
        assert sum(line.startswith(head) for line in lines) == shown
        assert lines[last + 1] == f"{' ' * len(head)}… and {more} more, in the JSON"


def test_at_80_columns_the_accounting_takes_two_lines(folder: Path) -> None:
    lines = plain(on_terminal(*CLAIMS, columns=80, cwd=folder))
    assert lines[1:3] == [
        "  old 20,000 = 19,901 matched + 99 missing",
        "  new 19,967 = 19,901 matched + 66 extra",
    ]
    note = next(line for line in lines if line.startswith("CLM_NOTE"))
    assert note.endswith("routine → routine·")


def test_what_would_explain_them_is_broken_where_it_can_be(folder: Path) -> None:
    lines = plain(on_terminal(*CLAIMS, columns=80, cwd=folder))
    [at] = (
        at
        for at, line in enumerate(lines)
        if re.fullmatch(r"help \d: CLM_THRU_DT: 617 differ, 100% date format;", line)
    )
    rule = "--rule 'CLM_THRU_DT=date(%Y%m%d|%Y-%m-%d)'"
    assert lines[at + 1] == f"      {rule} removes 617"
    assert max(map(len, lines)) <= 80


@pytest.fixture
def shown() -> Callable[..., list[str]]:
    def shown(width: int, *given: Any) -> list[str]:
        stream = io.StringIO()
        print_table(Console(file=stream, width=width, highlight=False), *given)
        return [line.rstrip() for line in stream.getvalue().splitlines()]

    return shown


NAMES = ("began", "old", "rate", "run")
ROWS = (("2026-11-23", "20,000", "11.03%", "a"), ("2026-11-24", "9", "", "[b]"))


def test_a_table_that_fits_has_its_numbers_below_each_other(
    shown: Callable[..., list[str]],
) -> None:
    assert shown(40, NAMES, ROWS, ("old",)) == [
        "began          old    rate  run",
        "2026-11-23  20,000  11.03%  a",
        "2026-11-24       9          [b]",
    ]
    assert shown(40, NAMES, ()) == ["began  old  rate  run"]


def test_a_narrow_terminal_does_without_what_is_spare(
    shown: Callable[..., list[str]],
) -> None:
    assert shown(30, NAMES, ROWS, ("old", "rate")) == [
        "began         rate  run",
        "2026-11-23  11.03%  a",
        "2026-11-24          [b]",
    ]


def test_what_fits_no_terminal_is_a_list_for_each_row(
    shown: Callable[..., list[str]],
) -> None:
    assert shown(18, NAMES, ROWS, ("old",)) == [
        "began  2026-11-23",
        "rate   11.03%",
        "run    a",
        "",
        "began  2026-11-24",
        "rate",
        "run    [b]",
    ]


@pytest.mark.parametrize("width", [40, 10])
def test_columns_of_one_name_are_all_shown(
    shown: Callable[..., list[str]], width: int
) -> None:
    lines = shown(width, ("count", "count", "n"), [("12", "3", "x")])
    whole = ["count  count  n", "   12      3  x"]
    assert lines == (whole if width == 40 else ["count  12", "count  3", "n      x"])


def test_colour_is_for_terminals_that_want_it(folder: Path) -> None:
    assert COLOUR.search(on_terminal(*CLAIMS, columns=80, cwd=folder))
    bare = on_terminal(*CLAIMS, columns=80, cwd=folder, NO_COLOR="1")
    assert not COLOUR.search(bare)
    assert "✗ DIFFER" in bare


def test_a_pipe_gets_plain_text(folder: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "recon_cli", *CLAIMS],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "\x1b" not in said.stdout
    assert said.stdout.startswith("✗ DIFFER  2,004 of 19,901")
    assert said.stderr == ""


def test_the_report_that_was_written_is_named(folder: Path) -> None:
    asked = (*CLAIMS, "-o", "r.html")
    lines = plain(on_terminal(*asked, columns=100, cwd=folder))
    assert lines[-1].endswith(" · writes r.html")
    assert (folder / "r.html").exists()


def test_a_notebook_has_no_bars(folder: Path) -> None:
    """`!recon` has a terminal, which shows each redraw of a bar as a line."""
    asked = (*CLAIMS, "--progress")
    bars = on_terminal(*asked, columns=80, cwd=folder, progress=True)
    assert HIDDEN_CURSOR in bars
    shown = on_terminal(
        *asked, columns=80, cwd=folder, progress=True, JPY_PARENT_PID="1"
    )
    assert HIDDEN_CURSOR not in shown
    assert len(shown.splitlines()) < 60
    drafted = on_terminal(
        *("init", "old.csv", "new.csv", "--config", "notebook.toml"),
        columns=80,
        cwd=folder,
        progress=True,
        JPY_PARENT_PID="1",
    )
    # It asks nothing: the cell would wait for an answer.
    assert "Which one" not in drafted
    assert "written: notebook.toml" in drafted
    assert HIDDEN_CURSOR not in drafted


def test_bars_appear_when_the_work_lasts(folder: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.csv"
    os.mkfifo(slow)
    old = (folder / "old.csv").read_bytes()
    writing = threading.Thread(target=_write_late, args=(slow, old))
    writing.start()
    asked = (str(slow) if each == "old.csv" else each for each in CLAIMS)
    shown = on_terminal(*asked, columns=80, cwd=folder, progress=True)
    writing.join()
    assert HIDDEN_CURSOR in shown
    # Since the step began, not since its bar appeared.
    assert re.search("0:00:0[1-9]", shown)
    assert "✗ DIFFER" in shown


def test_short_work_has_no_bars(capfd: pytest.CaptureFixture[str]) -> None:
    """Drawing bars that nobody can read takes longer than comparing small files."""
    with LateBars() as bars, bars.step("read OLD", total=2) as advance:
        advance(1)
        advance(1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(0, 0, "  0%"), (29, 100, " 29%"), (9_999, 10_000, " 99%"), (7, 7, "100%")],
)
def test_a_bar_says_100_percent_of_all_only(done: int, total: int, shown: str) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with ProgressBars(console) as bars, bars.step("read", total=total) as advance:
        advance(done)
        bars._bars.refresh()
        drawn = SEQUENCE.sub("", stream.getvalue())
    assert re.findall(" *[0-9]+%", drawn)[-1].removeprefix(" ") == shown


def _write_late(path: Path, text: bytes) -> None:
    with path.open("wb") as pipe:
        time.sleep(1.3)
        pipe.write(text)


def render(result: rx.Reconciliation, *, every_rule: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=100, highlight=False, markup=False)
    print_result(console, result, every_rule=every_rule)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('the note of this claim "x"', 'the note of this claim "x" later'),
        ("20240507", "16/05/2024"),
        ("the note of this claim, which was paid", "the note of this claim. It is"),
        ("a long text 1 that ends alike", "a long text 2 that ends alike"),
        ("beginning A", "beginning of the text B, which is long"),
    ],
)
@pytest.mark.parametrize("width", [80, 100])
def test_a_cut_example_shows_the_difference(old: str, new: str, width: int) -> None:
    """Also beside a column of accepted cells, where the share makes room for it."""
    cells = [(old, new)] * 3 + [("", "x"), ("a", "b")]
    sides = [
        pl.DataFrame({"ID": list("12345"), "REMARKS_OF_IT": texts})
        for texts in zip(*cells, strict=True)
    ]
    accepted = Suppression(
        what=Suppressible.COLUMN, column="REMARKS_OF_IT", kind="blank_to_value",
        reason="known", owner="ops", until=date.max,
    )  # fmt: skip
    for suppressions in ([], [accepted]):
        d = rx.diff(*sides, keys="ID", suppressions=suppressions)
        lines = terminal.render_text(d, width).splitlines()
        [row] = [each for each in lines if each.startswith("REMARKS_OF_IT")]
        ours, theirs = row.rpartition("  ")[2].split(" → ")
        assert ours != theirs
        bare = [each.removeprefix("…").removesuffix("…") for each in (ours, theirs)]
        at = [old.find(bare[0]), new.find(bare[1])]
        assert min(at) >= 0
        first = len(commonprefix([old, new]))  # noqa: RUF071 - of texts
        assert at[1] <= first < at[1] + len(bare[1])


def test_the_first_ten_keys_of_unmatched_rows_are_shown() -> None:
    old = pl.DataFrame({"ID": [f"{at}" for at in range(12)], "L": ["1"] * 12})
    new = pl.DataFrame({"ID": ["0", "x\ny"], "L": ["1", " "]})
    said = render(rx.diff(old, new, keys=["ID", "L"]))
    shown = " · ".join(f"{at}, 1" for at in (1, 10, 11, 2, 3, 4, 5, 6, 7, 8))
    assert f"missing in NEW: {shown} · … and 1 more\n" in said
    assert "extra in NEW: x\\ny, ·\n" in said
    masked = render(rx.diff(old, new, keys=["ID", "L"], masks={"*": "redact"}))
    assert "extra in NEW: (redacted), (redacted)\n" in masked
    long = pl.DataFrame({"ID": ["0", *("k" * 99 + str(at) for at in range(9))]})
    said = render(rx.diff(long, new.select("ID").head(1), keys="ID"))
    assert f"missing in NEW: {'k' * 99}0 · … and 8 more\n" in said


def test_a_sum_says_what_it_is_of() -> None:
    """Of cells that rules make equal there is a sum if a tolerance hides a delta."""
    names = ["ID", "SAME", "SOME", "NEAR"]
    old = pl.DataFrame(
        [[f"{at}", f"{at},50", f"{at},50", f"{at}.500"] for at in range(9)],
        schema=names, orient="row",
    )  # fmt: skip
    new = pl.DataFrame(
        [[f"{at}", f"{at}.50", f"{at}.5{at // 8}", f"{at}.501"] for at in range(9)],
        schema=names, orient="row",
    )  # fmt: skip
    comma = {"SAME": "decimal(comma)", "SOME": "decimal(comma)"}
    found = rx.diff(
        old, new, keys="ID", old_rules=comma, rules={"NEAR": "decimal(abs=0.01)"}
    )
    said = render(found)
    assert "sum: SAME" not in said
    some = "1 cell that differs: old 8.50 · new 8.51 · delta 0.01"
    assert f"sum: SOME: {some}\n" in said
    assert "sum: NEAR: 9 cells equal by a rule: old 40.500" in said
    assert "delta 0.009" in said
    assert "SAME" not in str(result_page._build_changed_totals(found))
    # Every value was read: the rules are listed where they are asked for.
    assert "rule " not in said
    assert "rule SAME=decimal(comma): read 9 of 9 in old;" in render(
        found, every_rule=True
    )


def test_a_rule_that_leaves_a_code_unlisted_is_shown() -> None:
    old = pl.DataFrame({"ID": ["1", "2", "3"], "SEX": ["M", "F", "X"]})
    new = pl.DataFrame({"ID": ["1", "2", "3"], "SEX": ["1", "1", "X"]})
    said = render(rx.diff(old, new, keys="ID", old_rules={"SEX": "map(M=1,F=2)"}))
    assert (
        "rule SEX=map(M=1,F=2): 1 of 3 codes are not listed; 1 of 3 codes have another"
        " code in NEW\n"
    ) in said


@pytest.mark.parametrize("width", [80, 110, 300])
def test_a_break_takes_one_line_and_long_values_are_cut(width: int) -> None:
    facts = {"state": "recurring", "age_days": 17, "uncertain": False}
    cell = facts | {"accepted": False, "column": "CLM_PMT_AMT"}
    row = facts | {"accepted": True, "column": None, "old": None, "new": None}
    breaks = [
        cell | {"key": "7", "kind": "number_format", "old": "x" * 90, "new": "1"},
        cell | {"key": "0270013565F71BD5, 1", "kind": "text", "old": "", "new": "a\nb"},
        row | {"key": "12", "kind": "missing", "uncertain": True},
    ]
    stream = io.StringIO()
    print_breaks(Console(file=stream, width=width, highlight=False), breaks)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    head, first, second, third = lines
    assert max(map(len, lines)) <= width
    assert head.split() == ["key", "column", "kind", "state", "age", "old", "new"]
    assert first.startswith("7 ")
    assert "number format" in first
    assert ("x…" in first) == (width < 300)
    assert "(blank)" in second
    assert "a\\nb" in second
    assert ("0270013565F71BD5, 1" in second) == (width > 80)
    assert third.startswith("12 ")
    assert third.split()[1:] == ["missing?", "recurring,", "accepted", "17", "days"]


def test_a_long_sum_folds_before_its_numbers() -> None:
    sums = "old 100,879,026.46 · new 101,206,170.52 · delta 327,144.06"
    line = f"sum: BETRAG: 1 cell that differs and 1,998 cells equal by a rule: {sums}"
    first, *others = terminal._fold_line(Text(line), 80).plain.split("\n")
    assert first.endswith("equal by a rule:")
    assert [each.strip() for each in others] == [sums]
    # Where the sums are folded, too, none reads as a part of the one before it.
    first, *others = terminal._fold_line(Text(line), 50).plain.split("\n")
    assert " ".join(map(str.strip, (first, *others))) == line
    assert others[-1].strip() == "new 101,206,170.52 · delta 327,144.06"
    assert others[-2].endswith("old 100,879,026.46 ·")


DECIDED = """keys = ["ID"]
[old]
skip_lines = 1
[rules]
S = "date(%m/%d/%Y|%d.%m.%Y)"
[[suppress]]
what = "extra"
reason = "new claims, numbers above the last one of the old export (108987)"
owner = "claims team"
until = 2099-12-31
"""


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_no_word_is_cut_at_any_width(tmp_path: Path, columns: int) -> None:
    (tmp_path / "recon.toml").write_text(DECIDED)
    (tmp_path / "old.csv").write_text("title\nID,S\n1,01/31/2024\n2,02/01/2024\n")
    (tmp_path / "new.csv").write_text("ID,S\n1,31.01.2024\n3,01.02.2024\n9,-\n")
    where = "ID <> 100000 AND ID <> 200000 AND ID <> 300000 AND ID <> 400000"
    gates = ("missing<=0", "mismatched_rows<=0", "drift<=0", "extra<=0")
    limits = [word for gate in gates for word in ("--gate", gate)]
    command = ("diff", "old.csv", "new.csv", *limits, "--new-where", where)
    unread = ("diff", "old.csv", "new.csv", "--rule", "S=date(")
    for asked in ((*command, "-v"), (*command, "-q"), unread):
        piped = subprocess.run(
            [sys.executable, "-m", "recon_cli", *asked],
            cwd=tmp_path,
            env=environment(RECON_LOG_LEVEL="error"),
            capture_output=True,
            text=True,
            check=False,
        )
        shown = on_terminal(
            *asked, columns=columns, cwd=tmp_path, progress=True, NO_COLOR="1",
            RECON_LOG_LEVEL="error",
        )  # fmt: skip
        lines = plain(shown)
        assert max(map(len, lines)) <= columns
        whole = piped.stdout + piped.stderr
        assert max(map(len, whole.splitlines())) > 120
        # The cost is another one in each run, and at its side a line is broken.
        words = {
            word for word in whole.split() if not re.search(r"\d\.\d|MiB|^·$", word)
        }
        assert words <= set(" ".join(lines).split())


def test_a_quoted_argument_stays_whole() -> None:
    line = "next: recon diff old.csv new.csv -k 'CLAIM LINE NUMBER' and more words here"
    folded = terminal._fold_line(Text(line), 40).plain.split("\n")
    assert folded == [
        "next: recon diff old.csv new.csv -k",
        "      'CLAIM LINE NUMBER' and more words",
        "      here",
    ]


def test_each_kind_of_a_column_has_its_count() -> None:
    old = pl.DataFrame({"ID": ["1", "2", "3"], "A": ["1", "2", "3"]})
    new = pl.DataFrame({"ID": ["1", "2", "3"], "A": ["1.0", "2.0", "4"]})
    assert "2 number format, 1 number  " in render(rx.diff(old, new, keys="ID"))
    old, new = (pl.concat([of] * 7).with_row_index("N") for of in (old, new))
    old, new = (of.with_columns(N=pl.col("N").cast(pl.String)) for of in (old, new))
    assert "14 number format, 7 number  " in render(rx.diff(old, new, keys="N"))
