"""The Python API: `recon_engine.diff` and `load_config`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from recon_engine.column_maps import parse_column_map
from recon_engine.command_line import option_words
from recon_engine.compare.reread import Inputs
from recon_engine.config import (
    DEFAULT_ENGINE,
    DEFAULTS,
    LIMITS,
    NO_KEY,
    EngineName,
    Limits,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    SideFlags,
    SideOptions,
    parse_encodings,
    write_delimiters,
    write_encodings,
)
from recon_engine.config_place import find_config_file
from recon_engine.engines import choose_engine
from recon_engine.errors import ConfigError, InputChanged, KeyMissing, ReconError
from recon_engine.hint_settings import as_arguments, read_flags
from recon_engine.inputs.decoding import is_read_in_place
from recon_engine.inputs.header import Header
from recon_engine.inputs.tables import both_unread, open_side
from recon_engine.model import SIDES, SourceFile
from recon_engine.name_forms import parse_match_names, write_match_names
from recon_engine.options import OPTIONS, SIDED, Option, Shape
from recon_engine.python_arguments import write_for_python
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import to_recon_error, within_error_boundary
from recon_engine.runtime.memory import Budget, parse_budget
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.storage.urls import list_objects, open_storage
from recon_engine.suggestions import did_you_mean
from recon_engine.suppression_arguments import read_suppressions


if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from typing import Unpack

    from recon_engine.inputs.tables import Unread
    from recon_engine.model import Suppression
    from recon_engine.result import Reconciliation
    from recon_engine.side_arguments import SidedArguments
    from recon_engine.storage.base import Storage


Policy = TypeVar("Policy", bound=StrEnum)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")

# How other tools call what `diff` takes.
OTHER_WORDS: Final = {
    **dict.fromkeys(
        ("on", "key", "by", "left_on", "right_on", "join_columns", "primary_key"),
        "keys",
    ),
    **dict.fromkeys(("map", "mapping", "rename", "column_mapping"), "renames"),
    **dict.fromkeys(("exclude", "ignore_columns", "drop"), "ignore"),
    **dict.fromkeys(("abs_tol", "rel_tol", "atol", "rtol", "tolerance"), "rules"),
    **dict.fromkeys(("sep", "separator"), "delimiter"),
    "mask": "masks",
    "rule": "rules",
    "gate": "gates",
}
SETTINGS_OF_FILE: Final = frozenset({"config", "config_file", "config_path", "toml"})
# What is one argument for both sides, although others have `old_…` and `new_…`.
PAIRED: Final = {
    "delimiter": ('";:,"', '(";", ",")'),
    "encoding": ('"cp1252:utf-8"', '("cp1252", "utf-8")'),
}
# Of the rows that match by a key: with fewer, another one may be hidden by its rules.
NEARLY_ALL: Final = 0.99
# Measured: a draft of so many bytes takes seconds.
MOST_DRAFTED: Final = 32 * 2**20
# The rows of about so many bytes, of 130 bytes each.
MOST_DRAFTED_ROWS: Final = 250_000
RULE_SIDES: Final = ("both", *SIDES)


def guard_for_python(work: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Decorate what a caller in Python calls: its errors name arguments, not flags.

    They have the traceback of this call only, and otherwise are those of
    `within_error_boundary`.
    """

    @wraps(work)
    def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        # IPython and pytest leave out such a frame.
        __tracebackhide__ = True
        try:
            return work(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is one
            # Kept, and raised behind the handler: there the original, which may quote a
            # cell, is no `__context__`.
            refusal = _name_arguments(to_recon_error(error))
        raise refusal

    return guarded


def _name_arguments(error: ReconError) -> ReconError:
    """The error with arguments of `diff` in the place of flags."""
    error.message = write_for_python(error.message)
    # `repr` and pickle read `args`, not `message`.
    error.args = (error.message,)
    error.why = error.why and write_for_python(error.why)
    error.help = error.help and write_for_python(error.help)
    return error


@guard_for_python
def diff(
    old: object,
    new: object,
    /,
    *,
    keys: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    compare_only: str | Sequence[str] = (),
    match_names: str = write_match_names(DEFAULTS.match_names),
    renames: Mapping[str, str] | str | None = None,
    rules: Mapping[str, str | Sequence[str] | Mapping[str, str | Sequence[str]]]
    | None = None,
    masks: Mapping[str, str] | None = None,
    on_duplicate_keys: str = str(DEFAULTS.on_duplicate_keys),
    on_schema_drift: str = str(DEFAULTS.on_schema_drift),
    on_bad_row: str = str(DEFAULTS.on_bad_row),
    delimiter: str | Sequence[str] = DEFAULTS.delimiter,
    encoding: str | Sequence[str] = write_encodings(DEFAULTS.encodings),
    detail_limit: int = DEFAULTS.detail_limit,
    memory_budget: str | None = None,
    max_field_bytes: int = LIMITS.field_bytes,
    max_field_lines: int = LIMITS.field_lines,
    max_ratio: int = LIMITS.ratio,
    gates: str | Sequence[str] = (),
    suppressions: Sequence[Suppression] = (),
    where: str = DEFAULTS.where,
    today: date | None = None,
    engine: str = str(DEFAULT_ENGINE),
    sha256: bool = False,
    **sided: Unpack[SidedArguments],
) -> Reconciliation:
    """Reconcile two tables by `keys`; all values are text, nothing is inferred.

    Args:
        old: A path, an `s3://` URL, or a table: of Polars, pandas, pyarrow, DuckDB, or
            anything with `__arrow_c_stream__`. It is not changed. A file named `.gz`,
            `.zst`, `.bz2`, `.xz` or `.zip` is decompressed. docs/python.md says how
            typed columns become text.
        new: The same; the two may be of different kinds.
        keys: The key columns. Without any, the error proposes some.
        ignore: Columns that are not compared.
        compare_only: The columns to compare besides the key.
        match_names: "trim", "casefold" or "trim,casefold" pairs names that are equal in
            this form.
        renames: Names in OLD to names in NEW, of columns that are named differently; or
            text: "A=B,C=D", "@map.csv".
        rules: What else is equal, by column: `{"PAID": "decimal", "*": "trim"}`;
            `old_rules` and `new_rules`, or `{"PAID": {"old": "decimal(comma)"}}`, read
            one side. A code table is a rule: `{"SEX": "map(M=1,F=2)"}`.
        masks: How the values of a column are shown: `{"MEMBER_ID": "hmac", "NAME":
            "redact", "PHONE": "last4"}`. hmac takes its key from $RECON_MASK_KEY or the
            file $RECON_MASK_KEY_FILE.
        on_duplicate_keys: "pair" compares the rows of a key as multisets, "fail"
            refuses repeated keys.
        on_schema_drift: "refuse" refuses columns that only one side has, "compare"
            compares the others.
        on_bad_row: "fail" refuses a file with a malformed row, "quarantine" omits the
            row and lists it in `rejects()`.
        delimiter: One to eight characters, or those of OLD and of NEW: (";", ",") or
            ";:,".
        encoding: Of both files, such as "cp1252"; or of OLD and of NEW: ("cp1252",
            "utf-8") or "cp1252:utf-8".
        detail_limit: The number of rows in `sample`.
        memory_budget: Such as "2GiB"; None is 60% of what is available.
        max_field_bytes: A longer field is refused: usually a quote is missing.
        max_field_lines: A field of more lines is refused.
        max_ratio: How many times its size a compressed file may expand to.
        gates: What may differ, such as "mismatch_rate(PAID)<=0.1%"; they decide
            `passes`.
        suppressions: Known differences that are accepted: `Suppression`, or mappings
            of its fields. `draft_suppressions` of a result makes them.
        where: Which rows are compared, such as "CLOSED >= '2026-01-01'".
        today: The day on which suppressions may have expired; None is today in UTC.
        engine: "local", or "spark" for a cluster (docs/spark.md).
        sha256: Whether the SHA-256 of plain files is computed, which costs as much as
            reading them. A file that is decoded, such as UTF-16 or `.gz`, always has
            it.
        **sided: How files are read and rows are prepared, each as `X=` for both,
            `old_X=` and `new_X=` for one (docs/files.md, docs/pairing.md): skip_lines,
            comment_prefix, no_header, names, repeat_names, blank_names,
            trailing_delimiter, trailer, trailer_count, trailer_sum, trailer_delimiter,
            eof_mark, quote, excel_text, fixed, member, derive, fold, sum. Of one side
            only: old_rules, new_rules, old_where, new_where.

    Raises a ReconError, which says what, where, why and how to fix it.
    """
    refuse_unknown_arguments(sided)
    given = locals() | sided
    options = _make_options(given, old, new)
    budget = parse_budget(memory_budget) if memory_budget else None
    limits = Limits(max_field_bytes, max_field_lines, max_ratio)
    if options.keys == NO_KEY:
        raise propose_key(old, new, options, budget, limits)
    # Before they are compared: `rows(context=…)` of the result refuses an input that
    # was replaced since.
    inputs = Inputs.pin(old, new, options, limits)
    try:
        result = compare_inputs(
            old,
            new,
            options,
            budget=budget,
            limits=limits,
            today=today,
            engine=_parse_policy(EngineName, engine),
            sha256=sha256,
        )
    except (ConfigError, KeyMissing) as error:
        lists = {"keys": keys, "ignore": ignore, "compare_only": compare_only}
        listed = _explain_list(error, lists)
        # A remedy that gives both files the key stays: a draft takes seconds, and may
        # find another key.
        if isinstance(error, KeyMissing) and not (listed or error.is_settled):
            proposed = _propose_arguments(old, new, options, options.keys, limits)
            error.help = proposed.help if proposed else error.help
        raise
    given_flags = read_flags(option_words(options))
    return replace(result, given=given_flags, inputs=inputs)


def read_options(arguments: Mapping[str, Any]) -> Options:
    """The options that arguments of `diff` set; ConfigError for a wrong one."""
    sided = arguments.keys() - inspect.signature(diff).parameters.keys()
    refuse_unknown_arguments({name: arguments[name] for name in sided})
    # `old`, `new` and `sided` have none, and no option has their names.
    defaults = {n: p.default for n, p in inspect.signature(diff).parameters.items()}
    return _make_options({**defaults, **arguments}, None, None)


def _make_options(given: Mapping[str, Any], old: object, new: object) -> Options:
    """The options of a comparison; `given`: all arguments of `diff` by their names."""
    for option in OPTIONS.values():
        # `read_keys` checks the keys: a pandas index has an error of its own.
        if option.in_python in given and option.in_python != "keys":
            _check_argument(option, given[str(option.in_python)])
    by = read_keys(given["keys"], old, new)
    renames, delimiter, encoding = (
        given[name] for name in ("renames", "delimiter", "encoding")
    )
    of_sides = _split_rules(given["rules"] or {}, given)
    return Options(
        keys=by or NO_KEY,
        ignore=_as_names(given["ignore"]),
        compare_only=_as_names(given["compare_only"]),
        match_names=parse_match_names(given["match_names"]),
        renames=parse_column_map([renames])
        if isinstance(renames, str)
        else dict(renames or {}),
        rules=of_sides["rules"],
        masks=dict(given["masks"] or {}),
        on_duplicate_keys=_parse_policy(OnDuplicateKeys, given["on_duplicate_keys"]),
        on_schema_drift=_parse_policy(OnSchemaDrift, given["on_schema_drift"]),
        on_bad_row=_parse_policy(OnBadRow, given["on_bad_row"]),
        delimiter=delimiter
        if isinstance(delimiter, str)
        else write_delimiters(*delimiter),
        encodings=parse_encodings(
            encoding if isinstance(encoding, str) else ":".join(encoding)
        ),
        detail_limit=given["detail_limit"],
        gates=_as_names(given["gates"]),
        suppressions=read_suppressions(given["suppressions"]),
        where=given["where"],
        old=make_side_options("old", {**given, **of_sides}),
        new=make_side_options("new", {**given, **of_sides}),
    )


@guard_for_python
def load_config(
    path: str | Path | None = None, dataset: str | None = None
) -> dict[str, Any]:
    """The settings of recon.toml as arguments: `diff(old, new, **load_config())`.

    Args:
        path: The file; None is recon.toml of the working directory, or pyproject.toml
            there if it has a table `[tool.recon]`.
        dataset: The dataset of the file; None is the only one, if it has one.

    What concerns runs only, such as locations, is left out. Raises ConfigError if there
    is no file, and for all mistakes of the file at once.
    """
    # Lazy: the library that validates the file takes long to load.
    from recon_engine.config_file import load_configuration

    place = find_config_file() if path is None else Path(path)
    if place is None:
        raise ConfigError(
            "there is no recon.toml in the working directory",
            help="recon init OLD NEW drafts one; or name the file: load_config(path)",
        )
    settings = load_configuration(place, dataset).settings
    found = as_arguments({n: settings[n] for n in OPTIONS if n in settings})
    # A file without `[[suppress]]` has an empty list of them, and a draft has none.
    return {n: _as_drafted(v) for n, v in found.items() if n != "suppressions" or v}


def _as_drafted(value: Any) -> Any:
    """A value of a file in the form of `draft`: lists, and texts of policies."""
    if isinstance(value, dict):
        return {name: _as_drafted(each) for name, each in value.items()}
    if isinstance(value, StrEnum):
        return str(value)
    return [*value] if isinstance(value, tuple) else value


def refuse_unknown_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise ConfigError for an argument that `diff` does not have, with the right one.

    `arguments`: those that are not in its signature, of which some are of a side.
    """
    sided = {name for each in SIDED for name in _argument_names(each)}
    for name in sorted(arguments.keys() - sided):
        side, _, both = name.partition("_")
        if side in SIDES and both in PAIRED:
            text, pair = PAIRED[both]
            raise ConfigError(
                f"diff has no argument {name}: {both} is for both files",
                help=f"write {both}={text} or {both}={pair}, of OLD and of NEW",
            )
        if name in SETTINGS_OF_FILE:
            raise ConfigError(
                f"diff has no argument {name}",
                help="recon_engine.load_config(path) returns the arguments of a"
                " configuration file: diff(old, new, **load_config(path))",
            )
        known = (*inspect.signature(diff).parameters, *sided)
        right = OTHER_WORDS.get(name)
        raise ConfigError(
            f"diff has no argument {name}"
            + (f". Did you mean {right}?" if right else did_you_mean(name, known)),
            help=f"write {right}=…" if right else "help(recon_engine.diff) lists them",
        )


def read_keys(
    keys: str | Sequence[str] | None, old: object, new: object
) -> tuple[str, ...]:
    """The names of key columns; () if none is named.

    Raises ConfigError for what is no name, and for the index of a pandas frame.
    """
    if keys is None:
        return ()
    by = _as_names(keys) if isinstance(keys, str | Sequence) else (None,)
    # No value is quoted: a pandas index, for instance, holds cells.
    if not all(isinstance(name, str) for name in by):
        raise ConfigError(
            f"keys is a {type(keys).__name__}, not the names of columns",
            help='use keys="ID" or keys=["ID", "LINE"]; reset_index() makes the index'
            " of a pandas frame a column",
        )
    for side, source in zip(SIDES, (old, new), strict=True):
        index = getattr(getattr(source, "index", None), "names", None) or ()
        for name in by:
            # pandas names an index without a name so when `reset_index` makes it a
            # column.
            if name in (*index, "index") and name not in getattr(
                source, "columns", (name,)
            ):
                raise ConfigError(
                    f"{name} is the index of the {side} frame, not a column",
                    help=f"pass {side}.reset_index()",
                )
    return by


def propose_key(
    old: object, new: object, options: Options, budget: Budget | None, limits: Limits
) -> ConfigError:
    """The error of a caller who names no key, with the best one of both inputs."""
    from recon_engine.compare.key_search import propose_keys

    refusal, best = None, None
    try:
        found = propose_keys(old, new, options, budget=budget, limits=limits)
        best = found[0] if found else None
    except ConfigError as error:
        # Such as no column in common: of other names, or of files read otherwise.
        refusal = error
    if best is None or best.overlap < NEARLY_ALL:
        proposed = _propose_arguments(old, new, options, (), limits)
        if proposed is not None and not (best and best.reason == proposed.why):
            return proposed
    if refusal is not None:
        return refusal
    if best is None or not best.is_likely:
        return ConfigError(
            "no key column is named",
            why=best.reason
            if best
            else "no column that was tried has a value that is in both inputs",
            help='add keys="COLUMN"; renames={"OLD": "NEW"} pairs other names',
        )
    return ConfigError(
        "no key column is named", why=best.reason, help=f"add keys={[*best.columns]}"
    )


def _propose_arguments(
    old: object, new: object, options: Options, keys: Sequence[str], limits: Limits
) -> ConfigError | None:
    """The error with the arguments that pair rows, as `draft` finds them.

    None if it finds none, if the caller says how files are read, and for inputs so
    large that an error should not wait for it.
    """
    # Lazy: it imports this module, and only an error needs it.
    from recon_engine.drafts.arguments import propose_arguments

    reads = any(options.side(side).is_about_text for side in SIDES)
    if reads or not all(map(_is_small, (old, new))):
        return None
    try:
        found = propose_arguments(old, new, options, keys, limits)
    except ReconError:
        return None
    if found is None:
        return None
    reason, arguments = found
    return ConfigError(
        "no key column is named",
        why=reason or None,
        help=f"add {arguments}; recon_engine.draft(old, new) returns these and what the"
        " other columns need",
    )


def _is_small(source: object) -> bool:
    """Whether a source is a local file or a frame whose draft takes seconds."""
    if isinstance(source, str | PathLike):
        path = Path(source)
        return path.is_file() and path.stat().st_size <= MOST_DRAFTED
    return isinstance(source, Sized) and len(source) <= MOST_DRAFTED_ROWS


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def make_side_options(side: str, arguments: Mapping[str, Any]) -> SideOptions:
    """The options of a side, as a caller in Python names them.

    `old_X` overrides `X`; None is as if it was not given.
    """
    values, shared = dict[str, Any](), set[str]()
    for option in SIDED:
        value = arguments.get(f"{side}_{option.in_python}")
        if value is None and not option.adds:
            value = arguments.get(str(option.in_python))
            if value is not None:
                shared.add(option.flag.removeprefix("--"))
        if value is not None:
            values[option.field] = _read_argument(option, value)
    return SideOptions(**values, flags=SideFlags(side, frozenset(shared)))


def _check_argument(option: Option, value: Any) -> None:
    """Raise ConfigError for a value of another type than the argument takes.

    No value is quoted: it may be a cell or a frame.
    """
    name = str(option.in_python)
    # `read_suppressions` checks these, field by field.
    if value is None or option.name == "suppressions":
        return
    if option.name in PAIRED and isinstance(value, tuple | list):
        if len(value) != len(SIDES) or not _are_texts(value):
            text, pair = PAIRED[option.name]
            raise ConfigError(
                f"{name} has {len(value)} items, not one text for each file",
                help=f"write {name}={text} or {name}={pair}, of OLD and of NEW",
            )
        return
    takes, right = _describe_argument(option)
    if not takes(value):
        own = f"; write old_{name}=… and new_{name}=… for one file each"
        raise ConfigError(
            f"{name} is a {type(value).__name__}",
            help=f"write {name}={right}"
            + own * (option.sided and option.side is None and not option.adds),
        )


def _describe_argument(option: Option) -> tuple[Callable[[Any], bool], str]:
    """Whether a value has the type of an argument, and such a value."""
    if option.shape is Shape.VALUE:
        return TYPES.get(option.value_type, (_is_text, '"text"'))
    if option.shape is Shape.COLUMN_VALUES and option.side is None:
        return _is_mapping(
            lambda value: _are_texts(value) or _is_mapping(_are_texts)(value)
        ), '{"COLUMN": "trim"} or {"COLUMN": ["trim", "decimal"]}'
    return SHAPES[option.shape]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, Sequence) and all(map(_is_text, value))
    )


def _is_mapping(is_value: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping)
        and all(map(_is_text, value))
        and all(map(is_value, value.values()))
    )


def _is_table(is_value: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_text(value) or _is_mapping(is_value)(value)


# Whether a value has the type, and such a value, by type and by shape.
TYPES: Final[Mapping[type, tuple[Callable[[Any], bool], str]]] = {
    bool: (lambda value: isinstance(value, bool), "True"),
    # Not `isinstance`: True is an instance of int, and no number.
    int: (lambda value: type(value) is int, "a whole number"),
}
SHAPES: Final = {
    Shape.NAMES: (_are_texts, '"A" or ["A", "B"]'),
    Shape.VALUES: (_are_texts, '"A" or ["A", "B"]'),
    Shape.RENAMES: (_is_table(_is_text), '{"OLD": "NEW"} or "OLD=NEW"'),
    Shape.COLUMN_VALUE: (_is_mapping(_is_text), '{"COLUMN": "redact"}'),
    Shape.COLUMN_VALUES: (_is_mapping(_are_texts), '{"COLUMN": "trim"}'),
}


def _split_rules(
    rules: Mapping[str, Any], sided: Mapping[str, Any]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """The rules of both sides, of OLD and of NEW, by the names of their arguments.

    A column of `rules` may have a mapping, of `both`, `old` and `new`. Rules of a side
    that are in it already are not added to it again.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {"rules": {}}
    for side in SIDES:
        own = sided.get(f"{side}_rules") or {}
        found[f"{side}_rules"] = {name: _as_names(each) for name, each in own.items()}
    for column, value in rules.items():
        of_sides = value if isinstance(value, Mapping) else {"both": value}
        if not of_sides.keys() <= set(RULE_SIDES):
            raise ConfigError(
                f'rules: the mapping of {column} has other keys than "old", "new"'
                ' and "both"',
                help=f'a code table is the text of a rule: rules={{"{column}": '
                '"map(A=ACTIVE)"}, each code of OLD with its value in NEW; rules of one'
                f' side: rules={{"{column}": {{"old": "decimal(comma)"}}}}',
            )
        for side, each in of_sides.items():
            chains = found["rules" if side == "both" else f"{side}_rules"]
            before = chains.get(column, ())
            added = (rule for rule in _as_names(each) if rule not in before)
            chains[column] = (*before, *added)
    return found


def _explain_list(
    error: ConfigError | KeyMissing, arguments: Mapping[str, Any]
) -> bool:
    """Whether a text with commas is the cause; its remedy is then the list of names.

    A column may have a comma in its name, so such a text is tried as a name first.
    """
    for argument, text in arguments.items():
        if isinstance(text, str) and "," in text and text in error.message:
            names = [name.strip() for name in text.split(",")]
            error.help = f"names of several columns are a list: {argument}={names}"
            return True
    return False


def _argument_names(option: Option) -> tuple[str, ...]:
    name = str(option.in_python)
    both = () if option.adds else (name,)
    return (*both, *(f"{side}_{name}" for side in SIDES))


def _read_argument(option: Option, value: Any) -> Any:
    if option.shape is Shape.COLUMN_VALUES:
        return {name: _as_names(each) for name, each in value.items()}
    if option.shape is not Shape.VALUE:
        return _as_names(value)
    if issubclass(option.value_type, StrEnum):
        return _parse_policy(option.value_type, value)
    return option.parse(value) if option.parse and isinstance(value, str) else value


def _parse_policy(policy: type[Policy], text: str) -> Policy:
    # A set, because Python 3.11 raises TypeError for a text `in` an enumeration.
    if text not in set(policy):
        raise ConfigError(
            f"{text} is none of " + ", ".join(policy), help=policy.__doc__
        )
    return policy(text)


@within_error_boundary
def compare_inputs(
    old: object,
    new: object,
    options: Options,
    progress: Progress = SILENT,
    *,
    budget: Budget | None = None,
    limits: Limits = LIMITS,
    today: date | None = None,
    engine: EngineName = DEFAULT_ENGINE,
    sha256: bool = True,
) -> Reconciliation:
    """`diff` with its options as one value, and someone to watch."""
    # UTC, so that a suppression expires at the same moment on every machine.
    today = today or datetime.now(UTC).date()
    with ExitStack() as stack:
        inputs = _NamedInputs((old, new), options, limits, stack, progress, sha256)
        chosen = choose_engine(engine, budget)
        return chosen.compare(inputs, options, today, progress).result


@dataclass(frozen=True, slots=True)
class _NamedInputs:
    """Two inputs as a caller names them; what they take on disk is `stack`'s."""

    sources: tuple[object, object]
    options: Options
    limits: Limits
    stack: ExitStack
    progress: Progress
    hashes: bool

    def open_both(self) -> tuple[Unread, Unread]:
        old, new = both_unread(
            *self.sources, self.options, self.limits, self.stack, self.progress
        )
        return self._with_hashes(old), self._with_hashes(new)

    def open_side(self, side: str) -> Unread:
        source = self.sources[SIDES.index(side)]
        unread = open_side(
            source, side, self.options, self.limits, self.stack, self.progress
        )
        return self._with_hashes(unread)

    def _with_hashes(self, side: Unread) -> Unread:
        return replace(side, hashes=self.hashes) if isinstance(side, Header) else side

    def locate(self, side: str) -> tuple[Storage, SourceFile] | None:
        url = str(self.sources[SIDES.index(side)])
        if not url.startswith("s3:") or list_objects(url):
            return None
        # Compressed and transcoded files have to be decoded as a whole, on one machine.
        if not is_read_in_place(url, side, self.options):
            return None
        folder, _, name = url.rpartition("/")
        place = open_storage(f"{folder}/")
        try:
            return place, place.identify(SourceFile(uri=url, name=name, size=0))
        except InputChanged:
            raise ConfigError(
                "the object does not exist",
                file=url,
                help="check the spelling; names are case-sensitive",
            ) from None
