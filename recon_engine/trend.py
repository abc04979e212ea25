"""Many runs of a dataset as one HTML page: verdicts, rates and durations over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recon_engine import page as pages
from recon_engine.chart import Chart, Point, chart
from recon_engine.version import __version__


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recon_engine.chart import Look
    from recon_engine.model import PastResult, PastRun


def page(dataset: str, runs: Sequence[PastRun]) -> str:
    """The whole page; `runs` latest first."""
    return pages.page(
        "history.html",
        ("theme.js",),
        dataset=dataset,
        runs=[_run(run) for run in runs],
        tiles=_tiles(runs),
        charts=list(_charts([run for run in reversed(runs) if run.result])),
        version=__version__,
    )


def word(run: PastRun) -> str:
    """What came of a run, in a word or two: its verdict, or its status."""
    return run.result.verdict.replace("_", " ") if run.result else run.status


def rate(result: PastResult) -> str:
    """The share of matched rows that differ: `6.00%`."""
    return f"{100 * result.rate:.2f}%"


def _run(run: PastRun) -> dict[str, Any]:
    agrees = run.result is not None and run.result.verdict == "agree"
    return {
        "run_id": run.run_id,
        "day": f"{run.started:%Y-%m-%d}",
        "began": f"{run.started:%Y-%m-%d %H:%M:%S}",
        "verdict": word(run),
        "mark": ("✓" if agrees else "✗") if run.result else "·",
        "look": ("good" if agrees else "bad") if run.result else "quiet",
        "result": run.result,
        "rate": rate(run.result) if run.result else "",
        "seconds": "" if run.seconds is None else f"{run.seconds:.1f}",
    }


def _tiles(runs: Sequence[PastRun]) -> list[dict[str, Any]]:
    results = [run.result for run in runs if run.result]
    agree = sum(result.verdict == "agree" for result in results)
    without = len(runs) - len(results)
    latest = results[0] if results else None
    return [
        {
            "name": "Runs",
            "count": f"{len(runs):,}",
            "note": f"{without:,} without a result",
            "bad": False,
        },
        {
            "name": "Agree",
            "count": f"{agree:,}",
            "note": f"of {len(results):,} results",
            "bad": False,
        },
        {
            "name": "Latest verdict",
            "count": latest.verdict.replace("_", " ") if latest else "none",
            "note": f"{latest.mismatched_rows:,} rows differ" if latest else "",
            "bad": bool(latest and latest.verdict != "agree"),
        },
    ]


def _charts(runs: Sequence[PastRun]) -> Iterator[Chart]:
    """`runs` with results, earliest first."""
    results = [(run, run.result) for run in runs if run.result]
    if not results:
        return

    def points(numbers: Sequence[float]) -> list[Point]:
        return [
            Point(number, f"{run.started:%d %b}", _look(result))
            for number, (run, result) in zip(numbers, results, strict=True)
        ]

    yield chart(
        "Rows that differ",
        points([result.rate for _, result in results]),
        lambda value: f"{100 * value:.2f}%",
        "share of the matched rows",
    )
    yield chart(
        "Missing and extra",
        points([result.missing + result.extra for _, result in results]),
        lambda value: f"{value:,.0f}",
        "rows on one side only",
    )
    yield chart(
        "Rows",
        points([result.rows_new for _, result in results]),
        lambda value: f"{value:,.0f}",
        "in new",
    )
    yield chart(
        "Duration",
        points([run.seconds or 0 for run, _ in results]),
        lambda value: f"{value:,.1f} s",
        "from the start to the archive",
    )


def _look(result: PastResult) -> Look:
    return "good" if result.verdict == "agree" else "bad"
