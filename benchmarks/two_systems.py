"""Seeded pairs as two systems write them: every row differs in spelling.

OLD is a German export: semicolons, cp1252, decimal commas and points between groups,
days as 31.12.2024, a key of 12 digits with zeros before it, and letters as codes. NEW
is of the ISO kind: commas, UTF-8, 1234.5, 2024-12-31, a bare key, digits as codes, and
other names for seven columns. `recon init` exists for such pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from drawn_rows import draw_rows, mix_bits


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


KEY: Final = "CLM_ID"
# OLD and NEW.
RENAMED: Final = {
    KEY: "ClaimNumber",
    "SVC_DT": "service_date",
    "PAID_AMT": "amount_paid",
    "CITY": "town",
    "MEMBER": "subscriber",
    "PLAN": "plan_code",
    "WARD": "ward_code",
}
LETTERS: Final = ("ä", "ö", "ü", "ß")
STATUS: Final = {"A": "10", "P": "20", "D": "30", "R": "40", "X": "50"}
DAYS: Final = 4_000
CITIES: Final = 400
NAMES: Final = 20_000
REMARKS: Final = (
    "",
    "per Überweisung erledigt",
    "Rückfrage bei der Kasse; offen",
    "Gutschrift geprüft, nächster Lauf",
)


def generate_systems(
    folder: Path, *, rows: int, changed: float, shuffled: bool, seed: int
) -> dict[str, int]:
    """Write a pair of 40 columns; the counts, if the spelling is no difference.

    In a share `changed` of the rows one amount or day differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_rows(rows, changed, seed, shuffled=shuffled)
    old = _make_rows(np.arange(rows), None)
    new = _make_rows(drawn.numbers, drawn.marks[drawn.numbers])
    with (folder / "claims_old.csv").open("wb") as file:
        text = _as_german(old).write_csv(separator=";")
        file.write(text.encode("cp1252"))
    _as_iso(new).write_csv(folder / "claims_NEWSYSTEM.csv")
    return drawn.write_expected(folder)


def _make_rows(numbers: np.ndarray, marks: np.ndarray | None) -> pl.DataFrame:
    """The rows as values: amounts in cents, days since 2015, texts."""
    columns: dict[str, pl.Series] = {}
    for at, (name, make) in enumerate(COLUMNS.items()):
        columns[name] = make(mix_bits(numbers, at))
    columns[KEY] = pl.Series(numbers.astype(np.int64) * 13 + 70_000)
    if marks is not None:
        which = mix_bits(numbers, 0) % np.uint64(len(CHANGED))
        for at, name in enumerate(CHANGED):
            here = pl.Series((marks & (which == at)).astype(np.int64))
            columns[name] = columns[name] + here * (1 if name in DATED else 100)
    return pl.DataFrame(columns)


