"""A pair whose names and values try to break out of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from recon_engine import diff


if TYPE_CHECKING:
    from recon_engine import Reconciliation


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>\u2028\u2029",
    "\x07bell\x1b[31m\u202egnp.exe",
    "{{ 7*7 }} {% raw %} \\u003c & \" ' `",
)


def table(**columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def pair(old: list[str], new: list[str], **options: Any) -> Reconciliation:
    ids = [str(at) for at in range(len(old))]
    return diff(table(ID=ids, TEXT=old), table(ID=ids, TEXT=new), keys="ID", **options)
