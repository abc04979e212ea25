"""What every rule has, and how normal forms are marked.

A text rule maps a text to a text. A typed rule maps a text that it reads to a marked
form, and leaves every other text as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from recon_engine.records import dataclass
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
else:
    # The kernel begins to read files by the rules of their keys, before Polars is here.
    pl = LazyModule("polars")

# Marks a normal form. Inputs cannot contain NUL, so no text is mistaken for one.
NORMAL_PREFIX: Final = "\0"
# Marks a value that equals no value of the other side: two NUL and the side.
APART_PREFIX: Final = "\0\0"


class Rule(Protocol):
    """One way in which texts may differ.

    `family`: which typed rules it can be compared with; "" for a text rule.
    """

    def __hash__(self) -> int: ...

    @property
    def family(self) -> str: ...

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The normal form of a text; the text itself if the rule cannot read it."""
        ...

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        """Whether the rule reads a text; `form` is its normal form under this rule."""
        ...


class TextRule:
    """A rule that maps every text to a text."""

    __slots__ = ()

    @property
    def family(self) -> str:
        """No family: a text rule may stand before every typed rule."""
        return ""

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:  # noqa: ARG002
        """Every value is read, unless a rule says otherwise."""
        return text.is_not_null()


@dataclass(frozen=True, slots=True)
class Apart:
    """A typed rule of a side, under which a value that it cannot read equals nothing.

    Blanks are the exception: a blank equals a blank.
    """

    rule: Rule
    side: str

    @property
    def family(self) -> str:
        """That of the rule."""
        return self.rule.family

    def normal(self, text: pl.Expr) -> pl.Expr:
        """The form of the rule; a value that it cannot read, marked with the side."""
        # The form is used several times, and some rules use their text several times.
        return text.map_batches(self._mark_unread, return_dtype=pl.String)

    def reads(self, text: pl.Expr, form: pl.Expr) -> pl.Expr:
        return ~form.str.starts_with(APART_PREFIX) & self.rule.reads(text, form)

    def _mark_unread(self, texts: pl.Series) -> pl.Series:
        text, form = pl.col("text"), pl.col("form")
        step = texts.alias("text").to_frame().with_columns(form=self.rule.normal(text))
        kept = self.rule.reads(text, form) | (text == "")
        marked = pl.lit(mark_apart(self.side)) + text
        marked = pl.when(kept).then(form).otherwise(marked)
        return step.select(marked).to_series()


def mark_apart(side: str) -> str:
    """What a value begins with that equals no value of the other side."""
    return f"{APART_PREFIX}{side}{NORMAL_PREFIX}"


def is_marked(text: pl.Expr, form: pl.Expr) -> pl.Expr:
    """Whether this rule marked the form; an earlier rule may have marked the text."""
    return form.str.starts_with(NORMAL_PREFIX) & ~text.str.starts_with(NORMAL_PREFIX)


def where_both_read(
    old: pl.Series, new: pl.Series, within: Callable[[pl.Series, pl.Series], pl.Series]
) -> pl.Series:
    """Apply `within` to the pairs in which both forms are read, without the mark."""
    both = is_read_form(old) & is_read_form(new)
    near = pl.repeat(False, len(old), eager=True)
    if not both.any():
        return near
    read = [side.filter(both).str.strip_prefix(NORMAL_PREFIX) for side in (old, new)]
    return near.scatter(both.arg_true(), within(*read))


def is_read_form(forms: pl.Series) -> pl.Series:
    """Which forms a typed rule has read."""
    return forms.str.starts_with(NORMAL_PREFIX) & ~forms.str.starts_with(APART_PREFIX)
