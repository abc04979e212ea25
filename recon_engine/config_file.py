"""`recon.toml`, or `[tool.recon]` of pyproject.toml: what a dataset is reconciled with.

Settings at the top are for every dataset; `[dataset.NAME]` overrides them. All mistakes
of a file are reported at once, each by its path.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    create_model,
    model_validator,
)

from recon_engine import gate_syntax
from recon_engine.column_maps import parse_column_map
from recon_engine.command_line import read_name
from recon_engine.config import (
    DATASET_PATTERN,
    ONE_CHARACTER,
    Mask,
    check_suppression,
    parse_encodings,
    read_layout,
    split_delimiters,
    split_layout,
)
from recon_engine.config_paths import list_map_files, resolve_paths
from recon_engine.derive_syntax import parse_derivation
from recon_engine.errors import ConfigError
from recon_engine.kinds import Kind
from recon_engine.model import MOST_COUNT, SIDES, Suppressible, Suppression
from recon_engine.name_forms import parse_match_names
from recon_engine.options import OPTIONS, SIDED, Option, Shape
from recon_engine.records import dataclass
from recon_engine.rules.spelling import parse_rule
from recon_engine.runtime.memory import parse_budget
from recon_engine.suggestions import did_you_mean
from recon_engine.toml_text import find_repeated, write_header, write_key
from recon_engine.where_syntax import parse_where


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails


# Names of settings that do not exist and suggest a secret: their error says where
# secrets belong.
SECRET: Final = re.compile(
    r"password|passwd|secret|token|credential|database_url|access_key|mask_key",
    re.IGNORECASE,
)
USERINFO: Final = re.compile(r"[a-z0-9+]+://[^/]*@", re.IGNORECASE)
NO_SECRETS: Final = (
    "this file holds no secret: the database is named by RECON_DATABASE_URL or "
    "PG* variables, the mask key by RECON_MASK_KEY, AWS by its role or profile"
)
# tomllib gives the place of an error only in its text.
AT_LINE: Final = re.compile(r"\(at line ([0-9]+), column ([0-9]+)\)")
PYPROJECT: Final = "pyproject.toml"
# Tables whose keys are columns. A column of such a name is not meant if its value is
# wrong.
BY_COLUMN: Final = {"map", "rules", "masks"}
# Settings of which that of one side does not replace that of both.
ADDED: Final = {option.name for option in SIDED if option.adds}
REFERENCE_HELP: Final = (
    "docs/configuration.md has all settings, and so has: recon schema config"
)


def _validated_by(parse: Callable[[str], object]) -> AfterValidator:
    """What `parse` refuses is refused, in its words; the text stays as it is."""

    def checked(text: str) -> str:
        try:
            parse(text)
        except ConfigError as error:
            raise ValueError(_describe_refusal(error)) from None
        return text

    return AfterValidator(checked)


def _describe_refusal(error: ConfigError) -> str:
    """What a value is refused for, where if it is in another file, and the remedy."""
    place = f": {error.file}" if error.file else ""
    line = f", line {error.line:,}" if error.file and error.line else ""
    why = f": {error.why}" if error.file and error.why else ""
    known = error.message.endswith("?") or not error.help
    remedy = "" if known else f" ({error.help})"
    return f"{error.message}{place}{line}{why}{remedy}"


def _as_tuple(value: object) -> object:
    """One text is a list of one."""
    return (value,) if isinstance(value, str) else value


def _without_userinfo(url: str) -> str:
    if USERINFO.match(url):
        raise ValueError(f"the URL holds a name or a password; {NO_SECRETS}")
    return url


def _split_read_layout(text: str) -> object:
    return split_layout(read_layout(text))


def _check_one_character(text: str) -> str:
    if not ONE_CHARACTER.fullmatch(text):
        raise ValueError("not one ASCII character")
    return text


def _column(text: str) -> str:
    """A column's name as in flags: spaces around it count only in quotes."""
    name = read_name(text)
    if not name:
        raise ValueError("a name has only spaces")
    return name


def _distinct(table: object) -> object:
    """Refuse keys that are equal without the spaces around them."""
    if isinstance(table, dict):
        names = [key.strip() for key in table]
        if len(set(names)) < len(names):
            raise ValueError("two names differ only in the spaces around them")
    return table


def _as_column_map(value: object) -> object:
    """A text is a list of pairs, or names a file of pairs."""
    if not isinstance(value, str):
        return value
    try:
        return parse_column_map([value])
    except ConfigError as error:
        raise ValueError(_describe_refusal(error)) from None


