"""Finds out which tasks the user's own files contain.

Must not import torch: fast start-up.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mbert_cli.authoring.column import CountedFile, FileReading, count_file
from mbert_cli.authoring.first_rows import check_headers
from mbert_cli.authoring.fit_splits import fit_splits, left_out
from mbert_cli.authoring.guess_columns import Guess, NoLabelsError, guess_columns
from mbert_cli.authoring.splits import stem
from mbert_cli.authoring.task_files import TaskFiles
from mbert_cli.authoring.task_names import AskedLabel, task_names
from mbert_cli.data.label_remarks import first_of
from mbert_cli.data.label_text import folded
from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest

CountedGroups = Mapping[str, Mapping[str, CountedFile]]
"""For each data set, the columns of each split."""


def new_files(
    groups: dict[str, dict[str, Path]], reading: FileReading, text: Sequence[str], labels: Sequence[AskedLabel]
) -> list[TaskFiles]:
    """Guess the tasks of the user's files.

    Args:
        groups: the files of each data set by split; see `group_files`.
        reading: how the files are read.
        text: the columns of texts; if empty, they are guessed.
        labels: the columns of labels; for a file without any of them they are guessed.

    Raises:
        UsageError: columns cannot be guessed, or the splits of a data set do not fit each other.
        DataError: a file cannot be read.
    """
    counted = {
        name: {split: count_file(str(path), reading) for split, path in files.items()} for name, files in groups.items()
    }
    for splits in counted.values():
        check_headers(splits.values(), text, [label.column for label in labels])
    _check_labels(labels, counted)
    guesses: dict[str, Guess] = {}
    unlabelled: list[tuple[CountedFile, NoLabelsError]] = []
    for name, files in groups.items():
        train = counted[name]["train"]
        asked = [label for label in labels if any(each.name == label.column for each in train.columns)]
        try:
            guesses[name] = guess_columns(train, text, [label.column for label in asked])
        except NoLabelsError as error:
            if len(files) > 1 or len(groups) == 1:
                raise
            unlabelled.append((train, _without_remedy(train, labels) if labels else error))
    # Columns of 0 and 1 are one task.
    columns = {name: [*guess.labels][: 1 if guess.are_flags else None] for name, guess in guesses.items()}
    names = task_names(columns, labels, _headers(counted, reading))
    for name, guess in guesses.items():
        names[name] = {column: names[name].get(column, names[name][columns[name][0]]) for column in guess.labels}
    tasks = [
        fit_splits(name, groups[name], counted[name], reading, guess, names[name]) for name, guess in guesses.items()
    ]
    for file, problem in unlabelled:
        _leave_out(file, problem, tasks)
    _check_missing(reading, tasks)
    _ask_for_splits(tasks, {name: [each.name for each in files["train"].columns] for name, files in counted.items()})
    return tasks


def _headers(counted: CountedGroups, reading: FileReading) -> dict[str, str]:
    """Return the names of all columns, each with a file that has it."""
    files = [file for splits in counted.values() for file in splits.values()]
    headers = {column.name: file.path for file in reversed(files) for column in file.columns}
    return {**dict.fromkeys(reading.columns.values(), files[0].path), **headers}


def _check_labels(labels: Sequence[AskedLabel], counted: CountedGroups) -> None:
    """Check that each column of labels that the user named is in a training file."""
    known = {column.name for files in counted.values() for column in files["train"].columns if column.name}
    for label in labels:
        if label.column not in known and known.issuperset(label.column.split(",")):
            words = " ".join(f"--label {shlex.quote(each)}" for each in label.column.split(","))
            raise UsageError(f"--label {label.column}: name one column at a time: {words}")
        if label.column not in known:
            place = ", ".join(files["train"].path for files in counted.values())
            raise UsageError(f"{place}: has no column '{label.column}'{nearest(label.column, sorted(known))}")


def _check_missing(reading: FileReading, tasks: Sequence[TaskFiles]) -> None:
    """Check that each text that means a missing label occurs in a column of labels."""
    skipped = {text for each in tasks for labels in each.tasks.values() for text in labels.skipped}
    unknown = next((text for text in reading.missing if folded(text) not in skipped), None)
    if unknown is not None:
        known = ", ".join(
            f"'{column}'" for each in tasks for labels in each.tasks.values() for column in labels.columns
        )
        raise UsageError(f"--missing {unknown}: does not occur in {known}; correct it, or leave it out.")


def _without_remedy(file: CountedFile, labels: Sequence[AskedLabel]) -> NoLabelsError:
    """Return an error that does not advise --label, because the user already gave it."""
    names = ", ".join(f"'{label.column}'" for label in labels)
    return NoLabelsError(
        f"{file.path}: has no column {names}, and no other column looks like labels; leave the file out, or name its "
        "column of labels with another --label."
    )


def _leave_out(file: CountedFile, error: NoLabelsError, tasks: list[TaskFiles]) -> None:
    """Leave out a file that has the texts of another data set but no labels, and add a note to that data set.

    Raises:
        NoLabelsError: no data set has columns of texts that the file also has.
    """
    for index, each in enumerate(tasks):
        labels = {labels.column for labels in each.tasks.values()}
        if all(file.column(name) for name in each.guess.text) and not any(file.column(name) for name in labels):
            tasks[index] = replace(each, notes=(*each.notes, left_out(file)))
            return
    raise error


def _ask_for_splits(tasks: list[TaskFiles], headers: Mapping[str, Sequence[str]]) -> None:
    """Add a note to a data set with the same columns as another one: the two may be splits of one task."""
    by_header: dict[tuple[str, ...], list[int]] = {}
    for index, each in enumerate(tasks):
        by_header.setdefault(tuple(headers[each.name]), []).append(index)
    for first, *others in by_header.values():
        if not others:
            continue
        one, names = tasks[first], [str(tasks[index].files["train"]) for index in others]
        have, it = ("has", "it is another split") if len(names) == 1 else ("have", "they are other splits")
        end = one.files["train"].name.removeprefix(stem(one.files["train"]))
        note = (
            f"{first_of(names)} {have} the columns of {one.files['train']}: if {it} of the same task, rename: "
            f"{one.name}-dev{end}, {one.name}-test{end}"
        )
        tasks[others[0]] = replace(tasks[others[0]], notes=(*tasks[others[0]].notes, note))
