"""A reconciliation as one HTML page, for whoever decides and whoever has to look.

`page` is the same text for the same arguments: it asks no clock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from recon_engine.characters import escaped as visible
from recon_engine.characters import readable
from recon_engine.command_line import command
from recon_engine.formatting import percent
from recon_engine.kinds import REWRITTEN
from recon_engine.report import html as pages
from recon_engine.report.chart import Chart, Point, chart
from recon_engine.report.page_data import evidence, excerpt


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from recon_engine.config import Options
    from recon_engine.model import Column, PastRun, Reads, Side
    from recon_engine.result import Reconciliation


MOST_SETS: Final = 6
MOST_CHANGES: Final = 6
MOST_COLUMNS: Final = 12
TREND: Final = 30
MIB: Final = 2**20


class Break(NamedTuple):
    """A difference that is open: since when, for how many days and in how many runs.

    A missing or an extra row has no column and no values.
    """

    key: str
    column: str | None
    kind: str
    state: str
    first_seen: date
    age_days: int
    runs_seen: int
    old: str | None
    new: str | None


class Breaks(NamedTuple):
    """What became of the breaks in a run; of the last run, how many are open.

    And the oldest of them, with their ages up to the day `as_of`.
    """

    summary: str
    open: int = 0
    oldest: tuple[Break, ...] = ()
    as_of: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a page tells besides the result; what is not known is left out.

    `past`: earlier runs of the dataset, latest first. `timed`: also what it took.
    `files`: where all cells, missing and extra rows are, by the tab that shows some.
    """

    dataset: str | None = None
    run_id: UUID | None = None
    started: datetime | None = None
    options: Options | None = None
    past: Sequence[PastRun] = ()
    breaks: Breaks | None = None
    files: Mapping[str, str] | None = None
    timed: bool = False


UNKNOWN: Final = Facts()


def page(result: Reconciliation, facts: Facts = UNKNOWN) -> str:
    """The whole page."""
    return pages.page(
        "report.html",
        ("theme.js", "report.js"),
        result=result,
        heading=facts.dataset or f"{name_of(result.old)} → {name_of(result.new)}",
        day=facts.started and f"{facts.started:%Y-%m-%d}",
        run_id=facts.run_id,
        cost=_cost(result) if facts.timed else None,
        verdict=_verdict(result),
        cells=_cells(result),
        warnings=list(_warnings(result)),
        old=_side(result.old),
        new=_side(result.new),
        tiles=_tiles(result),
        gates=[
            {"gate": visible(g.gate), "value": readable(g.text), "passed": g.passed}
            for g in result.gates
        ],
        breaks=facts.breaks and _breaks(facts.breaks, result.keys),
        columns=_columns(result),
        chart=_trend(result, facts),
        laws=list(_laws(result)),
        rules=_rules(result),
        together=_together(result),
        segments=_segments(result),
        changed=_changed(result),
        lone=_lone(result),
        patterns=_patterns(result),
        sampled=_sampled(result),
        facts=list(_facts(result, facts)),
        command=facts.options
        and command(facts.options, name_of(result.old), name_of(result.new)),
        island=pages.island(evidence(result, facts.files)),
    )


def fragment(result: Reconciliation) -> str:
    """The verdict, the accounting and the differing columns, for a notebook."""
    return pages.page(
        "fragment.html",
        (),
        result=result,
        verdict=_verdict(result),
        columns=_columns(result)[:MOST_COLUMNS],
    )


def name_of(side: Side) -> str:
    """The last part of a URI: where a file lay is no part of what it is."""
    return visible(PurePosixPath(side.uri).name or side.uri)


def spelled(kind: str) -> str:
    """A kind for people."""
    return kind.replace("_", " ")


def link(**asked: str) -> str:
    """An address within the page that shows the cells asked for."""
    return "#" + urlencode(asked)


def _verdict(result: Reconciliation) -> dict[str, Any]:
    word, _, _ = result.headline().partition(": ")
    return {
        "word": word,
        "passed": result.passes,
        "failures": [readable(each) for each in result.failures],
        "sentence": _sentence(result),
    }


