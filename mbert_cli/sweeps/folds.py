"""The folds of a cross-validation, as the runs of a sweep.

    DIR/
      cv.yaml                       the recipe, and how its rows are divided
      folds.json                    numbers of rows, and warnings; see `training/fold_facts.py`
      runs/fold-1/ ...              the run of each fold
      recipes/  logs/               as in a sweep
      TASK_predictions.tsv          the prediction of each training row by the model that was not trained on it
      table.tsv, .md, .html         the scores

Must not import torch: fast start-up.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbert_cli.data.table import Table
from mbert_cli.errors import UsageError
from mbert_cli.messages import nearest, one_line
from mbert_cli.recipe.folds import FoldSection
from mbert_cli.recipe.sections import Recipe, as_spec
from mbert_cli.recipe.yaml_text import dump
from mbert_cli.reports.evaluation_folder import PREDICTIONS
from mbert_cli.storage.atomic import remove_folder, replace_file
from mbert_cli.storage.disk import disk_errors
from mbert_cli.sweeps.file_hashes import FileHashes, identity
from mbert_cli.sweeps.folder import SweepFolder, SweepRuns
from mbert_cli.sweeps.plan import Plan, PlannedRow
from mbert_cli.sweeps.run import Options, SweepRun
from mbert_cli.sweeps.run_plan import clear_changed

FACTS = "folds.json"


class FoldsFolder(SweepFolder):
    """The folder of a cross-validation.

    Args:
        path: the folder. It does not have to exist.
    """

    command = "cv"
    content = "cross-validation"
    watched_by = " Its table.md shows the progress."

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.plan_file = path / "cv.yaml"
        self.facts_file = path / FACTS

    def runs_of(self, plan: Plan) -> SweepRuns:
        """Return the runs of the folds. The run of a fold has always the same name, so that a change is noticed."""
        hashes = FileHashes()
        runs = {}
        for row in plan.rows:
            recipe = row.recipe_of(row.seeds[0])
            runs[identity(recipe)] = SweepRun(self.path, row.name.replace(" ", "-"), recipe, row.name, hashes)
        return SweepRuns(runs)

    def start(self, runs: SweepRuns, options: Options, facts: Mapping[str, Any], force: bool) -> None:
        """Prepare the folder for training: check that folds have not changed, and remove the results of earlier runs.

        Args:
            runs: the runs of the folds.
            options: the options of all runs.
            facts: see `training/fold_facts.py`; saved for the next command.
            force: remove folds that were started with other settings or files.

        Raises:
            UsageError: folds were started with other settings or files, and `force` is not set.
        """
        clear_changed(runs, options, force)
        replace_file(self.facts_file, json.dumps(facts, indent=2) + "\n")
        with disk_errors(self.path):
            for file in self.path.glob(f"*{PREDICTIONS}"):
                file.unlink()
            names = {run.name for run in runs}
            for folder in self.path.glob("runs/fold-*"):
                if folder.name not in names:
                    remove_folder(folder)


def plan_of(
    recipe: Recipe, title: str, folds: int, groups: Mapping[str, str | None], stratify: bool, limit: int | None
) -> Plan:
    """Return the plan of a cross-validation: one row for each fold.

    Args:
        recipe: the recipe. Its dev files are not used.
        title: title of the tables.
        folds: number of folds.
        groups: for each task the column of the group; None for no groups.
        stratify: see `FoldSection`.
        limit: see `FoldSection`.
    """
    seed = recipe.training.seed
    rows = []
    for number in range(1, folds + 1):
        tasks = {}
        for name, task in recipe.tasks.items():
            fold = FoldSection(number=number, of=folds, seed=seed, group=groups[name], stratify=stratify, limit=limit)
            tasks[name] = task.model_copy(update={"dev": task.train, "fold": fold})
        rows.append(PlannedRow("", f"fold {number}", recipe.model_copy(update={"tasks": tasks}), (seed,)))
    own = {"folds": folds, "group": dict(groups), "stratify": stratify, "limit": limit}
    return Plan(title, tuple(rows), "model", dump({**own, "recipe": as_spec(recipe)}))


def groups_of(recipe: Recipe, words: Sequence[str]) -> dict[str, str | None]:
    """Return the column of the group of each task; None for a task without groups.

    Args:
        recipe: the recipe.
        words: the values of --group: `COLUMN`, for all tasks whose training file has the column, or `TASK=COLUMN`.

    Raises:
        DataError: a training file cannot be read.
        UsageError: no file has the column, or a task has two groups.
    """
    groups: dict[str, str | None] = dict.fromkeys(recipe.tasks)
    for word in words:
        name, equals, column = word.partition("=")
        chosen = [name] if equals and name in recipe.tasks else list(recipe.tasks)
        column = column if equals and name in recipe.tasks else word
        headers: list[str] = []
        having = []
        for task in chosen:
            section = recipe.tasks[task]
            with Table(section.train, section.quoting, section.delimiter, section.columns) as table:
                headers += table.header
                having += [task] * table.has(column)
        if not having:
            whose = f"the training file of task {name}" if chosen == [name] else "no training file"
            verb = "has no" if chosen == [name] else "has a"
            if equals and name not in recipe.tasks:
                raise UsageError(f"--group {word}: the recipe has no task '{name}'{nearest(name, list(recipe.tasks))}")
            known = list(dict.fromkeys(headers))
            raise UsageError(f"--group {word}: {whose} {verb} column '{column}'{nearest(column, known)}")
        for task in having:
            if groups[task] not in (None, column):
                raise UsageError(f"--group {word}: task {task} has the group {groups[task]} already; name one.")
            groups[task] = column
    return groups


def group_notes(groups: Mapping[str, str | None]) -> list[str]:
    """Return a note about each task whose file has no group, if other tasks have one."""
    if not any(groups.values()):
        return []
    return [
        f"{one_line(name)}: the training file has no such column; its rows are divided by id, or by text"
        for name, group in groups.items()
        if group is None
    ]
