"""The one table of options: what each sets and means; `config` has the defaults.

The command line, the configuration file, the help, the reference pages and the
rebuilt command line derive from `OPTIONS`. A default is written once: in the dataclass
field of `config` that the option sets, or here if the option sets none.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recon_engine.config import (
    EngineName,
    Feed,
    Limits,
    NameStyle,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    Quote,
    RunConfig,
    SideOptions,
    StageLoader,
    parse_encodings,
    read_layout,
    write_encodings,
)
from recon_engine.model import SIDES
from recon_engine.name_forms import parse_match_names, write_match_names
from recon_engine.records import dataclass


if TYPE_CHECKING:
    from collections.abc import Callable

    from recon_engine.runtime.memory import Budget


class Group(StrEnum):
    """The sections of `--help` and of docs/commands.md, in their order."""

    INPUT = "Input"
    COMPARISON = "Comparison"
    OUTPUT = "Output"
    STORAGE = "Database and storage"
    RUN = "Run"
    MESSAGES = "Progress and log"


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class Shape(StrEnum):
    """How many values an option has, and how they are written.

    `names`: columns, separated by commas. `renames`: OLD=NEW. `column_value` and
    `column_values`: COLUMN=VALUE, of which the latter has several for each column.
    """

    VALUE = "value"
    VALUES = "values"
    NAMES = "names"
    RENAMES = "renames"
    COLUMN_VALUE = "column_value"
    COLUMN_VALUES = "column_values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option, on the command line, in recon.toml and in Python.

    `name`: its name in the signature of a command; the key of `OPTIONS`.
    `value_type`: the type of one value on the command line.
    `flags`: as typer takes them; empty for an option that only a file can set.
    `commands`: the commands that take it; `required_by`: those that need it.
    `env`: its environment variable. One with several values separates them by
    `separator`.
    `in_file`: its setting in recon.toml. `in_python`: its parameter of `diff`.
    `sets`, `field`: the dataclass field that it sets.
    `parse`, `write`: between one value as text and the value of the field.
    `without`: what a default of None means, for the help.
    `least`: the smallest number.
    `sided`: whether each side can have its own value. The options of the sides derive
    from it (`of_side`): `side` is "old" or "new" there. `adds`: what is set for a side
    does not replace what is set for both; the field of both sides is one of `Options`.
    `common`: whether it is one of those that the short help of a command shows.
    """

    name: str
    group: Group
    help: str
    commands: tuple[str, ...]
    value_type: type = str
    shape: Shape = Shape.VALUE
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    env: str | None = None
    separator: str = ""
    in_file: str | None = None
    in_python: str | None = None
    sets: type | None = None
    field: str = ""
    parse: Callable[[str], Any] | None = None
    write: Callable[[Any], str] = str
    own_default: Any = None
    without: str | None = None
    least: int = 1
    required_by: tuple[str, ...] = ()
    sided: bool = False
    side: str | None = None
    adds: bool = False
    common: bool = False

    def of_side(self, side: str) -> Option:
        """The option that sets the same for one side only.

        For OLD: `--old-…`, its own variable, `[old]`, and `old_…=` in Python.
        """
        # A short flag has no form for one side.
        spelled = (f.replace("--", f"--{side}-") for f in self.flags if f[:2] == "--")
        return dataclasses.replace(
            self,
            name=f"{side}_{self.name}",
            # Each help ends with a full stop, which a test checks.
            help=f"{self.help[:-1]}; of {side.upper()} only.",
            flags=tuple(spelled),
            env=self.env and self.env.replace("RECON_", f"RECON_{side.upper()}_", 1),
            in_file=self.in_file and f"{side}.{self.in_file}",
            in_python=self.in_python and f"{side}_{self.in_python}",
            without=None,
            sets=SideOptions,
            sided=False,
            side=side,
            common=False,
        )

    @property
    def default(self) -> Any:
        """The default as the command line and the file write it; None for none.

        The option of a side has none: without it, that of both sides counts.
        """
        if self.side is not None:
            return None
        if self.sets is None:
            return self.own_default
        [field] = [f for f in dataclasses.fields(self.sets) if f.name == self.field]
        if self.shape is not Shape.VALUE or field.default is dataclasses.MISSING:
            return None
        if self.parse is None or field.default is None:
            # A blank text is no default that help and file can show.
            return field.default or None if self.value_type is str else field.default
        return self.write(field.default)

    @property
    def flag(self) -> str:
        """The flag that a rebuilt command line has: the first long one."""
        long = next(flag for flag in self.flags if flag.startswith("--"))
        return long.partition("/")[0]


