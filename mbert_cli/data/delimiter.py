"""The delimiter of a table: its names, the guess from a header line, and a hint if the guess may be wrong."""

import re
from collections.abc import Iterator
from typing import Literal

from mbert_cli.data.source import BadLine

Delimiter = Literal["auto", "tab", "comma", "semicolon", "pipe"]
NAMED_DELIMITERS: tuple[Delimiter, ...] = ("tab", "comma", "semicolon", "pipe")
DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_GUESSED = ("tab", "comma", "semicolon")  # a pipe is too common inside texts and labels
GUESSED_DELIMITERS = tuple(DELIMITERS[name] for name in _GUESSED)
"""The delimiters that are searched for in a header, in this order."""
_HEADER_LINES = 20
_QUOTED = re.compile(r'(^|[\t,;|])"(?:[^"]|"")*("?)')  # a quoted cell, and its closing quote


def guess_delimiter(header: str) -> str:
    """Return the first of tab, comma and semicolon that a header line contains; a tab if it contains none."""
    return next((each for each in GUESSED_DELIMITERS if each in header), "\t")


def outside_quotes(header: str, head: list[str | BadLine], lines: Iterator[str | BadLine]) -> str:
    """Return the part of a header that is outside quotes. More lines are read while a quote is open.

    Args:
        header: the first line of the header.
        head: the lines that were already read; lines that are read here are appended.
        lines: the lines after them.
    """
    for _ in range(_HEADER_LINES):
        if all(match[2] for match in _QUOTED.finditer(header)) or (line := next(lines, None)) is None:
            break
        head.append(line)
        header += line if isinstance(line, str) else ""
    return _QUOTED.sub(r"\1", header)


def delimiter_hint(delimiter: str, header: str) -> str:
    """Return a hint at another delimiter in the header, as the end of a message; empty if there is no other.

    Args:
        delimiter: the guess.
        header: the header line.
    """
    others = [name for name, sign in DELIMITERS.items() if sign in header and sign != delimiter]
    if not others:
        return ""
    name = max(others, key=lambda each: header.count(DELIMITERS[each]))
    read_as = next(each for each, sign in DELIMITERS.items() if sign == delimiter)
    return (
        f" The columns were split at each {read_as}; if {name} is the delimiter, "
        f"add --delimiter {name} (in a recipe's task: delimiter: {name})."
    )
