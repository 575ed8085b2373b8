"""Scores against numbers of parameters, as a matplotlib figure: the figure of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import Bbox

from mbert_cli.reports.colours import FIGURE_INK
from mbert_cli.reports.plot_style import DPI, LEAST_SPAN, series_style, shortened, widen

_MARKER_RADIUS = 3.0  # points
_POINTS = 72  # in an inch
# Where a name can stand beside its point; the first one is preferred.
_CORNERS: tuple[dict[str, Any], ...] = (
    {"position": (6, -3), "horizontalalignment": "left", "verticalalignment": "top"},
    {"position": (6, 3), "horizontalalignment": "left", "verticalalignment": "bottom"},
    {"position": (-6, 3), "horizontalalignment": "right", "verticalalignment": "bottom"},
    {"position": (-6, -3), "horizontalalignment": "right", "verticalalignment": "top"},
)


@dataclass(frozen=True)
class ScorePoint:
    """The score and the size of one method.

    Args:
        name: name of the method.
        parameters: number of its trained parameters.
        mean: mean of its scores over the seeds.
        lowest: the lowest of them.
        highest: the highest of them.
    """

    name: str
    parameters: int
    mean: float
    lowest: float
    highest: float


def scores_figure(title: str, groups: Mapping[str, Sequence[ScorePoint]]) -> Figure:
    """Draw scores against sizes: one point per method with its range over the seeds, and one line per group.

    Args:
        title: the title.
        groups: methods by the names of their groups.
    """
    figure = Figure(figsize=(8.2, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (group, points) in enumerate(groups.items()):
        ordered = sorted(points, key=lambda point: point.parameters)
        sizes, means = [point.parameters for point in ordered], [point.mean for point in ordered]
        ranges = [[p.mean - p.lowest for p in ordered], [p.highest - p.mean for p in ordered]]
        axes.errorbar(
            sizes, means, yerr=ranges, **series_style(number), linewidth=1.4, markersize=2 * _MARKER_RADIUS,
            elinewidth=1, capsize=3, label=shortened(group),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)
    widen(axes, LEAST_SPAN)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_xlabel("parameters that train")
    axes.set_ylabel("overall score on dev")
    axes.set_title(title, pad=10)
    if any(groups):
        axes.legend(loc="best")
    figure.draw_without_rendering()  # this sets all positions, which `_name_points` reads
    _name_points(axes, [point for points in groups.values() for point in points])
    return figure


def _name_points(axes: Axes, points: Sequence[ScorePoint]) -> None:
    """Write the name of each point at the corner where it covers the fewest other names and points."""
    places = axes.transData.transform([(point.parameters, point.mean) for point in points])
    taken = [Bbox.from_bounds(x, y, 0, 0).padded(_MARKER_RADIUS * DPI / _POINTS) for x, y in places]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for point in points:
        name = axes.annotate(
            shortened(point.name), (point.parameters, point.mean), xytext=(0, 0), textcoords="offset points",
            fontsize=7.5, color=FIGURE_INK,
        )  # fmt: skip
        boxes = []
        for corner in _CORNERS:
            name.set(**corner)
            boxes.append(name.get_window_extent())
        covered = [sum(box.overlaps(other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        name.set(**_CORNERS[best])
        taken.append(boxes[best])


def _short_count(value: float) -> str:
    """Return a number of parameters in short: 250k, 1.5M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
