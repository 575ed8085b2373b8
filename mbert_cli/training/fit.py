"""Train a model: the procedure behind `mbert train`."""

from dataclasses import replace

from mbert_cli.encoder.location import weights_sha256
from mbert_cli.errors import counted
from mbert_cli.machine.hardware import computing_with
from mbert_cli.recipe.sections import Recipe
from mbert_cli.storage.metrics_file import EpochRecord
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.training.console import print_opening
from mbert_cli.training.feature_cache import cache_features
from mbert_cli.training.fingerprint import fingerprint_of
from mbert_cli.training.loop import TrainingRun
from mbert_cli.training.options import RunOptions
from mbert_cli.training.run_size import check_room, run_size
from mbert_cli.training.setup import set_up
from mbert_cli.training.start import check_start, recorded_start, start_from_run
from mbert_cli.training.state import TrainingState, read_state, threads_of_run


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
        Stopped: a signal stopped training; progress was saved.
    """
    current = options.hardware.threads
    threads = threads_of_run(folder) if options.resume and not options.allow_drift else None
    if threads is not None and threads != current:
        options.console.info(
            f"using {counted(threads, 'thread')}, as at the start of the run, instead of {current}: their number "
            f"changes the last bits. --allow-drift uses {current}."
        )
    with computing_with(threads):
        run = prepare(recipe, folder, options)
        with run.trackers:
            best = run.run()
            run.trackers.note_kept(best, run.state.step)
        return best


def prepare(recipe: Recipe, folder: RunFolder, options: RunOptions) -> TrainingRun:
    """Do everything that `fit` does before the first step; same arguments and errors.

    Returns:
        The run, ready to take its first step.
    """
    console, processes = options.console, options.processes
    with processes.together():
        started = recorded_start(folder) if options.resume else None
        if started is None:
            check_start(recipe)
        setup = set_up(recipe, options)
        if started is None:
            started = start_from_run(setup.recipe, setup.learner.model, setup.encoder_folder, console)
        size = run_size(setup)
        check_room(folder.path, size.added if options.resume else size.most)
        encoder = weights_sha256(setup.encoder_folder)
        fingerprint = fingerprint_of(setup.recipe, setup.data, options.hardware, encoder, processes.count)
        if options.base is not None:
            fingerprint["base"] = options.base.sha256
        fingerprint |= {"start_sha256": started} if started else {}
        state = TrainingState()
        if options.resume:
            state = read_state(folder, fingerprint, setup.learner, console, options.allow_drift)
            console.info(f"resuming after epoch {state.epoch}, step {state.epoch_step}")
    # All processes have read what the first one may now change.
    if processes.is_first:
        if not options.resume:
            folder.clear()
        folder.write_recipe(setup.recipe.to_yaml())
    print_opening(setup, options)
    if setup.recipe.training.cache_features:
        setup = replace(setup, data=cache_features(setup.learner.model, setup.data, folder.path, console))
    return TrainingRun(setup, folder, options, state, fingerprint)
