"""Runs side by side: as a table for the terminal, and as TSV for programs."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from mbert_cli.data.table_writer import TextSink
from mbert_cli.data.text_output import csv_line, full
from mbert_cli.reports.best import MEANING
from mbert_cli.reports.bootstrap import INTERVAL, METHOD, interval_text
from mbert_cli.reports.run_report import RunReport, Scores, TaskMetric, best_scores
from mbert_cli.terminal.tables import new_table

_MADE_OF = ("adapters", "pooling", "balancing", "curriculum")
_SIZES = ("encoder", "adapters", "all")


def report_table(runs: Sequence[RunReport]) -> RenderableType:
    """Return a table with up to four rows per run: the run, its intervals, its reference, and their difference.

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
        lines = _lines(run, columns, marks)
        for number, (_, name, scores) in enumerate(lines):
            shown_facts = own_facts if number == 0 else [""] * len(own_facts)
            wide.add_row(name, *shown_facts[:-1], *scores, shown_facts[-1])
        wide.add_section()
        narrow += [*_upright(dict(zip(facts, own_facts, strict=True)), [*tasks, "overall"], lines), Text()]
    wide.narrow = Group(*narrow[:-1])
    notes = [f"*{MEANING.removeprefix('Marked')}"] * any(any(marks) for marks in all_marks)
    notes += [METHOD] * any(run.intervals.tasks for run in runs)
    return Group(wide, *(Text(note, style="dim") for note in notes))


_Line = tuple[str, str, list[str]]
"""The kind of a line, its name, and its scores."""


def _lines(run: RunReport, columns: Sequence[TaskMetric], marks: Sequence[bool]) -> list[_Line]:
    """Return the lines of a run: its scores, their intervals, the reference, and the difference from it."""
    own = [f"{score}{'*' * mark}" for score, mark in zip(_scores(run.scores, columns), marks, strict=True)]
    lines = [("run", run.scores.name, own)]
    if run.intervals.tasks:
        intervals = [*(run.intervals.tasks.get(task) for task, _ in columns), run.intervals.overall]
        lines.append((INTERVAL, INTERVAL, list(map(interval_text, intervals))))
    if run.reference is not None:
        lines.append(("reference", run.reference.name, _scores(run.reference, columns)))
    if run.difference is not None:
        lines.append(("difference", run.difference.name, _scores(run.difference, columns, "+")))
    return lines


def _upright(facts: Mapping[str, str], names: Sequence[str], lines: Sequence[_Line]) -> Iterator[RenderableType]:
    """Yield the name and the facts of one run, and a table of its scores beside their intervals and the reference."""
    yield Text(lines[0][1], style="bold", no_wrap=True, overflow="ignore")
    yield Text("; ".join(f"{name} {fact}" for name, fact in facts.items() if fact))
    table = new_table("task", *(("score" if kind == "run" else kind, "right") for kind, *_ in lines))
    for name, *scores in zip(names, *(scores for *_, scores in lines), strict=True):
        if any(scores):
            table.add_row(name, *scores)
    yield table
    yield from (Text(f"reference: {name}") for kind, name, _ in lines if kind == "reference")


def write_report(file: TextSink, runs: Sequence[RunReport]) -> None:
    """Write the same as TSV, with all digits. The column `row` is `run`, the reference's source, or `difference`.

    Lines with `low` and `high` contain the ends of the 95 % intervals, if they are known.

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
        for name, scores in _all_scores(run):
            cells = [scores.tasks.get(column) for column in columns]
            own = values if name == "run" else [None] * len(values)
            line = [str(run.path), name, *own, *cells, scores.overall]
            file.write(csv_line([full(cell) for cell in line], "\t"))


def _all_scores(run: RunReport) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of a run, the ends of their intervals, those of the reference, and the difference from it."""
    yield "run", run.scores
    if run.intervals.tasks:
        for end, name in enumerate(("low", "high")):
            tasks = {
                each: run.intervals.tasks[each[0]][end] for each in run.scores.tasks if each[0] in run.intervals.tasks
            }
            yield name, Scores(name, tasks, None if run.intervals.overall is None else run.intervals.overall[end])
    for each in (run.reference, run.difference):
        if each is not None:
            yield each.name, each


def _columns(runs: Sequence[RunReport]) -> list[TaskMetric]:
    """Return the tasks of all runs, without duplicates."""
    return list(dict.fromkeys(column for run in runs for column in run.scores.tasks))


def _made_of(run: RunReport) -> list[str]:
    recipe = run.recipe
    made_of = (recipe.pooling, recipe.loss_balancing, recipe.curriculum)
    return [recipe.describe_adapters(), *(each.describe() for each in made_of)]


def _facts(run: RunReport) -> Iterator[str]:
    planned, early = run.recipe.training.rounds, "" if run.ended is None else f" ({run.ended})"
    yield f"{run.epochs}{f'/{planned}' if planned else ''}{early}, kept {run.kept.epoch}"
    yield f"{run.parameters['all'] / 1e6:.1f}M, {run.times_encoder:.3f}x"
    yield f"{run.train_seconds:,.0f} s"


def _scores(scores: Scores, columns: Sequence[TaskMetric], sign: str = "") -> list[str]:
    values = [*(scores.tasks.get(column) for column in columns), scores.overall]
    return ["" if value is None else f"{value:{sign}.3f}" for value in values]
