"""One procedure: count; one model part by part, or several adapters side by side."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from inspect import signature
from typing import Any

from mbert_cli.compose import build, encoder_shape, load_recipe, meta_model
from mbert_cli.curricula import Curriculum, Scope
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.ranks import num_parameters, with_ranks
from mbert_cli.recipe import Component, Recipe

BYTES = {"fp32": 4, "bf16": 2}
"""Bytes of a parameter on disk."""
_EPOCHS_SHOWN = 4  # every curriculum so far repeats itself after two


@dataclass(frozen=True)
class Count:
    """Parameters of one part.

    Args:
        part: `encoder`, `pooling`, an adapter's kind, or `head`.
        task: the task it belongs to; None for what all share.
        size: an adapter's rank or length, such as `rank 204`.
        formula: the paper's formula for one task, if it has one.
        by_formula: its value: weights only.
        exact: all parameters, biases and LayerNorms included.
    """

    part: str
    task: str | None
    size: str
    formula: str
    by_formula: int | None
    exact: int


@dataclass(frozen=True)
class PhaseCount:
    """What trains in a phase of the curriculum.

    Args:
        epochs: those that have the phase, of the first few.
        tasks: whose batches it takes.
        trains: `everything`, or the tasks' `own` adapters and heads.
        exact: parameters that train.
    """

    epochs: list[int]
    tasks: list[str]
    trains: Scope
    exact: int

    def covers(self, count: Count) -> bool:
        """Whether a part trains in it."""
        return self.trains == "everything" or count.task in self.tasks


@dataclass(frozen=True)
class Counts:
    """Parameters of a model.

    Args:
        shape: the encoder's sizes.
        parts: one entry a part and task.
        phases: what trains when, as far as the first few epochs tell.
    """

    shape: EncoderShape
    parts: list[Count]
    phases: list[PhaseCount]

    def exact(self, part: str | None = None) -> int:
        """Return the exact count of a part over all tasks, or of the whole model."""
        return sum(count.exact for count in self.parts if part in (None, count.part))

    @property
    def adapters(self) -> list[Count]:
        """The adapters' entries."""
        return [count for count in self.parts if count.by_formula is not None]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        by_formula = sum(count.by_formula or 0 for count in self.adapters)
        exact = sum(count.exact for count in self.adapters)
        total = self.exact()
        return {
            "encoder": asdict(self.shape),
            "parts": [asdict(count) for count in self.parts],
            "adapters": {"by_formula": by_formula, "exact": exact, "times_encoder": 1 + exact / self.exact("encoder")},
            "total": total,
            "bytes": {precision: size * total for precision, size in BYTES.items()},
            "phases": [{**asdict(phase), "share": phase.exact / total} for phase in self.phases],
        }


@dataclass(frozen=True)
class MethodCount:
    """Parameters of one method over all tasks, beside others.

    Args:
        method: the kinds of its adapters, such as `low_rank+top`.
        size: their ranks or lengths.
        formula: the paper's, over all tasks.
        by_formula: its value: weights only.
        exact: all parameters, biases and LayerNorms included.
        times_encoder: encoder and adapters, over the encoder.
    """

    method: str
    size: str
    formula: str
    by_formula: int
    exact: int
    times_encoder: float

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "bytes": {precision: size * self.exact for precision, size in BYTES.items()}}


@dataclass(frozen=True)
class Comparison:
    """Several methods side by side.

    Args:
        shape: the encoder's sizes.
        num_tasks: T.
        encoder: the encoder's parameters.
        methods: in the order asked for.
    """

    shape: EncoderShape
    num_tasks: int
    encoder: int
    methods: list[MethodCount]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        methods = [each.as_json() for each in self.methods]
        return {"encoder": asdict(self.shape), "parameters": self.encoder, "tasks": self.num_tasks, "methods": methods}


