"""The confusion matrix of a classification, as a matplotlib figure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mbert_cli.metrics import percent
from mbert_cli.reports.colours import FIGURE_FAINT, FIGURE_INK, FIGURE_PAPER, FIGURE_SHARES
from mbert_cli.reports.plot_style import DPI, shortened

_COLOURS_OF_SHARES = LinearSegmentedColormap.from_list("shares", FIGURE_SHARES)
_DARK_SHARE = 0.62  # above it, the text of a cell is white
_POINTS = 72  # in an inch
_LARGEST_GRID = 12.0  # inches
_SMALLEST_TYPE = 5.0  # points
_DIGIT_WIDTH = 0.62  # of its height


def confusion_figure(
    title: str, labels: Sequence[str], counts: Sequence[Sequence[int | float]], shares: Sequence[Sequence[float]]
) -> Figure:
    """Draw a confusion matrix. A cell has the colour of its share, the count, and the share below it.

    If the cells are too small for both numbers, the shares are omitted, then the counts, and then some of the labels.

    Args:
        title: the title.
        labels: names of the classes.
        counts: numbers of rows; a row of the matrix is a true label, a column a predicted label.
        shares: the same divided by the number of rows with the true label.
    """
    number = len(labels)
    cell = min(max(5.5 / number, 0.2), 1.3 if number < 4 else 0.95, _LARGEST_GRID / number)  # inches
    names = [shortened(label) for label in labels]
    name_width = max(len(name) for name in names) * 0.075
    turned = name_width > cell
    side = cell * number
    figure = Figure(
        figsize=(max(4.4, side + 1.7 + name_width), side + 1.2 + (name_width if turned else 0.2)),
        dpi=DPI,
        layout="constrained",
    )
    axes = figure.add_subplot()
    gap = 1.2 if cell > 0.3 else 0
    mesh = axes.pcolormesh(
        np.asarray(shares), cmap=_COLOURS_OF_SHARES, vmin=0, vmax=1, edgecolors=FIGURE_PAPER, linewidth=gap
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    # A label of seven points needs 0.12 inches.
    labelled = range(0, number, math.ceil(0.12 / cell))
    size = min(8.5, max(6.5, cell * _POINTS * 0.75))
    centres, labelled_names = [i + 0.5 for i in labelled], [names[i] for i in labelled]
    axes.set_xticks(centres, labelled_names, size=size, rotation=90 if turned else 0)
    axes.set_yticks(centres, labelled_names, size=size)
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
    """Write counts, and shares below them if both are legible. Without shares, zeros are omitted."""
    longest = max(len(f"{count:,.0f}") for row in counts for count in row)
    width, height = cell * _POINTS * 0.85, cell * _POINTS * 0.4
    size = min(11.0, width / (_DIGIT_WIDTH * longest), height)
    if size < _SMALLEST_TYPE:
        return
    share_size = size * 0.75
    has_shares = share_size >= _SMALLEST_TYPE and width >= len("100%") * _DIGIT_WIDTH * share_size
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            share = shares[y][x]
            if not (has_shares or count):
                continue
            colour = FIGURE_PAPER if share > _DARK_SHARE else FIGURE_INK if count else FIGURE_FAINT
            style: dict[str, Any] = {"color": colour, "ha": "center"}
            if has_shares:
                axes.text(x + 0.5, y + 0.49, f"{count:,.0f}", size=size, va="bottom", **style)
                axes.text(x + 0.5, y + 0.57, percent(share), size=share_size, va="top", **style)
            else:
                axes.text(x + 0.5, y + 0.5, f"{count:,.0f}", size=size, va="center_baseline", **style)
