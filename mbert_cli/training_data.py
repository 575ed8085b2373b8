"""What a run trains on: all tasks' files, read, checked and tokenised before a weight is loaded."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from mbert_cli.compose import build, build_heads, component_class
from mbert_cli.curricula import Curriculum
from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, SoftColumns, read_examples
from mbert_cli.data.hub import FORM, PREFIX, is_well_formed
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.data.truncation import length_remedy
from mbert_cli.encoder.location import locate
from mbert_cli.encoder.segment_adapters import INNER_SITES, acts_at
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, DataError, RecipeError
from mbert_cli.heads import Head
from mbert_cli.progress import Talk
from mbert_cli.recipe import Recipe, TaskSection
from mbert_cli.recipe_file import nearest

TrainingExamples = dict[tuple[str, str], Examples]
"""(task, `train` or `dev`) to examples."""


@dataclass
class TrainingData:
    """All tasks' examples, read, checked and tokenised.

    Args:
        train: for each task its training set.
        dev: for each task its dev set.
    """

    train: dict[str, TaskData]
    dev: dict[str, TaskData]

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each training set."""
        return {task: len(data) for task, data in self.train.items()}


def read_training_examples(recipe: Recipe, limit: int | None, talk: Talk) -> TrainingExamples:
    """Read and check all tasks' train and dev files; nothing of the encoder is needed for it.

    Args:
        recipe: what is trained.
        limit: how many examples to take of each file at most, spread evenly over it.
        talk: where skipped rows and doubts are printed.

    Raises:
        RecipeError: a path, a number of columns or a metric does not fit.
        DataError: a file or a row of it cannot be used.
    """
    heads = check_recipe(recipe)
    found: TrainingExamples = {}
    for name, task in recipe.tasks.items():
        for split, path in (("train", task.train), ("dev", task.dev)):
            soft = soft_columns(heads[name], task) if split == "train" else None
            found[name, split] = read_examples(path, name, task, heads[name].parse_label, limit, soft)
            talk.detail(found[name, split].source)
            for note in found[name, split].notes(path):
                talk.say(note)
    return found


def tokenise_examples(
    recipe: Recipe, examples: TrainingExamples, shape: EncoderShape, talk: Talk
) -> tuple[TrainingData, Tokenizer]:
    """Turn all tasks' examples into tokens of the recipe's encoder.

    Args:
        recipe: what is trained.
        examples: what `read_training_examples` returned.
        shape: the encoder's sizes.
        talk: where cut sentences are told.

    Raises:
        RecipeError: training.max_length is more than the encoder reads.
        CheckpointError: the tokenizer cannot be used with the encoder.
        DataError: training.strict_length, and a sentence is longer than that.
    """
    max_length = recipe.training.max_length
    if max_length > shape.max_positions:
        raise RecipeError(
            f"{recipe.place('training', 'max_length')} must be at most {shape.max_positions}, the encoder's positions, "
            f"but is {max_length}."
        )
    tokenizer = Tokenizer(locate(recipe.encoder.checkpoint, recipe.encoder.revision), max_length)
    if tokenizer.vocab_size > shape.vocab_size:
        raise CheckpointError(
            f"encoder.checkpoint: the tokenizer has {tokenizer.vocab_size} ids, but the encoder embeds "
            f"{shape.vocab_size}; the checkpoint's files do not belong together."
        )
    heads = build_heads(recipe.tasks, hidden_size=1)
    tokenised = {
        (name, split): tokenise(tokenizer, found, heads[name].sides, recipe.tasks[name].symmetric)
        for (name, split), found in examples.items()
    }
    for (name, split), data in tokenised.items():
        cut = sorted(row for side in data.sides for row in side.cut)
        if cut and recipe.training.strict_length:
            remedy = length_remedy(max_length, shape.max_positions)
            raise DataError(
                f"{getattr(recipe.tasks[name], split)}:{data.lines[cut[0]]}: is longer than {max_length} tokens "
                f"(of the file, {len(cut)} sentences are); {remedy}, or set training.strict_length=false."
            )
        if cut:
            talk.say(f"task {name}, {split}: {len(cut)} sentences are longer than {max_length} tokens and were cut.")
    return (
        TrainingData(
            train={name: tokenised[name, "train"] for name in recipe.tasks},
            dev={name: tokenised[name, "dev"] for name in recipe.tasks},
        ),
        tokenizer,
    )


def soft_columns(head: Head, task: TaskSection) -> SoftColumns | None:
    """Return the columns of a task's training file that hold soft labels, if it has such."""
    return None if task.soft_labels is None else SoftColumns(head.soft_columns, head.parse_soft)