def count(recipe: Recipe) -> Counts:
    """Count the parameters of a model from its recipe: no weights, no network.

    Raises:
        CheckpointError: the encoder's sizes are not known; give them in the recipe's `encoder.shape`.
    """
    shape = encoder_shape(recipe.encoder, download=False)
    recipe = with_ranks(recipe, shape)
    model = meta_model(recipe, shape)
    parts = [Count("encoder", None, "", "", None, num_parameters(model.encoder))]
    if num_parameters(model.pooling):
        parts.append(Count("pooling", None, "", "", None, num_parameters(model.pooling)))
    for name in model.task_names:
        task = model.task(name)
        for component, adapter in zip(recipe.adapters, task.adapter_list(), strict=True):
            size, weights = _size(component, adapter), adapter.num_weights()
            parts.append(Count(component.kind, name, size, adapter.formula, weights, num_parameters(adapter)))
        parts.append(Count("head", name, "", "", None, num_parameters(task.head)))
    return Counts(shape, parts, _phases(recipe, parts))


def compare(name: str, settings: Sequence[str], methods: str, num_tasks: int | None) -> Comparison:
    """Count several methods side by side, on the encoder and for the tasks of a recipe.

    Args:
        name: the recipe's file or name; its own adapters do not matter.
        settings: its `key=value` overrides.
        methods: kinds of adapters, commas between methods, `+` between adapters that stand together, options after
            `:`, such as `pal,low_rank:rank=100+top,lora:budget=5%:targets=[query,key]`.
        num_tasks: how many tasks; the recipe's by default.

    Raises:
        RecipeError: the recipe or a method is not right.
        CheckpointError: the encoder's sizes are not known.
    """
    found = []
    for method in re.split(r",(?![^\[]*\])", methods):
        setting = _adapters_setting(method)
        try:
            recipe = load_recipe(name, [*settings, setting])
            tasks = list(recipe.tasks.values())
            if num_tasks is not None:
                tasks = [tasks[0]] * num_tasks
            counts = count(recipe.model_copy(update={"tasks": {f"task{i}": task for i, task in enumerate(tasks)}}))
        except RecipeError as error:
            # The user wrote a method, not the setting that it stands for.
            told = [problem.replace(f"'{setting}'", f"--compare '{method}'") for problem in error.problems]
            raise RecipeError(*told) from None
        exact = sum(each.exact for each in counts.adapters)
        of_one_task = [each for each in counts.adapters if each.task == "task0"]
        found.append(
            MethodCount(
                method="+".join(each.part for each in of_one_task),
                size=", ".join(each.size for each in of_one_task if each.size),
                formula=" + ".join(f"T ({each.formula})" for each in of_one_task),
                by_formula=sum(each.by_formula or 0 for each in counts.adapters),
                exact=exact,
                times_encoder=1 + exact / counts.exact("encoder"),
            )
        )
    return Comparison(counts.shape, len(tasks), counts.exact("encoder"), found)


def _adapters_setting(method: str) -> str:
    """Return the override of a recipe's adapters that a method stands for."""
    items = []
    for word in method.split("+"):
        kind, *options = word.strip().split(":")
        items.append("{" + ", ".join([f"kind: {kind}", *(option.replace("=", ": ", 1) for option in options)]) + "}")
    return f"adapters=[{', '.join(items)}]"


def _size(component: Component, adapter: Adapter) -> str:
    """Return an adapter's rank or length, where it has one: `rank 204`."""
    option = adapter.size_option
    if option is None:
        return ""
    default = signature(type(adapter)).parameters[option].default
    return f"{option} {component.options.get(option, default)}"


def _phases(recipe: Recipe, parts: Sequence[Count]) -> list[PhaseCount]:
    """Return what trains when: the phases of the first epochs, those that are alike together."""
    curriculum: Curriculum = build("curricula", recipe.curriculum, recipe.training.epochs)
    epochs: dict[tuple[tuple[str, ...], Scope], list[int]] = {}
    for epoch in range(1, min(recipe.training.epochs, _EPOCHS_SHOWN) + 1):
        for phase in curriculum.phases(epoch, dict.fromkeys(recipe.tasks, 1), batch_size=1):
            epochs.setdefault((tuple(phase.rows), phase.trains), []).append(epoch)
    found = []
    for (tasks, trains), numbers in epochs.items():
        counted = PhaseCount(sorted(set(numbers)), list(tasks), trains, 0)
        found.append(replace(counted, exact=sum(part.exact for part in parts if counted.covers(part))))
    return found
