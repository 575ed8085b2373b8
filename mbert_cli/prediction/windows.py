"""The rows of a table in parts that fit in memory."""

import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from mbert_cli.data.row import Row
from mbert_cli.data.table import Table

# Limits of one window.
_MOST_ROWS = 8192
_MOST_CHARACTERS = 1 << 24  # in the cells of its rows
_MOST_PREDICTED = 1 << 22  # predicted values; a task may have thousands of classes


class Window(NamedTuple):
    """Consecutive rows of a table, which are computed together.

    Args:
        rows: the rows.
        own: those of them that are written.
    """

    rows: list[Row]
    own: slice

    @property
    def own_rows(self) -> list[Row]:
        """The rows that are written."""
        return self.rows[self.own]


def windows(
    table: Table, done: int, limit: int | None, predicted_columns: int = 1, wanted: range | None = None
) -> Iterator[Window]:
    """Yield the windows that contain some rows of a table. No row of the table was read before.

    The windows of a table do not depend on the rows that are wanted. Therefore a row is always computed together with
    the same rows, and its result has the same bytes in a part of a table as in the whole. If a part begins or ends
    inside a window, the whole window is computed, and only the part's own rows are written.

    A window begins at each multiple of the largest number of rows, so that the rows before it need not be read.

    Args:
        table: the table.
        done: number of wanted rows that are left out, because they were written before.
        limit: number of rows of the table that are used; None for all.
        predicted_columns: number of values that are predicted for a row.
        wanted: numbers of the rows that are written, from 0; None for all.
    """
    most_rows = max(1, min(_MOST_ROWS, _MOST_PREDICTED // predicted_columns))
    end = sys.maxsize if limit is None else limit
    wanted = range(end) if wanted is None else wanted
    first = wanted.start + done
    start = first - first % most_rows
    if first >= wanted.stop or table.skip(start) < start:
        return
    rows = iter(table)
    while start < wanted.stop and (window := _window(rows, min(most_rows - start % most_rows, end - start))):
        if start + len(window) > first:
            yield Window(window, slice(max(0, first - start), min(len(window), wanted.stop - start)))
        start += len(window)


def _window(rows: Iterator[Row], most_rows: int) -> list[Row]:
    window: list[Row] = []
    characters = 0
    for row in islice(rows, most_rows):
        window.append(row)
        characters += sum(map(len, row.cells))
        if characters >= _MOST_CHARACTERS:
            break
    return window
