"""Render the runs of a dataset as one HTML page: verdicts, rates, breaks, durations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from recon_engine.characters import readable
from recon_engine.formatting import describe_accepted_rows, format_count, format_rate
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


def render_history(
    dataset: str, runs: Sequence[PastRun], state: Sequence[str] = ()
) -> str:
    """The HTML page; `runs` are latest first. It holds counts only, no cell values.

    `state`: lines on whether the last run is clean, and how many in a row.
    """
    return pages.render_page(
        "history.html",
        ("theme.js",),
        dataset=dataset,
        state=state,
        counted_runs=_count_runs(runs),
        runs=[_run_row(run) for run in runs],
        verdicts=_count_verdicts(runs),
        tiles=_build_tiles(runs),
        # `runs` are latest first, and a chart goes from left to right.
        charts=list(_draw_charts([run for run in reversed(runs) if _is_counted(run)])),
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


def clean_word(run: PastRun) -> str | None:
    """Whether the run is clean; None if that was not measured."""
    return None if run.clean is None else "clean" if run.clean else "not clean"


def _is_counted(run: PastRun) -> bool:
    """Whether charts and totals count a run: of a pair, only its last result counts."""
    return run.result is not None and not run.replaced


def format_unaccepted_rate(result: PastResult) -> str | None:
    """The share of matched rows that differ and are not accepted; None if unknown."""
    rows = result.unaccepted_rows
    return None if rows is None else format_rate(rows, result.matched)


def _run_row(run: PastRun) -> dict[str, Any]:
    passed = run.result is not None and run.result.passed
    return {
        "run_id": run.run_id,
        "day": f"{run.started:%Y-%m-%d}",
        "began": f"{run.started:%Y-%m-%d %H:%M}",
        "verdict": verdict_word(run),
        "state": clean_word(run) or "",
        "message": readable(run.message or ""),
        "mark": ("✓" if passed else "✗") if run.result else "·",
        "color": ("good" if passed else "bad") if _is_counted(run) else "quiet",
        "file": readable(run.file),
        "replaced": run.replaced,
        "result": run.result,
        "breaks": run.breaks,
        "rate": format_rate(run.result.mismatched_rows, run.result.matched)
        if run.result
        else "",
        "unaccepted_rate": (run.result and format_unaccepted_rate(run.result)) or "",
        "seconds": "" if run.seconds is None else f"{run.seconds:.1f}",
    }


def _count_runs(runs: Sequence[PastRun]) -> str:
    """How many runs have a result that counts, and how many others there are."""
    results = sum(map(_is_counted, runs))
    return ", ".join((format_count(results, "result"), *_count_others(runs)))


def _count_others(runs: Sequence[PastRun]) -> Iterator[str]:
    """The runs whose result does not count, or that have none, as without files."""
    if without := sum(run.result is None for run in runs):
        yield f"{format_count(without, 'run')} without a result"
    if replaced := sum(run.replaced for run in runs):
        yield f"{replaced:,} replaced by a later run of the same files"


def _count_verdicts(runs: Sequence[PastRun]) -> str:
    """How many runs ended in each verdict, most common first."""
    counts = Counter(map(verdict_word, runs))
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def _build_tiles(runs: Sequence[PastRun]) -> list[dict[str, Any]]:
    results = [(run, run.result) for run in runs if run.result and not run.replaced]
    passed = sum(result.passed for _, result in results)
    tiles = [
        _build_tile(
            "Results",
            f"{len(results):,}",
            ", ".join(("of " + format_count(len(runs), "run"), *_count_others(runs))),
        ),
        _build_tile(
            "Passed", f"{passed:,}", f"of {format_count(len(results), 'result')}"
        ),
    ]
    if results:
        run, result = results[0]
        note = _format_differing_rows(result)
        tiles.append(
            _build_tile(
                "Latest verdict", verdict_word(run), note, bad=not result.passed
            )
        )
    # Of the latest run that tracked breaks: a run over the limit has none.
    for run in runs:
        if breaks := run.breaks:
            # The ages and the counts are of the same breaks.
            known = breaks.unaccepted is not None
            open_breaks = breaks.unaccepted if known else breaks.open
            facts = [*_list_facts(breaks)]
            # The latest result may be of a run that tracked no breaks.
            if (run, run.result) not in results[:1]:
                facts.append(f"as of {run.started:%Y-%m-%d}, not of the last result")
            note = ", ".join(facts)
            tiles.append(_build_tile("Open breaks", f"{open_breaks:,}", note))
            break
    return tiles


def _format_differing_rows(result: PastResult) -> str:
    rows = result.unaccepted_rows
    if rows is None or not result.accepted_rows:
        return format_count(result.mismatched_rows, "row", "differ")
    differ = format_count(rows, "row", "differ")
    return f"{differ}, {describe_accepted_rows(result.accepted_rows)}"


def _build_tile(
    name: str, count: str, note: str, *, bad: bool = False
) -> dict[str, Any]:
    return {"name": name, "count": count, "note": note, "bad": bad}


def _list_facts(breaks: BreakCounts) -> Iterator[str]:
    """What is said of open breaks besides their number."""
    known = breaks.accepted is not None
    days = breaks.oldest_unaccepted_days if known else breaks.oldest_days
    if days is not None:
        yield f"the oldest is {_format_days(days)} old"
    if breaks.unseen:
        yield f"{breaks.unseen:,} unseen"
    if breaks.accepted:
        yield f"{breaks.accepted:,} more accepted"


def _format_days(days: float) -> str:
    return format_count(round(days), "day")


def _draw_charts(runs: Sequence[PastRun]) -> Iterator[Chart]:
    """One chart for each number; `runs` have results and are earliest first.

    Differences and breaks are those that no suppression accepts. A run of an earlier
    version that did not count these has no point. A chart without points is left out: a
    dataset may track no breaks.
    """
    results = [(run, run.result) for run in runs if run.result]
    tracked = [(run, run.breaks) for run in runs if run.breaks]
    accepted = any(
        result.accepted_rows or result.accepted_missing or result.accepted_extra
        for _, result in results
    ) or any(breaks.accepted for _, breaks in tracked)
    without = ", without what suppressions accept" if accepted else ""
    series = (
        Series(
            "Rows that differ",
            f"share of the matched rows{without}",
            format_rate,
            [
                (run, result.unaccepted_rate)
                for run, result in results
                if result.unaccepted_rate is not None
            ],
        ),
        Series(
            "Missing and extra",
            f"rows on one side only{without}",
            "{:,.0f}".format,
            [(run, result.unaccepted_unmatched) for run, result in results],
        ),
        Series(
            "Open breaks",
            f"seen by the run or by an earlier one{without}",
            "{:,.0f}".format,
            [
                (run, breaks.unaccepted)
                for run, breaks in tracked
                if breaks.unaccepted is not None
            ],
        ),
        Series(
            "Oldest break",
            f"age of the oldest open break{without}",
            _format_days,
            [
                (run, breaks.oldest_unaccepted_days or 0)
                for run, breaks in tracked
                if breaks.accepted is not None
            ],
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
            [(run, run.seconds) for run, _ in results if run.seconds is not None],
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
