"""Writes tables as text: rows of the input with appended columns."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from mbert_cli.data.json_rows import Number, json_text
from mbert_cli.data.parquet import is_written_as_json
from mbert_cli.data.row import Row
from mbert_cli.data.table import Table
from mbert_cli.data.text_output import TextFormat, text_format
from mbert_cli.errors import DataError


@runtime_checkable
class TextSink(Protocol):
    """An object that text can be written to."""

    def write(self, text: str, /) -> object:
        """Write text."""


@runtime_checkable
class RowWriter(Protocol):
    """An object that writes rows of a table together with their predictions."""

    def write_header(self) -> None:
        """Write what the file has before its rows."""

    def write(self, row: Row, values: list[str | float], /) -> None:
        """Write a row and its predictions."""


class TableWriter:
    """Writes rows with appended columns. A cell that would not read back the same is an error.

    Args:
        file: receives the text.
        table: the table whose rows are written.
        appended: names of the appended columns.
        kept: names of the table's columns to write, in order; by default all.
        format_: format of the text; by default that of the table.

    Raises:
        DataError: the table has no such column, or an object cannot contain two columns with the same name.
    """

    def __init__(
        self,
        file: TextSink,
        table: Table,
        appended: list[str],
        kept: Sequence[str] | None = None,
        format_: TextFormat | None = None,
    ) -> None:
        self._file, self._table, self._appended = file, table, appended
        self._format = format_ or text_format(table, "-")
        self._keeps_all = kept is None
        self._names = table.header if kept is None else [_own_name(table, name) for name in kept]
        self._columns = list(range(len(table.header))) if kept is None else list(map(table.header.index, self._names))
        twice = next((name for name in self._names if self._names.count(name) > 1), None)
        if twice is not None and self._format.delimiter is None:
            place = f"{table.name}:{table.header_line}"
            raise DataError(
                f"{place}: has more than one column '{twice}', which an object cannot contain; rename all but one."
            )

    def write_header(self) -> None:
        """Write the header; a JSONL file has no header."""
        if self._format.delimiter is not None:
            self._write_line(self._table.header_line, [*self._names, *self._appended], is_header=True)

    def write(self, row: Row, values: list[str | float]) -> None:
        """Write a row.

        Args:
            row: a row of the table.
            values: one value for each appended column.

        Raises:
            DataError: an object already has the name of an appended column, or has a name that the header lacks; or a
                cell cannot be written in this format.
        """
        if self._format.delimiter is None:
            record = self._record(row)
            taken = [name for name in self._appended if name in record]
            if taken:
                place = f"{self._table.name}:{row.line}"
                raise DataError(
                    f"{place}: already has names that the prediction would add ({', '.join(taken)}); "
                    "rename them, or choose columns with --keep."
                )
            self._file.write(json_text({**record, **dict(zip(self._appended, values, strict=True))}) + "\n")
            return
        if self._keeps_all:
            check_names(self._table, row)
        cells = [row.cells[column] for column in self._columns]
        self._write_line(row.line, [*cells, *(as_cell(value) for value in values)])

    def _record(self, row: Row) -> dict[str, Any]:
        """Return the columns to write as an object."""
        if row.record is not None:
            if self._keeps_all:
                return row.record
            return {name: row.record[name] for name in self._names if name in row.record}
        record: dict[str, Any] = {}
        for name, column in zip(self._names, self._columns, strict=True):
            cell = row.cells[column]
            if row.place is not None and is_written_as_json(row.place, column):
                record[name] = Number(cell) if cell else None
            else:
                record[name] = cell
        return record

    def _write_line(self, line: int, cells: Sequence[str], is_header: bool = False) -> None:
        try:
            self._file.write(self._format.line(cells, is_header))
        except ValueError as error:
            raise DataError(f"{self._table.name}:{line}: {error}.") from None


def check_names(table: Table, row: Row) -> None:
    """Check that the header of a table has all names of an object.

    Raises:
        DataError: an object of a JSONL file has a name that the header lacks.
    """
    other = next((name for name in row.record or () if name not in table.header), None)
    if other is not None:
        raise DataError(
            f"{table.name}:{row.line}: has '{other}', which none of the first objects has, so it has no column; "
            "write .jsonl, or choose columns with --keep."
        )


def _own_name(table: Table, name: str) -> str:
    return table.header[table.column(name, "column to keep", required=False)]


def as_cell(value: str | float) -> str:
    """Return a predicted value as text: numbers with six significant digits."""
    return value if isinstance(value, str) else f"{value:.6g}"
