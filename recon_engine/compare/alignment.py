"""Align the columns of OLD and NEW, by name only."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Final

from recon_engine import command_line
from recon_engine.compare.column_names import pair_names
from recon_engine.compare.preparation import NO_PREPARATION, Preparation
from recon_engine.compare.side_plans import (
    check_sums,
    derive_columns,
    prepare_sides,
    sources_of_one_side,
    sum_columns,
    tested_columns,
    with_number_rules,
)
from recon_engine.config import Mask, OnSchemaDrift, Options
from recon_engine.errors import ConfigError, KeyMissing, ReconError, SchemaMismatch
from recon_engine.formatting import describe_columns, format_count, format_share
from recon_engine.gate_syntax import check_column, parse_gate
from recon_engine.inputs.delimiters import splits_more
from recon_engine.inputs.file_kinds import identify_kind, refuse_kind
from recon_engine.inputs.file_shape import (
    DELIMITERS,
    count_data_names,
    find_header_line,
    measure_fixed_width,
)
from recon_engine.model import Drift
from recon_engine.name_forms import NameForm, fold_name, write_match_names
from recon_engine.records import dataclass
from recon_engine.rules.assembly import (
    ALL_COLUMNS,
    RULE_FLAGS,
    GivenRules,
    assemble_chain,
)
from recon_engine.rules.chains import NO_CHAIN
from recon_engine.suggestions import (
    NAME_PATTERN,
    did_you_mean,
    join_names,
    looks_like_header,
    shown,
)


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from recon_engine.compare.column_names import NamePairs
    from recon_engine.compare.preparation import DerivedColumns
    from recon_engine.rules.chains import Chain, Rules

    Agreements = Mapping[tuple[str, str], tuple[int, int]]
    Names = Sequence[str]
    Pairs = Sequence[tuple[str, str]]
    ProposeParts = Callable[[int, Names], str | None]
    Retry = Callable[[Callable[[Names, Names], bool]], str | None]
    Measure = Callable[[Sequence[tuple[str, str]], Names, Names, Rules], Agreements]

# From the mask that shows least: nothing of a value, then a token by which equal values
# are found, then four characters.
STRONGEST_FIRST: Final = (Mask.REDACT, Mask.HMAC, Mask.LAST4)
# What a refusal proposes: the first that pairs all names.
MATCH_NAMES: Final = (
    (NameForm.CASEFOLD,),
    (NameForm.TRIM,),
    (NameForm.TRIM, NameForm.CASEFOLD),
)


@dataclass(frozen=True, slots=True)
class Alignment:
    """`keys` and compared `columns`, by their names in OLD and in the order of OLD.

    `new_names` maps columns of NEW to these names. `rules`: of keys and compared
    columns that have some; `masks`: of any column. `agreements`: for columns in one
    file only that seem to be the same, the rows that agree and the rows compared.
    `given`: the rules of these columns as they were given. `by_form`: the names in OLD
    and NEW that `--match-names` pairs. `left_out`: the number of columns of each side
    that are ignored; `ignored`: those that `ignore` names. `prepared`: what is done to
    the rows of each side before they are paired.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    new_names: Mapping[str, str]
    drift: Drift
    rules: Rules
    masks: Mapping[str, Mask]
    agreements: Agreements = field(default_factory=dict)
    given: Mapping[str, GivenRules] = field(default_factory=dict)
    by_form: tuple[tuple[str, str], ...] = ()
    prepared: tuple[Preparation, Preparation] = (NO_PREPARATION, NO_PREPARATION)
    left_out: tuple[int, int] = (0, 0)
    ignored: tuple[str, ...] = ()


def measure_nothing(
    _keys: Sequence[tuple[str, str]], _old: Names, _new: Names, _rules: Rules
) -> Agreements:
    """Compare names only: the default of `align_columns`."""
    return {}


def propose_nothing(_side: int, _missing: Names) -> str | None:
    """Try no derivation: the default of `align_columns`."""
    return None


def untried(_fits: Callable[[Names, Names], bool]) -> str | None:
    """Try no other reading: the default of `align_columns`."""
    return None


