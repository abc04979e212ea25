"""The options of a comparison and of a run: frozen, validated once."""

from __future__ import annotations

import codecs
import functools
import json
import os
from contextlib import suppress
from dataclasses import asdict, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from recon_engine.derive_syntax import parse_derivation
from recon_engine.errors import ConfigError
from recon_engine.gate_syntax import parse_gate
from recon_engine.lazy import lazy_pattern
from recon_engine.model import MOST_COUNT, SIDES, Suppressible, Suppression
from recon_engine.name_forms import parse_match_names, write_match_names
from recon_engine.records import dataclass
from recon_engine.suggestions import did_you_mean
from recon_engine.where_syntax import parse_where


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recon_engine.name_forms import NameForm
    from recon_engine.runtime.memory import Budget

    # A libpq connection string, or a function that makes one for each new connection.
    Address = str | Callable[[], str]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits beyond which an input is considered damaged.

    `field_bytes`, `field_lines`: the largest field; a larger one usually lacks a
    closing quote. `ratio`: how many times its size a compressed file may expand to.
    """

    field_bytes: int = 1 << 20
    field_lines: int = 100
    # `inputs.decoding` lets any text of up to 16 MiB pass, whatever its ratio.
    ratio: int = 200

    def __post_init__(self) -> None:
        """Raise ConfigError for limits outside 1 to `MOST_COUNT`."""
        for name, limit in (
            ("--max-field-bytes", self.field_bytes),
            ("--max-field-lines", self.field_lines),
            ("--max-ratio", self.ratio),
        ):
            if not 1 <= limit <= MOST_COUNT:
                size = "small" if limit < 1 else "large"
                raise ConfigError(
                    f"{name} is too {size}",
                    help=f"use a number from 1 to {MOST_COUNT:,}",
                )


LIMITS: Final = Limits()


# ASCII but NUL, the quote and line ends. A class that excludes all other characters
# takes longer to compile than this module to import.
DELIMITER_PATTERN = lazy_pattern(
    r"[\x01-\x09\x0b\x0c\x0e-!#-\x7f](:[\x01-\x09\x0b\x0c\x0e-!#-\x7f])?"
)
ONE_CHARACTER = lazy_pattern(r"[\x01-\x09\x0b\x0c\x0e-!#-\x7f]")
DELIMITER_ESCAPE = lazy_pattern(r"\\(?:t|x([0-9A-Fa-f]{2}))")
LONGEST_DELIMITER: Final = 8
# A column of `--fixed`: a name, in quotes if it has a comma or a colon, and its places.
FIXED_PATTERN = lazy_pattern(
    r'\s*(?:"((?:[^"]|"")+)"|([^,:"]+)):([0-9]{1,7})-([0-9]{1,7})\s*(?:,|$)'
)
# The most columns a file can have by its header of 16 MiB, and more.
MOST_FIELD: Final = 10**7
# The key of files that are read without one: no column can have a blank name.
NO_KEY: Final = ("",)
# Up to 48 characters: with `_old__` and eight digits of the run, the name of a stage
# table has at most 62 of the 63 bytes of Postgres.
DATASET_PATTERN = lazy_pattern(r"[A-Za-z][A-Za-z0-9_-]{0,47}")


def check_count(option: str, count: int, what: str) -> None:
    """Raise ConfigError if a count is not between 0 and `MOST_COUNT`."""
    if not 0 <= count <= MOST_COUNT:
        size = "too small" if count < 0 else "too large"
        raise ConfigError(
            f"{option} is {size}",
            help=f"use 0 to {MOST_COUNT:,} {what}",
        )


def check_dataset_name(name: str) -> None:
    """Raise ConfigError for a text that cannot name a dataset."""
    if not DATASET_PATTERN.fullmatch(name):
        raise ConfigError(
            f"invalid dataset name {name!r}",
            help="use a letter, then up to 47 letters, digits, '_' or '-'",
        )


class OnDuplicateKeys(StrEnum):
    """`pair`: reconcile repeated keys as multisets; `fail`: refuse them."""

    PAIR = "pair"
    FAIL = "fail"


class OnSchemaDrift(StrEnum):
    """`refuse` files with different columns, or `compare` the common columns."""

    REFUSE = "refuse"
    COMPARE = "compare"


class OnBadRow(StrEnum):
    """`fail`: refuse the file; `quarantine`: leave the row out, count and list it."""

    FAIL = "fail"
    QUARANTINE = "quarantine"


class Feed(StrEnum):
    """`incremental`: a delivery may omit rows; `full`: it contains every row.

    With `full`, a key that is in neither file is gone.
    """

    INCREMENTAL = "incremental"
    FULL = "full"


class EngineName(StrEnum):
    """`local`: this machine; `spark`: the same comparison as tasks of a cluster."""

    LOCAL = "local"
    SPARK = "spark"


DEFAULT_ENGINE: Final = EngineName.LOCAL


class Encoding(StrEnum):
    """Supported encodings of a file. `utf-16` requires a byte order mark."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    UTF_16_LE = "utf-16-le"
    UTF_16_BE = "utf-16-be"
    CP1252 = "cp1252"
    LATIN_1 = "latin-1"
    ISO_8859_15 = "iso-8859-15"
    CP437 = "cp437"
    CP850 = "cp850"
    MAC_ROMAN = "mac-roman"

    @property
    def has_one_byte(self) -> bool:
        """Whether each character is one byte, and those of ASCII are as in ASCII."""
        return not self.startswith("utf")

    @classmethod
    def by_codec(cls) -> dict[str, Encoding]:
        """Each encoding by the canonical name of its Python codec."""
        return {codecs.lookup(each).name: each for each in cls}


