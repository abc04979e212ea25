"""A pair with known differences, and suppressions that cover them."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from recon_engine import Reconciliation, diff
from recon_engine.model import Suppressible, Suppression


DAY = date(2026, 11, 25)


def pair() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Five pairs, of which three differ, in four cells; two missing and one extra."""
    old = pl.DataFrame(
        {
            "ID": list("1234567"),
            "PAID": ["10.00", "20.00", "30.00", "40.00", "50.00", "6", "7"],
            "CODE": ["a", "b", "c", "d", "e", "f", "g"],
        }
    )
    new = pl.DataFrame(
        {
            "ID": list("123458"),
            "PAID": ["10", "20", "30.01", "40.00", "50.00", "8"],
            "CODE": ["a", "B", "c", "d", "e", "h"],
        }
    )
    return old, new


def known(what: str, **facts: Any) -> Suppression:
    usual: dict[str, Any] = {"reason": "a defect", "owner": "claims", "until": DAY}
    return Suppression(what=Suppressible(what), **usual | facts)


def suppressed(*suppressions: Suppression, **options: Any) -> Reconciliation:
    usual: dict[str, Any] = {"keys": "ID", "today": DAY}
    return diff(*pair(), suppressions=suppressions, **usual | options)


ALL = (known("missing"), known("extra"), known("column", column="PAID"))
