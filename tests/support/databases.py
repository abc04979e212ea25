"""Databases in the state that an older version left."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


ROWS = 400


def migrated(folder: Path) -> tuple[Path, Path]:
    """Write the pair."""
    old, new = ["ID,DOB,CODE,PAID,STATE,NOTE"], ["ID,DOB,CODE,PAID,REGION,NOTE"]
    for at in range(ROWS):
        key, day, code = f"{at + 1:06}", at % 28 + 1, f"{at % 90:03}"
        amount = f"{at * 7}.{at % 1000:03}"
        old.append(f"{key},202601{day:02},{code},{amount},S{at % 7},n{at}")
        note, code = f"n{at}", code.lstrip("0") or "0" if at % 4 == 0 else code
        paid = f"{at * 7 + (at % 1000) / 1000:.2f}" if at % 2 else amount
        if at == 11:
            paid = "99999.00"
        if at == 12:
            note = "someone else"
        key = key.lstrip("0") if at % 10 == 0 else key
        new.append(f"{key},2026-01-{day:02},{code},{paid},S{at % 7},{note}")
    paths = folder / "old.csv", folder / "new.csv"
    for path, lines in zip(paths, (old, new), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths
