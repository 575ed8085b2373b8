"""The geometry of charts: positions in a drawing that the template charts.html writes as SVG.

The colours are in colours.py.

Must not import torch: fast start-up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 420.0, 230.0
"""Size of a drawing in its own units; the page scales it."""
_RIGHT, _TOP, _BOTTOM = 10.0, 10.0, 34.0
_DIGIT_WIDTH, _MARGIN = 7.6, 10.0  # the width of a digit, and the space beside a number on the vertical axis
_MOST_POINTS = 1500
_MOST_EPOCHS = 16  # with a number on the axis
LEAST_SCORE_SPAN = 0.05
"""Least span of an axis of accuracies, correlations or their mean."""


@dataclass(frozen=True)
class Tick:
    """A position on an axis, and the text there."""

    at: float
    text: str


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Args:
        name: its name in the legend.
        colour: number of its colour among the page's colours of series; None for the colour of text.
        points: x, y and tooltip of each point.
    """

    name: str
    colour: int | None
    points: list[tuple[float, float, str]]

    @property
    def path(self) -> str:
        """The points as an SVG `polyline` takes them."""
        return " ".join(f"{x:g},{y:g}" for x, y, _ in self.points)


@dataclass(frozen=True)
class Bar:
    """A rectangle of a bar chart."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    tooltip: str


@dataclass(frozen=True)
class Chart:
    """A drawing.

    Args:
        title: title of the chart.
        x_label: label of the horizontal axis.
        x_ticks: ticks of the horizontal axis.
        y_ticks: ticks of the vertical axis.
        series: lines.
        bars: rectangles.
        dots: single points, as x and y.
        legend: names and colours.
        mark: a vertical line and its meaning; None for no line.
        diagonal: x and y of both ends of a line; None for no line.
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
    round_name: str = "epoch",
    least_span: float | None = None,
) -> Chart | None:
    """Return a chart of values over the epochs; None if no value is finite.

    Args:
        title: title of the chart.
        lines: the values of each line, by epoch.
        strong: name of the line that has the colour of text.
        mark: an epoch that is marked, and the meaning of the mark.
        round_name: `epoch` or `member`.
        least_span: least span of the vertical axis, so that small differences look small; None for a tenth of the
            largest value.
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
            (round(x(epoch), 1), round(y(value), 1), f"{name}, {round_name} {epoch}: {value:.4g}")
            for epoch, value in sorted(line.items())
            if math.isfinite(value)
        ]
        series.append(Series(name, colour, points))
    return Chart(
        title,
        round_name,
        [Tick(round(x(epoch), 1), str(epoch)) for epoch in _thinned(epochs)],
        y.ticks(),
        series=series,
        legend=[(each.name, each.colour) for each in series],
        left=left,
        mark=None if mark is None else Tick(round(x(mark[0]), 1), mark[1]),
    )


def share_chart(title: str, amounts: Mapping[int, Mapping[str, int]], round_name: str = "epoch") -> Chart | None:
    """Return a chart of stacked bars, one per epoch; None if all amounts are zero.

    Args:
        title: title of the chart.
        amounts: for each epoch, the amount of each task.
        round_name: `epoch` or `member`.
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
                tooltip = f"{task}, {round_name} {epoch}: {amount:,}"
                bars.append(
                    Bar(
                        round(x(epoch) - width / 2, 1),
                        round(top, 1),
                        round(width, 1),
                        round(y(below) - top, 1),
                        number,
                        tooltip,
                    )
                )
            below += amount
    return Chart(
        title,
        round_name,
        [Tick(round(x(epoch), 1), str(epoch)) for epoch in _thinned(epochs)],
        y.ticks(),
        bars=bars,
        legend=[(task, number) for number, task in enumerate(tasks)],
        left=left,
    )


def scatter_chart(title: str, labels: Sequence[float], predicted: Sequence[float]) -> Chart | None:
    """Return a chart of predictions against labels; None if there are none. Of very many points, it shows some.

    Args:
        title: title of the chart.
        labels: the true values.
        predicted: the predictions, one per label.
    """
    if not labels:
        return None
    low, high = min(*labels, *predicted), max(*labels, *predicted)
    margin = (high - low) * 0.04 or 0.5
    y = _Axis(low - margin, high + margin, HEIGHT - _BOTTOM, _TOP)
    left = _left(y.ticks())
    x = _Axis(low - margin, high + margin, left, WIDTH - _RIGHT)
    step = math.ceil(len(labels) / _MOST_POINTS)
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
    """Return the ends of an axis that contains two values, and spans at least `least`; see `line_chart`."""
    wanted = max(abs(low), abs(high)) * 0.1 if least is None else least
    margin = max((high - low) * 0.08, (wanted - (high - low)) / 2) or 1.0
    return low - margin, high + margin


def _left(ticks: Sequence[Tick]) -> float:
    """Return the left end of the horizontal axis, which leaves space for the numbers on the vertical axis."""
    return _MARGIN + _DIGIT_WIDTH * max(len(tick.text) for tick in ticks)


class _Axis:
    """Maps numbers from `low` to `high` to positions from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: int | float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[Tick]:
        """Return about five round numbers and their positions."""
        span = self.high - self.low
        unit = 10 ** math.floor(math.log10(span / 4))
        step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if span / (factor * unit) <= 6)
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step + 1e-9)
        values = [n * step for n in range(first, last + 1)]
        decimals = max(len(_short(value).partition(".")[2]) for value in values)
        return [Tick(round(self(value), 1), _short(value, decimals)) for value in values]


def _short(value: int | float, decimals: int | None = None) -> str:
    """Return a number on an axis: 2M, 20k, or with so many decimals; None for as many as it needs."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    plain = f"{round(value, 10):g}"
    return plain if decimals is None or "e" in plain else f"{value:.{decimals}f}"


def _thinned(epochs: Sequence[int]) -> list[int]:
    """Return some of the epochs, evenly spaced, so that their numbers do not overlap."""
    step = math.ceil(len(epochs) / _MOST_EPOCHS)
    return list(epochs[::step])