def _sentence(result: Reconciliation) -> str:
    n, drift = result.counts, result.drift
    if result.agrees:
        return f"All {result.agreement()}." if n.matched else f"{result.agreement()}."
    rate = _rate(n.mismatched_rows, n.matched)
    said = (
        (n.mismatched_rows, f"of {n.matched:,} matched rows differ ({rate})"),
        (n.missing, "missing from NEW"),
        (n.extra, "only in NEW"),
        (len(drift.only_in_old) + len(drift.only_in_new), "columns on one side only"),
        (result.old.rejected + result.new.rejected, "malformed rows set aside"),
    )
    return "; ".join(f"{count:,} {what}" for count, what in said if count) + "."


def _cells(result: Reconciliation) -> dict[str, Any] | None:
    """How many of the differing cells say the same otherwise, and the largest cause."""
    total, same = result.counts.mismatched_cells, result.rewritten_cells
    if not total:
        return None
    column, kind, count = max(
        (
            (column, kind, count)
            for column in result.by_column
            for kind, count in column.kinds.items()
        ),
        key=lambda each: each[2],
    )
    return {
        "all": total,
        "same_share": percent(same, total) if same else "None",
        "other": total - same,
        "cause": {
            "column": visible(column.name),
            "kind": spelled(kind),
            "share": percent(count, column.mismatched),
            "link": link(column=column.name, kind=kind),
        },
    }


def _warnings(result: Reconciliation) -> Iterator[str]:
    told = result.headline()
    yield from (readable(each) for each in result.warnings() if each not in told)
    yield from (readable(each.text) for each in result.suppressed if not each.failed)
    for name, side in (("OLD", result.old), ("NEW", result.new)):
        if side.rejected:
            yield f"{side.rejected:,} malformed rows of {name} were not compared"
        if side.duplicate_keys:
            yield (
                f"{side.duplicate_keys:,} keys repeat in {name}, on"
                f" {side.duplicate_key_rows:,} rows: paired by content"
            )
        if side.blank_keys:
            yield f"{side.blank_keys:,} rows of {name} have a blank key"
    for name, only in (
        ("OLD", result.drift.only_in_old),
        ("NEW", result.drift.only_in_new),
    ):
        if only:
            yield f"not compared, only in {name}: {visible(', '.join(only))}"


def _side(side: Side) -> dict[str, str]:
    return {"name": name_of(side), "size": _size(side.bytes)}


def _tiles(result: Reconciliation) -> list[dict[str, Any]]:
    n, old, new = result.counts, result.old, result.new
    columns = sum(1 for column in result.by_column if column.mismatched)
    difference = f"{new.rows - old.rows:+,} against old" if new.rows != old.rows else ""
    return [
        {"name": "Old rows", "count": old.rows, "note": _size(old.bytes), "bad": False},
        {
            "name": "New rows",
            "count": new.rows,
            "note": difference or "as many as old",
            "bad": False,
        },
        {
            "name": "Matched",
            "count": n.matched,
            "note": f"{_rate(n.matched, old.rows)} of old",
            "bad": False,
        },
        {
            "name": "Missing",
            "count": n.missing,
            "note": "in old only",
            "bad": n.missing > 0,
        },
        {"name": "Extra", "count": n.extra, "note": "in new only", "bad": n.extra > 0},
        {
            "name": "Rows that differ",
            "count": n.mismatched_rows,
            "note": f"{n.mismatched_cells:,} {_plural(n.mismatched_cells, 'cell')}"
            f" in {columns:,} {_plural(columns, 'column')}",
            "bad": n.mismatched_rows > 0,
        },
    ]


def _columns(result: Reconciliation) -> list[dict[str, Any]]:
    return [
        {
            "name": visible(column.name),
            "link": link(column=column.name),
            "mismatched": column.mismatched,
            "width": f"{100 * column.mismatched / result.differing[0].mismatched:.1f}",
            "rate": _rate(column.mismatched, column.compared),
            "kinds": _kinds(column),
        }
        for column in result.differing
    ]


def _kinds(column: Column) -> list[dict[str, Any]]:
    found = ((kind, count) for kind, count in column.kinds.items() if count)
    shares = sorted(found, key=lambda item: (-item[1], item[0]))
    return [
        {
            "text": spelled(kind)
            + ("" if len(shares) == 1 else f" {percent(count, column.mismatched)}"),
            "same": kind in REWRITTEN,
            "link": link(column=column.name, kind=kind),
        }
        for kind, count in shares
    ]


