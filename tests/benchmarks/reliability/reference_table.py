"""An independent parser of tables, character by character: RFC 4180 for TSV and CSV, one object per line for JSONL."""

import json
from collections.abc import Iterator

_MOST = 1 << 24  # characters in a cell


class Defect(Exception):  # noqa: N818 -- the file is defective, not the program
    """A file is defective: at a line, or as a whole if the line is None."""

    def __init__(self, line: int | None) -> None:
        super().__init__(f"line {line}")
        self.line = line


Rows = Iterator[tuple[int, list[str]]]
"""For each row its first line and its cells. The first row is the header."""


def read_rows(data: bytes, name: str, quoting: str = "csv") -> Rows:
    """Yield the rows of a table up to its first defect.

    Raises:
        Defect: the file is defective.
    """
    decided = next((text for text in _lines(data) if text.strip()), None)
    if decided is None:
        raise Defect(None)
    if name.endswith(".jsonl"):
        return _jsonl(data)
    decided = decided if quoting == "none" else _outside_quotes(data)
    delimiter = next((each for each in "\t,;" if each in decided), "\t")
    return _same_width(_plain(data, delimiter) if quoting == "none" else _quoted(data, delimiter))


def _outside_quotes(data: bytes) -> str:
    """Return the part of the header that is outside quotes."""
    found, is_quoted = "", False
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    # Blank lines above the header are skipped.
    while text.partition("\n")[0].strip() == "":
        text = text.partition("\n")[2]
    for at, character in enumerate(text):
        if is_quoted and character == '"':
            is_quoted = False
        elif character == '"' and (at == 0 or text[at - 1] in '\t,;|"'):
            is_quoted = True
        elif character == "\n" and not is_quoted:
            break
        elif not is_quoted:
            found += character
    return found


def _lines(data: bytes) -> Iterator[str]:
    for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
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
        if not cells and width == 1:
            yield line, [""]
        if not cells:
            continue
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
        yield number, text.split(delimiter) if text else []


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
            yield begun, row
            row, begun, state = [], number + 1, "new"
    if state == "quoted":
        raise Defect(begun)


def _jsonl(data: bytes) -> Rows:
    found: list[tuple[int, dict[str, object]]] = []
    defect: int | None = None
    try:
        for number, text in enumerate(_lines(data), 1):
            if text.strip():
                defect = number
                found.append((number, _object(text)))
                defect = None
    except (ValueError, RecursionError):
        pass
    except Defect as error:
        defect = error.line
    if found:
        header = list(dict.fromkeys(name for _, record in found[:1000] for name in record))
        yield found[0][0], header
        for number, record in found:
            yield number, [_shown(record.get(name)) for name in header]
    if defect is not None:
        raise Defect(defect)


class _Number(str):
    """A number's text."""


def _object(text: str) -> dict[str, object]:
    numbers = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), _Number)
    record = json.loads(text, object_pairs_hook=_without_doubles, **numbers)
    if not isinstance(record, dict) or not record or not _is_unicode(record) or _depth(record) > 201:
        raise ValueError
    return record


def _depth(value: object) -> int:
    """Return how deep objects and lists are nested."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    """Return a value as JSON. Numbers keep their text."""
    numbers: list[str] = []

    def marked(each: object) -> object:
        if isinstance(each, _Number):
            numbers.append(str(each))
            return f"\0{len(numbers) - 1}\0"
        if isinstance(each, dict):
            return {name: marked(inner) for name, inner in each.items()}
        return [marked(inner) for inner in each] if isinstance(each, list) else each

    text = json.dumps(marked(value), ensure_ascii=False)
    for at, number in enumerate(numbers):
        text = text.replace(f'"\\u0000{at}\\u0000"', number)
    return text


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
