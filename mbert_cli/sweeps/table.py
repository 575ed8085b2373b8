"""The table of a sweep as text cells: what all its formats show.

Must not import torch: fast start-up.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mbert_cli.errors import command_line, counted
from mbert_cli.messages import one_line
from mbert_cli.reports.best import MEANING, MEANING_OF_MEANS, best
from mbert_cli.sweeps.ranges import shown_value
from mbert_cli.sweeps.results import RowResult, Spread, SweepResult
from mbert_cli.sweeps.run import RunState, SweepRun

_FACTS = ("kept epoch", "size", "training")
_STATE = "state"
_HARDWARE = "trained on"  # a column that exists only if rows differ in it
_MAX_SHOWN = 160  # characters of the last line of a failed run


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Args:
        text: the mean score, or a fact.
        range: the lowest and the highest score, if there are several seeds.
        published: the published score that the row is compared with.
        best: whether the cell is marked as one of the best means of its group.
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
        cells: the other cells.
        source: source of the published scores.
    """

    name: str
    cells: tuple[Cell, ...]
    source: str


@dataclass(frozen=True)
class Note:
    """A message about a run that is not done.

    Args:
        text: the message.
        failed: whether the run has failed.
    """

    text: str
    failed: bool


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep as text.

    Args:
        title: title of the table.
        progress: how many runs are done.
        legend: meaning of the cells.
        headings: headings of the columns.
        groups: for each group its name and its rows.
        notes: messages about runs that are not done.
        facts: headings of columns that contain facts, not scores.
        best: for a search, sentences about its best trial.
        importance: for a search, each range with its importance.
    """

    title: str
    progress: str
    legend: str
    headings: list[str]
    groups: list[tuple[str, list[Line]]]
    notes: list[Note]
    facts: frozenset[str]
    best: list[str]
    importance: list[tuple[str, str]]


def table_of(result: SweepResult) -> SweepTable:
    """Return the table of a sweep's results."""
    groups = [(one_line(group), _lines(result, rows)) for group, rows in result.groups.items()]
    ranges = result.search.ranges if result.search is not None else ()
    names = {each.key: one_line(each.name) for each in ranges}
    return SweepTable(
        title=one_line(result.title),
        progress=_progress(result),
        legend=_legend(result, [cell for _, lines in groups for line in lines for cell in line.cells]),
        headings=_headings(result),
        groups=groups,
        notes=[Note(note_of(run, state), state.status == "failed") for run, state in result.unfinished],
        facts=frozenset((*_FACTS, _HARDWARE, "seeds", _STATE, *names.values())),
        best=best_of(result),
        importance=[(names[key], f"{share:.3f}") for key, share in result.importance.items()],
    )


def best_of(result: SweepResult) -> list[str]:
    """Return sentences about the best trial of a search: its score, its settings, and the command that trains it."""
    row = result.best_trial
    if row is None or result.search is None or row.overall is None:
        return []
    settings = " ".join(shlex.quote(each.setting(row.row.values[each.key])) for each in result.search.ranges)
    (run,) = row.runs
    words = [f"--{name}={value}" for name, value in run.recorded_options().items() if value not in (None, "auto")]
    command = command_line("train", run.recipe_file, *words, "-o", f"runs/{run.name}")
    return [
        one_line(f"Best: {row.row.name}, overall {row.overall.mean:.3f}: {settings}"),
        one_line(f"Train it again: {command}"),
    ]


def done_of(done: int, total: int) -> str:
    """Return how many runs are done: `3 of 4 runs are done`."""
    return f"{done} of {counted(total, 'run')} {'is' if 1 in (done, total) else 'are'} done"


def note_of(run: SweepRun, state: RunState) -> str:
    """Return a sentence about a run that is not done."""
    planned = run.recipe.training.rounds
    epochs = f"{state.epochs} of {counted(planned, 'epoch')}" if planned else counted(state.epochs, "evaluation")
    text = {
        "failed": f"failed with exit code {state.exit_code}: {state.message[:_MAX_SHOWN]}",
        "training": f"is being trained; {epochs} done",
        "stopped": f"was stopped; {epochs} done",
        "waiting": "has not started",
    }[state.status]
    log = f" ({run.log})" if state.status == "failed" else ""
    return one_line(f"{run.label}: {text}{log}")


def _headings(result: SweepResult) -> list[str]:
    scores = (f"{one_line(task)} {metric}" for task, metric in result.columns)
    first = ["row", "seeds"]
    if result.search is not None:
        first = ["trial", *(one_line(each.name) for each in result.search.ranges), _STATE]
    return [*first, *scores, "overall", *_FACTS, *([_HARDWARE] if len(result.hardware) > 1 else [])]


def _lines(result: SweepResult, rows: Sequence[RowResult]) -> list[Line]:
    """Return the rows of a group, with the best means of each column marked."""
    columns = [[row.estimates.get(column) for row in rows] for column in result.columns]
    marked = zip(*map(best, [*columns, [row.overall_estimate for row in rows]]), strict=True)
    lines = []
    for row, marks in zip(rows, marked, strict=True):
        cells = _first_cells(result, row)
        for (spread, published), mark in zip(_scores(result, row), marks, strict=True):
            cells.append(_score_cell(spread, published, mark))
        source = one_line(row.published.name) if row.published is not None else ""
        lines.append(Line(one_line(row.row.name), (*cells, *_facts(result, row)), source))
    return lines


def _first_cells(result: SweepResult, row: RowResult) -> list[Cell]:
    """Return the cells before the scores: how many seeds are done; for a trial, its values and its state."""
    if result.search is None:
        return [Cell(f"{len(row.reports)}/{len(row.runs)}")]
    (state,) = row.states
    planned = row.row.recipe.training.rounds
    rounds = f" {state.epochs}/{planned}" if planned and state.status not in ("done", "failed") else ""
    values = [Cell(one_line(shown_value(row.row.values[each.key]))) for each in result.search.ranges]
    return [*values, Cell(f"{state.status}{rounds}")]


def _scores(result: SweepResult, row: RowResult) -> list[tuple[Spread | None, float | None]]:
    """Return the row's own score and the published score of each column."""
    tasks, published = row.tasks, row.published
    scores = [(tasks.get(each), published.tasks.get(each) if published else None) for each in result.columns]
    return [*scores, (row.overall, published.overall if published else None)]


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
    if result.search is not None:
        states = [row.states[0].status for row in result.rows]
        counts = ", ".join(f"{states.count(each)} {each}" for each in dict.fromkeys(states))
        planned = f" of {result.search.trials:,}" if result.search.section.trials is not None else ""
        return f"{len(states)}{planned} trials: {counts}."
    return f"{done_of(done, len(runs))}."


def _legend(result: SweepResult, cells: Sequence[Cell]) -> str:
    """Return the meaning of the cells; empty if no run is done."""
    if not any(row.reports for row in result.rows):
        return ""
    several = any(len(row.reports) > 1 for row in result.rows)
    means = "Scores on dev files: mean (lowest to highest) over seeds" if several else "Scores on dev files"
    meaning = MEANING_OF_MEANS if several else MEANING
    marked = any(cell.best for cell in cells)
    columns = f" {meaning.replace('column', 'column of a group')}" if marked else ""
    size = "Size: parameters of encoder plus adapters, relative to the encoder alone."
    return f"{means}.{columns} {size} Training: mean time per run."