def _as_german(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as OLD writes them."""
    return rows.with_columns(
        pl.col(KEY).cast(pl.String).str.zfill(12),
        *(_write_days(name, "%d.%m.%Y") for name in DATED),
        *(
            _sign(name) + _group_digits(_units(name)) + "," + _cents(name)
            for name in AMOUNTS
        ),
    )


def _as_iso(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as NEW writes them."""
    written = rows.with_columns(
        pl.col(KEY).cast(pl.String),
        pl.col("STATUS").replace_strict(STATUS),
        *(_write_days(name, "%Y-%m-%d") for name in DATED),
        *(
            _sign(name) + (_units(name) + "." + _cents(name)).str.strip_suffix("0")
            for name in AMOUNTS
        ),
    )
    return written.rename(RENAMED)


def _write_days(name: str, form: str) -> pl.Expr:
    first = pl.lit("2015-01-01").str.to_date()
    return (first + pl.duration(days=pl.col(name))).dt.strftime(form).alias(name)


def _sign(name: str) -> pl.Expr:
    below = pl.when(pl.col(name) < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return below.alias(name)


def _units(name: str) -> pl.Expr:
    return (pl.col(name).abs() // 100).cast(pl.String)


def _cents(name: str) -> pl.Expr:
    return (pl.col(name).abs() % 100).cast(pl.String).str.zfill(2)


def _group_digits(digits: pl.Expr) -> pl.Expr:
    """Points between groups of three, of at most nine digits."""
    three = digits.str.replace(r"^(\d+)(\d{3})(\d{3})$", "${1}.${2}.${3}")
    return three.str.replace(r"^(\d+)(\d{3})$", "${1}.${2}")


def _draw_integers(most: int) -> Callable[[np.ndarray], pl.Series]:
    return lambda mixed: pl.Series((mixed % np.uint64(most)).astype(np.int64))


def _draw_amounts(most: int, below: int) -> Callable[[np.ndarray], pl.Series]:
    """Cents, of which one in `below` is negative."""
    return lambda mixed: pl.Series(
        (mixed % np.uint64(most)).astype(np.int64)
        * np.where((mixed >> np.uint64(40)) % np.uint64(below) == 0, -1, 1)
    )


def _draw_texts(texts: Sequence[str]) -> Callable[[np.ndarray], pl.Series]:
    every = pl.Series(texts)
    return lambda mixed: every.gather(pl.Series(mixed % np.uint64(len(texts))))


def _name(number: int, size: int) -> str:
    """A name with a letter that cp1252 and UTF-8 write otherwise."""
    syllables = ("ba", "de", "li", "mo", "nu", "ra", "se", "to", "wi", "za")
    parts = [syllables[number // 10**at % 10] for at in range(size)]
    parts[number % size] += LETTERS[number % len(LETTERS)]
    return "".join(parts).capitalize()


LARGE_AMOUNTS: Final = ("PAID_AMT", "BILLED", "ALLOWED", "COPAY", "DEDUCT", "TAX")
SMALL_AMOUNTS: Final = ("REFUND", "FEE", "BALANCE", "LIMIT")
AMOUNTS: Final = (*LARGE_AMOUNTS, *SMALL_AMOUNTS)
DATED: Final = ("SVC_DT", "BORN", "SENT", "BOOKED", "CLOSED")
CHANGED: Final = ("PAID_AMT", "BALANCE", "SVC_DT", "BOOKED")
COLUMNS: Final[dict[str, Callable[[np.ndarray], pl.Series]]] = {
    KEY: _draw_integers(1),
    "MEMBER": lambda mixed: (
        "M" + _draw_integers(10**9)(mixed).cast(pl.String).str.zfill(9)
    ),
    "NAME": _draw_texts([_name(at, 6) for at in range(NAMES)]),
    "CITY": _draw_texts([_name(at, 4) for at in range(CITIES)]),
    "STATUS": _draw_texts([*STATUS]),
    "PLAN": _draw_texts([f"P{at:03}" for at in range(80)]),
    "WARD": _draw_texts([f"W-{at:02}" for at in range(60)]),
    **{name: _draw_integers(DAYS) for name in DATED},
    **dict.fromkeys(LARGE_AMOUNTS, _draw_amounts(900_000_000, 12)),
    **dict.fromkeys(SMALL_AMOUNTS, _draw_amounts(500_000, 12)),
    "REMARK": _draw_texts(REMARKS),
    "STREET": _draw_texts([f"{_name(at, 7)}straße" for at in range(NAMES)]),
    "REFERENCE": lambda mixed: (
        "DE" + _draw_integers(10**17)(mixed).cast(pl.String).str.zfill(18)
    ),
    "DOCTOR": _draw_texts([f"Dr. {_name(at, 5)}" for at in range(2_000)]),
    **{f"CODE_{at}": _draw_texts([f"{n:03}" for n in range(300)]) for at in range(5)},
    **{f"FLAG_{at}": _draw_texts(["J", "N"]) for at in range(4)},
    **{f"COUNT_{at}": _draw_integers(40) for at in range(4)},
    "CATALOGUE": _draw_texts([f"{n:04}.{n % 7}" for n in range(3_000)]),
}
