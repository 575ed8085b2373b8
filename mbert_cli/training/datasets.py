"""What a run trains on: all tasks' files, read, checked and tokenised before a weight is loaded."""

from dataclasses import dataclass

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.data.truncation import length_remedy
from mbert_cli.encoder.location import locate
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, DataError, RecipeError
from mbert_cli.model.compose import head_class, task_labels
from mbert_cli.recipe.sections import Recipe
from mbert_cli.terminal.console import Console
from mbert_cli.training.checks import check_recipe

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


def read_training_examples(recipe: Recipe, limit: int | None, console: Console) -> TrainingExamples:
    """Read and check all tasks' train and dev files; nothing of the encoder is needed for it.

    Args:
        recipe: what is trained.
        limit: how many examples to take of each file at most, spread evenly over it.
        console: where skipped rows and doubts are printed.

    Raises:
        RecipeError: a path, a number of columns or a metric does not fit.
        DataError: a file or a row of it cannot be used.
    """
    check_recipe(recipe)
    labels = task_labels(recipe.tasks)
    found: TrainingExamples = {}
    for name, task in recipe.tasks.items():
        for split, path in (("train", task.train), ("dev", task.dev)):
            soft = split == "train" and task.soft_labels is not None
            found[name, split] = read_examples(path, name, task, labels[name], limit, soft)
            console.detail(found[name, split].source)
            for note in found[name, split].notes(path):
                console.info(note)
    return found


def tokenise_examples(
    recipe: Recipe, examples: TrainingExamples, shape: EncoderShape, console: Console
) -> tuple[TrainingData, Tokenizer]:
    """Turn all tasks' examples into tokens of the recipe's encoder.

    Args:
        recipe: what is trained.
        examples: what `read_training_examples` returned.
        shape: the encoder's sizes.
        console: prints how many sentences are cut.

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
    sides = {name: head_class(task).sides for name, task in recipe.tasks.items()}
    tokenised = {
        (name, split): tokenise(tokenizer, found, sides[name], recipe.tasks[name].symmetric)
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
            console.info(
                f"task {name}, {split}: {len(cut)} sentences are longer than {max_length} tokens and were cut."
            )
    return (
        TrainingData(
            train={name: tokenised[name, "train"] for name in recipe.tasks},
            dev={name: tokenised[name, "dev"] for name in recipe.tasks},
        ),
        tokenizer,
    )
