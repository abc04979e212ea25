"""The rules of a column, in order, and values compared by them.

A chain has text rules first, and then at most one typed rule for each side. Two cells
are equal under a chain if their normal forms are equal, or within its tolerance, which
is computed exactly and is symmetric: `|o - n| <= max(abs, rel * max(|o|, |n|))`.

A chain that reads both sides alike is reflexive: cells of equal bytes are equal. Any
other chain is not: under `map(M=1)` for OLD, an `M` on both sides is a difference.

The effect of each rule of a column is counted by side: values that it `read` and that
it left `unread`. Blank values are neither. A cell whose bytes differ, and that is equal
in the end, is `made_equal` by the rule from which on it is equal.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from recon_engine.model import SIDES
from recon_engine.records import dataclass
from recon_engine.rules.base import APART_PREFIX, NORMAL_PREFIX, is_read_form
from recon_engine.rules.code_tables import SEVERAL, CodeTable
from recon_engine.rules.numbers import (
    Amount,
    ImpliedPoint,
    WrittenNumber,
    read_number,
)
from recon_engine.runtime.lazy_module import LazyModule


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from recon_engine.rules.base import Rule
    from recon_engine.rules.dates import Day

    # One row a rule, in the order of the chain: the columns of TALLY.
    Tally = NDArray[np.int64]
    Tolerant = Amount | Day
    Apply = Callable[[Rule, pl.Series], tuple[pl.Series, int, int]]
else:
    np, pl = LazyModule("numpy"), LazyModule("polars")

TALLY: Final = ("old read", "old unread", "new read", "new unread", "made equal")
READ: Final[Mapping[str, slice]] = {"old": slice(0, 2), "new": slice(2, 4)}
MADE_EQUAL: Final = 4
# From so many texts on, a sample of some thousands shows whether most of them repeat.
# Encoding them as a dictionary takes a third of the time of reading a number.
MANY_TEXTS: Final = 1 << 16
FEW_TEXTS: Final = 1 << 12
MOST_DISTINCT: Final = 0.8


@dataclass(frozen=True, slots=True)
class Step:
    """One rule of a chain: how it reads a value of either side.

    None: it does not read that side. `text`: as it was given. `every`: whether it was
    given for `*`. `implied`: whether it was not given, but follows from the typed rule
    of the other side.
    """

    text: str
    old: Rule | None
    new: Rule | None
    every: bool = False
    implied: bool = False

    @property
    def is_typed(self) -> bool:
        """Whether its rule is a typed one."""
        rule = self.old or self.new
        return rule is not None and bool(rule.family)

    @property
    def side(self) -> str:
        """The side that it reads: `both`, `old` or `new`."""
        if self.old is not None and self.new is not None:
            return "both"
        return "old" if self.new is None else "new"

    def of(self, side: str) -> Rule | None:
        """The rule for "old" or "new"."""
        return self.old if side == "old" else self.new


@dataclass(frozen=True, slots=True)
class Chain:
    """The rules of a column: text rules, then typed ones.

    `tolerance`: the typed rule for both sides, if it has one.
    """

    steps: tuple[Step, ...] = ()
    tolerance: Tolerant | None = None

    def of(self, side: str) -> tuple[Rule, ...]:
        """The rules that read "old" or "new", in order."""
        every = (step.of(side) for step in self.steps)
        return tuple(rule for rule in every if rule is not None)

    @property
    def is_reflexive(self) -> bool:
        """Whether cells of equal bytes are equal: both sides are read alike.

        Not with a code table: of its codes, all values are counted.
        """
        old, new = self.of("old"), self.of("new")
        return old == new and code_table(old) is None

    @property
    def has_tolerance(self) -> bool:
        """Whether texts of different normal forms may be equal."""
        return self.tolerance is not None

    @property
    def has_several(self) -> bool:
        """Whether several values of NEW may be right for one of OLD, or reverse."""
        return any(
            table.has_several
            for side in SIDES
            if (table := code_table(self.of(side))) is not None
        )

    def are_near(self, old: pl.Series, new: pl.Series) -> pl.Series:
        """Which pairs of normal forms are equal, or within the tolerance."""
        same = old == new
        if self.tolerance is not None:
            same |= self.tolerance.near(old, new)
        if self.has_several:
            same |= _is_among(old, new) | _is_among(new, old)
        return same


# By column.
Tallies = dict[str, "Tally"]
Rules = Mapping[str, Chain]
# Of one side, by column.
SideRules = Mapping[str, Sequence["Rule"]]
NO_RULES: Final[Rules] = MappingProxyType({})
NO_CHAIN: Final = Chain()


def code_table(rules: Sequence[Rule]) -> CodeTable | None:
    """The code table of a side."""
    if not rules:
        return None
    last = getattr(rules[-1], "rule", rules[-1])
    return last if isinstance(last, CodeTable) else None


def rules_of_side(rules: Rules, side: str) -> dict[str, tuple[Rule, ...]]:
    """The rules that read the columns of a side."""
    return {name: chain.of(side) for name, chain in rules.items()}


def normal_form(rules: Sequence[Rule], text: pl.Expr) -> pl.Expr:
    """A text after all rules of a side, in order."""
    if not any(rule.family for rule in rules) and len(rules) <= 1:
        return functools.reduce(lambda form, rule: rule.normal(form), rules, text)
    # A rule uses its text several times: nested expressions would grow exponentially.
    return text.map_batches(
        functools.partial(read_forms, rules), return_dtype=pl.String
    )


def normal_column(name: str, rules: SideRules) -> pl.Expr:
    """The normal forms of a column by the rules of its side, under its name."""
    return normal_form(rules.get(name, ()), pl.col(name)).alias(name)


def read_forms(
    rules: Sequence[Rule], texts: pl.Series, apply: Apply | None = None
) -> pl.Series:
    """The normal forms of texts of a side: as `normal_form`, outside of a query.

    Each distinct text is read once if many repeat. `apply`: another way to apply a rule
    than `apply_rule`, with the same forms; it reads all texts.
    """
    if apply is not None:
        for rule in rules:
            texts, _, _ = apply(rule, texts)
        return texts
    if len(texts) >= MANY_TEXTS and any(rule.family for rule in rules):
        few = texts.gather_every(len(texts) // FEW_TEXTS)
        if few.n_unique() < len(few) * MOST_DISTINCT:
            encoded = texts.rechunk().to_arrow().dictionary_encode()
            distinct = pl.Series(encoded.dictionary)
            forms = _forms_of_distinct(rules, distinct)
            return forms.gather(pl.Series(encoded.indices))
    return _forms_of_distinct(rules, texts)


def show_forms(rules: Sequence[Rule], forms: pl.Series) -> pl.Series:
    """What the forms under the rules of a side say: a number as `-12.5`, a text."""
    form = pl.col("form")
    bare = form.str.strip_prefix(NORMAL_PREFIX)
    if rules and rules[-1].family == "number":
        bare = read_number(form)
    shown = (
        pl.when(form.str.starts_with(SEVERAL))
        .then(form.str.extract(r"^\x00\|\x00([^\x00]*)"))
        .when(form.str.starts_with(APART_PREFIX))
        .then(form.str.extract(r"(?s)^\x00\x00[a-z]*\x00(.*)$"))
        .when(form.str.starts_with(NORMAL_PREFIX))
        .then(bare)
        .otherwise(form)
    )
    return forms.alias("form").to_frame().select(shown).to_series()


def show_values(rules: Sequence[Rule], texts: pl.Series) -> pl.Series:
    """Texts of a side as its rules read them: a number as `-12.5`, a day with a time.

    Days have the time of midnight, because the other side may have instants.
    """
    if not rules:
        return texts
    forms = read_forms(rules, texts)
    if rules[-1].family != "day":
        return show_forms(rules, forms)
    form = pl.col("form")
    parts = form.str.strip_prefix(NORMAL_PREFIX).str.split_exact("T", 1)
    day = parts.struct.field("field_0").cast(pl.Int32, strict=False).cast(pl.Date)
    time = parts.struct.field("field_1").cast(pl.Int64, strict=False).fill_null(0)
    written = day.dt.to_string("%Y-%m-%d ") + time.cast(pl.Time).dt.to_string(
        "%H:%M:%S%.9f"
    )
    shown = pl.when(form.str.starts_with(NORMAL_PREFIX)).then(written).otherwise(form)
    return forms.alias("form").to_frame().select(shown).to_series()


def show_changes(chain: Chain, changes: pl.DataFrame) -> pl.DataFrame:
    """Changes of a column with `old` and `new` as its rules read them."""
    read = {side: show_values(chain.of(side), changes[side]) for side in SIDES}
    return changes.with_columns(**read)


def has_notation(rules: Sequence[Rule]) -> bool:
    """Whether a side writes numbers otherwise than as `-1234.5`."""
    last = getattr(rules[-1], "rule", rules[-1]) if rules else None
    return isinstance(last, WrittenNumber | ImpliedPoint)


def read_amounts(
    rules: Sequence[Rule], texts: pl.Series, apply: Apply | None = None
) -> pl.Series:
    """The texts of a side with plain numbers, such as `-1234.5`, for those it reads.

    `apply`: another way to apply a rule than `apply_rule`, with the same forms.
    """
    return (
        write_amounts(rules, texts, read_forms(rules, texts, apply))
        if has_notation(rules)
        else texts
    )


def write_amounts(
    rules: Sequence[Rule], texts: pl.Series, forms: pl.Series
) -> pl.Series:
    """As `read_amounts`, of texts whose normal forms are known."""
    if not has_notation(rules):
        return texts
    plain = pl.DataFrame({"text": texts, "form": forms, "read": is_read_form(forms)})
    number = read_number(pl.col("form"))
    shown = pl.when(pl.col("read")).then(number).otherwise(pl.col("text"))
    return plain.select(shown.alias(texts.name)).to_series()


def amounts_of_changes(chain: Chain, changes: pl.DataFrame) -> pl.DataFrame:
    """Changes of a column with plain numbers in `old` and `new`."""
    read = {side: read_amounts(chain.of(side), changes[side]) for side in SIDES}
    return changes.with_columns(**read)


def apply_rule(rule: Rule, texts: pl.Series) -> tuple[pl.Series, int, int]:
    """The forms under one rule, and the numbers of read and unread values."""
    text, form = pl.col("text"), pl.col("form")
    step = texts.alias("text").to_frame().with_columns(form=read_forms([rule], texts))
    read, values = step.select(
        read=((text != "") & rule.reads(text, form)).sum(), values=(text != "").sum()
    ).row(0)
    return step["form"], read, values - read


def equal_under_rules(
    chain: Chain, old: pl.Series, new: pl.Series, apply: Apply | None = None
) -> pl.Series:
    """Which pairs of texts are equal under the chain of a column.

    `apply`: another way to apply a rule than `apply_rule`, with the same forms.
    """
    ours, theirs = (
        read_forms(chain.of(side), texts, apply)
        for side, texts in zip(SIDES, (old, new), strict=True)
    )
    return chain.are_near(ours, theirs)


def equal_and_counted(
    chain: Chain, old: pl.Series, new: pl.Series
) -> tuple[pl.Series, Tally]:
    """As `equal_under_rules`, with the tally of each rule.

    Requires at least one rule. What typed rules make equal is counted for the first of
    them that was given.
    """
    same, tally, _ = equal_with_forms(chain, old, new)
    return same, tally


def equal_with_forms(
    chain: Chain, old: pl.Series, new: pl.Series, apply: Apply = apply_rule
) -> tuple[pl.Series, Tally, dict[str, pl.Series]]:
    """As `equal_and_counted`, with the normal forms of both sides.

    `apply`: how a rule is applied.
    """
    tally, same = no_tally(chain.steps), old == new
    # The rule by which each pair became equal.
    since, unlike = np.zeros(len(old), np.int64), ~same
    typed = next((at for at, step in enumerate(chain.steps) if step.is_typed), None)
    texts = {"old": old, "new": new}
    for at, step in enumerate(chain.steps):
        for side in SIDES:
            rule = step.of(side)
            if rule is not None:
                texts[side], *tally[at, READ[side]] = apply(rule, texts[side])
        # Typed rules of both sides are two steps: values are compared after the second.
        if step.is_typed and at + 1 < len(chain.steps):
            continue
        last = at + 1 == len(chain.steps)
        now = chain.are_near(*texts.values()) if last else texts["old"] == texts["new"]
        place = at if not step.is_typed or typed is None else typed
        if chain.steps[place].implied:
            place = at
        since[(now & ~same).to_numpy()] = place
        # A pair that a later rule tells apart again is credited to the rule that makes
        # it equal for good.
        same = now
    made = since[(same & unlike).to_numpy()]
    tally[:, MADE_EQUAL] = np.bincount(made, minlength=len(tally))
    return same, tally, texts


def read_and_counted(
    chain: Chain, texts: pl.Series, side: str, apply: Apply = apply_rule
) -> tuple[pl.Series, Tally]:
    """The normal forms of a side's texts, and the tally of what each rule read.

    `apply`: how a rule is applied.
    """
    tally = no_tally(chain.steps)
    for row, step in zip(tally, chain.steps, strict=True):
        rule = step.of(side)
        if rule is not None:
            texts, *row[READ[side]] = apply(rule, texts)
    return texts, tally


def code_tally(column: str, side: str) -> str:
    """The name under which the codes of a side are counted beside a column's tally."""
    return f"{column}\0codes of {side}"