def align_columns(
    old: Sequence[str],
    new: Sequence[str],
    options: Options,
    *,
    uris: tuple[str, str],
    heads: tuple[bytes, bytes] = (b"", b""),
    measure: Measure = measure_nothing,
    retry: Retry = untried,
    propose_parts: ProposeParts = propose_nothing,
) -> Alignment:
    """Determine keys and compared columns.

    Args:
        old: The column names of OLD.
        new: The column names of NEW.
        options: Keys, renames, ignored columns, rules, masks, gates and suppressions.
        uris: The names of both files, for errors.
        heads: The first bytes of both files, for errors.
        measure: Returns which columns in one file only agree, given key names, such
            columns and key rules.
        retry: Returns how else the files could be read, given a test of two headers.
        propose_parts: Returns how a side that lacks key columns could derive them.

    Raises:
        ConfigError: An option names a column that is in no file.
        KeyMissing: A key column is not in both files.
        SchemaMismatch: A column is in one file only, and `on_schema_drift` is `refuse`.
        MalformedInput: A file of another format was read as one column.
    """

    def hint() -> str | None:
        return retry(lambda ours, theirs: _has_keys(ours, theirs, options))

    # By the headers as they are in the files: a derived column would hide that a file
    # was read as one column.
    one_column = min(len(old), len(new)) == 1
    of_files, derived = ({*old}, {*new}), derive_columns(old, new, options)
    old, new = (
        (*columns, *(name for each in side for name in each.names))
        for columns, side in zip((old, new), derived, strict=True)
    )

    def split() -> str | None:
        return retry(splits_more) if one_column else None

    names = pair_names(old, new, options, uris=uris, hint=hint, retry=retry)
    renames, renamed = names.renames, names.renamed
    in_old, in_new = set(old), set(renamed)
    keys = tuple(map(names.find, options.keys))
    files = _Files(uris, heads, options, hint, split, renames, propose_parts)
    _check_keys(keys, old, renamed, files)
    # The number of rows of a key derives from no column. `--compare-only` keeps it,
    # because without it folding both sides hides a row that one side repeats.
    counts = [
        n for each in derived[0] if not each.derivation.sources for n in each.names
    ]
    ignored = _find_ignored(names, options, keys, counts)
    ignored |= sources_of_one_side(derived, names)
    named = set(map(names.find, options.ignore))
    only_old = tuple(n for n in old if n not in in_new and n not in ignored)
    only_new = tuple(n for n in renamed if n not in in_old and n not in ignored)
    agree: Agreements = {}
    # Measuring reads rows of both files: only where a rename is possible.
    both = [(name, renames.get(name, name)) for name in keys]
    # A derived column is in neither file, and `measure` reads the files.
    left, right = (
        tuple(name for name in only if name in known)
        for known, only in zip(of_files, (only_old, only_new), strict=True)
    )
    if (
        left
        and right
        and all(ours in of_files[0] and theirs in of_files[1] for ours, theirs in both)
    ):
        agree = measure(both, left, right, rules_of(options, keys, names))
    drift = Drift(only_old, only_new, _likely_renames(only_old, only_new, agree))
    if drift and options.on_schema_drift is OnSchemaDrift.REFUSE:
        # `renamed`: a column that an option pairs shows a header as well.
        raise _schema_mismatch(drift, uris, quotable=_may_quote_names(old, renamed))
    common = in_new - ignored - set(keys)
    # In the order of OLD, which reports show. Ordinals of cells follow the sorted names
    # (`ComparisonPlan.columns`).
    columns = tuple(name for name in old if name in common)
    tested = tested_columns(options, names)
    given = _rules_by_column(options, keys, columns, names, tested)
    sums = sum_columns(options, names, columns)
    given = with_number_rules(given, {*sums[0], *sums[1]})
    rules = {name: assemble_chain(name, each) for name, each in given.items()}
    check_sums(options, rules, sums)
    _check_key_rules(rules, keys)
    masks = _masks_by_column(options, {*old, *renamed}, names)
    masks = _mask_derived(masks, derived, names)
    # Before any row is read, so that a misspelled name does not cost a comparison.
    _check_gates_and_suppressions(options, columns)
    if any(each.is_narrow for each in options.suppressions):
        # Lazy: it imports Polars, and both files are opened before it.
        from recon_engine.compare.narrow_suppressions import check_texts

        check_texts(options.suppressions, keys, masks)
    _check_set_aside(options, names)
    return Alignment(
        keys,
        columns,
        names.back,
        drift,
        rules,
        masks,
        agree,
        given,
        by_form=names.by_form,
        left_out=(len(ignored & in_old), len(ignored & in_new)),
        ignored=tuple(dict.fromkeys(n for n in (*old, *renamed) if n in named)),
        prepared=prepare_sides(options, names, keys, rules, derived, sums),
    )


@dataclass(frozen=True, slots=True)
class _Files:
    """What an error may say about the two files besides their column names.

    `hint`: returns how else the files could be read, so that both have the key;
    `split`: so that both have several columns. `renames`: those that are given.
    `propose_parts`: returns how a side that lacks key columns could derive them.
    """

    uris: tuple[str, str]
    heads: tuple[bytes, bytes]
    options: Options
    hint: Callable[[], str | None]
    split: Callable[[], str | None]
    renames: Mapping[str, str]
    propose_parts: ProposeParts


