"""Deliveries of the field that rules make comparable: folders, and variants of each.

A variant has its own widths, sides, alphabet and positions, and a truth that is known
because the differences are planted.
"""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import pytest
from support.program import recon

import recon_engine as rx


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from recon_engine import Reconciliation

FIELD: Final = Path(__file__).parents[1] / "field"
SEEDS: Final = range(20)
STAMP: Final = "timestamp(%Y-%m-%d %H:%M:%S|%Y-%m-%d,zone=UTC)"


@dataclass(frozen=True)
class Folder:
    """A folder, the options that read it, and the cells that differ: key and column."""

    name: str
    arguments: tuple[str, ...]
    differs: tuple[tuple[str, str], ...]
    files: tuple[str, str] = ("old.csv", "new.csv")


FOLDERS: Final = (
    Folder(
        "07_money_written_for_people",
        ("-k", "CLAIM_ID", "--rule", "PAID=decimal(money=$)", "--rule",
         "ADJ=decimal(money=$)", "--rule", "BAL=decimal"),
        (("1004", "PAID"),),
    ),
    Folder(
        "09_excel_text_wrapper",
        ("-k", "ID", "--rule", "ID=unwrap", "--rule", "NPI=unwrap"),
        (('="00124"', "NPI"),),
    ),
    Folder(
        "09_excel_text_wrapper",
        ("-k", "ID", "--old-rule", "NPI=unwrap"),
        (("00124", "NPI"),),
        ("old_values.csv", "new.csv"),
    ),
    Folder(
        "10_scientific_notation",
        ("-k", "CLAIM_NO", "--rule", "AMT=decimal(exp)", "--rule", "RATE=decimal(exp)"),
        (),
    ),
    Folder(
        "11_timestamps_and_zones",
        ("-k", "ID", "--rule", f"LOADED={STAMP}", "--rule", "SVC=date(sas|iso)",
         "--rule", "ADMIT=timestamp(%Y-%m-%dT%H:%M:%S%z)"),
        (("3", "ADMIT"), ("3", "LOADED")),
    ),
    Folder(
        "13_invisible_characters",
        ("-k", "ID", "--rule", "*=nfc", "--rule", "*=blanks"),
        (),
    ),
    Folder(
        "13_invisible_characters",
        ("-k", "ID", "--rule", "ID=trim"),
        (),
        ("old.csv", "new_key.csv"),
    ),
    Folder(
        "20_code_crosswalk",
        ("-k", "ID", "--old-rule", "SEX=map(M=1,F=2)", "--rule", "ACTIVE=boolean",
         "--old-rule", "STATUS=map(P=PAID,D=DENIED)"),
        (("4", "SEX"),),
    ),
    Folder(
        "33_punctuation_in_codes",
        ("-k", "SSN_KEY", "--rule", "SSN_KEY=strip(-)", "--rule", "ICD=strip(.)",
         "--rule", "NDC=strip(-)", "--rule", "NDC=zeropad(11)", "--rule",
         "PHONE=strip(() -)"),
        (("900-11-0003", "ICD"),),
    ),
    # Ten digits against eleven are equal only by a rule that says so.
    Folder(
        "33_punctuation_in_codes",
        ("-k", "SSN_KEY", "--rule", "SSN_KEY=strip(-)", "--rule", "ICD=strip(.)",
         "--rule", "NDC=strip(-)", "--rule", "PHONE=strip(() -)"),
        (("900-11-0001", "NDC"), ("900-11-0002", "NDC"), ("900-11-0003", "ICD"),
         ("900-11-0003", "NDC")),
    ),
)  # fmt: skip


def cells_of(d: Reconciliation) -> list[tuple[str, str]]:
    """The key and the column of each cell that differs."""
    return sorted(d.mismatches().select("ID", "column").rows())


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda each: f"{each.name}-{len(each.differs)}"
)
def test_a_folder_has_the_differences_that_it_should(
    folder: Folder, tmp_path: Path
) -> None:
    here = FIELD / folder.name
    old, new = (str(here / name) for name in folder.files)
    out = tmp_path / "cells.csv"
    ended = recon("diff", old, new, *folder.arguments, "-o", str(out), cwd=tmp_path)
    assert ended.returncode == bool(folder.differs), ended.stderr
    cells = pl.read_csv(out, infer_schema=False)
    keys = cells.columns[: cells.columns.index("column")]
    assert sorted(cells.select(*keys, "column").rows()) == sorted(folder.differs)
    assert "missing," not in ended.stdout


