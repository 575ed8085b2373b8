"""Folds of a cross-validation: which rows of a training file are in which fold.

The identity of a row is the value of its group column, if there is one; otherwise its id, if the file has ids;
otherwise its texts. Rows with the same identity are in the same fold.

Without `stratify`, the fold of a row is a hash of the seed and the identity. It depends neither on the order of the
rows nor on other rows, so rows can be added later. With `stratify`, it depends on all identities and classes, but not
on their order.

Must not import torch: fast start-up.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.labels import Label, Labels
from mbert_cli.errors import DataError, counted
from mbert_cli.randomness import derive
from mbert_cli.recipe.folds import FoldSection
from mbert_cli.recipe.sections import TaskSection

_PARTS = 10  # of equal size, in which numbers are divided

Classes = Sequence[Sequence[Hashable]]
"""For each row its class, or the labels of its set."""


def hashed_folds(keys: Sequence[str], folds: int, seed: int) -> list[int]:
    """Return the number of the fold of each row, from 1.

    Args:
        keys: identity of each row.
        folds: number of folds.
        seed: the same seed gives the same folds.
    """
    return [1 + derive(seed, "fold", key) % folds for key in keys]


def stratified_folds(keys: Sequence[str], classes: Classes, folds: int, seed: int) -> list[int]:
    """Return the number of the fold of each row, from 1. Each fold has the same share of each class, if possible.

    The identities are put into folds one after another: those with most rows first, then class by class, in the order
    of a hash. Each goes to the fold that minimises the sum of squares over folds and classes of (rows in the fold /
    rows of the class). The total number of rows decides between equal folds. So if each identity has one row and each
    row one class, the rows of a class, and all rows, differ by at most one between folds.

    Args:
        keys: identity of each row.
        classes: the classes of each row.
        folds: number of folds.
        seed: the same seed gives the same folds.
    """
    # Sorted, here and below: the result must not depend on the order of rows.
    names = {name: column for column, name in enumerate(sorted({each for own in classes for each in own}, key=str))}
    totals = np.bincount([names[each] for own in classes for each in own], minlength=len(names)).astype(float)
    units: dict[str, Counter[int]] = {}
    for key, own in zip(keys, classes, strict=True):
        units.setdefault(key, Counter()).update(names[each] for each in own)
    sizes, counts, rows = Counter(keys), np.zeros((folds, len(names))), np.zeros(folds)
    fold_of: dict[str, int] = {}
    for key in sorted(units, key=lambda key: (-sizes[key], sorted(units[key]), derive(seed, "fold", key), key)):
        columns = sorted(units[key])
        numbers = np.array([units[key][column] for column in columns], dtype=float)
        # The increase of the sum; the part that is the same for all folds is left out.
        increase = counts[:, columns] @ (numbers / totals[columns] ** 2)
        chosen = min(range(folds), key=lambda fold: (round(increase[fold], 12), rows[fold], fold))
        counts[chosen, columns] += numbers
        rows[chosen] += sizes[key]
        fold_of[key] = 1 + chosen
    return [fold_of[key] for key in keys]


def classes_of(labels: Sequence[Label]) -> Classes:
    """Return the classes by which rows are stratified: the class of a row, or the labels of its set."""
    return [
        [*(index for index, flag in enumerate(label) if flag), "all"] if isinstance(label, tuple) else [label]
        for label in labels
    ]


def parts_of_numbers(labels: Sequence[float]) -> Classes:
    """Return the classes by which rows are stratified if labels are numbers: ten parts of equal size, from low to high.

    Equal numbers are in the same part.
    """
    first = np.searchsorted(np.sort(labels), labels)
    return [[int(place)] for place in first * _PARTS // len(labels)]


def fold_numbers(examples: Examples, fold: FoldSection, has_classes: bool) -> list[int]:
    """Return the number of the fold of each example, from 1.

    Args:
        examples: examples with identities.
        fold: how they are divided; its number is not used.
        has_classes: whether labels are classes or sets of labels, not numbers.
    """
    if not fold.stratify:
        return hashed_folds(examples.keys, fold.of, fold.seed)
    if has_classes:
        classes = classes_of(examples.labels)
    else:
        classes = parts_of_numbers([each for each in examples.labels if isinstance(each, float)])
    return stratified_folds(examples.keys, classes, fold.of, fold.seed)


def read_rows_of_folds(
    name: str, task: TaskSection, labels: Labels, soft: bool = False, skip_remedy: str | None = None
) -> tuple[Examples, list[int]]:
    """Read the training file of a task whose `fold` is set.

    Args:
        name: the task's name.
        task: the task.
        labels: the task's labels.
        soft: read the columns of soft labels too.
        skip_remedy: see `example_windows`.

    Returns:
        The examples, and the number of the fold of each.

    Raises:
        DataError: see `read_examples`; or a fold has no rows.
    """
    fold = task.fold
    assert fold is not None
    examples = read_examples(task.train, name, task, labels, fold.limit, soft, skip_remedy)
    numbers = fold_numbers(examples, fold, not labels.are_numbers)
    rows = Counter(numbers)
    units = len({*examples.keys})
    if len(rows) < fold.of:
        empty = next(number for number in range(1, fold.of + 1) if not rows[number])
        what = f"{counted(units, 'group')} of {fold.group}" if fold.group else counted(units, "distinct row")
        remedy = "choose fewer --folds"
        if units >= fold.of:  # stratified folds then all have rows
            remedy = f"add --stratify, which fills all folds, or {remedy}"
        elif fold.limit is not None:
            remedy = f"raise --limit, which is {fold.limit}, or {remedy}"
        has = "the file has" if fold.limit is None else f"the {counted(fold.limit, 'row')} of --limit have"
        raise DataError(f"{task.train}: fold {empty} of {fold.of} of task {name} has no rows; {has} {what}; {remedy}.")
    return examples, numbers


def read_fold(
    name: str, task: TaskSection, labels: Labels, soft: bool = False, skip_remedy: str | None = None
) -> Mapping[str, Examples]:
    """Return the `train` and the `dev` rows of a task whose `fold` is set; for arguments and errors see above.

    Notes about the file belong to the training rows; the dev rows have no soft labels.
    """
    examples, numbers = read_rows_of_folds(name, task, labels, soft, skip_remedy)
    assert task.fold is not None
    is_dev = [number == task.fold.number for number in numbers]
    train, dev = (examples.take([row for row, each in enumerate(is_dev) if each is wanted]) for wanted in (False, True))
    dev.skipped, dev.warnings, dev.soft = [], [], []
    return {"train": train, "dev": dev}
