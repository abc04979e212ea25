"""Peers side by side on the same files, growth, memory and the whole pipeline.

    python benchmarks/bench.py [SUITE ...] [--record]

Suites: `peers`, `awkward` (who counts small awkward pairs right), `changed` (rates of
change), `quoted`, `rows`, `columns`, `small` (beside the start of Polars), `cores` (one
core, two and so on), `commands` (`keys`, `explain`, `init` beside `diff`), `systems`
(`init` and `diff` of files in which every row differs in spelling), `settings` (what an
option or a rule costs), `memory` (peaks against budgets), `pipeline` (against a bare
load), `gate` (the CSV reader on one core, beside Polars); all of them by default. Each
peer is a separate process in a separate environment (created once under
`.venv-bench/`). Wall, CPU and peak memory are the operating system's figures for whole
processes, imports included; they are medians over turns. Each answer is compared with
what the generator wrote. `--record` writes `results.json`, the tables of `README.md`
and the charts.
"""

from __future__ import annotations

import argparse
import compileall
import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from awkward import KEY as AWKWARD_KEY
from awkward import PAIRS as AWKWARD
from gate import WORK, WRITTEN
from generate import KEY, SHAPES
from measure import Figure, in_turns, run
from render import write

from recon_engine.inputs.native.binding import load_library


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Results = dict[str, Any]

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parent / ".venv-bench"
OURS: Final = "recon-engine"
PACKAGES: Final = {
    OURS: None,
    "kernel-scan": None,
    "duckdb": "duckdb",
    "polars-import": "polars",
    "polars-load": "polars",
    "polars-join": "polars",
    "diffly": "diffly",
    "koala-diff": "koala-diff",
    "fastrecon": "fastrecon",
    "datadiffer": "datadiffer",
    "datacompy": "datacompy",
    "csv-diff": "csv-diff",
    "compara": "compara",
}
START: Final = "polars-import"
SCAN: Final = "kernel-scan"
PLAIN: Final = "(no option)"
SUMMED: Final = "C08_AMT"
# What is given to `diff`, on the pair of the targets. By `generate`, C08_AMT is an
# amount, C09_DT a day, C10_CD a code, C07_FLAG 1 or 2.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "`sha256`": {"sha256": True},
    "`--ignore` of a column": {"ignore": "C31_FLAG"},
    "`--compare-only` of two columns": {"compare_only": ["C08_AMT", "C10_CD"]},
    "`--mask` of a column": {"masks": {"C10_CD": "redact"}},
    "`--gate`": {"gates": "missing_rate<=5%"},
    "`--quote none`": {"quote": "none"},
    "`--rule C08_AMT=decimal`": {"rules": {"C08_AMT": "decimal"}},
    "`--rule *=trim`": {"rules": {"*": "trim"}},
    "`--rule C09_DT=date`": {"rules": {"C09_DT": "date(%Y%m%d)"}},
    "`--old-rule C08_AMT=decimal`": {"old_rules": {"C08_AMT": "decimal"}},
    "`--rule` of the key": {"rules": {KEY: "trim"}},
    "`--where`": {"where": "C07_FLAG=1"},
    "`--derive`": {"derive": "MONTH=slice(C09_DT,1,6)"},
    "`--fold --sum`": {"fold": True, "sum": "C08_AMT"},
}
# How the rows of both files are ordered.
SYSTEMS: Final = {"one order": {"in_order": True}, "another order": {}}
# Those that answer, and not only load.
PARTS: Final = {START, SCAN, "polars-load"}
ANSWERING: Final = tuple(name for name in PACKAGES if name not in PARTS)
RIVALS: Final = (OURS, "compara", "duckdb", "polars-load")


