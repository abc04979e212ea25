"""Which columns of two files belong together: names, the key, renamed columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from recon_engine.compare.key_search import Proposal, propose_keys
from recon_engine.config import OnSchemaDrift, Options
from recon_engine.drafts.columns import (
    AS_WRITTEN,
    CommonValues,
    find_common_values,
    find_renames,
    sample_matching_rows,
)
from recon_engine.drafts.decision import Decision
from recon_engine.drafts.key_choice import (
    SAME_ORDER,
    find_close,
    find_places,
    keep_best,
    matches_as_many,
    may_identify,
)
from recon_engine.drafts.name_pairs import find_name_forms, pair_by_name
from recon_engine.drafts.reading_choice import without_reading
from recon_engine.drafts.sampled_rows import hold_sample
from recon_engine.drafts.split_keys import find_split_key, list_parts, pair_parts
from recon_engine.model import SIDES
from recon_engine.name_forms import NameForm
from recon_engine.records import dataclass
from recon_engine.rules.assembly import ALL_COLUMNS
from recon_engine.suggestions import join_names, shown


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from recon_engine.config import Limits
    from recon_engine.drafts.columns import (
        Frames,
        Place,
        Sides,
        TableColumns,
    )
    from recon_engine.drafts.sampled_rows import SampledRows
    from recon_engine.drafts.split_keys import SplitKey
    from recon_engine.runtime.memory import Budget
    from recon_engine.runtime.progress import Progress


# More rows than these are not held in memory to look for a key in parts.
MOST_BYTES: Final = 1 << 28
# A key of three columns is searched for if there is none of fewer.
FEW_COLUMNS, MOST_COLUMNS = 2, 3
# The evidence of a pair of the key, until the rows that match by it are counted.
OF_KEY: Final = "key column"
NAME_WORDS: Final = {
    NameForm.TRIM: "surrounding blanks",
    NameForm.CASEFOLD: "upper and lower case",
}
KEY_WORDS: Final = {
    "lstrip0": "leading zeros",
    "trim": "surrounding blanks",
    "casefold": "upper and lower case",
    "unwrap": "the quotes of a spreadsheet",
    "strip": "punctuation and blanks",
    "decimal": "number formats",
}
# First values by which most columns are known not to identify rows.
FEW_VALUES: Final = 256
# Fewer common values of a column may be a coincidence.
MIN_COMMON: Final = 0.005
# How often columns with the most values are read, before all columns are.
FEW_TRIALS: Final = 2


@dataclass(frozen=True, slots=True)
class RowsToSearch:
    """Rows of both files from which decisions are made.

    `sources`: what is searched for a key, read by `options`; `sides`: their columns.
    `sample`: the number of rows of equal keys that is aimed at; None is all. `whole`:
    whether these are all rows of the files.
    """

    sources: tuple[object, object]
    sides: Sides
    options: Options
    sample: int | None
    whole: bool


@dataclass(frozen=True, slots=True)
class ColumnDecisions:
    """What was decided about columns.

    `options`: as for frames. `sample`: rows of equal keys. `close`: the key and those
    close to it. `key_at`: its place among the decisions.
    """

    options: Options
    sample: SampledRows
    close: tuple[Proposal, ...]
    key: Proposal
    key_at: int


class ColumnChoice:
    """Decides about columns, and keeps the decisions (`decisions`).

    `given`: names in OLD with their names in NEW that are not to be decided.
    """

    def __init__(
        self,
        progress: Progress,
        key: int,
        budget: Budget | None,
        limits: Limits,
        given: Mapping[str, str],
    ) -> None:
        self.progress = progress
        self.key = key
        self.budget = budget
        self.limits = limits
        self.decisions: list[Decision] = []
        self.given = given

    def decide(
        self,
        about: str,
        choice: str,
        evidence: str,
        alternatives: str = "",
        setting: str = "",
    ) -> None:
        decision = Decision(about, choice, evidence, alternatives, setting)
        self.decisions.append(decision)

    def choose(self, rows: RowsToSearch) -> ColumnDecisions | None:
        """The forms of names, the key with its rules, and renamed columns.

        None if no column has a value of the other file.
        """
        self.decisions.clear()
        sides = rows.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        options = replace(rows.options, match_names=forms)
        pairs, alone = pair_by_name(sides, forms, self.given)
        if forms:
            self.note_names(forms, sides, pairs)
        candidates = keep_best(find_common_values(*sides, pairs, rows.sample))
        found = self.propose(rows, options, sides, candidates, pairs)
        # Of a few rows, a column may be unique by chance.
        is_found = bool(found) and found[0].is_key and not rows.whole
        split = None if is_found else _find_split(sides, candidates, forms)
        if split is not None:
            parted, derived = _derive(options, sides, split)
            parts = list_parts(split, len(sides[split.side].names))
            named, apart = pair_by_name(derived, forms, self.given)
            both = pair_parts(named, parts)
            # All other columns of one name are ignored, so that the key is searched for
            # among the parts only.
            others = [
                derived[0].names[ours]
                for (ours, theirs), same in both.items()
                if same and (ours, theirs) not in {(p.old, p.new) for p in parts}
            ]
            proposed = self.propose(
                rows, replace(parted, ignore=tuple(others)), derived, parts, both
            )
            if proposed and (not found or matches_as_many(proposed[0], found[0])):
                found, candidates = proposed, parts
                options, sides, pairs, alone = parted, derived, both, apart
            else:
                split = None
        if not found:
            return None
        close = find_close(found)
        best = close[min(self.key, len(close) - 1)]
        if split is not None:
            self.note_split(split, sides)
        key_at = len(self.decisions)
        of_keys = _rules_of_keys(sides, candidates, pairs, rows.options)
        chains = self.decide_key(best, found, of_keys)
        places = find_places(best.columns, options, *sides, candidates)
        renames = {
            sides[0].names[ours]: sides[1].names[theirs]
            for ours, theirs in places
            if not pairs.get((ours, theirs), False)
        }
        renames |= self.note_renames(sides, renames)
        # Columns of the key, and those that parts of it are made of, are no partner of
        # others.
        used = [{pair[side] for pair in places} for side in (0, 1)]
        if split is not None:
            used[split.side].update(split.sources)
        unpaired = (
            [at for at in alone[0] if at not in used[0]],
            [at for at in alone[1] if at not in used[1]],
        )
        cells = sample_matching_rows(sides, places, chains, rows.sample)
        agreeing = (
            find_renames(sides, cells, places, chains, unpaired)
            if all(unpaired)
            else {}
        )
        for (ours, theirs), share in agreeing.items():
            renames[ours] = theirs
            self.decide(ours, f"{theirs} of NEW", share, setting="map")
        drift = self.note_drift(*sides, unpaired, renames)
        rules = {**rows.options.rules} | {
            n: chain for n, chain in zip(best.columns, chains, strict=True) if chain
        }
        options = replace(
            without_reading(options),
            keys=best.columns,
            renames=renames,
            rules=rules,
            on_schema_drift=drift,
        )
        sample = hold_sample(cells, sides, places, chains)
        return ColumnDecisions(options, sample, tuple(close), best, key_at)

    def have_other_rows(self, rows: RowsToSearch) -> bool:
        """Whether rows at the same places of both files are others, as a column shows.

        It identifies rows on both sides, has one name, and is written alike: some of
        its values are on both sides, but less than rows of one order have.
        """
        sides = rows.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        pairs, _ = pair_by_name(sides, forms, self.given)
        old, new = (side.head for side in sides)
        for (ours, theirs), same in pairs.items():
            columns = old[f"c{ours}"], new[f"c{theirs}"]
            # The first rows rule most columns out.
            if not (
                same and all(may_identify(each.head(FEW_VALUES)) for each in columns)
            ):
                continue
            if all(map(may_identify, columns)):
                shared = int(columns[0].is_in(columns[1].implode()).sum())
                most = max(map(len, columns))
                if MIN_COMMON * most <= shared < SAME_ORDER * most:
                    return True
        return False

    def sample_alike(self, rows: RowsToSearch) -> Frames | None:
        """Rows of both sides that have the same values of a column, of which most have.

        None if there is no such column.
        """
        sides = rows.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        pairs, _ = pair_by_name(sides, forms, self.given)
        # The more values a column has, the more evenly they choose the rows. Columns
        # with most of them are tried first, and mostly no others are read.
        head = sides[0].head
        values = {ours: head[f"c{ours}"].n_unique() for ours, _ in pairs}
        # Of one name first: each column without a partner may belong to each other one.
        trials = [
            {
                p: by_name
                for p, by_name in pairs.items()
                if values[p[0]] == most and by_name == named
            }
            for most in sorted({*values.values()}, reverse=True)[:FEW_TRIALS]
            for named in (True, False)
        ]
        tried = (
            find_common_values(*sides, some, rows.sample, ways=AS_WRITTEN)
            for some in trials
            if some
        )
        shared = next(filter(None, tried), None)
        if shared is None:
            shared = find_common_values(*sides, pairs, rows.sample, any_of_them=True)
        if not shared:
            return None
        best = max(shared, key=lambda each: values[each.old])
        return sample_matching_rows(
            sides, [(best.old, best.new)], [best.rules], rows.sample
        )

    def choose_named(self, near: RowsToSearch) -> ColumnDecisions | None:
        """The one column that is unique on both sides, if all columns have one name.

        Files of another order need no search then: a comparison shows whether it is a
        key.
        """
        sides = near.sides
        forms = find_name_forms(sides[0].names, sides[1].names)
        pairs, alone = pair_by_name(sides, forms)
        if any(alone) or self.given:
            return None
        old, new = (side.head for side in sides)
        found = [
            (ours, theirs)
            for ours, theirs in pairs
            if may_identify(old[f"c{ours}"]) and may_identify(new[f"c{theirs}"])
        ]
        if len(found) != 1:
            return None
        self.decisions.clear()
        if forms:
            self.note_names(forms, sides, pairs)
        name = sides[0].names[found[0][0]]
        # Without counts: `key_choice.count_key` sets them once all rows are compared.
        key = Proposal((name,), 0, 0, 0, 0.0, 0, 0)
        self.decide("key", name, "", setting="keys")
        options = replace(near.options, match_names=forms, keys=key.columns)
        sample = hold_sample((old, new), sides, found, [()])
        return ColumnDecisions(options, sample, (key,), key, len(self.decisions) - 1)

    def note_names(
        self, forms: tuple[NameForm, ...], sides: Sides, pairs: Mapping[Place, bool]
    ) -> None:
        """The decision that names are equal in a form."""
        what = " and ".join(NAME_WORDS[form] for form in forms)
        equal = (
            f"{shown(sides[0].names[ours])} = {shown(sides[1].names[theirs])}"
            for (ours, theirs), same in pairs.items()
            if same and sides[0].names[ours] != sides[1].names[theirs]
        )
        evidence = f"{what} ignored: {join_names(equal, 5)}"
        self.decide("names", ",".join(forms), evidence, setting="match_names")

    def note_renames(self, sides: Sides, of_key: Mapping[str, str]) -> dict[str, str]:
        """The decisions about renamed columns of the key, and those that are given."""
        old, new = (side.names for side in sides)
        given = {
            ours: theirs
            for ours, theirs in self.given.items()
            if ours in old and theirs in new and ours not in of_key
        }
        for pairs, evidence in ((of_key, OF_KEY), (given, "given by --map")):
            for ours, theirs in pairs.items():
                self.decide(ours, f"{theirs} of NEW", evidence, setting="map")
        return given

    def propose(
        self,
        rows: RowsToSearch,
        options: Options,
        sides: Sides,
        candidates: Sequence[CommonValues],
        pairs: Mapping[Place, bool],
    ) -> list[Proposal]:
        """Keys, best first; those that match more rows are better."""
        old, new = sides
        renames = {
            old.names[each.old]: new.names[each.new]
            for each in candidates
            if not pairs[each.old, each.new]
        }
        if not renames and not any(pairs.values()):
            return []
        rules = _rules_of_keys(sides, candidates, pairs, rows.options)
        found: list[Proposal] = []
        for most in (FEW_COLUMNS, MOST_COLUMNS):
            found = propose_keys(
                *rows.sources,
                replace(options, renames=renames, rules=rules),
                self.progress,
                most_columns=most,
                # Files are read for each set of columns, rows in memory are not.
                exact=rows.sample is None,
                # Other rows of the files may have common values.
                keys_only=True,
                budget=self.budget,
                limits=self.limits,
            )
            if any(each.is_key for each in found):
                break
        return found

    def note_split(self, split: SplitKey, sides: Sides) -> None:
        """The decision that one side derives its key."""
        names = join_names(sides[1 - split.side].names[at] for at in split.columns)
        self.decide(
            f"{SIDES[split.side].upper()} key parts",
            ", ".join(split.texts),
            f"{split.matched:,} sampled rows then have the {names} of"
            f" {SIDES[1 - split.side].upper()}",
            setting="derive",
        )

    def decide_key(
        self,
        best: Proposal,
        found: Sequence[Proposal],
        rules: Mapping[str, tuple[str, ...]],
    ) -> list[tuple[str, ...]]:
        """The rules of each key column."""
        chains = [rules.get(name, ()) for name in best.columns]
        spelled = [
            (f"in {name} " if len(chains) > 1 else "") + _describe_rules(chain)
            for name, chain in zip(best.columns, chains, strict=True)
            if chain
        ]
        others = (
            f"{' with '.join(each.columns)} {each.share}"
            for each in found
            if each is not best
        )
        self.decide(
            "key",
            ", ".join(best.columns),
            f"if {' and '.join(spelled)}" if spelled else "",
            ", ".join([*others][:3]),
            "keys",
        )
        return chains

    def note_drift(
        self,
        old: TableColumns,
        new: TableColumns,
        unpaired: tuple[Sequence[int], Sequence[int]],
        renames: Mapping[str, str],
    ) -> OnSchemaDrift:
        """Whether columns are left without a partner, which are then not compared."""
        only_old = [
            n for n in (old.names[at] for at in unpaired[0]) if n not in renames
        ]
        taken = set(renames.values())
        only_new = [n for n in (new.names[at] for at in unpaired[1]) if n not in taken]
        both = (("OLD", only_old, only_new), ("NEW", only_new, only_old))
        for side, names, others in both:
            if not names:
                continue
            listed = join_names(names, 5)
            if others:
                evidence = (
                    f"no column of the other file agrees: {listed}; if one is its"
                    " partner, add --map OLD=NEW"
                )
                instead = "--map OLD=NEW"
            else:
                evidence = f"every column of the other file has a partner: not {listed}"
                instead = "--ignore COL"
            self.decide(
                f"only in {side}", "not compared", evidence, instead, "on_schema_drift"
            )
        return OnSchemaDrift.COMPARE if only_old or only_new else OnSchemaDrift.REFUSE


def _describe_rules(chain: Sequence[str]) -> str:
    """What rules of a key ignore: `leading zeros are ignored (lstrip0)`."""
    words = (KEY_WORDS.get(rule.partition("(")[0], rule) for rule in chain)
    return f"{', '.join(words)} are ignored ({', '.join(chain)})"


def _rules_of_keys(
    sides: Sides,
    candidates: Sequence[CommonValues],
    pairs: Mapping[Place, bool],
    options: Options,
) -> dict[str, tuple[str, ...]]:
    """The rules of columns that may be of the key, by their names in OLD.

    Padding is in each column, whatever else differs.
    """
    names, padding = sides[0].names, tuple(options.rules.get(ALL_COLUMNS, ()))
    rules = {names[ours]: padding for (ours, _), same in pairs.items() if same}
    for each in candidates:
        more = tuple(rule for rule in padding if rule not in each.rules)
        rules[names[each.old]] = (*more, *each.rules)
    return {
        name: chain for name, chain in rules.items() if chain and name != ALL_COLUMNS
    }


def _find_split(
    sides: Sides, candidates: Sequence[CommonValues], forms: tuple[NameForm, ...]
) -> SplitKey | None:
    """The key that one side has in one column and the other in several.

    Of large files, it is searched for only in rows at the same places of both.
    """
    size = sum(side.table.rows * side.table.row_bytes for side in sides)
    if size > MOST_BYTES:
        return None
    old, new = (side.read_rows() for side in sides)
    paired = {each.old for each in candidates}, {each.new for each in candidates}
    return find_split_key(sides, (old, new), paired, forms)


def _derive(options: Options, sides: Sides, split: SplitKey) -> tuple[Options, Sides]:
    """Options and columns with the parts of a key."""
    at = split.side
    derived = list(sides)
    for text in split.texts:
        derived[at] = derived[at].with_derived(text)
    own = replace(options.side(SIDES[at]), derive=split.texts)
    changed = replace(options, old=own) if at == 0 else replace(options, new=own)
    return changed, (derived[0], derived[1])
