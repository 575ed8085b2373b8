"""The columns of labels whose classes the user calls ordered."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mbert_cli.authoring.guess_labels import GuessedLabels
from mbert_cli.authoring.task_files import TaskFiles
from mbert_cli.data.label_text import as_number
from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest

_FEWEST = 3  # as for the head `ordinal`


def with_order(data_sets: Sequence[TaskFiles], columns: Sequence[str]) -> list[TaskFiles]:
    """Return the data sets with the classes of some columns of labels marked as ordered.

    Args:
        data_sets: the data sets.
        columns: the columns, which the user named with `--ordered`.

    Raises:
        UsageError: a column is not a column of labels, or does not have at least three classes.
    """
    known = sorted({labels.column for each in data_sets for labels in each.tasks.values()})
    for column in columns:
        if column not in known:
            raise UsageError(f"--ordered {column}: no task has the label '{column}'{nearest(column, known)}")
    return [
        replace(each, tasks={name: _ordered(own) if own.column in columns else own for name, own in each.tasks.items()})
        for each in data_sets
    ]


def _ordered(labels: GuessedLabels) -> GuessedLabels:
    if labels.kind != "classes" or len(labels.classes) < _FEWEST:
        raise UsageError(
            f"--ordered {labels.column}: the column must have at least {_FEWEST} classes, but has {labels.line()}; "
            "remove the option."
        )
    if not any(math.isnan(as_number(name)) for name in labels.classes):
        return replace(labels, ordered=True)
    note = f"put the labels in order in the recipe, the lowest first; now they are {', '.join(labels.classes)}"
    return replace(labels, ordered=True, notes=(*labels.notes, note))
