"""Facts about the folds of a cross-validation, with warnings, before anything is trained."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mbert_cli.data.examples import Examples
from mbert_cli.data.folds import read_rows_of_folds
from mbert_cli.data.label_remarks import first_of
from mbert_cli.data.labels import Labels, NamedLabels
from mbert_cli.errors import DataError, MbertError, counted
from mbert_cli.messages import shown
from mbert_cli.model.compose import task_labels
from mbert_cli.recipe.sections import Recipe, TaskSection
from mbert_cli.terminal.console import Console

_LONGEST = 60  # characters of a text in a message


def fold_facts(recipe: Recipe, console: Console) -> dict[str, dict[str, Any]]:
    """Divide the rows of all tasks into folds; return what is known about the folds.

    Args:
        recipe: the recipe of any fold.
        console: prints notes about the files.

    Returns:
        For each task `rows`, the number of rows of each fold; `leaked`, the number of rows whose texts also occur in
        another fold; and `warnings`, each a sentence without a full stop.

    Raises:
        DataError: a file cannot be used, or a fold has no rows; with the problems of all tasks.
    """
    labels = task_labels(recipe.tasks)
    facts: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, task in recipe.tasks.items():
        try:
            examples, numbers = read_rows_of_folds(name, task, labels[name], task.soft_labels is not None)
        except MbertError as error:
            problems += error.problems
            continue
        for note in examples.notes(task.train):
            console.note(note)
        facts[name] = _facts_of(name, task, labels[name], examples, numbers)
    if problems:
        raise DataError(*problems)
    return facts


def _facts_of(
    name: str, task: TaskSection, labels: Labels, examples: Examples, numbers: Sequence[int]
) -> dict[str, Any]:
    assert task.fold is not None
    rows = Counter(numbers)
    leaked, leak = _leak(task, examples, numbers)
    warnings = [leak] * bool(leak)
    if isinstance(labels, NamedLabels):
        warnings += _rare_classes(labels, task, examples, numbers)
    if task.soft_labels is not None:
        warnings.append(
            "soft labels may come from a model that was trained on the rows of all folds: scores may be optimistic"
        )
    return {
        "rows": [rows[number] for number in range(1, task.fold.of + 1)],
        "leaked": leaked,
        "warnings": [f"task {name}: {warning}" for warning in warnings],
    }


def _leak(task: TaskSection, examples: Examples, numbers: Sequence[int]) -> tuple[int, str]:
    """Return the number of rows whose texts also occur in another fold, and a warning; empty if there are none."""
    folds_of: dict[tuple[str, ...], set[int]] = {}
    texts = [tuple(sorted(own) if task.symmetric else own) for own in zip(*examples.texts, strict=True)]
    for own, number in zip(texts, numbers, strict=True):
        folds_of.setdefault(own, set()).add(number)
    leaked = [row for row, own in enumerate(texts) if len(folds_of[own]) > 1]
    if not leaked:
        return 0, ""
    first = leaked[0]
    folds = " and ".join(map(str, sorted(folds_of[texts[first]])[:2]))
    example = " / ".join(text[:_LONGEST] for text in (side[first] for side in examples.texts))
    what = "a text" if len(examples.texts) == 1 else "a pair of texts"
    remedy = f"{shlex.join(['--group', task.text[0]])} keeps equal texts in one fold"
    if task.symmetric:  # a pair and the swapped pair have different first texts
        remedy = "to keep them in one fold, give them the same value in a column, and add --group COLUMN"
    return len(leaked), (
        f"{len(leaked):,} of {counted(len(examples), 'row')} have {what} that also occurs in another fold, such as "
        f"{shown(example)} (line {examples.lines[first]}, folds {folds}): scores may be optimistic; {remedy}"
    )


def _rare_classes(labels: NamedLabels, task: TaskSection, examples: Examples, numbers: Sequence[int]) -> Iterator[str]:
    """Yield a warning about classes with fewer rows than folds, and one about folds without a class."""
    assert task.fold is not None
    folds_of: dict[int, Counter[int]] = {index: Counter() for index in range(len(labels))}
    for label, number in zip(examples.labels, numbers, strict=True):
        own = [index for index, flag in enumerate(label) if flag] if isinstance(label, tuple) else [int(label)]
        for index in own:
            folds_of[index][number] += 1
    counts = {index: sum(own.values()) for index, own in folds_of.items()}
    rare = [labels.texts[index] for index, count in counts.items() if 0 < count < task.fold.of]
    missing = [
        labels.texts[index]
        for index, own in folds_of.items()
        if counts[index] >= task.fold.of and len(own) < task.fold.of
    ]
    if rare:
        yield f"some folds have no row with {first_of(rare)}, because the file has fewer such rows than folds"
    if missing:
        remedy = "" if task.fold.stratify else "; --stratify spreads them evenly"
        yield f"some folds have no row with {first_of(missing)}{remedy}"


def selection_note(recipe: Recipe) -> str | None:
    """Return a note if the kept epoch is chosen by the scores of the fold itself; None if only the last can be kept."""
    training = recipe.training
    if training.epochs - training.early_epochs <= 1 and training.evaluate_every is None:
        return None
    return (
        "each fold keeps the epoch with the best score on its own rows, so scores may be optimistic; "
        "training.select_after=0.99 keeps the last epoch"
    )
