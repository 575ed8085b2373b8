"""The predictions of a regression against the labels, as a matplotlib figure."""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from mbert_cli.reports.colours import FIGURE_INK, FIGURE_SERIES
from mbert_cli.reports.plot_style import DPI


def scatter_figure(title: str, labels: Sequence[float], predicted: Sequence[float]) -> Figure:
    """Draw predictions against labels, and the line on which they are equal.

    Args:
        title: the title.
        labels: the true values.
        predicted: the predictions, one per label.
    """
    figure = Figure(figsize=(5.2, 5.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    low, high = min(*labels, *predicted), max(*labels, *predicted)
    margin = (high - low) * 0.04 or 0.5
    ends = (low - margin, high + margin)
    axes.grid(True)
    axes.plot(ends, ends, color=FIGURE_INK, linestyle=(0, (4, 3)), linewidth=1.2, zorder=3)
    # More points are drawn fainter, so that their density is visible.
    alpha = min(0.8, max(0.06, 10 / math.sqrt(len(labels))))
    # Rasterized: an SVG of a million points would be too large.
    axes.scatter(labels, predicted, s=16, color=FIGURE_SERIES[0], alpha=alpha, linewidths=0, zorder=2, rasterized=True)
    axes.set(xlim=ends, ylim=ends, aspect="equal", ylabel="prediction")
    axes.set_xlabel("label (dashed: the prediction equals it)")
    axes.set_title(title, pad=10)
    return figure
