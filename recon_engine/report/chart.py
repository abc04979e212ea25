"""A number of each run over time, as what a template draws a line of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


WIDTH, HEIGHT = 440, 142
LEFT, RIGHT, TOP, BOTTOM = 96, 430, 16, 124
MIN_LABEL_GAP: Final = 14
SEVERAL: Final = 3

DotColor = Literal["", "good", "bad"]


class Point(NamedTuple):
    """A run's number, when it was, and how its dot looks."""

    value: float
    when: str
    look: DotColor = ""


class Dot(NamedTuple):
    """A point where it is drawn."""

    x: float
    y: float
    size: float
    look: DotColor
    text: str


class Level(NamedTuple):
    """A number at the edge of the chart."""

    y: float
    text: str


class Chart(NamedTuple):
    """The line of some runs, earliest first, with their median."""

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
        """The points of the line."""
        return " ".join(f"{dot.x},{dot.y}" for dot in self.dots)

    @property
    def area(self) -> str:
        """The points of what is under it."""
        first, last = self.dots[0].x, self.dots[-1].x
        return f"{first},{BOTTOM} {self.line} {last},{BOTTOM}"


def draw_chart(
    name: str, points: Sequence[Point], spelled: Callable[[float], str], note: str = ""
) -> Chart:
    """Draw one point or more; `spelled` is how a value is written."""
    highest = max(point.value for point in points)
    middle = sorted(point.value for point in points)[len(points) // 2]

    def y(value: float) -> float:
        share = value / highest if highest else 0
        return round(BOTTOM - share * (BOTTOM - TOP), 1)

    step = (RIGHT - LEFT) / max(len(points) - 1, 1)
    last = len(points) - 1
    small = 3.2 if len(points) <= 31 else 2  # noqa: PLR2004 - a month of dots
    dots = tuple(
        Dot(
            round(RIGHT - (last - at) * step, 1),
            y(point.value),
            5 if at == last else small,
            point.look,
            f"{point.when}: {spelled(point.value)}",
        )
        for at, point in enumerate(points)
    )
    told = len(points) >= SEVERAL
    median = Level(y(middle), f"median {spelled(middle)}") if told else None
    crowded = median is not None and abs(median.y - y(highest)) < MIN_LABEL_GAP
    return Chart(
        name=name,
        note=note,
        label=f"{name} of {len(points)} results: {spelled(points[-1].value)} at last,"
        f" median {spelled(middle)}, at most {spelled(highest)}",
        dots=dots,
        first=points[0].when if last else "",
        last=points[-1].when,
        top=None if crowded else Level(y(highest), spelled(highest)),
        median=median,
    )
