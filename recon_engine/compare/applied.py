"""What options did to both sides before their rows were compared, for every output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.command_line import quote_name, quoted
from recon_engine.formatting import format_count
from recon_engine.model import SIDES, Applied
from recon_engine.name_forms import write_match_names
from recon_engine.suggestions import join_names
from recon_engine.where_syntax import write_without_values


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from recon_engine.compare.alignment import Alignment
    from recon_engine.compare.preparation import DerivedColumns, RowTest
    from recon_engine.config import Options
    from recon_engine.model import Counts, Side


def describe_applied(
    layout: Alignment,
    options: Options,
    facts: Sequence[Side],
    counts: Counts,
    reasons: Sequence[Mapping[str, int]],
) -> list[Applied]:
    """Each option that changes columns or rows, sorted by its text.

    `reasons`: why rows of each side are unpairable, and how many are.
    """
    compared = (counts.matched + counts.missing, counts.matched + counts.extra)
    found = (
        *_column_options(layout, options),
        *_derivations(layout, options, facts, reasons),
        *_filters(layout, options, facts, reasons),
        *_folding(options, facts, compared),
    )
    return sorted(found, key=lambda each: each.option)


def describe_text_filters(layout: Alignment) -> tuple[str, ...]:
    """A sentence for each filter that orders the texts of numbers."""
    # `--where` has a test on either side. As keys of a dict both are one.
    tests = {
        (test.flag, test.label): None
        for side in layout.prepared
        for test in (*side.own, *side.both)
        if test.orders_text
    }
    return tuple(
        f"{flag}: {name} is compared as text, where 9 is above 10;"
        f" --rule {quoted(quote_name(name, '=') + '=decimal')} compares numbers"
        for flag, name in tests
    )


def _column_options(layout: Alignment, options: Options) -> Iterator[Applied]:
    if options.match_names:
        pairs = layout.by_form
        yield Applied(
            f"--match-names {write_match_names(options.match_names)}",
            len(pairs),
            len(pairs),
            f"{format_count(len(pairs), 'name')} paired: "
            + join_names(f"{old}={new}" for old, new in pairs),
        )
    if options.compare_only:
        old, new = layout.left_out
        names = ",".join(quote_name(name, ",") for name in options.compare_only)
        yield Applied(
            f"--compare-only {names}",
            old,
            new,
            f"{format_count(old, 'column')} of OLD and {new:,} of NEW left out",
        )


def _derivations(
    layout: Alignment,
    options: Options,
    facts: Sequence[Side],
    reasons: Sequence[Mapping[str, int]],
) -> Iterator[Applied]:
    for at, side in enumerate(SIDES):
        texts = options.side(side).derive
        if not texts:
            continue
        # A quarantined row is in no row group, so nothing is derived in it.
        rows = facts[at].rows - facts[at].rejected
        old, new = (rows, 0) if side == SIDES[0] else (0, rows)
        flags = " ".join(f"--{side}-derive {text}" for text in texts)
        text = f"derived in {format_count(rows, 'row')} of {side.upper()}"
        lost = _count_lost(layout.prepared[at].derived, reasons[at])
        text += f"; {lost:,} unpairable" if lost else ""
        yield Applied(flags, old, new, text)


def _folding(
    options: Options, facts: Sequence[Side], compared: Sequence[int]
) -> Iterator[Applied]:
    for at, side in enumerate(SIDES):
        if not options.side(side).fold:
            continue
        away, into = facts[at].folded_away, compared[at]
        old, new = (away, 0) if side == SIDES[0] else (0, away)
        names = ",".join(quote_name(name, ",") for name in options.side(side).sum)
        yield Applied(
            f"--{side}-fold" + (f" --{side}-sum {names}" if names else ""),
            old,
            new,
            f"folded {format_count(into + away, 'row')} of {side.upper()}"
            f" into {into:,}",
        )


def _filters(
    layout: Alignment,
    options: Options,
    facts: Sequence[Side],
    reasons: Sequence[Mapping[str, int]],
) -> Iterator[Applied]:
    """All filters as one, because one row may fail several.

    With masks without their values: a value of a masked column may be among them.
    """
    own = [(f"--{side}-where", options.side(side).where) for side in SIDES]
    flags = [
        f"{flag} {write_without_values(text) if options.masks else text}"
        for flag, text in (("--where", options.where), *own)
        if text
    ]
    if not flags:
        return
    out, partner = (
        [getattr(side, name) for side in facts]
        for name in ("left_out", "partner_left_out")
    )
    lost = [
        _count_lost((*side.own, *side.both), reasons[at])
        for at, side in enumerate(layout.prepared)
    ]
    old, new = (sum(counts) for counts in zip(out, partner, lost, strict=True))
    text = f"{format_count(out[0], 'row')} of OLD and {out[1]:,} of NEW left out"
    if any(partner):
        text += f"; {partner[0]:,} and {partner[1]:,} with a partner that is left out"
    if any(lost):
        text += f"; {lost[0]:,} and {lost[1]:,} could not be read"
    yield Applied(" ".join(flags), old, new, text)


def _count_lost(
    checks: Iterable[DerivedColumns | RowTest], reasons: Mapping[str, int]
) -> int:
    """How many rows are unpairable for what these could not make or read."""
    return sum(reasons.get(why, 0) for why in {each.reason for each in checks})
