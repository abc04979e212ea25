"""Peers side by side on the same files, in turns.

`make bench`, or

    python benchmarks/bench.py --rows 2000000 --runs 5

Each peer is a process of its own in an environment of its own (made under
`.venv-bench/`, once). Wall, CPU and peak memory are the operating system's account of
the whole process, imports included; medians over the runs; each answer is compared with
what the generator put in. Writes `results.json` and the table of `README.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from generate import KEY


HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parent / ".venv-bench"
OURS: Final = "recon-engine"
PACKAGES: Final = {
    OURS: None,
    "duckdb": "duckdb",
    "polars-load": "polars",
    "polars-join": "polars",
    "diffly": "diffly",
    "datacompy": "datacompy",
    "koala-diff": "koala-diff",
    "fastrecon": "fastrecon",
    "datadiffer": "datadiffer",
    "csv-diff": "csv-diff",
}
START, END = "<!-- table -->", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds, bytes, and what it counted (None: it failed)."""

    wall: float
    cpu: float
    rss: int
    counts: dict[str, int] | None
    error: str | None = None


def main() -> None:
    """Make the files, run the peers in turns, write the results."""
    given = arguments()
    folder = Path(given.folder)
    expected = made(folder, given)
    names = given.peers.split(",") if given.peers else list(PACKAGES)
    pythons = {name: environment(name) for name in names}
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(given.runs + 1):
        for name in names:
            if runs[name] and runs[name][-1].counts is None:
                continue
            done = run(pythons[name], name, folder, given.timeout)
            # The first turn warms the page cache; it counts only where it is the last.
            if turn or done.counts is None:
                runs[name].append(done)
            print(f"{name:14} {done.wall:7.2f} s {done.rss >> 20:6,} MiB", flush=True)
    versions = {name: version(pythons[name], name) for name in names}
    facts = {
        "machine": f"{os.cpu_count()} x {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "arguments": vars(given) | {"folder": ""},
        "bytes": sum(path.stat().st_size for path in folder.glob("*.csv")),
        "expected": expected,
        "versions": versions,
        "runs": {
            name: [asdict(each) for each in found] for name, found in runs.items()
        },
    }
    table = rendered(runs, versions, expected)
    print(table)
    if given.record:
        (HERE / "results.json").write_text(json.dumps(facts, indent=1) + "\n")
        readme = HERE / "README.md"
        pattern = re.compile(f"{START}.*{END}", re.DOTALL)
        text = pattern.sub(lambda _: f"{START}\n{table}\n{END}", readme.read_text())
        readme.write_text(text)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="/tmp/recon-bench")  # noqa: S108
    parser.add_argument("--shape", default="beneficiary")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--changed", type=float, default=0.01)
    parser.add_argument("--quoted", action="store_true")
    parser.add_argument("--in-order", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=180.0)
    parser.add_argument("--peers", default="")
    parser.add_argument("--record", action="store_true", help="write README.md")
    return parser.parse_args()


def made(folder: Path, given: argparse.Namespace) -> dict[str, int]:
    """The pair, made by another process: a child's peak begins with its parent's."""
    command = [sys.executable, str(HERE / "generate.py"), str(folder)]
    command += ["--shape", given.shape, "--rows", str(given.rows)]
    command += ["--changed", str(given.changed)]
    command += ["--quoted"] * given.quoted + ["--in-order"] * given.in_order
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    counts: dict[str, int] = json.loads((folder / "expected.json").read_text())
    return counts


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
        install = [sys.executable, "-m", "uv", "pip", "install", "-q"]
        needs = [package] if package != "diffly" else [package, "polars>=2.1"]
        subprocess.run([*install, "--python", python, *needs], check=True)
        (folder / "ready").touch()
    return python


def version(python: str, name: str) -> str:
    """The installed version of a peer."""
    code = (
        f"import importlib.metadata as m; print(m.version({PACKAGES[name] or OURS!r}))"
    )
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def run(python: str, name: str, folder: Path, timeout: float) -> Run:
    """One process from start to end, by the operating system's account."""
    files = [str(folder / f"claims_{side}.csv") for side in ("old", "NEWSYSTEM")]
    command = [python, str(HERE / "peers.py"), name, *files, KEY]
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as p:
        killer = subprocess.Popen(
            ["/bin/sh", "-c", f"sleep {timeout}; kill -9 {p.pid}"],
            start_new_session=True,
        )
        assert p.stdout is not None
        said = p.stdout.read().decode()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        os.killpg(killer.pid, 9)
        killer.wait()
    wall, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
    if p.returncode:
        return Run(wall, cpu, used.ru_maxrss << 10, None, f"exit {p.returncode}")
    return Run(wall, cpu, used.ru_maxrss << 10, json.loads(said.splitlines()[-1]))


def rendered(
    runs: dict[str, list[Run]], versions: dict[str, str], expected: dict[str, int]
) -> str:
    """The medians as a Markdown table, ratios to us, wrong answers named."""
    lines = [
        "| | wall s | CPU s | peak MiB | our wall / its | our peak / its | answer |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    ours = runs[OURS]
    for name, found in runs.items():
        if found[-1].counts is None:
            why = f"did not finish ({found[-1].error})"
            lines.append(f"| {name} {versions[name]} | | | | | | {why} |")
            continue
        wall, cpu, rss = (middle(found, what) for what in ("wall", "cpu", "rss"))
        ratio, peak = middle(ours, "wall") / wall, middle(ours, "rss") / rss
        label = (
            f"**{name} {versions[name]}**"
            if name == OURS
            else f"{name} {versions[name]}"
        )
        answer = judged(found[-1].counts, expected)
        lines.append(
            f"| {label} | {wall:.2f} | {cpu:.2f} | {rss / 2**20:,.0f} | {ratio:.2f} |"
            f" {peak:.2f} | {answer} |"
        )
    return "\n".join(lines)


def middle(found: list[Run], what: str) -> float:
    """The median of one figure."""
    return float(statistics.median(getattr(each, what) for each in found))


def judged(counts: dict[str, int], expected: dict[str, int]) -> str:
    """`right`, or what is wrong with an answer."""
    if not counts:
        return "(loads only)"
    wrong = [
        f"{name} {count:,} for {expected[name]:,}"
        for name, count in counts.items()
        if count != expected[name]
    ]
    return "wrong: " + ", ".join(wrong) if wrong else "right"


if __name__ == "__main__":
    main()
