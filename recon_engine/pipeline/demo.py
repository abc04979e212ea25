"""Generate a pair of claims files with the differences that migrations cause."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from recon_engine.config import Options, RunConfig


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


KEYS: Final = ("DESYNPUF_ID", "CLM_ID", "SEGMENT")
COLUMNS: Final = (
    *KEYS,
    "CLM_FROM_DT",
    "CLM_THRU_DT",
    "PRVDR_NUM",
    "CLM_PMT_AMT",
    "NCH_PRMRY_PYR_CLM_PD_AMT",
    "AT_PHYSN_NPI",
    "OP_PHYSN_NPI",
    "ADMTNG_ICD9_DGNS_CD",
    "CLM_PASS_THRU_PER_DIEM_AMT",
    "NCH_BENE_IP_DDCTBL_AMT",
    "CLM_UTLZTN_DAY_CNT",
    "NCH_BENE_DSCHRG_DT",
    "CLM_DRG_CD",
    "ICD9_DGNS_CD_1",
    "ICD9_DGNS_CD_2",
    "ICD9_DGNS_CD_3",
    "CLM_NOTE",
)

DEMO_FILE: Final = re.compile(r"claims_\d{8}T\d{6,12}_(OLD|NEW)SYSTEM\.csv")

Claim = dict[str, str]


class Damage(NamedTuple):
    """A change to a share of the values of one column."""

    column: str
    share: float
    change: Callable[[str], str]


def prepare_demo(folder: Path, *, rows: int) -> Callable[[str], RunConfig]:
    """Write a new pair to the demo's inbound folder; return what configures its run.

    That function takes the address of the database.

    File names contain the time, so that each demo is a new delivery. Files of earlier
    demos are removed from inbound.
    """
    inbound = folder / "inbound"
    inbound.mkdir(parents=True, exist_ok=True)
    # A run accepts exactly two files. Only those of the demo are removed.
    for path in inbound.iterdir():
        if DEMO_FILE.fullmatch(path.name):
            path.unlink()
    # With microseconds: two demos of one second would be one pair, compared already.
    stem = f"claims_{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    write_pair(
        inbound / f"{stem}_OLDSYSTEM.csv", inbound / f"{stem}_NEWSYSTEM.csv", rows=rows
    )
    return lambda database: RunConfig(
        dataset="claims_demo",
        inbound=str(inbound),
        processed=str(folder / "processed"),
        out=str(folder / "out"),
        options=Options(keys=KEYS),
        database=database,
    )


def write_pair(old: Path, new: Path, *, rows: int, seed: int = 2026) -> None:
    """Write OLD and NEW; the same `rows` and `seed` give the same bytes.

    NEW has the claims of OLD in another order. About 0.5% are missing, mostly
    emergencies, and 0.3% are extra. A fixed share of some columns is written another
    way or has another value (`DAMAGE`).
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    claims = [_make_claim(chance, number) for number in range(rows)]
    kept = [
        _damage_claim(chance, claim) for claim in claims if not _is_lost(chance, claim)
    ]
    extra = [
        _make_claim(chance, rows + number) for number in range(max(1, rows // 300))
    ]
    migrated = kept + extra
    chance.shuffle(migrated)
    _write_csv(old, claims)
    _write_csv(new, migrated)


def _write_csv(path: Path, claims: list[Claim]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(COLUMNS) + "\n")
        stream.writelines(_format_line(claim) for claim in claims)


def _format_line(claim: Claim) -> str:
    return ",".join(_format_field(claim[name]) for name in COLUMNS) + "\n"


def _format_field(value: str) -> str:
    return f'"{value}"' if "," in value else value


def _make_claim(chance: random.Random, number: int) -> Claim:
    start = date(2025, 1, 1) + timedelta(days=chance.randrange(600))
    end = start + timedelta(days=chance.randrange(1, 12))
    return dict(zip(COLUMNS, _claim_values(chance, number, start, end), strict=True))


def _claim_values(
    chance: random.Random, number: int, start: date, end: date
) -> Iterator[str]:
    yield f"{chance.getrandbits(64):016X}"
    yield str(196_000_000_000_000 + number)
    yield "2" if chance.random() < 0.02 else "1"
    yield f"{start:%Y%m%d}"
    yield f"{end:%Y%m%d}"
    state, unit = chance.randrange(60), chance.randrange(1000)
    yield f"{state:02}{chance.choice('0STU')}{unit:03}A"
    yield f"{chance.randrange(1, 60) * 1000}.00"
    yield f"{chance.choice((0, 0, 0, 500, 1200))}.00"
    yield str(chance.randrange(10**9, 10**10))
    yield str(chance.randrange(10**9, 10**10)) if chance.random() < 0.6 else ""
    yield f"{chance.randrange(1, 999):03}{chance.choice(('', '0', '1', '9'))}"
    yield f"{chance.choice((0, 10, 20, 40))}.00"
    yield "1024.00"
    yield str((end - start).days)
    yield f"{end:%Y%m%d}"
    yield f"{chance.randrange(1, 999):03}"
    for share in (1.0, 0.8, 0.5):
        yield str(chance.randrange(1000, 99999)) if chance.random() < share else ""
    yield chance.choice(("", "", "routine", "elective, planned", "emergency"))


def _is_lost(chance: random.Random, claim: Claim) -> bool:
    return chance.random() < (0.02 if claim["CLM_NOTE"] == "emergency" else 0.001)


def _damage_claim(chance: random.Random, claim: Claim) -> Claim:
    result = dict(claim)
    for damage in DAMAGE:
        if chance.random() < damage.share:
            result[damage.column] = damage.change(result[damage.column])
    return result


DAMAGE: Final = (
    Damage("CLM_PMT_AMT", 0.042, lambda value: value.removesuffix(".00")),
    Damage("CLM_PMT_AMT", 0.018, lambda value: f"{float(value) * 1.02:.2f}"),
    Damage("CLM_THRU_DT", 0.030, lambda value: f"{value[:4]}-{value[4:6]}-{value[6:]}"),
    Damage("ICD9_DGNS_CD_1", 0.005, lambda value: value + "0"),
    Damage("OP_PHYSN_NPI", 0.005, lambda _: ""),
    Damage("CLM_DRG_CD", 0.005, lambda value: value.lstrip("0")),
    Damage("PRVDR_NUM", 0.003, str.lower),
    Damage("CLM_NOTE", 0.002, lambda value: f"{value} " if value else value),
    Damage("AT_PHYSN_NPI", 0.001, lambda value: str(int(value) + 1)),
)
