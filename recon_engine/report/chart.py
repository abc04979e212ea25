"""Lay out a line chart of one number per run; the template `trend` draws it as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from recon_engine.formatting import format_count


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


# SVG user units. The left margin holds labels such as `median 1,234,567`.
WIDTH, HEIGHT = 440, 142
LEFT, RIGHT, TOP, BOTTOM = 96, 430, 16, 124
# One line of label text: two labels closer than this would overlap.
MIN_LABEL_GAP: Final = 14
# A median of fewer points says nothing that the points do not.
MIN_POINTS_FOR_MEDIAN: Final = 3
# Radii: the last dot is emphasized. A chart of more than a month of daily runs has
# smaller dots, so that its line stays visible between them.
LAST_DOT, DOT, SMALL_DOT = 5, 3.2, 2
MAX_LARGE_DOTS: Final = 31

DotColor = Literal["", "good", "bad"]


class Point(NamedTuple):
    """The value of one run, its date as text, and the color of its dot."""

    value: float
    when: str
    color: DotColor = ""


class Dot(NamedTuple):
    """A point at its place in the chart; `size` is a radius, `text` the tooltip."""

    x: float
    y: float
    size: float
    color: DotColor
    text: str


class Level(NamedTuple):
    """A label at the left edge of the chart, at the height of its value."""

    y: float
    text: str


class Chart(NamedTuple):
    """The line of some runs, earliest first, with their median if there are enough.

    `top`: the label of the maximum, None if it would overlap the median's.
    """

    name: str
    note: str
    label: str
    dots: tuple[Dot, ...]
    first: str
    last: str
    top: Level | None
    median: Level | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT

    @property
    def line(self) -> str:
        """The points of the line, as SVG writes them."""
        return " ".join(f"{dot.x},{dot.y}" for dot in self.dots)

    @property
    def area(self) -> str:
        """The points of the area below the line, as SVG writes them."""
        first, last = self.dots[0].x, self.dots[-1].x
        return f"{first},{BOTTOM} {self.line} {last},{BOTTOM}"


def draw_chart(
    name: str, points: Sequence[Point], spelled: Callable[[float], str], note: str = ""
) -> Chart:
    """Lay out one or more points, earliest first; `spelled` formats a value."""
    highest = max(point.value for point in points)
    # Of an even number, the upper one: a value that a run had.
    middle = sorted(point.value for point in points)[len(points) // 2]

    def y(value: float) -> float:
        share = value / highest if highest else 0
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    step = (RIGHT - LEFT) / max(len(points) - 1, 1)
    last = len(points) - 1
    usual = DOT if len(points) <= MAX_LARGE_DOTS else SMALL_DOT
    dots = tuple(
        Dot(
            # Counted from the right, so the latest run is always at the right edge.
            round(RIGHT - (last - index) * step, 1),
            y(point.value),
            LAST_DOT if index == last else usual,
            point.color,
            f"{point.when}: {spelled(point.value)}",
        )
        for index, point in enumerate(points)
    )
    enough = len(points) >= MIN_POINTS_FOR_MEDIAN
    median = Level(y(middle), f"median {spelled(middle)}") if enough else None
    crowded = median is not None and abs(median.y - y(highest)) < MIN_LABEL_GAP
    return Chart(
        name=name,
        note=note,
        label=f"{name}, {format_count(len(points), 'result')}: "
        f"latest {spelled(points[-1].value)}, median {spelled(middle)}, "
        f"maximum {spelled(highest)}",
        dots=dots,
        first=points[0].when if last else "",
        last=points[-1].when,
        top=None if crowded else Level(y(highest), spelled(highest)),
        median=median,
    )
