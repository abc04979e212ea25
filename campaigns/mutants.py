"""How many examples the property tests need to find seeded mistakes of the engine.

A mutant is one small mistake in one module: a wrong comparison, a lost case, a wrong
order. For each mutant the properties of its area run on a copy of the tree, with up to
100 examples of the profile `short` and without shrinking. The campaign records the
number of examples after which the first property fails. The last table shows how many
mutants each number of examples finds; tests/conftest.py takes its number from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import HypothesisException, StopTest

from recon_engine.formatting import format_count


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
COPIED: Final = ("recon_engine", "cli", "schemas", "tests", "campaigns")
MOST: Final = 100
COUNTS: Final = (30, 40, 60, 100)
# A mutant that so few examples find needs no further property.
SOON: Final = 30
SECONDS: Final = 1_200

UNIT: Final = "tests/unit/test_"
RECONCILE: Final = f"{UNIT}reconcile.py::test_"
# Of the whole comparison the first draws the most rules, the second the most options.
PAIRS: Final = (f"{RECONCILE}rules_of_one_side_give_the_answer_of_the_oracle",)
STRATEGIES: Final = (
    f"{RECONCILE}every_strategy_bucket_and_hash_gives_the_same_answer",
)
CUT: Final = (f"{RECONCILE}where_work_is_cut_changes_nothing",)
RULED: Final = (f"{UNIT}rule_forms.py",)
KINDS: Final = (f"{UNIT}kinds.py",)
CONSTANTS: Final = "analysis/constants"
PLANTED: Final = (f"{UNIT}constants.py",)
READ: Final = tuple(f"{UNIT}{name}.py" for name in ("gate", "structure"))
PREPARED: Final = tuple(f"{UNIT}{name}.py" for name in ("preparation", "where"))
FRAMES: Final = (f"{UNIT}file_frames.py", f"{UNIT}names.py")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """`old` occurs once in the module, and is replaced by `new`."""

    module: str
    old: str
    new: str
    tests: tuple[str, ...] = PAIRS

    @property
    def key(self) -> str:
        """Its name in a log."""
        return f"{self.module}: {self.old} -> {self.new}"

    @property
    def path(self) -> str:
        return f"recon_engine/{self.module}.py"


PAIRING: Final = "compare/pairing"
MULTISETS: Final = "compare/multisets"
NUMBERS: Final = "rules/numbers"
TEXTS: Final = "rules/texts"
SCANNER: Final = "inputs/scanner"
GRAMMAR: Final = "inputs/rfc4180"
HEADER: Final = "inputs/header"
PREPARATION: Final = "compare/preparation"
MUTANTS: Final = (
    Mutant(PAIRING, "both = check & key", "both = key", STRATEGIES),
    Mutant(PAIRING, 'filter(pl.col("rows") > 1)', 'filter(pl.col("rows") > 2)'),
    Mutant(PAIRING, "if any(_repeats(side", "if all(_repeats(side"),
    Mutant(PAIRING, "= ([*cells, *keys], cells, forms)", "= (cells, forms)"),
    Mutant(PAIRING, "= ([*cells, *keys], cells, forms)", "= ([*cells, *keys], cells)"),
    Mutant(PAIRING, "[*forms, *columns]\n", "[*forms]\n"),
    Mutant(PAIRING, "unlike |= differs", "unlike = differs"),
    Mutant(PAIRING, "places = at * height + unlike", "places = unlike"),
    Mutant(PAIRING, "texts.filter(~alike)", "texts.filter(alike)"),
    Mutant(PAIRING, "if offset and not part", "if not offset and not part", CUT),
    Mutant(PAIRING, '(cells["column"] == ordinal)', '(cells["column"] >= ordinal)'),
    Mutant(MULTISETS, "pairs = np.minimum(", "pairs = np.maximum("),
    Mutant(
        MULTISETS,
        "alike &= digests[-1] == np.maximum.reduceat(values, starts)",
        "alike &= digests[-1] == digests[-1]",
        STRATEGIES,
    ),
    Mutant(
        MULTISETS,
        "if not whole[1]:",
        "if not whole[0]:",
        (PREPARED[0],),
    ),
    Mutant(MULTISETS, "nth < np.repeat(dropped", "nth <= np.repeat(dropped"),
    Mutant(
        "compare/repeats",
        "return added_keys(waiting, names.keys)",
        "return waiting[0]",
        CUT,
    ),
    Mutant(
        "compare/partial_result", "frozenset.intersection(", "frozenset.union(", CUT
    ),
    Mutant(
        "compare/partial_result",
        'worst.sort("rows", "key", descending=[True, False])',
        'worst.sort("rows", "key", descending=[False, False])',
        CUT,
    ),
    Mutant("compare/lookup", "new + more", "new - more", (f"{UNIT}lookup.py",)),
    Mutant(
        "compare/lookup",
        "if version == self.version",
        "if version != self.version",
        (f"{UNIT}lookup.py",),
    ),
    Mutant(
        "compare/folding",
        "fails = form != form.gather",
        "fails = form < form.gather",
        PREPARED,
    ),
    Mutant(
        "compare/folding",
        ".max() for each in sums),\n    ).collect",
        ".min() for each in sums),\n    ).collect",
        PREPARED,
    ),
    Mutant(PREPARATION, "return less | (form == first)", "return less", PREPARED),
    Mutant(PREPARATION, "it.last - it.first + 1", "it.last - it.first", PREPARED),
    Mutant(
        PREPARATION, "marks != len(it.names) - 1", "marks < len(it.names) - 1", PREPARED
    ),
    Mutant(PREPARATION, "(size > whole) |", "(size >= whole) |", PREPARED),
    Mutant(PREPARATION, 'read | (form == "")', "read", PREPARED),
    Mutant(NUMBERS, 'pl.when(below & (size != "."))', "pl.when(below)", RULED),
    Mutant(NUMBERS, '.then(bare.str.strip_chars_end("0"))', ".then(bare)", RULED),
    Mutant(NUMBERS, "then(-2)", "then(-1)", RULED),
    Mutant(
        NUMBERS, "near_enough = apart <= bound", "near_enough = apart < bound", RULED
    ),
    Mutant(
        NUMBERS, 'replace_all(group, "", literal', 'replace(group, "", literal', RULED
    ),
    Mutant(NUMBERS, "str.zfill(self.places)", "str.zfill(self.places - 1)", RULED),
    Mutant(NUMBERS, 'pad_end(at.clip(0), "0")', 'pad_end(size, "0")', RULED),
    Mutant(
        NUMBERS,
        '{"below": text.str.starts_with("(") | bare.str.contains("-", literal=True)}',
        '{"below": bare.str.contains("-", literal=True)}',
        RULED,
    ),
    Mutant(
        TEXTS, ".str.to_uppercase().str.to_lowercase()", ".str.to_lowercase()", RULED
    ),
    Mutant(TEXTS, 'pl.when(bare == "")', 'pl.when(bare == "0")', RULED),
    Mutant(TEXTS, '"${1}").str.strip_chars(" ")', '"${1}")', RULED),
    Mutant(TEXTS, 'lf.str.replace_all("\\r"', 'lf.str.replace("\\r"', RULED),
    Mutant(TEXTS, "text.str.extract(APOSTROPHE_FORM), text", "text", RULED),
    Mutant(
        TEXTS,
        "return pl.when(text.str.contains(DIGITS_PATTERN))",
        'return pl.when(text != "")',
        RULED,
    ),
    Mutant("rules/dates", "year % 100 >= pivot", "year % 100 > pivot", RULED),
    Mutant("rules/dates", "back & ~no_day", "back", RULED),
    Mutant("rules/dates", ".abs() <= self.within", ".abs() < self.within", RULED),
    Mutant(
        "rules/instants",
        'digits.str.pad_end(9, "0")',
        'digits.str.pad_start(9, "0")',
        RULED,
    ),
    Mutant("rules/instants", "then(-1).otherwise(1)", "then(1).otherwise(1)", RULED),
    Mutant(
        "rules/instants",
        "set(~(known & pl.Series(once)), None)",
        "set(~known, None)",
        RULED,
    ),
    Mutant("kinds", "when(lower | upper)", "when(lower & upper)", KINDS),
    Mutant("kinds", "when(codes & zeros)", "when(zeros)", KINDS),
    Mutant(
        "kinds", "numbers & same_sign & significant", "numbers & significant", KINDS
    ),
    Mutant("kinds", "        & ~cut_short\n", "", KINDS),
    Mutant(
        "kinds",
        "same_date=common.list.len() > 0",
        "same_date=common.list.len() > 1",
        KINDS,
    ),
    Mutant("kinds", ' & (bare[0] != "")', "", KINDS),
    Mutant(
        "analysis/segments",
        "_unless_too_many(before + values)",
        "_unless_too_many(before)",
        CUT,
    ),
    Mutant(CONSTANTS, "pairs >= MIN_PAIRS", "pairs >= 1", PLANTED),
    Mutant(CONSTANTS, "2 * rows >= cells", "2 * rows > cells", PLANTED),
    Mutant(CONSTANTS, "if read == self._read", "if read", PLANTED),
    Mutant(CONSTANTS, " and o_rest == n_rest", "", PLANTED),
    Mutant(
        CONSTANTS,
        "least = POWERS[PLACES - FEW_PLACES], total - 2 * left",
        "least = POWERS[PLACES - FEW_PLACES], total",
        PLANTED,
    ),
    Mutant(CONSTANTS, "(most > FEW_PLACES) | may_be_days", "may_be_days", PLANTED),
    Mutant(CONSTANTS, "self._cells += rows\n", "self._cells += 1\n", PLANTED),
    Mutant(SCANNER, "        stray |= closing & ~_places_before(ends)\n", "", READ),
    Mutant(
        SCANNER,
        "return not (returns & ~_places_before(self.newlines)).any()",
        "return True",
        READ,
    ),
    Mutant(SCANNER, "np.negative(odd[:-1])", "np.negative(odd[1:])", READ),
    Mutant(
        SCANNER,
        "self.embedded < limits.field_lines:",
        "self.embedded <= limits.field_lines:",
        READ,
    ),
    Mutant(
        SCANNER, "odd = (odd + data.count(b'\"', end, quote + 1)) % 2", "odd = 0", READ
    ),
    Mutant(
        GRAMMAR,
        "self.line - line >= self.limits",
        "self.line - line > self.limits",
        READ,
    ),
    Mutant(GRAMMAR, "            self.line += byte == LF\n", "", READ),
    Mutant(
        "inputs/csv_reader",
        "_without_blank_end(data) if self.width > 1 else data",
        "data",
        READ,
    ),
    Mutant(
        "inputs/quarantine", "first[1:] != last[:-1]", "first[1:] == last[:-1]", READ
    ),
    Mutant(HEADER, "while self.line <= lines:", "while self.line < lines:", FRAMES),
    Mutant(HEADER, "if final or record.end < len(data) else None", "", FRAMES),
    Mutant(
        HEADER, 'number(at, f"{name}.{seen[name]}"', 'number(at, f"{name}.{at}"', FRAMES
    ),
    Mutant(
        "compare/masks",
        "len(text) > MIN_VISIBLE",
        "len(text) >= MIN_VISIBLE",
        (f"{UNIT}masks.py",),
    ),
    Mutant(
        "suppressions",
        "today > suppression.until",
        "today >= suppression.until",
        (f"{UNIT}suppressions.py",),
    ),
    Mutant(
        "suppressions",
        "active.issuperset(each.by)",
        "not active.isdisjoint(each.by)",
        (f"{UNIT}suppressions.py",),
    ),
    Mutant(
        "suppressions",
        "count > suppression.max",
        "count >= suppression.max",
        (f"{UNIT}suppressions.py",),
    ),
    Mutant(
        "compare/sampling", "first < limit", "first < limit - 1", (f"{UNIT}sample.py",)
    ),
    Mutant("compare/sampling", 'keep="first"', 'keep="last"', (f"{UNIT}sample.py",)),
)


@dataclasses.dataclass
class ExampleCounter:
    """A plugin of pytest: property tests only, and where each of them first fails.

    `found`: the examples of the profile that each failing property needed. A property
    that runs a share of the examples of the profile needs as many more of the profile.
    """

    found: dict[str, int] = dataclasses.field(default_factory=dict)
    ran: int = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if _is_property(item)]
        for item in items:
            test = _test_of(item)
            own: settings = test._hypothesis_internal_use_settings
            profile = settings.get_profile("short").max_examples
            share = min(1.0, own.max_examples / profile)
            test._hypothesis_internal_use_settings = settings(
                own,
                max_examples=max(1, round(MOST * share)),
                phases=[Phase.explicit, Phase.generate],
                database=None,
                report_multiple_bugs=False,
                derandomize=False,
            )
            inner = test.hypothesis.inner_test
            # A test with several parameters has one function.
            if not hasattr(inner, "_counted"):
                test.hypothesis.inner_test = self._count(inner, share)

    def _count(self, test: Callable[..., Any], share: float) -> Callable[..., Any]:
        @functools.wraps(test)
        def counted(*arguments: Any, **drawn: Any) -> None:
            self.ran += 1
            try:
                test(*arguments, **drawn)
            except (HypothesisException, StopTest):
                self.ran -= 1
                raise
            except BaseException:
                name = os.environ["PYTEST_CURRENT_TEST"].split(" ")[0]
                self.found.setdefault(name, math.ceil(self.ran / share))
                raise

        counted._counted = True  # type: ignore[attr-defined]
        return counted

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[Any]:
        self.ran = 0
        answer = yield
        if min(self.found.values(), default=MOST) <= SOON:
            item.session.shouldstop = "the mutant is found"
        return answer


def _is_property(item: pytest.Item) -> bool:
    return getattr(_test_of(item), "is_hypothesis_test", False)


def _test_of(item: pytest.Item) -> Any:
    return getattr(item, "obj", None)


def run_child(out: str, seed: int, tests: Sequence[str]) -> None:
    """Run properties in this process, which imports the copied tree."""
    import recon_engine

    assert Path(recon_engine.__file__).is_relative_to(Path.cwd())
    counter = ExampleCounter()
    flags = ["-q", "-p", "no:cacheprovider", "--tb=no", f"--hypothesis-seed={seed}"]
    flags += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*flags, *tests], plugins=[counter])
    Path(out).write_text(json.dumps({"code": int(code), "found": counter.found}))


def read_log(path: Path) -> dict[tuple[str, int], dict[str, int]]:
    """What was measured before; the campaign resumes where it ended."""
    lines = map(json.loads, path.read_text().splitlines())
    return {(key, seed): found for key, seed, found in lines}


def copy_tree(into: Path) -> None:
    for name in COPIED:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, into / name, ignore=skipped, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", into)


def measure(mutant: Mutant | None, tests: Sequence[str], seed: int) -> dict[str, int]:
    """The examples that each failing property needed; empty if all pass."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / "tree"
        copy_tree(tree)
        if mutant is not None:
            source = (tree / mutant.path).read_text()
            assert source.count(mutant.old) == 1, (mutant.path, mutant.old)
            (tree / mutant.path).write_text(source.replace(mutant.old, mutant.new))
        out = Path(folder) / "out.json"
        paths = [str(tree / name) for name in ("", "cli", "tests")]
        try:
            given = ["--child", str(out), "--seed", str(seed), "--tests", *tests]
            subprocess.run(
                [sys.executable, __file__, *given],
                cwd=tree,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(paths),
                    "HYPOTHESIS_PROFILE": "short",
                },
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"(more than 20 minutes)": 1}
        if not out.exists():
            return {"(the process ended)": 1}
        answer = json.loads(out.read_text())
        if answer["code"] not in {0, 1, 2} or (answer["code"] and not answer["found"]):
            # A mutant that no test file can be imported with.
            return {"(no test began)": 1}
        found: dict[str, int] = answer["found"]
        return found


