"""The order of the writes at the end of an epoch, and when a state is saved within one.

1. The model and its evaluation, if the epoch is the best so far.
2. metrics.jsonl, with a line for the epoch.
3. The state from which the next epoch starts.
4. The oldest states are removed.

The state comes last of what is written. Until then, a resumed run continues from the previous state, trains the same
epoch again, and commits the same bytes over those that were already written. A model whose state is missing is complete
and usable; the resumed run reads its best score from the state, not from the model. Each write is atomic; see `atomic`.

Must not import torch: fast start-up.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from mbert_cli.storage.atomic import commit_folder, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.storage.metrics_file import EpochRecord, metrics_text
from mbert_cli.storage.run_folder import RunFolder

Write = Callable[[Path], None]
"""Writes the files of a folder into the folder that it is given."""


def commit_epoch(
    run: RunFolder,
    record: EpochRecord,
    write_state: Write,
    keep: int,
    best: tuple[Write, Write] | None,
    position: tuple[int, int] | None = None,
    like: Sequence[Path] = (),
) -> None:
    """Commit an epoch, or another round.

    Args:
        run: the run folder.
        record: the results of the epoch.
        write_state: writes what the next epoch starts from.
        keep: number of states to keep.
        best: write the model and its evaluation; None if the epoch is not the best so far.
        position: number of finished epochs, and of steps since then; by default those at the end of the epoch.
        like: more folders whose weights the model may share; see `commit_folder`.
    """
    if best is not None:
        write_model, write_evaluation = best
        commit_folder(run.model, write_model, [*like, *run.folders_with_weights()])
        commit_folder(run.evaluation, write_evaluation)
    # A process that was killed before it committed its state may have left lines for this epoch or later ones.
    kept = [each for each in run.read_metrics() if each.epoch < record.epoch]
    replace_file(run.metrics_file, metrics_text([*kept, record]))
    commit_state(run, *(position or (record.epoch, 0)), write_state, keep)


def commit_state(run: RunFolder, epoch: int, step: int, write: Write, keep: int) -> None:
    """Commit a state, then remove the oldest ones.

    Args:
        run: the run folder.
        epoch: number of finished epochs.
        step: number of steps since then.
        write: writes the files of the state.
        keep: number of states to keep.
    """
    with disk_errors(run.path):
        run.states.mkdir(exist_ok=True)
    name = f"epoch-{epoch:04d}{f'-step-{step:08d}' if step else ''}"
    commit_folder(run.states / name, write, run.folders_with_weights())
    kept = run.state_folders()[:keep]
    for each in run.states.iterdir():
        if each not in kept:
            shutil.rmtree(each, ignore_errors=True)
