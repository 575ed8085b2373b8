"""Tables and JSON on standard output."""

import json
from typing import Any


def print_tables(tables: list[Any]) -> None:
    """Print tables."""
    from rich.console import Console

    console = Console(highlight=False)
    # Rich assumes 80 columns if the output is not a terminal.
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    for table in tables:
        console.print(table, crop=False)  # do not cut a word that is longer than a line


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value))  # noqa: T201
