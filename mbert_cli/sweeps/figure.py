"""The figure of a sweep: the scores of its rows against the number of trained parameters."""

from mbert_cli.messages import one_line
from mbert_cli.reports.figures import in_our_style, png
from mbert_cli.sweeps.results import RowResult, SweepResult
from mbert_cli.terminal.console import Console


def draw_scores(result: SweepResult) -> bytes | None:
    """Return the figure as a PNG, or None if there are no rows of different sizes to compare."""
    rows = [row for row in result.rows if row.overall is not None and row.trained_parameters is not None]
    if len({row.trained_parameters for row in rows}) < 2:
        return None
    with in_our_style():
        # matplotlib is imported only if a figure is drawn, because the import is slow.
        from mbert_cli.reports.plot_scores import ScorePoint, scores_figure

        def point(row: RowResult) -> ScorePoint:
            score, parameters = row.overall, row.trained_parameters
            assert score is not None
            assert parameters is not None
            return ScorePoint(one_line(row.row.name), parameters, score.mean, score.lowest, score.highest)

        groups = {one_line(name): [point(row) for row in own if row in rows] for name, own in result.groups.items()}
        return png(scores_figure(one_line(result.title), {name: points for name, points in groups.items() if points}))


def draw_scores_or_explain(result: SweepResult, console: Console) -> bytes | None:
    """Return the figure. If drawing fails, print why and return None, because the tables are more important."""
    try:
        return draw_scores(result)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        console.info(f"the figure could not be drawn ({why}); all numbers are in the tables.")
        return None