def aside_tally(column: str, side: str) -> str:
    """The name under which the codes of rows are counted that are not compared.

    Those of missing and extra rows are not among them.
    """
    return f"{column}\0codes aside of {side}"


def wrong_tally(column: str, side: str) -> str:
    """The name under which listed codes are counted that are wrong."""
    return f"{column}\0wrong codes of {side}"


def count_codes(rules: Sequence[Rule], texts: pl.Series) -> Tally:
    """How often each code of a side's table occurs; last, the unlisted values.

    Requires rules with a code table. Blanks that are not listed are not counted.
    """
    table = code_table(rules)
    assert table is not None  # noqa: S101 - the caller has asked for it
    codes = read_forms(rules[:-1], texts).alias("code")
    places = pl.DataFrame(
        {
            "code": [code for code, _ in table.entries],
            "place": np.arange(len(table.entries)),
        }
    )
    counted = codes.value_counts(name="rows").join(places, on="code", how="left")
    unlisted = counted.filter(pl.col("place").is_null() & (pl.col("code") != ""))
    listed = counted.drop_nulls("place")
    tally = np.zeros(len(table.entries) + 1, np.int64)
    tally[listed["place"].to_numpy()] = listed["rows"].to_numpy()
    tally[-1] = unlisted["rows"].sum()
    return tally


