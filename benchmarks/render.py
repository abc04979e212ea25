"""What was measured as tables of `README.md` and charts beside it.

    python benchmarks/render.py

writes both anew from `results.json`.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Results = dict[str, Any]

OURS: Final = "recon-engine"
MEBI: Final = 1 << 20
# The table of the README of the project, and whom it has.
SELECTED: Final = "selected"
BEST_KNOWN: Final = (
    OURS, "compara", "polars-join", "duckdb", "diffly", "datacompy", "csv-diff",
)  # fmt: skip
MARK: Final = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


# Of our wall time to that of compara.
TARGETS: Final = {
    "500,000 rows of 8 columns": 2.0,
    "500,000 rows of 32 columns": 1.6,
    "2,000,000 rows of 32 columns": 0.75,
    "20% changed": 1.2,
    "every field quoted": 0.8,
    "8,000,000 rows of 32 columns": 0.5,
}
HEAD: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}"
  font-family="system-ui, sans-serif" font-size="13">
<style>
  text {{ fill: #57606a }} .ours {{ fill: #0969da }} .peer {{ fill: #afb8c1 }}
  .name {{ fill: #24292f; font-weight: 600 }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #9da7b1 }} .ours {{ fill: #4493f8 }} .peer {{ fill: #565d66 }}
    .name {{ fill: #e6edf3 }}
  }}
</style>"""


def write(results: Results, folder: Path) -> None:
    """Fill each marked place of both READMEs, and draw the chart."""

    def filled(found: re.Match[str]) -> str:
        start, name, end = found.groups()
        needed = ("peers", "awkward") if name == SELECTED else (name,)
        if not {"kernel", *needed} <= results.keys():
            return found[0]
        return f"{start}{TABLES[name](results)}\n{end}"

    for readme in (folder / "README.md", folder.parent / "README.md"):
        readme.write_text(MARK.sub(filled, readme.read_text()))
    if "peers" in results:
        (folder / "peers.svg").write_text(chart(results))


