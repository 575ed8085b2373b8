"""The table of a sweep: for terminals, and as TSV, Markdown and HTML. No torch here."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from mbert_cli.data.text_format import csv_line, full
from mbert_cli.messages import one_line
from mbert_cli.reports.best import MEANING, MEANING_OF_MEANS, best
from mbert_cli.reports.html import html_page
from mbert_cli.storage.atomic import replace_file
from mbert_cli.sweeps.folder import FIGURE, TABLES, SweepRuns
from mbert_cli.sweeps.plan import PlannedRow
from mbert_cli.sweeps.results import RowResult, Spread, SweepResult
from mbert_cli.sweeps.run import Options, RunState, SweepRun
from mbert_cli.terminal.tables import new_table

_FACTS = ("kept epoch", "size", "training")
_HARDWARE = "trained on"  # a column where that differs
_MOST_SHOWN = 160  # characters of a failed run's last line


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Args:
        text: the mean, or a fact.
        range: the lowest and the highest over seeds, where there are several.
        published: the score that the row is compared with.
        best: whether it is marked as one of the best means of its group.
    """

    text: str = ""
    range: str = ""
    published: str = ""
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Args:
        name: its first cell.
        cells: the others.
        source: where the published scores come from.
    """

    name: str
    cells: tuple[Cell, ...]
    source: str


@dataclass(frozen=True)
class Note:
    """A run that is not done.

    Args:
        text: which, and why.
        failed: whether it ended by itself.
    """

    text: str
    failed: bool


def write_tables(folder: Path, result: SweepResult, figure: bytes | None = None) -> None:
    """Write the table in all forms, each whole or not at all.

    Args:
        folder: exists.
        result: the table.
        figure: a PNG that is written beside the table and into its page.

    Raises:
        ResourceError: the disk is full.
        UsageError: the folder cannot be written to.
    """
    for name, text in zip(TABLES, (as_tsv(result), as_markdown(result), as_html(result, figure)), strict=True):
        replace_file(folder / name, text)
    if figure is not None:
        replace_file(folder / FIGURE, figure)


def sweep_table(result: SweepResult) -> RenderableType:
    """Return the table for a terminal; on a narrow one, a table a row."""
    headings = _headings(result)
    wide = new_table(headings[0], *((name, "right") for name in headings[1:]))
    narrow: list[RenderableType] = []
    for group, lines in _groups(result):
        if group:
            wide.add_row(Text(group, style="bold"))
            narrow += [Text(group, style="bold underline"), Text()]
        for line in lines:
            wide.add_row(line.name, *map(_shown, line.cells))
            if line.source:
                wide.add_row(Text(f"  {line.source}", style="dim"), *(Text(cell.published) for cell in line.cells))
            narrow += _upright(headings, line)
        wide.add_section()
    wide.narrow = Group(*narrow)
    notes = [Text(f"{note.text}", style="red" if note.failed else "") for note in _notes(result)]
    below = [Text(f"{_progress(result)} {_legend(result)}".strip()), *notes]
    return Group(Text(one_line(result.title), style="bold"), wide, *below)


def _upright(headings: Sequence[str], line: Line) -> Iterator[RenderableType]:
    """Yield a row of the table as a table of its own."""
    yield Text(line.name, style="bold")
    cells = dict(zip(headings[1:], line.cells, strict=True))
    yield Text("; ".join(f"{name} {cell.text}" for name, cell in cells.items() if _is_fact(name) and cell.text))
    scores = {name: cell for name, cell in cells.items() if not _is_fact(name) and (cell.text or cell.published)}
    if scores:
        table = new_table("task", *((name, "right") for name in ("mean", "range", "published")))
        for name, cell in scores.items():
            table.add_row(name, _shown(Cell(cell.text, best=cell.best)), cell.range, cell.published)
        yield table
    if line.source:
        yield Text(f"published: {line.source}")
    yield Text()


def _is_fact(heading: str) -> bool:
    return heading in (*_FACTS, _HARDWARE, "seeds")


def _shown(cell: Cell) -> Text:
    text = Text(f"{cell.text}{'*' if cell.best else ''}", style="bold" if cell.best else "")
    return text.append(f" {cell.range}", style="not bold") if cell.range else text


def runs_table(runs: SweepRuns, rows: Sequence[PlannedRow], options: Options) -> RenderableType:
    """Return what `mbert sweep --dry-run` prints: the runs in the order they are trained in, and how far each is."""
    sharing: dict[str, list[str]] = {}
    for row in rows:
        for run in runs.of(row):
            sharing.setdefault(run.name, []).append(row.name)
    table = new_table("run", "rows", "state", ("epochs", "right"))
    for run in runs.in_turn(rows):
        state = run.state()
        status = "changed: see --force" if run.changes(options) else state.status
        names = one_line(", ".join(dict.fromkeys(sharing[run.name])))
        table.add_row(run.name, names, status, f"{state.epochs}/{run.recipe.training.rounds}")
    return table


def as_markdown(result: SweepResult) -> str:
    """Return the table as Markdown: one a group, the best of a column in bold."""
    headings = _headings(result)
    found = [f"# {_markdown(result.title)}", "", f"{_progress(result)} {_legend(result)}".strip(), ""]
    for group, lines in _groups(result):
        found += [f"## {_markdown(group)}", ""] if group else []
        found += [_markdown_row(map(_markdown, headings)), "|---|" + "---:|" * len(headings[1:])]
        for line in lines:
            found.append(_markdown_row([_markdown(line.name), *map(_markdown_cell, line.cells)]))
            if line.source:
                published = (_markdown(cell.published) for cell in line.cells)
                found.append(_markdown_row([f"*{_markdown(line.source)}*", *published]))
        found.append("")
    if notes := _notes(result):
        found += ["Runs that are not done:", "", *(f"- {_markdown(note.text)}" for note in notes), ""]
    return "\n".join(found)


def _markdown_row(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else _markdown(cell.text)
    return f"{text} {cell.range}".strip()


def _markdown(text: str) -> str:
    """Return a text that means itself in Markdown, and in HTML."""
    escaped = "".join(f"\\{each}" if each in "\\`*_[]|#~" else each for each in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_html(result: SweepResult, figure: bytes | None = None) -> str:
    """Return the table as one page of HTML, with a figure in it."""
    return html_page(
        "sweep.html",
        title=one_line(result.title),
        progress=_progress(result),
        legend=_legend(result),
        headings=_headings(result),
        groups=_groups(result),
        notes=_notes(result),
        figure="" if figure is None else base64.b64encode(figure).decode("ascii"),
    )


def as_tsv(result: SweepResult) -> str:
    """Return the table as TSV, numbers in full: of every score mean, lowest, highest and the published one."""
    names = [*(f"{task}_{metric}" for task, metric in result.columns), "overall"]
    scores = [f"{name}_{part}" for name in names for part in ("mean", "min", "max", "published")]
    sizes = ["encoder_parameters", "adapter_parameters", "times_encoder"]
    known = [
        "group",
        "row",
        "seeds",
        "done",
        *scores,
        "published_in",
        "kept_epochs",
        *sizes,
        "train_seconds",
        "trained_on",
        "runs",
    ]
    lines = [csv_line(known, "\t", is_header=True)]
    for row in result.rows:
        published = row.published
        cells: list[str | float | None] = []
        for column in result.columns:
            cells += [*_numbers(row.tasks.get(column)), published.tasks.get(column) if published else None]
        cells += [*_numbers(row.overall), published.overall if published else None]
        parameters: Mapping[str, int] = row.reports[0].parameters if row.reports else {}
        line = [
            one_line(row.row.group),
            one_line(row.row.name),
            " ".join(map(str, row.row.seeds)),
            len(row.reports),
            *cells,
            one_line(published.name) if published else None,
            " ".join(map(str, row.kept_epochs)),
            parameters.get("encoder"),
            parameters.get("adapters"),
            row.times_encoder,
            None if row.train_seconds is None else round(row.train_seconds, 3),
            "; ".join(row.hardware),
            " ".join(run.name for run in row.runs),
        ]
        lines.append(csv_line([full(cell) for cell in line], "\t"))
    return "".join(lines)


def _numbers(spread: Spread | None) -> list[float | None]:
    return [None, None, None] if spread is None else [spread.mean, spread.lowest, spread.highest]


def _headings(result: SweepResult) -> list[str]:
    scores = (f"{one_line(task)} {metric}" for task, metric in result.columns)
    return ["row", "seeds", *scores, "overall", *_FACTS, *([_HARDWARE] if len(result.hardware) > 1 else [])]


def _groups(result: SweepResult) -> list[tuple[str, list[Line]]]:
    return [(one_line(group), _lines(result, rows)) for group, rows in result.groups.items()]


def _lines(result: SweepResult, rows: Sequence[RowResult]) -> list[Line]:
    """Return the rows of a group, of every column of scores the best means marked."""
    columns = [[row.estimates.get(column) for row in rows] for column in result.columns]
    marked = zip(*map(best, [*columns, [row.overall_estimate for row in rows]]), strict=True)
    lines = []
    for row, marks in zip(rows, marked, strict=True):
        cells = [Cell(f"{len(row.reports)}/{len(row.runs)}")]
        for (spread, published), mark in zip(_scores(result, row), marks, strict=True):
            cells.append(_score_cell(spread, published, mark))
        source = one_line(row.published.name) if row.published is not None else ""
        lines.append(Line(one_line(row.row.name), (*cells, *_facts(result, row)), source))
    return lines


def _scores(result: SweepResult, row: RowResult) -> list[tuple[Spread | None, float | None]]:
    """Return each column's own and published score."""
    tasks, published = row.tasks, row.published
    found = [(tasks.get(each), published.tasks.get(each) if published else None) for each in result.columns]
    return [*found, (row.overall, published.overall if published else None)]