Name = Annotated[str, Field(min_length=1)]
ColumnName = Annotated[Name, AfterValidator(_column)]
OneOrMore: Final = BeforeValidator(_as_tuple, json_schema_input_type=str | list[str])
OneOrMoreKinds: Final = BeforeValidator(
    _as_tuple, json_schema_input_type=Kind | list[Kind]
)
Distinct: Final = BeforeValidator(_distinct)
Names = Annotated[tuple[ColumnName, ...], OneOrMore]
Texts = Annotated[tuple[Name, ...], OneOrMore]
# A part of a key may be blank.
Key = Annotated[tuple[str, ...], OneOrMore]
Rules = Annotated[tuple[Annotated[str, _validated_by(parse_rule)], ...], OneOrMore]
Gates = Annotated[
    tuple[Annotated[str, _validated_by(gate_syntax.parse_gate)], ...], OneOrMore
]
Place = Annotated[str, AfterValidator(_without_userinfo)]
Kinds = Annotated[tuple[Kind, ...], OneOrMoreKinds]
Count = Annotated[int, Field(ge=1, le=MOST_COUNT, strict=True)]


class Accepted(BaseModel):
    """`[[suppress]]`: differences that are known and accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Suppressible = Field(
        description="What is accepted: missing rows, extra rows, or cells of a column"
    )
    column: ColumnName | None = Field(
        default=None, description='The column; required with what = "column"'
    )
    kind: Kinds | None = Field(
        default=None,
        description="The kind of difference, or a list of kinds; if absent, every kind",
    )
    reason: Name = Field(description="Why the differences are accepted")
    owner: Name = Field(description="Who accepts them")
    until: date = Field(description="The last day; a match after it fails the run")
    max: Count | None = Field(
        default=None, description="Largest number of matches; more fail the run"
    )
    keys: tuple[Key, ...] | None = Field(
        default=None,
        description="Only rows with one of these keys, each as `recon breaks` lists it:"
        " a list of the values of the key columns, or the text of a single one",
    )
    old: str | None = Field(
        default=None,
        description="Only cells with exactly this text in OLD, as outputs show it",
    )
    new: str | None = Field(
        default=None,
        description="Only cells with exactly this text in NEW, as outputs show it",
    )

    @property
    def suppression(self) -> Suppression:
        """The same as a value of the engine."""
        # Not by `dict`, which takes the field `keys` for the method of a mapping.
        facts = vars(self)
        if self.kind and not self.kind[1:]:
            # One kind is a text: so runs are identified that recorded it.
            facts = facts | {"kind": self.kind[0]}
        return Suppression(**facts)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            check_suppression(self.suppression)
        except ConfigError as error:
            raise ValueError(f"{error.message} ({error.help})") from None
        return self


# Settings of both files at once, whose text may be OLD:NEW.
OF_PAIRS: Final = ("delimiter", "encoding")
# Settings whose text has a grammar; all others are of the type that their option has.
FILE_TYPES: Final[dict[str, Any]] = {
    "keys": Names,
    "ignore": Names,
    "compare_only": Names,
    "where": Annotated[str, _validated_by(parse_where)],
    "derive": Annotated[
        tuple[Annotated[str, _validated_by(parse_derivation)], ...], OneOrMore
    ],
    "sum": Names,
    "match_names": Annotated[str, _validated_by(parse_match_names)],
    "map": Annotated[
        dict[ColumnName, ColumnName],
        Distinct,
        BeforeValidator(_as_column_map, json_schema_input_type=str | dict[str, str]),
    ],
    "rules": Annotated[dict[ColumnName, Rules], Distinct],
    "masks": Annotated[dict[ColumnName, Mask], Distinct],
    "gates": Gates,
    "suppressions": tuple[Accepted, ...],
    "delimiter": Annotated[str, _validated_by(split_delimiters)],
    "fixed": Annotated[str, _validated_by(_split_read_layout)],
    "encoding": Annotated[str, _validated_by(parse_encodings)],
    "comment_prefix": Name,
    "old_pattern": Name,
    "new_pattern": Name,
    "done_file": Texts,
    "member": Name,
    "names": Names,
    "trailer": Texts,
    "trailer_count": Texts,
    "trailer_sum": Texts,
    "trailer_delimiter": Annotated[str, AfterValidator(_check_one_character)],
    "memory_budget": Annotated[str, _validated_by(parse_budget)],
    "output": Texts,
}
# What an empty text of a suppression lacks: a draft leaves these two blank.
TO_FILL_IN: Final = {
    "reason": "it is empty: write why the differences are accepted, such as"
    ' reason = "known rounding, TICKET-1"',
    "owner": 'it is empty: write who accepts them, such as owner = "claims-team"',
}
# The library that validates has other words for values of another type.
WRONG_KINDS: Final = {
    "string_type": "it has to be a text in quotes",
    "bool_type": "it has to be true or false",
    "int_type": "it has to be a whole number, without quotes",
    "greater_than_equal": "it has to be at least {ge:,}",
    "less_than_equal": "it has to be at most {le:,}",
    "tuple_type": "it has to be a text, or a list of texts",
    "dict_type": 'it has to be a table, such as {{ NAME = "…" }}',
    "model_type": "it has to be a table",
    "string_pattern_mismatch": "the name of a dataset is a letter, then up to 47"
    " letters, digits, '_' or '-'",
}
LOOSE_DAY: Final = re.compile(r"(\d{4})[-./](\d{1,2})[-./](\d{1,2})")
EMPTY: Final[dict[Shape, Any]] = {
    Shape.VALUES: (),
    Shape.NAMES: (),
    Shape.RENAMES: {},
    Shape.COLUMN_VALUE: {},
    Shape.COLUMN_VALUES: {},
}


def _file_field(option: Option) -> tuple[Any, Any]:
    """The type, and the default and description, of an option in the file."""
    default = EMPTY.get(option.shape, option.default)
    kind = FILE_TYPES.get(option.name) or _plain_type(option)
    return (
        kind if default is not None else kind | None,
        Field(default=default, description=option.help),
    )


def _plain_type(option: Option) -> Any:
    if option.value_type is bool:
        return StrictBool
    if option.value_type is int:
        return Annotated[int, Field(ge=option.least, le=MOST_COUNT, strict=True)]
    # Text without a grammar is the URL of a location.
    return Place if option.value_type is str else option.value_type


def _file_fields(options: Iterable[Option]) -> dict[str, Any]:
    return {
        option.in_file: _file_field(option)
        for option in options
        if option.in_file is not None and option.side is None
    }


FROZEN: Final = ConfigDict(extra="forbid", frozen=True)
SideSection: Final[type[BaseModel]] = create_model(
    "Side",
    __config__=FROZEN,
    __doc__="The settings of one side.",
    **_file_fields(SIDED),
)
_OF_SIDES: Final[dict[str, Any]] = {
    side: (
        SideSection,
        Field(default=SideSection(), description=f"Settings of {side.upper()} only."),
    )
    for side in SIDES
}
Section: Final[type[BaseModel]] = create_model(
    "Section",
    __config__=FROZEN,
    __doc__="All settings, for every dataset or for one.",
    **_file_fields(OPTIONS.values()),
    **_OF_SIDES,
)
DatasetName = Annotated[str, Field(pattern=f"^{DATASET_PATTERN.pattern}$")]
_Table: Any = dict
File: Final[type[BaseModel]] = create_model(
    "File",
    __base__=Section,
    __doc__="A configuration file of recon-engine.",
    dataset=(
        _Table[DatasetName, Section],
        Field(default={}, description="Settings of one dataset, by its name."),
    ),
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file sets for a dataset, or for all if none is named; never a default.

    `dataset`: the dataset that was named, or the only one of the file. `datasets`: all
    that the file has. `map_files`: the files that it names for `map`, of all datasets.
    """

    path: Path
    settings: Mapping[str, Any]
    dataset: str | None
    datasets: tuple[str, ...]
    map_files: tuple[str, ...]


