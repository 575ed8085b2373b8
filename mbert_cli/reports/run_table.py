"""Runs side by side: as a table for the terminal, and as TSV for programs."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from mbert_cli.data.table_writer import TextSink
from mbert_cli.data.text_output import csv_line, full
from mbert_cli.reports.best import MEANING
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric, best_scores
from mbert_cli.terminal.tables import new_table

_MADE_OF = ("adapters", "pooling", "balancing", "curriculum")
_SIZES = ("encoder", "adapters", "all")


def report_table(runs: Sequence[RunReport]) -> RenderableType:
    """Return a table with up to three rows per run: the run, its reference, and their difference.

    On narrow terminals, each run has a table of its own.
    """
    columns = _columns(runs)
    tasks = [f"{task} {metric}" for task, metric in columns]
    facts = [*_MADE_OF, "epochs", "parameters", "training"]
    numbers = ((name, "right") for name in (*tasks, "overall", "training"))
    wide = new_table("run", *facts[:-1], *numbers)
    narrow: list[RenderableType] = []
    all_marks = best_scores(runs, columns)
    for run, marks in zip(runs, all_marks, strict=True):
        own_facts = [*_made_of(run), *_facts(run)]
        rows = [(each.name, _scores(each, columns)) for each in (run.scores, run.reference) if each is not None]
        if run.difference is not None:
            rows.append((run.difference.name, _scores(run.difference, columns, "+")))
        marked = [f"{score}{'*' * mark}" for score, mark in zip(rows[0][1], marks, strict=True)]
        rows[0] = (rows[0][0], marked)
        for number, (name, scores) in enumerate(rows):
            shown_facts = own_facts if number == 0 else [""] * len(own_facts)
            cells = [*shown_facts[:-1], *scores, shown_facts[-1]]
            wide.add_row(name, *cells)
        wide.add_section()
        narrow += [*_upright(dict(zip(facts, own_facts, strict=True)), [*tasks, "overall"], rows), Text()]
    wide.narrow = Group(*narrow[:-1])
    is_marked = any(any(marks) for marks in all_marks)
    return Group(wide, Text(f"*{MEANING.removeprefix('Marked')}", style="dim")) if is_marked else wide


def _upright(
    facts: Mapping[str, str], names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[RenderableType]:
    """Yield the name and the facts of one run, and a table of its scores beside those of the reference."""
    yield Text(rows[0][0], style="bold", no_wrap=True, overflow="ignore")
    yield Text("; ".join(f"{name} {fact}" for name, fact in facts.items() if fact))
    table = new_table("task", *((name, "right") for name in ("run", "reference", "difference")[: len(rows)]))
    for name, *scores in zip(names, *(scores for _, scores in rows), strict=True):
        if any(scores):
            table.add_row(name, *scores)
    yield table
    if len(rows) > 1:
        yield Text(f"reference: {rows[1][0]}")


def write_report(file: TextSink, runs: Sequence[RunReport]) -> None:
    """Write the same as TSV, with all digits. The column `row` is `run`, the reference's source, or `difference`.

    Args:
        file: the output.
        runs: the runs to compare.
    """
    columns = _columns(runs)
    sizes = [f"{name}_parameters" for name in _SIZES]
    tasks = [f"{task}_{metric}" for task, metric in columns]
    known = [*_MADE_OF, "epochs", "planned_epochs", "kept_epoch", *sizes, "train_seconds"]
    file.write(csv_line(["run", "row", *known, *tasks, "overall"], "\t", is_header=True))
    for run in runs:
        epochs = (run.epochs, run.recipe.training.rounds, run.kept.epoch)
        values = [*_made_of(run), *epochs, *(run.parameters[name] for name in _SIZES), round(run.train_seconds, 3)]
        for name, scores in (("run", run.scores), (None, run.reference), (None, run.difference)):
            if scores is not None:
                cells = [scores.tasks.get(column) for column in columns]
                own = values if name else [None] * len(values)
                line = [str(run.path), name or scores.name, *own, *cells, scores.overall]
                file.write(csv_line([full(cell) for cell in line], "\t"))


def _columns(runs: Sequence[RunReport]) -> list[TaskMetric]:
    """Return the tasks of all runs, without duplicates."""
    return list(dict.fromkeys(column for run in runs for column in run.scores.tasks))


def _made_of(run: RunReport) -> list[str]:
    recipe = run.recipe
    made_of = (recipe.pooling, recipe.loss_balancing, recipe.curriculum)
    return [recipe.describe_adapters(), *(each.describe() for each in made_of)]


def _facts(run: RunReport) -> Iterator[str]:
    yield f"{run.epochs}/{run.recipe.training.rounds}, kept {run.kept.epoch}"
    yield f"{run.parameters['all'] / 1e6:.1f}M, {run.times_encoder:.3f}x"
    yield f"{run.train_seconds:,.0f} s"


def _scores(scores: Scores, columns: Sequence[TaskMetric], sign: str = "") -> list[str]:
    values = [*(scores.tasks.get(column) for column in columns), scores.overall]
    return ["" if value is None else f"{value:{sign}.3f}" for value in values]
