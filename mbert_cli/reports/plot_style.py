"""What all matplotlib figures share: fonts, line styles, and short names. Imported only when a figure is drawn."""

from typing import Any

from matplotlib.axes import Axes

from mbert_cli.reports.colours import FIGURE_AXES, FIGURE_GRID, FIGURE_INK, FIGURE_SERIES

DPI = 150
LEAST_SPAN = 0.05
"""Least span of an axis of accuracies, correlations or their mean."""
STYLE: dict[Any, Any] = {
    # Ids in an SVG depend only on its content, and its text stays text.
    "svg.hashsalt": "mbert",
    "svg.fonttype": "none",
    "axes.edgecolor": FIGURE_AXES,
    "axes.grid": False,
    "axes.labelcolor": FIGURE_INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": FIGURE_INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.color": FIGURE_GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": FIGURE_INK,
    "text.parse_math": False,  # a label may contain dollar signs
    "xtick.color": FIGURE_AXES,
    "xtick.labelcolor": FIGURE_INK,
    "xtick.labelsize": 8.5,
    "ytick.color": FIGURE_AXES,
    "ytick.labelcolor": FIGURE_INK,
    "ytick.labelsize": 8.5,
}
"""matplotlib's settings for all figures."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", ":", "-.")
_LONGEST_NAME = 28  # characters


def series_style(number: int) -> dict[str, Any]:
    """Return colour, line and marker of a series. Series differ in more than colour.

    Args:
        number: from 0.
    """
    return {
        "color": FIGURE_SERIES[number % len(FIGURE_SERIES)],
        "linestyle": _LINES[number // len(FIGURE_SERIES) % len(_LINES)],
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def widen(axes: Axes, least: float) -> None:
    """Let the vertical axis span at least `least`, so that small differences look small."""
    low, high = axes.get_ylim()
    missing = least - (high - low)
    if missing > 0:
        axes.set_ylim(low - missing / 2, high + missing / 2)


def shortened(name: str) -> str:
    """Return a name without its middle if it is long. Long names often differ only at the end."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
