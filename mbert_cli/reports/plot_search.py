"""A search as a matplotlib figure: the importance of each range, and the scores against its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbert_cli.reports.colours import FIGURE_SERIES
from mbert_cli.reports.plot_style import DPI, LEAST_SPAN, shortened, widen

_MOST = 5  # ranges whose scores are drawn: the most important ones


@dataclass(frozen=True)
class SearchedRange:
    """A range and the trials that are done.

    Args:
        name: name of the range.
        importance: its importance, from 0 to 1.
        values: its value in each trial: numbers, or names of choices.
        is_log: whether its axis is logarithmic.
    """

    name: str
    importance: float
    values: Sequence[float] | Sequence[str]
    is_log: bool


def search_figure(title: str, ranges: Sequence[SearchedRange], scores: Sequence[float]) -> Figure:
    """Draw the importance of each range as a bar, and for the most important ranges the score of each trial.

    Args:
        title: the title.
        ranges: the ranges.
        scores: the overall score of each trial.
    """
    ordered = sorted(ranges, key=lambda each: each.importance, reverse=True)
    drawn = ordered[:_MOST]
    figure = Figure(figsize=(3.2 + 2.4 * len(drawn), 3.4), dpi=DPI, layout="constrained")
    bars, *others = figure.subplots(1, 1 + len(drawn), width_ratios=[1.2] + [1.0] * len(drawn))
    names = {shortened(each.name): each.importance for each in reversed(ordered)}
    _draw_bars(bars, names)
    best = max(range(len(scores)), key=scores.__getitem__)
    for number, (axes, each) in enumerate(zip(others, drawn, strict=True)):
        _draw_scores(axes, each, scores, best)
        if number == 0:
            axes.set_ylabel("overall score on dev")
    figure.suptitle(title, fontsize=10, x=0.01, horizontalalignment="left")
    return figure


def _draw_bars(axes: Axes, names: Mapping[str, float]) -> None:
    drawn = axes.barh(list(names), list(names.values()), color=FIGURE_SERIES[0], height=0.6)
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(0, 1.15)
    axes.set_xlabel("importance")


def _draw_scores(axes: Axes, drawn: SearchedRange, scores: Sequence[float], best: int) -> None:
    names = list(dict.fromkeys(each for each in drawn.values if isinstance(each, str)))
    if names:
        axes.set_xticks(
            range(len(names)), [shortened(each) for each in names], rotation=30, horizontalalignment="right"
        )
    places = [names.index(each) if isinstance(each, str) else each for each in drawn.values]
    axes.scatter(places, scores, color=FIGURE_SERIES[0], s=22)
    axes.scatter(places[best : best + 1], scores[best : best + 1], color=FIGURE_SERIES[1], s=60, marker="*")
    if drawn.is_log:
        axes.set_xscale("log")
    axes.margins(x=0.12, y=0.1)
    widen(axes, LEAST_SPAN)
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_xlabel(shortened(drawn.name))
