"""What a reconciliation and a run are asked to do: frozen, checked once."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from recon_engine.errors import ConfigError, did_you_mean
from recon_engine.gates import parse as parse_gate
from recon_engine.model import SIDES, Suppressible, Suppression
from recon_engine.rfc4180 import Limits


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from recon_engine.memory import Budget

    # A libpq connection string, or what makes one for each new connection.
    Address = str | Callable[[], str]


DELIMITER = re.compile(r'[^"\r\n\0\x80-\U0010ffff](:[^"\r\n\0\x80-\U0010ffff])?')
# For files that are read without one: no column of theirs can have a blank name.
NO_KEY: Final = ("",)
DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,47}")
BREAK_LIMIT: Final = 100_000


class OnDuplicateKeys(StrEnum):
    """`pair`: reconcile repeated keys as multisets; `fail`: refuse them."""

    PAIR = "pair"
    FAIL = "fail"


class OnSchemaDrift(StrEnum):
    """`refuse` differing columns, or `compare` the common ones and report the rest."""

    REFUSE = "refuse"
    COMPARE = "compare"


class OnBadRow(StrEnum):
    """`fail`: refuse the file; `quarantine`: set the row aside, count and list it."""

    FAIL = "fail"
    QUARANTINE = "quarantine"


class EngineName(StrEnum):
    """`local`: this machine; `spark`: the same kernel on the tasks of a cluster."""

    LOCAL = "local"
    SPARK = "spark"


class Encoding(StrEnum):
    """What a file may be written in. `utf-16` has a byte order mark that decides."""

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

    @classmethod
    def by_codec(cls) -> dict[str, Encoding]:
        """Each by the one name that Python's codec has, of the many it answers to."""
        return {codecs.lookup(each).name: each for each in cls}


class Mask(StrEnum):
    """`hmac`: a token, the same for the same value; `last4`: the end of a long one."""

    HMAC = "hmac"
    REDACT = "redact"
    LAST4 = "last4"


Encodings = tuple[Encoding, Encoding]
UTF_8: Final[Encodings] = (Encoding.UTF_8, Encoding.UTF_8)


