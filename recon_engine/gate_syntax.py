"""Gates: limits that a result has to keep, such as `mismatch_rate(PAID)<=0.1%`. Pure.

    gate   = metric [ "(" column ")" ] operator number [ "%" ]

A column name is written plainly or in double quotes. Limits are exact: a rate is
compared as a fraction of integers, never as a float.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn

from recon_engine.errors import ConfigError
from recon_engine.lazy import lazy_pattern
from recon_engine.records import dataclass
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from fractions import Fraction


NAME_PATTERN: Final = lazy_pattern(r"\s*(\w*)\s*")
QUOTED_PATTERN: Final = lazy_pattern(r'\s*"((?:[^"]|"")*)"\s*')
# Also of operators that do not exist, so that an error can quote them whole.
OPERATOR_PATTERN: Final = lazy_pattern(r"[<>=!~]*")
# Without a sign: counts, rates and absolute changes are at least 0.
LIMIT_PATTERN: Final = lazy_pattern(r"\s*([0-9]+(?:[.][0-9]+)?)\s*(%?)\s*")
# Digits before and after the point together. Python refuses to parse integers of more
# than 4,300 digits; 100 are more than any limit needs.
MOST_DIGITS: Final = 100


class Operator(StrEnum):
    """How a value is compared with a limit."""

    AT_MOST = "<="
    BELOW = "<"
    AT_LEAST = ">="
    ABOVE = ">"
    EXACTLY = "=="

    def holds(self, value: Fraction, limit: Fraction) -> bool:
        """Whether the value keeps the limit."""
        match self:
            case Operator.AT_MOST:
                return value <= limit
            case Operator.BELOW:
                return value < limit
            case Operator.AT_LEAST:
                return value >= limit
            case Operator.ABOVE:
                return value > limit
            case Operator.EXACTLY:
                return value == limit


OPERATOR_WORDS: Final[Mapping[Operator, str]] = {
    Operator.AT_MOST: "limit",
    Operator.BELOW: "limit below",
    Operator.AT_LEAST: "at least",
    Operator.ABOVE: "more than",
    Operator.EXACTLY: "exactly",
}


class TakesColumn(StrEnum):
    """Whether a metric takes a column in parentheses."""

    NO = "no"
    YES = "yes"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class Metric:
    """A quantity that a gate can limit. A rate is a share, from 0 to 1 or 100%."""

    takes_column: TakesColumn
    meaning: str
    rate: bool = False


METRICS: Final[Mapping[str, Metric]] = {
    "missing": Metric(TakesColumn.NO, "rows in OLD only"),
    "extra": Metric(TakesColumn.NO, "rows in NEW only"),
    "mismatched_rows": Metric(TakesColumn.NO, "matched rows in which a cell differs"),
    "mismatched_cells": Metric(TakesColumn.NO, "cells that differ"),
    "mismatches": Metric(TakesColumn.YES, "cells of the column that differ"),
    "tolerated_cells": Metric(TakesColumn.NO, "cells that are equal only by a rule"),
    "tolerated_keys": Metric(
        TakesColumn.NO, "matched rows whose keys are equal only by a rule"
    ),
    "tolerated": Metric(TakesColumn.YES, "cells of the column equal only by a rule"),
    "sum_delta": Metric(
        TakesColumn.YES,
        "absolute change of the column's sum over matched rows",
    ),
    "missing_rate": Metric(TakesColumn.NO, "rows in OLD that are missing", rate=True),
    "extra_rate": Metric(TakesColumn.NO, "rows in NEW that are extra", rate=True),
    "mismatch_rate": Metric(
        TakesColumn.OPTIONAL,
        "mismatched rows of the matched ones; cells of the column that differ",
        rate=True,
    ),
    "tolerated_rate": Metric(
        TakesColumn.YES, "cells of the column equal only by a rule", rate=True
    ),
    "rows_old": Metric(TakesColumn.NO, "rows in OLD"),
    "rows_new": Metric(TakesColumn.NO, "rows in NEW"),
    "matched": Metric(TakesColumn.NO, "pairs of rows with the same key"),
    "duplicate_keys_old": Metric(TakesColumn.NO, "keys that repeat in OLD"),
    "duplicate_keys_new": Metric(TakesColumn.NO, "keys that repeat in NEW"),
    "blank_keys_old": Metric(TakesColumn.NO, "rows in OLD with a blank in the key"),
    "blank_keys_new": Metric(TakesColumn.NO, "rows in NEW with a blank in the key"),
    "rejected": Metric(TakesColumn.NO, "quarantined rows of both files"),
    "rejected_old": Metric(TakesColumn.NO, "quarantined rows of OLD"),
    "rejected_new": Metric(TakesColumn.NO, "quarantined rows of NEW"),
    "drift": Metric(TakesColumn.NO, "columns on one side only"),
}


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: `text` as it was written, `limit_text` only its limit."""

    text: str
    metric: str
    column: str | None
    operator: Operator
    limit: Fraction
    limit_text: str

    def holds(self, value: Fraction) -> bool:
        """Whether a value of its metric passes."""
        return self.operator.holds(value, self.limit)

    @property
    def limit_words(self) -> str:
        """The limit in words: `limit 5%`, `at least 1`."""
        return f"{OPERATOR_WORDS[self.operator]} {self.limit_text}"


