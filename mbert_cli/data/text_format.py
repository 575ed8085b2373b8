"""How rows are written as text: the format that an output's name asks for, and lines that read back as they were."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from mbert_cli.data.delimiter import GUESSED_DELIMITERS
from mbert_cli.data.table import Table
from mbert_cli.errors import UsageError

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_JSONL = (".jsonl", ".ndjson")
# Endings of formats that are not written, and what to write instead.
_OTHERS = {
    **dict.fromkeys((".json",), ".jsonl (one object a line)"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), ".csv"),
    **dict.fromkeys((".feather", ".arrow", ".npy", ".npz", ".h5", ".pkl", ".parquet.gz"), ".parquet"),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst"), ".gz"),
}


@dataclass(frozen=True)
class TextFormat:
    """A format of text.

    Args:
        delimiter: between cells; None for JSON Lines.
        quoting: `csv` for RFC 4180 quotes, `none` where a quote is a character like any other.
    """

    delimiter: str | None
    quoting: Literal["csv", "none"] = "csv"

    def line(self, cells: Sequence[str], is_header: bool = False) -> str:
        """Return cells as a line that reads back the same.

        Args:
            cells: of a row, or the names of the columns.
            is_header: whether this is the first line, by which a reader finds out the delimiter.

        Raises:
            ValueError: a cell cannot be written; with why, and what to do.
        """
        assert self.delimiter is not None, "JSON Lines are not made of cells"
        bad = next((cell for cell in cells if "\0" in cell), None)
        if bad is not None:
            raise ValueError("a cell holds a NUL byte, which text files cannot hold; write .jsonl or .parquet")
        if self.quoting == "csv":
            return csv_line(cells, self.delimiter, is_header)
        # A file of one column has no delimiter by which it is known.
        signs = self.delimiter if len(cells) > 1 and not is_header else _signs(self.delimiter, len(cells) == 1)
        bad = next((cell for cell in cells if any(sign in cell for sign in (*signs, "\r", "\n"))), None)
        if bad is not None:
            raise ValueError(
                f"the cell {bad[:40]!r} holds a delimiter or a line end, which cannot be written without quotes; "
                "write .jsonl or .parquet, or read the input with --quoting csv"
            )
        return self.delimiter.join(cells) + "\n"


def _signs(delimiter: str, is_alone: bool) -> str:
    """Return the delimiters that a header may not hold outside quotes, since a reader would take it for its own."""
    if is_alone:
        return "".join({delimiter, *GUESSED_DELIMITERS})
    guessed_first = GUESSED_DELIMITERS[: GUESSED_DELIMITERS.index(delimiter)] if delimiter in GUESSED_DELIMITERS else ()
    return "".join((delimiter, *guessed_first))


def csv_line(cells: Sequence[str], delimiter: str, is_header: bool = False) -> str:
    """Return cells as a line of RFC 4180: a cell stands in quotes if it holds a quote, a delimiter or a line end.

    `csv.writer` leaves a lone carriage return bare in some releases of Python. Where a cell holds a line end, all cells
    of the row stand in quotes, so that its lines cannot be taken for rows; see `CsvRows`.

    Args:
        cells: of a row, or the names of the columns.
        delimiter: between cells.
        is_header: whether this is the first line, by which a reader finds out the format.
    """
    signs = _signs(delimiter, len(cells) == 1) if is_header or len(cells) == 1 else delimiter
    is_blank = len(cells) == 1 and not cells[0].strip()  # which readers pass over
    every = is_blank or any("\n" in cell for cell in cells)
    quoted = [every or any(sign in cell for sign in (*signs, '"', "\r")) for cell in cells]
    # A brace, a bracket, a blank or a byte order mark at the beginning of a file is taken for something else.
    if is_header and cells[0] and not (cells[0][0].isalnum() or cells[0][0] in "_#"):
        quoted[0] = True
    return delimiter.join(_in_quotes(cell) if it else cell for cell, it in zip(cells, quoted, strict=True)) + "\n"


def full(value: str | int | float | None) -> str:
    """Return a value as a cell: numbers with all their digits, nothing for None."""
    return "" if value is None else str(value)


def _in_quotes(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def text_format(table: Table, output: str) -> TextFormat:
    """Return the format of a text output: what its name asks for, else that of the input.

    Args:
        table: the input. An output whose name ends as the input's does has the input's delimiter.
        output: the file's name; `-` is standard output.

    Raises:
        UsageError: the name asks for a format that is not written.
    """
    quoting: Literal["csv", "none"] = "none" if table.quoting == "none" else "csv"
    own = TextFormat(None if table.is_jsonl else table.delimiter, quoting)
    ending = _ending(output)
    if output == "-" or (table.path is not None and _ending(table.path.name) == ending):
        return own
    if ending in _OTHERS:
        raise UsageError(f"{output}: {ending} files are not written; end the name in {_OTHERS[ending]}.")
    if ending in _JSONL:
        return TextFormat(None)
    if ending not in _DELIMITERS:
        return own
    # Of a table whose cells are delimited otherwise, or not at all, the quotes are no matter.
    is_text = not table.is_jsonl and table.schema is None
    keeps_quotes_bare = quoting == "none" and not (is_text and own.delimiter != _DELIMITERS[ending])
    return TextFormat(_DELIMITERS[ending], "none" if keeps_quotes_bare else "csv")


def _ending(name: str) -> str:
    path = PurePath(name)
    if path.suffix.lower() == ".gz":
        inner = PurePath(path.stem).suffix.lower()
        return ".parquet.gz" if inner == ".parquet" else inner
    return path.suffix.lower()
