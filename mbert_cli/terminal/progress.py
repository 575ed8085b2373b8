"""What a command says while it works: on stderr, live on a terminal, plain lines elsewhere; events on stdout."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from mbert_cli.errors import MbertError
from mbert_cli.messages import one_line

_LINE_EVERY = 60.0  # seconds, of what has no terminal for a bar


class Talk:
    """Says things on stderr.

    Args:
        quiet: say nothing.
        verbose: say details, too.
        events: print what happens on stdout, one JSON object a line.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, events: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.verbose = verbose
        self.events = events

    @property
    def is_live(self) -> bool:
        """Whether somebody looks at a terminal."""
        return self.console.is_terminal and not self.console.quiet

    def say(self, line: str, strong: str = "") -> None:
        """Print one line.

        Args:
            line: what is said.
            strong: words of it that stand out where there are colours.
        """
        text = Text(one_line(line))
        if strong:
            text.highlight_words([strong], "bold green")
        self.console.print(text)

    def detail(self, line: str) -> None:
        """Print one line, if details are wanted."""
        if self.verbose:
            self.say(line)

    def show(self, table: RenderableType, lines: Sequence[str]) -> None:
        """Print a table on a terminal, the same as lines elsewhere."""
        if self.is_live:
            self.console.print(table, soft_wrap=False, crop=False)
        else:
            for line in lines:
                self.say(line)

    def event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Print what has happened as one line of JSON, if events are wanted.

        Args:
            kind: its name.
            values: all that belongs to it.
        """
        if self.events:
            self.report(json.dumps({"event": kind, **values}))

    def report(self, line: str) -> None:
        """Print a line on stdout about work whose result is elsewhere: where it cannot be written, the work goes on.

        Args:
            line: what is printed.
        """
        try:
            print(line, file=sys.stdout, flush=True)  # noqa: T201
        except MbertError as error:
            if error.problems:  # none where a reader has gone, as `head` does
                self.say("standard output cannot be written: what mbert prints there is lost; the work goes on.")

    @contextmanager
    def status(self, what: str) -> Iterator[None]:
        """Show what is going on while the block runs, on a terminal only."""
        if self.is_live:
            with self.console.status(Text(one_line(what))):
                yield
        else:
            yield

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator["Bar"]:
        """Show a bar while the block runs; elsewhere than on a terminal, say every minute how far it is.

        Args:
            description: what is going on.
            total: how many units there are; None where nobody knows.
        """
        with self._live(TimeElapsedColumn(), TimeRemainingColumn()) as live:
            yield Bar(self, live, description, total)

    @contextmanager
    def steps(self, description: str, total: int) -> Iterator["Bar"]:
        """Do as `bar` does, where notes tell of speed and time.

        Args:
            description: what is going on.
            total: how many steps there are.
        """
        with self._live() as live:
            yield Bar(self, live, description, total)

    def _live(self, *times: ProgressColumn) -> Progress:
        return _Live(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            *times,
            console=self.console,
            transient=True,
            disable=not self.is_live,
            refresh_per_second=4,
        )


class _Live(Progress):
    """Bars with their notes below them, cut where the terminal is narrow."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if note := task.fields["note"]:
                yield Text(note, style="dim", no_wrap=True, overflow="ellipsis")


class Bar:
    """A bar that is being shown, or the lines that stand for it."""

    def __init__(self, talk: Talk, live: Progress, description: str, total: int | None) -> None:
        self._talk = talk
        self._live = live
        self._description = one_line(description)
        self._total = total
        self._task = live.add_task(self._description, total=total, note="")
        self._done = 0
        self._next_line = time.monotonic() + _LINE_EVERY

    def advance(self, note: Callable[[], str] = str, by: int = 1) -> None:
        """Count units as done.

        Args:
            note: gives what is shown beside the bar.
            by: how many units.
        """
        self._done += by
        if self._talk.is_live:
            self._live.update(self._task, advance=by, note=note())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LINE_EVERY
            of = "" if self._total is None else f" of {self._total:,}"
            self._talk.say("; ".join(filter(None, (f"{self._description}: {self._done:,}{of}", note()))))
