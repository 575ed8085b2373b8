"""The data of a run: the files of all tasks are read, checked and tokenised before weights are loaded."""

from dataclasses import dataclass

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import Examples, read_examples
from mbert_cli.data.folds import read_fold
from mbert_cli.data.labels import Labels
from mbert_cli.data.length_limits import LengthLimits
from mbert_cli.data.source import sha256_of_data
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.location import locate
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import DataError, RecipeError, counted
from mbert_cli.model.compose import encoder_tokenizer, head_class, task_labels
from mbert_cli.recipe.sections import Recipe, TaskSection
from mbert_cli.terminal.console import Console
from mbert_cli.training.checks import check_recipe

TrainingExamples = dict[tuple[str, str], Examples]
"""Examples by task and split (`train` or `dev`)."""


@dataclass
class TrainingData:
    """The tokenised examples of all tasks.

    Args:
        train: training set of each task.
        dev: dev set of each task.
    """

    train: dict[str, TaskData]
    dev: dict[str, TaskData]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows of each training set."""
        return {task: len(data) for task, data in self.train.items()}


def read_training_examples(recipe: Recipe, limit: int | None, console: Console) -> TrainingExamples:
    """Read and check the train and dev files of all tasks. The encoder is not needed for this.

    Args:
        recipe: the recipe.
        limit: maximum number of examples read from each file, spread evenly over it.
        console: where skipped rows and warnings are printed.

    Raises:
        RecipeError: see `check_recipe`.
        DataError: a file or a row cannot be read.
    """
    check_recipe(recipe)
    labels = task_labels(recipe.tasks)
    examples: TrainingExamples = {}
    for name, task in recipe.tasks.items():
        for split, path in (("train", task.train), ("dev", task.dev)):
            examples[name, split] = read_split(split, name, task, labels[name], limit)
            console.detail(examples[name, split].source)
            for note in examples[name, split].notes(path):
                console.note(note)
    return examples


def read_split(split: str, name: str, task: TaskSection, labels: Labels, limit: int | None) -> Examples:
    """Return the examples of a task for `train` or `dev`. Errors are those of `read_examples`."""
    soft = split == "train" and task.soft_labels is not None
    if task.fold is None:
        return read_examples(getattr(task, split), name, task, labels, limit, soft)
    own = read_fold(name, task, labels, soft)[split]
    return own if limit is None else own.spread(limit)


def dev_files(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Return the dev file of each task and its SHA-256, as the metrics of an evaluation contain them."""
    files = {}
    for name, task in recipe.tasks.items():
        sha256 = sha256_of_data(task.dev)
        files[name] = {"file": task.dev} | ({} if sha256 is None else {"sha256": sha256})
    return files


def tokenise_examples(
    recipe: Recipe, examples: TrainingExamples, shape: EncoderShape, console: Console
) -> tuple[TrainingData, Tokenizer]:
    """Tokenise the examples of all tasks with the tokenizer of the encoder.

    Args:
        recipe: the recipe.
        examples: result of `read_training_examples`.
        shape: sizes of the encoder.
        console: where the number of truncated sentences is printed.

    Raises:
        RecipeError: training.max_length is greater than the number of positions of the encoder.
        CheckpointError: the tokenizer has more tokens than the encoder.
        DataError: training.strict_length is set, and a sentence is longer than training.max_length.
    """
    max_length = recipe.training.max_length
    if max_length > shape.max_positions:
        raise RecipeError(
            f"{recipe.place('training', 'max_length')} must be at most {shape.max_positions}, the encoder's positions, "
            f"but is {max_length}."
        )
    tokenizer = encoder_tokenizer(locate(recipe.encoder.checkpoint, recipe.encoder.revision), shape, max_length)
    sides = {name: head_class(task).sides for name, task in recipe.tasks.items()}
    tokenised = {
        (name, split): tokenise(tokenizer, rows, sides[name], recipe.tasks[name].symmetric, recipe.tasks[name].windows)
        for (name, split), rows in examples.items()
    }
    limits = LengthLimits.of(max_length, shape.max_positions, recipe.tasks)
    for (name, split), data in tokenised.items():
        cut = sorted(row for side in data.sides for row in side.cut)
        sentences = f"{counted(len(cut), 'sentence')} {'is' if len(cut) == 1 else 'are'}"
        if cut and recipe.training.strict_length:
            raise DataError(
                f"{getattr(recipe.tasks[name], split)}:{data.lines[cut[0]]}: is longer than {limits.longest(name)} "
                f"(in all, {sentences}); {limits.remedy(name)}, or set training.strict_length=false."
            )
        if cut:
            console.info(f"task {name}, {split}: {sentences} longer than {limits.longest(name)}, and cut.")
    return (
        TrainingData(
            train={name: tokenised[name, "train"] for name in recipe.tasks},
            dev={name: tokenised[name, "dev"] for name in recipe.tasks},
        ),
        tokenizer,
    )
