"""What a run trains on: all tasks' files, read, checked and tokenised before a weight is loaded."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.compose import build_heads
from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.checkpoint import locate
from mbert_cli.errors import CheckpointError, RecipeError
from mbert_cli.progress import Talk
from mbert_cli.recipe import Recipe
from mbert_cli.recipe_file import nearest


@dataclass
class TrainingData:
    """All tasks' examples, read, checked and tokenised.

    Args:
        train: for each task its training set.
        dev: for each task its dev set.
        lines: for each task the lines of its training file where the examples begin.
    """

    train: dict[str, TaskData]
    dev: dict[str, TaskData]
    lines: dict[str, list[int]]

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each training set."""
        return {task: len(data) for task, data in self.train.items()}


def read_training_data(
    recipe: Recipe, vocab_size: int, max_positions: int, limit: int | None, talk: Talk
) -> tuple[TrainingData, Tokenizer]:
    """Read, check and tokenise all tasks' train and dev files.

    Args:
        recipe: what is trained.
        vocab_size: ids that the encoder embeds.
        max_positions: the longest sentence that it reads, in tokens.
        limit: how many examples to read of each file at most.
        talk: where skipped rows and cut sentences are told.

    Raises:
        RecipeError: a path, a number of columns, a length or a metric does not fit.
        DataError: a file or a row of it cannot be used.
        CheckpointError: the tokenizer cannot be used with the encoder.
    """
    heads = build_heads(recipe.tasks, hidden_size=1)
    _check_recipe(recipe, {name: head.num_texts for name, head in heads.items()}, max_positions)
    _check_select(recipe, {name: head.metric_names for name, head in heads.items()})
    examples: dict[tuple[str, str], Examples] = {}
    for name, task in recipe.tasks.items():
        for split, path in (("train", task.train), ("dev", task.dev)):
            found = read_examples(path, name, task, heads[name].parse_label, limit)
            examples[name, split] = found
            if found.skipped:
                talk.say(found.skipped_note(path))
    tokenizer = Tokenizer(locate(recipe.encoder.checkpoint, recipe.encoder.revision), recipe.training.max_length)
    if tokenizer.vocab_size > vocab_size:
        raise CheckpointError(
            f"encoder.checkpoint: the tokenizer has {tokenizer.vocab_size} ids, but the encoder embeds {vocab_size}."
        )
    split_data = {key: tokenise(tokenizer, found) for key, found in examples.items()}
    for (name, split), tokenised in split_data.items():
        if cut := sum(side.num_cut for side in tokenised.sides):
            talk.say(
                f"task {name}, {split}: {cut} sentences are longer than {tokenizer.max_length} tokens and were cut."
            )
    return (
        TrainingData(
            train={name: split_data[name, "train"] for name in recipe.tasks},
            dev={name: split_data[name, "dev"] for name in recipe.tasks},
            lines={name: examples[name, "train"].lines for name in recipe.tasks},
        ),
        tokenizer,
    )


def _check_recipe(recipe: Recipe, num_texts: Mapping[str, int], max_positions: int) -> None:
    """Check what only the encoder's sizes, the heads and the disk can tell."""
    problems = []
    if recipe.training.max_length > max_positions:
        problems.append(
            f"{recipe.place('training', 'max_length')} must be at most {max_positions}, the encoder's positions, "
            f"but is {recipe.training.max_length}."
        )
    for name, task in recipe.tasks.items():
        if len(task.text) != num_texts[name]:
            problems.append(
                f"{recipe.place('tasks', name, 'text')} must name {num_texts[name]} column(s) for the head "
                f"'{task.head.kind}', but names {len(task.text)}."
            )
        for split in ("train", "dev"):
            path = Path(getattr(task, split))
            if not os.path.exists(path):
                siblings = [each.name for each in path.parent.iterdir()] if os.path.isdir(path.parent) else []
                close = difflib.get_close_matches(path.name, siblings, n=1)
                hint = f"did you mean '{close[0]}'?" if close else "correct the path, or put the file there."
                problems.append(f"{recipe.place('tasks', name, split)}: there is no file {path}; {hint}")
    if problems:
        raise RecipeError(*problems)


def _check_select(recipe: Recipe, metrics: Mapping[str, tuple[str, ...]]) -> None:
    known = ["overall", *(f"{name}.{metric}" for name, names in metrics.items() for metric in names)]
    select = recipe.training.select
    if select not in known:
        raise RecipeError(f"{recipe.place('training', 'select')} is '{select}'{nearest(select, known)}")
