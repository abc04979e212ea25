"""What options did to both sides before their rows were compared, for every output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.command_line import quote_name
from recon_engine.formatting import format_count
from recon_engine.model import Applied
from recon_engine.name_forms import write_match_names
from recon_engine.suggestions import join_names


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.compare.alignment import Alignment
    from recon_engine.config import Options


def describe_applied(layout: Alignment, options: Options) -> list[Applied]:
    """Each option that pairs or leaves out columns or rows, sorted by its text."""
    return sorted(_applied(layout, options), key=lambda each: each.option)


def _applied(layout: Alignment, options: Options) -> Iterator[Applied]:
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