class Mask(StrEnum):
    """`hmac`: a token, equal for equal values; `last4`: the end of a long value."""

    HMAC = "hmac"
    REDACT = "redact"
    LAST4 = "last4"


# Fields of `Options` that recorded runs of earlier versions do not have.
LATER_FIELDS: Final = frozenset({"compare_only", "match_names", "where"})


def _check_names(names: tuple[str, ...], flag: str) -> None:
    """Raise ConfigError for names that no header may have."""
    if any(not name.strip() for name in names):
        raise ConfigError(f"{flag} has a blank name", help="name every column")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{flag} names {name} twice", help="name it once")


def _check_trailer_options(options: SideOptions) -> None:
    spell = options.flags.spell
    trailer = spell("trailer")
    for prefix in options.trailers:
        if not prefix or any(mark in prefix for mark in '"\r\n'):
            raise ConfigError(
                f"{trailer} is blank, or has a quote or a line break",
                help="give the text that is the first field of the trailer",
            )
        if options.trailers.count(prefix) > 1:
            raise ConfigError(
                f"{trailer} {prefix} is given twice", help="give each prefix once"
            )
    about = (
        ("trailer-count", options.trailer_counts),
        ("trailer-sum", options.trailer_sums),
        ("trailer-delimiter", options.trailer_delimiter),
    )
    for option, value in about:
        if value and not options.trailers:
            raise ConfigError(
                f"{spell(option)} needs --trailer", help="add --trailer PREFIX"
            )
    for text in options.trailer_counts:
        options.split_trailer_field(text)
    for text in options.trailer_sums:
        place, equals, column = text.partition("=")
        if not equals or not column:
            raise ConfigError(
                f"{spell('trailer-sum')} {text} is not FIELD=COLUMN",
                help=f"such as {spell('trailer-sum')} 3=PAID",
            )
        options.split_trailer_field(place)
    if options.trailer_delimiter and not ONE_CHARACTER.fullmatch(
        options.trailer_delimiter
    ):
        raise ConfigError(
            f"{spell('trailer-delimiter')} is not one ASCII character",
            help="use ',', ';', '|' or a tab, never a quote or newline",
        )


def _check_syntax_options(options: SideOptions) -> None:
    spell = options.flags.spell
    if options.excel_text and options.quote is Quote.NONE:
        raise ConfigError(
            f"{spell('excel-text')} and {spell('quote')} none exclude each other",
            why="the form has quotes that enclose a field",
            help="omit one of them",
        )
    if not options.fixed:
        return
    if not options.columns:
        raise ConfigError(
            f"{spell('fixed')} has no column", help=f"such as {spell('fixed')} ID:1-4"
        )
    about_delimited = (
        ("no-header", "", options.no_header),
        ("comment-prefix", "", options.comment_prefix),
        ("repeat-names", "", options.repeat_names is NameStyle.NUMBER),
        ("blank-names", "", options.blank_names is NameStyle.NUMBER),
        ("trailing-delimiter", "", options.trailing_delimiter),
        ("quote", " none", options.quote is Quote.NONE),
        ("excel-text", "", options.excel_text),
    )
    for option, value, is_set in about_delimited:
        if is_set:
            flag = spell(option) + value
            raise ConfigError(
                f"{spell('fixed')} and {flag} exclude each other",
                why="a file of a fixed width has no header, delimiters and quotes",
                help=f"omit {flag}",
            )
    if not options.trailer_delimiter and (
        options.trailer_counts or options.trailer_sums
    ):
        raise ConfigError(
            f"with {spell('fixed')} the fields of a trailer need --trailer-delimiter",
            help="name the delimiter of the trailer",
        )


