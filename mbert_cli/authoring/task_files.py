"""Files of the user with the tasks that can be trained on them, as sections of a recipe and as lines for people."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mbert_cli.authoring.column import CountedFile, FileReading
from mbert_cli.authoring.dev_split import DevSplit, Strata, split_off_dev
from mbert_cli.authoring.guess_columns import Guess
from mbert_cli.authoring.guess_labels import GuessedLabels
from mbert_cli.authoring.splits import slug, stem, text_ending
from mbert_cli.data.label_remarks import first_of, without_dev_rows
from mbert_cli.data.label_sets import DELIMITER, FLAGS
from mbert_cli.data.label_text import folded
from mbert_cli.data.list_cells import parts_of
from mbert_cli.recipe.paths import relative_path

_MOST_LISTED = 8


@dataclass(frozen=True)
class TaskFiles:
    """The splits of one data set, and the tasks that are trained on it. All tasks read the same columns of texts.

    Args:
        name: name of the data set.
        files: the file of each split: `train`, and if they exist `dev` and `test`.
        reading: how the files are read.
        guess: what the columns of the training file contain.
        tasks: the labels of each task.
        settings: recipe keys of all tasks about their rows: `id`, `on_bad_row`.
        notes: remarks for the user besides the guess.
    """

    name: str
    files: dict[str, Path]
    reading: FileReading
    guess: Guess
    tasks: dict[str, GuessedLabels]
    settings: dict[str, Any]
    notes: tuple[str, ...]

    def sections(self, folder: Path) -> dict[str, dict[str, Any]]:
        """Return the section of each task for a recipe in a folder."""
        guess = self.guess
        files = {split: relative_path(path, folder) for split, path in self.files.items()}
        sections = {}
        for name, labels in self.tasks.items():
            # A list of its own for each task: YAML would write a shared list as an anchor and an alias.
            text = list(guess.text) if len(guess.text) > 1 else guess.text[0]
            reading = self.reading.section([*guess.text, *labels.columns, self.settings.get("id") or "id"])
            head = head_for(labels, guess.is_pair)
            label = list(labels.flags) or labels.column
            sections[name] = {**files, "text": text, "label": label, **self.settings, **reading, "head": head}
        return sections

    def dev_paths(self, folder: Path) -> dict[str, Path]:
        """Return the two files in a folder into which `with_dev` splits the training file."""
        ending = text_ending(self.files["train"])
        # Do not overwrite x-train.tsv, and avoid similar names such as x_train.tsv (input) and x-train.tsv (output).
        taken = {slug(stem(path)) for path in self.files.values()}
        for name in (self.name, f"{self.name}_split"):
            paths = {split: folder / f"{name}-{split}{ending}" for split in ("train", "dev")}
            if taken.isdisjoint(slug(stem(path)) for path in paths.values()):
                break
        return paths

    def with_dev(self, folder: Path) -> tuple["TaskFiles", DevSplit]:
        """Split the training file into a training file and a dev file; see `split_off_dev`.

        Args:
            folder: folder of the two files; see `dev_paths`.

        Returns:
            The data set with the two files, whose notes are only about the split; and the content of the two files.
        """
        paths = self.dev_paths(folder)
        kinds = {labels.kind: labels for labels in reversed(self.tasks.values())}
        classes = kinds.get("classes") or kinds.get("sets")
        strata = None if classes is None else strata_of(classes)
        usable = {column: labels.is_usable for labels in self.tasks.values() for column in labels.columns}
        split = split_off_dev(self.files["train"], self.reading, self.guess.text, strata, usable)
        of_class = "" if classes is None else " of each class" if classes.kind == "classes" else " of each label"
        files = f"{paths['train']} and {paths['dev']}"
        notes = [f"no dev file: a tenth of the texts{of_class}, chosen by their hash, becomes dev: {files}"]
        dev = CountedFile(str(paths["dev"]), split.dev, [])
        for labels in self.tasks.values():
            notes += notes_on_dev(labels, dev)
        whole = replace(self, files={**self.files, **paths})
        return replace(whole, notes=(*notes, whole._files_line().strip())), split

    def lines(self) -> list[str]:
        """Return lines that describe the guess and list the notes."""
        guess, lines = self.guess, []
        texts = " and ".join(f"'{name}'" for name in guess.text)
        for name, labels in self.tasks.items():
            lines.append(
                f"{name}: {self.files['train']}: {'pairs' if guess.is_pair else 'text'} {texts}, "
                f"label{'s' if labels.flags else ''} {_names(labels.columns)} "
                f"({labels.line()}; {guess.labels[labels.column]}), "
                f"head {head_for(labels, guess.is_pair)['kind']}"
            )
            lines += [f"  label '{labels.column}': {note}" for note in labels.notes]
        if "dev" in self.files:  # otherwise a note of `with_dev` lists the files
            lines.append(self._files_line())
        if guess.are_flags:
            words = " ".join(f"--label {shlex.quote(each)}" for each in [*guess.labels][:_MOST_LISTED])
            lines.append(f"  for one task for each of these columns, add {words}")
        if guess.others:
            chosen = [] if guess.are_flags else [*guess.labels]
            words = " ".join(f"--label {shlex.quote(each)}" for each in (*chosen, *guess.others[:_MOST_LISTED]))
            remedy = f"to choose them instead, add {words}" if guess.are_flags else f"for one task each, add {words}"
            lines.append(f"  could also be labels: {first_of(guess.others)}; {remedy}")
        if guess.spare:
            lines.append(f"  texts that are not used: {_names(guess.spare)}; to choose other texts, add --text")
        refused = [f"'{column}' ({why})" for column, why in guess.refused.items()]
        if refused:
            more = f" and {len(refused) - _MOST_LISTED} more" if len(refused) > _MOST_LISTED else ""
            lines.append(f"  not labels: {', '.join(refused[:_MOST_LISTED])}{more}")
        return lines + self.noted()

    def _files_line(self) -> str:
        """Return a line with the file of each split and the column of ids."""
        files = [f"{split} {self.files[split]}" for split in ("train", "dev") if split in self.files]
        files.append(f"test {self.files['test']}" if "test" in self.files else "no test file")
        name = self.settings.get("id", "id" if "id" in self.guess.ids else None)
        files.append("no id" if name is None else f"id '{name}'")
        return f"  {', '.join(files)}"

    def noted(self) -> list[str]:
        """Return the notes as indented lines."""
        return [f"  {note}" for note in self.notes]


def head_for(labels: GuessedLabels, is_pair: bool) -> dict[str, Any]:
    """Return the head section that fits labels, for single texts or for pairs."""
    if labels.kind == "numbers":
        if not labels.bounded:
            return {"kind": "unbounded_regression"}
        scale = {"min": labels.min, "max": labels.max}
        if is_pair:
            return {"kind": "cosine_similarity", **scale, "hidden_activation": "none", "init": "identity"}
        return {"kind": "regression", **scale}
    if labels.flags:
        return {"kind": "multi_label"}
    if labels.kind == "sets":
        delimiter = {} if labels.delimiter == DELIMITER else {"delimiter": labels.delimiter}
        return {"kind": "multi_label", "labels": labels.classes, **delimiter}
    if labels.ordered:
        return {"kind": "ordinal", "labels": labels.classes}
    if is_pair and len(labels.classes) == 2:
        named = {} if labels.classes == ["0", "1"] else {"labels": labels.classes}
        return {"kind": "pair_classification", **named}
    return {"kind": "classification", "labels": labels.classes}


def notes_on_dev(labels: GuessedLabels, dev: CountedFile) -> list[str]:
    """Return a note if classes or labels have no rows in a dev file."""
    columns = {name: column.values for name in labels.columns if (column := dev.column(name)) is not None}
    if not columns:
        return []
    if labels.flags:
        occur = {name for name, values in columns.items() if any(FLAGS.get(value.casefold()) for value in values)}
    elif labels.kind == "sets":
        occur = {part for value in columns[labels.column] for part in parts_of(value, labels.delimiter)}
    else:
        occur = {*columns[labels.column]}
    absent = [name for name in labels.classes if name not in occur]
    return [without_dev_rows(absent, labels.kind == "sets")] if absent else []


def strata_of(labels: GuessedLabels) -> Strata:
    """Return how the classes, or the labels, of a row are read from its cells."""

    def read(cells: Sequence[str]) -> set[str]:
        if labels.flags:
            return {name for name, cell in zip(labels.flags, cells, strict=True) if FLAGS.get(folded(cell).casefold())}
        return {*parts_of(cells[0], labels.delimiter)} if labels.kind == "sets" else {folded(cells[0])}

    return Strata(labels.columns, read)


def _names(columns: Sequence[str]) -> str:
    """Return the names of some columns, each in quotes; with many columns, the first ones."""
    more = f" and {len(columns) - _MOST_LISTED} more" if len(columns) > _MOST_LISTED else ""
    return ", ".join(f"'{name}'" for name in columns[:_MOST_LISTED]) + more
