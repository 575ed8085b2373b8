"""What there is to know of a run's data before it is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbert_cli.compose import build_heads
from mbert_cli.data.batching import TaskData
from mbert_cli.heads import ClassHead
from mbert_cli.recipe import Recipe
from mbert_cli.training_data import TrainingData, TrainingExamples


@dataclass(frozen=True)
class TaskFacts:
    """Facts of one task's data.

    Args:
        train: rows of its training set.
        dev: rows of its dev set.
        bad: rows of both files that are left out.
        batches: of one pass over the training set.
        tokens: of a training row, on the mean.
        cut: the share of training rows with a sentence that is longer than allowed.
        shares: for each class, the share of the training rows that are of it; None where labels are numbers.
        span: the smallest label, the mean and the largest one of the training set; None where labels are classes.
    """

    train: int
    dev: int
    bad: int
    batches: int
    tokens: float
    cut: float
    shares: Mapping[str, float] | None
    span: tuple[float, float, float] | None

    def labels(self) -> str:
        """Return what the labels are, for people."""
        if self.span is not None:
            return f"{self.span[0]:g} to {self.span[2]:g}, mean {self.span[1]:.2f}"
        shares = sorted((self.shares or {}).items(), key=lambda item: -item[1])
        more = f" and {len(shares) - _MOST_CLASSES} more" if len(shares) > _MOST_CLASSES else ""
        return " ".join(f"{label} {share:.0%}" for label, share in shares[:_MOST_CLASSES]) + more


_MOST_CLASSES = 6


def data_facts(recipe: Recipe, examples: TrainingExamples, data: TrainingData) -> dict[str, TaskFacts]:
    """Return the facts of every task.

    Args:
        recipe: what is trained.
        examples: what `read_training_examples` returned.
        data: what `tokenise_examples` made of them.
    """
    heads = build_heads(recipe.tasks, hidden_size=1)
    found = {}
    for name, train in data.train.items():
        bad = sum(len(examples[name, split].skipped) for split in ("train", "dev"))
        head = heads[name]
        found[name] = TaskFacts(
            train=len(train),
            dev=len(data.dev[name]),
            bad=bad,
            batches=-(-len(train) // recipe.training.batch_size),
            tokens=float(np.mean(train.lengths)),
            cut=len({row for side in train.sides for row in side.cut}) / len(train),
            **_labels(train, head.labels if isinstance(head, ClassHead) else None),
        )
    return found


def _labels(train: TaskData, names: list[str] | None) -> dict[str, Any]:
    labels = train.labels
    assert labels is not None
    if names is None:
        return {"shares": None, "span": (float(labels.min()), float(labels.mean()), float(labels.max()))}
    counts = np.bincount(labels.astype(np.int64), minlength=len(names))
    return {
        "shares": {name: float(count / len(labels)) for name, count in zip(names, counts, strict=True)},
        "span": None,
    }