DEFAULT_DELIMITER: Final = ","


# Cached, because `delimiter_of` parses the text at each call.
@functools.lru_cache(maxsize=64)
def split_delimiters(text: str) -> tuple[str, str]:
    r"""The delimiters of OLD and NEW: `;`, `OLD:NEW`, `||`, `\\t`, `\\x1f`.

    Raises ConfigError. A colon of a longer delimiter is written as `\\x3a`.
    """
    if DELIMITER_PATTERN.fullmatch(text):
        # One character, or OLD:NEW; a colon may be either.
        return text[0], text[-1]
    old, colon, new = text.partition(":")
    pair = _unescape_delimiter(old), _unescape_delimiter(new if colon else old)
    for each in pair:
        if not 1 <= len(each) <= LONGEST_DELIMITER or set(each) & set('"\r\n\0'):
            raise ConfigError(
                "the delimiter is not one to eight characters",
                help="use ',', ';', '|', '||' or a tab, never a quote or newline; for"
                " two files that differ use OLD:NEW, such as ';:,'",
            )
    return pair


def write_delimiters(old: str, new: str) -> str:
    """The text from which `split_delimiters` reads these two."""
    # A colon separates OLD and NEW, so that of a delimiter is written as an escape.
    pair = [each.replace(":", "\\x3a").replace("\t", "\\t") for each in (old, new)]
    return pair[0] if old == new else ":".join(pair)


def _unescape_delimiter(text: str) -> str:
    return DELIMITER_ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else "\t", text
    )


@dataclass(frozen=True, slots=True)
class FixedColumn:
    """A column of a fixed width: its characters from `start` to before `stop`."""

    name: str
    start: int
    stop: int


# Cached, because `SideOptions.columns` parses the text at each access.
@functools.lru_cache(maxsize=64)
def split_layout(text: str, flag: str = "--fixed") -> tuple[FixedColumn, ...]:
    """The columns of `ID:1-4,PAID:5-13`; characters count from 1, both included.

    Raises ConfigError, which names `flag`, for a layout that overlaps, is not in order
    or names one twice.
    """
    columns, at, stop = list[FixedColumn](), 0, 0
    while at < len(text):
        found = FIXED_PATTERN.match(text, at)
        if found is None:
            raise ConfigError(
                f"{flag} is malformed from character {at + 1} on",
                help=f"such as {flag} ID:1-4,MEMBER:5-8,PAID:9-17",
            )
        quoted, plain, first, last = found.groups()
        name = quoted.replace('""', '"') if quoted else plain.strip()
        start, end = int(first) - 1, int(last)
        if not stop <= start < end:
            raise ConfigError(
                f"{flag}: the places {first}-{last} of {name} overlap others, or are"
                " not in order",
                help="name the columns in their order; characters count from 1",
            )
        columns.append(FixedColumn(name, start, end))
        stop, at = end, found.end()
    _check_names(tuple(column.name for column in columns), flag)
    return tuple(columns)


