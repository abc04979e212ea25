"""Code tables, which translate the codes of one system, and truth values."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError
from recon_engine.records import dataclass
from recon_engine.rules.base import NORMAL_PREFIX, is_marked
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl
else:
    pl = LazyModule("polars")

TRUE: Final = ("true", "y", "j", "1")
FALSE: Final = ("false", "n", "0")
# Before the codes of a form that represents several: no text has NUL.
SEVERAL: Final = f"{NORMAL_PREFIX}|"
# A table that is larger was not meant: the largest crosswalks of diagnoses have 100,000
# entries.
MOST_ENTRIES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Boolean:
    """Read `true/false`, `Y/N`, `J/N` and `1/0`, in upper or lower case."""

    @property
    def family(self) -> str:
        """Truth values are compared with truth values."""
        return "boolean"

    def normal(self, text: pl.Expr) -> pl.Expr:
        word = text.str.to_lowercase()
        return (
            pl.when(word.is_in(list(TRUE)))
            .then(pl.lit(f"{NORMAL_PREFIX}true"))
            .when(word.is_in(list(FALSE)))
            .then(pl.lit(f"{NORMAL_PREFIX}false"))
            .otherwise(text)
        )

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return is_marked(text, form)


@dataclass(frozen=True, slots=True)
class CodeTable:
    """Translate codes. A code that is not listed equals nothing, or stays the same.

    `entries`: each code with the codes that are right for it. `rest_same`: a code that
    is not listed is compared as it is. `sha256`: of the file, "" without one.
    """

    entries: tuple[tuple[str, tuple[str, ...]], ...]
    rest_same: bool = False
    sha256: str = ""

    @property
    def family(self) -> str:
        """A translated code is compared with the text of the other side."""
        return "code"

    @property
    def has_several(self) -> bool:
        """Whether several codes are right for one."""
        return any(len(codes) > 1 for _, codes in self.entries)

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The code of the other system.

        Of several, a form that holds all of them: NUL, `|`, and each behind a NUL.
        """
        codes = [
            right[0]
            if len(right) == 1
            else SEVERAL + NORMAL_PREFIX + NORMAL_PREFIX.join(right) + NORMAL_PREFIX
            for _, right in self.entries
        ]
        return text.replace_strict(
            [code for code, _ in self.entries],
            codes,
            default=text,
            return_dtype=pl.String,
        )

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        """Whether a code is listed; `rest=same` reads every code."""
        if self.rest_same:
            return text.is_not_null()
        return self.lists(text)

    def lists(self, text: pl.Expr) -> pl.Expr:
        """Whether a code is listed."""
        return text.is_in([code for code, _ in self.entries])


def make_code_table(
    pairs: Iterable[tuple[str, str]], *, rest_same: bool, sha256: str = ""
) -> CodeTable:
    """A table of pairs of codes.

    Raises ConfigError for a pair that is listed twice, for a code with several codes
    outside of a file, and for a NUL.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for code, right in pairs:
        # It separates the codes of a form.
        if NORMAL_PREFIX in code + right:
            raise ConfigError(
                "rule map lists a code with a NUL byte",
                help="list codes as the files have them, in which no text has NUL",
            )
        if right in found[code] or (found[code] and not sha256):
            raise ConfigError(
                "rule map lists a code twice",
                why="which code is right would depend on the order of the list",
                help="list each code once; a file may list several different codes for"
                " one, of which each is right",
            )
        found[code].append(right)
    if not found or len(found) > MOST_ENTRIES:
        raise ConfigError(
            f"rule map has {len(found):,} codes",
            help=f"list 1 to {MOST_ENTRIES:,} codes, such as map(M=1,F=2)",
        )
    entries = tuple((code, tuple(sorted(right))) for code, right in found.items())
    return CodeTable(entries, rest_same, sha256)


def read_code_file(name: str, *, rest_same: bool) -> CodeTable:
    """The table of a CSV file: a header line, then OLD and NEW code of each line.

    Raises ConfigError if the file cannot be read. No code is in the error.
    """
    data = _read_file(name)
    try:
        header, *rows = csv.reader(
            io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True
        )
    except (ValueError, csv.Error):
        raise _unreadable(name, "it is no CSV file in UTF-8") from None
    for line, row in enumerate([header, *rows], 1):
        if len(row) != 2:  # noqa: PLR2004 - a code and its translation
            raise ConfigError(
                f"record {line:,} of the file {name} has {len(row):,} fields, not 2",
                help="a CSV file with a header and two columns: the code, and the code"
                " of the other side",
            )
    pairs = ((code, right) for code, right in rows)
    digest = hashlib.sha256(data).hexdigest()
    return make_code_table(pairs, rest_same=rest_same, sha256=digest)


def hash_code_file(name: str) -> str:
    """The SHA-256 of a file of codes; raises ConfigError if it cannot be read."""
    return hashlib.sha256(_read_file(name)).hexdigest()


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"rule map: there is no file {Path(name).absolute()}",
            help="the codes are in a file of their own: copy it with the configuration,"
            " or name another one",
        ) from None
    # A name with NUL is a ValueError.
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _unreadable(name, reason or "it cannot be opened") from None


def _unreadable(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"rule map cannot read the file {Path(name).absolute()}",
        why=reason,
        help="a CSV file in UTF-8 with a header and two columns: the code and its"
        " translation",
    )