@dataclass(frozen=True, slots=True)
class Bench:
    """Where files are made, and how often things run."""

    folder: Path
    rows: int
    runs: int
    timeout: float

    def peers(self) -> Results:
        """Everyone, on the pair of the targets."""
        with self.pair() as pair:
            return self.side_by_side(
                pair, tuple(name for name in PACKAGES if name not in {START, SCAN})
            )

    def changed(self) -> Results:
        """Growth with the share of rows that differ."""
        return self.series(
            {f"{share:.1%}": {"changed": share} for share in (0.0, 0.01, 0.05, 0.2)}
        )

    def quoted(self) -> Results:
        """Every field quoted; quotes only where they must be; rows in order."""
        return self.series(
            {
                "every field quoted": {"quoted": True},
                "rows in one order": {"in_order": True},
            }
        )

    def rows_(self) -> Results:
        """Growth with rows, up to 4 times those of the targets."""
        sizes = (self.rows // 2, self.rows, 2 * self.rows, 4 * self.rows)
        return self.series(
            {f"{rows:,}": {"rows": rows} for rows in sizes},
            names=(OURS, "compara"),
            runs=3,
        )

    def targets(self) -> Results:
        """The pairs that have a target, beside what a comparison cannot do without."""
        few, many = self.rows // 4, 4 * self.rows
        return self.series(
            {
                f"{few:,} rows of 8 columns": {"rows": few, "shape": "narrow"},
                f"{few:,} rows of 32 columns": {"rows": few},
                f"{self.rows:,} rows of 32 columns": {},
                "20% changed": {"changed": 0.2},
                "every field quoted": {"quoted": True},
                f"{many:,} rows of 32 columns": {"rows": many},
            },
            names=(OURS, "compara", START, SCAN),
        )

    def small(self) -> Results:
        """A pair so small that the start decides, beside the import of Polars."""
        rows = self.rows // 200
        return self.series(
            {f"{rows:,} rows of 8 columns": {"rows": rows, "shape": "narrow"}},
            names=(OURS, "compara", START),
        )

    def cores(self) -> Results:
        """The same pairs on one core, on two, and so on."""
        numbers = [n for n in (1, 2, 4, 8) if n <= (os.cpu_count() or 1)]
        found = {}
        for rows in (self.rows, 4 * self.rows):
            with self.pair(rows=rows) as pair:
                commands = {
                    f"{n} cores": ["taskset", "-c", f"0-{n - 1}", *pair.command(OURS)]
                    for n in numbers
                }
                figures = in_turns(commands, runs=self.runs, timeout=self.timeout)
                found[f"{rows:,}"] = pair.judged(figures)
        return found

    def commands(self) -> Results:
        """Other commands beside `diff`, as programs, on the pair of the targets."""
        recon = str(Path(sys.executable).with_name("recon"))
        with self.pair() as pair:
            key = ["--key", KEY]
            draft = ["--config", str(pair.folder / "recon.toml"), "--yes", "--force"]
            asked = {
                "`recon diff`": ["diff", *pair.files, *key],
                "`recon keys`": ["keys", *pair.files],
                "`recon explain`": ["explain", *pair.files, "0" * 16, *key],
                "`recon init`": ["init", *pair.files, *draft],
            }
            start = [environment(OURS), str(HERE / "peers.py"), "command", recon]
            commands = {name: [*start, *words] for name, words in asked.items()}
            return pair.judged(in_turns(commands, runs=3, timeout=self.timeout))

    def systems(self) -> Results:
        """`init` on two files in which every row differs in spelling.

        Beside it a parse of both by Polars, and `diff` with the drafted file.
        """
        recon = str(Path(sys.executable).with_name("recon"))
        found = {}
        for label, shape in SYSTEMS.items():
            print(label, flush=True)
            with self.pair(systems=True, rows=3 * self.rows // 20, **shape) as pair:
                config = ["--config", str(pair.folder / "recon.toml")]
                start = [environment(OURS), str(HERE / "peers.py"), "command", recon]
                load = [environment("polars-load"), str(HERE / "peers.py")]
                commands = {
                    "parse by Polars": [
                        *load, "polars-load-systems", *pair.files, "CLM_ID",
                    ],
                    "`recon init`": [
                        *start, "init", *pair.files, *config, "--yes", "--force",
                    ],
                    "`recon diff`": [*start, "diff", *pair.files, *config],
                }  # fmt: skip
                found[label] = pair.judged(
                    in_turns(commands, runs=self.runs, timeout=self.timeout)
                )
        return found

    def settings(self) -> Results:
        """What an option or a rule costs, beside the plain run on the same rows."""
        with self.pair() as pair:
            commands = {PLAIN: pair.command(OURS)} | {
                name: [*pair.command(OURS), "", json.dumps(options)]
                for name, options in SETTINGS.items()
            }
            for name, (write, options) in REWRITTEN.items():
                files = [rewritten(Path(file), write) for file in pair.files]
                peer = [environment(OURS), str(HERE / "peers.py"), OURS]
                commands[name] = [*peer, *files, KEY, "", json.dumps(options)]
            return pair.judged(in_turns(commands, runs=3, timeout=self.timeout))

    def columns(self) -> Results:
        """Growth with columns, on a quarter of the rows."""
        return self.series(
            {
                f"{width} columns": {"shape": shape, "rows": self.rows // 4}
                for shape, width in SHAPES.items()
            }
        )

    def awkward(self) -> Results:
        """Which pairs each peer counts wrong; a count that it does not print is not."""
        folder = self.folder / "awkward"
        folder.mkdir(parents=True, exist_ok=True)
        wrong: dict[str, list[str]] = {name: [] for name in ANSWERING}
        for pair in AWKWARD:
            files = pair.write(folder)
            for name in ANSWERING:
                script = str(HERE / "peers.py")
                command = [environment(name), script, name, *files, AWKWARD_KEY]
                said = run(command, self.timeout).said
                if not said or not said.items() <= pair.expected.items():
                    wrong[name].append(pair.what)
        for name, pairs in wrong.items():
            print(f"  {name:28} {len(AWKWARD) - len(pairs)} of {len(AWKWARD)} right")
        return {"of": len(AWKWARD), "wrong": wrong}

    def memory(self) -> Results:
        """Peaks against budgets, on sizes that fit and sizes that do not."""
        many = 5 * self.rows
        return {
            f"{rows:,} rows, {share:.0%} changed": self.budgets(
                rows=rows, changed=share
            )
            for rows in (self.rows // 4, self.rows, 4 * self.rows)
            for share in (0.01, 0.2)
        } | {
            f"{many:,} rows of one key": self.budgets(rows=many, repeated="key"),
            f"{many:,} equal rows": self.budgets(rows=many, repeated="row"),
        }

    def budgets(self, **shape: Any) -> Results:
        """One pair under several budgets."""
        with self.pair(**shape) as pair:
            commands = {
                f"{budget} MiB": [*pair.command(OURS), f"{budget}M"]
                for budget in (400, 600, 1000, 2000)
            }
            return pair.judged(in_turns(commands, runs=1, timeout=self.timeout))

    def pipeline(self) -> Results:
        """The ten steps against loading both files into Postgres and nothing else."""
        with self.pair() as pair:
            script = str(HERE / "stage.py")
            commands = {
                how: [sys.executable, script, how, *pair.files, KEY]
                for how in ("bare", "adbc", "copy")
            }
            figures = in_turns(commands, runs=3, timeout=10 * self.timeout)
        return {"figures": {name: each.to_json() for name, each in figures.items()}}

    def gate(self) -> Results:
        """The CSV reader on one core, beside Polars' parse, on four forms of a file."""
        script = str(HERE / "gate.py")
        with self.pair(rows=self.rows // 2, in_order=True) as pair:
            return {how: self.gated(script, how, pair) for how in WRITTEN}

    def gated(self, script: str, how: str, pair: Pair) -> Results:
        """One way to write the file of a pair."""
        file = str(pair.folder / "gate.csv")
        make = [sys.executable, script, how, file, "--make", pair.files[0]]
        subprocess.run(make, check=True)
        commands = {name: [sys.executable, script, name, file] for name in WORK}
        print(how, flush=True)
        figures = in_turns(commands, runs=3, timeout=self.timeout)
        return {name: each.to_json() for name, each in figures.items()}

    def series(
        self,
        shapes: dict[str, dict[str, Any]],
        *,
        names: tuple[str, ...] = RIVALS,
        runs: int | None = None,
    ) -> Results:
        """Some peers on one pair after the other."""
        found = {}
        for label, shape in shapes.items():
            print(label, flush=True)
            with self.pair(**shape) as pair:
                found[label] = self.side_by_side(pair, names, runs)
        return found

    def side_by_side(
        self, pair: Pair, names: tuple[str, ...], runs: int | None = None
    ) -> Results:
        """Peers in turns on one pair."""
        commands = {name: pair.command(name) for name in names}
        return pair.judged(
            in_turns(commands, runs=runs or self.runs, timeout=self.timeout)
        )

    def pair(self, **shape: Any) -> Pair:
        """Make a pair, in another process: a child's peak begins with its parent's.

        It is kept for other suites: `main` deletes all at the end.
        """
        shape = {"rows": self.rows, "changed": 0.01, **shape}
        folder = self.folder / "-".join(f"{n}={v}" for n, v in sorted(shape.items()))
        if (folder / "expected.json").exists():
            return Pair(folder)
        command = [sys.executable, str(HERE / "generate.py"), str(folder)]
        for name, value in shape.items():
            flag = f"--{name.replace('_', '-')}"
            command += [flag] if value is True else [flag, str(value)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Pair(folder)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files and what a right answer counts in them."""

    folder: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the files to other suites."""

    @property
    def files(self) -> list[str]:
        """OLD and NEW."""
        return [
            str(self.folder / f"claims_{side}.csv") for side in ("old", "NEWSYSTEM")
        ]

    def command(self, name: str) -> list[str]:
        """How a peer is run on it."""
        return [environment(name), str(HERE / "peers.py"), name, *self.files, KEY]

    def judged(self, figures: dict[str, Figure]) -> Results:
        """The figures, with each answer compared to the right one."""
        expected = json.loads((self.folder / "expected.json").read_text())
        return {
            "bytes": sum(Path(path).stat().st_size for path in self.files),
            "expected": expected,
            "figures": {
                name: figure.to_json() | {"answer": verdict(figure, expected)}
                for name, figure in figures.items()
            },
        }


def rewritten(file: Path, write: Callable[[bytes], bytes]) -> str:
    """A file whose bytes are written in another way, beside it."""
    other = file.with_name(f"{write.__name__}_{file.name}")
    if not other.exists():
        other.write_bytes(write(file.read_bytes()))
    return str(other)


def preamble(data: bytes) -> bytes:
    """With a line before the header."""
    return b"# made for benchmarks\n" + data


def trailing(data: bytes) -> bytes:
    """With a delimiter at the end of each line."""
    return data.replace(b"\n", b",\n")


def trailer(data: bytes) -> bytes:
    """With a record behind the last row."""
    return data + b"TRL,x\n"


def total(data: bytes) -> bytes:
    """With a record behind the last row that has the sum of a column."""
    rows = csv.reader(io.StringIO(data.decode()))
    at = next(rows).index(SUMMED)
    return data + f"TRL,{sum(Decimal(row[at]) for row in rows)}\n".encode()


def long_delimiter(data: bytes) -> bytes:
    """With a delimiter of two characters."""
    return data.replace(b",", b"||")


def semicolons(data: bytes) -> bytes:
    """With another delimiter."""
    return data.replace(b",", b";")


def verdict(figure: Figure, expected: dict[str, int]) -> str:
    """`right`, or what is wrong with an answer."""
    if figure.said is None:
        return f"did not finish: {figure.error}"
    if not figure.said:
        return "(loads only)"
    wrong = [
        f"{name} {count:,} for {expected[name]:,}"
        for name, count in figure.said.items()
        if count != expected[name]
    ]
    return "wrong: " + ", ".join(wrong) if wrong else "right"


def environment(name: str) -> str:
    """The interpreter of a peer, installed on first use."""
    package = PACKAGES[name]
    if package is None:
        return sys.executable
    folder = ENVIRONMENTS / package
    python = str(folder / "bin" / "python")
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        # uv resolves in seconds where pip tries old versions for minutes.
        install = [sys.executable, "-m", "uv", "pip", "install", "--compile-bytecode"]
        needs = [package] if package != "diffly" else [package, "polars>=2.1"]
        subprocess.run([*install, "-q", "--python", python, *needs], check=True)
        (folder / "ready").touch()
    return python


def versions() -> Iterator[tuple[str, str]]:
    """The installed version of each peer that has an environment."""
    asks = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    for name, package in PACKAGES.items():
        if package is None or (ENVIRONMENTS / package / "ready").exists():
            command = [environment(name), "-c", asks, package or OURS]
            yield name, subprocess.check_output(command, text=True).strip()


REWRITTEN: Final[dict[str, tuple[Callable[[bytes], bytes], dict[str, Any]]]] = {
    "`--skip-lines`": (preamble, {"skip_lines": 1}),
    "`--comment-prefix`": (preamble, {"comment_prefix": "#"}),
    "`--trailing-delimiter`": (trailing, {"trailing_delimiter": True}),
    "`--trailer`": (trailer, {"trailer": "TRL"}),
    "`--trailer-sum`": (total, {"trailer": "TRL", "trailer_sum": f"2={SUMMED}"}),
    "`--delimiter ;`": (semicolons, {"delimiter": ";"}),
    "`--delimiter` of two characters": (long_delimiter, {"delimiter": "||"}),
}
SUITES: Final[dict[str, Callable[[Bench], Results]]] = {
    "peers": Bench.peers,
    "awkward": Bench.awkward,
    "changed": Bench.changed,
    "quoted": Bench.quoted,
    "rows": Bench.rows_,
    "columns": Bench.columns,
    "small": Bench.small,
    "cores": Bench.cores,
    "targets": Bench.targets,
    "commands": Bench.commands,
    "systems": Bench.systems,
    "settings": Bench.settings,
    "memory": Bench.memory,
    "pipeline": Bench.pipeline,
    "gate": Bench.gate,
}


def main() -> None:
    """Run the suites that are named, print what they found, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", default=list(SUITES))
    parser.add_argument("--folder", type=Path, default=Path("/tmp/recon-bench"))  # noqa: S108
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=180.0)
    parser.add_argument("--record", action="store_true", help="write README.md")
    given = parser.parse_args()
    bench = Bench(given.folder, given.rows, given.runs, given.timeout)
    results = HERE / "results.json"
    kept = json.loads(results.read_text()) if results.exists() else {}
    # As an installer leaves it; environments of peers are compiled too.
    compileall.compile_dir(HERE.parent / "recon_engine", quiet=1)
    for name in given.suites:
        print(f"{name}:", flush=True)
        kept[name] = SUITES[name](bench)
    kept["kernel"] = "native" if load_library() else "numpy"
    kept["machine"] = f"{os.cpu_count()} x {platform.machine()}, {platform.system()}"
    kept["python"] = platform.python_version()
    kept["versions"] = dict(versions())
    shutil.rmtree(given.folder, ignore_errors=True)
    if given.record:
        results.write_text(json.dumps(kept, indent=1) + "\n")
        write(kept, HERE)


if __name__ == "__main__":
    main()
