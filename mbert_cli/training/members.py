"""Trains an ensemble, member by member."""

import time
from contextlib import nullcontext
from dataclasses import replace

from mbert_cli.machine.hardware import make_reproducible
from mbert_cli.model.compose import encoder_shape
from mbert_cli.model.ranks import with_ranks
from mbert_cli.randomness import derive
from mbert_cli.recipe.sections import Recipe
from mbert_cli.reports.figures import draw_figures
from mbert_cli.storage.atomic import remove_folder
from mbert_cli.storage.metrics_file import EpochRecord, is_complete
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.storage.run_lock import in_use, locked
from mbert_cli.terminal.console import Console
from mbert_cli.training.console import print_member
from mbert_cli.training.datasets import read_training_examples
from mbert_cli.training.fit import fit
from mbert_cli.training.growing_ensemble import GrowingEnsemble
from mbert_cli.training.member_contents import check_unchanged, recorded_contents
from mbert_cli.training.options import RunOptions
from mbert_cli.training.parallel_members import train_at_once
from mbert_cli.training.trackers import Trackers

_POLL_EVERY = 0.1  # seconds


def fit_members(recipe: Recipe, folder: RunFolder, options: RunOptions) -> EpochRecord:
    """Train the members of an ensemble, each as a separate run in `members/`, and keep all of them.

    After each member, the ensemble of the members so far is evaluated and saved.

    Args:
        recipe: see `fit`; `training.members` is the number of members.
        folder: see `fit`.
        options: see `fit`. With `jobs` above 1, members train at the same time, each in its own process.

    Returns:
        The results of all members together.

    Raises:
        MbertError: see `fit`; or the process of a member has failed.
        Stopped: a signal asked to stop; progress is saved.
    """
    console = options.console
    # Before the first product: a resumed ensemble may only score members.
    make_reproducible(options.hardware.device)
    # Each member prints notes about the data, too, unless it trains in a separate process.
    notes = console if options.jobs > 1 else Console(quiet=True)
    # Errors in the data are reported before an existing run is removed.
    with console.status("reading the data"):
        examples = read_training_examples(recipe, options.limit, notes)
    shape = encoder_shape(recipe.encoder)
    recipe = with_ranks(recipe, shape)
    members = _members(recipe, folder)
    if not options.resume:
        folder.clear()
    elif not options.allow_drift:
        check_unchanged(recipe, folder, members, shape, examples)
    del examples
    folder.write_recipe(recipe.to_yaml())
    if options.jobs > 1:
        train_at_once(folder, [each for each in members if not _is_done(*each)], options)
    ensemble = GrowingEnsemble(recipe, folder, options)
    with Trackers(recipe, folder, options) as trackers:
        for number, (own, place) in enumerate(members, 1):
            console.info(f"member {number} of {len(members)}, seed {own.training.seed}")
            _wait_until_free(place, console)
            if not _is_done(own, place):
                with locked(place, force=True):
                    fit(own, place, replace(options, resume=place.states.is_dir()))
            record = ensemble.add(place, recorded_contents(folder, place))
            trackers.log_round(record)
            remove_folder(place.states)  # after the ensemble has recorded the contents
            print_member(console, record, len(members))
        draw_figures(folder, console)
        trackers.note_kept(record, record.step)
    return record


def member_recipe(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of a member. The first has the seed of the ensemble; the others have seeds derived from it."""
    seed = recipe.training.seed
    own = seed if number == 1 else derive(seed, "member", number) % 2**31
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"members": 1, "seed": own})})


def _members(recipe: Recipe, folder: RunFolder) -> list[tuple[Recipe, RunFolder]]:
    """Return the recipe and the run folder of each member."""
    numbers = range(1, recipe.training.members + 1)
    return [(member_recipe(recipe, number), RunFolder(folder.members / str(number))) for number in numbers]


def _wait_until_free(place: RunFolder, console: Console) -> None:
    """Wait for a process that trained the member for a parent that was killed: it saves its state, then it ends."""
    with console.status(f"waiting for the process that uses {place.path}") if in_use(place) else nullcontext():
        while in_use(place):
            time.sleep(_POLL_EVERY)


def _is_done(recipe: Recipe, place: RunFolder) -> bool:
    """Return whether a member is trained."""
    return is_complete(place.read_metrics(), recipe.training.rounds) and place.model.is_dir()