def peers(results: Results) -> str:
    """Everyone on one pair, ours first, then by time."""
    figures, versions = results["peers"]["figures"], results["versions"]
    ours = figures[OURS]
    lines = [
        "| | wall s | CPU s | peak MiB | our wall / its | our peak / its | answer |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, each in _ordered(figures):
        label = f"{name} {versions[name]}"
        label = f"**{label}**" if name == OURS else label
        if each["said"] is None:
            lines.append(f"| {label} | | | | | | {each['answer']} |")
            continue
        lines.append(
            f"| {label} | {each['wall']:.2f} | {each['cpu']:.2f}"
            f" | {each['rss'] / MEBI:,.0f} | {ours['wall'] / each['wall']:.2f}"
            f" | {ours['rss'] / each['rss']:.2f} | {each['answer']} |"
        )
    return "\n".join(lines)


def selected(results: Results) -> str:
    """Some peers on one pair, with how often each is right."""
    figures, versions = results["peers"]["figures"], results["versions"]
    of, wrong = results["awkward"]["of"], results["awkward"]["wrong"]
    pairs = "[awkward pairs](benchmarks/README.md#who-counts-right) right"
    lines = [
        _row(["", "wall s", "CPU s", "peak MiB", "answer", pairs]),
        "|---|---:|---:|---:|---|---:|",
    ]
    for name in BEST_KNOWN:
        each, label = figures[name], f"{name} {versions[name]}"
        cells = [f"**{label}**" if name == OURS else label]
        cells += [f"{each[unit]:.2f}" for unit in ("wall", "cpu")]
        cells += [f"{each['rss'] / MEBI:,.0f}", each["answer"]]
        lines.append(_row([*cells, f"{of - len(wrong[name])} of {of}"]))
    return "\n".join(lines)


def awkward(results: Results) -> str:
    """Everyone on small pairs with known answers, most right first."""
    found, versions = results["awkward"], results["versions"]
    lines = [_row(["", "right", "wrong on"]), _row(["---", "---:", "---"])]
    for name, wrong in sorted(found["wrong"].items(), key=lambda each: len(each[1])):
        label = f"{name} {versions[name]}"
        right = f"{found['of'] - len(wrong)} of {found['of']}"
        label = f"**{label}**" if name == OURS else label
        lines.append(_row([label, right, "; ".join(wrong)]))
    return "\n".join(lines)


def series(name: str) -> Callable[[Results], str]:
    """One row a pair: ours, and the ratios to the others where they ran."""

    def table(results: Results) -> str:
        found = results[name]
        others = [
            other for other in next(iter(found.values()))["figures"] if other != OURS
        ]
        head = [
            "",
            "MB",
            "wall s",
            "CPU s",
            "peak MiB",
            *(f"wall / {o}" for o in others),
        ]
        head += ["answer"]
        lines = [_row(head), _row(["---", *["---:"] * (len(head) - 2), "---"])]
        for label, pair in found.items():
            ours = pair["figures"][OURS]
            ratios = [
                f"{ours['wall'] / pair['figures'][other]['wall']:.2f}"
                for other in others
            ]
            lines.append(
                _row(
                    [
                        label,
                        f"{pair['bytes'] / 1e6:,.0f}",
                        f"{ours['wall']:.2f}",
                        f"{ours['cpu']:.2f}",
                        f"{ours['rss'] / MEBI:,.0f}",
                        *ratios,
                        ours["answer"],
                    ]
                )
            )
        return "\n".join(lines)

    return table


def targets(results: Results) -> str:
    """One row a pair: our ratio to compara, the target, and what bounds it.

    Two cores cannot import Polars and scan both files in less than half of the CPU time
    that these take.
    """
    heads = ["", "wall s", "CPU s", "wall / compara", "target"]
    heads += ["import alone", "scan alone", "both on two cores"]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for label, pair in results["targets"].items():
        figures = pair["figures"]
        ours, rival = figures[OURS], figures["compara"]
        parts = [figures[name] for name in ("polars-import", "kernel-scan")]
        least = sum(each["cpu"] for each in parts) / 2
        walls = [ours["wall"], *(each["wall"] for each in parts), least]
        ratio, *others = [f"{wall / rival['wall']:.2f}" for wall in walls]
        cells = [label, f"{ours['wall']:.2f}", f"{ours['cpu']:.2f}", ratio]
        target = TARGETS.get(label)
        cells.append(f"{target:.2f}" if target else "")
        lines.append(_row([*cells, *others]))
    return "\n".join(lines)


def cores(results: Results) -> str:
    """One row a size: the wall seconds on each number of cores."""
    found = results["cores"]
    numbers = list(next(iter(found.values()))["figures"])
    lines = [
        _row(["wall s", *numbers, "1 / 2"]),
        _row(["---", *["---:"] * (len(numbers) + 1)]),
    ]
    for rows, pair in found.items():
        walls = [pair["figures"][name]["wall"] for name in numbers]
        ratio = f"{walls[0] / walls[1]:.2f}" if len(walls) > 1 else ""
        lines.append(_row([rows, *(f"{wall:.2f}" for wall in walls), ratio]))
    return "\n".join(lines)


def beside_first(name: str) -> Callable[[Results], str]:
    """One row a command, each beside the first of them.

    Without peaks: a child's begins with its parent's, which has made the files.
    """

    def table(results: Results) -> str:
        figures = results[name]["figures"]
        first = next(iter(figures))
        lines = [_row(["", "wall s", "CPU s", f"wall / {first}"])]
        lines.append(_row(["---", *["---:"] * 3]))
        for label, each in figures.items():
            if each["said"] is None:
                lines.append(_row([label, "failed", "", ""]))
                continue
            cells = [f"{each[unit]:.2f}" for unit in ("wall", "cpu")]
            ratio = each["wall"] / figures[first]["wall"]
            lines.append(_row([label, *cells, f"{ratio:.2f}"]))
        return "\n".join(lines)

    return table


def systems(results: Results) -> str:
    """One row an order of rows: `init`, beside `diff` and a parse by Polars."""
    heads = ["rows in", "MB", "wall s", "CPU s", "wall / `recon diff`"]
    heads += ["CPU / `recon diff`", "CPU / parse by Polars"]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for label, pair in results["systems"].items():
        parse, init, diff = pair["figures"].values()
        cells = [label, f"{pair['bytes'] / 1e6:,.0f}"]
        cells += [f"{init[unit]:.2f}" for unit in ("wall", "cpu")]
        cells += [f"{init[unit] / diff[unit]:.2f}" for unit in ("wall", "cpu")]
        lines.append(_row([*cells, f"{init['cpu'] / parse['cpu']:.2f}"]))
    return "\n".join(lines)


def machine(results: Results) -> str:
    """Where and with what all this was measured."""
    return (
        f"The machine: {results['machine']}. Python {results['python']}."
        f" Files are read by the {results['kernel']} kernel."
    )


def memory(results: Results) -> str:
    """Peaks in MiB, a column a budget; in brackets the share of the budget."""
    found = results["memory"]
    budgets = list(next(iter(found.values()))["figures"])
    lines = [_row(["peak MiB under", *budgets])]
    lines.append(_row(["---", *["---:"] * len(budgets)]))
    for label, pair in found.items():
        cells = [_peak(name, pair["figures"][name]) for name in budgets]
        lines.append(_row([label, *cells]))
    return "\n".join(lines)


def pipeline(results: Results) -> str:
    """Seconds of the whole, and of each step."""
    figures = results["pipeline"]["figures"]
    bare = figures["bare"]["said"]["seconds"]
    names = list(figures["adbc"]["said"]["steps"])
    lines = [_row(["", "seconds", "/ bare load", *names])]
    lines.append(_row(["---", *["---:"] * (2 + len(names))]))
    labels = {
        "bare": "bare load by ADBC",
        "adbc": "pipeline",
        "copy": "pipeline, `--stage-loader copy`",
    }
    for name, label in labels.items():
        said = figures[name]["said"]
        steps = [
            f"{said['steps'][step]:.2f}" if said["steps"] else "" for step in names
        ]
        seconds = said["seconds"]
        lines.append(_row([label, f"{seconds:.1f}", f"{seconds / bare:.2f}", *steps]))
    return "\n".join(lines)


def gate(results: Results) -> str:
    """MB a second of CPU, and the CSV reader against the parse."""
    names = ("structure", "sha256", "gate", "polars")
    whole, ratio = "whole reader", "reader / parse"
    heads = ("`structure`", "`sha256`", whole, "parse by Polars", ratio)
    lines = [_row(["MB a CPU second", "MB", *heads])]
    lines.append(_row(["---", *["---:"] * (1 + len(heads))]))
    for how, figures in results["gate"].items():
        said = [figures[name]["said"] for name in names]
        rates = [each["bytes"] / 1e6 / each["cpu_seconds"] for each in said]
        cells = [f"{rate:,.0f}" for rate in (said[0]["bytes"] / 1e6, *rates)]
        lines.append(_row([how, *cells, f"{rates[2] / rates[3]:.1f}"]))
    return "\n".join(lines)


def chart(results: Results) -> str:
    """Wall seconds and peak memory of everyone as bars, the shorter the better."""
    figures = [
        (name, each)
        for name, each in _ordered(results["peers"]["figures"])
        if each["said"] is not None
    ]
    height = 44 + 24 * len(figures)
    parts = [
        HEAD.format(height=height),
        *_bars(figures, 110, "wall seconds", lambda each: each["wall"]),
        *_bars(figures, 480, "peak MiB", lambda each: each["rss"] / MEBI),
    ]
    for at, (name, each) in enumerate(figures):
        mark = " class='b'" if name == OURS else ""
        wrong = "" if each["answer"].startswith(("right", "(")) else " ✗"
        parts.append(
            f"<text x='0' y='{49 + 24 * at}'{mark}>{escape(name)}{wrong}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(
    figures: list[tuple[str, Results]],
    left: int,
    title: str,
    of: Callable[[Results], float],
) -> Iterator[str]:
    most = max(of(each) for _, each in figures)
    yield f"<text x='{left}' y='18'>{title}</text>"
    for at, (name, each) in enumerate(figures):
        value = of(each)
        width = max(2, 220 * value / most)
        kind = "ours" if name == OURS else "peer"
        place = f"x='{left}' y='{34 + 24 * at}' width='{width:.0f}' height='18'"
        yield f"<rect class='{kind}' {place}/>"
        text = f"{value:,.1f}"
        yield f"<text x='{left + width + 6:.0f}' y='{48 + 24 * at}'>{text}</text>"


def _ordered(figures: Results) -> list[tuple[str, Results]]:
    return sorted(
        figures.items(),
        key=lambda item: (item[0] != OURS, item[1]["said"] is None, item[1]["wall"]),
    )


def _peak(budget: str, figure: Results) -> str:
    if figure["said"] is None:
        return "refused"
    peak = figure["rss"] / MEBI
    return f"{peak:,.0f} ({peak / int(budget.split(maxsplit=1)[0]):.0%})"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


TABLES: Final[dict[str, Callable[[Results], str]]] = {
    "peers": peers,
    SELECTED: selected,
    "awkward": awkward,
    "changed": series("changed"),
    "quoted": series("quoted"),
    "rows": series("rows"),
    "columns": series("columns"),
    "small": series("small"),
    "cores": cores,
    "targets": targets,
    "commands": beside_first("commands"),
    "systems": systems,
    "settings": beside_first("settings"),
    "machine": machine,
    "memory": memory,
    "pipeline": pipeline,
    "gate": gate,
}


if __name__ == "__main__":
    here = Path(__file__).parent
    write(json.loads((here / "results.json").read_text()), here)
