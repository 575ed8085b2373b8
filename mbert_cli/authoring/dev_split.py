"""Splits a training file into a training file and a dev file, if there is no dev file."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mbert_cli.authoring.column import Column, FileReading, good_rows
from mbert_cli.data.row import Row
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import UsageError, counted
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.disk import disk_errors

_ONE_IN = 10  # one of so many texts of a class, or of a label, goes to dev
_FEWEST_OF_CLASS = 5  # texts; no text of a smaller class goes to dev
_FEWEST = 2  # texts in each file; fewer cannot be scored


@dataclass
class Side:
    """The text of a file that will be written later."""

    parts: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Add text."""
        self.parts.append(text)


@dataclass(frozen=True)
class Strata:
    """The classes, or the labels, that each part of a split gets its share of.

    Args:
        columns: the columns of labels.
        read: returns the classes of a row from its cells in these columns.
    """

    columns: Sequence[str]
    read: Callable[[Sequence[str]], set[str]]


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
    strata: Strata | None,
    usable: Mapping[str, Callable[[str], bool]],
) -> DevSplit:
    """Split a training file in two: a tenth of the texts of each class goes to dev, chosen by their hash.

    A text that occurs twice therefore goes to one file only, and the same file is always split in the same way.
    Rows that cannot be read are left out of both files.

    Args:
        source: the training file.
        reading: how the file is read.
        text: the columns of texts.
        strata: the classes or the labels of a row; None if labels are numbers.
        usable: for each column of labels, whether a cell is a label. A text without any label does not go to dev.

    Raises:
        UsageError: the file has too few rows.
    """
    chosen = _chosen(source, reading, text, strata, usable)
    with reading.open(str(source)) as table:
        sides = {"train": Side(), "dev": Side()}
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
    strata: Strata | None,
    usable: Mapping[str, Callable[[str], bool]],
) -> set[bytes]:
    """Return the hashes of the texts that go to dev."""
    classes: dict[bytes, set[str]] = {}
    rows, values = 0, set[str]()
    with reading.open(str(source)) as table:
        columns = [table.column(name, required=False) for name in text]
        labels = [table.column(name, required=False) for name in (strata.columns if strata else ())]
        checks = [(table.column(name, required=False), is_usable) for name, is_usable in usable.items()]
        for row in good_rows(table):
            rows += 1
            own = strata.read([row.cells[column] for column in labels]) if strata else set()
            values |= own
            has_label = any(is_usable(row.cells[column]) for column, is_usable in checks)
            if has_label and all(row.cells[column].strip() for column in columns):
                classes.setdefault(_key(row, columns), own or {""})
    ordered = sorted(classes)
    chosen = _share_of_each(classes)
    if len(chosen) < _FEWEST:  # all classes are small
        chosen = set(ordered[: max(_FEWEST, len(ordered) // _ONE_IN)])
    if len(ordered) - len(chosen) < _FEWEST:
        of_classes = "" if strata is None else f" and {len(values):,} different labels"
        what = f"{counted(rows, 'row')} with {counted(len(ordered), 'different text')}{of_classes}"
        raise UsageError(f"{source}: has {what}, too few to split off a dev file; name a dev file as well.")
    return chosen


def _share_of_each(classes: Mapping[bytes, set[str]]) -> set[bytes]:
    """Return a tenth of the texts of each class, the smallest hashes first.

    If a text has several labels, the rarest labels choose first, and the chosen texts count for all of their labels
    (Sechidis, Tsoumakas & Vlahavas 2011 divide in this order, too).

    Args:
        classes: the classes of each text, or its labels.
    """
    texts: dict[str, list[bytes]] = {}
    for key in sorted(classes):
        for name in classes[key]:
            texts.setdefault(name, []).append(key)
    chosen: set[bytes] = set()
    for name in sorted(texts, key=lambda name: (len(texts[name]), name)):
        own = texts[name]
        wanted = max(1, round(len(own) / _ONE_IN)) if len(own) >= _FEWEST_OF_CLASS else 0
        missing = wanted - sum(key in chosen for key in own)
        chosen.update([key for key in own if key not in chosen][: max(0, missing)])
    return chosen