def is_there(path: str) -> bool:
    """Whether a data file exists; of the Hub's, whether the name reads as one."""
    return is_well_formed(path) if path.startswith(PREFIX) else os.path.exists(path)


def check_recipe(recipe: Recipe) -> dict[str, Head]:
    """Check what only the heads and the disk can tell.

    Returns:
        The heads of all tasks, as if the encoder had one feature.

    Raises:
        RecipeError: a path, a number of columns or a metric does not fit.
    """
    heads = build_heads(recipe.tasks, hidden_size=1)
    problems = []
    for name, task in recipe.tasks.items():
        if "second" in heads[name].sides and len(task.text) < 2:
            place = recipe.place("tasks", name, "text")
            problems.append(f"{place} must name 2 columns for the head '{task.head.kind}', but names 1.")
        if task.symmetric and len(task.text) < 2:
            place = recipe.place("tasks", name, "symmetric")
            problems.append(f"{place} is true, but the task reads one text; name two in text, or set it to false.")
        soft = soft_columns(heads[name], task)
        columns = [*task.column_names, *(soft.names if soft else ())]
        for column in task.columns:
            if column not in columns:
                place = recipe.place("tasks", name, "columns", column)
                problems.append(f"{place} is no column of the task{nearest(column, columns)}")
        for split in ("train", "dev"):
            path = Path(getattr(task, split))
            if getattr(task, split).startswith(PREFIX):
                if not is_well_formed(getattr(task, split)):
                    problems.append(f"{recipe.place('tasks', name, split)} must read {FORM}.")
            elif not os.path.exists(path):
                siblings = [each.name for each in path.parent.iterdir()] if os.path.isdir(path.parent) else []
                close = difflib.get_close_matches(path.name, siblings, n=1)
                hint = f"did you mean '{close[0]}'?" if close else "correct the path, or put the file there."
                problems.append(f"{recipe.place('tasks', name, split)}: there is no file {path}; {hint}")
    select = recipe.training.select
    known = ["overall", *(f"{name}.{metric}" for name, head in heads.items() for metric in head.metric_names)]
    if select not in known:
        problems.append(f"{recipe.place('training', 'select')} is '{select}'{nearest(select, known)}")
    if recipe.training.cache_features:
        problems += _reasons_not_to_cache(recipe)
    problems += _dropouts_that_meet(recipe)
    if problems:
        raise RecipeError(*problems)
    return heads


def _dropouts_that_meet(recipe: Recipe) -> list[str]:
    """Return why tasks cannot have dropouts of their own within the encoder."""
    shares = {
        name: recipe.encoder.dropout if task.encoder_dropout is None else task.encoder_dropout
        for name, task in recipe.tasks.items()
    }
    if len(set(shares.values())) == 1:
        return []
    curriculum: Curriculum = build("curricula", recipe.curriculum, recipe.training.epochs)
    # Which tasks step together does not depend on how many rows they have.
    sizes = dict.fromkeys(recipe.tasks, 1)
    for epoch in range(1, recipe.training.epochs + 1):
        for phase in curriculum.phases(epoch, sizes, recipe.training.batch_size):
            for step in phase.steps:
                if len({shares[task] for task in step}) > 1:
                    name = next(task for task in step if recipe.tasks[task].encoder_dropout is not None)
                    return [
                        f"{recipe.place('tasks', name, 'encoder_dropout')} differs from that of other tasks, but the "
                        f"curriculum {recipe.curriculum.kind} puts them into one step; give all tasks the same, or "
                        "choose a curriculum of one task a step, such as square_root."
                    ]
    return []


def _reasons_not_to_cache(recipe: Recipe) -> list[str]:
    place = recipe.place("training", "cache_features")
    found = []
    if not recipe.training.freeze_encoder:
        found.append(f"{place} is true, but the encoder trains; set training.freeze_encoder to true as well.")
    for name, task in recipe.tasks.items():
        if task.token_dropout:
            place_of_it = recipe.place("tasks", name, "token_dropout")
            found.append(
                f"{place_of_it} changes sentences at every step, so that nothing of them can be kept; set it to 0."
            )
        if task.symmetric:
            place_of_it = recipe.place("tasks", name, "symmetric")
            found.append(f"{place_of_it} is true, but hidden states are kept of one order only; set it to false.")
    for index, adapter in enumerate(recipe.adapters):
        if any(acts_at(component_class("adapters", adapter.kind), site) for site in INNER_SITES):
            found.append(
                f"{recipe.place('adapters', index)} acts inside the encoder, whose hidden states cannot be kept then; "
                "remove it, or set training.cache_features to false."
            )
    return found