def test_totals_of_money_are_those_of_its_notation() -> None:
    here, rule = FIELD / "07_money_written_for_people", "decimal(money=$)"
    rules = {"PAID": rule, "ADJ": rule, "BAL": "decimal"}
    d = rx.diff(here / "old.csv", here / "new.csv", keys="CLAIM_ID", rules=rules)
    found = {total.column: (total.old, total.new) for total in d.totals}
    assert found == {
        "PAID": (Decimal("4258.50"), Decimal("4258.51")),
        "ADJ": (Decimal("-53.25"), Decimal("-53.25")),
        "BAL": (2_504_000, 2_504_000),
    }


@dataclass(frozen=True)
class Variant:
    """A pair of columns, the rules that read it, and the rows that really differ."""

    old: list[str]
    new: list[str]
    rules: Mapping[str, Any]
    differs: set[int]


def sides(chance: random.Random, written: Iterable[str], plain: Iterable[str]) -> Any:
    """Which side is written by the source: either."""
    pair = [*written], [*plain]
    swapped = chance.random() < 0.5
    return (pair[::-1], "new") if swapped else (pair, "old")


def grouped(number: Decimal, group: str, point: str) -> str:
    """A number with groups of three and two decimals."""
    text = f"{abs(number):,.2f}".replace(",", "\0").replace(".", point)
    return text.replace("\0", group)


def amounts(chance: random.Random) -> tuple[list[Decimal], list[Decimal], set[int]]:
    """Amounts of any size, the same with some changed by a cent, and which."""
    scale = 10 ** chance.randint(0, 12)
    old = [Decimal(chance.randint(-scale, scale * 100)) / 100 for _ in range(30)]
    changed = set(chance.sample(range(30), 3))
    new = [n + Decimal("0.01") * (at in changed) for at, n in enumerate(old)]
    return old, new, changed


def make_money(chance: random.Random) -> Variant:
    """A currency sign before or behind, minus as a sign or as parentheses."""
    sign = chance.choice(["$", "€", "£", "CHF", "kr"])
    old, new, changed = amounts(chance)

    def write(number: Decimal) -> str:
        size = grouped(number, ",", ".")
        gap = chance.choice(["", " "])
        whole = chance.choice([f"{sign}{gap}{size}", f"{size}{gap}{sign}", size])
        minus = chance.choice([f"({whole})", f"-{whole}"])
        return minus if number < 0 else whole

    (left, right), _ = sides(chance, map(write, old), [f"{n}" for n in new])
    return Variant(left, right, {"rules": {"V": f"decimal(money={sign})"}}, changed)


def make_comma(chance: random.Random) -> Variant:
    """Decimal commas on one side."""
    old, new, changed = amounts(chance)
    written = [f"{'-' * (n < 0)}{grouped(n, '.', ',')}" for n in old]
    (left, right), side = sides(chance, written, [f"{n}" for n in new])
    return Variant(left, right, {f"{side}_rules": {"V": "decimal(comma)"}}, changed)


def make_wrapped(chance: random.Random) -> Variant:
    """Codes in the form in which a spreadsheet keeps their zeros."""
    width = chance.randint(1, 18)
    codes = [f"{chance.randrange(10**width):0{width}}" for _ in range(30)]
    changed = set(chance.sample(range(30), 3))
    new = [f"{code}9" if at in changed else code for at, code in enumerate(codes)]
    written = [chance.choice([f'="{c}"', f"'{c}"]) for c in codes]
    (left, right), side = sides(chance, written, new)
    return Variant(left, right, {f"{side}_rules": {"V": "unwrap"}}, changed)


def make_exponents(chance: random.Random) -> Variant:
    """Exponents of any size, and the digits that they stand for."""
    old, new, changed = [], [], set(chance.sample(range(30), 3))
    for at in range(30):
        power, digits = chance.randint(-30, 30), chance.randint(1, 10**6)
        number = Decimal(digits).scaleb(power)
        letter, plus = chance.choice("eE"), chance.choice(["", "+"]) * (power >= 0)
        old.append(f"{digits}{letter}{plus}{power}")
        new.append(f"{number + number * (at in changed):f}")
    (left, right), _ = sides(chance, old, new)
    return Variant(left, right, {"rules": {"V": "decimal(exp)"}}, changed)


