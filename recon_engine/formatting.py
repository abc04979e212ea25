"""Presentation: how keys, shares, kinds and advice are written for people."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from recon_engine.characters import escaped, readable
from recon_engine.model import HintKind


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from recon_engine.model import Column, Hint, Pattern, RuleCount, Side


SHOWN: Final = 8

NOTHING: Final = "nothing to compare: 0 rows"

NO_PAIR: Final = "no row was compared: 0 rows are matched"

MARKUP: Final = re.compile(r"[\\`*<\[&~]")


def key_text(values: Sequence[str]) -> str:
    """A key for people: the value of one column, a JSON array of several."""
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _commonest(changes: Sequence[Pattern], kinds: Mapping[str, int]) -> tuple[str, str]:
    kind = max(kinds, key=lambda each: kinds[each], default=None)
    shown = next((each for each in changes if each.kind == kind), changes[0])
    return shown.old, shown.new


def kinds_text(column: Column) -> str:
    """The kinds of a column's differences by share: `case 70%, text 30%`."""
    shares = sorted(column.kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(
        f"{kind.replace('_', ' ')} {percent(count, column.mismatched)}"
        for kind, count in shares
    )


def advice(
    hint: Hint, said: Callable[[str], str] = str, code: Callable[[str], str] = str
) -> str:
    """A hint as one line: what is, the flag, and what that does; in some markup."""
    does = {
        HintKind.RULE: f"removes {hint.count:,}",
        HintKind.KEY_RULE: f"pairs {hint.count:,}",
        HintKind.DROP_KEY: f"as the key pairs {hint.count:,}",
        HintKind.RENAME: "compares them",
        HintKind.UNIQUE_KEY: "is that key",
        HintKind.SPLIT: "",
    }
    if not hint.flag:
        return said(hint.text)
    return f"{said(hint.text)}; {code(hint.flag)} {does[hint.kind]}"


def percent(part: int, whole: int) -> str:
    """A share for people: `70%`, or `<1%`."""
    share = 100 * part / whole
    return "<1%" if share < 1 else f"{int(share)}%"


def unread(rules: Sequence[RuleCount]) -> Iterator[str]:
    """A sentence for each rule that read no value of a side that has some.

    A rule of `*` need not fit every column: it is told of one where it read a value of
    the other side, or where it read none of any column.
    """
    by_every = [each for each in rules if each.every]
    useless = {each.rule for each in by_every} - {
        each.rule for each in by_every if each.old.read or each.new.read
    }
    for each in rules:
        fits = each.old.read or each.new.read or each.rule in useless
        if each.every and not fits:
            continue
        what = "values" if each.of == "keys" else "differing values"
        for name, side in (("OLD", each.old), ("NEW", each.new)):
            if side.unread and not side.read:
                yield (
                    f"the rule {each.name} read none of the {side.unread:,} {what}"
                    f" of {name}"
                )


def _suppressed(rows: int) -> str:
    return f" ({rows:,} suppressed)" if rows else ""


def _rejected(side: Side) -> str:
    return f" + {side.rejected:,} rejected" if side.rejected else ""


def _name(text: str) -> str:
    """A name as a code span of Markdown."""
    return _code(escaped(text))


def _code(text: str) -> str:
    """A code span of Markdown that shows a text, whatever it holds."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{text}{space}{fence}"


def _said(text: str) -> str:
    """A text in Markdown that is only text."""
    return MARKUP.sub(r"\\\g<0>", readable(text))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
