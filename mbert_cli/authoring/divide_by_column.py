"""Divides a file by a column that contains the split of each row, as the one file of SICK does."""

from collections.abc import Sequence
from pathlib import Path

from mbert_cli.authoring.column import FileReading, good_rows
from mbert_cli.authoring.dev_split import DevSplit, Side
from mbert_cli.authoring.splits import slug, split_named, split_of, stem, text_ending
from mbert_cli.data.table import Table
from mbert_cli.data.table_writer import TableWriter
from mbert_cli.errors import DataError, UsageError, counted
from mbert_cli.messages import nearest, shown
from mbert_cli.storage.output_file import check_output
from mbert_cli.terminal.console import Console

_SPLITS = ("train", "dev", "test")


def divide_by_column(
    files: Sequence[Path], column: str, reading: FileReading, folder: Path, force: bool, console: Console
) -> list[Path]:
    """Return the files, with each one replaced by a file for each of its splits, in a folder.

    Files that an earlier `init` wrote are used again. Rows that cannot be read are left out, as in a dev split.

    Args:
        files: tables with the column.
        column: the column; its cells are `train`, `dev`, `test`, or other usual names of splits, in any case.
        reading: how the files are read.
        folder: where the new files are written.
        force: replace files that exist.
        console: where the new files are listed.

    Raises:
        UsageError: a file has no such column, or a new file may not be written.
        DataError: a file cannot be read, a cell is not the name of a split, or no row belongs to the training split.
    """
    divided: list[Path] = []
    for file in files:
        texts, rows = _divide(file, column, reading)
        name, ending = slug(split_of(file)[0]), text_ending(file)
        if any(slug(f"{name}-{split}") == slug(stem(each)) for split in texts for each in files):
            name = f"{name}_split"
        paths = {split: folder / f"{name}-{split}{ending}" for split in texts}
        split_files = DevSplit(texts, [])
        for split, path in paths.items():
            if not split_files.is_in(split, path):
                check_output(
                    path, force, other="choose another folder for the recipe: init writes the splits beside it"
                )
        split_files.write(paths)
        listed = ", ".join(f"{path} ({counted(rows[split], 'row')})" for split, path in paths.items())
        console.info(f"{file}: divided by '{column}' into {listed}")
        divided += paths.values()
    return divided


def _divide(file: Path, column: str, reading: FileReading) -> tuple[dict[str, str], dict[str, int]]:
    """Return the text of each split that has rows, and its number of rows."""
    with reading.open(str(file)) as table:
        index = _index(table, column)
        sides = {split: Side() for split in _SPLITS}
        writers = {split: TableWriter(side, table, []) for split, side in sides.items()}
        rows = dict.fromkeys(_SPLITS, 0)
        for writer in writers.values():
            writer.write_header()
        for row in good_rows(table):
            split = split_named(row.cells[index])
            if split is None:
                raise DataError(
                    f"{file}:{row.line}: {column} must be the name of a split, such as train, dev or test, but is "
                    f"{shown(row.cells[index])}; correct it, or delete the row."
                )
            writers[split].write(row, [])
            rows[split] += 1
    if not rows["train"]:
        raise DataError(f"{file}: no row has train in {column}; name another --split-column.")
    return {split: "".join(side.parts) for split, side in sides.items() if rows[split]}, rows


def _index(table: Table, column: str) -> int:
    if not table.has(column):
        raise UsageError(f"--split-column {column}: {table.name} has no such column{nearest(column, table.header)}")
    return table.column(column, "split of each row", required=False)
