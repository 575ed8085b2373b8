"""The rows of a table in parts that fit in memory."""

from collections.abc import Iterator
from itertools import islice

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table

# Limits of one part.
_MOST_ROWS = 8192
_MOST_CHARACTERS = 1 << 24  # in the cells of its rows
_MOST_PREDICTED = 1 << 22  # predicted values; a task may have thousands of classes


def windows(table: Table, done: int, limit: int | None, predicted_columns: int = 1) -> Iterator[list[Row]]:
    """Yield the rows of a table in lists. The same arguments always give the same lists.

    Args:
        table: the rows.
        done: number of rows to skip.
        limit: number of rows to read at most, the skipped ones included.
        predicted_columns: number of values that are predicted for a row.
    """
    most_rows = max(1, min(_MOST_ROWS, _MOST_PREDICTED // predicted_columns))
    window: list[Row] = []
    characters = 0
    for row in islice(iter(table), done, limit):
        window.append(row)
        characters += sum(map(len, row.cells))
        if len(window) == most_rows or characters >= _MOST_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
