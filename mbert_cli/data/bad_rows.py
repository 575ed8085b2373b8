"""The bad rows of a file in which no row may be bad, as one error."""

from typing import NamedTuple

from mbert_cli.data.row import QUOTES_ARE_TEXT
from mbert_cli.errors import BadRowsError, counted

MOST_LISTED = 20
"""The largest number of bad rows that a message lists; rows with the same wrong label count once."""


class BadRow(NamedTuple):
    """A row that cannot be used.

    Args:
        line: the line at which the row begins.
        problem: what is wrong, without a place or a full stop.
        is_label: the label is wrong. Rows with the same wrong label have the same problem and are listed once.
    """

    line: int
    problem: str
    is_label: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


class BadRows:
    """Collects the bad rows of a file.

    Args:
        path: the file.
        skip_remedy: how the user skips bad rows.
    """

    def __init__(self, path: str, skip_remedy: str = "") -> None:
        self.count = 0
        self._path, self._remedy = path, skip_remedy
        self._listed: dict[int | str, tuple[BadRow, int]] = {}  # a row of each problem, and the number of rows
        self.concern_quotes = False
        """Whether a row may be correct if its quotes are read in another way."""

    def add(self, row: BadRow) -> None:
        """Add a row."""
        self.count += 1
        key = row.problem if row.is_label else row.line
        if key in self._listed or len(self._listed) < MOST_LISTED:
            first, count = self._listed.get(key, (row, 0))
            self._listed[key] = (first, count + 1)
        self.concern_quotes = self.concern_quotes or QUOTES_ARE_TEXT in row.problem

    @property
    def _problems(self) -> list[tuple[int, str]]:
        """The listed problems, each with its first line."""
        problems: list[tuple[int, str]] = []
        has_advice = False
        for row, count in self._listed.values():
            problem, advice, _ = row.problem.partition(f"; {QUOTES_ARE_TEXT}")
            if not has_advice:  # the advice is the same for all rows
                problem, has_advice = row.problem, bool(advice)
            problems.append((row.line, problem if count == 1 else f"{problem}, in {count:,} rows"))
        return problems

    @property
    def _num_listed(self) -> int:
        return sum(count for _, count in self._listed.values())

    @property
    def note(self) -> str:
        """A line that the rows are skipped, with the first of them; an empty text if there are none."""
        if not self.count:
            return ""
        listed = "; ".join(f"line {line}: {problem}" for line, problem in self._problems)
        others = self.count - self._num_listed
        more = f"; and {others:,} more" if others else ""
        return f"{self._path}: skipped {counted(self.count, 'bad row')}: {listed}{more}"

    def raise_if_any(self, rows: int | None = None) -> None:
        """Reject the file if it has bad rows.

        If most rows are bad, the settings are wrong rather than the rows. Then skipping them is not suggested.

        Args:
            rows: number of rows of the file; None if unknown.

        Raises:
            BadRowsError: the file has bad rows; the error lists the first of them.
        """
        if not self.count:
            return
        lines = [f"{self._path}:{line}: {problem}" for line, problem in self._problems]
        remedy = f"or {self._remedy}."
        if self.count == 1:
            raise BadRowsError(f"{lines[0]}; correct the row, {remedy}")
        listed = "" if self.count == self._num_listed else f", of which {self._num_listed:,} are listed"
        last = f"{self._path}: has {self.count:,} bad rows{listed}; correct them, {remedy}"
        if rows is not None and 2 * self.count > rows:
            last = (
                f"{self._path}: {self.count:,} of {rows:,} rows are bad{listed}; check that the recipe's columns "
                "and labels fit this file."
            )
        raise BadRowsError(*(f"{each}." for each in lines), last)
