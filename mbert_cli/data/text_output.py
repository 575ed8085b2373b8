"""Text formats of outputs: TSV, CSV, JSON Lines. The file name chooses the format; its lines read back unchanged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from mbert_cli.data.delimiter import GUESSED_DELIMITERS
from mbert_cli.data.table import Table
from mbert_cli.errors import UsageError

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_JSONL = (".jsonl", ".ndjson")
# Extensions of formats that are not written, and what to write instead.
_OTHERS = {
    **dict.fromkeys((".json",), ".jsonl (one object per line)"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), ".csv"),
    **dict.fromkeys((".feather", ".arrow", ".npy", ".npz", ".h5", ".pkl", ".parquet.gz"), ".parquet"),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst"), ".gz"),
}


@dataclass(frozen=True)
class TextFormat:
    """A text format.

    Args:
        delimiter: the character between cells; None for JSON Lines.
        quoting: `csv`: cells are quoted as in RFC 4180 where necessary; `none`: a quote is an ordinary character.
    """

    delimiter: str | None
    quoting: Literal["csv", "none"] = "csv"

    def line(self, cells: Sequence[str], is_header: bool = False) -> str:
        """Return cells as a line that reads back the same.

        Args:
            cells: the cells of a row, or the names of the columns.
            is_header: this is the first line, from which a reader guesses the delimiter.

        Raises:
            ValueError: a cell cannot be written; with the reason and a remedy.
        """
        assert self.delimiter is not None, "JSON Lines have no cells"
        bad = next((cell for cell in cells if "\0" in cell), None)
        if bad is not None:
            raise ValueError("a cell contains a NUL byte, which text files cannot contain; write .jsonl or .parquet")
        if self.quoting == "csv":
            return csv_line(cells, self.delimiter, is_header)
        # A file with one column has no delimiter from which it could be recognised.
        signs = self.delimiter if len(cells) > 1 and not is_header else _signs(self.delimiter, len(cells) == 1)
        bad = next((cell for cell in cells if any(sign in cell for sign in (*signs, "\r", "\n"))), None)
        if bad is not None:
            raise ValueError(
                f"the cell {bad[:40]!r} contains a delimiter or a line end, which cannot be written without quotes; "
                "write .jsonl or .parquet, or read the input with --quoting csv"
            )
        return self.delimiter.join(cells) + "\n"


def _signs(delimiter: str, is_alone: bool) -> str:
    """Return the delimiters that must not be outside quotes in a header, because a reader would guess them."""
    if is_alone:
        return "".join({delimiter, *GUESSED_DELIMITERS})
    guessed_first = GUESSED_DELIMITERS[: GUESSED_DELIMITERS.index(delimiter)] if delimiter in GUESSED_DELIMITERS else ()
    return "".join((delimiter, *guessed_first))


def csv_line(cells: Sequence[str], delimiter: str, is_header: bool = False) -> str:
    """Return cells as a line of RFC 4180: a cell is quoted if it contains a quote, a delimiter or a line end.

    `csv.writer` does not quote a lone carriage return in some releases of Python. If a cell contains a line end, all
    cells of the row are quoted, so that its lines cannot be mistaken for rows; see `CsvRows`.

    Args:
        cells: the cells of a row, or the names of the columns.
        delimiter: the character between cells.
        is_header: this is the first line, from which a reader guesses the format.
    """
    signs = _signs(delimiter, len(cells) == 1) if is_header or len(cells) == 1 else delimiter
    is_blank = len(cells) == 1 and not cells[0].strip()  # readers skip blank lines
    every = is_blank or any("\n" in cell for cell in cells)
    quoted = [every or any(sign in cell for sign in (*signs, '"', "\r")) for cell in cells]
    # A brace, a bracket, a space or a byte order mark at the beginning of a file would suggest another format.
    if is_header and cells[0] and not (cells[0][0].isalnum() or cells[0][0] in "_#"):
        quoted[0] = True
    return delimiter.join(_in_quotes(cell) if it else cell for cell, it in zip(cells, quoted, strict=True)) + "\n"


def full(value: str | int | float | None) -> str:
    """Return a value as a cell: a number with all of its digits, None as an empty cell."""
    return "" if value is None else str(value)


def _in_quotes(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def text_format(table: Table, output: str) -> TextFormat:
    """Return the format of a text output: that of its extension, or else that of the input.

    A `.csv` has commas and a `.tsv` has tabs, whatever the delimiter of the input is (`--delimiter`, or the recipe's
    `delimiter`). Other names and standard output keep the delimiter of the input.

    Args:
        table: the input.
        output: name of the output file; `-` is standard output.

    Raises:
        UsageError: the extension is that of a format that is not written.
    """
    quoting: Literal["csv", "none"] = "none" if table.quoting == "none" else "csv"
    own = TextFormat(None if table.is_jsonl else table.delimiter, quoting)
    ending = _ending(output)
    has_own_ending = table.path is not None and _ending(table.path.name) == ending
    if output == "-" or (has_own_ending and ending not in _DELIMITERS):
        return own
    if ending in _OTHERS:
        raise UsageError(f"{output}: {ending} files are not written; end the name in {_OTHERS[ending]}.")
    if ending in _JSONL:
        return TextFormat(None)
    if ending not in _DELIMITERS:
        return own
    # Quotes need to stay bare only if the input is text with the same delimiter.
    is_text = not table.is_jsonl and table.schema is None
    keeps_quotes_bare = quoting == "none" and not (is_text and own.delimiter != _DELIMITERS[ending])
    return TextFormat(_DELIMITERS[ending], "none" if keeps_quotes_bare else "csv")


def ending_of(name: str) -> str:
    """Return the ending of a name if it stands for a format that mbert writes, such as `.tsv.gz`; otherwise ""."""
    ending, gz = _ending(name), ".gz" if name.lower().endswith(".gz") else ""
    ending = ".jsonl" if ending in _JSONL else ending
    return (ending if ending in (*_DELIMITERS, ".jsonl", ".parquet", ".npy") else "") + gz


def usual_ending(format_: TextFormat) -> str:
    """Return the usual ending of a text format; "" if it has none."""
    endings = {sign: ending for ending, sign in _DELIMITERS.items()}
    return ".jsonl" if format_.delimiter is None else endings.get(format_.delimiter, "")


def _ending(name: str) -> str:
    path = PurePath(name)
    if path.suffix.lower() == ".gz":
        inner = PurePath(path.stem).suffix.lower()
        return ".parquet.gz" if inner == ".parquet" else inner
    return path.suffix.lower()