def describe(mutant: Mutant) -> str:
    def one_line(text: str) -> str:
        shown = " ".join(text.split()) or "(nothing)"
        return f"`{shown if len(shown) < 70 else shown[:67] + '…'}`".replace("|", "\\|")

    return f"`{mutant.module}`: {one_line(mutant.old)} → {one_line(mutant.new)}"


def write_report(
    path: Path, known: Mapping[tuple[str, int], dict[str, int]], seeds: Sequence[int]
) -> None:
    """The mutants with the examples that they need, and how many each count finds."""
    runs = {
        mutant: [
            known[mutant.key, seed] for seed in seeds if (mutant.key, seed) in known
        ]
        for mutant in MUTANTS
    }
    measured = {mutant: each for mutant, each in runs.items() if each}
    needs = [
        min(found.values(), default=None)
        for each in measured.values()
        for found in each
    ]
    text = (
        "`make mutants` writes this page. Each row is one seeded mistake of the engine,"
        " and the number of examples after which a property test failed, once for each"
        f" seed. {len(measured)} of {len(MUTANTS)} mistakes were measured, with"
        f" {format_count(len(seeds), 'seed')}. Only the properties of the area of a"
        ' mistake run, and no other test. "none": all of them passed with'
        f" {MOST} examples, so only other tests, or none, find the mistake. If"
        " a property runs fewer examples than the profile sets, the number of the"
        " profile is counted. `campaigns/mutants.py` has the mistakes and the method."
    )
    lines = ["# Mutants", "", *textwrap.wrap(text, 88), ""]
    lines += ["| examples | runs that find the mutant | of |", "|---:|---:|---:|"]
    for count in COUNTS:
        hits = sum(1 for need in needs if need is not None and need <= count)
        lines.append(f"| {count} | {hits} | {len(needs)} |")
    lines += ["", "| mutant | examples | property |", "|---|---|---|"]
    for mutant, each in measured.items():
        shown = ", ".join(str(min(one.values(), default="none")) for one in each)
        names = {min(one, key=one.__getitem__).split("::")[-1] for one in each if one}
        # Their parameters may have bars.
        named = ", ".join(sorted(f"`{name.split('[')[0]}`" for name in names))
        lines.append(f"| {describe(mutant)} | {shown} | {named} |")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="mutants of modules with this in their name")
    parser.add_argument("--log", type=Path, help="each measure as a line of JSON")
    parser.add_argument("--child")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--tests", nargs="*")
    given = parser.parse_args()
    if given.child:
        run_child(given.child, given.seed, given.tests)
        return
    begun = time.monotonic()
    chosen = [m for m in MUTANTS if not given.only or given.only in m.module]

    known = read_log(given.log) if given.log and given.log.exists() else {}

    def run(task: tuple[int, Mutant]) -> dict[str, int]:
        seed, mutant = task
        if (mutant.key, seed) in known:
            return known[mutant.key, seed]
        found = measure(mutant, mutant.tests, seed)
        need = min(found.values(), default=None)
        print(
            f"{time.monotonic() - begun:6.0f} s  {need}  {describe(mutant)}", flush=True
        )
        if given.log:
            with given.log.open("a") as log:
                print(json.dumps([mutant.key, seed, found]), file=log)
        return found

    if not given.only:
        every = sorted({test for mutant in MUTANTS for test in mutant.tests})
        without = measure(None, every, given.seeds[0])
        assert not without, f"without a mutant these fail: {without}"
    tasks = [(seed, mutant) for seed in given.seeds for mutant in chosen]
    with ThreadPoolExecutor(given.jobs) as pool:
        answers = list(pool.map(run, tasks))
    for (seed, mutant), found in zip(tasks, answers, strict=True):
        known[mutant.key, seed] = found
    if given.report:
        write_report(given.report, known, given.seeds)


if __name__ == "__main__":
    main()
