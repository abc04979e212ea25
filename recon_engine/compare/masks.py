"""Masks: what every output shows in place of the values of some columns.

A mask changes no count, no kind and no choice of rows. A blank stays blank, so that
`value_to_blank` remains readable. The order of values reveals information about them,
so whatever is ordered by values is ordered again by what is shown.
"""

from __future__ import annotations

import hmac
import os
import re
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from recon_engine.config import Mask
from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.model import Cell
from recon_engine.records import dataclass
from recon_engine.result import Frames, SampleRow


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.findings import Findings


KEY_VARIABLE: Final = "RECON_MASK_KEY"
KEY_FILE_VARIABLE: Final = "RECON_MASK_KEY_FILE"
# 128 bits, so that a random key cannot be guessed.
MIN_KEY_BYTES: Final = 16
PREFIX: Final = "hmac:"
# 80 bits: two of a billion values collide with a chance below 1 in a million.
TOKEN_BYTES: Final = 10
REDACTED: Final = "(redacted)"
VISIBLE_CHARS: Final = 4
# `last4` shows less than half of a value; shorter values are redacted.
MIN_VISIBLE_LENGTH: Final = 8
TEXT: Final = pl.String()
MASKED: Final = lazy_pattern(
    rf"{PREFIX}[0-9a-f]{{{2 * TOKEN_BYTES}}}|….{{{VISIBLE_CHARS}}}", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Masks:
    """The mask of each masked column, by its name in results, and the `hmac` key."""

    by_column: Mapping[str, Mask]
    key: bytes = field(default=b"", repr=False)

    def value(self, column: str, text: str) -> str:
        """What is shown for a value: equal for equal values, in any column."""
        match self.by_column.get(column) if text else None:
            case None:
                return text
            case Mask.HMAC:
                digest = hmac.digest(self.key, text.encode(), "sha256")
                return PREFIX + digest[:TOKEN_BYTES].hex()
            case Mask.LAST4 if len(text) > MIN_VISIBLE_LENGTH:
                return "…" + text[-VISIBLE_CHARS:]
            case _:
                return REDACTED

    def values(self, column: str, texts: pl.Series) -> pl.Series:
        """What is shown for many values of a column."""
        if column not in self.by_column:
            return texts
        # The name is removed: Polars might read it as a pattern.
        texts = texts.alias("")
        # Each distinct value once: HMAC takes much longer than a look-up.
        distinct = texts.unique()
        shown = pl.Series([self.value(column, each) for each in distinct], dtype=TEXT)
        return texts.replace_strict(distinct, shown, return_dtype=TEXT)

    def row(self, values: Mapping[str, str]) -> dict[str, str]:
        """What is shown for a row or a key, by column."""
        return {name: self.value(name, text) for name, text in values.items()}

    def rows(
        self, frame: pl.DataFrame, names: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """What is shown for rows; columns keep their names.

        `names`: what the columns are called where the frame has ids instead.
        """
        return frame.with_columns(
            self.values(name, frame[each]).alias(each)
            for name, each in zip(names or frame.columns, frame.columns, strict=True)
        )


def reads_as_masked(text: str) -> bool:
    """Whether a text has the form of a masked value."""
    return text == REDACTED or MASKED.fullmatch(text) is not None


def make_masks(by_column: Mapping[str, Mask]) -> Masks:
    """Masks with the `hmac` key from the environment or its file, if one is needed.

    Raises ConfigError if there is no key or it is too short; the key is never quoted.
    """
    if Mask.HMAC not in by_column.values():
        return Masks(by_column)
    key = _read_mask_key()
    if len(key) < MIN_KEY_BYTES:
        raise ConfigError(
            f"the mask key is shorter than {MIN_KEY_BYTES} bytes"
            if key
            else "--mask hmac has no mask key",
            why="tokens are HMAC-SHA256: whoever guesses the key can find the values"
            if key
            else "the tokens of hmac are keyed by a secret",
            help=f"set {KEY_VARIABLE}, or name a file in {KEY_FILE_VARIABLE}; "
            "openssl rand -hex 32 generates a key",
        )
    return Masks(by_column, key)


def _read_mask_key() -> bytes:
    given, path = (
        os.environ.get(KEY_VARIABLE, ""),
        os.environ.get(KEY_FILE_VARIABLE, ""),
    )
    if given and path:
        raise ConfigError(
            f"{KEY_VARIABLE} and {KEY_FILE_VARIABLE} are both set",
            help="unset one of them",
        )
    # White space at both ends is no part of the key: editors and stores of secrets end
    # it with a newline, and the same secret has to make the same tokens either way.
    if not path:
        return os.fsencode(given).strip()
    try:
        return Path(path).read_bytes().strip()
    except OSError as error:
        reason = error.strerror
    raise ConfigError(
        f"the file named by {KEY_FILE_VARIABLE} cannot be read", why=reason, file=path
    )


@dataclass(frozen=True, slots=True)
class ShownValues:
    """The parts of a result that hold values of cells, or that reveal them."""

    sample: tuple[SampleRow, ...]
    frames: Frames
    findings: Findings


def mask_values(values: ShownValues, masks: Masks) -> ShownValues:
    """The same parts with masked values."""
    if not masks.by_column:
        return values
    return ShownValues(
        sample=_mask_sample(values.sample, masks),
        frames=_mask_frames(values.frames, masks),
        findings=values.findings.masked(masks),
    )


def _mask_sample(sample: tuple[SampleRow, ...], masks: Masks) -> tuple[SampleRow, ...]:
    rows = [
        SampleRow(
            masks.row(row.key),
            {
                name: Cell(
                    masks.value(name, cell.old or ""),
                    masks.value(name, cell.new),
                    cell.kind,
                )
                for name, cell in row.cells.items()
            },
        )
        for row in sample
    ]
    # In the order of what is shown: that of the values would reveal something of them.
    return tuple(sorted(rows, key=lambda row: (*row.key.values(), *row.cells.items())))


def _mask_frames(frames: Frames, masks: Masks) -> Frames:
    return Frames(
        cells=mask_cells(frames.cells.collect(), masks).lazy(),
        missing=mask_rows(frames.missing, masks),
        extra=mask_rows(frames.extra, masks),
        duplicates_old=_mask_repeats(frames.duplicates_old, masks),
        duplicates_new=_mask_repeats(frames.duplicates_new, masks),
        rejects=frames.rejects,
        # Masked where its rows still have columns.
        unpairable=frames.unpairable,
    )


def mask_cells(cells: pl.DataFrame, masks: Masks) -> pl.DataFrame:
    """Mask `old` and `new` of differing cells by their `column`."""
    cells = _mask_keys(cells, masks)
    parts = [cells.filter(~pl.col("column").is_in(list(masks.by_column)))]
    for name in masks.by_column:
        mine = cells.filter(pl.col("column") == name)
        shown = (masks.values(name, mine[side]).alias(side) for side in ("old", "new"))
        parts.append(mine.with_columns(shown))
    return pl.concat(parts).sort("key", "column", "old", "new", "kind")


def _mask_repeats(repeats: pl.DataFrame, masks: Masks) -> pl.DataFrame:
    return _mask_keys(repeats, masks).sort("rows", "key", descending=[True, False])


def _mask_keys(frame: pl.DataFrame, masks: Masks) -> pl.DataFrame:
    key = masks.rows(frame["key"].struct.unnest()).to_struct("key")
    return frame.with_columns(key)


def mask_rows(rows: pl.DataFrame, masks: Masks) -> pl.DataFrame:
    """Whole rows with masked values, ordered by them."""
    shown = masks.rows(rows)
    return shown[sorted_positions(shown)]


def sorted_positions(shown: pl.DataFrame) -> pl.Series:
    """The positions of rows in the order of their displayed values."""
    return shown.to_struct().arg_sort()
