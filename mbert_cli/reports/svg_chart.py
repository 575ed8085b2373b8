"""The geometry of charts: numbers to places in a drawing that templates write as SVG. No torch here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 420.0, 230.0
"""Of a drawing; it is scaled to the page."""
_RIGHT, _TOP, _BOTTOM = 10.0, 10.0, 34.0
_LETTER, _BESIDE = 7.6, 10.0  # the width of a digit in the page's type, and the room beside a number on an axis
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
    left: float = 44.0
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM


def line_chart(
    title: str,
    lines: Mapping[str, Mapping[int, float]],
    strong: str | None = None,
    mark: tuple[int, str] | None = None,
    rounds: str = "epoch",
    least_span: float | None = None,
) -> Chart | None:
    """Return a chart of values over the epochs; None where there are no finite ones.

    Args:
        title: of the chart.
        lines: for each its values by epoch.
        strong: the line that is drawn in the colour of text.
        mark: an epoch, and what is said of it.
        rounds: what the epochs are called.
        least_span: of the vertical axis, so that differences that mean nothing look small; a tenth of the largest value
            by default.
    """
    values = [value for line in lines.values() for value in line.values() if math.isfinite(value)]
    if not values:
        return None
    epochs = sorted({epoch for line in lines.values() for epoch in line})
    y = _Axis(*_spread(min(values), max(values), least_span), HEIGHT - _BOTTOM, _TOP)
    left = _left(y.ticks())
    x = _Axis(epochs[0] - 0.5, epochs[-1] + 0.5, left, WIDTH - _RIGHT)
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
        left=left,
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
    y = _Axis(0.0, highest * 1.05, HEIGHT - _BOTTOM, _TOP)
    left = _left(y.ticks())
    x = _Axis(epochs[0] - 0.5, epochs[-1] + 0.5, left, WIDTH - _RIGHT)
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
        left=left,
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
    y = _Axis(low - margin, high + margin, HEIGHT - _BOTTOM, _TOP)
    left = _left(y.ticks())
    x = _Axis(low - margin, high + margin, left, WIDTH - _RIGHT)
    step = max(1, -(-len(labels) // _MOST_POINTS))
    dots = [(round(x(a), 1), round(y(b), 1)) for a, b in list(zip(labels, predicted, strict=True))[::step]]
    ends = (low - margin, high + margin)
    return Chart(
        title,
        "label (dashed: the prediction equals it)",
        x.ticks(),
        y.ticks(),
        dots=dots,
        left=left,
        diagonal=(round(x(ends[0]), 1), round(y(ends[0]), 1), round(x(ends[1]), 1), round(y(ends[1]), 1)),
    )


def _spread(low: float, high: float, least: float | None) -> tuple[float, float]:
    """Return the ends of an axis that holds two values and spans no less than it should."""
    wanted = max(abs(low), abs(high)) * 0.1 if least is None else least
    margin = max((high - low) * 0.08, (wanted - (high - low)) / 2) or 1.0
    return low - margin, high + margin


def _left(ticks: Sequence[Tick]) -> float:
    """Return where a drawing begins to the right of the numbers on its vertical axis."""
    return _BESIDE + _LETTER * max(len(tick.text) for tick in ticks)


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
        values = [n * step for n in range(first, last + 1)]
        places = max(len(_short(value).partition(".")[2]) for value in values)
        return [Tick(round(self(value), 1), _short(value, places)) for value in values]


def _short(value: int | float, places: int | None = None) -> str:
    """Return a number on an axis, with as many decimal places as its neighbours."""
    for unit, letter in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= unit:
            return f"{value / (unit if letter == 'M' else 1e3):g}{letter}"
    plain = f"{round(value, 10):g}"
    return plain if places is None or "e" in plain else f"{value:.{places}f}"


def _thinned(epochs: Sequence[int]) -> list[int]:
    """Return some of the epochs, evenly spread, so that their numbers do not run into each other."""
    step = -(-len(epochs) // 16)
    return list(epochs[::step])