def load_configuration(path: Path, dataset: str | None = None) -> Configuration:
    """What a file sets for a dataset; for its only one, if none is named.

    The values of a dataset take the place of those at the top; tables by column are
    merged. Settings of a side have its name before theirs, as `old_skip_lines`. Raises
    ConfigError, which reports all mistakes of the file at once.
    """
    return merge_tables(read_toml(path, required=True), path, dataset)


def merge_tables(
    tables: Mapping[str, Any], path: Path, dataset: str | None
) -> Configuration:
    """As `load_configuration`, for the tables of a file that `read_toml` returns."""
    table = resolve_paths(tables, path.parent)
    file = _validate_table(table, path)
    datasets = tuple(vars(file)["dataset"])
    if dataset is None and len(datasets) == 1:
        [dataset] = datasets
    settings = _merge_settings(file, path, dataset)
    return Configuration(
        path, settings, dataset, datasets, tuple(list_map_files(table))
    )


def _merge_settings(file: BaseModel, path: Path, dataset: str | None) -> dict[str, Any]:
    own = _select_section(file, path, dataset)
    settings = _explicit_values(file)
    for name, value in _explicit_values(own).items():
        merge = isinstance(value, dict)
        settings[name] = {**settings.get(name, {}), **value} if merge else value
        # What a dataset sets for both sides overrides what the top sets for one, unless
        # that is in addition to it.
        adds = merge or name in ADDED
        for side in SIDES:
            if not adds and f"{side}_{name}" not in _explicit_values(own):
                settings.pop(f"{side}_{name}", None)
    accepted = settings.pop("suppress", ())
    return settings | {"suppressions": tuple(each.suppression for each in accepted)}


