"""One row of a table."""

from dataclasses import dataclass, field
from typing import Any

from mbert_cli.data.parquet import Place
from mbert_cli.data.problem import Problem
from mbert_cli.errors import counted


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Args:
        line: line of the file at which the row begins, from 1; in a Parquet file, the number of the row.
        cells: the values in the order of the header.
        record: the whole object, for a row of a JSONL file; see `json_rows`.
        place: place of the values in a record batch, for a row of a Parquet file.
        problem: why the row cannot be read; the cells are then meaningless. None for a good row.
    """

    line: int
    cells: list[str] = field(default_factory=list)
    record: dict[str, Any] | None = None
    place: Place | None = None
    problem: Problem | None = None


def wrong_width(count: int, expected: int, lines: str = "") -> Problem:
    """Return the problem of a row with more or fewer columns than the header.

    Args:
        count: number of columns of the row.
        expected: number of columns of the header.
        lines: the lines that the row spans, if there are several.
    """
    text = f"has {counted(count, 'column')}, but the header has {expected}"
    check = "check for a missing or stray delimiter or quote"
    if not lines:
        return Problem(text, (check,))
    return Problem(f"{text}, and spans {lines}", (check, QUOTES_ARE_TEXT), kind=f"{text}, and spans lines")


QUOTES_ARE_TEXT = "if quotes are plain text in this file, add --quoting none (in a recipe's task: quoting: none)"
LONE_CARRIAGE_RETURN = Problem("a carriage return stands alone", ("end lines with \\n or \\r\\n",))
