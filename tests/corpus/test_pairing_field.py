"""Deliveries whose columns or rows do not fit: the outcome that `expect` describes.

Each folder of `field/` is compared with the options that are there for it, and so are
variants of it: files made with other names, widths, values and positions, and with the
truth known.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from recon_cli.app import app
from typer.testing import CliRunner

import recon_engine as rx


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIELD: Final = Path(__file__).parents[1] / "field"
SEEDS: Final = range(24)


def type_in(folder: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `recon diff` prints in a folder of the field, on one line."""
    monkeypatch.chdir(folder)
    ended = CliRunner().invoke(app, ["diff", *words.split("|")])
    return " ".join(f"{ended.exit_code} {ended.output}".split())


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a folder of the field."""
    return lambda name: Path(shutil.copytree(FIELD / name, tmp_path / name))


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    lines = [",".join(line) for line in (names, *rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(frozen=True)
class Variant:
    """Two tables with columns of one name, and how their rows compare."""

    names: list[str]
    old: list[list[str]]
    new: list[list[str]]
    changed: int


def make_variant(seed: int) -> Variant:
    """A table of some width, with the key in any place, and some changed rows."""
    draw = random.Random(seed)
    width = draw.randint(2, 9)
    names = [f"Col {at}" if at % 2 else f"col_{at}x" for at in range(width)]
    rows = draw.randint(1, 40)
    old = [
        [f"K{at:03}", *(f"v{at}-{c}" for c in range(1, width))] for at in range(rows)
    ]
    new = [list(row) for row in old]
    changed = draw.sample(range(rows), draw.randint(0, rows))
    for at in changed:
        new[at][draw.randrange(1, width)] += "!"
    order = draw.sample(range(width), width)
    return Variant(
        [names[at] for at in order],
        [[row[at] for at in order] for row in old],
        [[row[at] for at in order] for row in new],
        len(changed),
    )


def test_05_one_switch_pairs_names_in_another_case(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = type_in(
        copy("05_upper_lower_column_names"),
        "old.csv|new.csv|--key|CLAIM_ID|--match-names|casefold",
        monkeypatch,
    )
    assert said.startswith("1 ✗ DIFFER 1 of 3 matched rows differs")
    assert (
        "4 names paired: CLAIM_ID=claim_id, MEMBER_ID=member_id, PAID_AMT=paid_amt,"
        " SVC_DT=svc_dt" in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_05_names_in_any_case_and_with_blanks(tmp_path: Path, seed: int) -> None:
    made, draw = make_variant(seed), random.Random(seed)
    spelled = [
        draw.choice(["", " ", "  "])
        + draw.choice([name, name.upper(), name.lower(), name.title()])
        + draw.choice(["", " "])
        for name in made.names
    ]
    old = write_csv(tmp_path / "old.csv", made.names, made.old)
    new = write_csv(tmp_path / "new.csv", spelled, made.new)
    key = draw.choice(["COL_0X", "col_0x", spelled[made.names.index("col_0x")]])
    d = rx.diff(old, new, keys=key, match_names="trim,casefold")
    assert (d.counts.matched, d.counts.mismatched_rows) == (len(made.old), made.changed)
    pairs = zip(made.names, spelled, strict=True)
    assert set(d.name_pairs) == {(o, n) for o, n in pairs if o != n}


def test_27_a_positive_list_of_columns(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = type_in(
        copy("27_subset_of_columns_and_rows"),
        "base.csv|new.csv|--key|ID|--compare-only|PAID",
        monkeypatch,
    )
    assert said.startswith("1 ✗ DIFFER 1 of 2 matched rows differs, 1 missing")
    assert "3 columns of OLD and 4 of NEW left out" in said


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_27_any_set_of_columns_to_compare(tmp_path: Path, seed: int) -> None:
    made, draw = make_variant(seed), random.Random(seed)
    values = [at for at, name in enumerate(made.names) if name != "col_0x"]
    chosen = draw.sample(values, draw.randint(1, len(values)))
    old = write_csv(tmp_path / "old.csv", made.names, made.old)
    new = write_csv(
        tmp_path / "new.csv",
        [*made.names, "LOADED_AT"],
        [[*row, f"t{at}"] for at, row in enumerate(made.new)],
    )
    names = [made.names[at] for at in chosen]
    d = rx.diff(old, new, keys="col_0x", compare_only=names)
    differing = sum(
        any(o[at] != n[at] for at in chosen)
        for o, n in zip(made.old, made.new, strict=True)
    )
    assert {column.name for column in d.by_column} == set(names)
    assert (d.counts.matched, d.counts.mismatched_rows) == (len(made.old), differing)


def test_27_a_filter_of_rows(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, filtered = copy("27_subset_of_columns_and_rows"), "CLOSED>=2026-01-01"
    words = f"base.csv|new.csv|--key|ID|--ignore|LOADED_AT|--where|{filtered}"
    said = type_in(folder, words, monkeypatch)
    assert said.startswith("1 ✗ DIFFER 1 of 2 matched rows differs (1 left out)")
    assert f"--where {filtered}: 1 row of OLD and 0 of NEW left out" in said
    d = rx.diff(
        folder / "base.csv",
        folder / "new.csv",
        keys="ID",
        ignore="LOADED_AT",
        where=filtered,
    )
    assert (d.counts.missing, d.old.left_out, d.new.left_out) == (0, 1, 0)
    assert [each.payload for each in d.sample] == [{"PAID": "30~31"}]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_27_any_filter_of_rows(tmp_path: Path, seed: int) -> None:
    """NEW has the rows from some day on, and more columns; some values changed."""
    draw = random.Random(seed)
    days = [
        f"2026-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}" for _ in range(40)
    ]
    since = sorted(days)[draw.randrange(40)]
    old_rows = [[f"K{at}", day, str(at)] for at, day in enumerate(days)]
    kept = [row for row in old_rows if row[1] >= since]
    changed = set(draw.sample(range(len(kept)), draw.randint(0, len(kept))))
    new_rows = [
        [row[0], row[1], row[2] + "0" * (at in changed)] for at, row in enumerate(kept)
    ]
    draw.shuffle(new_rows)
    order = draw.sample(range(3), 3)
    names = ["ID", "Closed on", "PAID"]
    old, new = (
        write_csv(
            tmp_path / name,
            [names[at] for at in order],
            [[row[at] for at in order] for row in rows],
        )
        for name, rows in (("old.csv", old_rows), ("new.csv", new_rows))
    )
    filtered = f'"Closed on" >= {since}'
    for d in (
        rx.diff(old, new, keys="ID", where=filtered),
        rx.diff(old, new, keys="ID", old_where=filtered),
    ):
        assert d.counts.mismatched_rows == len(changed)
        assert (d.counts.matched, d.counts.missing, d.counts.extra) == (len(kept), 0, 0)
        assert (d.old.left_out, d.new.left_out) == (40 - len(kept), 0)


def test_23_one_row_for_several_by_folding_new(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy("23_one_to_many_split")
    words = "old.csv|new.csv|--key|CLAIM|--ignore|LINE|--new-fold|--new-sum|PAID"
    said = type_in(folder, words, monkeypatch)
    assert said.startswith("1 ✗ DIFFER 1 of 3 matched rows differs (2 folded away)")
    assert "--new-fold --new-sum PAID: folded 5 rows of NEW into 3" in said
    d = rx.diff(
        folder / "old.csv",
        folder / "new.csv",
        keys="CLAIM",
        ignore="LINE",
        new_fold=True,
        new_sum="PAID",
    )
    assert [(row.key, row.payload) for row in d.sample] == [
        ({"CLAIM": "C3"}, {"PAID": "50.00~51.00"})
    ]
    [total] = d.totals
    assert f"{total.delta:f}" == "1.00"


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_23_any_amount_in_any_number_of_parts(tmp_path: Path, seed: int) -> None:
    """NEW has the amounts of OLD in parts; some of them are wrong, some are blank."""
    draw = random.Random(seed)
    digits = draw.randint(0, 4)
    old_rows, new_rows, wrong, lost = [], [], 0, 0
    for at in range(draw.randint(1, 25)):
        parts = [draw.randint(-(10**12), 10**12) for _ in range(draw.randint(1, 5))]
        fault = draw.choice(["", "", "wrong", "blank", "other"])
        texts = [write_scaled(part, digits) for part in parts]
        names = ["S"] * len(parts)
        if fault == "wrong":
            parts[0] += 1
            wrong += 1
        elif fault == "blank":
            texts[-1] = ""
            lost += 1
        elif fault == "other" and len(parts) > 1:
            names[-1] = "T"
            lost += 1
        old_rows.append([f"C{at}", "S", write_scaled(sum(parts), digits)])
        new_rows += [
            [f"C{at}", str(line), name, text]
            for line, (name, text) in enumerate(zip(names, texts, strict=True))
        ]
    draw.shuffle(new_rows)
    order = draw.sample(range(4), 4)
    old = write_csv(tmp_path / "old.csv", ["CLAIM", "SVC", "PAID"], old_rows)
    new = write_csv(
        tmp_path / "new.csv",
        [["CLAIM", "LINE", "SVC", "PAID"][at] for at in order],
        [[row[at] for at in order] for row in new_rows],
    )
    d = rx.diff(old, new, keys="CLAIM", ignore="LINE", new_fold=True, new_sum="PAID")
    assert d.counts.mismatched_rows == wrong
    assert (d.old.unpairable, d.counts.matched) == (lost, len(old_rows) - lost)
    assert (d.counts.missing, d.counts.extra) == (0, 0)
    assert d.new.rows == d.counts.matched + d.new.folded_away + d.new.unpairable
    assert d.agrees == (not wrong and not lost)


def write_scaled(number: int, digits: int) -> str:
    """An integer with a point before its last digits."""
    text = str(abs(number)).zfill(digits + 1)
    whole, part = text[: len(text) - digits], text[len(text) - digits :]
    return ("-" if number < 0 else "") + whole + ("." + part if digits else "")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_23_any_key_in_parts(tmp_path: Path, seed: int) -> None:
    """OLD has the parts of the key in one column; some of them do not split."""
    draw = random.Random(seed)
    mark = draw.choice(["-", "/", "::", " ", "_"])
    count = draw.randint(2, 4)
    names = [f"PART{at}" for at in range(count)]
    new_rows = [
        [*(f"{draw.choice('abc')}{at}" for _ in names), str(at)]
        for at in range(draw.randint(1, 30))
    ]
    lost = set(draw.sample(range(len(new_rows)), draw.randint(0, len(new_rows) // 2)))
    old_rows = [
        [mark.join([*row[:-1], *["more"] * (at in lost)]), row[-1]]
        for at, row in enumerate(new_rows)
    ]
    old = write_csv(tmp_path / "old.csv", ["KEY", "PAID"], old_rows)
    new = write_csv(tmp_path / "new.csv", [*names, "PAID"], new_rows)
    derive = f'{",".join(names)}=split(KEY,"{mark}")'
    d = rx.diff(old, new, keys=names, old_derive=derive)
    assert (d.old.unpairable, d.counts.extra) == (len(lost), len(lost))
    assert d.counts.matched == d.counts.identical == len(new_rows) - len(lost)
    joined = f'KEY=join({",".join(names)},"{mark}")'
    d = rx.diff(old, new, keys="KEY", new_derive=joined)
    assert (d.counts.missing, d.counts.extra) == (len(lost), len(lost))