def _check_keys(
    keys: Sequence[str], old: Sequence[str], new: Sequence[str], files: _Files
) -> None:
    # A requested name that is present shows that the line is a header, not a record.
    quotable = _may_quote_names(old, new) and any(
        name in old and name in new for name in keys
    )
    for name in keys:
        if keys.count(name) > 1:
            raise ConfigError(f"key column {name} is named twice", help="name it once")
        for at, columns in enumerate((old, new)):
            if name not in columns:
                _refuse_other_format(files.heads[at], files.uris[at])
                twin = _find_twin(name, columns)
                # The first that applies: another spelling, another delimiter, what the
                # first lines show, the names that there are.
                respelled = _respell(keys, old, new)
                lacking = [n for n in keys if n not in columns]
                remedy = (
                    (respelled if twin else None)
                    or files.hint()
                    or files.propose_parts(at, lacking)
                    or _describe_head(at, keys, columns, files)
                )
                refusal = KeyMissing(
                    f"key column {shown(name)} is not in {('OLD', 'NEW')[at]}"
                    + (
                        f', which has "{twin}"' if twin else did_you_mean(name, columns)
                    ),
                    file=files.uris[at],
                    line=1,
                    why="rows are matched by the key, so both files must have it",
                    help=remedy
                    or files.split()
                    or respelled
                    or describe_columns(columns, quotable=quotable),
                )
                refusal.is_settled = remedy is not None
                raise refusal


def _refuse_other_format(head: bytes, uri: str) -> None:
    """Raise the error that names the format of a file that is not CSV."""
    kind = identify_kind(head)
    if kind is not None:
        raise refuse_kind(kind, uri)


def _find_twin(name: str, columns: Names) -> str | None:
    """The one column whose name differs only in case and surrounding blanks."""
    twins = [each for each in columns if _folded(each) == _folded(name)]
    return twins[0] if len(twins) == 1 else None


def _respell(keys: Sequence[str], old: Names, new: Names) -> str | None:
    """The options that pair names which differ only in case and surrounding blanks."""
    pairs = _folded_pairs(
        [name for name in old if name not in new],
        [name for name in new if name not in old],
    )
    spelled = [_find_twin(name, old) or name for name in keys]
    options = [] if spelled == list(keys) else [command_line.key_flags(spelled)]
    options += [command_line.map_flag(ours, theirs) for ours, theirs in pairs]
    if not options:
        return None
    flag = _match_names_flag(pairs, old, new)
    return (
        "for names that differ in case or surrounding spaces only: "
        + (f"{flag}, or " if flag else "")
        + " ".join(options)
    )


def _match_names_flag(pairs: Pairs, old: Names, new: Names) -> str | None:
    """The option that pairs these names; None if it would be refused."""
    if not pairs:
        return None
    for forms in MATCH_NAMES:
        if all(
            len({fold_name(name, forms) for name in side}) == len(side)
            for side in (old, new)
        ) and all(fold_name(o, forms) == fold_name(n, forms) for o, n in pairs):
            return f"--match-names {write_match_names(forms)}"
    return None


def _describe_head(
    at: int, keys: Sequence[str], columns: Names, files: _Files
) -> str | None:
    """What the first lines of a file show, if its header lacks the key."""
    side, head = ("OLD", "NEW")[at], files.heads[at]
    delimiter = files.options.delimiter_of(side.lower())
    wanted = [files.renames.get(name, name) if at else name for name in keys]
    line = find_header_line(head, delimiter, wanted)
    if line is not None:
        before = files.options.side(side.lower()).skip_lines + line - 1
        return (
            f"{join_names(map(shown, wanted))} is in line {before + 1:,} of {side}; "
            f"use --{side.lower()}-skip-lines {before}"
        )
    # A fixed-width file has no delimiter, so it was read as one column.
    fixed = measure_fixed_width(head) if len(columns) == 1 else None
    if fixed is not None and not any(each in columns[0] for each in DELIMITERS):
        lines, width = fixed
        return (
            f"{side} has 1 column, and its first {lines:,} lines have {width:,} bytes "
            f"each, as in a fixed-width file; use --{side.lower()}-fixed"
            " NAME:FROM-TO,NAME:FROM-TO, or recon init, which proposes the columns"
        )
    if found := count_data_names(columns, head, delimiter):
        return (
            f"{format_share(found, len(columns), f'column name of {side}', 'look')}"
            f" like data; if the file has no header use --{side.lower()}-no-header"
        )
    return None


