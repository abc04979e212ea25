"""The Python API: `recon_engine.diff`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from recon_engine.column_maps import parse_column_map
from recon_engine.config import (
    DEFAULT_ENGINE,
    DEFAULTS,
    LIMITS,
    EngineName,
    Limits,
    OnBadRow,
    OnDuplicateKeys,
    OnSchemaDrift,
    Options,
    SideOptions,
    parse_encodings,
)
from recon_engine.engines import choose_engine
from recon_engine.errors import ConfigError, InputChanged
from recon_engine.inputs.decoding import is_plain_utf8
from recon_engine.inputs.header import Header
from recon_engine.inputs.tables import both_unread, open_side
from recon_engine.model import SIDES, SourceFile
from recon_engine.name_forms import parse_match_names, write_match_names
from recon_engine.options import SIDED, Shape
from recon_engine.records import dataclass
from recon_engine.runtime.error_boundary import within_error_boundary
from recon_engine.runtime.memory import Budget, parse_budget
from recon_engine.runtime.progress import SILENT, Progress
from recon_engine.storage.urls import open_storage


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from typing import Unpack

    from recon_engine.inputs.tables import Unread
    from recon_engine.model import Suppression
    from recon_engine.options import Option
    from recon_engine.result import Reconciliation
    from recon_engine.side_arguments import SidedArguments
    from recon_engine.storage.base import Storage


Policy = TypeVar("Policy", bound=StrEnum)


def diff(
    old: object,
    new: object,
    /,
    *,
    keys: str | Sequence[str],
    ignore: str | Sequence[str] = (),
    compare_only: str | Sequence[str] = (),
    match_names: str = write_match_names(DEFAULTS.match_names),
    renames: Mapping[str, str] | str | None = None,
    rules: Mapping[str, str | Sequence[str]] | None = None,
    masks: Mapping[str, str] | None = None,
    on_duplicate_keys: str = DEFAULTS.on_duplicate_keys,
    on_schema_drift: str = DEFAULTS.on_schema_drift,
    on_bad_row: str = DEFAULTS.on_bad_row,
    delimiter: str = DEFAULTS.delimiter,
    encoding: str = DEFAULTS.encodings[0],
    detail_limit: int = DEFAULTS.detail_limit,
    memory_budget: str | None = None,
    max_field_bytes: int = LIMITS.field_bytes,
    max_field_lines: int = LIMITS.field_lines,
    max_ratio: int = LIMITS.ratio,
    gates: str | Sequence[str] = (),
    suppressions: Sequence[Suppression] = (),
    where: str = DEFAULTS.where,
    today: date | None = None,
    engine: str = DEFAULT_ENGINE,
    sha256: bool = False,
    **sided: Unpack[SidedArguments],
) -> Reconciliation:
    """Reconcile two tables by `keys`; all values are text, nothing is inferred.

    `old`, `new`: a path, an `s3://` URL, a polars frame, or anything with
    `__arrow_c_stream__`; neither is changed. A file named `.gz` or `.zst` is unpacked.
    `compare_only`: the columns to compare besides the key. `match_names`, "trim",
    "casefold" or "trim,casefold", pairs names that are equal in this form. `renames`
    maps names in OLD to names in NEW; "A=B,C=D" and "@map.csv" do too. `rules` says by
    column what else is equal: `{"PAID": "decimal", "*": "trim"}`. `masks` says what is
    shown of a column: `{"MEMBER_ID": "hmac", "NAME": "redact", "PHONE": "last4"}`; hmac
    takes its key from $RECON_MASK_KEY or the file $RECON_MASK_KEY_FILE. `encoding`,
    such as "cp1252", is of both files, "cp1252:utf-8" of one each. `memory_budget`,
    such as "2GiB", is 60% of what there is by default. `max_ratio`: how many times its
    size a compressed file may unpack to. `gates`, such as "mismatch_rate(PAID)<=0.1%",
    and `suppressions` say what `passes`; `today` is the day on which the latter may
    have expired, in UTC.
    `where`, such as "CLOSED >= '2026-01-01'", says which rows are compared.
    `engine`: "spark" does it on a cluster (docs/spark.md). `sha256`: whether the
    SHA-256 of plain files is computed, which costs as much as reading them. `sided`:
    how files are read, each option as `X=` for both, `old_X=` and `new_X=` for one
    (`SidedArguments`, docs/files.md). Raises a ReconError, which says what, where, why
    and how to fix it.
    """
    options = Options(
        keys=_as_names(keys),
        ignore=_as_names(ignore),
        compare_only=_as_names(compare_only),
        match_names=parse_match_names(match_names),
        renames=parse_column_map([renames])
        if isinstance(renames, str)
        else dict(renames or {}),
        rules={name: _as_names(each) for name, each in (rules or {}).items()},
        masks=dict(masks or {}),
        on_duplicate_keys=_parse_policy(OnDuplicateKeys, on_duplicate_keys),
        on_schema_drift=_parse_policy(OnSchemaDrift, on_schema_drift),
        on_bad_row=_parse_policy(OnBadRow, on_bad_row),
        delimiter=delimiter,
        encodings=parse_encodings(encoding),
        detail_limit=detail_limit,
        gates=_as_names(gates),
        suppressions=tuple(suppressions),
        where=where,
        **{side: make_side_options(side, sided) for side in SIDES},
    )
    budget = parse_budget(memory_budget) if memory_budget else None
    limits = Limits(max_field_bytes, max_field_lines, max_ratio)
    return compare_inputs(
        old,
        new,
        options,
        budget=budget,
        limits=limits,
        today=today,
        engine=_parse_policy(EngineName, engine),
        sha256=sha256,
    )


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def make_side_options(side: str, arguments: Mapping[str, Any]) -> SideOptions:
    """The options of a side, as a caller in Python names them.

    `old_X` counts before `X`; None is as if it was not there. Raises TypeError for an
    argument that does not exist.
    """
    values = {}
    known = {name for each in SIDED for name in _argument_names(each)}
    if unknown := sorted(arguments.keys() - known):
        raise TypeError(f"diff() got an unexpected keyword argument {unknown[0]!r}")
    for option in SIDED:
        own, both = f"{side}_{option.in_python}", str(option.in_python)
        value = arguments.get(own)
        if value is None and option.sided:
            value = arguments.get(both)
        if value is not None:
            values[option.field] = _read_argument(option, value)
    return SideOptions(**values)


def _argument_names(option: Option) -> tuple[str, ...]:
    name = str(option.in_python)
    return (*(name,) * option.sided, *(f"{side}_{name}" for side in SIDES))


def _read_argument(option: Option, value: Any) -> Any:
    if option.shape is not Shape.VALUE:
        return _as_names(value)
    return option.parse(value) if option.parse and isinstance(value, str) else value


def _parse_policy(policy: type[Policy], text: str) -> Policy:
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
        if not url.startswith("s3:"):
            return None
        # Compressed and transcoded files have to be decoded as a whole, on one machine.
        if not is_plain_utf8(url, self.options.encoding_of(side)):
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
