"""Splits a training file into a training file and a dev file, if there is no dev file."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbert_cli.authoring.column import Column, FileReading, good_rows
from mbert_cli.data.label_text import folded
from mbert_cli.data.row import Row
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import UsageError, counted
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.disk import disk_errors

_ONE_IN = 10  # one of so many texts of a class goes to dev
_FEWEST_OF_CLASS = 5  # texts; no text of a smaller class goes to dev
_FEWEST = 2  # texts in each file; fewer cannot be scored


@dataclass
class _Side:
    """The text of a file that will be written later."""

    parts: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.parts.append(text)


@dataclass(frozen=True)
class DevSplit:
    """A training file and a dev file that are not written yet.

    Args:
        texts: the text of each file, `train` and `dev`.
        dev: counts of the columns of dev.
    """

    texts: dict[str, str]
    dev: list[Column]

    def is_in(self, split: str, path: Path) -> bool:
        """Whether a file already has the text of a split, because an earlier `init` wrote it."""
        return path.is_file() and path.read_bytes() == self.texts[split].encode()

    def write(self, paths: dict[str, Path]) -> None:
        """Write the two files, except for one that already has its text."""
        for split, path in paths.items():
            if not self.is_in(split, path):
                with disk_errors(path.parent):
                    replace_file(path, self.texts[split])


def split_off_dev(
    source: Path,
    reading: FileReading,
    text: Sequence[str],
    stratum: str | None,
    usable: Mapping[str, Callable[[str], bool]],
) -> DevSplit:
    """Split a training file in two: a tenth of the texts of each class goes to dev, chosen by their hash.

    A text that occurs twice therefore goes to one file only, and the same file is always split in the same way.
    Rows that cannot be read are left out of both files.

    Args:
        source: the training file.
        reading: how the file is read.
        text: the columns of texts.
        stratum: the column of classes; None if labels are numbers.
        usable: for each column of labels, whether a cell is a label. A text without any label does not go to dev.

    Raises:
        UsageError: the file has too few rows.
    """
    chosen = _chosen(source, reading, text, stratum, usable)
    with reading.open(str(source)) as table:
        sides = {"train": _Side(), "dev": _Side()}
        writers = {split: TableWriter(side, table, []) for split, side in sides.items()}
        for writer in writers.values():
            writer.write_header()
        dev = [Column(name) for name in reading.header(table)]
        columns = [table.column(name, required=False) for name in text]
        for row in good_rows(table):
            split = "dev" if _key(row, columns) in chosen else "train"
            writers[split].write(row, [])
            if split == "dev":
                for column, cell in zip(dev, row.cells, strict=True):
                    column.count(cell)
    return DevSplit({split: "".join(side.parts) for split, side in sides.items()}, dev)


def _key(row: Row, columns: Sequence[int]) -> bytes:
    return hashlib.sha256("\t".join(row.cells[column] for column in columns).encode()).digest()


def _chosen(
    source: Path,
    reading: FileReading,
    text: Sequence[str],
    stratum: str | None,
    usable: Mapping[str, Callable[[str], bool]],
) -> set[bytes]:
    """Return the hashes of the texts that go to dev."""
    classes: dict[bytes, str] = {}
    rows, values = 0, set[str]()
    with reading.open(str(source)) as table:
        columns = [table.column(name, required=False) for name in text]
        label = None if stratum is None else table.column(stratum, required=False)
        checks = [(table.column(name, required=False), is_usable) for name, is_usable in usable.items()]
        for row in good_rows(table):
            rows += 1
            value = "" if label is None else folded(row.cells[label])
            values.add(value)
            has_label = any(is_usable(row.cells[column]) for column, is_usable in checks)
            if has_label and all(row.cells[column].strip() for column in columns):
                classes.setdefault(_key(row, columns), value)
    sizes = Counter(classes.values())
    wanted = {name: max(1, round(n / _ONE_IN)) if n >= _FEWEST_OF_CLASS else 0 for name, n in sizes.items()}
    ordered = sorted(classes)
    chosen: set[bytes] = set()
    for key in ordered:
        if wanted[classes[key]]:
            wanted[classes[key]] -= 1
            chosen.add(key)
    if len(chosen) < _FEWEST:  # all classes are small
        chosen = set(ordered[: max(_FEWEST, len(ordered) // _ONE_IN)])
    if len(ordered) - len(chosen) < _FEWEST:
        of_classes = "" if stratum is None else f" and {len(values):,} different labels"
        what = f"{counted(rows, 'row')} with {counted(len(ordered), 'different text')}{of_classes}"
        raise UsageError(f"{source}: has {what}, too few to split off a dev file; name a dev file as well.")
    return chosen
