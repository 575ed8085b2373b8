"""One procedure: fit_members; the models of an ensemble, and what they find together."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mbert_cli.data.batching import TaskData, tokenise
from mbert_cli.data.examples import read_examples
from mbert_cli.data.tokenizer import Tokenizer
from mbert_cli.encoder.location import has_weights, locate
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import CheckpointError, UsageError
from mbert_cli.evaluation.evaluate import Outcome, evaluation_of, mean_outcomes, outcomes_of
from mbert_cli.machine.signals import deferred
from mbert_cli.model.components import problems
from mbert_cli.model.compose import encoder_shape, head_class, task_labels
from mbert_cli.model.ensemble import Ensemble
from mbert_cli.model.multi_task_bert import MultiTaskBert
from mbert_cli.model.parameter_count import parameter_counts
from mbert_cli.model.ranks import with_ranks
from mbert_cli.model.saved_model import read_model, write_model
from mbert_cli.randomness import derive
from mbert_cli.recipe.differences import differences, flat, result_spec
from mbert_cli.recipe.reader import load
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.evaluation_folder import Evaluation, write_evaluation
from mbert_cli.reports.figures import draw_figures
from mbert_cli.storage.atomic import remove_folder
from mbert_cli.storage.metrics_file import EpochRecord, Seconds, kept_epoch
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import locked
from mbert_cli.terminal.console import Console
from mbert_cli.training.console import print_member
from mbert_cli.training.datasets import read_training_examples
from mbert_cli.training.fit import fit
from mbert_cli.training.options import RunOptions
from mbert_cli.training.parallel_members import train_at_once


def fit_members(recipe: Recipe, folder: RunFolder, options: RunOptions) -> EpochRecord:
    """Train `training.members` models, each a run of its own in `members/`; keep them all.

    Args:
        recipe: see `fit`.
        folder: see `fit`.
        options: see `fit`. With `jobs` above 1, members train at the same time, each in its own process.

    Returns:
        The results of all members together.

    Raises:
        MbertError: see `fit`; or a process of a member has failed.
        Stopped: a signal asked for it; progress was saved.
    """
    console, hardware = options.console, options.hardware
    # What is wrong with the data is said before a run that was here is removed.
    with console.status("reading the data"):
        read_training_examples(recipe, options.limit, console if options.jobs > 1 else Console(quiet=True))
    shape = encoder_shape(recipe.encoder)
    recipe = with_ranks(recipe, shape)
    if not options.resume:
        folder.clear()
    elif not options.allow_drift:
        _check_unchanged(recipe, folder, shape)
    folder.write_recipe(recipe.to_yaml())
    left = [each for each in _members(recipe, folder) if not _is_done(*each)]
    if options.jobs > 1:
        train_at_once(folder, left, options)
    encoder = locate(recipe.encoder.checkpoint, recipe.encoder.revision)
    members: list[MultiTaskBert] = []
    outcomes: list[dict[str, Outcome]] = []
    records: list[EpochRecord] = []
    dev: dict[str, TaskData] = {}
    for number, (own, place) in enumerate(_members(recipe, folder), 1):
        console.info(f"member {number} of {recipe.training.members}, seed {own.training.seed}")
        if not _is_done(own, place):
            # Held, for a process that trained it may outlive its parent by the time it takes to save.
            with locked(place, force=True):
                fit(own, place, replace(options, resume=place.states.is_dir()))
        remove_folder(place.states)  # nobody goes on from there
        saved = read_model(place.path, None if has_weights(place.model / "encoder") else encoder)
        saved.model.to(hardware.device).compute_with(hardware.dtype, hardware.kernels)
        members += saved.model.members()
        dev = dev or _read_dev(recipe, saved.tokenizer, options.limit)
        started = time.monotonic()
        with console.status(f"scoring the first {number} members together"):
            outcomes.append(outcomes_of(saved.model, dev))
            ensemble = Ensemble(members)
            evaluation = evaluation_of(ensemble, mean_outcomes(outcomes))
        seconds = time.monotonic() - started
        with deferred():
            records.append(_record(number, place, evaluation, ensemble, records, seconds))
            _commit(folder, records[-1], ensemble, evaluation, recipe, saved.tokenizer)
        print_member(console, records[-1], recipe.training.members)
    draw_figures(folder, console)
    return records[-1]


def member_recipe(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of one member: the first has the run's seed, every other one that is derived from it."""
    seed = recipe.training.seed
    own = seed if number == 1 else derive(seed, "member", number) % 2**31
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"members": 1, "seed": own})})