# `keys` reads rows and compares none. `explain` reads only the rows of one key, so what
# is about whole files is not for it.
COMPARING: Final = ("diff", "explain", "run")
READING: Final = ("diff", "keys", "explain", "run")
WHOLE_FILES: Final = ("diff", "run")
SHOWING: Final = (*READING, "breaks", "history", "sql", "doctor", "purge", "statuses")


def _parse_delimiter(text: str) -> str:
    r"""A delimiter, in which a tab may be written `\t`."""
    # Other escapes are read by `split_delimiters`, once it has split OLD:NEW: `\x3a` is
    # a colon.
    return text.replace("\\t", "\t")


def _parse_memory(text: str) -> Budget:
    # Lazy: few command lines name a budget.
    from recon_engine.runtime.memory import parse_budget

    return parse_budget(text)


def _setting(name: str, *, sets: type, **facts: Any) -> Option:
    """An option that has one name everywhere, but for what `facts` spell otherwise.

    `skip_lines`: the flag `--skip-lines`, the variable `RECON_SKIP_LINES`, the setting
    in recon.toml, the parameter in Python, and the field of `sets`.
    """
    spelled: dict[str, Any] = {
        "flags": (f"--{name.replace('_', '-')}",),
        "env": f"RECON_{name.upper()}",
        "in_file": name,
        "in_python": name,
        "field": name,
    }
    return Option(name=name, sets=sets, **spelled | facts)


