"""What options did to both sides before their rows were compared, for every output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.command_line import quote_name
from recon_engine.formatting import format_count
from recon_engine.model import SIDES, Applied
from recon_engine.name_forms import write_match_names
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.compare.alignment import Alignment
    from recon_engine.config import Options
    from recon_engine.model import Side


def describe_applied(
    layout: Alignment, options: Options, facts: Sequence[Side]
) -> list[Applied]:
    """Each option that pairs or leaves out columns or rows, sorted by its text."""
    found = (*_column_options(layout, options), *_filters(options, facts))
    return sorted(found, key=lambda each: each.option)


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


def _filters(options: Options, facts: Sequence[Side]) -> Iterator[Applied]:
    """All filters as one, because one row may fail several."""
    own = [(f"--{side}-where", options.side(side).where) for side in SIDES]
    flags = [
        f"{flag} {text}" for flag, text in (("--where", options.where), *own) if text
    ]
    if not flags:
        return
    old, new = (side.left_out + side.partner_left_out for side in facts)
    out, partner, lost = (
        [getattr(side, name) for side in facts]
        for name in ("left_out", "partner_left_out", "unpairable")
    )
    text = f"{format_count(out[0], 'row')} of OLD and {out[1]:,} of NEW left out"
    if any(partner):
        text += f"; {partner[0]:,} and {partner[1]:,} with a partner that is left out"
    if any(lost):
        text += f"; {lost[0]:,} and {lost[1]:,} could not be read"
    yield Applied(" ".join(flags), old, new, text)
