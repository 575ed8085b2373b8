"""The figure of a sweep: the scores of its rows against the number of trained parameters; for a search, its ranges."""

from mbert_cli.messages import one_line
from mbert_cli.reports.figures import in_our_style, png
from mbert_cli.sweeps.ranges import shown_value
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


def draw_search(result: SweepResult) -> bytes | None:
    """Return the figure of a search as a PNG, or None if there is no importance to draw."""
    if result.search is None or not result.importance:
        return None
    with in_our_style():
        from mbert_cli.reports.plot_search import SearchedRange, search_figure

        done = [row for row in result.rows if row.overall is not None]
        ranges = []
        for each in result.search.ranges:
            values = [row.row.values[each.key] for row in done]
            plotted = [one_line(shown_value(value)) for value in values] if each.kind == "choice" else values
            share = result.importance[each.key]
            ranges.append(SearchedRange(one_line(each.name), share, plotted, each.kind == "log"))
        scores = [row.overall.mean for row in done if row.overall is not None]
        return png(search_figure(one_line(result.title), ranges, scores))


def draw_scores_or_explain(result: SweepResult, console: Console) -> bytes | None:
    """Return the figure. If drawing fails, print why and return None, because the tables are more important."""
    try:
        return draw_scores(result) if result.search is None else draw_search(result)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        console.info(f"the figure could not be drawn ({why}); all numbers are in the tables.")
        return None