def _score_cell(spread: Spread | None, published: float | None, best: bool) -> Cell:
    beside = "" if published is None else f"{published:.3f}"
    if spread is None:
        return Cell(published=beside)
    several = len(spread.values) > 1
    return Cell(f"{spread.mean:.3f}", f"({spread.lowest:.3f}–{spread.highest:.3f})" if several else "", beside, best)  # noqa: RUF001


def _facts(result: SweepResult, row: RowResult) -> Iterator[Cell]:
    members = row.row.recipe.training.members
    yield Cell(f"{members} members" if members > 1 and row.reports else ", ".join(map(str, row.kept_epochs)))
    yield Cell("" if row.times_encoder is None else f"{row.times_encoder:.3f}x")
    yield Cell("" if row.train_seconds is None else _duration(row.train_seconds))
    if len(result.hardware) > 1:
        yield Cell("; ".join(row.hardware))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:,.0f} min"


def _progress(result: SweepResult) -> str:
    runs = {run.name: state for row in result.rows for run, state in zip(row.runs, row.states, strict=True)}
    done = sum(state.status == "done" for state in runs.values())
    return f"{done} of {len(runs)} runs are done."


def _legend(result: SweepResult) -> str:
    """Return what the cells mean."""
    if not any(row.reports for row in result.rows):
        return ""
    several = any(len(row.reports) > 1 for row in result.rows)
    marked = any(cell.best for _, lines in _groups(result) for line in lines for cell in line.cells)
    means = "Scores on dev files: mean (lowest to highest) over seeds" if several else "Scores on dev files"
    meaning = MEANING_OF_MEANS if several else MEANING
    columns = f" {meaning.replace('a column', 'a column of a group')}" if marked else ""
    return f"{means}.{columns} Size: encoder and adapters over encoder. Training: of one run."


def _notes(result: SweepResult) -> list[Note]:
    return [Note(note_of(run, state), state.status == "failed") for run, state in result.unfinished]


def note_of(run: SweepRun, state: RunState) -> str:
    """Return a sentence about a run that is not done."""
    epochs = f"{state.epochs} of {run.recipe.training.rounds} epochs have ended"
    said = {
        "failed": f"failed with exit code {state.exit_code}: {state.said[:_MOST_SHOWN]}",
        "training": f"is being trained; {epochs}",
        "stopped": f"was stopped; {epochs}",
        "waiting": "has not begun",
    }[state.status]
    log = f" ({run.log})" if state.status == "failed" else ""
    return one_line(f"{run.label}: {said}{log}")
