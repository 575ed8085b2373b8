"""Checks of a recipe that need neither its data nor its encoder."""

import importlib.util
import os
from pathlib import Path

from mbert_cli.data.hub import FORM, PREFIX, is_well_formed
from mbert_cli.data.source import missing_file_hint
from mbert_cli.encoder.segment_adapters import INNER_SITES, acts_at
from mbert_cli.errors import RecipeError
from mbert_cli.messages import nearest
from mbert_cli.model.components import build_labels, component_class
from mbert_cli.model.compose import head_class
from mbert_cli.recipe.sections import Recipe
from mbert_cli.tracking import Tracker
from mbert_cli.training.phases import RunPhases


def check_recipe(recipe: Recipe) -> None:
    """Check a recipe against the classes of its components and the files on the disk.

    Raises:
        RecipeError: a file or a tracker's package does not exist, or a number of columns, a column or a metric is
            wrong; with all problems.
    """
    heads = {name: head_class(task) for name, task in recipe.tasks.items()}
    problems = []
    for name, task in recipe.tasks.items():
        if "second" in heads[name].sides and len(task.text) < 2:
            place = recipe.place("tasks", name, "text")
            problems.append(f"{place} must name 2 columns for the head '{task.head.kind}', but names 1.")
        if task.symmetric and len(task.text) < 2:
            place = recipe.place("tasks", name, "symmetric")
            problems.append(f"{place} is true, but the task reads one text; name two in text, or set it to false.")
        problem = None if task.windows is None else task.windows.problem(recipe.training.max_length)
        if problem is not None:
            key, what = problem
            problems.append(f"{recipe.place('tasks', name, 'windows', *[key] * bool(key))} {what}.")
        if task.fold is not None:
            if task.fold.number > task.fold.of:
                place = recipe.place("tasks", name, "fold", "number")
                problems.append(f"{place} must be at most {task.fold.of}, the number of folds.")
            if task.dev != task.train:
                place = recipe.place("tasks", name, "dev")
                problems.append(f"{place} must be the same file as train, because fold takes the dev rows from it.")
        soft = [] if task.soft_labels is None else build_labels(task.head).soft_columns
        columns = [*task.column_names, *soft]
        for column in task.columns:
            if column not in columns:
                place = recipe.place("tasks", name, "columns", column)
                problems.append(f"{place} is not a column of the task{nearest(column, columns)}")
        for split in ("train", "dev"):
            path = Path(getattr(task, split))
            if getattr(task, split).startswith(PREFIX):
                if not is_well_formed(getattr(task, split)):
                    problems.append(f"{recipe.place('tasks', name, split)} must have the form {FORM}.")
            elif not os.path.exists(path):
                place = recipe.place("tasks", name, split)
                problems.append(f"{place}: there is no file {path}; {missing_file_hint(str(path))}")
    select = recipe.training.select
    known = ["overall", *(f"{name}.{metric}" for name, head in heads.items() for metric in head.metric_names)]
    if select not in known:
        problems.append(f"{recipe.place('training', 'select')} is '{select}'{nearest(select, known)}")
    if recipe.training.cache_features:
        problems += reasons_not_to_cache(recipe)
    problems += [*_dropout_conflicts(recipe), *_empty_micro_batches(recipe), *_missing_trackers(recipe)]
    if problems:
        raise RecipeError(*problems)


def _dropout_conflicts(recipe: Recipe) -> list[str]:
    """Return the problem of tasks with different dropout in the encoder that share a step; none if they do not."""
    shares = {
        name: recipe.encoder.dropout if task.encoder_dropout is None else task.encoder_dropout
        for name, task in recipe.tasks.items()
    }
    if len(set(shares.values())) == 1:
        return []
    # Which tasks share a step does not depend on the number of rows.
    for phase in RunPhases(recipe, dict.fromkeys(recipe.tasks, 1)):
        for step in phase.steps:
            if len({shares[task] for task in step}) > 1:
                name = next(task for task in step if recipe.tasks[task].encoder_dropout is not None)
                return [
                    f"{recipe.place('tasks', name, 'encoder_dropout')} differs from that of other tasks, but the "
                    f"curriculum {recipe.curriculum.kind} puts them into one step; give all tasks the same, or "
                    "choose a curriculum with one task per step, such as square_root."
                ]
    return []


def _empty_micro_batches(recipe: Recipe) -> list[str]:
    """Return the problem of a batch with fewer rows than micro-batches; none if there is no such problem."""
    accumulate, rows = recipe.training.accumulate, recipe.training.batch_size
    if accumulate <= rows:
        return []
    place = recipe.place("training", "accumulate")
    return [
        f"{place} is {accumulate}, but training.batch_size is {rows}, and each micro-batch needs a row; set accumulate "
        f"to at most {rows}."
    ]


def _missing_trackers(recipe: Recipe) -> list[str]:
    """Return the trackers whose packages are not installed."""
    problems = []
    for index, kind in enumerate(recipe.training.track):
        tracker: type[Tracker] = component_class("tracking", kind)
        if importlib.util.find_spec(tracker.module) is None:
            place = recipe.place("training", "track", index)
            problems.append(
                f"{place} is '{kind}', but {tracker.module} is not installed; pip install {tracker.package}, or remove "
                "it from the list."
            )
    return problems


def is_inner(adapter_kind: str) -> bool:
    """Whether adapters of a kind act inside the encoder."""
    return any(acts_at(component_class("adapters", adapter_kind), site) for site in INNER_SITES)


def has_inner_adapters(recipe: Recipe) -> bool:
    """Whether any adapter of a recipe acts inside the encoder."""
    return any(is_inner(each.kind) for each in recipe.adapters)


def reasons_not_to_cache(recipe: Recipe) -> list[str]:
    """Return why the hidden states of the encoder cannot be cached; none if they can."""
    place = recipe.place("training", "cache_features")
    problems = []
    if not recipe.training.freeze_encoder:
        problems.append(f"{place} is true, but the encoder trains; set training.freeze_encoder to true as well.")
    if recipe.training.gradient_checkpointing:
        key = recipe.place("training", "gradient_checkpointing")
        problems.append(f"{key} is true, but with training.cache_features no step runs the encoder; set it to false.")
    for name, task in recipe.tasks.items():
        if task.token_dropout:
            key = recipe.place("tasks", name, "token_dropout")
            problems.append(
                f"{key} changes sentences at every step, so that their hidden states cannot be cached; set it to 0."
            )
        if task.symmetric:
            key = recipe.place("tasks", name, "symmetric")
            problems.append(f"{key} is true, but hidden states are cached for one order only; set it to false.")
    for index, adapter in enumerate(recipe.adapters):
        if is_inner(adapter.kind):
            problems.append(
                f"{recipe.place('adapters', index)} acts inside the encoder, so that hidden states cannot be cached; "
                "remove it, or set training.cache_features to false."
            )
    return problems
