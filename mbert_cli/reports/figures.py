"""The figures of a run as PNG and SVG files, drawn from the files of its evaluation and from metrics.jsonl.

TASK_confusion   the confusion matrix of a classification
TASK_scatter     a regression's predictions against its labels
TASK_labels      F1 and average precision of each label, for a task whose rows have several labels
curves           losses and scores over the epochs

The bytes of a figure depend only on the numbers and on matplotlib's version. They contain no dates; displays and the
user's matplotlib settings have no effect.
"""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mbert_cli.errors import counted
from mbert_cli.reports.confusion import Confusion, frequent_classes
from mbert_cli.reports.evaluation_folder import PREDICTIONS, data_name, read_numbers, read_summary
from mbert_cli.storage.atomic import commit_folder
from mbert_cli.storage.metrics_file import read_metrics
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console

_MOST_CLASSES = 50  # of a confusion matrix that has too many classes to draw them all
# Fonts for scripts that matplotlib's own font lacks; the installed ones are used.
_MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "WenQuanYi Zen Hei", "Arial")


def draw(evaluation: Path, metrics_file: Path) -> dict[str, bytes]:
    """Draw all figures whose data exist.

    Args:
        evaluation: a folder that `write_evaluation` wrote; it need not exist.
        metrics_file: a run's metrics.jsonl; it need not exist.

    Returns:
        PNG and SVG files by name.
    """
    records = read_metrics(metrics_file)
    metrics = read_summary(evaluation)
    files: dict[str, bytes] = {}
    with in_our_style():
        # matplotlib is imported only if something is drawn.
        from mbert_cli.reports.plot_curves import curves_figure
        from mbert_cli.reports.plot_labels import labels_figure
        from mbert_cli.reports.plot_scatter import scatter_figure
        from mbert_cli.reports.plot_style import shortened

        for task, scores in metrics.get("tasks", {}).items():
            title = f"{shortened(task)} on {data_name(metrics, task)}, {counted(scores['examples'], 'row')}\n"
            if (confusion := Confusion.of(scores)) is not None:
                title += f"accuracy {scores['accuracy']:.3f}, macro F1 {scores['macro']['f1']:.3f}"
                files |= _files(f"{task}_confusion", _confusion_figure(title, confusion))
            elif "micro_f1" in scores:
                title += f"micro F1 {scores['micro_f1']:.3f}, macro F1 {scores['macro_f1']:.3f}"
                labels, note = frequent_classes(scores, _MOST_CLASSES)
                files |= _files(f"{task}_labels", labels_figure(f"{title}\n{note}".strip(), labels))
            elif "pearson" in scores:
                true, predicted = read_numbers(evaluation / f"{task}{PREDICTIONS}", "label", "pred")
                title += f"Pearson {scores['pearson']:.3f}, Spearman {scores['spearman']:.3f}, MSE {scores['mse']:.3f}"
                files |= _files(f"{task}_scatter", scatter_figure(title, true, predicted))
        if records:
            files |= _files("curves", curves_figure(records))
    return files


def _confusion_figure(title: str, confusion: Confusion) -> Any:
    """Draw a confusion matrix. With too many classes, draw the most frequent ones, and print that in the title."""
    from mbert_cli.reports.plot_confusion import confusion_figure

    if not confusion.has_matrix:
        title += f"\nthe {_MOST_CLASSES} most frequent of {len(confusion.labels):,} classes"
        confusion = confusion.of_most_frequent(_MOST_CLASSES)
    return confusion_figure(title, confusion.labels, confusion.matrix(), confusion.shares())


def draw_if_possible(evaluation: Path, metrics_file: Path, console: Console) -> dict[str, bytes]:
    """Draw all figures whose data exist. If this fails, print why: a training run must not fail because of its figures.

    Args:
        evaluation: see `draw`.
        metrics_file: see `draw`.
        console: prints the reason of a failure in one line.
    """
    try:
        return draw(evaluation, metrics_file)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        console.info(f"the figures could not be drawn ({reason}); all numbers are in the files they are drawn from.")
        return {}


def figures_size(tasks: int) -> int:
    """Return an estimate, in bytes, of all figures of a run with so many tasks."""
    return 60_000 * tasks + 80_000


def write_figures(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write figures into an existing folder."""
    for name, content in files.items():
        (folder / name).write_bytes(content)


@contextmanager
def in_our_style() -> Iterator[None]:
    """Use our matplotlib settings within the block, instead of the user's. Afterwards, all settings are restored."""
    log = logging.getLogger("matplotlib")
    level = log.level
    with warnings.catch_warnings():
        # matplotlib warns of missing letters, and logs that it builds its font cache.
        warnings.simplefilter("ignore")
        log.setLevel(logging.CRITICAL)
        try:
            import matplotlib
            from matplotlib.font_manager import get_font_names

            from mbert_cli.reports.plot_style import STYLE

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
    figure.set_layout_engine("none")  # keeps the positions; computing them again takes a quarter of the time
    return files | {f"{name}.svg": svg(figure)}


def png(figure: Any) -> bytes:
    """Return a matplotlib Figure as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def svg(figure: Any) -> bytes:
    """Return a matplotlib Figure as an SVG file that contains its text as text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def draw_figures(folder: RunFolder, console: Console) -> None:
    """Draw the figures of a run into its folder; if this fails, print why."""
    files = draw_if_possible(folder.evaluation, folder.metrics_file, console)
    if files:
        commit_folder(folder.figures, lambda at: write_figures(at, files))
