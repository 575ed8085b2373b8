"""Setting rows of a training file aside as dev, where there is no dev file."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbert_cli.authoring.column import Column, FileReading
from mbert_cli.data.label_text import folded
from mbert_cli.data.row import Row
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import UsageError
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.disk import disk_errors

_ONE_IN = 10  # texts of a class go to dev
_FEWEST_OF_CLASS = 5  # texts; of a smaller class none goes to dev
_FEWEST = 2  # texts on either side, without which nothing can be measured


@dataclass
class _Side:
    """A file that will be written."""

    parts: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.parts.append(text)


@dataclass(frozen=True)
class DevSplit:
    """A training file in two parts, which are not written yet.

    Args:
        texts: of the two files, `train` and `dev`.
        dev: the columns of dev, counted.
    """

    texts: dict[str, str]
    dev: list[Column]

    def write(self, paths: dict[str, Path]) -> None:
        """Write the two files."""
        for split, path in paths.items():
            with disk_errors(path.parent):
                replace_file(path, self.texts[split])


def split_off_dev(source: Path, reading: FileReading, text: Sequence[str], stratum: str | None) -> DevSplit:
    """Split a training file in two: a tenth of the texts of every class goes to dev, chosen by their hash.

    So a text that occurs twice is not on both sides, and the same file is always split alike.

    Args:
        source: the training file.
        reading: how it is read.
        text: its columns of texts.
        stratum: its column of classes; None where labels are numbers.

    Raises:
        UsageError: there are too few rows.
    """
    chosen = _chosen(source, reading, text, stratum)
    with reading.open(str(source)) as table:
        sides = {"train": _Side(), "dev": _Side()}
        writers = {split: TableWriter(side, table, []) for split, side in sides.items()}
        for writer in writers.values():
            writer.write_header()
        dev = [Column(name) for name in reading.header(table)]
        columns = [table.column(name, required=False) for name in text]
        for row in table:
            split = "dev" if _key(row, columns) in chosen else "train"
            writers[split].write(row, [])
            if split == "dev":
                for column, cell in zip(dev, row.cells, strict=True):
                    column.count(cell)
    return DevSplit({split: "".join(side.parts) for split, side in sides.items()}, dev)


def _key(row: Row, columns: Sequence[int]) -> bytes:
    return hashlib.sha256("\t".join(row.cells[column] for column in columns).encode()).digest()


def _chosen(source: Path, reading: FileReading, text: Sequence[str], stratum: str | None) -> set[bytes]:
    """Return the hashes of the texts that go to dev."""
    classes: dict[bytes, str] = {}
    with reading.open(str(source)) as table:
        columns = [table.column(name, required=False) for name in text]
        label = None if stratum is None else table.column(stratum, required=False)
        for row in table:
            if all(row.cells[column].strip() for column in columns):
                classes.setdefault(_key(row, columns), "" if label is None else folded(row.cells[label]))
    sizes = Counter(classes.values())
    wanted = {name: max(1, round(n / _ONE_IN)) if n >= _FEWEST_OF_CLASS else 0 for name, n in sizes.items()}
    ordered = sorted(classes)
    chosen: set[bytes] = set()
    for key in ordered:
        if wanted[classes[key]]:
            wanted[classes[key]] -= 1
            chosen.add(key)
    if len(chosen) < _FEWEST:  # small classes only
        chosen = set(ordered[: max(_FEWEST, len(ordered) // _ONE_IN)])
    if len(ordered) - len(chosen) < _FEWEST:
        raise UsageError(f"{source}: has too few rows to set some aside as dev; name a dev file as well.")
    return chosen
