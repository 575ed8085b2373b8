"""The scores of the labels of a task whose rows have several labels, as a matplotlib figure."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mbert_cli.reports.colours import FIGURE_SERIES
from mbert_cli.reports.plot_style import DPI, shortened

_ROW = 0.32  # inches
_FRAME = 1.3


def labels_figure(title: str, scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the F1 of each label as a bar, and its average precision as a point.

    Args:
        title: the title.
        scores: for each label, `f1`, `support` and, if a row has the label, `average_precision`.
    """
    figure = Figure(figsize=(6.4, _FRAME + _ROW * max(3, len(scores))), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    places = range(len(scores))
    axes.barh(places, [own["f1"] for own in scores.values()], height=0.6, color=FIGURE_SERIES[0], label="F1")
    points = [(own["average_precision"], at) for at, own in enumerate(scores.values()) if "average_precision" in own]
    if points:
        values, heights = zip(*points, strict=True)
        axes.scatter(values, heights, s=22, color=FIGURE_SERIES[1], zorder=3, label="average precision")
    axes.set_yticks(list(places), [f"{shortened(name)} ({own['support']:,})" for name, own in scores.items()])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1))
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("score (number of rows with the label)")
    axes.set_title(title, pad=10)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    return figure