def _has_keys(old: Names, new: Names, options: Options) -> bool:
    """Whether two headers have the key and all renamed columns."""
    try:
        names = pair_names(old, new, options)
    except ReconError:
        return False
    keys = set(map(names.find, options.keys))
    return keys <= set(old) and keys <= set(names.renamed)


def _find_ignored(
    names: NamePairs, options: Options, keys: Names, always: Names = ()
) -> set[str]:
    """The columns that are left out: those of `ignore`, or all but `compare_only`.

    `always`: columns that only `ignore` leaves out.
    """
    every = {*names.old, *names.renamed}
    for flag, listed in (
        ("--ignore", options.ignore),
        ("--compare-only", options.compare_only),
    ):
        for name in sorted(map(names.find, listed)):
            if name not in every:
                quoted = command_line.quoted(command_line.quote_name(name, ","))
                raise ConfigError(
                    f"{flag} {quoted}: no file has that column"
                    + did_you_mean(name, every),
                    help=describe_columns(
                        sorted(every), quotable=looks_like_header(every)
                    ),
                )
    ignored = set(map(names.find, options.ignore))
    if options.compare_only:
        kept = {*map(names.find, options.compare_only), *keys, *always}
        ignored |= every - kept
    return ignored


def _rules_by_column(
    options: Options,
    keys: Sequence[str],
    columns: Sequence[str],
    names: NamePairs,
    tested: Collection[str] = (),
) -> Mapping[str, GivenRules]:
    """The rules of each column: those of `*`, which keys do not get, then its own."""
    found: dict[str, GivenRules] = {}
    for side, rules in given_rules(options).items():
        # False sorts before True: the rules of `*` are applied first.
        for spelled in sorted(rules, key=lambda name: name != ALL_COLUMNS):
            name = names.find(spelled)
            # A column that only a filter tests is not compared, but the filter reads
            # its values by its rules.
            if name not in {*keys, *columns, *tested, ALL_COLUMNS}:
                raise ConfigError(
                    f"{RULE_FLAGS[side]} {spelled}: no compared column has that name"
                    + did_you_mean(spelled, (*keys, *columns)),
                    help=f"{RULE_FLAGS[side]} COLUMN=RULE",
                )
            own = tuple((name == ALL_COLUMNS, rule) for rule in rules[spelled])
            of_all = columns if name == ALL_COLUMNS else (name,)
            for each in of_all if own else ():
                found[each] = found.get(each, GivenRules()).with_spelled(own, side)
    return found


def given_rules(options: Options) -> dict[str, Mapping[str, tuple[str, ...]]]:
    """The rules of columns: for `both` sides, for `old`, for `new`."""
    return {"both": options.rules, "old": options.old.rules, "new": options.new.rules}


def _check_key_rules(rules: Rules, keys: Sequence[str]) -> None:
    for name in keys:
        chain = rules.get(name, NO_CHAIN)
        if chain.has_tolerance:
            raise ConfigError(
                f"--rule {name}: key columns cannot have a tolerance",
                help="use a rule without a tolerance, or another key",
            )
        if chain.has_several:
            raise ConfigError(
                f"the code table of the key column {name} has several translations for"
                " one code",
                help="list one translation for each code, or choose another key",
            )


def rules_of(
    options: Options, keys: Collection[str], names: NamePairs
) -> dict[str, Chain]:
    """The chains of `keys`, without the rules of `*`."""
    found: dict[str, GivenRules] = {}
    for side, by_column in given_rules(options).items():
        for spelled, rules in by_column.items():
            if (name := names.find(spelled)) in keys:
                found[name] = found.get(name, GivenRules()).with_rules(rules, side)
    return {name: assemble_chain(name, given) for name, given in found.items()}


def _check_gates_and_suppressions(options: Options, columns: Sequence[str]) -> None:
    """Raise ConfigError for a gate or suppression of a column that is not compared."""
    for text in options.gates:
        check_column(parse_gate(text), columns)
    for each in options.suppressions:
        if each.column is not None and each.column not in columns:
            raise ConfigError(
                f"suppression of {each.name}: no compared column is called "
                f"{each.column}{did_you_mean(each.column, columns)}",
                help="name a compared column as in OLD: no key and no ignored column",
            )


def _check_set_aside(options: Options, names: NamePairs) -> None:
    """Raise ConfigError for a setting that does not apply and names no column."""
    every = {*names.old, *names.renamed}
    for name in sorted(options.set_aside):
        if names.find(name) not in every:
            raise ConfigError(
                f"{name}: no file has that column{did_you_mean(name, every)}",
                why="a rule or a suppression of the configuration file names it",
            )


