"""The bad rows of a file in which no row may be bad, as one error."""

from mbert_cli.errors import BadRowsError, counted

MOST_LISTED = 20
"""The largest number of bad rows that a message lists."""


class BadRows:
    """Collects the bad rows of a file.

    Args:
        path: the file.
        skip_remedy: how the user skips bad rows.
    """

    def __init__(self, path: str, skip_remedy: str) -> None:
        self.count = 0
        self._path, self._remedy = path, skip_remedy
        self._listed: list[str] = []

    def add(self, line: int, problem: str) -> None:
        """Add a row."""
        self.count += 1
        if self.count <= MOST_LISTED:
            self._listed.append(f"{self._path}:{line}: {problem}")

    @property
    def note(self) -> str:
        """A line that the rows are skipped, with the first of them; an empty text if there are none."""
        if not self.count:
            return ""
        listed = "; ".join(f"line {each.removeprefix(f'{self._path}:')}" for each in self._listed)
        more = f"; and {self.count - MOST_LISTED:,} more" if self.count > MOST_LISTED else ""
        return f"{self._path}: skipped {counted(self.count, 'bad row')}: {listed}{more}"

    def raise_if_any(self, rows: int | None = None) -> None:
        """Reject the file if it has bad rows.

        If most rows are bad, the settings are wrong rather than the rows. Then skipping them is not suggested.

        Args:
            rows: number of rows of the file; None if unknown.

        Raises:
            BadRowsError: the file has bad rows; the error lists the first of them.
        """
        remedy = f"or {self._remedy}."
        if self.count == 1:
            raise BadRowsError(f"{self._listed[0]}; correct the row, {remedy}")
        if self.count:
            listed = "" if self.count <= MOST_LISTED else f", of which {MOST_LISTED} are listed"
            last = f"{self._path}: has {self.count:,} bad rows{listed}; correct them, {remedy}"
            if rows is not None and 2 * self.count > rows:
                last = (
                    f"{self._path}: {self.count:,} of {rows:,} rows are bad{listed}; check that the recipe's columns "
                    "and labels fit this file."
                )
            raise BadRowsError(*(f"{each}." for each in self._listed), last)
