"""Text rules: spaces, case, zero padding, marks, line ends. Each is idempotent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from recon_engine.characters import INVISIBLE
from recon_engine.records import dataclass
from recon_engine.rules.base import TextRule
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    import polars as pl
else:
    pl = LazyModule("polars")

DIGITS_PATTERN: Final = r"^[0-9]+$"
CODE_PATTERN: Final = r"^[0-9A-Za-z]+$"
# Text that is not wrapped itself: what is left after one unwrapping is never unwrapped
# again.
BARE: Final = r"(?:[^'=\"][^\"]*)?"
QUOTED_FORM: Final = rf'^="({BARE})"$'
# As a spreadsheet marks text: an apostrophe before anything but another mark.
APOSTROPHE_FORM: Final = r"(?s)^'((?:[^'=].*|=[^\"].*|=)?)$"


@dataclass(frozen=True, slots=True)
class Trim(TextRule):
    """Ignore white space at both ends."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        return text.str.strip_chars()


@dataclass(frozen=True, slots=True)
class Casefold(TextRule):
    """Ignore upper and lower case."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """Lower case of the upper case: `ß` becomes `SS` becomes `ss`."""
        return text.str.to_uppercase().str.to_lowercase()


@dataclass(frozen=True, slots=True)
class Nulls(TextRule):
    """Read some texts as a blank."""

    texts: tuple[str, ...]

    def normal(self, text: pl.Expr) -> pl.Expr:
        return pl.when(text.is_in(list(self.texts))).then(pl.lit("")).otherwise(text)


@dataclass(frozen=True, slots=True)
class Zeropad(TextRule):
    """Pad digits with leading zeros to a width."""

    width: int

    def normal(self, text: pl.Expr) -> pl.Expr:
        padded = text.str.zfill(self.width)
        return pl.when(text.str.contains(DIGITS_PATTERN)).then(padded).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.str.contains(DIGITS_PATTERN)


@dataclass(frozen=True, slots=True)
class LeadingZeros(TextRule):
    """Ignore leading zeros of a code."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The code without them; of zeros alone, one is kept."""
        bare = text.str.strip_chars_start("0")
        one = pl.when(bare == "").then(pl.lit("0")).otherwise(bare)
        return pl.when(text.str.contains(CODE_PATTERN)).then(one).otherwise(text)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        return text.str.contains(CODE_PATTERN)


@dataclass(frozen=True, slots=True)
class ComposedForm(TextRule):
    """Compose letters and their marks: Unicode form NFC."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        return text.str.normalize("NFC")


@dataclass(frozen=True, slots=True)
class Blanks(TextRule):
    """Read any run of blanks as one space, and none at the ends or beside a line end.

    Invisible characters are removed. Line ends are kept: `newlines` is about them.
    """

    def normal(self, text: pl.Expr) -> pl.Expr:
        shown = text.str.replace_all(INVISIBLE, "")
        spaced = shown.str.replace_all(r"[^\S\r\n]+", " ")
        return spaced.str.replace_all(r" ?([\r\n]+) ?", "${1}").str.strip_chars(" ")


@dataclass(frozen=True, slots=True)
class Newlines(TextRule):
    """Read CRLF, CR and LF as one line end."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        lf = text.str.replace_all("\r\n", "\n", literal=True)
        return lf.str.replace_all("\r", "\n", literal=True)


@dataclass(frozen=True, slots=True)
class Strip(TextRule):
    """Ignore the listed characters, wherever they are."""

    characters: str

    def normal(self, text: pl.Expr) -> pl.Expr:
        if len(self.characters) == 1:
            return text.str.replace_all(self.characters, "", literal=True)
        listed = "".join(re.escape(each) for each in self.characters)
        return text.str.replace_all(f"[{listed}]", "")


@dataclass(frozen=True, slots=True)
class Unwrap(TextRule):
    """Read `="00123"` and `'00123` as the text that a spreadsheet shows."""

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The text within one wrapper; a text with several wrappers is left alone."""
        quoted = text.str.extract(QUOTED_FORM)
        return pl.coalesce(quoted, text.str.extract(APOSTROPHE_FORM), text)
