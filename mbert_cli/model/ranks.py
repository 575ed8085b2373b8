"""Convert parameter budgets to ranks: the largest rank within the budget."""

from bisect import bisect_right
from functools import cache

from torch import nn

from mbert_cli.encoder.adapter import Adapter
from mbert_cli.encoder.initialisation import shapes_only
from mbert_cli.encoder.packed_encoder import PackedEncoder
from mbert_cli.encoder.shape import EncoderShape
from mbert_cli.errors import RecipeError
from mbert_cli.model.components import build, component_class
from mbert_cli.recipe.budget import parameters_within
from mbert_cli.recipe.sections import Component, Recipe


def with_ranks(recipe: Recipe, shape: EncoderShape) -> Recipe:
    """Return a recipe with ranks (or lengths) instead of budgets.

    A budget is for one adapter of the recipe's list, over all tasks. It is compared with the exact number of
    parameters, including biases. Ranks and lengths are at most the hidden size.

    Args:
        recipe: the recipe.
        shape: the encoder's sizes.

    Raises:
        RecipeError: a budget is too small even for the smallest rank that the adapter accepts.
    """
    if not any("budget" in adapter.options for adapter in recipe.adapters):
        return recipe
    with shapes_only():
        adapters = tuple(_with_rank(adapter, shape, len(recipe.tasks)) for adapter in recipe.adapters)
    return recipe.model_copy(update={"adapters": adapters})


def num_parameters(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def _with_rank(component: Component, shape: EncoderShape, num_tasks: int) -> Component:
    options = dict(component.options)
    budget = options.pop("budget", None)
    adapter: type[Adapter] = component_class("adapters", component.kind)
    option = adapter.size_option
    if budget is None or option is None:
        return component
    limit = parameters_within(budget, num_parameters(PackedEncoder(shape)))

    def sized(size: int) -> Component:
        return component.model_copy(update={"options": {**options, option: size}})

    @cache
    def parameters(size: int) -> int:
        """Return the number of parameters of the adapters of all tasks; 0 if the adapter rejects this size."""
        try:
            return num_tasks * num_parameters(build("adapters", sized(size), shape))
        except RecipeError:  # PAL's attention heads must divide its rank
            return 0

    def accepted(size: int) -> tuple[int, int]:
        """Return the largest size up to `size` that the adapter accepts, and its parameters; zeros if there is none."""
        return next(((each, parameters(each)) for each in range(size, 0, -1) if parameters(each)), (0, 0))

    sizes = range(1, shape.hidden_size + 1)
    size, _ = accepted(bisect_right(sizes, limit, key=lambda size: accepted(size)[1]))
    if size == 0:
        raise RecipeError(
            f"{component.place_of('budget')} is {budget!r}, {limit:,} parameters: too few for the smallest {option} of "
            f"{component.kind} in {num_tasks} task(s); increase it."
        )
    return sized(size)
