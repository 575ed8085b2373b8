"""Data frames in place of the files of a recipe.

They are saved in the run folder, in `data_frames/`. So a run on data frames can be resumed, evaluated and reported like
any other. The name of a file contains the start of its SHA-256: a new run never overwrites the data of the run that it
replaces, which stays complete until the new one starts.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mbert_cli.data.label_sets import DELIMITER
from mbert_cli.errors import DataError, MbertError, UsageError
from mbert_cli.messages import nearest, shown
from mbert_cli.model.components import build_labels
from mbert_cli.prediction.inputs import Frame
from mbert_cli.recipe.document import Document
from mbert_cli.recipe.sections import Recipe, TaskSection
from mbert_cli.storage.atomic import replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.run_folder import RunFolder

SPLITS = ("train", "dev", "test")
_FILE = re.compile(r"[A-Za-z0-9_-]+-(?:train|dev|test)-[0-9a-f]{8}\.jsonl")
_MISSING = ("NAType", "NaTType")  # classes of pandas

Data = Mapping[str, Any]
"""For each task, a mapping of `train`, `dev` or `test` to data frames; see `prediction.inputs.Inputs`."""


def name_files(document: Document, data: Data, folder: RunFolder) -> None:
    """Let a recipe name files for the data frames, in place of its own files. `saved` writes the files.

    Args:
        document: the recipe, which is changed.
        data: the data frames.
        folder: the run folder.

    Raises:
        UsageError: the recipe has no such task, or a split has another name.
    """
    tasks = document.values.get("tasks")
    known = list(tasks) if isinstance(tasks, dict) else []
    for name, splits in data.items():
        if name not in known:
            raise UsageError(f"data: '{name}' is not a task of the recipe{nearest(str(name), known)}")
        if not isinstance(splits, Mapping):
            raise UsageError(f"data['{name}'] must map train and dev to data frames, but is {shown(splits)}.")
        for split in splits:
            if split not in SPLITS:
                raise UsageError(f"data['{name}']: '{split}' is not a split{nearest(str(split), SPLITS)}")
            if isinstance(tasks, dict) and isinstance(tasks[name], dict):
                tasks[name][split] = str(folder.data_frames.absolute() / f"{name}-{split}.jsonl")


@contextmanager
def saved(recipe: Recipe, data: Data, folder: RunFolder) -> Iterator[Recipe]:
    """Save data frames in a run folder while a block trains on them.

    At the end, files that the run does not use are removed: those of the run that it replaces, or, if the run was
    refused, the new ones.

    Args:
        recipe: a recipe that `name_files` has changed.
        data: the data frames.
        folder: the run folder; the caller holds its lock.

    Yields:
        The recipe with the names of the saved files.

    Raises:
        DataError: a column is missing, columns differ in length, or a value is neither a text nor a number. Messages
            of the block about the files are changed to be about the data frames.
    """
    tasks, frames = dict(recipe.tasks), {}
    try:
        for name, splits in data.items():
            for split, frame in splits.items():
                frames[path := _save(frame, tasks[name], name, split, folder)] = f"data['{name}']['{split}']"
                tasks[name] = tasks[name].model_copy(update={split: path})
        yield recipe.model_copy(update={"tasks": tasks})
    except MbertError as error:
        error.problems = tuple(_about_frames(problem, frames) for problem in error.problems)
        error.args = ("\n".join(error.problems),)
        raise
    finally:
        _remove_unused(folder)


def _save(frame: Any, task: TaskSection, name: str, split: str, folder: RunFolder) -> str:
    """Write a data frame as JSON Lines; return the file."""
    text = "".join(_lines(frame, task, name, split))
    path = folder.data_frames.absolute() / f"{name}-{split}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.jsonl"
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
    replace_file(path, text)
    return str(path)


def _lines(frame: Any, task: TaskSection, name: str, split: str) -> Iterator[str]:
    place = f"data['{name}']['{split}']"
    columns = _columns(frame, place)
    soft = build_labels(task.head).soft_columns if split == "train" and task.soft_labels is not None else ()
    chosen = {}
    for column in (*task.column_names, *soft):
        own_name = column if column in columns else task.columns.get(column, column)
        if own_name in columns:
            chosen[own_name] = columns[own_name]
        elif column != task.id:
            raise DataError(f"{place}: has no column '{column}' of task {name}{nearest(column, list(columns))}")
    delimiter = task.head.options.get("delimiter", DELIMITER)
    for row, values in enumerate(zip(*chosen.values(), strict=True)):
        record = {
            column: _value(value, f"{place}: row {row}: {column}", delimiter)
            for column, value in zip(chosen, values, strict=True)
        }
        yield json.dumps(record) + "\n"


def _columns(frame: Any, place: str) -> dict[str, list[Any]]:
    """Return the columns of a data frame, of a mapping of columns, or of a list of rows."""
    if isinstance(frame, Mapping | Frame):
        names = list(frame) if isinstance(frame, Mapping) else list(frame.columns)
        columns = {str(name): list(frame[name]) for name in names}
    else:
        try:
            rows = [dict(row) for row in frame]
        except (TypeError, ValueError):
            raise DataError(
                f"{place}: must be a data frame, columns by name, or a list of rows that are dicts, but is "
                f"{shown(frame)}."
            ) from None
        columns = {
            str(name): [row.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row)
        }
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise DataError(f"{place}: the columns have different lengths: {listed}.")
    if not any(lengths.values()):
        raise DataError(f"{place}: has no rows.")
    return columns


def _value(value: Any, place: str, delimiter: str) -> Any:
    """Return a cell as a value of JSON.

    Args:
        value: the cell.
        place: its place, for messages.
        delimiter: joins the labels of a row that are given as a list.
    """
    if hasattr(value, "tolist"):  # a number or an array of NumPy
        value = value.tolist()
    if value is None or type(value).__name__ in _MISSING or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, list | tuple | set) and all(isinstance(each, str) for each in value):
        return delimiter.join(sorted(value) if isinstance(value, set) else value)
    if isinstance(value, str | int | float):
        return value
    raise DataError(f"{place} must be a text or a number, but is {shown(value)}.")


def _about_frames(problem: str, frames: Mapping[str, str]) -> str:
    """Return a message about a saved file as one about its data frame. Rows are counted from 0."""
    for path, name in frames.items():
        if path in problem:
            problem = re.sub(rf"{re.escape(path)}:(?=\d)", f"{name}: line ", problem).replace(path, name)
            problem = re.sub(r"\bline(s?) (\d+(?:, \d+)*)", _rows, problem)
    return problem


def _rows(match: re.Match[str]) -> str:
    return f"row{match[1]} {', '.join(str(int(number) - 1) for number in match[2].split(', '))}"


def _remove_unused(folder: RunFolder) -> None:
    """Remove the saved files that the run in a folder does not use."""
    with disk_errors(folder.path):
        if not folder.data_frames.is_dir():
            return
        recipe = folder.recipe_file.read_text(encoding="utf-8") if folder.recipe_file.is_file() else ""
        for file in folder.data_frames.iterdir():
            if _FILE.fullmatch(file.name) and file.name not in recipe:
                file.unlink()
        if not any(folder.data_frames.iterdir()):
            folder.data_frames.rmdir()