def no_tally(rules: Sequence[object]) -> Tally:
    """The tally of rules that met no value: shape (rules, 5), zeros."""
    return np.zeros((len(rules), len(TALLY)), np.int64)


def added(parts: Iterable[Tallies]) -> Tallies:
    """The tallies of several groups of values as one, by column."""
    result: Tallies = {}
    for part in parts:
        for column, tally in part.items():
            before = result.get(column)
            result[column] = tally if before is None else before + tally
    return result


def _forms_of_distinct(rules: Sequence[Rule], texts: pl.Series) -> pl.Series:
    for rule in rules:
        # Lazily: Polars then evaluates a part once that an expression has twice.
        frame = texts.alias("text").to_frame().lazy()
        texts = (
            frame.select(_form_of_text(rule)).collect(engine="in-memory").to_series()
        )
    return texts


# Few texts take less time to read than the expression of a number takes to be built.
@functools.lru_cache(maxsize=256)
def _form_of_text(rule: Rule) -> pl.Expr:
    return rule.normal(pl.col("text"))


def _is_among(several: pl.Series, one: pl.Series) -> pl.Series:
    """Whether one text is among those that a form of a code table represents."""
    nul = pl.lit(NORMAL_PREFIX)
    frame = pl.DataFrame({"several": several, "one": one})
    # Without what marks the form, which a cell `|` would complete to a code.
    codes = pl.col("several").str.strip_prefix(SEVERAL)
    listed = codes.str.contains(nul + pl.col("one") + nul, literal=True)
    found = pl.col("several").str.starts_with(SEVERAL) & listed
    return frame.select(found).to_series()
