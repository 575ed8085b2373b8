"""What a run trains, built from its recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.checkpoint import load_encoder
from mbert_cli.encoder.location import EncoderSource, check_weights, find_encoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.machine.hardware import make_reproducible
from mbert_cli.model.components import build
from mbert_cli.model.compose import build_model, encoder_shape, reinitialise
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.ranks import with_ranks
from mbert_cli.model.saved_parts import ModelFiles
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.data_summary import TaskFacts, data_facts
from mbert_cli.training.datasets import TrainingData, read_training_examples, tokenise_examples
from mbert_cli.training.learner import Learner
from mbert_cli.training.optimizer import make_optimizer
from mbert_cli.training.options import RunOptions
from mbert_cli.training.phases import RunPhases


@dataclass(frozen=True)
class TrainingSetup:
    """Everything that a run needs for its first step. Nothing here depends on the run folder.

    Args:
        recipe: the recipe; ranks that it leaves open are filled in.
        learner: the model and what trains it.
        data: the tokenised examples.
        phases: the steps of all epochs.
        facts: what is known about each task's data.
        encoder_folder: the folder with the weights that the encoder starts from.
        base: the model that the tasks are added to; None for a model of its own.
    """

    recipe: Recipe
    learner: Learner
    data: TrainingData
    phases: RunPhases
    facts: Mapping[str, TaskFacts]
    encoder_folder: Path
    base: ModelFiles | None = None


def set_up(recipe: Recipe, options: RunOptions) -> TrainingSetup:
    """Read the data, load the encoder, and build the model and its optimizer.

    Args:
        recipe: what to train.
        options: how to train it.

    Raises:
        MbertError: the recipe, the data or the checkpoint cannot be used.
    """
    console = options.console
    # First the user's own files, then what may have to be downloaded.
    with console.status("reading the data"):
        examples = read_training_examples(recipe, options.limit, console)
    with console.status(f"looking for {recipe.encoder.checkpoint}"):
        shape = encoder_shape(recipe.encoder)
    _check_reinitialise(recipe, shape)
    recipe = with_ranks(recipe, shape)
    with console.status("tokenising"):
        data, tokenizer = tokenise_examples(recipe, examples, shape, console)
    facts = data_facts(recipe, examples, data)
    del examples  # frees memory before the weights are loaded
    source = find_encoder(recipe.encoder.checkpoint, recipe.encoder.revision)
    if source.note:
        console.info(source.note)
    learner = _learner(recipe, shape, source, tokenizer, data, options)
    phases = RunPhases(recipe, data.sizes)
    return TrainingSetup(recipe, learner, data, phases, facts, source.folder, options.base)


def _learner(
    recipe: Recipe,
    shape: EncoderShape,
    source: EncoderSource,
    tokenizer: Tokenizer,
    data: TrainingData,
    options: RunOptions,
) -> Learner:
    hardware = options.hardware
    if recipe.encoder.sha256 is None:
        check_weights(source.folder, source.sha256)
    else:
        remedy = "If encoder.checkpoint names another encoder on purpose, add encoder.sha256=null."
        check_weights(source.folder, recipe.encoder.sha256, remedy)
    encoder, absent = load_encoder(source.folder, shape)
    reinitialise(encoder, recipe.encoder.reinitialise, recipe.training.seed)
    model: MultiTaskBert = build_model(recipe, shape, encoder, recipe.training.seed)
    for name, train in data.train.items():
        model.head(name).observe(torch.from_numpy(train.labels))
    make_reproducible(hardware.device)
    model.to(hardware.device)
    model.compute_with(hardware.dtype, hardware.kernels)
    model.encoder.recomputes = recipe.training.gradient_checkpointing
    if absent and model.pooling.pooler:
        options.console.info(f"{source.folder}: contains no pooler; it starts with random values.")
    goals = {task: model.head(task).goal for task in model.task_names}
    balancing: LossBalancing = build("loss_balancing", recipe.loss_balancing, goals).to(hardware.device)
    rates = {name: task.learning_rate for name, task in recipe.tasks.items() if task.learning_rate is not None}
    return Learner(model, tokenizer, make_optimizer(model, recipe.training, rates), balancing)


def _check_reinitialise(recipe: Recipe, shape: EncoderShape) -> None:
    layers, place = recipe.encoder.reinitialise, recipe.place("encoder", "reinitialise")
    if layers == "all" or layers == 0:
        return
    if shape.shares_layers:
        raise RecipeError(f"{place} must be 0 or all: the layers of {shape.family} share their weights.")
    if layers > shape.num_layers:
        raise RecipeError(f"{place} must be at most {shape.num_layers}, the encoder's layers, or all.")
