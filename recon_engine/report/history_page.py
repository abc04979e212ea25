"""Render the runs of a dataset as one HTML page: verdicts, rates, breaks, durations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from recon_engine.formatting import format_count
from recon_engine.report import html as pages
from recon_engine.report.chart import Chart, Point, draw_chart
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from recon_engine.model import BreakCounts, PastResult, PastRun
    from recon_engine.report.chart import DotColor


class Series(NamedTuple):
    """One number of each run: its name, a note, how a value is written, the values."""

    name: str
    note: str
    spelled: Callable[[float], str]
    values: Sequence[tuple[PastRun, float]]


def render_history(dataset: str, runs: Sequence[PastRun]) -> str:
    """The HTML page; `runs` are latest first. It holds counts only, no cell values."""
    return pages.render_page(
        "history.html",
        ("theme.js",),
        dataset=dataset,
        counted_runs=format_count(len(runs), "run"),
        runs=[_run_row(run) for run in runs],
        verdicts=_count_verdicts(runs),
        tiles=_build_tiles(runs),
        charts=list(_draw_charts([run for run in reversed(runs) if run.result])),
        version=__version__,
    )


def verdict_word(run: PastRun) -> str:
    """The verdict of a run as its headline showed it: agree, pass, differ or fail.

    A run without a result has its status instead.
    """
    result = run.result
    if result is None:
        return run.status
    if result.verdict == "differ" and result.passed:
        return "pass"
    # Two files without rows agree too, but are more likely failed deliveries.
    if result.verdict == "agree" and not result.matched:
        return "agree, 0 rows"
    return "fail" if result.verdict == "gates_failed" else result.verdict


def format_rate(result: PastResult) -> str:
    """The share of matched rows that differ, such as `6.00%`."""
    return f"{100 * result.rate:.2f}%"


def _run_row(run: PastRun) -> dict[str, Any]:
    passed = run.result is not None and run.result.passed
    return {
        "run_id": run.run_id,
        "day": f"{run.started:%Y-%m-%d}",
        "began": f"{run.started:%Y-%m-%d %H:%M}",
        "verdict": verdict_word(run),
        "mark": ("✓" if passed else "✗") if run.result else "·",
        "color": ("good" if passed else "bad") if run.result else "quiet",
        "result": run.result,
        "breaks": run.breaks,
        "rate": format_rate(run.result) if run.result else "",
        "seconds": "" if run.seconds is None else f"{run.seconds:.1f}",
    }


def _count_verdicts(runs: Sequence[PastRun]) -> str:
    """How many runs ended in each verdict, most common first."""
    counts = Counter(map(verdict_word, runs))
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def _build_tiles(runs: Sequence[PastRun]) -> list[dict[str, Any]]:
    results = [(run, run.result) for run in runs if run.result]
    passed = sum(result.passed for _, result in results)
    without = len(runs) - len(results)
    tiles = [
        _build_tile("Runs", f"{len(runs):,}", f"{without:,} without a result"),
        _build_tile(
            "Passed", f"{passed:,}", f"of {format_count(len(results), 'result')}"
        ),
    ]
    if results:
        run, result = results[0]
        note = format_count(result.mismatched_rows, "row", "differ")
        tiles.append(
            _build_tile(
                "Latest verdict", verdict_word(run), note, bad=not result.passed
            )
        )
    # Of the latest run that tracked breaks: a run over the limit has none.
    breaks = next((run.breaks for run in runs if run.breaks), None)
    if breaks:
        tiles.append(
            _build_tile("Open breaks", f"{breaks.open:,}", _format_oldest(breaks))
        )
    return tiles


def _build_tile(
    name: str, count: str, note: str, *, bad: bool = False
) -> dict[str, Any]:
    return {"name": name, "count": count, "note": note, "bad": bad}


def _format_oldest(breaks: BreakCounts) -> str:
    days, unseen = breaks.oldest_days, breaks.unseen
    age = None if days is None else f"the oldest is {_format_days(days)} old"
    facts = (age, f"{unseen:,} unseen" if unseen else None)
    return ", ".join(fact for fact in facts if fact)


def _format_days(days: float) -> str:
    return format_count(round(days), "day")


def _draw_charts(runs: Sequence[PastRun]) -> Iterator[Chart]:
    """One chart for each number; `runs` have results and are earliest first.

    A chart without points is left out: a dataset may track no breaks.
    """
    results = [(run, run.result) for run in runs if run.result]
    tracked = [(run, run.breaks) for run in runs if run.breaks]
    series = (
        Series(
            "Rows that differ",
            "share of the matched rows",
            "{:.2%}".format,
            [(run, result.rate) for run, result in results],
        ),
        Series(
            "Missing and extra",
            "rows on one side only",
            "{:,.0f}".format,
            [(run, result.missing + result.extra) for run, result in results],
        ),
        Series(
            "Open breaks",
            "seen by the run or by an earlier one",
            "{:,.0f}".format,
            [(run, breaks.open) for run, breaks in tracked],
        ),
        Series(
            "Oldest break",
            "age of the oldest open break",
            _format_days,
            [(run, breaks.oldest_days or 0) for run, breaks in tracked],
        ),
        Series(
            "Rows",
            "of the new file",
            "{:,.0f}".format,
            [(run, result.rows_new) for run, result in results],
        ),
        Series(
            "Duration",
            "from the start of the run to the archive",
            "{:,.1f} s".format,
            [(run, run.seconds or 0) for run, _ in results],
        ),
    )
    for each in series:
        points = [
            Point(value, f"{run.started:%d %b}", _dot_color(run))
            for run, value in each.values
        ]
        if points:
            yield draw_chart(each.name, points, each.spelled, each.note)


def _dot_color(run: PastRun) -> DotColor:
    return "good" if run.result and run.result.passed else "bad"
