"""The demo's data in recipes/demo: written for this project by a seeded generator, so that it can be rebuilt."""

import csv
import io
from collections.abc import Callable, Sequence
from random import Random

from . import paraphrase, sentiment, similarity

Rows = Sequence[Sequence[str]]

SIZES = {"train": 1200, "dev": 240}
TASKS: dict[str, tuple[tuple[str, ...], Callable[[Random, str, int], Rows]]] = {
    "sentiment": (("text", "sentiment"), sentiment.rows),
    "paraphrase": (("question1", "question2", "same"), paraphrase.rows),
    "similarity": (("sentence1", "sentence2", "similarity"), similarity.rows),
}


def make(seed: int = 11711) -> dict[str, str]:
    """Return the text of every file by its name; the same seed gives the same bytes on every machine."""
    files = {}
    for task, (columns, rows) in TASKS.items():
        for split, size in SIZES.items():
            rng = Random(f"{seed}/{task}/{split}")
            files[f"{task}-{split}.tsv"] = as_tsv(split, columns, rows(rng, split, size))
    return files


def as_tsv(split: str, columns: Sequence[str], rows: Rows) -> str:
    """Write rows under a header, each with an id that is unique in its task."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["id", *columns])
    writer.writerows([f"{split}-{number:04}", *row] for number, row in enumerate(rows, start=1))
    return text.getvalue()
