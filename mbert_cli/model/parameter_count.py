"""Count parameters: of one model, part by part, or of several adapters for comparison."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from inspect import signature
from typing import Any

from torch import nn

from mbert_cli.curricula import Curriculum, Scope
from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import build, load_recipe
from mbert_cli.model.compose import encoder_shape, meta_model
from mbert_cli.model.ranks import num_parameters, with_ranks
from mbert_cli.model.sentence_model import SentenceModel
from mbert_cli.recipe.sections import Component, Recipe

BYTES = {"fp32": 4, "bf16": 2}
"""Bytes per parameter on disk."""
_EPOCHS_SHOWN = 4  # the phases of every curriculum repeat after at most two epochs


@dataclass(frozen=True)
class Count:
    """Number of parameters of one part.

    Args:
        part: `encoder`, `pooling`, an adapter's kind, or `head`.
        task: the task that the part belongs to; None if all tasks share it.
        size: an adapter's rank or length, such as `rank 204`.
        formula: the paper's formula for one task, if there is one.
        by_formula: value of the formula: weights only.
        exact: all parameters, including biases and LayerNorms.
    """

    part: str
    task: str | None
    size: str
    formula: str
    by_formula: int | None
    exact: int


@dataclass(frozen=True)
class PhaseCount:
    """Number of parameters that train in a phase of the curriculum.

    Args:
        epochs: epochs that have the phase, among the first few epochs.
        tasks: tasks whose batches the phase contains.
        trains: `everything`, or `own`: only the adapters and heads of the tasks.
        exact: number of parameters that train.
    """

    epochs: list[int]
    tasks: list[str]
    trains: Scope
    exact: int

    def covers(self, count: Count) -> bool:
        """Return whether a part trains in this phase."""
        return self.trains == "everything" or count.task in self.tasks


@dataclass(frozen=True)
class Counts:
    """Number of parameters of a model.

    Args:
        shape: the encoder's sizes.
        parts: one entry per part and task.
        phases: the phases of the first few epochs.
    """

    shape: EncoderShape
    parts: list[Count]
    phases: list[PhaseCount]

    def exact(self, part: str | None = None) -> int:
        """Return the exact number of parameters of a part over all tasks, or of the whole model."""
        return sum(count.exact for count in self.parts if part in (None, count.part))

    @property
    def adapters(self) -> list[Count]:
        """The entries of the adapters."""
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
    """Number of parameters of one method over all tasks.

    Args:
        method: the kinds of its adapters, such as `low_rank+top`.
        size: their ranks or lengths.
        formula: the paper's formula, over all tasks.
        by_formula: value of the formula: weights only.
        exact: all parameters, including biases and LayerNorms.
        times_encoder: parameters of encoder and adapters, divided by those of the encoder.
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
    """Number of parameters of several methods.

    Args:
        shape: the encoder's sizes.
        num_tasks: T, number of tasks.
        encoder: number of parameters of the encoder.
        methods: the methods, in the order of the request.
    """

    shape: EncoderShape
    num_tasks: int
    encoder: int
    methods: list[MethodCount]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        methods = [method.as_json() for method in self.methods]
        return {"encoder": asdict(self.shape), "parameters": self.encoder, "tasks": self.num_tasks, "methods": methods}


def count(recipe: Recipe) -> Counts:
    """Count the parameters of a model from its recipe, without weights and network.

    Raises:
        CheckpointError: the encoder's sizes are unknown; set them in the recipe's `encoder.shape`.
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
    """Count the parameters of several methods, with the encoder and the tasks of a recipe.

    Args:
        name: the recipe's file or name; its adapters are ignored.
        settings: `key=value` overrides of the recipe.
        methods: a list of methods, separated by commas. A method is one or several adapters, joined by `+`. Each option
            of an adapter starts with `:`. Example: `pal,low_rank:rank=100+top,lora:budget=5%:targets=[query,key]`.
        num_tasks: number of tasks; by default that of the recipe.

    Raises:
        RecipeError: the recipe or a method is invalid.
        CheckpointError: the encoder's sizes are unknown.
    """
    counted = []
    for method in re.split(r",(?![^\[]*\])", methods):
        setting = _adapters_setting(method)
        try:
            recipe = load_recipe(name, [*settings, setting])
            tasks = list(recipe.tasks.values())
            if num_tasks is not None:
                tasks = [tasks[0]] * num_tasks
            counts = count(recipe.model_copy(update={"tasks": {f"task{i}": task for i, task in enumerate(tasks)}}))
        except RecipeError as error:
            # Show the method that the user wrote, not the setting built from it.
            problems = [problem.replace(f"'{setting}'", f"--compare '{method}'") for problem in error.problems]
            raise RecipeError(*problems) from None
        exact = sum(adapter.exact for adapter in counts.adapters)
        of_one_task = [adapter for adapter in counts.adapters if adapter.task == "task0"]
        counted.append(
            MethodCount(
                method="+".join(adapter.part for adapter in of_one_task),
                size=", ".join(adapter.size for adapter in of_one_task if adapter.size),
                formula=" + ".join(f"T ({adapter.formula})" for adapter in of_one_task),
                by_formula=sum(adapter.by_formula or 0 for adapter in counts.adapters),
                exact=exact,
                times_encoder=1 + exact / counts.exact("encoder"),
            )
        )
    return Comparison(counts.shape, len(tasks), counts.exact("encoder"), counted)


def _adapters_setting(method: str) -> str:
    """Return the override of a recipe's adapters for a method."""
    items = []
    for word in method.split("+"):
        kind, *options = word.strip().split(":")
        items.append("{" + ", ".join([f"kind: {kind}", *(option.replace("=", ": ", 1) for option in options)]) + "}")
    return f"adapters=[{', '.join(items)}]"


def _size(component: Component, adapter: Adapter) -> str:
    """Return an adapter's rank or length, such as `rank 204`; empty if it has none."""
    option = adapter.size_option
    if option is None:
        return ""
    default = signature(type(adapter)).parameters[option].default
    return f"{option} {component.options.get(option, default)}"


def _phases(recipe: Recipe, parts: Sequence[Count]) -> list[PhaseCount]:
    """Return the phases of the first epochs; equal phases are merged."""
    curriculum: Curriculum = build("curricula", recipe.curriculum, recipe.training.epochs)
    epochs: dict[tuple[tuple[str, ...], Scope], list[int]] = {}
    for epoch in range(1, min(recipe.training.epochs, _EPOCHS_SHOWN) + 1):
        for phase in curriculum.phases(epoch, dict.fromkeys(recipe.tasks, 1), batch_size=1):
            epochs.setdefault((tuple(phase.rows), phase.trains), []).append(epoch)
    phases = []
    for (tasks, trains), numbers in epochs.items():
        counted = PhaseCount(sorted(set(numbers)), list(tasks), trains, 0)
        phases.append(replace(counted, exact=sum(part.exact for part in parts if counted.covers(part))))
    return phases


def parameter_counts(model: SentenceModel) -> dict[str, int]:
    """Return the size of a model and of its parts, for comparisons of runs."""
    members = model.members()
    parts = [each.task(name) for each in members for name in each.task_names]
    modules: dict[str, nn.Module] = {
        "encoder": nn.ModuleList(each.encoder for each in members),
        "adapters": nn.ModuleList(part.adapters for part in parts),
        "all": model,
    }
    return {name: sum(each.numel() for each in module.parameters()) for name, module in modules.items()}
