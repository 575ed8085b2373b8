"""Messages of a command: on stderr, live on a terminal, plain lines elsewhere; JSON events on stdout."""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import ProgressColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from mbert_cli.errors import MbertError
from mbert_cli.messages import one_line
from mbert_cli.terminal.progress import Bar, new_bars

_PACKAGE = __name__.partition(".")[0]
_SECONDS_BETWEEN_LINES = 60.0  # without a terminal


class Console:
    """Prints messages on stderr.

    Args:
        quiet: print no messages.
        verbose: print details, too.
        events: print events on stdout, one JSON object per line.
    """

    def __init__(self, quiet: bool = False, verbose: bool = False, events: bool = False) -> None:
        self.rich = RichConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.verbose = verbose
        self.events = events
        self._noted: set[str] = set()
        self._printed = time.monotonic()

    @property
    def is_live(self) -> bool:
        """Whether messages go to a terminal."""
        return self.rich.is_terminal and not self.rich.quiet

    def info(self, line: str, strong: str = "") -> None:
        """Print one line.

        Args:
            line: the message.
            strong: a part of it that is highlighted on a terminal with colours.
        """
        text = Text(one_line(line))
        if strong:
            text.highlight_words([strong], "bold green")
        self._printed = time.monotonic()
        self.rich.print(text)

    def is_due(self) -> bool:
        """Whether the last line, or the start of the command, is a minute ago."""
        return time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES

    def note(self, line: str) -> None:
        """Print one line, such as a warning about a file, unless this method has printed it before."""
        if line not in self._noted:
            self._noted.add(line)
            self.info(line)

    def detail(self, line: str) -> None:
        """Print one line if details are wanted."""
        if self.verbose:
            self.info(line)

    def show(self, table: RenderableType, lines: Sequence[str]) -> None:
        """Print a table on a terminal, and the same as lines elsewhere."""
        if self.is_live:
            self.rich.print(table, soft_wrap=False, crop=False)
        else:
            for line in lines:
                self.info(line)

    def show_log(self) -> None:
        """Print the log messages of this package, for example that kernels are being compiled.

        Messages of the level DEBUG are printed only with --verbose.
        """
        logger = logging.getLogger(_PACKAGE)
        logger.handlers = [each for each in logger.handlers if not isinstance(each, _LogLines)]
        logger.addHandler(_LogLines(self))
        logger.setLevel(logging.DEBUG if self.verbose else logging.INFO)

    def event(self, kind: str, values: Mapping[str, Any]) -> None:
        """Print an event as one line of JSON if events are wanted.

        Args:
            kind: its name.
            values: its data.
        """
        if self.events:
            self.report(json.dumps({"event": kind, **values}))

    def report(self, line: str) -> None:
        """Print a line on stdout; if it cannot be written, the command continues, because its result is a file.

        Args:
            line: the text.
        """
        try:
            print(line, file=sys.stdout, flush=True)  # noqa: T201
        except MbertError as error:
            if error.problems:  # there are none if the reader has closed the pipe, as `head` does
                self.info("standard output cannot be written: its output is lost, but the command continues.")

    @contextmanager
    def status(self, what: str) -> Iterator[None]:
        """Show what is in progress while the block runs; without a terminal, print it after a minute without a line."""
        if self.is_live:
            with self.rich.status(Text(one_line(what))):
                yield
        else:
            if self.is_due():
                self.info(f"{what} ...")
            yield

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[Bar]:
        """Show a bar with times while the block runs; without a terminal, print a line after each minute without one.

        Args:
            description: what is in progress.
            total: number of units; None if it is not known.
        """
        with self._shown_bar(description, total, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
            yield bar

    @contextmanager
    def steps(self, description: str, total: int) -> Iterator[Bar]:
        """Show a bar without times, for notes that contain them.

        Args:
            description: what is in progress.
            total: number of steps.
        """
        with self._shown_bar(description, total) as bar:
            yield bar

    @contextmanager
    def _shown_bar(self, description: str, total: int | None, *times: ProgressColumn) -> Iterator[Bar]:
        with new_bars(self.rich, self.is_live, *times) as bars:
            yield Bar(bars, None if self.is_live else self.info, self.is_due, description, total)


class _LogLines(logging.Handler):
    """Prints log messages as lines of a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.info(record.getMessage())
