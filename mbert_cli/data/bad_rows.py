"""The bad rows of a file, listed by problem."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mbert_cli.data.problem import Problem
from mbert_cli.data.row import QUOTES_ARE_TEXT
from mbert_cli.errors import BadRowsError, counted

MOST_LISTED = 20
"""The largest number of problems that a message lists."""
_MOST_LINES = 10


class BadRow(NamedTuple):
    """A row that cannot be used.

    Args:
        line: the line at which the row begins.
        problem: why it cannot be used.
    """

    line: int
    problem: Problem

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


@dataclass
class _Alike:
    """Rows whose problems have the same kind.

    Args:
        first: the first of them.
        lines: lines of the first rows.
        count: number of rows.
        have_same_text: the texts of their problems are equal.
    """

    first: BadRow
    lines: list[int] = field(default_factory=list)
    count: int = 0
    have_same_text: bool = True

    def add(self, row: BadRow) -> None:
        self.count += 1
        if len(self.lines) < _MOST_LINES:
            self.lines.append(row.line)
        self.have_same_text &= row.problem.text == self.first.problem.text

    @property
    def text(self) -> str:
        """What is wrong, how often, and where."""
        text = self.first.problem.text
        if self.count == 1:
            return text
        if self.have_same_text:
            return f"{text}, in {self.count:,} rows ({self._shown(self.lines)})"
        others = self.count - 1
        have = "row has" if others == 1 else "rows have"
        return f"{text}, and {others:,} more {have} this problem ({self._shown(self.lines[1:])})"

    def _shown(self, lines: list[int]) -> str:
        more = ", ..." if self.count > len(self.lines) else ""
        return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}{more}"


class BadRows:
    """Collects the bad rows of a file.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self.count = 0
        self.are_in_bytes = True
        """Whether no row is text."""
        self.concern_quotes = False
        """Whether a row may be correct if its quotes are read in another way."""
        self.concern_only_quotes = True
        """Whether every row may be correct in that case."""
        self._path = path
        self._listed: dict[str, _Alike] = {}

    def add(self, row: BadRow) -> None:
        """Add a row."""
        self.count += 1
        self.are_in_bytes &= row.problem.in_bytes
        self.concern_quotes |= QUOTES_ARE_TEXT in row.problem.remedies
        self.concern_only_quotes &= QUOTES_ARE_TEXT in row.problem.remedies
        kind = row.problem.kind
        if kind in self._listed or len(self._listed) < MOST_LISTED:
            self._listed.setdefault(kind, _Alike(row)).add(row)

    def _lines(self) -> Iterator[tuple[_Alike, str]]:
        """Yield rows with the same kind of problem, and what a message reports about them."""
        printed: set[str] = set()
        for rows in self._listed.values():
            remedies = [each for each in rows.first.problem.remedies if each not in printed]
            printed.update(remedies)
            yield rows, "; ".join([rows.text, *remedies])

    @property
    def _num_listed(self) -> int:
        return sum(rows.count for rows in self._listed.values())

    @property
    def note(self) -> str:
        """A line that the rows are skipped, with their problems; an empty text if there are none."""
        if not self.count:
            return ""
        listed = "; ".join(
            f"line {rows.first.line}: {text}" if rows.count == 1 else text for rows, text in self._lines()
        )
        others = self.count - self._num_listed
        more = f"; and {others:,} more" if others else ""
        return f"{self._path}: skipped {counted(self.count, 'bad row')}: {listed}{more}"

    def raise_if_any(self, skip_remedy: str, rows: int | None = None) -> None:
        """Reject the file if it has bad rows.

        If most rows are bad, the settings are wrong rather than the rows. Then skipping them is not suggested.

        Args:
            skip_remedy: how the user skips bad rows; empty if only the remedies of the problems help.
            rows: number of rows of the file; None if unknown.

        Raises:
            BadRowsError: the file has bad rows; the error lists their problems.
        """
        if not self.count:
            return
        lines = [f"{self._path}:{alike.first.line}: {text}" for alike, text in self._lines()]
        if self.count == 1:
            raise BadRowsError(f"{lines[0]}; correct the row, or {skip_remedy}." if skip_remedy else f"{lines[0]}.")
        listed = "" if self.count == self._num_listed else f", of which {self._num_listed:,} are listed"
        last = f"{self._path}: has {self.count:,} bad rows{listed}"
        last += f"; correct them, or {skip_remedy}" if skip_remedy else ""
        if rows is not None and 2 * self.count > rows:
            have_remedies = all(alike.first.problem.remedies for alike in self._listed.values())
            check = "" if have_remedies else "; check that the recipe's columns and labels fit this file"
            last = f"{self._path}: {self.count:,} of {rows:,} rows are bad{listed}{check}"
        raise BadRowsError(*(f"{each}." for each in (*lines, last)))
