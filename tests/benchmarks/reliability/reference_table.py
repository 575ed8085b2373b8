"""An independent reader of tables, character by character: RFC 4180 for TSV and CSV, one object a line for JSONL."""

import json
from collections.abc import Iterator

_MOST = 1 << 24  # characters of a cell


class Defect(Exception):  # noqa: N818 -- of a file, not of ours
    """What is wrong with a file: the line where it is, None for the file as a whole."""

    def __init__(self, line: int | None) -> None:
        super().__init__(f"line {line}")
        self.line = line


Rows = Iterator[tuple[int, list[str]]]
"""The line where a row begins, and its cells; the first is the header."""


def read_rows(data: bytes, name: str, quoting: str = "csv") -> Rows:
    """Yield the rows of a table up to its first defect.

    Raises:
        Defect: there is one.
    """
    decided = next((text for text in _lines(data) if text.strip()), None)
    if decided is None:
        raise Defect(None)
    if name.endswith(".jsonl"):
        return _jsonl(data)
    delimiter = next((each for each in "\t,;" if each in decided), "\t")
    return _same_width(_plain(data, delimiter) if quoting == "none" else _quoted(data, delimiter))


def _lines(data: bytes) -> Iterator[str]:
    for number, raw in enumerate(data.split(b"\n"), 1):
        utf16 = number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        if utf16 or b"\0" in raw:
            raise Defect(number)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Defect(number) from None
        yield text[1:] if number == 1 and text.startswith("\ufeff") else text


def _same_width(rows: Rows) -> Rows:
    width = 0
    for line, cells in rows:
        width = width or len(cells)
        if len(cells) != width:
            raise Defect(line)
        yield line, cells


def _plain(data: bytes, delimiter: str) -> Rows:
    for number, text in enumerate(_lines(data), 1):
        if text.endswith("\r"):
            text = text[:-1]
        if "\r" in text:
            raise Defect(number)
        if text:
            yield number, text.split(delimiter)


def _quoted(data: bytes, delimiter: str) -> Rows:
    row: list[str] = []
    cell: list[str] = []
    begun, state = 1, "new"  # then "plain", "quoted", "closed", or "ending" after a carriage return
    for number, text in enumerate(_lines(data), 1):
        for character in (*text, "\n"):
            if state == "quoted":
                if character == '"':
                    state = "closed"
                else:
                    cell.append(character)
            elif state == "ending" and character not in "\r\n":
                raise Defect(begun)
            elif character in (delimiter, "\r", "\n") and state != "ending":
                if character == delimiter or row or state != "new":
                    row.append("".join(cell))
                cell, state = [], "new" if character == delimiter else "ending"
            elif character == '"' and state in ("new", "closed"):
                if state == "closed":
                    cell.append('"')
                state = "quoted"
            elif state == "closed":
                raise Defect(begun)
            elif state != "ending":
                cell.append(character)
                state = "plain"
            if len(cell) > _MOST:
                raise Defect(begun)
        if state == "ending":
            if row:
                yield begun, row
            row, begun, state = [], number + 1, "new"
    if state == "quoted":
        raise Defect(begun)


def _jsonl(data: bytes) -> Rows:
    header: list[str] = []
    for number, text in enumerate(_lines(data), 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text, object_pairs_hook=_without_doubles)
        except (ValueError, RecursionError):
            raise Defect(number) from None
        if not isinstance(record, dict) or not record or not _is_unicode(record):
            raise Defect(number)
        if not header:
            header = list(record)
            yield number, header
        if any(name not in record for name in header):
            raise Defect(number)
        yield number, [_shown(record[name]) for name in header]


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