def read_layout(text: str) -> str:
    """The layout of a flag, or of the file that it names as `@layout.csv`.

    The file has a name, the first and the last character in each line.
    """
    if not text.startswith("@"):
        return text
    import csv

    try:
        with open(text[1:], encoding="utf-8-sig", newline="") as stream:  # noqa: PTH123
            rows = [row for row in csv.reader(stream, strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError(
            "the layout cannot be read",
            file=os.path.abspath(text[1:]),  # noqa: PTH100
            help="write it as CSV in UTF-8: name,from,to in each line",
        ) from None
    if rows and [each.strip().lower() for each in rows[0]] == ["name", "from", "to"]:
        rows = rows[1:]
    if not rows or any(len(row) != len(("name", "from", "to")) for row in rows):
        raise ConfigError(
            "the layout is not name,from,to in each line",
            file=text[1:],
            help="such as: PAID,9,17",
        )
    return ",".join(
        '"{}":{}-{}'.format(
            name.strip().replace('"', '""'), first.strip(), last.strip()
        )
        for name, first, last in rows
    )


class Quote(StrEnum):
    """`double`: quotes enclose fields, as in RFC 4180; `none`: they are ordinary."""

    DOUBLE = "double"
    NONE = "none"


class NameStyle(StrEnum):
    """`refuse` column names that are blank or repeat; `number` them by position."""

    REFUSE = "refuse"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class SideFlags:
    """How the options of one file were given.

    `side`: "old" or "new"; "" if it is not known. `shared`: the options that were given
    for both files and not for this one, by their flags without dashes, such as
    `skip-lines`. `typed`: those of this file on a command line, where a list grows by
    one more flag; elsewhere a flag that is added to the command replaces it.
    """

    side: str = ""
    shared: frozenset[str] = frozenset()
    typed: frozenset[str] = frozenset()

    def spell(self, option: str) -> str:
        """The flag of an option: `--old-trailer`, or `--trailer` if that was given.

        `option`: the flag without dashes. One that was not given is spelled for this
        file only, as an error about one file proposes it.
        """
        if not self.side or option in self.shared:
            return f"--{option}"
        return f"--{self.side}-{option}"


UNKNOWN_SIDE: Final = SideFlags()


@dataclass(frozen=True, slots=True, kw_only=True)
class SideOptions:
    """How one file is read: every option that can differ between OLD and NEW.

    `skip_lines`: the number of lines before the header. `comment_prefix`: how further
    lines before it begin. `no_header`: the first record is a row; `names`: the columns.
    `repeat_names`, `blank_names`: what is done with such names of a header.
    `trailing_delimiter`: whether each record ends with a delimiter. `trailers`: the
    first fields of the records at the end that are no rows; `trailer_counts`,
    `trailer_sums`: `[PREFIX:]FIELD` and `[PREFIX:]FIELD=COLUMN`; `trailer_delimiter`:
    that of a trailer, if it is another one. `eof_mark`: whether a Ctrl-Z may end it.
    `quote`: whether quotes enclose fields. `fixed`: a layout of a fixed width, as
    `split_layout` takes it. `excel_text`: whether `="…"` is a field. `member`: the file
    of a zip archive, if it has several. `rules`: as in `Options`, for the values of
    this side only.
    `where`: the rows of this side that are compared, for `where_syntax.parse_where`.
    `derive`: new columns, each for `derive_syntax.parse_derivation`. `fold`: whether
    the rows of a key become one; `sum`: the columns that are added up then.
    `flags`: how these options were given, for errors; no part of a run's identity.
    """

    skip_lines: int = 0
    comment_prefix: str = ""
    no_header: bool = False
    names: tuple[str, ...] = ()
    repeat_names: NameStyle = NameStyle.REFUSE
    blank_names: NameStyle = NameStyle.REFUSE
    trailing_delimiter: bool = False
    trailers: tuple[str, ...] = ()
    trailer_counts: tuple[str, ...] = ()
    trailer_sums: tuple[str, ...] = ()
    trailer_delimiter: str = ""
    eof_mark: bool = False
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quote: Quote = Quote.DOUBLE
    fixed: str = ""
    excel_text: bool = False
    member: str = ""
    where: str = ""
    derive: tuple[str, ...] = ()
    fold: bool = False
    sum: tuple[str, ...] = ()
    flags: SideFlags = field(default=UNKNOWN_SIDE, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ConfigError for options that no file could satisfy."""
        spell = self.flags.spell
        check_count(spell("skip-lines"), self.skip_lines, "lines")
        if self.names and not self.no_header:
            raise ConfigError(
                f"{spell('names')} needs --no-header",
                help="names of a file with a header are in the file; --map pairs them",
            )
        if self.comment_prefix and self.no_header:
            raise ConfigError(
                f"{spell('comment-prefix')} and {spell('no-header')} exclude each"
                " other",
                why="without a header no line is before it",
                help="use --skip-lines",
            )
        if self.no_header and NameStyle.NUMBER in {self.repeat_names, self.blank_names}:
            repeated = self.repeat_names is NameStyle.NUMBER
            option = "repeat-names" if repeated else "blank-names"
            raise ConfigError(
                f"{spell(option)} is about the names of a header",
                help=f"omit it, or {spell('no-header')}",
            )
        _check_names(self.names, spell("names"))
        _check_trailer_options(self)
        parse_where(self.where, spell("where"))
        for text in self.derive:
            parse_derivation(text, spell("derive"))
        _check_syntax_options(self)

    def of_side(self, side: str) -> SideOptions:
        """The same as the options of "old" or "new"."""
        if self.flags.side == side:
            return self
        return replace(self, flags=replace(self.flags, side=side))

    @property
    def is_about_text(self) -> bool:
        """Whether an option is set that only text can have."""
        return any(
            getattr(self, name) != getattr(AS_DEFAULT, name) for name in TEXT_OPTIONS
        )

    @property
    def columns(self) -> tuple[FixedColumn, ...]:
        """The columns of a fixed width; none of a delimited file."""
        return split_layout(self.fixed, self.flags.spell("fixed"))

    def without_surroundings(self) -> SideOptions:
        """The same for a table without what is before and after it in the file."""
        return replace(
            self,
            skip_lines=0,
            comment_prefix="",
            trailers=(),
            trailer_counts=(),
            trailer_sums=(),
            trailer_delimiter="",
            eof_mark=False,
        )

    def split_trailer_field(self, text: str) -> tuple[str, int]:
        """The PREFIX and the FIELD of `[PREFIX:]FIELD`; raises ConfigError."""
        prefix, colon, number = text.rpartition(":")
        if not colon and len(self.trailers) == 1:
            prefix = self.trailers[0]
        # `isdigit` alone accepts digits of other scripts, and superscripts, which int()
        # does not read.
        if prefix not in self.trailers or not number.isascii() or not number.isdigit():
            raise ConfigError(
                f"{text} names no field of a trailer",
                help="FIELD is a number from 2 on; with several trailers PREFIX:FIELD",
            )
        # int() fails for thousands of digits.
        if len(number) > len(str(MOST_FIELD)) or not 1 < int(number) <= MOST_FIELD:
            raise ConfigError(
                f"{text}: field {number} cannot hold a number",
                why="fields of a trailer count from 1, and the first one is its prefix",
                help=f"use a number from 2 to {MOST_FIELD:,}",
            )
        return prefix, int(number)

    @classmethod
    def of_public(cls, kept: Mapping[str, Any]) -> SideOptions:
        """The options that `public` describes; a list is a tuple."""
        values: dict[str, Any] = {
            each.name: _as_tuples(value)
            for each in fields(cls)
            if (value := kept.get(each.name)) is not None
        }
        return cls(**values)

    @property
    def public(self) -> dict[str, object]:
        """What differs from the defaults, as JSON values."""
        values = asdict(self)
        return {
            each.name: values[each.name]
            for each in fields(self)
            if each.compare
            and getattr(self, each.name) != getattr(AS_DEFAULT, each.name)
        }


def _as_tuples(value: Any) -> Any:
    """A value of JSON, with tuples in place of lists."""
    if isinstance(value, dict):
        return {name: _as_tuples(each) for name, each in value.items()}
    return tuple(value) if isinstance(value, list) else value


AS_DEFAULT: Final = SideOptions()
OLD_DEFAULT: Final = AS_DEFAULT.of_side("old")
NEW_DEFAULT: Final = AS_DEFAULT.of_side("new")
# A table with a schema has none of these. Filters, rules, `derive` and `fold` apply to
# it as to text. The other options of a trailer need `trailers`.
TEXT_OPTIONS: Final = (
    *("skip_lines", "comment_prefix", "no_header", "names", "repeat_names"),
    *("blank_names", "trailing_delimiter", "trailers", "eof_mark", "quote", "fixed"),
    "excel_text",
)
Encodings = tuple[Encoding, Encoding]
UTF_8: Final[Encodings] = (Encoding.UTF_8, Encoding.UTF_8)


class StageLoader(StrEnum):
    """`adbc`: parsed cells in binary; `copy`: the validated bytes."""

    ADBC = "adbc"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How two tables are compared; part of a run's identity.

    `renames` maps a column's name in OLD to its name in NEW; results use that of OLD.
    `match_names`: the forms in which names of both sides are equal. `compare_only`: the
    compared columns; empty for all but those of `ignore`.
    `rules` are lists for `rules.spelling.parse_rule` by column; `*` is every compared
    column.
    `masks`: hmac, redact or last4 by column; `*` is every column without its own entry.
    `delimiter`: as `split_delimiters` takes it. `encodings`: of OLD and of NEW. `gates`
    are texts for `gates.parse_gate`. A difference counts for the first of
    `suppressions` that fits it. `where`: the rows that are compared; a pair is left out
    if neither of its rows fulfils it. `old`, `new`: what is set for each side.
    `set_aside`: columns of settings that do not apply, which have to exist; no part of
    a run's identity.
    """

    keys: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    compare_only: tuple[str, ...] = ()
    match_names: tuple[NameForm, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    on_duplicate_keys: OnDuplicateKeys = OnDuplicateKeys.PAIR
    on_schema_drift: OnSchemaDrift = OnSchemaDrift.REFUSE
    on_bad_row: OnBadRow = OnBadRow.FAIL
    delimiter: str = DEFAULT_DELIMITER
    encodings: Encodings = UTF_8
    detail_limit: int = 5000
    gates: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    where: str = ""
    old: SideOptions = OLD_DEFAULT
    new: SideOptions = NEW_DEFAULT
    set_aside: frozenset[str] = field(
        default_factory=frozenset, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        """Raise ConfigError for options that no pair of files could satisfy."""
        for gate in self.gates:
            parse_gate(gate)
        parse_where(self.where)
        for side in SIDES:
            # Frozen: the options of a side know which it is, whoever makes them.
            object.__setattr__(self, side, self.side(side).of_side(side))
        if (self.old.sum or self.new.sum) and not (self.old.fold or self.new.fold):
            flag = (self.old if self.old.sum else self.new).flags.spell("sum")
            raise ConfigError(
                f"{flag} needs {flag.removesuffix('sum')}fold",
                help="add --fold, --old-fold or --new-fold",
            )
        by_side = {"both": self.rules, "old": self.old.rules, "new": self.new.rules}
        if any(by_side.values()):
            # Polars, which tries the formats of dates, takes a while to load.
            from recon_engine.rules.assembly import check_rules

            for side, every in by_side.items():
                for column, rules in every.items():
                    check_rules(column, rules, side)
        _check_keys(self.keys, self.ignore)
        for suppression in self.suppressions:
            check_suppression(suppression)
            _check_key_values(suppression, self.keys)
        _check_compare_only(self.compare_only, self.ignore)
        parse_match_names(write_match_names(self.match_names))
        for name, mask in self.masks.items():
            if mask not in set(Mask):
                raise ConfigError(
                    f"--mask {name}={mask}: unknown mask" + did_you_mean(mask, Mask),
                    help="one of: " + ", ".join(Mask),
                )
        check_count("--detail-limit", self.detail_limit, "rows")
        split_delimiters(self.delimiter)

    def side(self, side: str) -> SideOptions:
        """What is set for "old" or "new"."""
        return self.new if side == "new" else self.old

    def delimiter_of(self, side: str) -> str:
        """The delimiter of "old" or "new"."""
        return split_delimiters(self.delimiter)[SIDES.index(side)]

    def encoding_of(self, side: str) -> Encoding:
        """The encoding of "old" or "new"."""
        return self.encodings[SIDES.index(side)]

    @property
    def has_filters(self) -> bool:
        """Whether rows of a side are left out by their values."""
        return bool(self.where or self.old.where or self.new.where)

    @property
    def public(self) -> dict[str, object]:
        """The options as JSON values; of the sides only what is not by default."""
        values: dict[str, object] = asdict(self)
        # What `recon.toml` says of columns that are left out decides no result.
        del values["set_aside"]
        values["suppressions"] = [each.public for each in self.suppressions]
        # Left out, so that the digests of runs from before an option was added stay.
        for side in SIDES:
            del values[side]
            if public := self.side(side).public:
                values[side] = public
        return {
            name: value
            for name, value in values.items()
            if value or name not in LATER_FIELDS
        }

    @property
    def rules_by_content(self) -> dict[str, str]:
        """Each rule, with the SHA-256 of a code table in the place of its file's name.

        Raises ConfigError for a file that cannot be read.
        """
        from recon_engine.rules.spelling import spell_by_content

        every = (self.rules, self.old.rules, self.new.rules)
        chains = (chain for rules in every for chain in rules.values())
        return {rule: spell_by_content(rule) for chain in chains for rule in chain}

    @property
    def by_content(self) -> dict[str, Any]:
        """`public` with the SHA-256 of each code table in the place of its file's name.

        Raises ConfigError for a file that cannot be read.
        """
        found: dict[str, Any] = self.public
        spelled = self.rules_by_content
        for section in (found, *(found[side] for side in SIDES if side in found)):
            if "rules" in section:
                section["rules"] = {
                    column: [spelled[rule] for rule in rules]
                    for column, rules in section["rules"].items()
                }
        return found

    @property
    def digest(self) -> str:
        """A sha256 that is equal for options that compare alike.

        It depends on what is in a code table, and not on where its file is.
        """
        import hashlib

        # Sorted: the order in which columns are named changes no fingerprint.
        text = json.dumps(self.by_content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run of the pipeline; the three locations are URLs or local folders.

    `fail_on_diff`: whether a result with a difference that no suppression accepts ends
    a run with exit code 1, as a failed gate does.
    `recompute`: reconcile a pair that has a result again, as its next revision.
    `break_limit`: with more differences than this only totals are kept; 0 tracks no
    breaks. `feed`: what it means for a break if its key is in neither file. `stage`:
    whether both files are loaded into stage tables; None means only with the local
    engine. `database`: a libpq connection string, or a function that makes one for each
    connection. It may hold a password, so it is not in `repr`, the run log or the run's
    identity. `old_pattern`, `new_pattern`: the names of the two files in inbound; None
    for the ending of a data file, and NEWSYSTEM in that of NEW. `parts`: how many files
    each side has; `old_parts` and `new_parts` override it. `done_files`: names of
    files that say that the delivery is complete.
    """

    dataset: str
    inbound: str
    processed: str
    out: str
    options: Options
    database: Address = field(repr=False)
    fail_on_no_files: bool = False
    fail_on_diff: bool = False
    recompute: bool = False
    budget: Budget | None = None
    engine: EngineName = DEFAULT_ENGINE
    stage: bool | None = None
    stage_loader: StageLoader = StageLoader.ADBC
    # So many breaks add 2 s to the publication, a million half a minute and more
    # (docs/breaks.md).
    break_limit: int = 100_000
    feed: Feed = Feed.INCREMENTAL
    limits: Limits = field(default_factory=Limits)
    old_pattern: str | None = None
    new_pattern: str | None = None
    parts: int | None = None
    old_parts: int | None = None
    new_parts: int | None = None
    done_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError for an invalid dataset name, break limit or pattern."""
        if (self.old_pattern is None) != (self.new_pattern is None):
            raise ConfigError(
                "--old-pattern and --new-pattern belong together",
                help="give both, or neither",
            )
        check_dataset_name(self.dataset)
        check_count(
            "--break-limit", self.break_limit, "differences; 0 tracks no breaks"
        )
        for name in self.done_files:
            if not name or "/" in name or "*" in name:
                raise ConfigError(
                    f"--done-file is {name!r}, not the name of a file",
                    help="give the name of a file in the inbound location",
                )

    @property
    def takes_parts(self) -> bool:
        """Whether a side can have several files."""
        return bool(self.done_files) or self.part_counts != (1, 1)

    @property
    def part_counts(self) -> tuple[int | None, int | None]:
        """How many files OLD and NEW have; None for any number."""
        # A done file says that all parts are there, so their number need not be known.
        any_number = None if self.done_files else 1
        old, new = (
            of_side or self.parts or any_number
            for of_side in (self.old_parts, self.new_parts)
        )
        return old, new

    @property
    def stages(self) -> bool:
        """Whether both files are loaded into stage tables."""
        return self.engine is EngineName.LOCAL if self.stage is None else self.stage

    @property
    def public(self) -> dict[str, object]:
        """The configuration as the run log keeps it, without secrets.

        `rules` is of the options in which a rule names a file: those of both sides, of
        OLD and of NEW, with its content.
        """
        options = by_content = self.options.public
        # A file that is gone by now ends a run, and the end of a run is logged.
        with suppress(ConfigError):
            by_content = self.options.by_content
        public: dict[str, object] = {
            "dataset": self.dataset,
            "inbound": self.inbound,
            "processed": self.processed,
            "out": self.out,
            "feed": self.feed,
            "options": options,
        }
        rules, with_content = _list_rules(options), _list_rules(by_content)
        return public | ({"rules": with_content} if with_content != rules else {})


def _list_rules(options: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """The rules of both sides, of OLD and of NEW, of options as JSON values."""
    sections = (options, *(options.get(side, {}) for side in SIDES))
    return [
        {column: list(each) for column, each in section.get("rules", {}).items()}
        for section in sections
    ]


def _check_keys(keys: tuple[str, ...], ignore: tuple[str, ...]) -> None:
    if not keys:
        raise ConfigError(
            "no key column is named",
            help="add --key COLUMN; recon keys OLD NEW proposes some",
        )
    for name in keys:
        if keys.count(name) > 1:
            raise ConfigError(f"key column {name} is named twice", help="name it once")
        if name in ignore:
            raise ConfigError(
                f"{name} is both a key and ignored",
                help=f"remove --ignore {name}, or choose another key",
            )


def _check_compare_only(compare_only: tuple[str, ...], ignore: tuple[str, ...]) -> None:
    for name in compare_only:
        if compare_only.count(name) > 1:
            raise ConfigError(f"--compare-only names {name} twice", help="name it once")
        if name in ignore:
            raise ConfigError(
                f"{name} is both compared and ignored",
                help=f"remove --ignore {name}, or remove it from --compare-only",
            )


def check_suppression(suppression: Suppression) -> None:
    """Raise ConfigError for a suppression that fits nothing or lacks an owner."""
    of_column = suppression.what is Suppressible.COLUMN
    of_cells = (suppression.kind, suppression.old, suppression.new)
    if of_column != (suppression.column is not None) or (
        not of_column and of_cells != (None, None, None)
    ):
        raise ConfigError(
            f"the suppression of {suppression.name} is inconsistent",
            help='set column (and, if needed, kind, old and new) with what = "column"'
            " only",
        )
    kinds = suppression.kinds
    if kinds is not None and not 0 < len(kinds) == len(set(kinds)):
        raise ConfigError(
            f"the suppression of {suppression.name} lists a kind twice, or none",
            help="list each kind once, or leave kind out to fit every kind",
        )
    keys = suppression.key_values
    if suppression.keys is not None and not keys:
        raise ConfigError(
            f"the suppression of {suppression.name} lists no key",
            why="it would fit nothing",
            help="list keys as recon breaks does, or leave keys out to fit every key",
        )
    if len(set(keys)) < len(keys):
        raise ConfigError(
            f"the suppression of {suppression.name} lists a key twice",
            help="list each key once",
        )
    if not (suppression.reason.strip() and suppression.owner.strip()):
        raise ConfigError(
            f"the suppression of {suppression.name} has no reason or no owner",
            help="say why the difference is accepted, and who accepts it",
        )
    if suppression.max is not None and not 1 <= suppression.max <= MOST_COUNT:
        raise ConfigError(
            f"the max of the suppression of {suppression.name} is out of range",
            help=f"use a number from 1 to {MOST_COUNT:,}, or no max",
        )


def _check_key_values(suppression: Suppression, keys: tuple[str, ...]) -> None:
    """Raise ConfigError for a key of another number of columns than `keys`."""
    counts = {len(key) for key in suppression.key_values} - {len(keys)}
    # Without a key, its number of columns is not known yet.
    if counts and keys != NO_KEY:
        raise ConfigError(
            f"the suppression of {suppression.name} lists a key with another number of"
            f" values ({min(counts)}) than key columns ({len(keys)})",
            why=f"a key has a value of each key column: {', '.join(keys)}",
            help="list each key as recon breaks does, with its values in this order",
        )


def parse_encodings(text: str) -> Encodings:
    """Parse the encodings of OLD and NEW: `cp1252` for both, or `cp1252:utf-8`."""
    old, _, new = text.partition(":")
    return _parse_encoding(old), _parse_encoding(new or old)


def write_encodings(encodings: Encodings) -> str:
    """The text from which `parse_encodings` reads them."""
    # One name if both are equal: a dict has it once.
    return ":".join(dict.fromkeys(encodings))


def _parse_encoding(name: str) -> Encoding:
    """An encoding by any of its names, such as `windows-1252`."""
    try:
        return Encoding.by_codec()[codecs.lookup(name.strip()).name]
    except (LookupError, ValueError):
        raise ConfigError(
            f"{name} is not a supported encoding{did_you_mean(name, Encoding)}",
            help="one of: " + ", ".join(Encoding),
        ) from None


# The defaults of everything but the key, for signatures such as `recon_engine.diff`.
DEFAULTS: Final = Options(keys=NO_KEY)