_TABLE: Final = (
    _setting(
        "delimiter",
        group=Group.INPUT,
        help="Field delimiter of one to eight characters for both files, or OLD:NEW"
        " such as ';:,'. Write a tab as \\t, and other characters as \\x1f; a colon"
        " beside others is \\x3a.",
        commands=READING,
        metavar="TEXT[:TEXT]",
        sets=Options,
        parse=_parse_delimiter,
        common=True,
    ),
    _setting(
        "encoding",
        group=Group.INPUT,
        help="Character encoding: one name for both files, or OLD:NEW such as"
        " cp1252:utf-8.",
        commands=READING,
        metavar="NAME[:NAME]",
        sets=Options,
        field="encodings",
        parse=parse_encodings,
        write=write_encodings,
        common=True,
    ),
    _setting(
        "skip_lines",
        group=Group.INPUT,
        help="Skip N lines before the header.",
        commands=READING,
        value_type=int,
        metavar="N",
        sets=SideOptions,
        least=0,
        sided=True,
    ),
    _setting(
        "comment_prefix",
        group=Group.INPUT,
        help="Skip lines before the header that begin with TEXT.",
        commands=READING,
        metavar="TEXT",
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "no_header",
        group=Group.INPUT,
        help="The file has no header: its first record is a row. --names has the names"
        " of the columns; without it they are c1, c2 and so on.",
        commands=READING,
        value_type=bool,
        flags=("--no-header/--header",),
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "names",
        group=Group.INPUT,
        help="Names of the columns of a file without a header, separated by commas.",
        commands=READING,
        shape=Shape.NAMES,
        metavar="NAME[,NAME]",
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "repeat_names",
        group=Group.INPUT,
        help="Column names that repeat: 'refuse' refuses the file, 'number'"
        " renames the second DX to DX.2.",
        commands=READING,
        value_type=NameStyle,
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "blank_names",
        group=Group.INPUT,
        help="Blank column names: 'refuse' refuses the file, 'number' names"
        " the seventh column c7.",
        commands=READING,
        value_type=NameStyle,
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "trailing_delimiter",
        group=Group.INPUT,
        help="Every record ends with a delimiter: its empty last field is not a"
        " column.",
        commands=READING,
        value_type=bool,
        flags=("--trailing-delimiter/--no-trailing-delimiter",),
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "trailer",
        group=Group.INPUT,
        help="The file ends with a record whose first field is PREFIX. It is not a row."
        " Repeat the option in the order of the file.",
        commands=READING,
        shape=Shape.VALUES,
        metavar="PREFIX",
        separator=";",
        sets=SideOptions,
        field="trailers",
        sided=True,
    ),
    _setting(
        "trailer_count",
        group=Group.INPUT,
        help="Number of the trailer field (from 1) that has the record count."
        " A file with another count is refused. Repeatable.",
        commands=READING,
        shape=Shape.VALUES,
        metavar="[PREFIX:]FIELD",
        separator=";",
        sets=SideOptions,
        field="trailer_counts",
        sided=True,
    ),
    _setting(
        "trailer_sum",
        group=Group.INPUT,
        help="Number of the trailer field (from 1) that has the sum of a column."
        " A file with another sum is refused. Repeatable.",
        commands=READING,
        shape=Shape.VALUES,
        metavar="[PREFIX:]FIELD=COL",
        separator=";",
        sets=SideOptions,
        field="trailer_sums",
        sided=True,
    ),
    _setting(
        "trailer_delimiter",
        group=Group.INPUT,
        help="Delimiter of the trailer, if the table has another one.",
        commands=READING,
        metavar="CHAR",
        sets=SideOptions,
        parse=_parse_delimiter,
        sided=True,
    ),
    _setting(
        "eof_mark",
        group=Group.INPUT,
        help="Ignore one Ctrl-Z (0x1A) at the end of the file.",
        commands=READING,
        value_type=bool,
        flags=("--eof-mark/--no-eof-mark",),
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "quote",
        group=Group.INPUT,
        help="Quotes: 'double' reads fields in double quotes, 'none' reads quotes as"
        " ordinary characters.",
        commands=READING,
        value_type=Quote,
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "excel_text",
        group=Group.INPUT,
        help='Read fields of the form ="00123" as their text.',
        commands=READING,
        value_type=bool,
        flags=("--excel-text/--no-excel-text",),
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "fixed",
        group=Group.INPUT,
        help="Columns of a fixed width, without a header: their first and last"
        " characters, counted from 1. @FILE names a CSV file of name, from, to.",
        commands=READING,
        metavar="NAME:FROM-TO[,…]",
        sets=SideOptions,
        parse=read_layout,
        sided=True,
    ),
    _setting(
        "member",
        group=Group.INPUT,
        help="File of a zip archive that has several.",
        commands=READING,
        metavar="NAME",
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "on_bad_row",
        group=Group.INPUT,
        help="Malformed rows: 'fail' refuses the file, 'quarantine' omits the row and"
        " lists it in the result.",
        commands=READING,
        value_type=OnBadRow,
        sets=Options,
    ),
    _setting(
        "max_field_bytes",
        group=Group.INPUT,
        help="Refuse fields longer than N bytes: usually a missing quote.",
        commands=(*READING, "init"),
        value_type=int,
        metavar="N",
        sets=Limits,
        field="field_bytes",
    ),
    _setting(
        "max_field_lines",
        group=Group.INPUT,
        help="Refuse fields that span more than N lines: usually a missing quote.",
        commands=(*READING, "init"),
        value_type=int,
        metavar="N",
        sets=Limits,
        field="field_lines",
    ),
    _setting(
        "max_ratio",
        group=Group.INPUT,
        help="Refuse a compressed file that expands to more than N times its size,"
        " and to more than 16 MiB (decompression-bomb guard).",
        commands=(*READING, "init"),
        value_type=int,
        metavar="N",
        sets=Limits,
        field="ratio",
    ),
    _setting(
        "keys",
        group=Group.COMPARISON,
        help="Key column. Repeat the option or separate columns by commas. Required, as"
        " an option or in the configuration file.",
        commands=COMPARING,
        shape=Shape.NAMES,
        flags=("--key", "--keys", "-k"),
        metavar="COL[,COL]",
        sets=Options,
        common=True,
    ),
    _setting(
        "ignore",
        group=Group.COMPARISON,
        help="Column to leave out of the comparison. Repeatable.",
        commands=READING,
        shape=Shape.NAMES,
        metavar="COL",
        sets=Options,
        common=True,
    ),
    _setting(
        "compare_only",
        group=Group.COMPARISON,
        help="Column to compare; all others but the key are left out. Repeat the"
        " option or separate columns by commas.",
        commands=COMPARING,
        shape=Shape.NAMES,
        metavar="COL[,COL]",
        sets=Options,
    ),
    _setting(
        "match_names",
        group=Group.COMPARISON,
        help="How column names of both files are paired: 'exact', 'trim' (surrounding"
        " spaces do not count), 'casefold' (case does not count), or 'trim,casefold'."
        " The result lists the pairs.",
        commands=READING,
        metavar="FORM[,FORM]",
        sets=Options,
        parse=parse_match_names,
        write=write_match_names,
    ),
    _setting(
        "map",
        group=Group.COMPARISON,
        help="Column that is named OLD in the old file and NEW in the new file: a list"
        " such as A=B,C=D, or @FILE, a CSV file with OLD,NEW on each line. Repeatable.",
        commands=READING,
        shape=Shape.RENAMES,
        metavar="OLD=NEW[,OLD=NEW]",
        in_python="renames",
        sets=Options,
        field="renames",
        common=True,
    ),
    _setting(
        "rules",
        group=Group.COMPARISON,
        help="Rule by which different texts in a column are equal; '*' is every"
        " compared column, not the key. Text rules: trim, casefold, nulls(NA,NULL),"
        " zeropad(9), lstrip0, nfc, blanks, newlines, strip(-.), unwrap. Then one typed"
        " rule: decimal(abs=0.01),"
        " scale(2), date(%Y%m%d|iso), timestamp(%Y-%m-%d %H:%M:%S,zone=UTC),"
        " map(M=1,F=2), boolean. Repeatable.",
        commands=READING,
        shape=Shape.COLUMN_VALUES,
        flags=("--rule",),
        metavar="COLUMN=RULE",
        env="RECON_RULE",
        separator=";",
        sets=Options,
        sided=True,
        adds=True,
        common=True,
    ),
    _setting(
        "where",
        group=Group.COMPARISON,
        help="Keep a pair if one of its rows satisfies an expression, such as"
        " \"CLOSED >= '2026-01-01' and REGION in ('N','S')\". All other rows are left"
        " out.",
        commands=COMPARING,
        metavar="EXPR",
        sets=Options,
        # A blank expression is the default, not None. The options check it.
        parse=str,
        sided=True,
        adds=True,
        common=True,
    ),
    _setting(
        "derive",
        group=Group.COMPARISON,
        help="New columns of a side, made of others: 'CLM_NO,LINE=split(CLAIM,\"-\")',"
        " 'ID=join(A,B,\"-\")' or 'STATE=slice(ZIP,1,2)'. Repeatable.",
        commands=READING,
        shape=Shape.VALUES,
        metavar="EXPR",
        separator=";",
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "fold",
        group=Group.COMPARISON,
        help="Make one row of the rows of a key before rows are compared; --sum names"
        " the columns that are added up, and all others have to be constant.",
        commands=COMPARING,
        value_type=bool,
        flags=("--fold/--no-fold",),
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "sum",
        group=Group.COMPARISON,
        help="Column that --fold adds up, exactly, by its rule or as decimal numbers."
        " Repeat the option or separate columns by commas.",
        commands=COMPARING,
        shape=Shape.NAMES,
        metavar="COL[,COL]",
        sets=SideOptions,
        sided=True,
    ),
    _setting(
        "on_duplicate_keys",
        group=Group.COMPARISON,
        help="Duplicate keys: 'pair' compares the rows of a key as multisets, 'fail'"
        " refuses the files.",
        commands=WHOLE_FILES,
        value_type=OnDuplicateKeys,
        sets=Options,
    ),
    _setting(
        "on_schema_drift",
        group=Group.COMPARISON,
        help="Columns that only one file has: 'refuse' refuses the files, 'compare'"
        " compares the common columns and reports the others.",
        commands=COMPARING,
        value_type=OnSchemaDrift,
        sets=Options,
    ),
    _setting(
        "gates",
        group=Group.COMPARISON,
        help="Acceptance limit, such as 'mismatch_rate(PAID)<=0.1%'. Gates decide the"
        " exit code. Repeatable.",
        commands=(*WHOLE_FILES, "doctor"),
        shape=Shape.VALUES,
        flags=("--gate",),
        metavar="EXPR",
        env="RECON_GATE",
        separator=";",
        sets=Options,
        common=True,
    ),
    Option(
        name="suppressions",
        group=Group.COMPARISON,
        help="Known differences that are accepted. Of several that match a difference,"
        " the first counts it.",
        commands=COMPARING,
        shape=Shape.VALUES,
        in_file="suppress",
        in_python="suppressions",
        sets=Options,
        field="suppressions",
    ),
    _setting(
        "masks",
        group=Group.OUTPUT,
        help="Mask for the values of a column in all outputs; '*' is every other"
        " column. Masks: hmac (a token, keyed by RECON_MASK_KEY or"
        " RECON_MASK_KEY_FILE), redact, last4. Repeatable.",
        commands=COMPARING,
        shape=Shape.COLUMN_VALUE,
        flags=("--mask",),
        metavar="COLUMN=MASK",
        env="RECON_MASK",
        separator=";",
        sets=Options,
    ),
    _setting(
        "detail_limit",
        group=Group.OUTPUT,
        help="Number of differing rows in the sample of the result.",
        commands=WHOLE_FILES,
        value_type=int,
        metavar="N",
        sets=Options,
        least=0,
    ),
    Option(
        name="format",
        group=Group.OUTPUT,
        help="Format of the result on stdout. In the format table, a list is CSV if"
        " stdout is not a terminal.",
        commands=(
            *("diff", "keys", "explain", "run", "breaks", "history"),
            *("sql", "doctor", "purge", "statuses"),
        ),
        value_type=Format,
        flags=("--format", "-f"),
        env="RECON_FORMAT",
        own_default=Format.TABLE,
        common=True,
    ),
    Option(
        name="output",
        group=Group.OUTPUT,
        help="Also write the result to FILE. The suffix decides what is written: the"
        " result (.html, .json, .md), all differing cells (.csv, .parquet), these"
        " with all missing and extra rows as a workbook of text (.xlsx), or the gates"
        " as JUnit XML (.xml). Repeatable. An existing file is replaced. The option"
        " takes the place of `output` of recon.toml.",
        commands=WHOLE_FILES,
        value_type=Path,
        shape=Shape.VALUES,
        flags=("-o", "--output"),
        metavar="FILE",
        in_file="output",
        common=True,
    ),
    Option(
        name="save_hints",
        group=Group.OUTPUT,
        help="Append the hints of the result to recon.toml, numbered and commented out;"
        " with numbers such as 1,3, add those as settings.",
        commands=("diff",),
        flags=("--save-hints",),
        metavar="[N,N]",
        common=True,
    ),
    Option(
        name="suppression_draft",
        group=Group.OUTPUT,
        help="Print the [[suppress]] tables for recon.toml that accept what differs in"
        " these columns now, in place of the result; 'missing' and 'extra' are rows."
        " Repeat the option or separate columns by commas.",
        commands=("diff",),
        shape=Shape.NAMES,
        flags=("--suppress",),
        metavar="COL[,COL]",
    ),
    Option(
        name="rejects",
        group=Group.OUTPUT,
        help="Write the quarantined rows to a CSV file: file, line, byte offset,"
        " reason.",
        commands=("diff",),
        value_type=Path,
        flags=("--rejects",),
        metavar="FILE",
        env="RECON_REJECTS",
    ),
    Option(
        name="sha256",
        group=Group.OUTPUT,
        help="Compute the SHA-256 of both files. A result that is written with --output"
        " always has it.",
        commands=("diff",),
        value_type=bool,
        flags=("--sha256",),
        env="RECON_SHA256",
        in_python="sha256",
        own_default=False,
    ),
    _setting(
        "inbound_s3",
        group=Group.STORAGE,
        help="Location where the two input files arrive: s3://bucket/prefix/ or a"
        " folder.",
        commands=("run", "doctor"),
        metavar="URL",
        sets=RunConfig,
        field="inbound",
        required_by=("run",),
        in_python=None,
        common=True,
    ),
    _setting(
        "old_pattern",
        group=Group.STORAGE,
        help="Name of the OLD file in the inbound location, with * and ?. Requires"
        " --new-pattern.",
        commands=("run",),
        metavar="PATTERN",
        sets=RunConfig,
        without="a data file without NEWSYSTEM in its name",
        in_python=None,
    ),
    _setting(
        "new_pattern",
        group=Group.STORAGE,
        help="Name of the NEW file in the inbound location, with * and ?. Requires"
        " --old-pattern.",
        commands=("run",),
        metavar="PATTERN",
        sets=RunConfig,
        without="a data file with NEWSYSTEM in its name",
        in_python=None,
    ),
    _setting(
        "parts",
        group=Group.STORAGE,
        help="Number of files that each side has, as parts of one table.",
        commands=("run",),
        value_type=int,
        metavar="N",
        sets=RunConfig,
        without="1; with --done-file, any number",
        in_python=None,
    ),
    _setting(
        "old_parts",
        group=Group.STORAGE,
        help="Number of files that OLD has, as parts of one table.",
        commands=("run",),
        value_type=int,
        metavar="N",
        sets=RunConfig,
        without="as --parts says",
        in_python=None,
    ),
    _setting(
        "new_parts",
        group=Group.STORAGE,
        help="Number of files that NEW has, as parts of one table.",
        commands=("run",),
        value_type=int,
        metavar="N",
        sets=RunConfig,
        without="as --parts says",
        in_python=None,
    ),
    _setting(
        "done_file",
        group=Group.STORAGE,
        help="Name of a file in the inbound location that the producer writes last:"
        " without it, nothing is read. It is archived with the parts. Repeatable.",
        commands=("run",),
        shape=Shape.VALUES,
        metavar="NAME",
        separator=";",
        sets=RunConfig,
        field="done_files",
        in_python=None,
    ),
    _setting(
        "processed_s3",
        group=Group.STORAGE,
        help="Location to which the inputs move after their result is recorded:"
        " s3://bucket/prefix/ or a folder.",
        commands=("run", "doctor"),
        metavar="URL",
        sets=RunConfig,
        field="processed",
        required_by=("run",),
        in_python=None,
        common=True,
    ),
    _setting(
        "out_s3",
        group=Group.STORAGE,
        help="Location of the artifacts: s3://bucket/prefix/ or a folder.",
        commands=("run", "doctor"),
        metavar="URL",
        sets=RunConfig,
        field="out",
        required_by=("run",),
        in_python=None,
        common=True,
    ),
    _setting(
        "stage",
        group=Group.STORAGE,
        help="Load both files into the stage tables of the database.",
        commands=("run",),
        value_type=bool,
        flags=("--stage/--no-stage",),
        sets=RunConfig,
        without="yes with the local engine, no with Spark",
        in_python=None,
    ),
    _setting(
        "stage_loader",
        group=Group.STORAGE,
        help="How stage tables are loaded: 'adbc' sends parsed cells, 'copy' sends the"
        " bytes of the validated file. Both load the same rows.",
        commands=("run",),
        value_type=StageLoader,
        sets=RunConfig,
        in_python=None,
    ),
    _setting(
        "break_limit",
        group=Group.STORAGE,
        help="Track breaks only for runs with at most N differences; 0 turns tracking"
        " off.",
        commands=("run",),
        value_type=int,
        metavar="N",
        sets=RunConfig,
        least=0,
        in_python=None,
    ),
    _setting(
        "feed",
        group=Group.STORAGE,
        help="Content of each file: 'full' has every row, 'incremental' may omit rows."
        " An open break whose key is in neither file becomes gone with 'full' and"
        " unseen with 'incremental'.",
        commands=("run",),
        value_type=Feed,
        sets=RunConfig,
        in_python=None,
    ),
    _setting(
        "dataset",
        group=Group.RUN,
        help="Name of the dataset. It selects [dataset.NAME] of the configuration"
        " file; in a run it also names the stage tables and the folders.",
        commands=(
            *("diff", "keys", "explain", "run", "doctor"),
            *("breaks", "history", "report"),
        ),
        metavar="NAME",
        sets=RunConfig,
        without="the only dataset of the configuration file",
        in_file=None,
        in_python=None,
        common=True,
    ),
    Option(
        name="config",
        group=Group.RUN,
        help="Configuration file.",
        commands=(
            *("diff", "keys", "explain", "run", "doctor"),
            *("breaks", "history", "report", "sql", "purge"),
        ),
        value_type=Path,
        flags=("--config",),
        metavar="FILE",
        env="RECON_CONFIG",
        without="recon.toml in the working directory, else [tool.recon] in its"
        " pyproject.toml",
    ),
    _setting(
        "engine",
        group=Group.RUN,
        help="Where rows are compared: 'local' on this machine, 'spark' on a Spark"
        " cluster.",
        commands=WHOLE_FILES,
        value_type=EngineName,
        sets=RunConfig,
    ),
    _setting(
        "memory_budget",
        group=Group.RUN,
        help="Maximum memory, such as 2GiB.",
        commands=("diff", "keys", "run"),
        metavar="SIZE",
        sets=RunConfig,
        field="budget",
        parse=_parse_memory,
        without="60% of the available memory",
    ),
    Option(
        name="exit_zero",
        group=Group.RUN,
        help="Exit with 0 even if the files differ.",
        commands=("diff",),
        value_type=bool,
        flags=("--exit-zero",),
        env="RECON_EXIT_ZERO",
        own_default=False,
    ),
    _setting(
        "fail_on_diff",
        group=Group.RUN,
        help="Exit with 1 if there is any difference that no suppression accepts.",
        commands=("run", "doctor"),
        value_type=bool,
        sets=RunConfig,
        in_python=None,
    ),
    _setting(
        "fail_on_no_files",
        group=Group.RUN,
        help="Exit with 3 if the inbound location holds no data file, or not yet its"
        " done file.",
        commands=("run",),
        value_type=bool,
        sets=RunConfig,
        in_python=None,
    ),
    _setting(
        "recompute",
        group=Group.RUN,
        help="Reconcile a pair of files again even if it has a result; the new result"
        " is its next revision.",
        commands=("run",),
        value_type=bool,
        sets=RunConfig,
        in_file=None,
        in_python=None,
    ),
    Option(
        name="dry_run",
        group=Group.RUN,
        help="Compare the files and print the result; write and move nothing.",
        commands=("run",),
        value_type=bool,
        flags=("--dry-run",),
        env="RECON_DRY_RUN",
        own_default=False,
    ),
    Option(
        name="quiet",
        group=Group.MESSAGES,
        help="Print nothing if the exit code is 0, else the error or one line that says"
        " why, on stderr. Files are still written.",
        commands=(*READING, "doctor"),
        value_type=bool,
        flags=("--quiet", "-q"),
        env="RECON_QUIET",
        own_default=False,
    ),
    Option(
        name="verbose",
        group=Group.MESSAGES,
        help="Show details: log each step in place of progress bars, list every rule of"
        " a result, and print every field of a list of breaks or runs.",
        commands=(*READING, "breaks", "history"),
        value_type=bool,
        flags=("--verbose", "-v"),
        env="RECON_VERBOSE",
        own_default=False,
    ),
    Option(
        name="no_color",
        group=Group.MESSAGES,
        help="Print without colors, as with NO_COLOR=1.",
        commands=SHOWING,
        value_type=bool,
        flags=("--no-color",),
        env="RECON_NO_COLOR",
        own_default=False,
    ),
    Option(
        name="progress",
        group=Group.MESSAGES,
        help="Show progress also if stderr is not a terminal: a line every ten seconds."
        " --no-progress shows no bars.",
        commands=READING,
        value_type=bool,
        flags=("--progress/--no-progress",),
        env="RECON_PROGRESS",
        without="bars on a terminal after a second; elsewhere a line every 30 seconds"
        " in the log of a run, else nothing",
    ),
    Option(
        name="log_format",
        group=Group.MESSAGES,
        help="Format of log lines: 'text' or 'json', an object for each line.",
        commands=READING,
        value_type=LogFormat,
        flags=("--log-format",),
        env="RECON_LOG_FORMAT",
        without="text on a terminal, else json",
    ),
    Option(
        name="log_file",
        group=Group.MESSAGES,
        help="Append the log to FILE, with every step.",
        commands=READING,
        value_type=Path,
        flags=("--log-file",),
        metavar="FILE",
        env="RECON_LOG_FILE",
        without="the log of a run on stderr",
    ),
)
# Each option of both sides is followed by those of one.
OPTIONS: Final = {
    option.name: option
    for each in _TABLE
    for option in (
        each,
        *(each.of_side(side) for side in SIDES if each.sided),
    )
}
SIDED: Final = tuple(option for option in _TABLE if option.sided)


def options_of(command: str) -> tuple[Option, ...]:
    """The options that a command takes, in the order of the table."""
    return tuple(option for option in OPTIONS.values() if command in option.commands)
