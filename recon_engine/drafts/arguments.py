"""A draft as arguments of `recon_engine.diff`: what `recon init` writes, for Python.

They can also be written to recon.toml, as `recon init` does.
"""

from __future__ import annotations

import csv
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from recon_engine.api import guard_for_python, read_options
from recon_engine.command_line import option_words
from recon_engine.drafts.decision import COLUMNS
from recon_engine.drafts.draft import SAMPLE, draft_settings
from recon_engine.errors import ConfigError
from recon_engine.hint_settings import as_arguments, read_flags, write_python
from recon_engine.inputs.decoding import COLUMNAR, compression_of
from recon_engine.inputs.frames import import_frame
from recon_engine.inputs.header import BOM
from recon_engine.lazy import lazy_pattern
from recon_engine.model import SIDES
from recon_engine.python_arguments import write_for_python
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.storage.base import translate_disk_errors
from recon_engine.suggestions import did_you_mean


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recon_engine.config import Limits, Options
    from recon_engine.drafts.decision import Choices, Draft


# What names columns: of others than the key it is left out of a short proposal.
BY_COLUMN: Final = ("map", "rules", "old_rules", "new_rules")
WITHOUT_NAMES: Final = ("delimiter", "encoding")
# The first rows, of which each has a digit where a header has none.
HEAD_BYTES: Final = 1 << 16
LINES: Final = 200
LEAST_ROWS: Final = 5
DIGIT: Final = lazy_pattern("[0-9]")
# Settings about which differences count, not about how rows are read and paired.
OTHERS: Final = ("on_schema_drift", "match_names")
PUBLIC: Final = ("decisions", "save", "to_toml")
OTHER_NAMES: Final = {
    **dict.fromkeys(
        ("write", "to_file", "write_toml", "save_config", "dump"), 'save("recon.toml")'
    ),
    **dict.fromkeys(("dumps", "toml", "text"), "to_toml()"),
    **dict.fromkeys(("evidence", "explain", "why", "reasons"), "decisions, or print"),
    **dict.fromkeys(
        ("diff", "compare", "run"), "diff(old, new, **draft(old, new)) of recon_engine"
    ),
}
# Arguments of one call, or which no flag of a comparison sets.
UNSAVED: Final = frozenset(
    (
        *("engine", "memory_budget", "max_field_bytes", "max_field_lines", "max_ratio"),
        *("sha256", "today"),
    )
)