def _masks_by_column(
    options: Options, columns: Collection[str], names: NamePairs
) -> dict[str, Mask]:
    """The mask of each masked column: its own, or else that of `*`."""
    own: dict[str, Mask] = {}
    for spelled, mask in options.masks.items():
        name = names.find(spelled)
        if name not in {*columns, ALL_COLUMNS}:
            raise ConfigError(
                f"--mask {spelled}: no file has that column"
                + did_you_mean(spelled, columns),
                help=describe_columns(
                    sorted(columns), quotable=looks_like_header(columns)
                ),
            )
        # Two spellings name one column: its name in OLD, its name in NEW, or another
        # form of either (`--match-names`).
        if name in own:
            raise ConfigError(
                f"--mask {spelled}: the column is masked already", help="mask it once"
            )
        own[name] = Mask(mask)
    every = own.pop(ALL_COLUMNS, None)
    return own if every is None else dict.fromkeys(columns, every) | own


def _mask_derived(
    masks: dict[str, Mask],
    derived: Sequence[Sequence[DerivedColumns]],
    names: NamePairs,
) -> dict[str, Mask]:
    """Mask derived columns as their sources, by the mask that hides most."""
    found = dict(masks)
    for side, back in zip(derived, ({}, names.back), strict=True):
        for each in side:
            sources = {found.get(back.get(n, n)) for n in each.derivation.sources}
            for mask in [each for each in STRONGEST_FIRST if each in sources][:1]:
                for name in each.names:
                    found.setdefault(back.get(name, name), mask)
    return found


def _likely_renames(
    old: Sequence[str], new: Sequence[str], agree: Agreements
) -> tuple[tuple[str, str], ...]:
    """Pairs of columns that agree, then pairs with similar names."""
    ours, theirs = {o for o, _ in agree}, {n for _, n in agree}
    named = _match_similar_names(
        [name for name in old if name not in ours],
        [name for name in new if name not in theirs],
    )
    return (*agree, *named)


def _folded_pairs(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that are equal without case and surrounding blanks.

    Names that look like data are left out, and so is a name that another one of its
    side equals.
    """
    ours, theirs = _unique_by(_folded, old), _unique_by(_folded, new)
    return [
        (name, theirs[fold])
        for fold, name in ours.items()
        if fold in theirs and NAME_PATTERN.fullmatch(name.strip())
    ]


def _unique_by(form: Callable[[str], str], names: Sequence[str]) -> dict[str, str]:
    """Names by their form, if no other name has the same form."""
    count = Counter(map(form, names))
    return {form(name): name for name in names if count[form(name)] == 1}


def _folded(name: str) -> str:
    return name.strip().casefold()


def _match_similar_names(
    old: Sequence[str], new: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of names that differ in case and punctuation only, each name once."""
    ours, theirs = _unique_by(_fold_name, old), _unique_by(_fold_name, new)
    return [(name, theirs[bare]) for bare, name in ours.items() if bare in theirs]


def _fold_name(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _schema_mismatch(
    drift: Drift, uris: tuple[str, str], *, quotable: bool
) -> SchemaMismatch:
    folded = _folded_pairs(drift.only_in_old, drift.only_in_new)
    sides = [
        f"only in {side}: {join_names(map(shown, names))}"
        if quotable
        else f"only in {side}: {format_count(len(names), 'column')}"
        for side, names in (("OLD", drift.only_in_old), ("NEW", drift.only_in_new))
        if names
    ]
    sides += [f'"{ours}" of OLD is "{theirs}" in NEW' for ours, theirs in folded]
    likely = dict.fromkeys((*folded, *(drift.renamed if quotable else ())))
    maps = [command_line.map_flag(ours, theirs) for ours, theirs in likely]
    flag = _match_names_flag(folded, drift.only_in_old, drift.only_in_new)
    return SchemaMismatch(
        "the two files do not have the same columns; " + "; ".join(sides),
        file=" and ".join(uris),
        line=1,
        why="a column that is in one file only cannot be compared",
        help=(f"{flag} pairs names of another spelling; " if flag else "")
        + (f"if it was renamed: {' '.join(maps)}; " if maps else "")
        + "--map OLD=NEW, --ignore COLUMN, or --on-schema-drift compare"
        + ("" if quotable else "; does each file start with a header?"),
    )


def _may_quote_names(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether errors may quote names.

    Without a header, the first row would be quoted.
    """
    both = bool(set(old) & set(new))
    return both and looks_like_header(old) and looks_like_header(new)