class StageLoader(StrEnum):
    """`adbc`: parsed cells in binary; `copy`: the gated bytes as they are."""

    ADBC = "adbc"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How two tables are compared; part of a run's identity.

    `renames` maps a column's name in OLD to its name in NEW; results use OLD's.
    `rules` are spelled as in `rules.parse`, by column; `*` is every compared column.
    `masks`: hmac, redact or last4, by column; `*` is every column that has none of its
    own. `delimiter`: one character, or `OLD:NEW`. `encodings`: of OLD and of NEW.
    `gates` are spelled as in `gates.parse`; of `suppressions` the first that fits a
    difference counts.
    """

    keys: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    on_duplicate_keys: OnDuplicateKeys = OnDuplicateKeys.PAIR
    on_schema_drift: OnSchemaDrift = OnSchemaDrift.REFUSE
    on_bad_row: OnBadRow = OnBadRow.FAIL
    delimiter: str = ","
    encodings: Encodings = UTF_8
    detail_limit: int = 5000
    gates: tuple[str, ...] = ()
    suppressions: tuple[Suppression, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no pair of files could satisfy."""
        for gate in self.gates:
            parse_gate(gate)
        for suppression in self.suppressions:
            check_suppression(suppression)
        _check_keys(self.keys, self.ignore)
        for name, mask in self.masks.items():
            if mask not in set(Mask):
                raise ConfigError(
                    f"--mask {name}={mask}: there is no such mask."
                    + did_you_mean(mask, Mask),
                    help="one of: " + ", ".join(Mask),
                )
        if self.detail_limit < 0:
            raise ConfigError(
                f"--detail-limit {self.detail_limit} is negative", help="0 or more rows"
            )
        if not DELIMITER.fullmatch(self.delimiter):
            raise ConfigError(
                "the delimiter is not one ASCII character",
                help="such as ',', ';', '|' or a tab; never a quote or newline; or "
                "OLD:NEW, such as ';:,'",
            )

    def delimiter_of(self, side: str) -> str:
        """The delimiter of "old" or of "new"."""
        return self.delimiter[-1 if side == "new" else 0]

    def encoding_of(self, side: str) -> Encoding:
        """The encoding of "old" or of "new"."""
        return self.encodings[SIDES.index(side)]

    @property
    def public(self) -> dict[str, object]:
        """Them as plain values of JSON."""
        suppressions = [
            asdict(each) | {"until": each.until.isoformat()}
            for each in self.suppressions
        ]
        return asdict(self) | {"suppressions": suppressions}

    @property
    def digest(self) -> str:
        """A sha256 that is equal for equal options."""
        text = json.dumps(self.public, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run of the pipeline; the three places are URLs or local folders.

    `recompute`: a pair that has a result is reconciled again, as its next revision.
    `break_limit`: of more differences than this only the totals are kept; 0 of all.
    `stage`: whether both files are loaded into stage; if it is not said, the local
    engine does that.
    `database` is a libpq connection string, or what makes one for each connection. It
    may hold a password, so it has no part in `repr`, in the run log or in the run's
    identity.
    """

    dataset: str
    inbound: str
    processed: str
    out: str
    options: Options
    database: Address = field(repr=False)
    fail_on_no_files: bool = False
    recompute: bool = False
    budget: Budget | None = None
    engine: EngineName = EngineName.LOCAL
    stage: bool | None = None
    stage_loader: StageLoader = StageLoader.ADBC
    break_limit: int = BREAK_LIMIT
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse a dataset name that cannot name tables and folders."""
        if not DATASET.fullmatch(self.dataset):
            raise ConfigError(
                f"dataset name {self.dataset!r} cannot name a table and a folder",
                help="a letter, then up to 47 letters, digits, '_' or '-'",
            )
        if self.break_limit < 0:
            raise ConfigError(
                f"--break-limit {self.break_limit} is negative",
                help="a number of differences, or 0 to track no breaks",
            )

    @property
    def stages(self) -> bool:
        """Whether both files are loaded into stage."""
        return self.engine is EngineName.LOCAL if self.stage is None else self.stage

    @property
    def public(self) -> dict[str, object]:
        """The configuration as the run log keeps it: without secrets."""
        return {
            "dataset": self.dataset,
            "inbound": self.inbound,
            "processed": self.processed,
            "out": self.out,
            "options": self.options.public,
        }


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
                f"key column {name} is ignored too",
                help=f"drop --ignore {name}, or name another key",
            )


def check_suppression(given: Suppression) -> None:
    """Raise ConfigError for one that cannot fit anything, or that nobody stands for."""
    of_column = given.what is Suppressible.COLUMN
    if of_column != (given.column is not None) or (given.kind and not of_column):
        raise ConfigError(
            f"a suppression of {given.name} does not fit together",
            help='what = "column" has a column, and may have a kind; others have none',
        )
    if not (given.reason.strip() and given.owner.strip()):
        raise ConfigError(
            f"a suppression of {given.name} has no reason, or no owner",
            help="say why the difference is accepted, and who accepts it",
        )
    if given.max is not None and given.max < 1:
        raise ConfigError(
            f"a suppression of {given.name} accepts at most {given.max}",
            help="1 or more, or no max",
        )


def parse_encodings(text: str) -> Encodings:
    """The encodings of OLD and NEW: `cp1252` for both, `cp1252:utf-8` for one each."""
    old, _, new = text.partition(":")
    return _encoding(old), _encoding(new or old)


def _encoding(name: str) -> Encoding:
    """An encoding by any name it goes by, such as `windows-1252`."""
    if name == Encoding.UTF_8:  # each other one takes a millisecond to look up
        return Encoding.UTF_8
    try:
        return Encoding.by_codec()[codecs.lookup(name.strip()).name]
    except (LookupError, ValueError):
        raise ConfigError(
            f"{name} is no encoding that is read here.{did_you_mean(name, Encoding)}",
            help="one of: " + ", ".join(Encoding),
        ) from None
