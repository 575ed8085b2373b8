"""Reading and writing of tables in tests, and an independent reader of RFC 4180."""

import io

import pytest

from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import DataError


def read(path: str, **settings) -> tuple[list[str], list[list[str]]]:
    with Table(path, **settings) as table:
        return table.header, [row.cells for row in table]


def refusal(path: str, **settings) -> str:
    """Return the message of the error, with F instead of the path."""
    with pytest.raises(DataError) as error:
        read(path, **settings)
    return str(error.value).replace(path, "F")


def rfc4180(text: str, delimiter: str) -> list[list[str]]:
    """Read RFC 4180 character by character; blank lines are skipped."""
    rows, row, cell = [], [], ""
    quoted = was_quoted = False
    at = 0
    while at < len(text):
        character = text[at]
        if quoted:
            if character != '"':
                cell += character
            elif text[at + 1 : at + 2] == '"':
                cell += '"'
                at += 1
            else:
                quoted = False
        elif character == '"' and not cell and not was_quoted:
            quoted = was_quoted = True
        elif character == delimiter:
            row.append(cell)
            cell, was_quoted = "", False
        elif character == "\n":
            if row or cell or was_quoted:
                rows.append([*row, cell])
            row, cell, was_quoted = [], "", False
        elif character != "\r":
            cell += character
        at += 1
    if row or cell or was_quoted:
        rows.append([*row, cell])
    return rows


def warnings(path: str, **settings) -> list[str]:
    with Table(path, **settings) as table:
        list(table)
        return [each.replace(path, "F") for each in table.warnings]


def written(path: str, appended: list[str], values: list, **settings) -> str:
    out = io.StringIO()
    with Table(path, **settings) as table:
        writer = TableWriter(out, table, appended)
        writer.write_header()
        for row in table:
            writer.write(row, values)
    return out.getvalue()
