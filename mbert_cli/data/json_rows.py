"""Rows of JSON Lines: one object per line. Numbers keep their text."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from mbert_cli.data.problem import Problem
from mbert_cli.data.source import BadLine

_DEEPEST = 200  # nested lists and objects
_AHEAD = 1000  # objects; their names are the header
_AHEAD_TEXT = 1 << 22  # characters


class Number(str):
    """A number with the text that it has in the file: ``1.10``, ``1e400``, or 19 digits."""

    __slots__ = ()


@dataclass(frozen=True)
class JsonRow:
    """One object of a JSONL file.

    Args:
        line: line of the file, from 1.
        record: the object; its numbers are `Number`.
        cells: the values as text, by name.
        problem: why the line cannot be read; the row then has no cells. None for a good row.
    """

    line: int
    record: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, str] = field(default_factory=dict)
    problem: Problem | None = None


def json_rows(lines: Iterator[str | BadLine], first: int = 1) -> Iterator[JsonRow]:
    """Yield the objects of a file; blank lines are skipped. `first` is the number of the first line."""
    for number, line in enumerate(lines, first):
        if isinstance(line, BadLine):
            yield JsonRow(number, problem=line.problem)
        elif line.strip():
            try:
                record, cells = _parsed(line)
            except UnicodeEncodeError:
                text = "escapes one half of a surrogate pair, which is not a character"
                yield JsonRow(number, problem=Problem(text))
            except json.JSONDecodeError as error:
                yield JsonRow(number, problem=_not_json(f"{error.msg}: column {error.colno}"))
            except (ValueError, RecursionError) as error:
                yield JsonRow(number, problem=_not_json(str(error)))
            else:
                yield JsonRow(number, record, cells, None if cells else _no_object(line))


def with_header(rows: Iterator[JsonRow]) -> tuple[JsonRow, list[str], Iterator[JsonRow]]:
    """Return the header: the names of the first 1,000 objects.

    Returns:
        The first good row, or the first row if there is none; the header; and all rows.
    """
    ahead: list[JsonRow] = []
    text = 0
    for row in rows:
        ahead.append(row)
        text += sum(map(len, row.cells.values()))
        if len(ahead) == _AHEAD or text >= _AHEAD_TEXT:
            break
    first = next((row for row in ahead if not row.problem), ahead[0])
    return first, list(dict.fromkeys(name for row in ahead for name in row.cells)), chain(ahead, rows)


def json_text(value: Any, depth: int = 0) -> str:
    """Return a value as JSON; numbers keep their text.

    Raises:
        ValueError: the value is nested too deeply.
    """
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict | list):
        if depth == _DEEPEST:
            raise ValueError(f"is nested deeper than {_DEEPEST} levels")
        if isinstance(value, list):
            return f"[{', '.join([json_text(each, depth + 1) for each in value])}]"
        pairs = [f"{json.dumps(key, ensure_ascii=False)}: {json_text(each, depth + 1)}" for key, each in value.items()]
        return f"{{{', '.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=False)


def _not_json(reason: str) -> Problem:
    return Problem(f"is not JSON ({reason})", kind="is not JSON")


def _no_object(line: str) -> Problem:
    rule = "must be a JSON object with names"
    return Problem(f"{rule}, but is {line.strip()[:40]!r}", kind=rule)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else json_text(value)


def _parsed(line: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the object in a line, and its values as text; both are empty if the line is JSON but not an object.

    Raises:
        UnicodeEncodeError: the line escapes one half of a surrogate pair.
        ValueError: the line is not JSON.
        RecursionError: the value is nested too deeply.
    """
    record = json.loads(line, object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=Number)
    if not isinstance(record, dict):
        return {}, {}
    cells = {key: _cell(value) for key, value in record.items()}
    if "\\u" in line:
        "".join((*cells, *cells.values())).encode()
    return record, cells


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name '{next(name for name in names if names.count(name) > 1)}' occurs twice")
    return record
