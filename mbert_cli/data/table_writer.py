"""Tables that are written: rows as they were read, with columns appended."""

import csv
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mbert_cli.data.json_rows import json_text
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.errors import DataError


@runtime_checkable
class TextSink(Protocol):
    """Anything text can be written to."""

    def write(self, text: str, /) -> object:
        """Write text."""


class TableWriter:
    """Writes rows back as they were read, with columns appended.

    Args:
        file: where the text goes.
        table: the table whose rows are written; gives header, delimiter and quoting.
        appended: names of the appended columns.
        kept: names of the table's columns that are written, in order; by default all.

    Raises:
        DataError: there is no such column.
    """

    def __init__(self, file: TextSink, table: Table, appended: list[str], kept: Sequence[str] | None = None) -> None:
        self._file = file
        self._table = table
        self._appended = appended
        self._kept = None if kept is None else [table.column(name, "one to keep", required=False) for name in kept]
        self._csv = csv.writer(file, delimiter=table.delimiter, lineterminator="\n")

    def write_header(self) -> None:
        """Write the header; a JSONL file has none."""
        if not self._table.is_jsonl:
            self._write_cells([*self._chosen(self._table.header), *self._appended])

    def write(self, row: Row, values: list[str | float]) -> None:
        """Write a row.

        Args:
            row: as read.
            values: one for each appended column.

        Raises:
            DataError: an object of a JSONL file has a name already that is to be appended.
        """
        if row.record is not None:
            kept = row.record
            if self._kept is not None:
                kept = {name: kept[name] for name in self._chosen(self._table.header) if name in kept}
            taken = next((name for name in self._appended if name in kept), None)
            if taken is not None:
                place = f"{self._table.name}:{row.line}"
                raise DataError(f"{place}: has a '{taken}' already, as the prediction would; rename it.")
            record = {**kept, **dict(zip(self._appended, values, strict=True))}
            self._file.write(json_text(record) + "\n")
        else:
            self._write_cells([*self._chosen(row.cells), *(as_cell(value) for value in values)])

    def _chosen(self, cells: list[str]) -> list[str]:
        return cells if self._kept is None else [cells[column] for column in self._kept]

    def _write_cells(self, cells: list[str]) -> None:
        if self._table.quoting == "none":
            self._file.write(self._table.delimiter.join(cells) + "\n")
        else:
            self._csv.writerow(cells)


def as_cell(value: str | float) -> str:
    """Return a predicted value as text: numbers with six significant digits."""
    return value if isinstance(value, str) else f"{value:.6g}"