def parse_gate(text: str) -> Gate:
    """Parse the text of a gate.

    Raises ConfigError with the position (from 1) of the first unexpected character.
    """
    return _GateParser(text).gate()


def check_column(gate: Gate, known: Collection[str]) -> None:
    """Raise ConfigError if the column of a gate is not compared."""
    if gate.column is not None and gate.column not in known:
        raise ConfigError(
            f"gate {gate.text}: no compared column is called {gate.column}"
            + did_you_mean(gate.column, known),
            help="name a compared column as in OLD: no key and no ignored column",
        )


class _GateParser:
    """A cursor over the text of a gate."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def gate(self) -> Gate:
        name = self.metric()
        column = self.column(name)
        operator = self.operator()
        limit, limit_text = self.limit(name)
        if self.at < len(self.text):
            self.refuse(
                "unexpected text after the gate", "give each gate its own --gate"
            )
        return Gate(self.text.strip(), name, column, operator, limit, limit_text)

    def metric(self) -> str:
        found = NAME_PATTERN.match(self.text)
        assert found is not None  # noqa: S101 - the pattern matches the empty text
        if found[1] not in METRICS:
            self.at = found.start(1)
            self.refuse(
                f"unknown metric {found[1]}" + did_you_mean(found[1], METRICS)
                if found[1]
                else "expected a metric",
                "one of: " + ", ".join(METRICS),
            )
        self.at = found.end()
        return found[1]

    def column(self, metric: str) -> str | None:
        takes = METRICS[metric].takes_column
        if not self.text.startswith("(", self.at):
            if takes is TakesColumn.YES:
                self.refuse(f"{metric} needs a column", f"such as {metric}(PAID)<=0")
            return None
        if takes is TakesColumn.NO:
            self.refuse(f"{metric} takes no column", f"such as {metric}<=0")
        quoted = QUOTED_PATTERN.match(self.text, self.at + 1)
        # A name may contain parentheses: the last one closes.
        end = quoted.end() if quoted else self.text.rfind(")")
        if end < 0 or not self.text.startswith(")", end):
            self.refuse("this parenthesis is not closed", f"{metric}(COLUMN)<=0")
        name = self.text[self.at + 1 : end].strip()
        if quoted:
            name = quoted[1].replace('""', '"')
        if not name:
            self.refuse("expected a column name", f"such as {metric}(PAID)<=0")
        self.at = end + 1
        return name

    def operator(self) -> Operator:
        self.at += len(self.text[self.at :]) - len(self.text[self.at :].lstrip())
        found = OPERATOR_PATTERN.match(self.text, self.at)
        assert found is not None  # noqa: S101 - the pattern matches the empty text
        if found[0] not in set(Operator):
            meant = {"=": "==", "=<": "<=", "=>": ">="}.get(found[0])
            self.refuse(
                f"unknown operator {found[0]}." if found[0] else "expected an operator",
                f"did you mean {meant}?" if meant else "one of: " + " ".join(Operator),
            )
        self.at = found.end()
        return Operator(found[0])

    def limit(self, metric: str) -> tuple[Fraction, str]:
        found = LIMIT_PATTERN.match(self.text, self.at)
        if found is None:
            self.refuse(
                "expected a number",
                "digits, such as 0, 1000 or 0.5; no sign, no commas",
            )
        if len(found[1]) > MOST_DIGITS:
            raise ConfigError(
                f"gate on {metric}: the number has {len(found[1]):,} characters",
                help=f"use at most {MOST_DIGITS} characters",
            )
        # Lazy: most comparisons have no gate, and the import takes one to three
        # milliseconds.
        from fractions import Fraction

        number, percent = Fraction(found[1]), bool(found[2])
        if percent and not METRICS[metric].rate:
            self.at = found.start(2)
            rates = (name for name, each in METRICS.items() if each.rate)
            self.refuse(
                f"{metric} is not a rate and takes no %", "rates: " + ", ".join(rates)
            )
        self.at = found.end()
        return number / 100 if percent else number, found[1] + found[2]

    def refuse(self, what: str, remedy: str) -> NoReturn:
        raise ConfigError(
            f"gate {self.text}, character {self.at + 1}: {what}", help=remedy
        )
