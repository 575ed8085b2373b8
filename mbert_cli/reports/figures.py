"""Figures as PNG and as SVG files, drawn from the files of an evaluation and of a run.

TASK_confusion   the confusion matrix of a classification
TASK_scatter     a regression's predictions against its labels
curves           losses and scores over the epochs

Their bytes are a function of the numbers and of matplotlib's version: no dates, no display, nobody's settings.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbert_cli.errors import counted
from mbert_cli.metrics import Confusion
from mbert_cli.reports.evaluation_folder import PREDICTIONS, data_name, read_numbers, read_summary
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.storage.metrics_file import read_metrics
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console

_MOST_CLASSES = 50  # of a matrix that is a part of a larger one
# For labels in scripts that matplotlib's own font has no letters for; those that are installed are used.
_MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "WenQuanYi Zen Hei", "Arial")


def draw(evaluation: Path, metrics_file: Path) -> dict[str, bytes]:
    """Draw all that there is to draw.

    Args:
        evaluation: a folder that `write_evaluation` wrote; it need not exist.
        metrics_file: a run's metrics.jsonl; it need not exist.

    Returns:
        PNG and SVG files by name.
    """
    lines = read_metrics(metrics_file)
    metrics = read_summary(evaluation)
    drawn: dict[str, bytes] = {}
    with in_our_style():
        # Whoever draws nothing does not wait for matplotlib.
        from mbert_cli.reports import plots

        for task, found in metrics.get("tasks", {}).items():
            title = f"{plots.shortened(task)} on {data_name(metrics, task)}, {counted(found['examples'], 'row')}\n"
            if (confusion := Confusion.of(found)) is not None:
                title += f"accuracy {found['accuracy']:.3f}, macro F1 {found['macro']['f1']:.3f}"
                drawn |= _files(f"{task}_confusion", _confusion_figure(title, confusion))
            elif "pearson" in found:
                values = read_numbers(evaluation / f"{task}{PREDICTIONS}", "label", "pred")
                title += f"Pearson {found['pearson']:.3f}, Spearman {found['spearman']:.3f}, MSE {found['mse']:.3f}"
                drawn |= _files(f"{task}_scatter", plots.scatter_figure(title, *values))
        if lines:
            drawn |= _files("curves", plots.curves_figure(lines))
    return drawn


def _confusion_figure(title: str, confusion: Confusion) -> Any:
    """Draw a confusion matrix; of very many classes that of the most frequent ones, and say so in the title."""
    from mbert_cli.reports import plots

    if not confusion.has_matrix:
        title += f"\nthe {_MOST_CLASSES} most frequent of {len(confusion.labels):,} classes"
        confusion = confusion.of_most_frequent(_MOST_CLASSES)
    return plots.confusion_figure(title, confusion.labels, confusion.matrix(), confusion.shares())


def draw_or_say(evaluation: Path, metrics_file: Path, console: Console) -> dict[str, bytes]:
    """Draw all that there is to draw; where that fails say so in one line, for nothing else must be lost by it.

    Args:
        evaluation: see `draw`.
        metrics_file: see `draw`.
        console: where a failure is printed.
    """
    try:
        return draw(evaluation, metrics_file)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        console.info(f"the figures could not be drawn ({why}); all numbers are in the files they are drawn from.")
        return {}


def figures_size(tasks: int) -> int:
    """Return about how many bytes the figures of a run have, as PNG and SVG files: one a task, and the curves."""
    return 60_000 * tasks + 80_000


def write_figures(folder: Path, drawn: Mapping[str, bytes]) -> None:
    """Write figures into a folder that exists."""
    for name, content in drawn.items():
        (folder / name).write_bytes(content)


@contextmanager
def in_our_style() -> Iterator[None]:
    """Let the block draw in our style, whatever the user's settings are; leave everything as it was."""
    log = logging.getLogger("matplotlib")
    level = log.level
    with warnings.catch_warnings():
        # It tells of missing letters and of font caches, which nobody asked for.
        warnings.simplefilter("ignore")
        log.setLevel(logging.CRITICAL)
        try:
            import matplotlib
            from matplotlib.font_manager import get_font_names

            from mbert_cli.reports.plots import STYLE

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                installed = set(get_font_names())
                fonts = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]
                matplotlib.rcParams.update({**STYLE, "font.family": fonts})
                yield
        finally:
            log.setLevel(level)


def _files(name: str, figure: Any) -> dict[str, bytes]:
    files = {f"{name}.png": png(figure)}
    figure.set_layout_engine("none")  # its parts stay where they are: the search for room is a quarter of the time
    return files | {f"{name}.svg": svg(figure)}


def png(figure: Any) -> bytes:
    """Return a matplotlib Figure as the bytes of a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def svg(figure: Any) -> bytes:
    """Return a matplotlib Figure as the bytes of an SVG file, its text as text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def draw_figures(folder: RunFolder, console: Console) -> None:
    """Draw what a run found; where that fails say so."""
    drawn = draw_or_say(folder.evaluation, folder.metrics_file, console)
    if drawn:
        commit_folder(folder.figures, lambda at: write_figures(at, drawn))
