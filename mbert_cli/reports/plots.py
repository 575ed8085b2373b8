"""The figures themselves: numbers in, a matplotlib Figure out. Nothing imports this file before it draws.

Colours are told apart by colour-blind eyes (Okabe and Ito 2008), and by brightness or marker as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import Bbox

from mbert_cli.metrics import percent
from mbert_cli.storage.metrics_file import EpochRecord, kept_epoch

DPI = 150
INK = "#22272e"
FAINT = "#8b949e"
STYLE: dict[Any, Any] = {
    # Ids within an SVG follow from its content, and its letters stay letters.
    "svg.hashsalt": "mbert",
    "svg.fonttype": "none",
    "axes.edgecolor": "#c4cad1",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.color": "#e8ebee",
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold dollar signs
    "xtick.color": "#c4cad1",
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": "#c4cad1",
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f5f8fb", "#c5dbee", "#6aa6d3", "#1f6cae", "#08306b"])

# Beside a point, below to the right where there is room.
_CORNERS: tuple[dict[str, Any], ...] = (
    {"position": (6, -3), "horizontalalignment": "left", "verticalalignment": "top"},
    {"position": (6, 3), "horizontalalignment": "left", "verticalalignment": "bottom"},
    {"position": (-6, 3), "horizontalalignment": "right", "verticalalignment": "bottom"},
    {"position": (-6, -3), "horizontalalignment": "right", "verticalalignment": "top"},
)
_MARKER_RADIUS = 3.0  # points
_LEAST_SPAN = 0.05  # of an axis of accuracies, correlations and their mean
_LARGEST_GRID = 12.0  # inches
_LONGEST_LABEL = 28  # characters
_SMALLEST_TYPE = 5.0  # points


@dataclass(frozen=True)
class ScorePoint:
    """A method's score and size.

    Args:
        name: of the method.
        parameters: how many of it train.
        mean: of its scores over seeds.
        lowest: of them.
        highest: of them.
    """

    name: str
    parameters: int
    mean: float
    lowest: float
    highest: float


def confusion_figure(
    title: str, labels: Sequence[str], counts: Sequence[Sequence[int | float]], shares: Sequence[Sequence[float]]
) -> Figure:
    """Draw a confusion matrix: colour is the share of the true label's rows, and so are the numbers below the counts.

    Where cells are too small for both numbers the shares are left out, then the counts, then labels between labels.

    Args:
        title: above the matrix.
        labels: names of the classes.
        counts: rows are true labels.
        shares: of each row.
    """
    number = len(labels)
    cell = min(max(5.5 / number, 0.2), 1.3 if number < 4 else 0.95, _LARGEST_GRID / number)
    names = [shortened(label) for label in labels]
    width = max(len(name) for name in names) * 0.075
    turned = width > cell
    side = cell * number
    figure = Figure(
        figsize=(max(4.4, side + 1.7 + width), side + 1.2 + (width if turned else 0.2)),
        dpi=DPI,
        layout="constrained",
    )
    axes = figure.add_subplot()
    gap = 1.2 if cell > 0.3 else 0
    mesh = axes.pcolormesh(np.asarray(shares), cmap=_HEAT, vmin=0, vmax=1, edgecolors="white", linewidth=gap)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    # Seven points of type need a little more than a tenth of an inch.
    shown = range(0, number, math.ceil(0.12 / cell))
    size = min(8.5, max(6.5, cell * 72 * 0.75))
    axes.set_xticks([i + 0.5 for i in shown], [names[i] for i in shown], size=size, rotation=90 if turned else 0)
    axes.set_yticks([i + 0.5 for i in shown], [names[i] for i in shown], size=size)
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label")
    axes.set_title(title, pad=10)
    _write_cells(axes, counts, shares, cell)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=18, pad=0.03, format=PercentFormatter(1))
    bar.outline.set_visible(False)
    bar.set_label("of the true label's rows", size=8)
    bar.ax.tick_params(length=0, labelsize=7.5)
    return figure


def _write_cells(
    axes: Axes, counts: Sequence[Sequence[int | float]], shares: Sequence[Sequence[float]], cell: float
) -> None:
    """Write counts, and shares below them, as far as they are legible; where there are counts only, no zeros."""
    longest = max(len(f"{count:,.0f}") for row in counts for count in row)
    size = min(11.0, cell * 72 * 0.85 / (0.62 * longest), cell * 72 * 0.4)
    if size < _SMALLEST_TYPE:
        return
    both = size * 0.75 >= _SMALLEST_TYPE and cell * 72 * 0.85 >= 4 * 0.62 * size * 0.75
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            share = shares[y][x]
            if not (both or count):
                continue
            colour = "white" if share > 0.62 else INK if count else FAINT
            style: dict[str, Any] = {"color": colour, "ha": "center"}
            if both:
                axes.text(x + 0.5, y + 0.49, f"{count:,.0f}", size=size, va="bottom", **style)
                axes.text(x + 0.5, y + 0.57, percent(share), size=size * 0.75, va="top", **style)
            else:
                axes.text(x + 0.5, y + 0.5, f"{count:,.0f}", size=size, va="center_baseline", **style)


def scatter_figure(title: str, labels: Sequence[float], predicted: Sequence[float]) -> Figure:
    """Draw predictions against labels, with the line where they are equal.

    Args:
        title: above.
        labels: the true ones.
        predicted: one a label.
    """
    figure = Figure(figsize=(5.2, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    low, high = min(*labels, *predicted), max(*labels, *predicted)
    margin = (high - low) * 0.04 or 0.5
    ends = (low - margin, high + margin)
    axes.grid(True)
    axes.plot(ends, ends, color=INK, linestyle=(0, (4, 3)), linewidth=1.2, zorder=3)
    # The more points, the fainter each, so that density shows.
    alpha = min(0.8, max(0.06, 10 / math.sqrt(len(labels))))
    # As pixels in an SVG: there may be a million.
    axes.scatter(labels, predicted, s=16, color=_COLOURS[0], alpha=alpha, linewidths=0, zorder=2, rasterized=True)
    axes.set(xlim=ends, ylim=ends, aspect="equal", ylabel="prediction")
    axes.set_xlabel("label (dashed: the prediction equals it)")
    axes.set_title(title, pad=10)
    return figure


def curves_figure(lines: Sequence[EpochRecord]) -> Figure:
    """Draw, over the epochs, each task's training loss, and its main metric with the overall score.

    The epoch whose model is kept is marked; bands stand for sequential epochs where there are others too.

    Args:
        lines: the epochs of metrics.jsonl.
    """
    figure = Figure(figsize=(11, 4.4), dpi=DPI, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    epochs = [line.epoch for line in lines]
    markers = len(epochs) <= 40
    tasks = list(lines[-1].tasks)
    for index, task in enumerate(tasks):
        metric = lines[-1].tasks[task]["main_metric"]
        style: dict[str, Any] = {
            "color": _COLOURS[index % len(_COLOURS)],
            "linestyle": ("-", "--", ":", "-.")[index // len(_COLOURS) % 4],
            "linewidth": 1.6,
            "marker": _MARKERS[index % len(_MARKERS)] if markers else None,
            "markersize": 4.5,
        }
        losses.plot(epochs, [line.train_loss.get(task, math.nan) for line in lines], **style)
        label = f"{shortened(task)} {metric}"
        # Epochs that select_after rules out are not scored.
        values = [line.tasks[task][metric] if task in line.tasks else math.nan for line in lines]
        scores.plot(epochs, values, label=label, **style)
    overall = [math.nan if line.overall is None else line.overall for line in lines]
    scores.plot(epochs, overall, label="overall", color=INK, linewidth=2.4, marker="." if markers else None)
    kept = kept_epoch(lines)
    if kept is not None:
        scores.plot(
            [kept.epoch], [kept.overall], "o", markersize=11, markerfacecolor="none", markeredgecolor=INK,
            markeredgewidth=1.4, linestyle="none", label=f"kept: epoch {kept.epoch}",
        )  # fmt: skip
    handles, names = scores.get_legend_handles_labels()
    sequential = [line.epoch for line in lines if line.phases == "sequential"]
    banded = 0 < len(sequential) < len(lines)
    for axes, title in ((losses, "training loss"), (scores, "main metric on dev")):
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        for epoch in sequential if banded else ():
            axes.axvspan(epoch - 0.5, epoch + 0.5, color="#f1f3f5", linewidth=0, zorder=0)
        if kept is not None:
            axes.axvline(kept.epoch, color=INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if banded:
        handles, names = [*handles, Patch(facecolor="#e6e9ec")], [*names, "sequential epoch"]
    _widen(scores, _LEAST_SPAN)
    _use_logarithm_where_losses_differ_much(losses)
    figure.legend(handles, names, loc="outside lower center", ncols=min(6, len(names)))
    return figure


def scores_figure(title: str, groups: Mapping[str, Sequence[ScorePoint]]) -> Figure:
    """Draw scores against sizes: a point a row, with its range over seeds; a line through the rows of a group.

    Args:
        title: above.
        groups: rows by their groups.
    """
    figure = Figure(figsize=(8.2, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for index, (group, points) in enumerate(groups.items()):
        ordered = sorted(points, key=lambda point: point.parameters)
        sizes, means = [point.parameters for point in ordered], [point.mean for point in ordered]
        beyond = [[p.mean - p.lowest for p in ordered], [p.highest - p.mean for p in ordered]]
        axes.errorbar(
            sizes, means, yerr=beyond, color=_COLOURS[index % len(_COLOURS)], marker=_MARKERS[index % len(_MARKERS)],
            linestyle=("-", "--", ":", "-.")[index // len(_COLOURS) % 4], linewidth=1.4, markersize=2 * _MARKER_RADIUS,
            elinewidth=1, capsize=3, label=shortened(group),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)
    _widen(axes, _LEAST_SPAN)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_xlabel("parameters that train")
    axes.set_ylabel("overall score on dev")
    axes.set_title(title, pad=10)
    if any(groups):
        axes.legend(loc="best")
    figure.draw_without_rendering()  # from here on it is known where everything lies
    _name_points(axes, [point for points in groups.values() for point in points])
    return figure


def _widen(axes: Axes, least: float) -> None:
    """Let a vertical axis span no less than it should, so that differences that mean nothing look small."""
    low, high = axes.get_ylim()
    missing = least - (high - low)
    if missing > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def _name_points(axes: Axes, points: Sequence[ScorePoint]) -> None:
    """Write each point's name at that corner of it where it lies over the fewest names and points."""
    places = axes.transData.transform([(point.parameters, point.mean) for point in points])
    taken = [Bbox.from_bounds(x, y, 0, 0).padded(_MARKER_RADIUS * DPI / 72) for x, y in places]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for point in points:
        name = axes.annotate(
            shortened(point.name), (point.parameters, point.mean), xytext=(0, 0), textcoords="offset points",
            fontsize=7.5, color=INK,
        )  # fmt: skip
        boxes = []
        for corner in _CORNERS:
            name.set(**corner)
            boxes.append(name.get_window_extent())
        covered = [sum(box.overlaps(other) for other in taken) for box in boxes]
        best = covered.index(min(covered))
        name.set(**_CORNERS[best])
        taken.append(boxes[best])


def _count(value: float) -> str:
    """Return a number of parameters for people: 250k, 1.5M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _use_logarithm_where_losses_differ_much(axes: Axes) -> None:
    # The last line is the kept epoch's.
    losses = [float(loss) for line in axes.get_lines()[:-1] for loss in np.asarray(line.get_ydata())]
    positive = [loss for loss in losses if loss > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_yscale("log")


def shortened(name: str) -> str:
    """Return a name with its middle left out where it is long: its end may be what tells it from others."""
    if len(name) <= _LONGEST_LABEL:
        return name
    half = (_LONGEST_LABEL - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
