"""Reports why a run has ended, also in its model card."""

import os
import shutil
from pathlib import Path

from mbert_cli.recipe.ending import Reason, why_ended
from mbert_cli.recipe.sections import TrainingSection
from mbert_cli.storage.atomic import MANIFEST, commit_folder, committed
from mbert_cli.storage.run_folder import RunFolder
from mbert_cli.terminal.console import Console

_CARD, _START, _BEFORE = "README.md", "- training ended early: ", "- loss balancing: "


def report_ending(folder: RunFolder, console: Console, reason: Reason | None, training: TrainingSection) -> None:
    """Print why a run has ended early, and write it into the model card; do nothing if all epochs are trained.

    Args:
        folder: the run folder.
        console: where to print.
        reason: why the run has ended.
        training: the settings of the run.
    """
    if reason is not None and reason != "epochs":
        text = why_ended(reason, training)
        console.info(f"the run ended early: {text}")
        note_ending(folder, text)


def note_ending(folder: RunFolder, reason: str) -> None:
    """Write into the model card why the run has ended; a card that says it already stays as it is.

    The model was saved before the end of the run was known. Its folder is replaced as a whole; weights are not copied
    if the file system supports hard links.

    Args:
        folder: the run folder.
        reason: why the run has ended; see `why_ended`.
    """
    model, line = committed(folder.model), f"{_START}{reason}\n"
    if model is None or not (model / _CARD).is_file():
        return
    lines = (model / _CARD).read_text(encoding="utf-8").splitlines(keepends=True)
    if line in lines:
        return
    lines = [each for each in lines if not each.startswith(_START)]
    place = next((number for number, each in enumerate(lines, 1) if each.startswith(_BEFORE)), len(lines))
    text = "".join([*lines[:place], line, *lines[place:]])

    def write(at: Path) -> None:
        shutil.copytree(
            model, at, copy_function=_link, ignore=shutil.ignore_patterns(_CARD, MANIFEST), dirs_exist_ok=True
        )
        (at / _CARD).write_text(text, encoding="utf-8")

    commit_folder(folder.model, write)


def _link(source: str, target: str) -> None:
    """Make a hard link, or a copy if that is impossible. Files of a committed folder are never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
