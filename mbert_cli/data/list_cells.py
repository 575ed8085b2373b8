"""Cells that list the labels of a row: `rude,threat`, or a list as JSON or Python writes it: `["rude", "threat"]`."""

import ast
import json
import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

# Python reads ['a' 'b'], which NumPy prints for an array, as one text: ['ab']. So each item needs a comma after it.
_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[0-9]+)\s*"""
# Each space can match in one place only, so that a long cell of spaces takes no quadratic time.
_PYTHON_LIST = re.compile(rf"\[\s*(?:{_ITEM}(?:,\s*{_ITEM})*(?:,\s*)?)?\]", re.DOTALL)


def listed(cell: str) -> list[str] | None:
    """Return the items of a cell that is a JSON or Python list of texts and numbers; None if it is not such a list."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    items: Any = None
    with suppress(ValueError, RecursionError):
        items = json.loads(text, parse_int=str, parse_float=str)
    if items is None and _PYTHON_LIST.fullmatch(text):
        # This runs no code, and the expression allows only texts and whole numbers: nothing nested, no names.
        with suppress(ValueError, SyntaxError):
            items = ast.literal_eval(text)
    if not isinstance(items, list) or not all(type(item) in (str, int) for item in items):
        return None
    return [name for item in items if (name := str(item).strip())]


def are_lists(cells: Collection[str]) -> bool:
    """Whether all cells are JSON or Python lists; at least one is not empty."""
    return (
        all(cell.startswith("[") for cell in cells)
        and any(map(listed, cells))
        and all(listed(cell) is not None for cell in cells)
    )


def parts_of(cell: str, delimiter: str) -> list[str]:
    """Return the labels that a cell lists; empty parts are left out."""
    items = listed(cell)
    return [part for each in cell.split(delimiter) if (part := each.strip())] if items is None else items