def _explicit_values(section: BaseModel) -> dict[str, Any]:
    # Only what the file sets: a default would hide a setting of another section.
    names = section.model_fields_set - {"dataset", *SIDES}
    values = {name: getattr(section, name) for name in names}
    for side in section.model_fields_set & set(SIDES):
        own = getattr(section, side)
        values |= {f"{side}_{n}": getattr(own, n) for n in own.model_fields_set}
    return values


def _select_section(file: BaseModel, path: Path, dataset: str | None) -> BaseModel:
    """What is set for a dataset; a file that names some has to name it."""
    sections: Mapping[str, BaseModel] = vars(file)["dataset"]
    if dataset is None or not sections:
        return Section()
    if dataset not in sections:
        raise ConfigError(
            f"there is no [dataset.{dataset}]" + did_you_mean(dataset, sections),
            file=str(path),
            help="name one of: " + ", ".join(sections) + "; or add a table of that "
            "name, which may be empty",
        )
    return sections[dataset]


def _validate_table(table: Mapping[str, Any], path: Path) -> BaseModel:
    try:
        return File.model_validate(table)
    except ValidationError as error:
        mistakes = [
            _describe_mistake(each, path) for each in error.errors(include_url=False)
        ]
    if len(mistakes) == 1:
        raise ConfigError(mistakes[0], file=str(path), help=REFERENCE_HELP)
    raise ConfigError(
        f"the configuration has {len(mistakes):,} mistakes",
        file=str(path),
        why="\n".join(mistakes),
        help=REFERENCE_HELP,
    )


