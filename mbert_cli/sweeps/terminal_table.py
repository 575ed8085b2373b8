"""The tables that `mbert sweep` prints.

Must not import torch: fast start-up.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from mbert_cli.messages import one_line
from mbert_cli.sweeps.folder import SweepRuns
from mbert_cli.sweeps.plan import PlannedRow
from mbert_cli.sweeps.results import SweepResult
from mbert_cli.sweeps.run import Options
from mbert_cli.sweeps.table import Cell, Line, SweepTable, table_of
from mbert_cli.terminal.tables import new_table


def sweep_table(result: SweepResult) -> RenderableType:
    """Return the table of a sweep; on a narrow terminal it becomes one table per row."""
    table = table_of(result)
    wide = new_table(table.headings[0], *((name, "right") for name in table.headings[1:]))
    narrow: list[RenderableType] = []
    for group, lines in table.groups:
        if group:
            wide.add_row(Text(group, style="bold"))
            narrow += [Text(group, style="bold underline"), Text()]
        for line in lines:
            wide.add_row(line.name, *map(_shown, line.cells))
            if line.source:
                wide.add_row(Text(f"  {line.source}", style="dim"), *(Text(cell.published) for cell in line.cells))
            narrow += _upright(table, line)
        wide.add_section()
    wide.narrow = Group(*narrow)
    notes = [Text(note.text, style="red" if note.failed else "") for note in table.notes]
    below = [Text(f"{table.progress} {table.legend}".strip()), *notes]
    return Group(Text(table.title, style="bold"), wide, *below, *_importance(table), *map(Text, table.best))


def _importance(table: SweepTable) -> Iterator[RenderableType]:
    if table.importance:
        rows = new_table("range", ("importance", "right"))
        for name, share in table.importance:
            rows.add_row(name, share)
        yield rows


def _upright(table: SweepTable, line: Line) -> Iterator[RenderableType]:
    """Yield a row of the table as a separate table."""
    yield Text(line.name, style="bold")
    cells = dict(zip(table.headings[1:], line.cells, strict=True))
    yield Text("; ".join(f"{name} {cell.text}" for name, cell in cells.items() if name in table.facts and cell.text))
    scores = {name: cell for name, cell in cells.items() if name not in table.facts and (cell.text or cell.published)}
    if scores:
        upright = new_table("task", *((name, "right") for name in ("mean", "range", "published")))
        for name, cell in scores.items():
            upright.add_row(name, _shown(Cell(cell.text, best=cell.best)), cell.range, cell.published)
        yield upright
    if line.source:
        yield Text(f"published: {line.source}")
    yield Text()


def _shown(cell: Cell) -> Text:
    text = Text(f"{cell.text}{'*' if cell.best else ''}", style="bold" if cell.best else "")
    return text.append(f" {cell.range}", style="not bold") if cell.range else text


def runs_table(runs: SweepRuns, rows: Sequence[PlannedRow], options: Options) -> RenderableType:
    """Return the table of `mbert sweep --dry-run`: the runs in the order of training, with their states.

    Args:
        runs: the runs of the plan.
        rows: the rows of the plan.
        options: the options that the runs would have.
    """
    names: dict[str, list[str]] = {}
    for row in rows:
        for run in runs.of(row):
            names.setdefault(run.name, []).append(row.name)
    table = new_table("run", "rows", "state", ("epochs", "right"))
    for run in runs.in_turn(rows):
        state = run.state()
        status = "changed: see --force" if run.changes(options) else state.status
        shown = one_line(", ".join(dict.fromkeys(names[run.name])))
        table.add_row(run.name, shown, status, f"{state.epochs}/{run.recipe.training.rounds or '?'}")
    return table