def _members(recipe: Recipe, folder: RunFolder) -> list[tuple[Recipe, RunFolder]]:
    """Return the recipe and the run folder of each member."""
    numbers = range(1, recipe.training.members + 1)
    return [(member_recipe(recipe, number), RunFolder(folder.members / str(number))) for number in numbers]


def _check_unchanged(recipe: Recipe, folder: RunFolder, shape: EncoderShape) -> None:
    """Check that an ensemble and its members were begun as a recipe says.

    Raises:
        UsageError: with what differs.
        RecipeError: a recipe that was kept cannot be read.
    """
    for now, place in ((recipe, folder), *_members(recipe, folder)):
        if place.recipe_file.exists():
            then = with_ranks(load(place.recipe_file, [], problems), shape)
            changed = differences(_made_of(then), _made_of(now))
            if changed:
                raise UsageError(
                    f"{place.path}: cannot resume a changed run: {'; '.join(changed[:5])}. Undo the change; or keep "
                    "the members that are trained, with --allow-drift; or begin anew with --force."
                )


def _made_of(recipe: Recipe) -> dict[str, Any]:
    """Return what a member's result follows from; how many there are may change."""
    return {key: value for key, value in flat(result_spec(recipe)).items() if key != "training.members"}


def _is_done(recipe: Recipe, place: RunFolder) -> bool:
    """Whether a member is trained."""
    return len(place.read_metrics()) >= recipe.training.epochs and place.model.is_dir()


def _read_dev(recipe: Recipe, tokenizer: Tokenizer, limit: int | None) -> dict[str, TaskData]:
    labels = task_labels(recipe.tasks)
    found = {}
    for name, task in recipe.tasks.items():
        examples = read_examples(task.dev, name, task, labels[name], limit)
        found[name] = tokenise(tokenizer, examples, head_class(task).sides, task.symmetric)
    return found


def _record(
    number: int,
    place: RunFolder,
    evaluation: Evaluation,
    ensemble: Ensemble,
    before: Sequence[EpochRecord],
    dev_seconds: float,
) -> EpochRecord:
    """Return the results of an ensemble of the first members."""
    epochs = place.read_metrics()
    kept = kept_epoch(epochs)
    if kept is None:
        raise CheckpointError(f"{place.metrics_file}: names no epoch that is kept; begin anew with --force.")
    seconds = Seconds(
        round(sum(each.seconds.train for each in epochs), 3),
        round(dev_seconds + sum(each.seconds.dev for each in epochs), 3),
    )
    rows: dict[str, int] = {}
    for each in epochs:
        for task, count in each.rows.items():
            rows[task] = rows.get(task, 0) + count
    return EpochRecord(
        epoch=number,
        step=epochs[-1].step + (before[-1].step if before else 0),
        phases="ensemble",
        rows=rows,
        tokens=sum(each.tokens for each in epochs),
        train_loss=kept.train_loss,
        tasks=evaluation.metrics["tasks"],
        overall=evaluation.metrics["overall"],
        best=True,  # a better score on dev of fewer members is noise
        parameters=parameter_counts(ensemble),
        hardware=epochs[-1].hardware,
        seconds=seconds,
    )


def _commit(
    folder: RunFolder,
    record: EpochRecord,
    ensemble: Ensemble,
    evaluation: Evaluation,
    recipe: Recipe,
    tokenizer: Tokenizer,
) -> None:
    files = {name: {"file": task.dev} for name, task in recipe.tasks.items()}
    found = evaluation.of("dev", files, epoch=record.epoch, max_length=tokenizer.max_length)
    # One that no phase trained is the checkpoint's in all members.
    trained = any(has_weights(place.model / "encoder") for _, place in _members(recipe, folder))

    def write_ensemble(at: Path) -> None:
        write_model(at, ensemble, recipe, tokenizer, trained, record.scores())

    def write_state(at: Path) -> None:
        (at / "members.json").write_text(json.dumps({"members": record.epoch}) + "\n", encoding="utf-8")

    parts = (write_ensemble, lambda at: write_evaluation(at, found))
    folder.commit_epoch(record, write_state, 1, parts)