def read_toml(path: Path, *, required: bool = False) -> Mapping[str, Any]:
    """The tables of a TOML file; of pyproject.toml those in [tool.recon].

    Raises ConfigError with the place of a mistake, and with `required` if there is no
    [tool.recon].
    """
    try:
        with path.open("rb") as stream:
            table = tomllib.load(stream)
    except tomllib.TOMLDecodeError as error:
        place = AT_LINE.search(str(error))
        if place is not None:
            _refuse_repeated(path, int(place[1]))
        raise ConfigError(
            "it is not TOML" + (f" from column {place[2]} on" if place else ""),
            file=str(path),
            line=int(place[1]) if place else None,
            help='write text in quotes and a list in brackets: keys = ["CLM_ID"];'
            " write a day as until = 2027-03-31",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8", file=str(path)) from None
    except (ValueError, RecursionError):
        # Of a number that Python does not read, and of lists in lists without an end.
        raise ConfigError(
            "the configuration holds a number that is too long, or lists too deep",
            file=str(path),
            help="a number has up to 16 digits",
        ) from None
    except OSError as error:
        raise ConfigError(
            "the configuration cannot be read", file=str(path), why=error.strerror
        ) from None
    if path.name != PYPROJECT:
        return table
    tools = table.get("tool")
    own = tools.get("recon") if isinstance(tools, dict) else None
    if own is None:
        # A misspelled table would leave every setting at its default without a word.
        if required:
            raise ConfigError(
                "there is no table [tool.recon]",
                file=str(path),
                help="add [tool.recon] with the settings, or name another file with"
                " --config",
            )
        return {}
    return own if isinstance(own, dict) else {"tool.recon": own}


def _refuse_repeated(path: Path, line: int) -> None:
    """Raise ConfigError if a line of a file that is no TOML repeats a table or a name.

    `line`: where the reader stopped, from 1.
    """
    # What precedes the line was read, so that it is UTF-8 and has whole tables.
    found = find_repeated(path.read_text(encoding="utf-8").splitlines(), line)
    if found is None:
        return
    name, first = found
    table = name.startswith("[")
    what = (
        f"the table {name} is in the file twice"
        if table
        else f"`{name}` is set twice in one table"
    )
    raise ConfigError(
        f"{what}, in lines {first:,} and {line:,}",
        file=str(path),
        line=line,
        help="move the settings of the second to the first, and remove its header"
        if table
        else 'keep one of them; several rules of a column are a list: ["trim", "nfc"]',
    )


def _describe_mistake(error: ErrorDetails, path: Path) -> str:
    """One mistake as a line: where, and what."""
    loc = [part for part in error["loc"] if part != "[key]"]
    moved = _find_misplaced(loc, path)
    if moved:
        return moved
    prefix = "tool.recon." if path.name == PYPROJECT else ""
    place = f"{prefix}{_format_toml_path(loc)}"
    return f"{place}{_find_line(loc, prefix, path)}: {_explain_mistake(error, loc)}"


def _find_line(loc: list[int | str], prefix: str, path: Path) -> str:
    """The line at which a `[[suppress]]` table of the file begins, or ""."""
    match loc:
        case (
            [*table, "suppress", int(at)]
            | [*table, "suppress", int(at), _]
            | [*table, "suppress", int(at), _, int()]
        ):
            header = f"[[{prefix}{_format_toml_path([*table, 'suppress'])}]]"
        case _:
            return ""
    # It was read, so that it is UTF-8.
    lines = path.read_text(encoding="utf-8").splitlines()
    begun = [
        number
        for number, line in enumerate(lines, 1)
        if line.partition("]]")[0].strip() + "]]" == header
    ]
    # Without its own header, the table is an item of an inline list.
    return f" (table of line {begun[at]:,})" if at < len(begun) else ""


def _find_misplaced(loc: list[int | str], path: Path) -> str:
    """What to do about a setting below a table that it does not belong to; or ""."""
    of_dataset = loc[:1] == ["dataset"]
    table, *names = [str(part) for part in (loc[2:] if of_dataset else loc)] or [""]
    known: Iterable[str] = BY_COLUMN
    if table in SIDES:
        if names[:1] and names[0] in BY_COLUMN:
            names = names[1:]
        else:
            known = SideSection.model_fields
    elif table == "suppress":
        names, known = names[1:], Accepted.model_fields
    elif table not in BY_COLUMN:
        return ""
    name = names[0] if names else ""
    if name in known or name not in Section.model_fields:
        return ""
    if of_dataset:
        head = write_header([str(part) for part in loc[:2]])
        whole, where = "dataset", f"directly below {head}"
    elif path.name == PYPROJECT:
        whole, where = "file", "directly below [tool.recon]"
    else:
        whole, where = "file", "above the first [table]"
    pair = ", as OLD:NEW" if table in SIDES and name in OF_PAIRS else ""
    return f"`{name}` is a setting of the whole {whole}; move it {where}{pair}"


def _explain_mistake(error: ErrorDetails, loc: list[int | str]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return _unknown_setting(loc)
        case "missing":
            return "it has to be given"
        case "string_too_short":
            return TO_FILL_IN.get(str(loc[-1]), "it is empty: give a text")
        case "value_error":
            return str(error["ctx"]["error"])
        case "enum" | "literal_error":
            # pydantic gives the choices only as a text.
            expected, given = error["ctx"]["expected"], str(error["input"])
            known = re.findall(r"'([^']+)'", expected)
            return f"one of {expected}{did_you_mean(given, known)}"
        case _:
            return _explain_type(error)


def _explain_type(error: ErrorDetails) -> str:
    """What is wrong with a value of another type, or out of range."""
    if (error["type"], error["loc"][-1]) == ("tuple_type", "suppress"):
        return "each of its tables has a header in two brackets: [[suppress]]"
    if not error["type"].startswith("date_"):
        words = WRONG_KINDS.get(error["type"], "it is no value of this setting")
        return words.format(**error.get("ctx", {}))
    # The given day, if it lacks zeros only.
    found = LOOSE_DAY.fullmatch(str(error["input"]))
    with suppress(ValueError):
        if found:
            return f"write the day as {date(*map(int, found.groups()))}"
    return "it has to be a day, such as 2027-03-31"


def _unknown_setting(loc: list[int | str]) -> str:
    name = str(loc[-1])
    if SECRET.search(name):
        return NO_SECRETS
    if "suppress" in loc[:-1]:
        model: type[BaseModel] = Accepted
    elif loc[:-1] and loc[-2] in SIDES:
        model = SideSection
    else:
        model = Section if loc[1:] else File
    return f"there is no such setting{did_you_mean(name, model.model_fields)}"


def _format_toml_path(loc: Iterable[int | str]) -> str:
    """A place as TOML writes it: `dataset.claims.rules."a b"[0]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = write_key(part)
            text += f".{name}" if text else name
    return text
