"""The splits of one data set are checked against each other, and the labels of all of them are read."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mbert_cli.authoring.column import Column, CountedFile, FileReading
from mbert_cli.authoring.guess_columns import Guess
from mbert_cli.authoring.guess_labels import GuessedLabels, read_flags, read_labels, why_impossible
from mbert_cli.authoring.task_files import TaskFiles, notes_on_dev
from mbert_cli.data.label_remarks import first_of
from mbert_cli.data.label_sets import FLAGS
from mbert_cli.errors import UsageError, counted


def fit_splits(
    name: str,
    files: dict[str, Path],
    columns: dict[str, CountedFile],
    reading: FileReading,
    guess: Guess,
    names: dict[str, str],
) -> TaskFiles:
    """Return a data set with the tasks that fit all of its splits. A test file without labels is left out.

    Args:
        name: name of the data set.
        files: the file of each split.
        columns: the columns of each split.
        reading: how the files are read.
        guess: what the columns of the training file contain.
        names: the task of each column of labels.

    Raises:
        UsageError: a split lacks a column of texts, the dev file has no labels, or a column cannot be labels.
    """
    train, dev, test = (columns.get(split) for split in ("train", "dev", "test"))
    assert train is not None, "each data set has a training file"
    _check_columns(train, dev, columns.values(), guess.text, names)
    labelled = [train] if dev is None else [train, dev]
    notes = _notes_on_files(columns.values())
    if test is not None and any(_is_unlabelled(test, column, labelled) for column in names):
        files = {split: path for split, path in files.items() if split != "test"}
        notes.append(left_out(test))
    elif test is not None:
        labelled.append(test)
    tasks: dict[str, GuessedLabels] = {}
    if guess.are_flags:
        tasks[next(iter(names.values()))] = _flags(list(names), labelled)
    else:
        tasks = {task: _labels(column, labelled) for column, task in names.items()}
    for labels in tasks.values():
        _check_usable(labels, labelled)
        notes += [] if dev is None else notes_on_dev(labels, dev)
    own = [column for labels in tasks.values() for column in labels.columns if not labels.is_usable("")]
    empty = {column: _merged(column, labelled).empty for column in [*guess.text, *own]}
    notes += [f"'{column}' is empty in {_skipped(count)}" for column, count in empty.items() if count]
    for column in (column for labels in tasks.values() for column in labels.columns):
        missing = {text: count for text, count in _merged(column, labelled).missing.items() if count}
        if missing:
            notes.append(f"'{column}' is {first_of([*missing])} in {_skipped(sum(missing.values()))}")
    settings = _id_setting(guess, labelled)
    if "id" in settings and settings["id"] is None:
        notes.append("'id' repeats: it is not used as an id (id: null in the recipe)")
    has_bad_rows = any(file.skipped for file in columns.values())
    if has_bad_rows or any(labels.skipped for labels in tasks.values()) or any(empty.values()):
        settings["on_bad_row"] = "skip"
    return TaskFiles(name, files, reading, guess, tasks, settings, tuple(notes))


def _skipped(rows: int) -> str:
    return f"{counted(rows, 'row')}, which {'is' if rows == 1 else 'are'} skipped"


def left_out(file: CountedFile) -> str:
    """Return a note that a file without labels is not in the recipe."""
    return f"{file.path}: has no labels and is left out of the recipe; after training, mbert predict can read it"


def _check_columns(
    train: CountedFile,
    dev: CountedFile | None,
    files: Collection[CountedFile],
    text: Sequence[str],
    labels: Collection[str],
) -> None:
    for file in files:
        missing = next((column for column in text if file.column(column) is None), None)
        if missing is not None:
            raise UsageError(
                f"{file.path}: has no column '{missing}', which {train.path} has; rename it, or leave it out."
            )
    unlabelled = None if dev is None else next((each for each in labels if _is_unlabelled(dev, each, [train])), None)
    if dev is not None and unlabelled is not None:
        raise UsageError(
            f"{dev.path}: has no labels in '{unlabelled}'; name a labelled dev file, or no dev file: then a part of "
            "the training rows becomes dev."
        )


def _notes_on_files(files: Collection[CountedFile]) -> list[str]:
    return [
        *(f"{file.path}: {file.remark}" for file in files if file.remark),
        *(file.skipped for file in files if file.skipped),
        *(warning for file in files for warning in file.warnings),
        *(f"{file.path}:{file.delimiter_hint.removesuffix('.')}" for file in files if file.delimiter_hint),
    ]


def _labels(column: str, files: Sequence[CountedFile]) -> GuessedLabels:
    whole = _merged(column, files)
    problem = why_impossible(whole)
    if problem:
        raise UsageError(f"{', '.join(file.path for file in files)}: {column} {problem}.")
    labels = read_labels(whole)
    return replace(labels, skipped=(*labels.skipped, *(text for text, count in whole.missing.items() if count)))


def _flags(names: Sequence[str], files: Sequence[CountedFile]) -> GuessedLabels:
    columns = [_merged(name, files) for name in names]
    for column in columns:
        odd = next((value for value in column.values if value.casefold() not in FLAGS), None)
        if odd is not None:
            place = next(file.path for file in files if (own := file.column(column.name)) and odd in own.values)
            raise UsageError(
                f"{place}: '{column.name}' must be 0 or 1, but contains '{odd}'; correct or leave out these rows; if "
                f"the label is missing there, add --missing {shlex.quote(odd)}."
            )
    missing = {text for column in columns for text, count in column.missing.items() if count}
    return replace(read_flags(columns), skipped=tuple(sorted(missing)))


def _check_usable(labels: GuessedLabels, files: Sequence[CountedFile]) -> None:
    """Check that each file has a label of a task that is not skipped."""
    for file in files:
        column = file.column(labels.column)
        if column is None or not any(map(labels.is_usable, column.values)):
            raise UsageError(
                f"{file.path}: '{labels.column}' contains no numbers, but other files do; correct it, or leave the "
                "file out."
            )


def _id_setting(guess: Guess, files: Sequence[CountedFile]) -> dict[str, Any]:
    """Return the recipe key `id`, or nothing for its default. The id is None if the column `id` has repeated values."""
    unique = next((name for name in guess.ids if all(_is_unique(file, name) for file in files)), None)
    if unique is not None:
        return {} if unique == "id" else {"id": unique}
    repeats = any((column := file.column("id")) is not None and column.repeats for file in files)
    return {"id": None} if repeats else {}


def _is_unique(file: CountedFile, name: str) -> bool:
    column = file.column(name)
    return column is None or column.is_unique


def _merged(name: str, files: Sequence[CountedFile]) -> Column:
    merged = Column(name)
    for file in files:
        column = file.column(name)
        merged = merged if column is None else merged.plus(column)
    return merged


def _is_unlabelled(file: CountedFile, name: str, labelled: Sequence[CountedFile]) -> bool:
    """Whether a file has no labels: no such column, only empty cells, or only one value that other files do not use."""
    column = file.column(name)
    known = _merged(name, labelled).values
    return column is None or not column.filled or (len(column.values) == 1 and known.keys().isdisjoint(column.values))
