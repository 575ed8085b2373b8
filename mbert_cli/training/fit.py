"""One procedure: fit."""

import torch

from mbert_cli.encoder.checkpoint import load_encoder
from mbert_cli.encoder.location import find_encoder, weights_sha256
from mbert_cli.errors import RecipeError
from mbert_cli.loss_balancing import LossBalancing
from mbert_cli.machine.hardware import computing_with, make_reproducible
from mbert_cli.model.components import build
from mbert_cli.model.compose import build_model, encoder_shape, reinitialise
from mbert_cli.model.ranks import with_ranks
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.console import print_opening
from mbert_cli.training.data_summary import data_facts
from mbert_cli.training.datasets import read_training_examples, tokenise_examples
from mbert_cli.training.feature_cache import cache_features
from mbert_cli.training.loop import TrainingRun
from mbert_cli.training.optimizer import make_optimizer
from mbert_cli.training.options import RunOptions
from mbert_cli.training.run_size import run_size
from mbert_cli.training.state import TrainingState, fingerprint_of, read_state, threads_begun_with


def fit(recipe: Recipe, folder: RunFolder, options: RunOptions) -> EpochRecord:
    """Train a model as a recipe says, and keep the best one in a run folder.

    Everything that can be checked before the weights are loaded is checked before then, and before a file is written.

    Args:
        recipe: what to train.
        folder: where the run is kept. The caller holds its lock.
        options: how to train. `jobs` is not used.

    Returns:
        The epoch whose model was kept.

    Raises:
        MbertError: the recipe, the data, the checkpoint or the folder cannot be used; the disk is full; or a loss
            is not finite.
        Stopped: a signal stopped the training; progress was saved.
    """
    threads = threads_begun_with(folder) if options.resume and not options.allow_drift else None
    if threads not in (None, options.hardware.threads):
        options.console.info(
            f"computing with {threads} threads, as the run was started with, and not {options.hardware.threads}: their "
            "number changes the last bits. --allow-drift computes with those of now."
        )
    with computing_with(threads):
        return prepare(recipe, folder, options).run()


def prepare(recipe: Recipe, folder: RunFolder, options: RunOptions) -> TrainingRun:
    """Do everything that `fit` does before the first step; same arguments and errors.

    Returns:
        The run, ready to take its first step.
    """
    hardware, console = options.hardware, options.console
    # First what the user wrote, then what may have to be downloaded.
    with console.status("reading the data"):
        examples = read_training_examples(recipe, options.limit, console)
    with console.status(f"looking for {recipe.encoder.checkpoint}"):
        shape = encoder_shape(recipe.encoder)
    if recipe.encoder.reinitialise != "all" and recipe.encoder.reinitialise > shape.num_layers:
        place = recipe.place("encoder", "reinitialise")
        raise RecipeError(f"{place} must be at most {shape.num_layers}, the encoder's layers, or all.")
    recipe = with_ranks(recipe, shape)
    with console.status("tokenising"):
        data, tokenizer = tokenise_examples(recipe, examples, shape, console)
    facts = data_facts(recipe, examples, data)
    del examples
    source = find_encoder(recipe.encoder.checkpoint, recipe.encoder.revision)
    if source.note:
        console.info(source.note)
    encoder, absent = load_encoder(source.folder, shape, recipe.encoder.sha256 or source.sha256)
    reinitialise(encoder, recipe.encoder.reinitialise, recipe.training.seed)
    model = build_model(recipe, shape, encoder, recipe.training.seed)
    for name, train in data.train.items():
        model.head(name).observe(torch.from_numpy(train.labels))
    make_reproducible(hardware.device)
    model.to(hardware.device)
    model.compute_with(hardware.dtype, hardware.kernels)
    if absent and model.pooling.pooler:
        console.info(f"{source.folder}: holds no pooler; it starts with random values.")
    optimizer = make_optimizer(model, recipe.training)
    goals = {task: model.head(task).goal for task in model.task_names}
    balancing: LossBalancing = build("loss_balancing", recipe.loss_balancing, goals).to(hardware.device)
    size = run_size(recipe, model, tokenizer, balancing, data)
    folder.check_room(size.added if options.resume else size.most)
    splits = {"train": data.train, "dev": data.dev}
    fingerprint = fingerprint_of(recipe, splits, hardware, weights_sha256(source.folder))
    if options.resume:
        state = read_state(folder, fingerprint, model, optimizer, balancing, console, options.allow_drift)
        console.info(f"resuming after epoch {state.epoch}, step {state.epoch_step}")
    else:
        state = TrainingState()
        folder.clear()
    folder.write_recipe(recipe.to_yaml())
    print_opening(console, recipe, model, facts, hardware)
    if recipe.training.cache_features:
        data = cache_features(model, data, folder.path, console)
    return TrainingRun(
        recipe, folder, hardware, console, model, tokenizer, optimizer, balancing, data, state, fingerprint
    )
