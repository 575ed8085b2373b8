"""Data files with random damage: mbert parses each as an independent parser does, or rejects it at the same line."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tiny
from course_files import COURSE_FILES, course_folder
from experiment import Experiment, check, once
from outcomes import refusal
from reference_table import Defect, read_rows

from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.labels import Labels
from mbert_cli.data.table import Table
from mbert_cli.errors import MbertError
from mbert_cli.heads.classification import Classification
from mbert_cli.heads.cosine_similarity import CosineSimilarity
from mbert_cli.heads.pair_classification import PairClassification
from mbert_cli.messages import one_line
from mbert_cli.recipe.sections import Component, TaskSection

_SECONDS = 5
_ODD = [
    b"\0",
    b"\r",
    b"\r\r\n",
    b"\n",
    b"\xef\xbb\xbf",
    b'"',
    b'""',
    b'"\n',
    b"\t",
    b",",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\x0b",
    b"\x1c",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\\",
    b"\\ud800",
    b"\x1a",
    b"{",
    b"null",
    b"\xe2\x80\x8b",
    b"#",
]
_LABELS = [
    "NaN",
    "inf",
    "-inf",
    "6.0",
    "-0.1",
    "",
    " ",
    "low",
    "1.0",
    "1e0",
    "1_0",
    "0x1",
    "٣",
    "None",
    "1e400",
    "2",
    "00",
]


@dataclass(frozen=True)
class _Seed:
    """An undamaged file and how to read it."""

    data: bytes
    texts: list[str]
    label: str
    is_label: Callable[[str], bool]
    labels: Labels


def _number(text: str) -> float | None:
    plain = text.strip()
    return float(plain) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", plain) else None


def _is_class(*names: str) -> Callable[[str], bool]:
    def one_of(text: str) -> bool:
        whole, point, zeros = text.strip().partition(".")
        return whole in names and (not point or not zeros.strip("0"))

    return one_of


def _is_mood(text: str) -> bool:
    return text.strip() in ("low", "mid", "high")


def _is_similarity(text: str) -> bool:
    number = _number(text)
    return number is not None and 0 <= number <= 5


_LABELLED = {
    "mood": (_is_mood, Classification(4, labels=["low", "mid", "high"]).labels),
    "same": (_is_class("0", "1"), PairClassification(4).labels),
    "near": (_is_similarity, CosineSimilarity(4).labels),
    "sentiment": (_is_class("0", "1", "2", "3", "4"), Classification(4, num_classes=5).labels),
    "is_duplicate": (_is_class("0", "1"), PairClassification(4).labels),
    "similarity": (_is_similarity, CosineSimilarity(4).labels),
}


def _tiny_seed(rng: random.Random, folder: Path) -> _Seed:
    def make(new: Path) -> None:
        new.mkdir()
        tiny.write_files(new)

    name = rng.choice(["mood", "same", "near"])
    texts = ["text"] if name == "mood" else ["one", "two"]
    return _Seed((once(folder, "tables", make) / f"{name}-train.tsv").read_bytes(), texts, name, *_LABELLED[name])


def _course_seed(rng: random.Random, folder: Path) -> _Seed:
    """A window of a real file."""
    name = rng.choice([name for name, (_, label) in COURSE_FILES.items() if label])
    texts, label = COURSE_FILES[name]
    header, *lines = (folder / name).read_bytes().splitlines(keepends=True)
    start, count = rng.randrange(len(lines)), rng.randint(1, 300)
    assert label is not None
    return _Seed(header + b"".join(lines[start : start + count]), texts, label, *_LABELLED[label])


def _as_csv(data: bytes) -> bytes:
    return b"".join(
        b",".join(cell if b"," not in cell else b'"' + cell + b'"' for cell in line.split(b"\t")) + b"\n"
        for line in data.splitlines()
    )


def _as_jsonl(data: bytes) -> bytes:
    header, *rows = (line.split("\t") for line in data.decode().split("\n") if line)
    return "".join(json.dumps(dict(zip(header, row, strict=False)), ensure_ascii=False) + "\n" for row in rows).encode()


def _mutated(rng: random.Random, data: bytes) -> bytes:
    """Return a file with one piece of damage."""
    at = rng.randrange(len(data) + 1)
    lines = data.splitlines(keepends=True) or [b""]
    line = rng.randrange(len(lines))
    changes: list[Callable[[], bytes]] = [
        lambda: _flipped(rng, data),
        lambda: data[:at] + data[at + rng.choice([1, 1, 2, 30]) :],
        lambda: data[:at] + rng.choice(_ODD) + data[at:],
        lambda: data[:at] + rng.choice(_ODD) * rng.randint(1, 3) + data[at:],
        lambda: data[:at] + rng.randbytes(rng.randint(1, 4)) + data[at:],
        lambda: data[:at],
        lambda: b"".join([*lines[:line], lines[line], *lines[line:]]),
        lambda: b"".join([*lines[:line], *lines[line + 1 :]]),
        lambda: b"".join([lines[0], *lines]),
        lambda: b"".join([*lines[:line], rng.choice([b"\n", b"\r\n", b" \n", b"\t\n"]), *lines[line:]]),
        lambda: b"".join([*lines[:line], _with_other_cell(rng, lines[line]), *lines[line + 1 :]]),
        lambda: b"".join([*lines[:line], _with_other_cell(rng, lines[line]), *lines[line + 1 :]]),
        lambda: b"".join([_with_other_cell(rng, lines[0]), *lines[1:]]),
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\r\r\n"])),
        lambda: data.replace(b"\t", rng.choice([b",", b"  ", b"\t\t"])),
        lambda: data.decode(errors="replace").encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "cp500"]), "replace"),
        lambda: b"",
    ]
    return rng.choice(changes)()


def _flipped(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _with_other_cell(rng: random.Random, line: bytes) -> bytes:
    """Return a line with a cell emptied, replaced, lengthened, quoted, moved or doubled."""
    end = line[len(line.rstrip(b"\r\n")) :]
    delimiter = b"\t" if b"\t" in line else b","
    cells = line.rstrip(b"\r\n").split(delimiter)
    at = rng.choice([rng.randrange(len(cells)), len(cells) - 1])
    long = b"long " * rng.choice([10_000, 40_000] + [3_400_000] * (rng.random() < 0.02))
    deep = b"[" * (depth := rng.choice([300, 5000])) + b"]" * depth
    cells[at] = rng.choice(
        [
            *(b"", b" ", b"\xe3\x80\x80", long, deep, b'{"id": ' + deep + b"}", delimiter.join([cells[at]] * 2)),
            *(b'"' + cells[at] + b'"', b'"' + cells[at], cells[at] + b'"', rng.choice(cells)),
            *(rng.choice(_LABELS).encode() for _ in range(2)),
        ]
    )
    if rng.random() < 0.2:
        rng.shuffle(cells)
    return delimiter.join(cells) + end


def _defects(seed: _Seed, rows: list[tuple[int, list[str]]], skip: bool) -> tuple[int | None, list[int]]:
    """Return the first line that must be rejected, and the lines that must be skipped."""
    (line, header), *rest = rows
    wanted = [*seed.texts, seed.label]
    if any(header.count(name) != 1 for name in wanted):
        return line, []
    bad = []
    for line, cells in rest:
        row = dict(zip(header, cells, strict=True))
        wrong = not all(row[name].strip() for name in wanted) or not seed.is_label(row[seed.label])
        if wrong and not skip:
            return line, []
        if wrong:
            bad.append(line)
    return None, bad


def _check_place(error: MbertError | None, path: Path, line: int | None) -> None:
    check(error is not None, f"accepted, but line {line} is defective")
    place = f"{path}:" if line is None else f"{path}:{line}:"
    # A row may span several lines: it begins above the line that is not text.
    inside = line is not None and f": line {line} " in str(error).partition("\n")[0]
    check(str(error).startswith(f"{place} ") or inside, f"not at {place} but: {str(error)[:300]}")
    for problem in error.problems if error is not None else ():
        check(one_line(problem) == problem and len(problem) < 2000, f"is not a short line: {problem[:300]!r}")


def _read_or_refused(rng: random.Random, folder: Path) -> None:
    course = course_folder()
    seed = _course_seed(rng, course) if course and rng.random() < 0.5 else _tiny_seed(rng, folder)
    form = rng.choice(["x.tsv", "x.tsv", "x.csv", "x.jsonl"])
    data = {"x.tsv": bytes, "x.csv": _as_csv, "x.jsonl": _as_jsonl}[form](seed.data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = _mutated(rng, data)
    path = folder / form
    path.write_bytes(data)
    quoting = rng.choice(["csv", "csv", "none"])
    rows: list[tuple[int, list[str]]] = []
    defect = None
    try:
        for row in read_rows(data, form, quoting):
            rows.append(row)
    except Defect as found:
        defect = found
    _predicting(path, quoting, rows, defect)
    _training(rng, path, quoting, seed, rows, defect)


def _predicting(path: Path, quoting: str, rows: list[tuple[int, list[str]]], defect: Defect | None) -> None:
    found: list[tuple[int, list[str]]] = []

    def read() -> None:
        with Table(str(path), quoting) as table:
            header_line = rows[0][0] if rows else 0
            found.append((header_line, table.header))
            found.extend((row.line, row.cells) for row in table)

    error = refusal(read, _SECONDS)
    if defect is not None:
        _check_place(error, path, defect.line)
    else:
        check(error is None, f"a valid file was rejected: {error}")
        check(found == rows, "the independent parser gives other rows")


def _training(
    rng: random.Random,
    path: Path,
    quoting: str,
    seed: _Seed,
    rows: list[tuple[int, list[str]]],
    defect: Defect | None,
) -> None:
    skip = defect is None and rng.random() < 0.3
    task = TaskSection(
        train="",
        dev="",
        text=seed.texts,
        label=seed.label,
        head=Component(kind="classification"),
        quoting=quoting,
        on_bad_row="skip" if skip else "error",
    )
    found: list[Examples] = []
    error = refusal(lambda: found.append(read_examples(str(path), "task", task, seed.labels)), _SECONDS)
    line, bad = _defects(seed, rows, skip) if rows else (None, [])
    if line is None and defect is not None:
        line = defect.line
    good = [] if not rows else [row for row in rows[1:] if row[0] not in bad]
    if line is not None or defect is not None or not good:
        _check_place(error, path, line)
        return
    check(error is None, f"a valid file was rejected: {error}")
    (examples,) = found
    places = [rows[0][1].index(name) for name in seed.texts]
    check(examples.texts == [[cells[at] for _, cells in good] for at in places], "the texts differ")
    check(examples.lines == [line for line, _ in good], "the lines differ")
    check(len(examples.skipped) == len(bad), f"{len(examples.skipped)} rows skipped, not {len(bad)}")


mutated_tables = Experiment(
    8,
    "a data file with random damage: parsed as by an independent parser, or exit code 2 with its line, within 5 s",
    10_000,
    300,
    _read_or_refused,
)