def make_instants(chance: random.Random) -> Variant:
    """Instants with any offset of whole quarters of an hour."""
    old, new, changed = [], [], set(chance.sample(range(30), 3))
    for at in range(30):
        day, second = chance.randint(0, 20_000), chance.randrange(86_400)
        quarter = chance.randint(-48, 56)
        moment = pl.Series([day * 86_400 + second])
        local = moment + quarter * 900 + (at in changed)
        texts = [
            each.cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S").item()
            for each in (moment * 1000, local * 1000)
        ]
        hours, minutes = divmod(abs(quarter) * 15, 60)
        old.append(f"{texts[0]}Z")
        new.append(f"{texts[1]}{'-' if quarter < 0 else '+'}{hours:02}:{minutes:02}")
    (left, right), _ = sides(chance, old, new)
    rule = "timestamp(%Y-%m-%dT%H:%M:%S%z)"
    return Variant(left, right, {"rules": {"V": rule}}, changed)


def make_invisible(chance: random.Random) -> Variant:
    """Blanks of other kinds, zero width, decomposed letters."""
    words = ["Zürich", "Köln", "Łódź", "Ann Lee", "São Paulo", "Müller AG"]
    old = [chance.choice(words) for _ in range(30)]
    changed = set(chance.sample(range(30), 3))

    def write(text: str) -> str:
        text = unicodedata.normalize(chance.choice(["NFC", "NFD"]), text)
        text = text.replace(" ", chance.choice(["\u00a0", "  ", " \u2009", " "]))
        before, after = ["\u200b", "\ufeff", "", " "], ["\u2060", "", "\u3000"]
        return chance.choice(before) + text + chance.choice(after)

    new = [write(f"{text}x" if at in changed else text) for at, text in enumerate(old)]
    (left, right), _ = sides(chance, old, new)
    return Variant(left, right, {"rules": {"V": ["nfc", "blanks"]}}, changed)


def make_codes(chance: random.Random) -> Variant:
    """A code table of any size, with codes that are wrong and codes not listed."""
    alphabet = chance.choice(["ABCDEFGH", "äöüßéñ", "0123456789"])
    count = chance.randint(2, len(alphabet))
    listed = chance.sample(alphabet, count)
    table = {code: f"{at + 100}" for at, code in enumerate(listed)}
    old = [chance.choice(listed) for _ in range(30)]
    changed = set(chance.sample(range(30), 4))
    new = ["7" if at in changed else table[code] for at, code in enumerate(old)]
    first = min(changed)
    old[first] = new[first] = "not listed"
    (left, right), side = sides(chance, old, new)
    spelled = ",".join(f"{code}={right}" for code, right in table.items())
    return Variant(left, right, {f"{side}_rules": {"V": f"map({spelled})"}}, changed)


def make_punctuation(chance: random.Random) -> Variant:
    """Codes with marks between their characters."""
    marks = chance.choice(["-", ".", "-/", " ()-"])
    letters = chance.choice(["0123456789", "ABCDEF0123", "ГДЖЯ012"])
    codes = ["".join(chance.choices(letters, k=9)) for _ in range(30)]
    changed = set(chance.sample(range(30), 3))
    new = [f"{code}0" if at in changed else code for at, code in enumerate(codes)]
    old = []
    for code in codes:
        at = chance.randint(1, 8)
        old.append(code[:at] + chance.choice(marks) + code[at:])
    (left, right), _ = sides(chance, old, new)
    return Variant(left, right, {"rules": {"V": f"strip({marks})"}}, changed)


MAKERS: Final[dict[str, Callable[[random.Random], Variant]]] = {
    "07 money": make_money,
    "07 comma": make_comma,
    "09 wrapped": make_wrapped,
    "10 exponents": make_exponents,
    "11 instants": make_instants,
    "13 invisible": make_invisible,
    "20 codes": make_codes,
    "33 punctuation": make_punctuation,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_variant_has_the_differences_that_were_planted(
    kind: str, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(f"{kind} {seed}")
    variant = MAKERS[kind](chance)
    keys = [f"{at}" for at in range(len(variant.old))]
    old, new = (
        pl.DataFrame({"ID": keys, "V": texts, "W": keys})
        for texts in (variant.old, variant.new)
    )
    found = [rx.diff(old, new, keys="ID", **variant.rules)]
    order = chance.sample(range(len(keys)), len(keys))
    old.write_csv(tmp_path / "old.csv", quote_style="always")
    new[order].write_csv(tmp_path / "new.csv")
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    found.append(rx.diff(*paths, keys="ID", **variant.rules))
    for d in found:
        assert cells_of(d) == sorted((f"{at}", "V") for at in variant.differs)
        assert not d.counts.missing
        assert not d.counts.extra
