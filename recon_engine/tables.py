"""Two inputs as whole tables: through the gate, and nothing digested or compared."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from recon_engine.api import both_unread
from recon_engine.encodings import told_for_both
from recon_engine.gate import read_rows
from recon_engine.header import Header, head_of
from recon_engine.model import SIDES
from recon_engine.parallel import in_order
from recon_engine.progress import SILENT, Progress
from recon_engine.rfc4180 import LIMITS, Limits


if TYPE_CHECKING:
    from collections.abc import Iterator

    from recon_engine.config import Options
    from recon_engine.digest import Table, Unread


@contextmanager
def headed(
    old: object,
    new: object,
    options: Options,
    limits: Limits = LIMITS,
    progress: Progress = SILENT,
) -> Iterator[tuple[Unread, Unread]]:
    """Both inputs with their headers read."""
    with ExitStack() as stack:
        yield both_unread(old, new, options, limits, stack, progress)


def gated(
    old: Unread, new: Unread, options: Options, progress: Progress = SILENT
) -> tuple[Table, Table]:
    """Both as tables; raises the errors of the gate."""
    sides = (old, new)
    with told_for_both(options, sides, lambda side: head_of(sides[side])):
        left, right = in_order(
            lambda side: _gated(*side, progress), zip(SIDES, sides, strict=True)
        )
    return left, right


def _gated(name: str, side: Unread, progress: Progress) -> Table:
    if not isinstance(side, Header):
        return side
    with progress.step(f"read {name}", total=side.bytes, unit="bytes") as advance:
        return read_rows(side, advance=advance)
