"""The settings of a comparison as the text of recon.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recon_engine.command_line import option_words
from recon_engine.hint_settings import list_toml, read_flags, write_name
from recon_engine.toml_text import write_header, write_setting


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.config import Options
    from recon_engine.model import Suppression


def write_options(options: Options, dataset: str | None = None) -> str:
    """What differs from its default, and the suppressions, as lines of recon.toml.

    `dataset`: the name of the table that they are in; None is the whole file.
    """
    table = ("dataset", dataset) if dataset else ()
    lines = [write_header(table)] if table else []
    last: tuple[str, ...] = table
    for place, name, value in list_toml(read_flags(option_words(options)), table):
        if place != last:
            lines += ["", write_header(place)]
            last = place
        lines.append(write_setting(name, value))
    written = "\n".join([*lines, *write_suppressions(options.suppressions, table)])
    return f"{written.strip()}\n"


def write_suppressions(
    suppressions: Sequence[Suppression], table: tuple[str, ...]
) -> Iterator[str]:
    """The lines of their tables in a table of a file, each after a blank line."""
    for each in suppressions:
        yield from ("", f"[{write_header((*table, 'suppress'))}]")
        yield from _list_fields(each)


def _list_fields(suppression: Suppression) -> Iterator[str]:
    it = suppression
    kinds = it.kinds and [*map(str, it.kinds)]
    keys = None
    if it.keys is not None:
        # One text for each key if the key is one column.
        keys = [key[0] if len(key) == 1 else key for key in it.key_values]
    for name, value in (
        ("what", str(it.what)),
        ("column", it.column and write_name(it.column)),
        ("kind", kinds[0] if kinds and not kinds[1:] else kinds),
        ("keys", keys),
        ("old", it.old),
        ("new", it.new),
        ("max", it.max),
        ("reason", it.reason),
        ("owner", it.owner),
    ):
        if value is not None:
            yield write_setting(name, value)
    # TOML has a type for days, which is not quoted.
    yield f"until = {it.until.isoformat()}"
