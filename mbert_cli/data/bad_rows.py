"""The bad rows of a file in which no row may be bad, as one error."""

from typing import NamedTuple

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
        self._listed: dict[int | str, list[BadRow]] = {}

    def add(self, row: BadRow) -> None:
        """Add a row."""
        self.count += 1
        key = row.problem if row.is_label else row.line
        if key in self._listed or len(self._listed) < MOST_LISTED:
            self._listed.setdefault(key, []).append(row)

    @property
    def _problems(self) -> list[tuple[int, str]]:
        """The listed problems, each with its first line."""
        counts = [(rows[0], len(rows)) for rows in self._listed.values()]
        return [(row.line, row.problem if count == 1 else f"{row.problem}, in {count:,} rows") for row, count in counts]

    @property
    def _num_listed(self) -> int:
        return sum(map(len, self._listed.values()))

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
