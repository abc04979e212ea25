"""Seeded pairs of files as two systems write them, with the differences known.

The systems differ in delimiter, encoding, names, order, dates, numbers, padding and
codes. Beside that, some rows are missing, some extra, and some cells changed.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from support.program import recon


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Row = dict[str, str]

LETTERS = {
    "german": "äöüß",
    "french": "éèçà",
    "polish": "ąęłż",
    "english": "aeio",
}
COLUMNS = (
    "CLM_ID", "LINE", "MEMBER_ID", "NAME", "CITY", "SVC_DT", "PAID_AMT", "RATE",
    "STATUS", "DRG", "NOTE", "UNITS",
)  # fmt: skip
OTHER_NAMES = {
    "CLM_ID": "ClaimNumber",
    "MEMBER_ID": "subscriber",
    "SVC_DT": "service_date",
    "PAID_AMT": "amount_paid",
    "CITY": "town",
    "DRG": "drg_code",
}
# Seeds from here on have more styles.
FIRST_OF_MORE = 1_000
FIRST_OF_FLOATS = 2_000
CODES = {"A": "10", "P": "20", "D": "30"}


@dataclass
class Planted:
    """What differs beside spelling: keys that are missing or extra, changed cells."""

    missing: set[tuple[str, ...]] = field(default_factory=set)
    extra: set[tuple[str, ...]] = field(default_factory=set)
    cells: set[tuple[tuple[str, ...], str]] = field(default_factory=set)


@dataclass(frozen=True)
class Style:
    """How the two systems write the same rows.

    `comma`: OLD has a decimal comma. `whole_key`: the side that has claim and line in
    one column, with `separator` between them. `fixed`: the side whose lines have one
    width: OLD with a header, NEW without one. `floats`: the side that writes claims as
    a float column does, such as `70013.0`.
    """

    language: str
    delimiters: str
    encodings: tuple[str, str]
    renamed: tuple[str, ...] = ()
    padded_key: bool = False
    lines: int = 1
    dates: tuple[str, str] = ("%Y%m%d", "%Y-%m-%d")
    grouped: bool = False
    upper: bool = False
    codes: bool = False
    folded_names: bool = False
    preamble: int = 0
    trailer: bool = False
    comma: bool = False
    whole_key: str = ""
    separator: str = "-"
    fixed: str = ""
    floats: str = ""


STYLES = (
    Style("german", ";,", ("cp1252", "utf-8"), tuple(OTHER_NAMES), padded_key=True,
          comma=True),
    Style("french", ",,", ("utf-8", "utf-8"), ("PAID_AMT", "CITY"), grouped=True),
    Style("polish", "|;", ("utf-8", "utf-16"), lines=3, dates=("%d.%m.%Y", "%Y%m%d"),
          whole_key="old"),
    Style("english", "\t,", ("utf-8", "utf-8"), ("CLM_ID",), upper=True, codes=True),
    Style("german", ";;", ("cp1252", "cp1252"), folded_names=True, codes=True),
    Style("french", ";,", ("cp1252", "utf-8"), ("CLM_ID", "DRG"), lines=2,
          padded_key=True),
    Style("english", ",|", ("utf-8", "utf-8"), ("SVC_DT",),
          dates=("%m/%d/%Y", "%Y-%m-%d"), preamble=3),
    Style("polish", ",;", ("utf-8", "utf-8"), tuple(OTHER_NAMES), upper=True,
          grouped=True),
    Style("german", ";,", ("cp1252", "utf-8"), ("MEMBER_ID",), trailer=True),
    Style("english", "|\t", ("utf-8", "utf-16"), ("PAID_AMT",), padded_key=True,
          folded_names=True, lines=2, whole_key="new", separator="/"),
)  # fmt: skip


def draw_style(chance: random.Random) -> Style:
    """A style of two systems whose every difference in spelling can be read."""
    language = chance.choice([*LETTERS])
    encodings = ["utf-8", "utf-16"] + ["cp1252"] * (language != "polish")
    # Two orders of day and month cannot be told apart by a file alone.
    days = ["%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", chance.choice(["%m/%d/%Y", "%d/%m/%Y"])]
    lines = chance.choice([1, 1, 2, 3])
    return Style(
        language,
        "".join(chance.choices(";,|\t", k=2)),
        (chance.choice(encodings), chance.choice(encodings)),
        tuple(name for name in OTHER_NAMES if chance.random() < 0.4),
        padded_key=chance.random() < 0.3,
        lines=lines,
        dates=(chance.choice(days), chance.choice(days)),
        grouped=chance.random() < 0.3,
        upper=chance.random() < 0.3,
        codes=chance.random() < 0.3,
        folded_names=chance.random() < 0.3,
        preamble=chance.choice([0, 0, 1, 4]),
        trailer=chance.random() < 0.3,
        comma=chance.random() < 0.3,
        whole_key=chance.choice(["", "old", "new"]) if lines > 1 else "",
        separator=chance.choice("-/_"),
    )


def _with_more(style: Style, seed: int) -> Style:
    """The style without a separator in keys, or with lines of one width."""
    if seed % 4 == 0:
        style = replace(style, separator="")
    # Another code table has no values by which a column could be named.
    if seed % 5 == 0 and not style.codes:
        style = replace(style, fixed=("old", "new")[seed // 5 % 2])
    # Joined with a line, a number is a text.
    if seed >= FIRST_OF_FLOATS and not style.whole_key:
        style = replace(style, floats=("old", "new")[seed % 2])
    return style


def write_pair(folder: Path, seed: int, rows: int = 1_500) -> tuple[Style, Planted]:
    """Write old.csv and new.csv in the style of the seed; return what was planted.

    A seed behind those of `STYLES` draws its style.
    """
    chance = random.Random(seed)
    style = STYLES[seed] if seed < len(STYLES) else draw_style(chance)
    if seed >= FIRST_OF_MORE:
        style = _with_more(style, seed)
    planted = Planted()
    old = [
        _make_row(chance, style, claim, line)
        for claim in range(rows)
        for line in range(chance.randint(1, style.lines))
    ]
    new = []
    for row in old:
        if chance.random() < 0.01:
            planted.missing.add(key_of(row, style))
            continue
        new.append(_change(chance, style, dict(row), planted))
    for claim in range(rows, rows + rows // 100):
        row = _make_row(chance, style, claim, 0)
        planted.extra.add(key_of(row, style))
        new.append(row)
    chance.shuffle(new)
    _write(folder / "old.csv", 0, style, [_as_old(row, style) for row in old], COLUMNS)
    names = [column for column in COLUMNS if column != "UNITS"]
    chance.shuffle(names)
    _write(folder / "new.csv", 1, style, [_as_new(row, style) for row in new], names)
    return style, planted


def compare_with_truth(folder: Path, style: Style, planted: Planted) -> list[str]:
    """What `recon init` and `recon diff` show that was not planted, or hide."""
    drafted = recon("init", "old.csv", "new.csv", "--yes", cwd=folder)
    if drafted.returncode != 0:
        return [drafted.stderr]
    command = ("diff", "old.csv", "new.csv", "-f", "json", "--detail-limit", "1000000")
    ended = recon(*command, cwd=folder)
    if ended.returncode not in {0, 1}:
        return [ended.stderr]
    found = json.loads(ended.stdout)
    counts, wrong = found["counts"], []
    # In a small pair MEMBER_ID may be unique by chance, and then it is as good a key.
    same_key = found["keys"] != ["MEMBER_ID"]
    for part, rows in (("missing", planted.missing), ("extra", planted.extra)):
        shown = {
            tuple(map(_normalize, row.values())) for row in found[f"{part}_sample"]
        }
        if (same_key and shown != rows) or counts[part] != len(rows):
            wrong.append(f"{part}: {counts[part]} are shown, {len(rows)} are planted")
    differing = Counter({each["name"]: each["mismatched"] for each in found["columns"]})
    # Another code table differs in all rows: nothing hides it.
    if style.codes and differing.pop("STATUS") != counts["matched"]:
        wrong.append("STATUS: another code table is hidden")
    cells = {
        (tuple(map(_normalize, row["key"].values())), column)
        for row in found["sample"]
        for column in row["payload"]
        if column != "STATUS" or not style.codes
    }
    truth = Counter(column for _, column in planted.cells)
    if (same_key and cells != planted.cells) or +differing != truth:
        wrong.append(f"cells: {differing} are shown, {truth} are planted")
    return wrong


def _normalize(value: str) -> str:
    """A value of a key without padding and the point of a float."""
    return value.strip().lstrip("0").removesuffix(".0")


def key_of(row: Row, style: Style) -> tuple[str, ...]:
    """The key of a row, without padding."""
    claim = row["CLM_ID"].lstrip("0")
    return (claim, row["LINE"]) if style.lines > 1 else (claim,)


def _make_row(chance: random.Random, style: Style, claim: int, line: int) -> Row:
    letters = LETTERS[style.language]
    # Of a few hundred: a name is no key.
    name = _make_name(chance.randrange(300), letters)
    day = date(2024, 1, 1) + timedelta(days=chance.randrange(700))
    return {
        "CLM_ID": str(70_000 + 13 * claim),
        "LINE": str(line + 1),
        "MEMBER_ID": f"M{chance.randrange(10**6):06}",
        "NAME": name,
        "CITY": chance.choice("KLMNOP") + chance.choice(letters) + "burg",
        "SVC_DT": day.isoformat(),
        "PAID_AMT": f"{chance.randrange(100, 9_000_000) / 100:.2f}",
        "RATE": f"{chance.randrange(1, 1000) / 1000:.3f}",
        "STATUS": chance.choice("APD"),
        "DRG": f"{chance.randrange(1, 999):03}",
        "NOTE": chance.choice(["", "urgent", "a; b, c", 'says "x"']),
        "UNITS": str(chance.randrange(1, 9)),
    }


@functools.cache
def _make_name(seed: int, letters: str) -> str:
    named = random.Random(seed)
    return "".join(named.choice("bdlmnrst" + letters) for _ in range(8)).capitalize()


CHANGES: dict[str, Callable[[str], str]] = {
    "NAME": lambda text: text[::-1].capitalize() + "x",
    "PAID_AMT": lambda text: f"{float(text) + 1:.2f}",
    "SVC_DT": lambda text: (date.fromisoformat(text) + timedelta(9)).isoformat(),
    "MEMBER_ID": lambda text: text[:-1] + ("1" if text[-1] != "1" else "2"),
    "NOTE": lambda text: text + " later",
}


def _change(chance: random.Random, style: Style, row: Row, planted: Planted) -> Row:
    for column, change in CHANGES.items():
        if chance.random() < 0.004:
            row[column] = change(row[column])
            planted.cells.add((key_of(row, style), column))
    return row


def _as_old(row: Row, style: Style) -> Row:
    day = date.fromisoformat(row["SVC_DT"])
    key = row["CLM_ID"] + ".0" * (style.floats == "old")
    key = key.zfill(12) if style.padded_key else key
    changed = {"SVC_DT": day.strftime(style.dates[0]), "CLM_ID": key}
    if style.comma:
        amount = f"{float(row['PAID_AMT']):,.2f}"
        changed["PAID_AMT"] = amount.translate(str.maketrans(",.", ".,"))
    return row | changed


def _as_new(row: Row, style: Style) -> Row:
    day = date.fromisoformat(row["SVC_DT"])
    amount = float(row["PAID_AMT"])
    changed = {
        "SVC_DT": day.strftime(style.dates[1]),
        "PAID_AMT": f"{amount:,.2f}" if style.grouped else f"{amount:.3f}",
        "DRG": row["DRG"].lstrip("0"),
        "CLM_ID": row["CLM_ID"] + ".0" * (style.floats == "new"),
    }
    if style.upper:
        changed["NAME"] = row["NAME"].upper()
    if style.codes:
        changed["STATUS"] = CODES[row["STATUS"]]
    return row | changed


def _write(
    path: Path,
    side: int,
    style: Style,
    rows: list[Row],
    names: list[str] | tuple[str, ...],
) -> None:
    text = io.StringIO()
    for number in range(style.preamble if side == 0 else 0):
        text.write(f"Report line {number}\n")
    whole = style.whole_key == ("old", "new")[side]
    if whole:
        names = [name for name in names if name != "LINE"]
        rows = [
            row | {"CLM_ID": f"{row['CLM_ID']}{style.separator}{row['LINE']}"}
            for row in rows
        ]
    renamed = {name: OTHER_NAMES[name] for name in style.renamed} if side else {}
    if whole:
        renamed["CLM_ID"] = "CLAIM"
    header = [renamed.get(name, name) for name in names]
    if side == 1 and style.folded_names:
        header = [name.lower() for name in header]
    if style.fixed == ("old", "new")[side]:
        text.write(_write_lines(rows, names, [] if side else header, style.trailer))
        path.write_bytes(text.getvalue().encode(style.encodings[side]))
        return
    writer = csv.writer(text, delimiter=style.delimiters[side], lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row[name] for name in names] for row in rows)
    if style.trailer:
        writer.writerow(["TRL", len(rows)])
    path.write_bytes(text.getvalue().encode(style.encodings[side]))


def _write_lines(
    rows: list[Row],
    names: list[str] | tuple[str, ...],
    header: list[str],
    trailer: bool,  # noqa: FBT001
) -> str:
    """The rows as lines of one width; amounts are right-aligned."""
    table = [[row[name] for name in names] for row in rows]
    every = [header, *table] if header else table
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    lines = [
        " ".join(
            value.rjust(width) if name == "PAID_AMT" else value.ljust(width)
            for value, width, name in zip(values, widths, names, strict=True)
        )
        for values in every
    ]
    end = [f"TRL{len(rows):09}"] if trailer else []
    return "\n".join([*lines, *end, ""])
