"""Decides whether a run trains with CUDA graphs."""

import torch

from mbert_cli.machine.cuda_graph import why_not_on
from mbert_cli.machine.process_group import Processes
from mbert_cli.model.capture import why_not_captured
from mbert_cli.recipe.sections import Recipe
from mbert_cli.training.setup import TrainingSetup


def why_no_graphs(setup: TrainingSetup, device: torch.device, processes: Processes) -> str | None:
    """Return the reason why a run trains without CUDA graphs; None if it trains with them.

    Args:
        setup: what is trained.
        device: the device.
        processes: the processes that train together.
    """
    recipe, learner = setup.recipe, setup.learner
    return (
        why_not_on(device, learner.model.kernels)
        or (None if processes.is_alone else "several processes train together")
        or _why_not_recipe(recipe)
        or why_not_captured(learner.model, learner.model.task_names)
        or (None if learner.balancing.on_device else f"loss_balancing {recipe.loss_balancing.kind} needs the CPU")
    )


def _why_not_recipe(recipe: Recipe) -> str | None:
    """Return the option of a recipe because of which its steps cannot be captured; None if they can."""
    training = recipe.training
    if training.accumulate > 1:
        return "training.accumulate divides a step into micro-batches"
    if training.gradient_checkpointing:
        return "training.gradient_checkpointing computes activations again"
    if training.cache_features:
        return "training.cache_features copies hidden states in each step"
    for name, task in recipe.tasks.items():
        if task.windows is not None:
            return f"the number of windows of tasks.{name} differs between steps"
        if task.soft_labels == "annealed":
            return f"the weight of the soft labels of tasks.{name} changes in each step"
    return None