class DraftedArguments(dict[str, Any]):
    """The arguments of `diff` that a draft found, with the decisions behind them.

    `print` shows the decisions as `recon init` does; `save` writes recon.toml. With
    `|`, they stay drafted arguments: `(found | {"ignore": ["NOTE"]}).save()`.
    """

    def __init__(self, found: Choices) -> None:
        """Take the settings of a draft."""
        super().__init__(as_arguments(read_flags(option_words(found.options))))
        self._found = found

    @property
    def decisions(self) -> pl.DataFrame:
        """Each decision: `decision`, `choice`, `evidence`, `alternatives`; all text."""
        return pl.DataFrame(self._rows, dict.fromkeys(COLUMNS, pl.String), orient="row")

    @property
    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = (map(write_for_python, each.row) for each in self._found.decisions)
        return [(about, choice, why, more) for about, choice, why, more in rows]

    @guard_for_python
    def to_toml(self) -> str:
        """The text of recon.toml, as `recon init` writes it, with these arguments.

        Those that are as drafted have their evidence. Raises ConfigError for an
        argument that a file cannot have.
        """
        return self._write()

    @guard_for_python
    def save(
        self, path: str | PathLike[str] = "recon.toml", *, force: bool = False
    ) -> list[Path]:
        """Write recon.toml, and the code tables that it proposes; return the files.

        Args:
            path: The file. In a `pyproject.toml`, it is the table `[tool.recon]`.
            force: Whether settings that are there may be replaced.

        Raises ConfigError if the file has other settings, unless `force` is set; if it
        has suppressions and `suppressions` is not among the arguments, also then.
        """
        # Lazy: the library that validates the file takes long to load.
        from recon_engine.config_file import load_configuration
        from recon_engine.drafts.code_files import write_code_files
        from recon_engine.drafts.config_file_text import (
            find_table,
            revise_config,
            write_config_text,
        )

        path = Path(path)
        table = find_table(path)
        found = revise_config(path, self._write(table), table)
        if found.replaces and not force:
            lost = ", ".join(found.lost)
            raise ConfigError(
                f"{path} exists already",
                why="its settings would change: to_toml() returns those of the draft"
                + (f"; these are not among them: {lost}" if lost else ""),
                help="add force=True to replace "
                + ("the settings of [tool.recon]" if table else "it"),
            )
        # What somebody has accepted is lost only if a caller says so.
        if "suppressions" not in self and any(
            _is_suppress(each) for each in found.lost
        ):
            raise ConfigError(
                f"{path} has suppressions, and these arguments have none",
                why="the differences that they accept would not be accepted any more",
                help='keep them: found | {"suppressions": load_config(path)'
                '["suppressions"]}; "suppressions": [] removes them',
            )
        files = write_code_files(self._found.hints, path, force=force)
        write_config_text(path, found.after)
        load_configuration(path)
        return [path, *files]

    def _write(self, table: tuple[str, ...] = ()) -> str:
        """The text of a table of a file; () is the whole file."""
        # Lazy: most callers take the arguments only.
        from recon_engine.drafts.config_text import write_config

        for name in sorted(self.keys() & UNSAVED):
            raise ConfigError(
                f"{name} is no setting that a draft writes",
                help=f"remove {name} from these arguments; docs/configuration.md lists"
                " what a file has",
            )
        return write_config(self._found, table, options=read_options(self))

    def _repr_html_(self) -> str:
        """The same table for a notebook, with the alternatives."""
        # Lazy: only a notebook shows it so.
        from recon_engine.report.html import render_page

        return render_page("decisions.html", (), names=COLUMNS, rows=self._rows)

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError with the name of what was meant."""
        right = OTHER_NAMES.get(name)
        meant = f". Use {right}." if right else did_you_mean(name, PUBLIC)
        raise AttributeError(
            f"drafted arguments have no attribute {name}"
            + (meant or ". They are a dict, with decisions, to_toml() and save()."),
            # Python would propose a name by itself.
            name=None,
            obj=None,
        )

    def __or__(self, other: Mapping[str, Any]) -> DraftedArguments:  # type: ignore[override]
        """These arguments with others, which replace those of their names."""
        merged = DraftedArguments(self._found)
        merged.clear()
        merged.update(self)
        merged.update(other)
        return merged

    def __str__(self) -> str:
        """The decisions as a table, as wide as the terminal."""
        # Lazy: most callers take the arguments only.
        from recon_engine.terminal import render_decisions

        width = get_terminal_size((100, 24)).columns
        return render_decisions(COLUMNS, self._rows, width)


def _is_suppress(place: str) -> bool:
    """Whether a place in a file is that of its suppressions."""
    return place.rpartition(".")[2] == "suppress"


@guard_for_python
def draft(
    old: object, new: object, /, *, sample: int | None = SAMPLE
) -> DraftedArguments:
    """How two tables are read and compared: `diff(old, new, **draft(old, new))`.

    Args:
        old: A path, an `s3://` URL of one object, or a table, as `diff` takes it.
        new: The same; the two may be of different kinds.
        sample: The number of rows that are searched for candidates; None is all.

    Returns the arguments of `diff` that `recon init` writes to recon.toml: delimiter,
    encoding, the key, names and rules. All of them are checked on all rows, except for
    `renames`, which rows of the sample decide. `print` of them shows why they were
    chosen, `decisions` is a frame with the same, and `save` writes recon.toml. Raises a
    ReconError if no column has values of both tables.
    """
    with name_tables(old, new) as (ours, theirs):
        found = draft_settings(ours, theirs, sample=sample).choices
    # A frame is drafted as a file of its texts, which a caller does not know of.
    of_frames = {
        f"{side.upper()} format"
        for side, source in zip(SIDES, (old, new), strict=True)
        if not isinstance(source, str | PathLike)
    }
    decisions = tuple(
        replace(each, choice="frame") if each.about in of_frames else each
        for each in found.decisions
    )
    return DraftedArguments(replace(found, decisions=decisions))


@within_error_boundary
def propose_arguments(
    old: object, new: object, options: Options, keys: Sequence[str], limits: Limits
) -> tuple[str, str] | None:
    """What `diff` needs besides `options` to pair rows: the reason, and arguments.

    `keys`: the columns that a caller names; the draft has to have the same, or names
    for them in NEW. `limits`: size limits of inputs. None if the draft has nothing to
    add. Raises its errors.

    Names are among them only if they are known to be names: the first line of a file
    without a header is a row.
    """
    with name_tables(old, new) as tables:
        found = draft_settings(*tables, limits=limits)
        needed = _list_needed(found, options, keys)
        own = [*(keys or found.options.keys)]
        theirs = [found.options.renames.get(name, name) for name in own]
        named = (bool(keys) or _are_names(own, tables[0], "old", found.options)) and (
            _are_names(theirs, tables[1], "new", found.options)
        )
    if not named:
        needed = {name: needed[name] for name in WITHOUT_NAMES if name in needed}
    if not needed:
        return None
    if not named:
        return "", write_python(needed)
    reason = next(
        (each.evidence for each in found.decisions if each.setting == "keys"), ""
    )
    return reason, write_python(needed)


def _list_needed(found: Draft, options: Options, keys: Sequence[str]) -> dict[str, Any]:
    """The settings of a draft that are not given; of columns, those of the key."""
    given = read_flags(option_words(options))
    drafted = read_flags(option_words(found.options))
    own = [*(keys or found.options.keys)]
    if not set(own) <= {*found.options.keys, *found.options.renames}:
        return {}
    needed: dict[str, Any] = {} if keys else {"keys": own}
    for name, value in drafted.items():
        if name in {"keys", *OTHERS} or given.get(name) == value:
            continue
        if name not in BY_COLUMN:
            needed[name] = value
            continue
        known = given.get(name, {})
        of_key = {n: each for n, each in value.items() if n in own and n not in known}
        if of_key:
            needed[name] = {**known, **of_key}
    return needed


def _are_names(names: Sequence[str], path: str, side: str, options: Options) -> bool:
    """Whether the first line of a file has names: no digit, above values that have one.

    True for a table with a schema. False if it is not known.
    """
    if compression_of(path) in COLUMNAR:
        return True
    encoding = options.encodings[SIDES.index(side)]
    delimiter = options.delimiter_of(side)
    if options.side(side).is_about_text or len(delimiter) > 1:
        return False
    with Path(path).open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    lines = head.removeprefix(BOM).decode(encoding, "replace").splitlines()
    reader = csv.reader(lines[:LINES], delimiter=delimiter)
    try:
        first, *rows = reader
    except (csv.Error, ValueError):
        return False
    # The last line may be cut.
    rows = [row for row in rows[:-1] if len(row) == len(first)]
    return len(rows) >= LEAST_ROWS and all(
        name in first
        and not DIGIT.search(name)
        and all(DIGIT.search(row[first.index(name)]) for row in rows)
        for name in names
    )


@contextmanager
def name_tables(old: object, new: object) -> Iterator[tuple[str, str]]:
    """Both inputs as paths or URLs; a frame is a temporary file of its texts."""
    with tempfile.TemporaryDirectory(prefix="recon-") as folder:
        yield (
            _name_table(old, Path(folder) / "old.parquet"),
            _name_table(new, Path(folder) / "new.parquet"),
        )


def _name_table(source: object, path: Path) -> str:
    if isinstance(source, str | PathLike):
        return fspath(source)
    with translate_disk_errors(str(path.parent)):
        import_frame(source, path.stem).data.write_parquet(path)
    return str(path)