def _trend(result: Reconciliation, facts: Facts) -> Chart | None:
    """Earlier results and this one; nothing to draw where it is the first."""
    past = [
        (run.result.mismatched_rows, f"{run.started:%d %b}")
        for run in facts.past
        if run.result is not None
    ][: TREND - 1]
    if not past:
        return None
    here = result.counts.mismatched_rows
    points = [Point(rows, when) for rows, when in reversed(past)]
    points.append(Point(here, "this run", "bad" if here else "good"))
    return chart("Rows that differ", points, lambda value: f"{value:,.0f}")


def _laws(result: Reconciliation) -> Iterator[dict[str, Any]]:
    n = result.counts
    for name, side, rest, count in (
        ("old", result.old, "missing", n.missing),
        ("new", result.new, "extra", n.extra),
    ):
        aside = f" + {side.rejected:,}" if side.rejected else ""
        yield {
            "name": f"{name} = matched + {rest}" + (" + set aside" if aside else ""),
            "sum": f"{side.rows:,} = {n.matched:,} + {count:,}{aside}",
            "holds": side.rows == n.matched + count + side.rejected,
        }
    yield {
        "name": "matched = identical + differing",
        "sum": f"{n.matched:,} = {n.identical:,} + {n.mismatched_rows:,}",
        "holds": n.matched == n.identical + n.mismatched_rows,
    }
    for name, fact in (
        ("keys that repeat", "duplicate_keys"),
        ("rows with a blank key", "blank_keys"),
        ("rows set aside", "rejected"),
    ):
        both = (getattr(result.old, fact), getattr(result.new, fact))
        told = "none" if not any(both) else f"{both[0]:,} in old, {both[1]:,} in new"
        yield {"name": name, "sum": told, "holds": False}
    for what, count in (("keys", n.tolerated_keys), ("cells", n.tolerated_cells)):
        if count:
            name = f"{what} equal by a rule"
            yield {"name": name, "sum": f"{count:,}", "holds": False}


def _rules(result: Reconciliation) -> list[dict[str, Any]]:
    """What each rule read on either side, and made equal."""
    return [
        {
            "name": visible(each.name),
            "old": _of_values(each.old),
            "new": _of_values(each.new),
            "made_equal": each.made_equal,
            "what": _plural(each.made_equal, "key" if each.of == "keys" else "cell"),
        }
        for each in result.rules_told
    ]


def _of_values(reads: Reads) -> str:
    return f"{reads.read:,} of {reads.values:,}" if reads.values else "no value"


def _together(result: Reconciliation) -> dict[str, Any] | None:
    """The sets of several columns that differ in the same rows."""
    several = [each for each in result.signatures if len(each.columns) > 1]
    if not several:
        return None
    return {"of": len(several), "sets": several[:MOST_SETS]}


def _segments(result: Reconciliation) -> list[dict[str, Any]]:
    return [
        {
            "of": each.of,
            "rows": each.rows,
            "column": visible(each.column),
            "value": _shown(each.value),
            "share": f"{100 * each.share:.1f}%",
            "base": f"{100 * each.base:.1f}%",
        }
        for each in result.segments
    ]


def _changed(result: Reconciliation) -> list[dict[str, Any]]:
    """The sums over changed cells, of the columns that have some."""
    return [
        {
            "column": visible(each.column),
            "old": _amount(each.old),
            "new": _amount(each.new),
            "delta": _amount(each.delta, "+"),
            "moved": bool(each.delta),
        }
        for each in result.totals
        if each.column in result.changed
    ]


def _lone(result: Reconciliation) -> list[dict[str, Any]]:
    """The sums over missing and extra rows, of the columns with an amount there."""
    return [
        {
            "column": visible(each.column),
            "missing": _amount(each.missing),
            "extra": _amount(each.extra),
        }
        for each in result.totals
        if each.missing or each.extra
    ]


