"""The geometry of charts: numbers to places in a drawing that templates write as SVG. No torch here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 420.0, 230.0
"""Of a drawing; it is scaled to the page."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 10.0, 10.0, 34.0
_MOST_POINTS = 1500


@dataclass(frozen=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Args:
        name: in the legend.
        colour: its number among the page's colours; None is that of text.
        points: places, with what is told of each where it is pointed at.
    """

    name: str
    colour: int | None
    points: list[tuple[float, float, str]]

    @property
    def path(self) -> str:
        """The line through its points, as SVG's `polyline` takes them."""
        return " ".join(f"{x:g},{y:g}" for x, y, _ in self.points)


@dataclass(frozen=True)
class Bar:
    """A rectangle of a bar chart."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    told: str


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Args:
        title: of the chart.
        x_label: what is along the horizontal axis.
        x_ticks: places on it.
        y_ticks: places on the vertical axis.
        series: lines.
        bars: rectangles.
        dots: single points.
        legend: names and colours.
        mark: where a vertical line stands, and what it marks.
        diagonal: the ends of a line, if there is one.
    """

    title: str
    x_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    series: list[Series] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    legend: list[tuple[str, int | None]] = field(default_factory=list)
    mark: Tick | None = None
    diagonal: tuple[float, float, float, float] | None = None
    width: float = WIDTH
    height: float = HEIGHT
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def line_chart(
    title: str,
    lines: Mapping[str, Mapping[int, float]],
    strong: str | None = None,
    mark: tuple[int, str] | None = None,
    rounds: str = "epoch",
) -> Chart | None:
    """Return a chart of values over the epochs; None where there are no finite ones.

    Args:
        title: of the chart.
        lines: for each its values by epoch.
        strong: the line that is drawn in the colour of text.
        mark: an epoch, and what is said of it.
        rounds: what the epochs are called.
    """
    values = [value for line in lines.values() for value in line.values() if math.isfinite(value)]
    if not values:
        return None
    epochs = sorted({epoch for line in lines.values() for epoch in line})
    x = _Axis(epochs[0] - 0.5, epochs[-1] + 0.5, _LEFT, WIDTH - _RIGHT)
    low, high = min(values), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    y = _Axis(low - margin, high + margin, HEIGHT - _BOTTOM, _TOP)
    series, number = [], 0
    for name, line in lines.items():
        colour = None if name == strong else number
        number += name != strong
        points = [
            (round(x(epoch), 1), round(y(value), 1), f"{name}, {rounds} {epoch}: {value:.4g}")
            for epoch, value in sorted(line.items())
            if math.isfinite(value)
        ]
        series.append(Series(name, colour, points))
    return Chart(
        title,
        rounds,
        [Tick(round(x(epoch), 1), str(epoch)) for epoch in _thinned(epochs)],
        y.ticks(),
        series=series,
        legend=[(each.name, each.colour) for each in series],
        mark=None if mark is None else Tick(round(x(mark[0]), 1), mark[1]),
    )


def share_chart(title: str, amounts: Mapping[int, Mapping[str, int]], rounds: str = "epoch") -> Chart | None:
    """Return a chart of stacked bars, one an epoch; None where there are no amounts.

    Args:
        title: of the chart.
        amounts: for each epoch those of the tasks.
        rounds: what the epochs are called.
    """
    tasks = list(dict.fromkeys(task for parts in amounts.values() for task in parts))
    highest = max((sum(parts.values()) for parts in amounts.values()), default=0)
    if not highest:
        return None
    epochs = sorted(amounts)
    x = _Axis(epochs[0] - 0.5, epochs[-1] + 0.5, _LEFT, WIDTH - _RIGHT)
    y = _Axis(0.0, highest * 1.05, HEIGHT - _BOTTOM, _TOP)
    width = min(40.0, 0.7 * (x(1) - x(0)))
    bars = []
    for epoch in epochs:
        below = 0
        for number, task in enumerate(tasks):
            amount = amounts[epoch].get(task, 0)
            if amount:
                top = y(below + amount)
                told = f"{task}, {rounds} {epoch}: {amount:,}"
                bars.append(
                    Bar(
                        round(x(epoch) - width / 2, 1),
                        round(top, 1),
                        round(width, 1),
                        round(y(below) - top, 1),
                        number,
                        told,
                    )
                )
            below += amount
    return Chart(
        title,
        rounds,
        [Tick(round(x(epoch), 1), str(epoch)) for epoch in _thinned(epochs)],
        y.ticks(),
        bars=bars,
        legend=[(task, number) for number, task in enumerate(tasks)],
    )


def scatter_chart(title: str, labels: Sequence[float], predicted: Sequence[float]) -> Chart | None:
    """Return a chart of predictions against labels, thinned where there are very many; None where there are none.

    Args:
        title: of the chart.
        labels: the true ones.
        predicted: one a label.
    """
    if not labels:
        return None
    low, high = min(*labels, *predicted), max(*labels, *predicted)
    margin = (high - low) * 0.04 or 0.5
    x = _Axis(low - margin, high + margin, _LEFT, WIDTH - _RIGHT)
    y = _Axis(low - margin, high + margin, HEIGHT - _BOTTOM, _TOP)
    step = max(1, -(-len(labels) // _MOST_POINTS))
    dots = [(round(x(a), 1), round(y(b), 1)) for a, b in list(zip(labels, predicted, strict=True))[::step]]
    ends = (low - margin, high + margin)
    return Chart(
        title,
        "label (dashed: the prediction equals it)",
        x.ticks(),
        y.ticks(),
        dots=dots,
        diagonal=(round(x(ends[0]), 1), round(y(ends[0]), 1), round(x(ends[1]), 1), round(y(ends[1]), 1)),
    )


class _Axis:
    """A line of numbers laid on a line of the drawing."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: int | float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[Tick]:
        """Return about five round numbers and their places."""
        span = self.high - self.low
        unit = 10 ** math.floor(math.log10(span / 4))
        step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if span / (factor * unit) <= 6)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step + 1e-9)
        return [Tick(round(self(n * step), 1), _short(n * step)) for n in range(first, last + 1)]


def _short(value: int | float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{round(value, 10):g}"


def _thinned(epochs: Sequence[int]) -> list[int]:
    """Return some of the epochs, evenly spread, so that their numbers do not run into each other."""
    step = -(-len(epochs) // 16)
    return list(epochs[::step])
