"""Losses and scores over the epochs, as a matplotlib figure."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mbert_cli.reports.colours import FIGURE_BAND, FIGURE_BAND_IN_LEGEND, FIGURE_INK
from mbert_cli.reports.plot_style import DPI, LEAST_SPAN, series_style, shortened, widen
from mbert_cli.storage.metrics_file import EpochRecord, kept_epoch

_MOST_MARKED_EPOCHS = 40  # with more epochs, points have no markers


def curves_figure(records: Sequence[EpochRecord]) -> Figure:
    """Draw over the epochs: each task's training loss, its main metric, and the overall score.

    The epoch whose model is kept is marked. If only some epochs are sequential, bands mark them.

    Args:
        records: the epochs of metrics.jsonl.
    """
    figure = Figure(figsize=(11, 4.4), dpi=DPI, layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _draw_tasks(losses, scores, records)
    kept = kept_epoch(records)
    if kept is not None:
        scores.plot(
            [kept.epoch], [kept.overall], "o", markersize=11, markerfacecolor="none", markeredgecolor=FIGURE_INK,
            markeredgewidth=1.4, linestyle="none", label=f"kept: {kept.round_name} {kept.epoch}",
        )  # fmt: skip
    handles, names = scores.get_legend_handles_labels()
    _use_logarithm_if_losses_differ_much(losses)
    sequential = [record.epoch for record in records if record.phases == "sequential"]
    banded = sequential if len(sequential) < len(records) else []
    for axes, title in ((losses, "training loss"), (scores, "main metric on dev")):
        axes.grid(True, axis="y")
        axes.set_axisbelow(True)
        axes.set_title(title)
        axes.set_xlabel(records[-1].round_name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(records[0].epoch - 0.5, records[-1].epoch + 0.5)
        for epoch in banded:
            axes.axvspan(epoch - 0.5, epoch + 0.5, color=FIGURE_BAND, linewidth=0, zorder=0)
        if kept is not None:
            axes.axvline(kept.epoch, color=FIGURE_INK, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if banded:
        handles, names = (
            [*handles, Patch(facecolor=FIGURE_BAND_IN_LEGEND)],
            [*names, f"sequential {records[-1].round_name}"],
        )
    widen(scores, LEAST_SPAN)
    figure.legend(handles, names, loc="outside lower center", ncols=min(6, len(names)))
    return figure


def _draw_tasks(losses: Axes, scores: Axes, records: Sequence[EpochRecord]) -> None:
    epochs = [record.epoch for record in records]
    has_markers = len(epochs) <= _MOST_MARKED_EPOCHS
    for number, (task, metrics) in enumerate(records[-1].tasks.items()):
        metric = metrics["main_metric"]
        style: dict[str, Any] = {**series_style(number), "linewidth": 1.6, "markersize": 4.5}
        if not has_markers:
            style["marker"] = None
        losses.plot(epochs, [record.train_loss.get(task, math.nan) for record in records], **style)
        # Epochs that `select_after` excludes are not scored.
        values = [record.tasks[task][metric] if task in record.tasks else math.nan for record in records]
        scores.plot(epochs, values, label=f"{shortened(task)} {metric}", **style)
    overall = [math.nan if record.overall is None else record.overall for record in records]
    scores.plot(epochs, overall, label="overall", color=FIGURE_INK, linewidth=2.4, marker="." if has_markers else None)


def _use_logarithm_if_losses_differ_much(axes: Axes) -> None:
    losses = [float(loss) for line in axes.get_lines() for loss in np.asarray(line.get_ydata())]
    positive = [loss for loss in losses if loss > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_yscale("log")