def _patterns(result: Reconciliation) -> list[dict[str, Any]]:
    return [
        {
            "column": visible(each.column),
            "distinct": each.distinct,
            "top": [
                {
                    "old": old,
                    "new": new,
                    "kind": spelled(change.kind),
                    "same": change.kind in REWRITTEN,
                    "rows": change.rows,
                }
                for change in repeating[:MOST_CHANGES]
                for old, new in (map(_shown, excerpt(change.old, change.new)),)
            ],
        }
        for each in result.patterns
        if (repeating := [change for change in each.top if change.rows > 1])
    ]


def _breaks(breaks: Breaks, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "summary": breaks.summary,
        "open": breaks.open,
        "as_of": breaks.as_of and f"{breaks.as_of:%Y-%m-%d}",
        "oldest": [
            {
                "since": f"{each.first_seen:%Y-%m-%d}",
                "age": f"{each.age_days:,} {_plural(each.age_days, 'day')}",
                "seen": f"{each.runs_seen:,} {_plural(each.runs_seen, 'run')}",
                "state": each.state,
                "key": _key(each.key, keys),
                "column": each.column and visible(each.column),
                "old": _shown(each.old),
                "new": _shown(each.new),
                "kind": spelled(each.kind),
                "same": each.kind in REWRITTEN,
            }
            for each in breaks.oldest
        ],
    }


def _key(text: str, names: Sequence[str]) -> str:
    """A key as `A · B`, from its text."""
    values = json.loads(text) if len(names) > 1 else [text]
    return " · ".join(map(_shown, values))


def _plural(count: int, what: str) -> str:
    return what if count == 1 else f"{what}s"


def _sampled(result: Reconciliation) -> str:
    rows, all_ = len(result.sample), result.counts.mismatched_rows
    if rows == all_:
        return f"all {all_:,} rows that differ" if all_ else "no row differs"
    return f"{rows:,} of {all_:,} rows that differ: the same ones every time"


def _facts(result: Reconciliation, facts: Facts) -> Iterator[dict[str, Any]]:
    def fact(name: str, value: object, *, code: bool = False) -> dict[str, Any]:
        return {"name": name, "value": value, "code": code}

    if facts.dataset:
        yield fact("dataset", facts.dataset, code=True)
    if facts.run_id:
        yield fact("run", facts.run_id, code=True)
    if facts.started:
        yield fact("began", f"{facts.started:%Y-%m-%d %H:%M:%S} UTC")
    for name, side in (("OLD", result.old), ("NEW", result.new)):
        yield fact(name, name_of(side), code=True)
        yield fact("", f"{side.rows:,} rows, {side.bytes:,} bytes{_written(side)}")
        if side.sha256:
            yield fact("sha256", side.sha256, code=True)
    yield fact("keys", visible(", ".join(result.keys)), code=True)
    yield fact("columns compared", f"{len(result.by_column):,}")
    yield fact("engine", f"recon-engine {result.engine.version}")
    if facts.timed:
        yield fact("took", _cost(result))


def _written(side: Side) -> str:
    """How a file is written, in a few words."""
    if side.dialect is None:
        return ""
    dialect = side.dialect
    words = (
        dialect.encoding,
        dialect.newline,
        f"delimiter {visible(dialect.delimiter)}",
        "quoted fields" if dialect.quotes else None,
        "byte order mark" if dialect.bom else None,
        dialect.compression,
    )
    return ": " + ", ".join(word for word in words if word)


def _cost(result: Reconciliation) -> str:
    seconds, peak = result.engine.seconds, result.engine.peak_rss_bytes
    return f"{seconds:.2f} s, peak {peak / MIB:,.0f} MiB"


def _shown(value: str | None) -> str:
    """A value of a cell on a page; blank is spelled out."""
    return visible(excerpt(None, value)[1]) if value else "(blank)"


def _rate(part: int, whole: int) -> str:
    """A share with two digits behind the point: `6.00%`; what is not none is not 0."""
    share = 100 * part / whole if whole else 0.0
    return "<0.01%" if 0 < share < 0.01 else f"{share:.2f}%"  # noqa: PLR2004


def _amount(value: Decimal, sign: str = "") -> str:
    return f"{value:{sign},f}"


def _size(count: int) -> str:
    return f"{count / MIB:,.1f} MiB" if count >= MIB else f"{count / 1024:,.1f} KiB"
